"""The groups of one column, or of several that are balanced as one: what there is of each, and what is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.allocation import Floats, fill, temperature
from curate.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from curate.mix import Bound, Goal, Wish

MISSING = "(missing)"  # the group of documents that have no value
OTHER = "(other)"  # the groups that a target does not name, together
BETWEEN = " / "  # between the values of several columns that are balanced as one
EVERY = "|"  # around each label of a document that has several
ROUNDING = 0.01  # shares that add up to one but for so much were rounded
REHYDRATE = ((1, 1), (2, 2), (3, 3), (5, 5), (100, 8), (1000, 1))  # FineWeb-2: copies from this cluster size on


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


def labels_of(cells: pl.DataFrame, column: str) -> list[str]:
    """The group of each cell in a column, or in several that are balanced as one."""
    import polars as pl

    if column in cells.columns:
        return cells[column].cast(pl.String).fill_null(MISSING).to_list()
    parts = [pl.col(name).cast(pl.String).fill_null(MISSING) for name in column.split(BETWEEN)]
    return cells.select(pl.concat_str([_escaped(part) for part in parts], separator=BETWEEN)).to_series().to_list()


def has_several(labels: pl.Series) -> bool:
    """Whether a column's groups are those of documents with several labels: |one|another|."""
    several = labels.filter(labels != MISSING)
    return len(several) > 0 and bool((several.str.starts_with(EVERY) & several.str.ends_with(EVERY)).all())


def joined(parts: Sequence[str]) -> str:
    """The name of a group of several columns, from its value in each."""
    import polars as pl

    if len(parts) == 1:
        return parts[0]
    return str(pl.select(pl.concat_str([_escaped(pl.lit(part)) for part in parts], separator=BETWEEN)).item())


def _escaped(part: pl.Expr) -> pl.Expr:
    """A value in which nothing looks like what stands between values: ` / ` becomes ` \\/ `."""
    for _ in range(2):  # matches share their spaces: a / / b
        part = part.str.replace_all("(^| )/( |$)", r"$1\/$2")
    return part


def margin_of(cells: pl.DataFrame, column: str, wish: Wish, goal: Goal) -> Margin:
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
        return _parts(np.array([rehydrated(column, name) for name in names]) * amounts)
    named: Floats = np.array([wish.shares.get(name, 0.0) for name in names])
    if OTHER in names and OTHER not in wish.shares:
        named[-1] = max(0.0, 1 - named.sum())
    elif OTHER not in names and 0 < named.sum() < 1 and amounts.sum() > 0:
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


def rehydrated(column: str, name: str) -> float:
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


def asked_of(margin: Margin, goal: Goal, budget: float | None) -> tuple[Floats, Floats, Floats]:
    """What is asked of each group of a budget (shares without one), and the bounds that are asked, too."""
    whole = 1.0 if budget is None else budget
    low = bound_of(goal.min_share, margin.column, margin.names, 0.0) * whole
    high = bound_of(goal.max_share, margin.column, margin.names, 1.0) * whole
    if budget is not None:
        mean = margin.amounts / np.maximum(margin.documents, 1)
        floor = bound_of(goal.min_documents, margin.column, margin.names, 0.0)
        low = np.maximum(low, floor * mean)
    if not margin.exclusive:
        return np.clip(margin.wishes * whole, low, np.maximum(low, high)), low, high
    return fill(margin.wishes, low, np.maximum(low, high), whole), low, high
