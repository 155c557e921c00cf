from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import ThroughputMonitor
from torch import Tensor, nn

from artifact_torch import BatchLoader, Callback, Trainer, hookimpl
from artifact_torch import registry as components
from artifact_torch.testing import TinyInput, TinyModel, TinyOutput, tiny_loader

MakeTrainer = Callable[..., Trainer]


class SecondsOfEpochs(Callback):
    """Writes down the time and the batches that the trainer counted for each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.batches: list[int] = []

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        self.seconds.append(trainer.throughput.seconds)
        self.batches.append(trainer.throughput.batches)


class Interrupt(Callback):
    """Fails after a batch, once the checkpoint is saved."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self.left -= 1
        if self.left == 0:
            self.checkpoint = trainer.save_checkpoint()
            raise RuntimeError("interrupted")


def test_it_is_found_by_name_and_counts_samples_batches_and_steps(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "throughput_monitor") is ThroughputMonitor
    reference = SecondsOfEpochs()
    trainer = make_trainer(loader=tiny_loader(40), callbacks=["throughput_monitor", reference], accumulate=2)
    trainer.train()
    scores = trainer.epoch_scores
    for epoch, seconds in enumerate(reference.seconds, start=1):  # batches of 16, 16 and 8: two steps
        row = scores.loc[epoch]
        assert row["train/samples_per_second"] * seconds == pytest.approx(40)
        assert row["train/batches_per_second"] * seconds == pytest.approx(3)
        assert row["train/steps_per_second"] * seconds == pytest.approx(2)


def test_the_share_of_waiting_is_the_trainers(make_trainer: MakeTrainer) -> None:
    class Slow(BatchLoader[TinyInput]):
        """Works before each batch for as long as a hundred batches take."""

        def batches(self, epoch: int, *, start: int = 0, device: Any = None) -> Iterator[TinyInput]:
            for batch in tiny_loader().batches(epoch, start=start, device=device):
                began = time.perf_counter()
                while time.perf_counter() - began < 0.02:
                    pass
                yield batch

        def __len__(self) -> int:
            return len(tiny_loader())

    trainer = make_trainer(loader=Slow(), callbacks=[ThroughputMonitor()])
    trainer.train()
    shares = trainer.epoch_scores["train/data_wait_share"]
    assert ((shares > 0) & (shares <= 1)).all()
    assert shares[2] == trainer.throughput.data_wait_share


def test_an_epoch_that_is_resumed_counts_what_was_trained_since(make_trainer: MakeTrainer) -> None:
    interrupt, reference = Interrupt(3), SecondsOfEpochs()
    first = make_trainer(callbacks=[ThroughputMonitor(), interrupt])
    with pytest.raises(RuntimeError, match="interrupted"):
        first.train()
    resumed = make_trainer(callbacks=[ThroughputMonitor(), reference])
    resumed.load_checkpoint(interrupt.checkpoint)
    resumed.train()
    samples = resumed.epoch_scores["train/samples_per_second"].to_numpy() * reference.seconds
    steps = resumed.epoch_scores["train/steps_per_second"].to_numpy() * reference.seconds
    assert (samples.tolist(), steps.tolist()) == (pytest.approx([16, 64]), pytest.approx([1, 4]))
    assert reference.batches == [1, 4]


def test_the_same_trainer_can_go_on_after_an_exception(make_trainer: MakeTrainer) -> None:
    interrupt, reference = Interrupt(3), SecondsOfEpochs()
    trainer = make_trainer(callbacks=[ThroughputMonitor(), interrupt, reference])
    with pytest.raises(RuntimeError, match="interrupted"):
        trainer.train()
    trainer.train()
    samples = trainer.epoch_scores["train/samples_per_second"].to_numpy() * reference.seconds
    assert samples.tolist() == pytest.approx([16, 64])


