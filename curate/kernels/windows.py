"""Cutting texts into windows of whole sentences, by character limits, over Arrow's UTF-8 buffers.

Windows lie end to end: those of a text are all of its bytes, so that nothing is ever left out. A window ends with the
first sentence that brings it to the least length, else with the last sentence that fits, else at the last white space,
else where the limit is. One pass, no byte is read twice.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.utf8 import LETTER, MALFORMED, SPACE, Bytes, Offsets, Texts, decode, tables

Numbers = NDArray[np.int64]

LATIN, CYRILLIC = 1, 2  # scripts that a model reads, to be added up

NO_END, MAYBE_END, END, END_WITHOUT_SPACE = 0, 1, 2, 3


class Windows(NamedTuple):
    """Windows end to end: window i is `data[bounds[i]:bounds[i + 1]]`, and belongs to text `rows[i]`."""

    data: Bytes
    bounds: Numbers
    rows: Numbers
    letters: Numbers  # letters in the window
    known: Numbers  # letters of the scripts that were asked for
    odd: NDArray[np.bool_]  # holds characters that nobody sees, or that are written like others


def cut(given: Texts, limit: int, least: int, scripts: int) -> Windows:
    """Cut each text into windows of at most `limit` characters (code points); an empty text has none.

    A sentence that brings a window to `least` characters is its last; with `limit` as `least` windows are packed.
    """
    data, offsets = given
    least = max(1, min(least, limit))
    found = cut_kernel(data, offsets, limit, least, scripts, tables().classes, inner_bytes())
    bounds, rows, letters, known, odd = found
    return Windows(data, bounds, rows, letters, known, odd)


@cache
def inner_bytes() -> Bytes:
    """By byte: 0 if it may end a word or a sentence or is not ASCII, 2 if it is a letter, else 1."""
    kinds = np.ones(256, np.uint8)
    kinds[0x80:] = 0
    kinds[np.flatnonzero(tables().classes[:0x80] & SPACE)] = 0
    kinds[[ord(mark) for mark in ".!?"]] = 0
    kinds[np.flatnonzero(tables().classes[:0x80] & LETTER)] = 2
    return kinds


@kernel
def cut_kernel(
    data: Bytes, offsets: Offsets, limit: Int, least: Int, scripts: Int, classes: Bytes, inner: Bytes
) -> tuple[Numbers, Numbers, Numbers, Numbers, NDArray[np.bool_]]:
    """Bounds, texts, letters, letters of known scripts and oddness of all windows."""
    texts = len(offsets) - 1
    # Two neighbouring windows of a text have at least `least` characters together, so that there are never more:
    room = 2 * ((offsets[texts] - offsets[0]) // least + texts) + 1
    bounds = np.empty(room + 1, np.int64)
    rows = np.empty(room, np.int64)
    letters = np.empty(room, np.int64)
    known = np.empty(room, np.int64)
    odd = np.empty(room, np.bool_)
    bounds[0] = offsets[0]
    made = 0
    # Counts from the start of the text; `cut_*` are those at the start of the window, `sentence_*` and `space_*` those
    # at the last sentence and at the last white space that ended in it.
    for text in range(texts):
        at, end = offsets[text], offsets[text + 1]
        chars: Int = 0
        letter_count: Int = 0
        known_count: Int = 0
        odd_count: Int = 0
        cut_at, cut_chars, cut_letters, cut_known, cut_odd = at, chars, letter_count, known_count, odd_count
        sentence_at, sentence_chars, sentence_letters, sentence_known, sentence_odd = at, chars, chars, chars, chars
        space_at, space_chars, space_letters, space_known, space_odd = at, chars, chars, chars, chars
        ended = NO_END
        spaced = False
        while at < end:
            if ended == NO_END and not spaced:  # inside a word of ASCII nothing can happen until the window is full
                until = min(end, at + limit - (chars - cut_chars))
                start = at
                before = letter_count
                while at < until and inner[data[at]]:
                    letter_count += inner[data[at]] >> 1
                    at += 1
                chars += at - start
                known_count += letter_count - before if scripts & LATIN else 0
                if at == end:
                    break
            here = at
            byte = data[at]
            if byte < 0x80:
                code = np.int64(byte)
                at += 1
            else:
                code, at = decode(data, at, end)
            bits = np.uint8(0) if code == MALFORMED else classes[code]
            space = bits & SPACE != 0
            full = chars - cut_chars == limit
            if not space:
                if ended >= END and not (ended == END_WITHOUT_SPACE and closes(code)):
                    sentence_at, sentence_chars = here, chars
                    sentence_letters, sentence_known, sentence_odd = letter_count, known_count, odd_count
                    full = full or chars - cut_chars >= least
                if spaced:
                    space_at, space_chars = here, chars
                    space_letters, space_known, space_odd = letter_count, known_count, odd_count
            if full:
                if sentence_at > cut_at:
                    next_at, next_chars = sentence_at, sentence_chars
                    next_letters, next_known, next_odd = sentence_letters, sentence_known, sentence_odd
                elif space_at > cut_at:
                    next_at, next_chars = space_at, space_chars
                    next_letters, next_known, next_odd = space_letters, space_known, space_odd
                else:
                    next_at, next_chars = here, chars
                    next_letters, next_known, next_odd = letter_count, known_count, odd_count
                rows[made] = text
                letters[made] = next_letters - cut_letters
                known[made] = next_known - cut_known
                odd[made] = next_odd > cut_odd
                made += 1
                bounds[made] = next_at
                cut_at, cut_chars = next_at, next_chars
                cut_letters, cut_known, cut_odd = next_letters, next_known, next_odd
            chars += 1
            if bits & LETTER or (code >= 0x80 and is_alias(code)):
                letter_count += 1
                known_count += is_known(code, scripts)
            if code >= 0x80:
                odd_count += is_odd(code)
            ended = after(code, space, ended)
            spaced = space
        if end > cut_at:
            rows[made] = text
            letters[made] = letter_count - cut_letters
            known[made] = known_count - cut_known
            odd[made] = odd_count > cut_odd
            made += 1
            bounds[made] = end
    return bounds[: made + 1], rows[:made], letters[:made], known[:made], odd[:made]


@inlined
def after(code: Int, space: bool, ended: Int) -> Int:
    """Whether a sentence has ended after this character."""
    if space:
        line_break = code == 0x0A or code == 0x0D or code == 0x2028 or code == 0x2029
        return END if line_break or ended != NO_END else NO_END
    if ended != END and ended != NO_END and closes(code):
        return ended
    # . ! ? and the ellipsis; Arabic, Urdu, Devanagari, Ethiopic, Armenian and Burmese full stops
    if code == 0x2E or code == 0x21 or code == 0x3F:
        return MAYBE_END
    if code < 0x80:
        return NO_END
    if (
        code == 0x2026
        or code == 0x061F
        or code == 0x06D4
        or code == 0x0964
        or code == 0x0965
        or code == 0x1362
        or code == 0x0589
        or code == 0x104B
    ):
        return MAYBE_END
    if code == 0x3002 or code == 0xFF01 or code == 0xFF1F or code == 0xFF61:  # CJK: no space follows
        return END_WITHOUT_SPACE
    return NO_END


@inlined
def closes(code: Int) -> bool:
    """Whether a character belongs to the sentence before it: end marks, closing quotes and brackets."""
    if code < 0x80:
        return bool(
            code == 0x22 or code == 0x27 or code == 0x29 or code == 0x5D or code == 0x7D  # " ' ) ] }
            or code == 0x2E or code == 0x21 or code == 0x3F  # . ! ?
        )  # fmt: skip
    return bool(
        code == 0x2019 or code == 0x201D or code == 0xBB or code == 0x203A  # right-hand quotes
        or code == 0x300D or code == 0x300F or code == 0xFF09 or code == 0x3011  # CJK
        or code == 0x3002 or code == 0xFF01 or code == 0xFF1F
    )  # fmt: skip


@inlined
def is_known(code: Int, scripts: Int) -> Int:
    """1 if a letter is of one of the scripts, else 0."""
    if scripts & LATIN and (
        code < 0x250
        or 0x1E00 <= code < 0x1F00
        or 0x2C60 <= code < 0x2C80
        or 0xA720 <= code < 0xA800
        or 0xFB00 <= code < 0xFB07
        or 0xFF21 <= code < 0xFF5B
        or is_alias(code)
    ):
        return 1
    return 1 if scripts & CYRILLIC and 0x400 <= code < 0x530 else 0


@inlined
def is_odd(code: Int) -> Int:
    """1 if a character is seen by nobody (zero width, direction, variation), or is another way to write a letter."""
    return 1 if is_hidden(code) or is_alias(code) or 0xFF00 <= code < 0xFFF0 else 0


@inlined
def is_hidden(code: Int) -> bool:
    """Whether nobody sees a character: `curate.windows.HIDDEN`, zero width, direction, variation, tags."""
    return bool(
        code == 0xAD
        or code == 0x34F
        or code == 0x61C
        or code == 0x115F  # fillers of Hangul
        or code == 0x1160
        or code == 0x3164
        or code == 0xFFA0
        or 0x180B <= code <= 0x180F
        or 0x200B <= code <= 0x200F
        or 0x202A <= code <= 0x202E
        or 0x2060 <= code <= 0x206F
        or 0xFE00 <= code <= 0xFE0F
        or code == 0xFEFF
        or 0xE0000 <= code <= 0xE0FFF
    )


@inlined
def is_alias(code: Int) -> bool:
    """Whether a character is a letter-like sign, a circled letter or a mathematical letter: NFKC makes it a letter."""
    return bool(
        0x2100 <= code < 0x2150 or 0x24B6 <= code < 0x24EA or 0x1D400 <= code < 0x1D7CC or 0x1F100 <= code < 0x1F1AA
    )
