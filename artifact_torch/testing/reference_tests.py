"""Tests that a README describes components as they are; collected from metadata alone, without torch."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact_torch.errors import ArtifactTorchError, UsageError
from artifact_torch.plugin.discovery import GROUPS, discover, normalized

if TYPE_CHECKING:
    from artifact_torch.plugin.discovery import PluginEntry

__all__ = ["BEGIN", "COMMAND", "END", "KINDS", "entries_of", "label_of", "reference_tests"]

KINDS = ("callbacks", "models", "stoppers", "trackers")
"""The kinds of components that are described: those that are built from parameters."""

BEGIN = "<!-- components: begin -->"
END = "<!-- components: end -->"
"""The lines of a README between which its components are described."""

COMMAND = "python -m artifact_torch.testing.component_reference"
"""What writes them there, followed by the README."""


def reference_tests(readme: Path | str) -> Callable[..., None]:
    """A pytest test of what a README says about components, with a case for the README and one for each component.

    ::

        from pathlib import Path

        from artifact_torch.testing import reference_tests

        test_reference = reference_tests(Path(__file__).parents[1] / "README.md")

    The README holds the two lines ``<!-- components: begin -->`` and ``<!-- components: end -->``. Between them,
    ``python -m artifact_torch.testing.component_reference README.md`` writes what the docstrings of the callbacks,
    models, stoppers and trackers say that the ``pyproject.toml`` beside it declares: a table of all, and for each the
    parameters with types and defaults, and an example.

    The case ``README.md`` fails if that is not what stands there. The case of a component, such as ``callbacks.ema``,
    fails if its docstring does not describe each parameter, or has no section ``Example::``; and it runs the example,
    in an empty temporary folder. An example need not import public names of the distribution or of ``artifact_torch``,
    and finds a small ``model``, ``train_loader``, ``val_loader`` and ``validation``, a routine that records
    ``validation/loss``.

    Args:
        readme: the README, beside the ``pyproject.toml`` of a distribution that is installed.
    """
    import pytest

    path = Path(readme)
    try:
        entries = entries_of(path)
    except ArtifactTorchError as error:
        problem = str(error)

        def test_reference() -> None:
            pytest.fail(problem, pytrace=False)

        return test_reference

    cases = [pytest.param(None, id=path.name), *(pytest.param(entry, id=label_of(entry)) for entry in entries)]

    @pytest.mark.parametrize("entry", cases)
    def test_reference_of(entry: PluginEntry | None) -> None:
        from artifact_torch.testing.component_reference import check_component, check_readme

        try:
            if entry is None:
                check_readme(path)
            else:
                check_component(entry)
        except ArtifactTorchError as error:
            if error.__cause__ is None or isinstance(error.__cause__, ArtifactTorchError):
                pytest.fail(str(error), pytrace=False)  # the sentence says it all
            raise

    return test_reference_of


def label_of(entry: PluginEntry) -> str:
    """A component for messages and as a section of a configuration, such as ``callbacks.ema``."""
    return f"{entry.kind}.{entry.name}"


def entries_of(readme: Path) -> tuple[PluginEntry, ...]:
    """The installed components of the distribution that a README belongs to; none is imported.

    Raises:
        UsageError: the ``pyproject.toml`` beside it cannot be read, or declares other components than are installed.
    """
    declaration = readme.parent / "pyproject.toml"
    try:
        project: dict[str, Any] = tomllib.loads(declaration.read_text(encoding="utf-8"))["project"]
        name: str = project["name"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise UsageError(
            f"The distribution of {readme} is not known, because [project] name cannot be read from {declaration} "
            f"({type(error).__name__}: {error})."
        ) from None
    groups: dict[str, dict[str, str]] = project.get("entry-points", {})
    declared = {(kind, entry, value) for kind in KINDS for entry, value in groups.get(GROUPS[kind], {}).items()}
    installed = tuple(
        entry for entry in discover() if entry.kind in KINDS and normalized(entry.distribution) == normalized(name)
    )
    differing = declared ^ {(entry.kind, entry.name, entry.value) for entry in installed}
    if differing:
        names = ", ".join(sorted({f"{kind}.{entry}" for kind, entry, _ in differing}))
        raise UsageError(
            f"What {declaration} declares is not what is installed of {name} ({names}): run `pip install -e .` in its "
            "folder again."
        )
    if not installed:
        raise UsageError(f"{name} has no {', '.join(KINDS[:-1])} or {KINDS[-1]} to describe: declare entry points.")
    return installed
