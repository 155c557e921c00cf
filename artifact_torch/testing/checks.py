"""The checks of a plugin's contract; ``run_check`` says what each asks for."""

from __future__ import annotations

import contextlib
import inspect
import json
import pickle
import types
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import click
import pandas as pd

from artifact_torch.config import validated_options, validated_parameters
from artifact_torch.core.artifact_group import ArtifactGroup
from artifact_torch.core.checkpoint import read_state
from artifact_torch.core.model import Model
from artifact_torch.core.options import Options
from artifact_torch.errors import ArtifactTorchError, ConfigError, UsageError
from artifact_torch.parameters import parameters_of
from artifact_torch.plugin.discovery import SINGULAR, PluginEntry
from artifact_torch.plugin.inspection import Problem, location_of, marked_functions, problems_of, refusal
from artifact_torch.plugin.loading import load_entry, place_of, reason_of
from artifact_torch.plugin.registry import registry
from artifact_torch.testing.contracts import ContractError, NotApplicable, NotJudged
from artifact_torch.testing.samples import NoSample, sample_of
from artifact_torch.testing.trials import LOSSES, Snapshot, TrialTrainer, first_difference, surroundings

__all__ = ["perform"]

_LOOP_HOOKS = ("execute_batch_preprocessing", "on_before_optimizer_step", "execute_batch_postprocessing")
_TIME_TRIALS = 3


def perform(entry: PluginEntry, check: str, parameters: Mapping[str, Any] | None, time_budget: float) -> None:
    """Run a check; see ``run_check`` for arguments and errors."""
    with surroundings() as folder:
        subject = _Subject(entry, parameters, time_budget)
        with _readable(subject):
            if check == "loads":
                _loads(subject)
                return
            with _presupposed("loads"):
                _loads(subject)
            with contextlib.chdir(folder):
                _CHECKS[check](subject)


@dataclass(slots=True)
class _Subject:
    """What is checked.

    Attributes:
        entry: the plugin.
        parameters: of its constructor, None if its author gives none.
        time_budget: seconds that a hook of the loop may take a call.
        loaded: what the entry names, once it is imported.
    """

    entry: PluginEntry
    parameters: Mapping[str, Any] | None
    time_budget: float
    loaded: Any = None

    def __str__(self) -> str:
        return f"The {SINGULAR[self.entry.kind]} {self.entry.name!r}"

    @property
    def acts_once_installed(self) -> bool:
        return self.entry.kind == "plugins"

    def fresh(self) -> object:
        """A new object as a configuration gives it, with its hooks as they should be; a hook plugin is what it is."""
        component = self.loaded
        if not self.acts_once_installed:
            with _presupposed("construction"):
                component = _built(self, _given(self))
        with _presupposed("signatures"):
            _refuse(self, problems_of(component))
        return component


# Before anything is built.


def _loads(subject: _Subject) -> None:
    entry, warnings = subject.entry, list[str]()
    loaded = subject.loaded = load_entry(entry, warnings.append)
    if entry.kind == "commands":
        if not isinstance(loaded, click.Command):
            raise ContractError(f"{subject} is not a click command: mark {entry.value} with @click.command().")
    elif not subject.acts_once_installed:
        abstract = getattr(registry.load_class(entry), "__abstractmethods__", frozenset[str]())
        if abstract:
            names = ", ".join(sorted(abstract))
            raise ContractError(f"{subject} leaves abstract what it has to define: {names}.{_at(loaded)}")
    elif not isinstance(loaded, type) and next(marked_functions(loaded), None) is None:
        raise ContractError(
            f"{subject} implements no hook, and does nothing: mark its functions with @artifact_torch.hookimpl."
        )
    if warnings:
        raise ContractError(" ".join(warnings))


def _signatures(subject: _Subject) -> None:
    instance = subject.loaded
    problems: list[Problem] = []
    if not subject.acts_once_installed:
        problems += _problems_of_constructor(subject)
        try:
            instance = _built(subject, _given(subject))
        except (ContractError, NotJudged):  # told by the check of the construction
            instance = object.__new__(cast("type[object]", subject.loaded))
    if not isinstance(instance, Model):  # a model implements no hooks
        problems += problems_of(instance)
    _refuse(subject, problems)


def _problems_of_constructor(subject: _Subject) -> Iterator[Problem]:
    component = cast("type[Any]", subject.loaded)
    factory = cast("Callable[..., object]", component.configurable() if issubclass(component, Model) else component)
    where = location_of(component.__init__)
    kinds = inspect.Parameter
    for name, parameter in inspect.signature(factory).parameters.items():
        if parameter.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD):
            star = "*" if parameter.kind is kinds.VAR_POSITIONAL else "**"
            yield Problem(f"it is built with {star}{name}, which nobody can set: name each parameter", where)
        elif parameter.kind is kinds.POSITIONAL_ONLY:
            yield Problem(f"it takes {name!r} by position only, and parameters have names: remove the / after it", where)
        elif parameter.annotation is kinds.empty:
            yield Problem(f"its parameter {name!r} has no type to check values against: annotate it", where)
    try:
        parameters_of(component)
    except Exception as error:
        message = f"the types of its parameters cannot be looked up ({reason_of(error)})"
        yield Problem(f"{message}: import them where they are not only for type checkers", where)


