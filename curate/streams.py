"""Streams of bytes and lines: opened, decompressed, cut into lines of bounded length, and honest about their end.

Decompression is pyarrow's: python-zstandard ends a truncated stream without an error (FAULTS section 3, trap 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate.errors import StoppedError
from curate.sources import Source, open_filesystem, scrub

BLOCK_BYTES = 4_000_000  # of text in one piece
INFLATE_BYTES = 1_000_000  # decompressed at once; so much is read again byte by byte where a stream is damaged
REMOTE_BYTES = 8_000_000  # fetched at once from a server
PIECE_ROWS = 50_000
RAW_BYTES = 65_536  # of a bad record that quarantine keeps
MESSAGE_CHARS = 200
BOM = b"\xef\xbb\xbf"


class Damage(Exception):
    """The rest of a file cannot be read; the message is the reason that quarantine shows."""


@dataclass
class Lines:
    """Consecutive lines without their line feeds; `faults` names what is wrong with one that cannot be a record."""

    lines: list[bytes]
    size: int  # bytes of the stream that they cover, line feeds included
    faults: dict[int, str] = field(default_factory=dict)
    ended: bool = True  # the last line has a line feed


class _Remote:
    """A remote file whose failures stop the run (it can be resumed) instead of looking like damaged data."""

    def __init__(self, source: Source) -> None:
        self.name = source.file
        system, path = open_filesystem(source.url)
        self.file = self._try(system.open, path, "rb", block_size=REMOTE_BYTES, cache_type="readahead")

    def _try(self, function: Any, *values: Any, **options: Any) -> Any:
        try:
            return function(*values, **options)
        except Exception as error:  # every filesystem has errors of its own; none of them is the data's fault
            raise stopped(self.name, f"{type(error).__name__}: {scrub(str(error))}") from None

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._try(self.file.read, size)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        place: int = self._try(self.file.seek, offset, whence)
        return place

    def tell(self) -> int:
        place: int = self.file.tell()
        return place

    def close(self) -> None:
        self.file.close()

    @property
    def closed(self) -> bool:
        return bool(self.file.closed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False


def stopped(file: str, reason: str) -> StoppedError:
    """The error of an input that the disk or the server does not give."""
    return StoppedError(f"{file}: cannot be read: {reason}", hint="the same command goes on where it stopped")


@contextmanager
def open_bytes(source: Source) -> Iterator[Any]:
    """The stored bytes of a source as a seekable pyarrow file."""
    try:
        remote: Any = _Remote(source) if source.remote else None
        stream = pa.PythonFile(remote, mode="r") if source.remote else pa.OSFile(source.url, "rb")
    except OSError as error:
        raise stopped(source.file, error.strerror or type(error).__name__) from error
    try:
        yield stream
    finally:
        stream.close()


def explain_damage(source: Source, error: Exception) -> str:
    """The reason why bytes that arrived could not be decoded; an error of the disk stops the run instead."""
    if isinstance(error, OSError) and error.errno is not None:
        raise stopped(source.file, error.strerror or str(error)) from error
    message = " ".join(str(error).split())[:MESSAGE_CHARS]
    return f"truncated: {message}" if "truncated" in message.lower() else f"corrupt: {message}"


def read_blocks(source: Source, start: int = 0, stop: int = -1, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The decompressed bytes of a source from `start` to `stop` (offsets in plain files only).

    Raises Damage after the last byte that can be read.
    """
    with open_bytes(source) as stored:
        if source.compression is None:
            yield from _plain(source, stored, start, stop, size)
            return
        if source.size == 0:
            raise Damage("truncated: the file has no bytes")
        step = min(size, INFLATE_BYTES)
        parts: list[bytes] = []
        done = 0
        stream = _inflated(stored, source.compression)
        try:
            while data := stream.read(step):
                done += len(data)
                parts.append(data)
                if len(parts) * step >= size:
                    yield b"".join(parts)
                    parts = []
            reason = None
        except OSError as error:
            reason = explain_damage(source, error)
    if reason is not None:
        parts.append(_salvage(source, done, step))
    if left := b"".join(parts):
        yield left
    if reason is not None:
        raise Damage(reason)


