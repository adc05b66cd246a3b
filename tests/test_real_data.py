"""The engine on real documents: the data in ../shared/data (or CURATE_SHARED)."""

import os
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from engine import hashes

from curate import Pipeline
from curate.filters import ExactDuplicates, Language, Length

pytestmark = pytest.mark.shared


@pytest.fixture
def web() -> Path:
    folder = Path(os.environ.get("CURATE_SHARED", Path(__file__).parent.parent.parent / "shared" / "data")) / "web"
    assert folder.is_dir(), f"no real data in {folder}: set CURATE_SHARED (data/README.md)"
    return folder


def test_the_same_documents_gzipped_and_zstd_give_the_same_data(web: Path, tmp_path: Path) -> None:
    pipeline = Pipeline(steps=[Length(min_words=5), Language(min_confidence=0.3), ExactDuplicates()])
    runs = [pipeline.run(str(web / f"sample.jsonl.{end}"), tmp_path / end) for end in ("gz", "zst")]
    one, two = (hashes(run.root, "dataset/data") for run in runs)
    assert one == two
    ledgers = [run.ledger.drop("file").collect() for run in runs]
    assert ledgers[0].equals(ledgers[1])
    assert runs[0].counts["read"] == 700


def test_everyone_reads_plain_string_columns(web: Path, tmp_path: Path) -> None:
    import datasets
    import duckdb

    pipeline = Pipeline(steps=[Language(), ExactDuplicates()], output={"columns": ("language.label",)})
    run = pipeline.run(str(web / "web-002.parquet"), tmp_path / "out")
    file = str(tmp_path / "out" / "dataset" / "data" / "part-00000.parquet")
    assert {str(field.type) for field in pq.read_schema(file)} == {"string"}
    assert set(pl.read_parquet_schema(file).values()) == {pl.String}
    assert {row[1] for row in duckdb.sql(f"describe select * from '{file}'").fetchall()} == {"VARCHAR"}
    features = datasets.load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path)).features
    assert {feature.dtype for feature in features.values()} == {"string"}
    assert run.kept.collect().height == run.counts["kept"] > 1000


def test_workers_give_the_same_bytes_on_real_data(web: Path, tmp_path: Path) -> None:
    pipeline = Pipeline(steps=[Length(min_words=5), Language(min_confidence=0.3), ExactDuplicates()])
    one = pipeline.run([str(web / "web-002.parquet"), str(web / "web-000.parquet")], tmp_path / "one", workers=1)
    two = pipeline.run([str(web / "web-000.parquet"), str(web / "web-002.parquet")], tmp_path / "two", workers=2)
    assert hashes(one.root) == hashes(two.root)
