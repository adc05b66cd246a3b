"""`tune`: what it says of other thresholds is what a run with them does, and what it cannot know it tells."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import polars as pl
import pytest
from click.testing import CliRunner
from engine import Counted, FirstLetter, Mask, write_lines

from curate import Filter, Pipeline, above, threshold
from curate.cli import app
from curate.errors import UsageError
from curate.filters import Length, Where
from curate.pipeline import Step
from curate.run import Run, open_run
from curate.tune import parse_values


class Marks(Filter, name="test.tune.marks"):
    """Drop texts with many `!`, a mean of digits above a limit, by kind, or any `x`."""

    scores: ClassVar = {"marks": "exclamation marks", "digits": "share of digits", "judged": "whether it is asked"}
    most: float | None = threshold(None)
    by_kind: dict[str, float] = threshold({})
    twice: bool = threshold(False)
    names: tuple[str, ...] = threshold(())
    unit: int = 1

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Two numbers and a flag; the share is unknown of texts that say `null`."""
        text = pl.col("text")
        share = text.str.count_matches(r"\d") / text.str.len_chars()
        return docs.select(
            marks=text.str.count_matches("!").cast(pl.Int64) // self.unit,
            digits=pl.when(~text.str.contains("null")).then(share),
            judged=text.str.len_chars() > 3,
        )

    def drop_when(self) -> dict[str, Any]:
        """A limit, limits by kind, and rules that no threshold changes."""
        rules: dict[str, Any] = {"has_x": pl.col("marks") > 20}
        if self.most is not None:
            rules["most"] = above("marks", self.most, where="judged")
        for kind, limit in self.by_kind.items():
            rules[f"{kind}_above"] = (pl.col("kind") == kind) & (pl.col("digits") > limit)
        return rules


class Asked(Filter, name="test.tune.asked"):
    """Drop texts above a limit, but only those with an even number of words."""

    scores: ClassVar = {"size": "characters", "judged": "whether it is asked"}
    most: float = threshold(50)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """The size, and whether the number of words is even."""
        text = pl.col("text")
        return docs.select(size=text.str.len_chars(), judged=text.str.count_matches("ab") % 2 == 0)

    def drop_when(self) -> dict[str, Any]:
        """One limit."""
        return {"large": above("size", self.most, where="judged")}


def corpus(seed: int, documents: int) -> list[dict[str, Any]]:
    """Texts of few lengths, marks and digits, in three kinds; some `null` and `boom`."""
    rng = random.Random(seed)
    pieces = ["a", "b ", "!", "1", "secret ", "7", "! "]
    return [
        {
            "id": f"d{number}",
            "text": "".join(rng.choices(pieces, k=rng.randint(1, 30))) + rng.choice([*[""] * 30, "null"]),
            "kind": rng.choice("pqr"),
            "rank": rng.randint(0, 9),
        }
        for number in range(documents)
    ]


def run(folder: Path, steps: list[Any], records: list[dict[str, Any]] | None = None, **settings: Any) -> Run:
    """Run some steps over a corpus into `folder/run`, again where it is there already."""
    if records is not None:
        write_lines(folder / "a.jsonl", records)
    pipeline = Pipeline(steps=steps, base=folder, max_quarantined=1.0, **settings)
    return pipeline.run(str(folder / "a.jsonl"), folder / "run", workers=1, update=True)


def steps_with(most: float | None, short: int, wide: int, kind: float) -> list[Any]:
    """Three per-document steps with limits, one that edits between them."""
    return [
        ("first", Length(min_chars=short, max_words=40)),
        ("mask", Mask(put="##")),
        ("marks", Marks(most=most, by_kind={"p": kind})),
        ("last", Counted(high=wide)),
        ("where", Where(drop_if="rank = 9 and kind = 'q'")),
    ]


PREFERENCE = {"kind": "preference"}
NOW: dict[str, Any] = {"most": 4, "short": 6, "wide": 60, "kind": 0.3}
OPTIONS = {"first.min_chars": "short", "marks.most": "most", "marks.by_kind.p": "kind", "last.high": "wide"}
OTHERS: dict[str, Any] = {
    "most": [0, 2, 7.5],
    "short": [1, 6, 20],
    "wide": [20, 60, 90],
    "kind": [0.0, 0.3, 0.6],
}


