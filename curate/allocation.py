"""How much of each group: shares asked for, turned into amounts that bounds and the supply allow.

Everything here is about one set of groups that do not overlap; several sets at once are `curate.raking`. Amounts are in
whatever unit is balanced: documents, bytes, words or tokens. Sources: temperature, mT5 (arXiv 2010.11934); UniMax
(arXiv 2304.09151), whose water-filling is `fill` with equal wishes.
"""

from __future__ import annotations

import bisect
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# How fast repeated tokens lose worth: R* of Muennighoff et al. 2023 (arXiv 2305.16264), equation 5.
HALF_LIFE = 15.4


def temperature(amounts: Floats, alpha: float) -> Floats:
    """Shares in proportion to amount ** alpha: 1 leaves them as they are, 0 makes them equal (0 where nothing is)."""
    powers = np.where(amounts > 0, np.power(np.maximum(amounts, 1e-300), alpha), 0.0)
    total = powers.sum()
    return powers / total if total > 0 else powers


def fill(wishes: Floats, least: Floats, most: Floats, total: float) -> Floats:
    """Amounts in proportion to the wishes, cut to least and most, that add up to the total; or come nearest to it.

    Finds the level with sum(clip(level * wish, least, most)) = total between two corners of that sum, which rises with
    the level. Least must not be above most. A total below sum(least) gives `least`, one above what can be had the most
    that can be had; a group without a wish stays at its least.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        corners = np.concatenate([[0.0], least / wishes, most / wishes])
    corners = np.unique(corners[np.isfinite(corners) & (corners >= 0)])
    place = bisect.bisect_left(corners, total, key=lambda level: float(_at(wishes, least, most, level).sum()))
    low = corners[max(place - 1, 0)]
    below = float(_at(wishes, least, most, low).sum())
    middle = (low + corners[place]) / 2 if place < len(corners) else 2 * low + 1
    rise = float(wishes[(least < middle * wishes) & (middle * wishes < most)].sum())  # between the corners it is a line
    level = low + (total - below) / rise if place and rise > 0 else low
    return _at(wishes, least, most, min(level, corners[place]) if place < len(corners) else level)


def _at(wishes: Floats, least: Floats, most: Floats, level: float) -> Floats:
    return np.clip(level * wishes, least, most)


def unimax(amounts: Floats, budget: float, epochs: float) -> Floats:
    """Amounts as equal as the supply allows, each group repeated at most `epochs` times (UniMax, algorithm 1)."""
    return fill((amounts > 0).astype(float), np.zeros(len(amounts)), epochs * amounts, budget)


def effective(amount: float, epochs: float) -> float:
    """What an amount that is repeated is worth in unique data, where the first pass over it is worth all of it.

    D' = U + U R* (1 - exp(-R / R*)) with U the unique amount and R = epochs - 1 (Muennighoff et al. 2023, equation 5).
    """
    if epochs <= 1:
        return amount
    unique = amount / epochs
    return unique * (1 + HALF_LIFE * (1 - math.exp(-(epochs - 1) / HALF_LIFE)))


# --- how far two sets of shares are apart -----------------------------------------------------------------------------


def entropy(shares: Floats) -> float:
    """Shannon entropy in bits."""
    some = shares[shares > 0]
    return float(-(some * np.log2(some)).sum()) + 0.0


def evenness(shares: Floats) -> float | None:
    """Entropy as a part of the most that so many groups can have; None for a single group."""
    return entropy(shares) / math.log2(len(shares)) if len(shares) > 1 else None


def total_variation(one: Floats, other: Floats) -> float:
    """Half the sum of differences: the share that would have to change groups."""
    return float(np.abs(one - other).sum() / 2)


def jensen_shannon(one: Floats, other: Floats) -> float:
    """Jensen-Shannon divergence in bits, 0 to 1."""
    middle = (one + other) / 2
    return max(0.0, entropy(middle) - (entropy(one) + entropy(other)) / 2)


def kullback_leibler(one: Floats, other: Floats) -> float | None:
    """KL(one || other) in nats; None where `one` has something that `other` has not."""
    some = one > 0
    if (other[some] == 0).any():
        return None
    return float((one[some] * np.log(one[some] / other[some])).sum())


def kish(counts: Floats, weights: Floats) -> float:
    """Kish's effective number: what `counts` documents with these weights are worth in equally weighted ones."""
    squares = float((counts * weights**2).sum())
    return float((counts * weights).sum()) ** 2 / squares if squares else 0.0


def distances(before: Floats, target: Floats, after: Floats) -> dict[str, Any]:
    """The distances between three sets of shares, by name."""
    return {
        "total variation, before to target": total_variation(before, target),
        "total variation, after to target": total_variation(after, target),
        "Jensen-Shannon, before to target (bits)": jensen_shannon(before, target),
        "Jensen-Shannon, after to target (bits)": jensen_shannon(after, target),
        "evenness before (entropy, 0 to 1)": evenness(before),
        "evenness after (entropy, 0 to 1)": evenness(after),
    }
