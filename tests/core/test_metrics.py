"""The history of metrics drops nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact_torch import PluginError
from artifact_torch.core.metrics import MetricHistory, merge_metrics
from artifact_torch.plugin.hooks import Answer

NUMBERS = st.floats(allow_nan=False)
ROWS = st.lists(
    st.tuples(st.integers(0, 20), st.dictionaries(st.sampled_from("abcd"), NUMBERS, max_size=4)), max_size=15
)


@settings(deadline=None, max_examples=50)
@given(ROWS)
def test_everything_recorded_is_found_in_its_row_and_column(rows):
    history, expected = MetricHistory(), {}
    for number, values in rows:
        history.record_epoch(number, values)
        history.record_step(number, values)
        expected.setdefault(number, {}).update(values)
    for frame, index in ((history.epoch_frame(), "epoch"), (history.step_frame(), "step")):
        assert frame.index.name == index
        assert frame.index.tolist() == sorted(expected)
        assert set(frame.columns) == {name for values in expected.values() for name in values}
        for number, values in expected.items():
            row = frame.loc[number]
            assert {name: row[name] for name in values} == values
            assert all(math.isnan(row[name]) for name in frame.columns if name not in values)


@settings(deadline=None, max_examples=50)
@given(ROWS)
def test_the_history_goes_on_from_its_state(rows):
    history, restored = MetricHistory(), MetricHistory()
    for number, values in rows:
        history.record_epoch(number, values)
        history.record_step(number, values)
    restored.load_state_dict(history.state_dict())
    assert restored.epoch_frame().equals(history.epoch_frame())
    assert restored.step_frame().equals(history.step_frame())
    restored.record_epoch(99, {"later": 1.0})
    assert "later" not in history.epoch_frame().columns


def test_a_history_without_records_gives_an_empty_frame():
    frame = MetricHistory().epoch_frame()
    assert (len(frame), frame.index.name) == (0, "epoch")


def test_a_frame_is_a_copy():
    history = MetricHistory()
    history.record_epoch(1, {"a": 1.0})
    frame = history.epoch_frame()
    frame.loc[1, "a"] = 9.0
    assert history.latest("a") == 1.0


def test_the_latest_value_is_that_of_the_newest_epoch_that_has_one():
    history = MetricHistory()
    history.record_epoch(2, {"a": 2.0})
    history.record_epoch(1, {"a": 1.0, "b": 5.0})
    assert (history.latest("a"), history.latest("b"), history.latest("c")) == (2.0, 5.0, None)


def test_names_are_in_the_order_of_their_first_appearance():
    history = MetricHistory()
    history.record_epoch(1, {"z": 1.0})
    history.record_epoch(2, {"a": 1.0, "z": 1.0})
    assert history.epoch_names == ["z", "a"]
    assert history.of_epoch(2) == {"a": 1.0, "z": 1.0}
    assert history.of_epoch(7) == {}


def answers(*pairs):
    return [Answer(plugin, values, "log_epoch_metrics") for plugin, values in pairs]


def test_a_metric_that_depends_on_parameters_is_recorded_without_its_graph(recwarn):
    metric = torch.ones(1, requires_grad=True).sum()
    assert merge_metrics(answers(("one", {"a": metric})), "log_epoch_metrics", {}) == {"a": 1.0}
    assert not recwarn.list


def test_answers_of_several_plugins_are_joined_as_numbers():
    merged = merge_metrics(answers(("one", {"a": torch.tensor(1.5)}), ("two", {"b": 2, "c": True})), "hook", {})
    assert merged == {"a": 1.5, "b": 2.0, "c": 1.0}
    assert all(type(value) is float for value in merged.values())


def test_a_name_of_two_plugins_is_refused_naming_both():
    with pytest.raises(PluginError, match="'one' and 'two' both return a metric named 'a' from log_epoch_metrics"):
        merge_metrics(answers(("one", {"a": 1.0}), ("two", {"a": 1.0})), "log_epoch_metrics", {})


def test_a_name_that_is_taken_is_refused_naming_its_owner():
    with pytest.raises(PluginError, match="'the trainer' and 'one' both return a metric named 'loss'"):
        merge_metrics(answers(("one", {"loss": 1.0})), "log_epoch_metrics", {"loss": "the trainer"})
