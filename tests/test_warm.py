"""The second process that compiles kernels on a first run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curate import warm
from curate.filters import Length, NearDuplicates


class Started(Exception):
    """Raised where a process would be started."""


def refuse(*_: Any, **__: Any) -> None:
    raise Started


def test_a_process_starts_where_near_duplicates_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(warm.HERE, raising=False)
    monkeypatch.setattr(warm, "is_compiled", lambda: False)
    monkeypatch.setattr(subprocess, "Popen", refuse)

    with pytest.raises(Started), warm.compiling_beside([Length(), NearDuplicates()]):
        pass


@pytest.mark.parametrize("compiled", [True, False])
def test_no_process_starts_where_it_would_gain_nothing(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    monkeypatch.delenv(warm.HERE, raising=False)
    monkeypatch.setattr(warm, "is_compiled", lambda: compiled)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    filters = [Length(), NearDuplicates()] if compiled else [Length()]
    entered = []

    with warm.compiling_beside(filters):
        entered.append(filters)

    assert entered == [filters]


def test_the_second_process_starts_no_third(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(warm.HERE, "1")
    monkeypatch.setattr(warm, "is_compiled", lambda: False)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    entered = []

    with warm.compiling_beside([NearDuplicates()]):
        entered.append(1)

    assert entered == [1]


def test_an_error_of_the_run_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def sleeper(*_: Any, **__: Any) -> subprocess.Popen[bytes]:
        started.append(real([sys.executable, "-c", "import time; time.sleep(600)"]))
        return started[0]

    monkeypatch.delenv(warm.HERE, raising=False)
    monkeypatch.setattr(warm, "is_compiled", lambda: False)
    monkeypatch.setattr(subprocess, "Popen", sleeper)

    with pytest.raises(KeyError), warm.compiling_beside([NearDuplicates()]):
        raise KeyError

    assert started[0].returncode not in (None, 0)


def test_what_it_runs_compiles_the_kernel_that_is_looked_for(tmp_path: Path) -> None:
    code = "from curate import warm; assert not warm.is_compiled(); warm.main(); assert warm.is_compiled()"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), warm.HERE: "1"},
        check=False,
        capture_output=True,
    )

    assert done.returncode == 0, done.stderr.decode()
