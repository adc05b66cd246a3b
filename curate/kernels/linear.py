"""Scores of a two-label fastText model with one column: a weight per character n-gram and run of two words.

For two labels fastText's score is linear in the mean of the rows, whatever their width, so one column says as much as
many, and the same file holds as many times more rows. Here weights are summed and divided by a power of their number;
fastText itself divides by the number. A word that was met `most` times in a text is passed over from then on, so that
repetition adds nothing; fastText counts every one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
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

Keys = NDArray[np.int64]

BLANK = 0x20
LONGEST_PADDED = 512  # bytes; `curate.kernels.fold` makes no longer word
MOST_SLOTS = 1 << 20  # of the table of words met in a text: half of that many different words are told apart
EVERY_TIME = 1 << 30  # for `most`: no text has a word so often


@inlined
def word_at(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """Where the word that starts here ends, and its hash."""
    hashed = np.int64(FNV_START)
    while at < end and data[at] != BLANK:
        hashed = mix(hashed, data[at])
        at += 1
    return at, hashed


@kernel
def slots_for(offsets: Offsets) -> Int:
    """How many slots the table of words met in a text needs for the longest text: more than twice its words."""
    longest: Int = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, np.int64(offsets[text + 1] - offsets[text]))
    slots: Int = 16
    while slots <= longest + 2 and slots < MOST_SLOTS:
        slots *= 2
    return slots


@inlined
def times_met(keys: Keys, times: Ints, text: Int, hashed: Int, room_left: bool) -> Int:
    """How often a word has been met in a text, this time included; 0 if it is new and there is no room to note it."""
    key = (np.int64(text) << 32) | hashed
    slot = (hashed ^ (hashed >> 15)) & (len(keys) - 1)
    while keys[slot] >> 32 == text:
        if keys[slot] == key:
            times[slot] += 1
            return np.int64(times[slot])
        slot = (slot + 1) & (len(keys) - 1)
    if not room_left:
        return np.int64(0)
    keys[slot] = key
    times[slot] = 1
    return np.int64(1)


@kernel
def sums_kernel(
    data: Bytes, offsets: Offsets, weights: Weights, most: Int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
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
    slots = slots_for(offsets)
    keys = np.full(slots, -1, np.int64)
    times = np.zeros(slots, np.int32)
    padded = np.zeros(LONGEST_PADDED, np.uint8)
    wanted = np.zeros(room(LONGEST_PADDED, weights.longest), np.int32)
    chains = np.zeros(max(weights.word_grams, 1), np.uint64)
    for text in range(texts):
        at, end = np.int64(offsets[text]), np.int64(offsets[text + 1])
        total, found, different, open_chains = 0.0, 0, 0, 0
        ended = False
        while not ended:
            ended = bool(at >= end)
            start = at
            at, hashed = (at, np.int64(END_OF_LINE_HASH)) if ended else word_at(data, at, end)
            met = 0 if ended else times_met(keys, times, text, hashed, 2 * different < slots)
            different += met == 1
            if not ended and met <= most:
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
                    cached_at[slot], cached_length[slot], cached_rows[slot], cached_sum[slot] = (
                        start,
                        length,
                        added,
                        own,
                    )
                total += cached_sum[slot]
                found += cached_rows[slot]
            if runs and (open_chains or not ended):
                added, open_chains = rows_of_runs(hashed, chains, open_chains, wanted, weights)
                if met <= most:
                    for one in range(added):
                        total += rows[wanted[one], 0]
                    found += added
            at += 1
        sums[text], counts[text] = total, found
    return sums, counts


@kernel
def rows_kernel(data: Bytes, offsets: Offsets, weights: Weights, most: Int, out: Ints, ends: Offsets) -> None:
    """Write the rows that `sums_kernel` adds up, text after text, and where each text's rows end; for training."""
    slots = slots_for(offsets)
    keys = np.full(slots, -1, np.int64)
    times = np.zeros(slots, np.int32)
    padded = np.zeros(LONGEST_PADDED, np.uint8)
    wanted = np.zeros(room(LONGEST_PADDED, weights.longest), np.int32)
    chains = np.zeros(max(weights.word_grams, 1), np.uint64)
    to = 0
    for text in range(len(offsets) - 1):
        at, end = np.int64(offsets[text]), np.int64(offsets[text + 1])
        different, open_chains = 0, 0
        ended = False
        while not ended:
            ended = bool(at >= end)
            start = at
            at, hashed = (at, np.int64(END_OF_LINE_HASH)) if ended else word_at(data, at, end)
            met = 0 if ended else times_met(keys, times, text, hashed, 2 * different < slots)
            different += met == 1
            if not ended and met <= most:
                to += put(out, to, wanted, rows_of_word(data, start, at, hashed, padded, wanted, weights))
            if weights.word_grams > 1 and (open_chains or not ended):
                added, open_chains = rows_of_runs(hashed, chains, open_chains, wanted, weights)
                to += put(out, to, wanted, added if met <= most else 0)
            at += 1
        ends[text + 1] = to


@inlined
def put(out: Ints, to: Int, wanted: Ints, count: Int) -> Int:
    """Write the first rows of `wanted` to a place of `out`; return how many."""
    for one in range(count):
        out[to + one] = wanted[one]
    return count
