"""The documentation of the hooks: read strictly from the docstrings, and the reference in docs/ is current."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from artifact_torch.plugin.documentation import document_hooks, hook_reference
from artifact_torch.plugin.markers import hookspec
from artifact_torch.plugin.specs import SPECIFICATIONS

REFERENCE = Path(__file__).parents[2] / "docs" / "hooks.md"
FUNCTIONS = {name: function for each in SPECIFICATIONS for name, function in vars(each).items() if name[0] != "_"}

DOCSTRING = """Called when something happens: what to do about it, or None.

There is more
to know about ``this``.

Second paragraph.

Order:
    After one thing,
    before another.

Args:
    first: what comes first, of shape
        ``(batch, 3)``.
    second: what comes second: seconds.

Returns:
    What to do.

.. versionadded:: 1.2

Example::

    from artifact_torch import hookimpl

    @hookimpl
    def on_something(first):
        return None
"""


def specification(docstring, first_result=False, return_type="str | None"):
    def on_something(self, first, second):
        raise NotImplementedError  # a specification is read, and never called

    on_something.__doc__ = docstring
    on_something.__annotations__ = {"first": "Tensor", "second": "float", "return": return_type}
    return type("ThingHooks", (), {"on_something": hookspec(on_something, firstresult=first_result)})


def test_every_part_of_a_docstring_is_read():
    (hook,) = document_hooks([specification(DOCSTRING, first_result=True)])
    assert (hook.name, hook.subject, hook.first_result, hook.version_added) == ("on_something", "thing", True, "1.2")
    assert hook.signature == "on_something(first: Tensor, second: float) -> str | None"
    assert hook.call == "on_something(first, second)"
    assert hook.summary == "Called when something happens: what to do about it, or None."
    assert hook.text == "There is more to know about `this`.\n\nSecond paragraph."
    assert hook.order == "After one thing, before another."
    assert hook.arguments == (
        ("first", "Tensor", "what comes first, of shape `(batch, 3)`."),
        ("second", "float", "what comes second: seconds."),
    )
    assert (hook.returns, hook.return_type) == ("What to do.", "str | None")
    assert hook.example.splitlines()[0] == "from artifact_torch import hookimpl"
    assert hook.example.splitlines()[-1] == "    return None"


def test_the_free_text_may_be_left_out():
    start, end = DOCSTRING.index("There is more"), DOCSTRING.index("Order:")
    (hook,) = document_hooks([specification(DOCSTRING[:start] + DOCSTRING[end:])])
    assert hook.text == ""


WITHOUT_FULL_STOP = DOCSTRING.replace("about it, or None.", "about it, or None")
TWO_LINES = DOCSTRING.replace(": what to do", ".\nWhat to do")
TWICE = DOCSTRING.replace("Returns:", "Order:\n    Again.\n\nReturns:")
OUT_OF_PLACE = DOCSTRING.replace("Returns:", "Later:").replace("Order:", "Returns:").replace("Later:", "Order:")
BROKEN = [
    ("summary", "begins with 'Called'", None),
    ("summary", "begins with 'Called'", DOCSTRING.replace("Called when", "When")),
    ("summary", "full stop", WITHOUT_FULL_STOP),
    ("summary", "one line", TWO_LINES),
    ("Order", "missing or empty", DOCSTRING.replace("Order:\n    After one thing,\n    before another.\n\n", "")),
    ("Order", "missing or empty", DOCSTRING.replace("    After one thing,\n    before another.\n", "")),
    ("Order", "there twice", TWICE),
    ("Returns", "not in its place", OUT_OF_PLACE),
    ("Order", "not indented", DOCSTRING.replace("    before another", "before another")),
    ("Args", "missing or empty", DOCSTRING[: DOCSTRING.index("Args:")] + DOCSTRING[DOCSTRING.index("Returns:") :]),
    ("Args", "each of first, second", DOCSTRING.replace("    second: what comes second: seconds.\n", "")),
    ("Args", "each of first, second", DOCSTRING.replace("second: what", "third: what")),
    ("Args", "each of first, second", DOCSTRING.replace("first: what comes first, of", "what comes first, of")),
    ("Returns", "missing or empty", DOCSTRING.replace("Returns:\n    What to do.\n\n", "")),
    ("Returns", "for None, and only for it", DOCSTRING.replace("What to do.", "Nothing.")),
    ("Raises", "no such section", DOCSTRING.replace("Returns:", "Raises:\n    Never.\n\nReturns:")),
    ("versionadded", "missing or empty", DOCSTRING.replace(".. versionadded:: 1.2\n", "")),
    ("versionadded", "not a version", DOCSTRING.replace("1.2", "soon")),
    ("Example", "missing or empty", DOCSTRING[: DOCSTRING.index("Example::")]),
]


@pytest.mark.parametrize(("section", "problem", "docstring"), BROKEN)
def test_a_docstring_that_breaks_the_form_is_refused_with_its_hook_and_section(section, problem, docstring):
    with pytest.raises(ValueError, match=rf"the hook 'on_something', section '{section}': .*{problem}"):
        document_hooks([specification(docstring)])


def test_a_hook_that_returns_nothing_says_so():
    with pytest.raises(ValueError, match="section 'Returns': the type is None"):
        document_hooks([specification(DOCSTRING, return_type="None")])


def test_all_hooks_are_documented_in_the_order_of_the_specifications():
    hooks = document_hooks()
    assert [hook.name for hook in hooks] == list(FUNCTIONS)
    assert list(dict.fromkeys(hook.subject for hook in hooks)) == [
        "run",
        "loop",
        "metric",
        "validation",
        "tracking",
        "checkpoint",
    ]
    assert {hook.name for hook in hooks if hook.first_result} == {
        "get_validation_period",
        "get_validation_plan",
        "execute_validation",
    }


def test_the_reference_is_current():
    assert REFERENCE.read_text(encoding="utf-8") == hook_reference(), "run `make docs`"


@pytest.mark.parametrize("hook", FUNCTIONS)
def test_a_hook_stands_in_the_reference_with_its_exact_arguments(hook):
    reference = REFERENCE.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^### {hook}\n(.*?)(?=^##|\Z)", reference, flags=re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| `(.+)` \| (.+) \|$", section, flags=re.MULTILINE)
    signature = inspect.signature(FUNCTIONS[hook])
    parameters = list(signature.parameters.values())[1:]
    assert [(name, kind.replace("\\|", "|")) for name, kind, _ in rows] == [(p.name, p.annotation) for p in parameters]
    listed = ", ".join(f"{parameter.name}: {parameter.annotation}" for parameter in parameters)
    assert f"```python\n{hook}({listed}) -> {signature.return_annotation}\n```" in section
    assert f"| [`{hook}`](#{hook}) | Called " in reference
    for part in ("**Order.** ", "**Returns.** ", "Since version 1.0.", f"def {hook}("):
        assert part in section


def test_the_first_line_of_the_reference_says_that_it_is_generated():
    first_line = hook_reference().splitlines()[0]
    assert "`make docs`" in first_line
    assert "not to be edited by hand" in first_line


def test_the_module_writes_the_reference_to_a_path(tmp_path):
    path = tmp_path / "new" / "hooks.md"
    subprocess.run([sys.executable, "-m", "artifact_torch.plugin.documentation", path], check=True)
    assert path.read_text(encoding="utf-8") == hook_reference()
