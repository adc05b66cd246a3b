"""The demo corpus on disk: clean documents in several file formats, with planted faults whose places are known.

The same seed gives the same corpus. A new kind of fault is one function under `@fault`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from curate.demo_text import Draws, Language, languages, normalised, prose, with_paragraph
from curate.swap import bundled, fill

if TYPE_CHECKING:
    import polars as pl

# Files in input order (sorted by name), with the share of the clean documents that each one holds.
SHARES = {
    "articles.parquet": 0.30,
    "forum.jsonl.gz": 0.20,
    "letters.csv": 0.15,
    "notes.jsonl": 0.20,
    "pages.jsonl.zst": 0.12,
    "torn.jsonl.gz": 0.03,
}
JSON_LINES = ("forum.jsonl.gz", "notes.jsonl", "pages.jsonl.zst")
COLUMNS = ("id", "text", "source", "url")
SOURCES = ("diary", "forum", "guide", "letters", "notices")
BLOCKED_DOMAINS = ("zorblax-casino.example", "free-prizes.example", "cheap-essays.example")
BLOCKED_DOMAINS_FILE = "blocked-domains.txt"
QUARANTINE = "quarantine"
CLEAN, KEPT, REFUSED = "clean document", "kept", "refused"


# --- what was planted -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One planted record and where it is; `id` is None where a record has none that can be read.

    Most are to be dropped or quarantined; those of a kind that is `kept` only look as if they should be.
    """

    kind: str
    file: str
    row: int
    id: str | None
    note: str
    twin: str | None  # the id of the document that a duplicate repeats


@dataclass(frozen=True)
class Tally:
    """One line of the table that sets what was planted against what a run found."""

    kind: str
    expected: str
    planted: int
    found: int

    @property
    def fate(self) -> str:
        """What should happen, in words."""
        if self.expected == KEPT or " " in self.expected or self.expected == REFUSED:
            return self.expected
        return "in quarantine" if self.expected == QUARANTINE else f"dropped by {self.expected}"


@dataclass(frozen=True)
class Planted:
    """A corpus on disk and the truth about it."""

    folder: Path
    files: tuple[str, ...]
    faults: tuple[Fault, ...]
    clean: Mapping[str, str]  # id -> language of every ordinary document; a run should keep them all

    @property
    def paths(self) -> list[str]:
        """The corpus files, as `input.paths` takes them."""
        return [str(self.folder / name) for name in self.files]

    @property
    def overrides(self) -> list[str]:
        """What the quickstart pipeline must be told about this corpus: its blocked domains and its broken records."""
        domains = json.dumps(str(self.folder.resolve() / BLOCKED_DOMAINS_FILE), ensure_ascii=False)  # quoted, as YAML
        quarantined = sum(self.expected(fault.kind) == QUARANTINE for fault in self.faults)
        share = quarantined / (len(self.clean) + len(self.faults))
        return [
            f"steps.blocklist.domains={domains}",
            "steps.blocklist.url_column=url",
            f"max_quarantined={math.ceil(100 * share)}%",
        ]

    @property
    def kinds(self) -> list[str]:
        """The kinds of fault, in the order of the table."""
        return [kind.name for kind in KINDS]

    def ids(self, kind: str) -> list[str]:
        """The ids of the faults of a kind, in input order, without records that have none."""
        return [fault.id for fault in self.faults if fault.kind == kind and fault.id is not None]

    def rows(self, kind: str) -> list[tuple[str, int]]:
        """The (file, row) of the faults of a kind, in input order."""
        return [(fault.file, fault.row) for fault in self.faults if fault.kind == kind]

    def expected(self, kind: str) -> str:
        """The step that should drop a kind of fault, `quarantine`, or `kept`."""
        return next(known.expected for known in KINDS if known.name == kind)

    def compare(self, ledger: pl.DataFrame | pl.LazyFrame, quarantine: pl.DataFrame) -> list[Tally]:
        """Count how many faults of each kind met the fate they should, then how many clean documents were kept."""
        fates: dict[tuple[str, int], str] = {}  # a record that is in neither table has none
        for file, row, step in ledger.lazy().select("file", "row", "step").collect().iter_rows():
            fates[_name(file), row] = KEPT if step is None else step
        for file, row in quarantine.select("file", "row").iter_rows():
            fates[_name(file), row] = QUARANTINE
        table = []
        for kind in KINDS:
            rows = self.rows(kind.name)
            found = sum(fates.get(row) == kind.expected for row in rows)
            table.append(Tally(kind.name, kind.expected, len(rows), found))
        faulty = {(fault.file, fault.row) for fault in self.faults}
        kept = sum(fate == KEPT and row not in faulty for row, fate in fates.items())
        return [*table, Tally(CLEAN, KEPT, len(self.clean), kept)]


