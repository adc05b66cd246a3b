"""What a run would cost, measured: the pipeline runs on a sample of its input, and the figures are scaled to all of it.

Trials run in a temporary folder: one that warms up (it surveys the input, loads models and compiles kernels), then a
small and a large one, each twice, of which the faster counts. What a run costs in any case is where the line through
the small and the large one meets zero; what each further byte costs is its slope.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.console import Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from curate.pipeline import Pipeline
    from curate.plan import Planned
    from curate.read import Source, Survey
    from curate.run import Run

Row = dict[str, Any]

SMALL = 10  # the small trial reads a tenth of the sample
LONG_SECONDS = 5.0  # a trial that takes longer is not repeated
WORK = ".curate"
SURVEYS = ".curate/surveys"


@dataclass(frozen=True)
class Trial:
    """One run over a sample: what it read, how long it took without the survey, what it wrote."""

    run: Run
    records: int
    text_bytes: int
    seconds: float
    disk: Mapping[str, int]  # output, audit, work: bytes on disk


@dataclass(frozen=True)
class Inputs:
    """The whole input: files, what the survey found, chunks, and steps in their passes."""

    surveys: Sequence[tuple[Source, Survey]]
    chunks: int
    steps: Sequence[Planned]
    id: str | None

    @property
    def records(self) -> int:
        """Records in all files, those that cannot be read included."""
        return sum(survey.rows for _, survey in self.surveys)

    @property
    def file_bytes(self) -> int:
        """Size of all files."""
        return sum(source.size for source, _ in self.surveys)


def estimate(pipeline: Pipeline, inputs: Sequence[str] | None, *, sample: int, watch: Quiet) -> Row:
    """Run the pipeline on about `sample` records and say what the whole would cost; ready for JSON.

    `inputs` win over the pipeline's paths and are relative to the current directory. Nothing is kept.
    """
    paths = None if inputs is None else list(inputs)
    sample = max(1, sample)
    with tempfile.TemporaryDirectory(prefix="curate-plan-") as name:
        folder = Path(name)
        small = max(1, sample // SMALL)
        warm = _trial(pipeline, paths, folder / "warm", small, _Survey(watch))
        surveys = folder / "warm" / SURVEYS
        watch.stage(f"trial on {small:,} records")
        first = _faster(pipeline, paths, folder / "small", small, surveys)
        watch.stage(f"trial on {sample:,} records")
        second = _faster(pipeline, paths, folder / "large", sample, surveys)
        whole = _inputs(pipeline, paths, folder / "warm")
        figures = _figures(pipeline, whole, first, second, float(warm.run.manifest["seconds"]["survey"]))
        tables = {
            step.name: {name: table.to_dicts() for name, table in step.filter.plan_tables().items()}
            for step in pipeline.steps
        }
        cheaper = _order(pipeline, paths, folder / "order", sample, surveys, whole.steps)
        return figures | {"tables": {step: own for step, own in tables.items() if own}, "cheaper_order": cheaper}


class _Survey(Quiet):
    """Tells of the survey only: it goes over the whole input, the rest of a trial does not."""

    def __init__(self, watch: Quiet) -> None:
        self.watch = watch
        self.quiet = True

    def stage(self, name: str, total_bytes: int | None = None, *, chunks: int | None = None) -> None:
        """Pass the survey on, and name what follows it once."""
        if name == "survey":
            self.watch.stage(name, total_bytes, chunks=chunks)
            self.quiet = False
        elif not self.quiet:
            self.watch.stage("warm-up")
            self.quiet = True

    def advance(self, *, documents: int = 0, bytes: int = 0, kept: int | None = None, chunks: int = 1) -> None:
        """Pass on how far the survey is."""
        if not self.quiet:
            self.watch.advance(documents=documents, bytes=bytes, kept=kept, chunks=chunks)


# --- measuring --------------------------------------------------------------------------------------------------------


def _faster(pipeline: Pipeline, paths: list[str] | None, folder: Path, sample: int, surveys: Path) -> Trial:
    """The faster of two trials on the same sample, so that a busy moment of the machine does not count."""
    first = _trial(pipeline, paths, folder / "first", sample, None, surveys)
    if first.seconds > LONG_SECONDS:
        return first
    second = _trial(pipeline, paths, folder / "second", sample, None, surveys)
    return min(first, second, key=lambda trial: trial.seconds)


def _trial(
    pipeline: Pipeline,
    paths: list[str] | None,
    root: Path,
    sample: int,
    watch: Quiet | None,
    surveys: Path | None = None,
) -> Trial:
    """Run over a sample in an empty folder; surveys made before are taken over, so that they cost nothing again."""
    from curate.executors import Serial
    from curate.run import run_pipeline

    if surveys is not None:
        shutil.copytree(surveys, root / SURVEYS)
    started = time.perf_counter()
    run = run_pipeline(pipeline, paths, root, executor=Serial(), sample=sample, watch=watch)
    seconds = time.perf_counter() - started - float(run.manifest["seconds"]["survey"])
    return Trial(
        run,
        run.counts["read"],
        int(run.manifest["bytes"]["read"]),
        seconds,
        {
            "output": _size(root / "dataset"),
            "audit": _size(root / "audit"),
            "work": _size(root / WORK) - _size(root / SURVEYS),
        },
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _inputs(pipeline: Pipeline, paths: list[str] | None, root: Path) -> Inputs:
    """What the survey of the warm-up found, with the chunks that a whole run has."""
    from curate.executors import Serial
    from curate.plan import id_column, make_chunks, plan_steps, survey_all
    from curate.read import find_sources, unite
    from curate.records import with_schema

    base = pipeline.base if paths is None else Path.cwd()
    sources = find_sources(pipeline.input.paths if paths is None else paths, base)
    pipeline = with_schema(pipeline, sources)
    surveys = survey_all(root, sources, pipeline, Serial())
    columns = unite(surveys, pipeline.input.what, id_column(surveys, pipeline))
    chunks = make_chunks(surveys, columns, pipeline.limits.record, {}, 0)
    return Inputs(surveys, len(chunks), plan_steps(pipeline, columns), columns.id)


def text_bytes(surveys: Sequence[tuple[Source, Survey]], trial: Trial) -> int:
    """The text of the whole input: each file's records times the mean text of its records in the sample."""
    import polars as pl

    by_file = trial.run.ledger.group_by("file").agg(pl.len(), pl.col("bytes").sum()).collect()
    means: dict[str, float] = {file: size / records for file, records, size in by_file.iter_rows()}
    mean = trial.text_bytes / trial.records if trial.records else 0.0
    return round(sum(survey.rows * means.get(source.file, mean) for source, survey in surveys))


