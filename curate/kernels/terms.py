"""Finding the terms of a lexicon among words, and whether each names people.

What counts is decided by the words around a term: a noun that names people after it ("Black voters"), a person before
it ("she is blind", "children with autism"), an article ("a Muslim", "the deaf"), words that it must not stand beside.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.tokens import (
    APOSTROPHE,
    BREAK,
    CAPITAL,
    COMMA,
    DOT,
    GAPS,
    HYPHEN,
    OTHER,
    SLASH,
    TIGHT,
    UPPER,
    Ids,
    Tokens,
)
from curate.kernels.utf8 import Bytes

# What a word can be to the words around it.
HEAD = 1  # a noun that names people
BRIDGE = 2  # may stand between a term and its noun
BE = 4
ADVERB = 8
PERSON = 16  # a pronoun for a person
DETERMINER = 32
FOLLOWER = 64  # a word that a noun may stand before, but that is no noun itself
WITH = 128
THE = 256
TERM = 512  # part of a term that needs a noun
IDENTIFY = 1024
AS = 2048
CONJUNCTION = 4096

# What a rule asks for.
NEEDS_HEAD = 1
NOUN = 2  # with an article it is a noun by itself
AFTER_THE = 4  # "the deaf" are people
CONDITION = 8  # what people are with
PREDICATE = 16  # "she is blind" names a person by it
NAME = 32  # a name where it stands beside another word with a capital letter
ONLY_HEADS = 64  # its own nouns in place of all that name people
HEAD_BEFORE = 128  # the noun stands before it: people of color

# How a word of a term is written.
ANY_CASE, SMALL, CAPITALISED, CAPITALS = 0, 1, 2, 3

HYPHENATED = -1  # in a phrase: any word, joined by a hyphen
REACH = 6  # words between a term and its noun, at most
NEAR = 30  # words to each side that are searched for those that a rule wants near

NO_WORD = 0
NOTHING, AMBIGUOUS, MENTION = 0, 1, 2


class Terms(NamedTuple):
    """A lexicon in arrays: terms by their first word, the longest first, and the rules that they follow."""

    flags: NDArray[np.uint16]  # by word
    first: Ids  # terms that begin with word w are first[w] to first[w + 1]
    starts: Ids  # the words of term t are starts[t] to starts[t + 1]
    words: Ids
    cases: Bytes  # by word of a term
    rules: Ids  # by term
    asks: Bytes  # by rule
    before: Ids  # by rule: phrases that it must not stand before are before[r] to before[r + 1]
    after: Ids
    near: Ids  # by rule: one of these phrases, of one word, must be near
    heads: Ids  # by rule: phrases of one word that it takes as nouns beside those that name people
    phrase_starts: Ids
    phrase_words: Ids


def find(given: Tokens, terms: Terms) -> tuple[NDArray[np.int64], Ids, NDArray[np.int64], Bytes]:
    """The mentions and ambiguous terms: the text of each, its rule, its first word, MENTION or AMBIGUOUS."""
    return find_kernel(given, terms)


@kernel
def find_kernel(given: Tokens, terms: Terms) -> tuple[NDArray[np.int64], Ids, NDArray[np.int64], Bytes]:
    """Go through the words of each text."""
    ids = given.ids
    rows, rules = np.empty(len(ids), np.int64), np.empty(len(ids), np.int32)
    places, kinds = np.empty(len(ids), np.int64), np.empty(len(ids), np.uint8)
    found: Int = 0
    for row in range(len(given.offsets) - 1):
        at, start, end = given.offsets[row], given.offsets[row], given.offsets[row + 1]
        while at < end:
            word = ids[at]
            if word == 0 or terms.first[word] == terms.first[word + 1]:
                at += 1
                continue
            step: Int = 1
            for term in range(terms.first[word], terms.first[word + 1]):
                size = terms.starts[term + 1] - terms.starts[term]
                if not stands(given, terms, term, at, end):
                    continue
                rule = terms.rules[term]
                kind = judge(given, terms, rule, at, at + size, start, end)
                if kind != NOTHING:
                    rows[found], rules[found], places[found], kinds[found] = row, rule, at, kind
                    found += 1
                step = size
                break
            at += step
    return rows[:found].copy(), rules[:found].copy(), places[:found].copy(), kinds[:found].copy()


@kernel
def stands(given: Tokens, terms: Terms, term: Int, at: Int, end: Int) -> bool:
    """Whether a term stands here, as it is to be written."""
    first, size = terms.starts[term], terms.starts[term + 1] - terms.starts[term]
    if at + size > end:
        return False
    for place in range(size):
        if given.ids[at + place] != terms.words[first + place]:
            return False
        marks = given.marks[at + place]
        case = terms.cases[first + place]
        if place > 0 and marks & (COMMA | OTHER):
            return False
        if place > 0 and marks & BREAK and not (marks & DOT and case >= CAPITALISED):  # St. Lucia
            return False
        if (case == SMALL and marks & CAPITAL) or (case == CAPITALISED and not marks & CAPITAL):
            return False
        if case == CAPITALS and not (marks & CAPITAL and marks & UPPER):
            return False
    return True


@kernel
def judge(given: Tokens, terms: Terms, rule: Int, at: Int, after: Int, start: Int, end: Int) -> Int:
    """What a term at words `at` to `after` of a text is by its rule."""
    asks = terms.asks[rule]
    if is_code(given, at - 1, at, start, end) or is_code(given, after, after, start, end):
        return NOTHING
    if terms.before[rule] < terms.before[rule + 1] and stands_before(given, terms, rule, after, end):
        return NOTHING
    if terms.after[rule] < terms.after[rule + 1] and stands_after(given, terms, rule, at, start):
        return NOTHING
    if terms.near[rule] < terms.near[rule + 1] and not is_near(given, terms, rule, at, after, start, end):
        return NOTHING
    if not asks & NEEDS_HEAD:
        named = asks & NAME and is_name(given, terms, at, after, start, end)
        return NOTHING if named and not has_head(given, terms, rule, after, end) else MENTION
    if asks & HEAD_BEFORE:
        known = at > start and terms.flags[given.ids[at - 1]] & (HEAD | PERSON) and not given.marks[at] & GAPS
        return MENTION if known else NOTHING
    if asks & CONDITION and person_with(given, terms, at, start):
        return MENTION
    if has_head(given, terms, rule, after, end):
        return MENTION
    if asks & PREDICATE and identifies_as(given, terms, at, start):
        return MENTION
    if ends_phrase(given, terms, after, end):
        if asks & PREDICATE and is_said_of_person(given, terms, at, start):
            return MENTION
        if asks & NOUN and has_article(given, terms, at, start):
            return MENTION
        if asks & AFTER_THE and at > start and terms.flags[given.ids[at - 1]] & THE and not given.marks[at] & GAPS:
            return MENTION
    if asks & CONDITION or is_name(given, terms, at, after, start, end):
        return NOTHING
    return AMBIGUOUS


@kernel
def is_code(given: Tokens, beside: Int, gap: Int, start: Int, end: Int) -> bool:
    """Whether the sign between a term and the word beside it is one of an address, a path or code."""
    if gap <= start or gap >= end:
        return False
    marks = given.marks[gap]
    return bool(marks & TIGHT or (marks & SLASH and given.ids[beside] == 0))


@kernel
def stands_before(given: Tokens, terms: Terms, rule: Int, after: Int, end: Int) -> bool:
    """Whether one of the rule's phrases follows."""
    if after >= end or given.marks[after] & BREAK:
        return False
    for phrase in range(terms.before[rule], terms.before[rule + 1]):
        first, last = terms.phrase_starts[phrase], terms.phrase_starts[phrase + 1]
        if terms.phrase_words[first] == HYPHENATED:
            if given.marks[after] & HYPHEN and not terms.flags[given.ids[after]] & HEAD:
                return True
            continue
        if after + last - first > end:
            continue
        same = True
        for place in range(first, last):
            same = same and given.ids[after + place - first] == terms.phrase_words[place]
        if same:
            return True
    return False


