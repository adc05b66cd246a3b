"""What the published text rules have in common: presets of limits, and the languages that they judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.filter import Filter, Limit, above, as_tuples, below, nearest, threshold

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Side = Literal["above", "below"]

JUDGED_SCORES = {
    "judged": "whether the document is in one of `languages`; the rules drop no other document",
    "judged_as": "the language by which it was judged; empty where `judged` is false",
}


class TextRules(Filter):
    """Rules with published limits that judge documents of the languages they are meant for.

    Subclasses name in `limits` what each option limits, and in `presets` where a source differs from `fineweb`. An
    option that is given wins over the preset; null switches a rule off.
    """

    limits: ClassVar[Mapping[str, tuple[str, Side]]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    languages: tuple[str, ...] = Field(
        default=("en",),
        min_length=1,
        description=(
            "languages that are judged; the published limits are for English. Documents in others are not judged: "
            "`judged` is false and nothing is dropped"
        ),
    )
    per_language: Mapping[str, Mapping[str, float | None]] = threshold(
        {},
        examples=[{"de": {"max_word_chars": 12}}],
        description="other limits for some of the `languages`, as {de: {max_word_chars: 12}}; null switches a rule off",
    )
    language_column: str | None = Field(
        default=None,
        description=(
            "column with the language of each document, for example language.label. Without it, and without "
            "`language`, the documents are labelled here as the `language` step does by default, `und` counting as the "
            "likeliest language"
        ),
    )
    language: str | None = Field(
        default=None, description="the language of all documents, where it is known: no column is read"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, options: Any) -> Any:
        if not isinstance(options, Mapping):
            return options
        preset = options.get("preset", "fineweb")
        chosen = cls.presets.get(preset, {}) if isinstance(preset, str) else {}
        return as_tuples({**chosen, **options})

    @field_validator("languages", mode="before")
    @classmethod
    def _one_language(cls, languages: Any) -> Any:
        return (languages,) if isinstance(languages, str) else as_tuples(languages)

    @model_validator(mode="after")
    def _known(self) -> TextRules:
        if self.language is not None and self.language_column is not None:
            raise ValueError("`language` says what `language_column` would: set one of them")
        for name, limits in self.per_language.items():
            if name not in self.languages:
                raise ValueError(f"`per_language` has {name!r}, which is not in `languages`: it would not be judged")
            for option in limits:
                if option not in self.limits:
                    near = nearest(option, self.limits)
                    hint = "" if near is None else f"; did you mean {near!r}?"
                    raise ValueError(f"{option!r} of {name!r} in `per_language` is no limit of this filter{hint}")
        return self

    def reads(self) -> tuple[str, ...]:
        """The language, where an earlier step scored it."""
        return (self.language_column,) if self.language_column is not None and "." in self.language_column else ()

    def drop_when(self) -> dict[str, pl.Expr | Limit]:
        """One rule per limit that is set, named as the option."""
        rules: dict[str, pl.Expr | Limit] = {}
        for option, (score, side) in self.limits.items():
            limit = getattr(self, option)
            own = {name: limits[option] for name, limits in self.per_language.items() if option in limits}
            if own:
                rules[option] = by_language(score, side, limit, own)
            elif limit is not None:
                rules[option] = (above if side == "above" else below)(score, limit, where="judged")
        return rules

    def options(self, *, defaults: bool = True) -> dict[str, Any]:
        """The options as plain values; with `defaults=False` only those that differ from the preset's."""
        every = super().options()
        if defaults:
            return every
        preset = {"preset": self.preset} if hasattr(self, "preset") else {}
        plain = type(self)(**preset).options()
        kept = {name: value for name, value in every.items() if value != plain[name]}
        usual = {name: field.default for name, field in type(self).model_fields.items()}
        return {**{name: value for name, value in preset.items() if value != usual[name]}, **kept}

    def judged_as(self, docs: pl.DataFrame) -> pl.Series:
        """The language by which each document is judged, empty where it is not."""
        if self.language is not None:
            labels = pl.repeat(self.language, len(docs), dtype=pl.String, eager=True)
        elif self.language_column is not None:
            labels = docs[self.language_column].cast(pl.String)
        else:
            from curate.filters.toxicity import own_labels

            labels = own_labels(docs["text"])
        found = primary(labels)
        judged = found.is_in(list(self.languages))
        return pl.select(pl.when(judged).then(found).otherwise(pl.lit(""))).to_series().alias("judged_as")


def with_language(scores: pl.DataFrame, judged_as: pl.Series) -> pl.DataFrame:
    """The scores with the columns that say which documents they judge."""
    return scores.with_columns((judged_as != "").alias("judged"), judged_as.alias("judged_as"))


def is_judged(judged_as: pl.Series) -> NDArray[np.bool_]:
    """Which documents are judged, for a kernel."""
    from curate.kernels.tokens import frozen

    found: NDArray[np.bool_] = frozen((judged_as != "").to_numpy().copy())
    return found


def primary(labels: pl.Series) -> pl.Series:
    """The language of each label as lid.176 names it: `en` of `en`, `en-GB` and `eng_Latn`; empty for null."""
    distinct = labels.fill_null("").unique()
    known = {label: _primary(label) for label in distinct.to_list()}
    return labels.fill_null("").replace_strict(known, return_dtype=pl.String)


def _primary(label: str) -> str:
    from curate.languages import tag_of

    return tag_of(label).replace("_", "-").split("-")[0].lower()


def by_language(score: str, side: Side, limit: float | None, own: Mapping[str, float | None]) -> pl.Expr:
    """A rule with other limits for some languages; a language whose limit is null is not judged by it."""
    never = float("inf") if side == "above" else float("-inf")
    wanted = pl.col("judged_as").replace_strict(
        {name: never if value is None else value for name, value in own.items()},
        default=never if limit is None else limit,
        return_dtype=pl.Float64,
    )
    over = pl.col(score) > wanted if side == "above" else pl.col(score) < wanted
    return pl.col("judged") & over
