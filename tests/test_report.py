"""The report: numbers from a small ledger and manifest written by hand, and the HTML page that shows them."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate import scores
from curate.report import Report
from curate.scores import MAX_BINS, Summary, bin_edges
from curate.stats import wilson_ends

CANARY = "jane.doe@example.org"
STEPS = ("language", "words", "near")
TYPES: dict[str, Any] = {
    "id": pl.String,
    "file": pl.String,
    "row": pl.Int64,
    "kept": pl.Boolean,
    "step": pl.String,
    "rule": pl.String,
    "failed": pl.List(pl.String),
    "similarity": pl.Float64,
    "copies": pl.UInt16,
    "bytes": pl.Int64,
    "tokens": pl.Int64,
    "sampled": pl.Boolean,
    "language.label": pl.String,
    "words.count": pl.Int64,
    "words.judged": pl.Boolean,
    "input.source": pl.String,
}


def document(row: int, *failed: str, sampled: bool = False, **scored: Any) -> dict[str, Any]:
    """One ledger row; the first rule of `failed` decided."""
    step, rule = failed[0].split(".") if failed else (None, None)
    fixed = {"id": f"doc-{row}", "file": "a.jsonl", "row": row, "kept": not failed, "step": step, "rule": rule}
    columns = {name.replace("__", "."): value for name, value in scored.items()}
    return {**fixed, "failed": list(failed), "copies": int(not failed), "bytes": 100, "sampled": sampled, **columns}


# 10 documents: 2 dropped by language, 3 by words (2 rules), 1 by near, 4 kept; the odd ones are the audit sample.
DOCUMENTS = [
    document(0, language__label="en", words__count=60, words__judged=True),
    document(1, sampled=True, language__label="en", words__count=80, words__judged=True),
    document(2, language__label="en", words__count=90, words__judged=True),
    document(3, sampled=True, language__label="no", words__count=None, words__judged=False),
    document(4, "language.not_kept", language__label="de"),
    document(
        5, "language.not_kept", "words.few", sampled=True, language__label="de", words__count=7, words__judged=True
    ),
    document(6, "words.few", language__label="en", words__count=10, words__judged=True),
    document(7, "words.few", sampled=True, language__label="en", words__count=20, words__judged=True),
    document(8, "words.odd", "words.few", language__label="en", words__count=30, words__judged=True),
    document(9, "near.copy", sampled=True, language__label="en", words__count=70, words__judged=True, similarity=0.9),
]


def step_counts(rows: list[dict[str, Any]], steps: tuple[str, ...]) -> list[dict[str, Any]]:
    seen, counts = len(rows), []
    for step in steps:
        rules = Counter(row["rule"] for row in rows if row["step"] == step)
        counts.append({"step": step, "seen": seen, "dropped": rules.total(), "rules": dict(rules)})
        seen -= rules.total()
    return counts


def build(
    root: Path,
    rows: list[dict[str, Any]] = DOCUMENTS,
    *,
    steps: tuple[str, ...] = STEPS,
    types: dict[str, Any] | None = None,
    quarantine: list[dict[str, Any]] | None = None,
    tables: dict[str, dict[str, pl.DataFrame]] | None = None,
    **manifest: Any,
) -> Report:
    """A run directory with these ledger rows, and its report."""
    audit = root / "audit"
    (audit / "ledger").mkdir(parents=True)
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        pl.DataFrame(part, schema=types or TYPES).write_parquet(audit / "ledger" / f"part-{number:05d}.parquet")
    bad = quarantine or []
    if bad:
        (audit / "quarantine").mkdir()
        schema = {name: TYPES.get(name, pl.String) for name in ("file", "row", "id", "step", "error")}
        frame = pl.DataFrame(bad, schema={**schema, "raw": pl.Binary})
        frame.write_parquet(audit / "quarantine" / "part-00000.parquet")
    by_step = step_counts(rows, steps)
    for counts in by_step:
        counts["seen"] += sum(row.get("step") == counts["step"] for row in bad)
    kept = sum(row["kept"] for row in rows)
    counts = {"read": len(rows) + len(bad), "kept": kept, "dropped": len(rows) - kept, "quarantined": len(bad)}
    known: dict[str, Any] = {
        "name": "web",
        "pipeline": {"name": "web", "steps": [{step: {"max": 1}} for step in steps]},
        "steps": [{"name": step, "filter": step} for step in steps],
        "versions": {"curate": "0.1.0"},
        "inputs": [{"file": "a.jsonl", "rows": counts["read"], "bytes": 5000, "sha256": "ab" * 32}],
        "outputs": [{"path": "dataset/data/part-00000.parquet", "rows": kept, "bytes": 900, "sha256": "cd" * 32}],
        "models": [],
        "counts": {**counts, "by_step": by_step},
        "bytes": {"read": 1000, "kept": 400},
        "limits": [{"step": "words", "rule": "few", "score": "words.count", "limit": 50, "side": "below"}],
        "work": [{"step": "words", "scored": 8, "reused": 2, "seconds": 0.5}],
        "seconds": {"survey": 0.5, "total": 2.0},
        "finished": "2026-11-23T12:00:00+00:00",
        "promises": [{"promise": "something is kept", "held": True, "detail": "4 documents"}],
        "exit_code": 0,
    }
    ledger = pl.scan_parquet(sorted((audit / "ledger").glob("*.parquet")), glob=False)
    return Report.build(root, known | manifest, ledger, tables or {})


def score_of(report: Report, name: str) -> dict[str, Any]:
    return next(score for score in report.data["scores"] if score["score"] == name)


def rule_of(report: Report, name: str) -> dict[str, Any]:
    return next(row for row in report.data["rules"] if f"{row['step']}.{row['rule']}" == name)


# --- counts, steps, rules ---------------------------------------------------------------------------------------------


def test_counts_have_shares_of_what_was_read(tmp_path: Path) -> None:
    counts = build(tmp_path).data["counts"]
    assert counts == {
        "read": 10, "kept": 4, "dropped": 6, "quarantined": 0,
        "kept_share": 0.4, "dropped_share": 0.6, "quarantined_share": 0.0,
    }  # fmt: skip


def test_a_run_over_nothing_has_no_shares(tmp_path: Path) -> None:
    report = build(tmp_path, [], bytes={"read": 0, "kept": 0})
    assert report.data["counts"]["kept_share"] is None
    assert report.data["bytes"]["kept_share"] is None
    assert "web" in report.html()


def test_what_went_on_from_a_step_leaves_out_its_quarantined_documents(tmp_path: Path) -> None:
    bad = [{"file": "a.jsonl", "row": 10, "id": "x", "step": "words", "error": "ValueError: no", "raw": b"x"}]
    steps = build(tmp_path, quarantine=bad).data["steps"]
    assert [(row["step"], row["seen"], row["dropped"], row["quarantined"], row["passed"]) for row in steps] == [
        ("language", 10, 2, 0, 8),
        ("words", 9, 3, 1, 5),
        ("near", 5, 1, 0, 4),
    ]


def test_a_rule_has_who_it_decided_and_everyone_who_breaks_it_where_the_step_judged(tmp_path: Path) -> None:
    few = rule_of(build(tmp_path), "words.few")
    # document 5 breaks it too, but language had dropped it: only the audit sample knows
    assert (few["first"], few["total"]) == (2, 3)
    assert (few["limit"], few["side"], few["score"]) == (50, "below", "words.count")


def test_a_rule_without_a_limit_says_so(tmp_path: Path) -> None:
    assert rule_of(build(tmp_path), "words.odd")["limit"] is None


def test_alone_counts_sampled_documents_that_break_no_other_rule_and_estimates_the_whole(tmp_path: Path) -> None:
    report = build(tmp_path)
    few = rule_of(report, "words.few")
    low, high = wilson_ends(1, 5)
    assert report.data["sample"] == {"documents": 5, "of": 10, "kept": 4}
    assert (few["alone"], few["alone_estimate"]) == (1, 2)
    assert (few["alone_low"], few["alone_high"]) == (round(low * 10), round(high * 10))
    assert rule_of(report, "language.not_kept")["alone"] == 0


def test_alone_is_exact_when_everything_is_sampled(tmp_path: Path) -> None:
    few = rule_of(build(tmp_path, [row | {"sampled": True} for row in DOCUMENTS]), "words.few")
    assert (few["alone"], few["alone_low"], few["alone_high"]) == (2, 2, 2)


def test_alone_is_unknown_without_an_audit_sample(tmp_path: Path) -> None:
    report = build(tmp_path, [row | {"sampled": False} for row in DOCUMENTS])
    assert rule_of(report, "words.few")["alone"] is None
    assert "no audit sample" in report.html()


# --- scores -----------------------------------------------------------------------------------------------------------


def test_a_histogram_counts_each_document_that_reached_the_step_once(tmp_path: Path) -> None:
    count = score_of(build(tmp_path), "words.count")
    # of 8 documents that reached `words` one has no value; document 5 was scored for the sample only
    assert (count["documents"], count["no_value"], count["low"], count["high"]) == (7, 1, 10, 90)
    assert (sum(count["kept"]), sum(count["dropped_here"]), sum(count["dropped_later"])) == (3, 3, 1)
    assert count["limits"] == [{"step": "words", "rule": "few", "limit": 50.0, "side": "below"}]


def test_bins_hold_what_lies_between_their_edges(tmp_path: Path) -> None:
    values = [0, 1, 2, 5, 9, 10, 11, 77, 99, 100]
    rows = [document(i, words__count=value) for i, value in enumerate(values)]
    count = score_of(build(tmp_path, rows), "words.count")
    expected = [sum(low <= value < high for value in values) for low, high in pairwise(count["edges"])]
    assert count["kept"] == expected


def test_values_that_are_not_finite_are_counted_apart(tmp_path: Path) -> None:
    rows = [document(i, near__x=value) for i, value in enumerate([0.5, float("nan"), float("inf"), None])]
    score = score_of(build(tmp_path, rows, types={**TYPES, "near.x": pl.Float64}), "near.x")
    assert (score["documents"], score["not_finite"], score["no_value"], sum(score["kept"])) == (3, 2, 1, 1)


def test_a_score_without_any_value_or_with_one_only_is_told_in_a_line(tmp_path: Path) -> None:
    rows = [document(number, near__x=None, near__y=3) for number in range(2)]
    report = build(tmp_path, rows, types={**TYPES, "near.x": pl.Float64, "near.y": pl.Int64})
    assert score_of(report, "near.x")["edges"] == []
    page = report.html()
    assert "Without any value: " in page
    assert "near.x." in page
    assert "near.y 3 (2 documents)" in page
    assert 'aria-label="histogram of near.' not in page


def test_a_score_with_a_limit_is_drawn_even_where_it_is_the_same_everywhere(tmp_path: Path) -> None:
    page = build(tmp_path, [document(number, words__count=90) for number in range(2)]).html()
    assert 'aria-label="histogram of words.count' in page


def test_engine_columns_without_values_are_left_out(tmp_path: Path) -> None:
    names = [score["score"] for score in build(tmp_path).data["scores"]]
    assert names == ["similarity", "bytes", "language.label", "words.count", "words.judged"]


def test_a_limit_on_a_column_of_the_engine_marks_that_column(tmp_path: Path) -> None:
    limits = [{"step": "near", "rule": "copy", "score": "near.similarity", "limit": 0.8, "side": "above"}]
    assert score_of(build(tmp_path, limits=limits), "similarity")["limits"][0]["limit"] == 0.8


def test_an_infinite_limit_is_told_in_words(tmp_path: Path) -> None:
    limits = [{"step": "words", "rule": "few", "score": "words.count", "limit": float("inf"), "side": "above"}]
    report = build(tmp_path, limits=limits)
    json.dumps(report.to_dict(), allow_nan=False)
    assert "limit above infinity, outside this chart" in report.html()


def summary(low: float, high: float, typical: float | None = None) -> Summary:
    return Summary(10, 0, 10, low, high, None, typical)


def test_shares_get_round_bins_that_a_limit_falls_between() -> None:
    scale, edges = bin_edges(summary(0.003, 0.998), whole=False)
    assert scale == "linear"
    assert {0.2, 0.65, 0.8} <= set(edges)


def test_counts_with_a_long_tail_get_logarithmic_bins() -> None:
    scale, edges = bin_edges(summary(0, 1_000_000, typical=200), whole=True)
    assert scale == "log"
    assert {0, 1, 10, 100, 1000, 1_000_000} <= set(edges)


def test_bins_reach_to_a_limit_near_the_values_and_not_to_one_far_away() -> None:
    assert bin_edges(summary(0, 0.1), False, [0.2])[1][-1] >= 0.2
    assert bin_edges(summary(0, 0.1), False, [1e9])[1][-1] == pytest.approx(0.1)


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, deadline=None)
@example([0.0, 1.7e308], [])  # the logarithmic edges overflowed
@example([0.5, 3981.0], [])  # the last edge was rounded below the highest value
@given(st.lists(finite | st.floats(0, 1) | st.integers(0, 10**7).map(float), min_size=1), st.lists(finite, max_size=2))
def test_bins_are_few_and_ordered_and_hold_every_value(values: list[float], limits: list[float]) -> None:
    whole = all(value.is_integer() and abs(value) < 2**53 for value in values)
    low, high = min(values), max(values)
    for typical in (None, (low + high) / 2 if low >= 0 else None, 1.0 if low >= 0 else None):
        _, edges = bin_edges(summary(low, high, typical), whole, limits)
        slack = 1e-6 * max(abs(low), abs(high), edges[1] - edges[0])
        assert len(edges) - 1 <= MAX_BINS
        assert all(a < b for a, b in pairwise(edges))
        assert edges[0] <= low + slack
        assert edges[-1] >= high - slack


def test_labels_are_listed_by_frequency_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [document(i, language__label=f"l{i % 25:02d}") for i in range(30)]
    label = score_of(build(tmp_path, rows), "language.label")
    assert [row["label"] for row in label["labels"]] == [f"l{i:02d}" for i in range(20)]
    assert label["others"] == {"labels": 5, "kept": 5, "dropped_here": 0, "dropped_later": 0}


def test_labels_are_split_by_what_became_of_the_documents(tmp_path: Path) -> None:
    label = score_of(build(tmp_path), "language.label")
    assert label["labels"][0] == {"label": "en", "kept": 3, "dropped_here": 0, "dropped_later": 4}
    assert label["labels"][1] == {"label": "de", "kept": 0, "dropped_here": 2, "dropped_later": 0}


def test_a_long_label_could_be_text_and_is_counted_but_not_shown(tmp_path: Path) -> None:
    long = f"write to {CANARY} " * 10
    report = build(tmp_path, [document(0, language__label=long), document(1, language__label="en")])
    label = score_of(report, "language.label")
    assert [row["label"] for row in label["labels"]] == ["en"]
    assert (label["too_long"], label["others"]["kept"]) == (1, 1)
    assert CANARY not in report.html() + json.dumps(report.to_dict())


def test_too_many_labels_are_counted_on_the_audit_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "MAX_DISTINCT", 2)
    report = build(tmp_path)
    label = score_of(report, "language.label")
    assert (label["of_sample"], label["documents"]) == (True, 5)
    assert "counted on the audit sample only" in report.html()


def test_flags_count_both_sides_and_judged_is_worded(tmp_path: Path) -> None:
    report = build(tmp_path)
    judged = score_of(report, "words.judged")
    assert judged["false"] == {"kept": 1, "dropped_here": 0, "dropped_later": 0}
    assert judged["true"] == {"kept": 3, "dropped_here": 3, "dropped_later": 1}
    assert "not judged by this filter" in report.html()


def test_scores_that_cannot_be_drawn_are_named(tmp_path: Path) -> None:
    report = build(tmp_path, types={**TYPES, "words.spans": pl.Array(pl.Int64, 2)})
    assert score_of(report, "words.spans") == {
        "score": "words.spans", "step": "words", "kind": "other", "unit": "document",
        "type": "Array(Int64, shape=(2,))",
    }  # fmt: skip
    assert "Not drawn: words.spans" in report.html()


def test_scores_of_every_turn_are_counted_and_worded_by_turns(tmp_path: Path) -> None:
    rows = [document(0, words__each_turn__count=[1, 2, 2]), document(1, words__each_turn__count=[5])]
    report = build(tmp_path, rows, types={**TYPES, "words.each_turn.count": pl.List(pl.Int64)})
    assert (score_of(report, "words.each_turn.count")["unit"], score_of(report, "bytes")["unit"]) == (
        "turn",
        "document",
    )
    assert "4 turns · lowest 1" in report.html()


def test_a_list_of_numbers_with_a_meaning_each_is_named_and_not_drawn(tmp_path: Path) -> None:
    report = build(tmp_path, types={**TYPES, "words.surface": pl.List(pl.Float64)})
    assert "Not drawn: words.surface" in report.html()


def test_a_report_from_before_units_is_of_documents(tmp_path: Path) -> None:
    data = build(tmp_path).to_dict()
    data["scores"] = [{name: value for name, value in score.items() if name != "unit"} for score in data["scores"]]
    assert "7 documents · lowest" in Report(data).html()


# --- quarantine, attention, tables ------------------------------------------------------------------------------------


def quarantined(row: int, step: str | None, error: str) -> dict[str, Any]:
    raw = f"raw {CANARY}".encode()
    return {"file": "a.jsonl", "row": row, "id": f"bad-{row}", "step": step, "error": error, "raw": raw}


def test_quarantine_is_counted_by_step_and_kind_of_error_without_what_the_error_quotes(tmp_path: Path) -> None:
    bad = [
        quarantined(10, None, "record of 123 bytes: too large"),
        quarantined(11, None, "record of 4567 bytes: too large"),
        quarantined(12, "words", f"ValueError: cannot read '{CANARY}'"),
        quarantined(13, "words", f"KeyError\n{CANARY}"),
    ]
    report = build(tmp_path, quarantine=bad)
    errors = report.data["quarantine"]["errors"]
    assert [(row["step"], row["error"], row["records"]) for row in errors] == [
        (None, "record of N bytes", 2),
        ("words", "KeyError", 1),
        ("words", "ValueError", 1),
    ]
    assert errors[0]["places"] == [{"file": "a.jsonl", "row": row, "id": f"bad-{row}"} for row in (10, 11)]
    assert CANARY not in report.html() + json.dumps(report.to_dict())


def test_what_records_of_turns_lack_is_told_whole_and_the_rest_never(tmp_path: Path) -> None:
    bad = [
        quarantined(10, None, "messages[0]: wanted a role, got null"),
        quarantined(11, None, "messages[3]: wanted a role, got null"),
        quarantined(12, None, f"text: wanted '{CANARY}'"),
        quarantined(13, "words", f"text: wanted {CANARY}"),
        quarantined(14, None, f"cannot be written: schema alpaca holds plain text, got {CANARY}"),
    ]
    report = build(tmp_path, quarantine=bad)
    assert [(row["error"], row["records"]) for row in report.data["quarantine"]["errors"]] == [
        ("messages[N]: wanted a role, got null", 2),
        ("cannot be written: schema alpaca holds plain text", 1),
        ("text", 1),
        ("text", 1),
    ]
    assert "<td>writing</td>" in report.html()


def attention(report: Report) -> list[tuple[str, str]]:
    return [(note["level"], note["text"]) for note in report.data["attention"]]


def test_nothing_needs_attention_when_all_is_well(tmp_path: Path) -> None:
    rows = [document(i, words__judged=True) for i in range(5)]
    report = build(tmp_path, rows)
    assert attention(report) == []
    assert "Every promise held" in report.html()


def test_failed_promises_come_first_then_quarantine_large_losses_and_unjudged_documents(tmp_path: Path) -> None:
    rows = [document(0, words__judged=False), document(1, "near.copy", words__judged=False)]
    rows += [document(2 + i, "language.not_kept") for i in range(3)]
    promises = [{"promise": "max_quarantined", "held": False, "detail": "1 of 6"}]
    report = build(tmp_path, rows, quarantine=[quarantined(9, None, "bad")], promises=promises, exit_code=1)
    assert attention(report) == [
        ("failed", "Promise not held: max_quarantined (1 of 6)"),
        ("look", "1 record (16.7 %) could not be read or scored and went to quarantine."),
        ("look", "language dropped 60.0 % of the 5 documents it saw."),
        (
            "look",
            "words did not judge 2 documents (100 % of those that reached it), because its rules do not apply to them; "
            "1 of them were kept.",
        ),
    ]


def test_a_part_that_was_not_judged_needs_attention(tmp_path: Path) -> None:
    rows = [document(0, words__assistant__judged=[True, False]), document(1, words__assistant__judged=[False])]
    report = build(tmp_path, rows, types={**TYPES, "words.assistant.judged": pl.List(pl.Boolean)})
    assert attention(report)[0][1].startswith("words.assistant did not judge 2 turns (66.7 % of those that reached it)")


def test_a_measure_that_a_step_warns_of_needs_attention_as_its_last_row_says_it(tmp_path: Path) -> None:
    frame = pl.DataFrame({
        "of": ["judged", "kept", "judged", "kept"], "measure": ["one", "one", "two", "two"],
        "value": [0.7, 0.65432, 0.8, 0.5], "note": ["warning: high", "warning: high", "warning: high", None],
    })  # fmt: skip
    report = build(tmp_path, [document(0, words__judged=True)], tables={"near": {"bias": frame}})
    assert attention(report) == [("look", "near: one is 0.654; high")]


def test_a_ledger_and_a_manifest_that_do_not_agree_are_a_failure(tmp_path: Path) -> None:
    counts = {"read": 11, "kept": 5, "dropped": 6, "quarantined": 0, "by_step": step_counts(DOCUMENTS, STEPS)}
    level, text = attention(build(tmp_path, counts=counts))[0]
    assert level == "failed"
    assert "do not agree" in text


def test_tables_of_filters_are_plain_values_cut_with_a_count(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": range(300), "share": [float("nan")] * 300, "raw": [b"secret"] * 300})
    report = build(tmp_path, tables={"near": {"clusters": frame}})
    table = report.data["tables"][0]
    assert (table["step"], table["name"], len(table["rows"]), table["of"]) == ("near", "clusters", 200, 300)
    assert table["rows"][0] == [0, "nan", "6 bytes"]
    assert "The first 200 of 300 rows." in report.html()


def test_work_has_documents_per_second(tmp_path: Path) -> None:
    assert build(tmp_path).data["work"] == [
        {"step": "words", "scored": 8, "reused": 2, "seconds": 0.5, "per_second": 16.0}
    ]


def test_many_input_files_are_counted_and_the_first_listed(tmp_path: Path) -> None:
    inputs = [{"file": f"{i}.jsonl", "rows": 1, "bytes": 10, "sha256": None} for i in range(150)]
    report = build(tmp_path, inputs=inputs)
    assert (report.data["reproduce"]["inputs"]["files"], report.data["reproduce"]["inputs"]["bytes"]) == (150, 1500)
    assert "The first 100 of 150 files." in report.html()


# --- the files --------------------------------------------------------------------------------------------------------


def test_the_report_is_json_and_comes_back_from_it(tmp_path: Path) -> None:
    report = build(tmp_path)
    report.save(tmp_path / "report.json")
    again = Report(json.loads((tmp_path / "report.json").read_text()))
    assert again == report
    assert again.html() == report.html()


def test_plain_seconds_are_the_total(tmp_path: Path) -> None:
    assert build(tmp_path, seconds=3.5).data["seconds"] == {"total": 3.5}


class Tags(HTMLParser):
    """Every element and attribute of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.values: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += tag != "wbr"  # where names may be broken: as many as they have dots
        self.attributes |= {name for name, _ in attrs}
        self.values += [f"{name}={value}" for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def hostile(root: Path, word: str) -> Report:
    """A report in which everything that data can name is named `word`."""
    rows = [row | {"language.label": word} for row in DOCUMENTS]
    bad = [quarantined(20, word, word) | {"file": word, "id": word}]
    table = pl.DataFrame({word: [word]})
    limits = [{"step": "words", "rule": word, "score": "words.count", "limit": 50, "side": "below"}]
    promises = [{"promise": word, "held": False, "detail": word}]
    inputs = [{"file": word, "rows": 1, "bytes": 1, "sha256": word}]
    given = {"limits": limits, "promises": promises, "inputs": inputs, "versions": {word: word}, "finished": word}
    types = {**TYPES, f"near.{word}": pl.Float64}
    scored = [row | {f"near.{word}": 0.5} for row in rows]
    return build(root, scored, types=types, quarantine=bad, tables={"near": {word: table}}, name=word, **given)


@pytest.mark.parametrize(
    "word",
    [
        "</script><img src=x onerror=alert(1)>",
        "\" onload='alert(1)' style=\"x",
        "{{ 7 * 7 }}{% raw %}",
        "]]></title><svg onload=alert(1)>",
    ],
)
def test_names_from_data_never_become_markup(tmp_path: Path, word: str) -> None:
    plain = Tags(hostile(tmp_path / "plain", "plainword").html())
    found = Tags(hostile(tmp_path / "hostile", word).html())
    assert found.elements == plain.elements
    assert found.attributes == plain.attributes
    assert word in "".join(found.words)


def test_characters_that_hide_or_reorder_text_are_made_visible(tmp_path: Path) -> None:
    page = hostile(tmp_path, "a\u202eb\u200bc\x1b\x07\x00d").html()
    assert not set(page) & set("\u202e\u200b\x1b\x07\x00")
    assert "a\\u202eb\\u200bc\\x1b\\x07\\x00d" in page


def test_the_page_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    page = build(tmp_path).html()
    found = Tags(page)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert f"content={policy}" in found.values
    assert not {"script", "iframe", "img", "object", "embed", "form", "base"} & set(found.elements)
    assert not any(name.startswith("on") for name in found.attributes)
    links = [value for value in found.values if value.startswith(("href=", "src="))]
    assert all(link.startswith(("href=#", "href=data:")) for link in links)
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page
    assert "@import" not in page


def test_every_link_of_the_page_has_its_section(tmp_path: Path) -> None:
    bad = [quarantined(9, None, "bad")]
    values = Tags(build(tmp_path, quarantine=bad, tables={"near": {"t": pl.DataFrame({"a": [1]})}}).html()).values
    wanted = {value.removeprefix("href=#") for value in values if value.startswith("href=#")}
    assert wanted == {value.removeprefix("id=") for value in values if value.startswith("id=")} - {"summary"}


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(tmp_path: Path) -> None:
    report = build(tmp_path)
    made = report._repr_html_()
    assert Tags(made).elements == {"iframe": 1}
    assert f"srcdoc={report.html()}" in Tags(made).values


def test_a_limit_line_stands_between_the_last_kept_and_the_first_dropped_whole_number(tmp_path: Path) -> None:
    from curate.html import _position

    assert _position({"limit": 2, "side": "above"}, whole=True) == 3  # 3 is the first dropped
    assert _position({"limit": 50, "side": "below"}, whole=True) == 50  # 49 is the last dropped
    assert _position({"limit": 0.2, "side": "above"}, whole=False) == 0.2
