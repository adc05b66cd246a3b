"""What lies behind an audit's ratios: single rules, scores, words, and labels where there are some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate import stats
from curate.audit import ALL_STEPS
from curate.audit_counts import MAX_GROUPS, Observed, levels
from curate.audit_figures import FLAGGED
from curate.errors import UsageError
from curate.stats import divide

Texts = Callable[[pl.DataFrame], Iterable[pl.DataFrame]]

WORDS = 20  # shown of a group and step, either side
WORD_TEXTS = 2_000  # removed, and kept, that are read for a group and step
WORD_CELLS = 10  # flagged steps and groups whose texts are read
PRIOR_WORDS = 500.0  # the prior weighs as much as so many words
QUANTILES = (5, 25, 50, 75, 95)
MIN_LABELS = 30  # of a group, for its figures to be shown
_LEVEL = "__level"


def _members(
    observed: Observed, column: str, *wanted: str | pl.Expr, where: pl.Expr
) -> tuple[pl.DataFrame, pl.LazyFrame]:
    """Documents with their columns, once each, and the same once for each group that they are in."""
    level, overlap = levels(observed.frame, column)
    frame = observed.frame.filter(where).select(*wanted, level.alias(_LEVEL)).collect(engine="streaming")
    lazy = frame.lazy()
    return frame, (lazy.explode(_LEVEL).drop_nulls(_LEVEL) if overlap else lazy)


# --- rules ------------------------------------------------------------------------------------------------------------

_RULES: dict[str, Any] = {
    "by": pl.String, "group": pl.String, "rule": pl.String, "documents": pl.Int64, "breaks": pl.Int64,
    "alone": pl.Int64, "shared": pl.Int64, "breaks_rate": pl.Float64, "breaks_low": pl.Float64,
    "breaks_high": pl.Float64, "breaks_ratio": pl.Float64, "alone_rate": pl.Float64, "alone_low": pl.Float64,
    "alone_high": pl.Float64, "alone_ratio": pl.Float64,
}  # fmt: skip


def rule_table(observed: Observed, columns: Sequence[str]) -> pl.DataFrame:
    """For each group and rule, the documents of the audit sample that break it, and those that break no other.

    `alone` would have been kept without this rule (its marginal effect); `shared` break another rule as well. Ratios
    are to the rate of all other sampled documents. Empty where there is no sample.
    """
    schema = observed.frame.collect_schema()
    if "failed" not in schema or "sampled" not in schema:
        return pl.DataFrame(schema=_RULES)
    tables = [_rules_of(observed, column) for column in columns]
    return pl.concat([pl.DataFrame(schema=_RULES), *tables])


def _rules_of(observed: Observed, column: str) -> pl.DataFrame:
    frame, members = _members(observed, column, "failed", where=pl.col("sampled"))
    only = pl.col("failed").list.len() == 1

    def tally(table: pl.LazyFrame, *keys: str) -> pl.DataFrame:
        alone = table.with_columns(only.alias("only")).explode("failed").drop_nulls("failed")
        return (
            alone.group_by(*keys, "failed").agg(pl.len().alias("breaks"), pl.col("only").sum().alias("alone")).collect()
        )

    sizes = members.group_by(_LEVEL).len("documents").collect().sort(["documents", _LEVEL], descending=[True, False])
    sizes = sizes.head(MAX_GROUPS)
    whole = tally(frame.lazy().drop(_LEVEL)).rename({"breaks": "all_breaks", "alone": "all_alone"})
    table = sizes.join(whole, how="cross").join(tally(members, _LEVEL), on=[_LEVEL, "failed"], how="left")
    table = table.with_columns(pl.col("breaks", "alone").fill_null(0)).sort(
        ["documents", _LEVEL, "failed"], descending=[True, False, False]
    )
    size, others = table["documents"].to_numpy(), frame.height - table["documents"].to_numpy()
    made: dict[str, Any] = {
        "by": [column] * table.height, "group": table[_LEVEL], "rule": table["failed"], "documents": size,
        "breaks": table["breaks"], "alone": table["alone"], "shared": table["breaks"] - table["alone"],
    }  # fmt: skip
    for name in ("breaks", "alone"):
        hits, every = table[name].to_numpy().astype(float), table[f"all_{name}"].to_numpy().astype(float)
        rate = stats.wilson(hits, size)
        made |= {f"{name}_rate": rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
        made[f"{name}_ratio"] = divide(rate.value, divide(every - hits, others))
    return pl.DataFrame(made, schema=_RULES).with_columns(pl.col(pl.Float64).fill_nan(None))


# --- scores -----------------------------------------------------------------------------------------------------------

_SCORES: dict[str, Any] = {
    "by": pl.String, "group": pl.String, "score": pl.String, "step": pl.String, "documents": pl.Int64,
    "gap": pl.Float64, **{f"q{part:02}": pl.Float64 for part in QUANTILES},
}  # fmt: skip


def score_table(observed: Observed, columns: Sequence[str]) -> pl.DataFrame:
    """How the scores with a limit differ between groups, over the documents that reached their step.

    `gap` is the Mann-Whitney gap to all others, from -1/2 to 1/2, above 0 where the group scores higher; `q05` to `q95`
    are quantiles.
    """
    schema = observed.frame.collect_schema()
    scores = {str(limit["score"]): str(limit["step"]) for limit in observed.limits}
    tables = []
    for score, step in scores.items():
        if score in schema and schema[score].is_numeric():
            tables += [_gaps(observed, column, score, step) for column in columns if column != score]
    return pl.concat([pl.DataFrame(schema=_SCORES), *tables])


def _gaps(observed: Observed, column: str, score: str, step: str) -> pl.DataFrame:
    since = max(observed.since.get(score, 0), observed.since.get(column, 0))
    value = pl.col(score).cast(pl.Float64)
    frame, _ = _members(
        observed, column, value.alias("value"), where=(pl.col("__at") >= since) & value.is_finite().fill_null(False)
    )
    ranked = frame.lazy().with_columns(pl.col("value").rank("average").alias("rank"))
    if frame.schema[_LEVEL] == pl.List:
        ranked = ranked.explode(_LEVEL).drop_nulls(_LEVEL)
    quantiles = [pl.col("value").quantile(part / 100, "linear").alias(f"q{part:02}") for part in QUANTILES]
    found = ranked.group_by(_LEVEL).agg(
        pl.len().cast(pl.Int64).alias("documents"), pl.col("rank").sum(), *quantiles
    ).collect(engine="streaming").sort(["documents", _LEVEL], descending=[True, False]).head(MAX_GROUPS)  # fmt: skip
    size = found["documents"].to_numpy().astype(float)
    gap = stats.mann_whitney_gap(found["rank"].to_numpy(), size, frame.height - size)
    return found.select(
        pl.lit(column).alias("by"), pl.col(_LEVEL).alias("group"), pl.lit(score).alias("score"),
        pl.lit(step).alias("step"), "documents", pl.Series("gap", gap).fill_nan(None),
        *(f"q{part:02}" for part in QUANTILES),
    )  # fmt: skip


# --- words ------------------------------------------------------------------------------------------------------------

_WORDS: dict[str, Any] = {
    "by": pl.String, "group": pl.String, "step": pl.String, "word": pl.String, "side": pl.String, "z": pl.Float64,
    "removed": pl.Int64, "kept": pl.Int64, "pmi": pl.Float64, "removed_texts": pl.Int64, "kept_texts": pl.Int64,
}  # fmt: skip


def word_table(observed: Observed, rows: pl.DataFrame, texts: Texts | None, show: bool) -> pl.DataFrame:
    """The words that tell the texts that a step removed from those that it let pass, inside a flagged group.

    Log-odds with the words of both as the prior (Monroe et al. 2009); each text counts a word once, so that one long
    text does not decide. `pmi` is log2 of how much more often a text with the word is removed than any text.
    """
    made = [pl.DataFrame(schema=_WORDS)]
    if texts is not None:
        flagged = rows.filter((pl.col("status") == FLAGGED) & (pl.col("step") != ALL_STEPS))
        worst = flagged.sort("removal_ratio", descending=True, nulls_last=True).head(WORD_CELLS)
        made += [_words(observed, row, texts, show) for row in worst.iter_rows(named=True)]
    return pl.concat(made)


def _words(observed: Observed, row: Mapping[str, Any], texts: Texts, show: bool) -> pl.DataFrame:
    level, overlap = levels(observed.frame, row["by"])
    place = [name for name in ("id", "file", "row") if name in observed.frame.collect_schema()]
    inside = level.list.contains(row["group"]) if overlap else level == row["group"]
    basis = pl.col("sampled") if row["basis"] == "sample" else pl.lit(True)
    passed = observed.frame.filter(inside & basis & (pl.col("__at") >= row["place"]))
    chosen = (
        passed.select(*place, (pl.col("__at") == row["place"]).alias("gone"), pl.col("id").hash(seed=2).alias("order"))
        .sort("gone", "order", "id")
        .group_by("gone", maintain_order=True)
        .head(WORD_TEXTS)
        .collect()
    )
    word = pl.col("text").str.to_lowercase().str.extract_all(r"[\p{L}\p{M}\p{N}]+").list.unique().alias("word")
    found = [part.select("id", word) for part in texts(chosen.select(place))]
    if not found:
        return pl.DataFrame(schema=_WORDS)
    read = pl.concat(found).join(chosen.select("id", "gone"), on="id")
    gone, stays = int(read["gone"].sum()), int((~read["gone"]).sum())
    table = read.explode("word").drop_nulls("word").group_by("word").agg(
        pl.col("gone").sum().cast(pl.Int64).alias("removed"), (~pl.col("gone")).sum().cast(pl.Int64).alias("kept")
    ).sort("word")  # fmt: skip
    if not gone or not stays or table.is_empty():
        return pl.DataFrame(schema=_WORDS)
    both = (table["removed"] + table["kept"]).to_numpy().astype(float)
    z = stats.log_odds(table["removed"].to_numpy(), table["kept"].to_numpy(), PRIOR_WORDS * both / both.sum())
    with np.errstate(divide="ignore"):
        pmi = np.log2(table["removed"].to_numpy() / both * (gone + stays) / gone)
    shown = (
        pl.col("word")
        if show
        else pl.col("word").str.slice(0, 1) + "… (" + pl.col("word").str.len_chars().cast(pl.String) + ")"
    )
    table = table.with_columns(
        pl.Series("z", z),
        pl.Series("pmi", pmi),
        pl.lit(gone, pl.Int64).alias("removed_texts"),
        pl.lit(stays, pl.Int64).alias("kept_texts"),
    ).sort(["z", "word"], descending=[True, False])
    sides = [
        table.head(WORDS).filter(pl.col("z") > stats.Z_95).with_columns(side=pl.lit("removed")),
        table.tail(WORDS).filter(pl.col("z") < -stats.Z_95).reverse().with_columns(side=pl.lit("kept")),
    ]
    finite = pl.when(pl.col("pmi").is_finite()).then("pmi").alias("pmi")
    return pl.concat(sides).select(
        pl.lit(row["by"]).alias("by"), pl.lit(row["group"]).alias("group"), pl.lit(row["step"]).alias("step"),
        shown.alias("word"), "side", "z", "removed", "kept", finite, "removed_texts", "kept_texts",
    )  # fmt: skip


# --- labels -----------------------------------------------------------------------------------------------------------


def label_tables(observed: Observed, columns: Sequence[str], labels: str | Path, score: str | None) -> dict[str, Any]:
    """What labels add: false positive and negative rates by group, and areas under the curve of a score.

    A label is 1 for a document that should go, 0 for one that should stay; the prediction is what the steps did.
    """
    known, scored, notes = _labelled(observed, columns, labels, score)
    label, gone, value = (known[name].to_numpy() for name in ("label", "gone", "score"))
    yes = label == 1
    rated = np.isfinite(value)
    overall: dict[str, Any] = {
        "labelled": known.height, "positives": int(yes.sum()), "scored": int(rated.sum()), "score": scored,
        **_rates(yes, gone), **_auc("auc", stats.auc(value[yes & rated], value[~yes & rated])),
        "calibration_error": _calibration(value[rated], yes[rated]),
    }  # fmt: skip
    groups: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    for number, column in enumerate(columns):
        own = [_label_row(column, name, inside, yes, gone, value) for name, inside in _groups(known, f"__{number}")]
        groups += own
        enough = [row for row in own if row["status"] == "ok"]
        areas = {name: [np.nan if row[name] is None else row[name] for row in enough] for name in _AREAS}
        means = {f"{name}_mean": _plain(stats.power_mean(values)) for name, values in areas.items()}
        final = _plain(stats.bias_metric(overall["auc"], areas)) if overall["auc"] is not None and enough else None
        summary.append(
            {"by": column, "groups": len(enough), **means, "final": final}
            | {name: _plain(stats.rate_differences(overall[rate], [row[rate] for row in enough]))
               if overall[rate] is not None else None
               for name, rate in (("fped", "false_positive_rate"), ("fned", "false_negative_rate"))}
        )  # fmt: skip
    return {"overall": overall, "summary": summary, "groups": groups, "notes": notes}


_AREAS = ("subgroup_auc", "bpsn_auc", "bnsp_auc")


def _labelled(
    observed: Observed, columns: Sequence[str], labels: str | Path, score: str | None
) -> tuple[pl.DataFrame, str | None, list[str]]:
    """The labelled documents: id, label, gone, score, and their groups."""
    frame = observed.frame
    named = [levels(frame, column)[0].alias(f"__{number}") for number, column in enumerate(columns)]
    notes: list[str] = []
    path = Path(labels)
    value = None if score is None else pl.col(observed.column(score)).cast(pl.Float64)
    gone = (pl.col("__at") < len(observed.steps)).alias("gone")
    none = pl.lit(None, pl.Float64)
    if path.is_file():
        table = read_labels(path)
        taken = (
            pl.col("__label_score") if value is None and "score" in table.columns else none if value is None else value
        )
        scored = score if score is not None else "score" if "score" in table.columns else None
        given = table.rename({"score": "__label_score"} if "score" in table.columns else {})
        joined = frame.join(given.lazy().with_columns(pl.col("id").cast(pl.String)), on="id", how="inner")
        known = joined.select("id", "label", gone, taken.alias("score"), *named).collect(engine="streaming")
        notes.append(f"{known.height:,} of {table.height:,} labels are of documents that are here.")
    else:
        column = observed.column(str(labels))
        chosen = frame.select("id", pl.col(column).cast(pl.Float64, strict=False).alias("label"), gone,
                              (none if value is None else value).alias("score"), *named)  # fmt: skip
        known, scored = chosen.drop_nulls("label").collect(engine="streaming"), score
    known = known.with_columns(pl.col("label").cast(pl.Float64))
    if known.is_empty():
        raise UsageError("no document has a label", hint="labels need `id` as in the ledger, and `label` 0 or 1")
    if not known["label"].is_in([0.0, 1.0]).all():
        raise UsageError(
            "a label is neither 0 nor 1", hint="1 is for documents that should go, 0 for those that should stay"
        )
    notes.append(
        "Labels are what people said of these documents: where the labels lean against a group, so do these figures. A "
        "false positive is a document with label 0 that any step removed."
    )
    return known.with_columns(pl.col("score").fill_null(np.nan)), scored, notes


def read_labels(path: Path) -> pl.DataFrame:
    """A file of labels: `id`, `label`, maybe `score`; Parquet, CSV or JSON lines."""
    readers: dict[str, Any] = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}
    reader = readers.get(path.suffix)
    if reader is None:
        raise UsageError(f"{path} is no file of labels", hint="give .parquet, .csv or .jsonl with `id` and `label`")
    try:
        table: pl.DataFrame = reader(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    missing = {"id", "label"} - set(table.columns)
    if missing:
        raise UsageError(
            f"{path} has no column {', '.join(sorted(missing))}", hint=f"its columns: {', '.join(table.columns[:20])}"
        )
    if table["id"].n_unique() != table.height:
        raise UsageError(f"{path} labels a document twice", hint="leave one row per id")
    return table.select("id", "label", *(name for name in ("score",) if name in table.columns))


def _groups(known: pl.DataFrame, column: str) -> Iterable[tuple[str, Any]]:
    """Each group with the mask of its documents, the largest first."""
    values = known[column]
    overlap = isinstance(values.dtype, pl.List)
    flat = values.explode().drop_nulls() if overlap else values
    sizes = flat.value_counts(sort=True, name="n").sort(["n", column], descending=[True, False])
    for name in sizes[column].head(MAX_GROUPS).to_list():
        yield name, (values.list.contains(name).fill_null(False) if overlap else values == name).to_numpy()


def _label_row(column: str, group: str, inside: Any, yes: Any, gone: Any, value: Any) -> dict[str, Any]:
    size = int(inside.sum())
    enough = size >= MIN_LABELS
    row: dict[str, Any] = {"by": column, "group": group, "labelled": size, "positives": int((inside & yes).sum())}
    row |= {"status": "ok" if enough else "insufficient", **_rates(yes[inside], gone[inside], show=enough)}
    rated = np.isfinite(value)
    areas = stats.group_aucs(value[rated], yes[rated], inside[rated])
    for name, area in areas.items():
        row |= _auc(f"{name}_auc", area, show=enough)
    own = inside & rated
    return row | {"calibration_error": _calibration(value[own], yes[own]) if enough else None}


def _rates(yes: Any, gone: Any, *, show: bool = True) -> dict[str, Any]:
    """False positive and negative rates with their intervals."""
    row: dict[str, Any] = {}
    for name, hits, of in (
        ("false_positive_rate", (~yes & gone).sum(), (~yes).sum()),
        ("false_negative_rate", (yes & ~gone).sum(), yes.sum()),
    ):
        rate = stats.wilson(float(hits), float(of))
        parts = zip(("", "_low", "_high"), rate, strict=True)
        row |= {f"{name}{end}": _plain(float(part)) if show and of else None for end, part in parts}
    return row


def _auc(name: str, area: stats.Interval, *, show: bool = True) -> dict[str, Any]:
    parts = zip(("", "_low", "_high"), area, strict=True)
    return {f"{name}{end}": _plain(float(part)) if show else None for end, part in parts}


def _calibration(value: Any, yes: Any) -> float | None:
    """The calibration error of a score that is a probability; None for any other."""
    inside = len(value) > 0 and float(value.min()) >= 0 and float(value.max()) <= 1
    return _plain(stats.calibration_error(value, yes)) if inside else None


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
