"""How scores are distributed: histograms, label counts and flags, read from a ledger in bounded memory.

Every score column is counted over the documents that reached its step, split by what became of them: kept, dropped by
this step, dropped by a later one. What a step says only for the audit sample is left out: the funnel does not see it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from curate.turns import LISTS, PARTS

if TYPE_CHECKING:
    import polars as pl

    from curate.settings import Step

MAX_BINS = 40
MAX_LABELS = 20
MAX_LABEL_CHARS = 60  # a longer value is not a label and could be text of a document: it is counted, never shown
MAX_DISTINCT = 100_000  # above it labels are counted on the audit sample, so that memory stays bounded

# Ledger columns that are no score of a step but have a distribution worth seeing.
ENGINE_SCORES = ("bytes", "tokens", "similarity")
FIXED_COLUMNS = frozenset(
    ("id", "file", "row", "kept", "step", "rule", "failed", "duplicate_of", "copies", "sampled", *ENGINE_SCORES)
)

VERDICT = ("kept", "step", "sampled")  # what is counted by

KEPT, HERE, LATER = range(3)


@dataclass(frozen=True)
class Column:
    """One score column of the ledger: its full name, the step that made it (None: the engine) and how it is counted."""

    name: str
    step: str | None
    kind: str  # number | label | flag | other
    whole: bool = False
    type: str = ""
    several: bool = False  # a value for each of a record's turns: every one is counted


@dataclass(frozen=True)
class Summary:
    """What one look at a numeric score found; `typical` is expm1(mean(log1p)), close to the median of a long tail."""

    documents: int
    no_value: int
    finite: int
    low: float | None
    high: float | None
    mean: float | None
    typical: float | None


def step_tables(
    ledger: pl.LazyFrame, names: Sequence[str], steps: Sequence[Step]
) -> dict[str, dict[str, pl.DataFrame]]:
    """The tables that steps add to the report, by step: each sees its own scores by their bare names.

    `names` are all steps of the run, `steps` those that are asked. A step that judges parts of records makes tables for
    every part: a row is a part, one of several turns.
    """
    scores = find_scores(ledger.collect_schema(), names)
    found: dict[str, dict[str, pl.DataFrame]] = {}
    for step in steps:
        tables: dict[str, pl.DataFrame] = {}
        for part in PARTS[step.on] or (None,):
            start = f"{step.name}." if part is None else f"{step.name}.{part}."
            own = {name: name.removeprefix(start) for name in _names_of(scores, step.name) if name.startswith(start)}
            seen = ledger.explode(*own) if step.on in LISTS and own else ledger
            made = step.filter.tables(seen.rename(own))
            tables |= {title if part is None else f"{title} ({part})": table for title, table in made.items()}
        if tables:
            found[step.name] = tables
    return found


def _names_of(scores: Sequence[Column], step: str) -> list[str]:
    return [score.name for score in scores if score.step == step]


def find_scores(schema: Mapping[str, pl.DataType], steps: Sequence[str]) -> list[Column]:
    """The score columns of a ledger in order, each with its step: the longest step name that starts the column's."""
    import polars as pl

    found = []
    for name, dtype in schema.items():
        if (name in FIXED_COLUMNS and name not in ENGINE_SCORES) or name.startswith("input."):
            continue
        owners = [step for step in steps if name.startswith(f"{step}.")]
        several = isinstance(dtype, pl.List)
        inner = dtype.inner if isinstance(dtype, pl.List) else dtype
        if inner == pl.Boolean:
            kind = "flag"
        elif inner.is_numeric():
            kind = "number"
        elif inner == pl.String or isinstance(inner, pl.Categorical | pl.Enum):
            kind = "label"
        else:
            kind = "other"
        owner = max(owners, key=len, default=None)
        found.append(Column(name, owner, kind, inner.is_integer(), str(dtype), several))
    return found


