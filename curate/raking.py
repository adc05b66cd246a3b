"""Shares of several attributes at once: cell weights that meet every margin, or a proof that none do.

A cell is a combination of values that documents have; a margin says how much the cells with one value should add up
to. The weights are the nearest to the cells' own amounts (Deville and Sarndal 1992, JASA 87:376-382): the least
sum(w ln(w / d) - w + d) with low <= w <= high, which is w = clip(d exp(A' b), low, high). Bounds are part of the
problem, so that margins stay exact; weights cut after raking would miss them.

A linear programme (HiGHS) answers whether there is a solution; Newton's method finds the nearest one. Where it does not
settle, some cells are at a bound in every solution: a second programme tells which, those are set, and what is left has
a solution inside its bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog, lsq_linear
from scipy.sparse.linalg import spsolve

Floats = NDArray[np.float64]

MARGIN_ERROR = 1e-9  # relative; reached by Newton's method in about ten steps
GOOD_ENOUGH = 1e-6  # the promise (issue 6): a larger error is told
STEPS = 500
ROUNDED = 1e-14  # what sums of so many numbers differ by: near the end steps are not judged by less
STRIDE = 5.0  # the most that the logarithm of a factor changes in one step
SLACK = 1e-7  # HiGHS meets constraints within this, relative to the total
DENSE = 500  # unknowns up to which a dense solver is the faster one
LEAST_PART = 1e-3  # of the largest margin: below it differences count as of a margin of this size
STRETCH = 1e6  # a cell that no solution has further from its bound than ROOM / STRETCH, in parts of its own amount,
ROOM = 1e-4  # counts as at the bound


@dataclass(frozen=True)
class Raked:
    """The weights of cells, and how well they meet the margins."""

    weights: Floats
    margins: Floats  # what the weights add up to, per margin level
    error: float  # largest relative error of a margin
    steps: int


def most(membership: sparse.csr_array, shares: Floats, low: Floats, high: Floats, scale: Floats | None = None) -> float:
    """The largest total for which weights exist that meet all shares; 0 when there is none.

    `membership` is margins x cells of 0 and 1. Bounds are amounts; with `scale`, weights are also at least scale[0] and
    at most scale[1] times a cell's part of the total.
    """
    cells = membership.shape[1]
    size = max(float(high[np.isfinite(high)].sum()), 1e-300)
    equal = sparse.hstack([membership, -shares[:, None]]).tocsr()
    total = sparse.csr_array(np.append(np.ones(cells), -1.0)[None])
    unequal = None
    if scale is not None:
        rows = [sparse.hstack([-sparse.eye_array(cells), scale[0][:, None]])]
        limited = np.isfinite(scale[1])
        rows.append(sparse.hstack([sparse.eye_array(cells), -np.where(limited, scale[1], 0)[:, None]]).tocsr()[limited])
        unequal = sparse.vstack(rows)
    bounds = np.column_stack([np.append(low / size, 0), np.append(high / size, np.inf)])
    found = linprog(
        np.append(np.zeros(cells), -1.0),
        A_ub=unequal,
        b_ub=None if unequal is None else np.zeros(unequal.shape[0]),
        A_eq=sparse.vstack([equal, total]),
        b_eq=np.zeros(len(shares) + 1),
        bounds=bounds,
        method="highs",
    )
    return float(found.x[-1]) * size if found.status == 0 else 0.0


def nearest(membership: sparse.csr_array, wanted: Floats, low: Floats, high: Floats) -> Floats:
    """The margins that can be met with the least sum of differences to the wanted ones."""
    size = max(float(wanted.max(initial=0)), 1e-300)
    margins, cells = membership.shape
    more = sparse.eye_array(margins)
    found = linprog(
        np.concatenate([np.zeros(cells), np.ones(2 * margins)]),
        A_eq=sparse.hstack([membership, more, -more]),
        b_eq=wanted / size,
        bounds=np.column_stack(
            [np.append(low / size, np.zeros(2 * margins)), np.append(high / size, np.full(2 * margins, np.inf))]
        ),
        method="highs",
    )
    if found.status != 0:
        raise ArithmeticError(f"the linear programme of the nearest margins ended with: {found.message}")
    return np.asarray(membership @ np.clip(found.x[:cells] * size, low, high))


def nearest_shares(membership: sparse.csr_array, wanted: Floats, low: Floats, high: Floats, total: float) -> Floats:
    """The margins that can be met with the least sum of squared differences, each as a part of what was wanted.

    They add up to no more than the total.

    `nearest` says whether and how much is missing; its solution leaves all of it to few groups. This one spreads it, so
    that no group is given up for the sake of others.
    """
    size = max(float(wanted.max(initial=0)), 1e-300)
    scale = 1 / np.maximum(wanted / size, LEAST_PART)
    unit = np.maximum(high / size, 1e-12)  # unknowns are parts of what a cell can give
    found = lsq_linear(
        sparse.diags_array(scale) @ membership @ sparse.diags_array(unit),
        scale * wanted / size,
        bounds=(low / size / unit, np.maximum(high / size / unit, low / size / unit + 1e-12)),
        lsmr_tol="auto",
        max_iter=200,
    )
    weights = np.clip(found.x * unit * size, low, high)
    if weights.sum() > total:
        weights = np.maximum(weights * (total / weights.sum()), low)
    return np.asarray(membership @ weights)


def rake(membership: sparse.csr_array, wanted: Floats, own: Floats, low: Floats, high: Floats) -> Raked:
    """The weights nearest to the cells' own amounts that meet the wanted margins within the bounds.

    The margins must be such that there is a solution (`nearest` gives them back unchanged).
    """
    size = float(own.sum()) or 1.0
    own, low, high, wanted = own / size, low / size, high / size, wanted / size
    nothing = np.zeros(len(own), bool)
    weights, steps = _inside(membership, wanted, own, low, high, nothing, low == high)
    if relative_error(np.asarray(membership @ weights), wanted) > MARGIN_ERROR:  # some cells can only be at a bound
        forced, more = _inside(membership, wanted, own, low, high, *_forced(membership, wanted, own, low, high))
        weights, steps = _better(membership, wanted, weights, forced), steps + more
    margins = np.asarray(membership @ weights)
    return Raked(weights * size, margins * size, relative_error(margins, wanted), steps)


def _inside(
    membership: sparse.csr_array,
    wanted: Floats,
    own: Floats,
    low: Floats,
    high: Floats,
    at_low: NDArray[np.bool_],
    at_high: NDArray[np.bool_],
) -> tuple[Floats, int]:
    """Weights where some cells are at their bounds, and the others found by Newton's method; its steps."""
    weights = np.where(at_low, low, np.where(at_high, high, 0.0))
    free = ~(at_low | at_high) & (own > 0)
    if not free.any():
        return weights, 0
    rest = wanted - membership @ weights
    part = membership[:, free].tocsr()
    rows = np.diff(part.indptr) > 0  # margins that are settled by cells at their bounds say nothing of the others
    weights[free], steps = _newton(part[rows], rest[rows], own[free], low[free], high[free], wanted[rows])
    return weights, steps


