"""A cheap screen before a slow model: which texts the slow model need not see, with a bound on what that misses.

The screen gives each text a score; texts below `ask_above` are taken as not toxic without asking the slow model. The
limit comes from the Neyman-Pearson order statistic: with n texts that the slow model calls toxic, drawn at random,
the k-th lowest of their screen scores bounds the share of such texts below it, where k is read off a binomial tail
(Tong, Feng and Li 2018, Science Advances 4, the umbrella algorithm). It is a statement about the slow model on text
like the calibration sample: fidelity to the slow model, not truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DIGITS = 10**6  # of a limit's precision, so that it can be pasted
MARK_LENGTH = 12  # hexadecimal digits of a model's mark in a band
PROMISE = "fidelity to the slow model on text like the calibration sample, not truth"


class Band(BaseModel, frozen=True, extra="forbid"):
    """Between which screen scores the slow model is asked, and for which models that was calibrated."""

    ask_above: float | None = Field(
        default=None, ge=0, le=1, description="windows with a lower screen score are not asked about; null asks all"
    )
    drop_above: float | None = Field(
        default=None, ge=0, le=1, description="from this screen score on a window is toxic unasked; null asks all"
    )
    screen: str | None = Field(default=None, description="mark of the screen that the band was calibrated with")
    model: str | None = Field(default=None, description="mark of the slow model that the band was calibrated with")

    def __repr__(self) -> str:
        return repr(self.model_dump(exclude_none=True))  # as it is typed in: a filter's repr makes the same filter


# --- the lower limit --------------------------------------------------------------------------------------------------


def positives_needed(miss: float, confidence: float) -> int:
    """How many toxic texts a calibration needs before any text may go unasked."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-miss))


def order_statistic(positives: int, miss: float, confidence: float) -> int:
    """Which of the sorted scores of toxic texts is the limit: the highest k that holds the bound, 0 if none does."""
    from scipy.stats import binom

    k = int(binom.ppf(1 - confidence, positives, miss)) + 1  # near it; what counts is the tail below
    while k > 0 and binom.cdf(k - 1, positives, miss) > 1 - confidence:
        k -= 1
    return k


def lower_limit(toxic_scores: Floats, miss: float, confidence: float) -> float | None:
    """The screen score below which no text need be asked about, None where the toxic texts are too few.

    Of all toxic texts at most the share `miss` has a lower score, unless the calibration sample was one of those, at
    most 1 - `confidence` of all, that mislead.
    """
    k = order_statistic(len(toxic_scores), miss, confidence)
    return None if k == 0 else float(np.sort(toxic_scores)[k - 1])


# --- the upper limit --------------------------------------------------------------------------------------------------


def upper_limit(scores: Floats, toxic: Flags, wrong: float, confidence: float, steps: int = 50) -> float | None:
    """The screen score from which a text counts as toxic unasked, None when no score is sure enough.

    Of texts at or above it at most the share `wrong` is not toxic to the slow model. Limits are tried from the highest
    downward on quantiles of the scores, and the first that fails ends the search (fixed-sequence testing: Angelopoulos
    et al. 2021, arXiv 2110.01052), so that trying many costs no confidence.
    """
    from scipy.stats import binom

    if len(scores) == 0:
        return None
    needed = positives_needed(wrong, confidence)  # fewer texts above a limit can never pass
    order = np.sort(scores)[::-1]
    counts = np.unique(np.linspace(min(needed, len(order)), len(order), steps).astype(int))
    found = None
    for limit in order[counts - 1]:
        above = scores >= limit
        if binom.cdf(int((above & ~toxic).sum()), int(above.sum()), wrong) > 1 - confidence:
            break
        found = float(limit)
    return found


# --- calibration ------------------------------------------------------------------------------------------------------


class Group(NamedTuple):
    """What a band does to the windows of one group: the bound of the whole does not hold for each group by itself."""

    group: str
    positives: int  # toxic to the slow model
    missed: float | None  # share of them below the band, in the calibration sample
    at_most: float | None  # upper bound on that share in all windows like these (Clopper and Pearson 1934)


