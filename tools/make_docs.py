"""Write the generated pages of docs/, and run every code block of README.md and docs/ and show what it printed.

    python tools/make_docs.py           write docs/filters.md and docs/commands.md, refresh the outputs in all pages
    python tools/make_docs.py --check   change nothing; list what differs, exit 1 if anything does
    python tools/make_docs.py PAGE      one page, as README.md or docs/pipelines.md

A page is run in a folder of its own with a small corpus in `corpus/`, its blocks in order:

    ```yaml      a pipeline; with a first line `# NAME.yaml` it is written to that file
    ```python    run, all blocks of a page in one namespace; with a first line `# NAME.py` it is written to that file
    ```console   lines `$ curate ...` and `$ python -c ...` are run, and what follows must be what they print; a line
                 `...` stands for any lines, `# exit 1` after a command is the exit code to expect

Progress lines are left out of what is printed: on a terminal there is a display in their place. Times, rates, dates and
the digits of scores beyond the third are not compared. Blocks of any other kind (sh, text, json) are not run.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ("docs/filters.md", "docs/commands.md")
DOCUMENTS = 400  # clean documents of the corpus that the pages are run on
ELLIPSIS = "..."
SIZE = r"[\d.,]+ [kMGT]?B"
VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.+Z-]+"), "DATE"),
    (re.compile(rf"{SIZE}/s|[\d.,]+( [MB])? (documents|docs|records)/s"), "RATE"),
    (re.compile(r"[\d.,]+ (ms|s|min|h)\b( [\d.,]+ (s|min|h)\b)?"), "TIME"),
    (re.compile(r"(\d\.\d{3})\d+"), r"\1"),  # of scores, the digits that are the same on every kind of machine
)
STAGE = r"survey|preparing steps[\w ,]*|pass \d+ of \d+|deciding \w+|saving \w+|writing|report"  # told of when slow
PROGRESS = re.compile(rf"^(?:[\w ,.-]+: (?:done|stopped) in |(?:{STAGE}): \d).*\n?", re.MULTILINE)
TIMED = re.compile(r"(?<=  )(seconds|s per 1,000|MB/s)\b")  # in the header of a table: measured from this column on


@dataclass
class Block:
    """One fenced block of a page: its language, its lines, and where they are (line numbers from 0)."""

    language: str
    lines: list[str]
    start: int


def generated() -> dict[str, str]:
    """The text of every generated page, by its name."""
    from curate.cli import app
    from curate.filter import registered
    from curate.reference import commands_markdown, filters_markdown

    return dict(zip(GENERATED, (filters_markdown(registered()), commands_markdown(app)), strict=True))


def pages() -> list[str]:
    """The pages that people write, by their names relative to the repository."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [name for path in found if (name := path.relative_to(ROOT).as_posix()) not in GENERATED]


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page in order."""
    block: Block | None = None
    for number, line in enumerate(text.split("\n")):
        if block is None and line.startswith("```"):
            block = Block(line.strip("`").strip(), [], number + 1)
        elif block is not None and line.startswith("```"):
            yield block
            block = None
        elif block is not None:
            block.lines.append(line)


# --- running a page ---------------------------------------------------------------------------------------------------


def make_corpus(folder: Path) -> None:
    """Write the corpus that the pages talk about: three files of the demo's documents, without its broken records."""
    import orjson
    import polars as pl
    import pyarrow as pa

    from curate.demo import write_corpus

    with tempfile.TemporaryDirectory() as place:
        write_corpus(Path(place), documents=DOCUMENTS)
        folder.mkdir()
        pl.read_parquet(Path(place) / "articles.parquet").drop_nulls("text").write_parquet(folder / "articles.parquet")
        (folder / "letters.csv").write_bytes((Path(place) / "letters.csv").read_bytes())
        with pa.input_stream(str(Path(place) / "pages.jsonl.zst"), compression="zstd") as stream:
            lines = stream.read().split(b"\n")
    good = []
    for line in lines:
        with contextlib.suppress(orjson.JSONDecodeError):
            record = orjson.loads(line)
            if isinstance(record, dict) and isinstance(record.get("text"), str):
                good.append(line + b"\n")
    (folder / "pages.jsonl.zst").write_bytes(pa.compress(b"".join(good), codec="zstd", asbytes=True))


