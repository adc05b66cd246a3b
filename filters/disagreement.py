"""Keep what raters disagree on as soft labels and weights, and report who agrees with whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import orjson
import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.agreement import Level
from curate.errors import UsageError
from curate.filter import Corpus, CorpusFilter, threshold
from curate.filters.keep import PLACE, column, typed

RATED = pl.List(pl.Struct({"rater": pl.String, "group": pl.String, "value": pl.String}))
LONG = {**dict.fromkeys(PLACE, pl.Int64), "rater": pl.String, "group": pl.String, "value": pl.String}
WHISKER, LEAST_GAP = 1.5, 0.1  # Tukey 1977; less than a gap of 0.1 is no failure where raters are much alike
CHANCE = 0.001
MISSING = ("", "NaN", "nan")  # as polars and pandas write what is not there
DECIDES = {"failed_raters": pl.UInt32, "failed_share": pl.Float64}


class Disagreement(CorpusFilter, name="disagreement"):
    """Score how raters disagree: a soft label, its weight, and whether who is asked decides who wins.

    Nothing is dropped for disagreement alone. With `max_entropy` records are dropped on which raters disagree so much
    and of whose ratings more than `max_failed_share` come from raters who failed: who always gave the same value
    where that is no accident, or agree far less than other raters do, with all others and with those of their own
    group. Ratings are a list of `{rater, group, value}`, or JSON text of one, or one column for each rater. A value
    that is null, NaN or empty is no rating; raters without a group count as one group.
    """

    source: ClassVar[str] = (
        "soft label (k + 1/2) / (n + 1) and weight n / (n + 2): Jeffreys 1946 and Laplace; alpha: Krippendorff 2011; "
        "groups: Wong et al. 2021, Prabhakaran et al. 2024; constant answers: DICES, arXiv 2306.11247"
    )
    scores: ClassVar[dict[str, str]] = {
        "ratings_given": "how many ratings the record has",
        "soft_label": "(k + 1/2) / (n + 1), where k of n ratings are positive; 1/2 without ratings",
        "weight": "n / (n + 2): 0 without ratings, near 1 with many",
        "entropy": "of the values given, in bits; 0 where all are the same, null without ratings",
        "majority": "the value that most raters gave; null for a tie",
        "group_majority": "the value with most support where every group of raters counts the same; null for a tie",
        "flips": "whether the two differ; false where either is null",
        "rated": "the ratings themselves: rater, group and value",
        "failed_raters": "how many ratings come from raters who failed",
        "failed_share": "the share of ratings from raters who failed; null without ratings",
    }

    ratings: str | None = Field(
        default=None, examples=["ratings"], description="the column with a list of `{rater, group, value}` by record"
    )
    columns: tuple[str, ...] = Field(default=(), description="one column for each rater, instead of `ratings`")
    groups: dict[str, str] = Field(
        default={}, examples=[{"true": "a group"}], description="with `columns`: the group of the rater of each"
    )
    positive: tuple[str, ...] = Field(
        default=("1", "true", "yes"),
        min_length=1,
        description="values that count as positive for the soft label, without regard to case",
    )
    min_positive: float | None = Field(
        default=None, description="the least number that counts as positive, instead of `positive`"
    )
    level: Level = Field(
        default="nominal", description="what alpha takes values for: `nominal`, or numbers, `ordinal` or `interval`"
    )
    max_entropy: float | None = threshold(
        None, ge=0, description="drop records with more entropy if raters failed, too; null drops none"
    )
    max_failed_share: float = threshold(
        0.5, ge=0, le=1, description="the share of ratings by raters who failed above which `max_entropy` counts"
    )
    least_ratings: int = Field(default=10, ge=1, description="ratings from which a rater is judged")

    @field_validator("columns", "positive", mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        entries = given if isinstance(given, list | tuple) else [given]
        return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in entries)

    @model_validator(mode="after")
    def _one_source(self) -> Disagreement:
        if (self.ratings is None) == (not self.columns):
            raise ValueError("give either `ratings`, the column with a list, or `columns`, one for each rater")
        for name in self.groups:
            if name not in self.columns:
                raise ValueError(f"`groups` names {name!r}, which is not among `columns`")
        return self

    def reads(self) -> tuple[str, ...]:
        """The scores of earlier steps among the columns of ratings."""
        return tuple(name for name in (self.ratings, *self.columns) if name is not None and "." in name)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Count the ratings of each record, and say who wins."""
        rated = self.rated(docs)
        long = long_form(rated)
        counted = long.group_by("at").agg(ratings_given=pl.len(), k=self._positive().sum())
        each = long.group_by("at", "value").agg(support=pl.len().cast(pl.Float64)).sort("at", "value")
        part = pl.col("support") / pl.col("support").sum()
        bits = each.group_by("at", maintain_order=True).agg(entropy=(part * part.log(2)).sum().abs())
        size = pl.len().over("at", "group")
        groups = pl.struct("at", "group").n_unique().over("at")
        equal = (
            long.with_columns(support=1 / (size * groups))
            .sort("at", "value", "support")
            .group_by("at", "value", maintain_order=True)
            .agg(pl.col("support").sum().round(9))
        )
        every = pl.DataFrame({"at": pl.int_range(len(docs), dtype=pl.UInt32, eager=True)})
        for found in (counted, bits, winners(each, "majority"), winners(equal, "group_majority")):
            every = every.join(found, on="at", how="left", maintain_order="left")
        n, k = pl.col("ratings_given").fill_null(0), pl.col("k").fill_null(0)
        return every.select(
            n.cast(pl.UInt32),
            (k + 0.5).truediv(n + 1).alias("soft_label"),
            n.truediv(n + 2).alias("weight"),
            "entropy",
            "majority",
            "group_majority",
            (pl.col("majority") != pl.col("group_majority")).fill_null(False).alias("flips"),
        ).with_columns(rated.alias("rated"))

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """The ratings: rater and value."""
        return self.rated(docs).alias("rated").to_frame()

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """How many ratings of each record come from raters who failed."""
        frames = [frame for task in corpus.map_sketches(placed_ratings) for frame in task]
        long = pl.concat(frames) if frames else pl.DataFrame(schema=LONG)
        raters = rater_quality(long.with_columns(item=pl.struct(PLACE).rank("dense")), self.least_ratings)
        failed = pl.col("rater").is_in(raters.filter("failed")["rater"].implode()).fill_null(False)
        counted = long.group_by(PLACE).agg(failed_raters=failed.sum().cast(pl.UInt32), size=pl.len()).sort(PLACE)
        share = pl.col("failed_raters") / pl.col("size")
        return counted.select(*PLACE, "failed_raters", share.alias("failed_share")).lazy()

    def decides(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """The columns of `decide`."""
        return dict(DECIDES)

    def drop_when(self) -> dict[str, pl.Expr]:
        """`unreliable`: raters disagree above max_entropy, and more than max_failed_share of them failed."""
        if self.max_entropy is None:
            return {}
        disputed = pl.col("entropy").fill_null(0.0) > self.max_entropy
        return {"unreliable": disputed & (pl.col("failed_share").fill_null(0.0) > self.max_failed_share)}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`agreement`; `rater_groups`; `flips`: the first 100 records that flip; `raters`: the first 100 by trouble."""
        from curate.filters.disagreement_tables import tables

        return tables(ledger, self.level, self.least_ratings)

    def rated(self, docs: pl.DataFrame) -> pl.Series:
        """The ratings of each record as lists of rater, group and value; a rating without a value is none."""
        if self.ratings is None:
            each = [
                pl.struct(
                    rater=pl.lit(name),
                    group=pl.lit(self.groups.get(name), pl.String),
                    value=typed(docs, name, pl.String()),
                )
                for name in self.columns
            ]
            lists = docs.select(pl.concat_list(each).alias("rated")).to_series()
        else:
            lists = _as_ratings(column(docs, self.ratings))
        rater, group, value = (pl.element().struct.field(name) for name in ("rater", "group", "value"))
        value = value.str.strip_chars()
        said = pl.when(~value.is_in(MISSING)).then(value)
        known = pl.element().filter(pl.element().struct.field("value").is_not_null())
        rebuilt = pl.col("rated").list.eval(pl.struct(rater, group, said.alias("value"))).list.eval(known)
        return lists.cast(RATED).to_frame("rated").select(rebuilt.fill_null(pl.lit([], dtype=RATED)))["rated"]

    def _positive(self) -> pl.Expr:
        """Whether a value is positive."""
        if self.min_positive is not None:
            return (
                pl.col("value").cast(pl.Float64, strict=False).fill_nan(None).fill_null(float("-inf"))
                >= self.min_positive
            )
        return pl.col("value").str.to_lowercase().is_in([one.lower() for one in self.positive])


# --- ratings as rows --------------------------------------------------------------------------------------------------


def long_form(rated: pl.Series) -> pl.DataFrame:
    """One row for each rating: `at`, its record's place, then rater, group (empty when there is none) and value.

    Whole numbers are written without `.0`, so that 1 and 1.0 are one value.
    """
    return (
        pl.DataFrame({"at": pl.int_range(len(rated), dtype=pl.UInt32, eager=True), "rated": rated})
        .explode("rated", empty_as_null=False, keep_nulls=False)
        .unnest("rated")
        .with_columns(
            pl.col("group").fill_null(""), pl.col("value").str.replace(r"\A(-?\d+)\.0\z", "${1}", literal=False)
        )
    )


def placed_ratings(task: int, sketches: Iterator[pl.DataFrame]) -> list[pl.DataFrame]:
    """The ratings of some chunks, a row each, with the place of their record."""
    found = []
    for frame in sketches:
        places = frame.select(*PLACE).with_row_index("at")
        found.append(long_form(frame["rated"]).join(places, on="at", maintain_order="left").select(*LONG))
    return found


def winners(support: pl.DataFrame, name: str) -> pl.DataFrame:
    """The value with most support of each record, null for a tie."""
    most = support.filter(pl.col("support") == pl.col("support").max().over("at"))
    first = most.group_by("at").agg(pl.col("value").first(), values=pl.len())
    return first.select("at", pl.when(pl.col("values") == 1).then("value").alias(name))


def rater_quality(long: pl.DataFrame, least: int) -> pl.DataFrame:
    """`rater, ratings, agreement, in_group, constant, outlier, failed` of every rater that has a name, sorted.

    `long` has item, rater, group and value. Constant: always the same value, where as many ratings drawn from all would
    be so in less than one of a thousand cases. Outlier: agreement with others, on average, or that with others of the
    own group where it is higher, is more than 1.5 quartile ranges (at least 0.1) below the lower quartile of raters: a
    group with a view of its own is no failure. Both need so many ratings.
    """
    named = long.filter(pl.col("rater").is_not_null())
    agreement = _agreement(named, "agreement").join(
        _agreement(named.with_columns(item=pl.struct("item", "group").rank("dense")), "in_group"), on="rater"
    )
    overall = named.group_by("value").agg(share=pl.len() / max(named.height, 1))
    counted = (
        named.join(overall, on="value", how="left")
        .group_by("rater")
        .agg(ratings=pl.len(), values=pl.col("value").n_unique(), share=pl.col("share").min())
        .join(agreement, on="rater", how="left")
        .sort("rater")
    )
    many = pl.col("ratings") >= least
    best = pl.max_horizontal("agreement", "in_group")
    judged = counted.filter(many).select(best).to_series().drop_nulls()
    low, high = (judged.quantile(part, "linear") for part in (0.25, 0.75))
    fence = -1.0 if low is None or high is None else low - max(WHISKER * (high - low), LEAST_GAP)
    constant = many & (pl.col("values") == 1) & (pl.col("share") ** pl.col("ratings") < CHANCE)
    outlier = (many & (best < fence)).fill_null(False)
    return counted.select(
        "rater", "ratings", "agreement", "in_group", constant=constant, outlier=outlier, failed=constant | outlier
    )


def _agreement(named: pl.DataFrame, name: str) -> pl.DataFrame:
    """`rater`, and by that name the mean share of others who gave the same value to an item; null without others."""
    from curate.agreement import rater_agreement

    raters, _, shares = rater_agreement(*(named[column].to_numpy() for column in ("item", "value", "rater")))
    return pl.DataFrame(
        {"rater": pl.Series(raters, dtype=pl.String), name: pl.Series(shares, dtype=pl.Float64).fill_nan(None)}
    )


def _as_ratings(given: pl.Series) -> pl.Series:
    """A column of ratings with all three fields as text."""
    if given.dtype in (pl.String, pl.Null):
        return pl.Series(given.name, [_read(text) for text in given], dtype=RATED)
    inner = given.dtype.inner if isinstance(given.dtype, pl.List) else None
    fields = {field.name for field in inner.fields} if isinstance(inner, pl.Struct) else set()
    if "value" not in fields:
        raise UsageError(
            f"the column {given.name!r} is {given.dtype}, not a list of {{rater, group, value}}",
            hint="name the column that has such lists as `ratings`, or one column for each rater as `columns`",
        )
    each = [
        (pl.element().struct.field(name) if name in fields else pl.lit(None)).cast(pl.String).alias(name)
        for name in ("rater", "group", "value")
    ]
    return given.list.eval(pl.struct(each))


def _read(text: str | None) -> list[dict[str, str | None]] | None:
    """The ratings in a JSON text, as nested columns of JSON lines come; ValueError where it is no list of them."""
    if text is None:
        return None
    given = orjson.loads(text)
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise ValueError("wanted a list of {rater, group, value}, got something else")
    return [{name: _written(one.get(name)) for name in ("rater", "group", "value")} for one in given]


def _written(value: Any) -> str | None:
    """A value of JSON as polars writes it when it casts a column to strings."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"wanted a text or a number in a rating, got {type(value).__name__}")
