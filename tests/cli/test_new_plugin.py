"""``new-plugin``: what it writes is installed by pip in a scratch environment, and passes its own tests there."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from artifact_torch.cli.main import main
from artifact_torch.cli.new_plugin import KINDS

pytestmark = pytest.mark.documentation

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"torch", "pandas", "numpy", "pydantic", "pyarrow", "matplotlib", "artifact_core", "artifact_experiment"}

PROVIDED = {
    "artifact-group": [("artifact_groups", "trial_artifact_group"), ("models", "trial_artifact_group_mixture")],
    "callback": [("callbacks", "trial_callback")],
    "hooks": [("plugins", "trial_hooks")],
    "model": [("models", "trial_model")],
    "stopper": [("stoppers", "trial_stopper")],
    "tracker": [("trackers", "trial_tracker")],
}

# torch and pandas take some ten seconds to import on a busy machine, so it is done once for the tests of all folders.
RUN_PYTEST = """
import os
import sys
from pathlib import Path

import pandas
import pytest
import torch._dynamo

import artifact_torch.core.trainer

for folder in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        log = os.open("pytest.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = pytest.main(["-q"])
        sys.stdout.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    Path(folder, "pytest.rc").write_text(str(os.waitstatus_to_exitcode(status)))
"""


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["new-plugin", *map(str, arguments)])
    return ended.value.code


def made(capsys, *arguments):
    assert exit_code(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def pyproject_of(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())


# What is written.


@pytest.mark.parametrize(
    ("given", "name", "class_name"),
    [
        ("gradient-noise", "gradient_noise", "GradientNoise"),
        ("gradient_noise2", "gradient_noise2", "GradientNoise2"),
        ("GradientNoise", "gradient_noise", "GradientNoise"),
        ("tableVAE", "table_vae", "TableVAE"),
        ("artifact-torch-gradient-noise", "gradient_noise", "GradientNoise"),
        ("artifact_torch_gradient_noise", "gradient_noise", "GradientNoise"),
        ("x", "x", "X"),
    ],
)
def test_the_name_takes_the_form_that_belongs_to_each_place(tmp_path, capsys, given, name, class_name):
    told = made(capsys, given, "--kind", "callback", "--into", tmp_path)
    distribution, package = f"artifact-torch-{name.replace('_', '-')}", f"artifact_torch_{name}"
    assert Path(told["folder"]) == tmp_path / distribution
    assert (told["distribution"], told["package"], told["name"]) == (distribution, package, name)
    project = pyproject_of(tmp_path / distribution)["project"]
    assert project["name"] == distribution
    assert project["entry-points"] == {"artifact_torch.callbacks": {name: f"{package}.{name}:{class_name}"}}
    assert f"class {class_name}(Callback):" in (tmp_path / distribution / package / f"{name}.py").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_those_that_are_told(tmp_path, capsys, kind):
    told = made(capsys, "trial", "--kind", kind, "--into", tmp_path)
    folder = Path(told["folder"])
    assert [folder] == list(tmp_path.iterdir())
    assert told["files"] == sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert {
        ".gitignore",
        "README.md",
        "artifact_torch_trial/__init__.py",
        "artifact_torch_trial/py.typed",
        "pyproject.toml",
        "tests/test_contract.py",
        "tests/test_trial.py",
    } <= set(told["files"])


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_was_made_and_what_to_type_next(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    assert exit_code("trial", "--kind", kind) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Wrote artifact-torch-trial:\n")
    for line in (
        "  tests/test_trial.py",
        "  cd artifact-torch-trial",
        '  pip install -e ".[test]"',
        "  pytest",
        "  artifact-torch list-plugins",
        "  artifact-torch check-plugins trial",
    ):
        assert f"{line}\n" in shown
    readme = Path("artifact-torch-trial", "README.md").read_text()
    how_to_use = shown.partition("check-plugins trial\n")[2]
    assert all(line.strip() in readme for line in how_to_use.splitlines())


def test_nothing_heavy_is_imported(tmp_path):
    program = (
        "import json, sys; from artifact_torch.cli.main import artifact_torch\n"
        "artifact_torch(sys.argv[1:], standalone_mode=False); print(json.dumps(sorted(sys.modules)))"
    )
    command = [sys.executable, "-c", program, "new-plugin", "trial", "--kind", "artifact-group", "--into", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


# What is refused.


@pytest.mark.parametrize(
    "name",
    [
        "",
        "9lives",
        "-noise",
        "noise-",
        "noise!",
        "gradient noise",
        "../noise",
        "a/b",
        "a.b",
        "größe",
        "x\n",
        "x" * 31,
        "class",
        "None",
        "true",
        "exception",
        "random",
        "artifact-torch",
        "artifact_torch_",
    ],
)
def test_a_name_that_cannot_be_one_is_refused_in_one_sentence(tmp_path, capsys, name):
    assert exit_code("--kind", "callback", "--into", tmp_path, "--", name) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"Error: {name!r} cannot name a plugin: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "name", "problem"),
    [
        ("stopper", "patience", "provides a stopper named 'patience' already"),
        ("callback", "stoppers", "artifact-torch-stoppers is one of the standard plugins"),
        ("callback", "trainer", "another class named Trainer"),
        ("model", "samples", "another class named Samples"),
        ("artifact-group", "gaussian-mixture", "another class named GaussianMixture"),
    ],
)
def test_a_name_that_something_else_has_is_refused(tmp_path, capsys, kind, name, problem):
    assert exit_code(name, "--kind", kind, "--into", tmp_path) == 2
    assert problem in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_distribution_that_is_installed_is_refused(tmp_path, capsys, install):
    install("artifact-torch-noise", {"artifact_torch.callbacks": {"loudness": "noise:Loudness"}}, version="2.1")
    assert exit_code("noise", "--kind", "stopper", "--into", tmp_path) == 2
    assert "artifact-torch-noise 2.1 is installed already" in capsys.readouterr().err


def test_the_name_of_an_installed_component_of_another_kind_is_free(tmp_path, capsys):
    assert made(capsys, "patience", "--kind", "callback", "--into", tmp_path)["name"] == "patience"


def test_a_folder_that_exists_is_refused_and_left_alone(tmp_path, capsys):
    folder = tmp_path / "artifact-torch-noise"
    folder.mkdir()
    assert exit_code("noise", "--kind", "callback", "--into", tmp_path) == 2
    assert capsys.readouterr().err.startswith(f"Error: {folder} exists already: choose another name")
    assert not list(folder.iterdir())
    folder.rmdir()
    folder.symlink_to(tmp_path / "absent")
    assert exit_code("noise", "--kind", "callback", "--into", tmp_path) == 2
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_to_write_into_has_to_exist(tmp_path, capsys):
    assert exit_code("noise", "--kind", "callback", "--into", tmp_path / "absent") == 2
    assert "does not exist" in capsys.readouterr().err


def test_an_unknown_kind_is_refused(tmp_path, capsys):
    assert exit_code("noise", "--kind", "callbacks", "--into", tmp_path) == 2
    shown = capsys.readouterr().err
    assert all(f"'{kind}'" in shown for kind in KINDS)


def test_a_folder_that_cannot_be_written_whole_is_not_written_at_all(tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as on a disk that becomes full

    command = [Path(sys.executable).with_name("artifact-torch"), "new-plugin", "noise", "--kind", "callback"]
    done = subprocess.run(command, cwd=tmp_path, preexec_fn=small_files, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "Error: artifact-torch-noise cannot be written (File too large): choose another folder.\n"
    assert not list(tmp_path.iterdir())


# What it is worth: installed for real, beside a core that was installed from its wheel.


class Environment:
    """A virtual environment with the core from its wheel and what it depends on, and the distributions made in it."""

    def __init__(self, folder):
        self.folder = folder
        self.distributions = {}

    @classmethod
    def make(cls, folder):
        dependencies = folder / "dependencies"
        dependencies.mkdir(parents=True)
        for site in [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]:
            for entry in site.iterdir():
                is_ours = "artifact" in entry.name.lower()
                if not is_ours and entry.suffix != ".pth" and not (dependencies / entry.name).exists():
                    (dependencies / entry.name).symlink_to(entry)
        made = cls(folder)
        venv.create(folder / "environment", with_pip=False, symlinks=True)
        (site,) = folder.glob("environment/lib/python*/site-packages")
        (site / "dependencies.pth").write_text(f"{dependencies}\n")
        made.call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "wheel", ROOT)
        made.install(*folder.glob("wheel/*.whl"))
        return made

    def install(self, *projects):
        pip = [sys.executable, "-m", "pip", "--python", self.program("python"), "--disable-pip-version-check"]
        self.call(*pip, "install", "--no-deps", "--no-index", "--no-build-isolation", *projects)

    def program(self, name):
        return self.folder / "environment" / "bin" / name

    def call(self, *command):
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        variables = {name: value for name, value in os.environ.items() if name not in hidden}
        variables["OMP_NUM_THREADS"] = "1"
        done = subprocess.run(command, env=variables, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A distribution of each kind, made and installed with ``pip install -e``, its tests run."""
    made = Environment.make(tmp_path_factory.mktemp("scratch"))
    for kind in KINDS:
        command = [made.program("artifact-torch"), "new-plugin", f"trial-{kind}", "--kind", kind, "--json"]
        made.distributions[kind] = made.folder / json.loads(made.call(*command))["folder"]
    made.install(*(argument for folder in made.distributions.values() for argument in ("-e", folder)))
    made.call(made.program("python"), "-c", RUN_PYTEST, *made.distributions.values())
    return made


@pytest.mark.lengthy
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_passes_its_own_tests_and_the_contract(environment, kind):
    folder = environment.distributions[kind]
    log = (folder / "pytest.log").read_text()
    assert (folder / "pytest.rc").read_text() == "0", log
    assert " passed" in log


@pytest.mark.lengthy
def test_what_is_made_is_found_once_it_is_installed(environment):
    listed = json.loads(environment.call(environment.program("artifact-torch"), "list-plugins", "--load", "--json"))
    found = {(row["distribution"], row["kind"], row["name"]): row for row in listed["plugins"]}
    expected = {
        (f"artifact-torch-trial-{kind}", *provided): str(environment.distributions[kind])
        for kind, entries in PROVIDED.items()
        for provided in entries
    }
    assert {key: row["editable"] for key, row in found.items()} == expected
    assert {row["status"] for row in found.values()} == {"loaded"}


@pytest.mark.lengthy
def test_what_is_made_has_types(environment):
    command = [Path(sys.executable).with_name("pyright"), "--pythonpath", environment.program("python")]
    environment.call(*command, *environment.distributions.values())


@pytest.mark.parametrize("name", ["trial", "x", "abcdefghijabcdefghijabcdefghij"])
def test_what_is_made_is_clean_whatever_its_name(tmp_path, name):
    ruff = Path(sys.executable).with_name("ruff")
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        assert exit_code(name, "--kind", kind, "--into", tmp_path / kind) == 0
    for command in (["check"], ["format", "--diff"]):
        done = subprocess.run([ruff, *command, tmp_path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
