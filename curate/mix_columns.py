"""A mix with targets for several columns at once, or for labels of which a document has several: raking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.allocation import Floats
from curate.errors import InfeasibleError
from curate.margins import Margin, asked_of
from curate.shortfall import NEARLY, Short, infeasible, short_of

if TYPE_CHECKING:
    import polars as pl

    from curate.mix import Goal
    from curate.raking import Raked


ALONE = "together with the other targets"


def several_columns(
    cells: pl.DataFrame, margins: Sequence[Margin], goal: Goal
) -> tuple[Floats, list[Floats], float, list[str]]:
    """The amount of every cell, what is asked of each column's groups, the budget, and notes.

    Raises InfeasibleError when the targets cannot be met together and the goal is not soft.
    """
    from curate.raking import nearest, nearest_shares, rake

    amounts = cells["amount"].cast(float).to_numpy()
    own, supply = amounts / amounts.sum(), goal.max_repeats * amounts
    rates = np.array(
        [goal.rates[0] * own, own * goal.rates[1] if goal.rates[1] is not None else np.full_like(own, np.inf)]
    )
    budget, notes = _budget(margins, goal, amounts, rates)
    asked = [asked_of(margin, goal, budget)[0] for margin in margins]
    membership, shares, which = _rows(margins, [one / budget for one in asked])
    wanted, high = shares * budget, np.minimum(supply, rates[1] * budget)
    low = np.minimum(rates[0] * budget, high)
    short = [one for margin in margins for one in short_of(margin, *asked_of(margin, goal, budget), budget, goal)]
    possible = nearest(membership, wanted, low, high)
    gap = np.abs(possible - wanted) > NEARLY * budget
    if (short or gap.any()) and not goal.soft:
        known = {(one.column, one.group) for one in short}
        gaps = [
            Short(column, name or "all groups", wanted[row], possible[row], ALONE)
            for row, (column, name) in enumerate(which)
            if gap[row] and (column, name) not in known
        ]
        raise infeasible([*short, *gaps], budget, goal)
    if gap.any():
        possible = nearest_shares(membership, wanted, low, high, budget)
    raked = rake(membership, possible if gap.any() else wanted, own * budget, low, high)
    notes += _missed(raked, wanted, budget, exact=not gap.any())
    return raked.weights, asked, budget, notes


def _budget(margins: Sequence[Margin], goal: Goal, amounts: Floats, rates: Floats) -> tuple[float, list[str]]:
    """The budget that is given, or the largest for which all margins can be met."""
    from curate.raking import most

    everything = float(amounts.sum())
    if goal.budget is not None:
        return goal.budget, []
    membership, shares, _ = _rows(margins, [asked_of(margin, goal, None)[0] for margin in margins])
    supply = goal.max_repeats * amounts
    bounded = None if goal.rates == (0.0, None) else rates
    budget = min(everything, most(membership, shares, 0 * supply, supply, bounded))
    if budget <= everything * NEARLY:  # nothing meets the margins: soft, and the message, need some budget
        return everything, []
    if budget >= everything * (1 - NEARLY):
        return budget, []
    note = (
        f"the budget is {budget / everything:.2%} of what there is: more of it cannot meet all margins; a `budget`, a "
        "larger `max_repeats` or another target allows more"
    )
    return budget, [note]


def _missed(raked: Raked, wanted: Floats, budget: float, *, exact: bool) -> list[str]:
    """A note when margins are not met as exactly as promised; an error when they are not met at all."""
    from curate.raking import GOOD_ENOUGH

    off = float(np.abs(raked.margins - wanted).max(initial=0)) / budget
    if exact and off > GOOD_ENOUGH:
        raise InfeasibleError(
            f"the margins can be met, but the weights found are off by {off:.2g} of the budget",
            hint="this is a defect: report it",
        )
    if raked.error > GOOD_ENOUGH:
        return [f"raking ended with a relative margin error of {raked.error:.2g} after {raked.steps} steps"]
    return []


def _rows(margins: Sequence[Margin], shares: Sequence[Floats]) -> tuple[Any, Floats, list[tuple[str, str | None]]]:
    """The constraints: rows of cells, their shares, and whose they are (no name: the whole)."""
    from scipy import sparse

    rows: list[Any] = []
    asked: list[Floats] = []
    which: list[tuple[str, str | None]] = []
    for margin, wanted in zip(margins, shares, strict=True):
        there = np.flatnonzero(margin.documents > 0)
        some = wanted[there]
        rows.append(margin.member[there])
        asked.append(some / some.sum() if margin.exclusive and some.sum() > 0 else some)
        which += [(margin.column, margin.names[place]) for place in there]
    if not any(margin.exclusive for margin in margins):
        rows.append(sparse.csr_array(np.ones((1, margins[0].member.shape[1]))))
        asked.append(np.ones(1))
        which.append(("all", None))
    return sparse.vstack(rows).tocsr(), np.concatenate(asked), which
