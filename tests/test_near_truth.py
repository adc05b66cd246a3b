"""The exact pairs and the judgement that benchmarks/near_duplicates.py compares tools by."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest


@pytest.fixture
def near_truth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    return importlib.import_module("near_truth")


def corpus(folder: Path, texts: dict[str, str]) -> Path:
    pl.DataFrame({"id": list(texts), "text": list(texts.values())}).write_parquet(folder / "texts.parquet")
    return folder


def words(count: int, start: int = 0) -> list[str]:
    return [f"word{number}" for number in range(start, start + count)]


def test_all_pairs_are_those_of_a_comparison_of_all_with_all(near_truth: ModuleType, tmp_path: Path) -> None:
    chooser = random.Random(1)
    texts = {
        str(number): " ".join(chooser.choice("ab") for _ in range(chooser.randrange(3, 40))) for number in range(150)
    }
    sets = [set(near_truth.shingles(text).tolist()) for text in texts.values()]
    expected = {}
    for one in range(len(sets)):
        for other in range(one + 1, len(sets)):
            similarity = len(sets[one] & sets[other]) / len(sets[one] | sets[other])
            if similarity >= near_truth.LEAST:
                expected[one, other] = similarity
    found = near_truth.truth(corpus(tmp_path, texts)).pairs
    assert len(expected) > 3
    assert {(one, other): similarity for one, other, similarity in found.iter_rows()} == expected


@pytest.mark.parametrize("letters", [False, True])
def test_planted_pairs_have_the_similarity_that_they_say(near_truth: ModuleType, letters: bool) -> None:
    for one, other, similarity in near_truth.planted(0.8, 5, letters, sizes=(50, 90)):
        sets = [set(near_truth.shingles(text).tolist()) for text in (one, other)]
        assert similarity == len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_a_planted_pair_is_found_when_exactly_one_of_it_is_gone(near_truth: ModuleType, tmp_path: Path) -> None:
    text = " ".join(words(30))
    texts = {"planted-a": text, "planted-b": text, "other": " ".join(words(30, start=100))}
    truth = near_truth.truth(corpus(tmp_path, texts))
    shares = [
        near_truth.judge(truth, pl.Series(kept, dtype=pl.String), marks_all=False)["planted"]
        for kept in (["planted-a", "other"], list(texts), ["other"])
    ]
    assert [(share["pairs"], share["found"]) for share in shares] == [(1, 1), (1, 0), (1, 0)]


def test_a_removed_document_needs_a_twin_that_stays(near_truth: ModuleType, tmp_path: Path) -> None:
    text = " ".join(words(30))
    texts = {"first": text, "second": text, "lost": " ".join(words(30, start=100))}
    found = near_truth.judge(near_truth.truth(corpus(tmp_path, texts)), pl.Series(["first"]), marks_all=False)
    justified = found["justified"]
    assert (justified["removed"], justified["reach"], justified["below_half"]) == (2, 1, 1)


def test_letters_are_words_in_scripts_without_spaces(near_truth: ModuleType) -> None:
    assert near_truth.WORD.findall("数据, data-set ไท") == ["数", "据", "data", "set", "ไ", "ท"]