@pytest.mark.parametrize(
    ("option", "share"), [*((option, share) for option in OPTIONS for share in (0.3, 1.0)), ("first.min_chars", 0.0)]
)
def test_what_is_said_is_what_a_run_with_that_threshold_does(option: str, share: float) -> None:
    agrees(list(OPTIONS).index(option), option, share)


def agrees(seed: int, option: str, share: float) -> None:
    """Tune an option of a run over a random corpus, then really run with each value, and compare."""
    name = OPTIONS[option]

    def steps(value: Any) -> list[Any]:
        return steps_with(**{**NOW, name: value})

    compare(option, steps, NOW[name], OTHERS[name], corpus(seed, 150), audit={"sample": share})


def compare(option: str, steps: Any, now: Any, others: Any, records: list[dict[str, Any]], **settings: Any) -> None:
    """What `tune` says of other values of an option, against real runs with these values."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        before = run(folder, steps(now), records, **settings)
        lost = before.quarantine["id"].implode()
        stayed = before.ledger.filter("kept").collect().height
        said = before.tune(option, others, by="kind")
        for value in others:
            row = said.table.row(by_predicate=pl.col("value") == value, named=True)
            again = run(folder, steps(value), **settings)
            ledger = again.ledger.filter(~pl.col("id").is_in(lost)).collect()
            kept = ledger.filter("kept")
            assert row["dropped"] == ledger.filter(pl.col("step") == option.split(".")[0]).height
            assert row["sample_kept"] == kept.filter("sampled").height
            assert stayed - row["lost"] <= kept.height <= stayed - row["lost"] + row["back"]
            if row["kept_low"] == row["kept_high"]:
                assert row["kept"] == kept.height
                assert row["kept_bytes"] == kept["bytes"].sum()
                for kind in "pqr":
                    group = said.groups.filter((pl.col("value") == value) & (pl.col("group") == kind))
                    assert group["kept"].sum() == kept.filter(pl.col("input.kind") == kind).height
            exact = settings["audit"]["sample"] == 1.0 or value == now or row["back"] == 0
            assert (row["kept_low"] == row["kept_high"]) >= exact


def pairs(seed: int, count: int) -> list[dict[str, Any]]:
    """Preference records with up to three turns in the prompt."""
    rng = random.Random(seed)

    def said(role: str) -> dict[str, str]:
        return {"role": role, "content": "ab " * rng.randint(1, 30)}

    return [
        {
            "id": f"d{number}",
            "prompt": [said(("user", "assistant")[turn % 2]) for turn in range(rng.choice([0, 1, 3]))],
            "chosen": [said("assistant")],
            "rejected": [said("assistant")],
            "kind": rng.choice("pqr"),
        }
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("on", "option", "share"),
    [
        ("prompt", "min_chars", 0.3), ("each_turn", "min_chars", 1.0), ("each_turn", "max_chars", 0.3),
        ("assistant", "max_chars", 1.0), ("chosen", "min_chars", 0.3), ("both", "min_chars", 1.0),
        ("both", "max_chars", 0.3),
    ],
)  # fmt: skip
def test_a_threshold_on_a_part_is_asked_of_every_part_that_a_record_has(on: Any, option: str, share: float) -> None:
    def steps(value: Any) -> list[Any]:
        return [
            Step(name="part", filter=Length(**{"min_chars": 8, "max_chars": 85, option: value}), on=on),
            Step(name="later", filter=Length(max_chars=80), on="both"),
        ]

    now, others = (8, [1, 20, 8]) if option == "min_chars" else (85, [40, 70, 90])
    compare(f"part.{option}", steps, now, others, pairs(len(on), 120), audit={"sample": share}, input=PREFERENCE)


@pytest.mark.parametrize(("on", "share"), [("prompt", 0.3), ("each_turn", 1.0), ("both", 0.3)])
def test_a_limit_on_a_part_is_not_asked_where_it_does_not_apply(on: Any, share: float) -> None:
    def steps(value: Any) -> list[Any]:
        return [
            Step(name="part", filter=Asked(most=value), on=on),
            Step(name="later", filter=Length(max_chars=80), on="both"),
        ]

    compare("part.most", steps, 60, [0, 30, 75], pairs(7, 120), audit={"sample": share}, input=PREFERENCE)


def test_a_rule_of_several_scores_of_each_turn_is_refused(tmp_path: Path) -> None:
    steps = [Step(name="marks", filter=Marks(by_kind={"p": 0.1}), on="each_turn")]
    done = run(tmp_path, steps, pairs(1, 20), input=PREFERENCE, audit={"sample": 1.0})

    with pytest.raises(UsageError, match="several scores of each of several parts") as error:
        done.tune("marks.by_kind.p", [0.2])

    assert error.value.hint


def test_the_score_of_a_part_is_named(tmp_path: Path) -> None:
    steps = [Step(name="part", filter=Length(min_chars=8), on="both")]
    said = run(tmp_path, steps, pairs(1, 20), input=PREFERENCE, audit={"sample": 1.0}).tune("part.min_chars", [2])

    assert said.score == "part.chosen.chars"


# --- single facts -----------------------------------------------------------------------------------------------------


LENGTHS = [{"id": f"d{size}", "text": "a" * size, "lang": "en" if size % 2 else "fr"} for size in range(1, 101)]


def test_the_kept_documents_of_each_value_and_group(tmp_path: Path) -> None:
    said = run(tmp_path, [Length(min_chars=50)], LENGTHS).tune("length.min_chars", [1, 11, 101], by="lang")

    assert said.table["kept"].to_list() == [100, 90, 0]
    assert said.table["kept_bytes"].to_list() == [5050, 4995, 0]
    assert said.table["lost"].to_list() == [0, 0, 51]
    assert said.table["back"].to_list() == [49, 39, 0]
    assert said.groups.filter(pl.col("group") == "en")["kept"].to_list() == [50, 45, 0]
    assert (said.now, said.score, said.side, said.until) == (50, "length.chars", "below", None)
    assert said.current["kept"] == 51


def test_what_later_steps_say_of_new_survivors_is_known_on_the_sample_only(tmp_path: Path) -> None:
    steps = [Length(min_chars=50), Counted(high=90)]
    none, all_of_it = (
        run(tmp_path / name, steps, LENGTHS, audit={"sample": share})
        .tune("length.min_chars", [11])
        .table.row(0, named=True)
        for name, share in (("none", 0.0), ("all", 1.0))
    )

    assert (none["kept"], none["kept_low"], none["kept_high"]) == (None, 41, 80)
    assert (all_of_it["kept"], all_of_it["kept_low"], all_of_it["kept_high"]) == (80, 80, 80)


def test_the_estimate_of_the_sample_has_an_interval(tmp_path: Path) -> None:
    records = [{"id": f"d{n}", "text": "a" * (n % 100 + 1)} for n in range(4000)]
    done = run(tmp_path, [Counted(low=51), Length(min_chars=26)], records, audit={"sample": 0.1})
    row = done.tune("test.counted.low", [1]).table.row(0, named=True)

    assert row["kept_low"] < 3000 < row["kept_high"]
    assert row["kept_high"] - row["kept_low"] < 600
    assert row["kept_low"] < row["kept"] < row["kept_high"]
    assert row["kept_bytes_low"] < row["kept_bytes"] < row["kept_bytes_high"]


def test_a_corpus_wide_step_behind_is_not_foretold(tmp_path: Path) -> None:
    said = run(tmp_path, [Length(min_chars=50), FirstLetter(), Counted(high=70)], LENGTHS).tune(
        "length.min_chars", [11]
    )

    assert said.until == "test.first_letter"
    assert said.table["kept"].to_list() == [90]


def test_documents_that_went_before_are_unknown(tmp_path: Path) -> None:
    said = run(tmp_path, [Length(min_chars=50), Counted(high=60)], LENGTHS, audit={"sample": 0.0}).tune(
        "test.counted.high", [70]
    )
    row = said.table.row(0, named=True)

    assert (said.hidden, row["seen"]) == (49, 51)
    assert (row["hidden_breaks"], row["hidden_breaks_low"], row["hidden_breaks_high"]) == (None, 0, 49)


def test_removals_of_this_rule_alone_and_with_others(tmp_path: Path) -> None:
    steps = [Length(max_chars=50), Counted(high=60)]
    row = run(tmp_path, steps, LENGTHS, audit={"sample": 1.0}).tune("length.max_chars", [40]).table.row(0, named=True)

    assert (row["sample_breaks"], row["sample_alone"]) == (60, 20)
    assert (row["alone"], row["alone_low"], row["alone_high"], row["overlap"]) == (20, 20, 20, 40)


def test_documents_in_quarantine_are_told_of(tmp_path: Path) -> None:
    records = [{"id": "a", "text": "null 1", "kind": "p"}, {"id": "b", "text": "none 1", "kind": "p"}]
    said = run(tmp_path, [Length(min_chars=1), Marks(by_kind={"p": 0.5})], records).tune("length.min_chars", [2])

    assert (said.quarantined, said.documents) == (1, 1)


def test_a_limit_that_was_not_set_can_be_tried(tmp_path: Path) -> None:
    said = run(tmp_path, [Length(min_chars=50)], LENGTHS).tune("steps.length.max_chars", [60])

    assert said.now is None
    assert said.table["kept"].to_list() == [11]


def test_a_score_that_a_new_rule_cannot_use_is_quarantine(tmp_path: Path) -> None:
    records = [{"id": "a", "text": "null 1", "kind": "p"}, {"id": "b", "text": "none 1", "kind": "p"}]
    said = run(tmp_path, [Marks()], records).tune("test.tune.marks.by_kind.p", [0.5])

    assert (said.table["kept"].item(), said.table["unanswered"].item()) == (1, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("near.keep", "no step of this run fits 'near.keep'"),
        ("test.first_letter.any", "needs the whole corpus"),
        ("length.chars", "has no option 'chars'"),
        ("marks.unit", "is no threshold"),
        ("marks.twice", "is not a number"),
        ("marks.names", "is not a number"),
        ("marks.by_kind", "holds several numbers"),
        ("length.min_chars.en", "holds no 'en'"),
    ],
)
def test_what_is_no_threshold_is_refused(name: str, message: str, tmp_path: Path) -> None:
    records = [{**record, "kind": "p"} for record in LENGTHS]
    done = run(tmp_path, [Length(min_chars=50), ("marks", Marks()), FirstLetter()], records)
    with pytest.raises(UsageError, match=message) as error:
        done.tune(name, [1])
    assert error.value.hint


def test_a_value_that_the_option_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="whole number") as error:
        run(tmp_path, [Length(min_chars=50)], LENGTHS).tune("length.min_chars", [0.5])
    assert error.value.hint == "curate filters length has its range"


def test_an_unknown_group_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column 'langs'") as error:
        run(tmp_path, [Length(min_chars=50)], LENGTHS).tune("length.min_chars", [1], by="langs")
    assert error.value.hint == "did you mean 'lang'?"


def test_long_values_of_a_group_are_never_shown(tmp_path: Path) -> None:
    records = [{"id": "a", "text": "abc", "note": "a whole sentence of someone " * 4}]
    said = run(tmp_path, [Length(min_chars=1)], records).tune("length.min_chars", [1], by="note")

    assert said.groups["group"].to_list() == ["(longer values)"]


def test_a_rule_that_has_changed_since_the_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(tmp_path, [Counted(low=50)], LENGTHS)
    monkeypatch.setattr(Counted, "drop_when", lambda self: {"too_short": above("size", self.low or 0)})
    with pytest.raises(UsageError, match="no longer give the ledger's verdict for 99 documents"):
        done.tune("test.counted.low", [10])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1:5:2", (1, 3, 5)),
        ("0.1:0.3:0.1", (0.1, 0.2, 0.3)),
        ("5:1:-2", (5, 3, 1)),
        ("50, 100", (50, 100)),
        ("1,2.5", (1.0, 2.5)),
        ("0.5", (0.5,)),
    ],
)
def test_values_are_written_as_a_range_or_a_list(text: str, values: tuple[float, ...]) -> None:
    assert parse_values(text) == values
    assert [type(value) for value in parse_values(text)] == [type(value) for value in values]


@pytest.mark.parametrize("text", ["", "a", "1:2", "1:2:0", "2:1:1", "nan", "1:inf:1", "0:1:0.001"])
def test_other_texts_are_no_values(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_values(text)
    assert error.value.hint


# --- shown ------------------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_the_override(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    root = run(tmp_path, [Length(min_chars=50)], LENGTHS).root
    shown = CliRunner().invoke(app, ["tune", str(root), "length.min_chars=26:76:50", "--by", "lang"])

    assert shown.exit_code == 0
    rows = [line.split() for line in shown.output.splitlines()]
    assert ["26", "25", "75", "75.0", "%", "████████████"] in rows
    assert ["50", "(now)", "49", "51", "51.0", "%", "████████▏"] in rows
    assert ["en", "50", "74.0", "%", "24.0", "%"] in rows
    assert "curate run PIPELINE --update steps.length.min_chars=26" in shown.output


def test_json_has_the_rows_and_overrides(tmp_path: Path) -> None:
    root = run(tmp_path, [Length(min_chars=50)], LENGTHS).root
    shown = CliRunner().invoke(app, ["tune", str(root), "length.min_chars=26", "--json"])
    (row,) = json.loads(shown.stdout)["values"]

    assert (row["kept"], row["override"]) == (75, "steps.length.min_chars=26")


def test_the_page_escapes_what_comes_from_data(tmp_path: Path) -> None:
    records = [{"id": "a", "text": "abc", "lang": "<b>x"}]
    run(tmp_path, [Length(min_chars=1)], records).tune("length.min_chars", [1], by="lang")
    page = tmp_path / "page.html"
    shown = CliRunner().invoke(
        app, ["tune", str(tmp_path / "run"), "length.min_chars=2", "--by", "lang", "--html", str(page)]
    )

    assert shown.exit_code == 0
    assert "&lt;b&gt;x" in page.read_text("utf-8")
    assert "<b>x" not in page.read_text("utf-8")


def test_a_change_without_values_is_refused(tmp_path: Path) -> None:
    root = run(tmp_path, [Length(min_chars=50)], LENGTHS).root
    with pytest.raises(UsageError, match="names no values"):
        CliRunner().invoke(app, ["tune", str(root), "length.min_chars"], catch_exceptions=False)


def test_a_run_is_opened_with_the_plugin_that_it_used(tmp_path: Path) -> None:
    plugin = tmp_path / "own.py"
    plugin.write_text(
        "import polars as pl\nfrom curate import Filter, above, threshold\n\n\n"
        "class Own(Filter, name='test.tune.own'):\n    most: int = threshold(5)\n\n"
        "    def score(self, docs):\n        return docs.select(size=pl.col('text').str.len_chars())\n\n"
        "    def drop_when(self):\n        return {'long': above('size', self.most)}\n"
    )
    write_lines(tmp_path / "a.jsonl", LENGTHS)
    (tmp_path / "p.yaml").write_text("input: {paths: [a.jsonl]}\nplugins: [own.py]\nsteps: [test.tune.own]\n")
    Pipeline.load(tmp_path / "p.yaml").run(output=tmp_path / "run", workers=1)

    assert open_run(tmp_path / "run").tune("test.tune.own.most", [10]).table["kept"].to_list() == [10]


def test_a_column_that_tells_documents_apart_is_no_group(tmp_path: Path) -> None:
    records = [{"id": f"d{n}", "text": "abc", "hash": f"h{n}"} for n in range(20)]
    done = run(tmp_path, [Length(min_chars=1)], records)
    with mock.patch("curate.groups.MOST_GROUPS", 10), pytest.raises(UsageError, match="'hash' has 20 values"):
        done.tune("length.min_chars", [2], by="hash")


def test_many_groups_of_which_the_sample_says_nothing(tmp_path: Path) -> None:
    records = [{"id": f"d{n}", "text": "a" * (n % 2 * 9 + 1), "lang": f"g{n // 4}"} for n in range(600)]
    records.append({"id": "last", "text": "a" * 20, "lang": "z"})
    done = run(tmp_path, [Length(min_chars=5), Counted(high=90)], records, audit={"sample": 0.0})
    said = done.tune("length.min_chars", [1], by="lang")

    assert said.groups.height == 151
    assert said.groups["kept"].null_count() == 150
    assert said.groups["kept"][-1] == 1
