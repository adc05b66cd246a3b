"""Input files: which ones a pattern means, what format they have, and how to open them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import UsageError

FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".csv": "csv",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
MAGIC = {b"PAR1": "parquet", b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class Source:
    """One input file.

    `file` is its path as the pattern wrote it, never made absolute; `url` is where to open it; `version` is a cheap
    identity (size and time of change, or what an object store says).
    """

    file: str
    url: str
    format: str
    compression: str | None
    size: int
    version: str

    @property
    def remote(self) -> bool:
        """Whether the file is in an object store."""
        return "://" in self.url


def find_sources(paths: Sequence[str], base: Path) -> list[Source]:
    """All files that the patterns, folders and URLs mean, sorted by path; relative ones are relative to `base`."""
    found: dict[str, Source] = {}
    for path in paths:
        sources = list(_remote(path) if "://" in path else _local(path, base))
        if not sources:
            raise UsageError(
                f"no input file matches {scrub(path)!r}",
                hint=f"relative paths start at {base}" if "://" not in path else "check the address and the key",
            )
        found |= {source.file: source for source in sources}
    return [found[file] for file in sorted(found)]


def _local(path: str, base: Path) -> Iterator[Source]:
    whole = os.path.join(base, path)
    if os.path.isdir(whole):
        names = sorted(os.path.join(folder, name) for folder, _, files in os.walk(whole) for name in files)
        known = [name for name in names if _format(name)[0] is not None and not os.path.basename(name).startswith(".")]
        if names and not known:
            raise UsageError(f"{path!r} holds no file of a known format", hint=_formats_hint())
        for name in known:
            yield _local_source(os.path.join(path, os.path.relpath(name, whole)), name)
        return
    names = [whole] if os.path.isfile(whole) else sorted(glob.glob(whole, recursive=True))
    for name in names:
        if os.path.isfile(name):
            file = path if name == whole else name if os.path.isabs(path) else os.path.relpath(name, base)
            yield _local_source(file, name)


def _local_source(file: str, path: str) -> Source:
    format, compression = _format(path)
    with open(path, "rb") as opened:
        head = opened.read(4)
    for mark, kind in MAGIC.items():
        if head.startswith(mark):
            format, compression = ("parquet", None) if kind == "parquet" else (format, kind)
            break
    else:
        if format != "parquet":
            compression = compression if not head else None
    if format is None:
        raise UsageError(f"{file!r} has no known format", hint=_formats_hint())
    state = os.stat(path)
    return Source(
        file, os.path.abspath(path), format, compression, state.st_size, f"{state.st_size}:{state.st_mtime_ns}"
    )


def _remote(path: str) -> Iterator[Source]:
    fs, plain = open_filesystem(path)
    scheme = path.split("://", 1)[0]
    try:
        if not glob.has_magic(plain) and fs.isdir(plain):
            names = [name for name in fs.find(plain) if _format(name)[0] is not None]
        else:
            names = fs.glob(plain) if glob.has_magic(plain) else [plain] if fs.exists(plain) else []
        for name in sorted(names):
            info = fs.info(name)
            if info.get("type") == "directory":
                continue
            format, compression = _format(name)
            url = f"{scheme}://{str(name).removeprefix('/')}"
            if format is None:
                raise UsageError(f"{url!r} has no known format", hint=_formats_hint())
            version = (
                info.get("ETag") or info.get("blob_id") or info.get("oid") or info.get("mtime") or info.get("size")
            )
            yield Source(scrub(url), url, format, compression, int(info.get("size") or 0), str(version))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot look at {scrub(path)}: {scrub(str(error))}", hint="check the address and the key"
        ) from error


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it."""
    import fsspec

    scheme = url.split("://", 1)[0]
    try:
        fs, plain = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = "s3" if scheme in ("s3", "s3a") else None
        package = (
            f"python -m pip install 'curate-corpus[{extra}]'" if extra else f"install the fsspec driver of {scheme}"
        )
        raise UsageError(f"{scheme}:// needs a package that is not installed: {error}", hint=package) from error
    except ValueError as error:
        raise UsageError(f"unknown kind of address {scheme}://", hint="s3://, hf:// and local paths work") from error
    return fs, plain


def scrub(text: str) -> str:
    """A text without credentials: what stands before @ in an address, and the values of its query."""
    text = re.sub(r"(?<=://)[^/@\s]+@", "", text)
    return re.sub(r"([?&][^=&\s]+)=[^&\s]+", r"\1=...", text)


def _format(name: str) -> tuple[str | None, str | None]:
    stem, extension = os.path.splitext(name.lower())
    compression = COMPRESSIONS.get(extension)
    if compression is not None:
        extension = os.path.splitext(stem)[1]
    format = FORMATS.get(extension)
    return (None, None) if format == "parquet" and compression else (format, compression)


def _formats_hint() -> str:
    return "known: .parquet, .jsonl, .ndjson, .csv, the last three also with .gz or .zst"
