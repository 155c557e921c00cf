"""A plugin that cannot be imported is left out with one sentence: whose it is, why and where, and what to do."""

from __future__ import annotations

import sys

import importlib_metadata
import pytest
import torch

CORE_VERSION = importlib_metadata.version("artifact-torch")

GREETING = """
from artifact_torch import hookimpl

@hookimpl
def log_epoch_metrics():
    return {"greeting": 1.0}
"""

UNSHOWN = """
class Unshown(Exception):
    def __str__(self):
        raise TypeError("no text")

raise Unshown
"""

DEEP = """
def fail():
    raise LookupError("no licence")  # here

fail()
"""

FAILURES = [
    ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'", "import no_such"),
    ("from os import no_such_name", None, "from os"),
    ("raise ValueError('needs\\na licence.')", "ValueError: needs a licence", "raise"),
    ("raise RuntimeError", "RuntimeError", "raise"),
    ("import sys\nsys.exit('no display')", "SystemExit: no display", "sys.exit"),
    ("raise SystemExit", "SystemExit", "raise"),
    ("import sys\nsys.exit(0)", "SystemExit: 0", "sys.exit"),
    ("\nclass :\n", "SyntaxError: invalid syntax", "class"),
    (
        "number = 1\n    other = 2",
        "IndentationError: unexpected indent",
        "other",
    ),
    (DEEP, "LookupError: no licence", "here"),
    (UNSHOWN, "Unshown: its message cannot be shown", "raise Unshown"),
    ("raise OSError('x' * 1_000_000)", f"OSError: {'x' * 300} ... (1,000,000 characters)", "raise"),
]


@pytest.mark.parametrize(("source", "reason", "place"), FAILURES, ids=[each[0].strip()[:30] for each in FAILURES])
def test_a_failing_import_is_one_sentence(install_plugin, warned, source, reason, place):
    module = install_plugin(source)
    if reason is None:  # the wording is Python's, and differs from version to version
        with pytest.raises(ImportError) as error:
            exec(source)
        reason = f"ImportError: {error.value}"
    assert warned() == [
        f"The plugin 'faulty' of acme-faulty 1.0 cannot be imported from acme_faulty: {reason} ({module.at(place)}). "
        "Repair or uninstall acme-faulty. It was left out."
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("acme_faulty:absent", "AttributeError: module 'acme_faulty' has no attribute 'absent'"),
        ("acme_faulty:Tools.absent", "AttributeError: type object 'Tools' has no attribute 'absent'"),
        ("acme_absent", "ModuleNotFoundError: No module named 'acme_absent'"),
        (
            "acme_faulty.inner:plugin",
            "ModuleNotFoundError: No module named 'acme_faulty.inner'; 'acme_faulty' is not a package",
        ),
    ],
)
def test_an_entry_that_points_nowhere_is_one_sentence(install, warned, value, reason):
    install("acme-faulty", {"artifact_torch.plugins": {"faulty": value}}, acme_faulty="class Tools: pass")
    assert warned() == [
        f"The plugin 'faulty' of acme-faulty 1.0 cannot be imported from {value}: {reason}. "
        "Repair or uninstall acme-faulty. It was left out."
    ]


def test_a_library_that_is_not_installed_is_named_with_the_way_to_get_it(install_plugin, warned):
    requires = ["no-such-library>=2", "torch", "Also_Absent<3", "absent-extra ; extra == 'more'"]
    module = install_plugin("import no_such_library", requires=requires)
    assert warned() == [
        "The plugin 'faulty' of acme-faulty 1.0 cannot be imported from acme_faulty: ModuleNotFoundError: No module "
        f"named 'no_such_library' ({module.at('import')}). It needs what is not installed: pip install "
        "'no-such-library>=2' 'Also_Absent<3'. It was left out."
    ]


def test_a_plugin_without_what_it_requires_is_used_if_it_can_be_imported(install_plugin, warned, make_trainer):
    install_plugin(GREETING, requires=["no-such-library>=2"])
    assert warned() == []
    assert make_trainer(use_installed_plugins=True).plugins.names() == ["faulty"]


