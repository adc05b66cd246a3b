"""Run a plan and look at what came of it: survey, passes, decisions, ledger, shards, report, manifest last.

A directory without a manifest is an unfinished run, and the same command resumes it. A different pipeline or input over
an existing run is refused with the difference, unless `update` (re-use what is valid) or `fresh` (start again).
"""

from __future__ import annotations

import functools
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate import __version__, store
from curate.chunk import ChunkDone, give_up_on, ledger_name, load, read_chunk, run_chunk, try_rows
from curate.corpus import decide
from curate.errors import OutputError, StoppedError, UsageError
from curate.executors import Executor, Failure, Local, Serial
from curate.filter import code_version
from curate.ledger import QUARANTINE_SCHEMA
from curate.plan import Chunk, Plan, find_repeats, id_column, make_chunks, plan_steps, resolve, survey_all, survey_ids
from curate.read import Columns, Source, Survey, find_sources, hash_ids, unite
from curate.write import Part, write_ledger, write_quarantine, write_shards

if TYPE_CHECKING:
    from curate.pipeline import Pipeline
    from curate.report import Report

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
PACKAGES = ("polars", "pyarrow", "numpy", "numba", "orjson", "pydantic", "fasttext-predict", "datasketch", "spacy")


class Watch(Protocol):
    """What a run tells about its progress; curate.console draws it."""

    def stage(self, name: str, total_bytes: int | None = None) -> None:
        """A new stage begins, with so many bytes to go through when that is known."""

    def advance(self, *, documents: int = 0, bytes: int = 0, kept: int = 0) -> None:
        """So much more is done."""


class Silent:
    """Tells nothing."""

    def stage(self, name: str, total_bytes: int | None = None) -> None:
        """Nothing."""

    def advance(self, *, documents: int = 0, bytes: int = 0, kept: int = 0) -> None:
        """Nothing."""


# --- running ----------------------------------------------------------------------------------------------------------


def run_pipeline(
    pipeline: Pipeline,
    paths: str | Sequence[str] | None = None,
    output: str | Path | None = None,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    sample: int = 0,
    update: bool = False,
    fresh: bool = False,
    watch: Watch | None = None,
    base: Path | None = None,
) -> Run:
    """Run a pipeline over files and return the finished Run.

    `paths` and `output` win over those of the pipeline; relative ones are relative to `base`, by default the current
    directory. `sample` reads only about so many records (a trial). Raises UsageError before any work, StoppedError when the run stopped
    and can be resumed.
    """
    folder = pipeline.base
    if paths is not None:
        folder = base or Path.cwd()
        listed = (paths,) if isinstance(paths, str) else tuple(str(path) for path in paths)
        pipeline = pipeline.model_copy(update={"input": pipeline.input.model_copy(update={"paths": listed})})
    if not pipeline.input.paths:
        raise UsageError("no input", hint="name it in the pipeline (input: {paths: [...]}) or with --input")
    root = output_folder(pipeline, output)
    sources = find_sources(pipeline.input.paths, folder)
    store.prepare(root)
    made_executor = executor or make_executor(workers)
    try:
        with store.lock(root):
            job = _Job(pipeline, folder, root, sources, made_executor, sample, watch or Silent())
            return job.run(update, fresh)
    finally:
        if executor is None:
            made_executor.close()


def make_executor(workers: int | None) -> Executor:
    """Serial for one worker, else processes on this machine; None is as many as cores."""
    if workers == 1:
        return Serial()
    return Local(workers) if workers else Serial()


def output_folder(pipeline: Pipeline, output: str | Path | None) -> Path:
    """The run's directory: the one given, else the pipeline's."""
    if output is not None:
        return Path(output).absolute()
    if pipeline.output.path is None:
        raise UsageError("no output folder", hint="name it in the pipeline (output: {path: ...}) or with --output")
    return (pipeline.base / pipeline.output.path).absolute()


