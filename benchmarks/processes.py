"""Run a command and measure it with all processes that it starts: wall time, processor time, memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

INTERVAL = 0.5  # seconds between two looks at the memory; a shorter peak of several processes together is missed
TICK = os.sysconf("SC_CLK_TCK")


class Done(NamedTuple):
    """How a command ended.

    `peak_bytes` is the largest sum of the PSS of all its processes (a shared page counts once) at one look, or the
    largest VmHWM of one of them where that is more. `cpu` is what they used, waited for or not.
    """

    code: int
    wall: float
    cpu: float
    peak_bytes: int
    output: str
    log: str


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def run(command: list[str], environment: dict[str, str], log: Path, cores: int) -> Done:
    """Run a command on the last so many cores; its standard error goes to `log.err`, its output to `log.out`."""
    chosen = sorted(os.sched_getaffinity(0))[-cores:]
    out, err = log.with_suffix(".out"), log.with_suffix(".err")
    with out.open("w") as output, err.open("w") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=errors,
            preexec_fn=lambda: os.sched_setaffinity(0, chosen),  # threads that a tool starts on its own stay there too
        )
        peak, used = 0, {process.pid: 0.0}
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            tree = descendants(process.pid)
            peak = max(peak, sum(kilobytes(one, "smaps_rollup", "Pss:") for one in tree))
            peak = max(peak, *(kilobytes(one, "status", "VmHWM:") for one in tree))
            used |= {one: cpu_seconds(one) for one in tree}
            time.sleep(INTERVAL)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    waited = usage.ru_utime + usage.ru_stime
    return Done(process.returncode, wall, max(waited, sum(used.values())), peak, out.read_text(), err.read_text())


def descendants(root: int) -> list[int]:
    """A process and all that it started and their children."""
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            fields = stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for one in found:
        found += parents.get(one, [])
    return found


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; none when the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """User and system time of a process itself."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK if fields else 0.0


def kilobytes(pid: int, file: str, name: str) -> int:
    """One figure of a file in /proc/PID, in bytes; 0 when the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
