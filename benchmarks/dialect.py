"""The dialect of short English texts after Blodgett, Green and O'Connor (2016, EMNLP), for the audit of docs/audit.md.

    python benchmarks/dialect.py        the golden audit: a list of swear words on 24,783 tweets, by dialect

The model is the one of their `twitteraae`: each word has counts in four topics (African-American, Hispanic, other,
White), and a text's shares are inferred by collapsed variational Bayes (CVB0): alpha 1, five passes. It was validated
on tweets, and only for the topics African-American and White. It says which words a text uses, never who wrote it.
Tables, tweets and list are read from data/bias; no text is printed.
"""

from __future__ import annotations

import gzip
import html
import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numba import njit

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
DIALECTS = ("African-American", "Hispanic", "other", "White")
ALPHA, PASSES = 1.0, 5
MIN_KNOWN = 0.2  # share of a text's tokens that the model must know
TOKEN = re.compile(r"https?://\S+|[@#]\w+|\w+(?:['’\-]\w+)*|[^\w\s]+")


def main() -> None:
    """Print the rows of the golden audit."""
    with tempfile.TemporaryDirectory() as folder:
        found = audit_of_tweets(Path(folder))
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, fmt_float="full"):
        print(found.rows.select("group", "at_risk", "removed", "rate", "rate_low", "rate_high", "status"))
        print(found.rows.select("group", "removal_ratio", "removal_low", "removal_high", "keep_ratio"))
        print(found.rows.select("group", "adjusted_ratio", "adjusted_low", "adjusted_high", "simpson"))


def audit_of_tweets(folder: Path, strata: Sequence[str] = ("label",)) -> Any:
    """Run the English list as a `blocklist` over the tweets, and audit it by dialect against White within labels."""
    import curate

    terms = pl.read_parquet(SHARED / "bias" / "terms.parquet").filter(list="ldnoobw", lang="en")["term"]
    (folder / "terms.txt").write_text("\n".join(terms), encoding="utf-8")
    tweets().write_parquet(folder / "tweets.parquet")
    pipe = curate.Pipeline(steps=[curate.filters.Blocklist(terms=folder / "terms.txt")], name="dialect")
    run = pipe.run(str(folder / "tweets.parquet"), folder / "run", workers=1)
    return run.audit("dialect", strata=list(strata), reference="White")


def tweets() -> pl.DataFrame:
    """All tweets with the label of their annotators and the dialect that weighs most; null where it cannot be told."""
    frame = pl.read_parquet(SHARED / "bias" / "davidson_tweets.parquet")
    labels = [json.loads(extra)["cls"] for extra in frame["extra"]]
    return frame.select(
        "id", "text", pl.Series("label", labels), pl.Series("dialect", dialects(frame["text"].to_list()))
    )


def dialects(texts: Sequence[str]) -> list[str | None]:
    """The dialect of the largest share of each text."""
    known = [None if share is None else int(np.argmax(share)) for share in shares(texts)]
    return [None if place is None else DIALECTS[place] for place in known]


def shares(texts: Sequence[str]) -> list[Any]:
    """The shares of the four dialects in each text; None where fewer than a fifth of its tokens are known."""
    places, odds = model()
    found = []
    for text in texts:
        words = tokens(text)
        known = [places[word] for word in words if word in places]
        enough = known and len(known) / len(words) >= MIN_KNOWN
        found.append(infer(odds[np.array(known)]) if enough else None)
    return found


def tokens(text: str) -> list[str]:
    """The tokens of a tweet in lower case: addresses, names, tags, words, runs of signs."""
    return TOKEN.findall(html.unescape(text).lower())


def model() -> tuple[dict[str, int], Any]:
    """The place of each word, and its probability in each dialect: (count + 1) / all counts of the dialect."""
    bias = SHARED / "bias"
    with gzip.open(bias / "twitteraae_vocab.txt.gz", "rt", encoding="utf-8") as file:
        words = [line.rstrip("\n").split("\t")[-1] for line in file]
    with gzip.open(bias / "twitteraae_count_table.txt.gz", "rt") as file:
        counts = np.loadtxt(file)
    return {word: place for place, word in enumerate(words)}, (counts + 1) / counts.sum(0)


@njit
def infer(odds: Any) -> Any:
    """The shares of a text from the probabilities of its words (rows) in each dialect."""
    likely = odds / odds.sum(1).reshape(-1, 1)
    each = likely.copy()
    total = each.sum(0)
    for _ in range(PASSES):
        for word in range(len(each)):
            total -= each[word]
            weight = likely[word] * (total + ALPHA)
            each[word] = weight / weight.sum()
            total += each[word]
    return total / total.sum()


if __name__ == "__main__":
    main()
