"""JSON Lines: one object per line, parsed line by line with orjson.

Of a key that comes twice the last value counts. NaN, Infinity, lone surrogates and bytes that are not UTF-8 make a
bad record; so does a line of more than `MAX_COLUMNS` keys, which is data in the place of names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from curate.kinds import INT64, json_text, kind_of, kind_of_messages, messages, wider
from curate.pieces import Bad, Piece, What, bad_record, collector_paused, read_form
from curate.sources import Source
from curate.streams import BLOCK_BYTES, Lines, read_lines

if TYPE_CHECKING:
    from curate.conversations import Form

MAX_COLUMNS = 1_000
SAFE_DEPTH = 250  # orjson writes at most 254 levels [m]
_MISSING = object()


@dataclass
class JsonPiece(Piece):
    """Objects of consecutive lines."""

    records: list[dict[str, Any]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    what: What = "text"

    def texts(self) -> pl.Series:
        """The text of every good record."""
        assert isinstance(self.what, str)
        return pl.Series([record[self.what] for record in self.records], dtype=pl.String)

    def ids(self, name: str) -> tuple[Sequence[str | None], Mapping[int, str]]:
        """The id of every good record; where there is none, why (by position)."""
        values = [record.get(name, _MISSING) for record in self.records]
        if all(type(value) is str for value in values):
            return values, {}
        missing = {at: error for at, value in enumerate(values) if (error := _id_error(value))}
        return [None if at in missing else str(value) for at, value in enumerate(values)], missing

    def column(self, name: str, kind: pl.DataType) -> pl.Series:
        """One column of the good records, cast; nulls where this file does not have it."""
        values = [record.get(name) for record in self.records]
        types = set(map(type, values)) - {type(None)}
        if isinstance(kind, pl.List):
            return messages(values, kind)
        if kind == pl.String:
            if types - {str}:
                values = [None if value is None else json_text(value) for value in values]
        elif kind == pl.Int64 and bool in types:
            values = [None if value is None else int(value) for value in values]
        elif kind == pl.Float64 and types - {float}:
            values = [None if value is None else float(value) for value in values]
        return pl.Series(values, dtype=kind)

    def raw(self, position: int) -> bytes | None:
        """The line of a good record."""
        return self.lines[position]

    def kinds(self) -> dict[str, str]:
        """The kind of every column of the good records, in order of first appearance."""
        found: dict[str, dict[type, str]] = {}
        nested = set() if isinstance(self.what, str) else set(self.what.columns.values())
        told: dict[str, str] = {}
        for record in self.records:
            for name, value in record.items():
                kind = type(value)
                if kind is list and name in nested:
                    told[name] = wider(told.get(name, "null"), kind_of_messages(value))
                    found.setdefault(name, {})
                    continue
                known = found.get(name)
                if known is None:
                    found[name] = {kind: kind_of(value)}
                elif kind not in known or (kind is int and value not in INT64):
                    known[kind] = kind_of(value)
        kinds = {}
        for name, known in found.items():
            kinds[name] = told.get(name, "null")
            for kind_name in known.values():
                kinds[name] = wider(kinds[name], kind_name)
        return kinds


def json_pieces(
    source: Source, start: int, stop: int, row: int, *, what: What, id: str | None, max_record: int, size: int
) -> Iterator[JsonPiece]:
    """The records of a byte range as pieces of about `size` bytes."""
    for part in read_lines(source, start, stop, max_record=max_record, size=min(size, BLOCK_BYTES)):
        yield _parse(part, row, what, id, max_record)
        row += len(part.lines)


@collector_paused()
def _parse(part: Lines, first: int, what: What, id: str | None, max_record: int) -> JsonPiece:
    piece = JsonPiece(first, len(part.lines), part.size, what=what)
    rows: list[int] = []
    loads = orjson.loads
    for row, line in enumerate(part.lines, first):
        if part.faults and row - first in part.faults:
            piece.bad.append(bad_record(row, None, part.faults[row - first], line))
            continue
        try:
            record = loads(line)
        except orjson.JSONDecodeError as error:
            piece.bad.append(_undecoded(row, line, error))
            continue
        if isinstance(what, str):
            reason = _record_error(record, line, what)
        else:
            reason = _form_error(record, line, what, piece, max_record)
        if reason is None:
            rows.append(row)
            piece.records.append(record)
            piece.lines.append(line)
            continue
        known = None
        if isinstance(record, dict):
            if len(piece.seen) < MAX_COLUMNS:
                piece.seen |= dict.fromkeys(list(record)[:MAX_COLUMNS])
            value = _MISSING if id is None else record.get(id, _MISSING)
            known = None if _id_error(value) else str(value)
        piece.bad.append(bad_record(row, known, reason, line))
    if not part.ended and not part.faults and piece.bad:
        piece.bad = [bad._replace(error=_unended(bad)) for bad in piece.bad]
    piece.rows = rows
    return piece


def _unended(bad: Bad) -> str:
    """A last line without a line feed that ends in the middle is the trace of a file that was cut off."""
    if "unexpected end of data" in bad.error or bad.error.startswith("not UTF-8"):
        return f"truncated: the last line has no end and is {bad.error}"
    return bad.error


def _undecoded(row: int, line: bytes, error: orjson.JSONDecodeError) -> Bad:
    if not line.strip():
        return Bad(row, None, "empty line", line)
    try:
        line.decode()
    except UnicodeDecodeError as problem:
        return bad_record(row, None, f"not UTF-8: byte {problem.start}", line)
    place = len(error.doc[: error.pos].encode()) if isinstance(error.doc, str) else error.pos
    return bad_record(row, None, f"not JSON: {error.msg}: byte {place}", line)


def _form_error(record: Any, line: bytes, form: Form, piece: JsonPiece, max_record: int) -> str | None:
    """What is wrong with a record that is read by its form; the turns of a good one go to the piece."""
    if type(record) is not dict:
        return f"not an object: {_name(record)}"
    reason = shape_error(record, line)
    if reason is not None:
        return reason
    turns = read_form(form, record, max_record, len(line))
    if isinstance(turns, str):
        return turns
    piece.turned.append(turns)
    return None


def _record_error(record: Any, line: bytes, text: str) -> str | None:
    if type(record) is not dict:
        return f"not an object: {_name(record)}"
    value = record.get(text, _MISSING)
    if type(value) is not str:
        if value is _MISSING:
            return "text missing"
        return f"text is {_name(value)}"
    return shape_error(record, line)


def line_error(line: bytes) -> str | None:
    """Why a line is no object, or None."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _undecoded(0, line, error).error
    return None if type(record) is dict else f"not an object: {_name(record)}"


def shape_error(record: dict[str, Any], line: bytes) -> str | None:
    """Why a record cannot be a row of a table: too many columns, or values that cannot be written again."""
    if len(record) > MAX_COLUMNS:
        return f"more than {MAX_COLUMNS} columns"
    if _nested(record) and line.count(b"[") + line.count(b"{") > SAFE_DEPTH:
        try:
            orjson.dumps(record)
        except TypeError:
            return "nested too deep"
    return None


def _nested(record: dict[str, Any]) -> bool:
    """Whether a record holds more than plain values and lists of objects of plain values, as messages are."""
    for value in record.values():
        kind = type(value)
        if kind is dict:
            return True
        if kind is list:
            for item in value:
                if type(item) is not dict:
                    return True
                for inner in item.values():
                    if type(inner) is dict or type(inner) is list:
                        return True
    return False


def _name(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _id_error(value: Any) -> str | None:
    if type(value) is str or (type(value) is int and value in INT64):
        return None
    if value is _MISSING:
        return "id missing"
    return "id is an int beyond 64 bits" if type(value) is int else f"id is {_name(value)}"
