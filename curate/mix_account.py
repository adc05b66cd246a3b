"""The account of a mix: one row per group, and the figures of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from curate.allocation import Floats, distances, effective, kish
from curate.margins import Margin, asked_of, bound_of
from curate.shortfall import NEARLY

if TYPE_CHECKING:
    import polars as pl

    from curate.mix import Goal

Status = Literal["ok", "cap", "floor", "exhausted", "unreachable"]


def rates_of(cells: pl.DataFrame, planned: Floats) -> Floats:
    """Copies of each document of a cell, on average."""
    amounts = cells["amount"].cast(float).to_numpy()
    rates: Floats = np.divide(planned, amounts, out=np.zeros(len(planned)), where=amounts > 0)
    rates[rates < 1e-12] = 0.0
    return rates


def account_of(
    cells: pl.DataFrame,
    margins: Sequence[Margin],
    goal: Goal,
    planned: Floats,
    asked: Sequence[Floats],
    budget: float,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table of groups, and distances, effective sizes and the worst-off group by name."""
    import polars as pl

    everything = float(cells["amount"].cast(float).sum())
    rows = [
        row
        for margin, want in zip(margins, asked, strict=True)
        for row in _groups(margin, want, planned, everything, budget, goal)
    ]
    summary: dict[str, Any] = {"unit": goal.unit, "budget": budget, "planned": float(planned.sum())}
    for margin, want in zip(margins, asked, strict=True):
        if margin.exclusive and planned.sum() > 0:
            shares = (margin.amounts / margin.amounts.sum(), want / want.sum(), margin.member @ planned / planned.sum())
            summary |= {f"{margin.column}: {name}": value for name, value in distances(*shares).items()}
    worst = worst_off(rows)
    summary["worst-off group"] = worst[0] if worst else None
    summary["its planned share, as a part of its target"] = worst[1] if worst else None
    documents, rates = cells["documents"].cast(float).to_numpy(), rates_of(cells, planned)
    size = kish(documents, rates)
    summary["effective sample size (Kish, documents)"] = size
    summary["design effect"] = float(documents @ rates) / size if size else None
    summary["largest rate of a cell"] = float(rates.max(initial=0))
    return pl.DataFrame(rows, schema=ACCOUNT, orient="row"), summary


ACCOUNT: dict[str, Any] = {
    "column": str, "group": str, "documents_before": int, "before": float, "before_share": float, "target": float,
    "target_share": float, "planned": float, "planned_share": float, "epochs": float, "effective": float,
    "status": str, "bound": str, "shortfall": float,
}  # fmt: skip


class Bounds(NamedTuple):
    """What holds the groups of one column, in the unit of the mix."""

    asked: Floats
    low: Floats
    high: Floats
    floors: Floats  # the least numbers of documents
    supply: Floats
    several: bool  # there are targets for other columns, too


def _groups(
    margin: Margin, asked: Floats, planned: Floats, everything: float, budget: float, goal: Goal
) -> Iterator[dict[str, Any]]:
    """One row per group: what there was, what was asked, what is planned, and which bound stands between them."""
    got = margin.member @ planned
    whole = float(planned.sum())
    _, low, high = asked_of(margin, goal, budget) if budget else (asked, asked, asked)
    floors = bound_of(goal.min_documents, margin.column, margin.names, 0.0)
    several = len(goal.wishes) > 1
    bounds = Bounds(asked, low, high, floors, goal.max_repeats * margin.amounts, several)
    for place, name in enumerate(margin.names):
        status, bound = _status(margin, place, float(got[place]), bounds, budget)
        there, amount = float(margin.amounts[place]), float(got[place])
        epochs = amount / there if there else 0.0
        told = margin.fixed or several or not margin.exclusive  # else what the supply allows is the target
        target = float(asked[place]) if told else amount
        yield {
            "column": margin.column,
            "group": name,
            "documents_before": int(margin.documents[place]),
            "before": there,
            "before_share": there / everything if everything else None,
            "target": target,
            "target_share": target / budget if budget else None,
            "planned": amount,
            "planned_share": amount / whole if whole else None,
            "epochs": epochs,
            "effective": effective(amount, epochs),
            "status": status,
            "bound": bound,
            "shortfall": max(0.0, float(asked[place]) - amount) if asked[place] - amount > NEARLY * budget else 0.0,
        }


def _status(margin: Margin, place: int, amount: float, bounds: Bounds, budget: float) -> tuple[Status, str | None]:
    """How a group came out, and the bound that holds it."""
    near = NEARLY * budget
    asked, low, high, floor, supply = (float(one[place]) for one in bounds[:-1])
    if margin.amounts[place] == 0:
        return ("unreachable", None) if asked > 0 or floor > 0 else ("ok", None)
    held = high < budget - near and abs(amount - high) <= near
    if amount < asked - near:
        if amount >= supply - near:
            return "exhausted", "max_repeats"
        return ("cap", "max_share") if held else ("exhausted", "other targets")
    if low > 0 and abs(amount - low) <= near:
        mean = margin.amounts[place] / margin.documents[place]
        return "floor", "min_documents" if abs(floor * mean - low) <= near else "min_share"
    if held:
        return "cap", "max_share"
    return ("floor", "other targets") if bounds.several and amount > asked + near else ("ok", None)


def worst_off(rows: Sequence[Mapping[str, Any]], share: str = "planned_share") -> tuple[str, float] | None:
    """The group that got the least of its target share, and how much of it."""
    found = [
        (row[share] / row["target_share"], f"{row['column']} = {row['group']}")
        for row in rows
        if row["target_share"] and row[share] is not None
    ]
    if not found:
        return None
    ratio, name = min(found)
    return name, ratio
