"""The rules of a finished run, asked again of its ledger: with other thresholds, without any text.

A rule reads scores and columns of the input, and the ledger has both; so whatever a rule of a per-document step would
say with another threshold can be computed, for every document that the step has scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import ValidationError

from curate.errors import CurateError, UsageError
from curate.filter import CorpusFilter, Filter, Limit, find_filter, nearest
from curate.parse import make_filter
from curate.pipeline import Pipeline
from curate.plain_words import faults
from curate.scores import find_scores
from curate.turns import PARTS

if TYPE_CHECKING:
    from curate.run import Run
    from curate.settings import Step

OWN = "@"  # before the names of the ledger's own columns, so that no score or input column can have them
PROBES = (0, 1, 0.0, 0.5, 1.0)  # values that show which rules an option is in


@dataclass(frozen=True)
class Threshold:
    """A number among a step's options that only its rules read."""

    step: str
    way: tuple[str, ...]  # the option, and the key in it where it is a mapping
    filter: Filter

    @property
    def name(self) -> str:
        """`step.option`, as an override has it without `steps.`."""
        return ".".join((self.step, *self.way))

    @property
    def now(self) -> Any:
        """The value that the run had; None: no limit."""
        value: Any = self.filter.options()
        for part in self.way:
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def rules(self, value: float | None) -> dict[str, Any]:
        """The step's rules with another value; raises UsageError where the filter does not take it."""
        options = self.filter.options()
        inner = options
        for part in self.way[:-1]:
            inner[part] = dict(inner.get(part) or {})
            inner = inner[part]
        if value is None and len(self.way) > 1:
            inner.pop(self.way[-1], None)
        else:
            inner[self.way[-1]] = value
        made = type(self.filter)
        try:
            return dict(make_filter(made, options, Path.cwd()).drop_when())
        except ValidationError as error:
            said = "; ".join(fault.message for fault in faults(error, options, made, f'"{made.label}"'))
            raise UsageError(
                f"{self.name}={value}: {said}", hint=f"curate filters {made.label} has its range"
            ) from error
        except CurateError as error:
            raise UsageError(f"{self.name}={value}: {error.message}", hint=error.hint) from error


