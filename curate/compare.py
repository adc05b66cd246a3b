"""What two similar texts share, and what only one of them has, for people to read."""

from __future__ import annotations

import difflib
import re
from typing import Any

MOST_WORDS = 3_000  # of each text; the comparison takes time with the square of it
SHOWN_CHARS = 200  # of the longest shared passage, and of all that only one text has
FEW_DISTINCT = 0.2  # share of distinct words, below which a text is one that repeats itself
LONG_WORD = 20  # words that are longer on average are a script without spaces: compared by character


def shared_words(text: str, twin: str) -> dict[str, Any]:
    """The share of words that stand in both texts, the longest passage of them, and what only one has.

    Case does not count. Of long texts the first 3,000 words are compared; of texts that repeat few words, frequent ones
    are passed over when passages are looked for, which takes time with the cube of their number.
    """
    (words, join), (other, _) = split(text), split(twin)
    words, other = words[:MOST_WORDS], other[:MOST_WORDS]
    plain, plain_other = ([word.lower() for word in some] for some in (words, other))
    dull = min(len(set(some)) / max(len(some), 1) for some in (plain, plain_other)) < FEW_DISTINCT
    matcher = difflib.SequenceMatcher(None, plain, plain_other, autojunk=dull)
    blocks = [block for block in matcher.get_matching_blocks() if block.size]
    longest = max(blocks, key=lambda block: block.size, default=None)
    changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    return {
        "share": matcher.quick_ratio(),
        "longest": "" if longest is None else _shown(join.join(words[longest.a : longest.a + longest.size])),
        "only_here": _shown(" | ".join(join.join(words[a:b]) for _, a, b, _, _ in changes if b > a)),
        "only_in_twin": _shown(" | ".join(join.join(other[c:d]) for _, _, _, c, d in changes if d > c)),
    }


def split(text: str) -> tuple[list[str], str]:
    """The words of a text, or its characters where it is written without spaces, and what joins them again."""
    words = text.split()
    if words and sum(map(len, words)) / len(words) > LONG_WORD:
        return re.findall(r"\S", text), ""
    return words, " "


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
