"""Logistic regression without an intercept, by Newton's method, and its predictions for what it was not fitted on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.stats import Numbers

RIDGE = 1.0  # of features scaled to a mean square of 1: keeps weights finite where a feature separates the labels
STEPS = 50
CLOSE = 1e-8


def fit(features: Numbers, positive: NDArray[np.bool_], ridge: float = RIDGE, counts: Numbers | None = None) -> Numbers:
    """The weights of the features that make the labels most likely, less the ridge times half their squares.

    `counts` says how often each row was seen, once without it. Without an intercept a pair turned round has the
    opposite prediction. Newton's method with halved steps where a whole one goes too far.
    """
    signs = np.where(positive, 1.0, -1.0)
    often = np.ones(len(features)) if counts is None else counts
    weights = np.zeros(features.shape[1])

    def loss(at: Numbers) -> float:
        return float((often * np.logaddexp(0, -signs * (features @ at))).sum() + ridge * (at @ at) / 2)

    current = loss(weights)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(features @ weights, -500, 500)))
        gradient = features.T @ (often * (chance - positive)) + ridge * weights
        curve = (features * (often * chance * (1 - chance))[:, None]).T @ features + ridge * np.eye(len(weights))
        step = np.linalg.solve(curve, gradient)
        while loss(weights - step) > current and np.abs(step).max() > CLOSE:
            step = step / 2
        weights = weights - step
        current = loss(weights)
        if np.abs(step).max(initial=0) < CLOSE:
            break
    return weights


def held_out(features: Numbers, positive: NDArray[np.bool_], folds: NDArray[np.int64]) -> Numbers:
    """What the fit to all other folds says of each row (log odds); NaN where these are empty.

    Features are divided by their root mean square in the folds fitted on, one that does not vary counts for nothing.
    """
    said = np.full(len(features), np.nan)
    for fold in np.unique(folds):
        own = folds == fold
        if own.all():
            continue
        scale = np.sqrt((features[~own] ** 2).mean(0))
        scale = np.where(scale > 0, scale, np.inf)
        said[own] = features[own] / scale @ fit(features[~own] / scale, positive[~own])
    return said
