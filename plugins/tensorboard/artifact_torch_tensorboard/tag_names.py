"""What results are called in event files, where a name means one kind of result only."""

from __future__ import annotations

from artifact_torch import TrackedKind

__all__ = ["TagNames"]


class TagNames:
    """Tags of results: the full name, or, where a result of another kind is called so, ``full name (plot)``.

    TensorBoard shows only what has come first under a tag. Any text may be one.
    """

    def __init__(self) -> None:
        self._tags: dict[tuple[TrackedKind, str], str] = {}
        self._taken: set[str] = set()

    def tag_of(self, kind: TrackedKind, full_name: str) -> str:
        """The tag of a result, the same each time."""
        if (kind, full_name) not in self._tags:
            tag = full_name
            while tag in self._taken:
                tag = f"{tag} ({kind})"
            self.learn(tag, kind, full_name)
        return self._tags[kind, full_name]

    def learn(self, tag: str, kind: TrackedKind, full_name: str) -> None:
        """Note a tag that was given."""
        self._tags[kind, full_name] = tag
        self._taken.add(tag)
