"""What an audit counts: documents by group, by the step that removed them, by stratum and by cluster.

Everything is a polars group-by over one lazy frame with one row per document; no row is looked at in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.filter import nearest
from curate.stats import Numbers

NO_VALUE = "(no value)"
OTHER = "(other)"
MAX_GROUPS = 200  # of a column, the largest; the rest are counted together as `(other)`
MAX_LEVELS = 100_000  # above it a column is no grouping: memory and the table would have no bound
MANY_NUMBERS = 50  # distinct values from which a column of numbers is cut into ten bands
BUCKETS = 65_536  # clusters are hashed into so many: a random union of clusters is a cluster
_AT, _SIZE, _LEVEL, _STRATUM, _BUCKET = "__at", "__bytes", "__level", "__stratum", "__bucket"
INTERNAL = frozenset((_AT, _SIZE, "id", "row", "kept", "step", "rule", "failed", "copies", "sampled", "duplicate_of"))


@dataclass(frozen=True)
class Observed:
    """Documents that went through steps: `frame` has one row per document, with the columns that an audit may name.

    `at` is the number of the step that removed a document, the number of steps where it was kept. Columns of a step
    hold values only for documents that reached it: `since` says from which step on a column is known for all.
    """

    frame: pl.LazyFrame  # id, __at, __bytes, sampled, failed, and the columns
    steps: tuple[str, ...]
    since: Mapping[str, int] = field(default_factory=dict)  # column -> number of the step that makes it; else 0
    by_design: Mapping[str, frozenset[str]] = field(default_factory=dict)  # column -> steps whose rules read it
    names: Mapping[str, str] = field(default_factory=dict)  # what people write -> column
    limits: Sequence[Mapping[str, Any]] = ()  # rules that compare a score with a number
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> str:
        """The full name of a column; UsageError with the nearest one when there is none."""
        schema = self.frame.collect_schema()
        for wanted in (name, f"input.{name}", self.names.get(name, "")):
            if wanted in schema and wanted not in INTERNAL:
                return wanted
        shown = [column.removeprefix("input.") for column in schema if column not in INTERNAL]
        near = nearest(name, [*shown, *self.names])
        raise UsageError(
            f"there is no column {name!r} to audit by",
            hint=f"did you mean {near!r}?" if near else f"columns: {', '.join(shown[:30])}",
        )


@dataclass(frozen=True)
class Counts:
    """Documents of each group by what became of them: the last entry of a row is those that were kept.

    `everyone` counts each document once, also where groups overlap; `strata` and `everyone_strata` have the strata as
    their middle axis. Bytes are counted beside documents.
    """

    column: str
    groups: tuple[str, ...]
    overlap: bool
    first: int  # number of the first step that is counted
    documents: Numbers  # groups x steps + 1
    bytes: Numbers
    everyone: Numbers  # steps + 1
    everyone_bytes: Numbers
    strata: Numbers | None = None  # groups x strata x steps + 1
    everyone_strata: Numbers | None = None  # strata x steps + 1


def levels(frame: pl.LazyFrame, column: str) -> tuple[pl.Expr, bool]:
    """A column as groups: its values as text, bands of equal size of a column of many numbers, or lists of labels.

    The second value says whether groups overlap: a document belongs to every label of its list.
    """
    kind = frame.collect_schema()[column]
    if isinstance(kind, pl.List):
        return pl.col(column).cast(pl.List(pl.String)).list.drop_nulls().list.unique(), True
    if kind.is_nested() or kind == pl.Binary:
        raise UsageError(f"column {column!r} holds {kind}: groups are text, numbers, or lists of text")
    distinct = int(frame.select(pl.col(column).approx_n_unique()).collect(engine="streaming").item())
    if kind.is_numeric() and distinct > MANY_NUMBERS:
        return _bands(frame, column), False
    if distinct > MAX_LEVELS:
        raise UsageError(
            f"column {column!r} has about {distinct:,} values: groups must be fewer than {MAX_LEVELS:,}",
            hint="name a column with fewer values, such as a language, a source or a topic",
        )
    value = pl.col(column).fill_nan(None) if kind.is_float() else pl.col(column)
    return value.cast(pl.String).fill_null(NO_VALUE), False


def _bands(frame: pl.LazyFrame, column: str) -> pl.Expr:
    """Ten bands with about as many documents each, named by their ends."""
    value = pl.col(column).cast(pl.Float64).fill_nan(None)
    tenths = [value.quantile(tenth / 10, "lower").alias(str(tenth)) for tenth in range(11)]
    ends = [float(end) for end in frame.select(tenths).collect(engine="streaming").row(0)]
    uppers = list(dict.fromkeys(ends[1:]))
    named: Any = pl.when(value.is_null()).then(pl.lit(NO_VALUE))
    low = ends[0]
    for upper in uppers:
        named = named.when(value <= upper).then(pl.lit(f"{low:,.6g} to {upper:,.6g}"))
        low = upper
    bands: pl.Expr = named.otherwise(pl.lit(NO_VALUE))
    return bands


def count(observed: Observed, column: str, strata: Sequence[str] = (), *, sampled: bool = False) -> Counts:
    """Count the documents of each group by the step that removed them.

    Of all documents that reached the step that makes the column; with `sampled`, of the audit sample, in which every
    document has a value.
    """
    first = 0 if sampled else observed.since.get(column, 0)
    level, overlap = levels(observed.frame, column)
    stratum = _stratum(observed.frame, strata)
    chosen = observed.frame.filter(pl.col("sampled")) if sampled else observed.frame.filter(pl.col(_AT) >= first)
    frame = chosen.select(_AT, _SIZE, level.alias(_LEVEL), stratum.alias(_STRATUM))
    sums = [pl.len().alias("documents"), pl.col(_SIZE).sum().alias("bytes")]
    everyone = frame.group_by(_STRATUM, _AT).agg(sums).collect(engine="streaming")
    members = _memberships(frame) if overlap else frame
    found = members.group_by(_LEVEL, _STRATUM, _AT).agg(sums).collect(engine="streaming")
    groups = name_groups(found)
    places = sorted(everyone[_STRATUM].unique().to_list())
    width = len(observed.steps) + 1 - first
    shape = (len(groups), len(places), width)
    own, own_bytes = _table(found, groups, places, first, shape)
    all_, all_bytes = _table(everyone.with_columns(pl.lit("").alias(_LEVEL)), ("",), places, first, (1, *shape[1:]))
    return Counts(
        column, groups, overlap, first, own.sum(1), own_bytes.sum(1), all_[0].sum(0), all_bytes[0].sum(0),
        own if strata else None, all_[0] if strata else None,
    )  # fmt: skip


def _memberships(frame: pl.LazyFrame, groups: Sequence[str] | None = None) -> pl.LazyFrame:
    """A row for each document and group that it is in; labels beyond the 200th are one group, counted once."""
    each = frame.explode(_LEVEL).drop_nulls(_LEVEL)
    if groups is None:
        groups = name_groups(each.group_by(_LEVEL).agg(pl.len().alias("documents")).collect(engine="streaming"))
    if groups[-1:] != (OTHER,):
        return each
    label = pl.element()
    named = pl.when(label.is_in(list(groups[:-1]))).then(label).otherwise(pl.lit(OTHER))
    return frame.with_columns(pl.col(_LEVEL).list.eval(named).list.unique()).explode(_LEVEL).drop_nulls(_LEVEL)


def _stratum(frame: pl.LazyFrame, strata: Sequence[str]) -> pl.Expr:
    if not strata:
        return pl.lit("")
    parts = []
    for name in strata:
        level, overlap = levels(frame, name)
        parts.append(level.list.sort().list.join(", ") if overlap else level)
    return pl.concat_str(parts, separator="\x1f")


def name_groups(found: pl.DataFrame) -> tuple[str, ...]:
    """The groups, the largest first; what is beyond the 200th is counted together."""
    sizes = found.group_by(_LEVEL).agg(pl.col("documents").sum())
    named = sizes.sort(["documents", _LEVEL], descending=[True, False])[_LEVEL].to_list()
    if OTHER in named:  # put together already
        named = [*(name for name in named if name != OTHER), OTHER]
        return tuple(named)
    return tuple(named) if len(named) <= MAX_GROUPS else (*named[:MAX_GROUPS], OTHER)


def _table(
    found: pl.DataFrame, groups: Sequence[str], strata: Sequence[str], first: int, shape: tuple[int, ...]
) -> tuple[Numbers, Numbers]:
    """Sums as an array: groups x strata x steps + 1."""
    documents, size = np.zeros(shape), np.zeros(shape)
    rows = _places(found[_LEVEL], groups)
    columns = _places(found[_STRATUM], strata)
    where = (rows, columns, found[_AT].cast(pl.Int64).to_numpy() - first)
    np.add.at(documents, where, found["documents"].to_numpy().astype(np.float64))
    np.add.at(size, where, found["bytes"].to_numpy().astype(np.float64))
    return documents, size


def _places(values: pl.Series, names: Sequence[str]) -> NDArray[np.int64]:
    """The place of each value among names; what is not among them is with the last, `(other)`."""
    return values.replace_strict(
        list(names), list(range(len(names))), default=len(names) - 1, return_dtype=pl.Int64
    ).to_numpy()


# --- clusters ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clusters:
    """Documents by cluster, sparse: buckets x groups * (steps + 1) and buckets x steps + 1, with a key per bucket."""

    keys: NDArray[np.uint64]
    cells: Any
    everyone: Any
    clusters: int  # distinct values of the column, about


def count_clusters(observed: Observed, counts: Counts, cluster: str, *, sampled: bool = False) -> Clusters:
    """Count the documents of each cluster as `count` does; a document without a cluster is one of its own."""
    from scipy.sparse import csr_matrix

    level, overlap = levels(observed.frame, counts.column)
    chosen = observed.frame.filter(pl.col("sampled")) if sampled else observed.frame.filter(pl.col(_AT) >= counts.first)
    if observed.frame.collect_schema()[cluster].is_nested():
        raise UsageError(
            f"column {cluster!r} holds lists: a document belongs to one cluster", hint="name a column of single values"
        )
    key = pl.coalesce(pl.col(cluster).cast(pl.String), pl.concat_str(pl.lit("\x1f"), "id"))
    frame = chosen.select(_AT, level.alias(_LEVEL), (key.hash(seed=1) % BUCKETS).alias(_BUCKET))
    everyone = frame.group_by(_BUCKET, _AT).len("documents").collect(engine="streaming")
    members = _memberships(frame, counts.groups) if overlap else frame
    found = members.group_by(_LEVEL, _BUCKET, _AT).len("documents").collect(engine="streaming")
    buckets = everyone[_BUCKET].unique().sort()
    width = len(observed.steps) + 1 - counts.first

    def sparse(table: pl.DataFrame, rows: NDArray[np.int64], groups: int) -> Any:
        at = table[_AT].cast(pl.Int64).to_numpy() - counts.first
        values = table["documents"].to_numpy().astype(np.float64)
        place = buckets.search_sorted(table[_BUCKET]).to_numpy()
        return csr_matrix((values, (place, rows * width + at)), shape=(len(buckets), groups * width))

    cells = sparse(found, _places(found[_LEVEL], counts.groups), len(counts.groups))
    distinct = int(chosen.select(pl.col(cluster).approx_n_unique()).collect(engine="streaming").item())
    none = np.zeros(everyone.height, np.int64)
    return Clusters(buckets.to_numpy().astype(np.uint64), cells, sparse(everyone, none, 1), distinct)
