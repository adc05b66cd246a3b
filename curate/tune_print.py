"""A tuning for people: tables with bars in the terminal, and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from markupsafe import Markup

from curate.console import (
    SHOWN_GROUPS,
    WIDE,
    _add,
    _grid,
    _show,
    clean,
    human_bytes,
    number_text,
    percent,
    plural,
)
from curate.html import bar

if TYPE_CHECKING:
    from rich.console import Console

    from curate.tune import Tuning

BAR = 16
EIGHTHS = " ▏▎▍▌▋▊▉"
MOST_COLUMNS = 5  # values that a terminal shows side by side
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8884}
td:first-child,th:first-child{text-align:left}svg{width:14rem;height:.8rem;background:#8882}
.kept{fill:#2a7}.open{fill:#2a76}.now{font-weight:bold}
"""


def rows_of(tuning: Tuning) -> list[dict[str, Any]]:
    """The table's rows in order of value, with the run's own value among them, marked `now`."""
    rows = [{**row, "is_now": row["value"] == tuning.now} for row in tuning.table.to_dicts()]
    if not any(row["is_now"] for row in rows):
        rows.append({**tuning.current, "is_now": True})
    return sorted(rows, key=lambda row: (row["value"] is not None, row["value"] or 0))


def print_tuning(tuning: Tuning, console: Console) -> None:
    """Print what each value drops and keeps, what is not known, by group, and the override to paste."""
    from rich.text import Text

    wide = console.width >= WIDE
    console.print(Text.assemble((clean(tuning.threshold), "bold"), f"  {_of(tuning)}"))
    heads = ["value", "drops", _kept_head(tuning), "share", ""]
    table = _grid([*heads, "text", "only this rule"] if wide else heads, wide=wide)
    table.columns[4].justify = "left"
    for row in rows_of(tuning):
        cells = [_value(row), f"{row['dropped']:,}", _range(row), _share(row), _bar(row)]
        only = "-" if row["alone"] is None else f"about {row['alone']:,}"
        size = "-" if row["kept_bytes"] is None else human_bytes(row["kept_bytes"])
        _add(table, *cells, *([size, only] if wide else ()))
    _show(table, console)
    for note in notes(tuning):
        console.print(Text(f"note: {clean(note)}"))
    if tuning.by is not None:
        _print_groups(tuning, console, wide)
    value = tuning.table["value"][0]
    console.print()
    console.print(Text(f"take one with  curate run PIPELINE --update {tuning.override(value)}"), soft_wrap=True)


def _print_groups(tuning: Tuning, console: Console, wide: bool) -> None:
    """The share of each group that is kept, a column per value."""
    from rich.text import Text

    values = _spread(tuning.table["value"].to_list(), MOST_COLUMNS + (3 if wide else 0))
    table = _grid([str(tuning.by), "seen", *map(_number, values)], wide=wide)
    groups = tuning.groups.filter(pl.col("seen") > 0).partition_by("group", as_dict=True, maintain_order=True)
    for (group,), part in list(groups.items())[:SHOWN_GROUPS]:
        rows = {row["value"]: row for row in part.to_dicts()}
        _add(table, str(group), f"{rows[values[0]]['seen']:,}", *(_share(rows[value]) for value in values))
    _show(table, console)
    if len(groups) > SHOWN_GROUPS:
        console.print(Text(plural(len(groups) - SHOWN_GROUPS, "more group")))


def notes(tuning: Tuning) -> list[str]:
    """What is not known, in sentences."""
    said = []
    rows = tuning.table.to_dicts()
    if any(row["kept_low"] != row["kept_high"] for row in rows):
        said.append(
            "a range is where later steps have not judged documents that newly survive: it is estimated from those in "
            "the audit sample (95 %)"
        )
    if tuning.until is not None:
        said.append(
            f"what {tuning.until} would then decide is not known: it depends on all documents; counted are those that "
            "reach it"
        )
    if tuning.hidden:
        said.append(
            f"{plural(tuning.hidden, 'document')} went before this step and are not in the audit sample: whether they "
            "break the rule is unknown, and no value brings them back"
        )
    if tuning.quarantined:
        said.append(
            f"{plural(tuning.quarantined, 'document')} in quarantine, which this step or a later one could not judge, "
            "are not counted"
        )
    if any(row["unanswered"] for row in rows):
        said.append("some documents have no score for this rule and would go to quarantine")
    return said


