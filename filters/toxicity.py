"""Score the toxicity of documents window by window, and drop or redact what is above a limit."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.cascade import Band
from curate.detoxify import ENGLISH, Name
from curate.errors import UsageError
from curate.filter import Filter, Limit, above, as_tuples, threshold

if TYPE_CHECKING:
    from curate.cascade import Flags, Floats
    from curate.filters.language import Language
    from curate.windows import Aggregates, Windows

# The three-letter codes of the languages that models know, and what a language step may call them.
SHORT = {"eng": "en", "fra": "fr", "ita": "it", "por": "pt", "rus": "ru", "spa": "es", "tur": "tr"}

UNDETERMINED = "und"  # what a language step says when it cannot tell
FEW_LETTERS = 30  # below which `und` says only that a text is short (docs/toxicity.md)

_told: dict[Any, Any] = {}  # warnings that this process has given


class Toxicity(Filter, name="toxicity"):
    """Score how toxic documents are, and drop them or redact the toxic parts.

    A document is cut into windows of whole sentences, each window is scored, and nothing is left out, however long the
    text. The bundled screen is quick and knows English comments; a Detoxify model in its place, or behind it for the
    windows of a calibrated `band`, is slower and better (extra `detoxify`). Both were trained on what raters called
    toxic in online comments: they raise false alarms on identity words, reclaimed words, dialects and quotations, and
    miss what is implied. Read what goes, by group, before relying on a limit. Without a limit it only scores.
    """

    version: ClassVar[str] = "3"
    source: ClassVar[str] = "Detoxify (Hanu and Unitary 2020); windows and shares as in Dolma, arXiv 2402.00159"
    scores: ClassVar[dict[str, str]] = {
        "share": "share of the text, in bytes, in windows that count as toxic; null where `judged` is false",
        "mean": "mean score of the windows, weighted by bytes",
        "max": "highest score of a window; it grows with the length of a document",
        "p95": "score that 95 % of the windows do not exceed (nearest rank)",
        "judged": "whether the models can judge the text: it has letters, in a language or script that they know",
        "windows": "number of windows",
        "asked": "number of windows that the model was asked about; 0 where the screen alone scores",
        "spans": "start and end (UTF-8 bytes of the text given to this step) and score of each toxic window",
    }

    max_share: float | None = threshold(
        None, ge=0, le=1, description="drop documents with a larger share of text in toxic windows"
    )
    max_mean: float | None = threshold(None, ge=0, le=1, description="drop documents with a higher mean score")
    action: Literal["drop", "redact"] = Field(
        default="drop",
        description=(
            "`redact` replaces toxic windows by `put`; a document above `max_share` or `max_mean` is still dropped. "
            "Scores are those of the text before"
        ),
    )
    put: str = Field(default="", description="what stands in place of a redacted run of windows")
    screen: Literal["bundled"] | None = Field(
        default="bundled",
        description="the quick model that scores every window, or those that `band` needs; null leaves it out",
    )
    model: Name | Path | None = Field(
        default=None,
        description=(
            "the exact model: a name, a .ckpt file or a model folder. Without `band` it scores every window, and the "
            "screen is not used"
        ),
    )
    band: Band | None = Field(
        default=None,
        description=(
            "between which screen scores the model is asked, as `curate models calibrate` prints it; a window below "
            "`ask_above` keeps the screen's score and counts as not toxic"
        ),
    )
    labels: tuple[str, ...] = Field(
        default=("toxicity",),
        min_length=1,
        description="labels of the model; a window's score is the highest of theirs. The screen has one label",
    )
    toxic_at: float = Field(
        default=0.6, ge=0, le=1, description="score from which a window counts as toxic, in `share` and for `redact`"
    )
    max_window_chars: int = Field(
        default=250,
        ge=50,
        description="characters of a window at most; a sentence that is longer is cut at white space",
    )
    min_window_chars: int = Field(
        default=20,
        ge=1,
        description=(
            "characters from which a sentence closes its window. The shorter windows are, the more often a toxic "
            "sentence among others is found, and the more false alarms there are (docs/toxicity.md)"
        ),
    )
    language_column: str | None = Field(
        default=None,
        description=(
            "column with the language of each document, for example language.label: only the models' languages are "
            "judged, and `und` below 30 letters. Without it documents are labelled here as `language` does by default"
        ),
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _one_label(cls, labels: Any) -> Any:
        return (labels,) if isinstance(labels, str) else as_tuples(labels)

    @model_validator(mode="after")
    def _fits(self) -> Toxicity:
        if self.screen is None and self.model is None:
            raise ValueError("nothing to score with: set `screen: bundled` or a `model`")
        if self.band is not None and (self.screen is None or self.model is None):
            raise ValueError("`band` stands between a screen and a model: set both")
        if self.put and self.action == "drop":
            raise ValueError("`put` belongs to `action: redact`")
        return self

    def files(self) -> tuple[Path, ...]:
        """The screen, the models of toxicity and language; warns when `band` was calibrated for other ones."""
        language = own_language().files() if self.language_column is None else ()
        found = (*(screen_files() if self.uses_screen else ()), *self._model_files(), *language)
        if self.band is not None and (self.band.screen or self.band.model):
            reasons = self.void_reasons()
            if reasons:
                message = f"the bound of its band is void: {'; '.join(reasons)}"
                warnings.warn_explicit(message, UserWarning, "toxicity", 1, registry=_told)
        return found

    def reads(self) -> tuple[str, ...]:
        """The language, where an earlier step scored it."""
        return (self.language_column,) if self.language_column is not None and "." in self.language_column else ()

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Score every window and say what the scores mean for each document."""
        from curate.windows import aggregate

        windows = self.cut(docs["text"])
        judged = self.judges(docs, windows)
        found = self.score_windows(windows, judged)
        return self._columns(windows, judged, found, aggregate(windows, found.scores, found.toxic))

    def drop_when(self) -> dict[str, Limit]:
        """`toxic_share`: too much of the text is toxic; `toxic_mean`: it is too toxic on average."""
        rules: dict[str, Limit] = {}
        if self.max_share is not None:
            rules["toxic_share"] = above("share", self.max_share, where="judged")
        if self.max_mean is not None:
            rules["toxic_mean"] = above("mean", self.max_mean, where="judged")
        return rules

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`toxicity_models`: documents judged and not, windows, and how many of them the model was asked about."""
        windows, asked = pl.col("windows").sum(), pl.col("asked").sum()
        found = ledger.filter(pl.col("judged").is_not_null()).select(
            judged=pl.col("judged").sum(),
            not_judged=(~pl.col("judged")).sum(),
            windows=windows,
            asked=asked,
            asked_share=pl.when(windows > 0).then(asked / windows).otherwise(0.0),
            bound=pl.lit(self._bound(), dtype=pl.String),
        )
        return {"toxicity_models": found.collect()}

    # what is scored by what

    @property
    def uses_screen(self) -> bool:
        """Whether the screen scores windows: alone, or to choose those of a band."""
        return self.screen is not None and (self.model is None or self.band is not None)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that everything in use knows: the screen knows English."""
        from curate.detoxify import languages

        return ENGLISH if self.uses_screen or self.model is None else languages(self.model)

    def judges(self, docs: pl.DataFrame, windows: Windows) -> Flags:
        """Which documents the models can judge: by their letters, and by the language column or our own label."""
        import numpy as np

        judged = windows.readable_documents
        rows = np.flatnonzero(judged)
        if len(rows) == 0:
            return judged
        if self.language_column is not None:
            labels = docs[self.language_column].gather(rows)
        else:
            labels = own_labels(windows.documents_read(docs["text"]).gather(rows))
        letters = np.bincount(windows.rows, windows.letters, windows.documents)[rows]
        unsaid = (labels.cast(pl.String) == UNDETERMINED).fill_null(False).to_numpy()
        judged[rows] = in_languages(labels, self.languages) | (unsaid & (letters < FEW_LETTERS))
        return judged

    def cut(self, texts: pl.Series) -> Windows:
        """The windows of texts, as the options want them."""
        from curate.windows import cut_windows

        return cut_windows(texts, self.max_window_chars, least=self.min_window_chars, cyrillic="ru" in self.languages)

    def score_windows(self, windows: Windows, judged: Flags) -> Scored:
        """The score of each window and whether it counts as toxic; windows that nobody can read score 0."""
        import numpy as np

        from curate.cascade import in_band

        scores = np.zeros(len(windows.rows))
        toxic, asked = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
        wanted = np.flatnonzero(windows.readable & judged[windows.rows])
        texts = windows.texts if len(wanted) == len(scores) else windows.texts.gather(wanted)
        if len(wanted) == 0:
            return Scored(scores, toxic, asked)
        if self.uses_screen:
            scores[wanted] = checked(screen_scores(texts), len(wanted))
        if self.model is None:
            toxic[wanted] = scores[wanted] >= self.toxic_at
            return Scored(scores, toxic, asked)
        ask = np.ones(len(wanted), bool)
        if self.band is not None:
            own = scores[wanted]
            ask = in_band(own, self.band)
            toxic[wanted] = ~ask & (self.band.drop_above is not None and own >= self.band.drop_above)
        asked[wanted[ask]] = True
        if ask.any():
            scores[asked] = checked(self.model_scores(texts.filter(pl.Series(ask))), int(ask.sum()))
            toxic[asked] = scores[asked] >= self.toxic_at
        return Scored(scores, toxic, asked)

    def model_scores(self, texts: pl.Series) -> Floats:
        """The model's score of each text: the highest of the wanted labels'."""
        from curate.detoxify import load

        assert self.model is not None  # asked only with a model
        model = load(self.model)
        lacking = [label for label in self.labels if label not in model.labels]
        if lacking:
            raise UsageError(
                f"the model has no label {lacking[0]!r}", hint=f"its labels are {', '.join(model.labels[:20])}"
            )
        columns = [model.labels.index(label) for label in self.labels]
        best: Floats = model.scores(texts.to_list())[:, columns].max(axis=1)
        return best

    def marks(self) -> tuple[str, str]:
        """Marks of the screen and of the model with the options that decide their scores, for a band."""
        from curate.cascade import mark
        from curate.models import file_sha256

        lengths = self.max_window_chars, self.min_window_chars
        screen = mark(*map(file_sha256, screen_files()), *lengths)
        model = mark(*map(file_sha256, self._model_files()), self.labels, self.toxic_at, *lengths)
        return screen, model

    def void_reasons(self) -> list[str]:
        """Why the bound of the band does not hold, empty while it does."""
        from curate.cascade import void_reasons

        return [] if self.band is None else list(void_reasons(self.band, *self.marks()))

    def _bound(self) -> str | None:
        if self.band is None:
            return None
        try:
            reasons = self.void_reasons()
        except (UsageError, OSError) as error:  # a report may be made where the models are not
            reasons = [str(error).splitlines()[0]]
        return f"void: {'; '.join(reasons)}" if reasons else "as calibrated"

    def _model_files(self) -> tuple[Path, ...]:
        from curate.detoxify import find_files

        return () if self.model is None else find_files(self.model)

    def _columns(self, windows: Windows, judged: Flags, found: Scored, of_text: Aggregates) -> pl.DataFrame:
        import numpy as np

        from curate.windows import per_document

        size = windows.documents
        known = pl.Series("judged", judged)
        numbers = {name: pl.Series(name, getattr(of_text, name)) for name in ("share", "mean", "max", "p95")}
        toxic = windows.spans(found.toxic)
        frame = pl.DataFrame({**numbers, "judged": known}).with_columns(
            pl.when("judged").then(pl.col(*numbers)),
            windows=pl.Series(of_text.windows),
            asked=pl.Series(np.bincount(windows.rows[found.asked], minlength=size).astype(np.uint32)),
            spans=per_document(toxic.rows, size, start=toxic.starts, end=toxic.ends, score=found.scores[toxic.windows]),
        )
        if self.action == "drop":
            return frame
        runs = toxic.joined()
        put = pl.repeat(self.put, len(runs.rows), dtype=pl.String, eager=True)
        return frame.with_columns(edits=per_document(runs.rows, size, start=runs.starts, end=runs.ends, put=put))


