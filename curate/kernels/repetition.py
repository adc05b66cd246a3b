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
from curate.kernels.blocks import LINE_FEED, ONE, line_at, mixed
from curate.kernels.shingle import FACTOR, HALF, Hashes
from curate.kernels.tokens import Numbers, bits, slices, tokens
from curate.kernels.utf8 import SPACE, Bytes, Offsets, Texts, decode

Floats = NDArray[np.float64]
Slots = NDArray[np.uint32]
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


def repetition(given: Texts, way: Way = "fineweb") -> Floats:
    """The thirteen measures of each text, in the order of `NAMES`; filters/repetition.py says what the ways are."""
    plain = way != "fineweb"
    found = [
        repetition_kernel(part.data, part.offsets, *tokens(part, plain), bits(), WAYS.index(way))
        for _, _, part in slices(given)
    ]
    return np.concatenate(found) if found else np.zeros((0, len(NAMES)))


# --- kernels ----------------------------------------------------------------------------------------------------------


@kernel
def table_mask(count: Int) -> Int:
    """One less than the number of slots in a table for so many keys: a power of two, at most half full."""
    size = 16
    while size < 2 * count:
        size *= 2
    return size - 1


@inlined
def cleared(slots: Slots, count: Int) -> Int:
    """Make an open table ready for so many keys, and return its mask.

    A slot has the number of a key, counted from 1, or 0 where it is free: so small a table stays in the cache.
    """
    mask = table_mask(count)
    for slot in range(mask + 1):
        slots[slot] = 0
    return np.uint64(mask)


@inlined
def slot_of(slots: Slots, mask: Int, keys: Hashes, key: Int) -> Int:
    """The slot of a key, or the free one where it belongs; `keys` has the keys by number."""
    slot = (key * FACTOR >> HALF) & mask
    number = slots[slot]
    while number and keys[number] != key:
        slot = (slot + ONE) & mask
        number = slots[slot]
    return slot


@kernel
def numbered(
    found: Hashes, begin: Int, count: Int, slots: Slots, keys: Hashes, counts: Numbers, firsts: Numbers, runs: Slots
) -> Int:
    """Number the distinct keys among `count` from `begin` on, in the order in which they are met, from 1.

    `runs` gets the number of each one, `counts` and `firsts` by number how often and where first; returns how many.
    """
    mask = cleared(slots, count)
    known = np.uint32(0)
    for place in range(count):
        key = found[begin + place]
        slot = slot_of(slots, mask, keys, key)
        number: Int = slots[slot]
        if number == 0:
            known += np.uint32(1)
            number = known
            slots[slot] = number
            keys[number] = key
            counts[number] = 0
            firsts[number] = place
        counts[number] += 1
        runs[place] = number
    return np.int64(known)


@kernel
def repeated_pieces(
    data: Bytes, at: Int, end: Int, least: Int, all_copies: bool, slots: Slots, keys: Hashes, seen: Numbers
) -> tuple[Int, Int, Int, Int, Int]:
    """Split bytes at runs of at least `least` line feeds (0: at each one); pieces, repeated ones, their characters.

    The fourth number is that of all characters, the fifth how many line feeds the longest run has (`least` 0: 1 of
    them). With `all_copies` the first copy of a repeated piece counts too.
    """
    feeds: Int = np.int64(0)  # no literal, here and below: each would be compiled for
    for place in range(at, end):
        feeds += data[place] == LINE_FEED
    mask = cleared(slots, feeds + 1)
    known = np.uint32(0)
    pieces, copies, chars, total, longest = 0, 0, 0, 0, 0
    while True:
        at, value, length = line_at(data, at, end)
        while True:
            feeds = 0
            while at + feeds < end and data[at + feeds] == LINE_FEED and (feeds == 0 or least > 0):
                feeds += 1
            if feeds == 0 or feeds >= least:
                break
            at, other, more = line_at(data, at + 1, end)
            value = mixed(value * FACTOR, other)  # not the same in the other order
            length += 1 + more
        pieces += 1
        total += length + feeds
        longest = max(longest, feeds)
        slot = slot_of(slots, mask, keys, value)
        number = slots[slot]
        if number:
            first_too = 2 if all_copies and seen[number] == 0 else 1
            copies += first_too
            chars += first_too * length
            seen[number] = 1
        else:
            known += np.uint32(1)
            slots[slot] = known
            keys[known] = value
            seen[known] = 0
        if feeds == 0:
            return pieces, copies, chars, total, longest
        at += feeds


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


