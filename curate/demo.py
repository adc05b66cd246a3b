"""`curate demo`: make a corpus with planted faults, clean it by the quickstart pipeline, set planted against found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.demo_corpus import Fault, Planted, Tally, write_corpus

if TYPE_CHECKING:
    from curate.console import Quiet
    from curate.run import Run

__all__ = ["Demo", "Fault", "Planted", "Tally", "run_demo", "write_corpus"]


@dataclass(frozen=True)
class Demo:
    """A finished demo: its folder, what was planted, the run over it, and the table of both."""

    folder: Path
    planted: Planted
    run: Run
    table: tuple[Tally, ...]

    @property
    def exit_code(self) -> int:
        """0 when the run kept its promises and every planted record and clean document met its fate; else 1."""
        return self.run.exit_code or int(any(line.found != line.planted for line in self.table))

    def to_dict(self) -> dict[str, Any]:
        """The demo as plain values, for `--json`."""
        return {
            "corpus": str(self.planted.folder),
            "output": str(self.run.root),
            "counts": self.run.counts,
            "table": [asdict(line) for line in self.table],
            "exit_code": self.exit_code,
        }

    def print(self) -> None:
        """Print the table to standard output, then where things are and what to try next."""
        from rich.table import Table
        from rich.text import Text

        from curate.console import clean, console

        table = Table("kind", "what should happen", box=None, pad_edge=False, header_style="bold")
        table.add_column("planted", justify="right")
        table.add_column("found", justify="right")
        for line in self.table:
            style = None if line.found == line.planted else "bold red"
            table.add_row(line.kind, line.fate, f"{line.planted:,}", f"{line.found:,}", style=style)
        output = clean(str(self.folder / "clean"))
        screen = console()
        screen.print(table)
        screen.print()
        screen.print(Text(f"corpus   {clean(str(self.planted.folder))}\ncleaned  {output}"), soft_wrap=True)
        ids = [fault.id for fault in self.planted.faults if fault.twin is not None][:1]
        ids += [id for kind in ("hostile page", "mentions an identity") for id in self.planted.ids(kind)[:1]]
        commands = [*(f"curate why {output} {id}" for id in ids), f"curate report {output}"]
        for number, command in enumerate(commands):
            screen.print(Text(f"{'' if number else 'next':<9}{command}"), soft_wrap=True)


def run_demo(folder: Path, documents: int = 2000, *, seed: int = 1, watch: Quiet | None = None) -> Demo:
    """Write a corpus into `folder/corpus`, clean it into `folder/clean` and compare; an earlier demo is replaced."""
    from curate.pipeline import Pipeline

    planted = write_corpus(folder / "corpus", documents, seed)
    pipeline = Pipeline.load("quickstart", overrides=planted.overrides)
    paths = [f"corpus/{name}" for name in planted.files]
    run = pipeline.run(paths, folder / "clean", base=folder, fresh=True, watch=watch)
    return Demo(folder, planted, run, tuple(planted.compare(run.ledger, run.quarantine)))
