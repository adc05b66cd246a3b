"""Input files: patterns, folders and URLs become a sorted list of sources, told apart by name and first bytes."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from curate.errors import UsageError

FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
KNOWN = ".parquet, .jsonl, .ndjson, .jsonlines, .json, .csv; all but .parquet also with .gz or .zst"

GZIP = b"\x1f\x8b"  # RFC 1952, section 2.3.1
ZSTD = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)  # RFC 8878, section 3.1.2
PARQUET = b"PAR1"
HEAD_BYTES = 4

_SECRET_QUERY = re.compile(r"\?[^\s'\"]*(sig|token|key|credential|secret|expires)[^\s'\"=]*=[^\s'\"]*", re.IGNORECASE)
_USER = re.compile(r"(\w+://)[^/\s'\"]*@")


@dataclass(frozen=True)
class Source:
    """One input file: the name people know it by, where to open it, and how to read it."""

    file: str  # the path as the pattern wrote it (ledger column `file`, ids); never made absolute
    url: str = field(repr=False)  # an absolute local path or a URL, which may hold a signature
    format: str  # parquet | jsonl | csv
    compression: str | None  # None | gzip | zstd
    size: int  # stored bytes, -1 where a server does not say
    version: str  # a cheap identity: "size:mtime_ns" locally, an etag or checksum remotely

    @property
    def remote(self) -> bool:
        """Whether the file is opened through fsspec."""
        return "://" in self.url


def find_sources(paths: Sequence[str], base: Path) -> list[Source]:
    """All files that the patterns name, sorted by `file`, each once.

    A pattern is a file, a folder (all files in it with a known extension, hidden ones, ones that begin with `_` and
    `.json` left out), a glob (`**` allowed), or a URL of any scheme that fsspec opens. Relative patterns start at
    `base`. Raises UsageError for a pattern that matches nothing and a file of unknown format.
    """
    found: dict[str, Source] = {}
    for pattern in paths:
        for source in _remote(pattern) if is_remote(pattern) else _local(pattern.removeprefix("file://"), base):
            known = found.get(source.url)
            if known is None or source.file < known.file:
                found[source.url] = source
    sources = sorted(found.values(), key=lambda source: source.file)
    for first, second in itertools.pairwise(sources):
        if first.file == second.file:
            raise UsageError(
                f"two input URLs are both {first.file} without their query",
                hint="save them as files of different names",
            )
    return sources


def is_remote(path: str) -> bool:
    """Whether a path is a URL that fsspec opens."""
    return "://" in path and not path.startswith("file://")


def scrub(text: str) -> str:
    """A message without user names, passwords and signatures in the URLs that it holds."""
    return _SECRET_QUERY.sub("", _USER.sub(r"\1", text))


def detect(file: str, head: bytes | None) -> tuple[str, str | None]:
    """Format and compression of a file by its name and its first bytes (None: unknown); the bytes win.

    A file whose name promises compression and whose bytes are neither compressed nor the beginning of it is read as
    it is. Raises UsageError when neither name nor bytes tell the format.
    """
    stem, extension = os.path.splitext(file.lower())
    said = COMPRESSIONS.get(extension)
    format = FORMATS.get(os.path.splitext(stem)[1] if said else extension)
    if head == PARQUET:
        return "parquet", None
    if format is None or (format == "parquet" and said):
        raise UsageError(f"{file}: cannot tell the format from the name", hint=f"known extensions: {KNOWN}")
    if format == "parquet":
        return format, None
    return format, said if head is None else _compression(said, head)


def _compression(said: str | None, head: bytes) -> str | None:
    if head.startswith(GZIP):
        return "gzip"
    if head.startswith(ZSTD) or ZSTD_SKIPPABLE.match(head):
        return "zstd"
    begun = {"gzip": GZIP, "zstd": ZSTD}
    return said if said and begun[said].startswith(head) else None  # cut within its first bytes


# --- local ------------------------------------------------------------------------------------------------------------


def _local(pattern: str, base: Path) -> Iterator[Source]:
    full = os.path.join(base, pattern)
    if os.path.isfile(full):
        names = [pattern]
    elif os.path.isdir(full):
        names = [os.path.join(pattern, name) for name in _walk(full, pattern)]
    else:
        matches = glob.glob(pattern, root_dir=base, recursive=True)
        names = [name for name in matches if os.path.isfile(os.path.join(base, name))]
    if not names:
        raise _nothing(pattern, f"relative paths start at {base}" if not os.path.isabs(pattern) else "check the path")
    for name in names:
        yield _local_source(name, os.path.join(base, name))


def _walk(folder: str, pattern: str) -> Iterator[str]:
    def stop(error: OSError) -> None:
        raise UsageError(f"{pattern}: cannot list the folder: {error.strerror}", hint="check its permissions")

    for place, folders, files in os.walk(folder, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in sorted(files):
            if _swept(name):
                yield os.path.relpath(os.path.join(place, name), folder)


def _swept(name: str) -> bool:
    """Whether a file found in a folder is taken: .json there is as a rule settings or metadata."""
    stem, extension = os.path.splitext(name.lower())
    if extension in COMPRESSIONS:
        extension = os.path.splitext(stem)[1]
        if extension == ".parquet":
            return False
    return extension in FORMATS and extension != ".json" and not name.startswith((".", "_"))


def _local_source(file: str, path: str) -> Source:
    try:
        file.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{file!r}: the file's name is not UTF-8", hint="rename the file") from None
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD_BYTES)
            stat = os.fstat(stream.fileno())
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}", hint="check its permissions") from error
    format, compression = detect(file, head)
    version = f"{stat.st_size}:{stat.st_mtime_ns}"
    return Source(file, os.path.abspath(path), format, compression, stat.st_size, version)


def _nothing(pattern: str, hint: str) -> UsageError:
    return UsageError(f"no input file matches {pattern}", hint=f"{hint}; known extensions: {KNOWN}")


# --- remote -----------------------------------------------------------------------------------------------------------


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URL and the path in it; UsageError when the scheme's package is missing."""
    from fsspec.core import url_to_fs

    scheme = url.split("://")[0]
    try:
        return url_to_fs(url)  # type: ignore[no-any-return]  # fsspec is untyped
    except ImportError as error:
        extra = "pip install 'curate-corpus[s3]'" if scheme in ("s3", "s3a") else scrub(str(error))
        raise UsageError(f"{shown(url)}: the package that opens {scheme}:// is not installed", hint=extra) from None
    except ValueError as error:
        message = f"{shown(url)}: cannot open {scheme}:// URLs: {scrub(str(error))}"
        raise UsageError(message, hint="schemes are those that fsspec knows, for example s3:// and hf://") from None


