"""Chat and preference records as turns, and turns put back into the record: the schemas, and which one a record has.

Every record gives one list of turns: those of the prompt, then the response (chat), or the chosen and the rejected one
(preference). Two sides share the turns with which both begin, by role and exact content, but never the last of either.
Turns are compared as turns: a common beginning of two texts may end inside a marker. When all sides repeat the
prompt column, its turns count once and are written to every place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curate import parts
from curate.conversion import convert
from curate.messages import Message
from curate.parts import PARTS, Part
from curate.turns import (
    ASSISTANT,
    CHOSEN,
    INPUT,
    PROMPT,
    REJECTED,
    RESPONSE,
    SCHEMAS,
    FormError,
    Said,
    Side,
    Turn,
    came,
    check_count,
)

__all__ = ["SCHEMAS", "Form", "FormError", "Turn", "convert", "detect", "form_of", "trees_form"]

KINDS = ("chat", "preference")
LABELS = {"true": True, "false": False, "1": True, "0": False}
LISTS_OF_TURNS = ("messages", "conversations", "conversation", "turns", "dialogue", "dialog")  # columns in data sets


@dataclass(frozen=True)
class Form:
    """How the records of one input hold their turns: a kind, a schema, and the input's column for each of its parts."""

    kind: str
    schema: str
    columns: Mapping[str, str]
    trees: bool = False  # the input holds messages of OpenAssistant, of which such records are made

    def turns(self, record: Mapping[str, Any]) -> list[Turn]:
        """The turns of a record, in the order of its text; `FormError` when it holds none or is not of this form."""
        return [Turn(side, role, content) for side, said in self.sides(record) for role, content in said]

    def sides(self, record: Mapping[str, Any]) -> list[Side]:
        """The same as `turns`, side by side; one may be empty."""
        before, after = PARTS[self.schema]
        prompt = self._said(before, record) if before else []
        if self.kind == "chat":
            said = self._said(after, record)
            if prompt:
                said = prompt + said[_repeated(prompt, [said]) :]
            if not said:
                raise FormError(f"{after[0].name}: wanted at least one turn, got none")
            if said[-1][0] == ASSISTANT:
                return [(PROMPT, said[:-1]), (RESPONSE, said[-1:])]
            return [(PROMPT, said)]
        sides = [parts.read(part, self._value(part, record)) for part in after]
        repeated, shared = self._overlap(prompt, sides)
        first = repeated + shared
        names = (CHOSEN, REJECTED) if len(sides) == 2 else (self._judged(record),)
        if first == 0:
            return [(PROMPT, prompt), *zip(names, sides, strict=True)]
        prompt = prompt + sides[0][repeated:first]
        return [(PROMPT, prompt), *((name, side[first:]) for name, side in zip(names, sides, strict=True))]

    def put(self, record: Mapping[str, Any], contents: Sequence[str]) -> dict[str, Any]:
        """The form's own columns with new contents, one for each turn; all else of their structure as it came."""
        made = {column: record[column] for column in self.columns.values() if column in record}
        for part, own in self._shares(record, contents):
            if own:
                made[self.columns[part.name]] = parts.put(part, self._value(part, record), own)
        return made

    def messages(self, record: Mapping[str, Any], contents: Sequence[str]) -> list[list[Message]]:
        """The messages of the prompt and of each side, without what a side shares or repeats, with new contents."""
        before, after = PARTS[self.schema]
        own = {
            part.name: parts.as_messages(part, self._value(part, record), new)
            for part, new in self._shares(record, contents)
        }
        prompt = [message for part in before for message in own[part.name]]
        sides = [own[part.name] for part in after]
        repeated, shared = self._overlap(self._said(before, record), [self._said((part,), record) for part in after])
        first = repeated + shared
        for place, heads in (
            (prompt[:repeated], [side[:repeated] for side in sides]),
            (sides[0][:first], [side[:first] for side in sides]),
        ):
            if any(_beside(head) != _beside(place) for head in heads):
                raise FormError(
                    "wanted a prompt that all its places hold alike, got other calls or names in one of them"
                )
        return [_joined(prompt) + sides[0][repeated:first], *(side[first:] for side in sides)]

    def _said(self, some: Sequence[Part], record: Mapping[str, Any]) -> list[Said]:
        said: list[Said] = []
        for part in some:
            said += parts.read(part, self._value(part, record))
        return said

    def _value(self, part: Part, record: Mapping[str, Any]) -> Any:
        column = self.columns.get(part.name)
        return None if column is None else record.get(column)

    def _overlap(self, prompt: list[Said], sides: list[list[Said]]) -> tuple[int, int]:
        """How many turns of the prompt every side repeats, and how many more a pair shares."""
        repeated = _repeated(prompt, sides)
        if self.kind == "chat":
            return repeated, 0
        if [] in sides:
            empty = PARTS[self.schema][1][sides.index([])]
            raise FormError(f"{empty.name}: wanted at least one turn, got none")
        return repeated, _shared(sides[0], sides[1], repeated) if len(sides) == 2 else 0

    def _shares(self, record: Mapping[str, Any], contents: Sequence[str]) -> list[tuple[Part, list[str]]]:
        """Each part with the contents that go into it."""
        before, after = PARTS[self.schema]
        prompts, sides = ([self._said((part,), record) for part in some] for some in (before, after))
        prompt = [said for some in prompts for said in some]
        repeated, shared = self._overlap(prompt, sides)
        check_count(contents, len(prompt) + shared + sum(len(side) - repeated - shared for side in sides))
        shares, start = [], 0
        for part, some in zip(before, prompts, strict=True):
            shares.append((part, list(contents[start : start + len(some)])))
            start += len(some)
        head = list(contents[start - repeated : start + shared])
        start += shared
        for part, side in zip(after, sides, strict=True):
            end = start + len(side) - len(head)
            shares.append((part, head + list(contents[start:end])))
            start = end
        return shares

    def _judged(self, record: Mapping[str, Any]) -> str:
        """The side of an unpaired response, by its label."""
        label = record.get(self.columns["label"])
        if isinstance(label, str):  # as in CSV, where every cell is text
            label = LABELS.get(label.lower(), label)
        if not isinstance(label, int | float):
            raise FormError(f"label: wanted true or false, got {came(label)}")
        if label not in (0, 1):
            raise FormError("label: wanted true or false, got another number")
        return CHOSEN if label else REJECTED


