"""`curate init`: a commented pipeline for data that nobody has looked at yet.

It looks at a sample (`curate.look`), proposes columns and cautious limits, and writes YAML in which every line says in
plain words why it is there, with the figures that were seen. The YAML is parsed before it is returned.
"""

from __future__ import annotations

import json
import math
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from curate.console import clean, human_bytes, percent, plural
from curate.errors import UsageError
from curate.init_records import form_seen, is_tree
from curate.look import (
    Figures,
    Look,
    Sample,
    choose_id,
    choose_record_id,
    choose_text,
    has_text,
    id_candidates,
    look_at,
    read_sample,
    shown,
    study,
    unite_columns,
)

if TYPE_CHECKING:
    from curate.conversations import Form
    from curate.read import Columns

WIDTH = 100  # of comments
MAX_LISTED = 12  # columns or languages in one list
MIN_CHARS = 20  # the highest lower limit: shorter texts are headings and captions at most
MAX_CHARS = 1_000_000  # the lowest upper limit: a long book
MAX_QUARANTINED = 0.001
SEEN_LANGUAGE = 0.01  # share from which a language is named in the `keep` line
FEW = 10_000  # records; below it the audit sample is a tenth
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*|\.{0,2}/[A-Za-z0-9_./-]*")
NOT_PLAIN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True)
class Proposal:
    """Everything that the written pipeline says, with the reasons."""

    name: str
    paths: Sequence[str]
    output: str
    text: str
    why_text: str
    id: str | None
    why_id: str
    look: Look
    sample: Sample
    figures: Figures
    unreadable: int  # of the sample, with the records that have no id
    clashes: Mapping[str, str] = field(default_factory=dict)  # step -> an input column with the name of its score
    remarks: Sequence[str] = ()

    @property
    def unreadable_share(self) -> float:
        """Of the sample's records."""
        return self.unreadable / self.sample.size


def propose(data: Sequence[str], base: Path) -> tuple[str, list[str]]:
    """Look at data (files, folders, patterns) and return a pipeline's YAML text, and what was seen as lines.

    `base` is the folder that the text will stand in: relative paths are written relative to it. Raises UsageError when
    the data cannot be read, has no text column or is of a kind that is not supported yet.
    """
    look = look_at(data, Path.cwd())
    paths = [path_from(path, base) for path in data]
    form = form_seen(look) if not has_text(look) or is_tree(look) else None
    if form is not None:
        return _propose_records(look, form, data, base)
    text, why_text, remarks = choose_text(look)
    unite_columns(look, text, None)  # a file without the text column is an error before anything is read
    candidates = id_candidates(look, text)
    sample = read_sample(look, text, candidates)
    if not sample.records.height:
        reasons = ", ".join(shown(reason) for reason in list(sample.errors)[:3])
        raise UsageError(f"none of {plural(sample.size, 'record')} can be read: {reasons or 'the files are empty'}")
    id, why_id, missing = choose_id(look, sample, candidates)
    columns = unite_columns(look, text, id)
    found = Proposal(
        name_of(data[0]), paths, output_folder(data, base), text, why_text, id, why_id, look, sample, study(sample),
        sample.unreadable + missing, clashes(columns), remarks,
    )  # fmt: skip
    written = "\n".join(_lines(found)) + "\n"
    _check(written, base, found, columns)
    return written, list(_notes(found))


def _propose_records(look: Look, form: Form, data: Sequence[str], base: Path) -> tuple[str, list[str]]:
    """The same for chat and preference records."""
    from curate import init_records

    paths = ", ".join(scalar(path_from(path, base)) for path in data)
    seen = init_records.see(look, form)
    id, why_id = choose_record_id(look, form)
    name, output = scalar(name_of(data[0])), scalar(output_folder(data, base))
    written = "\n".join(init_records.lines(seen, name, paths, id, why_id, output)) + "\n"
    init_records.check(written, base, look, form)
    return written, [
        *_files(look),
        *init_records.notes(seen),
        *_note("id", why_id if id is None else f"{id}; {why_id}"),
    ]


