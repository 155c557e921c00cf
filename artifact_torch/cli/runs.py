"""``runs``: find, compare, tag, export and remove runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from artifact_torch.cli.output import print_json, print_loading, print_table
from artifact_torch.cli.runs_compare import (
    compare_runs,
    comparison_as_json,
    print_comparison,
    write_comparison,
    write_csv,
)
from artifact_torch.cli.runs_output import (
    count,
    details_as_json,
    direction,
    duration,
    main_scores,
    number,
    print_run,
    print_runs,
    run_as_json,
)
from artifact_torch.core.record import checked_tags, is_in_progress, runs_root
from artifact_torch.errors import DataError, UsageError
from artifact_torch.runs import STATUSES, Run, find_run
from artifact_torch.runs import runs as runs_in

_root_option = click.option(
    "--runs",
    "root",
    type=click.Path(path_type=Path),
    help="Where runs are kept (default: $ARTIFACT_TORCH_HOME or ./runs).",
)
_experiment_option = click.option("--experiment", metavar="NAME", help="Only runs of this experiment.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_mode = click.Choice(["min", "max"])


@click.group()
def runs() -> None:
    """Find, compare, tag, export and remove runs.

    A RUN is meant by its path, by experiment/id, by its id, by the beginning or the last part of the id if no other run
    has it, or by "latest" or experiment/latest.
    """


@runs.command("list")
@_experiment_option
@click.option("--tag", "tags", multiple=True, help="Only runs with this tag. May be repeated.")
@click.option("--status", "statuses", type=click.Choice(STATUSES), multiple=True, help="Only these. May be repeated.")
@click.option("--score", "scores", multiple=True, metavar="NAME", help="A score to show. May be repeated.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many runs; 0 for all.")
@_root_option
@_json_option
def list_runs(
    experiment: str | None,
    tags: tuple[str, ...],
    statuses: tuple[str, ...],
    scores: tuple[str, ...],
    limit: int,
    root: Path | None,
    as_json: bool,
) -> None:
    """Show the runs, newest first.

    A score stands with its last value, and in parentheses with its best one, if another epoch had it and the name tells
    whether lower or higher is better. A run is "killed" if its process has gone without a word, and "unreadable" if its
    run.json is damaged.
    """
    found = [run for run in _all(root, experiment, tags) if not statuses or run.status in statuses]
    shown = found[:limit] if limit else found
    histories = [run.history() for run in shown]
    left_out = len(found) - len(shown)
    if as_json:
        rows = [run_as_json(run, history) for run, history in zip(shown, histories, strict=True)]
        print_json({"runs": rows, "left_out": left_out})
        return
    if shown:
        print_runs(shown, histories, scores or main_scores(shown, histories))
    else:
        click.echo(f"There are no such runs in {runs_root(root)}.")
    if left_out:
        click.echo(f"{left_out} older runs are left out: --limit 0 shows all.", err=True)


@runs.command()
@click.argument("run")
@_root_option
@_json_option
def show(run: str, root: Path | None, as_json: bool) -> None:
    """Show all that is known about RUN.

    That is how it ended, parameters, scores with the last and the best value, checkpoints, artifacts, plugins, files.
    """
    found = find_run(run, root)
    history = found.history()
    if as_json:
        print_json(details_as_json(found, history))
    else:
        print_run(found, history)


@runs.command()
@click.argument("run", nargs=-1, required=True)
@click.option("--mode", type=_mode, help="Which values are better of scores whose names do not tell.")
@click.option("--csv", "file", type=click.Path(path_type=Path), metavar="FILE", help="Write it as CSV; - is stdout.")
@_root_option
@_json_option
def compare(
    run: tuple[str, ...], mode: Literal["min", "max"] | None, file: Path | None, root: Path | None, as_json: bool
) -> None:
    """Show two or more runs side by side.

    Of parameters, source revision, environment and plugins only those that differ; and all scores, with the better ones
    marked.
    """
    found = _several(run, root)
    if len(found) < 2:
        raise click.UsageError("Name at least two runs: `artifact-torch runs list` shows them.")
    comparison = compare_runs(found, mode)
    if file is not None:
        write_comparison(comparison, file)
    if as_json:
        print_json(comparison_as_json(comparison))
    elif file is None:
        print_comparison(comparison)


@runs.command()
@click.option("--metric", required=True, metavar="NAME", help="As in epoch_scores, or a final score.")
@click.option("--mode", type=_mode, help="Which values are best; as the name of the metric tells if left out.")
@_experiment_option
@_root_option
@_json_option
def best(
    metric: str, mode: Literal["min", "max"] | None, experiment: str | None, root: Path | None, as_json: bool
) -> None:
    """Show the run with the best value of a score in any epoch."""
    mode = mode or direction(metric)
    if mode is None:
        raise click.UsageError(f"Say which values of {metric} are best: --mode min or --mode max.")
    found = _all(root, experiment)
    ranked = [(value, run) for run in found if (value := run.best(metric, mode)) is not None]
    if not ranked:
        raise DataError(_no_such_score(metric, found, runs_root(root)))
    sign = 1 if mode == "min" else -1
    value, run = min(ranked, key=lambda each: sign * each[0].value)  # of equal ones the newest
    if as_json:
        row = run_as_json(run, run.history())
        print_json({"metric": metric, "mode": mode, "value": value.value, "epoch": value.epoch, **row})
        return
    rows = [("value", f"{number(value.value)} in epoch {value.epoch}"), ("status", run.status), ("path", str(run.path))]
    click.echo(f"{run.name} has the best {metric} ({mode}) of {count(len(ranked), 'run')}.")
    print_table(rows, indent="  ")


@runs.command()
@click.argument("run")
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@click.option("--remove", is_flag=True, help="Take the tags away.")
@_root_option
def tag(run: str, tags: tuple[str, ...], remove: bool, root: Path | None) -> None:
    """Give RUN tags, also while it is in progress."""
    found = find_run(run, root)
    checked_tags(tags)
    print_loading()
    from artifact_torch.core.run import RunDirectory

    directory = RunDirectory.open(found.path)
    if remove:
        directory.untag(*tags)
    else:
        directory.tag(*tags)
    click.echo(f"{found.name}: {', '.join(directory.record['tags']) or 'no tags'}")


@runs.command()
@click.argument("run", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_root_option
@click.pass_context
def rm(context: click.Context, run: tuple[str, ...], yes: bool, root: Path | None) -> None:
    """Remove runs, with everything in their directories.

    One that is in progress stays, and so does what is not in the folder of runs itself.
    """
    from artifact_torch.core.temporary import remove, sweep, temporary_path

    found = _several(run, root, damaged=True)
    paths = [_removable(each, runs_root(root)) for each in found]
    if not yes:
        print_table([(each.name, each.status, duration(each.seconds), ", ".join(each.tags)) for each in found])
        if not click.confirm(f"Remove {count(len(found), 'run')}?", err=True):
            click.echo("Nothing was removed.", err=True)
            context.exit(1)
    for each, path in zip(found, paths, strict=True):
        try:
            gone = path.rename(temporary_path(path))  # at once: what is half removed is no run
        except OSError as error:
            raise UsageError(f"{path} cannot be removed ({error.strerror}): see who owns it.") from error
        remove(gone)
        if gone.exists():
            raise UsageError(f"{gone} cannot be removed altogether: see who owns it.")
        sweep(path.parent)
        click.echo(f"Removed {each.name}.")


@runs.command()
@click.argument("run")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_root_option
def export(run: str, file: Path, root: Path | None) -> None:
    """Write the scores of RUN by epoch to a CSV FILE.

    The columns are those of trainer.epoch_scores; - is stdout.
    """
    found = find_run(run, root)
    history = found.history()
    if not history:
        raise DataError(f"The run {found.name} has no scores yet.")
    epochs = sorted({epoch for values in history.values() for epoch in values})
    rows = [[epoch, *(values.get(epoch, "") for values in history.values())] for epoch in epochs]
    write_csv([["epoch", *history], *rows], file)


def _all(root: Path | None, experiment: str | None, tags: Sequence[str] = ()) -> list[Run]:
    if experiment is not None and not runs_in(root, experiment):
        known = sorted({run.experiment for run in runs_in(root)})
        there = f"there are {', '.join(known)}" if known else "it has no runs"
        raise DataError(f"There is no experiment {experiment!r} in {runs_root(root)}: {there}.")
    return runs_in(root, experiment, tags)


def _several(texts: Sequence[str], root: Path | None, *, damaged: bool = False) -> list[Run]:
    """The runs that are meant, each once."""
    found = [find_run(text, root, damaged=damaged) for text in texts]
    return list({run.path.resolve(): run for run in found}.values())


def _removable(run: Run, root: Path) -> Path:
    """Where a run really is, if it may be removed.

    Raises:
        UsageError: it is in progress, or it is not a directory of its own in the folder of runs.
    """
    path = run.path.resolve()
    is_one = run.status != "unreadable" or _RUN_ID.fullmatch(path.name)
    if not is_one or run.path.is_symlink() or path.parent.parent != root.resolve():
        raise UsageError(
            f"{run.path} is not a run directory in {root}, and only those are removed: name its folder with --runs, or "
            "remove it yourself."
        )
    if is_in_progress(run.record):
        raise UsageError(f"A process of this machine is training in {run.path}: wait for it, or stop it.")
    if run.status == "running":
        host = run.record["process"].get("host")
        raise UsageError(
            f"The record of {run.path} says that the machine {host!r} is training in it: wait for it; if that machine "
            "is gone, remove the directory yourself."
        )
    return path


def _no_such_score(metric: str, found: Sequence[Run], root: Path) -> str:
    import difflib

    known = list(dict.fromkeys(name for run in found for name in (*run.history(), *run.scores)))
    close = difflib.get_close_matches(metric, known, n=3) or known[:5]
    hint = f"scores are {', '.join(close)}" if close else "they have no scores"
    return f"No run in {root} has a finite value of {metric!r}: {hint}."
