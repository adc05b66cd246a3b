"""Records of every schema become turns, take new contents back into their own structure, and change schema."""

import copy
import gzip
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from curate import transcripts
from curate.conversations import SCHEMAS, Form, FormError, Turn, convert, detect, form_of

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
HH = SHARED / "alignment" / "hh_rlhf_harmless_test.jsonl.gz"

Record = dict[str, Any]


def form(schema: str, **columns: str) -> Form:
    known = SCHEMAS[schema]
    return Form(known.kind, schema, {part: part for part in known.columns + known.optional} | columns)


def said(turns: Sequence[Turn]) -> list[str]:
    return [f"{turn.side} {turn.role}: {turn.content}" for turn in turns]


def messages(*contents: str) -> list[Record]:
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


def hh(*contents: str) -> str:
    return "".join(f"\n\n{('Human', 'Assistant')[i % 2]}: {content}" for i, content in enumerate(contents))


def converted(turns: Sequence[Turn], other: str, record: Record, given: Form) -> Record:
    """The record in another schema; not an example when calls differ in turns that count as one."""
    try:
        return convert(turns, other, record, given)
    except FormError as error:
        if "all its places hold alike" not in str(error):
            raise
        reject()


# One record of each schema with the turns that it holds.
EXAMPLES: dict[str, tuple[Record, list[str]]] = {
    "messages": (
        {"messages": [{"role": "system", "content": "s"}, *messages("q", "a")], "id": 1},
        ["prompt system: s", "prompt user: q", "response assistant: a"],
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        ["prompt user: q", "response assistant: a"],
    ),
    "alpaca": (
        {"instruction": "do", "input": "this", "output": "done"},
        ["prompt user: do", "prompt input: this", "response assistant: done"],
    ),
    "prompt_completion": ({"prompt": "q", "completion": "a"}, ["prompt user: q", "response assistant: a"]),
    "explicit": (
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        ["prompt user: q", "chosen assistant: a", "rejected assistant: b"],
    ),
    "implicit": (
        {"chosen": messages("q", "a"), "rejected": messages("q", "b")},
        ["prompt user: q", "chosen assistant: a", "rejected assistant: b"],
    ),
    "hh": (
        {"chosen": hh("q", "a"), "rejected": hh("q", "b")},
        ["prompt user: q", "chosen assistant: a", "rejected assistant: b"],
    ),
    "unpaired": (
        {"prompt": messages("q"), "completion": "a", "label": False},
        ["prompt user: q", "rejected assistant: a"],
    ),
}

