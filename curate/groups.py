"""Groups of documents in a ledger: by a score or by a column of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from curate.errors import UsageError
from curate.filter import nearest
from curate.scores import MAX_LABEL_CHARS, find_scores

MOST_GROUPS = 10_000
NO_GROUP = "(none)"
LONG_GROUP = "(longer values)"  # they could be text of a document


def group_column(schema: Mapping[str, pl.DataType], steps: Sequence[str], by: str) -> str:
    """The ledger's column that `by` names: a score, a step (its first score) or a column of the input."""
    scores = [score.name for score in find_scores(schema, steps)]
    first = next((name for name in scores if name.startswith(f"{by}.")), None)
    for name in (by if by in scores or by.startswith("input.") else None, first, f"input.{by}"):
        if name is not None and name in schema:
            if schema[name].is_float() or schema[name].is_nested():
                raise UsageError(f"{by!r} is {schema[name]}, which makes no groups", hint="name a column of labels")
            return name
    known = [*scores, *(name.removeprefix("input.") for name in schema if name.startswith("input."))]
    near = nearest(by, known)
    hint = f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"
    raise UsageError(f"the ledger has no column {by!r}", hint=hint)


def refuse_many(by: str | None, groups: int) -> None:
    """Refuse a column that tells documents apart instead of grouping them."""
    if groups > MOST_GROUPS:
        raise UsageError(
            f"{by!r} has {groups:,} values, at most {MOST_GROUPS:,} are compared", hint="name a column of fewer"
        )


def label(column: str) -> pl.Expr:
    """A column as short labels: a longer value could be text of a document and is never shown."""
    text = pl.col(column).cast(pl.String)
    long = text.str.len_chars() > MAX_LABEL_CHARS
    return pl.when(long).then(pl.lit(LONG_GROUP)).otherwise(text).fill_null(NO_GROUP)
