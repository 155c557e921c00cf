"""Watches what a plugin may not change unless it says so: modes, gradients, the default dtype, the random state.

The first call of each implementation in an epoch is watched: the others cost nothing. One that had to be put right is
watched for the rest of the epoch. Wrappers are not watched, for what they do is done around other plugins.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from artifact_torch.plugin.calling import HookFunction

_RESTORED = "Put back what a hook changes, or declare changes_training = True."

# Validation and loading put the random state back themselves, whatever is drawn there.
_MAY_DRAW = frozenset({"execute_validation", "on_validation_start", "on_load_checkpoint"})


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What is global or belongs to the model."""

    modes: list[tuple[nn.Module, bool]]
    gradients: bool
    dtype: torch.dtype
    random: tuple[object, object, bytes]


class Audit:
    """Watches the plugins of one trainer.

    Args:
        model: gives the trainer's model.
        warn: takes a sentence on each thing that a plugin changed; each is told once.
        watched: called after a call was watched and nothing had to be put back, so that the next one need not be.
    """

    def __init__(
        self, model: Callable[[], nn.Module], warn: Callable[[str], None], watched: Callable[[], None]
    ) -> None:
        self._model = model
        self._warn = warn
        self._watched = watched
        self._told: set[tuple[str, str]] = set()
        self._told_modes = False
        self._modes: list[tuple[nn.Module, bool]] = []

    def watching(self, each: HookFunction) -> Callable[..., Any]:
        """A function that calls an implementation once and compares what was before with what is after."""

        def call(*arguments: Any) -> Any:
            before = self._look()
            try:
                return each.call(*arguments)
            finally:
                each.watched = self._put_back(each, before)
                if not each.watched:
                    self._watched()

        return call

    def remember_modes(self) -> None:
        """Take the modes of the model as they are as those that an epoch's batches are meant to have."""
        self._modes = [(module, module.training) for module in self._model().modules()]

    def put_back_modes(self, suspects: Sequence[str]) -> None:
        """Put back the remembered modes, which ``suspects`` may have changed in a call that was not watched."""
        changed = [(module, training) for module, training in self._modes if module.training != training]
        for module, training in changed:
            module.training = training
        if changed and not self._told_modes:
            self._told_modes = True
            self._warn(
                "The model was left in evaluation mode between two batches, which was put back. It was one of the "
                f"plugins {', '.join(suspects)}, or what the trainer itself calls. {_RESTORED}"
            )

    def _look(self) -> _Surroundings:
        import numpy as np
        import torch

        numpy_state = np.random.get_state(legacy=False)
        drawn = (random.getstate(), (numpy_state["state"]["pos"], numpy_state["state"]["key"].tobytes()))
        return _Surroundings(
            [(module, module.training) for module in self._model().modules()],
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            (*drawn, torch.get_rng_state().numpy().tobytes()),
        )

    def _put_back(self, each: HookFunction, before: _Surroundings) -> bool:
        """Put back what is not as it was before, and tell it; whether there was anything to put back."""
        import torch

        after = self._look()
        changed = [(module, training) for module, training in before.modes if module.training != training]
        if changed:
            mode = "evaluation" if changed[0][1] else "training"
            self._tell(each, f"left the model in {mode} mode", "which was put back", _RESTORED)
            for module, training in changed:
                module.training = training
        if after.gradients != before.gradients:
            torch.set_grad_enabled(before.gradients)
            state = "on" if after.gradients else "off"
            self._tell(each, f"left gradients switched {state}", "which was put back", _RESTORED)
        if after.dtype != before.dtype:
            torch.set_default_dtype(before.dtype)
            self._tell(each, f"changed torch's default dtype to {after.dtype}", "which was put back", _RESTORED)
        if after.random != before.random and each.hook not in _MAY_DRAW:
            self._tell(
                each,
                "drew from the global random state",
                "so that training with it differs from training without it",
                "Use a generator of its own, or declare changes_training = True.",
            )
        return bool(changed) or (after.gradients, after.dtype) != (before.gradients, before.dtype)

    def _tell(self, each: HookFunction, what: str, consequence: str, remedy: str) -> None:
        if (each.plugin.name, what) not in self._told:
            self._told.add((each.plugin.name, what))
            self._warn(f"The plugin {each.plugin} {what} in {each.hook}, {consequence}. {remedy}")
