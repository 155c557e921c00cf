"""A callback made of functions."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from artifact_torch import Callback, Period, UsageError, hookimpl
from artifact_torch.plugin.specs import SPECIFICATIONS

__all__ = ["FunctionCallback"]

_HOOKS = tuple(name for specification in SPECIFICATIONS for name in vars(specification) if not name.startswith("_"))
_MARK = f"{hookimpl.project_name}_impl"


class FunctionCallback(Callback):
    """Calls functions, each as the hook whose name it is given by: a callback without a class, for Python only.

    A function takes the arguments that it needs, by name, out of those that the hook has; see
    ``artifact-torch list-hooks``. Only the hooks that are given take part. One that is to come before or after others
    carries the mark ``hookimpl(tryfirst=True)`` or ``hookimpl(trylast=True)``.

    A configuration cannot give functions: what is wanted there belongs into a plugin, see
    ``artifact-torch new-plugin --help``.

    Args:
        batch_period: how often the hooks of a batch are called, such as ``"100 steps"``; by default for every batch.
        changes_training: whether the functions are meant to change what is learnt.
        functions: the name of a hook = a function.

    Raises:
        UsageError: there is no such hook, what is given is no function, or the period is none; or, when a trainer is
            built, there is no function.
        PluginError: when a trainer is built, a function has an argument that its hook does not have.

    Example::

        said = FunctionCallback(
            on_train_start=lambda trainer: print(f"{trainer.epochs} epochs"),
            execute_epoch_postprocessing=lambda trainer: print(trainer.state.epoch, trainer.latest_score("train/loss")),
        )
        Trainer(model, train_loader, epochs=3, callbacks=[said]).train()
    """

    # What a configuration may set: it cannot give functions.
    __signature__ = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
            for name, hint, default in (("batch_period", int | str | None, None), ("changes_training", bool, False))
        ]
    )

    def __init__(
        self,
        *,
        batch_period: int | str | None = None,
        changes_training: bool = False,
        **functions: Callable[..., object],
    ) -> None:
        self.batch_period = None if batch_period is None else Period.of(batch_period)
        self.changes_training = changes_training  # type: ignore[misc]
        for hook, function in functions.items():
            setattr(self, hook, _marked(hook, function))
        if not functions:
            self.get_validation_period = _refuse


@hookimpl(tryfirst=True)
def _refuse() -> None:
    """The first hook that is called when a trainer is built."""
    raise UsageError(
        "FunctionCallback has no function. It is for Python, where functions are given by the names of hooks: "
        "FunctionCallback(execute_epoch_postprocessing=lambda trainer: ...). In a configuration, choose another "
        "callback, or write one: `artifact-torch new-plugin --help`."
    )


def _marked(hook: str, function: object) -> Callable[..., Any]:
    if hook not in _HOOKS:
        close = difflib.get_close_matches(hook, _HOOKS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "`artifact-torch list-hooks` shows them."
        raise UsageError(f"FunctionCallback cannot take {hook!r}, for there is no such hook: {hint}")
    if not callable(function) or isinstance(function, type):
        raise UsageError(
            f"FunctionCallback takes a function as {hook}, and not {function!r}: give a lambda or the name of a "
            "function, without parentheses."
        )
    if isinstance(function, types.FunctionType) and hasattr(function, _MARK):
        return function
    try:
        inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"It cannot be known which arguments {function!r} takes, which is given as {hook}: call it in a lambda."
        ) from error

    # Around it, so that the mark is not set on what belongs to others, and can be set at all.
    def call(*arguments: Any) -> object:
        return function(*arguments)

    return hookimpl(functools.update_wrapper(call, function, updated=()))
