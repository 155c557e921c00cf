"""``runs``: what each command says, what it refuses, and what it leaves alone."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from artifact_torch import RunDirectory, Trainer, ValidationRoutine, find_run
from artifact_torch.cli.main import main
from artifact_torch.cli.runs_output import direction, duration, number
from artifact_torch.core.record import this_process
from artifact_torch.testing import TinyModel, TinyPlan, tiny_loader

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
COMMAND = Path(sys.executable).with_name("artifact-torch")
HEAVY = {"torch", "pandas", "numpy", "pydantic", "matplotlib", "artifact_core"}


def trained(root, experiment, *, epochs=2, tags=(), params=None, **options):
    """A finished run whose training loss falls."""
    run = RunDirectory.create(experiment, root=root, tags=tags)
    options = {"device": "cpu", "use_installed_plugins": False, **options}
    trainer = Trainer(TinyModel(0.0), tiny_loader(), epochs=epochs, run=run, params=params, **options)
    trainer.train()
    run.update(revision="abc")  # the working directory's, which may change meanwhile
    return trainer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of runs; oldest first: a short one, a long one of another width with plots, a damaged one."""
    root = tmp_path_factory.mktemp("made") / "runs"
    trained(root, "short", tags=["baseline"], params={"width": 3, "depth": 1})
    validation = ValidationRoutine(plans=[TinyPlan()], period=3, mode="inline")
    long = trained(root, "long", epochs=3, params={"width": 4, "depth": 1}, validation=validation)
    long.save_checkpoint()
    long.run.update(scores={"QUALITY": 0.5, "DISTANCE": None}, warnings=["half of it is missing"])
    damaged = RunDirectory.create("short", root=root)
    (damaged.path / "run.json").write_text("{")
    damaged.path.rename(damaged.path.with_name("20991231-000000-abcdef"))  # of which only the name tells the time
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy of the folder of runs, to be changed."""
    return shutil.copytree(made, tmp_path / "made")


def ids(root):
    """The ids of the three runs: the short one, the long one, the damaged one."""
    long = next(root.glob("long/*")).name
    short, damaged = sorted(root.glob("short/*"), key=lambda path: (path / "run.json").read_text() == "{")
    return short.name, long, damaged.name


def ended(capsys, *arguments):
    """Exit code, stdout and stderr of ``runs``."""
    with pytest.raises(SystemExit) as end:
        main(["runs", *map(str, arguments)])
    shown = capsys.readouterr()
    return end.value.code, shown.out, shown.err


def told(capsys, *arguments):
    code, out, err = ended(capsys, *arguments)
    assert code == 0, err
    return out


def as_json(capsys, *arguments):
    return json.loads(told(capsys, *arguments, "--json"), parse_constant=pytest.fail)


def refused(capsys, *arguments):
    """The sentence on stderr."""
    code, out, err = ended(capsys, *arguments)
    assert code == 2
    assert not out
    assert err.count("Error: ") == 1
    return err


def table(text):
    """The rows of a table as lists of cells."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


# list


def test_the_list_is_a_table_newest_first(made, capsys):
    short, long, damaged = ids(made)
    header, first, second, third, reason = told(capsys, "list", "--runs", made).splitlines()
    assert header.split() == ["RUN", "STATUS", "EPOCHS", "train/loss", "validation/weight_norm", "TIME", "TAGS"]
    assert first.split() == [f"short/{damaged}", "unreadable", "-", "-", "-", "-"]
    loss = find_run(long, made).history()["train/loss"][3]
    assert second.split()[:4] == [f"long/{long}", "finished", "3", number(loss)]
    assert third.split()[:3] == [f"short/{short}", "finished", "2"]
    assert third.endswith("baseline")
    assert reason.startswith(f"short/{damaged}: run.json is damaged (")


def test_the_columns_of_the_list_are_aligned(made, capsys):
    header, *rows, _ = told(capsys, "list", "--runs", made).splitlines()
    for title in ("STATUS", "train/loss", "validation/weight_norm"):
        assert {row[header.index(title) - 2 : header.index(title)] for row in rows} == {"  "}
    assert {row[header.index("EPOCHS") + len("EPOCHS") - 1] for row in rows} == {"-", "3", "2"}


