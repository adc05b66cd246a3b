"""What a later run needs of a corpus to find near-duplicates of it: ids, signatures and shingle hashes, as Parquet.

An index is a folder with `index.json` and parts of columns `id` (string), `scope` (uint64, 0 without one), `signature`
(list of uint32, of `datasketch.MinHash(scheme="affine32")`) and, unless they were left out, `shingles` (list of uint64,
sorted and distinct). Nothing in it is text, but who has a text can tell whether it is in there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.kernels.shingle import Unit

RECORD = "index.json"
FORMAT = 1
Numbers = NDArray[np.uint64]


class Content(NamedTuple):
    """How the documents of an index were cut and signed."""

    ngram: int
    unit: Unit
    permutations: int
    scope: str | None
    shingles: bool


def is_index(path: Path) -> bool:
    """Whether a folder holds an index."""
    return (path / RECORD).is_file()


def open_index(folder: Path) -> tuple[Content, tuple[Path, ...]]:
    """How an index was made, and its parts; UsageError when it is none that this version knows."""
    import orjson

    try:
        known = orjson.loads((folder / RECORD).read_bytes())
        if known["format"] != FORMAT:
            raise UsageError(
                f"{folder} is an index of format {known['format']}, this version of curate reads format {FORMAT}",
                hint="make it again with this version",
            )
        content = Content(*(known[name] for name in Content._fields))
        return content, tuple(folder / part["file"] for part in known["parts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / RECORD} cannot be read: {error}", hint="make the index again") from error


def write_record(folder: Path, content: Content, parts: Iterable[tuple[str, int]]) -> None:
    """Write `index.json`, last of all: the index's options, and each part's file, documents and sha256."""
    import hashlib

    import orjson

    listed: list[dict[str, Any]] = []
    for name, documents in parts:
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        listed.append({"file": name, "documents": documents, "sha256": digest})
    record = {"format": FORMAT, "scheme": "affine32", "seed": 1, **content._asdict()}
    record |= {"documents": sum(part["documents"] for part in listed), "parts": listed}
    (folder / RECORD).write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")


def write_part(path: Path, frames: Iterable[pl.DataFrame], content: Content) -> int:
    """Write documents (columns id, text and perhaps scope) to one part, and return how many there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.kernels.minhash import signatures
    from curate.kernels.shingle import shingle_sets

    fields: list[Any] = [
        ("id", pa.string()), ("scope", pa.uint64()), ("signature", pa.list_(pa.uint32(), content.permutations)),
    ]  # fmt: skip
    schema = pa.schema([*fields, ("shingles", pa.large_list(pa.uint64()))] if content.shingles else fields)
    documents = 0
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False, write_page_checksum=True) as writer:
        for frame in frames:
            signed = signatures(frame["text"], content.permutations, ngram=content.ngram, unit=content.unit)
            scope = frame["scope"] if "scope" in frame.columns else np.zeros(frame.height, np.uint64)
            columns: list[Any] = [
                frame["id"].to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string()),
                pa.array(scope, pa.uint64()),
                pa.FixedSizeListArray.from_arrays(pa.array(signed.reshape(-1)), content.permutations),
            ]
            if content.shingles:
                sets = shingle_sets(frame["text"], content.ngram, content.unit)
                values: tuple[Any, Any] = pa.array(sets.offsets, pa.int64()), pa.array(sets.hashes, pa.uint64())
                columns.append(pa.LargeListArray.from_arrays(*values))
            writer.write_batch(pa.record_batch(columns, schema=schema))
            documents += frame.height
    return documents


def read_signatures(path: Path) -> Iterator[tuple[Numbers, NDArray[np.uint32]]]:
    """The scopes and signatures of a part's documents, row group by row group."""
    for _, batch in _groups(path, ["scope", "signature"]):
        signed = batch.column(1)
        yield batch.column(0).to_numpy(), signed.flatten().to_numpy().reshape(len(signed), -1)


def read_ids(path: Path, rows: NDArray[np.int64]) -> list[str]:
    """The ids of some rows of a part, in ascending order of rows."""
    import pyarrow as pa

    ids: list[str] = []
    for begin, batch in _groups(path, ["id"], rows):
        low, high = np.searchsorted(rows, [begin, begin + len(batch)])
        ids += batch.column(0).take(pa.array(rows[low:high] - begin)).to_pylist()
    return ids


def read_hashes(
    path: Path, rows: NDArray[np.int64], shingles: bool
) -> Iterator[tuple[NDArray[np.int64], Numbers, NDArray[np.int64]]]:
    """Of some rows of a part, in ascending order: which, their shingle hashes (or signatures) end to end, offsets."""
    import pyarrow as pa

    for begin, batch in _groups(path, ["shingles" if shingles else "signature"], rows):
        low, high = np.searchsorted(rows, [begin, begin + len(batch)])
        lists = batch.column(0).take(pa.array(rows[low:high] - begin))
        offsets = np.append(0, np.cumsum(lists.value_lengths().to_numpy().astype(np.int64)))
        yield rows[low:high], lists.flatten().to_numpy().astype(np.uint64, copy=False), offsets


def _groups(path: Path, columns: list[str], rows: NDArray[np.int64] | None = None) -> Iterator[tuple[int, Any]]:
    """A part's row groups as record batches, each with its first row; only those that hold some of the rows, if given.

    Page checksums are verified. Raises UsageError for a part that is damaged or gone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    begin = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.metadata.num_row_groups):
                end = begin + file.metadata.row_group(group).num_rows
                wanted = rows is None or np.searchsorted(rows, begin) < np.searchsorted(rows, end)
                if wanted and end > begin:
                    yield begin, file.read_row_group(group, columns=columns).combine_chunks().to_batches()[0]
                begin = end
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="make the index again") from error
