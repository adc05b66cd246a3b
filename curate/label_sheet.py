"""Label sheets: tables that people fill in, as CSV, JSONL or Parquet, written safely and read back strictly.

The first columns are for people, the last ones say which sample the row is of. A CSV cell that a spreadsheet would take
for a formula gets an apostrophe in front, which is taken off again when the sheet is read. Spreadsheets write CSV with
a byte order mark, with semicolons or tabs, with decimal commas: all are read.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate import store
from curate.errors import OutputError, UsageError
from curate.plain_words import got

PEOPLE = ("id", "text", "question", "label", "confidence", "rater", "rater_group", "notes")
DESIGN = ("purpose", "stratum", "documents", "sampled", "pi", "text_hash", "guideline", "design", "check")
COLUMNS = (*PEOPLE, *DESIGN)
TYPES: dict[str, Any] = {name: pl.String() for name in COLUMNS} | {
    "documents": pl.Int64(), "sampled": pl.Int64(), "pi": pl.Float64(), "confidence": pl.Float64(),
}  # fmt: skip
OPTIONAL = ("text", "question", "confidence", "rater", "rater_group", "notes", "guideline")
FORMATS = ("csv", "jsonl", "parquet")
ESTIMATE, LEARN = PURPOSES = ("estimate", "learn")

YES, NO, UNSURE = LABELS = ("yes", "no", "unsure")
WORDS = {
    **dict.fromkeys(("yes", "y", "true", "1", "1.0"), YES),
    **dict.fromkeys(("no", "n", "false", "0", "0.0"), NO),
    **dict.fromkeys(("unsure", "?", "maybe", "skip"), UNSURE),
}

FORMULA = re.compile(r"'*[=+\-@\t\r]")  # what makes a cell a formula, after apostrophes of ours
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # controls, and what turns text round
MOST_BYTES = 500_000_000


@dataclass(frozen=True)
class Row:
    """One filled row of a sheet: what a person wrote, and which sample the row is of."""

    where: str  # file and row, for messages
    id: str
    label: str
    confidence: float | None
    rater: str
    rater_group: str | None
    guideline: str | None
    created_at: str | None
    purpose: str
    stratum: str
    documents: int | None
    sampled: int | None
    pi: float | None
    text_hash: str
    design: str


@dataclass(frozen=True)
class Sheet:
    """A sheet as it was read: its filled rows, and how many rows have no label."""

    name: str
    rows: tuple[Row, ...]
    empty: int
    asked: Mapping[str, int]  # documents of each stratum that the sample has, filled in or not


def shorten(text: str, chars: int) -> str:
    """The start of a text for a cell, without characters that hide or turn text round; it says how long the rest is."""
    shown = UNSEEN.sub("\ufffd", text[:chars])
    return shown if len(text) <= chars else f"{shown} [... {len(text) - chars:,} more characters]"


def check_of(row: Mapping[str, Any]) -> str:
    """A mark of a row's design columns, by which a changed one is noticed; it starts with a letter."""
    names = ("id", "purpose", "stratum", "documents", "sampled", "text_hash", "design")
    return "c" + store.digest(*(row[name] for name in names))[:12]


# --- writing ----------------------------------------------------------------------------------------------------------


def write_sheet(frame: pl.DataFrame, path: Path) -> None:
    """Write a new sheet; the format is that of the file's name, an existing file is never touched."""
    kind = format_of(path)
    if kind == "csv":
        data = _csv(frame)
    elif kind == "jsonl":
        data = b"".join(orjson.dumps(row) + b"\n" for row in frame.iter_rows(named=True))
    else:
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        data = buffer.getvalue()
    write_new(path, data)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all; raises OutputError where there is one."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename it fails where the name is taken
        finally:
            os.unlink(temporary)
        store.sync_folder(path.parent)
    except FileExistsError as error:
        raise OutputError(f"{path} exists: it may have been filled in", hint="choose another --output") from error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", hint="choose another --output") from error


def format_of(path: Path) -> str:
    """The format that a file's name says; raises UsageError for others."""
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise UsageError(
            f"{path} is none of the formats of label sheets", hint=f"name it .{', .'.join(FORMATS[:-1])} or .parquet"
        )
    return kind


def _csv(frame: pl.DataFrame) -> bytes:
    """The sheet for a spreadsheet: with a byte order mark, without which some take UTF-8 for an older encoding."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(frame.columns)
    for row in frame.iter_rows():
        writer.writerow(["" if value is None else escape(str(value)) for value in row])
    return out.getvalue().encode("utf-8-sig")


def escape(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if FORMULA.match(cell) and not _is_number(cell) else cell


def unescape(cell: str) -> str:
    """The cell before it was escaped."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", cell) is not None


# --- reading ----------------------------------------------------------------------------------------------------------


def read_sheet(
    given: Path | pl.DataFrame,
    *,
    rater: str | None = None,
    rater_group: str | None = None,
    created_at: str | None = None,
) -> Sheet:
    """Read a filled sheet; raises UsageError with file and row for the first things wrong.

    A row without a rater is by `rater`, else by the sheet's file name without its ending.
    """
    if isinstance(given, pl.DataFrame):
        name, rows = "the table", _table_rows(given)
    else:
        name, rows = str(given), _file_rows(given)
    own = rater or (given.stem if isinstance(given, Path) else "rater")
    filled: list[Row] = []
    empty = 0
    asked: dict[str, int] = {}
    problems: list[str] = []
    for number, row in rows:
        where = f"{name}, row {number}"
        try:
            made = _row(where, row, own, rater_group, created_at)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        if _text(row.get("purpose")) == ESTIMATE:
            asked[str(row["stratum"]).strip()] = round(_number("sampled", row.get("sampled")) or 0)
        if made is None:
            empty += 1
        else:
            filled.append(made)
    if problems:
        refuse(problems)
    return Sheet(name, tuple(filled), empty, asked)


