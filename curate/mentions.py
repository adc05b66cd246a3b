"""Tables of how many documents mention something, before and after a run."""

from __future__ import annotations

import polars as pl


def counts(judged: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """Documents that mention each value of a list column, of all and of those kept, with their shares."""
    kept = int(judged["kept"].sum())
    found = _counted(judged, column, name)
    return found.with_columns(
        share=_share("documents_that_mention", judged.height), share_of_kept=_share("kept_that_mention", kept)
    ).select(name, "documents_that_mention", "share", "kept_that_mention", "share_of_kept")


def within_axes(judged: pl.DataFrame) -> pl.DataFrame:
    """Documents that mention each descriptor, with their share of those that mention its axis (Llama 2's table 9)."""
    found = _counted(judged, "terms", "term").with_columns(
        pl.col("term").str.split_exact("/", 1).struct.rename_fields(["axis", "descriptor"]).struct.unnest()
    )
    axes = _counted(judged, "identity", "axis").rename(
        {"documents_that_mention": "of_axis", "kept_that_mention": "of_axis_kept"}
    )
    rows = found.join(axes, on="axis", how="left").with_columns(
        share_of_axis=pl.col("documents_that_mention") / pl.col("of_axis"),
        share_of_axis_kept=pl.when(pl.col("of_axis_kept") > 0)
        .then(pl.col("kept_that_mention") / pl.col("of_axis_kept"))
        .otherwise(0.0),
    )
    return rows.sort("axis", "documents_that_mention", "descriptor", descending=[False, True, False]).select(
        "axis", "descriptor", "documents_that_mention", "share_of_axis", "kept_that_mention", "share_of_axis_kept"
    )


def _counted(judged: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    return (
        judged.select(pl.col(column).alias(name), "kept")
        .explode(name)
        .drop_nulls(name)
        .group_by(name)
        .agg(documents_that_mention=pl.len().cast(pl.Int64), kept_that_mention=pl.col("kept").sum().cast(pl.Int64))
        .sort("documents_that_mention", name, descending=[True, False])
    )


def _share(column: str, of: int) -> pl.Expr:
    return pl.col(column) / of if of else pl.lit(0.0)
