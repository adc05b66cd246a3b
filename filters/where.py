"""Drop documents by an SQL expression over any column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import polars as pl
from pydantic import field_validator

from curate.filter import Filter, threshold

# Quoted text, comments, numbers and names: what has to be told apart to quote dotted names and nothing else.
_TOKEN = re.compile(
    r"""
    (?P<string>'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
  | (?P<comment>--[^\n]*|/\*.*?\*/)
  | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)

# What SQL computes from more than the row at hand; a document's fate may not depend on which others are beside it.
_AGGREGATES = frozenset(
    {
        "array_agg", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "corr", "count", "covar",
        "covar_pop", "covar_samp", "cume_dist", "dense_rank", "every", "first", "first_value", "lag", "last",
        "last_value", "lead", "listagg", "max", "mean", "median", "min", "mode", "nth_value", "ntile",
        "percent_rank", "quantile_cont", "quantile_disc", "rank", "row_number", "stddev", "stddev_pop",
        "stddev_samp", "string_agg", "sum", "var", "var_pop", "var_samp", "variance",
    }
)  # fmt: skip


class Where(Filter, name="where"):
    """Drop the documents for which an SQL expression over their columns is true."""

    drop_if: str = threshold(
        min_length=1,
        description=(
            "SQL expression; true drops the document. Columns: the input's by name, scores as `step.score`: "
            "`edu_score < 3`, `language.label = 'de'`. A document for which it is null goes to quarantine: write "
            "`coalesce(edu_score, 0) < 3` where values may be missing."
        ),
    )

    @field_validator("drop_if")
    @classmethod
    def _check(cls, sql: str) -> str:
        parse(sql)
        return sql

    def drop_when(self) -> dict[str, pl.Expr]:
        """One rule, `drop_if`."""
        return {"drop_if": parse(self.drop_if)}


def parse(sql: str) -> pl.Expr:
    """The polars expression of an SQL expression, in which `step.score` names a column; ValueError if it is not one."""
    for kind, word in _tokens(sql):
        if kind == "name" and word.lower() == "select":
            raise ValueError(f"`{sql}`: an expression over columns is wanted, not a query with SELECT")
        if word.lower() in _AGGREGATES if kind == "call" else word.lower() == "over":
            raise ValueError(f"`{sql}`: {word.upper()} looks at more than one document; compare a column with a number")
    try:
        expression = pl.sql_expr(quote_scores(sql))
        columns = expression.meta.root_names()
    except pl.exceptions.PolarsError as error:
        message = str(error).splitlines()[0]
        raise ValueError(f"`{sql}` is not an SQL expression: {message}") from error
    if not columns:
        raise ValueError(f"`{sql}` reads no column: it would drop every document or none")
    if not expression.meta.eq(expression.meta.undo_aliases()):
        raise ValueError(f"`{sql}`: something follows the expression; join conditions with AND or OR")
    return expression


def quote_scores(sql: str) -> str:
    """Put `step.score` in double quotes, which SQL would read as a field of a structure; quoted text stays as it is."""
    return "".join(
        f'"{word}"' if kind == "name" and "." in word else word
        for kind, word in ((str(match.lastgroup), match[0]) for match in _TOKEN.finditer(sql))
    )


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    """Names, and calls (a name before a bracket), outside quoted text and comments."""
    matches: list[Any] = [match for match in _TOKEN.finditer(sql) if not match[0].isspace()]
    for match, after in zip(matches, [*matches[1:], None], strict=True):
        if match.lastgroup == "name":
            yield ("call" if after is not None and after[0] == "(" else "name"), match[0]
