"""Shingles and signatures: equal to plain Python, and to datasketch bit for bit."""

from __future__ import annotations

import itertools
import random
import re
import unicodedata

import numpy as np
import polars as pl
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.minhash import Bands, affine32, band_keys, choose_bands, empty, signatures, with_margin
from curate.kernels.pairs import bloom_add, bloom_has, choose, jaccard, repeated, shared
from curate.kernels.shingle import shingle_sets, shingles, sort_distinct, token_hashes
from curate.kernels.utf8 import UNSPACED, tables

TEXTS = [
    "The quick brown fox jumps over the lazy dog. The quick brown fox jumps again, and again.",
    "这是一个没有空格的句子。日本語の文章です。with words inside一起",
    "นี่คือภาษาไทย ไม่มีช่องว่างระหว่างคำ",
    "👩‍👩‍👧‍👦 family, 🇳🇴 flag, 👍🏽 thumb, ❤️ heart and five more words here",
    "",
    " \n",
    "one",
    "ΟΔΟΣ ΣΊΣΥΦΟΣ İstanbul IŞIK ǅ ẞ Ⅷ Ⓐ K Å",
    "x" * 10_000,
    "do_not split_1 don't e\u0301tude naïve",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠜎𠜱 𐍈 𐐀𐐁 \U0010ffff",
]

NO_SIDES = np.empty(0, np.uint64)


def plain_words(text: str) -> list[str]:
    """Words by Python's own means: runs of `\\w` in the lower-cased text, each letter alone where nothing is spaced."""
    classes = tables().classes
    words: list[str] = []
    for run in re.findall(r"\w+", text.lower()):
        for alone, letters in itertools.groupby(run, lambda char: bool(classes[ord(char)] & UNSPACED)):
            own = list(letters)
            words += own if alone else ["".join(own)]
    return words


def plain_shingles(text: str, ngram: int, unit: str) -> list[tuple[str, ...]]:
    """Shingles by Python's own means."""
    words = plain_words(text)
    units = words if unit == "word" or not words else list(text.lower())
    if not units:
        return []
    return [tuple(units[at : at + ngram]) for at in range(max(1, len(units) - ngram + 1))]


def assert_same_shingles(texts: list[str], ngram: int, unit: str) -> None:
    """The kernel gives equal hashes for equal shingles, others for others, in the same places."""
    hashes, offsets = shingles(pl.Series(texts, dtype=pl.String), ngram, unit)  # type: ignore[arg-type]
    wanted = [plain_shingles(text, ngram, unit) for text in texts]
    assert np.diff(offsets).tolist() == [len(one) for one in wanted]
    flat = [shingle for one in wanted for shingle in one]
    pairs = set(zip(flat, hashes.tolist(), strict=True))
    assert len(pairs) == len(set(flat)) == len(set(hashes.tolist()))


@pytest.mark.parametrize("unit", ["word", "char"])
@pytest.mark.parametrize("ngram", [1, 2, 5, 24])
def test_shingles_are_those_of_plain_python(unit: str, ngram: int) -> None:
    assert_same_shingles(TEXTS, ngram, unit)


ALPHABET = "aAbZ_9 .,'\n\u00a0éßΣσςİı中文かなไทยำ👍\u0301\u200dאبक्षǅẞ\U00010400"


@settings(deadline=None, max_examples=150)
@given(st.lists(st.text(st.sampled_from(ALPHABET), max_size=40), max_size=6), st.integers(1, 6))
def test_shingles_of_odd_texts_are_those_of_plain_python(texts: list[str], ngram: int) -> None:
    for unit in ("word", "char"):
        assert_same_shingles(texts, ngram, unit)


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=60))
def test_words_of_any_text_are_those_of_plain_python(text: str) -> None:
    if unicodedata.unidata_version == "14.0.0":  # the version that the shipped tables are made from
        assert_same_shingles([text], 1, "word")


def test_a_megabyte_is_read() -> None:
    chooser = random.Random(1)
    text = " ".join(chooser.choice(["Word", "中", "λόγος", "x1", "—"]) for _ in range(250_000))
    assert len(text.encode()) > 1_000_000

    hashes, offsets = shingles(pl.Series([text]), 5)

    assert offsets.tolist() == [0, len(plain_words(text)) - 4]
    assert len(set(hashes.tolist())) == len(set(plain_shingles(text, 5, "word")))


