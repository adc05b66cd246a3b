"""The pairs of preference records: their texts, their similarity, and records that contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from curate.filter import Partition
from curate.filters.keep import PLACE
from curate.filters.turns import per_row
from curate.stats import Numbers

KEYS = ["prompt", "chosen", "rejected"]
DECIDES = {"swapped_with": pl.String(), "cycle_with": pl.List(pl.String)}


class Pairs(NamedTuple):
    """The parts of each record: the last turn of either side, null where there is none; the shared prompt."""

    chosen: pl.Series
    rejected: pl.Series
    prompt: pl.Series
    question: pl.Series  # the last turn of the user in the prompt
    judged: pl.Series  # whether it has both sides


def pairs_of(docs: pl.DataFrame, turns: pl.DataFrame) -> Pairs:
    """The parts of the records whose turns these are."""
    size = len(docs)
    content, role, side = pl.col("content"), pl.col("role"), pl.col("side")
    found = turns.group_by("row", maintain_order=True).agg(
        content.filter(side == "chosen").last().alias("chosen"),
        content.filter(side == "rejected").last().alias("rejected"),
        content.filter((side == "prompt") & (role == "user")).last().alias("question"),
        pl.col("end").filter(side == "prompt").max().fill_null(0).alias("end"),
    )
    parts = per_row(found, size).with_columns(docs["text"].cast(pl.String).cast(pl.Binary))
    prompt = parts.select(pl.col("text").bin.slice(0, pl.col("end").fill_null(0)).cast(pl.String).fill_null(""))
    judged = parts["chosen"].is_not_null() & parts["rejected"].is_not_null()
    return Pairs(parts["chosen"], parts["rejected"], prompt.to_series(), parts["question"], judged)


def differing_prompts(turns: pl.DataFrame) -> pl.DataFrame:
    """The records, as `row`, whose sides go different ways before their last turns; normalised texts are compared."""
    from curate.kernels.text import normalize
    from curate.kernels.utf8 import column

    sided = turns.filter(pl.col("side").is_in(["chosen", "rejected"]))
    several = sided.filter(pl.len().over("row", "side") > 1)["row"].unique()
    own = sided.filter(pl.col("row").is_in(several.implode()))
    said = pl.concat_str(pl.col("role").fill_null(""), pl.lit("\x1e"), pl.Series(column(normalize(own["content"]))))
    before = (
        own.with_columns(said=said)
        .group_by("row", "side", maintain_order=True)
        .agg(pl.col("said").head(pl.len() - 1).str.join("\x1f"))
    )
    wide = before.group_by("row", maintain_order=True).agg(
        one=pl.col("said").filter(pl.col("side") == "chosen").first(),
        two=pl.col("said").filter(pl.col("side") == "rejected").first(),
    )
    return wide.filter(pl.col("one").is_not_null() & pl.col("two").is_not_null() & (pl.col("one") != pl.col("two")))


def equal_texts(pairs: Pairs) -> pl.Series:
    """Whether both responses are the same in NFC, with case folded and white space collapsed."""
    from curate.kernels.text import normalize
    from curate.kernels.utf8 import column

    same = column(normalize(pairs.chosen)) == column(normalize(pairs.rejected))
    return same & pairs.judged


def similarity(pairs: Pairs) -> pl.Series:
    """The Jaccard similarity of the sets of words of both responses; null where there are no words, or no pair."""
    from curate.kernels.pairs import row_jaccards
    from curate.kernels.shingle import shingle_sets

    one, two = shingle_sets(pairs.chosen, 1), shingle_sets(pairs.rejected, 1)
    found = pl.Series(row_jaccards(one.hashes, one.offsets, two.hashes, two.offsets)).fill_nan(None)
    return found.zip_with(pairs.judged, pl.repeat(None, len(found), dtype=pl.Float64, eager=True))


def hashes(pairs: Pairs, apart: pl.Series) -> pl.DataFrame:
    """`prompt, chosen, rejected`: hashes of normalised texts; responses null where they are no pair or the same.

    Nor are those a pair that are `apart`, answers to different prompts.
    """
    from curate.kernels.hashing import hash64
    from curate.kernels.text import normalize

    columns = [
        pl.Series(name, hash64(normalize(series)))
        for name, series in zip(KEYS, (pairs.prompt, pairs.chosen, pairs.rejected), strict=True)
    ]
    frame = pl.DataFrame([*columns, (pairs.judged & ~apart).alias("judged")])
    usable = pl.col("judged") & (pl.col("chosen") != pl.col("rejected"))
    return frame.select("prompt", *(pl.when(usable).then(name).alias(name) for name in KEYS[1:]))


def contradictions(part: tuple[int, Partition], scratch: Path) -> Path:
    """Write what contradicts what among the records of one partition of prompts, and return the file."""
    number, partition = part
    documents = partition.read().filter(pl.col("chosen").is_not_null()).sort(PLACE)
    found = (
        documents.join(_swapped(documents), on=KEYS, how="left")
        .join(_cycles(documents), on=KEYS, how="left")
        .filter(pl.col("swapped_with").is_not_null() | pl.col("cycle_with").is_not_null())
        .select(*PLACE, *DECIDES)
        .sort(PLACE)
    )
    path = scratch / f"contradictions-{number:05d}.arrow"
    found.write_ipc(path)
    return path


def _edges(documents: pl.DataFrame) -> pl.DataFrame:
    """Each different pair once, with the first record that says so."""
    return documents.group_by(KEYS, maintain_order=True).agg(pl.col("id").first())


def _swapped(documents: pl.DataFrame) -> pl.DataFrame:
    """The pairs that another record has the other way round, with that record."""
    edges = _edges(documents)
    other = edges.select("prompt", chosen="rejected", rejected="chosen", swapped_with="id")
    return edges.join(other, on=KEYS).select(*KEYS, "swapped_with")


def _cycles(documents: pl.DataFrame) -> pl.DataFrame:
    """The pairs A over B with which others, B over C and C over A, go in a circle, and those records.

    First pairs are left out that cannot be in a circle: nothing is preferred to their first, or to nothing their last.
    """
    edges, before = _edges(documents), -1
    while len(edges) != before:
        before = len(edges)
        edges = edges.join(edges.select("prompt", chosen="rejected").unique(), on=["prompt", "chosen"], how="semi")
        edges = edges.join(edges.select("prompt", rejected="chosen").unique(), on=["prompt", "rejected"], how="semi")
    second = edges.select("prompt", rejected="chosen", third="rejected", second_id="id")
    last = edges.select("prompt", third="chosen", chosen="rejected", third_id="id")
    return (
        edges.join(second, on=["prompt", "rejected"])
        .join(last, on=["prompt", "third", "chosen"])
        .sort("second_id", "third_id")
        .group_by(KEYS, maintain_order=True)
        .agg(pl.concat_list("second_id", "third_id").first().alias("cycle_with"))
    )


def oriented(difference: Numbers, fold: ArrayLike) -> tuple[Numbers, Numbers]:
    """Differences between the responses of pairs, of which half are turned round, as those of positives and negatives.

    The lowest bit of the fold says which: so each pair counts once, and neither label has a side of its own.
    """
    turned = np.asarray(fold, np.int64) % 2 == 1
    return difference[~turned], -difference[turned]
