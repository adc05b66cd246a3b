"""What filters and commands are and why a document went: in the terminal, and as the generated pages of `docs/`.

`docs/filters.md` and `docs/commands.md` are written by `python tools/make_docs.py` from the functions here.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from curate import console as terminal
from curate.console import clean, number_text, percent
from curate.filter import CorpusFilter, Filter, Limit, is_threshold

if TYPE_CHECKING:
    import click
    from rich.console import Console

WORDS: dict[Any, str] = {
    bool: "true or false",
    bytes: "bytes",
    float: "number",
    int: "whole number",
    str: "text",
    type(None): "null",
}
RULE = re.compile(r"`(\w+)`(?:: ([^;]+))?")  # in the docstring of drop_when
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of"}
MAX_CELL = 36  # columns of the terminal for a name or a value, so that what stands beside it has room at 80
REGENERATE = "python tools/make_docs.py"
THRESHOLD = "changing it judges documents again by their stored scores; none is scored again"
CORPUS_WIDE = "It needs the whole corpus: it decides when every document has been seen."
FILTERS_INTRO = f"""\
A step of a pipeline is one of these filters with its options. `curate filters NAME` prints the same in the terminal,
also for your own filters ([plugins](plugins.md)). An option marked *threshold* only moves a limit:
{THRESHOLD}."""
COMMANDS_INTRO = """\
`curate COMMAND --help` prints the same. Data goes to standard output, everything else to standard error; `--json`
prints one JSON object.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | finished, but a promise failed: too many records in quarantine, or nothing kept |
| 2 | wrong usage, a pipeline that is not valid, or another run holds the folder; nothing was run |
| 3 | stopped by an error; the same command resumes |
| 130, 143 | interrupted; the same command resumes |"""


# --- filters ----------------------------------------------------------------------------------------------------------


def describe(cls: type[Filter]) -> dict[str, Any]:
    """Everything a user may ask of a filter, JSON-ready: options, scores, rules, source, version, where it is from.

    A rule's `when` is what drops a document, as far as the rule says it: `words < min_words`; its `description`
    is what the docstring of `drop_when` says of it.
    """
    text = inspect.cleandoc(cls.__doc__ or "")
    summary, _, rest = text.partition("\n\n")
    return {
        "name": cls.label,
        "summary": " ".join(summary.split()),
        "description": rest.strip(),
        "corpus_wide": issubclass(cls, CorpusFilter),
        "options": [_option(name, field) for name, field in cls.model_fields.items()],
        "scores": dict(cls.scores),
        "rules": rules(cls),
        "source": cls.source,
        "version": cls.version,
        "from": origin(cls),
    }


def origin(cls: type[Filter]) -> str:
    """Where a filter comes from: built in, a plugin file, or a module of an installed package."""
    if cls.__module__.startswith("curate.filters"):
        return "built in"
    if cls.__module__.startswith("curate_plugin_"):
        return f"plugin file {inspect.getfile(cls)}"
    return f"module {cls.__module__}"


def _option(name: str, field: FieldInfo) -> dict[str, Any]:
    required = field.is_required()
    default = None if required else field.get_default(call_default_factory=True)
    return {
        "name": name,
        "type": type_words(field.annotation, field.metadata),
        "required": required,
        "default": to_jsonable_python(default, fallback=str),
        "threshold": is_threshold(field),
        "description": " ".join((field.description or "").split()),
    }


def type_words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type in plain words: `list of text`, `"first" or "longest"`, `number, at least 0, at most 1`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(parts[0], [*parts[1:], *metadata])
    if origin is Literal:
        words = _either([json.dumps(part, ensure_ascii=False) for part in parts])
    elif origin in (Union, types.UnionType):
        words = _either(list(dict.fromkeys(type_words(part) for part in parts)))
    elif origin in (list, tuple, set, frozenset) or getattr(origin, "__name__", "") in ("Sequence", "Set"):
        inner = [part for part in parts if part is not ...]
        words = f"list of {_either(list(dict.fromkeys(type_words(part) for part in inner)))}" if inner else "list"
    elif origin is not None and issubclass(origin, Mapping):
        words = f"mapping of {type_words(parts[0])} to {type_words(parts[1])}" if parts else "mapping"
    elif isinstance(annotation, type) and issubclass(annotation, PurePath):
        words = "file"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        words = f"mapping with {', '.join(annotation.model_fields)}"
    else:
        words = WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    bounds = [f"{word} {getattr(one, key)}" for one in metadata for key, word in BOUNDS.items() if hasattr(one, key)]
    return ", ".join([words, *bounds])


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


# --- rules ------------------------------------------------------------------------------------------------------------


def rules(cls: type[Filter]) -> list[dict[str, str]]:
    """The rules of a filter, `name`, `when` and `description`: those of examples, and those that its docstring names.

    Rules may depend on options, so that several examples are asked. The docstring of `drop_when` documents rules as
    `` `name`: what it means; `other`: ... ``.
    """
    found: dict[str, str] = {}
    for example in examples(cls):
        try:
            named = example.drop_when()
        except Exception:  # foreign code, asked with options that we made up: it then has no rules to tell
            continue
        for name, rule in named.items():
            found[name] = found.get(name) or _when(example, rule)
    text = (cls.drop_when.__doc__ or "") if cls.drop_when is not Filter.drop_when else ""
    documented = {name: " ".join(words.split()).rstrip(".") for name, words in RULE.findall(text)}
    return [
        {"name": name, "when": found.get(name, ""), "description": documented.get(name, "")}
        for name in dict.fromkeys((*found, *documented))
    ]


def examples(cls: type[Filter]) -> Iterator[Filter]:
    """Filters of the class with example options: every option set, only the required ones, only the one."""
    fields = cls.model_fields
    made = {name: example for n, (name, field) in enumerate(fields.items()) if (example := _example(field, n)) != []}
    required = {name: value for name, value in made.items() if fields[name].is_required()}
    each = [required | {name: value} for name, value in made.items()]
    for options in (made, required, *each):
        try:
            yield cls.model_validate(options)
        except (ValidationError, OSError):
            continue


def _example(field: FieldInfo, number: int) -> Any:
    """A value for an option, a number if it may be one and then unlike all others; an empty list when none is known."""
    if field.examples:
        return field.examples[0]
    annotation = field.annotation
    kinds = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    low = max([0.0, *(float(getattr(one, key)) for one in field.metadata for key in ("ge", "gt") if hasattr(one, key))])
    if int in kinds and bool not in kinds:
        return int(low) + 2 + number
    if float in kinds:
        return low + (number + 2) / 1000
    if default not in (None, ()):
        return default
    for kind in kinds:
        if kind is str:
            return "true"  # text, and an SQL expression
        if get_origin(kind) in (list, tuple, set, frozenset) and get_args(kind)[0] is str:
            return ["en"]
    return []


def _when(example: Filter, rule: Any) -> str:
    """What a rule says: the score and the option that is its limit."""
    if not isinstance(rule, Limit):
        return ""
    names = [name for name in type(example).model_fields if getattr(example, name) == rule.limit]
    limit = names[0] if len(names) == 1 else number_text(rule.limit)
    sign = ">" if rule.side == "above" else "<"
    return f"{rule.score} {sign} {limit}" + (f" and {rule.where}" if rule.where else "")


# --- the terminal -----------------------------------------------------------------------------------------------------

Part = tuple[str, str]  # text and its style


def print_filters(known: Mapping[str, type[Filter]], problems: Mapping[str, str]) -> None:
    """Print the filters with one sentence each, then the entry points that could not be loaded."""
    console = terminal.console()
    rows: list[Sequence[Part]] = []
    for name, cls in known.items():
        about = describe(cls)
        note = "" if about["from"] == "built in" else f" ({about['from']})"
        rows.append([(name, "bold"), (about["summary"] + note, "")])
    _columns(console, rows)
    for name, error in problems.items():
        _line(console, (f"entry point {name}", "bold red"), (f" could not be loaded: {error}", ""))
    _line(console)
    _line(console, ("curate filters NAME", "bold"), (" describes one: options, scores, rules, source", ""))


def print_filter(cls: type[Filter]) -> None:
    """Print one filter: what it does, its options with defaults, its scores, its rules, where it is from."""
    about, console = describe(cls), terminal.console()
    _columns(console, [[(about["name"], "bold"), (about["summary"], "")]])
    for paragraph in paragraphs(about["description"]):
        _line(console)
        for line in paragraph:
            _line(console, (line, ""))
    _heading(console, "options")
    for option in about["options"]:
        default = "required" if option["required"] else f"default {_json(option['default'])}"
        mark = [("  threshold", "yellow")] if option["threshold"] else []
        _line(console, ("  ", ""), (option["name"], "bold"), (f"  {option['type']}; {default}", "dim"), *mark)
        if option["description"]:
            _columns(console, [[(option["description"], "")]], indent=4)
    _heading(console, "scores", f"columns {about['name']}.NAME of the ledger")
    scores = [[(name, "bold"), (text, "")] for name, text in about["scores"].items()]
    _columns(console, scores, indent=2, none="none" if cls.score is Filter.score else "none documented")
    _heading(console, "rules", "a document is dropped when one is true")
    found = [[(rule["name"], "bold"), (_about_rule(rule), "")] for rule in about["rules"]]
    _columns(
        console, found, indent=2, none="none" if cls.drop_when is Filter.drop_when else "they depend on the options"
    )
    _line(console)
    notes = [("from", f"{about['from']}, version {about['version']}")]
    notes += [("source", about["source"])] if about["source"] else []
    notes += [("scope", CORPUS_WIDE)] if about["corpus_wide"] else []
    notes += [("threshold", THRESHOLD)] if any(option["threshold"] for option in about["options"]) else []
    _columns(console, [[(name, "dim"), (text, "")] for name, text in notes])


def paragraphs(text: str) -> list[list[str]]:
    """The paragraphs of a docstring: prose as one long line each, indented blocks line by line."""
    parts = [part.splitlines() for part in re.split(r"\n\s*\n", text) if part.strip()]
    return [lines if any(line.startswith(" ") for line in lines) else [" ".join(lines)] for lines in parts]


def _about_rule(rule: Mapping[str, str]) -> str:
    """What a rule means, in words and as a comparison."""
    words, when = rule["description"], rule["when"]
    return f"{words} ({when})" if words and when else words or when


def _line(console: Console, *parts: Part) -> None:
    from rich.text import Text

    console.print(Text.assemble(*((clean(text), style) for text, style in parts)), overflow="fold")


def _heading(console: Console, name: str, note: str = "") -> None:
    _line(console)
    _line(console, (name, "bold underline"), (f"  {note}" if note else "", "dim"))


def _columns(console: Console, rows: Sequence[Sequence[Part]], *, indent: int = 0, none: str = "") -> None:
    """Print rows side by side: the first cells as wide as they need, the last wrapped in what is left."""
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    if not rows:
        console.print(Text(" " * indent + none))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for number in range(len(rows[0])):
        last = number == len(rows[0]) - 1
        width = max(cell_len(clean(row[number][0])) for row in rows)
        table.add_column(overflow="fold", width=None if last else min(width, MAX_CELL))
    for row in rows:
        table.add_row(*(Text(clean(text), style) for text, style in row))
    console.print(Padding(table, (0, 0, 0, indent)))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- why --------------------------------------------------------------------------------------------------------------


def print_why(answer: Mapping[str, Any]) -> None:
    """Print what is known of one document: the verdict, every step with scores, limits and broken rules, its twin."""
    console = terminal.console()
    style = {"kept": "bold green", "dropped": "bold red"}.get(answer["verdict"], "bold yellow")
    by = f" by {answer['step']}, rule {answer['rule']}" if answer["verdict"] == "dropped" else ""
    _line(console, (answer["id"], "bold"), ("  ", ""), (f"{answer['verdict']}{by}", style))
    if answer["verdict"] == "quarantine":
        _print_quarantined(console, answer)
        return
    sampled = ", in the audit sample" if answer["sampled"] else ""
    _line(console, (f"{answer['file']}, row {answer['row']}, {answer['bytes']:,} bytes of text{sampled}", "dim"))
    known = {name: value for step in answer["steps"] for name, value in step["scores"].items()}
    known |= answer["input"]
    for step in answer["steps"]:
        _line(console)
        _line(console, (step["step"], "bold"), (f"  {_step_says(step, answer)}", _step_style(step)))
        rows = [*(_score_rows(step, known) if step["judged"] else ()), *_other_rules(step, known)]
        if rows:
            _columns(console, rows, indent=2)
    _line(console)
    _columns(console, [*_places(answer), *_records(answer)])


def _print_quarantined(console: Console, answer: Mapping[str, Any]) -> None:
    unread = "it could not be kept" if answer["error"].startswith("cannot be written") else "it could not be read"
    where = unread if answer["step"] is None else f"step {answer['step']} could not judge it"
    _columns(
        console,
        [
            [("file", "dim"), (f"{answer['file']}, row {answer['row']}", "")],
            [("why", "dim"), (f"{where}: {answer['error']}", "")],
        ],
    )


def _step_says(step: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    broken = ", ".join(_rule(code, step) for code in step["broken"])
    if broken and step["step"] == answer["step"]:
        return f"dropped it: {broken}"
    if broken:
        return f"would have dropped it: {broken}"
    if not step["judged"]:
        return f"unknown: {answer['step']} had dropped it"
    if step["scores"].get(f"{step['step']}.judged") is False:
        return "does not apply to it"
    return "passed"


def _step_style(step: Mapping[str, Any]) -> str:
    return "red" if step["broken"] else "green" if step["judged"] else "dim"


def _score_rows(step: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Sequence[Part]]:
    """Every score of a step, and what else its rules compare, beside the limits."""
    compared = [limit["score"] for limit in step["limits"] if limit["score"] in known]
    for name in dict.fromkeys((*step["scores"], *compared)):
        cells: Sequence[Part] = ((name.removeprefix(f"{step['step']}."), ""), (_value(known[name]), ""))
        limits = [limit for limit in step["limits"] if limit["score"] == name]
        if not limits:
            yield (*cells, ("", ""))
        for limit in limits:
            broken = f"{step['step']}.{limit['rule']}" in step["broken"]
            says = f"{limit['rule']}: dropped {limit['side']} {number_text(limit['limit'])}"
            yield (*cells, (f"BROKEN {says}", "bold red") if broken else (says, "dim"))
            cells = (("", ""), ("", ""))


def _other_rules(step: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Sequence[Part]]:
    """The broken rules that no score stands for."""
    shown = {f"{step['step']}.{limit['rule']}" for limit in step["limits"] if limit["score"] in known}
    for code in step["broken"]:
        if code not in shown:
            yield ("rule", ""), (_rule(code, step), "bold red"), ("BROKEN", "bold red")


def _rule(code: str, step: Mapping[str, Any]) -> str:
    return code.removeprefix(f"{step['step']}.")


def _places(answer: Mapping[str, Any]) -> Iterator[Sequence[Part]]:
    """Its twin, and where it is now."""
    if answer["duplicate_of"] is not None:
        about = "about " if answer.get("estimated") else ""
        similarity = "" if answer["similarity"] is None else f", similarity {about}{number_text(answer['similarity'])}"
        where = f" in {answer['earlier']}, an earlier corpus" if answer.get("earlier") else _twin(answer.get("twin"))
        yield ("twin", "dim"), (f"{answer['duplicate_of']}{similarity}{where}", "")
    now = answer["now"]
    if now is not None:
        copies = "" if answer["copies"] == 1 else f", {answer['copies']} copies"
        yield ("now", "dim"), (f"{now['shard']}, row {now['row']}{copies}", "")
    elif answer["verdict"] == "dropped":
        yield ("now", "dim"), ("not in the dataset", "")


def _twin(twin: Mapping[str, Any] | None) -> str:
    if twin is None:
        return ""
    fate = "kept" if twin["kept"] else f"dropped later by {twin['step']}, rule {twin['rule']}"
    return f" ({twin['file']}, row {twin['row']}): {fate}"


def _records(answer: Mapping[str, Any]) -> Iterator[Sequence[Part]]:
    """The input's columns, and the first characters of the text when they were asked for."""
    for name, value in answer["input"].items():
        yield (f"input.{name}", "dim"), (_value(value), "")
    for turn in answer.get("turns", ()):
        said = turn["side"] if turn["role"] == turn["side"] else f"{turn['side']}, {turn['role']}"
        yield (said, "dim"), (turn["text"], "")
    if answer.get("text") is not None and "turns" not in answer:
        yield ("text", "dim"), (answer["text"], "")
    if answer.get("shared") is not None:
        shared = answer["shared"]
        yield ("shared", "dim"), (f"{percent(shared['share'])} of the words; longest: {shared['longest']}", "")
        yield ("only here", "dim"), (shared["only_here"] or "nothing", "")
        yield ("only twin", "dim"), (shared["only_in_twin"] or "nothing", "")


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return number_text(value) if isinstance(value, float) else str(value)


