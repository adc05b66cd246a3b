"""The reader: every record comes back, good or bad, under its right number, whatever the file, cuts and batches."""

import datetime
import decimal
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import hostile
import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.errors import StoppedError, UsageError
from curate.read import Columns, Cut, Source, Survey, find_sources, hash_ids, read, survey, unite
from curate.sources import scrub

TEXT_AND_ID = Columns("text", "id", {"id": pl.String(), "text": pl.String()})


@dataclass
class Found:
    """All that survey and read say of one file."""

    survey: Survey
    hashes: np.ndarray
    columns: Columns
    records: pl.DataFrame
    bad: pl.DataFrame
    batches: int

    @property
    def texts(self) -> dict[int, str]:
        return dict(self.records.select("row", "text").rows())

    @property
    def errors(self) -> dict[int, str]:
        return dict(self.bad.select("row", "error").rows())


def source(path: Path) -> Source:
    (found,) = find_sources([path.name], path.parent)
    return found


def load(
    path: Path | Source,
    id: str | None = "id",
    *,
    chunk_bytes: int = 64_000_000,
    batch_bytes: int = 16_000_000,
    max_record: int = hostile.MAX_RECORD,
    want: Sequence[str] | None = None,
    columns: Columns | None = None,
) -> Found:
    one = path if isinstance(path, Source) else source(path)
    found, hashes = survey(one, "text", id, chunk_bytes=chunk_bytes, max_record=max_record)
    columns = columns or (unite([(one, found)], "text", id) if found.columns else TEXT_AND_ID)
    batches = [
        batch
        for cut in found.cuts
        for batch in read(one, cut, columns, want=want, batch_bytes=batch_bytes, max_record=max_record)
    ]
    schema = {"row": pl.Int64(), "id": pl.String(), "text": pl.String()}
    records = pl.concat([batch.records for batch in batches]) if batches else pl.DataFrame(schema=schema)
    bad_schema = {"row": pl.Int64(), "id": pl.String(), "error": pl.String(), "raw": pl.Binary()}
    bad = pl.concat([batch.bad for batch in batches]) if batches else pl.DataFrame(schema=bad_schema)
    return Found(found, hashes, columns, records, bad, len(batches))


def lines(path: Path, *records: object) -> Path:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def assert_errors(found: Mapping[int, str], wanted: Mapping[int, str]) -> None:
    assert found.keys() == wanted.keys()
    assert {row: error for row, error in found.items() if not error.startswith(wanted[row])} == {}


# --- sources ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.jsonl", "deep/er/c.jsonl", ".hidden/d.jsonl", "_tmp/e.jsonl"):
        path = tmp_path / "crawl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hostile.good_lines(1))
    (tmp_path / "crawl" / "settings.json").write_text("{}")
    (tmp_path / "crawl" / "README.md").write_text("no records")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("crawl/a.jsonl", ["crawl/a.jsonl"]),
        ("crawl/*.jsonl", ["crawl/a.jsonl", "crawl/b.jsonl"]),
        ("./crawl/[ab].jsonl", ["./crawl/a.jsonl", "./crawl/b.jsonl"]),
        ("crawl/**/*.jsonl", ["crawl/_tmp/e.jsonl", "crawl/a.jsonl", "crawl/b.jsonl", "crawl/deep/er/c.jsonl"]),
        ("crawl", ["crawl/a.jsonl", "crawl/b.jsonl", "crawl/deep/er/c.jsonl"]),
        ("crawl/", ["crawl/a.jsonl", "crawl/b.jsonl", "crawl/deep/er/c.jsonl"]),
        ("crawl/settings.json", ["crawl/settings.json"]),
    ],
)
def test_a_pattern_names_files_as_it_wrote_them(crawl: Path, pattern: str, files: list[str]) -> None:
    assert [one.file for one in find_sources([pattern], crawl)] == files


def test_an_absolute_pattern_gives_absolute_files(crawl: Path) -> None:
    assert [one.file for one in find_sources([f"{crawl}/crawl/*.jsonl"], Path("/"))] == [
        f"{crawl}/crawl/a.jsonl",
        f"{crawl}/crawl/b.jsonl",
    ]


def test_files_are_sorted_and_come_once_whatever_the_order_of_patterns(crawl: Path) -> None:
    patterns = ["crawl/b.jsonl", "crawl/*.jsonl", "crawl", "./crawl/a.jsonl"]
    there, back = find_sources(patterns, crawl), find_sources(patterns[::-1], crawl)
    assert there == back
    assert [one.file for one in there] == ["./crawl/a.jsonl", "crawl/b.jsonl", "crawl/deep/er/c.jsonl"]


def test_a_source_knows_where_it_is_and_which_version_it_has(crawl: Path) -> None:
    (one,) = find_sources(["crawl/a.jsonl"], crawl)
    state = (crawl / "crawl/a.jsonl").stat()
    assert one.url == str(crawl / "crawl/a.jsonl")
    assert (one.size, one.version) == (state.st_size, f"{state.st_size}:{state.st_mtime_ns}")


def test_a_name_with_glob_characters_is_a_file_first(tmp_path: Path) -> None:
    lines(tmp_path / "data[1].jsonl", {"text": "a"})
    assert [one.file for one in find_sources(["data[1].jsonl"], tmp_path)] == ["data[1].jsonl"]


@pytest.mark.parametrize("pattern", ["none/*.jsonl", "none.jsonl", "crawl/_tmp/*.csv", "s3-no-such"])
def test_a_pattern_without_files_is_an_error_with_a_hint(crawl: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="no input file matches") as caught:
        find_sources([pattern], crawl)
    assert pattern in caught.value.message
    assert str(crawl) in str(caught.value.hint)


