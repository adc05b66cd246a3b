"""Precision and recall of a rule from labels of a stratified sample, as pure functions over arrays.

A stratum is a part of the documents from which some were labelled at random. A rule removes some documents of each
stratum; how many is known exactly, as every document has its scores. So a stratum that the rule cuts is two cells, each
with its own labels. In a cell with k of n labelled documents positive, the rate of the others has the posterior
Beta(k + 1/2, n - k + 1/2) (Jeffreys), and the positive ones among them are beta-binomial; draws of all cells give draws
of precision and recall, whose quantiles are the intervals, with Jeffreys' ends at 0 and 1 where no labelled document
or every one is positive. Webber (2013, ACM TOIS 31:2) found normal approximations
poor for recall and beta-binomial posteriors better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.stats import divide

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]

DRAWS = 20_000  # of the posterior: an end of an interval moves by about a hundredth of its width with another seed
SEED = 1
N_MIN = 30  # labels that each stratum gets first (SCIENCE 5)
LOW, MIDDLE, HIGH = 0.025, 0.5, 0.975


class Share(NamedTuple):
    """An estimated share: the weighted point (Horvitz-Thompson), the posterior's median and 95 % interval, deff.

    `point` is NaN where a stratum has no labels. `deff` is the variance of the point in units of that of a simple
    random sample of as many labels: below 1 the strata save labels.
    """

    point: float
    median: float
    low: float
    high: float
    deff: float

    def to_dict(self) -> dict[str, float | None]:
        """The numbers by name, null where there is none."""
        return {name: None if np.isnan(value) else float(value) for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Cells:
    """Labels counted by stratum and by what the rule does: the columns of each array are kept and removed."""

    documents: Whole  # strata x 2
    labelled: Numbers  # strata x 2
    positive: Numbers  # strata x 2; not whole where raters disagree

    @property
    def strata(self) -> int:
        """How many strata there are."""
        return len(self.documents)

    def some(self, which: Flags | Sequence[int]) -> Cells:
        """The cells of some strata."""
        at = np.asarray(which)
        return Cells(self.documents[at], self.labelled[at], self.positive[at])


def count_cells(documents: ArrayLike, stratum: ArrayLike, removed: ArrayLike, positive: ArrayLike) -> Cells:
    """Count labels, given as the stratum, the rule's verdict and the label (0 to 1) of each labelled document.

    `documents` has the documents of each stratum that the rule keeps and that it removes: strata x 2.
    """
    sizes = np.asarray(documents, np.int64).reshape(-1, 2)
    place = 2 * np.asarray(stratum, np.int64) + np.asarray(removed, np.int64)
    labelled = np.bincount(place, minlength=sizes.size).astype(np.float64)
    hits: Numbers = np.bincount(place, np.asarray(positive, np.float64), sizes.size).astype(np.float64)
    return Cells(sizes, labelled.reshape(-1, 2), hits.reshape(-1, 2))


# --- the posterior ----------------------------------------------------------------------------------------------------


def draw_positives(cells: Cells, draws: int = DRAWS, seed: int = SEED) -> Numbers:
    """Draws of how many documents of each cell are positive: draws x strata x 2."""
    rng = np.random.default_rng(seed)
    hits, misses = cells.positive + 0.5, np.maximum(cells.labelled - cells.positive, 0) + 0.5
    rates = rng.beta(hits, misses, (draws, *hits.shape))
    others = np.maximum(cells.documents - cells.labelled, 0).astype(np.int64)
    return cells.positive + rng.binomial(others, rates)


@dataclass(frozen=True)
class Estimate:
    """What labels say of a rule: how many documents should go, how many of those do, how many of what goes should."""

    positives: Share  # a number of documents, not a share
    precision: Share
    recall: Share
    removed: int
    documents: int
    labelled: int
    unlabelled: int  # strata without a label

    def to_dict(self) -> dict[str, Any]:
        """The numbers by name."""
        plain = {name: getattr(self, name) for name in ("documents", "removed", "labelled", "unlabelled")}
        return plain | {name: getattr(self, name).to_dict() for name in ("positives", "precision", "recall")}


def estimate(cells: Cells, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """Precision and recall of the rule that made these cells, among the documents of these strata."""
    drawn = draw_positives(cells, draws, seed)
    least, most = _ends(cells, drawn)
    removed = int(cells.documents[:, 1].sum())
    points, deffs = _points(cells), _design_effects(cells)
    positives = [some.sum((1, 2)) for some in (least, drawn, most)]
    precisions = [divide(some[:, :, 1].sum(1), removed) for some in (least, drawn, most)]
    recalls = [_recalls(kept, gone) for kept, gone in ((most, least), (drawn, drawn), (least, most))]
    return Estimate(
        positives=_share(positives, points[0], np.nan),
        precision=_share(precisions, points[1], deffs[0]),
        recall=_share(recalls, points[2], deffs[1]),
        removed=removed,
        documents=int(cells.documents.sum()),
        labelled=int(cells.labelled.sum()),
        unlabelled=int(((cells.labelled.sum(1) == 0) & (cells.documents.sum(1) > 0)).sum()),
    )


def _ends(cells: Cells, drawn: Numbers) -> tuple[Numbers, Numbers]:
    """The draws for the lower and for the upper end of an interval.

    Where no labelled document is positive the rate may be 0, where all are it may be 1: Jeffreys' interval ends there
    (Brown, Cai and DasGupta 2001, Statistical Science 16:2, section 4.1). Without it a large part of the corpus in
    which nothing was found makes recall look too low for certain.
    """
    labelled, positive = cells.labelled, cells.positive
    none, every = (labelled > 0) & (positive == 0), (labelled > 0) & (positive == labelled)
    return np.where(none, 0, drawn), np.where(every, cells.documents, drawn)


def _recalls(kept: Numbers, gone: Numbers) -> Numbers:
    """Draws of recall from draws of what is kept and of what is removed."""
    hits = gone[:, :, 1].sum(1)
    return divide(hits, hits + kept[:, :, 0].sum(1))


def _share(drawn: Sequence[Numbers], point: float, deff: float) -> Share:
    """The quantiles of draws for the lower end, for the median and for the upper end."""
    ends = [some[~np.isnan(some)] for some in drawn]
    if not all(map(len, ends)):
        return Share(np.nan, np.nan, np.nan, np.nan, np.nan)
    low, middle, high = (float(np.quantile(some, q)) for some, q in zip(ends, (LOW, MIDDLE, HIGH), strict=True))
    return Share(point, middle, low, high, deff)


def _weights(cells: Cells) -> Numbers:
    """Documents that a labelled document of each stratum stands for."""
    return divide(cells.documents.sum(1), cells.labelled.sum(1))


def _points(cells: Cells) -> tuple[float, float, float]:
    """Horvitz-Thompson: positives, precision, recall."""
    if ((cells.labelled.sum(1) == 0) & (cells.documents.sum(1) > 0)).any():
        return np.nan, np.nan, np.nan
    weight = np.nan_to_num(_weights(cells))
    hits, every = float((weight * cells.positive[:, 1]).sum()), float((weight * cells.positive.sum(1)).sum())
    gone = float((weight * cells.labelled[:, 1]).sum())
    return every, float(divide(hits, gone)), float(divide(hits, every))


def _design_effects(cells: Cells) -> tuple[float, float]:
    """The variance of precision and of recall in units of that of a simple random sample, by linearisation."""
    every, precision, recall = _points(cells)
    gone = float(cells.documents[:, 1].sum())
    # the value of a document in the linearised ratio: kept and negative, kept and positive, removed and the same two
    of_precision = np.array([0, 0, -precision, 1 - precision]) / max(gone, 1)
    of_recall = np.array([0, -recall, 0, 1 - recall]) / max(every, 1)
    return _deff(cells, of_precision), _deff(cells, of_recall)


def _deff(cells: Cells, values: Numbers) -> float:
    if np.isnan(values).any() or cells.labelled.sum() < 2:
        return np.nan
    counts = np.stack([cells.labelled - cells.positive, cells.positive], axis=-1).reshape(cells.strata, 4)
    size, number = cells.documents.sum(1).astype(np.float64), counts.sum(1)
    first, second = counts @ values, counts @ values**2
    spread = divide(second - divide(first**2, number), number - 1)
    known = number > 1
    ours = float((size**2 * divide((1 - divide(number, size)) * spread, number))[known].sum())
    weight, total, labels = np.nan_to_num(divide(size, number)), float(size.sum()), float(number.sum())
    mean, square = float((weight * first).sum()) / total, float((weight * second).sum()) / total
    theirs = total**2 * (1 - labels / total) * (square - mean**2) / labels
    return ours / theirs if theirs > 0 and ours > 0 else np.nan


def needed_most(cells: Cells, draws: int = DRAWS, seed: int = SEED) -> Numbers:
    """The share of the uncertainty of recall that comes from each stratum: label more of the highest."""
    drawn = draw_positives(cells, draws, seed)
    every = float(drawn.sum((1, 2)).mean())
    recall = float(drawn[:, :, 1].sum(1).mean()) / max(every, 1e-12)
    change = (1 - recall) * drawn[:, :, 1] - recall * drawn[:, :, 0]
    spread = change.var(0)
    return np.nan_to_num(divide(spread, spread.sum()))


# --- how many labels from where ---------------------------------------------------------------------------------------


def allocate(documents: Sequence[int], rates: Sequence[float], budget: int, least: int = N_MIN) -> list[int]:
    """Labels for each stratum: first `least` each, then in proportion to N sqrt(p (1 - p)) (Neyman 1934).

    Labels are given out one by one, so that a larger budget never takes one away from a stratum.
    """
    sizes = [int(size) for size in documents]
    weights = [size * float(np.sqrt(rate * (1 - rate))) for size, rate in zip(sizes, rates, strict=True)]
    given = [0] * len(sizes)
    for _ in range(min(budget, sum(sizes))):
        open_ = [at for at, size in enumerate(sizes) if given[at] < size]
        few = [at for at in open_ if given[at] < least]
        if few:
            at = min(few, key=lambda at: (given[at], -weights[at], at))
        else:
            at = max(open_, key=lambda at: (weights[at] / (given[at] + 0.5), -at))
        given[at] += 1
    return given


# --- other limits -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """Labels with the scores of their documents, and the scores of all documents of each stratum."""

    side: str  # above or below: where the rule removes
    scores: tuple[Numbers, ...]  # of each stratum, sorted; documents without a score are only in `unscored`
    unscored: Whole
    stratum: Whole  # of the labelled documents
    score: Numbers  # NaN: none
    positive: Numbers

    def cells(self, limit: float, which: Flags | None = None) -> Cells:
        """The cells that the rule makes with this limit, of all labels or of some."""
        chosen = np.ones(len(self.stratum), bool) if which is None else which
        gone = beyond(self.score, self.side, limit)
        return count_cells(self.sizes(limit), self.stratum[chosen], gone[chosen], self.positive[chosen])

    def sizes(self, limit: float) -> Whole:
        """Documents of each stratum that the rule keeps and removes with this limit."""
        at: Literal["left", "right"] = "right" if self.side == "above" else "left"
        places = np.array([np.searchsorted(some, limit, at) for some in self.scores], np.int64)
        lengths = np.array([len(some) for some in self.scores], np.int64)
        removed = lengths - places if self.side == "above" else places
        return np.stack([lengths - removed + self.unscored, removed], axis=1)


def beyond(score: Any, side: str | None, limit: float) -> Any:
    """Whether scores are on the side of a limit where the rule removes: an array, a column or an expression."""
    return score > limit if side == "above" else score < limit


def candidates(score: Numbers, now: float, most: int = 30) -> list[float]:
    """Limits to try: quantiles of the labelled documents' scores, with three digits, and the limit of now."""
    known = score[np.isfinite(score)]
    if not len(known):
        return [now]
    found = np.quantile(known, np.linspace(0, 1, most), method="nearest")
    whole = bool((known == np.round(known)).all())
    return sorted({now, *(float(round(value)) if whole else float(f"{value:.3g}") for value in found)})