@inlined
def all_feeds(data: Bytes, at: Int, end: Int) -> bool:
    """Whether a run of bytes has nothing but line feeds."""
    while at < end and data[at] == LINE_FEED:
        at += 1
    return bool(at >= end)


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
    slots = np.empty(table_mask(most) + 1, np.uint32)
    keys = np.empty(most + 1, np.uint64)
    found = np.empty(most, np.uint64)
    words = np.empty(most, np.uint32)
    runs = np.empty(most + 1, np.uint32)  # the number of the run that begins at each word; 0 where it is no candidate
    numbers = np.empty(most, np.uint32)
    candidates = np.empty(most, np.int32)
    counts = np.empty(most + 1, np.int32)
    firsts = np.empty(most + 1, np.int32)
    sums = np.zeros(most + 1, np.int64)
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        if at == end:
            continue
        least = 0 if way == DOLMA else 1
        lines, copies, in_copies, length, feeds = repeated_pieces(
            data, at, end, least, way == DOLMA, slots, keys, counts
        )
        begin, count = token_offsets[row], token_offsets[row + 1] - token_offsets[row]
        for place in range(count):
            sums[place + 1] = sums[place] + chars[begin + place]
        whole = float(max(length if way == FINEWEB else sums[count], 1))
        out[row, LINE_SHARE] = copies / lines
        out[row, LINE_CHARS] = in_copies / whole
        if way != DOLMA and feeds > 1:  # else it is one paragraph
            first, last = stripped(data, at, end, bits)
            if copies > 0 or not (
                all_feeds(data, at, first) and all_feeds(data, last, end)
            ):  # else no two are the same
                paragraphs, copies, in_copies, _, _ = repeated_pieces(
                    data, first, last, np.int64(2), way == DOLMA, slots, keys, counts
                )
                out[row, PARAGRAPH_SHARE] = copies / paragraphs
                out[row, PARAGRAPH_CHARS] = in_copies / whole

        numbered(hashes, begin, count, slots, keys, counts, firsts, words)
        left = np.int64(0)
        for place in range(count):
            candidate = counts[words[place]] > 1
            runs[place] = words[place] if candidate else 0
            candidates[left] = place
            left += candidate
        for n in range(2, LONGEST + 1):
            if count < n:
                break
            kept = np.int64(0)
            runs[count] = 0
            for number in range(left):  # both runs of n - 1 words are repeated
                place = candidates[number]
                found[kept] = np.uint64(runs[place]) << HALF | np.uint64(words[min(place + n, count) - 1])
                candidates[kept] = place
                kept += place + n <= count and runs[place + 1] > 0
                runs[place] = 0
            known = numbered(found, np.int64(0), kept, slots, keys, counts, firsts, numbers)
            if n <= 4:
                times, start = 1, 0
                for number in range(1, known + 1):
                    if counts[number] > times:
                        times, start = counts[number], candidates[firsts[number]]
                spaces = n - 1 if way == FINEWEB else 0
                out[row, FIRST_GRAM + n - 2] = times * (sums[start + n] - sums[start] + spaces) / whole
            left = np.int64(0)
            for number in range(kept):
                place = candidates[number]
                repeated = counts[numbers[number]] > 1
                runs[place] = numbers[number] if repeated else 0
                candidates[left] = place
                left += repeated
            if n > 4 and left:
                out[row, FIRST_GRAM + n - 2] = duplicated(candidates, left, runs, counts, sums, count, n, way, whole)
    return out


@kernel
def duplicated(
    candidates: Numbers,
    left: Int,
    runs: Slots,
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
