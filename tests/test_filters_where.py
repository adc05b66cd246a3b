"""`where`: SQL expressions over columns."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.filters import Where
from curate.filters.where import quote_scores
from curate.testing import check_filter


def dropped(sql: str, **columns: list[object]) -> list[bool | None]:
    docs = pl.DataFrame({name.replace("__", "."): values for name, values in columns.items()})
    return docs.select(Where(drop_if=sql).drop_when()["drop_if"]).to_series().to_list()


def test_a_number_is_compared() -> None:
    assert dropped("edu_score < 3", edu_score=[1.0, 3.0, 4.5]) == [True, False, False]


def test_a_score_of_an_earlier_step_is_read_by_its_dotted_name() -> None:
    labels = ["de", "en", "fr"]

    assert dropped("language.label = 'de'", language__label=labels) == [True, False, False]
    assert dropped("language.label NOT IN ('de', 'fr')", language__label=labels) == [False, True, False]


def test_columns_are_joined_with_and_or_not() -> None:
    columns: dict[str, list[object]] = {"language__confidence": [0.2, 0.9, 0.2], "source": ["web", "web", "books"]}

    assert dropped("language.confidence < 0.5 AND NOT source = 'books'", **columns) == [True, False, False]
    assert dropped("language.confidence > .5 OR source LIKE 'book%'", **columns) == [False, True, True]


def test_null_stays_null_so_that_the_engine_quarantines_it() -> None:
    assert dropped("edu_score < 3", edu_score=[1, None]) == [True, None]
    assert dropped("coalesce(edu_score, 0) < 3", edu_score=[1, None]) == [True, True]
    assert dropped("edu_score is null", edu_score=[1, None]) == [False, True]


@pytest.mark.parametrize(
    ("sql", "quoted"),
    [
        ("language.label = 'de'", "\"language.label\" = 'de'"),
        ("a.b.c > 1", '"a.b.c" > 1'),
        ("x = 'language.label'", "x = 'language.label'"),
        ("x = 'it''s a.b' AND a.b = 1", "x = 'it''s a.b' AND \"a.b\" = 1"),
        ('"language.label" = 1', '"language.label" = 1'),
        ("`a.b` = 1.5", "`a.b` = 1.5"),
        ("x > 1.5e3 AND y < .5", "x > 1.5e3 AND y < .5"),
        ("größe.wert > 1 -- a.b", '"größe.wert" > 1 -- a.b'),
        ("step_2.score_1>0", '"step_2.score_1">0'),
    ],
)
def test_only_dotted_names_outside_quotes_are_quoted(sql: str, quoted: str) -> None:
    assert quote_scores(sql) == quoted


@given(st.text(st.sampled_from("ab.'\"` 1-\n/*é=")))
def test_quoting_adds_only_quotes(sql: str) -> None:
    assert quote_scores(sql).replace('"', "") == sql.replace('"', "")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "at least 1 character"),
        ("edu_score <", "is not an SQL expression"),
        ("edu_score < 3 4", "is not an SQL expression"),
        ("edu_score < 3 language", "something follows the expression"),
        ("1 = 1", "reads no column"),
        ("true", "reads no column"),
        ("SELECT * FROM corpus", "not a query with SELECT"),
        ("x = (SELECT 1)", "not a query with SELECT"),
        ("avg(edu_score) > 3", "AVG looks at more than one document"),
        ("x > MAX (y)", "MAX looks at more than one document"),
        ("sum(x) OVER (PARTITION BY y) > 3", "SUM looks at more than one document"),
        ("count(*) > x", "COUNT looks at more than one document"),
        ("foo(x) > 1", "is not an SQL expression"),
    ],
)
def test_what_is_no_rule_is_refused_in_plain_words(sql: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Where(drop_if=sql)


def test_a_column_may_have_the_name_of_an_aggregate() -> None:
    assert dropped("count > 3 and max = 1", count=[4, 4], max=[1, 2]) == [True, False]


def test_the_expression_is_a_threshold() -> None:
    assert Where(drop_if="x > 1").thresholds() == {"drop_if"}


@pytest.mark.parametrize("sql", ["edu_score < 3", "language.label = 'de'", "length(text) < 10", "not is_good"])
def test_where_keeps_the_contract(sql: str) -> None:
    check_filter(Where(drop_if=sql))
