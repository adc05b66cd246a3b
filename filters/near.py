"""Drop documents that are nearly the same as another one that is kept."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from curate.errors import UsageError
from curate.filter import Corpus, CorpusFilter
from curate.filter import threshold as unscored
from curate.filters.keep import BETWEEN, KEEP, SCOPE, Priority, column, ranks, read_keep, scores_read
from curate.filters.near_decide import DECIDES, Part, Work, decide
from curate.filters.near_index import Content, is_index, open_index, write_part, write_record

if TYPE_CHECKING:
    from curate.kernels.minhash import Bands

HISTOGRAM_STEP = 0.02


class NearDuplicates(CorpusFilter, name="near_duplicates"):
    """Keep one document of each group with nearly the same text.

    Two texts are as similar as their sets of shingles: what they share as a part of what either has (Jaccard). A
    shingle is a run of `ngram` words of the lower-cased text; in scripts without spaces each letter is a word. MinHash
    bands find the pairs to look at, then the shingles themselves are compared: a document is dropped only if its
    similarity to one that is kept reaches the threshold. A text of fewer than `ngram` words is one shingle, so that it
    is similar only to a text with the same words; a text without any word is similar to none.
    """

    scores: ClassVar[dict[str, str]] = {
        "cluster": "id of the first document, by `keep`, among those that similar pairs link; null when there is none",
        "cluster_size": "number of documents in the cluster, kept ones included; null when it stands alone",
        "earlier": "the entry of `against` in which the document of `duplicate_of` is; null when it is in this corpus",
        "estimated": "whether `similarity` is an estimate, because only a signature is known of the earlier document",
    }
    source: ClassVar[str] = (
        "Broder 1997, On the resemblance and containment of documents; bands: Leskovec, Rajaraman, Ullman, "
        "Mining of Massive Datasets, chapter 3"
    )

    threshold: float = Field(
        default=0.8, gt=0, le=1, description="least similarity (Jaccard, 0 to 1) of a document to the one that is kept"
    )
    ngram: int = Field(default=5, ge=1, le=100, description="words or characters in a shingle")
    unit: Literal["word", "char"] = Field(
        default="word", description="what shingles are made of: `word`, or `char` (code points, white space included)"
    )
    recall: float = Field(
        default=0.95,
        gt=0,
        le=0.999999,
        description="least probability that a pair at the threshold is found; more similar pairs are found more often",
    )
    scope: str | None = Field(default=None, description=SCOPE)
    between: str | None = Field(default=None, description=BETWEEN)
    keep: tuple[Priority, ...] = Field(default=("earliest",), min_length=1, description=KEEP)
    against: tuple[Path, ...] = unscored(
        (),
        description=(
            "earlier corpora whose near-duplicates are dropped: folders that `index` made, folders of runs, files of "
            "texts, or patterns of these; relative to the pipeline file"
        ),
    )
    index: Path | None = unscored(
        None, description="folder to save what a later run needs for `against`: the documents that this run keeps"
    )
    index_shingles: bool = unscored(
        True,
        description=(
            "save shingle hashes too, 8 bytes for each distinct one; without them a later run only has signatures, and "
            "drops by estimated similarity"
        ),
    )

    _read_keep = field_validator("keep", mode="before")(read_keep)

    @model_validator(mode="after")
    def _can_keep_its_promise(self) -> NearDuplicates:
        self.bands()
        if self.between is not None and self.between == self.scope:
            raise ValueError("`scope` and `between` name the same column: no two documents are left to compare")
        return self

    def bands(self) -> Bands:
        """How signatures are cut, and with `.found(similarity)` the probability that a pair is found."""
        from curate.kernels.minhash import choose_bands

        return choose_bands(self.threshold, self.recall)

    def reads(self) -> tuple[str, ...]:
        """The scores of earlier steps among the columns of `scope`, `keep` and `between`."""
        return scores_read(self.scope, self.keep, self.between)

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """The keys of each document's bands (null without a word), its bytes, scope and side, its ranks by priority."""
        from curate.kernels.minhash import band_keys, empty, signatures

        cut = self.bands()
        found = signatures(docs["text"], cut.permutations, ngram=self.ngram, unit=self.unit, first=cut.bands * cut.rows)
        keys = band_keys(found, cut)
        columns = [docs["text"].str.len_bytes().alias("bytes"), *ranks(docs, self.keep)]
        if self.scope is not None:
            scopes = scope_hashes(column(docs, self.scope))
            keys ^= scopes[:, None]
            columns.append(pl.Series("scope", scopes))
        if self.between is not None:
            columns.append(pl.Series("between", scope_hashes(column(docs, self.between))))
        lists = pl.Series("bands", keys, pl.Array(pl.UInt64, cut.bands)).arr.to_list()
        comparable = pl.Series(~empty(found), dtype=pl.Boolean)
        return pl.select(pl.when(comparable).then(lists).alias("bands")).hstack(columns)

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """`duplicate_of` and `similarity` of the documents that another replaces; clusters of all that have one."""
        folder = corpus.scratch / "near"
        folder.mkdir(parents=True, exist_ok=True)
        parts: list[Part] = []
        for number, path in enumerate(self.earlier()):
            parts += self._parts(path, corpus, folder / f"against-{number:03d}")
        return decide(
            corpus,
            Work(folder, self.bands(), self.ngram, self.unit, self.threshold, tuple(parts), self.between is not None),
        )

    def earlier(self) -> tuple[Path, ...]:
        """The earlier corpora: what `against` names, patterns resolved, without this run's own index."""
        found: list[Path] = []
        for path in self.against:
            matching = [path] if path.exists() else sorted(map(Path, glob.glob(str(path))))
            first = self.index is not None and fnmatch.fnmatch(str(self.index), str(path))  # nothing but its own index
            if not matching and not first:
                raise UsageError(f"`against` names {str(path)!r}, which does not exist")
            found += matching
        own = None if self.index is None else self.index.resolve()
        named = list(dict.fromkeys(path for path in found if path.resolve() != own))
        for path in named:
            self._check_earlier(path)
        return tuple(named)

    def saves(self) -> Path | None:
        """The folder of `index`."""
        return self.index

    def save(self, corpus: Corpus, kept: pl.DataFrame, folder: Path) -> None:
        """Write the index of the documents that the run keeps."""
        rows = kept.select("chunk", "row")
        if self.scope is not None:
            scopes = [frame for task in corpus.map_sketches(_scopes) for frame in task]
            rows = rows.join(pl.concat(scopes), on=["chunk", "row"], how="left", maintain_order="left")
        content = self._content()
        write_record(folder, content, corpus.map_texts(partial(_save_part, folder, content), rows))

    def decides(self) -> dict[str, type[pl.DataType]]:
        """The columns of `decide`."""
        return DECIDES

    def drop_when(self) -> dict[str, pl.Expr]:
        """`near_duplicate`: a document that is similar enough stays."""
        return {"near_duplicate": pl.col("duplicate_of").is_not_null()}

    def plan_tables(self) -> dict[str, pl.DataFrame]:
        """`bands`: how signatures are cut, and their bytes on disk; `s_curve`: how likely a pair is to be compared."""
        cut = self.bands()
        bands = pl.DataFrame({**cut._asdict(), "bytes_per_document": 16 * cut.bands})
        start = round(20 * self.threshold)
        similarity = pl.Series("similarity", sorted({self.threshold, *(place / 20 for place in range(start - 6, 21))}))
        similarity = similarity.filter(similarity > 0)
        chance = pl.Series("compared", [cut.found(one) for one in similarity])
        return {"bands": bands, "s_curve": pl.DataFrame([similarity, chance])}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`largest_clusters`: the 20 largest, by their first document; `similarity`: how many were dropped at which."""
        clusters = ledger.filter(pl.col("cluster_size").is_not_null()).select("cluster", "cluster_size").unique()
        dropped = ledger.filter(pl.col("rule").eq_missing("near_duplicate"), pl.col("similarity").is_not_null())
        lowest = (pl.col("similarity") / HISTOGRAM_STEP + 1e-9).floor() * HISTOGRAM_STEP
        largest = clusters.sort("cluster_size", "cluster", descending=[True, False]).head(20)
        histogram = dropped.group_by(at_least=lowest.round(2)).agg(documents=pl.len()).sort("at_least")
        return {"largest_clusters": largest.collect(), "similarity": histogram.collect()}

    def _content(self) -> Content:
        return Content(self.ngram, self.unit, self.bands().permutations, self.scope, self.index_shingles)

    def _check_earlier(self, path: Path) -> None:
        """Refuse an index that was made in another way, and texts where their scope is not known."""
        wanted = self._content()
        if not is_index(path):
            if self.scope is not None:
                raise UsageError(
                    f"`against` names {str(path)!r}, texts whose {self.scope!r} is not known",
                    hint="with `scope`, give an index that was made with the same scope",
                )
            return
        known, _ = open_index(path)
        for name in ("ngram", "unit", "permutations", "scope"):
            if getattr(known, name) != getattr(wanted, name):
                raise UsageError(
                    f"the index {str(path)!r} has {name} {getattr(known, name)}, this step {getattr(wanted, name)}",
                    hint="make the index again with the options of this step"
                    + (" (permutations follow from threshold and recall)" if name == "permutations" else ""),
                )

    def _parts(self, path: Path, corpus: Corpus, made: Path) -> Iterator[Part]:
        """The parts of an earlier corpus; where there is no index, one is made of its texts for this run."""
        content = self._content()._replace(shingles=True)
        name = corpus.name(path)
        if is_index(path):
            known, parts = open_index(path)
            yield from (Part(part, name, known) for part in parts)
            return
        made.mkdir()
        for part, _ in corpus.map_documents(partial(_save_part, made, content), path):
            yield Part(made / part, name, content)


def scope_hashes(scope: pl.Series) -> NDArray[np.uint64]:
    """A hash of each value, which makes the keys of documents in different scopes different."""
    from curate.kernels.hashing import hash128
    from curate.kernels.utf8 import texts

    values = pl.select(pl.format("={}", scope.cast(pl.String))).to_series()  # null stays null, which is the empty text
    return hash128(texts(values)).low


def _scopes(task: int, sketches: Iterator[pl.DataFrame]) -> list[pl.DataFrame]:
    """The scopes of the documents of some chunks."""
    return [frame.select("chunk", "row", "scope") for frame in sketches]


def _save_part(folder: Path, content: Content, task: int, documents: Iterator[pl.DataFrame]) -> tuple[str, int]:
    """Write one part of an index; its name, and how many documents are in it."""
    name = f"part-{task:05d}.parquet"
    return name, write_part(folder / name, documents, content)
