"""What plugins take is counted exactly, told by plugin, hook and epoch, and warned about if it is too much."""

from __future__ import annotations

import json
import re
import time

import pandas as pd
import pytest

from artifact_torch import ValidationRoutine, hookimpl
from artifact_torch.testing import HookRecorder, tiny_loader

COUNTING = """
from artifact_torch import hookimpl

@hookimpl
def execute_batch_postprocessing(trainer):
    {batch}

@hookimpl(wrapper=True)
def execute_batch_preprocessing():
    return (yield)

@hookimpl
def log_batch_metrics(): pass

@hookimpl
def execute_epoch_preprocessing(): pass

@hookimpl(wrapper=True)
def should_stop():
    return (yield)

@hookimpl
def on_train_start(): pass

@hookimpl
def on_train_end(): pass

@hookimpl
def on_exception(): pass
"""


def burn(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def burning(seconds, *hooks, name="Burner"):
    return type(name, (), {hook: hookimpl(lambda _self: burn(seconds)) for hook in hooks})()


def calls(trainer, plugin):
    times = trainer.plugin_times
    rows = times[times["plugin"] == plugin]
    return {(row.hook, row.epoch): row.calls for row in rows.itertuples()}


def seconds(trainer, plugin, epoch=None):
    times = trainer.plugin_times
    rows = times[(times["plugin"] == plugin) & ((times["epoch"] == epoch) if epoch is not None else True)]
    return rows["seconds"].sum()


def test_every_call_is_counted_by_plugin_hook_and_epoch(install_plugin, make_trainer):
    install_plugin(COUNTING.format(batch="pass"))
    trainer = make_trainer(epochs=3, log_every=2, use_installed_plugins=True)
    trainer.train()
    by_epoch = {
        "execute_batch_postprocessing": 4,
        "execute_batch_preprocessing": 4,
        "log_batch_metrics": 2,
        "execute_epoch_preprocessing": 1,
        "should_stop": 1,
    }
    expected = {(hook, epoch): count for epoch in (1, 2, 3) for hook, count in by_epoch.items()}
    assert calls(trainer, "faulty") == {**expected, ("on_train_start", 0): 1, ("on_train_end", 3): 1}


def test_all_hooks_of_all_plugins_are_counted(make_trainer):
    recorders = [HookRecorder(), HookRecorder()]
    trainer = make_trainer(
        callbacks=[*recorders, "loss"], log_every=1, validation=ValidationRoutine(val_loader=tiny_loader())
    )
    trainer.train()
    trainer.save_checkpoint()
    times = trainer.plugin_times
    for recorder, name in zip(recorders, ("HookRecorder", "HookRecorder_2"), strict=True):
        counted = times[times["plugin"] == name].groupby("hook")["calls"].sum().to_dict()
        names = [hook for hook in recorder.names if hook != "on_save_checkpoint"]  # whose row is still open
        assert counted == {hook: names.count(hook) for hook in names}
    assert {"run_directory", "Loss"} <= set(times["plugin"])


def test_a_call_that_fails_is_counted_too(install_plugin, make_trainer):
    install_plugin(COUNTING.format(batch="1 / (3 - trainer.state.step)"))
    trainer = make_trainer(use_installed_plugins=True)
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    assert calls(trainer, "faulty") == {
        ("on_train_start", 0): 1,
        ("execute_epoch_preprocessing", 1): 1,
        ("execute_batch_preprocessing", 1): 3,
        ("execute_batch_postprocessing", 1): 3,
        ("on_exception", 1): 1,
        ("on_train_end", 1): 1,
    }


def test_the_run_directory_has_the_same_numbers(install_plugin, make_trainer):
    install_plugin(COUNTING.format(batch="pass"))
    trainer = make_trainer(use_installed_plugins=True)
    trainer.train()
    lines = (trainer.run.path / "plugin_times.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert all(list(row) == ["plugin", "hook", "epoch", "calls", "seconds"] for row in rows)
    written = pd.DataFrame(rows).groupby(["plugin", "hook", "epoch"], sort=False, as_index=False).sum()
    pd.testing.assert_frame_equal(written, trainer.plugin_times)


def test_a_run_that_goes_on_adds_to_what_it_has(install_plugin, make_trainer):
    install_plugin(COUNTING.format(batch="if trainer.state.step == 6: trainer.save_checkpoint()"))
    first = make_trainer(use_installed_plugins=True)
    first.train()
    second = make_trainer(use_installed_plugins=True, run=first.run)
    second.load_checkpoint()
    second.train()
    assert calls(second, "faulty")["execute_batch_postprocessing", 2] == 2
    for name, expected in (("plugin_times.jsonl", [4, 2]), ("plugin_times.superseded.jsonl", [4])):
        lines = [json.loads(line) for line in (first.run.path / name).read_text().splitlines()]
        assert [row["calls"] for row in lines if row["hook"] == "execute_batch_postprocessing"] == expected


def test_before_training_there_are_no_times(make_trainer):
    times = make_trainer().plugin_times
    assert list(times.columns) == ["plugin", "hook", "epoch", "calls", "seconds"]
    assert times.empty


def test_the_epoch_in_progress_has_no_rows_yet(make_trainer):
    seen = []

    class Look:
        @hookimpl
        def should_stop(self, trainer):
            seen.append(sorted(set(trainer.plugin_times["epoch"])))

    trainer = make_trainer(epochs=3, callbacks=[Look(), burning(0, "on_train_start")])
    trainer.train()
    assert seen == [[0], [0, 1], [0, 1, 2]]


def test_the_seconds_are_those_of_the_plugin(make_trainer):
    burner, other = (
        burning(0.02, "execute_batch_preprocessing"),
        burning(0, "execute_batch_preprocessing", name="Other"),
    )
    trainer = make_trainer(epochs=1, callbacks=[other, burner, burning(0.05, "log_epoch_metrics", name="Late")])
    start = time.perf_counter()
    trainer.train()
    whole = time.perf_counter() - start
    assert 0.08 <= seconds(trainer, "Burner", 1) < whole - 0.05
    assert 0.05 <= seconds(trainer, "Late", 1) < whole - 0.08
    assert seconds(trainer, "Other", 1) < seconds(trainer, "Burner", 1) / 4


@pytest.mark.parametrize("hook", ["execute_batch_preprocessing", "should_stop"])
def test_a_wrapper_is_not_charged_for_what_it_wraps(make_trainer, hook):
    def around(_self):
        burn(0.01)
        answer = yield
        burn(0.01)
        return answer

    wrapper = type("Wrapper", (), {hook: hookimpl(around, wrapper=True)})()
    trainer = make_trainer(epochs=1, callbacks=[wrapper, burning(0.1, hook)])
    trainer.train()
    count = calls(trainer, "Wrapper")[hook, 1]
    assert 0.02 * count <= seconds(trainer, "Wrapper") < 0.1 * count <= seconds(trainer, "Burner")


def test_a_plugin_is_charged_for_what_it_calls_in_turn(make_trainer):
    class Saving:
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            trainer.save_checkpoint()

    trainer = make_trainer(epochs=1, callbacks=[Saving(), burning(0.05, "on_save_checkpoint")])
    trainer.train()
    assert seconds(trainer, "Saving") >= seconds(trainer, "Burner") >= 0.05


# The warning.

WARNING = re.compile(
    r"The plugin 'Burner' took (?P<share>\d+)% of epoch (?P<epoch>\d) \((?P<spent>\d\.\d) of (?P<whole>\d\.\d) s\), "
    r"most of it in execute_batch_postprocessing\. trainer\.plugin_times has all times\."
)


@pytest.mark.lengthy
def test_a_large_share_of_an_epoch_is_told_once(warned, make_trainer):
    burner = burning(0.3, "execute_batch_postprocessing", "execute_epoch_postprocessing")
    cheap = burning(0.0001, "execute_batch_preprocessing", name="Cheap")
    (warning,) = warned(epochs=2, callbacks=[cheap, burner])
    told = WARNING.fullmatch(warning)
    assert told is not None
    assert told["epoch"] == "1"
    assert float(told["spent"]) == pytest.approx(1.5, abs=0.2)
    assert float(told["spent"]) <= float(told["whole"])
    assert int(told["share"]) == pytest.approx(100 * float(told["spent"]) / float(told["whole"]), abs=7)


@pytest.mark.lengthy
def test_the_share_that_is_too_large_can_be_set(warned):
    burner = burning(0.3, "execute_batch_postprocessing")
    idle = burning(0.3, "on_before_optimizer_step", name="Idle")
    told = warned(epochs=1, callbacks=[burner, idle], plugin_time_share=0.7)
    assert told == []


def test_an_epoch_of_less_than_a_second_is_left_alone(warned):
    assert warned(epochs=2, callbacks=[burning(0.02, "execute_batch_postprocessing")]) == []


@pytest.mark.lengthy
def test_what_is_done_before_and_after_the_epochs_is_no_share_of_one(warned):
    assert warned(callbacks=[burning(1.1, "on_train_start", "on_train_end", "track_file")]) == []


@pytest.mark.lengthy
def test_time_between_the_trainer_and_its_training_is_no_part_of_an_epoch(make_trainer):
    trainer = make_trainer(epochs=1, callbacks=[burning(0.1, "execute_batch_postprocessing")])
    burn(1.1)
    trainer.train()
    assert trainer.plugins.warnings == []
