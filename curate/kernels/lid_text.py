"""Text made ready for a language model: what is not language taken out, and what its letters and words say counted.

Taken out: addresses (URLs, e-mail, paths, host names), markup (tags, entities, code spans and blocks, `{{...}}`), words
with the marks of code, numbers and punctuation that stand alone, invisible characters. Words in capitals are folded.
Of long texts the beginning, the middle and the end are read. The rest is cut into segments at white space.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.text import composed, in_form
from curate.kernels.utf8 import (
    LETTER,
    MALFORMED,
    MARK,
    UNSPACED,
    WORD,
    Bytes,
    Offsets,
    Texts,
    decode,
    encode,
    end_below,
    tables,
)
from curate.kernels.windows import LATIN, is_alias, is_hidden, is_known
from curate.languages import LabelSet, scripts

SEGMENT = 500  # bytes of prepared text: some 80 words, enough to tell a language, short enough to see two in a text
LONGEST_TAG, LONGEST_CODE, LONGEST_BRACES, LONGEST_ENTITY = 300, 160, 200, 10  # bytes
LONGEST_WORD = 40  # bytes of ASCII without a hyphen: beyond it is base64 or a hash, not a word
LONGEST_COMMON = 24  # characters
WORD_HASH_START, WORD_HASH_PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, 64 bits, over code points

# What an ASCII byte says of the word that it stands in.
IS_LETTER, IS_DIGIT, IS_CODE, IS_SLASH, IS_AT, IS_DOT, IS_COLON, IS_HYPHEN = 1, 2, 4, 8, 16, 32, 64, 128
BEYOND_ASCII = 256
FIRST_ALIAS = np.uint8(0xE2)  # the first byte of U+2000: plain letters have no other forms before it


class Counts(NamedTuple):
    """What was counted in texts or in parts of them, one row each."""

    scripts: NDArray[np.int32]  # letters of each script
    letters: NDArray[np.int32]  # letters of each class of the label set
    hits: NDArray[np.float32]  # common words of each label
    words: NDArray[np.int32]


class Prepared(NamedTuple):
    """Texts made ready, in segments: segment i is `data[offsets[i]:offsets[i + 1]]`, of text `rows[i]`."""

    data: Bytes
    offsets: Offsets
    rows: NDArray[np.int64]
    scripts: NDArray[np.int32]  # these four as in `Counts`
    letters: NDArray[np.int32]
    hits: NDArray[np.float32]
    words: NDArray[np.int32]
    read: NDArray[np.int64]  # by text: how many bytes of it were read

    def counts(self) -> Counts:
        """What was counted in each segment."""
        return Counts(self.scripts, self.letters, self.hits, self.words)


def prepare(given: Texts, known: LabelSet, max_chars: int | None) -> Prepared:
    """Make texts ready for the model with these labels."""
    unicode = tables()
    codes, names = scripts()
    sizes = np.diff(given.offsets)
    limit = int(sizes.max(initial=0)) + 1 if max_chars is None else max_chars
    most = np.minimum(sizes, 4 * limit)
    room = int(most.sum()) + len(sizes) + 16
    segments = most_segments(most)
    prepared = Prepared(
        data=np.empty(room + 2 * segments, np.uint8),
        offsets=np.zeros(segments + 1, np.int64),
        rows=np.zeros(segments, np.int64),
        scripts=np.zeros((segments, len(names)), np.int32),
        letters=np.zeros((segments, known.spelt.shape[1]), np.int32),
        hits=np.zeros((segments, len(known.tags)), np.float32),
        words=np.zeros(segments, np.int32),
        read=np.zeros(len(sizes), np.int64),
    )
    used = prepare_kernel(
        *given,
        limit,
        unicode.classes,
        unicode.folds,
        codes,
        known.letters,
        known.words,
        known.word_starts,
        known.word_labels,
        SIGNS,
        prepared,
    )
    return prepared._replace(
        data=prepared.data[: prepared.offsets[used]],
        offsets=prepared.offsets[: used + 1],
        **{name: getattr(prepared, name)[:used] for name in ("rows", "scripts", "letters", "hits", "words")},
    )


def plain_letters(given: Texts) -> Texts:
    """The texts in NFC, those with mathematical, circled or full-width letters in NFKC, which replaces them."""
    unicode = tables()
    rows = np.flatnonzero(has_other_letters(*given, unicode.classes))
    return composed(in_form(given, rows, "NFKC"), unicode)


def most_segments(sizes: NDArray[np.int64]) -> int:
    """How many segments texts that were read in so many bytes can have at most.

    A text may become two bytes longer: a space ends each word, also one that a window cuts, and three windows leave out
    at least one byte. So 499 bytes may fill a segment, after which another is begun.
    """
    return int(((sizes + 2) // SEGMENT + 1).sum())


def words_of(text: str) -> list[str]:
    """The words of a text as the kernel counts them, lower-cased: runs of letters, digits and marks."""
    classes = tables().classes
    spaced = (character if classes[ord(character)] & (WORD | MARK) else " " for character in text)
    return "".join(spaced).lower().split()


def hash_of_word(word: str) -> int:
    """The hash by which the kernel finds a common word."""
    value = WORD_HASH_START
    for character in word:
        value = (value ^ ord(character)) * WORD_HASH_PRIME & (1 << 64) - 1
    return value


def _signs() -> Bytes:
    signs = np.zeros(128, np.uint8)
    for characters, sign in (
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", IS_LETTER),
        ("0123456789", IS_DIGIT),
        ("_={}<>\\|^~$", IS_CODE),
        ("/", IS_SLASH),
        ("@", IS_AT),
        (".", IS_DOT),
        (":", IS_COLON),
        ("-", IS_HYPHEN),
    ):
        signs[[ord(character) for character in characters]] = sign
    return signs


SIGNS = _signs()


# --- kernels ----------------------------------------------------------------------------------------------------------


@kernel
def prepare_kernel(
    data: Bytes,
    offsets: Offsets,
    max_chars: Int,
    classes: Bytes,
    folds: NDArray[np.int32],
    codes: Bytes,
    letter_classes: NDArray[np.uint16],
    common: NDArray[np.uint64],
    starts: NDArray[np.int32],
    owners: NDArray[np.int32],
    signs: Bytes,
    out: Prepared,
) -> Int:
    """Write the prepared texts and their counts to `out`; return how many segments there are, at least one a text."""
    ready, ends, rows, read = out.data, out.offsets, out.rows, out.read
    script_counts, letter_counts, word_counts, hits = out.scripts, out.letters, out.words, out.hits
    met = np.zeros(len(common), np.int32)  # how often each common word stands in this segment
    met_slots = np.zeros(len(common), np.int32)  # which those are
    # Not literals: a helper is compiled once more for each literal that it is given.
    meetings, to, segment = np.int64(0), np.int64(0), np.int64(0)
    windows = np.zeros(6, np.int64)
    for row in range(len(offsets) - 1):
        count = choose_windows(data, offsets[row], offsets[row + 1], max_chars, windows)
        rows[segment] = row
        start = to
        for window in range(count):
            at, end = windows[2 * window], windows[2 * window + 1]
            read[row] += end - at
            while at < end:
                first, after = to, at
                at, to, kept = copy_word(data, at, end, signs, ready, to)
                if not kept:
                    at = max(at, after)
                    continue
                place = first  # count its letters and words
                letters: Int = 0
                capitals: Int = 0
                length: Int = 0
                hashed = np.uint64(WORD_HASH_START)
                while place < to:
                    code = np.int64(ready[place])
                    if code < 0x80:
                        place += 1
                    else:
                        code, place = decode(ready, place, to)
                        if code == MALFORMED:
                            continue
                        if code < len(letter_classes) and letter_classes[code]:
                            letter_counts[segment, letter_classes[code]] += 1
                    bits = classes[code]
                    if bits & LETTER:
                        letters += 1
                        script_counts[segment, codes[code]] += 1
                    if bits & UNSPACED:
                        word_counts[segment] += 1
                    elif bits & (WORD | MARK):
                        fold = folds[code] if code < len(folds) else 0
                        capitals += fold != 0
                        hashed = (hashed ^ np.uint64(code + fold)) * np.uint64(WORD_HASH_PRIME)
                        length += 1
                        if place < to:
                            continue
                    if length:
                        word_counts[segment] += 1
                        slot = find_common(hashed, common) if length <= LONGEST_COMMON else -1
                        if slot >= 0:
                            if met[slot] == 0:
                                met_slots[meetings] = slot
                                meetings += 1
                            met[slot] += 1
                        length = 0
                        hashed = np.uint64(WORD_HASH_START)
                if letters == 0:
                    to = first
                    continue
                if letters > 1 and capitals == letters:
                    fold_capitals(ready, first, to, folds)
                ready[to] = 0x20
                to += 1
                if to - start >= SEGMENT:
                    meetings = credit_words(hits, segment, met, met_slots, meetings, starts, owners)
                    segment += 1
                    ends[segment] = to
                    rows[segment] = row
                    start = to
        meetings = credit_words(hits, segment, met, met_slots, meetings, starts, owners)
        if to > start or segment == 0 or rows[segment - 1] != row:
            segment += 1
            ends[segment] = to
    return segment


@kernel
def has_other_letters(data: Bytes, offsets: Offsets, classes: Bytes) -> NDArray[np.bool_]:
    """Which texts hold letters that are other ways to write plain ones."""
    found = np.zeros(len(offsets) - 1, np.bool_)
    for row in range(len(found)):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            byte = data[at]
            if byte != 0xE2 and byte != 0xEF and byte != 0xF0:  # one by one among Chinese letters, which are above too
                at = end_below(data, at, end, FIRST_ALIAS) if byte < 0x80 else at + 1
                continue
            code, at = decode(data, at, end)
            # Of the letter-like signs those that are no letters (trade mark, numero, degrees) stand in any text.
            if (is_alias(code) and not (code < 0x2150 and not classes[code] & LETTER)) or (
                0xFF21 <= code < 0xFF3B or 0xFF41 <= code < 0xFF5B
            ):
                found[row] = True
                break
    return found


@inlined
def copy_word(data: Bytes, at: Int, end: Int, signs: Bytes, ready: Bytes, to: Int) -> tuple[Int, Int, bool]:
    """Copy the run of bytes up to white space or markup; return where to go on, its end, and whether it is language."""
    while at < end and data[at] <= 0x20:
        at += 1
    if at < end and starts_markup(data[at]):
        after = end_of_markup(data, at, end)
        if after > at:
            return after, to, False
    first, began = to, at
    seen: Int = 0
    slashes: Int = 0
    dots: Int = 0
    while at < end:
        byte = data[at]
        if byte <= 0x20:
            break
        if byte < 0x80:
            if starts_markup(byte) and at > began and end_of_markup(data, at, end) > at:
                break
            sign = signs[byte]
            seen |= sign
            slashes += sign & IS_SLASH
            if sign & IS_DOT and to > first and at + 1 < end and data[at + 1] < 0x80:
                dots += signs[data[at + 1]] & signs[ready[to - 1] & 0x7F] & IS_LETTER
        else:
            if may_be_hidden(byte):
                code, after = decode(data, at, end)
                if is_hidden(code) and not (is_joiner(code) and joins(data, after, end, ready, first, to)):
                    at = after
                    continue
            seen |= BEYOND_ASCII
        ready[to] = byte
        to += 1
        at += 1
    if is_code(ready, first, to, seen, slashes, dots):
        return at, first, False
    return at, to, True


@inlined
def starts_markup(byte: Int) -> bool:
    """Whether a byte is one of `<`, the grave accent, `{`, `&`."""
    return bool(byte == 0x3C or byte == 0x60 or byte == 0x7B or byte == 0x26)


@kernel
def find_common(hashed: np.uint64, common: NDArray[np.uint64]) -> Int:
    """The slot of a common word, or -1."""
    last = len(common) - 1
    slot = np.int64(hashed & np.uint64(last))
    while common[slot]:
        if common[slot] == hashed:
            return slot
        slot = (slot + 1) & last
    return np.int64(-1)


@kernel
def credit_words(
    hits: NDArray[np.float32],
    segment: Int,
    met: NDArray[np.int32],
    met_slots: NDArray[np.int32],
    meetings: Int,
    starts: NDArray[np.int32],
    owners: NDArray[np.int32],
) -> Int:
    """Add the common words met in a segment to the labels that they belong to, and forget them."""
    for one in range(meetings):
        slot = met_slots[one]
        for place in range(starts[slot], starts[slot + 1]):
            hits[segment, owners[place]] += np.float32(met[slot])
        met[slot] = 0
    return np.int64(0)


@inlined
def choose_windows(data: Bytes, start: Int, end: Int, max_chars: Int, windows: NDArray[np.int64]) -> Int:
    """Write where the windows that are read start and end; return how many: 1 for a text that is read whole, else 3."""
    windows[0], windows[1] = start, end
    if end - start <= max_chars:
        return 1
    third = max_chars // 3
    at = forward(data, start, end, max_chars - 2 * third)
    if forward(data, at, end, 2 * third) == end:
        return 1
    windows[1] = at
    last = end
    for _ in range(third):
        last -= 1
        while data[last] & 0xC0 == 0x80:
            last -= 1
    windows[4], windows[5] = last, end
    middle = max(at, (start + end) // 2)
    while middle < last and data[middle] & 0xC0 == 0x80:
        middle += 1
    windows[2], windows[3] = middle, forward(data, middle, last, third)
    for window in (1, 2):  # a window starts with a whole word where one starts soon
        at = windows[2 * window]
        limit = min(at + LONGEST_WORD, windows[2 * window + 1])
        while at < limit and data[at] > 0x20:
            at += 1
        if at < limit:
            windows[2 * window] = at
    return 3


@inlined
def forward(data: Bytes, at: Int, end: Int, chars: Int) -> Int:
    """Where the text stands after so many characters, or its end."""
    for _ in range(chars):
        if at >= end:
            break
        at += 1
        while at < end and data[at] & 0xC0 == 0x80:
            at += 1
    return at


@kernel
def end_of_markup(data: Bytes, at: Int, end: Int) -> Int:
    """Where a tag, entity, code span or block, or `{{...}}` that starts here ends; `at` when none does."""
    byte = data[at]
    if byte == 0x3C and at + 1 < end:  # <
        following = data[at + 1]
        if following == 0x2F or following == 0x21 or 0x61 <= following | 0x20 <= 0x7A:
            for place in range(at + 1, min(end, at + LONGEST_TAG)):
                if data[place] == 0x3E:
                    return place + 1
                if data[place] == 0x3C:
                    break
    elif byte == 0x60:  # `
        if at + 2 < end and data[at + 1] == 0x60 and data[at + 2] == 0x60:
            for place in range(at + 3, end - 2):
                if data[place] == 0x60 and data[place + 1] == 0x60 and data[place + 2] == 0x60:
                    return place + 3
            return at + 3
        for place in range(at + 1, min(end, at + LONGEST_CODE)):
            if data[place] == 0x60:
                return place + 1
            if data[place] == 0x0A:
                break
        return at + 1
    elif byte == 0x7B and at + 1 < end and data[at + 1] == 0x7B:  # {{
        for place in range(at + 2, min(end, at + LONGEST_BRACES) - 1):
            if data[place] == 0x7D and data[place + 1] == 0x7D:
                return place + 2
    elif byte == 0x26:  # &
        for place in range(at + 1, min(end, at + LONGEST_ENTITY)):
            if data[place] == 0x3B:
                return place + 1 if place > at + 2 else at
            if not (0x61 <= data[place] | 0x20 <= 0x7A or 0x30 <= data[place] <= 0x39 or data[place] == 0x23):
                break
    return at


@inlined
def may_be_hidden(byte: Int) -> bool:
    """Whether one of the characters that nobody sees (`is_hidden`) starts with this byte."""
    return bool(
        byte == 0xE2 or byte == 0xC2 or byte == 0xEF or byte == 0xD8 or byte == 0xCD or byte == 0xE1 or byte == 0xF3
    )


@inlined
def is_joiner(code: Int) -> bool:
    """Whether a character is the zero-width joiner or non-joiner, which Persian and Indic spellings need."""
    return bool(code == 0x200C or code == 0x200D)


@kernel
def joins(data: Bytes, after: Int, end: Int, ready: Bytes, first: Int, to: Int) -> bool:
    """Whether a joiner stands at a letter whose shape it changes: after one, or before one at the start of a word."""
    if to > first:
        at = to - 1
        while at > first and ready[at] & 0xC0 == 0x80:
            at -= 1
        code, _ = decode(ready, at, to)
    elif after < end:
        code, _ = decode(data, after, end)
    else:
        return False
    # Latin, Greek, Cyrillic and Armenian letters never change shape; 2000 to 2BFF are signs.
    return bool(code >= 0x590 and not 0x2000 <= code < 0x2C00 and not is_known(code, LATIN))


@inlined
def is_code(data: Bytes, first: Int, to: Int, seen: Int, slashes: Int, dots: Int) -> bool:
    """Whether a word is an address, a path, a name in code, an option, a hash, a number or punctuation."""
    if not seen & (IS_LETTER | BEYOND_ASCII):
        return True
    if seen & (IS_CODE | IS_AT) or slashes > IS_SLASH or dots:
        return not seen & BEYOND_ASCII or bool(seen & IS_AT and dots) or bool(seen & IS_COLON and slashes > IS_SLASH)
    if seen & BEYOND_ASCII:
        return False
    if seen & IS_DIGIT or data[first] == 0x2F:
        return True
    if data[first] == 0x2D and to > first + 1:  # -o, --option
        return True
    return to - first > LONGEST_WORD and not seen & IS_HYPHEN


@kernel
def fold_capitals(data: Bytes, first: Int, to: Int, folds: NDArray[np.int32]) -> None:
    """Fold the case of characters whose folded form has as many bytes."""
    scratch = np.zeros(4, np.uint8)
    at = first
    while at < to:
        code, after = decode(data, at, to)
        if code != MALFORMED and code < len(folds) and folds[code]:
            size = encode(code + folds[code], scratch, np.int64(0))
            if size == after - at:
                for place in range(size):
                    data[at + place] = scratch[place]
        at = after


def by_text(values: NDArray[Any], rows: NDArray[np.int64], texts: int) -> NDArray[Any]:
    """Sums over the segments of each text, of numbers (segments) or of rows of numbers (segments x columns)."""
    if len(rows) == texts:
        return values
    if values.ndim == 1:
        return by_text_kernel(values.reshape(-1, 1), rows, texts)[:, 0]
    return by_text_kernel(values, rows, texts)


@kernel
def by_text_kernel(values: NDArray[Any], rows: NDArray[np.int64], texts: int) -> NDArray[Any]:
    """Add each segment to its text."""
    sums = np.zeros((texts, values.shape[1]), values.dtype)
    for segment in range(len(rows)):
        for column in range(values.shape[1]):
            sums[rows[segment], column] += values[segment, column]
    return sums