# Contents of every sort, but nothing that a transcript or a JSON text would be read from.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: "\n\n" not in text and "[" not in text
)
WORDS = TEXT.map(str.strip)
ROLE = st.sampled_from(["system", "user", "assistant", "tool", "Human", "gpt", "narrator"])
EXTRA = st.dictionaries(
    st.sampled_from(["name", "weight", "tool_calls", "thinking"]),
    st.one_of(st.none(), WORDS, st.integers(-5, 5), st.lists(st.builds(dict, id=WORDS), max_size=2)),
    max_size=2,
)
PARTS_OF_CONTENT = st.builds(
    lambda before, text, after: [*before, {"type": "text", "text": text, "image": None}, *after],
    *(st.lists(st.just({"type": "image", "text": None, "image": "x.png"}), max_size=1), TEXT),
    st.lists(st.just({"type": "image", "image": "y.png"}), max_size=1),
)
MESSAGE = st.builds(
    lambda role, content, extra: {"role": role, "content": content, **extra},
    ROLE,
    st.one_of(TEXT, PARTS_OF_CONTENT),
    EXTRA,
)
CALL = st.just({"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]})
MESSAGES = st.lists(st.one_of(MESSAGE, MESSAGE, CALL), min_size=1, max_size=5)
SHAREGPT = st.lists(st.builds(lambda role, value: {"from": role, "value": value}, ROLE, TEXT), min_size=1, max_size=5)
MARKED = st.sampled_from(["\n\nHuman:", "\n\nAssistant:", "\n\nHuman: ", "\n\nAssistant: "])
TRANSCRIPT = st.builds(
    lambda marker, rest: marker + "".join(rest), MARKED, st.lists(st.one_of(MARKED, TEXT, st.sampled_from([" ", "\n"])))
)
JSON_TEXT = st.one_of(MESSAGES, SHAREGPT).map(lambda value: orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
SPOKEN = st.one_of(TEXT, TRANSCRIPT, MESSAGES, JSON_TEXT)


def record_of(**columns: st.SearchStrategy[Any]) -> st.SearchStrategy[Record]:
    return st.fixed_dictionaries(dict(columns))


@st.composite
def pair(draw: st.DrawFn, side: st.SearchStrategy[Any]) -> Record:
    """Two sides that begin with the same turns more often than by chance."""
    first, second = draw(side), draw(side)
    if isinstance(first, list) and isinstance(second, list):
        cut = draw(st.integers(0, len(first)))
        second = first[:cut] + second
    if isinstance(first, str) and isinstance(second, str) and transcripts.is_transcript(first):
        second = first + "\n\nHuman:" + second if draw(st.booleans()) else first
    return {"chosen": first, "rejected": second}


@st.composite
def explicit(draw: st.DrawFn) -> Record:
    """A prompt that the two sides repeat, or do not."""
    record = {"prompt": draw(st.one_of(SPOKEN, st.just([]))), **draw(pair(SPOKEN))}
    if isinstance(record["prompt"], list) and draw(st.booleans()):
        sides = {
            side: record["prompt"] + record[side] for side in ("chosen", "rejected") if isinstance(record[side], list)
        }
        record |= sides
    return record


RECORDS: dict[str, st.SearchStrategy[Record]] = {
    "messages": record_of(messages=st.one_of(MESSAGES, MESSAGES.map(lambda value: orjson.dumps(value).decode()))),
    "sharegpt": record_of(conversations=SHAREGPT),
    "alpaca": record_of(instruction=TEXT, input=st.one_of(st.none(), TEXT), output=TEXT),
    "prompt_completion": record_of(prompt=SPOKEN, completion=SPOKEN),
    "explicit": explicit(),
    "implicit": pair(SPOKEN),
    "hh": pair(TRANSCRIPT),
    "unpaired": record_of(prompt=SPOKEN, completion=SPOKEN, label=st.sampled_from([True, False, 0, 1, 1.0])),
}


def any_record(*schemas: str) -> st.SearchStrategy[tuple[str, Record]]:
    return st.sampled_from(schemas or tuple(RECORDS)).flatmap(lambda name: st.tuples(st.just(name), RECORDS[name]))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_turns_of_a_record(schema: str) -> None:
    record, turns = EXAMPLES[schema]
    assert said(form(schema).turns(record)) == turns


@given(any_record())
def test_the_same_contents_are_the_same_record(drawn: tuple[str, Record]) -> None:
    schema, record = drawn
    before = copy.deepcopy(record)
    made = form(schema).put(record, [turn.content for turn in form(schema).turns(record)])
    assert {name: orjson.dumps(value) for name, value in made.items()} == {
        name: orjson.dumps(value) for name, value in before.items()
    }


@given(any_record(), st.data())
def test_new_contents_are_what_is_read_again(drawn: tuple[str, Record], data: st.DataObject) -> None:
    schema, record = drawn
    before, turns = copy.deepcopy(record), form(schema).turns(record)
    new = [f"{data.draw(WORDS)}{number}" for number in range(len(turns))]
    again = form(schema).turns(record | form(schema).put(record, new))
    assert [turn.content for turn in again] == new
    assert [turn[:2] for turn in again] == [turn[:2] for turn in turns]
    assert record == before


@given(any_record("messages"), st.data())
def test_new_contents_leave_the_rest_of_a_message(drawn: tuple[str, Record], data: st.DataObject) -> None:
    _, record = drawn
    old = record["messages"] if isinstance(record["messages"], list) else orjson.loads(record["messages"])
    put = form("messages").put(record, [data.draw(WORDS) for _ in old])["messages"]
    new = put if isinstance(put, list) else orjson.loads(put)
    without = [[{**message, "content": None} for message in some] for some in (old, new)]
    assert without[0] == without[1]


@given(any_record("messages", "sharegpt", "prompt_completion"), st.sampled_from(["messages", "sharegpt"]))
def test_a_chat_goes_to_another_schema_and_back(drawn: tuple[str, Record], other: str) -> None:
    schema, record = drawn
    turns = form(schema).turns(record)
    made = converted(turns, other, record, form(schema))
    assert form(other).turns(made) == turns
    assert form("messages").turns(convert(turns, "messages", made, form(other))) == turns


@given(any_record("implicit", "hh"), st.sampled_from(["explicit", "implicit"]))
def test_a_pair_goes_to_another_schema_and_back(drawn: tuple[str, Record], other: str) -> None:
    schema, record = drawn
    turns = form(schema).turns(record)
    made = converted(turns, other, record, form(schema))
    assert form(other).turns(made) == turns
    assert form("implicit").turns(convert(turns, "implicit", made, form(other))) == turns


@given(any_record("hh"))
def test_a_transcript_comes_back_from_messages(drawn: tuple[str, Record]) -> None:
    _, record = drawn
    turns = form("hh").turns(record)
    made = convert(turns, "implicit", record, form("hh"))
    assert form("hh").turns(convert(turns, "hh", made, form("implicit"))) == turns


def test_a_message_keeps_its_calls_and_images_in_another_schema() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}], "name": None}
    picture = {"role": "human", "content": [{"type": "image", "image": "x"}, {"type": "text", "text": "what"}]}
    record = {"messages": [picture, call, {"role": "function", "content": "4", "name": "f"}]}
    turns = form("messages").turns(record)
    made = convert([turns[0]._replace(content="new"), *turns[1:]], "sharegpt", record, form("messages"))
    assert made["conversations"] == [
        {"from": "human", "value": [{"type": "image", "image": "x"}, {"type": "text", "text": "new"}]},
        {"from": "gpt", "value": None, "tool_calls": [{"id": "1"}]},
        {"from": "tool", "value": "4", "name": "f"},
    ]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_writes_its_own_example(schema: str) -> None:
    record, _ = EXAMPLES[schema]
    turns = form(schema).turns(record)
    made = convert(turns, schema, record, form(schema))
    assert form(schema).turns(made) == turns
    assert {*made} == {*SCHEMAS[schema].columns, *SCHEMAS[schema].optional}


