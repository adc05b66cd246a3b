"""Filters of the Acme data team."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from curate import Filter, above, threshold


class NoLorem(Filter, name="acme.no_lorem"):
    """Drop placeholder pages."""

    version: ClassVar[str] = "3"
    scores: ClassVar = {"hits": "occurrences of `lorem ipsum`"}
    max_hits: int = threshold(2, ge=0, description="drop pages with more occurrences")

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Count the placeholder."""
        return docs.select(hits=pl.col("text").str.count_matches("(?i)lorem ipsum"))

    def drop_when(self) -> dict[str, object]:
        """One rule."""
        return {"lorem_ipsum": above("hits", self.max_hits)}
