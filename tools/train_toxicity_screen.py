"""Train the toxicity screen: curate/data/toxicity_screen.ftz, .json and .npz.

    python -m venv screen-env && screen-env/bin/pip install numpy numba polars pyarrow scipy fasttext
    PYTHONPATH=. NUMBA_CACHE_DIR=cache screen-env/bin/python tools/train_toxicity_screen.py DATA --output curate/data

DATA is a folder with `toxicity/train.parquet`, `toxicity/dev.parquet` and `bias/` as data/README.md describes them. One
thread and a fixed seed: the same data and versions give the same bytes. The model is logistic regression on character
n-grams and pairs of words, hashed as fastText hashes them and written as a fastText model with one column. Its
dictionary is empty and its codes are no ASCII letters, so that no word of the training data stands in the file.

What makes it transfer to comments from elsewhere: every source of comments has an intercept and weights of its own
beside the shared ones (Daume 2007, arXiv 0907.1815), which take up what is peculiar to that source, its topics and what
its annotators called toxic; only the shared weights are kept. Listed words, all of them toxic, have neither.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from toxicity_rows import comments, names_of_sources, training_rows

from curate.kernels import fasttext
from curate.kernels.fold import KEPT, LEFT_OUT, LOOKS_LATIN, SIGN, SPACE, fold
from curate.kernels.linear import rows_kernel, sums_kernel
from curate.kernels.utf8 import texts
from curate.windows import LOOKS_LATIN as ALIKE

SEED = 20261124
BUCKETS = 4_900_000  # one byte each: 5 MB in all
SHORTEST, LONGEST, WORD_GRAMS = 4, 5, 2
EPOCHS, RATE, OWN_RATE, INTERCEPT_RATE = 2, 0.05, 0.5, 0.02
RUNS = 4  # over the documents in different orders, whose weights are averaged
POWER = 0.5  # the sum of n weights is divided by n to this power
MOST = 1  # how often a word counts in a text
SHARED_ONLY = ("words",)
LABELS = ("clean", "toxic")
CODES = np.array([code for code in range(256) if not (code < 128 and chr(code).isalpha())], np.uint8)

CODE_POINTS = 0x20000
SIGNS_KEPT = '!?".,@'
WITHOUT_WIDTH = "'’‘ʼ`\u115f\u1160\u3164\uffa0\u2800"  # apostrophes, and fillers that show nothing
QUOTES = "“”„«»"
ONE_LETTER = dict(zip("ßæœøđłıðþħŋ", "saoodlidthn", strict=True))
SQUARE_SCRIPTS = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF))  # kana, Han: each character is a word


def folds_to(code: int) -> int:
    """What `curate.kernels.fold` makes of a code point."""
    character = chr(code)
    category = unicodedata.category(character)
    if character in SIGNS_KEPT:
        return code
    if character in QUOTES:
        return ord('"')
    if character in WITHOUT_WIDTH or category in ("Cf", "Mn", "Me"):
        return LEFT_OUT
    base = unicodedata.normalize("NFKD", character).lower()[:1]
    for letter in (character.lower()[:1], base):
        if letter in ALIKE:
            return LOOKS_LATIN + ord(ALIKE[letter])
        if letter in ONE_LETTER:
            return ord(ONE_LETTER[letter])
    if base.isascii():
        if base.isalnum():
            return ord(base)
        return ord(base) if base in SIGNS_KEPT and category[0] == "P" else SPACE
    if category == "Lo" and any(low <= code <= high for low, high in SQUARE_SCRIPTS):
        return SIGN
    if category[0] in "LN" or category == "Mc":
        return KEPT
    return SIGN if category in ("So", "Sk") and code >= 0x2600 else SPACE


def code_point_table() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One byte for each code point."""
    return np.array([SPACE if 0xD800 <= c <= 0xDFFF else folds_to(c) for c in range(CODE_POINTS)], np.uint8)


