"""A pipeline's plain values to settings and steps, with every problem at its place.

Options are checked strictly, as JSON: a text is no number, 1 is not true.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from curate.errors import CurateError, PipelineError, PluginError, Problem
from curate.filter import CorpusFilter, Filter, find_filter, load_plugin, nearest, plugin_problems, registered
from curate.models import fetch_hint
from curate.option_paths import change_paths, join_paths
from curate.plain_words import Fault, faults, got, similar
from curate.settings import Settings, Step, on_problem, step_name_problem
from curate.turns import PARTS, On
from curate.yaml_text import Place, Values, Way, read_yaml

OVERRIDE_ORDER = 1_000_000_000  # problems of overrides come after those of the file
STEP_KEYS = ("as", "on")  # of a step, beside its filter
TOP_LEVEL = (*Settings.model_fields, "steps")


class Problems:
    """Collects the problems of a pipeline, each at the place of the value that causes it."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.found: list[tuple[int, Problem]] = []
        self.hint: str | None = None

    def add(self, way: Way, message: str, hint: str | None = None) -> None:
        """Note a problem with the value at `way`."""
        self.add_at(self.values.place(way), message, hint)

    def add_at(self, place: Place, message: str, hint: str | None = None) -> None:
        """Note a problem at a place."""
        self.found.append((place.order, Problem(message, place.text, hint)))

    def add_faults(self, way: Way, some: Sequence[Fault]) -> None:
        """Note what is wrong with the options at `way`."""
        for fault in some:
            self.add((*way, *fault.path), fault.message, fault.hint)

    def check(self) -> None:
        """Raise PipelineError with everything found, in the order of the file."""
        if not self.found:
            return
        problems = [problem for _, problem in sorted(self.found, key=lambda one: one[0])]
        raise PipelineError(list(dict.fromkeys(problems)), hint=self.hint)


def assemble(
    values: Values,
    base: Path,
    overrides: Sequence[str] = (),
    plugins: Mapping[str, str] = MappingProxyType({}),
    *,
    check_files: bool = True,
) -> tuple[Settings, list[Step]]:
    """Settings and steps from plain values; raises PipelineError with all problems at once.

    `plugins` are files beside those that the values name: the path from `base` -> as the user wrote it.
    """
    report = Problems(values)
    if values.root is None:
        values.root = {}
    if not isinstance(values.root, dict):
        report.add((), f"a pipeline is a mapping with the key `steps:`, got {got(values.root)}")
        report.check()
    for number, text in enumerate(overrides):
        _override(values, text, number, report)
    settings = _settings(values, plugins, report)
    _load_plugins(values, plugins, base, report)
    steps = _steps(values, base, report)
    for number, step in steps if settings is not None else ():
        problem = on_problem(step.on, step.filter, settings.input.kind) if settings is not None else None
        if problem is not None:
            report.add(("steps", number, "on"), *problem)
    if check_files:
        for number, step in steps:
            missing_files(step, base, ("steps", number), report)
    report.check()
    assert settings is not None  # without problems there are settings
    return settings, [step for _, step in steps]


# --- settings ---------------------------------------------------------------------------------------------------------


def _settings(values: Values, plugins: Iterable[str], report: Problems) -> Settings | None:
    written: dict[str, Any] = {}
    for key, value in values.root.items():
        if key not in TOP_LEVEL:
            report.add((key,), f'a pipeline has no "{key}"', similar(key, TOP_LEVEL))
        elif key != "steps" and value is not None:  # `output:` with nothing below it means the defaults
            written[key] = value
    try:
        settings = Settings.model_validate_json(json.dumps(written), strict=True)
    except ValidationError as error:
        report.add_faults((), faults(error, written, Settings, "the pipeline"))
        return None
    return settings.model_copy(update={"plugins": tuple(dict.fromkeys((*settings.plugins, *plugins)))})


def _load_plugins(values: Values, plugins: Mapping[str, str], base: Path, report: Problems) -> None:
    written = values.root.get("plugins")
    listed = [written] if isinstance(written, str) else written if isinstance(written, list) else []
    for number, name in enumerate(listed):
        if isinstance(name, str):
            hint = "plugins are relative to the pipeline file"
            _load_plugin(base / name, name, values.place(("plugins", number)), hint, report)
    for name, given in plugins.items():
        hint = "--plugin is relative to the current directory"
        _load_plugin(base / name, given, Place(f"--plugin {given}", OVERRIDE_ORDER), hint, report)


def _load_plugin(file: Path, name: str, place: Place, hint: str, report: Problems) -> None:
    if not file.is_file():
        report.add_at(place, f"the plugin file {name!r} does not exist", hint)
        return
    try:
        load_plugin(file)
    except PluginError as error:
        report.add_at(place, error.message.replace(str(file), name), error.hint)


