"""Kinds of columns: null < bool < int < float < string, json for nested values, and Parquet's other types by name."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

CHAIN = ("null", "bool", "int", "float", "string")
OTHER = "polars:"  # a Parquet type beside the chain: kept when it is the same in all files
MESSAGES = "messages:"  # lists of objects, as of chat records: the kind of every key, as JSON
INT64 = range(-(2**63), 2**63)

_BASIC: dict[str, pl.DataType] = {"bool": pl.Boolean(), "int": pl.Int64(), "float": pl.Float64()}


def wider(first: str, second: str) -> str:
    """The kind that holds the values of both."""
    if first == second or second == "null":
        return first
    if first == "null":
        return second
    if first in CHAIN and second in CHAIN:
        return max(first, second, key=CHAIN.index)
    if first.startswith(MESSAGES) and second.startswith(MESSAGES):
        kinds = _message_kinds(first)
        merge(kinds, _message_kinds(second))
        return MESSAGES + orjson.dumps(kinds).decode()
    return "string"


def merge(known: dict[str, str], more: Mapping[str, str]) -> None:
    """Widen `known` by the columns of another part, in order of first appearance."""
    for name, kind in more.items():
        known[name] = wider(known.get(name, "null"), kind)


def kind_of(value: Any) -> str:
    """The kind of one value that JSON gave; integers beyond int64 are floats, as orjson reads larger ones."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if value in INT64 else "float"
    if isinstance(value, float):
        return "float"
    return "string" if isinstance(value, str) else "json"


def kind_of_messages(values: list[Any]) -> str:
    """The kind of a list of messages: of every key the kind of its values; JSON where an item is no object."""
    kinds: dict[str, str] = {}
    for message in values:
        if type(message) is not dict:
            return "json"
        for name, value in message.items():
            known = kinds.get(name)
            if type(value) is str and (known is None or known == "string"):
                kinds[name] = "string"
            else:
                kinds[name] = wider(known or "null", kind_of(value))
    return _named_kinds(tuple(kinds.items()))


@functools.lru_cache(maxsize=256)
def _named_kinds(kinds: tuple[tuple[str, str], ...]) -> str:
    return MESSAGES + orjson.dumps(dict(kinds)).decode()


@functools.lru_cache(maxsize=256)
def _known_kinds(kind: str) -> dict[str, str]:
    found: dict[str, str] = orjson.loads(kind.removeprefix(MESSAGES))
    return found


def _message_kinds(kind: str) -> dict[str, str]:
    return dict(_known_kinds(kind))


def messages(values: list[Any], kind: pl.List) -> pl.Series:
    """A column of lists of messages from plain values, every key cast to its type; nested values are JSON.

    Key by key, because polars makes a frame for each list that it is given whole.
    """
    inner = kind.inner
    assert isinstance(inner, pl.Struct)
    flat = [message for value in values if value for message in value]
    columns: list[pl.Series] = []
    for field in inner.fields:
        found = [message.get(field.name) for message in flat]
        if field.dtype == pl.String and set(map(type, found)) - {str, type(None)}:
            found = [None if given is None else json_text(given) for given in found]
        columns.append(pl.Series(field.name, found, dtype=field.dtype, strict=False))
    sizes = np.fromiter((len(value or ()) for value in values), np.int64, len(values))
    made = listed(pl.DataFrame(columns).to_struct("messages"), np.concatenate([[0], np.cumsum(sizes)]))
    missing = pl.Series([value is None for value in values], dtype=pl.Boolean)
    if missing.any():
        made = pl.select(pl.when(~missing).then(made)).to_series()
    return made.alias("")


def listed(flat: pl.Series, offsets: NDArray[np.int64]) -> pl.Series:
    """A column of lists from all their items in a row and where each list begins, shape [n + 1]."""
    import pyarrow as pa

    array = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), flat.to_arrow())
    made = pl.from_arrow(array)
    assert isinstance(made, pl.Series)
    return made.alias(flat.name)


def kind_of_type(kind: pl.DataType) -> str:
    """The kind of a Parquet column, from the polars type that it is read as."""
    if kind == pl.Null:
        return "null"
    if kind == pl.Boolean:
        return "bool"
    if kind in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32):
        return "int"
    if kind in (pl.Float32, pl.Float64):
        return "float"
    if kind == pl.String:
        return "string"
    return f"{OTHER}{kind!r}"


def type_of(kind: str) -> pl.DataType:
    """The polars type of a column of this kind; a column of nulls only, and JSON, are strings."""
    if kind.startswith(MESSAGES):
        keys = _known_kinds(kind) or {"role": "string", "content": "string"}  # no message anywhere: Parquet wants a key
        return pl.List(pl.Struct({name: type_of(inner) for name, inner in keys.items()}))
    if kind.startswith(OTHER):
        return _parse(ast.parse(kind.removeprefix(OTHER), mode="eval").body)
    return _BASIC.get(kind, pl.String())


def _parse(node: ast.expr) -> pl.DataType:
    """A polars type from its own notation, for example `List(Struct({'a': Int64}))`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        values = [_value(argument) for argument in node.args]
        options = {word.arg: _value(word.value) for word in node.keywords if word.arg}
        made: pl.DataType = _class(node.func.id)(*values, **options)
        return made
    assert isinstance(node, ast.Name), "not the notation of a polars type"
    plain: pl.DataType = _class(node.id)()
    return plain


def _class(name: str) -> Any:
    found = getattr(pl, name)
    assert isinstance(found, type), f"{name} is no polars type"
    assert issubclass(found, pl.DataType), f"{name} is no polars type"
    return found


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        return {ast.literal_eval(key): _parse(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.Call) or (isinstance(node, ast.Name) and hasattr(pl, node.id)):
        return _parse(node)
    return ast.literal_eval(node)


def json_text(value: Any) -> str:
    """A value as text: strings as they are, anything else as compact JSON; bytes are UTF-8 or escaped."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return escaped(value)
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: Any) -> Any:
    return escaped(value) if isinstance(value, bytes) else str(value)


def escaped(data: bytes) -> str:
    r"""Bytes as text; those that are not UTF-8 become `\xNN`."""
    return data.decode(errors="backslashreplace")
