"""Directories of tensors and JSON that appear whole or not at all, and are checked when read.

A bundle holds ``tensors.safetensors``, ``state.json`` and ``manifest.json``, the last with the size and SHA-256 of the
other two and a checksum of its own. It is written beside its destination under a temporary name, flushed to disk, read
back and renamed, so that a process killed at any instant leaves either the complete bundle or a temporary directory
that nobody reads.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from artifact_torch.core.temporary import remove, temporary_path
from artifact_torch.errors import CheckpointError

JsonDict: TypeAlias = dict[str, Any]
"""A JSON object. Its values are JSON values; Python's type system has no exact name for them, hence ``Any``."""

TENSORS_FILE = "tensors.safetensors"
STATE_FILE = "state.json"
MANIFEST_FILE = "manifest.json"
BUNDLE_FORMAT = 1


@dataclass(frozen=True, slots=True)
class BundleContent:
    """What a bundle is to hold, checked and ready to be written.

    Attributes:
        tensors: dense ones on the CPU, none of which shares memory with another one.
        state: JSON.
        about: a few JSON values that can be read without reading the rest.
    """

    tensors: dict[str, Tensor]
    state: bytes
    about: JsonDict


def prepare_content(
    tensors: Mapping[str, Tensor], state: JsonDict, about: JsonDict | None, path: Path, *, copied: bool = False
) -> BundleContent:
    """Check what is to be written to ``path``.

    Args:
        tensors: name -> tensor.
        state: JSON values.
        about: JSON values for the manifest.
        path: for messages.
        copied: whether to copy every tensor, so that the originals may change before it is written.

    Raises:
        CheckpointError: ``state`` or ``about`` holds something that is not a JSON value, or a tensor is sparse, without
            data or of a type that cannot be stored.
    """
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_meta:
            raise CheckpointError(
                f"Cannot save {path}: the tensor {name!r} is sparse or has no data; make it dense first."
            )
        if not _can_be_stored(tensor.dtype):
            raise CheckpointError(
                f"Cannot save {path}: tensors of {tensor.dtype} cannot be stored; convert {name!r} first."
            )
    try:
        written = json.dumps(state, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"Cannot save {path}: its state must be made of JSON values, and {error}.") from error
    try:
        told = cast("JsonDict", json.loads(_dump(about or {})))  # as it will be read: keys become strings
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"Cannot save {path}: what its manifest tells must be made of JSON values, and {error}."
        ) from error
    return BundleContent(_storable(tensors, copied), written, told)


def write_bundle(path: Path, tensors: Mapping[str, Tensor], state: JsonDict, *, about: JsonDict | None = None) -> Path:
    """Write a bundle to the directory ``path``, replacing one that is there.

    Raises:
        CheckpointError: as with ``prepare_content``.
        OSError: the disk is full, failing or not writable; what stood at ``path`` before is untouched.
    """
    content = prepare_content(tensors, state, about, path)
    make_directory(path.parent)
    working = temporary_path(path)
    working.mkdir()
    try:
        write_files(working, content)
        _move_into_place(working, path)
    except BaseException:
        remove(working)
        raise
    return path


def write_files(directory: Path, content: BundleContent) -> None:
    """Write a bundle's files into an empty directory, flush them to disk and read them back.

    Raises:
        OSError: the disk is full, failing or not writable; the directory is left as it is.
    """
    files = {TENSORS_FILE: safetensors.torch.save(content.tensors), STATE_FILE: content.state}
    manifest = {
        "format": BUNDLE_FORMAT,
        "about": content.about,
        "files": {name: _fingerprint(written) for name, written in files.items()},
    }
    for name, written in {**files, MANIFEST_FILE: _sealed(manifest)}.items():
        _write_file(directory / name, written)
    sync_directory(directory)
    try:
        verify_bundle(directory)
    except CheckpointError as error:
        raise OSError(f"what was written is not what is read back: {error}") from error


def read_bundle(path: Path) -> tuple[dict[str, Tensor], JsonDict]:
    """Read a bundle and verify its checksums; tensors are on the CPU.

    Raises:
        CheckpointError: the bundle is absent, incomplete or altered; the message names the file.
    """
    files = _read_manifest(path)["files"]
    contents: dict[str, bytes] = {}
    for name in (TENSORS_FILE, STATE_FILE):
        try:
            contents[name] = (path / name).read_bytes()
        except OSError as error:
            raise _unreadable(path / name) from error
        if _fingerprint(contents[name]) != files[name]:
            raise _altered(path / name)
    return safetensors.torch.load(contents[TENSORS_FILE]), json.loads(contents[STATE_FILE])


