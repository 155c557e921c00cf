"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from artifact_torch.config import ExperimentConfig

override_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, as in training.epochs=10."
)
no_plugin_option = click.option(
    "--no-plugin", multiple=True, metavar="NAME", help="Leave a plugin or a whole distribution out. May be repeated."
)


def without_plugins(config: ExperimentConfig, names: Sequence[str]) -> ExperimentConfig:
    """A description in which more plugins are switched off.

    Raises:
        click.UsageError: a name is that of no installed plugin or distribution.
    """
    from artifact_torch.plugin.discovery import discover
    from artifact_torch.plugin.selection import PluginSelection

    if unknown := PluginSelection().unknown(names, discover()):
        raise click.UsageError(f"--no-plugin: {' '.join(unknown)}")
    plugins = config.plugins.model_copy(update={"disable": [*config.plugins.disable, *names]})
    return config.model_copy(update={"plugins": plugins})