def test_an_epoch_resumed_at_its_very_end_has_no_rate(make_trainer: MakeTrainer) -> None:
    interrupt = Interrupt(4)
    with pytest.raises(RuntimeError, match="interrupted"):
        make_trainer(callbacks=[ThroughputMonitor(), interrupt]).train()
    resumed = make_trainer(callbacks=[ThroughputMonitor()])
    resumed.load_checkpoint(interrupt.checkpoint)
    resumed.train()
    row = resumed.epoch_scores.loc[1]
    assert (row["train/samples_per_second"], row["train/steps_per_second"], row["train/data_wait_share"]) == (0, 0, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the resident memory")
def test_the_memory_of_the_process_grows_with_what_it_holds(make_trainer: MakeTrainer) -> None:
    class Hoard(Callback):
        """Takes 200 MiB in the second epoch, and lets go of them in the third."""

        @hookimpl
        def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
            self.held = bytearray(b"\1") * (200 * 2**20) if trainer.state.epoch == 2 else None

    trainer = make_trainer(callbacks=[ThroughputMonitor(), Hoard()], epochs=3)
    trainer.train()
    now, peak = (trainer.epoch_scores[f"train/process_{name}_mib"] for name in ("memory", "peak_memory"))
    assert now[2] - now[1] == pytest.approx(200, abs=40)
    assert now[2] - now[3] == pytest.approx(200, abs=40)
    assert peak.is_monotonic_increasing
    assert peak[3] >= now[2] - 1  # the two are counted a little differently
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    assert ((now > 10) & (now < total)).all()


@pytest.mark.parametrize("missing", ["memory", "peak"])
def test_what_the_system_does_not_tell_is_left_out(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "memory":
        monkeypatch.setattr("pathlib.Path.read_text", _unreadable)
    else:
        monkeypatch.setitem(sys.modules, "resource", None)
    found = ThroughputMonitor().log_epoch_metrics(make_trainer())
    assert ("process_memory_mib" in found) == (missing == "peak")
    assert ("process_peak_memory_mib" in found) == (missing == "memory")
    assert "device_peak_memory_mib" not in found
    assert found["samples_per_second"] == 0


def _unreadable(*arguments: object, **options: object) -> str:
    raise FileNotFoundError


def test_batches_without_a_tensor_have_no_samples_to_count(make_trainer: MakeTrainer) -> None:
    class Lists(BatchLoader[Any]):
        def batches(self, epoch: int, *, start: int = 0, device: Any = None) -> Iterator[Any]:
            yield from [{"numbers": [1.0, 2.0]}, {"numbers": [3.0]}][start:]

        def __len__(self) -> int:
            return 2

    class Reads(TinyModel):
        def forward(self, batch: Any) -> TinyOutput:
            numbers: Tensor = self.layers(torch.tensor(batch["numbers"]).repeat(3, 1).T)
            return {"prediction": numbers, "loss": nn.functional.mse_loss(numbers, torch.ones_like(numbers))}

    trainer = make_trainer(Reads(), Lists(), callbacks=[ThroughputMonitor()])
    trainer.train()
    assert "train/samples_per_second" not in trainer.epoch_scores
    assert (trainer.epoch_scores["train/batches_per_second"] > 0).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator that counts its memory")
def test_the_peak_memory_of_the_device_is_that_of_the_epoch(make_trainer: MakeTrainer) -> None:
    class Large(Callback):
        @hookimpl
        def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
            if trainer.state.epoch == 1:
                torch.empty(200 * 2**20, dtype=torch.uint8, device=trainer.device)

    trainer = make_trainer(callbacks=[ThroughputMonitor(), Large()], device="cuda")
    trainer.train()
    first, second = trainer.epoch_scores["train/device_peak_memory_mib"]
    assert first - second == pytest.approx(200, abs=10)


def test_it_works_in_a_rehearsal(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[ThroughputMonitor()], fast_dev_run=True)
    trainer.train()
    assert trainer.epoch_scores["train/samples_per_second"].gt(0).all()
