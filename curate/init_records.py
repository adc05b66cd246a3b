"""`curate init` for chat and preference records: the schema, the turns that were seen, and a pipeline to start from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curate.console import percent, plural
from curate.conversations import SCHEMAS, Form, FormError, detect, form_of
from curate.errors import UsageError
from curate.look import Look, shown
from curate.oasst import is_oasst

if TYPE_CHECKING:
    from curate.turns import Turn

MOST_REASONS = 3


@dataclass(frozen=True)
class Seen:
    """What the first records of the files are: their turns, and why some have none."""

    form: Form
    columns: Sequence[str]
    records: int
    turns: Sequence[int]  # turns of each record that reads
    roles: Sequence[tuple[str, int]]
    errors: Sequence[tuple[str, int]]

    @property
    def unreadable(self) -> int:
        """Records that hold no turns of this form."""
        return sum(number for _, number in self.errors)


def is_tree(look: Look) -> bool:
    """Whether the records are messages of OpenAssistant trees; they have a column `text`, too."""
    return is_oasst([*look.columns], look.peeked)


def form_seen(look: Look) -> Form | None:
    """The form of the records, None where they have no known schema; OpenAssistant's trees are refused with a hint."""
    if is_tree(look):
        raise UsageError(
            "these are messages of OpenAssistant trees, which are no records yet",
            hint="curate.oasst.threads(rows) makes conversations of them, curate.oasst.pairs(rows) preference records",
        )
    return detect([*look.columns], look.peeked)


def see(look: Look, form: Form) -> Seen:
    """Read the turns of the first records."""
    sizes, roles, errors = [], Counter[str](), Counter[str]()
    for record in look.peeked:
        try:
            turns: list[Turn] = form.turns(record)
        except FormError as error:
            errors[str(error)] += 1
            continue
        sizes.append(len(turns))
        roles.update(turn.role for turn in turns)
    if not sizes:
        raise UsageError(f"none of {plural(len(look.peeked), 'record')} has turns", hint="look at the first records")
    return Seen(form, [*look.columns], len(look.peeked), sizes, roles.most_common(), errors.most_common())


def lines(seen: Seen, name: str, paths: str, id: str | None, why_id: str, output: str) -> Iterator[str]:
    """The pipeline, line by line; `paths` and the others are YAML scalars."""
    from curate.init import budget, comment, scalar

    form, about = seen.form, SCHEMAS[seen.form.schema].about
    yield from comment(
        f"A first pipeline for {form.kind} records, written by `curate init` after a look at the first "
        f"{plural(seen.records, 'record')}. All figures are of that look."
    )
    yield f"name: {name}"
    yield ""
    yield "input:"
    yield from comment("Files, folders or patterns; relative ones start at the folder of this file.", 2)
    yield f"  paths: [{paths}]"
    yield from comment(f"What a record is, and how it is written. {about}", 2)
    yield f"  kind: {form.kind}"
    yield f"  schema: {form.schema}"
    others = {part: column for part, column in form.columns.items() if part != column}
    if others:
        yield f"  columns: {{{', '.join(f'{part}: {scalar(column)}' for part, column in others.items())}}}"
    yield from comment(f"{why_id[0].upper()}{why_id[1:]}.", 2)
    yield "  # id: COLUMN" if id is None else f"  id: {scalar(id)}"
    yield ""
    yield "steps:"
    yield from comment(
        "They run from top to bottom. `on` says which part of a record a step judges; a record is dropped or kept "
        "whole, and edits go back into the turn.", 2,
    )  # fmt: skip
    yield from _steps(seen)
    yield ""
    yield "output:"
    yield from comment("The run's folder: dataset/ to publish, audit/ to keep private.", 2)
    yield f"  path: {output}"
    yield ""
    if seen.errors:
        said = ", ".join(f"{shown(reason)} ({number:,})" for reason, number in seen.errors[:MOST_REASONS])
        yield from comment(
            f"Here {plural(seen.unreadable, 'record')} ({percent(seen.unreadable / seen.records)}) cannot be read: "
            f"{said}. They go to audit/quarantine/; if they are more than this share, the run ends with exit code 1."
        )
    else:
        yield from comment("If more than this share of the records cannot be read, the run ends with exit code 1.")
    yield f"max_quarantined: {budget(seen.unreadable / seen.records)}"
    yield ""
    yield from comment("This share of the records is judged by every step, also after one has dropped it.")
    yield "audit: {sample: 1%}"


def _steps(seen: Seen) -> Iterator[str]:
    from curate.filters import Language
    from curate.init import comment

    yield ""
    ended = sum(size for role, size in seen.roles if role == "assistant")
    yield from comment(
        f"Records with empty answers or leftovers of chat templates, by numbered rules; the others are scores. Seen: "
        f"{', '.join(f'{shown(role)} {number:,}' for role, number in seen.roles[:6])} turns.", 2,
    )  # fmt: skip
    prompts_only = "" if ended else ": {last_turn_not_assistant: tag}"
    yield f"  - chat_checks{prompts_only}"
    if seen.form.kind == "preference" and seen.form.schema != "unpaired":
        yield ""
        yield from comment(
            "Pairs that teach nothing (the two answers are the same, the prompts differ), and how well length and form "
            "alone tell the chosen answer from the other: see its tables in the report.", 2,
        )  # fmt: skip
        yield "  - preference_checks"
    yield ""
    yield from comment("The same record again; the first stays.", 2)
    yield "  - exact_duplicates"
    yield ""
    yield from comment("The language of the last turn, as a score: without `keep` nothing is dropped.", 2)
    clash = next((name for name in Language.scores if name in seen.columns), None)
    if clash is not None:
        yield from comment(
            f"Left out: the data have a column {shown(clash)}, and this step makes a score of that name.", 2
        )
    yield "  - language: {}" if clash is None else "  # - language: {}"
    yield "    on: last_turn" if clash is None else "  #   on: last_turn"
    yield ""
    yield from comment("E-mail addresses, phone numbers, cards and keys in any turn are masked in place.", 2)
    yield "  - redact_pii: {}"
    yield "    on: each_turn"


def notes(seen: Seen) -> Iterator[str]:
    """What was seen, for the terminal."""
    others = [f"{part} is {shown(column)}" for part, column in seen.form.columns.items() if part != column]
    yield f"{'kind':<12}{seen.form.kind}, schema {seen.form.schema}{': ' if others else ''}{', '.join(others)}"
    mean = sum(seen.turns) / len(seen.turns)
    yield f"{'turns':<12}{mean:.1f} a record on average, at most {max(seen.turns):,}"
    yield f"{'roles':<12}{', '.join(f'{shown(role)} {number:,}' for role, number in seen.roles[:6])}"
    for reason, number in seen.errors[:MOST_REASONS]:
        yield f"{'unreadable':<12}{number:,}: {shown(reason)}"


def check(written: str, base: Path, look: Look, form: Form) -> None:
    """Parse what was written, find its schema as a run does, and plan its steps."""
    from curate.pipeline import Pipeline
    from curate.plan import plan_steps
    from curate.read import unite

    pipeline = Pipeline.parse(written, base=base, source="the proposed pipeline")
    read = pipeline.input
    found = form_of(read.kind, read.schema, read.columns, [*look.columns], look.peeked[0])
    if found != form:
        raise AssertionError(f"the proposed pipeline reads {found}, meant was {form}")
    plan_steps(pipeline, unite(look.found, form, pipeline.input.id))
