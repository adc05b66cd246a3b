"""The third part of the demo: preference records with planted faults, checked and set against what was planted.

Each record asks for a short text, some after a first answer, and holds two answers as transcripts. Nearly always the
longer answer is the chosen one, which a reward model could learn instead of the preference. What must come of it all is
known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curate.demo_corpus import CLEAN, KEPT, Tally
from curate.demo_text import Draws, languages, prose
from curate.transcripts import write
from curate.turns import ASSISTANT, USER

if TYPE_CHECKING:
    from curate.console import Quiet
    from curate.run import Run

LEAST = 100  # ordinary records: below so many pairs the report looks for no shortcut
PART = 0.05  # of the documents of the demo
TESTS = 5  # every fifth ordinary record is of the test split
LONGER = 0.9  # of the ordinary records have the longer answer as the chosen one
FILE, PIPELINE = "pairs.jsonl", "pairs.yaml"

STEPS = """\
name: pairs
input: {paths: [pairs.jsonl], kind: preference, schema: hh}
steps:
  - chat_checks                         # turns: empty answers, markers of chat templates
  - preference_checks:                  # pairs: the same answer twice, other prompts, contradictions
      swapped_labels: drop
      preference_cycle: drop
  - near_duplicates:                    # prompts of the test split that the train split has, too
      ngram: 3
      between: split
      keep: [{split: [test, train]}]
    on: prompt
output: {path: pairs/}
"""

FORMS = ("a page of a diary", "a letter to a friend", "a notice for the board", "a piece for the local paper",
         "a few lines for a calendar", "a report for the town council", "a postcard",
         "a story for the school")  # fmt: skip
PLACES = ("the village where my aunt lives", "a street near the harbour", "the school at the end of our road",
          "a kitchen with too many guests", "the garden behind the library", "a station with one platform",
          "the market on the first day of spring", "a workshop full of old tools")  # fmt: skip
WISHES = ("with short sentences and no hard words", "that I can read aloud in two or three minutes",
          "in the voice of somebody who is never in a hurry", "for readers who have never been there",
          "without a moral at the end of it", "that would make my grandmother smile",
          "as if it had happened forty years ago", "so that a child of nine understands it")  # fmt: skip
OPENINGS = ("Could you write", "Please write me", "I need", "Would you draft", "Can you put together", "Help me write")
AGAIN = ("Nice. Another one, please, and this time {wish}.", "Thank you, but I would like it {wish}.",
         "Can I have a second version {wish}?", "Good, now the same {wish}.")  # fmt: skip
ALIKE: tuple[Callable[[str], str], ...] = (str, str.lower, lambda text: text.replace(" ", "  "))
NEARLY: tuple[Callable[[str], str], ...] = (str, str.lower, lambda text: f"Hello! {text}")
INSIDE = ("<|im_end|>\n<|im_start|>user\n", " [/INST] ", "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n")
AT_END = ("<|im_end|>", " </s>", "<|eot_id|>", "<|endoftext|>")


# --- records ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """A preference record: what was said before, the two answers, and which kind of fault it is (None: ordinary)."""

    prompt: tuple[str, ...]  # user and assistant in turn
    chosen: str
    rejected: str
    split: str = "train"
    kind: str | None = None
    other: tuple[str, ...] | None = None  # what was said before the rejected answer, where that is not the same

    def line(self, id: str) -> bytes:
        """The record as a line of JSON."""
        said = {"chosen": (*self.prompt, self.chosen), "rejected": (*(self.other or self.prompt), self.rejected)}
        sides = {side: write(list(zip((USER, ASSISTANT) * len(turns), turns, strict=False)), side)
                 for side, turns in said.items()}  # fmt: skip
        return json.dumps({"id": id, **sides, "split": self.split}, ensure_ascii=False).encode() + b"\n"


Plant = Callable[[Draws, Sequence[Pair]], Iterator[Pair]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: its name in the table, the step and rule that should drop it, and what plants one."""

    name: str
    step: str
    rule: str | None
    plant: Plant
    share: float

    @property
    def label(self) -> str:
        """Its name in the table of the demo."""
        return f"pair: {self.name}"


KINDS: list[Kind] = []


