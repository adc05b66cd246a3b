"""The third part of the demo: pages as they are scraped, with navigation, repetition and personal data in them.

What each page must read like afterwards is known. The personal data is made up: reserved domains and telephone numbers,
and the numbers that card issuers publish for tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from curate.demo_corpus import Tally
from curate.demo_text import Draws, languages, normalised, prose

if TYPE_CHECKING:
    from curate.console import Quiet
    from curate.run import Run

LEAST = 200  # pages: a line is removed when it stands in more than ten
NAVIGATION, REPETITION, PLAIN = "navigation and footer", "sentence over and over", "page with none of these"
EMAIL, PHONE, CARD = "e-mail address", "telephone number", "card number"
FATES = {
    NAVIGATION: "lines removed by repeated_lines",
    REPETITION: "gopher_repetition",
    EMAIL: "masked by redact_pii",
    PHONE: "masked by redact_pii",
    CARD: "masked by redact_pii",
    PLAIN: "kept as it was",
}
SHARES = {NAVIGATION: 0.2, REPETITION: 0.05, EMAIL: 0.05, PHONE: 0.05, CARD: 0.05}  # of the pages
FURNITURE = (  # the lines above and below every page of a site
    ("Home - Recipes - Gardens - Letters - Contact the press", "Printed and published by the village press, 2026"),
    ("You are here: start page, archive, all articles by date", "Subscribe to the monthly newsletter of our society"),
)
NAMES = ("amina", "bo", "carla", "dmitri", "esi", "farid", "greta", "hana")
TEST_CARDS = ("4111 1111 1111 1111", "5555 5555 5555 4444", "4012 8888 8888 1881", "5105-1051-0510-5100")


@dataclass(frozen=True)
class Page:
    """A page, what was planted in it, and what is to be left of its text: None where the page is to be dropped."""

    id: str
    kind: str
    text: str
    wanted: str | None


@dataclass(frozen=True)
class Scraped:
    """The corpus on disk, and its pages."""

    path: Path
    pages: tuple[Page, ...]


def write_scraped(folder: Path, documents: int, seed: int) -> Scraped:
    """Write the scraped pages into `folder/scraped.parquet`."""
    import polars as pl

    pages = tuple(islice(_pages(seed), max(LEAST, documents // 5)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scraped.parquet"
    pl.DataFrame({"id": [page.id for page in pages], "text": [page.text for page in pages]}).write_parquet(path)
    return Scraped(path, pages)


def _pages(seed: int) -> Iterator[Page]:
    """Pages without end, no text twice."""
    seen: set[str] = set()
    number = 0
    while True:
        draws = Draws(seed, "scraped", number)
        text = prose(languages()["en"], draws, max_words=200)
        number += 1
        if normalised(text) not in seen:
            seen.add(normalised(text))
            yield _planted(f"scraped-{len(seen):05d}", draws.shared(SHARES, PLAIN), text, draws)


def _planted(id: str, kind: str, text: str, draws: Draws) -> Page:
    """A page with something of a kind planted in it."""
    if kind == NAVIGATION:
        above, below = draws.one(FURNITURE)
        return Page(id, kind, f"{above}\n\n{text}\n\n{below}", text)
    if kind == REPETITION:
        sentence = f"{text.partition('.')[0]}."
        return Page(id, kind, f"{text}\n\n{' '.join([sentence] * (6 + draws.below(5)))}", None)
    if kind == PLAIN:
        return Page(id, kind, text, text)
    sentence, value, mask = _personal(kind, draws)
    page = f"{text} {sentence.format(value)}"  # no line of its own: with digits as 0 it would be a repeated one
    return Page(id, kind, page, page.replace(value, mask))


def _personal(kind: str, draws: Draws) -> tuple[str, str, str]:
    """A sentence with a place for a value, a value that belongs to nobody, and what comes in its place."""
    if kind == EMAIL:
        value = f"{draws.one(NAMES)}.{draws.one(NAMES)}{draws.below(100)}@example.org"
        return "Write to {} before the end of the month.", value, "<EMAIL>"
    if kind == PHONE:
        return "Call {} in the morning and ask for the office.", f"+1 202 555 01{draws.below(100):02d}", "<PHONE>"
    return "The order was paid with card {} last week.", draws.one(TEST_CARDS), "<CARD>"


def run_scraped(scraped: Scraped, output: Path, *, watch: Quiet | None = None) -> Run:
    """Clean the scraped pages into `output`."""
    from curate.filters import GopherRepetition, RedactPii, RepeatedLines
    from curate.pipeline import Pipeline

    pipeline = Pipeline(steps=[GopherRepetition(language="en"), RepeatedLines(), RedactPii()], name="scraped")
    return pipeline.run([scraped.path.name], output, base=scraped.path.parent, fresh=True, watch=watch)


def compare(scraped: Scraped, run: Run) -> Iterator[Tally]:
    """How many pages of each kind came out as they should, white space aside."""
    left = dict(run.kept.select("id", "text").collect().iter_rows())
    steps = dict(run.ledger.select("id", "step").collect().iter_rows())
    for kind, fate in FATES.items():
        pages = [page for page in scraped.pages if page.kind == kind]
        dropped = sum(page.wanted is None and steps.get(page.id) == fate for page in pages)
        kept = [page for page in pages if page.wanted is not None and page.id in left]
        right = sum(normalised(left[page.id]) == normalised(page.wanted or "") for page in kept)
        yield Tally(kind, fate, len(pages), dropped + right)
