"""Prose for the demo corpus: our own sentences with slots, filled by numbers from a hash.

The sentences are in `curate/data/demo_sentences.toml`; those about people, with terms to fill in, are those of
`curate.swap_check` (`curate/data/swap_terms.toml`). The same key gives the same text on every machine and with every
Python, which `random` does not promise.
"""

from __future__ import annotations

import hashlib
import re
import struct
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from typing import TypeVar

T = TypeVar("T")

MIN_WORDS, MAX_WORDS = 40, 400  # of a document
MIN_CHARS = 120  # the same for scripts that put no spaces between words


class Draws:
    """An endless row of numbers that depends only on its key: a counter-mode hash, the same everywhere and for ever."""

    def __init__(self, *key: object) -> None:
        self._key = "/".join(str(part) for part in key)
        self._numbers = self._generate()

    def _generate(self) -> Iterator[int]:
        block = 0
        while True:
            digest = hashlib.shake_128(f"{self._key}/{block}".encode()).digest(512)
            yield from struct.unpack("<128I", digest)
            block += 1

    def below(self, limit: int) -> int:
        """The next number, at least 0 and below `limit`."""
        return next(self._numbers) * limit >> 32

    def one(self, values: Sequence[T]) -> T:
        """One of the values."""
        return values[self.below(len(values))]

    def shared(self, shares: Mapping[str, float], rest: str) -> str:
        """One of the names, each as often as its share says, or the rest."""
        at = self.below(1000) / 1000
        for name, share in shares.items():
            at -= share
            if at < 0:
                return name
        return rest

    def shuffled(self, values: Sequence[T]) -> list[T]:
        """The values in another order."""
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in values]


@dataclass(frozen=True)
class Language:
    """Sentences with slots, and the phrases that fit the slots."""

    code: str
    keep: bool
    space: str
    sentences: tuple[tuple[str | tuple[str, ...], ...], ...]  # text, or the phrases to choose from
    phrases: tuple[str, ...]


@cache
def languages() -> Mapping[str, Language]:
    """The languages of the demo by code, read from the package."""
    tables = tomllib.loads(resources("curate.data").joinpath("demo_sentences.toml").read_text("utf-8"))
    found = {}
    for code, table in tables.items():
        slots = {name: tuple(phrases) for name, phrases in table["slots"].items()}
        sentences = tuple(
            tuple(slots[part[1:-1]] if part.startswith("{") else part for part in re.split(r"(\{\w+\})", sentence))
            for sentence in table["sentences"]
        )
        phrases = tuple(phrase for slot in ("when", "at") for phrase in slots[slot])
        found[code] = Language(code, table["keep"], table["space"], sentences, phrases)
    return found


def prose(language: Language, draws: Draws, *, max_words: int = MAX_WORDS) -> str:
    """A document of a few paragraphs, `MIN_WORDS` to `max_words` words, with no sentence pattern twice."""
    patterns = draws.shuffled(language.sentences)
    wanted = 3 + draws.below(len(patterns)) * draws.below(len(patterns)) // len(patterns)  # more short than long ones
    paragraphs: list[list[str]] = [[]]
    words = chars = 0
    for number, pattern in enumerate(patterns):
        enough = words >= MIN_WORDS if language.space else chars >= MIN_CHARS
        if (number >= wanted and enough) or words > max_words - 40:  # no sentence has 40 words
            break
        if len(paragraphs[-1]) > 2 and draws.below(4) == 0:
            paragraphs.append([])
        sentence = "".join(part if isinstance(part, str) else draws.one(part) for part in pattern)
        paragraphs[-1].append(sentence[0].upper() + sentence[1:])
        words += sentence.count(" ") + 1
        chars += len(sentence)
    return "\n\n".join(language.space.join(paragraph) for paragraph in paragraphs)


def with_paragraph(text: str, sentences: Sequence[str], draws: Draws) -> str:
    """The text with the sentences as one more paragraph, at a place that is drawn."""
    paragraphs = text.split("\n\n")
    paragraphs.insert(draws.below(len(paragraphs) + 1), " ".join(sentences))
    return "\n\n".join(paragraphs)


def normalised(text: str) -> str:
    """The text without differences of case and white space."""
    return " ".join(text.casefold().split())
