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
    """Ratings by number, without those that are no finite number, where they are numbers."""
    given = np.asarray(values)
    known = np.isfinite(given) if given.dtype.kind == "f" else np.ones(len(given), np.bool_)
    different, value = np.unique(given[known], return_inverse=True)
    found, item = np.unique(np.asarray(items)[known], return_inverse=True)
    return Ratings(item.astype(np.int64), value.astype(np.int64), known, different, len(found))


# --- the arithmetic ---------------------------------------------------------------------------------------------------


def _counts(ratings: Ratings, wanted: NDArray[np.bool_]) -> Any:
    """How often each item got each value, sparse: items by values."""
    from scipy.sparse import csr_matrix

    places = ratings.item[wanted], ratings.value[wanted]
    return csr_matrix((np.ones(len(places[0])), places), shape=(ratings.items, len(ratings.values)))


def _places(values: NDArray[Any], marginal: Numbers, level: Level) -> Numbers | None:
    """Where each value lies, so that the square of a difference is a distance; null where values are nominal."""
    if level == "nominal":
        return None
    below = np.cumsum(marginal) - marginal / 2  # the number of ratings below, and half of those alike
    place: Numbers = below if level == "ordinal" else values.astype(np.float64)
    middle: Numbers = place - np.average(place, weights=marginal)
    return middle


def _alpha(counts: Any, values: NDArray[Any], level: Level) -> float:
    counts = counts[_sizes(counts) > 1]
    size, marginal = _sizes(counts), np.asarray(counts.sum(0), np.float64).ravel()
    if (marginal > 0).sum() < 2:
        return float("nan")
    place, total = _places(values, marginal, level), marginal.sum()
    observed = _apart(counts, counts, place) @ (1 / (size - 1))
    expected = _apart(marginal[None, :], marginal[None, :], place)[0]
    return float(1 - (total - 1) * observed / expected)


def _cross(own: Any, other: Any, values: NDArray[Any], level: Level) -> float:
    both = (_sizes(own) > 0) & (_sizes(other) > 0)
    own, other = own[both], other[both]
    first, second = (np.asarray(counts.sum(0), np.float64).ravel() for counts in (own, other))
    if (first + second > 0).sum() < 2:
        return float("nan")
    place = _places(values, first + second, level)
    size, pairs = _sizes(own) + _sizes(other), _sizes(own) * _sizes(other)
    observed = _apart(own, other, place) @ (size / pairs) / size.sum()
    expected = _apart(first[None, :], second[None, :], place)[0] / (first.sum() * second.sum())
    return float(1 - observed / expected)


def _sizes(counts: Any) -> Numbers:
    return np.asarray(counts.sum(1), np.float64).ravel()


def _apart(own: Any, other: Any, place: Numbers | None) -> Numbers:
    """By row, the distances of all ratings in one from all in the other: how many differ, or squares of differences.

    Sums of squares do without a matrix of values by values, which continuous scores would make too large.
    """
    if place is None:
        same = own.multiply(other) if hasattr(own, "multiply") else own * other
        apart: Numbers = _sizes(own) * _sizes(other) - _sizes(same)
    else:
        squares = _sizes(other) * (own @ place**2) + _sizes(own) * (other @ place**2)
        apart = squares - 2 * (own @ place) * (other @ place)
    return apart
