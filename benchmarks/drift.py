"""Drift alerts: how often two samples of one population are alerted, and how often a planted change is seen.

    python benchmarks/drift.py                     some minutes on one core
    python benchmarks/drift.py --trials 200        quicker, and less exact

A corpus has four signals: a column of 20 groups whose sizes fall as 1/rank, one of 5 labels (70 % to 1 %), a score
(beta 2, 5) and whole numbers with a long tail (log-normal). A comparison alerts when any of its signals has a level.
The planted change moves 2 % of the documents between groups: from the first group to the last (`one pair`), or from all
groups but the four largest to those (`spread`). Scores and numbers are those of at most --numbers documents, so that
sizes of a million take no hour.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.drift import Drift, judge, number_drift, share_drift

Floats = NDArray[np.float64]
GROUPS = 1 / np.arange(1, 21) / (1 / np.arange(1, 21)).sum()
LABELS = np.array([0.7, 0.2, 0.05, 0.04, 0.01])
PLANTED = 0.02


def main() -> None:
    """Read the command line, simulate each size, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--numbers", type=int, default=10_000, help="documents with numbers, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    rows = [simulate(size, options.trials, min(size, options.numbers), options.seed) for size in options.sizes]
    if options.json:
        print(json.dumps({"trials": options.trials, "planted": PLANTED, "sizes": rows}))
        return
    for row in rows:
        print(
            f"{row['documents']:>9,}  false alerts {row['false']:.2%}  seen: one pair {row['one pair']:.1%}, "
            f"spread {row['spread']:.1%}  noise of 20 groups {row['noise']:.2%}  {row['seconds']:.0f} s"
        )


def simulate(size: int, trials: int, numbers: int, seed: int) -> dict[str, Any]:
    """Shares of comparisons with an alert: nothing changed, and a planted change."""
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    found: dict[str, Any] = {"documents": size}
    for name, groups in (("false", GROUPS), ("one pair", one_pair()), ("spread", spread())):
        alerts = 0
        for _ in range(trials):
            drifts = compare(rng, size, numbers, groups)
            levels = [drift.level for drift in judge(drifts)]
            alerts += any(level != "none" for level in (levels if name == "false" else levels[:1]))
        found[name] = alerts / trials
    return found | {"noise": drifts[0].noise, "seconds": time.perf_counter() - started}


def compare(rng: np.random.Generator, size: int, numbers: int, groups: Floats) -> list[Drift]:
    """The drifts of two random corpora, the second with these shares of groups."""
    drifts = [
        share_drift("group", counts(rng, size, GROUPS), counts(rng, size, groups)),
        share_drift("label", counts(rng, size, LABELS), counts(rng, size, LABELS)),
        number_drift("score", rng.beta(2, 5, numbers), rng.beta(2, 5, numbers)),
        number_drift("words", *(np.floor(rng.lognormal(6, 1.5, numbers)) for _ in range(2))),
    ]
    return [drift for drift in drifts if drift is not None]


def counts(rng: np.random.Generator, size: int, shares: Floats) -> dict[str, int]:
    """The groups of so many random documents."""
    return {str(place): count for place, count in enumerate(rng.multinomial(size, shares).tolist())}


def one_pair() -> Floats:
    """The groups after a change from the largest to the smallest."""
    groups = GROUPS.copy()
    groups[0] -= PLANTED
    groups[-1] += PLANTED
    return groups


def spread() -> Floats:
    """The groups after a change from all but the four largest to those."""
    groups = GROUPS.copy()
    groups[:4] += PLANTED / 4
    groups[4:] -= PLANTED * groups[4:] / groups[4:].sum()
    return groups


if __name__ == "__main__":
    main()
