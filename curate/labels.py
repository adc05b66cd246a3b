"""Labels for a rule: sheets for people to fill in, and what filled ones say of the rule and of other limits for it.

A label answers one question about one document: should it be removed for this reason? `yes` says that it should. Rows
for estimates are random within strata, those for learning are the ones closest to the limit; the two never mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.agreement import alpha, group_agreement
from curate.calibration import (
    Cells,
    Estimate,
    Scored,
    allocate,
    beyond,
    candidates,
    choose,
    count_cells,
    estimate,
    halves,
    needed_most,
    try_limits,
)
from curate.console import plural
from curate.errors import UsageError
from curate.filter import Limit
from curate.label_design import BANDS, Design, Members, again, chosen_rows, limit_of, make_design
from curate.label_sheet import (
    COLUMNS,
    ESTIMATE,
    LEARN,
    NO,
    TYPES,
    UNSURE,
    YES,
    Sheet,
    check_of,
    read_sheet,
    refuse,
    shorten,
    write_sheet,
)
from curate.label_store import STORE, Added, add, current, read_store, store_of, versions_of
from curate.ledger_rules import LedgerRules

if TYPE_CHECKING:
    from rich.console import Console

    from curate.run import Run

Row = dict[str, Any]

SIZE = 200
CHARS = 2_000  # of a text in a sheet: more is not read, and cells end at 32,767
MOST_ROWS = 100_000
FEW = 10  # labels in each half below which no limit is chosen


@dataclass(frozen=True)
class LabelSheets:
    """The sheets of a sample: rows for estimates and rows for learning, and what the strata are."""

    design: Design
    estimate: pl.DataFrame
    learn: pl.DataFrame
    strata: pl.DataFrame  # stratum, title, documents, sampled
    paths: tuple[Path, ...] = ()

    def to_dict(self) -> Row:
        """What was sampled, without texts."""
        return {
            "task": self.design.task, "design": self.design.name, "by": self.design.by, "seed": self.design.seed,
            "rows": {ESTIMATE: self.estimate.height, LEARN: self.learn.height},
            "files": [str(path) for path in self.paths], "strata": self.strata.to_dicts(),
        }  # fmt: skip


def sample_labels(
    run: Run,
    step: str | None = None,
    *,
    rule: str | None = None,
    by: str | None = None,
    size: int = SIZE,
    hunt: int = 0,
    output: str | Path | None = None,
    format: str = "csv",
    seed: int = 1,
    question: str | None = None,
    guideline: str | None = None,
    chars: int = CHARS,
) -> LabelSheets:
    """Draw documents for people to label, and write the sheets to `output` when one is given.

    `step` is a step or `step.rule`; `by` gives each group its strata; `hunt` rows closest to the limit go to a second
    sheet. The same seed with a larger size has the same rows and more. Texts are the input's, before any edit.
    """
    if not 0 < size <= MOST_ROWS or not 0 <= hunt <= MOST_ROWS:
        raise UsageError(f"a sheet of {size:,} and {hunt:,} rows", hint=f"ask for 1 to {MOST_ROWS:,}")
    design, members = make_design(run, step, rule, by, seed)
    wanted = allocate(design.sizes, design.guesses(), size)
    chosen = chosen_rows(members, wanted)
    asked = question or f"Should this document be removed ({design.task})?"
    make = _SheetMaker(run, design, members, wanted, asked, guideline, chars)
    sheets = LabelSheets(
        design=design,
        estimate=make.rows(np.flatnonzero(chosen)[np.argsort(members.numbers[chosen], kind="stable")], ESTIMATE),
        learn=make.rows(_closest(design, members, chosen, hunt), LEARN),
        strata=_strata(design, wanted),
    )
    if output is None:
        return sheets
    return _written(sheets, Path(output), format)


def _written(sheets: LabelSheets, output: Path, format: str) -> LabelSheets:
    """Write the sheets: to a file of that name and one beside it, or into a folder, as the store of labels is one."""
    if output.suffix not in ("", STORE) and not output.is_dir():
        first = output
        second = output.with_name(f"{output.stem}-{LEARN}{output.suffix}")
    else:
        first, second = (output / f"{sheets.design.task}-{purpose}.{format}" for purpose in (ESTIMATE, LEARN))
    paths = [first]
    write_sheet(sheets.estimate, first)
    if sheets.learn.height:
        write_sheet(sheets.learn, second)
        paths.append(second)
    return replace(sheets, paths=tuple(paths))


def _closest(design: Design, members: Members, chosen: NDArray[np.bool_], hunt: int) -> NDArray[np.int64]:
    """The documents whose scores are closest to the limit, without those of the estimate."""
    if not hunt:
        return np.empty(0, np.int64)
    if design.limit is None:
        raise UsageError(f"{design.task} compares no score with a limit: nothing is close to it", hint="leave --hunt")
    away = np.abs(members.table["score"].to_numpy().astype(np.float64) - design.limit)
    away[chosen | np.isnan(away)] = np.inf
    order = np.lexsort((members.numbers, away))[:hunt]
    return order[np.isfinite(away[order])]


def _strata(design: Design, wanted: Sequence[int]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"stratum": design.code(at), "title": design.title(at), "documents": size, "sampled": wanted[at]}
            for at, size in enumerate(design.sizes)
            if size
        ]
    )


@dataclass(frozen=True)
class _SheetMaker:
    """Makes rows of sheets from documents."""

    run: Run
    design: Design
    members: Members
    wanted: Sequence[int]
    question: str
    guideline: str | None
    chars: int

    def rows(self, places: NDArray[np.int64], purpose: str) -> pl.DataFrame:
        """The rows of some documents, in that order."""
        found = self.members.table[places]
        if not found.height:
            return pl.DataFrame(schema={name: TYPES[name] for name in COLUMNS})
        known = _texts(self.run, found, self.chars)
        made = [
            self._row(id, *known[id], stratum, purpose) for id, stratum in found.select("id", "stratum").iter_rows()
        ]
        return pl.DataFrame(made, schema={name: TYPES[name] for name in COLUMNS})

    def _row(self, id: str, text: str, hashed: str, stratum: int, purpose: str) -> Row:
        documents, sampled = self.design.sizes[stratum], self.wanted[stratum]
        random = purpose == ESTIMATE
        row: Row = dict.fromkeys(COLUMNS)
        row |= {
            "id": id, "text": text, "question": self.question, "purpose": purpose,
            "stratum": self.design.code(stratum), "documents": documents if random else None,
            "sampled": sampled if random else None, "pi": sampled / documents if random else None,
            "text_hash": hashed, "guideline": self.guideline, "design": self.design.to_text(),
        }  # fmt: skip
        return row | {"check": check_of(row)}


def _hex(high: Any, low: Any) -> str:
    """A hash of 128 bits as text that no spreadsheet takes for a number."""
    return f"t{int(high):016x}{int(low):016x}"


# --- what labels say --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """What labels say of a rule: precision and recall with intervals, in all and by group, and of other limits.

    `chosen` is the limit that meets what was asked, chosen on one half of the labels and reported on the other.
    """

    run: str
    task: str
    design: Design
    added: Added
    store: str
    labelled: int  # documents with an answer
    unsure: int  # answers
    unanswered: int  # documents of the sample without an answer
    found: Estimate
    groups: tuple[tuple[str, Estimate], ...]
    raters: Row
    strata: pl.DataFrame  # title, documents, labelled, positive, uncertainty (share of recall's)
    limits: pl.DataFrame  # limit, removed, precision, recall with intervals, is_now
    asked: Row
    chosen: Row | None
    costs: pl.DataFrame  # group, documents, removed_now, removed
    notes: tuple[str, ...]

    def to_dict(self) -> Row:
        """The answer as plain values for JSON."""
        plain: Row = {name: value for name, value in vars(self).items() if not isinstance(value, pl.DataFrame)}
        plain |= {"design": self.design.name, "added": asdict(self.added), "found": self.found.to_dict()}
        plain["groups"] = [{"group": group} | made.to_dict() for group, made in self.groups]
        plain |= {name: getattr(self, name).to_dicts() for name in ("strata", "limits", "costs")}
        return plain | {"notes": list(self.notes)}

    def print(self, console: Console | None = None) -> None:
        """Print the estimates, the agreement, where more labels help most, and the limit to take."""
        from curate.console import console as standard_output
        from curate.labels_print import print_calibration

        print_calibration(self, console or standard_output())


def calibrate_rule(
    run: Run,
    sheets: Sequence[str | Path | pl.DataFrame],
    *,
    store: str | Path | None = None,
    precision: float | None = None,
    miss: float | None = None,
    rater: str | None = None,
    rater_group: str | None = None,
    created_at: str | None = None,
) -> Calibration:
    """Add filled sheets to the label store, and say how well the rule does by all labels of this sample.

    Raises UsageError for sheets of another run, of several samples, with changed design columns or unknown labels.
    """
    for name, value in (("precision", precision), ("miss", miss)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{name} is {value:g}", hint="give a share between 0 and 1")
    read = [
        read_sheet(
            one if isinstance(one, pl.DataFrame) else Path(one),
            rater=rater, rater_group=rater_group, created_at=created_at,
        )
        for one in sheets
    ]  # fmt: skip
    _refuse_one_rater(read)
    design = _design_of(read)
    members = again(run, design)
    _check_rows(read, design, members)
    _check_texts(run, read, members)
    folder = Path(store) if store is not None else store_of(run)
    added = add(folder, read, design.task, design.name, versions_of(run))
    stored = current(read_store(folder)).filter(pl.col("task") == design.task, pl.col("design") == design.name)
    asked = {stratum: sampled for sheet in read for stratum, sampled in sheet.asked.items()}
    answers = _Answers(run, design, members, stored, sum(asked.values()), _limit_now(run, design))
    return answers.calibration(added, folder, precision, miss)


def _refuse_one_rater(sheets: Sequence[Sheet]) -> None:
    """Refuse two sheets in which one rater labels one document: most likely they are two people's."""
    seen: dict[tuple[str, str], str] = {}
    for sheet in sheets:
        own = {(row.rater, row.id): row.where for row in sheet.rows}
        for (rater, id), where in own.items():
            if (rater, id) in seen:
                raise UsageError(
                    f"{where} and {seen[rater, id]} are both by {rater!r} and of {id!r}",
                    hint="fill in the column rater, or give each person's file a name of its own",
                )
        seen |= own


