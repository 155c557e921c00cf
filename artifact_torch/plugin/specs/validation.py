"""The hooks that decide what is validated, when, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifact_torch.plugin.markers import hookspec

if TYPE_CHECKING:
    from artifact_torch.core.callback import LoaderCallback
    from artifact_torch.core.plan import ValidationPlan
    from artifact_torch.core.results import ValidationResults
    from artifact_torch.core.split import DataSplit
    from artifact_torch.core.trainer import Trainer
    from artifact_torch.core.validation import ValidationRoutine


class ValidationHooks:
    """What is validated, when, and with what.

    A trainer asks the ``get_`` hooks once, when it is built and takes its routine.
    """

    @hookspec(firstresult=True)
    def get_validation_period(self, routine: ValidationRoutine) -> int | str | None:
        """Called when a trainer takes a routine: how often what has no period of its own is validated.

        At the end of training everything is validated in any case, also if a stopper ends it.

        Order:
            First of the hooks with which a trainer is built. The first answer that is not None counts, and the plugins
            after it are not asked; without an answer, the routine's own period stays.

        Args:
            routine: the routine; ``routine.period`` is its own period.

        Returns:
            A number of epochs, or a text such as ``"200 steps"``; None to leave it to others.

        .. versionadded:: 1.0

        Example::

            import os

            from artifact_torch import hookimpl

            @hookimpl
            def get_validation_period():
                period = os.environ.get("VALIDATION_PERIOD")
                return int(period) if period else None
        """

    @hookspec(firstresult=True)
    def get_validation_plan(
        self, routine: ValidationRoutine, split: DataSplit
    ) -> ValidationPlan | Sequence[ValidationPlan] | None:
        """Called when a trainer takes a routine, once for each split: the plans of the artifacts to compute.

        They are executed beside the plans that the routine was given, each at its period, and in place of the one that
        a domain has of its own, such as the comparison of tables. Two plans of a split with one name are refused, and
        so is an artifact that two of them compute.

        Order:
            After ``get_val_loader_callbacks``, first for the training split, then for the validation split. The first
            answer that is not None counts, and the plugins after it are not asked.

        Args:
            routine: the routine that is going to execute the plans.
            split: ``DataSplit.TRAIN`` or ``DataSplit.VALIDATION``.

        Returns:
            A plan of that split, or a list of plans, empty for none; None to leave it to others.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import ArtifactKind, DataSplit, hookimpl
            from artifact_torch.testing import TinyPlan

            @hookimpl
            def get_validation_plan(split):
                if split is DataSplit.TRAIN:
                    return TinyPlan(split, [ArtifactKind.SCORE], period=2)
                return None
        """

    @hookspec
    def get_train_loader_callbacks(self, routine: ValidationRoutine) -> Sequence[LoaderCallback] | None:
        """Called when a trainer takes a routine: what to compute over the training batches at each validation.

        Order:
            After ``get_validation_period``. All answers are joined, after the routine's own callbacks. Two callbacks
            of one name are refused.

        Args:
            routine: the routine; it passes over ``routine.train_loader``, or the trainer's loader if that is None.

        Returns:
            Loader callbacks, such as subclasses of ``ScoreCallback`` or ``PlotCallback``; None for no callback.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl, registry

            @hookimpl
            def get_train_loader_callbacks():
                loss_without_dropout = registry.get("callbacks", "loss")
                return [loss_without_dropout(split="train", name="evaluation_loss")]
        """

    @hookspec
    def get_val_loader_callbacks(self, routine: ValidationRoutine) -> Sequence[LoaderCallback] | None:
        """Called when a trainer takes a routine: what to compute over the validation batches at each validation.

        Order:
            After ``get_train_loader_callbacks``. All answers are joined, after the routine's own callbacks. Two
            callbacks of one name are refused, and so is a callback if there is no validation loader.

        Args:
            routine: the routine; it passes over ``routine.val_loader``, which may be None.

        Returns:
            Loader callbacks, such as subclasses of ``ScoreCallback`` or ``PlotCallback``; None for no callback.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl, registry

            @hookimpl
            def get_val_loader_callbacks(routine):
                if routine.val_loader is None:  # a callback would be refused
                    return None
                return [registry.get("callbacks", "loss")(name="held_out_loss")]
        """

    @hookspec(firstresult=True)
    def execute_validation(self, routine: ValidationRoutine, trainer: Trainer) -> ValidationResults | None:
        """Called when validation is due and by ``trainer.validate()``: the results, in place of the routine's own.

        The model is in evaluation mode and gradients are off; afterwards the random state is as it was before. While a
        plugin implements this hook, validation is due even if the routine has nothing to compute.

        Order:
            Between ``on_validation_start`` and ``on_validation_end``. The first answer that is not None counts, and
            the plugins after it are not asked; without an answer, the routine does ``routine.evaluate(trainer)``.

        Args:
            routine: the routine that validates; ``routine.evaluate(trainer)`` gives the results that it would compute.
            trainer: the trainer; ``trainer.state.epoch`` is the epoch that is validated, 0 before training.

        Returns:
            The results of all splits; None to leave it to others.

        .. versionadded:: 1.0

        Example::

            import time

            from artifact_torch import DataSplit, hookimpl

            @hookimpl
            def execute_validation(routine, trainer):
                start = time.perf_counter()
                results = routine.evaluate(trainer)
                results.of_split(DataSplit.VALIDATION).scores["seconds"] = time.perf_counter() - start
                return results
        """

    @hookspec
    def on_validation_start(self, trainer: Trainer) -> None:
        """Called before validation; the model is in evaluation mode and gradients are off.

        Order:
            Before ``execute_validation``. Implementations run one after the other; the first error ends the validation
            and training with it.

        Args:
            trainer: the trainer; ``trainer.state.epoch`` is the epoch that is validated, 0 before training.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import logging

            from artifact_torch import hookimpl

            @hookimpl
            def on_validation_start(trainer):
                logging.getLogger("artifact_torch").info("Validating after step %d.", trainer.state.step)
        """

    @hookspec
    def on_validation_end(self, trainer: Trainer, results: ValidationResults) -> None:
        """Called when a validation is complete, before its results are recorded and tracked: they may be edited.

        Order:
            After ``execute_validation``, when the artifacts of plans are there too, before ``track_score`` and the
            other hooks that track results. Where they are computed in the background, training has gone on meanwhile;
            a score counts only after this hook then, so whoever asks for one waits for the whole validation.
            Implementations run one after the other, each with the results as those before have left them; the first
            error ends training.

        Args:
            trainer: the trainer; ``trainer.state`` is where training is by now.
            results: the artifacts of each split; ``results.of_split(split)`` has a mapping for each kind, and
                ``results.epoch`` and ``results.step`` say when they were validated.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from statistics import fmean

            from artifact_torch import DataSplit, hookimpl

            @hookimpl
            def on_validation_end(results):
                scores = results.of_split(DataSplit.VALIDATION).scores
                if scores:
                    scores["mean_of_scores"] = fmean(scores.values())
        """

    @hookspec
    def on_artifacts_awaited(self, trainer: Trainer, left: int) -> None:
        """Called again and again while training waits for artifacts that are computed in the background.

        It waits when something depends on a score that is not there yet, when too many rounds are under way, and at the
        end. Nothing is waited for where artifacts are computed inline.

        Order:
            Some five times a second until what is waited for is there. Implementations run one after the other; the
            first error ends training.

        Args:
            trainer: the trainer.
            left: how many artifacts are not there yet.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import sys

            from artifact_torch import hookimpl

            @hookimpl
            def on_artifacts_awaited(left):
                print(f"{left} artifacts are being computed", file=sys.stderr)
        """