# --- steps ------------------------------------------------------------------------------------------------------------


def _steps(values: Values, base: Path, report: Problems) -> list[tuple[int, Step]]:
    """The steps that are valid, each with its number in the file."""
    written = values.root.get("steps")
    if written is None:
        report.add(("steps",), "a pipeline needs `steps:`, a list of filters", "for example `steps: [gopher_quality]`")
        return []
    if not isinstance(written, list):
        report.add(("steps",), f"`steps` must be a list, got {got(written)}", "start each step with `- `")
        return []
    steps: list[tuple[int, Step]] = []
    names: dict[str, int] = {}
    for number, value in enumerate(written):
        parts = _step_parts(number, value, report)
        if parts is None:
            continue
        label, options, name, on = parts
        if name in names:
            first = values.place(("steps", names[name])).text
            hint = f"name this one: `- {label}: {{...}}` with `as: other_name` below it"
            report.add(("steps", number), f'the step "{name}" is there already, at {first}', hint)
        names.setdefault(name, number)
        filter = _filter(number, label, options, base, report)
        problem = step_name_problem(name)
        if problem is not None and (filter is not None or name != label):
            report.add(("steps", number, "as"), problem)
        if filter is not None and problem is None:
            steps.append((number, Step(name=name, filter=filter, on=on)))
    return steps


def _step_parts(number: int, value: Any, report: Problems) -> tuple[str, Any, str, On] | None:
    """A step's filter, its options as written, its name, the part it judges; None when the step has no filter."""
    way: Way = ("steps", number)
    if isinstance(value, str):
        return value, None, value, "whole"
    if not isinstance(value, dict):
        report.add(way, f"a step is a filter's name or `- name: {{options}}`, got {got(value)}")
        return None
    labels = [key for key in value if key not in STEP_KEYS]
    if len(labels) != 1:
        report.add(way, *_one_key(labels))
        return None
    name = value.get("as", labels[0])
    if not isinstance(name, str):
        report.add((*way, "as"), f"`as` must be a name for the step, got {got(name)}")
        name = labels[0]
    on = value.get("on", "whole")
    if on not in PARTS:
        report.add((*way, "on"), f"`on` must be a part of a record, got {got(on)}", f"parts: {', '.join(PARTS)}")
        on = "whole"
    return labels[0], value[labels[0]], name, on


def _one_key(labels: Sequence[str]) -> tuple[str, str]:
    if not labels:
        return "the step names no filter", "write it as `- length: {min_words: 5}`"
    filters = [label for label in labels if find_filter(label) is not None]
    options = ", ".join(label for label in labels if label not in filters)
    if len(filters) == 1:
        return (
            f'a step has one filter\'s name as its key, got also "{options}"',
            f"options stand below the name, indented by two more spaces: `- {filters[0]}: {{{options}: ...}}`",
        )
    return f"a step has one filter's name as its key, got {', '.join(labels)}", "start each step with `- `"


def _filter(number: int, label: str, options: Any, base: Path, report: Problems) -> Filter | None:
    way: Way = ("steps", number, label)
    made = find_filter(label)
    if made is None:
        _unknown_filter(way, label, report)
        return None
    if options is None:
        options = {}
    if not isinstance(options, dict):
        example = next(iter(made.model_fields), None)
        right = f"- {label}: {{{example}: ...}}" if example else f"- {label}"
        report.add(way, f'the options of "{label}" must be a mapping, got {got(options)}', f"write `{right}`")
        return None
    try:
        return make_filter(made, options, base)
    except ValidationError as error:
        report.add_faults(way, faults(error, options, made, f'"{label}"'))
    except CurateError as error:
        report.add(way, f'"{label}": {error.message}', error.hint)
    except Exception as error:  # a filter's validators are foreign code: whatever they raise is reported by name
        report.add(way, f'"{label}" cannot be made from these options: {type(error).__name__}: {error}')
    return None


def _unknown_filter(way: Way, label: str, report: Problems) -> None:
    report.hint = "`curate filters` lists the filters, `curate filters NAME` the options of one"
    known = list(registered())
    near = nearest(label, known)
    report.add(way, f'there is no filter "{label}"', f'did you mean "{near}"?' if near else None)
    for name, error in plugin_problems().items():
        report.add_at(Place(f'entry point "{name}"', OVERRIDE_ORDER), f"its filters are missing: {error}")


