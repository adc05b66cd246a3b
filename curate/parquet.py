"""Parquet: row groups as pieces, page checksums verified, every string type read as plain text.

A row group whose bytes are damaged loses the records from the damage on; each is one bad record. The survey decodes
the columns beside the text, so that which records are bad never depends on the columns that a reader wants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import UsageError
from curate.kinds import escaped, json_text, kind_of_type
from curate.pieces import Piece, What, bad_record, collector_paused, read_form
from curate.sources import Source
from curate.streams import BLOCK_BYTES, PIECE_ROWS, Damage, explain_damage, open_bytes

if TYPE_CHECKING:
    from curate.conversations import Form

_BUFFER_BYTES = 1_000_000  # of a column chunk read at once, so that a huge row group is not held whole


@dataclass
class ParquetPiece(Piece):
    """Consecutive rows of a row group; `table` holds the good ones."""

    table: Any = None  # pyarrow.RecordBatch without the text
    text: Any = None  # pyarrow.LargeStringArray

    def texts(self) -> pl.Series:
        """The text of every good record that has a column for it."""
        return _plain_series(self.text)

    def ids(self, name: str) -> tuple[pl.Series | Sequence[str | None], Mapping[int, str]]:
        """The id of every good record; integers are written in decimal."""
        if name not in self.table.schema.names:
            return [None] * len(self.rows), dict.fromkeys(range(len(self.rows)), "id missing")
        values = _decoded(self.table.column(name))
        if not pa.types.is_integer(values.type):
            values = values.cast(pa.large_binary())
        try:
            column = _plain_series(values.cast(pa.large_string()))  # checks that bytes are UTF-8
            return column, dict.fromkeys(column.is_null().arg_true().to_list(), "id is null")
        except pa.ArrowInvalid:
            ids = [_utf8(value) for value in values.to_pylist()]
        missing = {at: "id is null" for at, id in enumerate(ids) if id is None}
        missing |= {at: "id is not UTF-8" for at, id in enumerate(ids) if isinstance(id, bytes)}
        return [None if isinstance(id, bytes) else id for id in ids], missing

    def column(self, name: str, kind: pl.DataType) -> pl.Series:
        """One column of the good records, cast; nulls where this file does not have it."""
        if name not in self.table.schema.names:
            return pl.Series([None] * len(self.rows), dtype=kind)
        return _cast(_series(self.table.column(name)), kind)

    def raw(self, position: int) -> bytes | None:
        """None: a row of a Parquet file has no bytes of its own."""
        return None

    def kinds(self) -> dict[str, str]:
        """The kind of every column, the text excepted."""
        return {name: kind_of_type(_type(self.table.schema.field(name))) for name in self.table.schema.names}


def _utf8(value: bytes | None) -> str | bytes | None:
    """An id as text; the empty bytes stand for one that is not UTF-8."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return b""


@contextmanager
def open_parquet(source: Source) -> Iterator[Any]:
    """The file as pyarrow.parquet.ParquetFile; Damage when its footer is missing or broken."""
    with open_bytes(source) as stored:
        if source.size == 0:
            raise Damage("truncated: the file has no bytes")
        try:
            file = pq.ParquetFile(stored, page_checksum_verification=True, buffer_size=_BUFFER_BYTES)
            meta = file.metadata
            str(file.schema_arrow)  # decodes every name in it
            rows = sum(meta.row_group(number).num_rows for number in range(meta.num_row_groups))
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise Damage(_footer(source, stored, error)) from None
        if rows != meta.num_rows:
            raise Damage(f"corrupt: the footer counts {meta.num_rows} records, its row groups {rows}")
        yield file


def _footer(source: Source, stored: Any, error: Exception) -> str:
    reason = explain_damage(source, error)
    stored.seek(0)
    if stored.read(4) == b"PAR1" and stored.size() >= 4:
        stored.seek(max(0, stored.size() - 4))
        if stored.read(4) != b"PAR1":
            return "truncated: the footer is missing"
    return reason


def parquet_kinds(source: Source, file: Any, what: What) -> dict[str, str]:
    """The kind of every column by the schema; the text column counts as string when it is bytes."""
    schema = file.schema_arrow
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise UsageError(
            f"{source.file}: the schema has {', '.join(map(repr, twice))} more than once",
            hint="give every column a name of its own",
        )
    kinds = {}
    for column in schema:
        bytes_as_text = column.name == what and _is_binary(column.type)
        kinds[column.name] = "string" if bytes_as_text else kind_of_type(_type(column))
    return kinds


