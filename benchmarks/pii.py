"""Speed of `redact_pii`, `decontaminate` and `repeated_lines` on one core, on real web documents.

    python pii.py [--web FOLDER] [--benchmarks FILE] [--repeat N]

Prints one JSON line per case: MB (10^6 bytes of text) and MB per second of processor time, the median of the repeats.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from curate.filters import Decontaminate, RedactPii, RepeatedLines
from curate.filters.pii_find import KINDS, find
from curate.kernels.shingle import shingles
from curate.testing import MemoryCorpus

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def cases(docs: pl.DataFrame, items: Path) -> Iterator[tuple[str, pl.DataFrame, Callable[[pl.DataFrame], Any]]]:
    """Name, documents and what is timed."""
    hit = {one.row for one in find(docs["text"], KINDS)}
    clean = docs.filter(~pl.int_range(pl.len()).is_in(list(hit)))
    yield "redact_pii, documents without any", clean, RedactPii().score
    yield "redact_pii, all documents", docs, RedactPii().score
    yield "shingles of 13 words", docs, lambda frame: shingles(frame["text"], 13)
    yield "decontaminate", docs, Decontaminate(benchmarks=(items,)).score
    for unit in ("line", "paragraph"):
        yield f"repeated_lines, {unit}s", docs, lambda frame, unit=unit: both(RepeatedLines(unit=unit), frame)


def both(filter: RepeatedLines, docs: pl.DataFrame) -> pl.DataFrame:
    """Sketches and decision, with partitions on disk."""
    with tempfile.TemporaryDirectory() as folder:
        return filter.decide(MemoryCorpus(filter, docs, Path(folder))).collect()


def main() -> None:
    """Time each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--web", type=Path, default=SHARED / "web", help="folder of Parquet files with the column text")
    parser.add_argument("--benchmarks", type=Path, default=SHARED / "benchmarks" / "benchmarks.parquet")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    docs = pl.concat([pl.read_parquet(path, columns=["id", "text"]) for path in sorted(given.web.glob("*.parquet"))])
    for name, frame, timed in cases(docs, given.benchmarks):
        timed(frame.head(20))  # loads kernels and tables
        mb = int(frame["text"].str.len_bytes().sum()) / 1e6
        rates = []
        for _ in range(given.repeat):
            start = time.process_time()
            timed(frame)
            rates.append(mb / (time.process_time() - start))
        print(json.dumps({"case": name, "mb": round(mb, 1), "mb_per_cpu_second": round(statistics.median(rates), 1)}))


if __name__ == "__main__":
    main()
