"""``train``: from a CSV file or a configuration to a trained run, or to one sentence and nothing else."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from artifact_torch.cli.main import main

FEW_ARTIFACTS = ["--set", "validation.plots=[]", "--set", "validation.score_collections=[]"]
QUICK = ["--set", "training.epochs=3", *FEW_ARTIFACTS]
COLUMNS = ["size", "count", "flag", "day", "kind"]


@pytest.fixture
def table(tmp_path):
    """150 rows of five kinds of columns."""
    draw = random.Random(0)
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for _ in range(150):
            kind = draw.choice("abc")
            count = draw.choice(["", draw.randrange(9)])
            day = f"2020-01-{draw.randrange(1, 29):02d}"
            rows.writerow([round(draw.gauss(10, 2), 1), count, draw.choice(["yes", "no"]), day, kind])
    return path


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["train", *map(str, arguments)])
    return ended.value.code


def trained(capfd, *arguments):
    assert exit_code(*arguments, "--json") == 0
    shown = capfd.readouterr()
    return json.loads(shown.out), shown.err


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.reader(file))


def refused(capfd, runs, *arguments):
    """The sentence on stderr; nothing was printed to stdout, and no run is left behind."""
    assert exit_code(*arguments, "--runs", runs) == 2
    shown = capfd.readouterr()
    assert not shown.out
    assert not runs.exists() or not list(runs.iterdir())
    return shown.err


def test_the_json_is_one_object_with_everything_that_was_made(table, tmp_path, capfd):
    result, talk = trained(capfd, "--data", table, "--target-rows", 70, "--runs", tmp_path / "runs", *QUICK)
    assert result.keys() >= {"schema", "run_dir", "epochs", "seconds", "scores", "synthetic", "plots", "warnings"}
    assert result["epochs"] == 3
    assert result["seconds"] > 0
    assert result["plots"] == result["warnings"] == []
    assert Path(result["run_dir"]).parent == tmp_path / "runs" / "default"
    assert Path(result["synthetic"]) == Path(result["run_dir"]) / "synthetic.csv"
    assert set(result["scores"]) == {"MEAN_JS_DISTANCE", "CORRELATION_DISTANCE", "MAX_MISSING_SHARE_DIFFERENCE"}
    assert all(0 <= score < 1 for score in result["scores"].values())
    header, *rows = rows_of(result["synthetic"])
    assert header == COLUMNS
    assert len(rows) == 70
    assert [line.split()[1] for line in talk.splitlines()] == ["1/3", "2/3", "3/3"]


def test_without_json_it_says_what_was_made_and_how_good_it_is_on_stdout(table, tmp_path, capfd):
    assert exit_code("--data", table, "--runs", tmp_path / "runs", *QUICK) == 0
    shown = capfd.readouterr()
    (run,) = (tmp_path / "runs" / "default").iterdir()
    assert shown.out.startswith("Trained 3 epochs in ")
    for told in ("MEAN_JS_DISTANCE", str(run / "synthetic.csv"), str(run / "model")):
        assert told in shown.out
    assert "epoch 3/3" in shown.err
    assert "epoch 3/3" not in shown.out


def test_as_many_rows_are_written_as_were_trained_on(table, tmp_path, capfd):
    result, _ = trained(capfd, "--data", table, "--runs", tmp_path, *QUICK)
    assert len(rows_of(result["synthetic"])) == 1 + 120


def test_plots_are_listed_and_are_there(table, tmp_path, capfd):
    options = ["--set", "training.epochs=2", "--set", "validation.period=2", "--set", "validation.plots=['PDF']"]
    result, _ = trained(capfd, "--data", table, "--runs", tmp_path, *options)
    (plot,) = result["plots"]
    assert plot.endswith("artifacts/plot/PDF/epoch-2-step-16-train.png")
    assert Path(plot).read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(table, tmp_path, capfd):
    def synthetic(seed):
        options = ["--data", table, "--runs", tmp_path, "--set", f"experiment.seed={seed}", *QUICK]
        return Path(trained(capfd, *options)[0]["synthetic"]).read_bytes()

    first = synthetic(1)
    assert synthetic(1) == first
    assert synthetic(2) != first


@pytest.mark.lengthy
def test_the_installed_command_gives_the_same_bytes_in_a_process_of_its_own(table, tmp_path, capfd):
    arguments = ["--data", str(table), "--target-rows", "70", *QUICK]
    here, _ = trained(capfd, *arguments, "--runs", tmp_path / "here")
    # Sets are in another order there, which must not matter.
    variables = {**os.environ, "PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    command = [Path(sys.executable).with_name("artifact-torch"), "train", *arguments, "--json", "--runs", "there"]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=True)
    there = json.loads(done.stdout)
    assert (tmp_path / there["synthetic"]).read_bytes() == Path(here["synthetic"]).read_bytes()
    assert there["scores"] == here["scores"]
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["1/3", "2/3", "3/3"]


def test_without_runs_the_environment_says_where_runs_are_kept(table, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("ARTIFACT_TORCH_HOME", str(tmp_path / "kept"))
    result, _ = trained(capfd, "--data", table, *QUICK)
    assert Path(result["run_dir"]).parent == tmp_path / "kept" / "default"


def test_a_configuration_is_run_with_paths_from_its_folder_and_overrides(table, tmp_path, monkeypatch, capfd):
    config = tmp_path / "experiment.toml"
    config.write_text(
        '[experiment]\nname = "trial"\n[data]\nfile = "table.csv"\ndrop = ["day"]\n[training]\nepochs = 9\n'
        "[validation]\nplots = []\nscore_collections = []\n[stoppers.max_epochs]\nepochs = 2\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    options = ["--target-rows", 20, "--set", "model.latent_size=2"]
    result, _ = trained(capfd, config, "--runs", tmp_path / "runs", *options)
    assert Path(result["run_dir"]).parent.name == "trial"
    assert result["epochs"] == 2
    assert result["reason"] == "MaxEpochs: 2 epochs are done"
    header, *rows = rows_of(result["synthetic"])
    assert header == ["size", "count", "flag", "kind"]
    assert len(rows) == 20
    record = json.loads((Path(result["run_dir"]) / "run.json").read_text())
    assert record["params"]["model.latent_size"] == 2


@pytest.mark.parametrize("arguments", [[], ["experiment.toml", "--data", "table.csv"]])
def test_exactly_one_of_configuration_and_data_is_needed(arguments, capfd):
    assert exit_code(*arguments) == 2
    assert "Give either a configuration file or --data FILE.csv." in capfd.readouterr().err


@pytest.mark.parametrize("flag", ["--drop", "--renumber"])
def test_column_flags_do_not_go_with_a_configuration(flag, capfd):
    assert exit_code("experiment.toml", flag, "id") == 2
    assert "in a configuration, write them in [data]" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.epoch=3", "unknown key 'epoch' in [training]: did you mean 'epochs'?"),
        ("traning.epochs=3", "unknown section 'traning': did you mean 'training'?"),
        ("data.drops=['kind']", "unknown key 'drops' in [data]: did you mean 'drop'?"),
        ("data.train_share=0", "train_share = 0"),
        ("validation.score=[]", "unknown key 'score' in [validation]: did you mean 'scores'?"),
        ("validation.scores=['MEAN_JS']", "no score of tables named 'MEAN_JS': did you mean 'MEAN_JS_DISTANCE'?"),
        ("model.latent=3", "unknown key 'latent' in [model]: did you mean 'latent_size'?"),
        ("model.latent_size='a'", "latent_size = 'a' in [model]: input should be a valid integer."),
        ("model.latent_size=0", "latent_size is 0"),
        ("model.name=vea", "no model named 'vea': did you mean 'vae'?"),
        ("experiment.group=table_compare", "no artifact group named 'table_compare': did you mean 'table_comparison'?"),
        ("stoppers.patince.epochs=3", "no stopper named 'patince': did you mean 'patience'?"),
        ("stoppers.patience.epoch=3", "unknown key 'epoch' in [stoppers.patience]: did you mean 'epochs'?"),
        ("stoppers.patience.epochs=0", "at least 1 epoch, not 0"),
        ("callbacks.progres={}", "no callback named 'progres': did you mean 'progress'?"),
        ("callbacks.other:progress={}", "no callback named 'other:progress'"),
        ("experiment.name=../up", "'../up' cannot name an experiment"),
        ("training.device=abacus", "The device 'abacus' cannot be used here"),
    ],
)
def test_a_mistake_in_the_description_is_one_sentence_and_leaves_no_run(override, told, table, tmp_path, capfd):
    message = refused(capfd, tmp_path / "runs", "--data", table, *QUICK, "--set", override)
    assert told in message
    assert message.startswith("Error: ")
    assert message.count("\n") == 1


def test_a_callback_that_cannot_work_is_refused_and_leaves_no_run(table, tmp_path, capfd):
    options = ["--set", "data.train_share=1", "--set", "callbacks.loss={}"]
    assert "validation loader" in refused(capfd, tmp_path / "runs", "--data", table, *QUICK, *options)


def test_a_refused_description_leaves_earlier_runs_alone(table, tmp_path, capfd):
    result, _ = trained(capfd, "--data", table, "--runs", tmp_path / "runs", *QUICK)
    assert exit_code("--data", table, "--runs", tmp_path / "runs", *QUICK, "--set", "training.device=abacus") == 2
    assert [str(path) for path in (tmp_path / "runs").glob("*/*")] == [result["run_dir"]]


def test_a_mistake_in_a_configuration_is_told_with_the_file(table, tmp_path, capfd):
    config = tmp_path / "experiment.toml"
    config.write_text('[data]\nfile = "table.csv"\n[validation]\nplot = []\n')
    message = refused(capfd, tmp_path / "runs", config)
    assert message == f"Error: {config}: unknown key 'plot' in [validation]: did you mean 'plots'?\n"
    config.write_text("[data]\n")
    message = refused(capfd, tmp_path / "runs", config)
    assert message == f"Error: {config}: 'file' is missing in [data].\n"


def test_a_missing_configuration_is_refused(tmp_path, capfd):
    message = refused(capfd, tmp_path / "runs", tmp_path / "absent.toml")
    assert message == f"Error: There is no configuration file {tmp_path / 'absent.toml'}: check the path.\n"


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_of_rows_that_is_none_is_refused(number, table, tmp_path, capfd):
    assert "--target-rows" in refused(capfd, tmp_path / "runs", "--data", table, "--target-rows", number)


def test_runs_cannot_be_kept_below_a_file(table, capfd):
    assert exit_code("--data", table, "--runs", table / "runs", *QUICK) == 2
    assert "cannot be made" in capfd.readouterr().err


def test_a_broken_plugin_that_is_chosen_is_a_plugin_error(table, tmp_path, install, capfd):
    install("cracked", {"artifact_torch.models": {"cracked": "absent_module_for_test:Model"}})
    assert exit_code("--data", table, "--runs", tmp_path / "runs", "--set", "model.name=cracked") == 4
    assert "cannot be imported from absent_module_for_test:Model" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()
