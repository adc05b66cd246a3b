"""How fast the text rules are, and how far their verdicts agree with datatrove's.

    python benchmarks/text_rules.py --peers-python peers/bin/python      every family, ours beside datatrove
    python benchmarks/text_rules.py --peers-python ... --every 17        each 17th document
    python benchmarks/text_rules.py --peers-python ... --json > here.json

Both judge the same English documents of data/web, one after the other on one core, datatrove 0.10 in a process of the
interpreter in which it is installed (with spaCy). A rate is bytes of text per second of processor time, so that other
work on the machine counts less; MB = 10^6 bytes. Singly our filters make the tokens of the texts each time; `together`
they score the same texts one after the other, as steps of a run do, and make them once. C4
does not ask for end marks, as in FineWeb. Agreement is the share of documents with the same verdict, Jaccard that of
the dropped documents; `same texts` is the share of the pages kept by both whose edited text is the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine

Row = dict[str, Any]

FAMILIES = ("gopher_repetition", "gopher_quality", "c4_quality", "fineweb_quality")
ENGLISH = ("en", "en-US", "en-GB")
REPEAT = 3  # passes of ours; the fastest counts, which is the one that others disturbed least


def main() -> None:
    """Read the command line, measure, print."""
    if sys.argv[1:2] == ["peer"]:
        peer(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of Parquet files with id, text and lang")
    parser.add_argument("--peers-python", type=Path, help="interpreter in which datatrove and spaCy are installed")
    parser.add_argument("--every", type=int, default=1, help="only each so many documents")
    parser.add_argument("--work", type=Path, help="folder for the documents and verdicts (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    with engine.work_folder(options.work) as folder:
        source = documents(options.data or engine.default_data(), options.every, folder / "documents.parquet")
        families, together = ours(source)
        found: Row = {"machine": engine.machine(), "families": families, "together_seconds": together}
        if options.peers_python:
            target = folder / "verdicts.json"
            subprocess.run([options.peers_python, __file__, "peer", source, target], check=True)
            compare(found, json.loads(target.read_text()))
    for row in found["families"].values():
        del row["drops"], row["texts"]
    print(json.dumps(found, indent=2) if options.json else markdown(found))


def documents(data: Path, every: int, target: Path) -> Path:
    """Write the English documents to one file."""
    import polars as pl

    rows = pl.read_parquet(data / "*.parquet").filter(pl.col("lang").is_in(ENGLISH))
    rows.select("id", "text").gather_every(every).write_parquet(target)
    return target


def ours(source: Path) -> tuple[Row, float]:
    """Rates and verdicts of our filters, and the seconds of all of them together."""
    import polars as pl

    from curate.filters import C4Quality, FinewebQuality, GopherQuality, GopherRepetition

    filters = dict(
        zip(
            FAMILIES,
            (
                GopherRepetition(language="en"),
                GopherQuality(language="en"),
                C4Quality(language="en", require_end_mark=False),
                FinewebQuality(language="en"),
            ),
            strict=True,
        )
    )
    docs = pl.read_parquet(source)
    megabytes = docs["text"].str.len_bytes().sum() / 1e6
    found: Row = {}
    for name, filter in filters.items():
        filter.score(docs.head(2))  # compiles
        seconds = fastest(lambda filter=filter: filter.score(docs))
        scores = filter.score(docs)
        rules = [rule if isinstance(rule, pl.Expr) else rule.expression() for rule in filter.drop_when().values()]
        drops = scores.select(pl.any_horizontal(rules)).to_series().to_list()
        texts = edited(docs["text"], scores["edits"]) if "edits" in scores.columns else None
        found[name] = {"documents": len(docs), "MB": megabytes, "seconds": seconds, "drops": drops, "texts": texts}
    return found, fastest(lambda: [filter.score(docs) for filter in filters.values()])


def fastest(work: Callable[[], Any]) -> float:
    """The least processor time of some passes, each without tokens that were kept."""
    from curate.kernels import tokens

    times = []
    for _ in range(REPEAT):
        tokens.forget()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def edited(texts: Any, edits: Any) -> list[str]:
    """The texts after their edits."""
    found = []
    for text, own in zip(texts.to_list(), edits.to_list(), strict=True):
        data, at, out = text.encode(), 0, b""
        for edit in own:
            out += data[at : edit["start"]] + edit["put"].encode()
            at = edit["end"]
        found.append((out + data[at:]).decode().strip())
    return found


def peer(source: Path, target: Path) -> None:
    """Rates and verdicts of datatrove, in a process of its own interpreter."""
    import pyarrow.parquet as pq
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.utils.text import split_into_parts

    makers = (GopherRepetitionFilter, GopherQualityFilter, C4QualityFilter, FineWebQualityFilter)
    rows = pq.read_table(source).to_pylist()
    found: Row = {}
    for name, maker in zip(FAMILIES, makers, strict=True):
        filter = maker(filter_no_terminal_punct=False) if maker is C4QualityFilter else maker()
        filter.filter(Document(text=rows[0]["text"], id=""))  # loads the tokenizer
        reasons, texts = [], []
        split_into_parts.cache_clear()
        start = time.process_time()
        for row in rows:
            document = Document(text=row["text"], id=row["id"])
            outcome = filter.filter(document)
            reasons.append("" if outcome is True else outcome[1])
            texts.append(document.text)
        found[name] = {"seconds": time.process_time() - start, "reasons": reasons}
        if maker is C4QualityFilter:
            found[name]["texts"] = texts
    target.write_text(json.dumps(found))


def compare(found: Row, theirs: Row) -> None:
    """Add to each family how fast datatrove was, and where the verdicts differ."""
    for name, row in found["families"].items():
        other = theirs[name]
        drops = [bool(reason) for reason in other["reasons"]]
        pairs = list(zip(row["drops"], drops, strict=True))
        either = sum(own or their for own, their in pairs)
        row["datatrove_seconds"] = other["seconds"]
        row["agreement"] = sum(own == their for own, their in pairs) / len(pairs)
        row["jaccard"] = sum(own and their for own, their in pairs) / max(either, 1)
        row["dropped"], row["datatrove_dropped"] = sum(row["drops"]), sum(drops)
        row["only_ours"] = sum(own and not their for own, their in pairs)
        row["only_theirs"] = dict(
            Counter(reason for (own, their), reason in zip(pairs, other["reasons"], strict=True) if their and not own)
        )
        if row["texts"]:
            kept = [place for place, (own, their) in enumerate(pairs) if not own and not their]
            row["same_texts"] = sum(row["texts"][at] == other["texts"][at] for at in kept) / max(len(kept), 1)


def markdown(found: Row) -> str:
    """One table, the families and all of them together."""
    families = found["families"]
    first = next(iter(families.values()))
    lines = [
        f"{found['machine']}",
        "",
        f"{first['documents']:,} documents, {first['MB']:.1f} MB",
        "",
        "| family | curate MB/s | datatrove MB/s | times | dropped | by datatrove | agreement | Jaccard |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    total = {"MB": first["MB"]}
    total["seconds"] = found["together_seconds"]
    if "datatrove_seconds" in first:
        total["datatrove_seconds"] = sum(row["datatrove_seconds"] for row in families.values())
    lines += [table_row(name, row) for name, row in families.items()]
    lines.append(table_row("together", total))
    lines += [
        f"\n{name}: only ours {row['only_ours']}, only datatrove's {row['only_theirs']}"
        + (f", same texts {row['same_texts']:.4f}" if "same_texts" in row else "")
        for name, row in families.items()
        if "only_ours" in row
    ]
    return "\n".join(lines)


def table_row(name: str, row: Row) -> str:
    """One line of the table."""
    rate = row["MB"] / row["seconds"]
    cells = [name, f"{rate:.1f}"]
    if "datatrove_seconds" in row:
        cells += [f"{row['MB'] / row['datatrove_seconds']:.2f}", f"{row['datatrove_seconds'] / row['seconds']:.0f}"]
    if "agreement" in row:
        cells += [f"{row['dropped']:,}", f"{row['datatrove_dropped']:,}"]
        cells += [f"{row['agreement']:.4f}", f"{row['jaccard']:.4f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
