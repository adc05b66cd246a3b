"""Records in: files are surveyed once, cut into chunks, and read as polars batches of bounded size.

Nothing is skipped: what cannot be read comes back as a bad record with its place, its reason and its bytes. Survey
and read see the same records under the same numbers, whatever the cuts and the size of batches.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curate.csv_rows import csv_pieces, wider_cells
from curate.errors import UsageError
from curate.jsonl import json_pieces
from curate.kinds import merge, type_of
from curate.parquet import group_batches, open_parquet, parquet_kinds, parquet_pieces
from curate.pieces import BAD_SCHEMA, Batch, Columns, Piece, What, hash_ids, reads_trees
from curate.sources import Source, find_sources
from curate.streams import PIECE_ROWS, Damage, explain_damage, stopped

__all__ = [
    "BAD_SCHEMA", "Batch", "Columns", "Cut", "Source", "Survey", "find_sources", "hash_ids", "read", "survey", "unite",
]  # fmt: skip

if TYPE_CHECKING:
    from curate.conversations import Form

LISTED_COLUMNS = 100  # of a file without any sound text, for the message
MAX_COLUMNS = 10_000  # in one file: more are data in the place of names, and a table of them would not fit anywhere


@dataclass(frozen=True)
class Cut:
    """A range of a file: the part that one chunk covers."""

    start: int  # row group for Parquet, byte offset for plain JSONL, else 0
    stop: int  # one past the last; -1 is the whole file
    row: int  # record number of its first record, 0-based in the file
    rows: int  # records in it, good and bad
    broken: bool = False  # Parquet: a column beside the text cannot be decoded; all records are bad


@dataclass(frozen=True)
class Survey:
    """What one full look at a file found."""

    sha256: str | None  # of the stored bytes; None for remote files
    rows: int
    columns: dict[str, str]  # name -> kind, in order of first appearance
    cuts: tuple[Cut, ...]


def survey(
    source: Source, what: What, id: str | None, *, chunk_bytes: int, max_record: int
) -> tuple[Survey, NDArray[np.uint64]]:
    """Look at a whole file: hash, records, kinds of columns, places to cut, and a hash of every record's id.

    Kinds are those of the records whose text is sound; a bad record never adds or widens a column. Where no text is
    sound, the columns that were seen are listed as null. The hashes are one per record, 0 where it has no usable id,
    and empty when `id` is None; `id` need not be there.
    """
    digest = None if source.remote else _sha256(source)
    if source.format == "parquet" and not reads_trees(what):
        columns, cuts, hashes = _survey_parquet(source, what, id, chunk_bytes)
    else:
        columns, cuts, hashes = _survey_lines(source, what, id, chunk_bytes, max_record)
    ids = np.concatenate(hashes) if hashes and id is not None else np.empty(0, np.uint64)
    return Survey(digest, sum(cut.rows for cut in cuts), columns, tuple(cuts)), ids


def _sha256(source: Source) -> str:
    try:
        with open(source.url, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise stopped(source.file, error.strerror or str(error)) from error


_Found = tuple[dict[str, str], list[Cut], list[NDArray[np.uint64]]]


def _survey_lines(source: Source, what: What, id: str | None, chunk_bytes: int, max_record: int) -> _Found:
    """Survey of JSONL, CSV and messages of trees: plain JSONL is cut at line ends, other files are one cut."""
    columns: dict[str, str] = {}
    seen: dict[str, str] = {}
    cuts: list[Cut] = []
    hashes: list[NDArray[np.uint64]] = []
    divisible = source.format == "jsonl" and source.compression is None and not reads_trees(what)
    start = place = row = rows = 0
    for piece in _line_pieces(source, 0, -1, 0, what, id, max_record, chunk_bytes):
        _widen(source, columns, piece.kinds())
        if not columns and len(seen) < LISTED_COLUMNS:
            seen |= dict.fromkeys(piece.seen, "null")
        if id is not None:
            hashes.append(_piece_hashes(piece, id))
        place += piece.size
        rows += piece.count
        if divisible and place - start >= chunk_bytes:
            cuts.append(Cut(start, place, row, rows))
            start, row, rows = place, row + rows, 0
    if rows:
        cuts.append(Cut(start, place, row, rows) if divisible else Cut(0, -1, 0, rows))
    return columns or seen, cuts, hashes


def _widen(source: Source, columns: dict[str, str], kinds: dict[str, str]) -> None:
    if source.format == "csv":
        for name, kind in kinds.items():
            columns[name] = wider_cells(columns.get(name, "null"), kind)
    else:
        merge(columns, kinds)
    if len(columns) > MAX_COLUMNS:
        raise UsageError(
            f"{source.file}: more than {MAX_COLUMNS} columns",
            hint="its records have data as keys; put them into one nested column",
        )


def _piece_hashes(piece: Piece, id: str) -> NDArray[np.uint64]:
    found = np.zeros(piece.count, np.uint64)
    if len(piece.rows):
        found[np.asarray(piece.rows) - piece.first] = hash_ids(piece.ids(id)[0])
    return found


def _survey_parquet(source: Source, what: What, id: str | None, chunk_bytes: int) -> _Found:
    """Survey of Parquet: the footer, and every column but the text decoded to find damage and ids."""
    try:
        with open_parquet(source) as file:
            columns = parquet_kinds(source, file, what)
            others = [name for name in columns if name != what]
            usable = columns.get(id or "") in ("string", "int", "null")
            sizes: list[tuple[int, int, bool]] = []
            hashes: list[NDArray[np.uint64]] = []
            for group in range(file.metadata.num_row_groups):
                meta = file.metadata.row_group(group)
                ids = np.zeros(meta.num_rows, np.uint64)
                broken = not _look(source, file, group, others, id if usable else None, ids)
                sizes.append((meta.num_rows, meta.total_byte_size, broken))
                if id is not None:
                    hashes.append(ids)
            return columns, _cut_groups(sizes, chunk_bytes), hashes
    except Damage:
        return {}, [Cut(0, -1, 0, 1)], [np.zeros(1, np.uint64)]


def _look(
    source: Source, file: object, group: int, names: Sequence[str], id: str | None, ids: NDArray[np.uint64]
) -> bool:
    """Decode columns of a row group and fill in the hashes of its ids; False when it is damaged."""
    from curate.parquet import ParquetPiece

    done = 0
    try:
        for batch in group_batches(file, group, names) if names else ():
            if done + batch.num_rows > len(ids):
                break
            if id is not None:
                piece = ParquetPiece(0, batch.num_rows, 0, range(batch.num_rows), table=batch)
                ids[done : done + batch.num_rows] = hash_ids(piece.ids(id)[0])
            done += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        explain_damage(source, error)  # stops the run where it is the disk that fails
        done = -1
    if names and done != len(ids):
        ids[:] = 0
        return False
    return True


def _cut_groups(sizes: Sequence[tuple[int, int, bool]], chunk_bytes: int) -> list[Cut]:
    """Cuts of consecutive row groups; broken groups are never in one cut with whole ones."""
    cuts: list[Cut] = []
    held = 0
    for group, (rows, size, broken) in enumerate(sizes):
        last = cuts[-1] if cuts else None
        if last is None or held >= chunk_bytes or last.broken != broken:
            first = 0 if last is None else last.row + last.rows
            cuts.append(Cut(group, group + 1, first, rows, broken))
            held = size
        else:
            cuts[-1] = Cut(last.start, group + 1, last.row, last.rows + rows, broken)
            held += size
    return [cut for cut in cuts if cut.rows]


def unite(surveys: Sequence[tuple[Source, Survey]], what: What, id: str | None) -> Columns:
    """The columns of all files, each with the narrowest type that holds its values in every file.

    null < bool < int < float < string; nested JSON is text; other Parquet types stay where all files agree, else they
    are text. Raises UsageError when no file has the text column (or the id column), or when a Parquet or CSV file
    lacks it or has it as a type that cannot be one. Files of which no record could be read are left out.
    """
    kinds: dict[str, str] = {}
    without_text: dict[str, str] = {}
    needed = (what,) if isinstance(what, str) else required_columns(what)
    for source, found in surveys:
        if not found.columns:
            continue
        if source.format != "jsonl" and not reads_trees(what):
            if isinstance(what, str):
                _check_column(source, found, what, "text", ("string", "null"))
            if id is not None:
                _check_column(source, found, id, "id", ("string", "int", "null"))
        lacks = any(name not in found.columns for name in needed)
        merge(without_text if lacks else kinds, found.columns)
    if without_text and not kinds:
        if isinstance(what, str):
            message = f"no input file has the text column {what!r}"
            raise UsageError(message, hint=_columns_hint("text", what, without_text))
        missing = next(name for name in needed if name not in without_text)
        raise UsageError(
            f"no input file has the column {missing!r}, which `schema: {what.schema}` needs",
            hint=f"columns: {', '.join(list(without_text)[:20])}; name another with `input: {{columns: {{...}}}}`",
        )
    if kinds and id is not None and id not in kinds:
        raise UsageError(f"no input file has the id column {id!r}", hint=_columns_hint("id", id, kinds))
    types = {name: type_of(kind) for name, kind in kinds.items()}
    if not isinstance(what, str):
        forced = {} if id is None else {id: pl.String()}
        return Columns(None, id, {**types, **forced}, what)
    forced = {name: pl.String() for name in (what, id) if name is not None}
    return Columns(what, id, {**types, **forced})


def required_columns(form: Form) -> tuple[str, ...]:
    """The input's columns without which no record of this form can be read."""
    from curate.conversations import SCHEMAS

    return tuple(form.columns[part] for part in SCHEMAS[form.schema].columns)


