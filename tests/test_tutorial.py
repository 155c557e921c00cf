"""The tutorial is followed to the letter: its files are written, its commands run, its outputs appear.

A scratch environment has the core from its wheel. ``pip`` there works without an index, so what would be fetched from
one is there already.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from artifact_torch.cli.main import artifact_torch
from artifact_torch.config import parse_config

pytestmark = pytest.mark.documentation

ROOT = Path(__file__).parent.parent
TUTORIAL = (ROOT / "docs" / "write-a-plugin.md").read_text(encoding="utf-8")

PIP = """#!{python}
import subprocess
import sys

arguments = sys.argv[1:]
if arguments != ["install", "artifact-torch"]:
    if arguments[0] == "install":
        arguments += ["--no-deps", "--no-index", "--no-build-isolation"]
    pip = [{python!r}, "-m", "pip", "--python", {environment!r}, "--disable-pip-version-check"]
    sys.exit(subprocess.run([*pip, *arguments]).returncode)
"""

PYTEST = """#!{environment}
import sys

from pytest import console_main

sys.exit(console_main())
"""


@dataclass(frozen=True)
class Block:
    """A block of code and the line of text above it."""

    language: str
    content: str
    above: str


def blocks() -> Iterator[Block]:
    above, language, content = "", "", list[str]()
    for line in TUTORIAL.splitlines(keepends=True):
        if language and line == "```\n":
            yield Block(language, "".join(content), above)
            language, content = "", []
        elif language:
            content.append(line)
        elif line.startswith("```"):
            language = line.strip("`\n")
        elif line.strip():
            above = line.strip()


def without_numbers(line: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "#", " ".join(line.split()))


def missing_lines(expected: str, output: str) -> list[str]:
    """The lines of an output as the tutorial shows it that do not come, in this order, in the real one."""
    lines = iter(without_numbers(line) for line in output.splitlines())
    wanted = [without_numbers(line) for line in expected.splitlines() if line.strip() not in ("", "...")]
    return [line for line in wanted if not any(line in found for found in lines)]


class Reader:
    """Somebody at a terminal, in an empty folder, who does what the tutorial says."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.working_directory = folder
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "ARTIFACT_TORCH_HOME")
        self.variables = {name: value for name, value in os.environ.items() if name not in hidden}
        self.variables |= {"PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def run(self, commands: str) -> str:
        script = f"set -e\n{commands}\npwd > {self.folder / '.working_directory'}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.working_directory,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        self.working_directory = Path((self.folder / ".working_directory").read_text().strip())
        return done.stdout

    def write(self, path: str, content: str) -> None:
        assert (self.folder / path).parent.is_dir()
        (self.folder / path).write_text(content, encoding="utf-8")

    def edit(self, path: str, difference: str) -> None:
        before, after = (
            "".join(line[1:] for line in difference.splitlines(keepends=True) if line[0] == sign) for sign in "-+"
        )
        content = (self.folder / path).read_text(encoding="utf-8")
        assert content.count(before) == 1
        self.write(path, content.replace(before, after))

    def has_written(self, excerpt: str) -> bool:
        return any(excerpt in path.read_text(encoding="utf-8") for path in self.folder.glob("*/pyproject.toml"))


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    dependencies = tmp_path / "dependencies"
    dependencies.mkdir()
    for site in [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]:
        for entry in site.iterdir():
            is_ours = "artifact" in entry.name.lower()
            if not is_ours and entry.suffix != ".pth" and not (dependencies / entry.name).exists():
                (dependencies / entry.name).symlink_to(entry)
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    programs = environment / "bin"
    for name, source in (("pip", PIP), ("pytest", PYTEST)):
        program = programs / name
        program.write_text(source.format(python=sys.executable, environment=str(programs / "python")))
        program.chmod(0o755)
    empty = tmp_path / "empty"
    empty.mkdir()
    made = Reader(empty, programs)
    made.run(f"{sys.executable} -m build --wheel --no-isolation --outdir {tmp_path}/wheel {ROOT}")
    made.run(f"pip install {tmp_path}/wheel/*.whl")
    return made


@pytest.mark.lengthy
def test_the_tutorial_leads_where_it_says(reader: Reader) -> None:
    outputs: list[tuple[str, str]] = []
    for block in blocks():
        if block.language == "bash":
            outputs.append((block.content, reader.run(block.content)))
        elif block.language == "text":
            commands, output = outputs[-1]
            assert not missing_lines(block.content, output), f"{commands}\n{output}"
        elif block.language == "python":
            reader.write(named_in(block.above, r"`([\w./-]+\.py)`:$"), block.content)
        elif block.language == "diff":
            reader.edit(named_in(block.above, r"^In `([\w./-]+)`,"), block.content)
        else:  # a part of a file that is there, or of a configuration
            assert reader.has_written(block.content) or parse_config(tomllib.loads(block.content))

    first, with_noise, switched_off = (output.splitlines()[0] for commands, output in outputs if "train.py" in commands)
    assert error_in(with_noise) < 0.75 * error_in(first)
    assert switched_off == first
    by_scale = [line for commands, output in outputs if "scales.py" in commands for line in output.splitlines()]
    assert error_in(by_scale[0]) == error_in(first)
    assert min(by_scale, key=error_in).startswith("scale 0.2:")


def test_every_command_in_the_tutorial_exists() -> None:
    known = artifact_torch.list_commands(click.Context(artifact_torch))
    assert set(re.findall(r"artifact-torch ([a-z]+(?:-[a-z]+)*)", TUTORIAL)) <= set(known)


def named_in(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found[1]


def error_in(line: str) -> float:
    return float(named_in(line, r"error on new points (\S+)$"))
