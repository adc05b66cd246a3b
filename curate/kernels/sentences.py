"""Sentences of texts, or of the lines of texts that stay, without making tokens of all of them.

Each line begins a sentence, and so does a token after a mark that ends one. Only chunks with such a mark in them are
cut into tokens: of the others it is enough to know whether they are more than punctuation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.blocks import EIGHT_DOTS, on_to, word_at
from curate.kernels.lines import Segments
from curate.kernels.shingle import Hashes
from curate.kernels.token_rules import DOT, PUNCTUATION, TERMINAL, Bits, Codes, Flag, is_digit, split_chunk
from curate.kernels.tokens import FIRST_SMALL, LINE_FEED, Numbers, bits, packed_words, read_chunk, splits_last
from curate.kernels.utf8 import LETTER, SPACE, UNSPACED, Bytes, Offsets, Texts, decode

Counts = NDArray[np.int64]
Numbers64 = NDArray[np.int64]
LAST_SMALL = 0x7A  # the letter z
EIGHT_CALLS, EIGHT_ASKED = np.uint64(0x2121212121212121), np.uint64(0x3F3F3F3F3F3F3F3F)


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
    of_codes, spots = np.empty(longest + 1, np.uint16), np.empty(longest + 1, np.int32)
    cuts, line = np.zeros(longest + 1, np.uint8), np.empty(longest + 1, np.uint8)
    ink, difficult = np.ones(256, np.uint8), np.ones(256, np.uint8)  # no white space; what `next_mark` looks for
    for code in range(128):
        ink[code] = bits[code] & SPACE == 0
        difficult[code] = bits[code] & TERMINAL != 0
    ink[LINE_FEED] = difficult[LINE_FEED] = 1
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
        count = np.int64(follows)  # the line feed between lines
        for at in range(size):
            count += line[at] & 0xC0 != 0x80
        chars[row] += count
        start: Int = 0
        while start < size and not ink[line[start]]:
            start += 1
        if start == size:
            continue
        last = np.int64(line[size - 1])
        if last < 0x80 and line[start] != LINE_FEED and next_mark(line, start, size - 1, difficult) == size - 1:
            found[row] += 1  # one sentence, whether or not a mark ends it
        else:
            found[row] += sentences_in(
                line, size, ink, difficult, bits, short, units, codes, of_codes, places, spots, cuts
            )
    return found, chars


@kernel
def next_mark(data: Bytes, at: Int, end: Int, difficult: Bytes) -> Int:
    """The next byte that may end a sentence, end a line or is not ASCII; a full stop before `a` or `1` ends none."""
    while at < end:
        at = on_to(data, at, end, difficult, EIGHT_DOTS, EIGHT_CALLS, EIGHT_ASKED)
        if at + 1 >= end or data[at] != DOT:
            break
        if not (FIRST_SMALL <= data[at + 1] <= LAST_SMALL or is_digit(data[at + 1])):
            break
        at += 1
    return at


@kernel
def sentences_in(
    data: Bytes,
    end: Int,
    ink: Bytes,
    difficult: Bytes,
    bits: Bits,
    short: Hashes,
    units: Hashes,
    codes: Codes,
    of_codes: Bits,
    places: Numbers,
    spots: Numbers,
    cuts: Bytes,
) -> Int:
    """The sentences in the bytes up to `end`."""
    at: Int = 0
    count: Int = 0
    fresh, ended = True, False  # no token of the line yet; a mark came that ends a sentence
    while at < end:
        if not fresh and not ended:  # on to the chunk with the next byte that matters
            place = next_mark(data, at, end, difficult)
            if place == end:
                break
            while place > at and ink[data[place - 1]]:
                place -= 1
            at = place
        code, after = np.int64(data[at]), at + 1
        if code >= 0x80:
            code, after = decode(data, at, end)
        of_code = np.int64(bits[code]) if code >= 0 else 0
        if of_code & SPACE:
            fresh |= code == LINE_FEED
            at = after
            continue
        start = at
        stop, _ = word_at(data, start, end)
        if stop > start and splits_last(data, start, stop, end, bits, short):
            count += fresh or ended
            fresh = False
            ended = bits[data[stop]] & TERMINAL != 0
            at = stop + 1
            continue
        at, size, every, some, marks = read_chunk(data, start, end, bits, codes, of_codes, places, spots)
        if fresh:
            count += 1
            fresh = ended = False
        if not some & TERMINAL:
            if ended and not every & PUNCTUATION:
                count += 1
                ended = False
            continue
        if not (every & LETTER or some & UNSPACED):
            split_chunk(codes, size, spots, marks, some, bits, short, units, cuts)
        cuts[size] = 1
        first, every = 0, PUNCTUATION | TERMINAL
        for place in range(size):
            every &= np.int64(of_codes[place])
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
