"""What the options of `balance` say: amounts with units, targets, bounds, files of shares, tokenizers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.mix import Wish

METHODS = ("natural", "unimax", "rehydrate")
UNITS = ("documents", "bytes", "words", "tokens")
BUDGET = re.compile(r"^\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKmMgGbBtT]?)\s*([A-Za-z]*)\s*$")
PART = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*$")
POWERS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
NAMES = {"": None, "document": "documents", "doc": "documents", "docs": "documents", "byte": "bytes", "word": "words"}
NAMES |= {"token": "tokens", **{unit: unit for unit in UNITS}}


def read_budget(budget: str | float | None) -> tuple[float | None, str | None]:
    """The budget as a number, and the unit that it names; ValueError for what is neither."""
    if budget is None:
        return None, None
    wanted = "budget must be an amount above 0 such as `2B tokens`, `8000 documents`, `1.5GB`, `30%` or a number"
    if not isinstance(budget, str):
        if isinstance(budget, bool) or not (math.isfinite(budget) and budget > 0):
            raise ValueError(f"{wanted}, not {budget!r}")
        return float(budget), None
    if read_part(budget) is not None:
        return None, None
    match = BUDGET.match(budget)
    if match is None:
        raise ValueError(f"{wanted}, not {budget!r}")
    number, power, unit = match[1].replace(",", "").replace("_", ""), match[2].lower(), match[3].lower()
    if power and f"{power}{unit}" in NAMES:  # 10 tokens: the t belongs to the word
        power, unit = "", f"{power}{unit}"
    elif power and unit == "b":  # 1.5GB
        unit = "bytes"
    amount = float(Decimal(number) * POWERS[power])
    if NAMES.get(unit) == "documents" and amount < 1:
        raise ValueError(f"{wanted}, not {budget!r}")
    if unit not in NAMES or (power == "b" and not unit) or not amount:  # 2B: billions, or bytes?
        raise ValueError(f"{wanted}, not {budget!r}")
    return amount, NAMES[unit]


def read_part(budget: str | float | None) -> float | None:
    """The part of what there is that a budget such as `30%` names, None for any other; ValueError for 0."""
    match = PART.match(budget) if isinstance(budget, str) else None
    if match is None:
        return None
    if not float(match[1]):
        raise ValueError("budget must be above 0 %")
    return float(match[1]) / 100


def read_bound(option: str, bound: Any, names: list[str], per_column: bool) -> dict[str, Any]:
    """A bound for every column that is balanced: one for all groups, or by name of group; ValueError for nonsense."""
    highest = math.inf if option == "min_documents" else 1.0
    what = "counts" if option == "min_documents" else "shares from 0 to 1"
    if not all(0 <= number <= highest for number in _numbers(bound)):
        raise ValueError(f"{option} must be {what}")
    if not isinstance(bound, dict):
        return dict.fromkeys(names, bound)
    if not per_column and not any(isinstance(one, dict) for one in bound.values()):
        return dict.fromkeys(names, bound)
    unknown = [name for name in bound if name not in names]
    if unknown:
        raise ValueError(
            f"{option} names {unknown[0]!r}, which is no column of the target: {{column: {{value: number}}}} with "
            f"{', '.join(names)}"
        )
    return dict(bound)


def _numbers(bound: Any) -> Iterator[float]:
    if isinstance(bound, dict):
        for one in bound.values():
            yield from _numbers(one)
    else:
        yield bound


def _name(key: Any) -> str:
    """A group's name as the ledger writes its value; null is the group of documents without one."""
    from curate.margins import MISSING

    return MISSING if key in (None, "null") else str(key).lower() if isinstance(key, bool) else str(key)


def with_plain_keys(value: Any, number: type[int] | type[float] = float) -> Any:
    """Nested options with the names of groups as keys, whole numbers as `number`."""
    if isinstance(value, Mapping):
        return {_name(key): with_plain_keys(one, number) for key, one in value.items()}
    return number(value) if isinstance(value, int) and not isinstance(value, bool) else value


def wish_of(value: Any, columns: tuple[str, ...], files: bool) -> Wish:
    """What a target, or the part of it for one column, asks for; ValueError for what is none."""
    from curate.mix import Wish

    if isinstance(value, dict):
        if set(value) == {"temperature"}:
            return Wish("temperature", float(value["temperature"]))
        return Wish("shares", shares=value)
    if value in METHODS:
        return Wish(value)
    if isinstance(value, Path) and value.suffix.lower() in (".csv", ".parquet"):
        return Wish("shares", shares=read_shares(value, columns) if files else {})
    raise ValueError(
        "target must be natural, unimax, rehydrate, {temperature: 0.3}, {value: share} or a .csv or .parquet file, "
        f"not {str(value)!r}"
    )


def check_wish(column: str, wish: Wish) -> None:
    """Refuse powers and shares outside 0 to 1."""
    if wish.method == "temperature" and not 0 <= wish.alpha <= 1:
        raise ValueError("temperature is the power of the amounts, from 0 (equal shares) to 1 (as they are)")
    if any(not isinstance(share, float) or not 0 <= share <= 1 for share in wish.shares.values()):
        raise ValueError(f"shares of {column} must be numbers from 0 to 1")


@cache
def read_shares(path: Path, columns: tuple[str, ...]) -> Mapping[str, float]:
    """The shares in a file with the named columns (or one column `value`) and `share`."""
    from curate.margins import joined

    try:
        csv = path.suffix.lower() == ".csv"
        table = pl.read_csv(path, infer_schema=False) if csv else pl.read_parquet(path)
        table = table.with_columns(pl.col("share").cast(pl.Float64))
        names = ["value"] if len(columns) == 1 and columns[0] not in table.columns else list(columns)
        rows = table.select(*(pl.col(name).cast(pl.String) for name in names), "share").rows()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"the shares in {str(path)!r} cannot be read: {error}",
            hint=f"a .csv or .parquet file with the columns {', '.join(columns)} and share",
        ) from error
    shares = {joined([_name(part) for part in row[:-1]]): row[-1] for row in rows}
    bad = [name for name, share in shares.items() if share is None or not 0 <= share <= 1]
    if bad or len(shares) < len(rows) or sum(shares.values()) > 1 + 1e-6:
        wrong = f"the share of {bad[0]!r} is not from 0 to 1" if bad else "a value is named twice"
        if not bad and len(shares) == len(rows):
            wrong = f"they add up to {sum(shares.values()):.6g}"
        raise UsageError(f"the shares in {str(path)!r} are wrong: {wrong}", hint="shares are parts of 1")
    return shares


# --- tokens -----------------------------------------------------------------------------------------------------------


def count_tokens(path: Path, texts: pl.Series) -> list[int]:
    """The tokens of each text, without special tokens, by a tokenizer.json of the `tokenizers` library."""
    encode = _tokenizer(path)
    return [len(one.ids) for one in encode.encode_batch_fast(texts.to_list(), add_special_tokens=False)]


@cache
def _tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for every fault of the file
        raise UsageError(f"the tokenizer {str(path)!r} cannot be read: {error}") from error
    made.no_truncation()
    made.no_padding()
    return made