@pytest.mark.parametrize("pattern", ["crawl/README.md", "crawl/*"])
def test_an_unknown_extension_is_an_error(crawl: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match=r"crawl/README\.md: cannot tell the format") as caught:
        find_sources([pattern], crawl)
    assert ".jsonl" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["a.parquet.gz", "a.jsonl.bz2", "a.gz", "a"])
def test_extensions_that_are_no_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(UsageError, match="cannot tell the format"):
        find_sources([name], tmp_path)


@pytest.mark.parametrize(
    ("name", "stored", "format", "compression"),
    [
        ("a.jsonl", "plain", "jsonl", None),
        ("a.ndjson", "plain", "jsonl", None),
        ("a.json", "plain", "jsonl", None),
        ("A.JSONL.GZ", "gzip", "jsonl", "gzip"),
        ("a.csv.zst", "zstd", "csv", "zstd"),
        ("a.csv.zstd", "zstd", "csv", "zstd"),
        ("a.jsonl", "gzip", "jsonl", "gzip"),
        ("a.jsonl.gz", "zstd", "jsonl", "zstd"),
        ("a.jsonl.zst", "plain", "jsonl", None),
    ],
)
def test_content_decides_on_compression(tmp_path: Path, name: str, stored: str, format: str, compression: str) -> None:
    (tmp_path / name).write_bytes(hostile.compress(hostile.good_lines(3), stored))
    one = source(tmp_path / name)
    assert (one.format, one.compression) == (format, compression)


@pytest.mark.parametrize("name", ["a.jsonl", "part-0", "a.csv.gz"])
def test_content_decides_on_parquet(tmp_path: Path, name: str) -> None:
    hostile.write_parquet(tmp_path / name)
    assert (source(tmp_path / name).format, source(tmp_path / name).compression) == ("parquet", None)


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lines(tmp_path / "a.jsonl", {"text": "a"})
    one = source(path)
    path.unlink()
    with pytest.raises(StoppedError, match=r"a\.jsonl: cannot be read"):
        survey(one, "text", None, chunk_bytes=100, max_record=100)
    with pytest.raises(StoppedError, match=r"a\.jsonl: cannot be read"):
        list(read(one, Cut(0, -1, 0, 1), TEXT_AND_ID))


# --- JSON lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", hostile.SUFFIXES)
def test_every_good_record_survives_between_every_fault(tmp_path: Path, compression: str) -> None:
    mixed = hostile.mixed_lines()
    path = tmp_path / f"mixed.jsonl{hostile.SUFFIXES[compression]}"
    path.write_bytes(hostile.compress(mixed.data, compression))
    found = load(path)
    assert found.texts == mixed.texts
    assert dict(found.records.select("row", "id").rows()) == mixed.ids
    assert_errors(found.errors, mixed.errors)
    assert found.survey.rows == len(mixed.texts) + len(mixed.errors)


def test_bad_records_keep_their_bytes_and_no_reason_holds_text(tmp_path: Path) -> None:
    mixed = hostile.mixed_lines()
    (tmp_path / "mixed.jsonl").write_bytes(mixed.data)
    bad = load(tmp_path / "mixed.jsonl").bad
    wanted = [line for line, _ in hostile.BAD_LINES.values()]
    for (row, _, error, raw), line in zip(bad.rows(), wanted, strict=True):
        assert raw == line[:65_536], row
        assert ("65536" in error) == (len(line) > 65_536)
        assert len(error) < 200


def test_the_id_of_a_bad_record_is_told_when_it_is_known(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"id": "x"}, {"id": 7, "text": None}, {"id": 1.5}, {"text": 1}, [])
    assert load(path).bad["id"].to_list() == ["x", "7", None, None, None]


def test_integer_ids_become_decimal_strings(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"id": -4, "text": ""}, {"id": 2**63 - 1, "text": ""}, {"id": "x", "text": ""})
    assert load(path).records["id"].to_list() == ["-4", "9223372036854775807", "x"]


def test_without_an_id_column_ids_are_file_and_row(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"text": "a"}, {"text": None}, {"text": "c"})
    found = load(path, None)
    assert found.records["id"].to_list() == ["a.jsonl#0", "a.jsonl#2"]
    assert found.bad["id"].to_list() == ["a.jsonl#1"]
    assert len(found.hashes) == 0


def test_a_last_line_without_line_feed_counts_and_a_cut_one_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(hostile.good_lines(2) + b'{"id":"x","text":"cut of')
    found = load(path)
    assert len(found.texts) == 2
    assert_errors(found.errors, {2: "truncated: the last line has no end"})
    path.write_bytes(hostile.good_lines(3).rstrip())
    assert len(load(path).texts) == 3


def test_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    texts = ["a\u2028b", "c\vd", "e\u0085f", "g\x1ch\x0ci"]
    path = tmp_path / "a.jsonl"
    path.write_bytes("".join(f'{{"text":"{t}"}}\n' for t in texts[::2]).encode())
    assert list(load(path, None).texts.values()) == texts[::2]


def test_a_file_of_line_feeds_is_all_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n" * 120_000)
    found = load(tmp_path / "a.jsonl")
    assert found.survey.rows == found.bad.height == 120_000
    assert found.bad["error"].unique().to_list() == ["empty line"]


MEMORY = """
import resource, sys
from pathlib import Path
from curate.read import Columns, find_sources, read, survey
import polars as pl

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

(small, huge) = find_sources(["0.jsonl.gz", "1.jsonl.gz"], Path(sys.argv[1]))
columns = Columns("text", "id", {"id": pl.String(), "text": pl.String()})
for source in (small, huge):
    before = peak()
    found, _ = survey(source, "text", "id", chunk_bytes=64_000_000, max_record=16_000_000)
    batches = [batch for cut in found.cuts for batch in read(source, cut, columns)]
print(peak() - before)
print([batch.records.rows() for batch in batches], [batch.bad.select("row", "error").rows() for batch in batches])
"""


