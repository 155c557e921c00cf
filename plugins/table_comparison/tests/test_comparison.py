from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from artifact_core.table_comparison import (
    TableComparisonEngine,
    TableComparisonPlotType,
    TableComparisonScoreCollectionType,
    TableComparisonScoreType,
    TabularDataSpec,
)
from artifact_torch_table_comparison.comparison import Comparison, comparable_frames, missing_shares
from artifact_torch_table_comparison.reading import table_from_frame
from artifact_torch_table_comparison.schema import TableSchema
from pandas.testing import assert_frame_equal

from artifact_torch import ConfigError, DataError

mpl.use("Agg")


def example(seed: int) -> pd.DataFrame:
    """200 rows with every kind of column, gaps, a constant, an empty column and awkward labels."""
    random = np.random.default_rng(seed)
    size = random.normal(50, 5, 200)
    frame = pd.DataFrame(
        {
            "size": size.round(1),
            "double": (2 * size + random.normal(0, 1, 200)).round(1),
            "count": pd.Series(random.integers(0, 9, 200), dtype="Int64"),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 99, 200), unit="D"),
            "always": 7,
            "flag": pd.Series(random.random(200) < 0.5, dtype="boolean"),
            "price": random.choice(["$5-$10", r"a $\nonsense$", "nan"], 200),
            "nothing": np.nan,
        }
    )
    for name in ("size", "count", "day", "flag", "price"):
        frame.loc[random.random(200) < 0.2, name] = None
    return frame


def compared(real: pd.DataFrame, synthetic: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    return comparable_frames(real, synthetic, table_from_frame(real).schema)


def engine_for(real: pd.DataFrame, continuous: list[str], categorical: list[str]) -> TableComparisonEngine:
    return TableComparisonEngine.build(TabularDataSpec.from_df(real, cts_features=continuous, cat_features=categorical))


def scores(real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float]:
    frames = compared(real, synthetic)
    engine = engine_for(frames[0], *frames[2:])
    return {
        kind.name: engine.produce_dataset_comparison_score(kind, frames[0], frames[1])
        for kind in TableComparisonScoreType
    }


def test_columns_are_numbers_or_texts_without_gaps_and_empty_ones_are_left_out() -> None:
    real, synthetic, continuous, categorical = compared(example(0), example(1))
    assert continuous == ["size", "double", "count", "day", "always"]
    assert categorical == ["flag", "price"]
    for frame in (real, synthetic):
        assert list(frame.columns) == [*continuous, *categorical]
        assert {str(frame[name].dtype) for name in continuous} == {"float64"}
        assert all(isinstance(text, str) for name in categorical for text in frame[name])
        assert not frame.isna().any(axis=None)
    assert set(real["flag"]) == {"true", "false", "(missing)"}


def test_dates_are_days_since_1970() -> None:
    frame = pd.DataFrame({"day": pd.to_datetime(["1970-01-02 12:00", "1969-12-31 00:00"])})
    assert compared(frame, frame)[0]["day"].tolist() == [1.5, -1.0]


def test_typed_and_original_frames_are_brought_into_the_same_form() -> None:
    frame = example(0).assign(price=lambda frame: frame["price"].astype("category"))
    table = table_from_frame(frame)
    typed, original, *_ = comparable_frames(table.frame, frame, table.schema)
    assert_frame_equal(typed, original)


def test_the_label_of_missing_values_is_none_of_the_real_labels() -> None:
    real = pd.DataFrame({"a": ["(missing)", None, "x"]})
    synthetic = pd.DataFrame({"a": ["((missing))", None, "x"]})
    assert compared(real, synthetic)[0]["a"].tolist() == ["(missing)", "((missing))", "x"]
    # One that is only among the synthetic labels is not taken for a missing value either.
    assert compared(real, synthetic)[1]["a"].tolist() == ["(((missing)))", "((missing))", "x"]


def test_the_label_of_missing_values_is_none_of_the_categories_of_the_schema() -> None:
    real = pd.DataFrame({"a": pd.Categorical(["x", None, "x"], categories=["x", "(missing)"])})
    assert compared(real, real)[0]["a"].tolist() == ["x", "((missing))", "x"]


def test_replacing_missing_numbers_keeps_the_distribution_and_adds_no_dependence() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, 5000))
    gaps = random.random(5000) < 0.3
    frame = pd.DataFrame({"left": np.where(gaps, np.nan, left), "right": np.where(gaps, np.nan, right)})
    filled = compared(frame, frame)[0]
    assert_frame_equal(filled[~gaps], frame[~gaps])
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert filled["left"].quantile(share) == pytest.approx(frame["left"].quantile(share), abs=0.01)
    assert filled["left"].std() == pytest.approx(frame["left"].std(), abs=0.01)
    assert abs(filled[gaps].corr().loc["left", "right"]) < 0.08


def test_a_synthetic_column_without_numbers_scores_badly_and_a_real_one_is_left_out() -> None:
    real, synthetic = example(0), example(1)
    broken = synthetic.assign(size=np.nan)
    schema = table_from_frame(real).schema
    _, filled, continuous, _ = comparable_frames(real, broken, schema)
    assert filled["size"].unique().tolist() == [real["size"].median()]
    assert "size" in continuous
    assert scores(real, broken)["MEAN_JS_DISTANCE"] > scores(real, synthetic)["MEAN_JS_DISTANCE"]
    assert "size" not in comparable_frames(broken, synthetic, schema)[2]


