"""The global generators: seeded, captured, restored, protected."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from artifact_torch.core.checkpoint import read_state, write_state
from artifact_torch.core.random_state import (
    capture_random_state,
    preserved_random_state,
    restore_random_state,
    seed_everything,
)


def draw():
    # Gaussian draws, for their generators keep a second number back.
    return [random.random(), random.gauss(), float(np.random.randn()), np.random.rand(), *torch.randn(3).tolist()]


@pytest.mark.parametrize("seed", [0, 7, 2**40, -3])
def test_a_seed_fixes_what_all_generators_draw(seed):
    seed_everything(seed)
    first = draw()
    seed_everything(seed)
    assert draw() == first
    seed_everything(seed + 1)
    assert all(new != old for new, old in zip(draw(), first, strict=True))


def test_a_captured_state_gives_the_same_numbers_again_also_after_a_checkpoint(tmp_path):
    seed_everything(3)
    draw()
    state = capture_random_state()
    expected = [draw(), draw()]
    restore_random_state(state)
    assert [draw(), draw()] == expected
    restore_random_state(read_state(write_state(tmp_path / "state", state)))
    assert [draw(), draw()] == expected


@pytest.mark.parametrize("error", [None, ValueError("inside")])
def test_what_is_drawn_inside_leaves_no_trace(error):
    seed_everything(3)
    expected = draw()
    seed_everything(3)
    try:
        with preserved_random_state():
            seed_everything(99)
            draw()
            if error:
                raise error
    except ValueError:
        pass
    assert draw() == expected
