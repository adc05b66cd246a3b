"""`balance`: its options, which documents are drawn, and its account."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from engine import hashes, write_lines
from pydantic import ValidationError

import curate
from curate import Pipeline, Step
from curate.errors import InfeasibleError, UsageError
from curate.filters import Balance
from curate.filters.balance_draw import whole_copies
from curate.filters.balance_options import count_tokens, read_budget, read_shares
from curate.testing import MemoryCorpus, check_filter, decide

DRAWS = 10_000


def docs(groups: dict[Any, int], **columns: Any) -> pl.DataFrame:
    """So many documents of each group, mixed, with texts of 1 to 50 bytes."""
    labels = [label for label, count in groups.items() for _ in range(count)]
    order = np.random.default_rng(0).permutation(len(labels))
    sizes = np.random.default_rng(1).integers(1, 51, len(labels))
    frame = {
        "id": [f"d{number}" for number in range(len(labels))],
        "text": ["x" * int(size) for size in sizes],
        "g": [labels[place] for place in order],
    }
    return pl.DataFrame({**frame, **columns}, strict=False)


WORLD = docs({"a": 500, "b": 300, "c": 200})


def decided(frame: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """What the filter decides, beside the documents."""
    found = decide(Balance(**{"by": "g", **options}), frame)
    if isinstance(found, str):
        raise AssertionError(found)
    return frame.hstack(found.select("copies", "rate", "size", "cell"))


def drawn(frame: pl.DataFrame, **options: Any) -> dict[Any, int]:
    """Copies by group."""
    found = decided(frame, **options).group_by("g").agg(pl.col("copies").cast(pl.Int64).sum()).sort("g")
    return dict(found.iter_rows())


def in_chunks(frame: pl.DataFrame, folder: Path, chunks: int, **options: Any) -> pl.DataFrame:
    filter = Balance(**{"by": "g", **options})
    corpus = MemoryCorpus(filter, frame, folder, chunks=chunks)
    found = filter.decide(corpus).collect()
    return corpus.docs.select("chunk", "row", "id").join(found, on=["chunk", "row"]).select("id", "copies").sort("id")


def wrong(**options: Any) -> str:
    with pytest.raises(ValidationError) as error:
        Balance(**options)
    return str(error.value)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filter",
    [
        Balance(by="g"),
        Balance(by=["g", "h"], target="unimax", budget="500 documents"),
        Balance(target={"g": {"a": 0.2}, "h": "natural"}, budget="10kB", min_documents=1),
        Balance(target={"many": {"m": 0.3}}, budget="10kB"),
        Balance(by="g", target={"a": 0.2}, unit="words", max_repeats=3, max_share=0.9, min_share={"a": 0.1}),
        Balance(by="g", select="top", rank_by="score", budget="500 documents"),
        Balance(by="g", weight="score", budget="500 documents"),
    ],
    ids=str,
)
def test_it_is_a_filter(filter: Balance) -> None:
    columns = {
        "h": ["x", "y", None, "x"] * 250,
        "many": [["m"], ["m", "w", "m"], [], None] * 250,
        "score": [0.5, None, float("nan"), 2.0] * 250,
    }
    check_filter(filter, docs({"a": 400, "b": 400, None: 200}, **columns))


@pytest.mark.parametrize(
    ("budget", "amount", "unit"),
    [
        ("2B tokens", 2e9, "tokens"), ("2b tokens", 2e9, "tokens"), ("1.5GB", 1.5e9, "bytes"),
        ("1.5 GB", 1.5e9, "bytes"), ("10 tokens", 10, "tokens"), ("8_000 documents", 8000, "documents"),
        ("8,000 docs", 8000, "documents"), ("3k words", 3000, "words"), ("1 byte", 1, "bytes"), ("7 b", None, None),
        ("500", 500, None), ("5M", 5e6, None), (" 5 T bytes ", 5e12, "bytes"), ("10tokens", 10, "tokens"),
        (12, 12, None), (0.5, 0.5, None), (None, None, None), ("100 kB", 1e5, "bytes"),
    ],
)  # fmt: skip
def test_budgets(budget: Any, amount: float | None, unit: str | None) -> None:
    if amount is None and budget is not None:
        with pytest.raises(ValueError, match="budget must be an amount"):
            read_budget(budget)
        return
    assert read_budget(budget) == (amount, unit)


@pytest.mark.parametrize(
    "budget", ["", "many", "-5", "0", "0 documents", "1e9", "2B", "5 cats", 0, -1, float("nan"), float("inf")]
)
def test_budgets_that_are_none(budget: Any) -> None:
    assert "budget must be an amount above 0" in wrong(by="g", budget=budget)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "name the columns to balance"),
        ({"by": ["g", "g"]}, "a column is named twice"),
        ({"by": "documents"}, "cannot be named documents or amount"),
        ({"by": "h", "target": {"g": "natural"}}, "target has entries for g, by names h"),
        ({"by": "g", "budget": "5 documents", "unit": "bytes"}, "budget is in documents, unit says bytes"),
        ({"by": "g", "unit": "tokens"}, "tokens are counted by a tokenizer"),
        ({"by": "g", "select": "top"}, "belong together"),
        ({"by": "g", "rank_by": "score"}, "belong together"),
        ({"by": "g", "select": "top", "rank_by": "score", "weight": "w"}, "`weight` is for `select: random`"),
        ({"by": "g", "rate_bounds": [0.5, 2]}, "rate_bounds is for targets of several columns"),
        ({"target": {"g": "natural"}, "rate_bounds": [2, 3]}, "0 <= low <= 1 <= high"),
        ({"target": {"g": "natural"}, "rate_bounds": [0, 0.5]}, "0 <= low <= 1 <= high"),
        ({"target": {"g": "natural"}, "rate_bounds": [float("nan"), 2]}, "0 <= low <= 1 <= high"),
        ({"by": "g", "min_share": 1.5}, "min_share must be shares from 0 to 1"),
        ({"by": "g", "max_share": {"a": float("nan")}}, "max_share must be shares from 0 to 1"),
        ({"by": "g", "min_documents": -1}, "min_documents must be counts"),
        ({"by": "g", "min_share": {"h": {"a": 0.1}}}, "min_share names 'h', which is no column of the target"),
        ({"target": {"g": "natural"}, "min_share": {"a": 0.1}}, "min_share names 'a', which is no column"),
        ({"by": "g", "target": {"temperature": 3}}, "from 0 (equal shares) to 1"),
        ({"by": "g", "target": {"a": -0.1}}, "must be numbers from 0 to 1"),
        ({"by": "g", "target": {"a": float("nan")}}, "must be numbers from 0 to 1"),
        ({"by": "g", "target": "equal"}, "target must be natural, unimax"),
        ({"by": "g", "max_repeats": 70_000}, "less than or equal to 1000"),
        ({"by": "g", "max_repeats": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    assert message in wrong(**options)


def test_a_bound_may_name_the_only_column() -> None:
    assert Balance(by="g", min_share={"g": {"a": 0.1}}).goal().min_share == {"g": {"a": 0.1}}
    assert Balance(by="g", min_share={"a": 0.1}).goal().min_share == {"g": {"a": 0.1}}


def test_plain_values_are_named_as_the_ledger_names_them() -> None:
    assert Balance(by="g", target={True: 0.5, 3: 0.2, None: 0.1}).goal().wishes["g"].shares == {
        "true": 0.5, "3": 0.2, "(missing)": 0.1,
    }  # fmt: skip


def test_shares_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("g,share\na,0.5\n,0.25\n")
    (tmp_path / "some.csv").write_text("value,share\na,0.5\n")
    pl.DataFrame({"g": ["a / b"], "h": ["x"], "share": [0.5]}).write_parquet(tmp_path / "two.parquet")

    assert read_shares(tmp_path / "one.csv", ("g",)) == {"a": 0.5, "(missing)": 0.25}
    assert read_shares(tmp_path / "two.parquet", ("g", "h")) == {"a \\/ b / x": 0.5}
    assert drawn(WORLD, target=tmp_path / "some.csv", budget="100 documents")["a"] == 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g,part\na,0.5\n", "cannot be read"), ("g,share\na,half\n", "cannot be read"),
        ("g,share\na,0.5\na,0.2\n", "a value is named twice"), ("g,share\na,0.9\nb,0.2\n", "they add up to 1.1"),
        ("g,share\na,-0.5\n", "the share of 'a' is not from 0 to 1"), ("g,share\na,\n", "is not from 0 to 1"),
    ],
)  # fmt: skip
def test_files_of_shares_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "shares.csv").write_text(text)

    with pytest.raises(UsageError, match=message):
        read_shares(tmp_path / "shares.csv", ("g",))


def test_files_that_are_not_there() -> None:
    with pytest.raises(UsageError, match=r"there is no file 'nowhere\.csv'"):
        Balance(by="g", target="nowhere.csv").files()


# --- amounts ----------------------------------------------------------------------------------------------------------


def test_totals_in_documents_are_exact() -> None:
    assert drawn(WORLD, target={"a": 0.2, "b": 0.3, "c": 0.5}, budget="400 documents") == {"a": 80, "b": 120, "c": 200}


def test_no_budget_takes_as_much_as_the_target_allows() -> None:
    assert drawn(WORLD, target={"a": 0.4, "b": 0.4, "c": 0.2}, unit="documents") == {"a": 300, "b": 300, "c": 150}


def test_odd_totals_are_within_one_document_of_each_group() -> None:
    frame = docs({f"g{number}": 10 + number for number in range(40)})

    for budget in (101, 333, 777):
        found = drawn(frame, budget=f"{budget} documents")

        assert sum(found.values()) == budget
        for number in range(40):
            assert abs(found[f"g{number}"] - budget * (10 + number) / frame.height) < 1


def test_bytes_are_within_one_document_of_each_group() -> None:
    target = {"a": 0.2, "b": 0.3, "c": 0.5}

    found = decided(WORLD, target=target, budget=9000, unit="bytes")

    for label, share in target.items():
        own = found.filter(g=label)
        assert abs((own["size"] * own["copies"]).sum() - 9000 * share) <= own["size"].max()


def test_every_document_is_there_so_often_and_the_rest_once_more() -> None:
    found = decided(docs({"a": 30, "b": 20}), target={"a": 0.2, "b": 0.8}, budget="100 documents", max_repeats=5)

    assert sorted(set(found.filter(g="b")["copies"])) == [4]
    assert sorted(set(found.filter(g="a")["copies"])) == [0, 1]
    assert found.filter(g="b")["rate"].to_list() == pytest.approx([4.0] * 20)
    assert drawn(docs({"a": 30, "b": 20}), target={"b": 1.0}, budget="50 documents", max_repeats=3) == {"a": 0, "b": 50}


def test_a_document_is_repeated_up_to_a_thousand_times() -> None:
    found = decided(docs({"a": 3}), budget="3000 documents", max_repeats=1000)

    assert found["copies"].to_list() == [1000] * 3


def test_more_than_the_repeats_allow_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"(?s)InfeasibleError.*possible 3,000"):
        decided(docs({"a": 3}), budget="3001 documents", max_repeats=1000)


def test_whole_copies_are_next_to_what_is_planned() -> None:
    planned = np.array([0.5, 2.0, 3.25, 0.25, 7.0])

    for start in np.linspace(0.001, 0.999, 50):
        found = whole_copies(planned, start)
        assert found.sum() == 13
        assert (np.abs(found - planned) < 1).all()
    mean = np.mean([whole_copies(planned, start) for start in (np.arange(1000) + 0.5) / 1000], axis=0)
    assert mean == pytest.approx(planned, abs=0.002)


def test_words_are_counted() -> None:
    frame = pl.DataFrame({"id": ["1", "2"], "text": ["one two  three", "four"], "g": ["a", "a"]})

    assert decided(frame, unit="words")["size"].to_list() == [3, 1]


def test_tokens_are_counted_by_a_tokenizer(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = Tokenizer(WordLevel({"[UNK]": 0, "one": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.enable_truncation(2)
    made.save(str(tmp_path / "tokenizer.json"))
    frame = pl.DataFrame({"id": ["1", "2", "3"], "text": ["one two, three", "", "one"], "g": ["a", "a", "b"]})

    filter = Balance(by="g", budget="2 tokens", tokenizer=tmp_path / "tokenizer.json", target={"b": 0.5})
    found = decide(filter, frame)

    assert count_tokens(tmp_path / "tokenizer.json", frame["text"]) == [4, 0, 1]
    assert not isinstance(found, str)
    assert found["tokens"].to_list() == [4, 0, 1]
    assert found["copies"][2] == 1


def test_a_tokenizer_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(UsageError, match="cannot be read"):
        count_tokens(tmp_path / "tokenizer.json", pl.Series(["a"]))


# --- groups -----------------------------------------------------------------------------------------------------------


def test_missing_values_are_a_group() -> None:
    assert drawn(docs({"a": 30, None: 50}), target={"a": 0.5, None: 0.5}, budget="40 documents") == {None: 20, "a": 20}


def test_numbers_and_booleans_are_groups() -> None:
    assert drawn(docs({1: 30, 2: 30}), target={1: 0.25, 2: 0.75}, budget="40 documents") == {1: 10, 2: 30}
    assert drawn(docs({True: 30, False: 30}), target={True: 0.25}, budget="40 documents") == {False: 30, True: 10}


def test_values_with_bars_and_slashes_and_separators_are_groups() -> None:
    odd = {"a / b": 30, "|a|": 30, "a\x1fb": 30, "": 30, "a|b": 30}

    found = decided(docs(odd), target="unimax", budget="50 documents")

    assert drawn(docs(odd), target="unimax", budget="50 documents") == dict.fromkeys(sorted(odd), 10)
    assert found["cell"].list.first().to_list() == found["g"].to_list()


def test_two_columns_with_targets_of_their_own() -> None:
    frame = docs({"a": 600, "b": 400}, h=["x", "x", "x", "y"] * 250)

    found = decided(frame, by=(), target={"g": {"a": 0.5, "b": 0.5}, "h": {"x": 0.5, "y": 0.5}}, budget="400 documents")
    kept = found.filter(pl.col("copies") > 0)

    assert abs((kept["g"] == "a").sum() - 200) <= 2  # one document in each of two cells
    assert abs((kept["h"] == "x").sum() - 200) <= 2
    assert kept.height == 400


def test_documents_with_several_labels() -> None:
    frame = docs({"a": 1000}, many=[["m"], ["m", "w", "m"], [], None, ["other"]] * 200)

    found = decided(frame, by=(), target={"many": {"m": 0.6, "w": 0.3}}, budget="400 documents")
    kept = found.filter(pl.col("copies") > 0)

    assert kept.height == 400
    assert abs(kept["many"].list.contains("m").sum() - 240) <= 3
    assert abs(kept["many"].list.contains("w").sum() - 120) <= 3
    assert sorted(set(found["cell"].list.first())) == ["|m|", "|m|w|", "||"]


def test_several_labels_need_shares_by_name() -> None:
    with pytest.raises(UsageError, match="its target must be shares by name"):
        Balance(by="many").sketch(pl.DataFrame({"text": ["x"], "many": [["a"]]}))
    with pytest.raises(UsageError, match="stands between labels"):
        Balance(target={"many": {"a|b": 0.1}}).sketch(pl.DataFrame({"text": ["x"], "many": [["a"]]}))


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(UsageError, match=r"the shares of g add up to 1\.2, more than 1"):
        Balance(by="g", target={"a": 0.7, "b": 0.5}).sketch(WORLD)


def test_no_documents_at_all() -> None:
    empty = WORLD.clear()

    assert decided(empty, target={"a": 0.5}).height == 0


def test_empty_texts_have_no_size() -> None:
    frame = WORLD.with_columns(text=pl.when(pl.col("g") == "c").then(pl.lit("")).otherwise("text"))

    assert drawn(frame, unit="bytes") == {"a": 500, "b": 300, "c": 0}
    assert drawn(frame, unit="documents") == {"a": 500, "b": 300, "c": 200}


# --- which documents --------------------------------------------------------------------------------------------------

DRAWN = [
    {"target": "unimax", "budget": "251 documents"},
    {"target": {"a": 0.2}, "budget": 5001, "unit": "bytes", "max_repeats": 2},
    {"target": "natural", "budget": "300 documents", "weight": "score"},
    {"target": "natural", "budget": 5000, "select": "top", "rank_by": "score"},
]
SCORED = WORLD.with_columns(score=pl.Series([0.0, 1.0, 2.5, None, float("nan")] * 200))


@pytest.mark.parametrize("options", DRAWN)
def test_order_and_chunks_make_no_difference(tmp_path: Path, options: dict[str, Any]) -> None:
    wanted = in_chunks(SCORED, tmp_path, 1, **options)

    for seed, chunks in [(1, 2), (2, 7), (3, 400)]:
        folder = tmp_path / str(chunks)
        folder.mkdir()
        assert in_chunks(SCORED.sample(fraction=1, shuffle=True, seed=seed), folder, chunks, **options).equals(wanted)


@pytest.mark.parametrize("options", DRAWN)
def test_finer_counting_finds_the_same_documents(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = in_chunks(SCORED, tmp_path, 2, **options)
    monkeypatch.setattr("curate.filters.balance_draw.SINGLY", 1)
    monkeypatch.setattr("curate.filters.balance_draw.BUCKETS", 64)

    assert in_chunks(SCORED, tmp_path, 2, **options).equals(wanted)


@pytest.mark.parametrize("options", [{"unit": "documents"}, {"unit": "bytes"}, {"unit": "bytes", "target": "unimax"}])
def test_a_larger_budget_holds_a_smaller_one(options: dict[str, Any]) -> None:
    found = [decided(WORLD, budget=budget, **options)["copies"] for budget in (50, 200, 201, 450, 900)]

    for smaller, larger in itertools.pairwise(found):
        assert (smaller > larger).sum() <= (3 if options["unit"] == "documents" else 0)
    assert (found[0] <= found[1]).all()
    assert (found[2] <= found[3]).all()
    assert (found[3] <= found[4]).all()


def test_another_seed_draws_other_documents() -> None:
    one, other = (decided(WORLD, budget="300 documents", seed=seed)["copies"] for seed in (0, 1))

    assert one.sum() == other.sum() == 300
    assert (one != other).sum() > 200


def test_the_best_of_each_group_stay_and_unknown_scores_go_first() -> None:
    frame = docs({"a": 10}, score=[1.0, None, 3.0, float("nan"), -2.0, 5.0, float("inf"), -0.0, 2.0, float("-inf")])

    found = decided(frame, select="top", rank_by="score", budget="8 documents")

    assert found.filter(copies=0)["id"].to_list() == ["d1", "d3"]
    three = decided(frame, select="top", rank_by="score", budget="3 documents").filter(copies=1)
    assert three["score"].to_list() == [3.0, 5.0, float("inf")]


def test_scores_and_weights_are_numbers() -> None:
    with pytest.raises(UsageError, match="'g' is String, not a column of numbers"):
        Balance(by="g", weight="g").sketch(WORLD)


def per_cell(weights: list[float], count: int) -> np.ndarray[Any, Any]:
    """In what part of many draws each document of a cell is in; every cell is a draw of its own."""
    cells = np.repeat(np.arange(DRAWS), len(weights))
    frame = pl.DataFrame(
        {"id": np.arange(len(cells)), "g": cells, "w": np.tile(weights, DRAWS), "text": ["x"] * len(cells)}
    ).with_columns(pl.col("id").cast(pl.String))
    equal = len(set(weights)) == 1
    found = decided(frame, budget=f"{count * DRAWS} documents", weight=None if equal else "w")
    copies = found["copies"].to_numpy().reshape(DRAWS, len(weights))
    assert (copies.sum(axis=1) == count).all()
    return copies.mean(axis=0)


def within(found: np.ndarray[Any, Any], chances: np.ndarray[Any, Any], errors: float = 3) -> None:
    assert (np.abs(found - chances) <= errors * np.sqrt(chances * (1 - chances) / DRAWS) + 1e-12).all()


def test_all_have_the_same_chance() -> None:
    within(per_cell([1.0] * 10, 3), np.full(10, 0.3))


def test_chances_are_in_proportion_to_weights() -> None:
    weights = np.array([1.0, 1.5, 2.0, 2.5, 3.0] * 8)

    within(per_cell(weights.tolist(), 12), 12 * weights / weights.sum())


def test_a_chance_above_one_is_one() -> None:
    found = per_cell([1.0] * 20 + [1000.0, 0.0], 5)

    assert found[20:].tolist() == [1, 0]
    within(found[:20], np.full(20, 0.2))


def test_pareto_sampling_is_off_in_very_small_cells() -> None:
    # one of three documents beside two that are certain; the bias is that of 10 million draws with numpy alone
    chances, bias = np.array([1, 2, 4]) / 7, np.array([-0.0153, -0.0251, 0.0404])

    found = per_cell([1.0, 2.0, 4.0, 12.0, 12.0], 3)

    assert found[3:].tolist() == [1, 1]
    within(found[:3], chances + bias)


def test_weights_of_nothing_come_last_in_any_order() -> None:
    frame = docs({"a": 1000}, w=[1.0] * 10 + [0.0] * 990)

    found = decided(frame, weight="w", budget="110 documents")
    again = decided(frame.reverse(), weight="w", budget="110 documents").reverse()

    assert found["copies"][:10].to_list() == [1] * 10
    assert found["copies"].equals(again["copies"])


def test_a_document_that_is_too_long_for_the_rest_has_its_chance() -> None:
    sizes = np.tile([10, 30], 3000)
    frame = pl.DataFrame({"g": np.repeat(np.arange(3000), 2), "text": ["x" * int(size) for size in sizes]})
    frame = frame.with_columns(id=pl.int_range(pl.len()).cast(pl.String))

    found = decided(frame, budget=3000 * 20, unit="bytes")

    assert (found["size"] * found["copies"]).sum() == pytest.approx(3000 * 20, rel=0.02)


# --- the account ------------------------------------------------------------------------------------------------------


def tables(frame: pl.DataFrame, **options: Any) -> dict[str, pl.DataFrame]:
    filter = Balance(**{"by": "g", **options})
    found = decide(filter, frame)
    assert not isinstance(found, str), found
    return filter.tables(found.lazy().with_columns(rule=pl.when(pl.col("copies") == 0).then(pl.lit("not_drawn"))))


def test_groups_have_a_before_a_target_and_an_after() -> None:
    rows = tables(WORLD, target={"a": 0.2, "b": 0.3, "c": 0.5}, budget="400 documents")["groups"]

    assert rows.select("group", "documents_before", "documents_after", "target_share", "after_share").rows() == [
        ("a", 500, 80, 0.2, 0.2),
        ("b", 300, 120, 0.3, 0.3),
        ("c", 200, 200, 0.5, 0.5),
    ]


def test_an_error_of_labels_widens_shares() -> None:
    options = {"target": {"a": 0.2, "b": 0.3, "c": 0.5}, "budget": "400 documents"}

    wide = tables(WORLD, label_error=0.1, **options)["groups"].row(0, named=True)
    none = tables(WORLD, label_error=0.0, **options)["groups"].row(0, named=True)

    assert (wide["true_share_from"], wide["true_share_to"]) == pytest.approx((0.18, 0.28))
    assert (none["true_share_from"], none["true_share_to"]) == pytest.approx((0.2, 0.2))
    assert "less than or equal to 0.5" in wrong(by="g", label_error=0.6)


def test_what_could_not_be_met_is_in_the_account() -> None:
    found = tables(WORLD, target={"a": 0.5, "z": 0.5}, budget="400 documents", on_infeasible="soft")
    summary = dict(found["summary"].iter_rows())

    row = found["groups"].filter(group="z").row(0, named=True)
    assert (row["status"], row["shortfall"], row["after"]) == ("unreachable", 200, 0)
    assert summary["groups below their target"] == "1"
    assert summary["worst-off group"] == "g = z: 0.0% of its target share"


def test_the_account_of_repeats() -> None:
    rows = tables(docs({"a": 30, "b": 20}), target={"a": 0.2, "b": 0.8}, budget="100 documents", max_repeats=5)

    row = rows["groups"].filter(group="b").row(0, named=True)
    assert (row["epochs"], row["copies"], row["after"], row["documents_after"]) == (4, 4, 80, 20)


def test_the_account_of_other_missing_and_odd_values() -> None:
    frame = docs({"a": 50, None: 30, "x / y": 20, "a\x1fb": 20, "|": 10})

    rows = tables(frame, target={"a": 0.5, "|": 0.1}, budget="40 documents")["groups"]

    assert dict(rows.select("group", "after").iter_rows()) == {"a": 20, "(other)": 16, "|": 4}


def test_the_account_of_two_columns_and_several_labels() -> None:
    frame = docs({"a": 600, "b": 400}, many=[["m"], ["m", "w"], [], None] * 250)

    rows = tables(frame, by=(), target={"g": {"a": 0.5, "b": 0.5}, "many": {"m": 0.6}}, budget="400 documents")[
        "groups"
    ]

    assert rows["column"].to_list() == ["g", "g", "many"]
    assert abs(rows["after_share"] - pl.Series([0.5, 0.5, 0.6])).max() < 0.01  # type: ignore[operator]


def test_the_account_of_nothing() -> None:
    found = tables(WORLD.clear(), target={"a": 0.5, "b": 0.5})

    assert found["groups"]["after"].to_list() == [0, 0]
    assert dict(found["summary"].iter_rows())["bytes before"] == "0"


# --- runs -------------------------------------------------------------------------------------------------------------


def files(folder: Path, count: int = 5) -> list[Path]:
    paths = [folder / f"part-{number}.jsonl" for number in range(count)]
    for number, path in enumerate(paths):
        write_lines(path, WORLD.select("id", "text", "g")[number::count].to_dicts())
    return paths


def test_output_is_the_same_for_any_order_of_paths_and_any_workers(tmp_path: Path) -> None:
    paths = files(tmp_path)
    steps = [
        Balance(by="g", target={"a": 0.3, "b": 0.3}, budget="7kB"),
        Step(name="again", filter=Balance(by="g", target="unimax", budget="90 docs")),
    ]
    found = [
        hashes(
            Pipeline(steps=steps).run(order, tmp_path / f"out-{number}", workers=workers).root,
            "dataset/data",
            "audit/ledger",
        )
        for number, (order, workers) in enumerate(
            [(paths, 1), (paths[::-1], 1), (paths[2:] + paths[:2], 2), (paths, 4)]
        )
    ]

    assert len(found[0]) > 1
    assert found[1:] == [found[0]] * 3


def test_a_target_that_cannot_be_met_stops_the_run_before_anything_is_written(tmp_path: Path) -> None:
    pipeline = Pipeline(steps=[Balance(by="g", target={"z": 0.5}, budget="10 documents")])

    with pytest.raises(InfeasibleError, match="g = z: asked 5 documents"):
        pipeline.run(files(tmp_path), tmp_path / "out", workers=1)
    assert list((tmp_path / "out").glob("dataset/**/*.parquet")) == []


def test_shares_above_one_stop_the_run(tmp_path: Path) -> None:
    pipeline = Pipeline(steps=[Balance(by="g", target={"a": 0.7, "b": 0.5})])

    with pytest.raises(UsageError, match="more than 1"):
        pipeline.run(files(tmp_path), tmp_path / "out", workers=1)


# --- as written in a pipeline file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["shares.csv", "{lang: shares.csv}"])
def test_shares_in_a_file_work_from_a_pipeline_file(tmp_path: Path, target: str) -> None:
    (tmp_path / "shares.csv").write_text("value,share\nen,0.5\nsw,0.5\n")
    docs = pl.DataFrame({"text": [f"text {n}" for n in range(40)], "lang": ["en"] * 30 + ["sw"] * 10})
    docs.write_parquet(tmp_path / "in.parquet")
    (tmp_path / "p.yaml").write_text(
        f"input: {{paths: [in.parquet]}}\nsteps:\n- balance: {{by: lang, target: {target}, budget: 10 documents}}\n"
    )

    run = curate.Pipeline.load(tmp_path / "p.yaml").run(output=tmp_path / "out")

    assert run.kept.group_by("lang").len().sort("lang").collect().rows() == [("en", 5), ("sw", 5)]


def test_null_in_a_pipeline_file_is_the_group_without_a_value() -> None:
    text = "steps:\n- balance: {by: lang, target: {en: 0.5, null: 0.1}}\n"
    pipe = curate.Pipeline.parse(text, base=Path())

    assert pipe.steps[0].filter.options()["target"] == {"en": 0.5, "(missing)": 0.1}


def test_a_copy_can_be_asked_about(tmp_path: Path) -> None:
    docs = pl.DataFrame({"id": ["a", "b"], "text": ["one", "two"]})
    docs.write_parquet(tmp_path / "in.parquet")
    pipe = curate.Pipeline(steps=[Balance(by=("id",), budget="4 documents", max_repeats=2)])

    run = pipe.run(str(tmp_path / "in.parquet"), tmp_path / "out")

    assert sorted(run.kept.collect()["id"]) == ["a", "a#2", "b", "b#2"]
    assert run.why("a#2")["id"] == "a"


def test_what_a_later_step_drops_is_missing_in_the_account(tmp_path: Path) -> None:
    docs = pl.DataFrame(
        {"id": [str(n) for n in range(100)], "text": ["t"] * 100, "g": ["a", "b"] * 50, "bad": [True] + [False] * 99}
    ).with_columns(bad=pl.col("g") == "a")
    docs.write_parquet(tmp_path / "in.parquet")
    steps = [
        Balance(by=("g",), target={"a": 0.5, "b": 0.5}, budget="20 documents"),
        curate.filters.Where(drop_if="bad"),
    ]

    run = curate.Pipeline(steps=steps).run(str(tmp_path / "in.parquet"), tmp_path / "out")

    rows = {row["group"]: row for row in run.report.data["representation"][0]["columns"][0]["groups"]}
    assert (rows["a"]["shortfall"], rows["a"]["status"], rows["a"]["bound"]) == (10, "exhausted", "later steps")
    assert rows["b"]["shortfall"] == 0
    assert "g = a (0 of 10 documents)" in " ".join(note["text"] for note in run.report.data["attention"])
