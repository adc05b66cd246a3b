"""Drop documents that are nearly the same as another one that is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curate.filter import Corpus, CorpusFilter
from curate.filters.exact import PLACE, ExactDuplicates, ranks_of

if TYPE_CHECKING:
    from curate.kernels.minhash import Bands

Order = Literal["highest", "lowest"]
Priority = Literal["earliest", "longest"] | dict[str, Order | tuple[str | int | float | bool, ...]]
Numbers = NDArray[np.uint64]
Places = NDArray[np.int64]

PART_BYTES = 64_000_000  # of band keys held in memory at once
BATCH_BYTES = 64_000_000  # of shingle hashes held in memory at once
MOST_COMPARED = 1_000  # kept documents that a document is compared with in one bucket
ROW_BITS = 32  # a document's number: its chunk, then its row within the chunk
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
    scope: str | None = Field(
        default=None,
        description=(
            "only documents with the same value of this column (an input column, or `step.score`) are compared; "
            "a missing value is a value of its own"
        ),
    )
    keep: tuple[Priority, ...] = Field(
        default=("earliest",),
        min_length=1,
        description=(
            "which of similar documents stays, most important first: `earliest` in the input, `longest` in UTF-8 "
            "bytes, `{column: [best, next, ...]}`, `{column: highest}` or `{column: lowest}`; what is still equal goes "
            "to the earliest"
        ),
    )

    @field_validator("keep", mode="before")
    @classmethod
    def _plain_words(cls, keep: Any) -> Any:
        return ExactDuplicates._plain_words(keep)

    def bands(self) -> Bands:
        """How signatures are cut, and with `.found(similarity)` the probability that a pair is found."""
        from curate.kernels.minhash import choose_bands

        return choose_bands(self.threshold, self.recall)

    def reads(self) -> tuple[str, ...]:
        """The scores of earlier steps among the columns of `scope` and `keep`."""
        columns = [] if self.scope is None else [self.scope]
        columns += [column for entry in self.keep if isinstance(entry, dict) for column in entry]
        return tuple(dict.fromkeys(column for column in columns if "." in column))

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """The keys of each document's bands (null without a word), and its rank for each priority, lower is better."""
        from curate.kernels.minhash import band_keys, empty, signatures

        cut = self.bands()
        found = signatures(docs["text"], cut.permutations, ngram=self.ngram, unit=self.unit, first=cut.bands * cut.rows)
        keys = band_keys(found, cut)
        if self.scope is not None:
            keys = within(keys, docs[self.scope])
        lists = pl.Series("bands", keys, pl.Array(pl.UInt64, cut.bands)).arr.to_list()
        comparable = pl.Series(~empty(found), dtype=pl.Boolean)
        bands = pl.select(pl.when(comparable).then(lists).alias("bands"))
        return bands.hstack(docs.select(rank.alias(f"rank_{place}") for place, rank in enumerate(ranks(self.keep))))

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """`duplicate_of` and `similarity` of the documents that another replaces; clusters of all that have one."""
        folder = corpus.scratch / "near"
        folder.mkdir(parents=True, exist_ok=True)
        buckets = find_buckets(corpus, folder)
        if not buckets:
            return pl.LazyFrame(schema={"chunk": pl.Int64, "row": pl.Int64, **self.decides()})
        batches, ids = make_batches(corpus, self, buckets, folder)
        select = partial(select_batch, threshold=self.threshold, folder=folder)
        return pl.scan_ipc([named(path, ids) for path in corpus.map(select, range(batches))])

    def decides(self) -> dict[str, type[pl.DataType]]:
        """The columns of `decide`."""
        return {
            "duplicate_of": pl.String,
            "similarity": pl.Float64,
            "cluster": pl.String,
            "cluster_size": pl.UInt32,
        }

    def drop_when(self) -> dict[str, pl.Expr]:
        """`near_duplicate`: a document that is similar enough stays."""
        return {"near_duplicate": pl.col("duplicate_of").is_not_null()}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`largest_clusters`: the 20 largest, by their first document; `similarity`: how many were dropped at which."""
        clusters = ledger.filter(pl.col("cluster_size").is_not_null()).select("cluster", "cluster_size").unique()
        dropped = ledger.filter(pl.col("rule").eq_missing("near_duplicate"), pl.col("similarity").is_not_null())
        lowest = (pl.col("similarity") / HISTOGRAM_STEP + 1e-9).floor() * HISTOGRAM_STEP
        largest = clusters.sort("cluster_size", "cluster", descending=[True, False]).head(20)
        histogram = dropped.group_by(at_least=lowest.round(2)).agg(documents=pl.len()).sort("at_least")
        return {"largest_clusters": largest.collect(), "similarity": histogram.collect()}


def ranks(keep: Iterable[Priority]) -> Iterator[pl.Expr]:
    """One expression per priority, lower is better and null is worst; `earliest` needs none."""
    for entry in keep:
        if not isinstance(entry, dict):
            yield from ranks_of([entry])
            continue
        for column, order in entry.items():
            if isinstance(order, tuple):
                yield from ranks_of([{column: order}])
            else:
                value = pl.col(column).cast(pl.Float64).fill_nan(None)
                value = pl.when(value.is_finite()).then(value)
                yield -value if order == "highest" else value


def within(keys: Numbers, scope: pl.Series) -> Numbers:
    """The keys of documents in different scopes made different."""
    from curate.kernels.hashing import hash128
    from curate.kernels.utf8 import texts

    values = pl.select(pl.format("={}", scope.cast(pl.String))).to_series()  # null stays null, which is the empty text
    return keys ^ hash128(texts(values)).low[:, None]


# --- buckets: documents with an equal band ----------------------------------------------------------------------------


def find_buckets(corpus: Corpus, folder: Path) -> list[Path]:
    """Files of (key, document) pairs, sorted, of the band keys that more than one document has."""
    parts = max(1, -(-2 * corpus.sketch_bytes() // PART_BYTES))
    paths: list[list[Path]] = [[] for _ in range(parts)]
    for written in corpus.map_sketches(partial(spread, parts=parts, folder=folder)):
        for part, path in written:
            paths[part].append(path)
    found = corpus.map(partial(shared_keys, folder=folder), [some for some in enumerate(paths) if some[1]])
    return [path for path in found if path.stat().st_size]


def spread(sketches: pl.DataFrame, parts: int, folder: Path) -> list[tuple[int, Path]]:
    """Write the band keys of one chunk, 16 bytes per document and band, into one file for each part."""
    known = sketches.filter(pl.col("bands").list.len() > 0)
    if known.is_empty():
        return []
    pairs = np.empty((int(known["bands"].list.len().sum()), 2), np.uint64)
    pairs[:, 0] = known["bands"].explode().to_numpy()
    pairs[:, 1] = np.repeat(numbers_of(known), known["bands"].list.len().to_numpy())
    part_of = pairs[:, 0] % np.uint64(parts)
    written = []
    for part in range(parts):
        path = folder / f"keys-{known['chunk'][0]:06d}-{part:05d}.bin"
        pairs[part_of == part].tofile(path)
        written.append((part, path))
    return written


def shared_keys(part: tuple[int, list[Path]], folder: Path) -> Path:
    """Keep the keys of one part that more than one document has; the files it read are removed."""
    number, paths = part
    target = folder / f"buckets-{number:05d}.bin"
    if not target.exists():  # a worker that was lost may have got this far
        pairs = np.concatenate([read_pairs(path) for path in paths])
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        equal = pairs[1:, 0] == pairs[:-1, 0]
        pairs = pairs[np.append(False, equal) | np.append(equal, False)]
        unfinished = target.with_suffix(".part")
        pairs.tofile(unfinished)
        unfinished.rename(target)
    for path in paths:
        path.unlink(missing_ok=True)
    return target


def read_pairs(path: Path) -> Numbers:
    """The (key, document) pairs of a file."""
    return np.fromfile(path, np.uint64).reshape(-1, 2)


def numbers_of(frame: pl.DataFrame) -> Numbers:
    """The number of each document; numbers are in the order of the input."""
    chunks, rows = (frame[name].to_numpy().astype(np.uint64) for name in PLACE)
    numbers: Numbers = chunks << np.uint64(ROW_BITS) | rows
    return numbers


# --- batches: groups of documents that buckets link -------------------------------------------------------------------


class Members(NamedTuple):
    """What is known of each document that has a bucket in common with another, in the order of their numbers."""

    starts: Places  # where its shingle hashes start in the file of shingles
    lengths: Places
    order: Places  # its place by priority: 0 stays if any does


def make_batches(corpus: Corpus, filter: NearDuplicates, buckets: list[Path], folder: Path) -> tuple[int, pl.DataFrame]:
    """Sort the buckets into batches that can be decided apart; return how many, and the documents' places and ids."""
    from curate.kernels import pairs as kernels

    numbers = np.zeros(0, np.uint64)
    for path in buckets:
        numbers = np.union1d(numbers, read_pairs(path)[:, 1])
    np.save(folder / "numbers.npy", numbers)
    parents = np.arange(len(numbers))
    for path in buckets:
        pairs = read_pairs(path)
        kernels.join_buckets(parents, pairs[:, 0].copy(), np.searchsorted(numbers, pairs[:, 1]))
    groups = kernels.roots(parents)

    frames = corpus.map_sketches(partial(details, wanted=folder / "numbers.npy"))
    members = pl.concat([frame for frame in frames if frame.height]).sort(PLACE)
    rank_columns = [name for name in members.columns if name.startswith("rank_")]
    by_priority = members.with_row_index("at").sort(*rank_columns, *PLACE, nulls_last=True)["at"].to_numpy()
    order = np.empty(len(numbers), np.int64)
    order[by_priority] = np.arange(len(numbers))
    starts, lengths = write_shingles(corpus, filter, members.select(PLACE), numbers, folder / "shingles.bin")
    for name, values in Members(starts, lengths, order)._asdict().items():
        np.save(folder / f"{name}.npy", values)

    _, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group, lengths) * 8
    _, batch_of_group = np.unique((np.cumsum(sizes) - sizes) // BATCH_BYTES, return_inverse=True)
    batch = batch_of_group[group]
    for path in buckets:
        pairs = read_pairs(path)
        pairs[:, 1] = np.searchsorted(numbers, pairs[:, 1])
        wanted = batch[pairs[:, 1].astype(np.int64)]
        pairs = pairs[np.argsort(wanted, kind="stable")]
        cuts = np.searchsorted(np.sort(wanted), np.arange(batch_of_group[-1] + 2))
        for number in np.flatnonzero(np.diff(cuts)):
            with (folder / f"batch-{number:05d}.bin").open("ab") as file:
                pairs[cuts[number] : cuts[number + 1]].tofile(file)
        path.unlink()
    return int(batch_of_group[-1]) + 1, members.select(*PLACE, "id")


def details(sketches: pl.DataFrame, wanted: Path) -> pl.DataFrame:
    """The place, id and ranks of the wanted documents of one chunk."""
    numbers = numbers_of(sketches)
    known = np.load(wanted, mmap_mode="r")
    at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    return sketches.filter(pl.Series(known[at] == numbers, dtype=pl.Boolean)).drop("bands")


def write_shingles(
    corpus: Corpus, filter: NearDuplicates, rows: pl.DataFrame, numbers: Numbers, path: Path
) -> tuple[Places, Places]:
    """Write the distinct shingle hashes of the documents' texts to a file; return where each starts and how many."""
    from curate.kernels.shingle import shingle_sets

    starts, lengths = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
    written = 0
    with path.open("wb") as file:
        for batch in corpus.texts(rows):
            sets = shingle_sets(batch["text"], filter.ngram, filter.unit)
            at = np.searchsorted(numbers, numbers_of(batch))
            starts[at] = sets.offsets[:-1] + written
            lengths[at] = np.diff(sets.offsets)
            sets.hashes.tofile(file)
            written += len(sets.hashes)
    return starts, lengths


# --- selection --------------------------------------------------------------------------------------------------------


def select_batch(number: int, threshold: float, folder: Path) -> Path:
    """Decide one batch, in order of priority, by the exact similarity of the documents that share a bucket."""
    from curate.kernels.pairs import choose

    pairs = read_pairs(folder / f"batch-{number:05d}.bin")
    of_pair = pairs[:, 1].astype(np.int64)
    all_members = Members(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in Members._fields))
    members = np.unique(of_pair)
    members = members[np.argsort(all_members.order[members])]
    local = np.empty(len(members), np.int64)
    local[np.argsort(members)] = np.arange(len(members))
    row = np.argsort(members)[np.searchsorted(np.sort(members), of_pair)]
    _, bucket = np.unique(pairs[:, 0], return_inverse=True)
    by_row = np.argsort(row, kind="stable")
    ends = np.searchsorted(row[by_row], np.arange(len(members) + 1))
    starts, lengths, hashes = load_shingles(folder / "shingles.bin", all_members, members)
    chosen = choose(ends, bucket[by_row], int(bucket.max()) + 1, starts, lengths, hashes, threshold, MOST_COMPARED)
    size = np.bincount(chosen.cluster, minlength=len(members))[chosen.cluster]
    found = pl.DataFrame(
        {
            "member": members,
            "kept": members[chosen.kept],
            "dropped": chosen.kept >= 0,
            "similarity": chosen.similarity,
            "cluster": members[chosen.cluster],
            "cluster_size": size.astype(np.uint32),
        }
    ).filter(pl.col("cluster_size") > 1)
    path = folder / f"selected-{number:05d}.arrow"
    found.write_ipc(path)
    return path


