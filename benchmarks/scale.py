"""near_duplicates at scale: a synthetic corpus of millions of short documents, deduplicated on all cores.

    python benchmarks/scale.py --documents 10000000
    python benchmarks/scale.py --documents 1000000 4000000 10000000      (slopes, for docs/scaling.md)
    python benchmarks/scale.py --copies 1 4 16        (real documents: data/web, and copies of it with changed words)

Documents have 30 to 50 words from a Zipf-distributed vocabulary (about 250 bytes). One in ten is a copy of a document
that may be anywhere before it, with its last word changed: its similarity is .93 to .96. Time is wall time of the run;
memory is the largest sum of the proportional set sizes (PSS) of all processes, looked at four times a second; disk is
the largest size of the run's folder. MB = 10^6 bytes of UTF-8 text.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import engine

Row = dict[str, Any]

SHARD = 250_000  # documents in one input file
VOCABULARY = 200_000
ZIPF = 1.07
COPIES = 0.1
LOOK_SECONDS = 0.25


def main() -> None:
    """Read the command line, measure each size, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000_000], help="sizes to run, each in turn")
    parser.add_argument("--copies", type=int, nargs="+", help="run over so many copies of --data instead")
    parser.add_argument("--data", type=Path, help="folder of Parquet files with id and text")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, help="where to put corpus and runs (about 1.5 kB per document)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)  # input, output, workers
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run_case(Path(options.case[0]), Path(options.case[1]), int(options.case[2]))))
        return
    with tempfile.TemporaryDirectory(prefix="curate-scale-", dir=options.work) as name:
        folder = Path(name)
        if options.copies:
            data = options.data or engine.default_data()
            rows = [measure(folder, write_copies(data, folder, count), options.workers) for count in options.copies]
        else:
            rows = [measure(folder, write_corpus(folder, count), options.workers) for count in options.documents]
    found: Row = {"machine": engine.machine(), "workers": options.workers, "sizes": rows}
    print(json.dumps(found, indent=2) if options.json else markdown(found))


# --- the corpus -------------------------------------------------------------------------------------------------------


class Corpus(NamedTuple):
    """Parquet files in a folder."""

    folder: Path
    documents: int
    bytes: int


def write_copies(data: Path, folder: Path, copies: int) -> Corpus:
    """Write so many copies of real data, each with fresh ids and other words."""
    found = engine.corpora(data, folder, [copies])[f"{copies}x"]
    return Corpus(folder / f"corpus-{copies}x", found["records"], found["text_bytes"])


def write_corpus(work: Path, documents: int) -> Corpus:
    """Write a synthetic corpus as Parquet files; a larger one begins as a smaller one does."""
    import polars as pl

    folder = work / f"corpus-{documents}"
    folder.mkdir()
    total = 0
    for number, start in enumerate(range(0, documents, SHARD)):
        frame = shard(start, min(SHARD, documents - start))
        total += int(frame["text"].str.len_bytes().sum())
        frame.write_parquet(folder / f"{number:05d}.parquet", row_group_size=50_000, compression="zstd")
        assert frame.schema == {"id": pl.String, "text": pl.String}
    return Corpus(folder, documents, total)


def shard(start: int, count: int) -> Any:
    """The documents of one file: id, text."""
    import numpy as np
    import polars as pl

    numbers = np.arange(start, start + count)
    generator = np.random.default_rng([7, start])
    copied = generator.random(count) < COPIES
    copied[numbers == 0] = False
    original = np.where(copied, (generator.random(count) * numbers).astype(np.int64), numbers)
    words = pl.Series([f"w{number:x}" for number in range(VOCABULARY)])
    lengths = 30 + mixed(original, 0) % 21
    flat = np.repeat(original, lengths)
    place = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    chance = (mixed(flat, place + 1) >> 11) / 2**53
    word = np.minimum((VOCABULARY ** (1 - chance)) ** ZIPF, VOCABULARY - 1).astype(np.int64)  # few words are frequent
    last = np.cumsum(lengths) - 1
    word[last[copied]] = (word[last[copied]] + 1 + numbers[copied]) % VOCABULARY
    texts = pl.DataFrame({"document": np.repeat(np.arange(count), lengths), "word": words.gather(word)})
    joined = texts.group_by("document", maintain_order=True).agg(pl.col("word").str.join(" "))["word"]
    return pl.DataFrame({"id": pl.select(pl.format("s-{}", pl.Series(numbers))).to_series(), "text": joined})


