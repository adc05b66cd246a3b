"""What changed between two runs: documents that changed sides, shares and scores that drifted, and why that may be.

Documents are matched by id, and what is counted of them is exact. Drift is compared with what chance does to two
samples of one population (`curate.drift`); two runs over the same documents differ less by chance than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.drift import LEVELS, Drift, judge
from curate.manifest import differences
from curate.run import Run, open_run
from curate.two_ledgers import TwoLedgers

if TYPE_CHECKING:
    from rich.console import Console

Row = dict[str, Any]


@dataclass(frozen=True)
class Diff:
    """How the run `now` differs from the run `before`.

    `changed` counts the documents of both runs whose verdict differs, by change (newly dropped, newly kept, other
    rule), the rules that decided, the versions of their steps' code, and group, with a few ids. `only` counts those
    that one run has. `scores` says how many documents of both have another score. `pipeline` lists what differs
    between the pipelines, inputs, models and versions. `not_reproduced` names the outputs that differ although nothing
    of that does.
    """

    before: str
    now: str
    by: str | None
    counts: Row
    changed: pl.DataFrame
    only: pl.DataFrame
    scores: pl.DataFrame
    drifts: tuple[Drift, ...]
    pipeline: tuple[str, ...]
    not_reproduced: tuple[str, ...]

    @property
    def level(self) -> str:
        """The highest level of any drift: none, info, warn or fail."""
        return max((drift.level for drift in self.drifts), key=LEVELS.index, default="none")

    def to_dict(self) -> Row:
        """The answer as plain values for JSON."""
        frames = {name: getattr(self, name).to_dicts() for name in ("changed", "only", "scores")}
        plain = {name: getattr(self, name) for name in ("before", "now", "by", "level", "counts")}
        lists = {"pipeline": list(self.pipeline), "not_reproduced": list(self.not_reproduced)}
        return plain | frames | {"drifts": [drift.to_dict() for drift in self.drifts]} | lists

    def print(self, console: Console | None = None) -> None:
        """Print the differences as tables, by default to standard output."""
        from curate.console import console as standard_output
        from curate.diff_print import print_diff

        print_diff(self, console or standard_output())


def diff(before: Run | str | Path, now: Run | str | Path, *, by: str | None = None) -> Diff:
    """Compare two finished runs; `by` names a score or an input column that both ledgers have."""
    before, now = (run if isinstance(run, Run) else open_run(run) for run in (before, now))
    sides = TwoLedgers(before, now, by)
    lines = pipeline_differences(before.manifest, now.manifest)
    return Diff(
        before=str(before.root),
        now=str(now.root),
        by=by,
        counts=sides.counts(),
        changed=sides.changed(),
        only=sides.only(),
        scores=sides.scores(),
        drifts=tuple(judge(list(sides.drifts()))),
        pipeline=tuple(lines),
        not_reproduced=() if lines else tuple(_other_outputs(before.manifest, now.manifest)),
    )


# --- pipelines and outputs --------------------------------------------------------------------------------------------


def pipeline_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between what two runs were of, a line each: options, inputs by content, models, versions."""
    identities = [{**manifest["identity"], "inputs": _contents(manifest)} for manifest in (before, now)]
    if sorted(map(str, identities[0]["inputs"].values())) == sorted(map(str, identities[1]["inputs"].values())):
        identities[0]["inputs"] = identities[1]["inputs"]  # the same files under other names
    lines = differences(identities[0], identities[1])
    known = {(model["step"], model["file"]): model["sha256"] for model in before["models"]}
    for model in now["models"]:
        earlier = known.get((model["step"], model["file"]))
        if earlier not in (None, model["sha256"]):
            lines.append(f"step {model['step']}: {model['file']}: {str(earlier)[:12]} -> {model['sha256'][:12]}")
    versions = [manifest["versions"] for manifest in (before, now)]
    for name in dict.fromkeys((*versions[0], *versions[1])):
        if versions[0].get(name) != versions[1].get(name) and name != "curate":
            lines.append(f"version of {name}: {versions[0].get(name, 'absent')} -> {versions[1].get(name, 'absent')}")
    return lines


def _contents(manifest: Mapping[str, Any]) -> dict[str, Any]:
    sizes = manifest["identity"]["inputs"]
    return {entry["file"]: entry["sha256"] or sizes.get(entry["file"]) for entry in manifest["inputs"]}


def _other_outputs(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The published files, and those of the ledger where files are called the same, that are not the same bytes."""
    same_names = set(_contents(before)) == set(_contents(now))
    folders = ("dataset/data/", "audit/ledger/") if same_names else ("dataset/data/",)
    parts = [
        {part["path"]: part["sha256"] for part in manifest["outputs"] if part["path"].startswith(folders)}
        for manifest in (before, now)
    ]
    return [path for path in dict.fromkeys((*parts[0], *parts[1])) if parts[0].get(path) != parts[1].get(path)]
