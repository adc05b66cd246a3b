"""Shards out: kept records in input order, cut by final text bytes, and the ledger in parts of fixed size.

Where a shard or a row group ends follows from the ledger alone, never from chunks or batches, so that the same verdicts
give the same bytes. Files are Parquet with plain string columns that pyarrow, polars, DuckDB and `datasets` all read.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate import store
from curate.chunk import ledger_name, load, quarantine_name, read_chunk
from curate.corpus import edits_of, replay
from curate.executors import Executor, ordered
from curate.ledger import QUARANTINE_SCHEMA
from curate.plan import Chunk, Plan, resolve
from curate.records import converts, schema_columns, written_back
from curate.slices import TEXT

T = TypeVar("T")

GROUP_ROWS = 10_000  # rows of a row group, or fewer when their text passes GROUP_BYTES
GROUP_BYTES = 64_000_000
LEDGER_ROWS = 500_000  # rows of one ledger part
LEDGER_GROUP_ROWS = 50_000
COMPRESSION_LEVEL = 1  # twice as fast as 3, files 18 % larger on data/web


@dataclass(frozen=True)
class Part:
    """One file that was published: its name in the run's directory, rows, text bytes, sha256."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Shard:
    """A shard to write: the rows of which chunks, and where its row groups end (counted in output rows)."""

    number: int
    rows: tuple[tuple[int, int, int], ...]  # chunk number, first and last record row
    groups: tuple[int, ...]
    bytes: int


# --- Parquet ----------------------------------------------------------------------------------------------------------


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """An Arrow table whose strings are plain `string`, binaries plain `binary`, lists plain `list`."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.cast(pa.schema([field.with_type(_plain(field.type)) for field in table.schema]))


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return kind


class ParquetFile:
    """One Parquet file in the making: takes frames of any size, writes row groups of the sizes it was told."""

    def __init__(self, path: Path, groups: Iterator[int], plain: Sequence[str] = ()) -> None:
        self.path = path
        self.groups = groups
        self.plain = plain  # columns too long for a dictionary
        self.want = next(groups, 0)
        self.waiting: list[pl.DataFrame] = []
        self.height = 0
        self.rows = 0
        self.writer: pq.ParquetWriter | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows; full row groups are written at once."""
        self.waiting.append(frame)
        self.height += frame.height
        while self.height >= self.want > 0:
            whole = pl.concat(self.waiting)
            self._write(whole[: self.want])
            self.waiting = [whole[self.want :]]
            self.height -= self.want
            self.want = next(self.groups, 0)

    def close(self, schema: Any) -> None:
        """Write what is left and the footer; a file without rows still has its columns."""
        if self.height or self.writer is None:
            self._write(pl.concat(self.waiting) if self.waiting else pl.DataFrame(schema=schema))
        assert self.writer is not None
        self.writer.close()

    def abort(self) -> None:
        """Close the file handle of a file that will not be published."""
        if self.writer is not None:
            self.writer.close()

    def _write(self, frame: pl.DataFrame) -> None:
        table = to_arrow(frame.rechunk())
        if self.writer is None:
            dictionary = [name for name in table.schema.names if name not in self.plain]
            self.writer = pq.ParquetWriter(
                self.path, table.schema, compression="zstd", compression_level=COMPRESSION_LEVEL,
                use_dictionary=dictionary,  # type: ignore[arg-type]  # the stubs know only bool
                write_page_checksum=True, write_statistics=dictionary,
            )  # fmt: skip
        if table.num_rows:
            self.writer.write_table(table, row_group_size=table.num_rows)
        self.rows += table.num_rows


