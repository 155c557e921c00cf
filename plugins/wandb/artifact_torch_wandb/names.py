"""What runs and results are called in Weights & Biases, and back.

A key of its history is part of the paths of files there, so characters other than letters, digits and ``_-. /`` are
written as ``%XX``, as are the dots of ``.`` and ``..``. An empty part of a path is ``%``. What is too long is cut and
ends in ``%~`` and a checksum; then the tracker keeps the whole name in the run's config.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from artifact_torch import TrackedItem, TrackedKind

__all__ = ["artifact_name", "full_name_of", "is_cut", "key_of", "plain_id", "plain_project"]

_MOST_BYTES = 180
"""Of a key; with the step and a checksum it still is the name of a file."""

_MOST_ARTIFACT_CHARACTERS = 128
_CHECKSUM_CHARACTERS = 16
_SECTIONS = {TrackedKind.PLOT: "plots/", TrackedKind.ARRAY: "arrays/"}


def key_of(item: TrackedItem) -> str:
    """The key of a score, plot or array in the history; those of different kinds and names differ."""
    section = _SECTIONS.get(item.kind, "")
    key = "/".join(_encoded(part) for part in item.full_name.split("/"))
    if len((section + key).encode()) <= _MOST_BYTES:
        return section + key
    kept = key.encode()[: _MOST_BYTES - len(section) - _CHECKSUM_CHARACTERS - 2].decode(errors="ignore")
    return f"{section}{kept}%~{_checksum(item.full_name)}"


def is_cut(key: str) -> bool:
    """Whether a key does not hold the whole name."""
    return "%~" in key


def full_name_of(key: str, cut: Mapping[str, str]) -> str:
    """The full name of the result that a key stands for.

    Args:
        key: the key.
        cut: the names of those that were cut, by key.
    """
    if key in cut:
        return cut[key]
    for section in _SECTIONS.values():
        key = key.removeprefix(section)
    return "/".join("" if part == "%" else unquote(part) for part in key.split("/"))


def artifact_name(name: str, run_id: str) -> str:
    """The name of a file's artifact, ``name-run_id``: of letters, digits and ``_-.``, at most 128 characters."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    end = f"-{re.sub(r'[^A-Za-z0-9_.-]', '_', run_id)}"[-64:]
    if plain != name or not plain or len(plain) + len(end) > _MOST_ARTIFACT_CHARACTERS:
        end = f"-{_checksum(name)}{end}"
    return plain[: _MOST_ARTIFACT_CHARACTERS - len(end)] + end


def plain_id(run_id: str) -> str:
    """An id that the service takes, of letters, digits and ``_-.``; another one for each id of a run."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)[:64]
    return plain if plain == run_id else f"{plain[:47]}-{_checksum(run_id)}"


def plain_project(name: str) -> str:
    r"""A name that a project can have: without any of ``/\#?%:``, at most 128 characters, and not empty."""
    return re.sub(r"[/\\#?%:]", "-", name).strip()[:128] or "default"


def _encoded(part: str) -> str:
    if not part:
        return "%"
    if set(part) == {"."}:
        return "%2E" * len(part)
    return "".join(
        letter if letter.isalnum() or letter in "_-. " else quote(letter, safe="", errors="surrogatepass")
        for letter in part
    )


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_CHECKSUM_CHARACTERS]