def _check_column(source: Source, found: Survey, name: str, role: str, allowed: Sequence[str]) -> None:
    kind = found.columns.get(name)
    if kind is None:
        message = f"{source.file}: there is no {role} column {name!r}"
        raise UsageError(message, hint=_columns_hint(role, name, found.columns))
    if kind not in allowed:
        wanted = "text" if role == "text" else "text or whole numbers"
        raise UsageError(
            f"{source.file}: the {role} column {name!r} must hold {wanted}, it holds {kind.removeprefix('polars:')}",
            hint=_columns_hint(role, name, {other: k for other, k in found.columns.items() if other != name}),
        )


def _columns_hint(role: str, name: str, kinds: dict[str, str]) -> str:
    names = list(kinds)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    if role == "text" and not near:
        near = [other for other in ("content", "body", "document", "raw_content") if other in kinds]
    suggestion = f"name it with `input: {{{role}: {near[0] if near else 'NAME'}}}`"
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"{suggestion}; columns: {listed or 'none'}"


# --- reading ----------------------------------------------------------------------------------------------------------


def read(
    source: Source,
    cut: Cut,
    columns: Columns,
    *,
    want: Sequence[str] | None = None,
    batch_bytes: int = 16_000_000,
    max_record: int = 16_000_000,
) -> Iterator[Batch]:
    """The records of a cut in order, in batches of at most `batch_bytes` of text (one record may be larger).

    `want` are the input columns beside text and id, None is all. Every column has its type of `columns`, so that all
    chunks share one schema. Which records are bad depends on none of the options but `max_record`.
    """
    if want is None:
        want = [name for name in columns.types if name not in (columns.text, columns.id)]
    pieces: Iterator[Piece]
    if source.format == "parquet" and not reads_trees(columns.what):
        names = [name for name in (columns.id, *want) if name is not None]
        groups = range(cut.start, max(cut.stop, cut.start))
        pieces = parquet_pieces(
            source, groups, cut.row, what=columns.what, names=names, max_record=max_record, broken=cut.broken
        )
    else:
        what, id = columns.what, columns.id
        pieces = _line_pieces(source, cut.start, cut.stop, cut.row, what, id, max_record, batch_bytes)
    batches = (piece.batch(source.file, columns, want) for piece in pieces if piece.count)
    yield from _regrouped(batches, batch_bytes)


