"""A plugin that is checked: imported, and built as a configuration builds it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import click

import artifact_torch.core.artifact_group as _  # noqa: F401 - with it, what each kind has to be a subclass of is known
from artifact_torch.config import validated_parameters
from artifact_torch.errors import PluginError, UsageError
from artifact_torch.parameters import parameters_model
from artifact_torch.plugin.discovery import SINGULAR, PluginEntry
from artifact_torch.plugin.inspection import Problem, marked_functions, problems_of, refusal
from artifact_torch.plugin.loading import load_entry, place_of, reason_of
from artifact_torch.plugin.registry import registry
from artifact_torch.testing.outcomes import ContractError, NotJudged
from artifact_torch.testing.samples import NoSampleError, sample_of

__all__ = ["Subject", "presupposed"]


@dataclass(slots=True)
class Subject:
    """What is checked.

    Attributes:
        entry: the plugin.
        parameters: its constructor's, JSON values; None if its author gives none.
        time_budget: seconds that a hook of the loop may take a call.
        loaded: what the entry names, once it is loaded.
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

    @property
    def remedy(self) -> str:
        """What the author can do where a value is wanted that nobody else can know."""
        return f"give contract_tests its parameters={{{self.entry.name!r}: {{...}}}}."

    def load(self) -> None:
        """Import it, and hold it against what its kind asks for.

        Raises:
            PluginError: the import fails.
            ContractError: it is something else.
        """
        warnings: list[str] = []
        self.loaded = loaded = load_entry(self.entry, warnings.append)
        if self.entry.kind == "commands":
            if not isinstance(loaded, click.Command):
                raise ContractError(
                    f"{self} is not a click command: decorate {self.entry.value} with @click.command()."
                )
        elif self.entry.kind == "artifacts":
            if not isinstance(loaded, ModuleType):
                raise ContractError(f'{self} is no module: let {self.entry.name} = "package.module" name one.')
        elif not self.acts_once_installed:
            abstract: Iterable[str] = getattr(registry.load_class(self.entry), "__abstractmethods__", ())
            if abstract:
                missing = ", ".join(sorted(abstract))
                raise ContractError(f"{self} lacks methods that it has to define: {missing} of {self.entry.value}.")
        elif not isinstance(loaded, type) and next(marked_functions(loaded), None) is None:
            raise ContractError(
                f"{self} implements no hook, and does nothing: mark its functions with @artifact_torch.hookimpl."
            )
        if warnings:
            raise ContractError(" ".join(warnings))

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raise one error with a line for each problem; none if there is no problem."""
        if lines := list(problems):
            raise ContractError(refusal(self.entry.name, self.entry.source, lines))

    def required(self) -> dict[str, Any]:
        """The parameters that have no default, each with its type.

        Raises:
            ContractError: no value of a configuration could be checked against the parameters' types.
        """
        try:
            fields = parameters_model(self.loaded).model_fields
        except Exception as error:
            raise ContractError(
                f"{self} has a parameter of a type that no value in a configuration has ({reason_of(error)}): take "
                "numbers, texts, booleans, and lists and dictionaries of them."
            ) from None
        return {name: field.annotation for name, field in fields.items() if field.is_required()}

    def given(self) -> Mapping[str, Any]:
        """The author's parameters; without them, a sample value for each parameter that has no default.

        Raises:
            NotJudged: there is no sample value.
        """
        if self.parameters is not None:
            return self.parameters
        samples: dict[str, Any] = {}
        for name, hint in self.required().items():
            try:
                samples[name] = sample_of(hint)
            except NoSampleError as error:
                raise NotJudged(f"{self} needs {name!r}, of which there is no sample value: {self.remedy}") from error
        return samples

    def built(self, given: Mapping[str, Any]) -> object:
        """The component with parameters as they would come from a configuration.

        Raises:
            ContractError: it refuses its own defaults or its author's parameters, or it fails.
            NotJudged: it refuses sample values.
        """
        section = f"{self.entry.kind}.{self.entry.name}"
        component = cast("Callable[..., object]", self.loaded)
        try:
            read = json.loads(json.dumps(given))
        except (TypeError, ValueError) as error:
            raise ContractError(f"The parameters given for {section} are not JSON values: {error}.") from None
        self.required()
        try:
            return component(**validated_parameters(component, read, source=self.entry.source, section=section))
        except UsageError as error:
            if given and self.parameters is None:
                values = ", ".join(f"{name} = {value!r}" for name, value in given.items())
                raise NotJudged(f"{self} refuses the sample {values} ({error}): {self.remedy}") from error
            what = "the parameters given for it" if given else "its own defaults"
            raise ContractError(f"{self} refuses {what}: {error}") from error
        except Exception as error:
            raise ContractError(f"{self} cannot be built: {reason_of(error)}{place_of(error)}.") from error

    def fresh(self) -> object:
        """A new component whose hooks are as they should be; a hook plugin is the same one each time.

        Raises:
            NotJudged: it cannot be built, or its hooks are not as they should be.
        """
        component: object = self.loaded
        if not self.acts_once_installed:
            with presupposed("construction"):
                component = self.built(self.given())
        with presupposed("signatures"):
            self.refuse(problems_of(component))
        return component


@contextlib.contextmanager
def presupposed(check: str) -> Generator[None]:
    """Whatever fails inside is told by another check, and leaves this one without anything to judge."""
    try:
        yield
    except PluginError as error:
        raise NotJudged(f"This presupposes the check {check!r}, which fails.") from error