class Scored(NamedTuple):
    """By window: its score, whether it counts as toxic, whether the model was asked about it."""

    scores: Floats
    toxic: Flags
    asked: Flags


def checked(scores: Any, size: int) -> Floats:
    """Scores from 0 to 1, one per window; a model that gives anything else is a fault, never a verdict."""
    import numpy as np

    found = np.asarray(scores, np.float64)
    if found.shape != (size,):
        raise ValueError(f"the model gave {found.shape} scores for {size} windows")
    if not ((found >= -1e-6) & (found <= 1 + 1e-6)).all():  # false for NaN too
        raise ValueError("the model gave a score that is not a number from 0 to 1")
    return np.clip(found, 0.0, 1.0)


def in_languages(labels: pl.Series, languages: tuple[str, ...]) -> Flags:
    """Whether language labels (`en`, `en-GB`, `eng_Latn`) are of the languages."""
    primary = labels.cast(pl.String).str.split("-").list.first().str.split("_").list.first().str.to_lowercase()
    known: Flags = primary.replace(SHORT).is_in(list(languages)).fill_null(False).to_numpy()
    return known


def own_labels(texts: pl.Series) -> pl.Series:
    """The language of each text, as `language` labels it by default."""
    return own_language().score(texts.alias("text").to_frame())["label"]


@cache
def own_language() -> Language:
    """The language step with its defaults, which labels documents that have no language column."""
    from curate.filters.language import Language

    return Language()


# --- the bundled screen -----------------------------------------------------------------------------------------------


def screen_scores(texts: pl.Series) -> Any:
    """The bundled screen's probability of each text that a rater would call it toxic."""
    return screen_module().screen_scores(texts)


def screen_files() -> tuple[Path, ...]:
    """The files that decide what the bundled screen says."""
    return tuple(screen_module().screen_files())


def screen_module() -> Any:
    """The module `curate.screen`; UsageError where an installation lacks it."""
    try:
        return import_module("curate.screen")
    except ImportError as error:
        raise UsageError(
            "this installation has no bundled toxicity screen (curate.screen)",
            hint="install curate again, or set `screen: null` and a `model`",
        ) from error
