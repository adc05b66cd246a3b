"""Lexicons: terms by axis and descriptor, and when a term names people.

A lexicon is a TOML file; docs/groups.md describes it. `Lexicon` is what the file says, `compiled` makes it the arrays
that `curate.kernels.terms` works on.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.kernels.term_words import Ids, Vocabulary

IDENTITY, COUNTRIES = "identity_lexicon.toml", "countries.toml"  # in curate/data
OPTIONAL = re.compile(r"\(([^()|]*)\)")  # lesbian(s): with and without
SWITCHES = ("needs_head", "noun", "after_the", "condition", "predicate", "name", "exact", "only_heads", "head_before")
PHRASES = ("forms", "not_before", "not_after", "near", "heads")
WORDS = (
    "heads", "bridges", "be", "adverbs", "persons", "determiners", "followers", "with", "the", "identify", "as",
    "conjunctions", "relatives",
)  # fmt: skip
HINT = "docs/groups.md describes the format"


@dataclass(frozen=True)
class Rule:
    """Forms of a descriptor that count under the same conditions."""

    forms: tuple[str, ...]
    not_before: tuple[str, ...] = ()
    not_after: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    needs_head: bool = False
    noun: bool = False
    after_the: bool = False
    condition: bool = False
    predicate: bool = True
    name: bool = False
    exact: bool = False
    only_heads: bool = False
    head_before: bool = False


@dataclass(frozen=True)
class Lexicon:
    """Rules by `axis/descriptor`, and the words around terms that rules look at, by what they are."""

    language: str
    rules: tuple[tuple[str, Rule], ...]
    words: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def extended(self, more: Lexicon) -> Lexicon:
        """This lexicon with the terms and words of another; a form that both have follows the other's rule."""
        theirs = {form.casefold() for _, rule in more.rules for form in rule.forms}
        kept = []
        for name, rule in self.rules:
            forms = tuple(form for form in rule.forms if form.casefold() not in theirs)
            if forms:
                kept.append((name, replace(rule, forms=forms)))
        words = dict(self.words)
        for kind, own in more.words:
            words[kind] = (*words.get(kind, ()), *own)
        return replace(self, rules=(*kept, *more.rules), words=tuple(words.items()))


class Compiled(NamedTuple):
    """A lexicon as the kernels read it; `names` has the `axis/descriptor` of each rule."""

    vocabulary: Vocabulary
    table: Ids
    names: tuple[str, ...]


def bundled(name: str) -> Lexicon:
    """A lexicon of the package."""
    return parse((files("curate.data") / name).read_text("utf-8"), name)


def load(path: Path) -> Lexicon:
    """The lexicon of a file; UsageError says where it is wrong."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(
            f"lexicon {str(path)!r} does not exist", hint="paths are relative to the pipeline file"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"lexicon {str(path)!r} is not UTF-8: byte {error.start}", hint="save it as UTF-8") from error
    return parse(text, str(path))


def parse(text: str, where: str) -> Lexicon:
    """The lexicon that a text holds; `where` names it in errors."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: {error}", hint="strings stand in double quotes, lists in brackets") from error
    unknown = sorted(set(content) - {"version", "language", "exact", "axes", "words"})
    if unknown:
        raise _wrong(where, unknown[0], "no such key; a lexicon has version, language, exact, axes and words")
    if not isinstance(content.get("version"), str):
        raise _wrong(where, "version", f'wanted text such as "1", got {_shown(content.get("version"))}')
    language, exact = content.get("language", "en"), content.get("exact", False)
    if not isinstance(language, str):
        raise _wrong(where, "language", f'wanted a code such as "en", got {_shown(language)}')
    if not isinstance(exact, bool):
        raise _wrong(where, "exact", f"wanted true or false, got {_shown(exact)}")
    rules = tuple(_rules(_table(content.get("axes"), where, "axes"), where, exact))
    if not rules:
        raise _wrong(where, "axes", "has no terms")
    _once(rules, where)
    return Lexicon(language, rules, tuple(_words(_table(content.get("words", {}), where, "words"), where)))


def _rules(axes: Mapping[str, Any], where: str, exact: bool) -> Iterator[tuple[str, Rule]]:
    for axis, descriptors in axes.items():
        for name, given in _table(descriptors, where, f"axes.{axis}").items():
            key = f"axes.{axis}.{name}"
            if "/" in axis or "/" in name:
                raise _wrong(where, key, "a name has no slash: it stands between axis and descriptor")
            parts = given if isinstance(given, list) and any(isinstance(one, dict) for one in given) else [given]
            for number, part in enumerate(parts):
                yield f"{axis}/{name}", _rule(part, where, key if len(parts) == 1 else f"{key}[{number}]", exact)


