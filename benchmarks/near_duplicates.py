"""How fast near-duplicates are found, and how many of them.

    python benchmarks/near_duplicates.py                 signatures, recall, the whole job on data/web
    python benchmarks/near_duplicates.py --part recall   one of signatures, recall, job
    python benchmarks/near_duplicates.py --json > here.json

Signatures: MB/s of 128 permutations of word 5-grams on one core, beside datasketch and rensa (when they are installed)
fed with the same words. Recall: pairs of texts with known Jaccard similarity, in bins of .02 from the threshold up, and
the share that the filter finds, in a script with spaces and one without. Job: Parquet in to Parquet out, in a fresh
process, on the data and on copies of it with other words; the rate is the slope. MB = 10^6 bytes of UTF-8 text.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import engine

Row = dict[str, Any]

PARTS = ("signatures", "recall", "job")
PERMUTATIONS = 128
NGRAM = 5
PEER_DOCUMENTS = 2_000
THRESHOLD = 0.8
BINS = (0.80, 0.82, 0.84, 0.86, 0.88)
SIZES = (1, 4)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of Parquet files with id and text")
    parser.add_argument("--part", choices=PARTS, action="append", help="measure only this; may be repeated")
    parser.add_argument("--pairs", type=int, default=2_000, help="pairs in each bin of similarity")
    parser.add_argument("--repeat", type=int, default=3, help="times that each thing runs; the median counts")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--case", nargs=2, type=Path, help=argparse.SUPPRESS)  # input, output
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run_case(*options.case)))
        return
    data = options.data or engine.default_data()
    found: Row = {"machine": engine.machine()}
    for part in options.part or PARTS:
        measure: Callable[[], Any] = {
            "signatures": lambda: signature_rates(data, options.repeat),
            "recall": lambda: [row for letters in (False, True) for row in recall(options.pairs, letters)],
            "job": lambda: job(data, options.repeat),
        }[part]
        found[part] = measure()
    print(json.dumps(found, indent=2) if options.json else markdown(found))


# --- signatures -------------------------------------------------------------------------------------------------------


def signature_rates(data: Path, repeat: int) -> list[Row]:
    """MB/s of ours on all texts, of peers on some of them, with and without the time to cut the words in Python."""
    import polars as pl

    from curate.kernels.minhash import signatures

    files = sorted(data.glob("*.parquet"))
    texts = pl.concat([pl.read_parquet(file, columns=["text"])["text"] for file in files], rechunk=True)
    some = texts.sample(PEER_DOCUMENTS, seed=1)
    shingles = [word_shingles(text) for text in some]
    whole, part = (float(column.str.len_bytes().sum()) / 1e6 for column in (texts, some))
    cases: dict[str, tuple[float, Callable[[], Any]]] = {
        "curate, text to signature": (whole, lambda: signatures(texts, PERMUTATIONS, ngram=NGRAM))
    }
    for name, function in {"datasketch": datasketch_signatures, "rensa": rensa_signatures}.items():
        if importlib.util.find_spec(name):
            cases[f"{name}, text to signature"] = part, partial(cut_and, function, some)
            cases[f"{name}, shingles to signature"] = part, partial(function, shingles)
    signatures(texts[:10], PERMUTATIONS, ngram=NGRAM)  # loads the kernel
    return [
        {"case": name, "mb": mb, "mb_per_second": mb / statistics.median(times(function, repeat))}
        for name, (mb, function) in cases.items()
    ]


def times(function: Callable[[], Any], repeat: int) -> Iterator[float]:
    """Wall times of some calls."""
    for _ in range(repeat):
        started = time.perf_counter()
        function()
        yield time.perf_counter() - started


def word_shingles(text: str) -> list[str]:
    """The word 5-grams of a text, as its peers take them."""
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[at : at + NGRAM]) for at in range(max(1, len(words) - NGRAM + 1))]


def cut_and(function: Callable[[list[list[str]]], None], texts: Any) -> None:
    """The peer's whole way from text: words cut with Python's re, then the signature."""
    function([word_shingles(text) for text in texts])


def datasketch_signatures(shingles: list[list[str]]) -> None:
    """datasketch with its own hash function."""
    from datasketch import MinHash

    for one in MinHash.generator(
        ([shingle.encode() for shingle in each] for each in shingles), num_perm=PERMUTATIONS, scheme="affine32"
    ):
        one.digest()


def rensa_signatures(shingles: list[list[str]]) -> None:
    """rensa's R-MinHash, one document at a time."""
    from rensa import RMinHash

    for each in shingles:
        one = RMinHash(num_perm=PERMUTATIONS, seed=1)
        one.update(each)
        one.digest()


# --- recall -----------------------------------------------------------------------------------------------------------


def planted(low: float, pairs: int, letters: bool) -> Iterator[tuple[str, str, float]]:
    """Pairs of texts whose exact similarity lies in a bin of .02, and that similarity."""
    chooser = random.Random(f"{low} {letters}")
    for _ in range(pairs):
        size = chooser.randrange(400, 800)
        wanted = low + 0.005 + chooser.random() * 0.0149
        changed = next(number for number in range(size) if (size - number) / (size + number) <= wanted)
        units = size + NGRAM - 1
        own, other = (
            [
                chr(0x4E00 + chooser.randrange(20_000)) if letters else f"w{chooser.randrange(10**9)}"
                for _ in range(many)
            ]
            for many in (units, changed)
        )
        join = "" if letters else " "
        yield join.join(own), join.join([*own[: units - changed], *other]), (size - changed) / (size + changed)


