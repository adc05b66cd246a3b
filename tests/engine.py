"""Small corpora, filters and helpers for tests of the engine."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import orjson
import polars as pl

from curate.filter import Corpus, CorpusFilter, Filter, above, below, threshold

CALLS: list[int] = []  # documents handed to Counted.score, call by call


class Counted(Filter, name="test.counted"):
    """Count characters and remember how many documents were scored."""

    scores: ClassVar = {"size": "characters"}
    low: int | None = threshold(None)
    high: int | None = threshold(None)
    unit: int = 1

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Characters, in units."""
        if docs.height:
            CALLS.append(docs.height)
        return docs.select(size=pl.col("text").str.len_chars().cast(pl.Int64) // self.unit)

    def drop_when(self) -> dict[str, Any]:
        """Limits on both sides."""
        rules: dict[str, Any] = {}
        if self.low is not None:
            rules["too_short"] = below("size", self.low)
        if self.high is not None:
            rules["too_long"] = above("size", self.high)
        return rules


class Trouble(Filter, name="test.trouble"):
    """Raise on a text with `boom`, return NaN for one with `nan`, null for one with `null`."""

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """One float, or trouble."""
        if docs["text"].str.contains("boom").any():
            raise ValueError("boom")
        text = pl.col("text")
        value = (
            pl.when(text.str.contains("nan"))
            .then(float("nan"))
            .when(text.str.contains("null"))
            .then(None)
            .otherwise(0.5)
        )
        return docs.select(value=value)

    def drop_when(self) -> dict[str, Any]:
        """A limit that nothing reaches."""
        return {"high": above("value", 0.9)}


class Mask(Filter, name="test.mask"):
    """Replace the word `secret` by stars."""

    put: str = "***"

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """How often, and the edits."""
        edits = []
        for text in docs["text"]:
            data, found, at = text.encode(), [], -1
            while (at := data.find(b"secret", at + 1)) >= 0:
                found.append({"start": at, "end": at + 6, "put": self.put})
            edits.append(found)
        kind = pl.List(pl.Struct({"start": pl.Int64, "end": pl.Int64, "put": pl.String}))
        return pl.DataFrame(
            {"hits": [len(one) for one in edits], "edits": edits}, schema={"hits": pl.Int64(), "edits": kind}
        )


class FirstLetter(CorpusFilter, name="test.first_letter"):
    """Keep one document per first letter: the earliest."""

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """The first letter."""
        return docs.select(letter=pl.col("text").str.slice(0, 1))

    def decides(self) -> dict[str, Any]:
        """Twin and group size."""
        return {"duplicate_of": pl.String, "group": pl.Int64}

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """Group by letter."""
        frames = list(corpus.map(first_of_each, corpus.partitions("letter")))
        empty = pl.DataFrame(schema={"chunk": pl.Int64, "row": pl.Int64, "duplicate_of": pl.String, "group": pl.Int64})
        return pl.concat([empty, *frames]).lazy()

    def drop_when(self) -> dict[str, Any]:
        """Twins go."""
        return {"twin": pl.col("duplicate_of").is_not_null()}


def first_of_each(part: Any) -> pl.DataFrame:
    """The decision for one partition."""
    frame = part.read().sort("chunk", "row")
    first = pl.col("id").first().over("letter")
    return frame.select(
        "chunk",
        "row",
        pl.when(pl.col("id") != first).then(first).alias("duplicate_of"),
        pl.len().over("letter").cast(pl.Int64).alias("group"),
    )


class Repeat(CorpusFilter, name="test.repeat"):
    """Up-sample every document."""

    times: int = 2

    def decides(self) -> dict[str, Any]:
        """How often."""
        return {"copies": pl.UInt16}

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """The same for all."""
        return corpus.columns().select("chunk", "row", pl.lit(self.times, pl.UInt16).alias("copies"))


def write_lines(path: Path, records: list[Any]) -> Path:
    """Write records as JSON lines; bytes go in as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, bytes) else orjson.dumps(record) for record in records]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def words(seed: int, count: int) -> str:
    """Words that look random and are always the same."""
    data = hashlib.shake_128(str(seed).encode()).hexdigest(count * 3)
    return " ".join(data[at : at + 6] for at in range(0, len(data), 6))


def make_corpus(folder: Path, files: int = 3, documents: int = 60) -> Path:
    """Some files of JSON lines with distinct texts of different lengths."""
    for number in range(files):
        first = number * documents
        records = [
            {"id": f"d{n}", "text": words(n, 3 + n % 17), "source": f"s{n % 3}", "score": n / 10}
            for n in range(first, first + documents)
        ]
        write_lines(folder / f"part-{number}.jsonl", records)
    return folder


def hashes(run: Path, *folders: str) -> dict[str, str]:
    """The sha256 of every file below some folders of a run, by name."""
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders or ("dataset/data", "audit/ledger")
        for path in sorted((run / folder).rglob("*"))
        if path.is_file()
    }


class Poison(Filter, name="test.poison"):
    """Kill, hang or blow up its process on a text that says so."""

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Nothing much, unless."""
        text = " ".join(docs["text"])
        if "die" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in text:
            time.sleep(3600)
        if "grow" in text:
            held = bytearray()
            while True:
                held += bytes(50_000_000)
                time.sleep(0.05)
        return docs.select(fine=pl.repeat(True, pl.len()))


class Slow(Filter, name="test.slow"):
    """Take a second for every batch."""

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """One, later."""
        time.sleep(1 if docs.height else 0)
        return docs.select(one=pl.repeat(1, pl.len()))
