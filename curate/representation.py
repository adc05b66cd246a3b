"""The part of the report that says who was there, what was asked, who is there now, and what could not be met.

It is drawn from the tables of the `balance` steps; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate.console import plural

if TYPE_CHECKING:
    import polars as pl

MAX_GROUPS = 60  # of a column that are drawn; the table of the step and report.json have more
NAMED = 3  # groups named in one sentence

WORDS = {
    "ok": "as planned",
    "cap": "held at its most",
    "floor": "held at its least",
    "exhausted": "not enough",
    "unreachable": "none in the corpus",
}


def representation(
    tables: Mapping[str, Mapping[str, pl.DataFrame]], filters: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One entry per balance step: `step`, `unit`, `columns` with their groups, `summary`, `notes`."""
    return [
        _step(name, made["groups"], made["summary"])
        for name, made in tables.items()
        if filters.get(name) == "balance" and {"groups", "summary"} <= set(made)
    ]


def _step(name: str, groups: pl.DataFrame, summary: pl.DataFrame) -> dict[str, Any]:
    import polars as pl

    said = [(str(measure), str(value)) for measure, value in summary.iter_rows()]
    unit = said[0][0].removesuffix(" before") if said else "bytes"
    columns = [_column(str(column), groups) for column in dict.fromkeys(groups["column"])]
    return {
        "step": name,
        "unit": unit,
        "columns": columns,
        "short": _first(groups.filter(pl.col("shortfall") > 0).sort("shortfall", descending=True)),
        "lost": _first(groups.filter((pl.col("documents_before") > 0) & (pl.col("documents_after") == 0))),
        "summary": [{"measure": measure, "value": value} for measure, value in said if measure != "note"],
        "notes": [value for measure, value in said if measure == "note"],
    }


def _first(groups: pl.DataFrame) -> dict[str, Any]:
    """How many groups there are, and the first of them."""
    return {"groups": groups.height, "first": groups.head(NAMED).to_dicts()}


def _column(column: str, groups: pl.DataFrame) -> dict[str, Any]:
    own = groups.filter(groups["column"] == column)
    rows = own.head(MAX_GROUPS).to_dicts()
    shares = [row[name] or 0.0 for row in rows for name in ("before_share", "target_share", "after_share")]
    return {"column": column, "groups": rows, "more": own.height - len(rows), "most": max(shares, default=0.0)}


def attention(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader must see first: groups below their target, groups that were asked for and are not there."""
    said = []
    for part in parts:
        short, lost = part["short"]["first"], part["lost"]["first"]
        shorts, losts = part["short"]["groups"], part["lost"]["groups"]
        if short:
            names = ", ".join(
                f"{row['column']} = {row['group']} ({row['after']:,} of {row['target']:,.0f} {part['unit']})"
                for row in short[:NAMED]
            )
            more = f" and {shorts - NAMED} more" if shorts > NAMED else ""
            said.append(f"{part['step']}: {plural(shorts, 'group')} got less than asked: {names}{more}.")
        if lost:
            names = ", ".join(f"{row['column']} = {row['group']}" for row in lost[:NAMED])
            more = f" and {losts - NAMED} more" if losts > NAMED else ""
            said.append(f"{part['step']}: no document is left of {names}{more}.")
    return said