@pytest.mark.parametrize("wanted", [">=99", "<0.2,>=0.1", "==0.1"])
def test_a_plugin_for_another_version_of_the_core_is_not_imported(install_plugin, warned, wanted):
    install_plugin("raise AssertionError('imported')", requires=[f"Artifact_Torch{wanted}"])
    assert warned() == [
        f"The plugin 'faulty' of acme-faulty 1.0 requires artifact-torch{wanted}, and {CORE_VERSION} is installed: "
        "install the version of artifact-torch that it needs, or another version of acme-faulty. It was left out."
    ]
    assert "acme_faulty" not in sys.modules


def test_the_others_act_and_the_run_says_who_was_left_out(install_plugin, make_trainer):
    install_plugin("raise ValueError('broken')", "acme-broken", name="broken", version="0.3")
    install_plugin(GREETING, "acme-greeting", name="greeting")
    trainer = make_trainer(epochs=1, use_installed_plugins=True)
    trainer.train()
    assert trainer.latest_score("train/greeting") == 1.0
    (warning,) = trainer.plugins.warnings
    assert [each for each in trainer.run.record["plugins"] if each["source"] != "core"] == [
        {"name": "greeting", "source": "installed", "distribution": "acme-greeting", "version": "1.0"},
        {
            "name": "broken",
            "source": "left out",
            "distribution": "acme-broken",
            "version": "0.3",
            "reason": warning.removesuffix(" It was left out."),
        },
    ]


def test_a_person_who_interrupts_an_import_is_obeyed(install_plugin, make_trainer):
    install_plugin("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        make_trainer(use_installed_plugins=True)


def test_what_an_import_prints_does_not_mix_with_data(install_plugin, warned, capfd):
    install_plugin(f"print('x' * 1_000_000)\n{GREETING}")
    assert warned() == []
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "x" * 1_000_000 in printed.err


def test_a_default_dtype_that_an_import_changes_is_put_back(install_plugin, warned):
    install_plugin(f"import torch\ntorch.set_default_dtype(torch.float64)\n{GREETING}")
    assert warned() == [
        "The plugin 'faulty' of acme-faulty 1.0 changes torch's default dtype to torch.float64 when it is imported: "
        "it was put back to torch.float32."
    ]
    assert torch.get_default_dtype() is torch.float32


def test_a_default_dtype_is_put_back_after_an_import_that_fails_too(install_plugin, warned):
    module = install_plugin("import torch\ntorch.set_default_dtype(torch.float64)\nraise ValueError('broken')")
    assert warned() == [
        "The plugin 'faulty' of acme-faulty 1.0 changes torch's default dtype to torch.float64 when it is imported: "
        "it was put back to torch.float32.",
        "The plugin 'faulty' of acme-faulty 1.0 cannot be imported from acme_faulty: ValueError: broken "
        f"({module.at('raise')}). Repair or uninstall acme-faulty. It was left out.",
    ]
    assert torch.get_default_dtype() is torch.float32


STRICT = "ARTIFACT_TORCH_STRICT_PLUGINS"


def test_when_asked_for_every_broken_plugin_is_an_error(install_plugin, refused, make_trainer, monkeypatch):
    module = install_plugin("raise ValueError('broken')")
    other = install_plugin(
        "from artifact_torch import hookimpl\n\n@hookimpl\ndef on_train_strat(trainer, x):\n    pass\n",
        "beta-faulty",
        name="other",
    )
    monkeypatch.setenv(STRICT, "1")
    assert refused(use_installed_plugins=True) == [
        "The plugin 'faulty' of acme-faulty 1.0 cannot be imported from acme_faulty: ValueError: broken "
        f"({module.at('raise')}). Repair or uninstall acme-faulty.",
        "The plugin 'other' of beta-faulty 1.0 cannot be used: there is no hook 'on_train_strat': did you mean "
        f"'on_train_start'? ({other.at('@hookimpl')}).",
    ]
    monkeypatch.setenv(STRICT, "0")
    assert len(make_trainer(use_installed_plugins=True).plugins.warnings) == 2