def test_sets_are_sorted_and_without_repeats() -> None:
    hashes, offsets = shingle_sets(pl.Series(["a b a b a b", "", "b a b a"]), 2)

    assert offsets.tolist() == [0, 2, 2, 4]
    assert hashes[:2].tolist() == sorted(hashes[2:].tolist())


def test_a_slice_of_a_column_is_read_from_its_own_start() -> None:
    column = pl.Series(TEXTS)
    assert (signatures(column)[3:7] == signatures(column[3:7])).all()
    assert signatures(column[:0]).shape == (0, 128)
    assert empty(signatures(pl.Series([None, "a"], dtype=pl.String))).tolist() == [True, False]


@pytest.mark.parametrize(("permutations", "seed"), [(128, 1), (13, 1), (256, 7)])
@pytest.mark.parametrize("unit", ["word", "char"])
def test_signatures_are_those_of_datasketch(permutations: int, seed: int, unit: str) -> None:
    found = signatures(pl.Series(TEXTS), permutations, ngram=3, unit=unit, seed=seed)  # type: ignore[arg-type]
    hashes, offsets = shingles(pl.Series(TEXTS), 3, unit)  # type: ignore[arg-type]
    tokens = token_hashes(hashes)
    for number in range(len(TEXTS)):
        own = MinHash(permutations, seed=seed, hashfunc=int, scheme="affine32")
        own.update_batch(tokens[offsets[number] : offsets[number + 1]].tolist())
        assert (own.digest() == found[number]).all()
    assert found.dtype == np.uint32


def test_the_first_permutations_can_be_asked_for_alone() -> None:
    assert (signatures(pl.Series(TEXTS), 128, first=91) == signatures(pl.Series(TEXTS), 128)[:, :91]).all()


def test_signatures_can_be_loaded_into_an_index_of_datasketch() -> None:
    texts = pl.Series([TEXTS[0], TEXTS[0].upper() + "!", TEXTS[1]])
    index = MinHashLSH(threshold=0.8, num_perm=128)
    loaded = [MinHash(hashvalues=row, scheme="affine32") for row in signatures(texts)]
    for number, one in enumerate(loaded):
        index.insert(number, one)

    assert sorted(index.query(loaded[0])) == [0, 1]


def test_bands_have_keys_of_their_own() -> None:
    same = np.full((2, 6), 5, np.uint32)
    same[1, 5] = 6

    keys = band_keys(same, Bands(3, 2, 6))

    assert len(set(keys[0].tolist())) == 3
    assert (keys[0] == keys[1]).tolist() == [True, True, False]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("recall", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_the_bands_keep_what_recall_promises(threshold: float, recall: float) -> None:
    cut = choose_bands(threshold, recall)

    assert cut.found(threshold) >= with_margin(recall) > recall
    assert cut.bands * cut.rows <= cut.permutations
    assert cut.bands == 1 or Bands(cut.bands - 1, cut.rows, cut.permutations).found(threshold) < with_margin(recall)


def test_the_margin_holds_in_99_of_100_samples_at_the_threshold() -> None:
    found = np.random.default_rng(1).binomial(2_000, with_margin(0.95), 20_000) / 2_000

    assert 0.99 <= (found >= 0.95).mean() < 0.999


def test_the_default_bands() -> None:
    assert choose_bands(0.8, 0.95) == (14, 7, 128)
    assert choose_bands(0.5, 0.95).permutations > 128


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_similarity_is_exact_or_below_the_threshold(one: set[int], other: set[int], threshold: float) -> None:
    hashes = np.array([*sorted(one), *sorted(other)], np.uint64)
    wanted = len(one & other) / len(one | other) if one and other else 0

    found = jaccard(hashes, 0, len(one), len(one), len(other), threshold)

    assert found == (wanted if wanted >= threshold else -1)


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(0, 8), min_size=1), min_size=1, max_size=12))
def test_the_choice_is_that_of_plain_python(sets: list[set[int]]) -> None:
    kept: list[int] = []
    wanted: list[tuple[int, float]] = []
    for one in sets:
        similar = [(len(one & sets[other]) / len(one | sets[other]), -other) for other in kept]
        best = max((pair for pair in similar if pair[0] >= 0.6), default=None)
        wanted.append((-best[1], best[0]) if best else (-1, 0.0))
        if best is None:
            kept.append(len(wanted) - 1)
    lengths = np.array([len(one) for one in sets])
    starts, signed = np.cumsum(lengths) - lengths, np.zeros(len(sets), np.bool_)
    hashes = np.array([value for one in sets for value in sorted(one)], np.uint64)
    ends = np.arange(len(sets) + 1)

    found = choose(
        ends, np.zeros(len(sets), np.int64), 1, starts, lengths, hashes, 0, signed, *affine32(128), 0.6, 1000, NO_SIDES
    )

    assert list(zip(found.kept.tolist(), found.similarity.tolist(), strict=True)) == wanted


