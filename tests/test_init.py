"""`curate init`: what is proposed for unknown data, why, and that it runs as it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import look as look_module
from curate.demo import write_corpus
from curate.errors import UsageError
from curate.init import budget, length_limits, output_folder, path_from, propose, round_up, scalar
from curate.look import Figures, reason, shown, spread
from curate.pipeline import Pipeline
from curate.yaml_text import read_yaml

SENTENCE = "the old harbour lies behind the hill and fishing boats come home in the evening when the tide is high"


def prose(number: int, words: int = 30) -> str:
    """A text of its own for every number."""
    some = SENTENCE.split()
    return f"On day {number} " + " ".join(some[(number * 7 + at) % len(some)] for at in range(words)) + "."


def write_lines(path: Path, records: Sequence[Any]) -> Path:
    """JSON lines; bytes are written as they are."""
    lines = [record if isinstance(record, bytes) else orjson.dumps(record) for record in records]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def proposed(folder: Path, *data: str) -> tuple[Pipeline, str, list[str]]:
    """The pipeline that is proposed for data beside it, its text and the notes."""
    text, notes = propose(data, folder)
    return Pipeline.parse(text, base=folder), text, notes


def unwrapped(text: str) -> str:
    """Comments as one line."""
    return " ".join(text.replace("# ", "").split())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- columns ----------------------------------------------------------------------------------------------------------


def test_text_and_id_are_found_by_their_names(here: Path) -> None:
    records = [
        {"url": f"u{n}", "title": "A title", "content": prose(n), "doc_id": n, "html": "x" * 5000} for n in range(20)
    ]
    write_lines(here / "pages.jsonl", records)
    pipeline, _, notes = proposed(here, "pages.jsonl")
    assert pipeline.name == "pages"
    assert pipeline.input.paths == ("pages.jsonl",)
    assert (pipeline.input.text, pipeline.input.id) == ("content", "doc_id")
    assert [step.name for step in pipeline.steps] == ["length", "language", "exact_duplicates"]
    assert any("content, chosen by its name" in note for note in notes)


def test_without_a_known_name_the_longest_column_is_the_text(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"head": "short", "prosa": prose(n), "n": n} for n in range(5)])
    pipeline, text, _ = proposed(here, "a.jsonl")
    assert (pipeline.input.text, pipeline.input.id) == ("prosa", None)
    assert "because its values are the longest" in text
    assert "file#row" in text


def test_a_column_named_text_that_is_empty_is_not_the_text(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"text": "", "body": prose(n)} for n in range(5)])
    assert proposed(here, "a.jsonl")[0].input.text == "body"


def test_an_id_column_whose_values_repeat_gives_way_to_one_whose_do_not(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"id": "same", "url": f"u{n}", "text": prose(n)} for n in range(5)])
    assert proposed(here, "a.jsonl")[0].input.id == "url"


def test_an_id_column_whose_values_repeat_is_taken_when_there_is_no_other(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"id": f"x{n % 3}", "text": prose(n)} for n in range(5)])
    pipeline, text, _ = proposed(here, "a.jsonl")
    assert pipeline.input.id == "id"
    assert "2 of its values repeat an earlier one" in unwrapped(text)


def test_any_column_that_is_called_an_id_may_be_one(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"parent_id": "same", "message_id": f"m{n}", "text": prose(n)} for n in range(5)])
    assert proposed(here, "a.jsonl")[0].input.id == "message_id"


def test_records_without_an_id_count_as_unreadable(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"id": None if n == 3 else n, "text": prose(n)} for n in range(10)])
    pipeline, _, notes = proposed(here, "a.jsonl")
    assert pipeline.max_quarantined == 0.2
    assert any("1 of 10 records have none" in " ".join(note.split()) for note in notes)
    assert pipeline.run().exit_code == 0


def test_an_id_column_that_no_run_could_use_is_an_error(here: Path) -> None:
    pl.DataFrame({"id": [1.5, 2.5], "text": [prose(1), prose(2)]}).write_parquet(here / "a.parquet")
    with pytest.raises(UsageError, match="ids must be text or whole numbers"):
        propose(["a.parquet"], here)


def test_data_without_a_column_of_text_are_an_error_that_lists_the_columns(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"n": n, "nested": {"text": "x"}} for n in range(5)])
    with pytest.raises(UsageError, match=r"no column of text; columns: n \(int\), nested \(json\)"):
        propose(["a.jsonl"], here)


def test_a_parquet_file_without_the_text_column_is_an_error_as_in_a_run(here: Path) -> None:
    pl.DataFrame({"text": [prose(n) for n in range(9)]}).write_parquet(here / "a.parquet")
    pl.DataFrame({"notes": ["x"]}).write_parquet(here / "b.parquet")
    with pytest.raises(UsageError, match=r"b\.parquet: there is no text column 'text'"):
        propose(["*.parquet"], here)


def test_bytes_in_parquet_are_text(here: Path) -> None:
    pq.write_table(pa.table({"content": pa.array([prose(n).encode() for n in range(5)])}), here / "a.parquet")
    pipeline, _, _ = proposed(here, "a.parquet")
    assert pipeline.input.text == "content"
    assert pipeline.run().counts["kept"] == 5


# --- hostile names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "no", "null", "~", "1e3", ".inf", ".5", "a: b", "#x", "- x", "{a}", "[a]", "a, b", "*a", "&b", "!t", "%x", "@x",
        "`x`", " lead ", 'quo"te', "it's", "back\\slash", "line\nbreak: x", "tab\t", "\x1b[31mred", "nul\0", "\x85",
        "\u2028", "\u202erlo", "\ufffe", "日本語", "😀", "x" * 300,
    ],
)  # fmt: skip
def test_any_column_name_is_written_so_that_it_reads_back(here: Path, name: str) -> None:
    write_lines(here / "a.jsonl", [{name: prose(n), f"{name}2": "x"} for n in range(3)])
    pipeline, text, notes = proposed(here, "a.jsonl")
    assert pipeline.input.text == name
    assert all(char.isprintable() or char == "\n" for char in text)
    assert all(note.isprintable() for note in notes)


@pytest.mark.parametrize("name", ["a b.jsonl", "a: #b.jsonl", "new\nline.jsonl", "[x].jsonl", "ü.jsonl", "-.jsonl"])
def test_any_file_name_is_written_so_that_it_reads_back(here: Path, name: str) -> None:
    write_lines(here / name, [{"text": prose(n)} for n in range(3)])
    pipeline, _, _ = proposed(here, name)
    assert pipeline.input.paths == (name,)
    assert pipeline.run().counts["kept"] == 3


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_scalar_that_reads_back(text: str) -> None:
    assert read_yaml(f"a: {scalar(text)}\nb: [{scalar(text)}]", "x").root == {"a": text, "b": [text]}


def test_a_step_whose_score_has_the_name_of_a_column_is_left_out_with_the_reason(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"text": prose(n), "label": "spam", "chars": n} for n in range(5)])
    pipeline, text, notes = proposed(here, "a.jsonl")
    assert [step.name for step in pipeline.steps] == ["exact_duplicates"]
    assert "# - length" in text
    assert any("step language: the data have a column label" in note for note in notes)
    assert pipeline.run().exit_code == 0


def test_shown_names_are_short_and_printable() -> None:
    assert shown("a\nb\x1b") == "a\\nb\\x1b"
    assert len(shown("x" * 500)) == 60


# --- paths ------------------------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_folder_of_the_pipeline(here: Path) -> None:
    (here / "data").mkdir()
    (here / "pipes").mkdir()
    write_lines(here / "data" / "a.jsonl", [{"text": prose(n)} for n in range(3)])
    pipeline, _, _ = proposed(here / "pipes", "data/*.jsonl")
    assert pipeline.input.paths == (os.path.join("..", "data", "*.jsonl"),)
    assert pipeline.run().root == here / "pipes" / "curated"


def test_absolute_paths_and_urls_stay(here: Path) -> None:
    assert path_from(str(here / "a.jsonl"), here / "pipes") == str(here / "a.jsonl")
    assert path_from("s3://bucket/a.parquet", here / "pipes") == "s3://bucket/a.parquet"


def test_the_output_is_never_inside_a_folder_that_is_read(here: Path) -> None:
    folder = here / "corpus"
    folder.mkdir()
    write_lines(folder / "a.jsonl", [{"text": prose(n)} for n in range(3)])
    os.chdir(folder)
    pipeline, _, _ = proposed(folder, ".")
    assert pipeline.name == "corpus"
    assert pipeline.run().root.resolve() == here / "curated"
    assert pipeline.run().counts["read"] == 3


def test_the_output_is_never_a_folder_of_other_files(here: Path) -> None:
    (here / "curated").mkdir()
    (here / "curated" / "thesis.txt").write_text("mine")
    assert output_folder(["a.jsonl"], here) == "curated-2/"


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_figures_of_the_sample_are_told(here: Path) -> None:
    records = [{"id": n, "text": prose(n, 40)} for n in range(95)]
    records += [{"id": 95 + n, "text": prose(n, 40).upper()} for n in range(3)] + [{"id": 98, "text": "  "}]
    write_lines(here / "a.jsonl", [*records, {"id": 99, "text": "Ja."}])
    pipeline, text, notes = proposed(here, "a.jsonl")
    told = "\n".join(notes)
    assert "100, all there are" in told
    assert "id (int), text (string)" in told
    assert "empty       1 (1.0 %)" in told
    assert "duplicates  3 repeat an earlier text (3.0 %)" in told
    assert "languages   en 9" in told
    assert "Here 3 of 100 repeat an earlier one (3.0 %)." in unwrapped(text)
    assert pipeline.audit.sample == 0.1
    assert all(len(note) <= 80 for note in notes)


def test_limits_of_length_follow_the_data_cautiously() -> None:
    def figures(low: int, longest: int) -> Figures:
        chars = {0: 0, 1: low, 50: 100, 99: longest, 100: longest}
        return Figures([low, longest], chars, chars, low, 0, {}, 0)

    assert length_limits(figures(500, 3_000)) == (20, 1_000_000)
    assert length_limits(figures(7, 3_000_000)) == (7, 10_000_000)
    assert length_limits(figures(0, 0)) == (1, 1_000_000)
    assert [round_up(number) for number in (0, 1, 3, 9, 10, 11, 51, 600)] == [1, 1, 5, 10, 10, 20, 100, 1000]


def test_unreadable_records_are_counted_and_allowed_for(here: Path) -> None:
    broken = [b'{"text": "cut', b'{"text": null}', b'{"text": "Caf\xe9"}', b'{"text": ']
    write_lines(here / "a.jsonl", [{"text": prose(n)} for n in range(36)] + broken)
    pipeline, text, notes = proposed(here, "a.jsonl")
    assert "Here 4 of 40 records cannot be read (10.0 %)" in unwrapped(text)
    assert any(note.startswith("unreadable  4 (10.0 %)") for note in notes)
    assert pipeline.max_quarantined == 0.2
    assert pipeline.run().exit_code == 0


def test_data_without_a_readable_record_are_an_error(here: Path) -> None:
    write_lines(here / "a.jsonl", [b"{", b"[1]"])
    with pytest.raises(UsageError):
        propose(["a.jsonl"], here)
    (here / "b.jsonl").write_bytes(b"")
    with pytest.raises(UsageError):
        propose(["b.jsonl"], here)


def test_a_budget_is_a_tenth_of_a_percent_or_twice_what_was_seen() -> None:
    assert [budget(share) for share in (0, 0.0004, 0.01, 0.0123, 0.9)] == ["0.1%", "0.1%", "2%", "2.5%", "100%"]


def test_reasons_are_counted_without_their_details() -> None:
    assert reason("not UTF-8: byte 17") == "not UTF-8"
    assert reason("record too large: 9 bytes, the limit is 5 (raw: the first 5 bytes)") == "record too large"
    assert reason("text is null") == "text is null"


def test_a_sample_is_spread_over_files_and_row_groups(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_module, "MAX_FILES", 3)
    monkeypatch.setattr(look_module, "MAX_RECORDS", 60)
    for file in range(6):
        frame = pl.DataFrame({"text": [f"{prose(row)} file {file}" for row in range(80)]})
        frame.write_parquet(here / f"{file}.parquet", row_group_size=10)
    _, text, notes = proposed(here, "*.parquet")
    assert "60 records of 6 files (read in 3 of them)" in unwrapped(text)
    assert any("6 parquet" in note and "3 of them were read" in note for note in notes)
    assert spread(range(6), 3) == [0, 2, 4]
    look = look_module.look_at(["*.parquet"], here)
    rows = look_module.read_sample(look, "text", []).records["row"].unique().to_list()
    assert rows == [*range(5), *range(20, 25), *range(40, 45), *range(60, 65)]


def test_a_text_that_is_not_utf8_in_parquet_is_one_unreadable_record(here: Path) -> None:
    texts = [prose(n).encode() for n in range(9)] + [b"Caf\xe9"]
    offsets = pa.array([0, *(sum(map(len, texts[: n + 1])) for n in range(10))], pa.int32()).buffers()[1]
    column = pa.Array.from_buffers(pa.string(), 10, [None, offsets, pa.py_buffer(b"".join(texts))])
    pq.write_table(pa.table({"text": column}), here / "a.parquet")
    pipeline, _, notes = proposed(here, "a.parquet")
    assert any("unreadable  1 (10.0 %): not UTF-8 (1)" in note for note in notes)
    assert pipeline.run().counts["quarantined"] == 1


def test_a_damaged_file_among_others_is_counted(here: Path) -> None:
    pl.DataFrame({"text": [prose(n) for n in range(50)]}).write_parquet(here / "a.parquet")
    (here / "b.parquet").write_bytes((here / "a.parquet").read_bytes()[:-20])
    _, _, notes = proposed(here, "*.parquet")
    assert any("unreadable  1" in note for note in notes)


# --- whole ------------------------------------------------------------------------------------------------------------


def test_the_demo_corpus_gets_a_pipeline_that_runs(here: Path) -> None:
    planted = write_corpus(here / "corpus", 150)
    pipeline, _, notes = proposed(here, "corpus")
    assert (pipeline.input.text, pipeline.input.id) == ("text", "id")
    assert any("2 jsonl gzip" in note for note in notes)
    run = pipeline.run()
    assert run.exit_code == 0
    assert run.counts["read"] == len(planted.clean) + len(planted.faults)
