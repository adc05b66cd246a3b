"""One chunk through a pass: read it, let every step score and judge it, and return what is small.

Scores and edits are looked up in the store and only missing ones are computed; verdicts are never stored but always
derived from scores, so that a changed threshold changes verdicts without scoring anything again. A pass therefore
walks all steps from the first; what earlier passes scored costs a look-up.
"""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate import store
from curate.errors import StepError, StorageError
from curate.filter import EDITS, LEDGER_COLUMNS, CorpusFilter
from curate.ledger import EDIT_TYPE, QUARANTINE_SCHEMA, Verdicts, in_sample, text_bytes
from curate.plan import Chunk, Plan, Planned, resolve
from curate.read import Batch, read
from curate.records import unwritable
from curate.slices import TEXT, TURNS, cut, edited, gathered, has, placed, slices, whole
from curate.turns import LISTS
from curate.worker import doing

if TYPE_CHECKING:
    from curate.conversations import Form

FIRST_FAILURES = 100  # a step that fails on so many first documents in a row would fail on all
BATCH_BYTES = 16_000_000  # of text held at once
TRIAL_BYTES = 1_000_000  # the same for a trial, which stops after a few records
_UNSCORED = (*LEDGER_COLUMNS, EDITS)  # what a corpus-wide step decides and what is no score of its own
FAULT = "__fault"  # the column of stored results that holds the error of a document that could not be scored


@dataclass
class Work:
    """What a step cost in this run: documents scored, documents whose stored score was used, seconds."""

    scored: int = 0
    reused: int = 0
    seconds: float = 0.0


@dataclass
class ChunkDone:
    """The record of a chunk that is done: counts, and the digest of what was stored."""

    key: str
    read: int = 0
    kept: int = 0
    quarantined: int = 0
    bytes_read: int = 0
    bytes_kept: int = 0
    stored: str = ""
    sketch_faults: list[tuple[int, str]] = field(default_factory=list)  # row, error: no sketch could be made
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)  # step -> {seen, dropped, rules: {name: n}}
    work: dict[str, dict[str, Any]] = field(default_factory=dict)  # step -> {scored, reused, seconds}


def results_name(chunk: Chunk, key: str) -> str:
    """Where the stored results of a step over a chunk are."""
    return f".curate/results/{chunk.key}/{key}"


def record_name(task_key: str) -> str:
    """Where the record of a finished chunk is: its presence is the commit."""
    return f".curate/records/{task_key}.json"


def records_name(chunk: Chunk) -> str:
    """Where a chunk's records without their texts are."""
    return f".curate/seen/{chunk.key}"


def survivors_name(task_key: str) -> str:
    """Where the survivors of a chunk up to a corpus-wide step are."""
    return f".curate/survivors/{task_key}"


def ledger_name(task_key: str) -> str:
    """Where the ledger rows of a finished chunk are."""
    return f".curate/ledger/{task_key}"


def quarantine_name(task_key: str) -> str:
    """Where the quarantine rows of a finished chunk are."""
    return f".curate/quarantine/{task_key}"


def decision_name(key: str, chunk: Chunk) -> str:
    """Where a corpus-wide step's decision for one chunk is."""
    return f".curate/decisions/{key}/{chunk.number:06d}"


def decision_record(key: str) -> str:
    """Where it says for which chunks a corpus-wide step has decided something."""
    return f".curate/decisions/{key}.json"


def decision_of(plan: Plan, key: str, chunk: Chunk) -> pl.DataFrame | None:
    """A decision for one chunk, None when nothing was decided there; a lost or damaged one stops the run."""
    record = store.read_json(plan.root, decision_record(key))
    frame = store.read_frame(plan.root, decision_name(key, chunk))
    if frame is None and (record is None or chunk.number in record["chunks"]):
        raise StorageError("a stored decision is lost or damaged", hint="run the same command again: it decides again")
    return frame


# --- reading ----------------------------------------------------------------------------------------------------------


