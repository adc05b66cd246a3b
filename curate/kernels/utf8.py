"""Text columns as byte buffers, and what the kernels know of each code point.

The class table is made from Unicode 14.0 by `tools/make_unicode_tables.py` and shipped, so that results do not change
with the version of Python.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel

if TYPE_CHECKING:
    import polars as pl

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

# The bits of a code point's class.
WORD = 1  # alphanumeric or underscore, as `\w` in Python's re
SPACE = 2  # as str.isspace
UNSPACED = 4  # alphanumeric, in a script written without spaces between words
LETTER = 8  # as str.isalpha
MARK = 16  # a combining mark (general category M): not `\w`, but part of the word it stands in
NOT_NFC = 32  # NFC changes it, or may join it to the character before
COMBINING = 64  # its canonical combining class is not 0: order matters to NFC

MALFORMED = -1  # what `decode` says of a byte that is not part of well-formed UTF-8


class Texts(NamedTuple):
    """Texts end to end in one buffer: text i is `data[offsets[i]:offsets[i + 1]]`."""

    data: Bytes
    offsets: Offsets


class Tables(NamedTuple):
    """Tables by code point; those that end early mean 0 beyond their end."""

    classes: Bytes
    combining: Bytes  # canonical combining class
    folds: NDArray[np.int32]  # what to add to a code point to fold its case
    lowers: NDArray[np.int32]  # the same to lower it
    kinds: Bytes  # punctuation, ends of sentences and case: the bits are in `tokens`


@cache
def tables() -> Tables:
    """The shipped Unicode tables, loaded once per process (about 5 ms)."""
    with (files("curate.data") / "unicode.npz").open("rb") as file, np.load(file) as stored:
        return Tables(*(stored[name] for name in Tables._fields))


def texts(column: pl.Series) -> Texts:
    """The UTF-8 bytes of a string column, without a copy where Arrow allows it; null is the empty text.

    The arrays are always read-only, as Arrow's are: kernels are compiled once, for one type of array.
    """
    import polars as pl

    if column.null_count():
        column = column.fill_null("")
    array: Any = column.to_arrow(compat_level=pl.CompatLevel.oldest())  # large_string: 64-bit offsets, one buffer
    _, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        return Texts(np.frombuffer(b"", np.uint8), np.frombuffer(bytes(8 * (len(array) + 1)), np.int64))
    where = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return Texts(np.frombuffer(b"" if data is None else data, np.uint8), where)


def column(given: Texts, name: str = "text", rows: NDArray[np.int64] | None = None) -> pl.Series:
    """A string column of the texts, or of those in some rows; the bytes must be well-formed UTF-8."""
    import polars as pl
    import pyarrow as pa

    count = len(given.offsets) - 1
    array = pa.LargeStringArray.from_buffers(count, pa.py_buffer(given.offsets.data), pa.py_buffer(given.data.data))
    return pl.Series(name, array if rows is None else array.take(rows))


def with_rows(given: Texts, rows: NDArray[np.int64], others: Texts) -> Texts:
    """The texts with those in some rows, in ascending order, replaced by others."""
    if len(rows) == 0:
        return given
    sizes = np.diff(given.offsets)
    sizes[rows] = np.diff(others.offsets)
    starts = np.append(given.offsets[0], given.offsets[rows + 1])  # of the runs of texts that stay
    ends = np.append(given.offsets[rows], given.offsets[-1])
    new = [others.data[start:end] for start, end in pairwise(others.offsets.tolist())]
    stay = [given.data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    data = np.concatenate([stay[0], *(piece for pair in zip(new, stay[1:], strict=True) for piece in pair)])
    offsets = np.append(0, np.cumsum(sizes))
    data.flags.writeable = offsets.flags.writeable = False  # as the arrays of `texts`
    return Texts(data, offsets)


@inlined
def end_below(data: Bytes, at: Int, end: Int, limit: np.uint8) -> Int:
    """Where the first byte of at least `limit` stands, or the end: most texts are read 64 bytes at a time."""
    while at + 64 <= end:
        seen = np.uint8(0)
        for step in range(64):  # as `max` it would not become vector instructions
            seen |= np.uint8(data[at + step] >= limit)
        if seen:
            break
        at += 64
    while at < end and data[at] < limit:
        at += 1
    return at


@kernel
def decode(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """The code point at byte `at` and where the next one starts; a byte that fits nowhere is (MALFORMED, at + 1).

    Reads no byte at or after `end`. Rejects what UTF-8 forbids: overlong forms, surrogates, beyond U+10FFFF.
    """
    first = np.int64(data[at])
    if first < 0x80:
        return first, at + 1
    if first < 0xC2 or first > 0xF4 or at + 1 >= end:
        return MALFORMED, at + 1
    second = np.int64(data[at + 1])
    if second & 0xC0 != 0x80:
        return MALFORMED, at + 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | (second & 0x3F), at + 2
    if at + 2 >= end:
        return MALFORMED, at + 1
    third = np.int64(data[at + 2])
    if third & 0xC0 != 0x80:
        return MALFORMED, at + 1
    if first < 0xF0:
        code = (first & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F)
        if code < 0x800 or 0xD800 <= code <= 0xDFFF:
            return MALFORMED, at + 1
        return code, at + 3
    if at + 3 >= end:
        return MALFORMED, at + 1
    fourth = np.int64(data[at + 3])
    if fourth & 0xC0 != 0x80:
        return MALFORMED, at + 1
    code = (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | (fourth & 0x3F)
    if code < 0x10000 or code > 0x10FFFF:
        return MALFORMED, at + 1
    return code, at + 4


@kernel
def encode(code: Int, out: Bytes, at: Int) -> Int:
    """Write a code point as UTF-8 at byte `at` of `out`, and return where it ends."""
    if code < 0x80:
        out[at] = code
        return at + 1
    if code < 0x800:
        out[at] = 0xC0 | code >> 6
        out[at + 1] = 0x80 | code & 0x3F
        return at + 2
    if code < 0x10000:
        out[at] = 0xE0 | code >> 12
        out[at + 1] = 0x80 | code >> 6 & 0x3F
        out[at + 2] = 0x80 | code & 0x3F
        return at + 3
    out[at] = 0xF0 | code >> 18
    out[at + 1] = 0x80 | code >> 12 & 0x3F
    out[at + 2] = 0x80 | code >> 6 & 0x3F
    out[at + 3] = 0x80 | code & 0x3F
    return at + 4
