"""The contracts of plugins: a good one passes every check, and one that breaks just one is told which and why."""

from __future__ import annotations

import sys

import pytest

from artifact_torch import UsageError
from artifact_torch.testing import ContractError, NotJudged, checks_of, outcome_of, run_check
from artifact_torch.testing.contracts import CHECKS


def reason(entry, check, error=ContractError, **options):
    with pytest.raises(error) as caught:
        run_check(entry, check, **options)
    assert type(caught.value) is error
    return str(caught.value)


def only_fails(entry, check, **options):
    """Why a check fails that no other one of this plugin fails with."""
    outcomes = {name: outcome_of(entry, name, **options) for name in checks_of(entry)}
    assert {name for name, outcome in outcomes.items() if outcome.outcome == "failed"} == {check}
    return outcomes[check].reason


@pytest.mark.lengthy
@pytest.mark.parametrize("kind", CHECKS)
def test_a_good_plugin_passes_every_check_of_its_kind(entry_of, kind, capsys, good):
    entry = entry_of(kind, good[kind])
    outcomes = {check: outcome_of(entry, check) for check in checks_of(entry)}
    unlike = {check: outcome for check, outcome in outcomes.items() if outcome.outcome != "passed"}
    if kind == "plugins":
        assert unlike.pop("pickling").outcome == "not applicable"
    assert unlike == {}
    assert capsys.readouterr().out == ""


def test_the_checks_are_known_from_metadata_alone(entry_of):
    entry = entry_of("callbacks", "raise RuntimeError('was imported')")
    known = ("loads", "signatures", "construction", "state", "pickling", "time_budget", "neutrality")
    assert checks_of(entry) == known
    assert "acme_parts" not in sys.modules


def test_an_unknown_check_is_refused_with_the_known_ones(entry_of, good):
    entry = entry_of("commands", good["commands"])
    with pytest.raises(UsageError, match=r"no check 'state' of a command: known are loads, help\."):
        run_check(entry, "state")


@pytest.mark.parametrize(
    ("kind", "source", "told"),
    [
        ("callbacks", "import no_such_library", r"No module named 'no_such_library' \(.*acme_parts.py:\d+\)"),
        ("callbacks", "raise SystemExit('bye')", "SystemExit: bye"),
        ("callbacks", "class Part: pass", "The callback 'part' .* is not a subclass of artifact_torch.core.callback"),
        (
            "stoppers",
            "class Part(EarlyStopper): pass",
            "lacks methods that it has to define: check of acme_parts:Part.",
        ),
        ("models", "class Part(Model[Any, ModelOutput]): pass", "define: forward of acme_parts:Part."),
        ("commands", "def Part(): pass", "is not a click command: decorate acme_parts:Part with @click.comm"),
        ("plugins", "def on_train_begin(trainer): pass", "implements no hook, and does nothing"),
        (
            "callbacks",
            "class Part(Callback): pass\ntorch.set_default_dtype(torch.float64)",
            "changes torch's default dtype to torch.float64 when it is imported",
        ),
    ],
)
def test_what_cannot_be_loaded_is_told_once_and_nothing_else_is_judged(entry_of, kind, source, told):
    entry = entry_of(kind, source)
    with pytest.raises(ContractError, match=told):
        run_check(entry, "loads")
    sys.modules.pop("acme_parts", None)
    second = checks_of(entry)[1]
    assert reason(entry, second, NotJudged) == "This presupposes the check 'loads', which fails."


def test_a_plugin_for_another_version_of_the_core_does_not_load(entry_of, good):
    entry = entry_of("callbacks", good["callbacks"], requires=["artifact-torch>=99"])
    assert "requires artifact-torch>=99" in reason(entry, "loads")


@pytest.mark.parametrize(
    ("constructor", "told"),
    [
        ("self, **options: Any", "it is built with **options, of which nobody knows what to set"),
        ("self, *sizes: int", "it is built with *sizes, of which nobody knows what to set"),
        ("self, size: int = 1, /", "it takes the parameter 'size' by position only"),
        ("self, size=1", "its parameter 'size' has no type to check values against"),
        ("self, size: Size = 1", "the types of its parameters cannot be looked up (NameError: name 'Size' is not"),
    ],
)
def test_a_constructor_that_no_configuration_can_call_is_told_with_its_place(entry_of, constructor, told, first_line):
    entry = entry_of("callbacks", f"class Part(Callback):\n    def __init__({constructor}) -> None: ...\n")
    told_as = reason(entry, "signatures")
    assert told in told_as
    assert f"acme_parts.py:{first_line + 1})." in told_as


def test_the_parameters_of_a_model_are_those_that_a_configuration_sets(entry_of):
    source = """
import functools

class Part(Model[Any, ModelOutput]):
    def __init__(self, *parts) -> None:
        super().__init__()

    @classmethod
    def from_data(cls, data, *, width: int = 3{more}):
        return cls(data, width)

    @classmethod
    def configurable(cls):
        return functools.partial(cls.from_data, None)

    def forward(self, batch): ...
"""
    entry = entry_of("models", source.format(more=""))
    run_check(entry, "signatures")
    told = "The model 'part' is built from data, by Part.from_data: only tests with such data can save and load it."
    assert reason(entry, "round_trip", NotJudged) == told


