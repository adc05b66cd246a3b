"""Lines and paragraphs of texts, and hashes of them that small differences do not change.

Normalised as in CCNet (arXiv 1911.00359, section 3.1): lower case, digits 0, no punctuation, no accents. Here every
character is left out that is neither a letter nor a digit nor white space, runs of white space are one space, and
accents are the marks of scripts that write them above or below whole letters (before U+0900, and the blocks of
combining marks); vowel signs of the scripts of India and South-East Asia stay.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.shingle import FACTOR, START, Codes, Hashes, fmix, lower_codes
from curate.kernels.utf8 import MALFORMED, MARK, SPACE, WORD, Bytes, Offsets, Texts, decode, tables

FIRST_VOWEL_SIGN = 0x900  # marks before it are accents
WITH_ACCENTS = ((0xC0, 0x250), (0x370, 0x530), (0x1E00, 0x2000))  # blocks of letters that hold their accents
DIGITS = ((0x30, 0x3A), (0x660, 0x66A), (0x6F0, 0x6FA), (0x966, 0x970), (0xFF10, 0xFF1A))

LEFT_OUT, BLANK = -1, 0


class Lines(NamedTuple):
    """Lines or paragraphs end to end: those of text i are at `offsets[i]` to `offsets[i + 1]`."""

    hashes: Hashes
    starts: NDArray[np.uint32]  # bytes from the start of the text
    ends: NDArray[np.uint32]  # where the next one starts, so that line ends are inside
    chars: NDArray[np.uint32]  # characters (code points) as they are, line ends inside
    offsets: Offsets
    all_chars: NDArray[np.uint32]  # of each text


def lines(given: Texts, *, paragraphs: bool = False, min_chars: int = 1) -> Lines:
    """The lines (or paragraphs, between empty lines) of each text that are at least so long when normalised."""
    return lines_kernel(given.data, given.offsets, normal_codes(), tables().classes, paragraphs, max(1, min_chars))


@cache
def normal_codes() -> Codes:
    """What becomes of each code point: BLANK, LEFT_OUT, or the code point it is read as; letters beyond stay."""
    classes = tables().classes
    lower = lower_codes()
    size = max(len(lower), 0x10000)
    codes = np.arange(size, dtype=np.int32)
    codes[: len(lower)] = lower
    bits = classes[:size]
    stays = (bits & WORD != 0) | ((bits & MARK != 0) & (codes >= FIRST_VOWEL_SIGN))
    for first, last in ((0x1AB0, 0x1B00), (0x1DC0, 0x1E00), (0x20D0, 0x2100), (0xFE20, 0xFE30)):
        stays[first:last] &= bits[first:last] & WORD != 0
    stays[ord("_")] = False
    for first, last in WITH_ACCENTS:
        for code in range(first, last):
            whole = unicodedata.normalize("NFD", chr(codes[code]))  # the same in every version of Unicode
            if len(whole) > 1 and all(unicodedata.combining(mark) for mark in whole[1:]):
                codes[code] = ord(whole[0])
    for first, last in DIGITS:
        codes[first:last] = ord("0")
    codes[~stays] = LEFT_OUT
    codes[bits & SPACE != 0] = BLANK
    codes.flags.writeable = False
    return codes


@kernel
def lines_kernel(data: Bytes, offsets: Offsets, codes: Codes, classes: Bytes, paragraphs: bool, least: Int) -> Lines:
    """The lines of all texts."""
    texts = len(offsets) - 1
    room: Int = 0
    for place in range(offsets[0], offsets[texts]):
        room += data[place] == 0x0A
    room += texts
    hashes = np.empty(room, np.uint64)
    starts, ends, chars = np.empty(room, np.uint32), np.empty(room, np.uint32), np.empty(room, np.uint32)
    ranges = np.zeros(texts + 1, np.int64)
    all_chars = np.zeros(texts, np.uint32)
    made: Int = 0
    for text in range(texts):
        begin, end = np.int64(offsets[text]), np.int64(offsets[text + 1])
        at: Int = begin
        count: Int = 0  # characters so far
        start: Int = begin  # of this line or paragraph
        start_count: Int = 0
        row: Int = begin  # of this line
        row_count: Int = 0
        value: Int = START
        kept: Int = 0  # normalised characters of it
        gap = False  # a blank before the next one
        empty = True  # nothing but blanks in this line
        closing = False  # an empty line ends the paragraph
        while True:
            over = bool(at >= end)
            code: Int = BLANK
            here: Int = at
            if not over:
                byte = data[at]
                if byte < 0x80:
                    code = codes[byte]
                    at += 1
                else:
                    point, at = decode(data, at, end)
                    if point == MALFORMED:
                        code = LEFT_OUT
                    elif point < len(codes):
                        code = codes[point]
                    else:
                        code = np.int64(point) if classes[point] & (WORD | MARK) else LEFT_OUT
            close = over
            stop, stop_count = here, count
            if not over and code != BLANK and closing:
                close = True
                stop, stop_count = row, row_count
            if close and stop > start:
                if kept >= least:
                    hashes[made] = fmix(value)
                    starts[made], ends[made] = start - begin, stop - begin
                    chars[made] = stop_count - start_count
                    made += 1
                start, start_count = stop, stop_count
                value, kept, gap = START, 0, False
            if over:
                break
            count += 1
            closing = closing and not close
            if code == BLANK:
                gap = bool(kept > 0)
                if data[here] == 0x0A:
                    row, row_count = at, count
                    if not paragraphs:
                        closing = False
                        if kept >= least:
                            hashes[made] = fmix(value)
                            starts[made], ends[made] = start - begin, at - begin
                            chars[made] = count - start_count
                            made += 1
                        start, start_count = at, count
                        value, kept, gap = START, 0, False
                    else:
                        closing = closing or empty
                    empty = True
                continue
            empty = False
            if code == LEFT_OUT:
                continue
            if gap:
                value = (value ^ np.uint64(0x20)) * FACTOR
                kept += 1
                gap = False
            value = (value ^ np.uint64(code)) * FACTOR
            kept += 1
        ranges[text + 1] = made
        all_chars[text] = count
    return Lines(hashes[:made].copy(), starts[:made].copy(), ends[:made].copy(), chars[:made].copy(), ranges, all_chars)
