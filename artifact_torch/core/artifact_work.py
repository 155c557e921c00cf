"""Where the artifacts of validation are computed: at once in this process, or in others while training goes on."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from artifact_torch.core.artifacts import Artifact
from artifact_torch.core.computation import Computation, Outcome
from artifact_torch.core.exchange import Data, write_data
from artifact_torch.core.execution import attempt
from artifact_torch.core.plan import ValidationPlan
from artifact_torch.core.record import file_name
from artifact_torch.core.rounds import Round
from artifact_torch.core.temporary import remove
from artifact_torch.core.worker_pool import Task, WorkerPool
from artifact_torch.errors import UsageError

__all__ = ["ArtifactWork", "BackgroundWork", "Finished", "InlineWork", "WorkMode", "is_background"]

_WORTH_A_PROCESS = 6  # artifacts: to start one takes seconds

WorkMode: TypeAlias = Literal["auto", "background", "inline"]


class Finished(NamedTuple):
    """An artifact that was computed, or could not be.

    Attributes:
        round: its round.
        artifact: which one.
        outcome: what came of it.
        folder: where its arrays and plots are.
    """

    round: Round
    artifact: Artifact
    outcome: Outcome
    folder: Path


class ArtifactWork(ABC):
    """Computes artifacts."""

    background: bool

    @abstractmethod
    def start(self, plans: Sequence[ValidationPlan]) -> None:
        """Get ready for these plans."""

    @abstractmethod
    def submit(self, plan: ValidationPlan, round: Round, inputs: Mapping[str, Data] | None) -> None:
        """Have the artifacts that are left of a round computed; inputs that are None are in the round's folder."""

    @abstractmethod
    def finished(self, timeout: float = 0.0) -> list[Finished]:
        """What was finished since the last call; waits up to ``timeout`` seconds for the first of it."""

    @abstractmethod
    def hurry(self) -> None:
        """Take the cores that training has left: all that is to be done now is to finish."""

    @abstractmethod
    def close(self) -> None:
        """Stop, whatever is left."""


class InlineWork(ArtifactWork):
    """Computes artifacts in this process, when they are submitted."""

    background = False

    def __init__(self) -> None:
        self._computations: dict[int, Computation[Any]] = {}
        self._finished: deque[Finished] = deque()

    def start(self, plans: Sequence[ValidationPlan]) -> None:
        pass

    def submit(self, plan: ValidationPlan, round: Round, inputs: Mapping[str, Data] | None) -> None:
        assert inputs is not None  # nothing is ever left of a round
        if id(plan) not in self._computations:
            self._computations[id(plan)] = plan.recipe().build()
        computation = self._computations[id(plan)]
        prepared = computation.prepare(inputs)
        for artifact in round.left:
            folder = round.place(artifact)
            outcome = attempt(computation, artifact, prepared, folder, dpi=plan.dpi)
            self._finished.append(Finished(round, artifact, outcome, folder))

    def finished(self, timeout: float = 0.0) -> list[Finished]:
        done = list(self._finished)
        self._finished.clear()
        return done

    def hurry(self) -> None:
        pass

    def close(self) -> None:
        self._computations.clear()


class BackgroundWork(ArtifactWork):
    """Computes artifacts in other processes; scores come before everything else.

    Args:
        folder: where the processes find what they need.
        workers: how many processes.
        seconds: how long one artifact may take.
    """

    background = True

    def __init__(self, folder: Path, *, workers: int, seconds: float) -> None:
        self._folder = folder
        self._pool = WorkerPool(workers, seconds=seconds, log=folder / "workers.log")
        self._spare = max(0, _cores() - workers)
        self._recipes: dict[int, dict[str, Any]] = {}
        self._tasks: dict[int, tuple[Round, Artifact]] = {}

    def start(self, plans: Sequence[ValidationPlan]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for plan in plans:
            recipe, folder = plan.recipe(), self._folder / "recipes" / file_name(f"{plan.split}-{plan.name}")
            remove(folder)  # a process that was killed has left it
            write_data(folder, recipe.data)
            self._recipes[id(plan)] = {
                "computation": recipe.computation,
                "parameters": dict(recipe.parameters),
                "folder": str(folder.resolve()),
            }
        self._pool.start([{"recipe": recipe} for recipe in self._recipes.values()])

    def submit(self, plan: ValidationPlan, round: Round, inputs: Mapping[str, Data] | None) -> None:
        for artifact in round.left:
            request = {
                "recipe": self._recipes[id(plan)],
                "inputs": str(round.inputs.resolve()),
                "artifact": list(artifact),
                "output": str(round.place(artifact).resolve()),
                "dpi": plan.dpi,
            }
            task = Task(0 if artifact.kind.is_score else 1, request)
            self._tasks[task.number] = round, artifact
            self._pool.submit(task)

    def hurry(self) -> None:
        more = min(self._spare, len(self._tasks) // _WORTH_A_PROCESS)
        self._spare = 0
        self._pool.add(more, [{"recipe": recipe} for recipe in self._recipes.values()])

    def finished(self, timeout: float = 0.0) -> list[Finished]:
        done: list[Finished] = []
        for task in self._pool.finished(timeout):
            round, artifact = self._tasks.pop(task.number)
            assert task.outcome is not None  # it is finished
            done.append(Finished(round, artifact, task.outcome, Path(task.request["output"])))
        return done

    def close(self) -> None:
        self._pool.close()
        self._tasks.clear()
        remove(self._folder / "recipes")  # which hold data; they are written anew at the next start
        log = self._folder / "workers.log"
        if log.exists() and not log.stat().st_size:
            remove(log)

    @property
    def process_numbers(self) -> list[int]:
        """The numbers of the processes."""
        return self._pool.process_numbers


def is_background(mode: WorkMode) -> bool:
    """Whether a mode means other processes, on this machine.

    ``"auto"`` is what the environment variable ``ARTIFACT_TORCH_VALIDATION`` says, if it is set; else other processes
    compute where there is a core to spare.
    """
    if mode != "auto":
        return mode == "background"
    wanted = os.environ.get("ARTIFACT_TORCH_VALIDATION") or ("background" if _cores() > 1 else "inline")
    if wanted not in ("background", "inline"):
        raise UsageError(f"ARTIFACT_TORCH_VALIDATION is 'background' or 'inline', not {wanted!r}.")
    return wanted == "background"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
