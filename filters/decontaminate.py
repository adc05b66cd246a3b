"""Find benchmark items in documents by shared word n-grams, and drop the documents or cut the items out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from curate.errors import UsageError
from curate.filter import Filter, Limit, above, as_tuples, threshold

if TYPE_CHECKING:
    from curate.filters.benchmarks import Benchmarks

MOST_LISTED = 1000  # items in the report
MOST_COMMON = 50  # n-grams in the report
HIT = pl.Struct({"benchmark": pl.String, "item": pl.String, "ngrams": pl.UInt32, "share": pl.Float64})


class Decontaminate(Filter, name="decontaminate"):
    """Drop documents that contain items of benchmarks, or cut the items out.

    A document has an item when they share n-grams of words (13, lower-cased runs of letters and digits; in scripts
    without spaces each letter is a word). An item of fewer words is found as a whole. What is found is wording: a
    translated or rephrased item is not, and a sentence that item and document both took from somewhere else is. The
    report lists n-grams that many documents have: they are likely to be common phrases.
    """

    source: ClassVar[str] = (
        "GPT-3, arXiv 2005.14165, appendix C: 13-grams, 200 characters around them, 10 pieces; "
        "Llama 2, arXiv 2307.09288, appendix A.6: shares"
    )
    scores: ClassVar[dict[str, str]] = {
        "items": "number of benchmark items that the document has",
        "share": "largest share of an item's n-grams that the document has; 0 without any",
        "hits": "the items: benchmark, name, how many of its n-grams, which share of them",
        "ngrams": "hashes of the items' n-grams in the document, each once",
        "cuts": "number of places that are cut out; 0 with `action: drop`",
        "left_chars": "characters that are left after cutting; null where nothing is cut",
    }

    benchmarks: tuple[Path, ...] = Field(
        min_length=1,
        description=(
            "files with the items: JSON lines, Parquet, CSV, or text with one item a line; relative to the "
            "pipeline file"
        ),
    )
    columns: tuple[str, ...] = Field(
        default=("text",), min_length=1, description="columns with the items' texts, for example [question, answer]"
    )
    labels: tuple[str, ...] = Field(
        default=(),
        description="columns that name an item in the report, the benchmark first; otherwise the file and row do",
    )
    ngram: int = Field(default=13, ge=2, le=100, description="words in an n-gram")
    min_words: int = Field(
        default=8, ge=2, description="an item (or column of one) of fewer words than this is not looked for"
    )
    min_ngrams: int = Field(
        default=1, ge=1, description="least number of an item's n-grams that a document must have; a short item is one"
    )
    min_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="least share of an item's n-grams that a document must have; 0 as GPT-3, where one is enough",
    )
    action: Literal["drop", "cut", "tag"] = Field(
        default="drop",
        description="`cut` removes the shared words and `margin_chars` around them, `tag` only scores",
    )
    margin_chars: int = Field(default=200, ge=0, description="characters to cut on each side of shared words")
    min_piece_chars: int = Field(
        default=200, ge=0, description="pieces between cuts that are shorter than this are cut, too"
    )
    put: str = Field(default="\n", description="what stands in place of a cut")
    max_cuts: int = threshold(
        9, ge=0, description="drop documents with more cuts; GPT-3 dropped those in more than 10 pieces"
    )
    tell_above: int = threshold(10, ge=1, description="the report lists n-grams that more documents than this have")

    @field_validator("benchmarks", "columns", "labels", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | Path) else as_tuples(value)

    @model_validator(mode="after")
    def _fits(self) -> Decontaminate:
        if self.min_words > self.ngram:
            raise ValueError(
                f"`min_words` is {self.min_words}, more than `ngram` ({self.ngram}): no item would be short"
            )
        return self

    def files(self) -> tuple[Path, ...]:
        """The benchmark files."""
        return self.benchmarks

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Look every n-gram of the documents up among those of the items."""
        from curate.kernels.overlap import overlaps
        from curate.kernels.utf8 import texts

        known = self._known()
        column = docs["text"].cast(pl.String)
        matches = pl.DataFrame(
            overlaps(texts(column), known.ngrams), schema=["row", "word", "words", "place"], orient="row"
        )
        hits, counted = self._hits(known, matches)
        frame = self._columns(known, hits, counted, docs.height)
        if self.action != "cut":
            return frame.with_columns(cuts=pl.lit(0, pl.UInt32), left_chars=pl.lit(None, pl.UInt32))
        return frame.hstack(self._cut(column, counted))

    def drop_when(self) -> dict[str, Limit | pl.Expr]:
        """`contaminated`: it has an item; where items are cut out, `too_many_cuts` and `nothing_left`."""
        if self.action == "tag":
            return {}
        if self.action == "drop":
            return {"contaminated": above("items", 0)}
        nothing_left = (pl.col("left_chars") == 0).fill_null(False)
        return {"too_many_cuts": above("cuts", self.max_cuts), "nothing_left": nothing_left}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """Hits by benchmark; by item: how many documents, at what overlap; n-grams that many documents have."""
        hits = ledger.select(pl.col("hits").explode().struct.unnest()).drop_nulls("item")
        documents = pl.len().alias("documents")
        items = hits.group_by("benchmark", "item").agg(
            documents,
            max_ngrams=pl.col("ngrams").max(),
            mean_share=pl.col("share").mean(),
            max_share=pl.col("share").max(),
        )
        by_benchmark = (
            hits.group_by("benchmark")
            .agg(items_hit=pl.col("item").n_unique(), hits=pl.len(), max_share=pl.col("share").max())
            .sort("hits", "benchmark", descending=[True, False])
        )
        common = (
            ledger.select(ngram=pl.col("ngrams").explode())
            .drop_nulls()
            .group_by("ngram")
            .agg(documents)
            .filter(pl.col("documents") > self.tell_above)
            .sort("documents", "ngram", descending=[True, False])
            .head(MOST_COMMON)
            .collect()
        )
        return {
            "benchmarks": by_benchmark.collect(),
            "benchmark_items": items.sort("documents", "max_share", "item", descending=[True, True, False])
            .head(MOST_LISTED)
            .collect(),
            "common_ngrams": common.select("documents", self._words(common["ngram"]), pl.col("ngram").alias("hash")),
        }

    def _known(self) -> Benchmarks:
        from curate.filters.benchmarks import read_benchmarks, state

        return read_benchmarks(state(self.benchmarks), self.columns, self.labels, self.ngram, self.min_words)

    def _hits(self, known: Benchmarks, matches: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The items that each text has, and the matches that belong to these."""
        owned = matches.unique(["row", "place"]).join(known.owners, on="place", how="inner")
        sizes = pl.DataFrame({"size": known.sizes}).with_row_index("item").cast({"item": pl.Int64})
        share = pl.col("ngrams") / pl.col("size")
        hits = (
            owned.group_by("row", "item")
            .agg(ngrams=pl.len())
            .join(sizes, on="item")
            .with_columns(share=share)
            .filter(pl.col("ngrams") >= self.min_ngrams, pl.col("share") >= self.min_share)
            .sort("row", "share", "item", descending=[False, True, False])
        )
        places = owned.join(hits, on=["row", "item"], how="semi").select("row", "place").unique()
        return hits, matches.join(places, on=["row", "place"], how="semi", maintain_order="left")

    def _columns(self, known: Benchmarks, hits: pl.DataFrame, counted: pl.DataFrame, size: int) -> pl.DataFrame:
        from curate.windows import per_document

        rows = hits["row"].to_numpy()
        best = np.zeros(size)
        np.maximum.at(best, rows, hits["share"].to_numpy())
        names = known.names[hits["item"]]
        listed = per_document(
            rows, size, benchmark=names["benchmark"], item=names["item"],
            ngrams=hits["ngrams"].cast(pl.UInt32), share=hits["share"],
        )  # fmt: skip
        every = np.concatenate([known.ngrams.hashes, known.ngrams.wholes])
        places = counted.select("row", "place").unique(maintain_order=True)
        found = pl.Series([f"{one:016x}" for one in every[places["place"].to_numpy()].tolist()], dtype=pl.String)
        hashes = per_document(places["row"].to_numpy(), size, ngram=found)
        return pl.DataFrame(
            {
                "items": np.bincount(rows, minlength=size).astype(np.uint32),
                "share": best,
                "hits": listed.cast(pl.List(HIT)),
                "ngrams": hashes.list.eval(pl.element().struct.field("ngram")),
            }
        )

    def _cut(self, column: pl.Series, counted: pl.DataFrame) -> pl.DataFrame:
        """The edits that cut shared words out, and what is left; few documents have any."""
        from curate.windows import per_document

        size = len(column)
        edits: list[tuple[int, int, int]] = []  # row, start, end in bytes
        left: dict[int, int] = {}
        for (row,), matches in counted.partition_by("row", as_dict=True, maintain_order=True).items():
            text = column[int(row)]
            sizes = matches["words"].to_list()
            runs = cuts(text, matches["word"].to_list(), sizes, self.margin_chars, self.min_piece_chars)
            left[int(row)] = len(text) - sum(end - start for start, end in runs)
            places = byte_places(text)
            edits += [(int(row), int(places[start]), int(places[end])) for start, end in runs]
        rows, starts, ends = np.array(edits, np.int64).reshape(-1, 3).T
        put = pl.Series([self.put] * len(rows), dtype=pl.String)
        made = per_document(rows, size, start=starts, end=ends, put=put)
        return pl.DataFrame(
            {
                "cuts": np.bincount(rows, minlength=size).astype(np.uint32),
                "left_chars": pl.Series([left.get(row) for row in range(size)], dtype=pl.UInt32),
                "edits": made,
            }
        )

    def _words(self, hashes: pl.Series) -> pl.Series:
        """The words of n-grams, from the benchmark files; null where these are not at hand."""
        from curate.kernels.overlap import word_spans, words
        from curate.kernels.utf8 import texts

        wanted = set(hashes.to_list())
        shown: dict[str, str] = {}
        try:
            parts = self._known().parts["text"] if wanted else pl.Series([], dtype=pl.String)
        except UsageError:  # a report may be made where the files are not
            parts = pl.Series([], dtype=pl.String)
        for text in parts.to_list():
            data = text.encode()
            starts, ends = word_spans(data)
            size = min(self.ngram, len(starts))
            pieces = [data[starts[at] : ends[at + size - 1]].decode() for at in range(len(starts) - size + 1) if size]
            whole = words(texts(pl.Series(pieces, dtype=pl.String)), 1).wholes.tolist()
            for one, piece in zip(whole, pieces, strict=True):
                if f"{one:016x}" in wanted:
                    shown.setdefault(f"{one:016x}", " ".join(piece.split()))
            if len(shown) == len(wanted):
                break
        return pl.Series("words", [shown.get(one) for one in hashes.to_list()], dtype=pl.String)


def cuts(text: str, words: list[int], sizes: list[int], margin: int, least: int) -> list[tuple[int, int]]:
    """The characters to cut out: runs of shared words with a margin, and what would be a short piece beside them."""
    from curate.kernels.overlap import word_spans

    starts, ends = word_spans(text.encode())
    places = byte_places(text)
    starts, ends = np.searchsorted(places, starts), np.searchsorted(places, ends)
    found: list[tuple[int, int]] = []
    for word, size in sorted(zip(words, sizes, strict=True)):
        start = max(0, int(starts[word]) - margin)
        end = min(len(text), int(ends[word + size - 1]) + margin)
        start = 0 if start < least else start
        end = len(text) if len(text) - end < least else end
        if found and start - found[-1][1] < max(least, 1):
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def byte_places(text: str) -> NDArray[np.int64]:
    """Where each character of a text starts in UTF-8, and where the text ends."""
    data = np.frombuffer(text.encode(), np.uint8)
    return np.append(np.flatnonzero(data & 0xC0 != 0x80), len(data))
