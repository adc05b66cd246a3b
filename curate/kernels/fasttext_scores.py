"""The probability of every label of a fastText classifier, where `fasttext.predict` gives the likeliest alone.

A text's vector is the mean of the rows of its words and n-grams, as in `predict`; what the labels say of it is one
product with the output rows. The fastText library's own figures for the logistic function come from a table of 512
values; here it is computed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels.fasttext import HIERARCHICAL, SOFTMAX, Model, Weights, embed
from curate.kernels.utf8 import Texts


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
