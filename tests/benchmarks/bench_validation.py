"""What validation costs a training of tables; a process for each way, one after the other.

Run by ``make bench``. The demo's table, the VAE, and every artifact of artifact-core but t-SNE on all training rows:
no validation, inline and in the background every five epochs, where artifacts take longer than the training between
them, and in the background every so many epochs that they take less. One thread each, since two processes share the
machine's cores. Then what a round costs: with the default number of rows, and with all rows at 300 dots an inch.
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
OFTEN, RARELY = 5, -(-EPOCHS // 3)  # epochs


def train(folder: Path, way: str, period: int) -> dict[str, float]:
    """Train in this process."""
    from artifact_torch_table_comparison import ComparisonArtifacts, TableComparisonTrainer, read_csv
    from artifact_torch_table_comparison.data import portal_path
    from artifact_torch_tabular_models import TableVAE

    from artifact_torch import Callback, RunDirectory, Trainer, TrainingSettings, hookimpl

    class Waited(Callback):
        """Seconds that the loop has waited, what it waits for after its last epoch left out."""

        @hookimpl(trylast=True)
        def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
            self.seconds = trainer.validating.seconds_waited

    table = read_csv(portal_path())
    artifacts: dict[str, Any] = dict.fromkeys(
        ("scores", "score_collections", "arrays", "array_collections", "plots", "plot_collections"),
        "all" if period else [],
    )
    waited = Waited()
    trainer = TableComparisonTrainer(
        TableVAE.from_table(table),
        table,
        settings=TrainingSettings(epochs=EPOCHS, batch_size=512, learning_rate=1e-2, device="cpu"),
        artifacts=ComparisonArtifacts(**artifacts),
        validation_period=period or EPOCHS,
        validation_mode="inline" if way == "inline" else "background",
        callbacks=[waited],
        max_rows=len(table),
        run=RunDirectory.create("bench", root=folder),
        use_installed_plugins=False,
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "waited": waited.seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
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
    none = measured("inline", "0")
    inline, often, rarely = (
        measured(way, str(period)) for way, period in (("inline", OFTEN), ("background", OFTEN), ("background", RARELY))
    )
    alone, artifacts = none["seconds"], inline["seconds"] - none["seconds"]
    rows = [
        Row(f"inline, every {OFTEN} epochs (no validation)", alone, inline["seconds"], "s"),
        Row(f"background, every {OFTEN} epochs (no validation)", alone, often["seconds"], "s"),
        Row(f"background, every {OFTEN} epochs (its artifacts alone)", artifacts, often["seconds"], "s"),
        Row(f"background, every {RARELY} epochs (no validation)", alone, rarely["seconds"], "s"),
        Row(f"the loop's waiting, every {OFTEN} epochs (the training)", often["seconds"], often["waited"], "s"),
        Row(f"the loop's waiting, every {RARELY} epochs (the training)", rarely["seconds"], rarely["waited"], "s"),
        Row("peak memory, inline (no validation)", none["peak"], inline["peak"], "MB"),
        Row("peak memory, background (no validation)", none["peak"], often["peak"], "MB"),
    ]
    report("validation", rows)
    costs = measured("one round")
    dear = costs["all, all rows, 300 dpi"]
    report(
        "rounds", [Row(f"a round: {name} (all, all rows, 300 dpi)", dear, cost, "s") for name, cost in costs.items()]
    )


if __name__ == "__main__":
    if "--here" in sys.argv:
        where, what, *period = Path(sys.argv[2]), *sys.argv[3:]
        print(json.dumps(train(where, what, int(period[0])) if period else one_round(where)))
    else:
        main()