def _better(membership: sparse.csr_array, wanted: Floats, one: Floats, other: Floats) -> Floats:
    errors = [relative_error(np.asarray(membership @ weights), wanted) for weights in (one, other)]
    return one if errors[0] < errors[1] else other


def relative_error(margins: Floats, wanted: Floats) -> float:
    """The largest difference of a margin, as a part of what was wanted (of everything, where nothing was)."""
    whole = max(float(wanted.max(initial=0)), 1e-300)
    return float((np.abs(margins - wanted) / np.where(wanted > 1e-9 * whole, wanted, whole)).max(initial=0))


def _forced(
    membership: sparse.csr_array, wanted: Floats, own: Floats, low: Floats, high: Floats
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which cells are at their low, and which at their high bound, in every solution.

    One linear programme over a stretched solution (w, t), where w / t is one: it finds room for as many bounds as can
    have room at once (Freund, Roundy and Todd 1985). Unknowns: w, t, room below, room above; each room at most 1.
    """
    cells = len(own)
    limited = np.flatnonzero(np.isfinite(high))
    unit = np.maximum(own, 1e-12)  # rooms are in units of a cell's own amount, so that small cells count as much
    eye = sparse.eye_array(cells, format="csr")
    zeros = sparse.csr_array((cells, len(limited)))
    below = sparse.hstack([-eye, (low / unit)[:, None], eye, zeros])  # room <= w - t low, w in units
    above = sparse.hstack(
        [eye[limited], -(high / unit)[limited][:, None], sparse.csr_array((len(limited), cells)),
         sparse.eye_array(len(limited))]
    )  # fmt: skip
    scaled = membership @ sparse.diags_array(unit)
    equal = sparse.hstack([scaled, -wanted[:, None], sparse.csr_array((len(wanted), cells + len(limited)))])
    found = linprog(
        np.concatenate([np.zeros(cells + 1), -np.ones(cells + len(limited))]),
        A_ub=sparse.vstack([below, above]),
        b_ub=np.zeros(cells + len(limited)),
        A_eq=equal,
        b_eq=np.zeros(len(wanted)),
        bounds=[(0, None)] * cells + [(1, STRETCH)] + [(0, 1)] * (cells + len(limited)),
        method="highs",
    )
    if found.status != 0:
        return np.zeros(cells, bool), np.zeros(cells, bool)
    at_low = found.x[cells + 1 : 2 * cells + 1] < ROOM
    at_high = np.zeros(cells, bool)
    at_high[limited] = found.x[2 * cells + 1 :] < ROOM
    at_high |= low == high
    return at_low & ~at_high, at_high


def _newton(
    membership: sparse.csr_array, rest: Floats, own: Floats, low: Floats, high: Floats, wanted: Floats
) -> tuple[Floats, int]:
    """The dual problem by Newton's method: smooth, convex, one unknown per margin."""
    with np.errstate(divide="ignore"):
        first, last = np.log(low / own), np.log(high / own)  # where a cell meets its bounds
    transposed = membership.T.tocsr()

    def weights_at(x: Floats) -> Floats:
        return np.asarray(np.clip(own * np.exp(np.clip(x, -700, 700)), low, high))

    def value(x: Floats, b: Floats) -> float:
        inner = own * np.exp(np.clip(x, first, np.minimum(last, 700)))
        under = np.where(x < first, low * (x - np.where(np.isfinite(first), first, 0)), 0.0)
        over = np.where(x > last, high * (x - np.where(np.isfinite(last), last, 0)), 0.0)
        return float((inner + np.where(low > 0, under, 0.0) + np.where(np.isfinite(high), over, 0.0)).sum() - b @ rest)

    b = np.zeros(len(rest))
    x = np.zeros(len(own))
    weights = weights_at(x)
    damping = np.maximum(np.asarray(membership @ own), 1e-12)
    ridge = 1e-6
    best = (np.inf, weights)
    for step in range(STEPS):
        gradient = np.asarray(membership @ weights) - rest
        error = relative_error(gradient + wanted, wanted)
        if error < best[0]:
            best = (error, weights)
        if error <= MARGIN_ERROR:
            return weights, step
        inside = np.where((x >= first) & (x <= last), weights, 0.0)
        curve = membership @ sparse.diags_array(inside) @ transposed
        before = value(x, b)
        while True:
            move = -_solve(curve + ridge * sparse.diags_array(damping), gradient)
            move = np.clip(move, -STRIDE, STRIDE)  # each by itself: a level that is far off does not hold up the others
            tried, tried_x = b + move, x + np.asarray(transposed @ move)
            slope = float(gradient @ move)
            if slope < 0 and value(tried_x, tried) <= before + 1e-4 * slope + ROUNDED * max(1.0, abs(before)):
                ridge = max(ridge / 10, 1e-12)
                break
            ridge *= 10
            if ridge > 1e12:
                return best[1], step
        b, x = tried, tried_x
        weights = weights_at(x)
    return best[1], STEPS


def _solve(matrix: sparse.sparray, right: Floats) -> Floats:
    """The solution of a symmetric system; a column of many values makes a matrix that is nearly diagonal."""
    if len(right) <= DENSE:
        return np.asarray(np.linalg.solve(matrix.toarray(), right))
    return np.asarray(spsolve(matrix.tocsc(), right))