def distributions(
    ledger: pl.LazyFrame, steps: Sequence[str], limits: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Count every score column of the ledger; one JSON-ready entry per column, in the ledger's order.

    Engine columns without any value (no tokenizer, no duplicates) are left out.
    """
    import polars as pl

    schema = ledger.collect_schema()
    columns = find_scores(schema, steps)
    numbers = [column for column in columns if column.kind == "number"]
    summaries = _summaries(ledger, [column for column in numbers if not column.several], steps)
    entries = []
    for column in columns:
        seen = ledger
        if column.several:
            seen = ledger.select(*VERDICT, column.name).explode(column.name).filter(pl.col(column.name).is_not_null())
            summaries |= _summaries(seen, [column] if column.kind == "number" else [], steps)
        unit = counted_unit(column)
        base: dict[str, Any] = {"score": column.name, "step": column.step, "kind": column.kind, "unit": unit}
        if column.kind == "number" and unit == "value":  # numbers of several meanings in one list have no chart
            entries.append(base | {"kind": "other", "type": column.type})
        elif column.kind == "number":
            summary = summaries[column.name]
            if column.step is None and column.name in ENGINE_SCORES and summary.documents == 0:
                continue
            marks = _marks(column.name, limits, schema)
            entries.append(base | _histogram(seen, column, steps, summary, marks))
        elif column.kind == "label":
            entries.append(base | _labels(seen, column, steps))
        elif column.kind == "flag":
            entries.append(base | _flags(seen, column, steps))
        else:
            entries.append(base | {"type": column.type})
    return entries


def counted_unit(column: Column) -> str:
    """What a score is counted by: a document, a turn where a step judges each, else a value of a document's list."""
    if not column.several:
        return "document"
    part = column.name.removeprefix(f"{column.step}.").partition(".")[0]
    return "turn" if part in LISTS else "value"


def is_judged(score: Mapping[str, Any]) -> bool:
    """Whether a score is a step's boolean `judged`, of the whole or of a part: false means that no rule applies."""
    if score["kind"] != "flag" or score["step"] is None:
        return False
    part, _, name = str(score["score"]).removeprefix(f"{score['step']}.").rpartition(".")
    return name == "judged" and part in ("", *PARTS)


def _marks(score: str, limits: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The limits on one score; a limit on a score that the engine took over (`near.similarity`) marks the engine's."""
    marks = []
    for limit in limits:
        name = str(limit["score"])
        if name not in schema and name.rpartition(".")[2] in ENGINE_SCORES:
            name = name.rpartition(".")[2]
        if name == score:
            value = float(limit["limit"])
            finite = value if math.isfinite(value) else None
            marks.append({"step": limit["step"], "rule": limit["rule"], "limit": finite, "side": limit["side"]})
    return marks


# --- numbers ----------------------------------------------------------------------------------------------------------


def _summaries(ledger: pl.LazyFrame, columns: Sequence[Column], steps: Sequence[str]) -> dict[str, Summary]:
    import polars as pl

    if not columns:
        return {}
    wanted: list[pl.Expr] = []
    for index, column in enumerate(columns):
        reached = _reached(column.step, steps)
        value = pl.when(reached).then(pl.col(column.name).cast(pl.Float64))
        finite = pl.when(value.is_finite()).then(value)
        wanted += [
            value.count().alias(f"{index}.documents"),
            (reached & pl.col(column.name).is_null()).sum().alias(f"{index}.no_value"),
            finite.count().alias(f"{index}.finite"),
            finite.min().alias(f"{index}.low"),
            finite.max().alias(f"{index}.high"),
            finite.mean().alias(f"{index}.mean"),
            pl.when(finite >= 0).then(finite).log1p().mean().alias(f"{index}.log"),
        ]
    row = ledger.select(wanted).collect(engine="streaming").row(0, named=True)
    summaries = {}
    for index, column in enumerate(columns):
        found = {part: row[f"{index}.{part}"] for part in ("documents", "no_value", "finite", "low", "high", "mean")}
        log = row[f"{index}.log"]
        summaries[column.name] = Summary(**found, typical=None if log is None else math.expm1(log))
    return summaries


def _histogram(
    ledger: pl.LazyFrame, column: Column, steps: Sequence[str], summary: Summary, marks: list[dict[str, Any]]
) -> dict[str, Any]:
    import polars as pl

    result: dict[str, Any] = {
        "documents": summary.documents,
        "no_value": summary.no_value,
        "whole": column.whole,
        "low": summary.low,
        "high": summary.high,
        "mean": summary.mean,
        "not_finite": summary.documents - summary.finite,
        "limits": marks,
    }
    scale, edges = bin_edges(summary, column.whole, [mark["limit"] for mark in marks if mark["limit"] is not None])
    counts = {side: [0] * (len(edges) - 1) for side in (KEPT, HERE, LATER)}
    if summary.finite:
        value = pl.col(column.name).cast(pl.Float64)
        inner = [(value >= edge).cast(pl.UInt8) for edge in edges[1:-1]]
        bins = pl.sum_horizontal(inner) if inner else pl.lit(0, pl.UInt8)
        found = (
            ledger.filter(_reached(column.step, steps) & value.is_finite())
            .select(bin=bins, side=_side(column.step))
            .group_by("bin", "side")
            .len()
            .collect(engine="streaming")
        )
        for index, side, documents in found.iter_rows():
            counts[side][index] = documents
    return result | {"scale": scale, "edges": edges, **_by_side(counts)}


def bin_edges(summary: Summary, whole: bool, limits: Sequence[float] = ()) -> tuple[str, list[float]]:
    """Choose a scale and at most 40 bins with round edges that hold all values, and near limits where that is cheap.

    Bin i holds edges[i] <= value < edges[i + 1], the last one also its upper edge. Scores that are never negative and
    whose highest value is far above the typical one get bins of equal width in their logarithm.
    """
    low, high = summary.low, summary.high
    if low is None or high is None:
        return "linear", []
    heavy = low >= 0 and 100 < high < 1e18 and summary.typical is not None and high > 20 * max(summary.typical, 1.0)
    span = (high - low) or max(abs(high), 1.0)
    for limit in limits:
        near = limit > 0 if heavy else low - 2 * span <= limit <= high + 2 * span
        if near and limit <= 1000 * max(high, 1.0):
            low, high = min(low, limit), max(high, limit)
    return ("log", _log_edges(low, high, whole)) if heavy else ("linear", _linear_edges(low, high, whole))


def _linear_edges(low: float, high: float, whole: bool) -> list[float]:
    span = (high - low) or max(abs(high), 1.0) / 10
    if not 1e-300 < span < math.inf:
        return [low, high] if low < high else [low, math.nextafter(high, math.inf)]
    exponent = math.floor(math.log10(span / MAX_BINS))
    for power in range(exponent, exponent + 4):
        for step in (1.0, 2.0, 5.0) if whole else (1.0, 2.0, 2.5, 5.0):
            width = step * 10.0**power
            if whole and width < 1:
                continue
            first = math.floor(low / width + 1e-9)
            last = math.floor(high / width) + 1 if whole else max(math.ceil(high / width - 1e-9), first + 1)
            edges = [float(f"{index * width:.12g}") for index in range(first, last + 1)]
            if last - first <= MAX_BINS and all(a < b for a, b in pairwise(edges)):
                return edges
    return [low, math.nextafter(high, math.inf)]  # values too close for round numbers: one bin


def _log_edges(low: float, high: float, whole: bool) -> list[float]:
    """The finest of some equal divisions of a decade that makes few enough bins; a lowest value below 1 starts at 0."""
    edges = [low, high]
    for per_decade in (1, 2, 3, 4, 5, 6, 8, 10, 12):
        first = math.floor(math.log10(max(low, 1.0)) * per_decade) - 1
        last = math.ceil(math.log10(high) * per_decade) + 1
        exact = [10 ** (index / per_decade) for index in range(max(first, 0), last + 1)]
        rounded = sorted({float(round(edge)) if whole else float(f"{edge:.3g}") for edge in exact})
        finer = [0.0, *rounded] if low < 1 else rounded
        while finer[1] <= low:
            finer.pop(0)
        while finer[-2] > high:
            finer.pop()
        if len(finer) - 1 > MAX_BINS:
            break
        edges = finer
    return edges


# --- labels and flags -------------------------------------------------------------------------------------------------


def _labels(ledger: pl.LazyFrame, column: Column, steps: Sequence[str]) -> dict[str, Any]:
    import polars as pl

    documents = ledger.filter(_reached(column.step, steps))
    distinct = ledger.select(pl.col(column.name).approx_n_unique()).collect(engine="streaming").item()
    of_sample = distinct > MAX_DISTINCT
    if of_sample:
        documents = documents.filter("sampled")
    counts = _counts(documents, column, pl.String)
    no_value = sum(counts.pop(None, _none()))
    ranked = sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))
    shown = [item for item in ranked if len(item[0]) <= MAX_LABEL_CHARS][:MAX_LABELS]
    others = counts.keys() - {label for label, _ in shown}
    return {
        "documents": sum(map(sum, counts.values())),
        "no_value": no_value,
        "of_sample": of_sample,
        "labels": [{"label": label} | _named(sides) for label, sides in shown],
        "others": {"labels": len(others)} | _named(_total(counts[label] for label in others)),
        "too_long": sum(len(label) > MAX_LABEL_CHARS for label in counts),
    }