def line(small: tuple[float, float], large: tuple[float, float]) -> tuple[float, float]:
    """The line through two measured points (size, cost): what it costs in any case, and per unit of size.

    Where noise makes the slope negative or the fixed cost negative, cost is taken as proportional to size.
    """
    (size, cost), (small_size, small_cost) = large, small
    if size <= 0:
        return cost, 0.0
    slope = (cost - small_cost) / (size - small_size) if size > small_size else 0.0
    fixed = cost - slope * size
    return (fixed, slope) if slope > 0 and fixed >= 0 else (0.0, cost / size)


def _order(
    pipeline: Pipeline, paths: list[str] | None, root: Path, sample: int, surveys: Path, steps: Sequence[Planned]
) -> Row | None:
    """A cheaper order with the same kept set, from a trial in which every step judges every document."""
    from curate.order import cheaper_order, measure

    if sum(not step.corpus_wide for step in steps) < 2:
        return None
    judged = pipeline.model_copy(update={"audit": pipeline.audit.model_copy(update={"sample": 1.0})})
    trial = _trial(judged, paths, root, sample, None, surveys)
    ledger = trial.run.ledger.select("failed").collect()
    return cheaper_order(steps, measure(ledger, trial.run.manifest["work"], steps))


# --- figures ----------------------------------------------------------------------------------------------------------


def _figures(pipeline: Pipeline, whole: Inputs, small: Trial, large: Trial, survey_seconds: float) -> Row:
    counts = large.run.counts
    all_read = large.records >= whole.records
    text = large.text_bytes if all_read else text_bytes(whole.surveys, large)
    sizes = (small.text_bytes, large.text_bytes)
    seconds, per_byte = _scaled(sizes, (small.seconds, large.seconds), text)
    disk = {name: round(_scaled(sizes, (small.disk[name], large.disk[name]), text)[0]) for name in large.disk}
    rate = 1 / per_byte if per_byte else None
    kind = pipeline.input.kind
    return {
        "pipeline": pipeline.name,
        "files": len(whole.surveys),
        "records": whole.records,
        "bytes": {"files": whole.file_bytes, "text_estimate": text},
        "kind": kind,
        "columns": {"text": pipeline.input.text if kind == "text" else None, "id": whole.id},
        "chunks": whole.chunks,
        "passes": passes(whole.steps),
        "sample": {
            "records": counts["read"],
            "kept": counts["kept"],
            "dropped": counts["dropped"],
            "quarantined": counts["quarantined"],
            "text_bytes": large.text_bytes,
            "seconds": large.seconds,
        },
        "steps": _steps(large),
        "parts": _parts(large),
        "speed": {
            "text_bytes_per_second": rate,
            "documents_per_second": rate * large.records / large.text_bytes if rate else None,
        },
        "expected": {
            "seconds": survey_seconds + seconds,
            "survey_seconds": survey_seconds,
            "workers": 1,
            "basis": f"estimated from {counts['read']:,} records on this machine",
        },
        "memory": {"peak_bytes": peak_memory()},
        "disk": disk | {"total": sum(disk.values())},
    }


