"""The trainer of tables: what stands in ``epoch_scores``, which plots are drawn, how training is set up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from artifact_torch_table_comparison import ComparisonArtifacts, TableComparisonTrainer, table_from_frame
from artifact_torch_table_comparison.trainer import settings_for
from artifact_torch_tabular_models import TableVAE
from matplotlib import pyplot
from PIL import Image

from artifact_torch import Callback, GenerationParams, RunDirectory, TrainingSettings, hookimpl, registry

NO_PLOTS = ComparisonArtifacts(plots=[])
ALL_SCORES = {
    "train/MEAN_JS_DISTANCE",
    "train/CORRELATION_DISTANCE",
    "train/MAX_MISSING_SHARE_DIFFERENCE",
    "train/JS_DISTANCE/size",
    "train/JS_DISTANCE/label",
    "validation/MEAN_JS_DISTANCE",
    "validation/CORRELATION_DISTANCE",
    "validation/MAX_MISSING_SHARE_DIFFERENCE",
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class NotingRates(Callback):
    """Writes down the learning rate of each step."""

    def __init__(self):
        self.rates = []

    @hookimpl
    def on_before_optimizer_step(self, trainer):
        self.rates.append(trainer.optimizer.param_groups[0]["lr"])


def table_of(num_rows, seed=0):
    random = np.random.default_rng(seed)
    size = random.normal(50, 5, num_rows).round(1)
    return table_from_frame(pd.DataFrame({"size": size, "label": random.choice(["a", "b"], num_rows)}))


def settings(epochs=1, **others):
    return TrainingSettings(epochs=epochs, batch_size=16, learning_rate=4e-3, **others)


def trainer_of(root, train=None, held_out=None, **options):
    train = train or table_of(40)
    torch.manual_seed(0)
    model = TableVAE.from_table(train, latent_size=2, hidden_size=8, decoder_size=8)
    options = {
        "settings": settings(),
        "artifacts": NO_PLOTS,
        "validation_mode": "inline",
        "run": RunDirectory.create(root=root),
        **options,
    }
    return TableComparisonTrainer(model, train, held_out, **options)


def test_scores_stand_in_epoch_scores_at_due_epochs_and_at_the_last(tmp_path):
    trainer = trainer_of(tmp_path, held_out=table_of(12, seed=1), settings=settings(5), validation_period=2)
    trainer.train()
    frame = trainer.epoch_scores
    assert set(frame.columns) == {"train/loss", *ALL_SCORES}
    assert frame.index.tolist() == [1, 2, 3, 4, 5]
    assert frame["train/loss"].notna().all()
    for name in ALL_SCORES:
        assert frame.index[frame[name].notna()].tolist() == [2, 4, 5]
        assert frame[name].dropna().between(0, 1).all()


@pytest.mark.parametrize(("epochs", "due"), [(1, [1]), (4, [2, 4]), (7, [3, 6, 7])])
def test_three_validations_or_fewer_are_spread_over_the_training(epochs, due, tmp_path):
    trainer = trainer_of(tmp_path, settings=settings(epochs))
    trainer.train()
    scores = trainer.epoch_scores["train/MEAN_JS_DISTANCE"]
    assert scores.index[scores.notna()].tolist() == due


@pytest.mark.lengthy
def test_plots_are_pictures_in_the_run_and_their_figures_are_closed(tmp_path):
    pyplot.close("all")
    trainer = trainer_of(tmp_path, artifacts=ComparisonArtifacts(), settings=settings(2), validation_period=2)
    trainer.train()
    assert pyplot.get_fignums() == []
    paths = {path.relative_to(trainer.run.path).as_posix() for path in trainer.run.plot_paths()}
    assert paths == {
        f"artifacts/plot/{name}/epoch-2-step-6-train.png"
        for name in ("PDF", "CORRELATION_HEATMAP_JUXTAPOSITION", "PCA_JUXTAPOSITION")
    }
    for path in trainer.run.plot_paths():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100
            assert len(picture.convert("L").getcolors(256) or ()) > 10  # something is drawn on it


def test_without_held_out_rows_only_training_rows_are_compared(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.train()
    assert {name for name in ALL_SCORES if name.startswith("train/")} == set(trainer.epoch_scores) - {"train/loss"}


def test_the_same_seed_trains_the_same_model_and_another_one_does_not(tmp_path):
    def generated(seed):
        trainer = trainer_of(tmp_path, seed=seed)
        trainer.train()
        return trainer.model.generate(GenerationParams(num_samples=50))

    first = generated(3)
    pd.testing.assert_frame_equal(generated(3), first)
    assert not generated(4).equals(first)


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_nearly_nothing(tmp_path):
    noting = NotingRates()
    trainer_of(tmp_path, settings=settings(8), validation_period=8, callbacks=[noting]).train()
    rates = noting.rates
    assert len(rates) == 8 * 3
    assert max(rates) == pytest.approx(4e-3, rel=0.02)
    assert rates[0] < 4e-4
    assert rates[-1] < 1e-4


def test_a_constant_schedule_keeps_the_learning_rate(tmp_path):
    trainer = trainer_of(tmp_path, settings=settings(schedule="constant"))
    trainer.train()
    assert trainer.scheduler is None
    assert trainer.optimizer.param_groups[0]["lr"] == 4e-3


def test_the_loss_callback_passes_over_held_out_rows(tmp_path):
    callback = registry.get("callbacks", "loss")()
    trainer = trainer_of(tmp_path, held_out=table_of(12, seed=1), callbacks=[callback])
    trainer.train()
    assert trainer.epoch_scores["validation/loss"].notna().all()


@pytest.mark.parametrize("num_rows", [1, 2, 60, 700, 5_000, 28_440, 1_000_000])
def test_every_number_of_rows_has_settings_and_larger_tables_larger_batches(num_rows):
    chosen, double = settings_for(num_rows), settings_for(2 * num_rows)
    assert chosen.epochs >= 1
    assert chosen.learning_rate > 0
    assert 1 <= chosen.batch_size <= double.batch_size
    assert chosen.epochs >= double.epochs
