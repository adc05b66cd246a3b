"""`curate init`: a commented pipeline for data that nobody has looked at yet.

It looks at a sample (`curate.look`), proposes columns and cautious limits, and writes YAML in which every line says in
plain words why it is there, with the figures that were seen. The YAML is parsed before it is returned.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from curate.console import clean, human_bytes, percent, plural
from curate.errors import UsageError
from curate.init_text import comment, listed, scalar, step_lines, wrapped
from curate.look import (
    SEEN_LANGUAGE,
    Figures,
    Look,
    Sample,
    choose_id,
    id_candidates,
    look_at,
    read_sample,
    shown,
    study,
    unite_columns,
)
from curate.look_records import choose, made_of_trees, other_columns, schema_name
from curate.pieces import What, reads_trees

if TYPE_CHECKING:
    from curate.conversations import Form
    from curate.read import Columns

MIN_CHARS = 20  # the highest lower limit: shorter texts are headings and captions at most
MAX_CHARS = 1_000_000  # the lowest upper limit: a long book
MAX_QUARANTINED = 0.001
FEW = 10_000  # records; below it the audit sample is a tenth


@dataclass(frozen=True)
class Proposal:
    """Everything that the written pipeline says, with the reasons."""

    name: str
    paths: Sequence[str]
    output: str
    what: What  # the text column, or how chat and preference records are read
    why: str
    id: str | None
    why_id: str
    look: Look
    sample: Sample
    figures: Figures
    unreadable: int  # of the sample, with the records that have no id
    clashes: Mapping[str, str] = field(default_factory=dict)  # step -> an input column with the name of its score
    remarks: Sequence[str] = ()

    @property
    def form(self) -> Form | None:
        """How chat and preference records are read; None for texts."""
        return None if isinstance(self.what, str) else self.what

    @property
    def unreadable_share(self) -> float:
        """Of the sample's records."""
        return self.unreadable / self.sample.size


def propose(data: Sequence[str], base: Path) -> tuple[str, list[str]]:
    """Look at data (files, folders, patterns) and return a pipeline's YAML text, and what was seen as lines.

    `base` is the folder that the text will stand in: relative paths are written relative to it. Raises UsageError when
    the data cannot be read, or have neither a text column nor turns of a known schema.
    """
    look = look_at(data, Path.cwd())
    paths = [path_from(path, base) for path in data]
    what, why, remarks = choose(look)
    if reads_trees(what):
        look = made_of_trees(look)
    unite_columns(look, what, None)  # a file without the text column is an error before anything is read
    candidates = id_candidates(look, what)
    sample = read_sample(look, what, candidates)
    if not sample.records.height:
        reasons = ", ".join(shown(reason) for reason in list(sample.errors)[:3])
        raise UsageError(f"none of {plural(sample.size, 'record')} can be read: {reasons or 'the files are empty'}")
    id, why_id, missing = choose_id(look, sample, candidates)
    columns = unite_columns(look, what, id)
    found = Proposal(
        name_of(data[0]), paths, output_folder(data, base), what, why, id, why_id, look, sample, study(sample),
        sample.unreadable + missing, clashes(columns), remarks,
    )  # fmt: skip
    written = "\n".join(_lines(found)) + "\n"
    _check(written, base, found, columns)
    return written, list(_notes(found))


def clashes(columns: Columns) -> dict[str, str]:
    """The proposed steps that cannot run over these columns: a score of theirs has the name of an input column."""
    from curate.filters import ExactDuplicates, Language, Length

    inputs = set(columns.types) - {columns.text, columns.id}
    made: dict[str, Sequence[str]] = {
        "length": list(Length.scores),
        "language": list(Language.scores),
        "exact_duplicates": list(ExactDuplicates.model_validate({}).decides()),
    }
    if columns.form is not None:
        from curate.init_records import score_names

        made |= score_names(columns.form)
    taken = {step: [name for name in scores if name in inputs] for step, scores in made.items()}
    return {step: names[0] for step, names in taken.items() if names}


def _check(written: str, base: Path, found: Proposal, columns: Columns) -> None:
    """Parse what was written, compare it with what was meant and plan its steps; a difference is a defect of ours."""
    from curate.pipeline import Pipeline
    from curate.plan import plan_steps

    pipeline = Pipeline.parse(written, base=base, source="the proposed pipeline")
    given = pipeline.input
    read: tuple[object, ...] = (list(given.paths), given.id, given.text)
    meant: tuple[object, ...] = (list(found.paths), found.id, found.what)
    if found.form is not None:
        read = (*read[:2], given.kind, given.schema, dict(given.columns))
        meant = (*meant[:2], found.form.kind, schema_name(found.form), other_columns(found.form))
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
    for step in _steps(found):
        yield ""
        yield from step
    yield ""
    yield from _output(found)
    yield ""
    yield from _budget(found)
    yield ""
    yield from _audit(sample)


def _steps(found: Proposal) -> Iterator[Iterator[str]]:
    yield _length(found)
    if found.form is None:
        yield _language(found)
        yield _duplicates(found)
        return
    from curate.init_records import steps

    yield _duplicates(found)
    yield from steps(found.form, found)


