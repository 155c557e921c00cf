"""The reference of components in READMEs: what is written, from what, and what is told where something is missing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from artifact_torch import UsageError
from artifact_torch.errors import PluginError
from artifact_torch.plugin.discovery import GROUPS
from artifact_torch.testing import ContractError, reference_tests
from artifact_torch.testing.component_reference import check_component, check_readme, main, write_readme
from artifact_torch.testing.described_components import BEGIN, END, entries_of

HEAD = """
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from artifact_torch import Callback, DataSplit, EarlyStopper, ScoreCallback, Trainer, hookimpl

"""

ECHO = (
    HEAD
    + '''
class Echo(Callback):
    """Says the loss again. Each epoch.

    It says ``loss`` first, as in::

        loss 0.5

        loss 0.25

    - It is never
      late.
    - It is | loud.

    Args:
        times, most: how many times,
            and how many at most; ``"a" | "b"``.
        mode: which one.

    Raises:
        UsageError: never.

    Example::

        trainer = Trainer(model, train_loader, epochs=2, validation=validation, callbacks=[Echo(times=3)])
        trainer.train()
        print(trainer.epoch_scores["validation/loss"])
    """

    def __init__(self, times: int, *, most: float | None = None, mode: Literal["a", "b"] = "a") -> None:
        self.times = times


class Stop(EarlyStopper):
    """Stops at once.

    Example::

        import math

        assert math.pi
        trainer = Trainer(model, train_loader, epochs=9, stoppers=[Stop()])
        assert trainer.train().epochs == 1
    """

    def check(self, trainer):
        return "it is enough"
'''
)

REFERENCE = """\
| name | class | what it does |
|---|---|---|
| callback [`echo`](#echo-echo) | `Echo` | Says the loss again. |
| stopper [`stop_now`](#stop_now-stop) | `Stop` | Stops at once. |

In the examples, `model` is your model, `train_loader` and `val_loader` give batches of training and validation data, \
and `validation` is a `ValidationRoutine` over `val_loader` that records `validation/loss`.

### `echo`: `Echo`

Says the loss again. Each epoch.

It says `loss` first, as in:

```text
loss 0.5

loss 0.25
```

- It is never late.
- It is | loud.

| parameter | type | default | meaning |
|---|---|---|---|
| `times` | `int` | required | how many times, and how many at most; `"a" \\| "b"`. |
| `most` | `float \\| None` | `None` | how many times, and how many at most; `"a" \\| "b"`. |
| `mode` | `"a" \\| "b"` | `"a"` | which one. |

```python
from acme_parts import Echo
from artifact_torch import Trainer

trainer = Trainer(model, train_loader, epochs=2, validation=validation, callbacks=[Echo(times=3)])
trainer.train()
print(trainer.epoch_scores["validation/loss"])
```

### `stop_now`: `Stop`

Stops at once.

No parameters.

```python
import math
from acme_parts import Stop
from artifact_torch import Trainer

assert math.pi
trainer = Trainer(model, train_loader, epochs=9, stoppers=[Stop()])
assert trainer.train().epochs == 1
```
"""

README = f"# Parts\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"

EMPTY = '''
class Part(Callback):
    """Does nothing.

    Args:
        size: of it.
    {example}
    """

    def __init__(self, *, size: int = 1) -> None: ...
'''


@pytest.fixture
def project(tmp_path, install):
    """Installs callbacks and stoppers, and returns the README beside the pyproject.toml that declares them."""

    def make(source, callbacks=None, stoppers=None, *, name="acme-parts", readme=README):
        groups = {GROUPS["callbacks"]: callbacks or {}, GROUPS["stoppers"]: stoppers or {}}
        module = name.replace("-", "_")
        values = {
            group: {entry: f"{module}:{attribute}" for entry, attribute in entries.items()}
            for group, entries in groups.items()
        }
        install(name, values, **{module: source})
        folder = tmp_path / name
        folder.mkdir()
        declared = [f'[project.entry-points."{group}"]' for group in values]
        for number, entries in enumerate(values.values()):
            declared[number] += "".join(f'\n{entry} = "{value}"' for entry, value in entries.items())
        (folder / "pyproject.toml").write_text("\n".join([f'[project]\nname = "{name}"', *declared]))
        (folder / "README.md").write_text(readme)
        return folder / "README.md"

    return make


@pytest.fixture
def component_of(project):
    """Installs one callback and returns its entry."""

    def make(source):
        (entry,) = entries_of(project(HEAD + source, {"part": "Part"}))
        return entry

    return make


@pytest.fixture
def with_example(component_of):
    """Installs a callback with an example and returns its entry."""

    def make(*lines):
        return component_of(
            EMPTY.format(example="\n    ".join(["", "Example::", "", *(f"    {each}" for each in lines)]))
        )

    return make


def reference_in(readme):
    return readme.read_text().partition(BEGIN)[2].partition(END)[0]


def section_of(source, component_of, readme):
    component_of(source)
    write_readme(readme)
    return reference_in(readme)


def row_of(readme, parameter):
    (row,) = [line for line in reference_in(readme).splitlines() if line.startswith(f"| `{parameter}` |")]
    return row


def test_all_that_the_code_says_is_written_between_the_markers(project):
    readme = project(ECHO, {"echo": "Echo"}, {"stop_now": "Stop"})
    assert write_readme(readme) == []
    before, note, *_ = readme.read_text().partition(BEGIN)[0], reference_in(readme).splitlines()[1]
    assert before == "# Parts\n\nBefore.\n\n"
    assert "not to be edited by hand" in note
    assert reference_in(readme) == f"\n{note}\n\n{REFERENCE}\n"
    assert readme.read_text().endswith(f"\n\n{END}\n\nAfter.\n")


def test_what_is_written_is_current_until_something_changes(project):
    readme = project(ECHO, {"echo": "Echo"}, {"stop_now": "Stop"})
    with pytest.raises(ContractError) as caught:
        check_readme(readme)
    command = "python -m artifact_torch.testing.component_reference"
    assert str(caught.value) == f"{readme} still has the line 'old': run `{command} {readme}`."
    write_readme(readme)
    check_readme(readme)
    written = readme.read_text()
    write_readme(readme)
    assert readme.read_text() == written
    readme.write_text(written.replace("| `mode` |", "| `mood` |"))
    with pytest.raises(ContractError, match=r"README\.md .* the line '\| `mo[od][de]` \|"):
        check_readme(readme)


def test_the_example_in_the_readme_is_the_one_that_runs(project):
    readme = project(ECHO, {"echo": "Echo"}, {"stop_now": "Stop"})
    for entry in entries_of(readme):
        check_component(entry)


def test_parameters_of_base_classes_are_described_there(project):
    source = '''
class Base(EarlyStopper):
    """Base.

    Args:
        score: which one, a column.
        epochs: of the base.
    """

    def __init__(self, *, score: str = "x", epochs: int = 2) -> None: ...


class Inherits(Base):
    """Stops.

    Args:
        epochs: of this one.
    """

    def check(self, trainer): ...


class Error(ScoreCallback):
    """Scores."""

    reset = update = compute = None
'''
    readme = project(HEAD + source, {"error": "Error"}, {"inherits": "Inherits"})
    problems = write_readme(readme)
    assert all("no Example" in problem for problem in problems)
    assert row_of(readme, "score") == '| `score` | `str` | `"x"` | which one, a column. |'
    assert row_of(readme, "epochs") == "| `epochs` | `int` | `2` | of this one. |"
    assert row_of(readme, "name").startswith("| `name` | `str` | required | the result's name")
    assert row_of(readme, "split").startswith(
        r'| `split` | `"train" \| "validation" \| "test" \| "all"` | `"validation"` |'
    )
    assert row_of(readme, "period").startswith(r"| `period` | `int \| str \| Period \| None` | `None` |")


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ("float = 1e-3", "| `float` | `0.001` |"),
        ("float = math.inf", "| `float` | `inf` |"),
        ('str = ""', '| `str` | `""` |'),
        ("list[str] | None = None", r"| `list[str] \| None` | `None` |"),
        ("tuple[float, ...] = (0.5, 0.9)", "| `tuple[float, ...]` | `(0.5, 0.9)` |"),
        ("Callable[[Trainer], float | None] = len", r"| `Callable[[Trainer], float \| None]` | `len` |"),
        ("Callable[..., Any]", "| `Callable[..., Any]` | required |"),
        ("Any = object()", "| `Any` | `<object object>` |"),
    ],
)
def test_types_and_defaults_are_written_as_one_reads_them(project, declared, shown):
    source = f'''
class Part(Callback):
    """Does.

    Args:
        given: it.
    """

    def __init__(self, *, given: {declared}) -> None: ...
'''
    readme = project(HEAD + source, {"part": "Part"})
    write_readme(readme)
    assert row_of(readme, "given") == f"| `given` {shown} it. |"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            EMPTY.format(example=""),
            "callbacks.part has no Example in its docstring: add a section `Example::` at its end, with about five "
            "lines that train with Part; model, train_loader, val_loader, validation and all public names are there.",
        ),
        (
            EMPTY.format(example="\n    Example::\n\n        Part()").replace("size: of it", "length: of it"),
            "callbacks.part does not say what its parameter 'size' means: add `size: what it is, with its unit.` to "
            "the section Args of its docstring.",
        ),
        (
            "class Part(Callback): pass",
            "callbacks.part has no docstring: say in its first sentence what Part does.",
        ),
    ],
)
def test_what_a_docstring_lacks_is_told_with_what_to_add(component_of, project, source, told):
    entry = component_of(source)
    with pytest.raises(ContractError) as caught:
        check_component(entry)
    assert told in str(caught.value)
    assert "None" not in str(caught.value)


def test_an_example_that_fails_is_told_with_its_line(with_example):
    entry = with_example("part = Part()", "part.grow(", "    3", ")")
    told = r"^The example of callbacks\.part fails at `part\.grow\(`: AttributeError: 'Part' object has no attribute"
    with pytest.raises(ContractError, match=told):
        check_component(entry)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nonsense()", r"fails at `nonsense\(\)`: NameError: name 'nonsense' is not defined\.$"),
        ("raise SystemExit(3)", r"fails at `raise SystemExit\(3\)`: SystemExit: 3\.$"),
        ("part = = 3", r"^The example of callbacks\.part is no Python: invalid syntax in `part = = 3`\.$"),
    ],
)
def test_an_example_that_cannot_run_is_told(with_example, line, told):
    with pytest.raises(ContractError, match=told):
        check_component(with_example(line))


def test_an_example_runs_in_an_empty_folder_and_leaves_no_trace(with_example, capsys):
    entry = with_example(
        "import random",
        "from pathlib import Path",
        "assert list(Path().iterdir()) == []",
        "random.seed(5)",
        "print(Path().absolute())",
        "Trainer(model, train_loader, epochs=1, callbacks=[Part()], validation=validation).train()",
        "assert list(Path().rglob('run.json')) != []",
    )
    random.seed(1)
    before, folder = random.getstate(), Path.cwd()
    check_component(entry)
    assert (random.getstate(), Path.cwd()) == (before, folder)
    said = capsys.readouterr()
    assert said.out == ""
    used = Path(next(line for line in said.err.splitlines() if line.startswith("/")))
    assert used != folder
    assert not used.exists()


@pytest.mark.parametrize(
    "lines",
    [
        ["model.train()", "assert next(iter(train_loader))", "assert next(iter(val_loader))"],
        ["model = Part()", "assert isinstance(model, Part)"],
        ["model = [model, model]", "assert len(model) == 2"],
        ["class Loud(Part):", "    pass", "", "Loud(size=2)"],
        ["def stop(trainer: Trainer) -> bool:", "    return len(trainer) > 1", "", "assert stop([1, 2])"],
        ["import artifact_torch as at", "assert at.Trainer is Trainer"],
    ],
)
def test_an_example_finds_what_it_uses_and_may_define_names_of_its_own(with_example, lines):
    check_component(with_example(*lines))


def test_a_class_that_its_package_does_not_offer_is_imported_from_its_module(project):
    source = HEAD + "__all__ = []" + EMPTY.format(example="\n    Example::\n\n        Part()")
    readme = project(source, {"part": "Part"})
    write_readme(readme)
    assert "\nfrom acme_parts import Part\n\nPart()\n" in reference_in(readme)


def test_types_that_cannot_be_looked_up_are_told(component_of):
    entry = component_of(EMPTY.format(example="").replace("size: int", "size: Size"))
    with pytest.raises(ContractError) as caught:
        check_component(entry)
    assert str(caught.value) == (
        "The types of the parameters of callbacks.part cannot be looked up (NameError: name 'Size' is not defined): "
        "import them for more than type checkers."
    )


@pytest.mark.parametrize("text", ["# Parts\n", f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n"])
def test_a_readme_without_its_place_is_told_what_to_add(project, text):
    readme = project(ECHO, {"echo": "Echo"}, readme=text)
    with pytest.raises(UsageError) as caught:
        write_readme(readme)
    assert str(caught.value) == (
        f"{readme} has no place for the components: add the lines `{BEGIN}` and, below it, `{END}`, each once."
    )
    assert readme.read_text() == text


def test_entry_points_that_are_declared_and_not_installed_are_told(project):
    readme = project(ECHO, {"echo": "Echo"})
    declaration = readme.parent / "pyproject.toml"
    more = '\nstop_now = "acme_parts:Stop"'
    declaration.write_text(declaration.read_text() + more)
    with pytest.raises(UsageError) as caught:
        write_readme(readme)
    assert str(caught.value) == (
        f"What {declaration} declares is not what is installed of acme-parts (stoppers.stop_now): run "
        "`pip install -e .` in its folder again."
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "name cannot be read from .*pyproject.toml .FileNotFoundError"),
        ("[tool.x]", "name cannot be read from .*pyproject.toml .KeyError: 'project'"),
        ('[project]\nname = "nothing-here"', "nothing-here has no callbacks, models, stoppers or trackers to describe"),
    ],
)
def test_a_readme_of_no_distribution_is_one_failing_test_that_says_so(tmp_path, content, told):
    (tmp_path / "README.md").write_text(README)
    if content is not None:
        (tmp_path / "pyproject.toml").write_text(content)
    with pytest.raises(pytest.fail.Exception, match=told):
        reference_tests(tmp_path / "README.md")()


def test_the_command_writes_all_that_it_can_and_tells_the_rest(project, tmp_path):
    source = ECHO + EMPTY.format(example="")
    good = project(source, {"echo": "Echo", "part": "Part", "gone": "Gone"})
    bad = project(ECHO, {"echo": "Echo"}, name="acme-bad", readme="")
    other = project(ECHO, stoppers={"stop_now": "Stop"}, name="acme-other")
    with pytest.raises(SystemExit) as caught:
        main([str(good), str(bad), str(tmp_path / "none" / "README.md"), str(other)])
    gone, part, place, none = str(caught.value).splitlines()
    assert "The callback 'gone' of acme-parts 1.0 cannot be imported from acme_parts:Gone: AttributeError" in gone
    assert part.startswith("callbacks.part has no Example")
    assert place.startswith(f"{bad} has no place")
    assert "No such file" in none
    assert [name in reference_in(good) for name in ("`echo`", "`part`", "`gone`")] == [True, True, False]
    assert "`stop_now`" in reference_in(other)
    with pytest.raises(PluginError, match="The callback 'gone'"):
        check_readme(good)


def test_the_command_asks_for_a_readme():
    with pytest.raises(SystemExit, match="Give one README or several"):
        main([])


TESTS = """
import sys
from pathlib import Path

from artifact_torch.testing import reference_tests

test_reference = reference_tests(Path(__file__).parent / "README.md")
assert not {"acme_parts", "torch"} & sys.modules.keys()
"""


@pytest.mark.lengthy
def test_the_readme_and_each_component_are_tests_of_their_own_collected_from_metadata(project, tmp_path):
    source = ECHO + EMPTY.format(example="\n    Example::\n\n        Part().grow()")
    readme = project(source, {"echo": "Echo", "part": "Part", "gone": "Gone"}, {"stop_now": "Stop"})
    (readme.parent / "test_reference.py").write_text(TESTS)
    variables = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-rA"]
    done = subprocess.run(
        command, cwd=readme.parent, env=variables, capture_output=True, text=True, check=False, timeout=120
    )
    outcomes = {
        line.partition("[")[2].partition("]")[0]: line.partition(" ")[0]
        for line in done.stdout.splitlines()
        if line.startswith(("PASSED", "FAILED"))
    }
    assert outcomes == {
        "README.md": "FAILED",
        "callbacks.echo": "PASSED",
        "callbacks.gone": "FAILED",
        "callbacks.part": "FAILED",
        "stoppers.stop_now": "PASSED",
    }
    assert "The example of callbacks.part fails at `Part().grow()`: AttributeError" in done.stdout
