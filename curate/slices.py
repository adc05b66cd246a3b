"""Parts of a record: where its turns are in its text, the slices that a step's `on` means, and edits of such slices.

A chat or preference record is one text, the contents of its turns joined by an empty line, and a column `turns` that
says where each turn is in it. Every part is one range of bytes, so that a filter sees plain documents, and its edits
are moved back into the record's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.kinds import listed
from curate.ledger import EDIT_TYPE, apply_edits
from curate.turns import LISTS

if TYPE_CHECKING:
    from curate.turns import Said, Side

TEXT = "text"
TURNS = "turns"
TURN = pl.Struct({"side": pl.String, "role": pl.String, "start": pl.Int64, "end": pl.Int64})
TURNS_TYPE = pl.List(TURN)
BETWEEN = "\n\n"  # stands between two turns in a record's text


def documents(records: Sequence[Sequence[Side]]) -> tuple[pl.Series, pl.Series]:
    """The text and the turns of records, from what is said on each side in order."""
    names: list[str] = []
    flat: list[Said] = []
    offsets = np.zeros(len(records) + 1, np.int64)
    for number, sides in enumerate(records, 1):
        for name, said in sides:
            names += [name] * len(said)
            flat += said
        offsets[number] = len(flat)
    contents = [content for _, content in flat]
    places = offsets.tolist()
    texts = [BETWEEN.join(contents[begin:end]) for begin, end in pairwise(places)]
    sizes = pl.Series(contents, dtype=pl.String).str.len_bytes().cast(pl.Int64).to_numpy()
    ends = np.cumsum(sizes + len(BETWEEN)) - len(BETWEEN)
    origin = np.append(0, ends + len(BETWEEN))[offsets[:-1]]  # where each record begins
    ends -= np.repeat(origin, np.diff(offsets))
    columns = {
        "side": pl.Series(names, dtype=pl.String),
        "role": pl.Series([role for role, _ in flat], dtype=pl.String),
        "start": pl.Series(ends - sizes, dtype=pl.Int64),
        "end": pl.Series(ends, dtype=pl.Int64),
    }
    return pl.Series(TEXT, texts, dtype=pl.String), listed(pl.DataFrame(columns).to_struct(TURNS), offsets)


# --- slices -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slices:
    """Ranges of records' texts in order: which record each is of, and its bytes; arrays of one shape."""

    record: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


def slices(turns: pl.Series, part: str) -> Slices:
    """Where a part of each record is; a record without it has none, one with several such turns has several."""
    counts = turns.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = turns.filter(pl.Series(counts > 0)).explode().struct.unnest()
    record = np.repeat(np.arange(len(counts)), counts)
    if part == "assistant":
        wanted = flat["role"] == "assistant"
    elif part in ("first_turn", "last_turn"):
        wanted = flat["side"].is_in(["prompt", "response"])
        if part == "first_turn":
            wanted &= flat["role"] != "system"
    else:
        wanted = flat["side"] == part if part != "each_turn" else pl.repeat(True, flat.height, eager=True)
    chosen = wanted.to_numpy()
    record, start, end = record[chosen], flat["start"].to_numpy()[chosen], flat["end"].to_numpy()[chosen]
    if part in LISTS or len(record) == 0:
        return Slices(record, start, end)
    last = np.append(record[1:] != record[:-1], True)
    first = np.roll(last, 1)
    if part == "first_turn":
        return Slices(record[first], start[first], end[first])
    begin = start[last] if part == "last_turn" else start[first]
    return Slices(record[last], begin, end[last])


def cut(docs: pl.DataFrame, where: Slices) -> pl.DataFrame:
    """The slices as documents: a row for each, with the record's other columns and without its turns."""
    some = docs.drop(TURNS)
    if len(where.record) != docs.height or (np.diff(where.record) != 1).any():
        some = some[where.record]
    start, size = pl.Series(where.start), pl.Series(where.end - where.start)
    text = pl.col(TEXT).cast(pl.Binary).bin.slice(pl.lit(start), pl.lit(size)).cast(pl.String)
    return some.with_columns(text.alias(TEXT))


