"""Which of several documents stays: the `keep` and `scope` options of filters that look for duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import polars as pl

from curate.errors import UsageError
from curate.filter import as_tuples, nearest

PLACE = ["chunk", "row"]
WORDS = ("earliest", "longest")

Order = Literal["highest", "lowest"]
Priority = str | dict[str, Order | tuple[str | int | float | bool, ...]]

KEEP = (
    "which of them stays, most important first: `earliest` in the input, `longest` in UTF-8 bytes, `{column: [best, "
    "next, ...]}`, `{column: highest}`, `{column: lowest}`, or a column alone: its highest number, or its first text "
    "in alphabetical order; what is still equal goes to the earliest"
)
SCOPE = (
    "only documents with the same value of this column (an input column, or `step.score`) are compared; a missing "
    "value is a value of its own"
)

BETWEEN = (
    "only documents with different values of this column (an input column, or `step.score`) are compared: with "
    "`between: split, keep: [{split: [test, train]}]` documents of train are dropped that are similar to one of test, "
    "and none for another of train; a missing value is a value of its own"
)


def read_keep(keep: Any) -> Any:
    """The option as a tuple of priorities; ValueError for what makes no sense."""
    entries = list(keep) if isinstance(keep, list | tuple) else [keep]
    for place, entry in enumerate(entries):
        if isinstance(entry, Mapping) and not all(entry.values()):
            raise ValueError(f"name the values of {', '.join(map(str, entry))} in order of preference")
        if entry == "earliest" and place < len(entries) - 1:
            raise ValueError("nothing after `earliest` has an effect: no two documents are equally early")
    return as_tuples(entries)


def columns_of(keep: Iterable[Priority]) -> Iterator[str]:
    """The columns that priorities name."""
    for entry in keep:
        if isinstance(entry, dict):
            yield from entry
        elif entry not in WORDS:
            yield entry


def scores_read(scope: str | None, keep: Iterable[Priority], between: str | None = None) -> tuple[str, ...]:
    """The scores of earlier steps among the columns of `scope`, `keep` and `between`."""
    names = [*(name for name in (scope, between) if name is not None), *columns_of(keep)]
    return tuple(dict.fromkeys(name for name in names if "." in name))


def ranks(docs: pl.DataFrame, keep: Iterable[Priority]) -> list[pl.Series]:
    """One column `rank_0`, `rank_1`, ... per priority, lower is better and null is worst; `earliest` needs none."""
    found: list[pl.Expr] = []
    for entry in keep:
        if entry == "longest":
            found.append(-pl.col("text").str.len_bytes().cast(pl.Int64))
        elif isinstance(entry, dict):
            found += [_rank(docs, name, order) for name, order in entry.items()]
        elif entry != "earliest":
            numbers = column(docs, entry).dtype.is_numeric() or docs[entry].dtype == pl.Boolean
            found.append(_rank(docs, entry, "highest") if numbers else pl.col(entry).cast(pl.String))
    return docs.select(rank.alias(f"rank_{place}") for place, rank in enumerate(found)).get_columns()


def column(docs: pl.DataFrame, name: str) -> pl.Series:
    """A column of the documents; UsageError with the nearest name when there is none."""
    if name not in docs.columns:
        near = nearest(name, [*docs.columns, *WORDS])
        raise UsageError(f"there is no column {name!r}", hint=f"did you mean {near!r}?" if near else None)
    return docs[name]


def typed(docs: pl.DataFrame, name: str, wanted: pl.DataType) -> pl.Series:
    """A column as another type; UsageError where one of them is a list and the other is not."""
    given = column(docs, name)
    if given.dtype != pl.Null and isinstance(given.dtype, pl.List) != isinstance(wanted, pl.List):
        raise UsageError(
            f"the column {name!r} is {given.dtype}, wanted {wanted}",
            hint="name another column; steps with `on: each_turn` or `on: assistant` make lists, `on: both` does not",
        )
    return given.cast(wanted)


def _rank(docs: pl.DataFrame, name: str, order: Order | tuple[Any, ...]) -> pl.Expr:
    column(docs, name)
    if isinstance(order, tuple):
        places = {_as_text(value): place for place, value in enumerate(dict.fromkeys(order))}
        value = pl.col(name).cast(pl.String)
        return value.replace_strict(places, default=len(places), return_dtype=pl.Int64).fill_null(len(places))
    number = pl.col(name).cast(pl.Float64).fill_nan(None)
    number = pl.when(number.is_finite()).then(number)
    return -number if order == "highest" else number


def _as_text(value: str | int | float | bool) -> str:
    """A value as polars writes it when it casts a column to strings."""
    return str(value).lower() if isinstance(value, bool) else str(value)
