"""A finished run as an audit sees it: its ledger with the number of the deciding step, and its texts read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.audit_counts import Observed
from curate.errors import CurateError
from curate.pipeline import Pipeline
from curate.scores import find_scores
from curate.turns import PARTS

if TYPE_CHECKING:
    from curate.run import Run


def observe(run: Run) -> Observed:
    """The documents of a run's ledger, the steps that they went through, and which step makes which column."""
    steps = [step["name"] for step in run.manifest["steps"]]
    ledger = run.ledger
    schema = ledger.collect_schema()
    since: dict[str, int] = {}
    names: dict[str, str] = {}
    for column in find_scores(schema, steps):
        if column.step is not None:
            since[column.name] = steps.index(column.step)
            names.setdefault(column.step, column.name)
    at = pl.col("step").replace_strict(steps, list(range(len(steps))), default=len(steps), return_dtype=pl.Int16)
    frame = ledger.with_columns(
        pl.when("kept").then(pl.lit(len(steps), pl.Int16)).otherwise(at).alias("__at"),
        pl.col("bytes").fill_null(0).alias("__bytes"),
    )
    by_design, notes = _by_design(run, steps, names, schema)
    return Observed(frame, tuple(steps), since, by_design, names, run.manifest.get("limits", []), notes)


def _by_design(
    run: Run, steps: Sequence[str], names: dict[str, str], schema: Any
) -> tuple[dict[str, frozenset[str]], tuple[str, ...]]:
    """For each column, the steps whose rules read it, or that balance it: what they remove is no side effect."""
    try:
        pipeline = Pipeline.from_resolved(run.manifest["pipeline"], run.base)
    except CurateError as error:
        note = f"The pipeline's filters cannot be loaded ({error.message}): what is by design is not marked."
        return {}, (note,)
    found: dict[str, set[str]] = {}
    for step in pipeline.steps:
        rules = step.filter.drop_when().values()
        read = [rule.expression() if not isinstance(rule, pl.Expr) else rule for rule in rules]
        roots = [root for expression in read for root in expression.meta.root_names()]
        for name in (*roots, *_balanced(step.filter)):
            own = [f"{step.name}.{part}.{name}" for part in PARTS[step.on]] or [f"{step.name}.{name}"]
            for columns in (own, [name], [f"input.{name}"], [names.get(name, "")]):
                if columns[0] in schema:
                    for column in columns:
                        found.setdefault(column, set()).add(step.name)
                    break
    return {column: frozenset(own) for column, own in found.items()}, ()


def _balanced(filter: Any) -> tuple[str, ...]:
    """The columns that a step aims at by its option `by`."""
    by = getattr(filter, "columns", None) or getattr(filter, "by", ())
    return (by,) if isinstance(by, str) else tuple(name for name in by or () if isinstance(name, str))


def texts_of(run: Run, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The original texts of some documents: `id`, `text`."""
    from curate.lookup import records_of

    for found in records_of(run, rows.select("file", "row")):
        texts = found.select(
            pl.col("__file").alias("file"), pl.col("__row").alias("row"), pl.col("__text").alias("text")
        )
        yield rows.join(texts, on=["file", "row"], how="inner").select("id", "text")
