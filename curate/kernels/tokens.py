"""Tokens of texts: words and punctuation marks as the rules of English tokenisers (spaCy's) have them, without spaCy.

A text is cut at white space (`str.isspace`) into chunks. In scripts written without spaces between words each letter or
digit, with the marks on it, is a token. From both ends of any other chunk marks are split off (brackets, quotation
marks, commas, full stops after a small letter, a digit or two capitals, `'s`, units after a number), `n't`, `'ll` and
the like are tokens of their own, an address is one token, and what is left is cut around hyphens between letters,
around `: < > = /` before a letter, commas between letters, and where a sentence seems to end inside (`lower.Upper`).
`plain` tokens are the chunks themselves. docs/quality.md says how far this agrees with spaCy.

The last tokens are kept: steps that follow each other ask for those of the same texts, or of some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.blocks import hash_of, places_in, word_at
from curate.kernels.shingle import Hashes
from curate.kernels.token_rules import (
    APOSTROPHE,
    CURLY,
    DIGIT,
    DOT,
    LAST,
    OF_CLASSES,
    POINT,
    PUNCTUATION,
    SYMBOL,
    TERMINAL,
    TICK,
    Bits,
    Codes,
    Flag,
    has_packed,
    split_chunk,
)
from curate.kernels.utf8 import LETTER, MARK, SPACE, UNSPACED, WORD, Bytes, Offsets, Texts, decode, tables

Numbers = NDArray[np.int32]

# What is known of a token.
IS_WORD = 1  # something in it is no symbol
HAS_LETTER = 2
IS_PUNCTUATION = 4  # all of it
IS_TERMINAL = 8  # one mark that ends a sentence
BEGINS_LINE = 16  # a line feed stands before it, or nothing but white space

SLICE_BYTES = 1 << 26  # of texts that are looked at together: four batches of a run
SHORT_FORMS = (
    "mr. mrs. ms. dr. prof. st. jr. inc. ltd. co. corp. e.g. i.e. a.m. p.m. vs. messrs. rev. gen. gov. sen. rep. mt. "
    "bros. jan. feb. mar. apr. jun. jul. aug. sep. sept. oct. nov. dec."
)
UNITS = "km m dm cm mm ha nm yd in ft kg g mg t lb oz Pa hPa mbar mb MB kb KB gb GB tb TB T G M K"
LINE_FEED = 0x0A
FIRST_SMALL, FROM_CAPITAL = 0x61, np.uint8(0x20)  # the letter a; the bit that small letters have and capitals lack
ALL = 0xFFFF  # every bit of a class and kind
OTHERS = ALL - MARK


class Tokens(NamedTuple):
    """The tokens of texts end to end: those of text i are `offsets[i]` to `offsets[i + 1]` of each array.

    Hashes tell tokens apart within one process; they are not the same on every machine.
    """

    hashes: Hashes
    chars: Numbers
    flags: Bytes
    offsets: Offsets


class Kept(NamedTuple):
    """The tokens that were made last, and of what."""

    given: Texts
    plain: bool
    tokens: Tokens


_kept: list[Kept] = []  # one or none; replaced as a whole, so that threads see one or the other


def tokens(given: Texts, plain: bool = False) -> Tokens:
    """The tokens of each text; with `plain` the chunks between white space."""
    global _kept
    for kept in _kept:
        known = selected(kept, given) if kept.plain == plain else None
        if known is not None:
            return known
    found = new_tokens(given, plain)
    _kept = [Kept(given, plain, found)]
    return found


def forget() -> None:
    """Let go of the tokens that are kept, and of their texts."""
    global _kept
    _kept = []


def new_tokens(given: Texts, plain: bool = False) -> Tokens:
    """The same, neither kept nor looked up."""
    return Tokens(*map(frozen, tokens_kernel(given.data, given.offsets, bits(), *packed_words(), plain)))


def selected(kept: Kept, given: Texts) -> Tokens | None:
    """The tokens of texts that are all among those kept, compared byte by byte and in the same order, else None."""
    rows = len(given.offsets) - 1
    if rows > len(kept.given.offsets) - 1:
        return None
    places = places_in(given.data, given.offsets, kept.given.data, kept.given.offsets)
    if len(places) != rows:
        return None
    if rows == len(kept.given.offsets) - 1:
        return kept.tokens
    return Tokens(*map(frozen, selected_kernel(*kept.tokens, places)))


def frozen(array: Any) -> Any:
    """The array, read-only as Arrow's are: kernels are compiled for one kind of array."""
    array.setflags(write=False)
    return array