def make_filter(made: type[Filter], options: Mapping[str, Any], base: Path) -> Filter:
    """A filter from plain options, its relative paths joined with `base`; raises pydantic's ValidationError."""
    joined = {
        name: change_paths(made.model_fields[name].annotation, value, lambda path: str(base / path))
        if name in made.model_fields
        else value
        for name, value in options.items()
    }
    return join_paths(made.model_validate_json(json.dumps(joined), strict=True), base)


def missing_files(step: Step, base: Path, way: Way, report: Problems) -> None:
    """Note the files that a step's filter names and that do not exist."""
    label = type(step.filter).label
    try:
        files = [base / file for file in step.filter.files()]
        if isinstance(step.filter, CorpusFilter):
            step.filter.earlier()
    except CurateError as error:
        report.add(way, f'"{label}": {error.message}', error.hint)
        return
    except Exception as error:  # foreign code: whatever it raises is reported by name
        report.add(way, f'"{label}" cannot name its files: {type(error).__name__}: {error}')
        return
    for file in files:
        if not file.is_file():
            option = _option_of(step.filter, file)
            inner: Way = way if option is None else (*way, label, option)
            report.add(inner, f'"{label}" needs the file {str(file)!r}, which does not exist', fetch_hint(file))


def _option_of(filter: Filter, file: Path) -> str | None:
    for name, field in type(filter).model_fields.items():
        value = getattr(filter, name)
        if change_paths(field.annotation, value, lambda path: None if Path(path) == file else path) != value:
            return name
    return None


# --- overrides --------------------------------------------------------------------------------------------------------


def _override(values: Values, text: str, number: int, report: Problems) -> None:
    """Put the value of one `key=value` where its key says, as though the file said so."""
    place = Place(text, OVERRIDE_ORDER + number)
    key, equals, written = text.partition("=")
    if not equals or not key:
        report.add_at(place, "an override is written key=value", "for example steps.toxicity.max_share=0.1")
        return
    try:
        value = read_yaml(written, text).root
    except PipelineError as error:
        for problem in error.problems:
            report.add_at(place, problem.message, problem.hint)
        return
    way = _step_way(values, key, place, report) if key.split(".")[0] == "steps" else tuple(key.split("."))
    if way is None:
        return
    if way[0] != "steps" and way[0] not in Settings.model_fields:
        known = [*_dotted_settings(), *(f"steps.{name}" for name in _step_names(values))]
        report.add_at(place, f'a pipeline has no "{key}"', similar(key, known))
        return
    inner = values.root
    for depth, part in enumerate(way[:-1], start=1):
        if isinstance(inner, dict) and inner.get(part) is None:
            inner[part] = {}
            values.places.setdefault(way[:depth], place)
        inner = inner[part]
        if not isinstance(inner, dict | list):
            report.add_at(place, f'"{part}" holds no options, so that "{key}" cannot be set')
            return
    inner[way[-1]] = value
    values.put(way, place)


def _step_way(values: Values, key: str, place: Place, report: Problems) -> Way | None:
    """The way to a step's option; the longest step name that matches wins, for names may have dots."""
    names = _step_names(values)
    rest = key.removeprefix("steps").removeprefix(".")
    matching = [name for name in names if rest == name or rest.startswith(f"{name}.")]
    if not matching:
        near = nearest(rest.rpartition(".")[0] or rest, names)
        hint = f'did you mean "steps.{near}"?' if near else f"steps: {', '.join(names)}" if names else None
        report.add_at(place, f'no step fits "{key}"', hint)
        return None
    name = max(matching, key=len)
    number, label = names[name]
    option = rest[len(name) :].strip(".")
    if not option:
        report.add_at(place, "an override sets one option of a step", f"write {key}.OPTION=value")
        return None
    if isinstance(values.root["steps"][number], str):
        values.root["steps"][number] = {label: {}}
    return ("steps", number, label, *option.split("."))


def _step_names(values: Values) -> dict[str, tuple[int, str]]:
    """The names of the steps as written, each with its number and its filter."""
    steps = values.root.get("steps")
    names: dict[str, tuple[int, str]] = {}
    for number, step in enumerate(steps if isinstance(steps, list) else []):
        labels = [key for key in step if key not in STEP_KEYS] if isinstance(step, dict) else [step]
        if len(labels) == 1 and isinstance(labels[0], str):
            name = step.get("as", labels[0]) if isinstance(step, dict) else step
            names.setdefault(str(name), (number, labels[0]))
    return names


def _dotted_settings() -> list[str]:
    known: list[str] = []
    for name, field in Settings.model_fields.items():
        inner: Mapping[str, FieldInfo] = getattr(field.annotation, "model_fields", {})
        known += [f"{name}.{key}" for key in inner] or [name]
    return known
