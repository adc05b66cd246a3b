"""Throughput of chat and preference records beside that of the same characters as plain texts, through the same steps.

    python benchmarks/records.py [MEGABYTES]

The texts are made of random words, so that the figure depends on no data. Plain texts are one turn each; chats have
four turns, preference records a prompt of two turns and two answers, as messages or as transcripts (where both
transcripts repeat the prompt); steps judge each turn (`on: each_turn`).
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from curate import Pipeline
from curate.filters import Language, Length, RedactPii
from curate.pipeline import Step
from curate.run import Run

WORDS = [f"{letter}{ending}" for letter in "bdfghlmnprst" for ending in ("ad", "en", "ill", "ore", "un")]
ROLES = ("user", "assistant")
REPEATS = 7


def turns(size: int) -> Iterator[str]:
    """Texts of 20 to 200 words, `size` bytes together; some hold an address."""
    chance = random.Random(1)
    made = 0
    while made < size:
        text = " ".join(chance.choices(WORDS, k=chance.randint(20, 200)))
        if chance.random() < 0.05:
            text += f" write to name{made}@example.org"
        made += len(text)
        yield text


def fours(texts: list[str]) -> Iterator[list[dict[str, str]]]:
    """Four turns at a time, as messages."""
    for at in range(0, len(texts) - 3, 4):
        yield [{"role": ROLES[n % 2], "content": text} for n, text in enumerate(texts[at : at + 4])]


def inputs(texts: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The same texts as records of every kind."""
    several = list(fours(texts))
    return {
        "text": [{"text": message["content"]} for messages in several for message in messages],
        "chat": [{"messages": messages} for messages in several],
        "preference": [
            {"prompt": [one[0], one[1] | {"role": "assistant"}, one[2]][:2], "chosen": [one[2] | {"role": "assistant"}],
             "rejected": [one[3]]}
            for one in several
        ],
        "transcripts": [
            {"chosen": transcript(one[0], one[1], one[2]), "rejected": transcript(one[0], one[1], one[3])}
            for one in several
        ],
    }  # fmt: skip


def transcript(*messages: dict[str, str]) -> str:
    """Messages in turn as HH-RLHF writes them."""
    markers = ("Human", "Assistant")
    return "".join(f"\n\n{markers[n % 2]}: {message['content']}" for n, message in enumerate(messages))


KINDS = {"text": "text", "chat": "chat", "preference": "preference", "transcripts": "preference"}


def run(kind: str, file: Path, output: Path) -> Run:
    """Length, personal data and language over every text."""
    on = "whole" if kind == "text" else "each_turn"
    filters = (("length", Length(min_words=5)), ("pii", RedactPii()), ("language", Language(keep=["en"])))
    steps = [Step(name=name, filter=filter, on=on) for name, filter in filters]
    pipeline = Pipeline(steps=steps, input={"kind": KINDS[kind]}, audit={"sample": 0})
    return pipeline.run(str(file), output, workers=1)


def main() -> None:
    """Print per kind the best MB/s of text, and the time beside that of plain texts in the same round: the median."""
    size = int(sys.argv[1]) * 1_000_000 if len(sys.argv) > 1 else 20_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, records in inputs(list(turns(size))).items():
            (folder / f"{kind}.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in records))
        took: dict[str, list[float]] = {kind: [] for kind in KINDS}
        best: dict[str, Run] = {}
        for repeat in range(REPEATS):
            for kind, times in took.items():
                started = time.perf_counter()
                done = run(kind, folder / f"{kind}.jsonl", folder / f"{kind}-{repeat}")
                times.append(time.perf_counter() - started)
                if times[-1] == min(times):
                    best[kind] = done
        for kind, times in took.items():
            manifest = best[kind].manifest
            ratios = sorted(one / text for one, text in zip(times, took["text"], strict=True))
            spent = manifest["seconds"] | {one["step"]: one["seconds"] for one in manifest["work"]}
            parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in spent.items())
            rate = manifest["bytes"]["read"] / min(times) / 1e6
            print(
                f"{kind:11} {rate:6.1f} MB/s  {median(ratios):.2f} times the time of plain texts "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})  ({parts} s)"
            )


if __name__ == "__main__":
    main()
