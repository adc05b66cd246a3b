"""Kinds of columns: null < bool < int < float < string, json for nested values, and Parquet's other types by name."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import orjson
import polars as pl

CHAIN = ("null", "bool", "int", "float", "string")
OTHER = "polars:"  # a Parquet type beside the chain: kept when it is the same in all files
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
