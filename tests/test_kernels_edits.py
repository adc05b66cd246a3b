"""The kernel that edits texts does what plain Python does, and leaves what it doubts to it."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.ledger import EDIT_TYPE, apply_edits, edit_text

PLACES = st.integers(-1, 12)
EDITS = st.lists(
    st.fixed_dictionaries({"start": PLACES, "end": PLACES, "put": st.none() | st.text("aé\n", max_size=3)})
)
TEXTS = st.text("ab é漢\n", max_size=6)


def edits(values: list[list[dict[str, Any]] | None]) -> pl.Series:
    return pl.Series("edits", values, dtype=EDIT_TYPE)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(TEXTS, EDITS), max_size=5))
def test_texts_are_edited_as_plain_python_does(documents: list[tuple[str, list[dict[str, Any]]]]) -> None:
    wanted, faults = [], {}
    for place, (text, changes) in enumerate(documents):
        try:
            wanted.append(edit_text(text, changes))
        except ValueError as error:
            wanted.append(text)
            faults[place] = str(error)

    texts = pl.Series("text", [text for text, _ in documents], dtype=pl.String)
    found, wrong = apply_edits(texts, edits([changes for _, changes in documents]))

    assert found.to_list() == wanted
    assert wrong == faults


@pytest.mark.parametrize("none", [None, []])
def test_a_text_without_edits_stays(none: Any) -> None:
    own = [{"start": 0, "end": 1, "put": "A"}]
    found, wrong = apply_edits(pl.Series("text", ["abc", None, "abc"]), edits([none, none, own]))

    assert found.to_list() == ["abc", None, "Abc"]
    assert wrong == {}


def test_edits_in_another_order_are_applied_in_order_of_their_places() -> None:
    own = [{"start": 2, "end": 3, "put": "C"}, {"start": 0, "end": 1, "put": "A"}]

    assert apply_edits(pl.Series("text", ["abc"]), edits([own]))[0].to_list() == ["AbC"]
