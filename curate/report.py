"""The report of a run: what came in, what went out, by which rule, at what score, and what needs attention.

All numbers come from the manifest (counts, work, promises) and the ledger (rules, scores), never from a text.
`Report.to_dict()` is `audit/report.json`; the HTML page and the terminal tables are drawn from it alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.console import percent, plural
from curate.errors import LACKING
from curate.policy import attention as broken_clauses
from curate.representation import attention as unmet
from curate.representation import representation
from curate.scores import distributions, is_judged

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

Row = dict[str, Any]

MAX_TABLE_ROWS = 200
MAX_FILES = 100
MAX_ERRORS = 50
MAX_PLACES = 3
MAX_FLAGS = 3
LARGE_LOSS = 0.5  # a step that drops more than this share of what it saw is named under "needs attention"
MAX_ERROR_CHARS = 100
UNWRITTEN = r"^(cannot be written: schema [^:'\"\r\n]*?), got "
WARNING = "warning: "


@dataclass(frozen=True)
class Report:
    """The numbers of one run, JSON-ready; rich HTML in a notebook.

    `data` has `name`, `finished`, `seconds`, `exit_code`, `counts`, `bytes`, `attention`, `promises`, `representation`,
    `policy`, `audit`, `steps`, `rules`, `sample`, `scores`, `quarantine`, `tables`, `work` and `reproduce`. Shares are
    fractions of one, or null for 0/0.
    """

    data: dict[str, Any]

    @classmethod
    def build(
        cls,
        root: Path,
        manifest: Mapping[str, Any],
        ledger: pl.LazyFrame,
        tables: Mapping[str, Mapping[str, pl.DataFrame]],
        audited: Mapping[str, Any] | None = None,
    ) -> Report:
        """Compute the report of a finished run; memory stays bounded however long the ledger is."""
        steps = [step["name"] for step in manifest["steps"]]
        limits = manifest.get("limits", [])
        seconds = manifest.get("seconds", {})
        counts = _counts(manifest["counts"])
        sample = _sample(ledger)
        scores = distributions(ledger, steps, limits)
        quarantine = _quarantine(root / "audit" / "quarantine")
        funnel = _funnel(manifest, quarantine["by_step"])
        promises = [dict(promise) for promise in manifest.get("promises", [])]
        exit_code = int(manifest.get("exit_code", 0))
        represented = representation(tables, {step["name"]: step["filter"] for step in manifest["steps"]})
        policy = [dict(row) for row in manifest.get("policy", [])]
        look = [*broken_clauses(policy), *unmet(represented), *_flagged(audited)]
        return cls(
            {
                "name": str(manifest["name"]),
                "finished": str(manifest.get("finished", "")),
                "seconds": dict(seconds) if isinstance(seconds, Mapping) else {"total": float(seconds)},
                "exit_code": exit_code,
                "counts": counts,
                "bytes": _shares(dict(manifest["bytes"]), "read", "kept"),
                "attention": _attention(counts, funnel, scores, promises, exit_code, sample, look, _warnings(tables)),
                "promises": promises,
                "representation": represented,
                "policy": policy,
                "audit": None if audited is None else dict(audited),
                "steps": funnel,
                "rules": _rules(manifest["counts"]["by_step"], limits, _broken(ledger), _alone(ledger), sample),
                "sample": sample,
                "scores": scores,
                "quarantine": quarantine,
                "tables": [_table(step, name, table) for step, made in tables.items() for name, table in made.items()],
                "work": [_work(row) for row in manifest.get("work", [])],
                "reproduce": _reproduce(manifest),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values that any JSON writer takes: `audit/report.json`."""
        return self.data

    def html(self) -> str:
        """The report as one self-contained HTML page without scripts or network access."""
        from curate.html import render

        return render(self.data)

    def save(self, path: str | Path) -> None:
        """Write the report to a file: JSON when its name ends in `.json`, else HTML."""
        target = Path(path)
        if target.suffix == ".json":
            text = json.dumps(self.data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        else:
            text = self.html()
        target.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")

    def print(self, console: Console | None = None) -> None:
        """Print the report as compact tables, by default to standard output."""
        from curate.console import console as standard_output
        from curate.console import print_report

        print_report(self, console or standard_output())

    def _repr_html_(self) -> str:
        from curate.html import frame

        return frame(self.html())


def _flagged(audited: Mapping[str, Any] | None) -> list[str]:
    """What the audit points at, the largest difference first."""
    flags = [] if audited is None else audited["flags"]
    said = [f"Audit: {row['text']}" for row in flags[:MAX_FLAGS]]
    return [*said, *([f"Audit: {len(flags) - MAX_FLAGS} more rows are flagged."] if len(flags) > MAX_FLAGS else [])]


# --- counts and the funnel --------------------------------------------------------------------------------------------


def share(part: float, whole: float) -> float | None:
    """A fraction of one, or None where the whole is 0."""
    return part / whole if whole else None


def _shares(row: Row, of: str, *parts: str) -> Row:
    return row | {f"{part}_share": share(row[part], row[of]) for part in parts}


def _counts(counts: Mapping[str, Any]) -> Row:
    row = {name: int(counts[name]) for name in ("read", "kept", "dropped", "quarantined")}
    return _shares(row, "read", "kept", "dropped", "quarantined")


def _funnel(manifest: Mapping[str, Any], quarantined: Mapping[str, int]) -> list[Row]:
    filters = {step["name"]: step["filter"] for step in manifest["steps"]}
    read = manifest["counts"]["read"]
    rows = []
    for step in manifest["counts"]["by_step"]:
        name, seen, dropped = step["step"], int(step["seen"]), int(step["dropped"])
        faults = quarantined.get(name, 0)
        row: Row = {"step": name, "filter": filters.get(name, ""), "seen": seen, "dropped": dropped}
        row |= {"quarantined": faults, "passed": seen - dropped - faults}
        row |= {"passed_share": share(row["passed"], seen), "dropped_share": share(dropped, seen)}
        rows.append(row | {"seen_of_read": share(seen, read)})
    return rows


def _work(row: Mapping[str, Any]) -> Row:
    return {**row, "per_second": share(row["scored"], row["seconds"])}


# --- rules ------------------------------------------------------------------------------------------------------------


def _sample(ledger: pl.LazyFrame) -> Row:
    """Rows of the ledger, kept rows, and rows of the audit sample."""
    import polars as pl

    kept, sampled = (pl.col(name).sum().cast(pl.Int64) for name in ("kept", "sampled"))
    row = ledger.select(pl.len().alias("ledger"), kept, sampled).collect(engine="streaming").row(0, named=True)
    return {"documents": row["sampled"], "of": row["ledger"], "kept": row["kept"]}


def _broken(ledger: pl.LazyFrame) -> dict[tuple[str, str], int]:
    """Documents by (step that dropped them, rule of that step that they break).

    A document breaks a rule of a step that judged it only where that step dropped it; what the audit sample says of
    later steps is left out here, so that `total` never exceeds what the step saw.
    """
    import polars as pl

    found = (
        ledger.filter(~pl.col("kept"))
        .select("step", "failed")
        .explode("failed")
        .group_by("step", "failed")
        .len()
        .collect(engine="streaming")
    )
    return {
        (step, failed.removeprefix(f"{step}.")): documents
        for step, failed, documents in found.iter_rows()
        if step is not None and failed is not None and failed.startswith(f"{step}.")
    }


def _alone(ledger: pl.LazyFrame) -> dict[str, int]:
    """Documents of the audit sample that break exactly one rule, by `step.rule`.

    Only there is every per-document step asked about every document; corpus-wide steps judge what reaches them.
    """
    import polars as pl

    only = ledger.filter(pl.col("sampled") & (pl.col("failed").list.len() == 1)).select(
        pl.col("failed").list.first().alias("rule")
    )
    return dict(only.group_by("rule").len().collect(engine="streaming").iter_rows())


def _rules(
    by_step: Sequence[Mapping[str, Any]],
    limits: Sequence[Mapping[str, Any]],
    broken: Mapping[tuple[str, str], int],
    alone: Mapping[str, int],
    sample: Row,
) -> list[Row]:
    """One row per rule in the order of the steps, within a step the rule that decided most often first."""
    carried = {(limit["step"], limit["rule"]): limit for limit in limits}
    rows: list[Row] = []
    for step in by_step:
        name, first = step["step"], step["rules"]
        of_step = dict.fromkeys((*first, *(rule for at, rule in (*carried, *broken) if at == name)))
        named = sorted(of_step, key=lambda rule: -first.get(rule, 0))
        for rule in named:
            limit = carried.get((name, rule))
            row: Row = {"step": name, "rule": rule, "first": int(first.get(rule, 0))}
            row |= {"total": broken.get((name, rule), 0)} | _estimate(alone.get(f"{name}.{rule}", 0), sample)
            number = None if limit is None else float(limit["limit"])
            rows.append(
                row
                | {
                    "limit": number if number is None or math.isfinite(number) else str(number),
                    "side": None if limit is None else limit["side"],
                    "score": None if limit is None else limit["score"],
                }
            )
    return rows


def _estimate(alone: int, sample: Row) -> Row:
    """Sampled documents that break this rule and no other, and the 95 % interval of that over the ledger."""
    from curate.stats import wilson_ends

    size, documents = sample["documents"], sample["of"]
    if not size:
        return dict.fromkeys(("alone", "alone_estimate", "alone_low", "alone_high"))
    low, high = (alone / size, alone / size) if size == documents else wilson_ends(alone, size)
    estimate = {"alone_estimate": alone / size, "alone_low": low, "alone_high": high}
    return {"alone": alone} | {name: round(value * documents) for name, value in estimate.items()}


# --- quarantine -------------------------------------------------------------------------------------------------------


def _quarantine(folder: Path) -> Row:
    """Quarantined records by step and kind of error, with the places of a few.

    The kind is the error's first line up to its first colon, numbers as N: what follows may quote a document. What
    records of turns lack (`FormError`) never does, and is told whole; in what could not be written, up to what came.
    """
    import polars as pl

    files = sorted(folder.glob("*.parquet"))
    if not files:
        return {"errors": [], "more_errors": 0, "by_step": {}}
    error = pl.col("error").fill_null("unknown")
    whole = pl.col("step").is_null() & error.str.contains(LACKING)
    unwritten = error.str.extract(UNWRITTEN)
    said = pl.when(whole).then(error).otherwise(pl.coalesce(unwritten, error.str.replace(r"(?s)[:\r\n].*$", "")))
    kind = said.str.replace_all(r"(^|[\s(:,\[])[0-9]+", "${1}N").str.strip_chars().str.slice(0, MAX_ERROR_CHARS)
    records = pl.scan_parquet(files, glob=False).select("file", "row", "id", "step", error=kind)
    groups = records.group_by("step", "error").len("records").sort("step", "error", nulls_last=False)
    found = groups.collect(engine="streaming").sort("records", descending=True, maintain_order=True)
    errors = []
    for row in found.head(MAX_ERRORS).iter_rows(named=True):
        same = pl.col("step").eq_missing(pl.lit(row["step"], pl.String)) & (pl.col("error") == row["error"])
        places = records.filter(same).select("file", "row", "id").head(MAX_PLACES).collect(engine="streaming")
        errors.append({**row, "places": places.to_dicts()})
    by_step = found.drop_nulls("step").group_by("step").agg(pl.col("records").sum()).sort("step")
    more = max(0, found.height - MAX_ERRORS)
    return {"errors": errors, "more_errors": more, "by_step": dict(by_step.iter_rows())}


# --- what needs attention ---------------------------------------------------------------------------------------------


def _attention(
    counts: Row,
    funnel: Sequence[Row],
    scores: Sequence[Row],
    promises: Sequence[Row],
    exit_code: int,
    sample: Row,
    unmet: Sequence[str],
    warned: Sequence[str] = (),
) -> list[Row]:
    """What a reader must see first, failed promises before the rest; `level` is `failed` or `look`."""
    failed = [f"Promise not held: {row['promise']} ({row['detail']})" for row in promises if not row["held"]]
    if exit_code and not failed:
        failed.append(f"The run ended with exit code {exit_code}.")
    if (sample["of"], sample["kept"]) != (counts["kept"] + counts["dropped"], counts["kept"]):
        failed.append(
            f"The ledger ({sample['kept']:,} of {sample['of']:,} kept) and the manifest ({counts['kept']:,} of "
            f"{counts['kept'] + counts['dropped']:,} kept) do not agree."
        )
    look = [*unmet, *warned]
    if counts["quarantined"]:
        look.append(
            f"{plural(counts['quarantined'], 'record')} ({percent(counts['quarantined_share'])}) could not be read "
            "or scored and went to quarantine."
        )
    for row in funnel:
        asked = row["filter"] == "balance"  # it drops what was not asked for
        if row["dropped_share"] is not None and row["dropped_share"] > LARGE_LOSS and not asked:
            look.append(
                f"{row['step']} dropped {percent(row['dropped_share'])} of the {row['seen']:,} documents it saw."
            )
    for score in scores:
        if is_judged(score) and (missed := sum(score["false"].values())):
            part = percent(share(missed, score["documents"]))
            judge = score["score"].removesuffix(".judged")
            look.append(
                f"{judge} did not judge {plural(missed, score['unit'])} ({part} of those that reached it), "
                f"because its rules do not apply to them; {score['false']['kept']:,} of them were kept."
            )
    return [{"level": "failed", "text": text} for text in failed] + [{"level": "look", "text": text} for text in look]


def _warnings(tables: Mapping[str, Mapping[str, pl.DataFrame]]) -> list[str]:
    """The measures that a step's own table warns of in its column `note`, each as the last row says it."""
    found: dict[tuple[str, str], str] = {}
    for step, made in tables.items():
        for table in made.values():
            if {"measure", "value", "note"} <= set(table.columns):
                for measure, value, note in table.select("measure", "value", "note").iter_rows():
                    found.pop((step, measure), None)
                    if str(note).startswith(WARNING):
                        found[step, measure] = f"{step}: {measure} is {value:.3g}; {note.removeprefix(WARNING)}"
    return list(found.values())


# --- tables of filters, and what is needed to run again ---------------------------------------------------------------


def _table(step: str, name: str, table: pl.DataFrame) -> Row:
    rows = [[_plain(value) for value in row] for row in table.head(MAX_TABLE_ROWS).iter_rows()]
    return {"step": step, "name": name, "columns": list(table.columns), "rows": rows, "of": table.height}


def _plain(value: Any) -> Any:
    """A table's cell as a JSON value; bytes are never shown."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def _reproduce(manifest: Mapping[str, Any]) -> Row:
    inputs, outputs = list(manifest["inputs"]), list(manifest["outputs"])
    return {
        "versions": dict(manifest.get("versions", {})),
        "pipeline": dict(manifest["pipeline"]),
        "models": manifest.get("models", []),
        "inputs": _files(inputs),
        "outputs": _files(outputs),
        "shards": sum(part["path"].startswith("dataset/data/") for part in outputs),
    }


def _files(rows: Sequence[Mapping[str, Any]]) -> Row:
    """The first files with their hashes, and how many there are; the manifest lists all."""
    totals = {name: sum(row.get(name) or 0 for row in rows) for name in ("rows", "bytes")}
    return {"files": len(rows), **totals, "first": [dict(row) for row in rows[:MAX_FILES]]}
