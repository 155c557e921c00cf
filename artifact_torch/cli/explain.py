"""``explain``: who will run at each hook, in which order, before any training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artifact_torch.cli.options import no_plugin_option, override_option, without_plugins
from artifact_torch.cli.output import print_json, print_loading, print_table

if TYPE_CHECKING:
    from artifact_torch.explanation import Explanation
    from artifact_torch.plugin.hooks import Implementation

_POSITIONS = {"": "", "tryfirst": "asks to be first", "trylast": "asks to be last", "wrapper": "around the others"}


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@override_option
@no_plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(config: Path, overrides: tuple[str, ...], no_plugin: tuple[str, ...], as_json: bool) -> None:
    """Show who will run at each hook of CONFIG, in order, without training.

    Everything is checked and built as for training: the description, the data, the model, the plugins.
    """
    print_loading()
    from artifact_torch.config import load_config
    from artifact_torch.explanation import explain_experiment

    description, folder = load_config(config, overrides)
    explanation = explain_experiment(without_plugins(description, no_plugin), folder=folder, source=str(config))
    if as_json:
        print_json(_as_json(explanation))
    else:
        _print(explanation, config)


def _as_json(explanation: Explanation) -> dict[str, object]:
    return {
        "model": explanation.model,
        "trainer": explanation.trainer,
        "epochs": explanation.epochs,
        "parameters": dict(explanation.parameters),
        "validation_period": explanation.validation_period,
        "plans": dict(explanation.plans),
        "loader_callbacks": dict(explanation.loader_callbacks),
        "hooks": [
            {
                "name": each.hook,
                "overridden_by": each.overridden_by,
                "implementations": [asdict(implementation) for implementation in each.implementations],
            }
            for each in explanation.hooks
        ],
        "warnings": list(explanation.warnings),
    }


def _print(explanation: Explanation, config: Path) -> None:
    click.echo(
        f"{config}: {explanation.trainer} trains {explanation.model} for at most {explanation.epochs} epochs and "
        f"validates every {explanation.validation_period}."
    )
    for split, names in explanation.plans.items():
        if names:
            click.echo(f"Computed of the {split} split: {', '.join(names)}.")
    for split, names in explanation.loader_callbacks.items():
        if names:
            click.echo(f"Computed over the {split} loader: {', '.join(names)}.")
    silent: list[str] = []
    for each in explanation.hooks:
        if not each.implementations and each.overridden_by is None:
            silent.append(each.hook)
            continue
        click.echo(f"\n{each.hook}")
        if each.overridden_by is not None:
            click.echo(f"  {each.overridden_by} runs first, and calls the plugins with super()")
        print_table([_row(number, each) for number, each in enumerate(each.implementations, start=1)], indent="  ")
    click.echo("")
    click.echo(click.wrap_text(f"Nobody runs at {', '.join(silent)}.", width=100, subsequent_indent="  "))


def _row(number: int, each: Implementation) -> tuple[str, ...]:
    source = "the core" if each.source == "core" else f"{each.distribution or 'no distribution'} {each.version or ''}"
    chosen = "" if each.source == "core" else each.source
    place = ", ".join(filter(None, (_POSITIONS[each.position], f"priority {each.priority}" if each.priority else "")))
    return (f"{number}.", each.plugin, source.rstrip(), chosen, place)
