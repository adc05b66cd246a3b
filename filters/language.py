"""Identify the language of documents and keep the languages asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.filter import Filter, Limit, as_tuples, below, nearest, threshold

if TYPE_CHECKING:
    from curate.kernels.fasttext import Model
    from curate.languages import LabelSet

UNKNOWN = "und"  # BCP 47 and ISO 639-2: undetermined
ROWS = 8_000  # documents at a time, so that what is counted of them fits in memory
FEW_WORDS, ENOUGH_WORDS = 2, 6  # a text of so few words needs `und_below_short`, one of so many only `und_below`
CERTAIN = 0.5  # the confidence from which a part of a document counts for a language

Probability = Annotated[float, Field(ge=0, le=1)]

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

    A fastText model (lid.176, CC-BY-SA 3.0: 176 languages) reads the document without addresses, code, markup and
    numbers; scripts that a language is not written in rule it out, letters that it does not have count against it and
    words that are common in it for it. Where no language is likely enough the label is `und`. Languages that the model
    does not know, close ones (Bosnian and Croatian, Malay and Indonesian) and texts of a few words are where it errs:
    docs/language.md has figures for each language. Without an option it only scores.
    """

    version: ClassVar[str] = "3"
    source: ClassVar[str] = "Joulin et al. 2016, arXiv 1607.01759 and 1612.03651; model lid.176.ftz; docs/language.md"
    scores: ClassVar[dict[str, str]] = {
        "label": "language code of the model (lid.176: ISO 639-1, else 639-3), `und` when it cannot be told",
        "confidence": "probability of the likeliest language, from 0 to 1, also where the label is `und`",
        "likeliest": "the likeliest language, also where the label is `und`; `und` when there is nothing to read",
        "tag": "BCP 47 tag of the label: the same for every model",
        "script": "ISO 15924 code of the script of most letters, `Zyyy` for a rare one, empty when there is no letter",
        "undecided": "why the label is `und`: `empty`, `script`, `short`, `unsure` or `mixed`; empty when it is not",
        "shares": "languages of the parts of a mixed document with their shares, as `en 0.62, fr 0.38`; else empty",
    }

    keep: tuple[str, ...] = threshold(
        (), description="languages to keep, by label or BCP 47 tag, for example [en, fr, no]; none means all"
    )
    min_confidence: Probability | Mapping[str, Probability] | None = threshold(
        None,
        examples=[0.65],
        description=(
            "drop documents of lower confidence (FineWeb uses 0.65): a number, or one for each label or BCP 47 tag, as "
            "{en: 0.6, default: 0.3}; where a label and its tag have one, that of the label counts; labels without one "
            "are not judged"
        ),
    )
    max_chars: int | None = Field(
        default=1_500,
        ge=1,
        description=(
            "how many characters of a document are read, a third each from its beginning, middle and end; null reads "
            "all of it"
        ),
    )
    und_below: Probability = Field(default=0.3, description="confidence below which the label is `und`")
    und_below_short: Probability = Field(
        default=0.79, description="the same for texts of one or two words; for three to five words it lies between"
    )
    min_share: Probability = Field(
        default=0.5, description="smallest share of a document of its main language; below it the label is `und`"
    )
    model: Literal["lid176-small", "lid176", "glotlid"] | Path = Field(
        default="lid176-small",
        description=(
            "a model by name (`curate models list`), or the path of a fastText classifier (.bin or .ftz), whose labels "
            "are used as they are"
        ),
    )

    @field_validator("keep", mode="before")
    @classmethod
    def _one_language(cls, keep: Any) -> Any:
        return (keep,) if isinstance(keep, str) else as_tuples(keep)

    @field_validator("model", mode="before")
    @classmethod
    def _null_is_the_bundled_model(cls, model: Any) -> Any:
        return "lid176-small" if model is None else model

    @model_validator(mode="after")
    def _known(self) -> Language:
        labels = LABELS if self.model in ("lid176-small", "lid176") else _labels_of(self._model_path())
        if labels:
            from curate.languages import tag_of

            known = {*labels, *map(tag_of, labels), UNKNOWN}
            named = [*self.keep]
            if isinstance(self.min_confidence, Mapping):
                named += [label for label in self.min_confidence if label != "default"]
            problems = [unknown(label, labels) for label in dict.fromkeys(named) if label not in known]
            if problems:
                raise ValueError("; ".join(problems))
        return self

    def files(self) -> tuple[Path, ...]:
        """The model."""
        return (self._model_path(),)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Find the language of each document."""
        from curate.kernels.fasttext import load
        from curate.languages import label_set
        from curate.models import find

        model = load(find(self.model))
        known = label_set(model.labels)
        texts = docs["text"]
        slices = [
            self._score(texts[start : start + ROWS], model, known) for start in range(0, max(len(texts), 1), ROWS)
        ]
        return pl.concat(slices)

    def drop_when(self) -> dict[str, pl.Expr | Limit]:
        """`not_kept`: in another language; `low_confidence`: the language is too uncertain."""
        rules: dict[str, pl.Expr | Limit] = {}
        if self.keep:
            rules["not_kept"] = ~(pl.col("label").is_in(self.keep) | pl.col("tag").is_in(self.keep))
        if isinstance(self.min_confidence, Mapping):
            limits = dict(self.min_confidence)
            default = limits.pop("default", 0.0)
            wanted = pl.coalesce(
                pl.col("label").replace_strict(limits, default=None, return_dtype=pl.Float64),
                pl.col("tag").replace_strict(limits, default=default, return_dtype=pl.Float64),
            )
            rules["low_confidence"] = pl.col("confidence") < wanted
        elif self.min_confidence is not None:
            rules["low_confidence"] = below("confidence", self.min_confidence)
        return rules

    def _score(self, texts: pl.Series, model: Model, known: LabelSet) -> pl.DataFrame:
        import numpy as np

        from curate.kernels import lid_text, utf8
        from curate.kernels.fasttext import embed, log_chances
        from curate.kernels.lid import as_sentences, weigh
        from curate.languages import scripts

        parts = lid_text.prepare(lid_text.plain_letters(utf8.texts(texts)), known, self.max_chars)
        sums, counts = embed(model, parts.data, parts.offsets)
        seen = lid_text.Counts(*(lid_text.by_text(values, parts.rows, len(texts)) for values in parts.counts()))
        words = seen.words
        logs = log_chances(
            model,
            lid_text.by_text(sums, parts.rows, len(texts)),
            lid_text.by_text(counts, parts.rows, len(texts)),
        )
        short = np.flatnonzero(words < ENOUGH_WORDS)
        ended = log_chances(model, *embed(model, *as_sentences(parts, short)))
        logs[short] = np.logaddexp(logs[short], ended) - np.log(2)
        found = weigh(logs, seen, known)
        need = np.interp(words, (FEW_WORDS, ENOUGH_WORDS), (self.und_below_short, self.und_below))
        shares, mixed = self._mixture(texts, model, known, parts, sums, counts)

        empty = seen.scripts.sum(axis=1) == 0
        reasons = np.select(
            [empty, found.labels < 0, found.chances < self.und_below, found.chances < need, mixed],
            ["empty", "script", "unsure", "short", "mixed"],
            default="",
        )
        names = pl.Series((*model.labels, UNKNOWN), dtype=pl.String)
        tags = pl.Series((*known.tags, UNKNOWN), dtype=pl.String)
        likeliest = np.where(found.labels < 0, len(model.labels), found.labels)
        label = np.where(reasons == "", likeliest, len(model.labels))
        return pl.DataFrame(
            {
                "label": names.gather(label),
                "confidence": np.minimum(found.chances, 1.0),
                "likeliest": names.gather(likeliest),
                "tag": tags.gather(label),
                "script": pl.Series(scripts()[1], dtype=pl.String).gather(found.scripts),
                "undecided": pl.Series(reasons.tolist(), dtype=pl.String),
                "shares": shares,
            }
        )

    def _mixture(
        self, texts: pl.Series, model: Model, known: LabelSet, parts: Any, sums: Any, counts: Any
    ) -> tuple[pl.Series, Any]:
        """The shares of the languages of documents of several parts in more than one language; which are too mixed."""
        import numpy as np

        from curate.kernels import lid_text
        from curate.kernels.fasttext import log_chances
        from curate.kernels.lid import weigh

        several = np.flatnonzero(np.bincount(parts.rows, minlength=len(texts))[parts.rows] > 1)
        logs = log_chances(model, sums[several], counts[several])
        found = weigh(logs, lid_text.Counts(*(values[several] for values in parts.counts())), known)
        names = pl.Series((*model.labels, UNKNOWN), dtype=pl.String)
        certain = (found.labels >= 0) & (found.chances >= CERTAIN)
        seen = (
            pl.DataFrame(
                {
                    "row": parts.rows[several],
                    "language": names.gather(np.where(certain, found.labels, len(model.labels))),
                    "letters": parts.scripts[several].sum(axis=1),
                }
            )
            .filter(pl.col("language") != UNKNOWN)
            .group_by("row", "language")
            .agg(pl.col("letters").sum())
            .with_columns(share=pl.col("letters") / pl.col("letters").sum().over("row"))
            .sort("row", "share", "language", descending=[False, True, False])
            .filter(pl.len().over("row") > 1)
        )
        described = seen.group_by("row", maintain_order=True).agg(
            shares=(pl.col("language") + " " + pl.col("share").round(2).cast(pl.String)).str.join(", "),
            most=pl.col("share").max(),
        )
        shares = pl.repeat("", len(texts), dtype=pl.String, eager=True).scatter(described["row"], described["shares"])
        mixed = np.zeros(len(texts), np.bool_)
        mixed[described.filter(pl.col("most") < self.min_share)["row"].to_numpy()] = True
        return shares, mixed

    def _model_path(self) -> Path:
        from curate.models import place

        return place(self.model)


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
