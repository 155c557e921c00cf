from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from artifact_torch_callbacks import GradientStatistics
from torch import Tensor, nn

from artifact_torch import (
    Callback,
    DivergedError,
    Model,
    TrackedResult,
    TrackingCallback,
    Trainer,
    UsageError,
    hookimpl,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyInput, TinyModel, TinyOutput, tiny_loader

MakeTrainer = Callable[..., Trainer]


class TwoLayers(Model[TinyInput, TinyOutput]):
    """Two linear layers of one shape, a frozen one, a scale of the model's own, and weights that nothing depends on."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 3)
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(3, 3))
        self.frozen = nn.Linear(3, 1).requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(1))
        self.unused = nn.Parameter(torch.ones(2))

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, batch: TinyInput) -> TinyOutput:
        prediction = self.scale * self.frozen(self.body(self.first(batch["features"])))
        return {"prediction": prediction, "loss": nn.functional.mse_loss(prediction, batch["target"])}


class Reference(Callback):
    """Keeps the gradients and the parameters around each step, by parameter."""

    def __init__(self) -> None:
        self.steps: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]] = []
        self._before: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None = None

    @hookimpl(tryfirst=True)
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        gradients = {
            path: parameter.grad.double().numpy().copy()
            for path, parameter in trainer.model.named_parameters()
            if parameter.grad is not None
        }
        self._before = gradients, _copied(trainer.model)

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if self._before is not None:
            self.steps.append((*self._before, _copied(trainer.model)))
            self._before = None

    def expected(self, step: int, *groups: str) -> tuple[float, float]:
        """The norm of the gradient and the update ratio of the parameters of these paths together, after numpy."""
        gradients, before, after = self.steps[step - 1]
        norm = _norm(gradients[path] for path in groups if path in gradients)
        return norm, _norm(after[path] - before[path] for path in groups) / _norm(before[path] for path in groups)


def _copied(model: nn.Module) -> dict[str, np.ndarray]:
    return {path: each.detach().double().numpy().copy() for path, each in model.named_parameters()}


def _norm(arrays: Any) -> float:
    return float(np.linalg.norm(np.concatenate([array.ravel() for array in arrays] or [np.zeros(1)])))


def of_step(trainer: Trainer, step: int, what: str) -> dict[str, float]:
    """Path -> number of a step, as recorded."""
    row = trainer.batch_metrics.loc[step].dropna()
    return {name.removeprefix(f"gradients/{what}/"): row[name] for name in row.index if f"gradients/{what}/" in name}


def train(make_trainer: MakeTrainer, *callbacks: Callback, **options: Any) -> Trainer:
    model = options.pop("model", None) or TwoLayers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = make_trainer(model, **{"optimizer": optimizer, "callbacks": callbacks, **options})
    trainer.train()
    return trainer


def test_it_is_found_by_name_and_rests_in_a_training_of_fewer_than_50_steps(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "gradient_statistics") is GradientStatistics
    trainer = make_trainer(callbacks=["gradient_statistics"], epochs=13)
    trainer.train()
    assert [name for name in trainer.batch_metrics if "gradients" in name]
    assert trainer.batch_metrics.index.tolist() == [50]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_each_module_has_the_numbers_of_its_own_parameters(make_trainer: MakeTrainer, accumulate: int) -> None:
    reference = Reference()
    trainer = train(
        make_trainer, GradientStatistics(period="2 steps"), reference, accumulate=accumulate, clip_gradient_norm=0.01
    )
    modules = {
        "first": ("first.weight", "first.bias"),
        "body.1": ("body.1.weight", "body.1.bias"),
        "the model": ("scale", "unused"),
    }
    assert trainer.batch_metrics.index.tolist() == ([2, 4, 6, 8] if accumulate == 1 else [2, 4])
    for step in trainer.batch_metrics.index:
        norms, ratios = of_step(trainer, step, "norm"), of_step(trainer, step, "ratio")
        assert set(norms) == set(ratios) == set(modules)
        for module, parameters in modules.items():
            assert (norms[module], ratios[module]) == pytest.approx(reference.expected(step, *parameters), rel=1e-5)
        totals = trainer.batch_metrics.loc[step, ["gradients/total_norm", "gradients/total_ratio"]]
        everything = [path for paths in modules.values() for path in paths]
        assert totals.tolist() == pytest.approx(reference.expected(step, *everything), rel=1e-5)
        assert totals["gradients/total_norm"] > 0.01  # before it is clipped


def test_each_parameter_has_numbers_of_its_own(make_trainer: MakeTrainer) -> None:
    reference = Reference()
    trainer = train(make_trainer, GradientStatistics(period="4 steps", by="parameter"), reference)
    norms, ratios = of_step(trainer, 8, "norm"), of_step(trainer, 8, "ratio")
    trained = {"first.weight", "first.bias", "body.1.weight", "body.1.bias", "scale"}
    assert (set(norms), set(ratios)) == (trained, trained | {"unused"})
    for path in trained:
        assert (norms[path], ratios[path]) == pytest.approx(reference.expected(8, path), rel=1e-5)
    assert ratios["unused"] == 0


def test_layers_of_one_class_and_shape_are_told_apart(make_trainer: MakeTrainer) -> None:
    trainer = train(make_trainer, GradientStatistics(period="1 step"))
    found = trainer.batch_metrics
    assert (found["gradients/norm/first"] != found["gradients/norm/body.1"]).all()


def test_a_module_named_model_is_not_the_model_itself(make_trainer: MakeTrainer) -> None:
    class Nested(TwoLayers):
        def __init__(self) -> None:
            super().__init__()
            self.model = self.first
            del self.first

        def forward(self, batch: TinyInput) -> TinyOutput:
            self.__dict__["first"] = self.model
            return super().forward(batch)

    trainer = train(make_trainer, GradientStatistics(period="1 step"), model=Nested())
    assert set(of_step(trainer, 1, "norm")) == {"model", "body.1", "the model"}


def test_weights_that_modules_share_are_there_once(make_trainer: MakeTrainer) -> None:
    class Tied(TwoLayers):
        def __init__(self) -> None:
            super().__init__()
            self.body[1].weight = self.first.weight

    reference = Reference()
    trainer = train(make_trainer, GradientStatistics(period="1 step", by="parameter"), reference, model=Tied())
    norms = of_step(trainer, 3, "norm")
    assert "body.1.weight" not in norms
    assert norms["first.weight"] == pytest.approx(reference.expected(3, "first.weight")[0], rel=1e-5)


def test_the_gradient_is_the_one_before_a_callback_clips_it(make_trainer: MakeTrainer) -> None:
    class Clip(Callback):
        changes_training = True
        priority = 100

        @hookimpl
        def on_before_optimizer_step(self, trainer: Trainer) -> None:
            nn.utils.clip_grad_norm_(trainer.model.parameters(), 1e-3)

    trainer = train(make_trainer, Clip(), GradientStatistics(period="1 step"))
    assert (trainer.batch_metrics["gradients/total_norm"] > 1e-3).all()


class Poisoned(TwoLayers):
    """Its loss or its gradient is not finite in the second step."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.calls = 0

    def forward(self, batch: TinyInput) -> TinyOutput:
        output = super().forward(batch)
        self.calls += 1
        if self.calls == 2 and self.what == "loss":
            output["loss"] = output["loss"] * float("nan")
        elif self.calls == 2:
            output["loss"] = output["loss"] + torch.where(self.scale > 0, 0.0, self.scale.sqrt() / 0.0).sum()
        return output


@pytest.mark.parametrize(("what", "precision"), [("loss", "fp32"), ("gradient", "fp32"), ("gradient", "bf16")])
def test_a_step_that_is_left_out_has_the_ratio_0(make_trainer: MakeTrainer, what: str, precision: str) -> None:
    model = Poisoned(what)
    statistics = GradientStatistics(period="1 step")
    trainer = train(make_trainer, statistics, model=model, on_nonfinite="skip", precision=precision)
    assert trainer.optimization.guard.skipped == 1
    ratios = of_step(trainer, 2, "ratio")
    assert set(ratios.values()) == {0.0}
    assert trainer.batch_metrics.loc[2, "gradients/total_ratio"] == 0
    norm = trainer.batch_metrics.loc[2].get("gradients/total_norm")
    assert not np.isfinite(norm)  # none at all, or not finite
    assert trainer.batch_metrics.loc[3, "gradients/total_ratio"] > 0


def test_weights_that_are_all_zeros_have_no_ratio(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(TinyModel(dropout=0.0), callbacks=[GradientStatistics(period="1 step", by="parameter")])
    trainer.train()
    assert of_step(trainer, 1, "ratio") == {}
    assert set(of_step(trainer, 2, "ratio")) == {"layers.1.weight", "layers.1.bias"}
    assert set(of_step(trainer, 1, "norm")) == {"layers.1.weight", "layers.1.bias"}
    assert np.isnan(trainer.batch_metrics.loc[1, "gradients/total_ratio"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64])
def test_parameters_of_other_types_are_measured(make_trainer: MakeTrainer, dtype: torch.dtype) -> None:
    class Typed(TinyModel):
        def __init__(self) -> None:
            super().__init__(dropout=0.0)
            self.weight = nn.Parameter(torch.full((3,), 2.0, dtype=dtype))

        def forward(self, batch: TinyInput) -> TinyOutput:
            weight = self.weight.abs() if dtype.is_complex else self.weight
            prediction = (batch["features"] * weight.float()).sum(dim=1, keepdim=True)
            return {"prediction": prediction, "loss": nn.functional.mse_loss(prediction, batch["target"])}

    model = Typed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: dict[str, Tensor] = {}

    class Keep(Callback):
        @hookimpl
        def on_before_optimizer_step(self, trainer: Trainer) -> None:
            if not seen:
                seen.update(gradient=model.weight.grad.clone(), before=model.weight.detach().clone())  # type: ignore[union-attr]

        @hookimpl
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            seen.setdefault("after", model.weight.detach().clone())

    trainer = train(
        make_trainer, GradientStatistics(period="1 step", by="parameter"), Keep(), model=model, optimizer=optimizer
    )
    found = {name: tensor.to(torch.complex128).numpy() for name, tensor in seen.items()}
    expected = np.linalg.norm(found["after"] - found["before"]) / np.linalg.norm(found["before"])
    assert of_step(trainer, 1, "norm")["weight"] == pytest.approx(np.linalg.norm(found["gradient"]), rel=1e-5)
    assert of_step(trainer, 1, "ratio")["weight"] == pytest.approx(
        expected, rel=1e-2 if dtype is torch.bfloat16 else 1e-5
    )


def test_sparse_gradients_are_measured(make_trainer: MakeTrainer) -> None:
    class Embedded(TinyModel):
        def __init__(self) -> None:
            super().__init__(dropout=0.0)
            self.embedding = nn.Embedding(4, 1, sparse=True)

        def forward(self, batch: TinyInput) -> TinyOutput:
            prediction = self.embedding((batch["features"][:, 0] > 0).long())  # two of the rows, many times each
            return {"prediction": prediction, "loss": nn.functional.mse_loss(prediction, batch["target"])}

    model = Embedded()
    expected: list[float] = []

    class Dense(Callback):
        @hookimpl
        def on_before_optimizer_step(self, trainer: Trainer) -> None:
            expected.append(np.linalg.norm(model.embedding.weight.grad.to_dense().numpy()))  # type: ignore[union-attr]

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = train(make_trainer, GradientStatistics(period="1 step"), Dense(), model=model, optimizer=optimizer)
    assert trainer.batch_metrics["gradients/norm/embedding"].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_collection_is_tracked_with_its_step(make_trainer: MakeTrainer) -> None:
    class Results(TrackingCallback):
        def __init__(self) -> None:
            self.found: list[TrackedResult] = []

        def receive(self, result: TrackedResult) -> None:
            self.found.append(result)

    results = Results()
    train(make_trainer, GradientStatistics(period="3 steps", name="mine"), results)
    found = [result for result in results.found if result.name == "batch/mine"]
    assert [(result.epoch, result.step) for result in found] == [(1, 3), (2, 6)]
    assert "norm/first" in found[0].value


def test_training_is_the_same_with_it(make_trainer: MakeTrainer) -> None:
    with_it = train(make_trainer, GradientStatistics(period="1 step"), accumulate=2, clip_gradient_norm=0.1)
    without = train(make_trainer, accumulate=2, clip_gradient_norm=0.1)
    assert all(map(torch.equal, with_it.model.parameters(), without.model.parameters()))


def test_it_is_not_called_in_steps_that_are_not_due(make_trainer: MakeTrainer) -> None:
    trainer = train(make_trainer, GradientStatistics(period="4 steps"))
    times = trainer.plugin_times
    own = times[times["plugin"] == "GradientStatistics"].groupby("hook")["calls"].sum()
    assert (own["on_before_optimizer_step"], own["execute_batch_postprocessing"]) == (2, 2)


def holds_nothing(statistics: GradientStatistics) -> bool:
    return not any(isinstance(value, Mapping) and value for value in vars(statistics).values())


@pytest.mark.parametrize("where", ["step", "optimizer"])
def test_no_copy_is_left_after_an_exception_in_a_step_that_is_due(make_trainer: MakeTrainer, where: str) -> None:
    class Fail(Callback):
        @hookimpl(trylast=True)
        def on_before_optimizer_step(self, trainer: Trainer) -> None:
            assert not holds_nothing(statistics)
            if where == "step":
                raise RuntimeError("in the step")

    statistics = GradientStatistics(period="1 step")
    model = TwoLayers() if where == "step" else Poisoned("gradient")
    trainer = make_trainer(model, callbacks=[statistics, Fail()], optimizer=torch.optim.SGD(model.parameters()))
    with pytest.raises(RuntimeError if where == "step" else DivergedError):
        trainer.train()
    assert holds_nothing(statistics)


def test_no_copy_is_left_between_steps(make_trainer: MakeTrainer) -> None:
    class Look(Callback):
        @hookimpl(trylast=True)
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            assert holds_nothing(statistics)

    statistics = GradientStatistics(period="1 step")
    train(make_trainer, statistics, Look())


def test_a_training_that_is_resumed_within_a_step_records_the_same(make_trainer: MakeTrainer) -> None:
    class SaveInStep(Callback):
        batches = 0

        @hookimpl
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            self.batches += 1
            if self.batches == 6:  # of eight, in the middle of the second epoch's first step
                self.checkpoint = trainer.save_checkpoint()

    saving = SaveInStep()
    options: dict[str, Any] = {"accumulate": 3}
    whole = train(make_trainer, GradientStatistics(period="1 step"), saving, **options)
    model = TwoLayers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    resumed = make_trainer(model, optimizer=optimizer, callbacks=[GradientStatistics(period="1 step")], **options)
    resumed.load_checkpoint(saving.checkpoint)
    resumed.train()
    assert resumed.batch_metrics.equals(whole.batch_metrics)


def test_it_works_in_a_rehearsal(make_trainer: MakeTrainer) -> None:
    trainer = train(make_trainer, GradientStatistics(period=1), fast_dev_run=True)
    assert trainer.batch_metrics.loc[1, "gradients/total_norm"] > 0


def test_a_period_of_epochs_is_due_in_the_first_step_of_one(make_trainer: MakeTrainer) -> None:
    trainer = train(make_trainer, GradientStatistics(period=2), epochs=4, loader=tiny_loader())
    assert trainer.batch_metrics.index.tolist() == [5, 13]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "layer"}, "by 'module' or by 'parameter', not by 'layer'"),
        ({"name": ""}, "needs a name"),
        ({"period": "often"}, "'often' is no period"),
        ({"period": 0}, "at least 1 epoch"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GradientStatistics(**options)


def test_parameters_are_taken_from_a_configuration() -> None:
    given = {"period": "10 minutes", "by": "parameter", "name": "slow"}
    parameters = validated_parameters(GradientStatistics, given, source="test", section="callbacks.gradient_statistics")
    assert GradientStatistics(**parameters).by == "parameter"
