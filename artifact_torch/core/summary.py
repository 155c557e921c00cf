"""What a model is made of: its modules and their numbers of parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.nn.parameter import is_lazy

from artifact_torch.errors import UsageError

__all__ = ["ModelSummary", "SummaryRow", "summarize"]


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One module of a model.

    Attributes:
        path: where it is, such as ``"encoder.0"``.
        class_name: its class.
        parameters: how many numbers its parameters hold, those of the modules inside it included.
        trainable: how many of them require gradients.
    """

    path: str
    class_name: str
    parameters: int
    trainable: int


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """The modules of a model. ``str`` gives a table of them.

    Attributes:
        class_name: the model's class.
        rows: the modules inside it, each before those inside it.
        parameters: how many numbers the parameters of the whole model hold.
        trainable: how many of them require gradients.
    """

    class_name: str
    rows: tuple[SummaryRow, ...]
    parameters: int
    trainable: int

    def __str__(self) -> str:
        whole = SummaryRow("in all", self.class_name, self.parameters, self.trainable)
        cells = [("module", "class", "parameters", "trainable")]
        cells += [
            (row.path, row.class_name, f"{row.parameters:,}", f"{row.trainable:,}") for row in (*self.rows, whole)
        ]
        path, name, count, trained = (max(map(len, column)) for column in zip(*cells, strict=True))
        return "\n".join(f"{a:<{path}}  {b:<{name}}  {c:>{count}}  {d:>{trained}}" for a, b, c, d in cells)


def summarize(model: nn.Module, *, depth: int | None = None) -> ModelSummary:
    """List the modules of a model with their numbers of parameters.

    A parameter that several modules share is counted in each of their rows, and once in what they are inside of and in
    all. A parameter of a lazy module has no numbers before the first batch.

    Args:
        model: any module.
        depth: how many levels of modules inside modules to list; None lists all. The numbers are the same with any.

    Raises:
        UsageError: ``depth`` is negative.
    """
    if depth is not None and depth < 0:
        raise UsageError(f"depth must be at least 0 levels of modules, not {depth}.")
    rows = tuple(
        SummaryRow(path, type(module).__qualname__, *_counts(module.parameters()))
        for path, module in model.named_modules(remove_duplicate=False)
        if path and (depth is None or path.count(".") < depth)
    )
    return ModelSummary(type(model).__qualname__, rows, *_counts(model.parameters()))


def _counts(parameters: Iterable[nn.Parameter]) -> tuple[int, int]:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in parameters if not is_lazy(parameter)]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)