def test_the_best_value_stands_behind_the_last_one_if_it_was_another(tmp_path, capsys):
    run = RunDirectory.create(root=tmp_path)
    for epoch, value in enumerate((0.5, 0.25, 0.75), start=1):
        run.track_score("loss", value, "validation", epoch, epoch)
        run.track_score("ACCURACY", value, "validation", epoch, epoch)
        run.track_score("norm", value, "validation", epoch, epoch)
    arguments = [word for name in ("loss", "ACCURACY", "norm") for word in ("--score", f"validation/{name}")]
    header, row = table(told(capsys, "list", "--runs", tmp_path, *arguments))
    assert header[3:6] == ["validation/loss", "validation/ACCURACY", "validation/norm"]
    assert row[3:6] == ["0.7500 (0.2500)", "0.7500", "0.7500"]  # whether a norm should be low is not known


@pytest.mark.parametrize(
    ("options", "which"),
    [
        ([], [2, 1, 0]),
        (["--experiment", "short"], [2, 0]),
        (["--tag", "baseline"], [0]),
        (["--tag", "baseline", "--tag", "other"], []),
        (["--status", "finished"], [1, 0]),
        (["--status", "finished", "--status", "unreadable", "--limit", "2"], [2, 1]),
        (["--limit", "0"], [2, 1, 0]),
    ],
)
def test_the_list_can_be_narrowed(options, which, made, capsys):
    found = as_json(capsys, "list", "--runs", made, *options)["runs"]
    assert [run["run"] for run in found] == [ids(made)[place] for place in which]


def test_what_the_limit_leaves_out_is_told(made, capsys):
    code, out, err = ended(capsys, "list", "--runs", made, "--limit", "1")
    assert code == 0
    assert len(out.splitlines()) == 3
    assert err == "2 older runs are left out: --limit 0 shows all.\n"
    assert as_json(capsys, "list", "--runs", made, "--limit", "1")["left_out"] == 2


def test_the_list_as_json_has_what_the_table_has_and_more(made, capsys):
    answer = as_json(capsys, "list", "--runs", made)
    assert answer["schema"] == 1
    damaged, long, _ = answer["runs"]
    assert (damaged["status"], damaged["epoch_scores"]) == ("unreadable", {})
    assert (long["experiment"], long["status"], long["epochs"], long["steps"]) == ("long", "finished", 3, 12)
    assert long["reason"] == "all 3 epochs are done"
    assert long["scores"] == {"QUALITY": 0.5, "DISTANCE": None}
    loss = find_run(long["path"]).history()["train/loss"]
    assert long["epoch_scores"]["train/loss"] == {"last": loss[3], "last_epoch": 3, "best": loss[3], "best_epoch": 3}
    assert long["epoch_scores"]["validation/weight_norm"].keys() == {
        *("last", "last_epoch", "lowest", "lowest_epoch", "highest", "highest_epoch")
    }


def test_an_empty_folder_is_no_mistake(tmp_path, capsys):
    assert told(capsys, "list", "--runs", tmp_path) == f"There are no such runs in {tmp_path}.\n"
    assert as_json(capsys, "list", "--runs", tmp_path)["runs"] == []


def test_an_experiment_that_there_is_not_is_refused_with_those_that_there_are(made, capsys):
    told = refused(capsys, "list", "--runs", made, "--experiment", "shrt")
    assert told == f"Error: There is no experiment 'shrt' in {made}: there are long, short.\n"


# show


def test_a_run_is_shown_in_full(made, capsys):
    shown = told(capsys, "show", "long/latest", "--runs", made)
    _, long, _ = ids(made)
    assert shown.startswith(f"long/{long}: finished\n")
    rows = table(shown)
    run = find_run(long, made)
    loss = number(run.history()["train/loss"][3])
    for row in (
        ["reason", "all 3 epochs are done"],
        ["width", "4"],
        ["QUALITY", "0.5000"],
        ["DISTANCE", "nan"],
        ["train/loss", f"{loss} in epoch 3", f"best {loss} in epoch 3"],
        ["0001-step-000000012"],
        ["plot", "weight_plot", "1 file"],
        ["plot_collection", "weight_plots", "2 files"],
        ["run_directory", "1.0.0", "artifact-torch", "core"],
        ["half of it is missing"],
        ["model", str(run.path / "model")],
        ["everything", str(run.path)],
    ):
        assert row in rows
    assert any(row[0] == "trained" and row[1].startswith("3 epochs, 12 steps, ") for row in rows)
    assert "  and 2 items of collections, which --json and `runs export` have\n" in shown
    assert "synthetic.csv" not in shown  # there is none


