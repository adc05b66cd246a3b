"""Amounts from shares: golden numbers of the papers, and properties that hold for any wishes and bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.allocation import (
    Floats,
    distances,
    effective,
    entropy,
    evenness,
    fill,
    jensen_shannon,
    kish,
    kullback_leibler,
    temperature,
    total_variation,
    unimax,
)

CORPUS = np.array([1e12, 1e11, 1e9])
PROBLEM = st.integers(1, 12).flatmap(
    lambda count: st.tuples(
        st.lists(st.sampled_from([0.0, 1e-9, 0.1, 1.0, 3.0, 1e6]), min_size=count, max_size=count),
        st.lists(st.floats(0, 1e6), min_size=count, max_size=count),
        st.lists(st.floats(0, 1e6), min_size=count, max_size=count),
    )
)
TOTAL = st.floats(0, 1e7)


def filled(
    problem: tuple[list[float], list[float], list[float]], total: float
) -> tuple[Floats, Floats, Floats, Floats]:
    wishes, least, room = (np.array(numbers) for numbers in problem)
    return fill(wishes, least, least + room, total), wishes, least, least + room


# --- golden numbers ---------------------------------------------------------------------------------------------------


def test_temperature_raises_amounts_to_a_power() -> None:
    shares = temperature(CORPUS, 0.3)

    assert shares.round(3).tolist() == [0.615, 0.308, 0.077]
    assert shares * 1e12 / CORPUS == pytest.approx([0.61, 3.08, 77.4], abs=0.05)


def test_temperature_one_changes_nothing_and_zero_makes_equal() -> None:
    amounts = np.array([5.0, 3.0, 2.0, 0.0])

    assert temperature(amounts, 1).tolist() == [0.5, 0.3, 0.2, 0.0]
    assert temperature(amounts, 0).tolist() == [1 / 3, 1 / 3, 1 / 3, 0.0]
    assert temperature(np.zeros(2), 0.3).tolist() == [0, 0]


def test_unimax_of_the_paper() -> None:
    assert unimax(CORPUS, 1e12, 4) == pytest.approx([5.96e11, 4.0e11, 4e9], rel=1e-12)
    assert unimax(CORPUS, 1e12, 1) == pytest.approx([8.99e11, 1.0e11, 1e9], rel=1e-12)


def test_unimax_beyond_the_supply_takes_all_of_it() -> None:
    assert unimax(CORPUS, 1e14, 2) == pytest.approx(2 * CORPUS)


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=8), st.floats(1, 1e10), st.integers(1, 5))
def test_unimax_is_the_loop_of_the_paper(amounts: list[float], budget: float, epochs: int) -> None:
    left, wanted = budget, np.zeros(len(amounts))
    for number, place in enumerate(np.argsort(amounts)):
        wanted[place] = min(left / (len(amounts) - number), epochs * amounts[place])
        left -= wanted[place]

    assert unimax(np.array(amounts), budget, epochs) == pytest.approx(wanted, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize(("epochs", "worth"), [(1, 1), (2, 1.97), (4, 3.73), (8, 6.62), (16, 10.58), (40, 15.17)])
def test_repeated_data_is_worth_less(epochs: float, worth: float) -> None:
    assert effective(100 * epochs, epochs) / 100 == pytest.approx(worth, abs=0.01)


def test_less_than_everything_is_worth_itself() -> None:
    assert effective(30.0, 0.3) == 30


def test_distances_of_the_example() -> None:
    one, other = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])

    assert total_variation(one, other) == pytest.approx(0.1)
    assert kullback_leibler(one, other) == pytest.approx(0.030479, abs=5e-7)
    assert jensen_shannon(one, other) == pytest.approx(0.011278, abs=5e-7)


def test_divergence_from_what_is_not_there_has_no_number() -> None:
    assert kullback_leibler(np.array([0.5, 0.5]), np.array([1.0, 0.0])) is None
    assert kullback_leibler(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(math.log(2))


def test_evenness_is_one_for_equal_shares_and_nothing_for_one_group() -> None:
    assert entropy(np.array([0.25] * 4)) == 2
    assert evenness(np.array([0.25] * 4)) == 1
    assert evenness(np.array([1.0, 0.0])) == 0
    assert evenness(np.array([1.0])) is None


def test_kish_counts_equal_weights_fully() -> None:
    assert kish(np.array([10.0, 20.0]), np.array([3.0, 3.0])) == pytest.approx(30)
    assert kish(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == 1
    assert kish(np.array([1.0]), np.array([0.0])) == 0


def test_distances_have_names() -> None:
    shares = np.array([0.5, 0.5]), np.array([0.2, 0.8]), np.array([0.2, 0.8])

    found = distances(*shares)

    assert found["total variation, before to target"] == pytest.approx(0.3)
    assert found["total variation, after to target"] == 0


# --- fill -------------------------------------------------------------------------------------------------------------


@given(PROBLEM, TOTAL)
def test_amounts_respect_bounds(problem: tuple[list[float], list[float], list[float]], total: float) -> None:
    found, _, least, most = filled(problem, total)

    assert (found >= least).all()
    assert (found <= most).all()


@given(PROBLEM, TOTAL)
def test_amounts_add_up_to_the_total_or_come_nearest(
    problem: tuple[list[float], list[float], list[float]], total: float
) -> None:
    found, wishes, least, most = filled(problem, total)
    possible = np.where(wishes > 0, most, least).sum()

    assert found.sum() == pytest.approx(min(max(total, least.sum()), possible), rel=1e-9, abs=1e-6)


@given(PROBLEM, TOTAL, TOTAL)
def test_no_amount_shrinks_as_the_total_grows(
    problem: tuple[list[float], list[float], list[float]], total: float, more: float
) -> None:
    smaller, larger = filled(problem, total)[0], filled(problem, total + more)[0]

    assert (smaller <= larger * (1 + 1e-9) + 1e-6).all()


@given(PROBLEM, TOTAL)
def test_what_no_bound_holds_is_in_proportion_to_the_wishes(
    problem: tuple[list[float], list[float], list[float]], total: float
) -> None:
    found, wishes, least, most = filled(problem, total)
    free = (found > least * (1 + 1e-9) + 1e-6) & (found < most * (1 - 1e-9) - 1e-6)
    levels = found[free] / wishes[free]

    assert levels == pytest.approx(levels[:1].repeat(len(levels)), rel=1e-6)


def test_a_group_without_a_most_takes_the_rest() -> None:
    found = fill(np.array([1.0, 1.0, 2.0]), np.zeros(3), np.array([3.0, np.inf, np.inf]), 30.0)

    assert found == pytest.approx([3, 9, 18])


def test_without_wishes_every_group_stays_at_its_least() -> None:
    assert fill(np.zeros(2), np.array([1.0, 2.0]), np.array([5.0, 5.0]), 8.0).tolist() == [1, 2]


def test_a_hundred_thousand_groups_are_few() -> None:
    amounts = np.random.default_rng(0).pareto(1, 100_000) * 1000 + 1

    found = unimax(amounts, amounts.sum() / 2, 1)

    assert found.sum() == pytest.approx(amounts.sum() / 2)
    assert found.max() <= amounts.max()
