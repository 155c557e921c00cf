"""``artifact-torch demo``: the whole of the framework on a real table, in about a minute."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same table.")
@click.option("--epochs", type=click.IntRange(min=1), help="How long to train (default: chosen for the table).")
@click.option("--runs", type=click.Path(path_type=Path), help="Where runs are kept (default: ./runs).")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def demo(seed: int, epochs: int | None, runs: Path | None, as_json: bool) -> None:
    """Learn a table of 35,549 animals caught in a desert, generate rows like it, and judge them.

    The table is the Portal Project teaching database (CC0). A variational autoencoder is trained on 80 % of it and
    validated on schedule with the scores and plots of artifact-core; then as many synthetic rows are written as it was
    trained on.
    """
    from artifact_torch import print_loading

    print_loading()
    from artifact_torch import parse_config, print_result, run_experiment
    from artifact_torch_table_comparison.data import portal_path

    training = {} if epochs is None else {"epochs": epochs}
    description = {
        "experiment": {"name": "demo", "group": "table_comparison", "seed": seed},
        "data": {"file": str(portal_path())},
        "training": training,
    }
    print_result(run_experiment(parse_config(description), root=runs, source="the demo"), as_json=as_json)
