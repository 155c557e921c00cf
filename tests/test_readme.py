"""The README is followed to the letter: its Python runs, its TOML is accepted, its commands do what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.documentation

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("artifact-torch ")]
LOOKING = [line for line in COMMANDS if line.split()[1].startswith(("list", "show"))]


@pytest.fixture
def folder_of_a_newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    generator = np.random.default_rng(0)
    weight = generator.normal(40, 9, 200).round(1)
    animals = pd.DataFrame(
        {
            "caught": pd.date_range("2001-01-01", periods=200, freq="D").strftime("%Y-%m-%d"),
            "weight": np.where(generator.random(200) < 0.1, np.nan, weight),
            "sex": generator.choice(["F", "M"], 200),
            "plot": generator.integers(1, 25, 200),
        }
    )
    animals.to_csv(tmp_path / "animals.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARTIFACT_TORCH_HOME", raising=False)
    return tmp_path


def command_line(line: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("artifact-torch")), *shlex.split(line)[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.lengthy
def test_the_python_of_the_readme_runs_from_top_to_bottom(
    folder_of_a_newcomer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = blocks("python")
    assert len(examples) >= 5
    exec(compile("\n".join(examples), "README.md", "exec"), {"__name__": "readme"})
    assert "all 3 epochs are done" in capsys.readouterr().out


@pytest.mark.lengthy
def test_the_commands_of_the_readme_make_tables(folder_of_a_newcomer: Path) -> None:
    train, generate = (next(line for line in COMMANDS if f" {verb} " in line) for verb in ("train", "generate"))
    trained = command_line(train)
    assert trained.returncode == 0, trained.stderr
    (run,) = (folder_of_a_newcomer / "runs" / "default").iterdir()
    assert len(pd.read_csv(run / "synthetic.csv")) == 500
    assert [path.name for path in run.iterdir() if path.name not in README] == []
    generated = command_line(generate.replace("RUN-ID", run.name))
    assert generated.returncode == 0, generated.stderr
    assert len(pd.read_csv(run / "samples" / "1000-seed-7.csv")) == 1000


@pytest.mark.lengthy
def test_the_configuration_of_the_readme_trains(folder_of_a_newcomer: Path) -> None:
    description = next(block for block in blocks("toml") if "[experiment]" in block)
    Path("animals.toml").write_text(description, encoding="utf-8")
    trained = command_line("artifact-torch train animals.toml --set training.epochs=2 --json")
    assert trained.returncode == 0, trained.stderr
    assert (next((folder_of_a_newcomer / "runs" / "animals").iterdir()) / "synthetic.csv").is_file()


def test_the_configuration_of_the_readme_names_every_key_of_the_training_section() -> None:
    from artifact_torch.core.options import TrainingOptions

    description = tomllib.loads(next(block for block in blocks("toml") if "[experiment]" in block))
    assert set(description["training"]) <= set(TrainingOptions.model_fields)


@pytest.mark.lengthy
@pytest.mark.parametrize("line", LOOKING)
def test_the_commands_of_the_readme_that_look_at_plugins_answer(line: str) -> None:
    shown = command_line(line.partition("#")[0])
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout
    assert "Traceback" not in shown.stderr


def test_every_command_of_the_readme_exists_and_every_command_stands_there() -> None:
    from artifact_torch.cli.main import artifact_torch as commands

    known = set(commands.list_commands(click.Context(commands)))
    named = set(re.findall(r"artifact-torch ([a-z]+(?:-[a-z]+)*)", README)) & known
    assert named == known
    unknown = {
        line.split()[1] for block in blocks("bash") for line in block.splitlines() if re.match("artifact-t", line)
    }
    assert unknown <= known


def test_the_pip_line_installs_every_distribution_of_the_repository() -> None:
    line = next(line for block in blocks("bash") for line in block.splitlines() if "pip install -c" in line)
    plugins = sorted(os.path.relpath(path.parent, ROOT) for path in ROOT.glob("plugins/*/pyproject.toml"))
    assert [word for word in line.split() if word.startswith("plugins/")] == plugins
