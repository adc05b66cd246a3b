"""The cascade's band: order statistics, simulation, and `curate models calibrate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.stats import beta
from stand_in_screen import install
from tiny_models import make_checkpoint

from curate import cascade
from curate.calibrate import calibrate_command
from curate.cascade import Band, calibrate, in_band, lower_limit, order_statistic, positives_needed, upper_limit
from curate.cli import app
from curate.errors import UsageError
from curate.filters import Toxicity

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def population(size: int, seed: int = 0) -> tuple[Floats, Flags]:
    """Screen scores and verdicts of a stand-in slow model: 3 % toxic, scores that overlap."""
    random = np.random.default_rng(seed)
    toxic = random.random(size) < 0.03
    return np.where(toxic, random.beta(4, 2, size), random.beta(1, 8, size)), toxic


# --- the lower limit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("miss", "needed"), [(0.10, 29), (0.05, 59), (0.02, 149), (0.01, 299)])
def test_how_many_positives_a_bound_needs(miss: float, needed: int) -> None:
    assert positives_needed(miss, 0.95) == needed
    assert order_statistic(needed, miss, 0.95) == 1
    assert order_statistic(needed - 1, miss, 0.95) == 0


def test_the_order_statistic_is_the_largest_that_holds_the_bound() -> None:
    assert order_statistic(400, 0.02, 0.95) == 4


@pytest.mark.parametrize("positives", [149, 150, 400, 1_000, 20_000])
@pytest.mark.parametrize("miss", [0.01, 0.02, 0.1])
def test_the_order_statistic_agrees_with_the_beta_distribution(positives: int, miss: float) -> None:
    """The share below the k-th of n is Beta(k, n - k + 1): its quantile must be at most the bound, the next's not."""
    k = order_statistic(positives, miss, 0.95)

    assert k == 0 or beta.ppf(0.95, k, positives - k + 1) <= miss
    assert beta.ppf(0.95, k + 1, positives - k) > miss


def test_too_few_positives_give_no_limit() -> None:
    assert lower_limit(np.linspace(0.1, 1, 148), 0.02, 0.95) is None
    assert lower_limit(np.zeros(0), 0.02, 0.95) is None


def test_texts_with_the_limits_own_score_are_asked_about() -> None:
    scores = np.repeat([0.2, 0.9], [10, 390])

    limit = lower_limit(scores, 0.02, 0.95)

    assert limit == 0.2
    assert in_band(scores, Band(ask_above=limit)).all()


def test_over_a_thousand_splits_the_bound_is_broken_as_often_as_it_says() -> None:
    """1,000 calibration samples of a large population; the miss is that of the positives that were left out."""
    scores, toxic = population(1_000_000)
    positives = np.sort(scores[toxic])
    random = np.random.default_rng(1)
    broken = 0
    for _ in range(1_000):
        own = random.choice(len(positives), 400, replace=False)
        limit = lower_limit(positives[own], 0.02, 0.95)
        missed = np.searchsorted(positives, limit) - (positives[own] < limit).sum()
        broken += missed / (len(positives) - 400) > 0.02

    assert broken <= 50 + 3 * np.sqrt(1_000 * 0.05 * 0.95)  # 5 % with three standard deviations of 1,000 draws
    assert broken >= 20  # a bound that is never broken would ask about far too many: 4.6 % in theory


# --- the upper limit --------------------------------------------------------------------------------------------------


def test_over_splits_the_upper_limit_is_wrong_as_seldom_as_it_says() -> None:
    scores, toxic = population(400_000, seed=2)
    random = np.random.default_rng(3)
    broken = given = 0
    for _ in range(200):
        own = random.choice(len(scores), 20_000, replace=False)
        limit = upper_limit(scores[own], toxic[own], 0.05, 0.95)
        if limit is not None:
            given += 1
            broken += 1 - toxic[scores >= limit].mean() > 0.05

    assert given >= 100
    assert broken <= 10 + 3 * np.sqrt(200 * 0.05 * 0.95)


