"""What validation costs a training of tables: none, inline, and in the background; a process for each, in turns.

Run by ``make bench``. The demo's table, the VAE, and every artifact of artifact-core but t-SNE on all training rows,
twice over the training. The baseline is the training without validation. One thread each, since two processes share
the machine's cores. Then what a round costs: with the default number of rows, and with all rows at 300 dots an inch.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tables import Row, report

EPOCHS = int(os.environ.get("BENCH_EPOCHS", "40"))
WAYS = ("without validation", "inline", "in the background")


def train(way: str, folder: Path) -> dict[str, float]:
    """Train in this process."""
    from artifact_torch_table_comparison import ComparisonArtifacts, TableComparisonTrainer, read_csv
    from artifact_torch_table_comparison.data import portal_path
    from artifact_torch_tabular_models import TableVAE

    from artifact_torch import RunDirectory, TrainingSettings

    table = read_csv(portal_path())
    artifacts: dict[str, Any] = dict.fromkeys(
        ("scores", "score_collections", "arrays", "array_collections", "plots", "plot_collections"),
        [] if way == WAYS[0] else "all",
    )
    trainer = TableComparisonTrainer(
        TableVAE.from_table(table),
        table,
        settings=TrainingSettings(epochs=EPOCHS, batch_size=512, learning_rate=1e-2, device="cpu"),
        artifacts=ComparisonArtifacts(**artifacts),
        validation_period=EPOCHS // 2,
        validation_mode="inline" if way == "inline" else "background",
        max_rows=len(table),
        run=RunDirectory.create("bench", root=folder),
        use_installed_plugins=False,
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    rounds = [json.loads(path.read_text()) for path in trainer.run.path.glob("validation/*/results.json")]
    return {
        "seconds": seconds,
        "waited": trainer.validating.seconds_waited,
        "artifacts": sum(entry["seconds"] for round in rounds for entry in round["artifacts"]),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "peak_worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3,
    }


def one_round(folder: Path) -> dict[str, float]:
    """Processor seconds of a round: of the defaults, of all artifacts but t-SNE, of these on all rows at 300 dpi."""
    from artifact_torch_table_comparison import ComparisonArtifacts, TableComparisonValidationPlan, read_csv
    from artifact_torch_table_comparison.data import portal_path

    from artifact_torch import execute_plan

    table = read_csv(portal_path())
    taken: dict[str, float] = {}
    kinds = ("scores", "score_collections", "arrays", "array_collections", "plots", "plot_collections")
    for name, artifacts, rows in (
        ("default", ComparisonArtifacts(), 10_000),
        ("all, default rows", ComparisonArtifacts(**dict.fromkeys(kinds, "all")), 10_000),
        ("all, all rows, 300 dpi", ComparisonArtifacts(**dict.fromkeys(kinds, "all"), dpi=300), len(table)),
    ):
        plan = TableComparisonValidationPlan(table, artifacts, max_rows=rows)
        other = table.frame.sample(plan.rows, random_state=1)
        start = time.process_time()
        execute_plan(plan, plan.inputs(other), folder / name)
        taken[name] = time.process_time() - start
    return taken


def measured(*arguments: str) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, "--here", folder, *arguments],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
        )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    none, inline, background = (measured(way) for way in WAYS)
    alone, seconds = none["seconds"], background["seconds"]
    longest = max(alone, background["artifacts"])
    rows = [
        Row("whole training, inline (no validation)", alone, inline["seconds"], "s"),
        Row("whole training, background (no validation)", alone, seconds, "s"),
        Row("whole training, background (longer of training and artifacts)", longest, seconds, "s"),
        Row("waited in background, the end included (whole training)", seconds, background["waited"], "s"),
        Row("peak memory, inline (no validation)", none["peak"], inline["peak"], "MB"),
        Row("peak memory, background (no validation)", none["peak"], background["peak"], "MB"),
        Row(
            "peak memory of the process in the background (no validation)",
            none["peak"],
            background["peak_worker"],
            "MB",
        ),
    ]
    report("validation", rows)
    costs = measured("one round")
    dear = costs["all, all rows, 300 dpi"]
    report(
        "rounds", [Row(f"a round: {name} (all, all rows, 300 dpi)", dear, cost, "s") for name, cost in costs.items()]
    )


if __name__ == "__main__":
    if "--here" in sys.argv:
        where, what = Path(sys.argv[2]), sys.argv[3]
        print(json.dumps(one_round(where) if what == "one round" else train(what, where)))
    else:
        main()
