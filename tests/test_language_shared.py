"""The language step on labelled sentences and a crawl: what docs/language.md promises."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from curate.filters import Language

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
pytestmark = pytest.mark.shared


def labels(texts: pl.Series) -> pl.Series:
    return Language().score(pl.DataFrame({"id": texts, "text": texts}))["label"]


def test_english_documents_of_a_crawl_are_english() -> None:
    web = pl.read_parquet(SHARED / "web" / "web-002.parquet").filter(pl.col("lang") == "en")

    assert (labels(web["text"]) == "en").mean() > 0.99  # type: ignore[operator]  # a mean of booleans is a number


def test_sentences_of_large_and_small_languages_are_told() -> None:
    dev = pl.read_parquet(SHARED / "lid" / "dev.parquet").filter(pl.col("source") == "ntrex128")
    wanted = {"eng": "en", "deu": "de", "som": "so", "yor": "yo", "tuk": "tk", "swa": "sw", "nno": "nn", "dan": "da"}
    known = dev.filter(pl.col("lang").is_in(list(wanted))).with_columns(pl.col("lang").replace_strict(wanted))

    assert (labels(known["text"]) == known["lang"]).mean() > 0.8  # type: ignore[operator]  # as above


def test_words_are_answered_only_when_it_is_likely_right() -> None:
    short = pl.read_parquet(SHARED / "lid" / "short.parquet")
    found = short.with_columns(found=labels(short["text"]).replace("no", "nb"))
    answered = found.filter(pl.col("found") != "und")

    assert len(answered) / len(found) >= 0.35
    assert (answered["found"] == answered["lang"]).mean() >= 0.95  # type: ignore[operator]  # as above
