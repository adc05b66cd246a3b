"""Kills, signals, full disks, two runs at once: afterwards the bytes of an undisturbed run, and nothing left over."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from engine import hashes, make_corpus, write_lines

PIPELINE = """
name: crash
steps:
  - length: {min_words: 4}
  - language: {min_confidence: 0.01}
  - exact_duplicates
max_quarantined: 5%
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = make_corpus(tmp_path / "in", files=4, documents=50)
    bad = [
        b"{broken",
        {"id": "twin", "text": "the same text twice over"},
        {"id": "twin", "text": "The same text twice over"},
    ]
    write_lines(folder / "part-9.jsonl", bad)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    return folder


def command(corpus: Path, out: Path, *more: str) -> list[str]:
    program = "import sys; from curate.cli import main; main(sys.argv[1:])"
    pipeline = str(corpus.parent / "p.yaml")
    return [sys.executable, "-c", program, "run", pipeline, "--input", str(corpus), "--output", str(out), *more]


def finish(corpus: Path, out: Path, *more: str) -> None:
    done = subprocess.run(command(corpus, out, *more), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def clean(run: Path) -> None:
    """The invariant: counts, no temporary file, no lock, every output as the manifest says."""
    import hashlib

    manifest = orjson.loads((run / "manifest.json").read_bytes())
    counts = manifest["counts"]
    assert counts["read"] == counts["kept"] + counts["dropped"] + counts["quarantined"] == 203
    for part in manifest["outputs"]:
        assert hashlib.sha256((run / part["path"]).read_bytes()).hexdigest() == part["sha256"]
    published = {part["path"] for part in manifest["outputs"]}
    found = {str(path.relative_to(run)) for path in run.rglob("*.parquet")}
    assert found == published
    assert not list((run / ".curate").glob("tmp/*"))
    assert not (run / ".curate" / "lock").exists()


@pytest.fixture
def expected(corpus: Path, tmp_path: Path) -> dict[str, str]:
    finish(corpus, tmp_path / "whole", "--workers", "1")
    clean(tmp_path / "whole")
    return hashes(tmp_path / "whole", "dataset/data", "audit/ledger", "audit/quarantine")


def same(run: Path, expected: dict[str, str]) -> None:
    clean(run)
    assert hashes(run, "dataset/data", "audit/ledger", "audit/quarantine") == expected


def processes_with(text: str) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "environ").read_bytes():
                yield int(entry.name)
        except OSError:
            continue


def kill_often(corpus: Path, tmp_path: Path, expected: dict[str, str], hits: int) -> None:
    """Kill -9 at random moments until so many kills interrupted work; then finish and compare; again and again."""
    rng = random.Random(1)
    mark = f"CURATE_TEST_MARK={tmp_path.name}-{os.getpid()}"
    environment = os.environ | dict([mark.split("=")])
    out = tmp_path / "out"
    killed = 0
    while killed < hits:
        process = subprocess.Popen(
            command(corpus, out, "--workers", "2"), env=environment, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(rng.uniform(0.3, 3.0))
        if process.poll() is None:
            process.kill()
            process.wait()
            killed += not (out / "manifest.json").exists()
        if (out / "manifest.json").exists() or killed % 10 == 0:
            finish(corpus, out, "--workers", "2")
            same(out, expected)
            subprocess.run(["rm", "-r", str(out)], check=True)
    finish(corpus, out)
    same(out, expected)
    time.sleep(1.5)
    assert list(processes_with(mark)) == []


def test_killed_at_random_moments(corpus: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    kill_often(corpus, tmp_path, expected, hits=4)


@pytest.mark.slow
def test_killed_a_hundred_times(corpus: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    kill_often(corpus, tmp_path, expected, hits=100)


def fail_at_each(corpus: Path, tmp_path: Path, expected: dict[str, str], first: int, step: int, how: str) -> int:
    """Fail (or kill) at every `step`-th storage operation, resume each time, until a run gets through."""
    failed = 0
    number = first
    while True:
        out = tmp_path / f"out-{number}"
        environment = os.environ | {"CURATE_FAIL_AT": f"{number}{how}"}
        done = subprocess.run(command(corpus, out, "--workers", "1"), env=environment, capture_output=True, text=True)
        if done.returncode == 0:
            return failed
        assert done.returncode == (137 if how else 3), done.stderr
        if not how:
            assert "cannot write" in done.stderr
            assert "hint:" in done.stderr
        finish(corpus, out, "--workers", "1")
        same(out, expected)
        subprocess.run(["rm", "-r", str(out)], check=True)
        failed += 1
        number += step


@pytest.mark.parametrize("how", ["", ":kill"])
def test_a_failure_at_some_storage_operations(corpus: Path, tmp_path: Path, expected: dict[str, str], how: str) -> None:
    assert fail_at_each(corpus, tmp_path, expected, first=3, step=110, how=how) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("how", ["", ":kill"])
def test_a_failure_at_every_storage_operation(corpus: Path, tmp_path: Path, expected: dict[str, str], how: str) -> None:
    print(f"\n{fail_at_each(corpus, tmp_path, expected, first=1, step=1, how=how)} operations failed")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_stops_the_run_and_says_how_to_go_on(
    corpus: Path, tmp_path: Path, expected: dict[str, str], number: signal.Signals, code: int, workers: str
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(corpus, out, "--workers", workers), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 20
    while not (out / ".curate" / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "run the same command again to resume" in said
    assert not (out / "manifest.json").exists()
    finish(corpus, out)
    same(out, expected)


@pytest.mark.parametrize("limit", [20_000, 4_000])
def test_a_full_disk_stops_the_run_with_the_path(
    corpus: Path, tmp_path: Path, expected: dict[str, str], limit: int
) -> None:
    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    out = tmp_path / "out"
    done = subprocess.run(
        command(corpus, out, "--workers", "1"), preexec_fn=small_files, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert f"cannot write {out}" in done.stderr
    assert "File too large" in done.stderr
    assert not (out / "manifest.json").exists()
    finish(corpus, out)
    same(out, expected)


def test_a_second_run_over_the_same_folder_is_refused(corpus: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    out = tmp_path / "out"
    first = subprocess.Popen(command(corpus, out), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (out / ".curate" / "lock").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    second = subprocess.run(command(corpus, out), capture_output=True, text=True)
    assert second.returncode == 2
    assert f"process {first.pid} on" in second.stderr
    assert first.wait() == 0
    same(out, expected)


def test_a_read_only_place_is_refused_before_any_work(corpus: Path, tmp_path: Path) -> None:
    place = Path("/proc/curate-out")
    done = subprocess.run(command(corpus, place), capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot write to" in done.stderr
    assert "hint:" in done.stderr