def refuse(problems: Sequence[str]) -> None:
    """Raise a UsageError that lists what is wrong with some rows, the first ten."""
    more = [f"and {len(problems) - 10:,} more"] if len(problems) > 10 else []
    raise UsageError(
        "\n".join([*problems[:10], *more]), hint="correct the rows; only label to notes are for people to fill in"
    )


def _file_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    kind = format_of(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} is larger than {MOST_BYTES:,} bytes", hint="label sheets are small: split it")
        if kind == "parquet":
            return _table_rows(pl.read_parquet(path, glob=False))
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}", hint="name a filled label sheet") from error
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{path} is not a Parquet file", hint="name a filled label sheet") from error
    return _json_rows(path, data) if kind == "jsonl" else _csv_rows(path, data)


def _table_rows(frame: pl.DataFrame) -> Iterator[tuple[int, dict[str, Any]]]:
    _need_columns("the table", frame.columns)
    return enumerate(frame.iter_rows(named=True), 1)


def _need_columns(name: str, columns: Sequence[str]) -> None:
    missing = [column for column in COLUMNS if column not in columns and column not in OPTIONAL]
    if missing:
        raise UsageError(f"{name} has no column {missing[0]!r}", hint="fill in a sheet of `curate sample --for labels`")


def _json_rows(path: Path, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{path}, row {number}: {error}", hint="one JSON object per line") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path}, row {number}: {got(row)} instead of an object", hint="one JSON object per line")
        _need_columns(f"{path}, row {number},", list(row))
        yield number, row


def _csv_rows(path: Path, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    text = _decoded(path, data)
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    csv.field_size_limit(2**31 - 1)
    names = [cell.strip() for cell in next(reader, [])]
    _need_columns(str(path), names)
    for number, cells in enumerate(reader, 2):  # as a spreadsheet numbers them: the header is row 1
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
            raise UsageError(
                f"{path}, row {number}: {len(cells)} cells under {len(names)} names",
                hint="a cell with separators in it must stand in quotes",
            )
        yield number, {name: unescape(cell) for name, cell in zip(names, cells, strict=False)}


def _decoded(path: Path, data: bytes) -> str:
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is not UTF-8 text", hint="save it as CSV UTF-8") from error
    return ""


def _row(where: str, row: Mapping[str, Any], rater: str, rater_group: str | None, created_at: str | None) -> Row | None:
    """One row; None when it has no label, ValueError with what is wrong."""
    design = {name: _number(name, row.get(name)) for name in ("documents", "sampled", "pi")}
    fixed = {name: _text(row.get(name)) or "" for name in ("purpose", "stratum", "text_hash", "design")}
    fixed["id"] = str(row.get("id") or "")  # white space around it is part of it
    if not fixed["id"]:
        raise ValueError("no id")
    whole = {name: None if design[name] is None else round(design[name] or 0) for name in ("documents", "sampled")}
    if check_of({**fixed, **whole}) != (_text(row.get("check")) or ""):
        raise ValueError(f"the id or a design column of {fixed['id']!r} was changed")
    share = (whole["sampled"] or 0) / (whole["documents"] or 1)
    if design["pi"] is not None and not math.isclose(design["pi"], share, rel_tol=1e-3):
        raise ValueError(f"pi of {fixed['id']!r} was changed: it is {design['pi']:.6g}")
    label = _label(row.get("label"))
    if label is None:
        return None
    return Row(
        where=where,
        **fixed,
        documents=whole["documents"],
        sampled=whole["sampled"],
        pi=design["pi"],
        label=label,
        confidence=_confidence(row.get("confidence")),
        rater=_text(row.get("rater")) or rater,
        rater_group=_text(row.get("rater_group")) or rater_group,
        guideline=_text(row.get("guideline")),
        created_at=_text(row.get("created_at")) or created_at,
    )


def _text(value: Any) -> str | None:
    """A cell as text without white space around it; None when it is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).strip() or None


def _label(value: Any) -> str | None:
    """yes, no or unsure; None when there is none."""
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("the label is NaN, it must be yes, no or unsure")
    word = _text(value)
    if word is None:
        return None
    found = WORDS.get(word.lower())
    if found is None:
        raise ValueError(f"the label is {got(value)}, it must be yes, no or unsure")
    return found


def _confidence(value: Any) -> float | None:
    if isinstance(value, str) and value.strip().endswith("%"):
        found = _number("confidence", value.strip()[:-1].strip())
        found = None if found is None else found / 100
    else:
        found = _number("confidence", value)
    if found is not None and not 0 <= found <= 1:
        raise ValueError(f"the confidence is {found:g}, it must be from 0 to 1")
    return found


def _number(name: str, value: Any) -> float | None:
    """A number, with a decimal point or comma; None when the cell is empty."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        found = float(value.strip().replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {got(value)}, it must be a number") from error
    if not math.isfinite(found):
        raise ValueError(f"{name} is {found}, it must be a number")
    return found
