"""Groups and pairs of similar texts: which texts may be compared, and which of them stay."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.shingle import Hashes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

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
def choose(
    ends: Ints, buckets: Ints, bucket_count: Int, starts: Ints, lengths: Ints, hashes: Hashes, threshold: Int, most: Int
) -> Chosen:
    """Walk through texts from the most to the least wanted; one stays unless it is similar to one that stays already.

    Text i is in the buckets `buckets[ends[i]:ends[i + 1]]`, and is compared with the first `most` texts of each that
    stay. So a bucket of any number of similar texts costs one comparison each.
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
    nodes = 0
    for row in range(rows):
        for place in range(ends[row], ends[row + 1]):
            node = heads[buckets[place]]
            while node >= 0:
                other = stayed[node]
                node = following[node]
                if seen[other] == row:
                    continue
                seen[other] = row
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
