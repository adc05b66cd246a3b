"""How right and how fast the audit is: coverage of its intervals, false and true discoveries, ten million rows.

    python benchmarks/audit.py                      everything, about ten minutes
    python benchmarks/audit.py --part coverage      one of coverage, clusters, discoveries, power, speed
    python benchmarks/audit.py --rows 1000000       a smaller ledger for `speed`
    python benchmarks/audit.py --json > here.json

Coverage: how often an interval holds the truth in simulated corpora, over the grid of docs/audit.md. Clusters: the same
with documents that come in domains whose removal rates differ (intra-class correlation .01 to .3). Discoveries: audits
of groups drawn by lot, in which every flag is false. Power: a removal ratio of 1.5 planted at a base rate of 10 %.
Speed: a made ledger of 20 steps and 50 groups, audited from Parquet; seconds of wall clock and peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate import stats
from curate.audit_figures import wider

Row = dict[str, Any]
PARTS = ("coverage", "clusters", "discoveries", "power", "speed")
# SCIENCE 2.2: removal rate and documents of a group; the others have ten times as many and 1/ratio of the rate.
GRID = ((0.01, 200), (0.02, 500), (0.05, 100), (0.3, 50), (0.1, 1_000), (0.4, 5_000))
RATIOS = (1.0, 1.5, 3.0)
CLUSTERS = (30, 100, 400)
ICC = (0.01, 0.05, 0.1, 0.3)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="measure only this; may be repeated")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=2_000, help="simulated corpora per row of `clusters`")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    measures = {
        "coverage": lambda: coverage(200_000),
        "clusters": lambda: clusters(asked.runs),
        "discoveries": lambda: [discoveries(2_000)],
        "power": lambda: [power(2_000)],
        "speed": lambda: [speed(asked.rows)],
    }
    found = {part: measures[part]() for part in asked.part or PARTS}
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    for part, rows in found.items():
        print(f"\n{part}")
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, tbl_hide_dataframe_shape=True):
            print(pl.DataFrame(rows))


# --- intervals --------------------------------------------------------------------------------------------------------


def coverage(runs: int, seed: int = 1) -> list[Row]:
    """The share of simulated pairs of groups in which each interval holds the truth, one row per place of the grid."""
    draw = np.random.default_rng(seed)
    rows = []
    for rate, size in GRID:
        for ratio in RATIOS:
            base, others = rate / ratio, 10 * size
            r1, r0 = draw.binomial(size, rate, runs), draw.binomial(others, base, runs)
            wilson = stats.wilson(r1, size)
            newcombe = stats.newcombe(r1, size, r0, others)
            katz = stats.katz(r1, size, r0, others)
            keep = stats.hybrid_ratio(size - r1, size, others - r0, others)
            rows.append(
                {
                    "rate": rate,
                    "documents": size,
                    "ratio": ratio,
                    "expected": rate * size,
                    "wilson": holds(wilson, rate),
                    "newcombe": holds(newcombe, rate - base),
                    "removal": holds(katz, ratio),
                    "keep": holds(keep, (1 - rate) / (1 - base)),
                }
            )
    return rows


def holds(found: stats.Interval, truth: float) -> float:
    """The share of intervals that hold the truth."""
    return float(((found.low <= truth) & (truth <= found.high)).mean())


def clusters(runs: int, seed: int = 1, sizes: Sequence[int] = CLUSTERS, icc: Sequence[float] = ICC) -> list[Row]:
    """The same for documents of domains: with the cluster bootstrap, and as if documents were independent."""
    rows = []
    for whole in (False, True):
        for number in sizes:
            for correlation in icc:
                for ratio in (1.0, 1.5):
                    rows.append(_clustered(runs, number, correlation, ratio, whole, seed))
    return rows


def _clustered(runs: int, number: int, icc: float, ratio: float, whole: bool, seed: int) -> Row:
    """One row: `whole` domains belong to the group (every third), or a share of each that differs by domain.

    Every simulated corpus is a group with an everyone of its own, so that one bootstrap does for all.
    """
    draw = np.random.default_rng([seed, number, int(icc * 100), int(ratio * 10), whole])
    base, spread = 0.1, 1 / icc - 1
    many = float(np.minimum(ratio * draw.beta(base * spread, (1 - base) * spread, 2_000_000), 1).mean())
    truth = {"rate": many, "removal": many / base, "keep": (1 - many) / (1 - base), "difference": many - base}
    size = (runs, number)
    rates = draw.beta(base * spread, (1 - base) * spread, size)
    documents = np.ceil(draw.lognormal(np.log(60), 1.0, size)).astype(int)
    part = np.broadcast_to(np.arange(number) % 3 == 0, size) if whole else draw.beta(1, 2, size)
    own = draw.binomial(documents, part)
    r1, r0 = draw.binomial(own, np.minimum(ratio * rates, 1)), draw.binomial(documents - own, rates)
    found, p = clustered_intervals(r1, own, r0, documents - own)
    naive = stats.katz(r1.sum(1), own.sum(1), r0.sum(1), (documents - own).sum(1))
    named = {"domains": number, "icc": icc, "ratio": ratio, "group": "whole domains" if whole else "part of each"}
    return named | {name: holds(found[name], truth[name]) for name in truth} | {
        "removal_as_if_independent": holds(naive, truth["removal"]), "p_below_5": float((p <= 0.05).mean())
    }  # fmt: skip


def clustered_intervals(r1: Any, n1: Any, r0: Any, n0: Any) -> tuple[dict[str, stats.Interval], Any]:
    """The intervals of one step from counts by corpus and cluster, as the audit makes them, and p."""
    from scipy.sparse import csr_matrix

    runs, number = n1.shape

    def table(removed: Any, whole: Any) -> Any:
        return csr_matrix(np.stack([removed, whole - removed], -1).transpose(1, 0, 2).reshape(number, -1).astype(float))

    keys = stats.mix(np.arange(number, dtype=np.uint64))
    errors = stats.cluster_errors(keys, table(r1, n1), table(r1 + r0, n1 + n0), (runs, 2))
    totals = [part.sum(1).astype(float) for part in (r1, n1, r0, n0)]
    together = stats.clustered(*totals, stats.ClusterErrors(*(part[:, 0] for part in errors)))
    alone = {
        "rate": stats.wilson(totals[0], totals[1]), "removal": stats.katz(*totals),
        "keep": stats.hybrid_ratio(totals[1] - totals[0], totals[1], totals[3] - totals[2], totals[3]),
        "difference": stats.newcombe(*totals),
    }  # fmt: skip
    found = {name: wider(one, getattr(together, name)) for name, one in alone.items()}
    return found, np.fmax(together.p, stats.score_test(*totals))


# --- flags ------------------------------------------------------------------------------------------------------------


def discoveries(runs: int, seed: int = 1) -> Row:
    """Audits of groups drawn by lot (8 groups of very different size, 4 steps): whatever is found is false."""
    draw = np.random.default_rng(seed)
    documents = 20_000
    group = np.repeat(np.arange(8), (np.array([0.4, 0.2, 0.15, 0.1, 0.06, 0.04, 0.03, 0.02]) * documents).astype(int))
    at = draw.choice(5, documents, p=[0.05, 0.15, 0.02, 0.1, 0.68])
    found, flagged = 0, 0
    for _ in range(runs):
        rows = judged(draw.permutation(group), at, 8, 4)
        found += int((rows["q"] <= 0.05).any())
        flagged += int(rows["flagged"].any())
    return {"runs": runs, "any_q_below_5": found / runs, "any_flag": flagged / runs}


def power(runs: int, seed: int = 1) -> Row:
    """Audits of 5 groups of 5,000 documents and 4 steps: one step removes 15 % of one group, else 10 % go."""
    draw = np.random.default_rng(seed)
    group = np.repeat(np.arange(5), 5_000)
    planted = others = 0
    for _ in range(runs):
        at = np.full(len(group), 4)
        for step in range(4):
            rate = np.where((group == 0) & (step == 1), 0.15, 0.1)
            at = np.where((at == 4) & (draw.random(len(group)) < rate), step, at)
        rows = judged(group, at, 5, 4).filter(pl.col("step") != "(all steps)")
        here = (pl.col("group") == "0") & (pl.col("step") == "s1")
        planted += int(rows.filter(here)["flagged"].item())
        others += int(rows.filter(~here)["flagged"].any())
    return {"runs": runs, "planted_flagged": planted / runs, "another_flagged": others / runs}


def judged(group: Any, at: Any, groups: int, steps: int) -> pl.DataFrame:
    """The rows of an audit of documents with a group and the step that removed them."""
    from curate.audit_counts import Counts, Observed
    from curate.audit_figures import Thresholds, figures, judge

    documents = np.bincount(group * (steps + 1) + at, minlength=groups * (steps + 1)).reshape(groups, steps + 1)
    table = documents.astype(float)
    names = tuple(str(number) for number in range(groups))
    observed = Observed(pl.LazyFrame(), tuple(f"s{step}" for step in range(steps)))
    counts = Counts("group", names, False, 0, table, table, table.sum(0), table.sum(0))
    return judge(figures(observed, counts), Thresholds())


# --- speed ------------------------------------------------------------------------------------------------------------


def speed(rows: int, steps: int = 20, groups: int = 50, part: int = 500_000) -> list[Row]:
    """Seconds to audit a made ledger: one column, then with strata, then with the cluster bootstrap as well."""
    from curate.run import Run

    measured = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "audit" / "ledger").mkdir(parents=True)
        outputs = []
        for number, first in enumerate(range(0, rows, part)):
            name = f"audit/ledger/part-{number:05}.parquet"
            made_ledger(first, min(part, rows - first), steps, groups).write_parquet(root / name)
            outputs.append({"path": name})
        names = [f"s{step:02}" for step in range(steps)]
        run = Run(root, {
            "steps": [{"name": "topic", "filter": "where", "corpus_wide": False}]
            + [{"name": name, "filter": "where", "corpus_wide": False} for name in names],
            "pipeline": {"steps": []}, "outputs": outputs, "base": ".", "columns": {"text": "text", "id": "id"},
            "limits": [{"step": "s00", "rule": "drop_if", "score": "s00.score", "limit": 0.1, "side": "below"}],
        })  # fmt: skip
        options: dict[str, Any] = {}
        for label, more in (
            ("by one column", {}), ("and two strata", {"strata": ["language", "source"]}),
            ("and clusters", {"cluster": "domain"}),
        ):  # fmt: skip
            options |= more
            start, cpu = time.perf_counter(), time.process_time()
            found = run.audit("topic.label", **options)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            taken = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu, "peak_gb": peak}
            measured.append(
                {"audit": label, "documents": rows, "rows": found.rows.height}
                | {name: round(value, 1) for name, value in taken.items()}
            )
    return measured


def made_ledger(first: int, rows: int, steps: int, groups: int) -> pl.DataFrame:
    """Ledger rows with the columns of the contract, a group, two strata, a domain of very uneven size and a score."""
    draw = np.random.default_rng(first)
    group = draw.zipf(1.4, rows) % groups
    at = np.minimum(draw.geometric(0.02 + 0.01 * (group == 3), rows) - 1, steps)
    names = np.array([*(f"s{step:02}" for step in range(steps)), ""])
    kept = at == steps
    numbers = np.arange(first, first + rows)
    return pl.DataFrame(
        {
            "id": numbers.astype(str), "file": ["part.jsonl"] * rows, "row": numbers, "kept": kept,
            "step": names[at], "rule": np.where(kept, "", "drop_if"), "copies": kept.astype(np.uint16),
            "bytes": draw.integers(100, 10_000, rows), "sampled": draw.random(rows) < 0.01,
            "topic.label": np.char.add("topic ", group.astype(str)), "s00.score": draw.random(rows),
            "input.language": draw.choice(["en", "fr", "de", "ja"], rows),
            "input.source": draw.choice(list("abcde"), rows),
            "input.domain": np.char.add("site", (draw.pareto(0.8, rows) * 50).astype(np.int64).astype(str)),
        }
    ).with_columns(
        pl.when(pl.col("kept")).then(None).otherwise(pl.col("step", "rule")).name.keep(),
        pl.when(pl.col("kept")).then(pl.lit([], pl.List(pl.String))).otherwise(
            pl.concat_list(pl.format("{}.{}", "step", "rule"))).alias("failed"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