def _name(file: str) -> str:
    return re.split(r"[/\\]", file)[-1]


# --- clean documents and faults ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A record on its way into a file; `after` is the number of the clean document that it follows."""

    after: int
    text: str | None
    source: str
    url: str
    language: str | None = None
    kind: str | None = None  # None: clean
    note: str = ""
    twin: int | None = None  # the number of the clean document that it repeats
    raw: bytes | None = None  # the whole line, where the record is not to be written as JSON


@dataclass(frozen=True)
class Clean:
    """The clean documents and what a fault function needs to place faults among them."""

    entries: tuple[Entry, ...]
    seed: int
    ends: Mapping[str, int] = field(default_factory=dict)  # file -> number of the first clean document after it

    def count(self, share: float) -> int:
        """How many faults to plant: a share of the clean documents, and at least three."""
        return max(3, round(share * len(self.entries)))

    def file(self, after: int) -> str:
        """The file that holds a clean document and what follows it."""
        return next((file for file, end in self.ends.items() if after < end), list(self.ends)[-1])

    def place(self, draws: Draws, *, file: str | None = None, start: int = 0) -> int:
        """A clean document to follow: any one, one in a file, or one from `start` on."""
        if file is None:
            return start + draws.below(len(self.entries) - start)
        start = max((end for name, end in self.ends.items() if name < file), default=0)
        return start + draws.below(self.ends[file] - start)


