"""How fast near-duplicates are found, and how many of them, beside other tools.

    python benchmarks/near_duplicates.py --peers-python peers/bin/python     everything, one table per question
    python benchmarks/near_duplicates.py --part recall                       one of signatures, recall, peers
    python benchmarks/near_duplicates.py --tool curate --tool Daft           some of the tools
    python benchmarks/near_duplicates.py --json > here.json

Signatures: 128 permutations of word 5-grams on one core. Recall: the share of pairs with known similarity that curate
finds, in bins of .02 from the threshold up, with and without spaces between words. Peers: the whole job of every tool,
each run in a fresh process of an interpreter in which it is installed (benchmarks/peers.txt; `--peers-python` may be
repeated), Parquet in to Parquet out; and what each found, against the exact similarity of all pairs. A tool that is not
installed is listed with the error. MB = 10^6 bytes of UTF-8 text.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import engine
import near_peers
import near_signatures
import near_tables
import near_truth
import processes

Row = dict[str, Any]

PARTS = ("signatures", "recall", "peers")
SETTINGS = ("own", "same")
FILES = 4  # of the corpus, so that two workers have the same to do
SIGNATURE_DOCUMENTS = 8_000
TINY = 200  # documents of the run that warms up
BINS = (0.80, 0.82, 0.84, 0.86, 0.88)


class Case(NamedTuple):
    """One tool with one setting and so many processes or threads."""

    tool: str
    setting: str
    workers: int


def main() -> None:
    """Read the command line, measure, print."""
    options = parsed()
    found: Row = {"machine": engine.machine()}
    with engine.work_folder(options.work) as folder:
        pythons = interpreters(options)
        found["tools"] = {name: state for name, (_, state) in pythons.items()}
        usable = {name: python for name, (python, state) in pythons.items() if "version" in state}
        data = options.data or engine.default_data()
        if "signatures" in options.part:
            found["signatures"] = signatures(data, folder, usable, options.repeat)
        if "recall" in options.part:
            found["recall"] = [row for letters in (False, True) for row in recall(options.pairs, letters)]
        if "peers" in options.part:
            for more in peers(data, folder, usable, options):
                found |= more
                (folder / "figures.json").write_text(json.dumps(found))  # what a run that is broken off leaves
    print(json.dumps(found, indent=2) if options.json else near_tables.markdown(found))


def parsed() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, help="folder of Parquet files with id and text")
    add("--part", choices=PARTS, action="append", help="measure only this; may be repeated")
    add("--tool", choices=list(near_peers.PEERS), action="append", help="only this tool; may be repeated")
    add("--peers-python", type=Path, action="append", default=[], help="interpreter of the tools; may be repeated")
    add("--curate-python", type=Path, default=Path(sys.executable), help="interpreter that imports curate")
    add("--workers", type=int, nargs="+", default=[1, 2], help="processes or threads of a tool")
    add("--sizes", type=int, nargs="+", default=[1, 4], help="copies of the data; a rate is the slope")
    add("--most-seconds", type=float, default=60, help="a slower run at 1x is not repeated at larger sizes")
    add("--planted", type=int, default=250, help="planted pairs in each bin of similarity, for all tools")
    add("--pairs", type=int, default=2_000, help="pairs in each bin of similarity, for curate's recall")
    add("--repeat", type=int, default=3, help="times that each thing runs; the median counts")
    add("--json", action="store_true", help="one JSON object on stdout")
    add("--work", type=Path, help="folder for corpora, runs and the exact pairs (default: a temporary one)")
    options = parser.parse_args()
    for python in (*options.peers_python, options.curate_python):
        if not python.is_file():
            parser.error(f"no interpreter at {python}: give the path of an environment's bin/python")
    options.part = options.part or PARTS
    options.tool = options.tool or list(near_peers.PEERS)
    options.sizes = sorted(options.sizes)
    return options


def interpreters(options: argparse.Namespace) -> dict[str, tuple[Path, Row]]:
    """For each tool the first interpreter that has it, with its version; else the last error."""
    found: dict[str, tuple[Path, Row]] = {}
    for name in options.tool:
        pythons = [options.curate_python] if name == "curate" else [*options.peers_python, Path(sys.executable)]
        for python in pythons:
            command = [str(python), near_peers.__file__, "version", name]
            done = subprocess.run(command, capture_output=True, text=True, env=environment(1, name))
            state: Row = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()[-300:]}
            found[name] = python, state
            if "version" in state:
                break
    return found


def environment(workers: int, tool: str) -> dict[str, str]:
    """The environment of a tool's process: its threads, no network, no installs, this repository for curate alone."""
    names = (*engine.THREAD_VARIABLES, "RAYON_NUM_THREADS")
    offline = dict.fromkeys(
        ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "PIP_NO_INDEX", "UV_OFFLINE", "DO_NOT_TRACK"), "1"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" or tool == "curate"}
    return inherited | dict.fromkeys(names, str(workers)) | offline


