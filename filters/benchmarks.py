"""Benchmark files as an index: which n-grams belong to which items."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.filter import nearest
from curate.kernels.overlap import Index, make_index, words
from curate.kernels.shingle import lower_codes, shingles_kernel
from curate.kernels.utf8 import tables, texts

KINDS = (
    ".jsonl, .ndjson, .json (one object a line), .parquet, .csv, .txt (one item a line); all but Parquet also .gz, .zst"
)


class Benchmarks(NamedTuple):
    """The index of all items, and what is known of them."""

    ngrams: Index
    owners: pl.DataFrame  # place (of an n-gram or short item in the index), item
    sizes: NDArray[np.int64]  # by item: how many different n-grams, short parts counted as one each
    names: pl.DataFrame  # by item: benchmark, item
    short: int  # items of which no part has enough words to be looked for
    parts: pl.DataFrame  # text, item: each column of each item


def state(paths: Sequence[Path]) -> tuple[tuple[Path, int, int], ...]:
    """Files with their sizes and times, so that a changed file is read again; UsageError for one that is not there."""
    found = []
    for path in paths:
        try:
            known = path.stat()
        except OSError as error:
            raise UsageError(
                f"the benchmark file {str(path)!r} cannot be read: {error.strerror}",
                hint="paths are relative to the pipeline file",
            ) from error
        found.append((path, known.st_size, known.st_mtime_ns))
    return tuple(found)


@cache
def read_benchmarks(
    files: tuple[tuple[Path, int, int], ...], columns: tuple[str, ...], labels: tuple[str, ...], ngram: int, least: int
) -> Benchmarks:
    """The items of all files as an index, made once per process and state of the files."""
    frames = [read_items(path, columns, labels) for path, _, _ in files]
    items = pl.concat(frames).with_row_index("number")
    parts = pl.concat(
        [items.select(pl.col(f"part_{at}").alias("text"), item=pl.col("number")) for at in range(len(columns))]
    )
    parts = parts.drop_nulls("text").cast({"item": pl.Int64}).sort("item", maintain_order=True)
    given = texts(parts["text"])
    known = words(given, least)
    owner = parts["item"].to_numpy()
    long = known.counts >= ngram
    grams = shingles_kernel(given.data, given.offsets, tables().classes, lower_codes(), ngram, False)
    by_part = np.repeat(np.arange(len(owner)), np.diff(grams.offsets))
    own = long[by_part]
    hashes = np.unique(grams.hashes[own])
    owned = pl.DataFrame({"place": np.searchsorted(hashes, grams.hashes[own]), "item": owner[by_part[own]]})
    short = np.flatnonzero((known.counts >= least) & ~long)
    short = short[np.argsort(known.firsts[short], kind="stable")]
    known_ngrams = make_index(ngram, hashes, least, known.firsts[short], known.counts[short], known.wholes[short])
    whole = pl.DataFrame({"place": np.arange(len(short)) + len(hashes), "item": owner[short]})
    owners = pl.concat([owned, whole]).unique(maintain_order=True)
    sizes = np.bincount(owners["item"].to_numpy(), minlength=items.height)
    return Benchmarks(known_ngrams, owners, sizes, items.select("benchmark", "item"), int((sizes == 0).sum()), parts)


def read_items(path: Path, columns: Sequence[str], labels: Sequence[str]) -> pl.DataFrame:
    """The items of one file: benchmark, item (its name), and the wanted columns as text by number."""
    frame = read_file(path)
    wanted = [*columns, *labels]
    for name in wanted:
        if name not in frame.columns:
            near = nearest(name, frame.columns)
            raise UsageError(
                f"the benchmark file {str(path)!r} has no column {name!r}"
                + (f", but {near!r}" if near else f": it has {', '.join(frame.columns[:10])}"),
                hint="name the columns with the items' texts in `columns`, those that name an item in `labels`",
            )
    number = pl.int_range(1, pl.len() + 1).cast(pl.String)
    named = [pl.col(name).cast(pl.String).fill_null("") for name in labels]
    return frame.select(
        benchmark=named[0] if named else pl.lit(path.name),
        item=pl.concat_str(named, separator="/") if named else pl.concat_str(pl.lit(f"{path.name}:"), number),
        **{f"part_{at}": as_text(frame[name]) for at, name in enumerate(columns)},
    )


def as_text(column: pl.Series) -> pl.Series:
    """A column as text; the texts of a list (the choices of a question) line by line."""
    if isinstance(column.dtype, pl.List):
        return column.list.eval(pl.element().cast(pl.String)).list.join("\n")
    return column.cast(pl.String)


def read_file(path: Path) -> pl.DataFrame:
    """The rows of one file; UsageError that names the file, and the line where there is one."""
    import pyarrow as pa

    kind = next((suffix for suffix in reversed(path.suffixes) if suffix not in (".gz", ".zst")), "").lower()
    try:
        if kind == ".parquet":
            return pl.read_parquet(path)
        if kind not in (".jsonl", ".ndjson", ".json", ".csv", ".txt"):
            raise UsageError(f"the benchmark file {str(path)!r} has an unknown ending", hint=f"known are {KINDS}")
        with pa.input_stream(str(path), compression="detect") as stream:
            data: bytes = stream.read()
        if kind == ".csv":
            return pl.read_csv(data, infer_schema=False)
        if kind == ".txt":
            lines = data.decode("utf-8-sig").split("\n")
            return pl.DataFrame({"text": [line for line in lines if line.strip()]}, schema={"text": pl.String})
        return read_json_lines(path, data)
    except (OSError, ValueError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"the benchmark file {str(path)!r} cannot be read: {str(error).splitlines()[0]}", hint=f"known are {KINDS}"
        ) from error


def read_json_lines(path: Path, data: bytes) -> pl.DataFrame:
    """The objects of a file, one a line; values that are neither text nor a list of texts are written as JSON."""
    import orjson

    rows = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{path}:{number}: not JSON: {error}", hint="one JSON object a line") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path}:{number}: a {type(row).__name__}, not an object", hint="one JSON object a line")
        rows.append({name: plain(value) for name, value in row.items()})
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame({name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in names})


def plain(value: object) -> str | None:
    """A JSON value as text."""
    import orjson

    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "\n".join(value)
    return orjson.dumps(value).decode()
