"""The strata of a label sample: group x score band x decision of one rule, as a ledger has them.

A design says which rule is asked about and where its strata end; it goes with every row of a sheet, so that a filled
sheet can be held against the ledger again. Everything here is computed from the ledger alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from curate import store
from curate.calibration import beyond
from curate.errors import UsageError
from curate.filter import Limit, nearest
from curate.groups import group_column, label
from curate.ledger_rules import LedgerRules

if TYPE_CHECKING:
    from curate.run import Run

FAR_KEPT, NEAR_KEPT, NEAR_REMOVED, FAR_REMOVED, NO_SCORE, KEPT, REMOVED = BANDS = (
    "far kept", "near kept", "near removed", "far removed", "no score, kept", "kept", "removed",
)  # fmt: skip
# How many documents of a band are taken to be positive before there are labels: only the allocation depends on it.
GUESSES = (0.02, 0.2, 0.6, 0.85, 0.02, 0.05, 0.8)
WIDE = 5  # near kept: so many documents for one that is removed, as in the example of SCIENCE 5, at most half of them
NONE_REMOVED = 0.1  # near kept where the rule removes nothing
MOST_GROUPS = 8  # larger ones; each has its own strata, and a stratum needs labels
OTHERS = "(other groups)"


@dataclass(frozen=True)
class Design:
    """Which rule is asked about, and the strata: their ends on its score, and the groups.

    `near_kept` and `near_removed` are the scores at which near ends and far begins, on the side of what the rule keeps
    and of what it removes. Without a score there are only kept and removed documents.
    """

    step: str
    rule: str
    score: str | None  # the ledger's column
    side: str | None  # above or below: where the rule removes
    where: str | None  # the ledger's flag that says whether the rule applies
    limit: float | None
    near_kept: float | None
    near_removed: float | None
    by: str | None
    groups: tuple[str, ...]
    seed: int
    sizes: tuple[int, ...]  # documents of each stratum; groups x bands

    @property
    def task(self) -> str:
        """What the labels are about: step.rule."""
        return f"{self.step}.{self.rule}"

    @cached_property
    def name(self) -> str:
        """A short name for this design: designs that differ in anything have other names."""
        return "d" + store.digest(asdict(self))[:12]

    def to_text(self) -> str:
        """The design on one line, as a sheet carries it."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def from_text(cls, text: str) -> Design:
        """The design that a sheet carries; ValueError when it is none."""
        try:
            values = orjson.loads(text)
            lists = {name: tuple(values[name]) for name in ("groups", "sizes")}
            return cls(**{**values, **lists})
        except (TypeError, KeyError) as error:
            raise ValueError("not a design") from error

    def code(self, stratum: int) -> str:
        """A stratum as a sheet names it: a number, so that raters do not see what the rule did."""
        return f"s{stratum:03d}"

    def title(self, stratum: int) -> str:
        """A stratum by its group and band."""
        group, band = divmod(stratum, len(BANDS))
        return BANDS[band] if self.by is None else f"{self.groups[group]}, {BANDS[band]}"

    def guesses(self) -> list[float]:
        """A rate for each stratum before there are labels."""
        return list(GUESSES) * len(self.groups)


class Members(NamedTuple):
    """The documents that reach a step, one row each, in the order of the ledger."""

    table: pl.DataFrame  # id, file, row, stratum, score, failed
    numbers: NDArray[np.uint64]  # permanent random numbers: a hash of seed and id

    def sizes(self, strata: int) -> list[int]:
        """Documents of each stratum."""
        return [int(n) for n in np.bincount(self.table["stratum"].to_numpy(), minlength=strata)]


# --- making one -------------------------------------------------------------------------------------------------------


