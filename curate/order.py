"""A cheaper order of steps that provably keeps the same documents.

Rules of per-document steps that read no other step's scores and change no text give the same answer in any order, and
a document is kept when no rule is true: so the kept set does not depend on their order. (Which step is named as the
reason does, and so does whether a document that one step cannot judge is dropped first.) Steps never move across one
that changes the text or needs the whole corpus, nor before one that they read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.plan import Planned, is_of

WORTHWHILE = 0.05  # a suggestion saves at least this share of the steps' time


@dataclass(frozen=True)
class Measured:
    """What a step costs per document, and which documents of the sample break one of its rules."""

    name: str
    seconds: float
    drops: NDArray[np.bool_]


def needs(step: Planned, others: Sequence[Planned]) -> set[str]:
    """The names of the steps whose scores a step reads, in scoring or in its rules."""
    columns = {*step.reads, *step.filter.reads(), *(root for rule in step.rules for root in rule.roots)}
    own = {*step.scores, *step.decides}
    return {other.name for other in others if any(is_of(column, other) for column in columns - own)}


def cost(order: Sequence[Measured]) -> float:
    """Seconds that the steps take over the sample in this order: each sees what the ones before it left."""
    if not order:
        return 0.0
    left = np.ones(len(order[0].drops), bool)
    total = 0.0
    for step in order:
        total += step.seconds * int(left.sum())
        left &= ~step.drops
    return total


def cheaper_order(steps: Sequence[Planned], measured: Mapping[str, Measured]) -> dict[str, Any] | None:
    """The cheapest order found, and the share of the steps' time that it saves; None when none is worth it.

    Greedy: of the steps that may come next, the one that drops most of what is left per second. What it saves is
    computed on the sample itself.
    """
    order: list[str] = []
    segment: list[Planned] = []
    left = np.ones(len(next(iter(measured.values())).drops), bool) if measured else np.ones(0, bool)
    for step in [*steps, None]:
        if step is not None and not step.edits and not step.corpus_wide:
            segment.append(step)
            continue
        order += _sorted(segment, measured, left)
        segment = []
        if step is not None:
            order.append(step.name)
    names = [step.name for step in steps]
    before = cost([measured[name] for name in names if name in measured])
    after = cost([measured[name] for name in order if name in measured])
    if order == names or before <= 0 or before - after < WORTHWHILE * before:
        return None
    return {"order": order, "saves": (before - after) / before}


def _sorted(segment: list[Planned], measured: Mapping[str, Measured], left: NDArray[np.bool_]) -> list[str]:
    waiting = list(segment)
    order: list[str] = []
    while waiting:
        free = [step for step in waiting if not needs(step, [other for other in waiting if other is not step])]
        best = max(free, key=lambda step: (_rate(measured[step.name], left), -step.number))
        left &= ~measured[best.name].drops
        waiting.remove(best)
        order.append(best.name)
    return order


def _rate(step: Measured, left: NDArray[np.bool_]) -> float:
    """Documents dropped of those left, per second."""
    return float((step.drops & left).sum()) / max(step.seconds * max(1, int(left.sum())), 1e-12)


def measure(ledger: pl.DataFrame, work: Sequence[Mapping[str, Any]], steps: Sequence[Planned]) -> dict[str, Measured]:
    """What every per-document step costs and drops, from a run in which every document was in the audit sample."""
    found: dict[str, Measured] = {}
    seconds = {row["step"]: (float(row["seconds"]), int(row["scored"])) for row in work}
    for step in steps:
        if step.corpus_wide:
            continue
        took, scored = seconds[step.name]
        codes = [rule.code for rule in step.rules]
        drops = ledger.select(pl.col("failed").list.eval(pl.element().is_in(codes)).list.any()).to_series()
        count = scored or ledger.height
        found[step.name] = Measured(step.name, took / max(1, count), drops.fill_null(False).to_numpy())
    return found