def _limit_now(run: Run, design: Design) -> float | None:
    """The limit of the rule in this run; None where it compares no score."""
    if design.limit is None:
        return None
    found = limit_of(LedgerRules(run), design.step, design.rule)
    if found is None:
        raise UsageError(f"{design.task} has no limit in this run", hint="the labels are of another run")
    return float(found.limit)


def _design_of(sheets: Sequence[Sheet]) -> Design:
    """The one design that all filled rows carry."""
    carried = {row.design: row for sheet in sheets for row in sheet.rows}
    if not carried:
        names = ", ".join(sheet.name for sheet in sheets)
        raise UsageError(f"no row of {names} has a label", hint="fill in the column label: yes, no or unsure")
    if len(carried) > 1:
        wheres = [row.where for row in carried.values()]
        raise UsageError(
            f"{wheres[0]} and {wheres[1]} are of two samples", hint="calibrate the sheets of each sample on their own"
        )
    text, row = next(iter(carried.items()))
    try:
        return Design.from_text(text)
    except ValueError as error:
        raise UsageError(
            f"{row.where}: the column design was changed", hint="take it from the sheet as made"
        ) from error


def _check_rows(sheets: Sequence[Sheet], design: Design, members: Members) -> None:
    """Refuse rows of documents that the sample does not have."""
    table = members.table
    strata = dict(zip(table["id"].to_list(), table["stratum"].to_list(), strict=True))
    problems = []
    for row in (row for sheet in sheets for row in sheet.rows):
        stratum = strata.get(row.id)
        if stratum is None:
            problems.append(f"{row.where}: no document {row.id!r} reaches {design.step} in this run")
        elif row.stratum != design.code(stratum):
            problems.append(
                f"{row.where}: {row.id!r} is in stratum {design.code(stratum)}, the sheet says {row.stratum}"
            )
    if problems:
        refuse(problems)


