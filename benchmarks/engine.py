"""How fast the engine is, Parquet in to Parquet out, on one core; and how fast curate starts.

    python benchmarks/engine.py                     the engine on data/web, at 1x and 4x, 1 and 2 workers
    python benchmarks/engine.py --sizes 1 4 16      the same with a larger corpus: is memory flat?
    python benchmarks/engine.py --startup           help, import, and a run on a tiny file
    python benchmarks/engine.py --json > here.json

Every case runs in a fresh process. A rate is the slope between the small and the large corpus, and what a run costs in
any case is where that line meets zero, so that start-up is not counted as throughput. MB = 10^6 bytes of UTF-8 text.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
SIZES = [1, 4]
THREAD_VARIABLES = (
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
PIPELINES = {
    "length + exact_duplicates": "steps:\n- length: {min_chars: 20}\n- exact_duplicates\n",
    "length + language + exact_duplicates": "steps:\n- length: {min_chars: 20}\n- language\n- exact_duplicates\n",
}
WORKERS = (1, 2)
CASES = {
    f"{name}, {count} worker{'s' * (count > 1)}": (text, count) for name, text in PIPELINES.items() for count in WORKERS
}
FLOORS = ("floor: polars", "floor: pyarrow")
Row = dict[str, Any]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of Parquet files with id and text")
    parser.add_argument("--repeat", type=int, default=3, help="times that every case runs; the median counts")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sizes of the corpus, times data/web")
    parser.add_argument("--startup", action="store_true", help="measure start-up instead")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--work", type=Path, help="folder for corpora and runs (default: a temporary one)")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)  # name, input, output
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run_case(*options.case)))
        return
    SIZES[:] = sorted(options.sizes)
    with work_folder(options.work) as folder:
        if options.startup:
            found: Row = {"machine": machine(), "startup": startup(folder, max(5, options.repeat))}
        else:
            data = options.data or default_data()
            found = {"machine": machine(), "data": corpora(data, folder)}
            found["cases"] = engine(folder, found["data"], options.repeat)
    print(json.dumps(found, indent=2) if options.json else markdown(found))


def default_data() -> Path:
    """`web` in the folder that CURATE_SHARED names, else in ../shared/data beside the repository."""
    shared = os.environ.get("CURATE_SHARED")
    return (Path(shared) if shared else REPOSITORY.parent / "shared" / "data") / "web"


@contextlib.contextmanager
def work_folder(path: Path | None) -> Iterator[Path]:
    """The folder that was asked for, else a temporary one that is removed at the end."""
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        yield path.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as name:
        yield Path(name)


def machine() -> Row:
    """What the figures depend on."""
    from importlib.metadata import version

    names = ("curate-corpus", "polars", "pyarrow", "numpy", "numba")
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "versions": {name: version(name) for name in names},
    }


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


# --- corpora ----------------------------------------------------------------------------------------------------------


def corpora(data: Path, folder: Path, copies: Sequence[int] | None = None) -> Row:
    """Write the corpora: 1x is the data as it is, 4x has three copies of it with fresh ids and changed words."""
    import polars as pl

    files = sorted(data.glob("*.parquet"))
    if not files:
        sys.exit(f"no Parquet files in {data}: give --data FOLDER, or set CURATE_SHARED (see data/README.md)")
    sizes: Row = {"folder": data.name, "files": len(files)}
    for size in SIZES if copies is None else copies:
        target = folder / f"corpus-{size}x"
        target.mkdir(exist_ok=True)
        bytes_, records = 0, 0
        for file in files:
            for copy in range(size):
                frame = pl.read_parquet(file)
                frame = frame if copy == 0 else changed(frame, copy)
                frame.write_parquet(target / f"{copy}-{file.name}", compression="zstd", compression_level=3)
                bytes_ += int(frame["text"].str.len_bytes().sum())
                records += frame.height
        sizes[f"{size}x"] = {"text_bytes": bytes_, "records": records}
    return sizes


def changed(frame: Any, copy: int) -> Any:
    """A copy with fresh ids whose texts are new: frequent words are exchanged for other words of the corpus.

    Which word stands for which depends on the copy alone. A text that has none of these words (another script, a very
    short text) gets a new word at its end instead, so that no text of a copy equals one of another copy.
    """
    import polars as pl

    words = frame["text"].str.extract_all(r"\b[a-z]{4,9}\b").explode(empty_as_null=True).drop_nulls()
    by_count = words.value_counts().sort("count", "text", descending=[True, False])
    common = by_count["text"].head(1000).to_list()
    others = [common[(number + 37 * copy) % len(common)] for number in range(len(common))]
    text = pl.col("text")
    new = text.str.replace_many([f" {word} " for word in common], [f" {word} " for word in others])
    marker = hashlib.blake2b(str(copy).encode(), digest_size=4).hexdigest()
    return frame.with_columns(
        id=pl.format("{}-copy-{}", "id", pl.lit(copy)),
        text=pl.when(new == text).then(pl.format("{} {}", text, pl.lit(marker))).otherwise(new),
    )


# --- the engine -------------------------------------------------------------------------------------------------------


def engine(folder: Path, sizes: Row, repeat: int) -> list[Row]:
    """Measure every case at every size, each time in a fresh process, and take slopes between the medians."""
    names = [*CASES, *FLOORS]
    times: dict[tuple[str, int], list[Row]] = {(name, size): [] for name in names for size in SIZES}
    for case in names:
        fresh_process(case, folder / f"corpus-{SIZES[0]}x", folder / "out")  # compiles kernels, fills the page cache
    for _ in range(repeat):  # all cases in turn, so that a busy minute does not hit one case alone
        for (case, size), found in times.items():
            found.append(fresh_process(case, folder / f"corpus-{size}x", folder / "out"))
            print(f"{case}, {size}x: {found[-1]['wall']:.2f} s", file=sys.stderr)
    return [summary(name, sizes, {size: times[name, size] for size in SIZES}) for name in names]


def fresh_process(case: str, source: Path, output: Path) -> Row:
    """Run one case in its own process; return its own figures and the wall time and processor time of the process."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, __file__, "--case", case, str(source), str(output)]
    before = os.times()
    started = time.perf_counter()
    done = subprocess.run(
        command, env=os.environ | dict.fromkeys(THREAD_VARIABLES, "1"), stdout=subprocess.PIPE, check=True
    )
    wall = time.perf_counter() - started
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    found: Row = json.loads(done.stdout)
    return found | {"wall": wall, "cpu": cpu}


