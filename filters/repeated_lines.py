"""Remove lines or paragraphs that occur in many documents of the corpus: menus, footers, licences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.filter import Corpus, CorpusFilter, threshold
from curate.filter import threshold as unscored
from curate.filters.near_decide import numbers_of, read_pairs

Numbers = NDArray[np.uint64]

PART_BYTES = 64_000_000  # of (line, document) pairs held in memory at once
BYTES_PER_LINE = 24  # of text, at least about so many: pairs take 16 bytes
MOST_LISTED = 20  # lines in the report, and so at most of each document
MOST_SHOWN = 200  # characters of a line in the report
REPEATED = np.dtype([("hash", np.uint64), ("documents", np.uint64), ("first", np.uint64)])
LISTED = pl.Struct({"hash": pl.String, "documents": pl.UInt32, "chars": pl.UInt32, "line": pl.String})
EDIT = pl.Struct({"start": pl.Int64, "end": pl.Int64, "put": pl.String})


class RepeatedLines(CorpusFilter, name="repeated_lines"):
    """Remove lines or paragraphs that occur in more than so many documents.

    Lines are compared by a 64-bit hash of their letters and digits: lower case, every digit 0, without punctuation and
    accents. All of a document's occurrences count once. A document of which too little is left is dropped. Short lines
    stay (`min_chars`): those of code, lists and tables repeat without being boilerplate; headings of books and legal
    formulas that many documents share do go.
    """

    source: ClassVar[str] = "CCNet, arXiv 1911.00359, section 3.1; C4's removal of repeated spans, arXiv 1910.10683"
    scores: ClassVar[dict[str, str]] = {
        "removed": "number of lines or paragraphs that were removed; null when none was",
        "left_chars": "characters that are left; null when nothing was removed",
        "left_share": "share of the characters that is left; null when nothing was removed",
        "most_repeated": (
            "up to 20 of the removed lines: hash, in how many documents, length in characters, and the line itself "
            "where `show_lines` asks for it"
        ),
    }

    unit: Literal["line", "paragraph"] = Field(
        default="line", description="what is removed: lines, or paragraphs (what stands between empty lines)"
    )
    min_chars: int = Field(
        default=20, ge=1, description="shorter lines stay; counted after normalising, without punctuation"
    )
    max_documents: int = unscored(
        10, ge=1, description="remove a line that occurs in more documents than this, the document itself included"
    )
    keep_first: bool = unscored(
        False, description="leave a line in the first document in which it occurs, in the order of the input"
    )
    min_left_share: float = threshold(
        0.0, ge=0, le=1, description="drop documents of which a smaller share of the characters is left"
    )
    min_left_chars: int = threshold(
        1, ge=0, description="drop documents of which fewer characters are left; only those that lost a line"
    )
    show_lines: bool = unscored(
        False,
        description="write the 20 most frequent lines into the ledger and the report, 200 characters of each, redacted",
    )

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Hash, start, end and characters of each line that is long enough; the document's characters and bytes."""
        from curate.kernels.line_hashes import lines
        from curate.kernels.utf8 import texts

        column = docs["text"].cast(pl.String)
        found = lines(texts(column), paragraphs=self.unit == "paragraph", min_chars=self.min_chars)
        columns = {"line": found.hashes, "start": found.starts, "end": found.ends, "chars": found.chars}
        return pl.DataFrame(
            [
                *(_lists(name, values, found.offsets) for name, values in columns.items()),
                pl.Series("all_chars", found.all_chars),
                column.str.len_bytes().fill_null(0).cast(pl.UInt32).alias("all_bytes"),
            ]
        )

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """`edits` that remove lines, and what is left, for each document that loses one."""
        folder = corpus.scratch / "lines"
        folder.mkdir(parents=True, exist_ok=True)
        size = corpus.columns().select(pl.col("bytes").sum()).collect().item() or 0
        parts = max(1, -(-16 * int(size) // BYTES_PER_LINE // PART_BYTES))
        paths: list[list[Path]] = [[] for _ in range(parts)]
        for task in corpus.map_sketches(partial(spread, folder, parts)):
            for part, path in task:
                paths[part].append(path)
        count = partial(count_lines, folder, self.max_documents)
        counted = list(corpus.map(count, [some for some in enumerate(paths) if some[1]]))
        whole = join_counted(folder / "repeated.npy", counted)
        shown = self._shown(corpus, whole) if self.show_lines else {}
        found = list(corpus.map_sketches(partial(remove, folder, whole, self.keep_first, shown)))
        empty = pl.LazyFrame(schema={"chunk": pl.Int64, "row": pl.Int64, **self.decides()})
        return pl.concat([empty, *(pl.scan_ipc(path) for path in found)])

    def decides(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """The columns of `decide`."""
        return {
            "edits": pl.List(EDIT),
            "removed": pl.UInt32,
            "left_chars": pl.UInt32,
            "left_share": pl.Float64,
            "most_repeated": pl.List(LISTED),
        }

    def drop_when(self) -> dict[str, pl.Expr]:
        """`too_little_left`: lines were removed, and the rest is too short or too small a share."""
        too_little = (pl.col("left_share") < self.min_left_share) | (pl.col("left_chars") < self.min_left_chars)
        return {"too_little_left": too_little.fill_null(False)}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`repeated_lines`: the 20 most frequent removed lines by hash, and their text where `show_lines` is on."""
        listed = (
            ledger.select(pl.col("most_repeated").explode().struct.unnest())
            .drop_nulls("hash")
            .unique("hash")
            .sort("documents", "hash", descending=[True, False])
            .head(MOST_LISTED)
            .collect()
        )
        return {"repeated_lines": listed if self.show_lines else listed.drop("line")}

    def _shown(self, corpus: Corpus, whole: Path) -> dict[int, str]:
        """The text of the most frequent lines, by hash, from the first document that has each."""
        from curate.kernels.line_hashes import lines
        from curate.kernels.utf8 import texts

        known = np.load(whole, mmap_mode="r")
        top = known[np.argsort(known["documents"], kind="stable")[::-1][:MOST_LISTED]]
        places = np.unique(top["first"]).astype(np.int64)
        rows = pl.DataFrame({"chunk": places >> 32, "row": places & 0xFFFFFFFF})
        wanted, shown = set(top["hash"].tolist()), {}
        for frame in corpus.texts(rows):
            found = lines(texts(frame["text"]), paragraphs=self.unit == "paragraph", min_chars=self.min_chars)
            for number, text in enumerate(frame["text"].to_list()):
                data = text.encode()
                for at in range(found.offsets[number], found.offsets[number + 1]):
                    line = int(found.hashes[at])
                    if line in wanted and line not in shown:
                        whole_line = data[found.starts[at] : found.ends[at]].decode()
                        shown[line] = redacted(" ".join(whole_line.split())[:MOST_SHOWN])
        return shown


def redacted(text: str) -> str:
    """A text without personal data, as `redact_pii` would mask it."""
    from curate.filters.pii import RedactPii
    from curate.ledger import edit_text

    edits = RedactPii().score(pl.DataFrame({"text": [text]}))["edits"][0].to_list()
    return edit_text(text, edits)


def _lists(name: str, values: Any, offsets: NDArray[np.int64]) -> pl.Series:
    """A list of values per document, from where each document's begin."""
    import pyarrow as pa

    arrays: tuple[Any, Any] = pa.array(offsets), pa.array(values)
    return pl.Series(name, pl.from_arrow(pa.LargeListArray.from_arrays(*arrays)))


# --- counting ---------------------------------------------------------------------------------------------------------


def spread(folder: Path, parts: int, task: int, sketches: Iterator[pl.DataFrame]) -> list[tuple[int, Path]]:
    """Write (line, document) pairs of some chunks, once per document, into one file for each part of the hashes."""
    begun: dict[int, Path] = {}
    for frame in sketches:
        number = pl.Series("number", numbers_of(frame))
        pairs = frame.select("line").with_columns(number).explode("line", empty_as_null=False).drop_nulls().unique()
        part_of = part_numbers(pairs["line"].to_numpy(), parts)
        both = pairs.select("line", "number").to_numpy()
        for part in np.unique(part_of).tolist():
            path = folder / f"pairs-{part:05d}-{task:06d}.bin"
            with path.open("ab" if part in begun else "wb") as file:
                np.ascontiguousarray(both[part_of == part]).tofile(file)
            begun[part] = path
    return sorted(begun.items())


def part_numbers(lines: Numbers, parts: int) -> NDArray[np.int64]:
    """The part of each hash: equal ranges of hashes, so that the parts in their order are sorted."""
    width = np.uint64(-(-(1 << 64) // parts)) if parts > 1 else np.uint64(2**64 - 1)
    found: NDArray[np.int64] = np.minimum(lines // width, np.uint64(parts - 1)).astype(np.int64)
    return found


def count_lines(folder: Path, most: int, part: tuple[int, list[Path]]) -> Path:
    """Write the lines of one part that more than so many documents have, sorted by hash."""
    number, paths = part
    pairs = np.concatenate([read_pairs(path) for path in paths])
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    begins = np.flatnonzero(np.append(True, pairs[1:, 0] != pairs[:-1, 0])) if len(pairs) else np.zeros(0, np.int64)
    counts = np.diff(np.append(begins, len(pairs)))
    often = counts > most
    found = np.empty(int(often.sum()), REPEATED)
    found["hash"] = pairs[begins[often], 0]
    found["documents"] = counts[often]
    found["first"] = pairs[begins[often], 1]
    path = folder / f"counted-{number:05d}.npy"
    np.save(path, found)
    return path


def join_counted(target: Path, counted: list[Path]) -> Path:
    """One file of the repeated lines of all parts, sorted by hash, that is read without being held in memory."""
    sizes = [len(np.load(path, mmap_mode="r")) for path in counted]
    whole = np.lib.format.open_memmap(target, "w+", REPEATED, (max(1, sum(sizes)),))
    if not sum(sizes):
        whole[0] = (2**64 - 1, 0, 0)  # an empty file cannot be mapped: a line that no document has
    at = 0
    for path, size in zip(counted, sizes, strict=True):
        whole[at : at + size] = np.load(path)
        at += size
    whole.flush()
    return target


# --- removing ---------------------------------------------------------------------------------------------------------


class Removed(NamedTuple):
    """The lines to remove of some documents, in order: the document's place in its frame, bytes, characters, counts."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    chars: NDArray[np.int64]
    lines: Numbers
    documents: NDArray[np.int64]


def remove(
    folder: Path, whole: Path, keep_first: bool, shown: dict[int, str], task: int, sketches: Iterator[pl.DataFrame]
) -> Path:
    """Write the decided columns of the documents of some chunks that lose a line."""
    known = np.load(whole, mmap_mode="r")
    hashes = known["hash"]
    frames = [decide_frame(frame, look_up(frame, known, hashes, keep_first), shown) for frame in sketches]
    path = folder / f"removed-{task:06d}.arrow"
    pl.concat(frames).write_ipc(path, compat_level=pl.CompatLevel.oldest())
    return path


def look_up(frame: pl.DataFrame, known: NDArray[np.void], hashes: Numbers, keep_first: bool) -> Removed:
    """The repeated lines of a chunk's documents."""
    flat = (
        frame.select("line", "start", "end", "chars")
        .with_columns(place=pl.int_range(pl.len()))
        .explode("line", "start", "end", "chars", empty_as_null=False)
        .drop_nulls()
    )
    lines = flat["line"].to_numpy()
    at = np.minimum(np.searchsorted(hashes, lines), len(known) - 1)
    repeated = (known["hash"][at] == lines) & (known["documents"][at] > 0)
    rows = flat["place"].to_numpy()
    if keep_first:
        repeated &= known["first"][at] != numbers_of(frame)[rows]
    at = at[repeated]
    starts, ends, chars = (flat[name].to_numpy().astype(np.int64)[repeated] for name in ("start", "end", "chars"))
    return Removed(rows[repeated], starts, ends, chars, lines[repeated], known["documents"][at].astype(np.int64))


def decide_frame(frame: pl.DataFrame, found: Removed, shown: dict[int, str]) -> pl.DataFrame:
    """The decided columns of a chunk's documents that lose a line."""
    rows, starts, ends = joined(frame["all_bytes"].to_numpy().astype(np.int64), found)
    edits = (
        pl.DataFrame({"place": rows, "start": starts, "end": ends})
        .with_columns(put=pl.lit(""))
        .group_by("place", maintain_order=True)
        .agg(edits=pl.struct("start", "end", "put"))
    )
    listed = pl.DataFrame(
        {
            "place": found.rows,
            "chars": found.chars,
            "documents": found.documents.astype(np.uint32),
            "line": pl.Series([shown.get(line) for line in found.lines.tolist()], dtype=pl.String),
            "hash": pl.Series([f"{line:016x}" for line in found.lines.tolist()], dtype=pl.String),
        }
    )
    most = (
        listed.unique(["place", "hash"], maintain_order=True)
        .sort("place", "documents", "hash", descending=[False, True, False])
        .group_by("place", maintain_order=True)
        .agg(
            most_repeated=pl.struct("hash", "documents", pl.col("chars").cast(pl.UInt32), "line").head(MOST_LISTED),
        )
    )
    gone = listed.group_by("place", maintain_order=True).agg(removed=pl.len(), gone=pl.col("chars").sum())
    left = pl.col("all_chars").cast(pl.Int64) - pl.col("gone")
    return (
        frame.select("chunk", "row", "all_chars")
        .with_columns(place=pl.int_range(pl.len()))
        .join(edits, on="place", how="inner", maintain_order="left")
        .join(gone, on="place", how="left", maintain_order="left")
        .join(most, on="place", how="left", maintain_order="left")
        .select(
            pl.col("chunk").cast(pl.Int64),
            pl.col("row").cast(pl.Int64),
            pl.col("edits").cast(pl.List(EDIT)),
            pl.col("removed").cast(pl.UInt32),
            left_chars=left.cast(pl.UInt32),
            left_share=left / pl.col("all_chars"),
            most_repeated=pl.col("most_repeated").cast(pl.List(LISTED)),
        )
    )


def joined(sizes: NDArray[np.int64], found: Removed) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Neighbouring lines as one edit each; one that ends a text takes the line end before it along."""
    rows, starts, ends = found.rows, found.starts, found.ends
    if not len(rows):
        return rows, starts, ends
    new = np.append(True, (rows[1:] != rows[:-1]) | (starts[1:] != ends[:-1]))
    last = np.append(np.flatnonzero(new)[1:] - 1, len(rows) - 1)
    rows, starts, ends = rows[new], starts[new].copy(), ends[last]
    starts -= (ends == sizes[rows]) & (starts > 0)
    return rows, starts, ends
