"""Experiment descriptions: what is taken over, and what is refused in which words."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path
from typing import Literal

import pytest

from artifact_torch import ConfigError, OptionPath, Options, parse_config
from artifact_torch.config import load_config, validated_options, validated_parameters


class Paths(Options):
    """A section with a path."""

    file: OptionPath


class Stopper:
    """A component as a plugin author writes one."""

    def __init__(
        self, score: str, *, epochs: int = 5, change: float = 0.0, mode: Literal["min", "max"] = "min"
    ) -> None:
        self.given = (score, epochs, change, mode)


def refusal(content, overrides=()):
    with pytest.raises(ConfigError) as refused:
        parse_config(content, overrides, source="my.toml")
    assert refused.value.exit_code == 2
    return str(refused.value)


def test_an_empty_description_has_every_default():
    config = parse_config({})
    assert (config.experiment.name, config.experiment.group, config.experiment.seed) == (
        "default",
        "table_comparison",
        0,
    )
    assert config.model.name is None
    assert config.training.epochs is None
    assert config.training.standard_callbacks
    assert config.generation.num_samples is None
    assert config.callbacks == config.stoppers == config.data == config.validation == {}


def test_sections_are_taken_over():
    config = parse_config(
        {
            "experiment": {"name": "trial", "seed": 3},
            "model": {"name": "vae", "latent_size": 4},
            "training": {"epochs": 2, "learning_rate": 1, "schedule": "constant"},
            "stoppers": {"patience": {"epochs": 3}},
        }
    )
    assert (config.experiment.name, config.experiment.seed) == ("trial", 3)
    assert (config.model.name, config.model.parameters) == ("vae", {"latent_size": 4})
    assert (config.training.epochs, config.training.learning_rate) == (2, 1.0)
    assert config.stoppers == {"patience": {"epochs": 3}}


def test_an_unknown_section_is_refused_with_the_nearest_one():
    assert refusal({"trainig": {}}) == "my.toml: unknown section 'trainig': did you mean 'training'?"


def test_an_unknown_key_is_refused_with_its_section_and_the_nearest_one():
    message = refusal({"training": {"epoch": 3}})
    assert message == "my.toml: unknown key 'epoch' in [training]: did you mean 'epochs'?"


def test_an_unknown_key_that_is_near_none_is_refused_with_the_known_ones():
    message = refusal({"experiment": {"zzz": 3}})
    assert message == "my.toml: unknown key 'zzz' in [experiment]: known are group, name, seed."


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"training": {"epochs": "3"}}, "epochs = '3' in [training]: input should be a valid integer."),
        ({"training": {"epochs": 2.0}}, "epochs = 2.0 in [training]: input should be a valid integer."),
        ({"training": {"epochs": 0}}, "epochs = 0 in [training]: input should be greater than or equal to 1."),
        (
            {"training": {"schedule": "x"}},
            "schedule = 'x' in [training]: input should be 'one_cycle', 'plateau' or 'constant'.",
        ),
        ({"training": {"learning_rate": math.nan}}, "learning_rate = nan in [training]: input should be a finite"),
        ({"experiment": {"seed": True}}, "seed = True in [experiment]: input should be a valid integer."),
        ({"experiment": {"seed": -1}}, "seed = -1 in [experiment]: input should be greater than or equal to 0."),
        ({"model": {"name": 3}}, "name = 3 in [model]: input should be a valid string."),
        ({"generation": {"num_samples": 0}}, "num_samples = 0 in [generation]: input should be greater"),
        ({"callbacks": {"loss": 3}}, "loss = 3 in [callbacks]: input should be a valid dictionary."),
        ({"training": 3}, "training = 3: input should be a valid dictionary"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(content, told):
    message = refusal(content)
    assert message.startswith("my.toml: ")
    assert told in message


def test_all_problems_are_told_at_once():
    message = refusal({"training": {"epochs": 0, "batch_size": "a"}, "experiment": {"sed": 3}, "zzz": {}})
    for told in ("epochs = 0", "batch_size = 'a'", "'sed' in [experiment]: did you mean 'seed'?", "section 'zzz'"):
        assert told in message


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("experiment.name=trial", "trial"),
        ("experiment.name=a bare word", "a bare word"),
        ("experiment.name = spaced ", "spaced"),
        ('experiment.name="quoted"', "quoted"),
        ("experiment.name=a=b", "a=b"),
    ],
)
def test_an_override_takes_bare_words_and_quoted_text(override, value):
    assert parse_config({"experiment": {"name": "x", "seed": 5}}, [override]).experiment.name == value


def test_an_override_takes_toml_values_and_leaves_the_rest_of_its_section():
    given = {"training": {"epochs": 1, "batch_size": 8}}
    overrides = [
        "training.epochs=4",
        "validation.plots=[]",
        "data.drop=['a', 'b']",
        "training.standard_callbacks=false",
    ]
    config = parse_config(given, overrides)
    assert (config.training.epochs, config.training.batch_size) == (4, 8)
    assert config.validation == {"plots": []}
    assert config.data == {"drop": ["a", "b"]}
    assert not config.training.standard_callbacks
    assert given == {"training": {"epochs": 1, "batch_size": 8}}


def test_an_override_makes_sections_that_are_not_there_and_the_last_of_two_counts():
    config = parse_config({}, ["stoppers.patience.epochs=3", "stoppers.patience.epochs=4"])
    assert config.stoppers == {"patience": {"epochs": 4}}


@pytest.mark.parametrize("override", ["training.epochs", "=3", "a..b=3", ".=3"])
def test_an_override_that_is_no_assignment_is_refused_with_an_example(override):
    assert refusal({}, [override]) == (
        f"--set {override}: write section.key=value, for example --set training.epochs=10."
    )


def test_an_override_below_a_value_is_refused():
    message = refusal({"experiment": {"name": "x"}}, ["experiment.name.first=3"])
    assert message == "--set experiment.name.first=3: name is not a section."


def test_an_unknown_key_in_an_override_is_refused_with_the_nearest_one():
    assert refusal({}, ["training.epoch=3"]).endswith("did you mean 'epochs'?")


def test_a_file_is_read_with_its_folder(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text('[experiment]\nname = "Größe"\n', encoding="utf-8")
    config, folder = load_config(path, ["experiment.seed=2"])
    assert (config.experiment.name, config.experiment.seed) == ("Größe", 2)
    assert folder == tmp_path


def test_a_mistake_in_a_file_is_told_with_the_file(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text("[training]\nepoch = 3\n")
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert str(refused.value) == f"{path}: unknown key 'epoch' in [training]: did you mean 'epochs'?"


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"[training]\nepochs =\n", "not valid TOML: Invalid value (at line 2"), (b"\xff", "cannot be read")],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path, content, told):
    path = tmp_path / "experiment.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert str(path) in str(refused.value)
    assert told in str(refused.value)


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no configuration file .*check the path"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_a_missing_key_is_refused_with_its_section():
    with pytest.raises(ConfigError) as refused:
        validated_options(Paths, {}, source="my.toml", section="data")
    assert str(refused.value) == "my.toml: 'file' is missing in [data]."


def test_a_relative_path_is_meant_from_the_folder_and_an_absolute_one_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    elsewhere = tmp_path / "elsewhere" / "table.csv"

    def path_of(given):
        options = validated_options(Paths, {"file": given}, source="", section="data", folder=Path("folder"))
        return options.file

    assert path_of("table.csv") == Path("folder/table.csv")
    assert path_of(f"..{os.sep}table.csv") == Path("folder/../table.csv")
    assert path_of(str(elsewhere)) == elsewhere
    assert path_of("~/table.csv") == tmp_path / "home" / "table.csv"


def test_parameters_of_a_class_are_checked_against_its_constructor():
    given = {"score": "train/loss", "change": 1}
    assert validated_parameters(Stopper, given, source="my.toml", section="stoppers.s") == {
        "score": "train/loss",
        "change": 1.0,
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"score": "a", "epoch": 3}, "unknown key 'epoch' in [stoppers.s]: did you mean 'epochs'?"),
        ({"score": "a", "epochs": "3"}, "epochs = '3' in [stoppers.s]: input should be a valid integer."),
        ({"score": "a", "mode": "up"}, "mode = 'up' in [stoppers.s]: input should be 'min' or 'max'."),
        ({}, "'score' is missing in [stoppers.s]."),
    ],
)
def test_wrong_parameters_of_a_class_are_refused(given, told):
    with pytest.raises(ConfigError) as refused:
        validated_parameters(Stopper, given, source="my.toml", section="stoppers.s")
    assert str(refused.value) == f"my.toml: {told}"


def test_parameters_of_a_partial_are_those_of_its_function():
    def build(table: list[int], *, width: int = 4, name: str) -> None:
        raise AssertionError("checking parameters does not build anything")

    factory = functools.partial(build, [1])
    assert validated_parameters(factory, {"name": "a"}, source="s", section="model") == {"name": "a"}
    with pytest.raises(ConfigError, match=r"unknown key 'widht' in \[model\]: did you mean 'width'\?"):
        validated_parameters(factory, {"name": "a", "widht": 3}, source="s", section="model")
    with pytest.raises(ConfigError, match="unknown key 'table'"):
        validated_parameters(factory, {"name": "a", "table": [2]}, source="s", section="model")


def test_a_component_without_parameters_takes_none():
    class Bare:
        pass

    assert validated_parameters(Bare, {}, source="s", section="callbacks.bare") == {}
    with pytest.raises(ConfigError, match=r"unknown key 'a' in \[callbacks.bare\]: known are none"):
        validated_parameters(Bare, {"a": 1}, source="s", section="callbacks.bare")
