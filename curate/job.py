"""One execution of a pipeline: survey, passes, decisions, ledger, shards, report, manifest last.

A directory without a manifest is an unfinished run, and the same command resumes it. A different pipeline or input over
an existing run is refused with the difference, unless `update` (re-use what is valid) or `fresh` (start again).
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate import __version__, store
from curate.chunk import ChunkDone, give_up_on, ledger_name, load, read_chunk, run_chunk, try_rows
from curate.console import Quiet
from curate.corpus import DiskCorpus, decide, kept_rows
from curate.earlier import files_of, publish_folder, refuse_foreign
from curate.errors import OutputError, StoppedError, UsageError
from curate.executors import ATTEMPTS, Executor, Failure
from curate.filter import CorpusFilter
from curate.manifest import differences, identify, input_changed, limits, models, sum_counts, sum_work, versions
from curate.plan import Chunk, Plan, find_repeats, id_column, make_chunks, plan_steps, survey_all, survey_ids
from curate.policy import read_clauses
from curate.read import Columns, Source, Survey, hash_ids, unite
from curate.warm import compiling_beside
from curate.write import Part, added_columns, data_schema, publish_all

if TYPE_CHECKING:
    from curate.pipeline import Pipeline

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


class Job:
    """One execution of a pipeline over its directory, whose lock is held."""

    def __init__(
        self,
        pipeline: Pipeline,
        base: Path,
        root: Path,
        sources: list[Source],
        executor: Executor,
        sample: int,
        watch: Quiet,
    ) -> None:
        self.pipeline = pipeline
        self.base = base  # what the input's paths are relative to
        self.root = root
        self.sources = sources
        self.executor = executor
        self.sample = sample
        self.watch = watch
        self.policy = read_clauses(pipeline)
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def run(self, update: bool, fresh: bool) -> dict[str, Any]:
        """Compare with what is there, then plan, judge, decide, write; return the manifest."""
        self._refuse_loops()
        if fresh:
            store.clear(self.root)
        identity = identify(self.pipeline, self.sources, self.sample)
        finished = self._compare(identity, update)
        if finished is not None:
            return finished
        store.write_json(self.root, ".curate/run.json", identity)
        (self.root / "audit").mkdir(mode=0o700, exist_ok=True)
        store.remove(self.root / ".curate" / "tmp")
        plan = self._plan()
        plan, done = self._passes(plan)
        manifest = self._write(plan, done, identity)
        store.remove(self.root / ".curate" / "tmp")
        return manifest

    def _saves(self) -> list[Path]:
        """The folders beside the run's own that it writes; a trial writes none."""
        filters = [step.filter for step in self.pipeline.steps]
        folders = [filter.saves() for filter in filters if isinstance(filter, CorpusFilter)]
        return [folder for folder in folders if folder is not None and not self.sample]

    def _saved(self, manifest: Mapping[str, Any]) -> bool:
        """Whether the folders that the run has made for later ones are still as it left them."""
        saved = {one["folder"]: one["files"] for one in manifest.get("saved", [])}
        return all(saved.get(self._name(folder)) == files_of(folder) for folder in self._saves())

    def _name(self, folder: Path) -> str:
        return Path(os.path.relpath(folder, self.pipeline.base)).as_posix()

    def _refuse_loops(self) -> None:
        """Refuse a run that would read what it writes, write over what others wrote, or write one folder twice."""
        folders = self._saves()
        for folder in folders:
            refuse_foreign(folder, self.root)
            if folders.count(folder) > 1:
                raise UsageError(f"two steps save into {folder}", hint="give each a folder of its own")
        for step in self.pipeline.steps:
            earlier = step.filter.earlier() if isinstance(step.filter, CorpusFilter) else ()
            if any(path.resolve() == self.root.resolve() for path in earlier):
                raise UsageError(
                    f"step {step.name}: the earlier corpora include this run's own output {self.root}",
                    hint="name the others, or write a pattern that does not match it",
                )

    # what is there already

    def _compare(self, identity: dict[str, Any], update: bool) -> dict[str, Any] | None:
        """The manifest of the same run when it is finished; raises when another is there; None: work to do."""
        before = store.read_json(self.root, ".curate/run.json")
        manifest = store.read_json(self.root, "manifest.json")
        whole: bool = manifest is not None and all(
            store.join(self.root, part["path"]).is_file() for part in manifest["outputs"]
        )
        whole = whole and manifest is not None and self._saved(manifest)
        if before is None and manifest is not None:
            before = manifest.get("identity")
        if before is not None and before != identity:
            changed = differences(before, identity)
            self._same_content(before, identity, changed)
            if changed and not update:
                state = "a finished run" if manifest is not None else "an unfinished run"
                raise OutputError(
                    f"{self.root} holds {state} of something else:\n" + "\n".join(f"  {line}" for line in changed[:20]),
                    hint="use --update to re-use what is still valid, --fresh to start again, or another --output",
                )
            if not changed and whole:
                return dict(manifest or {})
        elif whole:
            return dict(manifest or {})
        if manifest is not None:
            os.replace(self.root / "manifest.json", self.root / ".curate" / "manifest-before.json")
        return None

    def _same_content(self, before: dict[str, Any], now: dict[str, Any], changed: list[str]) -> None:
        """A file that was only touched (another time stamp, the same bytes) is no difference."""
        hashes = {entry["file"]: entry["sha256"] for entry in before.get("hashes", [])}
        for source in self.sources:
            known = before.get("inputs", {}).get(source.file)
            line = input_changed(source.file)
            if known is None or line not in changed or known[0] != source.size or hashes.get(source.file) is None:
                continue
            if store.file_sha256(Path(source.url)) == hashes[source.file]:
                changed.remove(line)

    # planning

    def _plan(self) -> Plan:
        started = time.perf_counter()
        pipeline = self.pipeline
        self.watch.stage("survey", sum(source.size for source in self.sources))
        surveys = survey_all(self.root, self.sources, pipeline, self.executor)
        columns = unite(surveys, pipeline.input.what, id_column(surveys, pipeline))
        self.watch.stage("preparing steps, compiled on first use")
        with compiling_beside([step.filter for step in pipeline.steps]):
            steps = plan_steps(pipeline, columns)
        repeats = self._repeats(surveys, columns)
        chunks = make_chunks(surveys, columns, pipeline.limits.record, repeats, self.sample)
        inputs = tuple(
            {"file": source.file, "rows": found.rows, "bytes": source.size, "sha256": found.sha256}
            for source, found in surveys
        )
        self.seconds["survey"] = time.perf_counter() - started
        return Plan(pipeline, self.root, columns, chunks, steps, repeats, inputs)

    def _repeats(self, surveys: Sequence[tuple[Source, Survey]], columns: Columns) -> dict[str, str]:
        """Give repeated ids a new one, id~2 and so on in input order; return file -> name of the stored new ids."""
        if columns.id is None:
            return {}
        hashes = [survey_ids(self.root, source, self.pipeline) for source, _ in surveys]
        found = find_repeats(hashes)
        if not any(len(rows) for rows in found):
            return {}
        taken = np.sort(np.concatenate(hashes))
        used: set[str] = set()
        names: dict[str, str] = {}
        for (source, survey), rows in zip(surveys, found, strict=True):
            renamed = self._rename(source, survey, columns, rows, taken, used)
            name = f".curate/repeats/{store.digest(source.file, renamed.rows())}"
            store.write_frame(self.root, name, renamed)
            names[source.file] = name
        return names

    def _rename(
        self,
        source: Source,
        survey: Survey,
        columns: Columns,
        rows: NDArray[np.int64],
        taken: NDArray[np.uint64],
        used: set[str],
    ) -> pl.DataFrame:
        schema = {"row": pl.Int64(), "new_id": pl.String()}
        if len(rows) == 0:
            return pl.DataFrame(schema=schema)
        occurrence = dict(rows.tolist())
        made: list[tuple[int, str]] = []
        whole = Plan(self.pipeline, self.root, columns, (), (), {}, ())
        for chunk in make_chunks([(source, survey)], columns, self.pipeline.limits.record, {}, 0):
            if not any(chunk.cut.row <= row < chunk.cut.row + chunk.cut.rows for row in occurrence):
                continue
            for batch in read_chunk(whole, chunk, want=()):
                some = batch.records.select("row", "id").filter(pl.col("row").is_in(list(occurrence)))
                for row, id in some.iter_rows():
                    number = occurrence[row]
                    while f"{id}~{number}" in used or _is_taken(f"{id}~{number}", taken):
                        number += 1
                    used.add(f"{id}~{number}")
                    made.append((row, f"{id}~{number}"))
        return pl.DataFrame(made, schema=schema, orient="row")

    # passes

    def _passes(self, plan: Plan) -> tuple[Plan, list[ChunkDone]]:
        """Walk every chunk once per pass; between passes the corpus-wide steps decide."""
        passes = len(plan.corpus_steps) + 1
        work: list[ChunkDone] = []
        for number in range(passes):
            started = time.perf_counter()
            self.watch.stage(f"pass {number + 1} of {passes}", chunks=len(plan.chunks))
            done = self._pass(plan)
            work += done
            self.seconds[f"pass {number + 1}"] = time.perf_counter() - started
            if number < len(plan.corpus_steps):
                started = time.perf_counter()
                step = plan.corpus_steps[number]
                self.watch.stage(f"deciding {step.name}")
                key = decide(plan, step, self.executor, [one.stored for one in done])
                self.seconds[f"decide {step.name}"] = time.perf_counter() - started
                plan = plan.decided(key)
        self.work = sum_work(plan, work)
        return plan, done

    def _pass(self, plan: Plan) -> list[ChunkDone]:
        results: list[ChunkDone | None] = [None] * len(plan.chunks)
        lost: list[Chunk] = []
        for chunk, done in self.executor.map(functools.partial(run_chunk, plan), plan.chunks):
            if isinstance(done, Failure):
                lost.append(chunk)
                continue
            results[chunk.number] = done
            self.watch.advance(documents=done.read, bytes=done.bytes_read, kept=done.kept)
        for chunk in lost:  # one after the other, so that a second loss has one cause
            done = run_again(plan, chunk, self.executor)
            results[chunk.number] = done
            self.watch.advance(documents=done.read, bytes=done.bytes_read, kept=done.kept)
        return [done for done in results if done is not None]

    # writing

    def _write(self, plan: Plan, done: list[ChunkDone], identity: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        root = self.root
        for name in ("dataset", "audit/ledger", "audit/quarantine", "audit/dropped"):
            store.remove(root / name)
        self.watch.stage("writing", sum(one.bytes_kept for one in done))
        published: dict[str, list[Part]] = {"data": [], "ledger": [], "quarantine": [], "dropped": []}
        for kind, parts in publish_all(plan, self.executor):
            published[kind] += parts
            for part in parts if kind == "data" else ():
                self.watch.advance(documents=part.rows, bytes=part.bytes)
        data = published["data"]
        self.seconds["write"] = time.perf_counter() - started
        saved = self._save(plan)
        counts = sum_counts(plan, done)
        promises = self._promises(plan, counts, data)
        manifest: dict[str, Any] = {
            "name": self.pipeline.name,
            "curate": __version__,
            "pipeline": self.pipeline.resolved(),
            "steps": [
                {"name": step.name, "filter": type(step.filter).label, "corpus_wide": step.corpus_wide}
                for step in plan.steps
            ],
            "identity": identity | {"hashes": [{"file": e["file"], "sha256": e["sha256"]} for e in plan.inputs]},
            "inputs": list(plan.inputs),
            "outputs": [asdict(part) for parts in published.values() for part in parts],
            "base": os.path.relpath(self.base, root),
            "columns": {"text": plan.columns.text, "id": plan.columns.id, "published": added_columns(plan)},
            "models": models(plan),
            "versions": versions(),
            "limits": limits(plan),
            "saved": saved,
            "counts": counts,
            "bytes": {"read": sum(one.bytes_read for one in done), "kept": sum(one.bytes_kept for one in done)},
            "work": self.work,
            "promises": promises,
            "exit_code": 0 if all(promise["held"] for promise in promises) else 1,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        manifest["seconds"] = self.seconds | {"total": time.perf_counter() - self.started}
        self._report(plan, manifest)
        store.write_json(root, ".curate/run.json", manifest["identity"])
        store.write_json(root, "manifest.json", manifest)
        return manifest

    def _save(self, plan: Plan) -> list[dict[str, Any]]:
        """Let steps save what later runs need of this one, in folders of their own."""
        saved: list[dict[str, Any]] = []
        for number, step in enumerate(plan.corpus_steps):
            assert isinstance(step.filter, CorpusFilter)
            folder = step.filter.saves()
            if folder is None or self.sample:
                continue
            self.watch.stage(f"saving {step.name}")
            started = time.perf_counter()
            before = replace(plan, decisions=plan.decisions[:number])  # as when the step decided
            corpus = DiskCorpus(before, step, self.executor, self.root / ".curate" / "tmp")
            with publish_folder(folder, self.root) as empty:
                step.filter.save(corpus, kept_rows(plan), empty)
            saved.append({"step": step.name, "folder": self._name(folder), "files": files_of(folder)})
            self.seconds[f"save {step.name}"] = time.perf_counter() - started
        return saved

    def _report(self, plan: Plan, manifest: dict[str, Any]) -> None:
        """Compute the report from the published ledger and write it beside it."""
        from curate.report import Report
        from curate.scores import step_tables

        self.watch.stage("report")
        files = [self.root / part["path"] for part in manifest["outputs"] if part["path"].startswith("audit/ledger/")]
        ledger = pl.scan_parquet(files, glob=False)
        tables = step_tables(ledger, [step.name for step in plan.steps], plan.pipeline.steps)
        audited = self._judge(plan, manifest, tables)
        report = Report.build(self.root, manifest, ledger, tables, audited)
        with store.publish(self.root, "audit/report.html") as temporary:
            report.save(temporary)
        store.write_json(self.root, "audit/report.json", report.to_dict())
        self._cards(plan, manifest, report.to_dict())

    def _judge(
        self, plan: Plan, manifest: dict[str, Any], tables: Mapping[str, Mapping[str, pl.DataFrame]]
    ) -> dict[str, Any] | None:
        """Audit whom the steps removed, and hold the run to its policy: its clauses join the promises."""
        from curate.audit import audit_run
        from curate.policy import Measured, evaluate, promise
        from curate.run import Run

        run = Run(self.root, manifest)
        by = self.pipeline.audit.by
        columns = default_groups(plan) if by is None else list(by)
        audited = audit_run(run, columns, strata=self.pipeline.audit.strata) if columns else None
        rows = {} if audited is None else audited.rows.partition_by("by", as_dict=True)
        audits = {str(column): frame for (column,), frame in rows.items()}
        measured = Measured(run, tables, self.pipeline.card.model_dump(), self.pipeline.base, audits)
        manifest["policy"] = evaluate(self.policy, measured, datetime.now(UTC).date())
        manifest["promises"] = [*manifest["promises"], *map(promise, manifest["policy"])]
        manifest["exit_code"] = 0 if all(one["held"] for one in manifest["promises"]) else 1
        return None if audited is None else audited.to_dict()

    def _cards(self, plan: Plan, manifest: dict[str, Any], report: dict[str, Any]) -> None:
        """Write what is published beside the data: the dataset card and its Croissant metadata."""
        from curate.card import Facts, croissant, readme

        schema = {name: str(kind) for name, kind in data_schema(plan).items()}
        facts = Facts(self.pipeline.card, manifest, report, schema)
        store.write_bytes(self.root, "dataset/README.md", readme(facts).encode("utf-8", "backslashreplace"))
        store.write_json(self.root, "dataset/croissant.json", croissant(facts))

    def _promises(self, plan: Plan, counts: Mapping[str, Any], data: Sequence[Part]) -> list[dict[str, Any]]:
        """What every run checks at its end; a broken count is a defect and stops it."""
        read, kept = counts["read"], counts["kept"]
        if read != kept + counts["dropped"] + counts["quarantined"]:
            raise StoppedError(f"counts do not add up: {dict(counts)}", hint="this is a defect of curate: report it")
        copies = sum(
            int(load(plan, chunk, ledger_name(plan.task_key(chunk)))["copies"].cast(pl.Int64).sum())
            for chunk in plan.chunks
        )
        rows = sum(part.rows for part in data)
        wanted = copies if self.pipeline.output.copies == "repeat" else kept
        if rows != wanted:
            raise StoppedError(
                f"{rows} rows were written for {wanted} copies in the ledger", hint="this is a defect: report it"
            )
        share = counts["quarantined"] / read if read else 0.0
        allowed = self.pipeline.max_quarantined
        return [
            {
                "promise": "read = kept + dropped + quarantined",
                "held": True,
                "detail": f"{read} = {kept} + {counts['dropped']} + {counts['quarantined']}",
            },
            {
                "promise": f"at most {allowed:.4%} of the records in quarantine",
                "held": share <= allowed,
                "detail": f"{counts['quarantined']} of {read}, {share:.4%}",
            },
            {"promise": "something is kept", "held": kept > 0, "detail": f"{kept} documents"},
        ]


def default_groups(plan: Plan) -> list[str]:
    """The columns that a report audits by unless told: languages, scripts and mentions that steps have scored."""
    wanted = {"language": ("label",), "groups": ("script", "identity")}
    return [
        f"{step.name}.{score}"
        for step in plan.steps
        for score in wanted.get(type(step.filter).label, ())
        if f"{step.name}.{score}" in step.ledger_scores
    ]


# --- lost workers ---


def run_again(plan: Plan, chunk: Chunk, executor: Executor) -> ChunkDone:
    """Run a chunk whose worker was lost again; lost twice, the record that does it is found by halving."""
    run_one = functools.partial(run_chunk, plan)
    done = _one(executor, run_one, chunk)
    for _ in range(ATTEMPTS - 2):
        if not isinstance(done, Failure):
            return done
        isolate(plan, chunk, executor, chunk.cut.row, chunk.cut.row + chunk.cut.rows)
        done = _one(executor, run_one, chunk)
    if isinstance(done, Failure):
        raise StoppedError(
            f"{chunk.source.file} from record {chunk.cut.row} loses its worker, and no single record does: "
            f"{done.detail}",
            hint="give it more memory or fewer workers, then run the same command again",
        )
    return done


def isolate(plan: Plan, chunk: Chunk, executor: Executor, low: int, high: int) -> None:
    """Find the records of [low, high) that lose a worker, and note them for quarantine."""
    try_one = functools.partial(try_rows, plan, chunk)
    failure = _one(executor, try_one, (low, high))
    if not isinstance(failure, Failure):
        return
    if high - low > 1:
        middle = (low + high) // 2
        isolate(plan, chunk, executor, low, middle)
        isolate(plan, chunk, executor, middle, high)
    elif failure.doing and isinstance(_one(executor, try_one, (low, high)), Failure):  # not by chance
        give_up_on(plan, chunk, failure.doing, low, f"{failure.kind}: {failure.detail}")


def _one(executor: Executor, function: Callable[[I], R], item: I) -> R | Failure:
    return next(iter(executor.map(function, [item])))[1]


def _is_taken(id: str, taken: NDArray[np.uint64]) -> bool:
    value = hash_ids([id])[0]
    at = int(np.searchsorted(taken, value))
    return at < len(taken) and taken[at] == value