@pytest.mark.parametrize(
    ("record", "schema", "wanted"),
    [
        (
            {"messages": messages("q")},
            "prompt_completion",
            "schema prompt_completion holds conversations that end with",
        ),
        ({"messages": messages("q")}, "alpaca", "schema alpaca holds conversations that end with the assistant"),
        ({"messages": messages("q", "a", "q", "a")}, "alpaca", "schema alpaca holds one or two turns of user"),
        ({"messages": messages("q", "a")}, "explicit", "schema explicit holds records of kind preference"),
        ({"messages": messages("q", "a")}, "chatml", "wanted a schema of explicit"),
        ({"messages": [*messages("q"), {"role": "user", "content": ""}, messages("", "a")[1]]}, "alpaca", "is empty"),
        (
            {"messages": [*messages("q"), {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}]},
            "alpaca",
            "schema alpaca holds plain text, got a message with a call",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}, messages("q", "a")[1]]},
            "alpaca",
            "schema alpaca holds plain text, got a message with a part that is no text",
        ),
    ],
)
def test_a_chat_that_another_schema_cannot_hold(record: Record, schema: str, wanted: str) -> None:
    with pytest.raises(FormError, match=wanted):
        convert(form("messages").turns(record), schema, record, form("messages"))


@pytest.mark.parametrize(
    ("schema", "record", "other", "wanted"),
    [
        ("explicit", EXAMPLES["explicit"][0], "messages", "schema messages holds records of kind chat"),
        (
            "explicit",
            EXAMPLES["explicit"][0],
            "unpaired",
            "schema unpaired holds one response with a label, got a pair",
        ),
        ("unpaired", EXAMPLES["unpaired"][0], "explicit", "schema explicit holds a pair, got one response"),
        ("unpaired", EXAMPLES["unpaired"][0], "hh", "schema hh holds a pair, got one response"),
        ("explicit", {"prompt": "x\n\nHuman: y", "chosen": "a", "rejected": "b"}, "hh", "got one that holds a marker"),
        (
            "explicit",
            {"prompt": [{"role": "tool", "content": "4"}], "chosen": "a", "rejected": "b"},
            "hh",
            "holds turns of user and assistant, not turn 1, of tool",
        ),
    ],
)
def test_a_preference_that_another_schema_cannot_hold(schema: str, record: Record, other: str, wanted: str) -> None:
    with pytest.raises(FormError, match=wanted):
        convert(form(schema).turns(record), other, record, form(schema))


