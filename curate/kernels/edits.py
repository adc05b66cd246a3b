"""Edits of texts, all at once: byte ranges replaced, without making Python strings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.tokens import frozen
from curate.kernels.utf8 import Bytes, Offsets, Texts


def edited(
    given: Texts, ends: Offsets, starts: Offsets, stops: Offsets, puts: Texts
) -> tuple[Texts, NDArray[np.bool_]]:
    """The texts with byte ranges replaced, and which of them were left alone because their edits are doubtful.

    Edits of all texts stand end to end, those of text i at `ends[i]` to `ends[i + 1]`. Doubtful are edits that are not
    in order, overlap, leave the text, or begin or end inside a character.
    """
    ends, starts, stops = (frozen(array.copy()) for array in (ends, starts, stops))
    return edits_kernel(given.data, given.offsets, ends, starts, stops, puts.data, puts.offsets)


# --- kernels ----------------------------------------------------------------------------------------------------------


@kernel
def inside(data: Bytes, at: Int, end: Int) -> bool:
    """Whether a byte is not the first of a character."""
    return bool(at < end and data[at] & 0xC0 == 0x80)


@kernel
def copied(data: Bytes, at: Int, end: Int, out: Bytes, to: Int) -> Int:
    """Copy a run of bytes, and return where it ends."""
    for place in range(end - at):
        out[to + place] = data[at + place]
    return to + end - at


@kernel
def edits_kernel(
    data: Bytes,
    offsets: Offsets,
    ends: Offsets,
    starts: Offsets,
    stops: Offsets,
    puts: Bytes,
    put_offsets: Offsets,
) -> tuple[Texts, NDArray[np.bool_]]:
    """The texts after their edits."""
    rows = len(offsets) - 1
    out = np.empty(offsets[rows] - offsets[0] + put_offsets[len(put_offsets) - 1] - put_offsets[0], np.uint8)
    new_offsets, doubtful = np.zeros(rows + 1, np.int64), np.zeros(rows, np.bool_)
    to = np.int64(0)
    for row in range(rows):
        first, end = offsets[row], offsets[row + 1]
        at = first
        for edit in range(ends[row], ends[row + 1]):
            start, stop = first + starts[edit], first + stops[edit]
            if not at <= start <= stop <= end or inside(data, start, end) or inside(data, stop, end):
                doubtful[row] = True
                break
            at = stop
        at = first
        if not doubtful[row]:
            for edit in range(ends[row], ends[row + 1]):
                to = copied(data, at, first + starts[edit], out, to)
                to = copied(puts, put_offsets[edit], put_offsets[edit + 1], out, to)
                at = first + stops[edit]
        to = copied(data, at, end, out, to)
        new_offsets[row + 1] = to
    return Texts(out[:to], new_offsets), doubtful
