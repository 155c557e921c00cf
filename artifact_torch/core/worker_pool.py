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
_START_SECONDS = 300.0


@dataclass(slots=True)
class Task:
    """A request to compute an artifact, and what became of it.

    Attributes:
        rank: tasks of a lower rank are done first.
        request: what the process is asked, JSON values.
        number: among those of one rank, tasks with a lower number are done first.
        attempts: how often it was tried.
        outcome: what came of it; None until then.
    """

    rank: int
    request: Mapping[str, Any]
    number: int = field(init=False, default_factory=itertools.count().__next__)
    attempts: int = field(init=False, default=0)
    outcome: Outcome | None = field(init=False, default=None)


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
        self._tasks: queue.PriorityQueue[tuple[int, int, Task | None]] = queue.PriorityQueue()
        self._finished: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._processes: list[_Process] = []
        self._threads: list[threading.Thread] = []
        self._workers = workers

    def start(self, requests: list[Mapping[str, Any]]) -> None:
        """Start the processes, which answer these requests first; nobody waits for their answers."""
        self.add(self._workers, requests)

    def add(self, workers: int, requests: list[Mapping[str, Any]]) -> None:
        """Start more processes; see ``start``."""
        for number in range(len(self._threads), len(self._threads) + workers):
            process = _Process(self._log, requests)
            self._processes.append(process)
            thread = threading.Thread(target=self._serve, args=[process], name=f"artifacts-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def submit(self, task: Task) -> None:
        """Have a task done."""
        self._tasks.put((task.rank, task.number, task))

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
        for number in range(len(self._threads)):
            self._tasks.put((-1, number, None))  # before every task
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

    def _serve(self, process: _Process) -> None:
        process.ask({}, self._seconds)
        while (task := self._tasks.get()[2]) is not None:
            outcome = process.ask(task.request, self._seconds)
            if process.ended:
                return
            task.attempts += 1
            if outcome.error and task.attempts < _ATTEMPTS:
                self.submit(task)
                continue
            task.outcome = outcome
            self._finished.put(task)


class _Process:
    """One process, started when it is needed; whenever it is, it is asked the first requests before others."""

    def __init__(self, log: Path, first: list[Mapping[str, Any]]) -> None:
        self._log = log
        self._first = first
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self.ended = False

    @property
    def number(self) -> int | None:
        return None if self._process is None else self._process.pid

    def ask(self, request: Mapping[str, Any], seconds: float) -> Outcome:
        """The answer to a request; if there is none, an outcome that says why."""
        try:
            process, fresh = self._running()
        except OSError as error:
            return Outcome(error=f"no process can be started for it ({error})")
        for ready in [{}, *self._first] if fresh else []:  # the time that getting ready takes is not the artifact's
            started = self._answer(process, ready, _START_SECONDS)
            if self._process is None:
                return started
        return self._answer(process, request, seconds)

    def _answer(self, process: subprocess.Popen[str], request: Mapping[str, Any], seconds: float) -> Outcome:
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

    def _running(self) -> tuple[subprocess.Popen[str], bool]:
        """The process, and whether it was started only now."""
        with self._lock:
            if self.ended:
                raise OSError("training has ended")
            fresh = self._process is None
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
            return self._process, fresh

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
