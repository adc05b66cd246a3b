"""`curate init` on chat and preference records: the schema that is found, and that the written pipeline runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from curate.errors import UsageError
from curate.init import propose
from curate.pipeline import Pipeline

PLACES = ["the old harbour", "a small village", "the long road", "our green hill", "that high tower", "his mill"]


def question(number: int) -> str:
    """A question of its own for every number."""
    return f"What can you tell me about {PLACES[number % 6]} and the year {1800 + number}, when I go there?"


def answer(number: int, more: str = "") -> str:
    """An answer of its own for every number."""
    return f"In {1800 + number} there was not much to see in {PLACES[number % 6]}, but the people were kind.{more}"


def messages(number: int, role: str = "role", content: str = "content", more: str = "") -> list[dict[str, str]]:
    """A question and an answer as messages."""
    return [
        {role: "human" if role == "from" else "user", content: question(number)},
        {role: "gpt" if role == "from" else "assistant", content: answer(number, more)},
    ]


def transcript(number: int, more: str = "") -> str:
    """The same as a transcript of HH-RLHF."""
    return f"\n\nHuman: {question(number)}\n\nAssistant: {answer(number, more)}"


BETTER = " You would like the church too."
RECORDS: dict[str, Any] = {
    "explicit": lambda n: {"prompt": question(n), "chosen": answer(n, BETTER), "rejected": answer(n)},
    "hh": lambda n: {"chosen": transcript(n, BETTER), "rejected": transcript(n)},
    "implicit": lambda n: {"chosen": messages(n, more=BETTER), "rejected": messages(n)},
    "unpaired": lambda n: {"prompt": question(n), "completion": answer(n), "label": n % 2 == 0},
    "messages": lambda n: {"messages": messages(n)},
    "sharegpt": lambda n: {"conversations": messages(n, "from", "value")},
    "prompt_completion": lambda n: {"prompt": question(n), "completion": answer(n)},
    "alpaca": lambda n: {"instruction": question(n), "input": "" if n % 2 else "Be brief.", "output": answer(n)},
}
CHAT = ("messages", "sharegpt", "prompt_completion", "alpaca")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_lines(path: Path, records: Sequence[Any]) -> None:
    """JSON lines."""
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))


def proposed(folder: Path, data: str) -> tuple[Pipeline, str, list[str]]:
    """The pipeline that is proposed, its text and the notes."""
    text, notes = propose([data], folder)
    return Pipeline.parse(text, base=folder), text, notes


@pytest.mark.parametrize("schema", RECORDS)
def test_each_schema_is_found_and_its_pipeline_keeps_sound_records(here: Path, schema: str) -> None:
    write_lines(here / "a.jsonl", [{"id": f"r{n}", **RECORDS[schema](n)} for n in range(30)])

    pipeline, _, notes = proposed(here, "a.jsonl")
    run = pipeline.run(workers=1)

    assert pipeline.input.schema == schema
    assert pipeline.input.kind == ("chat" if schema in CHAT else "preference")
    assert dict(pipeline.input.columns) == {}
    assert any(note.startswith("schema") and schema in note for note in notes)
    assert (run.counts["read"], run.counts["kept"], run.counts["quarantined"]) == (30, 30, 0)


@pytest.mark.parametrize("schema", ["implicit", "messages", "alpaca", "hh"])
def test_records_in_parquet_get_the_same_schema_and_run(here: Path, schema: str) -> None:
    pl.DataFrame([{"id": f"r{n}", **RECORDS[schema](n)} for n in range(30)]).write_parquet(here / "a.parquet")

    pipeline, _, _ = proposed(here, "a.parquet")
    run = pipeline.run(workers=1)

    assert pipeline.input.schema == schema
    assert (run.counts["read"], run.counts["kept"], run.counts["quarantined"]) == (30, 30, 0)


def test_texts_in_csv_are_found_as_well(here: Path) -> None:
    pl.DataFrame([RECORDS["explicit"](n) for n in range(30)]).write_csv(here / "a.csv")

    pipeline, _, _ = proposed(here, "a.csv")

    assert (pipeline.input.kind, pipeline.input.schema) == ("preference", "explicit")
    assert pipeline.run(workers=1).counts["kept"] == 30


@pytest.mark.parametrize("name", ["conversation", "dialogue", "turns"])
def test_a_list_of_turns_of_another_name_is_written_with_its_column(here: Path, name: str) -> None:
    write_lines(here / "a.jsonl", [{name: messages(n)} for n in range(30)])

    pipeline, text, _ = proposed(here, "a.jsonl")

    assert dict(pipeline.input.columns) == {"messages": name}
    assert f"columns: {{messages: {name}}}" in text
    assert pipeline.run(workers=1).counts["kept"] == 30


def test_what_the_checks_would_drop_is_told_with_its_number(here: Path) -> None:
    records = [RECORDS["explicit"](n) for n in range(30)]
    records += [{"prompt": question(n), "chosen": answer(n), "rejected": answer(n)} for n in range(30, 33)]
    records += [{"prompt": question(n), "chosen": "", "rejected": answer(n)} for n in range(33, 35)]
    write_lines(here / "a.jsonl", records)

    pipeline, text, _ = proposed(here, "a.jsonl")
    told = " ".join(text.replace("# ", "").split())

    assert "3 whose responses are the same, of 35" in told
    assert "2 with an empty response" in told
    assert pipeline.run(workers=1).counts["kept"] == 30


def test_conversations_that_mostly_end_with_the_user_are_kept(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"messages": messages(n)[:1]} for n in range(30)])

    pipeline, _, _ = proposed(here, "a.jsonl")

    assert pipeline.run(workers=1).counts["kept"] == 30


def test_records_of_no_schema_are_counted_as_unreadable(here: Path) -> None:
    records = [RECORDS["messages"](n) for n in range(36)] + [{"messages": "no list"}] * 4
    write_lines(here / "a.jsonl", records)

    pipeline, text, _ = proposed(here, "a.jsonl")
    run = pipeline.run(workers=1)

    assert "Here 4 of 40 records cannot be read" in " ".join(text.replace("# ", "").split())
    assert (run.counts["kept"], run.counts["quarantined"], run.exit_code) == (36, 4, 0)


def test_turns_that_no_schema_can_read_are_an_error_with_a_hint(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"messages": [{"speaker": "A", "text": "Hello"}]}])

    with pytest.raises(UsageError, match="a column messages with a list of turns") as error:
        propose(["a.jsonl"], here)

    assert error.value.hint is not None


def test_a_text_column_beside_turns_is_taken_with_a_note_that_names_the_schema(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"text": answer(n), "messages": messages(n)} for n in range(5)])

    pipeline, _, notes = proposed(here, "a.jsonl")

    assert (pipeline.input.kind, pipeline.input.text) == ("text", "text")
    assert "kind: chat, schema: messages" in " ".join(" ".join(notes).split())


def test_a_step_whose_score_has_the_name_of_a_column_is_left_out(here: Path) -> None:
    write_lines(here / "a.jsonl", [{"mended": n, **RECORDS["messages"](n)} for n in range(5)])

    pipeline, text, _ = proposed(here, "a.jsonl")

    assert "chat_checks" not in [step.name for step in pipeline.steps]
    assert "# - chat_checks" in text
    assert pipeline.run(workers=1).exit_code == 0


def test_what_unreadable_conversations_lack_is_told(here: Path) -> None:
    bad = [{"id": f"b{n}", "messages": [{"role": "user", "content": "Hi?"}, {"role": None}]} for n in range(2)]
    write_lines(here / "a.jsonl", [{"id": f"r{n}", **RECORDS["messages"](n)} for n in range(30)] + bad)

    _, text, notes = proposed(here, "a.jsonl")

    assert any("messages[N]: wanted a role, got null (2)" in " ".join(note.split()) for note in notes)
    assert "wanted a role" in text
