"""`chat_checks`: the structure of chat and preference records."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from chat_records import Turn, chat, f1, hh_records, ledger, pair, record, records
from pydantic import ValidationError

from curate import Pipeline
from curate.errors import CurateError, UsageError
from curate.filters import ChatChecks, PreferenceChecks
from curate.filters.chat import CHECKS
from curate.filters.turns import TURNS
from curate.plan import plan_steps
from curate.read import Columns
from curate.testing import check_filter

LONG = "This is a sentence of an answer that goes on for a while. " * 8


def score(*rows: list[Turn], **options: Any) -> pl.DataFrame:
    return ChatChecks(**options).score(records(*rows))


def found(*turns: Turn, **options: Any) -> list[str]:
    return list(score(list(turns), **options)["found"][0])


def edited(docs: pl.DataFrame, **options: Any) -> list[str]:
    """The texts with the edits applied."""
    texts = []
    for text, edits in zip(docs["text"], ChatChecks(**options).score(docs)["edits"], strict=True):
        data = text.encode()
        for edit in [] if edits is None else reversed(edits.to_list()):
            data = data[: edit["start"]] + edit["put"].encode() + data[edit["end"] :]
        texts.append(data.decode())
    return texts


# --- roles ---


@pytest.mark.parametrize(
    "roles",
    [
        ["user", "assistant"],
        ["system", "user", "assistant", "user", "assistant"],
        ["user", "assistant", "tool", "assistant"],
        ["user", "assistant", "tool", "tool", "assistant"],
        ["user", "input", "assistant"],
    ],
    ids=" ".join,
)
def test_roles_that_take_turns_are_sound(roles: list[str]) -> None:
    turns = [("prompt", role, "Some words.") for role in roles[:-1]]

    assert found(*turns, ("response", roles[-1], "An answer.")) == []


@pytest.mark.parametrize(
    "roles",
    [
        ["user", "user", "assistant"],
        ["user", "assistant", "assistant"],
        ["assistant", "user", "assistant"],
        ["user", "tool", "assistant"],
        ["user", "assistant", "tool", "user", "assistant"],
    ],
    ids=" ".join,
)
def test_roles_that_do_not_take_turns_are_found(roles: list[str]) -> None:
    turns = [("prompt", role, "Some words.") for role in roles[:-1]]

    assert found(*turns, ("response", roles[-1], "An answer.")) == ["roles_not_alternating/response"]


def test_each_side_of_a_pair_is_a_conversation_with_the_prompt() -> None:
    sound, wrong = ("chosen", "assistant", "Yes."), ("rejected", "user", "No.")

    assert found(("prompt", "user", "Well?"), sound, wrong) == [
        "last_turn_not_assistant/rejected",
        "roles_not_alternating/rejected",
    ]
    assert found(("prompt", "assistant", "Well?"), sound, ("rejected", "assistant", "No.")) == [
        "roles_not_alternating/chosen",
        "roles_not_alternating/rejected",
    ]


def test_a_chat_that_ends_with_the_user_or_has_no_turn_does_not_end_with_the_assistant() -> None:
    scores = score(chat("Hello?"), [], chat("Hello?", "Hi."))

    assert scores["last_turn_not_assistant"].to_list() == [True, True, False]


def test_an_unpaired_record_is_judged_by_its_one_side() -> None:
    assert found(("prompt", "user", "Well?"), ("rejected", "assistant", " \n")) == ["empty_response/rejected"]


# --- responses ---


@pytest.mark.parametrize("content", ["", " \t\n", "\u00a0\u2003", "\u200b\ufeff", "\x00"])
def test_a_response_of_white_space_is_empty(content: str) -> None:
    assert found(*chat("Hello?", content)) == ["empty_response/response"]


def test_a_response_that_calls_a_tool_may_be_empty() -> None:
    call, none = [{"function": "{}"}], list[Any]()
    docs = records(
        *[chat("Weather?", "")] * 4,
        messages=[
            [{"role": "user", "tool_calls": none}, {"role": "assistant", "tool_calls": call}],
            [{"role": "user", "tool_calls": none}, {"role": "assistant", "tool_calls": none}],
            [{"role": "assistant", "tool_calls": call}, {"role": "assistant", "tool_calls": None}],
            None,
        ],
    )

    assert ChatChecks().score(docs)["empty_response"].to_list() == [False, True, True, True]


def test_one_call_does_not_excuse_two_empty_responses() -> None:
    call, plain = [{"role": "assistant", "tool_calls": "[1]"}], [{"role": "assistant", "tool_calls": None}]
    docs = records(*[pair("Weather?", "", "")] * 2, chosen=[call, call], rejected=[plain, call])

    assert ChatChecks().score(docs)["empty_response"].to_list() == [True, False]
    assert PreferenceChecks().score(docs)["identical_responses"].to_list() == [False, False]


def test_a_chat_in_json_lines_that_ends_with_a_call_is_kept(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "weather"}}]}
    silent = {"role": "assistant", "content": ""}
    rows = [{"messages": [{"role": "user", "content": "Weather?"}, last]} for last in (call, silent)]
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = Pipeline(
        input={"paths": [str(tmp_path / "chats.jsonl")], "kind": "chat"},
        steps=[ChatChecks()],
        output={"path": str(tmp_path / "out")},
    ).run()

    assert run.ledger.collect()["kept"].to_list() == [True, False]


def test_an_empty_prompt_is_no_empty_response() -> None:
    assert found(*chat("", "Hi.")) == []


@pytest.mark.parametrize("end", ["and then the", "and,", "कि वह की", "```python\nprint(1)\n", "see ("])
def test_a_long_response_that_stops_in_a_sentence_is_cut_off(end: str) -> None:
    assert found(*chat("Explain.", LONG + end)) == ["truncated_response/response"]


@pytest.mark.parametrize(
    "end", ["The end.", "Is it?", "```\ncode\n```", "\n- a last point", "它结束了。", "Done :)", "จบแล้ว", "Done ❤️"]
)
def test_a_long_response_with_an_end_is_whole(end: str) -> None:
    assert found(*chat("Explain.", LONG + end)) == []


def test_a_short_response_without_an_end_is_whole_and_the_length_is_an_option() -> None:
    assert found(*chat("Who?", "My aunt")) == []
    assert found(*chat("Who?", "My aunt"), truncated_min_chars=5) == ["truncated_response/response"]


@pytest.mark.parametrize(
    "content", ["a caf\u00c3\u00a9", "it\u00e2\u20ac\u2122s", "lost \ufffd", "Tom &amp; Ann", "one<br>two"]
)
def test_broken_encoding_and_markup_are_debris(content: str) -> None:
    assert found(*chat("Hello?", content)) == ["debris/response"]


@pytest.mark.parametrize("content", ["un café", "Use `<br>` here.", "```html\n<p>x</p>\n```", "a < b & c", "São Paulo"])
def test_letters_with_accents_and_markup_in_code_are_no_debris(content: str) -> None:
    assert found(*chat("Hello?", content)) == []


@pytest.mark.parametrize(
    "content",
    [
        "As an AI language model, I have no body.",
        "You are a helpful assistant. Be kind.",
        "I'm ChatGPT, made by OpenAI.",
        "I am a large model trained by Google.",
        "I was created by Anthropic.",
    ],
)
def test_instructions_that_the_assistant_repeats_are_found(content: str) -> None:
    assert found(*chat("Hello?", content)) == ["system_prompt_leak/response"]
    assert found(*chat(content, "Hi.")) == []
    assert found(*chat("Hello?", "Hi.", system=content)) == []


@pytest.mark.parametrize(
    "content",
    [
        "TensorFlow was developed by Google.",
        "ChatGPT, as a large language model trained on text, may err.",
        "I am fond of it. Go was made by Google.",
    ],
)
def test_what_is_said_of_other_models_and_makers_is_no_instruction(content: str) -> None:
    assert found(*chat("Hello?", content)) == []


# --- markers ---


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("<|im_start|>assistant\nHello.<|im_end|>", "Hello."),
        ("Assistant: Hello.", "Hello."),
        ("Hello.\n\nHuman:", "Hello."),
        ("[INST] <<SYS>> Hello. [/INST]</s>", "Hello."),
        ("<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>", "Hello."),
        ("### Response:\nHello.", "Hello."),
        ("<start_of_turn>model\nÀ bientôt.<end_of_turn>\n", "À bientôt."),
    ],
)
def test_markers_at_the_ends_of_a_turn_are_cut_off(content: str, left: str) -> None:
    docs = records(chat("Hello?", content))

    assert edited(docs) == [f"Hello?\n\n{left}"]
    assert ChatChecks().score(docs).select("mended", "leaked_markers").row(0) == (1, False)


def test_markers_inside_a_turn_cannot_be_mended() -> None:
    docs = records(chat("Hello?", "Hi.\n\nHuman: And now?\n\nAssistant: Well.<|im_end|>"))

    assert ChatChecks().score(docs)["leaked_markers"].to_list() == [True]
    assert "leaked_markers" in ChatChecks().drop_when()


@pytest.mark.parametrize(
    ("role", "content", "left"),
    [
        ("assistant", "Human: How do I get there?", None),
        ("user", "Assistant: You take the bus.", None),
        ("assistant", "<|im_start|>user\nHow do I get there?", None),
        ("assistant", "### Input:\nA list.", None),
        ("user", "<|im_start|>system\nBe kind.", None),
        ("user", "Human: How do I get there?", "How do I get there?"),
        ("user", "### Instruction:\nSort.", "Sort."),
        ("assistant", "Human:\n\nAssistant: By bus.", "By bus."),
        ("critic", "<|im_end|>Fine.", "Fine."),
    ],
)
def test_a_marker_that_names_another_role_stays_for_nobody_knows_whose_words_follow(
    role: str, content: str, left: str | None
) -> None:
    docs = records([("prompt", role, content), ("response", "assistant", "Well.")])
    scores = ChatChecks().score(docs)

    assert scores.select("leaked_markers", "mended").row(0) == (left is None, int(left is not None))
    if left is not None:
        assert edited(docs) == [f"{left}\n\nWell."]


def test_a_response_of_markers_alone_is_empty_once_they_are_gone() -> None:
    docs = records(chat("Hello?", "<|im_start|>assistant\n<|im_end|>"))

    assert edited(docs) == ["Hello?\n\n"]
    assert ChatChecks().score(docs)["found"].to_list() == [["empty_response/response"]]


def test_without_fix_nothing_is_edited_and_every_marker_counts() -> None:
    docs = records(chat("Hello?", "Hi.<|im_end|>"))
    scores = ChatChecks(leaked_markers="drop").score(docs)

    assert "edits" not in scores.columns
    assert scores.select("leaked_markers", "mended").row(0) == (True, 0)
    assert "leaked_markers" not in ChatChecks(leaked_markers="tag").drop_when()


def test_words_that_look_like_markers_stay() -> None:
    assert found(*chat("Is the Human: a play?", "The Assistant: yes, I saw it. [INSTALL] <end>")) == []


# --- languages, options ---


def test_a_response_in_another_language_than_the_prompt_is_found() -> None:
    docs = records(
        *[pair("a", "b", "c")] * 4,
        p=["en", "en", None, "en"], c=["en", "en", "fr", "und"], r=["fr", "en", "fr", None],
    )  # fmt: skip
    scores = ChatChecks(language_columns=("p", "c", "r")).score(docs)

    assert scores["found"].to_list() == [["wrong_language/rejected"], [], [], []]


def test_a_list_of_languages_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the column 'p' is List\(String\), wanted String"):
        ChatChecks(language_columns=("p", "p")).score(records(pair("a", "b", "c"), p=[["en"]]))


def test_defaults_drop_what_cannot_be_trained_on() -> None:
    assert set(ChatChecks().drop_when()) == {"last_turn_not_assistant", "empty_response", "leaked_markers"}


def test_what_cannot_be_mended_refuses_fix() -> None:
    with pytest.raises(ValidationError, match="'drop' or 'tag'"):
        ChatChecks(debris="fix")  # type: ignore[arg-type]


def test_texts_are_refused_when_the_run_is_planned() -> None:
    with pytest.raises(CurateError, match="no column 'turns'") as error:
        plan_steps(Pipeline(steps=[ChatChecks()], input={"kind": "chat"}), Columns("text", None, {"text": pl.String()}))

    assert "kind: chat" in str(error.value)


def test_a_column_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="the column 'turns' is String"):
        ChatChecks().score(pl.DataFrame({"text": ["a"], "turns": ["b"]}))


def test_tables_count_finds_by_rule_and_side() -> None:
    docs = records(chat("Hello?", ""), chat("Hello?"), pair("a", "", " "), chat("Hello?", "Hi.</s>"))
    tables = ChatChecks().tables(
        ledger(docs, ChatChecks().score(docs), ["empty_response", "last_turn_not_assistant", "empty_response", None])
    )

    checks = tables["checks"].filter(pl.col("records") > 0)
    assert checks.rows() == [("P02", "last_turn_not_assistant", "drop", 1, 1), ("P03", "empty_response", "drop", 2, 2)]
    assert tables["sides"].rows() == [
        ("empty_response", "chosen", 1),
        ("empty_response", "rejected", 1),
        ("empty_response", "response", 1),
        ("last_turn_not_assistant", "response", 1),
    ]
    assert tables["mended"].rows() == [(1, 1)]


EXAMPLES = records(
    chat("Hello?", "Hi.<|im_end|>"), pair("a", "b [INST] c", "é"), chat("Well?"), [], chat("x", "y", system="z"),
    p=["en"] * 5, c=["en", "fr", None, "en", "en"],
)  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"leaked_markers": "tag", "debris": "drop"}, {"language_columns": ("p", "c")}], ids=str
)
def test_chat_checks_keeps_the_contract(options: dict[str, Any]) -> None:
    check_filter(ChatChecks(**options), EXAMPLES)


# --- planted defects ---

WORDS = ("river", "stone", "lamp", "quiet", "market", "paper", "window", "cloud", "garden", "letter", "silver", "bread",
         "music", "harbor", "winter")  # fmt: skip


def sentences(chooser: random.Random, number: int) -> str:
    return " ".join(
        " ".join(chooser.choices(WORDS, k=chooser.randint(4, 12))).capitalize() + chooser.choice(".?!")
        for _ in range(number)
    )


def clean(chooser: random.Random) -> list[Turn]:
    """A sound record: a chat of one to four exchanges, or a pair."""
    said = [sentences(chooser, chooser.randint(1, 12)) for _ in range(2 * chooser.randint(1, 4))]
    if chooser.random() < 0.5:
        return chat(*said, system=sentences(chooser, 1) if chooser.random() < 0.3 else None)
    turns = chat(*said)
    return [*turns[:-1], ("chosen", "assistant", said[-1]), ("rejected", "assistant", sentences(chooser, 5))]


def _last(turns: list[Turn], change: Callable[[str], str]) -> list[Turn]:
    return [*turns[:-1], (turns[-1][0], turns[-1][1], change(turns[-1][2]))]


def _middle(text: str, put: str) -> str:
    return text[: len(text) // 2] + put + text[len(text) // 2 :]


DEBRIS = ["\u00c3\u00a9", "\ufffd", "&nbsp;", "<br/>", "\u00e2\u20ac\u0153"]
MARKERS = ["<|im_end|>", "\n\nHuman: ", "[/INST]", "<|eot_id|>", "</s>"]
PLANT: dict[str, Callable[[list[Turn], random.Random], list[Turn]]] = {
    "roles_not_alternating": lambda turns, _: [turns[0], ("prompt", turns[0][1], "And more."), *turns[1:]]
    if turns[0][1] == "user"
    else [turns[0], ("prompt", "assistant", "Well."), *turns[1:]],
    "last_turn_not_assistant": lambda turns, _: [*turns[:-1], (turns[-1][0], "user", turns[-1][2])],
    "empty_response": lambda turns, chooser: _last(turns, lambda _: chooser.choice(["", " ", "\n\n", "\t \u00a0"])),
    "truncated_response": lambda turns, chooser: _last(turns, lambda _: sentences(chooser, 20)[:-1] + " and the"),
    "debris": lambda turns, chooser: _last(
        turns, lambda said: _middle(said, chooser.choice(DEBRIS))
    ),
    "leaked_markers": lambda turns, chooser: _last(
        turns, lambda said: _middle(said, chooser.choice(MARKERS))
    ),
    "system_prompt_leak": lambda turns, chooser: _last(
        turns,
        lambda said: chooser.choice(["As an AI language model, I try. ", "You are a helpful assistant. "]) + said,
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", PLANT)
def test_planted_defects_are_found_and_nothing_else(rule: str) -> None:
    chooser = random.Random(rule)
    sound = [clean(chooser) for _ in range(600)]
    rows = [PLANT[rule](turns, chooser) if number % 4 == 0 else turns for number, turns in enumerate(sound)]
    planted = pl.Series([number % 4 == 0 for number in range(600)])

    scores = score(*rows)

    assert f1(scores[rule], planted) >= 0.99
    others = [name for name in CHECKS if name not in (rule, "roles_not_alternating")]
    assert not scores.filter(~planted).select(pl.any_horizontal(others).any()).item()


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_pairs_of_hh_rlhf_have_the_known_defects() -> None:
    docs = hh_records()
    sides = ChatChecks().tables(ledger(docs, ChatChecks().score(docs)))["sides"]
    known = {f"{rule}/{side}": number for rule, side, number in sides.rows()}

    assert len(docs) == 2312
    assert known["roles_not_alternating/chosen"] == 8
    assert known["roles_not_alternating/rejected"] == 5
    assert known["empty_response/chosen"] == 4
    assert "empty_response/rejected" not in known
    assert not any(name.startswith("last_turn_not_assistant") for name in known)


def test_a_record_knows_its_bytes() -> None:
    made = record(("prompt", "user", "é"), ("response", "assistant", "b"))

    assert made["text"].encode()[made["turns"][1]["start"] :] == b"b"
    assert records(chat("a", "b")).schema["turns"] == TURNS
