"""Statistics of the audit: intervals, tests, adjusted ratios and what labels add, as pure functions over arrays.

Counts come as arrays of any one shape: `removed` of `documents` in a group, `other_removed` of `other_documents` in
what it is compared with. Intervals are 95 % unless said otherwise; NaN stands where there is nothing to divide by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

Z_95 = 1.959963984540054  # two-sided 95 % of the normal distribution
Z_POWER = 0.8416212335729143  # 80 % power
POWER_MEAN = -5.0  # SCIENCE 2.3: as in the Jigsaw metric, the worst groups count most
SIZE_POWER = 1.75  # see _effective
LARGEST_RATIO = 1e6  # a ratio above it is not looked for


class Interval(NamedTuple):
    """An estimate with both ends of its interval."""

    value: Numbers
    low: Numbers
    high: Numbers


def _numbers(*values: ArrayLike) -> list[Numbers]:
    return [np.asarray(value, np.float64) for value in values]


def divide(part: ArrayLike, whole: ArrayLike) -> Numbers:
    """A quotient, NaN where the divisor is 0."""
    above, below = np.broadcast_arrays(*_numbers(part, whole))
    quotient: Numbers = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return quotient


# --- two groups -------------------------------------------------------------------------------------------------------


def wilson(hits: ArrayLike, trials: ArrayLike, z: float = Z_95) -> Interval:
    """A share with its score interval (Wilson 1927), good also for few or no hits."""
    number, size = np.broadcast_arrays(*_numbers(hits, trials))
    rate = divide(number, size)
    middle = divide(number + z * z / 2, size + z * z)
    half = divide(z * np.sqrt(np.maximum(number * (1 - rate) + z * z / 4, 0)), size + z * z)
    return Interval(rate, np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1))


def wilson_ends(hits: float, trials: float) -> tuple[float, float]:
    """Both ends of the 95 % score interval of one share."""
    found = wilson(hits, trials)
    return float(found.low), float(found.high)


def newcombe(
    removed: ArrayLike, documents: ArrayLike, other_removed: ArrayLike, other_documents: ArrayLike
) -> Interval:
    """The difference of two shares with its hybrid score interval (Newcombe 1998, method 10)."""
    one, two = wilson(removed, documents), wilson(other_removed, other_documents)
    value = one.value - two.value
    below = np.sqrt((one.value - one.low) ** 2 + (two.high - two.value) ** 2)
    above = np.sqrt((one.high - one.value) ** 2 + (two.value - two.low) ** 2)
    return Interval(value, value - below, value + above)


def katz(removed: ArrayLike, documents: ArrayLike, other_removed: ArrayLike, other_documents: ArrayLike) -> Interval:
    """The ratio of two shares with its log interval (Katz 1978); half a document is added where either count is 0."""
    r1, n1, r0, n0 = np.broadcast_arrays(*_numbers(removed, documents, other_removed, other_documents))
    zero = np.where((r1 == 0) | (r0 == 0), 0.5, 0.0)
    a, n, b, m = r1 + zero, n1 + zero, r0 + zero, n0 + zero
    spread = Z_95 * np.sqrt(np.maximum(divide(1, a) - divide(1, n) + divide(1, b) - divide(1, m), 0))
    ratio = divide(divide(r1, n1), divide(r0, n0))
    middle = divide(divide(a, n), divide(b, m))
    return Interval(ratio, middle * np.exp(-spread), middle * np.exp(spread))


def hybrid_ratio(
    removed: ArrayLike, documents: ArrayLike, other_removed: ArrayLike, other_documents: ArrayLike
) -> Interval:
    """The ratio of two shares with an interval made of their Wilson intervals (Donner and Zou 2012, MOVER-R).

    For ratios of keep rates near 1, where the log interval holds the truth too rarely (86 % to 93 % with 2 to 10
    documents removed: benchmarks/audit.py).
    """
    one, two = wilson(removed, documents), wilson(other_removed, other_documents)
    product = one.value * two.value

    def end(own: Numbers, other: Numbers, side: float) -> Numbers:
        square = product**2 - own * (2 * one.value - own) * other * (2 * two.value - other)
        return divide(product + side * np.sqrt(np.maximum(square, 0)), other * (2 * two.value - other))

    low, high = end(one.low, two.high, -1.0), end(one.high, two.low, 1.0)
    return Interval(divide(one.value, two.value), np.maximum(low, 0), np.where(high >= 0, high, np.inf))


def score_test(
    removed: ArrayLike, documents: ArrayLike, other_removed: ArrayLike, other_documents: ArrayLike
) -> Numbers:
    """The two-sided p of equal shares (score test: chi-square without correction); 1 where nothing varies."""
    from scipy.special import ndtr

    r1, n1, r0, n0 = _numbers(removed, documents, other_removed, other_documents)
    pooled = divide(r1 + r0, n1 + n0)
    error = np.sqrt(pooled * (1 - pooled) * (divide(1, n1) + divide(1, n0)))
    z = divide(divide(r1, n1) - divide(r0, n0), error)
    p: Numbers = 2 * ndtr(-np.abs(z))
    return np.where((error == 0) & np.isnan(p), 1.0, p)


def benjamini_hochberg(p: ArrayLike) -> Numbers:
    """The q of each p (Benjamini and Hochberg 1995): the false discovery rate at which it is found; NaN stays NaN."""
    (given,) = _numbers(p)
    flat = given.ravel()
    known = np.flatnonzero(~np.isnan(flat))
    order = known[np.argsort(flat[known], kind="stable")]
    steps = flat[order] * len(order) / np.arange(1, len(order) + 1)
    q = np.full(flat.shape, np.nan)
    q[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1)
    return q.reshape(given.shape)


def mantel_haenszel(
    removed: ArrayLike, documents: ArrayLike, other_removed: ArrayLike, other_documents: ArrayLike
) -> Interval:
    """The ratio of two shares within strata (the last axis), pooled, with the interval of Greenland and Robins (1985).

    A stratum in which either side has no document says nothing and counts for nothing.
    """
    a, n1, b, n0 = np.broadcast_arrays(*_numbers(removed, documents, other_removed, other_documents))
    both = (n1 > 0) & (n0 > 0)
    size = np.where(both, n1 + n0, 1.0)
    above, below = (a * n0 / size).sum(-1, where=both), (b * n1 / size).sum(-1, where=both)
    ratio = divide(above, below)
    terms = (n1 * n0 * (a + b) - a * b * size) / size**2
    variance = divide(terms.sum(-1, where=both), above * below)
    spread = Z_95 * np.sqrt(np.maximum(variance, 0))
    return Interval(ratio, ratio * np.exp(-spread), ratio * np.exp(spread))


def simpson(
    crude: ArrayLike, crude_low: ArrayLike, crude_high: ArrayLike, adjusted: Interval, least: float = 1.1
) -> NDArray[np.bool_]:
    """Whether strata change the picture: the ratios differ by more than `least` times, or they say the opposite.

    They say the opposite when they lie on either side of 1 and at least one interval does not contain 1.
    """
    one, low, high = _numbers(crude, crude_low, crude_high)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(np.log(one) - np.log(adjusted.value)) > np.log(least)
        opposite = (one - 1) * (adjusted.value - 1) < 0
    certain = (low > 1) | (high < 1) | (adjusted.low > 1) | (adjusted.high < 1)
    finite = np.isfinite(one) & np.isfinite(adjusted.value)
    changed: NDArray[np.bool_] = (apart & finite) | (opposite & certain)
    return changed


# --- what a sample can show -------------------------------------------------------------------------------------------


def documents_needed(ratio: ArrayLike, base: ArrayLike) -> Numbers:
    """Documents in each of two equal groups to find a removal ratio with 80 % power at the 5 % level."""
    times, low = _numbers(ratio, base)
    high = low * times
    middle = (low + high) / 2
    null = Z_95 * np.sqrt(2 * middle * (1 - middle))
    other = Z_POWER * np.sqrt(np.maximum(low * (1 - low) + high * (1 - high), 0))
    return np.where(high <= 1, np.ceil(divide((null + other) ** 2, (high - low) ** 2)), np.nan)


def detectable_ratio(documents: ArrayLike, other_documents: ArrayLike, base: ArrayLike) -> Numbers:
    """The smallest removal ratio above 1 that these sizes find with 80 % power at the 5 % level; NaN: there is none.

    `base` is the removal rate of the others; no ratio is above 1/base. Normal approximation of the score test, solved
    by bisection.
    """
    n1, n0, low = np.broadcast_arrays(*_numbers(documents, other_documents, base))
    most = np.minimum(divide(1, low), LARGEST_RATIO)

    def found(ratio: Numbers) -> NDArray[np.bool_]:
        high = low * ratio
        middle = divide(high * n1 + low * n0, n1 + n0)
        null = np.sqrt(np.maximum(middle * (1 - middle) * (divide(1, n1) + divide(1, n0)), 0))
        other = np.sqrt(np.maximum(divide(high * (1 - high), n1) + divide(low * (1 - low), n0), 0))
        reached: NDArray[np.bool_] = high - low >= Z_95 * null + Z_POWER * other
        return reached

    left, right = np.ones(most.shape), most
    for _ in range(60):
        middle = (left + right) / 2
        hit = found(middle)
        left, right = np.where(hit, left, middle), np.where(hit, middle, right)
    return np.where(found(most) & (low > 0), right, np.nan)


# --- documents that come in clusters ----------------------------------------------------------------------------------

_POISSON = np.cumsum(np.exp(-1) / np.cumprod([1, *range(1, 20)]))  # P(Poisson(1) <= k)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number hashed: the finalizer of splitmix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        value = values + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def poisson_weights(keys: NDArray[np.uint64], replicates: Sequence[int], seed: int = 0) -> Numbers:
    """How often each cluster (rows) is drawn in each replicate (columns): Poisson(1), by hash of key and replicate.

    The same keys give the same weights in any order and on any machine.
    """
    with np.errstate(over="ignore"):
        salts = mix(mix(np.asarray(replicates, np.uint64)) ^ np.uint64(seed))
    bits = mix(keys[:, None] ^ salts[None, :]) >> np.uint64(11)
    drawn = np.searchsorted(_POISSON, bits.astype(np.float64) / 2.0**53, side="right")
    return drawn.astype(np.float64)


class ClusterErrors(NamedTuple):
    """Standard errors by cluster bootstrap, groups by steps and all steps together, and the clusters they rest on."""

    rate: Numbers
    log_removal: Numbers
    log_keep: Numbers
    difference: Numbers
    clusters: Numbers  # effective: as many equally large ones would weigh as much


def cluster_errors(
    keys: NDArray[np.uint64],
    cells: Any,
    everyone: Any,
    shape: tuple[int, int],
    *,
    against: int | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> ClusterErrors:
    """Standard errors of rates, ratios and differences when whole clusters are drawn, not documents.

    `cells` is sparse, clusters by groups * (steps + 1): documents by the step that removed them, the last for kept
    ones; `everyone` is clusters by steps + 1 and counts each document once (or as wide as `cells`, where each group has
    an everyone of its own). Groups are compared with everyone else, or with the group `against`. Poisson bootstrap
    (Chamandy et al. 2012): each cluster weighs Poisson(1). The spread of the logs is taken, as ratios are skewed.
    """
    sums, squares = np.zeros((2, 4, *shape))
    plain = np.stack(_log_figures(*_sides(cells.sum(0), everyone.sum(0), shape, against)))
    for first in range(0, replicates, 50):
        weights = poisson_weights(keys, range(first, min(first + 50, replicates)), seed)
        sides = _sides((cells.T @ weights).T, (everyone.T @ weights).T, shape, against)
        change = np.stack(_log_figures(*sides)) - plain[:, None, 0]
        change = np.where(np.isfinite(change), change, 0.0)
        sums += change.sum(1)
        squares += (change**2).sum(1)
    variance = (squares - sums**2 / replicates) / (replicates - 1)
    rate, removal, keep, difference = np.sqrt(np.maximum(variance, 0))
    return ClusterErrors(rate, removal, keep, difference, _effective(cells, everyone, shape, against))


def _sides(
    cells: Any, everyone: Any, shape: tuple[int, int], against: int | None
) -> tuple[tuple[Numbers, Numbers], tuple[Numbers, Numbers]]:
    """Removed and at risk, of the groups and of what each is compared with: replicates x groups x steps + 1."""
    own = np.asarray(cells, np.float64).reshape(-1, *shape)
    whole = np.asarray(everyone, np.float64).reshape(len(own), -1, shape[1])
    other = whole - own if against is None else np.broadcast_to(own[:, against : against + 1], own.shape)
    return by_step(own), by_step(other)


def by_step(counts: ArrayLike) -> tuple[Numbers, Numbers]:
    """Documents removed at each step and those that reached it, the last entry for all steps together.

    `counts` has on its last axis the documents that each step removed, then those that were kept.
    """
    (given,) = _numbers(counts)
    reached = np.cumsum(given[..., ::-1], axis=-1)[..., ::-1]
    whole = reached[..., :1]
    removed = np.concatenate([given[..., :-1], whole - given[..., -1:]], axis=-1)
    return removed, np.concatenate([reached[..., :-1], whole], axis=-1)


def _log_figures(own: tuple[Numbers, Numbers], other: tuple[Numbers, Numbers]) -> list[Numbers]:
    (r1, n1), (r0, n0) = own, other
    p1, p0 = divide(r1, n1), divide(r0, n0)
    removal = _safe_log(r1, n1) - _safe_log(r0, n0)
    keep = _safe_log(n1 - r1, n1) - _safe_log(n0 - r0, n0)
    return [p1, removal, keep, p1 - p0]


def _safe_log(part: Numbers, whole: Numbers) -> Numbers:
    return np.log(divide(np.where(part > 0, part, 0.5), np.where(part > 0, whole, whole + 0.5)))


def _effective(cells: Any, everyone: Any, shape: tuple[int, int], against: int | None) -> Numbers:
    """The number of equally large clusters that would weigh as much: (sum n^k)^2 / sum n^2k of those at risk.

    Of the group or of what it is compared with, whichever are fewer. k is 1 (Kish) where the documents of a cluster
    have nothing in common, 2 where they are all alike; between them lies what holds the truth often enough in the
    simulations of benchmarks/audit.py.
    """
    from scipy.sparse import csr_matrix, identity, kron

    below = np.tri(shape[1])
    own = (csr_matrix(cells) @ kron(identity(shape[0]), below, format="csr")).tocoo()
    whole = np.asarray(everyone.toarray().reshape(everyone.shape[0], -1, shape[1]) @ below, np.float64)
    group, step = np.divmod(own.col, shape[1])
    group = np.minimum(group, whole.shape[1] - 1)

    def sums(power: float) -> tuple[Numbers, Numbers]:
        """Sums over clusters, of the groups and of others; these differ from everyone only in a group's clusters."""
        mine: Numbers = np.bincount(own.col, own.data**power, shape[0] * shape[1]).astype(np.float64).reshape(shape)
        total = whole[own.row, group, step]
        change = np.maximum(total - own.data, 0) ** power - total**power
        others: Numbers = np.bincount(own.col, change, shape[0] * shape[1]).reshape(shape) + (whole**power).sum(0)
        return mine, others if against is None else np.broadcast_to(mine[against], shape)

    (first, first_other), (second, second_other) = sums(SIZE_POWER), sums(2 * SIZE_POWER)
    effective = np.fmin(divide(first**2, second), divide(first_other**2, np.maximum(second_other, 0)))
    return np.concatenate([effective[:, :-1], effective[:, :1]], axis=1)


