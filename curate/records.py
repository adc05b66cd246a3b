"""Chat and preference records between the input and the output: which schema they have, and how they are written.

A record that no step edited is written as it came in; the turns of an edited one are put back into its structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.filter import nearest
from curate.kinds import messages
from curate.oasst import is_oasst
from curate.slices import TEXT, TURNS, contents, replaced

if TYPE_CHECKING:
    from curate.conversations import Form
    from curate.pipeline import Pipeline
    from curate.read import Source
    from curate.turns import Turn

ROLE_AND_CONTENT = ("role", "content", "from", "value")
OASST = "oasst"  # no schema of records, but of messages that records are made of


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
    other = next((source for source in sources if source.format == "csv"), None)
    if other is not None:  # a rank and a parent that is null are text there
        raise UsageError(
            f"{other.file}: `schema: oasst` is read from JSON lines and Parquet only",
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
    if form.kind == "preference" and (schema == "unpaired") != (form.schema == "unpaired"):
        one, other = ("a response with a label", "pairs") if form.schema == "unpaired" else ("pairs", "one response")
        raise UsageError(
            f"output.schema {schema!r} cannot hold records of schema {form.schema}: they are {one}, it holds {other}",
            hint="take output.schema out, or name one of the same sort",
        )


# --- writing ----------------------------------------------------------------------------------------------------------


def converts(form: Form | None, schema: str | None) -> bool:
    """Whether records are written in another schema than the one they came in."""
    return form is not None and schema is not None and schema != form.schema


def unwritable(
    form: Form, records: pl.DataFrame, final: pl.DataFrame, kept: NDArray[np.bool_], schema: str | None
) -> dict[int, str]:
    """Which kept records cannot be written, by position, and why: the output's schema has no place for their turns.

    `records` are as they were read, `final` as edited, in the same order. An edit that makes a text read as another
    kind of record has no place either.
    """
    from curate.turns import FormError

    target = _Target.of(form, records, schema)
    rows = target.rows(records, final)
    rows = rows[kept[rows]]
    wrong: dict[int, str] = {}
    for at, (record, turns) in zip(rows.tolist(), target.pairs(records, final, rows), strict=True):
        try:
            target.made(record, turns)
        except FormError as error:
            wrong[at] = str(error)
    return wrong


def written_back(form: Form, records: pl.DataFrame, final: pl.DataFrame, schema: str | None) -> pl.DataFrame:
    """Records with their turns in the form's own columns again, or in those of another schema.

    `records` are as they were read, `final` as edited, in the same order; none of them is `unwritable`.
    """
    target = _Target.of(form, records, schema)
    rows = target.rows(records, final)
    made = [target.made(record, turns) for record, turns in target.pairs(records, final, rows)]
    columns = {name: _series([row[name] for row in made], kind) for name, kind in target.kinds.items()}
    if target.schema is not None:
        return final.drop(f"input.{name}" for name in target.own).with_columns(
            column.alias(f"input.{name}") for name, column in columns.items()
        )
    if made:
        for name, column in columns.items():
            final = final.with_columns(replaced(final[f"input.{name}"], rows, column))
    return final


@dataclass(frozen=True)
class _Target:
    """Where turns are written: the schema if it is another one, the columns with their types, the form's own ones."""

    form: Form
    schema: str | None
    kinds: Mapping[str, pl.DataType]
    own: Sequence[str]

    @classmethod
    def of(cls, form: Form, records: pl.DataFrame, schema: str | None) -> _Target:
        """What is written of such records."""
        types = {name[6:]: kind for name, kind in records.schema.items() if name.startswith("input.")}
        own = [name for name in form.columns.values() if name in types]
        if schema is not None and converts(form, schema):
            return cls(form, schema, schema_columns(form, schema, types), own)
        return cls(form, None, {name: types[name] for name in own}, own)

    def rows(self, records: pl.DataFrame, final: pl.DataFrame) -> NDArray[np.int64]:
        """Which records must be written: the edited ones, all in another schema."""
        if self.schema is not None:
            return np.arange(final.height)
        return np.flatnonzero((records[TEXT] != final[TEXT]).to_numpy())

    def pairs(
        self, records: pl.DataFrame, final: pl.DataFrame, rows: NDArray[np.int64]
    ) -> Iterator[tuple[dict[str, Any], list[Turn]]]:
        """The own columns of some records, and their turns as edited."""
        from curate.turns import Turn

        if len(rows) < records.height:
            records = records.select(TEXT, TURNS, *(f"input.{name}" for name in self.own))[rows]
            final = final.select(TEXT, TURNS)[rows]
        values = [records[f"input.{name}"].to_list() for name in self.own]
        lists = [name for name in self.own if isinstance(records[f"input.{name}"].dtype, pl.List)]
        sides = final[TURNS].to_list()
        for row, old, turns, new in zip(
            zip(*values, strict=True), contents(records), sides, contents(final), strict=True
        ):
            record = dict(zip(self.own, row, strict=True))
            for name in lists:
                record[name] = [_with_parts(message, old) for message in record[name] or []]
            yield record, [Turn(turn["side"], turn["role"], said) for turn, said in zip(turns, new, strict=True)]

    def made(self, record: dict[str, Any], turns: list[Turn]) -> dict[str, Any]:
        """The columns of one record; FormError when they cannot hold it."""
        from curate.conversations import FormError, convert

        if self.schema is None:
            return self.form.put(record, [turn.content for turn in turns])
        made = convert(turns, self.schema, record, self.form)
        for name, value in made.items():
            kind = self.kinds[name]
            held = {field.name for field in kind.inner.fields} if isinstance(kind, pl.List) else set()  # type: ignore[union-attr]
            for message in value if isinstance(value, list) else ():
                lost = next((key for key, given in message.items() if key not in held and given is not None), None)
                if lost is not None:
                    raise FormError(f"{name}: the messages of the output have no place for {lost!r}")
        return made