# --- Markdown ---------------------------------------------------------------------------------------------------------

GENERATED = f"<!-- written by `{REGENERATE}`: do not edit -->"


def filters_markdown(known: Mapping[str, type[Filter]]) -> str:
    """The page of the built-in filters: options, scores, rules, source."""
    described = [describe(cls) for cls in known.values() if origin(cls) == "built in"]
    lines = [GENERATED, "", "# Filters", "", FILTERS_INTRO, "", "| filter | what it does |", "| --- | --- |"]
    lines += [f"| [`{about['name']}`](#{about['name']}) | {_cell(about['summary'])} |" for about in described]
    for about in described:
        lines += ["", f"## {about['name']}", "", about["summary"]]
        for paragraph in paragraphs(about["description"]):
            lines += ["", *paragraph]
        lines += ["", "| option | type | default | |", "| --- | --- | --- | --- |"] if about["options"] else []
        for option in about["options"]:
            default = "required" if option["required"] else f"`{_json(option['default'])}`"
            text = option["description"] + (" (*threshold*)" if option["threshold"] else "")
            lines.append(f"| `{option['name']}` | {_cell(option['type'])} | {_cell(default)} | {_cell(text)} |")
        lines += _list("Scores", {f"{about['name']}.{name}": text for name, text in about["scores"].items()})
        lines += _list("Rules", {f"{about['name']}.{rule['name']}": _about_rule(rule) for rule in about["rules"]})
        lines += ["", f"Source: {about['source']}"] if about["source"] else []
        lines += ["", CORPUS_WIDE] if about["corpus_wide"] else []
    return "\n".join(lines) + "\n"