def make_design(run: Run, step: str | None, rule: str | None, by: str | None, seed: int) -> tuple[Design, Members]:
    """The design for a rule of a run as it is, and its documents; raises UsageError for rules that there are not."""
    rules = LedgerRules(run)
    step, rule = _asked(rules, step, rule)
    found = limit_of(rules, step, rule)
    column = None if by is None else group_column(rules.schema, rules.names, by)
    score = None if found is None else rules.column(step, found.score)
    where = rules.column(step, found.where) if found is not None and found.where is not None else None
    bare = Design(
        step=step, rule=rule, score=score, side=None if found is None else found.side, where=where,
        limit=None if found is None else float(found.limit), near_kept=None, near_removed=None, by=column,
        groups=("",), seed=seed, sizes=(),
    )  # fmt: skip
    frame = reached(rules, bare)
    if not frame.height:
        raise UsageError(f"no document reaches the step {step}", hint="name an earlier step: --step")
    near_kept, near_removed = _ends(frame, bare)
    bare = replace(bare, groups=_groups(frame), near_kept=near_kept, near_removed=near_removed)
    members = place(frame, bare)
    return replace(bare, sizes=tuple(members.sizes(len(bare.groups) * len(BANDS)))), members


def _asked(rules: LedgerRules, step: str | None, rule: str | None) -> tuple[str, str]:
    """The step and the rule to ask about: the ones named, else the last step with limits and its first limit."""
    known = {one.name: list(one.filter.drop_when()) for one in rules.steps}
    if step is not None and step not in known and step.rpartition(".")[0] in known:
        step, _, rule = step.rpartition(".")  # step.rule
    if step is None:
        asking = [one for one, names in known.items() if any(limit_of(rules, one, name) for name in names)]
        if len(asking) != 1:
            raise UsageError("which step are the labels about?", hint=f"name it: --step {' or '.join(asking or known)}")
        step = asking[0]
    if step not in known:
        near = nearest(step, known)
        raise UsageError(
            f"this run has no step {step!r}",
            hint=f"did you mean {near}?" if near else f"its steps: {', '.join(known)}",
        )
    names = known[step]
    if not names:
        raise UsageError(
            f"the step {step} has no rule: it only scores",
            hint=f"give it a limit, and run again with --update; curate filters {type(_filter(rules, step)).label}",
        )
    if rule is None:
        rule = next((name for name in names if limit_of(rules, step, name)), names[0])
    if rule not in names:
        near = nearest(rule, names)
        raise UsageError(
            f"the step {step} has no rule {rule!r}",
            hint=f"did you mean {near}?" if near else f"its rules: {', '.join(names)}",
        )
    return step, rule


def _filter(rules: LedgerRules, step: str) -> Any:
    return next(one.filter for one in rules.steps if one.name == step)


def limit_of(rules: LedgerRules, step: str, rule: str) -> Limit | None:
    """The comparison that a rule is; None: it is none, or the ledger does not have its score."""
    found = _filter(rules, step).drop_when().get(rule)
    if not isinstance(found, Limit):
        return None
    try:
        rules.column(step, found.score)
    except UsageError:
        return None
    return found


# --- the ledger -------------------------------------------------------------------------------------------------------


def reached(rules: LedgerRules, design: Design) -> pl.DataFrame:
    """The documents that reach the step of a design: id, file, row, failed, score, group, removed (by its limit)."""
    names = rules.names
    ledger = rules.run.ledger
    if design.step not in names:
        raise UsageError(f"this run has no step {design.step!r}", hint="the labels are of another run")
    for column in (design.score, design.where, design.by):
        if column is not None and column not in rules.schema:
            raise UsageError(f"the ledger has no column {column!r}", hint="the labels are of another run")
    here = pl.col("kept") | pl.col("step").is_in(names[names.index(design.step) :]).fill_null(False)
    value = pl.lit(None, pl.Float64) if design.score is None else pl.col(design.score).cast(pl.Float64)
    if design.where is not None:
        value = pl.when(pl.col(design.where)).then(value)
    group = pl.lit("") if design.by is None else label(design.by)
    frame = ledger.filter(here).select(
        "id", "file", "row", "failed", value.alias("score"), group.alias("group")
    )  # the score is null where the rule does not apply
    if design.limit is None:
        removed = pl.col("failed").list.contains(design.task)
    else:
        removed = beyond(pl.col("score"), design.side, design.limit)
    return frame.with_columns(removed.fill_null(False).alias("removed")).collect()


def _groups(frame: pl.DataFrame) -> tuple[str, ...]:
    """The largest groups, and one for all others."""
    counts = frame["group"].value_counts().sort(["count", "group"], descending=[True, False])
    names = counts["group"].to_list()
    return (*names[:MOST_GROUPS], OTHERS) if len(names) > MOST_GROUPS else tuple(names)