# --- signatures -------------------------------------------------------------------------------------------------------


def signatures(data: Path, folder: Path, usable: dict[str, Path], repeat: int) -> list[Row]:
    """MB/s of signatures alone, each tool in a fresh process on one core, on the same texts."""
    import polars as pl

    source = folder / "signatures"
    source.mkdir(exist_ok=True)
    texts = pl.read_parquet(data / "*.parquet", columns=["id", "text"])
    texts.sample(min(SIGNATURE_DOCUMENTS, texts.height), seed=1).write_parquet(source / "texts.parquet")
    rows: list[Row] = []
    for name in near_signatures.SIGNATURES:
        if name not in usable:
            continue
        command = [str(usable[name]), near_signatures.__file__, name, str(source), str(repeat)]
        done = processes.run(command, environment(1, name), folder / "log", cores=1)
        rows += json.loads(done.output) if done.code == 0 else [{"case": name, "error": done.log[-300:]}]
    return rows


# --- recall -----------------------------------------------------------------------------------------------------------


def recall(pairs: int, letters: bool) -> Iterator[Row]:
    """The share of planted pairs that curate finds, by bin of similarity."""
    import polars as pl

    from curate.filters import NearDuplicates
    from curate.testing import decide

    filter = NearDuplicates(threshold=near_truth.THRESHOLD)
    for low in BINS:
        made = list(near_truth.planted(low, pairs, letters))
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


# --- whole jobs -------------------------------------------------------------------------------------------------------


def peers(data: Path, folder: Path, usable: dict[str, Path], options: argparse.Namespace) -> Iterator[Row]:
    """Time, memory and result of every case so far, after each run."""
    sizes = corpora(data, folder, options.sizes, options.planted)
    truth = near_truth.truth(folder / "corpus-1x")
    truth.pairs.write_parquet(folder / "pairs.parquet")
    for name in usable:  # loads its files into the page cache, and compiles curate's kernels
        one_run(Case(name, "own", 1), usable[name], folder, folder / "corpus-tiny")
    cases = list(every_case(usable, options.workers))
    runs: dict[Case, dict[int, list[Row]]] = {case: {} for case in cases}
    results: list[Row] = []
    about = {"corpus": sizes, "pairs": truth.pairs.height, "planted_per_bin": options.planted}
    for size in options.sizes:
        for repeat in range(options.repeat):
            for case in cases if repeat % 2 == 0 else cases[::-1]:  # turns, so that a busy minute hits no tool alone
                first = runs[case].get(options.sizes[0], [])
                if size > options.sizes[0] and (not first or first[0]["wall"] > options.most_seconds):
                    continue
                done = one_run(case, usable[case.tool], folder, folder / f"corpus-{size}x")
                if "error" not in done and (size, repeat, case.workers) == (options.sizes[0], 0, options.workers[0]):
                    results.append(result_of(case, truth, folder))
                runs[case].setdefault(size, []).append(done)
                print(f"{case}, {size}x: {done.get('error') or round(done['wall'], 2)}", file=sys.stderr)
                if "error" in done:
                    break_off(runs, case, done)
                summaries = [summary(case, own, sizes) for case, own in runs.items() if own]
                yield {"data": about, "cases": summaries, "results": results}


def every_case(usable: dict[str, Path], workers: Sequence[int]) -> Iterator[Case]:
    """All settings of all tools, tools in turn."""
    for count in workers:
        for setting in SETTINGS:
            for name in usable:
                peer = near_peers.PEERS[name]
                if (setting == "own" or peer.same) and (count == 1 or peer.parallel):
                    yield Case(name, setting, count)


