"""Label sheets and calibration on a run: what is sampled, how sheets are read back, what is refused, what is stored."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from curate import Pipeline
from curate.cli import app
from curate.errors import CurateError, OutputError, UsageError
from curate.label_sheet import COLUMNS, escape, unescape
from curate.label_store import read_store
from curate.run import Run, open_run

DOCUMENTS = 600


def text_of(at: int) -> str:
    return "=word " * (1 + at % 100) if at % 7 == 0 else "word " * (1 + at % 100)


def is_short(id: str) -> bool:
    """The truth of these tests: texts of fewer than 60 words should go."""
    return 1 + int(id.removeprefix("d")) % 100 < 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("labels")
    rows = [{"id": f"d{at}", "text": text_of(at), "lang": "en" if at % 3 else "de"} for at in range(DOCUMENTS)]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipeline = Pipeline.parse(
        "input: {paths: [in.jsonl]}\nsteps: [{length: {min_words: 40}}]\noutput: {path: out}", base=folder
    )
    return pipeline.run(output=folder / "out")


def filled(run: Run, **options: Any) -> pl.DataFrame:
    """A sheet with true labels."""
    sheet = run.sample_labels("length", seed=1, **options).estimate
    labels = ["yes" if is_short(id) else "no" for id in sheet["id"]]
    return sheet.with_columns(pl.Series("label", labels))


def test_strata_and_inclusion_probabilities_add_up(run: Run) -> None:
    made = run.sample_labels("length", by="lang", size=120)
    assert made.estimate.height == 120
    assert made.strata["documents"].sum() == DOCUMENTS
    assert (1 / made.estimate["pi"]).sum() == pytest.approx(DOCUMENTS)
    assert set(made.strata["title"]) >= {"en, near kept", "de, far removed"}
    assert made.estimate["label"].null_count() == 120


def test_a_larger_sample_has_the_same_rows_and_more(run: Run) -> None:
    small, large = (set(run.sample_labels("length", size=size).estimate["id"]) for size in (60, 150))
    assert small < large
    assert small != set(run.sample_labels("length", size=60, seed=2).estimate["id"])


def test_rows_for_learning_are_close_to_the_limit_and_on_their_own(run: Run) -> None:
    made = run.sample_labels("length", size=60, hunt=20)
    assert made.learn.height == 20
    assert set(made.learn["purpose"]) == {"learn"}
    assert not set(made.learn["id"]) & set(made.estimate["id"])
    assert all(abs(1 + int(id[1:]) % 100 - 40) <= 5 for id in made.learn["id"])
    assert made.learn["pi"].null_count() == 20


def test_estimates_hold_the_truth(run: Run, tmp_path: Path) -> None:
    made = run.calibrate(filled(run, size=200), store=tmp_path / "store")
    assert made.labelled == 200
    assert made.unanswered == 0
    assert made.found.removed == 234
    assert made.found.precision.median > 0.97
    assert made.found.recall.low < 39 / 59 < made.found.recall.high


def test_the_limit_that_meets_a_miss_rate(run: Run, tmp_path: Path) -> None:
    made = run.calibrate(filled(run, size=300, by="lang"), store=tmp_path / "store", miss=0.05)
    assert made.chosen is not None
    assert 55 <= made.chosen["limit"] <= 66
    assert made.chosen["met"]
    assert made.chosen["override"] == f"steps.length.min_words={made.chosen['limit']:.0f}"
    assert made.costs["documents"].sum() == DOCUMENTS
    assert made.costs["removed"].sum() > made.costs["removed_now"].sum()
    assert [group for group, _ in made.groups] == ["en", "de"]
    assert json.dumps(made.to_dict())


def test_csv_goes_through_a_spreadsheet(run: Run, tmp_path: Path) -> None:
    path = run.sample_labels("length", size=60, output=tmp_path / "sheet.csv").paths[0]
    assert path.stat().st_mode & 0o077 == 0
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))
    assert any(row["text"].startswith("'=") for row in rows)
    assert not any(row["text"].startswith("=") for row in rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, delimiter=";")
    writer.writeheader()
    for row in rows:
        row["pi"], row["confidence"] = row["pi"].replace(".", ","), "80 %"
        writer.writerow({**row, "label": "Yes " if is_short(row["id"]) else "0"})
    path.write_bytes(b"\xef\xbb\xbf" + out.getvalue().encode())
    made = run.calibrate(path, store=tmp_path / "store")
    stored = read_store(tmp_path / "store")
    assert made.labelled == 60
    assert set(stored["label"]) == {"yes", "no"}
    assert set(stored["confidence"]) == {0.8}
    assert set(stored["rater_id"]) == {"sheet"}
    assert "text" not in stored.columns


@pytest.mark.parametrize("cell", ["=1+1", "-x", "@a", "+3 a", "'=x", "''=x", "plain", "-3.5", ""])
def test_escaping_is_undone(cell: str) -> None:
    assert unescape(escape(cell)) == cell


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_every_format_is_read_back(run: Run, tmp_path: Path, name: str) -> None:
    from curate.label_sheet import read_sheet, write_sheet

    write_sheet(filled(run, size=60), tmp_path / name)
    sheet = read_sheet(tmp_path / name)
    assert len(sheet.rows) == 60
    assert {row.label for row in sheet.rows} == {"yes", "no"}
    with pytest.raises(OutputError, match="exists"):
        write_sheet(filled(run, size=60), tmp_path / name)


def changed(sheet: pl.DataFrame, column: str, value: Any) -> pl.DataFrame:
    """The sheet with another value in its first row."""
    first = pl.int_range(pl.len()) == 0
    return sheet.with_columns(pl.when(first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("label", "perhaps", "must be yes, no or unsure"),
        ("id", "d9999", "was changed"),
        ("stratum", "s999", "was changed"),
        ("pi", 0.5, "pi of"),
        ("documents", 5, "was changed"),
        ("confidence", float("inf"), "must be a number"),
        ("confidence", 7.0, "from 0 to 1"),
        ("design", "{}", "was changed"),
    ],
)
def test_a_changed_sheet_is_refused_with_its_row(run: Run, tmp_path: Path, column: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?s)row 1.*{said}"):
        run.calibrate(changed(filled(run, size=60), column, value), store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_an_empty_sheet_and_one_of_another_run_are_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has a label"):
        run.calibrate(run.sample_labels("length", size=60).estimate, store=tmp_path / "store")
    with pytest.raises(UsageError, match="has a label"):
        run.calibrate(filled(run, size=60).head(0), store=tmp_path / "store")
    other = Pipeline.parse("input: {paths: [in.jsonl]}\nsteps: [{length: {min_words: 40}}]", base=run.root.parent).run(
        output=tmp_path / "other", sample=300
    )
    with pytest.raises(UsageError, match="of another run"):
        other.calibrate(filled(run, size=60), store=tmp_path / "store")


def test_one_rater_cannot_answer_twice_and_three_raters_are_averaged(run: Run, tmp_path: Path) -> None:
    sheet = filled(run, size=60)
    twice = pl.concat([sheet, sheet.head(1).with_columns(label=pl.lit("no" if sheet["label"][0] == "yes" else "yes"))])
    with pytest.raises(UsageError, match="before"):
        run.calibrate(twice, store=tmp_path / "store")
    raters = [
        sheet.with_columns(rater=pl.lit(name), rater_group=pl.lit(group))
        for name, group in (("a", "x"), ("b", "x"), ("c", "y"))
    ]
    flipped = pl.when(pl.col("label") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))
    raters[2] = raters[2].with_columns(label=flipped)
    made = run.calibrate(*raters, store=tmp_path / "store")
    assert made.labelled == 60
    assert made.raters["raters"] == 3
    assert made.raters["alpha"] < 0.1
    assert made.raters["groups"]["x"]["inside"] == 1
    assert made.raters["groups"]["x"]["across"] < 0
    assert made.strata["positive"].sum() == pytest.approx(sum((2 if is_short(id) else 1) / 3 for id in sheet["id"]))


def test_two_sheets_of_one_name_are_no_single_rater(run: Run, tmp_path: Path) -> None:
    from curate.label_sheet import write_sheet

    paths = [tmp_path / name / "sheet.jsonl" for name in ("a", "b")]
    for path in paths:
        write_sheet(filled(run, size=60), path)
    with pytest.raises(UsageError, match="both by 'sheet'"):
        run.calibrate(*paths, store=tmp_path / "store")


def test_after_a_limit_is_adopted_the_run_is_judged_by_it(run: Run, tmp_path: Path) -> None:
    folder = run.root.parent
    text = "input: {paths: [in.jsonl]}\nsteps: [{length: {min_words: 60}}]"
    adopted = Pipeline.parse(text, base=folder).run(output=tmp_path / "adopted")
    made = adopted.calibrate(filled(run, size=200), store=tmp_path / "store")
    assert made.found.removed == adopted.counts["dropped"] == 354
    assert made.found.recall.low > 0.9
    assert made.limits.filter("is_now")["limit"].to_list() == [60]


def test_labels_of_other_texts_with_the_same_ids_are_refused(run: Run, tmp_path: Path) -> None:
    lines = (run.root.parent / "in.jsonl").read_text().replace("word", "worm")
    (tmp_path / "in.jsonl").write_text(lines)
    text = "input: {paths: [in.jsonl]}\nsteps: [{length: {min_words: 40}}]"
    other = Pipeline.parse(text, base=tmp_path).run(output=tmp_path / "other")
    with pytest.raises(UsageError, match="is another one in this run"):
        other.calibrate(filled(run, size=60), store=tmp_path / "store")


def test_the_store_only_grows(run: Run, tmp_path: Path) -> None:
    store, sheet = tmp_path / "store", filled(run, size=60)
    first = run.calibrate(sheet, store=store)
    files = {path.name: path.read_bytes() for path in store.iterdir()}
    again = run.calibrate(sheet, store=store)
    assert first.added.new == 60
    assert again.added.known == 60
    assert again.added.new == 0
    assert {path.name: path.read_bytes() for path in store.iterdir()} == files
    other = run.calibrate(changed(sheet, "label", "unsure"), store=store)
    assert other.added.superseding == 1
    assert other.unsure == 1
    assert other.labelled == 59
    assert other.unanswered == 1
    stored = read_store(store)
    assert stored.height == 61
    assert stored["supersedes"].drop_nulls().to_list() == [stored["label_id"][0]]
    assert all((store / name).read_bytes() == data for name, data in files.items())


def test_steps_that_cannot_be_asked_are_refused_with_a_hint(run: Run) -> None:
    for asked in ("lenght", "length.max_words", None):
        if asked is None:
            assert run.sample_labels(None, size=10).design.task == "length.min_words"
            continue
        with pytest.raises(CurateError) as caught:
            run.sample_labels(asked)
        assert caught.value.hint


def test_sheets_go_beside_the_run_by_default(run: Run) -> None:
    made = CliRunner().invoke(app, ["sample", str(run.root), "--for", "labels", "--size", "10", "--json"])
    assert made.exit_code == 0
    assert (run.root.with_name(f"{run.root.name}.labels") / "length.min_words-estimate.csv").is_file()


def test_the_commands(run: Run, tmp_path: Path) -> None:
    cli = CliRunner()
    sheet = tmp_path / "a.jsonl"
    made = cli.invoke(app, ["sample", str(run.root), "--for", "labels", "--size", "80", "--output", str(sheet)])
    assert made.exit_code == 0
    assert "near removed" in made.output
    frame = pl.read_ndjson(sheet, infer_schema_length=None)
    labels = pl.Series("label", ["yes" if is_short(id) else "no" for id in frame["id"]])
    sheet.write_text(frame.with_columns(labels).write_ndjson())
    arguments = [str(run.root), str(sheet), "--store", str(tmp_path / "store"), "--miss", "0.05"]
    told = cli.invoke(app, ["calibrate", *arguments])
    assert told.exit_code == 0
    assert "recall" in told.output
    assert "steps.length.min_words=" in told.output
    answer = json.loads(cli.invoke(app, ["calibrate", *arguments, "--json"]).stdout)
    assert answer["added"]["known"] == 80
    assert answer["task"] == "length.min_words"
    assert open_run(run.root).counts == run.counts
