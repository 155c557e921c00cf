from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from artifact_torch_callbacks import ActivationStatistics
from artifact_torch_callbacks.densities import MOST_PANELS, density_figure, thinned
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib import pyplot
from torch import Tensor, nn

from artifact_torch import Callback, Model, Trainer, UsageError, ValidationRoutine, hookimpl
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyInput, TinyModel, TinyOutput, tiny_loader

MakeTrainer = Callable[..., Trainer]


class Reference:
    """Keeps what each module of a model gives in training, by path."""

    def __init__(self, model: nn.Module) -> None:
        self.batches: dict[str, list[np.ndarray]] = {}
        for path, module in model.named_modules():
            module.register_forward_hook(self._keep(path))

    def _keep(self, path: str) -> Any:
        def keep(module: nn.Module, _: object, output: object) -> None:
            if module.training and isinstance(output, Tensor):
                self.batches.setdefault(path, []).append(output.detach().double().numpy().copy())

        return keep

    def of(self, path: str, *batches: int) -> np.ndarray:
        """What a module gave for batches, counted from 0, in one dimension."""
        return np.concatenate([self.batches[path][batch].ravel() for batch in batches])


class Layers(Model[TinyInput, TinyOutput]):
    """Two linear layers of one shape with a ReLU between them, that changes its input in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 3))
        self.head = nn.Linear(3, 1)

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, batch: TinyInput) -> TinyOutput:
        prediction = self.head(self.body(batch["features"]))
        return {"prediction": prediction, "loss": nn.functional.mse_loss(prediction, batch["target"])}


def num_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def train(make_trainer: MakeTrainer, *callbacks: Callback, model: Model | None = None, **options: Any) -> Trainer:
    trainer = make_trainer(model or Layers(), **{"callbacks": callbacks, **options})
    trainer.train()
    return trainer


def of_step(trainer: Trainer, step: int, path: str) -> dict[str, float]:
    """Statistic -> number of a module in a step, as recorded."""
    row = trainer.batch_metrics.loc[step]
    return {what: row[f"activations/{what}/{path}"] for what in ("mean", "std", "zeros", "nonfinite")}


def expected(values: np.ndarray) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    numbers = {
        "mean": finite.mean() if len(finite) else math.nan,
        "std": finite.std() if len(finite) else math.nan,
        "zeros": (values == 0).mean(),
        "nonfinite": 1 - len(finite) / len(values),
    }
    return {what: pytest.approx(number, rel=1e-4, abs=1e-6, nan_ok=True) for what, number in numbers.items()}


def test_it_is_found_by_name_and_rests_in_a_training_of_fewer_than_50_steps(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "activation_statistics") is ActivationStatistics
    trainer = make_trainer(callbacks=["activation_statistics"], epochs=13, log_every=1000)
    trainer.train()
    assert trainer.batch_metrics.index.tolist() == [50]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_modules_are_described_as_numpy_describes_what_they_gave(make_trainer: MakeTrainer, accumulate: int) -> None:
    model = Layers()
    reference = Reference(model)
    routine = ValidationRoutine(val_loader=tiny_loader(8, seed=1), period="1 step")  # which is not to be seen
    trainer = train(
        make_trainer,
        ActivationStatistics(period="2 steps"),
        model=model,
        accumulate=accumulate,
        validation=routine,
    )
    # Of 2 x 4 batches, a step takes three and then, at the end of the epoch, one.
    batches = {2: (1,), 4: (3,)} if accumulate == 1 else {2: (3,), 4: (7,)}
    if accumulate == 3:
        assert trainer.batch_metrics.index.tolist() == [2, 4]
    for step, those in batches.items():
        for path in ("body.0", "body.2", "head"):
            assert of_step(trainer, step, path) == expected(reference.of(path, *those))
        relu = of_step(trainer, step, "body.1")
        assert relu == expected(reference.of("body.1", *those))
        assert 0 < relu["zeros"] < 1
    assert not [name for name in trainer.batch_metrics if name.endswith("/body")]  # it has modules inside


def test_all_batches_of_a_step_are_taken_together(make_trainer: MakeTrainer) -> None:
    model = Layers()
    reference = Reference(model)
    trainer = train(make_trainer, ActivationStatistics(period="1 step"), model=model, accumulate=3)
    assert of_step(trainer, 1, "head") == expected(reference.of("head", 0, 1, 2))
    assert of_step(trainer, 3, "body.1") == expected(reference.of("body.1", 4, 5, 6))


def test_layers_of_one_class_and_shape_are_told_apart(make_trainer: MakeTrainer) -> None:
    found = train(make_trainer, ActivationStatistics(period="1 step")).batch_metrics
    assert (found["activations/mean/body.0"] != found["activations/mean/body.2"]).all()


def test_a_module_that_is_called_several_times_is_described_once(make_trainer: MakeTrainer) -> None:
    class Twice(Layers):
        def forward(self, batch: TinyInput) -> TinyOutput:
            prediction = self.head(self.body(self.body(batch["features"])))
            return {"prediction": prediction, "loss": nn.functional.mse_loss(prediction, batch["target"])}

    model = Twice()
    reference = Reference(model)
    trainer = train(make_trainer, ActivationStatistics(period="1 step", modules=["body.2", "head"]), model=model)
    assert of_step(trainer, 1, "body.2") == expected(reference.of("body.2", 0, 1))


def test_patterns_choose_modules(make_trainer: MakeTrainer) -> None:
    trainer = train(make_trainer, ActivationStatistics(period="1 step", modules=["body", "h*"], name="chosen"))
    means = [name for name in trainer.batch_metrics if name.startswith("chosen/mean/")]
    assert means == ["chosen/mean/body", "chosen/mean/head"]


class Gives(TinyModel):
    """A model with a module that gives what it is told to."""

    def __init__(self, given: Tensor) -> None:
        super().__init__(dropout=0.0)
        self.given = nn.Identity()
        self.value = given

    def forward(self, batch: TinyInput) -> TinyOutput:
        self.given(self.value)
        return super().forward(batch)


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([0.0, -1.0, math.nan, 3.0]),
        torch.tensor([math.inf, -math.inf, 0.0, 0.0]),
        torch.full((3,), math.nan),
        torch.zeros(2, 3),
        torch.tensor(4.0),
        torch.tensor([1, 0, 2]),
        torch.tensor([True, False, False]),
        torch.arange(6.0).bfloat16(),
        torch.tensor([60000.0, 60000.0, -60000.0], dtype=torch.float16),
        torch.tensor([1e200, -1e200, 0.0], dtype=torch.float64) * 1e-190,
        torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 1e-3 + 1000,
    ],
    ids=str,
)
def test_values_of_all_kinds_are_described(make_trainer: MakeTrainer, values: Tensor) -> None:
    statistics = ActivationStatistics(period="1 step", modules=["given"])
    trainer = train(make_trainer, statistics, model=Gives(values), epochs=1)
    found = of_step(trainer, 1, "given")
    wanted = expected(values.double().numpy().ravel())
    if values.numel() == 1000:
        wanted["std"] = pytest.approx(values.double().numpy().std(), rel=0.01)  # six digits of seven are the mean's
    assert found == wanted


def test_complex_values_are_described_by_their_parts(make_trainer: MakeTrainer) -> None:
    values = torch.tensor([1 + 2j, 3 - 4j])
    trainer = train(make_trainer, ActivationStatistics(period="1 step", modules=["given"]), model=Gives(values))
    assert of_step(trainer, 1, "given") == expected(np.array([1.0, 2.0, 3.0, -4.0]))


def test_an_output_without_numbers_is_left_out(make_trainer: MakeTrainer) -> None:
    statistics = ActivationStatistics(period="1 step", modules=["given"], plot=True)
    trainer = train(make_trainer, statistics, model=Gives(torch.zeros(0, 3)), log_every=100)
    assert list(trainer.batch_metrics) == []
    assert not (trainer.run.path / "artifacts").exists()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e3, 1e3, width=32) | st.just(math.nan)),
        min_size=1,
        max_size=4,
    )
)
def test_several_outputs_are_described_as_one(parts: list[np.ndarray]) -> None:
    statistics = ActivationStatistics()
    statistics.reset()
    for part in parts:
        statistics.observe("layer", nn.Identity(), torch.from_numpy(part))
    found = statistics.compute()
    values = np.concatenate(parts).astype(np.float64)
    wanted = expected(values)
    finite = values[np.isfinite(values)]
    if len(finite):
        size = np.abs(finite).max()
        wanted["mean"] = pytest.approx(finite.mean(), abs=1e-5 * size + 1e-9)
        wanted["std"] = pytest.approx(finite.std(), abs=1e-5 * size + 1e-9)
    assert {name.removesuffix("/layer"): number for name, number in found.items()} == wanted


def test_modules_are_hooked_in_steps_that_are_due_only(make_trainer: MakeTrainer) -> None:
    class Look(Callback):
        hooked: list[int] = []

        @hookimpl
        def on_before_optimizer_step(self, trainer: Trainer) -> None:
            self.hooked.append(num_hooks(trainer.model))

    look = Look()
    trainer = train(make_trainer, ActivationStatistics(period="3 steps"), look)
    assert look.hooked == [0, 0, 4, 0, 0, 4, 0, 0]
    assert num_hooks(trainer.model) == 0
    times = trainer.plugin_times
    assert times[(times["plugin"] == "ActivationStatistics") & times["hook"].str.contains("batch")]["calls"].sum() == 4


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception_in_a_step_that_is_due(
    make_trainer: MakeTrainer, error: type[BaseException]
) -> None:
    class Fail(Callback):
        @hookimpl
        def on_before_optimizer_step(self, trainer: Trainer) -> None:
            assert num_hooks(trainer.model) == 4
            assert statistics._parts
            raise error("in the step")

    statistics = ActivationStatistics(period="1 step", plot=True)
    trainer = make_trainer(Layers(), callbacks=[statistics, Fail()])
    with pytest.raises(error, match="in the step"):
        trainer.train()
    assert num_hooks(trainer.model) == 0
    assert (statistics._parts, statistics._samples) == ({}, {})


def test_nothing_is_left_after_an_interruption_within_a_step_and_training_goes_on(make_trainer: MakeTrainer) -> None:
    class Interrupt(Callback):
        batches = 0

        @hookimpl
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            self.batches += 1
            if self.batches == 2:
                self.checkpoint = trainer.save_checkpoint()
                raise KeyboardInterrupt

    interrupt = Interrupt()
    trainer = make_trainer(Layers(), callbacks=[ActivationStatistics(period="1 step"), interrupt], accumulate=3)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert num_hooks(trainer.model) == 0
    model = Layers()
    resumed = make_trainer(model, callbacks=[ActivationStatistics(period="1 step")], accumulate=3)
    resumed.load_checkpoint(interrupt.checkpoint)
    reference = Reference(model)
    resumed.train()
    assert of_step(resumed, 1, "head") == expected(reference.of("head", 0))  # the third batch, of the first step
    assert of_step(resumed, 2, "head") == expected(reference.of("head", 1))


def test_a_training_that_is_resumed_records_the_same(make_trainer: MakeTrainer) -> None:
    class SaveInEpoch(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            if trainer.state.step == 3:
                self.checkpoint = trainer.save_checkpoint()

    saving = SaveInEpoch()
    whole = train(make_trainer, ActivationStatistics(period="2 steps"), saving)
    resumed = make_trainer(Layers(), callbacks=[ActivationStatistics(period="2 steps")])
    resumed.load_checkpoint(saving.checkpoint)
    resumed.train()
    assert resumed.batch_metrics.equals(whole.batch_metrics)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_is_the_same_with_it(make_trainer: MakeTrainer, precision: str) -> None:
    statistics = ActivationStatistics(period="1 step", plot=True)
    model = TinyModel(dropout=0.5)
    with_it = train(make_trainer, statistics, model=model, precision=precision, epochs=1)
    without = train(make_trainer, model=TinyModel(dropout=0.5), precision=precision, epochs=1)
    assert all(map(torch.equal, with_it.model.parameters(), without.model.parameters()))


def test_it_works_in_a_rehearsal(make_trainer: MakeTrainer) -> None:
    trainer = train(make_trainer, ActivationStatistics(period=1), fast_dev_run=True)
    assert trainer.batch_metrics["activations/nonfinite/head"].tolist() == [0]


def test_a_plot_is_drawn_each_time_and_no_figure_stays_open(make_trainer: MakeTrainer) -> None:
    trainer = train(make_trainer, ActivationStatistics(period="4 steps", plot=True, name="mine"))
    drawn = sorted(path.name for path in (trainer.run.path / "artifacts" / "plot").rglob("*.png"))
    assert drawn == ["epoch-1-step-4-train.png", "epoch-2-step-8-train.png"]
    assert pyplot.get_fignums() == []


def texts_of(figure: Any) -> list[str]:
    titles = [axes.get_title() for axes in figure.axes if axes.axison]
    remarks = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [*titles, *remarks, *(text.get_text() for text in figure.texts)]


def test_a_figure_has_a_panel_for_each_of_a_few_distributions() -> None:
    samples = {
        "normal": [torch.randn(900), torch.randn(100)],
        "half.dead": [torch.tensor([0.0, 0.0, 1.0, 2.0])],
        "dead": [torch.zeros(5)],
        "broken": [torch.tensor([1.0, 2.0, math.nan])],
        "constant": [torch.full((7,), 3.0)],
        "none": [torch.zeros(0)],
    }
    texts = texts_of(density_figure(samples, title="What they give", others=""))
    assert texts[:9] == [*samples, "50 % zeros", "100 % zeros", "33.3 % not finite"]
    assert texts[9] == "What they give"
    assert "are shown" not in texts[10]


def test_the_density_of_a_panel_is_that_of_the_values_that_are_not_zero() -> None:
    values = torch.cat([torch.zeros(5000), torch.randn(10_000, generator=torch.Generator().manual_seed(0))])
    figure = density_figure({"values": [values]}, title="", others="")
    ((stairs,),) = ([*axes.patches] for axes in figure.axes if axes.axison)
    density, edges, _ = stairs.get_data()
    middles = (edges[1:] + edges[:-1]) / 2
    assert (density * np.diff(edges)).sum() == pytest.approx(1)
    assert density == pytest.approx(np.exp(-(middles**2) / 2) / math.sqrt(2 * math.pi), abs=0.06)


@settings(deadline=None, max_examples=30)
@given(
    arrays.arrays(
        np.float32, st.integers(0, 40), elements=st.floats(width=32) | st.sampled_from([0.0, 1.0, 1.0000001, 1e-45])
    )
)
def test_a_panel_of_any_values_can_be_drawn(values: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = density_figure({"values": [torch.from_numpy(values)]}, title="", others="")
        figure.draw_without_rendering()


def test_of_many_distributions_some_are_shown_and_the_figure_says_so() -> None:
    samples = {f"encoder.layers.{number}.attention.projection.output": [torch.randn(10)] for number in range(100)}
    texts = texts_of(density_figure(samples, title="Many", others="choose others with modules"))
    titles = texts[:MOST_PANELS]
    assert len(set(titles)) == MOST_PANELS
    assert titles[0].endswith(".0.attention.projection.output")
    assert titles[-1].endswith(".99.attention.projection.output")
    assert all(len(title) <= 36 for title in titles)
    assert texts[-1].startswith("24 of 100 are shown, evenly spaced: choose others with modules.\n")
    assert len(texts) == MOST_PANELS + 2


@pytest.mark.parametrize("size", [0, 1, 20_000, 20_001, 100_000])
def test_at_most_20000_values_are_kept_for_a_plot(size: int) -> None:
    values = torch.arange(float(size))
    kept = thinned(values)
    assert len(kept) <= 20_000
    assert len(kept) >= min(size, 10_000)
    assert size == 0 or (kept[0] == 0 and kept[-1] >= 0.99 * (size - 1))
    values.zero_()
    assert kept.sum() > 0 or size < 2  # a copy, which keeps no storage alive


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "needs a name"),
        ({"period": "often"}, "'often' is no period"),
        ({"modules": "body.*"}, r"is a list of patterns: write \['body.\*'\]"),
        ({"modules": []}, "names no module"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ActivationStatistics(**options)


def test_a_plot_without_matplotlib_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="ActivationStatistics draws with matplotlib, which is not installed: `pip"):
        ActivationStatistics(plot=True)
    assert not ActivationStatistics().plot


def test_a_pattern_that_no_module_has_is_told(make_trainer: MakeTrainer) -> None:
    with pytest.raises(UsageError, match=r"ActivationStatistics observes the modules encoder.\*.*it has body"):
        train(make_trainer, ActivationStatistics(modules=["encoder.*"]))


def test_parameters_are_taken_from_a_configuration(tmp_path: Path) -> None:
    given = {"period": "10 minutes", "modules": ["encoder.*"], "plot": True}
    section = "callbacks.activation_statistics"
    parameters = validated_parameters(ActivationStatistics, given, source="test", section=section)
    assert ActivationStatistics(**parameters).modules == ("encoder.*",)
