"""Model tracking: the best models of a training, kept on disk."""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from artifact_torch.core.callback import Callback
from artifact_torch.core.split import DataSplit
from artifact_torch.core.storage import is_bundle, read_bundle, write_bundle, write_json
from artifact_torch.core.temporary import remove, sweep
from artifact_torch.errors import UsageError
from artifact_torch.plugin.markers import hookimpl

if TYPE_CHECKING:
    from artifact_torch.core.model import Model
    from artifact_torch.core.trainer import Trainer

__all__ = ["KeptModel", "ModelTracker", "read_kept"]

ScoreFunction: TypeAlias = Callable[[Mapping[str, float]], float | None]

_INDEX = "models.json"

logger = logging.getLogger("artifact_torch")


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A model that was kept.

    Attributes:
        epoch: the epoch that it was trained in.
        step: optimizer steps done.
        score: what it was kept for.
        name: its folder in the run directory's ``best``.
    """

    epoch: int
    step: int
    score: float
    name: str


class ModelTracker(Callback):
    """Keeps the best models of a training: copies on disk, each saved as ``Model.save`` does.

    A model is saved at each validation and, if the epoch has the score then, after each epoch; it stays once its score
    is there and is among the best. What is validated is what is saved, averaged weights included. The models are in
    ``best`` in the run directory, with ``models.json`` that says how good they are; what was kept survives a crash, and
    a resumed training keeps the same models as one that was not interrupted.

    Args:
        score: a column of ``epoch_scores``, such as ``"validation/loss"``; in Python also a function that takes the
            scores of one validation or epoch by name and returns one number, or None if it cannot be judged by them.
        mode: whether the lowest (``"min"``) or the highest (``"max"``) score is best; of equal ones the earlier is.
        keep: how many models to keep.
        restore_best: whether the trainer's model is the best one when training has ended, and the run's model with it.

    Raises:
        UsageError: an argument is out of range.

    Example::

        tracker = ModelTracker(score="train/loss", keep=2, restore_best=True)
        trainer = Trainer(model, train_loader, epochs=3, model_tracker=tracker)
        trainer.train()
        print(tracker.kept[0].epoch, trainer.best_model)
    """

    def __init__(
        self,
        *,
        score: str | ScoreFunction = "validation/loss",
        mode: Literal["min", "max"] = "min",
        keep: int = 1,
        restore_best: bool = False,
    ) -> None:
        if mode not in ("min", "max"):
            raise UsageError(f"The mode of ModelTracker is 'min' or 'max', not {mode!r}.")
        if keep < 1:
            raise UsageError(f"ModelTracker must keep at least 1 model, not {keep}.")
        if score == "":
            raise UsageError("ModelTracker needs a score: name a column of epoch_scores, such as 'validation/loss'.")
        self.score = score
        self.mode = mode
        self.keep = keep
        self.restore_best = restore_best
        self.kept: tuple[KeptModel, ...] = ()
        """The models that are kept now, the best first."""
        self._scores: dict[int, dict[str, float]] = {}
        self._waiting: dict[int, int] = {}

    def folder(self, trainer: Trainer) -> Path:
        """Where the models of a trainer's run are."""
        return trainer.run.path / "best"

    def best_model(self, trainer: Trainer) -> Model:
        """See ``Trainer.best_model``."""
        if not self.kept:
            raise UsageError(f"No model was kept: none has had a finite {self._name} so far.")
        model = copy.deepcopy(trainer.model)
        model.load_state_dict(read_bundle(self.folder(trainer) / self.kept[0].name)[0])
        return model.eval()

    def conclude(self, trainer: Trainer) -> None:
        """When all scores are there: settle which models stay, and make the run's model the best one if so asked."""
        self._settle(trainer)
        if not self.kept:
            logger.warning("The model tracker has kept no model: none has had a finite %s.", self._name)
            return
        best = self.kept[0]
        logger.info(
            "The best model is that of epoch %d, step %d: %s %g.", best.epoch, best.step, self._name, best.score
        )
        trainer.run.update(best_models=[asdict(each) for each in self.kept])
        trainer.track_file("best_model", self.folder(trainer) / best.name)
        if self.restore_best:
            write_bundle(trainer.run.model_path, *read_bundle(self.folder(trainer) / best.name))

    def restore(self, trainer: Trainer) -> bool:
        """Once training has ended: put the best weights into the trainer's model, if so asked; whether it was done."""
        if not self.restore_best or not self.kept:
            return False
        trainer.model.load_state_dict(read_bundle(self.folder(trainer) / self.kept[0].name)[0])
        return True

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        folder = self.folder(trainer)
        sweep(folder)
        there = {path.name for path in folder.glob("*") if is_bundle(path)}
        # A checkpoint may be of another run directory, where what it knows of has stayed.
        self.kept = tuple(each for each in self.kept if each.name in there)
        self._waiting = {step: epoch for step, epoch in self._waiting.items() if _folder_name(epoch, step) in there}
        waiting = {_folder_name(epoch, step) for step, epoch in self._waiting.items()}
        for name in there - waiting - {each.name for each in self.kept}:
            remove(folder / name)  # of a part of the training that is done again

    @hookimpl(trylast=True)
    def on_validation_start(self, trainer: Trainer) -> None:
        if trainer.validating.is_working:
            self._save(trainer)

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        step = trainer.state.step
        if step not in self._waiting and self._value(step) is not None:
            with trainer.evaluating():
                self._save(trainer)
        self._settle(trainer)

    @hookimpl
    def track_score(self, name: str, value: float, split: DataSplit, step: int) -> None:
        if not name.startswith("batch/"):
            self._scores.setdefault(step, {})[f"{split}/{name}"] = value

    @hookimpl
    def track_score_collection(self, name: str, value: Mapping[str, float], split: DataSplit, step: int) -> None:
        for item, number in value.items():
            self.track_score(f"{name}/{item}", number, split, step)

    @hookimpl
    def on_save_checkpoint(self) -> dict[str, Any]:
        return {
            "kept": [asdict(each) for each in self.kept],
            "waiting": [{"step": step, "epoch": epoch} for step, epoch in self._waiting.items()],
            "scores": [{"step": step, "scores": scores} for step, scores in self._scores.items()],
        }

    @hookimpl
    def on_load_checkpoint(self, state: Mapping[str, Any]) -> None:
        self.kept = tuple(KeptModel(**each) for each in state["kept"])
        self._waiting = {each["step"]: each["epoch"] for each in state["waiting"]}
        self._scores = {each["step"]: dict(each["scores"]) for each in state["scores"]}

    @property
    def _name(self) -> str:
        return self.score if isinstance(self.score, str) else "score"

    def _save(self, trainer: Trainer) -> None:
        state = trainer.state
        if state.step in self._waiting or any(each.step == state.step for each in self.kept):
            return
        folder = self.folder(trainer)
        try:
            trainer.model.save(folder / _folder_name(state.epoch, state.step))
        except OSError as error:
            logger.warning(
                "The model of epoch %d cannot be kept in %s (%s): it is not among the best. Training goes on.",
                state.epoch,
                folder,
                error.strerror or error,
            )
        else:
            self._waiting[state.step] = state.epoch

    def _value(self, step: int) -> float | None:
        """What the model of a step is judged by; None as long as it is not there."""
        scores = self._scores.get(step, {})
        return scores.get(self.score) if isinstance(self.score, str) else self.score(scores) if scores else None

    def _settle(self, trainer: Trainer) -> None:
        """Decide about each model that waits for a score which is there, or which is not going to come."""
        for step, epoch in list(self._waiting.items()):
            is_there = isinstance(self.score, str) and self._value(step) is not None
            if not is_there and trainer.validating.is_under_way(step):
                continue
            del self._waiting[step]
            value, name = self._value(step), _folder_name(epoch, step)
            if value is None or not math.isfinite(value):
                remove(self.folder(trainer) / name)
            else:
                self._take(trainer, KeptModel(epoch, step, float(value), name))
        latest = min(self._waiting, default=trainer.state.step)
        self._scores = {step: scores for step, scores in self._scores.items() if step >= latest}

    def _take(self, trainer: Trainer, model: KeptModel) -> None:
        sign = 1.0 if self.mode == "min" else -1.0
        ranked = sorted([*self.kept, model], key=lambda each: (sign * each.score, each.step))
        self.kept = tuple(ranked[: self.keep])
        folder = self.folder(trainer)
        write_json(folder / _INDEX, {"score": self._name, "mode": self.mode, "models": [asdict(m) for m in self.kept]})
        for each in ranked[self.keep :]:
            remove(folder / each.name)


def _folder_name(epoch: int, step: int) -> str:
    return f"epoch-{epoch}-step-{step}"


def read_kept(path: Path) -> list[KeptModel]:
    """The models that a run directory says are its best, the best first; none if it has no model tracker."""
    try:
        index = json.loads((path / "best" / _INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [KeptModel(**each) for each in index["models"]]
