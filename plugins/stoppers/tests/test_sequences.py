"""When each stopper ends a training, by the values that its score takes from epoch to epoch.

One real training records the values of all cases, each as a score of its own, and goes on whatever their stoppers say.
Checkpoints are saved after every epoch; from each of them a new trainer, with new stoppers, trains the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from artifact_torch_stoppers import GeneralizationGap, NonFinite, Patience, Plateau, Threshold

from artifact_torch import Callback, EarlyStopper, RunDirectory, Trainer, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader

EPOCHS = 10
NEVER = None


@dataclass(frozen=True, slots=True)
class Case:
    """A stopper with these options, the values of its score, and the epoch in which it has to stop training.

    Attributes:
        values: one for each epoch; ``.`` where nothing is recorded, as in all epochs after the last.
        train: the same for the score of the training split.
    """

    name: str
    stopper: type[EarlyStopper]
    options: Mapping[str, Any]
    values: str
    stops: int | None
    train: str = ""

    def __str__(self) -> str:
        return f"{self.stopper.__name__}: {self.name}"


def rows(stopper: type[EarlyStopper], *cases: tuple[Any, ...]) -> list[Case]:
    return [Case(name, stopper, options, values, stops, *train) for name, options, values, stops, *train in cases]


# fmt: off
CASES = [
    *rows(
        Patience,
        ("improving",                      {"epochs": 3}, "8 7 6 5 4 3 2 1", NEVER),
        ("flat",                           {"epochs": 3}, "1 1 1 1 1", 4),
        ("constant, default patience",     {}, "2 2 2 2 2 2 2", 6),
        ("getting worse",                  {"epochs": 2}, "1 2 3 4", 3),
        ("impatient",                      {"epochs": 1}, "3 2 2", 3),
        ("noisy",                          {"epochs": 3}, "5 6 4 5 4.5 3 4 5 6", 9),
        ("noisy, never three in a row",    {"epochs": 3}, "5 6 6 4 5 5 3 4 4 2", NEVER),
        ("equal to the best",              {"epochs": 2}, "3 2 4 2", 4),
        ("larger is better",               {"epochs": 3, "mode": "max"}, "1 2 3 2 2 2", 6),
        ("larger is better, rising",       {"epochs": 3, "mode": "max"}, "1 2 3 4 5 6", NEVER),
        ("too small changes",              {"epochs": 3, "minimum_change": 1}, "5 4.5 4 4.2 3.9", 4),
        ("small changes that add up",      {"epochs": 3, "minimum_change": 1}, "5 4.5 3.5 3 2.4", NEVER),
        ("too small a share",              {"epochs": 3, "minimum_change": .1, "relative": True}, "100 95 91 90 89", 4),
        ("a share that shrinks",           {"epochs": 2, "minimum_change": .1, "relative": True}, "100 89 80 81 71 65",
                                           NEVER),
        ("a share of what is negative",    {"epochs": 2, "minimum_change": .5, "relative": True}, "-4 -7 -5 -6", 4),
        ("NaN at the start",               {"epochs": 3}, "nan nan 3 2 2 2 2", 7),
        ("NaN from the start",             {"epochs": 3}, "nan nan nan nan", 3),
        ("NaN late",                       {"epochs": 3}, "3 2 nan nan nan", 5),
        ("NaN now and then",               {"epochs": 3}, "3 2 nan 1 nan nan 1 1", 7),
        ("NaN stops",                      {"epochs": 3, "check_finite": True}, "3 2 nan 1", 3),
        ("infinity stops",                 {"epochs": 3, "check_finite": True}, "inf 1 1", 1),
        ("infinite either way",            {"epochs": 3}, "inf 3 2 inf -inf inf", 6),
        ("infinitely good is no number",   {"epochs": 2, "mode": "max"}, "1 inf inf 2", 3),
        ("a single value",                 {"epochs": 1}, "3", NEVER),
        ("a single value, late",           {"epochs": 2, "warm_up": 8}, ". . . . . . . . 3", NEVER),
        ("every other epoch",              {"epochs": 2}, ". 3 . 2 . 2 . 2", 8),
        ("missing epochs do not count",    {"epochs": 2}, "3 . . . . 3 . . 3", 9),
        ("baseline never beaten",          {"epochs": 3, "baseline": 4}, "5 5 5 5", 3),
        ("baseline never beaten, slowly",  {"epochs": 3, "baseline": 4}, "9 8 7 6 5 5", 6),
        ("baseline met, not beaten",       {"epochs": 2, "baseline": 4}, "5 4 4", 3),
        ("baseline beaten in time",        {"epochs": 3, "baseline": 4}, "5 3 3 3 3 3", 5),
        ("baseline, larger is better",     {"epochs": 2, "baseline": .5, "mode": "max"}, ".4 .3 .6", 2),
        ("warm-up",                        {"epochs": 2, "warm_up": 3}, "1 9 9 5 6 6", 6),
        ("NaN in the warm-up",             {"epochs": 2, "warm_up": 2, "check_finite": True}, "nan nan 3 nan", 4),
        ("missing after the warm-up",      {"epochs": 2, "warm_up": 2}, "1 2 . . 5 5 5", 7),
        ("warm-up longer than training",   {"epochs": 1, "warm_up": 10}, "1 2 3 4 5 6 7 8 9 10", NEVER),
    ),
    *rows(
        Threshold,
        ("goal reached",                   {"goal": 1}, "3 2 1 .5", 3),
        ("goal passed",                    {"goal": 1}, "3 2 .5 .25", 3),
        ("goal never reached",             {"goal": 1}, "3 2 1.5 1.25", NEVER),
        ("goal, larger is better",         {"goal": .9, "mode": "max"}, ".5 .7 .9", 3),
        ("no number reaches no goal",      {"goal": 1}, "nan -inf 2 1", 4),
        ("goal in an epoch of few",        {"goal": 1}, "2 . 1 .", 3),
        ("goal in the warm-up",            {"goal": 1, "warm_up": 2}, "1 1 2 1", 4),
        ("diverged",                       {"limit": 10}, "5 9 10 11", 4),
        ("diverged, larger is better",     {"limit": .1, "mode": "max"}, ".5 .1 .09", 3),
        ("NaN is beyond the limit",        {"limit": 10}, "5 nan", 2),
        ("infinity is beyond the limit",   {"limit": 10}, "5 -inf", 2),
        ("high in the warm-up",            {"limit": 10, "warm_up": 2}, "50 40 5 20", 4),
        ("between goal and limit",         {"goal": 1, "limit": 10}, "5 2 9 3 .5", 5),
        ("a single value",                 {"goal": 1}, "1", 1),
    ),
    *rows(
        NonFinite,
        ("numbers",                        {}, "1 2 3 -4 0", NEVER),
        ("NaN late",                       {}, "1 2 nan", 3),
        ("infinite at the start",          {}, "-inf 1", 1),
        ("three in a row",                 {"epochs": 3}, "nan nan 1 nan . inf nan", 7),
        ("a single value",                 {"epochs": 2}, "nan", NEVER),
    ),
    *rows(
        Plateau,
        ("falling",                        {"epochs": 3}, "10 9 8 7 6 5 4 3 2 1", NEVER),
        ("constant",                       {"epochs": 3}, "2 2 2", 3),
        ("zero",                           {"epochs": 3}, "0 0 0", 3),
        ("getting worse",                  {"epochs": 3}, "1 2 3", 3),
        ("flat after a fall",              {"epochs": 3}, "8 4 2 1 1 1", 6),
        ("noise around a level",           {"epochs": 4}, "5 6 5 6 5 6", 4),
        ("noise around a fall",            {"epochs": 4}, "10 11 8 9 6 7 4 5 2 3", NEVER),
        ("larger is better",               {"epochs": 3, "mode": "max"}, "1 2 3 3 3", 5),
        ("slower than the bound",          {"epochs": 3, "slope": .1}, "10 8 6 5.5 5", 5),
        ("every other epoch",              {"epochs": 3}, "9 . 6 . 3 . 3 . 3", 9),
        ("NaN in between",                 {"epochs": 3}, "4 nan 4 1", 3),
        ("NaN but for one",                {"epochs": 3}, "4 nan nan", 3),
        ("huge numbers",                   {"epochs": 3}, "1e308 1e308 1e308", 3),
        ("a single value",                 {"epochs": 2}, "2", NEVER),
    ),
    *rows(
        GeneralizationGap,
        ("relative",                       {"bound": .5, "epochs": 2}, "1 1 2 2 2", 4, "1 1 1 1 1"),
        ("not in a row",                   {"bound": .5, "epochs": 2}, "1 2 1 2 1", NEVER, "1 1 1 1 1"),
        ("relative to nothing",            {"bound": .5}, "0 1", 2, "0 0"),
        ("absolute",                       {"bound": .5, "measure": "absolute"}, "1.5 1.75", 2, "1 1"),
        ("larger is better",               {"bound": .3, "measure": "absolute", "mode": "max"}, ".5 .5", 2, ".5 .9"),
        ("better than in training",        {"bound": 0}, "1 1 1", NEVER, "2 1 3"),
        ("validated every other epoch",    {"bound": .5, "epochs": 2}, "1 . 3 . 3", 5, "1 1 1 1 1"),
        ("NaN is left out",                {"bound": .5, "epochs": 2}, "3 nan 3", 3, "1 1 1"),
        ("infinity is left out",           {"bound": .5}, "inf 1 3", 3, "1 1 1"),
        ("loss of generality",             {"bound": .05, "measure": "loss"}, "4 2 2.05 2.2", 4, ""),
        ("loss, larger is better",         {"bound": .1, "measure": "loss", "mode": "max"}, ".5 .8 .75 .7", 4, ""),
    ),
]
# fmt: on


COLUMNS = {f"row{number}": case.values.split() for number, case in enumerate(CASES)} | {
    f"train_row{number}": case.train.split() for number, case in enumerate(CASES)
}


class Script(Callback):
    """Records the values of all cases."""

    @hookimpl
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        place = trainer.state.epoch - 1
        texts = {name: column[place] for name, column in COLUMNS.items() if place < len(column)}
        return {name: float(text) for name, text in texts.items() if text != "."}


class Saver(Callback):
    """Saves a checkpoint after each epoch."""

    def __init__(self) -> None:
        self.checkpoints: list[Path] = []

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        self.checkpoints.append(trainer.save_checkpoint())


class Jury(EarlyStopper):
    """Asks the stoppers of all cases, and goes on whatever they say.

    Attributes:
        verdicts: case -> the first epoch in which its stopper had a reason, and the reason.
    """

    def __init__(self) -> None:
        self.verdicts: dict[int, tuple[int, str]] = {}
        self._stoppers: list[EarlyStopper] = []
        for number, case in enumerate(CASES):
            scores = {"score": f"train/row{number}"}
            if case.stopper is GeneralizationGap:
                scores["train_score"] = f"train/train_row{number}"
            self._stoppers.append(case.stopper(**scores, **case.options))

    def check(self, trainer: Trainer) -> str | None:
        for number, stopper in enumerate(self._stoppers):
            if number not in self.verdicts and (reason := stopper.check(trainer)) is not None:
                self.verdicts[number] = trainer.state.epochs_completed, reason
        return None


Verdicts = Mapping[int, tuple[int, str]]


def judged(root: Path, *callbacks: Callback, checkpoint: Path | None = None) -> Verdicts:
    """What the stoppers say in a training, from a checkpoint on if there is one."""
    jury = Jury()
    trainer = Trainer(
        TinyModel(),
        tiny_loader(16),
        epochs=EPOCHS,
        callbacks=[Script(), *callbacks],
        stoppers=[jury],
        run=RunDirectory.create(root=root),
        device="cpu",
        use_installed_plugins=False,
        plugin_time_share=math.inf,
    )
    if checkpoint is not None:
        trainer.load_checkpoint(checkpoint)
    assert trainer.train().epochs == EPOCHS
    return jury.verdicts


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def saver() -> Saver:
    return Saver()


@pytest.fixture(scope="module")
def whole(root: Path, saver: Saver) -> Verdicts:
    return judged(root, saver)


@pytest.fixture(scope="module")
def resumed(root: Path, saver: Saver, whole: Verdicts) -> Mapping[int, Verdicts]:
    """The epoch after which a training was resumed -> what the stoppers said from there on."""
    checkpoints = enumerate(saver.checkpoints[:-1], start=1)
    return {epoch: judged(root, checkpoint=checkpoint) for epoch, checkpoint in checkpoints}


NUMBERED = [pytest.param(number, case, id=str(case)) for number, case in enumerate(CASES)]
STOPPED = [each for each, case in zip(NUMBERED, CASES, strict=True) if case.stops is not NEVER]


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_training_stops_in_the_epoch_that_the_settings_ask_for(number: int, case: Case, whole: Verdicts) -> None:
    epoch, reason = whole.get(number, (NEVER, ""))
    assert epoch == case.stops, reason


@pytest.mark.parametrize(("number", "case"), STOPPED)
def test_the_reason_names_the_score_and_the_epoch_of_a_value(number: int, case: Case, whole: Verdicts) -> None:
    stopped, reason = whole[number]
    assert f"train/row{number} " in reason
    recorded = [(text, epoch) for epoch, text in enumerate(case.values.split()[:stopped], start=1) if text != "."]
    values = [f"{float(text):.6g} (epoch {epoch})" for text, epoch in recorded]
    assert any(value in reason for value in values) or reason.endswith("has been NaN or infinite for 3 epochs")


@pytest.mark.lengthy
@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_a_training_resumed_after_any_epoch_stops_in_the_same_epoch_for_the_same_reason(
    number: int, case: Case, whole: Verdicts, resumed: Mapping[int, Verdicts]
) -> None:
    expected = whole.get(number)
    epochs = range(1, min(case.stops or EPOCHS, EPOCHS - 1) + 1)  # a training that has stopped stays stopped
    assert {epoch: resumed[epoch].get(number) for epoch in epochs} == dict.fromkeys(epochs, expected)


def test_there_are_many_different_sequences() -> None:
    assert len({(case.values, case.train) for case in CASES}) >= 30