def test_a_256_mb_line_in_a_small_gzip_takes_little_memory(tmp_path: Path) -> None:
    (tmp_path / "0.jsonl.gz").write_bytes(hostile.compress(hostile.noise(100), "gzip"))
    hostile.write_huge_line(tmp_path / "1.jsonl.gz")
    assert (tmp_path / "1.jsonl.gz").stat().st_size < 300_000
    done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True)
    extra, records = done.stdout.splitlines()
    assert float(extra) < 100  # MiB
    assert "(0, 'good-0', 'document 0')" in records
    assert "(2, 'good-2', 'document 2')" in records
    assert "(1, 'record too large: 256000023 bytes" in records


# --- damaged streams --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_records_before_a_cut_are_kept_and_the_rest_is_one_bad_record(tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"a.jsonl{hostile.SUFFIXES[compression]}"
    path.write_bytes(hostile.truncated(hostile.compress(hostile.noise(3_000), compression)))
    found = load(path)
    rows = list(found.texts)
    assert rows == list(range(len(rows)))
    assert len(rows) > 1_500
    assert_errors(found.errors, {len(rows): "truncated"})


def test_a_truncated_gzip_gives_every_byte_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(hostile.compress(hostile.noise(600), "gzip")[:-9])
    assert len(load(path).texts) >= 599


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [("trailing garbage", "corrupt"), ("trailing zeros", "corrupt"), ("last bytes cut", "truncated")],
)
def test_damage_at_the_end_is_never_silent(tmp_path: Path, compression: str, damage: str, reason: str) -> None:
    path = tmp_path / f"a.jsonl{hostile.SUFFIXES[compression]}"
    path.write_bytes(hostile.DAMAGE[damage](hostile.compress(hostile.good_lines(50), compression)))
    found = load(path)
    assert found.bad.height == 1
    assert found.bad["error"][0].startswith(reason)
    if damage != "last bytes cut":
        assert len(found.texts) == 50


def test_a_flipped_bit_in_a_gzip_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(hostile.flipped(hostile.compress(hostile.noise(3_000), "gzip")))
    errors = load(path).errors
    assert errors
    assert list(errors.values())[-1].startswith("corrupt")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_two_members_are_one_stream(tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"a.jsonl{hostile.SUFFIXES[compression]}"
    path.write_bytes(hostile.compress(hostile.good_lines(5), compression) * 2)
    found = load(path)
    assert (len(found.texts), found.errors) == (10, {})


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("a.jsonl", []),
        ("a.csv", []),
        ("a.jsonl.gz", ["truncated: the file has no bytes"]),
        ("a.csv.zst", ["truncated: the file has no bytes"]),
        ("a.parquet", ["truncated: the file has no bytes"]),
    ],
)
def test_a_file_without_bytes(tmp_path: Path, name: str, errors: list[str]) -> None:
    (tmp_path / name).write_bytes(b"")
    found = load(tmp_path / name)
    assert found.survey.rows == len(errors)
    assert found.survey.columns == {}
    assert list(found.errors.values()) == errors


# --- what must hold for every file ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return hostile.write_all(tmp_path_factory.mktemp("hostile"))


def test_survey_and_read_agree_on_every_hostile_file(hostile_files: list[Path]) -> None:
    for path in hostile_files:
        whole = load(path)
        rows = sorted([*whole.records["row"], *whole.bad["row"]])
        assert rows == list(range(whole.survey.rows)), path.name
        assert len(whole.hashes) == whole.survey.rows, path.name
        assert [cut.row for cut in whole.survey.cuts] == [
            sum(cut.rows for cut in whole.survey.cuts[:n]) for n in range(len(whole.survey.cuts))
        ]
        assert not whole.bad["error"].is_null().any()


def test_cuts_and_batches_change_nothing_on_any_hostile_file(hostile_files: list[Path]) -> None:
    for path in hostile_files:
        if "line-feeds" in path.name:
            continue
        whole = load(path)
        for chunk_bytes, batch_bytes in ((20_000, 16_000_000), (64_000_000, 3_000), (777, 777)):
            parts = load(path, chunk_bytes=chunk_bytes, batch_bytes=batch_bytes)
            assert parts.records.equals(whole.records), path.name
            assert parts.bad.sort("row").equals(whole.bad.sort("row")), path.name
            assert parts.survey.columns == whole.survey.columns, path.name
            assert (parts.hashes == whole.hashes).all(), path.name


def test_wanted_columns_never_decide_which_records_are_bad(hostile_files: list[Path]) -> None:
    for path in hostile_files:
        whole, narrow = load(path), load(path, want=())
        assert narrow.records.columns == ["row", "id", "text"], path.name
        assert narrow.records.equals(whole.records.select("row", "id", "text")), path.name
        assert narrow.bad.equals(whole.bad), path.name


def test_cuts_of_plain_lines_are_at_line_ends_and_about_the_size_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(hostile.noise(1_000))
    found = load(tmp_path / "a.jsonl", chunk_bytes=50_000)
    data = (tmp_path / "a.jsonl").read_bytes()
    assert 6 <= len(found.survey.cuts) <= 9
    assert found.survey.cuts[0].start == 0
    assert found.survey.cuts[-1].stop == len(data)
    for one, after in zip(found.survey.cuts, found.survey.cuts[1:], strict=False):
        assert one.stop == after.start
        assert data[one.stop - 1 : one.stop] == b"\n"