class LedgerRules:
    """The steps of a finished run and the columns of its ledger, by which rules can be asked again."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.steps = steps_of(run)
        self.names = [step.name for step in self.steps]
        self.parts = {step.name: PARTS[step.on] for step in self.steps}  # none where a step judges the whole
        self.schema = dict(run.ledger.collect_schema())
        self.scores = find_scores(self.schema, self.names)

    def threshold(self, name: str) -> Threshold:
        """The threshold of that name (`toxicity.max_share`); others are refused, with what to do instead."""
        path = name.removeprefix("steps.")
        matching = [step for step in self.steps if path.startswith(f"{step.name}.")]
        if not matching:
            near = nearest(path.partition(".")[0], self.names)
            listed = f"did you mean {near}?" if near else f"steps: {', '.join(self.names)}"
            raise UsageError(f"no step of this run fits {name!r}", hint=f"write STEP.OPTION; {listed}")
        step = max(matching, key=lambda one: len(one.name))
        way = tuple(path.removeprefix(f"{step.name}.").split("."))
        self._refuse(step, way)
        return Threshold(step.name, way, step.filter)

    def _refuse(self, step: Step, way: tuple[str, ...]) -> None:
        """Raise UsageError unless the option is a number that only rules of a per-document step read."""
        name, filter = ".".join((step.name, *way)), step.filter
        rerun = f"run again with --update steps.{name}=VALUE: what is still valid is re-used"
        if isinstance(filter, CorpusFilter):
            raise UsageError(
                f"{step.name} needs the whole corpus: what another {'.'.join(way)} would keep depends on all documents",
                hint=rerun,
            )
        thresholds = sorted(filter.thresholds())
        if way[0] not in type(filter).model_fields:
            near = nearest(way[0], thresholds)
            raise UsageError(
                f"{step.name} has no option {way[0]!r}",
                hint=f"did you mean {step.name}.{near}?" if near else f"its thresholds: {', '.join(thresholds)}",
            )
        if way[0] not in thresholds:
            others = f"; its thresholds: {', '.join(thresholds)}" if thresholds else ""
            raise UsageError(f"{name} is no threshold: with another value the scores differ", hint=rerun + others)
        value: Any = filter.options()
        for place, part in enumerate(way):
            if not isinstance(value, Mapping):
                raise UsageError(
                    f"{'.'.join((step.name, *way[:place]))} holds no {part!r}", hint="name the option itself"
                )
            value = value.get(part)
        if isinstance(value, Mapping):
            keys = ", ".join(map(str, value)) or "none yet"
            raise UsageError(f"{name} holds several numbers", hint=f"name one: {name}.KEY; it has {keys}")
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise UsageError(f"{name} is not a number", hint=rerun)

    # which rules, and how they read the ledger

    def changed_rules(self, threshold: Threshold, values: Sequence[float]) -> list[str]:
        """The names of the step's rules that the threshold is in."""
        now = threshold.rules(threshold.now)
        changed: dict[str, None] = {}
        for rules in (*(threshold.rules(value) for value in values), *_probed(threshold)):
            for rule in (*now, *rules):
                if rule not in now or rule not in rules or not same_rule(now[rule], rules[rule]):
                    changed[rule] = None
        return list(changed)

    def limit(self, threshold: Threshold, rules: Sequence[str], value: float) -> Limit | None:
        """The comparison that the threshold is, where it is one."""
        found = [threshold.rules(value).get(rule) for rule in rules]
        return found[0] if len(found) == 1 and isinstance(found[0], Limit) else None

    def column(self, step: str, name: str) -> str:
        """The ledger's column for a name in a rule of a step; raises UsageError where it has none."""
        own = f"{step}.{name}"
        if own in self.schema:
            return own
        if name == "text":
            raise UsageError(
                f"a rule of {step} reads the text, which the ledger does not have", hint="run again with --update"
            )
        first = next((score.name for score in self.scores if score.step == name), None)
        for known in (first, name if "." in name else None, f"input.{name}"):
            if known is not None and known in self.schema:
                return known
        if name in ("id", "tokens"):
            return name
        raise UsageError(
            f"a rule of {step} reads the column {name!r}, which the ledger does not have",
            hint="name it in output.ledger_columns and run again with --update",
        )

    def readable(self, step: str, rules: Mapping[str, Any]) -> list[Any]:
        """The rules of a step that the ledger can answer; one that reads the text is its stored answer."""
        found: list[Any] = []
        if self.parts[step]:  # a part has an answer, or the record lacks it
            return found
        for name, rule in rules.items():
            try:
                roots = expression(rule).meta.root_names()
                stored = "text" in roots and f"{step}.text" not in self.schema
                for root in [name] if stored else roots:
                    self.column(step, root)
                found.append(pl.col(name) if stored else rule)
            except UsageError:
                continue
        return found

    def view(self, ledger: pl.LazyFrame, step: str, rules: Sequence[Any]) -> pl.LazyFrame:
        """The ledger with the columns that rules of a step read, by the names that the rules have for them.

        Of the scores of several parts there is the one that decides: the largest for a limit above, else the smallest.
        """
        present = ledger.collect_schema()
        columns: dict[str, pl.Expr] = {}
        for rule in rules:
            for root in expression(rule).meta.root_names():
                found = self._of_parts(step, rule, root)
                if found is None:
                    name = self.column(step, root)
                    found = pl.col(name if name in present else f"{OWN}{name}")
                columns[root] = found.alias(root)
        return ledger.with_columns(columns.values())

    def _of_parts(self, step: str, rule: Any, root: str) -> pl.Expr | None:
        """A score of the step's parts as one value of each record; None where it is no score of parts."""
        names = self._columns_of_parts(step, root)
        if not names:
            return None
        lists = isinstance(self.schema[names[0]], pl.List)
        if len(names) == 1 and not lists:
            return pl.col(names[0])
        flags = self._columns_of_parts(step, rule.where or "") if isinstance(rule, Limit) else []
        if not isinstance(rule, Limit) or (rule.where is not None and len(flags) != len(names)):
            raise UsageError(
                f"a rule of {step} reads several scores of each of several parts, which cannot be asked of the ledger",
                hint="run again with --update: what is still valid is re-used",
            )
        if root == rule.where:
            return pl.lit(True)  # asked of each part below
        above = rule.side == "above"
        never = -math.inf if above else math.inf  # no limit is met by it: the part is not asked
        if not lists:
            asked = [pl.when(pl.col(flag)).then(pl.col(name)) for name, flag in zip(names, flags, strict=False)]
            return (pl.max_horizontal if above else pl.min_horizontal)(asked or names)
        values = pl.col(names[0])
        if flags:
            unasked = pl.when(pl.element().fill_null(False)).then(0.0).otherwise(never)
            values = values.cast(pl.List(pl.Float64)) + pl.col(flags[0]).list.eval(unasked)
        return values.list.max() if above else values.list.min()

    def _columns_of_parts(self, step: str, root: str) -> list[str]:
        """The ledger's columns of a score, one for each part that the step judges."""
        return [name for part in self.parts[step] if (name := f"{step}.{part}.{root}") in self.schema]

    def score(self, step: str, name: str) -> str:
        """The ledger's column of a score of a step; that of its first part where it judges parts."""
        return next(iter(self._columns_of_parts(step, name)), None) or self.column(step, name)

    def unanswered(self, step: str, rule: Any, schema: Mapping[str, Any]) -> pl.Expr:
        """Whether a rule of a step has no answer for a record that came to it; one that lacks the part needs none."""
        if not self.parts[step]:
            return without_answer(rule, schema)
        roots = expression(rule).meta.root_names()
        found = [pl.lit(False)]
        for name in (name for root in roots for name in self._columns_of_parts(step, root)):
            if isinstance(rule, Limit) and rule.where is not None:
                continue  # a part that is not asked needs no score
            if isinstance(schema[name], pl.List):  # of numbers: only limits are asked of lists
                known = pl.element().cast(pl.Float64).is_finite().fill_null(False)
                found.append(pl.col(name).list.eval(~known).list.any())
            elif schema[name].is_float():
                found.append(~pl.col(name).is_finite())
        return pl.any_horizontal(found).fill_null(False)


