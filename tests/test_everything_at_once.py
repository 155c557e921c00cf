"""All callbacks and all stoppers at once: they do not get in each other's way, and training resumes exactly."""

from __future__ import annotations

import re

import pytest
import torch
from artifact_torch_callbacks import EMA, SWA, Freezing, FunctionCallback, LearningRateFinder, Metric
from artifact_torch_stoppers import (
    Budget,
    FunctionStopper,
    GeneralizationGap,
    MaxEpochs,
    MaxSteps,
    Threshold,
    TimeLimit,
)
from artifact_torch_table_comparison import ComparisonArtifacts, TableComparisonTrainer, read_csv
from artifact_torch_table_comparison.data import portal_path
from artifact_torch_tabular_models import TableVAE

from artifact_torch import ModelTracker, RunDirectory, TrainingSettings, registry
from artifact_torch.plugin.discovery import discover

pytestmark = [pytest.mark.slow, pytest.mark.lengthy]

# Built with parameters below, or standing in each other's way: one average is validated, and a finder that changes the
# batches refuses a schedule of fixed length.
APART = {"ema", "swa", "batch_size_finder", "freezing", "function", "learning_rate_finder", "loss", "metric"}
APART_STOPPERS = {"budget", "function", "generalization_gap", "max_epochs", "max_steps", "threshold", "time_limit"}


def note_epoch(trainer):
    assert trainer.state.epochs_completed > 0


def num_rows(batch, _model_output):
    return float(len(next(iter(batch.values()))))


def is_far(trainer):
    return trainer.state.step > 10**6


def components(kind, apart):
    """The installed ones of the standard distribution, as they are by default."""
    return [
        registry.get(kind, entry.qualified_name)()
        for entry in discover(kind)
        if entry.distribution == f"artifact-torch-{kind}" and entry.name not in apart
    ]


def callbacks(average):
    observers = components("callbacks", APART)
    for observer in observers:
        if getattr(observer, "batch_period", None) is not None:
            observer.batch_period = "7 steps"
    return [
        *observers,
        average,
        Freezing(epochs={"decoder*": 1}),
        FunctionCallback(execute_epoch_postprocessing=note_epoch),
        LearningRateFinder(steps=20),
        Metric(name="num_rows", metric=num_rows, split="train"),
    ]


def stoppers():
    return [
        *components("stoppers", APART_STOPPERS),
        Budget(amount=1000.0),
        FunctionStopper(function=is_far),
        GeneralizationGap(score="validation/MEAN_JS_DISTANCE", train_score="train/MEAN_JS_DISTANCE", bound=1000.0),
        (MaxEpochs(epochs=1000) | Threshold(score="train/loss", goal=-1e9)) & TimeLimit(limit="1000 h"),
    ]


def build(root, average, *, stop_at=None, run=None):
    table = read_csv(portal_path())
    table = type(table)(table.frame.sample(700, random_state=0).reset_index(drop=True), table.schema)
    more = [] if stop_at is None else [MaxSteps(steps=stop_at)]
    return TableComparisonTrainer(
        TableVAE.from_table(table, hidden_size=32),
        table,
        table,
        settings=TrainingSettings(epochs=3, batch_size=32, learning_rate=1e-2, device="cpu", log_every=5, accumulate=2),
        artifacts=ComparisonArtifacts(scores=["MEAN_JS_DISTANCE"], score_collections=[], plots=[]),
        validation_period="9 steps",
        validation_mode="inline",
        run=run or RunDirectory.create("everything", root=root),
        callbacks=callbacks(average),
        stoppers=[*stoppers(), *more],
        model_tracker=ModelTracker(score="validation/MEAN_JS_DISTANCE", keep=2),
        use_installed_plugins=False,
    )


@pytest.mark.parametrize("average", [lambda: EMA(decay=0.9), lambda: SWA(start=2)], ids=["ema", "swa"])
def test_everything_at_once_resumes_exactly(tmp_path, average):
    torch.manual_seed(0)
    whole = build(tmp_path, average())
    result = whole.train()
    assert (result.epochs, result.steps) == (3, 33)
    assert not [warning for warning in whole.plugins.warnings if "changes_training" in warning]
    torch.manual_seed(0)
    stopped = build(tmp_path, average(), stop_at=17)
    assert stopped.train().steps == 17
    torch.manual_seed(0)
    resumed = build(tmp_path, average(), run=stopped.run)
    resumed.load_checkpoint()
    assert resumed.train().steps == 33
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    with whole.evaluating(), resumed.evaluating():
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert [model.step for model in resumed.model_tracker.kept] == [model.step for model in whole.model_tracker.kept]
    measured = re.compile("second|memory|wait|time|rss")  # what differs from machine to machine and hour to hour
    comparable = [name for name in whole.epoch_scores if not measured.search(name)]
    assert len(comparable) > 10
    for name in comparable:
        assert whole.epoch_scores[name].equals(resumed.epoch_scores[name]), name
