"""The terminal: numbers for people, errors with one hint, progress of a run, the report as compact tables.

Names from data (ids, files, labels, rules, errors) are hostile here: they pass `clean` and reach rich only as `Text`.
rich is imported where something is printed, so that `curate --help` never pays for it.
"""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID
    from rich.table import Table

    from curate.errors import CurateError
    from curate.report import Report

SECONDS_BETWEEN_LINES = 10.0  # of progress, where the output is no terminal
NAME_WIDTH, BAR_WIDTH = 24, 12  # of a stage on a terminal
SHOWN_GROUPS = 20  # of a balanced column
WIDE = 100  # columns from which tables show everything
HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, formats (bidi, zero-width), surrogates, separators


# --- words and numbers for people -------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Replace characters that steer a terminal or hide in text (controls, bidi, zero-width) by their `\\x1b` form."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in HIDDEN_CATEGORIES else char
        for char in text
    )


def human_bytes(size: float) -> str:
    """Bytes in decimal units: 512 B, 75.0 MB, 1.20 TB."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.5:
            return f"{_three_digits(size)} {unit}"
    return f"{_three_digits(size / 1000)} PB"


def human_count(number: float) -> str:
    """A count: exact below a million (12,345), then 1.23 M, 12.3 B."""
    if number < 999_999.5:
        return f"{number:,.0f}"
    for unit in ("M", "B"):
        number /= 1000 if unit == "B" else 1_000_000
        if number < 999.5:
            return f"{_three_digits(number)} {unit}"
    return f"{number:,.0f} B"


def human_seconds(seconds: float) -> str:
    """A duration: 0.42 s, 12 s, 1 min 15 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def percent(share: float | None) -> str:
    """A share of one, with the digits that matter: 77.6 %, 0.06 %; never 0 % or 100 % unless it is exact."""
    if share is None:
        return "-"
    number = share * 100
    if number in (0, 100):
        return f"{number:.0f} %"
    if number < 0.01:
        return "< 0.01 %"
    if number > 99.99:
        return "> 99.99 %"
    if number > 99.9:
        return f"{math.floor(number * 100) / 100:.2f} %"
    return f"{number:.2f} %" if number < 1 else f"{number:.1f} %"


def plural(number: int, word: str) -> str:
    """A count with its noun: 1 document, 2 documents."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _three_digits(number: float) -> str:
    return f"{number:.2f}" if number < 9.995 else f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


# --- consoles and errors ----------------------------------------------------------------------------------------------


def console() -> Console:
    """A console on standard output, without markup, emoji or highlighting of what looks like code."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def error_console() -> Console:
    """A console on standard error: everything that is not data goes there."""
    from rich.console import Console

    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def print_error(error: CurateError, console: Console | None = None) -> None:
    """Print `error: ...` and, when there is one, a last line `hint: ...`; nothing is wrapped or read as markup."""
    from rich.text import Text

    target = console or error_console()
    first, *rest = error.message.splitlines() or [""]
    lines = [("error: ", "bold red", first), *(("       ", "", line) for line in rest)]
    if error.hint is not None:
        lines.append(("hint: ", "bold cyan", " ".join(error.hint.splitlines())))
    for label, style, line in lines:
        target.print(Text.assemble((label, style), clean(line)), soft_wrap=True)


# --- progress ---------------------------------------------------------------------------------------------------------


class Quiet:
    """Tells nothing of a run's progress: the default in Python."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def stage(self, name: str, total_bytes: int | None = None, *, chunks: int | None = None) -> None:
        """A new stage begins; the one before is done."""

    def advance(self, *, documents: int = 0, bytes: int = 0, kept: int | None = None, chunks: int = 1) -> None:
        """So much more is done in this stage."""


class Progress(Quiet):
    """Shows a run's stages on a terminal as they go; elsewhere plain lines, at most one in ten seconds and stage.

    How far a stage is goes by chunks when `stage` was given their number, else by bytes. The share of kept documents is
    shown in stages whose `advance` is given `kept`.
    """

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or error_console()
        self.clock = clock
        self.bars: Bars | None = None
        self.task: TaskID | None = None
        self.now: _Stage | None = None
        self.printed = 0.0

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.bars = _bars(self.console)
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end("done" if kind is None else "stopped")
        if self.bars is not None:
            self.bars.stop()

    def stage(self, name: str, total_bytes: int | None = None, *, chunks: int | None = None) -> None:
        """A new stage begins; the one before is done."""
        self._end("done")
        self.now = _Stage(clean(name), total_bytes, chunks, self.clock())
        self.printed = self.clock()
        if self.bars is not None:
            self.task = self.bars.add_task(self.now.name, total=None, facts="")

    def advance(self, *, documents: int = 0, bytes: int = 0, kept: int | None = None, chunks: int = 1) -> None:
        """So much more is done in this stage."""
        stage = self.now
        if stage is None:
            return
        stage.documents += documents
        stage.bytes += bytes
        stage.chunks += chunks
        if kept is not None:
            stage.kept = kept + (stage.kept or 0)
        if self.bars is not None and self.task is not None:
            part = stage.part()
            total = None if part is None else 1.0
            self.bars.update(
                self.task, completed=part or 0.0, total=total, facts=self._fit(stage.facts(self.clock(), brief=True))
            )
        elif self.clock() - self.printed >= SECONDS_BETWEEN_LINES:
            self.printed = self.clock()
            self._line(f"{stage.name}: {', '.join(stage.facts(self.clock()))}")

    def _fit(self, facts: Sequence[str]) -> str:
        """As many facts as the terminal's width holds beside name and bar."""
        text = ""
        for fact in facts:
            longer = f"{text}  {fact}" if text else fact
            if len(longer) <= self.console.width - NAME_WIDTH - BAR_WIDTH - 3:
                text = longer
        return text

    def _end(self, word: str) -> None:
        stage, self.now = self.now, None
        if stage is None:
            return
        spent = human_seconds(self.clock() - stage.started)
        if self.bars is not None and self.task is not None:
            if word == "done":
                self.bars.update(self.task, completed=1.0, total=1.0)
            facts = stage.facts(self.clock(), brief=True, ended=True)
            self.bars.update(self.task, facts=self._fit([f"{word} in {spent}", *facts]))
            self.bars.stop_task(self.task)
        else:
            facts = stage.facts(self.clock(), ended=True)
            self._line(f"{stage.name}: {word} in {spent}" + (f": {', '.join(facts)}" if facts else ""))

    def _line(self, text: str) -> None:
        from rich.text import Text

        self.console.print(Text(text), soft_wrap=True)


