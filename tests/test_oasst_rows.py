"""`schema: oasst`: messages in JSON lines become threads or pairs at reading, and what is left out is told."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

import curate
from curate.conversations import trees_form
from curate.errors import UsageError
from curate.init import propose
from curate.oasst import pairs, threads
from curate.read import read, survey, unite
from curate.sources import find_sources

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
OASST = SHARED / "alignment" / "oasst1_en_validation.jsonl.gz"


def message(name: str, parent: str | None, rank: int | None = None, **columns: Any) -> dict[str, Any]:
    """A message as the flat export of OpenAssistant has it."""
    role = "prompter" if name.startswith("q") else "assistant"
    text = f"Message {name} says what it says to all of you."
    return {"message_id": name, "parent_id": parent, "role": role, "text": text, "rank": rank, **columns}


FLAT = [
    message("a2", "q1", 1, lang="en"),
    message("q1", None, lang="en"),
    message("a1", "q1", 0, lang="en"),
    message("q2", "a1", lang="en"),
    message("a3", "q2", 0, lang="en"),
]
NESTED = [
    {
        "message_tree_id": "q1",
        "prompt": {
            **message("q1", None),
            "replies": [
                {**message("a1", "q1", 0), "replies": [{**message("q2", "a1"), "replies": []}]},
                {**message("a2", "q1", 1), "replies": []},
            ],
        },
    }
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_lines(path: Path, rows: Sequence[Any]) -> None:
    """JSON lines; bytes are written as they are."""
    path.write_bytes(b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows))


def run(folder: Path, input: str, steps: str = "[chat_checks]", more: str = "") -> Any:
    """The run of a small pipeline over all JSON lines of a folder."""
    text = f"input: {{paths: ['*.jsonl'], {input}}}\nsteps: {steps}\nmax_quarantined: 100%\n{more}"
    return curate.Pipeline.parse(text, base=folder).run(output=folder / "out", workers=1)


def said(messages: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Role and id of each message."""
    return [(one["role"], one["message_id"]) for one in messages]


def test_flat_messages_in_any_order_are_threads_for_chat(here: Path) -> None:
    write_lines(here / "a.jsonl", FLAT)

    kept = run(here, "kind: chat, schema: oasst").kept.collect()

    threads = {row["id"]: said(row["messages"]) for row in kept.to_dicts()}
    assert threads == {
        "a2": [("user", "q1"), ("assistant", "a2")],
        "a3": [("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a3")],
    }
    assert kept["lang"].to_list() == ["en", "en"]


def test_the_schema_is_found_where_only_the_kind_is_given(here: Path) -> None:
    write_lines(here / "a.jsonl", FLAT)

    assert run(here, "kind: chat").counts["kept"] == 2


def test_ranked_answers_are_pairs_for_preference(here: Path) -> None:
    write_lines(here / "a.jsonl", FLAT)

    kept = run(here, "kind: preference, schema: oasst", "[chat_checks, preference_checks]").kept.collect()

    (row,) = kept.to_dicts()
    assert (said(row["prompt"]), said(row["chosen"]), said(row["rejected"])) == (
        [("user", "q1")],
        [("assistant", "a1")],
        [("assistant", "a2")],
    )


def test_nested_trees_are_the_same_threads(here: Path) -> None:
    write_lines(here / "a.jsonl", NESTED)

    found = run(here, "kind: chat, schema: oasst", "[{chat_checks: {last_turn_not_assistant: tag}}]")

    assert found.kept.collect()["id"].to_list() == ["q2", "a2"]


def test_messages_in_no_thread_and_bad_lines_are_quarantined_with_their_place(here: Path) -> None:
    write_lines(here / "a.jsonl", [*FLAT[:2], b'{"cut', message("a9", "missing"), b"[]", *FLAT[2:]])

    found = run(here, "kind: chat, schema: oasst")

    assert (found.counts["kept"], found.counts["quarantined"]) == (2, 3)
    errors = found.quarantine["error"].to_list()
    assert [error.rpartition(" ")[2] for error in errors] == ["2)", "4)", "3)"]
    assert errors[1:] == [
        "not an object: list (row 4)",
        "wanted the parent_id of another message, got one that no message has (row 3)",
    ]
    assert found.quarantine["raw"].to_list()[2] == orjson.dumps(message("a9", "missing"))


