"""What near-duplicates a corpus has, exactly, and what a tool made of them.

The similarity of two texts is the exact Jaccard similarity of their sets of word 5-grams; a word is a run of `\\w` of
the lower-cased text, and in scripts without spaces between words each letter is one. A text of fewer words is one
shingle. All pairs with a similarity of at least one half are found, without sampling and without hash bands: two such
texts share a shingle among the rarest ones of each (prefix filtering, Bayardo et al. 2007, Scaling up all pairs
similarity search), and each candidate is then counted out.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

NGRAM = 5
THRESHOLD = 0.8
LEAST = 0.5  # pairs below it are not looked for
STEP = 0.02
BINS = [round(LEAST + STEP * number, 2) for number in range(round((1 - LEAST) / STEP))]
UNSPACED = r"\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"(?=\w)[{UNSPACED}]|[^\W{UNSPACED}]+")
LETTER = re.compile(rf"(?=\w)[{UNSPACED}]")
BLOCK = 500  # texts whose candidates are held at once
PAIRS = 200_000  # candidates counted at once

Row = dict[str, Any]
Flags = NDArray[np.bool_]


class Truth(NamedTuple):
    """All similar pairs of a corpus (rows a < b, jaccard), and each document: id, planted, unspaced, words or not."""

    documents: pl.DataFrame
    pairs: pl.DataFrame


# --- pairs that are made ----------------------------------------------------------------------------------------------


def planted(
    low: float, pairs: int, letters: bool, sizes: tuple[int, int] = (400, 800)
) -> Iterator[tuple[str, str, float]]:
    """Pairs of random texts whose exact similarity lies in a bin of .02, and that similarity.

    Words are six random letters, so that no tool's normalisation makes two of them one. `sizes`: shingles of a text.
    """
    chooser = random.Random(f"{low} {letters}")
    for _ in range(pairs):
        size = chooser.randrange(*sizes)
        wanted = low + 0.005 + chooser.random() * 0.0149
        changed = next(number for number in range(size) if (size - number) / (size + number) <= wanted)
        units = size + NGRAM - 1
        own, other = (
            [
                chr(0x4E00 + chooser.randrange(20_000)) if letters else "".join(chooser.choices(LOWER, k=6))
                for _ in range(many)
            ]
            for many in (units, changed)
        )
        join = "" if letters else " "
        yield join.join(own), join.join([*own[: units - changed], *other]), (size - changed) / (size + changed)


LOWER = string.ascii_lowercase


def planted_documents(pairs: int) -> pl.DataFrame:
    """Documents of planted pairs: every bin with spaces, the bins from the threshold up without."""
    rows = []
    for letters in (False, True):
        for low in BINS:
            if letters and low < THRESHOLD:
                continue
            made = planted(low, pairs // 4 if letters else pairs, letters, sizes=(150, 400))
            for number, (one, other, _) in enumerate(made):
                name = f"planted-{'letters' if letters else 'words'}-{low}-{number}"
                rows += [{"id": f"{name}-a", "text": one}, {"id": f"{name}-b", "text": other}]
    return pl.DataFrame(rows)


# --- all similar pairs ------------------------------------------------------------------------------------------------


def truth(corpus: Path) -> Truth:
    """Every pair of a corpus with a similarity of at least one half."""
    frame = pl.read_parquet(corpus / "*.parquet", columns=["id", "text"])
    sets = [shingles(text) for text in frame["text"]]
    documents = frame.select(
        "id",
        planted=pl.col("id").str.starts_with("planted-"),
        unspaced=pl.Series([bool(LETTER.search(text)) for text in frame["text"]]),
        words=pl.Series([len(each) > 0 for each in sets]),
    )
    return Truth(documents, similar_pairs(matrix(sets)))


def shingles(text: str) -> NDArray[np.uint64]:
    """The distinct shingles of a text, hashed to 64 bits with BLAKE2."""
    words = WORD.findall(text.lower())
    if not words:
        return np.empty(0, np.uint64)
    found = {" ".join(words[at : at + NGRAM]) for at in range(max(1, len(words) - NGRAM + 1))}
    data = b"".join(hashlib.blake2b(each.encode("utf-8", "surrogatepass"), digest_size=8).digest() for each in found)
    return np.frombuffer(data, np.uint64)


def matrix(sets: list[NDArray[np.uint64]]) -> csr_array:
    """Texts x shingles, shingles numbered from the rarest to the most frequent one."""
    lengths = np.array([len(each) for each in sets])
    _, number, count = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    rank = np.empty(len(count), np.int32)
    rank[np.argsort(count, kind="stable")] = np.arange(len(count), dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    found = csr_array((np.ones(len(number), np.int32), rank[number], starts), shape=(len(sets), len(count)))
    found.sort_indices()
    return found


def similar_pairs(found: csr_array) -> pl.DataFrame:
    """Rows a < b and their similarity, of all pairs that reach LEAST."""
    lengths = np.diff(found.indptr)
    prefix = prefixes(found, lengths)
    turned = prefix.T.tocsr()
    parts = [pl.DataFrame(schema={"a": pl.UInt32, "b": pl.UInt32, "jaccard": pl.Float64})]
    for start in range(0, found.shape[0], BLOCK):
        candidates = (prefix[start : start + BLOCK] @ turned).tocoo()
        one, other = candidates.row + start, candidates.col
        shorter, longer = np.minimum(lengths[one], lengths[other]), np.maximum(lengths[one], lengths[other])
        wanted = (one < other) & (shorter >= LEAST * longer)
        one, other = one[wanted], other[wanted]
        for at in range(0, len(one), PAIRS):
            parts.append(counted(found, lengths, one[at : at + PAIRS], other[at : at + PAIRS]))
    return pl.concat(parts)


def prefixes(found: csr_array, lengths: NDArray[Any]) -> csr_array:
    """The rarest shingles of each text: so many that texts without a common one among them cannot reach LEAST."""
    size = np.array([length - math.ceil(LEAST * length) + 1 if length else 0 for length in lengths])
    place = np.arange(len(found.indices)) - np.repeat(found.indptr[:-1], lengths)
    taken = place < np.repeat(size, lengths)
    starts = np.concatenate([[0], np.cumsum(size)])
    return csr_array((found.data[taken], found.indices[taken], starts), shape=found.shape)


def counted(found: csr_array, lengths: NDArray[Any], one: NDArray[Any], other: NDArray[Any]) -> pl.DataFrame:
    """The exact similarity of some pairs, those that reach LEAST."""
    parts = []
    for at in range(0, len(one), 2_000):
        a, b = one[at : at + 2_000], other[at : at + 2_000]
        common = found[a].multiply(found[b]).sum(axis=1)
        parts.append(np.asarray(common) / (lengths[a] + lengths[b] - np.asarray(common)))
    similarity = np.concatenate(parts) if parts else np.empty(0)
    frame = pl.DataFrame({"a": one.astype(np.uint32), "b": other.astype(np.uint32), "jaccard": similarity})
    return frame.filter(pl.col("jaccard") >= LEAST)


# --- what a tool made of it -------------------------------------------------------------------------------------------


def judge(truth: Truth, kept_ids: pl.Series, marks_all: bool) -> Row:
    """What was found and what was removed, against the exact pairs.

    A pair counts as found when not both of its documents are kept; a planted pair stands alone, so that exactly one of
    the two must be gone (both gone: merged with other texts). A real document may have been removed for the sake of a
    third one. A removed document is as justified as it is similar to one that stays. `marks_all`: the tool marks every
    member of a group, so that both of a pair must be marked, and any other document is a reason.
    """
    documents, pairs = truth
    kept = documents["id"].is_in(kept_ids.implode()).to_numpy()
    one, other = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    made = (documents["planted"].gather(pairs["a"]) & documents["planted"].gather(pairs["b"])).to_numpy()
    found = np.where(made, kept[one] ^ kept[other], ~(kept[one] & kept[other]))
    kinds = pairs.with_columns(
        found=~(kept[one] | kept[other]) if marks_all else found,
        bin=bin_of(pairs["jaccard"]),
        planted=made,
        unspaced=documents["unspaced"].gather(pairs["a"]) | documents["unspaced"].gather(pairs["b"]),
    )
    return {
        "unknown_ids": int((~kept_ids.is_in(documents["id"].implode())).sum()),
        "documents": len(kept),
        "removed": int((~kept).sum()),
        "planted": share(kinds.filter(pl.col("planted") & ~pl.col("unspaced"))),
        "planted_letters": share(kinds.filter(pl.col("planted") & pl.col("unspaced"))),
        "web": share(kinds.filter(~pl.col("planted") & ~pl.col("unspaced"))),
        "web_letters": share(kinds.filter(~pl.col("planted") & pl.col("unspaced"))),
        "justified": justified(truth, kept, marks_all, unspaced=False),
        "justified_letters": justified(truth, kept, marks_all, unspaced=True),
    }


def bin_of(similarity: pl.Series) -> pl.Series:
    """The number of each similarity's bin; 1.0 itself has a bin of its own at the end."""
    return ((similarity - LEAST + 1e-9) / STEP).floor().cast(pl.Int64).clip(0, len(BINS))


