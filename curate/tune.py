"""What other thresholds would keep, from a run's ledger and its audit sample alone: no text, no scoring.

Every document that reached the step is judged again, exactly. What is not known is told as such: what later steps would
say of documents that newly survive (known on the audit sample, estimated from it for the others), what a later
corpus-wide step would decide, and whether documents that an earlier step dropped would break the rule.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.errors import UsageError
from curate.filter import Limit
from curate.groups import NO_GROUP, group_column, label, refuse_many
from curate.ledger_rules import OWN, LedgerRules, Threshold, broken, without_answer
from curate.tune_account import STATE, account, count, dropped

if TYPE_CHECKING:
    from rich.console import Console

    from curate.run import Run

Row = dict[str, Any]

MOST_VALUES = 60  # a document's verdicts for all of them are the bits of one number
JOIN = "\x1f"


@dataclass(frozen=True)
class Tuning:
    """What each value of a threshold would keep; `table` has a row per value, `groups` one per value and group.

    `current` is the row of the run's own value. `until` is None where the counts are of what the run would keep, else
    the corpus-wide step that they are counted before. In each row, `seen` documents reach the step and `dropped` of
    them go; `kept` come to the end, or to `until`, with a range of 95 % from `kept_low` to `kept_high`: equal where it
    is exact, and `kept` is null where the sample says nothing. `lost` of the documents that come there now would not,
    `back` newly pass this step. `alone` and `overlap` documents of the whole run break only this threshold's rules, or
    others too, by estimate; `sample_breaks`, `sample_alone` and `sample_kept` are exact counts of the audit sample.
    `hidden` documents went before the step and are not in the sample; `quarantined` ones came to it or a later step,
    could not be judged and are in none of the counts.
    """

    run: str
    threshold: str
    now: float | None
    rules: tuple[str, ...]
    score: str | None
    side: str | None
    until: str | None
    by: str | None
    documents: int
    sampled: int
    hidden: int
    quarantined: int
    current: Row
    table: pl.DataFrame
    groups: pl.DataFrame

    def override(self, value: float) -> str:
        """What to add to `curate run PIPELINE --update` to take a value."""
        return f"steps.{self.threshold}={value}"

    def to_dict(self) -> Row:
        """The answer as plain values for JSON."""
        plain = {name: value for name, value in vars(self).items() if name not in ("table", "groups", "rules")}
        rows = [{**row, "override": self.override(row["value"])} for row in self.table.to_dicts()]
        return {**plain, "rules": list(self.rules), "values": rows, "groups": self.groups.to_dicts()}

    def print(self, console: Console | None = None) -> None:
        """Print a table with bars, by default to standard output."""
        from curate.console import console as standard_output
        from curate.tune_print import print_tuning

        print_tuning(self, console or standard_output())

    def html(self) -> str:
        """One self-contained HTML page without scripts."""
        from curate.tune_print import tuning_page

        return tuning_page(self)

    def _repr_html_(self) -> str:
        from curate.html import frame

        return frame(self.html())


def tune(run: Run, name: str, values: Sequence[float], *, by: str | None = None) -> Tuning:
    """Say what other values of the threshold `step.option` would keep; `by` names a score or an input column.

    Raises UsageError for options that are no threshold of a per-document step, and when the ledger does not agree
    with the rules as they are now (a plugin that has changed since the run).
    """
    rules = LedgerRules(run)
    threshold = rules.threshold(name)
    if not 0 < len(values) <= MOST_VALUES:
        raise UsageError(f"{len(values)} values of {threshold.name}", hint=f"give 1 to {MOST_VALUES}")
    chosen = tuple(dict.fromkeys(values))
    judged = _Judged(rules, threshold, chosen, by)
    cells = judged.cells()
    refuse_many(by, cells["group"].n_unique())
    judged.check(cells)
    table = pl.DataFrame(
        [judged.account(cells, place) for place in range(1, len(chosen) + 1)], infer_schema_length=None
    )
    parts = cells.partition_by("group", as_dict=True, maintain_order=True) if by is not None else {}
    largest = sorted(parts.items(), key=lambda part: (-int(part[1]["documents"].sum()), str(part[0][0])))
    groups = [
        {"group": group} | judged.account(part, place)
        for (group,), part in largest
        for place in range(1, len(chosen) + 1)
    ]
    limit = rules.limit(threshold, judged.changed, chosen[0])
    return Tuning(
        run=str(run.root),
        threshold=threshold.name,
        now=threshold.now,
        rules=tuple(judged.changed),
        score=None if limit is None else rules.score(threshold.step, limit.score),
        side=None if limit is None else limit.side,
        until=judged.until,
        by=by,
        documents=count(cells, pl.lit(True)),
        sampled=count(cells, pl.col("sampled")),
        hidden=count(cells, ~pl.col("reached") & ~pl.col("sampled")),
        quarantined=_quarantined(run, rules.names[rules.names.index(threshold.step) :]),
        current=judged.account(cells, 0),
        table=table,
        groups=pl.DataFrame(groups, infer_schema_length=None),
    )


def parse_values(text: str) -> tuple[float, ...]:
    """The numbers that `a:b:c` (from a to b in steps of c) or `a,b,c` names; raises UsageError."""
    hint = "write FROM:TO:STEP, as 0.1:0.9:0.1, or a list, as 0.1,0.5"
    parts = text.split(":")
    try:
        if len(parts) == 1:
            numbers = [Decimal(part.strip()) for part in text.split(",")]
        elif len(parts) == 3:
            first, last, step = (Decimal(part.strip()) for part in parts)
            if step == 0 or not (last - first) / step >= 0:
                raise UsageError(f"{text!r} goes nowhere: from {first} to {last} in steps of {step}", hint=hint)
            if (last - first) / step >= MOST_VALUES:
                raise UsageError(f"{text!r} are more than {MOST_VALUES} values", hint="take larger steps")
            numbers = [first + step * place for place in range(int((last - first) / step) + 1)]
        else:
            raise InvalidOperation
        if not all(number.is_finite() for number in numbers):
            raise InvalidOperation
    except InvalidOperation as error:
        raise UsageError(f"{text!r} are no values to try", hint=hint) from error
    whole = all(number == number.to_integral_value() and "." not in str(number) for number in numbers)
    return tuple(int(number) if whole else float(number) for number in numbers)


class _Judged:
    """The ledger, judged by every value: documents counted by all that the account needs to know of them."""

    def __init__(self, rules: LedgerRules, threshold: Threshold, values: Sequence[float], by: str | None) -> None:
        self.rules = rules
        self.threshold = threshold
        self.values = (threshold.now, *values)
        self.changed = rules.changed_rules(threshold, values)
        if not self.changed:
            raise UsageError(
                f"no rule of this run has {threshold.name} in it",
                hint=f"curate filters shows what {threshold.way[0]} does",
            )
        corpus_wide = {step["name"] for step in rules.run.manifest["steps"] if step["corpus_wide"]}
        place = rules.names.index(threshold.step)
        after = rules.names[place + 1 :]
        self.until = next((step for step in after if step in corpus_wide), None)
        self.passed = rules.names[rules.names.index(self.until) :] if self.until else []
        self.later = after[: after.index(self.until)] if self.until else after
        self.unasked = [step for step in after if step in corpus_wide]  # asked of survivors only, so no word of others
        self.by = None if by is None else group_column(rules.schema, rules.names, by)

    def cells(self) -> pl.DataFrame:
        """One pass over the ledger: documents and bytes by group, state and verdicts (bit i: value i drops it)."""
        ledger, names = self.rules.run.ledger, self.rules.names
        fixed = ("id", "kept", "step", "failed", "bytes", "sampled", "rule", "file", "row", "copies", "tokens")
        own = {name: f"{OWN}{name}" for name in fixed if name in self.rules.schema}
        step, kept = pl.col("step"), pl.col("kept")
        reached = kept | step.is_in(names[names.index(self.threshold.step) :])
        here = ~kept & (step == self.threshold.step).fill_null(False)
        codes = pl.col("failed").list.join(JOIN)
        group = pl.lit(NO_GROUP) if self.by is None else label(self.by)
        known = ledger.with_columns(group.alias(f"{OWN}group"))
        known = known.with_columns(
            reached.fill_null(False).alias("@reached"), here.alias("@here"),
            (kept | step.is_in(self.passed).fill_null(False)).alias("@goes_on"),
            pl.when(pl.col("sampled") | here).then(codes).otherwise(pl.lit("")).alias("@failed"),
        ).rename({name: to for name, to in own.items() if name != "failed"})  # fmt: skip
        known = self._lost_later(self._masks(known))
        asked = pl.col("@reached") | pl.col("@sampled")
        size = pl.col("@bytes")
        return (
            known.with_columns(pl.when(asked).then(pl.col("@mask", "@unanswered")).otherwise(0))
            .group_by(pl.col(f"{OWN}group").alias("group"), *(pl.col(f"{OWN}{name}").alias(name) for name in STATE))
            .agg(
                pl.len().cast(pl.Int64).alias("documents"),
                size.sum().cast(pl.Int64).alias("bytes"),
                (size.cast(pl.Float64) ** 2).sum().alias("squares"),
            )
            .collect(engine="streaming")
            .pipe(self._flags)
        )

    def _masks(self, known: pl.LazyFrame) -> pl.LazyFrame:
        """Add which values drop a document by the threshold's rules, and for which it would go to quarantine."""
        rules = [self.threshold.rules(value) for value in self.values]
        asked = [[made[rule] for rule in self.changed if rule in made] for made in rules]
        view = self.rules.view(known, self.threshold.step, [rule for some in asked for rule in some])
        schema = dict(view.collect_schema())
        drops = [pl.any_horizontal([broken(rule) for rule in some]) if some else pl.lit(False) for some in asked]
        answers: dict[Any, pl.Expr] = {}
        for some in asked:  # a limit is unanswered whatever its number is: asked once
            answers.setdefault(
                _without_number(some),
                pl.any_horizontal(
                    pl.lit(False), *(self.rules.unanswered(self.threshold.step, rule, schema) for rule in some)
                ),
            )
        places = {key: [i for i, some in enumerate(asked) if _without_number(some) == key] for key in answers}
        unanswered = [_whole(pl.when(flag), sum(1 << i for i in places[key])) for key, flag in answers.items()]
        masks = _bits(drops).alias("@mask"), reduce(operator.or_, unanswered).alias("@unanswered")
        return view.with_columns(masks)

    def _lost_later(self, known: pl.LazyFrame) -> pl.LazyFrame:
        """Add which sampled documents a later step could not judge: they would go to quarantine."""
        lost = [pl.lit(False)]
        for step in self.rules.steps:
            if step.name in self.later:
                made = self.rules.readable(step.name, step.filter.drop_when())
                known = self.rules.view(known, step.name, made)
                schema = dict(known.collect_schema())
                name = f"@lost {step.name}"
                known = known.with_columns(
                    pl.any_horizontal([pl.lit(False), *(without_answer(rule, schema) for rule in made)]).alias(name)
                )
                lost.append(pl.col(name))
        alone = pl.col("@sampled") & pl.col("@here")
        return known.with_columns((alone & pl.any_horizontal(lost)).alias("@lost_later"))

    def _flags(self, cells: pl.DataFrame) -> pl.DataFrame:
        """What the broken rules of a cell mean: for the step itself, for later ones, for overlap."""
        own = {f"{self.threshold.step}.{rule}" for rule in self.changed}
        known = cells["failed"].unique().sort()
        flags: list[tuple[bool, bool, bool]] = []
        for failed in known:
            codes = [code for code in failed.split(JOIN) if code and code not in own]
            owners = [self._owner(code) for code in codes]
            flags.append(
                (
                    self.threshold.step in owners,
                    any(owner in self.later for owner in owners),
                    any(owner not in self.unasked for owner in owners),
                )
            )
        kind = {"other_here": pl.Boolean, "later": pl.Boolean, "others": pl.Boolean}
        meanings = pl.DataFrame(flags, schema=kind, orient="row").with_columns(failed=known)
        return cells.join(meanings, on="failed").sort("group", *STATE)

    def _owner(self, code: str) -> str:
        """The step that a rule in `failed` is of."""
        return max((name for name in self.rules.names if code.startswith(f"{name}.")), key=len, default="")

    def account(self, cells: pl.DataFrame, place: int) -> Row:
        """What one value would keep, of the documents in these cells; place 0 is the run's own."""
        return account(cells, place, self.values[place], bool(self.later))

    def check(self, cells: pl.DataFrame) -> None:
        """Raise UsageError where the rules as they are now do not say what the ledger says."""
        wrong = count(cells, pl.col("reached") & (dropped(0) != pl.col("here")))
        if wrong:
            raise UsageError(
                f"the rules of {self.threshold.step} no longer give the ledger's verdict for {wrong:,} documents",
                hint="its code has changed since the run: run again with --update",
            )


def _bits(flags: Sequence[pl.Expr]) -> pl.Expr:
    """Booleans as the bits of one number."""
    return reduce(operator.or_, (_whole(pl.when(flag), 1 << place) for place, flag in enumerate(flags)))


def _whole(when: Any, bits: int) -> pl.Expr:
    """Some bits where a condition holds."""
    made: pl.Expr = when.then(pl.lit(bits, pl.UInt64)).otherwise(pl.lit(0, pl.UInt64))
    return made


def _without_number(rules: Sequence[Any]) -> Any:
    """What rules have in common that differ in their limits only; other rules are themselves."""
    return tuple((rule.score, rule.where) if isinstance(rule, Limit) else id(rule) for rule in rules)


def _quarantined(run: Run, steps: Sequence[str]) -> int:
    """How many documents came to one of these steps and went to quarantine there."""
    return int(run.quarantine.filter(pl.col("step").is_in(list(steps))).height)


def save_page(tuning: Tuning, path: Path) -> None:
    """Write the page of a tuning to a file."""
    path.write_text(tuning.html(), encoding="utf-8", newline="\n")
