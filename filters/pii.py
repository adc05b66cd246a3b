"""Find personal data and secrets in texts: mask them, replace them, count them, drop texts with many."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.errors import UsageError
from curate.filter import Filter, Limit, above, threshold
from curate.filters.pii_find import KINDS, Found, Kind, find, without_overlaps

Action = Literal["mask", "fake", "tag", "off"]
SPANS = {"row": pl.Int64, "start": pl.Int64, "end": pl.Int64, "kind": pl.String}
PERSON = ("PERSON", "PER")  # what spaCy's models call a name of a person


def action(default: Action, what: str) -> Any:
    """The option that says what becomes of one kind."""
    return Field(default=default, description=f"what becomes of {what}: `mask`, `fake`, `tag` (only counted) or `off`")


class RedactPii(Filter, name="redact_pii"):
    """Replace personal data and secrets in documents, count them by kind, and drop documents with many.

    E-mail addresses, telephone numbers, global IP addresses, payment cards (check digit and issuer), bank accounts
    (IBAN), keys and passwords (formats of well-known services, private keys, values that look random and are assigned
    to a name like `api_key`); names of persons only with a spaCy model of yours. Where two kinds overlap the first of
    secret, email, iban, card, ip, phone, name stands. Scores and spans hold counts and positions, never a value. It
    misses what is written in words or in other digits than 0 to 9, and what has no form of its own: a number that only
    a form would call a passport. docs/personal-data.md says what was measured.
    """

    source: ClassVar[str] = (
        "e-mail and global IPv4 addresses: FineWeb, arXiv 2406.17557; drop above 5: Dolma, arXiv 2402.00159; "
        "Luhn: ISO/IEC 7812-1; IBAN: ISO 13616; reserved ranges: RFC 2606, 3849, 5737, 6890"
    )
    scores: ClassVar[dict[str, str]] = {
        **{kind: f"how many of the kind `{kind}` were found; null where it is off" for kind in KINDS},
        "total": "how many of all kinds were found",
        "spans": "start and end (UTF-8 bytes of the text given to this step) and kind of each",
    }

    email: Action = action("mask", "e-mail addresses")
    phone: Action = action("mask", "telephone numbers")
    ip: Action = action("mask", "global IPv4 and IPv6 addresses; private and reserved ones are left alone")
    card: Action = action("mask", "payment card numbers")
    iban: Action = action("mask", "bank account numbers (IBAN)")
    secret: Action = action("mask", "keys, tokens, passwords and private keys")
    name: Action = action("off", "names of persons; needs `name_model`")
    max_count: dict[Kind, int] = threshold(
        {},
        examples=[{"email": 20}],
        description="drop documents with more than so many of a kind, for example `{email: 20}`",
    )
    max_total: int | None = threshold(
        None, ge=0, description="drop documents with more than so many of all kinds together; Dolma's rule is 5"
    )
    placeholder: str = Field(
        default="<{KIND}>",
        description="what `mask` puts in place of a value; {KIND} and {kind} stand for its kind in capitals or not",
    )
    seed: int = Field(
        default=0, description="what `fake` values follow from, beside a hash of the value; another seed, other values"
    )
    skip_reserved: bool = Field(
        default=False,
        description=(
            "leave e-mail addresses and telephone numbers alone that are reserved for documentation and fiction "
            "(example.org, 555-01xx); with `fake` they always are, since that is what it puts"
        ),
    )
    name_model: Path | None = Field(
        default=None, description="folder of a spaCy model that finds persons (entities PERSON or PER), for `name`"
    )

    @field_validator("placeholder")
    @classmethod
    def _fills_in(cls, placeholder: str) -> str:
        try:
            placeholder.format(kind="", KIND="")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"only {{kind}} and {{KIND}} can be filled in, not {placeholder!r}") from error
        return placeholder

    @model_validator(mode="after")
    def _fits(self) -> RedactPii:
        if (self.name == "off") != (self.name_model is None):
            raise ValueError("`name` and `name_model` go together: set both, for example `name: mask`")
        if not self.kinds:
            raise ValueError("every kind is `off`: nothing to look for")
        for kind, most in self.max_count.items():
            if getattr(self, kind) == "off":
                raise ValueError(f"`max_count` has {kind}, which is `off`")
            if most < 0:
                raise ValueError(f"`max_count` of {kind} is {most}: at least 0")
        return self

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that are looked for, in the order in which they win where they overlap."""
        return tuple(kind for kind in KINDS if getattr(self, kind) != "off")

    def files(self) -> tuple[Path, ...]:
        """The files of the spaCy model."""
        if self.name_model is None:
            return ()
        return tuple(sorted(path for path in self.name_model.rglob("*") if path.is_file())) or (self.name_model,)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Count and locate what was found, and say how it is replaced."""
        texts = docs["text"].cast(pl.String)
        skip = [kind for kind in self.kinds if self.skip_reserved or getattr(self, kind) == "fake"]
        found = find(texts, self.kinds, skip_reserved=skip)
        if self.name_model is not None:
            found = without_overlaps([*found, *find_names(texts, self.name_model)])
        return self._columns(texts, found)

    def drop_when(self) -> dict[str, Limit]:
        """`many_in_total`: more than max_total of all kinds; and many_KIND for each kind of max_count."""
        rules = {f"many_{kind}": above(kind, most) for kind, most in self.max_count.items()}
        return rules if self.max_total is None else rules | {"many_in_total": above("total", self.max_total)}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`personal_data`: what became of each kind, in how many documents, and how often it was found."""
        found = ledger.select(
            *(pl.col(kind).sum().alias(f"{kind}.found") for kind in self.kinds),
            *((pl.col(kind) > 0).sum().alias(f"{kind}.documents") for kind in self.kinds),
        ).collect()
        rows = [
            (kind, getattr(self, kind), int(found[f"{kind}.documents"][0]), int(found[f"{kind}.found"][0]))
            for kind in self.kinds
        ]
        schema = {"kind": pl.String, "action": pl.String, "documents": pl.Int64, "found": pl.Int64}
        return {"personal_data": pl.DataFrame(rows, schema=schema, orient="row")}

    def _columns(self, texts: pl.Series, found: list[Found]) -> pl.DataFrame:
        from curate.windows import per_document

        size = len(texts)
        spans = pl.DataFrame(found, schema=SPANS, orient="row")
        columns = [
            _counted(spans.filter(kind=kind)["row"], size).alias(kind)
            if kind in self.kinds
            else pl.repeat(None, size, dtype=pl.UInt32, eager=True).alias(kind)
            for kind in KINDS
        ]
        columns.append(_counted(spans["row"], size).alias("total"))
        columns.append(per_document(spans["row"].to_numpy(), size, **spans.drop("row").to_dict()).alias("spans"))
        if all(getattr(self, kind) == "tag" for kind in self.kinds):
            return pl.DataFrame(columns)
        edits = spans.with_columns(put=pl.Series(self._put(texts, found), dtype=pl.String)).drop_nulls("put")
        put = edits.select("start", "end", "put").to_dict()
        columns.append(per_document(edits["row"].to_numpy(), size, **put).alias("edits"))
        return pl.DataFrame(columns)

    def _put(self, texts: pl.Series, found: list[Found]) -> list[str | None]:
        """What stands in place of each value, null where it stays."""
        from curate.filters.pii_fake import fake

        masks = {kind: self.placeholder.format(kind=kind, KIND=kind.upper()) for kind in self.kinds}
        put: list[str | None] = []
        row, data = -1, b""
        for one in found:
            becomes = getattr(self, one.kind)
            if becomes == "fake":
                if one.row != row:
                    row, data = one.row, texts[one.row].encode()
                put.append(fake(one.kind, data[one.start : one.end].decode(), self.seed))
            else:
                put.append(masks[one.kind] if becomes == "mask" else None)
        return put


