"""`curate plan`: what a run would cost, measured on a sample."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from curate.console import Quiet
from curate.errors import UsageError
from curate.estimate import estimate, line, print_estimate
from curate.pipeline import Pipeline

STEPS = "steps:\n- length: {min_chars: 30}\n- exact_duplicates\n- where: {drop_if: 'stars < 2'}\n"


class Stages(Quiet):
    """Remembers the stages that were told."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def stage(self, name: str, total_bytes: int | None = None, *, chunks: int | None = None) -> None:
        """Take note."""
        self.names.append(name)


def write(folder: Path, sizes: Sequence[int] = (300, 100)) -> Pipeline:
    """A few Parquet files: every tenth text is short, every fifth one of the rest repeats one; and a pipeline."""
    number = 0
    for file, size in enumerate(sizes):
        texts = []
        for row in range(size):
            text = (
                f"Document {number - row % 5 if row % 5 == 4 else number} says what it has to say, at some length. " * 3
            )
            texts.append("short" if row % 10 == 0 else text)
            number += 1
        frame = pl.DataFrame({"id": [f"{file}-{row}" for row in range(size)], "text": texts, "stars": [3] * size})
        frame.write_parquet(folder / f"{file}.parquet")
    return Pipeline.parse(f"name: shop\ninput: {{paths: ['*.parquet']}}\n{STEPS}", base=folder)


def printed(found: object, width: int = 80) -> str:
    """An estimate as a terminal of that width shows it."""
    stream = io.StringIO()
    assert isinstance(found, dict)
    print_estimate(found, Console(file=stream, width=width, markup=False, emoji=False, highlight=False))
    return stream.getvalue()


def test_an_estimate_tells_input_passes_steps_speed_memory_and_disk(tmp_path: Path) -> None:
    watch = Stages()
    found = estimate(write(tmp_path), None, sample=100, watch=watch)
    assert (found["files"], found["records"], found["chunks"]) == (2, 400, 2)
    assert found["columns"] == {"text": "text", "id": "id"}
    assert found["passes"] == [
        {"steps": ["length", "exact_duplicates"], "ends_with": "exact_duplicates"},
        {"steps": ["exact_duplicates", "where"], "ends_with": None},
    ]
    assert found["sample"]["records"] == 100
    steps = {row["step"]: row for row in found["steps"]}
    assert (steps["length"]["seen"], steps["length"]["dropped"], steps["length"]["dropped_share"]) == (100, 10, 0.1)
    assert steps["where"]["seen"] == found["sample"]["kept"]
    assert sum(row["time_share"] for row in (*found["steps"], *found["parts"])) == pytest.approx(1, abs=0.02)
    assert found["speed"]["text_bytes_per_second"] > 0
    assert found["expected"]["seconds"] > found["expected"]["survey_seconds"]
    assert found["expected"]["basis"] == "estimated from 100 records on this machine"
    assert found["memory"]["peak_bytes"] > 10_000_000
    disk = found["disk"]
    assert disk["total"] == disk["output"] + disk["audit"] + disk["work"] > 0
    assert watch.names == ["survey", "warm-up", "trial on 10 records", "trial on 100 records"]
    assert json.loads(json.dumps(found)) == found


def test_the_text_of_the_whole_is_estimated_file_by_file(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["x" * 100] * 900}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"text": ["x" * 1000] * 100}).write_parquet(tmp_path / "b.parquet")
    pipeline = Pipeline.parse("input: {paths: ['*.parquet']}\nsteps: [length]", base=tmp_path)
    found = estimate(pipeline, None, sample=20, watch=Quiet())
    assert found["bytes"]["text_estimate"] == 900 * 100 + 100 * 1000


def test_a_sample_that_is_everything_needs_no_estimate_of_text(tmp_path: Path) -> None:
    found = estimate(write(tmp_path), None, sample=10_000, watch=Quiet())
    assert found["sample"]["records"] == 400
    assert found["bytes"]["text_estimate"] == found["sample"]["text_bytes"]
    assert found["passes"][-1]["ends_with"] is None


def test_inputs_win_over_the_pipeline_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = write(tmp_path)
    monkeypatch.chdir(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = sorted(tmp_path.rglob("*"))
    found = estimate(pipeline, ["1.parquet"], sample=1, watch=Quiet())
    assert (found["files"], found["records"], found["sample"]["records"]) == (1, 100, 1)
    assert sorted(tmp_path.rglob("*")) == before


def test_input_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        estimate(write(tmp_path), ["nothing-*.parquet"], sample=10, watch=Quiet())


def test_quarantine_and_empty_texts_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n{"text": null}\n')
    pipeline = Pipeline.parse("input: {paths: [a.jsonl]}\nsteps: [length]", base=tmp_path)
    found = estimate(pipeline, None, sample=10, watch=Quiet())
    assert found["sample"]["quarantined"] == 1
    assert found["columns"]["id"] is None
    text = printed(found)
    assert "1 record in quarantine" in text
    assert "file#row" in text


def test_an_estimate_is_printed_in_80_columns(tmp_path: Path) -> None:
    text = printed(estimate(write(tmp_path), None, sample=100, watch=Quiet()))
    assert max(map(len, text.splitlines())) <= 80
    assert "estimated from 100 records on this machine, one worker" in text
    assert "2 passes over each" in text
    assert all(line == line.rstrip() or "─" in line or "%" in line for line in text.splitlines())


def test_hostile_names_reach_the_terminal_as_text(tmp_path: Path) -> None:
    found = estimate(write(tmp_path), None, sample=20, watch=Quiet())
    found["pipeline"] = "[red]\x1b[2J"
    found["columns"] = {"text": "[/foo]", "id": "a\nb"}
    text = printed(found)
    assert "[red]\\x1b[2J" in text
    assert "[/foo]" in text
    assert "\x1b" not in text


def test_what_follows_from_a_filters_options_is_shown(tmp_path: Path) -> None:
    write(tmp_path)
    text = "input: {paths: ['*.parquet']}\nsteps:\n- near_duplicates: {threshold: 0.9}\n"
    found = estimate(Pipeline.parse(text, base=tmp_path), None, sample=20, watch=Quiet())

    tables = found["tables"]["near_duplicates"]
    assert tables["bands"] == [{"bands": 10, "rows": 12, "permutations": 128, "bytes_per_document": 160}]
    curve = {row["similarity"]: row["compared"] for row in tables["s_curve"]}
    assert curve[0.9] == pytest.approx(1 - (1 - 0.9**12) ** 10)
    assert curve[1.0] == 1
    assert list(curve.values()) == sorted(curve.values())
    assert "0.900     0.964" in printed(found)


def test_a_line_goes_through_both_points_unless_noise_makes_it_absurd() -> None:
    assert line((10, 2), (100, 11)) == pytest.approx((1, 0.1))
    assert line((10, 12), (100, 11)) == (0, 0.11)  # the small trial took longer than the large one
    assert line((50, 1), (100, 10)) == (0, 0.1)  # a negative fixed cost
    assert line((100, 10), (100, 10)) == (0, 0.1)  # the same sample twice
    assert line((0, 1), (0, 2)) == (2, 0)  # no text at all
