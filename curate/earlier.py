"""Earlier corpora: what a run decided before, and what it leaves for later ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from curate import store
from curate.errors import OutputError, UsageError
from curate.models import file_sha256
from curate.sources import find_sources

MADE_BY = "made-by.json"


def content_of(path: Path) -> list[Any]:
    """What tells one content of a path from another: what a folder's record lists, or each file's name and sha256."""
    if (path / "index.json").is_file():
        return [file_sha256(path / "index.json")]
    manifest = store.read_json(path, "manifest.json") if path.is_dir() else None
    if manifest is not None:
        return [[part["path"], part["sha256"]] for part in manifest["outputs"] if part["path"].startswith("dataset/")]
    found = find_sources([path.name], path.parent)
    if not found:
        raise UsageError(f"{str(path)!r} holds no corpus", hint="give files, a run's folder or an index")
    return [[source.file, file_sha256(source.url)] for source in found]


def refuse_foreign(folder: Path, root: Path) -> None:
    """Refuse to write over a folder that another run, or nobody that we know, has made."""
    if not folder.exists():
        return
    made_by = store.read_json(folder, MADE_BY) if folder.is_dir() else None
    if made_by is None and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(f"{folder} exists and was not made by curate", hint="choose a new folder")
    if made_by is not None and made_by != _maker(folder, root):
        raise OutputError(
            f"{folder} was made by another run, {made_by['run']}",
            hint="choose another folder, or remove it if no later run needs it",
        )


@contextmanager
def publish_folder(folder: Path, root: Path) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends well, it is synced and takes the place of `folder`.

    What was there before is put aside first and removed last, so that a folder of this name is always whole.
    """
    refuse_foreign(folder, root)
    mark = store.digest(_maker(folder, root))[:8]  # of this run: another may be making the same folder
    unfinished, before = (folder.with_name(f".{folder.name}.{mark}.{what}") for what in ("unfinished", "before"))
    with store.storage_errors(folder):
        for path in (unfinished, before):
            shutil.rmtree(path, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        (unfinished / MADE_BY).write_bytes(orjson.dumps(_maker(folder, root)) + b"\n")
        store.operation(f"sync {folder.name}")
        for path in unfinished.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        store.sync_folder(unfinished)
        store.operation(f"rename {folder.name}")
        if folder.exists():
            os.replace(folder, before)
        store.operation(f"publish {folder.name}")
        os.replace(unfinished, folder)
        store.sync_folder(folder.parent)
        shutil.rmtree(before, ignore_errors=True)


def files_of(folder: Path) -> dict[str, int]:
    """The files of a published folder with their sizes; none when it is not there."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())} if folder.is_dir() else {}


def _maker(folder: Path, root: Path) -> dict[str, Any]:
    """Which run a folder is of, wherever both lie."""
    return {"run": Path(os.path.relpath(root, folder.parent)).as_posix()}
