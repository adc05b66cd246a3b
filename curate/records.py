"""Chat and preference records between the input and the output: which schema they have, and how they are written.

A record that no step edited is written as it came in; the turns of an edited one are put back into its structure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.errors import UsageError
from curate.filter import nearest
from curate.kinds import messages
from curate.oasst import is_oasst
from curate.slices import TEXT, TURNS, contents, replaced

if TYPE_CHECKING:
    from curate.conversations import Form
    from curate.pipeline import Pipeline
    from curate.read import Source

OASST = "oasst"  # no schema of records, but of messages that records are made of
MESSAGE = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
SHAREGPT = pl.List(pl.Struct({"from": pl.String, "value": pl.String}))


# --- the schema of the input ------------------------------------------------------------------------------------------


def with_schema(pipeline: Pipeline, sources: Sequence[Source]) -> Pipeline:
    """The pipeline with the schema of its chat or preference records and every column of it, found where not given."""
    found = pipeline.input
    if found.kind == "text":
        if pipeline.output.schema is not None:
            raise UsageError("output.schema is for chat and preference records", hint="say `input: {kind: chat}`")
        return pipeline
    from curate.conversations import FormError, detect, form_of, trees_form
    from curate.look import peek

    names: dict[str, None] = {}
    examples: list[Mapping[str, Any]] = []
    for source in sources:
        columns, some = peek(source)
        names |= dict.fromkeys(columns)
        examples += some
        if examples:
            break
    if found.schema == OASST or (found.schema is None and not found.columns and is_oasst(names, examples)):
        check_trees(sources, [*names], examples, found.columns)
        check_output(pipeline.output.schema, trees_form(found.kind))
        return pipeline.model_copy(update={"input": found.model_copy(update={"schema": OASST})})
    try:
        if found.schema is None and not found.columns:
            form = detect([*names], examples)
            if form is None or form.kind != found.kind:
                form = form_of(found.kind, None, None, [*names], examples[0] if examples else None)
        else:
            form = form_of(found.kind, found.schema, found.columns, [*names], examples[0] if examples else None)
    except FormError as error:
        raise UsageError(f"the input's records: {error}", hint="`curate init` proposes kind and schema") from error
    check_output(pipeline.output.schema, form)
    changed = {"schema": form.schema, "columns": dict(form.columns)}
    return pipeline.model_copy(update={"input": found.model_copy(update=changed)})


def check_trees(
    sources: Sequence[Source], names: Sequence[str], examples: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> None:
    """Refuse an input that is said to hold messages of OpenAssistant and cannot be read as such."""
    other = next((source for source in sources if source.format != "jsonl"), None)
    if other is not None:
        raise UsageError(
            f"{other.file}: `schema: oasst` is read from JSON lines only",
            hint="write the messages as JSON lines, or the records that `curate.oasst.threads` makes of them",
        )
    if columns:
        raise UsageError(
            "`schema: oasst` has no columns to name", hint="take `columns` out, or rename those of the data"
        )
    if examples and not is_oasst(names, examples):
        raise UsageError(
            f"wanted messages of OpenAssistant, got the columns {', '.join(sorted(names)[:20])}",
            hint="they have message_id, parent_id, text and role, or are trees under prompt",
        )


def check_output(schema: str | None, form: Form) -> None:
    """Refuse a schema of the output that cannot hold such records."""
    from curate.conversations import SCHEMAS

    if schema is None:
        return
    fitting = [name for name, known in SCHEMAS.items() if known.kind == form.kind]
    if schema not in fitting:
        near = nearest(schema, fitting)
        raise UsageError(
            f"output.schema {schema!r} cannot hold {form.kind} records",
            hint=f"did you mean {near!r}?" if near else f"schemas: {', '.join(fitting)}",
        )


# --- writing ----------------------------------------------------------------------------------------------------------


def written_back(form: Form, records: pl.DataFrame, final: pl.DataFrame, schema: str | None) -> pl.DataFrame:
    """Records with their turns in the form's own columns again, or in those of another schema.

    `records` are as they were read, `final` as edited, in the same order; raises FormError when the other schema
    cannot hold a record, which reading has checked.
    """
    if schema is not None and schema != form.schema:
        return _converted(form, final, schema)
    changed = np.flatnonzero((records[TEXT] != final[TEXT]).to_numpy())
    if len(changed) == 0:
        return final
    names = {part: f"input.{name}" for part, name in form.columns.items() if f"input.{name}" in final.columns}
    some = final[changed]
    values = [some[name].to_list() for name in names.values()]
    own = [form.columns[part] for part in names]
    made = [
        form.put(dict(zip(own, row, strict=True)), turns)
        for row, turns in zip(zip(*values, strict=True), contents(some), strict=True)
    ]
    for name, column in zip(own, names.values(), strict=True):
        new = _series([row[name] for row in made], final[column].dtype)
        final = final.with_columns(replaced(final[column], changed, new))
    return final


def _series(values: list[Any], kind: pl.DataType) -> pl.Series:
    if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
        return messages(values, kind)
    return pl.Series(values, dtype=kind)


def _converted(form: Form, final: pl.DataFrame, schema: str) -> pl.DataFrame:
    from curate.conversations import Turn, convert

    own = [name for name in form.columns.values() if f"input.{name}" in final.columns]
    values = [final[f"input.{name}"].to_list() for name in own]
    sides = final[TURNS].to_list()
    rows: list[dict[str, Any]] = []
    for row, turns, said in zip(zip(*values, strict=True), sides, contents(final), strict=True):
        made = [Turn(turn["side"], turn["role"], content) for turn, content in zip(turns, said, strict=True)]
        rows.append(convert(made, schema, dict(zip(own, row, strict=True)), form))
    columns = []
    for name, kind in schema_columns(form, schema).items():
        columns.append(_series([row[name] for row in rows], kind).alias(f"input.{name}"))
    return final.drop(f"input.{name}" for name in own).with_columns(columns)


def schema_columns(form: Form, schema: str) -> dict[str, pl.DataType]:
    """The columns that a schema is written to, with their types; messages are lists of role and content."""
    from curate.conversations import SCHEMAS

    known = SCHEMAS[schema]
    if schema in ("alpaca", "hh"):
        names = ("instruction", "input", "output") if schema == "alpaca" else known.columns
        return {name: pl.String() for name in names}
    if schema == "sharegpt":
        return {"conversations": SHAREGPT}
    return {name: pl.Boolean() if name == "label" else MESSAGE for name in known.columns}
