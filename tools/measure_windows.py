"""How often a toxic sentence among others is found, and what that costs: python tools/measure_windows.py DATA

DATA is a folder with `toxicity/dev.parquet` and `web/*.parquet` (text, lang, toxic). Short English comments that raters
call toxic, and the hostile sentences of the swap check, are put between sentences of English web documents. For each
window setting it prints the share of them with a toxic window, and the same of the web documents as they are.
No text is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.screen import Screen, load_screen
from curate.swap import bundled, fill
from curate.windows import Windows, aggregate, cut_windows

AROUND = 430  # characters before and after, and up to a sentence more
COMMENTS = 1_500
SETTINGS = ((500, 500), (250, 250), (150, 150), (250, 20), (250, 30), (250, 40), (250, 80))


def web_texts(data: Path) -> pl.Series:
    """The English documents of the web."""
    files = sorted((data / "web").glob("*.parquet"))
    web = pl.concat([pl.read_parquet(file, columns=["text", "lang"]) for file in files])
    return web.filter(pl.col("lang") == "en")["text"]


def neutral(web: pl.Series) -> pl.Series:
    """Runs of whole sentences of prose, one of each document that has one."""
    one_line = web.str.replace_all(r"\s+", " ")
    prose = one_line.str.extract(
        rf"[a-z]\. ([A-Z][^`{{}}<>|\[\]#]{{{AROUND},{AROUND + 200}}}[a-z]\.) [A-Z]"
    ).drop_nulls()
    return prose.sample(fraction=1, seed=1, shuffle=True)


def planted(sentences: list[str], around: pl.Series) -> tuple[pl.Series, Any, Any]:
    """Each sentence between two runs of others, and where it stands, in bytes."""
    pairs = [(around[2 * n % len(around)], around[(2 * n + 1) % len(around)]) for n in range(len(sentences))]
    ended = [s if s.endswith((".", "!", "?", '"')) else s + "." for s in sentences]
    texts = [f"{before} {s} {after}" for (before, after), s in zip(pairs, ended, strict=True)]
    starts = np.array([len(before.encode()) + 1 for before, _ in pairs])
    return pl.Series("text", texts), starts, starts + [len(s.encode()) for s in ended]


def comments(data: Path) -> list[str]:
    """Short English comments that raters call toxic."""
    rows = pl.read_parquet(data / "toxicity" / "dev.parquet").filter(pl.col("lang") == "en", pl.col("toxic") == 1)
    text = rows["text"].str.replace_all(r"\s+", " ").str.strip_chars()
    return text.filter(text.str.len_chars().is_between(20, 120)).sample(COMMENTS, seed=1).to_list()


def hostile() -> list[str]:
    """The hostile sentences of the swap check, which no screen is trained on."""
    return [fill(s, term) for terms in bundled().terms.values() for term in terms for s in bundled().hostile]


def any_toxic(windows: Windows, toxic: Any) -> Any:
    """Which documents have a toxic window."""
    return np.bincount(windows.rows[toxic], minlength=windows.documents) > 0


def found(screen: Screen, texts: pl.Series, starts: Any, ends: Any, limit: int, least: int, at: float) -> float:
    """The share of texts of which a toxic window touches the planted sentence."""
    windows = cut_windows(texts, limit, least=least)
    begin = windows.bounds[:-1] - windows.starts[windows.rows]
    touches = (begin < ends[windows.rows]) & (begin + windows.sizes > starts[windows.rows])
    return float(any_toxic(windows, touches & (screen.scores(windows.texts) >= at)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--screen", type=Path, default=Path("curate/data"), help="folder of the three files")
    parser.add_argument("--at", type=float, nargs="*", default=[0.5], help="scores from which a window is toxic")
    given = parser.parse_args()
    screen, web = load_screen(given.screen), web_texts(given.data)
    around = neutral(web)
    on_comments, on_hostile = planted(comments(given.data), around), planted(hostile(), around)
    print(f"{len(web):,} web documents, {len(around):,} runs of sentences")
    print("| longest | least | toxic at | comments | hostile | web documents | web text | share > 20 % | windows |")
    for limit, least in SETTINGS:
        windows = cut_windows(web, limit, least=least)
        scores = screen.scores(windows.texts) * windows.readable
        for at in given.at:
            of_text = aggregate(windows, scores, scores >= at)
            cells = [
                found(screen, *on_comments, limit, least, at),
                found(screen, *on_hostile, limit, least, at),
                float((of_text.share > 0).mean()),
                float(windows.sizes[scores >= at].sum() / windows.sizes.sum()),
                float((of_text.share > 0.2).mean()),
            ]
            print(f"| {limit} | {least} | {at} |", " | ".join(f"{cell:.1%}" for cell in cells), f"| {len(scores):,} |")


if __name__ == "__main__":
    main()
