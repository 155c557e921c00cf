"""``new-plugin``: a distribution of one's own, complete with tests, from the templates beside this module.

``templates/common`` goes into every distribution, ``templates/<kind>`` into those of one kind. A file's name is its
path in the distribution and ``.tmpl``; ``package``, ``component.py``, ``test_component.py`` and ``gitignore`` in it
stand for other names. ``plugin.toml`` says what the plugin is and how one uses it; it is not copied.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import shlex
import shutil
import sys
import tomllib
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Any, cast

import click

from artifact_torch.cli.output import print_json
from artifact_torch.errors import UsageError
from artifact_torch.plugin.discovery import CORE, GROUPS, SINGULAR, discover, distribution_info

KINDS = ("artifact-group", "callback", "hooks", "model", "stopper", "tracker")

_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_-]{0,28}[A-Za-z0-9])?")
_SUFFIX = ".tmpl"
_WAYS = {
    "configuration": ("In a configuration", "toml"),
    "command": ("On the command line", "bash"),
    "python": ("In Python", "python"),
}


@dataclass(frozen=True, slots=True)
class _Identity:
    """One name in all the forms in which it is written.

    Attributes:
        name: of the entry, as a user chooses it: ``gradient_noise``.
        distribution: ``artifact-torch-gradient-noise``.
        package: ``artifact_torch_gradient_noise``.
        class_name: ``GradientNoise``.
    """

    name: str
    distribution: str
    package: str
    class_name: str

    @classmethod
    def of(cls, given: str) -> _Identity:
        """All forms of a name as a user gives it.

        Raises:
            UsageError: it cannot be a name, or Python would mistake one of its forms for something else.
        """
        bare = re.sub(r"^artifact[-_]torch([-_]|$)", "", given, flags=re.IGNORECASE)
        if not _NAME.fullmatch(bare):
            raise UsageError(
                f"{given!r} cannot name a plugin: use up to 30 letters, digits, '-' and '_', starting with a letter "
                "and ending with a letter or a digit, as in gradient-noise."
            )
        words = [word for word in re.split(r"[-_]+|(?<=[a-z0-9])(?=[A-Z])", bare) if word]
        name = "_".join(words).lower()
        class_name = "".join(word[0].upper() + word[1:] for word in words)
        if keyword.iskeyword(name) or keyword.iskeyword(class_name) or hasattr(builtins, class_name):
            raise UsageError(f"{given!r} cannot name a plugin: it is a word of Python's own; choose another name.")
        if name in sys.stdlib_module_names:
            raise UsageError(f"{given!r} cannot name a plugin: it is a module of Python; choose another name.")
        dashed = name.replace("_", "-")
        return cls(name, f"{CORE}-{dashed}", f"artifact_torch_{name}", class_name)

    @property
    def substitutions(self) -> dict[str, str]:
        """What the templates may name."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "package": self.package,
            "class_name": self.class_name,
        }


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What the plugin provides.")
@click.option(
    "--into",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The folder to make the distribution's folder in (default: the working directory).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def new_plugin(name: str, kind: str, into: Path, as_json: bool) -> None:
    """Write a distribution that provides the plugin NAME: package, tests and metadata, ready to be installed.

    What is written works and passes its tests as it stands, and is yours to edit. A plugin of kind "hooks" acts on
    every training once it is installed; the others are chosen by name.
    """
    identity = _Identity.of(name)
    folder = into / identity.distribution
    if folder.is_symlink() or folder.exists():
        raise UsageError(f"{folder} exists already: choose another name, or another folder with --into.")
    facts = _facts(kind, identity)
    _check_is_new(identity, facts)
    content = _rendered(kind, identity, facts)
    _check_class_name(identity, content)
    _write(folder, content)
    if as_json:
        made = {"distribution": identity.distribution, "package": identity.package, "name": identity.name, "kind": kind}
        print_json({"folder": str(folder), **made, "files": list(content)})
    else:
        _print(folder, identity, facts, list(content))


def _facts(kind: str, identity: _Identity) -> dict[str, Any]:
    """What ``plugin.toml`` says of the kind: texts, requirements, and kind of plugin -> name -> what is provided."""
    template = (_templates() / kind / f"plugin.toml{_SUFFIX}").read_text(encoding="utf-8")
    return tomllib.loads(Template(template).substitute(identity.substitutions))


def _check_is_new(identity: _Identity, facts: Mapping[str, Any]) -> None:
    """Refuse a name that something installed has."""
    core = distribution_info(CORE)
    standard = re.compile(rf"{re.escape(identity.distribution)}\b(?!-)")
    if core is not None and any(standard.match(requirement) for requirement in core.requires):
        raise UsageError(f"{identity.distribution} is one of the standard plugins: choose another name.")
    installed = distribution_info(identity.distribution)
    if installed is not None:
        raise UsageError(f"{identity.distribution} {installed.version} is installed already: choose another name.")
    for kind, names in facts["entry_points"].items():
        for entry in discover(kind):
            if entry.name in names:
                raise UsageError(
                    f"{entry.source} provides a {SINGULAR[kind]} named {entry.name!r} already: choose another name."
                )


def _rendered(kind: str, identity: _Identity, facts: Mapping[str, Any]) -> dict[str, str]:
    """Path in the distribution -> content, sorted by path."""
    substitutions = {
        **identity.substitutions,
        "summary": facts["summary"],
        "about": facts["about"].strip(),
        "usage": _usage(facts),
        "requirements": "".join(f'  "{line}",\n' for line in _requirements(facts)).rstrip("\n"),
        "entry_points": _entry_points(facts["entry_points"]),
    }
    placeholders = {
        "package": identity.package,
        "component.py": f"{identity.name}.py",
        "test_component.py": f"test_{identity.name}.py",
        "gitignore": ".gitignore",
    }
    rendered: dict[str, str] = {}
    for root in (_templates() / "common", _templates() / kind):
        for path, template in _files_below(root):
            if path != ("plugin.toml",):
                target = "/".join(placeholders.get(part, part) for part in path)
                rendered[target] = Template(template).substitute(substitutions)
    return dict(sorted(rendered.items()))


def _check_class_name(identity: _Identity, content: Mapping[str, str]) -> None:
    """Refuse a name whose class would be mistaken, in one of the modules, for another one that it uses."""
    for path, source in content.items():
        if path.endswith(".py") and Counter(_bound_names(source))[identity.class_name] > 1:
            raise UsageError(
                f"{identity.name!r} cannot name a plugin of this kind, which uses another class named "
                f"{identity.class_name}: choose another name."
            )


def _bound_names(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name


def _write(folder: Path, content: Mapping[str, str]) -> None:
    """Write a folder that appears whole or not at all."""
    working = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    try:
        for name, text in content.items():
            path = working / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        working.rename(folder)
    except BaseException as error:
        shutil.rmtree(working, ignore_errors=True)
        if isinstance(error, OSError):
            raise UsageError(f"{folder} cannot be written ({error.strerror}): choose another folder.") from error
        raise


def _print(folder: Path, identity: _Identity, facts: Mapping[str, Any], paths: list[str]) -> None:
    click.echo(f"Wrote {folder}:")
    for path in paths:
        click.echo(f"  {path}")
    click.echo("\nInstall it, test it, and see that it is found:")
    for command in (
        f"cd {shlex.quote(str(folder))}",
        'pip install -e ".[test]"',
        "pytest",
        "artifact-torch list-plugins",
        f"artifact-torch check-plugins {identity.name}",
    ):
        click.echo(f"  {command}")
    if "use" in facts:
        click.echo(f"\n{facts['use']}")
    for title, _, text in _uses(facts):
        click.echo(f"\n{title}:")
        click.echo("".join(f"  {line}".rstrip() + "\n" for line in text.splitlines()), nl=False)


def _uses(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """How to use the plugin: a title, a language and a text in it, for each way."""
    for key, (title, language) in _WAYS.items():
        if key in facts:
            yield title, language, cast("str", facts[key]).strip()


def _usage(facts: Mapping[str, Any]) -> str:
    parts = [facts["use"]] if "use" in facts else []
    parts += [f"{title}:\n\n```{language}\n{text}\n```" for title, language, text in _uses(facts)]
    return "\n\n".join(parts)


def _requirements(facts: Mapping[str, Any]) -> list[str]:
    return sorted([f"{CORE}>=1.0", *facts["requires"]])


def _entry_points(provided: Mapping[str, Mapping[str, str]]) -> str:
    sections: list[str] = []
    for kind, entries in provided.items():
        lines = "\n".join(f'{name} = "{value}"' for name, value in entries.items())
        sections.append(f'[project.entry-points."{GROUPS[kind]}"]\n{lines}')
    return "\n\n".join(sections)


def _files_below(folder: Traversable, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each template below a folder: its path without the suffix, in parts, and its text."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files_below(entry, (*above, entry.name))
        elif entry.name.endswith(_SUFFIX):
            yield (*above, entry.name.removesuffix(_SUFFIX)), entry.read_text(encoding="utf-8")


def _templates() -> Traversable:
    return files("artifact_torch.cli") / "templates"
