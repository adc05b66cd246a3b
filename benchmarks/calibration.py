"""How good calibration is: coverage of its intervals, and labels saved against a simple random sample.

    python benchmarks/calibration.py

Corpora are drawn with known truth: most positives have high scores, some are in the far tail, a share of them none at
all. Coverage is how often a 95 % interval of precision or recall holds the truth; labels saved is how many labels a
simple random sample needs for intervals as narrow.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from scipy.stats import beta

from curate.calibration import Cells, allocate, estimate
from curate.label_design import GUESSES

DRAWS = 1_000
# Documents and share of positives in the strata: far kept, near kept, near removed, far removed.
WORLDS = {
    "1 %": ((940_000, 45_000, 7_500, 7_500), (0.0005, 0.03, 0.5, 0.95)),
    "1 %, clean tail": ((940_000, 45_000, 7_500, 7_500), (0.0, 0.03, 0.5, 0.95)),
    "4 %": ((900_000, 80_000, 10_000, 10_000), (0.01, 0.2, 0.8, 0.9)),
    "10 %": ((60_000, 25_000, 7_500, 7_500), (0.01, 0.1, 0.6, 0.95)),
}
REMOVED = np.array([False, False, True, True])


def one(rng: np.random.Generator, sizes: np.ndarray, positives: np.ndarray, labels: np.ndarray) -> Cells:
    """Cells from a sample of so many of each stratum."""
    hits = rng.hypergeometric(positives, sizes - positives, labels)
    columns = np.stack([~REMOVED, REMOVED], axis=1)
    return Cells(sizes[:, None] * columns, labels[:, None] * columns.astype(float), hits[:, None] * columns)


def simple(rng: np.random.Generator, sizes: np.ndarray, positives: np.ndarray, labels: int) -> tuple[float, float]:
    """The widths of the Jeffreys intervals of precision and recall from a simple random sample of so many labels."""
    counts = rng.multivariate_hypergeometric(np.concatenate([positives, sizes - positives]), labels)
    hits, misses = counts[: len(sizes)], counts[len(sizes) :]
    right = int(hits[REMOVED].sum())
    return width(right, right + int(misses[REMOVED].sum())), width(right, int(hits.sum()))


def width(hits: int, trials: int) -> float:
    """The width of Jeffreys' interval."""
    low, high = beta.ppf((0.025, 0.975), hits + 0.5, trials - hits + 0.5)
    return float((1 if hits == trials else high) - (0 if hits == 0 else low))


def run(name: str, budget: int, runs: int) -> dict[str, float | str | int]:
    """Coverage and widths in one world with one budget, and the labels that a simple random sample needs."""
    rng = np.random.default_rng(1)
    sizes, rates = (np.array(part) for part in WORLDS[name])
    labels = np.array(allocate(sizes.tolist(), GUESSES[:4], budget))
    inside, widths, zero = np.zeros(2), np.zeros(2), 0
    for number in range(runs):
        positives = rng.binomial(sizes, rates)
        cells = one(rng, sizes, positives, labels)
        zero += bool((cells.positive.sum(1) == 0).any())
        found = estimate(cells, DRAWS, number)
        truth = positives[REMOVED].sum() / sizes[REMOVED].sum(), positives[REMOVED].sum() / positives.sum()
        for at, (share, value) in enumerate(zip((found.precision, found.recall), truth, strict=True)):
            inside[at] += share.low <= value <= share.high
            widths[at] += share.high - share.low
    widths /= runs
    needed = [budget, budget]
    for at in range(2):
        while needed[at] < 200 * budget:
            others = [simple(rng, sizes, rng.binomial(sizes, rates), needed[at])[at] for _ in range(200)]
            if np.mean(others) <= widths[at]:
                break
            needed[at] = int(needed[at] * 1.25)
    said: dict[str, float | str | int] = {
        "world": name, "labels": budget, "runs": runs, "runs with a zero-count stratum": zero,
    }  # fmt: skip
    for at, what in enumerate(("precision", "recall")):
        said[f"{what} coverage"] = round(float(inside[at]) / runs, 3)
        said[f"{what} width"] = round(float(widths[at]), 3)
        said[f"{what}: share of the labels of a simple random sample"] = round(budget / needed[at], 3)
    return said


if __name__ == "__main__":
    RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    for world in WORLDS:
        for size in (200, 500, 1_000):
            print(json.dumps(run(world, size, RUNS)), flush=True)
