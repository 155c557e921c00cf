"""A checkpoint knows who took part: what differs is told, and state without its plugin is not dropped unasked."""

from __future__ import annotations

import shutil
import sys

import pytest

from artifact_torch import CheckpointError, PluginSelection, hookimpl
from artifact_torch.core.checkpoint import read_state

PLAIN = """
from artifact_torch import hookimpl

@hookimpl
def on_train_start(): pass
"""

KEEPING = """
from artifact_torch import hookimpl

state = {"steps": 0}

@hookimpl
def execute_batch_postprocessing(trainer):
    state["steps"] = trainer.state.step

@hookimpl
def on_save_checkpoint():
    return dict(state)

@hookimpl
def on_load_checkpoint(state):
    loaded.append(state)

loaded = []
"""

WRITTEN = "The checkpoint was written"
LOST = (
    "The checkpoint holds state of plugins that are not here: {names}. Install or choose them, or go on without their "
    "state (--allow-plugin-drift, allow_plugin_drift=True)."
)


@pytest.fixture
def uninstall(tmp_path):
    """Removes an installed distribution, its modules too."""

    def remove(distribution, version="1.0"):
        module = distribution.replace("-", "_")
        shutil.rmtree(tmp_path / "site" / f"{module}-{version}.dist-info")
        (tmp_path / "site" / f"{module}.py").unlink()
        shutil.rmtree(tmp_path / "site" / "__pycache__", ignore_errors=True)
        sys.modules.pop(module, None)

    return remove


@pytest.fixture
def trained(make_trainer):
    """Trains with the installed plugins, and gives a checkpoint."""

    def train(**options):
        trainer = make_trainer(epochs=1, use_installed_plugins=True, **options)
        trainer.train()
        return trainer.save_checkpoint()

    return train


@pytest.fixture
def warnings(make_trainer):
    """Loads a checkpoint with the plugins that are installed now, and gives the warnings."""

    def load(checkpoint, *, allow_plugin_drift=False, **options):
        trainer = make_trainer(use_installed_plugins=True, **options)
        before = len(trainer.plugins.warnings)
        trainer.load_checkpoint(checkpoint, allow_plugin_drift=allow_plugin_drift)
        assert trainer.state.step == 4
        return trainer.plugins.warnings[before:]

    return load


def test_a_checkpoint_names_the_plugins_in_calling_order(install_plugin, trained):
    install_plugin(PLAIN, "acme-two", name="two", version="2.0")
    install_plugin(PLAIN, "acme-one", name="one")
    install_plugin("", "acme-idle", name="idle")
    saved = read_state(trained())["plugin_set"]
    assert [each for each in saved if each["source"] != "core"] == [
        {"name": "one", "source": "installed", "distribution": "acme-one", "version": "1.0"},
        {"name": "two", "source": "installed", "distribution": "acme-two", "version": "2.0"},
    ]


def test_the_same_plugins_are_no_reason_to_warn(install_plugin, trained, warnings):
    module = install_plugin(KEEPING)
    checkpoint = trained(stoppers=["patience"])
    assert warnings(checkpoint, stoppers=["patience"]) == []
    assert sys.modules[module.path.stem].loaded == [{"steps": 4}]


def test_missing_added_and_changed_plugins_are_told(install_plugin, uninstall, trained, warnings):
    for name in ("gone", "lost", "same"):
        install_plugin(PLAIN, f"acme-{name}", name=name)
    install_plugin(PLAIN, "acme-changed", name="changed", version="1.0")
    install_plugin(PLAIN, "acme-moved", name="moved")
    checkpoint = trained()
    for name in ("gone", "lost", "changed", "moved"):
        uninstall(f"acme-{name}")
    install_plugin(PLAIN, "acme-changed", name="changed", version="1.1")
    install_plugin(PLAIN, "beta-moved", name="moved")
    install_plugin(PLAIN, "acme-new", name="new", version="3.0")
    assert warnings(checkpoint) == [
        f"{WRITTEN} with plugins that are not here: 'gone' (acme-gone 1.0), 'lost' (acme-lost 1.0).",
        f"{WRITTEN} without plugins that are here: 'new' (acme-new 3.0).",
        f"{WRITTEN} with 'changed' of acme-changed 1.0, and here it is of acme-changed 1.1.",
        f"{WRITTEN} with 'moved' of acme-moved 1.0, and here it is of beta-moved 1.0.",
        f"{WRITTEN} with plugins in the order changed, moved, same, and here they run as changed, same, moved.",
    ]


