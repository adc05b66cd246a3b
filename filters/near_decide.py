"""How near-duplicates are found and chosen: keys -> buckets -> batches -> selection, each on disk in parts.

1. Keys: every document's band keys are written to partitions, with its number. Of an earlier corpus only those that a
   Bloom filter of this corpus's keys lets pass.
2. Buckets: documents that have a key in common.
3. Batches: groups of documents that buckets link, as many as fit into memory, with their shingle hashes.
4. Selection: each batch is decided alone, in order of priority, by exact similarity.

A document's number is its chunk and its row, so that numbers are in the order of the input; those of an earlier corpus
come after all of these.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.filter import Corpus
from curate.filters.keep import PLACE
from curate.filters.near_index import Content, Numbers, read_hashes, read_ids, read_signatures

if TYPE_CHECKING:
    from curate.kernels.minhash import Bands
    from curate.kernels.shingle import Unit

Places = NDArray[np.int64]

PART_BYTES = 64_000_000  # of band keys held in memory at once
EARLIER_TASKS = 64  # at most so many over the parts of earlier corpora
LEAST_PARTS = 4  # so that workers share the work on a small corpus, too
BATCH_BYTES = 64_000_000  # of shingle hashes held in memory at once, about
MOST_COMPARED = 1_000  # kept documents, and as many earlier ones, that a document is compared with in one bucket
ROW_BITS = 32  # a document's number: its chunk, then its row within the chunk
EARLIER = 1 << 63  # added to the numbers of documents of an earlier corpus: its part, then its row within the part
HASH_BYTES = {"word": 2, "char": 8}  # of shingle hashes per byte of text, at most about so many


class Part(NamedTuple):
    """A file of documents of an earlier corpus, as `write_part` makes it."""

    path: Path
    name: str  # the earlier corpus, as the pipeline names it
    content: Content


class Work(NamedTuple):
    """What every stage needs to know."""

    folder: Path
    cut: Bands
    ngram: int
    unit: Unit
    threshold: float
    earlier: tuple[Part, ...]
    between: bool = False


DECIDES: dict[str, type[pl.DataType]] = {
    "duplicate_of": pl.String,
    "similarity": pl.Float64,
    "cluster": pl.String,
    "cluster_size": pl.UInt32,
    "earlier": pl.String,
    "estimated": pl.Boolean,
}


def decide(corpus: Corpus, work: Work) -> pl.LazyFrame:
    """The columns of DECIDES for every document that is similar to another one."""
    buckets = find_buckets(corpus, work)
    if not buckets:
        return pl.LazyFrame(schema={"chunk": pl.Int64, "row": pl.Int64, **DECIDES})
    members = gather_members(corpus, work, buckets)
    batches = make_batches(corpus, work, members, buckets)
    selected = list(corpus.map(partial(select_batch, work), batches))
    return pl.scan_ipc(selected)


# --- keys and buckets -------------------------------------------------------------------------------------------------


def find_buckets(corpus: Corpus, work: Work) -> list[Path]:
    """Files of (key, number) pairs, by key, of the band keys that a document and another one have."""
    parts = max(LEAST_PARTS, -(-16 * corpus.documents() * work.cut.bands // PART_BYTES))
    paths: list[list[Path]] = [[] for _ in range(parts)]
    for task in corpus.map_sketches(partial(spread, work.folder, parts)):
        for part, path in task:
            paths[part].append(path)
    if work.earlier and any(paths):
        note_keys(work.folder / "bloom.bin", [path for some in paths for path in some])
        for task in corpus.map(partial(spread_earlier, work, parts), in_groups(len(work.earlier), EARLIER_TASKS)):
            for part, path in task:
                paths[part].append(path)
    found = corpus.map(partial(shared_keys, work.folder), [some for some in enumerate(paths) if some[1]])
    return [path for path in found if path.stat().st_size]


def spread(folder: Path, parts: int, task: int, sketches: Iterator[pl.DataFrame]) -> list[tuple[int, Path]]:
    """Write the band keys of some chunks, 16 bytes per document and band, into one file for each part."""
    return write_keys(folder, parts, f"{task:06d}", (keys_of(frame) for frame in sketches))


def keys_of(sketches: pl.DataFrame) -> Numbers:
    """The (key, number) pairs of one chunk's documents."""
    known = sketches.filter(pl.col("bands").list.len() > 0)
    keys = known["bands"].explode().to_numpy()
    return np.stack([keys, np.repeat(numbers_of(known), known["bands"].list.len().to_numpy())], axis=1)


