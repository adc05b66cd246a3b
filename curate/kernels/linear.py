"""Scores of a two-label fastText model with one column: a weight per word, character n-gram and run of two words.

For two labels fastText's score is linear in the mean of the rows, whatever their width, so one column says as much as
many, and the same file holds as many times more rows. Here weights are summed and divided by a power of their number;
fastText itself divides by the number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels import kernel
from curate.kernels.fasttext import (
    CACHED_WORD_BYTES,
    END_OF_LINE_HASH,
    FNV_START,
    Ints,
    Weights,
    cache_size,
    mix,
    room,
    rows_of_runs,
    rows_of_word,
    same_bytes,
)
from curate.kernels.utf8 import Bytes, Offsets

BLANK = 0x20


@kernel
def sums_kernel(data: Bytes, offsets: Offsets, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The sum of the weights of each text, and how many there are; words stand between single spaces."""
    texts = len(offsets) - 1
    sums = np.zeros(texts, np.float64)
    counts = np.zeros(texts, np.int64)
    rows = weights.rows
    runs = weights.word_grams > 1
    cached = cache_size(offsets[texts] - offsets[0])  # words met before in this batch, by hash: where, and their sums
    cached_at = np.full(cached, -1, np.int64)
    cached_length = np.zeros(cached, np.int32)
    cached_rows = np.zeros(cached, np.int32)
    cached_sum = np.zeros(cached, np.float64)
    padded = np.zeros(512, np.uint8)
    wanted = np.zeros(room(512, weights.longest), np.int32)
    chains = np.zeros(max(weights.word_grams, 1), np.uint64)
    for text in range(texts):
        at, end = np.int64(offsets[text]), np.int64(offsets[text + 1])
        total, found, open_chains = 0.0, 0, 0
        while at < end:
            start = at
            hashed = np.int64(FNV_START)
            while at < end and data[at] != BLANK:
                hashed = mix(hashed, data[at])
                at += 1
            length = at - start
            slot = hashed & (cached - 1)
            if (
                length > CACHED_WORD_BYTES
                or cached_length[slot] != length
                or not same_bytes(data, start, data, cached_at[slot], length)
            ):
                added = rows_of_word(data, start, at, hashed, padded, wanted, weights)
                own = 0.0
                for one in range(added):
                    own += rows[wanted[one], 0]
                cached_at[slot], cached_length[slot], cached_rows[slot], cached_sum[slot] = start, length, added, own
            total += cached_sum[slot]
            found += cached_rows[slot]
            if runs:
                added, open_chains = rows_of_runs(hashed, chains, open_chains, wanted, weights)
                for one in range(added):
                    total += rows[wanted[one], 0]
                found += added
            at += 1
        if runs and open_chains:
            added, open_chains = rows_of_runs(END_OF_LINE_HASH, chains, open_chains, wanted, weights)
            for one in range(added):
                total += rows[wanted[one], 0]
            found += added
        sums[text], counts[text] = total, found
    return sums, counts


@kernel
def rows_kernel(data: Bytes, offsets: Offsets, weights: Weights, out: Ints, ends: Offsets) -> None:
    """Write the rows that `sums_kernel` adds up, text after text, and where each text's rows end; for training."""
    padded = np.zeros(512, np.uint8)
    wanted = np.zeros(room(512, weights.longest), np.int32)
    chains = np.zeros(max(weights.word_grams, 1), np.uint64)
    to = 0
    for text in range(len(offsets) - 1):
        at, end = np.int64(offsets[text]), np.int64(offsets[text + 1])
        open_chains = 0
        while at < end:
            start = at
            hashed = np.int64(FNV_START)
            while at < end and data[at] != BLANK:
                hashed = mix(hashed, data[at])
                at += 1
            added = rows_of_word(data, start, at, hashed, padded, wanted, weights)
            for one in range(added):
                out[to + one] = wanted[one]
            to += added
            if weights.word_grams > 1:
                added, open_chains = rows_of_runs(hashed, chains, open_chains, wanted, weights)
                for one in range(added):
                    out[to + one] = wanted[one]
                to += added
            at += 1
        if open_chains:
            added, open_chains = rows_of_runs(END_OF_LINE_HASH, chains, open_chains, wanted, weights)
            for one in range(added):
                out[to + one] = wanted[one]
            to += added
        ends[text + 1] = to
