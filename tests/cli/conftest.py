"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> Generator[None]:
    # Tests run side by side, and torch's threads are many times slower where they have to share cores.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