def share(pairs: pl.DataFrame) -> Row:
    """Pairs and found pairs by bin, and of all those from the threshold up."""
    reached = pairs.filter(pl.col("jaccard") >= THRESHOLD)
    by_bin = pairs.group_by("bin").agg(pairs=pl.len(), found=pl.col("found").sum()).sort("bin")
    return {
        "bins": {row["bin"]: [row["pairs"], row["found"]] for row in by_bin.iter_rows(named=True)},
        "pairs": reached.height,
        "found": int(reached["found"].sum()),
    }


def justified(truth: Truth, kept: Flags, marks_all: bool, unspaced: bool) -> Row:
    """Of the removed real documents: how many have a document that stays at each bin of similarity, or none."""
    documents, pairs = truth
    both = pl.concat([pairs, pairs.select(a="b", b="a", jaccard="jaccard")])
    if not marks_all:
        both = both.filter(pl.Series(kept[both["b"].to_numpy()]))
    best = both.group_by("a").agg(pl.col("jaccard").max())
    removed = (
        documents.with_row_index("a")
        .filter(pl.Series(~kept) & ~pl.col("planted") & (pl.col("unspaced") == unspaced))
        .join(best, on="a", how="left")
    )
    close = removed["jaccard"].drop_nulls()
    counts = bin_of(close).value_counts(name="count").sort("jaccard")
    return {
        "removed": removed.height,
        "reach": int((close >= THRESHOLD).sum()),
        "below_half": int(removed["jaccard"].is_null().sum()),
        "without_words": int((~removed["words"]).sum()),
        "bins": {int(row[0]): int(row[1]) for row in counts.iter_rows()},
    }


def kept_ids(folder: Path) -> pl.Series:
    """The ids of the documents in what a tool wrote: Parquet files, or the Arrow files of `datasets`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = folder / "kept"
    files = [*(folder / "run" / "dataset").rglob("*.parquet"), *folder.glob("*.parquet"), *kept.rglob("*.parquet")]
    tables = [pq.read_table(file, columns=["id"]) for file in files]
    for file in kept.glob("*.arrow"):
        with pa.memory_map(str(file)) as source:
            tables.append(pa.ipc.open_stream(source).read_all().select(["id"]))
    return pl.concat([pl.Series("id", table["id"].to_pylist(), pl.String) for table in tables])
