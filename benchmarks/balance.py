"""How fast `balance` draws, and how much memory it takes: ten million documents in two hundred groups.

    python benchmarks/balance.py
    python benchmarks/balance.py --documents 1000000 --workers 1
    python benchmarks/balance.py --target columns        raking two columns instead of one target
    python benchmarks/balance.py --part decide           one of decide, tables

Sketches are written to a temporary folder before the clock starts, as the engine has them when `decide` runs; then
`decide` is timed until its copies are on disk, and `tables` over the ledger made of them. Each part runs in a process
of its own: the memory is the largest resident size of that process plus its workers' (the sum of the largest of each).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "2")

import numpy as np
import polars as pl

from curate.executors import Local, Serial, ordered
from curate.filters import Balance

ROWS = 250_000  # documents of a chunk
PARTS = ("decide", "tables")


class Sketches:
    """A corpus of sketches on disk, one file for each chunk."""

    step_name = "balance"

    def __init__(self, folder: Path, scratch: Path, workers: int) -> None:
        self.paths = sorted(folder.glob("*.arrows"))
        self.scratch = scratch
        self.executor = Local(workers) if workers > 1 else Serial()

    def map_sketches(self, function: Callable[[int, Iterator[pl.DataFrame]], Any]) -> Iterator[Any]:
        """The function on groups of chunks, as the engine does it."""
        return ordered(self.executor, Work(function), list(enumerate(self.paths)))


class Work:
    """A function of sketches as one of a path."""

    def __init__(self, function: Callable[[int, Iterator[pl.DataFrame]], Any]) -> None:
        self.function = function

    def __call__(self, task: tuple[int, Path]) -> Any:
        """The function's result for one chunk."""
        return self.function(task[0], iter([pl.read_ipc_stream(task[1])]))


def main() -> None:
    """Read the command line, write sketches, measure each part in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--groups", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--target", choices=("temperature", "columns", "weight"), default="temperature")
    parser.add_argument("--part", choices=PARTS, action="append", help="measure only this; may be repeated")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), options.documents, options.groups)
        for part in PARTS:
            line = [sys.executable, __file__, "--folder", name, "--part", part, *sys.argv[1:]]
            if part in (options.part or PARTS) or part == "decide":
                found = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
                print(f"{part}: {found['seconds']:.1f} s, {found['bytes'] / 1e9:.2f} GB, {found['what']}", flush=True)


def write(folder: Path, documents: int, groups: int) -> None:
    """Sketches of documents in groups whose sizes follow Zipf's law."""
    numbers = np.random.default_rng(0)
    chances = 1 / np.arange(1, groups + 1)
    for chunk, start in enumerate(range(0, documents, ROWS)):
        rows = min(ROWS, documents - start)
        group = numbers.choice(groups, rows, p=chances / chances.sum())
        pl.DataFrame(
            {
                "chunk": np.full(rows, chunk),
                "row": np.arange(rows),
                "id": pl.Series(np.arange(start, start + rows)).cast(pl.String),
                "group_0": pl.Series(group // 10).cast(pl.String),
                "group_1": pl.Series(group % 10).cast(pl.String),
                "size": numbers.lognormal(7, 1.2, rows).astype(np.int64),
                "order": numbers.random(rows),
            }
        ).write_ipc_stream(folder / f"{chunk:05d}.arrows")


def balance(target: str) -> Balance:
    """The filter that is measured: half of the bytes, by the target."""
    if target == "columns":
        return Balance(target={"one": {"temperature": 0.5}, "two": "natural"}, max_repeats=4, budget=8e9)
    weight = "order" if target == "weight" else None
    return Balance(by=("one", "two"), target={"temperature": 0.3}, max_repeats=4, budget=8e9, weight=weight)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and bytes of one part."""
    filter, copies = balance(options.target), options.folder / "copies"
    copies.mkdir(exist_ok=True)
    part = options.part[0]
    start = time.perf_counter()
    if part == "decide":
        corpus = Sketches(options.folder, copies, options.workers)
        decided = filter.decide(corpus)  # type: ignore[arg-type]  # what decide uses of a corpus
        seconds = time.perf_counter() - start
        what = f"{decided.select(pl.col('copies').sum()).collect().item():,} copies"
        corpus.executor.close()
    else:
        drawn = pl.col("copies") > 0
        ledger = pl.scan_ipc(sorted(copies.glob("*.arrow"))).with_columns(
            rule=pl.when(~drawn).then(pl.lit("not_drawn"))
        )
        tables = filter.tables(ledger)
        seconds = time.perf_counter() - start
        what = f"{tables['groups'].height} groups"
    own, workers = (
        resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"seconds": seconds, "bytes": own + workers * options.workers, "what": what}


if __name__ == "__main__":
    main()