def test_batches_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(hostile.noise(1_000))
    one = source(tmp_path / "a.jsonl")
    batches = list(read(one, Cut(0, -1, 0, 1_000), TEXT_AND_ID, batch_bytes=5_000))
    assert max(batch.records["text"].str.len_bytes().sum() for batch in batches) <= 5_000
    (tmp_path / "b.jsonl").write_bytes(b'{"text":""}\n' * 120_000)
    sizes = [batch.records.height for batch in read(source(tmp_path / "b.jsonl"), Cut(0, -1, 0, 1), NO_ID)]
    assert sum(sizes) == 120_000
    assert max(sizes) <= 50_000


NO_ID = Columns("text", None, {"text": pl.String()})


def test_the_hash_of_a_file_is_that_of_its_stored_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(hostile.truncated(hostile.compress(hostile.good_lines(9), "gzip")))
    import hashlib

    assert load(path).survey.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), suffix=st.sampled_from([".jsonl", ".csv", ".parquet", ".jsonl.gz", ".csv.zst"]))
def test_arbitrary_bytes_are_counted_and_never_fatal(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    one = source(path)
    try:
        found, _ = survey(one, "text", "id", chunk_bytes=50, max_record=100)
    except UsageError:
        assert suffix.startswith(".csv")  # a header with a name twice
        return
    batches = [batch for cut in found.cuts for batch in read(one, cut, TEXT_AND_ID, max_record=100) if found.rows]
    assert sum(batch.records.height + batch.bad.height for batch in batches) == found.rows


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.dictionaries(st.sampled_from(["id", "text", "n", "é"]), json_values), max_size=8))
def test_arbitrary_records_are_read_or_refused(tmp_path: Path, records: list[dict[str, object]]) -> None:
    import json

    path = tmp_path / "a.jsonl"
    stored = [json.dumps(record, ensure_ascii=False).encode(errors="surrogatepass") for record in records]
    path.write_bytes(b"\n".join(stored))
    columns = None if any(isinstance(one.get("text"), str) and "id" in one for one in records) else TEXT_AND_ID
    found = load(path, columns=columns)
    assert found.records.height + found.bad.height == len(records)
    for row, text in found.texts.items():
        assert text == records[row]["text"]


# --- columns and their types ------------------------------------------------------------------------------------------


def test_kinds_of_json_columns(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        {"text": "", "null": None, "bool": True, "int": 1, "float": 1, "big": 1, "string": 1, "json": [1], "mixed": {}},
        {"text": "", "null": None, "bool": None, "int": True, "float": 1.5, "big": 2**63, "string": "a", "json": {}},
        {"text": "", "mixed": 1, "late": 1},
    )
    assert load(path, None).survey.columns == {
        "text": "string", "null": "null", "bool": "bool", "int": "int", "float": "float", "big": "float",
        "string": "string", "json": "json", "mixed": "string", "late": "int",
    }  # fmt: skip


def test_values_are_cast_to_the_united_type(tmp_path: Path) -> None:
    first = lines(tmp_path / "a.jsonl", {"text": "a", "i": True, "f": 1, "s": 1, "j": {"b": [1, None]}, "n": None})
    second = lines(tmp_path / "b.jsonl", {"text": "b", "i": 5, "f": 2**63, "s": "x", "j": "y", "more": 1.5})
    third = lines(tmp_path / "c.jsonl", {"text": "c", "s": False}, {"text": "d", "s": 0.1}, {"text": "e", "s": ["é"]})
    sources = [source(path) for path in (first, second, third)]
    surveys = [(one, survey(one, "text", None, chunk_bytes=99, max_record=999)[0]) for one in sources]
    columns = unite(surveys, "text", None)
    assert columns.types == {
        "text": pl.String, "i": pl.Int64, "f": pl.Float64, "s": pl.String, "j": pl.String, "n": pl.String,
        "more": pl.Float64,
    }  # fmt: skip
    batches = [batch for one, found in surveys for cut in found.cuts for batch in read(one, cut, columns)]
    records = pl.concat([batch.records for batch in batches])  # one schema for all
    assert records.columns == ["row", "id", "text", *(f"input.{name}" for name in columns.types if name != "text")]
    assert records.select("input.i", "input.f", "input.s", "input.j", "input.more").rows() == [
        (1, 1.0, "1", '{"b":[1,null]}', None),
        (5, 9223372036854775808.0, "x", "y", 1.5),
        (None, None, "false", None, None),
        (None, None, "0.1", None, None),
        (None, None, '["é"]', None, None),
    ]


def test_a_bad_record_never_widens_a_column(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl", {"id": "1", "text": "a", "n": 1}, {"id": "2", "text": None, "n": "x", "other": 1}
    )
    found = load(path)
    assert found.survey.columns == {"id": "string", "text": "string", "n": "int"}
    assert found.records["input.n"].to_list() == [1]


def test_unite_orders_columns_by_first_appearance_and_ignores_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "0.parquet").write_bytes(b"")
    lines(tmp_path / "a.jsonl", {"id": 1, "text": "", "z": 1})
    lines(tmp_path / "b.jsonl", {"a": 1, "text": "", "id": "x"})
    sources = find_sources(["."], tmp_path)
    surveys = [(one, survey(one, "text", "id", chunk_bytes=99, max_record=999)[0]) for one in sources]
    columns = unite(surveys, "text", "id")
    assert list(columns.types) == ["id", "text", "z", "a"]
    assert columns.types["id"] == pl.String()


def test_a_text_column_that_is_nowhere_is_named_with_the_columns_that_are(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"id": 1, "content": "a"})
    with pytest.raises(UsageError, match="no input file has the text column 'text'") as caught:
        load(path)
    assert "input: {text: content}" in str(caught.value.hint)
    assert "columns: id, content" in str(caught.value.hint)


