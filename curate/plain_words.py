"""Validation errors of options in plain words: which option, what was wanted, what came, the nearest right name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from curate.filter import nearest

WANTED = {
    "bool": "true or false",
    "bytes": "text",
    "dataclass": "a mapping",
    "date": "a date",
    "dict": "a mapping",
    "finite": "a finite number",
    "float": "a number",
    "frozen": "a list",
    "int": "a whole number",
    "iterable": "a list",
    "list": "a list",
    "mapping": "a mapping",
    "model": "a mapping",
    "path": "a path",
    "set": "a list",
    "string": "text",
    "tuple": "a list",
}
BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong with some options: the way to it, what is wrong, the nearest right name."""

    path: tuple[str | int, ...]
    message: str
    hint: str | None = None


def faults(error: ValidationError, values: Any, model: type[BaseModel], owner: str) -> list[Fault]:
    """What is wrong with `values`, the options of `owner` (as in: the filter "length"), one fault per option."""
    groups: dict[tuple[tuple[str | int, ...], str], list[Any]] = {}
    for one in error.errors(include_url=False):
        kind = one["type"] if one["type"] in ("missing", "extra_forbidden") else "wrong"
        path = _path(one["loc"], values, missing=kind == "missing")
        groups.setdefault((path, kind), []).append(one)
    return [_fault(path, kind, some, model, owner) for (path, kind), some in groups.items()]


def got(value: Any) -> str:
    """A value as a person would call it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value!r}"[:60]
    if isinstance(value, str):
        text = value if len(value) <= 60 else value[:57] + "..."
        return f"the text {json.dumps(text, ensure_ascii=False)}"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple | set) else f"a {type(value).__name__}"


def similar(name: str, names: Sequence[str]) -> str | None:
    """The nearest right name, or all of them when nothing is near and they are few."""
    near = nearest(name, names)
    if near is not None:
        return f'did you mean "{near}"?'
    return f"known: {', '.join(names)}" if 0 < len(names) <= 12 else None


def dotted(path: Sequence[str | int]) -> str:
    """A way to a value as text: `input.paths[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _path(loc: tuple[str | int, ...], values: Any, *, missing: bool) -> tuple[str | int, ...]:
    """The part of pydantic's way that leads through the values; names of union members and functions fall out."""
    path: list[str | int] = []
    inner = values
    for number, part in enumerate(loc):
        if isinstance(inner, BaseModel):
            inner = dict(inner)
        known = range(len(inner)) if isinstance(inner, list | tuple) else inner if isinstance(inner, dict) else ()
        if part in known:
            inner = inner[part]
            path.append(part)
        elif missing and number == len(loc) - 1:
            path.append(part)
    return tuple(path)


def _fault(path: tuple[str | int, ...], kind: str, errors: Sequence[Any], model: type[BaseModel], owner: str) -> Fault:
    key = dotted(path)
    if kind == "extra_forbidden":
        names = _names(model, path[:-1])
        inside = f"{dotted(path[:-1])} of {owner}" if len(path) > 1 else owner
        return Fault(path, f'{inside} has no "{path[-1]}"', similar(str(path[-1]), names))
    if kind == "missing":
        return Fault(path, f'{owner} needs "{key}"')
    subject = f'"{key}" of {owner}' if path else owner
    value = errors[0]["input"]
    raised = [_raised(one) for one in errors if one["type"] in ("value_error", "assertion_error")]
    if raised and raised[0].startswith("must "):
        return Fault(path, f"{subject} {raised[0]}, got {got(value)}")
    if raised:
        return Fault(path, f"{subject}: {'; '.join(raised)}")
    wanted = list(dict.fromkeys(_wanted(one) for one in errors))
    return Fault(path, f"{subject} must be {' or '.join(wanted)}, got {got(value)}", _hint(errors, value))


def _raised(error: Any) -> str:
    """The text that a validator raised, without pydantic's words around it."""
    return str(error.get("ctx", {}).get("error") or error["msg"])


def _wanted(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in BOUNDS:
        word, key = BOUNDS[kind]
        return f"{word} {context[key]}"
    if kind in ("literal_error", "enum"):
        return str(context["expected"]).replace("'", '"')
    if kind.endswith(("too_short", "too_long")):
        side = "at least" if kind.endswith("short") else "at most"
        unit = "characters" if kind.startswith("string") else "items"
        return f"{side} {context.get('min_length', context.get('max_length'))} {unit} long"
    if kind == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    if kind == "none_required":
        return "null"
    if kind == "is_instance_of":
        return f"a {context['class']}"
    first = kind.split("_")[0]
    if first in WANTED:
        return WANTED[first]
    text = str(error["msg"])
    return text.removeprefix("Input should be ") if text.startswith("Input should be ") else f"valid ({text})"


def _hint(errors: Sequence[Any], value: Any) -> str | None:
    kinds = {one["type"] for one in errors}
    if "string_type" in kinds and isinstance(value, int | float):
        return f"quote it: {json.dumps(json.dumps(value))}"
    if kinds & {"int_type", "float_type"} and isinstance(value, str) and _is_number(value):
        return "write it without quotes"
    if kinds & {"literal_error", "enum"} and isinstance(value, str):
        expected = " ".join(str(one["ctx"]["expected"]) for one in errors if "expected" in one.get("ctx", {}))
        near = nearest(value, expected.split("'")[1::2])
        return f'did you mean "{near}"?' if near else None
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _names(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that the model, or the model inside it at `path`, knows."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field is not None else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
