"""``find-learning-rate`` and ``find-batch-size``: what they print, and that they leave nothing behind."""

from __future__ import annotations

import json
import re

import pytest

from artifact_torch.cli.main import main

CONFIG = """
[data]
file = "table.csv"

[training]
epochs = 7
"""

COMMANDS = ["find-learning-rate", "find-batch-size"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("number,label\n" + "".join(f"{n % 7},{'ab'[n % 2]}\n" for n in range(60)))
    return path


@pytest.fixture
def config(table):
    path = table.with_name("experiment.toml")
    path.write_text(CONFIG)
    return path


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.mark.parametrize(
    ("command", "key"), [("find-learning-rate", "learning_rate"), ("find-batch-size", "batch_size")]
)
def test_the_line_for_the_configuration_can_be_used_and_nothing_stays_behind(command, key, config, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert exit_code(command, config) == 0
    told = capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    line = told.splitlines()[-1]
    assert re.fullmatch(rf"{key} = \S+", line)
    assert "under [training]:" in told
    config.write_text(CONFIG.replace("[training]", f"[training]\n{line}"))
    assert exit_code("explain", config, "--json") == 0
    parameters = json.loads(capsys.readouterr().out)["parameters"]
    assert parameters[f"training.{key}"] == float(line.split(" = ")[1])


def test_the_curve_is_printed_as_json_and_drawn(table, tmp_path, capsys):
    plot = tmp_path / "curve.png"
    assert exit_code("find-learning-rate", "--data", table, "--plot", plot, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["learning_rate"] in [point["learning_rate"] for point in told["curve"]]
    assert [*told["curve"][0]] == ["learning_rate", "loss"]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_sizes_are_printed_as_json(table, capsys):
    options = ["--set", "data.train_share=1.0", "--no-plugin", "progress"]
    assert exit_code("find-batch-size", "--data", table, *options, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [size["batch_size"] for size in told["sizes"]] == [16, 32]
    assert told["largest"] == 32
    assert told["batch_size"] in (16, 32)
    assert told["too_large"] is None
    assert [*told["sizes"][0]] == ["batch_size", "seconds_per_step", "samples_per_second", "peak_memory"]


@pytest.mark.parametrize("command", COMMANDS)
def test_mistakes_are_refused_as_in_training(command, config, table, capsys):
    assert exit_code(command) == 2
    assert "Give either a configuration file or --data FILE.csv." in capsys.readouterr().err
    assert exit_code(command, config, "--data", table) == 2
    assert exit_code(command, config, "--set", "training.epoch=3") == 2
    assert "unknown key 'epoch' in [training]: did you mean 'epochs'?" in capsys.readouterr().err
    assert exit_code(command, config, "--no-plugin", "absent") == 2


def test_a_plot_that_cannot_be_written_is_told(table, tmp_path, capsys):
    assert exit_code("find-learning-rate", "--data", table, "--plot", tmp_path / "absent" / "curve.png") == 2
    assert "--plot: there is no folder" in capsys.readouterr().err
    assert exit_code("find-learning-rate", "--data", table, "--plot", tmp_path / "curve.gibberish") == 2
    assert "curve.gibberish cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "curve.gibberish").exists()
