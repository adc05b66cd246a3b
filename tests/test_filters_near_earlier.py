"""`near_duplicates` against earlier corpora: indexes, runs, files."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from datasketch import MinHash, MinHashLSH

from curate import Pipeline, open_run, store
from curate.errors import OutputError, PipelineError, StorageError, UsageError
from curate.filters.near_index import open_index, read_signatures
from curate.run import Run, run_pipeline


def words(seed: int | str, count: int) -> list[str]:
    chooser = random.Random(seed)
    return [f"w{chooser.randrange(10**9)}" for _ in range(count)]


def page(seed: int, changed: int = 0, count: int = 100) -> str:
    """A page of random words, the last `changed` of them other words."""
    return " ".join([*words(seed, count)[: count - changed], *words(f"{seed} {changed}", changed)])


def jaccard(one: str, other: str) -> float:
    sets = []
    for text in (one, other):
        found = re.findall(r"\w+", text)
        sets.append({tuple(found[at : at + 5]) for at in range(len(found) - 4)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


OLD = {f"old-{number}": page(number) for number in range(40)}
NEW = {
    "new-a": page(3, changed=4),  # as page 3 of the old ones
    "new-b": page(100),
    "new-c": page(100, changed=3),  # as new-b
    "new-d": page(7),
    "new-e": page(8, changed=30),  # too different
}


def write(folder: Path, name: str, texts: dict[str, str], **columns: list[Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame({"id": list(texts), "text": list(texts.values()), **columns})
    frame.write_parquet(folder / f"{name}.parquet", row_group_size=3)


def run(folder: Path, name: str, steps: str = "", workers: int = 1, **options: Any) -> Run:
    """Run near_duplicates with options over `folder/name.parquet` into `folder/clean-name`."""
    near = orjson.dumps({key: value for key, value in options.items() if key not in ("update", "fresh")}).decode()
    pipeline = f"input: {{paths: [{name}.parquet], id: id}}\nsteps:\n- near_duplicates: {near}\n{steps}"
    more = {key: value for key, value in options.items() if key in ("update", "fresh")}
    return Pipeline.parse(pipeline, base=folder).run(output=folder / f"clean-{name}", workers=workers, **more)


def decided(found: Run) -> dict[str, tuple[Any, ...]]:
    columns = ("duplicate_of", "similarity", "near_duplicates.earlier", "near_duplicates.estimated")
    return {row[0]: row[1:] for row in found.ledger.select("id", *columns).collect().iter_rows()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "old", OLD)
    write(tmp_path, "new", NEW)
    return tmp_path


def test_near_duplicates_of_an_earlier_corpus_are_dropped_and_name_the_twin_there(folder: Path) -> None:
    before = run(folder, "old", index="indexes/old")
    published = {path: path.read_bytes() for path in (before.root / "dataset" / "data").iterdir()}

    found = decided(run(folder, "new", against=["indexes/old"]))

    assert found == {
        "new-a": ("old-3", jaccard(NEW["new-a"], OLD["old-3"]), "indexes/old", False),
        "new-b": (None, None, None, None),
        "new-c": ("new-b", jaccard(NEW["new-c"], NEW["new-b"]), None, False),
        "new-d": ("old-7", 1.0, "indexes/old", False),
        "new-e": (None, None, None, None),
    }
    assert {path: path.read_bytes() for path in published} == published


def test_without_shingle_hashes_the_similarity_is_an_estimate_and_says_so(folder: Path) -> None:
    run(folder, "old", index="idx", index_shingles=False)

    found = decided(run(folder, "new", against=["idx"]))

    assert "shingles" not in pl.read_parquet(folder / "idx" / "*.parquet").columns
    assert found["new-d"] == ("old-7", 1.0, "idx", True)
    twin, similarity, where, estimated = found["new-a"]
    assert (twin, where, estimated) == ("old-3", "idx", True)
    assert similarity * 128 == round(similarity * 128)
    assert similarity == pytest.approx(jaccard(NEW["new-a"], OLD["old-3"]), abs=0.15)
    assert found["new-c"][3] is False


@pytest.mark.parametrize("against", ["clean-old", "old.parquet", "ol*.parquet"])
def test_an_earlier_run_or_files_of_texts_serve_as_well(folder: Path, against: str) -> None:
    run(folder, "old", index="idx")
    wanted = decided(run(folder, "new", against=["idx"]))
    (folder / "clean-new").rename(folder / "first")

    found = decided(run(folder, "new", against=[against]))

    name = "old.parquet" if "*" in against else against
    assert found == {id: (*row[:2], row[2] and name, row[3]) for id, row in wanted.items()}


@pytest.mark.parametrize(("workers", "parts"), [(1, 6), (2, 1)])
def test_the_size_of_chunks_and_the_workers_do_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, workers: int, parts: int
) -> None:
    run(folder, "old", index="idx")
    wanted = decided(run(folder, "new", against=["idx"]))
    (folder / "clean-new").rename(folder / "first")
    (folder / "idx").rename(folder / "idx-before")
    (folder / "clean-old").rename(folder / "second")
    if parts > 1:  # worker processes would not see it
        monkeypatch.setattr("curate.plan.CHUNK_BYTES", 2_000)

    run(folder, "old", index="idx", workers=workers)
    found = decided(run(folder, "new", against=["idx"], workers=workers))

    assert len(list((folder / "idx").glob("part-*.parquet"))) >= parts
    assert found == wanted


def test_a_growing_corpus_is_compared_with_all_indexes_but_its_own(folder: Path) -> None:
    run(folder, "old", index="indexes/1")
    second = run(folder, "new", index="indexes/2", against=["indexes/*"])
    write(folder, "newer", {"newer-a": NEW["new-b"], "newer-b": OLD["old-9"], "newer-c": page(200)})

    third = decided(run(folder, "newer", index="indexes/3", against=["indexes/*"]))

    assert {id: row[:3:2] for id, row in third.items()} == {
        "newer-a": ("new-b", "indexes/2"), "newer-b": ("old-9", "indexes/1"), "newer-c": (None, None),
    }  # fmt: skip
    again = decided(run(folder, "new", index="indexes/2", against=["indexes/1"], fresh=True))
    assert again == decided(second)


def test_only_what_the_run_keeps_is_in_the_index(folder: Path) -> None:
    run(folder, "old", steps="- where: {drop_if: \"id = 'old-3'\"}\n", index="idx")

    assert decided(run(folder, "new", against=["idx"]))["new-a"][0] is None
    assert orjson.loads((folder / "idx" / "index.json").read_bytes())["documents"] == 39


def test_an_index_that_has_changed_is_a_change_of_the_run(folder: Path) -> None:
    run(folder, "old", index="idx")
    run(folder, "new", against=["idx"])
    write(folder, "old", {"old-100": OLD["old-3"]})
    run(folder, "old", index="idx", update=True)

    with pytest.raises(OutputError, match="step near_duplicates: a file that it reads has changed"):
        run(folder, "new", against=["idx"])
    found = decided(run(folder, "new", against=["idx"], update=True))

    assert (found["new-a"][0], found["new-d"][0]) == ("old-100", None)


def test_a_damaged_index_stops_the_run(folder: Path) -> None:
    run(folder, "old", index="idx")
    part = folder / "idx" / "part-00000.parquet"
    data = bytearray(part.read_bytes())
    at = data.find(b"old-3")
    data[at + 4 : at + 5] = b"9"
    part.write_bytes(data)

    with pytest.raises(UsageError, match=r"part-00000.parquet cannot be read"):
        run(folder, "new", against=["idx"])
    part.unlink()
    with pytest.raises(UsageError, match=r"part-00000.parquet cannot be read"):
        run(folder, "new", against=["idx"], fresh=True)

    run(folder, "old", index="idx")  # its maker makes it again
    assert decided(run(folder, "new", against=["idx"], fresh=True))["new-a"][0] == "old-3"


def test_an_index_is_whole_or_absent_when_its_making_is_cut_short(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, "old", index="idx")
    whole = (folder / "idx" / "index.json").read_bytes()
    operation = store.operation
    for name in ("sync", "rename", "publish"):

        def fail(what: str, name: str = name) -> None:
            if what == f"{name} idx":
                raise OSError(5, "injected")
            operation(what)

        with monkeypatch.context() as patch:
            patch.setattr(store, "operation", fail)
            with pytest.raises(StorageError):
                run(folder, "old", index="idx", fresh=True)
        assert not (folder / "idx").exists() or (folder / "idx" / "index.json").read_bytes() == whole

        run(folder, "old", index="idx")

        assert (folder / "idx" / "index.json").read_bytes() == whole
        assert [path.name for path in folder.glob(".idx*")] == []


def test_a_record_of_an_earlier_corpus_that_cannot_be_read_stops_the_run(folder: Path) -> None:
    (folder / "bad.jsonl").write_bytes(b'{"id": "x", "text": "one two three"}\n{"id": "y"\n')

    with pytest.raises(UsageError, match=r"bad.jsonl, record 1, of an earlier corpus cannot be read"):
        run(folder, "new", against=["bad.jsonl"])


def test_ids_that_are_made_for_an_earlier_corpus_do_not_tell_where_it_lies(folder: Path) -> None:
    pl.DataFrame({"text": [OLD["old-7"]]}).write_parquet(folder / "plain.parquet")

    assert decided(run(folder, "new", against=["plain.parquet"]))["new-d"][0] == "plain.parquet#0"


def test_a_run_does_not_read_what_it_writes(folder: Path) -> None:
    run(folder, "old")
    run(folder, "new")
    with pytest.raises(UsageError, match="include this run's own output"):
        run(folder, "new", against=["clean-*"], update=True)
    steps = "- near_duplicates: {index: idx}\n- near_duplicates: {index: idx}\n  as: b\n"
    text = f"input: {{paths: [new.parquet]}}\nsteps:\n{steps}"
    with pytest.raises(UsageError, match="two steps save into"):
        Pipeline.parse(text, base=folder).run(output=folder / "two")


def test_on_the_first_day_a_pattern_may_match_nothing_but_the_index_to_be_made(folder: Path) -> None:
    run(folder, "old", index="indexes/1", against=["indexes/*"])

    assert (folder / "indexes" / "1" / "index.json").exists()


def test_a_trial_saves_nothing(folder: Path) -> None:
    text = "input: {paths: [old.parquet]}\nsteps:\n- near_duplicates: {index: idx}\n"
    pipeline = Pipeline.parse(text, base=folder)
    run_pipeline(pipeline, output=folder / "trial", sample=5)

    assert not (folder / "idx").exists()


def test_a_lost_index_is_made_again(folder: Path) -> None:
    run(folder, "old", index="idx")
    (folder / "idx" / "index.json").rename(folder / "kept.json")
    for path in (folder / "idx").iterdir():
        path.unlink()
    (folder / "idx").rmdir()

    run(folder, "old", index="idx")

    assert (folder / "idx" / "index.json").read_bytes() == (folder / "kept.json").read_bytes()


def test_an_index_of_another_run_is_not_written_over(folder: Path) -> None:
    run(folder, "old", index="idx")

    with pytest.raises(OutputError, match=r"was made by another run, clean-old"):
        run(folder, "new", index="idx")
    with pytest.raises(OutputError, match="not made by curate"):
        run(folder, "new", index=".")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ngram": 4}, "has ngram 5, this step 4"),
        ({"unit": "char"}, "has unit word, this step char"),
        ({"threshold": 0.5}, "has permutations 128, this step 1024"),
        ({"scope": "dump"}, "has scope None, this step dump"),
    ],
)
def test_an_index_that_was_made_in_another_way_is_refused_before_any_data_is_read(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    run(folder, "old", index="idx")

    with pytest.raises(PipelineError, match=message):
        run(folder, "new", against=["idx"], **options)


def test_an_earlier_corpus_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(PipelineError, match="which does not exist"):
        run(folder, "new", against=["gone/*"])
    (folder / "idx").mkdir()
    (folder / "idx" / "index.json").write_text('{"format": 99}')
    with pytest.raises(UsageError, match="format 99"):
        open_index(folder / "idx")


def test_scopes_are_kept_apart_in_an_index_too(folder: Path) -> None:
    write(folder, "old", {"x": page(1), "y": page(2), "z": page(3)}, dump=["1", "2", None])
    write(folder, "new", {"a": page(1), "b": page(2), "c": page(3), "d": page(3)}, dump=["1", "1", None, "2"])
    run(folder, "old", index="idx", scope="dump")

    found = decided(run(folder, "new", against=["idx"], scope="dump"))

    assert {id: row[0] for id, row in found.items()} == {"a": "x", "b": None, "c": "z", "d": None}
    with pytest.raises(PipelineError, match="is not known"):
        run(folder, "new", against=["old.parquet"], scope="dump")


def test_signatures_of_an_index_can_be_loaded_into_datasketch(folder: Path) -> None:
    run(folder, "old", index="idx")
    _, (part,) = open_index(folder / "idx")
    lsh = MinHashLSH(num_perm=128, params=(14, 7))
    for _, signed in read_signatures(part):
        for number, row in enumerate(signed):
            lsh.insert(number, MinHash(hashvalues=row, scheme="affine32"))

    frame = pl.read_parquet(part)

    assert list(frame.columns) == ["id", "scope", "signature", "shingles"]
    first = MinHash(hashvalues=frame["signature"][0].to_numpy(), scheme="affine32")
    assert lsh.query(first) == [0]


def test_why_names_the_earlier_corpus(folder: Path) -> None:
    run(folder, "old", index="idx", index_shingles=False)
    run(folder, "new", against=["idx"])

    answer = open_run(folder / "clean-new").why("new-d")

    assert (answer["duplicate_of"], answer["earlier"], answer["estimated"]) == ("old-7", "idx", True)
    assert "twin" not in answer
