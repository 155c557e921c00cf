"""Tests that a README describes components as they are; collected from metadata alone, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from artifact_torch.errors import ArtifactTorchError
from artifact_torch.testing.described_components import entries_of, label_of

if TYPE_CHECKING:
    from artifact_torch.plugin.discovery import PluginEntry

__all__ = ["reference_tests"]


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
