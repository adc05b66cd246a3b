"""The audit: figures of small corpora made by hand, runs, and pipelines of other tools."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from rich.console import Console

import curate
from curate import stats
from curate.audit import Audit, audit_observed
from curate.audit_counts import NO_VALUE, Observed, count
from curate.cli import app
from curate.errors import UsageError
from curate.run import Run

STEPS = ("short", "listed")


def documents(*kinds: tuple[int, int, dict[str, Any]], sampled: float = 0.0) -> Observed:
    """So many documents of each kind: (number, step that removed them or 2, columns)."""
    rows = [{"__at": at, "__bytes": 100, **columns} for number, at, columns in kinds for _ in range(number)]
    frame = pl.DataFrame(rows, infer_schema_length=None).with_row_index("id")
    frame = frame.with_columns(
        pl.col("id").cast(pl.String),
        pl.col("__at").cast(pl.Int16),
        (pl.col("id") < len(rows) * sampled).alias("sampled"),
    )
    return Observed(frame.lazy(), STEPS)


def two_groups(**more: Any) -> Observed:
    """a loses 10 of 200 at the first step and 57 of 190 at the second; b 10 of 200 and 19 of 190."""
    a, b = {"source": "a", **more}, {"source": "b", **more}
    return documents((10, 0, a), (57, 1, a), (133, 2, a), (10, 0, b), (19, 1, b), (171, 2, b))


def row(found: Audit, group: str, step: str, **more: Any) -> dict[str, Any]:
    wanted = found.rows.filter(pl.col("group") == group, pl.col("step") == step, **more)
    return wanted.row(0, named=True)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_at_risk_are_the_documents_that_no_earlier_step_removed() -> None:
    found = audit_observed(two_groups(), "source")
    assert [(r["at_risk"], r["removed"]) for r in found.rows.iter_rows(named=True)] == [
        (200, 10), (190, 57), (200, 67), (200, 10), (190, 19), (200, 29),
    ]  # fmt: skip
    assert row(found, "a", "listed")["removed_bytes"] == 5_700


def test_ratios_and_intervals_are_to_all_others() -> None:
    found = row(audit_observed(two_groups(), "source"), "a", "listed")
    ratio = stats.katz(57, 190, 19, 190)
    assert (found["rate"], found["reference_rate"]) == (0.3, 0.1)
    assert found["removal_ratio"] == pytest.approx(3)
    assert (found["removal_low"], found["removal_high"]) == pytest.approx((float(ratio.low), float(ratio.high)))
    assert found["keep_ratio"] == pytest.approx(0.7 / 0.9)
    assert found["difference"] == pytest.approx(0.2)
    assert found["removal_ratio_bytes"] == pytest.approx(3)


def test_the_parts_of_the_steps_add_up_to_the_whole() -> None:
    found = audit_observed(two_groups(), "source")
    parts = [row(found, "a", step)["attribution"] for step in STEPS]
    assert sum(parts) == pytest.approx(row(found, "a", "(all steps)")["attribution"])
    assert row(found, "a", "(all steps)")["attribution"] == pytest.approx(np.log((133 / 200) / (171 / 200)))


def test_shares_before_and_after() -> None:
    found = row(audit_observed(two_groups(), "source"), "a", "(all steps)")
    assert (found["share_before"], found["share_after"]) == pytest.approx((0.5, 133 / 304))


def test_what_is_large_and_no_chance_is_flagged() -> None:
    found = audit_observed(two_groups(), "source")
    assert [(flag["group"], flag["step"]) for flag in found.flags] == [("a", "listed"), ("a", "(all steps)")]
    assert found.flags[0]["text"].startswith(
        "listed removes 30.0 % of a (source) and 10.0 % of the others: 3 times as often ["
    )
    assert row(found, "a", "short")["status"] == "ok"
    assert row(found, "b", "listed")["status"] == "ok"  # removed less often


def test_a_small_difference_is_not_flagged_however_certain() -> None:
    a, b = {"source": "a"}, {"source": "b"}
    found = audit_observed(documents((12_000, 0, a), (88_000, 2, a), (10_000, 0, b), (90_000, 2, b)), "source")
    assert row(found, "a", "short")["q"] < 1e-6
    assert not row(found, "a", "short")["flagged"]


def test_a_removal_that_only_one_group_has_is_flagged_without_a_ratio() -> None:
    a, b = {"source": "a"}, {"source": "b"}
    found = row(audit_observed(documents((50, 0, a), (50, 2, a), (100, 2, b)), "source"), "a", "short")
    assert found["removal_ratio"] is None
    assert found["flagged"]


def test_too_few_documents_give_counts_and_no_ratios() -> None:
    a, b = {"source": "a"}, {"source": "b"}
    found = row(audit_observed(documents((9, 0, a), (11, 2, a), (100, 0, b), (900, 2, b)), "source"), "a", "short")
    assert (found["status"], found["at_risk"], found["removed"]) == ("insufficient", 20, 9)
    assert found["removal_ratio"] is None
    assert found["q"] is None
    assert found["detectable_ratio"] > 2


def test_groups_of_a_list_overlap_and_are_compared_with_documents_without_the_label() -> None:
    kinds = [
        (30, 0, {"tags": ["x", "y"]}), (70, 2, {"tags": ["x", "y"]}), (10, 0, {"tags": ["x", "x"]}),
        (90, 2, {"tags": ["x"]}), (10, 0, {"tags": []}), (90, 2, {"tags": []}),
    ]  # fmt: skip
    found = audit_observed(documents(*kinds), "tags")
    x, y = row(found, "x", "short"), row(found, "y", "short")
    assert (x["at_risk"], x["removed"], x["reference_at_risk"], x["reference_removed"]) == (200, 40, 100, 10)
    assert (y["at_risk"], y["removed"], y["reference_at_risk"], y["reference_removed"]) == (100, 30, 200, 20)
    assert any("overlap" in note for note in found.notes)


def test_a_missing_value_is_a_group_of_its_own() -> None:
    counts = count(documents((3, 0, {"source": "a"}), (2, 2, {"source": None})), "source")
    assert counts.groups == ("a", NO_VALUE)


def test_a_number_that_is_none_is_no_value() -> None:
    counts = count(documents((3, 0, {"grade": 1.5}), (2, 2, {"grade": float("nan")})), "grade")
    assert counts.groups == ("1.5", NO_VALUE)


def test_a_column_without_any_label_gives_no_rows_and_says_so() -> None:
    observed = documents((3, 0, {"tags": ["x"], "site": "s"}))
    emptied = replace(observed, frame=observed.frame.with_columns(tags=pl.lit([], pl.List(pl.String))))
    found = audit_observed(emptied, "tags", cluster="site")
    assert found.rows.is_empty()
    assert "No document has a value in tags: there are no groups to compare." in found.notes


def test_the_order_of_the_documents_changes_nothing() -> None:
    observed = two_groups(site="s")
    turned = replace(observed, frame=observed.frame.reverse())
    one, two = (audit_observed(o, "source", cluster="site").to_dict() for o in (observed, turned))
    assert one == two


def test_a_column_of_structs_is_no_grouping() -> None:
    with pytest.raises(UsageError, match="groups are text, numbers, or lists of text"):
        count(documents((3, 0, {"place": {"x": 1}})), "place")


def test_many_numbers_are_cut_into_ten_bands_of_equal_size() -> None:
    frame = pl.DataFrame({"id": [str(n) for n in range(1000)], "__at": pl.Series([2] * 1000, dtype=pl.Int16)})
    frame = frame.with_columns(pl.lit(1).alias("__bytes"), pl.lit(False).alias("sampled"), size=pl.int_range(1000))
    counts = count(Observed(frame.lazy(), STEPS), "size")
    assert len(counts.groups) == 10
    assert counts.documents.sum(1).max() <= 101


def test_the_reference_may_be_a_group_or_the_best_kept_one() -> None:
    for reference in ("b", "best"):
        found = audit_observed(two_groups(), "source", reference=reference)
        assert row(found, "b", "listed")["status"] == "reference"
        assert row(found, "a", "listed")["reference"] == "b"
    with pytest.raises(UsageError, match="no group 'c'"):
        audit_observed(two_groups(), "source", reference="c")


def test_strata_show_what_a_crude_ratio_hides() -> None:
    """Within each topic both groups lose the same share; a writes more about the topic that goes."""
    kinds = []
    for source, topic, gone, kept in (("a", "x", 80, 20), ("a", "y", 5, 95), ("b", "x", 16, 4), ("b", "y", 20, 380)):
        columns = {"source": source, "topic": topic}
        kinds += [(gone, 0, columns), (kept, 2, columns)]
    found = row(audit_observed(documents(*kinds), "source", strata=["topic"]), "a", "short")
    assert found["removal_ratio"] == pytest.approx((85 / 200) / (36 / 420))
    assert found["adjusted_ratio"] == pytest.approx(1)
    assert found["simpson"]


def test_documents_of_one_site_widen_the_interval() -> None:
    """Each site loses all or nothing: the documents say as little as the sites do."""
    kinds = []
    for number in range(60):
        columns = {"source": "ab"[number % 2], "site": f"site{number}"}
        kinds.append((50, 0 if number % 4 == 0 or number % 12 == 1 else 2, columns))
    alone = row(audit_observed(documents(*kinds), "source"), "a", "short")
    together = row(audit_observed(documents(*kinds), "source", cluster="site"), "a", "short")
    assert together["removal_ratio"] == alone["removal_ratio"]
    assert together["removal_high"] > 1.5 * alone["removal_high"]
    assert together["p"] > 1_000 * alone["p"]
    assert together["clusters"] == pytest.approx(30)


def test_a_cluster_is_a_single_value() -> None:
    with pytest.raises(UsageError, match="a document belongs to one cluster"):
        audit_observed(documents((3, 0, {"source": "a", "sites": ["s"]})), "source", cluster="sites")


def test_an_unknown_column_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no column 'sorce'") as error:
        audit_observed(two_groups(), "sorce")
    assert error.value.hint == "did you mean 'source'?"


def test_a_column_of_unique_texts_is_no_grouping() -> None:
    frame = pl.DataFrame({"id": pl.int_range(200_000, eager=True).cast(pl.String)}).with_columns(
        pl.lit(2, pl.Int16).alias("__at"), pl.lit(1).alias("__bytes"), pl.lit(False).alias("sampled"), url=pl.col("id")
    )
    with pytest.raises(UsageError, match="groups must be fewer"):
        count(Observed(frame.lazy(), STEPS), "url")


# --- labels -----------------------------------------------------------------------------------------------------------


def labelled() -> Observed:
    kinds = []
    for source, wrongly, rightly in (("a", 20, 40), ("b", 5, 40)):
        kinds += [(wrongly, 0, {"source": source, "toxic": 0, "score": 0.9})]
        kinds += [(100 - wrongly, 2, {"source": source, "toxic": 0, "score": 0.1})]
        kinds += [(rightly, 0, {"source": source, "toxic": 1, "score": 0.8})]
        kinds += [(10, 2, {"source": source, "toxic": 1, "score": 0.3})]
    return documents(*kinds)


def test_labels_give_false_rates_by_group_and_their_differences() -> None:
    found = audit_observed(labelled(), "source", labels="toxic", score="score").labels
    assert found is not None
    rates = {r["group"]: (r["false_positive_rate"], r["false_negative_rate"]) for r in found["groups"]}
    assert rates == {"a": (0.2, 0.2), "b": (0.05, 0.2)}
    assert found["overall"]["false_positive_rate"] == 0.125
    assert found["summary"][0]["fped"] == pytest.approx(0.15)
    assert found["summary"][0]["fned"] == pytest.approx(0)


def test_labels_and_a_score_give_areas_by_group() -> None:
    found = audit_observed(labelled(), "source", labels="toxic", score="score").labels
    assert found is not None
    bpsn = {r["group"]: r["bpsn_auc"] for r in found["groups"]}
    assert bpsn["a"] == pytest.approx((80 * 50 + 0) / (100 * 50))
    assert bpsn["a"] < bpsn["b"]
    assert 0 < found["summary"][0]["final"] < 1


def test_labels_from_a_file_are_matched_by_id(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    pl.DataFrame({"id": ["0", "1", "gone"], "label": [0, 1, 1], "score": [0.2, 0.9, 0.1]}).write_csv(path)
    found = audit_observed(two_groups(), "source", labels=path)
    assert found.labels is not None
    assert (found.labels["overall"]["labelled"], found.labels["overall"]["auc"]) == (2, 1.0)
    assert found.labels["groups"][0]["status"] == "insufficient"
    assert any("2 of 3 labels" in note for note in found.notes)


def test_a_label_that_is_neither_0_nor_1_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"id": "0", "label": 2}\n')
    with pytest.raises(UsageError, match="neither 0 nor 1"):
        audit_observed(two_groups(), "source", labels=path)


# --- runs -------------------------------------------------------------------------------------------------------------


def corpus(path: Path, size: int = 1_200) -> Path:
    """Every fifth document is from a forum, in which casinos are spoken of three times as often."""
    rows = []
    for number in range(size):
        forum = number % 5 == 0
        casino = number % 25 in (0, 5) if forum else number % 40 in (1, 3, 4)
        words = "casino tables open" if casino else "gardens in bloom"
        rows.append({"id": f"d{number}", "text": f"{words} {'number ' * (number % 7)}{number}",
                     "source": "forum" if forum else "web", "site": f"s{number % 50}", "part": number % 3})  # fmt: skip
    pl.DataFrame(rows).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("audit")
    filters = curate.filters
    pipe = curate.Pipeline(
        steps=[
            filters.Length(min_chars=22),
            ("listed", filters.Blocklist(words=["casino"])),
            filters.Where(drop_if="source = 'web' AND part = 2"),
        ],
        audit={"sample": "50%"},
    )
    return pipe.run(str(corpus(folder / "corpus.parquet")), folder / "out", workers=1)


def test_an_audit_of_a_run_agrees_with_its_ledger(run: Run) -> None:
    found = run.audit("source")
    ledger = run.ledger.filter(pl.col("input.source") == "forum").collect()
    forum = row(found, "forum", "listed")
    assert forum["removed"] == ledger.filter(pl.col("step") == "listed").height
    assert forum["at_risk"] == ledger.filter(pl.col("step").is_null() | (pl.col("step") != "length")).height
    assert forum["flagged"]
    assert [flag["group"] for flag in found.flags] == ["forum"]


def test_a_step_whose_rule_reads_the_column_is_by_design(run: Run) -> None:
    found = run.audit("source")
    assert {row(found, group, "where")["status"] for group in ("web", "forum")} == {"by design"}
    assert row(found, "web", "(all steps)")["status"] == "by design"
    assert any(note.startswith("where reads input.source itself") for note in found.notes)


def test_steps_before_the_one_that_makes_the_column_are_audited_on_the_sample(run: Run) -> None:
    found = run.audit("listed.hits")
    assert set(found.rows.filter(pl.col("step") == "length")["basis"]) == {"sample"}
    assert set(found.rows.filter(pl.col("step") == "listed")["basis"]) == {"all"}
    sampled = run.ledger.select(pl.col("sampled").sum()).collect().item()
    assert found.rows.filter(pl.col("step") == "length")["at_risk"].sum() == sampled


def test_rules_alone_and_shared_are_counted_on_the_sample(run: Run) -> None:
    rules = run.audit("source").rules
    ledger = run.ledger.filter("sampled", pl.col("input.source") == "forum").collect()
    found = rules.filter(pl.col("group") == "forum", pl.col("rule") == "listed.blocked_term").row(0, named=True)
    breaks = ledger.filter(pl.col("failed").list.contains("listed.blocked_term"))
    assert (found["documents"], found["breaks"]) == (ledger.height, breaks.height)
    assert found["alone"] == breaks.filter(pl.col("failed").list.len() == 1).height
    assert found["alone"] + found["shared"] == found["breaks"]


def test_scores_with_a_limit_have_a_gap_between_groups(run: Run) -> None:
    scores = run.audit("source").scores.filter(pl.col("score") == "listed.hits")
    gaps = dict(scores.select("group", "gap").iter_rows())
    assert gaps["forum"] > 0 > gaps["web"]


def test_words_are_redacted_unless_asked_for(run: Run) -> None:
    shown = run.audit("source", words=True, show_words=True).words.filter(pl.col("side") == "removed")
    assert "casino" in shown["word"].to_list()[:3]
    hidden = run.audit("source", words=True).words
    assert "c… (6)" in hidden["word"].to_list()
    assert "casino" not in json.dumps(hidden.to_dicts())
    assert run.audit("source").words.is_empty()


def test_an_audit_is_plain_json_and_never_claims_more_than_it_knows(run: Run) -> None:
    written = json.dumps(run.audit("source", strata=["part"]).to_dict(), allow_nan=False)
    assert '"flagged": true' in written
    assert "as if these documents were drawn from a larger source of the same kind" in written
    assert not any(word in written.lower() for word in ("fair", "compliant", "unbiased"))


def test_without_a_cluster_the_audit_says_that_documents_are_taken_as_independent(run: Run) -> None:
    assert any("assume independent documents" in note for note in run.audit("source").notes)
    assert any("bootstrap of whole ones" in note for note in run.audit("source", cluster="site").notes)


def test_the_terminal_shows_flags_first_and_nothing_as_markup(run: Run) -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    run.audit("source").print(console)
    lines = console.export_text().splitlines()
    assert lines[0].startswith("flagged: listed removes ")
    assert any("by design" in line for line in lines)


def test_the_command_prints_one_json_object(run: Run) -> None:
    found = CliRunner().invoke(app, ["audit", str(run.root), "--by", "source", "--json"], standalone_mode=False)
    answer = json.loads(found.stdout)
    assert answer["settings"]["by"] == ["input.source"]
    assert {"step", "group", "flagged", "removal_ratio", "keep_ratio", "q"} <= answer["rows"][0].keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN"], "nothing to audit by"),
        (["--by", "source"], "nothing to audit"),
        (["RUN", "--by", "source", "--after", "x"], "--after belongs to a pipeline"),
        (["--by", "source", "--after", "x"], "what was there before"),
        (["--by", "source", "--after", "x", "--before", "y", "--rule", "short"], "is not STEP=SQL"),
    ],
)
def test_the_command_says_what_is_missing(run: Run, arguments: list[str], message: str) -> None:
    given = [str(run.root) if argument == "RUN" else argument for argument in arguments]
    found = CliRunner().invoke(app, ["audit", *given], standalone_mode=False)
    assert isinstance(found.exception, UsageError)
    assert message in found.exception.message


# --- pipelines of other tools -----------------------------------------------------------------------------------------


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def texts(number: int, source: str, first: int = 0) -> list[dict[str, Any]]:
    return [{"text": f"{source} text {n}", "source": source} for n in range(first, first + number)]


def test_two_bare_corpora_are_matched_by_text(tmp_path: Path) -> None:
    a, b = texts(100, "a"), texts(100, "b")
    write(tmp_path / "raw" / "x.jsonl", [*a, *b])
    write(tmp_path / "clean" / "y.jsonl.gz", [*b[:90], *a[:60]])
    found = curate.audit(before=tmp_path / "raw", after=tmp_path / "clean", by="source")
    assert row(found, "a", "the pipeline")["removed"] == 40
    assert row(found, "b", "the pipeline")["removed"] == 10
    assert row(found, "a", "the pipeline")["flagged"]


def test_of_equal_texts_as_many_count_as_kept_as_are_left(tmp_path: Path) -> None:
    write(tmp_path / "raw.jsonl", [{"text": "same", "source": "a"}] * 3)
    write(tmp_path / "clean.jsonl", [{"text": "same", "source": "a"}, {"text": "new", "source": "a"}])
    found = curate.audit(before=tmp_path / "raw.jsonl", after=tmp_path / "clean.jsonl", by="source")
    assert row(found, "a", "the pipeline")["removed"] == 2
    assert any("1 documents after have no counterpart" in note for note in found.notes)


def test_two_corpora_with_ids_are_matched_by_id_though_texts_changed(tmp_path: Path) -> None:
    raw = [record | {"key": f"k{n}"} for n, record in enumerate(texts(50, "a"))]
    write(tmp_path / "raw.jsonl", raw)
    write(tmp_path / "clean.jsonl", [record | {"text": record["text"].upper()} for record in raw[:30]])
    found = curate.audit(before=tmp_path / "raw.jsonl", after=tmp_path / "clean.jsonl", by="source", id="key")
    assert row(found, "a", "the pipeline")["removed"] == 20


def datatrove(folder: Path) -> Path:
    """Documents as datatrove writes them: id, text, metadata; one folder per filter for what it excluded."""
    for place, languages in (("removed/1_url", "aab"), ("removed/2_quality", "aaaab"), ("clean", "aaaaabbbbbbbbbb")):
        rows = [
            {"id": f"{place}{n}", "text": f"{place} {n}", "metadata": {"language": languages[n % len(languages)]}}
            for n in range(len(languages) * 20)
        ]
        write(folder / place / "00000.jsonl.gz", rows)
    return folder


def test_datatrove_exclusion_folders_are_steps(tmp_path: Path) -> None:
    folder = datatrove(tmp_path)
    found = curate.audit(after=folder / "clean", dropped=[folder / "removed"], by="metadata.language")
    assert found.settings["steps"] == ["1_url", "2_quality"]
    steps = [row(found, "a", step) for step in ("1_url", "2_quality")]
    assert [(step["at_risk"], step["removed"]) for step in steps] == [(220, 40), (180, 80)]
    assert row(found, "a", "2_quality")["flagged"]


def test_what_is_gone_without_a_trace_is_a_step_of_its_own(tmp_path: Path) -> None:
    folder = datatrove(tmp_path)
    removed = folder / "removed" / "1_url"
    found = curate.audit(
        before=[folder / "clean", folder / "removed"], after=folder / "clean", dropped=[removed], by="metadata.language"
    )
    assert found.settings["steps"] == ["1_url", "(elsewhere)"]
    assert row(found, "a", "(elsewhere)")["removed"] == 80


def test_words_of_a_foreign_corpus_are_read_from_its_files(tmp_path: Path) -> None:
    folder = datatrove(tmp_path)
    found = curate.audit(
        after=folder / "clean", dropped=[folder / "removed"], by="metadata.language", words=True, show_words=True
    )
    assert {"removed", "quality"} <= set(found.words.filter(pl.col("side") == "removed")["word"])


def test_dolma_attributes_are_columns_and_rules_say_what_decided(tmp_path: Path) -> None:
    raw = [record | {"id": str(n)} for n, record in enumerate([*texts(100, "a"), *texts(100, "b")])]
    marks = []
    for n, record in enumerate(raw):
        high = n % 2 == 0 if record["source"] == "a" else n % 10 == 0
        spans = [[0, 4, 0.9 if high else 0.1], [4, 8, 0.05]] if n % 3 else [[0, 8, 0.9 if high else 0.1]]
        marks.append({"id": record["id"], "attributes": {"exp__toxic__doc": spans, "exp__empty__doc": []}})
    write(tmp_path / "documents" / "x.jsonl.gz", raw)
    write(tmp_path / "attributes" / "exp" / "x.jsonl.gz", marks)
    kept = [r for r, m in zip(raw, marks, strict=True) if m["attributes"]["exp__toxic__doc"][0][2] < 0.5]
    write(tmp_path / "clean" / "x.jsonl", kept[:-5])
    found = curate.audit(
        before=tmp_path / "documents", after=tmp_path / "clean", attributes=[tmp_path / "attributes"],
        rules={"toxic": "exp__toxic__doc > 0.5"}, by=["source", "exp__toxic__doc"],
    )  # fmt: skip
    assert found.settings["steps"] == ["toxic", "(elsewhere)"]
    assert (row(found, "a", "toxic")["removed"], row(found, "b", "toxic")["removed"]) == (50, 10)
    assert row(found, "b", "(elsewhere)")["removed"] == 5
    assert row(found, "0.9", "toxic")["status"] == "by design"


def test_data_juicer_statistics_are_columns(tmp_path: Path) -> None:
    raw = [record | {"__dj__stats__": {"num_words": n}} for n, record in enumerate(texts(100, "a"))]
    write(tmp_path / "raw.jsonl", raw)
    write(tmp_path / "clean.jsonl", raw[20:])
    found = curate.audit(
        before=tmp_path / "raw.jsonl", after=tmp_path / "clean.jsonl", by="source",
        rules={"words": '"__dj__stats__.num_words" < 20'},
    )  # fmt: skip
    assert row(found, "a", "words")["removed"] == 20


def test_a_file_of_data_juicer_statistics_belongs_to_the_corpus_line_by_line(tmp_path: Path) -> None:
    write(tmp_path / "raw.jsonl", texts(50, "a"))
    write(tmp_path / "clean.jsonl", texts(40, "a", first=10))
    write(tmp_path / "raw_stats.jsonl", [{"__dj__stats__": {"num_words": n}, "__dj__meta__": {}} for n in range(50)])
    options: dict[str, Any] = {"before": tmp_path / "raw.jsonl", "after": tmp_path / "clean.jsonl", "by": "source"}
    found = curate.audit(**options, attributes=[tmp_path / "raw_stats.jsonl"], rules={"words": "num_words < 10"})
    assert row(found, "a", "words")["removed"] == 10
    write(tmp_path / "raw_stats.jsonl", [{"__dj__stats__": {"num_words": 1}}])
    with pytest.raises(UsageError, match="1 lines without an id for 50 records"):
        curate.audit(**options, attributes=[tmp_path / "raw_stats.jsonl"])


def test_a_rule_over_an_unknown_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "raw.jsonl", texts(5, "a"))
    with pytest.raises(UsageError, match="no column 'word'"):
        curate.audit(before=tmp_path / "raw.jsonl", after=tmp_path / "raw.jsonl", by="source", rules={"w": "word < 5"})


def test_labels_beyond_the_200th_count_a_document_once() -> None:
    from curate.audit_counts import OTHER, Observed, count

    labels = [[f"big{n % 200}", f"small{n}", f"small{n + 1}"] for n in range(2000)]
    frame = pl.DataFrame({"id": [str(n) for n in range(2000)], "tags": labels, "sampled": [False] * 2000}).with_columns(
        pl.lit(1, pl.Int16).alias("__at"), pl.lit(1, pl.Int64).alias("__bytes")
    )
    observed = Observed(frame.lazy(), ("step",), {}, {}, {}, [], ())

    counts = count(observed, "tags")

    assert counts.groups[-1] == OTHER
    assert counts.documents[-1].sum() == 2000
