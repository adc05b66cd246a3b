"""Write curate/data/unicode.npz: what the kernels know of each code point, from one Unicode version.

Python's own `unicodedata` changes between 3.11, 3.12 and 3.13, and results must not. The table is therefore made once
(`python tools/make_unicode_tables.py`, Python 3.11, Unicode 14.0) and shipped; `tests/test_kernels.py` checks it.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np

CODE_POINTS = 0x110000
TARGET = Path(__file__).parents[1] / "curate" / "data" / "unicode.npz"

# The bits of `classes`; curate/kernels/utf8.py has the same names.
WORD, SPACE, UNSPACED, LETTER, MARK, NOT_NFC, COMBINING = 1, 2, 4, 8, 16, 32, 64

# Scripts written without spaces between words: line-break classes ID (letters), CJ and SA of UAX #14, and Tibetan,
# whose words have no mark between them either. Ranges are blocks; only alphanumeric code points in them count.
UNSPACED_BLOCKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3005, 0x3007),  # ideographic iteration mark, closing mark, zero
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3031, 0x3035),  # kana repeat marks
    (0x3038, 0x303C),  # Hangzhou numerals, vertical iteration mark
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x3100, 0x312F),  # Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo
    (0x31F0, 0x31FF),  # Katakana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),  # Han
    (0xA000, 0xA48F),  # Yi
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x11700, 0x1174F),  # Ahom
    (0x1AFF0, 0x1B16F),  # Kana
    (0x20000, 0x3FFFF),  # Han
)

# The bits of `kinds`; curate/kernels/tokens.py has the same names.
PUNCTUATION, TERMINAL, SYMBOL, UPPER, LOWER, FIRST, LAST, ICON = 1, 2, 4, 8, 16, 32, 64, 128

# What ends a sentence: Sentence_Terminal in PropList.txt of Unicode 14.0.
TERMINAL_RANGES = """
21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D5 1803 1809
1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 2024 203C-203D 2047-2049 2CF9-2CFB 2E2E 2E3C
2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE12 FE15-FE16 FE52
FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD
111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946
11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 16A6E-16A6F 16AF5 16B37-16B38 16B44 16E98 1BC9F 1DA88
"""
# What makes no word in FineWeb's count of words, beside ASCII punctuation, control characters and ends of sentences.
NO_WORD = "«´»៖៙៚–—’“”„…∶━►、〈〉《》「」【】％（），１：；～"
# What is split off the first and the last letter of a chunk between white space; the rules are in kernels/tokens.py.
QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
SPLIT = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪—–" + QUOTES
SPLIT_FIRST = SPLIT + "§%="


def terminals() -> set[int]:
    """The code points that end a sentence."""
    found: set[int] = set()
    for part in TERMINAL_RANGES.split():
        first, _, last = part.partition("-")
        found |= set(range(int(first, 16), int(last or first, 16) + 1))
    return found


def kind(char: str, terminal: bool) -> int:
    """The bits of `kinds` of one character."""
    category = unicodedata.category(char)
    ascii_mark = char < "\x80" and not char.isalnum() and not char.isspace()
    icon = category == "So"
    bits = {
        PUNCTUATION: category.startswith("P"),
        TERMINAL: terminal,
        SYMBOL: ascii_mark or category == "Cc" or terminal or char in NO_WORD,
        UPPER: category in ("Lu", "Lt"),
        LOWER: category == "Ll",
        FIRST: char in SPLIT_FIRST or icon or category == "Sc" or (terminal and char != "."),
        LAST: char in SPLIT or icon or (terminal and char != "."),
        ICON: icon,
    }
    return sum(bit for bit, is_set in bits.items() if is_set)


def second_parts() -> set[str]:
    """The characters that NFC may join to the one before: the quick check's "maybe"."""
    found = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # Hangul vowels and finals
    for code in range(CODE_POINTS):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pair = "".join(chr(int(part, 16)) for part in parts)
            if unicodedata.normalize("NFC", pair) == chr(code):
                found.add(pair[1])
    return found


def make() -> dict[str, np.ndarray]:
    """The tables by code point: class bits, kinds, canonical combining class, what to add to fold and to lower."""
    classes = np.zeros(CODE_POINTS, np.uint8)
    combining = np.zeros(CODE_POINTS, np.uint8)
    folds = np.zeros(CODE_POINTS, np.int32)
    lowers = np.zeros(CODE_POINTS, np.int32)
    kinds = np.zeros(CODE_POINTS, np.uint8)
    maybe, ends = second_parts(), terminals()
    for code in range(CODE_POINTS):
        if 0xD800 <= code <= 0xDFFF:  # surrogates never occur in UTF-8
            continue
        char = chr(code)
        for table, other in ((folds, char.casefold()), (lowers, char.lower())):
            table[code] = ord(other) - code if len(other) == 1 else 0
        combining[code] = unicodedata.combining(char)
        kinds[code] = kind(char, code in ends)
        bits = 0
        if char.isalnum() or char == "_":
            bits |= WORD
            if any(first <= code <= last for first, last in UNSPACED_BLOCKS):
                bits |= UNSPACED
        if char.isspace():
            bits |= SPACE
        if char.isalpha():
            bits |= LETTER
        if unicodedata.category(char).startswith("M"):
            bits |= MARK
        if char in maybe or unicodedata.normalize("NFC", char) != char:
            bits |= NOT_NFC
        if combining[code]:
            bits |= COMBINING
        classes[code] = bits
    return {
        "classes": classes,
        "kinds": cut(kinds),
        "combining": cut(combining),
        "folds": cut(folds),
        "lowers": cut(lowers),
    }


def cut(table: np.ndarray) -> np.ndarray:
    """The table up to its last value that is not zero."""
    return table[: int(table.nonzero()[0][-1]) + 1]


if __name__ == "__main__":
    np.savez_compressed(TARGET, unicode_version=np.array(unicodedata.unidata_version), **make())
    print(f"{TARGET.name}: Unicode {unicodedata.unidata_version}, {TARGET.stat().st_size:,} bytes")
