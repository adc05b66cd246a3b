"""A pipeline: input, steps and output, as a YAML file or as a Python object, the same thing.

Everything is checked before any data is read, and all problems are listed at once: `PipelineError.problems`.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, PrivateAttr, ValidationError

from curate.errors import PipelineError, Problem
from curate.filter import Filter, find_filter, nearest
from curate.option_paths import join_paths, relative_options
from curate.parse import Problems, assemble, missing_files
from curate.plain_words import faults, got
from curate.schema import json_schema
from curate.settings import (
    Audit,
    Input,
    Limits,
    Output,
    Settings,
    Step,
    on_problem,
    parse_share,
    parse_size,
    step_name_problem,
)
from curate.yaml_text import MAX_BYTES, Values, read_yaml, too_large, write_yaml

if TYPE_CHECKING:
    from curate.run import Run

__all__ = [
    "Audit",
    "Input",
    "Limits",
    "Output",
    "Pipeline",
    "Settings",
    "Step",
    "json_schema",
    "parse_share",
    "parse_size",
    "shipped",
]


class Pipeline(Settings, frozen=True, extra="forbid"):
    """Input, steps and output of a curation, checked and frozen.

    `steps` takes filters, (name, filter) pairs and Steps; a filter alone goes by its registered name. Everything else
    is as in the YAML file. Relative paths are relative to `base`: the file's folder, or the current directory.
    """

    steps: tuple[Step, ...]
    _base: Path = PrivateAttr(default_factory=Path.cwd)

    def __init__(
        self,
        steps: Iterable[Step | Filter | tuple[str, Filter]],
        *,
        base: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        folder = _absolute(base)
        problems: list[Problem] = []
        made = _python_steps(steps, folder, problems)
        try:
            checked = Settings(**settings)
        except ValidationError as error:
            problems += [Problem(f.message, "", f.hint) for f in faults(error, settings, Settings, "the pipeline")]
        else:
            wrong = ((step, on_problem(step.on, step.filter, checked.input.kind)) for step in made)
            problems += [Problem(found[0], f"step {step.name}", found[1]) for step, found in wrong if found is not None]
        if problems:
            raise PipelineError(problems)
        BaseModel.__init__(self, steps=made, **dict(checked))
        self._base = folder  # type: ignore[misc]  # a private attribute of pydantic can be set, also on a frozen model

    @property
    def base(self) -> Path:
        """The folder that the pipeline's relative paths are relative to."""
        return self._base

    @classmethod
    def load(
        cls,
        name_or_path: str | os.PathLike[str],
        overrides: Sequence[str] = (),
        plugins: Sequence[str | os.PathLike[str]] = (),
    ) -> Pipeline:
        """Load a pipeline file, or one that ships with curate by its name.

        `overrides` are texts like `steps.toxicity.max_share=0.1`; they win over the file. `plugins` are further files
        with filters, relative to the current directory. Raises PipelineError with all problems at once.
        """
        path = Path(name_or_path)
        if path.is_file():
            text, base, source = _read_file(path), path.absolute().parent, os.fspath(name_or_path)
        else:
            text, base, source = _read_shipped(os.fspath(name_or_path)), Path.cwd(), f"{name_or_path}.yaml"
        return cls.parse(text, base=base, source=source, overrides=overrides, plugins=plugins)

    @classmethod
    def parse(
        cls,
        yaml_text: str,
        *,
        base: str | os.PathLike[str],
        source: str = "pipeline.yaml",
        overrides: Sequence[str] = (),
        plugins: Sequence[str | os.PathLike[str]] = (),
    ) -> Pipeline:
        """Make a pipeline from YAML text; `source` is what errors call the text."""
        folder = _absolute(base)
        more = {_from_here(plugin, folder): os.fspath(plugin) for plugin in plugins}
        settings, steps = assemble(read_yaml(yaml_text, source), folder, overrides, more)
        return cls(steps, base=folder, **dict(settings))

    @classmethod
    def from_resolved(cls, resolved: dict[str, Any], base: str | os.PathLike[str]) -> Pipeline:
        """Make a pipeline from what `resolved` returned; files that filters name need not be there."""
        folder = _absolute(base)
        settings, steps = assemble(Values(dict(resolved), "resolved pipeline"), folder, check_files=False)
        return cls(steps, base=folder, **dict(settings))

    def resolved(self) -> dict[str, Any]:
        """The pipeline as plain values ready for JSON, every option explicit, paths inside `base` relative to it."""
        return self._plain(defaults=True)

    def to_yaml(self) -> str:
        """The pipeline as YAML text, without options at their defaults; `parse` makes an equal pipeline of it."""
        return write_yaml(self._plain(defaults=False))

    def check_files(self) -> None:
        """Raise PipelineError when a file that a filter names does not exist; `load` and `parse` have done this."""
        report = Problems(Values(None, ""))
        for step in self.steps:
            missing_files(step, self._base, ("steps",), report)
        report.check()

    def run(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        output: str | os.PathLike[str] | None = None,
        *,
        workers: int | None = None,
        **options: Any,
    ) -> Run:
        """Run over files and return the finished Run.

        `paths` and `output` win over the pipeline's and are relative to the current directory; `options` are those of
        `curate.run.run_pipeline`: workers, executor, sample, update, fresh.
        """
        from curate.run import run_pipeline

        self.check_files()
        listed = [paths] if isinstance(paths, str | os.PathLike) else paths
        texts = None if listed is None else [os.fspath(path) for path in listed]
        place = None if output is None else os.fspath(output)
        return run_pipeline(self, paths=texts, output=place, workers=workers, **options)

    def __call__(self, data: Any) -> Run:
        """Run in memory over a polars, pandas or Arrow table, a `datasets.Dataset` or dicts, and return the Run."""
        from curate.run import run_in_memory

        self.check_files()
        return run_in_memory(self, data)

    def _plain(self, *, defaults: bool) -> dict[str, Any]:
        plain = self.model_dump(mode="json", exclude={"steps"}, exclude_defaults=not defaults)
        steps: list[Any] = []
        for step in self.steps:
            label = type(step.filter).label
            options = relative_options(step.filter, self._base, defaults=defaults)
            written: dict[str, Any] = {label: options}
            if step.name != label:
                written["as"] = step.name
            if step.on != "whole":
                written["on"] = step.on
            steps.append(written if defaults or options or len(written) > 1 else label)
        after = [name for name in plain if name not in ("name", "input")]
        before = {name: value for name, value in plain.items() if name not in after}
        return before | {"steps": steps} | {name: plain[name] for name in after}

    def __repr__(self) -> str:
        lines = [f"Pipeline {self.name!r}, {len(self.steps)} step{'' if len(self.steps) == 1 else 's'}"]
        if self.input.paths:
            lines.append(f"  input   {', '.join(self.input.paths)}")
        lines += [f"  {number}. {step.describe()}" for number, step in enumerate(self.steps, start=1)]
        if self.output.path is not None:
            lines.append(f"  output  {self.output.path}")
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def shipped() -> dict[str, str]:
    """The names of the pipelines that ship with curate, each with its YAML text."""
    folder = resources.files("curate.pipelines")
    files = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
    return {
        file.name.removesuffix(".yaml"): file.read_text("utf-8") for file in sorted(files, key=lambda file: file.name)
    }