def read_chunk(plan: Plan, chunk: Chunk, *, want: tuple[str, ...] | None = None) -> Iterator[Batch]:
    """The chunk's records in batches, with repeated ids renamed; a trial run stops after its share."""
    repeats = store.read_frame(plan.root, plan.repeats[chunk.source.file]) if plan.repeats else None
    left = chunk.records
    stop = None if left is None else chunk.cut.row + left
    size = BATCH_BYTES if left is None else TRIAL_BYTES
    limit = plan.pipeline.limits.record
    for batch in read(chunk.source, chunk.cut, plan.columns, want=want, batch_bytes=size, max_record=limit):
        records, bad = batch.records, batch.bad
        if stop is not None:
            records, bad = records.filter(pl.col("row") < stop), bad.filter(pl.col("row") < stop)
        if repeats is not None and repeats.height:
            records = records.join(repeats, on="row", how="left", maintain_order="left")
            records = records.with_columns(pl.coalesce("new_id", "id").alias("id")).drop("new_id")
        if records.height or bad.height:
            yield Batch(records, bad)
        elif stop is not None:
            return


# --- a pass over a chunk ----------------------------------------------------------------------------------------------


def run_chunk(plan: Plan, chunk: Chunk) -> ChunkDone:
    """Run the current pass over a chunk and commit it; a chunk whose record is there is not run again."""
    key = plan.task_key(chunk)
    record = store.read_json(plan.root, record_name(key))
    if record is not None and all(store.join(plan.root, name).is_file() for name in outputs(plan, key)):
        done = ChunkDone(**record)
        done.work = {}
        return done
    done = _walk_again(plan, chunk, key) or _Walk(plan, chunk).run(key)
    store.write_json(plan.root, record_name(key), vars(done))
    return done


def _walk_again(plan: Plan, chunk: Chunk, key: str) -> ChunkDone | None:
    """The last pass from what an earlier one noted of the records, where no step needs their texts any more."""
    known = plan.text_is_settled and store.read_frame(plan.root, records_name(chunk))
    bad = store.read_frame(plan.root, f"{records_name(chunk)}-bad")
    if not isinstance(known, pl.DataFrame) or bad is None:
        return None
    try:
        return _Walk(plan, chunk, noted=Batch(known, bad)).run(key)
    except _TextNeededError:
        return None


class _TextNeededError(Exception):
    """A stored result is missing after all, or a text must be shown."""


def try_rows(plan: Plan, chunk: Chunk, rows: tuple[int, int]) -> None:
    """Run the current pass over the rows [low, high) of a chunk and store nothing: does it live?"""
    _Walk(plan, chunk, rows).run("")


def give_up_on(plan: Plan, chunk: Chunk, doing: str, row: int, error: str) -> None:
    """Store that a step cannot score one record, so that it goes to quarantine; `doing` is what the worker said."""
    kind, _, name = doing.partition(" ")
    step = next(step for step in plan.steps if step.name == name)
    stored = _Stored(plan, chunk, step, kind)
    failed = stored.failed(error).insert_column(0, pl.Series("row", [row], dtype=pl.Int64))
    stored.add(failed)
    stored.save()


def outputs(plan: Plan, key: str) -> tuple[str, ...]:
    """The stored frames that a chunk's record promises."""
    if len(plan.decisions) < len(plan.corpus_steps):
        return (survivors_name(key),)
    return ledger_name(key), quarantine_name(key)


def load(plan: Plan, chunk: Chunk, name: str) -> pl.DataFrame:
    """A stored frame of a finished chunk; a lost or damaged one is made again."""
    frame = store.read_frame(plan.root, name)
    if frame is None:
        store.remove(store.join(plan.root, record_name(plan.task_key(chunk))))
        run_chunk(plan, chunk)
        frame = store.read_frame(plan.root, name)
    if frame is None:
        raise StorageError(f"{name} cannot be read back after it was written", hint="check the disk")
    return frame


