"""128-bit hashes of texts."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels.utf8 import Texts

DIGEST_BYTES = 16


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
