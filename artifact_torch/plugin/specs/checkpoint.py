"""The hooks through which plugins keep state in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from artifact_torch.plugin.markers import hookspec

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer


class CheckpointHooks:
    """A plugin's own state in checkpoints."""

    @hookspec
    def on_save_checkpoint(self, trainer: Trainer) -> Mapping[str, Any] | None:
        """Called when a checkpoint is written: the plugin's state, which ``on_load_checkpoint`` gets back.

        Order:
            Before anything is written. All implementations run, and each answer is kept under its plugin's name. The
            first error, or a value that cannot be stored, is raised by ``trainer.save_checkpoint()``; nothing is
            written then. Plugins are called one at a time, so it cannot be wrapped.

        Args:
            trainer: the trainer whose checkpoint is written; ``trainer.state`` has its counters.

        Returns:
            The state: text -> tensors, numbers, texts, booleans, None, and lists and mappings of them; None if there
            is nothing to keep.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            samples = {"seen": 0}

            @hookimpl
            def execute_batch_postprocessing(batch):
                samples["seen"] += len(batch["features"])

            @hookimpl
            def on_save_checkpoint():
                return dict(samples)
        """

    @hookspec
    def on_load_checkpoint(self, trainer: Trainer, state: Mapping[str, Any]) -> None:
        """Called when a checkpoint is read, with what the same plugin returned from ``on_save_checkpoint``.

        It is not called for a plugin of which the checkpoint holds nothing.

        Order:
            After the model, the optimizer, the scheduler, the counters and the metrics are as they were, before the
            random state is. Each plugin gets its own state only, so it cannot be wrapped; the first error is
            raised by ``trainer.load_checkpoint()``.

        Args:
            trainer: the trainer that goes back to the checkpoint.
            state: what this plugin returned when the checkpoint was written; its tensors are on the CPU.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            samples = {"seen": 0}  # counted in execute_batch_postprocessing

            @hookimpl
            def on_save_checkpoint():
                return dict(samples)

            @hookimpl
            def on_load_checkpoint(state):
                samples.update(state)
        """
