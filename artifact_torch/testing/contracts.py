"""What is asked of every plugin: which checks there are, one of them run, and all of them as pytest tests.

``artifact_torch.testing.checks`` holds the checks themselves. It is imported when one is run, so that tests are
collected from metadata alone, without torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from artifact_torch.errors import ArtifactTorchError, UsageError
from artifact_torch.plugin.discovery import SINGULAR, discover, distribution_info, normalized
from artifact_torch.testing.outcomes import ContractError, NotApplicable, NotJudged

if TYPE_CHECKING:
    from artifact_torch.plugin.discovery import PluginEntry

__all__ = [
    "CHECKS",
    "DEFAULT_TIME_BUDGET",
    "CheckOutcome",
    "checks_of",
    "contract_tests",
    "outcome_of",
    "run_check",
]

DEFAULT_TIME_BUDGET = 1e-3
"""Seconds that a hook of the loop may take a call, on average."""

_COMPONENT = ("loads", "signatures", "construction", "state", "pickling", "time_budget", "neutrality")

CHECKS: Mapping[str, tuple[str, ...]] = {
    "callbacks": _COMPONENT,
    "stoppers": _COMPONENT,
    "trackers": _COMPONENT,
    "plugins": tuple(check for check in _COMPONENT if check != "construction"),
    "models": ("loads", "signatures", "round_trip"),
    "artifact_groups": ("loads", "attributes", "options"),
    "artifacts": ("loads",),
    "commands": ("loads", "help"),
}
"""Kind of plugin -> its checks, in the order in which they are best run."""

Outcome: TypeAlias = Literal["passed", "failed", "not judged", "not applicable"]


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """How a check went.

    Attributes:
        check: its name.
        outcome: ``passed``, ``failed``, ``not judged`` or ``not applicable``.
        reason: why, in words; empty if it passed.
    """

    check: str
    outcome: Outcome
    reason: str = ""


def checks_of(entry: PluginEntry) -> tuple[str, ...]:
    """The names of the checks that apply to an installed plugin, by its kind; it is not imported."""
    return CHECKS[entry.kind]


def run_check(
    entry: PluginEntry,
    check: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    time_budget: float = DEFAULT_TIME_BUDGET,
) -> None:
    """Hold an installed plugin against one part of its contract; return if it keeps it.

    ===============  ================================================================================================
    ``loads``        it can be imported and is what its kind asks for: a subclass with nothing left abstract, a
                     module or object with hooks, a click command
    ``signatures``   its hooks can be called; what builds it takes named parameters, each with a type
    ``construction`` it is built from JSON values as a configuration builds it: with its defaults, if each parameter
                     has one, and with ``parameters``
    ``state``        a training that goes on from a checkpoint ends as one that was not interrupted
    ``pickling``     a copy that went through pickle is of the same class, with the same hooks
    ``time_budget``  no hook of the loop takes longer than ``time_budget`` a call, on average
    ``neutrality``   training with it gives the same bits as without it, and leaves the random state, the modes of the
                     model, gradients and default dtype as they would be without it; unless it says
                     ``changes_training = True``
    ``round_trip``   a model that is saved and loaded has the same tensors and parameters
    ``attributes``   an artifact group has its class attributes
    ``options``      the options of an artifact group accept their own defaults
    ``help``         a command has a text of help
    ===============  ================================================================================================

    Trainings are of ``TinyModel`` on the CPU. They are recorded in a temporary folder, which is the working directory
    meanwhile. It is removed afterwards, and the global random state, default dtype, grad mode and environment are as
    they were. What a plugin prints goes to stderr.

    Args:
        entry: the plugin.
        check: one of ``checks_of(entry)``.
        parameters: its constructor's parameters, JSON values; by default its own defaults, and for those that have none
            a value of their type.
        time_budget: seconds.

    Raises:
        ContractError: it does not keep it.
        NotJudged: that cannot be told, or (``NotApplicable``) is not asked of it.
        UsageError: there is no such check.
    """
    if check not in checks_of(entry):
        known = ", ".join(checks_of(entry))
        raise UsageError(f"There is no check {check!r} of a {SINGULAR[entry.kind]}: known are {known}.")
    from artifact_torch.testing.checks import perform

    perform(entry, check, parameters, time_budget)


def outcome_of(
    entry: PluginEntry,
    check: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    time_budget: float = DEFAULT_TIME_BUDGET,
) -> CheckOutcome:
    """Run a check as ``run_check`` does, and return how it went."""
    try:
        run_check(entry, check, parameters=parameters, time_budget=time_budget)
    except ContractError as error:
        return CheckOutcome(check, "failed", str(error))
    except NotApplicable as error:
        return CheckOutcome(check, "not applicable", str(error))
    except NotJudged as error:
        return CheckOutcome(check, "not judged", str(error))
    return CheckOutcome(check, "passed")


def contract_tests(
    distribution: str,
    *,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    time_budget: float = DEFAULT_TIME_BUDGET,
) -> Callable[..., None]:
    """A pytest test of everything that a distribution provides, with one case for each plugin and check.

    ::

        from artifact_torch.testing import contract_tests

        test_contract = contract_tests("artifact-torch-x", parameters={"max_epochs": {"epochs": 3}})

    The cases are named like ``stoppers.max_epochs-state`` and are known from metadata. A check that cannot be judged is
    skipped, with the reason.

    Args:
        distribution: the distribution's name; it has to be installed, which one that is developed is with
            ``pip install -e .``.
        parameters: name of a plugin -> its constructor's parameters, JSON values; see ``run_check``.
        time_budget: seconds that a hook of the loop may take a call, on average.
    """
    import pytest

    entries = [entry for entry in discover() if normalized(entry.distribution) == normalized(distribution)]
    given = parameters or {}
    if problem := _problem(distribution, [entry.name for entry in entries], given):

        def test_contract() -> None:
            pytest.fail(problem, pytrace=False)

        return test_contract

    cases = [
        pytest.param(entry, check, id=f"{entry.kind}.{entry.name}-{check}")
        for entry in entries
        for check in checks_of(entry)
    ]

    @pytest.mark.parametrize(("entry", "check"), cases)
    def test_contract_of(entry: PluginEntry, check: str) -> None:
        try:
            run_check(entry, check, parameters=given.get(entry.name), time_budget=time_budget)
        except NotJudged as error:
            pytest.skip(str(error))  # the author is told what to give, so that it can be judged
        except ContractError as error:
            if error.__cause__ is None or isinstance(error.__cause__, ArtifactTorchError):
                pytest.fail(str(error), pytrace=False)  # the sentence says it all
            raise

    return test_contract_of


def _problem(distribution: str, names: Sequence[str], parameters: Mapping[str, object]) -> str:
    """Why there is nothing to test, or not what was meant; empty if all is well."""
    if distribution_info(distribution) is None:
        return f"{distribution} is not installed here: run `pip install -e .` in its folder first."
    if not names:
        return (
            f"{distribution} is installed and provides no plugin: declare entry points in its pyproject.toml, and run "
            "`pip install -e .` in its folder again."
        )
    for name in parameters:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it provides {', '.join(sorted(set(names)))}."
            return f"{distribution} provides no plugin named {name!r}, for which parameters are given: {hint}"
    return ""