def test_an_edit_of_a_turn_is_in_the_messages_that_are_written(here: Path) -> None:
    write_lines(here / "a.jsonl", [{**FLAT[1], "text": "Write to jo@corp.net for me."}, FLAT[2]])

    found = run(here, "kind: chat, schema: oasst", "[{redact_pii: {}, on: each_turn}]")

    messages = found.kept.collect()["messages"][0].to_list()
    assert [one["content"] for one in messages] == ["Write to <EMAIL> for me.", FLAT[2]["text"]]


def test_threads_can_be_written_in_another_schema(here: Path) -> None:
    write_lines(here / "a.jsonl", FLAT)

    found = run(here, "kind: chat, schema: oasst", more="output: {schema: sharegpt}")

    (first, _) = found.kept.collect()["conversations"].to_list()
    assert [one["from"] for one in first] == ["human", "gpt"]


def test_files_without_a_pair_give_no_record(here: Path) -> None:
    write_lines(here / "a.jsonl", [FLAT[1]])

    assert run(here, "kind: preference, schema: oasst").counts["read"] == 0


def test_a_thread_above_the_limit_of_a_record_is_quarantined(here: Path) -> None:
    rows = [FLAT[1], {**FLAT[2], "text": "x" * 600}, {**FLAT[0], "text": "y" * 600}, {**FLAT[3], "text": "z" * 600}]
    write_lines(here / "a.jsonl", rows)

    found = run(here, "kind: chat", "[{chat_checks: {last_turn_not_assistant: tag}}]", "limits: {record: 1KB}")

    assert found.kept.collect()["id"].to_list() == ["a2"]
    assert found.quarantine["error"][0].startswith("record too large")


@pytest.mark.parametrize("batch_bytes", [1, 100, 10_000_000])
def test_survey_and_read_see_the_same_records_whatever_the_batches(here: Path, batch_bytes: int) -> None:
    trees = []
    for number in range(40):
        for row in FLAT:
            parent = None if row["parent_id"] is None else f"{row['parent_id']}-{number}"
            trees.append({**row, "message_id": f"{row['message_id']}-{number}", "parent_id": parent})
    write_lines(here / "a.jsonl", [*trees, b"{"])
    (source,) = find_sources(["a.jsonl"], here)
    form = trees_form("chat")

    found, ids = survey(source, form, "id", chunk_bytes=1, max_record=10**6)
    columns = unite([(source, found)], form, "id")
    batches = list(read(source, found.cuts[0], columns, batch_bytes=batch_bytes))

    records = pl.concat([batch.records for batch in batches])
    assert (found.rows, len(found.cuts), len(ids)) == (81, 1, 81)
    assert records["row"].to_list() == list(range(80))
    assert pl.concat([batch.bad for batch in batches])["row"].to_list() == [80]


@pytest.mark.parametrize(
    ("name", "input", "words"),
    [
        ("a.csv", "schema: oasst", "JSON lines and Parquet only"),
        ("a.jsonl", "schema: oasst, columns: {messages: text}", "no columns to name"),
        ("b.jsonl", "schema: oasst", "wanted messages of OpenAssistant, got the columns text"),
    ],
)
def test_what_cannot_be_read_as_trees_is_refused_with_a_hint(here: Path, name: str, input: str, words: str) -> None:
    write_lines(here / "a.jsonl", FLAT)
    write_lines(here / "b.jsonl", [{"text": "Hello"}])
    pl.DataFrame(FLAT).write_csv(here / "a.csv")
    pipeline = curate.Pipeline.parse(
        f"input: {{paths: [{name}], kind: chat, {input}}}\nsteps: [chat_checks]", base=here
    )

    with pytest.raises(UsageError, match=words) as error:
        pipeline.run(output=here / "out", workers=1)

    assert error.value.hint is not None


@pytest.mark.parametrize("rows", [FLAT, NESTED])
def test_init_writes_a_pipeline_of_threads_that_runs(here: Path, rows: list[Any]) -> None:
    write_lines(here / "a.jsonl", rows)

    text, notes = propose(["a.jsonl"], here)
    pipeline = curate.Pipeline.parse(text, base=here)

    assert (pipeline.input.kind, pipeline.input.schema, pipeline.input.id) == ("chat", "oasst", "id")
    assert any("kind: preference" in " ".join(note.split()) for note in notes)
    counts = pipeline.run(workers=1).counts
    assert (counts["read"], counts["kept"], counts["quarantined"]) == (2, 2, 0)


