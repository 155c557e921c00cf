"""The hooks inside the training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.markers import hookspec

if TYPE_CHECKING:
    from artifact_torch.core.model import ModelInput, ModelOutput
    from artifact_torch.core.trainer import Trainer


class LoopHooks:
    """Inside the training loop. What is done in a hook of a batch is done for every batch.

    Reading a number from a tensor (``float(tensor)``, ``tensor.item()``) makes the program wait for an accelerator:
    keep it for the steps or epochs that are logged.
    """

    @hookspec
    def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
        """Called before the first batch of an epoch.

        It is not called again for an epoch that is resumed in the middle.

        Order:
            First in an epoch. Implementations run one after the other; the first error ends training.

        Args:
            trainer: the trainer; ``trainer.state.epoch`` is the epoch that begins, counted from 1.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            @hookimpl
            def execute_epoch_preprocessing(trainer):
                for group in trainer.optimizer.param_groups:
                    group["lr"] = 0.001 * 0.9 ** (trainer.state.epoch - 1)
        """

    @hookspec
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        """Called after an epoch's last batch, its validation and its metrics.

        Everything about the epoch is recorded by then, so a checkpoint that is saved here holds it.

        Order:
            After ``log_epoch_metrics``, before ``should_stop``. Implementations run one after the other; the first
            error ends training.

        Args:
            trainer: the trainer; ``trainer.epoch_scores`` has the epoch's row, and ``trainer.state.epochs_completed``
                counts the epoch.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            @hookimpl
            def execute_epoch_postprocessing(trainer):
                with (trainer.run.path / "losses.csv").open("a", encoding="utf-8") as file:
                    print(trainer.state.epoch, trainer.latest_score("train/loss"), sep=",", file=file)
        """

    @hookspec
    def execute_batch_preprocessing(self, trainer: Trainer, batch: ModelInput) -> None:
        """Called before the model sees a training batch.

        Replace entries of ``batch`` to change it; it may gain entries, but not lose any. Do not change the tensors
        themselves: without shuffling they may be views of the data set. Random numbers come from a generator of the
        plugin's own, as in the example, which is seeded alike in a resumed training.

        Order:
            First for a batch. Implementations run one after the other, each with the batch as those before have left
            it; the first error ends training. A batch that has lost an entry is a ``PluginError``.

        Args:
            trainer: the trainer; ``trainer.state.step`` counts the optimizer steps done before this batch.
            batch: entry name -> tensor of shape ``(batch, ...)``, on the trainer's device.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import torch

            from artifact_torch import hookimpl

            @hookimpl
            def execute_batch_preprocessing(trainer, batch):
                generator = torch.Generator().manual_seed(trainer.state.step)
                noise = torch.randn(batch["features"].shape, generator=generator)
                batch["features"] = batch["features"] + 0.01 * noise.to(trainer.device)
        """

    @hookspec
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        """Called after the backward pass and before the optimizer's step: gradients are there and may be edited.

        With ``accumulate``, it is called once for the batches of a step, with the mean of their gradients. Afterwards
        the gradients are checked for NaN and infinity and clipped, if that was asked for.

        Order:
            After ``execute_batch_preprocessing`` and the model. Implementations run one after the other, each with the
            gradients as those before have left them; the first error ends training, and the step is not made.

        Args:
            trainer: the trainer; the gradients are in ``parameter.grad`` of ``trainer.model.parameters()``, None for
                a parameter that the loss does not depend on.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import torch

            from artifact_torch import hookimpl

            @hookimpl
            def on_before_optimizer_step(trainer):
                torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), max_norm=1.0)
        """

    @hookspec
    def execute_batch_postprocessing(self, trainer: Trainer, batch: ModelInput, model_output: ModelOutput) -> None:
        """Called last for a training batch, after the optimizer's step if one was due.

        Everything about the batch is recorded by then, so a checkpoint that is saved here holds it.

        Order:
            After the optimizer's step and, in a step that is logged, after ``log_batch_metrics``. Implementations run
            one after the other; the first error ends training.

        Args:
            trainer: the trainer; ``trainer.state.step`` counts the optimizer steps done, this one included, and
                ``trainer.batch_metrics`` has the row of a step that is logged.
            batch: entry name -> tensor of shape ``(batch, ...)``, as the model took it.
            model_output: what the model returned for it; ``loss`` has shape ``()`` and was computed before the step.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            @hookimpl
            def execute_batch_postprocessing(trainer):
                if trainer.state.step % 1000 == 0:
                    trainer.save_checkpoint()
        """

    @hookspec
    def should_stop(self, trainer: Trainer) -> str | None:
        """Called after each epoch: a reason to stop training, in words, or None.

        A training that is resumed between two epochs asks first, before it trains another epoch.

        Order:
            Last in an epoch, after ``execute_epoch_postprocessing``. All implementations are asked, and all reasons
            are joined, each with its plugin's name; one is enough to stop. The first error ends training.

        Args:
            trainer: the trainer; ``trainer.epoch_scores`` has a row for each epoch so far, and
                ``trainer.state.epochs_completed`` counts them.

        Returns:
            The reason to stop now, in words that follow "training stopped because ...", or None to go on.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            @hookimpl
            def should_stop(trainer):
                if (trainer.run.path / "stop").exists():
                    return "there is a file named stop in the run directory"
                return None
        """

    @hookspec
    def should_stop_in_epoch(self, trainer: Trainer) -> str | None:
        """Called after each optimizer step and between epochs: a reason to stop there, in words, or None.

        It is for what cannot wait until the epoch ends, such as a limit on time. Training saves a checkpoint from which
        it can go on, validates what is left, saves the model and ends with the status ``stopped``. A training that is
        resumed asks first, before it trains another batch.

        Order:
            After ``execute_batch_postprocessing``, and after ``should_stop`` if nobody stops there. All implementations
            are asked, and all reasons are joined, each with its plugin's name; one is enough to stop. The first error
            ends training.

        Args:
            trainer: the trainer; ``trainer.state.step`` counts the optimizer steps done, and ``trainer.seconds`` is the
                time that training has taken.

        Returns:
            The reason to stop now, in words that follow "training stopped because ...", or None to go on.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            @hookimpl
            def should_stop_in_epoch(trainer):
                return "an hour is over" if trainer.seconds > 3600 else None
        """
