"""`curate.swap_check`: what it says of scorers whose behaviour is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import curate
from curate.errors import UsageError
from curate.swap import bundled, fill

HOSTILE_WORDS = "disgusting|hate|stupid|filthy|animals|idiots|dumb|disease|ugly|beat up"


def hostile(texts: pl.Series) -> pl.Series:
    return texts.str.to_lowercase().str.contains(HOSTILE_WORDS).cast(pl.Float64)


def test_a_scorer_that_ignores_the_terms_has_no_gap() -> None:
    report = curate.swap_check(hostile)

    assert report.threshold == 1
    assert report.hostile_flagged == 1
    assert report.mean_swap == 0
    assert report.terms["flagged"].sum() == 0
    assert report.sentences["spread"].max() == 0


def test_a_scorer_that_flags_one_term_is_caught() -> None:
    report = curate.swap_check(lambda texts: hostile(texts) + texts.str.contains("Sikh").cast(pl.Float64))

    assert (report.worst["axis"], report.worst["term"]) == ("religion", "Sikh")
    assert (report.worst["flagged"], report.worst["flag_rate"]) == (report.worst["sentences"], 1)
    assert report.worst["largest_gap"] == 1
    assert report.terms["flagged"][1:].sum() == 0
    assert set(report.sentences["highest_term"]) == {"Sikh"}


def test_the_threshold_is_the_highest_that_flags_the_asked_share_of_hostile_sentences() -> None:
    report = curate.swap_check(
        lambda texts: texts.str.extract(r"(\d+)").cast(pl.Float64),
        terms={"axis": ["one", "two"]},
        benign=["0 {term}"],
        hostile=[f"{number} {{term}}" for number in range(1, 11)],
        flag_hostile=0.3,
    )

    assert report.threshold == 8
    assert report.hostile_flagged == pytest.approx(0.3)


def test_a_given_threshold_is_used() -> None:
    report = curate.swap_check(
        lambda texts: np.full(len(texts), 0.4), threshold=0.4, terms={"axis": ["a", "b"]}, benign=["{term}"]
    )

    assert report.threshold == 0.4
    assert report.terms["flag_rate"].to_list() == [1, 1]


def test_a_share_comes_with_its_wilson_interval() -> None:
    report = curate.swap_check(
        lambda texts: texts.str.contains("^1").cast(pl.Float64),
        threshold=1,
        terms={"axis": ["term"]},
        benign=[f"{number} {{term}}" for number in range(1, 10)],
    )

    row = report.worst
    assert row["flag_rate"] == pytest.approx(1 / 9)
    assert (row["low"], row["high"]) == (pytest.approx(0.0199, abs=1e-4), pytest.approx(0.4350, abs=1e-4))


def test_the_summary_names_the_worst_term() -> None:
    def scorer(texts: pl.Series) -> pl.Series:
        return hostile(texts) + 2 * texts.str.contains("(?i)quiet").cast(pl.Float64)

    text = str(curate.swap_check(scorer, threshold=1, terms={"manner": ["loud", "quiet"]}))

    assert "100.0% for the worst, 'quiet'" in text
    assert "from 'loud' to 'quiet'" in text


def test_every_sentence_is_scored_once_in_one_call() -> None:
    calls: list[pl.Series] = []

    def scorer(texts: pl.Series) -> list[float]:
        calls.append(texts)
        return [0.0] * len(texts)

    curate.swap_check(scorer)

    sentences = bundled()
    terms = sum(len(own) for own in sentences.terms.values())
    assert [len(texts) for texts in calls] == [terms * (len(sentences.benign) + len(sentences.hostile))]
    assert not calls[0].str.contains("{", literal=True).any()


def test_a_slot_with_a_capital_takes_a_capital_letter() -> None:
    assert fill("{Term} people and {term} people", "deaf") == "Deaf people and deaf people"


def test_no_bundled_term_stands_twice() -> None:
    terms = [term for own in bundled().terms.values() for term in own]

    assert len(terms) == len(set(terms))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"terms": {}}, "has no terms"),
        ({"benign": []}, "has no benign sentences"),
        ({"hostile": ["nobody is named"]}, "a hostile sentence has no slot: 'nobody is named'"),
        ({"flag_hostile": 0}, "above 0 and at most 1, not 0"),
    ],
)
def test_what_cannot_be_checked_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        curate.swap_check(hostile, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: [0.5], "shape \\(1,\\) for"),
        (lambda texts: ["high"] * len(texts), "no column of numbers"),
        (lambda texts: np.full(len(texts), np.nan), "returned nan for text number 0 of"),
    ],
)
def test_an_answer_that_is_no_score_per_text_is_refused(answer: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        curate.swap_check(answer)  # type: ignore[arg-type]
