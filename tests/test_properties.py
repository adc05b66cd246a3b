"""Whatever the lines of a file are: no unhandled exception, nothing lost, and the same bytes for any size of chunk."""

import tempfile
from pathlib import Path
from unittest import mock

import orjson
from engine import FirstLetter, Mask, hashes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import Pipeline
from curate.errors import UsageError
from curate.filters import ExactDuplicates, Length

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.lists(st.integers(), max_size=2)
)
KEYS = st.sampled_from(["id", "text", "a", "b", "text ", "ID"])
RECORDS = st.dictionaries(KEYS, VALUES, max_size=5).filter(lambda record: fits(record)).map(orjson.dumps)
GOOD = st.tuples(st.text(alphabet="ab ~2", max_size=3), st.text(max_size=30)).map(
    lambda pair: orjson.dumps({"id": pair[0], "text": pair[1].encode("utf-8", "ignore").decode()})
)
LINES = st.lists(st.one_of(GOOD, GOOD, RECORDS, st.binary(max_size=30)), max_size=25)


def fits(record: dict[str, object]) -> bool:
    """Whether orjson can write it: 64-bit integers, no lone surrogates."""
    try:
        orjson.dumps(record)
    except (TypeError, ValueError):
        return False
    return True


def run(folder: Path, name: str, chunk_bytes: int) -> dict[str, str] | str:
    pipeline = Pipeline(steps=[Length(min_chars=1), Mask(), ExactDuplicates(), FirstLetter()], max_quarantined=1.0)
    with mock.patch("curate.plan.CHUNK_BYTES", chunk_bytes):
        try:
            done = pipeline.run([str(folder / "*.jsonl")], folder / name, workers=1)
        except UsageError as error:
            return str(error)
    counts = done.counts
    ledger = done.ledger.collect()
    assert counts["read"] == counts["kept"] + counts["dropped"] + counts["quarantined"]
    assert ledger.height + done.quarantine.height == counts["read"]
    assert ledger["id"].is_unique().all()
    assert done.kept.collect().height == counts["kept"]
    return hashes(done.root, "dataset/data", "audit/ledger", "audit/quarantine")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(LINES, min_size=1, max_size=2), st.integers(1, 300))
def test_any_lines_any_chunks(files: list[list[bytes]], chunk_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, lines in enumerate(files):
            (folder / f"{number}.jsonl").write_bytes(b"\n".join(lines) + b"\n" * bool(lines))
        assert run(folder, "whole", 64_000_000) == run(folder, "cut", chunk_bytes)
