"""Scratch environments: the core alone, and beside it a plugin of somebody else, both installed by pip from wheels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.documentation

ROOT = Path(__file__).parent.parent

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "weather-watch"
version = "0.3.1"
dependencies = ["artifact-torch>=1.0"]

[project.entry-points."artifact_torch.plugins"]
barometer = "weather_watch.hooks"

[project.entry-points."artifact_torch.callbacks"]
rain_gauge = "weather_watch.parts:RainGauge"

[project.entry-points."artifact_torch.stoppers"]
nightfall = "weather_watch.parts:Nightfall"
"""

HOOKS = """
from artifact_torch import hookimpl


@hookimpl
def log_epoch_metrics(trainer):
    return {"pressure": 1000 + trainer.state.epoch}
"""

PARTS = """
from artifact_torch import Callback, EarlyStopper, hookimpl


class RainGauge(Callback):
    def __init__(self):
        self.batches = 0

    @hookimpl
    def execute_batch_postprocessing(self, trainer, batch):
        self.batches += len(batch["target"]) == 16

    @hookimpl
    def log_epoch_metrics(self):
        return {"batches": self.batches}


class Nightfall(EarlyStopper):
    def check(self, trainer):
        return "it is dark" if trainer.latest_score("train/pressure") == 1003 else None
"""

TRAINING_WITH_THE_PLUGIN = """
import json
import sys

import artifact_torch
from artifact_torch import Trainer
from artifact_torch.testing import TinyModel, tiny_loader

assert "weather_watch" not in sys.modules
trainer = Trainer(
    TinyModel(), tiny_loader(), epochs=50, callbacks=["rain_gauge"], stoppers=["nightfall"], device="cpu"
)
result = trainer.train()
print(json.dumps({
    "core": artifact_torch.__file__,
    "plugin": sys.modules["weather_watch.hooks"].__file__,
    "epochs": result.epochs,
    "reason": result.reason,
    "pressure": trainer.epoch_scores["train/pressure"].tolist(),
    "batches": trainer.epoch_scores["train/batches"].tolist(),
    "recorded": trainer.run.record["plugins"],
}))
"""

TRAINING_WITH_THE_CORE_ALONE = """
import importlib.util
import json
import sys

import torch

import artifact_torch
from artifact_torch import Trainer, load_model, registry
from artifact_torch.testing import TinyModel, tiny_loader

registry.add("models", "tiny", TinyModel)
trainer = Trainer(TinyModel(dropout=0.0), tiny_loader(), epochs=3, device="cpu")
result = trainer.train()
loaded = load_model(result.run_directory / "model")
batch = next(iter(tiny_loader()))
trainer.save_checkpoint()
print(json.dumps({
    "core": artifact_torch.__file__,
    "epochs": result.epochs,
    "losses": trainer.epoch_scores["train/loss"].tolist(),
    "same_output": torch.equal(loaded(batch)["prediction"], trainer.model(batch)["prediction"]),
    "checkpoint": trainer.load_checkpoint().is_dir(),
    "others": sorted(name for name in sys.modules if name.startswith(("artifact_core", "artifact_torch_"))),
    "findable": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
}))
"""


@dataclass
class Environment:
    """A virtual environment in a folder of its own."""

    folder: Path

    @property
    def python(self):
        return self.folder / "bin" / "python"

    def install(self, wheel):
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet"]
        succeeded(self.call([*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel]))

    def run(self, *command):
        return self.call([self.folder / "bin" / command[0], *command[1:]])

    def call(self, command):
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        variables = {name: value for name, value in os.environ.items() if name not in hidden}
        variables |= {"ARTIFACT_TORCH_HOME": str(self.folder / "runs"), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=variables, cwd=self.folder, capture_output=True, text=True, check=False)


def wheel_of(project, folder):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, project]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def core_wheel(tmp_path_factory):
    return wheel_of(ROOT, tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory):
    """Everything that is installed here, but nothing of this project and of what only its plugins need."""
    folder = tmp_path_factory.mktemp("dependencies")
    for site in [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]:
        for entry in site.iterdir():
            name = entry.name.lower()
            if "artifact" not in name and entry.suffix != ".pth" and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def environment(tmp_path, core_wheel, dependencies):
    """The core from its wheel, and what it depends on."""
    made = Environment(tmp_path / "environment")
    venv.create(made.folder, with_pip=False, symlinks=True)
    (site,) = made.folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    made.install(core_wheel)
    return made


def succeeded(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.lengthy
def test_a_plugin_of_a_third_party_is_installed_listed_and_used(tmp_path, environment):
    project = tmp_path / "weather-watch"
    (project / "weather_watch").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PYPROJECT)
    for name, source in (("__init__", ""), ("hooks", HOOKS), ("parts", PARTS)):
        (project / "weather_watch" / f"{name}.py").write_text(source)
    environment.install(wheel_of(project, tmp_path / "wheels"))

    listed = json.loads(succeeded(environment.run("artifact-torch", "list-plugins", "--json")))["plugins"]
    assert {(row["name"], row["kind"], row["provides"]) for row in listed} == {
        ("barometer", "plugins", "weather_watch.hooks"),
        ("rain_gauge", "callbacks", "weather_watch.parts:RainGauge"),
        ("nightfall", "stoppers", "weather_watch.parts:Nightfall"),
    }
    assert {(row["distribution"], row["version"], row["status"]) for row in listed} == {
        ("weather-watch", "0.3.1", "installed")
    }

    told = json.loads(succeeded(environment.run("python", "-c", TRAINING_WITH_THE_PLUGIN)))
    assert told["core"].startswith(str(environment.folder))
    assert told["plugin"].startswith(str(environment.folder))
    assert (told["epochs"], told["reason"]) == (3, "Nightfall: it is dark")
    assert told["pressure"] == [1001, 1002, 1003]
    assert told["batches"] == [4, 8, 12]
    assert [
        (each["name"], each["source"], each["version"]) for each in told["recorded"] if each["source"] != "core"
    ] == [
        ("RainGauge", "chosen", "0.3.1"),
        ("Nightfall", "chosen", "0.3.1"),
        ("barometer", "installed", "0.3.1"),
    ]


@pytest.mark.lengthy
def test_the_core_works_with_no_plugin_installed(tmp_path, environment):
    assert succeeded(environment.run("artifact-torch", "list-plugins")).startswith("No plugin is installed.")
    assert json.loads(succeeded(environment.run("artifact-torch", "list-plugins", "--json")))["plugins"] == []
    assert "demo" not in succeeded(environment.run("artifact-torch", "--help"))

    absent = ["artifact_core", "artifact_experiment", "artifact_torch_callbacks", "artifact_torch_table_comparison"]
    told = json.loads(succeeded(environment.run("python", "-c", TRAINING_WITH_THE_CORE_ALONE, *absent)))
    assert told["core"].startswith(str(environment.folder))
    assert told["findable"] == told["others"] == []
    assert told["epochs"] == 3
    assert told["losses"] == sorted(told["losses"], reverse=True)
    assert told["same_output"]
    assert told["checkpoint"]

    (environment.folder / "table.csv").write_text("a,b\n1,2\n3,4\n")
    refused = environment.run("artifact-torch", "train", "--data", "table.csv")
    assert refused.returncode == 4
    assert "no installed plugin provides one" in refused.stderr
    assert "Traceback" not in refused.stderr
