"""The reference of a distribution's components, generated from their code into its README.

``python -m artifact_torch.testing.component_reference README.md`` writes it between the two lines that ``BEGIN`` and
``END`` are. The distribution is the one of the ``pyproject.toml`` beside the README, as it is installed.
"""

from __future__ import annotations

import difflib
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import artifact_torch.core.artifact_group as _  # noqa: F401 - with it, what each kind has to be a subclass of is known
from artifact_torch.errors import ArtifactTorchError, PluginError, UsageError
from artifact_torch.parameters import Documentation, Parameter, documentation_of, parameters_of
from artifact_torch.plugin.discovery import SINGULAR, PluginEntry
from artifact_torch.plugin.loading import reason_of
from artifact_torch.plugin.registry import registry
from artifact_torch.testing.component_examples import GIVEN, names_in, run_source, with_imports
from artifact_torch.testing.described_components import BEGIN, COMMAND, END, entries_of, label_of
from artifact_torch.testing.outcomes import ContractError

__all__ = ["check_component", "check_readme", "component_reference", "main", "write_readme"]

_NOTE = f"<!-- Generated from the docstrings by `{COMMAND} README.md`: not to be edited by hand. -->"

_GIVEN = {
    "model": "`model` is your model",
    "train_loader": "`train_loader` and `val_loader` give batches of training and validation data",
    "validation": "`validation` is a `ValidationRoutine` over `val_loader` that records `validation/loss`",
}
"""What a reader has to know of the names that examples use without making them."""


@dataclass(frozen=True, slots=True)
class _Component:
    """What is written about a component.

    Attributes:
        entry: its entry point.
        class_name: the class's name.
        documentation: of the class.
        parameters: of what builds it.
        example: its example with imports; empty if it has none.
    """

    entry: PluginEntry
    class_name: str
    documentation: Documentation
    parameters: tuple[Parameter, ...]
    example: str

    @property
    def label(self) -> str:
        return label_of(self.entry)

    def problems(self) -> Iterator[str]:
        """A sentence for each thing that a reader would miss."""
        if not self.documentation.summary:
            yield f"{self.label} has no docstring: say in its first sentence what {self.class_name} does."
        for parameter in self.parameters:
            if not parameter.description:
                yield (
                    f"{self.label} does not say what its parameter {parameter.name!r} means: add "
                    f"`{parameter.name}: what it is, with its unit.` to the section Args of its docstring."
                )
        if not self.example:
            yield (
                f"{self.label} has no Example in its docstring: add a section `Example::` at its end, with about five "
                f"lines that train with {self.class_name}; {', '.join(GIVEN)} and all public names are there."
            )


def component_reference(entries: Sequence[PluginEntry]) -> str:
    """What a README says about components, in Markdown: a table of all, then parameters and example of each.

    Raises:
        PluginError: a component cannot be imported, its parameters cannot be read, or its example is no Python.
    """
    return _reference([_read(entry) for entry in entries])


def check_component(entry: PluginEntry) -> None:
    """See that a component's docstring says what it does and what each parameter means, and that its example runs.

    Raises:
        ContractError: it does not, with a sentence for each thing that is wrong.
        PluginError: as for ``component_reference``.
    """
    component = _read(entry)
    if problems := list(component.problems()):
        raise ContractError(" ".join(problems))
    run_source(component.example, component.label)


def check_readme(readme: Path) -> None:
    """See that a README says about its distribution's components what their code says.

    Raises:
        ContractError: it does not; the message has the first line that differs.
        UsageError: as for ``write_readme``.
        PluginError: as for ``component_reference``.
    """
    text = readme.read_text(encoding="utf-8")
    found, expected = text.splitlines(), _updated(readme, text, component_reference(entries_of(readme))).splitlines()
    if found != expected:
        changed = next(line for line in difflib.ndiff(found, expected) if line[0] in "+-")
        what = "lacks" if changed[0] == "+" else "still has"
        raise ContractError(f"{readme} {what} the line {changed[2:]!r}: run `{COMMAND} {readme}`.")


def write_readme(readme: Path) -> list[str]:
    """Write what a README says about its distribution's components, without those that cannot be imported or read.

    Returns:
        What is wrong with components, a sentence each: why one was left out, and what the docstrings do not say.

    Raises:
        UsageError: the README has no markers, or what is installed is not what its ``pyproject.toml`` declares.
    """
    text = readme.read_text(encoding="utf-8")
    components: list[_Component] = []
    problems: list[str] = []
    for entry in entries_of(readme):
        try:
            component = _read(entry)
        except PluginError as error:
            problems.append(str(error))
        else:
            components.append(component)
            problems += component.problems()
    updated = _updated(readme, text, _reference(components))
    if updated != text:
        readme.write_text(updated, encoding="utf-8")
    return problems


