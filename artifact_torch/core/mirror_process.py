"""A process that brings a run to a tracker: it shares no interpreter with training, and outlives one that is killed.

It is asked by lines of JSON on its standard input: first what to bring where, later to end. It answers with lines of
JSON: what to log, and at last how many items have not arrived. If its standard input ends unasked, training was killed:
it brings there what was recorded, with that status, and ends by itself. torch is not imported.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from artifact_torch.core.mirror import GRACE_SECONDS, Mirror, tell_what_is_left
from artifact_torch.core.mirror_state import MirrorState, state_path
from artifact_torch.core.record import is_in_progress
from artifact_torch.core.secrets import masked
from artifact_torch.core.tracker import MirrorTracker
from artifact_torch.plugin.loading import reason_of
from artifact_torch.plugin.registry import registry

__all__ = ["MirrorProcess", "main", "recipe_of"]

logger = logging.getLogger("artifact_torch")

_COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from artifact_torch.core.mirror_process import main; main()"
)
_MOST_STARTS = 3
_SECONDS_TO_DIE = 10.0


def recipe_of(tracker: MirrorTracker) -> Mapping[str, Any] | None:
    """What a process builds a tracker from, JSON values; None if it cannot, and the tracker must work in this one."""
    entry = registry.entry_of("trackers", type(tracker))
    if entry is None or tracker.stays_in_process:
        return None
    positional, named = tracker.arguments
    recipe = {"tracker": entry.qualified_name, "positional": positional, "named": named}
    try:
        return json.loads(json.dumps(recipe, default=os.fspath))
    except (TypeError, ValueError):
        return None


class MirrorProcess:
    """Brings one run to one tracker in a process of its own; see ``Mirror``.

    A process that dies is started again, twice: what it had not brought there is in the run's records.

    Args:
        recipe: what the tracker is built from.
        name: the tracker's name, for messages and for its file.
        run: the run's directory.
        seconds: how long it may take at the end.
    """

    def __init__(self, recipe: Mapping[str, Any], name: str, run: Path, *, seconds: float) -> None:
        self.name = name
        self._run = run
        self._seconds = seconds
        self._request = {**recipe, "name": name, "run": str(run.absolute()), "seconds": seconds}
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._is_ending = False
        self._left: int | None = None
        self._reason = ""
        self._thread = threading.Thread(target=self._listen, name=f"tracker {name}", daemon=True)

    def start(self) -> None:
        """Begin to bring there what is recorded; from here on, it is done even if this process is killed at once."""
        self._start_process()
        self._thread.start()

    def ask_to_end(self) -> None:
        """Have it end once everything is there; it returns at once."""
        with self._lock:
            if not self._is_ending:
                self._is_ending = True
                self._tell_to_end()

    def end(self) -> int:
        """Bring there what is left, and return how many items have not arrived; see ``Mirror.end``."""
        self.ask_to_end()
        self._thread.join(self._seconds + GRACE_SECONDS)
        with self._lock:
            if self._process is not None:
                self._reason = f"it has not answered for {self._seconds + GRACE_SECONDS:g} s"
                self._process.kill()
        self._thread.join()
        if self._left is not None:
            return self._left
        return tell_what_is_left(
            self.name, self._run, MirrorState.read(state_path(self._run, self.name)), self._reason or "its process died"
        )

    # In a thread of its own, which does nothing but wait.

    def _listen(self) -> None:
        for number in range(_MOST_STARTS):
            if number:
                self._start_process()
            process = self._process
            if process is None:
                break
            for line in _pipe(process.stdout):
                if line.endswith("\n"):  # not what it was saying when it was killed
                    self._hear(json.loads(line))
            status = process.wait()
            with self._lock:
                self._process = None
                for pipe in (process.stdin, process.stdout):
                    with contextlib.suppress(OSError):  # for what was left to write
                        _pipe(pipe).close()
            self._reason = self._reason or f"its process {_how_it_ended(status)}"
            if self._left is not None or self._is_ending:
                break
            again = "it is started again" if number + 1 < _MOST_STARTS else "it is not started again"
            logger.warning("The tracker %s: %s; %s, and training goes on.", self.name, self._reason, again)
            if number + 1 < _MOST_STARTS:
                self._reason = ""

    def _start_process(self) -> None:
        with self._lock:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _COMMAND, json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                )
            except OSError as error:
                self._reason = f"no process can be started for it: {error.strerror or error}"
                return
            self._tell(self._request)
            if self._is_ending:
                self._tell_to_end()

    def _hear(self, answer: Mapping[str, Any]) -> None:
        if "log" in answer:
            logger.log(answer["level"], "%s", answer["log"])
        else:
            self._left = answer["left"]

    def _tell_to_end(self) -> None:
        self._tell({"end": True})

    def _tell(self, message: Mapping[str, Any]) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):  # it has died: the thread that listens sees it
                _pipe(self._process.stdin).write(json.dumps(message) + "\n")
                _pipe(self._process.stdin).flush()


# In the process.


def main() -> None:
    """Bring one run to one tracker."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a service's library prints is no answer
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # they may reach all processes: it ends when training has
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    logging.raiseExceptions = False  # when training was killed, nobody hears
    logger.addHandler(_Telling(answers))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    line = sys.stdin.readline()
    if not line:  # training was killed while it began: nothing is known of it here
        return
    request = json.loads(line)
    try:
        tracker = registry.get("trackers", request["tracker"])(*request["positional"], **request["named"])
    except Exception as error:
        reason = masked(reason_of(error))
        logger.warning("The tracker %s cannot be built in a process of its own: %s.", request["name"], reason)
        os._exit(1)
    run = Path(request["run"])
    mirror = Mirror(tracker, request["name"], run, seconds=request["seconds"])
    threading.Thread(target=_wait_for_the_end, args=[mirror, run, request["seconds"]], daemon=True).start()
    mirror.work()
    left = mirror.tell_what_is_left()
    with contextlib.suppress(OSError):
        _say(answers, {"left": left})
    os._exit(0)  # whatever threads a service's library has left


def _wait_for_the_end(mirror: Mirror, run: Path, seconds: float) -> None:
    line = sys.stdin.readline()
    if line:
        mirror.ask_to_end()
        sys.stdin.read()  # until training has heard the answer, or was killed
    late = threading.Timer(seconds + GRACE_SECONDS, os._exit, [1])
    late.daemon = True
    late.start()
    if not line:
        _wait_until_dead(run)
        mirror.ask_to_end()


def _wait_until_dead(run: Path) -> None:
    """Wait until the process that trained is gone, whose files are closed a little earlier."""
    deadline = time.monotonic() + _SECONDS_TO_DIE
    while time.monotonic() < deadline:
        try:
            if not is_in_progress(json.loads((run / "run.json").read_text(encoding="utf-8"))):
                return
        except (OSError, ValueError):
            return
        time.sleep(0.05)


class _Telling(logging.Handler):
    """Has what is logged here logged where training is."""

    def __init__(self, answers: IO[str]) -> None:
        super().__init__()
        self._answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):
            _say(self._answers, {"log": record.getMessage(), "level": record.levelno})


def _say(answers: IO[str], message: Mapping[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # both were asked for
    return pipe


def _how_it_ended(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with code {status}"