class _Walk:
    """One chunk on its way through the steps; results of all batches are gathered and stored at the end."""

    def __init__(
        self, plan: Plan, chunk: Chunk, only: tuple[int, int] | None = None, noted: Batch | None = None
    ) -> None:
        self.plan = plan
        self.noted = noted  # the records without their texts
        self.chunk = chunk
        self.only = only  # a trial over some rows: nothing is stored
        corpus_steps = plan.corpus_steps
        self.target = corpus_steps[len(plan.decisions)] if len(plan.decisions) < len(corpus_steps) else None
        self.steps = plan.steps if self.target is None else plan.steps[: self.target.number]
        self.stored = {step.number: _Stored(plan, chunk, step, "scores") for step in self.steps if _stores(step)}
        if self.target is not None:
            if _stores(self.target):
                self.stored[self.target.number] = _Stored(plan, chunk, self.target, "scores")
            self.sketches = _Stored(plan, chunk, self.target, "sketch")
        self.work = {step.name: Work() for step in plan.steps}
        self.counts: dict[str, dict[str, Any]] = {
            step.name: {"seen": 0, "dropped": 0, "rules": {rule.name: 0 for rule in step.rules}} for step in self.steps
        }
        self.notes = only is None and self.target is not None and plan.text_settles
        self.attempted: set[int] = set()  # steps that have seen a first document
        self.sketch_faults: list[tuple[int, str]] = []
        self.decided: dict[int, pl.DataFrame] = {}  # by number of the corpus-wide step
        self.refused: dict[int, dict[int, str]] = {}
        self.walked = plan.corpus_steps[len(plan.decisions) - 1].number if plan.decisions else -1

    def run(self, key: str) -> ChunkDone:
        """Read and judge every batch, then store what was made."""
        plan, chunk, done = self.plan, self.chunk, ChunkDone(key)
        outcomes: list[pl.DataFrame] = []
        quarantine: list[pl.DataFrame] = []
        schema = plan.ledger_schema()
        seen: list[Batch] = []
        for batch in read_chunk(plan, chunk) if self.noted is None else [self.noted]:
            if self.only is not None:
                batch = _between(batch, *self.only)
            verdicts = self._judge(batch)
            done.read += batch.records.height + batch.bad.height
            done.kept += int(verdicts.alive.sum())
            done.quarantined += batch.bad.height + len(verdicts.faults)
            sizes = text_bytes(batch.records)
            done.bytes_read += int(sizes.sum())
            done.bytes_kept += int(text_bytes(verdicts.docs).filter(pl.Series(verdicts.alive)).sum())
            if self.notes:
                seen.append(Batch(batch.records.select(plan.noted_columns).hstack([sizes]), batch.bad))
            if self.target is None:
                if self.noted is not None and verdicts.faults:
                    raise _TextNeededError
                outcomes.append(verdicts.to_ledger(chunk.source.file, schema))
                quarantine.append(_bad_rows(chunk.source.file, batch.bad))
                quarantine.append(
                    verdicts.to_quarantine(chunk.source.file, [*(step.name for step in plan.steps), None])
                )
            else:
                outcomes.append(self._survivors(self.target, verdicts))
        if self.only is not None:
            return done
        for stored in self.stored.values():
            stored.save()
        if seen:
            store.write_frame(plan.root, records_name(chunk), pl.concat([batch.records for batch in seen]))
            store.write_frame(plan.root, f"{records_name(chunk)}-bad", pl.concat([batch.bad for batch in seen]))
        if self.target is None:
            ledger = pl.concat(outcomes) if outcomes else pl.DataFrame(schema=schema)
            rows = pl.concat(quarantine) if quarantine else pl.DataFrame(schema=QUARANTINE_SCHEMA)
            store.write_frame(plan.root, quarantine_name(key), rows.sort("row", maintain_order=True))
            done.stored = store.write_frame(plan.root, ledger_name(key), ledger)
        else:
            self.sketches.save()
            done.sketch_faults = self.sketch_faults
            empty = pl.DataFrame(schema=plan.survivor_schema(self.target))
            done.stored = store.write_frame(plan.root, survivors_name(key), pl.concat([empty, *outcomes]))
        done.steps = self.counts
        done.work = {name: vars(work) for name, work in self.work.items()}
        return done

    def _judge(self, batch: Batch) -> Verdicts:
        verdicts = Verdicts(batch.records, in_sample(batch.records["id"], self.plan.pipeline.audit.sample))
        for step in self.steps:
            started = time.perf_counter()
            if step.corpus_wide:
                judged = verdicts.alive.copy()
            else:
                judged = (verdicts.alive | verdicts.sampled) & (verdicts.fault_step < 0)
            if step.parts:
                judged &= _has_parts(step, verdicts.docs)
            own = self._score(step, verdicts, judged)
            if step.corpus_wide:
                own |= self._decided(step, verdicts)
            self._take(step, verdicts, own)
            self._rule(step, verdicts, own, judged)
            self.work[step.name].seconds += time.perf_counter() - started
        if self.target is None and self.noted is None and self.plan.columns.form is not None:
            self._refuse_unwritable(self.plan.columns.form, batch.records, verdicts)
        return verdicts

    def _refuse_unwritable(self, form: Form, records: pl.DataFrame, verdicts: Verdicts) -> None:
        """Send to quarantine what the steps keep and the output cannot hold."""
        schema = self.plan.pipeline.output.schema
        for at, error in unwritable(form, records, verdicts.docs, verdicts.alive, schema).items():
            verdicts.fault(len(self.plan.steps), at, f"cannot be written: {error}")

    # scores

    def _score(self, step: Planned, verdicts: Verdicts, judged: NDArray[np.bool_]) -> dict[str, pl.Series]:
        """The step's scores aligned with the batch: stored ones, and the missing ones computed now."""
        if not _stores(step):
            return {}
        return self._look_up(step, self.stored[step.number], verdicts, judged)

    def _look_up(
        self, step: Planned, stored: _Stored, verdicts: Verdicts, judged: NDArray[np.bool_]
    ) -> dict[str, pl.Series]:
        rows = verdicts.docs["row"].to_numpy()
        known = stored.between(rows)
        have = np.isin(rows, known["row"].to_numpy()) if known.height else np.zeros(len(rows), bool)
        missing = judged & ~have
        work = self.work[step.name]
        if step.number > self.walked:  # what an earlier pass of this run scored is no re-use
            work.reused += int((judged & have).sum())
        if missing.any():
            if self.noted is not None:
                raise _TextNeededError
            work.scored += int(missing.sum())
            documents = _view(self.plan, step, verdicts, missing)
            made = self._compute(step, stored, documents).insert_column(
                0, pl.Series("row", rows[missing], dtype=pl.Int64)
            )
            stored.add(made)
            known = pl.concat([known, made]) if known.height else made
        rows_frame = pl.DataFrame({"row": verdicts.docs["row"].filter(pl.Series(judged))})
        if len(rows_frame) == len(rows) and known.height == len(rows) and not have.any():
            aligned = known  # the usual first run: everything judged was computed just now, in order
        else:
            wanted = rows_frame.join(known, on="row", how="left", maintain_order="left")
            aligned = verdicts.docs.select("row").join(wanted, on="row", how="left", maintain_order="left")
        errors = aligned[FAULT]
        if errors.null_count() < len(errors):
            for position in np.flatnonzero(errors.is_not_null().to_numpy()):
                verdicts.fault(step.number, int(position), errors[int(position)])
        return {name: aligned[name] for name in aligned.columns if name not in ("row", FAULT)}

    def _compute(self, step: Planned, stored: _Stored, documents: pl.DataFrame) -> pl.DataFrame:
        """Score documents; those that make the filter fail are found by halving and get their error instead."""
        frames: list[pl.DataFrame] = []

        def attempt(part: pl.DataFrame, first: bool) -> None:
            doing(f"{stored.kind} {step.name}")
            try:
                frames.append(_guarded(step, stored, part))
            except (Exception, pl.exceptions.PanicException) as error:
                if isinstance(error, StepError):
                    raise
                if part.height == 1:
                    failures = [frame for frame in frames if frame[FAULT].null_count() == 0]
                    if first and len(failures) == len(frames) and len(frames) + 1 >= FIRST_FAILURES:
                        raise StepError(
                            f"step {step.name} failed on the first {FIRST_FAILURES} documents in a row: "
                            f"{type(error).__name__} in {_place(error)}",
                            hint="mend the filter or its options, then run the same command again",
                        ) from error
                    frames.append(stored.failed(f"{type(error).__name__}: {error}"[:500]))
                    return
                half = part.height // 2
                attempt(part[:half], first)
                attempt(part[half:], first)

        first = self.chunk.number == 0 and step.number not in self.attempted
        self.attempted.add(step.number)
        attempt(documents, first)
        return pl.concat(frames)

    # decisions of corpus-wide steps

    def _decided(self, step: Planned, verdicts: Verdicts) -> dict[str, pl.Series]:
        number = [other.number for other in self.plan.corpus_steps].index(step.number)
        if number not in self.decided:
            found = decision_of(self.plan, self.plan.decisions[number], self.chunk)
            self.decided[number] = pl.DataFrame(schema={"row": pl.Int64(), **step.decides}) if found is None else found
            before = replace(self.plan, decisions=self.plan.decisions[:number]).task_key(self.chunk)
            record = store.read_json(self.plan.root, record_name(before))
            if record is None:
                raise StorageError("the record of an earlier pass is lost", hint="run the same command again")
            self.refused[number] = dict(record["sketch_faults"])
        frame = self.decided[number]
        aligned = verdicts.docs.select("row").join(frame, on="row", how="left", maintain_order="left")
        if EDITS in step.decides and TURNS in verdicts.docs.columns:
            edits, wrong = place_decided(step, verdicts.docs, aligned[EDITS])
            aligned = aligned.with_columns(edits.alias(EDITS))
            for position, error in wrong.items():
                verdicts.fault(step.number, position, error)
        errors = self.refused[number]
        if errors:
            rows = verdicts.docs["row"].to_list()
            for position in range(len(rows)):
                if rows[position] in errors:
                    verdicts.fault(step.number, position, errors[rows[position]])
        names = {column: column if column in _UNSCORED else f"{_prefix(step)}{column}" for column in step.decides}
        return {name: aligned[column].alias(name) for column, name in names.items()}

    def _take(self, step: Planned, verdicts: Verdicts, own: dict[str, pl.Series]) -> None:
        """Put a step's columns where they belong: edits into the text, ledger columns and scores into the verdicts."""
        edits = own.pop(EDITS, None)
        if edits is not None:
            verdicts.docs, wrong = edited(verdicts.docs, edits)
            for position, error in wrong.items():
                verdicts.fault(step.number, position, error)
        for name, values in own.items():
            if name in LEDGER_COLUMNS:
                verdicts.merge_special(name, values)
            else:
                verdicts.scores[f"{step.name}.{name}"] = values.alias(f"{step.name}.{name}")

    # rules

    def _rule(self, step: Planned, verdicts: Verdicts, own: dict[str, pl.Series], judged: NDArray[np.bool_]) -> None:
        counts = self.counts[step.name]
        seen = int(verdicts.alive.sum()) + int((verdicts.fault_step == step.number).sum())
        counts["seen"] += seen
        judged = judged & (verdicts.fault_step < 0)
        positions = np.flatnonzero(judged)
        first = len(verdicts.rule_codes)
        if step.rules:
            verdicts_of = self._evaluate(step, verdicts, own, positions)
            for rule in step.rules:
                verdicts.judge(step.name, rule.name, positions, verdicts_of[rule.name])
            for number, rule in enumerate(step.rules, first):
                counts["rules"][rule.name] += int((verdicts.decided == number).sum())
        before = int(verdicts.alive.sum())
        verdicts.close_step()
        counts["dropped"] += before - int(verdicts.alive.sum())

    def _evaluate(
        self, step: Planned, verdicts: Verdicts, own: dict[str, pl.Series], positions: NDArray[np.int64]
    ) -> dict[str, NDArray[np.bool_]]:
        """Every rule of a step on the judged documents; null, NaN and infinity are faults, never a verdict."""
        if not step.parts:
            return self._evaluate_on(step, verdicts, own, positions)
        found = {rule.name: np.zeros(verdicts.docs.height, bool) for rule in step.rules}
        for part in step.parts:
            named = {name.removeprefix(f"{part}."): values for name, values in own.items()}
            records = slices(verdicts.docs[TURNS], part).record
            records = records[np.isin(records, positions)]
            if step.on in LISTS:
                kept = pl.Series(np.isin(np.arange(verdicts.docs.height), records))
                named = {name: values.filter(kept).explode() for name, values in named.items()}
            else:
                named = {name: values[records] for name, values in named.items()}
            for rule, values in self._evaluate_on(step, verdicts, named, records).items():
                found[rule][records[values]] = True
        faulty = np.isin(positions, list(verdicts.faults))
        return {rule: values[positions] & ~faulty for rule, values in found.items()}

    def _evaluate_on(
        self, step: Planned, verdicts: Verdicts, own: dict[str, pl.Series], positions: NDArray[np.int64]
    ) -> dict[str, NDArray[np.bool_]]:
        """Every rule on the documents at `positions`, or on their slices: with one of `own` for each."""
        needed = dict.fromkeys(root for rule in step.rules for root in (() if rule.reads_text else rule.roots))
        needed |= dict.fromkeys(rule.name for rule in step.rules if rule.reads_text)
        columns = [self._column(name, verdicts, own).alias(name) for name in needed]
        if len(positions) != verdicts.docs.height or step.parts:
            columns = [column if step.parts and column.name in own else column.gather(positions) for column in columns]
        frame = pl.DataFrame(columns)
        values: dict[str, NDArray[np.bool_]] = {}
        bad = np.zeros(len(positions), bool)
        for rule in step.rules:
            expression = pl.col(rule.name) if rule.reads_text else rule.expression
            result, errors = _truth(rule.code, frame, expression)
            wrong = result.is_null().to_numpy()
            for place, error in errors.items():
                verdicts.fault(step.number, int(positions[place]), f"rule {rule.name}: {error}")
            for name in () if rule.reads_text else rule.roots:
                if frame[name].dtype.is_float():
                    wrong = wrong | ~frame[name].is_finite().fill_null(True).to_numpy()
            for at in np.flatnonzero(wrong & ~bad):
                verdicts.fault(
                    step.number, int(positions[at]), f"rule {rule.name} is {_why(frame, rule.roots, int(at))}"
                )
            bad |= wrong
            values[rule.name] = result.fill_null(False).to_numpy()
        if bad.any():
            values = {name: rule_values & ~bad for name, rule_values in values.items()}
        return values

    def _column(self, name: str, verdicts: Verdicts, own: dict[str, pl.Series]) -> pl.Series:
        if name in own:
            return own[name]
        if name in ("id", TEXT):
            return verdicts.docs[name]
        full = resolve(name, self.plan.steps)
        if full in verdicts.scores:
            return verdicts.scores[full]
        return verdicts.docs[f"input.{name}"]

    # corpus-wide steps

    def _survivors(self, step: Planned, verdicts: Verdicts) -> pl.DataFrame:
        """Score and sketch the survivors for a corpus-wide step; return their keys and the columns that it reads."""
        started = time.perf_counter()
        judged = verdicts.alive & _has_parts(step, verdicts.docs) if step.parts else verdicts.alive.copy()
        own = self._score(step, verdicts, judged)
        for name, values in own.items():
            verdicts.scores[f"{step.name}.{name}"] = values
        if step.sketch:
            self._look_up(step, self.sketches, verdicts, judged & verdicts.alive)
        self.work[step.name].seconds += time.perf_counter() - started
        columns = [
            verdicts.docs["row"],
            verdicts.docs["id"],
            text_bytes(verdicts.docs),
        ]
        for name in step.filter.reads():
            if name != "id":
                columns.append(self._column(name, verdicts, {}).alias(name))
        for at in np.flatnonzero(verdicts.fault_step == step.number):
            self.sketch_faults.append((int(verdicts.docs["row"][int(at)]), verdicts.faults[int(at)]))
        return pl.DataFrame(columns).filter(pl.Series(verdicts.alive & judged))


