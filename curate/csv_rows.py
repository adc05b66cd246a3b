"""CSV as RFC 4180 has it, with a header row; records of another width and broken quotes are bad records.

Cells are text: an empty cell is null, except in the text column, where it is the empty text. Text and id are taken
as they are written, other columns have the narrowest kind that all their cells fit.
A quote that is not closed swallows what follows. When every swallowed line looks like a record by itself (it has the
right number of fields, or begins one), only the first line is bad; else the whole stretch is one bad record, because
a line of a text must not be taken for a record.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from curate.errors import UsageError
from curate.pieces import Piece, What, bad_record, read_form
from curate.sources import Source
from curate.streams import BLOCK_BYTES, PIECE_ROWS, Lines, read_lines

if TYPE_CHECKING:
    pass

BOOLS = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}
INT = r"^(0|-?[1-9][0-9]{0,18})$"  # leading zeros and plus signs are text: turned to numbers they would be lost
FLOAT = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$"
_FIELD_LIMIT = 2**31 - 1  # csv's own limit is off: lines and records are limited here


@dataclass
class CsvPiece(Piece):
    """Rows of cells under one header."""

    header: Sequence[str] = ()
    cells: list[list[str]] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)
    what: What = "text"
    id: str | None = None

    @property
    def _texts(self) -> set[str]:
        """The columns that are taken as they are written; a label of a preference record is true or false."""
        if isinstance(self.what, str):
            return {self.what}
        return {name for part, name in self.what.columns.items() if part != "label"}

    def _cells(self, name: str) -> pl.Series:
        at = self.header.index(name) if name in self.header else 0
        return pl.Series([row[at] for row in self.cells], dtype=pl.String)

    def texts(self) -> pl.Series:
        """The text of every good record; an empty cell is the empty text."""
        assert isinstance(self.what, str)
        return self._cells(self.what)

    def ids(self, name: str) -> tuple[Sequence[str | None], Mapping[int, str]]:
        """The id of every good record; an empty cell is none."""
        if name not in self.header:
            return [None] * len(self.cells), dict.fromkeys(range(len(self.cells)), "id missing")
        at = self.header.index(name)
        ids = [row[at] or None for row in self.cells]
        return ids, {place: "id is null" for place, id in enumerate(ids) if id is None}

    def column(self, name: str, kind: pl.DataType) -> pl.Series:
        """One column of the good records, cast; nulls for empty cells and where this file does not have it."""
        if name not in self.header:
            return pl.Series([None] * len(self.cells), dtype=kind)
        cells = self._cells(name) if name in self._texts else _nulled(self._cells(name))
        if kind == pl.String:
            return cells
        if cells.null_count() == len(cells):
            return pl.Series([None] * len(cells), dtype=kind)
        numbers = cells.replace(BOOLS)
        return numbers == "1" if kind == pl.Boolean else numbers.cast(kind)

    def raw(self, position: int) -> bytes | None:
        """The lines of a good record."""
        return self.raws[position]

    def kinds(self) -> dict[str, str]:
        """The kind of every column; text and id are strings."""
        as_written = {*self._texts, self.id}
        return {name: "string" if name in as_written else _kind(_nulled(self._cells(name))) for name in self.header}


def _nulled(cells: pl.Series) -> pl.Series:
    return pl.select(pl.when(cells != "").then(cells)).to_series()


def _kind(cells: pl.Series) -> str:
    cells = cells.drop_nulls()
    if not len(cells):
        return "null"
    if cells.is_in(list(BOOLS)).all():
        return "bool"
    if cells.str.contains(INT).all() and not cells.cast(pl.Int64, strict=False).has_nulls():
        return "int"
    if cells.str.contains(FLOAT).all() and cells.cast(pl.Float64, strict=False).is_finite().all():
        whole = cells.str.contains(r"^-?[0-9]+$")
        return "string" if cells.filter(whole).cast(pl.Int64, strict=False).has_nulls() else "float"
    return "string"


def wider_cells(first: str, second: str) -> str:
    """The kind of a CSV column from the kinds of two stretches of it: `true` beside 5 is text."""
    if "null" in (first, second):
        return second if first == "null" else first
    if first == second:
        return first
    return "float" if {first, second} == {"int", "float"} else "string"


class _Fault(Exception):
    """The next line cannot be part of a record; the message is the reason."""


class _Feed:
    """The physical lines of a file; `start` to `at` are those of the record in work."""

    def __init__(self, parts: Iterator[Lines], max_record: int) -> None:
        self.parts = parts
        self.max_record = max_record
        self.lines: list[bytes] = []
        self.faults: dict[int, str] = {}
        self.start = self.at = self.size = 0
        self.ended = True  # the last line has a line feed

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if not self._has_line():
            raise StopIteration
        if self.at in self.faults:
            if self.at > self.start:  # inside quotes that are not closed before it
                raise csv.Error("a quote is not closed")
            self.at += 1
            raise _Fault(self.faults[self.at - 1])
        self.at += 1
        line = self._joined(self.at - 1, self.at)
        self.size += len(line)
        if self.at - self.start > 1 and self.size > self.max_record:
            raise csv.Error(f"record too large: above {self.max_record} bytes, or a quote is not closed")
        return line.decode(errors="replace")

    def _has_line(self) -> bool:
        while self.at >= len(self.lines):
            part = next(self.parts, None)
            if part is None:
                return False
            done, held = self.start, len(self.lines) - self.start
            self.faults = {number - done: fault for number, fault in self.faults.items() if number >= done}
            self.faults |= {held + number: fault for number, fault in part.faults.items()}
            self.lines = self.lines[done:] + part.lines
            self.start, self.at = 0, self.at - done
            self.ended = part.ended
        return True

    def _joined(self, begin: int, end: int) -> bytes:
        found = b"\n".join(self.lines[begin:end])
        return found + b"\n" if self.ended or end < len(self.lines) else found

    def begin(self, at: int) -> None:
        """Begin a record at a line."""
        self.start = self.at = at
        self.size = 0

    def raw(self) -> bytes:
        """The bytes of the record in work."""
        return self._joined(self.start, self.at)

    def take_balanced(self) -> bool:
        """Take the lines up to an even number of quotes: in sound CSV that is one record. False: it is not."""
        odd = 0
        while self._has_line() and self.at not in self.faults:
            line = self.lines[self.at]
            self.at += 1
            self.size += len(line)
            odd ^= line.count(b'"') & 1
            if not odd or self.size > self.max_record:
                break
        return not odd and self.at > self.start and self.size + self.at - self.start <= self.max_record

    def take_back(self, width: int) -> None:
        """Give all lines but the first again when they look like records of their own (see the module)."""
        others = [self._joined(number, number + 1) for number in range(self.start + 1, self.at)]
        if others and all(_width(line) in (width, None) for line in others):
            self.at = self.start + 1


def _width(line: bytes) -> int | None:
    """The number of fields of a line; None when it opens a quote that it does not close."""
    try:
        return len(next(csv.reader([line.decode(errors="replace")], strict=True), []))
    except csv.Error as error:
        return None if "end of data" in str(error) else 0


_Row = tuple[list[str], str | None, bytes]  # cells, or the error; the bytes


def _records(feed: _Feed, width: int | None) -> Iterator[_Row]:
    """The records of a file, good and bad."""
    csv.field_size_limit(_FIELD_LIMIT)
    while True:
        feed.begin(feed.at)
        row = _quick(feed, width) or _careful(feed, width)
        if row is None:
            return
        yield row


def _quick(feed: _Feed, width: int | None) -> _Row | None:
    """The next record when it is sound; its lines are given to csv at once, which is several times faster."""
    if not feed.take_balanced():
        return None
    raw = feed.raw()
    try:
        cells = next(csv.reader((raw.decode(),), strict=True), [])
    except (csv.Error, UnicodeDecodeError):
        return None
    return cells, _row_error(cells, raw, width), raw


def _careful(feed: _Feed, width: int | None) -> _Row | None:
    """The next record line by line, whatever is wrong with it; None at the end."""
    feed.begin(feed.start)
    try:
        cells = next(csv.reader(feed, strict=True))
    except StopIteration:
        return None
    except _Fault as fault:
        return [], str(fault), feed.lines[feed.start]
    except csv.Error as error:
        reason = str(error) if str(error).startswith("record") else f"not CSV: {error}"
        feed.take_back(width or 0)
        return [], reason, feed.raw()
    raw = feed.raw()
    return cells, _row_error(cells, raw, width), raw


def _row_error(cells: list[str], raw: bytes, width: int | None) -> str | None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte {error.start}"
    if not cells:
        return "empty line"
    if width is not None and len(cells) != width:
        return f"{len(cells)} fields, the header has {width}"
    return None


def csv_pieces(source: Source, *, what: What, id: str | None, max_record: int, size: int) -> Iterator[CsvPiece]:
    """The records of a CSV file as pieces of about `size` bytes; the first piece may be empty and tell the header."""
    feed = _Feed(read_lines(source, max_record=max_record, size=min(size, BLOCK_BYTES)), max_record)
    first = next(_records(feed, None), None)
    if first is None:
        return
    cells, error, raw = first
    if error is not None:
        fault = error if error.startswith(("truncated", "corrupt")) else f"corrupt: the header row: {error}"
        yield CsvPiece(0, 1, len(raw), bad=[bad_record(0, None, fault, raw)])
        return
    header = _header(source, cells)
    rows: list[int] = []
    piece = CsvPiece(0, 0, 0, rows, header=header, what=what, id=id)
    for row, (cells, error, raw) in enumerate(_records(feed, len(header))):
        turns = None
        if error is None and not isinstance(what, str):
            turns = read_form(what, dict(zip(header, cells, strict=True)), max_record)
            error = turns if isinstance(turns, str) else None
        if error is None:
            if isinstance(turns, list):
                piece.turned.append(turns)
            rows.append(row)
            piece.cells.append(cells)
            piece.raws.append(raw)
        else:
            piece.bad.append(bad_record(row, None, error, raw))
        piece.count += 1
        piece.size += len(raw)
        if piece.size >= min(size, BLOCK_BYTES) or piece.count >= PIECE_ROWS:
            yield piece
            rows = []
            piece = CsvPiece(row + 1, 0, 0, rows, header=header, what=what, id=id)
    yield piece


def _header(source: Source, cells: list[str]) -> list[str]:
    """Column names; one without a name (pandas writes its index so) is called by its place."""
    names = [cell or f"column_{number}" for number, cell in enumerate(cells, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"{source.file}: the header has {', '.join(map(repr, twice))} more than once",
            hint="give every column a name of its own",
        )
    return names