class Calibration(NamedTuple):
    """What a calibration sample says: the band, its bounds, and what it costs."""

    band: Band
    miss: float
    confidence: float
    windows: int  # scored by both models
    positives: int  # toxic to the slow model
    needed: int  # positives without which no window goes unasked
    asked: float  # expected share of windows that the slow model sees
    floor: float  # the least share that any screen needs to keep the same bound
    groups: tuple[Group, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        groups = [group._asdict() for group in self.groups]
        band = self.band.model_dump(exclude_none=True)
        return {**self._asdict(), "band": band, "groups": groups, "promise": PROMISE}


def calibrate(
    screen_scores: Floats,
    toxic: Flags,
    *,
    miss: float = 0.02,
    confidence: float = 0.95,
    wrong: float | None = None,
    population: Floats | None = None,
    marks: tuple[str, str] | None = None,
    groups: Sequence[str] | None = None,
) -> Calibration:
    """The band for windows drawn at random, of which the screen's scores and the slow model's verdicts are given.

    `wrong` asks for an upper limit too: without it nothing is toxic unasked. `population` are the screen's scores of
    all windows, to say how many will be asked about; `marks` name the models in the band; `groups` names the group of
    each window, to say what the band misses in each.
    """
    limit = lower_limit(screen_scores[toxic], miss, confidence)
    limit = None if limit is None else math.floor(limit * DIGITS) / DIGITS  # rounded to the side that asks more
    upper = None if wrong is None else upper_limit(screen_scores, toxic, wrong, confidence)
    upper = None if upper is None else min(1.0, math.ceil(max(upper, limit or 0.0) * DIGITS) / DIGITS)
    everything = screen_scores if population is None else population
    inside = np.ones(len(everything), bool) if limit is None else everything >= limit
    if upper is not None:
        inside &= everything < upper
    prevalence = float(toxic.mean()) if len(toxic) else 0.0
    screen_mark, model_mark = marks or (None, None)
    return Calibration(
        band=Band(ask_above=limit, drop_above=upper, screen=screen_mark, model=model_mark),
        miss=miss,
        confidence=confidence,
        windows=len(toxic),
        positives=int(toxic.sum()),
        needed=positives_needed(miss, confidence),
        asked=float(inside.mean()) if len(everything) else 0.0,
        floor=prevalence * (1 - miss) if upper is None else 0.0,
        groups=() if groups is None else by_group(screen_scores, toxic, groups, limit, confidence),
    )


def by_group(
    scores: Floats, toxic: Flags, groups: Sequence[str], limit: float | None, confidence: float
) -> tuple[Group, ...]:
    """What lies below the limit of the toxic windows of each group, groups with most of them first."""
    from scipy.stats import beta

    found = []
    names = np.asarray(groups, dtype=object)
    for name in dict.fromkeys(groups):
        own = scores[toxic & (names == name)]
        missed = 0 if limit is None else int((own < limit).sum())
        bound = 1.0 if missed >= len(own) else float(beta.ppf(confidence, missed + 1, len(own) - missed))
        found.append(Group(name, len(own), missed / len(own) if len(own) else None, bound if len(own) else None))
    return tuple(sorted(found, key=lambda group: (-group.positives, group.group)))


def in_band(scores: Floats, band: Band) -> Flags:
    """Which windows the slow model is asked about."""
    asked = np.ones(len(scores), bool) if band.ask_above is None else scores >= band.ask_above
    if band.drop_above is not None:
        asked &= scores < band.drop_above
    return asked


def mark(*parts: object) -> str:
    """A short mark of whatever decides a model's scores: digests of its files, its options."""
    import hashlib

    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:MARK_LENGTH]


def void_reasons(band: Band, screen: str, model: str) -> Sequence[str]:
    """Why a band's bound does not hold any more, empty while it does."""
    found = []
    for name, calibrated, now in (("screen", band.screen, screen), ("model", band.model, model)):
        if calibrated is None:
            found.append(f"the band does not say for which {name} it was calibrated")
        elif calibrated != now:
            found.append(f"the {name} has changed since the band was calibrated ({calibrated} -> {now})")
    return found