def halves(number: ArrayLike, stratum: ArrayLike) -> Flags:
    """Half of the labelled documents of each stratum, by lot: every second one in the order of a random number."""
    lot, place = np.asarray(number), np.asarray(stratum)
    order = np.lexsort((lot, place))
    chosen = np.zeros(len(order), bool)
    chosen[order[::2]] = True
    return chosen


class Trial(NamedTuple):
    """What labels say of one limit."""

    limit: float
    found: Estimate


def try_limits(scored: Scored, limits: Sequence[float], which: Flags | None = None, draws: int = 4_000) -> list[Trial]:
    """Precision and recall with each limit."""
    return [Trial(limit, estimate(scored.cells(limit, which), draws)) for limit in limits]


def choose(trials: Sequence[Trial], precision: float | None, miss: float | None) -> Trial | None:
    """The limit whose medians meet what is asked: of those the one with the highest recall, or precision for a miss.

    A miss rate alone is met by removing everything, so of the limits that meet it the most precise is taken.
    """

    def meets(trial: Trial) -> bool:
        found = trial.found
        exact = precision is None or found.precision.median >= precision
        return exact and (miss is None or 1 - found.recall.median <= miss)

    fitting = [trial for trial in trials if trial.found.removed and meets(trial)]
    if not fitting:
        return None
    if precision is not None:
        return max(fitting, key=lambda trial: (trial.found.recall.median, trial.found.precision.median))
    return max(fitting, key=lambda trial: (trial.found.precision.median, trial.found.recall.median))
