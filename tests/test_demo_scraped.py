"""The scraped pages of the demo: what is planted in them, and what is said when it was missed."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from curate.demo_corpus import Tally
from curate.demo_scraped import (
    CARD,
    EMAIL,
    FATES,
    FURNITURE,
    NAVIGATION,
    PHONE,
    PLAIN,
    REPETITION,
    Page,
    Scraped,
    compare,
    run_scraped,
    write_scraped,
)
from curate.run import Run


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Scraped:
    return write_scraped(tmp_path_factory.mktemp("scraped"), documents=100, seed=2)


@pytest.fixture(scope="module")
def run(scraped: Scraped) -> Run:
    return run_scraped(scraped, scraped.path.parent / "clean")


def of_kind(scraped: Scraped, kind: str) -> list[Page]:
    return [page for page in scraped.pages if page.kind == kind]


def missed(table: list[Tally]) -> dict[str, int]:
    return {line.kind: line.planted - line.found for line in table if line.planted != line.found}


def test_the_file_has_the_pages(scraped: Scraped) -> None:
    rows = pl.read_parquet(scraped.path).rows()

    assert rows == [(page.id, page.text) for page in scraped.pages]
    assert len(rows) == 200


def test_the_same_seed_gives_the_same_pages(scraped: Scraped, tmp_path: Path) -> None:
    assert write_scraped(tmp_path, documents=100, seed=2).pages == scraped.pages
    assert write_scraped(tmp_path, documents=100, seed=3).pages != scraped.pages


@pytest.mark.parametrize("kind", FATES)
def test_there_are_pages_of_each_kind(scraped: Scraped, kind: str) -> None:
    assert len(of_kind(scraped, kind)) >= 5


def test_each_site_has_more_pages_than_a_line_may_stand_in(scraped: Scraped) -> None:
    pages = of_kind(scraped, NAVIGATION)

    assert all(sum(above in page.text and below in page.text for page in pages) > 10 for above, below in FURNITURE)


@pytest.mark.parametrize("kind", [EMAIL, PHONE, CARD])
def test_a_page_with_personal_data_is_the_page_with_a_mask_afterwards(scraped: Scraped, kind: str) -> None:
    mask = {EMAIL: "<EMAIL>", PHONE: "<PHONE>", CARD: "<CARD>"}[kind]

    for page in of_kind(scraped, kind):
        before, _, after = (page.wanted or "").partition(mask)
        assert page.text.startswith(before)
        assert page.text.endswith(after)
        assert mask not in page.text


def test_every_page_comes_out_as_it_should(scraped: Scraped, run: Run) -> None:
    table = list(compare(scraped, run))

    assert [line.kind for line in table] == list(FATES)
    assert missed(table) == {}
    assert sum(line.planted for line in table) == 200


@pytest.mark.parametrize("kind", [NAVIGATION, EMAIL, PHONE, CARD, PLAIN])
def test_a_page_that_reads_otherwise_is_missed(scraped: Scraped, run: Run, kind: str) -> None:
    first = of_kind(scraped, kind)[0]
    other = tuple(replace(page, wanted="something else") if page == first else page for page in scraped.pages)

    assert missed(list(compare(replace(scraped, pages=other), run))) == {kind: 1}


def test_a_page_that_was_to_be_dropped_and_was_kept_is_missed(scraped: Scraped, run: Run) -> None:
    first = of_kind(scraped, PLAIN)[0]
    other = tuple(replace(page, kind=REPETITION, wanted=None) if page == first else page for page in scraped.pages)

    assert missed(list(compare(replace(scraped, pages=other), run))) == {REPETITION: 1}


def test_a_page_that_was_dropped_and_was_to_be_kept_is_missed(scraped: Scraped, run: Run) -> None:
    first = of_kind(scraped, REPETITION)[0]
    other = tuple(replace(page, kind=PLAIN, wanted=page.text) if page == first else page for page in scraped.pages)

    assert missed(list(compare(replace(scraped, pages=other), run))) == {PLAIN: 1}
