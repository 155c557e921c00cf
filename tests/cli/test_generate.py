"""``generate``: new samples of the model that a run has trained."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from artifact_torch_table_comparison import read_csv

from artifact_torch import RunDirectory, Trainer
from artifact_torch.cli.main import main
from artifact_torch.testing import TinyModel, tiny_loader


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on 90 rows."""
    folder = tmp_path_factory.mktemp("trained")
    rows = "".join(f"{row % 5},{row * 7 % 11 / 2},{'ab'[row % 2]}\n" for row in range(90))
    (folder / "table.csv").write_text("count,size,kind\n" + rows)
    options = ["--set", "training.epochs=2", "--set", "validation.plots=[]", "--set", "experiment.seed=4"]
    assert exit_code("train", "--data", folder / "table.csv", "--runs", folder / "runs", *options) == 0
    (path,) = (folder / "runs" / "default").iterdir()
    return path


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.reader(file))


def test_samples_are_written_into_the_run_by_number_and_seed(run, capsys):
    assert exit_code("generate", run, "--rows", 33, "--json") == 0
    shown = capsys.readouterr()
    assert not shown.err
    written = run / "samples" / "33-seed-0.csv"
    result = json.loads(shown.out)
    assert result.items() >= {"run_dir": str(run), "rows": 33, "seed": 0, "synthetic": str(written)}.items()
    header, *rows = rows_of(written)
    assert header == ["count", "size", "kind"]
    assert len(rows) == 33


def test_without_json_it_says_where_the_samples_are(run, capsys):
    assert exit_code("generate", run, "--rows", 5) == 0
    assert capsys.readouterr().out == f"Wrote 5 rows to {run / 'samples' / '5-seed-0.csv'}.\n"


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(run, tmp_path):
    def samples(seed, name):
        path = tmp_path / "new" / name
        assert exit_code("generate", run, "--rows", 50, "--seed", seed, "--output", path) == 0
        return path.read_bytes()

    first = samples(3, "a.csv")
    assert samples(3, "b.csv") == first
    assert samples(4, "c.csv") != first


def test_the_saved_model_gives_again_what_training_wrote(run, tmp_path):
    written = rows_of(run / "synthetic.csv")
    path = tmp_path / "again.csv"
    assert exit_code("generate", run, "--rows", len(written) - 1, "--seed", 4, "--output", path) == 0
    assert path.read_bytes() == (run / "synthetic.csv").read_bytes()


def test_samples_have_the_types_of_the_table(run, tmp_path):
    path = tmp_path / "samples.csv"
    assert exit_code("generate", run, "--rows", 200, "--output", path) == 0
    assert [column.kind for column in read_csv(path).schema.columns] == ["integer", "float", "category"]


def test_an_output_is_replaced(run, tmp_path):
    path = tmp_path / "samples.csv"
    path.write_text("old")
    assert exit_code("generate", run, "--rows", 3, "--output", path) == 0
    assert len(rows_of(path)) == 4


def test_what_is_no_run_is_refused(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "absent"):
        assert exit_code("generate", path, "--rows", 3, "--output", tmp_path / "out.csv") == 2
        assert f"Error: {path} is not a run directory" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_a_run_that_has_not_finished_is_refused_with_its_status(tmp_path, capsys):
    unfinished = RunDirectory.create(root=tmp_path / "runs")
    unfinished.update(status="running", description={"experiment": {"group": "table_comparison"}})
    assert exit_code("generate", unfinished.path, "--rows", 3, "--output", tmp_path / "out.csv") == 2
    assert "has no trained model (its status is 'running'): train it to its end." in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_a_run_that_was_not_made_from_a_description_is_refused(tmp_path, capsys):
    run = RunDirectory.create(root=tmp_path)
    Trainer(TinyModel(), tiny_loader(), epochs=1, run=run).train()
    assert exit_code("generate", run.path, "--rows", 3) == 2
    assert "was not made from a description" in capsys.readouterr().err


def test_a_damaged_model_fails(run, tmp_path, capsys):
    damaged = shutil.copytree(run, tmp_path / "damaged")
    tensors = damaged / "model" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"x")
    assert exit_code("generate", damaged, "--rows", 3, "--output", tmp_path / "out.csv") == 1
    assert "was altered after it was written" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "option", [["--rows", "0"], [], ["--rows", "3", "--seed", "-1"], ["--rows", "3", "--seed", 2**63]]
)
def test_wrong_numbers_are_refused(option, run, capsys):
    assert exit_code("generate", run, *option) == 2
    assert "'--rows'" in capsys.readouterr().err or option[2:3] == ["--seed"]


def test_an_output_that_cannot_be_written_is_refused(run, tmp_path, capsys):
    assert exit_code("generate", run, "--rows", 3, "--output", tmp_path / "table.csv.gz") == 2
    assert "tables are written uncompressed" in capsys.readouterr().err
    assert not (tmp_path / "table.csv.gz").exists()


def test_an_output_below_a_file_is_refused(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert exit_code("generate", run, "--rows", 3, "--output", tmp_path / "file" / "out.csv") == 2
    assert capsys.readouterr().err.count("\n") == 1
