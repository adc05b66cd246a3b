"""Answers about single documents of a finished run: why one went, and dropped records read back from the input."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate import store
from curate.errors import UsageError
from curate.filter import nearest
from curate.pipeline import Pipeline
from curate.plan import survey_file
from curate.read import Columns, Source, Survey, find_sources, read, unite
from curate.records import converts
from curate.slices import TEXT, TURNS, contents, cut, slices

if TYPE_CHECKING:
    from curate.run import Run

VERDICT_COLUMNS = ("id", "file", "row", "step", "rule", "failed", "duplicate_of", "similarity")
CONTEXT_IDS = 200_000  # ids looked at for the nearest name


def input_sources(run: Run) -> dict[str, tuple[Source, str | None]]:
    """The run's input files as they are now, with the sha256 that the run saw; raises UsageError when one is gone."""
    entries = {entry["file"]: entry["sha256"] for entry in run.manifest["inputs"]}
    sources = find_sources(sorted(entries), run.base)
    return {source.file: (source, entries[source.file]) for source in sources if source.file in entries}


def verified(run: Run, source: Source, sha256: str | None) -> Source:
    """The source, if its bytes are still those of the run."""
    if sha256 is not None and store.file_sha256(Path(source.url)) != sha256:
        raise UsageError(
            f"{source.file} has changed since the run: its text cannot be read back",
            hint="put the old file back, or run again with output.dropped: full",
        )
    return source


