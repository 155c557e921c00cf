"""Experiment descriptions: TOML in, validated values out, every mistake told with its place and a remedy."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from artifact_torch.core.options import Options, PluginOptions, TrainingOptions
from artifact_torch.errors import ConfigError
from artifact_torch.parameters import parameters_model

__all__ = ["ExperimentConfig", "load_config", "parse_config", "validated_options", "validated_parameters"]

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class ExperimentOptions(Options):
    """The section ``[experiment]``."""

    name: str = "default"
    group: str = "table_comparison"
    seed: int = Field(default=0, ge=0, lt=2**63)


class ModelOptions(Options):
    """The section ``[model]``: a name, and the parameters of that model."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the name; checked against the model's own signature once the model is known."""
        return dict(self.model_extra or {})


class GenerationOptions(Options):
    """The section ``[generation]``: how many samples to write after training; by default as many as trained on."""

    num_samples: int | None = Field(default=None, ge=1)


class ExperimentConfig(Options):
    """An experiment description. ``data`` and ``validation`` are checked by the artifact group that they belong to."""

    experiment: ExperimentOptions = ExperimentOptions()
    data: dict[str, Any] = Field(default_factory=dict)
    model: ModelOptions = ModelOptions()
    training: TrainingOptions = TrainingOptions()
    validation: dict[str, Any] = Field(default_factory=dict)
    generation: GenerationOptions = GenerationOptions()
    callbacks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    stoppers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    trackers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    model_tracker: dict[str, Any] | None = None
    plugins: PluginOptions = PluginOptions()


def load_config(path: Path, overrides: Sequence[str] = ()) -> tuple[ExperimentConfig, Path]:
    """Read a TOML file, apply ``section.key=value`` overrides, and validate it.

    Returns:
        The configuration, and the folder that relative paths in it are meant from.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or holds an unknown key or a wrong value.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no configuration file {path}: check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    return parse_config(content, overrides, source=str(path)), path.parent


def parse_config(
    content: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str = "the configuration"
) -> ExperimentConfig:
    """Validate an experiment description given as nested mappings.

    Raises:
        ConfigError: it holds an unknown key or a wrong value.
    """
    merged = dict(content)
    for override in overrides:
        merged = _overridden(merged, override)
    return validated_options(ExperimentConfig, merged, source=source)


def validated_options(
    options: type[OptionsT],
    given: Mapping[str, Any],
    *,
    source: str,
    section: str = "",
    folder: Path | None = None,
    texts: bool = False,
) -> OptionsT:
    """Check a section against its options.

    Args:
        options: what the section may hold.
        given: what it holds.
        source: where it comes from, for messages.
        section: its name, for messages.
        folder: what relative paths are meant from.
        texts: whether values are texts, as a command line gives them, and are to be read as what is wanted.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a missing key or a wrong value; all are told at once.
    """
    try:
        return options.model_validate(given, strict=False if texts else None, context={"folder": folder})
    except ValidationError as error:
        prefix = (section,) if section else ()
        problems = [_sentence(problem, prefix, options) for problem in error.errors(include_url=False)]
        message = f"{source}: {'; '.join(problems)}"
        raise ConfigError(message if message.endswith("?") else f"{message}.") from error


def validated_parameters(
    factory: Callable[..., object], given: Mapping[str, Any], *, source: str, section: str
) -> dict[str, Any]:
    """Check a component's parameters against the signature of what builds it: a class, a function, or a partial of one.

    Raises:
        ConfigError: as for ``validated_options``.
    """
    model = parameters_model(factory)
    validated = validated_options(model, given, source=source, section=section)
    return {name: getattr(validated, name) for name in validated.model_fields_set}


def _overridden(content: dict[str, Any], override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"--set {override}: write section.key=value, for example --set training.epochs=10.")
    changed = dict(content)
    place: dict[str, Any] = changed
    for name in names[:-1]:
        inner: Any = place.get(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {name} is not a section.")
        place[name] = dict(cast("dict[str, Any]", inner))
        place = place[name]
    place[names[-1]] = _toml_value(text.strip())
    return changed


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word, as one writes on a command line


def _sentence(problem: Mapping[str, Any], prefix: tuple[str, ...], options: type[BaseModel]) -> str:
    location = (*prefix, *(str(part) for part in problem["loc"]))
    *sections, key = location
    where = f" in [{'.'.join(sections)}]" if sections else ""
    if problem["type"] == "extra_forbidden":
        known = sorted(_fields_at(options, location[len(prefix) : -1]))
        close = difflib.get_close_matches(key, known, n=1)
        what = "key" if sections else "section"
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known) or 'none'}"
        return f"unknown {what} {key!r}{where}: {hint}"
    if problem["type"] == "missing":
        return f"{key!r} is missing{where}"
    message = str(problem["msg"])
    return f"{key} = {problem['input']!r}{where}: {message[0].lower()}{message[1:]}"


def _fields_at(options: type[BaseModel], location: Sequence[str]) -> list[str]:
    for name in location:
        annotation = options.model_fields[name].annotation if name in options.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        options = annotation
    return list(options.model_fields)