def _line_pieces(
    source: Source, start: int, stop: int, row: int, what: What, id: str | None, max_record: int, size: int
) -> Iterator[Piece]:
    if source.format == "csv":
        return csv_pieces(source, what=what, id=id, max_record=max_record, size=size)
    if reads_trees(what):
        from curate.oasst_rows import oasst_pieces

        return oasst_pieces(source, what=what, max_record=max_record)
    return json_pieces(source, start, stop, row, what=what, id=id, max_record=max_record, size=size)


def _regrouped(batches: Iterator[Batch], batch_bytes: int) -> Iterator[Batch]:
    """Batches joined up to the limits, and split where one is above them."""
    held: list[Batch] = []
    size = rows = 0
    for whole in batches:
        for batch, more in _split(whole, batch_bytes):
            if held and (size + more > batch_bytes or rows + batch.records.height > PIECE_ROWS):
                yield _joined(held)
                held, size, rows = [], 0, 0
            held.append(batch)
            size += more
            rows += batch.records.height
    if held:
        yield _joined(held)


def _split(batch: Batch, batch_bytes: int) -> Iterator[tuple[Batch, int]]:
    lengths = batch.records["text"].str.len_bytes().cast(pl.Int64).to_numpy()
    kept = int(batch.bad["raw"].bin.size().fill_null(0).sum())
    if lengths.sum() + kept <= batch_bytes:
        yield batch, int(lengths.sum()) + kept
        return
    begin = size = 0
    bad = batch.bad
    for at, length in enumerate(lengths.tolist()):
        if at > begin and size + length > batch_bytes:
            yield Batch(batch.records[begin:at], bad), size
            begin, size, bad = at, 0, batch.bad.clear()
        size += length
    yield Batch(batch.records[begin:], bad), size


def _joined(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return Batch(pl.concat([one.records for one in batches]), pl.concat([one.bad for one in batches]))
