"""The hooks around a whole training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.markers import hookspec

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer


class RunHooks:
    """Around a whole training run."""

    @hookspec
    def on_train_start(self, trainer: Trainer) -> None:
        """Called once for each call of ``trainer.train()``, before the first batch.

        The model is on its device and in training mode, and the random state is seeded. It is called for a resumed
        training too: ``trainer.state.step`` is above 0 then.

        Order:
            After ``track_params``, before the first ``execute_epoch_preprocessing``. Implementations run one after the
            other; the first error ends training, and ``on_exception`` and ``on_train_end`` still run.

        Args:
            trainer: the trainer that starts; ``trainer.state`` has its counters, ``trainer.run.path`` its directory.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            @hookimpl
            def on_train_start(trainer):
                (trainer.run.path / "model.txt").write_text(str(trainer.model), encoding="utf-8")
        """

    @hookspec
    def on_train_end(self, trainer: Trainer, reason: str) -> None:
        """Called once for each call of ``trainer.train()``, when training has ended, failed or was interrupted.

        It is called even if ``on_train_start`` or the training itself raised: release here what was taken there.

        Order:
            Last of all: after the last validation and after the model is saved and tracked, or after ``on_exception``.
            It is a teardown: every implementation runs, whatever another raises, and the first error is the one raised,
            the training's own before theirs.

        Args:
            trainer: the trainer that ends; its ``epoch_scores`` are complete.
            reason: why training ended, in words; after a failure, the error's class and message.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            @hookimpl
            def on_train_end(trainer):
                trainer.epoch_scores.to_csv(trainer.run.path / "scores.csv")
        """

    @hookspec
    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        """Called when training fails or is interrupted.

        The error is raised in any case, once every hook has run: an implementation can record it, not undo it.

        Order:
            Before ``on_train_end``. It is a teardown: every implementation runs, whatever another raises, and the
            error that ended training is the one raised.

        Args:
            trainer: the trainer that failed; ``trainer.state`` says in which epoch and after which step.
            error: what was raised, ``KeyboardInterrupt`` included.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import json

            from artifact_torch import hookimpl

            @hookimpl
            def on_exception(trainer, error):
                failure = {"error": repr(error), "epoch": trainer.state.epoch, "step": trainer.state.step}
                (trainer.run.path / "failure.json").write_text(json.dumps(failure), encoding="utf-8")
        """

    @hookspec
    def on_evaluation_start(self, trainer: Trainer) -> None:
        """Called before the model is used for something else than training: to be validated, saved or sampled from.

        What changes the weights for that, such as an average of them, puts its own in here and takes them out again in
        ``on_evaluation_end``.

        Order:
            Before ``on_validation_start``, before the model is saved, and whenever ``trainer.evaluating()`` is entered;
            once, if one of these happens within another. Implementations run one after the other; the first error is
            raised, after ``on_evaluation_end``.

        Args:
            trainer: the trainer; its model is in the modes of training.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            exact = []

            @hookimpl
            def on_evaluation_start(trainer):
                exact[:] = [parameter.data for parameter in trainer.model.parameters()]
                trainer.model.bfloat16().float()

            @hookimpl
            def on_evaluation_end(trainer):
                for parameter in trainer.model.parameters():
                    parameter.data = exact.pop(0)
        """

    @hookspec
    def on_evaluation_end(self, trainer: Trainer) -> None:
        """Called when the model is to be trained on again: put back what ``on_evaluation_start`` has changed.

        Order:
            After everything that ``on_evaluation_start`` was called for. It is a teardown: every implementation runs,
            whatever another raises, and the first error is the one raised.

        Args:
            trainer: the trainer.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import logging

            from artifact_torch import hookimpl

            @hookimpl
            def on_evaluation_end(trainer):
                logging.getLogger("artifact_torch").info("Used the model of step %d.", trainer.state.step)
        """