def gathered(made: pl.DataFrame, where: Slices, part: str, height: int) -> pl.DataFrame:
    """The columns of slices as columns of their records: null where there is no such part, lists for several turns."""
    if part in LISTS:
        offsets = np.searchsorted(where.record, np.arange(height + 1)).astype(np.int64)
        return pl.DataFrame([listed(made[name], offsets) for name in made.columns])
    place = np.full(height, -1, np.int64)
    place[where.record] = np.arange(len(where.record))
    positions = pl.Series(place).replace(-1, None)
    return made.select(pl.all().gather(positions))


def has(turns: pl.Series, part: str) -> NDArray[np.bool_]:
    """Which records have a part."""
    found = np.zeros(len(turns), bool)
    found[slices(turns, part).record] = True
    return found


# --- edits ------------------------------------------------------------------------------------------------------------


def placed(edits: pl.Series, where: Slices, turns: pl.Series) -> tuple[pl.Series, dict[int, str]]:
    """Edits of slices as edits of their records, and by record what is wrong with edits that leave their slice.

    An edit that reaches beyond a turn changes each turn as far as it covers it; what stands between turns stays.
    """
    some = _Edits.of(edits)
    begin, stop = where.start[some.row], where.end[some.row]
    some = _Edits(where.record[some.row], some.start + begin, some.end + begin, some.put)
    outside = (some.start < begin) | (some.start > some.end) | (some.end > stop)
    wrong: dict[int, str] = {}
    for at in np.flatnonzero(outside).tolist():
        start, end, size = (int(value) for value in (some.start[at], some.end[at], stop[at] - begin[at]))
        wrong[int(some.row[at])] = (
            f"edit {start - int(begin[at])}..{end - int(begin[at])} leaves its text of {size} bytes"
        )
    if wrong:
        some = some.take(np.flatnonzero(~np.isin(some.row, list(wrong))))
    some = _clipped(some.take(np.lexsort((some.end, some.start, some.row))), turns)
    fields = {"start": some.start, "end": some.end, "put": some.put}
    offsets = np.searchsorted(some.row, np.arange(len(turns) + 1)).astype(np.int64)
    return listed(pl.DataFrame(fields).to_struct("edits"), offsets).cast(EDIT_TYPE), wrong


@dataclass(frozen=True)
class _Edits:
    """Edits end to end: the row of each, its range of bytes, and what is put there; one shape."""

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    put: pl.Series

    @classmethod
    def of(cls, edits: pl.Series) -> _Edits:
        """The edits of a column of lists."""
        counts = edits.list.len().fill_null(0).to_numpy().astype(np.int64)
        flat = edits.filter(pl.Series(counts > 0)).explode().struct
        start, end = (flat.field(name).cast(pl.Int64).to_numpy() for name in ("start", "end"))
        return cls(np.repeat(np.arange(len(counts)), counts), start, end, flat.field("put").fill_null(""))

    def take(self, places: NDArray[np.intp]) -> _Edits:
        """Those at some places."""
        return _Edits(self.row[places], self.start[places], self.end[places], self.put[places])


class _Spans:
    """The turns of records end to end, on one line of bytes on which no two records touch."""

    def __init__(self, turns: pl.Series) -> None:
        counts = turns.list.len().fill_null(0).to_numpy().astype(np.int64)
        self.flat = turns.filter(pl.Series(counts > 0)).explode().struct.unnest()
        self.start, self.end = (self.flat[name].to_numpy() for name in ("start", "end"))
        self.offsets = np.append(0, np.cumsum(counts))
        sizes = np.zeros(len(counts), np.int64)
        sizes[counts > 0] = self.end[self.offsets[1:][counts > 0] - 1]
        self.base = np.append(0, np.cumsum(sizes + 1))[:-1]  # where each record begins on the line
        self.shift = np.repeat(self.base, counts)


