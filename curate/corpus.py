"""What a corpus-wide filter sees when it decides: sketches in partitions on disk, texts on request, columns."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import polars as pl

from curate import store
from curate.chunk import (
    decision_name,
    decision_of,
    decision_record,
    ledger_name,
    load,
    place_decided,
    read_chunk,
    results_name,
    run_chunk,
    survivors_name,
)
from curate.earlier import content_of
from curate.errors import UsageError
from curate.executors import Executor, ordered
from curate.filter import EDITS, Corpus, CorpusFilter, Partition
from curate.plan import Chunk, Plan, Planned, id_column, make_chunks, survey_all
from curate.read import find_sources, unite
from curate.slices import TEXT, TURNS, cut, edited, slices
from curate.turns import SCHEMAS

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741
Frames: TypeAlias = Iterator[pl.DataFrame]
TASKS = 64  # at most so many per map over chunks: each may write a file for each partition
PARTITION_BYTES = 256_000_000  # of sketches held in memory at once


class DiskCorpus(Corpus):
    """The surviving documents of a run up to a corpus-wide step; memory is bounded by a partition."""

    def __init__(self, plan: Plan, step: Planned, executor: Executor, scratch: Path) -> None:
        self.plan = plan
        self.step = step
        self.executor = executor
        self.scratch = scratch
        self.step_name = step.name

    def partitions(self, key: str) -> list[Partition]:
        """Split the sketches by the value of column `key`, all equal values together."""
        parts = max(1, -(-self._sketch_bytes() // PARTITION_BYTES))
        folder = self.scratch / f"by-{key}"
        folder.mkdir(parents=True, exist_ok=True)
        split = functools.partial(_split, self.plan, self.step, key, parts, folder)
        paths: list[list[Path]] = [[] for _ in range(parts)]
        for written in ordered(self.executor, split, self.plan.chunks):
            for part, path in written:
                paths[part].append(path)
        return [Partition(tuple(some)) for some in paths if some]

    def _sketch_bytes(self) -> int:
        return sum(_sketch_size(self.plan, self.step, chunk) for chunk in self.plan.chunks)

    def map(self, function: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
        """Apply a function to items through the executor, results in the order of the items."""
        return ordered(self.executor, function, items)

    def map_sketches(self, function: Callable[[int, Frames], T]) -> Iterator[T]:
        """Apply a function to the sketches of consecutive chunks' survivors, results in input order."""
        work = functools.partial(_over_sketches, self.plan, self.step, function)
        return ordered(self.executor, work, list(enumerate(_tasks(self.plan.chunks))))

    def documents(self) -> int:
        """At most so many: the records of all chunks."""
        return sum(chunk.cut.rows for chunk in self.plan.chunks)

    def texts(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The texts, as edited so far, of the given (chunk, row) pairs."""
        for chunk, wanted in self._by_chunk(rows):
            yield from judged_texts(self.plan, chunk, wanted, self.step)

    def map_texts(self, function: Callable[[int, Frames], T], rows: pl.DataFrame) -> Iterator[T]:
        """Apply a function to the texts of the given pairs, those of consecutive chunks together."""
        work = functools.partial(_over_texts, self.plan, self.step, function)
        return ordered(self.executor, work, list(enumerate(_tasks(self._by_chunk(rows)))))

    def map_documents(self, function: Callable[[int, Frames], T], path: Path) -> Iterator[T]:
        """Apply a function to the documents of another corpus, those of consecutive chunks together."""
        other = other_plan(self.plan, path, self.executor)
        work = functools.partial(_over_documents, other, self.step, function)
        return ordered(self.executor, work, list(enumerate(_tasks(other.chunks))))

    def name(self, path: Path) -> str:
        """A path relative to the pipeline's folder."""
        return Path(os.path.relpath(path, self.plan.pipeline.base)).as_posix()

    def _by_chunk(self, rows: pl.DataFrame) -> list[tuple[Chunk, pl.DataFrame]]:
        parts = rows.sort("chunk", "row").partition_by("chunk", as_dict=True, maintain_order=True)
        return [(self.plan.chunks[int(number)], wanted) for (number,), wanted in parts.items()]

    def columns(self, *names: str) -> pl.LazyFrame:
        """`chunk, row, id, bytes` and the named columns of every surviving document, in input order."""
        unknown = [name for name in names if name not in self.step.filter.reads()]
        if unknown:
            raise KeyError(f"{unknown[0]!r} is not among the columns that the filter's reads() names")
        wanted = ["chunk", "row", "id", "bytes", *names]
        frames = (survivors(self.plan, chunk).lazy() for chunk in self.plan.chunks)
        empty = pl.LazyFrame(schema={"chunk": pl.Int64(), **self.plan.survivor_schema(self.step)})
        return pl.concat([empty, *frames]).select(wanted)


def survivors(plan: Plan, chunk: Chunk) -> pl.DataFrame:
    """The survivors of a chunk up to the next corpus-wide step: chunk, row, id, bytes, the columns it reads."""
    frame = load(plan, chunk, survivors_name(plan.task_key(chunk)))
    return frame.insert_column(0, pl.Series("chunk", np.full(frame.height, chunk.number), dtype=pl.Int64))


def kept_rows(plan: Plan) -> pl.DataFrame:
    """The (chunk, row) of the documents that the finished passes keep."""
    ledgers = ((chunk, load(plan, chunk, ledger_name(plan.task_key(chunk)))) for chunk in plan.chunks)
    return pl.concat(
        [
            pl.DataFrame(schema={"chunk": pl.Int64, "row": pl.Int64}),
            *(
                ledger.filter("kept").select(pl.lit(chunk.number, pl.Int64).alias("chunk"), "row")
                for chunk, ledger in ledgers
            ),
        ]
    )


def texts_of(plan: Plan, chunk: Chunk, rows: pl.DataFrame, steps: tuple[Planned, ...]) -> Iterator[pl.DataFrame]:
    """Texts of some rows of a chunk, read again, with the stored edits of the given steps replayed."""
    edits = edits_of(plan, chunk, steps)
    for batch in read_chunk(plan, chunk, want=()):
        some = rows.join(batch.records, on="row", how="inner", maintain_order="left")
        if some.height:
            yield replay(some, edits)


def judged_texts(plan: Plan, chunk: Chunk, rows: pl.DataFrame, step: Planned) -> Iterator[pl.DataFrame]:
    """What a corpus-wide step judges of some rows of a chunk, as edited before it."""
    for docs in texts_of(plan, chunk, rows, plan.steps[: step.number]):
        yield cut(docs, slices(docs[TURNS], step.parts[0])) if step.parts else docs


def other_plan(plan: Plan, path: Path, executor: Executor) -> Plan:
    """A plan to read another corpus: a finished run's data, or files like those of this run."""
    found = plan.pipeline.input
    manifest = store.read_json(path, "manifest.json") if path.is_dir() else None
    if manifest is not None:
        found = found.model_copy(update=published_columns(manifest))
        path = path / "dataset" / "data"
    name = os.path.relpath(path, plan.pipeline.base)
    sources = find_sources([name], plan.pipeline.base)
    pipeline = plan.pipeline.model_copy(update={"input": found})
    surveys = survey_all(plan.root, sources, pipeline, executor)
    known = all(found.id in survey.columns for _, survey in surveys)  # else ids are made: file#row
    columns = unite(surveys, found.what, id_column(surveys, pipeline) if known or found.id is None else None)
    chunks = make_chunks(surveys, columns, pipeline.limits.record, {}, 0)
    return replace(plan, pipeline=pipeline, columns=columns, chunks=chunks, repeats={})


def published_columns(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """How a finished run's data is read: its text or its schema, and its id column."""
    columns = manifest["columns"]
    made = next((name for name in columns["published"] if name in ("id", "curate_id")), "id")
    found: dict[str, Any] = {"kind": "text", "schema": None, "columns": {}, "id": columns["id"] or made}
    if columns["text"] is not None:
        return found | {"text": columns["text"]}
    given, other = manifest["pipeline"]["input"], manifest["pipeline"]["output"].get("schema")
    found |= {name: given[name] for name in ("kind", "schema", "columns")}
    if other is None or other == given["schema"]:
        return found
    known = SCHEMAS[other]
    return found | {"schema": other, "columns": {name: name for name in (*known.columns, *known.optional)}}


def edits_of(plan: Plan, chunk: Chunk, steps: Iterable[Planned]) -> list[tuple[Planned, pl.DataFrame]]:
    """The stored edits (row, edits) of the given steps over a chunk, in the order of the steps."""
    numbers = {step.number: at for at, step in enumerate(plan.corpus_steps)}
    found: list[tuple[Planned, pl.DataFrame]] = []
    for step in steps:
        if not step.edits:
            continue
        if EDITS in step.decides:
            stored = decision_of(plan, plan.decisions[numbers[step.number]], chunk)
        else:
            stored = load(plan, chunk, results_name(chunk, plan.step_key(step)))
        if stored is not None:
            found.append((step, stored.select("row", EDITS).filter(pl.col(EDITS).list.len() > 0)))
    return found


def replay(docs: pl.DataFrame, edits: Iterable[tuple[Planned, pl.DataFrame]]) -> pl.DataFrame:
    """The documents (row, text, perhaps turns, others) after stored edits, without running any filter."""
    for step, stored in edits:
        changes = docs.select("row").join(stored, on="row", how="left", maintain_order="left")[EDITS]
        if EDITS in step.decides and TURNS in docs.columns:
            changes, _ = place_decided(step, docs, changes)
        docs, _ = edited(docs, changes)
    return docs


# --- deciding ---------------------------------------------------------------------------------------------------------


def decide(plan: Plan, step: Planned, executor: Executor, marks: list[str]) -> str:
    """Let a corpus-wide step decide, store its columns chunk by chunk, and return the decision's key.

    `marks` are the digests of the survivors of every chunk, in order: with the same survivors and options the stored
    decision is used again.
    """
    assert isinstance(step.filter, CorpusFilter)
    content = [chunk.key for chunk in plan.chunks]  # survivors alone do not show that a text has changed
    earlier = [content_of(path) for path in step.filter.earlier()]
    key = store.digest(plan.step_key(step), step.filter.options(), marks, content, earlier)
    known = store.read_json(plan.root, decision_record(key))
    if known is not None and all(
        store.read_frame(plan.root, decision_name(key, plan.chunks[n])) is not None for n in known["chunks"]
    ):
        return key
    scratch = plan.root / ".curate" / "scratch" / key
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    with store.storage_errors(scratch):
        decided = step.filter.decide(DiskCorpus(plan, step, executor, scratch)).collect()
    wanted = {"chunk": pl.Int64(), "row": pl.Int64(), **step.decides}
    missing = [name for name in wanted if name not in decided.columns]
    if missing:
        raise TypeError(f"step {step.name} decided without the column {missing[0]!r}")
    decided = decided.select(pl.col(name).cast(kind) for name, kind in wanted.items()).sort("chunk", "row")
    numbers: list[int] = []
    for (number,), frame in decided.partition_by("chunk", as_dict=True, maintain_order=True).items():
        numbers.append(int(number))
        store.write_frame(plan.root, decision_name(key, plan.chunks[int(number)]), frame.drop("chunk"))
    store.write_json(plan.root, decision_record(key), {"step": step.name, "rows": decided.height, "chunks": numbers})
    shutil.rmtree(scratch, ignore_errors=True)
    return key


def _sketch_name(plan: Plan, step: Planned, chunk: Chunk) -> str:
    return results_name(chunk, plan.step_key(step) + "-sketch")


def _sketch_size(plan: Plan, step: Planned, chunk: Chunk) -> int:
    path = store.join(plan.root, _sketch_name(plan, step, chunk))
    return path.stat().st_size if path.is_file() else 0


def _sketches(plan: Plan, step: Planned, chunk: Chunk) -> pl.DataFrame:
    """The sketches of one chunk's survivors: chunk, row, id and the sketch's columns."""
    alive = survivors(plan, chunk).select("chunk", "row", "id")
    sketches = store.read_frame(plan.root, _sketch_name(plan, step, chunk))
    if sketches is None or not alive["row"].is_in(sketches["row"].implode()).all():
        store.remove(store.join(plan.root, f".curate/records/{plan.task_key(chunk)}.json"))
        run_chunk(plan, chunk)
        sketches = store.read_frame(plan.root, _sketch_name(plan, step, chunk))
    if sketches is None:  # a chunk without survivors has nothing to sketch
        return alive.clear().hstack(pl.DataFrame(schema=dict(step.sketch or {})))
    columns = [pl.col(name) for name in step.sketch or {}]
    return alive.join(sketches.select("row", *columns), on="row", how="inner", maintain_order="left")


def _tasks(items: Sequence[I]) -> list[Sequence[I]]:
    """Consecutive items in at most TASKS groups of about the same size."""
    count = min(TASKS, len(items))
    ends = [len(items) * number // count for number in range(count + 1)] if count else [0]
    return [items[start:end] for start, end in pairwise(ends)]


def _over_sketches(
    plan: Plan, step: Planned, function: Callable[[int, Frames], T], task: tuple[int, Sequence[Chunk]]
) -> T:
    """What a function makes of the sketches of some chunks."""
    number, chunks = task
    return function(number, (_sketches(plan, step, chunk) for chunk in chunks))


def _over_texts(
    plan: Plan,
    step: Planned,
    function: Callable[[int, Frames], T],
    task: tuple[int, Sequence[tuple[Chunk, pl.DataFrame]]],
) -> T:
    """What a function makes of the texts of some rows of some chunks."""
    number, parts = task
    return function(number, (frame for chunk, rows in parts for frame in judged_texts(plan, chunk, rows, step)))


def _over_documents(
    plan: Plan, step: Planned, function: Callable[[int, Frames], T], task: tuple[int, Sequence[Chunk]]
) -> T:
    """What a function makes of the documents of some chunks."""
    number, chunks = task
    return function(number, (frame for chunk in chunks for frame in _documents(plan, step, chunk)))


def _documents(plan: Plan, step: Planned, chunk: Chunk) -> Frames:
    """What a step compares of a chunk of another corpus (id, text); a record that cannot be read stops the run."""
    for batch in read_chunk(plan, chunk, want=()):
        for row, error in batch.bad.select("row", "error").head(1).iter_rows():
            raise UsageError(
                f"{chunk.source.file}, record {row}, of an earlier corpus cannot be read: {error}",
                hint="mend or remove it, or run curate over that corpus first and give its folder or index",
            )
        records = batch.records
        if step.parts and TURNS in records.columns:  # of texts it is the whole
            records = cut(records, slices(records[TURNS], step.parts[0]))
        if records.height:
            yield records.select("id", TEXT)


def _split(plan: Plan, step: Planned, key: str, parts: int, folder: Path, chunk: Chunk) -> list[tuple[int, Path]]:
    """Write the sketches of one chunk's survivors, split by the value of `key`; return the parts that got rows."""
    joined = _sketches(plan, step, chunk)
    written: list[tuple[int, Path]] = []
    bucket = joined[key].cast(pl.UInt64, strict=False) if joined[key].dtype.is_integer() else joined[key].hash(0)
    numbered = joined.with_columns((bucket % parts).alias("__part"))
    for (part,), frame in numbered.partition_by("__part", as_dict=True, maintain_order=True).items():
        path = folder / f"{chunk.number:06d}-{int(part):05d}.arrows"
        frame.drop("__part").write_ipc_stream(path, compat_level=pl.CompatLevel.oldest())
        written.append((int(part), path))
    return written
