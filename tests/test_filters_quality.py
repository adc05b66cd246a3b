"""`gopher_quality` and `fineweb_quality`: words, symbols, lines, and which languages are judged."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.filter import Filter, Limit
from curate.filters import FinewebQuality, GopherQuality
from curate.filters.text_rules import primary
from curate.testing import check_filter

SENTENCE = "The ship that left the harbour had to be slow, and the crew slept. "
PAGE = SENTENCE * 6


def documents(*texts: str, **columns: Any) -> pl.DataFrame:
    return pl.DataFrame({"id": [str(n) for n in range(len(texts))], "text": list(texts), **columns})


def broken(filter: Filter, *texts: str, **columns: Any) -> list[list[str]]:
    """The rules that each text breaks."""
    docs = documents(*texts, **columns)
    rules = {name: rule.expression() if isinstance(rule, Limit) else rule for name, rule in filter.drop_when().items()}
    found = docs.hstack(filter.score(docs)).select(**rules).to_dicts()
    return [[name for name, value in row.items() if value] for row in found]


def score(filter: Filter, text: str, name: str) -> Any:
    return filter.score(documents(text))[name].item()


ENGLISH = GopherQuality(language="en")


# --- gopher_quality ---------------------------------------------------------------------------------------------------


def test_a_page_of_prose_breaks_no_rule() -> None:
    assert broken(ENGLISH, PAGE) == [[]]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (SENTENCE, "min_words"),
        (PAGE * 10, "max_words"),
        ("to a of b " * 30, "min_word_chars"),
        ("the and internationalizations internationalization " * 30, "max_word_chars"),
        (PAGE + "# " * 30, "max_hash_ratio"),
        (PAGE + "on... " * 20, "max_ellipsis_ratio"),
        ("\n".join(f"- {SENTENCE}" for _ in range(6)), "max_bullet_lines"),
        ("\n".join(f"{SENTENCE}…" for _ in range(6)), "max_ellipsis_lines"),
        (PAGE + "12 34 56 78 " * 10, "min_letter_words"),
        ("ship harbour crew " * 20, "min_stop_words"),
    ],
)
def test_each_rule_finds_its_fault(text: str, rule: str) -> None:
    filter = GopherQuality(language="en", max_words=500)

    assert rule in broken(filter, text)[0]


def test_marks_are_no_words_but_share_in_ratios() -> None:
    assert score(ENGLISH, "one , two ! three", "words") == 3
    assert score(ENGLISH, "one , two ! three", "letter_words") == 3 / 5


def test_a_stop_word_counts_once_and_in_dolma_each_time() -> None:
    assert score(ENGLISH, "the the The and", "stop_words") == 2
    assert score(GopherQuality(language="en", preset="dolma"), "the the The and", "stop_words") == 3


def test_presets_count_words_in_their_own_way() -> None:
    found = {
        way: score(GopherQuality(language="en", preset=way), "a, bb cccccc", "word_chars")
        for way in ("fineweb", "paper", "dolma")
    }

    assert found == {"fineweb": 3.0, "paper": 10 / 3, "dolma": 2.0}


def test_an_option_wins_over_its_preset_and_survives_being_written_down() -> None:
    filter = FinewebQuality(preset="paper", max_repeated_chars=0.01)

    assert filter.max_repeated_chars == 0.01
    assert FinewebQuality(preset="paper").max_repeated_chars == 0.1
    assert FinewebQuality(**filter.options(defaults=False)) == filter
    assert FinewebQuality(preset="paper").options(defaults=False) == {"preset": "paper"}


# --- languages --------------------------------------------------------------------------------------------------------


def test_other_languages_are_not_judged() -> None:
    filter = GopherQuality(language_column="lang")
    docs = documents("zu kurz", "too short", "?", lang=["de", "en-GB", None])

    assert filter.score(docs)["judged"].to_list() == [False, True, False]
    assert filter.score(docs)["judged_as"].to_list() == ["", "en", ""]
    assert broken(filter, "zu kurz", "too short", lang=["de", "en"])[0] == []


def test_without_a_column_documents_are_labelled_here() -> None:
    german = "Das Schiff, das den Hafen verließ, war langsam, und die Mannschaft schlief bis zum Morgen."

    assert GopherQuality().score(documents(german, PAGE))["judged"].to_list() == [False, True]


def test_a_language_has_its_own_stop_words_and_limits() -> None:
    filter = GopherQuality(
        languages=["en", "de"],
        language_column="lang",
        min_words=1,
        per_language={"de": {"min_stop_words": 3, "max_word_chars": None}},
    )
    text = "der Donaudampfschifffahrtskapitän und die Dampfschifffahrtsmannschaft"

    assert filter.score(documents(text, lang=["de"]))["stop_words"].to_list() == [3]
    assert broken(filter, text, text, lang=["de", "en"])[0] == []
    assert "max_word_chars" in broken(filter, text, lang=["en"])[0]


def test_stop_words_can_be_given() -> None:
    filter = GopherQuality(languages=["xh"], language="xh", stop_words={"xh": ["ukuba", "kwaye"]})

    assert score(filter, "ukuba kwaye ukuba", "stop_words") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_language": {"de": {}}}, "not in `languages`"),
        ({"languages": ["de"], "per_language": {"de": {"max_word_char": 3}}}, "did you mean 'max_word_chars'"),
        ({"language": "en", "language_column": "lang"}, "set one of them"),
        ({"languages": ["xh"]}, "no list of stop words is known for 'xh'"),
        ({"preset": "c4"}, "fineweb"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GopherQuality(**options)


def test_a_language_without_a_limit_of_stop_words_needs_none() -> None:
    filter = GopherQuality(languages=["xh"], language="xh", per_language={"xh": {"min_stop_words": None}})

    assert score(filter, "ukuba", "stop_words") == 0


def test_english_needs_no_spacy() -> None:
    program = (
        "import sys, polars as pl\nfrom curate.filters import GopherQuality\n"
        "GopherQuality(language='en', languages=['en', 'de']).score(pl.DataFrame({'text': ['a']}))\n"
        "sys.exit('spacy' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_labels_of_all_models_name_the_same_language() -> None:
    labels = pl.Series(["en", "en-GB", "eng_Latn", "deu_Latn", "zho_Hans", "und", "", None])

    assert primary(labels).to_list() == ["en", "en", "en", "de", "zh", "und", "", ""]


# --- fineweb_quality --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("A heading without a mark\n" * 3 + "Another one", "min_end_marks"),
        ("One.\nTwo.\nThree.\n" + SENTENCE, "max_short_lines"),
        (f"{SENTENCE.strip()}\n{SENTENCE.strip()}", "max_repeated_chars"),
        ("a\nb\nc\nd", "max_line_feeds_per_word"),
        ("", "min_end_marks"),
    ],
)
def test_each_rule_of_fineweb_finds_its_fault(text: str, rule: str) -> None:
    assert rule in broken(FinewebQuality(language="en"), text)[0]


def test_lines_of_prose_break_no_rule_of_fineweb() -> None:
    text = f"{SENTENCE.strip()}\n\nNobody knew where it went, or when it would be back.\n \nThat was all that was said."

    assert broken(FinewebQuality(language="en"), text) == [[]]


def test_marks_of_other_scripts_end_lines() -> None:
    filter = FinewebQuality(language="en")

    assert [score(filter, text, "end_marks") for text in ("यह है।", "文章。", "so:", "end. ")] == [1, 1, 0, 0]


# --- both -------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_a_document_alone_is_scored_as_in_a_batch(values: list[str]) -> None:
    for filter in (ENGLISH, FinewebQuality(language="en")):
        together = filter.score(documents(*values)).rows()

        assert together == [filter.score(documents(value)).row(0) for value in values]


@pytest.mark.parametrize(
    "filter",
    [
        GopherQuality(),
        GopherQuality(preset="dolma", language="en"),
        GopherQuality(languages=["en", "de"], per_language={"de": {"min_words": None}}, language_column="lang"),
        FinewebQuality(language_column="step.label"),
        FinewebQuality(preset="paper", short_line_chars=10),
    ],
)
def test_the_quality_rules_keep_the_contract(filter: Filter) -> None:
    check_filter(filter, pl.DataFrame({"text": [PAGE, "Ein Satz."], "lang": ["en", "de"]}))