def test_other_calls_in_a_shared_turn_cannot_be_told_once() -> None:
    def side(call: str, answer: str) -> list[Record]:
        asked = {"role": "assistant", "content": None, "tool_calls": [{"id": call}]}
        return [*messages("q"), asked, {"role": "tool", "content": "4"}, {"role": "assistant", "content": answer}]

    record = {"chosen": side("1", "a"), "rejected": side("2", "b")}
    turns = form("implicit").turns(record)
    with pytest.raises(FormError, match="wanted a prompt that all its places hold alike"):
        convert(turns, "explicit", record, form("implicit"))


def test_a_prompt_that_the_sides_repeat_is_told_once_and_written_everywhere() -> None:
    record = {"prompt": "q", "chosen": messages("q", "a"), "rejected": messages("q", "b")}
    assert said(form("explicit").turns(record)) == EXAMPLES["explicit"][1]
    assert form("explicit").put(record, ["Q", "a", "B"]) == {
        "prompt": "Q",
        "chosen": messages("Q", "a"),
        "rejected": messages("Q", "B"),
    }


def test_an_explicit_prompt_goes_before_what_the_sides_share() -> None:
    record = {
        "prompt": [{"role": "system", "content": "s"}],
        "chosen": messages("q", "a"),
        "rejected": messages("q", "a", "r", "b"),
    }
    assert said(form("explicit").turns(record)) == [
        "prompt system: s",
        "prompt user: q",
        "chosen assistant: a",
        "rejected assistant: a",
        "rejected user: r",
        "rejected assistant: b",
    ]


def test_the_last_turn_of_a_side_is_never_shared() -> None:
    record = {"chosen": hh("q", "a"), "rejected": hh("q", "a")}
    assert [turn.side for turn in form("hh").turns(record)] == ["prompt", "chosen", "rejected"]


def test_a_changed_prompt_goes_into_both_transcripts() -> None:
    record = {"chosen": "\n\nHuman: q \n\n\nAssistant:a\n", "rejected": "\n\nHuman:q\n\nAssistant: b"}
    assert form("hh").put(record, ["Q", "A", "b"]) == {
        "chosen": "\n\nHuman: Q \n\n\nAssistant:A\n",
        "rejected": "\n\nHuman:Q\n\nAssistant: b",
    }


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("\n\nHuman: q\n\nAssistant: a \n", [("user", "q"), ("assistant", "a")]),
        ("\n\nHuman:  q\n\nAssistant:", [("user", " q"), ("assistant", "")]),
        ("Human: q\n\nAssistant: a", [("user", "q"), ("assistant", "a")]),
        (" Be brief.\n\n\nHuman: q", [("system", "Be brief."), ("user", "q")]),
        (" \n\nHuman: q\nHuman: r", [("user", "q\nHuman: r")]),
        (
            "\n\nHuman:\n\nHuman:\n\nAssistant: a\n\nAssistant: b",
            [("user", ""), ("user", ""), ("assistant", "a"), ("assistant", "b")],
        ),
        ("", []),
    ],
)
def test_a_transcript_is_cut_at_its_markers(text: str, turns: list[tuple[str, str]]) -> None:
    assert transcripts.read(text) == turns
    assert transcripts.put(text, [content for _, content in turns]) == text