def load_shingles(path: Path, all_members: Members, members: Places) -> tuple[Places, Places, Numbers]:
    """The shingle hashes of some documents; those of a very large group stay on disk and are read as they are used."""
    starts, lengths = np.asarray(all_members.starts[members]), np.asarray(all_members.lengths[members])
    total = int(lengths.sum())
    if total * 8 > 2 * BATCH_BYTES:
        return starts, lengths, np.asarray(np.memmap(path, np.uint64, "r"))
    hashes = np.empty(total, np.uint64)
    own = np.cumsum(lengths) - lengths
    with path.open("rb", buffering=0) as file:
        for place in np.argsort(starts):
            file.seek(int(starts[place]) * 8)
            file.readinto(hashes[own[place] : own[place] + lengths[place]].data)
    return own, lengths, hashes


def named(path: Path, ids: pl.DataFrame) -> Path:
    """Put places and ids where a file of decisions has positions among the members."""
    found = pl.read_ipc(path)
    own = ids.select(pl.all().gather(found["member"]))
    target = path.with_name(f"decided-{path.name}")
    own.select(
        *PLACE,
        duplicate_of=pl.when(found["dropped"]).then(ids["id"].gather(found["kept"])),
        similarity=pl.when(found["dropped"]).then(found["similarity"]),
        cluster=ids["id"].gather(found["cluster"]),
        cluster_size=found["cluster_size"],
    ).sort(PLACE).write_ipc(target)
    return target
