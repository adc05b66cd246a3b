"""A plan: which files, cut into which chunks, go through which passes; made before any document is judged.

Planning surveys every input file once (hash, record count, column types, places to cut), unites the columns, finds
repeated ids, and asks every step for its columns on an empty frame, so that a bad reference fails before the work.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate import store
from curate.errors import CurateError, PipelineError, Problem
from curate.executors import Executor, ordered
from curate.filter import EDITS, LEDGER_COLUMNS, CorpusFilter, Filter, Limit, code_version, nearest
from curate.models import file_sha256
from curate.pipeline import Pipeline, Step
from curate.read import Columns, Cut, Source, Survey, survey
from curate.records import converts, taken_columns
from curate.slices import TEXT, TURNS, TURNS_TYPE
from curate.turns import LISTS, PARTS

CHUNK_BYTES = 64_000_000
SURVEY = 2  # what a stored survey holds; 2: ids hashed by hash64


@dataclass(frozen=True)
class Chunk:
    """The unit of work: a file or a range of one; done, committed and resumed as a whole."""

    number: int
    source: Source
    cut: Cut
    key: str
    records: int | None = None  # read only so many (a trial run)


@dataclass(frozen=True)
class Rule:
    """One rule of a step, ready to be evaluated."""

    name: str
    code: str  # step.rule
    expression: pl.Expr
    roots: tuple[str, ...]
    limit: Limit | None
    reads_text: bool


@dataclass(frozen=True)
class Planned:
    """One step with all that the engine needs to know of it."""

    number: int
    name: str
    filter: Filter
    scores: dict[str, pl.DataType]  # own score columns, stored text rules included, as the filter names them
    sketch: dict[str, pl.DataType] | None  # None: not a corpus-wide step
    decides: dict[str, pl.DataType]
    edits: bool
    rules: tuple[Rule, ...]
    reads: tuple[str, ...]  # full names of earlier scores that scoring reads
    key: str  # of its scores; decided inputs are mixed in when a pass begins
    on: str = "whole"

    @property
    def corpus_wide(self) -> bool:
        """Whether the step needs the whole corpus."""
        return self.sketch is not None

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of a record that it judges, none when that is the whole."""
        return PARTS[self.on]

    def by_part(self, scores: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
        """Score columns as the record has them: `part.score`, a list where a record has several such turns."""
        if not self.parts:
            return dict(scores)
        lists = self.on in LISTS
        return {
            f"{part}.{name}": pl.List(kind) if lists else kind for part in self.parts for name, kind in scores.items()
        }

    @property
    def ledger_scores(self) -> dict[str, pl.DataType]:
        """Score columns of the ledger, by full name."""
        own = self.scores | {name: kind for name, kind in self.decides.items() if name not in (*LEDGER_COLUMNS, EDITS)}
        return {f"{self.name}.{name}": kind for name, kind in self.by_part(own).items()}


@dataclass(frozen=True)
class Plan:
    """Chunks x passes: everything that a worker needs, picklable."""

    pipeline: Pipeline
    root: Path
    columns: Columns
    chunks: tuple[Chunk, ...]
    steps: tuple[Planned, ...]
    repeats: Mapping[str, str]  # file -> name of the stored new ids of its repeated ids
    inputs: tuple[dict[str, Any], ...]
    decisions: tuple[str, ...] = field(default=())  # keys of the decisions made so far, one per corpus-wide step

    @property
    def corpus_steps(self) -> tuple[Planned, ...]:
        """The steps that end a pass."""
        return tuple(step for step in self.steps if step.corpus_wide)

    @functools.cached_property
    def text_settles(self) -> bool:
        """Whether the last pass needs no texts, because the step before it is corpus-wide and nothing is edited."""
        if converts(self.columns.form, self.pipeline.output.schema):
            return False  # it tries to write every record that it keeps
        last = self.corpus_steps[-1].number if self.corpus_steps else len(self.steps)
        return not any(step.edits or (step.number > last and step.scores) for step in self.steps)

    @functools.cached_property
    def noted_columns(self) -> list[str]:
        """The columns of records that a pass without texts reads: those of the ledger and of rules."""
        read = {f"input.{name}" for step in self.steps for rule in step.rules for name in rule.roots}
        wanted = {*self.ledger_schema(), *read}
        own = (*self.columns.contents, self.columns.id)
        inputs = (f"input.{name}" for name in self.columns.types if name not in own)
        turns = [] if self.columns.form is None else [TURNS]
        return ["row", "id", *turns, *(name for name in inputs if name in wanted)]

    @property
    def text_is_settled(self) -> bool:
        """Whether the current pass is the last one, and needs no texts."""
        return 0 < len(self.decisions) == len(self.corpus_steps) and self.text_settles

    def decided(self, key: str) -> Plan:
        """The plan after one more corpus-wide step has decided."""
        return replace(self, decisions=(*self.decisions, key))

    def step_key(self, step: Planned) -> str:
        """The key of a step's stored scores: its own, and the decisions that its text or its inputs depend on."""
        chain = []
        for number, other in enumerate(self.corpus_steps[: len(self.decisions)]):
            if other.number < step.number and (other.edits or any(is_of(name, other) for name in step.reads)):
                chain.append(self.decisions[number])
        limits = self.pipeline.limits  # what a limit refused is tried again under another
        return store.digest(step.key, chain, limits.seconds, limits.memory)

    def task_key(self, chunk: Chunk) -> str:
        """The key of one chunk's part in the current pass: content, all steps with their thresholds, decisions."""
        return store.digest(self._pass_key, chunk.key)

    @functools.cached_property
    def _pass_key(self) -> str:
        steps = [(step.name, step.key, step.filter.options(), step.on) for step in self.steps]
        return store.digest(
            steps,
            self.decisions,
            self.pipeline.audit.sample,
            self.pipeline.output.ledger_columns,
            self.pipeline.output.schema,
            vars(self.pipeline.limits),
        )

    def survivor_schema(self, step: Planned) -> dict[str, pl.DataType]:
        """The columns of the survivors before a corpus-wide step: row, id, bytes and what the step reads."""
        known: dict[str, pl.DataType] = self.columns.types | {"id": pl.String(), TEXT: pl.String()}
        for other in self.steps:
            known |= other.ledger_scores
        read = {name: known[resolve(name, self.steps)] for name in step.filter.reads()}
        return {"row": pl.Int64(), "id": pl.String(), "bytes": pl.Int64(), **read}

    def ledger_schema(self) -> dict[str, pl.DataType]:
        """The ledger's columns and types, in order (DESIGN section 5)."""
        schema: dict[str, Any] = {
            "id": pl.String(), "file": pl.String(), "row": pl.Int64(), "kept": pl.Boolean(), "step": pl.String(),
            "rule": pl.String(), "failed": pl.List(pl.String()), "duplicate_of": pl.String(),
            "similarity": pl.Float64(), "copies": pl.UInt16(), "bytes": pl.Int64(),
        }  # fmt: skip
        if any("tokens" in step.decides for step in self.steps):
            schema["tokens"] = pl.Int64()
        schema["sampled"] = pl.Boolean()
        for step in self.steps:
            schema |= step.ledger_scores
        wanted = self.pipeline.output.ledger_columns
        for name, kind in self.columns.types.items():
            own = name in (*self.columns.contents, self.columns.id)
            if not own and not kind.is_nested() and (wanted is None or name in wanted):
                schema[f"input.{name}"] = kind
        return schema


def is_of(name: str, step: Planned) -> bool:
    """Whether a full column name is a score of the step."""
    return name == step.name or (name.startswith(f"{step.name}.") and name in step.ledger_scores)


# --- inputs -----------------------------------------------------------------------------------------------------------


def survey_all(
    root: Path, sources: Sequence[Source], pipeline: Pipeline, executor: Executor
) -> list[tuple[Source, Survey]]:
    """Look at every file once; what was found is kept beside the run and used again while the file is unchanged."""
    look = functools.partial(survey_file, root, pipeline)
    return list(zip(sources, ordered(executor, look, sources), strict=True))


def survey_ids(root: Path, source: Source, pipeline: Pipeline) -> NDArray[np.uint64]:
    """The 64-bit hashes of a surveyed file's ids, one per record, 0 where a record has none."""
    name = _survey_name(source, *_survey_options(pipeline))
    return np.frombuffer(store.join(root, f"{name}.ids").read_bytes(), "<u8").astype(np.uint64)


def _survey_options(pipeline: Pipeline) -> tuple[str, str, int, int]:
    """Text and id column, chunk size, record limit; without an id column asked for, `id` is looked at in case."""
    found = pipeline.input
    return repr(found.what), found.id or "id", CHUNK_BYTES, pipeline.limits.record


def _survey_name(source: Source, *options: Any) -> str:
    return f".curate/surveys/{store.digest(SURVEY, source.url, source.size, source.version, options)}"


def survey_file(root: Path, pipeline: Pipeline, source: Source) -> Survey:
    """Look at one file, or take what was found before."""
    _, id, chunk_bytes, max_record = options = _survey_options(pipeline)
    name = _survey_name(source, *options)
    known = store.read_json(root, f"{name}.json")
    if known is not None and store.join(root, f"{name}.ids").is_file():
        cuts = tuple(Cut(**cut) for cut in known.pop("cuts"))
        return Survey(cuts=cuts, **known)
    found, hashes = survey(source, pipeline.input.what, id, chunk_bytes=chunk_bytes, max_record=max_record)
    store.write_bytes(root, f"{name}.ids", hashes.astype("<u8").tobytes())
    value = {"sha256": found.sha256, "rows": found.rows, "columns": found.columns}
    store.write_json(root, f"{name}.json", value | {"cuts": [vars(cut) for cut in found.cuts]})
    return found


def id_column(surveys: Sequence[tuple[Source, Survey]], pipeline: Pipeline) -> str | None:
    """The column that ids come from: the one asked for, else `id` where every file has it, else none."""
    if pipeline.input.id is not None:
        return pipeline.input.id
    form = pipeline.input.form
    wanted = {pipeline.input.text} if form is None else set(form.columns.values())
    with_columns = [found for _, found in surveys if wanted & found.columns.keys()]
    return "id" if with_columns and all("id" in found.columns for found in with_columns) else None


def find_repeats(hashes: Sequence[NDArray[np.uint64]]) -> list[NDArray[np.int64]]:
    """For each file, which occurrence of its id each record is, counted in input order: 1 for the first, 2, 3, ...

    `hashes` are the 64-bit id hashes per file, 0 where a record has no id; the answer has a file's rows that repeat an
    id seen before as an array of shape [n, 2]: row, occurrence.
    """
    lengths = [len(part) for part in hashes]
    everything = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
    order = np.argsort(everything, kind="stable")
    ordered_hashes = everything[order]
    first = np.ones(len(order), bool)
    first[1:] = ordered_hashes[1:] != ordered_hashes[:-1]
    if first.all():
        return [np.empty((0, 2), np.int64) for _ in lengths]
    starts = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    occurrence = np.empty(len(order), np.int64)
    occurrence[order] = np.arange(len(order)) - starts + 1
    occurrence[everything == 0] = 1
    parts = np.split(occurrence, np.cumsum(lengths)[:-1])
    return [np.stack([np.flatnonzero(part > 1), part[part > 1]], axis=1) for part in parts]


def make_chunks(
    surveys: Sequence[tuple[Source, Survey]], columns: Columns, max_record: int, repeats: Mapping[str, str], sample: int
) -> tuple[Chunk, ...]:
    """All chunks in input order: files sorted by path, then rows; a trial run reads the first records of each file."""
    chunks: list[Chunk] = []
    share = -(-sample // max(1, len(surveys))) if sample else None
    shape = [(name, str(kind)) for name, kind in columns.types.items()]
    for source, found in surveys:
        content = found.sha256 or (source.url, source.size, source.version)
        left = share
        for cut in found.cuts:
            if cut.rows == 0 or left == 0:
                continue
            records = None if left is None else min(left, cut.rows)
            left = None if left is None else left - (records or 0)
            key = store.digest(
                content, source.file, vars(cut), repr(columns.what), columns.id, shape, max_record,
                records,
                repeats.get(source.file, ""),
            )  # fmt: skip
            chunks.append(Chunk(len(chunks), source, cut, key, records))
    return tuple(chunks)


# --- steps ------------------------------------------------------------------------------------------------------------


def plan_steps(pipeline: Pipeline, columns: Columns) -> tuple[Planned, ...]:
    """Ask every step for its columns on an empty frame and check every reference; all problems at once."""
    problems: list[Problem] = []
    known: dict[str, pl.DataType] = {"id": pl.String(), TEXT: pl.String()}
    known |= {} if columns.form is None else {TURNS: TURNS_TYPE}
    own = {columns.text, columns.id, *known}
    known |= {name: kind for name, kind in columns.types.items() if name not in own}
    planned: list[Planned] = []
    for number, step in enumerate(pipeline.steps):
        try:
            made = _plan_step(number, step, known, planned, columns.messages)
        except PipelineError as error:
            problems += [replace(problem, where=f"step {step.name}") for problem in error.problems]
            continue
        planned.append(made)
        known |= made.ledger_scores
        first = next(iter(made.ledger_scores), None)
        if first is not None and step.name not in known:
            known[step.name] = made.ledger_scores[first]
    for name in pipeline.output.columns:
        if resolve(name, planned) not in known:
            problems.append(unknown_column(name, known, "output.columns"))
    for name in taken_columns(columns.form, pipeline.output.schema, columns.types):
        hint = "rename that column of the input, or write another schema"
        problems.append(
            Problem(f"the input has another column {name!r}, which it would replace", "output.schema", hint)
        )
    if problems:
        raise PipelineError(problems)
    return tuple(planned)


def resolve(name: str, steps: Sequence[Planned]) -> str:
    """A column's full name: a step's bare name stands for its first score."""
    for step in steps:
        if step.name == name and step.ledger_scores:
            return next(iter(step.ledger_scores))
    return name


def unknown_column(name: str, known: Mapping[str, Any], where: str) -> Problem:
    """The problem of a column that nobody made, with the nearest name."""
    near = nearest(name, known)
    return Problem(f"there is no column {name!r}", where, f"did you mean {near!r}?" if near else None)


def _plan_step(
    number: int, step: Step, known: Mapping[str, pl.DataType], before: Sequence[Planned], messages: Sequence[str]
) -> Planned:
    name, filter = step.name, step.filter
    inputs = {column: kind for column, kind in known.items() if not _is_score(column, before)}
    if step.on != "whole":
        inputs = {column: kind for column, kind in inputs.items() if column not in (TURNS, *messages)}
    reads = tuple(resolve(column, before) for column in filter.reads())
    missing = [unknown_column(column, known, "") for column in reads if column not in known]
    if missing:
        raise PipelineError(missing)
    empty = pl.DataFrame(schema=inputs | {column: known[column] for column in (*filter.reads(), *reads)})
    scored = _probe(filter.score, empty)
    edits = EDITS in scored
    scores = {column: kind for column, kind in scored.items() if column != EDITS}
    sketch = _probe(filter.sketch, empty) if isinstance(filter, CorpusFilter) else None
    decides = {c: _instance(k) for c, k in filter.decides().items()} if isinstance(filter, CorpusFilter) else {}
    shadowed = [column for column in (*scores, *decides) if column in inputs]
    if shadowed:
        raise PipelineError([Problem(f"its score {shadowed[0]!r} has the name of an input column")])
    rules = _rules(name, filter, scores | decides, known, before)
    scores |= {rule.name: pl.Boolean() for rule in rules if rule.reads_text}
    reads_all = {column for column in reads if column not in inputs}
    reads_all |= {column for rule in rules if rule.reads_text for column in rule.roots if _is_score(column, before)}
    keeps_thresholds = any(rule.reads_text for rule in rules)
    thresholds = frozenset() if keeps_thresholds else filter.thresholds()
    options = {option: value for option, value in filter.options().items() if option not in thresholds}
    chain = [other.key for other in before if other.edits or any(is_of(column, other) for column in reads_all)]
    files = [file_sha256(path) for path in filter.files()]
    key = store.digest(name, type(filter).label, code_version(type(filter)), options, files, chain, step.on)
    edits = edits or EDITS in decides
    return Planned(number, name, filter, scores, sketch, decides, edits, rules, tuple(sorted(reads_all)), key, step.on)


def _is_score(column: str, steps: Sequence[Planned]) -> bool:
    return any(is_of(column, step) for step in steps)


def _probe(function: Any, empty: pl.DataFrame) -> dict[str, pl.DataType]:
    try:
        return dict(function(empty).schema)
    except CurateError as error:
        raise PipelineError([Problem(error.message, hint=error.hint)]) from error
    except Exception as error:  # a filter is foreign code: its failure on an empty frame is reported by step
        raise PipelineError([Problem(f"it fails on an empty frame: {type(error).__name__}: {error}")]) from error


def _instance(kind: Any) -> pl.DataType:
    made: pl.DataType = kind() if isinstance(kind, type) else kind
    return made


def _rules(
    step: str,
    filter: Filter,
    own: Mapping[str, pl.DataType],
    known: Mapping[str, pl.DataType],
    before: Sequence[Planned],
) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    problems: list[Problem] = []
    available = {**known, **own}
    empty = pl.DataFrame(schema=available)
    for name, rule in filter.drop_when().items():
        expression = rule.expression() if isinstance(rule, Limit) else rule
        roots = tuple(dict.fromkeys(expression.meta.root_names()))
        missing = [unknown_column(root, available, f"rule {name}") for root in roots if root not in available]
        problems += missing
        if missing:
            continue
        try:
            kind = empty.select(expression.alias("rule")).dtypes[0]
        except pl.exceptions.PolarsError as error:
            problems.append(Problem(f"rule {name} does not fit its columns: {error}"))
            continue
        if kind != pl.Boolean:
            problems.append(Problem(f"rule {name} must be true or false, it is {kind}"))
            continue
        limit = rule if isinstance(rule, Limit) else None
        rules.append(Rule(name, f"{step}.{name}", expression, roots, limit, TEXT in roots))
    if problems:
        raise PipelineError(problems)
    return tuple(rules)
