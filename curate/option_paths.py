"""Paths among a filter's options: joined with the folder of the pipeline, and written relative to it again.

An option is a path when its type says so (pathlib.Path, also in lists, mappings and unions).
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from curate.filter import Filter


def join_paths(filter: Filter, base: Path) -> Filter:
    """The filter with its relative paths joined with `base`."""
    changed: dict[str, Any] = {}
    for name, field in type(filter).model_fields.items():
        before = getattr(filter, name)
        after = change_paths(field.annotation, before, lambda path: base / path)
        if after != before:
            changed[name] = after
    return filter.model_copy(update=changed) if changed else filter


def relative_options(filter: Filter, base: Path, *, defaults: bool = True) -> dict[str, Any]:
    """The options as plain values, paths inside `base` relative to it."""

    def shorten(path: str | PurePath) -> str:
        inside = Path(path).is_relative_to(base)
        return Path(path).relative_to(base).as_posix() if inside else os.fspath(path)

    fields = type(filter).model_fields
    return {
        name: change_paths(fields[name].annotation, value, shorten) if name in fields else value
        for name, value in filter.options(defaults=defaults).items()
    }


def change_paths(annotation: Any, value: Any, change: Callable[[Any], Any]) -> Any:
    """The value of an option with `change` applied to what its type says is a path, also in lists and mappings.

    Where the type says "a path or any text" nothing is changed: nobody can tell which it is.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, PurePath):
        return change(value) if isinstance(value, str | PurePath) else value
    if origin is Annotated:
        return change_paths(parts[0], value, change)
    if origin in (Union, types.UnionType):
        words = [word for part in parts if get_origin(part) is Literal for word in get_args(part)]
        if str in parts or value in words:
            return value
        for part in parts:
            changed = change_paths(part, value, change)
            if changed != value:
                return changed
        return value
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: change_paths(parts[1], inner, change) for key, inner in value.items()}
    if parts and origin is not Literal and isinstance(value, list | tuple | set | frozenset):
        each = parts if origin is tuple and parts[-1] is not ... else (parts[0],) * len(value)
        if len(each) == len(value):
            return type(value)(change_paths(part, inner, change) for part, inner in zip(each, value, strict=True))
    return value
