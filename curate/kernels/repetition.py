"""How much of a text is repeated lines, paragraphs and runs of words: the measures of Gopher's Table A1.

Lines and paragraphs are compared by a 64-bit hash of their bytes, words by the hash of `tokens`. Runs of n words get
numbers from those of n - 1 words and one word more, and only runs whose parts are repeated are looked at again, so that
a text that repeats little costs little however many lengths are measured.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.shingle import FACTOR, START, Hashes, fmix
from curate.kernels.tokens import Numbers, bits, slices, tokens
from curate.kernels.utf8 import SPACE, Bytes, Offsets, Texts, decode

Floats = NDArray[np.float64]
Way = Literal["fineweb", "paper", "dolma"]

WAYS = ("fineweb", "paper", "dolma")
FINEWEB, PAPER, DOLMA = range(3)
TOP = (2, 3, 4)
DUPLICATED = (5, 6, 7, 8, 9, 10)
NAMES = (
    "line_share",
    "paragraph_share",
    "line_chars",
    "paragraph_chars",
    *(f"top_{n}_gram" for n in TOP),
    *(f"duplicate_{n}_gram" for n in DUPLICATED),
)
LINE_SHARE, PARAGRAPH_SHARE, LINE_CHARS, PARAGRAPH_CHARS, FIRST_GRAM = range(5)
LONGEST = 10
LINE_FEED = 0x0A
HALF = np.uint64(32)


def repetition(given: Texts, way: Way = "fineweb") -> Floats:
    """The thirteen measures of each text, in the order of `NAMES`; filters/repetition.py says what the ways are."""
    plain = way != "fineweb"
    found = [
        repetition_kernel(part.data, part.offsets, *tokens(part, plain), bits(), WAYS.index(way))
        for _, _, part in slices(given)
    ]
    return np.concatenate(found) if found else np.zeros((0, len(NAMES)))


# --- kernels ----------------------------------------------------------------------------------------------------------


@inlined
def slot_of(keys: Hashes, stamps: Numbers, stamp: Int, mask: Int, key: Int) -> Int:
    """The place of a key in an open table, or the free one where it belongs; entries of other stamps are free."""
    place = np.int64(fmix(key) & np.uint64(mask))
    while stamps[place] == stamp and keys[place] != key:
        place = (place + 1) & mask
    return place


@kernel
def table_mask(count: Int) -> Int:
    """One less than the size of a table for so many keys: a power of two, at most half full."""
    size = 16
    while size < 2 * count:
        size *= 2
    return size - 1


@kernel
def repeated_pieces(
    data: Bytes,
    at: Int,
    end: Int,
    least: Int,
    all_copies: bool,
    keys: Hashes,
    stamps: Numbers,
    seen: Numbers,
    stamp: Int,
) -> tuple[Int, Int, Int, Int]:
    """Split bytes at runs of at least `least` line feeds (0: at each one); pieces, repeated ones, their characters.

    The fourth number is that of all characters. With `all_copies` the first copy of a repeated piece counts too.
    """  # fmt: skip
    feeds = 0
    for place in range(at, end):
        feeds += data[place] == LINE_FEED
    mask = table_mask(feeds + 1)
    pieces, copies, chars, total = 0, 0, 0, 0
    while True:
        value: Int = START
        length = 0
        feeds = 0
        while at < end:
            byte = data[at]
            if byte == LINE_FEED:
                feeds = 1
                while least and at + feeds < end and data[at + feeds] == LINE_FEED:
                    feeds += 1
                if feeds >= least:
                    break
                value = (value ^ np.uint64(byte)) * FACTOR
                length += 1
                at += 1
                feeds = 0
                continue
            value = (value ^ np.uint64(byte)) * FACTOR
            length += 1 if byte & 0xC0 != 0x80 else 0
            at += 1
        pieces += 1
        total += length + feeds
        place = slot_of(keys, stamps, stamp, mask, value)
        if stamps[place] == stamp:
            first_too = 2 if all_copies and seen[place] == 0 else 1
            copies += first_too
            chars += first_too * length
            seen[place] = 1
        else:
            keys[place], stamps[place], seen[place] = value, stamp, 0
        if feeds == 0:
            return pieces, copies, chars, total
        at += feeds


@inlined
def has_blank_line(data: Bytes, at: Int, end: Int) -> Int:
    """How often a line feed follows another one."""
    count = 0
    for place in range(at + 1, end):
        count += data[place] == LINE_FEED and data[place - 1] == LINE_FEED
    return count


@kernel
def stripped(data: Bytes, at: Int, end: Int, bits: NDArray[np.uint16]) -> tuple[Int, Int]:
    """The bounds of a text without white space at its ends (`str.strip`)."""
    while at < end:
        code, after = decode(data, at, end)
        if code < 0 or not bits[code] & SPACE:
            break
        at = after
    while end > at:
        start = end - 1
        while start > at and data[start] & 0xC0 == 0x80:
            start -= 1
        code, _ = decode(data, start, end)
        if code < 0 or not bits[code] & SPACE:
            break
        end = start
    return at, end


@kernel
def repetition_kernel(
    data: Bytes,
    offsets: Offsets,
    hashes: Hashes,
    chars: Numbers,
    flags: Bytes,
    token_offsets: Offsets,
    bits: NDArray[np.uint16],
    way: Int,
) -> Floats:
    """The measures of each text."""
    rows = len(offsets) - 1
    out = np.zeros((rows, 13), np.float64)
    most: Int = 1
    for row in range(rows):
        most = max(most, offsets[row + 1] - offsets[row] + 1, token_offsets[row + 1] - token_offsets[row])
    room = table_mask(most) + 1
    keys = np.empty(room, np.uint64)
    stamps = np.zeros(room, np.int32)
    values = np.empty(room, np.int32)
    words = np.empty(most, np.int32)
    runs = np.empty(most + 1, np.int32)  # the number of the run that begins at each word; -1 where it is no candidate
    candidates = np.empty(most, np.int32)
    counts = np.empty(most, np.int32)
    firsts = np.empty(most, np.int32)
    sums = np.zeros(most + 1, np.int64)
    stamp = 0
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        if at == end:
            continue
        least = 0 if way == DOLMA else 1
        stamp += 1
        lines, copies, in_copies, length = repeated_pieces(
            data, at, end, least, way == DOLMA, keys, stamps, values, stamp
        )
        begin, count = token_offsets[row], token_offsets[row + 1] - token_offsets[row]
        for place in range(count):
            sums[place + 1] = sums[place] + chars[begin + place]
        whole = float(max(length if way == FINEWEB else sums[count], 1))
        out[row, LINE_SHARE] = copies / lines
        out[row, LINE_CHARS] = in_copies / whole
        if way != DOLMA:
            stamp += 1
            first, last = stripped(data, at, end, bits)
            if has_blank_line(data, first, last):  # else it is one paragraph
                paragraphs, copies, in_copies, _ = repeated_pieces(
                    data, first, last, 2, False, keys, stamps, values, stamp
                )
                out[row, PARAGRAPH_SHARE] = copies / paragraphs
                out[row, PARAGRAPH_CHARS] = in_copies / whole

        mask = table_mask(count)
        stamp += 1
        known = 0
        for place in range(count):
            slot = slot_of(keys, stamps, stamp, mask, hashes[begin + place])
            if stamps[slot] != stamp:
                keys[slot], stamps[slot], values[slot] = hashes[begin + place], stamp, known
                counts[known] = 0
                known += 1
            words[place] = values[slot]
            counts[values[slot]] += 1
        left = 0
        for place in range(count):
            candidate = counts[words[place]] > 1
            runs[place] = words[place] if candidate else -1
            candidates[left] = place
            left += candidate
        for n in range(2, LONGEST + 1):
            if count < n:
                break
            stamp += 1
            mask = table_mask(left)
            known = 0
            kept = 0
            for number in range(left):
                place = candidates[number]
                if place + n > count or runs[place + 1] < 0:
                    runs[place] = -1
                    continue
                key = np.uint64(runs[place]) << HALF | np.uint64(words[place + n - 1])
                slot = slot_of(keys, stamps, stamp, mask, key)
                if stamps[slot] != stamp:
                    keys[slot], stamps[slot], values[slot] = key, stamp, known
                    counts[known] = 0
                    firsts[known] = place
                    known += 1
                runs[place] = values[slot]
                counts[values[slot]] += 1
                candidates[kept] = place
                kept += 1
            left = 0
            for number in range(kept):
                place = candidates[number]
                if counts[runs[place]] > 1:
                    candidates[left] = place
                    left += 1
                else:
                    runs[place] = -1
            if n <= 4:
                times, start = 1, 0
                for number in range(known):
                    if counts[number] > times:
                        times, start = counts[number], firsts[number]
                spaces = n - 1 if way == FINEWEB else 0
                out[row, FIRST_GRAM + n - 2] = times * (sums[start + n] - sums[start] + spaces) / whole
            elif left:
                out[row, FIRST_GRAM + n - 2] = duplicated(candidates, left, runs, counts, sums, count, n, way, whole)
    return out


@kernel
def duplicated(
    candidates: Numbers,
    left: Int,
    runs: Numbers,
    counts: Numbers,
    sums: NDArray[np.int64],
    count: Int,
    n: Int,
    way: Int,
    whole: float,
) -> float:
    """The share of a text's characters in repeated runs of n words; `counts` is used up."""
    chars, free = 0, 0
    for number in range(left):
        place = candidates[number]
        run = runs[place]
        if way == PAPER:  # every character of every copy, once
            chars += sums[place + n] - sums[max(place, free)]
            free = place + n
        elif way == DOLMA:  # every copy, as often as copies overlap
            chars += sums[place + n] - sums[place]
        elif place >= free:  # as datatrove: copies after the first, going on behind each
            if counts[run] < 0:
                chars += sums[place + n] - sums[place]
                free = place + n
            counts[run] = -1
    if way != DOLMA:
        return chars / whole
    everything = 0
    for place in range(count - n + 1):
        everything += sums[place + n] - sums[place]
    return chars / max(everything, 1)
