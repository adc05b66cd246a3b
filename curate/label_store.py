"""The label store: a folder of Parquet files to which labels are only ever added, never texts.

A label that is given again with another answer gets a row of its own, which names the one that it supersedes; both
stay. What is there is never written again, so that two people can add labels at once.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate import __version__, store
from curate.errors import OutputError, UsageError
from curate.label_sheet import Sheet, refuse, write_new

if TYPE_CHECKING:
    from curate.label_sheet import Row
    from curate.run import Run

SCHEMA: dict[str, Any] = {
    "label_id": pl.String(), "doc_id": pl.String(), "text_hash": pl.String(), "task": pl.String(),
    "label": pl.String(), "confidence": pl.Float64(), "rater_id": pl.String(), "rater_group": pl.String(),
    "guideline_version": pl.String(), "pipeline_version": pl.String(), "model_versions": pl.String(),
    "purpose": pl.String(), "design": pl.String(), "stratum": pl.String(), "pi": pl.Float64(),
    "created_at": pl.String(), "supersedes": pl.String(),
}  # fmt: skip
FILES = "labels-*.parquet"
STORE = ".labels"  # how its folder ends


@dataclass(frozen=True)
class Added:
    """What came of adding sheets to a store: new labels, those it had already, those that supersede another."""

    new: int
    known: int
    superseding: int
    empty: int  # rows without a label


def store_of(run: Run) -> Path:
    """The store that a run's labels go to by default: beside its folder, so that --fresh leaves it alone."""
    root = run.root.absolute()
    return root.with_name(f"{root.name}{STORE}")


def read_store(folder: Path) -> pl.DataFrame:
    """All labels ever added, in the order in which they were; empty where there is no store."""
    files = sorted(folder.glob(FILES), key=_number)
    if not files:
        return pl.DataFrame(schema=SCHEMA)
    try:
        return pl.concat([pl.read_parquet(file, glob=False).select(*SCHEMA).cast(pl.Schema(SCHEMA)) for file in files])
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"{folder} holds a file that is no part of a label store", hint="name another folder with --store"
        ) from error


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("labels-")
    return int(digits) if digits.isdigit() else -1


def current(labels: pl.DataFrame) -> pl.DataFrame:
    """The labels that no later one supersedes."""
    return labels.filter(~pl.col("label_id").is_in(labels["supersedes"].drop_nulls().implode()))


def versions_of(run: Run) -> tuple[str, str]:
    """The versions that a label was given under: of the pipeline, as a digest, and of its models."""
    identity = {key: value for key, value in run.manifest["identity"].items() if key not in ("inputs", "hashes")}
    models = ", ".join(f"{model['file']} {model['sha256'][:12]}" for model in run.manifest["models"])
    return f"curate {__version__}, pipeline {store.digest(identity)[:12]}", models


def add(folder: Path, sheets: Sequence[Sheet], task: str, design: str, versions: tuple[str, str]) -> Added:
    """Add the labels of some sheets, which must be of one task and design; nothing is written when there is no new one.

    Raises UsageError when a rater answers one document twice in one sheet, differently.
    """
    known = {
        (row["task"], row["design"], row["purpose"], row["doc_id"], row["rater_id"]): row
        for row in current(read_store(folder)).iter_rows(named=True)
    }
    made: list[dict[str, Any]] = []
    same = superseding = 0
    for sheet in sheets:
        _refuse_contradictions(sheet)
        for row in sheet.rows:
            values = _values(row, task, design, versions)
            key = (task, design, row.purpose, row.id, row.rater)
            before = known.get(key)
            if before is not None and _answer(before) == _answer(values):
                same += 1
                continue
            values["supersedes"] = None if before is None else before["label_id"]
            superseding += before is not None
            values["label_id"] = "l" + store.digest(_answer(values), *map(str, key), values["supersedes"])[:20]
            known[key] = values
            made.append(values)
    if made:
        _append(folder, pl.DataFrame(made, schema=SCHEMA))
    return Added(len(made) - superseding, same, superseding, sum(sheet.empty for sheet in sheets))


def _values(row: Row, task: str, design: str, versions: tuple[str, str]) -> dict[str, Any]:
    return {
        "doc_id": row.id, "text_hash": row.text_hash, "task": task, "label": row.label, "confidence": row.confidence,
        "rater_id": row.rater, "rater_group": row.rater_group, "guideline_version": row.guideline,
        "pipeline_version": versions[0], "model_versions": versions[1], "purpose": row.purpose, "design": design,
        "stratum": row.stratum or None, "pi": row.pi, "created_at": row.created_at, "supersedes": None,
    }  # fmt: skip


def _answer(row: dict[str, Any]) -> list[Any]:
    """What makes a label another one: the answer and whose it is, not when it was read."""
    return [row[name] for name in ("label", "confidence", "rater_group", "guideline_version", "text_hash")]


def _refuse_contradictions(sheet: Sheet) -> None:
    seen: dict[tuple[str, str, str], Row] = {}
    problems = []
    for row in sheet.rows:
        first = seen.setdefault((row.id, row.rater, row.purpose), row)
        if first.label != row.label:
            problems.append(f"{row.where}: {row.rater} calls {row.id!r} {row.label} here and {first.label} before")
    if problems:
        refuse(problems)


def _append(folder: Path, frame: pl.DataFrame) -> None:
    """Write a file of its own with the next free number."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; a label store is a folder", hint="name a folder with --store")
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    for number in _free_numbers(folder):
        try:
            write_new(folder / f"labels-{number:05d}.parquet", buffer.getvalue())
            return
        except OutputError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise


def _free_numbers(folder: Path) -> Iterable[int]:
    first = max((_number(path) for path in folder.glob(FILES)), default=-1) + 1
    return range(first, first + 1000)
