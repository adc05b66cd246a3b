"""Sentences of texts, or of the lines of texts that stay, without making tokens of all of them.

Each line begins a sentence, and so does a token after a mark that ends one. Only chunks with such a mark in them are
cut into tokens: of the others it is enough to know whether they are more than punctuation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.blocks import word_at
from curate.kernels.lines import Segments
from curate.kernels.shingle import Hashes
from curate.kernels.token_rules import DOT, PUNCTUATION, TERMINAL, Bits, Codes, Flag, is_digit, split_chunk
from curate.kernels.tokens import FIRST_SMALL, LINE_FEED, Numbers, bits, frozen, packed_words, read_chunk, splits_last
from curate.kernels.utf8 import LETTER, SPACE, UNSPACED, Bytes, Offsets, Texts, decode

Counts = NDArray[np.int64]
Numbers64 = NDArray[np.int64]
LAST_SMALL = 0x7A  # the letter z


class Left(NamedTuple):
    """What is left of each text: sentences and characters."""

    sentences: Counts
    chars: Counts


def left(given: Texts, kept: Segments) -> Left:
    """The sentences and characters of what the segments leave of each text."""
    data, ends, rows, chars = lines_kernel(given.data, given.offsets, *kept)
    lines = Texts(frozen(data), frozen(ends))
    return Left(sentences_kernel(*lines, rows, len(chars), bits(), *packed_words()), chars)


def sentences(given: Texts) -> Counts:
    """The sentences of each text."""
    rows = np.arange(len(given.offsets) - 1)
    return sentences_kernel(*given, rows, len(rows), bits(), *packed_words())


# --- kernels ----------------------------------------------------------------------------------------------------------


@kernel
def lines_kernel(
    data: Bytes,
    offsets: Offsets,
    seg_rows: Numbers64,
    starts: Numbers64,
    ends: Numbers64,
    begins: NDArray[np.bool_],
) -> tuple[Bytes, Offsets, Numbers64, Counts]:
    """A copy of the lines, without what was cut out of them, the row of each one, and the characters by text."""
    room: Int = 0
    for place in range(len(seg_rows)):
        room += ends[place] - starts[place]
    out, to = np.empty(room, np.uint8), 0
    line_ends, rows = np.zeros(len(seg_rows) + 1, np.int64), np.empty(len(seg_rows), np.int64)
    chars = np.zeros(len(offsets) - 1, np.int64)
    lines: Int = 0
    for place in range(len(seg_rows)):
        row = seg_rows[place]
        first, size = offsets[row] + starts[place], ends[place] - starts[place]
        follows: Flag = place > 0 and seg_rows[place - 1] == row
        if begins[place] or not follows:
            rows[lines] = row
            lines += 1
            chars[row] += 1 if follows else 0  # the line feed between lines
        count: Int = 0
        for at in range(size):
            out[to + at] = data[first + at]
            count += data[first + at] & 0xC0 != 0x80
        chars[row] += count
        to += size
        line_ends[lines] = to
    return out, line_ends[: lines + 1].copy(), rows[:lines].copy(), chars


@kernel
def sentences_kernel(
    data: Bytes, offsets: Offsets, rows: Numbers64, texts: Int, bits: Bits, short: Hashes, units: Hashes
) -> Counts:
    """Sentences by text, of lines or whole texts and the row of each one."""
    found = np.zeros(texts, np.int64)
    longest: Int = 0
    for line in range(len(rows)):
        longest = max(longest, offsets[line + 1] - offsets[line])
    codes, places = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int32)
    of_codes, spots = np.empty(longest + 1, np.uint16), np.empty(longest + 1, np.int32)
    cuts = np.zeros(longest + 1, np.uint8)
    ink, difficult = np.ones(256, np.uint8), np.ones(256, np.uint8)  # no white space; what `next_mark` looks for
    for code in range(128):
        ink[code] = bits[code] & SPACE == 0
        difficult[code] = bits[code] & TERMINAL != 0
    ink[LINE_FEED] = difficult[LINE_FEED] = 1
    for line in range(len(rows)):
        at, end = offsets[line], offsets[line + 1]
        while at < end and not ink[data[at]]:
            at += 1
        if at == end:
            continue
        if data[end - 1] < 0x80 and data[at] != LINE_FEED and next_mark(data, at, end - 1, difficult) == end - 1:
            found[rows[line]] += 1  # one sentence, whether or not a mark ends it
        else:
            found[rows[line]] += sentences_in(
                data, at, end, ink, difficult, bits, short, units, codes, of_codes, places, spots, cuts
            )
    return found


@kernel
def next_mark(data: Bytes, at: Int, end: Int, difficult: Bytes) -> Int:
    """The next byte that may end a sentence, end a line or is not ASCII; a full stop before `a` or `1` ends none."""
    while at < end:
        while at < end and not difficult[data[at]]:
            at += 1
        if at + 1 >= end or data[at] != DOT:
            break
        if not (FIRST_SMALL <= data[at + 1] <= LAST_SMALL or is_digit(data[at + 1])):
            break
        at += 1
    return at


@kernel
def sentences_in(
    data: Bytes,
    at: Int,
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
    """The sentences in a run of bytes."""
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
