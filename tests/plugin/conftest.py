"""Fixtures of the tests of plugins: distributions of one plugin, and what a user is told of them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from artifact_torch import PluginError, Trainer


class Source(NamedTuple):
    """The module of an installed plugin."""

    path: Path

    def at(self, text: str) -> str:
        """``file:line`` of the first line that contains a text."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return f"{self.path}:{next(number for number, line in enumerate(lines, start=1) if text in line)}"


@pytest.fixture
def install_plugin(install: Callable[..., None], tmp_path: Path) -> Callable[..., Source]:
    """Installs a distribution of one plugin, by default ``faulty`` of ``acme-faulty 1.0``; gives its module.

    The module has the distribution's name, with underscores.
    """

    def make(
        source: str,
        distribution: str = "acme-faulty",
        *,
        name: str = "faulty",
        kind: str = "plugins",
        attribute: str = "",
        version: str = "1.0",
        requires: Sequence[str] = (),
    ) -> Source:
        module = re.sub(r"\W", "_", distribution)
        value = f"{module}:{attribute}" if attribute else module
        install(distribution, {f"artifact_torch.{kind}": {name: value}}, version, requires, **{module: source})
        importlib.invalidate_caches()
        return Source(tmp_path / "site" / f"{module}.py")

    return make


@pytest.fixture
def warned(make_trainer: Callable[..., Trainer], caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """Trains with the installed plugins, an epoch by default, and gives the warnings.

    They are the same in the trainer, in the program's log and in the run's.
    """

    def run(**options: Any) -> list[str]:
        trainer = make_trainer(**{"epochs": 1, "use_installed_plugins": True, **options})
        trainer.train()
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert told == trainer.plugins.warnings
        log = (trainer.run.path / "log.txt").read_text(encoding="utf-8")
        assert all(f" WARNING {sentence}\n" in log for sentence in told)
        assert log.count(" WARNING ") == len(told)
        return told

    return run


@pytest.fixture
def refused(make_trainer: Callable[..., Trainer]) -> Callable[..., list[str]]:
    """The lines of the PluginError with which a trainer is refused."""

    def lines(**options: Any) -> list[str]:
        with pytest.raises(PluginError) as error:
            make_trainer(**options)
        return str(error.value).splitlines()

    return lines
