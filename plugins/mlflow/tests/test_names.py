"""Names that MLflow takes, and back."""

from __future__ import annotations

import posixpath
import re

from artifact_torch_mlflow.names import MOST_BYTES, Names, encoded, name_of
from hypothesis import example, given
from hypothesis import strategies as st

# What MLflow 2 asks of the names of metrics, parameters and tags, on the strictest of systems.
ALLOWED = re.compile(r"[/\w.\- ]+")

hostile = st.text(alphabet=st.sampled_from("aAxX_/.-@% :\\\n\0ßﬁİ\u0131é測🦉x0040\ud800"), max_size=400)
names = st.one_of(st.text(max_size=300), hostile)


@given(names)
@example("")
@example("//")
@example("../../outside")
@example("a_x0040_b")
@example("_x-0123456789abcdef")
@example("測" * 250)
@example("." * 300)
def test_a_name_becomes_one_that_mlflow_and_file_systems_take(name):
    key = encoded(name)
    assert ALLOWED.fullmatch(key)
    assert posixpath.normpath(key) == key
    assert not key.startswith(("/", ".."))
    assert key != "."
    assert len(key.encode()) <= MOST_BYTES
    assert all(part == part.strip(" ") and not part.endswith(".") for part in key.split("/"))


@given(names)
@example("a_x0040_b")
@example("_x_")
@example("")
@example("x" * 400)
def test_a_name_can_be_read_back(name):
    known = Names({})
    key = known.key(name)
    assert name_of(key, known.known) == name
    if len(name) <= 20:  # all of it fits, so nothing else is needed
        assert name_of(key) == name


@given(st.lists(names, max_size=20))
@example(["UPPER", "upper", "Upper"])
@example(["x" * 400, "X" * 400, "x" * 401])
@example(["a@b", "a_x0040_b"])
@example(["_x0055_", "U", "u"])
def test_keys_differ_by_more_than_upper_and_lower_case(given_names):
    keys = Names({})
    found = {name: keys.key(name) for name in given_names}
    assert len({key.casefold() for key in found.values()}) == len(found)
    assert all(len(key.encode()) <= MOST_BYTES for key in found.values())


@given(st.lists(names, min_size=1, max_size=20), st.lists(names, max_size=5))
def test_a_resumed_run_gives_the_same_names_the_same_keys(earlier, later):
    keys = Names({})
    before = {name: keys.key(name) for name in earlier}
    again = Names(keys.known)
    for name in [*later, *reversed(earlier)]:
        again.key(name)
    assert {name: again.key(name) for name in earlier} == before


def test_usual_names_stay_as_they_are():
    for name in ("train/loss", "validation/PDF/weight", "model.learning_rate", "two words", "Größe", "a-b_c.d"):
        assert encoded(name) == name
