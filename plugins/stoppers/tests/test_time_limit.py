"""Limits here have certainly passed, or certainly not: how fast the machine is decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from artifact_torch_stoppers import TimeLimit
from artifact_torch_stoppers.wording import duration, seconds_of

from artifact_torch import Callback, Trainer, UsageError, hookimpl

MakeTrainer = Callable[..., Trainer]


class Busy(Callback):
    """Lets time go by within an epoch."""

    def __init__(self, seconds: float, *, at_step: int) -> None:
        self.seconds = seconds
        self.at_step = at_step

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        start = time.monotonic()
        while trainer.state.step == self.at_step and time.monotonic() - start < self.seconds:
            pass


@pytest.mark.parametrize("scope", ["run", "process"])
def test_training_stops_within_an_epoch_when_the_time_is_over(make_trainer: MakeTrainer, scope: str) -> None:
    stopper = TimeLimit(limit="1000 h", margin="999 h 59 min 59.9 s", scope=scope)  # type: ignore[arg-type]
    trainer = make_trainer(epochs=1000, callbacks=[Busy(0.2, at_step=6)], stoppers=[stopper])
    result = trainer.train()
    assert result.steps <= 6
    assert result.reason.startswith("TimeLimit: 0.")
    assert result.reason.endswith(
        f" s of 41 d 16 h, of which 41 d 15 h are kept for the end, are over (epoch {trainer.state.epoch}, step "
        f"{result.steps})"
    )


@pytest.mark.parametrize("scope", ["run", "process"])
def test_training_goes_on_as_long_as_there_is_time(make_trainer: MakeTrainer, scope: str) -> None:
    stopper = TimeLimit(limit="1000 h", margin=3600, scope=scope)  # type: ignore[arg-type]
    assert make_trainer(stoppers=[stopper]).train().reason == "all 2 epochs are done"


def test_the_time_of_a_run_is_counted_over_processes_and_that_of_a_process_is_not(make_trainer: MakeTrainer) -> None:
    first = make_trainer(epochs=1)
    first.train()
    first.state.seconds = 7200.0  # as if it had taken so long
    checkpoint = first.save_checkpoint()
    reasons: dict[str, str] = {}
    for scope in ("run", "process"):
        second = make_trainer(epochs=2, stoppers=[TimeLimit(limit="2 h", scope=scope)])  # type: ignore[arg-type]
        second.load_checkpoint(checkpoint)
        reasons[scope] = second.train().reason
    assert reasons == {"run": "TimeLimit: 2 h of 2 h are over (epoch 1, step 4)", "process": "all 2 epochs are done"}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (90, 90.0),
        (0.5, 0.5),
        ("90", None),
        ("4 h", 14400.0),
        ("4h", 14400.0),
        ("1 hour 30 minutes", 5400.0),
        ("1h30m", 5400.0),
        ("1.5 hours", 5400.0),
        ("2 days", 172800.0),
        (" 45 min ", 2700.0),
        ("10 SEC", 10.0),
        ("1 d 2 h 3 min 4 s", 93784.0),
        ("4 months", None),
        ("four hours", None),
        ("4 h and a bit", None),
        ("-4 h", None),
        ("", None),
        (" ", None),
        (-1, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
    ],
)
def test_a_length_of_time_is_read_as_people_write_it(given: float | str, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(UsageError, match="The limit of TimeLimit is a number of seconds or a text such as '4 h'"):
            seconds_of("TimeLimit", "limit", given)
    else:
        assert seconds_of("TimeLimit", "limit", given) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.1234, "0.123 s"), (59.99, "60 s"), (60, "1 min"), (3661, "1 h 1 min"), (3600, "1 h"),
     (3605, "1 h"), (90000, "1 d 1 h"), (125, "2 min 5 s")],
)  # fmt: skip
def test_a_length_of_time_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "no time to train: its limit of 0 is no longer than its margin of 0.0"),
        ({"limit": "1 h", "margin": "60 min"}, "its limit of '1 h' is no longer than its margin of '60 min'"),
        ({"limit": "soon"}, "The limit of TimeLimit is a number of seconds or a text such as '4 h'"),
        ({"limit": 10, "margin": "-1 s"}, "The margin of TimeLimit is a number of seconds"),
        ({"limit": 10, "scope": "job"}, "The scope of TimeLimit is 'run' or 'process', not 'job'"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TimeLimit(**options)  # type: ignore[arg-type]