@cache
def bits() -> Bits:
    """Class and kind of each code point."""
    known = tables()
    found = known.classes.astype(np.uint16) & np.uint16(OF_CLASSES)
    found[0x30:0x3A] |= DIGIT
    found[[APOSTROPHE, CURLY]] |= TICK
    found[DOT] |= POINT
    found[: len(known.kinds)] |= known.kinds.astype(np.uint16) << np.uint16(8)
    table: Bits = frozen(found)
    return table


@cache
def packed_words() -> tuple[Hashes, Hashes]:
    """Abbreviations that keep their full stop, and units; each packed into a number, in order."""
    lists = (SHORT_FORMS.split(), UNITS.split())
    packed = [np.array(sorted(int.from_bytes(word.encode(), "big") for word in words), np.uint64) for words in lists]
    return frozen(packed[0]), frozen(packed[1])


def slices(given: Texts, size: int = SLICE_BYTES) -> Iterator[tuple[int, int, Texts]]:
    """Runs of texts of about `size` bytes: the first, the one after the last, and the texts themselves."""
    rows = len(given.offsets) - 1
    start = 0
    while start < rows:
        stop = int(np.searchsorted(given.offsets, given.offsets[start] + size, "right")) - 1
        stop = min(max(stop, start + 1), rows)
        yield start, stop, Texts(given.data, given.offsets[start : stop + 1])
        start = stop


# --- kernels ----------------------------------------------------------------------------------------------------------


@inlined
def flags_of(some: Int, every: Int, length: Int) -> Int:
    """What is known of a token, from the bits that some and all of its characters have."""
    flags = 0 if every & SYMBOL else IS_WORD
    flags |= HAS_LETTER if some & LETTER else 0
    flags |= IS_PUNCTUATION if every & PUNCTUATION else 0
    return flags | (IS_TERMINAL if length == 1 and every & TERMINAL else 0)


@inlined
def read_chunk(
    data: Bytes, start: Int, end: Int, bits: Bits, codes: Codes, kinds: Bits, places: Numbers, spots: Numbers
) -> tuple[Int, Int, Int, Int, Int]:
    """Where the chunk ends that begins at byte `start`, and its characters; `codes` gets them, `places` their bytes.

    Then the bits that all of them have and that any has, and how many are not `\\w`: `spots` says which. In scripts
    written without spaces a chunk is a letter and the marks on it, in others it goes on to white space or to such a
    letter.
    """
    code, at = np.int64(data[start]), start + 1
    if code >= 0x80:
        code, at = decode(data, start, end)
    of_first = np.int64(bits[code] if code >= 0 else 0)
    codes[0], kinds[0], places[0], spots[0] = code, of_first, 0, 0
    spaced: Flag = of_first & UNSPACED == 0
    size: Int = 1
    every: Int = of_first
    some: Int = of_first
    marks: Int = 1 - (of_first & WORD)
    while at < end:
        code, after = np.int64(data[at]), at + 1
        if code < 0x80:
            of_code = np.int64(bits[code])
            if of_code & SPACE or not spaced:
                break
        else:
            code, after = decode(data, at, end)
            of_code = np.int64(bits[code] if code >= 0 else 0)
            if of_code & (SPACE | UNSPACED) if spaced else (of_code & OTHERS or not of_code & MARK):
                break
        codes[size], kinds[size], places[size], spots[marks] = code, of_code, at - start, size
        at = after
        size += 1
        every &= of_code
        some |= of_code
        marks += 1 - (of_code & WORD)
    places[size] = at - start
    return at, size, every, some, marks


@inlined
def bits_at(data: Bytes, at: Int, end: Int, bits: Bits) -> Int:
    """The bits of the ASCII character at byte `at`, 0 for others, those of white space at the end."""
    if at >= end:
        return np.int64(SPACE)
    return np.int64(bits[data[at]] if data[at] < 0x80 else 0)


@kernel
def splits_last(data: Bytes, at: Int, stop: Int, end: Int, bits: Bits, short: Hashes) -> Flag:
    """Whether ASCII letters from byte `at` up to `stop` and the mark there are a chunk of two tokens.

    False also where the answer takes more than a look: `split_chunk` knows.
    """
    of_mark = bits_at(data, stop, end, bits)
    if not of_mark & (LAST | POINT) or of_mark & TICK or not bits_at(data, stop + 1, end, bits) & SPACE:
        return False
    if not of_mark & POINT:
        return True
    if data[stop - 1] < FIRST_SMALL or stop - at == 1:
        return False
    value = np.uint64(0)
    for place in range(at, stop + 1):
        value = value << np.uint64(8) | np.uint64(data[place] | FROM_CAPITAL)
    return stop + 1 - at > 8 or not has_packed(short, value)