def fault(name: str, *, by: str, rule: str | None = None, share: float = 0.05) -> Callable[[Plant], Plant]:
    """Add a kind of fault: `by` is the step that drops it, or `kept`; the share is of the ordinary records."""

    def add(plant: Plant) -> Plant:
        KINDS.append(Kind(name, by, rule, plant, share))
        return plant

    return add


def answer(draws: Draws) -> str:
    """A short English text."""
    return prose(languages()["en"], draws, max_words=120)


def prompt(draws: Draws) -> tuple[str, ...]:
    """A request; every second one follows on an earlier request and its answer."""
    first = ". ".join(answer(draws).replace("\n\n", " ").split(". ")[:2])  # so that no two prompts are much alike
    asked = f"{draws.one(OPENINGS)} {draws.one(FORMS)} about {draws.one(PLACES)}, {draws.one(WISHES)}. Begin: {first}."
    if draws.below(2) == 0:
        return (asked,)
    return (asked, answer(draws), draws.one(AGAIN).format(wish=draws.one(WISHES)))


def pair(draws: Draws, before: tuple[str, ...] | None = None) -> Pair:
    """An ordinary record, whose longer answer is nearly always the chosen one."""
    before = before or prompt(draws)
    one, two = sorted((answer(draws), answer(draws)), key=len)
    if draws.below(1000) < 1000 * LONGER:
        one, two = two, one
    return Pair(before, one, two)


@fault("identical responses", by="preference_checks", rule="identical_responses")
def identical_responses(draws: Draws, clean: Sequence[Pair]) -> Iterator[Pair]:
    """The same answer twice: word for word, in lower case, or with other white space."""
    one = pair(draws)
    yield replace(one, rejected=draws.one(ALIKE)(one.chosen))


@fault("swapped labels", by="preference_checks", rule="swapped_labels", share=0.03)
def swapped_labels(draws: Draws, clean: Sequence[Pair]) -> Iterator[Pair]:
    """Two records that say the opposite of each other."""
    one = pair(draws)
    yield one
    yield replace(one, chosen=one.rejected, rejected=one.chosen)


@fault("circle of preferences", by="preference_checks", rule="preference_cycle", share=0.02)
def circle(draws: Draws, clean: Sequence[Pair]) -> Iterator[Pair]:
    """Three records of one prompt: the first answer over the second, that over the third, that over the first."""
    before, answers = prompt(draws), [answer(draws) for _ in range(3)]
    for number in range(3):
        yield Pair(before, answers[number], answers[(number + 1) % 3])


@fault("prompts that differ", by="preference_checks", rule="prompts_differ")
def prompts_differ(draws: Draws, clean: Sequence[Pair]) -> Iterator[Pair]:
    """The two answers reply to different requests."""
    yield replace(pair(draws), other=prompt(draws))


@fault("empty response", by="chat_checks", rule="empty_response", share=0.04)
def empty_response(draws: Draws, clean: Sequence[Pair]) -> Iterator[Pair]:
    """One of the answers says nothing."""
    one = pair(draws)
    yield replace(one, chosen="") if draws.below(2) else replace(one, rejected=" ")


@fault("marker inside a turn", by="chat_checks", rule="leaked_markers")
def marker_inside(draws: Draws, clean: Sequence[Pair]) -> Iterator[Pair]:
    """A marker of a chat template in the middle of an answer."""
    one = pair(draws)
    yield replace(one, chosen=f"{one.chosen}{draws.one(INSIDE)}{answer(draws)}")


@fault("marker at an end", by="chat_checks")
def marker_at_end(draws: Draws, clean: Sequence[Pair]) -> Iterator[Pair]:
    """A marker of a chat template at the end of an answer, which is cut off; the record stays."""
    one = pair(draws)
    yield replace(one, rejected=one.rejected + draws.one(AT_END))


@fault("test prompt in train", by="near_duplicates", rule="near_duplicate", share=0.08)
def leaked_prompt(draws: Draws, clean: Sequence[Pair]) -> Iterator[Pair]:
    """The prompt of a record of the test split, nearly as it was, with new answers in the train split."""
    before = draws.one([one for one in clean if one.split == "test"]).prompt
    change = draws.one(NEARLY)
    yield pair(draws, tuple(change(text) for text in before))


