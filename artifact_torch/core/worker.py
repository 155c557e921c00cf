"""A process that computes artifacts; it reads requests from its standard input and writes answers to its output.

Each is a line of JSON. Data and artifacts are files, so a line is short whatever is computed. torch is not imported.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from artifact_torch.core.artifacts import Artifact, ArtifactKind
from artifact_torch.core.computation import Computation, Outcome, Recipe
from artifact_torch.core.exchange import read_data
from artifact_torch.core.execution import attempt

__all__ = ["COMMAND", "main"]

COMMAND = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from artifact_torch.core.worker import main; main()"
"""What ``python -c`` runs, with the training process's ``sys.path`` as argument, so that both import the same."""

_GENTLER = 5  # the niceness that lets training go first where cores are few


def main() -> None:
    """Answer requests until the standard input ends, which it does when the training process dies too."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what an artifact prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the training process decides
    if hasattr(os, "nice"):
        os.nice(_GENTLER)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=[requests], daemon=True).start()
    worker = _Worker()
    while True:
        outcome = worker.answer(json.loads(requests.get()))
        answers.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
        answers.flush()


def _read(requests: queue.SimpleQueue[str]) -> None:
    """Take requests while an artifact is computed, to see that the training process has died."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


class _Worker:
    """Keeps what artifacts are computed with: the computation of each plan, and the last inputs of each."""

    def __init__(self) -> None:
        self._computations: dict[str, Computation[Any]] = {}
        self._prepared: dict[str, tuple[str, Any]] = {}

    def answer(self, request: dict[str, Any]) -> Outcome:
        if not request:
            return Outcome()  # it was to start
        try:
            computation = self._computation(request["recipe"])
            if "artifact" not in request:
                return Outcome()  # it was to get ready
            prepared = self._inputs(request["recipe"]["folder"], request["inputs"], computation)
        except Exception as error:
            return Outcome(error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        kind, name = request["artifact"]
        artifact = Artifact(ArtifactKind(kind), name)
        return attempt(computation, artifact, prepared, Path(request["output"]), dpi=request["dpi"])

    def _computation(self, recipe: dict[str, Any]) -> Computation[Any]:
        folder = recipe["folder"]
        if folder not in self._computations:
            made = Recipe(recipe["computation"], recipe["parameters"], read_data(Path(folder)))
            self._computations[folder] = made.build()
        return self._computations[folder]

    def _inputs(self, recipe: str, folder: str, computation: Computation[Any]) -> Any:
        known = self._prepared.get(recipe)
        if known is None or known[0] != folder:
            self._prepared.pop(recipe, None)  # before the new ones are made: both may be large
            self._prepared[recipe] = folder, computation.prepare(read_data(Path(folder)))
        return self._prepared[recipe][1]
