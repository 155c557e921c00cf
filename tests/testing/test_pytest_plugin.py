"""What pytest gets from us: fixtures and contract tests where they are asked for, and next to nothing elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "pandas", "numpy", "pydantic", "artifact_torch.core")

FIXTURES = """
from pathlib import Path


def test_a_trainer_trains(make_trainer, hook_recorder, tmp_path):
    trainer = make_trainer(callbacks=[hook_recorder])
    assert trainer.train().epochs == 2
    assert "on_train_start" in hook_recorder.names
    assert hook_recorder.names.count("execute_batch_postprocessing") == 8
    assert trainer.run.path.is_relative_to(tmp_path / "runs")
    assert trainer.device.type == "cpu"
    assert list(Path().glob("runs")) == []


def test_its_parts_can_be_chosen(make_trainer):
    from artifact_torch.testing import TinyModel, tiny_loader

    model, loader = TinyModel(dropout=0.5), tiny_loader(8)
    trainer = make_trainer(model, loader, epochs=1)
    assert (trainer.model, trainer.train_loader, trainer.epochs) == (model, loader, 1)


def test_installed_plugins_take_part_if_they_are_asked_to(make_trainer):
    assert "loud" not in make_trainer().plugins.names()
    assert "loud" in make_trainer(use_installed_plugins=True).plugins.names()
"""

UNRELATED = """
import sys


def test_something_else():
    assert "artifact_torch.testing.pytest_plugin" in sys.modules
    assert [name for name in {heavy} if name in sys.modules] == []
"""

PARTS = """
from artifact_torch import Callback, EarlyStopper, hookimpl
import torch

class Good(Callback):
    def __init__(self, *, size: int) -> None:
        self.size = size

class Drawing(Callback):
    @hookimpl
    def execute_epoch_preprocessing(self):
        torch.rand(1)

class Needy(EarlyStopper):
    def __init__(self, *, model: torch.nn.Module) -> None: ...
    def check(self, trainer): ...
"""


@pytest.fixture
def run_pytest(tmp_path, install):
    """Runs pytest in an empty folder on one module of tests, where what is installed for this test is installed too."""

    def run(source, *arguments):
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        (folder / "test_project.py").write_text(source)
        variables = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
        del variables["ARTIFACT_TORCH_HOME"]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
        done = subprocess.run(
            [*command, *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_kit_is_imported_without_torch_pandas_and_pytest():
    code = f"""
import sys
import artifact_torch.testing
from artifact_torch.testing import checks_of, contract_tests
assert [name for name in {(*HEAVY, "pytest")} if name in sys.modules] == []
assert "TinyModel" in dir(artifact_torch.testing)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.lengthy
def test_an_unrelated_run_imports_nothing_heavy(run_pytest):
    code, said = run_pytest(UNRELATED.format(heavy=HEAVY))
    assert code == 0, said
    assert "1 passed" in said
    assert "warning" not in said


@pytest.mark.lengthy
def test_the_fixtures_work_in_an_empty_folder(run_pytest, install):
    hooks = "from artifact_torch import hookimpl\n@hookimpl\ndef on_train_start(): ...\n"
    install("loud-hooks", {"artifact_torch.plugins": {"loud": "loud_hooks"}}, loud_hooks=hooks)
    code, said = run_pytest(FIXTURES)
    assert code == 0, said
    assert "3 passed" in said


@pytest.mark.lengthy
def test_the_fixtures_are_described(run_pytest):
    _, said = run_pytest("", "--fixtures")
    assert "make_trainer -- " in said
    assert "Builds an artifact_torch.Trainer of a tiny model that trains in milliseconds" in said
    assert "hook_recorder -- " in said


@pytest.mark.lengthy
def test_contract_tests_of_what_is_not_installed_say_how_to_install_it(run_pytest):
    source = "from artifact_torch.testing import contract_tests\ntest_contract = contract_tests('artifact-torch-x')\n"
    code, said = run_pytest(source)
    assert code == 1
    assert "artifact-torch-x is not installed here: run `pip install -e .` in its folder first." in said
    assert "1 failed" in said
    assert "Traceback" not in said


CONTRACT = """
import sys

from artifact_torch.testing import contract_tests

test_contract = contract_tests("Acme_Parts", parameters={parameters})
assert not {{"acme_parts", "torch"}} & sys.modules.keys()
"""

ENTRY_POINTS = {
    "artifact_torch.callbacks": {"good": "acme_parts:Good", "drawing": "acme_parts:Drawing"},
    "artifact_torch.stoppers": {"needy": "acme_parts:Needy"},
}


@pytest.mark.lengthy
def test_contract_tests_are_collected_from_metadata(run_pytest, install):
    install("acme-parts", ENTRY_POINTS, acme_parts="raise RuntimeError('was imported')")
    code, said = run_pytest(CONTRACT.format(parameters={}), "--collect-only")
    assert code == 0, said
    assert "::test_contract[callbacks.good-neutrality]\n" in said
    assert "::test_contract[stoppers.needy-loads]\n" in said
    assert "21 tests collected" in said


@pytest.mark.lengthy
def test_each_check_of_each_plugin_is_a_test_of_its_own(run_pytest, install):
    install("acme-parts", ENTRY_POINTS, acme_parts=PARTS)
    code, said = run_pytest(CONTRACT.format(parameters={"good": {"size": 3}}), "-rfs")
    assert code == 1
    failed = [line for line in said.splitlines() if line.startswith("FAILED ")]
    assert [line.partition("[")[2].partition("]")[0] for line in failed] == [
        "callbacks.drawing-neutrality",
        "stoppers.needy-construction",
    ]
    assert "drew from the global random state in execute_epoch_preprocessing" in said
    assert "[4] " in said
    assert "This presupposes the check 'construction', which fails." in said
    assert "perform(" not in said  # the sentences say it all, and no line of the kit is shown


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"god": {}}, "provides no plugin named 'god', for which parameters are given: did you mean 'good'?"),
        ({"size": {}}, "for which parameters are given: it provides drawing, good, needy."),
    ],
)
def test_parameters_for_what_is_not_there_are_refused(install, parameters, told):
    from artifact_torch.testing import contract_tests

    install("acme-parts", ENTRY_POINTS, acme_parts=PARTS)
    with pytest.raises(pytest.fail.Exception) as failed:
        contract_tests("acme-parts", parameters=parameters)()
    assert told in str(failed.value)


def test_a_distribution_that_provides_nothing_is_told(install):
    from artifact_torch.testing import contract_tests

    install("empty-parts", {"console_scripts": {"x": "y:z"}})
    with pytest.raises(pytest.fail.Exception, match="empty-parts is installed and provides no plugin: declare entry"):
        contract_tests("empty-parts")()
