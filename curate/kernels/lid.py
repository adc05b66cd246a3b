"""The language of texts from a model's answer and from what their scripts, letters and words say.

The model's probability of each label is weighed with three things that anyone who reads can see. A label whose language
is not written in the text's scripts is out. Letters that a language does not have count against it, words that are
common in it for it. Against all labels stands the chance that the language is none of the model's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import kernel
from curate.kernels.lid_text import Counts, Prepared
from curate.kernels.utf8 import Bytes, Offsets, Texts
from curate.languages import LabelSet

# Set on labelled sentences; docs/language.md says how far a choice on half of their sources carries to the others.
LEAST_SHARE = 0.2  # of the letters of a text must be in the scripts of its language
LETTER_SLACK = 0.005  # of the letters may be foreign without counting: names and loans
LETTER_COST = 400.0  # for each share of foreign letters beyond, in nats
WORD_GAIN = 30.0  # for each share of common words, in nats: these are .2 to .5 of the words of a text
WORD_SLACK = 3  # words that a text is taken to have more than it has, none of them common
OTHERS = 0.5  # the weight of languages that the model does not know, times what it gives to other labels
VETO = -1000.0
NEGLIGIBLE = 16.0  # nats: a label behind by more has less than 1e-6 of the probability

Matrix = NDArray[np.float64]


class Answer(NamedTuple):
    """The likeliest label of each text, -1 where none can be, its probability, and the script of most letters."""

    labels: NDArray[np.int32]
    chances: Matrix
    scripts: NDArray[np.int32]


def weigh(logs: Matrix, counts: Counts, known: LabelSet) -> Answer:
    """Weigh the logarithms of the model's probabilities (texts x labels) with what was counted in the texts."""
    return Answer(*weigh_kernel(logs, *counts, known.written, known.spelt, known.letter_scripts))


@kernel
def weigh_kernel(
    logs: Matrix,
    script_counts: NDArray[np.int32],
    letter_counts: NDArray[np.int32],
    hits: NDArray[np.float32],
    words: NDArray[np.int32],
    written: NDArray[np.bool_],
    spelt: NDArray[np.bool_],
    letter_scripts: NDArray[np.uint8],
) -> tuple[NDArray[np.int32], Matrix, NDArray[np.int32]]:
    """The likeliest label of each text, its probability and its script."""
    texts, labels = logs.shape
    best = np.full(texts, -1, np.int32)
    chances = np.zeros(texts)
    scripts = np.zeros(texts, np.int32)
    total = np.zeros(labels)
    foreign = np.zeros(labels)
    present = np.zeros(script_counts.shape[1], np.int64)
    for text in range(texts):
        letters = 0
        script = 0
        found = 0
        for code in range(script_counts.shape[1]):
            count = script_counts[text, code]
            if count:
                letters += count
                present[found] = code
                found += 1
                if count > script_counts[text, script]:
                    script = code
        scripts[text] = script
        if letters == 0:
            continue
        foreign[:] = 0.0
        for group in range(1, letter_counts.shape[1]):
            count = letter_counts[text, group]
            if count and letter_scripts[group] == script:
                for label in range(labels):
                    if not spelt[label, group]:
                        foreign[label] += count
        own = script_counts[text, script]
        for label in range(labels):
            total[label] = logs[text, label] + WORD_GAIN * hits[text, label] / (words[text] + WORD_SLACK)
            excess = foreign[label] / own - LETTER_SLACK
            if excess > 0:
                total[label] -= LETTER_COST * excess
        for label in range(labels):
            share = 0
            for place in range(found):
                share += script_counts[text, present[place]] * written[label, present[place]]
            if share < LEAST_SHARE * letters:
                total[label] = VETO
        likeliest = int(np.argmax(total))
        if total[likeliest] <= VETO:
            continue
        most = total[likeliest]
        others = OTHERS * max(0.0, 1.0 - np.exp(logs[text, likeliest])) * np.exp(-most)
        best[text] = likeliest
        rivals = 0.0
        for label in range(labels):
            if total[label] > most - NEGLIGIBLE:
                rivals += np.exp(total[label] - most)
        chances[text] = 1.0 / (rivals + others)
    return best, chances, scripts


def as_sentences(parts: Prepared, rows: NDArray[np.int64]) -> Texts:
    """The first parts of the wanted texts, each with a full stop at its end.

    A model that learned from sentences answers differently to a bare word and to a word that ends a sentence; the mean
    of both answers is right more often where there is little to read.
    """
    starts = np.searchsorted(parts.rows, rows)
    return Texts(*as_sentences_kernel(parts.data, parts.offsets, starts))


@kernel
def as_sentences_kernel(data: Bytes, offsets: Offsets, parts: NDArray[np.int64]) -> tuple[Bytes, Offsets]:
    """Copy the parts, with a full stop in place of the space that ends each."""
    size = 0
    for part in parts:
        size += offsets[part + 1] - offsets[part]
    out = np.zeros(size, np.uint8)
    ends = np.zeros(len(parts) + 1, np.int64)
    to = 0
    for place in range(len(parts)):
        for at in range(offsets[parts[place]], offsets[parts[place] + 1]):
            out[to] = data[at]
            to += 1
        if to > ends[place]:
            out[to - 1] = 0x2E
        ends[place + 1] = to
    return out, ends
