"""Validation results: six kinds, their names in ``epoch_scores``, and plots that are closed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot

from artifact_torch import ArtifactKind, Artifacts, DataSplit, UsageError, ValidationResults, hookimpl
from artifact_torch.core.results import track_results
from artifact_torch.plugin.manager import Plugins
from artifact_torch.testing import HookRecorder


@pytest.fixture
def open_figures():
    pyplot.close("all")
    yield pyplot.get_fignums
    pyplot.close("all")


def results_with_plots():
    results = ValidationResults()
    artifacts = results.of_split(DataSplit.VALIDATION)
    artifacts.plots["one"] = pyplot.figure()
    artifacts.plot_collections["many"] = {"a": pyplot.figure(), "b": pyplot.figure()}
    return results


def hooks_of(*objects):
    plugins = Plugins()
    for each in objects:
        plugins.register(each)
    return plugins.hooks


def test_scores_are_named_by_split_name_and_item():
    results = ValidationResults()
    results.of_split(DataSplit.TRAIN).scores["s"] = 1.0
    results.of_split(DataSplit.VALIDATION).scores["s"] = 2.0
    results.of_split(DataSplit.VALIDATION).score_collections["c"] = {"a": 3.0, "b": 4.0}
    assert results.scores == {"train/s": 1.0, "validation/s": 2.0, "validation/c/a": 3.0, "validation/c/b": 4.0}


def test_two_scores_of_one_name_are_refused():
    results = ValidationResults()
    results.of_split(DataSplit.TRAIN).scores["c/a"] = 1.0
    results.of_split(DataSplit.TRAIN).score_collections["c"] = {"a": 3.0}
    with pytest.raises(UsageError, match="Two validation scores are named 'train/c/a'"):
        _ = results.scores


def test_a_plan_adds_everything_it_has_computed():
    plan = SimpleNamespace(
        scores={"s": 1.0},
        arrays={"a": np.zeros(2)},
        plots={},
        score_collections={"sc": {"x": 1.0}},
        array_collections={"ac": {"x": np.ones(1)}},
        plot_collections={},
    )
    artifacts = Artifacts(scores={"earlier": 0.0})
    artifacts.add_plan(plan)
    assert artifacts.scores == {"earlier": 0.0, "s": 1.0}
    assert artifacts.score_collections == {"sc": {"x": 1.0}}
    assert artifacts.of_kind(ArtifactKind.ARRAY)["a"].tolist() == [0, 0]
    with pytest.raises(UsageError, match="both compute the score 's'"):
        artifacts.add_plan(plan)


def test_every_artifact_is_handed_to_the_hook_of_its_kind(open_figures):
    recorder, results = HookRecorder(), results_with_plots()
    artifacts = results.of_split(DataSplit.VALIDATION)
    for kind, value in (("score", 1.0), ("array", np.zeros(2))):
        artifacts.of_kind(ArtifactKind(kind))["x"] = value
        artifacts.of_kind(ArtifactKind(f"{kind}_collection"))["x"] = {"item": value}
    track_results(hooks_of(recorder), results, epoch=3, step=12)
    assert recorder.names == [f"track_{kind}" for kind in ArtifactKind]
    assert all(
        (each["split"], each["epoch"], each["step"]) == (DataSplit.VALIDATION, 3, 12) for _, each in recorder.calls
    )


def test_plots_are_open_for_every_tracker_and_closed_afterwards(open_figures):
    seen = []

    class Counting:
        @hookimpl
        def track_plot(self, value):
            seen.append(pyplot.fignum_exists(value.number))

        @hookimpl
        def track_plot_collection(self, value):
            seen.extend(pyplot.fignum_exists(figure.number) for figure in value.values())

    other = pyplot.figure()
    track_results(hooks_of(Counting(), Counting()), results_with_plots(), epoch=1, step=1)
    assert seen == [True] * 6
    assert open_figures() == [other.number]


def test_plots_are_closed_if_a_tracker_fails(open_figures):
    class Broken:
        @hookimpl
        def track_plot(self):
            raise OSError("no route to the tracking server")

    with pytest.raises(OSError, match="no route"):
        track_results(hooks_of(Broken()), results_with_plots(), epoch=1, step=1)
    assert open_figures() == []
