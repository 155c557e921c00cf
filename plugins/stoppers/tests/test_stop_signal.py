from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest
from artifact_torch_stoppers import StopSignal

from artifact_torch import Callback, Trainer, UsageError, hookimpl

MakeTrainer = Callable[..., Trainer]

NUMBERS = [signal.SIGUSR1, signal.SIGUSR2]


class Send(Callback):
    """Sends a signal to this process after a step, as a cluster would."""

    def __init__(self, number: signal.Signals, *, at_step: int) -> None:
        self.number = number
        self.at_step = at_step

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.at_step:
            os.kill(os.getpid(), self.number)


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """Whatever a test does: nothing is left behind, and that is checked."""
    before = [signal.getsignal(number) for number in NUMBERS]
    yield
    after = [signal.getsignal(number) for number in NUMBERS]
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize("number", NUMBERS)
def test_training_stops_after_the_step_in_which_the_signal_comes(
    make_trainer: MakeTrainer, number: signal.Signals
) -> None:
    stopper = StopSignal(signal=number.name)  # type: ignore[arg-type]
    trainer = make_trainer(epochs=5, callbacks=[Send(number, at_step=6)], stoppers=[stopper])
    result = trainer.train()
    assert (result.steps, result.reason) == (6, f"StopSignal: {number.name} was received (epoch 2, step 6)")
    assert trainer.run.record["status"] == "stopped"


def test_a_resumed_training_goes_on(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=3, callbacks=[Send(signal.SIGUSR1, at_step=6)], stoppers=[StopSignal()])
    assert [trainer.train().steps, trainer.train().steps] == [6, 12]


def test_what_handled_the_signal_before_is_put_back(make_trainer: MakeTrainer) -> None:
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        make_trainer(callbacks=[Send(signal.SIGUSR1, at_step=1)], stoppers=[StopSignal()]).train()
        assert signal.getsignal(signal.SIGUSR1) is handle
        assert received == []
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_handler_is_put_back_after_an_error_too(make_trainer: MakeTrainer) -> None:
    class Failing(Callback):
        @hookimpl
        def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
            assert signal.getsignal(signal.SIGUSR1) not in (signal.SIG_DFL, signal.SIG_IGN)
            raise RuntimeError("no power")

    with pytest.raises(RuntimeError, match="no power"):
        make_trainer(callbacks=[Failing()], stoppers=[StopSignal()]).train()


def test_two_for_one_signal_are_refused(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(stoppers=[StopSignal(), StopSignal()])
    with pytest.raises(UsageError, match="A StopSignal waits for SIGUSR1 already: leave one of them out"):
        trainer.train()
    make_trainer(stoppers=[StopSignal(signal="SIGUSR1"), StopSignal(signal="SIGUSR2")]).train()


def test_outside_the_main_thread_training_goes_on_and_the_log_says_so(
    make_trainer: MakeTrainer, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(stoppers=[StopSignal()])
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(trainer.train().reason))
    thread.start()
    thread.join()
    assert results == ["all 2 epochs are done"]
    assert "StopSignal does not hear SIGUSR1, because training is not in the main thread" in caplog.text


def test_another_signal_is_refused() -> None:
    with pytest.raises(UsageError, match="The signal of StopSignal is 'SIGUSR1' or 'SIGUSR2', not 'SIGTERM'"):
        StopSignal(signal="SIGTERM")  # type: ignore[arg-type]


def test_a_platform_without_the_signal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGUSR1")
    with pytest.raises(UsageError, match="This platform has no SIGUSR1, so StopSignal cannot wait for it: choose Stop"):
        StopSignal()
