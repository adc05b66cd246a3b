"""How documents are drawn once amounts are known: the same ones whatever the order, the chunks or the workers.

Every document has one permanent random number, a hash of seed, step and id. Within a cell all have the same rate, so
documents are taken in the order of their numbers until the cell's amount is reached; the last one is taken with the
probability of what is missing. With unequal weights the order is that of Pareto sampling (Rosen 1997, J. Statistical
Planning and Inference 62:159-191), whose inclusion probabilities are in proportion to the weights.

Nothing is sorted that does not fit in memory: counts per bucket of the order find the bucket in which each cell's last
document is, and only the documents of those buckets are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.filter import Corpus
from curate.filters.keep import PLACE

if TYPE_CHECKING:
    from curate.allocation import Floats

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Select = Literal["random", "top"]

SINGLY = 2_000_000  # documents looked at one by one, at most (a bucket that cannot be cut finer may hold more)
BUCKETS = 1 << 22  # counters of all cells together, at most
MOST_BITS = 12
CERTAIN = 1e300  # a factor that makes the chance of every document with a weight one
CAPPING = 50  # rounds of setting inclusion probabilities above one to one; each sets at least one document


class Draw(NamedTuple):
    """What the draw of every cell needs to know; arrays are by cell."""

    names: tuple[str, ...]  # columns of the sketch that make a cell
    cells: pl.DataFrame  # these columns and `cell`, its number
    seed: int
    select: Select
    weighted: bool
    times: Numbers  # copies that every document has
    rest: Floats  # the amount of further copies, one each
    last: Floats  # 0 to 1: a document that has this part of its size, or more, too much is left out
    rates: Floats  # copies of each document, on average
    factors: Floats  # weighted: inclusion probability = weight * factor, at most 1


class Cut(NamedTuple):
    """Where each cell's order is cut: the place (key, chunk, row) of the last document that is in."""

    keys: Keys
    chunks: Numbers
    rows: Numbers


def seed_of(seed: int, step: str) -> int:
    """The 64-bit seed of a step's random numbers."""
    return int.from_bytes(blake2b(f"{seed}\x1f{step}".encode(), digest_size=8).digest(), "little")


