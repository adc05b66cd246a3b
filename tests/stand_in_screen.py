"""A stand-in for the bundled screen: a text's score is its share of words that start with `bad`."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

SEEN: list[str] = []  # the texts that the screen was asked about, call by call


def screen_scores(texts: pl.Series) -> NDArray[np.float64]:
    """The share of words that start with `bad`."""
    SEEN.extend(texts.to_list())
    words = texts.str.extract_all(r"\w+")
    bad = words.list.eval(pl.element().str.starts_with("bad")).list.sum().cast(pl.Float64)
    return (bad / words.list.len().clip(lower_bound=1)).fill_null(0.0).to_numpy()


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in where the filter looks for the screen; its files are those of this module."""
    module = types.ModuleType("curate.screen")
    module.screen_scores = screen_scores  # type: ignore[attr-defined]  # a module made here
    module.screen_files = lambda: (Path(__file__),)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "curate.screen", module)
    SEEN.clear()
