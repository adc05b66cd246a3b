"""Shingles of texts: hashes of the n-grams of words or characters that near-duplicates are compared by.

A word is a run of `\\w` (Python's re) of the lower-cased text; in scripts written without spaces between words each
letter or digit is a word. A character is a code point of the lower-cased text. A text with fewer than n units has one
shingle of all of them, and a text without any word has none, whatever the unit.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.utf8 import MALFORMED, UNSPACED, WORD, Bytes, Offsets, Texts, decode, tables, texts

if TYPE_CHECKING:
    import polars as pl

Unit = Literal["word", "char"]
Hashes = NDArray[np.uint64]
Codes = NDArray[np.int32]

# FNV-1a's 64-bit offset basis; an odd multiplier from L'Ecuyer 1999 (Math. Comp. 68), and MurmurHash3's finalizer.
START = np.uint64(0xCBF29CE484222325)
FACTOR = np.uint64(0x9E3779B97F4A7C15)
GRAM_FACTOR = np.uint64(0xD1342543DE82EF95)
FMIX_1, FMIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
SHIFT = np.uint64(33)
HALF = np.uint64(32)
CROWDED = 64  # hashes in one bin, where one or two are to be expected

BY_CONTEXT = "Σ|İ"  # the two characters whose lower-case form is not one character, or depends on its neighbours


class Shingles(NamedTuple):
    """Shingle hashes end to end: those of text i are `hashes[offsets[i]:offsets[i + 1]]`."""

    hashes: Hashes
    offsets: Offsets


def shingles(given: pl.Series, ngram: int = 5, unit: Unit = "word") -> Shingles:
    """The 64-bit hash of every shingle of each text, in the order of the text, with repeats."""
    data, offsets = lowered(given)
    return shingles_kernel(data, offsets, tables().classes, lower_codes(), ngram, unit == "char")


def shingle_sets(given: pl.Series, ngram: int = 5, unit: Unit = "word") -> Shingles:
    """The distinct shingle hashes of each text, sorted: what exact Jaccard similarity is computed of."""
    data, offsets = lowered(given)
    return sets_kernel(data, offsets, tables().classes, lower_codes(), ngram, unit == "char")


def token_hashes(hashes: Hashes) -> NDArray[np.uint32]:
    """The upper 32 bits of shingle hashes: what signatures are made of, and what to feed to datasketch."""
    return (hashes >> HALF).astype(np.uint32)


def lowered(given: pl.Series) -> Texts:
    """The texts, lower-cased only where that depends on more than one code point; `lower_codes` does the others."""
    doubtful = given.str.contains(BY_CONTEXT)
    if doubtful.any():
        rows = doubtful.fill_null(False).arg_true()
        given = given.clone().scatter(rows, given.gather(rows).str.to_lowercase())  # scatter changes its series
    return texts(given)


@cache
def lower_codes() -> Codes:
    """The lower-case form of each code point; itself where that is not one code point, or where the table ends."""
    lowers = tables().lowers
    return np.arange(len(lowers), dtype=np.int32) + lowers


# --- kernels ----------------------------------------------------------------------------------------------------------


@inlined
def fmix(value: Int) -> Int:
    """MurmurHash3's 64-bit finalizer: every bit of the result depends on every bit of the value."""
    value = (value ^ value >> SHIFT) * FMIX_1
    value = (value ^ value >> SHIFT) * FMIX_2
    return value ^ value >> SHIFT


@kernel
def word_units(data: Bytes, at: Int, end: Int, classes: Bytes, lower: Codes, plain: Bytes, out: Hashes) -> Int:
    """Write the hash of each word of a text to `out`, and return how many there are.

    `plain` has the lower-case form of each ASCII word character and 0 for others: these bytes take no branch.
    """
    count = 0
    value = START
    inside = 0
    while at < end:
        byte = data[at]
        if byte < 0x80:
            letter = plain[byte]
            now = 1 if letter != 0 else 0
            out[count] = value  # kept only when the word ends here
            count += inside & (1 - now)
            value = (value ^ np.uint64(letter)) * FACTOR if now else START
            inside = now
            at += 1
            continue
        code, at = decode(data, at, end)
        bits = np.uint8(0) if code == MALFORMED else classes[code]
        if bits & WORD and not bits & UNSPACED:
            value = (value ^ np.uint64(lower[code] if code < len(lower) else code)) * FACTOR
            inside = 1
            continue
        if inside:
            out[count] = value
            count += 1
            value = START
            inside = 0
        if bits & UNSPACED:
            out[count] = (START ^ np.uint64(code)) * FACTOR
            count += 1
    if inside:
        out[count] = value
        count += 1
    return count


@kernel
def char_units(data: Bytes, at: Int, end: Int, classes: Bytes, lower: Codes, out: Hashes) -> Int:
    """Write the hash of each character of a text to `out`, and return how many there are: none in a text of no word."""
    count = 0
    words: Int = 0
    while at < end:
        code, at = decode(data, at, end)
        if code != MALFORMED:
            words |= classes[code] & WORD
            code = lower[code] if code < len(lower) else code
        out[count] = (START ^ np.uint64(code + 1)) * FACTOR
        count += 1
    return count if words else 0