def _updated(readme: Path, text: str, reference: str) -> str:
    lines = text.splitlines()
    if lines.count(BEGIN) != 1 or lines.count(END) != 1 or lines.index(BEGIN) > lines.index(END):
        raise UsageError(
            f"{readme} has no place for the components: add the lines `{BEGIN}` and, below it, `{END}`, each once."
        )
    before, after = lines[: lines.index(BEGIN) + 1], lines[lines.index(END) :]
    return "\n".join([*before, _NOTE, "", reference, "", *after]) + "\n"


def _read(entry: PluginEntry) -> _Component:
    loaded = registry.load_class(entry)
    documentation = documentation_of(loaded)
    try:
        parameters = parameters_of(loaded)
    except Exception as error:
        raise ContractError(
            f"The types of the parameters of {label_of(entry)} cannot be looked up ({reason_of(error)}): import them "
            "for more than type checkers."
        ) from error
    try:
        example = with_imports(documentation.example, entry)
    except SyntaxError as error:
        raise ContractError(
            f"The example of {label_of(entry)} is no Python: {error.msg} in `{(error.text or '').strip()}`."
        ) from error
    return _Component(entry, loaded.__name__, documentation, parameters, example)


def _reference(components: Sequence[_Component]) -> str:
    contents = ["| name | class | what it does |", "|---|---|---|"]
    several = len({component.entry.kind for component in components}) > 1
    for component in components:
        kind = f"{SINGULAR[component.entry.kind]} " if several else ""
        contents.append(
            f"| {kind}[`{component.entry.name}`](#{_anchor(component)}) | `{component.class_name}` "
            f"| {_cell(_first_sentence(component.documentation.summary))} |"
        )
    parts = ["\n".join(contents), _given(components), *(_section(component) for component in components)]
    return "\n\n".join(part for part in parts if part)


def _given(components: Sequence[_Component]) -> str:
    used = {name for component in components for name in names_in(component.example)}
    if "val_loader" in used:
        used.add("train_loader")
    parts = [text for name, text in _GIVEN.items() if name in used]
    if not parts:
        return ""
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"
    return f"In the examples, {listed}."


def _section(component: _Component) -> str:
    rows = [_row(parameter) for parameter in component.parameters]
    table = ["| parameter | type | default | meaning |", "|---|---|---|---|", *rows] if rows else ["No parameters."]
    parts = [
        f"### {_title(component)}",
        _inline(component.documentation.summary),
        _markdown(component.documentation.text),
        "\n".join(table),
        f"```python\n{component.example}\n```" if component.example else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _title(component: _Component) -> str:
    return f"`{component.entry.name}`: `{component.class_name}`"


def _anchor(component: _Component) -> str:
    """The anchor that GitHub gives the component's heading."""
    return re.sub(r"[^\w -]", "", _title(component)).lower().replace(" ", "-")


def _row(parameter: Parameter) -> str:
    kind = parameter.type.replace("'", '"')  # as one writes texts in TOML, and in Python here
    default = "required" if parameter.required else f"`{_cell(_default(parameter.default))}`"
    return f"| `{parameter.name}` | `{_cell(kind)}` | {default} | {_cell(parameter.description)} |"


def _default(value: object) -> str:
    if isinstance(value, str):  # a StrEnum too
        return f'"{value}"'
    name: str | None = getattr(value, "__qualname__", None)  # of a function or a class
    return name or re.sub(r" at 0x[0-9a-f]+", "", repr(value))  # an address is another one each time


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", text, maxsplit=1)[0]


def _cell(text: str) -> str:
    return _inline(text).replace("|", "\\|")


def _inline(text: str) -> str:
    return text.replace("``", "`")


def _markdown(text: str) -> str:
    """Each paragraph on one line, items of a list one by one, and what is indented as it stands."""
    blocks = re.split(r"\n(?:[ \t]*\n)+", text)
    parts: list[str] = []
    for literal, group in itertools.groupby(blocks, key=lambda block: block.startswith("    ")):
        if literal:
            code = "\n\n".join(group)
            parts.append(f"```text\n{textwrap.dedent(code)}\n```")
        else:
            parts += map(_paragraph, group)
    return "\n\n".join(parts)


def _paragraph(block: str) -> str:
    items = (" ".join(item.split()) for item in re.split(r"\n(?=- )", block))
    return re.sub("::$", ":", _inline("\n".join(items)))


def main(arguments: Sequence[str]) -> None:
    """Write the components into each README that is given, and tell what stands in the way or is missing."""
    if not arguments:
        sys.exit(f"Give one README or several: {COMMAND} README.md")
    problems: list[str] = []
    for readme in map(Path, arguments):
        try:
            problems += write_readme(readme)
        except (ArtifactTorchError, OSError) as error:
            problems.append(str(error))
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main(sys.argv[1:])
