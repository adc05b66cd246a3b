"""How curate's raking compares with independent tools on the same tables: samplics, ipfn and balance (Meta).

    python3.11 -m venv peers && peers/bin/pip install -r benchmarks/balance_peers.txt
    PYTHONPATH=. peers/bin/python benchmarks/balance_peers.py
    PYTHONPATH=. peers/bin/python benchmarks/balance_peers.py --json

Each table is raked to margins that it can meet. Compared are the weights of the cells: the largest relative
difference from curate's, the largest relative error of a margin, and the seconds. ipfn, balance and samplics' `rake`
have no bounds inside the iteration, so that they are compared where curate's bounds do not bind; the last rows show
what cutting balance's weights afterwards does to the margins, and curate with a bound inside the iteration.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from curate.raking import rake, relative_error

Floats = NDArray[np.float64]
TABLES = {"3 x 3": (3, 3), "10 x 20": (10, 20), "4 x 5 x 6": (4, 5, 6)}
WIDE = 1e6  # a bound that does not bind
CUT = 2.5  # times the mean weight
LONG = 2_000_000  # rows that balance makes of margins: their shares are rounded to 1 / LONG
TIGHT = 0.95  # of the largest rate without a bound


class Table(NamedTuple):
    """Cells with amounts, and the margins that are wanted."""

    places: NDArray[np.int64]
    shape: tuple[int, ...]
    own: Floats
    wanted: Floats

    def rows(self, column: int) -> slice:
        """The margins of one column."""
        start = sum(self.shape[:column])
        return slice(start, start + self.shape[column])

    def membership(self) -> sparse.csr_array:
        """Margins by cells."""
        rows = [self.places[:, column] + self.rows(column).start for column in range(len(self.shape))]
        cells = np.tile(np.arange(len(self.own)), len(self.shape))
        return sparse.csr_array((np.ones(len(cells)), (np.concatenate(rows), cells)))


def main() -> None:
    """Rake every table with every tool and print how they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    rows = [row for name, shape in TABLES.items() for row in compare(name, table(shape))]
    if parser.parse_args().json:
        print(json.dumps(rows))
        return
    print(f"{'table':10} {'tool':28} {'difference':>11} {'margin error':>13} {'largest rate':>13} {'seconds':>8}")
    for row in rows:
        print(
            f"{row['table']:10} {row['tool']:28} {row['difference']:11.1e} {row['margin error']:13.1e} "
            f"{row['largest rate']:13.2f} {row['seconds']:8.3f}"
        )


def table(shape: tuple[int, ...]) -> Table:
    """Amounts that vary by powers of ten, and margins that other weights of the same cells have."""
    numbers = np.random.default_rng(sum(shape))
    places = np.array(list(itertools.product(*map(range, shape))))
    own = np.round(10 ** numbers.uniform(1, 4, len(places)))
    made = Table(places, shape, own, np.zeros(sum(shape)))
    wanted = made.membership() @ (own * numbers.uniform(0.3, 3, len(own)))
    return made._replace(wanted=wanted * own.sum() / wanted[: shape[0]].sum())


def compare(name: str, one: Table) -> list[dict[str, Any]]:
    """One row for each tool."""
    tools: dict[str, Callable[[Table], Floats]] = {
        "curate": ours, "ipfn": with_ipfn, "samplics rake": with_samplics, "balance rake": with_balance,
        f"balance, cut at {CUT:g} x mean": cut_balance, f"curate, at most {TIGHT:g} x rate": bounded,
    }  # fmt: skip
    reference, rows = ours(one), []
    for tool, run in tools.items():
        start = time.perf_counter()
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            weights = run(one)
        seconds = time.perf_counter() - start
        rows.append(
            {
                "table": name,
                "tool": tool,
                "difference": float(np.abs(weights / reference - 1).max()),
                "margin error": relative_error(one.membership() @ weights, one.wanted),
                "largest rate": float((weights / one.own).max()),
                "seconds": seconds,
            }
        )
    return rows


def ours(one: Table) -> Floats:
    """Raking with bounds that do not bind."""
    return rake(one.membership(), one.wanted, one.own, 0 * one.own, WIDE * one.own).weights


def bounded(one: Table) -> Floats:
    """Raking in which no cell has more than TIGHT times the rate that the first had without a bound."""
    rate = TIGHT * float((ours(one) / one.own).max())
    return rake(one.membership(), one.wanted, one.own, 0 * one.own, rate * one.own).weights


def with_ipfn(one: Table) -> Floats:
    """The table as an array, to convergence."""
    from ipfn.ipfn import ipfn

    margins = [one.wanted[one.rows(column)] for column in range(len(one.shape))]
    dimensions = [[column] for column in range(len(one.shape))]
    made = ipfn(one.own.reshape(one.shape).copy(), margins, dimensions, convergence_rate=1e-12, max_iteration=5000,
                rate_tolerance=0)  # fmt: skip
    return np.asarray(made.iteration()).ravel()


def with_samplics(one: Table) -> Floats:
    """Each cell as a unit whose weight is its amount."""
    from samplics.weighting import SampleWeight

    names = [f"column {column}" for column in range(len(one.shape))]
    margins = {name: one.places[:, column] for column, name in enumerate(names)}
    control = {name: dict(enumerate(one.wanted[one.rows(column)])) for column, name in enumerate(names)}
    made = SampleWeight().rake(one.own, margins, control=control, tol=1e-12, ctrl_tol=1e-12, max_iter=5000)
    return np.asarray(made)


def with_balance(one: Table, **options: Any) -> Floats:
    """Each cell as a row with a weight, the target as margins."""
    import pandas as pd

    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]  # where benchmarks/balance.py is
    logging.disable(logging.CRITICAL)
    from balance.weighting_methods.rake import rake as rake_of_balance

    names = [f"column {column}" for column in range(len(one.shape))]
    frame = pd.DataFrame({name: one.places[:, column].astype(str) for column, name in enumerate(names)})
    margins = {
        name: {str(level): amount / one.own.sum() for level, amount in enumerate(one.wanted[one.rows(column)])}
        for column, name in enumerate(names)
    }
    found = rake_of_balance(
        frame, pd.Series(one.own), None, None, names, transformations=None, convergence_rate=1e-12,
        rate_tolerance=0, max_iteration=5000, target_margins=margins, target_margins_max_length=LONG, **options,
    )  # fmt: skip
    weights = np.asarray(found["weight"], dtype=float)
    return weights * one.own.sum() / weights.sum()


def cut_balance(one: Table) -> Floats:
    """Weights cut after raking."""
    return with_balance(one, weight_trimming_mean_ratio=CUT)


if __name__ == "__main__":
    main()