def records_of(run: Run, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The original records of some (file, row) pairs: file, row, and the input's columns by their names."""
    sources = input_sources(run)
    pipeline = Pipeline.from_resolved(run.manifest["pipeline"], run.base)
    limit = pipeline.limits.record
    surveys, columns = _surveyed(run, pipeline, sources)
    for (file,), wanted in rows.partition_by("file", as_dict=True, maintain_order=True).items():
        source = verified(run, *sources[str(file)])
        found = surveys[str(file)][1]
        for place in found.cuts:
            some = wanted.filter(pl.col("row").is_between(place.row, place.row + place.rows - 1))
            if some.height == 0:
                continue
            for batch in read(source, place, columns, max_record=limit):
                joined = batch.records.join(some.select("row"), on="row", how="semi")
                if joined.height:
                    yield _original(joined, columns).insert_column(
                        0, pl.repeat(str(file), joined.height, eager=True).alias("__file")
                    )


def _surveyed(
    run: Run, pipeline: Pipeline, sources: Mapping[str, tuple[Source, str | None]]
) -> tuple[dict[str, tuple[Source, Survey]], Columns]:
    surveys = {name: (source, survey_file(run.root, pipeline, source)) for name, (source, _) in sources.items()}
    return surveys, unite(list(surveys.values()), pipeline.input.what, run.manifest["columns"]["id"])


def _input_types(run: Run) -> Mapping[str, Any]:
    """The input's columns, but ids, with the types that they are published with."""
    pipeline = Pipeline.from_resolved(run.manifest["pipeline"], run.base)
    if converts(pipeline.input.form, pipeline.output.schema):
        types: Mapping[str, Any] = _surveyed(run, pipeline, input_sources(run))[1].types
    else:
        published = run.manifest["columns"]["published"]
        types = {name: kind for name, kind in run.kept.collect_schema().items() if name not in published}
    return {name: kind for name, kind in types.items() if name != run.manifest["columns"]["id"]}


def _original(records: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    names = {columns.text: "text", columns.id: "id"}
    chosen = [pl.col(names.get(name, f"input.{name}")).alias(name) for name in columns.types]
    turns = [pl.col(TURNS).alias("__turns")] if TURNS in records.columns else []
    return records.select(pl.col("row").alias("__row"), pl.col("text").alias("__text"), *turns, *chosen)


def scan_dropped(run: Run) -> pl.LazyFrame:
    """Dropped records, lazily: VERDICT_COLUMNS, then the input's columns (`input.NAME` where a name is taken)."""
    from polars.io.plugins import register_io_source

    ledger = run.ledger.filter(~pl.col("kept")).select(VERDICT_COLUMNS)
    verdict = dict(ledger.collect_schema())
    wanted: dict[str, pl.Expr] = {}
    schema: dict[str, Any] = dict(verdict)
    for name, kind in _input_types(run).items():
        shown = f"input.{name}" if name in verdict else name
        wanted[shown] = pl.col(name).cast(kind).alias(shown)
        schema[shown] = kind

    def batches(
        columns: list[str] | None, predicate: pl.Expr | None, limit: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = limit
        for (_,), part in ledger.collect().partition_by("file", as_dict=True, maintain_order=True).items():
            for texts in records_of(run, part.select("file", "row")):
                found = texts.select(pl.col("__row").alias("row"), *wanted.values())
                frame = part.join(found, on="row", how="inner", maintain_order="left").select(*schema)
                if predicate is not None:
                    frame = frame.filter(predicate)
                if columns is not None:
                    frame = frame.select(columns)
                if left is not None:
                    frame, left = frame[:left], left - min(left, frame.height)
                yield frame
                if left == 0:
                    return

    return register_io_source(batches, schema=schema)


def why(run: Run, id: str) -> dict[str, Any]:
    """Everything known of one document: verdict, every score with its limit, its twin, where it is now."""
    rows = run.ledger.filter(pl.col("id") == id).head(1).collect()
    if rows.height == 0 and re.search(r"#[0-9]+$", id):  # a further copy of a document
        rows = run.ledger.filter(pl.col("id") == id.rpartition("#")[0]).head(1).collect()
    if rows.height == 0:
        refused = run.quarantine.filter(pl.col("id") == id)
        if refused.height:
            record = refused.row(0, named=True)
            return {"id": id, "verdict": "quarantine"} | {key: record[key] for key in ("file", "row", "step", "error")}
        known = run.ledger.select("id").head(CONTEXT_IDS).collect()["id"].to_list()
        near = nearest(id, known)
        raise UsageError(
            f"there is no document {id!r} in {run.root}",
            hint=f"did you mean {near!r}?" if near else "ids are in audit/ledger",
        )
    row = rows.row(0, named=True)
    steps = []
    for step in run.manifest["steps"]:
        name = step["name"]
        scores = {key: row[key] for key in row if key.startswith(f"{name}.") and _belongs(key, name, run)}
        broken = [code for code in row["failed"] or [] if _belongs(code, name, run)]
        reached = row["kept"] or name == row["step"] or _before(run, name, row["step"])
        steps.append(
            {
                "step": name,
                "filter": step["filter"],
                "judged": reached or (row["sampled"] and not step["corpus_wide"]),
                "scores": scores,
                "limits": [limit for limit in run.manifest["limits"] if limit["step"] == name],
                "broken": broken,
            }
        )
    answer: dict[str, Any] = {
        "id": row["id"],
        "verdict": "kept" if row["kept"] else "dropped",
        **{key: row[key] for key in (*VERDICT_COLUMNS[1:], "copies", "bytes", "sampled")},
        "steps": steps,
        "input": {key.removeprefix("input."): value for key, value in row.items() if key.startswith("input.")},
        "now": _place(run, row) if row["kept"] else None,
    }
    if row["duplicate_of"] is not None:
        answer["earlier"] = row.get(f"{row['step']}.earlier")
        answer["estimated"] = row.get(f"{row['step']}.estimated") is True
    if row["duplicate_of"] is not None and answer["earlier"] is None:
        twin = run.ledger.filter(pl.col("id") == row["duplicate_of"]).select(
            "id", "file", "row", "kept", "step", "rule"
        )
        answer["twin"] = next(iter(twin.head(1).collect().to_dicts()), None)
    return answer


def _belongs(code: str, step: str, run: Run) -> bool:
    """Whether `step.name` is of this step and not of one with a longer dotted name."""
    names = [entry["name"] for entry in run.manifest["steps"]]
    best = max((name for name in names if code.startswith(f"{name}.")), key=len, default=None)
    return best == step


def _before(run: Run, step: str, decided: str | None) -> bool:
    names = [entry["name"] for entry in run.manifest["steps"]]
    return decided is None or names.index(step) < names.index(decided)


def _place(run: Run, row: dict[str, Any]) -> dict[str, Any] | None:
    """The shard and the row in it where a kept document is."""
    earlier = pl.any_horizontal(
        pl.col("file") < row["file"], (pl.col("file") == row["file"]) & (pl.col("row") < row["row"])
    )
    once = run.manifest["pipeline"].get("output", {}).get("copies") == "column"  # a row for each document, not copy
    rows = pl.len() if once else pl.col("copies").cast(pl.Int64).sum()
    before = int(run.ledger.filter(pl.col("kept") & earlier).select(rows).collect().item())
    for part in run.manifest["outputs"]:
        if not part["path"].startswith("dataset/data/"):
            continue
        if before < part["rows"]:
            return {"shard": part["path"], "row": before}
        before -= part["rows"]
    return None


def add_texts(run: Run, answer: dict[str, Any], count: int = 200) -> None:
    """Put the first characters of a document's original text into the answer, and what it shares with its twin.

    A record has `turns` beside it, each with its first characters; a twin shares what the step compares.
    """
    from curate.compare import shared_words

    record = _original_record(run, answer["file"], answer["row"])
    if record.height == 0:
        answer["text"] = ""
        return
    answer["text"] = record[TEXT][0][:count]
    if TURNS in record.columns:
        said = contents(record)[0]
        turns = record[TURNS][0].to_list()
        answer["turns"] = [
            {"side": turn["side"], "role": turn["role"], "text": text[:count]}
            for turn, text in zip(turns, said, strict=True)
        ]
    if answer.get("twin") is not None:
        twin = _original_record(run, answer["twin"]["file"], answer["twin"]["row"])
        answer["shared"] = shared_words(_compared(run, answer, record), _compared(run, answer, twin))


def _compared(run: Run, answer: Mapping[str, Any], record: pl.DataFrame) -> str:
    """What the deciding step compares of a record: its text, or a part of it."""
    steps = Pipeline.from_resolved(run.manifest["pipeline"], run.base).steps
    on = next((step.on for step in steps if step.name == answer["step"]), "whole")
    some = cut(record, slices(record[TURNS], on)) if on != "whole" and TURNS in record.columns else record
    return "".join(some[TEXT])


def _original_record(run: Run, file: str, row: int) -> pl.DataFrame:
    """One record's text, and its turns if it has any, read from the input."""
    for frame in records_of(run, pl.DataFrame({"file": [file], "row": [row]})):
        turns = [pl.col("__turns").alias(TURNS)] if "__turns" in frame.columns else []
        return frame.select(pl.col("__text").alias(TEXT), *turns)
    return pl.DataFrame(schema={TEXT: pl.String()})
