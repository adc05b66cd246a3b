"""Whether a scorer answers to who is spoken of rather than to what is said: sentences that differ in one identity term.

Source: the counterfactual token check of Garg et al. 2019, arXiv 1809.10610, over terms as in Dixon et al. 2018 (AIES).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from curate.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

Scorer = Callable[["pl.Series"], Any]  # a string column in, one finite number per text out

SLOT, CAPITAL_SLOT = "{term}", "{Term}"


@dataclass(frozen=True)
class SwapReport:
    """What a scorer did with sentences that differ only in an identity term.

    `terms` has one row per term, the most often flagged first: `axis`, `term`, `sentences` (benign ones),
    `mean_score`, `flagged` and `flag_rate` of the benign sentences with its 95 % Wilson interval (`low`, `high`),
    `largest_gap` (the largest distance of a benign sentence's score from that sentence's median over all terms, with
    its sign) and `hostile_flag_rate`. `sentences` has one row per benign sentence, the largest spread first:
    `template`, `lowest`, `highest`, `spread` and the terms at both ends.
    """

    threshold: float
    hostile_flagged: float  # share of all hostile sentences that score at or above the threshold
    benign_flagged: float  # the same of all benign sentences
    mean_swap: float  # mean distance of a benign sentence's score from that sentence's median over all terms
    terms: pl.DataFrame
    sentences: pl.DataFrame

    @property
    def worst(self) -> dict[str, Any]:
        """The row of the term whose benign sentences are flagged most often."""
        return self.terms.row(0, named=True)

    def __str__(self) -> str:
        worst, widest = self.worst, self.sentences.row(0, named=True)
        return (
            f"at threshold {self.threshold:.3g}, which flags {self.hostile_flagged:.1%} of hostile sentences:\n"
            f"benign sentences flagged: {self.benign_flagged:.1%} over all {len(self.terms)} terms, "
            f"{worst['flag_rate']:.1%} for the worst, {worst['term']!r}\n"
            f"mean change of a score when terms are swapped: {self.mean_swap:.3f}; largest spread "
            f"{widest['spread']:.3f}, from {widest['lowest_term']!r} to {widest['highest_term']!r}"
        )


def swap_check(
    scorer: Scorer,
    *,
    threshold: float | None = None,
    flag_hostile: float = 0.5,
    terms: Mapping[str, Sequence[str]] | None = None,
    benign: Sequence[str] | None = None,
    hostile: Sequence[str] | None = None,
) -> SwapReport:
    """Score sentences filled with identity terms, and report by term how often benign ones are flagged.

    `scorer` takes a polars string column and returns one number per text, higher for more toxic; all sentences are
    given in one call. A sentence is flagged when its score is at or above `threshold`; without one, the threshold is
    the highest that flags at least the share `flag_hostile` of the hostile sentences. `terms` (by axis), `benign` and
    `hostile` replace the bundled ones; each sentence holds the slot `{term}`, or `{Term}` for a capital letter.
    Terms and sentences are English and short; a scorer that does well on them can still be biased on other text.
    """
    import numpy as np
    import polars as pl

    given = bundled()
    chosen = dict(given.terms if terms is None else terms)
    pairs = [(axis, term) for axis, own in chosen.items() for term in own]
    good = _templates("benign", given.benign if benign is None else benign)
    bad = _templates("hostile", given.hostile if hostile is None else hostile)
    if not pairs:
        raise UsageError("swap_check has no terms to swap", hint='give terms={"axis": ["term", "another term"]}')
    if not 0 < flag_hostile <= 1:
        raise UsageError(f"flag_hostile is a share above 0 and at most 1, not {flag_hostile!r}")
    texts = pl.Series("text", [fill(template, term) for _, term in pairs for template in (*good, *bad)])
    scores = _scores(scorer, texts).reshape(len(pairs), len(good) + len(bad))
    on_good, on_bad = scores[:, : len(good)], scores[:, len(good) :]
    if threshold is None:
        ranked = np.sort(on_bad, axis=None)[::-1]
        threshold = float(ranked[math.ceil(flag_hostile * len(ranked)) - 1])
    return _report(pairs, good, on_good, on_bad, float(threshold))


@dataclass(frozen=True)
class Sentences:
    """Identity terms by axis, and the sentences they are filled into."""

    terms: dict[str, tuple[str, ...]]
    benign: tuple[str, ...]
    hostile: tuple[str, ...]


@cache
def bundled() -> Sentences:
    """The terms and sentences of `curate/data/swap_terms.toml`."""
    content = tomllib.loads((files("curate.data") / "swap_terms.toml").read_text("utf-8"))
    terms = {axis: tuple(own) for axis, own in content["terms"].items()}
    return Sentences(terms, tuple(content["benign"]), tuple(content["hostile"]))


def fill(template: str, term: str) -> str:
    """A sentence with the term in its slot; `{Term}` takes it with a capital first letter."""
    return template.replace(SLOT, term).replace(CAPITAL_SLOT, term[:1].upper() + term[1:])


def _templates(name: str, sentences: Sequence[str]) -> tuple[str, ...]:
    """The sentences, each with a slot."""
    if not sentences:
        raise UsageError(f"swap_check has no {name} sentences", hint=f"leave out {name}= to use the bundled ones")
    for sentence in sentences:
        if SLOT not in sentence and CAPITAL_SLOT not in sentence:
            raise UsageError(
                f"a {name} sentence has no slot: {sentence!r}", hint=f"write {SLOT} where the identity term goes"
            )
    return tuple(sentences)


def _scores(scorer: Scorer, texts: pl.Series) -> Any:
    """What the scorer says, checked to be one finite number per text."""
    import numpy as np

    answer = scorer(texts)
    try:
        scores = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the scorer returned {type(answer).__name__}, which is no column of numbers: {error}",
            hint="return a NumPy array, a polars Series or a list with one number per text",
        ) from error
    if scores.shape != (len(texts),):
        raise UsageError(
            f"the scorer returned numbers of shape {scores.shape} for {len(texts)} texts",
            hint="return one number per text, in the order of the texts",
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise UsageError(
            f"the scorer returned {scores[bad[0]]} for text number {bad[0]} of {len(texts)}, counted from 0",
            hint="return a finite number for every text",
        )
    return scores


def _report(
    pairs: list[tuple[str, str]], good: tuple[str, ...], on_good: Any, on_bad: Any, threshold: float
) -> SwapReport:
    """Tables by term and by sentence."""
    import numpy as np
    import polars as pl

    from curate.stats import wilson

    change = on_good - np.median(on_good, axis=0)
    flagged = (on_good >= threshold).sum(axis=1)
    widest = np.abs(change).argmax(axis=1)
    rate = flagged / len(good)
    _, low, high = wilson(flagged, len(good))
    terms = pl.DataFrame(
        {
            "axis": [axis for axis, _ in pairs],
            "term": [term for _, term in pairs],
            "sentences": [len(good)] * len(pairs),
            "mean_score": on_good.mean(axis=1),
            "flagged": flagged.astype(np.int64),
            "flag_rate": rate,
            "low": low,
            "high": high,
            "largest_gap": change[np.arange(len(pairs)), widest],
            "hostile_flag_rate": (on_bad >= threshold).mean(axis=1),
        }
    ).sort("flag_rate", "mean_score", descending=True, maintain_order=True)
    names = np.array([term for _, term in pairs])
    sentences = pl.DataFrame(
        {
            "template": good,
            "lowest": on_good.min(axis=0),
            "highest": on_good.max(axis=0),
            "spread": on_good.max(axis=0) - on_good.min(axis=0),
            "lowest_term": names[on_good.argmin(axis=0)],
            "highest_term": names[on_good.argmax(axis=0)],
        }
    ).sort("spread", descending=True, maintain_order=True)
    return SwapReport(
        threshold=threshold,
        hostile_flagged=float((on_bad >= threshold).mean()),
        benign_flagged=float((on_good >= threshold).mean()),
        mean_swap=float(np.abs(change).mean()),
        terms=terms,
        sentences=sentences,
    )