def clashes(columns: Columns) -> dict[str, str]:
    """The proposed steps that cannot run over these columns: a score of theirs has the name of an input column."""
    from curate.filters import ExactDuplicates, Language, Length

    inputs = set(columns.types) - {columns.text, columns.id}
    made: dict[str, Sequence[str]] = {
        "length": list(Length.scores),
        "language": list(Language.scores),
        "exact_duplicates": list(ExactDuplicates.model_validate({}).decides()),
    }
    taken = {step: [name for name in scores if name in inputs] for step, scores in made.items()}
    return {step: names[0] for step, names in taken.items() if names}


def _check(written: str, base: Path, found: Proposal, columns: Columns) -> None:
    """Parse what was written, compare it with what was meant and plan its steps; a difference is a defect of ours."""
    from curate.pipeline import Pipeline
    from curate.plan import plan_steps

    pipeline = Pipeline.parse(written, base=base, source="the proposed pipeline")
    read = (list(pipeline.input.paths), pipeline.input.text, pipeline.input.id)
    meant = (list(found.paths), found.text, found.id)
    if read != meant:
        raise AssertionError(f"the proposed pipeline reads {read}, meant was {meant}")
    plan_steps(pipeline, columns)


# --- paths ------------------------------------------------------------------------------------------------------------


def path_from(path: str, base: Path) -> str:
    """A path that was relative to the current directory, relative to `base`; absolute paths and URLs stay."""
    if "://" in path or os.path.isabs(path):
        return path
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"the name {clean(path)!r} is not UTF-8, and YAML cannot hold it", hint="rename the file or its folder"
        ) from None
    if base.absolute() == Path.cwd():
        return path
    return os.path.relpath(path, base)


def name_of(path: str) -> str:
    """A pipeline's name from a path: its last part that is no pattern, without endings."""
    whole = path if "://" in path else os.path.abspath(path)
    parts = [part for part in re.split(r"[/\\]", whole) if part.strip(".") and not re.search(r"[*?\[\]:]", part)]
    return shown(parts[-1].partition(".")[0] or parts[-1]) if parts else "corpus"


def output_folder(data: Sequence[str], base: Path) -> str:
    """Where the run goes: `curated/` beside the pipeline, but not inside a folder that is read or among other files."""
    from curate.store import is_run

    parent = Path(os.path.abspath(base))
    for path in data:
        folder = Path(os.path.abspath(path))
        if "://" not in path and folder.is_dir() and parent.is_relative_to(folder):
            parent = folder.parent
    number = 1
    while True:
        name = "curated" if number == 1 else f"curated-{number}"
        target = parent / name
        if not target.exists() or (target.is_dir() and (is_run(target) or not any(target.iterdir()))):
            return os.path.relpath(target, base) + "/"
        number += 1


# --- YAML -------------------------------------------------------------------------------------------------------------


def scalar(text: str) -> str:
    """A text as a YAML scalar that reads back as this text: plain where that is certain, else in double quotes."""
    if PLAIN.fullmatch(text) and text.lower() not in NOT_PLAIN:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(char) for char in quoted)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04X}" if ord(char) < 0x10000 else f"\\U{ord(char):08X}"


def comment(text: str, indent: int = 0) -> Iterator[str]:
    """Text as wrapped comment lines."""
    lead = " " * indent + "# "
    yield from _wrapped(text, WIDTH, lead, lead)


def _wrapped(text: str, width: int, first: str, other: str) -> Iterator[str]:
    """Lines of at most `width` characters; a number is never parted from its percent sign."""
    joined = re.sub(r"(?<=\d) %", "\u00a0%", text)
    for line in textwrap.wrap(
        joined, width, initial_indent=first, subsequent_indent=other, break_long_words=False, break_on_hyphens=False
    ):
        yield line.replace("\u00a0%", " %")


def _lines(found: Proposal) -> Iterator[str]:
    """The pipeline, line by line."""
    look, sample = found.look, found.sample
    saw = f"{sample.size:,} records of {plural(len(look.sources), 'file')}"
    if len(look.read) < len(look.sources):
        saw += f" (read in {len(look.read):,} of them)"
    yield from comment(
        f"A first pipeline, written by `curate init` after a look at {saw}. All figures are of that look."
    )
    yield f"name: {scalar(found.name)}"
    yield ""
    yield from _input(found)
    yield ""
    yield "steps:"
    yield from comment("They run from top to bottom; a document that one drops is not looked at by the next.", 2)
    for step in (_length, _language, _duplicates):
        yield ""
        yield from step(found)
    yield ""
    yield from _output(found)
    yield ""
    yield from _budget(found)
    yield ""
    yield from _audit(sample)


