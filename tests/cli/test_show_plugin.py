"""``show-plugin`` and ``list-components``: what an installed plugin is and can be given."""

from __future__ import annotations

import json

import pytest

from artifact_torch.cli.main import main

GAUGE = '''
from artifact_torch import Callback, hookimpl


class Gauge(Callback):
    """Measures ``something``.

    Args:
        period: epochs between two ``measurements``.
    """

    def __init__(self, *, period: int = 2) -> None:
        self.period = period

    @hookimpl
    def should_stop(self, trainer):
        return None

    @hookimpl
    def on_train_start(self):
        pass
'''


@pytest.fixture
def gauges(install):
    entries = {"artifact_torch.callbacks": {"gauge": "gauge_for_test:Gauge", "lost": "lost_for_test:Lost"}}
    install("acme-gauges", entries, version="3.1", requires=["torch>=2.7"], gauge_for_test=GAUGE)


def shown(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_a_plugin_is_shown_with_its_origin_hooks_and_parameters(gauges, capsys):
    (plugin,) = json.loads(shown(capsys, "show-plugin", "gauge", "--json"))["plugins"]
    assert plugin == {
        "name": "gauge",
        "kind": "callbacks",
        "distribution": "acme-gauges",
        "version": "3.1",
        "editable": None,
        "unmet": [],
        "provides": "gauge_for_test:Gauge",
        "status": "loaded",
        "reason": "",
        "distribution_summary": "",
        "requires": ["torch>=2.7"],
        "summary": "Measures something.",
        "hooks": ["on_train_start", "should_stop"],
        "parameters": [
            {
                "name": "period",
                "type": "int",
                "required": False,
                "default": 2,
                "description": "epochs between two measurements.",
            }
        ],
    }
    text = shown(capsys, "show-plugin", "acme-gauges:gauge")
    assert text.startswith("gauge (callbacks)\n  Measures something.\n")
    assert "  period: int, default 2\n      epochs between two measurements.\n" in text


def test_a_distribution_is_shown_whole_the_broken_part_with_its_reason(gauges, capsys):
    plugins = json.loads(shown(capsys, "show-plugin", "Acme_Gauges", "--json"))["plugins"]
    assert [(each["name"], each["status"]) for each in plugins] == [("gauge", "loaded"), ("lost", "broken")]
    assert "cannot be imported from lost_for_test:Lost: ModuleNotFoundError" in plugins[1]["reason"]
    assert "status        broken\n" in shown(capsys, "show-plugin", "lost")


def test_an_unknown_plugin_is_refused_with_the_nearest_name(gauges, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["show-plugin", "guage"])
    assert ended.value.code == 2
    assert "No installed plugin or distribution is named 'guage': did you mean 'gauge'?" in capsys.readouterr().err


def test_components_are_listed_with_their_parameters(gauges, capsys):
    components = json.loads(shown(capsys, "list-components", "callbacks", "--json"))["components"]
    found = {each["name"]: each for each in components}
    assert {each["kind"] for each in components} == {"callbacks"}
    names = [parameter["name"] for parameter in found["checkpoint"]["parameters"]]
    assert names[:3] == ["period", "keep", "keep_best"]
    assert found["lost"]["status"] == "broken"
    text = shown(capsys, "list-components", "callbacks")
    assert "callbacks gauge  (acme-gauges 3.1)\n  Measures something.\n  period: int, default 2\n" in text
    assert "callbacks lost  (acme-gauges 3.1)\n  The callback 'lost' of acme-gauges 3.1 cannot be imported" in text


def test_models_and_groups_are_components_too_and_commands_are_not(capsys):
    components = json.loads(shown(capsys, "list-components", "--json"))["components"]
    found = {each["name"]: each for each in components}
    assert "latent_size" in [parameter["name"] for parameter in found["vae"]["parameters"]]
    assert found["table_comparison"]["parameters"] is None
    assert "demo" not in found