def test_a_run_is_shown_as_json(made, capsys):
    shown = as_json(capsys, "show", "long", "--runs", made)
    assert shown["params"] == {"width": 4, "depth": 1}
    assert shown["checkpoints"] == ["0001-step-000000012"]
    assert {"kind": "plot", "name": "weight_plot", "files": 1} in shown["artifacts"]
    assert shown["plugins"][0]["name"] == "run_directory"
    assert shown["environment"]["libraries"]["artifact-torch"]
    assert Path(shown["files"]["model"]).is_dir()
    assert "validation/weight_range/smallest" in shown["epoch_scores"]


def test_a_run_that_failed_and_what_could_not_be_computed_is_told(tmp_path, capsys):
    run = RunDirectory.create(root=tmp_path)
    run.begin([], seed=7)
    run.update(failed_artifacts=[{"artifact": "The plot X", "error": "it raised", "traceback": "..."}])
    run.finish("failed", "ValueError: x", ValueError("x"), epochs=1)
    rows = table(told(capsys, "show", run.path))
    assert rows[0] == [f"default/{run.path.name}: failed"]
    for row in (["reason", "ValueError: x"], ["seed", "7"], ["The plot X: it raised"]):
        assert row in rows


def test_a_damaged_run_is_refused_in_a_sentence(made, capsys):
    assert "cannot be read: run.json is damaged (" in refused(capsys, "show", ids(made)[2], "--runs", made)


@pytest.mark.parametrize("command", ["show", "tag", "export", "rm"])
def test_an_unknown_run_is_refused_with_those_that_there_are(command, made, capsys):
    more = {"tag": ["x"], "export": ["x.csv"]}.get(command, [])
    err = refused(capsys, command, "nobody", *more, "--runs", made)
    assert err.startswith(f"Error: There is no run 'nobody' in {made}: the newest are short/")


# compare


def test_runs_are_compared_by_what_differs(made, capsys):
    short, long, _ = ids(made)
    code, out, err = ended(capsys, "compare", short, long, "--runs", made)
    assert code == 0
    rows = table(out)
    assert ["PARAMETERS", f"short/{short}", f"long/{long}"] in rows
    assert ["width", "3", "4"] in rows
    assert "depth" not in out
    assert "Made with: the same." in out
    losses = [number(find_run(run, made).history()["train/loss"][epoch]) for run, epoch in ((short, 2), (long, 3))]
    assert ["train/loss", losses[0], f"{losses[1]} *"] in rows
    assert ["QUALITY", "-", "0.5000"] in rows  # one value is not better than none
    assert "weight_range" not in out
    assert "2 items of collections are left out" in err


def test_the_better_one_is_marked_if_the_mode_is_given(tmp_path, capsys):
    for values in ((1.0, 3.0), (2.0, 2.0), (0.5, 3.0)):
        run = RunDirectory.create(root=tmp_path)
        for epoch, value in enumerate(values, start=1):
            run.track_score("norm", value, "validation", epoch, epoch)
    names = sorted(
        (path.name for path in tmp_path.glob("default/*")), key=lambda name: find_run(name, tmp_path).created
    )
    plain = table(told(capsys, "compare", *names, "--runs", tmp_path))
    assert ["validation/norm", "3.0000", "2.0000", "3.0000"] in plain
    low = table(told(capsys, "compare", *names, "--mode", "min", "--runs", tmp_path))
    assert ["validation/norm", "3.0000", "2.0000 *", "3.0000"] in low
    assert ["best, in epoch", "1.0000 in 1", "2.0000 in 1", "0.5000 in 1 *"] in low
    high = table(told(capsys, "compare", *names, "--mode", "max", "--runs", tmp_path))
    assert ["validation/norm", "3.0000 *", "2.0000", "3.0000 *"] in high


def test_surroundings_that_differ_are_told(root, capsys):
    short, long, _ = ids(root)
    directory = RunDirectory.open(find_run(short, root).path)
    environment = directory.record["environment"]
    libraries = {**environment["libraries"], "torch": "1.0"}
    directory.update(revision="def", environment={**environment, "libraries": libraries}, plugins=[], seed=5)
    compared = as_json(capsys, "compare", short, long, "--runs", root)
    assert compared["made_with"].keys() == {"revision", "libraries.torch", "seed", "plugins.run_directory"}
    assert compared["made_with"]["revision"] == ["def", "abc"]
    assert compared["made_with"]["seed"] == [5, 0]
    assert compared["made_with"]["plugins.run_directory"] == [None, "1.0.0"]


