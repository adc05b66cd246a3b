"""Keep as much of each group as a target asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.errors import UsageError
from curate.filter import Corpus, CorpusFilter, as_tuples
from curate.filters.keep import column

if TYPE_CHECKING:
    from curate.filters.balance_draw import Draw
    from curate.mix import Goal, Mix, Wish

METHODS = ("natural", "unimax", "rehydrate")
UNITS = ("documents", "bytes", "words", "tokens")
BUDGET = re.compile(r"^\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKmMgGbBtT]?)\s*([A-Za-z]*)\s*$")
POWERS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
NAMES = {"": None, "document": "documents", "doc": "documents", "docs": "documents", "byte": "bytes", "word": "words"}
NAMES |= {"token": "tokens", **{unit: unit for unit in UNITS}}
CELL = "\x1f"  # between the groups of a cell, where they are one text

ShareBound = float | dict[str, float | dict[str, float]]
CountBound = int | dict[str, int | dict[str, int]]
Method = Literal["natural", "unimax", "rehydrate"]
Target = Method | Path | dict[str, Method | Path | float | dict[str, float]]


class Balance(CorpusFilter, name="balance"):
    """Draw documents so that groups have the shares that a target asks for, or say what is missing.

    Groups are the values of one or several columns, as they were measured: a share of `language.label = sw` is a share
    of documents that were labelled so. Amounts are in documents, bytes, words or tokens. Of each group documents are
    drawn at random, the same ones in every run, whatever the order of the input; a document is used at most
    `max_repeats` times. A target that the corpus cannot meet stops the run with exit code 1 before anything is
    written, and the message says which groups are short, and by how much.
    """

    scores: ClassVar[dict[str, str]] = {
        "rate": "copies of a document of this group, on average: below 1 it is the chance of being drawn",
        "size": "what the document counts, in the unit of the target",
        "cell": "the document's groups, one for each column of `by`",
    }
    source: ClassVar[str] = (
        "UniMax: arXiv 2304.09151; temperature: arXiv 2010.11934; several columns: Deville and Sarndal 1992, JASA 87; "
        "drawing: Rosen 1997"
    )

    by: tuple[str, ...] = Field(
        default=(),
        description=(
            "columns whose values are the groups (an input column, or `step.score`); several columns are balanced by "
            "their combinations, unless `target` has one entry for each"
        ),
    )
    target: Target = Field(
        default="natural",
        description=(
            "`natural` (as the corpus is), `unimax` (as equal as the supply allows), `{temperature: 0.3}` (shares in "
            "proportion to amount ** 0.3), `{value: share, ...}`, a .csv or .parquet file with the columns of `by` and "
            "`share`, `rehydrate` (by sizes of duplicate clusters, as FineWeb-2), or `{column: any of these, ...}`. "
            "Shares that add up to less than 1 leave the rest to all other values, as they are"
        ),
    )
    budget: str | int | float | None = Field(
        default=None,
        description=(
            "how much to keep: `2B tokens`, `8000 documents`, `1.5GB`, or a number in `unit`; null keeps as much as "
            "the target allows, at most as much as there is"
        ),
    )
    unit: Literal["documents", "bytes", "words", "tokens"] | None = Field(
        default=None, description="what shares and budget are counted in; null: as in `budget`, else bytes"
    )
    tokenizer: Path | None = Field(
        default=None, description="the tokenizer.json that counts tokens, relative to the pipeline file"
    )
    min_share: ShareBound = Field(
        default=0.0, description="least share of every group, or of some: {value: share}, {column: {value: share}}"
    )
    max_share: ShareBound = Field(default=1.0, description="most share of every group, or of some, as `min_share`")
    min_documents: CountBound = Field(
        default=0, description="least number of documents of every group, or of some, as `min_share`"
    )
    max_repeats: int = Field(default=1, ge=1, le=1000, description="how often a document may be used")
    rate_bounds: tuple[float, float | None] = Field(
        default=(0.0, None),
        description=(
            "with targets for several columns: least and most that a combination of values may get, as a multiple of "
            "what it would have by its own share"
        ),
    )
    on_infeasible: Literal["error", "soft"] = Field(
        default="error",
        description="a target that cannot be met stops the run, or the nearest mix is taken and reported",
    )
    select: Literal["random", "top"] = Field(
        default="random", description="which documents of a group are kept: any, or those with the highest `rank_by`"
    )
    rank_by: str | None = Field(
        default=None, description="the column that `select: top` ranks documents by, within their group"
    )
    weight: str | None = Field(
        default=None,
        description="column with weights: within a group the chance of being drawn is in proportion to the weight",
    )
    seed: int = Field(default=0, ge=0, description="another seed draws other documents")
    label_error: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="share of labels taken to be wrong, for the report's range of true shares; it decides nothing",
    )

    @field_validator("by", mode="before")
    @classmethod
    def _one_column(cls, by: Any) -> Any:
        return (by,) if isinstance(by, str) else as_tuples(by)

    @field_validator("target", mode="before")
    @classmethod
    def _plain_target(cls, target: Any) -> Any:
        return _paths(_inner(target))

    @field_validator("min_share", "max_share", "min_documents", mode="before")
    @classmethod
    def _plain_bound(cls, bound: Any) -> Any:
        return _inner(bound)

    @field_validator("rate_bounds", mode="before")
    @classmethod
    def _two_bounds(cls, bounds: Any) -> Any:
        return as_tuples(bounds)

    @model_validator(mode="after")
    def _makes_sense(self) -> Balance:
        if not self.columns:
            raise ValueError("name the columns to balance: by: [language.label]")
        if self.per_column and self.by and set(self.by) != set(self.columns):
            raise ValueError(f"target has entries for {', '.join(self.columns)}, by names {', '.join(self.by)}")
        amount, unit = self.amount()
        if amount is not None and amount <= 0:
            raise ValueError("budget must be above 0")
        if unit is not None and self.unit is not None and unit != self.unit:
            raise ValueError(f"budget is in {unit}, unit says {self.unit}")
        if self.counted == "tokens" and self.tokenizer is None:
            raise ValueError("tokens are counted by a tokenizer: tokenizer: path/to/tokenizer.json")
        if (self.select == "top") != (self.rank_by is not None):
            raise ValueError("`select: top` and `rank_by` belong together")
        if self.select == "top" and self.weight is not None:
            raise ValueError("`weight` is for `select: random`")
        low, high = self.rate_bounds
        if low < 0 or (high is not None and high < max(low, 1.0)) or low > 1:
            raise ValueError("rate_bounds must be [low, high] with 0 <= low <= 1 <= high")
        if self.rate_bounds != (0.0, None) and not self.per_column:
            raise ValueError("rate_bounds is for targets of several columns")
        self._check_bounds()
        for name, wish in self.wishes(files=False).items():
            _check_wish(name, wish)
        return self

    def _check_bounds(self) -> None:
        for option in ("min_share", "max_share", "min_documents"):
            numbers = list(_numbers(getattr(self, option)))
            if any(number < 0 or (option != "min_documents" and number > 1) for number in numbers):
                raise ValueError(f"{option} must be {'counts' if option == 'min_documents' else 'shares from 0 to 1'}")

    # what the options say

    @property
    def per_column(self) -> bool:
        """Whether every column has a target of its own."""
        return isinstance(self.target, dict) and any(not isinstance(value, float) for value in self.target.values())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that make the groups."""
        if self.by:
            return self.by
        return tuple(self.target) if self.per_column and isinstance(self.target, dict) else ()

    @property
    def counted(self) -> str:
        """The unit of everything."""
        return self.unit or self.amount()[1] or "bytes"

    def amount(self) -> tuple[float | None, str | None]:
        """The budget as a number, and the unit that it names; ValueError for what is neither."""
        if self.budget is None or isinstance(self.budget, int | float):
            return self.budget if self.budget is None else float(self.budget), None
        match = BUDGET.match(self.budget)
        wanted = "must be an amount such as `2B tokens`, `8000 documents`, `1.5GB` or a number"
        if match is None:
            raise ValueError(f"budget {wanted}")
        number, power, unit = match[1].replace(",", "").replace("_", ""), match[2].lower(), match[3].lower()
        if power and f"{power}{unit}" in NAMES:  # 10 tokens: the t belongs to the word
            power, unit = "", f"{power}{unit}"
        elif power and unit == "b":  # 1.5GB
            unit = "bytes"
        if unit not in NAMES or (power == "b" and not unit):  # 2B: billions, or bytes?
            raise ValueError(f"budget {wanted}")
        return float(Decimal(number) * POWERS[power]), NAMES[unit]

    def wishes(self, *, files: bool = True) -> dict[str, Wish]:
        """What is asked of each column's groups; files of shares are read unless told not to."""
        from curate.mix import BETWEEN

        if self.per_column and isinstance(self.target, dict):
            return {name: _wish(value, (name,), files) for name, value in self.target.items()}
        return {BETWEEN.join(self.columns): _wish(self.target, self.columns, files)}

    def goal(self, overlap: frozenset[str] = frozenset(), *, soft: bool = False) -> Goal:
        """What is asked of a mix, as `curate.mix` takes it."""
        from curate.mix import Goal

        wishes = self.wishes()
        bounds = {
            option: _by_column(getattr(self, option), list(wishes), self.per_column)
            for option in ("min_share", "max_share", "min_documents")
        }
        return Goal(
            wishes, self.counted, self.amount()[0], max_repeats=self.max_repeats, rates=self.rate_bounds,
            overlap=overlap, soft=soft or self.on_infeasible == "soft", **bounds,
        )  # fmt: skip

    def files(self) -> tuple[Path, ...]:
        """The tokenizer and the files of shares."""
        values = self.target.values() if self.per_column and isinstance(self.target, dict) else [self.target]
        tables = [value for value in values if isinstance(value, Path)]
        found = [path for path in (self.tokenizer, *tables) if path is not None]
        for path in found:
            if not path.is_file():
                raise UsageError(f"there is no file {str(path)!r}", hint="paths are relative to the pipeline file")
        return tuple(found)

    def reads(self) -> tuple[str, ...]:
        """The columns of groups, of the score and of the weights."""
        names = (*self.columns, self.rank_by, self.weight)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    # counting and deciding

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Each document's groups, size, and what orders it in its group."""
        from curate.mix import EVERY, MISSING

        found = []
        for place, name in enumerate(self.columns):
            values = column(docs, name)
            if isinstance(values.dtype, pl.List):
                named = list(self.wishes()[name].shares) if self.per_column else []
                if not named:
                    raise UsageError(
                        f"{name!r} holds several labels per document: its target must be shares by name",
                        hint=f"for example target: {{{name}: {{label: 0.1}}}}",
                    )
                of = values.list.eval(pl.element().cast(pl.String).filter(pl.element().cast(pl.String).is_in(named)))
                joined = of.list.unique().list.sort().list.join(EVERY)
                texts = pl.select(pl.format(f"{EVERY}{{}}{EVERY}", joined)).to_series()
            else:
                self._check_sums(name)
                texts = values.cast(pl.String)
            found.append(texts.fill_null(MISSING).alias(f"group_{place}"))
        found.append(self._sizes(docs))
        ordered = self.rank_by or self.weight
        if ordered is not None:
            order = column(docs, ordered).cast(pl.Float64, strict=False)
            if self.weight is not None:
                order = pl.select(pl.when(order.is_finite() & (order > 0)).then(order).otherwise(0.0)).to_series()
            found.append(order.fill_null(float("nan")).alias("order"))
        return pl.DataFrame(found)

    def _check_sums(self, name: str) -> None:
        """Refuse shares of groups that do not overlap when they add up to more than everything."""
        from curate.mix import BETWEEN

        wishes = self.wishes()
        wish = wishes.get(name) or wishes[BETWEEN.join(self.columns)]
        total = sum(wish.shares.values())
        if total > 1 + 1e-6:
            raise UsageError(f"the shares of {name} add up to {total:.6g}, more than 1")

    def _sizes(self, docs: pl.DataFrame) -> pl.Series:
        unit, texts = self.counted, docs["text"]
        if unit == "documents":
            return pl.Series("size", np.ones(docs.height, np.int64))
        if unit == "bytes":
            return texts.str.len_bytes().cast(pl.Int64).alias("size")
        if unit == "words":
            from curate.kernels.text import count

            return pl.Series("size", count(texts).words).cast(pl.Int64)
        assert self.tokenizer is not None
        return pl.Series("size", count_tokens(self.tokenizer, texts), dtype=pl.Int64)

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """The copies of every document."""
        from curate.filters.balance_draw import counts, find_cut, find_factors, write_copies

        names = [f"group_{place}" for place in range(len(self.columns))]
        cells = counts(corpus, names)
        if cells.height == 0:
            return pl.LazyFrame(schema={"chunk": pl.Int64, "row": pl.Int64, **self.decides()})
        mix = self.mix(cells.rename(dict(zip(names, self.columns, strict=True))))
        draw = self._draw(mix, cells, corpus.step_name)
        if draw.weighted:
            draw = draw._replace(factors=find_factors(corpus, draw))
        cut = find_cut(corpus, draw, int(cells["documents"].sum()))
        work = partial(write_copies, draw, cut, corpus.scratch, "tokens" in self.decides())
        return pl.scan_ipc([path for path in corpus.map_sketches(work) if path.is_file()]).select(
            "chunk", "row", *self.decides()
        )

    def mix(self, cells: pl.DataFrame, *, soft: bool = False) -> Mix:
        """The allocation for a table of counts: the columns of groups, `documents` and `amount`."""
        from curate.mix import EVERY, plan_mix

        names = [name for name in self.columns if self.per_column and cells[name].str.starts_with(EVERY).all()]
        return plan_mix(cells, self.goal(frozenset(names) if cells.height else frozenset(), soft=soft))

    def _draw(self, mix: Mix, cells: pl.DataFrame, step: str) -> Draw:
        """What every cell gets, ready to be drawn."""
        from curate.filters.balance_draw import Draw, seed_of, uniform, whole_copies

        names = [name for name in cells.columns if name.startswith("group_")]
        seed = seed_of(self.seed, step)
        planned = mix.cells["planned"].to_numpy()
        whole, amounts = (cells[name].cast(float).to_numpy() for name in ("documents", "amount"))
        if self.counted == "documents":
            planned = whole_copies(planned, float(uniform([""], seed)[0])).astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(amounts > 0, np.floor(planned / amounts + 1e-9), 0.0)
        rest = np.maximum(planned - times * amounts, 0.0)
        labels = cells.select(pl.concat_str(names, separator=CELL)).to_series().to_list()
        return Draw(
            tuple(names), cells.select(names).with_row_index("cell").cast({"cell": pl.Int64}), seed, self.select,
            self.weight is not None, times.astype(np.int64), rest, uniform(labels, seed ^ 1),
            mix.cells["rate"].to_numpy(), np.ones(len(whole)),
        )  # fmt: skip

    def decides(self) -> dict[str, Any]:
        """The columns of `decide`."""
        tokens = {"tokens": pl.Int64} if self.counted == "tokens" else {}
        return {"copies": pl.UInt16, "rate": pl.Float64, "size": pl.Int64, "cell": pl.List(pl.String), **tokens}

    def drop_when(self) -> dict[str, pl.Expr]:
        """`not_drawn`: others of its group were drawn, or the target leaves no room for the group."""
        return {"not_drawn": pl.col("copies") == 0}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`groups`: before, target and after of every group; `summary`: how far apart they are, what limits them."""
        from curate.filters.balance_account import account

        return account(self, ledger)


# --- reading options --------------------------------------------------------------------------------------------------


def _name(key: Any) -> str:
    """A group's name as the ledger writes its value; null is the group of documents without one."""
    from curate.mix import MISSING

    return MISSING if key is None else str(key).lower() if isinstance(key, bool) else str(key)


