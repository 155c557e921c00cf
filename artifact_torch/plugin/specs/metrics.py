"""The hooks that add numbers to the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from artifact_torch.plugin.markers import hookspec

if TYPE_CHECKING:
    from torch import Tensor

    from artifact_torch.core.model import ModelInput, ModelOutput
    from artifact_torch.core.trainer import Trainer


class MetricHooks:
    """Numbers that are recorded with the loss. Two plugins that return one name are an error naming both."""

    @hookspec
    def log_batch_metrics(
        self, trainer: Trainer, batch: ModelInput, model_output: ModelOutput
    ) -> Mapping[str, float | Tensor] | None:
        """Called every ``trainer.log_every`` steps: numbers to record for the batch.

        They stand in ``trainer.batch_metrics`` and are tracked as scores named ``batch/<name>``.

        Order:
            After the optimizer's step, before a schedule of steps moves on, ``track_score`` and
            ``execute_batch_postprocessing``. All answers are joined; a name that two plugins return, or ``loss``, is a
            ``PluginError``. The first error ends training.

        Args:
            trainer: the trainer; ``trainer.state.step`` is the step that is logged, counted from 1.
            batch: entry name -> tensor of shape ``(batch, ...)``, as the model took it.
            model_output: what the model returned for it; ``loss`` has shape ``()`` and was computed before the step.

        Returns:
            Name -> number or tensor of shape ``()``; None if there is nothing to record.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            @hookimpl
            def log_batch_metrics(trainer):
                return {"learning_rate": trainer.optimizer.param_groups[0]["lr"]}
        """

    @hookspec
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float | Tensor] | None:
        """Called at the end of each epoch: numbers to record for the epoch.

        They stand in ``trainer.epoch_scores`` as ``train/<name>`` and are tracked as scores of the training split.

        Order:
            After the epoch's validation, before ``execute_epoch_postprocessing``. All answers are joined; a name that
            two plugins return, or that is recorded for the training split already, is a ``PluginError``. The first
            error ends training.

        Args:
            trainer: the trainer; ``trainer.epoch_scores`` has the epoch's loss and, if it was validated, its scores.

        Returns:
            Name -> number or tensor of shape ``()``; None if there is nothing to record.

        .. versionadded:: 1.0

        Example::

            import torch

            from artifact_torch import hookimpl

            @hookimpl
            def log_epoch_metrics(trainer):
                weights = [parameter.detach() for parameter in trainer.model.parameters()]
                return {"weight_norm": torch.nn.utils.get_total_norm(weights)}
        """
