"""Keep as much of each group as a target asks for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.errors import UsageError
from curate.filter import Corpus, CorpusFilter, as_tuples
from curate.filters.balance_options import (
    check_wish,
    count_tokens,
    read_bound,
    read_budget,
    read_part,
    wish_of,
    with_plain_keys,
)
from curate.filters.keep import column
from curate.margins import BETWEEN, EVERY, MISSING, has_several

if TYPE_CHECKING:
    from curate.filters.balance_draw import Draw
    from curate.mix import Goal, Mix, Wish

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
            "how much to keep: `2B tokens`, `8000 documents`, `1.5GB`, a number in `unit`, or `30%` of what there is; "
            "null keeps as much as the target allows, at most as much as there is"
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
        default=0,
        description=(
            "least number of documents of every group, or of some, as `min_share`; in other units than documents it "
            "stands for so many of the group's average size"
        ),
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
        return with_plain_keys(target)

    @field_validator("min_share", "max_share", mode="before")
    @classmethod
    def _plain_bound(cls, bound: Any) -> Any:
        return with_plain_keys(bound)

    @field_validator("min_documents", mode="before")
    @classmethod
    def _plain_counts(cls, bound: Any) -> Any:
        return with_plain_keys(bound, number=int)

    @field_validator("rate_bounds", mode="before")
    @classmethod
    def _two_bounds(cls, bounds: Any) -> Any:
        return as_tuples(bounds)

    @model_validator(mode="after")
    def _makes_sense(self) -> Balance:
        if not self.columns:
            raise ValueError("name the columns to balance: by: [language.label]")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("a column is named twice")
        if {"documents", "amount"} & set(self.columns):
            raise ValueError("a column that is balanced cannot be named documents or amount")
        if self.per_column and isinstance(self.target, dict) and set(self.target) != set(self.columns):
            raise ValueError(f"target has entries for {', '.join(self.target)}, by names {', '.join(self.by)}")
        _, unit = read_budget(self.budget)
        if unit is not None and self.unit is not None and unit != self.unit:
            raise ValueError(f"budget is in {unit}, unit says {self.unit}")
        if self.counted == "tokens" and self.tokenizer is None:
            raise ValueError("tokens are counted by a tokenizer: tokenizer: path/to/tokenizer.json")
        if (self.select == "top") != (self.rank_by is not None):
            raise ValueError("`select: top` and `rank_by` belong together")
        if self.select == "top" and self.weight is not None:
            raise ValueError("`weight` is for `select: random`")
        low, high = self.rate_bounds
        if not (0 <= low <= 1 and (high is None or 1 <= high < float("inf"))):
            raise ValueError("rate_bounds must be [low, high] with 0 <= low <= 1 <= high")
        if self.rate_bounds != (0.0, None) and not self.per_column:
            raise ValueError("rate_bounds is for targets of several columns")
        wishes = self.wishes(files=False)
        self._bounds(list(wishes))
        for name, wish in wishes.items():
            check_wish(name, wish)
        return self

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
        return self.unit or read_budget(self.budget)[1] or "bytes"

    def wishes(self, *, files: bool = True) -> dict[str, Wish]:
        """What is asked of each column's groups; files of shares are read unless told not to."""
        if self.per_column and isinstance(self.target, dict):
            return {name: wish_of(value, (name,), files) for name, value in self.target.items()}
        return {BETWEEN.join(self.columns): wish_of(self.target, self.columns, files)}

    def goal(self, overlap: frozenset[str] = frozenset(), *, soft: bool = False) -> Goal:
        """What is asked of a mix, as `curate.mix` takes it."""
        from curate.mix import Goal

        wishes = self.wishes()
        return Goal(
            wishes, self.counted, read_budget(self.budget)[0],
            part=read_part(self.budget), max_repeats=self.max_repeats, rates=self.rate_bounds,
            overlap=overlap, soft=soft or self.on_infeasible == "soft", **self._bounds(list(wishes)),
        )  # fmt: skip

    def _bounds(self, names: list[str]) -> dict[str, dict[str, Any]]:
        options = ("min_share", "max_share", "min_documents")
        return {option: read_bound(option, getattr(self, option), names, self.per_column) for option in options}

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
                if any(EVERY in label for label in named):
                    raise UsageError(f"a label of {name!r} in the target holds {EVERY!r}, which stands between labels")
                of = values.list.eval(pl.element().cast(pl.String).filter(pl.element().cast(pl.String).is_in(named)))
                joined = of.list.unique().list.sort().list.join(EVERY).fill_null("")
                texts = pl.select(pl.format(f"{EVERY}{{}}{EVERY}", joined)).to_series()
            else:
                self._check_sums(name)
                texts = values.cast(pl.String)
            found.append(texts.fill_null(MISSING).alias(f"group_{place}"))
        found.append(self._sizes(docs))
        ordered = self.rank_by or self.weight
        if ordered is not None:
            found.append(_numbers(docs, ordered, positive=self.weight is not None).alias("order"))
        return pl.DataFrame(found)

    def _check_sums(self, name: str) -> None:
        """Refuse shares of groups that do not overlap when they add up to more than everything."""
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
        from curate.mix import plan_mix

        names = [name for name in self.columns if self.per_column and has_several(cells[name])]
        for name in self.wishes():
            if name not in names:
                self._check_sums(name)
        return plan_mix(cells, self.goal(frozenset(names), soft=soft))

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


def _numbers(docs: pl.DataFrame, name: str, *, positive: bool) -> pl.Series:
    """A column of numbers, null where there is none; with `positive` 0 where the number is not above 0."""
    values = column(docs, name)
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        raise UsageError(
            f"{name!r} is {values.dtype}, not a column of numbers", hint="name another `rank_by` or `weight`"
        )
    numbers = values.cast(pl.Float64).fill_nan(None)
    if positive:
        return pl.select(pl.when(numbers.is_finite() & (numbers > 0)).then(numbers).otherwise(0.0)).to_series()
    return numbers