def _refuse(subject: _Subject, problems: list[Problem]) -> None:
    if problems:
        raise ContractError(refusal(subject.entry.name, subject.entry.source, problems))


# Building.


def _construction(subject: _Subject) -> None:
    if subject.parameters is not None and not _required(subject):
        _built(subject, {})
    _built(subject, _given(subject))


def _required(subject: _Subject) -> dict[str, Any]:
    """The parameters without a default, and the type of each."""
    signature = inspect.signature(cast("type[object]", subject.loaded), eval_str=False)
    hints = inspect.get_annotations(subject.loaded.__init__, eval_str=True)
    return {
        name: hints.get(name)
        for name, parameter in signature.parameters.items()
        if parameter.default is parameter.empty and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }


def _given(subject: _Subject) -> Mapping[str, Any]:
    """The author's parameters; else a sample value for each that has no default."""
    if subject.parameters is not None:
        return subject.parameters
    samples: dict[str, Any] = {}
    for name, hint in _required(subject).items():
        try:
            samples[name] = sample_of(hint)
        except NoSample as error:
            raise NotJudged(f"{subject} needs {name!r}, for which there is no sample value: {_remedy(subject)}") from error
    return samples


def _built(subject: _Subject, given: Mapping[str, Any]) -> object:
    """The component with its parameters, built as a configuration builds it."""
    entry = subject.entry
    section = f"{entry.kind}.{entry.name}"
    component = cast("Callable[..., object]", subject.loaded)
    try:
        given = json.loads(json.dumps(given))
    except (TypeError, ValueError) as error:
        raise UsageError(f"The parameters given for {section} are not JSON values: {error}.") from error
    try:
        return component(**validated_parameters(component, given, source=entry.source, section=section))
    except UsageError as error:
        if given and subject.parameters is None:
            values = ", ".join(f"{name} = {value!r}" for name, value in given.items())
            raise NotJudged(f"{subject} refuses the sample values {values} ({error}): {_remedy(subject)}") from error
        what = "the parameters given for it" if given else "its own defaults"
        raise ContractError(f"{subject} refuses {what}: {error}") from error
    except Exception as error:
        raise ContractError(f"{subject} cannot be built: {reason_of(error)}{place_of(error)}.") from error


def _remedy(subject: _Subject) -> str:
    return f"give contract_tests its parameters={{{subject.entry.name!r}: {{...}}}}."


def _pickling(subject: _Subject) -> None:
    component = subject.fresh()
    if isinstance(component, types.ModuleType):
        raise NotApplicable("A module is imported, and not pickled.")
    try:
        copy = pickle.loads(pickle.dumps(component))
    except Exception as error:
        raise ContractError(
            f"{subject} cannot be pickled ({reason_of(error)}): make what cannot be pickled when training starts, and "
            "not in the constructor."
        ) from error
    names = [{marked.hook for marked in marked_functions(each)} for each in (component, copy)]
    if type(copy) is not type(component) or names[0] != names[1]:
        raise ContractError(
            f"{subject} comes back from pickle as another {type(copy).__qualname__}, without its hooks: check "
            "__reduce__, __getstate__ and __setstate__."
        )


# Trainings.


def _state(subject: _Subject) -> None:
    whole = TrialTrainer(subject.fresh())
    whole_result = whole.train()
    assert whole.checkpoint is not None  # written after the first epoch, without which training does not end
    if subject.acts_once_installed:
        # It is one object in this process. What it keeps of the first training must not stand in for what it loads.
        TrialTrainer(subject.fresh(), epochs=1).train()
    resumed = TrialTrainer(subject.fresh())
    resumed.load_checkpoint(whole.checkpoint)
    saved, loaded = _plugin_state(whole, whole.checkpoint), _plugin_state(resumed, resumed.save_checkpoint())
    if found := first_difference(saved, loaded, "the state"):
        raise ContractError(
            f"{subject} does not take back what it saved: {found.where} was {found.one}, and after loading it is "
            f"{found.other}. Restore in on_load_checkpoint what on_save_checkpoint returns."
        )
    result = resumed.train()
    ends = [_end(whole, whole_result.reason), _end(resumed, result.reason)]
    if found := first_difference(*ends):
        raise ContractError(
            f"{subject} goes on from a checkpoint in another way than without an interruption: {found.where} is "
            f"{found.other}, and was {found.one}. Keep what it depends on in on_save_checkpoint and restore it in "
            "on_load_checkpoint."
        )


def _plugin_state(trainer: TrialTrainer, checkpoint: Path) -> object:
    return read_state(checkpoint)["plugins"].get(trainer.component_name)


