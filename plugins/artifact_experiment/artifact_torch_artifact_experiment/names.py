"""What results are called in clients of artifact-experiment, and back.

Clients join names into paths, unchecked, and know no step; MLflow refuses most signs. So a result is called
``split/name/epoch-1-step-10``, with characters other than letters and digits of ASCII and ``_-.`` as ``_x`` + UTF-8 in
hexadecimal + ``_``. An empty part of a path is ``_x_``. What is too long is cut and ends in ``_x-`` and a checksum;
then the tracker hands the whole name over too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from artifact_torch import TrackedItem

__all__ = ["full_name_of", "is_cut", "name_of", "safe"]

_MOST_CHARACTERS = 150
_CHECKSUM_CHARACTERS = 16
_STEP = re.compile(r"epoch-(\d+)-step-(\d+)")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+|_(?=x)")
_ENCODED = re.compile(r"_x([0-9a-f]+)_")


def name_of(item: TrackedItem) -> str:
    """What a result is called: another name for each name, epoch and step."""
    name = "/".join(safe(part) for part in item.full_name.split("/"))
    if len(name) > _MOST_CHARACTERS:
        checksum = hashlib.sha256(item.full_name.encode(errors="surrogatepass")).hexdigest()[:_CHECKSUM_CHARACTERS]
        name = f"{name[: _MOST_CHARACTERS - _CHECKSUM_CHARACTERS - 3].rstrip('/')}_x-{checksum}"
    return f"{name}/epoch-{item.epoch}-step-{item.step}"


def safe(part: str) -> str:
    """A text as a part of a path that stays where it is."""
    if not part:
        return "_x_"
    if set(part) == {"."} or _STEP.fullmatch(part):
        return _hexadecimal(part[0]) + part[1:].replace(".", _hexadecimal("."))
    return _NOT_PLAIN.sub(lambda found: _hexadecimal(found[0]), part)


def is_cut(name: str) -> bool:
    """Whether what a result is called does not hold its whole name."""
    return "_x-" in name


def full_name_of(name: str, cut: Mapping[str, str]) -> tuple[str, int, int]:
    """The full name, the epoch and the step of a result.

    Args:
        name: what it is called.
        cut: the names of those that were cut, by what they are called without epoch and step.

    Raises:
        ValueError: no result is called so.
    """
    full, _, end = name.rpartition("/")
    found = _STEP.fullmatch(end)
    if found is None:
        raise ValueError(f"{name!r} does not end in an epoch and a step.")
    parts = (_decoded(part) for part in full.split("/"))
    return cut[full] if full in cut else "/".join(parts), int(found[1]), int(found[2])


def _hexadecimal(text: str) -> str:
    return f"_x{text.encode(errors='surrogatepass').hex()}_"


def _decoded(part: str) -> str:
    if part == "_x_":
        return ""
    return _ENCODED.sub(lambda found: bytes.fromhex(found[1]).decode(errors="surrogatepass"), part)
