"""Compile the kernels of near_duplicates in a second process, where they are not compiled yet.

The first run of an installation compiles kernels one after the other, which takes tens of seconds. Those of
near_duplicates are some two fifths of a usual pipeline's, and no other step needs them: a process beside the run
compiles them by a small run of its own, and Numba keeps the result on disk, where the run finds it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.filter import Filter

HERE = "CURATE_COMPILES"  # set in the environment of the second process, which must not start a third
WORDS = " ".join(f"word{number}" for number in range(60))


@contextlib.contextmanager
def compiling_beside(filters: Sequence[Filter]) -> Iterator[None]:
    """Compile beside what the caller does, where that is worth a process; wait for its end."""
    from curate.executors import THREADS

    if not any(filter.label == "near_duplicates" for filter in filters) or HERE in os.environ or is_compiled():
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "curate.warm"],
        env=os.environ | THREADS | {HERE: "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()  # whatever came of it: what is not compiled then is compiled where it is used


def is_compiled() -> bool:
    """Whether Numba has kept the kernel that is compiled last, or has no folder to keep it in."""
    from curate.kernels import pairs

    folder = getattr(getattr(pairs.choose, "stats", None), "cache_path", None)
    if folder is None:
        return True
    changed = Path(pairs.__file__).stat().st_mtime
    return any(file.stat().st_mtime >= changed for file in Path(folder).glob("pairs.choose-*.nbi"))


def main() -> None:
    """Run near_duplicates over three short texts, two of them alike, in a temporary folder."""
    import polars as pl

    from curate.filters import NearDuplicates
    from curate.pipeline import Pipeline

    with tempfile.TemporaryDirectory() as folder:
        texts = pl.DataFrame({"text": [WORDS, WORDS + " end", "another text of a few words"]})
        texts.write_parquet(Path(folder) / "texts.parquet")
        Pipeline(steps=[NearDuplicates()]).run("texts.parquet", Path(folder) / "clean", base=Path(folder), workers=1)


if __name__ == "__main__":
    main()
