"""Precision and recall from labels: golden figures, coverage, allocation, and the choice of a limit."""

from __future__ import annotations

import numpy as np
import pytest

from curate.calibration import (
    Cells,
    Scored,
    allocate,
    candidates,
    choose,
    count_cells,
    estimate,
    halves,
    needed_most,
    try_limits,
)


def golden() -> Cells:
    """The example of SCIENCE 5: three strata, of which the rule removes the last."""
    return Cells(
        np.array([[900_000, 0], [80_000, 0], [0, 20_000]]),
        np.array([[200.0, 0], [300, 0], [0, 300]]),
        np.array([[2.0, 0], [60, 0], [0, 255]]),
    )


def test_the_golden_figures_of_three_strata() -> None:
    found = estimate(golden())
    assert found.positives.point == pytest.approx(42_000)
    assert found.recall.median == pytest.approx(0.395, abs=0.006)
    assert (found.recall.low, found.recall.high) == pytest.approx((0.275, 0.500), abs=0.012)
    assert found.precision.point == pytest.approx(0.85)


def test_the_far_tail_is_where_labels_are_needed() -> None:
    shares = needed_most(golden())
    assert shares.argmax() == 0
    assert shares[0] > 0.8
    assert shares.sum() == pytest.approx(1)


def test_a_stratum_without_labels_widens_the_interval_and_has_no_point() -> None:
    cells = Cells(np.array([[1000, 0], [0, 100]]), np.array([[0.0, 0], [0, 50]]), np.array([[0.0, 0], [0, 40]]))
    found = estimate(cells)
    assert found.unlabelled == 1
    assert np.isnan(found.recall.point)
    assert found.recall.low < 0.15
    assert found.recall.high > 0.9


def test_a_rule_that_removes_nothing_has_no_precision_and_no_recall() -> None:
    found = estimate(Cells(np.array([[100, 0]]), np.array([[20.0, 0]]), np.array([[5.0, 0]])))
    assert np.isnan(found.precision.median)
    assert found.recall.high == 0


def test_everything_labelled_leaves_nothing_unknown() -> None:
    found = estimate(Cells(np.array([[10, 20]]), np.array([[10.0, 20]]), np.array([[5.0, 15]])))
    assert found.precision.low == found.precision.high == 0.75
    assert found.recall.low == found.recall.high == 0.75


def test_labels_are_counted_by_stratum_and_verdict() -> None:
    cells = count_cells([[5, 5], [3, 0]], [0, 0, 0, 1], [False, True, True, False], [1, 0.5, 1, 0])
    assert cells.labelled.tolist() == [[1, 2], [1, 0]]
    assert cells.positive.tolist() == [[1, 1.5], [0, 0]]


def test_a_larger_budget_never_takes_labels_from_a_stratum() -> None:
    sizes, rates = [10_000, 500, 3, 0, 80], [0.02, 0.3, 0.5, 0.1, 0.9]
    before = allocate(sizes, rates, 1)
    for budget in range(2, 700):
        now = allocate(sizes, rates, budget)
        assert sum(now) == min(budget, sum(sizes))
        assert all(a <= b for a, b in zip(before, now, strict=True))
        before = now
    assert before[2] == 3
    assert before[3] == 0
    assert min(before[0], before[1], before[4]) >= 30


def coverage(rates: list[float], labels: list[int], runs: int, seed: int) -> tuple[float, float]:
    """How often the intervals of precision and recall hold the truth: strata of 20,000, the last one is removed."""
    rng = np.random.default_rng(seed)
    size, inside = 20_000, np.zeros(2)
    removed = np.array([0] * (len(rates) - 1) + [1])
    for run in range(runs):
        positives = rng.binomial(size, rates)
        hits = rng.hypergeometric(positives, size - positives, labels)
        documents = np.stack([size * (1 - removed), size * removed], axis=1)
        labelled = np.stack([labels * (1 - removed), labels * removed], axis=1).astype(float)
        found = np.stack([hits * (1 - removed), hits * removed], axis=1).astype(float)
        made = estimate(Cells(documents, labelled, found), draws=1_000, seed=run)
        truths = positives[-1] / size, positives[-1] / positives.sum()
        for at, (share, truth) in enumerate(zip((made.precision, made.recall), truths, strict=True)):
            inside[at] += share.low <= truth <= share.high
    return float(inside[0] / runs), float(inside[1] / runs)


@pytest.mark.parametrize("rates", [[0.002, 0.2, 0.8], [0.0, 0.1, 0.9], [0.01, 0.3, 0.95]])
def test_intervals_hold_the_truth_also_where_a_stratum_has_no_positive(rates: list[float]) -> None:
    precision, recall = coverage(rates, [150, 150, 150], 400, 1)
    assert precision >= 0.92
    assert recall >= 0.92


def test_intervals_hold_the_truth_where_a_limit_cuts_a_stratum_thinly() -> None:
    rng, inside = np.random.default_rng(5), np.zeros(2)
    for run in range(200):
        scores = np.sort(rng.random(20_000))
        truth = rng.random(20_000) < scores**3  # truth rises with the score inside a stratum, too
        chosen = np.concatenate([rng.choice(10_000, 60, replace=False), 10_000 + rng.choice(10_000, 60, replace=False)])
        strata = (chosen >= 10_000).astype(int)
        parts = (scores[:10_000], scores[10_000:])
        scored = Scored("above", parts, np.zeros(2, int), strata, scores[chosen], truth[chosen].astype(float))
        made = estimate(scored.cells(0.55), 1_000, run)
        gone = scores > 0.55
        truths = truth[gone].mean(), truth[gone].sum() / truth.sum()
        for at, (share, value) in enumerate(zip((made.precision, made.recall), truths, strict=True)):
            inside[at] += share.low <= value <= share.high
    assert inside.min() >= 0.9 * 200  # 200 runs: three standard errors below .95


def test_the_limit_of_a_precision_is_found_and_halves_do_not_meet() -> None:
    rng = np.random.default_rng(3)
    scores = np.sort(rng.random(20_000))
    labelled = rng.choice(20_000, 16_000, replace=False)
    truth = rng.random(16_000) < scores[labelled]  # a document of score s should go with probability s
    scored = Scored("above", (scores,), np.array([0]), np.zeros(16_000, int), scores[labelled], truth.astype(float))
    first = halves(rng.random(16_000), np.zeros(16_000))
    assert first.sum() == 8_000
    trials = try_limits(scored, candidates(scored.score, 0.5), first)
    made = choose(trials, 0.9, None)
    assert made is not None
    assert 0.72 < made.limit < 0.88
    told = estimate(scored.cells(made.limit, ~first))
    assert told.precision.low < 0.9 < told.precision.high
    assert choose(trials, 0.9999, None) is None
    loose = choose(trials, None, 0.05)
    assert loose is not None
    assert loose.limit < made.limit
    assert 1 - loose.found.recall.median <= 0.05


def test_below_is_the_other_side() -> None:
    scored = Scored("below", (np.array([1.0, 2, 3]),), np.array([1]), np.array([0]), np.array([1.0]), np.array([1.0]))
    assert scored.sizes(2.0).tolist() == [[3, 1]]
    assert scored.cells(2.0).positive.tolist() == [[0, 1]]