def _rule(given: Any, where: str, key: str, exact: bool) -> Rule:
    from curate.kernels.term_words import words_of

    if isinstance(given, list):
        given = {"forms": given}
    if not isinstance(given, dict):
        raise _wrong(where, key, f"wanted a list of forms, or a table with `forms`, got {_shown(given)}")
    values: dict[str, Any] = {"exact": exact}
    for option, value in given.items():
        if option in SWITCHES:
            if not isinstance(value, bool):
                raise _wrong(where, f"{key}.{option}", f"wanted true or false, got {_shown(value)}")
            values[option] = value
        elif option in PHRASES:
            values[option] = _phrases(value, where, f"{key}.{option}")
        else:
            raise _wrong(where, f"{key}.{option}", f"no such key; a rule has {', '.join((*PHRASES, *SWITCHES))}")
    for option in ("near", "heads"):
        if any(len(words_of(phrase)) > 1 for phrase in values.get(option, ())):
            raise _wrong(where, f"{key}.{option}", "wanted single words")
    if not values.get("forms"):
        raise _wrong(where, f"{key}.forms", "is missing or empty")
    if values.get("condition") or values.get("noun") or values.get("after_the") or values.get("head_before"):
        values.setdefault("needs_head", True)
    return Rule(**values)


def _words(given: Mapping[str, Any], where: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for kind, value in given.items():
        if kind not in WORDS:
            raise _wrong(where, f"words.{kind}", f"no such key; words have {', '.join(WORDS)}")
        yield kind, _phrases(value, where, f"words.{kind}")


def _phrases(value: Any, where: str, key: str) -> tuple[str, ...]:
    """The phrases of a list, with what stands in parentheses and without it."""
    from curate.kernels.term_words import words_of

    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _wrong(where, key, f"wanted a list of texts, got {_shown(value)}")
    phrases = dict.fromkeys(form for one in value for form in variants(one))
    for phrase in phrases:
        if phrase != "-" and not words_of(phrase):
            raise _wrong(where, key, f"{phrase!r} has no letter")
    return tuple(phrases)


def variants(form: str) -> list[str]:
    """A form with and without each part in parentheses, in Unicode NFC: `lesbian(s)` is lesbian and lesbians."""
    import unicodedata

    found = OPTIONAL.search(form)
    if found is None:
        return [unicodedata.normalize("NFC", form).strip()]
    before, after = form[: found.start()], form[found.end() :]
    return [*variants(before + after), *variants(before + found[1] + after)]


def _once(rules: tuple[tuple[str, Rule], ...], where: str) -> None:
    seen: dict[tuple[str, ...], int] = {}
    for number, (name, rule) in enumerate(rules):
        for form in rule.forms:
            first = seen.setdefault(_written(form, rule.exact), number)
            if first != number:
                key = f"axes.{name.replace('/', '.')}"
                raise _wrong(where, key, f"{form!r} is a form of {rules[first][0]} already")


def _written(form: str, exact: bool) -> tuple[str, ...]:
    from curate.kernels.term_words import lower, words_of

    words = words_of(form)
    return tuple(words if exact else map(lower, words))


def _table(value: Any, where: str, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, key, f"wanted a table, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:60]


def _wrong(where: str, key: str, problem: str) -> UsageError:
    return UsageError(f"{where}: {key}: {problem}", hint=HINT)


# --- as arrays --------------------------------------------------------------------------------------------------------


def compiled(lexicon: Lexicon) -> Compiled:
    """The arrays of a lexicon; words that it does not list are those of the identity lexicon."""
    words = lexicon.words if lexicon.words else bundled(IDENTITY).words
    return _Compiler(lexicon, dict(words)).result()


@cache
def compiled_bundled(name: str) -> Compiled:
    """The arrays of a lexicon of the package, made once per process."""
    return compiled(bundled(name))


class _Compiler:
    """Numbers words, phrases and terms."""

    def __init__(self, lexicon: Lexicon, words: Mapping[str, tuple[str, ...]]) -> None:
        self.lexicon = lexicon
        self.kinds = words
        self.numbers: dict[str, int] = {}
        self.phrase_starts: list[int] = [0]
        self.phrase_words: list[int] = []

    def result(self) -> Compiled:
        import numpy as np

        from curate.kernels.term_words import vocabulary, words_of
        from curate.kernels.terms import Terms

        asks, spans = [], []
        forms: list[tuple[list[int], list[int], int]] = []
        for number, (_, rule) in enumerate(self.lexicon.rules):
            asks.append(_asks(rule))
            spans.append(
                [self.phrases(phrases) for phrases in (rule.not_before, rule.not_after, rule.near, rule.heads)]
            )
            for form in rule.forms:
                written = words_of(form)
                forms.append(([self.number(word) for word in written], _cases(written, rule.exact), number))
        flags = self.flags()
        forms.sort(key=lambda form: (form[0][0], -len(form[0]), form[0], [-case for case in form[1]]))
        counts = np.bincount([form[0][0] for form in forms], minlength=len(self.numbers) + 1)
        before, after, near, heads = (self.ranges([span[side] for span in spans]) for side in range(4))
        terms = Terms(
            flags=flags,
            first=_ints(np.concatenate([[0], np.cumsum(counts)])),
            starts=_ints(np.cumsum([0, *(len(form[0]) for form in forms)])),
            words=_ints([word for form in forms for word in form[0]]),
            cases=np.array([case for form in forms for case in form[1]], np.int32),
            rules=_ints([form[2] for form in forms]),
            asks=np.array(asks, np.int32),
            before=before,
            after=after,
            near=near,
            heads=heads,
            phrase_starts=_ints(self.phrase_starts),
            phrase_words=_ints(self.phrase_words),
        )
        return Compiled(vocabulary(list(self.numbers)), terms.table(), tuple(name for name, _ in self.lexicon.rules))

    def number(self, word: str) -> int:
        from curate.kernels.term_words import lower

        return self.numbers.setdefault(lower(word), len(self.numbers) + 1)

    def phrases(self, phrases: tuple[str, ...]) -> list[list[int]]:
        from curate.kernels.term_words import words_of
        from curate.kernels.terms import HYPHENATED

        return [[HYPHENATED] if one == "-" else [self.number(word) for word in words_of(one)] for one in phrases]

    def ranges(self, phrases: list[list[list[int]]]) -> Any:
        """Where the phrases of each rule are, once they are all written."""
        bounds = [len(self.phrase_starts) - 1]
        for own in phrases:
            for phrase in own:
                self.phrase_words += phrase
                self.phrase_starts.append(len(self.phrase_words))
            bounds.append(len(self.phrase_starts) - 1)
        return _ints(bounds)

    def flags(self) -> Any:
        import numpy as np

        from curate.kernels import terms
        from curate.kernels.term_words import words_of

        bits = {
            "heads": terms.HEAD, "bridges": terms.BRIDGE, "be": terms.BE, "adverbs": terms.ADVERB,
            "persons": terms.PERSON, "determiners": terms.DETERMINER, "followers": terms.FOLLOWER, "with": terms.WITH,
            "the": terms.THE, "identify": terms.IDENTIFY, "as": terms.AS,
            "conjunctions": terms.CONJUNCTION, "relatives": terms.RELATIVE,
        }  # fmt: skip
        marked = [(word, bits[kind]) for kind, words in self.kinds.items() for one in words for word in words_of(one)]
        for _, rule in self.lexicon.rules:
            if rule.needs_head and not rule.condition and not rule.head_before:
                marked += [(word, terms.TERM) for form in rule.forms for word in words_of(form)]
        numbered = [(self.number(word), bit) for word, bit in marked]
        flags = np.zeros(len(self.numbers) + 1, np.int32)
        for number, bit in numbered:
            flags[number] |= bit
        return flags


def _asks(rule: Rule) -> int:
    from curate.kernels import terms

    bits = (
        (rule.needs_head, terms.NEEDS_HEAD), (rule.noun, terms.NOUN), (rule.after_the, terms.AFTER_THE),
        (rule.condition, terms.CONDITION), (rule.predicate, terms.PREDICATE), (rule.name, terms.NAME),
        (rule.only_heads, terms.ONLY_HEADS), (rule.head_before, terms.HEAD_BEFORE),
    )  # fmt: skip
    return sum(bit for wanted, bit in bits if wanted)


def _cases(words: list[str], exact: bool) -> list[int]:
    from curate.kernels.term_words import lower
    from curate.kernels.terms import ANY_CASE, CAPITALISED, CAPITALS, SMALL

    if not exact:
        return [ANY_CASE] * len(words)
    return [SMALL if word[0] == lower(word)[0] else CAPITALS if word == word.upper() else CAPITALISED for word in words]


def _ints(values: Any) -> Any:
    import numpy as np

    return np.asarray(values, np.int32)