def test_a_seed_that_is_a_parameter_too_is_told_once(root, capsys):
    short, long, _ = ids(root)
    for seed, run in enumerate((short, long)):
        RunDirectory.open(find_run(run, root).path).update(seed=seed, params={"experiment.seed": seed})
    compared = as_json(capsys, "compare", short, long, "--runs", root)
    assert (compared["params"], compared["made_with"]) == ({"experiment.seed": [0, 1]}, {})


def test_a_comparison_as_json_and_csv_is_complete(made, tmp_path, capsys):
    short, long, _ = ids(made)
    file = tmp_path / "compared.csv"
    compared = as_json(capsys, "compare", short, long, "--runs", made, "--csv", file)
    assert [run["run"] for run in compared["runs"]] == [short, long]
    assert compared["params"] == {"width": [3, 4]}
    scores = {each["name"]: each for each in compared["scores"]}
    assert scores["train/loss"]["better"] == [long]
    assert scores["validation/weight_range/smallest"]["last"][0] is None
    assert scores["DISTANCE"]["last"] == [None, None]
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    assert header == ["what", "name", f"short/{short}", f"long/{long}"]
    assert ["parameter", "width", "3", "4"] in rows
    loss = next(row for row in rows if row[:2] == ["last score", "train/loss"])
    assert [float(value) for value in loss[2:]] == scores["train/loss"]["last"]
    assert ["best score", "train/loss"] in [row[:2] for row in rows]
    assert told(capsys, "compare", short, long, "--runs", made, "--csv", "-") == file.read_text()


def test_a_comparison_needs_two_runs(made, capsys):
    short, *_ = ids(made)
    assert "Name at least two runs" in refused(capsys, "compare", short, f"short/{short}", "--runs", made)


# best


def test_the_best_run_is_found(made, capsys):
    short, long, _ = ids(made)
    shown = told(capsys, "best", "--metric", "train/loss", "--runs", made)
    loss = find_run(long, made).history()["train/loss"][3]
    assert shown.startswith(f"long/{long} has the best train/loss (min) of 2 runs.\n")
    assert ["value", f"{number(loss)} in epoch 3"] in table(shown)
    worst = as_json(capsys, "best", "--metric", "train/loss", "--mode", "max", "--runs", made)
    assert (worst["run"], worst["epoch"]) == (long, 1)  # of equal ones the newest: both began alike
    assert worst["value"] == find_run(short, made).history()["train/loss"][1]
    only = as_json(capsys, "best", "--metric", "train/loss", "--experiment", "short", "--runs", made)
    assert (only["run"], only["mode"]) == (short, "min")
    final = as_json(capsys, "best", "--metric", "QUALITY", "--mode", "max", "--runs", made)
    assert (final["run"], final["value"], final["epoch"]) == (long, 0.5, 3)


def test_the_mode_is_asked_for_where_the_name_does_not_tell(made, capsys):
    assert "--mode min or --mode max" in refused(capsys, "best", "--metric", "QUALITY", "--runs", made)


def test_a_score_that_no_run_has_is_refused_with_the_close_ones(made, capsys):
    err = refused(capsys, "best", "--metric", "train/los", "--mode", "min", "--runs", made)
    assert err == f"Error: No run in {made} has a finite value of 'train/los': scores are train/loss.\n"
    err = refused(capsys, "best", "--metric", "DISTANCE", "--runs", made)
    assert "has a finite value of 'DISTANCE': scores are DISTANCE" in err


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("train/loss", "min"),
        ("validation/MEAN_JS_DISTANCE", "min"),
        ("MAX_MISSING_SHARE_DIFFERENCE", "min"),
        ("validation/ROC_AUC", "max"),
        ("validation/f1", "max"),
        ("validation/BINARY_PREDICTION_SCORES/FPR", "min"),
        ("validation/JS_DISTANCE/accuracy", "min"),
        ("train/learning_rate", None),
        ("loss/gradient_norm", None),
        ("validation/error_of_accuracy", None),
        ("validation/losses_seen", None),
    ],
)
def test_the_name_of_a_score_tells_which_values_are_better(name, mode):
    assert direction(name) == mode


# tag