def corpora(data: Path, folder: Path, sizes: Sequence[int], planted: int) -> Row:
    """Write the corpora: 1x is the data and the planted pairs, shuffled; larger ones add changed copies of the data."""
    import polars as pl

    frame = pl.read_parquet(data / "*.parquet", columns=["id", "text"])
    made = near_truth.planted_documents(planted)
    found: Row = {"planted_bytes": int(made["text"].str.len_bytes().sum()), "planted_documents": made.height}
    tiny = folder / "corpus-tiny"
    tiny.mkdir(exist_ok=True)
    frame.head(TINY).write_parquet(tiny / "part-0.parquet")
    for size in sizes:
        copies = [frame, *(engine.changed(frame, copy) for copy in range(1, size)), made]
        whole = pl.concat(copies).sample(fraction=1, shuffle=True, seed=size)
        target = folder / f"corpus-{size}x"
        target.mkdir(exist_ok=True)
        for number, start in enumerate(range(0, whole.height, -(-whole.height // FILES))):
            part = whole[start : start + -(-whole.height // FILES)]
            part.write_parquet(target / f"part-{number}.parquet", compression="zstd", compression_level=3)
        found[f"{size}x"] = {"bytes": int(whole["text"].str.len_bytes().sum()), "documents": whole.height}
    return found


def one_run(case: Case, python: Path, folder: Path, source: Path) -> Row:
    """One run in a fresh process, folder and home, with its wall time, processor time and peak memory."""
    output = processes.fresh(folder / "run")
    (output / "home").mkdir()
    command = [str(python), near_peers.__file__, "run", case.tool, case.setting, str(source), str(output)]
    home = {
        "HOME": str(output / "home"),
        "XDG_CACHE_HOME": str(output / "home"),
        "HF_HOME": str(output / "home" / "hf"),
    }
    done = processes.run(
        [*command, str(case.workers)],
        environment(case.workers, case.tool) | home,
        folder / "log",
        cores=case.workers,
    )
    if done.code != 0:
        return {"error": done.log.strip()[-500:] or f"ended with {done.code}"}
    return {"wall": done.wall, "cpu": done.cpu, "peak_bytes": done.peak_bytes}


def break_off(runs: dict[Case, dict[int, list[Row]]], case: Case, failed: Row) -> None:
    """Keep the error of a case as its only run."""
    runs[case] = {0: [failed]}


def result_of(case: Case, truth: near_truth.Truth, folder: Path) -> Row:
    """What the last run kept, judged."""
    kept = near_truth.kept_ids(folder / "run")
    found = near_truth.judge(truth, kept, near_peers.PEERS[case.tool].marks_all)
    return {"tool": case.tool, "setting": case.setting} | found


def summary(case: Case, runs: dict[int, list[Row]], sizes: Row) -> Row:
    """Medians of a case and its rate: the slope between the sizes, or all of one size with start-up included."""
    row: Row = case._asdict()
    if "error" in next(iter(runs.values()))[0]:
        return row | {"error": runs[0][0]["error"]}
    small, large = min(runs), max(runs)
    middle = {
        key: {size: statistics.median(one[key] for one in own) for size, own in runs.items()} for key in ("wall", "cpu")
    }
    mb = {size: sizes[f"{size}x"]["bytes"] / 1e6 for size in runs}
    documents = {size: sizes[f"{size}x"]["documents"] for size in runs}
    row |= {key: {f"{size}x": value for size, value in each.items()} for key, each in middle.items()}
    row["peak_bytes"] = {f"{size}x": max(one["peak_bytes"] for one in own) for size, own in runs.items()}
    row["repeats"] = {f"{size}x": len(own) for size, own in runs.items()}
    row["whole_mb_per_second"] = mb[small] / middle["wall"][small]
    row["whole_mb_per_cpu_second"] = mb[small] / middle["cpu"][small]
    if small != large:
        wall = middle["wall"][large] - middle["wall"][small]
        row["mb_per_second"] = (mb[large] - mb[small]) / wall
        row["mb_per_cpu_second"] = (mb[large] - mb[small]) / (middle["cpu"][large] - middle["cpu"][small])
        row["documents_per_second"] = (documents[large] - documents[small]) / wall
        row["start_seconds"] = middle["wall"][small] - mb[small] / row["mb_per_second"]
    else:
        row["documents_per_second"] = documents[small] / middle["wall"][small]
    return row


if __name__ == "__main__":
    main()
