"""Line rules of C4 and RefinedWeb: which lines of a text stay, as segments of its bytes, and what was taken out.

A kernel lists the segments that stay; between segments of one line something was cut out, between lines stands one line
feed. `edits` says the same as the changes that the engine applies.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.quality import break_size, last_start
from curate.kernels.token_rules import UPPER, Flag
from curate.kernels.tokens import bits, frozen, slices
from curate.kernels.utf8 import LETTER, SPACE, WORD, Bytes, Offsets, Texts, decode

Bits = NDArray[np.uint16]
Numbers64 = NDArray[np.int64]
Counts = NDArray[np.int64]

C4 = ("lines", "long_word", "end_mark", "few_words", "javascript", "policy", "lorem_ipsum", "curly_bracket")
PHRASES = ("lorem ipsum", "javascript")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
SUSPECT = "(?i-u:javascript|cookie|m ipsum|rms of use|cy policy)"  # in every text with any of those, and few others
CITATIONS = ("[edit]", "[citation needed]")
COUNTED = "likes shares comments retweets reposts quotes bookmarks upvotes downvotes downloads views followers"
REFINEDWEB = ("words", "removed_words", "removed_lines")
CART, MORE, SIGN_IN = "items in cart", "read more...", "sign-in"

LINE_FEED, SPACE_BYTE, QUOTE, TICK, COMMA, DOT, OPEN, CLOSE, CURLY = (
    0x0A,
    0x20,
    0x22,
    0x27,
    0x2C,
    0x2E,
    0x5B,
    0x5D,
    0x7B,
)
BREAKS, HAS_CURLY, HAS_OPEN = 1, 2, 4
LOREM_IPSUM, JAVASCRIPT, FIRST_POLICY = 1, 2, 4  # bits of `phrases_in`
NO_MARK, FOUR_MARKS, FIVE_MARKS = range(3)  # which marks a line must end in: none, `. ? ! "`, and `'` too


class Segments(NamedTuple):
    """Runs of bytes that stay, in order: the row of each, its bounds in the row's text, whether it begins a line."""

    rows: Numbers64
    starts: Numbers64
    ends: Numbers64
    begins: NDArray[np.bool_]


class Phrases(NamedTuple):
    """Lower-case ASCII phrases end to end."""

    data: Bytes
    offsets: Offsets


def phrases(*words: str) -> Phrases:
    """Phrases as kernels look for them."""
    sizes = np.cumsum([0, *map(len, words)])
    return Phrases(np.frombuffer("".join(words).encode(), np.uint8), frozen(sizes.astype(np.int64)))


def c4(
    given: Texts,
    judged: NDArray[np.bool_],
    suspect: NDArray[np.bool_],
    *,
    max_word_chars: int,
    min_words: int,
    end_marks: int,
    citations: bool,
    javascript: bool,
    policy: bool,
) -> tuple[Segments, Counts]:
    """C4's line rules: the segments that stay and, by text, lines that each rule takes and pages that two rules find.

    Lines are those of `str.splitlines`, words the runs between white space. `suspect` says which texts may have any of
    the phrases; texts that are not judged stay as they are.
    """
    found, counts = [], []
    own = (phrases(*PHRASES, *POLICIES), phrases(*CITATIONS))
    numbers: Any = (max_word_chars, min_words, end_marks, citations, javascript, policy)
    for start, stop, part in slices(given):
        seen = c4_kernel(
            part.data, part.offsets, bits(), judged[start:stop], suspect[start:stop], *own[0], *own[1], *numbers
        )
        found.append(Segments(seen[0] + start, *seen[1:4]))
        counts.append(seen[4])
    return joined(found), np.concatenate(counts) if counts else np.zeros((0, len(C4)), np.int64)


def refinedweb(given: Texts, judged: NDArray[np.bool_], max_upper: float, min_words: int) -> tuple[Segments, Counts]:
    """RefinedWeb's line rules: the segments that stay and, by text, words, removed words and removed lines."""
    found, counts = [], []
    own = phrases(*COUNTED.split(), CART, MORE, SIGN_IN)
    for start, stop, part in slices(given):
        seen = refinedweb_kernel(part.data, part.offsets, bits(), judged[start:stop], *own, max_upper, min_words)
        found.append(Segments(seen[0] + start, *seen[1:4]))
        counts.append(seen[4])
    return joined(found), np.concatenate(counts) if counts else np.zeros((0, len(REFINEDWEB)), np.int64)