def _has_parts(step: Planned, docs: pl.DataFrame) -> NDArray[np.bool_]:
    """Which records have something that the step judges."""
    found = [has(docs[TURNS], part) for part in step.parts]
    return functools.reduce(np.logical_or, found)


def _prefix(step: Planned) -> str:
    """What the names of a corpus-wide step's scores begin with: the part that it judges."""
    return f"{step.parts[0]}." if step.parts else ""


def place_decided(step: Planned, docs: pl.DataFrame, edits: pl.Series) -> tuple[pl.Series, dict[int, str]]:
    """The edits that a corpus-wide step decided for what it judged, as edits of the records' texts."""
    where = slices(docs[TURNS], step.parts[0]) if step.parts else whole(docs)
    return placed(edits[where.record], where, docs[TURNS])


def _stores(step: Planned) -> bool:
    return bool(step.scores) or (step.edits and EDITS not in step.decides)


def _place(error: BaseException) -> str:
    """Where an exception was raised; its message is not told, it may quote a document."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.name}, {last.filename}:{last.lineno}"


def _between(batch: Batch, low: int, high: int) -> Batch:
    here = pl.col("row").is_between(low, high - 1)
    return Batch(batch.records.filter(here), batch.bad.filter(here))


def _bad_rows(file: str, bad: pl.DataFrame) -> pl.DataFrame:
    rows = bad.select(
        pl.lit(file).alias("file"), "row", "id", pl.lit(None, pl.String).alias("step"), "error", "raw"
    )  # fmt: skip
    return rows.cast(QUARANTINE_SCHEMA)  # type: ignore[arg-type]  # a mapping of column to type


def _truth(code: str, frame: pl.DataFrame, expression: pl.Expr) -> tuple[pl.Series, dict[int, str]]:
    """A rule's values, null with an error where it cannot be computed: those rows are found by halving."""
    try:
        result = frame.select(expression.alias("rule")).to_series()
    except (Exception, pl.exceptions.PanicException) as error:
        if frame.height == 1:
            return pl.Series([None], dtype=pl.Boolean), {0: f"{type(error).__name__}: {error}"[:500]}
        half = frame.height // 2
        (low, low_errors), (high, high_errors) = (
            _truth(code, part, expression) for part in (frame[:half], frame[half:])
        )
        return pl.concat([low, high]), low_errors | {half + at: told for at, told in high_errors.items()}
    if len(result) != frame.height:
        raise StepError(f"rule {code} gives {len(result)} values for {frame.height} documents")
    return result, {}


