"""Chat and preference records through whole runs: what steps judge, what edits change, what is written and refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from engine import Mask, write_lines

from curate import Pipeline
from curate.errors import PipelineError, UsageError
from curate.filter import Filter, registered
from curate.filters import (
    Balance,
    Blocklist,
    C4Quality,
    Classifier,
    Decontaminate,
    ExactDuplicates,
    FinewebQuality,
    GopherQuality,
    GopherRepetition,
    Groups,
    Language,
    Length,
    NearDuplicates,
    RedactPii,
    RefinedwebLines,
    RepeatedLines,
    Toxicity,
    Where,
)
from curate.pipeline import Step
from curate.run import Run
from curate.testing import EXAMPLES
from curate.turns import LISTS, PARTS

FIRST = "The weather in the north is cold, and the house by the sea has a red door that nobody opens."
SECOND = "Der Garten hinter dem Haus ist still. Write to someone@example.org or call +1 555 010 0199 tomorrow."
LIST = "- one item of the list\n- one item of the list\n- another item\n- one item of the list\nThe end of it."
LINES = "The end of it.\n12\nA line of words about the house that stays where it is.\n3 likes\n"
BAD = "curses and curses and curses again"
HARD = {name: text for name, text in EXAMPLES.items() if name != "huge"}


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def pair(id: str, prompt: list[dict[str, str]], chosen: str, rejected: str) -> dict[str, Any]:
    sides = {name: [message("assistant", text)] for name, text in (("chosen", chosen), ("rejected", rejected))}
    return {"id": id, "prompt": prompt, **sides, "group": id[-1], "score": len(chosen) / 7}


def preferences() -> list[dict[str, Any]]:
    """Pairs of plain and of hard texts, with prompts of no, one and three turns."""
    texts = [FIRST, SECOND, LIST, BAD, LINES, *HARD.values()]
    made = []
    for number, text in enumerate(texts):
        other, third = texts[(number + 5) % len(texts)], texts[(number + 9) % len(texts)]
        prompt = [message("user", third), message("assistant", text), message("user", other)][: (3, 1, 0)[number % 3]]
        made.append(pair(f"p{number}", prompt, text, other if number % 4 else text + "!"))
    return made


def parts_of(record: dict[str, Any], part: str) -> list[str]:
    """The texts that a part of a record means, from its own columns."""
    turns = [*record["prompt"], *record["chosen"], *record["rejected"]]
    if part == "each_turn":
        return [turn["content"] for turn in turns]
    if part == "assistant":
        return [turn["content"] for turn in turns if turn["role"] == "assistant"]
    if part in ("first_turn", "last_turn"):
        return [record["prompt"][0 if part == "first_turn" else -1]["content"]] if record["prompt"] else []
    said = [turn["content"] for turn in record[part]]
    return ["\n\n".join(said)] if said else []


def run(folder: Path, name: str, records: list[Any], *steps: Filter | Step, **settings: Any) -> Run:
    """A run over records as JSON lines."""
    file = write_lines(folder / f"{name}.jsonl", records)
    kind = "text" if "text" in records[0] else "preference"
    found = {"input": {"kind": kind}, "audit": {"sample": 1.0}, "max_quarantined": 1.0} | settings
    options = {key: found.pop(key) for key in ("workers", "fresh") if key in found}
    return Pipeline(steps=steps, **found).run(str(file), folder / f"{name}-out", **options)


def plain_run(folder: Path, records: list[dict[str, Any]], parts: Sequence[str], filter: Filter) -> Run:
    """The same step over the texts of parts; ids are `record/part/number`, the record's where there is one part."""
    rest = ("group", "score")
    texts = [
        (record, f"{record['id']}/{part}/{number}", text)
        for part in parts
        for record in records
        for number, text in enumerate(parts_of(record, part))
    ]
    rows = [
        {"id": id if len(parts) > 1 else record["id"], "text": text, **{name: record[name] for name in rest}}
        for record, id, text in texts
    ]
    return run(folder, "plain", rows, Step(name="s", filter=filter))


