"""Every result has a name of its own in event files, and keeps it."""

from __future__ import annotations

from artifact_torch_tensorboard.tag_names import TagNames
from hypothesis import given
from hypothesis import strategies as st

from artifact_torch import TrackedKind

KINDS = st.sampled_from([TrackedKind.SCORE, TrackedKind.ARRAY, TrackedKind.PLOT])
NAMES = st.sampled_from(["a", "a (plot)", "a (array)", "a (score)", "a (plot) (plot)"]) | st.text(max_size=3)


@given(st.lists(st.tuples(KINDS, NAMES)))
def test_different_results_have_different_names_that_stay(results: list[tuple[TrackedKind, str]]) -> None:
    names, again = TagNames(), TagNames()
    given_names = {result: names.tag_of(*result) for result in results}
    assert len(set(given_names.values())) == len(given_names)
    for (kind, full_name), tag in reversed(given_names.items()):
        again.learn(tag, kind, full_name)
    assert {result: again.tag_of(*result) for result in results} == given_names


def test_a_name_that_only_one_kind_has_is_kept() -> None:
    names = TagNames()
    assert [names.tag_of(TrackedKind.PLOT, name) for name in ("train/PDF", "a//b", "")] == ["train/PDF", "a//b", ""]
