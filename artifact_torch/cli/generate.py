"""``generate``: new samples of a model that a run has trained."""

from __future__ import annotations

from pathlib import Path

import click

from artifact_torch.cli.output import print_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--rows", "num_samples", type=click.IntRange(min=1), required=True, help="How many samples to write.")
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="The same seed, the same samples.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="The file to write (default: in RUN, named by rows and seed)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def generate(run: Path, num_samples: int, seed: int, output: Path | None, as_json: bool) -> None:
    """Write new samples of the model that RUN, a run directory, has trained."""
    from artifact_torch.core.model import GenerationParams
    from artifact_torch.experiment import generate_from_run

    path = generate_from_run(run, GenerationParams(num_samples=num_samples, seed=seed), output)
    if as_json:
        print_json({"run_dir": str(run), "rows": num_samples, "seed": seed, "synthetic": str(path)})
    else:
        click.echo(f"Wrote {num_samples} rows to {path}.")
