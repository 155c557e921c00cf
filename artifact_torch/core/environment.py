"""What a run was made with: interpreter, libraries, machine, source revision."""

from __future__ import annotations

import os
import platform
import subprocess

import importlib_metadata
import torch

from artifact_torch.core.storage import JsonDict

_LIBRARIES = ("artifact-torch", "artifact-core", "artifact-experiment", "numpy", "pandas", "pluggy", "torch")


def describe_environment() -> JsonDict:
    """Versions and hardware, JSON values; a library that is not installed is left out."""
    versions: JsonDict = {}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib_metadata.version(library)
        except importlib_metadata.PackageNotFoundError:
            continue
    accelerators = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerators": accelerators,
        "libraries": versions,
    }


def source_revision() -> str | None:
    """The git commit of the working directory, with ``-dirty`` if it has changes; None outside a repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
