"""What is missing: the groups of which there is less than a target asks, and the message that lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curate.allocation import Floats
from curate.errors import InfeasibleError, UsageError
from curate.margins import OTHER, Margin, bound_of

if TYPE_CHECKING:
    from curate.mix import Goal

NEARLY = 1e-6  # relative; less is the rounding of numbers, not a shortfall
LISTED = 20  # groups that a message lists
ABSENT = "there are no such documents"


@dataclass(frozen=True)
class Short:
    """A group of which there is less than a target asks."""

    column: str
    group: str
    asked: float
    possible: float
    why: str
    unit: str | None = None  # where it is not that of the target


def short_of(margin: Margin, asked: Floats, low: Floats, high: Floats, budget: float, goal: Goal) -> list[Short]:
    """What one set of groups cannot meet, whatever is asked of other columns."""
    floors = bound_of(goal.min_documents, margin.column, margin.names, 0.0)
    supply = goal.max_repeats * margin.amounts
    found: list[Short] = []
    for place, name in enumerate(margin.names):
        need = asked[place] if margin.fixed else low[place]
        there = goal.max_repeats * margin.documents[place]
        if floors[place] > there:
            why = used(goal) if there else ABSENT
            found.append(Short(margin.column, name, floors[place], there, why, "documents"))
        elif margin.amounts[place] == 0 and need > 0:
            why = "its documents are empty" if there else ABSENT
            found.append(Short(margin.column, name, need, 0.0, why))
        elif need > supply[place] * (1 + NEARLY):
            found.append(Short(margin.column, name, need, supply[place], used(goal)))
        elif low[place] > high[place] * (1 + NEARLY):
            found.append(Short(margin.column, name, low[place], high[place], "its least is above its most"))
    if found or not margin.exclusive:
        return found
    if low.sum() > budget * (1 + NEARLY):
        found.append(Short(margin.column, "all groups", float(low.sum()), budget, "the least shares exceed the budget"))
    possible = float(np.where(margin.wishes > 0, np.minimum(high, supply), low).sum())
    if possible < budget * (1 - NEARLY):
        found.append(Short(margin.column, "all groups", budget, possible, f"{used(goal)}, within the most of each"))
    return found


def used(goal: Goal) -> str:
    """Why there is no more of a group."""
    return "all of it" if goal.max_repeats == 1 else f"all of it, {goal.max_repeats} times"


def infeasible(short: Sequence[Short], budget: float, goal: Goal) -> InfeasibleError:
    """The error that lists what is short, the largest shortfall first."""
    rows = sorted(short, key=lambda one: (one.possible - one.asked, one.column, one.group))
    lines = [_line(one, budget, goal.unit) for one in rows[:LISTED]]
    if len(rows) > LISTED:
        lines.append(f"  and {len(rows) - LISTED:,} more groups")
    return InfeasibleError(
        "the target cannot be met:\n" + "\n".join(lines),
        hint="lower the budget or these shares, raise max_repeats, or take the nearest mix with on_infeasible: soft; "
        "then run again with --update",
    )


def _line(short: Short, budget: float, unit: str) -> str:
    """One group: asked, possible, and the difference."""
    own = short.unit is None or short.unit == unit
    asked, possible = (
        f"{_number(amount)}{f' {short.unit or unit}' if named else ''}{f' ({_share(amount, budget)})' if own else ''}"
        for amount, named in ((short.asked, True), (short.possible, False))
    )
    group = f"  {short.column} = {short.group}: asked {asked}"
    if short.asked > short.possible:
        return f"{group}, possible {possible}, short by {_number(short.asked - short.possible)}: {short.why}"
    return f"{group}, at least {possible}, {_number(short.possible - short.asked)} too many: {short.why}"


def _number(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 or amount == round(amount) else f"{amount:.3g}"


def _share(amount: float, budget: float) -> str:
    share = amount / budget if budget else 0.0
    return "-" if not budget else f"{share:.2%}" if share >= 0.0001 or not amount else f"{share:.2g}"


def unknown_levels(margin: Margin, goal: Goal, there: set[str]) -> tuple[list[str], list[Short]]:
    """Bounds on groups that are not in a mix: notes that say so, and the least amounts that they ask for in vain."""
    notes: list[str] = []
    short: list[Short] = []
    for option in ("min_share", "max_share", "min_documents"):
        given = getattr(goal, option).get(margin.column)
        for name in given if isinstance(given, Mapping) else ():
            if name in margin.names:
                continue
            if name in there:
                raise UsageError(
                    f"{option} names {margin.column} = {name}, which the target leaves to {OTHER}",
                    hint="give it a share in `target`, too",
                )
            notes.append(f"{option} names {margin.column} = {name}, of which there are no documents")
            if option != "max_share" and given[name] > 0:
                unit = "documents" if option == "min_documents" else None
                asked = given[name] * (1.0 if unit else goal.budget or 1.0)
                short.append(
                    Short(margin.column, name, asked, 0.0, ABSENT, unit or (None if goal.budget else "of all"))
                )
    return notes, short
