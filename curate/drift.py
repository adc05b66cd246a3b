"""How far two distributions are apart, and whether that is more than chance: shares of groups, and numbers.

Numbers are cut at deciles of the reference, which are frozen: a later comparison can use the same edges. An alert needs
three things at once: an effect (total variation), more than chance (of all signals together), and enough documents. A
test alone would alert on every difference between large corpora, an effect alone on the noise of small ones.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.allocation import jensen_shannon, kullback_leibler, total_variation

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Edge = tuple[float, bool]  # a number, and whether it belongs to the bin below it

LEVELS = ("none", "info", "warn", "fail")
LIMITS = {"info": 0.01, "warn": 0.05, "fail": 0.10}  # of total variation: the share of documents that changed groups
LEAST = 1000  # documents on either side below which nothing is alerted
CHANCE = 0.005  # of one alert or more among all signals of a comparison, when nothing has changed
EXPECTED = 5  # documents of a category on either side, below which chi-square is no guide: it joins the others
MOST = 200  # categories that are compared; the rarest others are counted together
BINS = 10
QUANTILES = 1000  # that stand for a distribution in the Wasserstein distance
DRAWS = 1000  # of the noise floor of the total variation
TOP = 3
RARE = "(rare)"
TOO_FEW, BY_CHANCE = f"fewer than {LEAST:,} documents", "chance makes it as large"


@dataclass(frozen=True)
class Drift:
    """How one signal differs between two corpora, with what chance alone makes of corpora of these sizes.

    `kind` is `share` or `number`. `noise` and `psi_noise` are exceeded by one in a hundred pairs of samples of one
    population. `psi` is in nats, with half a document added to each category (SCIENCE: 0.1 and 0.25 are the habit of
    credit scoring); `jensen_shannon` is in bits. `wasserstein` is in standard deviations of the reference. `top` has
    the categories with the largest terms of the PSI. `edges` are the frozen cuts of a number.
    """

    signal: str
    kind: str
    before: int
    now: int
    total_variation: float
    noise: float
    jensen_shannon: float
    psi: float
    psi_noise: float
    cramers_v: float
    wasserstein: float | None
    chance: float
    level: str = "none"
    reason: str = ""
    top: tuple[dict[str, Any], ...] = ()
    edges: tuple[Edge, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The drift as plain values for JSON."""
        return asdict(self)


def share_drift(signal: str, before: Mapping[str, int], now: Mapping[str, int]) -> Drift | None:
    """Compare how many documents each category has; None where one side has no document.

    Categories of which fewer than 5 documents are expected on a side count together.
    """
    names = list(dict.fromkeys((*before, *now)))
    counts = np.array([[side.get(name, 0) for name in names] for side in (before, now)], np.int64)
    if not names or (counts.sum(axis=1) == 0).any():
        return None
    names, counts = _pool(names, counts)
    return _measure(signal, "share", names, counts, None, ())


def number_drift(signal: str, before: Floats, now: Floats, edges: Sequence[Edge] = ()) -> Drift | None:
    """Compare two samples of a number, in the bins of `edges` or at deciles of `before`; None where one is empty.

    Numbers must be finite.
    """
    if len(before) == 0 or len(now) == 0:
        return None
    before, now = np.sort(before), np.sort(now)
    cuts = tuple(edges) or frozen_edges(before)
    counts = np.stack([bin_counts(side, cuts) for side in (before, now)])
    names, counts = _pool(_bin_names(cuts), counts)
    return _measure(signal, "number", names, counts, _wasserstein(before, now), cuts)


