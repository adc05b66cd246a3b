"""The audit: whom each step removes, by group, with statistics that hold.

An audit compares the documents of a group with all others (or a named group): at risk, removed, rates, ratios with
intervals, tests over all steps and groups at once. It says who was removed more often; why, and whether that is right,
is for people to say. docs/audit.md explains every figure.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curate.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from rich.console import Console

    from curate.audit_counts import Observed
    from curate.audit_figures import Thresholds
    from curate.run import Run

Row = dict[str, Any]
ALL_STEPS = "(all steps)"  # the step of rows that add up all steps
DOMAIN = "groups.domain"  # taken as the cluster where a ledger has it and nothing else is asked for

DRAWN = (
    "Intervals are 95 %, as if these documents were drawn from a larger source of the same kind; the counts themselves "
    "are exact."
)
INDEPENDENT = (
    "Documents of one site are not independent, and no column says which site a document is from: intervals assume "
    "independent documents, and are too narrow where they are not. Name such a column with `cluster`."
)
QUARANTINED = "At risk at a step are the documents that no earlier step dropped; those in quarantine are not counted."
HEURISTIC = (
    "A ratio beyond its limit calls for a look, it is no verdict: four fifths is a screening rule of US employment law "
    "that has no standing elsewhere."
)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    `rows` has one row per step and group, `flags` those to look at first, `notes` what a reader must know. `rules` says
    what single rules do in the audit sample, `scores` how scores with a limit differ between groups, `words` which
    words tell removed from kept texts (when asked for), `labels` what labels add (when given).
    """

    rows: pl.DataFrame
    notes: tuple[str, ...]
    rules: pl.DataFrame
    scores: pl.DataFrame
    words: pl.DataFrame
    labels: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def flags(self) -> list[Row]:
        """The flagged rows, the largest removal ratio first, each with a sentence in `text`."""
        import polars as pl

        ratio = pl.col("removal_ratio").fill_null(float("inf"))  # of the others nothing was removed
        found = self.rows.filter("flagged").sort(ratio, descending=True, maintain_order=True)
        return [row | {"text": sentence(row)} for row in found.iter_rows(named=True)]

    def to_dict(self) -> dict[str, Any]:
        """The audit as plain values that any JSON writer takes."""
        return {
            "settings": dict(self.settings),
            "rows": self.rows.to_dicts(),
            "flags": self.flags,
            "rules": self.rules.to_dicts(),
            "scores": self.scores.to_dicts(),
            "words": self.words.to_dicts(),
            "labels": None if self.labels is None else dict(self.labels),
            "notes": list(self.notes),
        }

    def print(self, console: Console | None = None) -> None:
        """Print the audit as compact tables, by default to standard output."""
        from curate.audit_text import print_audit
        from curate.console import console as standard_output

        print_audit(self, console or standard_output())


def sentence(row: Mapping[str, Any]) -> str:
    """A flagged row in words."""
    from curate.console import percent

    others = "the others" if row["reference"] == "complement" else str(row["reference"])
    where = "All steps together remove" if row["step"] == ALL_STEPS else f"{row['step']} removes"
    rate, other = percent(row["rate"]), percent(row["reference_rate"])
    text = f"{where} {rate} of {row['group']} ({row['by']}) and {other} of {others}"
    if row["removal_ratio"] is not None:
        text += f": {row['removal_ratio']:.3g} times as often [{row['removal_low']:.3g}, {row['removal_high']:.3g}]"
    return f"{text}; it keeps {row['keep_ratio']:.3g} times as large a share."


def audit_run(
    run: Run,
    by: str | Sequence[str],
    *,
    strata: Sequence[str] = (),
    cluster: str | None = None,
    reference: str = "complement",
    labels: str | Path | None = None,
    score: str | None = None,
    words: bool = False,
    show_words: bool = False,
    limits: Thresholds | None = None,
) -> Audit:
    """Audit a finished run: whom each of its steps removes, by each of the columns.

    Columns are named as in a pipeline: an input column by its name, a score as `step.score`, or a step for its first
    score. A column that holds lists makes groups that overlap. `strata` are columns within which groups are compared
    as well; `cluster` says which documents belong together (a domain). `labels` is a file with `id` and `label` (1:
    should go), or a column. `words` reads texts back to find what tells removed from kept ones in flagged groups; they
    are shown as first letter and length unless `show_words`.
    """
    from curate.audit_run import observe, texts_of

    observed = observe(run)
    return audit_observed(
        observed,
        by,
        strata=strata,
        cluster=cluster,
        reference=reference,
        labels=labels,
        score=score,
        texts=(lambda rows: texts_of(run, rows)) if words else None,
        show_words=show_words,
        limits=limits,
    )


