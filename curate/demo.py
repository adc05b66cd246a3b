"""`curate demo`: corpora and preference pairs with planted faults, cleaned and balanced, planted set against found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import demo_scraped
from curate.demo_corpus import Fault, Planted, Tally, write_corpus
from curate.demo_pairs import compare_pairs, run_pairs, write_pairs
from curate.demo_uneven import Uneven, compare, refusal, run_uneven, write_uneven

if TYPE_CHECKING:
    from curate.console import Quiet
    from curate.run import Run

__all__ = ["Demo", "Fault", "Planted", "Tally", "run_demo", "write_corpus"]


@dataclass(frozen=True)
class Demo:
    """A finished demo: its folder, what was planted, the runs over it, and the table of both."""

    folder: Path
    planted: Planted
    run: Run
    scraped: Run
    uneven: Uneven
    balanced: Run
    pairs: Run
    table: tuple[Tally, ...]

    @property
    def exit_code(self) -> int:
        """0 when the runs kept their promises and everything planted met its fate; else 1."""
        wrong = any(line.found != line.planted for line in self.table)
        codes = (run.exit_code for run in (self.run, self.scraped, self.balanced, self.pairs))
        return next((code for code in codes if code), int(wrong))

    def to_dict(self) -> dict[str, Any]:
        """The demo as plain values, for `--json`."""
        return {
            "corpus": str(self.planted.folder),
            "output": str(self.run.root),
            "counts": self.run.counts,
            "scraped": str(self.scraped.root),
            "balanced": str(self.balanced.root),
            "pairs": str(self.pairs.root),
            "policy": self.balanced.manifest["policy"],
            "table": [asdict(line) for line in self.table],
            "exit_code": self.exit_code,
        }

    def print(self) -> None:
        """Print the table to standard output, then where things are and what to try next."""
        from rich.table import Table
        from rich.text import Text

        from curate.audit_command import print_policy
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
        print_policy(self.balanced.manifest["policy"])
        balanced = clean(str(self.folder / "balanced"))
        places = {"corpus": clean(str(self.planted.folder)), "cleaned": output} | {
            name: clean(str(self.folder / name)) for name in ("scraped", "balanced", "pairs")
        }
        for word, place in places.items():
            screen.print(Text(f"{word:<9}{place}"), soft_wrap=True)
        ids = [fault.id for fault in self.planted.faults if fault.twin is not None][:1]
        ids += [id for kind in ("hostile page", "mentions an identity") for id in self.planted.ids(kind)[:1]]
        commands = [
            *(f"curate why {output} {id}" for id in ids),
            f"curate report {output}",
            f"curate report {balanced}",
            f"curate report {places['pairs']}",
        ]
        for number, command in enumerate(commands):
            screen.print(Text(f"{'' if number else 'next':<9}{command}"), soft_wrap=True)


def run_demo(
    folder: Path, documents: int = 2000, *, seed: int = 1, strict: bool = False, watch: Quiet | None = None
) -> Demo:
    """Write corpora into `folder`, clean two, balance the third, and compare; an earlier demo is replaced.

    `folder/corpus` is cleaned into `folder/clean`, `folder/scraped.parquet` into `folder/scraped`,
    `folder/uneven.parquet` balanced into `folder/balanced`, and `folder/pairs.jsonl` checked into `folder/pairs`.
    `strict` makes the policy of the third fail instead of warn.
    """
    from curate.pipeline import Pipeline

    planted = write_corpus(folder / "corpus", documents, seed)
    pipeline = Pipeline.load("quickstart", overrides=planted.overrides)
    paths = [f"corpus/{name}" for name in planted.files]
    run = pipeline.run(paths, folder / "clean", base=folder, fresh=True, watch=watch)
    pages = demo_scraped.write_scraped(folder, documents, seed)
    scraped = demo_scraped.run_scraped(pages, folder / "scraped", watch=watch)
    uneven = write_uneven(folder, documents, seed)
    refused = refusal(uneven, folder / "balanced")
    balanced = run_uneven(uneven, folder / "balanced", strict=strict, watch=watch)
    paired = write_pairs(folder, documents, seed)
    pairs = run_pairs(paired, watch=watch)
    table = (
        *planted.compare(run.ledger, run.quarantine),
        *demo_scraped.compare(pages, scraped),
        *compare(uneven, balanced),
        refused,
        *compare_pairs(paired, pairs),
    )
    return Demo(folder, planted, run, scraped, uneven, balanced, pairs, table)
