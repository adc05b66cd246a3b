"""`diff`: which documents changed sides between two runs, what differs between them, and what drifted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from click.testing import CliRunner
from engine import Counted, FirstLetter, write_lines

import curate
from curate import Pipeline
from curate.cli import app
from curate.errors import UsageError
from curate.filters import Length
from curate.run import Run

LENGTHS = [{"id": f"d{size:03}", "text": "a" * size, "lang": "en" if size % 2 else "fr"} for size in range(1, 101)]


def run(folder: Path, name: str, steps: list[Any], records: list[dict[str, Any]] = LENGTHS, **settings: Any) -> Run:
    """Run some steps over a corpus into a folder of that name."""
    write_lines(folder / "a.jsonl", records)
    return Pipeline(steps=steps, base=folder, **settings).run(str(folder / "a.jsonl"), folder / name, workers=1)


def changes(found: Any) -> list[tuple[Any, ...]]:
    columns = ("change", "before_step", "before_rule", "now_step", "now_rule", "documents")
    return list(found.changed.select(columns).iter_rows())


# --- documents --------------------------------------------------------------------------------------------------------


def test_documents_that_changed_sides_by_rule(tmp_path: Path) -> None:
    before = run(tmp_path, "before", [Length(min_chars=10), Counted(high=90)])
    now = run(tmp_path, "now", [Length(min_chars=5, max_chars=95), Counted(high=80)])
    found = curate.diff(before, now)

    assert changes(found) == [
        ("newly dropped", None, None, "test.counted", "too_long", 10),
        ("newly kept", "length", "min_chars", None, None, 5),
        ("other rule", "test.counted", "too_long", "length", "max_chars", 5),
    ]
    assert found.changed["examples"].to_list()[1] == ["d005", "d006", "d007"]
    assert (found.counts["newly_dropped"], found.counts["newly_kept"], found.counts["other_rule"]) == (10, 5, 5)
    assert (found.counts["kept_before"], found.counts["kept_now"]) == (81, 76)


def test_changes_by_group(tmp_path: Path) -> None:
    before, now = (run(tmp_path, name, [Length(min_chars=limit)]) for name, limit in (("before", 1), ("now", 10)))
    found = curate.diff(str(before.root), now.root, by="lang")

    assert found.changed.select("group", "documents").rows() == [("en", 5), ("fr", 4)]
    assert found.changed["examples"].to_list() == [["d001", "d003", "d005"], ["d002", "d004", "d006"]]
    assert found.changed["bytes"].to_list() == [25, 20]


def test_a_document_that_has_no_group_now_has_the_one_before(tmp_path: Path) -> None:
    before = run(tmp_path, "before", [Length(min_chars=1), Counted(unit=50)])
    now = run(tmp_path, "now", [Length(min_chars=50), Counted(unit=50)], audit={"sample": 0.0})
    found = curate.diff(before, now, by="test.counted")

    assert found.changed.select("group", "documents").rows() == [("0", 49)]


def test_documents_of_one_run_only(tmp_path: Path) -> None:
    before = run(tmp_path, "before", [Length(min_chars=10)], LENGTHS[:60])
    now = run(tmp_path, "now", [Length(min_chars=10)], LENGTHS[5:])
    found = curate.diff(before, now)

    assert found.only.select("run", "kept", "rule", "documents").rows() == [
        ("before", False, "min_chars", 5),
        ("now", True, None, 40),
    ]
    assert (found.counts["both"], found.counts["only_before"], found.counts["only_now"]) == (55, 5, 40)
    assert changes(found) == []


def test_ids_are_matched_in_parts_as_they_are_at_once(tmp_path: Path) -> None:
    before = run(tmp_path, "before", [Length(min_chars=10)])
    now = run(tmp_path, "now", [Length(min_chars=20)], LENGTHS[::-1])
    whole = curate.diff(before, now)
    with mock.patch("curate.two_ledgers.PART", 7):
        parts = curate.diff(before, now)

    assert whole.to_dict() == parts.to_dict()
    assert changes(whole) == [("newly dropped", None, None, "length", "min_chars", 10)]


def test_a_run_of_which_all_went_to_quarantine_can_be_compared(tmp_path: Path) -> None:
    bad: list[Any] = [b"no json"] * 3
    before = run(tmp_path, "before", [Length(min_chars=10)], bad, max_quarantined=1.0)
    now = run(tmp_path, "now", [Length(min_chars=10)])
    found = curate.diff(before, now)

    assert (found.counts["before"], found.counts["only_now"], found.level) == (0, 100, "none")


# --- pipelines, scores, results ---------------------------------------------------------------------------------------


def test_the_same_run_twice_is_the_same(tmp_path: Path) -> None:
    first, second = (run(tmp_path, name, [Length(min_chars=10), FirstLetter()]) for name in ("one", "two"))
    found = curate.diff(first, second, by="lang")

    assert (found.pipeline, found.not_reproduced, found.level) == ((), (), "none")
    assert changes(found) == []
    assert found.scores["different"].sum() == 0


def test_options_inputs_and_versions_that_differ_are_listed(tmp_path: Path) -> None:
    before = run(tmp_path, "before", [Length(min_chars=10)])
    now = run(tmp_path, "now", [Length(min_chars=20)], LENGTHS[:99])
    now.manifest["versions"] = now.manifest["versions"] | {"polars": "0"}
    polars = before.manifest["versions"]["polars"]

    assert set(curate.diff(before, now).pipeline) >= {
        "steps.length.min_chars: 10 -> 20",
        f"version of polars: {polars} -> 0",
    }
    assert any(line.endswith("a.jsonl: changed") for line in curate.diff(before, now).pipeline)


def test_the_same_pipeline_with_another_result_is_called_out(tmp_path: Path) -> None:
    before = run(tmp_path, "before", [Counted(high=50)])
    with mock.patch.object(Counted, "score", lambda self, docs: docs.select(size=pl.col("text").str.len_chars() + 1)):
        now = run(tmp_path, "now", [Counted(high=50)])
    now.manifest["identity"]["filters"] = before.manifest["identity"]["filters"]
    found = curate.diff(before, now)

    assert found.pipeline == ()
    assert found.not_reproduced == ("dataset/data/part-00000.parquet", "audit/ledger/part-00000.parquet")
    assert found.scores.rows() == [("test.counted.size", 100, 100, 1.0)]
    assert changes(found) == [("newly dropped", None, None, "test.counted", "too_long", 1)]


def test_the_versions_of_the_step_that_decided_are_told(tmp_path: Path) -> None:
    before, now = (run(tmp_path, name, [Length(min_chars=limit)]) for name, limit in (("before", 1), ("now", 10)))
    (version,) = before.manifest["identity"]["filters"].values()
    now.manifest["identity"]["filters"] = {"length": "0.2.0:1"}
    row = curate.diff(before, now).changed.row(0, named=True)

    assert (row["before_version"], row["now_version"]) == (version, "0.2.0:1")


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "run", [Length(min_chars=10)])
    with pytest.raises(UsageError, match="no column 'langs'"):
        curate.diff(done, done, by="langs")


# --- drift ------------------------------------------------------------------------------------------------------------


def wide(folder: Path, name: str, share: float) -> Run:
    """A run over 3,000 short documents of which a share is French and long."""
    french = round(3000 * share)
    records = [
        {"id": f"{n}", "text": "ab" * (40 if n < french else 3 + n % 9), "lang": "fr" if n < french else "en"}
        for n in range(3000)
    ]
    return run(folder, name, [Length(min_chars=7)], records)


def test_a_drift_of_shares_and_scores_is_alerted(tmp_path: Path) -> None:
    found = curate.diff(wide(tmp_path, "before", 0.1), wide(tmp_path, "now", 0.3), by="lang")
    drifts = {drift.signal: drift for drift in found.drifts}

    assert found.level == "fail"
    assert drifts["lang, all"].level == "fail"
    assert drifts["lang, all"].total_variation == pytest.approx(0.2)
    assert drifts["lang, kept"].total_variation > 0.2
    assert drifts["length.chars"].level == "fail"


@pytest.mark.parametrize(("share", "option", "code"), [(0.3, "fail", 1), (0.3, "never", 0), (0.1, "info", 0)])
def test_the_exit_code_says_whether_a_drift_is_as_bad(tmp_path: Path, share: float, option: str, code: int) -> None:
    folders = [str(wide(tmp_path, name, of).root) for name, of in (("before", 0.1), ("now", share))]
    shown = CliRunner().invoke(app, ["diff", *folders, "--fail-on", option, "--json"], standalone_mode=False)

    assert shown.return_value == code
    assert json.loads(shown.stdout)["level"] == ("fail" if share > 0.1 else "none")


# --- shown ------------------------------------------------------------------------------------------------------------


def test_the_command_prints_what_changed_and_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folders = [str(run(tmp_path, name, [Length(min_chars=limit)]).root) for name, limit in (("before", 1), ("now", 10))]
    shown = CliRunner().invoke(app, ["diff", *folders, "--by", "lang"])
    rows = [line.split() for line in shown.output.splitlines()]

    assert ["kept", "length.min_chars", "en", "5", "d001"] in rows
    assert ["differs:", "steps.length.min_chars:", "1", "->", "10"] in rows
    assert "aaaaa" not in shown.output


def test_a_result_that_is_not_reproduced_is_the_first_thing_told(tmp_path: Path) -> None:
    root = run(tmp_path, "run", [Length(min_chars=10)]).root
    shutil.copytree(root, tmp_path / "other")
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text("utf-8"))
    manifest["outputs"][0]["sha256"] = "0" * 64
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    shown = CliRunner().invoke(app, ["diff", str(root), str(tmp_path / "other")], standalone_mode=False)

    assert "same pipeline, different result" in shown.output
    assert shown.return_value == 1
