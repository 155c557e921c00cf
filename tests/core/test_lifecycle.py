"""However a run ends, every teardown runs, the first error is raised and the record says what happened."""

from __future__ import annotations

import json
import logging
import shutil

import importlib_metadata
import pytest

from artifact_torch import Callback, hookimpl
from artifact_torch.testing import HookRecorder, TinyModel

VERSION = importlib_metadata.version("artifact-torch")


class Raising(Callback):
    """Raises ``error`` in the hook ``hook``."""

    def __init__(self, hook, error):
        self.hook = hook
        self.error = error

    def _maybe(self, hook):
        if hook == self.hook:
            raise self.error

    @hookimpl
    def on_train_start(self):
        self._maybe("on_train_start")

    @hookimpl
    def execute_batch_postprocessing(self):
        self._maybe("execute_batch_postprocessing")

    @hookimpl
    def execute_epoch_postprocessing(self):
        self._maybe("execute_epoch_postprocessing")

    @hookimpl
    def on_exception(self):
        self._maybe("on_exception")

    @hookimpl
    def on_train_end(self):
        self._maybe("on_train_end")


def record_of(trainer):
    return json.loads((trainer.run.path / "run.json").read_text())


def test_a_finished_run_is_recorded_as_finished(make_trainer):
    trainer = make_trainer(seed=7)
    trainer.train()
    record = record_of(trainer)
    assert (record["status"], record["reason"], record["seed"]) == ("finished", "all 2 epochs are done", 7)
    assert (record["epochs"], record["steps"]) == (2, 8)
    assert record["created"] <= record["ended"]
    assert "traceback" not in record


def test_the_run_is_recorded_as_running_while_it_trains(make_trainer):
    statuses = []

    class Look(Callback):
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            statuses.append(record_of(trainer)["status"])

    make_trainer(callbacks=[Look()]).train()
    assert statuses == ["running", "running"]


def test_the_record_names_the_plugins_in_calling_order(make_trainer):
    trainer = make_trainer(callbacks=[HookRecorder()])
    trainer.train()
    recorder = {"name": "HookRecorder", "source": "chosen", "distribution": "artifact-torch", "version": VERSION}
    assert recorder in record_of(trainer)["plugins"]
    assert [each["name"] for each in record_of(trainer)["plugins"]] == trainer.plugins.names()


@pytest.mark.parametrize("hook", ["on_train_start", "execute_batch_postprocessing", "execute_epoch_postprocessing"])
def test_after_a_failure_every_plugin_hears_of_it(make_trainer, hook):
    error = ValueError(f"broken in {hook}")
    recorders = [HookRecorder(), HookRecorder()]
    trainer = make_trainer(callbacks=[recorders[0], Raising(hook, error), recorders[1]])
    with pytest.raises(ValueError, match=hook) as raised:
        trainer.train()
    assert raised.value is error
    for recorder in recorders:
        calls = dict(recorder.calls)
        assert recorder.names[-2:] == ["on_exception", "on_train_end"]
        assert calls["on_exception"]["error"] is error
        assert calls["on_train_end"]["reason"] == f"ValueError: broken in {hook}"
    assert record_of(trainer)["status"] == "failed"


@pytest.mark.parametrize("hook", ["on_exception", "on_train_end"])
def test_the_first_error_wins_over_those_of_the_teardown(make_trainer, hook, caplog):
    first, second = ValueError("first"), RuntimeError("second")
    recorders = [HookRecorder(), HookRecorder()]
    raising = [Raising("execute_batch_postprocessing", first), Raising(hook, second)]
    trainer = make_trainer(callbacks=[recorders[0], *raising, recorders[1]])
    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="first"):
        trainer.train()
    assert all(recorder.names[-2:] == ["on_exception", "on_train_end"] for recorder in recorders)
    told = f"While the run was ending, the plugin 'Raising_2' failed in {hook}, epoch 1, step 1: RuntimeError: second."
    assert told in caplog.messages
    assert "second" in (trainer.run.path / "log.txt").read_text()
    assert record_of(trainer)["reason"] == "ValueError: first"


def test_an_error_at_the_end_of_a_good_training_fails_the_run(make_trainer):
    recorders = [HookRecorder(), HookRecorder()]
    raising = [Raising("on_train_end", ValueError("one")), Raising("on_train_end", RuntimeError("two"))]
    trainer = make_trainer(callbacks=[recorders[0], *raising, recorders[1]])
    with pytest.raises((ValueError, RuntimeError)) as raised:
        trainer.train()
    assert all(recorder.names[-1] == "on_train_end" for recorder in recorders)
    assert not any("on_exception" in recorder.names for recorder in recorders)
    assert record_of(trainer)["status"] == "failed"
    assert str(raised.value) in record_of(trainer)["traceback"]
    assert TinyModel.load(trainer.run.model_path)


def test_an_interrupted_run_is_recorded_as_interrupted(make_trainer):
    recorder = HookRecorder()
    trainer = make_trainer(callbacks=[Raising("execute_batch_postprocessing", KeyboardInterrupt()), recorder])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert recorder.names[-2:] == ["on_exception", "on_train_end"]
    assert record_of(trainer)["status"] == "interrupted"


def test_a_record_that_cannot_be_written_does_not_hide_the_error(make_trainer):
    class Destroying(Callback):
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            shutil.rmtree(trainer.run.path)
            raise ValueError("the true reason")

    with pytest.raises(ValueError, match="the true reason"):
        make_trainer(callbacks=[Destroying()]).train()


@pytest.mark.parametrize("error", [None, ValueError("broken")])
def test_module_modes_are_as_before_training(make_trainer, error):
    model = TinyModel()
    model.eval()
    model.layers.train()
    model.layers[0].eval()
    before = [module.training for module in model.modules()]
    trainer = make_trainer(model, callbacks=[] if error is None else [Raising("execute_batch_postprocessing", error)])
    if error is None:
        trainer.train()
    else:
        with pytest.raises(ValueError, match="broken"):
            trainer.train()
    assert [module.training for module in model.modules()] == before


def test_what_is_logged_during_a_run_stands_in_its_log_and_no_later(make_trainer):
    logger = logging.getLogger("artifact_torch")

    class Talking(Callback):
        @hookimpl
        def on_train_start(self):
            logger.warning("a warning from inside")

    trainer = make_trainer(callbacks=[Talking()])
    before = list(logger.handlers)
    trainer.train()
    logger.warning("a warning from outside")
    log = (trainer.run.path / "log.txt").read_text()
    assert "WARNING a warning from inside" in log
    assert "outside" not in log
    assert logger.handlers == before


def test_plugins_of_one_name_stand_in_the_record_with_their_distributions(install, make_trainer):
    source = "from artifact_torch import hookimpl\n\n@hookimpl\ndef on_train_start():\n    pass\n"
    for name in ("acme", "other"):
        install(f"{name}-tools", {"artifact_torch.plugins": {"same": f"hooks_{name}"}}, **{f"hooks_{name}": source})
    trainer = make_trainer(epochs=1, use_installed_plugins=True)
    trainer.train()
    recorded = [plugin for plugin in trainer.run.record["plugins"] if plugin["source"] == "installed"]
    assert recorded == [
        {"name": f"{name}-tools:same", "source": "installed", "distribution": f"{name}-tools", "version": "1.0"}
        for name in ("acme", "other")
    ]
