"""Documents seen through windows of whole sentences: what models score, and what their scores say of a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

# What nobody sees and what models stumble over: soft hyphen, zero width, fillers, direction, variation selectors, tags.
HIDDEN = (
    r"[\x{AD}\x{34F}\x{61C}\x{115F}\x{1160}\x{3164}\x{FFA0}\x{180B}-\x{180F}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{206F}"
    r"\x{FE00}-\x{FE0F}\x{FEFF}\x{E0000}-\x{E0FFF}]"
)

# Cyrillic and Greek letters that look like Latin ones, small and capital; the training tool reads them too.
_SMALL = {
    **dict(zip("аеорсухіјѕԁһԛԝвкмнтгьѵӏё", "aeopcyxijsdhqwbkmhtrbvle", strict=True)),
    **dict(zip("αειοκνρτυχωβηγ", "aeioknptuxwbny", strict=True)),
}
LOOKS_LATIN = {**_SMALL, **{letter.upper(): latin.upper() for letter, latin in _SMALL.items()}}
OTHER_LETTER = rf"[\p{{L}}--\p{{Latin}}--[\x{{B5}}{''.join(LOOKS_LATIN)}]]"


class Spans(NamedTuple):
    """Runs of bytes of documents: the window each is of, its document, where it starts and ends in the text."""

    windows: Numbers
    rows: Numbers
    starts: Numbers
    ends: Numbers

    def joined(self) -> Spans:
        """The same with neighbouring windows made one run."""
        next_to = (np.diff(self.windows) == 1) & (np.diff(self.rows) == 0)
        first, last = np.append(True, ~next_to), np.append(~next_to, True)
        if len(self.windows) == 0:
            return self
        return Spans(self.windows[first], self.rows[first], self.starts[first], self.ends[last])


@dataclass(frozen=True)
class Windows:
    """The windows of some documents, end to end: window i is bytes `bounds[i]` to `bounds[i + 1]` of all texts."""

    documents: int
    rows: Numbers  # the document of each window
    bounds: Numbers
    starts: Numbers  # the first byte of each document
    raw: pl.Series  # as they stand in the documents
    texts: pl.Series  # as models read them
    letters: Numbers  # letters in each window
    known: Numbers  # letters of scripts that models read, and letters that look like them
    changed: Flags  # where models may read something else than what stands in the document

    @property
    def readable(self) -> Flags:
        """Whether at least half of a window's letters, and at least one, are of scripts that models read."""
        found: Flags = (self.known > 0) & (2 * self.known >= self.letters)
        return found

    @property
    def readable_documents(self) -> Flags:
        """The same of whole documents."""
        known = np.bincount(self.rows, self.known, self.documents)
        found: Flags = (known > 0) & (2 * known >= np.bincount(self.rows, self.letters, self.documents))
        return found

    def documents_read(self, texts: pl.Series) -> pl.Series:
        """The documents' texts as models read them, of the texts that the windows were cut from."""
        import polars as pl

        rows = np.unique(self.rows[self.changed])
        if len(rows) == 0:
            return texts
        own = np.isin(self.rows, rows)
        frame = pl.DataFrame({"row": self.rows[own], "text": self.texts.filter(pl.Series(own))})
        joined = frame.group_by("row", maintain_order=True).agg(pl.col("text").str.join(""))
        return texts.clone().scatter(rows, joined["text"])  # scatter changes the series that it is called on

    @property
    def sizes(self) -> Numbers:
        """Bytes of each window."""
        return np.diff(self.bounds)

    def spans(self, wanted: Flags) -> Spans:
        """Where the wanted windows stand in their documents, without the white space around them."""
        import polars as pl

        at = np.flatnonzero(wanted)
        some = self.raw.gather(at)
        lead = some.str.len_bytes().cast(pl.Int64) - some.str.strip_chars_start().str.len_bytes().cast(pl.Int64)
        inner = some.str.strip_chars().str.len_bytes().cast(pl.Int64)
        rows = self.rows[at]
        start = self.bounds[at] - self.starts[rows] + lead.to_numpy()
        return Spans(at, rows, start, start + inner.to_numpy())


