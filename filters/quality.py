"""Drop documents that do not look like prose: the quality rules of Gopher and of FineWeb."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.filter import threshold
from curate.filters.text_rules import JUDGED_SCORES, Side, TextRules, with_language

# The words that Gopher looks for in English text.
ENGLISH_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

_stop_words: dict[str, tuple[str, ...]] = {"en": ENGLISH_STOP_WORDS}


class GopherQuality(TextRules, name="gopher_quality"):
    """Drop documents with too few or too many words, odd words, many symbols, or lines that are bullets.

    The quality rules of Gopher (Rae et al. 2021), Appendix A.1.1. `preset: fineweb` counts as datatrove 0.10 does:
    words are tokens with something else than symbols, shares are of all tokens (docs/quality.md), stop words are
    counted once each. `paper` takes the runs between white space as words. `dolma` does too, and measures the median
    length of words, counts words with `#` or an ellipsis, bullets `*` and `-`, and every occurrence of a stop word. In
    scripts written without spaces between words each letter is a word: set `min_word_chars` for such languages in
    `per_language`.
    """

    source: ClassVar[str] = "Gopher, arXiv 2112.11446, A.1.1; FineWeb, arXiv 2406.17557; Dolma, arXiv 2402.00159"
    scores: ClassVar[dict[str, str]] = {
        "words": "number of words",
        "word_chars": "mean length of words in characters (`preset: dolma`: the median)",
        "hash_ratio": "number signs per word (`preset: dolma`: share of words with one or with an ellipsis)",
        "ellipsis_ratio": "ellipses per word",
        "bullet_lines": "share of lines that begin with a bullet",
        "ellipsis_lines": "share of lines that end in an ellipsis",
        "letter_words": "share of words with a letter",
        "stop_words": "number of different stop words of the language (`preset: dolma`: of their occurrences)",
        **JUDGED_SCORES,
    }
    limits: ClassVar[dict[str, tuple[str, Side]]] = {
        "min_words": ("words", "below"),
        "max_words": ("words", "above"),
        "min_word_chars": ("word_chars", "below"),
        "max_word_chars": ("word_chars", "above"),
        "max_hash_ratio": ("hash_ratio", "above"),
        "max_ellipsis_ratio": ("ellipsis_ratio", "above"),
        "max_bullet_lines": ("bullet_lines", "above"),
        "max_ellipsis_lines": ("ellipsis_lines", "above"),
        "min_letter_words": ("letter_words", "below"),
        "min_stop_words": ("stop_words", "below"),
    }
    presets: ClassVar[dict[str, dict[str, Any]]] = {"dolma": {"max_ellipsis_ratio": None}}

    preset: Literal["fineweb", "paper", "dolma"] = Field(
        default="fineweb", description="whose way of counting, and whose limits where none is given"
    )
    stop_words: Mapping[str, tuple[str, ...]] = Field(
        default={},
        examples=[{"de": ["der", "und"]}],
        description=(
            "stop words of a language. Without it: for English the eight of Gopher, for other languages spaCy's list"
        ),
    )
    min_words: float | None = threshold(50, ge=0, description="drop documents with fewer words")
    max_words: float | None = threshold(100_000, ge=0, description="drop documents with more words")
    min_word_chars: float | None = threshold(3, ge=0, description="drop documents whose words are shorter on average")
    max_word_chars: float | None = threshold(10, ge=0, description="drop documents whose words are longer on average")
    max_hash_ratio: float | None = threshold(0.1, ge=0, description="drop documents with more number signs per word")
    max_ellipsis_ratio: float | None = threshold(0.1, ge=0, description="drop documents with more ellipses per word")
    max_bullet_lines: float | None = threshold(
        0.9, ge=0, description="drop documents with a larger share of lines that begin with a bullet"
    )
    max_ellipsis_lines: float | None = threshold(
        0.3, ge=0, description="drop documents with a larger share of lines that end in an ellipsis"
    )
    min_letter_words: float | None = threshold(
        0.8, ge=0, description="drop documents with a smaller share of words that have a letter"
    )
    min_stop_words: float | None = threshold(2, ge=0, description="drop documents with fewer stop words")

    @model_validator(mode="after")
    def _has_stop_words(self) -> GopherQuality:
        for name in self.languages:
            limit = self.per_language.get(name, {}).get("min_stop_words", self.min_stop_words)
            if limit and not self.stop_words.get(name) and not has_stop_words(name):
                raise ValueError(
                    f"no list of stop words is known for {name!r}: give one in `stop_words`, or set `per_language: "
                    f"{{{name}: {{min_stop_words: null}}}}`"
                )
        return self

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Measure words, symbols and lines."""
        from curate.kernels.quality import QUALITY, quality, stop_words
        from curate.kernels.utf8 import texts

        judged_as = self.judged_as(docs)
        names = judged_as.unique().drop_nulls().sort().to_list()
        lists = {name: self.stop_words.get(name) or own_stop_words(name) for name in names if name}
        places = {name: place for place, name in enumerate(lists)}
        list_of = judged_as.replace_strict(places, default=-1, return_dtype=pl.Int32).to_numpy()
        found = quality(texts(docs["text"]), stop_words(list(lists.values())), list_of, self.preset)
        scores = pl.DataFrame(found, schema=list(QUALITY))
        return with_language(scores.with_columns(pl.col("words", "stop_words").cast(pl.UInt32)), judged_as)


