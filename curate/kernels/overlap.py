"""Runs of words that texts share with a list of items: n-grams, and short items as a whole.

Words and their hashes are those of `curate.kernels.shingle`. An item with at least n words is known by the hash of each
of its n-grams, a shorter one by the hash of its first words and of all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.shingle import (
    GRAM_FACTOR,
    Codes,
    Hashes,
    fmix,
    gram_hashes,
    longest_text,
    lower_codes,
    plain_letters,
    word_units,
)
from curate.kernels.utf8 import MALFORMED, UNSPACED, WORD, Bytes, Offsets, Texts, decode, tables

THREE, SEVEN = np.uint64(3), np.uint64(7)
BITS_PER_HASH = 32  # of the table that is looked at first: one other n-gram in 32 passes it

Matches = NDArray[np.int64]  # one row each: text, first word, number of words, place of the n-gram or short item


class Words(NamedTuple):
    """By text: how many words, and the hashes of the first few and of all."""

    counts: NDArray[np.int64]
    firsts: Hashes
    wholes: Hashes


class Index(NamedTuple):
    """What is looked for: sorted hashes of n-grams; short items by the hash of their first words, sorted."""

    ngram: int
    hashes: Hashes
    passes: Bytes  # a bit for each hash, by its upper bits
    first: int  # words in a short item's key
    keys: Hashes
    sizes: NDArray[np.int64]  # words of each short item
    wholes: Hashes
    keys_pass: Bytes


def make_index(ngram: int, hashes: Hashes, first: int, keys: Hashes, sizes: NDArray[np.int64], wholes: Hashes) -> Index:
    """An index of sorted hashes and of short items sorted by their keys; all arrays are made read-only."""
    arrays = hashes, bit_table(hashes), keys, sizes, wholes, bit_table(keys)
    for array in arrays:
        array.flags.writeable = False
    return Index(ngram, arrays[0], arrays[1], first, arrays[2], arrays[3], arrays[4], arrays[5])


def bit_table(hashes: Hashes) -> Bytes:
    """A table of bits in which the bit of each hash is set; its size is a power of two."""
    bits = max(10, int(BITS_PER_HASH * max(1, len(hashes)) - 1).bit_length())
    table = np.zeros(1 << bits, np.bool_)
    table[(hashes >> np.uint64(64 - bits)).astype(np.int64)] = True
    return np.packbits(table, bitorder="little")


def words(given: Texts, first: int) -> Words:
    """The number of words of each text, the hash of its first ones and of all."""
    return Words(*words_kernel(given.data, given.offsets, tables().classes, lower_codes(), first))


def overlaps(given: Texts, index: Index) -> Matches:
    """Every place where a text has an n-gram of the index or a whole short item, in the order of the texts."""
    _, hashes, passes, first, keys, sizes, wholes, keys_pass = index
    return overlaps_kernel(
        given.data, given.offsets, tables().classes, lower_codes(), index.ngram, hashes, passes,
        first, keys, sizes, wholes, keys_pass,
    )  # fmt: skip


def word_spans(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each word of a text starts and ends, in bytes."""
    return spans_kernel(np.frombuffer(text, np.uint8), tables().classes)


@kernel
def words_kernel(
    data: Bytes, offsets: Offsets, classes: Bytes, lower: Codes, first: Int
) -> tuple[NDArray[np.int64], Hashes, Hashes]:
    """Counts and hashes of each text's words."""
    rows = len(offsets) - 1
    plain = plain_letters(classes, lower)
    units = np.empty(longest_text(offsets) + 1, np.uint64)
    counts, firsts, wholes = np.zeros(rows, np.int64), np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)
    for row in range(rows):
        count = word_units(data, offsets[row], offsets[row + 1], classes, lower, plain, units)
        value: Int = np.uint64(0)
        for place in range(count):
            value = value * GRAM_FACTOR + fmix(units[place])
            if place == first - 1:
                firsts[row] = fmix(value)
        counts[row], wholes[row] = count, fmix(value)
    return counts, firsts, wholes


