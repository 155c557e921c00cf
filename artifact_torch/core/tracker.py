"""Trackers: components that mirror a run where the user wants to see it. Nothing here imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Self

from artifact_torch.plugin.registry import registry

__all__ = ["MirrorTracker", "TrackedItem", "TrackedKind", "TrackedRun", "Tracker"]


class TrackedKind(StrEnum):
    """What trackers are given."""

    SCORE = "score"
    ARRAY = "array"
    PLOT = "plot"
    FILE = "file"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class TrackedItem:
    """One result of a run. A collection is given item by item, each named ``collection/item``.

    Attributes:
        kind: what it is.
        name: its name; it may hold any character, ``/`` too.
        split: the part of the data it was computed on.
        epoch: the epoch, counted from 1; 0 before training.
        step: optimizer steps done.
        time: when it was recorded, in seconds since 1970; the same if the item is given again.
        value: the number of a score, which may be NaN or infinite; None for anything else.
        path: where the file or folder is: an array as ``.npy``, a plot as ``.png``; None for a score. A checkpoint may
            have been removed meanwhile.
    """

    kind: TrackedKind
    name: str
    split: str
    epoch: int
    step: int
    time: float
    value: float | None = None
    path: Path | None = None

    @property
    def full_name(self) -> str:
        """``split/name``, as in ``trainer.epoch_scores``; numbers of single batches are ``batch/name``."""
        return self.name if self.name.startswith("batch/") else f"{self.split}/{self.name}"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker is told of a run.

    Attributes:
        path: the run's directory.
        run_id: its id.
        experiment: its experiment.
        status: ``running``; at the end ``finished``, ``stopped``, ``failed``, ``interrupted`` or ``killed``.
        reason: why it ended, in words.
        params: dotted name -> JSON value: every choice that was made.
        seed: the run's seed.
        revision: the git commit that it was made with, with ``-dirty`` if there were changes.
        environment: versions and hardware, JSON values.
        plugins: who takes part, JSON values.
        tags: short texts.
        created: when it was made, in ISO 8601.
        goes_on_from: if it was resumed, the first step that is done again or anew; 0 else.
        record: everything else that ``run.json`` says, JSON values.
    """

    path: Path
    run_id: str
    experiment: str
    status: str
    reason: str
    params: Mapping[str, Any]
    seed: int | None
    revision: str | None
    environment: Mapping[str, Any]
    plugins: Sequence[Mapping[str, Any]]
    tags: Sequence[str]
    created: str
    goes_on_from: int
    record: Mapping[str, Any]


class Tracker:
    """Base of the components of kind ``trackers``: its ``track_*`` hooks receive everything that leaves the loop.

    Whatever trackers are chosen, the run directory has it all; a tracker is a second place::

        class Console(Tracker):
            @hookimpl
            def track_score(self, name: str, value: float, epoch: int) -> None:
                print(epoch, name, value)

    What is done in a hook holds training up, and what fails there ends it. A place that may be slow or out of reach is
    that of a ``MirrorTracker``.
    """

    priority: int = 0
    """See ``Callback.priority``."""


class MirrorTracker(Tracker, ABC):
    """Base of the trackers that mirror a run somewhere else, such as a service.

    A mirror is given what stands in the run directory: its methods may take their time, and may raise. What raises is
    tried again with growing pauses; what does not arrive at all stays in the run directory, and ``artifact-torch sync
    RUN`` sends it later. Training neither waits nor changes.

    The mirror of an installed plugin works in a process of its own, in which it is built again from its arguments, JSON
    values or paths: it shares no interpreter with training, and it outlives a training that is killed, to tell so. A
    class of a script or notebook, or one that was given other arguments, works in a thread.

    A subclass writes three methods::

        class Console(MirrorTracker):
            def open(self, run: TrackedRun, remembered: Mapping[str, Any]) -> Mapping[str, Any]:
                print("following", run.run_id)
                return {}

            def write(self, items: Sequence[TrackedItem]) -> None:
                for item in items:
                    print(item.step, item.full_name, item.value)

            def close(self, run: TrackedRun) -> None:
                print(run.status)

    An object serves one run at a time.
    """

    batch_size: ClassVar[int] = 500
    """How many items ``write`` is given at once, at most."""

    repeats_after_resume: ClassVar[bool] = False
    """Whether what a resumed run does again is given again, because the mirror drops what it had from that step on.

    Otherwise what the mirror has already is not given a second time.
    """

    close_seconds: float = 60.0
    """How long training may wait at its end until everything has arrived; a short one waits for imports above all."""

    stays_in_process: bool = False
    """Whether it must work in the process that trains, because the object itself is wanted there afterwards."""

    arguments: tuple[tuple[Any, ...], Mapping[str, Any]]
    """What it was built from."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.arguments = args, kwargs
        return self

    @abstractmethod
    def open(self, run: TrackedRun, remembered: Mapping[str, Any]) -> Mapping[str, Any]:
        """Begin the mirror of a run, or go on with it.

        Args:
            run: the run.
            remembered: what this method returned the last time for this run, such as an id; empty the first time.

        Returns:
            What to remember, JSON values. It is written into the run directory: no secrets.
        """

    @abstractmethod
    def write(self, items: Sequence[TrackedItem]) -> None:
        """Bring items to the mirror; when it returns, they are safe there, or will be once ``close`` has returned.

        After an error, and after the process was killed, items may be given again: one that is there already must not
        appear twice.
        """

    @abstractmethod
    def close(self, run: TrackedRun) -> None:
        """End the mirror, with the status that the run has now; ``open`` may be called again later."""


registry.require("trackers", Tracker)