def _list(title: str, entries: Mapping[str, str]) -> list[str]:
    if not entries:
        return []
    return ["", f"{title}:", "", *(f"- `{name}`{f': {text}' if text else ''}" for name, text in entries.items())]


def _cell(text: str) -> str:
    """Text that cannot break out of a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def commands_markdown(app: click.Group) -> str:
    """The page of the commands: usage, what each does, its options."""
    import click

    lines = [GENERATED, "", "# Commands", "", COMMANDS_INTRO]
    with click.Context(app, info_name="curate") as context:
        for name in app.list_commands(context):
            command = app.get_command(context, name)
            if command is None or command.hidden:
                continue
            inner = click.Context(command, info_name=name, parent=context)
            usage = " ".join(["curate", name, *command.collect_usage_pieces(inner)])
            lines += ["", f"## {name}", "", f"    {usage}", "", *_help_paragraphs(command)]
            options = [one for one in command.params if isinstance(one, click.Option)]
            records = [record for one in options if (record := one.get_help_record(inner))]
            lines += ["| option | |", "| --- | --- |"] if records else []
            lines += [f"| `{_cell(flags)}` | {_cell(' '.join(text.split()))} |" for flags, text in records]
    return "\n".join(lines) + "\n"


def _help_paragraphs(command: click.Command) -> Iterator[str]:
    """The help text; a paragraph that click shows as it is (marked by \\b) becomes an indented block."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        first, *rest = paragraph.splitlines() or [""]
        yield from ["    " + line for line in rest] if first == "\b" else [paragraph]
        yield ""