def cut_windows(texts: pl.Series, limit: int, *, least: int | None = None, cyrillic: bool = False) -> Windows:
    """Cut texts into windows of whole sentences, of at most `limit` characters.

    As many sentences as fit make a window, or with `least` as many as are needed to reach that length. A sentence that
    is longer than `limit` is cut at white space, and a word that is longer at the limit. Windows hold every byte.
    The scripts that models read are Latin, and Cyrillic if asked for.
    """
    from curate.kernels import utf8
    from curate.kernels import windows as kernels

    given = utf8.texts(texts)
    found = kernels.cut(
        given, limit, limit if least is None else least, kernels.LATIN | (kernels.CYRILLIC if cyrillic else 0)
    )
    raw = utf8.column(utf8.Texts(found.data, found.bounds))
    read = plain(raw, found.odd)
    alike = look_alike(read, found.letters, found.known)
    return Windows(
        documents=len(texts),
        rows=found.rows,
        bounds=found.bounds,
        starts=given.offsets[:-1].astype(np.int64),
        raw=raw,
        texts=as_latin(read, alike),
        letters=found.letters,
        known=np.where(alike, found.letters, found.known),
        changed=found.odd | alike,
    )


def plain(texts: pl.Series, odd: Flags) -> pl.Series:
    """The texts with hidden characters removed and letters written in their usual form (NFKC), where they are odd."""
    rows = np.flatnonzero(odd)
    if len(rows) == 0:
        return texts
    changed = texts.clone()  # scatter changes the series that it is called on
    return changed.scatter(rows, texts.gather(rows).str.replace_all(HIDDEN, "").str.normalize("NFKC"))


def look_alike(texts: pl.Series, letters: Numbers, known: Numbers) -> Flags:
    """Which texts hold letters of scripts that models read, and beside them only letters that look Latin."""
    mixed = np.flatnonzero((known > 0) & (known < letters))
    found = np.zeros(len(texts), bool)
    if len(mixed):
        found[mixed] = ~texts.gather(mixed).str.contains(OTHER_LETTER).to_numpy()
    return found


def as_latin(texts: pl.Series, alike: Flags) -> pl.Series:
    """The texts with letters that look Latin made Latin, where they are alike."""
    rows = np.flatnonzero(alike)
    if len(rows) == 0:
        return texts
    changed = texts.gather(rows).str.replace_many(LOOKS_LATIN)
    return texts.clone().scatter(rows, changed)  # scatter changes the series that it is called on


class Aggregates(NamedTuple):
    """What the scores of a document's windows say of it; 0 for a document without windows."""

    share: Floats  # of the text's bytes, in windows that count as toxic
    mean: Floats  # weighted by bytes
    max: Floats
    p95: Floats
    windows: NDArray[np.uint32]


def aggregate(windows: Windows, scores: Floats, toxic: Flags) -> Aggregates:
    """Maximum, mean weighted by bytes, 95th percentile (nearest rank) and toxic share of each document."""
    rows, size = windows.rows, windows.documents
    weights = windows.sizes.astype(np.float64)
    total = np.maximum(np.bincount(rows, weights, size), 1.0)
    counts = np.bincount(rows, minlength=size)
    filled = np.flatnonzero(counts)
    ends = np.cumsum(counts)[filled]
    order = np.lexsort((scores, rows))
    ranked = scores[order]
    highest, p95 = np.zeros(size), np.zeros(size)
    if len(filled):
        highest[filled] = ranked[ends - 1]
        p95[filled] = ranked[ends - counts[filled] + (95 * counts[filled] + 99) // 100 - 1]
    return Aggregates(
        share=np.bincount(rows, weights * toxic, size) / total,
        mean=np.minimum(np.bincount(rows, weights * scores, size) / total, 1.0),
        max=highest,
        p95=p95,
        windows=counts.astype(np.uint32),
    )


def per_document(rows: Numbers, documents: int, **columns: Any) -> pl.Series:
    """A list of structures per document, from one value of each column per row; empty where a document has none."""
    import polars as pl

    frame = pl.DataFrame({"row": rows, **columns})
    lists = frame.group_by("row", maintain_order=True).agg(value=pl.struct(*columns))
    everyone = pl.DataFrame({"row": np.arange(documents)})
    found = everyone.join(lists, on="row", how="left", maintain_order="left")
    return found.select(pl.col("value").fill_null(pl.lit([], dtype=lists.schema["value"]))).to_series()