def empty_weights() -> fasttext.Weights:
    """A model without weights, which knows the rows of n-grams and pairs of words; its dictionary is empty."""
    none = np.zeros(0, np.int32)
    offsets = np.zeros(1, np.int64)
    word_bytes = np.zeros(1, np.uint8)
    return fasttext.Weights(
        rows=np.zeros((1, 1), np.float32),
        output=np.zeros((2, 1), np.float32),
        left=none,
        right=none,
        word_slots=fasttext.word_table_kernel(word_bytes, offsets, fasttext.table_size(0)),
        word_bytes=word_bytes,
        word_offsets=offsets,
        **fasttext.gram_index(none, 0, BUCKETS),
        grams=fasttext.ALL_GRAMS,
        bucket=BUCKETS,
        shortest=SHORTEST,
        longest=LONGEST,
        word_grams=WORD_GRAMS,
        loss=fasttext.SOFTMAX,
        end_of_line=-1,
    )


def rows_of(folded: Any, weights: fasttext.Weights) -> tuple[Any, Any]:
    """The rows of every text, end to end, and where each text's start."""
    data, offsets = folded
    per_byte = LONGEST - SHORTEST + 1 + WORD_GRAMS
    out = np.empty(len(data) * per_byte + 16 * len(offsets), np.int32)
    ends = np.zeros(len(offsets), np.int64)
    rows_kernel(data, offsets, weights, MOST, out, ends)
    return out[: ends[-1]], ends


@numba.njit(nogil=True)
def train_kernel(
    rows, ends, order, label, weight, source, shared, squares, own, intercepts, fixed, power, rate, own_rate, step
):  # type: ignore[no-untyped-def]
    """AdaGrad over the documents in the given order; `own` holds one row of weights for each source."""
    for document in order:
        start, end = ends[document], ends[document + 1]
        if start == end:
            continue
        inverse = 1.0 / (end - start) ** power
        which = source[document]
        alone = fixed[which]
        total = 0.0
        for place in range(start, end):
            total += shared[rows[place]]
        if not alone:
            for place in range(start, end):
                total += own[which, rows[place]]
        intercept = intercepts.mean() if alone else intercepts[which]
        value = total * inverse + intercept
        error = (1.0 / (1.0 + np.exp(-value)) - label[document]) * weight[document]
        slope = error * inverse
        for place in range(start, end):
            row = rows[place]
            squares[row] += slope * slope
            change = slope / np.sqrt(squares[row])
            shared[row] -= rate * change
            if not alone:
                own[which, row] -= own_rate * change
        if not alone:
            intercepts[which] -= step * error


def trained(rows: pl.DataFrame, table: Any) -> Any:
    """The shared weights, one for each bucket."""
    folded = fold(texts(rows["text"]), table)
    indices, ends = rows_of(folded, empty_weights())
    names = names_of_sources(rows)
    free = [name for name in names if name not in SHARED_ONLY]
    number = {name: place for place, name in enumerate([*free, *(n for n in names if n in SHARED_ONLY)])}
    source = np.array([number[name] for name in rows["source"]])
    fixed = np.array([place >= len(free) for place in range(len(names))])
    label, weight = rows["label"].to_numpy(), rows["weight"].to_numpy()
    mean = np.zeros(BUCKETS)
    for run in range(RUNS):
        draw = np.random.default_rng([SEED, run])
        shared = np.zeros(BUCKETS, np.float32)
        squares = np.full(BUCKETS, 1e-6, np.float32)
        own = np.zeros((len(free), BUCKETS), np.float32)
        intercepts = np.zeros(len(free))
        for _ in range(EPOCHS):
            order = draw.permutation(len(rows))
            train_kernel(
                indices, ends, order, label, weight, source, shared, squares, own, intercepts, fixed,
                POWER, RATE, OWN_RATE, INTERCEPT_RATE,
            )  # fmt: skip
        mean += shared
    return (mean / RUNS).astype(np.float32)