@kernel
def find_first(hashes: Hashes, value: Int) -> Int:
    """The first place of a hash among sorted ones, -1 when it is not there."""
    low, high = np.int64(0), np.int64(len(hashes))
    while low < high:
        middle = (low + high) >> 1
        if hashes[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < len(hashes) and hashes[low] == value else np.int64(-1)


@kernel
def whole_hash(units: Hashes, start: Int, size: Int) -> Int:
    """The hash of some words in a row."""
    value: Int = np.uint64(0)
    for one in range(start, start + size):
        value = value * GRAM_FACTOR + units[one]
    return fmix(value)


@kernel
def shift_of(passes: Bytes) -> Int:
    """How far a hash is shifted to be a place in a table of bits."""
    shift: Int = 64
    size = len(passes) * 8
    while size > 1:
        size >>= 1
        shift -= 1
    return np.uint64(shift)


@kernel
def overlaps_kernel(
    data: Bytes, offsets: Offsets, classes: Bytes, lower: Codes, ngram: Int, hashes: Hashes, passes: Bytes,
    first: Int, keys: Hashes, sizes: NDArray[np.int64], wholes: Hashes, keys_pass: Bytes,
) -> Matches:  # fmt: skip
    """The matches of all texts; the place of a short item is its place among the keys, after all n-grams."""
    plain = plain_letters(classes, lower)
    room = longest_text(offsets) + 1
    units, grams = np.empty(room, np.uint64), np.empty(room, np.uint64)
    shift, keys_shift = shift_of(passes), shift_of(keys_pass)
    out = np.empty((64, 4), np.int64)
    made: Int = 0
    last: Int = np.uint64(1)
    for _ in range(first):
        last = last * GRAM_FACTOR
    for row in range(len(offsets) - 1):
        count = word_units(data, offsets[row], offsets[row + 1], classes, lower, plain, units)
        if count < min(ngram, first):
            continue
        gram_hashes(units, count, ngram, grams)  # and mixes the units
        for place in range(count - ngram + 1):
            bit = grams[place] >> shift
            if not passes[bit >> THREE] >> np.uint8(bit & SEVEN) & 1:
                continue
            found = find_first(hashes, grams[place])
            if found >= 0:
                if made == len(out):
                    out = longer(out)
                out[made, 0], out[made, 1], out[made, 2], out[made, 3] = row, place, ngram, found
                made += 1
        if len(keys) == 0:
            continue
        value: Int = np.uint64(0)
        for place in range(count):
            value = value * GRAM_FACTOR + units[place]
            if place >= first:
                value = value - units[place - first] * last
            elif place < first - 1:
                continue
            key = fmix(value)
            bit = key >> keys_shift
            if not keys_pass[bit >> THREE] >> np.uint8(bit & SEVEN) & 1:
                continue
            start = place - first + 1
            found = find_first(keys, key)
            while 0 <= found < len(keys) and keys[found] == key:
                size = sizes[found]
                if start + size <= count and whole_hash(units, start, size) == wholes[found]:
                    if made == len(out):
                        out = longer(out)
                    out[made, 0], out[made, 1], out[made, 2], out[made, 3] = row, start, size, len(hashes) + found
                    made += 1
                found += 1
    return out[:made].copy()


@kernel
def longer(out: Matches) -> Matches:
    """The same rows with room for as many more."""
    more = np.empty((2 * len(out), 4), np.int64)
    more[: len(out)] = out
    return more


@kernel
def spans_kernel(data: Bytes, classes: Bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and ends of the words of one text, cut as `word_units` cuts it."""
    starts, ends = np.empty(len(data) + 1, np.int64), np.empty(len(data) + 1, np.int64)
    count = 0
    at = 0
    begin = -1
    while at < len(data):
        here = at
        code, at = decode(data, at, len(data))
        bits = np.uint8(0) if code == MALFORMED else classes[code]
        if bits & WORD and not bits & UNSPACED:
            if begin < 0:
                begin = here
            continue
        if begin >= 0:
            starts[count], ends[count] = begin, here
            count += 1
            begin = -1
        if bits & UNSPACED:
            starts[count], ends[count] = here, at
            count += 1
    if begin >= 0:
        starts[count], ends[count] = begin, len(data)
        count += 1
    return starts[:count].copy(), ends[:count].copy()
