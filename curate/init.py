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
from pathlib import Path
from typing import TYPE_CHECKING

from curate.console import clean, human_bytes, percent, plural
from curate.errors import UsageError
from curate.look import Look, Proposal, look_at, study

if TYPE_CHECKING:
    from curate.look import Figures
    from curate.pipeline import Pipeline

WIDTH = 100  # of comments
MAX_NAME = 60  # characters of a column or file name in a comment
MAX_COLUMNS = 12  # named in notes
MIN_CHARS = 20  # the highest limit that is proposed unseen: shorter texts are headings and captions at most
MAX_CHARS = 1_000_000  # the lowest limit that is proposed unseen: a long book
MAX_QUARANTINED = 0.001
MANY_QUARANTINED = 0.0005  # from this share in the sample on, the budget is raised
SEEN_LANGUAGE = 0.01  # share from which a language is named in the `keep` line
SMALL = 10_000  # records; below it the audit sample is a tenth
PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
NOT_PLAIN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def propose(data: Sequence[str], base: Path) -> tuple[str, list[str]]:
    """Look at data (files, folders, patterns) and return a pipeline's YAML text, and what was seen as lines.

    `base` is the folder that the text will stand in: relative paths are written relative to it. Raises UsageError when
    the data cannot be read, has no text column or is of a kind that is not supported yet.
    """
    look = look_at(data, Path.cwd())
    found = study(look)
    paths = [path_from(path, base) for path in data]
    output = output_folder(data, base)
    text = "\n".join(_lines(look, found, paths, output)) + "\n"
    _check(text, base, paths, found)
    return text, list(_notes(look, found))


def _check(text: str, base: Path, paths: Sequence[str], found: Proposal) -> Pipeline:
    """Parse what was written and compare it with what was meant; a difference is a defect of this module."""
    from curate.pipeline import Pipeline

    pipeline = Pipeline.parse(text, base=base, source="the proposed pipeline")
    read = (list(pipeline.input.paths), pipeline.input.text, pipeline.input.id)
    meant = (list(paths), found.text, found.id)
    if read != meant:
        raise AssertionError(f"the proposed pipeline reads {read}, meant was {meant}")
    return pipeline


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


def output_folder(data: Sequence[str], base: Path) -> str:
    """Where the run goes: `curated/` beside the pipeline, but never inside a folder that is read, nor among strangers."""
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
    if PLAIN.fullmatch(text) and text.lower() not in NOT_PLAIN and "://" not in text and text.strip("./-") != "":
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(char) for char in quoted)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04X}" if ord(char) < 0x10000 else f"\\U{ord(char):08X}"


def shown(name: str) -> str:
    """A name from the data, safe in a comment and in the terminal: one line, no controls, not too long."""
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in clean(name))
    return safe if len(safe) <= MAX_NAME else safe[: MAX_NAME - 3] + "..."


def comment(text: str, indent: int = 0) -> Iterator[str]:
    """Text as wrapped comment lines."""
    lead = " " * indent + "# "
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=lead, subsequent_indent=lead, break_long_words=False, break_on_hyphens=False
    )


def _lines(look: Look, found: Proposal, paths: Sequence[str], output: str) -> Iterator[str]:
    """The pipeline, line by line."""
    figures = found.figures
    saw = f"{look.records:,} records of {plural(look.files, 'file')}"
    sampled = saw if look.files_read == look.files else f"{saw} (read in {look.files_read:,} of them)"
    yield from comment(f"A first pipeline, written by `curate init` after a look at {sampled}.")
    yield from comment("All figures below are of that sample. `curate run` runs this file; edit it as you learn more.")
    yield f"name: {scalar(_name(paths))}"
    yield ""
    yield from _input(look, found, paths)
    yield ""
    yield "steps:"
    yield from comment("Steps run from top to bottom; a document that one drops is not looked at by the next.", 2)
    yield ""
    yield from _length(figures, found)
    yield ""
    yield from _language(figures, found)
    yield ""
    yield from _duplicates(figures, found)
    yield ""
    yield from _output(found, output)
    yield ""
    yield from _budget(look, figures)
    yield ""
    small = look.whole and look.records < SMALL
    yield from comment(
        "This share of the records is judged by every step, even after one has dropped it, so that the report can "
        "tell what each step alone removes." + (" It is large because the data are few." if small else "")
    )
    yield f"audit: {{sample: {'10%' if small else '1%'}}}"


