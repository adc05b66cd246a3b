"""The account of a balanced corpus: who was there, what was asked, who is there now, and what could not be met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.allocation import total_variation
from curate.margins import EVERY, OTHER, has_several, labels_of
from curate.mix_account import worst_off

if TYPE_CHECKING:
    from curate.filters.balance import Balance
    from curate.mix import Mix

ROUNDED = 0.01  # of a target, or one document: less than this below it is the rounding to whole documents
FAR = 0.03  # of what was planned: a larger difference is told

GROUPS: dict[str, Any] = {
    "column": pl.String, "group": pl.String, "documents_before": pl.Int64, "documents_after": pl.Int64,
    "before": pl.Int64, "target": pl.Float64, "after": pl.Int64, "before_share": pl.Float64,
    "target_share": pl.Float64, "after_share": pl.Float64, "epochs": pl.Float64, "copies": pl.Int64,
    "effective": pl.Float64, "status": pl.String, "bound": pl.String, "shortfall": pl.Float64,
    "true_share_from": pl.Float64, "true_share_to": pl.Float64,
}  # fmt: skip


def account(filter: Balance, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
    """The tables `groups` and `summary` of a finished run, from its ledger."""
    cells = _cells(filter, ledger)
    mix = filter.mix(cells.select(*filter.columns, "documents", "amount"), soft=True)
    after = cells.filter(cells["documents"] > 0)
    rows = [
        _row(filter, planned, found)
        for planned, found in zip(mix.groups.to_dicts(), _after(filter, mix, after), strict=True)
    ]
    groups = pl.DataFrame(rows, schema=GROUPS)
    order = pl.struct("column").rank("dense") if groups.height else pl.lit(0)
    groups = groups.with_columns(order.alias("__order")).sort(
        "__order", "before", descending=[False, True], maintain_order=True
    )
    summary = [(name, _text(value)) for name, value in _summary(filter, mix, rows, after)]
    return {
        "groups": groups.drop("__order"),
        "summary": pl.DataFrame(summary, schema={"measure": pl.String, "value": pl.String}, orient="row"),
    }


def _cells(filter: Balance, ledger: pl.LazyFrame) -> pl.DataFrame:
    """Counts before and after of every cell."""
    keys = [f"group_{place}" for place in range(len(filter.columns))]
    values = [pl.col("cell").list.get(place, null_on_oob=True).alias(key) for place, key in enumerate(keys)]
    later = (pl.col("copies") == 0) & pl.col("rule").ne_missing("not_drawn")
    drawn = ledger.filter(pl.col("cell").is_not_null()).select(
        "size", *values, copies=pl.col("copies").cast(pl.Int64), later=later
    )
    found = (
        drawn.group_by(keys)
        .agg(
            documents=pl.len().cast(pl.Int64),
            amount=pl.col("size").sum(),
            documents_after=(pl.col("copies") > 0).sum().cast(pl.Int64),
            copies_after=pl.col("copies").sum(),
            amount_after=(pl.col("size") * pl.col("copies")).sum(),
            most_copies=pl.col("copies").max(),
            later=pl.col("later").sum().cast(pl.Int64),
            squares=(pl.col("copies") ** 2).sum(),
        )
        .sort(keys)
        .collect(engine="streaming")
    )
    return found.rename(dict(zip(keys, filter.columns, strict=True)))


def _after(filter: Balance, mix: Mix, cells: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """What each group of the mix has after the run, in its order."""
    everything = int(cells["amount_after"].sum())
    for column in dict.fromkeys(mix.groups["column"]):
        labels = pl.Series("group", labels_of(cells, column), dtype=pl.String)
        names = mix.groups.filter(pl.col("column") == column)["group"]
        if filter.per_column and has_several(labels):
            parts = [cells.filter(labels.str.contains(f"{EVERY}{name}{EVERY}", literal=True)) for name in names]
            groups = pl.concat([part.with_columns(group=pl.lit(name)) for part, name in zip(parts, names, strict=True)])
        else:
            groups = cells.with_columns(labels.set(~labels.is_in(names.implode()), OTHER))
        sums = groups.group_by("group").agg(
            pl.col("documents_after", "amount_after").sum(), pl.col("most_copies").max(), pl.col("later").sum()
        )
        wanted = names.alias("group").to_frame().join(sums, on="group", how="left", maintain_order="left").fill_null(0)
        for _, documents, amount, copies, later in wanted.iter_rows():
            yield {
                "documents_after": documents, "after": amount, "copies": copies, "later": later,
                "everything": everything,
            }  # fmt: skip


def _row(filter: Balance, planned: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    share = found["after"] / found["everything"] if found["everything"] else None
    wrong = filter.label_error
    shortfall, status, bound = _outcome(planned, found)
    return {
        **{name: planned[name] for name in GROUPS if name in planned},
        "shortfall": shortfall,
        "status": status,
        "bound": bound,
        "documents_after": found["documents_after"],
        "before": int(planned["before"]),
        "after": found["after"],
        "after_share": share,
        "copies": found["copies"],
        "epochs": found["after"] / planned["before"] if planned["before"] else 0.0,
        "true_share_from": None if share is None else share * (1 - wrong),
        "true_share_to": None if share is None else share + (1 - share) * wrong,
    }


def _outcome(planned: dict[str, Any], found: dict[str, Any]) -> tuple[float, str, str | None]:
    """How far a group is below its target at the end, its status, and what holds it.

    Less than one document, or than one in a hundred of the target, is the rounding to whole documents.
    """
    size = planned["before"] / planned["documents_before"] if planned["documents_before"] else 0.0
    gap = planned["target"] - found["after"]
    nearly = max(size, ROUNDED * planned["target"])
    status, bound = planned["status"], planned["bound"]
    if gap <= nearly:
        rounded = status == "exhausted" and 0 < planned["shortfall"] <= nearly
        return 0.0, *(("ok", None) if rounded else (status, bound))
    if planned["shortfall"] or status == "unreachable":
        return gap, status, bound
    return gap, "exhausted", "later steps" if found["later"] else "whole documents are too large"


def _summary(filter: Balance, mix: Mix, rows: list[dict[str, Any]], cells: pl.DataFrame) -> Iterator[tuple[str, Any]]:
    before, after = int(cells["amount"].sum()), int(cells["amount_after"].sum())
    yield f"{mix.unit} before", before
    yield f"{mix.unit} asked for", mix.budget
    yield f"{mix.unit} after", after
    if mix.unit != "documents":
        yield "documents before", int(cells["documents"].sum())
    yield "documents after (copies counted)", int(cells["copies_after"].sum())
    yield from ((name, value) for name, value in mix.summary.items() if ": " in name and "after" not in name)
    for column in dict.fromkeys(row["column"] for row in rows):
        own = [row for row in rows if row["column"] == column]
        if after and sum(row["documents_before"] for row in own) == cells["documents"].sum():
            target, got = (np.array([row[name] or 0.0 for row in own]) for name in ("target_share", "after_share"))
            yield f"{column}: total variation, after to target", total_variation(got, target)
    worst = worst_off(rows, "after_share")
    if worst is not None:
        yield "worst-off group", f"{worst[0]}: {worst[1]:.1%} of its target share"
    squares = int(cells["squares"].sum())
    if squares:
        copies = int(cells["copies_after"].sum())
        yield (
            "effective sample size (Kish), rates before drawing",
            mix.summary["effective sample size (Kish, documents)"],
        )
        yield "effective number of unique documents (Kish), copies", copies**2 / squares
    short = [row for row in rows if row["shortfall"]]
    yield "groups below their target", len(short)
    for note in (*mix.notes, *_missing(filter, mix, cells), *_notes(filter, mix)):
        yield "note", note


def _missing(filter: Balance, mix: Mix, cells: pl.DataFrame) -> Iterator[str]:
    """Notes on what is missing from the budget, and why."""
    planned, after = float(mix.summary["planned"]), int(cells["amount_after"].sum())
    if planned < mix.budget * (1 - FAR):
        asked = f"{mix.budget:,.0f} {mix.unit} asked for"
        yield f"{planned:,.0f} of the {asked} can be had within the target and its bounds"
    if abs(after - planned) > FAR * planned:
        later = int(cells["later"].sum())
        why = (
            f"later steps dropped {later:,} of the documents that were drawn"
            if later
            else ("each combination of groups is drawn in whole documents, and theirs are large beside its part")
        )
        yield f"{after:,} {mix.unit} are there of {planned:,.0f} planned: {why}"


def _notes(filter: Balance, mix: Mix) -> Iterator[str]:
    yield (
        "shares are of labels as they were measured, not of people or authors; if "
        f"{filter.label_error:.0%} of the labels of every group were wrong, a true share could be anything from "
        "true_share_from to true_share_to (below each share, in small print, on the page)"
    )
    if any(name.endswith(".identity") for name in filter.columns):
        from curate.filters.groups import measured

        yield f"groups of `groups.identity` are documents that mention people by an axis; the matcher: {measured()}"
    if filter.weight is not None or filter.rate_bounds != (0.0, None):
        yield "a larger budget does not hold every document of this one: chances differ inside a group"
    elif len(mix.groups["column"].unique()) > 1:
        yield "a larger budget need not hold every document of this one: combinations of groups may shrink as it grows"
    elif mix.unit == "documents":
        yield "a larger budget holds every document of this one, where a group's amount grows by at least one document"
    else:
        yield "a larger budget with the same target holds every document of this one"
    if filter.select == "top":
        yield f"of each group the documents with the highest {filter.rank_by} stay: what goes with it changed, too"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
