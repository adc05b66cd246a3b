"""A mix: how much of each group a corpus should have, what of that can be had, and why not more.

Works on a table of counts alone, one row per combination of values (cell); no document is needed. `filters.balance`
counts, asks here, and then draws documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from curate.allocation import Floats, fill
from curate.errors import UsageError
from curate.margins import Margin, asked_of, labels_of, margin_of, rehydrated
from curate.shortfall import NEARLY, Short, infeasible, short_of, unknown_levels

if TYPE_CHECKING:
    import polars as pl

    from curate.filters.balance import Balance

Shares = Mapping[str, float]
Bound = float | Mapping[str, float]


@dataclass(frozen=True)
class Wish:
    """What is asked of the groups of one column: a method, or shares by name."""

    method: Literal["natural", "unimax", "temperature", "rehydrate", "shares"]
    alpha: float = 1.0
    shares: Shares = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """Everything that is asked of a mix; columns that `overlap` hold several labels per document."""

    wishes: Mapping[str, Wish]  # by column; several columns in one name are balanced as one
    unit: str = "bytes"
    budget: float | None = None
    part: float | None = None  # a budget as a part of everything that there is
    min_share: Mapping[str, Bound] = field(default_factory=dict)
    max_share: Mapping[str, Bound] = field(default_factory=dict)
    min_documents: Mapping[str, Bound] = field(default_factory=dict)
    max_repeats: int = 1
    rates: tuple[float, float | None] = (0.0, None)  # least and most of a cell's own part of the budget
    overlap: frozenset[str] = frozenset()
    soft: bool = False


@dataclass(frozen=True)
class Mix:
    """An allocation: the amount of every cell, and the account of every group."""

    unit: str
    budget: float
    cells: pl.DataFrame  # the columns, documents, amount, planned, rate (copies of each document, on average)
    groups: pl.DataFrame  # column, group, before, target, planned, status, ...: see `account`
    summary: dict[str, Any]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values: `unit`, `budget`, `groups`, `summary`, `notes`."""
        return {
            "unit": self.unit, "budget": self.budget, "groups": self.groups.to_dicts(), "summary": self.summary,
            "notes": list(self.notes),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        return str(self.groups._repr_html_())


def plan_mix(cells: pl.DataFrame, goal: Goal) -> Mix:
    """Allocate: `cells` has the columns of the goal, `documents` and `amount` (in the goal's unit).

    Raises InfeasibleError when the target cannot be met and the goal is not soft; it names what is short.
    """
    import polars as pl

    from curate.mix_account import account_of, rates_of
    from curate.mix_columns import several_columns

    cells = cells.filter(cells["documents"] > 0)
    if goal.part is not None and cells.height:
        amount = goal.part * float(cells["amount"].sum())
        goal = replace(goal, budget=max(1.0, round(amount)) if goal.unit == "documents" else amount)
    margins = [margin_of(cells, column, wish, goal) for column, wish in goal.wishes.items()]
    unknown = _unknown(cells, margins, goal)
    if cells["amount"].sum() == 0:
        if cells.height and goal.budget is not None and not goal.soft:
            empty = Short(margins[0].column, "all groups", goal.budget, 0.0, "all documents are empty")
            raise infeasible([empty], goal.budget, goal)
        planned, budget = np.zeros(cells.height), 0.0
        asked, notes = [np.zeros(len(margin.names)) for margin in margins], list[str]()
    elif len(margins) == 1 and margins[0].exclusive:
        planned, asked, budget, notes = _one(cells, margins[0], goal)
    else:
        planned, asked, budget, notes = several_columns(cells, margins, goal)
    table, summary = account_of(cells, margins, goal, planned, asked, budget)
    rated = cells.with_columns(
        pl.Series("planned", planned, pl.Float64), pl.Series("rate", rates_of(cells, planned), pl.Float64)
    )
    return Mix(goal.unit, budget, rated, table, summary, (*unknown, *notes))


def _unknown(cells: pl.DataFrame, margins: list[Margin], goal: Goal) -> list[str]:
    """Notes on bounds for groups that the corpus does not have; a least that cannot be met is an error."""
    if cells.height == 0:
        return []
    notes: list[str] = []
    short: list[Short] = []
    for margin in margins:
        own = unknown_levels(margin, goal, set(labels_of(cells, margin.column)))
        notes += own[0]
        short += own[1]
    if short and not goal.soft:
        raise infeasible(short, goal.budget or float(cells["amount"].sum()), goal)
    return notes


# --- one set of groups ------------------------------------------------------------------------------------------------


def _one(cells: pl.DataFrame, margin: Margin, goal: Goal) -> tuple[Floats, list[Floats], float, list[str]]:
    supply = goal.max_repeats * margin.amounts
    everything = float(margin.amounts.sum())
    notes: list[str] = []
    budget = goal.budget
    if budget is None:
        shares, _, _ = asked_of(margin, goal, None)
        budget = everything
        if margin.method == "rehydrate":
            budget = sum(
                rehydrated(margin.column, name) * amount
                for name, amount in zip(margin.names, margin.amounts, strict=True)
            )
        some = (shares > (0 if margin.fixed else NEARLY / len(shares))) & (supply > 0)
        if margin.method != "unimax" and some.any():
            room = np.divide(supply, shares, out=np.full(len(shares), np.inf), where=some)
            place = int(np.argmin(room))
            if room[place] < budget * (1 - NEARLY):
                budget = float(room[place])
                notes.append(_limited_by(margin, place, budget, everything, goal))
    asked, low, high = asked_of(margin, goal, budget)
    short = short_of(margin, asked, low, high, budget, goal)
    if short and not goal.soft:
        raise infeasible(short, budget, goal)
    least = np.minimum(low, np.minimum(supply, high))
    if least.sum() > budget:
        least *= budget / least.sum()
    planned = fill(np.where(supply > 0, margin.wishes, 0), least, np.maximum(least, np.minimum(high, supply)), budget)
    rates = np.divide(planned, margin.amounts, out=np.zeros(len(planned)), where=margin.amounts > 0)
    return margin.member.T @ rates * cells["amount"].to_numpy(), [asked], budget, notes


def _limited_by(margin: Margin, place: int, budget: float, everything: float, goal: Goal) -> str:
    return (
        f"the budget is {budget / everything:.2%} of what there is, because all of "
        f"{margin.column} = {margin.names[place]} ({margin.amounts[place]:,.0f} {goal.unit}"
        f"{f', {goal.max_repeats} times' if goal.max_repeats > 1 else ''}) has been used; a `budget`, a larger "
        "`max_repeats` or another target allows more"
    )


def balance(table: Any, amount: str | None = None, documents: str | None = None, **options: Any) -> Mix:
    """Plan a mix without a corpus: what a `balance` step with these options would do to a table of counts.

    `table` is a frame, or a mapping of column to values, with the columns of `by`, and numbers, at least 0: of
    documents in the column `documents` (default: the one of that name; 1 per row where there is none), of the unit in
    `amount` (default: the column named as the unit; where there is none, documents). `options` are those of the step:
    by, target, budget, unit, min_share, ... Raises InfeasibleError when the target cannot be met, and UsageError for
    options and tables that make no sense.
    """
    import polars as pl

    try:
        frame = table if isinstance(table, pl.DataFrame) else pl.DataFrame(table)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise UsageError(f"this is no table of counts: {error}") from error
    step = _step(options)
    counts = documents or ("documents" if "documents" in frame.columns else None)
    size = amount or (step.counted if step.counted in frame.columns else counts)
    for name in (*step.columns, counts, size):
        if name is not None and name not in frame.columns:
            raise UsageError(f"the table has no column {name!r}", hint=f"it has {', '.join(frame.columns)}")
    groups = [pl.col(name).cast(pl.String) for name in step.columns]
    numbers = {"documents": counts, "amount": size}
    cells = frame.select(
        *groups, *((pl.lit(1.0) if of is None else pl.col(of)).alias(name) for name, of in numbers.items())
    )
    for name, of in numbers.items():
        if not cells[name].dtype.is_numeric() or not cells[name].is_between(0, float("inf"), closed="left").all():
            raise UsageError(f"the column {of!r} must hold numbers, at least 0, in every row")
    sums = pl.col("documents", "amount").cast(pl.Float64).sum()
    counted = cells.group_by(step.columns).agg(sums).sort(step.columns)
    return step.mix(counted)


def _step(options: Mapping[str, Any]) -> Balance:
    """A balance step of these options; tokens that stand in a table need no tokenizer."""
    from pydantic import ValidationError

    from curate.filters.balance import Balance
    from curate.filters.balance_options import read_budget

    try:
        tokens = "tokens" in (options.get("unit"), read_budget(options.get("budget"))[1])
        return Balance.model_validate({"tokenizer": "-", **options} if tokens else options)
    except ValidationError as error:
        said = [
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ").replace("Value error, ", "")
            for one in error.errors()
        ]
        raise UsageError("; ".join(said)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
