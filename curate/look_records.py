"""A look at chat and preference records that nobody has described yet: which schema they have, what the checks find."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from curate.conversations import SCHEMAS, Form, detect, form_of, reads, trees_form
from curate.errors import UsageError
from curate.filter import Filter, Limit
from curate.kinds import kind_of, merge
from curate.look import Look, Sample, choose_text, named_text, shown
from curate.oasst import is_oasst, threads
from curate.pieces import What
from curate.records import OASST

CHAT_NAMES = ("messages", "conversations", "conversation", "turns", "dialogue", "dialog")
SPEAKERS, UTTERANCES = {"role", "from", "speaker"}, {"content", "value", "text"}
PAIR = ("chosen", "rejected")


def choose(look: Look) -> tuple[What, str, list[str]]:
    """What is read of a record (text column or form), why, and remarks; raises UsageError when there is nothing.

    A column that is called text wins over turns beside it.
    """
    if is_oasst([*look.columns], look.peeked):
        if all(source.format == "jsonl" for source in look.sources):
            other = "by their ranks, write `kind: preference` in the place of `kind: chat`"
            return trees_form("chat"), "by the columns of OpenAssistant's trees", [f"to make pairs of answers {other}"]
        if named_text(look) is None:
            raise UsageError(
                "these are OpenAssistant's trees, which are read from JSON lines only",
                hint="write them as JSON lines: `schema: oasst` makes conversations and pairs of them",
            )
        remark = (
            "these are OpenAssistant's messages; written as JSON lines, `schema: oasst` makes conversations of them"
        )
        return *choose_text(look), [remark]
    form = find_form(look)
    sign = record_kind(look) if form is None else _sign(form)
    if named_text(look) is not None:
        name, why = choose_text(look)
        if sign is None:
            return name, why, []
        remark = f"the records also have {sign}; the pipeline reads the column {shown(name)} only"
        kind = "" if form is None else f", for the other write `input: {{kind: {form.kind}, schema: {form.schema}}}`"
        return name, why, [remark + kind]
    if form is not None:
        return form, f"by {sign}", []
    if sign is not None:
        known = "; ".join(f"{name}: {', '.join(schema.columns)}" for name, schema in SCHEMAS.items())
        raise UsageError(
            f"the records have {sign}, but most of them cannot be read by any schema ({known})",
            hint="to clean one column of text only, write a pipeline with `input: {paths: [...], text: COLUMN}`",
        )
    name, why = choose_text(look)
    return name, why, []


def find_form(look: Look) -> Form | None:
    """The form by which more than half of the records read; a list of turns may have any of its usual names."""
    names = [*look.columns]
    form = detect(names, look.peeked)
    if form is not None or not look.peeked:
        return form
    for name in CHAT_NAMES:
        for schema in ("messages", "sharegpt"):
            if name in names:
                other = form_of("chat", schema, {SCHEMAS[schema].columns[0]: name}, names, None)
                if sum(reads(other, record) for record in look.peeked) * 2 > len(look.peeked):
                    return other
    return None


def other_columns(form: Form) -> dict[str, str]:
    """The parts of the schema whose column goes by another name."""
    return {part: name for part, name in form.columns.items() if part != name}


def made_of_trees(look: Look) -> Look:
    """The look at messages of OpenAssistant as one at the threads that are made of them."""
    records = threads(look.peeked, [])
    columns: dict[str, str] = {}
    for record in records:
        merge(columns, {name: kind_of(value) for name, value in record.items()})
    found = [(source, replace(survey, columns=columns if survey.columns else {})) for source, survey in look.found]
    return replace(look, found=found, peeked=records)


def schema_name(form: Form) -> str:
    """The schema as a pipeline names it."""
    return OASST if form.trees else form.schema


def record_kind(look: Look) -> str | None:
    """The sign that records are chat or preference records, though no schema may read them; None for plain text."""
    if all(any(value for value in look.values(name)) for name in PAIR):
        return "a pair of columns, chosen and rejected"
    for name in CHAT_NAMES:
        values = [value for value in look.values(name) if value]
        if values and all(_is_chat(value) for value in values):
            return f"a column {name} with a list of turns"
    return None


def _sign(form: Form) -> str:
    columns = [shown(name) for name in form.columns.values()]
    if len(columns) == 1:
        return f"a column {columns[0]} with a list of turns"
    return f"the columns {', '.join(columns[:-1])} and {columns[-1]}"


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(turn, dict) and SPEAKERS & turn.keys() and UTTERANCES & turn.keys() for turn in value
    )


def finds(sample: Sample, filter: Filter) -> dict[str, int]:
    """How many records of the sample each rule of a filter of records drops, in the filter's order."""
    docs = sample.records.select("id", "text", "turns")
    scores = filter.score(docs)
    rules = {name: rule.expression() if isinstance(rule, Limit) else rule for name, rule in filter.drop_when().items()}
    counts = scores.select(rule.fill_null(False).sum().alias(name) for name, rule in rules.items())
    return {name: int(counts[name][0]) for name in rules}


def roles(sample: Sample) -> dict[str, int]:
    """How many turns each role has, most frequent first."""
    turns = sample.records["turns"].explode().struct.field("role").drop_nulls()
    counts = turns.value_counts().sort(["count", "role"], descending=[True, False])
    return {str(role): int(number) for role, number in counts.iter_rows()}


def turn_counts(sample: Sample) -> pl.Series:
    """Turns of every record."""
    return sample.records["turns"].list.len()
