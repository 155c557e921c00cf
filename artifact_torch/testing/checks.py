"""The checks of a plugin's contract; ``run_check`` says what each asks for."""

from __future__ import annotations

import contextlib
import inspect
import json
import pickle
import types
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import click
import torch

from artifact_torch.config import validated_options
from artifact_torch.core.model import Model
from artifact_torch.core.options import Options
from artifact_torch.errors import ArtifactTorchError, DivergedError, MissingLossError, UsageError
from artifact_torch.parameters import parameters_of
from artifact_torch.plugin.discovery import PluginEntry
from artifact_torch.plugin.inspection import Problem, location_of, marked_functions, problems_of
from artifact_torch.plugin.loading import place_of, reason_of
from artifact_torch.testing.outcomes import ContractError, NotApplicable, NotJudged
from artifact_torch.testing.subject import Subject, presupposed
from artifact_torch.testing.training_checks import check_neutrality, check_state, check_time_budget
from artifact_torch.testing.trials import first_difference, surroundings

__all__ = ["perform"]


def perform(entry: PluginEntry, check: str, parameters: Mapping[str, Any] | None, time_budget: float) -> None:
    """Run a check; see ``run_check`` for arguments and errors."""
    subject = Subject(entry, parameters, time_budget)
    with surroundings() as folder, _readable(subject):
        if check == "loads":
            subject.load()
            return
        with presupposed("loads"):
            subject.load()
        with contextlib.chdir(folder):
            _CHECKS[check](subject)


@contextlib.contextmanager
def _readable(subject: Subject) -> Generator[None]:
    """Say what fails in one of the errors that ``run_check`` promises."""
    try:
        yield
    except (ContractError, NotJudged):
        raise
    except UsageError as error:
        more = "" if subject.acts_once_installed else f" If other parameters suit it, {subject.remedy}"
        raise NotJudged(f"{subject} refuses to work with the tiny model: {error}{more}") from error
    except (DivergedError, MissingLossError) as error:  # which the tiny model alone never gives cause for
        raise ContractError(f"{subject} breaks the training of the tiny model: {error}") from error
    except ArtifactTorchError as error:
        raise ContractError(str(error)) from error
    except (Exception, SystemExit) as error:
        failed = getattr(error, "artifact_torch_plugin", None)
        what = f"{subject} fails" if failed is None else f"In a training of the tiny model, the plugin {failed}"
        raise ContractError(
            f"{what}: {reason_of(error)}{place_of(error)}. What cannot work with a model or its data refuses them with "
            "UsageError."
        ) from error


def _signatures(subject: Subject) -> None:
    if subject.acts_once_installed:
        subject.refuse(problems_of(subject.loaded))
        return
    component = cast("type[Any]", subject.loaded)
    problems = list(_problems_of_constructor(component))
    if not issubclass(component, Model):  # a model has no hooks
        problems += _problems_of_hooks(subject)
    subject.refuse(problems)


def _problems_of_hooks(subject: Subject) -> list[Problem]:
    with contextlib.suppress(ContractError, NotJudged):  # which the check of the construction tells
        return problems_of(subject.built(subject.given()))
    with contextlib.suppress(Exception):  # a base class may miss what its constructor sets
        return problems_of(subject.loaded.__new__(subject.loaded))
    return []


def _problems_of_constructor(component: type[Any]) -> Iterator[Problem]:
    factory = cast("Callable[..., object]", component.configurable() if issubclass(component, Model) else component)
    location = location_of(component.__init__)
    kinds = inspect.Parameter
    for name, parameter in inspect.signature(factory).parameters.items():
        if parameter.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD):
            star = "*" if parameter.kind is kinds.VAR_POSITIONAL else "**"
            yield Problem(f"it is built with {star}{name}, of which nobody knows what to set: name each", location)
        elif parameter.kind is kinds.POSITIONAL_ONLY:
            yield Problem(f"it takes the parameter {name!r} by position only: remove the / after it", location)
        elif parameter.annotation is kinds.empty:
            yield Problem(f"its parameter {name!r} has no type to check values against: annotate it", location)
    try:
        parameters_of(component)
    except Exception as error:
        yield Problem(
            f"the types of its parameters cannot be looked up ({reason_of(error)}): import them for more than type "
            "checkers",
            location,
        )


def _construction(subject: Subject) -> None:
    if subject.parameters and not subject.required():
        subject.built({})
    subject.built(subject.given())


