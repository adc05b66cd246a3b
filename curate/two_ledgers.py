"""Two runs' ledgers side by side: documents matched by id, verdicts that differ, scores that differ, drift.

A column is read at a time, texts as numbers, so that memory is some 100 bytes per document of the larger run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.drift import Drift, number_drift, share_drift
from curate.groups import NO_GROUP, group_column, label, refuse_many
from curate.run import Run
from curate.scores import Column, find_scores

Row = dict[str, Any]
Rows = NDArray[np.int64]

PART = 4_000_000  # documents whose ids are matched at a time
EXAMPLES = 3  # ids per change
SEPARATOR = "\x1f"
KEPT = ""  # the verdict that no rule gave
CHANGES = ("newly dropped", "newly kept", "other rule")


class TwoLedgers:
    """Two ledgers, a column at a time: verdicts and groups as numbers, and the rows of documents that both have."""

    def __init__(self, before: Run, now: Run, by: str | None) -> None:
        self.runs = (before, now)
        self.steps = [[step["name"] for step in run.manifest["steps"]] for run in self.runs]
        self.by = by
        verdict = pl.concat_str(["step", "rule"], separator=SEPARATOR).fill_null(KEPT)
        self.verdicts, self.verdict = self._coded([verdict, verdict])
        self.groups, self.group = self._coded([pl.lit("")] * 2 if by is None else self._labels(by))
        self.both = _match(before, now)

    def _labels(self, by: str) -> list[pl.Expr]:
        schemas = [dict(run.ledger.collect_schema()) for run in self.runs]
        return [label(group_column(schema, steps, by)) for schema, steps in zip(schemas, self.steps, strict=True)]

    def _coded(self, columns: Sequence[pl.Expr]) -> tuple[list[str], list[pl.Series]]:
        """Text columns of both ledgers as numbers: places in one sorted list of all values."""
        chosen = [run.ledger.select(value=column) for run, column in zip(self.runs, columns, strict=True)]
        found: set[str] = set()
        for column in chosen:
            found.update(column.unique().collect(engine="streaming")["value"])
        refuse_many(self.by, len(found))
        names = sorted(found)
        kind = pl.Enum(names)
        rows = [run.ledger.select(pl.len()).collect().item() for run in self.runs]
        made = [column.select(pl.col("value").cast(kind).to_physical()).collect()["value"] for column in chosen]
        if len(names) == 1:  # a constant column comes as one row
            made = [pl.repeat(0, size, dtype=pl.UInt32, eager=True) for size in rows]
        return names, [codes.cast(pl.UInt32) for codes in made]

    def _words(self, code: int) -> tuple[str | None, str | None]:
        """Step and rule of a verdict; none of a kept document."""
        step, _, rule = self.verdicts[code].partition(SEPARATOR)
        return step or None, rule or None

    def _group_name(self, code: int) -> str | None:
        return None if self.by is None else self.groups[code]

    def _version(self, side: int, step: str | None) -> str | None:
        version = self.runs[side].manifest["identity"]["filters"].get(step)
        return None if version is None else str(version)[:24]

    def counts(self) -> Row:
        """Documents of both runs and of one, and how many of both changed sides."""
        pairs = self.pairs
        kept = _code(self.verdicts, KEPT)
        before, now, documents = pl.col("before"), pl.col("now"), pl.col("documents").sum()
        return {
            "before": len(self.verdict[0]),
            "now": len(self.verdict[1]),
            "both": len(self.both[0]),
            "only_before": len(self.verdict[0]) - len(self.both[0]),
            "only_now": len(self.verdict[1]) - len(self.both[1]),
            "kept_before": int((self.verdict[0] == kept).sum()),
            "kept_now": int((self.verdict[1] == kept).sum()),
            "newly_dropped": pairs.filter((before == kept) & (now != kept)).select(documents).item(),
            "newly_kept": pairs.filter((before != kept) & (now == kept)).select(documents).item(),
            "other_rule": pairs.filter((before != kept) & (now != kept) & (before != now)).select(documents).item(),
        }

    @functools.cached_property
    def pairs(self) -> pl.DataFrame:
        """The documents of both runs, counted by verdict before, verdict now and group now."""
        sizes = self.runs[1].ledger.select("bytes").collect()["bytes"].gather(self.both[1])
        counted = self._matched().with_columns(sizes).group_by("before", "now", "group")
        return counted.agg(pl.len().cast(pl.Int64).alias("documents"), pl.col("bytes").sum())

    def _matched(self) -> pl.DataFrame:
        """Verdicts, group and row now of the documents of both runs; the group before where there is none now."""
        before, now = self.both
        groups = [codes.gather(rows) for codes, rows in zip(self.group, self.both, strict=True)]
        frame = pl.DataFrame({"before": self.verdict[0].gather(before), "now": self.verdict[1].gather(now), "row": now})
        none = _code(self.groups, NO_GROUP)
        return frame.with_columns(group=pl.when(groups[1] != none).then(groups[1]).otherwise(groups[0]))

    def changed(self) -> pl.DataFrame:
        """The documents of both runs whose verdict differs, the most frequent changes first."""
        examples = self._examples()
        rows: list[Row] = []
        for before, now, group, documents, size in self.pairs.filter(pl.col("before") != pl.col("now")).iter_rows():
            (step_before, rule_before), (step_now, rule_now) = self._words(before), self._words(now)
            change = CHANGES[0] if step_before is None else CHANGES[1] if step_now is None else CHANGES[2]
            decided = step_now or step_before
            row: Row = {"change": change, "before_step": step_before, "before_rule": rule_before}
            row |= {"now_step": step_now, "now_rule": rule_now, "group": self._group_name(group)}
            row |= {"documents": documents, "bytes": size, "examples": examples[before, now, group]}
            row |= {"before_version": self._version(0, decided), "now_version": self._version(1, decided)}
            rows.append(row)
        words = ("change", "before_step", "before_rule", "now_step", "now_rule", "group")
        schema: dict[str, Any] = dict.fromkeys(words, pl.String) | {"documents": pl.Int64, "bytes": pl.Int64}
        schema |= {"examples": pl.List(pl.String), "before_version": pl.String, "now_version": pl.String}
        order = ["documents", *words]
        return pl.DataFrame(rows, schema=schema).sort(order, descending=[True, *[False] * len(words)])

    def _examples(self) -> dict[tuple[int, int, int], list[str]]:
        """The first ids of each change, in input order."""
        some = (
            self._matched()
            .filter(pl.col("before") != pl.col("now"))
            .group_by("before", "now", "group")
            .agg(pl.col("row").sort().head(EXAMPLES))
        )
        ids = _ids(self.runs[1], some.explode("row")["row"])
        return {(one, other, group): [ids[row] for row in rows] for one, other, group, rows in some.iter_rows()}

    def only(self) -> pl.DataFrame:
        """The documents that one of the runs has not, by verdict and group."""
        frames = []
        for side, name in enumerate(("before", "now")):
            alone = np.ones(len(self.verdict[side]), bool)
            alone[self.both[side]] = False
            rows = np.flatnonzero(alone)
            verdicts, groups = self.verdict[side].gather(rows), self.group[side].gather(rows)
            frame = pl.DataFrame({"verdict": verdicts, "group": groups, "row": rows})
            counted = frame.group_by("verdict", "group").agg(
                pl.len().cast(pl.Int64).alias("documents"), pl.col("row").sort().head(EXAMPLES)
            )
            ids = _ids(self.runs[side], counted.explode("row")["row"].drop_nulls())
            for verdict, group, documents, some in counted.iter_rows():
                step, rule = self._words(verdict)
                row: Row = {"run": name, "kept": step is None, "step": step, "rule": rule}
                row |= {"group": self._group_name(group), "documents": documents}
                frames.append(row | {"examples": [ids[row] for row in some]})
        schema = {"run": pl.String, "kept": pl.Boolean, "step": pl.String, "rule": pl.String, "group": pl.String}
        made = pl.DataFrame(frames, schema=schema | {"documents": pl.Int64, "examples": pl.List(pl.String)})
        return made.sort("run", "documents", "step", "rule", "group", descending=[False, True, False, False, False])

    # scores

    def _columns(self) -> list[Column]:
        """The scores that both ledgers have, of the same kind."""
        first, second = (
            {score.name: score for score in find_scores(run.ledger.collect_schema(), steps)}
            for run, steps in zip(self.runs, self.steps, strict=True)
        )
        return [second[name] for name, score in first.items() if name in second and second[name].kind == score.kind]

    def scores(self) -> pl.DataFrame:
        """How many documents of both runs have another score, and how far numbers are apart at most."""
        rows = []
        for score in self._columns():
            if score.kind == "other" or score.step is None:
                continue
            before, now = (
                run.ledger.select(score.name).collect()[score.name].gather(rows)
                for run, rows in zip(self.runs, self.both, strict=True)
            )
            known = before.is_not_null() & now.is_not_null()
            other = known & before.ne_missing(now)
            largest = None
            if score.kind == "number" and other.any():
                largest = _largest(before.filter(other), now.filter(other))
            rows.append(
                {"score": score.name, "compared": int(known.sum()), "different": int(other.sum()), "largest": largest}
            )
        schema = {"score": pl.String, "compared": pl.Int64, "different": pl.Int64, "largest": pl.Float64}
        return pl.DataFrame(rows, schema=schema)

    # drift

    def drifts(self) -> Iterator[Drift]:
        """The drift of verdicts, groups and scores; each over the documents that have them.

        Not of scores that are lists: the turns of one record are not independent, so that chance is not what it seems.
        """
        found: list[Drift | None] = [share_drift("verdict", *(self._deciders(side) for side in (0, 1)))]
        if self.by is not None:
            found.append(share_drift(f"{self.by}, all", *(self._shares(side, kept=False) for side in (0, 1))))
            found.append(share_drift(f"{self.by}, kept", *(self._shares(side, kept=True) for side in (0, 1))))
        yield from (drift for drift in found if drift is not None)
        for score in self._columns():
            if score.kind == "other" or score.several:
                continue
            drift = self._score_drift(score)
            if drift is not None:
                yield drift

    def _deciders(self, side: int) -> dict[str, int]:
        """Documents by the step that dropped them, or kept."""
        counted: dict[str, int] = {}
        for code, documents in self.verdict[side].value_counts().iter_rows():
            name = self._words(code)[0] or "kept"
            counted[name] = counted.get(name, 0) + documents
        return dict(sorted(counted.items()))

    def _shares(self, side: int, *, kept: bool) -> dict[str, int]:
        codes = self.group[side]
        if kept:
            codes = codes.filter(self.verdict[side] == _code(self.verdicts, KEPT))
        return dict(sorted((self.groups[code], documents) for code, documents in codes.value_counts().iter_rows()))

    def _reached(self, side: int, step: str | None) -> pl.Series:
        """Which documents got as far as a step."""
        if step is None or step not in self.steps[side]:
            return pl.Series([True]).new_from_index(0, len(self.verdict[side]))
        at = self.steps[side].index(step)
        far = [code for code in range(len(self.verdicts)) if (self._words(code)[0] or step) in self.steps[side][at:]]
        return self.verdict[side].is_in(far)

    def _score_drift(self, score: Column) -> Drift | None:
        sides: list[Any] = []
        for side, run in enumerate(self.runs):
            reached = self._reached(side, score.step)
            if score.kind == "number":
                values = run.ledger.select(pl.col(score.name).cast(pl.Float64)).collect()[score.name].filter(reached)
                sides.append(values.filter(values.is_finite().fill_null(False)).to_numpy())
            else:
                labels = run.ledger.select(label(score.name).alias("value")).collect()["value"].filter(reached)
                sides.append(dict(sorted(labels.value_counts().iter_rows())))
        return (number_drift if score.kind == "number" else share_drift)(score.name, *sides)


def _code(names: Sequence[str], name: str) -> int:
    """The place of a name; one that no row has where it is not there."""
    return names.index(name) if name in names else len(names)


def _largest(before: pl.Series, now: pl.Series) -> Any:
    """How far numbers are apart at most; of lists their items, where there are as many on both sides."""
    if isinstance(before.dtype, pl.List):
        same = before.list.len() == now.list.len()
        before, now = before.filter(same).explode(), now.filter(same).explode()
    return (before.cast(pl.Float64) - now.cast(pl.Float64)).abs().max()


def _match(before: Run, now: Run) -> tuple[Rows, Rows]:
    """The rows in both ledgers of the ids that are in both, in the order of the first."""
    size = max(run.counts["read"] for run in (before, now))
    parts = max(1, -(-size // PART))
    found = []
    for part in range(parts):
        here = pl.col("id").hash() % parts == part
        sides = [run.ledger.select("id").with_row_index(name).filter(here) for run, name in ((before, "a"), (now, "b"))]
        found.append(sides[0].join(sides[1], on="id").select("a", "b").collect(engine="streaming"))
    rows = pl.concat(found).cast(pl.Int64).sort("a")
    return rows["a"].to_numpy(), rows["b"].to_numpy()


def _ids(run: Run, rows: pl.Series) -> dict[int, str]:
    """The ids of some rows of a ledger."""
    here = pl.col("row").is_in(rows.cast(pl.UInt32).implode())
    found = run.ledger.select("id").with_row_index("row").filter(here).collect(engine="streaming")
    return dict(found.select("row", "id").iter_rows())
