"""What the stoppers' reasons and their refusals of arguments have in common."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from artifact_torch import UsageError

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["check_choice", "check_count", "check_number", "counted", "duration", "place_of", "seconds_of"]

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(seconds?|sec|s|minutes?|min|m|hours?|h|days?|d)(?![a-z])\s*", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def counted(number: int, noun: str) -> str:
    """A number with its noun, as ``1 epoch`` or ``3 epochs``."""
    return f"{number} {noun if number == 1 else f'{noun}s'}"


def place_of(trainer: Trainer) -> str:
    """Where training stands, for the end of a reason."""
    return f"(epoch {trainer.state.epoch}, step {trainer.state.step})"


def check_count(stopper: str, number: int, noun: str) -> None:
    """Refuse a number of epochs or steps that is not positive."""
    if number < 1:
        raise UsageError(f"{stopper} needs at least 1 {noun}, not {number}.")


def check_choice(stopper: str, name: str, given: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices."""
    if given not in choices:
        wanted = ", ".join(map(repr, choices[:-1])) + f" or {choices[-1]!r}"
        raise UsageError(f"The {name} of {stopper} is {wanted}, not {given!r}.")


def check_number(stopper: str, name: str, given: float | None, least: float | None = None) -> None:
    """Refuse a number that is NaN, infinite or below ``least``; None is let through."""
    if given is None or (math.isfinite(given) and (least is None or given >= least)):
        return
    wanted = "a finite number" if least is None else f"a number from {least:g} up"
    raise UsageError(f"The {name} of {stopper} must be {wanted}, not {given}.")


def seconds_of(stopper: str, name: str, given: float | str) -> float:
    """A length of time as people write it, in seconds: ``14400``, ``"4 h"``, ``"1 hour 30 minutes"``.

    Raises:
        UsageError: it is none, or it is negative, NaN or infinite.
    """
    if isinstance(given, str):
        text, position = given.strip(), 0
        seconds = 0.0
        while match := _PART.match(text, position):
            seconds += float(match[1]) * _SECONDS[match[2][0].lower()]
            position = match.end()
        if text and position == len(text):
            return seconds
    elif math.isfinite(given) and given >= 0 and not isinstance(given, bool):
        return float(given)
    raise UsageError(
        f"The {name} of {stopper} is a number of seconds or a text such as '4 h' or '1 hour 30 minutes', not {given!r}."
    )


def duration(seconds: float) -> str:
    """A length of time in its two largest units, as ``3 h 55 min``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next(place for place, (number, _) in enumerate(parts) if number)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number)
