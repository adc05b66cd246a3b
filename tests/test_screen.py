"""The bundled toxicity screen: scores, their calibration, and what hides from it."""

from __future__ import annotations

import json
import os
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import curate
from curate.kernels import fasttext
from curate.kernels.fold import fold
from curate.kernels.linear import EVERY_TIME, sums_kernel
from curate.kernels.utf8 import Texts, column, texts
from curate.screen import bundled_screen, load_screen, screen_files, screen_scores

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))

BENIGN = (
    "The committee will meet again on Thursday to discuss the budget for next year.",
    "Thank you for the lovely dinner, the soup was great.",
    "My Muslim neighbour is coming over for dinner tonight.",
    "I am gay, and I have lived in this street for ten years.",
)
TOXIC = ("You are a stupid, pathetic idiot.", "Shut up, you ugly moron.")


def scores(*given: str | None) -> list[float]:
    return screen_scores(pl.Series("text", given, pl.String)).tolist()


def test_insults_score_above_ordinary_sentences() -> None:
    assert max(scores(*BENIGN)) < 0.5 < min(scores(*TOXIC))


@pytest.mark.parametrize("text", [None, "", "   ", "\u200b", "---", "https://example.org/stupid"])
def test_a_text_without_words_has_a_low_score(text: str | None) -> None:
    assert scores(text) == scores("")
    assert scores(text)[0] < 0.5


@pytest.mark.parametrize(
    "disguised",
    [
        "You are a st\u200bupid, path\u200betic id\u200biot.",
        "YOU ARE A STUPID, PATHETIC IDIOT.",
        "You are a ѕtupіd, рathetіc іdіоt.",
        "Ｙｏｕ ａｒｅ ａ ｓｔｕｐｉｄ, ｐａｔｈｅｔｉｃ ｉｄｉｏｔ.",
        "You are a stup1d, p@thetic idi0t.",
        "You are a s\u0336t\u0336u\u0336p\u0336i\u0336d, p\u0336a\u0336thetic idiot.",
    ],
)
def test_a_disguise_does_not_change_the_score(disguised: str) -> None:
    assert scores(disguised) == scores(TOXIC[0])


def test_a_text_scores_the_same_alone_and_among_others() -> None:
    together = scores(*BENIGN, *TOXIC, None, "x" * 200)

    assert together == [scores(text)[0] for text in (*BENIGN, *TOXIC, None, "x" * 200)]


@pytest.mark.parametrize(
    "text",
    [
        "🙂" * 50,
        "data:image/png;base64," + "QUJD" * 500,
        "word " * 200_000,
        "idiot " * 200_000,
        "\ud7ff\x00\x01",
        "@" * 9,
        "a$$$$",
    ],
)
def test_odd_text_has_a_finite_score(text: str) -> None:
    assert 0 < scores(text)[0] < 1


@pytest.mark.parametrize(
    ("once", "often"),
    [("ha", "ha " * 100), ("You are late", "You are late " * 80), ("stop", "stop stop STOP st0p stop")],
)
def test_repetition_does_not_change_the_score(once: str, often: str) -> None:
    assert scores(often) == pytest.approx(scores(once), abs=0.02)  # the last two words of the text are a pair too


def test_no_texts_have_no_scores() -> None:
    assert screen_scores(pl.Series("text", [], pl.String)).shape == (0,)


def test_the_swap_check_finds_no_term_whose_benign_sentences_are_often_flagged() -> None:
    report = curate.swap_check(screen_scores)

    assert report.hostile_flagged >= 0.5
    assert report.worst["flag_rate"] <= 0.1


def test_the_file_is_a_fasttext_model_that_the_library_reads_alike() -> None:
    import fasttext as library  # type: ignore[import-untyped, unused-ignore]

    screen = bundled_screen()
    given = column(Texts(*fold(texts(pl.Series("text", BENIGN + TOXIC)), screen.folds)))
    theirs = library.load_model(str(screen_files()[0]))
    numbers, chances = fasttext.predict(screen.model, *texts(given))

    for text, number, chance in zip(given, numbers, chances, strict=True):
        ((value, label),) = theirs.f.predict(text + "\n", 1, 0.0, "strict")
        assert label == f"__label__{screen.model.labels[number]}"
        assert value == pytest.approx(chance, abs=1e-5)


def test_the_sum_is_that_of_the_rows_that_fasttext_averages() -> None:
    screen = bundled_screen()
    folded = fold(texts(pl.Series("text", TOXIC)), screen.folds)
    sums, counts = sums_kernel(*folded, screen.model.weights, EVERY_TIME)
    numbers, chances = fasttext.predict(screen.model, *folded)
    toxic = np.where(numbers == screen.model.labels.index("toxic"), chances, 1 - chances)

    assert 1 / (1 + np.exp(-sums / counts)) == pytest.approx(toxic, abs=2e-5)


def test_the_files_are_small_and_listed() -> None:
    assert all(path.is_file() for path in screen_files())
    assert sum(path.stat().st_size for path in screen_files()) <= 5_000_000


def test_a_screen_in_another_folder_is_loaded() -> None:
    folder = screen_files()[0].parent

    assert load_screen(folder).scores(pl.Series("text", TOXIC)).tolist() == scores(*TOXIC)


def test_the_constants_and_the_card_name_one_language() -> None:
    constants = json.loads((files("curate.data") / "toxicity_screen.json").read_text("utf-8"))

    assert constants["languages"] == list(curate.screen.LANGUAGES) == ["en"]


ALLOWED = {"retard", "enby", "gay sex", "porn", "sexual"}  # a French word; what the identity lexicon has to tell apart


@pytest.mark.shared
def test_no_listed_word_stands_in_a_packaged_file() -> None:
    terms = pl.read_parquet(SHARED / "bias" / "terms.parquet").filter(
        pl.col("list").is_in(["ldnoobw", "dsojevic"]), pl.col("lang") == "en"
    )
    words = {one for term in terms["term"] for one in term.lower().split("|") if len(one) >= 4} - ALLOWED
    pattern = re.compile(
        rb"(?<![a-z])(?:" + b"|".join(re.escape(one.encode()) for one in sorted(words)) + rb")(?![a-z])"
    )

    found = {
        name
        for entry in files("curate.data").iterdir()
        if entry.is_file()
        for name, content in contents(Path(str(entry)))
        if pattern.search(content.lower())
    }

    assert len(words) > 500
    assert found == set()


def contents(path: Path) -> list[tuple[str, bytes]]:
    """The bytes of a file, or of each array of an archive of arrays."""
    if path.suffix != ".npz":
        return [(path.name, path.read_bytes())]
    with np.load(path) as stored:
        return [(f"{path.name}: {name}", stored[name].tobytes()) for name in stored]