class _Stage:
    """What is known of the stage that goes on now."""

    def __init__(self, name: str, total_bytes: int | None, total_chunks: int | None, started: float) -> None:
        self.name = name
        self.total_bytes = total_bytes
        self.total_chunks = total_chunks
        self.started = started
        self.documents = 0
        self.bytes = 0
        self.chunks = 0
        self.kept: int | None = None

    def part(self) -> float | None:
        """The part of the stage that is done, 0 to 1; None when that cannot be told."""
        if self.total_chunks:
            return min(1.0, self.chunks / self.total_chunks)
        if self.total_bytes and self.bytes <= self.total_bytes:
            return self.bytes / self.total_bytes
        return None

    def facts(self, now: float, *, brief: bool = False, ended: bool = False) -> list[str]:
        """What is done and how fast, the most telling first."""
        if not self.documents and not self.bytes:
            return []
        seconds = max(now - self.started, 1e-9)
        documents = "docs" if brief else "documents"
        part = self.part()
        facts = []
        if part is not None and not ended:
            facts.append(f"{math.floor(part * 100)} %")
        if part and not ended and part < 1:
            facts.append(f"{human_seconds((1 - part) * seconds / part)} left")
        if self.kept is not None and self.documents:
            facts.append(f"{percent(self.kept / self.documents)} kept")
        facts.append(f"{human_bytes(self.bytes / seconds)}/s")
        facts.append(f"{human_count(self.documents / seconds)} {documents}/s")
        facts.append(f"{human_count(self.documents)} {documents}")
        of = f" of {self.total_chunks:,}" if self.total_chunks else ""
        facts.append(f"{self.chunks:,}{of} chunks" if of or self.chunks != 1 else "1 chunk")
        return facts


def _bars(console: Console) -> Bars:
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    return Bars(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=NAME_WIDTH)),
        BarColumn(bar_width=BAR_WIDTH),
        TextColumn("{task.fields[facts]}", markup=False, table_column=Column(no_wrap=True)),
        console=console,
        refresh_per_second=4,
    )


# --- the report -------------------------------------------------------------------------------------------------------


def print_report(report: Report, console: Console) -> None:
    """Print a report as compact tables: counts, what needs attention, steps, rules, quarantine, work."""
    from rich.text import Text

    data = report.to_dict()
    counts, size = data["counts"], data["bytes"]
    total = data["seconds"].get("total")
    took = "" if total is None else f" in {human_seconds(total)}"
    console.print(Text.assemble((clean(data["name"]), "bold"), f"  finished {clean(data['finished'])}{took}"))
    rows = [
        ("read", counts["read"], None, size["read"]),
        ("kept", counts["kept"], counts["kept_share"], size["kept"]),
        ("dropped", counts["dropped"], counts["dropped_share"], None),
        ("quarantined", counts["quarantined"], counts["quarantined_share"], None),
    ]
    made = _grid(["", "records", "share", "text"])
    for name, number, part, text in rows:
        _add(
            made, name, f"{number:,}", "" if part is None else percent(part), "" if text is None else human_bytes(text)
        )
    console.print(made)
    console.print()
    for row in data["attention"]:
        label, style = ("failed", "bold red") if row["level"] == "failed" else ("look", "bold yellow")
        console.print(Text.assemble((f"{label}: ", style), clean(row["text"])))
    if data["promises"] and all(row["held"] for row in data["promises"]):
        console.print(Text.assemble(("held: ", "bold green"), f"all {plural(len(data['promises']), 'promise')}"))
    for part in data.get("representation", ()):
        _print_representation(part, console)
    _print_steps(data, console)
    _print_rules(data, console)
    _print_quarantine(data["quarantine"], console)
    _print_work(data["work"], console)


