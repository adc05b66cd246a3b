"""What Gopher's and FineWeb's quality rules measure: words, symbols, and how lines begin and end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.blocks import LINE_FEED, line_at
from curate.kernels.repetition import cleared, slot_of, table_mask
from curate.kernels.shingle import Hashes
from curate.kernels.token_rules import TERMINAL, Bits, Flag
from curate.kernels.tokens import (
    HAS_LETTER,
    IS_WORD,
    Numbers,
    bits,
    frozen,
    new_tokens,
    slices,
    tokens,
)
from curate.kernels.utf8 import SPACE, Bytes, Offsets, Texts, decode, texts

Floats = NDArray[np.float64]
Way = Literal["fineweb", "paper", "dolma"]

WAYS = ("fineweb", "paper", "dolma")
FINEWEB, PAPER, DOLMA = range(3)
QUALITY = (
    "words",
    "word_chars",
    "hash_ratio",
    "ellipsis_ratio",
    "bullet_lines",
    "ellipsis_lines",
    "letter_words",
    "stop_words",
)
LINES = ("end_marks", "short_lines", "repeated_chars", "line_feeds_per_word")
DOT, HASH, HYPHEN, STAR, BULLET, ELLIPSIS = 0x2E, 0x23, 0x2D, 0x2A, 0x2022, 0x2026
BLOOM = 4096  # bits that tell most words from stop words


class StopWords(NamedTuple):
    """Stop words of some languages: those of list i are `hashes[offsets[i]:offsets[i + 1]]`, sorted."""

    hashes: Hashes
    offsets: Offsets
    blooms: Bytes  # one row of BLOOM places per list: whether a word may be in it, by the last bits of its hash


def stop_words(lists: Sequence[Sequence[str]]) -> StopWords:
    """Stop words as the kernel looks them up; entries that are not one token (`aujourd'hui`) never match."""
    import polars as pl

    hashes, ends = [], [0]
    blooms = np.zeros((len(lists), BLOOM), np.uint8)
    for place, words in enumerate(lists):
        found = new_tokens(texts(pl.Series(list(words), dtype=pl.String)))
        single = np.diff(found.offsets) == 1
        own = np.unique(found.hashes[found.offsets[:-1][single]])
        blooms[place, own % np.uint64(BLOOM)] = 1
        hashes.append(own)
        ends.append(ends[-1] + len(own))
    together = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
    return StopWords(frozen(together), frozen(np.array(ends)), frozen(blooms.reshape(-1)))


def quality(given: Texts, lists: StopWords, list_of: Numbers, way: Way = "fineweb") -> Floats:
    """What Gopher's quality rules measure of each text, in the order of `QUALITY`.

    `list_of` says which list of stop words each text is measured by, -1 for none.
    """
    found = []
    for start, stop, part in slices(given):
        of_part = tokens(part, way != "fineweb")
        own = frozen(np.ascontiguousarray(list_of[start:stop], np.int32))
        found.append(quality_kernel(part.data, part.offsets, *of_part, bits(), *lists, own, WAYS.index(way)))
    return np.concatenate(found) if found else np.zeros((0, len(QUALITY)))


def lines(given: Texts, max_short: int = 30) -> Floats:
    """What FineWeb's rules measure of each text, in the order of `LINES`; a line of `max_short` characters is short."""
    found = []
    for _, _, part in slices(given):
        of_part = tokens(part)
        found.append(lines_kernel(part.data, part.offsets, of_part.offsets, bits(), max_short))
    return np.concatenate(found) if found else np.zeros((0, len(LINES)))


# --- kernels ----------------------------------------------------------------------------------------------------------


@inlined
def break_size(data: Bytes, at: Int, end: Int) -> Int:
    """The bytes of the line break at `at` as `str.splitlines` has them, 0 where there is none."""
    byte = data[at]
    if 0x0A <= byte <= 0x0D:
        return 2 if byte == 0x0D and at + 1 < end and data[at + 1] == LINE_FEED else 1
    if 0x1C <= byte <= 0x1E:
        return 1
    if byte == 0xC2 and at + 1 < end and data[at + 1] == 0x85:
        return 2
    separator = byte == 0xE2 and at + 2 < end and data[at + 1] == 0x80
    return 3 if separator and (data[at + 2] == 0xA8 or data[at + 2] == 0xA9) else 0