def _absolute(base: str | os.PathLike[str] | None) -> Path:
    """The folder as an absolute path without `..`; symbolic links stay."""
    return Path(os.path.abspath(base if base is not None else Path.cwd()))


def _from_here(plugin: str | os.PathLike[str], base: Path) -> str:
    """A path relative to the current directory, as seen from `base`."""
    if Path(plugin).is_absolute() or base == Path.cwd():
        return os.fspath(plugin)
    return os.path.relpath(plugin, base)


def _read_file(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PipelineError([too_large(str(path))])
        data = path.read_bytes()
    except OSError as error:
        raise PipelineError([Problem(f"cannot be read: {error.strerror}", str(path))]) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PipelineError([Problem("not valid UTF-8", f"{path}:{line}", "save the file as UTF-8")]) from error


def _read_shipped(name: str) -> str:
    known = shipped()
    if name in known:
        return known[name]
    near = nearest(Path(name).stem, known)
    is_path = Path(name).suffix in (".yaml", ".yml") or os.sep in name
    message = f"the file {name!r} does not exist" if is_path else f"there is no file and no shipped pipeline {name!r}"
    if Path(name).is_dir():
        message = f"{name!r} is a folder, not a pipeline file"
    listed = f"shipped pipelines: {', '.join(known)}" if known else None
    raise PipelineError([Problem(message, "", f'did you mean "{near}"?' if near else None)], hint=listed)


def _python_steps(steps: Any, base: Path, problems: list[Problem]) -> tuple[Step, ...]:
    """Steps from filters, pairs and Steps; what is wrong goes to `problems`."""
    if isinstance(steps, Filter | Step | str) or not isinstance(steps, Iterable):
        problems.append(Problem(f"steps must be a list of filters, got {got(steps)}"))
        return ()
    made: list[Step] = []
    for number, item in enumerate(steps):
        where = f"steps[{number}]"
        name, filter = (item.name, item.filter) if isinstance(item, Step) else _pair(item)
        problem = _filter_problem(filter) or _name_problem(name, made)
        if problem is not None:
            problems.append(Problem(problem[0], where, problem[1]))
        else:
            on = item.on if isinstance(item, Step) else "whole"
            made.append(Step(name=name, filter=join_paths(filter, base), on=on))
    return tuple(made)


def _pair(item: Any) -> tuple[Any, Any]:
    if isinstance(item, tuple) and len(item) == 2:
        return item
    return (type(item).label if isinstance(item, Filter) else None), item


def _filter_problem(filter: Any) -> tuple[str, str | None] | None:
    if isinstance(filter, type) and issubclass(filter, Filter):
        return f"{filter.__name__} is a class, a step needs one made", f"write {filter.__name__}(...)"
    if not isinstance(filter, Filter):
        return f"a step is a filter, a (name, filter) pair or a Step, got {got(filter)}", None
    made = type(filter)
    known = find_filter(made.label) if made.label else None
    if known is None or (known.__module__, known.__qualname__) != (made.__module__, made.__qualname__):
        return f"{made.__name__} has no name of its own", f'name its class: {made.__name__}(Filter, name="acme.name")'
    return None


def _name_problem(name: Any, before: Sequence[Step]) -> tuple[str, str | None] | None:
    if not isinstance(name, str):
        return f"a step's name must be text, got {got(name)}", None
    problem = step_name_problem(name)
    if problem is not None:
        return problem, None
    if any(step.name == name for step in before):
        return f'the step "{name}" is there already', 'name this one: Step(name="other_name", filter=...)'
    return None