class _Job:
    """One execution of a pipeline over its directory, whose lock is held."""

    def __init__(
        self,
        pipeline: Pipeline,
        base: Path,
        root: Path,
        sources: list[Source],
        executor: Executor,
        sample: int,
        watch: Watch,
    ) -> None:
        self.pipeline = pipeline
        self.base = base  # what the input's paths are relative to
        self.root = root
        self.sources = sources
        self.executor = executor
        self.sample = sample
        self.watch = watch
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def run(self, update: bool, fresh: bool) -> Run:
        """Compare with what is there, then plan, judge, decide, write."""
        if fresh:
            store.clear(self.root)
        identity = self._identity()
        finished = self._compare(identity, update)
        if finished is not None:
            return finished
        store.write_json(self.root, ".curate/run.json", identity)
        (self.root / "audit").mkdir(mode=0o700, exist_ok=True)
        store.remove(self.root / ".curate" / "tmp")
        plan = self._plan()
        plan, done = self._passes(plan)
        run = self._write(plan, done, identity)
        store.remove(self.root / ".curate" / "tmp")
        return run

    # what is there already

    def _identity(self) -> dict[str, Any]:
        """What a run is of: pipeline, filters' code, inputs."""
        resolved = self.pipeline.resolved()
        resolved.get("output", {}).pop("path", None)
        resolved.get("input", {}).pop("paths", None)
        resolved.pop("plugins", None)
        return {
            "curate": __version__,
            "sample": self.sample,
            "pipeline": resolved,
            "filters": {step.name: code_version(type(step.filter)) for step in self.pipeline.steps},
            "inputs": {source.file: [source.size, source.version] for source in self.sources},
        }

    def _compare(self, identity: dict[str, Any], update: bool) -> Run | None:
        """The finished run, when it is the same; raises when another one is there; None when there is work to do."""
        before = store.read_json(self.root, ".curate/run.json")
        manifest = store.read_json(self.root, "manifest.json")
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
        elif manifest is not None:
            return Run(self.root, manifest)
        if manifest is not None:
            if before is not None and not differences(before, identity):
                return Run(self.root, manifest)
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
        columns = unite(surveys, pipeline.input.text, id_column(surveys, pipeline))
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
        total = sum(int(entry["bytes"]) for entry in plan.inputs)
        passes = len(plan.corpus_steps) + 1
        work: list[ChunkDone] = []
        for number in range(passes):
            started = time.perf_counter()
            self.watch.stage(f"pass {number + 1} of {passes}", total)
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

    def _write(self, plan: Plan, done: list[ChunkDone], identity: dict[str, Any]) -> Run:
        started = time.perf_counter()
        root = self.root
        for name in ("dataset", "audit/ledger", "audit/quarantine", "audit/dropped"):
            store.remove(root / name)
        self.watch.stage("writing", sum(one.bytes_kept for one in done))
        ledger = write_ledger(plan)
        quarantine = write_quarantine(plan, QUARANTINE_SCHEMA)
        data: list[Part] = []
        for part in write_shards(plan, self.executor, kept=True):
            data.append(part)
            self.watch.advance(documents=part.rows, bytes=part.bytes, kept=part.rows)
        dropped = list(write_shards(plan, self.executor, kept=False)) if self.pipeline.output.dropped == "full" else []
        self.seconds["write"] = time.perf_counter() - started
        counts = sum_counts(plan, done)
        promises = self._promises(plan, counts, data)
        manifest: dict[str, Any] = {
            "name": self.pipeline.name,
            "curate": __version__,
            "pipeline": self.pipeline.resolved(),
            "steps": [{"name": step.name, "filter": type(step.filter).label} for step in plan.steps],
            "identity": identity | {"hashes": [{"file": e["file"], "sha256": e["sha256"]} for e in plan.inputs]},
            "inputs": list(plan.inputs),
            "outputs": [asdict(part) for part in (*data, *ledger, *quarantine, *dropped)],
            "base": os.path.relpath(self.base, root),
            "columns": {"text": plan.columns.text, "id": plan.columns.id},
            "models": models(plan),
            "versions": versions(),
            "limits": limits(plan),
            "counts": counts,
            "bytes": {"read": sum(one.bytes_read for one in done), "kept": sum(one.bytes_kept for one in done)},
            "work": self.work,
            "promises": promises,
            "exit_code": 0 if all(promise["held"] for promise in promises) else 1,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        manifest["seconds"] = self.seconds | {"total": time.perf_counter() - self.started}
        run = Run(root, manifest)
        self.watch.stage("report")
        report = run.build_report(plan)
        report.save(root / "audit" / "report.html")
        store.write_json(root, "audit/report.json", report.to_dict())
        store.write_json(root, ".curate/run.json", manifest["identity"])
        store.write_json(root, "manifest.json", manifest)
        return run

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
        if rows != copies:
            raise StoppedError(
                f"{rows} rows were written for {copies} copies in the ledger", hint="this is a defect: report it"
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


def run_again(plan: Plan, chunk: Chunk, executor: Executor) -> ChunkDone:
    """Run a chunk whose worker was lost again; lost twice, the record that does it is found by halving."""
    run_one = functools.partial(run_chunk, plan)
    done = _one(executor, run_one, chunk)
    if isinstance(done, Failure):
        cut = chunk.cut
        isolate(plan, chunk, executor, cut.row, cut.row + cut.rows)
        done = _one(executor, run_one, chunk)
    if isinstance(done, Failure):
        raise StoppedError(
            f"{chunk.source.file} from record {chunk.cut.row} loses its worker and no single record does: {done.detail}",
            hint="give it more memory or fewer workers, then run the same command again",
        )
    return done


def isolate(plan: Plan, chunk: Chunk, executor: Executor, low: int, high: int) -> None:
    """Find the records of [low, high) that lose a worker, and note them for quarantine."""
    failure = _one(executor, functools.partial(try_rows, plan, chunk), (low, high))
    if not isinstance(failure, Failure):
        return
    if high - low > 1:
        middle = (low + high) // 2
        isolate(plan, chunk, executor, low, middle)
        isolate(plan, chunk, executor, middle, high)
    elif failure.doing:
        give_up_on(plan, chunk, failure.doing, low, f"{failure.kind}: {failure.detail}")


def _one(executor: Executor, function: Callable[[I], R], item: I) -> R | Failure:
    return next(iter(executor.map(function, [item])))[1]


def _is_taken(id: str, taken: NDArray[np.uint64]) -> bool:
    value = hash_ids([id])[0]
    at = int(np.searchsorted(taken, value))
    return at < len(taken) and taken[at] == value


def input_changed(file: str) -> str:
    """The line that says that an input file has changed."""
    return f"input {file}: changed"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two runs' identities, a line each, for people."""
    lines: list[str] = []
    files_before, files_now = before.get("inputs", {}), now["inputs"]
    lines += [f"input {file}: added" for file in files_now if file not in files_before]
    lines += [f"input {file}: removed" for file in files_before if file not in files_now]
    lines += [input_changed(f) for f, known in files_now.items() if f in files_before and files_before[f] != known]
    for name in ("curate", "sample"):
        if before.get(name) != now[name]:
            lines.append(f"{name}: {before.get(name)} -> {now[name]}")
    old = {f"pipeline.{key}": value for key, value in flatten(before.get("pipeline", {}))}
    new = {f"pipeline.{key}": value for key, value in flatten(now["pipeline"])}
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            lines.append(f"{key.removeprefix('pipeline.')}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}")
    for step, code in now["filters"].items():
        if step in before.get("filters", {}) and before["filters"][step] != code:
            lines.append(f"step {step}: its code has changed")
    return lines


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings and lists, with dotted keys; a step's key is its name, its value its place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        for number, inner in enumerate(value):
            name = inner.get("as") or next(iter(inner))
            yield f"{prefix}.{name}", f"step {number + 1}"
            for label, options in inner.items():
                if label != "as":
                    yield from flatten(options, f"{prefix}.{name}")
    else:
        yield prefix, value


def sum_counts(plan: Plan, done: Sequence[ChunkDone]) -> dict[str, Any]:
    """The manifest's counts, added up over all chunks."""
    by_step = []
    for step in plan.steps:
        parts = [one.steps[step.name] for one in done]
        rules = {rule.name: sum(part["rules"][rule.name] for part in parts) for rule in step.rules}
        seen, dropped = (sum(part[name] for part in parts) for name in ("seen", "dropped"))
        by_step.append({"step": step.name, "seen": seen, "dropped": dropped, "rules": rules})
    read, kept, quarantined = (sum(getattr(one, name) for one in done) for name in ("read", "kept", "quarantined"))
    dropped = sum(step["dropped"] for step in by_step)
    return {"read": read, "kept": kept, "dropped": dropped, "quarantined": quarantined, "by_step": by_step}


def sum_work(plan: Plan, done: Sequence[ChunkDone]) -> list[dict[str, Any]]:
    """What each step cost in this run, added up over all chunks and passes."""
    total = {step.name: {"step": step.name, "scored": 0, "reused": 0, "seconds": 0.0} for step in plan.steps}
    for one in done:
        for name, work in one.work.items():
            for key in ("scored", "reused", "seconds"):
                total[name][key] += work[key]
    return list(total.values())


def limits(plan: Plan) -> list[dict[str, Any]]:
    """The rules that compare a score with a number, for the report's histograms."""
    found = []
    for number, step in enumerate(plan.steps):
        for rule in step.rules:
            if rule.limit is not None:
                own = rule.limit.score in step.scores or rule.limit.score in step.decides
                score = f"{step.name}.{rule.limit.score}" if own else resolve(rule.limit.score, plan.steps[:number])
                found.append(
                    {"step": step.name, "rule": rule.name, "score": score, "limit": rule.limit.limit,
                     "side": rule.limit.side}
                )  # fmt: skip
    return found


def models(plan: Plan) -> list[dict[str, str]]:
    """The files that scores depend on: models and word lists, with their sha256."""
    return [
        {"step": step.name, "file": Path(path).name, "sha256": store.file_sha256(Path(path))}
        for step in plan.steps
        for path in step.filter.files()
    ]


def versions() -> dict[str, str]:
    """The versions that a run's result may depend on."""
    found = {"curate": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


# --- a run, finished --------------------------------------------------------------------------------------------------


class Run:
    """A finished run: its kept and dropped documents, its ledger, its report."""

    def __init__(self, root: Path, manifest: dict[str, Any], keep_alive: Any = None) -> None:
        self.root = root
        self.manifest = manifest
        self._keep_alive = keep_alive  # the temporary directory of a run in memory

    @property
    def counts(self) -> dict[str, Any]:
        """`read`, `kept`, `dropped`, `quarantined` and `by_step`."""
        return dict(self.manifest["counts"])

    @property
    def base(self) -> Path:
        """What the input's paths are relative to."""
        return Path(os.path.normpath(self.root.absolute() / self.manifest["base"]))

    @property
    def exit_code(self) -> int:
        """0, or 1 when a promise failed."""
        return int(self.manifest["exit_code"])

    def _files(self, folder: str) -> list[Path]:
        return [self.root / part["path"] for part in self.manifest["outputs"] if part["path"].startswith(folder + "/")]

    @property
    def kept(self) -> pl.LazyFrame:
        """The kept records: the input's columns (text as edited) and `output.columns`."""
        return pl.scan_parquet(self._files("dataset/data"), glob=False)

    @property
    def ledger(self) -> pl.LazyFrame:
        """One row per kept or dropped document: verdict, step, rule, scores (DESIGN section 5)."""
        return pl.scan_parquet(self._files("audit/ledger"), glob=False)

    @property
    def quarantine(self) -> pl.DataFrame:
        """Records that could not be read or scored: file, row, id, step, error, raw."""
        files = self._files("audit/quarantine")
        return pl.read_parquet(files) if files else pl.DataFrame(schema=QUARANTINE_SCHEMA)

    @property
    def dropped(self) -> pl.LazyFrame:
        """The dropped records with `step`, `rule`, `failed`, `duplicate_of`: text read back from the input."""
        from curate.lookup import scan_dropped

        return scan_dropped(self)

    @property
    def report(self) -> Report:
        """The run's numbers as a report: rich HTML in a notebook, `save`, `to_dict`."""
        from curate.report import Report

        known = store.read_json(self.root, "audit/report.json")
        return self.build_report() if known is None else Report(known)

    def build_report(self, plan: Plan | None = None) -> Report:
        """Compute the report from the ledger again."""
        from curate.report import Report

        tables: dict[str, dict[str, pl.DataFrame]] = {}
        ledger = self.ledger
        for step in plan.steps if plan is not None else ():
            own = {name: name.removeprefix(f"{step.name}.") for name in step.ledger_scores}
            found = step.filter.tables(ledger.rename(own))
            if found:
                tables[step.name] = found
        return Report.build(self.root, self.manifest, ledger, tables)

    def why(self, id: str) -> dict[str, Any]:
        """Everything known of one document: verdict, scores, limits, its twin, where it is now."""
        from curate.lookup import why

        return why(self, id)

    def __repr__(self) -> str:
        counts = self.counts
        return f"Run({str(self.root)!r}: {counts['kept']} kept of {counts['read']})"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def open_run(path: str | Path) -> Run:
    """Open a finished run's directory."""
    root = Path(path)
    manifest = store.read_json(root, "manifest.json") if root.is_dir() else None
    if manifest is None:
        if root.is_dir() and store.is_run(root):
            raise UsageError(f"{root} holds an unfinished run", hint="run the same command again: it resumes")
        raise UsageError(f"{root} is not a run's directory", hint="give the folder that `curate run` wrote to")
    return Run(root, manifest)


def run_in_memory(pipeline: Pipeline, data: Any) -> Run:
    """Run a pipeline over a table or an iterable of dicts, on a temporary directory that lives as long as the Run."""
    import tempfile

    folder = tempfile.TemporaryDirectory(prefix="curate-")
    root = Path(folder.name)
    name = write_input(data, root)
    run = run_pipeline(pipeline, [name], root / "run", base=root)
    return Run(run.root, run.manifest, keep_alive=folder)


def write_input(data: Any, root: Path) -> str:
    """Write in-memory data where the readers find it: tables as Parquet, iterables of dicts as JSON lines."""
    import orjson
    import pyarrow as pa
    import pyarrow.parquet as pq

    table: pa.Table | None = None
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if isinstance(data, pl.DataFrame):
        table = data.to_arrow()
    elif isinstance(data, pa.Table | pa.RecordBatch):
        table = pa.table(data)
    elif type(data).__module__.partition(".")[0] == "pandas":
        table = pa.Table.from_pandas(data, preserve_index=False)
    elif type(data).__module__.partition(".")[0] == "datasets":
        table = pa.table(data.with_format("arrow")[:])
    if table is not None:
        pq.write_table(table.replace_schema_metadata(None), root / "memory.parquet", row_group_size=20_000)
        return "memory.parquet"
    if isinstance(data, str | bytes | Mapping) or not isinstance(data, Iterable):
        raise UsageError(
            f"cannot run over {type(data).__name__}",
            hint="give a polars, pandas or Arrow table, a datasets.Dataset or an iterable of dicts",
        )
    with (root / "memory.jsonl").open("wb") as file:
        for number, record in enumerate(data):
            try:
                file.write(orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
            except TypeError as error:
                raise UsageError(f"record {number} cannot be written as JSON: {error}") from error
    return "memory.jsonl"
