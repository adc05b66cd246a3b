"""Runs of bytes read eight at a time: where lines end, hashes that tell runs apart, and texts that are the same.

The hashes serve to compare runs within one call; they differ between kinds of machine, and nothing stores them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from curate.kernels import Int, inlined, kernel
from curate.kernels.shingle import FACTOR, HALF, START, fmix
from curate.kernels.utf8 import Bytes, Offsets

BLOCK = 8  # bytes read at once
LINE_FEED = 0x0A
ONES = np.uint64(0x0101010101010101)
TOPS = np.uint64(0x8080808080808080)
FEEDS = np.uint64(0x0A0A0A0A0A0A0A0A)
FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
CASES = np.uint64(0x2020202020202020)  # the bit by which small ASCII letters differ from capitals
FROM_A, PAST_Z = (
    np.uint64(0x1F1F1F1F1F1F1F1F),
    np.uint64(0x0505050505050505),
)  # to 128 from `a` and past `z`
ZERO, ONE, THREE = np.uint64(0), np.uint64(1), np.uint64(3)


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def block_at(_: Any, data: Any, at: Any) -> Any:
    """The eight bytes from byte `at` on as one number, the first lowest on the machines that we know."""

    def made(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        from llvmlite import ir  # type: ignore[import-untyped]  # as numba

        array = context.make_array(signature.args[0])(context, builder, values[0])
        place = builder.bitcast(builder.gep(array.data, [values[1]]), ir.IntType(64).as_pointer())
        return builder.load(place, align=1)

    return types.uint64(data, types.int64), made


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def zeros_below(_: Any, number: Any) -> Any:
    """How many bits below the lowest one that is set are not."""

    def made(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        from llvmlite import ir

        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), made


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def bits_set(_: Any, number: Any) -> Any:
    """How many bits of a number are set."""

    def made(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return types.uint64(types.uint64), made


@inlined
def block_of(data: Bytes, at: Int, size: Int) -> Int:
    """The next `size` bytes as one number, at most eight; no byte beyond them is read past the end of the buffer."""
    if size <= 0:
        return ZERO
    if at + BLOCK <= len(data):
        return block_at(data, at) & (FULL >> np.uint64(8 * (BLOCK - size)))
    value = ZERO
    for place in range(size):
        value |= np.uint64(data[at + place]) << np.uint64(8 * place)
    return value


@inlined
def mixed(value: Int, block: Int) -> Int:
    """A hash with eight more bytes in it."""
    value = (value ^ block) * FACTOR
    return value ^ value >> HALF


@kernel
def hash_of(data: Bytes, at: Int, end: Int) -> Int:
    """A hash of a run of bytes."""
    value = START ^ np.uint64(end - at)
    while end - at > BLOCK:
        value = mixed(value, block_at(data, at))
        at += BLOCK
    return fmix(value ^ block_of(data, at, end - at))


@inlined
def letters_in(block: Int) -> Int:
    """How many of eight bytes, from the first one on, are ASCII letters."""
    small = block & ~TOPS | CASES
    letters = (small + FROM_A) & ~(small + PAST_Z) & ~block & TOPS
    return np.int64(zeros_below(~letters & TOPS) >> THREE)


@inlined
def word_at(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """Where the run of ASCII letters that begins at byte `at` ends, and its hash as of `hash_of`."""
    block = block_of(data, at, min(end - at, BLOCK))
    size = letters_in(block)
    if size == 0:
        return at, ZERO
    if size < BLOCK:
        return at + size, fmix(START ^ np.uint64(size) ^ block & (FULL >> np.uint64(8 * (BLOCK - size))))
    stop = at
    while size == BLOCK:
        stop += BLOCK
        size = letters_in(block_of(data, stop, min(end - stop, BLOCK)))
    return stop + size, hash_of(data, at, stop + size)


@inlined
def begun(block: Int) -> Int:
    """How many characters begin in eight bytes of UTF-8."""
    return np.int64(BLOCK) - np.int64(bits_set(block & ~(block << ONE) & TOPS))


@kernel
def line_at(data: Bytes, at: Int, end: Int) -> tuple[Int, Int, Int]:
    """Where the line that begins at byte `at` ends (its line feed, or `end`), its hash and its characters."""
    value: Int = START
    chars: Int = 0
    start = at
    while True:
        size: Int = min(end - at, BLOCK)
        block = block_of(data, at, size)
        same = block ^ FEEDS
        found = (same - ONES) & ~same & TOPS
        if found:
            size = np.int64(zeros_below(found) >> THREE)
        if size == BLOCK:
            value = mixed(value, block)
            chars += begun(block)
            at += BLOCK
            continue
        if size > 0:
            block &= FULL >> np.uint64(8 * (BLOCK - size))
            chars += begun(block) - (BLOCK - size)
            value ^= block
        at += size
        return at, fmix(value ^ np.uint64(at - start) * FACTOR), chars


@kernel
def places_in(data: Bytes, offsets: Offsets, known: Bytes, known_offsets: Offsets) -> NDArray[np.int64]:
    """Where each text stands among known ones, the same bytes in the same order; an empty array if any does not."""
    rows, others = len(offsets) - 1, len(known_offsets) - 1
    places = np.empty(rows, np.int64)
    other = 0
    for row in range(rows):
        while other < others and not is_same(
            data, offsets[row], offsets[row + 1], known, known_offsets[other], known_offsets[other + 1]
        ):
            other += 1
        if other == others:
            return places[:0]
        places[row] = other
        other += 1
    return places


@inlined
def is_same(data: Bytes, at: Int, end: Int, others: Bytes, start: Int, stop: Int) -> bool:
    """Whether two runs hold the same bytes."""
    if end - at != stop - start:
        return False
    shift = start - at
    while end - at >= BLOCK:
        if block_at(data, at) != block_at(others, at + shift):
            return False
        at += BLOCK
    return bool(block_of(data, at, end - at) == block_of(others, at + shift, end - at))
