"""The audit in the terminal: what to look at first, all steps together by group, the steps, and what must be known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curate.audit import ALL_STEPS
from curate.console import WIDE, _add, _grid, _show, clean, number_text, percent, plural

if TYPE_CHECKING:
    from rich.console import Console

    from curate.audit import Audit

Row = dict[str, Any]
MAX_FLAGS, MAX_ROWS, MAX_WORDS = 10, 25, 10


def print_audit(audit: Audit, console: Console) -> None:
    """Print an audit as compact tables; labels from data are never read as markup."""
    import polars as pl
    from rich.text import Text

    flags = audit.flags
    for row in flags[:MAX_FLAGS]:
        console.print(Text.assemble(("flagged: ", "bold yellow"), clean(row["text"])))
    if len(flags) > MAX_FLAGS:
        console.print(Text(f"and {plural(len(flags) - MAX_FLAGS, 'more flag')}"))
    if not flags:
        console.print(Text("nothing is flagged"))
    for column in dict.fromkeys(audit.rows["by"].to_list()):
        own = [row for row in audit.rows.iter_rows(named=True) if row["by"] == column]
        _print_rows(column, [row for row in own if row["step"] == ALL_STEPS], console, steps=False)
        parts = [row for row in own if row["step"] != ALL_STEPS]
        _print_rows(column, _telling(parts), console, steps=True)
        if few := sum(row["status"] == "insufficient" for row in parts):
            console.print(Text(f"{plural(few, 'pair')} of step and group with too few documents: see --json"))
    changed = audit.rows.filter(pl.col("simpson") & pl.col("status").is_in(["ok", "flagged"]))
    for row in changed.sort("flagged", descending=True, maintain_order=True).head(MAX_FLAGS).iter_rows(named=True):
        console.print(Text.assemble(("look: ", "bold yellow"), clean(simpson_text(row))))
    _print_words(audit.words.to_dicts(), console)
    if audit.labels is not None:
        _print_labels(audit.labels, console)
    console.print()
    for note in audit.notes:
        console.print(Text(f"note: {clean(note)}", style="dim"))


def simpson_text(row: Row) -> str:
    """The warning that a ratio changes when like is compared with like."""
    where = "all steps together" if row["step"] == ALL_STEPS else row["step"]
    return (
        f"{where}, {row['group']} ({row['by']}): removed {number_text(round(row['removal_ratio'], 2))} times as often "
        f"over all, {number_text(round(row['adjusted_ratio'], 2))} times within strata "
        f"[{row['adjusted_low']:.2f}, {row['adjusted_high']:.2f}]. Both are true: strata can explain a gap, or hide it."
    )


def _telling(rows: Sequence[Row]) -> list[Row]:
    """The steps and groups to show: flagged first, then what moves a group most; not the idle and the tiny ones."""
    known = [row for row in rows if row["removed"] or row["reference_removed"]]
    return sorted(
        known, key=lambda row: (not row["flagged"], row["status"] == "insufficient", -abs(row["attribution"] or 0))
    )


def _print_rows(column: str, rows: Sequence[Row], console: Console, *, steps: bool) -> None:
    from rich.text import Text

    if not rows:
        return
    wide = console.width >= WIDE
    first = ["step", column] if steps else [column]
    adjusted = any(row["adjusted_ratio"] is not None for row in rows)
    names = [*first, "at risk", "removed", "share", "times as often"]
    names += ["in strata"] if adjusted else []
    names += ["kept", "q"] if wide else []
    table = _grid([*names, "verdict"], left=len(first), wide=wide)
    for row in rows[:MAX_ROWS]:
        cells = [row["step"], row["group"]] if steps else [row["group"]]
        cells += [f"{row['at_risk']:,}", f"{row['removed']:,}", percent(row["rate"])]
        cells.append(_interval(row, "removal", wide))
        cells += [_interval(row, "adjusted", wide)] if adjusted else []
        if wide:
            cells += [_number(row["keep_ratio"]), _small(row["q"])]
        _add(table, *cells, _verdict(row, wide))
    _show(table, console)
    if len(rows) > MAX_ROWS:
        console.print(Text(f"{len(rows) - MAX_ROWS:,} more rows with --json"))


def _verdict(row: Row, wide: bool) -> str:
    """The status; of too few documents also the ratio from which on they would show one."""
    least = row["detectable_ratio"]
    if row["status"] != "insufficient" or least is None or not wide:
        return str(row["status"])
    return f"insufficient (from {least:.3g}x on)"


def _interval(row: Row, name: str, wide: bool) -> str:
    """A ratio, with its interval where there is room."""
    value = _number(row[f"{name}_ratio"])
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{value} [{_number(low)}, {_number(high)}]" if wide and low is not None else value


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 99.5 else f"{value:,.0f}"


def _small(value: float | None) -> str:
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _print_words(words: Sequence[Row], console: Console) -> None:
    from rich.text import Text

    for by, group, step in dict.fromkeys((row["by"], row["group"], row["step"]) for row in words):
        console.print()
        console.print(Text(clean(f"words of {group} ({by}) at {step}, by how much they tell apart:")))
        for side in ("removed", "kept"):
            own = [
                row for row in words if (row["by"], row["group"], row["step"], row["side"]) == (by, group, step, side)
            ]
            shown = ", ".join(f"{row['word']} {row['z']:+.1f}" for row in own[:MAX_WORDS])
            console.print(Text(clean(f"  {side}: {shown or 'none'}")))


def _print_labels(labels: Any, console: Console) -> None:
    wide = console.width >= WIDE
    names = ["group", "labelled", "wrongly removed", "wrongly kept", "subgroup", "BPSN", "BNSP"]
    table = _grid(names if wide else names[:4], wide=wide)
    for row in [{"group": "everyone"} | labels["overall"], *labels["groups"]]:
        cells = [
            row["group"],
            f"{row['labelled']:,}",
            percent(row["false_positive_rate"]),
            percent(row["false_negative_rate"]),
        ]
        areas = [_number(row.get(name)) for name in ("subgroup_auc", "bpsn_auc", "bnsp_auc")]
        _add(table, *cells, *(areas if wide else []))
    _show(table, console)
