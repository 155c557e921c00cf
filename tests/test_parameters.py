"""The parameters of components, as their signatures and docstrings have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from artifact_torch_tabular_models import TableVAE

from artifact_torch import Callback, DataSplit, ScoreCallback
from artifact_torch.parameters import Documentation, Parameter, documentation_of, parameters_of
from artifact_torch.testing import TinyModel


class Documented(Callback):
    """A callback
    of two lines.

    More of it::

        indented

    Args:
        period: epochs between
            two of them.

        low, high: bounds.
        mode: what is better.

    Between.

    Raises:
        ValueError: never.

    Example::

        if True:

            Documented(3)
    """

    def __init__(
        self,
        period: int,
        *,
        low: float = 0.5,
        high: float | None = None,
        mode: Literal["min", "max"] = "min",
        names: list[str] | None = None,
        anything: Any = (),
    ) -> None:
        pass


def test_each_parameter_has_its_type_default_and_meaning():
    assert parameters_of(Documented) == (
        Parameter("period", "int", True, None, "epochs between two of them."),
        Parameter("low", "float", False, 0.5, "bounds."),
        Parameter("high", "float | None", False, None, "bounds."),
        Parameter("mode", "'min' | 'max'", False, "min", "what is better."),
        Parameter("names", "list[str] | None", False, None, ""),
        Parameter("anything", "Any", False, (), ""),
    )


def test_a_docstring_is_read_by_its_sections():
    text = "More of it::\n\n    indented\n\nBetween."
    assert documentation_of(Documented) == Documentation(
        "A callback of two lines.", text, "if True:\n\n    Documented(3)"
    )


def test_what_is_inherited_is_no_documentation_of_a_class():
    assert documentation_of(type("Bare", (Documented,), {})) == Documentation("", "", "")


def test_parameters_are_described_where_the_constructor_is_and_again_where_there_is_more_to_say():
    class Score(ScoreCallback):
        """A score.

        Args:
            split: mine.
        """

    name, split, period = parameters_of(Score)
    assert (name.required, split.default, split.description) == (True, DataSplit.VALIDATION, "mine.")
    assert split.type == "'train' | 'validation' | 'test' | 'all'"
    assert name.description.startswith("the result's name")
    assert period.description.startswith("how often")


def test_the_type_of_a_function_is_written_as_in_python():
    def build(check: Callable[[int, str | None], bool], other: Callable[..., None]) -> None: ...

    check, other = parameters_of(build)
    assert (check.type, other.type) == ("Callable[[int, str | None], bool]", "Callable[..., None]")


def test_a_class_without_a_constructor_has_none():
    assert parameters_of(type("Bare", (Callback,), {})) == ()


def test_a_function_has_those_of_its_signature():
    def build(size: int = 3, **others: int) -> None:
        """Build.

        Args:
            size: of it.
        """

    assert parameters_of(build) == (Parameter("size", "int", False, 3, "of it."),)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (TinyModel, ["dropout"]),
        (TableVAE, ["latent_size", "hidden_size", "decoder_size", "free_bits", "exact_values", "bins"]),
    ],
)
def test_a_model_has_those_of_what_builds_it(model, names):
    found = parameters_of(model)
    assert [parameter.name for parameter in found] == names
    assert all(parameter.description for parameter in found)
    assert not any(parameter.required for parameter in found)