def test_another_order_is_told(install_plugin, trained, warnings):
    for name in ("one", "two"):
        install_plugin(PLAIN, f"acme-{name}", name=name)
    checkpoint = trained()
    assert warnings(checkpoint, plugins=PluginSelection(order=("two",))) == [
        f"{WRITTEN} with plugins in the order one, two, and here they run as two, one."
    ]


def test_a_chosen_component_of_no_distribution_is_told_too(trained, warnings):
    plugin = type("Own", (), {"on_train_start": hookimpl(lambda _self: None)})()
    checkpoint = trained(callbacks=[plugin])
    assert warnings(checkpoint) == [f"{WRITTEN} with plugins that are not here: 'Own' (no distribution)."]


def test_state_of_a_plugin_that_is_not_here_is_an_error(install_plugin, uninstall, trained, make_trainer):
    install_plugin(KEEPING)
    install_plugin(KEEPING, "beta-keeping", name="other", version="0.2")
    install_plugin(PLAIN, "acme-plain", name="plain")
    checkpoint = trained()
    for distribution, version in (("acme-faulty", "1.0"), ("beta-keeping", "0.2"), ("acme-plain", "1.0")):
        uninstall(distribution, version)
    trainer = make_trainer(use_installed_plugins=True)
    with pytest.raises(CheckpointError) as error:
        trainer.load_checkpoint(checkpoint)
    assert str(error.value) == LOST.format(names="'faulty' (acme-faulty 1.0), 'other' (beta-keeping 0.2)")
    assert trainer.state.step == 0
    assert trainer.plugins.warnings == []


def test_state_may_be_left_out_if_that_is_allowed(install_plugin, uninstall, trained, warnings):
    install_plugin(KEEPING)
    checkpoint = trained()
    uninstall("acme-faulty")
    assert warnings(checkpoint, allow_plugin_drift=True) == [
        f"{WRITTEN} with plugins that are not here: 'faulty' (acme-faulty 1.0).",
        f"{WRITTEN} with state of plugins that is left out here: 'faulty' (acme-faulty 1.0).",
    ]


@pytest.mark.parametrize("way", ["environment", "selection", "broken"])
def test_a_plugin_that_is_switched_off_or_broken_is_not_here(
    install_plugin, uninstall, trained, make_trainer, monkeypatch, way
):
    install_plugin(KEEPING)
    checkpoint = trained()
    if way == "environment":
        monkeypatch.setenv("ARTIFACT_TORCH_DISABLE", "acme_faulty")
    elif way == "broken":
        uninstall("acme-faulty")
        install_plugin("raise ValueError('broken')")
    selection = PluginSelection(disable=("faulty",) if way == "selection" else ())
    trainer = make_trainer(use_installed_plugins=True, plugins=selection)
    with pytest.raises(CheckpointError) as error:
        trainer.load_checkpoint(checkpoint)
    assert str(error.value) == LOST.format(names="'faulty' (acme-faulty 1.0)")


def test_state_goes_to_the_plugin_of_another_version(install_plugin, uninstall, trained, warnings):
    install_plugin(KEEPING)
    checkpoint = trained()
    uninstall("acme-faulty")
    module = install_plugin(KEEPING, version="2.0")
    assert warnings(checkpoint) == [f"{WRITTEN} with 'faulty' of acme-faulty 1.0, and here it is of acme-faulty 2.0."]
    assert sys.modules[module.path.stem].loaded == [{"steps": 4}]


def test_what_differs_stands_in_the_log_of_the_run_that_goes_on(install_plugin, make_trainer, trained, caplog):
    checkpoint = trained()
    install_plugin(PLAIN, "acme-new", name="new")
    trainer = make_trainer(use_installed_plugins=True)
    trainer.load_checkpoint(checkpoint)
    trainer.train()
    sentence = f"{WRITTEN} without plugins that are here: 'new' (acme-new 1.0)."
    assert sentence in caplog.messages
    assert f" WARNING {sentence}\n" in (trainer.run.path / "log.txt").read_text(encoding="utf-8")
