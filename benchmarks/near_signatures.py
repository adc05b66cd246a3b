"""MinHash signatures alone: 128 permutations of word 5-grams, on one core.

    python near_signatures.py NAME SOURCE REPEAT    one tool on the texts of a folder of Parquet files

`near_duplicates.py` starts it with an interpreter in which the tool is installed. Each tool gets what it takes: the
text and its own way to cut it where it has one, else the shingles, with and without the time that Python's `re` needs
to cut them.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from near_peers import NGRAM, PERMUTATIONS, read, word_shingles

Make = Callable[[Any], Any]


def signature_rates(name: str, source: Path, repeat: int) -> Iterator[dict[str, Any]]:
    """MB/s of 128 permutations of word 5-grams of all texts in a folder, from texts and from shingles."""
    texts = read(source)["text"].combine_chunks()
    mb = sum(len(text.encode()) for text in texts.to_pylist()) / 1e6
    for start, prepare, make in SIGNATURES[name]():
        given = prepare(texts)
        make(prepare(texts[:10]))  # loads kernels and tables
        cpu, wall = zip(*(timed(make, given) for _ in range(repeat)), strict=True)
        yield {
            "case": f"{name}, {start} to signature",
            "mb": mb,
            "mb_per_second": mb / statistics.median(wall),
            "mb_per_cpu_second": mb / statistics.median(cpu),
        }


def timed(make: Make, given: Any) -> tuple[float, float]:
    """Processor time and wall time of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    make(given)
    return time.process_time() - cpu, time.perf_counter() - wall


def strings(texts: Any) -> list[str]:
    """Python strings of an Arrow array."""
    return list(texts.to_pylist())


def cut(texts: Any) -> list[list[str]]:
    """The shingles of every text."""
    return [word_shingles(text) for text in strings(texts)]


def curate_signatures() -> Iterator[tuple[str, Make, Make]]:
    """curate's kernel reads the column of texts."""
    import polars as pl

    from curate.kernels.minhash import signatures

    yield "text", pl.Series, lambda texts: signatures(texts, PERMUTATIONS, ngram=NGRAM)


def daft_signatures() -> Iterator[tuple[str, Make, Make]]:
    """Daft's expression; it takes what spaces separate, so that the text is normalised before, by Daft too."""
    import daft
    from daft import col

    def make(frame: Any, normal: Any) -> Any:
        return frame.select(normal.minhash(num_hashes=PERMUTATIONS, ngram_size=NGRAM, hash_function="xxhash")).collect()

    def frame(texts: Any) -> Any:
        return daft.from_pydict({"text": texts}).collect()

    normal = col("text").normalize(remove_punct=True, lowercase=True, white_space=True)
    yield "text", frame, lambda texts: make(texts, normal)
    yield (
        "normalised text",
        lambda texts: frame(texts).select(text=normal).collect(),
        lambda texts: make(texts, col("text")),
    )


def datasketch_signatures() -> Iterator[tuple[str, Make, Make]]:
    """datasketch in bulk, with its own hash function and its default scheme."""
    from datasketch import MinHash

    def make(shingles: list[list[str]]) -> None:
        encoded = ([shingle.encode() for shingle in each] for each in shingles)
        for one in MinHash.generator(encoded, num_perm=PERMUTATIONS):
            one.digest()

    yield "text", strings, lambda texts: make([word_shingles(text) for text in texts])
    yield "shingles", cut, make


def rensa_signatures() -> Iterator[tuple[str, Make, Make]]:
    """rensa's R-MinHash of full sets, its batch call."""
    from rensa import RMinHash

    def make(shingles: list[list[str]]) -> None:
        RMinHash.digest_matrix_from_token_sets(shingles, num_perm=PERMUTATIONS, seed=1)

    yield "text", strings, lambda texts: make([word_shingles(text) for text in texts])
    yield "shingles", cut, make


def rensa_rho_signatures() -> Iterator[tuple[str, Make, Make]]:
    """rensa's rho sketch, which samples places of the text."""
    from rensa import RMinHash

    def make(shingles: list[list[str]]) -> None:
        RMinHash.digest_matrix_from_token_sets_rho(shingles, num_perm=PERMUTATIONS, seed=1, probes=4)

    yield "text", strings, lambda texts: make([word_shingles(text) for text in texts])
    yield "shingles", cut, make


def fastsketch_signatures() -> Iterator[tuple[str, Make, Make]]:
    """FastSketchLSH's batch call."""
    from FastSketchLSH import FastSimilaritySketch

    sketch = FastSimilaritySketch(size=PERMUTATIONS, seed=42)

    def make(shingles: list[list[str]]) -> None:
        sketch.batch(shingles, num_threads=1)

    yield "text", strings, lambda texts: make([word_shingles(text) for text in texts])
    yield "shingles", cut, make


SIGNATURES: dict[str, Callable[[], Iterator[tuple[str, Make, Make]]]] = {
    "curate": curate_signatures,
    "Daft": daft_signatures,
    "datasketch": datasketch_signatures,
    "rensa": rensa_signatures,
    "rensa rho": rensa_rho_signatures,
    "FastSketchLSH": fastsketch_signatures,
}


if __name__ == "__main__":
    name, source, repeat = sys.argv[1:]
    print(json.dumps(list(signature_rates(name, Path(source), int(repeat)))))
