"""Hashes of texts: 128 bits that nobody can forge, and 64 bits that are fast."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.shingle import FACTOR, SHIFT, fmix
from curate.kernels.utf8 import Bytes, Offsets, Texts

DIGEST_BYTES = 16
EIGHT, FULL = np.uint64(8), np.uint64(64)


class Hashes(NamedTuple):
    """The two halves of each text's hash."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]


def hash128(given: Texts) -> Hashes:
    """BLAKE2b with a 16-byte digest of each text's bytes, read as two big-endian numbers.

    BLAKE2b (RFC 7693) is the same on every machine and in every version, and nobody knows how to make two texts with
    the same hash: with faster hashes an author could have someone else's page dropped as a duplicate.
    """
    bytes_of = given.data.data
    digests = b"".join(
        blake2b(bytes_of[start:end], digest_size=DIGEST_BYTES).digest()
        for start, end in pairwise(given.offsets.tolist())
    )
    halves = np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
    return Hashes(halves[:, 0].copy(), halves[:, 1].copy())


def hash64(given: Texts, seed: int = 0) -> NDArray[np.uint64]:
    """A fast 64-bit hash of each text's bytes: the same on every machine and in every version, easy to forge.

    Eight bytes at a time (little-endian, zeros at the end) go through MurmurHash3's finalizer, after the length.
    """
    return hash64_kernel(given.data, given.offsets, np.uint64(seed))


@kernel
def hash64_kernel(data: Bytes, offsets: Offsets, seed: Int) -> NDArray[np.uint64]:
    """The hash of each text."""
    out = np.empty(len(offsets) - 1, np.uint64)
    for row in range(len(out)):
        value = fmix(seed ^ np.uint64(offsets[row + 1] - offsets[row]) * FACTOR)
        word: Int = np.uint64(0)
        filled: Int = np.uint64(0)
        for at in range(offsets[row], offsets[row + 1]):
            word |= np.uint64(data[at]) << filled
            filled += EIGHT
            if filled == FULL:
                value = fmix(value ^ word)
                word = np.uint64(0)
                filled = np.uint64(0)
        out[row] = fmix(value ^ word ^ SHIFT)
    return out
