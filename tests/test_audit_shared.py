"""The golden audit: a list of swear words on real tweets removes one dialect more often, and mostly for their labels.

SCIENCE 2.1 has 1.63 crude and 1.04 within labels with another tokeniser; these are ours.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import polars as pl
import pytest

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
pytestmark = pytest.mark.shared


def test_a_list_of_swear_words_removes_african_american_english_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    dialect = importlib.import_module("dialect")
    monkeypatch.setattr(dialect, "SHARED", SHARED)

    rows = dialect.audit_of_tweets(tmp_path).rows.filter(pl.col("step") == "blocklist")

    found = rows.filter(pl.col("group") == "African-American").row(0, named=True)
    white = rows.filter(pl.col("group") == "White").row(0, named=True)
    assert (found["removed"], found["at_risk"]) == (10_035, 13_704)
    assert (white["removed"], white["at_risk"]) == (2_985, 6_729)
    assert [round(found[f"removal_{part}"], 2) for part in ("ratio", "low", "high")] == [1.65, 1.60, 1.70]
    assert round(found["keep_ratio"], 2) == 0.48
    assert [round(found[f"adjusted_{part}"], 2) for part in ("ratio", "low", "high")] == [1.05, 1.02, 1.07]
    assert found["flagged"]
    assert found["simpson"]