def form_of(
    kind: str | None,
    schema: str | None,
    columns: Mapping[str, str] | None,
    names: Collection[str],
    example: Mapping[str, Any] | None,
) -> Form:
    """The form with these names, found by its columns and an example where the schema is not given.

    `columns` names the input's columns for parts of the schema; `names` are the columns that the input has.
    """
    if kind is not None and kind not in KINDS:
        raise FormError(f"wanted kind {' or '.join(KINDS)}, got {kind!r}{_near(kind, KINDS)}")
    if schema is not None:
        return _named_form(kind, schema, columns or {}, names)
    found = _detect(kind, columns or {}, names, [] if example is None else [example])
    if found is None:
        raise FormError(_no_form(kind, columns or {}, names, [] if example is None else [example]))
    return found


def _no_form(
    kind: str | None, columns: Mapping[str, str], names: Collection[str], examples: Sequence[Mapping[str, Any]]
) -> str:
    """Why no form was found: another kind, a column that is not there, a record that cannot be read, or the columns."""
    other = _detect(None, columns, names, examples)
    if other is not None:
        return f"wanted kind {kind}, got records of kind {other.kind} (schema {other.schema})"
    for column in columns.values():
        if column not in names:
            return f"wanted a column {column!r}, got none of that name{_near(column, names)}"
    for form in _candidates(kind, columns, names, examples):
        for example in examples:
            try:
                form.sides(example)
            except FormError as error:
                return f"the columns are those of schema {form.schema}, but the first record cannot be read: {error}"
    known = "; ".join(f"{name}: {', '.join(one.columns)}" for name, one in SCHEMAS.items() if kind in (None, one.kind))
    return f"wanted records of a known schema ({known}), got the columns {', '.join(sorted(names)) or 'none'}"


