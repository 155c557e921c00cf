"""What is switched off is not imported; what is named and not installed is told; what is ordered runs first."""

from __future__ import annotations

import sys

import pytest

from artifact_torch import PluginError, PluginSelection, UsageError, registry
from artifact_torch.cli.main import main

VARIABLE = "ARTIFACT_TORCH_DISABLE"

GREETING = """
from artifact_torch import Callback, hookimpl

@hookimpl{mark}
def should_stop(trainer):
    return "because"

class Greeting(Callback):
    @hookimpl
    def on_train_start(self): pass
"""


@pytest.fixture
def three(install_plugin):
    """Three installed plugins, ``one`` of ``acme-one`` to ``three`` of ``acme-three``."""
    for name in ("one", "two", "three"):
        install_plugin(GREETING.format(mark=""), f"acme-{name}", name=name)


def acting(make_trainer, **options):
    trainer = make_trainer(use_installed_plugins=True, **options)
    return trainer.plugins.names(), trainer.plugins.warnings


SPELLINGS = ["two", "acme-two", "Acme_Two", "ACME.two", "acme-two:two", "acme_two:two", " two , ", "moon,two"]


@pytest.mark.parametrize("value", SPELLINGS)
def test_a_plugin_is_switched_off_by_the_environment_and_not_imported(three, make_trainer, monkeypatch, value):
    monkeypatch.setenv(VARIABLE, value)
    names, warnings = acting(make_trainer)
    assert names == ["one", "three"]
    assert "acme_two" not in sys.modules
    assert {"acme_one", "acme_three"} <= sys.modules.keys()
    unknown = "No installed plugin or distribution is named 'moon': see `artifact-torch list-plugins`."
    assert warnings == ([unknown] if "moon" in value else [])


@pytest.mark.parametrize("name", ["two", "acme-two", "Acme_Two", "acme_two:two"])
def test_a_plugin_is_switched_off_by_the_selection_and_not_imported(three, make_trainer, name):
    assert acting(make_trainer, plugins=PluginSelection(disable=(name,))) == (["one", "three"], [])
    assert "acme_two" not in sys.modules


@pytest.mark.parametrize("name", ["Two", "tw", "acme-two:one", "acme-one:two", "acme"])
def test_a_name_is_not_guessed(three, make_trainer, name):
    names, warnings = acting(make_trainer, plugins=PluginSelection(disable=(name,)))
    assert names == ["one", "three", "two"]
    (warning,) = warnings
    assert warning.startswith(f"No installed plugin or distribution is named {name!r}: ")


def test_a_misspelt_name_gets_a_suggestion_and_is_no_reason_to_end(three, make_trainer):
    _, warnings = acting(make_trainer, plugins=PluginSelection(disable=("thre", "acme-tow:two")))
    assert warnings == [
        "No installed plugin or distribution is named 'thre': did you mean 'three'?",
        "No installed plugin or distribution is named 'acme-tow:two': did you mean 'acme-two:two'?",
    ]


def test_a_broken_plugin_that_is_switched_off_is_no_matter(install_plugin, make_trainer, monkeypatch):
    install_plugin("raise AssertionError('imported')", name="broken")
    monkeypatch.setenv("ARTIFACT_TORCH_STRICT_PLUGINS", "1")
    monkeypatch.setenv(VARIABLE, "broken")
    assert acting(make_trainer) == ([], [])


def test_a_distribution_that_is_switched_off_provides_nothing_at_all(install, make_trainer, monkeypatch):
    install(
        "acme-all",
        {
            "artifact_torch.plugins": {"greeting": "acme_all"},
            "artifact_torch.callbacks": {"greet": "acme_all:Greeting"},
            "artifact_torch.commands": {"greet-me": "acme_all:command"},
        },
        acme_all="raise AssertionError('imported')",
    )
    monkeypatch.setenv(VARIABLE, "acme_all")
    assert acting(make_trainer) == ([], [])
    with pytest.raises(PluginError) as error:
        make_trainer(callbacks=["greet"])
    assert str(error.value) == (
        "The callback 'greet' of acme-all 1.0 is switched off: choose another one, or take it out of [plugins] "
        "disable, --no-plugin and ARTIFACT_TORCH_DISABLE."
    )
    with pytest.raises(PluginError, match=r"The command 'greet-me' of acme-all 1\.0 is switched off"):
        registry.load("commands", "greet-me")


def test_switching_one_off_settles_a_conflict(install_plugin, make_trainer, monkeypatch):
    for distribution in ("acme-greeting", "beta-greeting"):
        install_plugin(GREETING.format(mark=""), distribution, kind="callbacks", attribute="Greeting", name="greet")
        install_plugin(GREETING.format(mark=""), f"{distribution}-too", name="greeting")
    monkeypatch.setenv(VARIABLE, "acme-greeting, acme-greeting-too")
    assert acting(make_trainer, callbacks=["greet"]) == (["Greeting", "greeting"], [])
    assert {"beta_greeting", "beta_greeting_too"} <= sys.modules.keys()
    assert not {"acme_greeting", "acme_greeting_too"} & sys.modules.keys()


