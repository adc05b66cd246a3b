"""Kernels of the text rules: equal to plain Python on random and on awkward texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import text_reference as python
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels import lines, quality, repetition, sentences, tokens, utf8

settings.register_profile("compiled", deadline=None)  # the first call of a kernel may compile it
settings.load_profile("compiled")

STOPS = ["the", "be", "to", "of", "and"]
WORDS = """
the and Word NASA a I x dog cat don n't 'll 's ’ve isn’t ' ’ " “ Mr. e.g. U.S. a. . .. ... … ! ? , : ; - -- — ~ / = < >
* + ^ % $ € # @ & _ ( ) [ ] { } | \\ • · → ☃ 👍🏽 ° 1 3.14 10 km GB 5% http:// www. example
.com .Com user@ :80 /path?q=1#x
漢 字 カー か\u3099 ก กี่ 한국 हिन्दी । 。 、 ！ é e\u0301 \u0301 ß Ж ж \x00 \ufeff [1] [] [edit]
[12 JavaScript Sign-in 3bookmarks
"""
SPACES = [
    " ",
    "  ",
    "\n",
    "\n\n",
    "\n\n\n",
    "\r\n",
    "\r",
    "\t",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x85",
    "\u2028",
    "\u2029",
    "\u00a0",
]
PHRASES = [
    "[citation needed]", "lorem ipsum", "Lorem Ipsum", "Terms of Use", "use cookies", "items in cart", "Read more...",
    "3 likes", "1,200K views", "12 bookmarks", "HELLO WORLD", "one two three four five six. ", "The end of it. ",
    "a b c d e f g h i j k ", "\u3000",
]  # fmt: skip
PIECES = st.sampled_from(WORDS.split() + SPACES + PHRASES)
CHARS = st.characters(codec="utf-8")
TEXT = st.lists(PIECES | st.sampled_from([" ", "\n"]), max_size=40).map("".join) | st.text(CHARS, max_size=30)
TEXTS = st.lists(TEXT, min_size=1, max_size=5)
REPEATED = st.lists(st.sampled_from(["a", "bb", "ccc", "a bb", "\n", "\n\n", ". "]), max_size=60).map(" ".join)
WAYS = st.sampled_from(["fineweb", "paper", "dolma"])
AWKWARD = [
    "",
    " ",
    "\n",
    "a",
    ".",
    "'",
    "\n\n\n",
    " \n \n ",
    "x" * 3000,
    "(" * 500 + "it's" + ")" * 500,
    "a b " * 300,
    "- " * 40,
]


def given_texts(values: list[str]) -> utf8.Texts:
    return utf8.texts(pl.Series("text", values, pl.String))


def listed(found: tokens.Tokens, texts: list[str]) -> list[list[tuple[int, int]]]:
    bounds = found.offsets.tolist()
    pairs = list(zip(found.chars.tolist(), (found.flags & 15).tolist(), strict=True))
    return [pairs[bounds[row] : bounds[row + 1]] for row in range(len(texts))]


# --- tokens -----------------------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(TEXTS, st.booleans())
@example(AWKWARD, False)
def test_tokens_are_those_of_plain_python(values: list[str], plain: bool) -> None:
    wanted = [[(len(token), python.flags(token)) for token in python.tokens(value, plain)] for value in values]

    assert listed(tokens.tokens(given_texts(values), plain), values) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It isn't (really) over, Mr. Smith's dog-house!", "It is n't ( really ) over , Mr. Smith 's dog - house !"),
        (
            "In 5km, at 3.14%... see https://example.org/a?b=1.",
            "In 5 km , at 3.14 % ... see https://example.org/a?b=1 .",
        ),
        ("one.Two and e.g. U.S. or NASA.", "one . Two and e.g. U.S. or NASA ."),
        ("and/or x=y `Get-Item` --flag -Path a|b", "and / or x = y ` Get - Item ` --flag -Path a|b"),
        ("漢字かな mixed กี่กา", "漢 字 か な mixed กี่ ก า"),
        ("“Quoted,” she’ll say; 10 € & 5$", "“ Quoted , ” she ’ll say ; 10 € & 5 $"),
    ],
)
def test_tokens_of_sentences(text: str, wanted: str) -> None:
    sizes = tokens.tokens(given_texts([text])).chars.tolist()

    assert python.tokens(text) == wanted.split()
    assert sizes == [len(token) for token in wanted.split()]


@given(TEXTS)
def test_equal_tokens_have_equal_hashes(values: list[str]) -> None:
    found = tokens.tokens(given_texts(values)).hashes.tolist()
    every = [token for value in values for token in python.tokens(value)]

    assert len(set(found)) == len(set(every)) == len(set(zip(found, every, strict=True)))


@given(TEXTS)
def test_a_token_knows_whether_it_begins_a_line(values: list[str]) -> None:
    found = tokens.tokens(given_texts(values)).flags & tokens.BEGINS_LINE > 0
    wanted = [
        place == 0 for value in values for line in value.split("\n") for place, _ in enumerate(python.tokens(line))
    ]

    assert found.tolist() == wanted


@given(st.lists(st.binary(max_size=30) | PIECES.map(str.encode), max_size=8).map(b"".join))
def test_malformed_bytes_do_no_harm(data: bytes) -> None:
    given = utf8.Texts(np.frombuffer(data, np.uint8), np.frombuffer(np.array([0, len(data)]).tobytes(), np.int64))
    yes = tokens.frozen(np.ones(1, bool))
    lists = quality.stop_words([STOPS])

    assert tokens.tokens(given).chars.sum() <= len(data)
    assert np.isfinite(repetition.repetition(given)).all()
    assert np.isfinite(quality.quality(given, lists, np.zeros(1))).all()
    assert np.isfinite(quality.lines(given)).all()
    assert sentences.left(given, lines.refinedweb(given, yes, 0.5, 2)[0]).chars.sum() <= len(data) + 1


# --- measures ---------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.lists(TEXT | REPEATED, min_size=1, max_size=4), WAYS)
@example(AWKWARD, "fineweb")
@example(AWKWARD, "paper")
@example(AWKWARD, "dolma")
def test_repetition_is_that_of_plain_python(values: list[str], way: Any) -> None:
    found = repetition.repetition(given_texts(values), way)

    for row, value in zip(found.tolist(), values, strict=True):
        assert row == pytest.approx(python.repetition(value, way))


@settings(max_examples=300)
@given(TEXTS, WAYS)
@example(AWKWARD, "fineweb")
@example(AWKWARD, "dolma")
def test_quality_is_that_of_plain_python(values: list[str], way: Any) -> None:
    lists = quality.stop_words([["x"], STOPS])
    found = quality.quality(given_texts(values), lists, np.ones(len(values)), way)

    for row, value in zip(found.tolist(), values, strict=True):
        assert row == pytest.approx(python.quality(value, STOPS, way))


def test_texts_without_a_list_of_stop_words_have_none() -> None:
    lists = quality.stop_words([STOPS])
    found = quality.quality(given_texts(["the and", "the and"]), lists, np.array([-1, 0]))

    assert found[:, quality.QUALITY.index("stop_words")].tolist() == [0, 2]


@settings(max_examples=300)
@given(TEXTS, st.integers(0, 40))
@example(AWKWARD, 30)
def test_lines_are_those_of_plain_python(values: list[str], max_short: int) -> None:
    found = quality.lines(given_texts(values), max_short)

    for row, value in zip(found.tolist(), values, strict=True):
        assert row == pytest.approx(python.lines(value, max_short))


# --- line rules -------------------------------------------------------------------------------------------------------


def apply(text: str, edits: list[dict[str, Any]]) -> str:
    data, at, out = text.encode(), 0, b""
    for edit in edits:
        out += data[at : edit["start"]] + edit["put"].encode()
        at = edit["end"]
    return (out + data[at:]).decode()


def flags_of(values: list[str], value: bool) -> Any:
    return tokens.frozen(np.full(len(values), value))


@settings(max_examples=300)
@given(TEXTS, st.sampled_from([5, 1000]), st.integers(0, 4), st.sampled_from(["", '.?!"', ".?!\"'"]))
@example(AWKWARD, 1000, 3, "")
def test_c4_is_that_of_plain_python(values: list[str], max_word_chars: int, min_words: int, marks: str) -> None:
    given = given_texts(values)
    kept, counts = lines.c4(
        given, flags_of(values, True), flags_of(values, True), max_word_chars=max_word_chars, min_words=min_words,
        end_marks={"": 0, '.?!"': 1}.get(marks, 2), citations=True, javascript=True, policy=True,
    )  # fmt: skip
    wanted = [python.c4(v, max_word_chars=max_word_chars, min_words=min_words, end_marks=marks) for v in values]

    stays = sentences.left(given, kept)
    assert stays.sentences.tolist() == [python.sentences(text) for text, _ in wanted]
    assert stays.chars.tolist() == [len(text) for text, _ in wanted]
    assert counts.tolist() == [list(count.values()) for _, count in wanted]
    changed = [apply(value, edits) for value, edits in zip(values, lines.edits(given, kept).to_list(), strict=True)]
    assert changed == [text for text, _ in wanted]


@given(TEXTS)
def test_sentences_are_those_of_plain_python(values: list[str]) -> None:
    assert sentences.sentences(given_texts(values)).tolist() == [python.sentences(value) for value in values]


@settings(max_examples=300)
@given(TEXTS)
@example(AWKWARD)
def test_refinedweb_is_that_of_plain_python(values: list[str]) -> None:
    given = given_texts(values)
    kept, counts = lines.refinedweb(given, flags_of(values, True), 0.5, 2)
    wanted = [python.refinedweb(value, 0.5, 2) for value in values]

    assert counts.tolist() == [count for _, count in wanted]
    changed = [apply(value, edits) for value, edits in zip(values, lines.edits(given, kept).to_list(), strict=True)]
    assert changed == [text for text, _ in wanted]


@given(TEXTS)
def test_texts_that_are_not_judged_stay_as_they_are(values: list[str]) -> None:
    given, no = given_texts(values), flags_of(values, False)
    kept, _ = lines.refinedweb(given, no, 0.5, 2)

    assert lines.edits(given, kept).list.len().sum() == 0


def test_texts_are_looked_at_in_slices() -> None:
    values = [f"number {number} of many texts" for number in range(50)]
    given = given_texts(values)

    bounds = [(start, stop) for start, stop, _ in tokens.slices(given, 100)]

    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == 50
    assert len(bounds) > 5
