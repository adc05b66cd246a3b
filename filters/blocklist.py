"""Drop documents that contain listed terms or come from listed domains."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import ClassVar

import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.filter import Filter, Limit, above, threshold

_HOST = r"^(?:[A-Za-z][A-Za-z0-9+.\-]*:)?(?://)?(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^/?#:]*)"


class Blocklist(Filter, name="blocklist"):
    """Drop documents that contain listed terms, or whose address is in a listed domain.

    Texts and terms are compared in Unicode NFC, with white space collapsed, and case folded when `ignore_case` is on.
    Every occurrence of every term counts, also where two overlap. Lists of words remove documents about a subject along
    with those that the list is meant for: read what goes, by group, before relying on one.
    """

    scores: ClassVar[dict[str, str]] = {
        "hits": "number of occurrences of listed terms",
        "listed": "whether the address is in a listed domain; false where there is no address or no list",
    }

    terms: Path | None = Field(
        default=None, description="file of terms, one per line; lines that start with # are comments"
    )
    words: tuple[str, ...] = Field(default=(), description="terms given here, beside those of the file")
    domains: Path | None = Field(
        default=None, description="file of domains, one per line; `example.org` also stands for `www.example.org`"
    )
    column: str = Field("text", description="the column that is searched for terms")
    url_column: str | None = Field(default=None, description="the column that holds the address (with `domains`)")
    whole_words: bool = Field(
        default=True,
        description=(
            "count a term only where no letter, digit or mark is joined to it; in scripts written without spaces it "
            "counts everywhere"
        ),
    )
    ignore_case: bool = Field(default=True, description="whether `Casino` is `casino`")
    max_hits: int = threshold(0, ge=0, description="drop documents with more occurrences than this")

    @field_validator("words")
    @classmethod
    def _not_empty(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if any(not word.strip() for word in words):
            raise ValueError("a term is empty: it would be found everywhere")
        return words

    @model_validator(mode="after")
    def _something_listed(self) -> Blocklist:
        if self.terms is None and self.domains is None and not self.words:
            raise ValueError("nothing is listed: give `terms` or `domains` (files), or `words`")
        if (self.domains is None) != (self.url_column is None):
            raise ValueError("`domains` (the list) and `url_column` (the column that holds the address) go together")
        return self

    def files(self) -> tuple[Path, ...]:
        """The lists."""
        return tuple(path for path in (self.terms, self.domains) if path is not None)

    def reads(self) -> tuple[str, ...]:
        """The scores of earlier steps among the columns that are searched."""
        return tuple(column for column in (self.column, self.url_column) if column is not None and "." in column)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Count terms and look the address up."""
        terms = self._terms()
        hits = self._hits(docs[self.column], terms) if terms else pl.repeat(0, len(docs), dtype=pl.UInt32, eager=True)
        if self.domains is None or self.url_column is None:
            listed = pl.repeat(False, len(docs), dtype=pl.Boolean, eager=True)
        else:
            listed = in_domains(docs[self.url_column], domains_in(*_state(self.domains)))
        return pl.DataFrame([hits.alias("hits"), listed.alias("listed")])

    def drop_when(self) -> dict[str, Limit | pl.Expr]:
        """`blocked_term`: too many occurrences; `blocked_domain`: from a listed domain."""
        rules: dict[str, Limit | pl.Expr] = {}
        if self.terms is not None or self.words:
            rules["blocked_term"] = above("hits", self.max_hits)
        if self.domains is not None:
            rules["blocked_domain"] = pl.col("listed")
        return rules

    def _terms(self) -> list[str]:
        given = (*self.words, *(() if self.terms is None else lines_in(*_state(self.terms))))
        return list(prepared(given, self.ignore_case))

    def _hits(self, column: pl.Series, terms: list[str]) -> pl.Series:
        from curate.kernels import utf8
        from curate.kernels.text import normalize

        searched = utf8.column(normalize(column.cast(pl.String), fold=self.ignore_case))
        rows = searched.str.contains_any(terms).arg_true()  # most documents have none: count only in the others
        count = count_whole if self.whole_words else count_anywhere
        hits = pl.repeat(0, len(column), dtype=pl.UInt32, eager=True)
        return hits.scatter(rows, count(searched.gather(rows), terms)) if len(rows) else hits


@cache
def lines_in(path: Path, size: int, modified: int) -> tuple[str, ...]:
    """The lines of a list, without comments and empty lines; read once per state of the file."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


@cache
def prepared(terms: tuple[str, ...], fold: bool) -> tuple[str, ...]:
    """Terms in the form in which texts are searched, each once."""
    from curate.kernels import utf8
    from curate.kernels.text import normalize

    return tuple(dict.fromkeys(utf8.column(normalize(pl.Series(terms, dtype=pl.String), fold=fold)).to_list()))


def count_anywhere(texts: pl.Series, terms: list[str]) -> pl.Series:
    """The occurrences of terms, also inside words."""
    return texts.str.find_many(pl.Series(terms).implode(), overlapping=True).list.len().cast(pl.UInt32)


def count_whole(texts: pl.Series, terms: list[str]) -> pl.Series:
    """The occurrences of terms that are not joined to a letter, digit or mark on either side."""
    import numpy as np

    from curate.kernels import utf8
    from curate.kernels.text import stands_alone

    found = pl.DataFrame(
        {
            "row": pl.int_range(len(texts), eager=True),
            "start": texts.str.find_many(pl.Series(terms).implode(), overlapping=True),
            "term": texts.str.extract_many(terms, overlapping=True),
        }
    ).explode("start", "term", empty_as_null=False)
    rows = found["row"].to_numpy()
    starts = found["start"].cast(pl.Int64).to_numpy()
    alone = stands_alone(
        utf8.texts(texts), rows, starts, starts + found["term"].str.len_bytes().cast(pl.Int64).to_numpy()
    )
    return pl.Series(np.bincount(rows[alone], minlength=len(texts)).astype(np.uint32))


@cache
def domains_in(path: Path, size: int, modified: int) -> dict[int, pl.Series]:
    """The domains of a list by their number of labels, in ASCII and in Unicode form, lower case."""
    domains: set[str] = set()
    for line in lines_in(path, size, modified):
        domain = line.lower().removeprefix("*").strip(".")
        domains.add(domain)
        try:
            domains.add(domain.encode("idna").decode() if not domain.isascii() else domain.encode().decode("idna"))
        except UnicodeError:  # not a name that IDNA can write: it stands as it is
            continue
    by_labels: dict[int, list[str]] = {}
    for domain in sorted(domains - {""}):
        by_labels.setdefault(domain.count(".") + 1, []).append(domain)
    return {labels: pl.Series(values) for labels, values in by_labels.items()}


def in_domains(addresses: pl.Series, domains: dict[int, pl.Series]) -> pl.Series:
    """Whether the host of each address is a listed domain or inside one."""
    host = addresses.cast(pl.String).str.extract(_HOST).str.to_lowercase().str.strip_chars(".[]")
    parts = host.str.split(".")
    listed = pl.repeat(False, len(addresses), dtype=pl.Boolean, eager=True)
    for labels, values in domains.items():
        listed = listed | parts.list.tail(labels).list.join(".").is_in(values.implode()).fill_null(False)
    return listed


def _state(path: Path) -> tuple[Path, int, int]:
    state = path.stat()
    return path, state.st_size, state.st_mtime_ns
