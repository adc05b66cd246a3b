"""Text folded to what a word classifier should see: plain lower-case words between single spaces.

What is folded: case, accents, full-width and mathematical letters, characters without width, letters of other alphabets
that look Latin inside a Latin word, digits and signs that stand for letters inside a word, runs of one letter. What is
left out: URLs, names after @, HTML entities, all signs but `! ? " . ,`. The table of code points is made by
`tools/train_toxicity_screen.py` and shipped, so that results do not change with the version of Python.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.utf8 import Bytes, Offsets, decode, encode

# What the table says of a code point; 32 to 126 is the ASCII character it becomes.
SPACE = 0
LEFT_OUT = 1  # no width, or a combining mark: the word goes on as if it were not there
KEPT = 2  # a letter or digit of another script
SIGN = 3  # a word of its own: emoji, Chinese and Japanese characters
LOOKS_LATIN = 128  # plus the ASCII letter it looks like, which it becomes in a word with Latin letters

LONGEST_WORD = 64  # characters; the rest starts a new word
LONGEST_ENTITY = 9  # bytes of `&thetasym;` between its ends
LONGEST_DISGUISE = 2  # digits or signs in a row that may stand for letters
LETTERS_BEFORE_CUT = 3  # of one letter in a row: these become one, since no English word has them

DISGUISES = np.zeros(128, np.uint8)
for _sign, _letter in zip("01345$@!7", "oieassait", strict=True):
    DISGUISES[ord(_sign)] = ord(_letter)


def fold(texts: tuple[Bytes, Offsets], table: Bytes) -> tuple[Bytes, Offsets]:
    """Each text as folded words, UTF-8 in one buffer; the table is one byte per code point."""
    return fold_kernel(texts[0], texts[1], table, DISGUISES)


@kernel
def is_letter(byte: Int) -> bool:
    """Whether a byte is a lower-case ASCII letter."""
    return bool(0x61 <= byte <= 0x7A)


@kernel
def is_digit(byte: Int) -> bool:
    """Whether a byte is an ASCII digit."""
    return bool(0x30 <= byte <= 0x39)


@kernel
def end_of_url(data: Bytes, at: Int, end: Int) -> Int:
    """Where the URL that starts here ends, or the same place when none does."""
    first = data[at] | 0x20
    if first == 0x68:  # http:// or https://
        if at + 7 > end or data[at + 1] | 0x20 != 0x74 or data[at + 2] | 0x20 != 0x74 or data[at + 3] | 0x20 != 0x70:
            return at
        mark = at + 5 if data[at + 4] | 0x20 == 0x73 else at + 4
        if mark + 2 >= end or data[mark] != 0x3A or data[mark + 1] != 0x2F:
            return at
    elif first == 0x77:  # www.
        if at + 4 > end or data[at + 1] | 0x20 != 0x77 or data[at + 2] | 0x20 != 0x77 or data[at + 3] != 0x2E:
            return at
    else:
        return at
    while at < end and data[at] > 0x20:
        at += 1
    return at


@kernel
def end_of_entity(data: Bytes, at: Int, end: Int) -> Int:
    """Where the HTML entity that starts with this & ends, or the same place when none does."""
    place = at + 1
    while place < end and place - at <= LONGEST_ENTITY:
        byte = data[place] | 0x20
        if data[place] == 0x3B:
            return place + 1
        if not (is_letter(byte) or is_digit(data[place]) or data[place] == 0x23):
            return at
        place += 1
    return at


@kernel
def stands_in(data: Bytes, at: Int, end: Int, size: Int) -> bool:
    """Whether a sign (one of `@ $ ! *`) at this place stands inside a word of that many characters so far."""
    byte = data[at]
    if size == 0 or size >= LONGEST_WORD or not (byte == 0x40 or byte == 0x24 or byte == 0x21 or byte == 0x2A):
        return False
    if byte == 0x24 and data[at - 1] == 0x24:
        return True
    if at + 1 >= end:
        return False
    following = data[at + 1]
    return bool(is_letter(following | 0x20) or is_digit(following) or (following == byte and following != 0x21))


@kernel
def undisguise(word: NDArray[np.int32], looks: Bytes, size: Int, disguises: Bytes) -> bool:
    """Replace, in a word with Latin letters, what stands for a letter; whether there are such letters."""
    latin = False
    for place in range(size):
        latin = latin or is_letter(word[place])
    if not latin:
        return False
    for place in range(size):
        if looks[place]:
            word[place] = looks[place]
    place = 0
    while place < size:
        start = place
        while place < size and word[place] < 128 and disguises[word[place]]:
            place += 1
        ends = place == size and start < place and word[place - 1] == 0x24  # a$$
        inside = start > 0 and is_letter(word[start - 1]) and (ends or (place < size and is_letter(word[place])))
        if inside and 0 < place - start <= LONGEST_DISGUISE:
            for one in range(start, place):
                word[one] = disguises[word[one]]
        place += 1
    return True


@kernel
def put_word(out: Bytes, to: Int, word: NDArray[np.int32], looks: Bytes, size: Int, disguises: Bytes, odd: bool) -> Int:
    """Write a word, unless it is plain and stands there already, and a space; return the place after them."""
    if not odd:
        out[to + size] = 0x20
        return to + size + 1
    undisguise(word, looks, size, disguises)
    place = 0
    while place < size:
        run = place + 1
        while run < size and word[run] == word[place]:
            run += 1
        length = run - place
        if length >= LETTERS_BEFORE_CUT and not is_digit(word[place]):
            length = 1
        for _ in range(length):
            to = encode(np.int64(word[place]), out, to)
        place = run
    out[to] = 0x20
    return to + 1


@kernel
def fold_kernel(data: Bytes, offsets: Offsets, table: Bytes, disguises: Bytes) -> tuple[Bytes, Offsets]:
    """The folded texts; every character becomes at most itself and a space, so the buffer is long enough.

    A word of plain letters is written as it is read; `odd` says that it must be gone through again at its end.
    """
    texts = len(offsets) - 1
    out = np.empty(2 * (offsets[texts] - offsets[0]) + 2 * LONGEST_WORD + 16, np.uint8)
    ends = np.zeros(texts + 1, np.int64)
    word = np.zeros(LONGEST_WORD, np.int32)
    looks = np.zeros(LONGEST_WORD, np.uint8)
    to: Int = 0
    for text in range(texts):
        at, end = np.int64(offsets[text]), np.int64(offsets[text + 1])
        size: Int = 0
        odd = False
        last_sign: Int = 0
        while at < end:
            byte = np.int64(data[at])
            if byte < 0x80:
                code, after = byte, at + 1
                if size == 0 and (byte | 0x20 == 0x68 or byte | 0x20 == 0x77):
                    skipped = end_of_url(data, at, end)
                    if skipped > at:
                        at = skipped
                        continue
            else:
                code, after = decode(data, at, end)
            kind = np.int64(table[code]) if 0 <= code < len(table) else SPACE
            if kind == LEFT_OUT:
                at = after
                continue
            plain = 0x61 <= kind <= 0x7A
            if plain or kind == KEPT or kind >= LOOKS_LATIN or 0x30 <= kind <= 0x39 or stands_in(data, at, end, size):
                if size == LONGEST_WORD:
                    to = put_word(out, to, word, looks, size, disguises, odd)
                    size, odd = 0, False
                if plain and not odd:
                    odd = size >= 2 and word[size - 1] == kind and word[size - 2] == kind
                    out[to + size] = kind
                else:
                    odd = True
                looks[size] = kind - LOOKS_LATIN if kind >= LOOKS_LATIN else 0
                word[size] = code if kind == KEPT or kind >= LOOKS_LATIN or kind < 0x30 else kind
                size += 1
                last_sign = 0
                at = after
                continue
            if size > 0:
                to = put_word(out, to, word, looks, size, disguises, odd)
                size, odd = 0, False
            if byte == 0x26:
                skipped = end_of_entity(data, at, end)
                at = skipped if skipped > at else after
                continue
            if byte == 0x40:
                while after < end and (data[after] == 0x5F or is_letter(data[after] | 0x20) or is_digit(data[after])):
                    after += 1
            if kind >= SIGN:
                sign = code if kind == SIGN else kind
                if sign != last_sign:
                    to = encode(sign, out, to)
                    out[to] = 0x20
                    to += 1
                last_sign = sign
            at = after
        if size > 0:
            to = put_word(out, to, word, looks, size, disguises, odd)
        ends[text + 1] = to
    return out[:to], ends