def run_case(case: str, source: str, output: str) -> Row:
    """What a fresh process does: one run, or one floor."""
    from curate.estimate import peak_memory

    if case in CASES:
        found = run_pipeline(*CASES[case], Path(source), Path(output))
    else:
        floor: Callable[[Path, Path], Row] = {"floor: polars": polars_floor, "floor: pyarrow": pyarrow_floor}[case]
        found = floor(Path(source), Path(output))
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # the largest one
    return found | {"peak_bytes": max(peak_memory(), worker)}


def run_pipeline(steps: str, workers: int, source: Path, output: Path) -> Row:
    """A whole run as `curate run` does it, in this process and its workers."""
    from curate.pipeline import Pipeline
    from curate.run import run_pipeline

    text = f"name: benchmark\ninput: {{paths: ['{source}'], id: id}}\n{steps}"
    run = run_pipeline(Pipeline.parse(text, base=source), None, output, workers=workers)
    manifest = run.manifest
    return {"counts": run.counts, "work": manifest["work"], "seconds": manifest["seconds"], "disk": disk(output)}


def disk(output: Path) -> Row:
    """Bytes on disk of a run: what is published, what is kept private, what may be deleted."""
    return {
        name: sum(file.stat().st_size for file in (output / name).rglob("*") if file.is_file())
        for name in ("dataset", "audit", ".curate")
    }


def polars_floor(source: Path, output: Path) -> Row:
    """Read and write the same Parquet files with polars, zstd level 3, one thread: nothing can be faster with it."""
    import polars as pl

    output.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        pl.read_parquet(file).write_parquet(output / file.name, compression="zstd", compression_level=3)
    return {}


def pyarrow_floor(source: Path, output: Path) -> Row:
    """Read and write the same Parquet files with pyarrow, zstd level 3, one thread, batch by batch."""
    import pyarrow.parquet as pq

    output.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        reader = pq.ParquetFile(file)
        target = str(output / file.name)
        with pq.ParquetWriter(target, reader.schema_arrow, compression="zstd", compression_level=3) as writer:
            for batch in reader.iter_batches(batch_size=8192, use_threads=False):
                writer.write_batch(batch)
    return {}


def summary(name: str, sizes: Row, times: dict[int, list[Row]]) -> Row:
    """One case: medians at each size, rates as slopes, start-up apart, steps of the large run."""
    small, large = SIZES[0], SIZES[-1]
    wall = {size: statistics.median(one["wall"] for one in found) for size, found in times.items()}
    cpu = {size: statistics.median(one["cpu"] for one in found) for size, found in times.items()}
    mb = {size: sizes[f"{size}x"]["text_bytes"] / 1e6 for size in SIZES}
    records = {size: sizes[f"{size}x"]["records"] for size in SIZES}
    per_mb = (wall[large] - wall[small]) / (mb[large] - mb[small])
    cpu_per_mb = (cpu[large] - cpu[small]) / (mb[large] - mb[small])
    last = min(times[large], key=lambda one: abs(one["wall"] - wall[large]))
    return {
        "case": name,
        "mb_per_second": 1 / per_mb,
        "mb_per_cpu_second": 1 / cpu_per_mb,
        "documents_per_second": (records[large] - records[small]) / (wall[large] - wall[small]),
        "start_seconds": wall[small] - per_mb * mb[small],
        "wall": {f"{size}x": sorted(one["wall"] for one in times[size]) for size in SIZES},
        "cpu": {f"{size}x": sorted(one["cpu"] for one in times[size]) for size in SIZES},
        "peak_bytes": {f"{size}x": max(one["peak_bytes"] for one in times[size]) for size in SIZES},
        "steps": list(steps_of(last, mb[large])),
        "seconds": last.get("seconds", {}),
        "disk": last.get("disk", {}),
    }


