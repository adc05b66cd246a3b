"""What is known of labels: tags, scripts, letters, words."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import numpy as np
import pytest

from curate.filters.language import LABELS
from curate.kernels.lid_text import find_common, hash_of_word, words_of
from curate.languages import CODED, SHORT, label_set, scripts, tag_of

TABLE = tomllib.loads((files("curate.data") / "languages.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("en", "en"),
        ("no", "nb"),
        ("als", "gsw"),
        ("eml", "egl"),
        ("bh", "bho"),
        ("eng_Latn", "en"),
        ("nob_Latn", "nb"),
        ("als_Latn", "sq"),
        ("arb_Arab", "ar"),
        ("srp_Latn", "sr-Latn"),
        ("zho_Hans", "zh-Hans"),
        ("ace_Latn", "ace"),
        ("ace_Arab", "ace-Arab"),
        ("anything else", "anything else"),
    ],
)
def test_a_label_of_any_set_has_a_tag(label: str, tag: str) -> None:
    assert tag_of(label) == tag


def test_tags_of_lid176_are_distinct() -> None:
    assert len(set(map(tag_of, LABELS))) == len(LABELS)


def test_the_table_has_every_label_of_lid176_and_no_other() -> None:
    assert tuple(sorted(TABLE["lid176"])) == LABELS
    assert set(TABLE["words"]) <= set(LABELS)


def test_every_script_of_the_table_is_known() -> None:
    _, names = scripts()
    for row in TABLE["lid176"].values():
        assert set(row.split("|")[1].split()) <= set(names)


def test_codes_and_tags_have_the_forms_of_the_standards() -> None:
    for code, tag in SHORT.items():
        assert CODED.fullmatch(f"{code}_Latn")
        assert tag.isalpha()
        assert len(tag) in (2, 3)


@pytest.mark.parametrize(
    ("character", "script"),
    [
        ("a", "Latn"),
        ("я", "Cyrl"),
        ("你", "Hani"),
        ("あ", "Hira"),
        ("한", "Hang"),
        ("Ꮳ", "Cher"),
        ("7", ""),
        (".", ""),
    ],
)
def test_the_script_of_a_character(character: str, script: str) -> None:
    codes, names = scripts()

    assert names[codes[ord(character)]] == script


@pytest.mark.parametrize(
    ("label", "letter", "has"),
    [
        ("yo", "ọ", True),
        ("ga", "ọ", False),
        ("ga", "Á", True),
        ("en", "Á", False),
        ("uk", "ї", True),
        ("ru", "ї", False),
    ],
)
def test_a_label_has_the_letters_of_its_alphabet(label: str, letter: str, has: bool) -> None:
    known = label_set(LABELS)

    assert known.spelt[LABELS.index(label), known.letters[ord(letter)]] == has


@pytest.mark.parametrize("letter", ["e", "E", "ж", "ه", "漢", "ア"])
def test_a_letter_of_every_alphabet_counts_for_none(letter: str) -> None:
    assert label_set(LABELS).letters[ord(letter)] == 0


def test_common_words_are_found_for_all_their_labels() -> None:
    known = label_set(LABELS)
    slot = find_common(np.uint64(hash_of_word("ikke")), known.words)

    owners = known.word_labels[known.word_starts[slot] : known.word_starts[slot + 1]]

    assert {LABELS[label] for label in owners} == {"da", "no"}
    assert find_common(np.uint64(hash_of_word("committee")), known.words) == -1


def test_words_are_runs_of_letters_digits_and_marks() -> None:
    assert words_of("L'État, c'est moi! समिति") == ["l", "état", "c", "est", "moi", "समिति"]


def test_labels_with_a_script_rule_out_other_scripts() -> None:
    _, names = scripts()
    written = label_set(("eng_Latn", "jpn_Jpan")).written

    assert [names[code] for code in np.flatnonzero(written[0])] == ["Latn"]
    assert {names[code] for code in np.flatnonzero(written[1])} == {"Hira", "Kana", "Hani"}


def test_of_other_labels_nothing_is_ruled_out() -> None:
    known = label_set(("spam", "ham"))

    assert known.written.all()
    assert known.tags == ("spam", "ham")