def test_an_id_column_that_is_nowhere_is_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"uuid": 1, "text": "a"})
    with pytest.raises(UsageError, match="no input file has the id column 'id'") as caught:
        load(path)
    assert "input: {id: uuid}" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"content": ["a"]}, r"a\.parquet: there is no text column 'text'"),
        ({"text": [1]}, r"a\.parquet: the text column 'text' must hold text, it holds int"),
        ({"text": [["a"]]}, r"must hold text, it holds List\(String\)"),
        ({"text": ["a"]}, r"a\.parquet: there is no id column 'id'"),
        ({"text": ["a"], "id": [1.5]}, "the id column 'id' must hold text or whole numbers, it holds float"),
        ({"text": ["a"], "id": [decimal.Decimal("1.5")]}, r"it holds Decimal\(precision=2, scale=1\)"),
    ],
)
def test_parquet_columns_that_cannot_be_text_or_id(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=message):
        load(tmp_path / "a.parquet")


def test_records_with_data_as_keys_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b"".join(orjson.dumps({"text": "", **{f"{n}.{k}": 1 for k in range(900)}}) + b"\n" for n in range(12))
    )
    with pytest.raises(UsageError, match="more than 10000 columns"):
        load(path, None)


def test_ids_hash_the_same_everywhere() -> None:
    assert hash_ids(["a", "é", None]).tolist() == [15692598006722369279, 6251630617822896495, 0]


def test_hashes_of_ids_are_by_record_and_zero_where_there_is_none(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"id": "a", "text": ""}, {"id": "b"}, {"text": ""}, {"id": 5, "text": ""}, 7)
    a, five = hash_ids(["a", "5"]).tolist()
    assert load(path).hashes.tolist() == [a, 0, 0, five, 0]


def test_a_survey_does_not_need_the_id_column_to_be_there(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"text": "a", "n": 1})
    found, hashes = survey(source(path), "text", "id", chunk_bytes=99, max_record=999)
    assert found.columns == {"text": "string", "n": "int"}
    assert hashes.tolist() == [0]


# --- Parquet ----------------------------------------------------------------------------------------------------------

STRINGS = {
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
}


@pytest.mark.parametrize("kind", STRINGS)
def test_every_string_type_is_text(tmp_path: Path, kind: str) -> None:
    texts = ["one", "", "é\0\u2028👩‍👩‍👧"]
    values = pa.array(texts, pa.large_binary() if "binary" in kind else pa.string()).cast(STRINGS[kind])
    pq.write_table(pa.table({"id": pa.array(["a", "b", "c"]), "text": values}), tmp_path / "a.parquet")
    found = load(tmp_path / "a.parquet")
    assert found.survey.columns == {"id": "string", "text": "string"}
    assert found.records.schema == {"row": pl.Int64, "id": pl.String, "text": pl.String}
    assert list(found.texts.values()) == texts


def test_row_groups_are_cut_by_size_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    hostile.write_parquet(tmp_path / "a.parquet", 1_000, 10)
    found = load(tmp_path / "a.parquet", chunk_bytes=6_000)
    assert len(found.survey.cuts) > 3
    assert found.records["row"].to_list() == list(range(1_000))
    assert found.records["id"].to_list() == [f"p{n}" for n in range(1_000)]
    assert found.hashes.tolist() == hash_ids([f"p{n}" for n in range(1_000)]).tolist()


def test_many_row_groups(tmp_path: Path) -> None:
    hostile.write_parquet(tmp_path / "a.parquet", 2_000, 2_000)
    assert load(tmp_path / "a.parquet", want=()).records.height == 2_000


def test_bad_records_in_parquet(tmp_path: Path) -> None:
    texts = pa.array([b"good", None, b"caf\xe9", b"a" * (hostile.MAX_RECORD + 1), b"last"], pa.binary())
    ids = pa.array(["a", "b", "c", "d", None])
    pq.write_table(pa.table({"id": ids, "text": texts}), tmp_path / "a.parquet")
    found = load(tmp_path / "a.parquet")
    assert found.texts == {0: "good"}
    wanted = {1: "text is null", 2: "not UTF-8: byte 3", 3: "record too large: 100001 bytes", 4: "id is null"}
    assert_errors(found.errors, wanted)
    assert found.bad["raw"].to_list()[1] == b"caf\xe9"


