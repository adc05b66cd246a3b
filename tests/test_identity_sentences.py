"""The judging set of identity mentions: well-formed, and as many sentences of each sort as it promises."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parent / "golden" / "identity_sentences.jsonl"
AXES = {"gender", "sexual_orientation", "religion", "ethnicity", "age", "disability", "migration"}
KINDS = {"plain", "plural", "hyphen", "case", "ambiguous", "negative", "multi", "other"}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def test_every_line_has_the_four_fields(rows: list[dict[str, Any]]) -> None:
    assert {tuple(row) for row in rows} == {("text", "axes", "terms", "kind")}
    assert {row["kind"] for row in rows} == KINDS


def test_axes_are_known_and_sorted_and_named_once(rows: list[dict[str, Any]]) -> None:
    assert [row for row in rows if row["axes"] != sorted(AXES.intersection(row["axes"]))] == []


def test_the_terms_belong_to_the_axes(rows: list[dict[str, Any]]) -> None:
    assert [row for row in rows if sorted({term.split("/")[0] for term in row["terms"]}) != row["axes"]] == []


def test_no_text_occurs_twice(rows: list[dict[str, Any]]) -> None:
    times = Counter(" ".join(row["text"].casefold().split()) for row in rows)

    assert [text for text, count in times.items() if count > 1] == []


def test_texts_are_trimmed_and_5_to_35_words_long(rows: list[dict[str, Any]]) -> None:
    assert [row["text"] for row in rows if not 5 <= len(row["text"].split()) <= 35] == []
    assert [row["text"] for row in rows if row["text"] != " ".join(row["text"].split())] == []


def test_the_kind_agrees_with_the_number_of_axes(rows: list[dict[str, Any]]) -> None:
    few, many = {"negative": (0, 0), "ambiguous": (0, 7), "multi": (2, 7)}, (1, 1)

    for row in rows:
        low, high = few.get(row["kind"], many)
        assert low <= len(row["axes"]) <= high, row["text"]


def test_hyphens_are_where_the_kind_says_so(rows: list[dict[str, Any]]) -> None:
    assert [row["text"] for row in rows if row["kind"] == "hyphen" and "-" not in row["text"]] == []


def test_each_axis_has_at_least_40_mentions(rows: list[dict[str, Any]]) -> None:
    mentions = Counter(axis for row in rows for axis in row["axes"])

    assert {axis for axis in AXES if mentions[axis] < 40} == set()


def test_the_set_is_as_large_as_it_promises(rows: list[dict[str, Any]]) -> None:
    kinds = Counter(row["kind"] for row in rows)

    assert len(rows) >= 360
    assert kinds["negative"] >= 120
    assert kinds["ambiguous"] >= 60


def test_about_half_of_the_ambiguous_words_are_mentions(rows: list[dict[str, Any]]) -> None:
    ambiguous = [bool(row["axes"]) for row in rows if row["kind"] == "ambiguous"]

    assert 0.4 <= sum(ambiguous) / len(ambiguous) <= 0.6
