"""Drop documents that repeat themselves: Gopher's thirteen rules."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from curate.filter import threshold
from curate.filters.text_rules import JUDGED_SCORES, Side, TextRules, with_language


def _limit(value: float, what: str) -> Any:
    return threshold(value, ge=0, description=f"drop documents with a larger share of {what}")


class GopherRepetition(TextRules, name="gopher_repetition"):
    """Drop documents of which too much is repeated lines, paragraphs or runs of words.

    The rules of Gopher (Rae et al. 2021), Table A1, and its limits. A line ends at line feeds, a paragraph at two or
    more; words are tokens as docs/quality.md has them. `preset: fineweb` counts as datatrove 0.10 does: copies after
    the first, of a run of words going on behind each copy found, as shares of all characters. `paper` counts each
    character inside a repeated run once, whichever copy it is in, as a share of the characters of words, and takes the
    runs between white space as words. `dolma` counts every copy of every repeated line or run, overlapping ones each
    time, has no paragraphs, and the same words. The same limits thus drop different documents.
    """

    source: ClassVar[str] = "Gopher, arXiv 2112.11446, Table A1; FineWeb, arXiv 2406.17557; Dolma, arXiv 2402.00159"
    scores: ClassVar[dict[str, str]] = {
        "line_share": "share of lines that are copies",
        "paragraph_share": "share of paragraphs that are copies",
        "line_chars": "characters in copies of lines, as a share of the text's",
        "paragraph_chars": "characters in copies of paragraphs, as a share of the text's",
        **{f"top_{n}_gram": f"characters in the most frequent run of {n} words, as a share" for n in (2, 3, 4)},
        **{f"duplicate_{n}_gram": f"characters in repeated runs of {n} words, as a share" for n in range(5, 11)},
        **JUDGED_SCORES,
    }
    limits: ClassVar[dict[str, tuple[str, Side]]] = {
        f"max_{score}": (score, "above") for score in scores if score not in JUDGED_SCORES
    }
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "dolma": {"max_paragraph_share": None, "max_paragraph_chars": None},
    }

    preset: Literal["fineweb", "paper", "dolma"] = Field(
        default="fineweb", description="whose way of counting, and whose limits where none is given"
    )
    max_line_share: float | None = _limit(0.30, "lines that are copies")
    max_paragraph_share: float | None = _limit(0.30, "paragraphs that are copies")
    max_line_chars: float | None = _limit(0.20, "characters in copies of lines")
    max_paragraph_chars: float | None = _limit(0.20, "characters in copies of paragraphs")
    max_top_2_gram: float | None = _limit(0.20, "characters in the most frequent pair of words")
    max_top_3_gram: float | None = _limit(0.18, "characters in the most frequent run of 3 words")
    max_top_4_gram: float | None = _limit(0.16, "characters in the most frequent run of 4 words")
    max_duplicate_5_gram: float | None = _limit(0.15, "characters in repeated runs of 5 words")
    max_duplicate_6_gram: float | None = _limit(0.14, "characters in repeated runs of 6 words")
    max_duplicate_7_gram: float | None = _limit(0.13, "characters in repeated runs of 7 words")
    max_duplicate_8_gram: float | None = _limit(0.12, "characters in repeated runs of 8 words")
    max_duplicate_9_gram: float | None = _limit(0.11, "characters in repeated runs of 9 words")
    max_duplicate_10_gram: float | None = _limit(0.10, "characters in repeated runs of 10 words")

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Measure the thirteen shares."""
        from curate.kernels.repetition import NAMES, repetition
        from curate.kernels.utf8 import texts

        found = repetition(texts(docs["text"]), self.preset)
        return with_language(pl.DataFrame(found, schema=list(NAMES)), self.judged_as(docs))