def write_parts(
    root: Path, folder: str, frames: Iterable[pl.DataFrame], schema: Any, *, always: bool, plain: Sequence[str] = ()
) -> list[Part]:
    """Write frames into `folder/part-00000.parquet`, ... of LEDGER_ROWS rows each, whatever the size of the frames."""
    parts: list[Part] = []
    source = _pieces(frames, LEDGER_ROWS)
    for number, pieces in enumerate(source):
        name = f"{folder}/part-{number:05d}.parquet"
        with store.publish(root, name) as temporary:
            file = ParquetFile(temporary, iter([LEDGER_GROUP_ROWS] * (LEDGER_ROWS // LEDGER_GROUP_ROWS)), plain)
            try:
                for piece in pieces:
                    file.add(piece)
                file.close(schema)
            except BaseException:
                file.abort()
                raise
        parts.append(_part(root, name, file.rows, 0))
    if not parts and always:
        name = f"{folder}/part-00000.parquet"
        with store.publish(root, name) as temporary:
            ParquetFile(temporary, iter([1]), plain).close(schema)
        parts.append(_part(root, name, 0, 0))
    return parts


def _pieces(frames: Iterable[pl.DataFrame], size: int) -> Iterator[Iterator[pl.DataFrame]]:
    """Cut a stream of frames into streams of `size` rows; each must be used up before the next."""
    rest = (frame for frame in frames if frame.height)
    pushed: list[pl.DataFrame] = []

    def one() -> Iterator[pl.DataFrame]:
        room = size
        while room:
            frame = pushed.pop() if pushed else next(rest, None)
            if frame is None:
                return
            if frame.height > room:
                pushed.append(frame[room:])
                frame = frame[:room]
            room -= frame.height
            yield frame

    while True:
        if not pushed:
            frame = next(rest, None)
            if frame is None:
                return
            pushed.append(frame)
        yield one()


def _part(root: Path, name: str, rows: int, size: int) -> Part:
    return Part(name, rows, size, store.file_sha256(root / name))


# --- ledger and quarantine --------------------------------------------------------------------------------------------


def write_ledger(plan: Plan) -> list[Part]:
    """Publish the ledger of all finished chunks, in input order."""
    frames = (load(plan, chunk, ledger_name(plan.task_key(chunk))) for chunk in plan.chunks)
    return write_parts(plan.root, "audit/ledger", frames, plan.ledger_schema(), always=True)


def write_quarantine(plan: Plan, schema: Any) -> list[Part]:
    """Publish the quarantine of all finished chunks, in input order; no folder when there is nothing in it."""
    frames = (load(plan, chunk, quarantine_name(plan.task_key(chunk))) for chunk in plan.chunks)
    return write_parts(plan.root, "audit/quarantine", frames, schema, always=False, plain=("raw",))


# --- shards -----------------------------------------------------------------------------------------------------------


def plan_shards(plan: Plan, *, kept: bool) -> list[Shard]:
    """Cut the kept (or the dropped) documents into shards of `shard_size` text bytes, from the ledger alone."""
    limit = plan.pipeline.output.shard_size
    shards: list[Shard] = []
    rows: list[tuple[int, int, int]] = []
    groups: list[int] = []
    size = group = group_size = 0

    def close() -> None:
        nonlocal rows, groups, size, group, group_size
        if group:
            groups.append(group)
        if rows or not shards:
            shards.append(Shard(len(shards), tuple(rows), tuple(groups), size))
        rows, groups, size, group, group_size = [], [], 0, 0, 0

    for chunk in plan.chunks:
        ledger = load(plan, chunk, ledger_name(plan.task_key(chunk)))
        chosen = ledger.filter(pl.col("kept") == kept).select("row", "bytes", "copies")
        if chosen.height == 0:
            continue
        first = last = None
        repeated = kept and plan.pipeline.output.copies == "repeat"
        copies = chosen["copies"].to_list() if repeated else [1] * chosen.height
        for row, length, count in zip(chosen["row"].to_list(), chosen["bytes"].to_list(), copies, strict=True):
            weight = length * count
            if size and size + weight > limit:
                if first is not None:
                    rows.append((chunk.number, first, last or first))
                close()
                first = None
            first = row if first is None else first
            last = row
            size += weight
            for _ in range(count):
                if group and (group >= GROUP_ROWS or group_size + length > GROUP_BYTES):
                    groups.append(group)
                    group = group_size = 0
                group += 1
                group_size += length
        if first is not None:
            rows.append((chunk.number, first, last or first))
    if rows or (kept and not shards):
        close()
    return shards


def publish_all(plan: Plan, executor: Executor) -> Iterator[tuple[str, list[Part]]]:
    """Write everything that is published: (`ledger`, `quarantine`, `data` or `dropped`; parts), in this order.

    Shards that start in one chunk are written together, so that it is read once.
    """
    tasks: list[tuple[str, tuple[Shard, ...]]] = [("ledger", ()), ("quarantine", ())]
    tasks += [("data", group) for group in _together(plan_shards(plan, kept=True))]
    if plan.pipeline.output.dropped == "full":
        tasks += [("dropped", group) for group in _together(plan_shards(plan, kept=False))]
    written = ordered(executor, functools.partial(_publish_one, plan), tasks)
    yield from zip((kind for kind, _ in tasks), written, strict=True)


def _together(shards: Sequence[Shard]) -> list[tuple[Shard, ...]]:
    groups: dict[int, list[Shard]] = {}
    for shard in shards:
        groups.setdefault(shard.rows[0][0] if shard.rows else -1, []).append(shard)
    return [tuple(group) for group in groups.values()]


def _publish_one(plan: Plan, task: tuple[str, tuple[Shard, ...]]) -> list[Part]:
    kind, shards = task
    if kind == "ledger":
        return write_ledger(plan)
    if kind == "quarantine":
        return write_quarantine(plan, QUARANTINE_SCHEMA)
    return _write_group(plan, kind == "data", shards)


def _write_group(plan: Plan, kept: bool, shards: tuple[Shard, ...]) -> list[Part]:
    folder = "dataset/data" if kept else "audit/dropped"
    schema = data_schema(plan)
    records = _Records(plan, kept)
    plain = plan.columns.contents
    parts: list[Part] = []
    for shard in shards:
        name = f"{folder}/part-{shard.number:05d}.parquet"
        with store.publish(plan.root, name) as temporary:
            file = ParquetFile(temporary, iter(shard.groups), plain=plain)
            try:
                for number, first, last in shard.rows:
                    for frame in records.between(plan.chunks[number], first, last):
                        file.add(frame)
                file.close(schema)
            except BaseException:
                file.abort()
                raise
        parts.append(_part(plan.root, name, file.rows, shard.bytes))
    return parts


class _Records:
    """Reads the records of chunks again, in order, each batch once although several shards want parts of it."""

    def __init__(self, plan: Plan, kept: bool) -> None:
        self.plan = plan
        self.kept = kept
        self.chunk: int | None = None
        self.batches: Iterator[pl.DataFrame] = iter(())
        self.held: pl.DataFrame | None = None

    def between(self, chunk: Chunk, first: int, last: int) -> Iterator[pl.DataFrame]:
        """The output rows of a chunk's records `first` to `last`; ranges must be asked in order."""
        if self.chunk != chunk.number:
            self.chunk, self.held = chunk.number, None
            self.batches = read_ahead(self._batches(chunk))
        while True:
            if self.held is None:
                self.held = next(self.batches, None)
            if self.held is None:
                return
            frame = self.held.filter(pl.col("__row").is_between(first, last))
            if frame.height:
                yield frame.drop("__row")
            if self.held["__row"][-1] > last:
                return
            self.held = None

    def _batches(self, chunk: Chunk) -> Iterator[pl.DataFrame]:
        plan = self.plan
        extra = [resolve(name, plan.steps) for name in plan.pipeline.output.columns]
        extra = [name for name in dict.fromkeys(extra) if name not in plan.columns.types]
        ledger = load(plan, chunk, ledger_name(plan.task_key(chunk)))
        chosen = ledger.filter(pl.col("kept") == self.kept).select("row", "copies", *extra)
        edits = edits_of(plan, chunk, plan.steps) if self.kept else []
        for batch in read_chunk(plan, chunk):
            joined = batch.records.join(chosen, on="row", how="inner", maintain_order="left")
            if joined.height == 0:
                continue
            final = replay(joined, edits)
            if self.kept and plan.columns.form is not None:
                final = written_back(plan.columns.form, joined, final, plan.pipeline.output.schema)
            if self.kept and plan.pipeline.output.copies == "repeat":
                final = _repeat(final)
            yield _output(plan, final, extra, published_types(plan) if self.kept else plan.columns.types)


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each next one made in a thread while the last one is used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _repeat(records: pl.DataFrame) -> pl.DataFrame:
    """Up-sampled documents as often as asked; the copies are named id#2, id#3, ..."""
    if (records["copies"] <= 1).all():
        return records
    at = np.repeat(np.arange(records.height), records["copies"].to_numpy())
    copy = np.arange(len(at)) - np.searchsorted(at, at) + 1
    repeated = records[at].with_columns(pl.Series("__copy", copy))
    named = pl.when(pl.col("__copy") > 1).then(pl.format("{}#{}", "id", "__copy")).otherwise("id")
    return repeated.with_columns(named.alias("id")).drop("__copy")


def _output(plan: Plan, records: pl.DataFrame, extra: Sequence[str], types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    columns = plan.columns
    made: list[pl.Expr] = [pl.col("row").alias("__row")]
    if columns.id is None:
        made.append(pl.col("id").alias(id_name(plan)))
    for name in types:
        source = {columns.text: TEXT, columns.id: "id"}.get(name, f"input.{name}")
        made.append(pl.col(source).alias(name))
    if counts_copies(plan):
        made.append(pl.col("copies").cast(pl.Int64).alias(copies_name(plan)))
    return records.select(*made, *extra)


def published_types(plan: Plan) -> dict[str, pl.DataType]:
    """The input's columns as they are published: those of `output.schema` in the place of the form's own."""
    types, form, schema = plan.columns.types, plan.columns.form, plan.pipeline.output.schema
    if form is None or schema is None or not converts(form, schema):
        return types
    own = set(form.columns.values())
    return schema_columns(form, schema, types) | {name: kind for name, kind in types.items() if name not in own}


def id_name(plan: Plan) -> str:
    """The column that ids made by curate are written to: `id`, or `curate_id` where the input has another `id`."""
    return "id" if "id" not in plan.columns.types else "curate_id"


def counts_copies(plan: Plan) -> bool:
    """Whether the published data has a column that says how often each document counts."""
    return plan.pipeline.output.copies == "column" and any("copies" in step.decides for step in plan.steps)


def copies_name(plan: Plan) -> str:
    """That column: `copies`, or `curate_copies` where the input has another `copies`."""
    return "copies" if "copies" not in plan.columns.types else "curate_copies"


def added_columns(plan: Plan) -> list[str]:
    """The columns of the published data that the input does not have: ids made by curate, `output.columns`."""
    return [name for name in data_schema(plan) if name not in plan.columns.types]


def data_schema(plan: Plan) -> dict[str, Any]:
    """The columns of the published data, in order."""
    columns = plan.columns
    schema: dict[str, Any] = {} if columns.id is not None else {id_name(plan): pl.String()}
    for name, kind in published_types(plan).items():
        schema[name] = pl.String() if name in (columns.text, columns.id) else kind
    if counts_copies(plan):
        schema[copies_name(plan)] = pl.Int64()
    scores = {name: kind for step in plan.steps for name, kind in step.ledger_scores.items()}
    for name in plan.pipeline.output.columns:
        full = resolve(name, plan.steps)
        if full in scores:
            schema[full] = scores[full]
    return schema