@inlined
def has_ink(data: Bytes, at: Int, end: Int, bits: Bits) -> Flag:
    """Whether a line has a character that is no white space."""
    while at < end:
        code, at = decode(data, at, end)
        if code < 0 or not bits[code] & SPACE:
            return True
    return False


@inlined
def first_code(data: Bytes, at: Int, end: Int, bits: Bits) -> Int:
    """The first code point that is no white space, -1 where there is none."""
    while at < end:
        code, at = decode(data, at, end)
        if code < 0 or not bits[code] & SPACE:
            return code
    return -1


@kernel
def last_start(data: Bytes, at: Int, end: Int, bits: Bits) -> Int:
    """Where the last character that is no white space begins; `at` - 1 where there is none."""
    while end > at:
        start = end - 1
        while start > at and data[start] & 0xC0 == 0x80:
            start -= 1
        code, _ = decode(data, start, end)
        if code < 0 or not bits[code] & SPACE:
            return start
        end = start
    return at - 1


@inlined
def ends_in_dots(data: Bytes, at: Int, end: Int, bits: Bits, three: bool) -> Flag:
    """Whether a line ends in an ellipsis, as one character or, if asked, as three full stops."""
    start = last_start(data, at, end, bits)
    if start < at:
        return False
    if data[start] == DOT:
        return three and start - 2 >= at and data[start - 1] == DOT and data[start - 2] == DOT
    return start + 2 < end and data[start] == 0xE2 and data[start + 1] == 0x80 and data[start + 2] == 0xA6


@kernel
def quality_kernel(
    data: Bytes,
    offsets: Offsets,
    hashes: Hashes,
    chars: Numbers,
    flags: Bytes,
    token_offsets: Offsets,
    bits: Bits,
    stops: Hashes,
    stop_offsets: Offsets,
    blooms: Bytes,
    list_of: Numbers,
    way: Int,
) -> Floats:
    """The measures of each text."""
    rows = len(offsets) - 1
    out = np.zeros((rows, 8), np.float64)
    plain = np.zeros(256, np.uint8)  # bytes that `line_marks` passes over; Dolma's way looks at each
    for byte in range(256):
        quiet = byte > 0x1E and byte < 0x80 and byte != DOT and byte != HASH
        plain[byte] = 1 if quiet and way != DOLMA else 0
    met = np.full(len(stops) + 1, -1, np.int64)  # the last text in which each stop word was met
    for row in range(rows):
        begin, last = token_offsets[row], token_offsets[row + 1]
        own = list_of[row]
        words, word_chars, with_letter, stop_count = 0, 0, 0, 0
        for place in range(begin, last):
            if way != FINEWEB or flags[place] & IS_WORD:
                words += 1
                word_chars += chars[place]
            with_letter += 1 if flags[place] & HAS_LETTER else 0
            if own >= 0 and blooms[own * BLOOM + np.int64(hashes[place] % np.uint64(BLOOM))]:
                low, high = stop_offsets[own], stop_offsets[own + 1]
                while low < high:
                    middle = (low + high) >> 1
                    if stops[middle] < hashes[place]:
                        low = middle + 1
                    else:
                        high = middle
                if low < stop_offsets[own + 1] and stops[low] == hashes[place]:
                    stop_count += 1 if way == DOLMA or met[low] != row else 0
                    met[low] = row
        marks, dots, line_count, bullets, trailing = line_marks(data, offsets[row], offsets[row + 1], bits, plain, way)
        every = max(last - begin, 1)
        out[row, 0] = words
        if words:
            out[row, 1] = word_chars / words
            if way == DOLMA:
                out[row, 1] = np.median(chars[begin:last])
        out[row, 2] = marks / every
        out[row, 3] = dots / every
        out[row, 4] = bullets / max(line_count, 1)
        out[row, 5] = trailing / max(line_count, 1)
        out[row, 6] = with_letter / every
        out[row, 7] = stop_count
    return out


