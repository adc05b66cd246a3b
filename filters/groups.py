"""Score what groups a document belongs to or mentions: script, length, domain, countries, identities."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.filter import Filter, as_tuples
from curate.lexicon import COUNTRIES, IDENTITY

if TYPE_CHECKING:
    from curate.kernels.utf8 import Texts
    from curate.lexicon import Compiled

Attribute = Literal["script", "length", "domain", "country", "identity"]
MEASURED = "identity_measured.toml"  # in curate/data: what the matcher got right of sentences labelled by hand
NAMES = pl.List(pl.String)


class Groups(Filter, name="groups"):
    """Score which groups a document belongs to or mentions, to count them or to balance by them; it drops nothing.

    `script`, `length` and `domain` are of the document; `country` and `identity` say what an English text mentions. A
    mention is not authorship, and says nothing of what is said of them. A lexicon and the words around a term decide
    what counts as naming people: docs/groups.md has the method and its known errors. What is not scored is null.
    """

    version: ClassVar[str] = "1"
    source: ClassVar[str] = "descriptors by axis as in Llama 2, arXiv 2307.09288, table 9; the lexicons are our own"
    scores: ClassVar[dict[str, str]] = {
        "script": "the script of most letters (ISO 15924), `Zyyy` without letters",
        "length": "UTF-8 bytes in bands of powers of two: `2^10` is 1,024 to 2,047 bytes; `0` is an empty text",
        "domain": "registrable domain of the address in `url`; null without an address",
        "country": "countries that the text mentions by name or people (ISO 3166-1, and XK), sorted; English",
        "identity": (
            "axes of identity that the text mentions: age, disability, ethnicity, gender, migration, religion, "
            "sexual_orientation; null where `judged` is false"
        ),
        "terms": "`axis/descriptor` of each mention, sorted, each once",
        "ambiguous": "descriptors seen where nothing says that people are meant; they are no mentions",
        "judged": "whether the text is in the language of the lexicons, by `language_column`; without one always true",
    }

    attributes: tuple[Attribute, ...] | None = Field(
        default=None,
        min_length=1,
        description="what to score; without it script, length, country and identity, and domain where `url` is set",
    )
    url: str | None = Field(default=None, description="the column that holds the address or host name (for `domain`)")
    language_column: str | None = Field(
        default=None,
        description=(
            "column with the language of each document, for example language.label: only texts in a lexicon's language "
            "are judged by it. Without it every text is judged, and texts in other languages mention next to nothing"
        ),
    )
    extend_identity: Path | None = Field(
        default=None, description="file of terms to add to the identity lexicon, or to replace its rules for them"
    )
    lexicons: dict[str, Path] = Field(
        default={}, description="lexicons of your own, by the name of the column that their mentions become"
    )

    @field_validator("attributes", mode="before")
    @classmethod
    def _one_attribute(cls, attributes: Any) -> Any:
        return (attributes,) if isinstance(attributes, str) else as_tuples(attributes)

    @model_validator(mode="after")
    def _fits(self) -> Groups:
        if self.attributes is not None and "domain" in self.attributes and self.url is None:
            raise ValueError("`domain` needs `url`, the column that holds the address")
        if self.url is not None and not self.wants("domain"):
            raise ValueError("`url` is read for `domain` only, which is not among `attributes`")
        if self.extend_identity is not None and not self.wants("identity"):
            raise ValueError("`extend_identity` adds to `identity`, which is not among `attributes`")
        for name in self.lexicons:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name in self.scores:
                raise ValueError(f"lexicon {name!r}: wanted a name of letters, digits and _ that is no score of groups")
        return self

    def wants(self, attribute: Attribute) -> bool:
        """Whether an attribute is scored."""
        if self.attributes is None:
            return attribute != "domain" or self.url is not None
        return attribute in self.attributes

    def files(self) -> tuple[Path, ...]:
        """The lexicons and the list of suffixes, as far as they are used."""
        from curate.domains import suffix_file

        own = [COUNTRIES] * self.wants("country") + [IDENTITY] * (self.wants("identity") or bool(self.lexicons))
        extension = () if self.extend_identity is None else (self.extend_identity,)
        suffixes = (suffix_file(),) if self.wants("domain") else ()
        return (
            *(Path(str(files("curate.data") / name)) for name in own),
            *extension,
            *self.lexicons.values(),
            *suffixes,
        )

    def reads(self) -> tuple[str, ...]:
        """The scores of earlier steps among the columns that are read."""
        return tuple(column for column in (self.url, self.language_column) if column is not None and "." in column)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Score the attributes asked for, and the user's lexicons."""
        from curate.kernels.text import composed
        from curate.kernels.utf8 import tables, texts

        given = texts(docs["text"].cast(pl.String))
        read = composed(given, tables()) if self.wants("country") or self.wants("identity") or self.lexicons else given
        size, nothing = len(docs), pl.repeat(None, len(docs), eager=True)
        columns = {
            "script": scripts_of(given) if self.wants("script") else nothing.cast(pl.String),
            "length": bands(docs["text"].str.len_bytes()) if self.wants("length") else nothing.cast(pl.String),
            "domain": nothing.cast(pl.String),
            **dict.fromkeys(("country", "identity", "terms", "ambiguous"), nothing.cast(NAMES)),
        }
        if self.url is not None:
            from curate.domains import domains

            columns["domain"] = domains(docs[self.url])
        if self.wants("country"):
            found = mentions(read, bundled_countries())
            columns["country"] = self._judged(listed(found["row"], found["descriptor"], size), docs)
        if self.wants("identity"):
            for name, column in identity_columns(mentions(read, self._identity()), size).items():
                columns[name] = self._judged(column, docs)
        columns["judged"] = self.judges(docs)
        for name, path in self.lexicons.items():
            lexicon, language = user_lexicon(*_state(path))
            found = mentions(read, lexicon).filter("mention")
            columns[name] = self._judged(listed(found["row"], found["name"], size), docs, language)
        return pl.DataFrame({name: column.alias(name) for name, column in columns.items()})

    def judges(self, docs: pl.DataFrame, language: str = "en") -> pl.Series:
        """Which documents are in the language, as far as it is known."""
        if self.language_column is None:
            return pl.repeat(True, len(docs), dtype=pl.Boolean, eager=True)
        from curate.filters.toxicity import in_languages

        return pl.Series(in_languages(docs[self.language_column], (language,)), dtype=pl.Boolean)

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`identity`, `identity_terms` and `countries`: documents that mention each, of all read and of those kept."""
        from curate.mentions import counts, within_axes

        tables: dict[str, pl.DataFrame] = {}
        judged = ledger.filter(pl.col("judged").fill_null(False)).collect()
        if self.wants("identity"):
            note = pl.lit(measured(None if self.extend_identity is None else self.extend_identity.name))
            tables["identity"] = counts(judged, "identity", "axis").with_columns(matcher=note)
            tables["identity_terms"] = within_axes(judged).with_columns(matcher=note)
        if self.wants("country"):
            tables["countries"] = counts(judged, "country", "country")
        for name in self.lexicons:
            tables[name] = counts(ledger.filter(pl.col(name).is_not_null()).collect(), name, "term")
        return tables

    def _judged(self, column: pl.Series, docs: pl.DataFrame, language: str = "en") -> pl.Series:
        frame = pl.DataFrame({"column": column, "judged": self.judges(docs, language)})
        return frame.select(pl.when("judged").then("column"))["column"]

    def _identity(self) -> Compiled:
        return bundled_identity() if self.extend_identity is None else extended_identity(*_state(self.extend_identity))


# --- the document's own -----------------------------------------------------------------------------------------------


def scripts_of(given: Texts) -> pl.Series:
    """The script of most letters of each text; Bopomofo, kana and Han are apart, as in Unicode."""
    from curate.kernels.term_words import main_scripts
    from curate.languages import scripts

    codes, names = scripts()
    return pl.Series(["Zyyy", *names[1:]], dtype=pl.String).gather(main_scripts(given, codes, len(names)))


def bands(sizes: pl.Series) -> pl.Series:
    """Sizes by powers of two, as text that sorts by size: 0, 2^00, 2^01, ..."""
    size = sizes.fill_null(0).alias("size")
    power = (
        pl.sum_horizontal((pl.col("size") >= 2**power).cast(pl.UInt8) for power in range(1, 32))
        .cast(pl.String)
        .str.zfill(2)
    )
    return size.to_frame().select(band=pl.when(pl.col("size") == 0).then(pl.lit("0")).otherwise("2^" + power))["band"]


# --- mentions ---------------------------------------------------------------------------------------------------------


def mentions(read: Texts, lexicon: Compiled) -> pl.DataFrame:
    """What is found of a lexicon in texts (in NFC): `row`, `name`, `axis`, `descriptor`, `mention` or ambiguous."""
    from curate.kernels.term_words import tokens
    from curate.kernels.terms import MENTION, find

    rows, rules, kinds = find(tokens(read, lexicon.vocabulary), lexicon.table)
    names = pl.Series("name", lexicon.names, pl.String)
    parts = names.str.split_exact("/", 1).struct.rename_fields(["axis", "descriptor"]).struct.unnest()
    found = pl.DataFrame({"row": rows, "rule": rules, "mention": kinds == MENTION}).unique()
    known = parts.insert_column(0, names).with_row_index("rule").with_columns(pl.col("rule").cast(pl.Int32))
    return found.join(known, on="rule", how="left").drop("rule")


def listed(rows: pl.Series, names: pl.Series, size: int) -> pl.Series:
    """The names of each row, sorted, each once; an empty list for a row without any."""
    found = pl.DataFrame({"row": rows.cast(pl.Int64), "name": names.cast(pl.String)}).unique().sort("row", "name")
    lists = found.group_by("row", maintain_order=True).agg("name")
    every = pl.DataFrame({"row": pl.int_range(size, dtype=pl.Int64, eager=True)})
    joined = every.join(lists, on="row", how="left", maintain_order="left")
    return joined.select(pl.col("name").fill_null(pl.lit([], dtype=NAMES)))["name"]


def identity_columns(found: pl.DataFrame, size: int) -> Mapping[str, pl.Series]:
    """The columns `identity`, `terms` and `ambiguous`; what a text also mentions clearly is not ambiguous in it."""
    sure = found.filter("mention")
    unsure = found.filter(~pl.col("mention")).join(sure.select("row", "name"), on=["row", "name"], how="anti")
    return {
        "identity": listed(sure["row"], sure["axis"], size),
        "terms": listed(sure["row"], sure["name"], size),
        "ambiguous": listed(unsure["row"], unsure["name"], size),
    }


def bundled_countries() -> Compiled:
    """The lexicon of countries."""
    from curate.lexicon import compiled_bundled

    return compiled_bundled(COUNTRIES)


def bundled_identity() -> Compiled:
    """The identity lexicon as it ships."""
    from curate.lexicon import compiled_bundled

    return compiled_bundled(IDENTITY)


def measured(extension: str | None = None) -> str:
    """What is known of the matcher: its precision and recall on labelled sentences, or that they were not measured."""
    import tomllib

    file = files("curate.data") / MEASURED
    if not file.is_file():
        return "not measured"
    known = tomllib.loads(file.read_text("utf-8"))
    text = f"precision {known['precision']:.2f}, recall {known['recall']:.2f} on {known['sentences']} sentences"
    return text if extension is None else f"{text}, without {extension}"


@cache
def extended_identity(path: Path, size: int, modified: int) -> Compiled:
    """The identity lexicon with a file's terms; read once per state of the file."""
    from curate.lexicon import bundled, compiled, load

    return compiled(bundled(IDENTITY).extended(load(path)))


@cache
def user_lexicon(path: Path, size: int, modified: int) -> tuple[Compiled, str]:
    """A user's lexicon and its language; read once per state of the file."""
    from curate.lexicon import compiled, load

    lexicon = load(path)
    return compiled(lexicon), lexicon.language


def _state(path: Path) -> tuple[Path, int, int]:
    from curate.errors import UsageError

    try:
        state = path.stat()
    except FileNotFoundError as error:
        raise UsageError(
            f"lexicon {str(path)!r} does not exist", hint="paths are relative to the pipeline file"
        ) from error
    return path, state.st_size, state.st_mtime_ns
