"""Sentences of texts, or of the lines of texts that stay, without making tokens of all of them.

Each line begins a sentence, and so does a token after a mark that ends one. Only chunks with such a mark in them are
cut into tokens: of the others it is enough to know whether they are more than punctuation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.lines import Segments
from curate.kernels.shingle import Hashes
from curate.kernels.token_rules import PUNCTUATION, TERMINAL, Bits, Codes, split_chunk
from curate.kernels.tokens import LINE_FEED, Numbers, bits, packed_words, read_chunk, read_codes
from curate.kernels.utf8 import LETTER, SPACE, UNSPACED, Bytes, Offsets, Texts, decode

Counts = NDArray[np.int64]
Numbers64 = NDArray[np.int64]


class Left(NamedTuple):
    """What is left of each text: sentences and characters."""

    sentences: Counts
    chars: Counts


def left(given: Texts, kept: Segments) -> Left:
    """The sentences and characters of what the segments leave of each text."""
    return Left(*left_kernel(given.data, given.offsets, *kept, bits(), *packed_words()))


def sentences(given: Texts) -> Counts:
    """The sentences of each text."""
    rows = np.arange(len(given.offsets) - 1)
    return left(given, Segments(rows, 0 * rows, np.diff(given.offsets), rows >= 0)).sentences


# --- kernels ----------------------------------------------------------------------------------------------------------


@kernel
def left_kernel(
    data: Bytes,
    offsets: Offsets,
    seg_rows: Numbers64,
    starts: Numbers64,
    ends: Numbers64,
    begins: NDArray[np.bool_],
    bits: Bits,
    short: Hashes,
    units: Hashes,
) -> tuple[Counts, Counts]:
    """Sentences and characters by text: those of lines of one segment where they stand, those of others in a copy."""
    rows = len(offsets) - 1
    found, chars = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    longest: Int = 0
    for row in range(rows):
        longest = max(longest, offsets[row + 1] - offsets[row])
    codes, places = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int32)
    cuts, joined = np.zeros(longest + 1, np.uint8), np.empty(longest + 1, np.uint8)
    place = 0
    while place < len(seg_rows):
        row = seg_rows[place]
        base = offsets[row]
        source, at, end = data, base + starts[place], base + ends[place]
        place += 1
        if place < len(seg_rows) and seg_rows[place] == row and not begins[place]:
            size = np.int64(0)
            first = place - 1
            while place < len(seg_rows) and seg_rows[place] == row and not begins[place]:
                place += 1
            for segment in range(first, place):
                for byte in range(base + starts[segment], base + ends[segment]):
                    joined[size] = data[byte]
                    size += 1
            found[row] += sentences_in(joined[:size], np.int64(0), size, bits, short, units, codes, places, cuts)
            chars[row] += characters(joined[:size], np.int64(0), size)
        else:
            found[row] += sentences_in(source, at, end, bits, short, units, codes, places, cuts)
            chars[row] += characters(source, at, end)
        chars[row] += place < len(seg_rows) and seg_rows[place] == row  # the line feed between lines
    return found, chars


@inlined
def characters(data: Bytes, at: Int, end: Int) -> Int:
    """The characters in a run of bytes."""
    count: Int = 0
    for place in range(at, end):
        count += data[place] & 0xC0 != 0x80
    return count


@kernel
def sentences_in(
    data: Bytes,
    at: Int,
    end: Int,
    bits: Bits,
    short: Hashes,
    units: Hashes,
    codes: Codes,
    places: Numbers,
    cuts: Bytes,
) -> Int:
    """The sentences in a run of bytes."""
    count: Int = 0
    fresh, ended = True, False  # no token of the line yet; a mark came that ends a sentence
    while at < end:
        code, after = np.int64(data[at]), at + 1
        if code >= 0x80:
            code, after = decode(data, at, end)
        of_code = np.int64(bits[code]) if code >= 0 else 0
        if of_code & SPACE:
            fresh |= code == LINE_FEED
            at = after
            continue
        start = at
        at, size, every, some, marks, _, _, _ = read_chunk(data, at, after, end, of_code, bits)
        if fresh:
            count += 1
            fresh = ended = False
        if not some & TERMINAL:
            if ended and not every & PUNCTUATION:
                count += 1
                ended = False
            continue
        if not (every & LETTER or some & UNSPACED):
            read_codes(data, start, at, codes, places)
            split_chunk(codes, size, marks, some, bits, short, units, cuts)
        else:
            read_codes(data, start, at, codes, places)
        cuts[size] = 1
        first, every = 0, PUNCTUATION | TERMINAL
        for place in range(size):
            every &= np.int64(bits[codes[place]]) if codes[place] >= 0 else 0
            if not cuts[place + 1]:
                continue
            cuts[place + 1] = 0
            if every & TERMINAL and place == first:
                ended = True
            elif ended and not every & PUNCTUATION:
                count += 1
                ended = False
            first, every = place + 1, PUNCTUATION | TERMINAL
        cuts[0] = 0
    return count