def test_list_plugins_shows_what_is_switched_off(three, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, "acme-two")
    with pytest.raises(SystemExit) as ended:
        main(["list-plugins", "--kind", "plugins"])
    assert ended.value.code == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "KIND", "DISTRIBUTION", "VERSION", "STATUS", "PROVIDES"]
    assert [line.split() for line in lines] == [
        ["one", "plugins", "acme-one", "1.0", "installed", "acme_one"],
        ["three", "plugins", "acme-three", "1.0", "installed", "acme_three"],
        ["two", "plugins", "acme-two", "1.0", "disabled", "acme_two"],
        ["acme-two:two:", "switched", "off", "by", "ARTIFACT_TORCH_DISABLE"],
    ]
    assert not {"acme_one", "acme_two", "acme_three"} & sys.modules.keys()


# Only these.


@pytest.mark.parametrize(
    ("only", "names"),
    [((), []), (("two",), ["two"]), (("acme_three", "one"), ["one", "three"]), (("acme-two:two",), ["two"])],
)
def test_only_what_is_named_acts(three, make_trainer, only, names):
    assert acting(make_trainer, plugins=PluginSelection(only=only)) == (names, [])
    imported = {name for name in ("one", "two", "three") if f"acme_{name}" in sys.modules}
    assert imported == set(names)


def test_what_is_named_and_switched_off_does_not_act(three, make_trainer, monkeypatch):
    monkeypatch.setenv(VARIABLE, "two")
    assert acting(make_trainer, plugins=PluginSelection(only=("one", "two"))) == (["one"], [])


def test_components_that_are_chosen_are_not_concerned(install_plugin, three, make_trainer):
    install_plugin(GREETING.format(mark=""), "acme-greeting", kind="callbacks", attribute="Greeting", name="greet")
    selection = PluginSelection(only=("two",))
    assert acting(make_trainer, plugins=selection, callbacks=["greet"]) == (["Greeting", "two"], [])


def test_only_what_is_installed_can_be_asked_for(three, make_trainer):
    with pytest.raises(UsageError) as error:
        make_trainer(use_installed_plugins=True, plugins=PluginSelection(only=("one", "tow", "zzz")))
    assert str(error.value) == (
        "No installed plugin or distribution is named 'tow': did you mean 'two'? No installed plugin or distribution "
        "is named 'zzz': see `artifact-torch list-plugins`."
    )
    assert "acme_one" not in sys.modules


# Order.


def test_without_an_order_distributions_and_names_decide(three, make_trainer):
    trainer = make_trainer(use_installed_plugins=True)
    assert trainer.plugins.names() == ["one", "three", "two"]
    assert trainer.train().reason == "one: because; three: because; two: because"


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (("two",), ["two", "one", "three"]),
        (("three", "one"), ["three", "one", "two"]),
        (("acme-two:two", "acme-three"), ["two", "three", "one"]),
        (("Acme_Two", "acme_three:three"), ["two", "three", "one"]),
        (("two", "three", "one"), ["two", "three", "one"]),
    ],
)
def test_what_is_ordered_runs_first_in_that_order(three, make_trainer, order, names):
    trainer = make_trainer(use_installed_plugins=True, plugins=PluginSelection(order=order))
    assert trainer.plugins.warnings == []
    assert [each.plugin for each in trainer.hooks.implementations("should_stop")] == names
    assert trainer.train().reason == "; ".join(f"{name}: because" for name in names)


@pytest.mark.parametrize("mark", ["(tryfirst=True)", "(trylast=True)"])
def test_an_order_goes_before_what_plugins_say_of_themselves(three, install_plugin, make_trainer, mark):
    install_plugin(GREETING.format(mark=mark), "acme-pushy", name="pushy")
    trainer = make_trainer(use_installed_plugins=True, plugins=PluginSelection(order=("two",)))
    names = [each.plugin for each in trainer.hooks.implementations("should_stop")]
    assert names == (["two", "pushy", "one", "three"] if "first" in mark else ["two", "one", "three", "pushy"])


def test_an_order_may_put_an_installed_plugin_before_a_chosen_one(three, install_plugin, make_trainer):
    source = GREETING.format(mark="").replace("on_train_start(self): pass", "should_stop(self): return 'greeted'")
    install_plugin(source, "acme-greeting", kind="callbacks", attribute="Greeting", name="greet")
    selection = PluginSelection(only=("two", "one"), order=("two", "greet"))
    trainer = make_trainer(use_installed_plugins=True, plugins=selection, callbacks=["greet"])
    assert trainer.train().reason == "two: because; Greeting: greeted; one: because"


def test_an_order_of_what_takes_no_part_is_told(three, make_trainer):
    selection = PluginSelection(disable=("one",), order=("one", "zzz", "two"))
    assert acting(make_trainer, plugins=selection) == (
        ["two", "three"],
        [
            "[plugins] order names 'one', which takes no part in this training.",
            "[plugins] order names 'zzz', which takes no part in this training.",
        ],
    )
