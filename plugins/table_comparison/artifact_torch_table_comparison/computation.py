"""Computes artifacts of tables, in the training process or in one of its own: torch is not imported here."""

from __future__ import annotations

import importlib
import math
import random
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
from artifact_core.table_comparison import TabularDataSpec
from artifact_core.table_comparison.spi import TableComparisonArtifactResources
from threadpoolctl import threadpool_limits

from artifact_torch import Artifact, ArtifactKind, ArtifactWarning, Computation, Data
from artifact_torch_table_comparison.catalogue import TSNE, built_artifact
from artifact_torch_table_comparison.drawing import FewerLabels, readable, with_both_lines_visible
from artifact_torch_table_comparison.missing import MISSING_SHARES

__all__ = ["PreparedTables", "TableComputation", "shares_frame", "specification_of"]

_OF_LABELS = ("PDF", "JS_DISTANCE", "MEAN_JS_DISTANCE")
"""Artifacts in which artifact-core counts the labels of the specification only."""

_PROJECTIONS = ("PCA_JUXTAPOSITION", "TRUNCATED_SVD_JUXTAPOSITION", TSNE.name)


@dataclass(frozen=True)
class PreparedTables:
    """Both tables of a round.

    Attributes:
        real: the real rows in comparable form.
        synthetic: the synthetic ones.
        empty: columns of which the synthetic rows have no value, and the real ones have.
        unseen: by categorical column, the share of synthetic rows whose label is none of the specification, and one
            of these labels.
        fewer: how labels are shown in plots of them.
    """

    real: pd.DataFrame
    synthetic: pd.DataFrame
    empty: list[str]
    unseen: dict[str, tuple[float, str]]
    fewer: FewerLabels

    @cached_property
    def shown(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Both tables with labels as plots show them."""
        return self.fewer.of(self.real), self.fewer.of(self.synthetic)


class TableComputation(Computation[PreparedTables]):
    """Computes artifacts of two tables in comparable form, see ``Comparison``.

    Args:
        parameters: ``continuous`` (names of columns), ``labels`` (of each categorical column), ``hyperparameters`` (by
            the artifact's name), ``modules`` (that register artifacts), ``seed`` (of what is random in an artifact),
            ``tsne_rows`` (how many rows of each table t-SNE takes) and ``dpi``.
        data: ``real``, the real rows in comparable form, and ``shares``, a row of missing shares.

    The inputs of a round are ``synthetic`` and ``shares``, in the same form.
    """

    def __init__(self, parameters: Mapping[str, Any], data: Mapping[str, Data]) -> None:
        for module in parameters.get("modules", ()):
            importlib.import_module(module)
        self._labels = cast("Mapping[str, list[str]]", parameters["labels"])
        self._continuous = cast("list[str]", parameters["continuous"])
        self._hyperparameters = cast("Mapping[str, Mapping[str, Any]]", parameters.get("hyperparameters", {}))
        self._seed = int(parameters.get("seed", 0))
        self._tsne_rows = int(parameters.get("tsne_rows", 1000))
        self._dpi = int(parameters.get("dpi", 120))
        self._real = _with_shares(data["real"], data["shares"])
        self._shares: dict[str, float] = self._real.attrs[MISSING_SHARES]
        order = list(self._real.columns)
        self.specification = specification_of(order, self._continuous, self._labels)
        self._fewer = FewerLabels(self._labels)
        self._shown_specification = specification_of(order, self._continuous, self._fewer.labels)
        self._built: dict[Artifact, Any] = {}

    def prepare(self, inputs: Mapping[str, Data]) -> PreparedTables:
        synthetic = _with_shares(inputs["synthetic"], inputs["shares"])
        shares: dict[str, float] = synthetic.attrs[MISSING_SHARES]
        empty = [name for name, share in shares.items() if share == 1 and self._shares.get(name, 1) < 1]
        unseen: dict[str, tuple[float, str]] = {}
        for name, labels in self._labels.items():
            strange = synthetic[name][~synthetic[name].isin(labels)]
            if len(strange):
                unseen[name] = (len(strange) / len(synthetic), str(strange.iloc[0]))
        return PreparedTables(self._real, synthetic, empty, unseen, self._fewer)

    def compute(self, artifact: Artifact, prepared: PreparedTables) -> object:
        specification, real, synthetic = self.specification, prepared.real, prepared.synthetic
        if artifact.name == "PDF" and not artifact.kind.is_score:
            specification = self._shown_specification
            real, synthetic = prepared.shown
        elif artifact == TSNE:
            real, synthetic = (self._few(frame) for frame in (real, synthetic))
        if artifact not in self._built:
            given = self._hyperparameters.get(artifact.name, {})
            self._built[artifact] = built_artifact(artifact, specification, given)
        resources = TableComparisonArtifactResources(dataset_real=real, dataset_synthetic=synthetic)
        num_columns = len(self._real.columns)
        # With one thread, sums do not depend on how many cores a process may use, and t-SNE takes half as long.
        with threadpool_limits(1), _seeded(self._seed), readable(dpi=self._dpi, num_columns=num_columns):
            value: Any = self._built[artifact].compute(resources=resources)
            if artifact == Artifact(ArtifactKind.PLOT_COLLECTION, "CDF"):
                for figure in value.values():
                    with_both_lines_visible(figure)
        for remark in self._remarks(artifact, prepared, value, real):
            warnings.warn(remark, ArtifactWarning, stacklevel=2)
        return value

    def _few(self, frame: pd.DataFrame) -> pd.DataFrame:
        if len(frame) <= self._tsne_rows:
            return frame
        rows = np.random.default_rng(self._seed).choice(len(frame), size=self._tsne_rows, replace=False)
        return frame.iloc[np.sort(rows)]

    def _remarks(self, artifact: Artifact, prepared: PreparedTables, value: Any, real: pd.DataFrame) -> list[str]:
        """What a user should know of a value, a sentence each."""
        remarks: list[str] = []
        if artifact.name in _OF_LABELS:
            remarks.extend(
                f"{share:.2%} of the synthetic rows have a label in column {name!r} that no real row has, "
                f"such as {label!r}; they are not counted"
                for name, (share, label) in prepared.unseen.items()
            )
        if not artifact.name.endswith("MISSING_SHARE_DIFFERENCE"):
            remarks.extend(
                f"the synthetic rows have no value in column {name!r}, whose real median stands in for them"
                for name in prepared.empty
                if name in self._continuous
            )
        if artifact.name in _PROJECTIONS and (why := self._no_projection(artifact, real)):
            remarks.append(f"{why}, so nothing is projected")
        if artifact.kind is ArtifactKind.SCORE and not math.isfinite(value):
            wholly = [*prepared.empty, *(name for name, (share, _) in prepared.unseen.items() if share == 1)]
            columns = ", ".join(map(repr, dict.fromkeys(wholly)))
            remarks.append(f"it is {value}" + (f", because of column {columns}" if columns else ""))
        elif artifact.kind in (ArtifactKind.SCORE_COLLECTION, ArtifactKind.ARRAY_COLLECTION):
            wrong = [str(name) for name, each in value.items() if not np.isfinite(each).all()]
            if wrong:
                remarks.append(f"it is not finite for column {', '.join(map(repr, wrong))}")
        elif artifact.kind is ArtifactKind.ARRAY and not np.isfinite(value).all():
            remarks.append("it is not finite throughout")
        return remarks

    def _no_projection(self, artifact: Artifact, real: pd.DataFrame) -> str:
        hyperparameters: Any = self._built[artifact].hyperparams
        dimensions = len(self._continuous)
        if hyperparameters.use_categorical:
            dimensions += sum(real[name].nunique() for name in self._labels)
        if dimensions < 2:
            return "the tables have less than two dimensions"
        least = 31 if artifact == TSNE else 2  # the perplexity of t-SNE is 30, and must be below the number of rows
        return f"there are less than {least} rows" if len(real) < least else ""


def specification_of(order: list[str], continuous: list[str], labels: Mapping[str, list[str]]) -> TabularDataSpec:
    """artifact-core's specification of tables in comparable form; the order of columns and labels is kept."""
    example = {
        name: pd.Series(labels[name], dtype=object) if name in labels else pd.Series([0.0], dtype=np.float64)
        for name in order
    }
    rows = max(len(values) for values in example.values())
    # Shorter columns end in gaps, which artifact-core passes over.
    frame = pd.DataFrame({name: values.reindex(range(rows)) for name, values in example.items()})
    return TabularDataSpec.from_df(frame, cts_features=continuous, cat_features=list(labels))


def shares_frame(shares: Mapping[str, float]) -> pd.DataFrame:
    """Missing shares by column as a table of one row."""
    return pd.DataFrame({name: [share] for name, share in shares.items()})


def _with_shares(table: Data, shares: Data) -> pd.DataFrame:
    frame = cast("pd.DataFrame", table).copy(deep=False)
    named = cast("pd.DataFrame", shares)
    frame.attrs[MISSING_SHARES] = {str(name): float(values.iloc[0]) for name, values in named.items()}
    return frame


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """The global random states, which artifacts draw from, at a seed; afterwards they are as before."""
    state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)  # artifact-core's projections draw from numpy's global state
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