def uniform(names: Sequence[str], seed: int) -> Floats:
    """A number in (0, 1) for each name."""
    from curate.kernels.hashing import hash64
    from curate.kernels.utf8 import texts

    hashes = hash64(texts(pl.Series(list(names), dtype=pl.String)), seed)
    return np.asarray(((hashes >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53)


def whole_copies(planned: Floats, start: float) -> Numbers:
    """Whole numbers of copies for the cells in their order, each one of the two next to what is planned.

    Systematic rounding: cumulated amounts are rounded from a random start in (0, 1), so that the sum is as exact as
    can be and every cell gets its planned amount on average.
    """
    ends = np.floor(np.round(np.cumsum(planned), 6) + start).astype(np.int64)
    found = np.diff(ends, prepend=0)
    exact = np.round(planned, 6)
    whole: Numbers = np.clip(found, np.floor(exact), np.ceil(exact)).astype(np.int64)
    return whole


def counts(corpus: Corpus, names: Sequence[str]) -> pl.DataFrame:
    """Documents and amounts of every cell, in the order of the names of groups."""
    found = [frame for frame in corpus.map_sketches(partial(_count, tuple(names))) if frame.height]
    whole = pl.concat(found) if found else _count(tuple(names), 0, iter(()))
    return whole.group_by(names).agg(pl.col("documents", "amount").sum()).sort(names)


def _count(names: tuple[str, ...], task: int, sketches: Iterator[pl.DataFrame]) -> pl.DataFrame:
    schema = {**dict.fromkeys(names, pl.String), "documents": pl.Int64, "amount": pl.Int64}
    parts = [pl.DataFrame(schema=schema)]
    for frame in sketches:
        part = frame.group_by(names).agg(
            pl.len().cast(pl.Int64).alias("documents"), pl.col("size").sum().alias("amount")
        )
        parts.append(part.cast(schema))  # type: ignore[arg-type]  # a mapping of column to type
    return pl.concat(parts).group_by(names).agg(pl.col("documents", "amount").sum())


# --- keys: what comes first -------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """The documents of one frame of sketches."""

    cell: Numbers
    key: Keys
    size: Floats


def see(draw: Draw, frame: pl.DataFrame) -> Seen:
    """The cell, the key (lower comes first) and the size of each document."""
    from curate.kernels.hashing import hash64
    from curate.kernels.utf8 import texts

    joined = frame.select(*draw.names, "size").join(
        draw.cells, on=list(draw.names), how="left", nulls_equal=True, maintain_order="left"
    )
    cell = joined["cell"].to_numpy()
    key = hash64(texts(frame["id"]), draw.seed)
    if draw.weighted:
        key = _pareto(key, np.minimum(frame["order"].to_numpy() * draw.factors[cell], 1.0))
    elif draw.select == "top":
        key = _best_first(frame["order"].to_numpy()) | (key >> np.uint64(32))
    return Seen(cell, key, frame["size"].to_numpy().astype(np.float64))


def _pareto(key: Keys, chance: Floats) -> Keys:
    """Pareto's order as numbers that are spread evenly: q / (1 + q) with q = u / (1 - u) * (1 - p) / p.

    The upper half is for documents that cannot be chosen: they come last, in the order of their random numbers.
    """
    u = ((key >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
    with np.errstate(divide="ignore", invalid="ignore"):
        q = u / (1 - u) * ((1 - chance) / chance)
        spread = np.where(np.isinf(q), 1.0, q / (1 + q))
    some = chance > 0
    upper = (np.where(some, spread, 0.0) * (2**52 - 1)).astype(np.uint64) << np.uint64(11)
    return np.where(some, upper | (key & np.uint64(2**11 - 1)), key >> np.uint64(1) | np.uint64(2**63))


def _best_first(scores: Floats) -> Keys:
    """The upper half of a key: the highest score first (as a 32-bit float), unknown ones last."""
    bits = scores.astype(np.float32).view(np.uint32)
    rising = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    first = np.where(np.isnan(scores), np.uint32(0xFFFFFFFF), ~rising)
    return first.astype(np.uint64) << np.uint64(32)


# --- the cut ----------------------------------------------------------------------------------------------------------


def find_factors(corpus: Corpus, draw: Draw) -> Floats:
    """The factors of a weighted draw: probabilities add up to what is wanted, those above one are one."""
    factors, capped = np.zeros(len(draw.rest)), np.full(len(draw.rest), -1.0)
    for _ in range(CAPPING):
        free, now_capped = sum(
            corpus.map_sketches(partial(_weigh, draw._replace(factors=factors))), np.zeros((2, len(factors)))
        )
        if np.array_equal(now_capped, capped):
            break
        capped = now_capped
        factors = np.divide(np.maximum(draw.rest - capped, 0), free, out=np.full(len(free), CERTAIN), where=free > 0)
    return factors


def _weigh(draw: Draw, task: int, sketches: Iterator[pl.DataFrame]) -> NDArray[np.float64]:
    """By cell: weight times size of the documents whose probability is below one, and the size of the others."""
    found = np.zeros((2, len(draw.rest)))
    for frame in sketches:
        joined = frame.select(*draw.names, "size", "order").join(
            draw.cells, on=list(draw.names), how="left", nulls_equal=True, maintain_order="left"
        )
        cell, size, weight = (joined[name].to_numpy() for name in ("cell", "size", "order"))
        full = weight * draw.factors[cell] >= 1
        found[0] += np.bincount(cell, np.where(full, 0, weight * size), minlength=len(draw.rest))
        found[1] += np.bincount(cell, np.where(full, size, 0), minlength=len(draw.rest))
    return found


class Pending(NamedTuple):
    """The bucket of each cell in which its cut is: keys whose upper bits are `prefix`, and the amount left for it."""

    prefix: Keys
    bits: int  # upper bits that are known
    left: Floats


def find_cut(corpus: Corpus, draw: Draw, documents: int) -> Cut:
    """Find the last document of every cell."""
    cells = len(draw.rest)
    pending = Pending(np.zeros(cells, np.uint64), 0, draw.rest.copy())
    step = max(1, min(MOST_BITS, int(np.log2(max(2, BUCKETS // max(cells, 1))))))
    while documents > SINGLY and pending.bits + step <= 64:
        work = partial(_histogram, draw, pending, step)
        parts = [part for part in corpus.map_sketches(work) if part.height]
        whole = pl.concat(parts).group_by("cell", "bucket").agg(pl.col("documents", "amount").sum())
        pending, documents = _narrow(pending, step, whole.sort("cell", "bucket"))
    rest = [part for part in corpus.map_sketches(partial(_singly, draw, pending)) if part.height]
    start = pending.prefix << np.uint64(64 - pending.bits) if pending.bits else pending.prefix
    cut = Cut(start.copy(), np.full(cells, -1), np.full(cells, -1))
    if rest:
        _cut_singly(draw, pending, pl.concat(rest).sort("cell", "key", *PLACE), cut)
    return cut


def _pending(draw: Draw, pending: Pending, frame: pl.DataFrame) -> tuple[Seen, NDArray[np.bool_]]:
    seen = see(draw, frame)
    here = draw.rest[seen.cell] > 0
    if pending.bits:
        here &= (seen.key >> np.uint64(64 - pending.bits)) == pending.prefix[seen.cell]
    return seen, here


def _histogram(draw: Draw, pending: Pending, step: int, task: int, sketches: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """Documents and amounts by cell and bucket, of the documents in each cell's pending bucket."""
    width = 1 << step
    found = np.zeros((2, len(draw.rest) * width))
    for frame in sketches:
        seen, here = _pending(draw, pending, frame)
        bucket = (seen.key[here] >> np.uint64(64 - pending.bits - step)) & np.uint64(width - 1)
        place = seen.cell[here] * width + bucket.astype(np.int64)
        found[0] += np.bincount(place, minlength=found.shape[1])
        found[1] += np.bincount(place, seen.size[here], minlength=found.shape[1])
    some = np.flatnonzero(found[0])
    return pl.DataFrame(
        {"cell": some // width, "bucket": some % width, "documents": found[0][some], "amount": found[1][some]}
    )


def _narrow(pending: Pending, step: int, whole: pl.DataFrame) -> tuple[Pending, int]:
    """The bucket in which each cell's amount is reached, what is left for it, and the documents in all of these."""
    before = pl.col("amount").cum_sum().over("cell") - pl.col("amount")
    left = pl.Series("left", pending.left[whole["cell"].to_numpy()])
    reached = whole.with_columns(left).with_columns(left=pl.col("left") - before)
    last = reached.filter(pl.col("left") > 0).group_by("cell", maintain_order=True).last()
    cell, bucket = last["cell"].to_numpy(), last["bucket"].to_numpy().astype(np.uint64)
    prefix, amounts = pending.prefix << np.uint64(step), np.zeros(len(pending.left))
    prefix[cell] |= bucket
    amounts[cell] = last["left"].to_numpy()
    return Pending(prefix, pending.bits + step, amounts), int(last["documents"].sum())


def _singly(draw: Draw, pending: Pending, task: int, sketches: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """The documents of the pending buckets."""
    parts = []
    for frame in sketches:
        seen, here = _pending(draw, pending, frame)
        columns = {"cell": seen.cell[here], "key": seen.key[here], "size": seen.size[here]}
        parts.append(frame.select(PLACE).filter(pl.Series(here)).with_columns(pl.DataFrame(columns).get_columns()))
    return pl.concat(parts) if parts else pl.DataFrame(schema={"cell": pl.Int64})


def _cut_singly(draw: Draw, pending: Pending, documents: pl.DataFrame, cut: Cut) -> None:
    """Take documents in their order while there is room; the last one may stick out by a random part of its size."""
    before = (pl.col("size").cum_sum().over("cell") - pl.col("size")).alias("before")
    cell = documents["cell"].to_numpy()
    room = pending.left[cell] - documents.select(before).to_series().to_numpy()
    size = documents["size"].to_numpy()
    taken = room > draw.last[cell] * size + 1e-9 * np.maximum(pending.left[cell], 1)
    taken |= (size == 0) & (room > 0)
    last = documents.filter(pl.Series(taken)).group_by("cell", maintain_order=True).last()
    at = last["cell"].to_numpy()
    cut.keys[at] = last["key"].to_numpy()
    cut.chunks[at], cut.rows[at] = last["chunk"].to_numpy(), last["row"].to_numpy()


# --- the result -------------------------------------------------------------------------------------------------------


def copies_of(draw: Draw, cut: Cut, frame: pl.DataFrame) -> tuple[Numbers, Seen]:
    """How often each document is in."""
    seen = see(draw, frame)
    keys, chunks, rows = cut.keys[seen.cell], cut.chunks[seen.cell], cut.rows[seen.cell]
    chunk, row = frame["chunk"].to_numpy(), frame["row"].to_numpy()
    same = seen.key == keys
    extra = (seen.key < keys) | (same & ((chunk < chunks) | ((chunk == chunks) & (row <= rows))))
    return draw.times[seen.cell] + (extra & (draw.rest[seen.cell] > 0)), seen


def write_copies(draw: Draw, cut: Cut, folder: Path, tokens: bool, task: int, sketches: Iterator[pl.DataFrame]) -> Path:
    """Write the decision about the documents of some chunks, and return the file."""
    parts = []
    groups = draw.cells.select(pl.concat_list(draw.names).alias("cell")).to_series()
    for frame in sketches:
        copies, seen = copies_of(draw, cut, frame)
        columns = [
            pl.Series("copies", copies, dtype=pl.UInt16),
            pl.Series("size", frame["size"], dtype=pl.Int64),
            pl.Series("rate", draw.rates[seen.cell], dtype=pl.Float64),
            groups.gather(seen.cell),
        ]
        if tokens:
            columns.append(frame["size"].cast(pl.Int64).alias("tokens"))
        parts.append(frame.select(PLACE).hstack(columns))
    path = folder / f"copies-{task:05d}.arrow"
    if parts:
        pl.concat(parts).write_ipc(path)
    return path
