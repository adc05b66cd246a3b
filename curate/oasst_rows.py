"""OpenAssistant messages in JSON lines or Parquet read as records: threads for chat, ranked pairs for preference.

A reply may be anywhere in its file, so a file is one cut and is held in memory whole, with the records made of it; a
tree never goes over two files. Records are numbered in the order in which they are made, and after them come the
lines and messages that are in none, each with its place in the file. A row of Parquet counts as the line that it would
be in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson

from curate.jsonl import JsonPiece, line_error, shape_error
from curate.oasst import LeftOut, pairs, threads
from curate.pieces import Bad, bad_record, read_form
from curate.sources import Source
from curate.streams import BLOCK_BYTES, PIECE_ROWS, read_lines

if TYPE_CHECKING:
    from curate.conversations import Form


def oasst_pieces(source: Source, *, what: Form, max_record: int) -> Iterator[JsonPiece]:
    """The records that the messages of a file make, then what is in none of them."""
    lines, bad, size = _messages(source, max_record)
    numbers = list(lines)
    left_out: LeftOut = []
    make = threads if what.kind == "chat" else pairs
    made = make((orjson.loads(lines[number]) for number in numbers), left_out)
    for place, why in left_out:
        number, place = _in_the_file(place, numbers)
        bad.append(bad_record(0, None, f"{why} ({place})", lines[number]))
    row = 0
    while row < len(made):
        some = made[row : row + PIECE_ROWS]
        yield _piece(row, some, what, max_record)
        row += len(some)
    last = JsonPiece(row, len(bad), size, what=what)
    last.bad = [one._replace(row=number) for number, one in enumerate(bad, row)]
    yield last


def _messages(source: Source, max_record: int) -> tuple[dict[int, bytes], list[Bad], int]:
    """The lines that are objects by their number, the others, and the bytes of all."""
    found: dict[int, bytes] = {}
    bad: list[Bad] = []
    size = 0
    for number, (line, error, more) in enumerate(_lines(source, max_record)):
        size += more
        if error is None:
            found[number] = line
        else:
            bad.append(bad_record(0, None, f"{error} (row {number})", line or None))
    return found, bad, size


def _lines(source: Source, max_record: int) -> Iterator[tuple[bytes, str | None, int]]:
    """Each line, what is wrong with it, and the bytes of the file that it stands for."""
    if source.format == "parquet":
        from curate.parquet import parquet_objects

        for row in parquet_objects(source):
            yield (row, None, len(row)) if isinstance(row, bytes) else (b"", row, 0)
        return
    for part in read_lines(source, max_record=max_record, size=BLOCK_BYTES):
        for at, line in enumerate(part.lines):
            yield line, part.faults.get(at) or line_error(line), 0 if at else part.size


def _in_the_file(place: str, numbers: list[int]) -> tuple[int, str]:
    """The line of a place among the messages that were read, and the place by that line."""
    match = re.match(r"row (\d+)", place)
    assert match is not None, "places of `curate.oasst` begin with their row"
    number = numbers[int(match[1])]
    return number, f"row {number}{place[match.end() :]}"


def _piece(first: int, made: list[dict[str, Any]], form: Form, max_record: int) -> JsonPiece:
    piece = JsonPiece(first, len(made), 0, what=form)
    rows: list[int] = []
    for row, record in enumerate(made, first):
        try:
            line = orjson.dumps(record)
            turns = shape_error(record, line) or read_form(form, record, max_record)
        except TypeError:
            line, turns = b"", "nested too deep"
        if isinstance(turns, str):
            piece.bad.append(bad_record(row, str(record["id"]), turns, line))
            continue
        rows.append(row)
        piece.records.append(record)
        piece.lines.append(line)
        piece.turned.append(turns)
    piece.rows = rows
    return piece
