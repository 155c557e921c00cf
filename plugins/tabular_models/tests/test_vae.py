from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from artifact_torch_table_comparison import ColumnSchema, Table, TableSchema, table_from_frame
from artifact_torch_tabular_models import TableInput, TableVAE
from pandas.testing import assert_frame_equal

from artifact_torch import GenerationParams, UsageError, load_model

SMALL = {"latent_size": 2, "hidden_size": 32, "decoder_size": 16}


def dependent_table(num_rows: int = 1500) -> Table:
    """The taxon follows from the species; a bird has no weight, and a rodent's depends on its species."""
    random = np.random.default_rng(0)
    species = random.choice(["mouse", "rat", "wren"], num_rows, p=[0.5, 0.3, 0.2])
    weight = np.round(np.where(species == "mouse", 20, 200) * random.lognormal(0, 0.1, num_rows), 1)
    frame = pd.DataFrame(
        {
            "species": species,
            "weight": np.where(species == "wren", np.nan, weight),
            "taxon": np.where(species == "wren", "bird", "rodent"),
        }
    )
    return table_from_frame(frame)


def train(model: TableVAE, table: Table, *, steps: int) -> list[float]:
    codes = model.encode(table.frame)["codes"]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses: list[float] = []
    for _ in range(steps):
        output = model({"codes": codes[torch.randint(len(codes), (128,))]})
        optimizer.zero_grad()
        output["loss"].backward()
        optimizer.step()
        losses.append(output["loss"].item())
    return losses


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    # On small batches two threads on busy cores wait for each other up to a hundred times longer than they compute.
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def table() -> Table:
    return dependent_table()


@pytest.fixture(scope="module")
def trained(table: Table) -> TableVAE:
    torch.manual_seed(0)
    model = TableVAE.from_table(table, **SMALL)
    train(model, table, steps=200)
    return model


@pytest.fixture(scope="module")
def synthetic(trained: TableVAE) -> pd.DataFrame:
    return trained.generate(GenerationParams(num_samples=3000, seed=5))


def test_impossible_combinations_are_rare(synthetic: pd.DataFrame) -> None:
    is_wren = synthetic["species"] == "wren"
    assert (is_wren != (synthetic["taxon"] == "bird")).mean() < 0.01
    assert (is_wren != synthetic["weight"].isna()).mean() < 0.01
    is_mouse = synthetic["species"] == "mouse"
    assert (is_mouse & (synthetic["weight"] > 100)).mean() < 0.01


def test_shares_of_labels_and_of_missing_values_are_kept(table: Table, synthetic: pd.DataFrame) -> None:
    assert abs(synthetic["weight"].isna().mean() - table.frame["weight"].isna().mean()) < 0.05
    for species, share in table.frame["species"].value_counts(normalize=True).items():
        assert abs((synthetic["species"] == species).mean() - share) < 0.05


def test_training_lowers_the_loss_below_that_of_independent_columns(table: Table) -> None:
    torch.manual_seed(0)
    losses = train(TableVAE.from_table(table, **SMALL), table, steps=100)
    codes = TableVAE.from_table(table, **SMALL).encode(table.frame)["codes"]
    shares = [torch.bincount(column) / len(codes) for column in codes.T]
    independent = -sum((share[share > 0] * share[share > 0].log()).sum().item() for share in shares)
    assert np.mean(losses[-10:]) < independent - 0.5


def test_an_untrained_model_begins_near_the_frequencies_of_the_table(table: Table) -> None:
    torch.manual_seed(0)
    model = TableVAE.from_table(table, **SMALL)
    bias = model.decoder.head_bias[: model.table_encoder.sizes[0]].exp()
    frequencies = table.frame["species"].value_counts(normalize=True).to_numpy()
    assert np.allclose(bias.detach().numpy(), frequencies, atol=0.001)


def test_a_constant_column_is_reproduced_and_one_without_values_stays_missing() -> None:
    frame = pd.DataFrame({"year": [1977] * 40, "sex": ["F", "M"] * 20, "weight": pd.Series([np.nan] * 40)})
    columns = (
        ColumnSchema("year", "integer", "int64"),
        ColumnSchema("sex", "category", "object"),
        ColumnSchema("weight", "float", "float64"),
    )
    model = TableVAE.from_table(Table(frame, TableSchema(columns)), **SMALL)
    synthetic = model.generate(GenerationParams(num_samples=200))
    assert synthetic["year"].eq(1977).all()
    assert synthetic["weight"].isna().all()
    assert set(synthetic["sex"]) == {"F", "M"}


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(trained: TableVAE) -> None:
    first = trained.generate(GenerationParams(num_samples=300, seed=1))
    assert_frame_equal(first, trained.generate(GenerationParams(num_samples=300, seed=1)))
    assert not first.equals(trained.generate(GenerationParams(num_samples=300, seed=2)))


