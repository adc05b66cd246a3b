"""Score documents with a text classifier of one's own, and drop them by its labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.errors import UsageError
from curate.filter import Filter, Limit, above, as_tuples, below, nearest, threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LABELS = 50  # that become columns of the ledger unless asked for by name
TAKEN = ("id", "text", "label", "confidence", "judged")


class Classifier(Filter, name="classifier"):
    """Score documents with a fastText or Hugging Face text classifier and drop them by its labels.

    For models of quality, topic or domain. A fastText model (.bin, .ftz) reads a document as one line. A folder with a
    transformer (extra `detoxify`) reads it in windows of whole sentences, and the mean over windows, weighted by bytes,
    is the document's score; nothing is cut off. Nothing is fetched, pickled weights that are not plain tensors are
    refused, and code in the folder is not run.

    Scores: `label` (the one with the highest score) and `confidence` (that score); a column for each label, named like
    it, with other characters than letters, digits and `-` as `_`; `judged`, whether the text has letters, without
    which all others are null. With one label for regression, its column is the model's output as it is.
    """

    model: Path = Field(description="a fastText model file, or a folder with a Hugging Face text classifier")
    keep: tuple[str, ...] = threshold((), description="drop documents whose likeliest label is not among these")
    drop_above: dict[str, float] = threshold(
        {}, description="by label: drop documents whose score for it is above this, for example {spam: 0.9}"
    )
    drop_below: dict[str, float] = threshold(
        {}, description="by label: drop documents whose score for it is below this, for example {hq: 0.018}"
    )
    labels: tuple[str, ...] = Field(
        default=(),
        description=f"labels that become scores; none means all, which a model with more than {MAX_LABELS} refuses",
    )
    max_chars: int | None = Field(
        default=None,
        ge=1,
        description="how many characters from the start of a document are read; null: all of it",
    )
    max_window_chars: int = Field(
        default=1_500, ge=50, description="characters of a window that a transformer reads at once, about 350 tokens"
    )

    @field_validator("keep", "labels", mode="before")
    @classmethod
    def _one_label(cls, labels: Any) -> Any:
        return (labels,) if isinstance(labels, str) else as_tuples(labels)

    @model_validator(mode="after")
    def _known(self) -> Classifier:
        if not self.model.exists():  # which `files` brings to light; old runs can be opened without it
            return self
        try:
            known = labels_of(self.model)
        except UsageError as error:
            raise ValueError(error.message) from error
        named = dict.fromkeys((*self.keep, *self.labels, *self.drop_above, *self.drop_below))
        problems = [unknown(label, known) for label in named if label not in known]
        if problems:
            raise ValueError("; ".join(problems))
        if not self.labels and len(known) > MAX_LABELS:
            raise ValueError(f"the model has {len(known)} labels: name those that become scores in `labels`")
        unscored = [label for label in (*self.drop_above, *self.drop_below) if self.labels and label not in self.labels]
        if unscored:
            raise ValueError(f"{unscored[0]!r} has a limit, but is not among `labels`")
        return self

    def files(self) -> tuple[Path, ...]:
        """The model."""
        from curate.transformer import find_files

        return find_files(self.model) if self.model.is_dir() else (self.model,)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Score each document for each label."""
        from curate.kernels.text import has_letters
        from curate.kernels.utf8 import texts

        read = docs["text"] if self.max_chars is None else docs["text"].str.head(self.max_chars)
        known = labels_of(self.model)
        chances, found = self._chances(read, len(known))
        judged = pl.Series("judged", found & has_letters(texts(read)))
        best = chances.argmax(axis=1)
        columns = [
            pl.Series("label", known, pl.String).gather(best).alias("label"),
            pl.Series("confidence", chances[range(len(best)), best]),
            *(pl.Series(column_of(label), chances[:, known.index(label)]) for label in self.labels or known),
        ]
        names = [column.name for column in columns]
        if len(set(names)) < len(names):
            raise UsageError("two labels have the same column", hint="name the ones that you need in `labels`")
        return pl.DataFrame([judged, *columns]).select(pl.when("judged").then(pl.col(*names)), "judged")

    def drop_when(self) -> dict[str, pl.Expr | Limit]:
        """`not_kept`: the likeliest label is not to be kept; `LABEL_above`, `LABEL_below`: a limit on a label."""
        rules: dict[str, pl.Expr | Limit] = {}
        if self.keep:
            rules["not_kept"] = pl.col("judged") & ~pl.col("label").is_in(self.keep).fill_null(True)
        for side, limits in (("above", self.drop_above), ("below", self.drop_below)):
            make = above if side == "above" else below
            for label, limit in limits.items():
                rules[f"{column_of(label)}_{side}"] = make(column_of(label), limit, where="judged")
        return rules

    def _chances(self, read: pl.Series, labels: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The score of each label for each text, and which texts the model knows anything of."""
        import numpy as np

        if not self.model.is_dir():
            from curate.kernels.fasttext import load
            from curate.kernels.fasttext_scores import label_scores
            from curate.kernels.utf8 import texts

            return label_scores(load(self.model), texts(read))
        if len(read) == 0:
            return np.zeros((0, labels)), np.zeros(0, bool)
        from curate import transformer
        from curate.windows import cut_windows

        windows = cut_windows(read, self.max_window_chars)
        scores = transformer.load(self.model).scores(windows.raw.to_list(), "mean")
        weights = windows.sizes.astype(np.float64)
        total = np.bincount(windows.rows, weights, len(read))
        chances = np.zeros((len(read), labels))
        np.add.at(chances, windows.rows, scores * weights[:, None])
        return chances / np.maximum(total, 1)[:, None], total > 0


def labels_of(model: Path) -> tuple[str, ...]:
    """The labels of a model, without loading a transformer."""
    if model.is_dir():
        from curate.transformer import labels_in

        return labels_in(model)
    from curate.kernels.fasttext import load

    return load(model).labels


def column_of(label: str) -> str:
    """The column of a label: its name, as far as columns can have it."""
    name = re.sub(r"[^\w-]+", "_", label) or "_"
    return f"{name}_" if name in TAKEN else name


def unknown(label: str, known: tuple[str, ...]) -> str:
    """Say that a label is unknown, and which one may be meant."""
    near = nearest(label, known)
    return f"the model has no label {label!r}" + (f"; did you mean {near!r}?" if near else "")