def joined(parts: list[Segments]) -> Segments:
    """The segments of all parts, one after the other."""
    if not parts:
        empty = np.zeros(0, np.int64)
        return Segments(empty, empty, empty, np.zeros(0, np.bool_))
    return Segments(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def edits(given: Texts, kept: Segments) -> Any:
    """The changes that leave only the segments: a list of `{start, end, put}` by text, in bytes."""
    import polars as pl

    from curate.windows import per_document

    rows, starts, ends, feeds = edits_kernel(given.data, given.offsets, *kept)
    put = pl.Series(["", "\n"], dtype=pl.String).gather(feeds)
    return per_document(rows, len(given.offsets) - 1, start=starts, end=ends, put=put)


# --- kernels ----------------------------------------------------------------------------------------------------------


@kernel
def edits_kernel(
    data: Bytes,
    offsets: Offsets,
    seg_rows: Numbers64,
    seg_starts: Numbers64,
    seg_ends: Numbers64,
    begins: NDArray[np.bool_],
) -> tuple[Numbers64, Numbers64, Numbers64, NDArray[np.uint32]]:
    """The gaps before, between and after segments: row, bounds, and whether a line feed stands there afterwards.

    A gap that is a line feed already is none.
    """
    texts = len(offsets) - 1
    room = len(seg_rows) + texts
    rows, starts, ends = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    feeds = np.empty(room, np.uint32)
    to, place = 0, 0
    for row in range(texts):
        start = np.int64(0)
        first = True
        while True:
            is_over = place == len(seg_rows) or seg_rows[place] != row
            end = offsets[row + 1] - offsets[row] if is_over else seg_starts[place]
            feed = not is_over and begins[place] and not first
            is_feed = feed and end - start == 1 and data[offsets[row] + start] == LINE_FEED
            if (end > start or feed) and not is_feed:
                rows[to], starts[to], ends[to], feeds[to] = row, start, end, feed
                to += 1
            if is_over:
                break
            start = seg_ends[place]
            first = False
            place += 1
    return rows[:to].copy(), starts[:to].copy(), ends[:to].copy(), feeds[:to].copy()


@kernel
def matches(data: Bytes, at: Int, end: Int, wanted: Bytes, first: Int, last: Int) -> Flag:
    """Whether a phrase stands at byte `at`, in ASCII letters of either case."""
    if at + last - first > end:
        return False
    for place in range(last - first):
        byte = data[at + place]
        if 0x41 <= byte <= 0x5A:
            byte += np.uint8(0x20)
        if byte != wanted[first + place]:
            return False
    return True


@kernel
def phrases_in(data: Bytes, at: Int, end: Int, wanted: Bytes, offsets: Offsets, begun: Bytes) -> Int:
    """Which phrases stand in a run of bytes, a bit for each; `begun` says which ones a byte may begin."""
    found: Int = 0
    for place in range(at, end):
        own = begun[data[place]]
        if own == 0 or place + 1 == end:
            continue
        for number in range(len(offsets) - 1):
            if own & 1 << number and data[place + 1] | np.uint8(0x20) == wanted[offsets[number] + 1]:
                found |= matches(data, place, end, wanted, offsets[number], offsets[number + 1]) << number
    return found


@kernel
def citation(data: Bytes, at: Int, end: Int, wanted: Bytes, offsets: Offsets) -> Int:
    """The bytes of the citation mark at `at` (`[12]`, `[]`, `[edit]`, `[citation needed]`), 0 where there is none."""
    place = at + 1
    while place < end and 0x30 <= data[place] <= 0x39:
        place += 1
    if place < end and data[place] == CLOSE:
        return place + 1 - at
    for number in range(len(offsets) - 1):
        size = offsets[number + 1] - offsets[number]
        same = at + size <= end
        for letter in range(size if same else 0):
            same &= data[at + letter] == wanted[offsets[number] + letter]
        if same:
            return size
    return 0


@inlined
def count_words(data: Bytes, at: Int, end: Int, bits: Bits, enough: Int) -> tuple[Int, Int]:
    """The runs between white space, up to `enough` of them, and the characters of the longest of those."""
    words, longest, size = 0, 0, 0
    while at < end and (words < enough or size > 0):
        code, after = np.int64(data[at]), at + 1
        if 0x20 < code < 0x80:  # most characters need no table
            is_space: Flag = False
        else:
            if code >= 0x80:
                code, after = decode(data, at, end)
            is_space = code >= 0 and (bits[code] & SPACE) != 0
        at = after
        if is_space:
            size = 0
            continue
        words += size == 0
        size += 1
        longest = max(longest, size)
    return words, longest


@kernel
def c4_kernel(
    data: Bytes,
    offsets: Offsets,
    bits: Bits,
    judged: NDArray[np.bool_],
    suspect: NDArray[np.bool_],
    wanted: Bytes,
    wanted_offsets: Offsets,
    marks: Bytes,
    mark_offsets: Offsets,
    max_word_chars: Int,
    min_words: Int,
    end_marks: Int,
    citations: bool,
    javascript: bool,
    policy: bool,
) -> tuple[Numbers64, Numbers64, Numbers64, NDArray[np.bool_], Counts]:
    """Segments that stay, and counts by text."""
    rows = len(offsets) - 1
    room = offsets[rows] - offsets[0] + 2 * rows + 1
    seg_rows, starts, ends = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    begins = np.empty(room, np.bool_)
    counts = np.zeros((rows, 8), np.int64)
    kinds = np.zeros(256, np.uint8)  # what a byte may mean
    kinds[0x0A:0x0E] = BREAKS
    kinds[0x1C:0x1F] = BREAKS
    kinds[0xC2] = BREAKS
    kinds[0xE2] = BREAKS
    kinds[CURLY] = HAS_CURLY
    kinds[OPEN] = HAS_OPEN
    begun = np.zeros(256, np.uint8)  # which of the phrases a byte may begin
    for number in range(len(wanted_offsets) - 1):
        letter = wanted[wanted_offsets[number]]
        begun[letter] |= np.uint8(1 << number)
        begun[letter - 0x20] |= np.uint8(1 << number)
    to = 0
    for row in range(rows):
        base, end = offsets[row], offsets[row + 1]
        if not judged[row]:
            seg_rows[to], starts[to], ends[to], begins[to] = row, 0, end - base, True
            to += 1
            continue
        at = base
        while at < end:
            start = at
            size = 0
            met = np.uint8(0)
            while True:
                while at < end and kinds[data[at]] == 0:
                    at += 1
                if at == end:
                    break
                of_byte = kinds[data[at]]
                met |= of_byte
                size = break_size(data, at, end) if of_byte & BREAKS else 0
                if size:
                    break
                at += 1
            curly: Flag = met & HAS_CURLY != 0
            stop = at
            at += size
            counts[row, 0] += 1
            while start < stop:  # without white space at the beginning
                code, after = decode(data, start, stop)
                if code < 0 or not bits[code] & SPACE:
                    break
                start = after
            if start < stop and not 0x20 < data[stop - 1] < 0x7F:
                last = last_start(data, start, stop, bits)
                _, stop = decode(data, last, stop)
            short = max_word_chars < 0 or stop - start <= max_word_chars  # then no word can be too long
            words, longest = count_words(data, start, stop, bits, min_words if short else stop)
            if longest > max_word_chars >= 0:
                counts[row, 1] += 1
                continue
            before = to
            begin = start
            place = start if citations and met & HAS_OPEN else stop
            while place < stop:
                size = citation(data, place, stop, marks, mark_offsets) if data[place] == OPEN else 0
                if size:
                    if place > begin:
                        seg_rows[to], starts[to], ends[to], begins[to] = row, begin - base, place - base, to == before
                        to += 1
                    begin = place + size
                    place = begin
                else:
                    place += 1
            if stop > begin or to == before:
                seg_rows[to], starts[to], ends[to], begins[to] = row, begin - base, stop - base, to == before
                to += 1
            if end_marks != NO_MARK:
                first, final = starts[to - 1] + base, ends[to - 1] + base
                byte = data[final - 1] if final > first else np.uint8(0)
                known = byte in (DOT, 0x3F, 0x21, QUOTE)
                known |= byte == TICK and end_marks == FIVE_MARKS
                dots = byte == DOT and final - first >= 3 and data[final - 2] == DOT and data[final - 3] == DOT
                if not known or dots:
                    counts[row, 2] += 1
                    to = before
                    continue
            if words < min_words:
                counts[row, 3] += 1
                to = before
                continue
            said = phrases_in(data, start, stop, wanted, wanted_offsets, begun) if suspect[row] else 0
            counts[row, 6] += said & LOREM_IPSUM != 0
            if javascript and said & JAVASCRIPT:
                counts[row, 4] += 1
                to = before
                continue
            counts[row, 7] += curly
            if policy and said >= FIRST_POLICY:
                counts[row, 5] += 1
                to = before
    return seg_rows[:to].copy(), starts[:to].copy(), ends[:to].copy(), begins[:to].copy(), counts


@kernel
def is_counter(data: Bytes, at: Int, end: Int, wanted: Bytes, offsets: Offsets) -> Flag:
    """Whether a line is a number, with separators and K, M or B, and one word that is counted (`1,234 likes`)."""
    digits: Int = 0
    while at < end and (0x30 <= data[at] <= 0x39 or data[at] == COMMA or data[at] == DOT):
        digits += 0x30 <= data[at] <= 0x39
        at += 1
    if digits == 0:
        return False
    letter = data[at] | np.uint8(0x20) if at < end else np.uint8(0)
    bookmarks = letter == 0x62 and at + 1 < end and data[at + 1] | np.uint8(0x20) == 0x6F
    if letter in (0x6B, 0x6D, 0x62) and not bookmarks:  # k, m, b
        at += 1
    while at < end and data[at] == SPACE_BYTE:
        at += 1
    for number in range(len(offsets) - 4):
        size = offsets[number + 1] - offsets[number]
        if size == end - at and matches(data, at, end, wanted, offsets[number], offsets[number + 1]):
            return True
    return False


@kernel
def refinedweb_kernel(
    data: Bytes,
    offsets: Offsets,
    bits: Bits,
    judged: NDArray[np.bool_],
    wanted: Bytes,
    wanted_offsets: Offsets,
    max_upper: float,
    min_words: Int,
) -> tuple[Numbers64, Numbers64, Numbers64, NDArray[np.bool_], Counts]:
    """Segments that stay, and counts by text."""
    rows = len(offsets) - 1
    room = offsets[rows] - offsets[0] + 2 * rows + 1
    seg_rows, starts, ends = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    begins = np.empty(room, np.bool_)
    counts = np.zeros((rows, 3), np.int64)
    cart = len(wanted_offsets) - 4
    to = 0
    for row in range(rows):
        base, end = offsets[row], offsets[row + 1]
        at = base
        before_row = to
        while at < end or (at == end and (at == base or data[at - 1] == LINE_FEED)):
            start = at
            while at < end and data[at] != LINE_FEED:
                at += 1
            stop = at
            at += 1
            chars, upper, numeric, blank = 0, 0, True, True
            place = start
            while place < stop:
                code, place = decode(data, place, stop)
                of_code = np.int64(bits[code]) if code >= 0 else 0
                chars += 1
                upper += of_code & UPPER != 0
                if not of_code & SPACE:
                    blank = False
                    numeric &= of_code & WORD != 0 and not of_code & LETTER and code != 0x5F
            words, _ = count_words(data, start, stop, bits, stop)
            counts[row, 0] += words
            first = start
            while first < stop and data[first] == SPACE_BYTE:
                first += 1
            last = stop
            while last > first and (data[last - 1] == SPACE_BYTE or data[last - 1] == 0x0D):
                last -= 1
            drop = not blank and (
                numeric or words < min_words or upper > max_upper * chars
                or is_counter(data, first, last, wanted, wanted_offsets)
            )  # fmt: skip
            if drop:
                counts[row, 1] += words
                counts[row, 2] += 1
                continue
            before = to
            begin = start
            if 0 < words <= 10:
                if matches(data, first, last, wanted, wanted_offsets[cart + 2], wanted_offsets[cart + 3]):
                    begin = first + wanted_offsets[cart + 3] - wanted_offsets[cart + 2]
                    counts[row, 1] += 1
                size = wanted_offsets[cart + 2] - wanted_offsets[cart + 1]
                more = last - size
                if more >= begin and matches(
                    data, more, last, wanted, wanted_offsets[cart + 1], wanted_offsets[cart + 2]
                ):
                    stop = more
                    counts[row, 1] += 2
                place = begin
                size = wanted_offsets[cart + 1] - wanted_offsets[cart]
                while place < stop:
                    if matches(data, place, stop, wanted, wanted_offsets[cart], wanted_offsets[cart + 1]):
                        if place > begin:
                            seg_rows[to], starts[to], ends[to], begins[to] = (
                                row,
                                begin - base,
                                place - base,
                                to == before,
                            )
                            to += 1
                        begin = place + size
                        place = begin
                        counts[row, 1] += 3
                    else:
                        place += 1
            if stop > begin or to == before:
                seg_rows[to], starts[to], ends[to], begins[to] = row, begin - base, stop - base, to == before
                to += 1
        if not judged[row]:
            to = before_row
            seg_rows[to], starts[to], ends[to], begins[to] = row, 0, end - base, True
            to += 1
            counts[row, 1] = 0
            counts[row, 2] = 0
    return seg_rows[:to].copy(), starts[:to].copy(), ends[:to].copy(), begins[:to].copy(), counts
