"""Parts of a record: where its turns are in its text, the slices that a step's `on` means, and edits of such slices.

A chat or preference record is one text, the contents of its turns joined by an empty line, and a column `turns` that
says where each turn is in it. Every part is one range of bytes, so that a filter sees plain documents, and its edits
are moved back into the record's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.kinds import listed
from curate.ledger import EDIT_TYPE, apply_edits
from curate.turns import LISTS

if TYPE_CHECKING:
    from curate.conversations import Turn

TEXT = "text"
TURNS = "turns"
TURN = pl.Struct({"side": pl.String, "role": pl.String, "start": pl.Int64, "end": pl.Int64})
TURNS_TYPE = pl.List(TURN)
BETWEEN = "\n\n"  # stands between two turns in a record's text


def documents(records: Sequence[Sequence[Turn]]) -> tuple[pl.Series, pl.Series]:
    """The text and the turns of records, from their turns in order."""
    texts = pl.Series(TEXT, [BETWEEN.join([turn[2] for turn in turns]) for turns in records], dtype=pl.String)
    flat = [turn for turns in records for turn in turns]
    sides, roles, contents = zip(*flat, strict=True) if flat else ((), (), ())
    sizes = pl.Series(contents, dtype=pl.String).str.len_bytes().cast(pl.Int64).to_numpy()
    counts = np.fromiter(map(len, records), np.int64, len(records))
    ends = np.cumsum(sizes + len(BETWEEN)) - len(BETWEEN)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    origin = np.concatenate([[0], ends + len(BETWEEN)])[offsets[:-1]]  # where each record begins
    ends -= np.repeat(origin, counts)
    columns = {
        "side": pl.Series(sides, dtype=pl.String),
        "role": pl.Series(roles, dtype=pl.String),
        "start": pl.Series(ends - sizes, dtype=pl.Int64),
        "end": pl.Series(ends, dtype=pl.Int64),
    }
    return texts, listed(pl.DataFrame(columns).to_struct(TURNS), offsets)


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
    elif part == "last_turn":
        wanted = flat["side"].is_in(["prompt", "response"])
    else:
        wanted = flat["side"] == part if part != "each_turn" else pl.repeat(True, flat.height, eager=True)
    chosen = wanted.to_numpy()
    record, start, end = record[chosen], flat["start"].to_numpy()[chosen], flat["end"].to_numpy()[chosen]
    if part in LISTS or len(record) == 0:
        return Slices(record, start, end)
    last = np.append(record[1:] != record[:-1], True)
    first = np.roll(last, 1)
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
    made: dict[int, list[dict[str, Any]]] = {}
    wrong: dict[int, str] = {}
    touched = np.flatnonzero((edits.list.len().fill_null(0) > 0).to_numpy())
    for at, changes in zip(touched.tolist(), edits[touched].to_list(), strict=True):
        record, start, end = int(where.record[at]), int(where.start[at]), int(where.end[at])
        shifted = [{**change, "start": change["start"] + start, "end": change["end"] + start} for change in changes]
        for change in shifted:
            if not start <= change["start"] <= change["end"] <= end:
                wrong[record] = (
                    f"edit {change['start'] - start}..{change['end'] - start} leaves its text of {end - start} bytes"
                )
        made.setdefault(record, []).extend(shifted)
    whole: list[list[dict[str, Any]] | None] = [None] * len(turns)
    rows = sorted(set(made) - set(wrong))
    for record, spans in zip(rows, turns[rows].to_list(), strict=True):
        whole[record] = _clipped(made[record], spans)
    return pl.Series("edits", whole, EDIT_TYPE), wrong


def _clipped(changes: list[dict[str, Any]], turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Edits cut to the turns that they touch; the first piece takes what is put."""
    found: list[dict[str, Any]] = []
    for change in sorted(changes, key=lambda change: (change["start"], change["end"])):
        put = change["put"] or ""
        for turn in turns:
            start, end = max(change["start"], turn["start"]), min(change["end"], turn["end"])
            if start < end or (start == end and change["start"] == change["end"]):
                found.append({"start": start, "end": end, "put": put})
                put = ""
    return found


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
    if len(rows) == 0:
        return docs, wrong
    pairs = zip(docs[TURNS][rows].to_list(), edits[rows].to_list(), strict=True)
    moved = pl.Series(TURNS, [_moved(turns, changes) for turns, changes in pairs], TURNS_TYPE)
    return docs.with_columns(replaced(docs[TURNS], rows, moved)), wrong


def _moved(turns: list[dict[str, Any]], changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turns after the edits within them."""
    waiting = sorted(changes, key=lambda change: (change["start"], change["end"]))
    found: list[dict[str, Any]] = []
    at = shift = 0
    for turn in turns:
        start = turn["start"] + shift
        while at < len(waiting) and waiting[at]["start"] <= turn["end"]:
            change = waiting[at]
            shift += len((change["put"] or "").encode()) - (change["end"] - change["start"])
            at += 1
        found.append({**turn, "start": start, "end": turn["end"] + shift})
    return found


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