@kernel
def tokens_kernel(data: Bytes, offsets: Offsets, bits: Bits, short: Hashes, units: Hashes, plain: bool) -> Tokens:
    """The tokens of each text."""
    rows = len(offsets) - 1
    longest: Int = 0
    for row in range(rows):
        longest = max(longest, offsets[row + 1] - offsets[row])
    room = offsets[rows] - offsets[0]
    hashes = np.empty(room, np.uint64)  # pages that are never written cost nothing
    chars = np.empty(room, np.int32)
    flags = np.empty(room, np.uint8)
    ends = np.zeros(rows + 1, np.int64)
    codes = np.empty(longest + 1, np.int32)
    kinds = np.empty(longest + 1, np.uint16)
    places = np.empty(longest + 1, np.int32)
    spots = np.empty(longest + 1, np.int32)
    cuts = np.zeros(longest + 1, np.uint8)
    to = 0
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        begins = BEGINS_LINE
        while at < end:
            code, after = np.int64(data[at]), at + 1
            if code >= 0x80:
                code, after = decode(data, at, end)
            of_code = np.int64(bits[code]) if code >= 0 else 0
            if of_code & SPACE:
                begins = BEGINS_LINE if code == LINE_FEED else begins
                at = after
                continue
            start = at
            at, value = word_at(data, start, end)
            if at > start:  # the most frequent chunks: letters, or letters and one mark
                alone: Flag = bits_at(data, at, end, bits) & SPACE != 0
                if alone or (not plain and splits_last(data, start, at, end, bits, short)):
                    hashes[to] = value
                    chars[to] = at - start
                    flags[to] = IS_WORD | HAS_LETTER | begins
                    begins = 0
                    to += 1
                    if not alone:
                        of_code = np.int64(bits[data[at]])
                        hashes[to] = hash_of(data, at, at + 1)
                        chars[to] = 1
                        flags[to] = flags_of(of_code, of_code, 1)
                        to += 1
                        at += 1
                    continue
            at, size, every, some, marks = read_chunk(data, start, end, bits, codes, kinds, places, spots)
            whole: Flag = plain or size == 1 or every & LETTER != 0 or some & UNSPACED != 0
            if not whole:
                whole = split_chunk(codes, size, spots, marks, some, bits, short, units, cuts) == 0
            if whole:
                hashes[to] = hash_of(data, start, at)
                chars[to] = size
                flags[to] = flags_of(some, every, size) | begins
                begins = 0
                to += 1
                continue
            cuts[size] = 1
            first, some, every = 0, 0, ALL
            for place in range(size):
                some |= np.int64(kinds[place])
                every &= np.int64(kinds[place])
                if cuts[place + 1]:
                    cuts[place + 1] = 0
                    hashes[to] = hash_of(data, start + places[first], start + places[place + 1])
                    chars[to] = place + 1 - first
                    flags[to] = flags_of(some, every, place + 1 - first) | begins
                    to += 1
                    first, some, every, begins = place + 1, 0, ALL, 0
            cuts[0] = 0
        ends[row + 1] = to
    return Tokens(hashes[:to], chars[:to], flags[:to], ends)


@kernel
def selected_kernel(hashes: Hashes, chars: Numbers, flags: Bytes, offsets: Offsets, rows: NDArray[np.int64]) -> Tokens:
    """The tokens of some texts."""
    ends = np.zeros(len(rows) + 1, np.int64)
    for place in range(len(rows)):
        ends[place + 1] = ends[place] + offsets[rows[place] + 1] - offsets[rows[place]]
    count = ends[len(rows)]
    own_hashes, own_chars, own_flags = np.empty(count, np.uint64), np.empty(count, np.int32), np.empty(count, np.uint8)
    for place in range(len(rows)):
        to, start, stop = ends[place], offsets[rows[place]], offsets[rows[place] + 1]
        for token in range(stop - start):
            own_hashes[to + token] = hashes[start + token]
            own_chars[to + token] = chars[start + token]
            own_flags[to + token] = flags[start + token]
    return Tokens(own_hashes, own_chars, own_flags, ends)
