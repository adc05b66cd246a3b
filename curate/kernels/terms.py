"""Finding the terms of a lexicon among words, and whether each names people.

What counts is decided by the words around a term: a noun that names people after it ("Black voters"), a person before
it ("she is blind", "children with autism"), an article ("a Muslim", "the deaf"), words that it must not stand beside.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.kernels import Int, kernel
from curate.kernels.term_words import (
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
    Marks,
    Tokens,
)
from curate.kernels.utf8 import Bytes, Offsets

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
RELATIVE = 8192

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

    flags: Ids  # by word
    first: Ids  # terms that begin with word w are first[w] to first[w + 1]
    starts: Ids  # the words of term t are starts[t] to starts[t + 1]
    words: Ids
    cases: Ids  # by word of a term
    rules: Ids  # by term
    asks: Ids  # by rule
    before: Ids  # by rule: phrases that it must not stand before are before[r] to before[r + 1]
    after: Ids
    near: Ids  # by rule: one of these phrases, of one word, must be near
    heads: Ids  # by rule: phrases of one word that it takes as nouns beside those that name people
    phrase_starts: Ids
    phrase_words: Ids

    def table(self) -> Ids:
        """All arrays in one, after the places where they begin: kernels that get one array compile much faster."""
        begins = np.cumsum([len(self), *(len(array) for array in self[:-1])])
        return np.concatenate([begins, *self]).astype(np.int32)


FLAGS, FIRST, STARTS, WORDS, CASES, RULES, ASKS, BEFORE, AFTER, NEAR_WORDS, HEADS, PHRASES, PHRASE_WORDS = range(13)


class Found(NamedTuple):
    """What was found: the text, the rule, MENTION or AMBIGUOUS."""

    rows: NDArray[np.int64]
    rules: Ids
    kinds: Bytes


def find(given: Tokens, table: Ids) -> Found:
    """The mentions and ambiguous terms in texts, by the table of a lexicon."""
    size = len(given.ids)
    found = Found(np.empty(size, np.int64), np.empty(size, np.int32), np.empty(size, np.uint8))
    count = find_kernel(given.ids, given.marks, given.offsets, table, *found)
    return Found(found.rows[:count], found.rules[:count], found.kinds[:count])


@kernel
def get(table: Ids, array: Int, place: Int) -> Int:
    """An element of one of the arrays of a table."""
    return np.int64(table[table[array] + place])


@kernel
def find_kernel(
    ids: Ids, marks: Marks, offsets: Offsets, table: Ids, rows: NDArray[np.int64], rules: Ids, kinds: Bytes
) -> Int:
    """Go through the words of each text; return how many terms were found."""
    found: Int = 0
    for row in range(len(offsets) - 1):
        at, start, end = offsets[row], offsets[row], offsets[row + 1]
        while at < end:
            word = ids[at]
            if word == 0 or get(table, FIRST, word) == get(table, FIRST, word + 1):
                at += 1
                continue
            step: Int = 1
            for term in range(get(table, FIRST, word), get(table, FIRST, word + 1)):
                if not stands(ids, marks, table, term, at, end):
                    continue
                step = get(table, STARTS, term + 1) - get(table, STARTS, term)
                rule = get(table, RULES, term)
                kind = judge(ids, marks, table, rule, at, at + step, start, end)
                if kind != NOTHING:
                    rows[found], rules[found], kinds[found] = row, rule, kind
                    found += 1
                break
            at += step
    return found


@kernel
def stands(ids: Ids, marks: Marks, table: Ids, term: Int, at: Int, end: Int) -> bool:
    """Whether a term stands here, as it is to be written."""
    first, size = get(table, STARTS, term), get(table, STARTS, term + 1) - get(table, STARTS, term)
    if at + size > end:
        return False
    for place in range(size):
        if ids[at + place] != get(table, WORDS, first + place):
            return False
        own = marks[at + place]
        case = get(table, CASES, first + place)
        if place > 0 and own & (COMMA | OTHER):
            return False
        if place > 0 and own & BREAK and not (own & DOT and case >= CAPITALISED):  # St. Lucia
            return False
        if (case == SMALL and own & CAPITAL) or (case == CAPITALISED and not own & CAPITAL):
            return False
        if case == CAPITALS and not (own & CAPITAL and own & UPPER):
            return False
    return True


@kernel
def judge(ids: Ids, marks: Marks, table: Ids, rule: Int, at: Int, after: Int, start: Int, end: Int) -> Int:
    """What a term at words `at` to `after` of a text is by its rule."""
    asks = get(table, ASKS, rule)
    if is_code(ids, marks, at - 1, at, start, end) or is_code(ids, marks, after, after, start, end):
        return NOTHING
    if get(table, BEFORE, rule) < get(table, BEFORE, rule + 1) and stands_before(ids, marks, table, rule, after, end):
        return NOTHING
    if get(table, AFTER, rule) < get(table, AFTER, rule + 1) and stands_after(ids, marks, table, rule, at, start):
        return NOTHING
    wants_near = get(table, NEAR_WORDS, rule) < get(table, NEAR_WORDS, rule + 1)
    if wants_near and not is_near(ids, marks, table, rule, at, after, start, end):
        return NOTHING
    if not asks & NEEDS_HEAD:
        named = asks & NAME and is_name(ids, marks, table, at, after, start, end)
        return NOTHING if named and not has_head(ids, marks, table, rule, after, end) else MENTION
    if asks & HEAD_BEFORE:
        known = at > start and get(table, FLAGS, ids[at - 1]) & (HEAD | PERSON) and not marks[at] & GAPS
        return MENTION if known else NOTHING
    if asks & NAME and at > start and is_name(ids, marks, table, at, at, start, at):  # Walter White cooks
        return NOTHING
    if asks & CONDITION and person_with(ids, marks, table, at, start):
        return MENTION
    if has_head(ids, marks, table, rule, after, end):
        return MENTION
    if asks & PREDICATE and identifies_as(ids, marks, table, at, start):
        return MENTION
    if asks & PREDICATE and is_relative(ids, marks, table, at, start):
        return MENTION
    if ends_phrase(ids, marks, table, after, end):
        if asks & PREDICATE and is_said_of_person(ids, marks, table, at, start):
            return MENTION
        if asks & NOUN and has_article(ids, marks, table, at, start):
            return MENTION
        if asks & AFTER_THE and at > start and get(table, FLAGS, ids[at - 1]) & THE and not marks[at] & GAPS:
            return MENTION
    if asks & CONDITION or is_name(ids, marks, table, at, after, start, end):
        return NOTHING
    return AMBIGUOUS


@kernel
def is_code(ids: Ids, marks: Marks, beside: Int, gap: Int, start: Int, end: Int) -> bool:
    """Whether the sign between a term and the word beside it is one of an address, a path or code."""
    if gap <= start or gap >= end:
        return False
    own = marks[gap]
    return bool(own & TIGHT or (own & SLASH and ids[beside] == 0))


@kernel
def stands_before(ids: Ids, marks: Marks, table: Ids, rule: Int, after: Int, end: Int) -> bool:
    """Whether one of the rule's phrases follows."""
    if after >= end or marks[after] & BREAK:
        return False
    for phrase in range(get(table, BEFORE, rule), get(table, BEFORE, rule + 1)):
        first, last = get(table, PHRASES, phrase), get(table, PHRASES, phrase + 1)
        if get(table, PHRASE_WORDS, first) == HYPHENATED:
            if marks[after] & HYPHEN and not get(table, FLAGS, ids[after]) & HEAD:
                return True
            continue
        if after + last - first > end:
            continue
        same = True
        for place in range(first, last):
            same = same and ids[after + place - first] == get(table, PHRASE_WORDS, place)
        if same:
            return True
    return False


