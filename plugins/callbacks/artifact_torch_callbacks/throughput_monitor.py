"""How fast training goes, and how much memory it takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from artifact_torch import Callback, hookimpl
from artifact_torch_callbacks.samples import num_samples

if TYPE_CHECKING:
    from artifact_torch import ModelInput, Trainer

__all__ = ["ThroughputMonitor"]

_MIB = 2**20


class ThroughputMonitor(Callback):
    """Records how fast each epoch went, how much of its time it waited for data, and the memory in use.

    These are columns of ``epoch_scores``:

    - ``train/samples_per_second``, ``train/batches_per_second`` and ``train/steps_per_second``, over the time from the
      first batch of the epoch to the last; a validation in between counts, one at the end of the epoch does not.
    - ``train/data_wait_share``, the share of that time, from 0 to 1, in which training waited for the loader.
    - ``train/process_memory_mib``, the resident memory of this process at the end of the epoch, and
      ``train/process_peak_memory_mib``, the most it has ever been, in MiB (1,048,576 bytes).
    - ``train/device_peak_memory_mib``, the most that tensors took on the accelerator during the epoch, in MiB. The
      device's count of its peak begins anew with each epoch.

    What the system does not tell is left out: the resident memory anywhere but on Linux, the peak on Windows, the
    device's memory on a CPU, and samples if batches hold no tensor. Of an epoch that was resumed in the middle, what
    was trained since then is recorded. Counting the samples takes less than a microsecond a batch.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, callbacks=[ThroughputMonitor()])
        trainer.train()
        print(trainer.epoch_scores[["train/samples_per_second", "train/data_wait_share"]])
    """

    def __init__(self) -> None:
        self._samples: int | None = 0
        self._first_step = 0

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        self._begin(trainer)

    @hookimpl
    def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
        self._begin(trainer)

    @hookimpl
    def execute_batch_postprocessing(self, batch: ModelInput) -> None:
        if self._samples is not None:
            samples = num_samples(batch)
            self._samples = None if samples is None else self._samples + samples

    @hookimpl
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        throughput = trainer.throughput
        seconds = max(throughput.seconds, sys.float_info.epsilon)
        found = {
            "samples_per_second": None if self._samples is None else self._samples / seconds,
            "batches_per_second": throughput.batches / seconds,
            "steps_per_second": (trainer.state.step - self._first_step) / seconds,
            "data_wait_share": throughput.data_wait_share,
            "process_memory_mib": _process_memory(),
            "process_peak_memory_mib": _process_peak_memory(),
            "device_peak_memory_mib": _device_peak_memory(trainer.device),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _begin(self, trainer: Trainer) -> None:
        self._samples, self._first_step = 0, trainer.state.step
        reset = _of_device(trainer.device, "reset_peak_memory_stats")
        if reset is not None:
            reset(trainer.device)


def _process_memory() -> float | None:
    """The resident memory of this process, in MiB."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def _process_peak_memory() -> float | None:
    """The most that the resident memory of this process has been, in MiB."""
    try:
        import resource
    except ImportError:  # on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


def _device_peak_memory(device: torch.device) -> float | None:
    """The most that tensors took on a device since its count was reset, in MiB."""
    peak = _of_device(device, "max_memory_allocated")
    return None if peak is None else peak(device) / _MIB


def _of_device(device: torch.device, name: str) -> Callable[[torch.device], int] | None:
    """A function of torch's module for the kind of a device, which not every kind has."""
    module = torch.get_device_module(device)
    return cast("Callable[[torch.device], int] | None", getattr(module, name, None))