def _why(frame: pl.DataFrame, roots: tuple[str, ...], at: int) -> str:
    for name in roots:
        value = frame[name][at] if name in frame.columns else None
        if isinstance(value, float) and not np.isfinite(value):
            return f"unknown: {name} is {value}"
        if value is None:
            return f"unknown: {name} is null"
    return "null"


def _view(plan: Plan, step: Planned, verdicts: Verdicts, rows: NDArray[np.bool_]) -> pl.DataFrame:
    """What a filter sees: id, text, the input's other columns by name, and the earlier scores that it reads."""
    docs = verdicts.docs if rows.all() else verdicts.docs.filter(pl.Series(rows))
    columns = [docs["id"], docs[TEXT], *([docs[TURNS]] if TURNS in docs.columns else [])]
    taken = {column.name for column in columns}
    if step.parts:
        taken |= set(plan.columns.messages)
    columns += [
        docs[name].alias(name[6:]) for name in docs.columns if name.startswith("input.") and name[6:] not in taken
    ]
    names = {column.name for column in columns}
    for name in dict.fromkeys((*step.filter.reads(), *step.reads)):
        if name not in names:
            full = resolve(name, plan.steps)
            values = verdicts.scores[full]
            columns.append((values if rows.all() else values.filter(pl.Series(rows))).alias(name))
    return pl.DataFrame(columns)


