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
from artifact_torch_table_comparison.comparison import comparable_frames, missing_share_differences
from artifact_torch_table_comparison.reading import table_from_frame
from artifact_torch_table_comparison.schema import TableSchema
from pandas.testing import assert_frame_equal

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


def test_the_label_of_missing_values_is_none_of_the_data() -> None:
    real = pd.DataFrame({"a": ["(missing)", None, "x"]})
    synthetic = pd.DataFrame({"a": ["((missing))", None, "x"]})
    assert compared(real, synthetic)[0]["a"].tolist() == ["(missing)", "(((missing)))", "x"]
    assert compared(real, synthetic)[1]["a"].tolist() == ["((missing))", "(((missing)))", "x"]


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


def test_missing_shares_are_compared_by_column() -> None:
    real = pd.DataFrame({"a": [1.0, np.nan, 3.0, 4.0], "b": ["x", "y", None, None]})
    synthetic = pd.DataFrame({"b": ["x", None], "a": [np.nan, np.nan]})
    assert missing_share_differences(real, synthetic) == {"a": 0.75, "b": 0.0}


def test_a_table_of_identifiers_and_empty_columns_only_leaves_nothing_to_compare() -> None:
    frame = example(0)[["nothing"]]
    assert comparable_frames(frame, frame, TableSchema(()))[2:] == ([], [])