def expression(rule: Any) -> pl.Expr:
    """A rule as an expression."""
    made: pl.Expr = rule.expression() if isinstance(rule, Limit) else rule
    return made


def broken(rule: Any) -> pl.Expr:
    """Whether a document breaks a rule; false where the rule has no answer."""
    return expression(rule).fill_null(False)


def without_answer(rule: Any, schema: Mapping[str, Any]) -> pl.Expr:
    """Whether a rule has no answer for a document: null, or a score among its columns is NaN or infinite."""
    made = expression(rule)
    floats = [root for root in made.meta.root_names() if root in schema and schema[root].is_float()]
    return pl.any_horizontal(made.is_null(), *(~pl.col(root).is_finite().fill_null(True) for root in floats))


def same_rule(one: Any, other: Any) -> bool:
    """Whether two rules are the same."""
    return bool(expression(one).meta.eq(expression(other)))


def _probed(threshold: Threshold) -> Iterator[dict[str, Any]]:
    """The rules with some other values, as far as the filter takes them."""
    for value in (None, *PROBES):
        try:
            yield threshold.rules(value)
        except UsageError:
            continue


def steps_of(run: Run) -> tuple[Step, ...]:
    """The steps of a run as it was; plugins are loaded where their filters are not known yet."""
    resolved = dict(run.manifest["pipeline"])
    if all(find_filter(step["filter"]) is not None for step in run.manifest["steps"]):
        resolved.pop("plugins", None)
    try:
        return Pipeline.from_resolved(resolved, run.base).steps
    except CurateError as error:
        raise UsageError(
            f"the pipeline of {run.root} cannot be made again: {error.message}",
            hint="name the files of its filters with --plugin",
        ) from error
