"""What a preference step adds to the report: what chosen responses have in common on their surface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from curate.filters.preference_marks import FORMS, PHRASES, SURFACE
from curate.filters.preference_pairs import oriented
from curate.stats import Interval, Numbers, auc, wilson

FOLDS = 5  # of prompts; the stored fold counts half of each apart
LEAST_PAIRS = 100  # below it no shortcut is looked for
MOST_PAIRS = 200_000  # evenly spaced, so many are looked at: the interval is then narrower than 0.006
HARMLESS = 0.5  # of the toxicity of a prompt: below it a refusal is counted as one of a harmless prompt
WARN = 0.60  # of the area under the curve of surface features: SCIENCE 4.2
BIAS = {
    "of": pl.String, "measure": pl.String, "pairs": pl.Int64, "value": pl.Float64, "low": pl.Float64,
    "high": pl.Float64, "note": pl.String,
}  # fmt: skip


def pairs_in(ledger: pl.LazyFrame) -> pl.DataFrame:
    """The judged pairs of a ledger."""
    wanted = ("kept", "chosen_words", "rejected_words", "chosen_marks", "rejected_marks", "surface", "fold")
    return ledger.filter(pl.col("judged").fill_null(False)).select(wanted).collect()


def bias(pairs: pl.DataFrame) -> pl.DataFrame:
    """How far length and surface alone tell chosen from rejected, among the pairs judged and among those kept."""
    rows = [
        (of, *row)
        for of, some in (("judged", pairs), ("kept", pairs.filter(pl.col("kept").fill_null(False))))
        for row in _bias_rows(some)
    ]
    return pl.DataFrame(rows, schema=BIAS, orient="row").with_columns(pl.col("value", "low", "high").fill_nan(None))


def _bias_rows(pairs: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    words = pairs.select(pl.col("chosen_words", "rejected_words").cast(pl.Float64)).to_numpy()
    gap, fold, size = words[:, 0] - words[:, 1], pairs["fold"].to_numpy(), len(pairs)
    longer, shorter = int((gap > 0).sum()), int((gap < 0).sum())
    note = f"{size - longer - shorter:,} pairs of equal length left out"
    yield ("share of pairs whose longer response is chosen", longer + shorter, *_ends(wilson(longer, longer + shorter)),
           note)  # fmt: skip
    for name, place in (("chosen", 0), ("rejected", 1)):
        yield f"mean words of {name}", size, float(words[:, place].mean()) if size else None, None, None, None
    yield "rank correlation of difference in words and label (Spearman)", size, spearman(gap), None, None, None
    yield "AUC of length alone", size, *_ends(auc(*oriented(gap, fold))), None
    some = _spaced(pairs)
    found, said = shortcut_auc(some)
    yield "shortcut AUC: surface features alone, cross-validated", len(some), *_ends(found), said


def shortcut_auc(pairs: pl.DataFrame) -> tuple[Interval, str | None]:
    """How well a logistic regression on surface features tells chosen from rejected in prompts it has not seen.

    Five folds by a hash of the prompt; DeLong's interval, which takes pairs as independent of each other.
    """
    from curate.logistic import held_out

    nothing = Interval(*np.full((3, 1), np.nan)[:, 0])
    if len(pairs) < LEAST_PAIRS:
        return nothing, f"not computed: fewer than {LEAST_PAIRS} pairs"
    features, fold = surfaces(pairs), pairs["fold"].to_numpy().astype(np.int64)
    said = held_out(features, np.ones(len(features), np.bool_), fold // 2)
    if np.isnan(said).any():
        return nothing, "not computed: all prompts are in one fold"
    found = auc(*oriented(said, fold))
    if found.value < WARN:
        return found, None
    return found, f"warning: {WARN:.2f} or more: a reward model can learn the surface instead of the preference"


def shortcut_weights(pairs: pl.DataFrame) -> pl.DataFrame:
    """`feature, weight`: what each surface feature adds to the log odds of being chosen, per unit of its spread."""
    from curate.logistic import fit

    if len(pairs) < LEAST_PAIRS:
        return pl.DataFrame(schema={"feature": pl.String, "weight": pl.Float64})
    features = surfaces(_spaced(pairs))
    scale = np.sqrt((features**2).mean(0))
    weights = fit(features / np.where(scale > 0, scale, np.inf), np.ones(len(features), np.bool_))
    found = pl.DataFrame({"feature": SURFACE, "weight": weights})
    return found.sort(pl.col("weight").abs(), descending=True, maintain_order=True)


def _spaced(pairs: pl.DataFrame) -> pl.DataFrame:
    """All pairs, or evenly spaced ones where they are too many: input is often sorted by its source."""
    return pairs.gather_every(max(-(-len(pairs) // MOST_PAIRS), 1))


def surfaces(pairs: pl.DataFrame) -> Numbers:
    """The differences in surface features, pairs by features."""
    return pairs["surface"].list.to_array(len(SURFACE)).to_numpy().astype(np.float64).reshape(-1, len(SURFACE))


def spearman(gap: Numbers) -> float | None:
    """The rank correlation of a difference with the label, each pair seen from both sides."""
    from scipy.stats import rankdata

    if not (gap != 0).any():
        return None
    ranks = rankdata(np.concatenate([gap, -gap]))
    label = np.repeat([1.0, 0.0], len(gap))
    return float(np.corrcoef(ranks, label)[0, 1])


def mark_table(pairs: pl.DataFrame) -> pl.DataFrame:
    """By mark: responses that have it, and how often it is chosen where only one of a pair has it."""
    return _win_rates(pairs, "chosen_marks", "rejected_marks", "mark", [*FORMS, *PHRASES, "agreement"])


def refusal_table(ledger: pl.LazyFrame) -> pl.DataFrame:
    """By prompt, harmless or toxic (from 0.5 on): refusals, and how often one is chosen where the other answers (P23).

    A refusal that is chosen for a harmless prompt teaches to refuse too much.
    """
    columns = "chosen_marks", "rejected_marks", "prompt_toxicity"
    pairs = ledger.filter(pl.col("judged").fill_null(False)).select(columns).collect()
    level = pairs["prompt_toxicity"]
    parts = {"harmless": level < HARMLESS, "toxic": level >= HARMLESS, "not scored": level.is_null()}
    found = [
        _win_rates(pairs.filter(part), "chosen_marks", "rejected_marks", "prompt", ["refusal"]).select(
            pl.lit(name).alias("prompt"), pl.lit(int(part.sum())).alias("pairs"), pl.all().exclude("prompt")
        )
        for name, part in parts.items()
    ]
    return pl.concat(found)


def position_table(ledger: pl.LazyFrame) -> pl.DataFrame:
    """By place: how many chosen responses raters saw there, and their share (P22).

    Without a habit of the raters, and with places drawn at random, all shares are about the same.
    """
    known = pl.col("judged").fill_null(False) & pl.col("chosen_position").is_not_null()
    counts = ledger.filter(known).group_by("chosen_position").agg(chosen=pl.len()).sort("chosen_position").collect()
    total = int(counts["chosen"].sum())
    rows = [(place, count, *_ends(wilson(count, total))) for place, count in counts.iter_rows()]
    kinds = {"position": pl.String, "chosen": pl.Int64, "share": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def identity_table(ledger: pl.LazyFrame) -> pl.DataFrame:
    """By group mentioned: the win rate of responses that mention it against responses that do not, and its gap to 1/2.

    The mention says nothing of what is said of the group.
    """
    columns = "chosen_groups", "rejected_groups"
    pairs = ledger.filter(pl.col("judged").fill_null(False)).select(columns).collect()
    named = pl.concat([pairs[name].explode().drop_nulls().alias("name") for name in columns])
    found = _win_rates(pairs, *columns, "group", named.unique().sort().to_list())
    return found.with_columns(gap=pl.col("win_rate") - 0.5)


def _win_rates(pairs: pl.DataFrame, chosen: str, rejected: str, what: str, names: list[str]) -> pl.DataFrame:
    rows = []
    for name in names:
        one, two = (pairs[side].list.contains(name).fill_null(False).to_numpy() for side in (chosen, rejected))
        won, lost = int((one & ~two).sum()), int((two & ~one).sum())
        rows.append((name, int(one.sum()), int(two.sum()), won, lost, *_ends(wilson(won, won + lost))))
    kinds = {
        what: pl.String, "chosen": pl.Int64, "rejected": pl.Int64, "only_chosen": pl.Int64, "only_rejected": pl.Int64,
        "win_rate": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=kinds, orient="row")


def model_table(ledger: pl.LazyFrame) -> pl.DataFrame:
    """By model: pairs with another one that it won and lost, its share, and its strength (Bradley and Terry 1952).

    Strengths are log odds against the average model; with few pairs they are drawn towards 0 (ridge of 1).
    """
    from curate.logistic import fit

    known = pl.col("winner_model").is_not_null() & pl.col("loser_model").is_not_null()
    played = (
        ledger.filter(known, pl.col("winner_model") != pl.col("loser_model"))
        .group_by("winner_model", "loser_model")
        .agg(pairs=pl.len())
        .sort("winner_model", "loser_model")
        .collect()
    )
    names = pl.concat([played["winner_model"], played["loser_model"].alias("winner_model")]).unique().sort()
    place = {name: number for number, name in enumerate(names)}
    rows, counts = np.arange(len(played)), played["pairs"].to_numpy().astype(np.float64)
    sides = [np.array([place[model] for model in played[name]], np.int64) for name in played.columns[:2]]
    features = np.zeros((len(played), len(names)))
    features[rows, sides[0]], features[rows, sides[1]] = 1.0, -1.0
    strength = fit(features, np.ones(len(played), np.bool_), counts=counts)
    won, lost = (np.bincount(side, counts, len(names)) for side in sides)
    share = wilson(won, won + lost)
    return pl.DataFrame(
        {
            "model": names,
            "won": won.astype(np.int64),
            "lost": lost.astype(np.int64),
            "win_rate": share.value,
            "low": share.low,
            "high": share.high,
            "strength": strength,
        }
    ).sort("strength", "model", descending=[True, False])


def _ends(found: Interval) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(end) else float(end) for end in found)