def write_keys(folder: Path, parts: int, name: str, all_pairs: Iterable[Numbers]) -> list[tuple[int, Path]]:
    """Append pairs to the files of their parts, and return the files that were begun."""
    begun: dict[int, Path] = {}
    for pairs in all_pairs:
        part_of = (pairs[:, 0] % np.uint64(parts)).astype(np.int64)
        ordered = pairs[np.argsort(part_of, kind="stable")]
        ends = np.cumsum(np.bincount(part_of, minlength=parts))
        for part in np.flatnonzero(np.diff(ends, prepend=0)).tolist():
            path = folder / f"keys-{part:05d}-{name}.bin"
            with path.open("ab" if part in begun else "wb") as file:
                ordered[ends[part - 1] if part else 0 : ends[part]].tofile(file)
            begun[part] = path
    return sorted(begun.items())


def note_keys(target: Path, paths: Sequence[Path]) -> None:
    """Write a Bloom filter of the keys in some files: 16 bits a key, of which about one other key in 75 passes."""
    from curate.kernels.pairs import bloom_add

    keys = sum(path.stat().st_size for path in paths) // 16
    table = np.lib.format.open_memmap(target, "w+", np.uint8, (1 << max(10, int(16 * keys - 1).bit_length() - 3),))
    for path in paths:
        bloom_add(table, read_pairs(path)[:, 0].copy())
    table.flush()