def _guarded(step: Planned, stored: _Stored, docs: pl.DataFrame) -> pl.DataFrame:
    """A step's columns for records, checked: of the whole, or gathered from the parts that it judges."""
    if TURNS not in docs.columns:
        return _columns_of(step, stored, docs)
    found: list[pl.DataFrame] = []
    edits: list[pl.Series] = []
    errors: dict[int, str] = {}
    for part in step.parts or ("",):
        where = slices(docs[TURNS], part) if part else whole(docs)
        made = _columns_of(step, stored, cut(docs, where) if part else docs).drop(FAULT)
        if EDITS in made.columns:
            moved, wrong = placed(made[EDITS], where, docs[TURNS])
            edits.append(moved)
            errors |= wrong
            made = made.drop(EDITS)
        if part:
            made = gathered(made, where, part, docs.height)
        if part and stored.kind != "sketch":
            made = made.rename({name: f"{part}.{name}" for name in made.columns})
        found.append(made)
    if edits:
        joined = pl.DataFrame([column.alias(str(at)) for at, column in enumerate(edits)])
        found.append(joined.select(pl.concat_list(pl.all().fill_null([])).alias(EDITS)))
    told = pl.Series(FAULT, [errors.get(at) for at in range(docs.height)], dtype=pl.String)
    return pl.concat([told.to_frame(), *found], how="horizontal").select(*_named(stored))