def test_more_rows_than_a_chunk_are_generated_and_differ_between_chunks(
    trained: TableVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifact_torch_tabular_models.vae.GENERATION_CHUNK", 64)
    synthetic = trained.generate(GenerationParams(num_samples=150, seed=1))
    assert len(synthetic) == 150
    assert synthetic["weight"].iloc[:64].tolist() != synthetic["weight"].iloc[64:128].tolist()


def test_generating_leaves_the_global_random_state_and_the_mode_alone(trained: TableVAE) -> None:
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    for mode in (True, False):
        trained.train(mode)
        trained.generate(GenerationParams(num_samples=10))
        assert trained.training is mode
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_the_global_random_state_does_not_change_what_is_generated(trained: TableVAE) -> None:
    torch.manual_seed(1)
    first = trained.generate(GenerationParams(num_samples=50))
    torch.manual_seed(2)
    assert_frame_equal(first, trained.generate(GenerationParams(num_samples=50)))


@pytest.mark.parametrize("num_samples", [0, -1])
def test_fewer_than_one_row_is_refused(trained: TableVAE, num_samples: int) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        trained.generate(GenerationParams(num_samples=num_samples))


def test_a_saved_model_generates_and_scores_identically(trained: TableVAE, table: Table, tmp_path: Path) -> None:
    path = trained.save(tmp_path / "model")
    again = load_model(path)
    assert isinstance(again, TableVAE)
    params = GenerationParams(num_samples=200, seed=9)
    assert_frame_equal(again.generate(params), trained.generate(params), check_exact=True)
    batch: TableInput = {"codes": trained.encode(table.frame)["codes"]}
    assert torch.equal(again.eval()(batch)["loss"], trained.eval()(batch)["loss"])
    assert again.schema == trained.schema


def test_decoding_step_by_step_agrees_with_decoding_all_columns_at_once(trained: TableVAE, table: Table) -> None:
    codes = trained.encode(table.frame.head(50))["codes"]
    entries = codes + trained.offsets
    latent = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        context = trained.decoder.from_latent(latent)
        stepwise = torch.zeros(())
        for column in range(3):
            logits = trained.decoder.logits(context, column)
            stepwise = stepwise + torch.nn.functional.cross_entropy(logits, codes[:, column])
            context = context + trained.decoder.embedding(entries[:, column])
        assert torch.allclose(stepwise, trained.decoder(latent, codes, entries), atol=1e-5)


def test_evaluation_is_deterministic_and_training_draws_the_latent(trained: TableVAE, table: Table) -> None:
    batch: TableInput = {"codes": trained.encode(table.frame)["codes"]}
    trained.eval()
    assert torch.equal(trained(batch)["loss"], trained(batch)["loss"])
    trained.train()
    assert not torch.equal(trained(batch)["loss"], trained(batch)["loss"])


def test_a_batch_of_one_row_can_be_trained_on(table: Table) -> None:
    model = TableVAE.from_table(table, **SMALL)
    output = model({"codes": model.encode(table.frame.head(1))["codes"]})
    output["loss"].backward()
    assert all(tensor.shape == () and tensor.isfinite() for tensor in output.values())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_table_of_one_column_and_one_row_works() -> None:
    table = Table(pd.DataFrame({"x": [3.5]}), TableSchema((ColumnSchema("x", "float", "float64"),)))
    model = TableVAE.from_table(table, **SMALL)
    model({"codes": model.encode(table.frame)["codes"]})["loss"].backward()
    assert model.generate(GenerationParams(num_samples=3))["x"].tolist() == [3.5] * 3


def test_rows_with_unseen_values_can_be_scored(trained: TableVAE) -> None:
    frame = pd.DataFrame({"species": ["bat", None], "weight": [1e9, -1e9], "taxon": ["mammal", "bird"]})
    assert trained({"codes": trained.encode(frame)["codes"]})["loss"].isfinite()


def test_no_latent_dimension_costs_less_than_its_free_bits(table: Table) -> None:
    model = TableVAE.from_table(table, **SMALL, free_bits=1.5)
    with torch.no_grad():
        output = model({"codes": model.encode(table.frame)["codes"]})
    assert output["divergence"] < 3.0
    assert torch.allclose(output["loss"] - output["reconstruction"], torch.tensor(3.0), atol=1e-4)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("latent_size", 0), ("hidden_size", -1), ("decoder_size", 0), ("free_bits", -0.1), ("free_bits", float("nan"))],
)
def test_parameters_out_of_range_are_refused_by_name(table: Table, parameter: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{parameter} is {value}"):
        TableVAE.from_table(table, **{**SMALL, parameter: value})
