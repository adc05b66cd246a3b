"""Everything that is written to a run's directory goes through here: atomic files, stored results, the lock.

The promise (FAULTS section 2): a file is written under a temporary name, synced, then renamed, so that a name that
exists is complete; a record of what was done is the commit. Stored frames end in a digest, so that a damaged one is
noticed and made again instead of believed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.errors import LockError, OutputError, StorageError

DIGEST_BYTES = 16


def digest(*parts: Any) -> str:
    """A stable name for values: blake2b over their canonical JSON, 32 hexadecimal digits."""
    data = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def join(root: Path, name: str) -> Path:
    """`root / name`, refusing names that would leave the root: absolute, `..`, NUL, through a symbolic link."""
    if "\0" in name or name.startswith("/") or ".." in Path(name).parts:
        raise OutputError(f"the name {name!r} would leave the output folder")
    path = root / name
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise OutputError(f"the name {name!r} leaves the output folder through a symbolic link")
    return path


# --- files ------------------------------------------------------------------------------------------------------------

_operations = 0


def operation(name: str) -> None:
    """Count one storage operation; tests set CURATE_FAIL_AT=n (or n:kill) to make the n-th fail."""
    global _operations
    _operations += 1
    plan = os.environ.get("CURATE_FAIL_AT")
    if plan is None:
        return
    number, _, how = plan.partition(":")
    if int(number) == _operations:
        if how == "kill":
            os._exit(137)
        raise OSError(5, f"injected failure at storage operation {_operations} ({name})")


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a StorageError that names the path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}",
            hint="free space or mend the disk, then run the same command again: it resumes",
        ) from error


@contextlib.contextmanager
def publish(root: Path, name: str) -> Iterator[Path]:
    """Give a temporary path to write; when the block ends well, sync it and rename it to `name`."""
    target = join(root, name)
    temporary = root / ".curate" / "tmp" / f"{target.name}.{os.getpid()}.{uuid.uuid4().hex}"
    with storage_errors(target):
        operation(f"write {name}")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                operation(f"sync {name}")
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            operation(f"rename {name}")
            os.replace(temporary, target)
            sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(root: Path, name: str, data: bytes) -> None:
    """Write a file so that it is either whole or absent."""
    with publish(root, name) as temporary:
        temporary.write_bytes(data)


def write_json(root: Path, name: str, value: Any) -> None:
    """Write a JSON file, indented for people, whole or absent."""
    write_bytes(root, name, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS) + b"\n")


def read_json(root: Path, name: str) -> Any | None:
    """Read a JSON file; None when it is absent or damaged, which counts as not committed."""
    try:
        return orjson.loads(join(root, name).read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- frames -----------------------------------------------------------------------------------------------------------


def write_frame(root: Path, name: str, frame: pl.DataFrame) -> str:
    """Store a frame as an Arrow stream with its digest at the end; return the digest."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression="zstd", compat_level=pl.CompatLevel.oldest())
    data = buffer.getbuffer()
    mark = hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
    with publish(root, name) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.write(mark)
    return mark.hex()


def read_frame(root: Path, name: str) -> pl.DataFrame | None:
    """Read a stored frame; None when it is absent or its digest does not match, so that it is made again."""
    try:
        data = join(root, name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    body, mark = memoryview(data)[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if len(data) <= DIGEST_BYTES or hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() != mark:
        return None
    return pl.read_ipc_stream(io.BytesIO(body))


# --- folders ----------------------------------------------------------------------------------------------------------

OWNED = ("manifest.json", "dataset", "audit", ".curate")  # the manifest first: without it nothing is finished


def prepare(root: Path) -> None:
    """Make the folders of a run; refuse a folder that holds other people's files, a file, a read-only place."""
    if root.exists() and not root.is_dir():
        raise OutputError(f"{root} is a file, not a folder", hint="choose another --output")
    if root.is_dir() and not is_run(root):
        strangers = sorted(entry.name for entry in root.iterdir())
        if strangers:
            raise OutputError(
                f"{root} is not empty and was not made by curate (it holds {strangers[0]!r})",
                hint="choose a new folder for --output",
            )
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / ".curate").mkdir(mode=0o700, exist_ok=True)  # it holds what audit/ holds
    except OSError as error:
        raise OutputError(f"cannot write to {root}: {error.strerror}", hint="choose another --output") from error
    if not os.access(root, os.W_OK):
        raise OutputError(f"cannot write to {root}: permission denied", hint="choose another --output")


def is_run(root: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    manifest = read_json(root, "manifest.json")
    ours = isinstance(manifest, dict) and {"curate", "identity", "counts"} <= manifest.keys()
    return ours or (manifest is None and (root / ".curate").is_dir())


def clear(root: Path) -> None:
    """Remove what a run made, and nothing else."""
    for name in OWNED:
        path = root / name
        if path.name == ".curate":
            for entry in path.iterdir() if path.is_dir() else ():
                if entry.name != "lock":
                    remove(entry)
        else:
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    with storage_errors(path):
        operation(f"remove {path.name}")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


# --- lock -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lock(root: Path) -> Iterator[None]:
    """Hold a run's directory: one writer at a time; the system frees the lock when the process dies."""
    path = root / ".curate" / "lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(path)
            os.close(handle)
            raise LockError(
                f"another run holds {root}: {holder}",
                hint="wait for it to end, or stop it; a dead run never holds the lock",
            ) from error
        if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
            break
        os.close(handle)  # the last holder removed the file between our open and our lock
    try:
        os.ftruncate(handle, 0)
        os.pwrite(
            handle, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}).encode(), 0
        )
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _holder(path: Path) -> str:
    try:
        held = json.loads(path.read_bytes())
        return f"process {held['pid']} on {held['host']}, for {time.time() - held['since']:.0f} s"
    except (OSError, ValueError, KeyError):
        return "its process has not said its name yet"