def _named(stored: _Stored) -> list[str]:
    return [FAULT, *(name for name in stored.schema if name not in ("row", FAULT))]


def _columns_of(step: Planned, stored: _Stored, docs: pl.DataFrame) -> pl.DataFrame:
    """A filter's columns, checked: one row per document and the columns that it announced."""
    if stored.kind == "sketch":
        assert isinstance(step.filter, CorpusFilter)
        made = step.filter.sketch(docs)
    else:
        made = step.filter.score(docs)
        for rule in step.rules:
            if rule.reads_text:
                value = pl.concat([docs, made], how="horizontal").select(rule.expression.alias(rule.name))
                made = value if made.width == 0 else made.hstack(value)
    if made.height != docs.height:
        raise StepError(
            f"step {step.name} returned {made.height} rows for {docs.height} documents",
            hint="a filter returns one row per document, in order (a constant: pl.repeat(value, pl.len()))",
        )
    if set(made.columns) != set(stored.own):
        raise StepError(
            f"step {step.name} returned the columns {sorted(made.columns)}, on an empty frame {sorted(stored.own)}",
            hint="a filter must return the same columns for any documents",
        )
    cast = made.select(pl.col(name).cast(kind) for name, kind in stored.own.items())
    return cast.select(pl.lit(None, pl.String).alias(FAULT), pl.all())


