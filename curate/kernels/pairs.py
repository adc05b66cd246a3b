"""Groups and pairs of similar texts: which keys are shared, which texts may be compared, and which of them stay."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.minhash import EMPTY, Signatures, permute
from curate.kernels.shingle import Hashes
from curate.kernels.utf8 import Bytes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BLOOM_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: mixes all bits into the upper ones
BLOOM_SHIFT, THREE, SEVEN = np.uint64(20), np.uint64(3), np.uint64(7)
FEW = 32  # members that are sorted by insertion
LOOK = 64  # steps of an intersection between two looks at whether the threshold can still be reached


class Chosen(NamedTuple):
    """For each text: the kept text that replaces it (-1 when it stays), their similarity, the first of its cluster."""

    kept: Ints
    similarity: Floats
    cluster: Ints


@kernel
def root_of(parents: Ints, member: Int) -> Int:
    """The representative of a member's group; paths are halved on the way."""
    while parents[member] != member:
        parents[member] = parents[parents[member]]
        member = parents[member]
    return member


@kernel
def join(parents: Ints, one: Int, other: Int) -> None:
    """Make one group of two; its representative is the first of all its members."""
    one, other = root_of(parents, one), root_of(parents, other)
    if one < other:
        parents[other] = one
    else:
        parents[one] = other


@kernel
def join_buckets(parents: Ints, keys: Hashes, members: Ints) -> None:
    """Join the members of each run of equal keys."""
    for place in range(1, len(keys)):
        if keys[place] == keys[place - 1]:
            join(parents, members[place], members[place - 1])


@kernel
def roots(parents: Ints) -> Ints:
    """The representative of every member."""
    out = np.empty(len(parents), np.int64)
    for member in range(len(parents)):
        out[member] = root_of(parents, member)
    return out


@kernel
def jaccard(hashes: Hashes, start: Int, length: Int, other_start: Int, other_length: Int, threshold: Int) -> float:
    """The Jaccard similarity of two sorted sets of hashes, or -1 when it is below the threshold."""
    if length == 0 or other_length == 0:
        return -1.0
    needed = threshold * (length + other_length) / (1 + threshold) - 1e-6 * (length + other_length)
    end, other_end = start + length, other_start + other_length
    common = 0
    while start < end and other_start < other_end:
        if common + min(end - start, other_end - other_start) < needed:
            return -1.0
        for _ in range(min(LOOK, end - start, other_end - other_start)):  # cannot run past either end
            one, other = hashes[start], hashes[other_start]
            common += 1 if one == other else 0
            start += 1 if one <= other else 0
            other_start += 1 if other <= one else 0
    similarity = common / (length + other_length - common)
    return similarity if similarity >= threshold else -1.0


@kernel
def estimate(own: Signatures, hashes: Hashes, start: Int, length: Int) -> float:
    """The share of equal numbers in two signatures, which estimates Jaccard similarity; one is among the hashes."""
    equal: Int = 0
    for place in range(length):
        equal += np.uint64(own[place]) == hashes[start + place]
    return float(equal / length)


@kernel
def choose(
    ends: Ints,
    buckets: Ints,
    bucket_count: Int,
    starts: Ints,
    lengths: Ints,
    hashes: Hashes,
    earlier: Int,
    signed: Flags,
    factors: Signatures,
    summands: Signatures,
    threshold: Int,
    most: Int,
    sides: Hashes,
) -> Chosen:
    """Walk through texts from the most to the least wanted; one stays unless it is similar to one that stays already.

    Text i is in the buckets `buckets[ends[i]:ends[i + 1]]`, and is compared with the first `most` texts of each that
    stay. So a bucket of any number of similar texts costs one comparison each. The first `earlier` texts are those of
    an earlier corpus: they stay, and as many of them beside the others are compared. Of a `signed` one only the
    signature is known, so that its similarity is an estimate. Where `sides` has a number for each text, only texts of
    different sides are compared.
    """
    rows = len(starts)
    kept = np.full(rows, -1, np.int64)
    similarity = np.zeros(rows)
    parents = np.arange(rows)
    seen = np.full(rows, -1, np.int64)
    heads = np.full(bucket_count, -1, np.int64)  # linked lists of the texts that stay, newest first
    counts = np.zeros(bucket_count, np.int64)
    following = np.empty(len(buckets), np.int64)
    stayed = np.empty(len(buckets), np.int64)
    own = np.empty(len(factors), np.uint32)
    nodes = 0
    for row in range(rows):
        if row == earlier:
            counts[:] = 0  # from here on texts of this corpus are counted
        own_known = False
        for place in range(ends[row], ends[row + 1] if row >= earlier else ends[row]):
            node = heads[buckets[place]]
            while node >= 0:
                other = stayed[node]
                node = following[node]
                if seen[other] == row:
                    continue
                seen[other] = row
                if len(sides) > 0 and sides[other] == sides[row]:
                    continue
                if signed[other]:
                    if not own_known:
                        own[:] = EMPTY
                        permute(hashes[starts[row] : starts[row] + lengths[row]], lengths[row], factors, summands, own)
                        own_known = True
                    found = estimate(own, hashes, starts[other], lengths[other])
                    found = found if found >= threshold else -1.0
                else:
                    found = jaccard(hashes, starts[row], lengths[row], starts[other], lengths[other], threshold)
                if found < 0:
                    continue
                join(parents, row, other)
                if found > similarity[row] or (found == similarity[row] and other < kept[row]):
                    kept[row], similarity[row] = other, found
        if kept[row] >= 0:
            continue
        for place in range(ends[row], ends[row + 1]):
            bucket = buckets[place]
            if counts[bucket] < most:
                stayed[nodes], following[nodes] = row, heads[bucket]
                heads[bucket] = nodes
                counts[bucket] += 1
                nodes += 1
    return Chosen(kept, similarity, roots(parents))