def read_about(path: Path) -> JsonDict:
    """Read what a bundle's manifest tells, without reading the rest.

    Raises:
        CheckpointError: the bundle is absent, or its manifest is missing or altered.
    """
    return cast("JsonDict", _read_manifest(path)["about"])


def verify_bundle(path: Path) -> None:
    """Check that a bundle is complete and unaltered, without keeping it in memory.

    Raises:
        CheckpointError: it is not; the message names the file.
    """
    files = _read_manifest(path)["files"]
    for name in (TENSORS_FILE, STATE_FILE):
        try:
            with (path / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
        except OSError as error:
            raise _unreadable(path / name) from error
        if {"bytes": size, "sha256": digest} != files[name]:
            raise _altered(path / name)


def is_bundle(path: Path) -> bool:
    """Whether there is a bundle at ``path``, which may be damaged."""
    return any((path / name).exists() for name in (MANIFEST_FILE, TENSORS_FILE, STATE_FILE))


def write_json(path: Path, value: JsonDict) -> None:
    """Replace a JSON file atomically: a reader sees the old or the new content, never a part."""
    working = temporary_path(path)
    try:
        _write_file(working, json.dumps(value, indent=2, ensure_ascii=False).encode())
        working.replace(path)
    except BaseException:
        remove(working)
        raise
    sync_directory(path.parent)


def json_number(value: float) -> float | None:
    """A number as JSON can hold it: None, which JSON calls null, for NaN and infinity."""
    return value if math.isfinite(value) else None


def make_directory(path: Path) -> None:
    """Make a directory and those above it, if they are missing, so that they survive a power cut."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_directory(each.parent)


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# The manifest is the canonical text of what it says, so that a change of any byte of it is seen.


def _dump(value: JsonDict) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False).encode()


def _sealed(manifest: JsonDict) -> bytes:
    return _dump({**manifest, "sha256": hashlib.sha256(_dump(manifest)).hexdigest()})


def _read_manifest(path: Path) -> JsonDict:
    if not path.is_dir():
        raise CheckpointError(f"There is no saved state at {path}: give the directory that was written when saving.")
    try:
        written = (path / MANIFEST_FILE).read_bytes()
        manifest = cast("JsonDict", json.loads(written.decode("ascii")))
        del manifest["sha256"]
        intact = _sealed(manifest) == written
        written_format = manifest["format"]
    except OSError as error:
        raise _unreadable(path / MANIFEST_FILE) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _altered(path / MANIFEST_FILE) from error
    if not intact:
        raise _altered(path / MANIFEST_FILE)
    if written_format != BUNDLE_FORMAT:
        raise CheckpointError(
            f"{path} is in format {written_format}, and this version reads format {BUNDLE_FORMAT}: "
            "read it with the version of artifact-torch that wrote it."
        )
    return manifest


def _unreadable(file: Path) -> CheckpointError:
    return CheckpointError(f"{file} is missing or unreadable: use another saved state.")


def _altered(file: Path) -> CheckpointError:
    return CheckpointError(f"{file} was altered after it was written: use another saved state.")


def _fingerprint(content: bytes) -> JsonDict:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):  # so that what is read back comes from the disk
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _move_into_place(working: Path, path: Path) -> None:
    if not path.exists():
        working.rename(path)
    elif _exchange(working, path):
        sync_directory(path.parent)
        remove(working)  # what was replaced
    else:
        replaced = temporary_path(path)
        path.rename(replaced)
        try:
            working.rename(path)
        except OSError:
            replaced.rename(path)
            raise
        remove(replaced)
    sync_directory(path.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two paths at once; False where the system cannot. Between two renames, neither would be there."""
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2  # Linux
    except (AttributeError, OSError):
        return False
    in_working_directory, exchange = -100, 2
    return swap(in_working_directory, os.fsencode(first), in_working_directory, os.fsencode(second), exchange) == 0


@functools.cache
def _can_be_stored(dtype: torch.dtype) -> bool:
    try:
        safetensors.torch.save({"": torch.empty(0, dtype=dtype)})
    except (KeyError, RuntimeError):  # this is how safetensors and torch refuse a type
        return False
    return True


def _storable(tensors: Mapping[str, Tensor], copied: bool) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory (tied weights), so a second view of a storage is copied.
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu", copy=copied).resolve_conj().resolve_neg().contiguous()
        storage = plain.untyped_storage()
        is_view = plain.nbytes < storage.nbytes()
        stored[name] = plain.clone() if is_view or storage.data_ptr() in seen else plain
        seen.add(storage.data_ptr())
    return stored
