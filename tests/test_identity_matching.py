"""The identity matcher on sentences that its author did not know: as good as the reports say, not worse."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import polars as pl

from curate.filters import Groups

GOLDEN = Path(__file__).parent / "golden" / "identity_sentences.jsonl"


def counts() -> tuple[int, int, int, int]:
    """Axes found and there, found and not there, there and not found; sentences."""
    rows = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]
    docs = pl.DataFrame({"id": [str(n) for n in range(len(rows))], "text": [row["text"] for row in rows]})
    found = Groups(attributes=("identity",)).score(docs)["identity"].to_list()
    pairs = [(set(row["axes"]), set(axes)) for row, axes in zip(rows, found, strict=True)]
    right = sum(len(there & axes) for there, axes in pairs)
    return (
        right,
        sum(len(axes - there) for there, axes in pairs),
        sum(len(there - axes) for there, axes in pairs),
        len(rows),
    )


def test_the_figures_that_reports_print_are_those_of_the_matcher() -> None:
    told = tomllib.loads((files("curate.data") / "identity_measured.toml").read_text("utf-8"))

    right, wrong, missed, sentences = counts()

    assert sentences == told["sentences"]
    assert right / (right + wrong) >= told["precision"] - 0.001
    assert right / (right + missed) >= told["recall"] - 0.001