def recall(pairs: int, letters: bool) -> Iterator[Row]:
    """The share of planted pairs that is found, by bin of similarity."""
    import polars as pl

    from curate.filters import NearDuplicates
    from curate.testing import decide

    filter = NearDuplicates(threshold=THRESHOLD)
    for low in BINS:
        made = list(planted(low, pairs, letters))
        ids = [f"{number}-{side}" for number, side in itertools.product(range(pairs), "ab")]
        docs = pl.DataFrame({"id": ids, "text": [text for one, other, _ in made for text in (one, other)]})
        decided = decide(filter, docs)
        if isinstance(decided, str):
            sys.exit(decided)
        found = docs.hstack(decided.select("duplicate_of", "similarity"))[1::2]
        exact = pl.Series([similarity for *_, similarity in made])
        hit = found["duplicate_of"].is_not_null()
        wrong = (hit & ((found["similarity"] - exact).abs() > 1e-9)).sum()
        yield {
            "script": "without spaces" if letters else "with spaces",
            "at_least": low,
            "pairs": pairs,
            "found": float(hit.mean()),  # type: ignore[arg-type]  # a share
            "promised": filter.recall,
            "expected": statistics.fmean(filter.bands().found(similarity) for similarity in exact),
            "wrong_similarity": int(wrong),
        }


# --- the job ----------------------------------------------------------------------------------------------------------


def job(data: Path, repeat: int) -> Row:
    """The whole run in fresh processes on one core, at 1x and 4x; the rate is the slope between the medians."""
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as name:
        folder = Path(name)
        sizes = engine.corpora(data, folder)
        runs: dict[int, list[Row]] = {size: [] for size in SIZES}
        fresh_run(folder / "corpus-1x", folder / "out")  # compiles kernels, fills the page cache
        for _ in range(repeat):
            for size, own in runs.items():
                own.append(fresh_run(folder / f"corpus-{size}x", folder / "out"))
    small, large = SIZES
    wall = {size: statistics.median(run["wall"] for run in own) for size, own in runs.items()}
    mb = {size: sizes[f"{size}x"]["text_bytes"] / 1e6 for size in SIZES}
    slope = (wall[large] - wall[small]) / (mb[large] - mb[small])
    return {
        "mb_per_second": 1 / slope,
        "start_seconds": wall[small] - slope * mb[small],
        "peak_bytes": {f"{size}x": max(run["peak_bytes"] for run in own) for size, own in runs.items()},
        "mb": {f"{size}x": mb[size] for size in SIZES},
        "last": {f"{size}x": own[-1] for size, own in runs.items()},
    }


def fresh_run(source: Path, output: Path) -> Row:
    """One run in its own process, with its wall time."""
    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, "--case", source, output], stdout=subprocess.PIPE, check=True)
    found: Row = json.loads(done.stdout)
    return found | {"wall": time.perf_counter() - started}


def run_case(source: Path, output: Path) -> Row:
    """What a fresh process does."""
    from curate.estimate import peak_memory
    from curate.executors import Serial
    from curate.pipeline import Pipeline
    from curate.run import run_pipeline

    text = f"name: benchmark\ninput: {{paths: ['{source}'], id: id}}\nsteps:\n- near_duplicates\n"
    run = run_pipeline(Pipeline.parse(text, base=source), None, output, executor=Serial())
    (step,) = run.counts["by_step"]
    return {
        "seconds": run.manifest["seconds"],
        "documents": step["seen"],
        "dropped": step["dropped"],
        "peak_bytes": peak_memory(),
    }


# --- printing ---------------------------------------------------------------------------------------------------------


def markdown(found: Row) -> str:
    """The figures as Markdown tables."""
    about = found["machine"]
    lines = [f"{about['processor']}, {about['cores']} cores, load {about['load']:.1f}, Python {about['python']}.", ""]
    if "signatures" in found:
        lines += ["| signatures, 128 permutations, one core | MB | MB/s |", "| --- | ---: | ---: |"]
        lines += [f"| {row['case']} | {row['mb']:.1f} | {row['mb_per_second']:.1f} |" for row in found["signatures"]]
        lines.append("")
    if "recall" in found:
        lines += [
            "| script | similarity | pairs | found | expected | promised |",
            "| --- | --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {row['script']} | {row['at_least']:.2f} - {row['at_least'] + 0.02:.2f} | {row['pairs']:,} "
            f"| {row['found']:.4f} | {row['expected']:.4f} | {row['promised']} |"
            for row in found["recall"]
        ]
        lines.append("")
    if "job" in found:
        row = found["job"]
        lines += [
            f"| job, Parquet to Parquet, one core: {row['mb_per_second']:.1f} MB/s | 1x | 4x |",
            "| --- | ---: | ---: |",
        ]
        last, sizes = row["last"], [f"{size}x" for size in SIZES]
        table = {
            "text": [f"{row['mb'][size]:.1f} MB" for size in sizes],
            "documents": [f"{last[size]['documents']:,}" for size in sizes],
            "dropped": [f"{last[size]['dropped']:,}" for size in sizes],
            "peak memory": [f"{row['peak_bytes'][size] / 1e6:,.0f} MB" for size in sizes],
            **{name: [f"{last[size]['seconds'][name]:.2f} s" for size in sizes] for name in last[sizes[0]]["seconds"]},
        }
        lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in table.items()]
        lines += ["", f"Start-up (where the line through both meets zero): {row['start_seconds']:.1f} s."]
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ.update(dict.fromkeys(engine.THREAD_VARIABLES, "1"))
    main()
