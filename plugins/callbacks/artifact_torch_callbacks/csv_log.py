"""The metrics of a training as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from artifact_torch_callbacks.metrics_log import MetricsLog, TableFile

__all__ = ["CSVLog"]


class _CSVFile(TableFile):
    suffix = ".csv"

    def head(self, columns: Sequence[str]) -> str:
        return _row([self.index, *map(self.named, columns)])

    def line(self, number: int, columns: Sequence[str], values: Mapping[str, float]) -> str:
        return _row([number, *(repr(values[name]) if name in values else "" for name in columns)])


class CSVLog(MetricsLog):
    """Writes the scores of the epochs to ``epochs.csv`` in the run directory, while training goes on.

    The file is ``trainer.epoch_scores`` for a spreadsheet, for pandas or for whatever draws curves: a column for each
    metric, a line for each epoch, which is there as soon as the epoch is over. (The run directory's ``metrics.jsonl``
    has a line for each single number, in the order in which they came, and is what the framework itself reads.) ::

        epoch,train/loss,train/learning_rate,validation/loss
        1,2.617514371871948,0.001,2.9411
        2,2.194521903991699,0.001,

    Numbers are written so that they can be read back to the last bit. Empty is what was not computed; what was and is
    not finite is ``nan``, ``inf`` or ``-inf``. A score that is computed in the background goes into its epoch's line
    when it is there, at the latest when the next epoch is over.

    The file can be read at any time. A line is appended, or, when a column or a late score has come, the whole file
    replaced at once. When training begins or is resumed, it is written anew from the history, so that after a crash no
    epoch is missing and none stands there twice. A disk that is full is a warning, and what could not be written comes
    with the next epoch.

    Args:
        path: the folder of the files, made if it is not there, whose files of these names are replaced; by default the
            run directory.
        batches: whether to write ``batches.csv`` too, with ``trainer.batch_metrics``: a line for each logged step,
            which is there when the next one is logged or the epoch is over.

    Raises:
        UsageError: the path is empty or, when training begins, cannot be written to.

    Example::

        import pandas as pd

        trainer = Trainer(model, train_loader, epochs=3, validation=validation, callbacks=[CSVLog()])
        trainer.train()
        print(pd.read_csv(trainer.run.path / "epochs.csv", index_col="epoch"))
    """

    table = _CSVFile

    def __init__(self, *, path: str | Path | None = None, batches: bool = False) -> None:
        super().__init__(path=path, batches=batches)


def _row(cells: Iterable[object]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(cells)
    return written.getvalue()