def _check_texts(run: Run, sheets: Sequence[Sheet], members: Members) -> None:
    """Refuse labels of texts that are not those of this run."""
    labelled = {row.id: row for sheet in sheets for row in sheet.rows}
    known = _texts(run, members.table.filter(pl.col("id").is_in(list(labelled))), 0)
    problems = [
        f"{row.where}: the text of {id!r} is another one in this run"
        for id, row in labelled.items()
        if row.text_hash != known[id][1]
    ]
    if problems:
        refuse(problems)


def _texts(run: Run, documents: pl.DataFrame, chars: int) -> dict[str, tuple[str, str]]:
    """The start of the text of each document as it was read, and the hash of all of it."""
    from curate.audit_run import texts_of
    from curate.kernels.hashing import hash128
    from curate.kernels.utf8 import texts

    known: dict[str, tuple[str, str]] = {}
    for some in texts_of(run, documents.select("id", "file", "row")):
        hashes = hash128(texts(some["text"]))
        for id, text, *halved in zip(some["id"].to_list(), some["text"].to_list(), *hashes, strict=True):
            known[id] = (shorten(text, chars), _hex(*halved))
    return known


@dataclass(frozen=True)
class _Answers:
    """The stored labels of one design, beside the documents that they are of."""

    run: Run
    design: Design
    members: Members
    stored: pl.DataFrame
    asked: int  # documents that the sheets ask about
    now: float | None  # the rule's limit in this run, which may have changed since the sample

    def calibration(self, added: Added, folder: Path, precision: float | None, miss: float | None) -> Calibration:
        """All that the labels say."""
        design, answers = self.design, self._answers()
        cells = self._cells(answers)
        found = estimate(cells)
        limits, chosen, costs = self._limits(answers, precision, miss)
        unanswered = max(0, self.asked - answers.height)
        return Calibration(
            run=str(self.run.root), task=design.task, design=design, added=added, store=str(folder),
            labelled=answers.height, unsure=int((self.stored["label"] == UNSURE).sum()),
            unanswered=unanswered, found=found, groups=self._groups(cells), raters=self._raters(),
            strata=self._strata(cells), limits=limits, asked={"precision": precision, "miss": miss}, chosen=chosen,
            costs=costs, notes=tuple(self._notes(found, unanswered)),
        )  # fmt: skip

    def _answers(self) -> pl.DataFrame:
        """One row for each document with an answer: id, positive (the mean of its raters), stratum, score, removed."""
        said = self.stored.filter(pl.col("purpose") == ESTIMATE, pl.col("label").is_in([YES, NO]))
        per_rater = said.group_by("doc_id", "rater_id").agg((pl.col("label") == YES).mean())
        means = per_rater.group_by("doc_id").agg(pl.col("label").mean().alias("positive"))
        table = self.members.table.with_row_index("place")
        made = means.join(table, left_on="doc_id", right_on="id", how="inner").sort("place")
        return made.with_columns(self._removed(made).alias("removed"))

    def _removed(self, frame: pl.DataFrame) -> pl.Series:
        """What the rule removes, as it is."""
        if self.now is None:
            return frame["failed"].list.contains(self.design.task).fill_null(False)
        gone: pl.Series = beyond(frame["score"], self.design.side, self.now)
        return gone.fill_null(False)

    def _cells(self, answers: pl.DataFrame) -> Cells:
        strata = len(self.design.sizes)
        gone = self._removed(self.members.table).to_numpy()
        place = 2 * self.members.table["stratum"].to_numpy() + gone
        documents = np.bincount(place, minlength=2 * strata).reshape(-1, 2)
        return count_cells(
            documents, answers["stratum"].to_numpy(), answers["removed"].to_numpy(), answers["positive"].to_numpy()
        )

    def _group_of(self) -> NDArray[np.int64]:
        return np.arange(len(self.design.sizes)) // len(BANDS)

    def _groups(self, cells: Cells) -> tuple[tuple[str, Estimate], ...]:
        if self.design.by is None:
            return ()
        of = self._group_of()
        return tuple((group, estimate(cells.some(of == at))) for at, group in enumerate(self.design.groups))

    def _strata(self, cells: Cells) -> pl.DataFrame:
        """Where the labels are, and whose stratum more of them would help most."""
        share = needed_most(cells)
        rows = [
            {
                "stratum": self.design.code(at), "title": self.design.title(at), "documents": size,
                "labelled": int(cells.labelled[at].sum()), "positive": float(cells.positive[at].sum()),
                "uncertainty": float(share[at]),
            }
            for at, size in enumerate(self.design.sizes)
            if size
        ]  # fmt: skip
        return pl.DataFrame(rows)

    def _raters(self) -> Row:
        """How far raters agree on documents that several of them labelled (Krippendorff's alpha, nominal)."""
        said = self.stored.filter(pl.col("label").is_in([YES, NO]))
        several = said.filter(pl.col("rater_id").n_unique().over("doc_id") > 1).sort("doc_id", "rater_id")
        made: Row = {
            "raters": said["rater_id"].n_unique(), "documents": several["doc_id"].n_unique(),
            "alpha": None, "groups": {}, "by_guideline": {},
        }  # fmt: skip
        if not several.height:
            return made
        made["alpha"] = _alpha(several)
        parts = several.with_columns(pl.col("guideline_version").fill_null("")).partition_by(
            "guideline_version", as_dict=True, maintain_order=True
        )
        if len(parts) > 1:
            made["by_guideline"] = {version or "(none)": _alpha(part) for (version,), part in sorted(parts.items())}
        known = several.filter(pl.col("rater_group").is_not_null())
        if known["rater_group"].n_unique() > 1:
            found = group_agreement(known["doc_id"].to_numpy(), _numbers(known), known["rater_group"].to_numpy())
            for group, *values in zip(found.groups, found.inside, found.across, found.association, strict=True):
                names = ("inside", "across", "association")
                made["groups"][str(group)] = dict(zip(names, map(_or_none, values), strict=True))
        return made

    def _notes(self, found: Estimate, unanswered: int) -> list[str]:
        notes = []
        if found.unlabelled:
            notes.append(
                f"{found.unlabelled} strata have no label: their documents widen the intervals and are not in the point"
            )
        if unanswered:
            notes.append(
                f"{plural(unanswered, 'document')} of the sample without yes or no: if they differ from others, the "
                "estimates are off"
            )
        return notes

    # other limits

    def _limits(
        self, answers: pl.DataFrame, precision: float | None, miss: float | None
    ) -> tuple[pl.DataFrame, Row | None, pl.DataFrame]:
        """The table of limits by all labels, and the limit that meets what is asked: chosen and told on two halves."""
        none = pl.DataFrame(), None, pl.DataFrame()
        if self.now is None or not answers.height:
            return none
        scored = self._scored(answers)
        tried = candidates(scored.score, self.now)
        table = pl.DataFrame(
            [_limit_row(trial.limit, trial.found) | {"is_now": trial.limit == self.now}
             for trial in try_limits(scored, tried)]
        )  # fmt: skip
        if precision is None and miss is None:
            return table, None, pl.DataFrame()
        numbers = self.members.numbers[answers["place"].to_numpy()]
        first = halves(numbers, answers["stratum"].to_numpy())
        if min(first.sum(), (~first).sum()) < FEW:
            raise UsageError(
                f"{answers.height} labelled documents are too few to choose a limit on one half and to check it on the "
                "other", hint=f"label {2 * FEW} or more",
            )  # fmt: skip
        made = choose(try_limits(scored, tried, first), precision, miss)
        if made is None:
            return table, {"limit": None, "override": None}, pl.DataFrame()
        told = estimate(scored.cells(made.limit, ~first))
        chosen = _limit_row(made.limit, told) | {"override": self._override(made.limit), "labels": int((~first).sum())}
        met = (precision is None or told.precision.median >= precision) and (
            miss is None or 1 - told.recall.median <= miss
        )
        return table, chosen | {"met": bool(met)}, self._costs(scored, made.limit)

    def _scored(self, answers: pl.DataFrame) -> Scored:
        table, strata = self.members.table, range(len(self.design.sizes))
        known = table.filter(pl.col("score").is_not_null()).sort("stratum", "score")
        stratum, scores = known["stratum"].to_numpy(), known["score"].to_numpy()
        ends = np.searchsorted(stratum, [*strata, len(strata)])
        sizes = np.asarray(self.design.sizes, np.int64)
        return Scored(
            side=self.design.side or "above",
            scores=tuple(scores[ends[at] : ends[at + 1]] for at in strata),
            unscored=sizes - np.diff(ends),
            stratum=answers["stratum"].to_numpy(),
            score=answers["score"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
            positive=answers["positive"].to_numpy(),
        )

    def _costs(self, scored: Scored, limit: float) -> pl.DataFrame:
        """How many documents of each group the limit of now and another one remove, known exactly."""
        assert self.now is not None
        of, now, then = self._group_of(), scored.sizes(self.now), scored.sizes(limit)
        rows = []
        for at, group in enumerate(self.design.groups):
            own = of == at
            rows.append(
                {
                    "group": group or "all", "documents": int(now[own].sum()), "removed_now": int(now[own, 1].sum()),
                    "removed": int(then[own, 1].sum()),
                }
            )  # fmt: skip
        return pl.DataFrame(rows)

    def _override(self, limit: float) -> str | None:
        """What to add to `curate run --update` to take the limit; None where no option of the step is that number."""
        rules = LedgerRules(self.run)
        limit = int(limit) if float(limit).is_integer() else limit
        filter = next(step.filter for step in rules.steps if step.name == self.design.step)
        for option in sorted(filter.thresholds()):
            try:
                made = rules.threshold(f"{self.design.step}.{option}").rules(limit).get(self.design.rule)
            except UsageError:
                continue
            if isinstance(made, Limit) and float(made.limit) == limit:
                return f"steps.{self.design.step}.{option}={limit}"
        return None


def _numbers(said: pl.DataFrame) -> NDArray[np.int64]:
    return (said["label"] == YES).cast(pl.Int64).to_numpy()


def _alpha(said: pl.DataFrame) -> float | None:
    return _or_none(alpha(said["doc_id"].to_numpy(), _numbers(said)))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _limit_row(limit: float, found: Estimate) -> Row:
    row: Row = {"limit": limit, "removed": found.removed}
    for name in ("precision", "recall"):
        share = getattr(found, name)
        row |= {name: share.median, f"{name}_low": share.low, f"{name}_high": share.high}
    return row
