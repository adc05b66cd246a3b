"""Executors run a function over items, in this process or in others; retry and quarantine belong to the engine.

`local` starts worker processes of its own (`python -m curate.worker`), because the pools of the standard library hang
or lose every pending item when a worker is killed (FAULTS traps 9 and 10). A worker that dies, hangs or grows too large
costs exactly the item that it had.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Literal, Protocol, TypeVar

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")

LIBRARIES = ("POLARS_MAX", "OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMBA_NUM")
THREADS = {f"{library}_THREADS": "1" for library in LIBRARIES}  # one each: the workers are the parallelism
ATTEMPTS = 5  # at one piece of work whose worker is lost, before the run stops
LOOK_SECONDS = 0.25  # how often workers are looked at for time and memory


@dataclass(frozen=True)
class Failure:
    """An item whose worker was lost: killed from outside or by itself, over its time, over its memory."""

    kind: Literal["killed", "time", "memory"]
    detail: str
    doing: str = ""  # what the worker said last that it was doing


class Executor(Protocol):
    """Runs a picklable function over small picklable items; results may come in any order."""

    workers: int

    def map(self, function: Callable[[I], R], items: Iterable[I]) -> Iterator[tuple[I, R | Failure]]:
        """Yield (item, result or Failure) as they arrive; an exception of the function is raised here."""
        ...

    def close(self) -> None:
        """Free what the executor holds."""
        ...


class Serial:
    """Runs everything in this process, one item after the other."""

    workers = 1

    def map(self, function: Callable[[I], R], items: Iterable[I]) -> Iterator[tuple[I, R | Failure]]:
        """Yield (item, result) in the order of the items."""
        for item in items:
            yield item, function(item)

    def close(self) -> None:
        """Nothing to free."""


def ordered(executor: Executor, function: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
    """Results of `executor.map` in the order of the items; an item whose worker was lost is tried again."""
    from curate.errors import StoppedError

    listed = list(items)
    pending = list(enumerate(listed))
    waiting: dict[int, R] = {}
    number = 0
    for attempt in range(1, ATTEMPTS + 1):
        lost: list[tuple[int, I]] = []
        for (position, item), result in executor.map(_Numbered(function), pending):
            if isinstance(result, Failure):
                if attempt == ATTEMPTS:
                    raise StoppedError(
                        f"a worker was lost {ATTEMPTS} times over the same work: {result.detail}",
                        hint="give it more memory or fewer workers, then run the same command again",
                    )
                lost.append((position, item))
                continue
            waiting[position] = result
            while number in waiting:
                yield waiting.pop(number)
                number += 1
        pending = lost
        if not pending:
            return


class _Numbered:
    """Calls a function on the item of a (position, item) pair; a class, so that it pickles."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, pair: tuple[int, Any]) -> Any:
        return self.function(pair[1])


# --- local processes --------------------------------------------------------------------------------------------------


@dataclass
class _Worker:
    """One worker process and what it is at."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    item: Any = None
    busy: bool = False
    doing: str = ""
    since: float = 0.0
    function: int = -1


@dataclass
class Local:
    """Worker processes on this machine; `seconds` and `memory` bound one step over one batch, and one worker."""

    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    seconds: float | None = None
    memory: int | None = None
    _alive: list[_Worker] = field(default_factory=list)
    _functions: int = 0

    def map(self, function: Callable[[I], R], items: Iterable[I]) -> Iterator[tuple[I, R | Failure]]:
        """Yield (item, result or Failure) as they arrive; an exception of the function is raised here."""
        import cloudpickle

        code = cloudpickle.dumps(function)
        self._functions += 1
        source = iter(items)
        waiting = True
        looked = time.monotonic()
        try:
            while waiting or any(worker.busy for worker in self._alive):
                while waiting and sum(worker.busy for worker in self._alive) < self.workers:
                    try:
                        item = next(source)
                    except StopIteration:
                        waiting = False
                        break
                    self._give(code, item)
                busy = {worker.pipe: worker for worker in self._alive if worker.busy}
                for pipe in wait(list(busy), timeout=LOOK_SECONDS) if busy else ():
                    yield from self._hear(busy[pipe])  # type: ignore[index]  # what we waited for are connections
                if time.monotonic() - looked > LOOK_SECONDS:
                    looked = time.monotonic()
                    yield from self._look()
        finally:
            if any(worker.busy for worker in self._alive):  # left early: what still runs belongs to nobody
                self.close()

    def close(self) -> None:
        """End all workers, at once when they are at work."""
        for worker in self._alive:
            worker.pipe.close()
            worker.process.kill() if worker.busy else worker.process.terminate()
            worker.process.wait()
        self._alive.clear()

    def _give(self, code: bytes, item: Any) -> None:
        worker = next((worker for worker in self._alive if not worker.busy), None) or self._start()
        try:
            if worker.function != self._functions:
                worker.pipe.send_bytes(b"f" + code)
                worker.function = self._functions
            worker.pipe.send_bytes(b"i" + pickle.dumps(item))
        except (BrokenPipeError, ConnectionResetError):  # it died while it had nothing to do: nobody's fault
            self._forget(worker)
            self._give(code, item)
            return
        worker.item, worker.busy, worker.doing, worker.since = item, True, "", time.monotonic()

    def _start(self) -> _Worker:
        from curate.filter import plugin_files

        ours, theirs = Pipe()
        command = [sys.executable, "-m", "curate.worker", str(theirs.fileno()), *map(str, plugin_files())]
        process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env=os.environ | THREADS, stdin=subprocess.DEVNULL
        )
        theirs.close()
        worker = _Worker(process, ours)
        self._alive.append(worker)
        return worker

    def _hear(self, worker: _Worker) -> Iterator[tuple[Any, Any]]:
        try:
            message = worker.pipe.recv_bytes()
        except (EOFError, ConnectionResetError):
            yield worker.item, self._lost(worker, "killed")
            return
        if message[:1] == b"d":
            worker.doing, worker.since = message[1:].decode(), time.monotonic()
            return
        value = pickle.loads(message[1:])
        item = worker.item
        worker.busy, worker.item = False, None
        if message[:1] == b"e":
            raise value
        yield item, value

    def _look(self) -> Iterator[tuple[Any, Any]]:
        for worker in [worker for worker in self._alive if worker.busy]:
            if self.seconds is not None and worker.doing and time.monotonic() - worker.since > self.seconds:
                yield worker.item, self._lost(worker, "time")
            elif self.memory is not None and resident_bytes(worker.process.pid) > self.memory:
                yield worker.item, self._lost(worker, "memory")

    def _lost(self, worker: _Worker, kind: Literal["killed", "time", "memory"]) -> Failure:
        worker.process.kill()
        code = worker.process.wait()
        self._forget(worker)
        detail = {
            "killed": f"its process ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}",
            "time": f"it took more than {self.seconds} s",
            "memory": f"its process grew beyond {self.memory} bytes",
        }
        return Failure(kind, detail[kind], worker.doing)

    def _forget(self, worker: _Worker) -> None:
        worker.pipe.close()
        self._alive.remove(worker)


def resident_bytes(pid: int) -> int:
    """The resident memory of a process; 0 when it is gone or the system does not say."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