@fault("same prompt, new answers", by=KEPT)
def new_answers(draws: Draws, clean: Sequence[Pair]) -> Iterator[Pair]:
    """The prompt of another record of the same split with new answers: no fault."""
    one = draws.one(clean)
    yield replace(pair(draws, one.prompt), split=one.split)


# --- the set on disk, and the run over it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """The records on disk, and what is known of them."""

    path: Path
    kinds: tuple[str | None, ...]  # of each record in order; None is an ordinary one

    def rows(self, kind: str | None) -> list[int]:
        """The places of the records of a kind."""
        return [row for row, own in enumerate(self.kinds) if own == kind]


def write_pairs(folder: Path, documents: int, seed: int) -> Pairs:
    """Write the preference set and its pipeline into the folder: about 150 records for 2,000 documents."""
    clean = _ordinary(max(LEAST, round(PART * documents)), seed)
    placed = [(number, one) for number, one in enumerate(clean)]
    for kind in KINDS:
        for number in range(max(2, round(kind.share * len(clean)))):
            draws = Draws(seed, "pairs", kind.name, number)
            for one in kind.plant(draws, clean):
                placed.append((draws.below(len(clean)), replace(one, kind=kind.name)))
    records = [one for _, one in sorted(placed, key=lambda entry: entry[0])]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_bytes(b"".join(one.line(f"pair-{row:04d}") for row, one in enumerate(records)))
    (folder / PIPELINE).write_text(STEPS, "utf-8")
    return Pairs(path, tuple(one.kind for one in records))


def _ordinary(size: int, seed: int) -> list[Pair]:
    """So many ordinary records, no prompt twice."""
    seen: dict[tuple[str, ...], Pair] = {}
    attempt = 0
    while len(seen) < size:
        one = pair(Draws(seed, "pairs", attempt))
        seen.setdefault(one.prompt, replace(one, split="train" if len(seen) % TESTS else "test"))
        attempt += 1
    return list(seen.values())


def run_pairs(pairs: Pairs, *, watch: Quiet | None = None) -> Run:
    """Check the preference set by the pipeline beside it; an earlier run is replaced."""
    from curate.pipeline import Pipeline

    return Pipeline.load(pairs.path.parent / PIPELINE).run(fresh=True, watch=watch)


def compare_pairs(pairs: Pairs, run: Run) -> Iterator[Tally]:
    """What was planted, and how much of it met its fate: the step and the rule that should drop it, or kept."""
    columns = ("row", "step", "rule", "chat_checks.mended")
    fates = {row: fate for row, *fate in run.ledger.select(columns).collect().iter_rows()}
    for kind in KINDS:
        rows = pairs.rows(kind.name)
        if kind.rule is not None:
            found = sum(fates.get(row, ())[:2] == [kind.step, kind.rule] for row in rows)
            yield Tally(kind.label, kind.step, len(rows), found)
        elif kind.step == KEPT:
            yield Tally(kind.label, KEPT, len(rows), sum(_kept(fates.get(row)) for row in rows))
        else:
            found = sum(_kept(fates.get(row)) and fates[row][2] == 1 for row in rows)
            yield Tally(kind.label, f"mended by {kind.step}", len(rows), found)
    ordinary = pairs.rows(None)
    yield Tally(f"pair: {CLEAN.replace('document', 'record')}", KEPT, len(ordinary),
                sum(_kept(fates.get(row)) for row in ordinary))  # fmt: skip
    yield Tally("pairs: the longer one wins", "warned of in the report", 1, int(_warned(run)))


def _warned(run: Run) -> bool:
    """Whether the report warns that the surface of the kept pairs tells chosen from rejected, and not by chance."""
    from curate.filters.preference_tables import WARN

    (table,) = [table for table in run.report.data["tables"] if table["name"] == "bias"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    (row,) = [row for row in rows if row["of"] == "kept" and row["measure"].startswith("shortcut AUC")]
    return str(row["note"]).startswith("warning") and row["low"] > WARN


def _kept(fate: Sequence[str | int | None] | None) -> bool:
    return fate is not None and fate[0] is None
