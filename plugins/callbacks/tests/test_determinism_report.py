"""What is reported is what is so, and equal runs have equal reports."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import EMA, BatchSizeFinder, DeterminismReport
from artifact_torch_callbacks.determinism_report import differences, digest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from artifact_torch import BatchCallback, Callback, Trainer, hookimpl
from artifact_torch import registry as components
from artifact_torch.testing import TinyModel, tiny_loader

MakeTrainer = Callable[..., Trainer]


def report_of(trainer: Trainer) -> dict[str, Any]:
    """As it stands in the file."""
    return json.loads((trainer.run.path / "run.json").read_text())["determinism"]


class Jitter(BatchCallback):
    """Changes training by the clock."""

    changes_training = True

    def before_batch(self, trainer: Trainer, batch: Any) -> None:
        pass


class FailAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.step:
            raise RuntimeError("no more")


def test_equal_runs_have_equal_reports_and_others_differ_where_they_differ(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "determinism_report") is DeterminismReport
    reports: list[dict[str, Any]] = []
    for seed in (3, 3, 4):
        trainer = make_trainer(callbacks=["determinism_report"], seed=seed, loader=tiny_loader(seed=5))
        trainer.train()
        reports.append(report_of(trainer))
    assert reports[0] == reports[1]
    assert {key for key in reports[0] if reports[0][key] != reports[2][key]} == {"seed", "final_weights"}
    assert reports[0]["final_weights"] == digest(trainer_with(make_trainer, seed=3).model)


def trainer_with(make_trainer: MakeTrainer, **options: Any) -> Trainer:
    trainer = make_trainer(loader=tiny_loader(seed=5), **options)
    trainer.train()
    return trainer


def test_the_settings_are_those_of_this_process(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    trainer = make_trainer(callbacks=[DeterminismReport()], seed=9, deterministic=True, loader=tiny_loader(seed=5))
    trainer.train()
    report = report_of(trainer)
    assert (report["seed"], report["loader_seed"], report["device"], report["deterministic"]) == (9, 5, "cpu", True)
    assert report["torch"]["threads"] == torch.get_num_threads()
    assert report["torch"]["deterministic_algorithms"] is True  # while it trains
    assert report["environment"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"  # which the trainer has set
    assert report["environment"]["PYTHONHASHSEED"] == "0"
    assert report["differences"] == []
    assert report["initial_weights"] == digest(TinyModel())
    assert report["final_weights"] == digest(trainer.model)


def test_what_differs_is_in_the_log(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "artifact_torch")
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    trainer = make_trainer(callbacks=[DeterminismReport()])
    trainer.train()
    messages = [record.getMessage() for record in caplog.records]
    initial, final = digest(TinyModel())[:16], digest(trainer.model)[:16]
    assert f"The seed is 0; the initial weights are {initial}." in messages
    assert f"The weights after step 8 are {final}." in messages
    assert [message for message in messages if message.startswith("Two runs would differ: Python orders sets")] != []
    assert {message for message in messages if message.startswith("Two runs")} == {
        f"Two runs would differ: {sentence}" for sentence in report_of(trainer)["differences"]
    }


def test_plugins_that_change_training_by_the_clock_are_named(make_trainer: MakeTrainer) -> None:
    callbacks = [Jitter(period="10 minutes"), EMA(), BatchSizeFinder(highest=16, steps=1), DeterminismReport()]
    trainer = make_trainer(callbacks=callbacks)
    trainer.train()
    report = report_of(trainer)
    assert report["plugins_by_the_clock"] == ["BatchSizeFinder", "Jitter"]
    assert "the plugin 'Jitter' changes training by how fast the machine is" in " ".join(report["differences"])


def facts(**others: Any) -> dict[str, Any]:
    """A process in which nothing differs."""
    known: dict[str, Any] = {
        "device": "cpu",
        "torch": {"threads": 4, "deterministic_algorithms": False},
        "cuda": {"allow_tf32": False, "fp32_precision": "none"},
        "cudnn": {"benchmark": False, "allow_tf32": False},
        "environment": {"OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
        "plugins_by_the_clock": [],
    }
    for name, value in others.items():
        known[name] = {**known[name], **value} if isinstance(value, dict) else value
    return known


CUDA: dict[str, Any] = {"device": "cuda", "torch": {"threads": 4, "deterministic_algorithms": True}}


@pytest.mark.parametrize(
    ("others", "sentences"),
    [
        ({}, []),
        ({"environment": {"OMP_NUM_THREADS": None}}, ["split over 4 threads.*OMP_NUM_THREADS"]),
        ({"environment": {"OMP_NUM_THREADS": None}, "torch": {"threads": 1}}, []),
        ({"environment": {"PYTHONHASHSEED": "random"}}, ["orders sets of texts.*PYTHONHASHSEED"]),
        (CUDA, []),
        ({"device": "cuda"}, ["some operations on cuda.*deterministic=True"]),
        ({"device": "mps"}, ["some operations on mps.*deterministic=True"]),
        ({**CUDA, "cudnn": {"benchmark": True}}, ["cuDNN times its algorithms"]),
        ({**CUDA, "environment": {"CUBLAS_WORKSPACE_CONFIG": None}}, ["CUBLAS_WORKSPACE_CONFIG=:4096:8"]),
        ({**CUDA, "cudnn": {"allow_tf32": True}}, ["TF32"]),
        ({**CUDA, "cuda": {"allow_tf32": None, "fp32_precision": "tf32"}}, ["TF32"]),
        ({"plugins_by_the_clock": ["a", "b"]}, ["plugin 'a'", "plugin 'b'"]),
    ],
)
def test_there_is_one_sentence_for_each_thing_that_differs(others: dict[str, Any], sentences: list[str]) -> None:
    found = differences(facts(**others))
    assert len(found) == len(sentences)
    for sentence, pattern in zip(found, sentences, strict=True):
        assert re.search(pattern, sentence)


@given(st.integers(0, 3), st.integers(0, 31))
def test_a_digest_changes_with_any_bit(number: int, bit: int) -> None:
    model = TinyModel()
    before = digest(model)
    with torch.no_grad():
        weights = torch.cat([model.layers[1].weight.flatten(), model.layers[1].bias]).view(torch.int32)
        weights[number] ^= (1 << bit) if bit < 31 else -(1 << 31)
        numbers = weights.view(torch.float32)
        model.layers[1].weight.copy_(numbers[:3].reshape(1, 3))
        model.layers[1].bias.copy_(numbers[3:])
    assert digest(model) != before


def test_a_digest_knows_names_types_and_shapes_but_not_the_order() -> None:
    def made(**tensors: torch.Tensor) -> nn.Module:
        module = nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return module

    zeros = torch.zeros(4)
    models = [
        made(a=zeros),
        made(b=zeros),
        made(a=zeros.reshape(2, 2)),
        made(a=zeros.view(torch.int32)),
        made(a=zeros, b=torch.ones((), dtype=torch.bfloat16)),
        made(a=zeros.to_sparse()),
    ]
    hashes = [digest(model) for model in models]
    assert len(set(hashes[:5])) == 5
    assert hashes[5] == hashes[0]
    assert digest(made(b=zeros, a=zeros + 1)) == digest(made(a=zeros + 1, b=zeros))


def test_a_resumed_training_keeps_the_initial_hash(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    whole = make_trainer(callbacks=[DeterminismReport()])
    whole.train(epochs=1)
    path = whole.save_checkpoint(tmp_path / "saved")
    whole.train(epochs=2)
    resumed = make_trainer(callbacks=[DeterminismReport()])
    resumed.load_checkpoint(path)
    resumed.train()
    report, expected = report_of(resumed), report_of(whole)
    assert report == expected
    assert (report["begun_at_step"], report["initial_weights"]) == (4, digest(TinyModel()))


def test_a_training_that_was_resumed_without_it_before_has_no_initial_hash(
    make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "artifact_torch")
    whole = make_trainer()
    whole.train(epochs=1)
    resumed = make_trainer(callbacks=[DeterminismReport()])
    resumed.load_checkpoint(whole.save_checkpoint(tmp_path / "saved"))
    resumed.train()
    assert report_of(resumed)["initial_weights"] is None
    assert "the initial weights are not known" in caplog.text


def test_a_training_that_fails_has_the_hash_of_where_it_ended(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[DeterminismReport(), FailAt(3)])
    with pytest.raises(RuntimeError, match="no more"):
        trainer.train()
    assert report_of(trainer)["final_weights"] == digest(trainer.model) != digest(TinyModel())


@pytest.mark.slow
def test_a_setting_of_torch_that_cannot_be_read_is_left_open(tmp_path: Path) -> None:
    # Torch refuses to tell the old setting once the new one was used, and nothing takes that back in a process.
    script = """
import json, torch
from artifact_torch import Trainer
from artifact_torch.testing import TinyModel, tiny_loader
if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
    torch.backends.cuda.matmul.fp32_precision = "tf32"
trainer = Trainer(TinyModel(), tiny_loader(), epochs=1, device="cpu", callbacks=["determinism_report"])
trainer.train()
print(json.dumps(trainer.run.record["determinism"]["cuda"]))
"""
    environment = {**os.environ, "ARTIFACT_TORCH_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["allow_tf32"] is None or found["fp32_precision"] is None