def _counted(rows: pl.Series, size: int) -> pl.Series:
    """How often each document occurs among some rows."""
    import numpy as np

    return pl.Series(np.bincount(rows.to_numpy(), minlength=size).astype(np.uint32))


# --- names ------------------------------------------------------------------------------------------------------------


def find_names(texts: pl.Series, folder: Path) -> list[Found]:
    """The names of persons that a spaCy model finds."""
    found: list[Found] = []
    model = load_model(folder)
    for row, text in enumerate(texts.fill_null("").to_list()):
        for part, start in pieces(text, model.max_length):
            for entity in model(part).ents:
                if entity.label_ in PERSON:
                    first = len(text[: start + entity.start_char].encode())
                    found.append(Found(row, first, first + len(entity.text.encode()), "name"))
    return found


def pieces(text: str, most: int) -> list[tuple[str, int]]:
    """A text in pieces that a model takes, cut at white space where there is some, each with where it starts."""
    found: list[tuple[str, int]] = []
    start = 0
    while start < len(text):
        end = min(len(text), start + most)
        if end < len(text):
            end = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end)) + 1 or end
        found.append((text[start:end], start))
        start = end
    return found


@cache
def load_model(folder: Path) -> Any:
    """A spaCy model from its folder; UsageError when it is none, or cannot find persons."""
    import spacy

    try:
        model = spacy.load(folder)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(
            f"`name_model` {str(folder)!r} cannot be loaded: {str(error).splitlines()[0]}",
            hint="give the folder of a spaCy model, the one that holds config.cfg",
        ) from error
    if not {"ner", "entity_ruler"} & set(model.pipe_names):
        raise UsageError(
            f"`name_model` {str(folder)!r} finds no entities: its parts are {', '.join(model.pipe_names) or 'none'}",
            hint="give a model with the part `ner`",
        )
    return model