def _input(found: Proposal) -> Iterator[str]:
    strings = [name for name, kind in found.look.columns.items() if kind == "string" and name != found.text]
    others = f" Other columns of strings: {_listed([shown(name) for name in strings])}." if strings else ""
    yield "input:"
    yield from comment("Files, folders or patterns; relative ones start at the folder of this file.", 2)
    yield f"  paths: [{', '.join(scalar(path) for path in found.paths)}]"
    yield from comment(f"The column that holds the text, chosen {found.why_text}.{others}", 2)
    yield f"  text: {scalar(found.text)}"
    if found.id is None:
        yield from comment(f"{found.why_id[0].upper()}{found.why_id[1:]}.", 2)
        yield "  # id: COLUMN"
    else:
        yield from comment(f"The column that names a record; {found.why_id}.", 2)
        yield f"  id: {scalar(found.id)}"


def _listed(names: Sequence[str], most: int = MAX_LISTED) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _step(line: str, step: str, found: Proposal) -> Iterator[str]:
    """A step, or its line as a comment where a score of it has the name of an input column."""
    if step not in found.clashes:
        yield f"  - {line}"
        return
    yield from comment(
        f"Left out: the data have a column {shown(found.clashes[step])}, and this step makes a score of that name. To "
        "use it, give the column another name.",
        2,
    )
    yield f"  # - {line}"


def _length(found: Proposal) -> Iterator[str]:
    figures = found.figures
    low, high = length_limits(figures)
    chars = figures.chars
    gone = sum(1 for size in figures.lengths if size < low or size > high)
    yield from comment(
        f"Fragments and oversized texts, by characters. Of the texts 1 % have fewer than {chars[1]:,}, half have fewer "
        f"than {chars[50]:,}, 1 % more than {chars[99]:,}; the longest has {chars[100]:,}. These cautious limits drop "
        f"{gone:,} of {len(figures.lengths):,}.",
        2,
    )
    yield from _step(f"length: {{min_chars: {low}, max_chars: {high}}}", "length", found)


def length_limits(figures: Figures) -> tuple[int, int]:
    """Limits that lose next to nothing: at most what 1 % of the texts fall short of, and far above the longest."""
    return min(MIN_CHARS, max(1, figures.low)), max(MAX_CHARS, round_up(2 * figures.chars[100]))


def round_up(number: int) -> int:
    """The next number of the form 1, 2 or 5 times a power of ten."""
    power: int = 10 ** (len(str(max(1, number))) - 1)
    return next(step * power for step in (1, 2, 5, 10) if step * power >= number)


def _language(found: Proposal) -> Iterator[str]:
    languages = found.figures.languages
    seen = _listed([f"{label} {percent(share)}" for label, share in languages.items()])
    yield from comment(f"The language of every text, as a score: without `keep` nothing is dropped. Seen: {seen}.", 2)
    yield from _step("language", "language", found)
    common = [label for label, share in languages.items() if share >= SEEN_LANGUAGE and label != "und"]
    if common and "language" not in found.clashes:
        yield from comment("To keep only the languages that you want, put this line in its place:", 2)
        yield f"  # - language: {{keep: [{', '.join(scalar(label) for label in common)}]}}"


def _duplicates(found: Proposal) -> Iterator[str]:
    repeats, texts = found.figures.repeats, len(found.figures.lengths)
    yield from comment(
        f"The same text again, whatever its case and white space; the first stays. Here {repeats:,} of {texts:,} "
        f"repeat an earlier one ({percent(repeats / texts)})"
        + ("." if found.sample.whole else "; a whole corpus repeats more than a sample of it."),
        2,
    )
    yield from _step("exact_duplicates", "exact_duplicates", found)