def _scaled(sizes: tuple[int, int], costs: tuple[float, float], whole: int) -> tuple[float, float]:
    """The cost of the whole input, and of one byte more; as measured where the sample is the whole input."""
    fixed, slope = line((sizes[0], costs[0]), (sizes[1], costs[1]))
    return costs[1] if whole <= sizes[1] else fixed + slope * whole, slope


def passes(steps: Sequence[Planned]) -> list[Row]:
    """The steps of each pass, and the corpus-wide step that ends it; the last pass ends with the ledger.

    A corpus-wide step is sketched in the pass that it ends, and its rules are judged in the next one.
    """
    made: list[Row] = []
    start = 0
    for step in steps:
        if step.corpus_wide:
            names = [other.name for other in steps[start : step.number + 1]]
            made.append({"steps": names, "ends_with": step.name})
            start = step.number
    return [*made, {"steps": [step.name for step in steps[start:]], "ends_with": None}]


def _steps(trial: Trial) -> list[Row]:
    """Per step: documents and text seen, share dropped, time per 1,000 documents, rate, share of the trial's time."""
    work = {row["step"]: float(row["seconds"]) for row in trial.run.manifest["work"]}
    seen_bytes = _seen_bytes(trial)
    rows: list[Row] = []
    for step in trial.run.counts["by_step"]:
        name, seen, dropped, seconds = step["step"], step["seen"], step["dropped"], work[step["step"]]
        rows.append(
            {
                "step": name,
                "seen": seen,
                "dropped": dropped,
                "dropped_share": dropped / seen if seen else None,
                "seconds": seconds,
                "seconds_per_1000_documents": 1000 * seconds / seen if seen else None,
                "text_bytes_per_second": seen_bytes[name] / seconds if seconds else None,
                "time_share": seconds / trial.seconds if trial.seconds else None,
            }
        )
    return rows


def _seen_bytes(trial: Trial) -> dict[str, int]:
    """Bytes of the documents that each step saw: all but those that an earlier step dropped."""
    import polars as pl

    by_step = trial.run.ledger.group_by("step").agg(pl.col("bytes").sum()).collect()
    dropped = {step: int(size) for step, size in by_step.iter_rows()}
    left = sum(dropped.values())
    seen: dict[str, int] = {}
    for step in trial.run.counts["by_step"]:
        seen[step["step"]] = left
        left -= dropped.get(step["step"], 0)
    return seen