def _pickling(subject: Subject) -> None:
    component = subject.fresh()
    if isinstance(component, types.ModuleType):
        raise NotApplicable("A module is imported, and not pickled.")
    try:
        copy = pickle.loads(pickle.dumps(component))
    except Exception as error:
        raise ContractError(
            f"{subject} cannot be pickled ({reason_of(error)}): make what stands in the way when training starts, and "
            "not in the constructor."
        ) from None
    hooks = [{marked.hook for marked in marked_functions(each)} for each in (component, copy)]
    if type(copy) is not type(component) or hooks[0] != hooks[1]:
        raise ContractError(
            f"{subject} comes back from pickle as something else, of class {type(copy).__qualname__}: look at its "
            "__reduce__, __getstate__ and __setstate__."
        )


def _round_trip(subject: Subject) -> None:
    model_class = cast("type[Model]", subject.loaded)
    factory = cast("Any", model_class.configurable())
    if factory is not model_class:
        name = getattr(getattr(factory, "func", factory), "__qualname__", "a function")
        raise NotJudged(f"{subject} is built from data, by {name}: only tests with such data can save and load it.")
    model = cast("Model", subject.built(subject.given()))
    with torch.no_grad():
        for tensor in model.state_dict().values():  # or a model that always begins alike would seem to be restored
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor))
    loaded = model_class.load(model.save(Path("model")))
    saved, found = ({**_read_again(each.config()), **each.state_dict()} for each in (model, loaded))
    if difference := first_difference(saved, found):
        raise ContractError(
            f"{subject} is another one after it was saved and loaded: {difference.where} was {difference.one}, and is "
            f"{difference.other}. Return every parameter of the constructor from config()."
        )


def _read_again(value: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value))


def _a_subclass_of(base: type) -> tuple[str, Callable[[object], bool]]:
    return (
        f"a subclass of artifact_torch.{base.__name__}",
        lambda value: isinstance(value, type) and issubclass(value, base),
    )


_GROUP_ATTRIBUTES: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "data_options": _a_subclass_of(Options),
    "validation_options": _a_subclass_of(Options),
    "model_class": _a_subclass_of(Model),
    "default_model": ("the name of a model", lambda value: isinstance(value, str) and value != ""),
    "sample_suffix": (
        "a suffix such as '.csv', or empty",
        lambda value: isinstance(value, str) and (value == "" or value.startswith(".")),
    ),
}


def _attributes(subject: Subject) -> None:
    wrong: list[str] = []
    for name, (wanted, is_right) in _GROUP_ATTRIBUTES.items():
        if not hasattr(subject.loaded, name):
            wrong.append(f"{name} is missing, and has to be {wanted}")
        elif not is_right(value := getattr(subject.loaded, name)):
            wrong.append(f"{name} is {value!r}, and has to be {wanted}")
    if wrong:
        raise ContractError(f"{subject}: {'; '.join(wrong)} ({subject.entry.value}).")


def _options(subject: Subject) -> None:
    with presupposed("attributes"):
        _attributes(subject)
    required: list[str] = []
    judged = False
    sections: dict[str, type[Options]] = {
        "data": subject.loaded.data_options,
        "validation": subject.loaded.validation_options,
    }
    for section, options in sections.items():
        if missing := [f"{section}.{name}" for name, field in options.model_fields.items() if field.is_required()]:
            required += missing
            continue
        judged = True
        try:
            # A default is taken as it is; it is held against its type only when somebody writes it down.
            defaults = validated_options(options, {}, source=subject.entry.source, section=section)
            written = defaults.model_dump(warnings=False)
            validated_options(options, written, source=subject.entry.source, section=section)
        except UsageError as error:
            raise ContractError(f"{subject} refuses its own defaults: {error}") from error
    if not judged:
        raise NotJudged(f"{subject} has keys without a default in each of its sections: {', '.join(required)}.")


def _help(subject: Subject) -> None:
    command = cast("click.Command", subject.loaded)
    if not (command.help or command.short_help or "").strip():
        raise ContractError(f"{subject} has no text of help: write a docstring under @click.command().")
    command.get_help(click.Context(command, info_name=subject.entry.name))


_CHECKS: Mapping[str, Callable[[Subject], None]] = {
    "signatures": _signatures,
    "construction": _construction,
    "state": check_state,
    "pickling": _pickling,
    "time_budget": check_time_budget,
    "neutrality": check_neutrality,
    "round_trip": _round_trip,
    "attributes": _attributes,
    "options": _options,
    "help": _help,
}
