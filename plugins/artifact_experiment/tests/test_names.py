"""Names come back from clients as they were, and are paths that stay where they are."""

from __future__ import annotations

import re

from artifact_torch_artifact_experiment.names import full_name_of, is_cut, name_of, safe
from hypothesis import example, given
from hypothesis import strategies as st

from artifact_torch import TrackedItem, TrackedKind

NAMES = st.one_of(st.text(max_size=30), st.text(alphabet="._x-5f/é", max_size=300), st.text(min_size=60))
NUMBERS = st.integers(0, 10**9)


def item(name, epoch=1, step=1):
    return TrackedItem(
        kind=TrackedKind.SCORE, name=name, split="validation", epoch=epoch, step=step, time=0.0, value=1.0
    )


@given(NAMES, NUMBERS, NUMBERS)
@example("../../outside", 1, 1)
@example("loss/epoch-1-step-1", 1, 1)
@example("_x_/_x41_/_x-", 1, 1)
@example("x" * 300, 1, 1)
def test_a_result_comes_back_with_its_name_epoch_and_step(name, epoch, step):
    result = item(name, epoch, step)
    found = name_of(result)
    cut = {found.rpartition("/")[0]: result.full_name} if is_cut(found) else {}
    assert full_name_of(found, cut) == (result.full_name, epoch, step)


@given(NAMES)
def test_a_name_is_a_path_that_stays_where_it_is_and_that_mlflow_takes(name):
    found = name_of(item(name))
    assert re.fullmatch(r"[A-Za-z0-9_./-]+", found)
    assert all(part.strip(".") for part in found.split("/"))
    assert len(found) <= 150 + len("/epoch-1-step-1")


@given(NAMES, NAMES)
def test_no_result_is_called_as_a_folder_of_another(name, other):
    names = [name_of(item(each)) for each in (name, other)]
    assert (names[0] == names[1]) == (name == other)
    assert not names[0].startswith(f"{names[1]}/")


@given(st.text())
def test_a_part_of_a_path_has_no_parts(text):
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", safe(text))


def test_usual_names_are_kept():
    assert name_of(item("PDF/body_weight", 2, 10)) == "validation/PDF/body_weight/epoch-2-step-10"
