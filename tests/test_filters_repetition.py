"""`gopher_repetition`: repeated lines, paragraphs and runs of words."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
import text_reference as python
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.filter import Limit
from curate.filters import GopherRepetition
from curate.testing import check_filter

PROSE = (
    "The harbour was quiet that morning, and nobody had yet opened the shutters of the small shop by the water. "
    "Somewhere behind it a dog barked twice; then even the gulls were still."
)


def documents(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"id": [str(n) for n in range(len(texts))], "text": list(texts)})


def broken(filter: GopherRepetition, *texts: str) -> list[list[str]]:
    """The rules that each text breaks."""
    scores = filter.score(documents(*texts))
    rules = {name: rule.expression() if isinstance(rule, Limit) else rule for name, rule in filter.drop_when().items()}
    found = scores.select(**rules).to_dicts()
    return [[name for name, value in row.items() if value] for row in found]


def test_prose_breaks_no_rule() -> None:
    assert broken(GopherRepetition(language="en"), PROSE) == [[]]


def test_repeated_lines_break_the_rules_of_lines() -> None:
    rules = broken(GopherRepetition(language="en"), f"{PROSE}\nHome\nHome\nHome\nHome")[0]

    assert "max_line_share" in rules
    assert "max_paragraph_share" not in rules


def test_repeated_paragraphs_break_the_rules_of_paragraphs() -> None:
    assert {"max_paragraph_share", "max_paragraph_chars"} <= set(
        broken(GopherRepetition(language="en"), f"{PROSE}\n\n{PROSE}\n\n{PROSE}")[0]
    )


def test_a_run_of_words_is_counted_with_its_spaces() -> None:
    scores = GopherRepetition(language="en").score(documents("to be or not to be"))

    assert scores["top_2_gram"].to_list() == [2 * len("to be") / len("to be or not to be")]


def test_copies_after_the_first_count_unless_the_paper_or_dolma_counts() -> None:
    text = "a b c d e x a b c d e"
    found = {
        way: GopherRepetition(language="en", preset=way).score(documents(text))["duplicate_5_gram"].item()
        for way in ("fineweb", "paper", "dolma")
    }

    assert found == {"fineweb": 5 / 21, "paper": 10 / 11, "dolma": 10 / 35}


def test_dolma_has_no_rule_of_paragraphs() -> None:
    assert not [name for name in GopherRepetition(preset="dolma").drop_when() if "paragraph" in name]


def test_every_published_limit_is_a_threshold() -> None:
    limits = {name: rule.limit for name, rule in GopherRepetition().drop_when().items() if isinstance(rule, Limit)}

    assert list(limits.values()) == [0.3, 0.3, 0.2, 0.2, 0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
    assert set(limits) < GopherRepetition().thresholds()


def test_a_rule_can_be_switched_off() -> None:
    assert "max_line_share" not in GopherRepetition(max_line_share=None).drop_when()


def test_null_is_an_empty_text() -> None:
    docs = pl.DataFrame({"id": ["a"], "text": pl.Series([None], dtype=pl.String)})

    assert GopherRepetition(language="en").score(docs)["line_share"].to_list() == [0.0]


TEXT = st.lists(st.sampled_from(["a", "b", "漢", "the end.", "\n", "\n\n", "😀", "ж", "1,2"]), max_size=40).map(
    " ".join
)


@settings(deadline=None)
@given(st.lists(TEXT | st.text(max_size=40), min_size=1, max_size=5))
def test_a_document_alone_is_judged_as_in_a_batch(values: list[str]) -> None:
    filter = GopherRepetition(language="en")
    together = filter.score(documents(*values)).rows()

    assert together == [filter.score(documents(value)).row(0) for value in values]
    for row, value in zip(together, values, strict=True):
        assert row[:13] == pytest.approx(python.repetition(value))


@pytest.mark.parametrize("options", [{}, {"preset": "paper"}, {"preset": "dolma", "language_column": "lang"}])
def test_gopher_repetition_keeps_the_contract(options: dict[str, Any]) -> None:
    docs = pl.DataFrame({"text": [PROSE, "a b a b a b"], "lang": ["en", "de"]})

    check_filter(GopherRepetition(**options), docs)