class _Stored:
    """The stored results of one step over one chunk: row, error, and the step's columns; sparse, sorted by row."""

    def __init__(self, plan: Plan, chunk: Chunk, step: Planned, kind: str) -> None:
        self.kind = kind
        self.root = plan.root
        self.name = results_name(chunk, plan.step_key(step) + ("-sketch" if kind == "sketch" else ""))
        columns: dict[str, Any] = dict(step.sketch or {}) if kind == "sketch" else step.by_part(step.scores)
        self.own: dict[str, Any] = dict(step.sketch or {}) if kind == "sketch" else dict(step.scores)
        if kind != "sketch" and step.edits and EDITS not in step.decides:
            columns[EDITS] = self.own[EDITS] = EDIT_TYPE
        self.schema: dict[str, Any] = {"row": pl.Int64(), FAULT: pl.String(), **columns}
        found = store.read_frame(plan.root, self.name)
        self.new = found is None
        self.known = found if found is not None else pl.DataFrame(schema=self.schema)
        self.rows = self.known["row"].to_numpy()
        self.added: list[pl.DataFrame] = []

    def between(self, rows: NDArray[np.int64]) -> pl.DataFrame:
        """Stored results within the range of the given sorted rows."""
        if len(self.rows) == 0 or len(rows) == 0:
            return self.known[:0]
        low, high = np.searchsorted(self.rows, [rows[0], rows[-1] + 1])
        return self.known[int(low) : int(high)]

    def add(self, frame: pl.DataFrame) -> None:
        """Take newly computed results."""
        self.added.append(frame.select(*self.schema))

    def failed(self, error: str) -> pl.DataFrame:
        """The result of a document that could not be scored."""
        columns = {name: kind for name, kind in self.schema.items() if name != "row"}
        return pl.DataFrame({name: [error if name == FAULT else None] for name in columns}, schema=columns)

    def save(self) -> None:
        """Store what is new together with what was known."""
        if self.added or (self.new and EDITS in self.schema):  # that there are no edits is worth a file, too
            store.write_frame(self.root, self.name, pl.concat([self.known, *self.added]).sort("row"))
