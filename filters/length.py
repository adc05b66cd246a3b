"""Drop documents by their number of characters and words."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import model_validator

from curate.filter import Filter, Limit, above, below, threshold


class Length(Filter, name="length"):
    """Drop documents that are too short or too long, in characters or words.

    A character is a Unicode code point. A word is a run of letters, digits, underscores and the combining marks among
    them; in scripts written without spaces between words (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan) each letter or
    digit is a word, so that a limit in words is a limit in characters there. Without a limit it only scores.
    """

    scores: ClassVar[dict[str, str]] = {
        "chars": "number of characters (Unicode code points)",
        "words": "number of words; in scripts written without spaces, number of letters and digits",
        "bytes": "number of UTF-8 bytes",
    }

    min_chars: int | None = threshold(None, ge=0, description="drop documents with fewer characters")
    max_chars: int | None = threshold(None, ge=0, description="drop documents with more characters")
    min_words: int | None = threshold(None, ge=0, description="drop documents with fewer words")
    max_words: int | None = threshold(None, ge=0, description="drop documents with more words")

    @model_validator(mode="after")
    def _ordered(self) -> Length:
        for unit in ("chars", "words"):
            least, most = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_{unit} ({least}) is above max_{unit} ({most}): every document would be dropped")
        return self

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Count characters, words and bytes."""
        from curate.kernels.text import count

        counts = count(docs["text"])
        return pl.DataFrame({"chars": counts.chars, "words": counts.words, "bytes": counts.bytes})

    def drop_when(self) -> dict[str, Limit]:
        """One rule per limit that is set, named as the option."""
        rules: dict[str, Limit] = {}
        for option, limit in self:
            if limit is not None:
                side = below if option.startswith("min_") else above
                rules[option] = side(option[4:], limit)
        return rules
