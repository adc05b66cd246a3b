"""Raking: weights that meet every margin within their bounds, or a proof that none do, checked in other ways."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import null_space
from scipy.optimize import linprog
from scipy.sparse.csgraph import maximum_flow

from curate.allocation import Floats
from curate.raking import most, nearest, rake, relative_error

RANDOM = [  # columns, seeds of random problems: 1,000 in all
    *((2, range(start, start + 175)) for start in range(0, 700, 175)),
    (3, range(700, 850)),
    (3, range(850, 1000)),
]


class Problem(NamedTuple):
    """Integer margins and bounds over the cells of a table with holes."""

    places: np.ndarray  # cells x columns: the level of each
    shape: tuple[int, ...]
    membership: sparse.csr_array
    own: Floats
    low: Floats
    high: Floats
    wanted: Floats


def membership_of(places: np.ndarray, shape: Sequence[int]) -> sparse.csr_array:
    rows = [places[:, column] + sum(shape[:column]) for column in range(len(shape))]
    cells = np.tile(np.arange(len(places)), len(shape))
    return sparse.csr_array((np.ones(len(cells)), (np.concatenate(rows), cells)), shape=(int(sum(shape)), len(places)))


def problem(seed: int, columns: int) -> Problem:
    """Half of the problems are made from a solution; in the others amounts are moved between levels."""
    numbers = np.random.default_rng(seed)
    shape = tuple(int(levels) for levels in numbers.integers(1 + seed % 2, 6 if columns == 2 else 4, columns))
    places = np.array(list(itertools.product(*map(range, shape))))
    places = places[numbers.random(len(places)) < numbers.uniform(0.4, 1)]
    if len(places) == 0:
        places = np.zeros((1, columns), int)
    own = numbers.integers(1, 1000, len(places)).astype(float)
    high = own * numbers.integers(1, 4)
    low = np.floor(own * numbers.choice([0, 0, 0.3]))
    membership = membership_of(places, shape)
    solution = numbers.integers(low.astype(int), high.astype(int) + 1).astype(float)
    if numbers.random() < 0.3:  # cells at their bounds
        solution = np.where(numbers.random(len(own)) < 0.5, high, solution)
    wanted = membership @ solution
    if seed % 2:
        for column, levels in enumerate(shape):
            first, second = numbers.permutation(levels)[:2] + sum(shape[:column])
            part = np.ceil(wanted[first] * numbers.uniform(0.3, 1))
            wanted[[first, second]] += [-part, part]
    return Problem(places, shape, membership, own, low, high, wanted)


def flows(one: Problem) -> bool:
    """Whether two integer margins can be met, by the largest flow from the levels of one to those of the other."""
    rows, columns = one.shape
    left = one.wanted - one.membership @ one.low
    if (left < 0).any() or left[:rows].sum() != left[rows:].sum():
        return False
    source, sink = rows + columns, rows + columns + 1
    start = np.concatenate([np.full(rows, source), one.places[:, 0], rows + np.arange(columns)])
    end = np.concatenate([np.arange(rows), rows + one.places[:, 1], np.full(columns, sink)])
    room = np.concatenate([left[:rows], one.high - one.low, left[rows:]]).astype(np.int32)
    graph = sparse.csr_array((room, (start, end)), shape=(sink + 1, sink + 1))
    return bool(maximum_flow(graph, source, sink).flow_value == int(left[:rows].sum()))


def has_no_proof(one: Problem) -> bool:
    """Whether no combination of the margins proves that they cannot be met (the dual programme, Farkas)."""
    margins, cells = one.membership.shape
    across = one.membership.T
    most_of, least_of = sparse.diags_array(one.high) @ across, sparse.diags_array(one.low) @ across
    found = linprog(
        np.concatenate([-one.wanted, np.ones(cells)]),
        A_ub=sparse.vstack(
            [sparse.hstack([most_of, -sparse.eye_array(cells)]), sparse.hstack([least_of, -sparse.eye_array(cells)])]
        ),
        b_ub=np.zeros(2 * cells),
        bounds=[(-1, 1)] * margins + [(None, None)] * cells,
        method="highs-ds",
    )
    return bool(-found.fun < 1e-3)


def divergence(weights: Floats, own: Floats) -> float:
    logs = np.log(np.where(weights > 0, weights, 1) / own)
    return float((weights * logs - weights + own).sum())


def fitted(membership: sparse.csr_array, shape: Sequence[int], own: Floats, wanted: Floats, sweeps: int) -> Floats:
    """Iterative proportional fitting, as in the textbooks."""
    weights = own.copy()
    for _ in range(sweeps):
        for column, levels in enumerate(shape):
            rows = slice(sum(shape[:column]), sum(shape[:column]) + levels)
            part = membership[rows]
            weights *= part.T @ (wanted[rows] / (part @ weights))
    return weights


@pytest.mark.parametrize(("columns", "seeds"), RANDOM)
def test_random_problems_are_told_apart_and_solved(columns: int, seeds: range) -> None:
    wrong, errors, kinds = [], [], [0, 0]
    for seed in seeds:
        one = problem(seed, columns)
        possible = flows(one) if columns == 2 else has_no_proof(one)
        kinds[possible] += 1
        gap = np.abs(nearest(one.membership, one.wanted, one.low, one.high) - one.wanted)
        if bool(gap.max() <= 1e-6 * one.wanted.sum()) != possible:
            wrong.append(seed)
        if possible:
            raked = rake(one.membership, one.wanted, one.own, one.low, one.high)
            assert (raked.weights >= one.low * (1 - 1e-12)).all(), seed
            assert (raked.weights <= one.high * (1 + 1e-12)).all(), seed
            errors.append(relative_error(one.membership @ raked.weights, one.wanted))

    assert wrong == []
    assert max(errors) <= 1e-6
    assert min(kinds) >= 0.4 * len(seeds)


def test_no_other_weights_are_nearer() -> None:
    numbers = np.random.default_rng(5)
    for seed in range(0, 60, 2):
        one = problem(seed, 2)
        raked = rake(one.membership, one.wanted, one.own, one.low, one.high)
        moves = null_space(one.membership.toarray())
        for _ in range(20 if moves.size else 0):
            move = moves @ numbers.normal(size=moves.shape[1])
            with np.errstate(divide="ignore", invalid="ignore"):
                room = np.where(move > 0, (one.high - raked.weights) / move, (one.low - raked.weights) / move)
            length = numbers.uniform(0, 1) * max(0.0, float(np.nanmin(room)))
            moved = np.clip(raked.weights + length * move, one.low, one.high)

            assert divergence(moved, one.own) >= divergence(raked.weights, one.own) - 1e-7 * one.own.sum()


def test_where_no_bound_binds_the_weights_are_those_of_proportional_fitting() -> None:
    numbers = np.random.default_rng(1)
    for shape in [(2, 3), (4, 5), (2, 3, 4)]:
        places = np.array(list(itertools.product(*map(range, shape))))
        membership = membership_of(places, shape)
        own = numbers.uniform(1, 100, len(places))
        wanted = membership @ numbers.uniform(1, 100, len(places))

        raked = rake(membership, wanted, own, np.zeros(len(own)), np.full(len(own), 1e9))

        assert raked.weights == pytest.approx(fitted(membership, shape, own, wanted, 2000), rel=1e-6)


def test_bounds_that_bind_keep_margins_exact() -> None:
    places = np.array(list(itertools.product(range(3), range(3))))
    membership = membership_of(places, (3, 3))
    own = np.array([50, 5, 5, 5, 40, 5, 5, 5, 10.0])
    wanted = own.sum() * np.array([1 / 3, 1 / 3, 1 / 3, 0.2, 0.3, 0.5])
    free = rake(membership, wanted, own, 0 * own, 1e9 * own)

    bounded = rake(membership, wanted, own, 0.2 * own, 3.5 * own)

    assert (free.weights / own).max() > 3.5
    assert (bounded.weights / own).max() == pytest.approx(3.5)
    assert membership @ bounded.weights == pytest.approx(wanted, rel=1e-9)


def test_a_hole_in_the_table_forces_cells_to_nothing() -> None:
    membership = membership_of(np.array([[0, 0], [1, 0], [1, 1]]), (2, 2))  # nothing has the first value and the last
    own = np.array([10.0, 10.0, 10.0])

    raked = rake(membership, np.array([10.0, 10.0, 10.0, 10.0]), own, np.zeros(3), np.full(3, 100.0))

    assert raked.weights == pytest.approx([10, 0, 10], abs=1e-8)
    assert raked.error <= 1e-6


def test_one_cell_gets_what_is_wanted() -> None:
    raked = rake(
        membership_of(np.array([[0, 0]]), (1, 1)), np.array([3.0, 3.0]), np.array([10.0]), np.zeros(1), np.full(1, 10.0)
    )

    assert raked.weights == pytest.approx([3])


def test_a_level_that_shall_have_nothing_gets_nothing() -> None:
    places = np.array(list(itertools.product(range(2), range(2))))
    own = np.array([4.0, 3.0, 2.0, 1.0])

    raked = rake(membership_of(places, (2, 2)), np.array([6.0, 0.0, 3.0, 3.0]), own, np.zeros(4), 2 * own)

    assert raked.weights == pytest.approx([3, 3, 0, 0], abs=1e-8)
    assert raked.error <= 1e-6


def test_cells_without_an_amount_stay_empty() -> None:
    places = np.array(list(itertools.product(range(2), range(2))))
    own = np.array([4.0, 0.0, 2.0, 4.0])

    raked = rake(membership_of(places, (2, 2)), np.array([3.0, 3.0, 4.0, 2.0]), own, np.zeros(4), 2 * own)

    assert raked.weights == pytest.approx([3, 0, 1, 2], abs=1e-8)


def test_amounts_may_differ_by_many_powers_of_ten() -> None:
    places = np.array(list(itertools.product(range(3), range(3))))
    membership = membership_of(places, (3, 3))
    own = 10.0 ** np.random.default_rng(2).uniform(3, 15, 9)
    wanted = membership @ (own * np.random.default_rng(3).uniform(0.5, 2, 9))

    raked = rake(membership, wanted, own, 0 * own, 4 * own)

    assert raked.error <= 1e-6


def test_the_largest_total_is_limited_by_the_scarcest_level() -> None:
    membership = membership_of(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), (2, 2))
    shares = np.array([0.5, 0.5, 0.5, 0.5])
    high = np.array([100.0, 50.0, 30.0, 20.0])

    assert most(membership, shares, np.zeros(4), high) == pytest.approx(100)


def test_there_is_no_total_where_nothing_meets_the_shares() -> None:
    membership = membership_of(np.array([[0, 0], [1, 1]]), (2, 2))

    assert most(membership, np.array([0.5, 0.5, 0.9, 0.1]), np.zeros(2), np.full(2, 10.0)) == pytest.approx(0, abs=1e-5)


def test_ten_thousand_cells() -> None:
    numbers = np.random.default_rng(0)
    places = np.array(list(itertools.product(range(100), range(100))))
    own = numbers.pareto(1, 10_000) + 0.01
    membership = membership_of(places, (100, 100))
    wanted = membership @ (own * numbers.uniform(0, 3, 10_000))

    raked = rake(membership, wanted, own, 0 * own, 3 * own)

    assert raked.error <= 1e-6
    assert (raked.weights <= 3 * own * (1 + 1e-12)).all()


def test_a_column_of_two_thousand_values_settles_in_few_steps() -> None:
    numbers = np.random.default_rng(0)
    places = np.array(
        [(value, other) for value in range(2000) for other in range(3) if numbers.random() < 0.7 or not other]
    )
    membership = membership_of(places, (2000, 3))
    own = 10 ** numbers.uniform(2, 6, len(places))
    wanted = membership @ (own * numbers.uniform(0.1, 10, len(own)))

    raked = rake(membership, wanted, own, 0 * own, 20 * own)

    assert raked.error <= 1e-6
    assert raked.steps <= 50
