"""Names as MLflow takes them, from which the names of the run can be read back.

MLflow allows letters, digits, ``_``, ``-``, ``.``, spaces and ``/``, up to 250 of them, in what would also be a path of
a file; some of its stores do not tell upper case from lower. A character that is not allowed is written as its code,
as XML names do: ``a@b`` becomes ``a_x0040_b``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

__all__ = ["MOST_BYTES", "Names", "encoded", "name_of"]

MOST_BYTES = 250
"""How long a name may be, in UTF-8, so that file systems take each part of it too."""

_NOTHING = "_x_"
_HASHED = re.compile(r"_x-[0-9a-f]{16}$")
_ESCAPED = re.compile(r"_x([0-9A-F]{4}|[0-9A-F]{8})_")
_PLAIN = re.compile(r"[\w.\- /]")


def encoded(name: str) -> str:
    """The key that MLflow takes for a name; the same for the same name, and another for any other."""
    return _within_limit("".join(_code(char) if _is_awkward(name, at) else char for at, char in enumerate(name)), name)


def name_of(key: str, long_names: Mapping[str, str] | None = None) -> str:
    """The name that a key of MLflow stands for.

    Args:
        key: what stands in MLflow.
        long_names: key -> name, as the run's artifact ``names.json`` says; without it, a name that was too long for
            MLflow is not known and its key is returned.
    """
    if long_names is not None and key in long_names:
        return long_names[key]
    if _HASHED.search(key):
        return key
    return "" if key == _NOTHING else _ESCAPED.sub(lambda match: chr(int(match[1], 16)), key)


class Names:
    """The keys of one MLflow run, which differ by more than upper and lower case.

    Args:
        known: key -> name, of the names that the run has already.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._keys = {name: key for key, name in known.items()}
        self._taken = {key.casefold() for key in known}

    def key(self, name: str) -> str:
        """The key of a name, always the same in this run."""
        if name not in self._keys:
            key = encoded(name)
            if key.casefold() in self._taken:
                key = _spelled_out(name)
            self._keys[name] = key
            self._taken.add(key.casefold())
        return self._keys[name]

    @property
    def known(self) -> dict[str, str]:
        """Key -> name, of all names so far."""
        return {key: name for name, key in self._keys.items()}


def _spelled_out(name: str) -> str:
    """The key of a name in which the letters that have a case are written as their codes."""
    codes = (_code(char) if _is_awkward(name, at) or _is_cased(char) else char for at, char in enumerate(name))
    return _within_limit("".join(codes), name)


def _within_limit(key: str, name: str) -> str:
    if not key:
        return _NOTHING
    if len(key.encode()) <= MOST_BYTES:
        return key
    start = key.encode()[: MOST_BYTES - 30].decode(errors="ignore").rstrip("/. ")
    # Without a code that was cut through, and none begins with "-": such a key is that of no other name.
    start = re.sub(r"_x[0-9A-F]{0,8}$", "", start)
    return f"{start}_x-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _is_awkward(name: str, at: int) -> bool:
    """Whether MLflow, or a file system, would not take the character as it stands there."""
    char, before, after = name[at], name[at - 1 : at], name[at + 1 : at + 2]
    if not _PLAIN.fullmatch(char):
        return True
    if char == "_":
        return after == "x"
    if char == "/":
        return before in ("", "/") or not after
    if char in ". ":
        return after in ("", "/") or (char == " " and before in ("", "/"))
    return False


def _is_cased(char: str) -> bool:
    return char.casefold() != char or char.upper() != char


def _code(char: str) -> str:
    number = ord(char)
    return f"_x{number:04X}_" if number <= 0xFFFF else f"_x{number:08X}_"