@given(
    st.lists(st.one_of(TEXT, st.sampled_from(["Human:", "Assistant:", "\n\nHuman:", "\n\nAssistant:", "\n", " "]))).map(
        "".join
    )
)
def test_any_text_is_its_own_transcript(text: str) -> None:
    turns = transcripts.read(text)
    assert transcripts.put(text, [content for _, content in turns]) == text
    changed = transcripts.put(text, [f"new {number}" for number in range(len(turns))])
    assert transcripts.read(changed) == [(role, f"new {number}") for number, (role, _) in enumerate(turns)]


def test_an_empty_assistant_turn_ends_a_prompt_but_is_an_answer_elsewhere() -> None:
    record = {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": "a", "rejected": " "}
    assert said(form("explicit").turns(record)) == ["prompt user: q", "chosen assistant: a", "rejected assistant:  "]
    assert form("explicit").put(record, ["Q", "a", "b"])["prompt"] == "\n\nHuman: Q\n\nAssistant:"


def test_an_alpaca_input_that_is_empty_is_no_turn() -> None:
    for given_input in ({"input": ""}, {"input": None}, {}):
        record = {"instruction": "do", "output": "done", **given_input}
        assert said(form("alpaca").turns(record)) == ["prompt user: do", "response assistant: done"]
        assert form("alpaca").put(record, ["Do", "done"]) == {"instruction": "Do", "output": "done", **given_input}


def test_a_chat_that_ends_with_the_user_has_no_response() -> None:
    assert {turn.side for turn in form("messages").turns({"messages": messages("q", "a", "r")})} == {"prompt"}


def test_the_words_of_other_sources_are_the_known_roles() -> None:
    words = {"Human": "user", "prompter": "user", "GPT": "assistant", "model": "assistant", "developer": "system"}
    words |= {"function": "tool", "observation": "tool", "Narrator": "narrator"}
    record = {"messages": [{"role": word, "content": ""} for word in words]}
    assert [turn.role for turn in form("messages").turns(record)] == [*words.values()]


def test_the_label_is_the_side() -> None:
    for label, side in {True: "chosen", 0.0: "rejected"}.items():
        record = {"prompt": "q", "completion": "a", "label": label}
        assert form("unpaired").turns(record)[-1].side == side


def test_an_empty_list_as_text_is_no_prompt_but_an_answer() -> None:
    record = {"prompt": "[]", "completion": "[]"}
    assert said(form("prompt_completion").turns(record)) == ["response assistant: []"]
    assert form("prompt_completion").put(record, ["x"]) == {"prompt": "[]", "completion": "x"}


def test_records_of_a_table_keep_their_nulls() -> None:
    rows = [{"messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": "4", "name": "f"}]}]
    record = pl.DataFrame(rows, infer_schema_length=None).to_dicts()[0]
    assert form("messages").put(record, ["Q", "4"])["messages"] == [
        {"role": "user", "content": "Q", "name": None},
        {"role": "tool", "content": "4", "name": "f"},
    ]


