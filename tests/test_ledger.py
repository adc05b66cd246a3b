"""Edits replace byte ranges; verdicts become ledger rows."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.ledger import EDIT_TYPE, Verdicts, apply_edits, edit_text, in_sample


def change(start: int, end: int, put: str = "") -> dict[str, object]:
    return {"start": start, "end": end, "put": put}


def test_edits_are_in_bytes_of_the_text() -> None:
    assert edit_text("é secret ñ", [change(3, 9, "***")]) == "é *** ñ"


def test_edits_may_come_in_any_order_and_insert() -> None:
    assert edit_text("abc", [change(3, 3, "!"), change(0, 1, "X")]) == "Xbc!"


@pytest.mark.parametrize("changes", [[change(0, 2), change(1, 3)], [change(2, 9)], [change(3, 2)], [change(-1, 2)]])
def test_edits_that_do_not_fit_are_refused(changes: list[dict[str, object]]) -> None:
    with pytest.raises(ValueError, match=r"edit .* overlaps"):
        edit_text("abc", changes)


def test_an_edit_that_cuts_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="cuts a character"):
        edit_text("é", [change(0, 1)])


def test_only_touched_texts_change_and_errors_have_their_position() -> None:
    texts = pl.Series(["one", "two", "three"])
    edits = pl.Series([[], [change(0, 99)], [change(0, 5, "3")]], dtype=EDIT_TYPE)
    changed, wrong = apply_edits(texts, edits)
    assert changed.to_list() == ["one", "two", "3"]
    assert list(wrong) == [1]


@given(st.text(), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.text(max_size=3)), max_size=4))
def test_edits_either_fit_or_are_refused(text: str, changes: list[tuple[int, int, str]]) -> None:
    try:
        edited = edit_text(text, [change(*one) for one in changes])
    except ValueError:
        return
    removed = sum(end - start for start, end, _ in changes)
    assert len(edited.encode()) == len(text.encode()) - removed + sum(len(put.encode()) for *_, put in changes)


def verdicts(size: int = 4) -> Verdicts:
    docs = pl.DataFrame(
        {"row": pl.Series(range(size), dtype=pl.Int64), "id": [f"d{n}" for n in range(size)], "text": ["x"] * size}
    )
    return Verdicts(docs, np.zeros(size, bool))


SCHEMA = {
    "id": pl.String(), "kept": pl.Boolean(), "step": pl.String(), "rule": pl.String(), "failed": pl.List(pl.String()),
    "copies": pl.UInt16(),
}  # fmt: skip


def test_the_first_rule_decides_and_all_are_listed() -> None:
    state = verdicts()
    everyone = np.arange(4)
    state.judge("length", "short", everyone, np.array([True, False, True, False]))
    state.judge("length", "odd", everyone, np.array([True, True, False, False]))
    state.close_step()
    ledger = state.to_ledger("f", SCHEMA)
    assert ledger["kept"].to_list() == [False, False, False, True]
    assert ledger["rule"].to_list() == ["short", "odd", "short", None]
    assert ledger["failed"].to_list() == [["length.short", "length.odd"], ["length.odd"], ["length.short"], []]
    assert ledger["copies"].to_list() == [0, 0, 0, 1]


def test_a_document_in_quarantine_is_no_ledger_row() -> None:
    state = verdicts()
    state.fault(0, 2, "ValueError: no")
    assert state.to_ledger("f", SCHEMA)["id"].to_list() == ["d0", "d1", "d3"]
    rows = state.to_quarantine("f", ["length"])
    assert rows.select("id", "step", "error").rows() == [("d2", "length", "ValueError: no")]


def test_a_dropped_document_is_never_sent_to_quarantine() -> None:
    state = verdicts()
    state.judge("length", "short", np.arange(4), np.array([True] * 4))
    state.close_step()
    state.fault(1, 0, "late")
    assert state.to_ledger("f", SCHEMA).height == 4


def test_the_audit_sample_depends_on_the_id_alone() -> None:
    ids = pl.Series([f"doc-{number}" for number in range(20_000)])
    sample = in_sample(ids, 0.1)
    assert 0.09 < sample.mean() < 0.11
    assert (in_sample(ids.reverse(), 0.1)[::-1] == sample).all()
    assert in_sample(ids, 1.0).all()
    assert not in_sample(ids, 0.0).any()
    assert (in_sample(ids, 0.2) | ~sample).all()