def audit_observed(
    observed: Observed,
    by: str | Sequence[str],
    *,
    strata: Sequence[str] = (),
    cluster: str | None = None,
    reference: str = "complement",
    labels: str | Path | None = None,
    score: str | None = None,
    texts: Any = None,
    show_words: bool = False,
    limits: Thresholds | None = None,
) -> Audit:
    """Audit documents that went through steps, wherever they come from."""
    import polars as pl

    from curate.audit_counts import count, count_clusters
    from curate.audit_figures import Thresholds, figures, judge, ordered
    from curate.audit_scores import label_tables, rule_table, score_table, word_table

    names = [by] if isinstance(by, str) else list(by)
    if not names:
        raise UsageError("there is nothing to audit by", hint="name a column that says which group a document is in")
    columns = list(dict.fromkeys(observed.column(name) for name in names))
    within = [observed.column(name) for name in strata]
    schema = observed.frame.collect_schema()
    together = observed.column(cluster) if cluster is not None else DOMAIN if DOMAIN in schema else None
    tables: list[pl.DataFrame] = []
    notes = [*observed.notes, QUARANTINED, DRAWN, _on_clusters(together), HEURISTIC]
    for column in columns:
        for sampled in (True, False):
            since = observed.since.get(column, 0)
            if sampled and not _has_sample(observed, since):
                notes += [_no_sample(observed, column)] if since else []
                continue
            counts = count(observed, column, within, sampled=sampled)
            wanted = together if counts.groups else None
            clusters = None if wanted is None else count_clusters(observed, counts, wanted, sampled=sampled)
            made = figures(observed, counts, reference, clusters, sampled=sampled)
            tables.append(made.with_columns(basis=pl.lit("sample" if sampled else "all")))
            notes += _on_groups(observed, counts, sampled)
    rows = judge(ordered(tables), limits or Thresholds())
    known = None if labels is None else label_tables(observed, columns, labels, score)
    notes += [] if known is None else known.pop("notes")
    return Audit(
        rows=rows.drop("place"),
        notes=tuple(dict.fromkeys(notes)),
        rules=rule_table(observed, columns),
        scores=score_table(observed, columns),
        words=word_table(observed, rows, texts, show_words),
        labels=known,
        settings={
            "by": columns, "strata": within, "cluster": together, "reference": reference,
            "limits": vars(limits or Thresholds()), "steps": list(observed.steps),
        },
    )  # fmt: skip


def _has_sample(observed: Observed, since: int) -> bool:
    import polars as pl

    return since > 0 and bool(observed.frame.select(pl.col("sampled").any()).collect(engine="streaming").item())


def _no_sample(observed: Observed, column: str) -> str:
    before = ", ".join(observed.steps[: observed.since[column]])
    return (
        f"{column} is not known of documents that an earlier step dropped, and there is no audit sample: {before} "
        "cannot be audited by it, and all steps together means from there on."
    )


def _on_clusters(cluster: str | None) -> str:
    if cluster is None:
        return INDEPENDENT
    return (
        f"Documents with the same {cluster} are not taken as independent: intervals and tests are by bootstrap of "
        "whole ones (1,000 draws), and never narrower than without."
    )


def _on_groups(observed: Observed, counts: Any, sampled: bool) -> list[str]:
    from curate.audit_counts import OTHER

    column, notes = counts.column, []
    if not counts.groups:
        return [f"No document has a value in {column}: there are no groups to compare."]
    if column.endswith(".identity"):
        from curate.filters.groups import measured

        notes.append(f"Groups of {column} are documents that mention people by an axis; the matcher: {measured()}.")
    if counts.overlap:
        notes.append(f"Groups of {column} overlap: a document counts for each label that it has.")
    if counts.groups[-1:] == (OTHER,):
        notes.append(
            f"{column} has more than {len(counts.groups) - 1} values: the smaller ones are counted as {OTHER}."
        )
    if sampled:
        before = ", ".join(observed.steps[: observed.since[column]])
        notes.append(
            f"{column} is made by a later step: {before} is audited on the audit sample, which every step judges, and "
            f"all steps together means from {observed.steps[observed.since[column]]} on."
        )
    if designed := sorted(observed.by_design.get(column, ())):
        notes.append(f"{', '.join(designed)} reads {column} itself: what it removes is by design, and is not tested.")
    return notes


def audit(
    *,
    by: str | Sequence[str],
    after: str | Path | Sequence[str | Path],
    before: str | Path | Sequence[str | Path] | None = None,
    dropped: Sequence[str | Path] = (),
    attributes: Sequence[str | Path] = (),
    rules: Mapping[str, str] | None = None,
    id: str | None = None,
    text: str = "text",
    **options: Any,
) -> Audit:
    """Audit a pipeline that curate did not run, from the documents before and after it.

    Documents are matched by `id`, else by a hash of their text. `dropped` are folders of documents that a filter
    excluded, in the order of the filters (datatrove); with them `before` may be left out. `attributes` are folders or
    files that belong to `before` row by row (Dolma attributes, Data-Juicer statistics), whose values can be named in
    `by` and in `rules`: an SQL expression per step, in order, that is true for the documents that the step drops.
    Other options are those of `audit_run`.
    """
    from curate.audit_foreign import observe_folders

    observed, texts = observe_folders(before, after, dropped, attributes, rules or {}, id=id, text=text)
    wants = options.pop("words", False)
    return audit_observed(observed, by, texts=texts if wants else None, **options)


class _CallableModule(types.ModuleType):
    """Lets `curate.audit(before=..., after=...)` work although `curate.audit` is also this module."""

    def __call__(self, **options: Any) -> Audit:
        return audit(**options)


sys.modules[__name__].__class__ = _CallableModule