def test_tags_are_given_and_taken(root, capsys):
    short, *_ = ids(root)
    assert told(capsys, "tag", short, "good", "second try", "--runs", root) == (
        f"short/{short}: baseline, good, second try\n"
    )
    assert find_run(short, root).tags == ("baseline", "good", "second try")
    told(capsys, "tag", short, "baseline", "good", "--remove", "--runs", root)
    assert find_run(short, root).tags == ("second try",)
    assert told(capsys, "tag", short, "second try", "--remove", "--runs", root) == f"short/{short}: no tags\n"


def test_a_bad_tag_is_refused(root, capsys):
    assert "'a,b' cannot be a tag" in refused(capsys, "tag", "long", "a,b", "--runs", root)


# rm


def answer(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_runs_are_removed_after_a_yes(root, capsys, monkeypatch):
    short, long, damaged = ids(root)
    answer(monkeypatch, "y\n")
    seconds = find_run(short, root).seconds
    code, out, err = ended(capsys, "rm", short, damaged, short, "--runs", root)
    assert code == 0
    assert [f"short/{short}", "finished", duration(seconds), "baseline"] in table(out)
    assert err.startswith("Remove 2 runs? ")
    assert out.endswith(f"Removed short/{short}.\nRemoved short/{damaged}.\n")
    assert list((root / "short").iterdir()) == []
    assert find_run(long, root).status == "finished"


@pytest.mark.parametrize(("text", "code"), [("n\n", 1), ("\n", 1), ("", 130)])
def test_nothing_is_removed_without_a_yes(text, code, root, capsys, monkeypatch):
    answer(monkeypatch, text)
    assert ended(capsys, "rm", "long", "--runs", root)[0] == code
    assert find_run("long", root).status == "finished"


def test_a_run_in_progress_stays_and_with_it_the_others(root, capsys):
    short, long, _ = ids(root)
    RunDirectory.open(find_run(long, root).path).update(status="running", process=this_process())
    err = refused(capsys, "rm", short, long, "--yes", "--runs", root)
    assert f"A process of this machine is training in {root / 'long' / long}: wait for it, or stop it." in err
    assert {find_run(run, root).status for run in (short, long)} == {"finished", "running"}


def test_a_run_that_another_machine_may_be_training_stays(root, capsys):
    directory = RunDirectory.open(find_run("long", root).path)
    directory.update(status="running", process={"host": "elsewhere", "pid": 1})
    assert "says that the machine 'elsewhere' is training in it" in refused(
        capsys, "rm", "long", "--yes", "--runs", root
    )
    assert directory.path.is_dir()


def test_a_killed_run_is_removed(root, capsys):
    directory = RunDirectory.open(find_run("long", root).path)
    directory.update(status="running", process={**this_process(), "start": "another time"})
    told(capsys, "rm", "long", "--yes", "--runs", root)
    assert not directory.path.exists()


def test_what_is_not_in_the_folder_of_runs_is_not_removed(root, tmp_path, capsys):
    elsewhere = shutil.copytree(root, tmp_path / "elsewhere")
    target = next(elsewhere.glob("long/*"))
    deeper = root / "long" / "deeper"
    shutil.copytree(target, deeper / target.name)
    (root / "linked").symlink_to(elsewhere / "long")
    (root / "long" / "link").symlink_to(target)
    for path in (
        target,
        deeper / target.name,
        root / "linked" / target.name,
        root / "long" / "link",
        root / "long" / "..",
    ):
        code, *_ = ended(capsys, "rm", path, "--yes", "--runs", root)
        assert code == 2
    assert (target / "run.json").exists()
    assert (deeper / target.name / "run.json").exists()
    assert len(list((root / "long").iterdir())) == 3


def test_a_folder_that_only_looks_damaged_is_not_removed(root, capsys):
    notes = root / "short" / "notes"
    notes.mkdir()
    (notes / "run.json").write_text('{"of": "another program"}')
    assert "is not a run directory in" in refused(capsys, "rm", "short/notes", "--yes", "--runs", root)
    assert notes.is_dir()


def test_links_in_a_run_are_removed_and_what_they_point_to_stays(root, tmp_path, capsys):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    directory = find_run("long", root).path
    (directory / "artifacts" / "link").symlink_to(precious)
    told(capsys, "rm", "long", "--yes", "--runs", root)
    assert not directory.exists()
    assert (precious / "file").exists()


# export


def test_the_scores_are_exported_as_the_trainer_has_them(made, tmp_path, capsys):
    import pandas as pd

    file = tmp_path / "scores.csv"
    assert told(capsys, "export", "long", file, "--runs", made) == ""
    pd.testing.assert_frame_equal(pd.read_csv(file, index_col="epoch"), find_run("long", made).metrics())
    assert told(capsys, "export", "long", "-", "--runs", made) == file.read_text()


def test_what_cannot_be_written_and_what_has_no_scores_is_refused(made, tmp_path, capsys):
    assert "cannot be written" in refused(capsys, "export", "long", tmp_path / "no" / "x.csv", "--runs", made)
    run = RunDirectory.create(root=tmp_path)
    assert "has no scores yet" in refused(capsys, "export", run.path, tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


# All of them.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "-"), (float("nan"), "nan"), (float("inf"), "inf"), (0.0, "0.0000"), (0.012345, "0.0123")),
        *((0.001234, "0.001234"), (1e-5, "1.00e-05"), (123.456, "123.46"), (28440.0, "28440"), (-1.5, "-1.5000")),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((None, "-"), (float("nan"), "-"), (float("inf"), "-"), (0.04, "0.0 s"), (9.96, "10 s"), (89.3, "1 min 29 s")),
        (3599.7, "1 h 00 min"),
    ],
)
def test_times_are_short(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        ["show", "long"],
        ["show", "long", "--json"],
        ["compare", "long/latest", "{short}"],
        ["best", "--metric", "train/loss"],
        ["export", "long", "-"],
        ["rm", "{short}", "--yes"],
    ],
    ids=" ".join,
)
def test_they_import_nothing_heavy(arguments, root):
    words = [word.replace("{short}", ids(root)[0]) for word in arguments]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND, "runs", *words, "--runs", root],
        check=True,
        capture_output=True,
        text=True,
    )
    imported = set(re.findall(r"^import time:.*\|\s+(\w+)", done.stderr, flags=re.MULTILINE))
    assert "artifact_torch" in imported
    assert not imported & HEAVY
    assert done.stdout


