"""``artifact-torch predict``: what a trained classifier says of the rows of a file."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The CSV file of rows to predict.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="The probability from which on a row is predicted to be positive (default: that of the run).",
)
@click.option("--output", type=click.Path(path_type=Path), help="The file to write (default: in RUN, named as --data).")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def predict(run: Path, data: Path, threshold: float | None, output: Path | None, as_json: bool) -> None:
    """Write the probability of the positive class, and the predicted class, of each row of a CSV file.

    RUN is the directory of a run that has trained a classifier. The file has the columns that it was trained on, in any
    order; others, such as the label, are not looked at.
    """
    from artifact_torch import print_loading

    print_loading()
    from artifact_torch_binary_classification.predictions import predict_file

    path, num_rows = predict_file(run, data, threshold=threshold, output=output)
    if as_json:
        result = {"schema": 1, "run_dir": str(run), "rows": num_rows, "predictions": str(path)}
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        click.echo(f"Wrote the predictions of {num_rows:,} rows to {path}.")
