"""How far raters agree: Krippendorff's alpha, agreement in and across groups of raters, shares of equal pairs.

Ratings come in long form, one entry per rating: `items` says what was rated, `values` what was said. A missing rating
is an entry that is not there, or NaN. NaN comes back where there is nothing to compare, or where nothing varies.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.stats import Numbers, divide

Level = Literal["nominal", "ordinal", "interval"]
Places = NDArray[np.int64]


class Ratings(NamedTuple):
    """Ratings by number: which item, and which of the sorted different values."""

    item: Places
    value: Places
    known: NDArray[np.bool_]  # which entries they are of: those that are not NaN
    values: NDArray[Any]
    items: int


class GroupAgreement(NamedTuple):
    """Agreement inside each group of raters, with all others, and their quotient; groups are sorted."""

    groups: NDArray[Any]
    ratings: Places
    inside: Numbers
    across: Numbers
    association: Numbers


def alpha(items: ArrayLike, values: ArrayLike, level: Level = "nominal") -> float:
    """Krippendorff's alpha: 1 is perfect agreement, 0 what chance alone gives (Krippendorff 2011).

    Items with one rating count for nothing. The level says how far apart two values are: `nominal` equal or not,
    `ordinal` by how many ratings lie between them, `interval` by the square of their difference.
    """
    ratings = numbered(items, values)
    return _alpha(_counts(ratings, np.ones(len(ratings.item), np.bool_)), ratings.values, level)


def coincidences(items: ArrayLike, values: ArrayLike) -> tuple[NDArray[Any], Numbers]:
    """The different values, and how often each pair of them was given to one item, an item counting as its ratings."""
    ratings = numbered(items, values)
    return ratings.values, _coincidences(_counts(ratings, np.ones(len(ratings.item), np.bool_)))


def cross_alpha(items: ArrayLike, values: ArrayLike, inside: ArrayLike, level: Level = "nominal") -> float:
    """The agreement of two groups of raters with each other, beyond chance (Wong et al. 2021, ACL, xRR).

    `inside` says of each rating whether it is by the first group. Only items that both groups rated are looked at, each
    weighs as many ratings as it has.
    """
    ratings = numbered(items, values)
    own = np.asarray(inside, bool)[ratings.known]
    return _cross(_counts(ratings, own), _counts(ratings, ~own), ratings.values, level)


def group_agreement(items: ArrayLike, values: ArrayLike, groups: ArrayLike, level: Level = "nominal") -> GroupAgreement:
    """Agreement inside and across groups of raters; above 1 the quotient says that a group has a view of its own.

    The group association index of Prabhakaran et al. 2024 (GRASP): alpha inside the group by its agreement with all
    other raters. NaN where the latter is not above 0, as the quotient then says nothing.
    """
    ratings = numbered(items, values)
    names, group = np.unique(np.asarray(groups)[ratings.known], return_inverse=True)
    inside, across = np.full((2, len(names)), np.nan)
    for place in range(len(names)):
        own, other = _counts(ratings, group == place), _counts(ratings, group != place)
        inside[place] = _alpha(own, ratings.values, level)
        across[place] = _cross(own, other, ratings.values, level)
    association = divide(inside, np.where(across > 0, across, np.nan))
    return GroupAgreement(names, np.bincount(group, minlength=len(names)), inside, across, association)


def percent_agreement(items: ArrayLike, values: ArrayLike) -> float:
    """The share of pairs of ratings of one item that are equal, averaged over items with at least two ratings."""
    ratings = numbered(items, values)
    counts = _counts(ratings, np.ones(len(ratings.item), np.bool_))
    size = np.asarray(counts.sum(1)).ravel()
    equal = np.asarray(counts.multiply(counts).sum(1)).ravel() - size
    several = size > 1
    return float((equal[several] / (size * (size - 1))[several]).mean()) if several.any() else float("nan")


def rater_agreement(items: ArrayLike, values: ArrayLike, raters: ArrayLike) -> tuple[NDArray[Any], Places, Numbers]:
    """The raters, how many ratings of each can be compared, and the mean share of others who said the same."""
    ratings = numbered(items, values)
    names, rater = np.unique(np.asarray(raters)[ratings.known], return_inverse=True)
    width = max(len(ratings.values), 1)
    cell, of_cell = np.unique(ratings.item * width + ratings.value, return_inverse=True)
    same = np.bincount(of_cell, minlength=len(cell))[of_cell] - 1
    others = np.bincount(ratings.item, minlength=ratings.items)[ratings.item] - 1
    comparable = others > 0
    number = np.bincount(rater[comparable], minlength=len(names))
    share = np.bincount(rater[comparable], (same / np.maximum(others, 1))[comparable], len(names))
    return names, number, divide(share, number)


def numbered(items: ArrayLike, values: ArrayLike) -> Ratings:
    """Ratings by number, without those that are NaN."""
    given = np.asarray(values)
    known = ~np.isnan(given) if given.dtype.kind == "f" else np.ones(len(given), np.bool_)
    different, value = np.unique(given[known], return_inverse=True)
    found, item = np.unique(np.asarray(items)[known], return_inverse=True)
    return Ratings(item.astype(np.int64), value.astype(np.int64), known, different, len(found))


# --- the arithmetic ---------------------------------------------------------------------------------------------------


def _counts(ratings: Ratings, wanted: NDArray[np.bool_]) -> Any:
    """How often each item got each value, sparse: items by values."""
    from scipy.sparse import csr_matrix

    places = ratings.item[wanted], ratings.value[wanted]
    return csr_matrix((np.ones(len(places[0])), places), shape=(ratings.items, len(ratings.values)))


def _coincidences(counts: Any) -> Numbers:
    """Krippendorff's coincidence matrix: the pairs of each item weigh together as many as the item has ratings."""
    from scipy.sparse import diags

    size = np.asarray(counts.sum(1)).ravel()
    weight = np.where(size > 1, divide(1, size - 1), 0.0)
    pairs = np.asarray((counts.T @ diags(weight) @ counts).todense(), np.float64)
    pairs[np.diag_indices_from(pairs)] -= np.asarray(counts.T @ weight).ravel()
    return pairs


