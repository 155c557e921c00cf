"""The entry point ``artifact-torch``: commands of the core and of plugins, found without importing them."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from artifact_torch.errors import ArtifactTorchError, PluginError

_OWN_COMMANDS = {
    "check-plugins": ("artifact_torch.cli.check_plugins:check_plugins", "Try out the installed plugins."),
    "explain": ("artifact_torch.cli.explain:explain", "Show who will run at each hook, without training."),
    "find-batch-size": ("artifact_torch.cli.finders:find_batch_size", "Find a batch size by trying larger ones."),
    "find-learning-rate": (
        "artifact_torch.cli.finders:find_learning_rate",
        "Find a learning rate by trying higher ones.",
    ),
    "generate": ("artifact_torch.cli.generate:generate", "Write new samples of a trained model."),
    "list-components": ("artifact_torch.cli.plugins:list_components", "Show what can be chosen by name."),
    "list-hooks": ("artifact_torch.cli.hooks:list_hooks", "Show the hooks, and who implements them."),
    "new-plugin": ("artifact_torch.cli.new_plugin:new_plugin", "Make the distribution of a new plugin."),
    "sync": ("artifact_torch.cli.sync:sync", "Bring what a run has recorded to its trackers."),
    "resume": ("artifact_torch.cli.resume:resume", "Go on with a run that was interrupted."),
    "runs": ("artifact_torch.cli.runs:runs", "Find, compare, tag, export and remove runs."),
    "show-plugin": ("artifact_torch.cli.plugins:show_plugin", "Show all that is known about a plugin."),
    "list-plugins": ("artifact_torch.cli.plugins:list_plugins", "Show the installed plugins."),
    "train": ("artifact_torch.cli.train:train", "Train, validate and sample from a configuration or a CSV file."),
    "validate": ("artifact_torch.cli.validate:validate", "Compute scores and plots of files, without a model."),
}
_INTERRUPTED = 130


class LazyCommands(click.Group):
    """Commands by name; one is imported when it is called, and help reads names from metadata only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_OWN_COMMANDS, *self._plugin_commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _OWN_COMMANDS:
            module, _, attribute = _OWN_COMMANDS[cmd_name][0].partition(":")
            command = getattr(importlib.import_module(module), attribute)
        elif cmd_name in self._plugin_commands():
            command = self._imported(cmd_name)
        else:
            return None
        if not isinstance(command, click.Command):
            raise PluginError(f"The command {cmd_name!r} is not a click command: its plugin needs repair.")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, summary) for name, (_, summary) in _OWN_COMMANDS.items()]
        rows += [(name, f"(from {distribution})") for name, distribution in self._plugin_commands().items()]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))

    @staticmethod
    def _plugin_commands() -> dict[str, str]:
        from artifact_torch.plugin.discovery import discover
        from artifact_torch.plugin.selection import PluginSelection

        enabled = [entry for entry in discover("commands") if not PluginSelection().disabled(entry)]
        return {entry.name: entry.distribution for entry in enabled if entry.name not in _OWN_COMMANDS}

    @staticmethod
    def _imported(name: str) -> object:
        from artifact_torch.plugin.registry import registry

        return registry.load("commands", name)


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="artifact-torch", prog_name="artifact-torch")
def artifact_torch() -> None:
    """Train PyTorch models with plugins, validate them with artifact-core, keep every result.

    Exit codes: 0 done, 1 failed, 2 wrong usage, configuration or data, 3 the loss diverged, 4 a plugin is missing or
    broken, 130 interrupted (Ctrl-C), 143 asked to stop (SIGTERM).
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; every expected failure is one sentence on stderr and its documented exit code."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # Read by OpenMP when torch is imported. By default its threads spin for milliseconds while they wait for each
        # other; if another process wants the same cores, an epoch of the demo was measured to take 8 to 49 s with that,
        # and 4 to 5 s if threads sleep sooner. On an idle machine it takes 1.8 and 2.1 s.
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    logger, log = logging.getLogger("artifact_torch"), _stderr_log()
    logger.addHandler(log)
    try:
        code = artifact_torch.main(args=arguments, prog_name="artifact-torch", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ArtifactTorchError as error:
        sentence = str(error)
        end = "" if sentence.endswith((".", "?", "!")) else "."
        click.secho(f"Error: {sentence}{end}", fg="red", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort) as raised:
        error = raised.__cause__ or raised  # click turns an interruption into an abortion
        record = getattr(error, "artifact_torch_run", None)
        more = "" if record is None else f" Go on with: artifact-torch resume {record.parent}"
        click.secho(f"Interrupted.{more}", fg="red", err=True)
        sys.exit(getattr(error, "exit_code", _INTERRUPTED))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nothing is left to say
        sys.exit(1)
    except (Exception, SystemExit) as error:
        failed = getattr(error, "artifact_torch_plugin", None)
        if failed is None:
            raise
        from artifact_torch.plugin.loading import place_of, reason_of

        record = getattr(error, "artifact_torch_run", None)
        more = "" if record is None else f" The traceback is in {record}."
        click.secho(f"Error: The plugin {failed}: {reason_of(error)}{place_of(error)}.{more}", fg="red", err=True)
        sys.exit(PluginError.exit_code)
    finally:
        logger.removeHandler(log)


def _stderr_log() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    return handler
