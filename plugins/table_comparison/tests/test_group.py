"""The artifact group of tables: how a table is split, what an experiment is told, where samples go."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from artifact_torch_table_comparison import TableComparisonTrainer, TabularGenerativeModel, read_csv
from artifact_torch_table_comparison.group import TableComparison
from artifact_torch_table_comparison.trainer import settings_for
from artifact_torch_tabular_models import TableVAE

from artifact_torch import DataError, GenerationParams, RunDirectory, TrainerParts, TrainingSettings, registry

NOTHING = {"scores": [], "score_collections": [], "plots": []}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def group_of(tmp_path):
    """Builds a group on a table whose column ``number`` counts its rows with a gap, so that rows can be told apart."""

    def build(num_rows=60, *, seed=0, **data):
        path = tmp_path / "table.csv"
        numbers = [*range(num_rows - 1), num_rows + 5]
        frame = pd.DataFrame({"number": numbers, "label": ["ab"[number % 2] for number in numbers], "empty": None})
        frame.to_csv(path, index=False)
        options = TableComparison.data_options.model_validate({"file": path, **data})
        validation = TableComparison.validation_options.model_validate(NOTHING)
        return TableComparison(options, validation, seed=seed)

    return build


def trainer_of(group, root):
    model = group.model_factory(TableVAE)(latent_size=2, hidden_size=8, decoder_size=8)
    settings = TrainingSettings(epochs=1, batch_size=16, learning_rate=4e-3)
    run = RunDirectory.create(root=root)
    parts = TrainerParts(settings=settings, seed=group.seed, run=run, params={}, callbacks=[], stoppers=[])
    return group.build_trainer(model, parts)


def learnt_rows(group):
    (table,) = group.model_factory(TableVAE).args
    return table


@pytest.mark.parametrize(
    ("num_rows", "share", "learnt"),
    [(60, 0.8, 48), (10, 0.8, 8), (5, 0.8, 4), (2, 0.8, 2), (7, 0.5, 4), (60, 1.0, 60), (60, 0.001, 1), (35, 0.7, 25)],
)
def test_the_share_of_rows_is_learnt_and_the_others_are_held_out(num_rows, share, learnt, group_of, tmp_path):
    group = group_of(num_rows, train_share=share)
    group.load()
    trainer = trainer_of(group, tmp_path)
    assert trainer.train_loader.num_samples == len(learnt_rows(group)) == learnt
    loader = trainer.validation.val_loader
    assert (0 if loader is None else loader.num_samples) == num_rows - learnt


def test_the_seed_chooses_the_rows_and_their_order_is_kept(group_of):
    chosen = []
    for seed in (0, 0, 1):
        group = group_of(seed=seed)
        group.load()
        chosen.append(learnt_rows(group).frame["number"].tolist())
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(numbers == sorted(numbers) for numbers in chosen)
    assert len(set(chosen[0])) == 48


def test_loading_returns_the_warnings_of_the_table(group_of):
    assert group_of().load() == ("column 'empty' has no values: it stays empty",)


def test_columns_can_be_dropped_and_renumbered(group_of, tmp_path):
    group = group_of(drop=["empty", "label"])
    group.load()
    assert list(learnt_rows(group).frame) == ["number"]
    (tmp_path / "table.csv").write_text("id,size\n" + "".join(f"x{row},{row % 7}\n" for row in range(30)))
    options = TableComparison.data_options.model_validate({"file": tmp_path / "table.csv", "renumber": ["id"]})
    group = TableComparison(options, TableComparison.validation_options(), seed=0)
    group.load()
    assert [column.kind for column in learnt_rows(group).schema.columns] == ["identifier", "integer"]


def test_a_table_that_cannot_be_read_is_refused(group_of, tmp_path):
    group = group_of()
    (tmp_path / "table.csv").unlink()
    with pytest.raises(DataError, match="no file"):
        group.load()


def test_it_trains_models_of_tables_with_the_trainer_of_tables(group_of, tmp_path):
    group = group_of()
    group.load()
    trainer = trainer_of(group, tmp_path)
    assert isinstance(trainer, TableComparisonTrainer)
    assert group.model_class is TabularGenerativeModel
    assert issubclass(registry.get("models", group.default_model), TabularGenerativeModel)
    assert group.default_settings() == settings_for(48)


def test_at_the_end_synthetic_rows_are_written_tracked_and_judged(group_of, tmp_path):
    group = group_of()
    group.load()
    trainer = trainer_of(group, tmp_path)
    trainer.train()
    conclusion = group.conclude(trainer, None)
    assert conclusion.samples == trainer.run.path / "synthetic.csv"
    header, *rows = conclusion.samples.read_text().splitlines()
    assert header == "number,label,empty"
    assert len(rows) == 48
    assert set(conclusion.scores) == {"MEAN_JS_DISTANCE", "CORRELATION_DISTANCE", "MAX_MISSING_SHARE_DIFFERENCE"}
    assert conclusion.scores["MAX_MISSING_SHARE_DIFFERENCE"] == 0
    assert len(group.conclude(trainer, 5).samples.read_text().splitlines()) == 6


def test_the_greatest_difference_of_missing_shares_is_told(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("number,label\n" + "".join(f"{'' if row % 2 else row % 5},a\n" for row in range(40)))
    options = TableComparison.data_options.model_validate({"file": path, "train_share": 1.0})
    group = TableComparison(options, TableComparison.validation_options.model_validate(NOTHING), seed=0)
    group.load()
    trainer = trainer_of(group, tmp_path)
    trainer.train()
    conclusion = group.conclude(trainer, 200)
    synthetic = read_csv(conclusion.samples).frame["number"].isna().mean()
    assert conclusion.scores["MAX_MISSING_SHARE_DIFFERENCE"] == pytest.approx(abs(0.5 - synthetic))


def test_samples_are_written_into_folders_that_are_made(group_of, tmp_path):
    group = group_of()
    group.load()
    model = group.model_factory(TableVAE)(latent_size=2, hidden_size=8, decoder_size=8)
    path = tmp_path / "a" / "b" / "samples.csv"
    group.generate(model, GenerationParams(num_samples=3), path)
    assert len(path.read_text().splitlines()) == 4


def test_samples_that_cannot_be_written_are_refused(group_of, tmp_path):
    group = group_of()
    group.load()
    model = group.model_factory(TableVAE)(latent_size=2, hidden_size=8, decoder_size=8)
    with pytest.raises(DataError, match="choose a place you can write to"):
        group.generate(model, GenerationParams(num_samples=3), tmp_path / "table.csv" / "samples.csv")