def _print_representation(part: dict[str, Any], console: Console) -> None:
    """Every group that a balance step planned: its share before, asked and now."""
    from rich.text import Text

    wide = console.width >= WIDE
    for column in part["columns"]:
        heads = ["group", "before", "asked", "now", "documents", "used each", "outcome"]
        table = _grid([column["column"], *heads[1:]] if wide else [column["column"], *heads[1:4]], wide=wide)
        for row in column["groups"][:SHOWN_GROUPS]:
            shares = (percent(row[name]) for name in ("before_share", "target_share", "after_share"))
            outcome = row["status"] + (f", short by {row['shortfall']:,.0f}" if row["shortfall"] else "")
            rest = (f"{row['documents_after']:,}", f"{row['epochs']:.3g}", outcome) if wide else ()
            _add(table, row["group"], *shares, *rest)
        _show(table, console)
        more = max(0, len(column["groups"]) - SHOWN_GROUPS) + column["more"]
        if more:
            console.print(Text(plural(more, "more group")))
    for note in part["notes"]:
        console.print(Text(f"note: {clean(note)}"))


def _print_steps(data: dict[str, Any], console: Console) -> None:
    table = _grid(["step", "saw", "dropped", "share", "went on"], wide=console.width >= WIDE)
    for row in data["steps"]:
        passed, dropped = row["passed"], row["dropped"]
        _add(table, row["step"], f"{row['seen']:,}", f"{dropped:,}", percent(row["dropped_share"]), f"{passed:,}")
    if data["steps"]:
        _show(table, console)


def _print_rules(data: dict[str, Any], console: Console) -> None:
    """The rules that some document breaks; `only` is the estimate from the audit sample."""
    from rich.text import Text

    wide = console.width >= WIDE
    rows = [row for row in data["rules"] if row["total"] or row["first"]]
    columns = ["step", "rule", "decided", "breaks it", "only this rule", "limit"]
    table = _grid(columns if wide else columns[:4], left=2, wide=wide)
    before = None
    for row in rows:
        only = "-" if row["alone_estimate"] is None else f"about {row['alone_estimate']:,}"
        limit = "" if row["limit"] is None else f"{row['side']} {number_text(row['limit'])}"
        cells = ["" if row["step"] == before else row["step"], row["rule"], f"{row['first']:,}", f"{row['total']:,}"]
        _add(table, *cells, *([only, limit] if wide else []))
        before = row["step"]
    if rows:
        _show(table, console)
    if idle := len(data["rules"]) - len(rows):
        console.print(Text(f"{plural(idle, 'rule')} dropped nothing" if rows else "no rule dropped anything"))


def _print_quarantine(quarantine: dict[str, Any], console: Console) -> None:
    if not quarantine["errors"]:
        return
    from rich.text import Text

    table = _grid(["quarantined at", "error", "records", "first at"], left=2, wide=console.width >= WIDE)
    for row in quarantine["errors"]:
        place = row["places"][0] if row["places"] else None
        where = "" if place is None else f"{place['file']}#{place['row']}"
        _add(table, row["step"] or unread_at(row["error"]), row["error"], f"{row['records']:,}", where)
    _show(table, console)
    if quarantine["more_errors"]:
        console.print(Text(f"{plural(quarantine['more_errors'], 'more kind')} of errors"))


def unread_at(error: str) -> str:
    """Where a record that no step failed on went to quarantine."""
    return "writing" if error.startswith("cannot be written") else "reading"


def _print_work(work: Sequence[dict[str, Any]], console: Console) -> None:
    if not work:
        return
    table = _grid(["work", "scored", "reused", "seconds", "documents/s"], wide=console.width >= WIDE)
    for row in work:
        rate = "-" if not row["scored"] or row["per_second"] is None else f"{row['per_second']:,.0f}"
        _add(table, row["step"], f"{row['scored']:,}", f"{row['reused']:,}", f"{row['seconds']:,.1f}", rate)
    _show(table, console)


def number_text(value: float | str) -> str:
    """A limit or a score as written by people: 50, 0.65, 100,000."""
    if isinstance(value, str):
        return value
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.6g}"


def plain_name(name: str) -> str:
    """A column's or a table's name as people write it: without underscores."""
    return clean(name.replace("_", " "))


def _grid(columns: Sequence[str], *, left: int = 1, wide: bool = False) -> Table:
    """A table whose first columns are names and the others numbers, right-aligned."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1 if wide else 0, 0, 1))
    for index, column in enumerate(columns):
        names = index < left or column in ("limit", "first at")
        table.add_column(column, justify="left" if names else "right", overflow="fold", header_style="dim")
    return table


def _show(table: Table, console: Console) -> None:
    console.print()
    console.print(table)


def _add(table: Table, *cells: str) -> None:
    from rich.text import Text

    table.add_row(*(Text(clean(cell)) for cell in cells))
