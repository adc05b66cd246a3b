"""Drift: each measure on tables whose answer is known, alerts that need effect, chance and size, and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2_contingency, wasserstein_distance

from curate.drift import (
    LEAST,
    Drift,
    bin_counts,
    cramers_v,
    frozen_edges,
    judge,
    number_drift,
    population_stability,
    share_drift,
)


def shares(before: dict[str, int], now: dict[str, int]) -> Drift:
    found = share_drift("source", before, now)
    assert found is not None
    return found


def numbers(before: np.ndarray, now: np.ndarray, **options: object) -> Drift:
    found = number_drift("score", before, now, **options)  # type: ignore[arg-type]  # edges
    assert found is not None
    return found


def test_total_variation_is_the_share_that_changed_groups() -> None:
    found = shares({"a": 700, "b": 300}, {"a": 1300, "b": 600, "c": 100})

    assert found.total_variation == pytest.approx(0.05)
    assert [one["category"] for one in found.top][:2] == ["c", "a"]


def test_psi_is_that_of_the_table_with_half_a_document_more() -> None:
    found = shares({"a": 700, "b": 300}, {"a": 600, "b": 400})
    p, q = 700.5 / 1001, 600.5 / 1001
    expected = (p - q) * math.log(p / q) + (q - p) * math.log((1 - p) / (1 - q))

    assert found.psi == pytest.approx(expected)
    assert population_stability(np.array([p, 1 - p]), np.array([q, 1 - q])) == pytest.approx(expected)


@pytest.mark.parametrize(("size", "limit"), [(1000, 0.0338), (10_000, 0.0034)])
def test_the_noise_of_the_psi_grows_with_one_over_n(size: int, limit: float) -> None:
    """SCIENCE section 6 has the 95 % limits of ten bins; ours are of 99 %."""
    counts = {str(place): size // 10 for place in range(10)}

    assert shares(counts, counts).psi_noise == pytest.approx(limit * 21.67 / 16.92, rel=0.01)


def test_jensen_shannon_is_one_bit_for_groups_that_share_nothing() -> None:
    assert shares({"a": 5000}, {"b": 5000}).jensen_shannon == pytest.approx(1)


def test_cramers_v_is_that_of_the_table_less_its_bias() -> None:
    table = np.array([[700, 300], [600, 400]])
    square = chi2_contingency(table, correction=False).statistic

    assert shares({"a": 700, "b": 300}, {"a": 600, "b": 400}).cramers_v == pytest.approx(cramers_v(square, 2000, 2))
    assert cramers_v(square, 2000, 2) == pytest.approx(math.sqrt(square / 2000), abs=0.005)
    assert cramers_v(0.5, 2000, 2) == 0


def test_chance_is_the_p_value_of_chi_square() -> None:
    table = np.array([[700, 200, 100], [600, 290, 110]])
    found = shares(*(dict(zip("abc", row.tolist(), strict=True)) for row in table))

    assert found.chance == pytest.approx(chi2_contingency(table, correction=False).pvalue)


def test_rare_groups_are_counted_together() -> None:
    found = shares({"a": 1000, **{f"r{n}": 1 for n in range(50)}}, {"a": 1000, **{f"s{n}": 1 for n in range(50)}})

    assert found.total_variation == 0


def test_the_wasserstein_distance_is_in_standard_deviations_of_the_reference() -> None:
    rng = np.random.default_rng(1)
    before, now = rng.normal(0, 2, 20_000), rng.normal(1, 2, 20_000)

    assert numbers(before, now).wasserstein == pytest.approx(wasserstein_distance(before, now) / before.std(), rel=0.01)


def test_edges_are_the_deciles_of_the_reference() -> None:
    ordered = np.arange(1000.0)

    assert bin_counts(ordered, frozen_edges(ordered)).tolist() == [101, *[100] * 8, 99]


def test_a_number_that_many_documents_have_gets_a_bin_of_its_own() -> None:
    before = np.array([0.0] * 600 + [1.0] * 400)
    found = numbers(before, np.array([-1.0] * 600 + [1.0] * 400))

    assert found.total_variation == pytest.approx(0.6)


def test_a_constant_that_moves_is_seen_and_has_no_wasserstein_distance() -> None:
    found = numbers(np.ones(2000), np.zeros(2000))

    assert (found.total_variation, found.wasserstein) == (1, None)


def test_frozen_edges_can_be_used_again() -> None:
    rng = np.random.default_rng(2)
    first = numbers(rng.random(5000), rng.random(5000))
    again = numbers(rng.random(5000) / 2, rng.random(5000) / 2, edges=first.edges)

    assert again.edges == first.edges
    assert again.total_variation < 0.05


def test_the_bins_of_numbers_have_names() -> None:
    found = numbers(np.arange(1000.0), np.full(1000, 2000.0))

    assert found.top[0]["category"] == "above 900"


def test_nothing_is_compared_where_one_side_has_no_document() -> None:
    assert share_drift("a", {"x": 1}, {}) is None
    assert number_drift("a", np.array([1.0]), np.array([])) is None


# --- alerts -----------------------------------------------------------------------------------------------------------


def moved(size: int, share: float) -> Drift:
    """A corpus of two groups, of which a share of documents has changed groups."""
    half = size // 2
    step = round(size * share)
    return shares({"a": half, "b": half}, {"a": half + step, "b": half - step})


@pytest.mark.parametrize(
    ("share", "level"), [(0.009, "none"), (0.011, "info"), (0.049, "info"), (0.051, "warn"), (0.11, "fail")]
)
def test_the_level_is_that_of_the_effect(share: float, level: str) -> None:
    (found,) = judge([moved(1_000_000, share)])
    assert found.level == level


def test_an_effect_that_chance_makes_as_large_is_no_alert() -> None:
    (found,) = judge([moved(2000, 0.02)])
    assert (found.level, found.reason) == ("none", "chance makes it as large")


def test_few_documents_are_no_alert() -> None:
    (found,) = judge([moved(LEAST - 2, 0.4)])
    assert (found.level, found.reason) == ("none", "fewer than 1,000 documents")


def test_many_signals_need_more_than_one() -> None:
    borderline = moved(20_000, 0.0145)
    assert borderline.total_variation > borderline.noise
    assert 0.001 < borderline.chance < 0.005
    assert judge([borderline])[0].level == "info"
    assert judge([borderline, *[moved(20_000, 0)] * 30])[0].level == "none"


# --- simulations: benchmarks/drift.py has them in full ----------------------------------------------------------------

GROUPS = np.array([1 / rank for rank in range(1, 21)]) / sum(1 / rank for rank in range(1, 21))
LABELS = np.array([0.7, 0.2, 0.05, 0.04, 0.01])


def corpus(rng: np.random.Generator, size: int, groups: np.ndarray = GROUPS) -> tuple[dict[str, int], ...]:
    """The counts of two label columns of a random corpus."""
    return tuple(
        {str(place): count for place, count in enumerate(rng.multinomial(size, part).tolist())}
        for part in (groups, LABELS)
    )


@pytest.mark.parametrize("size", [1000, 10_000, 1_000_000])
def test_at_most_one_in_a_hundred_samples_of_one_population_is_an_alert(size: int) -> None:
    rng = np.random.default_rng(size)
    alerts = 0
    for _ in range(200):
        before, now = corpus(rng, size), corpus(rng, size)
        drifts = [shares(one, other) for one, other in zip(before, now, strict=True)]
        scores = [rng.beta(2, 5, 1000), rng.beta(2, 5, 1000)]
        alerts += any(drift.level != "none" for drift in judge([*drifts, numbers(*scores)]))
    assert alerts <= 2


def test_a_planted_change_of_two_percent_is_seen_in_a_hundred_thousand_documents() -> None:
    rng = np.random.default_rng(3)
    other = GROUPS.copy()
    other[:4] += 0.02 / 4
    other[4:] -= 0.02 * other[4:] / other[4:].sum()
    seen = 0
    for _ in range(100):
        before, now = corpus(rng, 100_000), corpus(rng, 100_000, other)
        seen += judge([shares(one, two) for one, two in zip(before, now, strict=True)])[0].level != "none"
    assert seen == 100
