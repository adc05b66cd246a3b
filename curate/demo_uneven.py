"""The second part of the demo: an uneven corpus, a filter that hits one group, a balance step, an audit.

The corpus has few documents in some languages, and many English ones name people by their religion. The pipeline is the
shipped `representative` with two things planted: a word list that holds the names of some religions, as real word lists
hold names of groups, and a target of equal shares. What must come of it is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from curate.demo_corpus import SOURCES, Tally
from curate.demo_text import Draws, languages, normalised, prose, with_paragraph
from curate.swap import bundled, fill

if TYPE_CHECKING:
    from curate.console import Quiet
    from curate.run import Run

PARTS = {"en": 0.58, "es": 0.2, "hi": 0.12, "sw": 0.1}  # of the documents
LEAST = 600  # documents: the audit needs some to be sure
MENTIONS = 0.4  # of the English documents name people by their religion
BUDGET = 0.3  # of the documents; a quarter of it for each language
AXIS = "religion"
BLOCKED = 3  # of the religions are on the planted word list
SITES = 40  # of each source: documents of one site are not independent, which the audit minds
STEP = "blocklist"


@dataclass(frozen=True)
class Uneven:
    """The corpus on disk, and what is known of it."""

    path: Path
    languages: Counter[str]  # documents by language
    blocked: tuple[str, ...]
    budget: int


def write_uneven(folder: Path, documents: int, seed: int) -> Uneven:
    """Write the uneven corpus into `folder/uneven.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    documents = max(LEAST, documents // 2)
    terms = list(bundled().terms[AXIS])
    rows = list(islice(_pages(documents, seed, terms), documents))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "uneven.parquet"
    names = ("id", "text", "source", "url")
    table = pa.table({name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate(names)})
    pq.write_table(table, path, row_group_size=200, compression="zstd")
    budget = round(BUDGET * documents / len(PARTS)) * len(PARTS)
    return Uneven(path, Counter(row[4] for row in rows), tuple(terms[:BLOCKED]), budget)


def _pages(documents: int, seed: int, terms: Sequence[str]) -> Iterator[tuple[str, str, str, str, str]]:
    """Pages without end: id, text, source, url, language; no text twice."""
    seen: set[str] = set()
    number = 0
    while True:
        draws = Draws(seed, "uneven", number)
        code = draws.shared(PARTS, "en")
        text = prose(languages()[code], draws, max_words=150)
        if code == "en" and draws.below(1000) < 1000 * MENTIONS:
            sentences = draws.shuffled(bundled().benign)[: 2 + draws.below(3)]
            term = draws.one(terms)
            text = with_paragraph(text, [fill(sentence, term) for sentence in sentences], draws)
        number += 1
        if normalised(text) in seen:
            continue
        seen.add(normalised(text))
        source = draws.one(SOURCES)
        url = f"https://{source}-{draws.below(SITES)}.example/{code}/{number:06d}"
        yield f"uneven-{len(seen):05d}", text, source, url, code


def run_uneven(uneven: Uneven, output: Path, *, strict: bool = False, watch: Quiet | None = None) -> Run:
    """Balance the uneven corpus into `output` by the shipped pipeline with the planted word list and target.

    What `refusal` has scored there is used again.
    """
    from curate.pipeline import Pipeline

    pipeline = Pipeline.load("representative", overrides=overrides(uneven, strict=strict))
    return pipeline.run([uneven.path.name], output, base=uneven.path.parent, update=True, watch=watch)


def overrides(uneven: Uneven, *, strict: bool) -> list[str]:
    """What the shipped pipeline is told about this corpus."""
    share = 1 / len(PARTS)
    target = ", ".join(f"{code}: {share}" for code in PARTS)
    return [
        "steps.groups.url=url",
        f"steps.{STEP}.words=[{', '.join(uneven.blocked)}]",
        f"steps.balance.target={{language.label: {{{target}}}}}",
        f"steps.balance.budget={uneven.budget} documents",
        "steps.balance.on_infeasible=error",
        f"policy={_policy(strict)}",
    ]


def _policy(strict: bool) -> str:
    result = "fail" if strict else "warn"
    return (
        "[{metric: removal_ratio, by: groups.identity, step: blocklist, at_most: 1.25, owner: the demo, "
        f"reason: a word list must not hit one group, on_failure: {result}}}]"
    )


def compare(uneven: Uneven, run: Run) -> Iterator[Tally]:
    """What was asked of the run, and what came of it."""
    import polars as pl

    kept = run.ledger.filter("kept").group_by("language.label").len().collect()
    found = dict(kept.select("language.label", pl.col("len")).iter_rows())
    whole = uneven.languages.total()
    for code in PARTS:
        before = uneven.languages[code] / whole
        fate = f"balanced from {before:.0%} to {1 / len(PARTS):.0%}"
        yield Tally(f"uneven corpus: {code}", fate, uneven.budget // len(PARTS), int(found.get(code, 0)))
    flagged = [row for row in run.report.data["audit"]["flags"] if row["step"] == STEP and row["group"] == AXIS]
    yield Tally(f"word list that hits {AXIS}", "flagged by the audit", 1, len(flagged))


def refusal(uneven: Uneven, output: Path) -> Tally:
    """A target that the corpus cannot meet is refused before anything is written."""
    from curate.errors import InfeasibleError
    from curate.pipeline import Pipeline

    asked = [*overrides(uneven, strict=False), f"steps.balance.budget={uneven.languages.total()} documents"]
    found = 0
    try:
        pipeline = Pipeline.load("representative", overrides=asked)
        pipeline.run([uneven.path.name], output, base=uneven.path.parent, fresh=True)
    except InfeasibleError:
        found = 1
    return Tally("target beyond the supply", "refused", 1, found)
