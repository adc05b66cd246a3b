"""A look at data that nobody has described yet: its columns, which one is the text, what the texts are like.

Only a sample is read: the first records of files (and of Parquet row groups) that are spread over the input. What
cannot be read is counted, as a run would count it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.console import clean
from curate.errors import LACKING, UsageError
from curate.kinds import merge
from curate.pieces import What, reads_trees
from curate.read import Columns, Cut, Source, Survey, find_sources, read, unite

MAX_RECORDS = 10_000
MAX_FILES = 20
MAX_BYTES = 64_000_000  # of text in the sample
MAX_RECORD = 16_000_000
GROUPS = 4  # row groups of a Parquet file that are read
PEEK_RECORDS = 200  # of a file, as plain values: enough to tell columns and their types
PEEK_BYTES = 8_000_000
BATCH_BYTES = 1_000_000
SEEN_LANGUAGE = 0.01  # share from which a language is named in the `keep` line
MIN_FILLED = 0.1  # share of records in which a text column must hold text to be chosen by its name
QUANTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)

TEXT_NAMES = (
    "text", "content", "body", "document", "raw_content", "raw_text", "plain_text", "page_content", "article",
    "maintext", "markdown", "passage", "paragraph", "sentence", "story", "post", "comment", "review",
)  # fmt: skip
ID_NAMES = (
    "id", "doc_id", "document_id", "docid", "record_id", "uuid", "guid", "_id", "page_id", "warc_record_id",
    "warc-record-id", "key", "url", "uri", "permalink", "path", "file_path", "filename",
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What a look at some files found, before a text column is chosen."""

    sources: Sequence[Source]
    read: Sequence[Source]  # the files that were looked at
    found: Sequence[tuple[Source, Survey]]  # their columns
    peeked: Sequence[Mapping[str, Any]]  # first records of each, as plain values
    size: int

    @property
    def formats(self) -> dict[str, int]:
        """How many files there are of each format."""
        names = Counter(f"{s.format} {s.compression}" if s.compression else s.format for s in self.sources)
        return dict(names.most_common())

    @property
    def columns(self) -> dict[str, str]:
        """The kind of every column, widened over all files that were looked at."""
        kinds: dict[str, str] = {}
        for _, survey in self.found:
            merge(kinds, survey.columns)
        return kinds

    def values(self, name: str) -> list[Any]:
        """The values of a column in the peeked records, null where a record has none."""
        return [record.get(name) for record in self.peeked]


@dataclass(frozen=True)
class Sample:
    """Records that were read as a run would read them, and the reasons why others could not be."""

    records: pl.DataFrame  # row, id, text, turns of chat and preference records, input.NAME for columns that may be ids
    errors: Mapping[str, int]  # most frequent first
    whole: bool  # it is all records of all files

    @property
    def unreadable(self) -> int:
        """Records that cannot be read."""
        return sum(self.errors.values())

    @property
    def size(self) -> int:
        """Records in the sample, good and bad."""
        return self.records.height + self.unreadable


@dataclass(frozen=True)
class Figures:
    """What the texts of a sample are like."""

    lengths: Sequence[int]  # characters of every text
    chars: Mapping[int, int]  # quantile in percent -> characters
    words: Mapping[int, int]
    low: int  # the characters that 1 % of the texts fall short of, blank ones not counted
    blank: int
    languages: Mapping[str, float]  # label -> share, most frequent first
    repeats: int


def look_at(data: Sequence[str], base: Path) -> Look:
    """Find the files that `data` names (files, folders, patterns, relative to `base`) and peek into some of them."""
    sources = find_sources(data, base)
    chosen = spread(sources, MAX_FILES)
    found: list[tuple[Source, Survey]] = []
    peeked: list[dict[str, Any]] = []
    for source in chosen:
        columns, records = peek(source)
        found.append((source, Survey(None, len(records), columns, ())))
        peeked += records
    return Look(sources, chosen, found, peeked, sum(source.size for source in sources))


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spaced, the first one included."""
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]


# --- peeking ----------------------------------------------------------------------------------------------------------


def peek(source: Source) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The kinds of a file's columns, and its first good records as plain values; nothing of a file that is damaged."""
    if source.format == "parquet":
        return _peek_parquet(source)
    return _peek_csv(source) if source.format == "csv" else _peek_json(source)


def _peek_json(source: Source) -> tuple[dict[str, str], list[dict[str, Any]]]:
    import orjson

    from curate.kinds import kind_of
    from curate.streams import read_lines

    kinds: dict[str, str] = {}
    records: list[dict[str, Any]] = []
    size = 0
    for part in read_lines(source, max_record=MAX_RECORD, size=BATCH_BYTES):
        for number, line in enumerate(part.lines):
            if number in part.faults:
                continue
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(record, dict):
                records.append(record)
                size += len(line)
                merge(kinds, {name: kind_of(value) for name, value in record.items()})
            if len(records) >= PEEK_RECORDS or size > PEEK_BYTES:
                return kinds, records
    return kinds, records