def _inflated(stored: Any, codec: Any) -> Any:
    return pa.CompressedInputStream(stored, codec)


def _plain(source: Source, stored: Any, start: int, stop: int, size: int) -> Iterator[bytes]:
    try:
        stored.seek(start)
        place = start
        while data := stored.read(size if stop < 0 else min(size, stop - place)):
            place += len(data)
            yield data
    except OSError as error:
        raise stopped(source.file, error.strerror or str(error)) from error


def _salvage(source: Source, done: int, size: int) -> bytes:
    """What a damaged stream still gives after its first `done` bytes: a failing read loses all that it decoded."""
    with open_bytes(source) as stored:
        stream = _inflated(stored, source.compression)
        found = bytearray()
        try:
            while done:
                again = stream.read(min(size, done))
                if not again:  # the file changed under us
                    break
                done -= len(again)
            while byte := stream.read(1):
                found += byte
        except OSError:
            pass  # the same error as before; the caller reports it
        return bytes(found)


def read_lines(
    source: Source, start: int = 0, stop: int = -1, *, max_record: int, size: int = BLOCK_BYTES
) -> Iterator[Lines]:
    """The lines of a source, split at line feeds only; a byte order mark at its start is left out.

    A line above `max_record` bytes keeps its beginning only, so that memory is bounded; after damage comes one last
    line that holds what was read of it.
    """
    first = start == 0
    for part in _raw_lines(source, start, stop, max_record, size):
        if first and part.lines[0].startswith(BOM):
            part.lines[0] = part.lines[0][len(BOM) :]
            if part.lines == [b""] and not part.ended and not part.faults:
                return
        first = False
        yield part


def _raw_lines(source: Source, start: int, stop: int, max_record: int, size: int) -> Iterator[Lines]:
    rest = b""
    large: bytes | None = None  # the beginning of a line above the limit, while the rest of it is skipped
    skipped = 0
    damage = None
    blocks = read_blocks(source, start, stop, size)
    while True:
        try:
            data = next(blocks, b"")
        except Damage as error:
            damage, data = str(error), b""
        if not data:
            break
        if large is not None:
            end = data.find(b"\n")
            large += data[: max(0, min(RAW_BYTES - len(large), len(data) if end < 0 else end))]
            if end < 0:
                skipped += len(data)
                continue
            yield _too_large(large, skipped + end, max_record, skipped + end + 1)
            large, data = None, data[end + 1 :]
        if b"\n" not in data:
            rest += data
        else:
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            yield from _parts(lines, max_record)
        if len(rest) > max_record:
            large, skipped, rest = rest[:RAW_BYTES], len(rest), b""
    if large is not None:
        yield _too_large(large, skipped, max_record, skipped)
    elif rest and damage is None:
        yield Lines([rest], len(rest), ended=False)
    if damage is not None:
        yield Lines([rest], len(rest), {0: damage}, ended=False)


def _parts(lines: list[bytes], max_record: int) -> Iterator[Lines]:
    for begin in range(0, len(lines), PIECE_ROWS):
        part = lines[begin : begin + PIECE_ROWS] if len(lines) > PIECE_ROWS else lines
        size = sum(map(len, part)) + len(part)
        if size <= max_record:
            yield Lines(part, size)
            continue
        faults = {number: _limit(len(line), max_record) for number, line in enumerate(part) if len(line) > max_record}
        for number in faults:
            part[number] = part[number][:RAW_BYTES]
        yield Lines(part, size, faults)


def _too_large(beginning: bytes, length: int, max_record: int, size: int) -> Lines:
    return Lines([beginning], size, {0: _limit(length, max_record)})


def _limit(length: int, max_record: int) -> str:
    return (
        f"record too large: {length} bytes, the limit is {max_record} (raw: the first {min(length, RAW_BYTES)} bytes)"
    )