def shown(url: str) -> str:
    """A URL as people may see it: without a signed query."""
    if url.startswith(("http://", "https://")):
        return re.split(r"[?#]", url, maxsplit=1)[0]
    return scrub(url)


def _refuse_credentials(url: str) -> None:
    place = urlsplit(url.split("::")[-1]).netloc
    if "@" in place or not re.fullmatch(r"[^:]*(:\d+)?|\[.*\](:\d+)?", place):
        scheme = url.split("://")[0]
        raise UsageError(
            f"an input URL ({scheme}://...) holds a user name or password",
            hint="leave them out of the URL; put credentials into the environment (S3: AWS_ACCESS_KEY_ID and so on)",
        )


def _remote(pattern: str) -> Iterator[Source]:
    _refuse_credentials(pattern)
    system, path = open_filesystem(pattern)
    try:
        found = _list_remote(system, path, pattern)
        heads = _heads(system, found)
    except UsageError:
        raise
    except Exception as error:  # fsspec's filesystems raise errors of their own libraries, here at the edge
        message = f"{shown(pattern)}: cannot be listed: {type(error).__name__}: {scrub(str(error))}"
        raise UsageError(
            message, hint="check the address, the credentials in the environment and the network"
        ) from None
    if not found:
        raise _nothing(shown(pattern), "check the address")
    for inner, info in found.items():
        url = _url_of(system, inner, pattern)
        size = info.get("size")
        file = shown(url)
        format, compression = detect(file, b"" if size == 0 else heads.get(inner))
        yield Source(file, url, format, compression, -1 if size is None else int(size), _version(system, inner, info))


def _list_remote(system: Any, path: str, pattern: str) -> dict[str, dict[str, Any]]:
    if pattern.startswith(("http://", "https://")):
        return {path: system.info(path)}
    if glob.has_magic(path):
        matches = system.glob(path, detail=True)
        return {name: info for name, info in sorted(matches.items()) if info.get("type") != "directory"}
    if not system.exists(path):
        return {}
    info = system.info(path)
    if info.get("type") != "directory":
        return {path: info}
    inside = system.find(path, detail=True)
    start = path.rstrip("/") + "/"
    return {name: info for name, info in sorted(inside.items()) if _swept_path(name.removeprefix(start))}


def _swept_path(path: str) -> bool:
    *folders, name = path.split("/")
    return _swept(name) and not any(folder.startswith((".", "_")) for folder in folders)


def _heads(system: Any, found: dict[str, dict[str, Any]]) -> dict[str, bytes]:
    """The first bytes of each file, in one go; a file whose server gives none is told by its name."""
    names = [name for name, info in found.items() if info.get("size") != 0]
    if not names:
        return {}
    parts = system.cat_ranges(names, [0] * len(names), [HEAD_BYTES] * len(names), on_error="return")
    return {name: bytes(part) for name, part in zip(names, parts, strict=True) if isinstance(part, bytes)}


def _url_of(system: Any, inner: str, pattern: str) -> str:
    """The URL of a listed path, written as the pattern wrote its beginning."""
    if pattern.startswith(("http://", "https://")):
        return pattern
    beginning = pattern
    if glob.has_magic(pattern):
        beginning = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
    beginning = beginning.rstrip("/")
    stripped = str(system._strip_protocol(beginning)).rstrip("/")
    if not beginning.endswith(":") and inner.startswith(stripped):
        return beginning + inner[len(stripped) :]
    return f"{pattern.split('://')[0]}://{inner.lstrip('/')}"


def _version(system: Any, path: str, info: dict[str, Any]) -> str:
    for key in ("ETag", "etag", "checksum", "blob_id", "md5Hash", "sha256"):
        if info.get(key):
            return str(info[key]).strip('"')
    return str(system.ukey(path))