@kernel
def stands_after(ids: Ids, marks: Marks, table: Ids, rule: Int, at: Int, start: Int) -> bool:
    """Whether one of the rule's phrases stands before the term."""
    if at <= start or marks[at] & BREAK:
        return False
    for phrase in range(get(table, AFTER, rule), get(table, AFTER, rule + 1)):
        first, last = get(table, PHRASES, phrase), get(table, PHRASES, phrase + 1)
        if get(table, PHRASE_WORDS, first) == HYPHENATED:
            if marks[at] & HYPHEN:
                return True
            continue
        if at - (last - first) < start:
            continue
        same = True
        for place in range(first, last):
            same = same and ids[at + place - last] == get(table, PHRASE_WORDS, place)
        if same:
            return True
    return False


@kernel
def is_near(ids: Ids, marks: Marks, table: Ids, rule: Int, at: Int, after: Int, start: Int, end: Int) -> bool:
    """Whether one of the words that the rule wants is near the term."""
    for place in range(max(start, at - NEAR), min(end, after + NEAR)):
        word = ids[place]
        if word == 0 or at <= place < after:
            continue
        for phrase in range(get(table, NEAR_WORDS, rule), get(table, NEAR_WORDS, rule + 1)):
            if get(table, PHRASE_WORDS, get(table, PHRASES, phrase)) == word:
                return True
    return False


@kernel
def is_name(ids: Ids, marks: Marks, table: Ids, at: Int, after: Int, start: Int, end: Int) -> bool:
    """Whether a term with a capital letter stands beside an unknown word with one: Jack Black, White Plains."""
    if not marks[at] & CAPITAL or marks[at] & UPPER:
        return False
    if at > start and not marks[at] & GAPS and marks[at - 1] & CAPITAL and ids[at - 1] == 0:
        return True
    return bool(after < end and not marks[after] & GAPS and marks[after] & CAPITAL and ids[after] == 0)


