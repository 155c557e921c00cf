"""A real table of two classes: the breast cancers of scikit-learn, malignant and benign."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest
import torch
from artifact_torch_binary_classification import LabelledTable, labelled_table
from artifact_torch_table_comparison import table_from_frame
from sklearn.datasets import load_breast_cancer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # On small batches two threads on busy cores wait for each other up to a hundred times longer than they compute.
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def cancer_frame() -> pd.DataFrame:
    frame = load_breast_cancer(as_frame=True).frame
    return frame.rename(columns={"target": "diagnosis"}).assign(
        diagnosis=frame["target"].map({0: "malignant", 1: "benign"})
    )


@pytest.fixture(scope="session")
def cancer(cancer_frame: pd.DataFrame) -> LabelledTable:
    return labelled_table(table_from_frame(cancer_frame), "diagnosis", positive="malignant")
