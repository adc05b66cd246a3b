"""Chat and preference records as the filters of records see them, for tests."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.filters.turns import TURNS

Turn = tuple[str, str, str]  # side, role, content
FOLDER = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
HH_NAMES = {"Human": "user", "Assistant": "assistant"}


def record(*turns: Turn) -> dict[str, Any]:
    """The text of some turns, and where each is in its bytes."""
    places, at = [], 0
    for side, role, content in turns:
        end = at + len(content.encode())
        places.append({"side": side, "role": role, "start": at, "end": end})
        at = end + 2
    return {"text": "\n\n".join(content for _, _, content in turns), "turns": places}


def records(*rows: Sequence[Turn], **columns: list[Any]) -> pl.DataFrame:
    """Documents of some records, with ids r0, r1, ..."""
    made = [{"id": f"r{number}", **record(*turns)} for number, turns in enumerate(rows)]
    frame = pl.DataFrame(made, schema={"id": pl.String, "text": pl.String, "turns": TURNS})
    return frame.with_columns(
        pl.Series(name.replace("__", "."), values, strict=False) for name, values in columns.items()
    )


def chat(*contents: str, system: str | None = None) -> list[Turn]:
    """A chat in which user and assistant take turns; the last one is the response when it is the assistant's."""
    roles = ["user", "assistant"]
    said = [("prompt", roles[number % 2], content) for number, content in enumerate(contents)]
    if said and said[-1][1] == "assistant":
        said[-1] = ("response", "assistant", contents[-1])
    return [*([] if system is None else [("prompt", "system", system)]), *said]


def pair(prompt: str, chosen: str, rejected: str) -> list[Turn]:
    """A preference record with one turn in each part."""
    return [("prompt", "user", prompt), ("chosen", "assistant", chosen), ("rejected", "assistant", rejected)]


def preference(chosen: Sequence[tuple[str, str]], rejected: Sequence[tuple[str, str]]) -> list[Turn]:
    """A preference record of two lists of turns: what they begin with in common is the prompt."""
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return [
        *(("prompt", *turn) for turn in chosen[:shared]),
        *(("chosen", *turn) for turn in chosen[shared:]),
        *(("rejected", *turn) for turn in rejected[shared:]),
    ]


def hh_turns(transcript: str) -> list[tuple[str, str]]:
    """The turns of a transcript of HH-RLHF, by its markers."""
    parts = re.split(r"\n\n(Human|Assistant):", transcript)
    return [(HH_NAMES[name], content.strip()) for name, content in zip(parts[1::2], parts[2::2], strict=True)]


def hh_records() -> pl.DataFrame:
    """The pairs of HH-RLHF harmless-base/test, with their first turn."""

    def rows() -> Iterator[dict[str, Any]]:
        with gzip.open(FOLDER / "alignment" / "hh_rlhf_harmless_test.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                given = json.loads(line)
                chosen, rejected = hh_turns(given["chosen"]), hh_turns(given["rejected"])
                yield {"id": given["id"], **record(*preference(chosen, rejected)), "first": chosen[0][1]}

    schema = {"id": pl.String, "text": pl.String, "turns": TURNS, "first": pl.String}
    return pl.DataFrame(list(rows()), schema=schema)


def ledger(docs: pl.DataFrame, scores: pl.DataFrame, rules: Sequence[str | None] | None = None) -> pl.LazyFrame:
    """The ledger of a step with these scores, as its tables see it."""
    rule = pl.Series("rule", [None] * len(docs) if rules is None else rules, dtype=pl.String)
    return docs.select("id").hstack(scores).with_columns(rule, kept=rule.is_null()).lazy()


def f1(found: pl.Series, planted: pl.Series) -> float:
    """The harmonic mean of precision and recall."""
    return 2 * int((found & planted).sum()) / int(found.sum() + planted.sum())
