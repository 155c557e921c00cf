"""Results about training steps: from batches, activations and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from torch import nn

from artifact_torch import (
    ActivationObserver,
    ArtifactKind,
    BatchObserver,
    GradientObserver,
    Model,
    PluginError,
    UsageError,
    hookimpl,
)
from artifact_torch.core.observer import first_tensor


class TwoLayers(Model):
    """Two layers of one class."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 1)
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters(), start=1):
                parameter.fill_(0.1 * number)

    def forward(self, batch):
        prediction = self.second(self.first(batch["features"]))
        return {"prediction": prediction, "loss": nn.functional.mse_loss(prediction, batch["target"])}


class MeanTarget(BatchObserver[float]):
    kind = ArtifactKind.SCORE

    def compute(self, batch, model_output):
        assert not torch.is_grad_enabled()
        return float(batch["target"].mean())


class Means(ActivationObserver):
    kind = ArtifactKind.SCORE_COLLECTION

    def reset(self):
        self.means = {}

    def observe(self, path, module, output):
        assert not output.requires_grad
        self.means.setdefault(path, []).append(output.mean())

    def compute(self):
        return {path: float(torch.stack(means).mean()) for path, means in self.means.items()}


class Norms(GradientObserver):
    kind = ArtifactKind.SCORE_COLLECTION

    def compute(self, gradients):
        return {name: float(gradient.norm()) for name, gradient in gradients.items()}


class Drawing(BatchObserver):
    kind = ArtifactKind.PLOT

    def compute(self, batch, model_output):
        figure, axes = pyplot.subplots()
        axes.hist(batch["target"].numpy().ravel())
        return figure


class Predictions(BatchObserver):
    kind = ArtifactKind.ARRAY

    def compute(self, batch, model_output):
        return model_output["prediction"].numpy()


def handles_of(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_an_observer_computes_in_due_steps_and_its_scores_stand_with_the_batch_metrics(make_trainer):
    trainer = make_trainer(callbacks=[MeanTarget("mean_target", period="3 steps")], log_every=4)
    trainer.train()
    metrics = trainer.batch_metrics
    assert metrics["mean_target"].dropna().index.tolist() == [3, 6]
    assert metrics["loss"].dropna().index.tolist() == [4, 8]
    assert '"batch/mean_target"' in (trainer.run.path / "metrics.jsonl").read_text()


def test_an_observer_does_not_change_training(make_trainer):
    observers = [MeanTarget("m", period="1 step"), Means("a", period="1 step"), Norms("n", period="1 step")]
    plain, observed = make_trainer(), make_trainer(callbacks=observers)
    plain.train()
    observed.train()
    assert torch.equal(plain.model.layers[1].weight, observed.model.layers[1].weight)
    assert not observed.plugins.warnings


def test_arrays_and_plots_of_steps_are_files_of_the_run(make_trainer):
    trainer = make_trainer(
        epochs=1, callbacks=[Drawing("targets", period="4 steps"), Predictions("p", period="4 steps")]
    )
    trainer.train()
    assert [path.name for path in trainer.run.plot_paths()] == ["epoch-1-step-4-train.png"]
    (array,) = (trainer.run.path / "artifacts" / "array").rglob("*.npy")
    assert np.load(array).shape == (16, 1)
    assert pyplot.get_fignums() == []
    assert not list(trainer.run.path.glob(".writing-*"))


def test_two_layers_of_one_class_never_merge(make_trainer):
    trainer = make_trainer(TwoLayers(), epochs=1, callbacks=[Means("means", period="1 step")])
    trainer.train()
    assert {name for name in trainer.batch_metrics if name.startswith("means/")} == {"means/first", "means/second"}
    first, second = trainer.batch_metrics.loc[1, ["means/first", "means/second"]]
    assert first != second


def test_modules_are_chosen_by_patterns_of_their_paths(make_trainer):
    trainer = make_trainer(TwoLayers(), epochs=1, callbacks=[Means("means", modules=["sec*"], period="1 step")])
    trainer.train()
    assert [name for name in trainer.batch_metrics if name.startswith("means/")] == ["means/second"]


def test_a_pattern_that_means_no_module_is_refused(make_trainer):
    trainer = make_trainer(TwoLayers(), callbacks=[Means("means", modules=["third"])])
    with pytest.raises(UsageError, match=r"observes the modules third, and the model has none.*first, second"):
        trainer.train()


def test_modules_are_hooked_in_due_steps_only(make_trainer):
    seen = []

    class Look:
        @hookimpl(trylast=True)
        def execute_batch_preprocessing(self, trainer):
            seen.append(handles_of(trainer.model))

        @hookimpl(trylast=True)
        def execute_batch_postprocessing(self, trainer):
            seen.append(handles_of(trainer.model))

    make_trainer(TwoLayers(), epochs=1, callbacks=[Means("means", period="3 steps"), Look()]).train()
    assert seen == [0, 0, 0, 0, 2, 0, 0, 0]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_no_hook_stays_behind_when_training_ends_in_a_due_step(make_trainer, error):
    class Failing(TwoLayers):
        def forward(self, batch):
            super().forward(batch)
            raise error

    model = Failing()
    with pytest.raises(error):
        make_trainer(model, callbacks=[Means("means", period="1 step")]).train()
    assert handles_of(model) == 0


def test_a_compiled_model_is_refused(make_trainer):
    trainer = make_trainer(TwoLayers(), compile=True, callbacks=[Means("means")])
    with pytest.raises(UsageError, match="which is compiled into one"):
        trainer.train()


def test_gradients_are_those_of_the_step_by_the_parameters_path(make_trainer):
    trainer = make_trainer(TwoLayers(), epochs=1, callbacks=[Norms("norms", period="2 steps")])
    expected = {}

    class Look:
        @hookimpl
        def on_before_optimizer_step(self, trainer):
            expected[trainer.state.step + 1] = float(trainer.model.second.weight.grad.norm())

    trainer.plugins.register(Look())
    trainer.train()
    found = trainer.batch_metrics["norms/second.weight"].dropna().to_dict()
    assert found == {2: expected[2], 4: expected[4]}


@pytest.mark.parametrize("observer", [MeanTarget, Means, Norms])
def test_a_step_of_several_batches_gives_one_result(make_trainer, observer):
    trainer = make_trainer(TwoLayers(), callbacks=[observer("x", period="1 step")], accumulate=3)
    trainer.train()
    columns = [name for name in trainer.batch_metrics if name.startswith("x")]
    assert trainer.batch_metrics[columns].dropna().index.tolist() == [1, 2, 3, 4]


def test_two_numbers_of_one_name_in_a_step_are_refused(make_trainer):
    trainer = make_trainer(callbacks=[MeanTarget("same", period="1 step"), MeanTarget("same", period="1 step")])
    with pytest.raises(PluginError, match="There is a number named 'same' for step 1 already"):
        trainer.train()


def test_an_observer_needs_a_name():
    with pytest.raises(UsageError, match="MeanTarget needs a name"):
        MeanTarget("")


def test_the_first_tensor_is_found_in_what_modules_return():
    tensor = torch.zeros(2)
    assert first_tensor((None, [{"a": "text"}, {"b": tensor}], torch.ones(1))) is tensor
    assert first_tensor({"a": 1}) is None
    assert first_tensor("text") is None
