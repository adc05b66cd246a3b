"""The statistics of the audit: golden figures, known formulas, and simulations with a fixed seed."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.sparse import csr_matrix

from curate import stats

DIALECT = (9927, 13610, 3180, 7102)  # removed and documents of two groups of tweets: SCIENCE 2.2


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    return importlib.import_module("audit")


def ends(found: stats.Interval) -> list[float]:
    return [round(float(part), 4) for part in found]


def test_the_difference_of_two_rates_has_newcombes_interval() -> None:
    assert ends(stats.newcombe(*DIALECT)) == [0.2816, 0.2678, 0.2953]


def test_the_ratio_of_two_rates_has_katzs_interval() -> None:
    assert ends(stats.katz(*DIALECT)) == [1.6290, 1.5843, 1.6749]


def test_half_a_document_is_added_where_none_was_removed() -> None:
    found = stats.katz(0, 100, 10, 100)
    assert float(found.value) == 0
    assert 0 < float(found.low) < float(found.high) < 1


def test_wilson_matches_the_textbook() -> None:
    low, high = stats.wilson_ends(10, 100)  # Wilson 1927: 0.0552 to 0.1744
    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)
    assert stats.wilson_ends(0, 50)[0] == 0


def test_wilson_is_within_0_and_1_and_like_scipys() -> None:
    for hits, trials in ((0, 10), (3, 10), (10, 10)):
        theirs = scipy_stats.binomtest(hits, trials).proportion_ci(method="wilson")
        assert ends(stats.wilson(hits, trials))[1:] == [round(theirs.low, 4), round(theirs.high, 4)]


def test_no_documents_give_no_rate() -> None:
    assert all(np.isnan(part) for part in stats.wilson(0, 0))
    assert np.isnan(stats.katz(0, 0, 1, 10).value)


def test_the_score_test_is_the_chi_square_test_without_correction() -> None:
    removed, documents, other_removed, other_documents = 30, 200, 45, 600
    table = [[removed, documents - removed], [other_removed, other_documents - other_removed]]
    theirs = scipy_stats.chi2_contingency(table, correction=False).pvalue
    assert float(stats.score_test(30, 200, 45, 600)) == pytest.approx(theirs)


def test_where_nothing_is_removed_from_anyone_p_is_1() -> None:
    assert float(stats.score_test(0, 50, 0, 80)) == 1


def test_benjamini_hochberg_is_as_scipys_and_leaves_nan_alone() -> None:
    p = np.array([0.001, 0.2, 0.03, 0.04, 0.9])
    theirs = scipy_stats.false_discovery_control(p)
    found = stats.benjamini_hochberg(np.insert(p, 2, np.nan))
    assert np.isnan(found[2])
    assert np.delete(found, 2) == pytest.approx(theirs)


def test_mantel_haenszel_is_the_ratio_within_strata() -> None:
    # Rothman's rule: sum(a n0 / N) / sum(b n1 / N); within each stratum the ratio is 2, over all 1.6
    removed, documents, other_removed, other_documents = [20, 40], [100, 100], [10, 200], [100, 1000]
    found = stats.mantel_haenszel(removed, documents, other_removed, other_documents)
    assert float(found.value) == pytest.approx(2)
    assert 1 < float(found.low) < 2 < float(found.high)


def test_greenland_and_robins_interval_of_one_stratum_is_katzs() -> None:
    found = stats.mantel_haenszel([30], [200], [45], [600])
    assert ends(found) == ends(stats.katz(30, 200, 45, 600))


def test_a_stratum_without_one_side_counts_for_nothing() -> None:
    with_it = stats.mantel_haenszel([30, 5], [200, 9], [45, 0], [600, 0])
    assert ends(with_it) == ends(stats.katz(30, 200, 45, 600))


@pytest.mark.parametrize(
    ("crude", "adjusted", "warned"),
    [
        ((1.6, 1.5, 1.7), (1.04, 1.02, 1.06), True),  # far apart
        ((1.05, 1.02, 1.08), (0.97, 0.94, 0.99), True),  # the opposite
        ((1.01, 0.9, 1.1), (0.99, 0.9, 1.1), False),  # the opposite, within chance
        ((1.6, 1.5, 1.7), (1.55, 1.4, 1.7), False),
    ],
)
def test_simpson_warns_when_strata_tell_another_story(
    crude: tuple[float, ...], adjusted: tuple[float, ...], warned: bool
) -> None:
    assert bool(stats.simpson(*crude, stats.Interval(*map(np.array, adjusted)))) is warned


def test_the_power_table_of_the_specification() -> None:
    bases = [0.01, 0.02, 0.05, 0.1, 0.2, 0.4]
    assert stats.documents_needed(1.25, bases).tolist() == [27_937, 13_809, 5_333, 2_507, 1_094, 388]


def test_the_smallest_detectable_ratio_is_the_inverse_of_the_power_table() -> None:
    found = stats.detectable_ratio([2_507, 388], [2_507, 388], [0.1, 0.4])
    assert found == pytest.approx([1.25, 1.25], abs=1e-3)


def test_too_few_documents_detect_no_ratio_at_all() -> None:
    assert np.isnan(stats.detectable_ratio(3, 1000, 0.6))
    assert np.isnan(stats.detectable_ratio(1000, 1000, 0.0))


def test_bootstrap_weights_depend_on_the_cluster_not_on_its_place() -> None:
    keys = np.arange(2_000, dtype=np.uint64)
    weights = stats.poisson_weights(keys, range(20))
    assert (stats.poisson_weights(keys[::-1], range(20))[::-1] == weights).all()
    assert (stats.poisson_weights(keys, [7])[:, 0] == weights[:, 7]).all()
    assert weights.mean() == pytest.approx(1, abs=0.02)
    assert weights.var() == pytest.approx(1, abs=0.05)


def test_counts_by_step_become_removed_and_at_risk() -> None:
    removed, at_risk = stats.by_step([[5, 0, 10, 85]])
    assert removed.tolist() == [[5, 0, 10, 15]]
    assert at_risk.tolist() == [[100, 95, 95, 100]]


def test_standard_errors_by_cluster_are_the_plain_ones_when_each_document_is_a_cluster() -> None:
    draw = np.random.default_rng(1)
    group, gone = draw.random(4_000) < 0.5, draw.random(4_000) < 0.1
    cells = csr_matrix(np.stack([group & gone, group & ~gone], 1).astype(float))
    everyone = csr_matrix(np.stack([gone, ~gone], 1).astype(float))
    keys = stats.mix(np.arange(4_000, dtype=np.uint64))
    errors = stats.cluster_errors(keys, cells, everyone, (1, 2))
    rate = gone[group].mean()
    assert errors.rate[0, 0] == pytest.approx(np.sqrt(rate * (1 - rate) / group.sum()), rel=0.1)
    assert errors.clusters[0, 0] == min(group.sum(), (~group).sum())


def test_words_of_the_first_text_are_above_0_and_common_ones_near_it() -> None:
    z = stats.log_odds([50, 1, 100], [2, 50, 100], [5.0, 5.0, 20.0])
    assert z[0] > 2
    assert z[1] < -2
    assert abs(z[2]) < 1


def test_auc_counts_ties_half_and_has_delongs_interval() -> None:
    positive, negative = [0.9, 0.5, 0.4], [0.5, 0.1]
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    found = stats.auc(positive, negative)
    assert float(found.value) == pytest.approx(np.mean(pairs))
    assert float(found.low) < float(found.value) <= float(found.high) <= 1
    assert np.isnan(stats.auc([], [1.0]).value)


def test_delongs_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(3)
    truth = scipy_stats.norm.cdf(1 / np.sqrt(2))
    found = [stats.auc(draw.normal(1, 1, 80), draw.normal(0, 1, 120)) for _ in range(600)]
    assert np.mean([part.low <= truth <= part.high for part in found]) >= 0.93


def test_bpsn_is_low_where_harmless_texts_of_a_group_score_high() -> None:
    score = [0.9, 0.8, 0.7, 0.1, 0.6, 0.2]
    positive = [0, 0, 1, 0, 1, 1]
    inside = [True, True, False, False, False, True]
    found = stats.group_aucs(score, positive, inside)
    assert float(found["bpsn"].value) == 0
    assert float(found["bnsp"].value) == 1
    assert float(found["subgroup"].value) == 0


def test_the_power_mean_leans_to_the_lowest() -> None:
    assert stats.power_mean([0.5, 1.0]) == pytest.approx(((0.5**-5 + 1) / 2) ** (-1 / 5))
    assert stats.power_mean([0.8, np.nan]) == pytest.approx(0.8)
    assert stats.power_mean([0.0, 0.9]) == 0


def test_the_bias_metric_is_a_quarter_overall_and_three_quarters_power_means() -> None:
    assert stats.bias_metric(0.9, {"subgroup": [0.8], "bpsn": [0.7], "bnsp": [0.6]}) == pytest.approx(0.75)


def test_rate_differences_add_up() -> None:
    assert stats.rate_differences(0.1, [0.1, 0.3, 0.05]) == pytest.approx(0.25)


def test_a_calibrated_score_has_no_calibration_error() -> None:
    assert stats.calibration_error([0.25] * 4, [1, 0, 0, 0]) == pytest.approx(0)
    assert stats.calibration_error([1.0] * 4, [1, 0, 0, 0]) == pytest.approx(0.75)


def test_the_score_gap_is_mann_whitneys() -> None:
    own, others = [3.0, 4.0, 4.0], [1.0, 2.0, 4.0, 5.0]
    ranks = scipy_stats.rankdata([*own, *others])[:3].sum()
    theirs = scipy_stats.mannwhitneyu(own, others).statistic / 12 - 0.5
    assert float(stats.mann_whitney_gap(ranks, 3, 4)) == pytest.approx(theirs)


# --- simulations; the full ones are benchmarks/audit.py ---------------------------------------------------------------


def test_intervals_hold_the_truth_in_94_of_100_corpora(benchmark: ModuleType) -> None:
    rows = benchmark.coverage(20_000)
    assert min(row[name] for row in rows for name in ("wilson", "newcombe", "removal", "keep")) >= 0.94


def test_intervals_by_cluster_hold_the_truth_where_plain_ones_do_not(benchmark: ModuleType) -> None:
    rows = benchmark.clusters(500, sizes=(100,), icc=(0.1,))
    assert max(row["removal_as_if_independent"] for row in rows) < 0.8
    assert min(row[name] for row in rows for name in ("rate", "removal", "keep", "difference")) >= 0.94


def test_groups_drawn_by_lot_are_flagged_in_at_most_5_of_100_audits(benchmark: ModuleType) -> None:
    assert benchmark.discoveries(100, seed=5)["any_flag"] <= 0.05


def test_a_planted_ratio_of_1_5_is_flagged_in_90_of_100_audits(benchmark: ModuleType) -> None:
    found = benchmark.power(40)
    assert found["planted_flagged"] >= 0.9
    assert found["another_flagged"] <= 0.05