def _name(paths: Sequence[str]) -> str:
    """A name from the first path: its last part that is no pattern, without endings."""
    parts = [part for part in re.split(r"[/\\]", paths[0]) if part.strip(".") and not re.search(r"[*?\[\]:]", part)]
    stem = parts[-1].partition(".")[0] or parts[-1] if parts else "corpus"
    return shown(stem)


def _input(look: Look, found: Proposal, paths: Sequence[str]) -> Iterator[str]:
    yield "input:"
    yield from comment("Files, folders or patterns; relative ones start at the folder of this file.", 2)
    yield f"  paths: [{', '.join(scalar(path) for path in paths)}]"
    others = [shown(name) for name in found.text_columns if name != found.text]
    more = f" Other columns of text: {_listed(others)}." if others else ""
    yield from comment(f"The column that holds the text; it was chosen {found.why_text}.{more}", 2)
    yield f"  text: {scalar(found.text)}"
    yield from comment(found.why_id, 2)
    yield f"  id: {scalar(found.id)}" if found.id is not None else "  # id: NAME"


def _listed(names: Sequence[str], most: int = MAX_COLUMNS) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _step(line: str, clash: str | None) -> Iterator[str]:
    """A step, or its line as a comment where a score of it has the name of an input column."""
    if clash is None:
        yield f"  - {line}"
        return
    yield from comment(
        f"Left out: the data have a column {shown(clash)!r}, and this step would make a score of that name. "
        "Rename the column to use the step.",
        2,
    )
    yield f"  # - {line}"


def _length(figures: Figures, found: Proposal) -> Iterator[str]:
    low, high = length_limits(figures)
    quantiles = figures.chars
    gone = sum(1 for size in figures.lengths if size < low or size > high)
    yield from comment(
        f"Fragments and oversized documents, in characters. In the sample 1 % of the texts have fewer than "
        f"{quantiles[1]:,}, half have fewer than {quantiles[50]:,}, 1 % more than {quantiles[99]:,}; the longest has "
        f"{quantiles[100]:,}. Limits are cautious: they drop {gone:,} of {len(figures.lengths):,} texts.",
        2,
    )
    yield from _step(f"length: {{min_chars: {low}, max_chars: {high}}}", found.clashes.get("length"))


def length_limits(figures: Figures) -> tuple[int, int]:
    """Limits that lose next to nothing: at most what 1 % of the texts fall short of, and above the longest seen."""
    low = min(MIN_CHARS, max(1, figures.chars[1]))
    return low, max(MAX_CHARS, round_up(2 * figures.chars[100]))


def round_up(number: int) -> int:
    """The next number of the form 1, 2 or 5 times a power of ten."""
    if number <= 1:
        return 1
    power = 10 ** int(math.log10(number))
    return next(step * power for step in (1, 2, 5, 10, 20) if step * power >= number)


def _language(figures: Figures, found: Proposal) -> Iterator[str]:
    seen = ", ".join(f"{label} {percent(share)}" for label, share in list(figures.languages.items())[:MAX_COLUMNS])
    more = len(figures.languages) - MAX_COLUMNS
    yield from comment(
        f"The language of every text (score language.label); without `keep` it drops nothing. In the sample: {seen}"
        + (f" and {plural(more, 'other')}." if more > 0 else "."),
        2,
    )
    yield from _step("language", found.clashes.get("language"))
    common = [label for label, share in figures.languages.items() if share >= SEEN_LANGUAGE]
    if common:
        yield from comment("To keep only the languages that you want, replace the line above by this one:", 2)
        yield f"  # - language: {{keep: [{', '.join(scalar(label) for label in common)}]}}"