def _distances(values: NDArray[Any], marginal: Numbers, level: Level) -> Numbers:
    """The squared distance of each pair of values."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    place = values.astype(np.float64)
    if level == "ordinal":
        place = np.cumsum(marginal) - marginal / 2  # the number of ratings below, and half of those alike
    distances: Numbers = (place[:, None] - place[None, :]) ** 2
    return distances


def _alpha(counts: Any, values: NDArray[Any], level: Level) -> float:
    pairs = _coincidences(counts)
    marginal = pairs.sum(0)
    distances, total = _distances(values, marginal, level), marginal.sum()
    expected = marginal @ distances @ marginal
    return float(1 - (total - 1) * (pairs * distances).sum() / expected) if expected > 0 else float("nan")


def _cross(own: Any, other: Any, values: NDArray[Any], level: Level) -> float:
    from scipy.sparse import diags

    mine, theirs = (np.asarray(counts.sum(1)).ravel() for counts in (own, other))
    both = (mine > 0) & (theirs > 0)
    if not both.any():
        return float("nan")
    own, other, mine, theirs = own[both], other[both], mine[both], theirs[both]
    size = mine + theirs
    pairs = np.asarray((own.T @ diags(size / (mine * theirs * size.sum())) @ other).todense(), np.float64)
    first, second = (np.asarray(counts.sum(0), np.float64).ravel() for counts in (own, other))
    distances = _distances(values, first + second, level)
    expected = (first @ distances @ second) / (first.sum() * second.sum())
    return float(1 - (pairs * distances).sum() / expected) if expected > 0 else float("nan")
