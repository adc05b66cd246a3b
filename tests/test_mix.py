"""Mixes from tables of counts: what each group gets, what holds it, and what the messages say is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

import curate
from curate.errors import InfeasibleError, UsageError
from curate.margins import MISSING, OTHER, has_several, joined, labels_of
from curate.mix import Goal, Mix, Wish, plan_mix

AMOUNTS = {"a": 100, "b": 50, "c": 10}
TABLE = pl.DataFrame(
    {"g": ["a", "a", "b", "b"], "h": ["x", "y", "x", "y"], "documents": [10] * 4, "amount": [100, 50, 30, 20]}
)
NATURAL, UNIMAX = Wish("natural"), Wish("unimax")


def cells(amounts: Mapping[Any, int], documents: int = 10) -> pl.DataFrame:
    rows = [(name, documents, amount) for name, amount in amounts.items()]
    return pl.DataFrame(rows, schema={"g": pl.String, "documents": pl.Int64, "amount": pl.Int64}, orient="row")


def shares(**shares: float) -> Wish:
    return Wish("shares", shares=shares)


def one(wish: Wish, table: pl.DataFrame | None = None, **goal: Any) -> Mix:
    return plan_mix(cells(AMOUNTS) if table is None else table, Goal({"g": wish}, **goal))


def two(g: Wish, h: Wish, table: pl.DataFrame = TABLE, **goal: Any) -> Mix:
    return plan_mix(table, Goal({"g": g, "h": h}, **goal))


def planned(mix: Mix) -> dict[str, float]:
    return dict(zip(mix.groups["group"], mix.groups["planned"].round(6), strict=True))


def held(mix: Mix) -> dict[str, tuple[str, str | None]]:
    return {row["group"]: (row["status"], row["bound"]) for row in mix.groups.to_dicts()}


def refused(call: Any, *args: Any, **goal: Any) -> str:
    with pytest.raises(InfeasibleError) as error:
        call(*args, **goal)
    return str(error.value)


# --- one set of groups ------------------------------------------------------------------------------------------------


def test_natural_keeps_everything() -> None:
    mix = one(NATURAL)

    assert mix.budget == 160
    assert planned(mix) == {"a": 100, "b": 50, "c": 10}
    assert set(held(mix).values()) == {("ok", None)}
    assert mix.cells["rate"].to_list() == [1, 1, 1]


def test_without_a_budget_as_much_as_the_shares_allow() -> None:
    mix = one(shares(a=0.5, b=0.3, c=0.2))

    assert mix.budget == pytest.approx(50)
    assert planned(mix) == {"a": 25, "b": 15, "c": 10}
    assert "all of g = c (10 bytes) has been used" in mix.notes[0]


def test_repeats_allow_a_larger_budget_but_never_more_than_there_is() -> None:
    assert one(shares(a=0.5, b=0.3, c=0.2), max_repeats=2).budget == pytest.approx(100)
    assert one(shares(a=0.5, b=0.3, c=0.2), max_repeats=50).budget == 160


def test_what_a_target_does_not_name_shares_the_rest_as_it_is() -> None:
    mix = one(shares(c=0.1), budget=80.0)

    assert planned(mix) == {"c": 8, OTHER: 72}
    assert mix.cells["planned"].to_list() == pytest.approx([48, 24, 8])


def test_a_group_can_be_left_out() -> None:
    assert planned(one(shares(c=0.0))) == {"c": 0, OTHER: 150}


def test_unimax_goes_round_what_the_supply_does_not_allow() -> None:
    mix = one(UNIMAX, budget=90.0)

    assert planned(mix) == {"a": 40, "b": 40, "c": 10}
    assert held(mix)["c"] == ("exhausted", "max_repeats")
    assert mix.groups["shortfall"].to_list() == pytest.approx([0, 0, 20])


def test_a_group_may_be_capped() -> None:
    mix = one(NATURAL, max_share={"g": {"a": 0.5}}, budget=80.0)

    assert planned(mix)["a"] == 40
    assert held(mix)["a"] == ("cap", "max_share")


def test_a_group_may_have_a_least_share() -> None:
    mix = one(NATURAL, min_share={"g": {"c": 0.1}}, budget=80.0)

    assert planned(mix)["c"] == 8
    assert held(mix) == {"a": ("ok", None), "b": ("ok", None), "c": ("floor", "min_share")}


def test_a_group_may_have_a_least_number_of_documents() -> None:
    mix = one(NATURAL, min_documents={"g": {"c": 8}}, budget=100.0)

    assert planned(mix)["c"] == pytest.approx(8)
    assert held(mix)["c"] == ("floor", "min_documents")


def test_documents_without_a_value_are_a_group() -> None:
    mix = one(Wish("shares", shares={MISSING: 0.5, "a": 0.5}), cells({"a": 10, None: 30}))

    assert planned(mix) == {MISSING: 10, "a": 10}


def test_rehydration_repeats_by_size_of_cluster() -> None:
    table = cells({"1": 10, "2": 10, "4": 10, "7": 10, "500": 10, "5000": 10, None: 10})

    mix = one(Wish("rehydrate"), table, max_repeats=8)

    assert dict(zip(mix.cells["g"], mix.cells["rate"], strict=True)) == {
        "1": 1, "2": 2, "4": 3, "7": 5, "500": 8, "5000": 1, None: 1,
    }  # fmt: skip


def test_rehydration_wants_numbers() -> None:
    with pytest.raises(UsageError, match="sizes of clusters in 'g', it holds 'a'"):
        one(Wish("rehydrate"))


def test_an_empty_table_makes_an_empty_mix() -> None:
    mix = one(shares(a=0.5), cells({}), budget=5.0)

    assert mix.budget == 0
    assert planned(mix) == {"a": 0}


def test_documents_that_are_all_empty_have_nothing_to_give() -> None:
    assert planned(one(NATURAL, cells({"a": 0, "b": 0}))) == {"a": 0, "b": 0}
    assert planned(two(NATURAL, UNIMAX, TABLE.with_columns(amount=0))) == {"a": 0, "b": 0, "x": 0, "y": 0}
    assert "asked 5 bytes" in refused(one, NATURAL, cells({"a": 0}), budget=5.0)


def test_huge_amounts_are_exact() -> None:
    mix = one(UNIMAX, cells({"a": 10**15, "b": 10**13, "c": 7}), budget=2e13, max_repeats=2)

    assert planned(mix) == {"a": 9999999999993, "b": 9999999999993, "c": 14}


def test_tiny_shares_are_kept() -> None:
    mix = one(shares(a=1e-9, b=0.5, c=0.5 - 1e-9), max_repeats=10)

    assert planned(mix)["a"] == pytest.approx(1e-9 * mix.budget, rel=1e-6, abs=1e-6)
    assert mix.cells["planned"][0] == pytest.approx(1e-9 * mix.budget)


def test_a_hundred_thousand_groups_need_no_quadratic_memory() -> None:
    amounts = np.random.default_rng(0).integers(1, 1000, 100_000)
    table = pl.DataFrame({"g": np.arange(100_000), "documents": np.ones(100_000, int), "amount": amounts})

    mix = one(Wish("temperature", 0.3), table.with_columns(pl.col("g").cast(pl.String)), budget=1e6, max_repeats=9)

    assert mix.groups["planned"].sum() == pytest.approx(1e6)


# --- what cannot be met, with one set of groups -----------------------------------------------------------------------


def test_a_share_of_what_is_not_there() -> None:
    message = refused(one, shares(a=0.5, z=0.5), budget=20.0)

    assert "g = z: asked 10 bytes (50.00%), possible 0 (0.00%), short by 10: there are no such documents" in message


def test_a_tiny_share_of_what_is_not_there() -> None:
    assert "g = z: asked 1e-09" in refused(one, shares(a=1 - 1e-9, z=1e-9), budget=1.0)


def test_more_than_the_supply() -> None:
    message = refused(one, shares(a=0.5, c=0.5), budget=100.0)
    twice = refused(one, shares(a=0.5, c=0.5), budget=100.0, max_repeats=2)

    assert "g = c: asked 50 bytes (50.00%), possible 10 (10.00%), short by 40: all of it" in message
    assert "possible 20 (20.00%), short by 30: all of it, 2 times" in twice


def test_the_largest_shortfall_is_named_first() -> None:
    message = refused(one, shares(a=0.4, b=0.3, c=0.3), budget=300.0)

    assert message.index("g = c") < message.index("g = b") < message.index("g = a")


def test_a_long_list_is_cut_with_a_count() -> None:
    message = refused(one, Wish("shares", shares={f"z{number}": 0.01 for number in range(100)}))

    assert message.count("there are no such documents") == 20
    assert "and 80 more groups" in message


def test_a_budget_above_the_supply() -> None:
    message = refused(one, NATURAL, budget=1000.0, max_repeats=3)

    assert "asked 1,000 bytes (100.00%), possible 480 (48.00%), short by 520" in message


def test_documents_that_are_not_there() -> None:
    message = refused(one, NATURAL, min_documents={"g": {"a": 11}})

    assert "g = a: asked 11 documents, possible 10, short by 1: all of it" in message


def test_a_group_of_empty_documents() -> None:
    assert "its documents are empty" in refused(one, shares(a=0.5, b=0.5), cells({"a": 10, "b": 0}))


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({"min_share": {"g": 0.6}}, "the least shares exceed the budget"),
        ({"max_share": {"g": 0.2}}, "within the most of each"),
        ({"min_share": {"g": {"a": 0.4}}, "max_share": {"g": {"a": 0.2}}}, "its least is above its most"),
        ({"min_share": {"g": {"z": 0.4}}}, "g = z: asked 0.4 of all, possible 0, short by 0.4"),
        ({"min_share": {"g": {"z": 0.4}}, "budget": 10.0}, "g = z: asked 4 bytes"),
        ({"min_documents": {"g": {"z": 4}}}, "g = z: asked 4 documents, possible 0, short by 4"),
    ],
)
def test_bounds_that_no_mix_meets(goal: dict[str, Any], message: str) -> None:
    assert message in refused(one, NATURAL, max_repeats=9, **goal)
    assert message in refused(two, NATURAL, NATURAL, max_repeats=9, **goal)
    assert one(NATURAL, soft=True, **goal).groups["planned"].sum() > 0


def test_shares_that_do_not_add_up_without_other_documents() -> None:
    assert "add up to 0.8" in refused(one, shares(a=0.3, b=0.3, c=0.2))
    assert one(shares(a=0.333, b=0.333, c=0.333), budget=9.0).groups["planned"].to_list() == pytest.approx([3, 3, 3])


def test_the_nearest_mix_is_taken_and_told() -> None:
    mix = one(shares(a=0.5, b=0.3, z=0.2), budget=100.0, soft=True)

    assert held(mix)["z"] == ("unreachable", None)
    assert dict(zip(mix.groups["group"], mix.groups["shortfall"], strict=True))["z"] == pytest.approx(20)
    assert sum(planned(mix).values()) == pytest.approx(100)
    assert mix.summary["worst-off group"] == "g = z"
    assert mix.summary["its planned share, as a part of its target"] == 0


def test_a_most_for_a_group_that_is_not_there_is_told() -> None:
    assert one(NATURAL, max_share={"g": {"z": 0.1}}).notes == (
        "max_share names g = z, of which there are no documents",
    )


def test_a_bound_for_a_group_that_the_target_does_not_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"g = a, which the target leaves to \(other\)"):
        one(shares(c=0.05), max_share={"g": {"a": 0.1}})


# --- several columns --------------------------------------------------------------------------------------------------


def test_two_columns_are_met_at_once() -> None:
    mix = two(shares(a=0.5, b=0.5), shares(x=0.5, y=0.5))

    assert mix.budget == pytest.approx(100)
    assert planned(mix) == {"a": 50, "b": 50, "x": 50, "y": 50}
    assert "50.00% of what there is" in mix.notes[0]


def test_columns_that_exclude_each_other_are_refused_with_both_sides() -> None:
    message = refused(two, shares(a=0.1, b=0.9), shares(x=0.5, y=0.5), budget=100.0)

    assert "g = b: asked 90 bytes (90.00%), possible 50 (50.00%), short by 40: all of it" in message
    assert "together with the other targets" in message


def test_soft_takes_the_nearest_margins() -> None:
    mix = two(shares(a=0.1, b=0.9), shares(x=0.5, y=0.5), budget=100.0, soft=True)

    assert held(mix)["b"] == ("exhausted", "max_repeats")
    assert planned(mix)["b"] == pytest.approx(50, abs=1e-3)


def test_an_absent_value_is_unreachable_in_a_soft_mix() -> None:
    mix = two(shares(a=0.5, z=0.5), shares(x=0.5, y=0.5), soft=True)

    assert held(mix)["z"] == ("unreachable", None)
    assert "there are no such documents" in refused(two, shares(a=0.5, z=0.5), NATURAL)


def test_rates_are_bounds_of_cells() -> None:
    own = np.array([100, 50, 30, 20]) / 200
    mix = two(shares(a=0.6, b=0.4), shares(x=0.6, y=0.4), rates=(0.5, 1.7), budget=100.0)
    parts = mix.cells["planned"].to_numpy() / 100 / own

    assert parts.max() <= 1.7 + 1e-9
    assert parts.min() >= 0.5 - 1e-9
    assert planned(mix)["a"] == pytest.approx(60)
    assert "together with the other targets" in refused(two, shares(a=0.5, b=0.5), NATURAL, rates=(0.9, 1.1))


def test_least_documents_hold_with_several_columns() -> None:
    assert "asked 30 documents, possible 20, short by 10" in refused(two, NATURAL, NATURAL, min_documents={"g": 30})


def test_methods_can_be_mixed() -> None:
    mix = two(Wish("temperature", 0.0), NATURAL, budget=50.0)

    assert planned(mix) == pytest.approx({"a": 25, "b": 25, "x": 32.5, "y": 17.5})


def test_labels_that_overlap_have_shares_of_their_own() -> None:
    table = pl.DataFrame(
        {"g": ["||", "|m|", "|m|w|", "|w|"], "documents": [70, 10, 10, 10], "amount": [700, 100, 100, 100]}
    )

    mix = plan_mix(table, Goal({"g": shares(m=0.3, w=0.3)}, budget=300.0, overlap=frozenset(["g"])))

    assert planned(mix) == {"m": 90, "w": 90}
    assert mix.cells["planned"].sum() == pytest.approx(300)


def test_labels_that_overlap_need_names() -> None:
    with pytest.raises(UsageError, match="shares by name"):
        plan_mix(cells({"|m|": 1}), Goal({"g": UNIMAX}, overlap=frozenset(["g"])))


# --- names of groups --------------------------------------------------------------------------------------------------


def test_columns_can_be_balanced_by_their_combinations() -> None:
    mix = plan_mix(TABLE, Goal({"g / h": UNIMAX}, budget=60.0))

    assert planned(mix) == {"a / x": 15, "a / y": 15, "b / x": 15, "b / y": 15}


def test_values_with_a_slash_are_not_confused() -> None:
    table = pl.DataFrame({"g": ["a / b", "a", "a /"], "h": ["c", "b / c", "b"]})

    names = labels_of(table, "g / h")

    assert len(set(names)) == 3
    assert names == [joined(row) for row in table.rows()]
    assert joined(["en", "news/sports"]) == "en / news/sports"


def test_a_column_whose_name_looks_like_two_is_one() -> None:
    assert labels_of(pl.DataFrame({"g / h": ["a", None]}), "g / h") == ["a", MISSING]


def test_labels_with_bars_on_both_sides_are_of_several() -> None:
    assert has_several(pl.Series(["||", "|a|", MISSING]))
    assert not has_several(pl.Series(["|a|", "b"]))
    assert not has_several(pl.Series([MISSING]))


def test_a_mix_has_plain_values() -> None:
    plain = one(NATURAL).to_dict()

    assert plain["budget"] == 160
    assert plain["groups"][0]["group"] == "a"
    assert plain["summary"]["effective sample size (Kish, documents)"] == pytest.approx(30)


# --- curate.balance ---------------------------------------------------------------------------------------------------


def test_a_table_of_counts_is_enough() -> None:
    table = {"lang": ["en", "fr", "sw"], "bytes": [1e12, 1e11, 1e9]}

    mix = curate.balance(table, by="lang", target="unimax", budget="1000GB", max_repeats=4)

    assert mix.groups["planned"].to_list() == pytest.approx([5.96e11, 4e11, 4e9])


def test_tokens_in_a_table_need_no_tokenizer() -> None:
    mix = curate.balance({"lang": ["a", "b"], "tokens": [30, 10]}, by="lang", target="unimax", budget="20 tokens")

    assert mix.groups["planned"].to_list() == pytest.approx([10, 10])


@pytest.mark.parametrize(
    ("table", "options", "told"),
    [
        ({"l": ["a"], "bytes": [1.0]}, {"by": "lang"}, "no column 'lang'"),
        ({"l": ["a"], "bytes": [1.0]}, {"by": "l", "documents": "count"}, "no column 'count'"),
        ({"l": ["a"], "bytes": [float("nan")]}, {"by": "l"}, "'bytes' must hold numbers"),
        ({"l": ["a"], "bytes": [-1]}, {"by": "l"}, "'bytes' must hold numbers"),
        ({"l": ["a"], "bytes": ["x"]}, {"by": "l"}, "'bytes' must hold numbers"),
        ({"l": ["a", "b"], "bytes": [1]}, {"by": "l"}, "no table of counts"),
        ({"l": ["a"], "bytes": [1]}, {"by": "l", "bugdet": 3}, "bugdet: Extra inputs"),
        ({"l": ["a", "b"], "bytes": [1, 1]}, {"by": "l", "target": {"a": 0.8, "b": 0.8}}, "add up to 1.6"),
        ({"l": ["a"], "bytes": [1]}, {"by": "l", "budget": "0.5 documents"}, "budget must be"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(table: dict[str, Any], options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        curate.balance(table, **options)