def per_document(folder: Path) -> dict[str, Filter]:
    """Every built-in filter that judges a document by itself, with options that make it drop some of ours."""
    from test_filters_classifier import write_fasttext

    model = write_fasttext(folder / "model.bin", loss=3)
    return {
        "blocklist": Blocklist(words=["door", "item"], whole_words=True),
        "c4_quality": C4Quality(min_sentences=1),
        "classifier": Classifier(model=model, keep=["hq"]),
        "fineweb_quality": FinewebQuality(),
        "gopher_quality": GopherQuality(),
        "gopher_repetition": GopherRepetition(),
        "groups": Groups(),
        "language": Language(keep=["en"]),
        "length": Length(min_words=10),
        "redact_pii": RedactPii(),
        "refinedweb_lines": RefinedwebLines(),
        "toxicity": Toxicity(max_share=0.1),
        "where": Where(drop_if="length(text) < 60 or score > 20"),
    }


def corpus_wide(folder: Path) -> dict[str, Filter]:
    """Every built-in filter that needs the whole corpus."""
    bench = write_lines(folder / "bench.jsonl", [{"text": FIRST}, {"text": LIST}])
    return {
        "balance": Balance(by="group", budget="10 documents", weight="score"),
        "decontaminate": Decontaminate(benchmarks=[bench], ngram=5, min_words=5),
        "exact_duplicates": ExactDuplicates(),
        "near_duplicates": NearDuplicates(ngram=2),
        "repeated_lines": RepeatedLines(max_documents=1, min_chars=5),
    }


EDITORS: dict[str, Filter] = {
    "redact_pii": RedactPii(),
    "c4_quality": C4Quality(min_sentences=0),
    "refinedweb_lines": RefinedwebLines(max_removed_share=1.0),
    "repeated_lines": RepeatedLines(max_documents=1, min_chars=5),
}
OF_RECORDS = {"chat_checks", "preference_checks", "disagreement"}  # they read turns, and judge a record as a whole
PER_DOCUMENT = (
    "blocklist", "c4_quality", "classifier", "fineweb_quality", "gopher_quality", "gopher_repetition", "groups",
    "language", "length", "redact_pii", "refinedweb_lines", "toxicity", "where",
)  # fmt: skip
CORPUS_WIDE = ("balance", "decontaminate", "exact_duplicates", "near_duplicates", "repeated_lines")


# --- filters on parts -------------------------------------------------------------------------------------------------


def test_every_built_in_filter_is_tried_on_parts(tmp_path: Path) -> None:
    builtin = {name for name, made in registered().items() if made.__module__.startswith("curate.filters.")}
    assert builtin == {*PER_DOCUMENT, *CORPUS_WIDE} | OF_RECORDS
    assert set(per_document(tmp_path)) == set(PER_DOCUMENT)
    assert set(corpus_wide(tmp_path)) == set(CORPUS_WIDE)


ON = ("prompt", "first_turn", "last_turn", "each_turn", "assistant", "both")  # `both` is chosen and rejected


@pytest.mark.parametrize("name", PER_DOCUMENT)
def test_a_step_on_a_part_scores_and_judges_its_texts_as_a_run_over_them(tmp_path: Path, name: str) -> None:
    filter, records = per_document(tmp_path)[name], preferences()
    on = [("each_turn",), ("both",)] if name in EDITORS else [ON]  # an edit would change what the next step sees
    parts = [part for some in on for one in some for part in PARTS[one]]
    texts = rows_by_text(plain_run(tmp_path, records, parts, filter))
    for number, some in enumerate(on):
        steps = [Step(name=f"on_{one}", filter=filter, on=one) for one in some]
        ledger = run(tmp_path, f"records-{number}", records, *steps).ledger.collect()
        assert ledger["id"].to_list() == [record["id"] for record in records]
        for row in ledger.iter_rows(named=True):
            check_row(row, some, texts)


def rows_by_text(done: Run) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Record and part -> the ledger's rows of its texts, in order."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in done.ledger.collect().iter_rows(named=True):
        id, part, _ = row["id"].split("/")
        found.setdefault((id, part), []).append(row)
    return found


