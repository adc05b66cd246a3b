"""A policy: what a team has agreed on, as clauses that a run checks: pass, warn, fail, with the evidence.

A clause compares a figure that the run has measured with a limit. It is evidence on these documents and these labels,
and no judgement of whether a dataset is right or lawful.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from curate.audit import ALL_STEPS
from curate.errors import CurateError, UsageError
from curate.filter import nearest

if TYPE_CHECKING:
    import polars as pl

    from curate.filter import Filter
    from curate.pipeline import Pipeline
    from curate.run import Run

Row = dict[str, Any]
Metric = Literal[
    "keep_ratio", "removal_ratio", "share", "margin_error", "effective_sample_size", "quarantine", "personal_data",
    "leaked_items", "drift", "documentation",
]  # fmt: skip
Result = Literal["pass", "warn", "fail", "waived"]
SHOWN = 5  # groups named in the evidence of one clause
WITH_GROUPS = ("keep_ratio", "removal_ratio", "share", "drift")


class Waiver(BaseModel, frozen=True, extra="forbid"):
    """A clause that may fail until a date."""

    until: datetime.date = Field(description="The last day on which the waiver counts, as 2027-01-31.")
    reason: str = Field(min_length=1, description="Why it is granted.")
    by: str = Field(min_length=1, description="Who grants it.")


class Clause(BaseModel, frozen=True, extra="forbid"):
    """One thing that a team has agreed on."""

    metric: Metric = Field(description="The figure that is compared with a limit.")
    name: str | None = Field(default=None, description="A name for people; by default made of the clause.")
    by: str | None = Field(default=None, description="The column whose values are the groups: language.label.")
    groups: tuple[str, ...] = Field(default=(), description="The groups that it is about; none means every one.")
    step: str | None = Field(default=None, description="The step that it is about; null means all together.")
    at_least: float | None = Field(default=None, description="The least value that is agreed on.")
    at_most: float | None = Field(default=None, description="The largest value that is agreed on.")
    fields: tuple[str, ...] = Field(default=(), description="documentation: fields of `card` that must be declared.")
    against: Path | None = Field(default=None, description="drift: the folder of an earlier run.")
    on_failure: Literal["fail", "warn"] = Field(default="fail", description="What a broken clause is: fail or warn.")
    owner: str = Field(min_length=1, description="Who answers for the clause.")
    reason: str = Field(min_length=1, description="Why it was agreed on.")
    waiver: Waiver | None = Field(default=None, description="Until when, why and by whom it may be broken.")

    @model_validator(mode="after")
    def _fits(self) -> Clause:
        if self.metric == "documentation":
            if not self.fields:
                raise ValueError("name the fields of the card: fields: [license, purpose]")
        elif (self.at_least is None) == (self.at_most is None):
            raise ValueError("say either at_least or at_most")
        if self.metric in WITH_GROUPS and self.by is None:
            raise ValueError(f"{self.metric} is about groups: by: language.label")
        if self.metric == "drift" and self.against is None:
            raise ValueError("drift is against an earlier run: against: FOLDER")
        return self

    @property
    def title(self) -> str:
        """The clause in words."""
        if self.name:
            return self.name
        if self.metric == "documentation":
            return f"documented: {', '.join(self.fields)}"
        limit = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        where = f" by {self.by}" if self.by else ""
        return f"{self.metric.replace('_', ' ')}{where}{f' at {self.step}' if self.step else ''} {limit}"

    def broken_by(self, value: float) -> bool:
        """Whether a value is on the wrong side of the limit."""
        if self.at_least is not None:
            return value < self.at_least
        return self.at_most is not None and value > self.at_most


@dataclass(frozen=True)
class Figure:
    """A measured value, its interval where it has one, and what it is of."""

    value: float
    of: str
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        """The figure in words."""
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3g}, {self.high:.3g}]"
        value = f"{self.value:.4g}" if math.isfinite(self.value) else "none of the others"
        return f"{self.of}: {value}{interval}"

    def certain(self, clause: Clause) -> bool:
        """Whether all of the interval is on the wrong side."""
        ends = [end for end in (self.low, self.high) if end is not None] or [self.value]
        return all(clause.broken_by(end) for end in ends)


class Measured:
    """What a finished run knows, looked up when a clause asks for it."""

    def __init__(
        self,
        run: Run,
        tables: Mapping[str, Mapping[str, pl.DataFrame]],
        card: Mapping[str, Any],
        base: Path,
        audits: Mapping[str, pl.DataFrame],
    ) -> None:
        self.run = run
        self.tables = tables
        self.card = card
        self.base = base  # what paths in clauses are relative to
        self._audits = dict(audits)

    def audit(self, by: str) -> pl.DataFrame:
        """The rows of the equity audit by a column."""
        if by not in self._audits:
            from curate.audit import audit_run

            self._audits[by] = audit_run(self.run, by).rows
        return self._audits[by]

    def steps(self, label: str) -> dict[str, Filter]:
        """The steps with this filter, with their options."""
        from curate.pipeline import Pipeline

        pipeline = Pipeline.from_resolved(self.run.manifest["pipeline"], self.run.base)
        return {step.name: step.filter for step in pipeline.steps if type(step.filter).label == label}

    @cached_property
    def words(self) -> int:
        """Words in the kept texts, about: six bytes each."""
        return max(1, int(self.run.manifest["bytes"]["kept"]) // 6)


def measured_of(run: Run) -> Measured:
    """What a finished run's folder says: its ledger, its manifest, and the tables of its balance steps."""
    from curate.pipeline import Pipeline
    from curate.scores import step_tables

    pipeline = Pipeline.from_resolved(run.manifest["pipeline"], run.base)
    names = [step.name for step in pipeline.steps]
    balances = [step for step in pipeline.steps if type(step.filter).label == "balance"]
    tables = step_tables(run.ledger, names, balances)
    return Measured(run, tables, run.manifest["pipeline"].get("card") or {}, run.base, {})


