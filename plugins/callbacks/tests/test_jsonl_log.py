from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from artifact_torch_callbacks import JSONLinesLog

from artifact_torch import Callback, Trainer, UsageError, hookimpl
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters

MakeTrainer = Callable[..., Trainer[Any, Any]]


class Scripted(Callback):
    """Metrics of the epochs that have any in the script; then training fails, if it is to."""

    def __init__(self, script: Mapping[int, Mapping[str, float]], fail_in: int = 0) -> None:
        self.script = script
        self.fail_in = fail_in

    @hookimpl
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        return self.script.get(trainer.state.epoch, {})

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.epoch == self.fail_in - 1:
            trainer.save_checkpoint()
        if trainer.state.epoch == self.fail_in:
            raise RuntimeError("power cut")


def objects(path: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text(encoding="utf-8").splitlines()]


def test_is_found_by_name_and_writes_an_object_for_each_epoch(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "jsonl_log") is JSONLinesLog
    trainer = make_trainer(callbacks=["jsonl_log", Scripted({2: {"größe": 0.1}})])
    trainer.train()
    losses = trainer.epoch_scores["train/loss"]
    assert objects(trainer.run.path / "epochs.jsonl") == [
        {"epoch": 1, "train/loss": losses[1]},
        {"epoch": 2, "train/loss": losses[2], "train/größe": 0.1},
    ]
    assert not (trainer.run.path / "batches.jsonl").exists()


def test_what_is_not_finite_is_null_and_what_was_not_computed_is_left_out(make_trainer: MakeTrainer) -> None:
    script = {1: {"a": math.nan, "b": math.inf}, 2: {"a": -math.inf}}
    trainer = make_trainer(callbacks=[JSONLinesLog(), Scripted(script)])
    trainer.train()
    first, second = objects(trainer.run.path / "epochs.jsonl")
    assert (first["train/a"], first["train/b"], second["train/a"]) == (None, None, None)
    assert "train/b" not in second


def test_logged_steps_are_written_on_request(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[JSONLinesLog(batches=True)], log_every=3)
    trainer.train()
    losses = trainer.batch_metrics["loss"]
    expected = [{"step": step, "loss": losses[step]} for step in (3, 6)]
    assert objects(trainer.run.path / "batches.jsonl") == expected


def test_after_a_crash_and_a_resume_each_object_is_there_once(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    def new(folder: str, fail_in: int = 0) -> Trainer:
        log = JSONLinesLog(path=tmp_path / folder, batches=True)
        return make_trainer(epochs=4, callbacks=[log, Scripted({2: {"a": 1.0}}, fail_in)], log_every=1)

    new("whole").train()
    failing = new("resumed", fail_in=3)
    with pytest.raises(RuntimeError, match="power cut"):
        failing.train()
    assert len(objects(tmp_path / "resumed" / "epochs.jsonl")) == 3
    resumed = new("resumed")
    resumed.load_checkpoint(failing.run.checkpoints.directory)
    assert resumed.state.epochs_completed == 2
    resumed.train()
    for name in ("epochs.jsonl", "batches.jsonl"):
        assert (tmp_path / "resumed" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_arguments_that_cannot_be_used_are_refused(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="path of JSONLinesLog is empty"):
        JSONLinesLog(path="")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"JSONLinesLog cannot write to .*file"):
        make_trainer(callbacks=[JSONLinesLog(path=tmp_path / "file")]).train()


def test_parameters_are_taken_from_a_configuration() -> None:
    given = {"path": "logs", "batches": True}
    log = JSONLinesLog(**validated_parameters(JSONLinesLog, given, source="test", section="callbacks.jsonl_log"))
    assert (log.path, log.batches) == ("logs", True)
