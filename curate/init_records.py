"""What `curate init` proposes for chat and preference records: the input's schema and the steps, with what was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from curate.console import percent
from curate.conversations import SCHEMAS, Form
from curate.init_text import comment, listed, scalar, step_lines
from curate.look import SEEN_LANGUAGE, Sample, quantiles, shown
from curate.look_records import finds, other_columns, roles, schema_name, turn_counts

if TYPE_CHECKING:
    from curate.init import Proposal

MANY = 0.1  # share of records from which a rule is proposed as a tag
WHAT = {
    "last_turn_not_assistant": "that do not end with the assistant",
    "empty_response": "with an empty response",
    "leaked_markers": "with markers of a chat template inside a turn",
    "prompts_differ": "whose prompts differ",
    "identical_responses": "whose responses are the same",
}
OF_TREES = (
    "A thread is made of each message without replies, with all that were said before it; with `kind: preference` a "
    "pair of each two answers with different ranks. Files are read whole, one at a time."
)


def input_lines(form: Form, why: str) -> Iterator[str]:
    """Kind, schema and the columns that go by other names."""
    about = OF_TREES if form.trees else SCHEMAS[form.schema].about
    yield from comment(f"What a record is, chosen {why}. {about}", 2)
    yield f"  kind: {form.kind}"
    yield f"  schema: {schema_name(form)}"
    other = other_columns(form)
    if other:
        yield from comment("The schema's name of a column, and the name that it has here.", 2)
        yield f"  columns: {{{', '.join(f'{part}: {scalar(name)}' for part, name in other.items())}}}"


def score_names(form: Form) -> dict[str, Sequence[str]]:
    """The scores of the proposed steps, by step."""
    from curate.filters import ChatChecks, PreferenceChecks

    made: dict[str, Sequence[str]] = {"chat_checks": list(ChatChecks.scores)}
    if form.kind == "preference":
        made["preference_checks"] = list(PreferenceChecks.scores)
    return made


def steps(form: Form, found: Proposal) -> Iterator[Iterator[str]]:
    """The steps for these records, each as lines."""
    yield _checks(form, found)
    if form.kind == "preference":
        yield _pairs(found)
        yield _prompts()
    yield _language(form, found)
    yield _personal()


def _dropped(counts: Mapping[str, int], total: int) -> str:
    """How many records each rule drops."""
    return listed([f"{number:,} {WHAT[name]}" for name, number in counts.items()]) + f", of {total:,}"


def _checks(form: Form, found: Proposal) -> Iterator[str]:
    from curate.filters import ChatChecks

    total = found.sample.records.height
    counts = finds(found.sample, ChatChecks())
    unanswered = counts["last_turn_not_assistant"]
    lines = ["chat_checks"]
    tagged = form.kind == "chat" and unanswered > MANY * total
    if tagged:
        del counts["last_turn_not_assistant"]
        lines = ["chat_checks: {last_turn_not_assistant: tag}"]
    yield from comment(
        "The structure of each record: what nobody can train on is dropped, markers at the ends of turns are cut off, "
        f"all else is only counted. Here it drops records: {_dropped(counts, total)}."
        + (f" The {unanswered:,} that do not end with the assistant are only counted too." if tagged else ""),
        2,
    )
    if tagged:
        yield from comment("To drop them, take the option out.", 2)
    yield from step_lines(lines, "chat_checks", found.clashes)


def _pairs(found: Proposal) -> Iterator[str]:
    from curate.filters import PreferenceChecks

    counts = finds(found.sample, PreferenceChecks())
    yield from comment(
        "Pairs that cannot teach a preference; the report says what chosen responses have in common on their surface. "
        f"Here it drops records: {_dropped(counts, found.sample.records.height)}.",
        2,
    )
    yield from step_lines(["preference_checks"], "preference_checks", found.clashes)


def _prompts() -> Iterator[str]:
    yield from comment(
        "One pair of those with nearly the same prompt. It is no loss where prompts were copied, and a great one where "
        "several responses to one prompt were compared, so look at the prompts first:",
        2,
    )
    yield "  # - near_duplicates: {}"
    yield "  #   on: prompt"


def _language(form: Form, found: Proposal) -> Iterator[str]:
    languages = found.figures.languages
    seen = listed([f"{label} {percent(share)}" for label, share in languages.items()])
    part = language_part(form)
    which = "the last turn" if part == "last_turn" else "each response"
    yield from comment(
        f"The language of {which}, as a score: without `keep` nothing is dropped. Seen in whole records: {seen}.", 2
    )
    yield from step_lines(["language: {}", f"on: {part}"], "language", found.clashes)
    common = [label for label, share in languages.items() if share >= SEEN_LANGUAGE and label != "und"]
    if common and "language" not in found.clashes:
        yield from comment("To keep only the languages that you want, put this line in the place of its first:", 2)
        yield f"  # - language: {{keep: [{', '.join(scalar(label) for label in common)}]}}"


def language_part(form: Form) -> str:
    """The part of a record whose language is told."""
    return "last_turn" if form.kind == "chat" else "both"


def language_columns(form: Form) -> list[str]:
    """The scores with the language of that part."""
    parts = ["last_turn"] if form.kind == "chat" else ["chosen", "rejected"]
    return [f"language.{part}.label" for part in parts]


def _personal() -> Iterator[str]:
    yield from comment("To mask e-mail addresses, telephone numbers, keys and the like in every turn:", 2)
    yield "  # - redact_pii: {}"
    yield "  #   on: each_turn"


def notes(form: Form, sample: Sample) -> Iterator[tuple[str, str]]:
    """What was seen of the turns, as name and text."""
    other = other_columns(form)
    named = ", ".join(f"{part} in the column {shown(name)}" for part, name in other.items())
    yield "schema", f"{form.kind}, {schema_name(form)}" + (f"; {named}" if other else "")
    counts = quantiles(turn_counts(sample).to_numpy())
    yield "turns", f"least {counts[0]:,}, median {counts[50]:,}, most {counts[100]:,} in a record"
    yield "roles", listed([f"{shown(role)} {number:,}" for role, number in roles(sample).items()])
