"""MinHash signatures of texts, bit-equal to those of `datasketch.MinHash(scheme="affine32")`, and their bands.

Source: Broder 1997 (signatures), Leskovec et al., Mining of Massive Datasets, chapter 3 (bands and rows); the
permutations are those of datasketch 2.0, so that signatures can be loaded into its indexes. datasketch itself takes a
Python object per document and hashes token by token; the kernel reads whole columns.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.shingle import (
    HALF,
    Codes,
    Hashes,
    Unit,
    fmix,
    longest_text,
    lower_codes,
    lowered,
    plain_letters,
    text_shingles,
)
from curate.kernels.utf8 import Bytes, Offsets, tables

if TYPE_CHECKING:
    import polars as pl

Signatures = NDArray[np.uint32]

PERMUTATIONS = 128
MOST_PERMUTATIONS = 1024
SEED = 1  # datasketch's default
EMPTY = np.uint32(0xFFFFFFFF)  # what datasketch starts from: the whole signature of a text without shingles

# MurmurHash3's 32-bit finalizer, which datasketch applies to each token hash before the permutations.
FMIX32_1, FMIX32_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
SHIFT_16, SHIFT_13 = np.uint32(16), np.uint32(13)

SAMPLE = 2_000  # pairs
NORMAL_99 = 2.326  # the normal distribution's 99 % quantile
BLOCK = 8  # shingles per round over the permutations


class Bands(NamedTuple):
    """How signatures are cut into bands: two texts are compared when all rows of any band are equal."""

    bands: int
    rows: int
    permutations: int

    def found(self, similarity: float) -> float:
        """The probability that a pair of this Jaccard similarity is compared: the S-curve 1 - (1 - s^r)^b."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)


def choose_bands(threshold: float, recall: float) -> Bands:
    """The cheapest bands that find a pair at the threshold with at least this probability.

    Cheapest: the most rows (fewest pairs compared in vain), then the fewest bands, that fit into 128 permutations.
    Permutations are doubled while more than one in ten pairs of half the threshold would be compared. Raises ValueError
    when even MOST_PERMUTATIONS are too few.
    """
    permutations = PERMUTATIONS
    while True:
        found = _most_rows(threshold, with_margin(recall), permutations)
        enough = found.found(threshold) >= with_margin(recall)
        if (enough and found.found(threshold / 2) <= 0.1) or permutations >= MOST_PERMUTATIONS:
            break
        permutations *= 2
    if not enough:
        raise ValueError(
            f"{MOST_PERMUTATIONS} permutations find a pair of similarity {threshold:g} with a probability of "
            f"{found.found(threshold):.3f} at most, recall {recall:g} asks for more: raise threshold or lower recall"
        )
    return found


def with_margin(recall: float) -> float:
    """A little more than `recall`: the share found of SAMPLE pairs at the threshold is as high in 99 of 100 samples."""
    return min(recall + NORMAL_99 * math.sqrt(recall * (1 - recall) / SAMPLE), (1 + recall) / 2)


def _most_rows(threshold: float, recall: float, permutations: int) -> Bands:
    best = Bands(permutations, 1, permutations)
    for rows in range(1, permutations + 1):
        chance = threshold**rows
        if chance < recall / (2 * permutations):  # no number of bands that fits finds enough
            break
        bands = 1 if chance == 1 else max(1, math.ceil(math.log1p(-recall) / math.log1p(-chance)))
        if bands * rows <= permutations and Bands(bands, rows, permutations).found(threshold) >= recall:
            best = Bands(bands, rows, permutations)
    return best


