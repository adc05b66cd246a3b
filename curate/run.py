"""Run a pipeline, and look at what came of it: a finished run's documents, ledger and report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate import store
from curate.console import Quiet
from curate.errors import OutputError, UsageError
from curate.executors import Executor, Local, Serial
from curate.filter import PLUGIN_MODULE
from curate.job import Job
from curate.ledger import QUARANTINE_SCHEMA
from curate.read import Source, find_sources
from curate.records import with_schema

if TYPE_CHECKING:
    from curate.audit import Audit
    from curate.labels import Calibration, LabelSheets
    from curate.pipeline import Pipeline
    from curate.report import Report
    from curate.tune import Tuning

SMALL_BYTES = 48_000_000  # below it, starting workers costs more than they save

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
    watch: Quiet | None = None,
    base: Path | None = None,
) -> Run:
    """Run a pipeline over files and return the finished Run.

    `paths` and `output` win over those of the pipeline; relative ones are relative to `base`, by default the current
    directory. `sample` reads only about so many records (a trial). Raises UsageError before any work, StoppedError
    when the run stopped and can be resumed.
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
    refuse_own_output(pipeline.input.paths, folder, sources, root)
    pipeline = with_schema(pipeline, sources)
    store.prepare(root)
    made_executor = executor or make_executor(workers, sources, pipeline)
    try:
        with store.lock(root):
            job = Job(pipeline, folder, root, sources, made_executor, sample, watch or Quiet())
            return Run(root, job.run(update, fresh))
    finally:
        if executor is None:
            made_executor.close()


def make_executor(workers: int | None, sources: Sequence[Source], pipeline: Pipeline) -> Executor:
    """Serial for `workers=1`, else processes on this machine; by default as many as cores, one for a small input.

    A plugin that kills or hangs its process costs one record in a worker, and everything in this process: so a small
    input with plugins gets a worker of its own by default. Classes of a notebook stay here: workers do not know them.
    """
    limits = pipeline.limits
    if workers is None:
        size = sum(source.size * (4 if source.compression else 1) for source in sources)
        plugins = any(type(step.filter).__module__.startswith(PLUGIN_MODULE) for step in pipeline.steps)
        if size < SMALL_BYTES:
            return Local(1, limits.seconds, limits.memory) if plugins else Serial()
        workers = os.cpu_count() or 1
    return Serial() if workers == 1 else Local(workers, limits.seconds, limits.memory)


def refuse_own_output(paths: Sequence[str], base: Path, sources: Sequence[Source], root: Path) -> None:
    """Refuse an output folder that the input's folders or patterns hold: a run must not read what it writes."""
    inside = [path for path in paths if "://" not in path and root.is_relative_to(os.path.abspath(base / path))]
    inside += [source.file for source in sources if not source.remote and Path(source.url).is_relative_to(root)]
    if inside:
        raise OutputError(
            f"the output folder {root} is inside the input {inside[0]!r}",
            hint="choose another --output, or name the files",
        )


def output_folder(pipeline: Pipeline, output: str | Path | None) -> Path:
    """The run's directory: the one given, else the pipeline's."""
    if output is not None:
        return Path(os.path.abspath(output))
    if pipeline.output.path is None:
        raise UsageError("no output folder", hint="name it in the pipeline (output: {path: ...}) or with --output")
    return Path(os.path.abspath(pipeline.base / pipeline.output.path))


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
        return Report(known) if known is not None else Report.build(self.root, self.manifest, self.ledger, {})

    def why(self, id: str) -> dict[str, Any]:
        """Everything known of one document: verdict, scores, limits, its twin, where it is now."""
        from curate.lookup import why

        return why(self, id)

    def audit(self, by: str | Sequence[str], **options: Any) -> Audit:
        """Whom each step removes, by the groups of a column: `curate.audit.audit_run` lists the options."""
        from curate.audit import audit_run

        return audit_run(self, by, **options)

    def tune(self, threshold: str, values: Sequence[float], *, by: str | None = None) -> Tuning:
        """What other values of a threshold (`toxicity.max_share`) would keep, from the ledger alone; `by` a column."""
        from curate.tune import tune

        return tune(self, threshold, values, by=by)

    def sample_labels(self, step: str | None = None, **options: Any) -> LabelSheets:
        """Documents for people to label, to judge a rule by: `curate.labels.sample_labels` lists the options."""
        from curate.labels import sample_labels

        return sample_labels(self, step, **options)

    def calibrate(self, *sheets: str | Path | pl.DataFrame, **options: Any) -> Calibration:
        """What filled label sheets say of a rule and its limit: `curate.labels.calibrate_rule` lists the options."""
        from curate.labels import calibrate_rule

        return calibrate_rule(self, sheets, **options)

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
    run = run_pipeline(pipeline, [name], root / "run", workers=1, base=root)
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