@kernel
def gram_hashes(units: Hashes, count: Int, ngram: Int, out: Hashes) -> Int:
    """Write the hash of each run of `ngram` units to `out` (which may be `units`), and return how many there are.

    A run's hash is a polynomial in the mixed hashes of its units, kept up to date from one run to the next, then mixed.
    """
    if count == 0:
        return 0
    width = min(count, ngram)
    for place in range(count):
        units[place] = fmix(units[place])
    last: Int = np.uint64(1)
    value: Int = np.uint64(0)
    for place in range(width):
        value = value * GRAM_FACTOR + units[place]
        last = last * GRAM_FACTOR
    for place in range(count - width):
        gone = units[place]
        out[place] = fmix(value)
        value = value * GRAM_FACTOR + units[place + width] - gone * last
    out[count - width] = fmix(value)
    return count - width + 1


@kernel
def text_shingles(
    data: Bytes, at: Int, end: Int, classes: Bytes, lower: Codes, plain: Bytes, ngram: Int, chars: bool, out: Hashes
) -> Int:
    """Write the shingle hashes of one text to `out`, which has room for `end - at + 1`, and return how many."""
    if chars:
        count = char_units(data, at, end, classes, lower, out)
    else:
        count = word_units(data, at, end, classes, lower, plain, out)
    return gram_hashes(out, count, ngram, out)


@kernel
def plain_letters(classes: Bytes, lower: Codes) -> Bytes:
    """The lower-case form of each ASCII character that is part of a word, else 0."""
    plain = np.zeros(128, np.uint8)
    for code in range(128):
        if classes[code] & WORD:
            plain[code] = lower[code]
    return plain


@kernel
def longest_text(offsets: Offsets) -> Int:
    """The bytes of the longest text."""
    longest: Int = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest


@kernel
def shingles_kernel(data: Bytes, offsets: Offsets, classes: Bytes, lower: Codes, ngram: Int, chars: bool) -> Shingles:
    """The shingle hashes of each text."""
    rows = len(offsets) - 1
    plain = plain_letters(classes, lower)
    room = offsets[rows] - offsets[0]
    out = np.empty(room + rows + 1, np.uint64)  # pages that are never written cost nothing
    ends = np.zeros(rows + 1, np.int64)
    to = 0
    for row in range(rows):
        to += text_shingles(data, offsets[row], offsets[row + 1], classes, lower, plain, ngram, chars, out[to:])
        ends[row + 1] = to
    return Shingles(out[:to].copy(), ends)


@kernel
def sets_kernel(data: Bytes, offsets: Offsets, classes: Bytes, lower: Codes, ngram: Int, chars: bool) -> Shingles:
    """The distinct shingle hashes of each text, sorted."""
    rows = len(offsets) - 1
    plain = plain_letters(classes, lower)
    room = longest_text(offsets) + 1
    buffer = np.empty(room, np.uint64)
    scratch = np.empty(room, np.uint64)
    out = np.empty(offsets[rows] - offsets[0] + rows + 1, np.uint64)  # pages that are never written cost nothing
    ends = np.zeros(rows + 1, np.int64)
    to = 0
    for row in range(rows):
        count = text_shingles(data, offsets[row], offsets[row + 1], classes, lower, plain, ngram, chars, buffer)
        to += sort_distinct(buffer, count, scratch, out[to:])
        ends[row + 1] = to
    return Shingles(out[:to].copy(), ends)


@kernel
def sort_distinct(hashes: Hashes, count: Int, scratch: Hashes, out: Hashes) -> Int:
    """Write the first `count` hashes to `out`, sorted and without repeats, and return how many there are.

    Hashes are spread evenly, so they are put into about as many bins as there are hashes, by their upper bits, and only
    neighbours are left to be sorted: linear time. Where a bin is crowded all the same (a text that repeats itself, or
    one that was made to be slow), an ordinary sort takes over.
    """
    if count < 2:
        out[:count] = hashes[:count]
        return count
    bits: Int = 1
    while np.int64(1) << bits < count:
        bits += 1
    shift = np.uint64(64 - bits)
    starts = np.zeros((1 << bits) + 1, np.int32)
    for place in range(count):
        starts[np.int64(hashes[place] >> shift) + 1] += 1
    crowded = False
    for number in range(1 << bits):
        crowded |= starts[number + 1] > CROWDED
        starts[number + 1] += starts[number]
    if crowded:
        scratch[:count] = np.sort(hashes[:count])
    else:
        for place in range(count):
            bin = np.int64(hashes[place] >> shift)
            scratch[starts[bin]] = hashes[place]
            starts[bin] += 1
        for place in range(1, count):
            value = scratch[place]
            at = place
            while at > 0 and scratch[at - 1] > value:
                scratch[at] = scratch[at - 1]
                at -= 1
            scratch[at] = value
    to = 0
    for place in range(count):
        if place == 0 or scratch[place] != scratch[place - 1]:
            out[to] = scratch[place]
            to += 1
    return to
