"""A piece: a stretch of consecutive records of one file, read but not yet cast; every format yields these."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.slices import TURNS, documents
from curate.streams import RAW_BYTES

if TYPE_CHECKING:
    from curate.conversations import Form
    from curate.turns import Side

BAD_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "id": pl.String(),
    "error": pl.String(),
    "raw": pl.Binary(),
}


@dataclass(frozen=True)
class Batch:
    """Some records of a file and its bad records among them, in bounded amount."""

    records: pl.DataFrame  # row, id, text, `turns` of chat and preference records, `input.NAME` for columns wanted
    bad: pl.DataFrame  # row, id (null if unknown), error, raw (null where there are no bytes to show)


@dataclass(frozen=True)
class Columns:
    """The columns of the whole input, united over all files."""

    text: str | None  # None: a record is read by its form
    id: str | None  # None: ids are file#row
    types: dict[str, pl.DataType]  # all input columns, text and id too, in order; JSON kinds are String
    form: Form | None = None  # how chat and preference records are read

    @property
    def what(self) -> What:
        """What is read of a record: the column of its text, or its form."""
        found = self.form or self.text
        assert found is not None, "columns have a text or a form"
        return found

    @property
    def contents(self) -> tuple[str, ...]:
        """The columns that hold what is judged: the text, or the turns."""
        if self.form is not None:
            return tuple(name for part, name in self.form.columns.items() if part != "label")
        return () if self.text is None else (self.text,)

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of them that hold lists of messages: a step on a part does not see them."""
        return tuple(name for name in self.contents if isinstance(self.types.get(name), pl.List))


What: TypeAlias = "str | Form"  # what is read of a record: the column of its text, or its form


def reads_trees(what: What) -> TypeGuard[Form]:
    """Whether records are made of the messages of a whole file."""
    return not isinstance(what, str) and what.trees


class Bad(NamedTuple):
    """A record that cannot be read."""

    row: int
    id: str | None
    error: str
    raw: bytes | None


def bad_record(row: int, id: str | None, error: str, raw: bytes | None) -> Bad:
    """A bad record whose bytes are kept up to the limit of quarantine; the error says when they are cut."""
    if raw is not None and len(raw) > RAW_BYTES:
        return Bad(row, id, f"{error} (raw: the first {RAW_BYTES} of {len(raw)} bytes)", raw[:RAW_BYTES])
    return Bad(row, id, error, raw)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Python's collector waits while many records are made: they hold no cycles, and it would look at each again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass
class Piece(ABC):
    """Records whose text is sound, with their row numbers, and the bad ones among them."""

    first: int  # record number of its first record, good or bad
    count: int  # records, good and bad
    size: int  # bytes of the input that it covers
    rows: Sequence[int] = field(default_factory=list)  # of the good records
    bad: list[Bad] = field(default_factory=list)
    seen: dict[str, None] = field(default_factory=dict)  # columns of objects whose text is not sound
    turned: list[list[Side]] = field(default_factory=list)  # what every good record says, if read by its form

    @abstractmethod
    def texts(self) -> pl.Series:
        """The text of every good record that has a column for it."""

    @abstractmethod
    def ids(self, name: str) -> tuple[pl.Series | Sequence[str | None], Mapping[int, str]]:
        """The id of every good record; where there is none, why (by position)."""

    @abstractmethod
    def column(self, name: str, kind: pl.DataType) -> pl.Series:
        """One column of the good records, cast; nulls where this file does not have it."""

    @abstractmethod
    def raw(self, position: int) -> bytes | None:
        """The bytes of a good record, if there are any to show."""

    @abstractmethod
    def kinds(self) -> dict[str, str]:
        """The kind of every column of the good records, in order of first appearance."""

    @collector_paused()
    def batch(self, file: str, columns: Columns, want: Sequence[str]) -> Batch:
        """The piece as polars columns; records without a usable id move to the bad ones."""
        bad = list(self.bad)
        ids: pl.Series | Sequence[str | None] = []
        missing: Mapping[int, str] = {}
        if columns.id is None:
            ids = [f"{file}#{row}" for row in self.rows]
            bad = [one._replace(id=f"{file}#{one.row}") for one in bad]
        else:
            ids, missing = self.ids(columns.id)
        rows = np.asarray(self.rows, np.int64)
        values: dict[str, Any] = {"row": pl.Series(rows, dtype=pl.Int64), "id": pl.Series(ids, dtype=pl.String)}
        if columns.form is None:
            values["text"] = self.texts()
        else:
            values["text"], values[TURNS] = documents(self.turned)
        for name in want:
            values[f"input.{name}"] = self.column(name, columns.types[name])
        records = pl.DataFrame(values)
        if missing:
            bad += [bad_record(int(rows[at]), None, error, self.raw(at)) for at, error in missing.items()]
            records = records.filter(pl.Series([at not in missing for at in range(len(rows))], dtype=pl.Boolean))
            bad.sort(key=lambda one: one.row)
        return Batch(records, pl.DataFrame(bad, BAD_SCHEMA, orient="row"))


def read_form(form: Form, record: Mapping[str, Any], max_record: int, size: int | None = None) -> list[Side] | str:
    """What a record says side by side, or what is wrong with it; `size` is at least its bytes, where that is known."""
    from curate.conversations import FormError

    try:
        sides = form.sides(record)
    except FormError as error:
        return str(error)
    if size is None or size > max_record:
        size = sum(len(content.encode()) for _, said in sides for _, content in said)
        if size > max_record:
            return f"record too large: {size} bytes, the limit is {max_record}"
    return sides


def hash_ids(ids: pl.Series | Sequence[str | None]) -> NDArray[np.uint64]:
    """A 64-bit hash of every id, the same in every process and version; 0 where there is none."""
    from curate.kernels.hashing import hash64
    from curate.kernels.utf8 import texts

    column = pl.Series(ids, dtype=pl.String)
    found = np.maximum(hash64(texts(column)), 1)
    found[column.is_null().to_numpy()] = 0
    return found
