"""Drop documents whose text is the same as another's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

import polars as pl
from pydantic import Field, field_validator

from curate.filter import Corpus, CorpusFilter, Partition
from curate.filters.keep import KEEP, PLACE, SCOPE, Priority, column, ranks, read_keep, scores_read

HASH = ["hash_high", "hash_low"]


class ExactDuplicates(CorpusFilter, name="exact_duplicates"):
    """Keep one document of each group with the same text.

    Texts are compared by a 128-bit BLAKE2b hash of their normalised form: Unicode NFC, case folded (each character to
    its one-character folding, so that `ß` is not `ss`), every run of white space one space, none at the ends. All empty
    documents are duplicates of each other.
    """

    scores: ClassVar[dict[str, str]] = {
        "cluster_size": "number of documents with this text, the kept one included; null when it stands alone"
    }

    normalize: bool = Field(
        default=True,
        description="compare normalised texts: NFC, case folded, white space collapsed; false compares every byte",
    )
    scope: str | None = Field(default=None, description=SCOPE)
    keep: tuple[Priority, ...] = Field(default=("earliest",), min_length=1, description=KEEP)

    _read_keep = field_validator("keep", mode="before")(read_keep)

    def reads(self) -> tuple[str, ...]:
        """The scores of earlier steps among the columns of `scope` and `keep`."""
        return scores_read(self.scope, self.keep)

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """The hash of each text, its scope, and its rank (lower is better) for each priority."""
        from curate.kernels.hashing import hash128
        from curate.kernels.text import normalize
        from curate.kernels.utf8 import texts

        hashes = hash128(normalize(docs["text"]) if self.normalize else texts(docs["text"]))
        sketch = [pl.Series(HASH[0], hashes.high), pl.Series(HASH[1], hashes.low)]
        if self.scope is not None:
            sketch.append(column(docs, self.scope).cast(pl.String).alias("scope"))
        return pl.DataFrame([*sketch, *ranks(docs, self.keep)])

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """`duplicate_of` for each document that another replaces, `cluster_size` for those and the ones that stay."""
        group = HASH if self.scope is None else [*HASH, "scope"]
        find = partial(_find_duplicates, group=group, scratch=corpus.scratch)
        found = list(corpus.map(find, list(enumerate(corpus.partitions(HASH[1])))))
        if found:
            return pl.scan_ipc(found)
        return (
            corpus.columns()
            .select(*PLACE, *(pl.lit(None, kind).alias(name) for name, kind in self.decides().items()))
            .clear()
        )

    def decides(self) -> dict[str, type[pl.DataType]]:
        """The columns of `decide`."""
        return {"duplicate_of": pl.String, "cluster_size": pl.UInt32}

    def drop_when(self) -> dict[str, pl.Expr]:
        """`duplicate`: another document with the same text stays."""
        return {"duplicate": pl.col("duplicate_of").is_not_null()}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`largest_clusters`: the 20 texts that occur most often, by the document that stayed."""
        stayed = pl.col("cluster_size").is_not_null() & pl.col("rule").ne_missing("duplicate")
        clusters = ledger.filter(stayed).select("id", "cluster_size")
        return {"largest_clusters": clusters.sort("cluster_size", "id", descending=[True, False]).head(20).collect()}


def _find_duplicates(part: tuple[int, Partition], group: list[str], scratch: Path) -> Path:
    """Write the groups of one partition that have more than one document, and return the file."""
    number, partition = part
    documents = partition.read()
    size = pl.len().over(group).cast(pl.UInt32)
    first = pl.int_range(pl.len()).over(group) == 0
    kept = pl.col("id").first().over(group)
    found = (
        documents.lazy()
        .filter(size > 1)
        .sort(*(name for name in documents.columns if name.startswith("rank_")), *PLACE, nulls_last=True)
        .select(*PLACE, duplicate_of=pl.when(~first).then(kept), cluster_size=size)
        .sort(PLACE)
        .collect()
    )
    path = scratch / f"duplicates-{number:05d}.arrow"
    found.write_ipc(path)
    return path
