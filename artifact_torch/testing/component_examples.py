"""The examples of components: the section ``Example`` of a class's docstring, with its imports, and run."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import itertools
from collections.abc import Callable, Mapping
from types import ModuleType

import torch
from torch import Tensor

import artifact_torch
from artifact_torch.core.callback import ScoreCallback
from artifact_torch.core.data import BatchLoader
from artifact_torch.core.model import ModelInput, ModelOutput
from artifact_torch.core.validation import ValidationRoutine
from artifact_torch.plugin.discovery import PluginEntry
from artifact_torch.plugin.loading import reason_of
from artifact_torch.testing.outcomes import ContractError
from artifact_torch.testing.parts import TinyModel, tiny_loader
from artifact_torch.testing.trials import surroundings

__all__ = ["GIVEN", "names_in", "run_source", "with_imports"]


class _ValidationLoss(ScoreCallback):
    """The mean over the batches of the model's loss."""

    def reset(self) -> None:
        self._losses: list[Tensor] = []

    def update(self, batch: ModelInput, model_output: ModelOutput) -> None:
        self._losses.append(model_output["loss"].detach())

    def compute(self) -> float:
        return torch.stack(self._losses).mean().item()


def _val_loader() -> BatchLoader:
    return tiny_loader(32, shuffle=False, seed=1)


def _validation() -> ValidationRoutine:
    return ValidationRoutine(val_loader=_val_loader(), callbacks=[_ValidationLoss("loss")])


GIVEN: Mapping[str, Callable[[], object]] = {
    "model": TinyModel,
    "train_loader": tiny_loader,
    "val_loader": _val_loader,
    "validation": _validation,
}
"""Name -> what makes that which an example finds under it."""


def names_in(source: str) -> frozenset[str]:
    """The names that Python source reads and does not define.

    Raises:
        SyntaxError: it is no Python.
    """
    read, defined = set[str](), set[str]()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                defined.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                defined.add(name)
            case ast.alias(name=name, asname=other):
                defined.add(other or name.partition(".")[0])
            case _:
                pass
    return frozenset(read - defined - set(dir(builtins)))


def with_imports(source: str, entry: PluginEntry) -> str:
    """An example as one would write it in a file: with imports of the public names that it uses.

    Args:
        source: the example.
        entry: the component that it is about.

    Raises:
        SyntaxError: the example is no Python.
    """
    wanted: dict[str, list[str]] = {}
    for name in sorted(names_in(source) - GIVEN.keys()):
        if module := _module_of(name, entry):
            wanted.setdefault(module, []).append(name)
    body = ast.parse(source).body
    own = list(itertools.takewhile(lambda node: isinstance(node, ast.Import | ast.ImportFrom), body))
    imports = [
        *map(ast.unparse, own),
        *(f"from {module} import {', '.join(names)}" for module, names in wanted.items()),
    ]
    imports.sort(key=lambda line: (line.startswith("from "), line))
    code = "\n".join(source.splitlines()[own[-1].end_lineno if own else 0 :]).strip("\n")
    between = "\n\n\n" if code.startswith(("class ", "def ", "@")) else "\n\n"
    return between.join(part for part in ("\n".join(imports), code) if part)


def run_source(source: str, subject: str) -> None:
    """Run an example in an empty temporary folder, with what ``GIVEN`` names, on tiny data.

    The working directory, the global random state and the environment are as they were afterwards. What it prints goes
    to stderr.

    Args:
        source: the example, with its imports.
        subject: what it is the example of, for messages.

    Raises:
        ContractError: it fails; the message names the line.
    """
    file = f"<example of {subject}>"
    with surroundings() as folder, contextlib.chdir(folder):
        namespace = {name: make() for name, make in GIVEN.items()}
        try:
            code = compile(source, file, "exec", dont_inherit=True)
            exec(code, {"__name__": "example", **namespace})
        except (Exception, SystemExit) as error:
            raise ContractError(
                f"The example of {subject} fails{_place_in(source, file, error)}: {reason_of(error)}."
            ) from error


def _module_of(name: str, entry: PluginEntry) -> str:
    """The module that one imports a public name from; empty if there is none."""
    module, _, attribute = entry.value.partition(":")
    # A package may have names of ``artifact_torch`` only because it imports them.
    candidates = (entry.module, module) if name == attribute else (artifact_torch.__name__, entry.module)
    return next((each for each in candidates if _is_public(name, importlib.import_module(each))), "")


def _is_public(name: str, module: ModuleType) -> bool:
    names = getattr(module, "__all__", None) or [each for each in dir(module) if not each.startswith("_")]
    return name in names and not isinstance(vars(module).get(name), ModuleType)


def _place_in(source: str, file: str, error: BaseException) -> str:
    """`` at `line```, the line of the example that was running; empty if none was."""
    trace, number = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            number = trace.tb_lineno
        trace = trace.tb_next
    return f" at `{source.splitlines()[number - 1].strip()}`" if number else ""
