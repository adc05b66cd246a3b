"""The figures of an audit: for each step and group, how many went, how that compares, and whether it is flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate import stats
from curate.audit import ALL_STEPS
from curate.audit_counts import NO_VALUE, Clusters, Counts, Observed
from curate.errors import UsageError
from curate.filter import nearest
from curate.stats import Interval, Numbers, divide

COMPLEMENT, BEST = "complement", "best"
FLAGGED, OK, INSUFFICIENT, BY_DESIGN, REFERENCE = "flagged", "ok", "insufficient", "by design", "reference"
MIN_DOCUMENTS = 30  # of a group and of what it is compared with; SCIENCE 2.4
MIN_EXPECTED = 5  # documents removed, and documents kept, if the step treated all alike; SCIENCE 2.4
MIN_CLUSTERS = 2.0  # effective: with fewer no interval can be given


@dataclass(frozen=True)
class Thresholds:
    """From where on a difference is flagged; both limits must be passed by the figure itself, and q be small.

    `keep_ratio` is the four-fifths rule, a screening heuristic of US employment law; it has no standing elsewhere.
    """

    keep_ratio: float = 0.8
    removal_ratio: float = 1.25
    q: float = 0.05


def figures(
    observed: Observed,
    counts: Counts,
    reference: str = COMPLEMENT,
    clusters: Clusters | None = None,
    *,
    sampled: bool = False,
) -> pl.DataFrame:
    """One row per group and step, in the order of the steps, then all steps together; without q and status.

    With `sampled` the rows are those of the steps before the one that makes the column.
    """
    column = counts.column
    against = reference_of(counts, reference)
    (r1, n1), (b1, m1) = stats.by_step(counts.documents), stats.by_step(counts.bytes)
    other = counts.everyone - counts.documents if against is None else _only(counts.documents, against)
    other_bytes = counts.everyone_bytes - counts.bytes if against is None else _only(counts.bytes, against)
    (r0, n0), (b0, m0) = stats.by_step(other), stats.by_step(other_bytes)
    of_all = stats.by_step(counts.everyone)[1]
    rate, removal = stats.wilson(r1, n1), stats.katz(r1, n1, r0, n0)
    keep, gap = stats.hybrid_ratio(n1 - r1, n1, n0 - r0, n0), stats.newcombe(r1, n1, r0, n0)
    p, effective = stats.score_test(r1, n1, r0, n0), np.full(r1.shape, np.nan)
    if clusters is not None:
        errors = _errors(counts, clusters, against)
        found = stats.clustered(r1, n1, r0, n0, errors)
        rate, removal = wider(rate, found.rate), wider(removal, found.removal)
        keep, gap = wider(keep, found.keep), wider(gap, found.difference)
        p, effective = np.fmax(p, found.p), errors.clusters
    with np.errstate(divide="ignore", invalid="ignore"):
        attribution = np.log(1 - divide(r1, n1)) - np.log(1 - divide(r0, n0))
    few = _few(r1, n1, r0, n0) | (effective < MIN_CLUSTERS)
    own = np.zeros(r1.shape, bool)
    if against is not None:
        own[against] = True
    columns = {
        "at_risk": n1, "removed": r1, "at_risk_bytes": m1, "removed_bytes": b1,
        "rate": rate.value, "rate_low": rate.low, "rate_high": rate.high,
        "reference_at_risk": n0, "reference_removed": r0, "reference_rate": divide(r0, n0),
        "keep_ratio": keep.value, "keep_low": keep.low, "keep_high": keep.high,
        "removal_ratio": removal.value, "removal_low": removal.low, "removal_high": removal.high,
        "removal_ratio_bytes": divide(divide(b1, m1), divide(b0, m0)),
        "difference": gap.value, "difference_low": gap.low, "difference_high": gap.high,
        "attribution": attribution,
        "share_before": divide(n1, of_all), "share_after": divide(n1 - r1, of_all - stats.by_step(counts.everyone)[0]),
        "p": p, "detectable_ratio": stats.detectable_ratio(n1, n0, divide(r0, n0)), "clusters": effective,
        **_adjusted(counts, against, removal),
    }  # fmt: skip
    return _frame(
        observed, counts, columns, few, own, COMPLEMENT if against is None else counts.groups[against]
    ).filter(pl.col("place") < observed.since.get(column, 0) if sampled else pl.lit(True))


def reference_of(counts: Counts, reference: str) -> int | None:
    """The number of the group to compare with; None for everyone else."""
    if reference == COMPLEMENT:
        return None
    if reference == BEST:
        removed, documents = stats.by_step(counts.documents)
        usable = (documents[:, -1] >= MIN_DOCUMENTS) & (np.array(counts.groups) != NO_VALUE)
        keep = np.where(usable, 1 - divide(removed[:, -1], documents[:, -1]), -1)
        if not usable.any():
            raise UsageError(
                f"no group of {counts.column!r} has {MIN_DOCUMENTS} documents", hint="compare with complement"
            )
        return int(np.argmax(keep))
    if reference not in counts.groups:
        near = nearest(reference, counts.groups)
        raise UsageError(
            f"{counts.column!r} has no group {reference!r} to compare with",
            hint=f"did you mean {near!r}?" if near else f"complement, best, or one of {', '.join(counts.groups[:20])}",
        )
    return counts.groups.index(reference)


def _only(counts: Numbers, against: int) -> Numbers:
    return np.broadcast_to(counts[against], counts.shape)


def _few(r1: Numbers, n1: Numbers, r0: Numbers, n0: Numbers) -> NDArray[np.bool_]:
    """Where too little is known: of the group, or of what it is compared with."""
    pooled = np.nan_to_num(divide(r1 + r0, n1 + n0))
    least = np.minimum(n1, n0)
    few: NDArray[np.bool_] = (least < MIN_DOCUMENTS) | (least * np.minimum(pooled, 1 - pooled) < MIN_EXPECTED)
    return few


def wider(alone: Interval, together: Interval) -> Interval:
    """The interval by clusters, nowhere narrower than as if documents were independent."""
    return Interval(alone.value, np.fmin(alone.low, together.low), np.fmax(alone.high, together.high))


def _errors(counts: Counts, clusters: Clusters, against: int | None) -> stats.ClusterErrors:
    return stats.cluster_errors(
        clusters.keys, clusters.cells, clusters.everyone, counts.documents.shape, against=against
    )


def _adjusted(counts: Counts, against: int | None, crude: Interval) -> dict[str, Any]:
    """The ratio within strata, and whether it tells another story than the crude one."""
    if counts.strata is None or counts.everyone_strata is None:
        nothing = np.full(crude.value.shape, np.nan)
        return {"adjusted_ratio": nothing, "adjusted_low": nothing, "adjusted_high": nothing,
                "simpson": np.zeros(nothing.shape, bool)}  # fmt: skip
    others = counts.everyone_strata[None] - counts.strata if against is None else _only(counts.strata, against)
    own, other = (stats.by_step(np.asarray(part)) for part in (counts.strata, others))
    found = stats.mantel_haenszel(*(np.moveaxis(part, 1, -1) for part in (*own, *other)))
    warn = stats.simpson(crude.value, crude.low, crude.high, found)
    return {"adjusted_ratio": found.value, "adjusted_low": found.low, "adjusted_high": found.high, "simpson": warn}


_WHOLE = ("at_risk", "removed", "at_risk_bytes", "removed_bytes", "reference_at_risk", "reference_removed")
_COMPARED = (
    "keep_ratio", "keep_low", "keep_high", "removal_ratio", "removal_low", "removal_high", "removal_ratio_bytes",
    "difference", "difference_low", "difference_high", "p", "adjusted_ratio", "adjusted_low",
    "adjusted_high",
)  # fmt: skip


def _frame(
    observed: Observed,
    counts: Counts,
    columns: dict[str, Any],
    few: NDArray[np.bool_],
    own: NDArray[np.bool_],
    against: str,
) -> pl.DataFrame:
    steps = observed.steps[counts.first :]
    groups, width = counts.documents.shape
    design = observed.by_design.get(counts.column, frozenset())
    designed = [step in design for step in steps]
    labels = {
        "by": np.repeat(counts.column, groups * width),
        "group": np.repeat(np.array(counts.groups, object), width),
        "step": np.tile(np.array([*steps, ALL_STEPS], object), groups),
        "place": np.tile(np.array([*range(counts.first, len(observed.steps)), len(observed.steps)]), groups),
    }
    frame = pl.DataFrame({name: pl.Series(values.tolist()) for name, values in labels.items()}).with_columns(
        pl.lit(against).alias("reference"), *(pl.Series(name, values.ravel()) for name, values in columns.items())
    )
    status = np.select(
        [np.tile([*designed, any(designed)], groups), own.ravel(), few.ravel()],
        [BY_DESIGN, REFERENCE, INSUFFICIENT],
        OK,
    )
    frame = frame.with_columns(pl.col(_WHOLE).cast(pl.Int64), pl.Series("status", status.tolist()))
    few_documents, unknown = pl.col("status") == INSUFFICIENT, pl.col("status").is_in([INSUFFICIENT, REFERENCE])
    number = pl.col(pl.Float64)
    frame = frame.with_columns(pl.when(number.is_finite()).then(number), simpson=pl.col("simpson") & ~unknown)
    return frame.with_columns(
        pl.when(~few_documents).then(pl.col("rate", "rate_low", "rate_high")),
        pl.when(~unknown).then(pl.col(_COMPARED)),
    )


def judge(rows: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    """Add q, over all steps and groups of the audit, and flag what is both large and no chance.

    Steps that are by design, and those with too few documents, are not tested.
    """
    tested = pl.col("status") == OK
    p = rows.select(pl.when(tested).then("p").cast(pl.Float64).fill_null(np.nan))["p"].to_numpy()
    rows = rows.with_columns(pl.Series("q", stats.benjamini_hochberg(p)).fill_nan(None))
    large = (pl.col("removal_ratio") > limits.removal_ratio) | (pl.col("keep_ratio") < limits.keep_ratio)
    large = large.fill_null(False) | (
        (pl.col("reference_removed") == 0) & (pl.col("removed") > 0)
    )  # no ratio: infinite
    flagged = (tested & large & (pl.col("q") <= limits.q)).fill_null(False)
    return rows.with_columns(flagged=flagged, status=pl.when(flagged).then(pl.lit(FLAGGED)).otherwise("status"))


def ordered(rows: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Tables of several columns as one: by column as asked, groups by size, steps in their order."""
    return pl.concat(rows, how="vertical_relaxed")