def test_no_score_is_sure_enough_where_the_highest_are_not_toxic() -> None:
    scores = np.linspace(0, 1, 1_000)

    assert upper_limit(scores, scores < 0.5, 0.05, 0.95) is None
    assert upper_limit(np.zeros(0), np.zeros(0, bool), 0.05, 0.95) is None


def test_a_screen_that_is_never_wrong_may_decide_alone() -> None:
    scores = np.linspace(0, 1, 1_000)

    assert upper_limit(scores, scores >= 0.5, 0.05, 0.95) == pytest.approx(0.5, abs=0.02)


# --- a calibration ----------------------------------------------------------------------------------------------------


def test_a_calibration_says_what_it_found_and_what_it_costs() -> None:
    scores, toxic = population(40_000)

    found = calibrate(scores[:20_000], toxic[:20_000], population=scores, marks=("a", "b"))

    assert found.band.ask_above is not None
    assert (found.band.screen, found.band.model, found.band.drop_above) == ("a", "b", None)
    assert found.positives == toxic[:20_000].sum()
    assert found.needed == 149
    assert found.asked == (scores >= found.band.ask_above).mean()
    assert found.floor == pytest.approx(found.positives / 20_000 * 0.98)
    assert (scores[toxic] < found.band.ask_above).mean() <= 0.02
    assert found.floor < found.asked < 0.25


def test_without_enough_positives_everything_is_asked_about() -> None:
    scores, toxic = population(1_000)

    found = calibrate(scores, toxic)

    assert found.band == Band()
    assert found.asked == 1
    assert in_band(scores, found.band).all()


def test_a_limit_is_rounded_to_the_side_that_asks_more() -> None:
    scores, toxic = population(40_000)
    exact = lower_limit(scores[toxic], 0.02, 0.95)

    band = calibrate(scores, toxic, wrong=0.2).band

    assert exact is not None
    assert band.ask_above is not None
    assert band.drop_above is not None
    assert exact - 1e-6 <= band.ask_above <= exact
    assert band.ask_above < band.drop_above <= 1


def test_groups_have_bounds_of_their_own() -> None:
    scores = np.concatenate([np.linspace(0.5, 1, 900), np.linspace(0.1, 1, 100), [0.3]])
    toxic = np.arange(1_001) < 1_000
    groups = ["most"] * 900 + ["few"] * 100 + ["none"]

    most, few, none = calibrate(scores, toxic, groups=groups).groups

    assert (most.group, most.positives, most.missed) == ("most", 900, 0)
    assert most.at_most == pytest.approx(1 - 0.05 ** (1 / 900))  # none of 900
    assert (few.group, few.positives) == ("few", 100)
    assert few.missed is not None
    assert few.at_most is not None
    assert 0.05 < few.missed < few.at_most < 0.25
    assert (none.missed, none.at_most) == (None, None)


def test_an_empty_sample_has_no_band() -> None:
    assert calibrate(np.zeros(0), np.zeros(0, bool)).band == Band()


def test_a_bands_repr_can_be_typed_in() -> None:
    assert repr(Band(ask_above=0.25, model="ab")) == "{'ask_above': 0.25, 'model': 'ab'}"


def test_a_band_outside_scores_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Band(ask_above=1.5)


# --- the command ------------------------------------------------------------------------------------------------------

