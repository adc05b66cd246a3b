"""A label sample and a calibration for people, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.console import SHOWN_GROUPS, _add, _grid, _show, clean, number_text, percent, plural

if TYPE_CHECKING:
    from rich.console import Console

    from curate.calibration import Share
    from curate.labels import Calibration, LabelSheets

HELPS = 0.1  # a stratum with less of the uncertainty is not worth naming


def print_sheets(sheets: LabelSheets, console: Console) -> None:
    """Print where the sheets are, what a label means, and how many rows are of each stratum."""
    from rich.text import Text

    rows = f"{sheets.estimate.height:,} rows for estimates"
    more = f", {sheets.learn.height:,} for learning" if sheets.learn.height else ""
    console.print(Text.assemble((clean(sheets.design.task), "bold"), f"  {rows}{more}"))
    for path in sheets.paths:
        console.print(Text(f"wrote {path}"), soft_wrap=True)
    table = _grid(["stratum", "documents", "to label"], wide=True)
    for row in sheets.strata.iter_rows(named=True):
        _add(table, row["title"], f"{row['documents']:,}", f"{row['sampled']:,}")
    _show(table, console)
    said = "fill in `label`: yes (it should be removed for this reason), no or unsure; then  curate calibrate RUN FILE"
    console.print(Text(said), soft_wrap=True)


def print_calibration(made: Calibration, console: Console) -> None:
    """Print precision and recall in all and by group, agreement, the limits, and what to do next."""
    from rich.text import Text

    unsure = f", {plural(made.unsure, 'answer')} unsure" if made.unsure else ""
    labels = f"{plural(made.labelled, 'labelled document')} of {made.found.documents:,}{unsure}"
    console.print(Text.assemble((clean(made.task), "bold"), f"  {labels}"))
    table = _grid(["documents", "removes", "should go, about", "precision", "recall"], wide=True)
    for name, found in (("all", made.found), *made.groups[:SHOWN_GROUPS]):
        _add(table, name, f"{found.removed:,}", _number(found.positives), _share(found.precision), _share(found.recall))
    _show(table, console)
    _print_raters(made.raters, console)
    for row in made.strata.sort("uncertainty", descending=True).head(2).iter_rows(named=True):
        if row["uncertainty"] >= HELPS and row["labelled"] < row["documents"]:
            share = f"{percent(row['uncertainty'])} of what is not known of recall"
            said = f"{row['title']}: {share}, {plural(row['labelled'], 'label')}"
            console.print(Text(f"label more of  {said}"), soft_wrap=True)
    for note in made.notes:
        console.print(Text(f"note: {clean(note)}"), soft_wrap=True)
    if made.limits.height:
        _print_limits(made, console)
    _print_chosen(made, console)


def _print_raters(raters: Mapping[str, Any], console: Console) -> None:
    from rich.text import Text

    if not raters["documents"]:
        return
    alpha = "not known" if raters["alpha"] is None else f"{raters['alpha']:.2f}"
    several = plural(raters["documents"], "document")
    console.print(Text(f"raters: {raters['raters']}; Krippendorff's alpha on {several} of several raters: {alpha}"))
    for group, found in raters["groups"].items():
        inside, across = (_or_dash(found[name]) for name in ("inside", "across"))
        console.print(Text(f"  {clean(group)}: {inside} inside the group, {across} with the others"))


def _print_limits(made: Calibration, console: Console) -> None:
    table = _grid(["limit", "removes", "precision", "recall"], wide=True)
    step = max(1, made.limits.height // 12)
    for at, row in enumerate(made.limits.iter_rows(named=True)):
        if at % step == 0 or row["is_now"]:
            name = f"{number_text(row['limit'])}{' (now)' if row['is_now'] else ''}"
            _add(table, name, f"{row['removed']:,}", *(_of_row(row, share) for share in ("precision", "recall")))
    console.print()
    _show(table, console)


def _print_chosen(made: Calibration, console: Console) -> None:
    from rich.text import Text

    asked = [f"{name} {percent(value)}" for name, value in made.asked.items() if value is not None]
    if made.chosen is None:
        return
    console.print()
    if made.chosen["limit"] is None:
        console.print(Text(f"no limit tried meets {' and '.join(asked)} by these labels"))
        return
    shown = f"{number_text(made.chosen['limit'])} for {' and '.join(asked)}, chosen on one half of the labels"
    console.print(Text.assemble(("limit ", "bold"), shown))
    held = "meets it" if made.chosen["met"] else "does not meet it: label more, or take a stricter one"
    figures = ", ".join(f"{name} {_of_row(made.chosen, name)}" for name in ("precision", "recall"))
    console.print(Text(f"on the other half ({made.chosen['labels']:,} labels): {figures}; {held}"), soft_wrap=True)
    table = _grid(["group", "documents", "removed now", "removed then"], wide=True)
    for row in made.costs.iter_rows(named=True):
        _add(table, row["group"], *(f"{row[name]:,}" for name in ("documents", "removed_now", "removed")))
    _show(table, console)
    if made.chosen["override"] is not None and made.chosen["met"]:
        console.print(Text(f"take it with  curate run PIPELINE --update {made.chosen['override']}"), soft_wrap=True)


def _share(share: Share) -> str:
    if share.median != share.median:
        return "-"
    return f"{percent(share.median)} [{percent(share.low)}, {percent(share.high)}]"


def _of_row(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None or row[name] != row[name]:
        return "-"
    return f"{percent(row[name])} [{percent(row[f'{name}_low'])}, {percent(row[f'{name}_high'])}]"


def _number(share: Share) -> str:
    if share.median != share.median:
        return "-"
    return f"{share.median:,.0f} [{share.low:,.0f}, {share.high:,.0f}]"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
