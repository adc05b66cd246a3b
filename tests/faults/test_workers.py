"""Workers that die, hang or grow cost one record; a killed parent leaves no worker behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine import Counted, FirstLetter, Poison, hashes, words, write_lines

from curate import Pipeline
from curate.executors import Failure, Local

TESTS = str(Path(__file__).parent.parent)


@pytest.fixture(autouse=True)
def workers_find_the_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)


def square(number: int) -> int:
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 14:
        raise ValueError("fourteen")
    return number * number


def test_a_killed_worker_costs_its_item_only() -> None:
    executor = Local(2)
    results = dict(executor.map(square, [*range(14), 15, 16]))
    executor.close()
    lost = results.pop(13)
    assert isinstance(lost, Failure)
    assert (lost.kind, lost.detail) == ("killed", "its process ended with signal 9")
    assert results == {number: number * number for number in [*range(13), 15, 16]}


def test_an_exception_in_a_worker_is_raised_here() -> None:
    executor = Local(2)
    with pytest.raises(ValueError, match="fourteen"):
        list(executor.map(square, range(14, 20)))
    executor.close()


@pytest.mark.parametrize(
    ("poison", "limits", "error"),
    [
        ("die", {}, "killed: its process ended with signal 9"),
        ("hang", {"seconds": 1.5}, "time: it took more than 1.5 s"),
        ("grow", {"memory": "900MB"}, "memory: its process grew beyond 900000000 bytes"),
    ],
)
def test_the_record_that_loses_workers_ends_in_quarantine(
    tmp_path: Path, poison: str, limits: dict[str, object], error: str
) -> None:
    texts = [words(number, 4) for number in range(8)]
    texts[5] = f"please {poison} now"
    corpus = write_lines(tmp_path / "in.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    pipeline = Pipeline(steps=[Poison(), Counted(), FirstLetter()], max_quarantined=0.2, limits=limits)
    done = pipeline.run(str(corpus), tmp_path / "out", workers=2)
    assert done.quarantine.select("row", "step", "error").rows() == [(5, "test.poison", error)]
    assert done.counts["read"] == 8
    assert done.counts["quarantined"] == 1


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from curate import Pipeline
from engine import Slow
Pipeline(steps=[Slow()]).run({corpus!r}, {out!r}, workers=2)
"""


def start(tmp_path: Path) -> "subprocess.Popen[bytes]":
    for file in range(4):
        write_lines(tmp_path / "in" / f"{file}.jsonl", [{"text": words(n, 5)} for n in range(20)])
    program = PROGRAM.format(tests=TESTS, corpus=str(tmp_path / "in"), out=str(tmp_path / "out"))
    return subprocess.Popen([sys.executable, "-c", program], start_new_session=True)


def workers_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    parent = start(tmp_path)
    deadline = time.monotonic() + 30
    while len(workers := workers_of(parent.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    for file in range(4):
        write_lines(tmp_path / "in" / f"{file}.jsonl", [{"text": words(n * 7 + file, 5)} for n in range(20)])
    pipeline = Pipeline(steps=[Counted(low=20), FirstLetter()])
    expected = hashes(pipeline.run(str(tmp_path / "in"), tmp_path / "whole", workers=1).root)
    environment = os.environ | {"CURATE_FAIL_AT": "31:kill"}
    program = (
        f"import sys; sys.path.insert(0, {TESTS!r})\nfrom curate import Pipeline\nfrom engine import *\n"
        f"Pipeline(steps=[Counted(low=20), FirstLetter()])"
        f".run({str(tmp_path / 'in')!r}, {str(tmp_path / 'out')!r}, workers=1)"
    )
    killed = subprocess.run([sys.executable, "-c", program], env=environment)
    assert killed.returncode == 137
    assert not (tmp_path / "out" / "manifest.json").exists()
    done = pipeline.run(str(tmp_path / "in"), tmp_path / "out", workers=2)
    assert hashes(done.root) == expected
    assert not list((tmp_path / "out" / ".curate").glob("tmp/*"))


def test_a_plugin_that_kills_its_process_costs_one_record_of_a_small_input(tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text(
        "import os, polars as pl, curate\n"
        "@curate.filter(name='acme.dies')\n"
        "def dies(docs):\n"
        "    if docs['text'].str.contains('die').any(): os._exit(9)\n"
        "    return pl.select(pl.repeat(False, docs.height)).to_series()\n"
    )
    texts = ["one", "please die", "three"]
    write_lines(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    text = "plugins: [acme.py]\nmax_quarantined: 50%\nsteps: [acme.dies]\ninput: {paths: [in.jsonl]}\n"
    done = Pipeline.parse(text, base=tmp_path).run(output=tmp_path / "out")
    assert done.quarantine.select("row", "step").rows() == [(1, "acme.dies")]
    assert done.counts["kept"] == 2
