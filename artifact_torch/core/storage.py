"""Directories of tensors and JSON that appear whole or not at all, and are checked when read.

A bundle holds ``tensors.safetensors``, ``state.json`` and ``manifest.json``, the last with the size and SHA-256 of the
other two. It is written beside its destination under a temporary name, flushed to disk and renamed, so that a process
killed at any instant leaves either the complete bundle or a temporary directory that nobody reads.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from artifact_torch.errors import CheckpointError

JsonDict: TypeAlias = dict[str, Any]
"""A JSON object. Its values are JSON values; Python's type system has no exact name for them, hence ``Any``."""

TENSORS_FILE = "tensors.safetensors"
STATE_FILE = "state.json"
MANIFEST_FILE = "manifest.json"
TEMPORARY_PREFIX = ".writing-"
BUNDLE_FORMAT = 1


def write_bundle(path: Path, tensors: Mapping[str, Tensor], state: JsonDict) -> Path:
    """Write a bundle to the directory ``path``, replacing one that is there.

    Raises:
        CheckpointError: ``state`` holds something that is not a JSON value, or a tensor is sparse, without data or of a
            type that cannot be stored.
        OSError: the disk is full or not writable; what stood at ``path`` before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    working = path.parent / f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}"
    working.mkdir()
    try:
        _write_file(working / TENSORS_FILE, _to_safetensors(tensors, path))
        _write_file(working / STATE_FILE, _to_json(state, path))
        manifest = {
            "format": BUNDLE_FORMAT,
            "files": {name: _fingerprint(working / name) for name in (TENSORS_FILE, STATE_FILE)},
        }
        _write_file(working / MANIFEST_FILE, json.dumps(manifest, indent=2).encode())
        sync_directory(working)
        _move_into_place(working, path)
    except BaseException:
        shutil.rmtree(working, ignore_errors=True)
        raise
    return path


def read_bundle(path: Path) -> tuple[dict[str, Tensor], JsonDict]:
    """Read a bundle and verify its checksums; tensors are on the CPU.

    Raises:
        CheckpointError: the bundle is absent, incomplete or altered; the message names the file.
    """
    verify_bundle(path)
    tensors = safetensors.torch.load((path / TENSORS_FILE).read_bytes())
    return tensors, json.loads((path / STATE_FILE).read_text(encoding="utf-8"))


def verify_bundle(path: Path) -> None:
    """Check that a bundle is complete and unaltered.

    Raises:
        CheckpointError: it is not; the message names the file.
    """
    if not path.is_dir():
        raise CheckpointError(f"There is no saved state at {path}: give the directory that was written when saving.")
    try:
        manifest = cast("JsonDict", json.loads((path / MANIFEST_FILE).read_text(encoding="utf-8")))
        written_format, files = manifest["format"], cast("dict[str, JsonDict]", manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path / MANIFEST_FILE} is missing or unreadable: use another saved state.") from error
    if written_format != BUNDLE_FORMAT:
        raise CheckpointError(
            f"{path} is in format {written_format}, and this version reads format {BUNDLE_FORMAT}: "
            "read it with the version of artifact-torch that wrote it."
        )
    for name in (TENSORS_FILE, STATE_FILE):
        try:
            found = _fingerprint(path / name)
        except OSError as error:
            raise CheckpointError(f"{path / name} is missing or unreadable: use another saved state.") from error
        if found != files.get(name):
            raise CheckpointError(f"{path / name} was altered after it was written: use another saved state.")


def write_json(path: Path, value: JsonDict) -> None:
    """Replace a JSON file atomically: a reader sees the old or the new content, never a part."""
    working = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        _write_file(working, json.dumps(value, indent=2, ensure_ascii=False).encode())
        working.replace(path)
    except BaseException:
        working.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def json_number(value: float) -> float | None:
    """A number as JSON can hold it: None, which JSON calls null, for NaN and infinity."""
    return value if math.isfinite(value) else None


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_into_place(working: Path, path: Path) -> None:
    if path.exists():
        replaced = path.parent / f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}"
        path.rename(replaced)
        try:
            working.rename(path)
        except OSError:
            replaced.rename(path)
            raise
        shutil.rmtree(replaced)
    else:
        working.rename(path)
    sync_directory(path.parent)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _fingerprint(path: Path) -> JsonDict:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _to_safetensors(tensors: Mapping[str, Tensor], path: Path) -> bytes:
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_meta:
            raise CheckpointError(
                f"Cannot save {path}: the tensor {name!r} is sparse or has no data; make it dense first."
            )
    try:
        return safetensors.torch.save(_storable(tensors))
    except KeyError as error:  # this is how safetensors refuses a type
        raise CheckpointError(
            f"Cannot save {path}: tensors of {error} cannot be stored; convert them first."
        ) from error


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory (tied weights), so a second view of a storage is copied.
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        storage = plain.untyped_storage()
        is_view = plain.nbytes < storage.nbytes()
        stored[name] = plain.clone() if is_view or storage.data_ptr() in seen else plain
        seen.add(storage.data_ptr())
    return stored


def _to_json(state: JsonDict, path: Path) -> bytes:
    try:
        return json.dumps(state, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"Cannot save {path}: its state must be made of JSON values, and {error}.") from error