def _with_parts(message: dict[str, Any], said: list[str]) -> dict[str, Any]:
    """A message whose content has parts as a list again; columns hold it as JSON text, which none said."""
    for key in ("content", "value"):
        found = message.get(key)
        if isinstance(found, str) and found.startswith("[") and found not in said:
            try:
                return message | {key: orjson.loads(found)}
            except ValueError:
                continue
    return message


def _series(values: list[Any], kind: pl.DataType) -> pl.Series:
    if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
        return messages(values, kind)
    return pl.Series(values, dtype=kind)


def schema_columns(form: Form, schema: str, types: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The columns that a schema is written to, with their types; `types` are those of the input's columns.

    Messages are lists of role, content and what else the input's messages hold.
    """
    from curate.conversations import SCHEMAS

    known = SCHEMAS[schema]
    if schema in ("alpaca", "hh"):
        names = ("instruction", "input", "output") if schema == "alpaca" else known.columns
        return {name: pl.String() for name in names}
    own = ("from", "value") if schema == "sharegpt" else ("role", "content")
    listed = pl.List(pl.Struct({**dict.fromkeys(own, pl.String()), **_beside(form, types)}))
    return {name: pl.Boolean() if name == "label" else listed for name in known.columns}


def _beside(form: Form, types: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """What the input's messages hold beside role and content, with one type for each key."""
    found: dict[str, pl.DataType] = {}
    for name in form.columns.values():
        kind = types.get(name)
        if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
            for field in kind.inner.fields:
                if field.name not in ROLE_AND_CONTENT:
                    made = field.dtype if isinstance(field.dtype, pl.DataType) else field.dtype()
                    found[field.name] = made if found.get(field.name, made) == made else pl.String()
    return found


def taken_columns(form: Form | None, schema: str | None, types: Mapping[str, pl.DataType]) -> list[str]:
    """The columns of the input that the schema of the output would write over."""
    if form is None or schema is None or not converts(form, schema):
        return []
    own = set(form.columns.values())
    return [name for name in schema_columns(form, schema, types) if name in types and name not in own]
