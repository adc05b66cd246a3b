"""What a manifest says: of what the run was, what it counted, which versions and models its result depends on."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate import __version__
from curate.chunk import ChunkDone
from curate.earlier import content_of
from curate.filter import CorpusFilter, Filter, code_version
from curate.models import file_sha256
from curate.parse import STEP_KEYS
from curate.plan import Plan, resolve
from curate.policy import read_clauses
from curate.read import Source

if TYPE_CHECKING:
    from curate.pipeline import Pipeline

PACKAGES = ("polars", "pyarrow", "numpy", "numba", "orjson", "pydantic", "fasttext-predict", "datasketch", "spacy")


def identify(pipeline: Pipeline, sources: Sequence[Source], sample: int) -> dict[str, Any]:
    """What a run is of: pipeline, filters' code, inputs; where it is written and what it is called do not count."""
    resolved = pipeline.resolved()
    resolved.pop("plugins", None)
    resolved.pop("name", None)
    resolved.get("output", {}).pop("path", None)
    resolved.get("input", {}).pop("paths", None)
    if pipeline.policy:
        resolved["policy"] = [clause.model_dump(mode="json") for clause in read_clauses(pipeline)]
    return {
        "curate": __version__,
        "sample": sample,
        "pipeline": resolved,
        "filters": {step.name: code_version(type(step.filter)) for step in pipeline.steps},
        "files": {step.name: read_files(step.filter) for step in pipeline.steps},
        "inputs": {source.file: [source.size, source.version] for source in sources},
    }


def read_files(filter: Filter) -> list[str]:
    """What tells the content of a filter's files, and of the earlier corpora that it reads, from another."""
    found = [file_sha256(path) for path in filter.files()]
    for path in filter.earlier() if isinstance(filter, CorpusFilter) else ():
        found += content_of(path)
    return found


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
        if now["files"][step] != before.get("files", {}).get(step, now["files"][step]):
            lines.append(f"step {step}: a file that it reads has changed")
    return lines


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings and lists, with dotted keys; a step's key is its name, its value its place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list | tuple) and prefix.endswith("steps"):
        for number, written in enumerate(value):
            inner = written if isinstance(written, Mapping) else {written: {}}  # a step without options
            name = inner.get("as") or next(iter(inner))
            yield f"{prefix}.{name}", f"step {number + 1}"
            for label, options in inner.items():
                if label not in STEP_KEYS:
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
                places = [f"{step.name}.{name}" for name in step.by_part({rule.limit.score: pl.Null()})]
                for score in places if own else [resolve(rule.limit.score, plan.steps[:number])]:
                    found.append(
                        {"step": step.name, "rule": rule.name, "score": score, "limit": rule.limit.limit,
                         "side": rule.limit.side}
                    )  # fmt: skip
    return found


def models(plan: Plan) -> list[dict[str, str]]:
    """The files that scores depend on: models and word lists, with their sha256."""
    return [
        {"step": step.name, "file": Path(path).name, "sha256": file_sha256(path)}
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