Plant = Callable[[Clean], Iterator[Entry]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: its name in the table, what should happen to it, and the function that plants it."""

    name: str
    expected: str
    plant: Plant


KINDS: list[Kind] = []


def fault(name: str, *, expected: str) -> Callable[[Plant], Plant]:
    """Add a kind of fault to the demo.

    `expected` is the step of the quickstart that drops it, `quarantine`, or `kept` for records that only look like a
    fault and that no step should drop.
    """

    def add(plant: Plant) -> Plant:
        KINDS.append(Kind(name, expected, plant))
        return plant

    return add


def page(language: Language, draws: Draws, after: int) -> Entry:
    """A new document with its source and address."""
    source = draws.one(SOURCES)
    url = f"https://{source}.example.org/{language.code}/{draws.below(1 << 24):06x}"
    return Entry(after, prose(language, draws), source, url, language.code)


@fault("too short", expected="length")
def too_short(clean: Clean) -> Iterator[Entry]:
    """Headings and captions: a few words of a kept language."""
    kept = [language for language in languages().values() if language.keep]
    for number in range(clean.count(0.04)):
        draws = Draws(clean.seed, "too short", number)
        language = draws.one(kept)
        text = draws.one(language.phrases)
        yield replace(page(language, draws, clean.place(draws)), text=text[0].upper() + text[1:] + ".")


@fault("placeholder text", expected="blocklist")
def placeholder_text(clean: Clean) -> Iterator[Entry]:
    """Pages that somebody published before the text was written."""
    for number in range(clean.count(0.03)):
        draws = Draws(clean.seed, "placeholder", number)
        language = languages()[draws.one(clean.entries).language or "en"]
        entry = page(language, draws, clean.place(draws))
        filler = draws.one(("Lorem ipsum dolor sit amet,", "LOREM IPSUM DOLOR SIT AMET:", "lorem ipsum dolor"))
        paragraphs = (entry.text or "").split("\n\n")
        paragraphs.insert(draws.below(len(paragraphs) + 1), f"{filler} consectetur adipiscing elit.")
        yield replace(entry, text="\n\n".join(paragraphs))


@fault("blocked domain", expected="blocklist")
def blocked_domain(clean: Clean) -> Iterator[Entry]:
    """Ordinary text from an address on the list that stands beside the corpus."""
    for number in range(clean.count(0.015)):
        draws = Draws(clean.seed, "domain", number)
        entry = page(languages()[draws.one(clean.entries).language or "en"], draws, clean.place(draws))
        host = draws.one(("", "www.", "m.")) + draws.one(BLOCKED_DOMAINS)
        yield replace(entry, url=f"https://{host}/{number}")


@fault("wrong language", expected="language")
def wrong_language(clean: Clean) -> Iterator[Entry]:
    """Good prose in a language that the quickstart does not keep."""
    others = [language for language in languages().values() if not language.keep]
    for number in range(clean.count(0.05)):
        draws = Draws(clean.seed, "language", number)
        yield page(others[number % len(others)], draws, clean.place(draws))


@fault("hostile page", expected="toxicity")
def hostile_page(clean: Clean) -> Iterator[Entry]:
    """English prose with a paragraph that attacks a group of people, without slurs; the note names whom."""
    terms = Draws(clean.seed, "attacked").shuffled(_terms())
    for number in range(clean.count(0.02)):
        draws = Draws(clean.seed, "hostile", number)
        term = terms[number % len(terms)]
        sentences = draws.shuffled(bundled().hostile)[: 8 + draws.below(3)]
        yield _page_about(clean, draws, [fill(sentence, term) for sentence in sentences], term)


@fault("mentions an identity", expected=KEPT)
def mentions_an_identity(clean: Clean) -> Iterator[Entry]:
    """English prose with a paragraph that speaks well or plainly of people of several groups; the note names them."""
    terms = cycle(Draws(clean.seed, "mentioned").shuffled(_terms()))  # none comes again before all were used
    for number in range(clean.count(0.02)):
        draws = Draws(clean.seed, "mention", number)
        sentences = draws.shuffled(bundled().benign)[: 5 + draws.below(4)]
        own = list(islice(terms, len(sentences)))
        filled = [fill(sentence, term) for sentence, term in zip(sentences, own, strict=True)]
        yield _page_about(clean, draws, filled, ", ".join(own))


def _terms() -> list[str]:
    return [term for terms in bundled().terms.values() for term in terms]


def _page_about(clean: Clean, draws: Draws, sentences: Sequence[str], note: str) -> Entry:
    language = languages()["en"]
    entry = page(language, draws, clean.place(draws))
    return replace(entry, text=with_paragraph(prose(language, draws, max_words=100), sentences, draws), note=note)


@fault("exact duplicate", expected="exact_duplicates")
def exact_duplicate(clean: Clean) -> Iterator[Entry]:
    """Later copies of a clean document: word for word, in lower case, or with other white space."""
    originals = Draws(clean.seed, "originals").shuffled(range(len(clean.entries)))[: clean.count(0.05)]
    for number, original in enumerate(originals):
        draws = Draws(clean.seed, "duplicate", number)
        note, change = CHANGES[number % len(CHANGES)]
        entry = page(languages()["en"], draws, clean.place(draws, start=original))
        text = change(clean.entries[original].text or "")
        yield replace(entry, text=text, language=clean.entries[original].language, note=note, twin=original)


CHANGES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("verbatim", lambda text: text),
    ("lower case", str.lower),
    ("verbatim", lambda text: text),
    ("double spaces and line breaks", lambda text: "  " + text.replace(" ", "  ").replace("\n\n", " \r\n\t") + "\n"),
)


@fault("near-duplicate", expected="near_duplicates")
def near_duplicate(clean: Clean) -> Iterator[Entry]:
    """Later versions of a clean document: a date above it, its first word cut, a sentence added."""
    originals = Draws(clean.seed, "versions").shuffled(range(len(clean.entries)))[: clean.count(0.05)]
    for number, original in enumerate(originals):
        draws = Draws(clean.seed, "version", number)
        before = clean.entries[original]
        language = languages()[before.language or "en"]
        note, change = VERSIONS[number % len(VERSIONS)]
        entry = page(language, draws, clean.place(draws, start=original))
        yield replace(entry, text=change(before.text or "", draws.one(language.phrases)), note=note, twin=original)


VERSIONS: tuple[tuple[str, Callable[[str, str], str]], ...] = (
    ("a date above it", lambda text, phrase: f"2026-03-12 09:40\n\n{text}"),
    ("the first word cut", lambda text, phrase: text.partition(" ")[2] if " " in text[:20] else text[1:]),
    ("a sentence added", lambda text, phrase: f"{text} {phrase}."),
)

# One line of JSON each, broken in its own way; ID stands for the record's id. Brackets nest deeper than orjson reads.
BROKEN: tuple[tuple[str, bytes], ...] = (
    ("not JSON", b"<html><head><title>502 Bad Gateway</title></head></html>"),
    ("cut in the middle", b'{"id": "ID", "text": "The market opens at nine and the'),
    ("comma after the last field", b'{"id": "ID", "text": "The train was late again.",}'),
    ("two objects on a line", b'{"id": "ID", "text": "One."} {"id": "ID", "text": "Two."}'),
    ("an array", b'["ID", "The gardener waters the beans."]'),
    ("a bare number", b"42"),
    ("invalid UTF-8", b'{"id": "ID", "text": "Caf\xe9 au lait et pain frais."}'),
    ("half a surrogate pair", b'{"id": "ID", "text": "Snow \\ud83d fell in the valley."}'),
    ("raw control character", b'{"id": "ID", "text": "The school\x01 kitchen."}'),
    ("not a number", b'{"id": "ID", "text": "Plum jam.", "source": NaN}'),
    ("no text", b'{"id": "ID", "source": "diary", "url": "https://diary.example.org/x"}'),
    ("null text", b'{"id": "ID", "text": null, "source": "diary"}'),
    ("text is a list", b'{"id": "ID", "text": ["The clock", "in the tower"]}'),
    ("text is a number", b'{"id": "ID", "text": 1871}'),
    ("nested too deep", b'{"id": "ID", "text": ' + b"[" * 2000 + b"]" * 2000 + b"}"),
)


@fault("corrupt record", expected=QUARANTINE)
def corrupt_record(clean: Clean) -> Iterator[Entry]:
    """Records that cannot be read, each between good ones; the last file ends in the middle of its last record."""
    for number, (note, raw) in enumerate(BROKEN):
        draws = Draws(clean.seed, "corrupt", number)
        after = clean.place(draws, file=JSON_LINES[number % len(JSON_LINES)])
        yield Entry(after, None, "", "", note=note, raw=raw)
    draws = Draws(clean.seed, "corrupt", "null")
    absent = page(languages()["en"], draws, clean.place(draws, file="articles.parquet"))
    yield replace(absent, text=None, note="null text")
    yield replace(page(languages()["en"], draws, len(clean.entries)), note=TORN)


TORN = "the file ends inside this record"


# --- writing ----------------------------------------------------------------------------------------------------------


def write_corpus(folder: Path, documents: int = 2000, seed: int = 1) -> Planted:
    """Write a corpus of so many clean documents, and faults on top, into a folder; return where each fault is.

    Besides the corpus files the folder gets the list of blocked domains. At least 100 documents.
    """
    if documents < 100:
        raise ValueError(f"documents must be at least 100, so that every file has some; got {documents}")
    clean = _clean(documents, seed)
    entries = [*clean.entries]
    for kind in KINDS:
        entries += [replace(entry, kind=kind.name) for entry in kind.plant(clean)]
    entries.sort(key=lambda entry: entry.after)  # stable: a fault stands behind the clean document that it follows

    ids = [f"demo-{number:05d}" for number in range(len(entries))]
    originals = {entry.after: id for entry, id in zip(entries, ids, strict=True) if entry.kind is None}
    contents: dict[str, list[tuple[str, Entry]]] = {file: [] for file in clean.ends}
    faults: list[Fault] = []
    for id, entry in zip(ids, entries, strict=True):
        file = clean.file(entry.after)
        if entry.kind is not None:
            known = None if entry.raw is not None or entry.note == TORN else id
            twin = None if entry.twin is None else originals[entry.twin]
            faults.append(Fault(entry.kind, file, len(contents[file]), known, entry.note, twin))
        contents[file].append((id, entry))

    folder.mkdir(parents=True, exist_ok=True)
    for file, records in contents.items():
        _write(folder / file, records)
    (folder / BLOCKED_DOMAINS_FILE).write_text("\n".join(BLOCKED_DOMAINS) + "\n", "utf-8")
    kept = {id: entry.language or "" for id, entry in zip(ids, entries, strict=True) if entry.kind is None}
    return Planted(folder, tuple(contents), tuple(faults), kept)


def _clean(documents: int, seed: int) -> Clean:
    kept = [language for language in languages().values() if language.keep]
    entries: list[Entry] = []
    seen: set[str] = set()
    attempt = 0
    while len(entries) < documents:
        draws = Draws(seed, "clean", attempt)
        entry = page(draws.one(kept), draws, len(entries))
        key = normalised(entry.text or "")
        if key not in seen:
            seen.add(key)
            entries.append(entry)
        attempt += 1
    ends = {file: round(end * documents) for file, end in zip(SHARES, accumulate(SHARES.values()), strict=True)}
    return Clean(tuple(entries), seed, ends)


def _write(path: Path, records: Sequence[tuple[str, Entry]]) -> None:
    if path.suffix == ".parquet":
        _write_parquet(path, records)
        return
    if path.suffix == ".csv":
        path.write_bytes(_csv(records))
        return
    lines = [_line(id, entry) for id, entry in records]
    if path.suffix == ".zst":
        import pyarrow as pa

        path.write_bytes(pa.compress(b"".join(lines), codec="zstd", asbytes=True))
    elif path.suffix == ".gz" and records[-1][1].note == TORN:
        last = gzip.compress(lines[-1], mtime=0)
        path.write_bytes(gzip.compress(b"".join(lines[:-1]), mtime=0) + last[: len(last) // 2])
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(b"".join(lines), mtime=0))
    else:
        path.write_bytes(b"".join(lines))


def _line(id: str, entry: Entry) -> bytes:
    import orjson

    if entry.raw is not None:
        return entry.raw.replace(b"ID", id.encode()) + b"\n"
    return orjson.dumps({"id": id, "text": entry.text, "source": entry.source, "url": entry.url}) + b"\n"


def _csv(records: Sequence[tuple[str, Entry]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((id, entry.text, entry.source, entry.url) for id, entry in records)
    return text.getvalue().encode()


def _write_parquet(path: Path, records: Sequence[tuple[str, Entry]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(id, entry.text, entry.source, entry.url) for id, entry in records]
    table = pa.table(
        {name: pa.array(values, pa.string()) for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)}
    )
    pq.write_table(table, path, row_group_size=200, compression="zstd")