def _ends(frame: pl.DataFrame, design: Design) -> tuple[float | None, float | None]:
    """Where near ends: half of what is removed is near, and of what is kept WIDE times as many, at most half."""
    if design.limit is None:
        return None, None
    sign = 1.0 if design.side == "above" else -1.0
    known = frame.filter(pl.col("score").is_not_null())
    scores, gone = sign * known["score"].to_numpy(), known["removed"].to_numpy()
    kept, removed = np.sort(scores[~gone]), np.sort(scores[gone])
    middle = removed[(len(removed) - 1) // 2] if len(removed) else sign * design.limit
    most = len(kept) // 2 if len(removed) else int(len(kept) * NONE_REMOVED)
    wanted = max(1, min(WIDE * len(removed), most) if len(removed) else most)
    return _kept_end(kept, wanted, sign, design.limit), float(sign * middle)


def _kept_end(kept: NDArray[np.float64], wanted: int, sign: float, limit: float) -> float:
    """The score from which kept documents are near; a score that very many documents have is far."""
    if not len(kept):
        return limit
    end = kept[-min(wanted, len(kept))]
    if int((kept >= end).sum()) > 2 * wanted:
        above = kept[kept > end]
        end = above[0] if len(above) else sign * limit
    return float(sign * end)


def place(frame: pl.DataFrame, design: Design) -> Members:
    """The stratum and the random number of every document."""
    from curate.kernels.hashing import hash64
    from curate.kernels.utf8 import texts

    removed, score = pl.col("removed"), pl.col("score")
    if design.limit is None:
        band = pl.when(removed).then(BANDS.index(REMOVED)).otherwise(BANDS.index(KEPT))
    else:
        sign = 1.0 if design.side == "above" else -1.0
        ends = (design.near_kept or 0.0, design.near_removed or 0.0)
        near = sign * score >= sign * ends[0], sign * score <= sign * ends[1]
        band = (
            pl.when(score.is_null()).then(BANDS.index(NO_SCORE))
            .when(removed & near[1]).then(BANDS.index(NEAR_REMOVED))
            .when(removed).then(BANDS.index(FAR_REMOVED))
            .when(near[0]).then(BANDS.index(NEAR_KEPT))
            .otherwise(BANDS.index(FAR_KEPT))
        )  # fmt: skip
    numbered = {group: at for at, group in enumerate(design.groups)}
    group = pl.col("group").replace_strict(numbered, default=len(design.groups) - 1, return_dtype=pl.Int64)
    table = frame.select(
        "id", "file", "row", "failed", "score", (group * len(BANDS) + band).cast(pl.Int64).alias("stratum")
    )
    return Members(table, hash64(texts(table["id"]), seed_of(design.seed, "labels")))


def seed_of(seed: int, use: str) -> int:
    """A seed of 64 bits for one use of the hash."""
    return int(store.digest(use, seed)[:16], 16)


def again(run: Run, design: Design) -> Members:
    """The documents of a design that was made earlier; raises UsageError when this run has other ones."""
    members = place(reached(LedgerRules(run), design), design)
    sizes = members.sizes(len(design.groups) * len(BANDS))
    if tuple(sizes) != design.sizes:
        raise UsageError(
            f"the labels are of another run: {sum(design.sizes):,} documents reached {design.step} there, "
            f"{sum(sizes):,} do here, or their scores or groups differ",
            hint="name the run that the sheet was made from, or sample again",
        )
    return members


def ranks(members: Members) -> NDArray[np.int64]:
    """The place of each document in its stratum, by random number and then id: the first ones are the sample."""
    table = members.table
    order = np.lexsort((members.numbers, table["stratum"].to_numpy()))
    place_of = np.empty(len(order), np.int64)
    strata = table["stratum"].to_numpy()[order]
    starts = np.searchsorted(strata, strata)
    place_of[order] = np.arange(len(order)) - starts
    return place_of


def chosen_rows(members: Members, wanted: Sequence[int]) -> NDArray[np.bool_]:
    """Which documents are in a sample of so many from each stratum."""
    most = np.asarray(wanted, np.int64)[members.table["stratum"].to_numpy()]
    chosen: NDArray[np.bool_] = ranks(members) < most
    return chosen
