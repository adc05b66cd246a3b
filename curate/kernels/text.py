"""Counting characters and words, and normalising texts for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.utf8 import (
    COMBINING,
    LETTER,
    MALFORMED,
    MARK,
    NOT_NFC,
    SPACE,
    UNSPACED,
    WORD,
    Bytes,
    Offsets,
    Tables,
    Texts,
    column,
    decode,
    encode,
    end_below,
    tables,
    texts,
    with_rows,
)

if TYPE_CHECKING:
    import polars as pl

SPACE_BYTE = 0x20
FIRST_MARK = np.uint8(0xCC)  # the first byte of U+0300, the first combining mark: all before it is composed
GROWTH = 1.5  # folding may lengthen a character from 2 bytes to 3 (U+023A, U+023E), never by more


class Counts(NamedTuple):
    """Characters (code points), words and UTF-8 bytes of each text."""

    chars: NDArray[np.uint32]
    words: NDArray[np.uint32]
    bytes: NDArray[np.uint32]


def count(column: pl.Series) -> Counts:
    """Count the characters, words and bytes of each text.

    A word is a run of letters, digits, underscores (`\\w` in Python's re) and the combining marks among them; in
    scripts written without spaces between words (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan and a few more) each
    letter or digit is a word. A malformed byte counts as one character.
    """
    data, offsets = texts(column)
    chars, words = count_kernel(data, offsets, tables().classes)
    return Counts(chars, words, np.diff(offsets).astype(np.uint32))


@kernel
def count_kernel(data: Bytes, offsets: Offsets, classes: Bytes) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Characters and words of each text."""
    rows = len(offsets) - 1
    chars = np.zeros(rows, np.uint32)
    words = np.zeros(rows, np.uint32)
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        char_count = 0
        word_count = 0
        inside = 0  # whether the character before belongs to a spaced word
        while at < end:
            byte = data[at]
            char_count += 1
            if byte < 0x80:
                now = int(classes[byte]) & WORD
                word_count += now & (1 - inside)
                inside = now
                at += 1
                continue
            code, at = decode(data, at, end)
            bits = np.uint8(0) if code == MALFORMED else classes[code]
            if bits & UNSPACED:
                word_count += 1
                inside = 0
            elif bits & WORD:
                word_count += 1 - inside
                inside = 1
            elif not bits & MARK:
                inside = 0
        chars[row] = char_count
        words[row] = word_count
    return chars, words


def normalize(column: pl.Series, *, fold: bool = True, collapse: bool = True) -> Texts:
    """Texts in the form in which they are compared: NFC, then case folded, then white space collapsed.

    `fold` maps each character to its case-folded form where that is one character (`ß` stays, `str.casefold` would give
    `ss`). `collapse` makes every run of white space (`str.isspace`) one space, and removes it at both ends.
    """
    unicode = tables()
    return normalize_kernel(*composed(texts(column), unicode), unicode.classes, unicode.folds, fold, collapse)


def composed(given: Texts, unicode: Tables) -> Texts:
    """The texts in NFC; only those that the quick check cannot clear are looked at a second time."""
    doubtful = not_composed_kernel(given.data, given.offsets, unicode.classes, unicode.combining)
    return in_form(given, np.flatnonzero(doubtful), "NFC")


def in_form(given: Texts, rows: NDArray[np.int64], form: Literal["NFC", "NFKC"]) -> Texts:
    """The texts, those in some rows in a normal form; only what that changes is copied."""
    if len(rows) == 0:
        return given
    before = column(given, rows=rows)
    after = before.str.normalize(form)
    changed = (before != after).to_numpy()
    return with_rows(given, rows[changed], texts(after.filter(changed)))


@kernel
def not_composed_kernel(data: Bytes, offsets: Offsets, classes: Bytes, combining: Bytes) -> NDArray[np.bool_]:
    """Which texts may not be in NFC: the quick check of UAX #15, with "maybe" as yes."""
    rows = len(offsets) - 1
    found = np.zeros(rows, np.bool_)
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        before: Int = 0
        while at < end:
            if data[at] < FIRST_MARK:
                before = 0
                at = end_below(data, at, end, FIRST_MARK)
                continue
            code, at = decode(data, at, end)
            bits = np.uint8(0) if code == MALFORMED else classes[code]
            if not bits & (NOT_NFC | COMBINING):
                before = 0
                continue
            order = combining[code] if bits & COMBINING else 0
            if bits & NOT_NFC or (order != 0 and before > order):
                found[row] = True
                break
            before = order
    return found


@kernel
def normalize_kernel(
    data: Bytes, offsets: Offsets, classes: Bytes, folds: NDArray[np.int32], fold: bool, collapse: bool
) -> Texts:
    """Fold case and collapse white space; malformed bytes stay as they are."""
    rows = len(offsets) - 1
    out = np.empty(int((offsets[rows] - offsets[0]) * GROWTH) + 4, np.uint8)
    ends = np.zeros(rows + 1, np.int64)
    spaces = np.zeros(128, np.uint8)  # for ASCII: 1 for white space that is collapsed
    put = np.zeros(128, np.uint8)  # for ASCII: the byte to write
    for code in range(128):
        spaces[code] = 1 if collapse and classes[code] & SPACE else 0
        put[code] = SPACE_BYTE if spaces[code] else code + folds[code] * fold
    to = 0
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        start = to
        space = np.uint8(collapse)  # whether the last character written is white space, or none is yet
        while at < end:
            byte = data[at]
            if byte < 0x80:  # without branches: a space that follows a space is written over
                now = spaces[byte]
                out[to] = put[byte]
                to += 1 - int(now & space)
                space = now
                at += 1
                continue
            code, at = decode(data, at, end)
            if code == MALFORMED:
                out[to] = byte
                to += 1
                space = np.uint8(0)
            elif collapse and classes[code] & SPACE:
                out[to] = SPACE_BYTE
                to += 1 - int(space)
                space = np.uint8(1)
            else:
                to = encode(code + folds[code] if fold and code < len(folds) else code, out, to)
                space = np.uint8(0)
        if collapse and space and to > start:
            to -= 1
        ends[row + 1] = to
    return Texts(out[:to], ends)


def has_letters(given: Texts) -> NDArray[np.bool_]:
    """Which texts have a letter (`str.isalpha`)."""
    return has_letters_kernel(given.data, given.offsets, tables().classes)


@kernel
def has_letters_kernel(data: Bytes, offsets: Offsets, classes: Bytes) -> NDArray[np.bool_]:
    """Which texts have a letter."""
    rows = len(offsets) - 1
    found = np.zeros(rows, np.bool_)
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        while at < end and not found[row]:
            code, at = decode(data, at, end)
            found[row] = code != MALFORMED and classes[code] & LETTER != 0
    return found


def stands_alone(
    given: Texts, rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which spans of bytes are not part of a longer word: no letter, digit, underscore or mark is joined to them.

    `rows` says in which text each span lies. In scripts written without spaces nothing is joined.
    """
    return stands_alone_kernel(given.data, given.offsets, rows, starts, ends, tables().classes)


@kernel
def stands_alone_kernel(
    data: Bytes,
    offsets: Offsets,
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    classes: Bytes,
) -> NDArray[np.bool_]:
    """Whether a word begins where each span starts and one ends where it ends."""
    alone = np.ones(len(rows), np.bool_)
    for span in range(len(rows)):
        first, last = offsets[rows[span]], offsets[rows[span] + 1]
        for edge in (first + starts[span], first + ends[span]):
            if first < edge < last:
                before = edge - 1
                while before > first and data[before] & 0xC0 == 0x80:
                    before -= 1
                code, _ = decode(data, before, last)
                code_after, _ = decode(data, edge, last)
                if code != MALFORMED and code_after != MALFORMED and joined(classes[code], classes[code_after]):
                    alone[span] = False
    return alone


@kernel
def joined(bits: Int, bits_after: Int) -> bool:
    """Whether two neighbouring characters, by their classes, belong to one word."""
    if bits & UNSPACED or bits_after & UNSPACED:
        return False
    return bool(bits & (WORD | MARK) and bits_after & (WORD | MARK))
