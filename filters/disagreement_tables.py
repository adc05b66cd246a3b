"""What a disagreement step adds to the report: agreement overall, in and across groups, and whose answers stand out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.agreement import Level, alpha, group_agreement, percent_agreement
from curate.filters.disagreement import long_form, rater_quality

MOST = 100  # records, and raters, that are listed
LOW_ALPHA = 0.667  # Krippendorff 2004: below it no conclusion should be drawn


def tables(ledger: pl.LazyFrame, level: Level, least: int) -> dict[str, pl.DataFrame]:
    """The tables `agreement`, `rater_groups`, `flips` and `raters` of the records that were judged."""
    records = ledger.filter(pl.col("ratings_given").is_not_null()).collect()
    long = long_form(records["rated"]).rename({"at": "item"})
    raters = rater_quality(long, least)
    rows = list(_measures(records, long, raters, level))
    measures = pl.DataFrame(
        rows, schema={"measure": pl.String, "value": pl.Float64, "note": pl.String}, orient="row"
    ).with_columns(pl.col("value").fill_nan(None))
    flips = records.filter("flips").select("id", "majority", "group_majority", "ratings_given").head(MOST)
    return {
        "agreement": measures,
        "rater_groups": _groups(long, level),
        "flips": flips,
        "raters": raters.sort("failed", "agreement", "rater", descending=[True, False, False]).head(MOST),
    }


def _measures(
    records: pl.DataFrame, long: pl.DataFrame, raters: pl.DataFrame, level: Level
) -> Iterator[tuple[str, Any, str | None]]:
    size, given = len(records), records["ratings_given"]
    yield "records", size, None
    yield "records without a rating", int((given == 0).sum()), None
    yield "records with a single rating (P51)", int((given == 1).sum()), "their label rests on one person"
    yield "ratings", len(long), None
    yield "raters", len(raters), None
    found = alpha(long["item"].to_numpy(), _values(long, level), level)
    low = f"below {LOW_ALPHA}: low agreement (P50); it may be a difference of views" if found < LOW_ALPHA else None
    yield f"Krippendorff's alpha, {level}", found, low
    share = percent_agreement(long["item"].to_numpy(), long["value"].to_numpy())
    yield "share of equal pairs of ratings, by record", share, None
    flips = int(records["flips"].sum())
    yield "records whose winner flips when every group counts the same", flips, f"{flips / max(size, 1):.1%} of records"
    yield "raters who failed (P52)", int(raters["failed"].sum()), None


def _groups(long: pl.DataFrame, level: Level) -> pl.DataFrame:
    """`group, ratings, inside, across, association` where raters have groups."""
    named = long.filter(pl.col("group") != "")
    found = group_agreement(named["item"].to_numpy(), _values(named, level), named["group"].to_numpy(), level)
    kinds = {
        "group": pl.String, "ratings": pl.Int64, "inside": pl.Float64, "across": pl.Float64, "association": pl.Float64,
    }  # fmt: skip
    columns = dict(zip(kinds, found, strict=True))
    return pl.DataFrame(columns, schema=kinds).with_columns(pl.col("inside", "across", "association").fill_nan(None))


def _values(long: pl.DataFrame, level: Level) -> NDArray[Any]:
    """Values as numbers, NaN for what is none, unless they are nominal."""
    if level == "nominal":
        return long["value"].to_numpy()
    numbers = long["value"].cast(pl.Float64, strict=False).fill_null(np.nan)
    return numbers.to_numpy()