SECRET = "\U0001f92b secret"
BAD: list[tuple[str, Record, str]] = [
    ("messages", {}, "messages: wanted a list of messages or its JSON text, got null"),
    ("messages", {"messages": []}, "messages: wanted at least one turn, got none"),
    ("messages", {"messages": "[" * 100_000}, "messages: wanted a list of messages or its JSON text, got another text"),
    ("messages", {"messages": SECRET}, "messages: wanted a list of messages or its JSON text, got another text"),
    ("messages", {"messages": {"role": "user"}}, "messages: wanted a list of messages or its JSON text, got dict"),
    ("messages", {"messages": [SECRET]}, r"messages\[0\]: wanted a message, got str"),
    ("messages", {"messages": [None]}, r"messages\[0\]: wanted a message, got null"),
    ("messages", {"messages": [*messages("q"), {"content": SECRET}]}, r"messages\[1\]: wanted a role, got null"),
    ("messages", {"messages": [{"role": "", "content": SECRET}]}, r"messages\[0\]: wanted a role, got an empty text"),
    ("messages", {"messages": [{"role": 3, "content": SECRET}]}, r"messages\[0\]: wanted a role, got int"),
    ("messages", {"messages": [{"role": "user"}]}, r"messages\[0\]: wanted a content or tool_calls, got neither"),
    (
        "messages",
        {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]},
        r"messages\[0\]: wanted a content or tool_calls, got neither",
    ),
    ("messages", {"messages": [{"role": "user", "content": 5}]}, "wanted a content of text or of parts, got int"),
    ("messages", {"messages": [{"role": "user", "content": [SECRET]}]}, "wanted a part with a type, got str"),
    ("messages", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "wanted a text in part 0, got null"),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": SECRET}] * 2}]},
        r"messages\[0\]: wanted at most one part of text, got 2",
    ),
    (
        "sharegpt",
        {"conversations": [{"role": "user", "value": SECRET}]},
        r"conversations\[0\]: wanted a from, got null",
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "gpt"}]},
        r"conversations\[0\]: wanted a value or tool_calls, got neither",
    ),
    ("alpaca", {"instruction": None, "output": SECRET}, "instruction: wanted a text, got null"),
    ("alpaca", {"instruction": SECRET, "output": "", "input": [1]}, "input: wanted a text, got list"),
    ("prompt_completion", {"prompt": SECRET}, "completion: wanted a text or a list of messages, got null"),
    ("prompt_completion", {"prompt": [], "completion": []}, "completion: wanted at least one turn, got none"),
    (
        "explicit",
        {"prompt": None, "chosen": "a", "rejected": "b"},
        "prompt: wanted a text or a list of messages, got null",
    ),
    ("explicit", {"prompt": "q", "chosen": [], "rejected": SECRET}, "chosen: wanted at least one turn, got none"),
    ("explicit", {"prompt": "q", "chosen": "a", "rejected": [1]}, r"rejected\[0\]: wanted a message, got int"),
    ("implicit", {"chosen": 1.5, "rejected": SECRET}, "chosen: wanted a text or a list of messages, got float"),
    ("hh", {"chosen": hh("q", "a"), "rejected": SECRET}, "rejected: wanted a transcript with the markers"),
    ("hh", {"chosen": hh("q", "a"), "rejected": ""}, "rejected: wanted at least one turn, got none"),
    ("hh", {"chosen": messages("q", "a"), "rejected": ""}, "chosen: wanted a text, got list"),
    ("unpaired", {"prompt": "q", "completion": "a", "label": None}, "label: wanted true or false, got null"),
    ("unpaired", {"prompt": "q", "completion": "a", "label": "yes"}, "label: wanted true or false, got str"),
    ("unpaired", {"prompt": "q", "completion": "a", "label": 5}, "label: wanted true or false, got another number"),
]


@pytest.mark.parametrize(("schema", "record", "wanted"), BAD)
def test_a_bad_record_says_what_was_wanted_and_nothing_of_its_content(schema: str, record: Record, wanted: str) -> None:
    with pytest.raises(FormError, match=wanted) as caught:
        form(schema).turns(record)
    assert "secret" not in str(caught.value)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), JSON_TEXT, st.just("\0[{")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "type", "text", "tool_calls"]), inner, max_size=4
        ),
    ),
    max_leaves=8,
)


