"""Agreement of raters: published values, groups, missing ratings."""

from __future__ import annotations

import numpy as np
import pytest

from curate.agreement import (
    alpha,
    cross_alpha,
    group_agreement,
    percent_agreement,
    rater_agreement,
)

# Four observers, twelve units, values missing: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, part C.
NAN = float("nan")
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
UNITS = np.tile(np.arange(12), 4)


@pytest.mark.parametrize(("level", "wanted"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_as_published(level: str, wanted: float) -> None:
    assert alpha(UNITS, PUBLISHED.ravel(), level) == pytest.approx(wanted, abs=5e-4)  # type: ignore[arg-type]


def test_a_missing_rating_is_the_same_as_none() -> None:
    known = ~np.isnan(PUBLISHED.ravel())

    assert alpha(UNITS[known], PUBLISHED.ravel()[known]) == alpha(UNITS, PUBLISHED.ravel())


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_many_different_values_need_no_matrix_of_them(level: str) -> None:
    """A hundred thousand different scores, in pairs that differ by little: a matrix of them would have 80 GB."""
    draw = np.random.default_rng(4)
    truth = draw.normal(size=50_000)
    values = np.repeat(truth, 2) + draw.normal(scale=0.1, size=100_000)
    items, first = np.repeat(np.arange(50_000), 2), np.tile([True, False], 50_000)

    wanted = 0.0 if level == "nominal" else 0.99
    assert alpha(items, values, level) == pytest.approx(wanted, abs=0.005)  # type: ignore[arg-type]
    assert cross_alpha(items, values, first, level) == pytest.approx(wanted, abs=0.005)  # type: ignore[arg-type]


def test_a_rating_that_is_no_finite_number_is_none() -> None:
    assert alpha([0, 0, 0, 1, 1], [1.0, 2.0, np.inf, 3.0, 3.0]) == alpha([0, 0, 1, 1], [1.0, 2.0, 3.0, 3.0])


def test_words_are_nominal_values() -> None:
    words = np.array(["safe", "safe", "unsafe", "unsafe", "safe", "unsafe"])

    assert alpha([0, 0, 1, 1, 2, 2], words) == pytest.approx(1 - 5 * 2 / 18)


def test_perfect_agreement_is_one_and_no_variation_says_nothing() -> None:
    assert alpha([0, 0, 1, 1], [1, 1, 2, 2], "interval") == 1
    assert np.isnan(alpha([0, 0, 1, 1], [1, 1, 1, 1]))
    assert np.isnan(alpha([0, 1], [1, 2]))
    assert np.isnan(alpha([], []))


def test_the_order_of_ratings_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(48)

    assert alpha(UNITS[order], PUBLISHED.ravel()[order], "ordinal") == pytest.approx(0.815, abs=5e-4)


def test_agreement_across_groups_is_one_less_observed_by_expected_disagreement() -> None:
    """Two items, two raters of each group: across, 4 of 8 pairs differ; by chance 8 of 16 do."""
    items = [0, 0, 0, 0, 1, 1, 1, 1]
    values = [1, 1, 1, 0, 0, 0, 1, 0]
    inside = [True, True, False, False] * 2

    # observed: item 0: 2 of 4, item 1: 2 of 4; expected: own 1 1 0 0, others 1 0 1 0
    assert cross_alpha(items, values, inside) == pytest.approx(1 - 0.5 / 0.5)


def test_cross_agreement_of_groups_alike_is_near_alpha() -> None:
    draw = np.random.default_rng(7)
    truth = draw.integers(0, 2, 2000)
    items = np.repeat(np.arange(2000), 6)
    values = np.where(draw.random(12000) < 0.8, truth[items], 1 - truth[items])
    inside = np.tile([True, True, True, False, False, False], 2000)

    assert cross_alpha(items, values, inside) == pytest.approx(0.36, abs=0.03)  # (2 * 0.8 - 1) ** 2
    assert alpha(items, values) == pytest.approx(0.36, abs=0.03)


def test_a_group_with_a_view_of_its_own_has_an_association_above_one() -> None:
    draw = np.random.default_rng(3)
    first, second = draw.integers(0, 2, 500), draw.integers(0, 2, 500)
    second = np.where(draw.random(500) < 0.5, first, second)
    items = np.repeat(np.arange(500), 4)
    groups = np.tile(np.array(["a", "a", "b", "b"]), 500)
    view = np.where(groups == "a", first[items], second[items])
    values = np.where(draw.random(2000) < 0.95, view, 1 - view)

    found = group_agreement(items, values, groups)

    assert found.groups.tolist() == ["a", "b"]
    assert found.ratings.tolist() == [1000, 1000]
    assert (found.inside > found.across).all()
    assert (found.association > 1.3).all()


def test_groups_that_agree_by_chance_alone_or_less_have_no_association() -> None:
    found = group_agreement([0, 0, 1, 1], [0, 1, 1, 0], ["a", "b", "a", "b"])

    assert found.across.tolist() == pytest.approx([-1, -1])
    assert np.isnan(found.association).all()


def test_percent_agreement_is_the_mean_share_of_equal_pairs() -> None:
    assert percent_agreement([0, 0, 0, 1, 1, 2], [1, 1, 2, 3, 3, 9]) == pytest.approx((1 / 3 + 1) / 2)


def test_agreement_of_each_rater_with_the_others() -> None:
    names, ratings, share = rater_agreement([0, 0, 0, 1, 1, 2], [1, 1, 2, 3, 3, 9], ["x", "y", "z", "x", "z", "z"])

    assert names.tolist() == ["x", "y", "z"]
    assert ratings.tolist() == [2, 1, 2]
    assert share.tolist() == pytest.approx([0.75, 0.5, 0.5])
