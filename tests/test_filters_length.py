"""`length`: limits in characters and words."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from curate.filters import Length
from curate.testing import check_filter

DOCS = pl.DataFrame({"id": ["a", "b", "c"], "text": ["", "Grüße an alle", "漢字 ok"]})


def test_scores_are_characters_words_and_bytes() -> None:
    scores = Length().score(DOCS)

    assert scores.to_dict(as_series=False) == {"chars": [0, 13, 5], "words": [0, 3, 3], "bytes": [0, 15, 9]}
    assert set(scores.dtypes) == {pl.UInt32}


def test_each_limit_that_is_set_is_a_rule_of_its_name() -> None:
    filter = Length(min_chars=5, max_chars=12, min_words=1, max_words=3)
    scored = filter.score(DOCS)
    judged = {name: scored.select(rule.expression()).to_series().to_list() for name, rule in filter.drop_when().items()}

    assert judged == {
        "min_chars": [True, False, False],
        "max_chars": [False, True, False],
        "min_words": [True, False, False],
        "max_words": [False, False, False],
    }


def test_a_limit_of_zero_is_a_limit() -> None:
    assert set(Length(max_words=0).drop_when()) == {"max_words"}


def test_without_limits_it_only_scores() -> None:
    assert Length().drop_when() == {}


def test_limits_are_thresholds() -> None:
    assert Length().thresholds() == {"min_chars", "max_chars", "min_words", "max_words"}


@pytest.mark.parametrize("options", [{"min_chars": -1}, {"min_words": 5, "max_words": 4}, {"max_words": "many"}])
def test_impossible_limits_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Length(**options)


def test_length_keeps_the_contract() -> None:
    check_filter(Length(min_chars=10, max_words=1000))
