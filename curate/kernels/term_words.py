"""Texts as numbers of known words with the marks that stand between them, and the script of most letters.

A word is a run of letters, digits, underscores and combining marks; in scripts written without spaces between words
each letter is one. Texts must be in NFC (`curate.kernels.text.composed`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.utf8 import LETTER, MALFORMED, MARK, SPACE, UNSPACED, WORD, Bytes, Offsets, Texts, decode, tables

Ids = NDArray[np.int32]
Marks = NDArray[np.uint16]

HASH_START, HASH_PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, over code points

# The marks of a word: how it is written, and what stands between it and the word before.
CAPITAL = 1  # it begins with a capital letter
UPPER = 2  # it has no small letter
HYPHEN = 4
APOSTROPHE = 8
DOT = 16  # a full stop without white space after it
COMMA = 32  # a comma or a slash
OTHER = 64  # any other sign
BREAK = 128  # the end of a sentence or paragraph, or the start of the text
TIGHT = 256  # one sign alone, as in addresses, paths and code (a.b, a@b, a=b), or in a URL or code span
SLASH = 512  # a slash alone: men/women, or a path

GAPS = HYPHEN | APOSTROPHE | DOT | COMMA | OTHER | BREAK


class Vocabulary(NamedTuple):
    """An open-addressed table of the hashes of words, 0 where empty; the number of a word is from 1."""

    hashes: NDArray[np.uint64]
    ids: Ids


class Tokens(NamedTuple):
    """The words of texts end to end: those of text i are `offsets[i]` to `offsets[i + 1]`; an unknown word is 0."""

    ids: Ids
    marks: Marks
    offsets: Offsets


def vocabulary(words: list[str]) -> Vocabulary:
    """The table of lower-case words; the first has number 1."""
    size = 64
    while size < 4 * len(words):
        size *= 2
    hashes, ids = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    for number, word in enumerate(words, start=1):
        hashed = hash_of(word)
        slot = (hashed ^ hashed >> 32) & (size - 1)
        while hashes[slot]:
            slot = (slot + 1) & (size - 1)
        hashes[slot], ids[slot] = hashed, number
    return Vocabulary(hashes, ids)


def hash_of(word: str) -> int:
    """The hash by which the kernel finds a word."""
    hashed = HASH_START
    for letter in word:
        hashed = (hashed ^ ord(letter)) * HASH_PRIME & 0xFFFFFFFFFFFFFFFF
    return hashed


def words_of(text: str) -> list[str]:
    """The words of a text, as written, cut as the kernel does."""
    classes = tables().classes
    words, inside = [""], False
    for letter in text:
        bits = classes[ord(letter)]
        now = bool(bits & (WORD | MARK)) and not bits & UNSPACED
        if not (now and inside):
            words.append("")
        if now or bits & UNSPACED:
            words[-1] += letter
        inside = now
    return [word for word in words if word]


def lower(word: str) -> str:
    """A word with each letter lowered as the kernel does."""
    lowers = tables().lowers
    codes = (ord(letter) for letter in word)
    return "".join(chr(code + int(lowers[code])) if code < len(lowers) else chr(code) for code in codes)


def tokens(given: Texts, known: Vocabulary) -> Tokens:
    """The words of texts as numbers."""
    unicode = tables()
    most = int(given.offsets[-1] - given.offsets[0]) + 1
    ids, marks = np.empty(most, np.int32), np.empty(most, np.uint16)
    offsets = np.zeros(len(given.offsets), np.int64)
    tokens_kernel(
        given.data,
        given.offsets,
        unicode.classes,
        unicode.lowers,
        signs(),
        known.hashes,
        known.ids,
        ids,
        marks,
        offsets,
    )
    return Tokens(ids[: offsets[-1]], marks[: offsets[-1]], offsets)


def signs() -> Marks:
    """What each ASCII character that is not in words says of the gap it stands in; 0 for white space."""
    table = np.full(128, OTHER, np.uint16)
    for code in range(128):
        if chr(code).isspace():
            table[code] = 0
    for letters, mark in (("-", HYPHEN), ("'", APOSTROPHE), (".", DOT), (",/", COMMA), ("!?;", BREAK)):
        for letter in letters:
            table[ord(letter)] = mark
    for letter in ".@\\=&%#~:+$?":
        table[ord(letter)] |= TIGHT
    table[ord("/")] |= SLASH
    return table


@kernel
def mark_of(code: Int) -> Int:
    """What a character outside ASCII says of the gap it stands in."""
    if code == 0x2019 or code == 0x02BC:
        return APOSTROPHE
    if code == 0x2010 or code == 0x2011:
        return HYPHEN
    if 0x200B <= code <= 0x200D or code == 0x2060 or code == 0xFEFF:  # without width
        return 0
    return OTHER


@kernel
def tokens_kernel(
    data: Bytes,
    offsets: Offsets,
    classes: Bytes,
    lowers: NDArray[np.int32],
    ascii: Marks,
    hashes: NDArray[np.uint64],
    numbers: Ids,
    ids: Ids,
    marks: Marks,
    ends: Offsets,
) -> None:
    """Write the number and the marks of each word, and where the words of each text end."""
    mask = len(hashes) - 1
    to: Int = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        gap: Int = BREAK
        lines: Int = 0  # line feeds in this gap
        size: Int = 0  # its characters
        url = False
        quoted = False  # whether a backtick stands before the word, as in Markdown's code
        while at < end:
            code = np.int64(data[at])
            after = at + 1
            if code >= 0x80:
                code, after = decode(data, at, end)
            bits: Int = 0 if code == MALFORMED else classes[code]
            if not bits & (WORD | MARK | UNSPACED):
                size += 1
                quoted = code == 0x60
                if code == 0x3A and after + 1 < end and data[after] == 0x2F and data[after + 1] == 0x2F:
                    url = True
                elif bits & SPACE:
                    url = False
                if code == 0x0A:
                    lines += 1
                    if lines > 1:
                        gap |= BREAK
                if 0 <= code < 0x80:
                    gap |= ascii[code]
                    if ascii[code] == 0 and gap & DOT:  # a full stop ends a sentence where white space follows
                        gap |= BREAK
                elif bits & SPACE:
                    if gap & DOT:
                        gap |= BREAK
                else:
                    gap |= mark_of(code)
                at = after
                continue
            hashed = np.uint64(HASH_START)
            written: Int = UPPER
            first = True
            while True:
                step = np.int64(lowers[code]) if code < len(lowers) else 0
                hashed = (hashed ^ np.uint64(code + step)) * np.uint64(HASH_PRIME)
                if step == 0:
                    if bits & LETTER:
                        written &= ~UPPER
                elif first:
                    written |= CAPITAL
                first = False
                at = after
                if bits & UNSPACED or at >= end:
                    break
                code = np.int64(data[at])
                after = at + 1
                if code >= 0x80:
                    code, after = decode(data, at, end)
                bits = 0 if code == MALFORMED else classes[code]
                if not bits & (WORD | MARK) or bits & UNSPACED:
                    break
            slot = np.int64((hashed ^ hashed >> np.uint64(32)) & np.uint64(mask))
            while hashes[slot] != 0 and hashes[slot] != hashed:
                slot = (slot + 1) & mask
            ids[to] = numbers[slot]
            marks[to] = written | (gap if size == 1 else gap & ~(TIGHT | SLASH)) | (TIGHT if url or quoted else 0)
            to += 1
            gap, lines, size, quoted = 0, 0, 0, False
        ends[row + 1] = to


def main_scripts(given: Texts, codes: Bytes, scripts: int) -> NDArray[np.uint8]:
    """The script of most letters of each text by its number in `codes`, the lowest of equals; 0 without letters."""
    return main_scripts_kernel(given.data, given.offsets, tables().classes, codes, scripts)


@kernel
def main_scripts_kernel(data: Bytes, offsets: Offsets, classes: Bytes, codes: Bytes, scripts: Int) -> NDArray[np.uint8]:
    """Count the letters of each script."""
    found = np.zeros(len(offsets) - 1, np.uint8)
    counts = np.zeros(scripts, np.int64)
    letters = np.zeros(128, np.int64)  # which ASCII characters are letters: all are Latin
    for code in range(128):
        letters[code] = 1 if classes[code] & LETTER else 0
    latin = codes[0x61]
    for row in range(len(found)):
        counts[:] = 0
        plain: Int = 0
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            if data[at] < 0x80:
                plain += letters[data[at]]
                at += 1
                continue
            code, at = decode(data, at, end)
            if code != MALFORMED and classes[code] & LETTER:
                counts[codes[code]] += 1
        counts[latin] += plain
        counts[0] = 0
        best: Int = 0
        for script in range(1, scripts):
            if counts[script] > counts[best]:
                best = script
        found[row] = best
    return found