@kernel
def line_marks(data: Bytes, at: Int, end: Int, bits: Bits, plain: Bytes, way: Int) -> tuple[Int, Int, Int, Int, Int]:
    """Number signs, ellipses, lines, lines that begin with a bullet, lines that end in an ellipsis.

    Dolma counts words with either sign once, as number signs, splits lines at line feeds alone and strips nothing.
    """
    marks, dots, line_count, bullets, trailing = 0, 0, 0, 0, 0
    start = at
    stops = 0  # full stops in a row
    in_word = False
    while at <= end:
        size = 1
        ended = at == end
        if not ended:
            byte = data[at]
            if plain[byte]:
                at += 1
                while at < end and plain[data[at]]:
                    at += 1
                stops = 0
                continue
            if byte == DOT:
                stops += 1
                if stops == 3:
                    dots += 1
                    stops = 0
                at += 1
                continue
            stops = 0
            sign = byte == HASH
            if byte == 0xE2 and at + 2 < end and data[at + 1] == 0x80 and data[at + 2] == 0xA6:
                dots += 1
                sign = True
            if way == DOLMA:
                marks += sign and not in_word
                code, _ = decode(data, at, end) if byte & 0xC0 != 0x80 else (np.int64(0), at)
                in_word = (in_word or sign) and not (code > 0 and bits[code] & SPACE)
                size = 1 if byte == LINE_FEED else 0
            else:
                marks += sign and byte == HASH
                size = 0 if byte > 0x1E and byte != 0xC2 and byte != 0xE2 else break_size(data, at, end)
            if size == 0:
                at += 1
                continue
        if not ended or at > start or way == DOLMA:
            line_count += 1
            if way == DOLMA:
                bullets += start < at and (data[start] == HYPHEN or data[start] == STAR)
                trailing += at - 3 >= start and data[at - 3] == 0xE2 and data[at - 2] == 0x80 and data[at - 1] == 0xA6
            else:
                first = first_code(data, start, at, bits)
                bullets += first in (BULLET, HYPHEN)
                trailing += ends_in_dots(data, start, at, bits, True)
        at += size
        start = at
    return marks, 0 if way == DOLMA else dots, line_count, bullets, trailing


@kernel
def lines_kernel(data: Bytes, offsets: Offsets, token_offsets: Offsets, bits: Bits, max_short: Int) -> Floats:
    """The measures of each text."""
    rows = len(offsets) - 1
    out = np.zeros((rows, 4), np.float64)
    most: Int = 1
    for row in range(rows):
        most = max(most, offsets[row + 1] - offsets[row] + 1)
    slots = np.empty(table_mask(most) + 1, np.uint32)
    keys = np.empty(most + 1, np.uint64)
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        feeds, lines, ended, short, repeated, total = 0, 0, 0, 0, 0, 0
        for place in range(at, end):
            feeds += data[place] == LINE_FEED
        mask = cleared(slots, feeds + 1)
        known = np.uint32(0)
        while at < end:
            start = at
            at, value, chars = line_at(data, at, end)
            total += chars
            if at > start and has_ink(data, start, at, bits):
                lines += 1
                short += chars <= max_short
                last = at - 1
                while last > start and data[last] & 0xC0 == 0x80:
                    last -= 1
                code, _ = decode(data, last, at)
                ended += code >= 0 and bits[code] & TERMINAL != 0
                slot = slot_of(slots, mask, keys, value)
                if slots[slot]:
                    repeated += chars
                else:
                    known += np.uint32(1)
                    slots[slot] = known
                    keys[known] = value
            at += 1
        if lines:
            out[row, 0] = ended / lines
            out[row, 1] = short / lines
        out[row, 2] = repeated / max(total, 1)
        out[row, 3] = feeds / max(token_offsets[row + 1] - token_offsets[row], 1)
    return out