class Clustered(NamedTuple):
    """Intervals and p of a comparison whose documents come in clusters."""

    rate: Interval
    removal: Interval
    keep: Interval
    difference: Interval
    p: Numbers


def clustered(
    removed: ArrayLike,
    documents: ArrayLike,
    other_removed: ArrayLike,
    other_documents: ArrayLike,
    errors: ClusterErrors,
) -> Clustered:
    """Intervals from standard errors by cluster bootstrap, with Student's t for the number of clusters.

    Ratios are taken on the log scale, the rate on the logit scale. p is of equal shares.
    """
    r1, n1, r0, n0 = _numbers(removed, documents, other_removed, other_documents)
    rate, other = divide(r1, n1), divide(r0, n0)
    half = _quantile(errors.clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        logit = np.log(rate / (1 - rate))
        wide = half * errors.rate / (rate * (1 - rate))
        around = Interval(rate, 1 / (1 + np.exp(wide - logit)), 1 / (1 + np.exp(-wide - logit)))
    removal, keep = divide(rate, other), divide(1 - rate, 1 - other)
    above, below = half * errors.log_removal, half * errors.log_keep
    gap = rate - other
    return Clustered(
        around,
        Interval(removal, removal * np.exp(-above), removal * np.exp(above)),
        Interval(keep, keep * np.exp(-below), keep * np.exp(below)),
        Interval(gap, gap - half * errors.difference, gap + half * errors.difference),
        _t_test(gap, errors.difference, errors.clusters),
    )


def _quantile(clusters: Numbers) -> Numbers:
    """What to multiply a standard error by: Student's t, and a little for drawing around the mean of the clusters."""
    from scipy.special import stdtrit

    quantile: Numbers = stdtrit(np.maximum(clusters - 1, 1), 0.975) * _few(clusters)
    return quantile


def _t_test(value: Numbers, error: Numbers, clusters: Numbers) -> Numbers:
    from scipy.special import stdtr

    p: Numbers = 2 * stdtr(np.maximum(clusters - 1, 1), -np.abs(divide(value, error * _few(clusters))))
    return np.where((value == 0) & np.isnan(p), 1.0, p)


def _few(clusters: Numbers) -> Numbers:
    """The root of m/(m - 1): the bootstrap draws around the mean of m clusters, not around the truth."""
    root: Numbers = np.sqrt(np.maximum(clusters, 2) / np.maximum(clusters - 1, 1))
    return root


# --- words ------------------------------------------------------------------------------------------------------------


def log_odds(first: ArrayLike, second: ArrayLike, prior: ArrayLike) -> Numbers:
    """The z of each word for the first of two texts: log-odds with an informative Dirichlet prior (Monroe et al. 2009).

    `first` and `second` are counts of the same words, `prior` the words' pseudo-counts. Above 0: the first's word.
    """
    one, two, extra = _numbers(first, second, prior)
    n1, n2, a = one.sum(), two.sum(), extra.sum()
    odds1 = np.log(one + extra) - np.log(n1 + a - one - extra)
    odds2 = np.log(two + extra) - np.log(n2 + a - two - extra)
    z: Numbers = (odds1 - odds2) / np.sqrt(1 / (one + extra) + 1 / (two + extra))
    return z


# --- scores and labels ------------------------------------------------------------------------------------------------


def auc(positive: ArrayLike, negative: ArrayLike) -> Interval:
    """The chance that a positive scores above a negative, ties half, with DeLong's interval; NaN without both.

    DeLong et al. 1988.
    """
    from scipy.stats import rankdata

    high, low = _numbers(positive, negative)
    m, n = len(high), len(low)
    if m == 0 or n == 0:
        return Interval(*_numbers(np.nan, np.nan, np.nan))
    ranks = rankdata(np.concatenate([high, low]))
    above = (ranks[:m] - rankdata(high)) / n  # the share of negatives below each positive
    below = 1 - (ranks[m:] - rankdata(low)) / m
    value = above.mean()
    spread = Z_95 * np.sqrt(_variance(above) / m + _variance(below) / n)
    return Interval(*_numbers(value, max(value - spread, 0), min(value + spread, 1)))


def _variance(values: Numbers) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else np.nan


def group_aucs(score: ArrayLike, positive: ArrayLike, inside: ArrayLike) -> dict[str, Interval]:
    """The areas under the curve that show how a score treats a group (Borkan et al. 2019).

    `subgroup`: inside the group. `bpsn`: the group's negatives against positives outside; low means that its harmless
    texts score above harmful ones. `bnsp`: the group's positives against negatives outside.
    """
    values = np.asarray(score, np.float64)
    yes, own = np.asarray(positive, bool), np.asarray(inside, bool)
    return {
        "subgroup": auc(values[own & yes], values[own & ~yes]),
        "bpsn": auc(values[~own & yes], values[own & ~yes]),
        "bnsp": auc(values[own & yes], values[~own & ~yes]),
    }


def power_mean(values: ArrayLike, power: float = POWER_MEAN) -> float:
    """The generalised mean of the values that are numbers; a low power leans to the lowest."""
    (given,) = _numbers(values)
    known = given[~np.isnan(given)]
    if not len(known):
        return float("nan")
    if (known <= 0).any() and power < 0:
        return 0.0
    return float(np.mean(known**power) ** (1 / power))


def bias_metric(overall: float, by_group: Mapping[str, ArrayLike]) -> float:
    """The final metric of the Jigsaw challenge: a quarter the overall area, three quarters the groups' power means."""
    means = [power_mean(values) for values in by_group.values()]
    return 0.25 * overall + 0.75 * float(np.mean(means))


def rate_differences(overall: float, by_group: ArrayLike) -> float:
    """The sum over groups of the distance from the overall rate: FPED of false positive rates, FNED of false negative
    ones (Dixon et al. 2018)."""
    return float(np.nansum(np.abs(np.asarray(by_group, np.float64) - overall)))


def calibration_error(score: ArrayLike, positive: ArrayLike, bins: int = 10) -> float:
    """The mean distance of a probability from the share that is positive, over ten equal bins (ECE); NaN for none."""
    (values,) = _numbers(score)
    yes = np.asarray(positive, np.float64)
    if not len(values):
        return float("nan")
    place = np.clip((values * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(place, values, bins) - np.bincount(place, yes, bins)
    return float(np.abs(gaps).sum() / len(values))


def mann_whitney_gap(rank_sum: ArrayLike, documents: ArrayLike, other_documents: ArrayLike) -> Numbers:
    """How far a group's scores lie above the others': P(above) + P(equal)/2 - 1/2, from -1/2 to 1/2.

    The average equality gap of Borkan et al. 2019, above 0 where the group scores higher. `rank_sum` is the sum of the
    group's mean ranks among all scores, counted from 1.
    """
    ranks, n1, n0 = _numbers(rank_sum, documents, other_documents)
    return divide(ranks - n1 * (n1 + 1) / 2, n1 * n0) - 0.5