def _peek_csv(source: Source) -> tuple[dict[str, str], list[dict[str, Any]]]:
    from curate.csv_rows import csv_pieces

    for piece in csv_pieces(source, what="", id=None, max_record=MAX_RECORD, size=BATCH_BYTES):
        if piece.header:
            cells = piece.cells[:PEEK_RECORDS]
            return piece.kinds(), [dict(zip(piece.header, row, strict=True)) for row in cells]
    return {}, []


def _peek_parquet(source: Source) -> tuple[dict[str, str], list[dict[str, Any]]]:
    import pyarrow as pa

    from curate.parquet import group_batches, open_parquet, parquet_kinds
    from curate.streams import Damage, explain_damage

    kinds: dict[str, str] = {}
    try:
        with open_parquet(source) as file:
            kinds = parquet_kinds(source, file, "")
            for group in range(file.metadata.num_row_groups):
                for batch in group_batches(file, group, list(kinds)):
                    values = {name: _plain(batch.column(name).slice(0, PEEK_RECORDS)) for name in kinds}
                    return kinds, [dict(zip(kinds, row, strict=True)) for row in zip(*values.values(), strict=True)]
    except Damage:
        pass  # counted as unreadable when the sample is read
    except (OSError, pa.ArrowException) as error:
        explain_damage(source, error)  # stops where it is the disk that fails
    return kinds, []


def _plain(column: Any) -> list[Any]:
    """The values of an Arrow column; bytes where it is text that is not UTF-8."""
    import pyarrow as pa

    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        nested = pa.types.is_nested(column.type)
        values = [None] * len(column) if nested else column.cast(pa.large_binary()).to_pylist()
    return values


# --- columns ----------------------------------------------------------------------------------------------------------


def named_text(look: Look) -> str | None:
    """The column whose name says that it is the text, and that is not empty."""
    named = [name for wanted in TEXT_NAMES for name in look.columns if name.casefold() == wanted]
    for name in named:
        texts = [value for value in look.values(name) if _is_text(value)]
        if len(texts) >= MIN_FILLED * len(look.peeked) and texts:
            return name
    return None


def choose_text(look: Look) -> tuple[str, str]:
    """The column that holds the text and why it was chosen; raises UsageError when there is none."""
    name = named_text(look)
    if name is not None:
        return name, "by its name"
    means = {name: mean for name in look.columns if (mean := _mean_length(look.values(name))) > 0}
    if not means:
        listed = ", ".join(f"{shown(name)} ({kind})" for name, kind in list(look.columns.items())[:20])
        raise UsageError(
            f"there is no column of text; columns: {listed or 'none'}",
            hint="a text column holds strings; nested values must be brought to the top first",
        )
    name = max(means, key=lambda name: means[name])
    return name, f"because its values are the longest ({means[name]:,.0f} characters on average)"


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes) and bool(value.strip())


def _mean_length(values: Sequence[Any]) -> float:
    texts = [len(value) for value in values if isinstance(value, str)]
    return sum(texts) / len(values) if texts else 0.0


def id_candidates(look: Look, what: What) -> list[str]:
    """Columns that every file has, whose name and kind fit an id, the likeliest first."""
    files = [survey.columns for _, survey in look.found if survey.columns]
    named = [name for wanted in ID_NAMES for name in look.columns if name.casefold() == wanted]
    named += [name for name in look.columns if name.casefold().endswith(("_id", "-id")) and name not in named]
    own = {what} if isinstance(what, str) else set(what.columns.values())
    return [n for n in named if n not in own and all(columns.get(n) in ("string", "int") for columns in files)]


def unite_columns(look: Look, what: What, id: str | None) -> Columns:
    """The columns as a run would unite them; raises UsageError where a run over these files would."""
    if not isinstance(what, str):
        return unite(look.found, what, id)
    as_text = [
        (source, replace(survey, columns=survey.columns | {what: "string"}))
        if survey.columns.get(what) == "polars:Binary"
        else (source, survey)
        for source, survey in look.found
    ]
    return unite(as_text, what, id)


def choose_id(look: Look, sample: Sample, candidates: Sequence[str]) -> tuple[str | None, str, int]:
    """The column that names a record, why, and how many records of the sample have no value in it."""
    for name in candidates:
        values = sample.records[f"input.{name}"]
        if values.null_count() == 0 and values.n_unique() == len(values) and not (values == "").any():
            return name, "its values name every record once", 0
    files = [survey.columns for _, survey in look.found if survey.columns]
    if "id" in candidates:  # a run would take it even if the pipeline did not ask for it
        values = sample.records["input.id"]
        missing = values.null_count()
        repeats = len(values) - missing - values.drop_nulls().n_unique()
        lost = f"; {missing:,} of {len(values):,} records have none and cannot be read" if missing else ""
        return "id", f"{repeats:,} of its values repeat an earlier one (a second x becomes x~2){lost}", missing
    if files and all("id" in columns for columns in files):
        raise UsageError(
            f"the column id holds {look.columns['id'].removeprefix('polars:')}, and ids must be text or whole numbers",
            hint="rename the column, or write a pipeline with `input: {id: COLUMN}`",
        )
    return None, "no column names every record once, so that ids are made of file and row: file#row", 0