def _flags(ledger: pl.LazyFrame, column: Column, steps: Sequence[str]) -> dict[str, Any]:
    import polars as pl

    counts = _counts(ledger.filter(_reached(column.step, steps)), column, pl.Boolean)
    true, false = (counts.get(flag, _none()) for flag in (True, False))
    return {
        "documents": sum(true) + sum(false),
        "no_value": sum(counts.get(None, _none())),
        "true": _named(true),
        "false": _named(false),
    }


def _counts(documents: pl.LazyFrame, column: Column, dtype: type[pl.DataType]) -> dict[Any, list[int]]:
    """Documents by value of the column, each as a list over kept, dropped here, dropped later."""
    import polars as pl

    found = (
        documents.select(value=pl.col(column.name).cast(dtype), side=_side(column.step))
        .group_by("value", "side")
        .len()
        .collect(engine="streaming")
    )
    counts: dict[Any, list[int]] = {}
    for value, side, documents_found in found.iter_rows():
        counts.setdefault(value, _none())[side] = documents_found
    return counts


# --- shared -----------------------------------------------------------------------------------------------------------


def _reached(step: str | None, steps: Sequence[str]) -> pl.Expr:
    """Whether a document got as far as the step: kept, or dropped by it or by a later one."""
    import polars as pl

    if step is None:
        return pl.lit(True)
    return pl.col("step").is_null() | pl.col("step").is_in(list(steps[list(steps).index(step) :]))


def _side(step: str | None) -> pl.Expr:
    import polars as pl

    here = pl.lit(True) if step is None else pl.col("step") == step
    return pl.when("kept").then(KEPT).when(here).then(HERE).otherwise(LATER).cast(pl.UInt8)


def _none() -> list[int]:
    return [0, 0, 0]


def _total(sides: Any) -> list[int]:
    return [sum(part) for part in zip(*sides, strict=True)] or _none()


def _named(sides: Sequence[int]) -> dict[str, int]:
    return {"kept": sides[KEPT], "dropped_here": sides[HERE], "dropped_later": sides[LATER]}


def _by_side(counts: Mapping[int, list[int]]) -> dict[str, list[int]]:
    return {"kept": counts[KEPT], "dropped_here": counts[HERE], "dropped_later": counts[LATER]}