GOOD = "We met at the river and talked about the weather."


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus in which 1 of 5 documents has a word that the stand-in model calls toxic, and a pipeline over it."""
    install(monkeypatch)
    make_checkpoint("unbiased", tmp_path / "model")
    monkeypatch.setattr(Toxicity, "model_scores", lambda filter, texts: worse(texts))
    texts = [f"{GOOD} bad bad worse {n}" if n % 5 == 0 else f"{GOOD} {'bad' * (n % 2)} {n}" for n in range(1_000)]
    ids = [f"d{n}" for n in range(1_000)]
    lang = ["en" if n % 10 else "de" for n in range(1_000)]
    pl.DataFrame({"id": ids, "text": texts, "lang": lang}).write_parquet(tmp_path / "corpus.parquet")
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        "input: {paths: [corpus.parquet]}\nsteps:\n  - where: {drop_if: \"id = 'd3'\"}\n"
        "  - toxicity: {model: model, min_window_chars: 250}\n"
    )
    return file


def worse(texts: pl.Series) -> Floats:
    return texts.str.contains("worse").cast(pl.Float64).to_numpy()


def test_calibrate_prints_a_band_that_can_be_pasted(pipeline: Path) -> None:
    found = calibrate_command(str(pipeline))

    assert found["documents"] == found["windows_in_sample"] == found["windows"] == 999
    assert found["positives"] == found["documents_with_positives"] == 200
    assert 0 < found["band"]["ask_above"] <= 2 / 14
    assert found["floor"] == pytest.approx(0.98 * 200 / 999)
    assert found["floor"] < found["asked"] < 0.5
    text = pipeline.read_text().replace("{model: model,", f"{{model: model, {found['paste']},")
    pasted = pipeline.with_name("pasted.yaml")
    pasted.write_text(text)
    from curate.pipeline import Pipeline

    filter: Any = Pipeline.load(pasted).steps[1].filter
    assert filter.band.ask_above == found["band"]["ask_above"]
    assert filter.void_reasons() == []


def test_calibrate_asks_about_as_many_windows_as_it_may(pipeline: Path) -> None:
    found = calibrate_command(str(pipeline), windows=300)

    assert found["windows"] == 300
    assert found["windows_in_sample"] == 999
    assert found["paste"] is None


def test_calibrate_says_what_is_lacking(pipeline: Path) -> None:
    done = CliRunner().invoke(app, ["models", "calibrate", str(pipeline), "--windows", "300"], standalone_mode=False)

    assert done.return_value == 1
    assert "no band: at least 149 toxic windows are needed" in done.output


def test_the_guarantee_is_worded_as_what_it_is(pipeline: Path) -> None:
    done = CliRunner().invoke(app, ["models", "calibrate", str(pipeline), "--wrong", "0.05"], standalone_mode=False)

    assert done.return_value == 0
    assert "fidelity to the slow model on text like the calibration sample, not truth" in done.output
    assert "void when a model" in done.output
    assert "with 95% confidence at most 2.0% of the windows" in done.output
    assert "river" not in done.output


def test_calibrate_gives_json(pipeline: Path) -> None:
    done = CliRunner().invoke(app, ["models", "calibrate", str(pipeline), "--json"], standalone_mode=False)

    found = json.loads(done.output)
    assert found["needed"] == 149
    assert found["promise"] == cascade.PROMISE


def test_calibrate_reads_only_languages_that_are_judged(pipeline: Path) -> None:
    found = calibrate_command(str(pipeline), ["steps.toxicity.language_column=lang"])

    assert found["documents"] == 999
    assert found["windows_in_sample"] == 899


def test_calibrate_says_what_is_missed_in_each_group(pipeline: Path) -> None:
    done = CliRunner().invoke(app, ["models", "calibrate", str(pipeline), "--by", "lang"], standalone_mode=False)

    assert "de: 100 toxic windows, 0.0% of them below, with 95% confidence at most 3.0%" in done.output
    assert "en: 100 toxic windows" in done.output


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("- toxicity", "no screen and model"),
        ("- length", "the pipeline has: none"),
        ("- toxicity: {model: model}\n  - toxicity: {model: model}\n    as: again", "has: toxicity, again"),
    ],
)
def test_a_pipeline_that_cannot_be_calibrated_is_refused(pipeline: Path, steps: str, problem: str) -> None:
    pipeline.write_text(f"input: {{paths: [corpus.parquet]}}\nsteps:\n  {steps}\n")

    with pytest.raises(UsageError, match=problem):
        calibrate_command(str(pipeline))


def test_a_bound_that_is_no_share_is_refused(pipeline: Path) -> None:
    with pytest.raises(UsageError, match="--miss is 2"):
        calibrate_command(str(pipeline), miss=2)
