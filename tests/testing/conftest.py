"""Plugins to hold against their contract."""

from __future__ import annotations

import pytest

from artifact_torch.plugin.discovery import GROUPS, discover

HEAD = """
from __future__ import annotations

import time
from typing import Any, Literal

import click
import torch
from torch import nn

from artifact_torch import ArtifactGroup, Callback, EarlyStopper, Model, ModelOutput, Options
from artifact_torch import Tracker, UsageError, hookimpl

"""


GOOD = {
    "callbacks": """
class Part(Callback):
    def __init__(self, *, every: int = 2, label: str | None = None) -> None:
        self.every, self.seen = every, torch.zeros(2)

    @hookimpl
    def execute_batch_postprocessing(self, trainer):
        if trainer.state.step % self.every == 0:
            self.seen += 1

    @hookimpl
    def log_epoch_metrics(self):
        return {"seen": self.seen.sum()}

    @hookimpl
    def on_save_checkpoint(self):
        return {"seen": self.seen}

    @hookimpl
    def on_load_checkpoint(self, state):
        self.seen = state["seen"]
""",
    "stoppers": """
class Part(EarlyStopper):
    def __init__(
        self, *, epochs: int, mode: Literal["min", "max"], factor: float, strict: bool, names: list[str]
    ) -> None:
        assert (epochs, mode, factor, strict, names) == (1, "min", 0.5, True, [])
        self.epochs = epochs

    def check(self, trainer):
        return "enough" if trainer.state.epochs_completed >= self.epochs else None
""",
    "trackers": """
class Part(Tracker):
    def __init__(self, folder: str = "scores") -> None:
        self.folder = folder

    @hookimpl
    def track_score(self, name, value):
        print(name, value)
        with open("scores.csv", "a") as file:
            print(name, value, file=file)
""",
    "plugins": """
steps = {"done": 0}

@hookimpl
def execute_batch_postprocessing():
    steps["done"] += 1

@hookimpl
def should_stop():
    return "there were enough steps" if steps["done"] >= 100 else None

@hookimpl
def on_save_checkpoint():
    return dict(steps)

@hookimpl
def on_load_checkpoint(state):
    steps.update(state)
""",
    "models": """
class Part(Model[Any, ModelOutput]):
    def __init__(self, *, columns: list[str], width: int = 3) -> None:
        super().__init__()
        self.columns, self.width = columns, width
        self.layers = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))

    def config(self):
        return {"columns": self.columns, "width": self.width}

    def forward(self, batch):
        return {"loss": self.layers(batch["features"]).mean()}
""",
    "artifact_groups": """
class Data(Options):
    file: str

class Validation(Options):
    period: int = 1

class Part(ArtifactGroup[Data, Validation]):
    data_options, validation_options, model_class = Data, Validation, Model
    default_model, sample_suffix = "mine", ".csv"

    def load(self): ...
    def default_settings(self): ...
    def model_factory(self, model_class): ...
    def build_trainer(self, model, parts): ...
    def conclude(self, trainer, num_samples): ...
    @classmethod
    def generate(cls, model, params, path): ...
""",
    "commands": """
@click.command()
def Part():
    "Count the parts."
""",
    "artifacts": "",
}


@pytest.fixture
def good():
    """Kind -> the source of a plugin that keeps its contract, without the imports."""
    return GOOD


@pytest.fixture
def first_line():
    """The line of a plugin's module on which its source begins, after the imports."""
    return HEAD.count("\n") + 1


@pytest.fixture
def entry_of(install):
    """Installs one plugin of a kind, with the source of its module, and returns its entry."""

    def make(kind, source, *, value=None, **options):
        value = value or ("acme_parts" if kind in ("artifacts", "plugins") else "acme_parts:Part")
        install("acme-parts", {GROUPS[kind]: {"part": value}}, acme_parts=HEAD + source, **options)
        (entry,) = [entry for entry in discover(kind) if entry.distribution == "acme-parts"]
        return entry

    return make