def frozen_edges(ordered: Floats) -> tuple[Edge, ...]:
    """Cuts at the deciles of sorted numbers; a number that fills a decile or more gets a bin of its own."""
    deciles = ordered[[min(len(ordered) - 1, len(ordered) * part // BINS) for part in range(1, BINS)]]
    values, times = np.unique(deciles, return_counts=True)
    cuts: list[Edge] = []
    for value, count in zip(values.tolist(), times.tolist(), strict=True):
        cuts += [(value, False), (value, True)] if count > 1 else [(value, True)]
    return tuple(cuts)


def bin_counts(ordered: Floats, cuts: Sequence[Edge]) -> Counts:
    """How many of some sorted numbers lie between each cut and the next."""
    places = [int(np.searchsorted(ordered, value, "right" if below else "left")) for value, below in cuts]
    ends = np.array([*places, len(ordered)], np.int64)
    return ends - np.array([0, *places], np.int64)


def _bin_names(cuts: Sequence[Edge]) -> list[str]:
    """What the bins are called: up to 3, 3 to 5, above 5; a bin of one number by that number."""
    first, last = cuts[0], cuts[-1]
    names = [f"{'up to' if first[1] else 'below'} {first[0]:.6g}"]
    for (low, _), (high, _) in pairwise(cuts):
        names.append(f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}")
    return [*names, f"{'above' if last[1] else 'from'} {last[0]:.6g}"]


def judge(drifts: Sequence[Drift]) -> list[Drift]:
    """The drifts of one comparison with their levels: effect, chance and size must agree.

    Chance is that of one false alert or more among all signals (Benjamini and Hochberg 1995; with nothing changed
    anywhere, their procedure bounds exactly that).
    """
    order = sorted(range(len(drifts)), key=lambda place: drifts[place].chance)
    beyond: set[int] = set()
    for rank in range(len(order), 0, -1):
        if drifts[order[rank - 1]].chance <= CHANCE * rank / len(order):
            beyond = set(order[:rank])
            break
    return [_level(drift, place in beyond) for place, drift in enumerate(drifts)]


def _level(drift: Drift, beyond: bool) -> Drift:
    effect = max((level for level in LIMITS if drift.total_variation >= LIMITS[level]), key=LEVELS.index, default=None)
    if effect is None:
        return replace(drift, level="none", reason="small")
    if min(drift.before, drift.now) < LEAST:
        return replace(drift, level="none", reason=TOO_FEW)
    if not beyond or drift.total_variation <= drift.noise:
        return replace(drift, level="none", reason=BY_CHANCE)
    return replace(drift, level=effect, reason="")


# --- measures ---------------------------------------------------------------------------------------------------------


def _pool(names: Sequence[str], counts: Counts) -> tuple[list[str], Counts]:
    """Categories that are frequent enough to compare, and the others together."""
    pooled, sizes = counts.sum(axis=0), counts.sum(axis=1)
    frequent = pooled * (sizes.min() / sizes.sum()) >= EXPECTED
    if frequent.sum() > MOST:
        frequent &= pooled >= np.sort(pooled)[-MOST]
    if frequent.all():
        return list(names), counts
    rest = counts[:, ~frequent].sum(axis=1, keepdims=True)
    return [*(name for name, keep in zip(names, frequent, strict=True) if keep), RARE], np.hstack(
        [counts[:, frequent], rest]
    )


def _measure(
    signal: str, kind: str, names: Sequence[str], counts: Counts, distance: float | None, edges: tuple[Edge, ...]
) -> Drift:
    from scipy.special import chdtrc, chdtri

    used = counts.sum(axis=0) > 0
    names, counts = [name for name, keep in zip(names, used, strict=True) if keep], counts[:, used]
    n, m = (int(size) for size in counts.sum(axis=1))
    before, now = counts[0] / n, counts[1] / m
    smooth = (counts + 0.5) / (counts.sum(axis=1, keepdims=True) + counts.shape[1] / 2)
    terms = (smooth[0] - smooth[1]) * np.log(smooth[0] / smooth[1])
    pooled = counts.sum(axis=0) / (n + m)
    square = float((((counts - np.outer([n, m], pooled)) ** 2) / np.outer([n, m], pooled)).sum())
    free = len(names) - 1
    shown = [place for place in np.argsort(-terms, kind="stable")[:TOP].tolist() if terms[place] > 0]
    return Drift(
        signal=signal,
        kind=kind,
        before=n,
        now=m,
        total_variation=total_variation(before, now),
        noise=_noise(pooled, n, m),
        jensen_shannon=jensen_shannon(before, now),
        psi=population_stability(smooth[0], smooth[1]),
        psi_noise=float(chdtri(free, 0.01)) * (1 / n + 1 / m) if free else 0.0,
        cramers_v=cramers_v(square, n + m, len(names)),
        wasserstein=distance,
        chance=float(chdtrc(free, square)) if free else 1.0,
        top=tuple(
            {"category": names[at], "before": float(before[at]), "now": float(now[at]), "psi": float(terms[at])}
            for at in shown
        ),
        edges=edges,
    )


def population_stability(before: Floats, now: Floats) -> float:
    """The population stability index of two sets of positive shares: KL both ways, in nats."""
    there, back = kullback_leibler(before, now), kullback_leibler(now, before)
    return math.inf if there is None or back is None else there + back


def cramers_v(square: float, documents: int, categories: int) -> float:
    """Cramér's V of a table of two corpora by categories, without its bias upwards (Bergsma 2013)."""
    if categories < 2 or documents < 2:
        return 0.0
    effect = max(0.0, square / documents - (categories - 1) / (documents - 1))
    sides, wide = (size - (size - 1) ** 2 / (documents - 1) for size in (2, categories))
    least = min(sides, wide) - 1
    return math.sqrt(effect / least) if least > 0 else 0.0


def _noise(shares: Floats, n: int, m: int) -> float:
    """What the total variation of two samples of one population exceeds once in a hundred times."""
    normal = _normals(len(shares))
    roots = np.sqrt(shares)
    drawn = roots * normal - np.outer(normal @ roots, shares)  # the covariance of a multinomial sample
    return float(np.quantile(np.abs(drawn).sum(axis=1), 0.99) / 2 * math.sqrt(1 / n + 1 / m))


@functools.lru_cache(maxsize=8)
def _normals(categories: int) -> Floats:
    return np.random.default_rng(categories).standard_normal((DRAWS, categories))


def _wasserstein(before: Floats, now: Floats) -> float | None:
    """The Wasserstein-1 distance of sorted numbers in standard deviations of the first; None where it has none."""
    at = (np.arange(QUANTILES) + 0.5) / QUANTILES
    spread = float(before.std())
    places = [side[(at * len(side)).astype(np.int64)] for side in (before, now)]
    return float(np.abs(places[0] - places[1]).mean()) / spread if spread > 0 else None