@pytest.mark.parametrize("command", ["list", "show", "compare", "best", "tag", "rm", "export"])
def test_each_has_help_and_says_where_runs_are(command, capsys):
    shown = told(capsys, command, "--help")
    assert shown.startswith(f"Usage: artifact-torch runs {command} ")
    assert "--runs" in shown


@pytest.mark.lengthy
def test_training_tags_a_new_run(tmp_path, capsys):
    data = tmp_path / "table.csv"
    data.write_text("number,label\n" + "".join(f"{row % 7},{'ab'[row % 2]}\n" for row in range(40)))
    few = ["--set", "training.epochs=1", "--set", "validation.plots=[]", "--set", "validation.score_collections=[]"]
    command = ["train", "--data", str(data), *few, "--tag", "first", "--tag", "small", "--resume", "auto", "--json"]
    with pytest.raises(SystemExit) as end:
        main([*command, "--runs", str(tmp_path / "runs")])
    assert end.value.code == 0
    run = find_run(json.loads(capsys.readouterr().out)["run_dir"])
    assert run.tags == ("first", "small")
    assert set(run.scores) == {"MEAN_JS_DISTANCE", "CORRELATION_DISTANCE", "MAX_MISSING_SHARE_DIFFERENCE"}
    with pytest.raises(SystemExit) as end:
        main(["train", "--data", str(data), "--tag", "a,b", "--runs", str(tmp_path / "other")])
    assert end.value.code == 2
    assert "cannot be a tag" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_commands_of_the_readme_do_what_they_say(root, tmp_path, capsys, monkeypatch):
    chapter = README.partition("## Find and compare runs\n")[2].partition("\n## ")[0]
    block = re.search(r"^```bash\n(.*?)^```", chapter, flags=re.MULTILINE | re.DOTALL)[1]
    commands = [line.partition("#")[0] for line in block.splitlines()]
    assert {line.split()[2] for line in commands} == {"list", "show", "compare", "best", "tag", "export", "rm"}
    short, long, damaged = ids(root)
    shutil.rmtree(root / "short" / damaged)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARTIFACT_TORCH_HOME", str(root))
    for line in commands:
        answer(monkeypatch, "y\n")
        words = line.replace("RUN-ID", short).replace("validation/loss", "train/loss")
        told(capsys, *shlex.split(words)[2:])
    assert (tmp_path / "scores.csv").read_text().startswith("epoch,train/loss")
    assert not (root / "short" / short).exists()
    assert (root / "long" / long).is_dir()
