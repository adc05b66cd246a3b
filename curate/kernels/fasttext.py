"""Top labels from fastText classifiers, read and computed without the fastText library.

The library's own prediction costs 0.2 microseconds per byte (5 MB/s on one core here); this kernel looks each distinct
word of a batch up once and reads whole documents at more than ten times that rate. Files: version 12 of the format that
`fasttext supervised` and `fasttext quantize` write (`.bin`, `.ftz`), with every loss, pruned or not.
Source: Joulin et al. 2016, arXiv 1607.01759 and 1612.03651; the format and the order of operations are those of
fastText 0.9.2, and the tests hold the results against the library's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.kernels import Int, inlined, kernel
from curate.kernels.utf8 import Bytes, Offsets

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

MAGIC, VERSION = 793712314, 12
SUPERVISED = 3
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
LABEL_PREFIX = b"__label__"
END_OF_LINE = b"</s>"
LABEL_BYTES = tuple(LABEL_PREFIX)  # Numba takes tuples, not bytes
END_OF_LINE_BYTES = tuple(END_OF_LINE)
CENTROIDS = 256  # per part of a quantised row: codes are bytes
ALL_GRAMS, NO_GRAMS, SOME_GRAMS = -1, 0, 1

FNV_START, FNV_PRIME, LOW_32 = 2166136261, 16777619, 0xFFFFFFFF
WORD_GRAM_PRIME = 116049371
END_OF_LINE_HASH = 3617362777  # `hash_bytes` of </s>
NEGLIGIBLE = -12.0  # a logarithm of a probability below which branches of the tree of labels are not told apart
LOG_FLOOR = 1e-5  # fastText takes log(p + 1e-5), so that probabilities come out up to 1e-5 too high

CACHED_WORDS = 1 << 14
CACHED_WORD_BYTES = 40


class Weights(NamedTuple):
    """A model as the kernel reads it."""

    rows: Floats  # one row per word, then one per n-gram
    output: Floats  # one row per label, or per inner node of the tree of labels
    left: Ints  # the tree of labels: children of each node, -1 for leaves
    right: Ints
    word_slots: Ints  # open-addressed table of word numbers by hash, -1 where empty
    word_bytes: Bytes
    word_offsets: Offsets
    gram_bits: NDArray[np.uint64]  # one bit for each n-gram bucket that has a row, 64 buckets to a number
    gram_ranks: Ints  # the row of the first such bucket of each number: rows are in the order of buckets
    grams: int
    bucket: int
    shortest: int
    longest: int
    word_grams: int
    loss: int
    end_of_line: int  # the row of the word that ends each line, or -1


@dataclass(frozen=True)
class Model:
    """A fastText classifier: its labels without their prefix, and its weights."""

    labels: tuple[str, ...]
    weights: Weights


def predict(model: Model, data: Bytes, offsets: Offsets) -> tuple[Ints, Floats]:
    """The number of the likeliest label of each text, -1 where the model knows nothing of it, and its probability.

    Line breaks are read as spaces. Words that fastText reserves (`</s>`, `__label__...`) are passed over.
    """
    sums, counts = embed_kernel(data, offsets, model.weights)
    return best_kernel(sums, counts, model.weights)


def embed(model: Model, data: Bytes, offsets: Offsets) -> tuple[Floats, Ints]:
    """The sum of the rows that the model has for the words of each text, and how many rows these are.

    Sums and counts of the parts of a text add up to those of the text, except that each part ends with a row of its
    own for the end of a line.
    """
    return embed_kernel(data, offsets, model.weights)


def log_chances(model: Model, sums: Floats, counts: Ints) -> NDArray[np.float64]:
    """The logarithm of the probability of every label (texts x labels), from what `embed` returns."""
    return log_chances_kernel(sums, counts, model.weights)


# --- reading a model file ---------------------------------------------------------------------------------------------


def load(path: Path) -> Model:
    """Read a model file, once per process and state of the file; a dense matrix stays on disk, shared by processes."""
    try:
        state = path.stat()
    except OSError as error:
        raise UsageError(f"cannot read the fastText model {str(path)!r}: {error}") from error
    return _load(path, state.st_size, state.st_mtime_ns)


@cache
def _load(path: Path, size: int, modified: int) -> Model:
    try:
        content = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the fastText model {str(path)!r}: {error}") from error
    try:
        return _Reader(content).model()
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise UsageError(
            f"{str(path)!r} is not a fastText classifier that can be read: {error}",
            hint="give the .bin or .ftz file that `fasttext supervised` or `fasttext quantize` wrote",
        ) from error


class _Reader:
    """Walks once through a model file; every array is checked against the end of the file."""

    def __init__(self, content: NDArray[np.uint8]) -> None:
        self.content = content
        self.at = 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + form)
        values = struct.unpack("<" + form, self.content[self.at : self.at + size].tobytes())
        self.at += size
        return values

    def array(self, kind: Any, count: int) -> NDArray[Any]:
        size = np.dtype(kind).itemsize * count
        if count < 0 or self.at + size > len(self.content):
            raise ValueError("the file ends too early")
        values: NDArray[Any] = np.asarray(self.content[self.at : self.at + size]).view(kind)
        self.at += size
        return values

    def model(self) -> Model:
        magic, version = self.numbers("2i")
        if magic != MAGIC or version != VERSION:
            raise ValueError(f"it does not start with fastText's mark and version {VERSION}")
        dim, _, _, _, _, word_grams, loss, kind, bucket, shortest, longest, _, _ = self.numbers("12id")
        if kind != SUPERVISED or loss not in (HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL) or dim < 1:
            raise ValueError("it holds word vectors, not a classifier")
        words, labels, counts, pruned = self.dictionary()
        grams = SOME_GRAMS if pruned is not None and len(pruned) else ALL_GRAMS if pruned is None else NO_GRAMS
        if bucket < 1:
            grams, bucket = NO_GRAMS, 1
        (quantized,) = self.numbers("?")
        rows = self.quantized_matrix(dim) if quantized else self.matrix(dim)
        (quantized_output,) = self.numbers("?")
        output = self.quantized_matrix(dim) if quantized and quantized_output else self.matrix(dim)
        needed = len(words) + (bucket if grams == ALL_GRAMS else 0 if pruned is None else len(pruned))
        if len(rows) < needed or len(output) < len(labels):
            raise ValueError("its matrices are smaller than its dictionary")
        left, right = tree_of_labels(counts) if loss == HIERARCHICAL else (np.zeros(0, np.int32), np.zeros(0, np.int32))
        word_bytes = np.frombuffer(b"".join(words) or b"\0", np.uint8)
        word_offsets = np.cumsum([0, *map(len, words)], dtype=np.int64)
        known = np.zeros((0, 2), np.int32) if pruned is None else pruned
        if len(known) and (known.min() < 0 or known[:, 0].max() >= bucket or known[:, 1].max() >= len(known)):
            raise ValueError("its table of n-grams points outside its matrix")
        if len(known):  # put the rows of n-grams in the order of their buckets
            known = known[np.argsort(known[:, 0], kind="stable")]
            rows[len(words) : needed] = rows[len(words) + known[:, 1]]
        weights = Weights(
            rows=rows,
            output=np.array(output[: len(labels)]),
            left=left,
            right=right,
            word_slots=word_table_kernel(word_bytes, word_offsets, table_size(len(words))),
            word_bytes=word_bytes,
            word_offsets=word_offsets,
            **gram_index(known[:, 0], len(words), bucket),
            grams=grams,
            bucket=bucket,
            shortest=shortest,
            longest=longest,
            word_grams=word_grams,
            loss=loss,
            end_of_line=words.index(END_OF_LINE) if END_OF_LINE in words else -1,
        )
        return Model(labels, weights)

    def dictionary(self) -> tuple[list[bytes], tuple[str, ...], NDArray[np.int64], Ints | None]:
        """Words, labels, how often each label occurred, and the (bucket, row) pairs of a pruned model."""
        size, word_count, label_count, _, pruned = self.numbers("3i2q")
        if word_count < 0 or label_count < 1 or size != word_count + label_count:
            raise ValueError("it has no labels")
        content = self.content.data
        entries: list[bytes] = []
        counts: list[int] = []
        for _ in range(size):
            end = self.at
            while content[end]:
                end += 1
            entries.append(bytes(content[self.at : end]))
            self.at = end + 1
            count, kind = self.numbers("qb")
            counts.append(count)
            if kind != (len(entries) > word_count):
                raise ValueError("words and labels are mixed up")
        labels = tuple(entry.removeprefix(LABEL_PREFIX).decode() for entry in entries[word_count:])
        pairs = None if pruned < 0 else np.array(self.array("<i4", 2 * pruned)).reshape(-1, 2)
        return entries[:word_count], labels, np.array(counts[word_count:], np.int64), pairs

    def matrix(self, dim: int) -> Floats:
        rows, columns = self.numbers("2q")
        if columns != dim:
            raise ValueError(f"a matrix has {columns} columns, not {dim}")
        return self.array("<f4", rows * columns).reshape(rows, columns)

    def quantized_matrix(self, dim: int) -> Floats:
        """The matrix that product quantisation stands for, in memory: rows x dim x 4 bytes."""
        normed, rows, columns, code_count = self.numbers("?2qi")
        if columns != dim:
            raise ValueError(f"a matrix has {columns} columns, not {dim}")
        codes = self.array(np.uint8, code_count)
        matrix = self.decoded(codes, rows, dim)
        if normed:
            norms = self.decoded(self.array(np.uint8, rows), rows, 1)
            matrix *= norms
        return matrix

    def decoded(self, codes: NDArray[np.uint8], rows: int, dim: int) -> Floats:
        """Replace codes by their centroids."""
        own_dim, parts, width, last_width = self.numbers("4i")
        if own_dim != dim or (parts - 1) * width + last_width != dim or len(codes) != rows * parts:
            raise ValueError("a quantised matrix does not fit its codes")
        centroids = self.array("<f4", dim * CENTROIDS)
        matrix = np.empty((rows, dim), np.float32)
        for part in range(parts):
            own_width = last_width if part == parts - 1 else width
            start = part * width
            own = centroids[start * CENTROIDS : (start + own_width) * CENTROIDS].reshape(CENTROIDS, own_width)
            matrix[:, start : start + own_width] = own[codes[part::parts]]
        return matrix


def tree_of_labels(counts: NDArray[np.int64]) -> tuple[Ints, Ints]:
    """The children of each node of the Huffman tree over the labels, leaves first, as fastText builds it."""
    leaves = len(counts)
    weight = [*counts.tolist(), *[10**15] * (leaves - 1)]
    left = np.full(2 * leaves - 1, -1, np.int32)
    right = left.copy()
    leaf, inner = leaves - 1, leaves
    for node in range(leaves, 2 * leaves - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and weight[leaf] < weight[inner]:
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(inner)
                inner += 1
        left[node], right[node] = pair
        weight[node] = weight[pair[0]] + weight[pair[1]]
    return left, right


def table_size(entries: int) -> int:
    """A power of two at least twice the number of entries."""
    return 1 << max(4, (2 * entries).bit_length())


def gram_index(buckets: Ints, words: int, bucket: int) -> dict[str, NDArray[Any]]:
    """The n-gram buckets of a pruned model as a bit set, with the row of the first bucket of every 64."""
    bits = np.zeros((bucket // 64 + 1) * 64, np.bool_)
    bits[buckets] = True
    before = np.cumsum(bits.reshape(-1, 64).sum(axis=1))
    ranks = (words + np.concatenate([[0], before[:-1]])).astype(np.int32)
    return {"gram_bits": np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64), "gram_ranks": ranks}


# --- kernels ----------------------------------------------------------------------------------------------------------


@kernel
def hash_bytes(data: Bytes, at: Int, end: Int) -> Int:
    """fastText's hash of bytes: FNV-1a with bytes read as signed numbers."""
    value = np.int64(FNV_START)
    for place in range(at, end):
        value = mix(value, data[place])
    return value


