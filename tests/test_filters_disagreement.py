"""`disagreement`: soft labels, winners by all raters and by groups, raters who failed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from chat_records import ledger
from pydantic import ValidationError

from curate import Pipeline
from curate.errors import UsageError
from curate.filters import Disagreement
from curate.testing import check_filter, decide

Rating = tuple[str | None, str | None, Any]


def docs(*rows: list[Rating] | None) -> pl.DataFrame:
    """Records with their ratings as (rater, group, value)."""
    lists = [
        None if row is None else [dict(zip(("rater", "group", "value"), rating, strict=True)) for rating in row]
        for row in rows
    ]
    ids = [f"r{number}" for number in range(len(rows))]
    return pl.DataFrame({"id": ids, "text": ids, "ratings": lists}, strict=False)


def given(*values: Any) -> list[Rating]:
    """Ratings of raters without a group."""
    return [(f"p{number}", None, value) for number, value in enumerate(values)]


def score(*rows: list[Rating] | None, **options: Any) -> pl.DataFrame:
    return Disagreement(ratings="ratings", **options).score(docs(*rows))


def decided(frame: pl.DataFrame, **options: Any) -> pl.DataFrame:
    step = Disagreement(ratings="ratings", **options)
    found = decide(step, frame)
    assert isinstance(found, pl.DataFrame), found
    return step.score(frame).hstack(found.drop("chunk", "row"))


# --- scores ---


def test_soft_label_and_weight_shrink_to_one_half_with_few_ratings() -> None:
    scores = score(given(1, 1, 0), given(1), [], None)

    assert scores["soft_label"].to_list() == [2.5 / 4, 0.75, 0.5, 0.5]
    assert scores["weight"].to_list() == pytest.approx([3 / 5, 1 / 3, 0, 0])
    assert scores["ratings_given"].to_list() == [3, 1, 0, 0]


def test_entropy_is_in_bits_of_the_values_given() -> None:
    scores = score(given("a", "b"), given("a", "a"), given("a", "b", "c", "d"), [])

    assert scores["entropy"].to_list() == [1, 0, 2, None]


def test_a_rating_without_a_value_is_none() -> None:
    assert score(given(1, None, 0))["ratings_given"].to_list() == [2]


@pytest.mark.parametrize(
    ("values", "options", "label"),
    [
        ((True, False), {}, 0.5),
        (("Yes", "no", "YES"), {}, 2.5 / 4),
        ((1.0, 0.0, 0.0), {}, 1.5 / 4),
        (("unsafe", "safe", "unsure"), {"positive": ["unsafe", "unsure"]}, 2.5 / 4),
        ((70, 20, 55), {"min_positive": 50}, 2.5 / 4),
        (("high", "60"), {"min_positive": 50}, 0.5),
    ],
)
def test_positive_values(values: tuple[Any, ...], options: dict[str, Any], label: float) -> None:
    assert score(given(*values), **options)["soft_label"].to_list() == pytest.approx([label])


def test_the_winner_flips_when_every_group_counts_the_same() -> None:
    crowd = [(f"a{number}", "a", "safe") for number in range(6)] + [
        (f"b{number}", "a", "unsafe") for number in range(4)
    ]
    few = [("c", "b", "unsafe"), ("d", "c", "unsafe")]
    scores = score([*crowd, *few[:1]], [*crowd, *few])

    assert scores["majority"].to_list() == ["safe", None]
    assert scores["group_majority"].to_list() == ["unsafe", "unsafe"]
    assert scores["flips"].to_list() == [True, False]


def test_a_tie_has_no_winner() -> None:
    assert score(given(1, 0), given(1, 1, 0))["majority"].to_list() == [None, "1"]


def test_whole_numbers_are_one_value_however_they_are_written() -> None:
    frame = pl.DataFrame({"text": ["x"], "one": [1], "two": [1.0]})

    assert Disagreement(columns=("one", "two")).score(frame)["entropy"].to_list() == [0]


@pytest.mark.parametrize("missing", [None, float("nan"), "", " ", "NaN"])
def test_a_value_that_is_not_there_is_no_rating(missing: Any) -> None:
    assert score(given("1", missing))["ratings_given"].to_list() == [1]
    frame = pl.DataFrame({"text": ["x"], "one": ["1"], "two": [missing]}, strict=False)
    assert Disagreement(columns=("one", "two")).score(frame)["soft_label"].to_list() == [0.75]


def test_white_space_around_a_value_is_not_of_it() -> None:
    assert score(given("yes ", "yes"))["entropy"].to_list() == [0]


def test_a_list_of_ratings_may_be_json_text() -> None:
    lists = [
        '[{"rater": 7, "group": "g", "value": 1}, {"rater": "b", "value": 1.0}, {"value": true}, {"value": null}]', None
    ]  # fmt: skip
    scores = Disagreement(ratings="r").score(pl.DataFrame({"text": ["a", "b"], "r": lists}))

    assert scores["rated"].to_list() == [
        [
            {"rater": "7", "group": "g", "value": "1"},
            {"rater": "b", "group": None, "value": "1.0"},
            {"rater": None, "group": None, "value": "true"},
        ],
        [],
    ]


@pytest.mark.parametrize("text", ["n/a", "[1]", '{"value": 1}', "5", '[{"value": [1]}]'])
def test_json_text_that_is_no_list_of_ratings_is_an_error_of_its_record(text: str) -> None:
    with pytest.raises(ValueError):
        Disagreement(ratings="r").score(pl.DataFrame({"text": ["a"], "r": [text]}))


def test_ratings_in_json_lines_are_read(tmp_path: Path) -> None:
    rows = [{"text": f"text {number}", "r": [{"rater": "a", "value": number % 2}]} for number in range(4)]
    (tmp_path / "rated.jsonl").write_text("\n".join(json.dumps(row) for row in [*rows, {"text": "x", "r": "none"}]))
    pipeline = Pipeline(
        input={"paths": [str(tmp_path / "rated.jsonl")]},
        steps=[Disagreement(ratings="r")],
        output={"path": str(tmp_path / "out")},
    )
    run = pipeline.run()

    assert run.ledger.collect()["disagreement.soft_label"].to_list() == [0.25, 0.75, 0.25, 0.75]


def test_one_column_for_each_rater_is_the_same_as_a_list() -> None:
    frame = pl.DataFrame({"text": ["x", "y"], "one": [1, 0], "two": [0, None], "three": [1, 0]})
    step = Disagreement(columns=("one", "two", "three"), groups={"one": "g"})

    scores = step.score(frame)

    assert scores["majority"].to_list() == ["1", "0"]
    assert scores["rated"].to_list()[1] == [
        {"rater": "one", "group": "g", "value": "0"},
        {"rater": "three", "group": None, "value": "0"},
    ]


def test_a_list_in_the_column_of_one_rater_is_refused() -> None:
    with pytest.raises(UsageError, match=r"is List\(Int64\), wanted String"):
        Disagreement(columns=("r",)).score(pl.DataFrame({"text": ["a"], "r": [[1]]}))


def test_a_column_that_is_no_list_of_ratings_is_refused() -> None:
    with pytest.raises(UsageError, match=r"is List\(Int64\), not a list of"):
        Disagreement(ratings="r").score(pl.DataFrame({"text": ["a"], "r": [[1]]}))


@pytest.mark.parametrize("options", [{}, {"ratings": "r", "columns": ["a"]}, {"columns": ["a"], "groups": {"b": "g"}}])
def test_ratings_come_from_one_place(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Disagreement(**options)


# --- raters who failed ---


def crowd(seed: int = 1, number: int = 60) -> list[list[Rating]]:
    """Records that five raters see nearly alike, one answers at random the wrong way, and one always says 0."""
    chooser = random.Random(seed)
    rows = []
    for _ in range(number):
        truth = chooser.randrange(2)
        sound = [(f"good{place}", "a", truth if chooser.random() < 0.95 else 1 - truth) for place in range(7)]
        rows.append([*sound, ("wrong", "a", 1 - truth), ("always", "b", 0)])
    return rows


def test_raters_who_always_say_the_same_or_the_opposite_failed() -> None:
    frame = docs(*crowd())
    tables = Disagreement(ratings="ratings").tables(ledger(frame, decided(frame)))

    failed = tables["raters"].filter("failed")
    assert sorted(failed["rater"].to_list()) == ["always", "wrong"]
    assert failed.filter(pl.col("rater") == "always")["constant"].to_list() == [True]
    assert failed.filter(pl.col("rater") == "wrong").select("constant", "outlier").row(0) == (False, True)


def test_the_same_answer_to_items_that_all_get_it_is_no_failure() -> None:
    rows = [[(f"p{place}", None, 0) for place in range(4)] for _ in range(40)]

    assert decided(docs(*rows))["failed_raters"].to_list() == [0] * 40


def test_a_group_with_a_view_of_its_own_has_not_failed() -> None:
    """Four of 25 raters see things the other way, and agree on it: only who agrees with nobody is an outlier."""
    chooser, rows = random.Random(2), []
    for _ in range(80):
        truth = chooser.randrange(2)
        many = [(f"a{place}", "a", truth if chooser.random() < 0.95 else 1 - truth) for place in range(20)]
        few = [(f"b{place}", "b", 1 - truth if chooser.random() < 0.95 else truth) for place in range(4)]
        rows.append([*many, *few, ("random", "a", chooser.randrange(2))])
    frame = docs(*rows)

    raters = Disagreement(ratings="ratings").tables(ledger(frame, decided(frame)))["raters"]
    assert raters.filter("failed")["rater"].to_list() == ["random"]


def test_few_ratings_are_not_judged() -> None:
    assert decided(docs(*crowd(number=9)))["failed_raters"].to_list() == [0] * 9


def test_nothing_is_dropped_for_disagreement_alone() -> None:
    assert Disagreement(ratings="ratings").drop_when() == {}
    rows = [*crowd(), [("good0", "a", 0), ("good1", "a", 1)], [("wrong", "a", 0), ("always", "b", 1)]]
    scores = decided(docs(*rows), max_entropy=0.9)
    rule = Disagreement(ratings="ratings", max_entropy=0.9).drop_when()["unreliable"]

    assert scores["entropy"].to_list()[-2:] == [1, 1]
    assert scores["failed_share"].to_list()[-2:] == [0, 1]
    assert scores.select(rule).to_series().to_list()[-2:] == [False, True]


# --- tables ---


def test_tables_say_who_agrees_and_which_records_flip() -> None:
    rows = [
        [("a1", "a", "x"), ("a2", "a", "x"), ("a3", "a", "x"), ("a4", "a", "y"), ("b1", "b", "y")],
        [("a1", "a", "x"), ("a2", "a", "x"), ("b1", "b", "x"), ("b2", "b", "x")],
        [("a1", "a", "y")],
        [],
    ]
    frame = docs(*rows)
    tables = Disagreement(ratings="ratings").tables(ledger(frame, decided(frame)))
    measures = dict(tables["agreement"].select("measure", "value").rows())

    assert measures["records"] == 4
    assert measures["records without a rating"] == 1
    assert measures["records with a single rating (P51)"] == 1
    assert measures["ratings"] == 10
    assert measures["raters"] == 6
    assert measures["share of equal pairs of ratings, by record"] == pytest.approx((0.4 + 1) / 2)
    assert measures["Krippendorff's alpha, nominal"] == pytest.approx(1 - 8 * 3 / (2 * 7 * 2))
    assert tables["flips"].rows() == [("r0", "x", "y", 5)]
    assert tables["rater_groups"].select("group", "ratings").rows() == [("a", 7), ("b", 3)]


def test_alpha_takes_numbers_where_the_level_asks_for_them() -> None:
    frame = docs(given(1, 2), given(3, 3), given(1, "none"))
    options = {"level": "interval", "min_positive": 2}
    tables = Disagreement(ratings="ratings", **options).tables(ledger(frame, decided(frame, **options)))  # type: ignore[arg-type]

    measure = tables["agreement"].filter(pl.col("measure").str.starts_with("Krippendorff"))
    assert measure["value"][0] == pytest.approx(1 - 3 * 2 / 22)


@pytest.mark.parametrize("options", [{"ratings": "ratings"}, {"ratings": "ratings", "max_entropy": 0.5}], ids=str)
def test_disagreement_keeps_the_contract(options: dict[str, Any]) -> None:
    check_filter(Disagreement(**options), docs(*crowd(number=20), [], None, [(None, None, 1)]))


def test_disagreement_by_columns_keeps_the_contract() -> None:
    frame = pl.DataFrame({"text": ["a", "b"], "x": [True, None], "y": [1.0, 2.0]})

    check_filter(Disagreement(columns=("x", "y"), groups={"x": "g"}), frame)
