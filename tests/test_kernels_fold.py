"""Folding text for the toxicity screen: what becomes of case, accents, disguises, signs."""

from __future__ import annotations

import polars as pl
import pytest

from curate.kernels.fold import fold
from curate.kernels.utf8 import Texts, column, texts
from curate.screen import bundled_screen


def folded(*given: str | None) -> list[str]:
    """The folded texts without the space after the last word."""
    answer = column(Texts(*fold(texts(pl.Series("text", given, pl.String)), bundled_screen().folds)))
    return [text.removesuffix(" ") for text in answer]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello WORLD", "hello world"),
        ("naïve Çafé Øre", "naive cafe ore"),
        ("ｆｕｌｌ 𝐛𝐨𝐥𝐝", "full bold"),
        ("don't don’t", "dont dont"),
        ("sooooo good", "so good"),
        ("good 1000", "good 1000"),
        ("h\u200be\u2060l\u00adlo", "hello"),
        ("h\u0336e\u0336y", "hey"),
        ("tab\tand\nline\u00a0break", "tab and line break"),
    ],
)
def test_forms_of_one_word_become_one(text: str, expected: str) -> None:
    assert folded(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("раypal", "paypal"),
        ("рараур", "рараур"),
        ("Привет", "Привет"),
        ("κακός", "κακός"),
    ],
)
def test_letters_of_other_alphabets_are_replaced_only_beside_latin_ones(text: str, expected: str) -> None:
    assert folded(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("st0ne gr3en br1ck", "stone green brick"),
        ("c@stle pa$$age", "castle passage"),
        ("gra$$", "grass"),
        ("2nd mp3 covid19 b2b h2o2", "2nd mp3 covid19 b2b h2o2"),
        ("gr33n a777b", "green a777b"),
        ("f*g", "f*g"),
    ],
)
def test_signs_that_stand_for_letters_are_read_inside_words(text: str, expected: str) -> None:
    assert folded(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://a.example/b?c now", "see now"),
        ("www.example.org/x rest", "rest"),
        ("httpd wwwhat", "httpd what"),
        ("@some_one hi", "@ hi"),
        ("fish &amp; chips &#8220;x", "fish chips x"),
        ("Q&A R&D", "q a r d"),
        ("what?!?! ok...", "what ? ! ? ! ok ."),
        ("“quoted”", '" quoted "'),
        ("#tag (a) [b] {c} 50%", "tag a b c 50"),
        ("🙂🙂 好的", "🙂 好 的"),
    ],
)
def test_signs_are_words_or_left_out(text: str, expected: str) -> None:
    assert folded(text) == [expected]


def test_null_empty_and_blank_texts_have_no_words() -> None:
    assert folded(None, "", "  \n ", "\u200b", "--- ***") == ["", "", "", "", ""]


def test_a_text_does_not_depend_on_those_beside_it() -> None:
    given = ["One w0rd", "", "ﬂuﬀy 50", "end$"]

    assert folded(*given) == [folded(text)[0] for text in given]


def test_a_word_is_cut_where_it_gets_too_long() -> None:
    assert folded("ab" * 40) == ["ab" * 32 + " " + "ab" * 8]


def test_a_slice_of_a_column_is_read_from_its_own_start() -> None:
    series = pl.Series("text", ["left out", "READ me"])[1:]

    assert column(Texts(*fold(texts(series), bundled_screen().folds))).to_list() == ["read me "]
