"""Earlier corpora: what a run decided before, and what it leaves for later ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate import store
from curate.errors import OutputError, UsageError
from curate.models import file_sha256
from curate.sources import find_sources

RECORDS = ("index.json", "manifest.json")  # a folder that has one is known by it: it lists what else is there
MADE_BY = "made-by.json"


def content_of(path: Path) -> list[str]:
    """What tells one content of a file or a folder from another: the sha256 of its record, or of each of its files."""
    if path.is_file():
        return [file_sha256(path)]
    for name in RECORDS:
        if (path / name).is_file():
            return [file_sha256(path / name)]
    found = [file_sha256(source.url) for source in find_sources([str(path)], path.parent)]
    if not found:
        raise UsageError(f"{str(path)!r} holds no corpus", hint="give files, a run's folder or an index")
    return found


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
    """Give an empty folder to fill; when the block ends well, it is synced and takes the place of `folder`."""
    refuse_foreign(folder, root)
    temporary = folder.with_name(f".{folder.name}.unfinished")
    with store.storage_errors(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        store.write_json(temporary, MADE_BY, _maker(folder, root))
        shutil.rmtree(temporary / ".curate", ignore_errors=True)  # where write_json keeps what is not whole yet
        for path in temporary.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
        store.sync_folder(folder.parent)


def _maker(folder: Path, root: Path) -> dict[str, Any]:
    """Which run a folder is of, wherever both lie."""
    return {"run": Path(os.path.relpath(root, folder.parent)).as_posix()}