def check_row(row: dict[str, Any], on: Sequence[str], texts: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """A record has the scores of its texts, breaks what any of them breaks, and goes when any of them goes."""
    broken = set()
    for one in on:
        for part in PARTS[one]:
            rows, start = texts.get((row["id"], part), []), f"on_{one}.{part}."
            broken |= {code.replace("s.", f"on_{one}.", 1) for text in rows for code in text["failed"]}
            for name in [name for name in row if name.startswith(start)]:
                given = [text[f"s.{name.removeprefix(start)}"] for text in rows]
                wanted = given if part in LISTS else given[0] if given else None
                assert row[name] == (wanted or None if part in LISTS else wanted), (row["id"], name)
    assert (set(row["failed"]), row["kept"]) == (broken, not broken)


@pytest.mark.parametrize("part", ["prompt", "rejected"])
@pytest.mark.parametrize("name", CORPUS_WIDE)
def test_a_corpus_wide_step_on_a_part_decides_as_a_run_over_its_texts(tmp_path: Path, name: str, part: str) -> None:
    filter, records = corpus_wide(tmp_path)[name], preferences()
    ledger = run(tmp_path, "records", records, Step(name="s", filter=filter, on=part)).ledger.collect()
    plain = plain_run(tmp_path, records, [part], filter).ledger.collect()
    found = ledger.filter(pl.col("id").is_in(plain["id"].implode()))
    scores = [column for column in plain.columns if column.startswith("s.")]
    for column in ("id", "kept", "failed", "duplicate_of", "similarity", "copies", *scores):
        own = f"s.{part}.{column[2:]}" if column in scores else column
        assert found[own].to_list() == plain[column].to_list(), column
    rest = ledger.filter(~pl.col("id").is_in(plain["id"].implode()))
    assert rest.height == (0 if part == "rejected" else len(records) // 3)
    assert rest["kept"].all()
    assert rest["failed"].list.len().sum() == 0


# --- edits ------------------------------------------------------------------------------------------------------------


def as_it_came(done: Run) -> list[dict[str, Any]]:
    """The records of a run, without keys that are null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items() if inner is not None}
        return [plain(inner) for inner in value] if isinstance(value, list) else value

    return [plain(record) for record in done.kept.collect().to_dicts()]


@pytest.mark.parametrize(("name", "part"), [*((name, "chosen") for name in EDITORS), ("redact_pii", "last_turn")])
def test_an_edit_lands_in_its_turn_and_all_else_stays(tmp_path: Path, name: str, part: str) -> None:
    records = [
        record | {"prompt": [message("system", SECOND), message("user", record["rejected"][0]["content"])]}
        for record in preferences()
    ]
    filter = EDITORS[name]
    done = run(tmp_path, "records", records, Step(name="s", filter=filter, on=part))
    plain = plain_run(tmp_path, records, [part], filter).kept.collect()
    texts = dict(plain.select("id", "text").iter_rows())
    column, at = ("chosen", 0) if part == "chosen" else ("prompt", 1)
    wanted = []
    for record in records:
        if record["id"] in texts:
            turns = list(record[column])
            turns[at] = turns[at] | {"content": texts[record["id"]]}
            wanted.append(record | {column: turns})
    before = {record["id"]: record for record in records}
    assert as_it_came(done) == wanted
    assert any(record != before[record["id"]] for record in wanted)


# --- what is written --------------------------------------------------------------------------------------------------

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q": [1]}'}}
PICTURE = [{"type": "text", "text": "see secret"}, {"type": "image_url", "image_url": {"url": "x.png"}}]


def test_an_edit_leaves_parts_that_are_no_text(tmp_path: Path) -> None:
    said = [
        {"role": "user", "content": PICTURE},
        {"role": "assistant", "content": "no secret", "tool_calls": [CALL]},
        {"role": "tool", "content": '[{"type": "text", "text": "a literal text"}]', "tool_call_id": "c1"},
        {"role": "assistant", "content": "done"},
    ]
    plain = [message("user", "a secret"), message("assistant", "nothing")]
    records = [{"id": "a", "messages": said}, {"id": "b", "messages": plain}]
    found = as_it_came(run(tmp_path, "chat", records, Mask(), input={"kind": "chat"}))
    first, second = found[0]["messages"], found[1]["messages"]
    assert [orjson.loads(first[0]["content"]), first[1]["content"]] == [
        [{"type": "text", "text": "see ***"}, PICTURE[1]],
        "no ***",
    ]
    assert orjson.loads(first[1]["tool_calls"]) == [CALL]
    assert first[2] == said[2]
    assert second == [message("user", "a ***"), message("assistant", "nothing")]


def test_messages_keep_what_they_hold_in_another_schema(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    said = [message("user", "look it up") | {"name": "ann"}, call]
    done = run(
        tmp_path, "chat", [{"id": "a", "messages": said, "n": 1}], Length(),
        input={"kind": "chat"}, output={"schema": "sharegpt"},
    )  # fmt: skip
    assert done.kept.collect().columns == ["conversations", "id", "n"]
    first, second = as_it_came(done)[0]["conversations"]
    assert first == {"from": "human", "value": "look it up", "name": "ann"}
    assert orjson.loads(second.pop("tool_calls")) == [CALL]
    assert second == {"from": "gpt"}


def test_what_the_other_schema_cannot_hold_goes_to_quarantine(tmp_path: Path) -> None:
    answered = [message("user", "ask"), message("assistant", "tell")]
    called = [message("user", "ask"), {"role": "assistant", "content": "call", "tool_calls": [CALL]}]
    records = [
        {"id": "good", "messages": answered},
        {"id": "open", "messages": answered[:1]},
        {"id": "call", "messages": called},
        {"id": "short", "messages": [message("user", ""), message("assistant", "")]},
        {"id": "bad"},
    ]
    done = run(
        tmp_path, "chat", records, Length(min_chars=3), ExactDuplicates(),
        input={"kind": "chat"}, output={"schema": "alpaca", "dropped": "full"},
    )  # fmt: skip
    assert as_it_came(done) == [{"id": "good", "instruction": "ask", "input": "", "output": "tell"}]
    quarantine = done.quarantine.select("file", "row", "id", "step").rows()
    assert [(row, id, step) for _, row, id, step in quarantine] == [
        (1, "open", None), (2, "call", None), (4, "bad", None)
    ]  # fmt: skip
    assert done.quarantine["error"].to_list() == [
        "cannot be written: schema alpaca holds conversations that end with the assistant, got one that ends with user",
        "cannot be written: schema alpaca holds plain text, got a message with a call",
        "messages: wanted a list of messages or its JSON text, got null",
    ]
    counts = done.counts
    assert (counts["read"], counts["kept"], counts["dropped"], counts["quarantined"]) == (5, 1, 1, 3)
    dropped = pl.read_parquet(done.root / "audit" / "dropped" / "*.parquet")
    assert dropped["messages"][0].to_list()[0]["role"] == "user"
    assert done.dropped.collect()["id"].to_list() == ["short"]
    assert done.dropped.collect()["messages"].list.len().to_list() == [2]


def test_an_edit_that_makes_a_marker_goes_to_quarantine(tmp_path: Path) -> None:
    transcript = "\n\nHuman: one\nsecret\nAssistant: no\n\nAssistant: yes"
    fine = "\n\nHuman: a secret\n\nAssistant: yes"
    records = [{"id": id, "chosen": one, "rejected": one + "!"} for id, one in (("a", transcript), ("b", fine))]
    done = run(tmp_path, "hh", records, Mask(put=""), max_quarantined=1.0)
    assert done.quarantine.select("id", "row").rows() == [("a", 0)]
    assert "the marker of a turn" in done.quarantine["error"][0]
    assert as_it_came(done)[0]["chosen"] == "\n\nHuman: a \n\nAssistant: yes"


@pytest.mark.parametrize(("given", "other"), [("explicit", "unpaired"), ("unpaired", "implicit")])
def test_a_schema_that_can_hold_no_such_record_is_refused(tmp_path: Path, given: str, other: str) -> None:
    record = {"prompt": "q", "chosen": "a", "rejected": "b"}
    if given == "unpaired":
        record = {"prompt": "q", "completion": "a", "label": True}  # type: ignore[dict-item]
    with pytest.raises(UsageError, match=f"'{other}' cannot hold records of schema {given}"):
        run(tmp_path, "in", [record], Length(), output={"schema": other})


def test_a_schema_that_would_replace_another_column_is_refused(tmp_path: Path) -> None:
    records = [{"id": "a", "messages": [message("user", "q"), message("assistant", "a")], "prompt": "other"}]
    with pytest.raises(PipelineError, match="the input has another column 'prompt'"):
        run(tmp_path, "chat", records, Length(), input={"kind": "chat"}, output={"schema": "prompt_completion"})
