"""The report as one HTML page: a jinja2 template and small functions that draw inline SVG.

The page opens offline: no scripts, no fonts, no network, and a content security policy that forbids them. Every value
is escaped by jinja2, and characters that hide or reorder text are made visible (`curate.console.clean`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from curate.audit import ALL_STEPS
from curate.console import clean, human_bytes, human_seconds, number_text, percent, plural, unread_at
from curate.representation import WORDS
from curate.scores import is_judged

if TYPE_CHECKING:
    from jinja2 import Template

MAX_CELL_CHARS = 160
MAX_GROUPS = 30  # of an audited column that are drawn; report.json has all
MAX_STEPS = 12  # steps and groups listed below

WIDTH, HEIGHT = 360, 170
LEFT, RIGHT, BOTTOM = 36, 8, 20
LINE = 13  # height of one line of chart text

SIDES = (("kept", "kept"), ("dropped_here", "dropped by this step"), ("dropped_later", "dropped by a later step"))


def render(data: Mapping[str, Any]) -> str:
    """The page of a report's data (`Report.to_dict`)."""
    data = {"representation": [], "policy": [], "audit": None} | dict(data)  # a report of an earlier version
    data["scores"] = [{"unit": "document"} | score for score in data["scores"]]
    flags = [score for score in data["scores"] if score["kind"] == "flag"]
    return _template().render(
        report=data,
        numbers=[score for score in data["scores"] if score["kind"] == "number"],
        labels=[score for score in data["scores"] if score["kind"] == "label"],
        flags=flags,
        others=[score for score in data["scores"] if score["kind"] == "other"],
        finished=moment(data["finished"]),
        equity=equity(data.get("audit")),
        pipeline=json.dumps(data["reproduce"]["pipeline"], ensure_ascii=False, indent=2).splitlines(),
    )


def frame(page: str) -> str:
    """A page inside an iframe of its own, so that a notebook's styles and the page's do not meet."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="" title="curate report" '
        'style="width:100%;height:46rem;border:1px solid #8888;border-radius:6px"></iframe>'
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_finalize, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "size": human_bytes,
        "duration": human_seconds,
        "percent": percent,
        "number": _number,
        "limit": number_text,
        "cell": cell,
        "number_columns": number_columns,
        "histogram": histogram,
        "breakable": breakable,
        "drawn": drawn,
        "bar": bar,
        "side_bar": side_bar,
        "shares": share_bars,
        "waterfall": waterfall,
    }
    environment.globals["plural"] = plural
    environment.globals |= {"is_judged": is_judged, "unread_at": unread_at}
    environment.globals["status_words"] = WORDS
    environment.globals["outside"] = outside
    return environment.from_string(files("curate").joinpath("report.html").read_text(encoding="utf-8"))


def _finalize(value: Any) -> Any:
    return clean(value) if type(value) is str else value


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def drawn(score: Mapping[str, Any]) -> bool:
    """Whether a score has a card of its own: one that is the same everywhere, or nowhere, is told in a line."""
    if "labels" in score:
        return bool(score["labels"] or score["too_long"] or score["others"]["labels"])
    return bool(score["limits"] or score["not_finite"] or score["low"] != score["high"])


def breakable(name: str) -> Markup:
    """A name that a narrow card may break behind its dots, slashes and underscores."""
    return Markup(re.sub(r"([._/])(?=.)", r"\1<wbr>", str(escape(clean(name)))))


def moment(iso: str) -> str:
    """A time for people, 2026-11-23 23:41 UTC; what is no ISO time stays as it is."""
    try:
        return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return iso


def cell(value: Any) -> str:
    """One cell of a filter's table: numbers with separators, everything else as text of at most 160 characters."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _number(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_CELL_CHARS else f"{text[:MAX_CELL_CHARS]}…"


def number_columns(table: Mapping[str, Any]) -> list[bool]:
    """Which columns of a filter's table hold numbers and nothing else but nulls."""
    columns = (
        [row[place] for row in table["rows"] if row[place] is not None] for place in range(len(table["columns"]))
    )
    return [bool(some) and all(type(value) in (int, float) for value in some) for some in columns]


# --- charts -----------------------------------------------------------------------------------------------------------


def bar(parts: Mapping[str, float], whole: float) -> Markup:
    """A bar of stacked parts, class name -> amount, whose full width is `whole`."""
    drawn, at = [], 0.0
    for name, amount in parts.items():
        width = 1000 * amount / whole if whole else 0.0
        if width:
            drawn.append(
                Markup('<rect class="{}" x="{:.1f}" y="0" width="{:.1f}" height="10"/>').format(name, at, width)
            )
        at += width
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(Markup("").join(drawn))


def side_bar(sides: Mapping[str, int], whole: float) -> Markup:
    """The bar of one label or flag: kept, dropped by this step, dropped later."""
    return bar({side: sides[side] for side, _ in SIDES}, whole)


