"""Near-duplicate tools, each run as its project documents it: Parquet with id and text in, what it keeps out.

    python near_peers.py version NAME                      its version, or the error of its import
    python near_peers.py run NAME SETTING SOURCE OUTPUT N  one run with N processes or threads

`near_duplicates.py` starts it with an interpreter in which the tool is installed; nothing of curate is needed there.
SETTING is `own` (the defaults of the tool, or of its documented example where it has none) or `same` (word 5-grams of
the lower-cased text, threshold 0.8, as near to that as its options allow).
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

NGRAM = 5
THRESHOLD = 0.8
PERMUTATIONS = 128
BANDS, ROWS = 14, 7  # what curate chooses: the most rows that find .8 with probability .95 within 128 permutations
WORD = re.compile(r"\w+")


class Job(NamedTuple):
    """One run: a folder of Parquet files, a folder to write to, processes or threads, and the setting."""

    source: Path
    output: Path
    workers: int
    same: bool


class Peer(NamedTuple):
    """A tool: its package, how it runs, and what its two settings are in words.

    `same` is empty where the defaults are the task. `marks_all` says that it marks every member of a group of
    duplicates instead of choosing one that stays.
    """

    package: str
    run: Callable[[Job], None]
    own: str
    same: str
    parallel: bool = True
    marks_all: bool = False


def main(task: str, name: str, *rest: str) -> None:
    """Do one task for one tool."""
    if task == "version":
        print(json.dumps(version(PEERS[name].package)))
    else:
        setting, source, output, workers = rest
        PEERS[name].run(Job(Path(source), Path(output), int(workers), setting == "same"))


def version(package: str) -> dict[str, str]:
    """The installed version of a package, or the error that says why there is none."""
    try:
        return {"version": importlib.metadata.version(package)}
    except importlib.metadata.PackageNotFoundError as error:
        return {"error": f"not installed: {error}"}


# --- what the libraries need around them ------------------------------------------------------------------------------


def read(source: Path) -> Any:
    """All documents as an Arrow table."""
    import pyarrow.parquet as pq

    return pq.read_table(source, columns=["id", "text"])


def write(table: Any, keep: Sequence[bool], output: Path) -> None:
    """The documents that are kept, as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(table.filter(pa.array(keep)), output / "kept.parquet", compression="zstd", compression_level=3)


def word_shingles(text: str) -> list[str]:
    """The word 5-grams of the lower-cased text; of a shorter text, all its words."""
    words = WORD.findall(text.lower())
    return [" ".join(words[at : at + NGRAM]) for at in range(max(1, len(words) - NGRAM + 1))]


def split_shingles(text: str, ngram: int) -> list[str]:
    """The n-grams of what white space separates in the lower-cased text; of a shorter text, its words."""
    words = text.lower().split()
    if ngram == 1 or len(words) < ngram:
        return words
    return [" ".join(words[at : at + ngram]) for at in range(len(words) - ngram + 1)]


def keep_first(candidates: Iterable[Iterable[int]]) -> list[bool]:
    """Keep a row unless one of its candidates stands before it and is kept."""
    keep: list[bool] = []
    for row, found in enumerate(candidates):
        keep.append(not any(other < row and keep[other] for other in found))
    return keep


# --- whole tools ------------------------------------------------------------------------------------------------------


def run_curate(job: Job) -> None:
    """`curate run` with the one step near_duplicates."""
    from curate.pipeline import Pipeline
    from curate.run import run_pipeline

    text = f"name: benchmark\ninput: {{paths: ['{job.source}'], id: id}}\nsteps:\n- near_duplicates\n"
    run = run_pipeline(Pipeline.parse(text, base=job.source), None, job.output / "run", workers=job.workers)
    print(json.dumps(run.manifest["seconds"]), file=sys.stderr)