def quantized(weights: Any) -> tuple[Any, Any]:
    """256 values of which `CODES` are used, 0 among them, and for each weight the code of the nearest.

    Lloyd's method on a sample.
    """
    values, used = weights[weights != 0], len(CODES)
    centroids = np.quantile(values, np.linspace(0, 1, used - 1)).astype(np.float64)
    centroids = np.unique(np.concatenate([centroids, np.linspace(values.min(), values.max(), used - 1)]))
    centroids = np.sort(np.random.default_rng(SEED).choice(centroids, used - 1, replace=False))
    sample = np.sort(values)[:: max(1, len(values) // 500_000)].astype(np.float64)
    for _ in range(30):
        nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, sample)
        sums, counts = np.bincount(nearest, sample, used - 1), np.bincount(nearest, minlength=used - 1)
        centroids = np.sort(np.where(counts > 0, sums / np.maximum(counts, 1), centroids))
    centroids = np.sort(np.append(centroids, 0.0)).astype(np.float32)
    nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, weights)
    nearest[weights == 0] = int(np.flatnonzero(centroids == 0)[0])
    stored = np.zeros(256, np.float32)
    stored[CODES] = centroids
    return stored, CODES[nearest]


def fasttext_file(centroids: Any, codes: Any) -> bytes:
    """A quantised fastText classifier (version 12) of one column, two labels and no words."""
    numbers = [1, 5, EPOCHS, 1, 5, WORD_GRAMS, fasttext.SOFTMAX, fasttext.SUPERVISED, BUCKETS, SHORTEST, LONGEST, 100]
    parts = [struct.pack("<2i12id", fasttext.MAGIC, fasttext.VERSION, *numbers, 1e-4)]
    parts.append(struct.pack("<3i2q", 2, 0, 2, 1, -1))
    parts += [fasttext.LABEL_PREFIX + name.encode() + b"\0" + struct.pack("<qb", 1, 1) for name in LABELS]
    parts.append(struct.pack("<??2qi", True, False, len(codes), 1, len(codes)) + codes.tobytes())
    parts.append(struct.pack("<4i", 1, 1, 1, 1) + centroids.tobytes())
    parts.append(struct.pack("<?2q", False, 2, 1) + np.array([-0.5, 0.5], np.float32).tobytes())
    return b"".join(parts)


def values_of(folded: Any, model: fasttext.Model) -> Any:
    """The uncalibrated value of each text."""
    sums, counts = sums_kernel(*folded, model.weights, MOST)
    return sums / np.maximum(counts, 1) ** POWER


def platt(values: Any, labels: Any) -> tuple[float, float]:
    """Slope and intercept of the logistic curve from values to probabilities (Platt 1999)."""
    from scipy.optimize import minimize

    def loss(at: Any) -> float:
        logit = at[0] * values + at[1]
        return float(np.mean(np.logaddexp(0, logit) - labels * logit))

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    return round(float(slope), 4), round(float(intercept), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--terms", choices=("all", "even"), default="all", help="identity terms to train on")
    parser.add_argument("--without", nargs="*", default=(), help="sources of comments to leave out")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    table = code_point_table()
    np.savez_compressed(given.output / "toxicity_screen.npz", folds=table)
    rows = training_rows(given.data, given.terms, SEED, tuple(given.without))
    shared = trained(rows, table)
    path = given.output / "toxicity_screen.ftz"
    path.write_bytes(fasttext_file(*quantized(shared)))
    development = comments(given.data, "dev")
    values = values_of(fold(texts(development["text"]), table), fasttext.load(path))
    slope, intercept = platt(values, development["toxic"].to_numpy())
    constants = {"slope": slope, "intercept": intercept, "power": POWER, "most": MOST, "languages": ["en"]}
    (given.output / "toxicity_screen.json").write_text(json.dumps(constants, indent=2) + "\n")
    print(len(rows), "documents", path.stat().st_size, "bytes", constants)


if __name__ == "__main__":
    main()