def in_groups(count: int, most: int) -> list[range]:
    """The numbers below `count` in at most `most` ranges."""
    size = max(1, -(-count // most))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def spread_earlier(work: Work, parts: int, numbers: range) -> list[tuple[int, Path]]:
    """Write the band keys of some parts of earlier corpora that documents of this corpus may have, too."""
    from curate.kernels.minhash import band_keys, empty
    from curate.kernels.pairs import bloom_has

    table = np.load(work.folder / "bloom.bin", mmap_mode="r")

    def pairs() -> Iterator[Numbers]:
        for number in numbers:
            row = 0
            for scopes, signed in read_signatures(work.earlier[number].path):
                keys = band_keys(signed, work.cut) ^ scopes[:, None]
                own = np.arange(row, row + len(keys), dtype=np.uint64) | np.uint64(EARLIER | number << ROW_BITS)
                row += len(keys)
                known = ~empty(signed)
                keys, own = keys[known].reshape(-1), np.repeat(own[known], work.cut.bands)
                there = bloom_has(table, keys)
                yield np.stack([keys[there], own[there]], axis=1)

    return write_keys(work.folder, parts, f"earlier-{numbers.start:06d}", pairs())


def shared_keys(folder: Path, part: tuple[int, list[Path]]) -> Path:
    """Keep the pairs of one part whose key a document and another one have; the files it read are removed."""
    from curate.kernels.pairs import repeated, shared

    number, paths = part
    target = folder / f"buckets-{number:05d}.bin"
    if not target.exists():  # a worker that was lost may have got this far
        pairs = np.concatenate([read_pairs(path) for path in paths])
        pairs = pairs[repeated(pairs[:, 0].copy())]
        keys, numbers = pairs[:, 0].copy(), pairs[:, 1].copy()
        pairs = pairs[shared(keys, numbers, np.argsort(keys), np.uint64(EARLIER))]
        np.save(target.with_suffix(".npy"), distinct(pairs[:, 1]))
        unfinished = target.with_suffix(".part")
        pairs.tofile(unfinished)
        unfinished.rename(target)
    for path in paths:
        path.unlink(missing_ok=True)
    return target


def distinct(numbers: Numbers) -> Numbers:
    """The different numbers, sorted; np.unique hashes them, which takes twenty times as long."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def read_pairs(path: Path) -> Numbers:
    """The (key, number) pairs of a file."""
    return np.fromfile(path, np.uint64).reshape(-1, 2)


def numbers_of(frame: pl.DataFrame) -> Numbers:
    """The number of each document."""
    chunks, rows = (frame[name].to_numpy().astype(np.uint64) for name in PLACE)
    numbers: Numbers = chunks << np.uint64(ROW_BITS) | rows
    return numbers


# --- members: the documents that are in a bucket ----------------------------------------------------------------------


class Members(NamedTuple):
    """The documents that share a bucket, in the order of their numbers; their ids are in `members.arrow`."""

    numbers: Numbers
    own: int  # so many are of this corpus, the others are earlier
    order: Places  # place by priority: 0 stays if any does
    batch: Places
    batches: int


def gather_members(corpus: Corpus, work: Work, buckets: Sequence[Path]) -> Members:
    """Look the members up, put them into order, and their groups into batches that can be decided apart."""
    from curate.kernels import pairs as kernels

    folder = work.folder
    numbers = distinct(np.concatenate([np.load(path.with_suffix(".npy")) for path in buckets]))
    np.save(folder / "numbers.npy", numbers)
    parents = np.arange(len(numbers))
    for path in buckets:
        pairs = read_pairs(path)
        kernels.join_buckets(parents, pairs[:, 0].copy(), np.searchsorted(numbers, pairs[:, 1]))
    groups = kernels.roots(parents)
    own = int(np.searchsorted(numbers, np.uint64(EARLIER)))

    looked_up = [frame for task in corpus.map_sketches(partial(details, folder / "numbers.npy")) for frame in task]
    found = pl.concat(looked_up).sort(PLACE)
    ranks = [name for name in found.columns if name.startswith("rank_")]
    by_priority = found.with_row_index("at").sort(*ranks, *PLACE, nulls_last=True)["at"].to_numpy()
    order = np.arange(len(numbers)) - len(numbers)  # earlier ones come first, in the order of their numbers
    order[by_priority] = np.arange(own)

    ids = found.select(*PLACE, "id", earlier=pl.lit(None, pl.String))
    ids = pl.concat([ids, *(earlier_ids(work, number, rows) for number, rows in by_part(numbers[own:]))])
    ids.write_ipc(folder / "members.arrow")

    if work.between:
        sides = np.zeros(len(numbers), np.uint64)  # an earlier document is on a side of its own
        sides[:own] = found["between"].to_numpy()
        np.save(folder / "sides.npy", sides)

    sizes = np.full(len(numbers), 1024.0)  # of an earlier one; a few bytes more or less matter little
    sizes[:own] = found["bytes"].to_numpy() * HASH_BYTES[work.unit]
    _, group = np.unique(groups, return_inverse=True)
    of_group = np.bincount(group, sizes)
    _, batch = np.unique((np.cumsum(of_group) - of_group) // BATCH_BYTES, return_inverse=True)
    np.save(folder / "batch.npy", batch[group])
    np.save(folder / "order.npy", order)
    return Members(numbers, own, order, batch[group], int(batch[-1]) + 1)


def details(wanted: Path, task: int, sketches: Iterator[pl.DataFrame]) -> list[pl.DataFrame]:
    """The place, id, size and ranks of the wanted documents of some chunks."""
    known = np.load(wanted, mmap_mode="r")
    found = []
    for frame in sketches:
        numbers = numbers_of(frame)
        at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        found.append(
            frame.filter(pl.Series(known[at] == numbers, dtype=pl.Boolean)).drop("bands", "scope", strict=False)
        )
    return found


def by_part(numbers: Numbers) -> Iterator[tuple[int, Places]]:
    """The rows of each part of earlier corpora that has some of the numbers."""
    part = ((numbers & np.uint64(EARLIER - 1)) >> np.uint64(ROW_BITS)).astype(np.int64)
    rows = (numbers & np.uint64((1 << ROW_BITS) - 1)).astype(np.int64)
    for some in np.split(np.arange(len(part)), np.flatnonzero(np.diff(part)) + 1):
        if len(some):
            yield int(part[some[0]]), rows[some]


def earlier_ids(work: Work, number: int, rows: Places) -> pl.DataFrame:
    """The ids of some rows of a part of an earlier corpus."""
    part = work.earlier[number]
    return pl.DataFrame(
        {"chunk": None, "row": None, "id": read_ids(part.path, rows), "earlier": part.name},
        schema={"chunk": pl.Int64, "row": pl.Int64, "id": pl.String, "earlier": pl.String},
    )


# --- batches ----------------------------------------------------------------------------------------------------------


class Batch(NamedTuple):
    """The files of one batch."""

    number: int
    pairs: list[Path]
    hashes: list[Path]


def make_batches(corpus: Corpus, work: Work, members: Members, buckets: Sequence[Path]) -> list[Batch]:
    """Write the buckets and the shingle hashes of the members into the files of their batches."""
    batches = [Batch(number, [], []) for number in range(members.batches)]
    for part in corpus.map(partial(sort_buckets, work.folder), buckets):
        for number, path in part:
            batches[number].pairs.append(path)
    own = members.numbers[: members.own]
    rows = pl.DataFrame({"chunk": own >> np.uint64(ROW_BITS), "row": own & np.uint64((1 << ROW_BITS) - 1)})
    tasks = corpus.map_texts(partial(write_shingles, work), rows.cast(pl.Int64))
    earlier = corpus.map(partial(copy_shingles, work), list(by_part(members.numbers[members.own :])))
    for task in itertools.chain(tasks, earlier):
        for number, path in task:
            batches[number].hashes.append(path)
    return batches


def sort_buckets(folder: Path, path: Path) -> list[tuple[int, Path]]:
    """Write the (key, member) pairs of one part's buckets into a file for each batch; the part is removed."""
    numbers, batch = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("numbers", "batch"))
    target = path.name.removeprefix("buckets-").removesuffix(".bin")
    if path.exists():
        pairs = read_pairs(path)
        pairs[:, 1] = np.searchsorted(numbers, pairs[:, 1])
        wanted = batch[pairs[:, 1].astype(np.int64)]
        pairs = pairs[np.argsort(wanted, kind="stable")]
        ends = np.cumsum(np.bincount(wanted))
        for number in np.flatnonzero(np.diff(ends, prepend=0)).tolist():
            pairs[ends[number - 1] if number else 0 : ends[number]].tofile(folder / f"batch-{number:06d}-{target}.bin")
        path.unlink()
    return [(int(one.name[6:12]), one) for one in sorted(folder.glob(f"batch-*-{target}.bin"))]


def write_shingles(work: Work, task: int, texts: Iterator[pl.DataFrame]) -> list[tuple[int, Path]]:
    """Write the distinct shingle hashes of some documents into a file for each batch."""
    from curate.kernels.shingle import shingle_sets

    numbers = np.load(work.folder / "numbers.npy", mmap_mode="r")

    def sets() -> Iterator[tuple[Places, Numbers, Places]]:
        for frame in texts:
            found = shingle_sets(frame["text"], work.ngram, work.unit)
            yield np.searchsorted(numbers, numbers_of(frame)), found.hashes, found.offsets

    return write_hashes(work.folder, f"{task:06d}", sets())


def copy_shingles(work: Work, part: tuple[int, Places]) -> list[tuple[int, Path]]:
    """The same for some documents of an earlier corpus; signatures where it has no shingle hashes."""
    number, rows = part
    numbers = np.load(work.folder / "numbers.npy", mmap_mode="r")
    source = work.earlier[number]

    def sets() -> Iterator[tuple[Places, Numbers, Places]]:
        for some, hashes, offsets in read_hashes(source.path, rows, source.content.shingles):
            wanted = some.astype(np.uint64) | np.uint64(EARLIER | number << ROW_BITS)
            yield np.searchsorted(numbers, wanted), hashes, offsets

    return write_hashes(work.folder, f"earlier-{number:06d}", sets())


def write_hashes(folder: Path, name: str, sets: Iterator[tuple[Places, Numbers, Places]]) -> list[tuple[int, Path]]:
    """Append hashes to the files of their batches, and whose and how many they are to a file beside each."""
    from curate.kernels.pairs import gather

    batch = np.load(folder / "batch.npy", mmap_mode="r")
    begun: dict[int, Path] = {}
    for members, hashes, offsets in sets:
        of = batch[members]
        for number in np.unique(of).tolist():
            rows = np.flatnonzero(of == number)
            path = folder / f"hashes-{number:06d}-{name}.bin"
            mode = "ab" if number in begun else "wb"
            with path.open(mode) as file, path.with_suffix(".whose").open(mode) as whose:
                (hashes if len(rows) == len(of) else gather(hashes, offsets, rows)).tofile(file)
                np.stack([members[rows], np.diff(offsets)[rows]], axis=1).astype(np.int64).tofile(whose)
            begun[number] = path
    return sorted(begun.items())


# --- selection --------------------------------------------------------------------------------------------------------


def select_batch(work: Work, batch: Batch) -> Path:
    """Decide one batch, in order of priority, by the exact similarity of the documents that share a bucket."""
    from curate.kernels.minhash import affine32
    from curate.kernels.pairs import choose

    pairs = np.concatenate([read_pairs(path) for path in batch.pairs])
    whose = np.concatenate([np.fromfile(path.with_suffix(".whose"), np.int64).reshape(-1, 2) for path in batch.hashes])
    order = np.load(work.folder / "order.npy", mmap_mode="r")
    by_priority = np.argsort(order[whose[:, 0]])
    starts, lengths = (np.cumsum(whose[:, 1]) - whose[:, 1])[by_priority], whose[by_priority, 1]
    members = whose[by_priority, 0]
    by_member = np.argsort(members)
    row = by_member[np.searchsorted(members, pairs[:, 1].astype(np.int64), sorter=by_member)]
    bucket = np.searchsorted(distinct(pairs[:, 0]), pairs[:, 0])
    del pairs
    by_row = np.argsort(row, kind="stable")
    ends = np.append(0, np.cumsum(np.bincount(row, minlength=len(members))))
    known = pl.read_ipc(work.folder / "members.arrow").select(pl.all().gather(members))
    earlier = int(known["earlier"].is_not_null().sum())
    signed = known["earlier"].is_in([part.name for part in work.earlier if not part.content.shingles]).fill_null(False)
    sides = np.load(work.folder / "sides.npy")[members] if work.between else np.empty(0, np.uint64)
    chosen = choose(
        ends, bucket[by_row], int(bucket.max()) + 1, starts, lengths, load_hashes(work.folder, batch),
        earlier, signed.to_numpy(), *affine32(work.cut.permutations), work.threshold, MOST_COMPARED, sides,
    )  # fmt: skip
    size = np.bincount(chosen.cluster, minlength=len(members))[chosen.cluster]
    dropped = pl.Series(chosen.kept >= 0)
    ids = known["id"]
    found = known.select(
        *PLACE,
        duplicate_of=pl.when(dropped).then(ids.gather(chosen.kept)),
        similarity=pl.when(dropped).then(pl.Series(chosen.similarity)),
        cluster=ids.gather(chosen.cluster),
        cluster_size=pl.Series(size.astype(np.uint32)),
        earlier=pl.when(dropped).then(known["earlier"].gather(chosen.kept)),
        estimated=pl.when(dropped).then(signed.gather(chosen.kept)),
    )
    path = work.folder / f"selected-{batch.number:06d}.arrow"
    found.filter(pl.col("cluster_size") > 1, pl.col("chunk").is_not_null()).sort(PLACE).write_ipc(path)
    return path


def load_hashes(folder: Path, batch: Batch) -> Numbers:
    """The hashes of a batch; those of one very large group stay on disk and are read as they are used."""
    if sum(path.stat().st_size for path in batch.hashes) <= 2 * BATCH_BYTES:
        return np.concatenate([np.fromfile(path, np.uint64) for path in batch.hashes])
    whole = folder / f"hashes-{batch.number:06d}.bin"
    with whole.open("wb") as file:
        for path in batch.hashes:
            np.fromfile(path, np.uint64).tofile(file)
    return np.asarray(np.memmap(whole, np.uint64, "r"))
