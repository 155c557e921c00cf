"""The metrics of a training as files of JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from artifact_torch_callbacks.metrics_log import MetricsLog, TableFile

__all__ = ["JSONLinesLog"]


class _JSONLinesFile(TableFile):
    suffix = ".jsonl"

    def head(self, columns: Sequence[str]) -> str:
        return ""

    def line(self, number: int, columns: Sequence[str], values: Mapping[str, float]) -> str:
        numbers = {
            self.named(name): values[name] if math.isfinite(values[name]) else None
            for name in columns
            if name in values
        }
        return json.dumps({self.index: number, **numbers}, ensure_ascii=False, allow_nan=False) + "\n"


class JSONLinesLog(MetricsLog):
    """Writes the scores of the epochs to ``epochs.jsonl`` in the run directory, while training goes on.

    Each epoch is one JSON object on a line of its own, which is there as soon as the epoch is over: for ``jq``, for
    databases, and for programs that follow a training. (The run directory's ``metrics.jsonl`` has a line for each
    single number, in the order in which they came, and is what the framework itself reads.) ::

        {"epoch": 1, "train/loss": 2.617514371871948, "validation/loss": 2.9411}
        {"epoch": 2, "train/loss": 2.194521903991699}

    Numbers are written so that they can be read back to the last bit. What was not computed is left out; what was and
    is NaN or infinite, which JSON cannot write, is ``null``. A score that is computed in the background goes into its
    epoch's line when it is there, at the latest when the next epoch is over.

    The file can be read at any time. A line is appended, or, when a late score has come, the whole file replaced at
    once. When training begins or is resumed, it is written anew from the history, so that after a crash no epoch is
    missing and none stands there twice. A disk that is full is a warning, and what could not be written comes with the
    next epoch.

    Args:
        path: the folder of the files, made if it is not there, whose files of these names are replaced; by default the
            run directory.
        batches: whether to write ``batches.jsonl`` too, with ``trainer.batch_metrics``: a line for each logged step,
            which is there when the next one is logged or the epoch is over.

    Raises:
        UsageError: the path is empty or, when training begins, cannot be written to.

    Example::

        import json

        trainer = Trainer(model, train_loader, epochs=3, validation=validation, callbacks=[JSONLinesLog()])
        trainer.train()
        for line in (trainer.run.path / "epochs.jsonl").read_text().splitlines():
            print(json.loads(line)["train/loss"])
    """

    table = _JSONLinesFile

    def __init__(self, *, path: str | Path | None = None, batches: bool = False) -> None:
        super().__init__(path=path, batches=batches)
