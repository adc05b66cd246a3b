"""The documents from which tools/train_toxicity_screen.py trains: labelled comments, filled sentences, listed words.

Every document has a text, a label from 0 to 1 (the share of annotators who found it toxic, where known), a weight and a
source. Only comments under the licences named here are read.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import tomllib
from pathlib import Path

import polars as pl

from curate.windows import cut_windows

TEMPLATES = Path(__file__).parent / "toxicity_templates.toml"
SWAP_TERMS = Path(__file__).parents[1] / "curate" / "data" / "swap_terms.toml"

LANGUAGE = "en"
LICENCES = ("CC0", "MIT", "Apache-2.0", "CC-BY-SA", "CC-BY-4", "CC-BY-3")  # each part of a row's licence starts so
WORD_LISTS = ("ldnoobw", "dsojevic")  # CC-BY-4.0; MIT
WEIGHTS = {"templates": 0.5, "conversationai": 0.2, "words": 0.3, "pieces": 0.3}  # a comment weighs 1
PIECES, LEAST_PIECE, LONGEST_PIECE = 40_000, 20, 250  # sentences of benign comments: how many, and their characters
FILLED = {"benign": 9_000, "hostile": 9_000, "things_benign": 200, "dialect": 400}
SENTENCES_KEPT = 12_000  # of each label of the conversationai sentences
HELD_OUT_TEMPLATES = ("being_adj", "name_adj", "am_hate_adj")

SCHEMA = {"text": pl.String, "label": pl.Float64, "weight": pl.Float64, "source": pl.String}


def comments(data: Path, split: str) -> pl.DataFrame:
    """Labelled comments in English under an allowed licence."""
    rows = pl.read_parquet(data / "toxicity" / f"{split}.parquet").filter(pl.col("lang") == LANGUAGE)
    allowed = [licence for licence in rows["licence"].unique() if is_allowed(licence)]
    rows = rows.filter(pl.col("licence").is_in(allowed))
    share = pl.coalesce(pl.col("score").clip(0, 1), pl.col("toxic").cast(pl.Float64))
    return rows.select("text", label=share, weight=pl.lit(1.0), source="source", toxic=pl.col("toxic").cast(pl.Int64))


def is_allowed(licence: str) -> bool:
    """Whether every part of a licence note ("CC0-1.0 labels / CC-BY-SA-3.0 text") names an allowed licence."""
    parts = re.split(r"[/;]", licence)
    return all(re.search(r"\b(" + "|".join(map(re.escape, LICENCES)) + ")", part) for part in parts)


def half_of(terms: list[str], part: str) -> list[str]:
    """All terms, or those at even or odd places."""
    return {"all": terms, "even": terms[::2], "odd": terms[1::2]}[part]


def own_terms(part: str) -> list[str]:
    """Identity terms of the swap check."""
    by_axis = tomllib.loads(SWAP_TERMS.read_text("utf-8"))["terms"]
    return [term for terms in by_axis.values() for term in half_of(terms, part)]


def filled(part: str, seed: int) -> pl.DataFrame:
    """Our own sentences filled with identity terms: hostile ones, benign ones, and benign ones without such a term."""
    content = tomllib.loads(TEMPLATES.read_text("utf-8"))
    draw = random.Random(seed)
    terms = own_terms(part)
    rows = []
    for kind, count in FILLED.items():
        for number in range(count):
            sentence = content[kind][number % len(content[kind])]
            sentence = sentence.replace("{group}", draw.choice(content["groups"]))
            while slot := re.search(r"\{(quality|bad|things)\}", sentence):
                sentence = sentence.replace(slot[0], draw.choice(content[slot[1]]), 1)
            sentence = sentence.replace("{term}", draw.choice(terms))
            rows.append((sentence, float(kind == "hostile"), WEIGHTS["templates"], "templates"))
    return pl.DataFrame(rows, SCHEMA, orient="row")


def conversationai(data: Path) -> pl.DataFrame:
    """All English sentences of the conversationai identity templates, with the identity term of each."""
    path = data / "bias" / "conversationai_identity_templates.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = pl.DataFrame([json.loads(line) for line in lines]).filter(pl.col("lang") == LANGUAGE)
    listed = pl.read_parquet(data / "bias" / "terms.parquet").filter(pl.col("list") == "conversationai_madlibs")
    terms = listed.filter(pl.col("category") == "adjectives_people")["term"].to_list()
    longest_first = sorted(terms, key=len, reverse=True)
    found = pl.col("phrase").str.to_lowercase().str.extract(r"\b(" + "|".join(longest_first) + r")\b")
    return rows.with_columns(term=found)


def conversationai_for_training(data: Path, part: str, seed: int) -> pl.DataFrame:
    """Sentences to train on: with part `even`, only from half of the terms and from half of the templates."""
    rows = conversationai(data)
    if part != "all":
        terms = half_of(sorted(set(rows["term"].drop_nulls())), part)
        rows = rows.filter(
            pl.col("term").is_in(terms) | pl.col("term").is_null(), ~pl.col("template").is_in(HELD_OUT_TEMPLATES)
        )
    kept = [
        own.sample(min(SENTENCES_KEPT, len(own)), seed=seed)
        for own in (rows.filter(pl.col("toxicity") == label) for label in ("toxic", "nontoxic"))
    ]
    return pl.concat(kept).select(
        text="phrase",
        label=(pl.col("toxicity") == "toxic").cast(pl.Float64),
        weight=pl.lit(WEIGHTS["conversationai"]),
        source=pl.lit("conversationai"),
    )


def listed_words(data: Path, identity_terms: set[str]) -> pl.DataFrame:
    """Words of published lists of offensive words, each a toxic document of its own; identity terms are left out."""
    rows = pl.read_parquet(data / "bias" / "terms.parquet").filter(
        pl.col("list").is_in(WORD_LISTS), pl.col("lang") == LANGUAGE
    )
    words = {
        one.strip()
        for term in rows["term"]
        for one in re.split(r"\|", term.lower())
        if not re.search(r"[*\\\[\]]", one)
    }
    kept = sorted(word for word in words if word and word not in identity_terms and len(word) > 2)
    return pl.DataFrame([(word, 1.0, WEIGHTS["words"], "words") for word in kept], SCHEMA, orient="row")


def training_rows(data: Path, part: str, seed: int, without: tuple[str, ...] = ()) -> pl.DataFrame:
    """Everything to train on; `without` names sources of comments to leave out."""
    labelled = comments(data, "train").filter(~pl.col("source").is_in(without)).drop("toxic")
    sentences = conversationai_for_training(data, part, seed)
    identity = {term.lower() for term in own_terms("all")} | set(conversationai(data)["term"].drop_nulls())
    return pl.concat([labelled, filled(part, seed), sentences, listed_words(data, identity), pieces(labelled, seed)])


def pieces(labelled: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Sentences of comments that nobody called toxic, as the windows that the filter cuts; each of its own source."""
    benign = labelled.filter(pl.col("label") == 0, pl.col("text").str.len_chars() > LONGEST_PIECE)
    windows = cut_windows(benign["text"], LONGEST_PIECE, least=LEAST_PIECE)
    cut = pl.DataFrame({"text": windows.texts.str.strip_chars(), "source": benign["source"].gather(windows.rows)})
    cut = cut.unique("text", keep="first", maintain_order=True)
    kept = cut.sample(min(PIECES, len(cut)), seed=seed)
    return kept.select("text", label=pl.lit(0.0), weight=pl.lit(WEIGHTS["pieces"]), source="source")


def names_of_sources(rows: pl.DataFrame) -> list[str]:
    """The sources in a fixed order: their place is the number of their own weights in training."""
    return sorted(rows["source"].unique())


__all__ = ["comments", "conversationai", "half_of", "names_of_sources", "own_terms", "training_rows"]