def run_datatrove(job: Job) -> None:
    """Its four stages, each with its local executor, as in its example minhash_deduplication.py."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
    )
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.text import TextNormConfig
    from datatrove.utils.typeshelper import Languages

    plain = TextNormConfig(norm_numbers=False, norm_unicode_diacritics=False)
    config = (
        MinhashConfig(norm_config=plain, num_buckets=BANDS, hashes_per_bucket=ROWS) if job.same else MinhashConfig()
    )
    signatures, buckets, removed = (str(job.output / name) for name in ("signatures", "buckets", "removed"))
    files = len(list(job.source.glob("*.parquet")))
    stages: list[tuple[int, list[Any]]] = [
        (
            files,
            [ParquetReader(str(job.source)), MinhashDedupSignature(signatures, config, language=Languages.english)],
        ),
        (config.num_buckets, [MinhashDedupBuckets(signatures, buckets, config=config)]),
        (1, [MinhashDedupCluster(buckets, removed, config=config)]),
        (files, [ParquetReader(str(job.source)), MinhashDedupFilter(removed), ParquetWriter(str(job.output / "kept"))]),
    ]
    for number, (tasks, steps) in enumerate(stages):
        logs = str(job.output / f"logs-{number}")
        LocalPipelineExecutor(pipeline=steps, tasks=tasks, workers=job.workers, logging_dir=logs).run()


def run_text_dedup(job: Job) -> None:
    """Its command `python -m text_dedup.minhash`."""
    from text_dedup.minhash import main as command

    options = ["--path", "parquet", "--data_files", f"{job.source}/*.parquet", "--split", "train", "--column", "text"]
    options += ["--cache_dir", str(job.output / "cache"), "--output", str(job.output / "kept")]
    options += ["--num_proc", str(job.workers)]
    if job.same:
        options += ["--threshold", str(THRESHOLD), "--ngram", str(NGRAM), "--hash_func", "xxh3", "--min_length", "1"]
    command(options, standalone_mode=False)


def run_data_juicer(job: Job) -> None:
    """Its command `dj-process` with the one operator document_minhash_deduplicator."""
    from data_juicer.tools.process_data import main as command

    same = {"jaccard_threshold": THRESHOLD, "window_size": NGRAM, "ignore_pattern": r"[^\w\s]"}
    recipe = {
        "project_name": "benchmark",
        "dataset_path": str(job.source),
        "export_path": str(job.output / "kept" / "kept.parquet"),
        "np": job.workers,
        "process": [{"document_minhash_deduplicator": same if job.same else {}}],
    }
    path = job.output / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    sys.argv = ["dj-process", "--config", str(path)]
    command()


def run_daft(job: Job) -> None:
    """Its example minhash-dedupe: normalise, minhash, bands, groups; the components by scipy, as nothing is faster."""
    import daft
    import numpy as np
    from daft import col
    from daft.functions import chunk, length
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    bands, rows = (BANDS, ROWS) if job.same else (8, 8)

    @daft.func()
    def numbers(found: list[list[int]]) -> list[int]:
        return list(range(bands))

    documents = daft.read_parquet(f"{job.source}/*.parquet").select("id", "text")
    normal = col("text").normalize(remove_punct=True, lowercase=True, nfd_unicode=not job.same, white_space=True)
    hashes = normal.minhash(num_hashes=bands * rows, ngram_size=NGRAM, seed=42, hash_function="xxhash")
    cut = documents.select("id", bands=chunk(hashes, rows)).with_column("band", numbers(col("bands")))
    groups = cut.explode("bands", "band").groupby("band", "bands").agg(col("id").list_agg().alias("ids"))
    groups = groups.where(length(col("ids")) > 1).select("ids").collect()
    found = groups.to_pydict()["ids"]
    ids = list(dict.fromkeys(one for group in found for one in group))
    number = {one: place for place, one in enumerate(ids)}
    edges = np.array([(number[group[0]], number[one]) for group in found for one in group], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(ids), len(ids)))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    dropped = daft.from_pydict({"id": sorted(set(ids) - {ids[place] for place in first}) or [""]})
    documents.join(dropped, on="id", how="anti").write_parquet(str(job.output / "kept"))


# --- libraries: a program of a user around them -----------------------------------------------------------------------


def run_datasketch(job: Job) -> None:
    """Signatures in bulk, then its LSH index: a document stays unless the index already holds one like it."""
    from datasketch import MinHash, MinHashLSH

    table = read(job.source)
    shingles = ([shingle.encode() for shingle in word_shingles(text)] for text in table["text"].to_pylist())
    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS) if job.same else MinHashLSH()
    keep = []
    for row, signature in enumerate(MinHash.generator(shingles, num_perm=PERMUTATIONS)):
        keep.append(not index.query(signature))
        if keep[-1]:
            index.insert(row, signature, check_duplication=False)
    write(table, keep, job.output)


def run_rensa(job: Job) -> None:
    """Its deduplicator with LSH, as in its README; candidates are checked against the estimated similarity."""
    from rensa import RMinHashDeduplicator

    table = read(job.source)
    cut = word_shingles if job.same else str.split
    index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    keep = index.add_pairs((str(row), cut(text)) for row, text in enumerate(table["text"].to_pylist()))
    write(table, keep, job.output)


def run_rensa_rho(job: Job) -> None:
    """Its rho pipeline, as in its full_benchmark.py, which marks every member of a group."""
    from rensa import RMinHash, RMinHashLSH

    table = read(job.source)
    texts = table["text"].to_pylist()
    shingles = [word_shingles(text) if job.same else split_shingles(text, 3) for text in texts]
    matrix = RMinHash.digest_matrix_from_token_sets_rho(shingles, num_perm=PERMUTATIONS, seed=12345, probes=4)
    index = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=16 if job.same else 8)
    marked = index.query_duplicate_flags_matrix_one_shot(matrix)
    write(table, [not one for one in marked], job.output)


def run_gaoya(job: Job) -> None:
    """Its string index: all documents in, then all asked for."""
    from gaoya.minhash import MinHashStringIndex

    table = read(job.source)
    texts = table["text"].to_pylist()
    index = (
        MinHashStringIndex(
            jaccard_threshold=THRESHOLD,
            num_bands=None,
            band_size=None,
            num_hashes=PERMUTATIONS,
            lowercase=True,
            ngram_range=(NGRAM, NGRAM),
        )
        if job.same
        else MinHashStringIndex()
    )
    index.par_bulk_insert_docs(list(range(len(texts))), texts)
    write(table, keep_first(index.par_bulk_query(texts)), job.output)


def run_fastsketch(job: Job) -> None:
    """Its batch of sketches and its LSH index, as in its README; the first of what the index finds together stays."""
    import numpy as np
    from FastSketchLSH import LSH, FastSimilaritySketch

    table = read(job.source)
    texts = table["text"].to_pylist()
    shingles = [word_shingles(text) if job.same else sorted(set(text.lower().split())) for text in texts]
    sketches = FastSimilaritySketch(size=PERMUTATIONS, seed=42).batch(shingles, num_threads=job.workers)
    index = LSH(num_perm=PERMUTATIONS, num_bands=16, num_threads=job.workers)
    index.insert(sketches)
    flat, starts = index.query(sketches, format="csr")
    write(table, keep_first(np.split(flat, starts[1:-1].astype(np.int64))), job.output)


def run_dedup_rs(job: Job) -> None:
    """text-dedup's steps in Rust: bands of all documents, clusters, the first of each stays."""
    import numpy as np
    from dedup_rs import EmbedFunc

    table = read(job.source)
    texts = table["text"].to_pylist()
    numbers = np.arange(len(texts), dtype=np.uint32)
    # text-dedup's defaults: the package documents none
    threshold, least = (THRESHOLD, 1) if job.same else (0.7, 5)
    bands = EmbedFunc(threshold, 250, NGRAM, 0.5, 0.5, "text", "id", "u32", least)
    bands.batch_embed_shard(texts, numbers)
    cluster = np.asarray(bands.cluster().batch_find(numbers))
    _, first = np.unique(cluster, return_index=True)
    write(table, np.isin(numbers, first).tolist(), job.output)