@given(st.sampled_from(list(SCHEMAS)), st.data())
def test_any_values_are_turns_or_an_error_of_the_form(schema: str, data: st.DataObject) -> None:
    record = {column: data.draw(VALUES) for column in SCHEMAS[schema].columns + SCHEMAS[schema].optional}
    try:
        turns = form(schema).turns(record)
    except FormError:
        return
    assert all(isinstance(word, str) for turn in turns for word in turn)
    assert form(schema).put(record, [turn.content for turn in turns]) == record


def test_a_new_content_may_not_become_a_turn_of_its_own() -> None:
    with pytest.raises(FormError, match="chosen: wanted a content without the marker of a turn"):
        form("hh").put(EXAMPLES["hh"][0], ["q", "a\n\nHuman: b", "b"])
    for content in ("\n\nHuman: x", '[{"role":"user","content":"x"}]'):
        with pytest.raises(FormError, match="chosen: wanted a content that reads as plain text"):
            form("explicit").put(EXAMPLES["explicit"][0], ["q", content, "b"])


def test_contents_are_one_for_each_turn() -> None:
    with pytest.raises(FormError, match="wanted one content for each of 3 turns, got 2"):
        form("explicit").put(EXAMPLES["explicit"][0], ["q", "a"])


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_schema_is_found_by_columns_and_examples(schema: str) -> None:
    record, _ = EXAMPLES[schema]
    found = detect(list(record), [record])
    assert found is not None
    assert found.schema == schema
    assert found == form_of(found.kind, None, None, list(record), record)
    assert found.columns == {name: name for name in record if name != "id"}


@pytest.mark.parametrize(
    ("label", "side"), [("True", "chosen"), ("false", "rejected"), ("1", "chosen"), ("0", "rejected")]
)
def test_a_label_may_be_the_text_of_one(label: str, side: str) -> None:
    record = {"prompt": "q", "completion": "a", "label": label}
    found = detect(list(record), [record])
    assert found == form("unpaired")
    assert said(found.turns(record)) == ["prompt user: q", f"{side} assistant: a"]


def test_an_input_of_alpaca_ends_the_users_message_in_another_schema() -> None:
    record = {"instruction": "do", "input": "this", "output": "done"}
    turns = form("alpaca").turns(record)
    made = convert([turns[0], turns[1]._replace(content="that"), turns[2]], "messages", record, form("alpaca"))
    assert made["messages"] == [
        {"role": "user", "content": "do\n\nthat"},
        {"role": "assistant", "content": "done"},
    ]


def test_a_schema_is_found_under_another_name_of_its_column() -> None:
    record = {"conversations": messages("q", "a")}
    assert detect(["conversations"], [record]) == form("messages", messages="conversations")
    record = {"talk": [{"from": "human", "value": "q"}]}
    assert form_of("chat", None, {"conversations": "talk"}, ["talk"], record) == form("sharegpt", conversations="talk")


@pytest.mark.parametrize("column", ["turns", "dialogue", "dialog"])
def test_a_list_of_turns_may_have_any_of_its_usual_names_where_a_record_shows_it(column: str) -> None:
    said = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    assert detect([column], [{column: said}]) == form("sharegpt", conversations=column)
    assert detect([column], []) is None


def test_most_of_the_examples_decide() -> None:
    good, bad = {"messages": messages("q")}, {"messages": None}
    assert detect(["messages"], [good, bad, good]) is not None
    assert detect(["messages"], [good, bad]) is None


def test_a_preference_is_found_before_the_chat_beside_it() -> None:
    record = {
        "prompt": "q",
        "messages": messages("q", "a"),
        "chosen": messages("q", "a"),
        "rejected": messages("q", "b"),
    }
    found = detect(list(record), [record])
    assert found == form("explicit")
    assert form_of("chat", None, None, list(record), record) == form("messages")


