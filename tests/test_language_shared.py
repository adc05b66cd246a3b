"""The language step on labelled sentences and a crawl beside the model alone: what docs/language.md promises."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
pytestmark = pytest.mark.shared


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    module = importlib.import_module("scores")
    monkeypatch.setattr(module, "SHARED", SHARED)
    return module


def test_macro_f1_over_known_languages_is_three_points_above_the_model_alone(scores: ModuleType) -> None:
    dev = scores.labelled("dev")
    ours, alone = scores.language_step(dev["text"]), scores.model_alone(dev["text"])
    known = dev.with_columns(ours=pl.Series(ours), alone=pl.Series(alone)).filter(pl.col("gold").is_not_null())

    f1 = {name: scores.f1_of_languages(known["gold"], known[name].to_list())["f1"] for name in ("ours", "alone")}

    assert known["gold"].n_unique() == 149
    assert 100 * (f1["ours"].mean() - f1["alone"].mean()) >= 3


def test_english_documents_of_a_crawl_are_english_as_often_as_the_model_alone_says(scores: ModuleType) -> None:
    web = scores.english()

    ours, alone = (pl.Series(label(web)) == "en" for label in (scores.language_step, scores.model_alone))

    assert len(web) == 8_955
    assert 100 * (alone.mean() - ours.mean()) <= 0.5


def test_of_single_words_and_pairs_a_third_is_answered_and_nearly_all_of_it_right(scores: ModuleType) -> None:
    short = scores.labelled("short")

    answered = short.with_columns(found=pl.Series(scores.language_step(short["text"]))).filter(pl.col("found") != "und")

    assert len(answered) / len(short) >= 0.35
    assert (answered["found"] == answered["gold"]).fill_null(value=False).mean() >= 0.95
