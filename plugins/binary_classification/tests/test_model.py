"""The classifier: what it gives, what it refuses, and that a saved one is the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from artifact_torch_binary_classification import Classes, TabularClassifier, labelled_table
from artifact_torch_table_comparison import table_from_frame
from numpy.testing import assert_array_equal

from artifact_torch import UsageError, load_model


@pytest.fixture
def mixed():
    random = np.random.default_rng(0)
    num_rows = 60
    frame = pd.DataFrame(
        {
            "weight": np.where(random.random(num_rows) < 0.2, np.nan, random.normal(size=num_rows)),
            "born": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 999, num_rows), unit="D"),
            "colour": random.choice(["red", "blue", None], num_rows),
            "tame": random.random(num_rows) < 0.5,
            "label": random.random(num_rows) < 0.25,
        }
    )
    return labelled_table(table_from_frame(frame), "label")


@pytest.fixture
def model(mixed):
    torch.manual_seed(0)
    return TabularClassifier.from_table(mixed, hidden_size=8, dropout=0.5)


def batch_of(model, table):
    return {**model.encode(table.features.frame), "targets": torch.from_numpy(table.is_positive).float()}


def test_probabilities_are_between_0_and_1_one_for_each_row_whatever_the_batches(model, mixed):
    probabilities = model.predict(mixed.features.frame)
    assert probabilities.shape == (60,)
    assert probabilities.dtype == np.float64
    assert ((probabilities > 0) & (probabilities < 1)).all()
    np.testing.assert_allclose(model.predict(mixed.features.frame, batch_size=7), probabilities, rtol=1e-6)
    assert model.predict(mixed.features.frame.head(0)).shape == (0,)


def test_predicting_leaves_mode_and_random_state_alone(model, mixed):
    model.train()
    state = torch.get_rng_state()
    one, other = (model.predict(mixed.features.frame) for _ in range(2))
    assert_array_equal(one, other)  # no dropout
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_the_loss_is_the_binary_cross_entropy(model, mixed):
    model.eval()
    batch = batch_of(model, mixed)
    output = model(batch)
    probabilities = output["logits"].sigmoid()
    expected = -torch.where(batch["targets"] == 1, probabilities, 1 - probabilities).log().mean()
    torch.testing.assert_close(output["loss"], expected)
    del batch["targets"]
    assert model(batch)["loss"] == 0
    torch.testing.assert_close(model(batch)["logits"], output["logits"])


def test_a_weight_of_the_positive_class_counts_its_errors_as_often(mixed):
    torch.manual_seed(0)
    plain = TabularClassifier.from_table(mixed).eval()
    weighted = TabularClassifier.from_config({**plain.config(), "positive_weight": 3.0}).eval()
    weighted.load_state_dict(plain.state_dict())
    batch = batch_of(plain, mixed)
    positives, negatives = (
        torch.nn.functional.softplus(plain(batch)["logits"] * sign)[batch["targets"] == target].sum()
        for target, sign in ((1, -1), (0, 1))
    )
    torch.testing.assert_close(weighted(batch)["loss"], (3 * positives + negatives) / len(mixed))


def test_balanced_gives_both_classes_the_same_weight(mixed):
    num_positive = int(mixed.is_positive.sum())
    model = TabularClassifier.from_table(mixed, positive_weight="balanced")
    assert model.positive_weight == (60 - num_positive) / num_positive


def test_a_saved_model_is_found_by_its_name_and_gives_the_same_bits(model, mixed, tmp_path):
    again = load_model(model.save(tmp_path / "model"))
    assert isinstance(again, TabularClassifier)
    assert again.classes == Classes("label", "false", "true")
    assert again.schema == model.schema
    assert_array_equal(again.predict(mixed.features.frame), model.predict(mixed.features.frame))


def test_logits_beyond_single_precision_are_told_apart(model, mixed):
    with torch.no_grad():
        model.network[-1].bias.fill_(30.0)
    assert (model.predict(mixed.features.frame) < 1).all()


def test_a_model_of_numbers_alone_and_one_of_labels_alone_can_be_trained(tmp_path):
    for values in ([0.5, 0.25, 0.125, 1.0], ["a", "b", "a", "b"]):
        table = labelled_table(table_from_frame(pd.DataFrame({"only": values, "label": [0, 1, 0, 1]})), "label")
        model = TabularClassifier.from_table(table)
        model(batch_of(model, table))["loss"].backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"embedding_size": 0}, "embedding_size is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"positive_weight": 0.0}, "positive_weight is 0.0"),
        ({"positive_weight": float("inf")}, "positive_weight is inf"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message, mixed):
    with pytest.raises(UsageError, match=message):
        TabularClassifier.from_table(mixed, **parameters)