def _clipped(some: _Edits, turns: pl.Series) -> _Edits:
    """Edits cut to the turns that they touch; the first piece takes what is put."""
    spans = _Spans(turns)
    base = spans.base[some.row]
    inserts = some.start == some.end  # they touch a turn whose begin or end they stand at
    ends, starts = spans.end + spans.shift, spans.start + spans.shift
    low, high = some.start + base, some.end + base
    first = np.where(inserts, np.searchsorted(ends, low, "left"), np.searchsorted(ends, low, "right"))
    last = np.where(inserts, np.searchsorted(starts, high, "right"), np.searchsorted(starts, high, "left"))
    counts = np.maximum(last - first, 0)
    edit = np.repeat(np.arange(len(counts)), counts)
    turn = np.arange(len(edit)) - np.repeat(np.append(0, np.cumsum(counts))[:-1] - first, counts)
    start = np.maximum(some.start[edit], spans.start[turn])
    end = np.minimum(some.end[edit], spans.end[turn])
    touching = (start < end) | inserts[edit]
    edit, start, end = edit[touching], start[touching], end[touching]
    puts = some.put[edit]
    again = np.append(False, edit[1:] == edit[:-1])[: len(edit)]
    if again.any():
        puts = puts.scatter(np.flatnonzero(again), "")
    return _Edits(some.row[edit], start, end, puts)


def whole(docs: pl.DataFrame) -> Slices:
    """Every record's text as one slice."""
    sizes = docs[TEXT].str.len_bytes().cast(pl.Int64).to_numpy()
    return Slices(np.arange(docs.height), np.zeros(docs.height, np.int64), sizes)


def edited(docs: pl.DataFrame, edits: pl.Series) -> tuple[pl.DataFrame, dict[int, str]]:
    """Documents with their edits applied and their turns moved along, and by position what is wrong with an edit."""
    texts, wrong = apply_edits(docs[TEXT], edits)
    docs = docs.with_columns(texts.alias(TEXT))
    if TURNS not in docs.columns:
        return docs, wrong
    touched = (edits.list.len().fill_null(0) > 0).to_numpy().copy()
    touched[list(wrong)] = False
    rows = np.flatnonzero(touched)
    if len(rows):
        docs = docs.with_columns(replaced(docs[TURNS], rows, _moved(docs[TURNS][rows], edits[rows])))
    return docs, wrong


def _moved(turns: pl.Series, edits: pl.Series) -> pl.Series:
    """Turns after the edits within them."""
    spans, some = _Spans(turns), _Edits.of(edits)
    longer = some.put.str.len_bytes().cast(pl.Int64).to_numpy() - (some.end - some.start)
    places = some.start + spans.base[some.row]
    order = np.argsort(places, kind="stable")
    shifts = np.append(0, np.cumsum(longer[order]))
    before = shifts[np.searchsorted(places[order], spans.base)]  # by all edits of earlier records
    through = shifts[np.searchsorted(places[order], spans.end + spans.shift, "right")]
    counts = np.diff(spans.offsets)
    end = through - np.repeat(before, counts)
    start = np.append(0, end)[:-1]
    start[spans.offsets[:-1][counts > 0]] = 0
    moved = spans.flat.with_columns(pl.Series("start", spans.start + start), pl.Series("end", spans.end + end))
    return listed(moved.to_struct(TURNS), spans.offsets)


def replaced(column: pl.Series, rows: NDArray[np.int64], values: pl.Series) -> pl.Series:
    """A column of any type with other values at some rows."""
    order = np.arange(len(column))
    order[rows] = len(column) + np.arange(len(rows))
    return pl.concat([column, values.cast(column.dtype).alias(column.name)])[order]


def contents(docs: pl.DataFrame) -> list[list[str]]:
    """The content of every turn of every record."""
    found: list[list[str]] = []
    for text, turns in zip(docs[TEXT].to_list(), docs[TURNS].to_list(), strict=True):
        data = text.encode()
        found.append([data[turn["start"] : turn["end"]].decode() for turn in turns])
    return found