PEERS = {
    "curate": Peer("curate-corpus", run_curate, f"threshold .8, word 5-grams, {BANDS} x {ROWS}, verified", ""),
    "datatrove": Peer(
        "datatrove",
        run_datatrove,
        "word 5-grams of simplified text, 14 x 8, 64 bits, xxhash",
        f"digits and diacritics kept, {BANDS} x {ROWS}",
    ),
    "text-dedup": Peer(
        "text-dedup",
        run_text_dedup,
        "threshold .7, word 5-grams, 250 permutations, sha1, texts of 5 words or more",
        "threshold .8, xxh3, texts of any length",
    ),
    "Data-Juicer": Peer(
        "py-data-juicer",
        run_data_juicer,
        "threshold .7, 5-grams between white space, 256 permutations",
        "threshold .8, punctuation ignored",
    ),
    "Daft": Peer(
        "daft", run_daft, "its example: 8 x 8, 5-grams of normalised text", f"{BANDS} x {ROWS}, diacritics kept"
    ),
    "datasketch": Peer(
        "datasketch", run_datasketch, "threshold .9, 128 permutations; word 5-grams", "threshold .8", parallel=False
    ),
    "rensa": Peer("rensa", run_rensa, "its README: threshold .8, 128 slots, single words", "word 5-grams"),
    "rensa rho": Peer(
        "rensa",
        run_rensa_rho,
        "its benchmark: 128 slots, 8 bands, 3-grams between white space",
        "16 x 8, word 5-grams",
        marks_all=True,
    ),
    "gaoya": Peer(
        "gaoya",
        run_gaoya,
        "threshold .75, 20 x 5, single words between white space, as written",
        "threshold .8, 128 hashes, lower-cased 5-grams between white space",
    ),
    "FastSketchLSH": Peer(
        "FastSketchLSH",
        run_fastsketch,
        "its README: 16 x 8, single words between white space",
        "16 x 8, word 5-grams",
    ),
    "dedup-rs": Peer(
        "dedup-rs", run_dedup_rs, "threshold .7, word 5-grams, 250 permutations", "threshold .8, texts of any length"
    ),
}


if __name__ == "__main__":
    main(*sys.argv[1:])
