"""The contracts of models, artifact groups and commands."""

from __future__ import annotations

import inspect

import pytest

from artifact_torch import ArtifactGroup
from artifact_torch.testing import ContractError, NotJudged, checks_of, outcome_of, run_check


def reason(entry, check, error=ContractError, **options):
    with pytest.raises(error) as caught:
        run_check(entry, check, **options)
    assert type(caught.value) is error
    return str(caught.value)


def only_fails(entry, check, **options):
    """Why a check fails that no other one of this plugin fails with."""
    outcomes = {name: outcome_of(entry, name, **options) for name in checks_of(entry)}
    assert {name for name, outcome in outcomes.items() if outcome.outcome == "failed"} == {check}
    return outcomes[check].reason


def test_a_model_whose_parameters_are_not_all_in_its_config_is_told(entry_of, good):
    source = good["models"].replace(', "width": self.width', "")
    entry = entry_of("models", source)
    run_check(entry, "round_trip")
    told = reason(entry, "round_trip", parameters={"columns": ["a"], "width": 5})
    assert "has shape (5, 2), and Part expects (3, 2)" in told


def test_a_parameter_that_comes_back_otherwise_is_told(entry_of, good):
    changed = "self.columns, self.width = [*columns, 'x'], width"
    source = good["models"].replace("self.columns, self.width = columns, width", changed)
    told = only_fails(entry_of("models", source), "round_trip")
    assert "another one after it was saved and loaded: columns.1 was absent, and is x. Return every" in told


@pytest.mark.parametrize("layers", ["nn.Linear(2, width)", "nn.BatchNorm1d(width)"])
def test_weights_that_are_not_restored_are_told_though_they_always_begin_alike(entry_of, layers, good):
    source = good["models"].replace("nn.Linear(2, width), nn.BatchNorm1d(width)", layers)
    source = source.replace("    def forward", "    def load_state_dict(self, state):\n        pass\n\n    def forward")
    told = only_fails(entry_of("models", source), "round_trip")
    assert "another one after it was saved and loaded: layers.0.weight was " in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("default_model, sample_suffix", "default_mode, sample_suffix"),
            "default_model is missing, and has to be the",
        ),
        (('".csv"', '"csv"'), "sample_suffix is 'csv', and has to be a suffix such as '.csv'"),
        (
            ("Validation, Model\n", "Validation, Data\n"),
            "model_class is <class 'acme_parts.Data'>, and has to be a sub",
        ),
        (("= Data, Validation, Model", "= dict, Validation, Model"), "and has to be a subclass of artifact_torch.Opt"),
    ],
)
def test_an_attribute_that_a_group_lacks_is_told(entry_of, change, told, good):
    assert told in only_fails(entry_of("artifact_groups", good["artifact_groups"].replace(*change)), "attributes")


def test_every_attribute_of_a_group_is_looked_at(entry_of, good):
    source = good["artifact_groups"].replace(
        "data_options, validation_options, model_class = Data, Validation, Model", ""
    )
    told = reason(entry_of("artifact_groups", source.replace("default_model, sample_suffix =", "a, b =")), "attributes")
    declared = [name for name in inspect.get_annotations(ArtifactGroup) if not hasattr(ArtifactGroup, name)]
    assert len(declared) == told.count(" is missing, ") == sum(f"{name} is missing" in told for name in declared)


def test_a_default_of_another_type_than_its_own_is_told(entry_of, good):
    source = good["artifact_groups"].replace("period: int = 1", "period: int = '1'")
    assert "refuses its own defaults: acme-parts 1.0: period = '1' in [validation]" in only_fails(
        entry_of("artifact_groups", source), "options"
    )


def test_options_without_defaults_are_not_judged(entry_of, good):
    source = good["artifact_groups"].replace("period: int = 1", "period: int")
    told = "has keys without a default in each of its sections: data.file, validation.period."
    assert told in reason(entry_of("artifact_groups", source), "options", NotJudged)


def test_a_command_without_help_is_told(entry_of):
    entry = entry_of("commands", "@click.command()\ndef Part(): ...\n")
    assert only_fails(entry, "help") == (
        "The command 'part' has no text of help: write a docstring under @click.command()."
    )
