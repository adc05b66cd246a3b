"""Verdicts, scores and edits: what the engine knows of a batch of documents, and the ledger rows that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

EDIT_TYPE = pl.List(pl.Struct({"start": pl.Int64, "end": pl.Int64, "put": pl.String}))
QUARANTINE_SCHEMA: dict[str, Any] = {
    "file": pl.String(), "row": pl.Int64(), "id": pl.String(), "step": pl.String(), "error": pl.String(),
    "raw": pl.Binary(),
}  # fmt: skip
AUDIT_SEED = 1  # makes the sample independent of other uses of the hash
RAW_BYTES = 65_536  # of a record that a step could not judge, kept in quarantine


@dataclass
class Verdicts:
    """The state of one batch on its way through the steps; every array has one entry per document."""

    docs: pl.DataFrame  # row, id, text, input.NAME; `text` is as edited so far; or its `bytes` where only these count
    sampled: NDArray[np.bool_]
    alive: NDArray[np.bool_] = field(init=False)  # still in: neither dropped nor in quarantine
    decided: NDArray[np.int32] = field(init=False)  # number of the rule that dropped it, -1: none
    fault_step: NDArray[np.int32] = field(init=False)  # number of the step that sent it to quarantine, -1: none
    faults: dict[int, str] = field(default_factory=dict)  # position -> error, of those in quarantine
    rule_codes: list[tuple[str, str]] = field(default_factory=list)  # rule number -> (step, rule)
    broken: list[NDArray[np.bool_]] = field(default_factory=list)  # rule number -> who breaks it
    scores: dict[str, pl.Series] = field(default_factory=dict)  # by full name, null where not judged
    special: dict[str, pl.Series] = field(default_factory=dict)  # duplicate_of, similarity, copies, tokens

    def __post_init__(self) -> None:
        size = self.docs.height
        self.alive = np.ones(size, bool)
        self.decided = np.full(size, -1, np.int32)
        self.fault_step = np.full(size, -1, np.int32)

    def judge(self, step: str, rule: str, positions: NDArray[np.int64], values: NDArray[np.bool_]) -> None:
        """Note who breaks a rule; the first rule that a document breaks decides, later ones are only listed."""
        mask = np.zeros(self.docs.height, bool)
        mask[positions] = values
        self.decided[mask & self.alive & (self.decided < 0)] = len(self.rule_codes)
        self.rule_codes.append((step, rule))
        self.broken.append(mask)

    def close_step(self) -> None:
        """After a step's rules: what they decided is out."""
        self.alive &= self.decided < 0

    def fault(self, step_number: int, position: int, error: str) -> None:
        """Send a document to quarantine, unless it is out already."""
        if self.alive[position]:
            self.alive[position] = False
            self.fault_step[position] = step_number
            self.faults[position] = error

    def merge_special(self, name: str, values: pl.Series) -> None:
        """Take a decided column for the ledger's own; the first step that says something wins."""
        known = self.special.get(name)
        self.special[name] = values if known is None else pl.select(pl.coalesce(known, values)).to_series()

    def to_ledger(self, file: str, schema: Mapping[str, Any]) -> pl.DataFrame:
        """The ledger's rows of this batch: one per kept or dropped document, in input order."""
        size = self.docs.height
        steps = pl.Series([step for step, _ in self.rule_codes] + [None], dtype=pl.String)  # the last: none
        rules = pl.Series([rule for _, rule in self.rule_codes] + [None], dtype=pl.String)
        decided = np.where(self.decided < 0, len(self.rule_codes), self.decided)
        kept = self.alive
        copies = self.special.get("copies")
        one = pl.Series(np.ones(size, np.uint16))
        copies = (one if copies is None else copies.cast(pl.UInt16).fill_null(1)) * pl.Series(kept.astype(np.uint16))
        columns: dict[str, pl.Series] = {
            "id": self.docs["id"],
            "file": pl.repeat(file, size, dtype=pl.String, eager=True),
            "row": self.docs["row"],
            "kept": pl.Series(kept),
            "step": steps[decided],
            "rule": rules[decided],
            "failed": self._failed(),
            "copies": copies.cast(pl.UInt16),
            "bytes": text_bytes(self.docs),
            "sampled": pl.Series(self.sampled),
        }
        columns |= {name: values for name, values in self.special.items() if name != "copies"}
        columns |= self.scores
        made = []
        for name, kind in schema.items():
            if name in columns:
                made.append(columns[name].cast(kind).alias(name))
            elif name in self.docs.columns:
                made.append(self.docs[name].cast(kind))
            else:
                made.append(pl.Series(name, [None] * size, dtype=kind))
        return pl.DataFrame(made).filter(pl.Series(self.fault_step < 0))

    def _failed(self) -> pl.Series:
        size = self.docs.height
        hits = [(number, mask) for number, mask in enumerate(self.broken) if mask.any()]
        if not hits:
            return pl.Series([[]], dtype=pl.List(pl.String)).new_from_index(0, size)
        names = pl.DataFrame(
            [
                pl.Series(str(number), np.where(mask, f"{self.rule_codes[number][0]}.{self.rule_codes[number][1]}", ""))
                for number, mask in hits
            ]
        )
        return names.select(pl.concat_list(pl.all()).list.filter(pl.element() != "")).to_series()

    def to_quarantine(self, file: str, steps: Sequence[str | None]) -> pl.DataFrame:
        """The quarantine's rows of this batch: what a step could not judge, or the output cannot hold."""
        if not self.faults:
            return pl.DataFrame(schema=QUARANTINE_SCHEMA)
        positions = sorted(self.faults)
        some = self.docs.select("row", "id", "text")[positions]
        return pl.DataFrame(
            {
                "file": [file] * len(positions),
                "row": some["row"],
                "id": some["id"],
                "step": [steps[self.fault_step[position]] for position in positions],
                "error": [self.faults[position] for position in positions],
                "raw": [text.encode()[:RAW_BYTES] for text in some["text"]],
            },
            schema=QUARANTINE_SCHEMA,
        )


