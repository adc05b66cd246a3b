"""CSV as RFC 4180 has it, with a header row; records of another width and broken quotes are bad records.

Cells are text: an empty cell is null, except in the text column, where it is the empty text. Text and id are taken
as they are written, other columns have the narrowest kind that all their cells fit.
A quote that is never closed swallows what follows. When every swallowed line is a record of the right width by
itself, only the line with the quote is bad; else the whole stretch is one bad record, so that no line of a text is
ever taken for a record.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from curate.errors import UsageError
from curate.pieces import Piece, bad_record
from curate.sources import Source
from curate.streams import BLOCK_BYTES, PIECE_ROWS, Lines, read_lines

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
    text: str = "text"
    id: str | None = None

    def _cells(self, name: str) -> pl.Series:
        at = self.header.index(name)
        return pl.Series([row[at] for row in self.cells], dtype=pl.String)

    def texts(self) -> pl.Series:
        """The text of every good record; an empty cell is the empty text."""
        return self._cells(self.text)

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
        cells = _nulled(self._cells(name))
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
        return {
            name: "string" if name in (self.text, self.id) else _kind(_nulled(self._cells(name)))
            for name in self.header
        }


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


@dataclass
class _Line:
    """One physical line as csv is given it, or what is wrong with it."""

    raw: bytes
    text: str
    fault: str | None
    sound: bool  # it is UTF-8


class _Fault(Exception):
    """The next line cannot be part of a record."""


class _Feed:
    """The physical lines of a file; remembers those of the record in work, and takes lines back."""

    def __init__(self, parts: Iterator[Lines], max_record: int) -> None:
        self.lines = self._decoded(parts)
        self.again: deque[_Line] = deque()
        self.taken: list[_Line] = []
        self.max_record = max_record
        self.size = 0

    @staticmethod
    def _decoded(parts: Iterator[Lines]) -> Iterator[_Line]:
        for part in parts:
            last = len(part.lines) - 1
            for number, line in enumerate(part.lines):
                if number in part.faults:
                    yield _Line(line, "", part.faults[number], True)
                    continue
                raw = line if number == last and not part.ended else line + b"\n"
                try:
                    yield _Line(raw, raw.decode(), None, True)
                except UnicodeDecodeError:
                    yield _Line(raw, raw.decode(errors="replace"), None, False)

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.lines)
        if line.fault and self.taken:  # inside quotes that are not closed before it
            self.again.appendleft(line)
            raise csv.Error("a quote is not closed")
        self.taken.append(line)
        self.size += len(line.raw)
        if line.fault:
            raise _Fault
        if len(self.taken) > 1 and self.size > self.max_record:
            raise csv.Error(f"record too large: above {self.max_record} bytes, or a quote is not closed")
        return line.text

    def begin(self) -> None:
        """Forget the lines of the last record."""
        self.taken = []
        self.size = 0

    def take_back(self, width: int) -> None:
        """Give all lines but the first again when they are records of their own (see the module)."""
        rest = self.taken[1:]
        if rest and all(_width(line) == width for line in rest[:-1]):
            self.again.extendleft(reversed(rest))
            self.taken = self.taken[:1]

    def raw(self) -> bytes:
        """The bytes of the record in work."""
        return b"".join(line.raw for line in self.taken)


def _width(line: _Line) -> int:
    try:
        return len(next(csv.reader([line.text], strict=True), []))
    except csv.Error:
        return 0


def _records(feed: _Feed, width: int | None) -> Iterator[tuple[list[str], str | None, bytes]]:
    """Cells, or the error, and the bytes of each record."""
    csv.field_size_limit(_FIELD_LIMIT)
    reader = csv.reader(feed, strict=True)
    while True:
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _Fault:
            yield [], feed.taken[0].fault, feed.raw()
        except csv.Error as error:
            feed.take_back(width or 0)
            yield [], str(error) if str(error).startswith("record") else f"not CSV: {error}", feed.raw()
        else:
            yield cells, _row_error(cells, feed.taken, width), feed.raw()


def _row_error(cells: list[str], taken: list[_Line], width: int | None) -> str | None:
    place = 0
    for line in taken:
        if not line.sound:
            try:
                line.raw.decode()
            except UnicodeDecodeError as error:
                return f"not UTF-8: byte {place + error.start}"
        place += len(line.raw)
    if not cells:
        return "empty line"
    if width is not None and len(cells) != width:
        return f"{len(cells)} fields, the header has {width}"
    return None


def csv_pieces(source: Source, *, text: str, id: str | None, max_record: int, size: int) -> Iterator[CsvPiece]:
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
    piece = CsvPiece(0, 0, 0, rows, header=header, text=text, id=id)
    for row, (cells, error, raw) in enumerate(_records(feed, len(header))):
        if error is None:
            rows.append(row)
            piece.cells.append(cells)
            piece.raws.append(raw)
        else:
            piece.bad.append(bad_record(row, None, error, raw))
        piece.count += 1
        piece.size += len(raw)
        if piece.size >= size or piece.count >= PIECE_ROWS:
            yield piece
            rows = []
            piece = CsvPiece(row + 1, 0, 0, rows, header=header, text=text, id=id)
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
