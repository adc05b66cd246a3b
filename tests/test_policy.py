"""Policies: clauses over what a run has measured; pass, warn, fail, waived, with evidence and exit code."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import curate
from curate import Pipeline, Run, UsageError
from curate.cli import main
from curate.filters import Balance, Decontaminate, RedactPii, Where
from curate.policy import Clause, Figure, Waiver, evaluate, expire, measured_of, read_policy

TODAY = datetime.date(2026, 6, 1)
WHO = {"owner": "us", "reason": "we agreed"}


def clause(**given: Any) -> Clause:
    return Clause.model_validate(WHO | given)


def corpus(per_group: int = 400) -> pl.DataFrame:
    """Two groups; `bad` marks a tenth of the one and four tenths of the other."""
    rows = [
        {"id": f"{group}{n}", "text": f"text {group} {n}", "group": group, "bad": n % 10 < limit}
        for group, limit in (("a", 1), ("b", 4))
        for n in range(per_group)
    ]
    return pl.DataFrame(rows)


def run_with(policy: list[dict[str, Any]] | str, tmp_path: Path, **card: Any) -> Run:
    corpus().write_parquet(tmp_path / "in.parquet")
    pipe = Pipeline(
        steps=[("word_list", Where(drop_if="bad"))], policy=policy, audit={"by": ["group"]}, card=card, base=tmp_path
    )
    return pipe.run("in.parquet", tmp_path / "out", base=tmp_path, update=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_with([], tmp_path_factory.mktemp("policy"))


def result(run: Run, **given: Any) -> dict[str, Any]:
    return evaluate([clause(**given)], measured_of(run), TODAY)[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"metric": "removal_ratio", "by": "group", "at_most": 1.25}, "fail"),
        ({"metric": "removal_ratio", "by": "group", "at_most": 100}, "pass"),
        ({"metric": "removal_ratio", "by": "group", "step": "word_list", "groups": ["a"], "at_most": 1.25}, "pass"),
        ({"metric": "keep_ratio", "by": "group", "at_least": 0.8}, "fail"),
        ({"metric": "keep_ratio", "by": "group", "at_least": 0.1}, "pass"),
        ({"metric": "share", "by": "group", "groups": ["b"], "at_least": 0.39}, "pass"),
        ({"metric": "share", "by": "group", "groups": ["b"], "at_least": 0.41}, "fail"),
        ({"metric": "share", "by": "group", "groups": ["absent"], "at_least": 0.01}, "fail"),
        ({"metric": "quarantine", "at_most": 0.0}, "pass"),
        ({"metric": "effective_sample_size", "at_least": 600}, "pass"),
        ({"metric": "effective_sample_size", "at_least": 601}, "fail"),
        ({"metric": "margin_error", "at_most": 0.1}, "fail"),  # nothing was balanced
        ({"metric": "personal_data", "at_most": 1}, "fail"),  # nothing looked for it
        ({"metric": "leaked_items", "at_most": 0}, "fail"),
        ({"metric": "share", "by": "no_such_column", "at_least": 0.1}, "fail"),
    ],
)
def test_a_clause_compares_what_was_measured(run: Run, given: dict[str, Any], expected: str) -> None:
    assert result(run, **given)["result"] == expected


def test_what_cannot_be_measured_fails_and_says_so(run: Run) -> None:
    assert "no step looks for personal data" in result(run, metric="personal_data", at_most=1)["evidence"]


def test_evidence_names_the_group_with_its_interval(run: Run) -> None:
    found = result(run, metric="removal_ratio", by="group", at_most=1.25)

    assert found["evidence"].startswith("b: 4 [")
    assert found["value"] == pytest.approx(4)
    assert (found["owner"], found["reason"], found["limit"]) == ("us", "we agreed", "at most 1.25")


def test_a_clause_that_only_warns_does_not_fail(run: Run) -> None:
    assert result(run, metric="quarantine", at_least=0.5, on_failure="warn")["result"] == "warn"


def test_a_figure_whose_interval_reaches_the_limit_warns() -> None:
    limit = clause(metric="removal_ratio", by="group", at_most=1.25)

    assert not Figure(1.5, "b", 1.1, 2.0).certain(limit)
    assert Figure(1.5, "b", 1.3, 2.0).certain(limit)


@pytest.mark.parametrize(("until", "expected"), [("2026-06-01", "waived"), ("2026-05-31", "fail")])
def test_a_waiver_holds_until_its_last_day(run: Run, until: str, expected: str) -> None:
    waiver = Waiver(until=datetime.date.fromisoformat(until), reason="being mended", by="the boss")

    found = result(run, metric="quarantine", at_least=0.5, waiver=waiver.model_dump())

    assert found["result"] == expected
    assert found["waiver"]["expired"] is (expected == "fail")


def test_a_failed_clause_is_a_broken_promise_and_exit_code_1(tmp_path: Path) -> None:
    run = run_with([{"metric": "removal_ratio", "by": "group", "at_most": 1.25, **WHO}], tmp_path)

    assert run.exit_code == 1
    assert run.manifest["policy"][0]["result"] == "fail"
    assert any(one["promise"].startswith("policy: ") and not one["held"] for one in run.manifest["promises"])
    assert "at most 1.25" in run.report.html()


def test_documentation_must_be_declared(tmp_path: Path) -> None:
    wanted = [{"metric": "documentation", "fields": ["license", "purpose"], **WHO}]

    run = run_with(wanted, tmp_path, license="mit")

    assert run.exit_code == 1
    assert run.manifest["policy"][0]["evidence"] == "not declared: purpose"


def test_margin_error_is_of_balanced_groups(tmp_path: Path) -> None:
    corpus().write_parquet(tmp_path / "in.parquet")
    step = Balance(by=("group",), target={"a": 0.5, "b": 0.5}, budget="100 documents")
    pipe = Pipeline(steps=[step], policy=[{"metric": "margin_error", "at_most": 0.001, **WHO}])

    run = pipe.run(str(tmp_path / "in.parquet"), tmp_path / "out")

    assert run.manifest["policy"][0]["result"] == "pass"


@pytest.mark.parametrize(("action", "expected"), [("mask", "pass"), ("tag", "fail")])
def test_personal_data_is_what_was_left(tmp_path: Path, action: str, expected: str) -> None:
    text = "Write to some.body@mail-of-mine.net for the plan of the garden."
    pl.DataFrame({"id": ["a"], "text": [text]}).write_parquet(tmp_path / "in.parquet")
    pipe = Pipeline(steps=[RedactPii(email=action)], policy=[{"metric": "personal_data", "at_most": 1, **WHO}])

    run = pipe.run(str(tmp_path / "in.parquet"), tmp_path / "out")

    assert run.manifest["policy"][0]["result"] == expected


@pytest.mark.parametrize(("action", "expected"), [("drop", "pass"), ("cut", "pass"), ("tag", "fail")])
def test_leaked_items_are_those_of_kept_documents(tmp_path: Path, action: str, expected: str) -> None:
    item = "how many trees did the gardener plant behind the old school in the second week of spring"
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": item}) + "\n")
    texts = [f"Before it. {item} And after it.", "A text about something else, with enough words to stay here."]
    pl.DataFrame({"id": ["a", "b"], "text": texts}).write_parquet(tmp_path / "in.parquet")
    step = Decontaminate(benchmarks=(tmp_path / "bench.jsonl",), columns=("question",), action=action)
    pipe = Pipeline(steps=[step], policy=[{"metric": "leaked_items", "at_most": 0, **WHO}])

    run = pipe.run(str(tmp_path / "in.parquet"), tmp_path / "out")

    assert run.manifest["policy"][0]["result"] == expected


def test_drift_is_against_an_earlier_run(tmp_path: Path) -> None:
    run_with([], tmp_path)
    wanted = {"metric": "drift", "by": "group", "against": "out", "at_most": 0.01, **WHO}
    one = corpus().filter(pl.col("group") == "a")
    one.write_parquet(tmp_path / "other.parquet")

    run = Pipeline(steps=[], policy=[wanted], base=tmp_path).run("other.parquet", tmp_path / "two", base=tmp_path)

    assert run.manifest["policy"][0]["value"] == pytest.approx(0.4)  # b had 240 of 600
    assert run.exit_code == 1


def test_a_policy_file_is_read_and_a_change_of_it_is_a_change_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(f"policy:\n- {{metric: quarantine, at_most: 0.5, {_flow(WHO)}}}\n")
    assert run_with("policy.yaml", tmp_path).exit_code == 0

    (tmp_path / "policy.yaml").write_text(f"- {{metric: quarantine, at_least: 0.5, {_flow(WHO)}}}\n")
    assert run_with("policy.yaml", tmp_path).exit_code == 1


def _flow(mapping: dict[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in mapping.items())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("policy: 3", "no list of clauses"),
        ("- {metric: share}", "clause 1"),
        ("- {metric: keep_ratios, at_most: 1, owner: a, reason: b}", "clause 1, metric"),
        (
            "- {metric: quarantine, at_most: 1, owner: a, reason: b}\n- {metric: quarantine, owner: a, reason: b}",
            "clause 2",
        ),
    ],
)
def test_a_policy_file_with_faults_is_refused_by_clause(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "p.yaml").write_text(text)

    with pytest.raises(UsageError, match=told):
        read_policy(tmp_path / "p.yaml")


def test_a_missing_policy_file_stops_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        run_with("absent.yaml", tmp_path)

    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"metric": "quarantine"},
        {"metric": "quarantine", "at_most": 1, "at_least": 0},
        {"metric": "share", "at_least": 0.1},
        {"metric": "documentation"},
        {"metric": "drift", "by": "group", "at_most": 0.1},
    ],
)
def test_a_clause_that_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        clause(**given)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0), capsys.readouterr().out


def test_the_command_shows_the_clauses_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with([{"metric": "keep_ratio", "by": "group", "at_least": 0.8, **WHO}], tmp_path)

    code, printed = command(capsys, "audit", str(run.root), "--json")

    assert code == 1
    found = json.loads(printed)
    assert found["policy"][0]["result"] == "fail"
    assert {(row["group"], row["flagged"]) for row in found["rows"]} == {("a", False), ("b", True)}


def test_the_command_takes_another_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with([{"metric": "keep_ratio", "by": "group", "at_least": 0.8, **WHO}], tmp_path)
    (tmp_path / "mild.yaml").write_text(f"- {{metric: keep_ratio, by: group, at_least: 0.1, {_flow(WHO)}}}\n")

    code, printed = command(capsys, "audit", str(run.root), "--policy", str(tmp_path / "mild.yaml"))

    assert code == 0
    assert "policy pass" in printed


def test_the_report_names_a_step_that_removes_a_group_more_often(run: Run) -> None:
    told = " ".join(note["text"] for note in run.report.data["attention"])

    assert "word_list removes 40.0 % of b" in told
    assert "Who is removed" in run.report.html()


def test_no_audit_where_it_is_not_wanted(tmp_path: Path) -> None:
    corpus().write_parquet(tmp_path / "in.parquet")
    run = Pipeline(steps=[Where(drop_if="bad")], audit={"by": []}).run(str(tmp_path / "in.parquet"), tmp_path / "out")

    assert run.report.data["audit"] is None
    assert curate.open_run(tmp_path / "out").report.data["policy"] == []


def test_a_name_that_the_run_does_not_know_fails_the_clause(run: Run) -> None:
    step = result(run, metric="removal_ratio", by="group", step="word_lists", at_most=100)
    group = result(run, metric="keep_ratio", by="group", groups=["A"], at_least=0.1)

    assert (step["result"], group["result"]) == ("fail", "fail")
    assert "did you mean 'word_list'?" in step["evidence"]


def test_a_waiver_that_has_ended_since_the_run_holds_no_longer() -> None:
    row = {"result": "waived", "waiver": {"until": "2026-05-31", "expired": False}}

    assert expire(row, TODAY)["result"] == "fail"
    assert expire(row | {"waiver": {"until": "2026-06-01", "expired": False}}, TODAY)["result"] == "waived"


def test_documents_without_a_group_have_one_name(tmp_path: Path) -> None:
    docs = pl.DataFrame({"id": ["a", "b"], "text": ["one", "two"], "group": ["x", None]})
    docs.write_parquet(tmp_path / "in.parquet")
    wanted = {"metric": "share", "by": "group", "groups": ["(no value)"], "at_least": 0.5, **WHO}

    run = Pipeline(steps=[], policy=[wanted]).run(str(tmp_path / "in.parquet"), tmp_path / "out")

    assert run.manifest["policy"][0]["result"] == "pass"