def _parts(trial: Trial) -> list[Row]:
    """What takes time beside the steps, as shares of the trial's time."""
    seconds = {name: float(value) for name, value in trial.run.manifest["seconds"].items()}
    steps = sum(float(row["seconds"]) for row in trial.run.manifest["work"])
    walking = sum(value for name, value in seconds.items() if name.startswith("pass "))
    deciding = {name: value for name, value in seconds.items() if name.startswith("decide ")}
    parts = {"reading, storing results": max(0.0, walking - steps)}
    parts |= {f"deciding {name.removeprefix('decide ')}": value for name, value in deciding.items()}
    parts["writing"] = seconds.get("write", 0.0)
    parts["report, bookkeeping"] = max(0.0, trial.seconds - walking - sum(deciding.values()) - parts["writing"])
    return [
        {"part": name, "seconds": value, "time_share": value / trial.seconds if trial.seconds else None}
        for name, value in parts.items()
    ]


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes.

    Linux tells it per program as VmHWM; its ru_maxrss would start at what the parent held.
    """
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere


# --- printing ---------------------------------------------------------------------------------------------------------


def print_estimate(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Print an estimate as compact tables, by default to standard output."""
    from rich.text import Text

    from curate.console import clean, human_bytes, human_seconds, percent, plural
    from curate.console import console as standard

    target = console or standard()
    size, sample, expected, disk = found["bytes"], found["sample"], found["expected"], found["disk"]
    speed, columns = found["speed"], found["columns"]
    ids = "file#row" if columns["id"] is None else f"the column {clean(columns['id'])}"
    kept = percent(sample["kept"] / sample["records"] if sample["records"] else None)
    quarantined = f", {plural(sample['quarantined'], 'record')} in quarantine" if sample["quarantined"] else ""
    survey = human_seconds(expected["survey_seconds"])
    target.print(Text(clean(found["pipeline"]), "bold"))
    place = f"{found['kind']} records" if columns["text"] is None else f"the column {clean(columns['text'])}"
    _fact(
        target,
        "input",
        f"{plural(found['files'], 'file')}, {human_bytes(size['files'])}, {plural(found['records'], 'record')}, about "
        f"{human_bytes(size['text_estimate'])} of text in {place}, ids from {ids}",
    )
    _fact(target, "work", f"{plural(found['chunks'], 'chunk')}, {_passes_text(found['passes'])}")
    target.print()
    _print_steps(found, target)
    for step, tables in found["tables"].items():
        for name, table in tables.items():
            _print_table(step, name, table, target)
    target.print(Text(f"\nwhole input, {expected['basis']}, one worker"))
    rate = speed["text_bytes_per_second"]
    rates = (
        f"{_number(None if rate is None else rate / 1e6)} MB/s, {_number(speed['documents_per_second'])} documents/s"
    )
    _fact(target, "speed", f"{rates}, start-up apart")
    _fact(target, "duration", f"{human_seconds(expected['seconds'])}, of which {survey} for the survey (done just now)")
    _fact(target, "memory", f"at least {human_bytes(found['memory']['peak_bytes'])}, the peak of these trials")
    _fact(
        target,
        "disk",
        f"{human_bytes(disk['total'])}: data {human_bytes(disk['output'])}, audit {human_bytes(disk['audit'])}, "
        f"stored results {human_bytes(disk['work'])} (.curate, may be deleted)",
    )
    _fact(target, "kept", f"{kept} of the sample{quarantined}")
    cheaper = found["cheaper_order"]
    if cheaper is not None:
        order = ", ".join(clean(name) for name in cheaper["order"])
        saves = percent(cheaper["saves"])
        _fact(target, "order", f"{order}: saves about {saves} of the steps' time and keeps the same documents")
    if len(found["passes"]) > 1:
        _fact(target, "note", "a whole corpus repeats more than a sample of it, so that less of it may be kept")


def _print_table(step: str, name: str, rows: Sequence[Row], target: Console) -> None:
    """A table that a filter adds; the name of a column says what it holds."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from curate.console import clean, plain_name

    target.print(Text.assemble("\n", clean(step), (f"  {plain_name(name)}", "dim")))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in rows[0] if rows else ():
        table.add_column(plain_name(column), justify="right", header_style="dim")
    for row in rows:
        cells = (f"{value:.3f}" if isinstance(value, float) else clean(str(value)) for value in row.values())
        table.add_row(*map(Text, cells))
    target.print(table)


def _passes_text(all_passes: Sequence[Row]) -> str:
    from curate.console import clean

    if len(all_passes) == 1:
        return "1 pass"
    ends = ", ".join(clean(row["ends_with"]) for row in all_passes if row["ends_with"] is not None)
    return f"{len(all_passes)} passes over each, because of steps that need the whole corpus: {ends}"


def _fact(target: Console, name: str, text: str) -> None:
    """A name on the left, text on the right that wraps below itself."""
    from rich.text import Text

    width = max(40, target.width - 1)
    lines = textwrap.wrap(text, width - 10, break_on_hyphens=False)
    for number, line in enumerate(lines):
        target.print(Text.assemble((f"{'' if number else name:<10}", "dim"), line), soft_wrap=True)


def _print_steps(found: Mapping[str, Any], target: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from curate.console import clean, percent

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("step", overflow="fold", header_style="dim")
    for name in ("saw", "dropped", "s per 1,000", "MB/s", "time"):
        table.add_column(name, justify="right", no_wrap=True, header_style="dim")
    for row in found["steps"]:
        rate = row["text_bytes_per_second"]
        per_1000 = row["seconds_per_1000_documents"]
        table.add_row(
            Text(clean(row["step"])),
            f"{row['seen']:,}",
            percent(row["dropped_share"]),
            "-" if per_1000 is None else f"{per_1000:.3f}",
            "-" if rate is None else _number(rate / 1e6),
            percent(row["time_share"]),
        )
    for row in found["parts"]:
        table.add_row(Text(clean(row["part"]), "dim"), "", "", "", "", percent(row["time_share"]))
    target.print(table)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
