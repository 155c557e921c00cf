from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from artifact_torch_callbacks import SamplePreview

from artifact_torch import (
    ArtifactKind,
    Callback,
    GenerationParams,
    GenerativeModel,
    Trainer,
    UsageError,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyModel, TinyPlan, tiny_loader

MakeTrainer = Callable[..., Trainer[Any, Any]]


class Generating(TinyModel, GenerativeModel[Any, Any, Any]):
    """Generates whatever is made of latents and predictions, and leaves no trace of its own, or some."""

    def __init__(self, made: Callable[[np.ndarray, np.ndarray], Any], *, careless: bool = False) -> None:
        super().__init__(dropout=0.1)
        self.made = made
        self.careless = careless
        self.modes: list[tuple[bool, bool]] = []

    def generate(self, params: GenerationParams) -> Any:
        self.modes.append((self.training, torch.is_grad_enabled()))
        if self.careless:
            torch.rand(1), np.random.rand(), random.random()
        latents = torch.randn(params.num_samples, 3, generator=torch.Generator().manual_seed(params.seed))
        return self.made(latents.numpy(), self.layers(latents).numpy())


def frame(latents: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"latent": latents[:, 0], "prediction": predictions[:, 0], "a, b": "x" * 40})


def validated(period: int | str = 1) -> ValidationRoutine:
    return ValidationRoutine(plans=[TinyPlan(kinds=[ArtifactKind.SCORE])], period=period, mode="inline")


class Results(Callback):
    def __init__(self) -> None:
        self.files: list[tuple[str, Path, int]] = []
        self.arrays: list[tuple[str, Any, int]] = []

    @hookimpl
    def track_file(self, name: str, path: Path, step: int) -> None:
        self.files.append((name, path, step))

    @hookimpl
    def track_array(self, name: str, value: np.ndarray, step: int) -> None:
        self.arrays.append((name, value, step))

    @hookimpl
    def track_array_collection(self, name: str, value: dict[str, np.ndarray], step: int) -> None:
        self.arrays.append((name, value, step))


def names(trainer: Trainer) -> list[str]:
    return sorted(path.name for path in (trainer.run.path / "samples").glob("*"))


def log_of(trainer: Trainer) -> str:
    return (trainer.run.path / "log.txt").read_text()


def test_is_found_by_name_and_shows_rows_at_each_validation(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "sample_preview") is SamplePreview
    results = Results()
    trainer = make_trainer(
        model=Generating(frame), epochs=4, callbacks=["sample_preview", results], validation=validated(2)
    )
    trainer.train()
    assert names(trainer) == ["epoch-2-step-8.csv", "epoch-4-step-16.csv"]
    folder = trainer.run.path / "samples"
    first, second = (pd.read_csv(folder / name) for name in names(trainer))
    assert len(first) == 5
    assert (first["latent"] == second["latent"]).all()  # the same latents ...
    assert (first["prediction"] != second["prediction"]).all()  # ... under another model
    assert results.files[:2] == [
        ("samples", folder / "epoch-2-step-8.csv", 8),
        ("samples", folder / "epoch-4-step-16.csv", 16),
    ]


def test_the_log_has_a_small_table(make_trainer: MakeTrainer) -> None:
    def wide(latents: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({f"column {number}": ["é" * 30] * len(latents) for number in range(40)})

    trainer = make_trainer(model=Generating(wide), epochs=1, callbacks=[SamplePreview(num_samples=3)])
    trainer.train()
    head, *rows = log_of(trainer).split("Samples after epoch 1, step 4:\n")[1].splitlines()[:4]
    assert "column 0" in head
    assert "..." in head
    assert "column 39" in head
    assert all(len(row) < 250 for row in rows)
    assert pd.read_csv(trainer.run.path / "samples" / "epoch-1-step-4.csv").shape == (3, 40)  # the file has all


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("3 steps", ["epoch-1-step-3.csv", "epoch-2-step-6.csv", "epoch-3-step-12.csv", "epoch-3-step-9.csv"]),
        (2, ["epoch-2-step-8.csv"]),
        ("1 hour", []),
        (None, ["epoch-1-step-4.csv", "epoch-2-step-8.csv", "epoch-3-step-12.csv"]),
    ],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_period_of_its_own(
    make_trainer: MakeTrainer, period: int | str | None, expected: list[str], accumulate: int
) -> None:
    preview = SamplePreview(period=period)
    loader = tiny_loader(64 * accumulate)
    trainer = make_trainer(model=Generating(frame), loader=loader, epochs=3, callbacks=[preview], accumulate=accumulate)
    trainer.train()
    assert names(trainer) == expected