def _output(found: Proposal) -> Iterator[str]:
    yield "output:"
    yield from comment("The run's folder: dataset/ to publish, audit/ to keep private.", 2)
    yield f"  path: {scalar(found.output)}"
    if "language" not in found.clashes and "language.label" not in found.look.columns:
        yield from comment("Scores that the cleaned records get beside their own columns.", 2)
        yield "  columns: [language.label]"


def _budget(found: Proposal) -> Iterator[str]:
    if found.unreadable:
        reason = next(iter(found.sample.errors.items()), ("no id", found.unreadable))
        yield from comment(
            f"Here {found.unreadable:,} of {found.sample.size:,} records cannot be read "
            f"({percent(found.unreadable_share)}), most often: {shown(reason[0])} ({reason[1]:,}). They go to "
            "audit/quarantine/. If they are more than the share below, the run finishes and ends with exit code 1; it "
            "allows for what was seen, so lower it once the data are mended."
        )
    else:
        yield from comment(
            "If more than this share of the records cannot be read, the run finishes and ends with exit code 1. Here "
            "all can be read."
        )
    yield f"max_quarantined: {budget(found.unreadable_share)}"


def budget(share: float) -> str:
    """The share of unreadable records that is allowed: 0.1 %, or twice what was seen, in tenths of a percent."""
    return f"{max(MAX_QUARANTINED * 100, min(100.0, math.ceil(share * 2000) / 10)):g}%"


def _audit(sample: Sample) -> Iterator[str]:
    few = sample.whole and sample.size < FEW
    yield from comment(
        "This share of the records is judged by every step, also after one has dropped it, so that the report can tell "
        "what each step alone removes." + (" It is large here because the records are few." if few else "")
    )
    yield f"audit: {{sample: {'10%' if few else '1%'}}}"


# --- notes ------------------------------------------------------------------------------------------------------------


def _notes(found: Proposal) -> Iterator[str]:
    """What was seen, for the terminal."""
    look, sample, figures = found.look, found.sample, found.figures
    texts = len(figures.lengths)
    yield from _files(look)
    part = "all there are" if sample.whole else "the first ones of each file that was read"
    yield from _note("records", f"{sample.size:,}, {part}")
    yield from _note("columns", _listed([f"{shown(name)} ({_kind(kind)})" for name, kind in look.columns.items()]))
    yield from _note("text", f"{shown(found.text)}, chosen {found.why_text}")
    yield from _note("id", found.why_id if found.id is None else f"{shown(found.id)}; {found.why_id}")
    yield from _note("characters", _quantiles(figures.chars))
    yield from _note("words", _quantiles(figures.words))
    yield from _note("empty", f"{figures.blank:,} ({percent(figures.blank / texts)})")
    yield from _note("languages", _listed([f"{label} {percent(share)}" for label, share in figures.languages.items()]))
    repeats = f"{figures.repeats:,} repeat an earlier text ({percent(figures.repeats / texts)})"
    yield from _note("duplicates", repeats)
    reasons = [f"{shown(reason)} ({number:,})" for reason, number in sample.errors.items()]
    unreadable = f"{found.unreadable:,} ({percent(found.unreadable_share)}): {_listed(reasons, 5) or 'no id'}"
    yield from _note("unreadable", unreadable if found.unreadable else "none")
    for step, column in found.clashes.items():
        yield from _note(
            "left out", f"step {step}: the data have a column {shown(column)}, the name of one of its scores"
        )
    for remark in found.remarks:
        yield from _note("note", remark)


def _files(look: Look) -> Iterator[str]:
    formats = ", ".join(f"{number:,} {name}" for name, number in look.formats.items())
    read = "" if len(look.read) == len(look.sources) else f"; {len(look.read):,} of them were read"
    yield from _note("files", f"{formats}, {human_bytes(look.size)}{read}")


def _kind(kind: str) -> str:
    return shown(kind.removeprefix("polars:"))


def _note(name: str, text: str) -> Iterator[str]:
    yield from _wrapped(text, 79, f"{name:<12}", " " * 12)


def _quantiles(values: Mapping[int, int]) -> str:
    names = {0: "least", 50: "median", 100: "most"}
    return ", ".join(f"{names.get(at, f'{at} %')} {value:,}" for at, value in values.items())
