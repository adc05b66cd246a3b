"""`exact_duplicates`: which documents are the same, and which one stays."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.filters import ExactDuplicates
from curate.testing import MemoryCorpus, check_filter, decide


def docs(*texts: str, **columns: list[Any]) -> pl.DataFrame:
    frame = {"id": [f"d{number}" for number in range(len(texts))], "text": list(texts)}
    return pl.DataFrame({**frame, **{name.replace("__", "."): values for name, values in columns.items()}})


def decided(frame: pl.DataFrame, **options: Any) -> pl.DataFrame:
    found = decide(ExactDuplicates(**options), frame)
    assert isinstance(found, pl.DataFrame), found
    return found


def duplicate_of(frame: pl.DataFrame, **options: Any) -> list[str | None]:
    return decided(frame, **options)["duplicate_of"].to_list()


def test_the_earliest_stays_and_the_others_name_it() -> None:
    found = decided(docs("same", "other", "same", "same"))

    assert found["duplicate_of"].to_list() == [None, None, "d0", "d0"]
    assert found["cluster_size"].to_list() == [3, None, 3, 3]


def test_case_white_space_and_composition_make_no_difference() -> None:
    assert duplicate_of(docs("Café au lait", " cafe\u0301 \n AU\u00a0lait")) == [None, "d0"]


def test_punctuation_digits_and_sharp_s_do() -> None:
    assert duplicate_of(docs("Straße 1", "Strasse 1", "Straße 2", "Straße 1!")) == [None] * 4


def test_every_byte_counts_without_normalising() -> None:
    texts = docs("Same", "same", "Same ", "Same", "cafe\u0301", "café")

    assert duplicate_of(texts, normalize=False) == [None, None, None, "d0", None, None]


def test_all_empty_documents_are_duplicates_of_each_other() -> None:
    assert duplicate_of(docs("", " \n", "x", "\u2003")) == [None, "d0", None, "d0"]
    assert duplicate_of(docs("", " ", ""), normalize=False) == [None, None, "d0"]


def test_the_longest_can_stay_and_among_equals_the_earliest() -> None:
    assert duplicate_of(docs("a b", "a  b", "a   b", "a\n \nb"), keep=["longest"]) == ["d2", "d2", None, "d2"]
    assert duplicate_of(docs("a b", "a b"), keep="longest") == [None, "d0"]


def test_values_of_a_column_can_be_preferred() -> None:
    texts = docs("a", "a", "a", "a", source=[None, "forum", "web", "books"])

    assert duplicate_of(texts, keep=[{"source": ["books", "web"]}]) == ["d3", "d3", "d3", None]
    assert duplicate_of(texts, keep={"source": ["web"]}) == ["d2", "d2", None, "d2"]
    assert duplicate_of(texts, keep=[{"source": ["nowhere"]}]) == [None, "d0", "d0", "d0"]


def test_priorities_apply_in_their_order() -> None:
    texts = docs("a", "a ", "a  ", source=["web", "books", "books"])

    assert duplicate_of(texts, keep=[{"source": ["books"]}, "longest"]) == ["d2", "d2", None]
    assert duplicate_of(texts, keep=[{"source": ["books"]}, "earliest"]) == ["d1", None, "d1"]
    assert duplicate_of(texts, keep=["longest", {"source": ["web"]}]) == ["d2", "d2", None]


def test_numbers_and_booleans_can_be_preferred() -> None:
    texts = docs("a", "a", rank=[2, 1], good=[False, True])

    assert duplicate_of(texts, keep=[{"rank": [1, 2]}]) == ["d1", None]
    assert duplicate_of(texts, keep=[{"good": [True]}]) == ["d1", None]


def test_only_equal_values_of_the_scope_are_compared_and_null_is_a_value() -> None:
    texts = docs("a", "a", "a", "a", "a", dump=["1", "2", "1", None, None])

    assert duplicate_of(texts, scope="dump") == [None, None, "d0", None, "d3"]


def test_scores_of_earlier_steps_are_asked_for() -> None:
    filter = ExactDuplicates(scope="language.label", keep=[{"edu.level": [3, 2]}, {"source": ["x"]}])

    assert filter.reads() == ("language.label", "edu.level")
    texts = docs("a", "a", language__label=["en", "de"])
    assert duplicate_of(texts, scope="language.label") == [None, None]


def test_nothing_is_found_in_an_empty_corpus() -> None:
    found = decided(docs("x").clear())

    assert found.schema == {"chunk": pl.Int64, "row": pl.Int64, "duplicate_of": pl.String, "cluster_size": pl.UInt32}
    assert found.is_empty()


def test_a_corpus_without_partitions_gives_the_same_columns(tmp_path: Path) -> None:
    filter = ExactDuplicates()
    corpus = MemoryCorpus(filter, docs("a", "b"), tmp_path, parts=0)

    found = filter.decide(corpus).collect()

    assert found.is_empty()
    assert list(found.schema) == ["chunk", "row", "duplicate_of", "cluster_size"]


@pytest.mark.parametrize(("chunks", "parts"), [(1, 1), (2, 7), (5, 2)])
def test_chunks_and_partitions_do_not_matter(tmp_path: Path, chunks: int, parts: int) -> None:
    chooser = random.Random(3)
    texts = docs(*[chooser.choice("abcdefgh") * chooser.choice([1, 2]) for _ in range(100)])
    filter = ExactDuplicates(keep=["longest"])
    corpus = MemoryCorpus(filter, texts, tmp_path, chunks=chunks, parts=parts)

    found = corpus.docs.join(filter.decide(corpus).collect(), on=["chunk", "row"], how="left", maintain_order="left")

    assert found["duplicate_of"].to_list() == duplicate_of(texts, keep=["longest"])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(st.sampled_from("aA é\u0301e\u00a0\n"), max_size=4), max_size=30))
def test_groups_are_those_of_plain_python(texts: list[str]) -> None:
    first: dict[str, str] = {}
    wanted = []
    for number, text in enumerate(texts):
        form = " ".join(unicodedata.normalize("NFC", text).casefold().split())
        wanted.append(first.get(form))
        first.setdefault(form, f"d{number}")

    frame = docs(*texts).cast({"id": pl.String, "text": pl.String})
    assert duplicate_of(frame) == wanted


def test_duplicates_are_dropped() -> None:
    frame = pl.DataFrame({"duplicate_of": ["d0", None]})

    assert frame.select(ExactDuplicates().drop_when()["duplicate"]).to_series().to_list() == [True, False]


def test_the_largest_clusters_are_listed_by_the_document_that_stays() -> None:
    ledger = pl.LazyFrame(
        {
            "id": ["d0", "d1", "d2", "d3", "d4", "d5"],
            "kept": [True, False, False, True, False, False],
            "rule": [None, "duplicate", "short", None, "duplicate", "near_duplicate"],
            "duplicate_of": [None, "d0", None, None, "d5", "d3"],
            "cluster_size": pl.Series([2, 2, None, None, 3, 3], dtype=pl.UInt32),
        }
    )

    clusters = ExactDuplicates().tables(ledger)["largest_clusters"]

    assert clusters.rows() == [("d5", 3), ("d0", 2)]


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ([], "at least 1 item"),
        (["earliest", "longest"], "nothing after `earliest` has an effect"),
        ([{"source": []}], "name the values of source"),
    ],
)
def test_priorities_that_make_no_sense_are_refused(keep: list[Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExactDuplicates(keep=keep)


@pytest.mark.parametrize(
    "options",
    [{}, {"normalize": False}, {"keep": ["longest"]}, {"scope": "source", "keep": [{"source": ["web"]}, "longest"]}],
    ids=str,
)
def test_exact_duplicates_keeps_the_contract(options: dict[str, Any]) -> None:
    check_filter(ExactDuplicates(**options), docs("a", "A", "b", source=["web", "books", None]))