def test_text_that_is_not_utf8_in_a_string_column_is_a_bad_record(tmp_path: Path) -> None:
    wrong = pa.array([b"good", b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": ["a", "b"], "text": wrong, "n": wrong}), tmp_path / "a.parquet")
    found = load(tmp_path / "a.parquet")
    assert found.errors == {1: "not UTF-8: byte 3"}
    assert found.records["input.n"].to_list() == ["good"]


def test_bytes_that_are_not_utf8_in_another_column_are_escaped(tmp_path: Path) -> None:
    wrong = pa.array([b"good", b"caf\xe9"], pa.binary()).view(pa.string())
    nested = pa.ListArray.from_arrays([0, 1, 2], wrong)
    pq.write_table(pa.table({"text": ["a", "b"], "n": wrong, "l": nested}), tmp_path / "a.parquet")
    found = load(tmp_path / "a.parquet", None)
    assert found.records["input.n"].to_list() == ["good", "caf\\xe9"]
    assert found.records["input.l"].to_list() == [["good"], ["caf\\xe9"]]


def test_integer_ids_in_parquet(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": pa.array([5, None, -1], pa.int32()), "text": ["a", "b", "c"]}), tmp_path / "a.parquet"
    )
    found = load(tmp_path / "a.parquet")
    assert found.records["id"].to_list() == ["5", "-1"]
    assert found.errors == {1: "id is null"}
    assert found.hashes.tolist() == hash_ids(["5", None, "-1"]).tolist()


def test_other_parquet_types_stay_where_all_files_agree(tmp_path: Path) -> None:
    day, moment = datetime.date(2026, 11, 1), datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "text": ["a"],
            "date": [day],
            "moment": pa.array([moment], pa.timestamp("us", "UTC")),
            "list": [[{"a": 1, "b'": "x"}]],
            "small": pa.array([1], pa.int8()),
            "half": pa.array([1.5], pa.float32()),
            "unsigned": pa.array([2**64 - 1], pa.uint64()),
            "category": pa.array(["x"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "b.parquet")
    sources = find_sources(["."], tmp_path)
    surveys = [(one, survey(one, "text", None, chunk_bytes=99, max_record=999)[0]) for one in sources]
    types = unite(surveys, "text", None).types
    assert types == {
        "text": pl.String, "date": pl.Date, "moment": pl.Datetime("us", "UTC"),
        "list": pl.List(pl.Struct({"a": pl.Int64, "b'": pl.String})), "small": pl.Int64, "half": pl.Float64,
        "unsigned": pl.UInt64, "category": pl.String,
    }  # fmt: skip
    records = load(tmp_path / "a.parquet", None).records
    assert records.schema == {"row": pl.Int64, "id": pl.String, **{_input(name): kind for name, kind in types.items()}}
    assert records["input.list"].to_list() == [[{"a": 1, "b'": "x"}]]


def _input(name: str) -> str:
    return name if name == "text" else f"input.{name}"


def test_types_that_differ_between_files_become_text(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": ["a"], "d": [datetime.date(2026, 11, 1)], "l": [[1, None]], "f": [0.1], "x": pa.nulls(1)}),
        tmp_path / "a.parquet",
    )
    lines(tmp_path / "b.jsonl", {"text": "b", "d": "today", "l": "none", "f": "tenth", "x": 3})
    sources = find_sources(["."], tmp_path)
    surveys = [(one, survey(one, "text", None, chunk_bytes=99, max_record=999)[0]) for one in sources]
    columns = unite(surveys, "text", None)
    records = pl.concat([b.records for one, found in surveys for cut in found.cuts for b in read(one, cut, columns)])
    assert records.drop("row", "id", "text").rows() == [
        ("2026-11-01", "[1,null]", "0.1", None),
        ("today", "none", "tenth", 3),
    ]


@pytest.mark.parametrize("column", ["text", "id", "n"])
def test_a_broken_row_group_is_bad_and_the_others_survive(tmp_path: Path, column: str) -> None:
    path = tmp_path / "a.parquet"
    hostile.write_parquet(path)
    hostile.break_column(path, 1, column)
    found = load(path)
    assert found.records["row"].to_list() == [*range(1_000), *range(2_000, 3_000)]
    assert found.bad["row"].to_list() == list(range(1_000, 2_000))
    (error,) = found.bad["error"].unique().to_list()
    assert error.startswith("corrupt: ")
    assert error.endswith("(row group 1)")
    assert found.bad["raw"].null_count() == 1_000


def test_a_parquet_file_without_its_end_is_one_bad_record(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    hostile.write_parquet(path)
    path.write_bytes(hostile.truncated(path.read_bytes()))
    found = load(path)
    assert found.errors == {0: "truncated: the footer is missing"}
    assert (found.survey.rows, found.survey.columns) == (1, {})


def test_a_footer_with_a_name_that_is_not_utf8_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    hostile.write_parquet(path, 10, 1, zebra=[1] * 10)
    path.write_bytes(path.read_bytes().replace(b"zebra", b"zebr\xff"))
    assert_errors(load(path).errors, {0: "corrupt"})


def test_a_column_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="'text' more than once"):
        load(tmp_path / "a.parquet")


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", hostile.SUFFIXES)
def test_every_good_csv_record_survives_between_every_fault(tmp_path: Path, compression: str) -> None:
    mixed = hostile.mixed_csv()
    path = tmp_path / f"mixed.csv{hostile.SUFFIXES[compression]}"
    path.write_bytes(hostile.compress(mixed.data, compression))
    found = load(path)
    assert found.texts == mixed.texts
    assert dict(found.records.select("row", "id").rows()) == mixed.ids
    assert_errors(found.errors, mixed.errors)


def test_csv_types_are_those_that_all_cells_fit(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "text,i,f,b,s,zeros,big,e,mixed,flag\na,1,1,true,1,007,12345678901234567890,,true,True\n5,,2.5,,x,8,1,,3,FALSE\n"
    )
    found = load(tmp_path / "a.csv", None)
    assert found.survey.columns == {
        "text": "string", "i": "int", "f": "float", "b": "bool", "s": "string", "zeros": "string", "big": "string",
        "e": "null", "mixed": "string", "flag": "bool",
    }  # fmt: skip
    assert found.records.drop("row", "id").rows() == [
        ("a", 1, 1.0, True, "1", "007", "12345678901234567890", None, "true", True),
        ("5", None, 2.5, None, "x", "8", "1", None, "3", False),
    ]


def test_csv_values_are_cast_to_the_united_type(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,b,i,s,d\na,true,1,1,\n")
    (tmp_path / "b.csv").write_text("text,b,i\nb,5,1.5\n")
    lines(tmp_path / "c.jsonl", {"text": "c", "s": "x"})
    pq.write_table(pa.table({"text": ["d"], "d": [datetime.date(2026, 11, 1)]}), tmp_path / "d.parquet")
    sources = find_sources(["."], tmp_path)
    surveys = [(one, survey(one, "text", None, chunk_bytes=99, max_record=999)[0]) for one in sources]
    columns = unite(surveys, "text", None)
    records = pl.concat([b.records for one, found in surveys for cut in found.cuts for b in read(one, cut, columns)])
    assert records.drop("row", "id").rows() == [
        ("a", 1, 1.0, "1", None),
        ("b", 5, 1.5, None, None),
        ("c", None, None, "x", None),
        ("d", None, None, None, datetime.date(2026, 11, 1)),
    ]


def test_an_empty_csv_cell_is_empty_text_but_no_id(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,\n,b\n"",c\n')
    found = load(tmp_path / "a.csv")
    assert found.texts == {0: ""}
    assert found.errors == {1: "id is null", 2: "id is null"}
    assert found.hashes.tolist() == hash_ids(["1", None, None]).tolist()


def test_a_nameless_csv_column_is_called_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",text\n0,a\n")
    assert load(tmp_path / "a.csv", None).survey.columns == {"column_1": "int", "text": "string"}


def test_a_csv_header_with_a_name_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,a,a\n")
    with pytest.raises(UsageError, match=r"a\.csv: the header has 'a' more than once"):
        load(tmp_path / "a.csv")


def test_a_csv_header_that_cannot_be_read_is_one_bad_record(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,caf\xe9\n1,a\n")
    found = load(tmp_path / "a.csv")
    assert found.errors == {0: "corrupt: the header row: not UTF-8: byte 6"}
    assert found.survey.columns == {}


def test_a_csv_header_alone_has_columns_and_no_records(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,n\n")
    found = load(tmp_path / "a.csv")
    assert (found.survey.rows, found.survey.columns) == (0, {"id": "string", "text": "string", "n": "null"})


def test_lines_of_an_unclosed_text_never_become_records(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,a\n2,"Dear all,\nhello, world\nno comma here\n')
    found = load(tmp_path / "a.csv")
    assert found.texts == {0: "a"}
    assert_errors(found.errors, {1: "not CSV"})
    assert found.bad["raw"][0] == b'2,"Dear all,\nhello, world\nno comma here\n'


def test_a_csv_without_the_text_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,body\n1,a\n")
    with pytest.raises(UsageError, match=r"a\.csv: there is no text column 'text'") as caught:
        load(tmp_path / "a.csv")
    assert "input: {text: body}" in str(caught.value.hint)


csv_text = st.lists(
    st.sampled_from(['"', '""', ",", "\n", "\r\n", "\r", "a", "é", "1,", '1,"', '"\n', "1,a\n", '1,"a\nb"\n']),
    max_size=25,
).map(lambda parts: "id,text\n" + "".join(parts))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=csv_text)
def test_the_quick_and_the_careful_way_to_read_csv_agree(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    quick = load(tmp_path / "a.csv", chunk_bytes=5, batch_bytes=7, max_record=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.csv_rows._quick", lambda feed, width: None)
        careful = load(tmp_path / "a.csv", max_record=20)
    assert quick.records.equals(careful.records)
    assert quick.bad.equals(careful.bad)


def test_csv_fields_above_the_limit_of_the_csv_module(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n" + "a" * 200_000 + '\n"' + "b\n" * 100_000 + '"\n')
    found = load(tmp_path / "a.csv", None, max_record=16_000_000)
    assert [len(text) for text in found.texts.values()] == [200_000, 200_000]


# --- remote -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a bucket on this machine."""
    import boto3
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    settings = {"ACCESS_KEY_ID": "AKIATESTKEY", "SECRET_ACCESS_KEY": "very-secret", "DEFAULT_REGION": "us-east-1"}
    for name, value in {**settings, "ENDPOINT_URL": f"http://{host}:{port}"}.items():
        patch.setenv(f"AWS_{name}", value)
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CA_BUNDLE", "HTTP_PROXY", "http_proxy"):
        patch.delenv(name, raising=False)
    client = boto3.client("s3")
    client.create_bucket(Bucket="corpus")
    mixed, parquet = hostile.mixed_lines().data, pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), parquet)
    objects = {
        "crawl/a.jsonl": mixed,
        "crawl/b.jsonl.gz": hostile.compress(mixed, "gzip"),
        "crawl/deep/c.parquet": parquet.getvalue().to_pybytes(),
        "crawl/_tmp/d.jsonl": b"",
        "crawl/e.csv": b"",
        "wrong/f.jsonl": hostile.compress(mixed, "zstd"),
        "cut/g.jsonl.gz": hostile.truncated(hostile.compress(hostile.noise(3_000), "gzip")),
        "README.md": b"no records",
    }
    for key, data in objects.items():
        client.put_object(Bucket="corpus", Key=key, Body=data)
    client.close()
    yield "s3://corpus"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()
    patch.undo()


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("/crawl/a.jsonl", ["/crawl/a.jsonl"]),
        ("/crawl/*.jsonl*", ["/crawl/a.jsonl", "/crawl/b.jsonl.gz"]),
        ("/crawl/**/*.parquet", ["/crawl/deep/c.parquet"]),
        ("/crawl", ["/crawl/a.jsonl", "/crawl/b.jsonl.gz", "/crawl/deep/c.parquet", "/crawl/e.csv"]),
        ("/crawl/", ["/crawl/a.jsonl", "/crawl/b.jsonl.gz", "/crawl/deep/c.parquet", "/crawl/e.csv"]),
    ],
)
def test_s3_patterns(bucket: str, pattern: str, files: list[str]) -> None:
    found = find_sources([bucket + pattern], Path("/"))
    assert [one.file for one in found] == [bucket + file for file in files]
    assert [one.url for one in found] == [one.file for one in found]
    assert all(one.version and one.size >= 0 for one in found)


def test_s3_files_are_read_like_local_ones(bucket: str) -> None:
    mixed = hostile.mixed_lines()
    for one in find_sources([f"{bucket}/crawl/*.jsonl*", f"{bucket}/wrong/f.jsonl"], Path("/")):
        found = load(one, chunk_bytes=50_000)
        assert found.texts == mixed.texts
        assert_errors(found.errors, mixed.errors)
        assert found.survey.sha256 is None
        assert (one.compression is None) == (len(found.survey.cuts) > 1)
    (one,) = find_sources([f"{bucket}/crawl/deep/c.parquet"], Path("/"))
    assert load(one).texts == {0: "b"}


def test_a_truncated_s3_file_keeps_the_records_before_the_cut(bucket: str) -> None:
    (one,) = find_sources([f"{bucket}/cut/g.jsonl.gz"], Path("/"))
    found = load(one)
    assert len(found.texts) > 1_500
    assert_errors(found.errors, {len(found.texts): "truncated"})


def test_s3_patterns_without_files(bucket: str) -> None:
    for pattern in ("/none/*.jsonl", "/none.jsonl", "-no-such-bucket/a.jsonl"):
        with pytest.raises(UsageError, match="no input file matches s3://corpus"):
            find_sources([bucket + pattern], Path("/"))
    with pytest.raises(UsageError, match=r"s3://corpus/README\.md: cannot tell the format"):
        find_sources([f"{bucket}/README.md"], Path("/"))


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.gz", "deep/c.parquet"])
def test_a_failing_server_stops_the_run_and_looks_like_no_damage(
    bucket: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    (one,) = find_sources([f"{bucket}/crawl/{name}"], Path("/"))

    def fail(*_: object, **__: object) -> bytes:
        raise OSError("connection reset: https://user:very-secret@host/x?X-Amz-Signature=abc")

    monkeypatch.setattr(s3fs.S3File, "_fetch_range", fail)
    for call in (
        lambda: survey(one, "text", "id", chunk_bytes=9_999, max_record=9_999),
        lambda: list(read(one, Cut(0, 1, 0, 1), TEXT_AND_ID)),
    ):
        with pytest.raises(StoppedError, match=rf"crawl/{name}: cannot be read: OSError: connection reset") as caught:
            call()
        assert "secret" not in str(caught.value)
        assert "abc" not in str(caught.value)


def test_a_missing_s3_package_is_a_usage_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core  # noqa: F401  # loads the registry

    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match="the package that opens s3:// is not installed") as caught:
        find_sources(["s3://corpus/a.jsonl"], Path("/"))
    assert "curate-corpus[s3]" in str(caught.value.hint)


def test_an_unknown_scheme_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="cannot open nosuch:// URLs"):
        find_sources(["nosuch://a/b.jsonl"], Path("/"))


def test_hf_urls_go_to_the_hub_filesystem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.local import LocalFileSystem

    class Hub(DirFileSystem):  # type: ignore[misc]  # fsspec is untyped
        protocol = "hf"
        cachable = False

        def __init__(self, **_: object) -> None:
            super().__init__(str(tmp_path), LocalFileSystem())

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.removeprefix("hf://").rstrip("/")

    monkeypatch.setattr(huggingface_hub, "HfFileSystem", Hub)
    folder = tmp_path / "datasets/acme/web@main/data"
    folder.mkdir(parents=True)
    hostile.write_parquet(folder / "train-0.parquet", 10, 1)
    for pattern in ("hf://datasets/acme/web@main/data/*.parquet", "hf://datasets/acme/web@main"):
        (one,) = find_sources([pattern], Path("/"))
        assert one.file == "hf://datasets/acme/web@main/data/train-0.parquet"
        assert load(one).records.height == 10


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIATESTKEY:very-secret@corpus/a.jsonl",
        "s3://AKIATESTKEY:very/secret@corpus/a.jsonl",
        "https://user:very-secret@127.0.0.1:9/a.jsonl",
        "s3://very-secret@corpus/a.jsonl",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match="user name or password") as caught:
        find_sources([url], Path("/"))
    assert "secret" not in str(caught.value)
    assert "AKIA" not in str(caught.value)


def test_a_signed_url_is_opened_with_its_signature_and_shown_without(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    signed = "https://host/a.jsonl?X-Amz-Signature=very-secret&X-Amz-Expires=9"

    class Web(MemoryFileSystem):  # type: ignore[misc]  # fsspec is untyped
        cachable = False
        store = {"/" + signed: None}  # noqa: RUF012

        def info(self, path: str, **_: object) -> dict[str, object]:
            return {"name": path, "size": None, "type": "file", "ETag": '"e"'}

        def cat_ranges(self, paths: list[str], *_: object, **__: object) -> list[object]:
            return [OSError("no ranges") for _ in paths]

    monkeypatch.setattr("curate.sources.open_filesystem", lambda url: (Web(), url))
    (one,) = find_sources([signed], Path("/"))
    assert one == Source("https://host/a.jsonl", signed, "jsonl", None, -1, "e")
    assert "secret" not in repr(one)


def test_messages_are_scrubbed() -> None:
    message = "GET https://key:very-secret@host/a?X-Amz-Signature=very-secret&b=1 and s3://key@b/c?d=e"
    assert scrub(message) == "GET https://host/a and s3://b/c?d=e"


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_the_shared_samples_are_the_same_in_both_compressions() -> None:
    folder = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data")) / "web"
    gzip, zstd = (load(folder / f"sample.jsonl.{name}", max_record=16_000_000) for name in ("gz", "zst"))
    assert gzip.records.height == 700
    assert gzip.records.equals(zstd.records)
    assert gzip.bad.height == zstd.bad.height == 0
