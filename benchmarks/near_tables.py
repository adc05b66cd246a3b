"""The figures of near_duplicates.py as Markdown tables, one for each question.

python benchmarks/near_tables.py here.json    the tables of what --json printed earlier
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from near_peers import PEERS
from near_truth import BINS, STEP, THRESHOLD

Row = dict[str, Any]
NONE = "-"
NAMES = {"own": "own settings", "same": "same task"}


def markdown(found: Row) -> str:
    """All tables of what was measured."""
    about = found["machine"]
    lines = [f"{about['processor']}, {about['cores']} cores, load {about['load']:.1f}, Python {about['python']}.", ""]
    for name, shown in TABLES:
        if name in found:
            lines += [*shown(found), ""]
    return "\n".join(lines)


def table(titles: list[str], rows: list[list[str]], left: int = 1) -> Iterator[str]:
    """A Markdown table; the first columns are text, the others numbers."""
    marks = ["---" if place < left else "---:" for place in range(len(titles))]
    for row in (titles, marks, *rows):
        yield f"| {' | '.join(row)} |"


def tools(found: Row) -> Iterator[str]:
    """What was compared: versions, settings, and what is absent and why."""
    rows = []
    for name, state in found["tools"].items():
        peer = PEERS[name]
        rows.append([name, state.get("version") or f"absent: {state['error']}", peer.own, peer.same or "the same"])
    yield from table(["tool", "version", "own setting", "same task"], rows, left=4)


def signatures(found: Row) -> Iterator[str]:
    """Signatures alone."""
    rows = [
        [row["case"], f"{row['mb_per_second']:.1f}", f"{row['mb_per_cpu_second']:.1f}"]
        if "error" not in row
        else [row["case"], one_line(row["error"]), NONE]
        for row in found["signatures"]
    ]
    yield from table(["signatures, 128 permutations, one core", "MB/s", "MB per CPU second"], rows)


def recall(found: Row) -> Iterator[str]:
    """curate's recall by bin."""
    rows = [
        [
            row["script"],
            between(row["at_least"]),
            f"{row['pairs']:,}",
            f"{row['found']:.4f}",
            f"{row['expected']:.4f}",
            str(row["promised"]),
        ]
        for row in found["recall"]
    ]
    yield from table(["script", "similarity", "pairs", "found", "expected", "promised"], rows, left=2)


def speed(found: Row) -> Iterator[str]:
    """Time and memory of whole jobs."""
    rows = []
    for case in found["cases"]:
        name = [case["tool"], case["setting"], str(case["workers"])]
        if "error" in case:
            rows.append([*name, f"failed: {one_line(case['error'])}", *[NONE] * 6])
            continue
        small, *larger = case["peak_bytes"]
        rows.append(
            [
                *name,
                number(case.get("mb_per_second")),
                number(case.get("mb_per_cpu_second")),
                number(case["whole_mb_per_second"]),
                number(case["whole_mb_per_cpu_second"]),
                f"{case['documents_per_second']:,.0f}",
                number(case.get("start_seconds")),
                ", ".join(f"{case['peak_bytes'][size] / 1e6:,.0f}" for size in (small, *larger)),
            ]
        )
    sizes = [size for size in found["data"]["corpus"] if size.endswith("x")]
    titles = ["tool", "setting", "processes", "MB/s", "MB per CPU s", "all of 1x: MB/s", "MB per CPU s", "documents/s"]
    yield from table([*titles, "start-up, s", f"peak memory, MB ({', '.join(sizes)})"], rows, left=2)


def quality(found: Row) -> Iterator[str]:
    """What each tool removed, and how right that was."""
    rows = []
    for row in found["results"]:
        fine, web = row["justified"], row["web"]
        rows.append(
            [
                row["tool"],
                row["setting"],
                f"{row['removed']:,}",
                part(row["planted"]["found"], row["planted"]["pairs"]),
                part(row["planted_letters"]["found"], row["planted_letters"]["pairs"]),
                part(web["found"], web["pairs"]),
                part(row["web_letters"]["found"], row["web_letters"]["pairs"]),
                part(fine["reach"], fine["removed"]),
                part(fine["below_half"], fine["removed"]),
            ]
        )
    titles = ["tool", "setting", "removed", f"planted pairs >= {THRESHOLD} found", "without spaces"]
    titles += [f"real pairs >= {THRESHOLD} found", "without spaces", f"removed with a twin >= {THRESHOLD}", "twin < .5"]
    yield from table(titles, rows, left=2)


def of_setting(found: Row, setting: str) -> tuple[list[Row], list[str]]:
    """The results of one setting and the names of their tools; a tool with one setting belongs to both."""
    rows = [row for row in found["results"] if row["setting"] == setting or not PEERS[row["tool"]].same]
    return rows, [row["tool"] for row in rows]


def bins(found: Row, kind: str, setting: str, title: str) -> Iterator[str]:
    """The share of pairs found by bin of similarity, a column for each tool."""
    results, names = of_setting(found, setting)
    rows = []
    for place in range(len(BINS) + 1):
        pairs = get(results[0][kind]["bins"], place, [0, 0])[0] if results else 0
        if pairs:
            shares = [part(get(row[kind]["bins"], place, [0, 0])[1], pairs) for row in results]
            rows.append([label(place), f"{pairs:,}", *shares])
    yield from table([f"{title}, {NAMES[setting]}", "pairs", *names], rows)


def twins(found: Row, setting: str) -> Iterator[str]:
    """Removed real documents by their similarity to the nearest document that stays."""
    results, names = of_setting(found, setting)
    rows = [["below .50", *(f"{row['justified']['below_half']:,}" for row in results)]]
    for place in range(len(BINS) + 1):
        counts = [get(row["justified"]["bins"], place, 0) for row in results]
        if any(counts):
            rows.append([label(place), *(f"{count:,}" for count in counts)])
    yield from table([f"removed, by the nearest that stays, {NAMES[setting]}", *names], rows)


def get(values: dict[Any, Any], place: int, default: Any) -> Any:
    """A value by number, whether the numbers went through JSON or not."""
    return values.get(place, values.get(str(place), default))


def label(place: int) -> str:
    """A bin's name."""
    return "1" if place == len(BINS) else between(BINS[place])


def between(low: float) -> str:
    """A bin's ends."""
    return f"{low:.2f} - {low + STEP:.2f}"


def part(count: int, of: int) -> str:
    """A share, or a dash of nothing."""
    return f"{count / of:.3f}".removeprefix("0") if of else NONE


def number(value: float | None) -> str:
    """A figure with three digits that matter, or a dash."""
    return NONE if value is None else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def one_line(text: str) -> str:
    """The last line of an error, short enough for a cell."""
    return text.strip().splitlines()[-1].replace("|", "/")[:120]


TABLES: list[tuple[str, Callable[[Row], Iterator[str]]]] = [
    ("tools", tools),
    ("signatures", signatures),
    ("recall", recall),
    ("cases", speed),
    ("results", quality),
    *(("results", partial(bins, kind="planted", setting=name, title="planted pairs found")) for name in NAMES),
    *(("results", partial(bins, kind="web", setting=name, title="real pairs found")) for name in NAMES),
    *(("results", partial(twins, setting=name)) for name in NAMES),
]


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text())))
