"""The differences between two runs for people: tables in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from curate.console import WIDE, _add, _grid, _show, clean, number_text, percent, plural
from curate.drift import BY_CHANCE, TOO_FEW

if TYPE_CHECKING:
    from rich.console import Console

    from curate.drift import Drift
    from curate.run_diff import Diff

SHOWN = 20
WORDS = {TOO_FEW: "few documents", BY_CHANCE: "chance"}  # why a drift that is not small is no alert
STYLES = {"fail": "bold red", "warn": "bold yellow", "info": "bold cyan"}


def print_diff(found: Diff, console: Console) -> None:
    """Print counts, what differs between the pipelines, documents that changed sides, drift and other scores."""
    from rich.text import Text

    counts = found.counts
    console.print(Text.assemble((clean(found.before), "bold"), " -> ", (clean(found.now), "bold")), soft_wrap=True)
    table = _grid(["", "before", "now"])
    _add(table, "documents", f"{counts['before']:,}", f"{counts['now']:,}")
    _add(table, "kept", f"{counts['kept_before']:,}", f"{counts['kept_now']:,}")
    _add(table, "only in this run", f"{counts['only_before']:,}", f"{counts['only_now']:,}")
    _show(table, console)
    console.print()
    console.print(
        Text(
            f"of {plural(counts['both'], 'document')} in both, {counts['newly_dropped']:,} are newly dropped, "
            f"{counts['newly_kept']:,} newly kept, {counts['other_rule']:,} dropped by another rule"
        )
    )
    _print_pipeline(found, console)
    _print_changed(found, console)
    _print_only(found, console)
    _print_drifts(found, console)
    _print_scores(found, console)


def _print_pipeline(found: Diff, console: Console) -> None:
    from rich.text import Text

    if found.not_reproduced:
        files = plural(len(found.not_reproduced), "file")
        console.print(
            Text.assemble(
                ("same pipeline, different result: ", "bold red"),
                f"nothing differs between the pipelines, inputs, models and versions, but {files} of the outputs do",
            )
        )
    elif not found.pipeline:
        console.print(Text("the same pipeline, input, models and versions, and the same result"))
    for line in found.pipeline[:SHOWN]:
        console.print(Text.assemble(("differs: ", "bold"), clean(line)))
    if len(found.pipeline) > SHOWN:
        console.print(Text(plural(len(found.pipeline) - SHOWN, "more difference")))


def _rule(step: str | None, rule: str | None) -> str:
    return "kept" if step is None else f"{step}.{rule}"


def _print_changed(found: Diff, console: Console) -> None:
    from rich.text import Text

    if not found.changed.height:
        return
    by = () if found.by is None else (found.by,)
    wide = console.width >= WIDE
    table = _grid(["before", "now", *by, "documents", "for example"], left=2 + len(by), wide=wide)
    table.columns[-1].justify = "left"
    for row in found.changed.head(SHOWN).iter_rows(named=True):
        sides = (_rule(row[f"{side}_step"], row[f"{side}_rule"]) for side in ("before", "now"))
        group = () if found.by is None else (row["group"],)
        _add(table, *sides, *group, f"{row['documents']:,}", ", ".join(row["examples"][: 3 if wide else 1]))
    _show(table, console)
    if found.changed.height > SHOWN:
        console.print(Text(plural(found.changed.height - SHOWN, "more change")))


def _print_only(found: Diff, console: Console) -> None:
    if not found.only.height:
        return
    total = found.only.group_by("run", "step", "rule", maintain_order=True).agg(
        pl.col("documents").sum(), pl.col("examples").first()
    )
    table = _grid(["only in", "verdict", "documents", "for example"], left=2, wide=console.width >= WIDE)
    table.columns[-1].justify = "left"
    for row in total.head(SHOWN).iter_rows(named=True):
        _add(table, row["run"], _rule(row["step"], row["rule"]), f"{row['documents']:,}", row["examples"][0])
    _show(table, console)


def _print_drifts(found: Diff, console: Console) -> None:
    """The signals that drifted; how many did not."""
    from rich.text import Text

    shown = sorted(found.drifts, key=lambda drift: -drift.total_variation)
    shown = [drift for drift in shown if drift.reason != "small"][:SHOWN]
    wide = console.width >= WIDE
    heads = ["drift of", "level", "moved", "by chance up to", "PSI"]
    table = _grid([*heads, "noise", "JSD, bits", "V", "W1/SD"] if wide else heads, left=2, wide=wide)
    for drift in shown:
        _add(table, drift.signal, WORDS.get(drift.reason, drift.level), *_numbers(drift, wide))
    if shown:
        _show(table, console)
    for drift in shown:
        if drift.level == "none":
            continue
        top = "; ".join(f"{one['category']} {percent(one['before'])} -> {percent(one['now'])}" for one in drift.top)
        console.print(Text.assemble((f"{drift.level}: ", STYLES[drift.level]), clean(f"{drift.signal}: {top}")))
    if quiet := len(found.drifts) - len(shown):
        console.print(Text(f"{plural(quiet, 'signal')} moved less than 1 %"))


def _numbers(drift: Drift, wide: bool) -> list[str]:
    cells = [percent(drift.total_variation), percent(drift.noise), f"{drift.psi:.3f}"]
    if wide:
        distance = "-" if drift.wasserstein is None else f"{drift.wasserstein:.3f}"
        cells += [f"{drift.psi_noise:.3f}", f"{drift.jensen_shannon:.4f}", f"{drift.cramers_v:.3f}", distance]
    return cells


def _print_scores(found: Diff, console: Console) -> None:
    rows = found.scores.filter(pl.col("different") > 0)
    if not rows.height:
        return
    table = _grid(["other scores", "compared", "different", "largest"], wide=console.width >= WIDE)
    for row in rows.iter_rows(named=True):
        largest = "-" if row["largest"] is None else number_text(row["largest"])
        _add(table, row["score"], f"{row['compared']:,}", f"{row['different']:,}", largest)
    _show(table, console)
