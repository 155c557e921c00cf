"""The table that benchmarks print, and the JSON that they write."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """What was measured, with the baseline that was measured in turns with it.

    Attributes:
        name: what was measured, with the baseline in brackets.
        baseline: the baseline's time.
        ours: our time.
        unit: of both.
    """

    name: str
    baseline: float
    ours: float
    unit: str


def report(benchmark: str, rows: list[Row]) -> None:
    """Print a table, and write ``benchmark-<name>.json`` in the folder that is given as an argument."""
    width = max(len(row.name) for row in rows)
    print(f"{'':<{width}} {'baseline':>13} {'ours':>13} {'ratio':>7} {'added':>13}")
    for row in rows:
        times = [f"{each:>10.1f} {row.unit}" for each in (row.baseline, row.ours, row.ours - row.baseline)]
        print(f"{row.name:<{width}} {times[0]} {times[1]} {row.ours / row.baseline:>7.2f} {times[2]}")
    if len(sys.argv) > 1:
        record = {row.name: asdict(row) for row in rows}
        path = Path(sys.argv[1]) / f"benchmark-{benchmark}.json"
        path.write_text(json.dumps(record, indent=2), encoding="utf-8")
