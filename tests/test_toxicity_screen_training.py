"""How the toxicity screen is trained, and that the shipped one still reaches what its card says."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from curate.kernels import fasttext
from curate.kernels.fold import fold
from curate.kernels.linear import rows_kernel, sums_kernel
from curate.kernels.utf8 import texts
from curate.screen import bundled_screen, screen_scores
from curate.swap import bundled

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="module")
def tools() -> Iterator[tuple[ModuleType, ModuleType, ModuleType]]:
    """The three scripts: rows, training, measuring."""
    before = list(sys.path)
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import measure_toxicity_screen  # type: ignore[import-not-found, unused-ignore]
        import toxicity_rows  # type: ignore[import-not-found, unused-ignore]
        import train_toxicity_screen  # type: ignore[import-not-found, unused-ignore]

        yield toxicity_rows, train_toxicity_screen, measure_toxicity_screen
    finally:
        sys.path[:] = before


Tools = tuple[ModuleType, ModuleType, ModuleType]


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("CC0-1.0 labels / CC-BY-SA-3.0 text", True),
        ("Apache-2.0 repo; Wikipedia text CC-BY-SA-3.0", True),
        ("CC-BY-4.0", True),
        ("CC-BY-NC-4.0", False),
        ("CC-BY-NC-SA-4.0", False),
        ("CC0-1.0 labels / all rights reserved", False),
        ("unclear", False),
        ("PERMITTED", False),
    ],
)
def test_only_rows_under_free_licences_are_read(tools: Tools, licence: str, allowed: bool) -> None:
    assert tools[0].is_allowed(licence) == allowed


def test_the_halves_of_the_terms_do_not_overlap(tools: Tools) -> None:
    rows = tools[0]

    assert set(rows.own_terms("even")) | set(rows.own_terms("odd")) == set(rows.own_terms("all"))
    assert not set(rows.own_terms("even")) & set(rows.own_terms("odd"))


def test_filled_sentences_have_no_open_slot_and_are_none_of_the_swap_check(tools: Tools) -> None:
    filled = tools[0].filled("all", 1)["text"].str.to_lowercase()

    assert not filled.str.contains(r"[{}]").any()
    ends = [part.strip(" .").lower() for sentence in (*bundled().benign, *bundled().hostile)
            for part in sentence.lower().split("{term}") if len(part) > 25]  # fmt: skip
    assert not any(filled.str.contains(end, literal=True).any() for end in ends)


def test_the_shipped_table_of_code_points_is_the_one_the_tool_makes(tools: Tools) -> None:
    same = [*range(0x250), *range(0x370, 0x460), *range(0xFF01, 0xFF5F), 0x200B, 0x2019, 0x4F60, 0x1F642]  # old enough
    table = bundled_screen().folds

    assert [tools[1].folds_to(code) for code in same] == table[same].tolist()


def test_a_trained_model_is_read_back_with_its_weights(tools: Tools, tmp_path: Path) -> None:
    train = tools[1]
    rows = pl.DataFrame(
        {
            "text": ["you fool"] * 30 + ["you friend"] * 30,
            "label": [1.0] * 30 + [0.0] * 30,
            "weight": [1.0] * 60,
            "source": ["one", "two"] * 30,
        }
    )
    folds = bundled_screen().folds
    weights = train.trained(rows, folds)
    path = tmp_path / "model.ftz"
    path.write_bytes(train.fasttext_file(*train.quantized(weights)))
    model = fasttext.load(path)
    sums, _ = sums_kernel(*fold(texts(pl.Series("text", ["fool", "friend", "zz"])), folds), model.weights, 1)

    assert not any(word in path.read_bytes() for word in (b"you", b"fool", b"friend"))
    assert model.labels == ("clean", "toxic")
    assert sums[0] > 0 > sums[1]
    assert sums[2] == 0


def test_training_sees_the_rows_that_scoring_adds_up() -> None:
    weights = bundled_screen().model.weights
    data, offsets = fold(
        texts(pl.Series("text", ["Two words here.", "", "one two two one two", "x" * 200, "naïve 好 🙂!"])),
        bundled_screen().folds,
    )
    rows, ends = np.zeros(20_000, np.int32), np.zeros(len(offsets), np.int64)
    rows_kernel(data, offsets, weights, 1, rows, ends)
    sums, counts = sums_kernel(data, offsets, weights, 1)

    assert np.diff(ends).tolist() == counts.tolist()
    assert [weights.rows[rows[a:b], 0].sum() for a, b in pairwise(ends)] == pytest.approx(sums, abs=1e-4)


def test_quantising_keeps_zero_and_comes_close(tools: Tools) -> None:
    weights = np.append(np.zeros(500), np.random.default_rng(1).normal(0, 0.1, 5_000)).astype(np.float32)
    centroids, codes = tools[1].quantized(weights)

    assert len(centroids) == 256
    assert set(np.unique(codes)) <= set(tools[1].CODES)
    assert (centroids[codes][:500] == 0).all()
    assert np.abs(centroids[codes] - weights).mean() < 0.002


def test_the_card_names_every_kind_of_row(tools: Tools) -> None:
    card = (ROOT / "curate" / "data" / "toxicity_screen.md").read_text("utf-8")

    assert all(name in card for name in ("conversationai", "LDNOOBW", "dsojevic", "tools/toxicity_templates.toml"))


@pytest.mark.shared
def test_the_card_lists_the_sources_and_the_figures_still_hold(tools: Tools) -> None:
    rows_of, _, measure = tools
    card = (ROOT / "curate" / "data" / "toxicity_screen.md").read_text("utf-8")
    development = rows_of.comments(SHARED, "dev")
    scores = screen_scores(development["text"])
    found = measure.by_source(development, scores)

    assert [name for name in rows_of.comments(SHARED, "train")["source"].unique() if name not in card] == []
    assert found["jigsaw_wiki_part"] == pytest.approx(0.981, abs=0.002)
    assert found["davidson"] == pytest.approx(0.956, abs=0.002)
    assert found["paradetox"] == pytest.approx(0.967, abs=0.002)
    assert measure.calibration_error(development["toxic"].to_numpy(), scores) < 0.05


@pytest.mark.shared
def test_benign_sentences_are_seldom_flagged_for_any_identity_term(tools: Tools) -> None:
    sentences = tools[0].conversationai(SHARED)
    found = tools[2].templates(sentences, screen_scores(sentences["phrase"]))

    term, rate, _ = found["worst"][0]
    assert rate <= 0.1, term
