"""Names for what is being written or deleted, and the removal of what a killed process left under them.

Such a name says which process on which machine is at work, so that the work of a living one is left alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
import secrets
import shutil
import time
from pathlib import Path

__all__ = ["TEMPORARY_PREFIX", "remove", "sweep", "temporary_path"]

TEMPORARY_PREFIX = ".writing-"

_NAME = re.compile(
    rf"{re.escape(TEMPORARY_PREFIX)}.+-(?P<host>[0-9a-f]{{8}})-(?P<pid>\d{{1,9}})-(?P<start>[0-9a-f]{{8}})-\d+"
)
_ABANDONED_AFTER = 24 * 3600
_START = secrets.token_hex(4)  # the process of this number may be another one after a restart
_count = itertools.count()


def temporary_path(path: Path) -> Path:
    """A new name beside ``path`` for what will be, or has been, at ``path``."""
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{_host()}-{os.getpid()}-{_START}-{next(_count)}")


def sweep(directory: Path) -> None:
    """Remove what dead processes of this machine left in ``directory``, and those of other machines a day ago.

    What cannot be removed stays; nothing in the directory but temporary names is touched.
    """
    with contextlib.suppress(OSError):
        for path in list(directory.glob(f"{TEMPORARY_PREFIX}*")):
            if (match := _NAME.fullmatch(path.name)) and _is_abandoned(path, match):
                remove(path)


def remove(path: Path) -> None:
    """Delete a file or a directory as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _is_abandoned(path: Path, name: re.Match[str]) -> bool:
    if name["host"] != _host():
        try:
            return time.time() - path.stat().st_mtime > _ABANDONED_AFTER
        except OSError:
            return False
    pid = int(name["pid"])
    if pid == os.getpid():
        return name["start"] != _START
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@functools.cache
def _host() -> str:
    # Containers may share the machine's name and not its process numbers: they count as machines of their own.
    try:
        numbering = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        numbering = ""
    return hashlib.sha256(f"{os.uname().nodename} {numbering}".encode()).hexdigest()[:8]