# --- the sample -------------------------------------------------------------------------------------------------------


def read_sample(look: Look, what: What, extra: Sequence[str]) -> Sample:
    """Read up to 10,000 records as a run would, `extra` columns as text beside the text, spread over the files."""
    beside: dict[str, pl.DataType] = {name: pl.String() for name in extra}
    if isinstance(what, str):
        columns = Columns(what, None, {what: pl.String(), **beside})
    else:
        columns = Columns(None, None, beside, what)
    frames: list[pl.DataFrame] = []
    errors: Counter[str] = Counter()
    whole = len(look.read) == len(look.sources)
    left, waiting = MAX_RECORDS, len(look.read)
    for source in sorted(look.read, key=lambda source: source.size):  # what small files do not use goes to large ones
        cuts = list(_cuts(source, what))
        some = spread(cuts, GROUPS)
        most = -(-max(1, left // waiting) // max(1, len(some)))
        whole &= len(some) == len(cuts)
        for cut in some:
            bytes_share = MAX_BYTES // len(look.read) // len(some)
            ended, records, reasons = _head(source, cut, columns, extra, most, bytes_share)
            whole &= ended
            frames += records
            errors.update(reasons)
            left -= sum(frame.height for frame in records) + reasons.total()
        waiting -= 1
    empty = pl.DataFrame(schema={"row": pl.Int64(), "id": pl.String(), "text": pl.String()})
    return Sample(pl.concat(frames) if frames else empty, dict(errors.most_common()), whole)


def _cuts(source: Source, what: What) -> Iterator[Cut]:
    """The row groups of a Parquet file, one cut each; any other file is one cut."""
    from curate.parquet import open_parquet
    from curate.streams import Damage

    if source.format != "parquet" or reads_trees(what):
        yield Cut(0, -1, 0, 0)
        return
    try:
        with open_parquet(source) as file:
            row = 0
            for group in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                yield Cut(group, group + 1, row, rows)
                row += rows
    except Damage:
        yield Cut(0, 1, 0, 1)  # reading it says what is wrong


def _head(
    source: Source, cut: Cut, columns: Columns, want: Sequence[str], most: int, most_bytes: int
) -> tuple[bool, list[pl.DataFrame], Counter[str]]:
    """The first records of a cut, the reasons of the bad ones among them, and whether that was all of it."""
    frames: list[pl.DataFrame] = []
    errors: Counter[str] = Counter()
    taken = size = 0
    batches = read(source, cut, columns, want=want, batch_bytes=BATCH_BYTES, max_record=MAX_RECORD)
    for batch in batches:
        records, bad = batch.records, batch.bad
        more = records.height + bad.height > most - taken
        if more:
            last = pl.concat([records["row"], bad["row"]]).sort()[most - taken - 1]
            records, bad = records.filter(pl.col("row") <= last), bad.filter(pl.col("row") <= last)
        frames.append(records)
        errors.update(reason(error) for error in bad["error"])
        taken += records.height + bad.height
        size += int(records["text"].str.len_bytes().sum())
        if taken >= most or size >= most_bytes:
            return not more and next(batches, None) is None, frames, errors
    return True, frames, errors


def reason(error: str) -> str:
    """A record's error without its details, so that equal ones are counted together; what turns lack is told whole."""
    if re.match(LACKING, error):
        return re.sub(r"[0-9]+", "N", error)
    return error.partition(": ")[0].partition(" (row ")[0]


# --- figures ----------------------------------------------------------------------------------------------------------


def study(sample: Sample) -> Figures:
    """Lengths, languages and repeats of the sample's texts, by the filters that a pipeline would use."""
    from curate.filters import ExactDuplicates, Language, Length

    docs = sample.records.select("id", "text")
    lengths = Length().score(docs)
    blank = docs["text"].str.strip_chars() == ""
    chars = lengths["chars"].to_numpy()
    filled = chars[~blank.to_numpy()]
    labels = (
        Language.model_validate({})
        .score(docs)["label"]
        .value_counts()
        .sort(["count", "label"], descending=[True, False])
    )
    hashes = ExactDuplicates.model_validate({}).sketch(docs)
    return Figures(
        lengths=chars.tolist(),
        chars=quantiles(chars),
        words=quantiles(lengths["words"].to_numpy()),
        low=quantiles(filled)[1],
        blank=int(blank.sum()),
        languages={label: number / len(chars) for label, number in labels.iter_rows()},
        repeats=hashes.height - hashes.n_unique(),
    )


def quantiles(values: Any) -> dict[int, int]:
    """Values at the quantiles that are shown; each is a value that was seen."""
    if not len(values):
        return dict.fromkeys(QUANTILES, 0)
    found = np.quantile(values, [at / 100 for at in QUANTILES], method="lower")
    return {at: int(value) for at, value in zip(QUANTILES, found, strict=True)}


def shown(name: str) -> str:
    """A name from data on one line, without characters that steer a terminal or end a comment, and not too long."""
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in clean(name))
    return safe if len(safe) <= 60 else safe[:57] + "..."
