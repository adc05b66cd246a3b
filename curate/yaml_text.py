"""YAML text to plain values that remember their lines, and back.

YAML 1.2 through ruamel.yaml: `no` stays text and `1e-3` is a number. A pipeline is data: tags, anchors, aliases and
files above 1 MB are refused, duplicate keys are errors. Everything wrong with a text is listed at once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.errors import PipelineError, Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
PLAIN = r"[A-Za-z_/][\w./*@+%-]*"
QUOTED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}  # half of them only for readers of YAML 1.1

Way = tuple[str | int, ...]  # the way to a value: keys and list positions, ("steps", 0, "length", "min_words")


@dataclass(frozen=True)
class Place:
    """Where a value was written: `file:line`, or the override on the command line."""

    text: str
    order: int


@dataclass
class Values:
    """Plain values (text, numbers, true and false, null, lists, mappings) and the place of each."""

    root: Any
    source: str
    places: dict[Way, Place] = field(default_factory=dict)

    def place(self, path: Way) -> Place:
        """The place of a value, else that of the nearest value around it."""
        for stop in range(len(path), -1, -1):
            if path[:stop] in self.places:
                return self.places[path[:stop]]
        return Place(self.source, 0)

    def put(self, path: Way, place: Place) -> None:
        """Note that the value at `path` and everything in it was written at `place`."""
        for inner in [known for known in self.places if known[: len(path)] == path]:
            del self.places[inner]
        self.places[path] = place


def read_yaml(text: str, source: str) -> Values:
    """Read YAML text; raises PipelineError with every problem, each with `source:line`."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise PipelineError([too_large(source)])
    problems = list(_refused(text, source))
    if problems:
        raise PipelineError(problems)
    values = Values(None, source)
    node = _yaml().compose(text.removeprefix("\ufeff"))
    if node is not None:
        values.root = _plain(node, (), values, problems)
    if problems:
        raise PipelineError(problems)
    return values


def too_large(source: str) -> Problem:
    """The problem of a file that is too large to be a pipeline."""
    return Problem("larger than 1 MB, which no pipeline is", source, "give word lists and the like as files")


def write_yaml(mapping: Mapping[str, Any]) -> str:
    """Plain values as YAML text that `read_yaml` reads back equal, one key on a line.

    Lists with mappings in them have one item on a line; other lists and mappings stand on one line. Written here
    because ruamel.yaml 0.19 writes some texts (":0" as a key in braces, U+0085) so that it cannot read them back.
    """
    lines: list[str] = []
    for key, value in mapping.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            lines.append(f"{_text(key)}:")
            for item in value:
                lines += _item(item)
        else:
            lines.append(f"{_text(key)}: {_flow(value)}")
    return "".join(f"{line}\n" for line in lines)


def _item(value: Any) -> list[str]:
    if not isinstance(value, dict) or not value:
        return [f"  - {_flow(value)}"]
    pairs = [f"{_text(key)}: {_flow(inner)}" for key, inner in value.items()]
    return [f"  - {pairs[0]}", *(f"    {pair}" for pair in pairs[1:])]


def _flow(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else repr(value).replace("inf", ".inf").replace("nan", ".nan")
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    return _text(value)


def _text(text: str) -> str:
    """A text as it is where nobody can misread it, else in double quotes with everything invisible escaped."""
    if re.fullmatch(PLAIN, text, re.ASCII) and text.lower() not in QUOTED:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in quoted)


def _yaml() -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="rt", pure=True)


def _refused(text: str, source: str) -> Iterator[Problem]:
    """Walk the events of a text: syntax errors, and what YAML allows but a pipeline does not."""
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    depth = 0
    documents = 0
    try:
        for event in _yaml().parse(text.removeprefix("\ufeff")):
            kind = type(event).__name__
            where = f"{source}:{event.start_mark.line + 1}"
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    yield Problem("a second document starts here", where, "a file holds one pipeline")
                    return
                if event.version not in (None, (1, 2)):
                    yield Problem("only YAML 1.2 is read", where, "remove the %YAML line")
            elif kind in ("MappingStartEvent", "SequenceStartEvent"):
                depth += 1
                if depth > MAX_DEPTH:
                    yield Problem(f"nested more than {MAX_DEPTH} deep", where)
                    return
            elif kind in ("MappingEndEvent", "SequenceEndEvent"):
                depth -= 1
            if kind == "AliasEvent":
                yield Problem(f"the alias *{event.anchor} is not allowed", where, "write the value out, or quote it")
            elif getattr(event, "anchor", None) is not None:
                yield Problem(f"the anchor &{event.anchor} is not allowed", where, "write values out, or quote it")
            if getattr(event, "tag", None) is not None:
                tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
                yield Problem(f"the tag {tag} is not allowed", where, "a pipeline is plain data; quote text with a !")
    except ReaderError as error:
        where = f"{source}:{text.count(chr(10), 0, error.position) + 1}"
        yield Problem(f"the character U+{_code(error.character):04X} is not allowed", where)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = source if mark is None else f"{source}:{mark.line + 1}"
        if "'\\t'" in (error.problem or ""):
            yield Problem("a tab cannot indent YAML", where, "indent with spaces")
        else:
            yield Problem(_syntax(error), where)
    except (YAMLError, ValueError) as error:
        yield Problem(f"not readable as YAML: {error}", source)


def _code(character: Any) -> int:
    """The code point that ruamel.yaml gives as a number or as a character."""
    return character if isinstance(character, int) else ord(character)


def _syntax(error: Any) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return "not readable as YAML: " + ", ".join(" ".join(str(part).split()) for part in parts)


def _plain(node: Any, path: Way, values: Values, problems: list[Problem]) -> Any:
    """A node as a plain value; notes the places of all that is in it."""
    kind = type(node).__name__
    if kind == "ScalarNode":
        return _scalar(node, values, problems)
    if kind == "SequenceNode":
        items: list[Any] = []
        for number, item in enumerate(node.value):
            values.places[(*path, number)] = _line(item, values)
            items.append(_plain(item, (*path, number), values, problems))
        return items
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = _line(key_node, values)
        if type(key_node).__name__ != "ScalarNode":
            problems.append(Problem("a key must be text", line.text, "quote it if it starts with [ or {"))
            continue
        key = str(key_node.value)  # keys are text as written: `no: 0.5` and `1: 0.5` mean "no" and "1"
        if key in mapping:
            first = values.place((*path, key)).order
            problems.append(Problem(f'the key "{key}" stands here again; the first is on line {first}', line.text))
            continue
        values.places[(*path, key)] = line
        mapping[key] = _plain(value_node, (*path, key), values, problems)
    return mapping


def _line(node: Any, values: Values) -> Place:
    line = node.start_mark.line + 1
    return Place(f"{values.source}:{line}", line)


def _scalar(node: Any, values: Values, problems: list[Problem]) -> Any:
    """A scalar as YAML 1.2's core schema reads it; dates stay text."""
    text: str = node.value
    kind = str(node.tag).rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind in ("int", "float"):
        number = text.replace("_", "").lower()
        try:
            return _whole(number) if kind == "int" else float(number.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            problems.append(Problem(f"not a number: {text[:40]}", _line(node, values).text, "quote text"))
            return None
    if any("\ud800" <= character <= "\udfff" for character in text):
        problems.append(Problem("a half of a surrogate pair is no text", _line(node, values).text))
    return text


def _whole(text: str) -> int:
    base = {"0x": 16, "0o": 8, "0b": 2}.get(text.lstrip("+-")[:2], 10)
    return int(text, base)
