"""The artifact group of tables: how a table is split, what an experiment is told, where samples go."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from artifact_torch_table_comparison import TableComparisonTrainer, TabularGenerativeModel, read_csv
from artifact_torch_table_comparison.group import TableComparison
from artifact_torch_table_comparison.trainer import settings_for
from artifact_torch_tabular_models import TableVAE

from artifact_torch import (
    ConfigError,
    DataError,
    GenerationParams,
    RunDirectory,
    TrainerParts,
    TrainingSettings,
    UsageError,
    registry,
)
from artifact_torch.config import validated_options

NOTHING = {"scores": [], "score_collections": [], "plots": []}
SCORES = {"MEAN_JS_DISTANCE", "CORRELATION_DISTANCE", "MAX_MISSING_SHARE_DIFFERENCE"}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def group_of(tmp_path):
    """Builds a group on a table whose column ``number`` counts its rows with a gap, so that rows can be told apart."""

    def build(num_rows=60, *, seed=0, validation=NOTHING, **data):
        path = tmp_path / "table.csv"
        numbers = [*range(num_rows - 1), num_rows + 5]
        frame = pd.DataFrame({"number": numbers, "label": ["ab"[number % 2] for number in numbers], "empty": None})
        frame.to_csv(path, index=False)
        options = TableComparison.data_options.model_validate({"file": path, **data})
        return TableComparison(options, TableComparison.validation_options.model_validate(validation), seed=seed)

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
    assert set(conclusion.scores) == SCORES
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


def test_options_reach_the_routine(group_of, tmp_path):
    validation = {
        **NOTHING,
        "scores": "all",
        "period": "7 steps",
        "mode": "inline",
        "workers": 2,
        "artifact_seconds": 5.0,
        "max_rows": 20,
        "dpi": 70,
        "columns": {"number": "categorical"},
    }
    group = group_of(validation=validation)
    group.load()
    routine = trainer_of(group, tmp_path).validation
    assert (str(routine.period), routine.mode, routine.workers, routine.artifact_seconds) == ("7 steps", "inline", 2, 5)
    assert [(plan.rows, plan.dpi) for plan in routine.plans] == [(20, 70), (12, 70)]
    assert {artifact.name for artifact in routine.plans[0].artifacts} == {*SCORES, "MEAN_MISSING_SHARE_DIFFERENCE"}
    assert routine.plans[0].comparison.categorical == ["number", "label"]


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"scores": ["MEAN_JS"]}, "did you mean 'MEAN_JS_DISTANCE'"),
        ({"hyperparameters": {"JS_DISTANCE": {"n_bins_cts_histogram": 0}}}, "must be more than 0"),
        ({"columns": {"lable": "continuous"}}, "did you mean 'label'"),
        ({"columns": {"label": "continuous"}}, "'label' cannot be compared as continuous"),
    ],
)
def test_mistakes_in_the_artifacts_are_refused_when_the_data_are_read(validation, message, group_of):
    group = group_of(validation=validation)
    with pytest.raises(UsageError, match=message):
        group.load()


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"score": "all"}, "did you mean 'scores'"),
        ({"scores": "MEAN_JS_DISTANCE"}, "scores"),
        ({"period": "often"}, "'often' is no period: write a number of epochs"),
        ({"period": 0}, "A period must be at least 1 epoch, not 0"),
        ({"mode": "later"}, "mode"),
        ({"columns": {"a": "numbers"}}, "a = 'numbers' in [validation.columns]"),
        ({"dpi": 0}, "dpi"),
        ({"tsne_rows": 1}, "tsne_rows"),
    ],
)
def test_mistakes_in_the_section_are_refused_with_their_place(validation, message):
    options = TableComparison.validation_options
    with pytest.raises(ConfigError, match=re.escape(message)):
        validated_options(options, validation, source="a.toml", section="validation")


def test_the_conclusion_is_of_the_whole_table_whatever_is_computed_meanwhile(group_of, tmp_path):
    group = group_of(
        validation={
            **NOTHING,
            "scores": ["MEAN_JS_DISTANCE"],
            "plots": ["PCA_JUXTAPOSITION"],
            "hyperparameters": {
                "MEAN_JS_DISTANCE": {"categorical_only": True},
                "PCA_JUXTAPOSITION": {"use_categorical": False},
            },
            "max_rows": 5,
            "mode": "inline",
            "period": 9,
        }
    )
    group.load()
    trainer = trainer_of(group, tmp_path)
    conclusion = group.conclude(trainer, None)
    assert set(conclusion.scores) == SCORES
    assert conclusion.meaning == "48 synthetic rows against the 48 learnt ones; 0 is best"


@pytest.fixture
def files(tmp_path):
    """The path of a file of real rows, and a function that writes synthetic ones beside it."""
    random = np.random.default_rng(0)
    real = pd.DataFrame(
        {
            "size": random.normal(5, 1, 80).round(2),
            "sold": random.choice(["no", "yes"], 80),
            "day": random.choice(["2020-01-31", "2021-02-01", None], 80),
            "code": random.choice(["01", "1", "x"], 80),
            "count": random.integers(0, 9, 80),
        }
    )
    path = tmp_path / "real.csv"
    real.to_csv(path, index=False)

    def write(change=lambda frame: frame):
        change(real.copy()).to_csv(tmp_path / "synthetic.csv", index=False)
        return TableComparison.file_options.model_validate({"real": path, "synthetic": tmp_path / "synthetic.csv"})

    return write


def judged(files, folder, **validation):
    options = TableComparison.validation_options.model_validate({**NOTHING, **validation})
    return TableComparison.judge_files(files, options, seed=0, folder=folder)


def test_a_file_is_at_no_distance_from_itself_in_another_order_of_columns(files, tmp_path):
    given = files(lambda frame: frame[["count", "code", "day", "sold", "size"]])
    conclusion = judged(
        given,
        tmp_path / "found",
        scores="all",
        score_collections=["JS_DISTANCE", "MISSING_SHARE_DIFFERENCE"],
        plots=["MEAN_ALIGNMENT"],
        plot_collections=["CDF"],
        dpi=40,
    )
    assert {"MEAN_JS_DISTANCE", "JS_DISTANCE/day", "MISSING_SHARE_DIFFERENCE/code"} <= set(conclusion.scores)
    assert list(conclusion.scores.values()) == pytest.approx([0] * len(conclusion.scores), abs=1e-6)
    assert set(conclusion.plots) == {"MEAN_ALIGNMENT", "CDF/size", "CDF/day", "CDF/count"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in conclusion.plots.values())
    assert conclusion.samples is None
    assert conclusion.meaning == "80 synthetic rows against 80 real ones; 0 is best"


def test_at_most_so_many_rows_of_files_are_compared(files, tmp_path):
    conclusion = judged(files(), tmp_path, scores=["MEAN_JS_DISTANCE"], max_rows=30)
    assert conclusion.meaning == "30 synthetic rows against 30 real ones; 0 is best"
    assert conclusion.scores == {"MEAN_JS_DISTANCE": pytest.approx(0, abs=1e-6)}


def test_columns_of_files_are_read_as_the_real_ones_whatever_they_look_like(files, tmp_path):
    given = files(lambda frame: frame.assign(sold="yes", code="01", day=None, count=2.5))
    conclusion = judged(given, tmp_path, score_collections=["JS_DISTANCE", "MISSING_SHARE_DIFFERENCE"])
    real = pd.read_csv(given.real, dtype={"code": str})
    assert conclusion.scores["MISSING_SHARE_DIFFERENCE/day"] == pytest.approx(1 - real["day"].isna().mean())
    assert conclusion.scores["JS_DISTANCE/sold"] < 0.6
    assert 0 < conclusion.scores["JS_DISTANCE/code"] < 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="day"), "has no column 'day'"),
        (lambda frame: frame.assign(more=1), "has a column 'more' that"),
        (lambda frame: frame.rename(columns={"day": "date"}), "has no column 'day' and"),
        (lambda frame: frame.assign(size="large"), "column 'size' holds 'large', which is not a number"),
        (lambda frame: frame.assign(sold="perhaps"), "column 'sold' holds 'perhaps', which is not no or yes"),
        (lambda frame: frame.assign(day="31/1/2020"), "column 'day' holds '31/1/2020', which is not a date like"),
    ],
)
def test_files_that_do_not_go_together_are_refused(change, message, files, tmp_path):
    with pytest.raises(DataError, match=message):
        judged(files(change), tmp_path, scores="all")


def test_columns_of_files_can_be_left_out(files, tmp_path):
    given = files(lambda frame: frame.drop(columns="day").assign(more=1))
    dropping = given.model_copy(update={"drop": ["day", "more"]})
    with pytest.raises(DataError, match="no column 'more'"):
        judged(dropping, tmp_path, scores="all")
    (tmp_path / "real.csv").write_text(pd.read_csv(given.real).assign(more=2).to_csv(index=False))
    assert judged(dropping, tmp_path, scores=["MEAN_JS_DISTANCE"]).scores["MEAN_JS_DISTANCE"] < 0.1


def test_columns_of_files_that_identify_rows_are_not_compared(files, tmp_path):
    given = files()
    for path in (given.real, given.synthetic):
        frame = pd.read_csv(path)
        frame.insert(0, "id", range(5, 85))
        frame.to_csv(path, index=False)
    with pytest.raises(DataError, match="--drop id or number it anew with --renumber id"):
        judged(given, tmp_path, scores="all")
    renumbering = type(given).model_validate({**given.model_dump(), "renumber": "id"})
    assert "JS_DISTANCE/id" not in judged(renumbering, tmp_path, score_collections="all").scores