def mixed(one: Any, other: Any) -> Any:
    """A well mixed 63-bit number from two (splitmix64)."""
    import numpy as np

    with np.errstate(over="ignore"):
        value = np.asarray(one).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.asarray(other).astype(np.uint64)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value = value ^ (value >> np.uint64(31))
    return (value >> np.uint64(1)).astype(np.int64)


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(folder: Path, corpus: Corpus, workers: int) -> Row:
    """Run over a corpus in a process of its own, and watch it; both are removed afterwards."""
    output = folder / "out"
    started = time.perf_counter()
    command = [sys.executable, __file__, "--case", str(corpus.folder), str(output), str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        watch = Watch(process.pid, output)
        watch.start()
        printed = process.stdout.read() if process.stdout else b""
    watch.stop()
    wall = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"the run over {corpus.documents} documents ended with exit code {process.returncode}")
    shutil.rmtree(corpus.folder)
    shutil.rmtree(output)
    return {
        "documents": corpus.documents, "mb": corpus.bytes / 1e6, "wall": wall,
        "peak_bytes": watch.memory, "disk_bytes": watch.disk, **json.loads(printed),
    }  # fmt: skip


def run_case(source: Path, output: Path, workers: int) -> Row:
    """What a fresh process does."""
    from curate.pipeline import Pipeline

    text = f"name: scale\ninput: {{paths: ['{source}'], id: id}}\nsteps:\n- near_duplicates\n"
    run = Pipeline.parse(text, base=source).run(output=output, workers=workers)
    (step,) = run.counts["by_step"]
    return {"dropped": step["dropped"], "seconds": run.manifest["seconds"]}


class Watch(threading.Thread):
    """Looks at the memory of a process and its children, and at the size of a folder, until it is stopped."""

    def __init__(self, pid: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.folder = folder
        self.memory = 0
        self.disk = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        """Look until stopped."""
        turn = 0
        while not self.stopped.wait(LOOK_SECONDS):
            self.memory = max(self.memory, sum(map(proportional_bytes, tree(self.pid))))
            if turn % 20 == 0:
                self.disk = max(self.disk, sum(sizes(self.folder)))
            turn += 1

    def stop(self) -> None:
        """End the thread."""
        self.stopped.set()
        self.join()


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    except OSError:
        return
    for child in children:
        yield from tree(int(child))


def proportional_bytes(pid: int) -> int:
    """The memory of a process, what it shares with others divided among them; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def sizes(folder: Path) -> Iterator[int]:
    """The sizes of all files below a folder that may change meanwhile."""
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                yield os.stat(os.path.join(place, name)).st_size
            except OSError:
                continue


# --- printing ---------------------------------------------------------------------------------------------------------


def markdown(found: Row) -> str:
    """The figures as Markdown, with slopes where there are several sizes."""
    about, rows = found["machine"], found["sizes"]
    lines = [
        f"{about['processor']}, {found['workers']} workers, load before {about['load']:.1f}, Python {about['python']}.",
        "",
        "| documents | MB | wall | documents/s | MB/s | peak memory | peak disk | dropped |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['documents']:,} | {row['mb']:,.0f} | {row['wall']:,.0f} s | {row['documents'] / row['wall']:,.0f} "
        f"| {row['mb'] / row['wall']:.1f} | {row['peak_bytes'] / 1e6:,.0f} MB | {row['disk_bytes'] / 1e6:,.0f} MB "
        f"| {row['dropped']:,} |"
        for row in rows
    ]
    names = list(rows[0]["seconds"])
    lines += ["", f"| seconds | {' | '.join(names)} |", f"| --- | {' | '.join(['---:'] * len(names))} |"]
    for row in rows:
        cells = (f"{row['seconds'][name]:.1f}" for name in names)
        lines.append(f"| {row['documents']:,} | {' | '.join(cells)} |")
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        more = last["documents"] - first["documents"]
        wall, memory, disk, mb = (
            (last[name] - first[name]) / more for name in ("wall", "peak_bytes", "disk_bytes", "mb")
        )
        lines += [
            "",
            f"Slopes: {1e6 * wall:.1f} s, {memory:.0f} MB of memory and {disk:,.0f} MB of disk per million documents; "
            f"{mb / wall:.1f} MB/s.",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
