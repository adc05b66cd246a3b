"""Lexicon files: what they hold, how terms are found, and what is said of a file that is wrong."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curate.errors import UsageError
from curate.kernels.term_words import tokens, vocabulary, words_of
from curate.kernels.utf8 import texts
from curate.lexicon import COUNTRIES, IDENTITY, Rule, bundled, compiled, load, parse, variants


def found(lexicon: str, *sentences: str) -> list[list[str]]:
    """The mentions in sentences, by a lexicon given as text."""
    from curate.filters.groups import listed, mentions

    hits = mentions(texts(pl.Series(sentences)), compiled(parse(lexicon, "test.toml"))).filter("mention")
    return listed(hits["row"], hits["name"], len(sentences)).to_list()


def problem(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(text, "mine.toml")
    assert caught.value.hint
    return caught.value.message


def test_parts_in_parentheses_may_be_left_out() -> None:
    assert variants("deaf-mute(s)") == ["deaf-mute", "deaf-mutes"]
    assert variants("a(b)c(d)") == ["ac", "acd", "abc", "abcd"]


def test_a_form_counts_in_any_case_and_with_a_hyphen_or_a_space() -> None:
    lexicon = 'version = "1"\n[axes.job]\nfire-fighter = ["fire fighter(s)"]'

    assert found(lexicon, "FIRE-FIGHTERS", "a Fire\nfighter", "fire, fighter", "firefighter", "campfire fighter") == [
        ["job/fire-fighter"], ["job/fire-fighter"], [], [], [],
    ]  # fmt: skip


def test_exact_forms_count_as_written() -> None:
    lexicon = 'version = "1"\nexact = true\n[axes.x]\na = ["Polish", "US"]'

    assert found(lexicon, "Polish", "polish", "POLISH", "US", "us", "Us") == [["x/a"], [], ["x/a"], ["x/a"], [], []]


def test_exclusions_before_and_after() -> None:
    lexicon = 'version = "1"\n[axes.x]\na = {forms = ["man"], not_before = ["page(s)", "-"], not_after = ["isle of"]}'

    assert found(lexicon, "a man", "man pages", "man-made", "Isle of Man", "man. Page 2") == [
        ["x/a"], [], [], [], ["x/a"],
    ]  # fmt: skip


def test_a_term_that_needs_a_word_near_it() -> None:
    lexicon = 'version = "1"\nexact = true\n[axes.x]\na = {forms = ["Georgia"], near = ["Tbilisi"]}'

    assert found(lexicon, "Georgia and its capital Tbilisi", "Atlanta, Georgia") == [["x/a"], []]


def test_nouns_of_a_rule_are_taken_beside_those_that_name_people_or_in_their_place() -> None:
    beside = 'version = "1"\n[axes.x]\na = {forms = ["red"], needs_head = true, heads = ["vote"]}'
    only = 'version = "1"\n[axes.x]\na = {forms = ["red"], needs_head = true, heads = ["vote"], only_heads = true}'

    assert found(beside, "the red vote", "red people", "red cars") == [["x/a"], ["x/a"], []]
    assert found(only, "the red vote", "red people", "red cars") == [["x/a"], [], []]


def test_terms_in_scripts_without_spaces_are_found_anywhere() -> None:
    assert found('version = "1"\nlanguage = "zh"\n[axes.religion]\nmuslim = ["穆斯林"]', "他是穆斯林。") == [
        ["religion/muslim"]
    ]


def test_what_a_term_that_is_found_hides_is_its_own_words_only() -> None:
    lexicon = 'version = "1"\n[axes.x]\na = ["south asian(s)"]\nb = ["asian(s)"]\nc = ["women"]'

    assert found(lexicon, "South Asian women and Asians") == [["x/a", "x/b", "x/c"]]
    assert found(lexicon, "South Asian women") == [["x/a", "x/c"]]


def test_kernel_and_python_cut_words_alike() -> None:
    text = "It’s naïve_2 man-made, 人们 e\u0301 \U0001d518x İstanbul \x00 a\ufeffb"
    count = len(words_of(text))

    assert len(tokens(texts(pl.Series([text])), vocabulary(["x"])).ids) == count


def test_an_extension_adds_terms_and_replaces_rules_of_forms() -> None:
    base = parse('version = "1"\n[axes.x]\na = ["red", "blue"]\n[words]\nheads = ["people"]', "base")
    more = parse('version = "1"\n[axes.x]\nb = ["blue", "green"]\n[words]\nheads = ["folk"]', "more")

    both = base.extended(more)

    assert [(name, rule.forms) for name, rule in both.rules] == [("x/a", ("red",)), ("x/b", ("blue", "green"))]
    assert dict(both.words)["heads"] == ("people", "folk")


def test_a_wrong_file_is_named_with_the_place(tmp_path: Path) -> None:
    assert "mine.toml: version: wanted text" in problem("version = 1")
    assert "mine.toml: axes: wanted a table, got nothing" in problem('version = "1"')
    assert "axes.x.a.forms: is missing or empty" in problem('version = "1"\n[axes.x]\na = {needs_head = true}')
    assert "axes.x.a.needs_haed: no such key" in problem('version = "1"\n[axes.x]\na = {forms = ["b"], needs_haed = 1}')
    assert "axes.x.a.noun: wanted true or false, got 1" in problem(
        'version = "1"\n[axes.x]\na = {forms = ["b"], noun = 1}'
    )
    assert "axes.x.c: 'B' is a form of x/a already" in problem('version = "1"\n[axes.x]\na = ["b"]\nc = ["B"]')
    assert "'!' has no letter" in problem('version = "1"\n[axes.x]\na = ["!"]')
    assert "words.head: no such key" in problem('version = "1"\n[axes.x]\na = ["b"]\n[words]\nhead = ["c"]')
    assert "near: wanted single words" in problem('version = "1"\n[axes.x]\na = {forms = ["b"], near = ["c d"]}')
    assert "axis: no such key" in problem('version = "1"\n[axis.x]\na = ["b"]')
    assert "line 2" in problem('version = "1"\naxes = x')
    (tmp_path / "latin.toml").write_bytes(b'version = "\xe9"')
    with pytest.raises(UsageError, match=r"latin\.toml' is not UTF-8"):
        load(tmp_path / "latin.toml")
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "none.toml")


def test_the_bundled_lexicons_hold_what_the_documentation_says() -> None:
    axes = {name.split("/")[0] for name, _ in bundled(IDENTITY).rules}
    codes = {name.split("/")[1] for name, _ in bundled(COUNTRIES).rules}

    assert axes == {"age", "disability", "ethnicity", "gender", "migration", "religion", "sexual_orientation"}
    assert len(codes) == 250  # ISO 3166-1, and XK
    assert all(len(code) == 2 and code.isupper() for code in codes)


def test_every_form_of_the_identity_lexicon_names_people_in_some_sentence() -> None:
    from curate.filters.groups import listed, mentions

    lexicon = bundled(IDENTITY)
    forms = [(name, rule, form) for name, rule in lexicon.rules for form in rule.forms]
    sentences = pl.Series([sentence_with(rule, form) for _, rule, form in forms])

    hits = mentions(texts(sentences), compiled(lexicon)).filter("mention")
    axes = listed(hits["row"], hits["axis"], len(forms)).to_list()

    assert [form for (name, _, form), own in zip(forms, axes, strict=True) if name.split("/")[0] not in own] == []


def sentence_with(rule: Rule, form: str) -> str:
    """A sentence in which the form should count."""
    if rule.condition:
        return f"We met people with {form}"
    if rule.head_before:
        return f"We met people {form}"
    noun = rule.heads[0] if rule.only_heads else "people"
    return f"We met {form} {noun}" if rule.needs_head else f"We met {form}"