def test_columns_alone_do_not_say_that_texts_are_transcripts() -> None:
    assert form_of(None, None, None, ["chosen", "rejected"], None) == form("implicit")


def test_text_is_no_conversation() -> None:
    assert detect(["id", "text", "url"], [{"id": "1", "text": "t", "url": "u"}]) is None


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ("chats", None, None, ["messages"], None),
            r"wanted kind chat or preference, got 'chats'; did you mean 'chat'\?",
        ),
        (("chat", "mesages", None, ["messages"], None), r"got 'mesages'; did you mean 'messages'\?"),
        (("chat", "hh", None, ["chosen", "rejected"], None), "schema hh is of kind preference, got kind chat"),
        (("chat", "messages", None, ["mesages"], None), r"wanted a column 'messages'.*did you mean 'mesages'\?"),
        (("chat", "messages", {"mesages": "x"}, ["x"], None), r"got 'mesages'; did you mean 'messages'\?"),
        (("chat", "alpaca", {"input": "context"}, ["instruction", "output"], None), "wanted a column 'context'"),
        (("chat", None, None, ["id", "text"], None), "wanted records of a known schema .* got the columns id, text"),
        (
            ("chat", None, None, ["prompt", "chosen", "rejected"], EXAMPLES["explicit"][0]),
            r"wanted kind chat, got records of kind preference \(schema explicit\)",
        ),
        (
            ("chat", None, {"messages": "mesages"}, ["messages"], EXAMPLES["messages"][0]),
            r"wanted a column 'mesages', got none of that name; did you mean 'messages'\?",
        ),
        (
            ("chat", None, None, ["messages"], {"messages": [{"role": "user"}]}),
            r"schema messages, but the first record cannot be read: messages\[0\]: wanted a content",
        ),
    ],
)
def test_names_that_do_not_fit_are_told_with_the_nearest(arguments: tuple[Any, ...], wanted: str) -> None:
    with pytest.raises(FormError, match=wanted):
        form_of(*arguments)


@pytest.mark.shared
def test_the_known_counts_of_hh_rlhf() -> None:
    """The counts of SCIENCE 4.2; repeated first turns are those beyond the first of the same words, case folded."""
    with gzip.open(HH) as lines:
        rows = [orjson.loads(line) for line in lines]
    found = detect(list(rows[0]), rows[:20])
    assert found == form("hh")
    counts: Counter[str] = Counter()
    first_turns = set()
    for row in rows:
        turns = found.turns(row)
        assert found.put(row, [turn.content for turn in turns]) == {side: row[side] for side in ("chosen", "rejected")}
        prompt, chosen, rejected = (
            [turn for turn in turns if turn.side == side] for side in ("prompt", "chosen", "rejected")
        )
        words = [len(side[-1].content.split()) for side in (chosen, rejected)]
        counts["pairs"] += 1
        counts["prompts differ"] += len(chosen) > 1 or len(rejected) > 1
        counts["longer " + ("chosen" if words[0] > words[1] else "rejected" if words[0] < words[1] else "neither")] += 1
        for name, side in (("chosen", chosen), ("rejected", rejected)):
            roles = [turn.role for turn in prompt + side]
            counts[f"not alternating {name}"] += any(
                role != ("user", "assistant")[i % 2] for i, role in enumerate(roles)
            )
            counts["empty responses"] += not side[-1].content
        first_turns.add("".join(letter for letter in turns[0].content.casefold() if letter.isalnum()))
    assert counts == {
        "pairs": 2_312,
        "prompts differ": 5,
        "longer rejected": 1_274,
        "longer chosen": 993,
        "longer neither": 45,
        "not alternating chosen": 8,
        "not alternating rejected": 5,
        "empty responses": 4,
    }
    assert len(rows) - len(first_turns) == 137