def _duplicates(figures: Figures, found: Proposal) -> Iterator[str]:
    repeats = figures.repeats
    yield from comment(
        "The same text again, whatever its case and white space; the first copy stays. In the sample "
        f"{repeats:,} of {len(figures.lengths):,} texts repeat an earlier one ({percent(figures.repeat_share)}); "
        "a whole corpus has more.",
        2,
    )
    yield from _step("exact_duplicates", found.clashes.get("exact_duplicates"))


def _output(found: Proposal, output: str) -> Iterator[str]:
    yield "output:"
    yield from comment("The run's folder: dataset/ to publish, audit/ to keep private.", 2)
    yield f"  path: {scalar(output)}"
    if "language" not in found.clashes and "language.label" not in found.columns:
        yield from comment("Scores that are added to the cleaned records, beside their own columns.", 2)
        yield "  columns: [language.label]"


def _budget(look: Look, figures: Figures) -> Iterator[str]:
    share = figures.unreadable_share
    if not figures.unreadable:
        yield from comment(
            "If more than this share of the records cannot be read, the run still finishes, and ends with exit code 1. "
            "In the sample all could be read."
        )
    else:
        reason, number = next(iter(look.errors.items()))
        yield from comment(
            f"In the sample {figures.unreadable:,} of {look.records:,} records cannot be read ({percent(share)}), "
            f"mostly for this reason: {shown(reason)} ({number:,}). They go to audit/quarantine/. If more than the share "
            "below cannot be read, the run still finishes, and ends with exit code 1. Mend the input to lower it."
        )
    yield f"max_quarantined: {budget(share)}"


def budget(share: float) -> str:
    """The share of unreadable records that is allowed: a tenth of a percent, else twice what was seen, rounded up."""
    if share < MANY_QUARANTINED:
        return f"{MAX_QUARANTINED * 100:g}%"
    return f"{min(100.0, math.ceil(share * 2 * 1000) / 10):g}%"


# --- notes ------------------------------------------------------------------------------------------------------------


def _notes(look: Look, found: Proposal) -> Iterator[str]:
    """What was seen, for the terminal."""
    figures = found.figures
    formats = ", ".join(f"{number:,} {name}" for name, number in look.formats.items())
    read = "" if look.files_read == look.files else f", {look.files_read:,} of them read"
    whole = "all records" if look.whole else "the first records of each"
    yield from _note("files", f"{look.files:,} ({formats}; {human_bytes(look.size)}){read}")
    yield from _note("looked at", f"{look.records:,} records: {whole}")
    columns = [f"{shown(name)} {kind}" for name, kind in look.columns.items()]
    yield from _note("columns", _listed(columns))
    yield from _note("text", f"{shown(found.text)}, chosen {found.why_text}; {percent(figures.empty_share)} empty")
    yield from _note("id", found.why_id)
    yield from _note("characters", _quantiles(figures.chars))
    yield from _note("words", _quantiles(figures.words))
    languages = [f"{label} {percent(share)}" for label, share in figures.languages.items()]
    yield from _note("languages", _listed(languages))
    yield from _note("duplicates", f"{figures.repeats:,} texts repeat an earlier one ({percent(figures.repeat_share)})")
    if figures.unreadable:
        reasons = _listed([f"{shown(reason)} ({number:,})" for reason, number in look.errors.items()], 5)
        yield from _note("unreadable", f"{figures.unreadable:,} ({percent(figures.unreadable_share)}): {reasons}")
    else:
        yield from _note("unreadable", "none")
    for step, column in found.clashes.items():
        yield from _note("left out", f"step {step}: the data have a column {shown(column)!r}, as one of its scores")
    for line in found.remarks:
        yield from _note("note", line)


def _note(name: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        79,
        initial_indent=f"{name:<12}",
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _quantiles(values: Mapping[int, int]) -> str:
    return ", ".join(
        f"{'least' if at == 0 else 'median' if at == 50 else 'most' if at == 100 else f'{at} %'} {value:,}"
        for at, value in values.items()
    )
