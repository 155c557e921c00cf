"""``explain``: the trainer that ``train`` would use, and who would run, without training."""

from __future__ import annotations

import json

import pytest
from artifact_torch_table_comparison import TableComparisonTrainer

from artifact_torch.cli.main import main
from artifact_torch.plugin.inspection import HOOKS

CONFIG = """
[data]
file = "table.csv"

[training]
epochs = 7

[validation]
period = 3
plots = []

[callbacks.loss]

[stoppers.patience]
"""

LATE = """
from artifact_torch import hookimpl


@hookimpl(trylast=True)
def should_stop(trainer):
    return None


@hookimpl(wrapper=True)
def on_train_start():
    return (yield)
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "table.csv").write_text("number,label\n" + "".join(f"{n % 7},{'ab'[n % 2]}\n" for n in range(40)))
    path = tmp_path / "experiment.toml"
    path.write_text(CONFIG)
    return path


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["explain", *map(str, arguments)])
    return ended.value.code


def explained(capsys, *arguments):
    assert exit_code(*arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    return told, {hook["name"]: hook for hook in told["hooks"]}


def names(hook):
    return [(each["plugin"], each["position"]) for each in hook["implementations"]]


def test_every_hook_is_listed_with_who_runs_in_order(config, install, capsys):
    install("lateness", {"artifact_torch.plugins": {"late": "late_for_test"}}, late_for_test=LATE)
    told, hooks = explained(capsys, config)
    assert isinstance(told["schema"], int)
    assert list(hooks) == list(HOOKS)
    assert names(hooks["should_stop"]) == [("Patience", ""), ("late", "trylast")]
    assert names(hooks["on_train_start"]) == [("late", "wrapper"), ("Checkpoint", ""), ("Progress", "")]
    assert names(hooks["track_score"]) == [("run_directory", "tryfirst")]
    assert hooks["should_stop"]["implementations"][0] == {
        "plugin": "Patience",
        "distribution": "artifact-torch-stoppers",
        "version": "1.0.0",
        "position": "",
        "source": "chosen",
        "priority": 0,
    }
    assert hooks["log_epoch_metrics"] == {"name": "log_epoch_metrics", "overridden_by": None, "implementations": []}


def test_a_method_of_a_subclass_that_takes_the_place_of_a_hook_is_told(config, capsys, monkeypatch):
    class Subclass(TableComparisonTrainer):
        def _should_stop(self):
            return None

    monkeypatch.setattr(TableComparisonTrainer, "_should_stop", Subclass._should_stop, raising=False)
    _, hooks = explained(capsys, config)
    assert hooks["should_stop"]["overridden_by"].endswith("Subclass._should_stop")
    assert hooks["should_stop_in_epoch"]["overridden_by"] is None


def test_what_was_chosen_is_told(config, capsys):
    told, _ = explained(capsys, config, "--set", "training.batch_size=8")
    assert (told["model"], told["trainer"]) == ("TableVAE", "TableComparisonTrainer")
    assert (told["epochs"], told["validation_period"]) == (7, "3 epochs")
    assert told["loader_callbacks"] == {"train": [], "validation": ["loss"]}
    assert told["parameters"]["training.batch_size"] == 8


def test_options_take_effect_as_in_training(config, install, capsys):
    install("lateness", {"artifact_torch.plugins": {"late": "late_for_test"}}, late_for_test=LATE)
    order = ["--set", "plugins.order=['late', 'progress']"]
    _, hooks = explained(capsys, config, *order)
    assert names(hooks["should_stop"]) == [("late", "trylast"), ("Patience", "")]
    assert names(hooks["on_train_start"]) == [("late", "wrapper"), ("Progress", ""), ("Checkpoint", "")]
    _, hooks = explained(capsys, config, "--no-plugin", "lateness")
    assert names(hooks["should_stop"]) == [("Patience", "")]


def test_nothing_is_trained_and_nothing_stays_behind(config, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert exit_code(config) == 0
    shown = capsys.readouterr()
    assert sorted(tmp_path.rglob("*")) == before
    assert "epoch" not in shown.err
    assert "TableComparisonTrainer trains TableVAE for at most 7 epochs and validates every 3 epochs." in shown.out
    assert "\nshould_stop\n  1.  Patience  artifact-torch-stoppers 1.0.0  chosen\n" in shown.out
    nobody = shown.out.partition("\nNobody runs at ")[2]
    assert {"on_evaluation_start", "execute_epoch_preprocessing"} <= set(
        nobody.replace("\n ", "").replace(".", ",").split(", ")
    )


def test_mistakes_are_refused_as_in_training(config, capsys):
    assert exit_code(config, "--set", "stoppers.patiense={}") == 2
    assert "There is no stopper named 'patiense': did you mean 'patience'?" in capsys.readouterr().err
    assert exit_code(config.with_name("absent.toml")) == 2
    assert "There is no configuration file" in capsys.readouterr().err
