"""Experiments from a description: what a run records, which parts it is made of, and what stays behind when refused."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from artifact_torch import (
    ArtifactTorchError,
    ConfigError,
    DataError,
    DivergedError,
    GenerationParams,
    PluginError,
    RunDirectory,
    load_model,
    parse_config,
    prepare_experiment,
    run_experiment,
)
from artifact_torch.experiment import generate_from_run

SCRIBE = """
from artifact_torch import hookimpl


@hookimpl
def log_epoch_metrics(trainer):
    return {"written": trainer.state.epoch}
"""
NOTHING = {"scores": [], "score_collections": [], "plots": []}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("number,label,empty\n" + "".join(f"{row % 7},{'ab'[row % 2]},\n" for row in range(60)))
    return path


def described(table, **sections):
    """Two epochs on the table, validated by nothing."""
    sections.setdefault("training", {"epochs": 2})
    return parse_config({"data": {"file": str(table)}, "validation": NOTHING, **sections})


def metrics_of(run_directory):
    lines = (run_directory / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_result_says_what_the_run_directory_holds(table, tmp_path, caplog):
    config = described(table, experiment={"name": "trial", "seed": 3}, generation={"num_samples": 11})
    with caplog.at_level(logging.WARNING, logger="artifact_torch"):
        result = run_experiment(config, root=tmp_path / "runs")
    assert result.run_directory.parent == tmp_path / "runs" / "trial"
    assert (result.epochs, result.reason) == (2, "all 2 epochs are done")
    assert result.seconds > 0
    assert result.samples == result.run_directory / "synthetic.csv"
    assert result.samples.read_text().count("\n") == 12
    assert result.plots == []
    (warning,) = result.warnings
    assert "'empty' has no values" in warning
    assert warning in caplog.messages


def test_the_record_holds_every_choice_that_was_made(table, tmp_path):
    config = described(
        table, experiment={"seed": 3}, model={"latent_size": 5}, training={"epochs": 2, "batch_size": 20}
    )
    result = run_experiment(config, root=tmp_path)
    record = json.loads((result.run_directory / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["seed"] == 3
    assert record["scores"] == result.scores
    assert record["samples"] == "synthetic.csv"
    assert record["warnings"] == list(result.warnings)
    assert (
        record["params"].items()
        >= {
            "experiment.group": "table_comparison",
            "experiment.seed": 3,
            "data.file": str(table),
            "data.train_share": 0.8,
            "model.name": "vae",
            "model.latent_size": 5,
            "training.epochs": 2,
            "training.schedule": "one_cycle",
            "training.batch_size": 20,
            "validation.scores": [],
        }.items()
    )


def test_the_trained_model_can_be_loaded(table, tmp_path):
    result = run_experiment(described(table, model={"latent_size": 5}), root=tmp_path)
    assert load_model(result.run_directory / "model").config()["latent_size"] == 5


def test_standard_callbacks_take_part_unless_they_are_switched_off(table, tmp_path, capsys):
    with_them = run_experiment(described(table), root=tmp_path)
    assert list((with_them.run_directory / "checkpoints").iterdir())
    assert "epoch 2/2" in capsys.readouterr().err
    training = {"epochs": 2, "standard_callbacks": False}
    without = run_experiment(described(table, training=training), root=tmp_path)
    assert not (without.run_directory / "checkpoints").exists()
    assert not capsys.readouterr().err


def test_a_section_sets_the_parameters_of_a_standard_callback(table, tmp_path, capsys):
    callbacks = {"checkpoint": {"keep": 1}, "loss": {}}
    result = run_experiment(described(table, callbacks=callbacks), root=tmp_path)
    assert len(list((result.run_directory / "checkpoints").iterdir())) == 1
    recorded = {(line["name"], line["split"], line["epoch"]) for line in metrics_of(result.run_directory)}
    assert ("loss", "validation", 2) in recorded


def test_a_stopper_chosen_by_name_ends_training(table, tmp_path):
    result = run_experiment(described(table, stoppers={"max_epochs": {"epochs": 1}}), root=tmp_path)
    assert result.epochs == 1
    assert result.reason.startswith("MaxEpochs: ")


def test_a_component_can_be_chosen_by_distribution_and_name(table, tmp_path):
    stoppers = {"artifact-torch-stoppers:max_epochs": {"epochs": 1}}
    assert run_experiment(described(table, stoppers=stoppers), root=tmp_path).epochs == 1


def test_paths_are_meant_from_the_folder(table, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = parse_config({"data": {"file": "table.csv"}, "validation": NOTHING, "training": {"epochs": 1}})
    assert run_experiment(config, folder=tmp_path, root=tmp_path / "runs").epochs == 1
    with pytest.raises(DataError, match="no file"):
        run_experiment(config, root=tmp_path / "runs")


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"model": {"name": "vea"}}, "did you mean 'vae'"),
        ({"stoppers": {"patiense": {}}}, "did you mean 'patience'"),
        ({"callbacks": {"progres": {}}}, "did you mean 'progress'"),
        ({"callbacks": {"artifact-torch-stoppers:progress": {}}}, "no callback named"),
        ({"experiment": {"group": "table_comparisons"}}, "did you mean 'table_comparison'"),
    ],
)
def test_the_name_of_no_component_is_a_mistake_in_the_description(sections, told, table, tmp_path):
    with pytest.raises(ConfigError, match=told):
        run_experiment(described(table, **sections), root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_name_that_two_distributions_use_is_a_plugin_error(table, tmp_path, install):
    install("rival", {"artifact_torch.stoppers": {"patience": "rival:Patience"}})
    with pytest.raises(PluginError, match="write artifact-torch-stoppers:patience or rival:patience"):
        run_experiment(described(table, stoppers={"patience": {}}), root=tmp_path / "runs")


def test_a_component_that_cannot_be_imported_is_a_plugin_error(table, tmp_path, install):
    install("cracked", {"artifact_torch.models": {"cracked": "absent_for_test:Model"}})
    with pytest.raises(PluginError, match="cannot be imported from absent_for_test:Model"):
        run_experiment(described(table, model={"name": "cracked"}), root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_model_of_another_domain_is_refused(table, tmp_path, install):
    install("tiny", {"artifact_torch.models": {"tiny": "artifact_torch.testing:TinyModel"}})
    with pytest.raises(ConfigError, match="'tiny' cannot be used here: it is not a TabularGenerativeModel"):
        run_experiment(described(table, model={"name": "tiny"}), root=tmp_path / "runs")


@pytest.mark.parametrize(
    "sections",
    [
        {"validation": {"plots": ["PCA"]}},
        {"training": {"epochs": 1, "device": "abacus"}},
        {"callbacks": {"loss": {}}, "data": {"train_share": 1.0}},
    ],
)
def test_a_trainer_that_cannot_be_built_leaves_no_run_behind(sections, table, tmp_path):
    sections = {**sections, "data": {"file": str(table), **sections.get("data", {})}}
    with pytest.raises(ArtifactTorchError, match=r"PCA_JUXTAPOSITION|abacus|validation loader") as refused:
        run_experiment(described(table, **sections), root=tmp_path / "runs")
    assert refused.value.exit_code == 2
    assert not list(tmp_path.glob("runs/*"))


def test_a_run_that_fails_while_training_stays_with_its_record(table, tmp_path):
    training = {"epochs": 2, "learning_rate": 1e30}
    with pytest.raises(DivergedError):
        run_experiment(described(table, training=training), root=tmp_path)
    (path,) = tmp_path.glob("default/*/run.json")
    record = json.loads(path.read_text())
    assert record["status"] == "failed"
    assert "DivergedError" in record["traceback"]
    with pytest.raises(DataError, match=r"has no trained model .*'failed'"):
        generate_from_run(path.parent, GenerationParams(num_samples=3))


def test_installed_hook_plugins_take_part(table, tmp_path, install):
    plugins = {"artifact_torch.plugins": {"scribe": "scribe_for_test"}}
    install("scribe", plugins, version="2.5", scribe_for_test=SCRIBE)
    result = run_experiment(described(table), root=tmp_path / "runs")
    written = [line["value"] for line in metrics_of(result.run_directory) if line["name"] == "written"]
    assert written == [1.0, 2.0]
    record = json.loads((result.run_directory / "run.json").read_text())
    scribe = {"name": "scribe", "source": "installed", "distribution": "scribe", "version": "2.5"}
    assert scribe in record["plugins"]


def test_samples_of_a_finished_run_go_where_they_are_wanted(table, tmp_path):
    result = run_experiment(described(table), root=tmp_path / "runs")
    params = GenerationParams(num_samples=7, seed=2)
    inside = generate_from_run(result.run_directory, params)
    assert inside == result.run_directory / "samples" / "7-seed-2.csv"
    outside = generate_from_run(result.run_directory, params, tmp_path / "new" / "samples.csv")
    assert outside == tmp_path / "new" / "samples.csv"
    assert inside.read_bytes() == outside.read_bytes()
    assert inside.read_text().count("\n") == 8


def test_a_run_without_a_description_has_no_samples(tmp_path):
    run = RunDirectory.create(root=tmp_path)
    with pytest.raises(DataError, match="was not made from a description"):
        generate_from_run(run.path, GenerationParams(num_samples=3))


def test_two_runs_of_a_description_differ_only_in_their_directory(table, tmp_path):
    first = run_experiment(described(table), root=tmp_path)
    second = run_experiment(described(table), root=tmp_path)
    assert first.run_directory != second.run_directory
    assert first.samples is not None
    assert second.samples is not None
    assert first.samples.read_bytes() == second.samples.read_bytes()
    assert first.scores == second.scores


def test_a_description_keeps_the_best_models_and_restores_the_best(table, tmp_path):
    config = described(
        table,
        training={"epochs": 3},
        model_tracker={"score": "train/loss", "mode": "max", "keep": 2, "restore_best": True},
    )
    result = run_experiment(config, root=tmp_path)
    kept = json.loads((result.run_directory / "best" / "models.json").read_text())["models"]
    losses = {
        line["epoch"]: line["value"]
        for line in metrics_of(result.run_directory)
        if (line["name"], line["split"]) == ("loss", "train")
    }
    assert [model["epoch"] for model in kept] == sorted(losses, key=lambda epoch: -losses[epoch])[:2]
    best = load_model(result.run_directory / "best" / kept[0]["name"]).state_dict()
    for name, tensor in load_model(result.run_directory / "model").state_dict().items():
        assert torch.equal(tensor, best[name])


def test_a_wrong_key_of_the_model_tracker_is_refused_before_anything_is_made(table, tmp_path):
    config = described(table, model_tracker={"scores": "train/loss"})
    with pytest.raises(ConfigError, match=r"unknown key 'scores' in \[model_tracker\]: did you mean 'score'\?"):
        run_experiment(config, root=tmp_path)
    assert not (tmp_path / "default").exists()


def test_a_section_may_set_the_priority_of_any_component(table, tmp_path):
    config = described(table, callbacks={"model_summary": {"priority": 7, "depth": 1}})
    trainer = prepare_experiment(config, root=tmp_path).trainer
    first = trainer.hooks.implementations("on_train_start")[0]
    assert (first.plugin, first.priority) == ("ModelSummary", 7)
    with pytest.raises(ConfigError, match=r"priority = 'high' in \[callbacks.model_summary\]"):
        prepare_experiment(described(table, callbacks={"model_summary": {"priority": "high"}}), root=tmp_path)
