"""`blocklist`: listed terms and domains."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.filters import Blocklist
from curate.testing import check_filter


def hits(words: list[str], *texts: str, **options: object) -> list[int]:
    docs = pl.DataFrame({"id": [str(n) for n in range(len(texts))], "text": list(texts)})
    return Blocklist(words=words, **options).score(docs)["hits"].to_list()


def listed(path: Path, *addresses: str | None) -> list[bool]:
    docs = pl.DataFrame(
        {"id": [str(n) for n in range(len(addresses))], "text": "", "url": pl.Series(addresses, dtype=pl.String)}
    )
    return Blocklist(domains=path, url_column="url").score(docs)["listed"].to_list()


def test_occurrences_are_counted() -> None:
    assert hits(["fox", "dog"], "The fox saw a dog, a fox and a cat.", "None here.", "") == [3, 0, 0]


def test_whole_words_only_unless_asked_otherwise() -> None:
    text = "A foxglove, a fox-hole, firefox and fox_1: fox!"

    assert hits(["fox"], text) == [2]
    assert hits(["fox"], text, whole_words=False) == [5]


def test_case_is_ignored_unless_asked_otherwise() -> None:
    assert hits(["ΣΊΣΥΦΟΣ", "Fox"], "σίσυφος and FOX") == [2]
    assert hits(["Fox"], "fox Fox FOX", ignore_case=False) == [1]


def test_line_breaks_and_composition_do_not_hide_a_term() -> None:
    assert hits(["crème  brûlée"], "cre\u0300me\n bru\u0302le\u0301e") == [1]


def test_terms_in_scripts_without_spaces_are_found_anywhere() -> None:
    assert hits(["学者"], "大学者们") == [1]
    assert hits(["क"], "कि क") == [1]  # a vowel sign joins: it is another syllable


def test_overlapping_terms_all_count() -> None:
    assert hits(["new york", "york", "york city"], "New York City") == [3]


def test_a_term_given_twice_counts_once() -> None:
    assert hits(["fox", "Fox", " fox "], "fox") == [1]


def test_a_file_of_terms_has_comments(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("# animals\n\nfox\n  Dog  \n", encoding="utf-8-sig")
    docs = pl.DataFrame({"id": ["a"], "text": ["fox, dog, cat, animals"]})

    assert Blocklist(terms=tmp_path / "terms.txt", words=["cat"]).score(docs)["hits"].to_list() == [3]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    docs = pl.DataFrame({"id": ["a"], "text": ["fox dog"]})
    path.write_text("fox")
    assert Blocklist(terms=path).score(docs)["hits"].to_list() == [1]

    path.write_text("fox\ndog")

    assert Blocklist(terms=path).score(docs)["hits"].to_list() == [2]


def test_another_column_can_be_searched_and_null_has_no_hits() -> None:
    docs = pl.DataFrame({"id": ["a", "b"], "text": ["fox", "fox"], "title": ["a fox", None]})

    assert Blocklist(words=["fox"], column="title").score(docs)["hits"].to_list() == [1, 0]


def test_documents_above_the_limit_are_dropped() -> None:
    docs = pl.DataFrame({"id": ["a", "b"], "text": ["fox", "fox fox"]})
    filter = Blocklist(words=["fox"], max_hits=1)

    assert filter.score(docs).select(filter.drop_when()["blocked_term"].expression()).to_series().to_list() == [
        False,
        True,
    ]
    assert filter.thresholds() == {"max_hits"}


def count_terms(text: str, terms: list[str], whole: bool) -> int:
    """Plain Python: look for each term at each place of the normalised text."""

    def normal(value: str) -> str:
        folded = (char.casefold() for char in unicodedata.normalize("NFC", value))
        return " ".join("".join(fold if len(fold) == 1 else "ß" for fold in folded).split())

    def joins(char: str, other: str) -> bool:
        word = [one.isalnum() or one == "_" or unicodedata.category(one).startswith("M") for one in (char, other)]
        return all(word) and not {char, other} & set("學者")

    text = normal(text)
    found = 0
    for term in {normal(term) for term in terms}:
        for start in range(len(text) - len(term) + 1):
            end = start + len(term)
            if text[start:end] == term:
                inside = (start > 0 and joins(text[start - 1], text[start])) or (
                    end < len(text) and joins(text[end - 1], text[end])
                )
                found += not (whole and inside)
    return found


PIECES = st.sampled_from(
    ["fox", "ox", "FOX", "xa", "é", "e\u0301", "學", "學者", " ", "\n", "_", "1", "कि", "क", "-", "ß", "\x00"]
)


@settings(deadline=None)
@given(
    st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=4),
    st.lists(st.lists(PIECES, min_size=1, max_size=3).map("".join).filter(str.strip), min_size=1, max_size=5),
    st.booleans(),
)
def test_counts_are_those_of_a_search_term_by_term(texts: list[str], terms: list[str], whole: bool) -> None:
    assert hits(terms, *texts, whole_words=whole) == [count_terms(text, terms, whole) for text in texts]


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    path = tmp_path / "domains.txt"
    path.write_text("# spam\nspam.example\n*.bad.example\nmünchen.example\nxn--bcher-kva.example\n1.2.3.4\n")
    return path


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://spam.example/page", True),
        ("http://www.spam.example", True),
        ("spam.example", True),
        ("//cdn.spam.example:8080/x?y", True),
        ("https://user:pass@spam.example/", True),
        ("HTTPS://SPAM.EXAMPLE.", True),
        ("https://notspam.example/", False),
        ("https://spam.example.org/", False),
        ("https://good.example/spam.example", False),
        ("https://good.example/?u=https://spam.example", False),
        ("https://a.bad.example", True),
        ("https://xn--mnchen-3ya.example", True),
        ("https://bücher.example/x", True),
        ("http://1.2.3.4/x", True),
        ("http://9.1.2.3.4/", True),
        ("http://[::1]/", False),
        ("", False),
        ("not an address", False),
        (None, False),
    ],
)
def test_an_address_is_listed_by_its_domain(domains: Path, address: str | None, found: bool) -> None:
    assert listed(domains, address) == [found]


def test_listed_domains_are_dropped(domains: Path) -> None:
    filter = Blocklist(domains=domains, url_column="url")

    assert list(filter.drop_when()) == ["blocked_domain"]
    assert filter.files() == (domains,)
    assert list(Blocklist(domains=domains, url_column="url", words=["x"]).drop_when()) == [
        "blocked_term",
        "blocked_domain",
    ]


def test_without_a_list_of_domains_nothing_is_listed() -> None:
    docs = pl.DataFrame({"id": ["a"], "text": ["fox"], "url": ["https://spam.example"]})

    assert Blocklist(words=["cat"]).score(docs).row(0) == (0, False)


def test_scores_of_earlier_steps_can_be_searched() -> None:
    assert Blocklist(words=["x"], column="title.text").reads() == ("title.text",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing is listed"),
        ({"words": ["a", " "]}, "a term is empty"),
        ({"words": ["a"], "url_column": "url"}, "go together"),
        ({"domains": "list.txt"}, "go together"),
        ({"words": ["a"], "max_hits": -1}, "greater than or equal to 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Blocklist(**options)


def test_blocklist_keeps_the_contract(domains: Path) -> None:
    docs = pl.DataFrame({"text": ["a fox", "x"], "url": ["https://spam.example", None]})

    check_filter(Blocklist(words=["fox", "者", "the"], whole_words=True))
    check_filter(Blocklist(words=["o", "é"], whole_words=False, domains=domains, url_column="url"), docs)