class FinewebQuality(TextRules, name="fineweb_quality"):
    """Drop documents whose lines do not end as sentences do, are short, or are repeated, and lists.

    The custom rules of FineWeb (Penedo et al. 2024), section 3.5: chosen among more than fifty measures by what models
    trained on the rest learn. Lines end at line feeds, and those of white space alone do not count. `preset: fineweb`
    is what datatrove 0.10 does; `paper` allows 0.1 of the characters in repeated lines, where datatrove allows 0.01.
    """

    source: ClassVar[str] = "FineWeb, arXiv 2406.17557, section 3.5"
    scores: ClassVar[dict[str, str]] = {
        "end_marks": "share of lines that end in a mark that ends a sentence",
        "short_lines": "share of lines of at most `short_line_chars` characters",
        "repeated_chars": "characters in lines that are copies, as a share of all but line feeds",
        "line_feeds_per_word": "line feeds per token",
        **JUDGED_SCORES,
    }
    limits: ClassVar[dict[str, tuple[str, Side]]] = {
        "min_end_marks": ("end_marks", "below"),
        "max_short_lines": ("short_lines", "above"),
        "max_repeated_chars": ("repeated_chars", "above"),
        "max_line_feeds_per_word": ("line_feeds_per_word", "above"),
    }
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"max_repeated_chars": 0.1}}

    preset: Literal["fineweb", "paper"] = Field(default="fineweb", description="whose limits where none is given")
    short_line_chars: int = Field(default=30, ge=0, description="characters of a line that counts as short")
    min_end_marks: float | None = threshold(
        0.12, ge=0, description="drop documents with a smaller share of lines that end as sentences do"
    )
    max_short_lines: float | None = threshold(
        0.67, ge=0, description="drop documents with a larger share of short lines"
    )
    max_repeated_chars: float | None = threshold(
        0.01, ge=0, description="drop documents with a larger share of characters in repeated lines"
    )
    max_line_feeds_per_word: float | None = threshold(
        0.3, ge=0, description="drop documents with more line feeds per token"
    )

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Measure the lines."""
        from curate.kernels.quality import LINES, lines
        from curate.kernels.utf8 import texts

        found = lines(texts(docs["text"]), self.short_line_chars)
        return with_language(pl.DataFrame(found, schema=list(LINES)), self.judged_as(docs))


def has_stop_words(language: str) -> bool:
    """Whether there is a list of stop words for a language; spaCy is found, not imported."""
    return language in _stop_words or stop_words_file(language) is not None


def stop_words_file(language: str) -> Path | None:
    """The file with spaCy's stop words of a language."""
    spacy = find_spec("spacy")
    folders = spacy.submodule_search_locations if spacy is not None else None
    named = folders if folders is not None and language.isalpha() else ()
    files = [Path(folder) / "lang" / language / "stop_words.py" for folder in named]
    return next((file for file in files if file.is_file()), None)


def own_stop_words(language: str) -> tuple[str, ...]:
    """The stop words of a language in spaCy, empty when it has none; for English those of Gopher."""
    if language not in _stop_words:
        file = stop_words_file(language)  # alone: the package around it takes seconds to import
        words = runpy.run_path(str(file))["STOP_WORDS"] if file is not None else ()
        _stop_words[language] = tuple(sorted(words))
    return _stop_words[language]
