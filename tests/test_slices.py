"""Edits of parts as edits of records, against the same said turn by turn in plain Python."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.ledger import EDIT_TYPE
from curate.slices import BETWEEN, TEXT, TURNS, Slices, cut, documents, edited, placed, slices, whole

CONTENTS = st.text("abé", max_size=5)
PUTS = st.one_of(st.none(), st.text("xü", max_size=3))
RECORDS = st.lists(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), CONTENTS), min_size=1), max_size=5)


def frame(records: list[list[tuple[str, str]]]) -> pl.DataFrame:
    texts, turns = documents([[("prompt", record)] for record in records])
    return pl.DataFrame({TEXT: texts, TURNS: turns})


def column(edits: list[list[dict[str, Any]] | None]) -> pl.Series:
    return pl.Series("edits", edits, EDIT_TYPE)


@st.composite
def records_and_edits(draw: st.DrawFn, part: str) -> tuple[pl.DataFrame, Slices, list[list[dict[str, Any]] | None]]:
    """Records, the slices of a part, and edits of each slice that do not overlap and cut no character."""
    docs = frame(draw(RECORDS))
    where = whole(docs) if part == "whole" else slices(docs[TURNS], part)
    texts = docs[TEXT].to_list() if part == "whole" else cut(docs, where)[TEXT].to_list()
    edits: list[list[dict[str, Any]] | None] = []
    for text in texts:
        places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
        bytes_at = [len(text[:place].encode()) for place in places]
        edits.append([
            {"start": start, "end": end, "put": draw(PUTS)}
            for start, end in zip(bytes_at[::2], bytes_at[1::2], strict=False)
        ])  # fmt: skip
    return docs, where, edits


def by_hand(docs: pl.DataFrame, where: Slices, edits: list[list[dict[str, Any]] | None]) -> list[list[str]]:
    """The contents of turns after edits, turn by turn; of an edit over several, the first takes what is put."""
    found: list[list[str]] = []
    for row, (text, turns) in enumerate(zip(docs[TEXT].to_list(), docs[TURNS].to_list(), strict=True)):
        data = text.encode()
        pieces: list[list[tuple[int, int, bytes]]] = [[] for _ in turns]
        for record, begin, changes in zip(where.record.tolist(), where.start.tolist(), edits, strict=True):
            for change in changes or [] if record == row else []:
                start, end, put = change["start"] + begin, change["end"] + begin, (change["put"] or "").encode()
                for place, turn in enumerate(turns):
                    low, high = max(start, turn["start"]), min(end, turn["end"])
                    if low < high or (low == high and start == end):
                        pieces[place].append((low, high, put))
                        put = b""
        contents = []
        for turn, own in zip(turns, pieces, strict=True):
            at, made = turn["start"], b""
            for low, high, put in own:
                made += data[at:low] + put
                at = high
            contents.append((made + data[at : turn["end"]]).decode())
        found.append(contents)
    return found


@pytest.mark.parametrize("part", ["whole", "each_turn", "assistant", "first_turn", "last_turn"])
@settings(deadline=None)
@given(data=st.data())
def test_edits_of_parts_change_the_turns_that_they_cover(part: str, data: st.DataObject) -> None:
    docs, where, edits = data.draw(records_and_edits(part))
    moved, wrong = placed(column(edits), where, docs[TURNS])
    assert not wrong
    after, wrong = edited(docs, moved)
    assert not wrong
    wanted = by_hand(docs, where, edits)
    assert after[TEXT].to_list() == [BETWEEN.join(contents) for contents in wanted]
    assert cut(after, slices(after[TURNS], "each_turn"))[TEXT].to_list() == [one for some in wanted for one in some]
    kept = [[(turn["side"], turn["role"]) for turn in turns] for turns in docs[TURNS].to_list()]
    assert [[(turn["side"], turn["role"]) for turn in turns] for turns in after[TURNS].to_list()] == kept


def test_the_first_turn_is_not_the_systems() -> None:
    docs = frame([[("system", "be brief"), ("user", "one"), ("user", "two")], [("system", "alone")]])
    where = slices(docs[TURNS], "first_turn")
    assert where.record.tolist() == [0]
    assert cut(docs, where)[TEXT].to_list() == ["one"]


def test_an_edit_that_leaves_its_slice_is_told_with_its_place_in_the_slice() -> None:
    docs = frame([[("user", "one")], [("user", "two"), ("assistant", "three")]])
    edits = column([[{"start": 0, "end": 1, "put": "x"}], None, [{"start": 2, "end": 9, "put": ""}]])
    moved, wrong = placed(edits, slices(docs[TURNS], "each_turn"), docs[TURNS])
    assert wrong == {1: "edit 2..9 leaves its text of 5 bytes"}
    assert [len(own) for own in moved.to_list()] == [1, 0]


def test_an_edit_that_ends_before_it_begins_is_told() -> None:
    docs = frame([[("user", "some")]])
    _, wrong = placed(column([[{"start": 3, "end": 2, "put": ""}]]), whole(docs), docs[TURNS])
    assert wrong == {0: "edit 3..2 leaves its text of 4 bytes"}
