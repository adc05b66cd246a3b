"""`c4_quality` and `refinedweb_lines`: lines that go, and pages of which too much went."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.filter import Filter, Limit
from curate.filters import C4Quality, RefinedwebLines
from curate.testing import check_edits, check_filter

SENTENCES = "One thing is said here. And then another one. Was it all? It was not! This ends it."
NO_MARKS: dict[str, Any] = {"language": "en", "require_end_mark": False}


def documents(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"id": [str(n) for n in range(len(texts))], "text": list(texts)})


def left(filter: Filter, text: str) -> str:
    """What the edits leave of a text."""
    edits = filter.score(documents(text))["edits"].to_list()[0]
    data, at, out = text.encode(), 0, b""
    for edit in edits:
        out += data[at : edit["start"]] + edit["put"].encode()
        at = edit["end"]
    return (out + data[at:]).decode()


def broken(filter: Filter, text: str) -> list[str]:
    """The rules that a text breaks."""
    rules = {name: rule.expression() if isinstance(rule, Limit) else rule for name, rule in filter.drop_when().items()}
    found = filter.score(documents(text)).select(**rules).to_dicts()[0]
    return [name for name, value in found.items() if value]


# --- c4_quality -------------------------------------------------------------------------------------------------------


def test_a_page_of_sentences_stays_as_it_is() -> None:
    assert left(C4Quality(language="en"), SENTENCES) == SENTENCES
    assert broken(C4Quality(language="en"), SENTENCES) == []


@pytest.mark.parametrize(
    ("line", "score"),
    [
        ("x" * 1001 + " is too long.", "long_word"),
        ("No mark ends this line", "end_mark"),
        ("It goes on and on...", "end_mark"),
        ("Two words.", "few_words"),
        ("Please enable JavaScript to go on.", "javascript"),
        ("We made use of cookies, as you know.", "policy"),
        ("Read the Terms of Use before you go.", "policy"),
    ],
)
def test_lines_that_are_no_sentences_go(line: str, score: str) -> None:
    filter = C4Quality(language="en")

    assert left(filter, f"{SENTENCES}\n{line}\nThis one stays here.") == f"{SENTENCES}\nThis one stays here."
    assert filter.score(documents(line))[score].to_list() == [1]


def test_without_end_marks_headings_stay() -> None:
    assert left(C4Quality(**NO_MARKS), "A heading of words\nand text") == "A heading of words"


def test_citations_are_cut_out_and_white_space_around_lines_goes() -> None:
    text = "  It was so.[12] They said[citation needed] it [edit]\r\n\r\n\tand they meant it\u2028it was true too"

    assert left(C4Quality(**NO_MARKS), text) == "It was so. They said it \nand they meant it\nit was true too"


def test_few_sentences_drop_a_page() -> None:
    assert broken(C4Quality(language="en"), "Only one is left here.") == ["min_sentences"]
    assert broken(C4Quality(language="en", preset="paper"), SENTENCES) == []


def test_placeholders_and_brackets_drop_a_page_unless_asked_otherwise() -> None:
    text = f"{SENTENCES} Lorem Ipsum it says.\n{SENTENCES} So {{ it goes."

    assert broken(C4Quality(**NO_MARKS), text) == ["lorem_ipsum", "curly_bracket"]
    assert broken(C4Quality(**NO_MARKS, drop_lorem_ipsum=False, drop_curly_bracket=False), text) == []


def test_a_bracket_in_a_line_that_goes_anyway_drops_nothing() -> None:
    assert broken(C4Quality(**NO_MARKS), f"{SENTENCES}\n{{\nsome JavaScript here {{") == []


def test_presets_differ_in_their_numbers_and_end_marks() -> None:
    line = "He said 'it is done'"

    assert left(C4Quality(language="en"), line) == line
    assert left(C4Quality(language="en", preset="paper"), line) == ""
    assert left(C4Quality(language="en", preset="paper"), "Just four words here.") == ""
    assert left(C4Quality(language="en", preset="dolma"), "Just four words here.") == "Just four words here."
    assert "max_chars" in C4Quality(preset="paper").drop_when()


def test_other_languages_are_left_as_they_are() -> None:
    filter = C4Quality(language="de")

    assert left(filter, "zwei Wörter\n{ JavaScript") == "zwei Wörter\n{ JavaScript"
    assert broken(filter, "zwei Wörter\n{ JavaScript") == []


# --- refinedweb_lines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["SHOUTING AT EVERYONE", "12 345 678", "3 likes", "1.2K views", "12bookmarks", "3B downloads", "word"]
)
def test_furniture_goes(line: str) -> None:
    text = f"{SENTENCES}\n{line}\n\nThis one stays here."

    assert left(RefinedwebLines(language="en"), text) == f"{SENTENCES}\n\nThis one stays here."


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("You have 2 Items in cart today", "You have 2  today"),
        ("It was a long story Read more...", "It was a long story "),
        ("Sign-in to see the rest", " to see the rest"),
        ("We had no likes at all", "We had no likes at all"),
        (
            "one two three four five six seven eight nine ten Read more...",
            "one two three four five six seven eight nine ten Read more...",
        ),
    ],
)
def test_buttons_are_cut_out_of_short_lines(line: str, wanted: str) -> None:
    assert left(RefinedwebLines(language="en"), line) == wanted


def test_a_page_of_which_too_much_went_is_dropped() -> None:
    filter = RefinedwebLines(language="en")
    scores = filter.score(documents(f"{SENTENCES}\nMENU HOME"))

    assert scores.select("words", "removed_words", "removed_lines").row(0) == (20, 2, 1)
    assert broken(filter, f"{SENTENCES}\nMENU HOME") == ["max_removed_share"]
    assert broken(filter, SENTENCES * 4 + "\n3 likes") == []


# --- both -------------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    ["One two three. ", "\n", "\r\n", "\u2028", "[1]", " ", "{", "漢字です。", "3 likes", "é", "JavaScript ", "UP "]
)


@settings(deadline=None)
@given(st.lists(st.lists(PIECES | st.text(max_size=5), max_size=15).map("".join), min_size=1, max_size=4))
def test_a_document_alone_is_edited_as_in_a_batch(values: list[str]) -> None:
    for filter in (C4Quality(language="en"), C4Quality(**NO_MARKS), RefinedwebLines(language="en")):
        scores = filter.score(documents(*values))

        assert check_edits(pl.Series(values), scores["edits"]) == []
        assert scores.to_dicts() == [filter.score(documents(value)).to_dicts()[0] for value in values]


@pytest.mark.parametrize(
    "filter",
    [
        C4Quality(),
        C4Quality(preset="paper", language_column="lang", max_word_chars=None),
        RefinedwebLines(),
        RefinedwebLines(language_column="lang", max_removed_share=None),
    ],
)
def test_the_line_rules_keep_the_contract(filter: Filter) -> None:
    check_filter(filter, pl.DataFrame({"text": [SENTENCES, "Ein Satz."], "lang": ["en", "de"]}))