def trees_form(kind: str) -> Form:
    """The form of the records that are made of OpenAssistant trees: threads for chat, ranked pairs for preference."""
    schema = "messages" if kind == "chat" else "explicit"
    return Form(kind, schema, {part: part for part in SCHEMAS[schema].columns}, trees=True)


def detect(names: Collection[str], examples: Sequence[Mapping[str, Any]]) -> Form | None:
    """The form that these columns and records have: the first by which more than half of the records read."""
    return _detect(None, {}, names, examples)


def _named_form(kind: str | None, schema: str, columns: Mapping[str, str], names: Collection[str]) -> Form:
    if schema not in SCHEMAS:
        raise FormError(f"wanted a schema of {', '.join(SCHEMAS)}, got {schema!r}{_near(schema, SCHEMAS)}")
    known = SCHEMAS[schema]
    if kind not in (None, known.kind):
        raise FormError(f"schema {schema} is of kind {known.kind}, got kind {kind}")
    every = known.columns + known.optional
    for part in columns:
        if part not in every:
            raise FormError(f"schema {schema} has {', '.join(every)}, got {part!r}{_near(part, every)}")
    chosen = {part: columns.get(part, part) for part in every}
    for part, column in chosen.items():
        if column not in names and (part in known.columns or part in columns):
            raise FormError(f"schema {schema} wanted a column {column!r}, got none of that name{_near(column, names)}")
    return Form(known.kind, schema, {part: column for part, column in chosen.items() if column in names})


def _detect(
    kind: str | None, columns: Mapping[str, str], names: Collection[str], examples: Sequence[Mapping[str, Any]]
) -> Form | None:
    for form in _candidates(kind, columns, names, examples):
        if sum(reads(form, example) for example in examples) * 2 > len(examples) or not examples:
            return form
    return None


def _candidates(
    kind: str | None, columns: Mapping[str, str], names: Collection[str], examples: Sequence[Mapping[str, Any]]
) -> Iterator[Form]:
    """The forms whose columns are there, in the order in which they are tried."""
    for schema, known in SCHEMAS.items():
        if schema == "hh" and not examples:
            continue  # the columns alone are those of `implicit`, which reads transcripts as well
        if kind not in (None, known.kind) or not {*columns} <= {*known.columns, *known.optional}:
            continue
        first = known.columns[0]
        others = LISTS_OF_TURNS if first in LISTS_OF_TURNS and examples else ()  # examples tell the schemas apart
        for column in [columns[first]] if first in columns else dict.fromkeys((first, *others)):
            wanted = {**{part: part for part in known.columns}, first: column, **columns}
            if all(name in names for name in wanted.values()):
                yield _named_form(kind, schema, wanted, names)


def _joined(prompt: list[Message]) -> list[Message]:
    """The messages of a prompt with an input of Alpaca at the end of its instruction."""
    if len(prompt) != 2 or prompt[1]["role"] != INPUT:
        return prompt
    instruction, given = prompt
    return [{**instruction, "content": f"{instruction['content']}\n\n{given['content']}"}]


def reads(form: Form, record: Mapping[str, Any]) -> bool:
    """Whether a record holds turns of this form."""
    try:
        form.sides(record)
    except FormError:
        return False
    return True


def _repeated(prompt: list[Said], sides: list[list[Said]]) -> int:
    """The length of the prompt when every side begins with it and goes on, else 0."""
    count = len(prompt)
    if count == 0:
        return 0
    for side in sides:
        if len(side) <= count or side[0] != prompt[0] or side[:count] != prompt:
            return 0
    return count


def _shared(chosen: list[Said], rejected: list[Said], start: int) -> int:
    """How many turns from `start` on are the same on both sides, the last of each left out."""
    end = min(len(chosen), len(rejected)) - 1
    place = start
    while place < end and chosen[place] == rejected[place]:
        place += 1
    return place - start


def _beside(messages: Sequence[Message]) -> list[Message]:
    """What messages hold beside their role and a plain content."""
    return [
        {
            name: value
            for name, value in one.items()
            if name != "role" and not (name == "content" and isinstance(value, str | None))
        }
        for one in messages
    ]


def _near(name: str, names: Collection[str]) -> str:
    from curate.filter import nearest

    near = nearest(name, names)
    return "" if near is None else f"; did you mean {near!r}?"
