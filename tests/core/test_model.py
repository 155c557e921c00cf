"""Models: saved without pickle, loaded by class or by registered name, refused in words if they do not fit."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from artifact_torch import CheckpointError, GenerationParams, GenerativeModel, Model, PluginError, load_model, registry
from artifact_torch.testing import TinyModel


class Wide(Model):
    def __init__(self, width=4, names=("a",)):
        super().__init__()
        self.width, self.names = width, list(names)
        self.layers = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))
        self.register_buffer("scale", torch.full((2,), 0.5, dtype=torch.float64))

    def config(self):
        return {"width": self.width, "names": self.names}

    def forward(self, batch):
        return {"loss": self.layers(batch["features"]).mean()}


class Forgetful(Wide):
    def config(self):
        return {}


class Demanding(Model):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(3, width)

    def forward(self, batch):
        return {"loss": self.layer(batch["features"]).mean()}


def test_a_model_comes_back_with_its_parameters_buffers_and_configuration(tmp_path):
    model = Wide(6, names=["x", "ü"])
    model({"features": torch.randn(5, 3)})
    loaded = Wide.load(model.save(tmp_path / "model"))
    assert (loaded.width, loaded.names) == (6, ["x", "ü"])
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert loaded.state_dict()[name].dtype == tensor.dtype


def test_saving_again_replaces_the_model(tmp_path):
    Wide(2).save(tmp_path / "model")
    Wide(3).save(str(tmp_path / "model"))
    assert Wide.load(str(tmp_path / "model")).width == 3
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_saved_model_is_tensors_and_json(tmp_path):
    path = Wide(2).save(tmp_path / "model")
    assert json.loads((path / "state.json").read_text()) == {
        "class": "Wide",
        "name": None,
        "distribution": None,
        "format_version": 1,
        "config": {"width": 2, "names": ["a"]},
    }
    assert sorted(file.name for file in path.iterdir()) == ["manifest.json", "state.json", "tensors.safetensors"]


def test_a_model_of_another_class_is_refused(tmp_path):
    path = Wide().save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds a model of class Wide, not TinyModel"):
        TinyModel.load(path)


def test_a_model_that_did_not_save_its_configuration_is_refused(tmp_path):
    path = Forgetful(7).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"layers\.0\.weight has shape \(7, 3\), and Forgetful expects \(4, 3\)"):
        Forgetful.load(path)


def test_a_model_that_cannot_be_built_from_its_configuration_is_refused_with_advice(tmp_path):
    path = Demanding(2).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"Return every constructor parameter from Demanding\.config\(\)"):
        Demanding.load(path)


@pytest.mark.parametrize(("saved", "loading"), [(True, False), (False, True)])
def test_tensors_that_are_missing_or_left_over_are_named(tmp_path, saved, loading):
    class Optional(Model):
        with_bias = True

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1, bias=self.with_bias)

        def forward(self, batch):
            return {"loss": self.layer(batch["features"]).mean()}

    Optional.with_bias = saved
    path = Optional().save(tmp_path / "model")
    Optional.with_bias = loading
    message = r"holds the tensors layer\.bias that" if saved else r"lacks the tensors layer\.bias that"
    with pytest.raises(CheckpointError, match=message):
        Optional.load(path)


def test_a_model_of_an_older_format_is_refused(tmp_path):
    class Versioned(TinyModel):
        format_version = 1

    path = Versioned().save(tmp_path / "model")
    Versioned.format_version = 2
    with pytest.raises(CheckpointError, match=r"saved by format version 1 of .*Versioned, and 2 is installed"):
        Versioned.load(path)


def test_a_checkpoint_is_not_a_model(make_trainer, tmp_path):
    path = make_trainer().save_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="is not a saved model: a checkpoint is read with"):
        TinyModel.load(path)
    with pytest.raises(CheckpointError, match="is not a saved model"):
        load_model(path)


def test_an_absent_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no saved state at .*nowhere"):
        TinyModel.load(tmp_path / "nowhere")


def test_a_registered_model_is_loaded_by_its_name(tmp_path):
    class Registered(TinyModel):
        pass

    registry.add("models", "test_model_registered", Registered)
    loaded = load_model(Registered(0.3).save(tmp_path / "model"))
    assert type(loaded) is Registered
    assert loaded.dropout == 0.3


def test_a_model_that_is_not_registered_is_not_loaded_by_name(tmp_path):
    path = Wide().save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"unregistered class Wide: load it with Wide.load"):
        load_model(path)


def test_a_model_whose_plugin_is_missing_says_what_to_install(tmp_path, install, monkeypatch):
    source = "from artifact_torch.testing import TinyModel\n\n\nclass Foreign(TinyModel):\n    pass\n"
    entry_points = {"artifact_torch.models": {"foreign": "foreign_models:Foreign"}}
    install("foreign-models", entry_points, version="2.3", foreign_models=source)
    path = registry.get("models", "foreign")().save(tmp_path / "model")
    assert load_model(path).dropout == 0.1
    monkeypatch.undo()  # the folder with the distribution is no longer on sys.path
    with pytest.raises(
        PluginError, match=r"model holds a model 'foreign' of foreign-models 2.3, which is not installed"
    ):
        load_model(path)


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_flipped_byte_is_found(tmp_path, file):
    path = TinyModel().save(tmp_path / "model")
    content = bytearray((path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (path / file).write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=file):
        TinyModel.load(path)


def test_what_a_file_says_never_chooses_code_to_import(tmp_path):
    path = TinyModel().save(tmp_path / "model")
    state = json.loads((path / "state.json").read_text())
    from artifact_torch.core.storage import write_bundle

    write_bundle(tmp_path / "altered", TinyModel().state_dict(), {**state, "name": "os:system"})
    with pytest.raises(PluginError, match="no model named 'os:system'"):
        load_model(tmp_path / "altered")


def test_a_model_is_loaded_with_the_mode_and_tied_to_no_gradient(tmp_path):
    loaded = TinyModel.load(TinyModel().save(tmp_path / "model"))
    assert loaded.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in loaded.parameters())


def test_what_is_not_a_model_is_not_registered_as_one():
    with pytest.raises(PluginError, match=r"not a subclass of artifact_torch.core.model.Model"):
        registry.add("models", "linear", nn.Linear)


def test_a_model_without_forward_cannot_be_built():
    class Nothing(Model):
        pass

    with pytest.raises(TypeError, match="forward"):
        Nothing()


def test_a_generative_model_needs_generate():
    class Silent(GenerativeModel):
        def forward(self, batch):
            return {}

    with pytest.raises(TypeError, match="generate"):
        Silent()


def test_generation_params_are_values():
    assert GenerationParams(num_samples=3) == GenerationParams(num_samples=3, seed=0)
    with pytest.raises(AttributeError):
        GenerationParams(num_samples=3).seed = 1
