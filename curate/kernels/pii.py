"""Places in texts that may hold personal data, found in one pass over Arrow's UTF-8 buffers.

Only bytes that every kind needs are looked at: digits, `@`, `:` and `=`. What is found is a candidate, for slower and
exact rules to judge; a text without candidates costs one look at each byte.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.utf8 import Bytes, Offsets, Texts

Candidates = NDArray[np.int64]  # one row each: text, kind, start and end in bytes of the buffer

EMAIL, IPV4, IPV6, NUMBER, IBAN, TOKEN, ASSIGNED = 0, 1, 2, 3, 4, 5, 6

# The bits of a byte's class.
DIGIT = 1
LETTER = 2
TOKEN_PART = 4  # letters, digits, `_` and `-`
HEX = 8
GAP = 16  # may stand between the digits of a number: space - . ( ) /
TRIGGER = 32  # a digit, `@`, `:` or `=`
VALUE = 64  # may be part of a secret value: token parts and `+ / .`; `=` only ends one
TEXT = 128  # ASCII letters and digits, and every byte that is not ASCII

LONGEST_GAP = 3  # characters between two digits of one number
FEWEST_DIGITS, MOST_DIGITS = 7, 40  # of a run of numbers that is looked at; longer ones are tables
SHORTEST_TOKEN, SHORTEST_VALUE = 20, 16
LONGEST_TOKEN = 4096
LONGEST_IPV6 = 45
IBAN_CHARS = (15, 34)  # ISO 13616: the shortest (Norway) and the longest that the standard allows


def candidates(given: Texts) -> Candidates:
    """Where each text may hold personal data, in the order of the texts."""
    return candidates_kernel(given.data, given.offsets, byte_classes())


@cache
def byte_classes() -> Bytes:
    """The class of each byte."""
    classes = np.zeros(256, np.uint8)

    def mark(characters: str, bits: int) -> None:
        for character in characters:
            classes[ord(character)] |= bits

    digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyz"
    letters += letters.upper()
    mark(digits, DIGIT | HEX | TRIGGER)
    mark("abcdefABCDEF", HEX)
    mark("@:=", TRIGGER)
    mark(letters, LETTER)
    mark(digits + letters, TEXT)
    mark(digits + letters + "_-", TOKEN_PART | VALUE)
    mark("+/.", VALUE)
    mark(" -.()/", GAP)
    classes[0x80:] = TEXT
    classes.flags.writeable = False  # as the buffers: kernels are compiled once, for one type of array
    return classes


@kernel
def candidates_kernel(data: Bytes, offsets: Offsets, classes: Bytes) -> Candidates:
    """The candidates of all texts."""
    out = np.empty((64, 4), np.int64)
    made: Int = 0
    for row in range(len(offsets) - 1):
        begin, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        at = begin
        seen: Int = begin  # where the last token that was looked at ends
        while True:
            while at < end and not classes[data[at]] & TRIGGER:
                at += 1
            if at >= end:
                break
            if made + 3 > len(out):
                longer = np.empty((2 * len(out), 4), np.int64)
                longer[:made] = out[:made]
                out = longer
            byte = data[at]
            if classes[byte] & DIGIT:
                if at >= seen:
                    start, seen = token_around(data, at, begin, end, classes)
                    if seen - start >= SHORTEST_TOKEN and mixed(data, start, seen, classes):
                        put(out, made, row, TOKEN, start, seen)
                        made += 1
                    stop = iban_end(data, at, begin, end, classes)
                    if stop > at:
                        put(out, made, row, IBAN, at - 2, stop)
                        made += 1
                start, stop, kind = number(data, at, begin, end, classes)
                if kind >= 0:
                    put(out, made, row, kind, start, stop)
                    made += 1
                at = stop
                continue
            if byte == 0x40:
                if begin < at and at + 2 < end and classes[data[at - 1]] & (TEXT | TOKEN_PART) and ahead(data, at, end):
                    put(out, made, row, EMAIL, at, at + 1)
                    made += 1
            else:
                stop = value_end(data, at + 1, end, classes)
                if stop > at:
                    put(out, made, row, ASSIGNED, at, stop)
                    made += 1
                if byte == 0x3A:
                    start, stop = ipv6_around(data, at, begin, end, classes)
                    if stop > start:
                        put(out, made, row, IPV6, start, stop)
                        made += 1
                        at = stop
                        continue
            at += 1
    return out[:made].copy()


@kernel
def put(out: Candidates, place: Int, row: Int, kind: Int, start: Int, stop: Int) -> None:
    """Write one candidate."""
    out[place, 0], out[place, 1], out[place, 2], out[place, 3] = row, kind, start, stop


@kernel
def ahead(data: Bytes, at: Int, end: Int) -> bool:
    """Whether a name with a dot in it may follow this @."""
    place = at + 1
    stop = min(end, at + 256)
    while place < stop and data[place] > 0x2C and data[place] != 0x40:  # white space, quotes, brackets, commas end it
        if data[place] == 0x2E:
            return bool(place > at + 1 and place + 1 < end and data[place + 1] > 0x2E)
        place += 1
    return False


@kernel
def token_around(data: Bytes, at: Int, begin: Int, end: Int, classes: Bytes) -> tuple[Int, Int]:
    """Where the run of token characters around a byte starts and ends."""
    start = at
    first = max(begin, at - LONGEST_TOKEN)
    while start > first and classes[data[start - 1]] & TOKEN_PART:
        start -= 1
    stop = at + 1
    last = min(end, at + LONGEST_TOKEN)
    while stop < last and classes[data[stop]] & TOKEN_PART:
        stop += 1
    return start, stop


@kernel
def mixed(data: Bytes, start: Int, stop: Int, classes: Bytes) -> bool:
    """Whether there is a letter among some bytes that is no hexadecimal digit: digests and UUIDs have none."""
    found = False
    for place in range(start, stop):
        found |= classes[data[place]] & (LETTER | HEX) == LETTER
    return found


@kernel
def iban_end(data: Bytes, at: Int, begin: Int, end: Int, classes: Bytes) -> Int:
    """Where an IBAN ends whose check digits start here, or the same place when none can."""
    if at - 2 < begin or at + 2 >= end or not classes[data[at + 1]] & DIGIT:
        return at
    if not classes[data[at - 2]] & classes[data[at - 1]] & LETTER:
        return at
    if at - 3 >= begin and classes[data[at - 3]] & TOKEN_PART:
        return at
    place = at + 2
    count: Int = 4
    last = place
    while place < end and count < IBAN_CHARS[1]:
        if classes[data[place]] & (LETTER | DIGIT):
            count += 1
            last = place + 1
        elif not (data[place] == 0x20 and place == last):
            break
        place += 1
    return last if count >= IBAN_CHARS[0] else at


@kernel
def value_end(data: Bytes, at: Int, end: Int, classes: Bytes) -> Int:
    """Where a value that is assigned here ends, -1 when it is short or has no letters or digits side by side."""
    quotes: Int = 0
    while (
        at < end
        and quotes < 3
        and (data[at] == 0x20 or data[at] == 0x22 or data[at] == 0x27 or 0x3D <= data[at] <= 0x3E)
    ):
        at += 1
        quotes += 1
    if at < end and data[at] == 0x2F:  # an address or a path
        return np.int64(-1)
    start = at
    bits: Int = np.uint8(0)
    last = min(end, at + LONGEST_TOKEN)
    while at < last and classes[data[at]] & VALUE:
        bits |= classes[data[at]]
        at += 1
    if at - start < SHORTEST_VALUE or not bits & LETTER or not bits & DIGIT:
        return np.int64(-1)
    while at < end and data[at] == 0x3D:  # base64 is filled up with it
        at += 1
    return at


@kernel
def ipv6_around(data: Bytes, at: Int, begin: Int, end: Int, classes: Bytes) -> tuple[Int, Int]:
    """The run of hexadecimal digits and colons around this colon, empty where it is no IPv6 address."""
    start = at
    while start > begin and at - start < 4 and classes[data[start - 1]] & HEX:
        start -= 1
    if start > begin and (classes[data[start - 1]] & (TEXT | TOKEN_PART) or data[start - 1] == 0x3A):
        return at, at
    stop = at
    colons: Int = 0
    pair = False
    last = min(end, start + LONGEST_IPV6)
    while stop < last and (classes[data[stop]] & HEX or data[stop] == 0x3A):
        if data[stop] == 0x3A:
            colons += 1
            pair |= stop > start and data[stop - 1] == 0x3A
        stop += 1
    if stop < end and classes[data[stop]] & TEXT:
        return at, at
    if stop > start and data[stop - 1] == 0x3A and not (stop > start + 1 and data[stop - 2] == 0x3A):
        stop -= 1  # the colon of a sentence
        colons -= 1
    if colons == 7 or (pair and colons >= 2 and stop - start > 4):
        return start, stop
    return at, at


@kernel
def number(data: Bytes, at: Int, begin: Int, end: Int, classes: Bytes) -> tuple[Int, Int, Int]:
    """The run of digits and gaps that starts at this digit: its start, its end, and IPV4, NUMBER or -1."""
    start = at
    while start > begin and at - start < 2 and (data[start - 1] == 0x2B or data[start - 1] == 0x28):
        start -= 1  # + or (
    joined = start > begin and (classes[data[start - 1]] & (DIGIT | LETTER) or data[start - 1] == 0x5F)
    if not joined and not (at > begin and 0x2D <= data[at - 1] <= 0x2E):  # - or .
        stop = ipv4_end(data, at, end, classes)
        if stop > at:
            return at, stop, np.int64(IPV4)
    digits: Int = 0
    groups: Int = 0
    dots: Int = 0  # gaps that are one dot
    first, second, third = np.int64(0), np.int64(0), np.int64(0)  # digits in each group
    place = at
    while True:
        group = place
        while place < end and classes[data[place]] & DIGIT:
            place += 1
        size = place - group
        digits += size
        groups += 1
        if groups == 1:
            first = size
        elif groups == 2:
            second = size
        elif groups == 3:
            third = size
        gap = place
        while gap < end and gap - place < LONGEST_GAP and classes[data[gap]] & GAP:
            gap += 1
        if gap == place or gap >= end or not classes[data[gap]] & DIGIT:
            break
        if gap == place + 1 and data[place] == 0x2E:
            dots += 1
        place = gap
    if joined or digits < FEWEST_DIGITS or digits > MOST_DIGITS:
        return start, place, np.int64(-1)
    if groups == 2 and dots == 1:  # a decimal number
        return start, place, np.int64(-1)
    if groups >= 3 and first == 4 and second == 2 and third == 2 and 0x31 <= data[at] <= 0x32:  # a date
        return start, place, np.int64(-1)
    return start, place, np.int64(NUMBER)


@kernel
def ipv4_end(data: Bytes, at: Int, end: Int, classes: Bytes) -> Int:
    """Where four numbers up to 255 with dots between them end, or the same place when they do not start here."""
    place = at
    for part in range(4):
        value: Int = 0
        start = place
        while place < end and classes[data[place]] & DIGIT and place - start < 4:
            value = 10 * value + np.int64(data[place]) - 0x30
            place += 1
        if place == start or place - start > 3 or value > 255 or (place - start > 1 and data[start] == 0x30):
            return at
        if part < 3:
            if place >= end or data[place] != 0x2E:
                return at
            place += 1
    if place < end and (classes[data[place]] & (DIGIT | LETTER) or data[place] == 0x5F or data[place] == 0x2D):
        return at
    if place + 1 < end and data[place] == 0x2E and classes[data[place + 1]] & (DIGIT | LETTER):
        return at
    return place