class Page:
    """A page on its run: what its blocks printed, put into its text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = (ROOT / name).read_text("utf-8").split("\n")
        self.namespace: dict[str, Any] = {"__name__": "__page__"}
        self.problems: list[str] = []
        self.differences: list[str] = []

    def run(self) -> str:
        """Run every block and return the page with the outputs of this run; see `problems` and `differences`."""
        before = Path.cwd()
        with tempfile.TemporaryDirectory(prefix="page-") as place:
            self.folder = Path(place).resolve()
            os.chdir(self.folder)
            sys.path.insert(0, "")
            try:
                make_corpus(self.folder / "corpus")
                shift = 0
                for block in blocks("\n".join(self.lines)):
                    new = self._block(block)
                    at = block.start + shift
                    self.lines[at : at + len(block.lines)] = new
                    shift += len(new) - len(block.lines)
            finally:
                os.chdir(before)
        return "\n".join(self.lines)

    def _block(self, block: Block) -> list[str]:
        """Run one block; return its lines, outputs refreshed."""
        text = "\n".join(block.lines) + "\n"
        first = re.fullmatch(r"# ([\w./-]+\.(yaml|py))", block.lines[0]) if block.lines else None
        try:
            if block.language == "console":
                return self._console(block)
            if block.language in ("yaml", "python") and first is not None:
                Path(first[1]).parent.mkdir(parents=True, exist_ok=True)
                Path(first[1]).write_text(text, "utf-8")
            elif block.language == "yaml":
                from curate.pipeline import Pipeline

                Pipeline.parse(text, base=self.folder, source=f"{self.name}:{block.start + 1}")
            elif block.language == "python":
                code = compile("\n" * block.start + text, self.name, "exec")
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(code, self.namespace)
        except Exception as error:
            self.problems.append(f"{self.name}:{block.start + 1}: {type(error).__name__}: {error}")
        return block.lines

    def _console(self, block: Block) -> list[str]:
        made: list[str] = []
        for command, shown in commands(block.lines):
            printed, code = self._command(command)
            wanted = re.search(r"  # exit (\d+)$", command)
            if code != (int(wanted[1]) if wanted else 0):
                self.problems.append(f"{self.name}:{block.start + 1}: `{command}` ended with {code}:\n{printed}")
            lines = printed.splitlines()
            while lines and not lines[-1]:
                lines.pop()
            while lines and not lines[0]:
                lines.pop(0)
            if not same(shown, lines):
                self.differences += difference(masked(shown), masked(cut(shown, lines)), f"{self.name}: $ {command}")
                shown = cut(shown, lines)
            made += [f"$ {command}", *shown]
        return made

    def _command(self, command: str) -> tuple[str, int]:
        """Run one command in this process; return what it printed and its exit code."""
        words = shlex.split(command, comments=True)
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        code: Any = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                if words[0] == "curate":
                    from curate.cli import main

                    main(words[1:])
                elif words[:2] == ["python", "-c"]:
                    exec(words[2], {"__name__": "__main__"})
                elif words[0] == "cat":
                    for name in words[1:]:
                        print(Path(name).read_text("utf-8"), end="")
                else:
                    raise ValueError(f"`{command}` is neither `curate ...`, `python -c ...` nor `cat ...`")
            except SystemExit as stop:
                code = stop.code or 0
        text = PROGRESS.sub("", bytes(out.buffer.getvalue()).decode())  # type: ignore[attr-defined]  # a BytesIO
        return re.sub(
            r"[ \t]+$", "", text.replace(f"{self.folder}/", "").replace(str(self.folder), "."), flags=re.M
        ), code


def commands(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that are shown below it."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


# --- comparing --------------------------------------------------------------------------------------------------------


def masked(lines: Sequence[str]) -> list[str]:
    """Lines without what differs from run to run: times, rates, dates, column widths."""
    made = []
    measured: int | None = None  # where the measured columns of the table begin, inside one
    for line in lines:
        header = TIMED.search(line)
        if header is not None:
            measured = len(line[: header.start()].rstrip())
        elif not line.strip():
            measured = None
        elif measured is not None:
            line = line[:measured] + re.sub(r"[\d.,]+( %)?|(?<=\s)-(?=\s|$)", "N", line[measured:])
        for pattern, word in VOLATILE:
            line = pattern.sub(word, line)
        made.append(re.sub(r"─+", "─", re.sub(r"\s+", " ", line)).strip())
    return made


def same(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Whether a page shows what was printed."""
    return masked(shown) == masked(cut(shown, printed))


def difference(shown: Sequence[str], made: Sequence[str], name: str) -> list[str]:
    """The lines in which a page and what it should be differ."""
    return list(difflib.unified_diff(shown, made, f"{name}: as it is", f"{name}: as it should be", n=1, lineterm=""))


def cut(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    """What was printed, shortened in the middle where the page shows a line `...`."""
    if ELLIPSIS not in shown:
        return list(printed)
    head = shown.index(ELLIPSIS)
    tail = len(shown) - head - 1
    return [*printed[:head], ELLIPSIS, *printed[max(head, len(printed) - tail) :]]


# --- the command ------------------------------------------------------------------------------------------------------


def treat(name: str, check: bool) -> int:
    """Make or run one page; write it, or with `check` print what differs."""
    before = (ROOT / name).read_text("utf-8") if (ROOT / name).is_file() else ""
    problems: list[str] = []
    if name in GENERATED:
        after = generated()[name]
        differences = difference(before.split("\n"), after.split("\n"), name)
    else:
        page = Page(name)
        after, problems, differences = page.run(), page.problems, page.differences
    for line in (*problems, *(differences if check else ())):
        print(line)
    if after != before and not check:
        (ROOT / name).write_text(after, "utf-8")
        print(f"wrote {name}")
    return 1 if problems or (check and after != before) else 0


def main() -> int:
    """Every page in a process of its own, so that none sees another's filters."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", nargs="?", help="one page, as README.md or docs/pipelines.md")
    parser.add_argument("--check", action="store_true", help="change nothing, list what differs")
    given = parser.parse_args()
    os.environ |= {"COLUMNS": "80", "NO_COLOR": "1"}
    os.environ.pop("FORCE_COLOR", None)
    if given.page is not None:
        return treat(given.page, given.check)
    options = ["--check"] if given.check else []
    return max(
        subprocess.run([sys.executable, __file__, name, *options], check=False).returncode
        for name in (*GENERATED, *pages())
    )


if __name__ == "__main__":
    sys.exit(main())
