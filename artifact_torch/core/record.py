"""What the writer and the readers of a run's records agree on: format, place, tags, whose process writes, scores.

torch is not imported here: runs are read without it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import platform
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote

from artifact_torch.errors import UsageError

__all__ = [
    "RECORD_FORMAT",
    "RecordedScore",
    "checked_tags",
    "file_name",
    "format_problem",
    "is_in_progress",
    "locked",
    "recorded_scores",
    "runs_root",
    "this_process",
]

logger = logging.getLogger("artifact_torch")

RECORD_FORMAT = 1
"""Version of what ``run.json`` and ``metrics.jsonl`` hold; raised when a field changes its meaning."""

_LONGEST_TAG = 60


def runs_root(root: Path | str | None = None) -> Path:
    """Where experiments are kept: ``root``, else ``$ARTIFACT_TORCH_HOME``, else ``runs`` in the working directory."""
    return Path(root or os.environ.get("ARTIFACT_TORCH_HOME") or "runs")


def checked_tags(tags: Iterable[str]) -> list[str]:
    """Tags, each once, in their order.

    Raises:
        UsageError: one is empty, too long, or holds what would blur a list of tags.
    """
    if isinstance(tags, str):
        raise UsageError(f"Tags are a list of texts, not one text: write [{tags!r}].")
    found = list(dict.fromkeys(tags))
    for tag in found:
        if not tag.isprintable() or "," in tag or tag != tag.strip() or not 1 <= len(tag) <= _LONGEST_TAG:
            raise UsageError(
                f"{tag!r} cannot be a tag: use up to {_LONGEST_TAG} characters on one line, without commas and without "
                "spaces at the ends."
            )
    return found


def format_problem(record: object) -> str:
    """Why the content of a ``run.json`` is none that this version understands; empty if it may be one."""
    if not isinstance(record, dict):
        return "run.json is damaged (it holds no JSON object)"
    written = cast("dict[str, Any]", record).get("format", RECORD_FORMAT)
    if isinstance(written, int) and written <= RECORD_FORMAT:
        return ""
    return f"run.json is in format {written!r}, and this version of artifact-torch reads {RECORD_FORMAT}: update it"


@contextlib.contextmanager
def locked(directory: Path) -> Generator[None]:
    """Keep other processes out that lock the same directory; the system releases it when a process is killed."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def this_process() -> dict[str, str | int]:
    """What the record says about the process that trains: enough to tell it from any other one, and since when."""
    _, start = _state_and_start(os.getpid())
    since = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"host": platform.node(), "pid": os.getpid(), "start": start, "since": since}


def is_in_progress(record: Mapping[str, Any]) -> bool:
    """Whether a process of this machine is training in a run now; of another machine that is not known."""
    process: Mapping[str, Any] = record.get("process") or {}
    pid = process.get("pid")
    if record.get("status") != "running" or process.get("host") != platform.node():
        return False
    if not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    state, start = _state_and_start(pid)
    known = process.get("start")
    return state not in ("Z", "X") and not (start and known and start != known)


class RecordedScore(NamedTuple):
    """One line of ``metrics.jsonl``; a score of a single batch is named ``batch/...``."""

    name: str
    split: str
    epoch: int
    step: int
    value: float


def recorded_scores(run: Path) -> Iterator[RecordedScore]:
    """The scores in a run's ``metrics.jsonl``, in the order of writing; damaged lines are left out, with a warning."""
    try:
        content = (run / "metrics.jsonl").read_bytes()
    except OSError:
        return
    damaged = 0
    for line in content.split(b"\n")[:-1]:  # behind the last line's end is nothing, or a line that is being written
        try:
            row = json.loads(line)
            score = RecordedScore(row["name"], row["split"], int(row["epoch"]), int(row["step"]), float(row["value"]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            damaged += 1
        else:
            yield score
    if damaged:
        logger.warning("%s: %d damaged lines are left out.", run / "metrics.jsonl", damaged)


def _state_and_start(pid: int) -> tuple[str, str]:
    """The state of a process, and when it began, as no other has it; empty where the system does not tell.

    The number alone would not do: after a restart of the machine, another process may have it.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # The name of the program, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], f"{boot}-{fields[19]}"


def file_name(name: str) -> str:
    """A file name for any text, the same for the same text: awkward characters are percent-encoded.

    Text that would be too long for a file system is cut and ends in a hash of the whole.
    """
    encoded = quote(name, safe=" ()+,=@")
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"
    # Percent-encoding never gives "%" alone nor "%-", so neither form below is that of another text.
    if len(encoded) <= 100:
        return encoded or "%"
    return f"{encoded[:80]}%-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
