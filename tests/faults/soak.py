"""An overnight-like soak: runs over a repeated corpus while its workers are killed at random; results must not change.

    python tests/faults/soak.py --minutes 20 --data ../shared/data/web

The corpus is copied with fresh ids and changed words and run undisturbed once, then again and again with random
kills of workers, and compares every published byte. Ends with exit code 1 at the first difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PIPELINE = """
name: soak
steps:
  - length: {min_words: 5}
  - language: {min_confidence: 0.1}
  - exact_duplicates
"""


def main() -> None:
    """Run rounds until the time is over, then print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/web"))
    parser.add_argument("--copies", type=int, default=2)
    options = parser.parse_args()
    deadline = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="curate-soak-") as name:
        folder = Path(name)
        (folder / "p.yaml").write_text(PIPELINE)
        copy_corpus(options.data, folder / "in", options.copies)
        expected = outcome(folder, run(folder, "whole", kills=None)[0])
        shutil.rmtree(folder / "whole")
        runs = kills = 0
        while time.monotonic() < deadline:
            out, hits = run(folder, "out", kills=random.Random(runs))
            if outcome(folder, out) != expected:
                sys.exit(f"run {runs} with {hits} kills differs from the undisturbed run")
            shutil.rmtree(out)
            runs, kills = runs + 1, kills + hits
            print(f"{runs} runs, {kills} workers killed, all equal", flush=True)
    print(json.dumps({"runs": runs, "workers_killed": kills, "records_per_run": expected["counts"]["read"]}))


def copy_corpus(data: Path, folder: Path, copies: int) -> None:
    """The corpus several times, with fresh ids and changed words, in row groups that make many chunks."""
    import polars as pl

    folder.mkdir()
    for copy in range(copies):
        for file in sorted(data.glob("*.parquet")):
            frame = pl.read_parquet(file).with_columns(
                pl.format("{}-{}", "id", pl.lit(copy)).alias("id"),
                pl.col("text").str.replace_all(" the ", f" the{copy} ", literal=True),
            )
            frame.write_parquet(folder / f"{copy:03d}-{file.name}", row_group_size=2000)


def run(folder: Path, name: str, kills: random.Random | None) -> tuple[Path, int]:
    """One run with two workers, some killed; a run that gives up (exit code 3) is resumed."""
    out = folder / name
    hits = 0
    for _ in range(20):
        code, more, said = once(folder, out, kills)
        hits += more
        if code != 3:
            break
        print("gave up, resumed", flush=True)
    if code != 0:
        sys.exit(f"exit code {code} after {hits} kills:\n{said}")
    return out, hits


def once(folder: Path, out: Path, kills: random.Random | None) -> tuple[int, int, str]:
    """The command once: exit code, workers killed, what it said."""
    command = [sys.executable, "-m", "curate", "run", str(folder / "p.yaml"), "--input", str(folder / "in")]
    process = subprocess.Popen([*command, "--output", str(out), "--workers", "2"], stderr=subprocess.PIPE, text=True)
    hits = 0
    over = threading.Event()

    def kill_workers() -> None:
        nonlocal hits
        while kills is not None and not over.wait(kills.uniform(1, 8)):
            workers = children(process.pid)
            if workers:
                try:
                    os.kill(kills.choice(workers), signal.SIGKILL)
                    hits += 1
                except ProcessLookupError:
                    continue

    thread = threading.Thread(target=kill_workers)
    thread.start()
    _, said = process.communicate()
    over.set()
    thread.join()
    return process.returncode, hits, said


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def outcome(folder: Path, run: Path) -> dict[str, object]:
    """Counts and the hash of every published file; the invariant is checked."""
    counts = json.loads((run / "manifest.json").read_bytes())["counts"]
    if counts["read"] != counts["kept"] + counts["dropped"] + counts["quarantined"]:
        sys.exit(f"counts do not add up: {counts}")
    if any((run / ".curate" / "tmp").glob("*")) or (run / ".curate" / "lock").exists():
        sys.exit("temporary files or a lock were left")
    files = sorted(path for part in ("dataset", "audit/ledger") for path in (run / part).rglob("*.parquet"))
    hashes = {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {"counts": counts, "hashes": hashes}


if __name__ == "__main__":
    main()
