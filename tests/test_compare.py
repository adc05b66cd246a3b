"""What two similar texts share."""

from __future__ import annotations

from curate.compare import MOST_WORDS, SHOWN_CHARS, shared_words


def test_the_longest_passage_and_what_only_one_has() -> None:
    found = shared_words(
        "Monday: the market opens at nine and closes late", "The market opens at ten and closes late now"
    )

    assert found["longest"] == "the market opens at"
    assert found["only_here"] == "Monday: | nine"
    assert found["only_in_twin"] == "ten | now"
    assert found["share"] == 2 * 7 / 18


def test_texts_that_repeat_themselves_take_no_long_time() -> None:
    found = shared_words("a " * 2_000, "a b " * 1_000)

    assert found["share"] == 0.5


def test_scripts_without_spaces_are_compared_by_character() -> None:
    found = shared_words(
        "这是一个没有空格的句子这是一个没有空格的句子吗", "这是一个没有空格的句子这是一个没有空格的句子"
    )

    assert found["only_here"] == "吗"
    assert found["longest"] == "这是一个没有空格的句子这是一个没有空格的句子"


def test_nothing_is_shared_with_an_empty_text() -> None:
    assert shared_words("", "a b") == {"share": 0.0, "longest": "", "only_here": "", "only_in_twin": "a b"}


def test_long_texts_are_cut() -> None:
    text = " ".join(f"w{number}" for number in range(2 * MOST_WORDS))

    found = shared_words(text, text)

    assert found["share"] == 1.0
    assert len(found["longest"]) == SHOWN_CHARS
    assert found["longest"].endswith("…")