@inlined
def mix(value: Int, byte: Int) -> Int:
    """One step of `hash_bytes`."""
    extended = np.int64(byte) | (0xFFFFFF00 if byte >= 0x80 else 0)
    return ((value ^ extended) * FNV_PRIME) & LOW_32


@kernel
def same_bytes(data: Bytes, at: Int, other: Bytes, other_at: Int, length: Int) -> bool:
    """Whether two runs of bytes are equal."""
    for step in range(length):  # noqa: SIM110  a generator is slow or unknown to Numba
        if data[at + step] != other[other_at + step]:
            return False
    return True


@kernel
def word_table_kernel(word_bytes: Bytes, word_offsets: Offsets, size: Int) -> Ints:
    """An open-addressed table of word numbers by hash."""
    slots = np.full(size, -1, np.int32)
    for word in range(len(word_offsets) - 1):
        slot = hash_bytes(word_bytes, word_offsets[word], word_offsets[word + 1]) & (size - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = word
    return slots


@inlined
def find_word(data: Bytes, at: Int, end: Int, hashed: Int, weights: Weights) -> Int:
    """The number of a word, or -1."""
    slots, starts = weights.word_slots, weights.word_offsets
    slot = hashed & (len(slots) - 1)
    while slots[slot] >= 0:
        word = slots[slot]
        start = starts[word]
        if starts[word + 1] - start == end - at and same_bytes(data, at, weights.word_bytes, start, end - at):
            return np.int64(word)
        slot = (slot + 1) & (len(slots) - 1)
    return np.int64(-1)


@inlined
def remainder(hashed: Int, bucket: Int, inverse: float) -> Int:
    """`hashed % bucket` for 32-bit hashes, without a division."""
    key = hashed - np.int64(hashed * inverse) * bucket
    if key < 0:
        return key + bucket
    return key - bucket if key >= bucket else key


@inlined
def bits_set(value: np.uint64) -> Int:
    """How many bits of a 64-bit number are set."""
    value = value - (value >> np.uint64(1) & np.uint64(0x5555555555555555))
    value = (value & np.uint64(0x3333333333333333)) + (value >> np.uint64(2) & np.uint64(0x3333333333333333))
    value = value + (value >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64(value * np.uint64(0x0101010101010101) >> np.uint64(56))


@inlined
def gram_row(key: Int, words: Int, all_bits: NDArray[np.uint64], ranks: Ints) -> Int:
    """The row of an n-gram bucket, or -1 when the model has none; `words` is -1 in a pruned model."""
    if words >= 0:
        return words + key
    bits = all_bits[key >> 6]
    place = np.uint64(key & 63)
    if not bits >> place & np.uint64(1):
        return np.int64(-1)
    return np.int64(ranks[key >> 6]) + bits_set(bits & ((np.uint64(1) << place) - np.uint64(1)))


@inlined
def words_before_grams(weights: Weights) -> Int:
    """How many rows stand before those of the n-grams, or -1 where not every n-gram has a row."""
    return np.int64(len(weights.word_offsets) - 1 if weights.grams == ALL_GRAMS else -1)


@inlined
def rows_of_grams(padded: Bytes, size: Int, wanted: Ints, weights: Weights) -> Int:
    """Write the rows of the character n-grams of the padded word `<word>` to `wanted`; return how many."""
    shortest, longest, bucket, bits = weights.shortest, weights.longest, weights.bucket, weights.gram_bits
    pruned = weights.grams == SOME_GRAMS
    inverse = 1.0 / bucket
    found: Int = 0
    for first in range(size):
        if padded[first] & 0xC0 == 0x80:
            continue
        value = np.int64(FNV_START)
        place = first
        chars = 1
        while place < size and chars <= longest:
            value = mix(value, padded[place])
            place += 1
            while place < size and padded[place] & 0xC0 == 0x80:
                value = mix(value, padded[place])
                place += 1
            if chars >= shortest and not (chars == 1 and (first == 0 or place == size)):
                key = remainder(value, bucket, inverse)
                wanted[found] = key
                found += np.int64(bits[key >> 6] >> np.uint64(key & 63) & np.uint64(1)) if pruned else 1
            chars += 1
    words = words_before_grams(weights)
    for one in range(found):
        wanted[one] = gram_row(np.int64(wanted[one]), words, bits, weights.gram_ranks)
    return found


@kernel
def add_rows(sums: Floats, to: Int, rows: Floats, wanted: Ints, count: Int) -> None:
    """Add the wanted rows of the matrix to row `to` of `sums`, eight columns at a time."""
    start = 0
    while start + 8 <= rows.shape[1]:
        a = b = c = d = e = f = g = h = np.float32(0.0)
        for one in range(count):
            row = wanted[one]
            a += rows[row, start]
            b += rows[row, start + 1]
            c += rows[row, start + 2]
            d += rows[row, start + 3]
            e += rows[row, start + 4]
            f += rows[row, start + 5]
            g += rows[row, start + 6]
            h += rows[row, start + 7]
        sums[to, start] += a
        sums[to, start + 1] += b
        sums[to, start + 2] += c
        sums[to, start + 3] += d
        sums[to, start + 4] += e
        sums[to, start + 5] += f
        sums[to, start + 6] += g
        sums[to, start + 7] += h
        start += 8
    for place in range(start, rows.shape[1]):
        for one in range(count):
            sums[to, place] += rows[wanted[one], place]


@kernel
def embed_kernel(data: Bytes, offsets: Offsets, weights: Weights) -> tuple[Floats, Ints]:
    """The sum of the rows of each text's words, and their number."""
    texts = len(offsets) - 1
    totals = np.zeros((texts, weights.rows.shape[1]), np.float32)
    counts = np.zeros(texts, np.int32)
    rows = weights.rows
    dim = rows.shape[1]
    runs = weights.word_grams > 1 and weights.grams != NO_GRAMS
    cached = cache_size(offsets[texts] - offsets[0])  # words met before in this batch, by hash: where, and their sums
    cached_at = np.full(cached, -1, np.int64)
    cached_length = np.zeros(cached, np.int32)
    cached_rows = np.zeros(cached, np.int32)
    sums = np.zeros((cached + 2, dim), np.float32)  # the last two: of a word too long to keep, and of the text
    uncached, hidden = cached, cached + 1
    padded = np.zeros(64, np.uint8)
    wanted = np.zeros(room(len(padded), weights.longest), np.int32)
    chains = np.zeros(max(weights.word_grams, 1), np.uint64)

    for text in range(texts):
        at, end = offsets[text], offsets[text + 1]
        sums[hidden] = 0.0
        found: Int = 0
        open_chains = np.int64(0)  # not a literal: a helper is compiled once more for each literal that it is given
        while True:
            while at < end and is_separator(data[at]):
                at += 1
            if at >= end:
                break
            start = at
            hashed = np.int64(FNV_START)
            while at < end and not is_separator(data[at]):
                hashed = mix(hashed, data[at])
                at += 1
            length = at - start
            if is_reserved(data, start, length):
                continue
            slot = hashed & (cached - 1) if length <= CACHED_WORD_BYTES else uncached
            added = np.int64(cached_rows[slot]) if slot != uncached else 0
            if (
                slot == uncached
                or cached_length[slot] != length
                or not same_bytes(data, start, data, cached_at[slot], length)
            ):
                if len(padded) < length + 2:
                    padded = np.zeros(2 * length + 2, np.uint8)
                    wanted = np.zeros(room(len(padded), weights.longest), np.int32)
                added = rows_of_word(data, start, at, hashed, padded, wanted, weights)
                for place in range(dim):
                    sums[slot, place] = 0.0
                add_rows(sums, slot, rows, wanted, added)
                if slot != uncached:
                    cached_at[slot] = start
                    cached_length[slot] = length
                    cached_rows[slot] = added
            for place in range(dim):
                sums[hidden, place] += sums[slot, place]
            found += added
            if runs:
                added, open_chains = rows_of_runs(hashed, chains, open_chains, wanted, weights)
                add_rows(sums, hidden, rows, wanted, added)
                found += added
        if weights.end_of_line >= 0:  # the line ends with the word </s>, which has a row of its own and no n-grams
            wanted[0] = weights.end_of_line
            add_rows(sums, hidden, rows, wanted, np.int64(1))
            found += 1
        if runs:
            added, open_chains = rows_of_runs(np.int64(END_OF_LINE_HASH), chains, open_chains, wanted, weights)
            add_rows(sums, hidden, rows, wanted, added)
            found += added
        counts[text] = found
        for place in range(dim):
            totals[text, place] = sums[hidden, place]
    return totals, counts


@kernel
def best_kernel(sums: Floats, counts: Ints, weights: Weights) -> tuple[Ints, Floats]:
    """The likeliest label of each text and its probability."""
    texts = len(sums)
    labels = np.full(texts, -1, np.int32)
    chances = np.zeros(texts, np.float32)
    hidden = np.zeros(sums.shape[1], np.float32)
    stack_node = np.zeros(len(weights.left) + 1, np.int32)
    stack_score = np.zeros(len(weights.left) + 1, np.float64)
    for text in range(texts):
        if counts[text] == 0:
            continue
        for place in range(len(hidden)):
            hidden[place] = sums[text, place] / counts[text]
        if weights.loss == HIERARCHICAL:
            labels[text], chances[text] = best_leaf(
                hidden, weights.output, weights.left, weights.right, stack_node, stack_score
            )
        else:
            labels[text], chances[text] = best_label(hidden, weights.output, weights.loss)
    return labels, chances


@kernel
def log_chances_kernel(sums: Floats, counts: Ints, weights: Weights) -> NDArray[np.float64]:
    """The logarithm of the probability of every label; the same for all where the model knows nothing of a text.

    Branches of a tree of labels that are less likely than e^-12 are not told apart.
    """
    labels = len(weights.output)
    left, right = weights.left, weights.right
    logs = np.empty((len(sums), labels), np.float64)
    nodes = np.zeros(max(2 * labels - 1, labels), np.float64)
    dim = sums.shape[1]
    columns = np.empty((dim, labels), np.float32)  # the output rows on their side: all labels at once, not one by one
    for label in range(labels):
        for place in range(dim):
            columns[place, label] = weights.output[label, place]
    products = np.empty(labels, np.float32)
    for text in range(len(sums)):
        if counts[text] == 0:
            for label in range(labels):
                logs[text, label] = -np.log(labels)
            continue
        for label in range(labels):
            products[label] = 0.0
        for place in range(dim):
            hidden = np.float32(sums[text, place] / counts[text])
            for label in range(labels):
                products[label] += hidden * columns[place, label]
        if weights.loss == HIERARCHICAL:
            nodes[len(left) - 1] = 0.0
            for node in range(len(left) - 1, labels - 1, -1):  # parents come after their children
                if nodes[node] < NEGLIGIBLE:
                    nodes[left[node]] = nodes[right[node]] = nodes[node]
                    continue
                go_right = 1.0 / (1.0 + np.exp(-products[node - labels]))
                nodes[left[node]] = nodes[node] + np.log(1.0 - go_right + LOG_FLOOR)
                nodes[right[node]] = nodes[node] + np.log(go_right + LOG_FLOOR)
            for label in range(labels):
                logs[text, label] = nodes[label]
        elif weights.loss == SOFTMAX:
            largest = np.float64(products[0])
            for label in range(labels):
                nodes[label] = np.float64(products[label])
                largest = max(largest, nodes[label])
            total = 0.0
            for label in range(labels):
                nodes[label] = np.exp(nodes[label] - largest)
                total += nodes[label]
            for label in range(labels):
                logs[text, label] = np.log(nodes[label] / total + LOG_FLOOR)
        else:
            for label in range(labels):
                logs[text, label] = np.log(1.0 / (1.0 + np.exp(-np.float64(products[label]))) + LOG_FLOOR)
    return logs


@kernel
def cache_size(size: Int) -> Int:
    """How many words to remember for a batch of that many bytes."""
    cached = 16
    while cached < CACHED_WORDS and cached * 8 < size:
        cached *= 2
    return cached


@kernel
def room(bytes: Int, longest: Int) -> Int:
    """How many rows a padded word of that many bytes can have."""
    return 64 + bytes * max(longest, 1)


@inlined
def rows_of_word(data: Bytes, start: Int, end: Int, hashed: Int, padded: Bytes, wanted: Ints, weights: Weights) -> Int:
    """Write the rows of a word and of its character n-grams to `wanted`; return how many."""
    found = 0
    if weights.longest > 0 and weights.grams != NO_GRAMS:
        padded[0] = 0x3C
        for place in range(end - start):
            padded[place + 1] = data[start + place]
        padded[end - start + 1] = 0x3E
        found = rows_of_grams(padded, end - start + 2, wanted, weights)
    word = find_word(data, start, end, hashed, weights)
    if word >= 0:
        wanted[found] = word
        found += 1
    return found


@inlined
def rows_of_runs(
    hashed: Int, chains: NDArray[np.uint64], open_chains: Int, wanted: Ints, weights: Weights
) -> tuple[Int, Int]:
    """Write the rows of the runs of words that end with this word; return how many, and how many chains are open.

    A chain is the hash of a run of 1 .. word_grams - 1 words up to here: each grows by this word, a new one starts.
    """
    signed = np.uint64(hashed - (1 << 32) if hashed >= 1 << 31 else hashed)
    words = words_before_grams(weights)
    found = 0
    for place in range(open_chains):
        chains[place] = chains[place] * np.uint64(WORD_GRAM_PRIME) + signed
        key = np.int64(chains[place] % np.uint64(weights.bucket))
        row = gram_row(key, words, weights.gram_bits, weights.gram_ranks)
        if row >= 0 and found < len(wanted):
            wanted[found] = row
            found += 1
    if open_chains == weights.word_grams - 1:  # the longest run is full
        for place in range(open_chains - 1):
            chains[place] = chains[place + 1]
        open_chains -= 1
    chains[open_chains] = signed
    return found, open_chains + 1


@kernel
def is_separator(byte: Int) -> bool:
    """Whether fastText splits words at a byte: space, tab, line breaks, NUL."""
    return bool(byte == 0x20 or 0x09 <= byte <= 0x0D or byte == 0)


@kernel
def is_reserved(data: Bytes, at: Int, length: Int) -> bool:
    """Whether a word is `</s>` or starts with `__label__`."""
    if length < len(END_OF_LINE_BYTES):
        return False
    if data[at] == END_OF_LINE_BYTES[0]:
        return length == len(END_OF_LINE_BYTES) and starts_with(data, at, END_OF_LINE_BYTES)
    return length >= len(LABEL_BYTES) and starts_with(data, at, LABEL_BYTES)


@kernel
def starts_with(data: Bytes, at: Int, wanted: tuple[int, ...]) -> bool:
    """Whether the wanted bytes stand at a place of the data."""
    for step in range(len(wanted)):  # noqa: SIM110  a generator is slow or unknown to Numba
        if data[at + step] != wanted[step]:
            return False
    return True


@kernel
def sigmoid_of_row(hidden: Floats, output: Floats, row: Int) -> float:
    """The logistic function of the product of the text's vector and an output row."""
    product = product_of_row(hidden, output, row)
    return float(1.0 / (1.0 + np.exp(-product)))


@kernel
def product_of_row(hidden: Floats, output: Floats, row: Int) -> float:
    """The product of the text's vector and an output row."""
    product = np.float32(0.0)
    for place in range(len(hidden)):
        product += hidden[place] * output[row, place]
    return float(product)


@kernel
def best_leaf(
    hidden: Floats,
    output: Floats,
    left: Ints,
    right: Ints,
    stack_node: Ints,
    stack_score: NDArray[np.float64],
) -> tuple[Int, float]:
    """The likeliest leaf of the tree of labels, leaving out branches that cannot win."""
    leaves = (len(left) + 1) // 2
    best, best_score = -1, -np.inf
    stack_node[0] = len(left) - 1
    stack_score[0] = 0.0
    top = 1
    while top > 0:
        top -= 1
        node, score = stack_node[top], stack_score[top]
        if score <= best_score:
            continue
        if left[node] < 0:
            best, best_score = node, score
            continue
        go_right = sigmoid_of_row(hidden, output, node - leaves)
        to_left = score + np.log(1.0 - go_right + LOG_FLOOR)
        to_right = score + np.log(go_right + LOG_FLOOR)
        likely_last = to_right > to_left
        stack_node[top] = left[node] if likely_last else right[node]
        stack_score[top] = to_left if likely_last else to_right
        stack_node[top + 1] = right[node] if likely_last else left[node]
        stack_score[top + 1] = to_right if likely_last else to_left
        top += 2
    return best, np.exp(best_score)


@kernel
def best_label(hidden: Floats, output: Floats, loss: Int) -> tuple[Int, float]:
    """The likeliest label of a model without a tree: softmax, or one logistic function per label."""
    labels = len(output)
    best, best_value, total = 0, -np.inf, 0.0
    for label in range(labels):
        value = product_of_row(hidden, output, label)
        if value > best_value:  # keep the sum of exponentials relative to the largest, against overflow
            total = total * np.exp(best_value - value) + 1.0
            best, best_value = label, value
        else:
            total += np.exp(value - best_value)
    if loss == SOFTMAX:
        return best, 1.0 / total + LOG_FLOOR
    return best, 1.0 / (1.0 + np.exp(-best_value)) + LOG_FLOOR
