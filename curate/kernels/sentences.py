"""Sentences of texts, or of the lines of texts that stay, without making tokens of all of them.

Each line begins a sentence, and so does a token after a mark that ends one. Only chunks with such a mark in them are
cut into tokens: of the others it is enough to know whether they are more than punctuation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.lines import Segments
from curate.kernels.shingle import Hashes
from curate.kernels.token_rules import PUNCTUATION, TERMINAL, Bits, Codes, Flag, split_chunk
from curate.kernels.tokens import LINE_FEED, Numbers, bits, packed_words, read_chunk, read_codes
from curate.kernels.utf8 import LETTER, SPACE, UNSPACED, Bytes, Offsets, Texts, decode

Counts = NDArray[np.int64]
Numbers64 = NDArray[np.int64]


INK, DIFFICULT = 1, 2  # what a byte is to a sentence: not white space; a mark that ends it, a line feed, not ASCII


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
    """Sentences and characters by text, of a copy of each line, so that what was cut out is not between its bytes."""
    rows = len(offsets) - 1
    found, chars = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    longest: Int = 0
    for row in range(rows):
        longest = max(longest, offsets[row + 1] - offsets[row])
    codes, places = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int32)
    cuts, line = np.zeros(longest + 1, np.uint8), np.empty(longest + 1, np.uint8)
    kinds = np.full(256, DIFFICULT, np.uint8)
    for code in range(128):
        kinds[code] = 0 if bits[code] & SPACE else DIFFICULT if bits[code] & TERMINAL else INK
    kinds[LINE_FEED] = DIFFICULT
    place = 0
    while place < len(seg_rows):
        row = seg_rows[place]
        size: Int = 0
        while True:
            first = offsets[row] + starts[place]
            for at in range(ends[place] - starts[place]):
                line[size + at] = data[first + at]
            size += ends[place] - starts[place]
            place += 1
            follows: Flag = place < len(seg_rows) and seg_rows[place] == row
            if not follows or begins[place]:
                break
        met = np.uint8(0)
        count = np.int64(follows)  # the line feed between lines
        for at in range(size - 1):
            met |= kinds[line[at]]
        for at in range(size):
            count += line[at] & 0xC0 != 0x80
        chars[row] += count
        if size > 0 and not met & DIFFICULT and line[size - 1] < 0x80:  # one sentence, whether or not a mark ends it
            found[row] += met != 0 or (kinds[line[size - 1]] != 0 and line[size - 1] != LINE_FEED)
        else:
            found[row] += sentences_in(line, size, bits, short, units, codes, places, cuts)
    return found, chars


@kernel
def sentences_in(
    data: Bytes,
    end: Int,
    bits: Bits,
    short: Hashes,
    units: Hashes,
    codes: Codes,
    places: Numbers,
    cuts: Bytes,
) -> Int:
    """The sentences in the bytes up to `end`."""
    at: Int = 0
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
        read_codes(data, start, at, codes, places)
        if not (every & LETTER or some & UNSPACED):
            split_chunk(codes, size, marks, some, bits, short, units, cuts)
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
