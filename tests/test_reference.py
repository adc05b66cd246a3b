"""What `curate filters` and `curate why` print, and the generated reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import click
import polars as pl
import pytest
from pydantic import Field, field_validator

from curate import Pipeline
from curate import filter as registry
from curate.cli import app
from curate.filter import CorpusFilter, Filter, above, below, registered, threshold
from curate.filters.disagreement import RATED
from curate.filters.turns import TURNS
from curate.plan import plan_steps
from curate.read import Columns
from curate.reference import (
    commands_markdown,
    describe,
    examples,
    filters_markdown,
    origin,
    print_filter,
    print_filters,
    print_why,
    type_words,
)

BUILT_IN = [cls for cls in registered().values() if origin(cls) == "built in"]


@pytest.fixture
def forget() -> Iterator[None]:
    """Take the filters that a test makes out of the registry again."""
    before = dict(registry._registry)
    yield
    registry._registry.clear()
    registry._registry.update(before)


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


# --- describe ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "whole number"),
        (float | None, "number or null"),
        (bool, "true or false"),
        (str, "text"),
        (Path | None, "file or null"),
        (tuple[str, ...], "list of text"),
        (list[int], "list of whole number"),
        (dict[str, float], "mapping of text to number"),
        (Literal["first", "longest"], '"first" or "longest"'),
        (Literal["a", "b", "c"], '"a", "b" or "c"'),
        (Annotated[int, Field(ge=1)] | None, "whole number or null"),
        (tuple[Literal["first"] | dict[str, str], ...], 'list of "first" or mapping of text to text'),
    ],
)
def test_types_are_said_in_plain_words(annotation: Any, words: str) -> None:
    assert type_words(annotation) == words


@pytest.mark.usefixtures("forget")
def test_a_filter_is_described_by_its_class() -> None:
    class Shouting(Filter, name="acme.shouting"):
        """Drop texts with many
        capital letters.

        More about it.
        """

        scores: ClassVar[dict[str, str]] = {"share": "capital letters among the letters"}
        source: ClassVar[str] = "our own count"
        version: ClassVar[str] = "3"

        min_letters: int = Field(20, ge=1, description="texts with fewer are not judged")
        max_share: float = threshold(0.5, ge=0, le=1, description="drop above this")

        def drop_when(self) -> dict[str, Any]:
            """`shouting`: too many capital letters; `never`: a rule of some options."""
            return {"shouting": above("share", self.max_share)}

    assert describe(Shouting) == {
        "name": "acme.shouting",
        "summary": "Drop texts with many capital letters.",
        "description": "More about it.",
        "corpus_wide": False,
        "options": [
            {
                "name": "min_letters",
                "type": "whole number, at least 1",
                "required": False,
                "default": 20,
                "threshold": False,
                "description": "texts with fewer are not judged",
            },
            {
                "name": "max_share",
                "type": "number, at least 0, at most 1",
                "required": False,
                "default": 0.5,
                "threshold": True,
                "description": "drop above this",
            },
        ],
        "scores": {"share": "capital letters among the letters"},
        "rules": [
            {"name": "shouting", "when": "share > max_share", "description": "too many capital letters"},
            {"name": "never", "when": "", "description": "a rule of some options"},
        ],
        "source": "our own count",
        "version": "3",
        "from": f"module {__name__}",
    }


@pytest.mark.usefixtures("forget")
def test_rules_that_only_some_options_make_are_found() -> None:
    class Between(Filter, name="acme.between"):
        """Drop what is outside of limits."""

        low: int | None = threshold(None)
        high: int | None = threshold(None)

        def drop_when(self) -> dict[str, Any]:
            rules = {"too_low": below("n", self.low)} if self.low is not None else {}
            return rules | ({"too_high": above("n", self.high)} if self.high is not None else {})

    found = {rule["name"]: rule["when"] for rule in describe(Between)["rules"]}
    assert found == {"too_low": "n < low", "too_high": "n > high"}


@pytest.mark.usefixtures("forget")
def test_a_filter_that_needs_options_nobody_can_guess_is_described_all_the_same() -> None:
    class Exotic(Filter, name="acme.exotic"):
        """Drop what a list names."""

        names: Path = Field(description="the list")
        code: str = Field(description="a code")

        @field_validator("code")
        @classmethod
        def _check(cls, code: str) -> str:
            raise ValueError("never right")

        def drop_when(self) -> dict[str, Any]:
            """One rule, `named`."""
            return {"named": pl.col("named")}

    about = describe(Exotic)
    assert [option["required"] for option in about["options"]] == [True, True]
    assert about["rules"] == [{"name": "named", "when": "", "description": ""}]


@pytest.mark.usefixtures("forget")
def test_a_filter_whose_rules_raise_is_described_without_rules() -> None:
    class Broken(Filter, name="acme.broken"):
        def drop_when(self) -> dict[str, Any]:
            raise RuntimeError("boom")

    about = describe(Broken)
    assert (about["summary"], about["rules"]) == ("", [])


def test_a_plugin_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('from curate import Filter\n\n\nclass Mine(Filter, name="mine.one"):\n    """Do."""\n')
    (cls,) = registry.load_plugin(file)
    try:
        assert describe(cls)["from"] == f"plugin file {file.resolve()}"
    finally:
        del registry._registry["mine.one"]


# --- built-in filters are documented ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", BUILT_IN, ids=lambda cls: cls.label)
def test_every_option_has_a_description(cls: type[Filter]) -> None:
    about = describe(cls)
    assert about["summary"].endswith(".")
    assert not [option["name"] for option in about["options"] if not option["description"]]


@pytest.mark.parametrize(  # the columns and rules of `classifier` are its model's labels: its own tests look at them
    "cls", [cls for cls in BUILT_IN if cls.label != "classifier"], ids=lambda cls: cls.label
)
def test_scores_and_rules_are_those_that_are_documented(cls: type[Filter], tmp_path: Path) -> None:
    (tmp_path / "list").write_text("example.org\n")
    (tmp_path / "list.txt").write_text("one two three four five six seven eight nine ten\n")
    by_hand: dict[str, list[dict[str, Any]]] = {  # what nobody can guess
        "blocklist": [{"domains": tmp_path / "list", "url_column": "en"}],
        "decontaminate": [{"benchmarks": [tmp_path / "list.txt"], "action": action} for action in ("drop", "cut")],
        "disagreement": [{"ratings": "ratings", "max_entropy": 0.5}],
        "where": [{"drop_if": "year < 2000"}],
    }
    known: dict[str, Any] = {
        **{name: pl.String() for name in ("text", "en", "true", "chosen_model", "rejected_model", "winner")},
        **{f"language.{part}.label": pl.String() for part in ("prompt", "chosen", "rejected")},
        **{f"toxicity.{part}.max": pl.Float64() for part in ("prompt", "chosen", "rejected")},
        **{f"groups.{part}.identity": pl.List(pl.String) for part in ("chosen", "rejected")},
        "year": pl.Int64(),
        "turns": TURNS,
        "ratings": RATED,
    }
    columns = Columns("text", None, known)
    made = [cls(**options) for options in by_hand.get(cls.label, [])] + list(examples(cls))
    assert made, "give its options examples=[...], so that it can be described"
    steps = [
        plan_steps(Pipeline(steps=[example], input={"kind": type(example).record_kinds[0]}), columns)[0]
        for example in made
    ]
    about = describe(cls)
    assert {name.removeprefix(f"{step.name}.") for step in steps for name in step.ledger_scores} == set(about["scores"])
    assert {rule.name for step in steps for rule in step.rules} == {rule["name"] for rule in about["rules"]}


# --- the terminal -----------------------------------------------------------------------------------------------------


def test_the_list_names_every_filter_and_every_broken_entry_point(capsys: pytest.CaptureFixture[str]) -> None:
    print_filters({cls.label: cls for cls in BUILT_IN}, {"acme": "ImportError: no \x1b[31mmodule [/red]"})
    out = capsys.readouterr().out
    assert all(cls.label in out for cls in BUILT_IN)
    assert "entry point acme could not be loaded: ImportError: no \\x1b[31mmodule [/red]" in " ".join(out.split())


@pytest.mark.parametrize("cls", BUILT_IN, ids=lambda cls: cls.label)
def test_a_filter_is_shown_within_80_columns(cls: type[Filter], capsys: pytest.CaptureFixture[str]) -> None:
    print_filter(cls)
    out = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    about = describe(cls)
    names = [entry["name"] for entry in (*about["options"], *about["rules"])]
    assert all(name in out for name in (*names, *about["scores"]))


@pytest.mark.usefixtures("forget")
def test_markup_in_a_docstring_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    class Marked(CorpusFilter, name="acme.marked"):
        """Drop [bold]things[/nothing].

        Prose is
        filled.

            code  stays
            as it is
        """

        def decide(self, corpus: Any) -> pl.LazyFrame:
            return pl.LazyFrame()

    print_filter(Marked)
    out = capsys.readouterr().out
    assert "Drop [bold]things[/nothing]." in out
    assert "\nProse is filled.\n" in out
    assert "    code  stays\n    as it is\n" in out
    assert "needs the whole corpus" in out


# --- why --------------------------------------------------------------------------------------------------------------


def step(name: str, judged: bool = True, broken: tuple[str, ...] = (), **parts: Any) -> dict[str, Any]:
    scores = {f"{name}.{key}": value for key, value in parts.pop("scores", {}).items()}
    limits = [
        {"step": name, "rule": rule, "score": score, "limit": limit, "side": side}
        for rule, (score, side, limit) in parts.pop("limits", {}).items()
    ]
    codes = [f"{name}.{rule}" for rule in broken]
    return {"step": name, "filter": name, "judged": judged, "scores": scores, "limits": limits, "broken": codes}


def answer(verdict: str = "dropped", **parts: Any) -> dict[str, Any]:
    kept = verdict == "kept"
    return {
        "id": "doc-7",
        "verdict": verdict,
        "file": "a.jsonl",
        "row": 6,
        "step": None if kept else "length",
        "rule": None if kept else "min_words",
        "failed": [],
        "duplicate_of": None,
        "similarity": None,
        "copies": int(kept),
        "bytes": 1234,
        "sampled": False,
        "steps": [],
        "input": {},
        "now": {"shard": "dataset/data/part-00000.parquet", "row": 3} if kept else None,
    } | parts


def shown(value: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_why(value)
    out = capsys.readouterr().out
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines())
    return [" ".join(line.split()) for line in out.splitlines() if line.strip()]


def test_the_verdict_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(answer(), capsys)[:2] == [
        "doc-7 dropped by length, rule min_words",
        "a.jsonl, row 6, 1,234 bytes of text",
    ]
    assert shown(answer("kept"), capsys)[0] == "doc-7 kept"


def test_scores_stand_beside_limits_and_broken_rules_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    limits = {"min_words": ("length.words", "below", 50), "max_words": ("length.words", "above", 100_000)}
    dropped = step("length", broken=("min_words",), scores={"words": 12, "chars": 80}, limits=limits)
    lines = shown(answer(steps=[dropped]), capsys)
    assert lines[2:6] == [
        "length dropped it: min_words",
        "words 12 BROKEN min_words: dropped below 50",
        "max_words: dropped above 100,000",
        "chars 80",
    ]


def test_a_step_after_the_drop_is_unknown_and_its_scores_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(answer(steps=[step("language", judged=False, scores={"label": None})]), capsys)
    assert lines[2:] == ["language unknown: length had dropped it", "now not in the dataset"]


def test_a_sampled_document_shows_what_later_steps_would_have_done(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [step("language", broken=("not_kept",), scores={"label": "de"}), step("where", broken=("drop_if",))]
    lines = shown(answer(steps=steps, sampled=True), capsys)
    assert lines[1].endswith("in the audit sample")
    assert lines[2:] == [
        "language would have dropped it: not_kept",
        "label de",
        "rule not_kept BROKEN",
        "where would have dropped it: drop_if",
        "rule drop_if BROKEN",
        "now not in the dataset",
    ]


def test_a_rule_on_another_steps_score_shows_that_score(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        step("length", scores={"words": 80}),
        step("where", limits={"few": ("length.words", "below", 50), "old": ("year", "below", 2000)}),
    ]
    lines = shown(answer("kept", steps=steps, input={"year": 2024}), capsys)
    assert "length.words 80 few: dropped below 50" in lines
    assert "year 2,024 old: dropped below 2,000" in lines


def test_a_step_that_does_not_apply_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(answer("kept", steps=[step("gopher", scores={"judged": False, "mean": None})]), capsys)
    assert lines[2:5] == ["gopher does not apply to it", "judged false", "mean -"]


def test_the_twin_and_its_own_fate(capsys: pytest.CaptureFixture[str]) -> None:
    twin = {"id": "doc-1", "file": "a.jsonl", "row": 0, "kept": False, "step": "where", "rule": "drop_if"}
    lines = shown(answer(duplicate_of="doc-1", similarity=0.93, twin=twin), capsys)
    assert lines[2] == "twin doc-1, similarity 0.93 (a.jsonl, row 0): dropped later by where, rule"
    lines = shown(answer(duplicate_of="doc-1", twin=twin | {"kept": True, "step": None}), capsys)
    assert lines[2] == "twin doc-1 (a.jsonl, row 0): kept"


def test_where_a_kept_document_is_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(answer("kept"), capsys)[-1] == "now dataset/data/part-00000.parquet, row 3"
    assert shown(answer("kept", copies=3), capsys)[-1].endswith(", row 3, 3 copies")


def test_a_quarantined_record_shows_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"id": "x", "verdict": "quarantine", "file": "a.csv", "row": 4, "step": None, "error": "not JSON: here"}
    assert shown(value, capsys) == ["x quarantine", "file a.csv, row 4", "why it could not be read: not JSON: here"]
    lines = shown(value | {"step": "language"}, capsys)
    assert lines[2] == "why step language could not judge it: not JSON: here"


def test_hostile_ids_scores_and_texts_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    bad = "\x1b]0;title\x07[/red]\u202e"
    print_why(answer("kept", id=bad, input={"url": bad}, text=bad, steps=[step("a", scores={"label": bad})]))
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert out.count("\\x1b]0;title\\x07[/red]\\u202e") == 4


def test_long_values_wrap_and_are_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://example.org/" + "x" * 200
    lines = shown(answer("kept", input={"url": url}), capsys)
    assert url in "".join(lines).replace(" ", "")


# --- Markdown ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("forget")
def test_the_page_has_built_in_filters_only_and_tables_that_hold() -> None:
    class Piped(Filter, name="acme.piped"):
        """Drop | things."""

    page = filters_markdown(registered())
    assert "acme.piped" not in page
    for cls in BUILT_IN:
        assert f"\n## {cls.label}\n" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {3, 5}


def test_every_command_and_option_is_on_the_page() -> None:
    page = commands_markdown(app)
    for name, command in app.commands.items():
        assert f"\n## {name}\n" in page
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0] in page
                assert option.help or option.default, f"{name} {option.opts[0]} has no help"