def text_bytes(docs: pl.DataFrame) -> pl.Series:
    """The bytes of every text: measured, or noted when the text was read."""
    if "text" not in docs.columns:
        return docs["bytes"]
    return docs["text"].str.len_bytes().cast(pl.Int64).alias("bytes")


def in_sample(ids: pl.Series, share: float) -> NDArray[np.bool_]:
    """Which documents are in the audit sample: by hash of the id, so that it is the same in every run."""
    if share <= 0:
        return np.zeros(len(ids), bool)
    from curate.kernels.hashing import hash64
    from curate.kernels.utf8 import texts

    return hash64(texts(ids), AUDIT_SEED) <= np.uint64(min(int(share * 2**64), 2**64 - 1))


def apply_edits(texts: pl.Series, edits: pl.Series) -> tuple[pl.Series, dict[int, str]]:
    """Replace byte ranges of texts; return the new texts and, by position, what is wrong with edits that do not fit."""
    touched = np.flatnonzero((edits.list.len().fill_null(0) > 0).to_numpy())
    if len(touched) == 0:
        return texts, {}
    from curate.kernels.edits import edited
    from curate.kernels.utf8 import column
    from curate.kernels.utf8 import texts as as_bytes

    before, lists = texts[touched], edits[touched]
    flat = lists.explode(empty_as_null=True).struct
    ends = np.append(0, np.cumsum(lists.list.len().to_numpy())).astype(np.int64)
    starts, stops = (flat.field(name).cast(pl.Int64).to_numpy() for name in ("start", "end"))
    after, doubtful = edited(as_bytes(before), ends, starts, stops, as_bytes(flat.field("put").cast(pl.String)))
    changed = column(after, before.name)
    wrong: dict[int, str] = {}
    for place in np.flatnonzero(doubtful).tolist():  # said in words, or in another order after all
        try:
            changed[place] = edit_text(before[place], lists[place].to_list())
        except ValueError as error:
            wrong[int(touched[place])] = str(error)
    return texts.scatter(touched, changed), wrong


def edit_text(text: str, changes: Sequence[Mapping[str, Any]]) -> str:
    """One text with its byte ranges replaced; ValueError when they overlap, leave the text or cut a character."""
    data = text.encode()
    out: list[bytes] = []
    at = 0
    for change in sorted(changes, key=lambda change: (change["start"], change["end"])):
        start, end = change["start"], change["end"]
        if not at <= start <= end <= len(data):
            raise ValueError(f"edit {start}..{end} overlaps another or leaves the text of {len(data)} bytes")
        out += [data[at:start], (change["put"] or "").encode()]
        at = end
    out.append(data[at:])
    try:
        return b"".join(out).decode()
    except UnicodeDecodeError as error:
        raise ValueError("an edit cuts a character in two") from error
