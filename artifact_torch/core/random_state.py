"""The global random state of Python, numpy and torch: fixed by one seed, captured, restored, protected."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch

from artifact_torch.core.storage import JsonDict


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def capture_random_state() -> JsonDict:
    """The state of the global generators, made of tensors and plain values, as ``restore_random_state`` takes it."""
    version, internal, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=False)
    return {
        "python": {"version": version, "internal": list(internal), "gauss": gauss},
        "numpy": {
            "keys": torch.from_numpy(numpy_state["state"]["key"].astype("int64")),
            "position": int(numpy_state["state"]["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: JsonDict) -> None:
    """Put the global generators back to a captured state; devices that are not here are left out."""
    python, numpy_state = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss"]))
    np.random.set_state(
        (
            "MT19937",
            numpy_state["keys"].numpy().astype("uint32"),
            numpy_state["position"],
            numpy_state["has_gauss"],
            numpy_state["gauss"],
        )
    )
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def preserved_random_state() -> Generator[None]:
    """Let code draw random numbers without any effect on what is drawn afterwards."""
    state = capture_random_state()
    try:
        yield
    finally:
        restore_random_state(state)


class OwnRandomState:
    """The random state of one training: in force while it trains, kept while it does not.

    So what a program draws between two calls of a trainer changes nothing in training, and training changes nothing in
    what the program draws.

    Args:
        seed: fixes the state that training begins with.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._kept: JsonDict | None = None
        self._in_force = False

    @contextmanager
    def in_force(self) -> Generator[None]:
        """Make it the global state, and put the program's back afterwards."""
        with preserved_random_state():
            self._begin()
            self._in_force = True
            try:
                yield
            finally:
                self._kept = capture_random_state()
                self._in_force = False

    def state(self) -> JsonDict | None:
        """As ``capture_random_state`` gives it; None if training has not begun."""
        return capture_random_state() if self._in_force else self._kept

    def load(self, state: JsonDict | None) -> None:
        """Go back to what ``state`` gave."""
        self._kept = state
        if self._in_force:
            self._begin()

    def _begin(self) -> None:
        if self._kept is None:
            seed_everything(self._seed)
        else:
            restore_random_state(self._kept)


def derived_seed(*parts: int) -> int:
    """A seed of 64 bits that depends on all parts, and differs in any part's stead for others."""
    text = ":".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """A private generator: one stream for each seed and epoch."""
    # The two are mixed so that seed 0 in epoch 1 differs from seed 1 in epoch 0.
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)


def seed_cpu(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch on the CPU, in microseconds; see ``seed_everything``."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed % 2**63)


class CpuRandomState:
    """The state of the global generators of Python, numpy and torch on the CPU, to be swapped in and out quickly."""

    def __init__(self) -> None:
        self._take()

    @classmethod
    def seeded(cls, seed: int) -> Self:
        """The state after ``seed_cpu(seed)``."""
        before = cls()
        seed_cpu(seed)
        state = cls()
        before._put()
        return state

    @contextmanager
    def kept(self) -> Generator[None]:
        """Let code draw without any effect on what is drawn afterwards."""
        self._take()
        try:
            yield
        finally:
            self._put()

    @contextmanager
    def in_force(self) -> Generator[None]:
        """Let code draw from this state, which goes on from there the next time."""
        outside = CpuRandomState()
        self._put()
        try:
            yield
        finally:
            self._take()
            outside._put()

    def _take(self) -> None:
        self._python = random.getstate()
        self._numpy = np.random.get_state()
        self._torch = torch.get_rng_state()

    def _put(self) -> None:
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
