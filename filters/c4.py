"""Remove lines that are no text, and drop pages of which too little or too much remains: C4 and RefinedWeb."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from curate.filter import Limit, threshold
from curate.filters.text_rules import JUDGED_SCORES, Side, TextRules, is_judged, with_language

if TYPE_CHECKING:
    from curate.kernels.lines import Counts


class C4Quality(TextRules, name="c4_quality"):
    """Remove lines that are no sentences, and drop pages with placeholder text, code or few sentences.

    The rules of C4 (Raffel et al. 2020), section 2.2, with those of its published code. A line is dropped that has a
    word of more than `max_word_chars`, too few words, no end mark, "javascript" or a phrase of a cookie or privacy
    notice; citation marks are cut out. What is left is judged: too few sentences, "lorem ipsum" or a curly bracket drop
    the page. `preset: fineweb` has the numbers of datatrove 0.10 (5 sentences, 3 words, `'` ends a line too), `paper`
    those of C4's code (3 sentences, 5 words, at most 190,000 characters), `dolma` the same with 3 words. The FineWeb
    corpus was made with `require_end_mark: false`. C4's list of bad words is a `blocklist` of your choice.
    """

    source: ClassVar[str] = "C4, JMLR 21:140 (arXiv 1910.10683), section 2.2; FineWeb, arXiv 2406.17557"
    scores: ClassVar[dict[str, str]] = {
        "sentences": "number of sentences in the lines that stay",
        "chars": "number of characters in the lines that stay",
        "lorem_ipsum": "whether the page says `lorem ipsum`",
        "curly_bracket": "whether the page has a curly bracket",
        "lines": "number of lines",
        "long_word": "lines removed for a long word",
        "end_mark": "lines removed because they do not end in an end mark",
        "few_words": "lines removed for too few words",
        "javascript": "lines removed because they mention JavaScript",
        "policy": "lines removed for a phrase of a cookie or privacy notice",
        **JUDGED_SCORES,
    }
    limits: ClassVar[dict[str, tuple[str, Side]]] = {
        "min_sentences": ("sentences", "below"),
        "max_chars": ("chars", "above"),
    }
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"min_sentences": 3, "min_line_words": 5, "max_chars": 190_000},
        "dolma": {"min_sentences": 3, "max_chars": 190_000},
    }

    preset: Literal["fineweb", "paper", "dolma"] = Field(
        default="fineweb", description="whose end marks, and whose numbers where none is given"
    )
    require_end_mark: bool = Field(
        default=True, description="whether lines must end in `.`, `?`, `!` or a quotation mark, and not in `...`"
    )
    min_line_words: int = Field(default=3, ge=0, description="remove lines with fewer words")
    max_word_chars: int | None = Field(default=1000, ge=0, description="remove lines with a longer word")
    remove_citations: bool = Field(default=True, description="whether `[12]`, `[edit]` and `[citation needed]` go")
    remove_javascript: bool = Field(default=True, description="whether lines that mention JavaScript go")
    remove_policy: bool = Field(default=True, description="whether lines of cookie and privacy notices go")
    min_sentences: float | None = threshold(5, ge=0, description="drop pages of which fewer sentences stay")
    max_chars: float | None = threshold(None, ge=0, description="drop pages of which more characters stay")
    drop_lorem_ipsum: bool = threshold(True, description="whether pages with `lorem ipsum` are dropped")
    drop_curly_bracket: bool = threshold(True, description="whether pages with a curly bracket are dropped")

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Find the lines that stay, and count what they hold."""
        from curate.kernels import lines
        from curate.kernels.sentences import left
        from curate.kernels.tokens import frozen
        from curate.kernels.utf8 import texts

        given, judged_as = texts(docs["text"]), self.judged_as(docs)
        suspect = docs["text"].str.contains(lines.SUSPECT).fill_null(False)
        marks = lines.FIVE_MARKS if self.preset == "fineweb" else lines.FOUR_MARKS
        kept, counts = lines.c4(
            given,
            is_judged(judged_as),
            frozen(suspect.to_numpy().copy()),
            max_word_chars=-1 if self.max_word_chars is None else self.max_word_chars,
            min_words=self.min_line_words,
            end_marks=marks if self.require_end_mark else lines.NO_MARK,
            citations=self.remove_citations,
            javascript=self.remove_javascript,
            policy=self.remove_policy,
        )
        stays = left(given, kept)
        of_rules = _counts(counts, lines.C4).with_columns(
            pl.col("lorem_ipsum", "curly_bracket") > 0,
            sentences=pl.Series(stays.sentences).cast(pl.UInt32),
            chars=pl.Series(stays.chars).cast(pl.UInt32),
        )
        return with_language(of_rules, judged_as).with_columns(lines.edits(given, kept).alias("edits"))

    def drop_when(self) -> dict[str, pl.Expr | Limit]:
        """One rule per limit that is set, `lorem_ipsum` and `curly_bracket`."""
        rules = super().drop_when()
        for name, wanted in (("lorem_ipsum", self.drop_lorem_ipsum), ("curly_bracket", self.drop_curly_bracket)):
            if wanted:
                rules[name] = pl.col("judged") & pl.col(name)
        return rules


class RefinedwebLines(TextRules, name="refinedweb_lines"):
    """Remove lines of page furniture (counters, capitals, buttons), and drop pages that were much of that.

    The line-wise corrections of RefinedWeb (Penedo et al. 2023), Appendix G.2, as DCLM rebuilt them: lines mostly of
    capitals, of digits alone, of a counter (`3 likes`) or of one word go; in lines of at most ten words "items in
    cart", "Read more..." at the end and "Sign-in" at the beginning are cut out. Lines end at line feeds, words at white
    space; empty lines stay.
    """

    source: ClassVar[str] = "RefinedWeb, arXiv 2306.01116, Appendix G.2; DCLM, arXiv 2406.11794"
    scores: ClassVar[dict[str, str]] = {
        "words": "number of words",
        "removed_words": "number of words that were removed",
        "removed_lines": "number of lines that were removed",
        "removed_share": "share of the words that were removed",
        **JUDGED_SCORES,
    }
    limits: ClassVar[dict[str, tuple[str, Side]]] = {"max_removed_share": ("removed_share", "above")}

    max_upper_share: float = Field(
        default=0.5, ge=0, le=1, description="remove lines with a larger share of capital letters"
    )
    min_line_words: int = Field(default=2, ge=0, description="remove lines with fewer words, unless they have none")
    max_removed_share: float | None = threshold(
        0.05, ge=0, description="drop pages of which a larger share of words was removed"
    )

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Find the lines that stay, and count what was removed."""
        from curate.kernels import lines
        from curate.kernels.utf8 import texts

        given, judged_as = texts(docs["text"]), self.judged_as(docs)
        kept, counts = lines.refinedweb(given, is_judged(judged_as), self.max_upper_share, self.min_line_words)
        words = pl.col("words")
        scores = _counts(counts, lines.REFINEDWEB).with_columns(
            removed_share=pl.when(words > 0)
            .then((pl.col("removed_words") / words).clip(upper_bound=1.0))
            .otherwise(0.0)
        )
        return with_language(scores, judged_as).with_columns(lines.edits(given, kept).alias("edits"))


def _counts(counts: Counts, names: tuple[str, ...]) -> pl.DataFrame:
    return pl.DataFrame(counts, schema=list(names)).cast(pl.UInt32)
