"""Components by name: found in metadata, imported when chosen, and every failure says whose it is."""

from __future__ import annotations

import sys

import pytest

from artifact_torch import Callback, EarlyStopper, PluginError, registry
from artifact_torch.plugin.registry import Registry

STOPPER = """
from artifact_torch import EarlyStopper
class Stop(EarlyStopper):
    def check(self, trainer):
        return "{reason}"
"""


def stopper(reason):
    return STOPPER.format(reason=reason)


def test_a_component_is_imported_when_it_is_chosen_and_not_before(install):
    install("acme-stop", {"artifact_torch.stoppers": {"acme": "acme_stop:Stop"}}, acme_stop=stopper("acme"))
    assert "acme" in registry.names("stoppers")
    assert "acme_stop" not in sys.modules
    component = registry.get("stoppers", "acme")
    assert issubclass(component, EarlyStopper)
    assert component is sys.modules["acme_stop"].Stop
    assert registry.get("stoppers", "acme-stop:acme") is component


def test_a_conflict_names_both_distributions_and_is_settled_by_the_full_name(install):
    for name in ("acme-stop", "other-stop"):
        module = f"{name.replace('-', '_')}_conflict"
        install(name, {"artifact_torch.stoppers": {"same": f"{module}:Stop"}}, **{module: stopper(name)})
    with pytest.raises(PluginError, match="the stopper 'same': write acme-stop:same or other-stop:same"):
        registry.get("stoppers", "same")
    for name in ("acme-stop", "other-stop"):
        assert registry.get("stoppers", f"{name}:same")().check(None) == name
    assert registry.names("stoppers").count("same") == 1


def test_a_misspelt_name_gets_a_suggestion(install):
    install("acme-stop", {"artifact_torch.stoppers": {"plateau": "m:S"}})
    with pytest.raises(PluginError, match=r"There is no stopper named 'plataeu': did you mean 'plateau'?"):
        registry.get("stoppers", "plataeu")


def test_an_unlike_name_gets_the_list_of_those_installed(install):
    install("acme-stop", {"artifact_torch.trackers": {"ledger": "m:A", "abacus": "m:B"}})
    with pytest.raises(PluginError, match=r"no tracker named 'zzz': installed are .*abacus, .*ledger"):
        registry.get("trackers", "zzz")


def test_a_kind_of_which_nothing_is_installed_is_named(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(PluginError, match="no artifact group named 'x': no installed plugin provides one"):
        Registry().get("artifact_groups", "x")


@pytest.mark.parametrize(
    ("source", "value", "reason"),
    [
        ("import no_such_library_of_acme", "acme_broken:Stop", "ModuleNotFoundError: No module named"),
        ("raise ValueError('needs a licence')", "acme_broken:Stop", "ValueError: needs a licence"),
        ("Other = 1", "acme_broken:Stop", "AttributeError"),
        ("", "acme_absent:Stop", "ModuleNotFoundError"),
        ("class :", "acme_broken:Stop", "SyntaxError"),
    ],
)
def test_a_broken_import_names_the_distribution_and_the_reason(install, source, value, reason):
    install("acme-stop", {"artifact_torch.stoppers": {"acme": value}}, version="2.5", acme_broken=source)
    message = rf"'acme' of acme-stop 2\.5 cannot be imported from {value}: {reason}.*Repair or uninstall acme-stop"
    with pytest.raises(PluginError, match=message):
        registry.get("stoppers", "acme")
    with pytest.raises(PluginError, match=message):
        registry.load("stoppers", "acme")


@pytest.mark.parametrize("source", ["class Stop: pass", "Stop = 3", "def Stop(): pass"])
def test_a_component_that_does_not_keep_its_contract_is_refused_naming_the_distribution(install, source):
    install("acme-stop", {"artifact_torch.stoppers": {"acme": "acme_contract:Stop"}}, acme_contract=source)
    message = r"'acme' from acme-stop 1\.0 \(acme_contract:Stop\) is not a subclass of artifact_torch\.core\.stopper"
    with pytest.raises(PluginError, match=message):
        registry.get("stoppers", "acme")


def test_what_is_not_a_class_is_loaded_as_it_is(install):
    install("acme-command", {"artifact_torch.commands": {"hello": "acme_command:hello"}}, acme_command="hello = 'x'")
    assert registry.load("commands", "hello") == "x"


def test_an_added_class_goes_before_an_installed_one(install):
    install("acme-stop", {"artifact_torch.callbacks": {"mine": "acme_absent:X"}})
    own = Registry()
    own.require("callbacks", Callback)
    mine = type("Mine", (Callback,), {})
    own.add("callbacks", "mine", mine)
    assert own.get("callbacks", "mine") is mine
    assert own.names("callbacks").count("mine") == 1
    with pytest.raises(PluginError, match=r"'bad' from registry.add is not a subclass of"):
        own.add("callbacks", "bad", dict)


def test_the_name_of_a_class_is_found_without_importing_plugins(install):
    install(
        "acme-stop",
        {"artifact_torch.stoppers": {"acme": "acme_named:Stop", "broken": "acme_named_not:Stop"}},
        acme_named=stopper("acme"),
    )
    own = Registry()
    component = own.get("stoppers", "acme")
    assert own.name_of("stoppers", component) == "acme"
    assert own.name_of("stoppers", type("Unregistered", (), {})) is None
    added = type("Added", (), {})
    own.add("stoppers", "added", added)
    assert own.name_of("stoppers", added) == "added"


def test_a_class_that_its_package_exports_is_found_by_its_entry_point(install):
    install(
        "acme-stop",
        {"artifact_torch.stoppers": {"acme": "acme_reexport:Stop"}},
        acme_reexport="from acme_inner import Stop",
        acme_inner=stopper("acme").replace("class Stop", "class Stop") + "\nStop.__module__ = 'acme_reexport.inner'\n",
    )
    own = Registry()
    assert own.name_of("stoppers", own.get("stoppers", "acme")) == "acme"


def test_all_of_a_kind_are_imported_and_a_broken_one_is_a_warning(install, caplog, monkeypatch):
    group = "artifact_torch.artifacts"
    install("acme-broken", {group: {"a": "acme_broken"}}, acme_broken="import no_such_thing")
    install("acme-good", {group: {"b": "acme_good"}}, acme_good="")
    install("acme-off", {group: {"c": "acme_off"}}, acme_off="")
    monkeypatch.setenv("ARTIFACT_TORCH_DISABLE", "acme-off")
    registry.import_all("artifacts")
    assert "acme_good" in sys.modules
    assert "acme_off" not in sys.modules
    assert "No module named 'no_such_thing'" in caplog.text