def test_all_that_is_wrong_with_hooks_and_constructor_is_told_at_once(entry_of):
    source = """
class Part(Callback):
    def __init__(self, size=1) -> None: ...

    @hookimpl
    def on_train_strat(self, trainer): ...

    @hookimpl
    def on_train_end(self, trainer, reson): ...

    def should_stop(self): ...
"""
    lines = reason(entry_of("callbacks", source), "signatures").splitlines()
    assert len(lines) == 4
    for told in ("'size'", "did you mean 'on_train_start'?", "did you mean 'reason'?", "should_stop"):
        assert any(told in line for line in lines), told
    assert all(line.startswith("The plugin 'part' of acme-parts 1.0 cannot be used: ") for line in lines)


def test_hooks_are_told_of_a_component_that_cannot_be_built_too(entry_of):
    source = "class Part(Callback):\n    def __init__(self): 1 / 0\n\n    @hookimpl\n    def on_train_strat(self): ..."
    assert "did you mean 'on_train_start'?" in reason(entry_of("callbacks", source), "signatures")


def test_the_hooks_of_an_installed_module_are_held_against_the_specifications(entry_of):
    entry = entry_of("plugins", "@hookimpl\ndef on_train_start(trainr): ...")
    assert "did you mean 'trainer'?" in only_fails(entry, "signatures")
    assert reason(entry, "state", NotJudged) == "This presupposes the check 'signatures', which fails."


NEEDY = """
class Part(Callback):
    def __init__(self, *, size: {hint}) -> None:
        if size in (1, "sample"):
            raise UsageError(f"The size must be larger, not {{size}}.")
        self.size = size
"""


def test_parameters_that_the_author_gives_are_taken_as_from_a_configuration(entry_of):
    entry = entry_of("callbacks", NEEDY.format(hint="int"))
    run_check(entry, "construction", parameters={"size": 2})
    told = reason(entry, "construction", parameters={"size": "2"})
    assert told == (
        "The callback 'part' refuses the parameters given for it: acme-parts 1.0: size = '2' in [callbacks.part]: "
        "input should be a valid integer."
    )
    assert "unknown key 'sise'" in reason(entry, "construction", parameters={"sise": 2})
    assert "are not JSON values" in reason(entry, "construction", parameters={"size": {2}})


def test_a_tuple_is_refused_since_a_configuration_has_none(entry_of):
    entry = entry_of("callbacks", NEEDY.format(hint="tuple[int, int]"))
    assert "size = [1, 2] in [callbacks.part]" in reason(entry, "construction", parameters={"size": (1, 2)})
    assert "of which there is no sample value" in reason(entry, "construction", NotJudged)


def test_sample_values_that_are_refused_leave_the_question_open(entry_of):
    entry = entry_of("callbacks", NEEDY.format(hint="int"))
    told = (
        "The callback 'part' refuses the sample size = 1 (The size must be larger, not 1.): give contract_tests its "
        "parameters={'part': {...}}."
    )
    assert reason(entry, "construction", NotJudged) == told
    assert outcome_of(entry, "state").outcome == "not judged"
    run_check(entry, "signatures")
    run_check(entry, "pickling", parameters={"size": 3})


def test_a_parameter_of_a_type_that_no_file_can_hold_is_told(entry_of):
    entry = entry_of("callbacks", NEEDY.format(hint="nn.Module"))
    assert "has a parameter of a type that no value in a configuration has" in reason(entry, "construction")


@pytest.mark.parametrize("parameters", [None, {"size": 2}])
def test_defaults_have_to_be_accepted_whatever_is_given_besides(entry_of, parameters):
    source = NEEDY.format(hint="int = 1")
    told = "The callback 'part' refuses its own defaults: The size must be larger, not 1."
    assert reason(entry_of("callbacks", source), "construction", parameters=parameters) == told


def test_a_constructor_that_fails_is_told_with_its_place(entry_of, first_line):
    entry = entry_of("callbacks", "class Part(Callback):\n    def __init__(self) -> None:\n        self.x = {}['y']\n")
    told = only_fails(entry, "construction")
    assert told.startswith("The callback 'part' cannot be built: KeyError: 'y' (")
    assert told.endswith(f"acme_parts.py:{first_line + 2}).")


@pytest.mark.lengthy
def test_what_cannot_be_pickled_is_told(entry_of):
    source = "class Part(Callback):\n    def __init__(self) -> None:\n        self.shown = lambda text: text\n"
    told = only_fails(entry_of("callbacks", source), "pickling")
    assert told.startswith("The callback 'part' cannot be pickled (")
    assert "lambda" in told


@pytest.mark.lengthy
def test_a_copy_of_another_class_is_told(entry_of):
    source = "class Part(Callback):\n    def __reduce__(self):\n        return (dict, ())\n"
    assert "comes back from pickle as something else, of class dict" in only_fails(
        entry_of("callbacks", source), "pickling"
    )