def test_artifact_core_scores_are_finite_and_zero_for_a_table_with_itself() -> None:
    assert set(scores(example(0), example(0)).values()) == {0.0}
    apart = scores(example(0), example(1))
    assert np.isfinite(list(apart.values())).all()
    assert all(value > 0 for value in apart.values())


def test_a_constant_column_is_at_no_distance() -> None:
    real, synthetic, continuous, categorical = compared(example(0), example(1))
    collection = engine_for(real, continuous, categorical).produce_dataset_comparison_score_collection(
        TableComparisonScoreCollectionType.JS_DISTANCE, real, synthetic
    )
    assert collection["always"] == 0.0
    assert set(collection) == {*continuous, *categorical}
    assert np.isfinite(list(collection.values())).all()


@pytest.mark.parametrize(
    "kind",
    [
        TableComparisonPlotType.PDF,
        TableComparisonPlotType.CDF,
        TableComparisonPlotType.MEAN_ALIGNMENT,
        TableComparisonPlotType.CORRELATION_HEATMAP_JUXTAPOSITION,
        TableComparisonPlotType.PCA_JUXTAPOSITION,
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_artifact_core_plots_tables_with_gaps_constants_and_dollar_signs(kind: TableComparisonPlotType) -> None:
    real, synthetic, continuous, categorical = compared(example(0), example(1))
    figure = engine_for(real, continuous, categorical).produce_dataset_comparison_plot(kind, real, synthetic)
    figure.canvas.draw()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert not any("failed" in text for text in texts)


def test_missing_shares_are_told_by_column() -> None:
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0, 4.0], "b": ["x", "y", None, None]})
    assert missing_shares(frame) == {"a": 0.25, "b": 0.5}
    ignoring = Comparison(frame, table_from_frame(frame).schema, columns={"b": "ignored"})
    assert ignoring.shares == {"a": 0.25}


def test_the_real_side_is_worked_out_once_for_many_synthetic_tables() -> None:
    real = example(0)
    comparison = Comparison(real, table_from_frame(real).schema)
    for seed in (1, 2):
        assert_frame_equal(comparison.comparable(example(seed)), compared(real, example(seed))[1])


def test_labels_are_in_the_order_of_their_frequency_and_the_missing_one_is_the_last() -> None:
    real = pd.DataFrame({"a": ["x", None, None, None, "y", "y", "z"]})
    assert Comparison(real, table_from_frame(real).schema).labels == {"a": ["y", "x", "z", "(missing)"]}


def test_labels_of_more_rows_are_known_too() -> None:
    known = table_from_frame(pd.DataFrame({"a": ["x", "x", "y", None]}))
    comparison = Comparison(known.frame.head(2), known.schema, known=known.frame)
    assert comparison.labels == {"a": ["x", "y", "(missing)"]}
    assert len(comparison.real) == 2


def test_columns_can_be_compared_in_another_way_than_their_kind_tells() -> None:
    frame = pd.DataFrame(
        {
            "year": [2001, 2002, None, 2001],
            "code": ["1", "2.5", None, "-3"],
            "flag": [True, False, True, True],
            "day": pd.to_datetime(["2020-01-01", "2020-01-02", None, "2020-01-01"]),
            "free": ["a", "b", "c", "d"],
        }
    ).astype({"year": "Int64"})
    comparison = Comparison(
        frame,
        table_from_frame(frame).schema,
        columns={
            "year": "categorical",
            "code": "continuous",
            "flag": "continuous",
            "day": "categorical",
            "free": "ignored",
        },
    )
    assert comparison.continuous == ["code", "flag"]
    assert comparison.categorical == ["year", "day"]
    assert comparison.real["year"].tolist() == ["2001", "2002", "(missing)", "2001"]
    assert comparison.real["day"].str[:10].tolist() == ["2020-01-01", "2020-01-02", "(missing)", "2020-01-01"]
    assert comparison.real["code"].drop(2).tolist() == [1.0, 2.5, -3.0]
    assert comparison.real["flag"].tolist() == [1.0, 0.0, 1.0, 1.0]
    assert "free" not in comparison.real


def test_a_label_that_is_no_number_is_filled_in_a_synthetic_column_of_numbers_and_refused_in_the_real_one() -> None:
    real = pd.DataFrame({"code": ["1", "1", "1"]})
    schema = table_from_frame(real).schema
    comparison = Comparison(real, schema, columns={"code": "continuous"})
    assert comparison.comparable(pd.DataFrame({"code": ["1", "one", "1"]}))["code"].tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(DataError, match="'code' cannot be compared as continuous, because 'one' is no number"):
        Comparison(pd.DataFrame({"code": ["1", "one"]}), schema, columns={"code": "continuous"})


def test_columns_that_are_not_there_or_hold_nothing_cannot_be_compared_in_another_way() -> None:
    real = example(0)
    schema = table_from_frame(real).schema
    with pytest.raises(ConfigError, match=r"no column 'prize' .* did you mean 'price'"):
        Comparison(real, schema, columns={"prize": "continuous"})
    with pytest.raises(ConfigError, match="'nothing' cannot be compared as categorical"):
        Comparison(real, schema, columns={"nothing": "categorical"})


def test_a_table_of_identifiers_and_empty_columns_only_leaves_nothing_to_compare() -> None:
    frame = example(0)[["nothing"]]
    assert comparable_frames(frame, frame, TableSchema(()))[2:] == ([], [])