def steps_of(run: Row, mb: float) -> Iterator[Row]:
    """What each step did in the large run, from its manifest; MB/s relative to the whole input."""
    work = {row["step"]: row["seconds"] for row in run.get("work", [])}
    for step in run.get("counts", {}).get("by_step", []):
        seconds = work[step["step"]]
        yield {
            "step": step["step"],
            "seen": step["seen"],
            "dropped": step["dropped"],
            "seconds": seconds,
            "mb_per_second": mb / seconds if seconds else None,
        }


# --- start-up ---------------------------------------------------------------------------------------------------------


def startup(folder: Path, repeat: int) -> list[Row]:
    """Wall time of whole processes: the median of several, after one that warms up."""
    tiny = folder / "tiny.jsonl"
    lines = [{"id": str(number), "text": f"A short text of a few words, number {number}."} for number in range(100)]
    tiny.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pipeline = folder / "tiny.yaml"
    pipeline.write_text(f"input: {{paths: [tiny.jsonl], id: id}}\n{PIPELINES['length + language + exact_duplicates']}")
    curate = [sys.executable, "-c", "from curate.cli import main; main()"]
    commands = {
        "python, nothing else": [sys.executable, "-c", "pass"],
        "curate --help": [*curate, "--help"],
        "import curate": [sys.executable, "-c", "import curate"],
        "curate run on 100 records": [*curate, "run", str(pipeline), "--output", str(folder / "tiny-run"), "--fresh"],
    }
    return [timed(name, command, repeat) for name, command in commands.items()]


def timed(name: str, command: Sequence[str], repeat: int) -> Row:
    """The wall times of a command."""
    times = []
    for number in range(repeat + 1):
        started = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{name} ended with {done.returncode}:\n{done.stderr}")
        if number:
            times.append(time.perf_counter() - started)
    return {"case": name, "median": statistics.median(times), "least": min(times), "most": max(times)}


# --- printing ---------------------------------------------------------------------------------------------------------


def markdown(found: Row) -> str:
    """The figures as Markdown tables."""
    about = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [f"{about['processor']}, {about['cores']} cores, Python {about['python']}, {versions}.", ""]
    lines += _startup_table(found["startup"]) if "startup" in found else _engine_tables(found)
    return "\n".join(lines)


def _startup_table(rows: Sequence[Row]) -> list[str]:
    lines = ["| start-up | median | least | most |", "| --- | ---: | ---: | ---: |"]
    return lines + [f"| {r['case']} | {r['median']:.2f} s | {r['least']:.2f} s | {r['most']:.2f} s |" for r in rows]


def _engine_tables(found: Row) -> list[str]:
    data = found["data"]
    text = ", ".join(
        f"{size}x = {data[f'{size}x']['text_bytes'] / 1e6:,.1f} MB of text in {data[f'{size}x']['records']:,} documents"
        for size in SIZES
    )
    lines = [f"Input: {text}. One thread per worker; rates are slopes from the smallest to the largest, medians.", ""]
    shown = ", ".join(f"{size}x" for size in SIZES)
    lines += [
        f"| Parquet to Parquet | MB/s | documents/s | MB per CPU second | start-up | wall {shown} | peak {shown} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in found["cases"]:
        wall = ", ".join(f"{statistics.median(row['wall'][f'{size}x']):.2f} s" for size in SIZES)
        peak = ", ".join(f"{row['peak_bytes'][f'{size}x'] / 1e6:,.0f} MB" for size in SIZES)
        lines.append(
            f"| {row['case']} | {row['mb_per_second']:.1f} | {row['documents_per_second']:,.0f} "
            f"| {row['mb_per_cpu_second']:.1f} | {row['start_seconds']:.2f} s | {wall} | {peak} |"
        )
    lines += ["", f"Inside the runs at {SIZES[-1]}x (from the manifest; MB/s of the whole input):", ""]
    lines += ["| case | part | documents | dropped | seconds | MB/s |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for row in found["cases"]:
        lines += [
            f"| {row['case']} | step {step['step']} | {step['seen']:,} | {step['dropped']:,} "
            f"| {step['seconds']:.2f} | {step['mb_per_second'] or 0:,.0f} |"
            for step in row["steps"]
        ]
        mb = data[f"{SIZES[-1]}x"]["text_bytes"] / 1e6
        lines += [
            f"| {row['case']} | {name} | | | {seconds:.2f} | {mb / seconds if seconds else 0:,.0f} |"
            for name, seconds in row["seconds"].items()
        ]
        if row["disk"]:
            sizes = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in row["disk"].items())
            lines.append(f"| {row['case']} | on disk: {sizes} | | | | |")
    return lines


if __name__ == "__main__":
    main()
