"""Print the figures of a toxicity screen, for its card: accuracy, calibration, identity terms, dialect, speed.

    PYTHONPATH=. python tools/measure_toxicity_screen.py DATA --screen curate/data

DATA is the folder from which tools/train_toxicity_screen.py trained. No text of it is printed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import rankdata

sys.path.insert(0, str(Path(__file__).parent))
from toxicity_rows import HELD_OUT_TEMPLATES, comments, conversationai, half_of, own_terms

from curate.screen import Screen, load_screen
from curate.swap import bundled, swap_check

BINS = 15  # of the expected calibration error, with equally many texts each


def auc(labels: Any, scores: Any) -> float:
    """The area under the ROC curve; ties count half."""
    ranks, positive = rankdata(scores), labels == 1
    hits = positive.sum()
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(labels) - hits)))


def calibration_error(labels: Any, scores: Any) -> float:
    """The expected calibration error over equal-mass bins."""
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, BINS)
    return float(sum(len(p) * abs(labels[p].mean() - scores[p].mean()) for p in parts) / len(labels))


def calibration(screen: Screen, rows: pl.DataFrame) -> dict[str, float]:
    """ECE and Brier score on the half of dev that did not set the constants, before and after the calibration."""
    from train_toxicity_screen import platt

    labels = rows["toxic"].to_numpy()
    values = replace(screen, slope=1.0, intercept=0.0)
    before = values.scores(rows["text"])
    logits = np.log(before / (1 - before))
    fit = np.arange(len(labels)) % 2 == 0
    slope, intercept = platt(logits[fit], labels[fit])
    after = 1 / (1 + np.exp(-(slope * logits + intercept)))
    own = ~fit
    return {
        "ece_before": calibration_error(labels[own], before[own]),
        "ece_after": calibration_error(labels[own], after[own]),
        "brier_before": float(np.mean((before - labels)[own] ** 2)),
        "brier_after": float(np.mean((after - labels)[own] ** 2)),
    }


def by_source(rows: pl.DataFrame, scores: Any) -> dict[str, float]:
    """ROC-AUC for each source of comments that has both labels."""
    result = {}
    for source in sorted(rows["source"].unique()):
        own = (rows["source"] == source).to_numpy()
        labels = rows["toxic"].to_numpy()[own]
        if 10 <= labels.sum() <= len(labels) - 10:
            result[source] = round(auc(labels, scores[own]), 3)
    return result


def templates(rows: pl.DataFrame, scores: Any) -> dict[str, Any]:
    """At the threshold that flags half of the toxic sentences: the share of benign ones flagged, per identity term."""
    rows = rows.with_columns(score=pl.Series(scores)).filter(pl.col("term").is_not_null())
    toxic = np.sort(rows.filter(pl.col("toxicity") == "toxic")["score"].to_numpy())[::-1]
    threshold = toxic[int(np.ceil(len(toxic) / 2)) - 1]
    benign = rows.filter(pl.col("toxicity") == "nontoxic")
    table = (
        benign.group_by("term")
        .agg(rate=(pl.col("score") >= threshold).mean(), n=pl.len())
        .sort("rate", "term", descending=True)
    )
    worst = table.rows()[:3]
    auc_all = auc((rows["toxicity"] == "toxic").to_numpy().astype(int), rows["score"].to_numpy())
    return {"threshold": float(threshold), "worst": worst, "benign": len(benign), "auc": round(auc_all, 4)}


def removal(screen: Screen, data: Path, rows: pl.DataFrame, scores: Any) -> dict[str, Any]:
    """Recall of toxic dev comments where 1 % of benign comments, or 1 % of ordinary web paragraphs, is removed."""
    labels = rows["toxic"].to_numpy()
    web = pl.concat([pl.read_parquet(path) for path in sorted((data / "web").glob("web-*.parquet"))])
    web = web.filter(pl.col("lang") == "en")["text"].str.split("\n\n").explode().str.strip_chars()
    web = web.filter(web.str.len_chars().is_between(40, 1500)).unique(maintain_order=True)
    web = web.sample(min(len(web), 60_000), seed=1)
    at = {"dev": np.quantile(scores[labels == 0], 0.99), "web": np.quantile(screen.scores(web), 0.99)}
    clean = (rows["source"].is_in(["jigsaw_wiki_part", "cat_wikipedia"])).to_numpy()
    at["wiki"] = np.quantile(scores[clean & (labels == 0)], 0.99)
    return {
        name: {
            "threshold": round(float(threshold), 4),
            "recall": round(float((scores[labels == 1] >= threshold).mean()), 4),
            "recall_wiki": round(float((scores[clean & (labels == 1)] >= threshold).mean()), 4),
        }
        for name, threshold in at.items()
    }


def dialect(screen: Screen, data: Path) -> dict[str, float]:
    """Mean scores of the two sides of sentence pairs with and without the habitual "be" of African-American English."""
    with gzip.open(data / "bias" / "dialect_pairs.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    pairs = [row["line"].split("\t") for row in rows if row["file"].startswith("data/pairs/")]
    sides = [screen.scores(pl.Series("text", [pair[side].strip() for pair in pairs])) for side in (0, 1)]
    return {"dialect": float(sides[0].mean()), "standard": float(sides[1].mean()), "pairs": len(pairs)}


def speed(screen: Screen, data: Path) -> float:
    """MB of UTF-8 text per second of one core's time, best of five."""
    web = pl.read_parquet(data / "web" / "web-000.parquet")["text"]
    size = float(web.str.len_bytes().sum())
    seconds = []
    for _ in range(5):
        start = time.process_time()
        screen.scores(web)
        seconds.append(time.process_time() - start)
    return round(size / min(seconds) / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--screen", type=Path, required=True, help="folder of the three files")
    parser.add_argument("--only", nargs="*", default=(), help="sources of comments to measure, and nothing else")
    given = parser.parse_args()
    screen = load_screen(given.screen)
    rows = comments(given.data, "dev")
    scores = screen.scores(rows["text"])
    sources = by_source(rows, scores)
    if given.only:
        print({name: sources[name] for name in given.only if name in sources})
        return
    print("AUC by source", sources, "mean", round(float(np.mean(list(sources.values()))), 4))
    print("calibration", {k: round(v, 4) for k, v in calibration(screen, rows).items()})
    sentences = conversationai(given.data)
    on_sentences = screen.scores(sentences["phrase"])
    print("conversationai, all", templates(sentences, on_sentences))
    odd = half_of(sorted(set(sentences["term"].drop_nulls())), "odd")
    held = (sentences["template"].is_in(HELD_OUT_TEMPLATES) & sentences["term"].is_in(odd)).to_numpy()
    print("conversationai, odd terms and held-out templates", templates(sentences.filter(held), on_sentences[held]))
    print("swap check, all terms:", swap_check(screen.scores), sep="\n")
    terms = set(own_terms("odd"))
    halves = {axis: [term for term in own if term in terms] for axis, own in bundled().terms.items()}
    half = swap_check(screen.scores, terms=halves)
    print("swap check, odd terms:", half, half.terms.head(5).rows(), sep="\n")
    print("removal", removal(screen, given.data, rows, scores))
    print("dialect", dialect(screen, given.data))
    print("MB/s", speed(screen, given.data))


if __name__ == "__main__":
    main()