def test_a_period_of_its_own_goes_before_those_of_validation(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(model=Generating(frame), callbacks=[SamplePreview(period=2)], validation=validated())
    trainer.train()
    assert names(trainer) == ["epoch-2-step-8.csv"]


def test_the_validation_within_epochs_counts_too(make_trainer: MakeTrainer) -> None:
    model = Generating(frame)
    plans = [TinyPlan(kinds=[ArtifactKind.SCORE], period="2 steps"), TinyPlan(kinds=[ArtifactKind.ARRAY])]
    plans[1].name = "other"
    trainer = make_trainer(
        model=model, callbacks=[SamplePreview()], validation=ValidationRoutine(plans=plans, mode="inline")
    )
    trainer.train()
    assert names(trainer) == [f"epoch-{epoch}-step-{step}.csv" for epoch, step in ((1, 2), (1, 4), (2, 6), (2, 8))]
    assert len(model.modes) == 4  # not twice for what two parts of a validation are due after


@pytest.mark.parametrize("period", [None, 1, "2 steps"])
def test_evaluation_mode_no_gradients_and_no_trace(make_trainer: MakeTrainer, period: int | str | None) -> None:
    model = Generating(frame, careless=True)
    with_preview = make_trainer(model=model, epochs=3, callbacks=[SamplePreview(period=period)], validation=validated())
    without = make_trainer(model=Generating(frame), epochs=3, validation=validated())
    for trainer in (with_preview, without):
        trainer.train()
    assert set(model.modes) == {(False, False)}
    assert with_preview.plugins.warnings == []
    for one, other in zip(with_preview.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_averaged_weights_are_shown_if_there_are_any(make_trainer: MakeTrainer) -> None:
    class Swapped(Callback):
        """Puts other weights in for evaluations."""

        changes_training = True

        @hookimpl
        def on_evaluation_start(self, trainer: Trainer) -> None:
            self.kept = {name: value.clone() for name, value in trainer.model.state_dict().items()}
            with torch.no_grad():
                trainer.model.layers[1].bias.fill_(1000.0)

        @hookimpl
        def on_evaluation_end(self, trainer: Trainer) -> None:
            trainer.model.load_state_dict(self.kept)

    trainer = make_trainer(model=Generating(frame), callbacks=[SamplePreview(period=1), Swapped()])
    trainer.train()
    for name in names(trainer):
        assert (pd.read_csv(trainer.run.path / "samples" / name)["prediction"] > 900).all()
    assert trainer.model.layers[1].bias.item() < 900


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda latents, _: latents, np.ndarray),
        (lambda latents, _: torch.from_numpy(latents).bfloat16(), np.ndarray),
        (lambda latents, predictions: {"latents": latents, "predictions": predictions}, dict),
        (lambda latents, _: list(torch.from_numpy(latents)), dict),
    ],
)
def test_arrays_are_tracked_as_arrays(make_trainer: MakeTrainer, made: Any, kind: type) -> None:
    results = Results()
    trainer = make_trainer(model=Generating(made), epochs=1, callbacks=[SamplePreview(num_samples=2, seed=5), results])
    trainer.train()
    ((name, value, step),) = results.arrays
    assert (name, step) == ("batch/samples", 4)
    assert type(value) is kind
    latents = torch.randn(2, 3, generator=torch.Generator().manual_seed(5)).numpy()
    if isinstance(value, dict):
        value = value["latents"] if "latents" in value else np.stack([value["1"], value["2"]])
    np.testing.assert_allclose(value, latents, rtol=1e-2)
    assert list(trainer.run.path.glob("artifacts/array*/batch*/**/*.npy"))


def test_texts_are_lines(make_trainer: MakeTrainer) -> None:
    texts = ["two\nlines", "ü" * 300]
    trainer = make_trainer(model=Generating(lambda *_: texts), epochs=1, callbacks=[SamplePreview(num_samples=2)])
    trainer.train()
    written = (trainer.run.path / "samples" / "epoch-1-step-4.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in written.splitlines()] == texts
    first, second = log_of(trainer).split("Samples after epoch 1, step 4:\n")[1].splitlines()[:2]
    assert first == r'"two\nlines"'
    assert len(second) == 203


def test_what_cannot_be_shown_is_told(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(model=Generating(lambda *_: 3.0), callbacks=[SamplePreview()])
    with pytest.raises(UsageError, match=r"cannot show what the model generates \(float\): it knows data frames"):
        trainer.train()


def test_a_model_that_does_not_generate_is_refused_at_the_start(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[SamplePreview()])
    with pytest.raises(UsageError, match=r"and TinyModel does not: derive it from artifact_torch\.GenerativeModel"):
        trainer.train()
    assert trainer.state.step == 0


def test_a_rehearsal_generates_and_shows_nothing(make_trainer: MakeTrainer) -> None:
    model = Generating(frame)
    trainer = make_trainer(
        model=model, epochs=1, callbacks=[SamplePreview()], validation=validated(), sanity_validation=True
    )
    trainer.train()
    assert len(model.modes) == 2
    assert names(trainer) == ["epoch-1-step-4.csv"]


def test_validating_by_hand_shows_samples_too(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(model=Generating(frame), callbacks=[SamplePreview()], validation=validated())
    trainer.validate()
    assert names(trainer) == ["epoch-0-step-0.csv"]


def test_a_resumed_training_shows_the_same(make_trainer: MakeTrainer) -> None:
    def new(epochs: int) -> Trainer:
        return make_trainer(model=Generating(frame), epochs=epochs, callbacks=[SamplePreview()], validation=validated())

    whole, first, resumed = new(4), new(2), new(4)
    whole.train()
    first.train()
    resumed.load_checkpoint(first.save_checkpoint())
    resumed.train()
    assert names(resumed) == names(whole)[2:]
    for name in names(resumed):
        assert (resumed.run.path / "samples" / name).read_text() == (whole.run.path / "samples" / name).read_text()


def test_samples_that_cannot_be_written_are_a_warning(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(model=Generating(frame), callbacks=[SamplePreview()])
    (trainer.run.path / "samples").write_text("a file where the folder should be")
    assert trainer.train().epochs == 2
    assert "WARNING The samples cannot be written to" in log_of(trainer)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_samples": 0}, "at least 1 sample, not 0"), ({"period": "now"}, "'now' is no period")],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SamplePreview(**options)


def test_parameters_are_taken_from_a_configuration() -> None:
    given = {"num_samples": 3, "seed": 7, "period": "500 steps"}
    preview = SamplePreview(
        **validated_parameters(SamplePreview, given, source="t", section="callbacks.sample_preview")
    )
    assert preview.params == GenerationParams(num_samples=3, seed=7)
    assert str(preview.period) == "500 steps"
