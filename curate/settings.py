"""What a pipeline says beside its steps: input, output, budgets; and the step itself."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, InstanceOf, WithJsonSchema, field_validator

from curate.filter import CorpusFilter, Filter
from curate.policy import Clause
from curate.turns import LISTS, PAIRS, PARTS, On

if TYPE_CHECKING:
    from curate.conversations import Form

warnings.filterwarnings("ignore", 'Field name "schema" in ".*" shadows', UserWarning)  # of two classes below

STEP_NAME = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
SIZE = r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*$"
SHARE = r"^\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*$"
UNITS = {"": 1, "b": 1}
UNITS |= {f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)}
UNITS |= {f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)}


def parse_size(value: object) -> int:
    """Bytes from a whole number or a text such as "256MB" (10^6) or "64 MiB" (2^20); raises ValueError."""
    wanted = "must be a size such as 256MB, 64 MiB or a whole number of bytes"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(wanted)
    if isinstance(value, str):
        match = re.match(SIZE, value)
        if match is None or match[2].lower() not in UNITS:
            raise ValueError(wanted)
        number = Decimal(match[1]) * UNITS[match[2].lower()]
    elif not math.isfinite(value):
        raise ValueError(wanted)
    else:
        number = Decimal(value)
    if number != number.to_integral_value():
        raise ValueError("must be a whole number of bytes")
    return int(number)


def parse_share(value: object) -> float:
    """A share from 0 to 1, from a number or a percentage such as "0.1%"; raises ValueError."""
    wanted = "must be a share from 0 to 1, or a percentage such as 0.1%"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(wanted)
    if isinstance(value, str):
        match = re.match(SHARE, value)
        if match is None:
            raise ValueError(wanted)
        share = float(Decimal(match[1]) / 100)
    else:
        share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(wanted)
    return share


def listed(value: object) -> object:
    """One text or path as a list of one; paths as text."""
    if isinstance(value, str | os.PathLike):
        return (os.fspath(value),)
    if isinstance(value, list | tuple):
        return tuple(os.fspath(item) if isinstance(item, os.PathLike) else item for item in value)
    return value


def path_text(value: object) -> object:
    """A path as text."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_SIZE = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": SIZE}]}
_SHARE = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": SHARE}]}
Texts = Annotated[tuple[str, ...], BeforeValidator(listed), WithJsonSchema(_TEXTS)]
Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0), WithJsonSchema(_SIZE)]
Share = Annotated[float, BeforeValidator(parse_share), WithJsonSchema(_SHARE)]


class Input(BaseModel, frozen=True, extra="forbid"):
    """Which files are read, and which of their columns is the text."""

    paths: Texts = Field(default=(), description="Files or patterns, relative to the pipeline file: crawl/*.jsonl.zst.")
    kind: Literal["text", "chat", "preference"] = Field(
        default="text",
        description="What a record is: a text, a conversation, or two answers of which one is preferred.",
    )
    schema: str | None = Field(  # type: ignore[assignment]  # hides a deprecated method of pydantic's
        default=None, description="How a chat or preference record is written; null means as its columns show."
    )
    columns: Mapping[str, str] = Field(
        default={}, description="Columns that go by other names than the schema's: {messages: dialog}."
    )
    text: str = Field(default="text", description="The column that holds the text.")
    id: str | None = Field(
        default=None, description="The column that names a record; null means `id` where all files have it."
    )

    @property
    def form(self) -> Form | None:
        """How a chat or preference record is read; None for texts."""
        if self.kind == "text":
            return None
        from curate.conversations import Form, trees_form

        assert self.schema is not None, "the schema is found before records are read"
        if self.schema == "oasst":
            return trees_form(self.kind)
        return Form(self.kind, self.schema, dict(self.columns))

    @property
    def what(self) -> str | Form:
        """What is read of a record: the column of its text, or its form."""
        return self.form or self.text


class Output(BaseModel, frozen=True, extra="forbid"):
    """Where the run's directory goes and what is written to it."""

    schema: str | None = Field(  # type: ignore[assignment]  # hides a deprecated method of pydantic's
        default=None, description="How chat or preference records are written; null means as they came in."
    )

    path: Annotated[str | None, BeforeValidator(path_text)] = Field(
        default=None, description="The run's directory, relative to the pipeline file."
    )
    shard_size: Size = Field(default=256_000_000, description="Bytes of text per output file: 256MB.")
    dropped: Literal["none", "full"] = Field(default="none", description="Whether dropped records are written whole.")
    columns: Texts = Field(default=(), description="Scores that are added to the output records: language.label.")
    copies: Literal["repeat", "column"] = Field(
        default="repeat",
        description="Up-sampled documents: written again as id#2, id#3, ..., or once, with a column `copies`.",
    )
    ledger_columns: Texts | None = Field(default=None, description="Input columns the ledger repeats; null means all.")


class Audit(BaseModel, frozen=True, extra="forbid"):
    """The sample of records that every step judges, so that removals can be compared."""

    sample: Share = Field(default=0.01, description="The share of records that is sampled: 1%.")
    by: Texts | None = Field(
        default=None,
        description="Columns by whose values the report says whom each step removes; null means what `groups` and "
        "`language` found; [] means none.",
    )
    strata: Texts = Field(default=(), description="Columns within whose values groups are compared as well.")


class Limits(BaseModel, frozen=True, extra="forbid"):
    """What a record, a step and a worker may cost; a record that costs more goes to quarantine."""

    record: Size = Field(default=16_000_000, description="Bytes of the largest record that is read: 16MB.")
    seconds: float | None = Field(
        default=600, gt=0, description="Seconds that a worker may spend in one step over one batch; null: no limit."
    )
    memory: Size | None = Field(default=None, description="Resident bytes that a worker may grow to; null: no limit.")


