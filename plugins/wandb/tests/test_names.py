"""Names come back from wandb as they were, whatever they are."""

from __future__ import annotations

import string

from artifact_torch_wandb.names import artifact_name, full_name_of, is_cut, key_of, plain_id, plain_project
from hypothesis import example, given
from hypothesis import strategies as st

from artifact_torch import TrackedItem, TrackedKind

NAMES = st.one_of(st.text(max_size=30), st.text(alphabet="./%~ aB_é\n", max_size=300), st.text(min_size=60))
KINDS = st.sampled_from([TrackedKind.SCORE, TrackedKind.PLOT, TrackedKind.ARRAY])


def item(name, kind=TrackedKind.SCORE):
    return TrackedItem(kind=kind, name=name, split="validation", epoch=1, step=1, time=0.0)


@given(NAMES, KINDS)
@example("../../outside", TrackedKind.PLOT)
@example("//", TrackedKind.SCORE)
@example("percent%2Fencoded", TrackedKind.SCORE)
@example("plots/loss", TrackedKind.PLOT)
@example("x" * 300, TrackedKind.ARRAY)
def test_a_name_comes_back_from_its_key(name, kind):
    thing = item(name, kind)
    key = key_of(thing)
    cut = {key: thing.full_name} if is_cut(key) else {}
    assert full_name_of(key, cut) == thing.full_name


@given(NAMES, KINDS)
def test_a_key_is_part_of_a_path_that_stays_where_it_is(name, kind):
    key = key_of(item(name, kind))
    assert len(key.encode()) <= 180
    assert all(part.strip(".") for part in key.split("/"))
    assert not set(key) & set('\0\n\t\\:*?"<>|@')


@given(NAMES, NAMES, KINDS, KINDS)
def test_different_results_have_different_keys(name, other, kind, other_kind):
    assert (key_of(item(name, kind)) == key_of(item(other, other_kind))) == ((name, kind) == (other, other_kind))


@given(NAMES, NAMES)
def test_different_files_are_different_artifacts(name, other):
    names = [artifact_name(each, "20260101-000000-abcdef") for each in (name, other)]
    assert (names[0] == names[1]) == (name == other)
    for each in names:
        assert 0 < len(each) <= 128
        assert set(each) <= set(string.ascii_letters + string.digits + "_-.")


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_runs_have_different_ids(run_id, other):
    ids = [plain_id(each) for each in (run_id, other)]
    assert (ids[0] == ids[1]) == (run_id == other)
    assert all(0 < len(each) <= 64 and not set(each) & set(":;,#?/'") for each in ids)


@given(st.text())
def test_what_is_made_a_project_stays_one(name):
    project = plain_project(name)
    assert 0 < len(project) <= 128
    assert plain_project(project) == project


def test_usual_names_are_kept():
    assert key_of(item("PDF/weight in kg")) == "validation/PDF/weight in kg"
    assert key_of(item("PDF/weight", TrackedKind.PLOT)) == "plots/validation/PDF/weight"
    assert artifact_name("best_model", "20260101-000000-abcdef") == "best_model-20260101-000000-abcdef"
    assert plain_id("20260101-000000-abcdef") == "20260101-000000-abcdef"
    assert plain_project("my tables/first") == "my tables-first"