def test_texts_of_an_earlier_corpus_stay_and_replace_those_that_are_similar() -> None:
    sets = [{1, 2, 3}, {1, 2, 3}, {1, 2, 3, 4}, {7, 8}]
    lengths = np.array([len(one) for one in sets])
    starts, signed = np.cumsum(lengths) - lengths, np.zeros(4, np.bool_)
    hashes = np.array([value for one in sets for value in sorted(one)], np.uint64)

    found = choose(
        np.arange(5), np.zeros(4, np.int64), 1, starts, lengths, hashes, 2, signed, *affine32(128), 0.6, 1000, NO_SIDES
    )

    assert found.kept.tolist() == [-1, -1, 0, -1]
    assert found.similarity.tolist() == [0, 0, 0.75, 0]


def test_copies_in_an_earlier_corpus_take_no_place_from_texts_of_this_one() -> None:
    sets = [{1, 2, 3}] * 5 + [{7, 8, 9}, {7, 8, 9, 10}]
    lengths = np.array([len(one) for one in sets])
    starts, signed = np.cumsum(lengths) - lengths, np.zeros(7, np.bool_)
    hashes = np.array([value for one in sets for value in sorted(one)], np.uint64)

    found = choose(
        np.arange(8), np.zeros(7, np.int64), 1, starts, lengths, hashes, 5, signed, *affine32(128), 0.6, 2, NO_SIDES
    )

    assert found.kept.tolist() == [-1] * 6 + [5]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=300), st.integers(0, 64))
def test_hashes_are_sorted_and_repeats_left_out(values: list[int], shift: int) -> None:
    hashes = np.array([value >> shift for value in values] * 2, np.uint64)
    scratch, out = np.empty_like(hashes), np.empty_like(hashes)

    count = sort_distinct(hashes.copy(), len(hashes), scratch, out)

    assert out[:count].tolist() == sorted(set(hashes.tolist()))


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=200), st.integers(0, 200))
def test_the_pairs_whose_key_is_shared_are_found(values: list[int], own: int) -> None:
    keys = np.array(values, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    numbers = np.random.default_rng(len(values)).permutation(len(values)).astype(np.uint64)
    groups: dict[int, list[int]] = {}
    for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
        groups.setdefault(key, []).append(number)
    wanted = {key: sorted(some) for key, some in groups.items() if len(some) > 1 and min(some) < own}
    may = repeated(keys)

    some, of_some = keys[may], numbers[may]
    places = shared(some, of_some, np.argsort(some), np.uint64(own))

    found: dict[int, list[int]] = {}
    for place in places.tolist():
        found.setdefault(int(some[place]), []).append(int(of_some[place]))
    assert found == wanted


def test_a_bloom_filter_has_what_was_added_and_little_else() -> None:
    keys = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64)
    table = np.zeros(1 << 15, np.uint8)  # bytes: 26 bits for each of the first 10,000 keys

    bloom_add(table, keys[:10_000])

    assert bloom_has(table, keys[:10_000]).all()
    assert bloom_has(table, keys[10_000:]).mean() < 0.02


def test_the_texts_themselves_are_not_changed() -> None:
    texts = pl.Series(["ΟΔΟΣ", "İ"])

    shingles(texts)

    assert texts.to_list() == ["ΟΔΟΣ", "İ"]


@pytest.mark.parametrize("size", [2, 32, 33, 100, 1_001])
def test_documents_that_share_a_key_come_in_the_order_of_their_numbers(size: int) -> None:
    numbers = np.array(random.Random(size).sample(range(10_000), size), np.uint64)
    keys = np.full(size, 7, np.uint64)

    places = shared(keys, numbers, np.arange(size), np.uint64(10_000))

    assert numbers[places].tolist() == sorted(numbers.tolist())