def _inner(value: Any) -> Any:
    """Nested options with plain keys, numbers as floats."""
    if isinstance(value, Mapping):
        return {_name(key): _inner(one) for key, one in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _paths(target: Any) -> Any:
    """A target in which whatever is a text, and no method, is a path."""
    if isinstance(target, dict):
        return {key: _paths(one) for key, one in target.items()}
    return Path(target) if isinstance(target, str) and target not in METHODS else target


def _numbers(bound: Any) -> list[float]:
    return [number for one in bound.values() for number in _numbers(one)] if isinstance(bound, dict) else [bound]


def _by_column(bound: Any, names: list[str], per_column: bool) -> dict[str, Any]:
    """A bound for every column that is balanced."""
    if isinstance(bound, dict) and per_column:
        unknown = [name for name in bound if name not in names]
        if unknown:
            raise UsageError(f"a bound names the column {unknown[0]!r}, which the target does not")
        return dict(bound)
    return dict.fromkeys(names, bound)


def _wish(value: Any, columns: tuple[str, ...], files: bool) -> Wish:
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


def _check_wish(column: str, wish: Wish) -> None:
    if wish.method == "temperature" and not 0 <= wish.alpha <= 1:
        raise ValueError("temperature is the power of the amounts, from 0 (equal shares) to 1 (as they are)")
    if any(not isinstance(share, float) or not 0 <= share <= 1 for share in wish.shares.values()):
        raise ValueError(f"shares of {column} must be numbers from 0 to 1")


@cache
def read_shares(path: Path, columns: tuple[str, ...]) -> Mapping[str, float]:
    """The shares in a file with the named columns (or one column `value`) and `share`."""
    from curate.mix import BETWEEN

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
    shares = {BETWEEN.join(_name(part) for part in row[:-1]): row[-1] for row in rows}
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
