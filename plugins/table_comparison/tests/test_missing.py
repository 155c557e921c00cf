"""The artifacts of missing values: what they compare, and that artifact-core knows them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from artifact_core.table_comparison import TableComparisonEngine, TabularDataSpec
from artifact_torch_table_comparison.missing import MISSING_SHARES, missing_share_differences

REAL = pd.DataFrame({"a": [1.0, np.nan, 3.0, 4.0], "b": ["x", "y", None, None]})
SYNTHETIC = pd.DataFrame({"a": [np.nan, np.nan], "b": ["x", None]})


@pytest.fixture
def engine():
    return TableComparisonEngine.build(TabularDataSpec.from_df(REAL, cts_features=["a"], cat_features=["b"]))


def test_the_shares_that_frames_carry_are_compared():
    real, synthetic = pd.DataFrame({"a": [0.0]}), pd.DataFrame({"a": [0.0]})
    real.attrs[MISSING_SHARES] = {"a": 0.5, "other": 0.25}
    synthetic.attrs[MISSING_SHARES] = {"other": 1.0, "a": 0.25}
    assert missing_share_differences(real, synthetic) == {"a": 0.25, "other": 0.75}


def test_gaps_are_counted_in_frames_that_carry_no_shares():
    assert missing_share_differences(REAL, SYNTHETIC) == {"a": 0.75, "b": 0.0}


def test_artifact_core_computes_them_by_name(engine):
    frames = [REAL.copy(), SYNTHETIC.copy()]
    for frame, shares in zip(frames, ({"a": 0.1, "b": 0.2}, {"a": 0.1, "b": 0.8}), strict=True):
        frame.attrs[MISSING_SHARES] = shares
    assert engine.produce_dataset_comparison_score("MEAN_MISSING_SHARE_DIFFERENCE", *frames) == pytest.approx(0.3)
    assert engine.produce_dataset_comparison_score("MAX_MISSING_SHARE_DIFFERENCE", *frames) == pytest.approx(0.6)
    collection = engine.produce_dataset_comparison_score_collection("MISSING_SHARE_DIFFERENCE", *frames)
    assert collection == pytest.approx({"a": 0.0, "b": 0.6})
