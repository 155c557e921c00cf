"""Processes that compute artifacts while training goes on."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from artifact_torch.core.computation import Outcome
from artifact_torch.core.worker import COMMAND

__all__ = ["Task", "WorkerPool"]

logger = logging.getLogger("artifact_torch")

_ATTEMPTS = 2


@dataclass(order=True, slots=True)
class Task:
    """A request to compute an artifact, and what became of it.

    Attributes:
        rank: tasks of a lower rank are done first.
        number: and among those of one rank, those with a lower number.
        request: what the process is asked, JSON values.
        outcome: what it answered; None until then.
        failures: the outcomes of attempts that failed before.
    """

    rank: int
    number: int = field(init=False, default_factory=itertools.count().__next__)
    request: Mapping[str, Any] = field(compare=False, kw_only=True)
    outcome: Outcome | None = field(compare=False, init=False, default=None)
    failures: list[Outcome] = field(compare=False, init=False, default_factory=list[Outcome])


class WorkerPool:
    """A fixed number of processes, and a thread for each that hands it tasks and takes its answers.

    A process that dies, or that takes longer than it may, is replaced when the next task comes. A task that fails for
    whatever reason is tried once more.

    Args:
        workers: how many processes.
        seconds: how long one artifact may take.
        log: the file that takes what processes write to their standard error.
    """

    def __init__(self, workers: int, *, seconds: float, log: Path) -> None:
        self._seconds = seconds
        self._log = log
        self._tasks: queue.PriorityQueue[Task | _End] = queue.PriorityQueue()
        self._finished: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._processes: list[_Process] = []
        self._threads: list[threading.Thread] = []
        self._workers = workers

    def start(self, requests: list[Mapping[str, Any]]) -> None:
        """Start the processes, which answer these requests first; nobody waits for their answers."""
        for number in range(self._workers):
            process = _Process(self._log)
            self._processes.append(process)
            thread = threading.Thread(
                target=self._serve, args=[process, requests], name=f"artifacts-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def submit(self, task: Task) -> None:
        """Have a task done."""
        self._tasks.put(task)

    def finished(self, timeout: float = 0.0) -> list[Task]:
        """The tasks that are done since the last call; waits up to ``timeout`` seconds for the first of them."""
        done: list[Task] = []
        try:
            done.append(self._finished.get(timeout=timeout) if timeout else self._finished.get_nowait())
            while True:
                done.append(self._finished.get_nowait())
        except queue.Empty:
            return done

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for _ in self._threads:
            self._tasks.put(_End())
        for process in self._processes:
            process.end()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.bury()
        self._processes, self._threads = [], []

    @property
    def process_numbers(self) -> list[int]:
        """The numbers of the processes that run."""
        return [each.number for each in self._processes if each.number is not None]

    def _serve(self, process: _Process, first: list[Mapping[str, Any]]) -> None:
        for request in first:
            process.ask(request, self._seconds)
        while isinstance(task := self._tasks.get(), Task):
            outcome = process.ask(task.request, self._seconds)
            if process.ended:
                return
            if outcome.error and len(task.failures) + 1 < _ATTEMPTS:
                task.failures.append(outcome)
                self._tasks.put(task)
                continue
            task.outcome = outcome
            self._finished.put(task)


@dataclass(order=True, slots=True)
class _End:
    """Sorts before every task."""

    rank: int = -1
    number: int = -1


class _Process:
    """One process, started when it is needed."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self.ended = False

    @property
    def number(self) -> int | None:
        return None if self._process is None else self._process.pid

    def ask(self, request: Mapping[str, Any], seconds: float) -> Outcome:
        """The answer to a request; if there is none, an outcome that says why."""
        try:
            process = self._running()
        except OSError as error:
            return Outcome(error=f"no process can be started for it ({error})")
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()

        limit = threading.Timer(seconds, kill)
        limit.daemon = True
        limit.start()
        try:
            _pipe(process.stdin).write(json.dumps(request) + "\n")
            _pipe(process.stdin).flush()
            answer = _pipe(process.stdout).readline()
        except OSError:
            answer = ""
        finally:
            limit.cancel()
        if answer.endswith("\n"):
            return Outcome(**json.loads(answer))
        return self._failed(process, f"it took longer than {seconds:g} s" if late.is_set() else "")

    def end(self) -> None:
        with self._lock:
            self.ended = True
            if self._process is not None:
                self._process.kill()

    def bury(self) -> None:
        """Wait for the end of a process that was ended."""
        if self._process is not None:
            self._failed(self._process, "training has ended")

    def _running(self) -> subprocess.Popen[str]:
        with self._lock:
            if self.ended:
                raise OSError("training has ended")
            if self._process is None:
                environment = {**os.environ, "MPLBACKEND": "Agg"}
                with self._log.open("a", encoding="utf-8") as log:
                    self._process = subprocess.Popen(
                        [sys.executable, "-c", COMMAND, json.dumps(sys.path)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                        env=environment,
                    )
            return self._process

    def _failed(self, process: subprocess.Popen[str], reason: str) -> Outcome:
        status = process.wait()
        with self._lock:
            for pipe in (process.stdin, process.stdout):
                _close(_pipe(pipe))
            self._process = None
        if not reason:
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with code {status}"
            reason = f"the process that computed it {how}"
        return Outcome(error=reason, traceback=f"See the end of {self._log}.")


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # both were asked for
    return pipe


def _close(pipe: IO[str]) -> None:
    with contextlib.suppress(OSError):  # for what was left to write
        pipe.close()
