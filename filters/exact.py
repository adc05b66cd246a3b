"""Drop documents whose text is the same as another's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator

from curate.filter import Corpus, CorpusFilter, Partition, as_tuples

HASH = ["hash_high", "hash_low"]
SCOPE = "scope"
PLACE = ["chunk", "row"]

Priority = Literal["earliest", "longest"] | dict[str, tuple[str | int | float | bool, ...]]


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
    scope: str | None = Field(
        default=None,
        description=(
            "only documents with the same value of this column (an input column, or `step.score`) are duplicates; "
            "a missing value is a value of its own"
        ),
    )
    keep: tuple[Priority, ...] = Field(
        default=("earliest",),
        min_length=1,
        description=(
            "which document of a group stays, most important first: `earliest` in the input, `longest` in UTF-8 bytes, "
            "or `{column: [best, next, ...]}`; what is still equal goes to the earliest"
        ),
    )

    @field_validator("keep", mode="before")
    @classmethod
    def _plain_words(cls, keep: Any) -> Any:
        entries = list(keep) if isinstance(keep, list | tuple) else [keep]
        for place, entry in enumerate(entries):
            if isinstance(entry, str) and entry not in ("earliest", "longest"):
                raise ValueError(
                    f"{entry!r} is neither `earliest` nor `longest`; to prefer values of a column write "
                    f"`{{{entry}: [best, next]}}`"
                )
            if isinstance(entry, Mapping) and not all(entry.values()):
                raise ValueError(f"name the values of {', '.join(map(str, entry))} in order of preference")
            if entry == "earliest" and place < len(entries) - 1:
                raise ValueError("nothing after `earliest` has an effect: no two documents are equally early")
        return as_tuples(entries)

    def reads(self) -> tuple[str, ...]:
        """The scores of earlier steps among the columns of `scope` and `keep`."""
        columns = [] if self.scope is None else [self.scope]
        columns += [column for entry in self.keep if isinstance(entry, dict) for column in entry]
        return tuple(dict.fromkeys(column for column in columns if "." in column))

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """The hash of each text, its scope, and its rank (lower is better) for each priority."""
        from curate.kernels.hashing import hash128
        from curate.kernels.text import normalize
        from curate.kernels.utf8 import texts

        hashes = hash128(normalize(docs["text"]) if self.normalize else texts(docs["text"]))
        sketch = [pl.Series(HASH[0], hashes.high), pl.Series(HASH[1], hashes.low)]
        if self.scope is not None:
            sketch.append(docs[self.scope].cast(pl.String).alias(SCOPE))
        ranks = docs.select(rank.alias(f"rank_{place}") for place, rank in enumerate(ranks_of(self.keep)))
        return pl.DataFrame(sketch).hstack(ranks)

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """`duplicate_of` for each document that another replaces, `cluster_size` for those and the ones that stay."""
        group = HASH if self.scope is None else [*HASH, SCOPE]
        ranks = [f"rank_{place}" for place, _ in enumerate(ranks_of(self.keep))]
        find = partial(_find_duplicates, group=group, ranks=ranks, scratch=corpus.scratch)
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


def ranks_of(keep: Iterable[Priority]) -> Iterator[pl.Expr]:
    """One expression per priority, lower is better; `earliest` needs none."""
    for entry in keep:
        if entry == "longest":
            yield -pl.col("text").str.len_bytes().cast(pl.Int64)
        elif isinstance(entry, dict):
            for name, values in entry.items():
                order = {_as_text(value): rank for rank, value in enumerate(dict.fromkeys(values))}
                value = pl.col(name).cast(pl.String)
                yield value.replace_strict(order, default=len(order), return_dtype=pl.Int64).fill_null(len(order))


def _as_text(value: str | int | float | bool) -> str:
    """A value as polars writes it when it casts a column to strings."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _find_duplicates(part: tuple[int, Partition], group: list[str], ranks: list[str], scratch: Path) -> Path:
    """Write the groups of one partition that have more than one document, and return the file."""
    number, partition = part
    documents = partition.read()
    size = pl.len().over(group).cast(pl.UInt32)
    first = pl.int_range(pl.len()).over(group) == 0
    kept = pl.col("id").first().over(group)
    found = (
        documents.lazy()
        .filter(size > 1)
        .sort(*ranks, *PLACE)
        .select(*PLACE, duplicate_of=pl.when(~first).then(kept), cluster_size=size)
        .sort(PLACE)
        .collect()
    )
    path = scratch / f"duplicates-{number:05d}.arrow"
    found.write_ipc(path)
    return path