def test_init_reads_messages_in_csv_as_texts_and_says_what_else_there_is(here: Path) -> None:
    pl.DataFrame(FLAT).write_csv(here / "a.csv")

    text, notes = propose(["a.csv"], here)

    assert curate.Pipeline.parse(text, base=here).input.kind == "text"
    assert "schema: oasst" in " ".join(" ".join(notes).split())


def written(folder: Path, name: str, kind: str) -> pl.DataFrame:
    """What a run over one file of messages publishes."""
    text = f"input: {{paths: [{name}], kind: {kind}, schema: oasst}}\nsteps: [{{length: {{min_words: 1}}}}]"
    curate.Pipeline.parse(text, base=folder).run(output=folder / f"out-{name}", workers=1)
    return pl.read_parquet(folder / f"out-{name}" / "dataset" / "data" / "*.parquet")


@pytest.mark.parametrize("rows", [FLAT, NESTED])
@pytest.mark.parametrize("kind", ["chat", "preference"])
def test_messages_in_parquet_give_the_records_that_their_lines_give(here: Path, rows: list[Any], kind: str) -> None:
    write_lines(here / "a.jsonl", rows)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(here / "a.parquet", row_group_size=2)

    lines, table = (written(here, name, kind) for name in ("a.jsonl", "a.parquet"))

    for name in ("messages", "prompt", "chosen", "rejected"):
        assert (name in lines.columns) == (name in table.columns)
        if name in lines.columns:
            assert lines[name].to_list() == table[name].to_list()
    assert lines["id"].to_list() == table["id"].to_list()
    assert lines.height > 0


@pytest.mark.parametrize("rows", [FLAT, NESTED])
def test_init_writes_a_pipeline_for_messages_in_parquet(here: Path, rows: list[Any]) -> None:
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(here / "a.parquet", row_group_size=2)

    text, _ = propose(["a.parquet"], here)

    pipeline = curate.Pipeline.parse(text, base=here)
    assert (pipeline.input.kind, pipeline.input.schema) == ("chat", "oasst")
    assert pipeline.run(workers=1).counts["kept"] == 2


def test_a_truncated_parquet_file_of_messages_is_one_bad_record(here: Path) -> None:
    pl.DataFrame(FLAT).write_parquet(here / "a.parquet")
    write_lines(here / "b.jsonl", FLAT)
    (here / "a.parquet").write_bytes((here / "a.parquet").read_bytes()[:-9])
    pipeline = curate.Pipeline.parse(
        "input: {paths: [a.parquet, b.jsonl], kind: chat, schema: oasst}\nsteps: [chat_checks]\nmax_quarantined: 100%",
        base=here,
    )

    found = pipeline.run(output=here / "out", workers=1)

    assert found.counts["quarantined"] == 1
    assert "truncated" in found.quarantine["error"].item()


def test_threads_that_mostly_end_with_the_user_are_proposed_to_be_kept(here: Path) -> None:
    write_lines(here / "a.jsonl", FLAT[:4])

    text, _ = propose(["a.jsonl"], here)

    assert "chat_checks: {last_turn_not_assistant: tag}" in text
    assert curate.Pipeline.parse(text, base=here).run(workers=1).counts["kept"] == 2


@pytest.mark.shared
@pytest.mark.parametrize(("kind", "count"), [("chat", 1002), ("preference", 1026)])
def test_the_validation_part_of_oasst1_gives_its_threads_and_pairs(here: Path, kind: str, count: int) -> None:
    rows = [orjson.loads(line) for line in gzip.decompress(OASST.read_bytes()).splitlines()]
    write_lines(here / "a.jsonl", rows)

    found = run(here, f"kind: {kind}", "[{chat_checks: {last_turn_not_assistant: tag, leaked_markers: tag}}]")

    made = (threads if kind == "chat" else pairs)(rows, [])
    assert len(made) == count
    assert found.kept.collect()["id"].to_list() == [record["id"] for record in made]
    assert found.counts["quarantined"] == 3