def _end(trainer: TrialTrainer, reason: str) -> dict[str, Any]:
    """What training came to: the losses of each epoch, the weights, why it stopped and when."""
    losses = {
        f"{name} of epoch {epoch}": value
        for epoch in range(1, trainer.state.epochs_completed + 1)
        for name, value in trainer.metrics.of_epoch(epoch).items()
        if name in LOSSES
    }
    ended = {"the number of epochs": trainer.state.epochs_completed, "the reason to stop": reason}
    return {**losses, **trainer.model.state_dict(), **ended}


def _time_budget(subject: _Subject) -> None:
    slowest: list[tuple[float, str]] = []
    for _ in range(_TIME_TRIALS):  # the best one counts, for others may use the machine
        trainer = TrialTrainer(subject.fresh(), epochs=2, batch_size=4)
        trainer.train()
        slowest.append(_slowest(trainer))
        if slowest[-1][0] <= subject.time_budget:
            return
    seconds, hook = min(slowest)
    raise ContractError(
        f"{subject} takes {seconds * 1e3:.3g} ms a call in {hook}, and the budget is {subject.time_budget * 1e3:.3g} "
        "ms: do less there, or only every so many steps, or give contract_tests another time_budget."
    )


def _slowest(trainer: TrialTrainer) -> tuple[float, str]:
    """Seconds a call of the slowest hook of the loop, and which it is."""
    times = trainer.plugin_times
    times = times[(times["plugin"] == trainer.component_name) & times["hook"].isin(_LOOP_HOOKS)]
    warm = times[times["epoch"] > 1]  # the first epoch may import something
    times = times if warm.empty else warm
    if times.empty:
        return 0.0, ""
    summed = times.groupby("hook")[["seconds", "calls"]].sum()
    means = cast("pd.Series[float]", summed["seconds"] / summed["calls"])
    return float(means.max()), str(means.idxmax())


def _neutrality(subject: _Subject) -> None:
    component = subject.fresh()
    if getattr(component, "changes_training", False):
        raise NotApplicable("It says changes_training = True.")
    without = TrialTrainer()
    without.train()
    trained = TrialTrainer(component)
    trained.train()
    if trained.plugins.warnings:
        raise ContractError(" ".join(trained.plugins.warnings))
    if len(trained.snapshots) > len(without.snapshots):
        raise ContractError(f"{subject} trains for more epochs than the trainer was told to: leave its epochs alone.")
    pairs = list(zip(trained.snapshots, without.snapshots, strict=False))
    pairs.append((Snapshot.of(trained), pairs[-1][1]))  # nothing may happen once the last epoch is done
    for with_it, without_it in pairs:
        found = first_difference(with_it.surroundings, without_it.surroundings) or first_difference(
            with_it.learnt(without_it), without_it.learnt(with_it)
        )
        if found:
            raise ContractError(
                f"{subject} changes training: after epoch {with_it.epoch}, {found.where} is {found.one} with it and "
                f"{found.other} without it. Leave batches, gradients, weights and global state alone, draw random "
                "numbers from a generator of its own, or declare changes_training = True."
            )


# Other kinds.


def _round_trip(subject: _Subject) -> None:
    import torch

    model_class = cast("type[Model]", subject.loaded)
    factory = model_class.configurable()
    if factory is not model_class:
        name = getattr(getattr(factory, "func", factory), "__name__", "its factory")
        raise NotJudged(f"{subject} is built from data by {name}: the tests of its artifact group have to save and load it.")
    with _presupposed_construction(subject):
        model = cast("Model", _built(subject, _given(subject)))
    with torch.no_grad():
        for tensor in model.state_dict().values():  # or a model that always begins alike would seem to be restored
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor))
    loaded = model_class.load(model.save(Path("model")))
    one, other = ({**_json(each.config()), **each.state_dict()} for each in (model, loaded))
    if found := first_difference(one, other):
        raise ContractError(
            f"{subject} is not the same when it was saved and loaded: {found.where} was {found.one}, and is "
            f"{found.other}. Return every parameter of the constructor from config()."
        )


@contextlib.contextmanager
def _presupposed_construction(subject: _Subject) -> Generator[None]:
    try:
        yield
    except ContractError:
        if subject.parameters is None:
            raise
        raise


def _json(value: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value))


def _attributes(subject: _Subject) -> None:
    wrong: list[str] = []
    for name, (wanted, is_right) in _GROUP_ATTRIBUTES.items():
        value = getattr(subject.loaded, name, None)
        if not is_right(value):
            wrong.append(f"{name} is {value!r}, and should be {wanted}" if value is not None else f"{name} is missing: it should be {wanted}")
    if wrong:
        raise ContractError(f"{subject}: {'; '.join(wrong)}.{_at(subject.loaded)}")


def _subclass_of(base: type) -> tuple[str, Callable[[object], bool]]:
    return f"a subclass of artifact_torch.{base.__name__}", lambda value: isinstance(value, type) and issubclass(value, base)


_GROUP_ATTRIBUTES: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "data_options": _subclass_of(Options),
    "validation_options": _subclass_of(Options),
    "model_class": _subclass_of(Model),
    "default_model": ("the name of a model", lambda value: isinstance(value, str) and bool(value)),
    "sample_suffix": ("a suffix such as '.csv'", lambda value: isinstance(value, str) and value.startswith(".")),
}
