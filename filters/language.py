"""Identify the language of documents and keep the languages asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.filter import Filter, Limit, as_tuples, below, nearest, threshold

UNKNOWN = "und"  # BCP 47 and ISO 639-2: undetermined

# The labels of lid.176: ISO 639-1 codes, else 639-3, and `eml` (retired), `bh` (a group), `sh`.
LABELS = (
    "af", "als", "am", "an", "ar", "arz", "as", "ast", "av", "az", "azb", "ba", "bar", "bcl", "be", "bg", "bh", "bn",
    "bo", "bpy", "br", "bs", "bxr", "ca", "cbk", "ce", "ceb", "ckb", "co", "cs", "cv", "cy", "da", "de", "diq", "dsb",
    "dty", "dv", "el", "eml", "en", "eo", "es", "et", "eu", "fa", "fi", "fr", "frr", "fy", "ga", "gd", "gl", "gn",
    "gom", "gu", "gv", "he", "hi", "hif", "hr", "hsb", "ht", "hu", "hy", "ia", "id", "ie", "ilo", "io", "is", "it",
    "ja", "jbo", "jv", "ka", "kk", "km", "kn", "ko", "krc", "ku", "kv", "kw", "ky", "la", "lb", "lez", "li", "lmo",
    "lo", "lrc", "lt", "lv", "mai", "mg", "mhr", "min", "mk", "ml", "mn", "mr", "mrj", "ms", "mt", "mwl", "my", "myv",
    "mzn", "nah", "nap", "nds", "ne", "new", "nl", "nn", "no", "oc", "or", "os", "pa", "pam", "pfl", "pl", "pms",
    "pnb", "ps", "pt", "qu", "rm", "ro", "ru", "rue", "sa", "sah", "sc", "scn", "sco", "sd", "sh", "si", "sk", "sl",
    "so", "sq", "sr", "su", "sv", "sw", "ta", "te", "tg", "th", "tk", "tl", "tr", "tt", "tyv", "ug", "uk", "ur", "uz",
    "vec", "vep", "vi", "vls", "vo", "wa", "war", "wuu", "xal", "xmf", "yi", "yo", "yue", "zh",
)  # fmt: skip

# What people write instead: three-letter codes, country codes, retired codes, English names.
_MEANT = {
    "ara": "ar", "cmn": "zh", "cn": "zh", "cz": "cs", "deu": "de", "dk": "da", "eng": "en", "fas": "fa", "fil": "tl",
    "fra": "fr", "ger": "de", "gr": "el", "gsw": "als", "hin": "hi", "ind": "id", "ita": "it", "iw": "he", "jp": "ja",
    "jpn": "ja", "kor": "ko", "kr": "ko", "nb": "no", "nld": "nl", "nob": "no", "pol": "pl", "por": "pt", "rus": "ru",
    "se": "sv", "spa": "es", "swe": "sv", "tur": "tr", "ua": "uk", "ukr": "uk", "vie": "vi", "zho": "zh",
    "arabic": "ar", "chinese": "zh", "dutch": "nl", "english": "en", "french": "fr", "german": "de", "hindi": "hi",
    "italian": "it", "japanese": "ja", "korean": "ko", "norwegian": "no", "polish": "pl", "portuguese": "pt",
    "russian": "ru", "spanish": "es", "swedish": "sv", "turkish": "tr", "ukrainian": "uk",
}  # fmt: skip


class Language(Filter, name="language"):
    """Label each document with its language and drop those in other languages than the ones to keep.

    The label is the likeliest of the 176 of fastText's lid.176 (CC-BY-SA 3.0), read from the document's first
    characters; `und` with confidence 0 when these have no letter or the model knows nothing of them. Short texts, close
    languages (Spanish and Portuguese, Bosnian and Croatian), code and tables are where it errs. Without an option it
    only scores.
    """

    source: ClassVar[str] = "Joulin et al. 2016, arXiv 1607.01759 and 1612.03651; model lid.176.ftz"
    scores: ClassVar[dict[str, str]] = {
        "label": "language code of the model (ISO 639-1, else 639-3), `und` when there is nothing to read",
        "confidence": "the model's probability of the label, from 0 to 1",
    }

    keep: tuple[str, ...] = threshold((), description="languages to keep, for example [en, fr, no]; none means all")
    min_confidence: float | None = threshold(
        None, ge=0, le=1, description="drop documents whose label has a lower probability (FineWeb uses 0.65)"
    )
    max_chars: int | None = Field(
        default=10_000,
        ge=1,
        description="how many characters from the start of a document are read; null reads all of it",
    )
    model: Path | None = Field(
        default=None,
        description="a fastText classifier (.bin or .ftz) in place of lid.176; its labels are used as they are",
    )

    @field_validator("keep", mode="before")
    @classmethod
    def _one_language(cls, keep: Any) -> Any:
        return (keep,) if isinstance(keep, str) else as_tuples(keep)

    @model_validator(mode="after")
    def _known(self) -> Language:
        labels = LABELS if self.model is None else _labels_of(self.model)
        if labels:
            problems = [unknown(label, labels) for label in self.keep if label not in labels and label != UNKNOWN]
            if problems:
                raise ValueError("; ".join(problems))
        return self

    def files(self) -> tuple[Path, ...]:
        """The model."""
        return (self._model_path(),)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Predict the language of each document."""
        import numpy as np

        from curate.kernels.fasttext import load, predict
        from curate.kernels.text import has_letters
        from curate.kernels.utf8 import texts

        model = load(self._model_path())
        head = docs["text"] if self.max_chars is None else docs["text"].str.head(self.max_chars)
        given = texts(head)
        numbers, chances = predict(model, *given)
        known = (numbers >= 0) & has_letters(given)
        labels = pl.Series("label", (*model.labels, UNKNOWN), pl.String)
        label = labels.gather(np.where(known, numbers, len(model.labels)))
        confidence = np.where(known, np.clip(chances.astype(np.float64), 0, 1), 0.0)  # fastText's may exceed 1
        return pl.DataFrame([label, pl.Series("confidence", confidence)])

    def drop_when(self) -> dict[str, pl.Expr | Limit]:
        """`not_kept`: in another language; `low_confidence`: the label is too uncertain."""
        rules: dict[str, pl.Expr | Limit] = {}
        if self.keep:
            rules["not_kept"] = ~pl.col("label").is_in(self.keep)
        if self.min_confidence is not None:
            rules["low_confidence"] = below("confidence", self.min_confidence)
        return rules

    def _model_path(self) -> Path:
        from curate.models import bundled_language_model

        return bundled_language_model() if self.model is None else self.model


def unknown(label: str, labels: tuple[str, ...]) -> str:
    """Say that a label is unknown, and which one may be meant."""
    wanted = label.lower().replace("_", "-").split("-")[0]
    meant = _MEANT.get(wanted, wanted)
    guess = meant if meant in labels else nearest(label, labels)
    text = f"the model has no language {label!r}"
    return text if guess is None else f"{text}; did you mean {guess!r}?"


def _labels_of(model: Path) -> tuple[str, ...]:
    """The labels of a model file; none when it is not there, which `files` brings to light."""
    from curate.errors import UsageError
    from curate.kernels.fasttext import load

    if not model.is_file():
        return ()
    try:
        return load(model).labels
    except UsageError as error:
        raise ValueError(error.message) from error