@kernel
def gather(hashes: Hashes, offsets: Ints, rows: Ints) -> Hashes:
    """The hashes of some rows, end to end."""
    total: Int = 0
    for row in rows:
        total += offsets[row + 1] - offsets[row]
    out = np.empty(total, np.uint64)
    to = 0
    for row in rows:
        length = offsets[row + 1] - offsets[row]
        out[to : to + length] = hashes[offsets[row] : offsets[row + 1]]
        to += length
    return out


# --- keys -------------------------------------------------------------------------------------------------------------


@inlined
def slot_of(key: Int, bits: Int) -> Int:
    """A place in a table of 2^bits for a key, from its upper bits: a part has keys with the same lower ones."""
    return np.int64(key >> np.uint64(64 - bits))


@kernel
def repeated(keys: Hashes) -> Flags:
    """Which keys may occur more than once: all that do, and some that share their place in a table with another."""
    bits = 10
    while np.int64(1) << bits < 4 * len(keys):
        bits += 1
    counts = np.zeros(1 << bits, np.uint8)
    for key in keys:
        at = slot_of(key, bits)
        counts[at] += 1 if counts[at] < 2 else 0
    out = np.empty(len(keys), np.bool_)
    for place in range(len(keys)):
        out[place] = counts[slot_of(keys[place], bits)] > 1
    return out


@inlined
def insertion_sort(run: Ints, numbers: Hashes) -> None:
    """Sort a few places by their numbers."""
    for place in range(1, len(run)):
        value = run[place]
        at = place
        while at > 0 and numbers[run[at - 1]] > numbers[value]:
            run[at] = run[at - 1]
            at -= 1
        run[at] = value


@kernel
def heap_sort(run: Ints, numbers: Hashes) -> None:
    """Sort many places by their numbers, in n log n steps whatever their order; NumPy's sort takes 5 s to compile."""
    size = len(run)
    for start in range(size // 2 - 1, -size, -1):  # first make a heap, then take the largest off it, one by one
        end = size if start >= 0 else size + start
        if start < 0:
            run[0], run[end] = run[end], run[0]
        at = max(start, 0)
        value = run[at]
        child = 2 * at + 1
        while child < end:
            if child + 1 < end and numbers[run[child + 1]] > numbers[run[child]]:
                child += 1
            if numbers[run[child]] <= numbers[value]:
                break
            run[at] = run[child]
            at = child
            child = 2 * at + 1
        run[at] = value


@kernel
def shared(keys: Hashes, numbers: Hashes, order: Ints, first_earlier: Int) -> Ints:
    """The places of pairs (key, number) whose key another pair has too, by key, then number.

    `order` sorts the keys, and is changed. Keys that only numbers from `first_earlier` on have are left out.
    """
    out = np.empty(len(order), np.int64)
    to = 0
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and keys[order[end]] == keys[order[start]]:
            end += 1
        if end - start > 1:
            run = order[start:end]
            if end - start > FEW:
                heap_sort(run, numbers)
            else:
                insertion_sort(run, numbers)
            if numbers[run[0]] < first_earlier:
                for place in run:
                    out[to] = place
                    to += 1
        start = end
    return out[:to]


@kernel
def bloom_add(table: Bytes, keys: Hashes) -> None:
    """Note keys in a Bloom filter whose size in bits is a power of two."""
    mask = np.uint64(len(table) * 8 - 1)
    for key in keys:
        for value in (key, key * BLOOM_FACTOR >> BLOOM_SHIFT):
            table[np.int64((value & mask) >> THREE)] |= np.uint8(1) << np.uint8(value & SEVEN)


@kernel
def bloom_has(table: Bytes, keys: Hashes) -> Flags:
    """Which keys may be in a Bloom filter: all that are, and a few others."""
    mask = np.uint64(len(table) * 8 - 1)
    out = np.ones(len(keys), np.bool_)
    for place in range(len(keys)):
        key = keys[place]
        for value in (key, key * BLOOM_FACTOR >> BLOOM_SHIFT):
            out[place] &= table[np.int64((value & mask) >> THREE)] >> np.uint8(value & SEVEN) & np.uint8(1) == 1
    return out


@kernel
def row_jaccards(hashes: Hashes, ends: Ints, others: Hashes, other_ends: Ints) -> Floats:
    """The Jaccard similarity of two sorted sets of hashes by row; NaN where both are empty."""
    out = np.full(len(ends) - 1, np.nan)
    for row in range(len(out)):
        at, end = ends[row], ends[row + 1]
        other, other_end = other_ends[row], other_ends[row + 1]
        whole = end - at + other_end - other
        common: Int = 0
        while at < end and other < other_end:
            one, two = hashes[at], others[other]
            common += 1 if one == two else 0
            at += 1 if one <= two else 0
            other += 1 if two <= one else 0
        if whole > 0:
            out[row] = common / (whole - common)
    return out
