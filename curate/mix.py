"""A mix: how much of each group a corpus should have, what of that can be had, and why not more.

Works on a table of counts alone, one row per combination of values (cell); no document is needed. `filters.balance`
counts, asks here, and then draws documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from curate.allocation import Floats, distances, effective, fill, kish, temperature
from curate.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    import polars as pl

MISSING = "(missing)"  # the group of documents that have no value
OTHER = "(other)"  # the groups that a target does not name, together
BETWEEN = " / "  # between the values of several columns that are balanced as one
EVERY = "|"  # around each label of a document that has several
NEARLY = 1e-6  # relative; less is the rounding of numbers, not a shortfall
ROUNDING = 0.01  # shares that add up to one but for so much were rounded
REHYDRATE = ((1, 1), (2, 2), (3, 3), (5, 5), (100, 8), (1000, 1))  # FineWeb-2: copies from this cluster size on

Status = Literal["ok", "cap", "floor", "exhausted", "unreachable"]
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
    min_share: Mapping[str, Bound] = field(default_factory=dict)
    max_share: Mapping[str, Bound] = field(default_factory=dict)
    min_documents: Mapping[str, Bound] = field(default_factory=dict)
    max_repeats: int = 1
    rates: tuple[float, float | None] = (0.0, None)  # least and most of a cell's own part of the budget
    overlap: frozenset[str] = frozenset()
    soft: bool = False


@dataclass(frozen=True)
class Margin:
    """The groups of one column: which cells each has, how much of it there is, how much is asked."""

    column: str
    names: list[str]
    member: Any  # groups x cells, a sparse array of 0 and 1
    documents: Floats
    amounts: Floats
    wishes: Floats  # shares before bounds; in proportion to them what is free is filled
    method: str
    exclusive: bool = True  # every cell is in exactly one group

    @property
    def fixed(self) -> bool:
        """Whether a share that the supply does not allow is a broken target; other methods go round it."""
        return self.method in ("shares", "rehydrate")


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
    cells = cells.filter(cells["documents"] > 0)
    margins = [_margin(cells, column, wish, goal) for column, wish in goal.wishes.items()]
    if cells.height == 0:
        planned, asked, budget = np.zeros(0), [np.zeros(len(margin.names)) for margin in margins], 0.0
        notes: list[str] = []
    elif len(margins) == 1 and margins[0].exclusive:
        planned, asked, budget, notes = _one(cells, margins[0], goal)
    else:
        planned, asked, budget, notes = _several(cells, margins, goal)
    return _mix(cells, margins, goal, planned, asked, budget, notes)


def balance(table: Any, amount: str | None = None, documents: str | None = "documents", **options: Any) -> Mix:
    """Plan a mix without a corpus: what a `balance` step with these options would do to a table of counts.

    `table` is a polars frame, or a mapping of column to values, with the columns of `by`, and numbers: of documents in
    the column `documents` (1 per row where there is none), of the unit in `amount` (default: the column named as the
    unit; where there is none, documents). `options` are those of the step: by, target, budget, unit, min_share, ...
    Raises InfeasibleError when the target cannot be met, and UsageError for options that make no sense.
    """
    import polars as pl
    from pydantic import ValidationError

    from curate.filters.balance import Balance

    frame = pl.DataFrame(table)
    try:
        step = Balance.model_validate(options if options.get("unit") != "tokens" else options | {"tokenizer": "-"})
    except ValidationError as error:
        raise UsageError("; ".join(str(one["msg"]) for one in error.errors())) from error
    missing = [name for name in step.columns if name not in frame.columns]
    if missing:
        raise UsageError(f"the table has no column {missing[0]!r}", hint=f"it has {', '.join(frame.columns)}")
    number = pl.col(documents) if documents in frame.columns else pl.lit(1)
    size = amount or (step.counted if step.counted in frame.columns else None)
    counted = frame.group_by(step.columns, maintain_order=False).agg(
        number.sum().cast(pl.Float64).alias("__documents"),
        (number if size is None else pl.col(size)).sum().cast(pl.Float64).alias("__amount"),
    )
    cells = counted.select(*step.columns, documents="__documents", amount="__amount").sort(step.columns)
    return step.mix(cells)


# --- groups -----------------------------------------------------------------------------------------------------------


def labels_of(cells: pl.DataFrame, column: str) -> list[str]:
    """The group of each cell in a column, or in several that are balanced as one."""
    import polars as pl

    parts = [pl.col(name).cast(pl.String).fill_null(MISSING) for name in column.split(BETWEEN)]
    return cells.select(pl.concat_str(parts, separator=BETWEEN)).to_series().to_list()


def _margin(cells: pl.DataFrame, column: str, wish: Wish, goal: Goal) -> Margin:
    from scipy import sparse

    documents, amounts = (cells[name].cast(float).to_numpy() for name in ("documents", "amount"))
    labels = labels_of(cells, column)
    if column in goal.overlap:
        return _overlapping(column, labels, wish, documents, amounts)
    if wish.method == "shares":
        names = list(wish.shares)
        known = {name: place for place, name in enumerate(names)}
        places = np.array([known.get(label, len(names)) for label in labels], dtype=int)
        if (places == len(names)).any():
            names = [*names, OTHER]
    else:
        names = sorted(set(labels))
        known = {name: place for place, name in enumerate(names)}
        places = np.array([known[label] for label in labels], dtype=int)
    at = (places, np.arange(len(labels)))
    member = sparse.csr_array((np.ones(len(labels)), at), shape=(len(names), len(labels)))
    counted = member @ documents, member @ amounts
    wishes = _wishes(column, names, wish, counted[1], goal.soft)
    return Margin(column, names, member, *counted, wishes, wish.method)


def _overlapping(column: str, labels: list[str], wish: Wish, documents: Floats, amounts: Floats) -> Margin:
    """The named groups of a column with several labels per document; each share may be anything from 0 to 1."""
    if wish.method != "shares":
        raise UsageError(
            f"{column!r} holds several labels per document: its target must be shares by name",
            hint=f"for example target: {{{column}: {{name: 0.1}}}}, the share of what has the label `name`",
        )
    from scipy import sparse

    names = list(wish.shares)
    has = np.array([[f"{EVERY}{name}{EVERY}" in label for label in labels] for name in names], dtype=float)
    member = sparse.csr_array(has.reshape(len(names), len(labels)))
    wishes = np.array([wish.shares[name] for name in names])
    return Margin(column, names, member, member @ documents, member @ amounts, wishes, wish.method, exclusive=False)


def _wishes(column: str, names: Sequence[str], wish: Wish, amounts: Floats, soft: bool) -> Floats:
    """The shares that are asked of groups, in proportion; those that a target names add up to one."""
    if wish.method == "natural":
        return _parts(amounts)
    if wish.method == "unimax":
        return np.where(amounts > 0, 1.0, 0.0)
    if wish.method == "temperature":
        return temperature(amounts, wish.alpha)
    if wish.method == "rehydrate":
        return _parts(np.array([_rehydrated(column, name) for name in names]) * amounts)
    named: Floats = np.array([wish.shares.get(name, 0.0) for name in names])
    if OTHER in names and OTHER not in wish.shares:
        named[-1] = max(0.0, 1 - named.sum())
    elif OTHER not in names and 0 < named.sum() < 1:
        if named.sum() < 1 - ROUNDING and not soft:
            raise InfeasibleError(
                f"the shares of {column} add up to {named.sum():.4g}, and there are no other documents for the rest",
                hint="let the shares add up to 1",
            )
        named = named / named.sum()
    return named


def _parts(amounts: Floats) -> Floats:
    """Amounts as parts of their sum."""
    parts: Floats = amounts / max(float(amounts.sum()), 1e-300)
    return parts


def _rehydrated(column: str, name: str) -> float:
    """The copies that FineWeb-2 gives a document by the size of its cluster of duplicates; a missing size is 1."""
    try:
        size = 1.0 if name == MISSING else float(name)
    except ValueError:
        raise UsageError(
            f"target: rehydrate wants sizes of clusters in {column!r}, it holds {name!r}",
            hint="for example by: near_duplicates.cluster_size",
        ) from None
    return float([copies for least, copies in REHYDRATE if size >= least][-1]) if size >= 1 else 1.0


def bound_of(bounds: Mapping[str, Bound], column: str, names: Sequence[str], default: float) -> Floats:
    """A bound for each group: one number for all, or numbers by name."""
    given = bounds.get(column, default)
    if isinstance(given, Mapping):
        return np.array([float(given.get(name, default)) for name in names])
    return np.array([float(given)] * len(names))


# --- one set of groups ------------------------------------------------------------------------------------------------


def _asked(margin: Margin, goal: Goal, budget: float | None) -> tuple[Floats, Floats, Floats]:
    """What is asked of each group of a budget (shares without one), and the bounds that are asked, too."""
    whole = 1.0 if budget is None else budget
    low = bound_of(goal.min_share, margin.column, margin.names, 0.0) * whole
    high = bound_of(goal.max_share, margin.column, margin.names, 1.0) * whole
    if budget is not None:
        mean = margin.amounts / np.maximum(margin.documents, 1)
        floor = bound_of(goal.min_documents, margin.column, margin.names, 0.0)
        low = np.maximum(low, floor * mean)
        low[(margin.documents == 0) & (floor > 0)] = 0.0  # told apart: there is nothing of it
    if not margin.exclusive:
        return np.clip(margin.wishes * whole, low, np.maximum(low, high)), low, high
    return fill(margin.wishes, low, np.maximum(low, high), whole), low, high


def _one(cells: pl.DataFrame, margin: Margin, goal: Goal) -> tuple[Floats, list[Floats], float, list[str]]:
    supply = goal.max_repeats * margin.amounts
    everything = float(margin.amounts.sum())
    notes: list[str] = []
    budget = goal.budget
    if budget is None:
        shares, _, _ = _asked(margin, goal, None)
        budget = everything
        if margin.method == "rehydrate":
            budget = sum(
                _rehydrated(margin.column, name) * amount
                for name, amount in zip(margin.names, margin.amounts, strict=True)
            )
        some = (shares > NEARLY / len(shares)) & (supply > 0)
        if margin.method != "unimax" and some.any():
            room = np.divide(supply, shares, out=np.full(len(shares), np.inf), where=some)
            place = int(np.argmin(room))
            if room[place] < budget * (1 - NEARLY):
                budget = float(room[place])
                notes.append(_limited_by(margin, place, budget, everything, goal))
    asked, low, high = _asked(margin, goal, budget)
    short = _short(margin, asked, low, high, supply, budget, goal)
    if short and not goal.soft:
        raise infeasible(short, budget, goal.unit)
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


@dataclass(frozen=True)
class Short:
    """A group of which there is less than a target asks."""

    column: str
    group: str
    asked: float
    possible: float
    why: str


def _short(
    margin: Margin, asked: Floats, low: Floats, high: Floats, supply: Floats, budget: float, goal: Goal
) -> list[Short]:
    """What a single set of groups cannot meet."""
    floors = bound_of(goal.min_documents, margin.column, margin.names, 0.0)
    found: list[Short] = []
    for place, name in enumerate(margin.names):
        need = asked[place] if margin.fixed else low[place]
        if margin.amounts[place] == 0 and (need > 0 or floors[place] > 0):
            found.append(Short(margin.column, name, max(need, floors[place]), 0.0, "there are no such documents"))
        elif need > supply[place] * (1 + NEARLY):
            found.append(Short(margin.column, name, need, supply[place], _used(goal)))
        elif low[place] > high[place] * (1 + NEARLY):
            found.append(Short(margin.column, name, low[place], high[place], "its least is above its most"))
    if found:
        return found
    if low.sum() > budget * (1 + NEARLY):
        found.append(Short(margin.column, "all groups", float(low.sum()), budget, "the least shares exceed the budget"))
    possible = float(np.where(margin.wishes > 0, np.minimum(high, supply), low).sum())
    if possible < budget * (1 - NEARLY):
        found.append(Short(margin.column, "all groups", budget, possible, f"{_used(goal)}, within the most of each"))
    return found


def _used(goal: Goal) -> str:
    return "all of it" if goal.max_repeats == 1 else f"all of it, {goal.max_repeats} times"


def infeasible(short: Sequence[Short], budget: float, unit: str) -> InfeasibleError:
    """The error that lists what is short, the largest shortfall first."""
    rows = sorted(short, key=lambda one: (one.possible - one.asked, one.column, one.group))
    lines = [
        f"  {one.column} = {one.group}: asked {one.asked:,.0f} {unit} ({_share(one.asked, budget)}), possible "
        f"{one.possible:,.0f} ({_share(one.possible, budget)}), short by {one.asked - one.possible:,.0f}: {one.why}"
        if one.asked > one.possible
        else f"  {one.column} = {one.group}: asked {one.asked:,.0f} {unit} ({_share(one.asked, budget)}), at least "
        f"{one.possible:,.0f} ({_share(one.possible, budget)}), {one.possible - one.asked:,.0f} too many: {one.why}"
        for one in rows
    ]
    return InfeasibleError(
        "the target cannot be met:\n" + "\n".join(lines),
        hint="lower the budget or these shares, raise max_repeats, or take the nearest mix with on_infeasible: soft; "
        "then run again with --update",
    )


def _share(amount: float, budget: float) -> str:
    return f"{amount / budget:.2%}" if budget else "-"


# --- several sets of groups -------------------------------------------------------------------------------------------


def _several(cells: pl.DataFrame, margins: list[Margin], goal: Goal) -> tuple[Floats, list[Floats], float, list[str]]:

    from curate.raking import GOOD_ENOUGH, most, nearest, rake, relative_error

    amounts = cells["amount"].cast(float).to_numpy()
    everything = float(amounts.sum())
    membership, shares, which = _rows(margins, [_asked(margin, goal, None)[0] for margin in margins])
    supply = goal.max_repeats * amounts
    own = amounts / everything
    low_rate, high_rate = goal.rates
    scale = np.array([low_rate * own, np.full(len(own), np.inf) if high_rate is None else high_rate * own])
    notes: list[str] = []
    budget = goal.budget
    if budget is None:
        bounded = None if goal.rates == (0.0, None) else scale
        budget = min(everything, most(membership, shares, 0 * supply, supply, bounded))
        if budget <= everything * NEARLY:  # nothing meets the margins: soft, and the message, need some budget
            budget = everything
        elif budget < everything * (1 - NEARLY):
            notes.append(
                f"the budget is {budget / everything:.2%} of what there is: more of it cannot meet all margins; a "
                "`budget`, a larger `max_repeats` or another target allows more"
            )
    asked = [_asked(margin, goal, budget)[0] for margin in margins]
    _, shares, which = _rows(margins, [one / budget for one in asked])
    wanted = shares * budget
    low, high = scale[0] * budget, np.minimum(supply, scale[1] * budget)
    low = np.minimum(low, high)
    missing = [
        Short(margin.column, name, amount, 0.0, "there are no such documents")
        for margin, amounts_asked in zip(margins, asked, strict=True)
        for name, amount, there in zip(margin.names, amounts_asked, margin.amounts, strict=True)
        if there == 0 and amount > 0
    ]
    possible = nearest(membership, wanted, low, high)
    gap = np.abs(possible - wanted) > NEARLY * budget
    if (missing or gap.any()) and not goal.soft:
        alone = "together with the other targets"
        found = {
            (column, name): Short(column, name, wanted[row], possible[row], alone)
            for row, (column, name) in enumerate(which)
            if gap[row] and name is not None
        }
        for row, (column, name) in enumerate(which):
            there = float((membership[[row]] @ supply)[0])
            if name is not None and wanted[row] > there * (1 + NEARLY):
                found[column, name] = Short(column, name, wanted[row], there, _used(goal))
        raise infeasible([*missing, *found.values()] or [Short("all", "groups", budget, 0, alone)], budget, goal.unit)
    raked = rake(membership, possible if gap.any() else wanted, own * budget, low, high)
    if raked.error > GOOD_ENOUGH:
        notes.append(f"raking ended with a relative margin error of {raked.error:.2g} after {raked.steps} steps")
    if not gap.any() and relative_error(raked.margins, wanted) > GOOD_ENOUGH and not goal.soft:
        raise InfeasibleError(
            f"the margins can be met, but the weights found are {raked.error:.2g} off",
            hint="this is a defect: report it",
        )
    return raked.weights, asked, budget, notes


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


# --- the account ------------------------------------------------------------------------------------------------------


def _mix(
    cells: pl.DataFrame,
    margins: Sequence[Margin],
    goal: Goal,
    planned: Floats,
    asked: Sequence[Floats],
    budget: float,
    notes: list[str],
) -> Mix:
    import polars as pl

    amounts = cells["amount"].cast(float).to_numpy()
    rate = np.divide(planned, amounts, out=np.zeros(len(planned)), where=amounts > 0)
    rate[rate < 1e-12] = 0.0
    everything = float(amounts.sum())
    rows = [
        row
        for margin, want in zip(margins, asked, strict=True)
        for row in _account(margin, want, planned, everything, budget, goal)
    ]
    summary: dict[str, Any] = {"unit": goal.unit, "budget": budget, "planned": float(planned.sum())}
    documents = cells["documents"].cast(float).to_numpy()
    for margin, want in zip(margins, asked, strict=True):
        if margin.exclusive and budget > 0 and planned.sum() > 0:
            shares = (margin.amounts / margin.amounts.sum(), want / want.sum(), margin.member @ planned / planned.sum())
            summary |= {f"{margin.column}: {name}": value for name, value in distances(*shares).items()}
    worst = worst_off(rows)
    summary["worst-off group"] = worst[0] if worst else None
    summary["its planned share, as a part of its target"] = worst[1] if worst else None
    effective_documents = kish(documents, rate)
    chosen = float(documents @ rate)
    summary["effective sample size (Kish, documents)"] = effective_documents
    summary["design effect"] = chosen / effective_documents if effective_documents else None
    summary["largest rate of a cell"] = float(rate.max(initial=0))
    table = pl.DataFrame(rows, schema=ACCOUNT) if rows else pl.DataFrame(schema=ACCOUNT)
    frame = cells.with_columns(pl.Series("planned", planned, pl.Float64), pl.Series("rate", rate, pl.Float64))
    return Mix(goal.unit, budget, frame, table, summary, tuple(notes))


ACCOUNT: dict[str, Any] = {
    "column": str, "group": str, "documents_before": int, "before": float, "before_share": float, "target": float,
    "target_share": float, "planned": float, "planned_share": float, "epochs": float, "effective": float,
    "status": str, "bound": str, "shortfall": float,
}  # fmt: skip


def _account(
    margin: Margin, asked: Floats, planned: Floats, everything: float, budget: float, goal: Goal
) -> Iterator[dict[str, Any]]:
    """One row per group: what there was, what was asked, what is planned, and which bound stands between them."""
    got = margin.member @ planned
    whole = float(planned.sum())
    supply = goal.max_repeats * margin.amounts
    _, low, high = _asked(margin, goal, budget) if budget else (asked, asked, asked)
    for place, name in enumerate(margin.names):
        status, bound = _status(margin, place, asked, got, low, high, supply, budget)
        there, amount = float(margin.amounts[place]), float(got[place])
        epochs = amount / there if there else 0.0
        target = float(asked[place]) if margin.fixed else amount
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


def _status(
    margin: Margin, place: int, asked: Floats, got: Floats, low: Floats, high: Floats, supply: Floats, budget: float
) -> tuple[Status, str | None]:
    """How a group came out, and the bound that holds it."""
    near = NEARLY * budget
    amount = got[place]
    if margin.amounts[place] == 0:
        return ("unreachable", None) if asked[place] > 0 else ("ok", None)
    if amount < asked[place] - near:
        return "exhausted", "max_repeats" if amount >= supply[place] - near else "other targets"
    if low[place] > 0 and abs(amount - low[place]) <= near:
        return "floor", "min_share or min_documents"
    if high[place] < budget - near and abs(amount - high[place]) <= near:
        return "cap", "max_share"
    return "ok", None


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