def share_bars(row: Mapping[str, Any], most: float) -> Markup:
    """The shares of one group: before above after, and a line through both where the target is."""
    before, target, after = (
        1000 * (row[name] or 0.0) / (most or 1.0) for name in ("before_share", "target_share", "after_share")
    )
    return Markup(
        '<svg class="shares" viewBox="0 0 1000 26" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="dropped_later" x="0" y="2" width="{:.1f}" height="8"/>'
        '<rect class="kept" x="0" y="12" width="{:.1f}" height="12"/>'
        '<rect class="target" x="{:.1f}" y="0" width="6" height="26"/></svg>'
    ).format(before, after, max(0.0, min(target, 1000) - 3))


def equity(audited: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What the page shows of an audit: per column the groups over all steps, and the steps that tell them apart."""
    if audited is None:
        return []
    columns: dict[str, dict[str, dict[str, Any]]] = {}
    for row in audited["rows"]:
        columns.setdefault(row["by"], {}).setdefault(row["group"], {"steps": []})
        group = columns[row["by"]][row["group"]]
        if row["step"] == ALL_STEPS:
            group["all"] = row
        else:
            group["steps"].append(row)
    return [_column(name, [group for group in groups.values() if "all" in group]) for name, groups in columns.items()]


def _column(name: str, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ordered = sorted(groups, key=lambda group: -(group["all"]["at_risk"] or 0))
    steps = [row for group in groups for row in group["steps"] if row["removed"] and row["status"] != "insufficient"]
    steps.sort(key=lambda row: (not row["flagged"], -abs(row["attribution"] or 0)))
    reach = max((abs(end) for group in ordered[:MAX_GROUPS] for end in _ends(group["steps"])), default=0.0)
    return {
        "by": name, "groups": ordered[:MAX_GROUPS], "more": max(0, len(ordered) - MAX_GROUPS),
        "steps": steps[:MAX_STEPS], "reach": reach,
    }  # fmt: skip


def _ends(steps: Sequence[Mapping[str, Any]]) -> list[float]:
    """Where a group stands after each step: the logarithm of its keep ratio so far."""
    ends = [0.0]
    for row in steps:
        ends.append(ends[-1] + (row["attribution"] or 0.0))
    return ends


def waterfall(steps: Sequence[Mapping[str, Any]], reach: float) -> Markup:
    """Which step did it: each step's part in the logarithm of the keep ratio, one after the other, from the middle."""
    ends = _ends(steps)
    drawn = []
    for row, start, end in zip(steps, ends, ends[1:], strict=False):
        left, right = (500 + 490 * value / (reach or 1.0) for value in sorted((start, end)))
        if right - left < 1:
            continue
        shape = '<g><title>{}: {:+.3f}</title><rect class="{}" x="{:.1f}" y="3" width="{:.1f}" height="10"/></g>'
        drawn.append(
            Markup(shape).format(
                clean(row["step"]), end - start, "kept" if end > start else "dropped_here", left, right - left
            )
        )
    return Markup(
        '<svg class="fall" viewBox="0 0 1000 16" preserveAspectRatio="none">'
        '<line class="grid" x1="500" x2="500" y1="0" y2="16"/>{}</svg>'
    ).format(Markup("").join(drawn))


def histogram(score: Mapping[str, Any]) -> Markup:
    """The histogram of one score, kept and dropped stacked, with its limits as lines and the dropped side shaded."""
    edges: list[float] = score["edges"]
    totals = [sum(parts) for parts in zip(*(score[side] for side, _ in SIDES), strict=True)]
    if not edges or not any(totals):
        return Markup('<p class="quiet">No value.</p>')
    limits = [mark for mark in score["limits"] if not outside(mark, score)]
    plot = _Plot(edges, score["scale"] == "log", score["whole"], max(totals), LINE * len(limits) + 6)
    drawn = [_grid(plot), *(_shade(plot, mark) for mark in limits), *_columns(plot, score)]
    drawn += [_ticks(plot), *(_limit(plot, mark, line) for line, mark in enumerate(limits))]
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="histogram of {}">{}</svg>').format(
        WIDTH, HEIGHT, clean(score["score"]), Markup("").join(drawn)
    )


def outside(mark: Mapping[str, Any], score: Mapping[str, Any]) -> bool:
    """Whether a limit lies outside its chart (or is infinite), so that only the words below can tell it."""
    edges = score["edges"]
    return not edges or mark["limit"] is None or not edges[0] <= _position(mark, score["whole"]) <= edges[-1]


def _position(mark: Mapping[str, Any], whole: bool) -> float:
    """Where the line stands: between the last kept and the first dropped number when scores are whole numbers."""
    limit = float(mark["limit"])
    if not whole:
        return limit
    return math.floor(limit) + 1 if mark["side"] == "above" else math.ceil(limit)


