"""The bundled toxicity screen: a calibrated probability for each text, from a small model of our own.

The model reads English. What it was trained on, what it reaches and where it fails: `curate/data/toxicity_screen.md`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

    from curate.kernels.fasttext import Model

LANGUAGES = ("en",)  # of the text that the model was trained on and measured with
MAX_LOGIT = 30.0  # beyond it a probability is 0 or 1 to 13 digits
NAMES = ("toxicity_screen.ftz", "toxicity_screen.json", "toxicity_screen.npz")


@dataclass(frozen=True)
class Screen:
    """A screen as it is used: the weights, what each code point is folded to, and the constants of the calibration."""

    model: Model
    folds: NDArray[np.uint8]
    slope: float
    intercept: float
    power: float  # the sum of n weights is divided by n to this power
    most: int  # how often a word counts in a text

    def scores(self, texts: pl.Series) -> NDArray[np.float64]:
        """The probability that each text is toxic; a text without words has the one of a text that says nothing."""
        from curate.kernels import utf8
        from curate.kernels.fold import fold
        from curate.kernels.linear import sums_kernel

        sums, counts = sums_kernel(*fold(utf8.texts(texts), self.folds), self.model.weights, self.most)
        values = sums / np.maximum(counts, 1) ** self.power
        logits = np.clip(self.slope * values + self.intercept, -MAX_LOGIT, MAX_LOGIT)
        scores: NDArray[np.float64] = 1 / (1 + np.exp(-logits))
        return scores


def screen_scores(texts: pl.Series) -> NDArray[np.float64]:
    """The bundled screen's probability, from 0 to 1, that each text of a string column is toxic.

    A text is scored as a whole, so that a short insult in a long text weighs little: give sentences or short windows.
    Null is the empty text. Text in other languages than English gets a number too, and it means nothing.
    """
    return bundled_screen().scores(texts)


def screen_files() -> tuple[Path, ...]:
    """The files that decide what `screen_scores` returns."""
    return tuple(Path(str(files("curate.data") / name)) for name in NAMES)


@cache
def bundled_screen() -> Screen:
    """The screen in `curate/data`, read once per process."""
    return load_screen(screen_files()[0].parent)


def load_screen(folder: Path) -> Screen:
    """The screen whose three files are in a folder, as `tools/train_toxicity_screen.py` writes them."""
    from curate.kernels.fasttext import load

    weights, constants, table = (folder / name for name in NAMES)
    numbers = json.loads(constants.read_text("utf-8"))
    with np.load(table) as stored:
        folds = stored["folds"]
    return Screen(load(weights), folds, *(numbers[name] for name in ("slope", "intercept", "power", "most")))