# --- figures ----------------------------------------------------------------------------------------------------------


def _ratio(clause: Clause, measured: Measured) -> Iterator[Figure]:
    """Keep or removal ratios of every group that has enough documents, against all other documents."""
    assert clause.by is not None
    short = "keep" if clause.metric == "keep_ratio" else "removal"
    rows = measured.audit(clause.by)
    known = [step["name"] for step in measured.run.manifest["steps"]]
    _refuse_unknown("step", [clause.step] if clause.step is not None else [], known)
    _refuse_unknown("group", clause.groups, rows["group"].unique().to_list())
    for row in rows.iter_rows(named=True):
        low, high, value = row[f"{short}_low"], row[f"{short}_high"], row[clause.metric]
        if row["step"] != (clause.step or ALL_STEPS) or row["status"] in ("insufficient", "reference"):
            continue
        if value is None and low is not None:  # nothing else was removed
            value = math.inf
        if value is not None:
            yield Figure(value, str(row["group"]), low, high)


def _refuse_unknown(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise UsageError for a name that a run does not know: a clause about it would never be broken."""
    for name in names:
        if name not in known:
            near = nearest(name, known)
            raise UsageError(f"there is no {what} {name!r}" + (f", did you mean {near!r}?" if near else ""))


def _share(clause: Clause, measured: Measured) -> Iterator[Figure]:
    """The shares of groups among the kept documents."""
    assert clause.by is not None
    from curate.audit_run import observe

    column = observe(measured.run).column(clause.by)
    found = shares(measured.run, column)
    for group, share in found.items():
        yield Figure(share, group)
    for group in clause.groups:
        if group not in found:
            yield Figure(0.0, group)


def shares(run: Run, column: str) -> dict[str, float]:
    """The share of kept documents (copies counted) with each value of a column of the ledger."""
    import polars as pl

    from curate.audit_counts import NO_VALUE

    kept = run.ledger.filter("kept").select(value=column, copies=pl.col("copies").cast(pl.Int64))
    whole = int(kept.select(pl.col("copies").sum()).collect().item() or 0)
    if isinstance(kept.collect_schema()["value"], pl.List):
        kept = kept.explode("value").drop_nulls("value")
    found = kept.group_by(pl.col("value").cast(pl.String)).agg(pl.col("copies").sum()).sort("value").collect()
    return (
        {NO_VALUE if value is None else value: copies / whole for value, copies in found.iter_rows()} if whole else {}
    )


def _margin_error(clause: Clause, measured: Measured) -> Iterator[Figure]:
    """How far the shares of balanced groups are from their targets, as a part of the target."""
    for step in measured.steps("balance"):
        if "groups" not in measured.tables.get(step, {}):
            raise UsageError(f"the groups of {step} are not known")
        for row in measured.tables[step]["groups"].iter_rows(named=True):
            if row["target_share"]:
                off = abs((row["after_share"] or 0.0) - row["target_share"]) / row["target_share"]
                yield Figure(off, f"{row['column']} = {row['group']}")


def _effective(clause: Clause, measured: Measured) -> Iterator[Figure]:
    """Kish's effective number of unique documents of balanced data."""
    import polars as pl

    copies = pl.col("copies").cast(pl.Float64)
    total, squares = measured.run.ledger.select(copies.sum(), (copies**2).sum().alias("squares")).collect().row(0)
    yield Figure(total**2 / squares if squares else 0.0, "kept documents")


def _quarantine(clause: Clause, measured: Measured) -> Iterator[Figure]:
    """The share of records in quarantine."""
    counts = measured.run.manifest["counts"]
    yield Figure(counts["quarantined"] / counts["read"] if counts["read"] else 0.0, "records")


def _personal(clause: Clause, measured: Measured) -> Iterator[Figure]:
    """Personal data that was found and left in kept documents, by kind, per million words."""
    import polars as pl

    steps = measured.steps("redact_pii")
    if not steps:
        raise UsageError("no step looks for personal data", hint="add `redact_pii`")
    for name, filter in steps.items():
        for kind in getattr(filter, "kinds", ()):
            left = 0
            if getattr(filter, kind) == "tag":
                found = measured.run.ledger.filter("kept").select(pl.col(f"{name}.{kind}").cast(pl.Int64).sum())
                left = int(found.collect().item() or 0)
            yield Figure(left / measured.words * 1e6, f"{name}.{kind}, left per million words")


def _leaked(clause: Clause, measured: Measured) -> Iterator[Figure]:
    """Benchmark items that kept documents hold; what a step cuts out is not left."""
    import polars as pl

    steps = measured.steps("decontaminate")
    if not steps:
        raise UsageError("no step looks for benchmark items", hint="add `decontaminate`")
    for name, filter in steps.items():
        hits = measured.run.ledger.filter("kept").select(pl.col(f"{name}.hits").explode().struct.unnest())
        items = hits.drop_nulls("item").select(pl.struct("benchmark", "item").n_unique()).collect().item()
        yield Figure(0.0 if getattr(filter, "action", "") == "cut" else float(items), name)


def _drift(clause: Clause, measured: Measured) -> Iterator[Figure]:
    """Total variation between the shares of groups of this run and an earlier one, kept documents."""
    assert clause.by is not None
    assert clause.against is not None
    import numpy as np

    from curate.allocation import total_variation
    from curate.audit_run import observe
    from curate.run import open_run

    one, other = (
        shares(run, observe(run).column(clause.by)) for run in (measured.run, open_run(measured.base / clause.against))
    )
    names = sorted({*one, *other})
    parts = [np.array([found.get(name, 0.0) for name in names]) for found in (one, other)]
    yield Figure(total_variation(*parts), "total variation")


FIGURES: Mapping[str, Callable[[Clause, Measured], Iterator[Figure]]] = {
    "keep_ratio": _ratio,
    "removal_ratio": _ratio,
    "share": _share,
    "margin_error": _margin_error,
    "effective_sample_size": _effective,
    "quarantine": _quarantine,
    "personal_data": _personal,
    "leaked_items": _leaked,
    "drift": _drift,
}


# --- results ----------------------------------------------------------------------------------------------------------


def evaluate(clauses: Sequence[Clause], measured: Measured, today: datetime.date) -> list[Row]:
    """The result of every clause, JSON-ready: clause, result, value, limit, evidence, owner, reason, waiver."""
    return [_evaluate(clause, measured, today) for clause in clauses]


def _evaluate(clause: Clause, measured: Measured, today: datetime.date) -> Row:
    row: Row = {"clause": clause.title, "metric": clause.metric, "value": None, "limit": _limit(clause)}
    row |= {"owner": clause.owner, "reason": clause.reason, "waiver": None}
    if clause.metric == "documentation":
        missing = [name for name in clause.fields if not measured.card.get(name)]
        broken, certain = bool(missing), True
        row["evidence"] = f"not declared: {', '.join(missing)}" if missing else "all declared"
    else:
        broken, certain = _compare(clause, measured, row)
    row["result"] = _result(clause, broken, certain, today)
    if clause.waiver is not None:
        row["waiver"] = clause.waiver.model_dump(mode="json") | {"expired": clause.waiver.until < today}
    return row


def _compare(clause: Clause, measured: Measured, row: Row) -> tuple[bool, bool]:
    """Whether a clause is broken, and for certain; notes value and evidence. What cannot be measured is broken."""
    try:
        found = list(FIGURES[clause.metric](clause, measured))
    except CurateError as error:
        row["evidence"] = f"cannot be measured: {error.message}"
        return True, True
    if clause.groups:
        found = [figure for figure in found if figure.of in clause.groups]
    if not found:
        ratio = clause.metric in ("keep_ratio", "removal_ratio")
        row["evidence"] = "too few documents of any group to tell" if ratio else "there is nothing to measure"
        return True, not ratio
    wrong = [figure for figure in found if clause.broken_by(figure.value)]
    ordered = sorted(wrong or found, key=lambda figure: figure.value, reverse=clause.at_most is not None)
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    row["value"] = ordered[0].value if math.isfinite(ordered[0].value) else None
    row["evidence"] = "; ".join(figure.text() for figure in ordered[: SHOWN if wrong else 1]) + more
    return bool(wrong), any(figure.certain(clause) for figure in wrong)


def _result(clause: Clause, broken: bool, certain: bool, today: datetime.date) -> Result:
    """Broken for certain: fail; broken, but the interval reaches the limit: warn; a waiver in time holds it."""
    if not broken:
        return "pass"
    if not certain or clause.on_failure == "warn":
        return "warn"
    return "waived" if clause.waiver is not None and today <= clause.waiver.until else "fail"


def expire(row: Row, today: datetime.date) -> Row:
    """A result of an earlier day as it is today: a waiver that has ended holds no longer."""
    if row["result"] != "waived" or datetime.date.fromisoformat(row["waiver"]["until"]) >= today:
        return dict(row)
    return row | {"result": "fail", "waiver": row["waiver"] | {"expired": True}}


def _limit(clause: Clause) -> str:
    if clause.metric == "documentation":
        return ", ".join(clause.fields)
    if clause.at_least is not None:
        return f"at least {clause.at_least:g}"
    return f"at most {clause.at_most:g}"


def promise(row: Row) -> Row:
    """A clause as one of the promises of a run."""
    return {"promise": f"policy: {row['clause']}", "held": row["result"] != "fail", "detail": str(row["evidence"])}


def attention(rows: Sequence[Row]) -> list[str]:
    """The clauses that are broken without failing the run, in words."""
    said = {"warn": "is not met", "waived": "is not met, and waived"}
    return [
        f"Policy: {row['clause']} {said[row['result']]} ({row['evidence']})." for row in rows if row["result"] in said
    ]


def read_clauses(pipeline: Pipeline) -> tuple[Clause, ...]:
    """The clauses of a pipeline, from itself or from the file that it names."""
    if isinstance(pipeline.policy, str):
        return read_policy(pipeline.base / pipeline.policy)
    return pipeline.policy


def read_policy(path: Path) -> tuple[Clause, ...]:
    """The clauses of a policy file: a list under `policy:`, or the list alone."""
    from curate.yaml_text import read_yaml

    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the policy {str(path)!r} cannot be read: {error}") from error
    values = read_yaml(text, str(path)).root
    listed = values.get("policy") if isinstance(values, Mapping) else values
    if not isinstance(listed, list):
        raise UsageError(f"{str(path)!r} holds no list of clauses", hint="policy: [{metric: ..., ...}, ...]")
    made = []
    for number, one in enumerate(listed, 1):
        try:
            made.append(Clause.model_validate_json(json.dumps(one, default=str)))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"{str(path)!r}, clause {number}{f', {where}' if where else ''}: {first['msg']}",
                hint=f"clauses have {', '.join(Clause.model_fields)}",
            ) from error
    return tuple(made)