def _input(found: Proposal) -> Iterator[str]:
    strings = [name for name, kind in found.look.columns.items() if kind == "string" and name != found.what]
    others = f" Other columns of strings: {listed([shown(name) for name in strings])}." if strings else ""
    yield "input:"
    yield from comment("Files, folders or patterns; relative ones start at the folder of this file.", 2)
    yield f"  paths: [{', '.join(scalar(path) for path in found.paths)}]"
    if isinstance(found.what, str):
        yield from comment(f"The column that holds the text, chosen {found.why}.{others}", 2)
        yield f"  text: {scalar(found.what)}"
    else:
        from curate.init_records import input_lines

        yield from input_lines(found.what, found.why)
    if found.id is None:
        yield from comment(f"{found.why_id[0].upper()}{found.why_id[1:]}.", 2)
        yield "  # id: COLUMN"
    else:
        yield from comment(f"The column that names a record; {found.why_id}.", 2)
        yield f"  id: {scalar(found.id)}"


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
    yield from step_lines([f"length: {{min_chars: {low}, max_chars: {high}}}"], "length", found.clashes)


def length_limits(figures: Figures) -> tuple[int, int]:
    """Limits that lose next to nothing: at most what 1 % of the texts fall short of, and far above the longest."""
    return min(MIN_CHARS, max(1, figures.low)), max(MAX_CHARS, round_up(2 * figures.chars[100]))


def round_up(number: int) -> int:
    """The next number of the form 1, 2 or 5 times a power of ten."""
    power: int = 10 ** (len(str(max(1, number))) - 1)
    return next(step * power for step in (1, 2, 5, 10) if step * power >= number)


def _language(found: Proposal) -> Iterator[str]:
    languages = found.figures.languages
    seen = listed([f"{label} {percent(share)}" for label, share in languages.items()])
    yield from comment(f"The language of every text, as a score: without `keep` nothing is dropped. Seen: {seen}.", 2)
    yield from step_lines(["language"], "language", found.clashes)
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
    yield from step_lines(["exact_duplicates"], "exact_duplicates", found.clashes)


def _output(found: Proposal) -> Iterator[str]:
    yield "output:"
    yield from comment("The run's folder: dataset/ to publish, audit/ to keep private.", 2)
    yield f"  path: {scalar(found.output)}"
    added = ["language.label"]
    if found.form is not None:
        from curate.init_records import language_columns

        added = language_columns(found.form)
    if "language" not in found.clashes and not set(added) & found.look.columns.keys():
        yield from comment("Scores that the cleaned records get beside their own columns.", 2)
        yield f"  columns: [{', '.join(added)}]"


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
    formats = ", ".join(f"{number:,} {name}" for name, number in look.formats.items())
    read = "" if len(look.read) == len(look.sources) else f"; {len(look.read):,} of them were read"
    yield from _note("files", f"{formats}, {human_bytes(look.size)}{read}")
    part = "all there are" if sample.whole else "the first ones of each file that was read"
    yield from _note("records", f"{sample.size:,}, {part}")
    yield from _note("columns", listed([f"{shown(name)} ({_kind(kind)})" for name, kind in look.columns.items()]))
    if isinstance(found.what, str):
        yield from _note("text", f"{shown(found.what)}, chosen {found.why}")
    else:
        from curate.init_records import notes

        for name, text in notes(found.what, sample):
            yield from _note(name, text)
    yield from _note("id", found.why_id if found.id is None else f"{shown(found.id)}; {found.why_id}")
    yield from _note("characters", _quantiles(figures.chars))
    yield from _note("words", _quantiles(figures.words))
    yield from _note("empty", f"{figures.blank:,} ({percent(figures.blank / texts)})")
    yield from _note("languages", listed([f"{label} {percent(share)}" for label, share in figures.languages.items()]))
    repeats = f"{figures.repeats:,} repeat an earlier text ({percent(figures.repeats / texts)})"
    yield from _note("duplicates", repeats)
    reasons = [f"{shown(reason)} ({number:,})" for reason, number in sample.errors.items()]
    unreadable = f"{found.unreadable:,} ({percent(found.unreadable_share)}): {listed(reasons, 5) or 'no id'}"
    yield from _note("unreadable", unreadable if found.unreadable else "none")
    for step, column in found.clashes.items():
        yield from _note(
            "left out", f"step {step}: the data have a column {shown(column)}, the name of one of its scores"
        )
    for remark in found.remarks:
        yield from _note("note", remark)


def _kind(kind: str) -> str:
    return shown(kind.removeprefix("polars:"))


def _note(name: str, text: str) -> Iterator[str]:
    yield from wrapped(text, 79, f"{name:<12}", " " * 12)


def _quantiles(values: Mapping[int, int]) -> str:
    names = {0: "least", 50: "median", 100: "most"}
    return ", ".join(f"{names.get(at, f'{at} %')} {value:,}" for at, value in values.items())