@kernel
def stands_after(given: Tokens, terms: Terms, rule: Int, at: Int, start: Int) -> bool:
    """Whether one of the rule's phrases stands before the term."""
    if at <= start or given.marks[at] & BREAK:
        return False
    for phrase in range(terms.after[rule], terms.after[rule + 1]):
        first, last = terms.phrase_starts[phrase], terms.phrase_starts[phrase + 1]
        if terms.phrase_words[first] == HYPHENATED:
            if given.marks[at] & HYPHEN:
                return True
            continue
        if at - (last - first) < start:
            continue
        same = True
        for place in range(first, last):
            same = same and given.ids[at + place - last] == terms.phrase_words[place]
        if same:
            return True
    return False


@kernel
def is_near(given: Tokens, terms: Terms, rule: Int, at: Int, after: Int, start: Int, end: Int) -> bool:
    """Whether one of the words that the rule wants is near the term."""
    for place in range(max(start, at - NEAR), min(end, after + NEAR)):
        word = given.ids[place]
        if word == 0 or at <= place < after:
            continue
        for phrase in range(terms.near[rule], terms.near[rule + 1]):
            if terms.phrase_words[terms.phrase_starts[phrase]] == word:
                return True
    return False


@kernel
def is_name(given: Tokens, terms: Terms, at: Int, after: Int, start: Int, end: Int) -> bool:
    """Whether a term with a capital letter stands beside an unknown word with one: Jack Black, White Plains."""
    if not given.marks[at] & CAPITAL or given.marks[at] & UPPER:
        return False
    if at > start and not given.marks[at] & GAPS and given.marks[at - 1] & CAPITAL and given.ids[at - 1] == 0:
        return True
    return bool(
        after < end and not given.marks[after] & GAPS and given.marks[after] & CAPITAL and given.ids[after] == 0
    )


