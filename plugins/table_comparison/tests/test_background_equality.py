"""A model of real rows is the same to the last bit wherever comparisons are computed, even if it is killed at times."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from artifact_torch import RunDirectory, Trainer, TrainingResult

SERVER = Path(__file__).with_name("comparison_fault_server.py")
pytestmark = pytest.mark.slow


class End(NamedTuple):
    """A trainer whose training has ended, and how it ended."""

    trainer: Trainer
    result: TrainingResult


@pytest.fixture(scope="module")
def server():
    """The module of the server, for trainings in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SERVER.parent)
        import comparison_fault_server

        yield comparison_fault_server
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=range(5))
def seed(request):
    return request.param


@pytest.fixture(scope="module")
def inline(server, seed, tmp_path_factory):
    """The end of the training of a seed, whose comparisons were computed in the training process."""
    return trained(server, RunDirectory.create(root=tmp_path_factory.mktemp("inline")), "inline", seed)


def trained(server, run, mode, seed):
    trainer = server.trainer_of(run, mode, seed)
    return End(trainer, trainer.train())


def assert_same(one, other):
    """Whether two trainings ended with the same model and the same record, to the last bit."""
    (first, how), (second, other_how) = one, other
    assert (how.reason, how.epochs, how.steps) == (other_how.reason, other_how.epochs, other_how.steps)
    assert_same_tensors(first.model.state_dict(), second.model.state_dict())
    assert first.optimizer.param_groups[0]["lr"] == second.optimizer.param_groups[0]["lr"]
    moments, others = (each.optimizer.state_dict()["state"] for each in (first, second))
    assert moments.keys() == others.keys()
    for parameter, state in moments.items():
        assert_same_tensors(state, others[parameter])
    assert first.scheduler.state_dict() == second.scheduler.state_dict()
    assert first.epoch_scores.equals(second.epoch_scores)
    assert first.batch_metrics.equals(second.batch_metrics)
    history, other_history = first.validation_results, second.validation_results
    assert by_artifact(history.scores).equals(by_artifact(other_history.scores))
    assert pictures(history) == pictures(other_history)


def assert_same_tensors(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def by_artifact(scores):
    """In one order: artifacts of a round come in the order in which they were finished."""
    return scores.sort_values(["step", "split", "name"], ignore_index=True)


def pictures(history):
    return {(plot.name, plot.split, plot.step): np.asarray(plot.open()).tobytes() for plot in history.plots}


def incomplete(run):
    """The rounds that were under way when a training was killed."""
    return {path.name for path in (run / "validation").glob("epoch-*") if not (path / "results.json").exists()}


def newest_checkpoint(run):
    return RunDirectory.open(run).checkpoints.paths()[-1].name


def killed(run, seed, epoch, moment):
    """Train until the process dies, and say which rounds it has left; its artifact process may outlive it a little."""
    command = [sys.executable, SERVER, run, str(seed), str(epoch), moment]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return incomplete(run)


def test_a_score_of_comparison_decides_about_the_learning_rate_and_the_end(server, inline):
    trainer, result = inline
    scores = trainer.epoch_scores
    assert server.SCORE in result.reason
    assert result.epochs < server.EPOCHS
    rates = scores["train/learning_rate"]
    assert rates.iloc[0] == server.LEARNING_RATE
    assert rates.iloc[-1] < server.LEARNING_RATE  # it fell in time for the steps after it
    compared = scores[server.SCORE].dropna()
    assert compared.index.tolist() == list(range(server.PERIOD, result.epochs + 1, server.PERIOD))
    assert compared.is_unique


def test_training_is_the_same_with_comparisons_in_the_background(server, seed, inline, tmp_path):
    background = trained(server, RunDirectory.create(root=tmp_path), "background", seed)
    assert background.trainer.run.record["seconds_waited_for_validation"] > 0
    assert not inline.trainer.run.record["seconds_waited_for_validation"]
    assert_same(background, inline)


def test_training_is_the_same_when_it_is_killed_in_the_middle_of_rounds(server, seed, inline, tmp_path):
    run = RunDirectory.create(root=tmp_path).path
    assert "epoch-4-step-24-validation-table_comparison" in killed(run, seed, 4, "while it waits")
    assert newest_checkpoint(run).endswith("-step-000000018")  # it knows nothing of that round
    assert "epoch-6-step-36-train-table_comparison" in killed(run, seed, 6, "once it has saved")
    assert newest_checkpoint(run).endswith("-step-000000036")  # it knows what was left
    resumed = trained(server, RunDirectory.open(run), "background", seed)
    assert not incomplete(run)
    assert_same(resumed, inline)