class _Plot:
    """Where values and counts stand on the page."""

    def __init__(self, edges: Sequence[float], log: bool, whole: bool, most: int, top: float) -> None:
        self.edges = edges
        self.log = log
        self.whole = whole
        self.most = most
        self.top = top
        self.centred = whole and not log and edges[1] - edges[0] == 1  # a bar for each number, named below its middle
        self.start, self.end = self._unit(edges[0]), self._unit(edges[-1])

    def _unit(self, value: float) -> float:
        """A value on the axis before it is stretched; below the first positive edge a logarithm goes on as a line."""
        if not self.log:
            return value
        first = self.edges[1] if self.edges[0] <= 0 else self.edges[0]
        if value >= first:
            return math.log10(value)
        return math.log10(first) - 0.15 * (1 - value / first)

    def x(self, value: float) -> float:
        """Across: the value's place between the chart's sides."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (self._unit(value) - self.start) / (self.end - self.start)

    def y(self, count: float) -> float:
        """Down: the count's place between the base line and the top."""
        base = HEIGHT - BOTTOM
        return base - (base - self.top) * count / self.most


def _columns(plot: _Plot, score: Mapping[str, Any]) -> list[Markup]:
    drawn = []
    last = len(plot.edges) - 2
    for index in range(len(plot.edges) - 1):
        low, high = plot.edges[index], plot.edges[index + 1]
        left, right = plot.x(low), plot.x(high)
        parts, below = [], 0
        for side, _ in SIDES:
            count = score[side][index]
            if count:
                height = max(plot.y(below) - plot.y(below + count), 1.0)
                shape = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
                parts.append(shape.format(side, left, plot.y(below) - height, max(right - left - 0.6, 0.6), height))
            below += count
        if parts:
            closed = index == last and not score["whole"]
            counts = ", ".join(f"{score[side][index]:,} {words}" for side, words in SIDES if score[side][index])
            title = f"{_range(low, high, plot.whole, closed)}: {counts}"
            drawn.append(Markup("<g><title>{}</title>{}</g>").format(title, Markup("").join(parts)))
    return drawn


def _range(low: float, high: float, whole: bool, closed: bool) -> str:
    if whole:
        return number_text(low) if high - low <= 1 else f"{number_text(low)} to {number_text(high - 1)}"
    return f"{number_text(low)} to {'' if closed else 'below '}{number_text(high)}"


def _grid(plot: _Plot) -> Markup:
    drawn = []
    for count in sorted({0, plot.most}):
        y = plot.y(count)
        line = Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(LEFT, WIDTH - RIGHT, y, y)
        text = Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(LEFT - 4, y + 4, short(count))
        drawn.append(line + text)
    return Markup("").join(drawn)


def _ticks(plot: _Plot) -> Markup:
    drawn = []
    for value in _tick_values(plot):
        x = plot.x(value + 0.5 if plot.centred else value)
        anchor = "start" if x < LEFT + 8 else "end" if x > WIDTH - RIGHT - 8 else "middle"
        text = Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>')
        drawn.append(text.format(x, HEIGHT - 6, anchor, short(value)))
    return Markup("").join(drawn)


def _tick_values(plot: _Plot) -> list[float]:
    """About five round values of the axis."""
    edges = plot.edges[:-1] if plot.centred else plot.edges  # whole numbers: the last edge is behind the last of them
    if plot.log:
        first = math.ceil(math.log10(max(edges[0], 1.0)))
        decades = list(range(first, math.floor(math.log10(edges[-1]) + 1e-9) + 1))
        return [10.0**power for power in decades[:: math.ceil(len(decades) / 7) or 1]]
    width = plot.edges[1] - plot.edges[0]
    for every in (1, 2, 4, 5, 8, 10, 20):
        chosen = [edge for edge in edges if round(edge / width) % every == 0]
        if len(chosen) <= 6:
            return chosen
    return [edges[0], edges[-1]]


def _shade(plot: _Plot, mark: Mapping[str, Any]) -> Markup:
    x = plot.x(_position(mark, plot.whole))
    left, right = (x, WIDTH - RIGHT) if mark["side"] == "above" else (LEFT, x)
    shape = Markup('<rect class="shade" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
    return shape.format(left, plot.top, max(right - left, 0), HEIGHT - BOTTOM - plot.top)


def _limit(plot: _Plot, mark: Mapping[str, Any], line: int) -> Markup:
    x = plot.x(_position(mark, plot.whole))
    y = LINE * (line + 1) - 2
    words = f"{mark['rule']}: {mark['side']} {number_text(mark['limit'])}"
    anchor, shift = ("start", 3) if x < WIDTH / 2 else ("end", -3)
    return Markup(
        '<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{base}"/>'
        '<text class="limit" x="{at:.1f}" y="{y}" text-anchor="{anchor}">{words}</text>'
    ).format(x=x, top=y - 9, base=HEIGHT - BOTTOM, at=x + shift, y=y, anchor=anchor, words=clean(words))


def short(value: float) -> str:
    """A number on an axis: 0.25, 50, 10k, 1.5M."""
    size = abs(value)
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{value / unit:.3g}{name}" if size < 1e15 else f"{value:.1e}"
    return f"{value:.3g}" if size >= 0.001 or value == 0 else f"{value:.0e}"