@kernel
def has_head(given: Tokens, terms: Terms, rule: Int, after: Int, end: Int) -> bool:
    """Whether a noun that names people follows, behind other attributes at most: Black and Latino students."""
    joined = False  # by "and" or "or" to the word before
    for place in range(after, min(end, after + REACH)):
        marks = given.marks[place]
        if marks & (BREAK | OTHER | APOSTROPHE | DOT):
            return False
        word = given.ids[place]
        flags = terms.flags[word]
        if not joined and not marks & COMMA and is_head(terms, rule, word):
            return True
        if not flags & (BRIDGE | TERM):
            return False
        joined = flags & CONJUNCTION != 0
    return False


@kernel
def is_head(terms: Terms, rule: Int, word: Int) -> bool:
    """Whether a word is a noun that the rule takes."""
    if terms.flags[word] & HEAD and not terms.asks[rule] & ONLY_HEADS:
        return True
    for phrase in range(terms.heads[rule], terms.heads[rule + 1]):
        if terms.phrase_words[terms.phrase_starts[phrase]] == word and word > 0:
            return True
    return False


@kernel
def ends_phrase(given: Tokens, terms: Terms, after: Int, end: Int) -> bool:
    """Whether the noun phrase ends here: a sign, or a word that is no noun."""
    if after >= end or given.marks[after] & (GAPS & ~HYPHEN):
        return True
    return bool(not given.marks[after] & HYPHEN and terms.flags[given.ids[after]] & FOLLOWER)


@kernel
def before_modifiers(given: Tokens, terms: Terms, at: Int, start: Int, skipped: Int, wanted: Int) -> Int:
    """The nearest word before a term that is wanted or not to be skipped, or -1."""
    place = at
    while place > start and at - place < REACH:
        if given.marks[place] & (BREAK | OTHER | DOT):
            return -1
        place -= 1
        flags = terms.flags[given.ids[place]]
        if flags & wanted or not flags & skipped:
            return place
    return -1


@kernel
def is_said_of_person(given: Tokens, terms: Terms, at: Int, start: Int) -> bool:
    """Whether a person is said to be so: she is deaf, people who are blind."""
    verb = before_modifiers(given, terms, at, start, ADVERB | TERM, NO_WORD)
    if verb < 0 or not terms.flags[given.ids[verb]] & BE or given.marks[verb] & (BREAK | OTHER | DOT):
        return False
    subject = before_modifiers(given, terms, verb, start, ADVERB | BE, PERSON)
    return bool(subject >= 0 and terms.flags[given.ids[subject]] & (PERSON | HEAD))


@kernel
def identifies_as(given: Tokens, terms: Terms, at: Int, start: Int) -> bool:
    """Whether somebody calls themselves so: they identify as straight, he came out as gay."""
    if at - 2 < start or given.marks[at] & (BREAK | OTHER) or given.marks[at - 1] & (BREAK | OTHER):
        return False
    return bool(terms.flags[given.ids[at - 1]] & AS and terms.flags[given.ids[at - 2]] & IDENTIFY)


@kernel
def has_article(given: Tokens, terms: Terms, at: Int, start: Int) -> bool:
    """Whether an article makes it a noun: a Muslim, another devout Catholic."""
    place = before_modifiers(given, terms, at, start, BRIDGE | TERM | ADVERB, DETERMINER)
    return bool(place >= 0 and terms.flags[given.ids[place]] & DETERMINER)


@kernel
def person_with(given: Tokens, terms: Terms, at: Int, start: Int) -> bool:
    """Whether it is what somebody is with: children with severe autism, who has epilepsy."""
    place = before_modifiers(given, terms, at, start, ADVERB | DETERMINER | TERM, WITH)
    if place < 0 or not terms.flags[given.ids[place]] & WITH or given.marks[place] & (BREAK | OTHER | DOT):
        return False
    subject = before_modifiers(given, terms, place, start, ADVERB | BE | WITH | FOLLOWER, PERSON | HEAD)
    return bool(subject >= 0 and terms.flags[given.ids[subject]] & (PERSON | HEAD))
