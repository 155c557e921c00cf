"""Validation as it goes on beside training: rounds that are under way, what is waited for, and where results go."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from artifact_torch.core.artifact_work import ArtifactWork, BackgroundWork, Finished, InlineWork, is_background
from artifact_torch.core.artifacts import Artifact, ArtifactKind
from artifact_torch.core.computation import Outcome
from artifact_torch.core.exchange import Data, read_data
from artifact_torch.core.execution import execute_plan
from artifact_torch.core.plan import ValidationPlan
from artifact_torch.core.record import file_name
from artifact_torch.core.results import ValidationResults, draw_figures, score_names, track, value_of
from artifact_torch.core.rounds import Round, artifacts_of, read_results
from artifact_torch.core.split import DataSplit
from artifact_torch.core.storage import JsonDict
from artifact_torch.core.temporary import remove
from artifact_torch.core.unfinished import UnfinishedValidation
from artifact_torch.core.validation import Part, ValidationRoutine
from artifact_torch.errors import UsageError, ValidationError
from artifact_torch.plugin.specs import ValidationHooks

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["Submit", "Validating"]

logger = logging.getLogger("artifact_torch")

Submit: TypeAlias = Callable[[ValidationPlan, Mapping[str, Data]], None]

_POLL_SECONDS = 0.2
_CALLBACKS = "callbacks"


class Validating:
    """Validates for one trainer; see the trainer's methods."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._work: ArtifactWork | None = None
        self._under_way: list[UnfinishedValidation] = []
        self._to_take_up: list[JsonDict] = []
        self._failed: dict[str, str] = {}
        self._told: set[tuple[DataSplit, str]] = set()
        self._told_to_wait = False
        self._is_training = False
        self.seconds_waited = 0.0

    @contextmanager
    def working(self) -> Generator[None]:
        """While training: processes run that compute artifacts, and what was left open is taken up."""
        routine, folder = self._trainer.validation, self._folder
        if routine.plans and is_background(routine.mode):
            self._work = BackgroundWork(folder, workers=routine.workers, seconds=routine.artifact_seconds)
        else:
            self._work = InlineWork()
        self._is_training = True
        try:
            self._work.start(routine.plans)
            while self._to_take_up:
                self._take_up(self._to_take_up.pop(0))
            yield
        finally:
            self._is_training = False
            self._work.close()
            self._work = None
            self._to_take_up = self.state()  # where training is called again without going back to a checkpoint
            self._under_way.clear()

    def due(self, *, epoch_ends: bool) -> tuple[Part, ...]:
        """What is due now and was not validated after this step already."""
        state = self._trainer.state
        return self._not_done(self._trainer.validation.due(state.epoch, state.step, epoch_ends=epoch_ends))

    def rest(self) -> tuple[Part, ...]:
        """Everything that was not validated after this step."""
        return self._not_done(self._trainer.validation.parts)

    @property
    def is_working(self) -> bool:
        """Whether the trainer is training, and not only validated by hand."""
        return self._is_training

    def is_under_way(self, step: int) -> bool:
        """Whether something of a validation after this step is not there yet."""
        return any(validation.results.step == step for validation in self._under_way)

    @property
    def has_seen_all(self) -> bool:
        """Whether everything was validated once, so that a score that is not there is not going to come."""
        return all(_key(part) in self._trainer.state.validated for part in self._trainer.validation.parts)

    def validate(self, parts: Sequence[Part]) -> ValidationResults:
        """Validate these parts now; the artifacts of plans may come later."""
        if self._work is not None:
            return self._validate(parts, self._work).results
        self._work = InlineWork()
        try:
            return self._validate(parts, self._work).results
        finally:
            self._work = None

    def rehearse(self) -> None:
        """Validate everything once, with two batches of each loader, and forget the results: mistakes show now."""
        routine = self._trainer.validation
        limit, routine.limit_batches = routine.limit_batches, 2
        try:
            with TemporaryDirectory() as folder:

                def submit(plan: ValidationPlan, inputs: Mapping[str, Data]) -> None:
                    execute_plan(plan, inputs, Path(folder, f"{plan.split}-{file_name(plan.name)}"))

                if routine.parts:
                    results = routine.validate(self._trainer, routine.parts, submit)
                    draw_figures(results, Path(folder))
        finally:
            routine.limit_batches = limit

    def collect(self, timeout: float = 0.0) -> None:
        """Take what has been computed; waits up to ``timeout`` seconds if there is nothing yet."""
        if self._work is None or not self._under_way:
            return
        for finished in self._work.finished(timeout):
            self._arrived(finished)
        for validation in [each for each in self._under_way if each.is_complete]:
            self._complete(validation)

    def wait_for(self, score: str) -> None:
        """Wait until the newest value of a column of ``epoch_scores`` is there, if it is being computed.

        Raises:
            ValidationError: it could not be computed.
        """
        for validation in list(self._under_way):
            edited = self._is_edited and score != "train/loss"
            while validation in self._under_way and (edited or validation.may_give(score)):
                self._wait(f"for {score}")
        for name, message in self._failed.items():
            if score == name or score.startswith(f"{name}/"):
                raise ValidationError(message)

    def wait_for_scores(self) -> None:
        """Wait until all scores are there that are being computed."""
        for validation in list(self._under_way):
            while validation in self._under_way and (self._is_edited or validation.has_scores_left):
                self._wait("for scores")

    def wait(self, *, last: bool = False) -> None:
        """Wait until everything is there, or a signal asks training to end; ``last`` if there is nothing else to do."""
        if last and self._work is not None and self._under_way:
            self._work.hurry()
        while self._under_way and not self._trainer.is_interrupted:
            self._wait("for the last artifacts", tell=False)

    def state(self) -> list[JsonDict]:
        """What a checkpoint keeps of rounds that are not complete."""
        rounds = (round for validation in self._under_way for round in validation.rounds)
        return [*self._to_take_up, *(round.state() for round in rounds if round.left)]

    def load(self, state: list[JsonDict]) -> None:
        """Go on with these rounds when training begins."""
        self._to_take_up = list(state)

    @property
    def _folder(self) -> Path:
        return self._trainer.run.path / "validation"

    @property
    def _is_edited(self) -> bool:
        """Whether plugins may change results, so that none counts before all of its validation are there."""
        return bool(self._trainer.hooks.implementations("on_validation_end"))

    def _not_done(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        state = self._trainer.state
        return tuple(part for part in parts if state.validated.get(_key(part)) != state.step)

    def _validate(self, parts: Sequence[Part], work: ArtifactWork) -> UnfinishedValidation:
        trainer = self._trainer
        self._make_room(parts)
        validation = UnfinishedValidation(ValidationResults())

        def submit(plan: ValidationPlan, inputs: Mapping[str, Data]) -> None:
            round = self._round(plan, trainer.state.epoch, trainer.state.step, list(plan.artifacts))
            round.begin(inputs if work.background else None)
            validation.rounds.append(round)
            work.submit(plan, round, inputs)

        results = validation.results = trainer.validation.validate(trainer, parts, submit)
        results.epoch, results.step = trainer.state.epoch, trainer.state.step
        for split, artifacts in results.splits.items():
            if any(artifacts.of_kind(kind) for kind in ArtifactKind):
                round = validation.others[split] = self._round_of(_CALLBACKS, split, results.epoch, results.step)
                round.begin()
        draw_figures(results, self._folder_of(_CALLBACKS, DataSplit.ALL, results.epoch, results.step))
        trainer.state.validated |= {_key(part): results.step for part in parts}
        trainer.metrics.record_epoch(results.epoch, {})  # a row, whatever comes
        self._under_way.append(validation)
        if not self._is_edited:
            self._deliver(validation)
            self._write_others(validation)
        self.collect()
        return validation

    def _make_room(self, parts: Sequence[Part]) -> None:
        routine = self._trainer.validation
        limit = routine.rounds_in_flight
        for plan in routine.plans if routine in parts else (each for each in parts if isinstance(each, ValidationPlan)):
            while self._in_flight(plan) >= limit and not self._trainer.is_interrupted:
                self._wait(f"because {limit} rounds of {plan.name} are not complete")

    def _in_flight(self, plan: ValidationPlan) -> int:
        rounds = (round for validation in self._under_way for round in validation.rounds)
        return sum(bool(round.left) and (round.plan, round.split) == (plan.name, plan.split) for round in rounds)

    def _wait(self, why: str, *, tell: bool = True) -> None:
        if tell and not self._told_to_wait:
            self._told_to_wait = True
            logger.info("Training waits %s; run.json says how long in all.", why)
        start = time.monotonic()
        self.collect(timeout=_POLL_SECONDS)
        self.seconds_waited += time.monotonic() - start
        left = sum(len(round.left) for validation in self._under_way for round in validation.rounds)
        self._trainer.hooks.notify(ValidationHooks.on_artifacts_awaited, trainer=self._trainer, left=left)

    def _arrived(self, finished: Finished) -> None:
        round, artifact, outcome = finished.round, finished.artifact, finished.outcome
        validation = next((each for each in self._under_way if round in each.rounds), None)
        if validation is None:
            return
        what = f"The {artifact} of {round.split} after epoch {round.epoch}, step {round.step}"
        for warning in outcome.warnings:
            if (round.split, warning) not in self._told:  # it may be so for other artifacts, and in every round
                self._told.add((round.split, warning))
                logger.warning("%s: %s", what, warning)
        if outcome.error:
            self._note_failure(what, round, artifact, outcome)
            round.take(artifact, outcome, None)
        else:
            value = value_of(artifact.kind, outcome.value, finished.folder)
            validation.results.of_split(round.split).add(artifact, value)
            validation.arrived[round.split, artifact] = finished
            self._failed.pop(f"{round.split}/{artifact.name}", None)
        if not self._is_edited:
            self._deliver(validation)

    def _complete(self, validation: UnfinishedValidation) -> None:
        self._under_way.remove(validation)
        if self._is_edited:
            self._trainer.hooks.notify(
                ValidationHooks.on_validation_end, trainer=self._trainer, results=validation.results
            )
            self._deliver(validation)
            self._write_others(validation)

    def _write_others(self, validation: UnfinishedValidation) -> None:
        """Write down what does not come from plans, whose plots have left the folder that they were drawn in."""
        for round in validation.others.values():
            round.write()
        remove(self._folder_of(_CALLBACKS, DataSplit.ALL, validation.results.epoch, validation.results.step))

    def _deliver(self, validation: UnfinishedValidation) -> None:
        """Record and track what is new in the results."""
        results = validation.results
        for split, artifacts in results.splits.items():
            for kind in ArtifactKind:
                for name, value in artifacts.of_kind(kind).items():
                    artifact = Artifact(kind, name)
                    if (split, artifact) not in validation.delivered:
                        validation.delivered.add((split, artifact))
                        self._deliver_one(validation, split, artifact, value)

    def _deliver_one(self, validation: UnfinishedValidation, split: DataSplit, artifact: Artifact, value: Any) -> None:
        trainer, results = self._trainer, validation.results
        scores = score_names(split, artifact, value)
        if "train/loss" in scores:
            raise UsageError("A score of the training split is named 'loss', like the training loss: rename it.")
        for name, number in scores.items():
            if not math.isfinite(number):
                logger.warning("The score %s of epoch %d is %s.", name, results.epoch, number)
        trainer.metrics.record_epoch(results.epoch, scores)
        track(trainer.hooks, artifact, value, split, epoch=results.epoch, step=results.step)
        stored = trainer.run.stored(artifact, value, split, epoch=results.epoch, step=results.step)
        found = validation.arrived.pop((split, artifact), None)
        if found is not None:
            found.round.take(artifact, found.outcome, stored)
            if found.folder.parent == found.round.folder:
                remove(found.folder)
            return
        others = validation.others.get(split)
        if others is None:
            others = validation.others[split] = self._round_of(_CALLBACKS, split, results.epoch, results.step)
            others.begin()
        others.note(artifact, Outcome(), stored)

    def _note_failure(self, what: str, round: Round, artifact: Artifact, outcome: Outcome) -> None:
        message = f"{what} could not be computed: {outcome.error}."
        logger.warning("%s It is left out; the traceback is in %s.", message, round.folder / "results.json")
        run = self._trainer.run
        failures = [*run.record.get("failed_artifacts", []), {"artifact": what, **_failure(outcome)}]
        run.update(failed_artifacts=failures[-20:])
        if artifact.kind.is_score:
            self._failed[f"{round.split}/{artifact.name}"] = (
                f"{message} Training depends on it, so it ends here; see {round.folder}."
            )

    def _round(self, plan: ValidationPlan, epoch: int, step: int, left: list[Artifact]) -> Round:
        round = self._round_of(plan.name, plan.split, epoch, step)
        round.left, round.rows, round.seed = left, plan.rows, plan.seed
        return round

    def _round_of(self, plan: str, split: DataSplit, epoch: int, step: int) -> Round:
        return Round(plan, split, epoch, step, self._folder_of(plan, split, epoch, step), [])

    def _folder_of(self, plan: str, split: DataSplit, epoch: int, step: int) -> Path:
        return self._folder / f"epoch-{epoch}-step-{step}-{split}-{file_name(plan)}"

    def _take_up(self, entry: JsonDict) -> None:
        """Go on with a round that was not complete when the checkpoint was saved."""
        trainer, work = self._trainer, self._work
        assert work is not None  # training begins
        split, epoch, step = DataSplit(entry["split"]), int(entry["epoch"]), int(entry["step"])
        plan = next(
            (each for each in trainer.validation.plans if (each.name, each.split) == (entry["plan"], split)), None
        )
        left = artifacts_of(entry["left"])
        if plan is None or not set(left) <= set(plan.artifacts):
            logger.warning(
                "The artifacts of %s of epoch %d were under way, and are not asked for now.", entry["plan"], epoch
            )
            return
        round = self._round(plan, epoch, step, left)
        round.entries = list(entry["entries"])
        found = read_results(round.folder)
        if found is not None:
            validation = UnfinishedValidation(ValidationResults(epoch=epoch, step=step), [round])
            self._under_way.append(validation)
            self._restore_results(validation, round, found)
        elif (round.inputs / "index.json").exists():
            self._under_way.append(UnfinishedValidation(ValidationResults(epoch=epoch, step=step), [round]))
            work.submit(plan, round, None if work.background else read_data(round.inputs))
        elif step == trainer.state.step:
            self._validate([plan], work)  # the model is as it was then
        else:
            logger.warning("The artifacts of %s of epoch %d were under way and are lost.", plan.name, epoch)
        self.collect()

    def _restore_results(self, validation: UnfinishedValidation, round: Round, found: JsonDict) -> None:
        """Deliver again what was complete when the run was killed, after the checkpoint was saved."""
        folder = self._trainer.run.path
        entries = {(entry["kind"], entry["name"]): entry for entry in found["artifacts"]}
        for artifact in list(round.left):
            entry = entries.get((str(artifact.kind), artifact.name), {"seconds": 0.0, "error": "it is not among them"})
            outcome = Outcome(entry.get("value"), entry["seconds"], entry.get("warnings", []), entry.get("error", ""))
            self._arrived(Finished(round, artifact, outcome, folder))


def _failure(outcome: Outcome) -> JsonDict:
    return {"error": outcome.error, "traceback": outcome.traceback}


def _key(part: Part) -> str:
    if isinstance(part, ValidationRoutine):
        return "routine"
    return f"{'plan' if isinstance(part, ValidationPlan) else 'callback'}/{part.split}/{part.name}"
