"""Records of every schema in and out: the same values whatever the file format, workers, chunks and interruptions."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engine import FirstLetter, Mask, hashes, write_lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import Pipeline
from curate.errors import StoppedError
from curate.filters import Length
from curate.pipeline import Step
from curate.run import Run
from curate.turns import SCHEMAS

TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "[]", "[1]", '{"role": "user"}', "a\0b", "\u2028", "👩‍👩‍👧", "e\u0301", "null", "\r\n", "-"]
    ),
)
QUIET = settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))


def message(keys: tuple[str, str], role: str) -> st.SearchStrategy[dict[str, Any]]:
    call = st.fixed_dictionaries({"name": TEXTS, "arguments": st.dictionaries(TEXTS, st.integers(0, 9), max_size=2)})
    extras = {"name": TEXTS, "weight": st.integers(0, 9), "tool_calls": st.lists(call, min_size=1, max_size=2)}
    return st.fixed_dictionaries({keys[0]: st.just(role), keys[1]: TEXTS}, optional=extras)


def conversation(keys: tuple[str, str], roles: Sequence[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.integers(1, 4).flatmap(lambda n: st.tuples(*(message(keys, roles[at % 2]) for at in range(n))).map(list))


OPENAI = conversation(("role", "content"), ("user", "assistant"))
ANSWER = message(("role", "content"), "assistant").map(lambda one: [one])
SAID = TEXTS.filter(lambda text: "\n\nHuman:" not in text and "\n\nAssistant:" not in text)
TRANSCRIPT = st.tuples(SAID, SAID).map(lambda two: f"\n\nHuman: {two[0]}\n\nAssistant: {two[1]}")
RECORDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "explicit": {"prompt": OPENAI, "chosen": ANSWER, "rejected": ANSWER},
    "hh": {"chosen": TRANSCRIPT, "rejected": TRANSCRIPT},
    "implicit": {"chosen": OPENAI, "rejected": OPENAI},
    "unpaired": {"prompt": TEXTS, "completion": TEXTS, "label": st.booleans()},
    "messages": {"messages": OPENAI},
    "sharegpt": {"conversations": conversation(("from", "value"), ("human", "gpt"))},
    "prompt_completion": {"prompt": TEXTS, "completion": TEXTS},
    "alpaca": {"instruction": TEXTS, "input": TEXTS, "output": TEXTS},
}


def run(file: Path, schema: str, *steps: Any, **options: Any) -> Run:
    kind = SCHEMAS[schema].kind
    made = [*steps] or [Length()]
    found = {key: options.pop(key) for key in ("output", "max_quarantined") if key in options}
    pipeline = Pipeline(steps=made, input={"kind": kind, "schema": schema}, **found)
    out = file.parent / options.pop("name", "out")
    return pipeline.run(str(file), out, **options)


def plain(value: Any, given: Any) -> Any:
    """A value that was read as the one that was given: null stands for a key that is not there, JSON text for lists."""
    if isinstance(given, dict) and isinstance(value, dict):
        return {name: plain(inner, given.get(name)) for name, inner in value.items() if inner is not None}
    if isinstance(given, list) and isinstance(value, list):
        return [plain(one, own) for one, own in zip(value, given, strict=True)]
    return orjson.loads(value) if isinstance(given, list) and isinstance(value, str) else value


def check(done: Run, records: list[dict[str, Any]]) -> None:
    assert done.counts["quarantined"] == 0
    rows = done.kept.collect().to_dicts()
    assert [plain(row, record) for row, record in zip(rows, records, strict=True)] == records


def records_of(schema: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    rows = st.lists(st.fixed_dictionaries(RECORDS[schema]), min_size=1, max_size=4)
    return rows.map(lambda some: [{"id": f"r{at}", **one} for at, one in enumerate(some)])


def test_every_schema_is_tried() -> None:
    assert set(RECORDS) == set(SCHEMAS)


@pytest.mark.parametrize("schema", RECORDS)
def test_records_come_out_as_they_went_in(tmp_path: Path, schema: str) -> None:
    @QUIET
    @given(records=records_of(schema))
    def round_trip(records: list[dict[str, Any]]) -> None:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        check(run(write_lines(tmp_path / "in.jsonl", records), schema), records)
        again = tmp_path / "out" / "dataset" / "data" / "part-00000.parquet"  # what curate wrote is read again
        shutil.copy(again, tmp_path / "again.parquet")
        shutil.rmtree(tmp_path / "two", ignore_errors=True)
        check(run(tmp_path / "again.parquet", schema, name="two"), records)

    round_trip()


@pytest.mark.parametrize("schema", ["hh", "unpaired", "prompt_completion", "alpaca"])
def test_csv_records_come_out_as_they_went_in(tmp_path: Path, schema: str) -> None:
    @QUIET
    @given(records=records_of(schema))
    def round_trip(records: list[dict[str, Any]]) -> None:
        records = [{k: v.replace("\0", "") if isinstance(v, str) else v for k, v in one.items()} for one in records]
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(records[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writeheader()
            writer.writerows(records)
        check(run(tmp_path / "in.csv", schema), records)

    round_trip()


def test_messages_may_be_json_text_in_a_column(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "a secret"}, {"role": "assistant", "content": "x", "tool_calls": [1]}]
    table = pa.table({"id": ["a"], "messages": [orjson.dumps(said).decode()]})
    pq.write_table(table, tmp_path / "in.parquet")
    done = run(tmp_path / "in.parquet", "messages", Mask())
    found = orjson.loads(done.kept.collect()["messages"][0])
    assert found == [said[0] | {"content": "a ***"}, said[1]]


def test_nested_parquet_types_stay(tmp_path: Path) -> None:
    part = pa.struct({"type": pa.string(), "text": pa.string()})
    kind = pa.list_(pa.struct({"role": pa.string(), "content": pa.list_(part), "n": pa.int32()}))
    said = [
        {"role": "user", "content": [{"type": "text", "text": "a secret"}], "n": 1},
        {"role": "assistant", "content": [{"type": "image", "text": None}], "n": None},
    ]
    pq.write_table(pa.table({"messages": pa.array([said], kind)}), tmp_path / "in.parquet")
    done = run(tmp_path / "in.parquet", "messages", Mask())
    said[0]["content"] = [{"type": "text", "text": "a ***"}]
    assert done.kept.collect()["messages"].to_list() == [said]


def test_a_prompt_that_is_always_empty_is_written(tmp_path: Path) -> None:
    answer = [{"role": "assistant", "content": "x"}]
    records = [{"id": "a", "prompt": [], "chosen": answer, "rejected": answer}]
    check(run(write_lines(tmp_path / "in.jsonl", records), "explicit"), records)


# --- malformed records ------------------------------------------------------------------------------------------------

GOOD = {"role": "user", "content": "hi"}
MALFORMED: dict[str, list[tuple[Any, str]]] = {
    "messages": [
        ({}, "messages: wanted a list of messages or its JSON text, got null"),
        ({"messages": []}, "messages: wanted at least one turn, got none"),
        ({"messages": "hi"}, "messages: wanted a list of messages or its JSON text, got another text"),
        ({"messages": [GOOD, 5]}, "messages[1]: wanted a message, got int"),
        ({"messages": [{"content": "hi"}]}, "messages[0]: wanted a role, got null"),
        ({"messages": [{"role": "user"}]}, "messages[0]: wanted a content or tool_calls, got neither"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0]: wanted a content of text or of parts, got int"),
        (b"{", "not JSON"),
        (b"", "empty line"),
    ],
    "explicit": [
        ({"prompt": "p", "chosen": "c"}, "rejected: wanted a text or a list of messages, got null"),
        ({"prompt": "p", "chosen": [], "rejected": "r"}, "chosen: wanted at least one turn, got none"),
        ({"prompt": 5, "chosen": "c", "rejected": "r"}, "prompt: wanted a text or a list of messages, got int"),
    ],
    "hh": [({"chosen": "no marker", "rejected": "\n\nHuman: a"}, "chosen: wanted a transcript with the markers")],
    "unpaired": [({"prompt": "p", "completion": "c", "label": "x"}, "label: wanted true or false, got str")],
}
SOUND: dict[str, dict[str, Any]] = {
    "messages": {"messages": [GOOD]},
    "explicit": {"prompt": "p", "chosen": "c", "rejected": "r"},
    "hh": {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
    "unpaired": {"prompt": "p", "completion": "c", "label": True},
}


@pytest.mark.parametrize("schema", MALFORMED)
def test_malformed_records_go_to_quarantine_with_file_and_row(tmp_path: Path, schema: str) -> None:
    lines: list[Any] = []
    for bad, _ in MALFORMED[schema]:
        lines += [SOUND[schema], bad]
    done = run(write_lines(tmp_path / "in.jsonl", lines), schema, max_quarantined=1.0)
    found = done.quarantine
    assert found["row"].to_list() == list(range(1, len(lines), 2))
    assert all(file.endswith("in.jsonl") for file in found["file"])
    for error, (_, wanted) in zip(found["error"], MALFORMED[schema], strict=True):
        assert error.startswith(wanted)
    counts = done.counts
    assert counts["read"] == len(lines) == counts["kept"] + counts["dropped"] + counts["quarantined"]


# --- the same bytes ---------------------------------------------------------------------------------------------------


def chats(folder: Path) -> Path:
    """Chats of one to four turns in three files, some with secrets, some of them broken."""
    for file in range(3):
        rows: list[Any] = []
        for number in range(40):
            word = "abcdefgh"[number % 8] * (number + 1) + " secret"[: 7 * (number % 3)]
            said = [("user", word), ("assistant", f"about {word}"), ("user", "more"), ("assistant", "secret")]
            turns = [{"role": role, "content": text} for role, text in said[: 1 + number % 4]]
            rows.append({"id": f"{file}-{number}", "messages": turns if number != 7 else None})
        write_lines(folder / f"chat-{file}.jsonl", rows)
    return folder


STEPS = (
    Step(name="mask", filter=Mask(), on="each_turn"),
    Step(name="first", filter=FirstLetter(), on="prompt"),
    Step(name="size", filter=Length(min_chars=4), on="assistant"),
)
PUBLISHED = ("dataset/data", "audit/ledger", "audit/quarantine")


def run_chats(folder: Path, name: str, schema: str | None = None, **options: Any) -> Run:
    pipeline = Pipeline(
        steps=STEPS, input={"kind": "chat"}, output={"schema": schema}, max_quarantined=1.0, audit={"sample": 0.2}
    )
    return pipeline.run(str(folder / "in"), folder / name, **options)


@pytest.mark.parametrize("schema", [None, "prompt_completion"])
def test_workers_and_chunks_do_not_show(tmp_path: Path, schema: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    chats(tmp_path / "in")
    one = run_chats(tmp_path, "one", schema, workers=1)
    two = run_chats(tmp_path, "two", schema, workers=2)
    monkeypatch.setattr("curate.plan.CHUNK_BYTES", 700)
    three = run_chats(tmp_path, "three", schema, workers=1)
    assert hashes(one.root, *PUBLISHED) == hashes(two.root, *PUBLISHED) == hashes(three.root, *PUBLISHED)
    assert len(hashes(one.root, *PUBLISHED)) == 3
    counts = one.counts
    assert counts["kept"] > 0
    assert counts["quarantined"] >= 3
    assert counts["read"] == 120 == counts["kept"] + counts["dropped"] + counts["quarantined"]


@pytest.mark.parametrize("schema", [None, "prompt_completion"])
def test_an_interrupted_run_ends_with_the_same_bytes(
    tmp_path: Path, schema: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats(tmp_path / "in")
    expected = hashes(run_chats(tmp_path, "whole", schema).root, *PUBLISHED)
    stopped = 0
    for number in range(1, 200, 7):
        monkeypatch.setenv("CURATE_FAIL_AT", str(number))
        monkeypatch.setattr("curate.store._operations", 0)
        try:
            run_chats(tmp_path, "out", schema)
        except StoppedError:
            stopped += 1
    monkeypatch.delenv("CURATE_FAIL_AT")
    assert stopped > 3
    assert hashes(run_chats(tmp_path, "out", schema).root, *PUBLISHED) == expected


def test_no_turn_is_lost_when_all_are_edited(tmp_path: Path) -> None:
    records = [{"messages": [{"role": "user", "content": "secret"}, {"role": "assistant", "content": "secret"}] * 3}]
    done = run(
        write_lines(tmp_path / "in.jsonl", records), "messages", Step(name="m", filter=Mask(put=""), on="each_turn")
    )
    kept = done.kept.select(pl.col("messages").list.eval(pl.element().struct.field("content"))).collect()
    assert kept.to_series().to_list() == [[""] * 6]