class Card(BaseModel, frozen=True, extra="forbid"):
    """What only people know of a dataset; it is written into the card as declared."""

    title: str | None = Field(default=None, description="A name for people.")
    description: str | None = Field(default=None, description="What the data is, in one paragraph.")
    license: str | None = Field(default=None, description="The licence's identifier on the Hub, such as cc-by-4.0.")
    url: str | None = Field(default=None, description="Where the data can be found.")
    creators: Texts = Field(default=(), description="Who made the dataset.")
    contact: str | None = Field(default=None, description="Whom to write to.")
    citation: str | None = Field(default=None, description="How to cite it.")
    version: str | None = Field(default=None, description="The dataset's version, such as 1.0.0.")
    sources: Texts = Field(default=(), description="Where the texts come from: names of datasets, crawls, archives.")
    collection: str | None = Field(default=None, description="How the texts were collected, and by whom.")
    collected: str | None = Field(default=None, description="From when to when they were collected.")
    rights: str | None = Field(default=None, description="On what legal ground; how opt-outs were respected.")
    consent: str | None = Field(default=None, description="Whether the people in the data know of it or agreed.")
    purpose: str | None = Field(default=None, description="What the data is for.")
    out_of_scope: str | None = Field(default=None, description="What it must not be used for.")
    social_impact: str | None = Field(default=None, description="Whom it may help or harm.")
    limitations: str | None = Field(default=None, description="What is known to be wrong or missing.")
    annotation: str | None = Field(default=None, description="Who labelled what, by which guideline.")
    maintenance: str | None = Field(default=None, description="Who keeps it, how errors are reported and mended.")
    personal_data: str | None = Field(default=None, description="What personal data it holds, and why.")


class Settings(BaseModel, frozen=True, extra="forbid"):
    """Everything that a pipeline says beside its steps."""

    name: str = Field(default="pipeline", description="A name for reports and the dataset card.")
    input: Input = Field(default=Input(), description="Which files are read.")
    output: Output = Field(default=Output(), description="Where results go.")
    max_quarantined: Share = Field(
        default=0.001,
        description="The share of records that may be quarantined; above it the run finishes and exits 1: 0.1%.",
    )
    audit: Audit = Field(default=Audit(), description="The audit sample.")
    limits: Limits = Field(default=Limits(), description="What a single record may cost.")
    policy: tuple[Clause, ...] | str = Field(
        default=(), description="What was agreed on: clauses, or a file with them, relative to the pipeline file."
    )
    card: Card = Field(default=Card(), description="What only people know of the data, for its card.")
    plugins: Texts = Field(default=(), description="Python files with filters, relative to the pipeline file.")


def step_name_problem(name: str) -> str | None:
    """What is wrong with a step's name, or None."""
    if re.fullmatch(STEP_NAME, name, re.ASCII) is None:
        return f'the step name "{name}" must be words of letters, digits and _, joined by dots'
    if name.split(".")[0] == "input":
        return f'the step name "{name}" is taken: the ledger calls columns of the input input.NAME'
    return None


def on_problem(on: str, filter: Filter, kind: str) -> tuple[str, str] | None:
    """What is wrong with the part of a record that a step judges, with a hint, or None."""
    if kind not in filter.record_kinds:
        wanted = " or ".join(filter.record_kinds)
        hint = f"say what a record is with `input: {{kind: {filter.record_kinds[0]}}}`"
        return f"{filter.label} judges {wanted} records, the input is of kind {kind}", hint
    if on == "whole":
        return None
    if kind == "text":
        return f"`on: {on}` needs chat or preference records", "say what a record is with `input: {kind: chat}`"
    if on in PAIRS and kind != "preference":
        return (
            f"`on: {on}` needs preference records",
            "chat records have prompt, first_turn, last_turn, each_turn and assistant",
        )
    if "text" not in filter.record_kinds:
        return f"{filter.label} judges whole records, `on: {on}` is a part", "take `on` out"
    if isinstance(filter, CorpusFilter) and (on in LISTS or len(PARTS[on]) > 1):
        single = [part for part, parts in PARTS.items() if kind == "preference" or part not in PAIRS]
        single = [part for part in single if part not in LISTS and len(PARTS[part]) < 2]
        return (
            f"a corpus-wide step judges one part of a record, `on: {on}` is several",
            f"take one of {', '.join(single)}; use the filter in two steps for two parts",
        )
    return None


class Step(BaseModel, frozen=True, extra="forbid"):
    """A filter at its place in a pipeline, with a name unique in it, and the part of a record that it judges."""

    name: str
    filter: InstanceOf[Filter]
    on: On = "whole"

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        problem = step_name_problem(name)
        if problem is not None:
            raise ValueError(problem)
        return name

    def __repr__(self) -> str:
        on = "" if self.on == "whole" else f", on={self.on!r}"
        return f"Step(name={self.name!r}, filter={self.filter!r}{on})"

    def describe(self) -> str:
        """The step as one readable line, with the options that differ from their defaults."""
        options = ", ".join(f"{key}={value!r}" for key, value in changed_options(self.filter).items())
        shown = f"{type(self.filter).label}({options})" if options else type(self.filter).label
        shown = shown if self.on == "whole" else f"{shown} on {self.on}"
        return shown if self.name == type(self.filter).label else f"{self.name} = {shown}"


def changed_options(filter: Filter) -> dict[str, Any]:
    """A filter's options that differ from their defaults, as plain values."""
    return filter.options(defaults=False)
