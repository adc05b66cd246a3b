"""The probability of every label of a fastText classifier, where `fasttext.predict` gives the likeliest alone.

A text's vector is the mean of the rows of its words and n-grams, as in `predict`; what the labels say of it is one
product with the output rows. The fastText library's own figures for the logistic function come from a table of 512
values; here it is computed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.fasttext import (
    CACHED_WORD_BYTES,
    END_OF_LINE_HASH,
    FNV_START,
    HIERARCHICAL,
    NO_GRAMS,
    SOFTMAX,
    Floats,
    Ints,
    Model,
    Weights,
    add_rows,
    cache_size,
    is_reserved,
    is_separator,
    mix,
    room,
    rows_of_runs,
    rows_of_word,
    same_bytes,
)
from curate.kernels.utf8 import Bytes, Offsets, Texts


def label_scores(model: Model, given: Texts) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probability of each label for each text, [texts, labels], and which texts the model knows anything of.

    With one-vs-all models each label has a probability of its own; else a text's sum up to 1.
    """
    weights = model.weights
    sums, counts = embed(model, given.data, given.offsets)
    known = counts > 0
    vectors = sums / np.maximum(counts, 1).astype(np.float32)[:, None]
    # not BLAS: its sums depend on how many texts there are
    products = np.einsum("td,ld->tl", vectors, weights.output, optimize=False).astype(np.float64)
    if weights.loss == HIERARCHICAL:
        return leaf_chances(products, weights), known
    if weights.loss == SOFTMAX:
        powers = np.exp(products - products.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True), known
    return 1 / (1 + np.exp(-products)), known


def leaf_chances(products: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """The probability of each leaf of the tree of labels: that of its parent, times that of the turn to it."""
    leaves = (len(weights.left) + 1) // 2
    chances = np.ones((len(products), len(weights.left)))
    for node in range(len(weights.left) - 1, leaves - 1, -1):  # parents come after their children
        right = 1 / (1 + np.exp(-products[:, node - leaves]))
        chances[:, weights.right[node]] = chances[:, node] * right
        chances[:, weights.left[node]] = chances[:, node] * (1 - right)
    return chances[:, :leaves]


def embed(model: Model, data: Bytes, offsets: Offsets) -> tuple[Floats, Ints]:
    """The sum of the rows that the model has for the words of each text, and how many rows these are."""
    return embed_kernel(data, offsets, model.weights)


@kernel
def embed_kernel(data: Bytes, offsets: Offsets, weights: Weights) -> tuple[Floats, Ints]:
    """The sum of the rows of each text's words, and their number; additions are in the order of `predict_kernel`."""
    texts = len(offsets) - 1
    rows = weights.rows
    dim = rows.shape[1]
    totals = np.zeros((texts, dim), np.float32)
    counts = np.zeros(texts, np.int32)
    runs = weights.word_grams > 1 and weights.grams != NO_GRAMS
    cached = cache_size(offsets[texts] - offsets[0])  # words met before in this batch, by hash: where, and their sums
    cached_at = np.full(cached, -1, np.int64)
    cached_length = np.zeros(cached, np.int32)
    cached_rows = np.zeros(cached, np.int32)
    sums = np.zeros((cached + 1, dim), np.float32)  # the last: of a word too long to keep
    padded = np.zeros(64, np.uint8)
    wanted = np.zeros(room(64, weights.longest), np.int32)
    chains = np.zeros(max(weights.word_grams, 1), np.uint64)

    for text in range(texts):
        at, end = offsets[text], offsets[text + 1]
        found: Int = 0
        open_chains = 0
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
            slot = hashed & (cached - 1) if length <= CACHED_WORD_BYTES else cached
            added = np.int64(cached_rows[slot]) if slot != cached else 0
            if (
                slot == cached
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
                if slot != cached:
                    cached_at[slot] = start
                    cached_length[slot] = length
                    cached_rows[slot] = added
            for place in range(dim):
                totals[text, place] += sums[slot, place]
            found += added
            if runs:
                added, open_chains = rows_of_runs(hashed, chains, open_chains, wanted, weights)
                add_rows(totals, text, rows, wanted, added)
                found += added
        if weights.end_of_line >= 0:
            wanted[0] = weights.end_of_line
            add_rows(totals, text, rows, wanted, 1)
            found += 1
        if runs:
            added, open_chains = rows_of_runs(END_OF_LINE_HASH, chains, open_chains, wanted, weights)
            add_rows(totals, text, rows, wanted, added)
            found += added
        counts[text] = found
    return totals, counts