@kernel
def has_head(ids: Ids, marks: Marks, table: Ids, rule: Int, after: Int, end: Int) -> bool:
    """Whether a noun that names people follows, behind other attributes at most: Black and Latino students."""
    joined = False  # by "and" or "or" to the word before
    for place in range(after, min(end, after + REACH)):
        own = marks[place]
        if own & (BREAK | OTHER | APOSTROPHE | DOT):
            return False
        word = ids[place]
        flags = get(table, FLAGS, word)
        if not joined and not own & COMMA and is_head(table, rule, word):
            return True
        if not flags & (BRIDGE | TERM):
            return False
        joined = flags & CONJUNCTION != 0
    return False


@kernel
def is_head(table: Ids, rule: Int, word: Int) -> bool:
    """Whether a word is a noun that the rule takes."""
    if get(table, FLAGS, word) & HEAD and not get(table, ASKS, rule) & ONLY_HEADS:
        return True
    for phrase in range(get(table, HEADS, rule), get(table, HEADS, rule + 1)):
        if get(table, PHRASE_WORDS, get(table, PHRASES, phrase)) == word and word > 0:
            return True
    return False


@kernel
def ends_phrase(ids: Ids, marks: Marks, table: Ids, after: Int, end: Int) -> bool:
    """Whether the noun phrase ends here: a sign, or a word that is no noun."""
    if after >= end or marks[after] & (GAPS & ~HYPHEN):
        return True
    return bool(not marks[after] & HYPHEN and get(table, FLAGS, ids[after]) & FOLLOWER)


@kernel
def before_modifiers(ids: Ids, marks: Marks, table: Ids, at: Int, start: Int, skipped: Int, wanted: Int) -> Int:
    """The nearest word before a term that is wanted or not to be skipped, or -1."""
    place = at
    while place > start and at - place < REACH:
        if marks[place] & (BREAK | OTHER | DOT):
            return -1
        place -= 1
        flags = get(table, FLAGS, ids[place])
        if flags & wanted or not flags & skipped:
            return place
    return -1


@kernel
def is_said_of_person(ids: Ids, marks: Marks, table: Ids, at: Int, start: Int) -> bool:
    """Whether a person is said to be so: she is deaf, people who are blind."""
    verb = before_modifiers(ids, marks, table, at, start, ADVERB | TERM, NO_WORD)
    if verb < 0 or not get(table, FLAGS, ids[verb]) & BE or marks[verb] & (BREAK | OTHER | DOT):
        return False
    subject = before_modifiers(ids, marks, table, verb, start, ADVERB | BE, PERSON)
    return bool(subject >= 0 and get(table, FLAGS, ids[subject]) & (PERSON | HEAD))


@kernel
def is_relative(ids: Ids, marks: Marks, table: Ids, at: Int, start: Int) -> bool:
    """Whether a relative clause says it of a person: people who are deaf."""
    verb = before_modifiers(ids, marks, table, at, start, ADVERB | TERM, BE)
    if verb - 2 < start or not get(table, FLAGS, ids[verb]) & BE or marks[verb] & GAPS or marks[verb - 1] & GAPS:
        return False
    relative, subject = get(table, FLAGS, ids[verb - 1]), get(table, FLAGS, ids[verb - 2])
    return bool(relative & RELATIVE and subject & (PERSON | HEAD))


@kernel
def identifies_as(ids: Ids, marks: Marks, table: Ids, at: Int, start: Int) -> bool:
    """Whether somebody calls themselves so: they identify as straight, he came out as gay."""
    if at - 2 < start or marks[at] & (BREAK | OTHER) or marks[at - 1] & (BREAK | OTHER):
        return False
    return bool(get(table, FLAGS, ids[at - 1]) & AS and get(table, FLAGS, ids[at - 2]) & IDENTIFY)


@kernel
def has_article(ids: Ids, marks: Marks, table: Ids, at: Int, start: Int) -> bool:
    """Whether an article makes it a noun: a Muslim, another devout Catholic."""
    place = before_modifiers(ids, marks, table, at, start, BRIDGE | TERM | ADVERB, DETERMINER)
    return bool(place >= 0 and get(table, FLAGS, ids[place]) & DETERMINER)


@kernel
def person_with(ids: Ids, marks: Marks, table: Ids, at: Int, start: Int) -> bool:
    """Whether it is what somebody is with: children with severe autism, who has epilepsy."""
    place = before_modifiers(ids, marks, table, at, start, ADVERB | DETERMINER | TERM, WITH)
    if place < 0 or not get(table, FLAGS, ids[place]) & WITH or marks[place] & (BREAK | OTHER | DOT):
        return False
    subject = before_modifiers(ids, marks, table, place, start, ADVERB | BE | WITH | FOLLOWER, PERSON | HEAD)
    return bool(subject >= 0 and get(table, FLAGS, ids[subject]) & (PERSON | HEAD))