@cache
def affine32(permutations: int, seed: int = SEED) -> tuple[Signatures, Signatures]:
    """The factors and the summands of datasketch's permutations h -> a * h + b mod 2^32."""
    generator = np.random.RandomState(seed)
    factors = generator.randint(0, 1 << 31, permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    summands = generator.randint(0, 1 << 32, permutations, dtype=np.uint32)
    return factors, summands


def signatures(
    given: pl.Series,
    permutations: int = PERMUTATIONS,
    *,
    ngram: int = 5,
    unit: Unit = "word",
    seed: int = SEED,
    first: int | None = None,
) -> Signatures:
    """The MinHash signature of each text, an array of `uint32[texts, permutations]`; nulls are empty texts.

    Row i equals `datasketch.MinHash(permutations, seed, scheme="affine32")` fed with `token_hashes` of text i's
    shingles. A text without shingles has 0xFFFFFFFF everywhere, as an empty MinHash. `first` computes only so many of
    the permutations.
    """
    factors, summands = affine32(permutations, seed)
    data, offsets = lowered(given)
    unicode = tables()
    return signatures_kernel(
        data, offsets, unicode.classes, lower_codes(), ngram, unit == "char", factors[:first], summands[:first]
    )


def empty(given: Signatures) -> NDArray[np.bool_]:
    """Which signatures are those of texts without shingles."""
    return np.asarray((given == EMPTY).all(axis=1))


def band_keys(given: Signatures, cut: Bands) -> Hashes:
    """A 64-bit hash of each band of each signature and of the band's number: `uint64[texts, bands]`."""
    return band_keys_kernel(given, cut.bands, cut.rows)


# --- kernels ----------------------------------------------------------------------------------------------------------


@kernel
def permute(hashes: Hashes, count: Int, factors: Signatures, summands: Signatures, out: Signatures) -> None:
    """Take the minimum of each permutation over the upper 32 bits of some shingle hashes into `out`."""
    mixed = np.empty(BLOCK, np.uint32)
    for start in range(0, count, BLOCK):
        for place in range(BLOCK):
            value = np.uint32(hashes[min(start + place, count - 1)] >> HALF)  # a repeat changes no minimum
            value = np.uint32(value ^ np.uint32(value >> SHIFT_16)) * FMIX32_1
            value = np.uint32(value)
            value = np.uint32(np.uint32(value ^ np.uint32(value >> SHIFT_13)) * FMIX32_2)
            mixed[place] = value ^ np.uint32(value >> SHIFT_16)
        h0, h1, h2, h3 = mixed[0], mixed[1], mixed[2], mixed[3]
        h4, h5, h6, h7 = mixed[4], mixed[5], mixed[6], mixed[7]
        for number in range(len(out)):
            a = factors[number]
            b = summands[number]
            low = min(min(np.uint32(a * h0 + b), np.uint32(a * h1 + b)), np.uint32(a * h2 + b))
            low = min(min(np.uint32(a * h3 + b), np.uint32(a * h4 + b)), low)
            low = min(min(np.uint32(a * h5 + b), np.uint32(a * h6 + b)), low)
            low = min(low, np.uint32(a * h7 + b))
            out[number] = min(out[number], low)


@kernel
def signatures_kernel(
    data: Bytes,
    offsets: Offsets,
    classes: Bytes,
    lower: Codes,
    ngram: Int,
    chars: bool,
    factors: Signatures,
    summands: Signatures,
) -> Signatures:
    """The signature of each text; the shingles of one text at a time are in memory."""
    rows = len(offsets) - 1
    plain = plain_letters(classes, lower)
    buffer = np.empty(longest_text(offsets) + 1, np.uint64)
    out = np.full((rows, len(factors)), EMPTY, np.uint32)
    for row in range(rows):
        count = text_shingles(data, offsets[row], offsets[row + 1], classes, lower, plain, ngram, chars, buffer)
        permute(buffer, count, factors, summands, out[row])
    return out


@kernel
def band_keys_kernel(given: Signatures, bands: Int, rows: Int) -> Hashes:
    """A hash of each band of each signature."""
    keys = np.empty((len(given), bands), np.uint64)
    for row in range(len(given)):
        for band in range(bands):
            value = fmix(np.uint64(band + 1))
            for place in range(band * rows, (band + 1) * rows):
                value = fmix(value ^ np.uint64(given[row, place]))
            keys[row, band] = value
    return keys