def _of(tuning: Tuning) -> str:
    now = "no limit" if tuning.now is None else _number(tuning.now)
    seen = f"{plural(tuning.current['seen'], 'document')} reach the step"
    return f"now {now}; {seen}; {tuning.sampled:,} of {tuning.documents:,} in the audit sample"


def _kept_head(tuning: Tuning) -> str:
    return "kept" if tuning.until is None else f"reach {clean(tuning.until)}"


def _number(value: float | None) -> str:
    return "none" if value is None else number_text(value)


def _value(row: Mapping[str, Any]) -> str:
    return f"{_number(row['value'])}{' (now)' if row['is_now'] else ''}"


def _range(row: Mapping[str, Any]) -> str:
    if row["kept_low"] == row["kept_high"]:
        return f"{row['kept_low']:,}"
    return f"{row['kept_low']:,} to {row['kept_high']:,}"


def _share(row: Mapping[str, Any]) -> str:
    if row["kept"] is None or not row["seen"]:
        return "-"
    return f"{'' if row['kept_low'] == row['kept_high'] else '~'}{percent(row['kept'] / row['seen'])}"


def _bar(row: Mapping[str, Any]) -> str:
    """The share that is kept as a bar; what is open as dots."""
    if not row["seen"]:
        return ""
    sure, most = (row[name] / row["seen"] * BAR for name in ("kept_low", "kept_high"))
    part = round((sure - int(sure)) * 8)
    drawn: str = "█" * (int(sure) + part // 8) + EIGHTHS[part % 8].strip()
    return drawn + "·" * int(round(most) - len(drawn))


def _spread(values: Sequence[float], most: int) -> list[float]:
    """At most so many of some values, from first to last."""
    if len(values) <= most:
        return list(values)
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]


def tuning_page(tuning: Tuning) -> str:
    """One page with the table, its bars, and the groups."""
    rows = Markup("").join(_page_row(tuning, row) for row in rows_of(tuning))
    heads = Markup("").join(
        Markup("<th>{}</th>").format(name)
        for name in ("value", "drops", _kept_head(tuning), "share", "", "text", "only this rule", "override")
    )
    said = Markup("").join(Markup("<p>{}</p>").format(clean(note)) for note in notes(tuning))
    title = clean(tuning.threshold)
    head = Markup(
        '<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>{}</title><style>{}</style>"
    ).format(title, Markup(STYLE))
    body = Markup("<h1>{}</h1><p>{}</p><table><tr>{}</tr>{}</table>").format(title, clean(_of(tuning)), heads, rows)
    page = Markup('<!doctype html><html lang="en"><head>{}</head><body>{}{}{}</body></html>\n')
    return str(page.format(head, body, said, _page_groups(tuning)))


def _page_row(tuning: Tuning, row: Mapping[str, Any]) -> Markup:
    drawn = bar({"kept": row["kept_low"], "open": row["kept_high"] - row["kept_low"]}, row["seen"])
    size = "-" if row["kept_bytes"] is None else human_bytes(row["kept_bytes"])
    only = "-" if row["alone"] is None else f"{row['alone_low']:,} to {row['alone_high']:,}"
    override = "" if row["value"] is None else tuning.override(row["value"])
    cells = [_value(row), f"{row['dropped']:,}", _range(row), _share(row), drawn, size, only, clean(override)]
    return Markup('<tr class="{}">{}</tr>').format(
        "now" if row["is_now"] else "", Markup("").join(Markup("<td>{}</td>").format(cell) for cell in cells)
    )


def _page_groups(tuning: Tuning) -> Markup:
    if tuning.by is None:
        return Markup("")
    values = tuning.table["value"].to_list()
    heads = Markup("").join(Markup("<th>{}</th>").format(name) for name in ("seen", *map(_number, values)))
    made = Markup("")
    for (group,), part in tuning.groups.partition_by("group", as_dict=True, maintain_order=True).items():
        rows = {row["value"]: row for row in part.to_dicts()}
        cells = [clean(str(group)), f"{rows[values[0]]['seen']:,}", *(_share(rows[value]) for value in values)]
        made += Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in cells))
    return Markup("<h2>{}</h2><table><tr><th></th>{}</tr>{}</table>").format(clean(str(tuning.by)), heads, made)
