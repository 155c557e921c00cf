"""What a command costs before it does anything: processor milliseconds of whole processes, torch among them or not.

Run by ``make bench``, beside 150 more distributions with plugins than are installed. The baseline is a Python that
imports click, without which there is no command line. The ways take turns; median over rounds.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tables import Row, report

COMMAND = str(Path(sys.executable).with_name("artifact-torch"))
ROUNDS = 7
WAYS = {
    "baseline": [sys.executable, "-c", "import click"],
    **{f"artifact-torch {given}": [COMMAND, *given.split()] for given in ("--help", "list-plugins", "list-hooks")},
}


def install(folder: Path) -> None:
    """Make distributions whose descriptions are as long as those of many a real one."""
    for number in range(150):
        information = folder / f"acme_{number}-1.0.dist-info"
        information.mkdir()
        description = "What is told about a distribution. " * 200
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: acme-{number}\nVersion: 1.0\n\n{description}"
        )
        (information / "entry_points.txt").write_text(
            f"[artifact_torch.callbacks]\npart_{number} = acme_{number}:part\n"
        )


def processor_milliseconds(command: list[str], site: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": site})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def main() -> None:
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as site:
        install(Path(site))
        for _ in range(ROUNDS):
            for name, command in WAYS.items():
                taken[name].append(processor_milliseconds(command, site))
    baseline, *ours = ((name, median(times)) for name, times in taken.items())
    report("start", [Row(f"{name} (python -c 'import click')", baseline[1], time, "ms") for name, time in ours])


if __name__ == "__main__":
    main()
