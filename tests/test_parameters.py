"""The parameters of components, as their signatures and docstrings have them."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from artifact_torch_tabular_models import TableVAE

from artifact_torch import Callback
from artifact_torch.parameters import Parameter, parameters_of
from artifact_torch.testing import TinyModel


class Documented(Callback):
    """A callback.

    Args:
        period: epochs between
            two of them.
        low, high: bounds.
        mode: what is better.

    Raises:
        ValueError: never.
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
