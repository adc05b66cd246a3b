"""The terminal: numbers for people, errors, progress lines, report tables; nothing that data can steer."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from curate.console import (
    Progress,
    Quiet,
    clean,
    console,
    error_console,
    human_bytes,
    human_count,
    human_seconds,
    percent,
    print_error,
    print_report,
)
from curate.errors import PipelineError, Problem, StorageError, UsageError
from curate.report import Report


def screen(width: int = 80, *, terminal: bool = False) -> Console:
    made = Console(file=io.StringIO(), width=width, force_terminal=terminal, markup=False, emoji=False, highlight=False)
    assert made.is_terminal is terminal
    return made


def shown(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


# --- words and numbers ------------------------------------------------------------------------------------------------


def test_clean_shows_what_would_steer_a_terminal_or_hide() -> None:
    assert clean("a\x1b]0;title\x07b") == "a\\x1b]0;title\\x07b"
    assert clean("\u202eabc\u2066\u200b\u2028\ud800\r\n") == "\\u202eabc\\u2066\\u200b\\u2028\\ud800\\r\\n"
    assert clean("blåbær 日本 [/foo]") == "blåbær 日本 [/foo]"


@given(st.text())
def test_clean_leaves_only_visible_characters_and_does_nothing_twice(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert not any(char < " " or "\x7f" <= char < "\xa0" or "\u202a" <= char <= "\u202e" for char in once)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (74_990_000, "75.0 MB"),
        (999_700_000, "1.00 GB"),
        (12e15, "12.0 PB"),
    ],
)
def test_bytes_for_people(size: float, expected: str) -> None:
    assert human_bytes(size) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (12_345, "12,345"),
        (999_999, "999,999"),
        (1_234_567, "1.23 M"),
        (999_900_000, "1.00 B"),
        (5e12, "5,000 B"),
    ],
)
def test_counts_for_people(number: float, expected: str) -> None:
    assert human_count(number) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.004, "0.00 s"), (0.42, "0.42 s"), (9.94, "9.9 s"), (59.6, "1 min 0 s"), (75, "1 min 15 s"), (7500, "2 h 5 min"),
     (273_600, "3 d 4 h")],
)  # fmt: skip
def test_durations_for_people(seconds: float, expected: str) -> None:
    assert human_seconds(seconds) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(None, "-"), (0, "0 %"), (1, "100 %"), (0.776, "77.6 %"), (0.0006, "0.06 %"), (1e-9, "< 0.01 %"),
     (0.9996, "99.96 %"), (1 - 1e-9, "> 99.99 %")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_nothing_or_all(share: float | None, expected: str) -> None:
    assert percent(share) == expected


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_is_one_line_and_its_hint_the_last() -> None:
    on = screen()
    print_error(UsageError("no input [red]named[/foo]", hint="use --input"), on)
    assert shown(on) == "error: no input [red]named[/foo]\nhint: use --input\n"


def test_all_problems_of_a_pipeline_are_listed_below_each_other_and_never_wrapped() -> None:
    on = screen(40)
    print_error(PipelineError([Problem("unknown key " + "x" * 50, "a.yaml:3"), Problem("no steps", "a.yaml:1")]), on)
    assert shown(on).splitlines() == ["error: a.yaml:3: unknown key " + "x" * 50, "       a.yaml:1: no steps"]


def test_an_error_cannot_steer_the_terminal() -> None:
    on = screen(terminal=True)
    print_error(StorageError("cannot write \x1b]0;owned\x07\u202etxt"), on)
    assert "\x1b]0;" not in shown(on)
    assert "\\x1b]0;owned\\x07\\u202etxt" in shown(on)


def test_errors_go_to_standard_error_and_tables_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UsageError("bad"))
    console().print("data")
    assert capsys.readouterr() == ("data\n", "error: bad\n")
    assert error_console().stderr


def test_importing_the_console_loads_neither_rich_nor_polars() -> None:
    code = "import sys, curate.console; print([m for m in ('rich', 'polars', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- progress ---------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_stage_is_one_line_when_it_ends() -> None:
    on, clock = screen(), Clock()
    with Progress(on, clock=clock) as watch:
        watch.stage("survey", 1000)
        clock.now = 2
        watch.stage("pass 1 of 1", 4_000_000, chunks=4)
        for _ in range(4):
            clock.now += 1
            watch.advance(documents=100, bytes=1_000_000, kept=75)
    assert shown(on).splitlines() == [
        "survey: done in 2.0 s",
        "pass 1 of 1: done in 4.0 s: 75.0 % kept, 1.00 MB/s, 100 documents/s, 400 documents, 4 of 4 chunks",
    ]


def test_without_a_terminal_there_is_at_most_one_line_in_ten_seconds() -> None:
    on, clock = screen(), Clock()
    with Progress(on, clock=clock) as watch:
        watch.stage("pass 1 of 2", 40_000_000)
        for _ in range(20):
            clock.now += 1
            watch.advance(documents=100, bytes=1_000_000, kept=75)
        lines = shown(on).splitlines()
    assert lines == [
        "pass 1 of 2: 25 %, 30 s left, 75.0 % kept, 1.00 MB/s, 100 documents/s, 1,000 documents, 10 chunks",
        "pass 1 of 2: 50 %, 20 s left, 75.0 % kept, 1.00 MB/s, 100 documents/s, 2,000 documents, 20 chunks",
    ]


def test_a_stage_that_passes_its_total_makes_no_promise_of_its_end() -> None:
    on, clock = screen(), Clock()
    with Progress(on, clock=clock) as watch:
        watch.stage("pass 1 of 1", 1000)  # compressed: more text than bytes on disk
        clock.now = 11
        watch.advance(documents=1, bytes=5000)
        line = shown(on)
    assert "left" not in line
    assert "%" not in line


def test_an_interrupted_stage_is_not_called_done() -> None:
    on = screen()
    watch = Progress(on, clock=Clock())
    watch.__enter__()
    watch.stage("writing")
    watch.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert shown(on) == "writing: stopped in 0.00 s\n"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_on_a_terminal_stages_stay_within_the_width(width: int) -> None:
    on, clock = screen(width, terminal=True), Clock()
    with Progress(on, clock=clock) as watch:
        watch.stage("survey", 10)
        for name in ("pass 1 of 2", "deciding near_duplicates_of_everything", "pass 2 of 2"):
            watch.stage(name, 9_000_000_000, chunks=3)
            clock.now += 5
            watch.advance(documents=1_234_567, bytes=3_000_000_000, kept=1_000_000)
    last = shown(on).split("\x1b[2K")[-1]
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).replace("\r", "") for line in last.splitlines()]
    assert any("pass 2 of 2" in line for line in lines)
    assert all(cell_len(line) <= width for line in lines)


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Quiet() as watch:
        watch.stage("pass 1 of 1", 10)
        watch.advance(documents=1, bytes=1, kept=1)
    assert capsys.readouterr() == ("", "")


def test_progress_before_the_first_stage_is_ignored() -> None:
    on = screen()
    with Progress(on) as watch:
        watch.advance(documents=1)
    assert shown(on) == ""


# --- the report -------------------------------------------------------------------------------------------------------


def report(name: str = "words", rule: str = "few", error: str = "not valid JSON", file: str = "a.jsonl") -> Report:
    """A report as `curate report` reads it back from report.json."""
    step = {"step": name, "filter": "x", "seen": 1_234_567, "dropped": 234_567, "quarantined": 7, "passed": 999_993}
    one = {"step": name, "rule": rule, "first": 234_567, "total": 1_000, "alone": 3, "alone_estimate": 300}
    none = {"step": name, "rule": "idle", "first": 0, "total": 0, "alone": 0, "alone_estimate": 0}
    limit = {"alone_low": 60, "alone_high": 900, "limit": 0.65, "side": "below", "score": f"{name}.count"}
    places = [{"file": file, "row": 3, "id": None}]
    data: dict[str, Any] = {
        "name": "web", "finished": "2026-11-23T12:00:00+00:00", "seconds": {"total": 75.0}, "exit_code": 1,
        "counts": {"read": 1_234_567, "kept": 999_993, "dropped": 234_567, "quarantined": 7,
                   "kept_share": 0.81, "dropped_share": 0.19, "quarantined_share": 0.00001},
        "bytes": {"read": 5_000_000_000, "kept": 4_000_000_000, "kept_share": 0.8},
        "attention": [{"level": "failed", "text": f"Promise not held: {name}"}, {"level": "look", "text": error}],
        "promises": [{"promise": "max_quarantined", "held": False, "detail": ""}],
        "steps": [step | {"passed_share": 0.81, "dropped_share": 0.19, "seen_of_read": 1.0}],
        "rules": [one | limit, none | limit],
        "quarantine": {"errors": [{"step": None, "error": error, "records": 7, "places": places}],
                       "more_errors": 2, "by_step": {}},
        "work": [{"step": name, "scored": 1_234_567, "reused": 0, "seconds": 12.5, "per_second": 98_765.4}],
    }  # fmt: skip
    return Report(data)


def test_report_tables_hold_the_numbers() -> None:
    on = screen(120)
    print_report(report(), on)
    text = shown(on)
    told = ["1,234,567", "81.0 %", "5.00 GB", "1 min 15 s", "failed: Promise not held", "about 300", "below 0.65"]
    told += ["1 rule dropped nothing", "reading", "a.jsonl#3", "2 more kinds of errors", "98,765"]
    assert [words for words in told if words not in text] == []


@pytest.mark.parametrize("width", [40, 80, 120])
def test_report_tables_stay_within_the_width(width: int) -> None:
    on = screen(width)
    print_report(report(name="a_step_with_a_very_long_name_indeed", rule="a_rule_with_a_very_long_name_too"), on)
    assert max(cell_len(line) for line in shown(on).splitlines()) <= width


def test_names_in_the_report_are_neither_markup_nor_escapes() -> None:
    on = screen(120, terminal=True)
    print_report(report("[red]s[/foo]", "\x1b[31mr\x07", "bad\u202e[link=file:///etc]x[/link]", "f\x9b31m"), on)
    text = shown(on)
    assert "[red]s[/foo]" in text
    assert "\\x1b[31mr\\x07" in text
    assert "bad\\u202e[link=file:///etc]x[/link]" in text
    assert not set(text) & set("\x07\u202e\x9b")
    assert "\x1b]" not in text


def test_a_report_prints_itself(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report().print()
    assert "1,234,567" in capsys.readouterr().out


def test_no_color_leaves_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    on = Console(file=io.StringIO(), width=80, force_terminal=True)
    print_report(report(), on)
    assert "\x1b[3" not in shown(on)
