"""What a command costs before it does anything: processor milliseconds of whole processes, torch among them or not.

Run by ``make bench``. The baseline is a Python that imports click, without which there is no command line. The ways
take turns; median over rounds.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

from tables import Row, report

COMMAND = str(Path(sys.executable).with_name("artifact-torch"))
ROUNDS = 7
WAYS = {
    "baseline": [sys.executable, "-c", "import click"],
    **{f"artifact-torch {given}": [COMMAND, *given.split()] for given in ("--help", "list-plugins", "list-hooks")},
}


def processor_milliseconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def main() -> None:
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, command in WAYS.items():
            taken[name].append(processor_milliseconds(command))
    baseline, *ours = ((name, median(times)) for name, times in taken.items())
    report("start", [Row(f"{name} (python -c 'import click')", baseline[1], time, "ms") for name, time in ours])


if __name__ == "__main__":
    main()
