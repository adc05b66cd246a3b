"""Where tokens begin inside a chunk of text between white space: the rules of English tokenisers, without spaCy.

`tokens` says what they are. Kernels see a chunk as code points, each with its class and kind in the bits of one number.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.shingle import Hashes
from curate.kernels.utf8 import LETTER, MALFORMED, MARK, SPACE, UNSPACED, WORD, Bytes

Bits = NDArray[np.uint16]
Codes = NDArray[np.int32]
Flag: TypeAlias = Any  # a truth value inside a kernel

# A code point's class in the lower byte (`utf8`, and three bits of our own), its kind in the upper one.
OF_CLASSES = WORD | SPACE | UNSPACED | LETTER | MARK
DIGIT = 32  # an ASCII digit
TICK = 64  # an apostrophe
POINT = 128  # a full stop
PUNCTUATION = 1 << 8  # general category P
TERMINAL = 2 << 8  # ends a sentence (Unicode's Sentence_Terminal)
SYMBOL = 4 << 8  # a token of nothing else is no word to FineWeb
UPPER = 8 << 8  # general categories Lu and Lt
LOWER = 16 << 8  # general category Ll
FIRST = 32 << 8  # split off when it begins a chunk
LAST = 64 << 8  # split off when it ends one
ICON = 128 << 8  # general category So: a token wherever it stands

MOST_SPECIAL = 24  # characters of the longest contraction that is looked for
HASH, PERCENT, APOSTROPHE, PLUS, COMMA, HYPHEN, DOT, SLASH = 0x23, 0x25, 0x27, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F
COLON, AT, CURLY, UNDERSCORE, ELLIPSIS = 0x3A, 0x40, 0x2019, 0x5F, 0x2026
WIDE = 0xA1  # letters from here on are taken as part of an address


@inlined
def is_digit(code: Int) -> Flag:
    """Whether a code point is an ASCII digit."""
    return 0x30 <= code <= 0x39


@inlined
def is_small(bits: Int) -> Flag:
    """Whether a letter may be a small one: letters without case are both."""
    return (bits & LETTER) != 0 and (bits & UPPER) == 0


@inlined
def is_capital(bits: Int) -> Flag:
    """Whether a letter may be a capital."""
    return (bits & LETTER) != 0 and (bits & LOWER) == 0


@inlined
def is_quote(code: Int) -> Flag:
    """Whether a code point is a quotation mark."""
    return (
        code == 0x22
        or code == APOSTROPHE
        or code == 0x60
        or code == 0xAB
        or code == 0xB4
        or code == 0xBB
        or 0x2018 <= code <= 0x201A
        or 0x201C <= code <= 0x201E
    )


@inlined
def is_hyphen(code: Int) -> Flag:
    """Whether a code point joins words: hyphen, dashes, tilde."""
    return code == HYPHEN or code == 0x2013 or code == 0x2014 or code == 0x7E


@kernel
def has_packed(words: Hashes, value: Int) -> Flag:
    """Whether a packed word is in a sorted list."""
    low, high = 0, len(words)
    while low < high:
        middle = (low + high) >> 1
        if words[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(words) and words[low] == value


@kernel
def packed(codes: Codes, lo: Int, hi: Int, add: Int) -> Int:
    """At most eight ASCII characters as one number, 0 for others; `add` goes to ASCII capitals."""
    value = np.uint64(0)
    for place in range(lo, hi):
        code = codes[place]
        if code < 0 or code > 0x7F:
            return np.uint64(0)
        if 0x41 <= code <= 0x5A:
            code += add
        value = value << np.uint64(8) | np.uint64(code)
    return value


@kernel
def contraction(codes: Codes, lo: Int, hi: Int) -> Int:
    """Where `n't`, `'ll`, `'ve`, `'re`, `'d` or `'m` begins in a chunk of ASCII letters that ends so, else -1."""
    if hi - lo < 3 or hi - lo > MOST_SPECIAL:
        return -1
    last, before = codes[hi - 1], codes[hi - 2]
    start: Int = -1
    if before in (APOSTROPHE, CURLY):
        if last == 0x74 and codes[hi - 3] == 0x6E:  # n't
            start = hi - 3
        elif last == 0x64 or last == 0x6D:  # 'd, 'm
            start = hi - 2
    elif codes[hi - 3] == APOSTROPHE or codes[hi - 3] == CURLY:
        ends_in_e = last == 0x65 and (before == 0x76 or before == 0x72)  # 've, 're
        if ends_in_e or (last == 0x6C and before == 0x6C):  # 'll
            start = hi - 3
    if start <= lo:
        return -1
    for place in range(lo, start):
        code = codes[place]
        if not (0x41 <= code <= 0x5A or 0x61 <= code <= 0x7A):
            return -1
    return start


@kernel
def is_special(codes: Codes, lo: Int, hi: Int, bits: Bits, short: Hashes) -> Flag:
    """Whether a chunk is a known whole: a letter or an abbreviation with its full stop, a contraction."""
    if codes[hi - 1] == DOT:
        if hi - lo == 2:
            return codes[lo] >= 0 and (bits[codes[lo]] & LETTER) != 0
        return 2 < hi - lo <= 8 and has_packed(short, packed(codes, lo, hi, 0x20))
    return contraction(codes, lo, hi) >= 0


@inlined
def first_mark(codes: Codes, lo: Int, hi: Int, bits: Bits) -> Int:
    """How many characters are split off the beginning of a chunk."""
    code = codes[lo]
    if code < 0:
        return 0
    if bits[code] & FIRST or (code == PLUS and not (lo + 1 < hi and is_digit(codes[lo + 1]))):
        return 1
    size = 0
    while lo + size < hi and codes[lo + size] == DOT:
        size += 1
    return size if size > 1 else 0


@inlined
def last_mark(codes: Codes, lo: Int, hi: Int, some: Int, bits: Bits, units: Hashes) -> Int:
    """How many characters are split off the end of a chunk; `some` has the class bits of all its characters."""
    code = codes[hi - 1]
    if code < 0 or (bits[code] & LETTER and not some & (TICK | DIGIT)):
        return 0
    before = codes[hi - 2] if hi - 1 > lo else MALFORMED
    before_bits = bits[before] if before >= 0 else np.uint16(0)
    if code == DOT:
        size = 1
        while hi - size > lo and codes[hi - size - 1] == DOT:
            size += 1
        if size > 1 or before < 0:
            return size if size > 1 else 0
        if is_digit(before) or is_small(before_bits) or before in (PERCENT, PLUS, HYPHEN):
            return 1
        if before == 0xB2 or before_bits & LAST:
            return 1
        capitals = hi - 2 > lo and codes[hi - 3] >= 0 and is_capital(before_bits) and is_capital(bits[codes[hi - 3]])
        return 1 if capitals else 0
    if (code == 0x73 or code == 0x53) and before in (APOSTROPHE, CURLY):  # 's
        return 2
    if bits[code] & LAST:
        return 1
    if is_digit(before) and code in (PLUS, PERCENT, 0x24, 0xA3, 0x20AC):
        return 1
    if not some & DIGIT:
        return 0
    size = 0
    while size < 5 and hi - size - 1 >= lo and codes[hi - size - 1] >= 0 and bits[codes[hi - size - 1]] & LETTER:
        size += 1
    if 0 < size < 5 and hi - size - 1 >= lo and is_digit(codes[hi - size - 1]):
        return size if has_packed(units, packed(codes, hi - size, hi, 0)) else 0
    return 0


@inlined
def inner_mark(codes: Codes, at: Int, lo: Int, hi: Int, bits: Bits) -> Int:
    """How many characters at `at`, inside a chunk, are a token of their own."""
    code = codes[at]
    if code < 0:
        return 0
    if code == DOT and at + 1 < hi and codes[at + 1] == DOT:
        size = 2
        while at + size < hi and codes[at + size] == DOT:
            size += 1
        return size
    if code == ELLIPSIS or bits[code] & ICON:
        return 1
    if at == lo or at + 1 >= hi or codes[at - 1] < 0 or codes[at + 1] < 0:
        return 0
    before, after = codes[at - 1], codes[at + 1]
    before_bits, after_bits = bits[before], bits[after]
    if code in (PLUS, HYPHEN, 0x2A, 0x5E) and is_digit(before) and (is_digit(after) or after == HYPHEN):  # * ^
        return 1
    if code == DOT:
        ends = is_small(before_bits) or is_quote(before)
        return 1 if ends and (is_capital(after_bits) or is_quote(after)) else 0
    if code == COMMA:
        return 1 if before_bits & LETTER and after_bits & LETTER else 0
    if not (before_bits & LETTER or is_digit(before)):
        return 0
    if is_hyphen(code):
        size = 1
        while size < 3 and at + size < hi and codes[at + size] == code:
            size += 1
        follows = at + size < hi and codes[at + size] >= 0 and bits[codes[at + size]] & LETTER
        return size if follows else 0
    joins = code == COLON or code == SLASH or 0x3C <= code <= 0x3E  # < = >
    return 1 if joins and after_bits & LETTER else 0


@kernel
def is_host(codes: Codes, lo: Int, hi: Int, bits: Bits) -> Flag:
    """Whether a chunk is a host name of at least two labels, the last of small ASCII letters, and perhaps a rest."""
    at = lo
    label = lo
    labels = 0
    while at < hi:
        code = codes[at]
        if code == DOT:
            if at == label or not (inner_label(codes[label]) and inner_label(codes[at - 1])):
                return False
            labels += 1
            label = at + 1
        elif not (inner_label(code) or code in (HYPHEN, UNDERSCORE)):
            break
        at += 1
    if labels == 0 or not 2 <= at - label <= 63:
        return False
    for place in range(label, at):
        if not 0x61 <= codes[place] <= 0x7A:
            return False
    if at < hi and codes[at] == COLON:
        size = 0
        while at + 1 + size < hi and is_digit(codes[at + 1 + size]):
            size += 1
        if not 2 <= size <= 5:
            return False
        at += 1 + size
    return at == hi or codes[at] == SLASH or codes[at] == 0x3F or codes[at] == HASH


@inlined
def inner_label(code: Int) -> Flag:
    """Whether a code point may begin a label of a host name."""
    return is_digit(code) or 0x41 <= code <= 0x5A or 0x61 <= code <= 0x7A or WIDE <= code <= 0xFFFF


@inlined
def is_address(codes: Codes, lo: Int, hi: Int, bits: Bits) -> Flag:
    """Whether a chunk is a web or mail address: `[scheme://][user@]host.name[:port][/path]`."""
    scheme = lo
    while (
        scheme < hi
        and codes[scheme] >= 0
        and (bits[codes[scheme]] & WORD or codes[scheme] == PLUS or codes[scheme] == HYPHEN or codes[scheme] == DOT)
    ):
        scheme += 1
    start = lo
    follows = scheme + 2 < hi and codes[scheme] == COLON
    if follows and scheme - lo >= 2 and codes[scheme + 1] == SLASH and codes[scheme + 2] == SLASH:
        start = scheme + 3
    if is_host(codes, start, hi, bits):
        return True
    at = start
    while at < hi and codes[at] != AT:
        at += 1
    return start < at < hi and is_host(codes, at + 1, hi, bits)


@kernel
def split_chunk(
    codes: Codes, size: Int, spots: Codes, marks: Int, some: Int, bits: Bits, short: Hashes, units: Hashes, cuts: Bytes
) -> Int:
    """Mark in `cuts` where tokens begin inside a chunk of `size` characters, and return how many marks were set.

    `some` has the class bits that any of its characters has; those at the first `marks` places in
    `spots` are not `\\w`.
    """
    lo, hi, count = np.int64(0), size, 0  # no literal: each would be compiled for
    whole = False
    while lo < hi:
        if (codes[hi - 1] == DOT or some & TICK) and is_special(codes, lo, hi, bits, short):
            whole = True
            break
        code = codes[lo]
        cut = 0 if code < 0 or bits[code] & LETTER else first_mark(codes, lo, hi, bits)
        if cut:
            lo += cut
            cuts[lo] = 1
        else:
            cut = last_mark(codes, lo, hi, some, bits, units)
            if cut == 0:
                break
            hi -= cut
            cuts[hi] = 1
        count += 1
    if lo >= hi:
        return count
    if whole:
        inside = contraction(codes, lo, hi)
        if inside > lo:
            cuts[inside] = 1
            count += 1
        return count
    while marks and spots[marks - 1] >= hi:
        marks -= 1
    first = 0
    while first < marks and spots[first] < lo:
        first += 1
    if first == marks or (some & POINT and is_address(codes, lo, hi, bits)):
        return count
    at: Int = lo
    for number in range(first, marks):
        spot = np.int64(spots[number])
        mark = inner_mark(codes, spot, lo, hi, bits) if spot >= at else 0
        if mark:
            at = spot + mark
            cuts[spot] = 1
            cuts[at] = 1
            count += 2
    return count