def group_batches(file: Any, group: int, names: Sequence[str]) -> Iterator[Any]:
    """The record batches of a row group; their length depends on the file only, never on what is asked for."""
    meta = file.metadata.row_group(group)
    rows = max(1, min(PIECE_ROWS, meta.num_rows * BLOCK_BYTES // max(1, meta.total_byte_size)))
    yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=list(names), use_threads=False)


def group_damage(source: Source, file: Any, group: int, names: Sequence[str]) -> str | None:
    """Why columns of a row group cannot be decoded, if they cannot."""
    try:
        rows = sum(batch.num_rows for batch in group_batches(file, group, names))
    except (OSError, pa.ArrowException) as error:
        return explain_damage(source, error)
    return _short(rows, file.metadata.row_group(group).num_rows)


def _short(rows: int, promised: int) -> str | None:
    return None if rows == promised else f"corrupt: it holds {rows} records, the footer says {promised}"


def parquet_pieces(
    source: Source, groups: range, row: int, *, what: What, names: Sequence[str], max_record: int, broken: bool
) -> Iterator[Piece]:
    """The records of consecutive row groups; `broken` groups are bad as the survey found them."""
    try:
        with open_parquet(source) as file:
            for group in groups:
                rows = file.metadata.row_group(group).num_rows
                if broken:
                    others = [name for name in file.schema_arrow.names if name != what]
                    reason = group_damage(source, file, group, others) or "corrupt: damaged when it was first read"
                    yield from _lost(row, rows, f"{reason} (row group {group})")
                else:
                    yield from _group(source, file, group, row, what, names, max_record)
                row += rows
    except Damage as damage:
        yield from _lost(row, 1, str(damage))


def parquet_objects(source: Source) -> Iterator[bytes | str]:
    """Every row of a file as a JSON object; where it is damaged, what is wrong in place of each row that is lost."""
    try:
        with open_parquet(source) as file:
            parquet_kinds(source, file, "")
            names = file.schema_arrow.names
            for group in range(file.metadata.num_row_groups):
                promised, done, reason = file.metadata.row_group(group).num_rows, 0, None
                try:
                    for batch in group_batches(file, group, names):
                        batch = batch.slice(0, promised - done)
                        columns = [_series(batch.column(at)).to_list() for at in range(len(names))]
                        for row in zip(*columns, strict=True):
                            yield json_text(dict(zip(names, row, strict=True))).encode()
                        done += batch.num_rows
                except (OSError, pa.ArrowException) as error:
                    reason = explain_damage(source, error)
                reason = reason or _short(done, promised)
                yield from [f"{reason} (row group {group})"] * (promised - done)
    except Damage as damage:
        yield str(damage)


def _group(
    source: Source, file: Any, group: int, row: int, what: What, names: Sequence[str], max_record: int
) -> Iterator[Piece]:
    promised = file.metadata.row_group(group).num_rows
    needed = {what} if isinstance(what, str) else set(what.columns.values())
    have = [name for name in file.schema_arrow.names if name in {*needed, *names}]
    done = 0
    reason = None
    try:
        for batch in group_batches(file, group, have):
            batch = batch.slice(0, promised - done)
            if isinstance(what, str):
                yield _piece(batch, row + done, what, max_record)
            else:
                yield _formed(batch, row + done, what, max_record)
            done += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        reason = explain_damage(source, error)
    reason = reason or _short(done, promised)
    if reason is not None:
        yield from _lost(row + done, promised - done, f"{reason} (row group {group})")


def _lost(row: int, rows: int, reason: str) -> Iterator[Piece]:
    """One bad record for each that is lost, so that counts stay true."""
    for begin in range(row, row + rows, PIECE_ROWS):
        end = min(begin + PIECE_ROWS, row + rows)
        lost = [bad_record(number, None, reason, None) for number in range(begin, end)]
        yield ParquetPiece(
            begin, end - begin, 0, bad=lost, table=pa.record_batch({}), text=pa.array([], pa.large_string())
        )


def _piece(batch: Any, row: int, text: str, max_record: int) -> ParquetPiece:
    at = batch.schema.get_field_index(text)
    values = _decoded(batch.column(at))
    piece = ParquetPiece(row, batch.num_rows, 0, range(row, row + batch.num_rows), table=batch.remove_column(at))
    data = values.cast(pa.large_binary()) if not pa.types.is_null(values.type) else None
    largest = None if data is None else pc.max(pc.binary_length(data)).as_py()
    if data is not None and not data.null_count and (largest or 0) <= max_record:
        try:
            piece.text = data.cast(pa.large_string())
            return piece
        except pa.ArrowInvalid:
            pass  # some text is not UTF-8: looked at one by one
    return _checked(piece, data, max_record)


@collector_paused()
def _formed(batch: Any, row: int, form: Form, max_record: int) -> ParquetPiece:
    """Rows that are read by their form."""
    piece = ParquetPiece(row, batch.num_rows, 0, range(row, row + batch.num_rows), table=batch)
    names = [name for name in form.columns.values() if name in batch.schema.names]
    wrong: dict[int, str] = {}
    values = [_python_values(_decoded(batch.column(name)), wrong) for name in names]
    rows = zip(*values, strict=True) if names else ((),) * batch.num_rows
    for at, row_values in enumerate(rows):
        turns = wrong.get(at) or read_form(form, dict(zip(names, row_values, strict=True)), max_record)
        if isinstance(turns, str):
            piece.bad.append(bad_record(row + at, None, turns, None))
        else:
            piece.turned.append(turns)
    if piece.bad:
        lost = {one.row - row for one in piece.bad}
        good = [at for at in range(batch.num_rows) if at not in lost]
        piece.rows = [row + at for at in good]
        piece.table = batch.take(pa.array(good, pa.int64()))
    return piece


def _python_values(array: Any, wrong: dict[int, str]) -> list[Any]:
    """The values of a column as plain Python; where one is not UTF-8 it is None and told in `wrong`."""
    try:
        values: list[Any] = array.to_pylist()
        return values
    except UnicodeDecodeError:
        values = []
    for at in range(len(array)):
        try:
            values.append(array[at].as_py())
        except UnicodeDecodeError as error:
            wrong.setdefault(at, f"not UTF-8: byte {error.start}")
            values.append(None)
    return values


def _checked(piece: ParquetPiece, data: Any, max_record: int) -> ParquetPiece:
    good: list[int] = []
    texts: list[str] = []
    for at in range(piece.count):
        value = None if data is None else data[at].as_py()
        error = _text_error(value, max_record)
        if error is None and value is not None:
            good.append(at)
            texts.append(value.decode())
        else:
            piece.bad.append(bad_record(piece.first + at, None, error or "", value))
    piece.rows = [piece.first + at for at in good]
    piece.table = piece.table.take(pa.array(good, pa.int64())) if piece.table.num_columns else piece.table
    piece.text = pa.array(texts, pa.large_string())
    return piece


def _text_error(value: bytes | None, max_record: int) -> str | None:
    if value is None:
        return "text is null"
    if len(value) > max_record:
        return f"record too large: {len(value)} bytes, the limit is {max_record}"
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte {error.start}"
    return None


# --- arrow to polars --------------------------------------------------------------------------------------------------


def _is_binary(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _decoded(array: Any) -> Any:
    """An array without dictionary and extension type."""
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _type(column: Any) -> pl.DataType:
    return _series(pa.array([], column.type)).dtype


def _series(array: Any) -> pl.Series:
    """An Arrow array as a polars series; a type that polars does not have becomes JSON text."""
    array = _decoded(array)
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        array = _repaired(array)
    try:
        return _plain_series(array)
    except (pl.exceptions.PolarsError, TypeError, ValueError):
        return pl.Series([None if v is None else json_text(v) for v in array.to_pylist()], dtype=pl.String)


def _plain_series(array: Any) -> pl.Series:
    found = pl.from_arrow(array)
    assert isinstance(found, pl.Series)
    return found


def _repaired(array: Any) -> Any:
    r"""The array with bytes that are not UTF-8 written as `\xNN`; pyarrow does not look when it reads."""
    values = array.cast(_as_bytes(array.type)).to_pylist()
    return pa.array([_as_text(value) for value in values], array.type)


def _as_bytes(kind: Any) -> Any:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.large_binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.large_list(_as_bytes(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(inner.name, _as_bytes(inner.type)) for inner in kind])
    return kind


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return escaped(value)
    if isinstance(value, list):
        return [_as_text(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _as_text(inner) for name, inner in value.items()}
    return value


def _cast(series: pl.Series, kind: pl.DataType) -> pl.Series:
    """The series as another type of the chain; text of numbers and nested values is their JSON."""
    if series.dtype == kind:
        return series
    if kind == pl.String and (series.dtype.is_nested() or series.dtype.is_float() or series.dtype == pl.Binary):
        values = [None if value is None else json_text(_finite(value)) for value in series.to_list()]
        return pl.Series(values, dtype=pl.String)
    return series.cast(kind)


def _finite(value: Any) -> Any:
    """NaN and infinities by name: JSON has no number for them."""
    return (
        str(value) if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))) else value
    )
