"""`near_duplicates`: which documents are nearly the same, how sure that is, and which one stays."""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate import Pipeline
from curate.errors import UsageError
from curate.filters import NearDuplicates, near_decide
from curate.testing import MemoryCorpus, check_filter, decide

SHINGLE = 5


def docs(*texts: str, **columns: list[Any]) -> pl.DataFrame:
    frame = {"id": [f"d{number}" for number in range(len(texts))], "text": list(texts)}
    return pl.DataFrame({**frame, **{name.replace("__", "."): values for name, values in columns.items()}})


def decided(frame: pl.DataFrame, **options: Any) -> pl.DataFrame:
    found = decide(NearDuplicates(**options), frame)
    assert isinstance(found, pl.DataFrame), found
    return found


def duplicate_of(frame: pl.DataFrame, **options: Any) -> list[str | None]:
    return decided(frame, **options)["duplicate_of"].to_list()


def words(seed: int | str, count: int = 100) -> list[str]:
    chooser = random.Random(seed)
    return [f"w{chooser.randrange(10**9)}" for _ in range(count)]


def text(seed: int | str, count: int = 100, tail: int | str = "", changed: int = 0) -> str:
    """Random words, the last `changed` of them other words."""
    own = words(seed, count)
    return " ".join([*own[: count - changed], *words(f"{seed} {tail}", changed)])


def plain_jaccard(one: str, other: str) -> float:
    sets = []
    for each in (one, other):
        found = re.findall(r"\w+", each.lower())
        sets.append({tuple(found[at : at + SHINGLE]) for at in range(max(1, len(found) - SHINGLE + 1))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_a_near_copy_names_the_one_that_stays_and_how_similar_it_is() -> None:
    texts = docs(text(1), text(2), text(1, changed=3), text(1).upper() + "!")

    found = decided(texts)

    assert found["duplicate_of"].to_list() == [None, None, "d0", "d0"]
    assert found["similarity"].to_list() == [None, None, plain_jaccard(texts["text"][0], texts["text"][2]), 1.0]
    assert found["cluster"].to_list() == ["d0", None, "d0", "d0"]
    assert found["cluster_size"].to_list() == [3, None, 3, 3]


def test_below_the_threshold_both_stay() -> None:
    texts = docs(text(1), text(1, changed=12))

    assert 0.7 < plain_jaccard(*texts["text"]) < 0.8
    assert duplicate_of(texts) == [None, None]
    assert duplicate_of(texts, threshold=0.7) == [None, "d0"]


def test_a_chain_is_cut_where_nothing_kept_is_similar() -> None:
    own = words(1, 120)
    texts = docs(*[" ".join(own[at : at + 100]) for at in (0, 9, 18)])

    assert plain_jaccard(texts["text"][0], texts["text"][1]) > 0.8 > plain_jaccard(texts["text"][0], texts["text"][2])
    assert duplicate_of(texts, recall=0.999) == [None, "d0", None]
    assert duplicate_of(texts[[1, 0, 2]], recall=0.999) == [None, "d1", "d1"]


def test_the_most_similar_of_the_kept_ones_is_named() -> None:
    own = words(1, 120)
    texts = docs(*[" ".join(own[at : at + 100]) for at in (0, 18, 10)])

    found = decided(texts, recall=0.999)

    assert found["duplicate_of"].to_list() == [None, None, "d1"]
    assert found["cluster"].to_list() == ["d0", "d0", "d0"]


def test_short_texts_need_the_same_words_and_texts_without_words_are_similar_to_none() -> None:
    texts = docs("Two words", "two, words!", "two", "", " ", "!!!", "!!!", "words two")

    assert duplicate_of(texts) == [None, "d0", None, None, None, None, None, None]
    assert duplicate_of(docs("", "", "?", "?"), unit="char") == [None] * 4


def test_scripts_without_spaces_are_compared_letter_by_letter() -> None:
    chooser = random.Random(2)
    own = "".join(chooser.choice("的一是不了人我在有他这为之大来以个中上们") for _ in range(200))
    thai = "".join(chooser.choice("กขคงจฉชซฌญ") for _ in range(200))

    assert duplicate_of(docs(own, own[:-4] + "东西南北", thai, thai[5:])) == [None, "d0", None, "d2"]


def test_characters_can_be_compared() -> None:
    own = text(1, 30)

    assert duplicate_of(docs(own, own[:-2] + "xx", text(2, 30)), unit="char", ngram=9) == [None, "d0", None]


def test_priorities_decide_which_one_stays() -> None:
    texts = docs(text(1), text(1) + " more", text(1, changed=1), source=["web", "web", "books"], q=[1.0, None, 3.0])

    assert duplicate_of(texts, keep="longest") == ["d1", None, "d1"]
    assert duplicate_of(texts, keep=[{"source": ["books"]}, "longest"]) == ["d2", "d2", None]
    assert duplicate_of(texts, keep={"q": "highest"}) == ["d2", "d2", None]
    assert duplicate_of(texts, keep={"q": "lowest"}) == [None, "d0", "d0"]
    assert duplicate_of(texts, keep="q") == ["d2", "d2", None]
    assert duplicate_of(texts, keep=["source", "longest"]) == ["d2", "d2", None]


def test_a_priority_that_is_no_column_is_named_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="no column 'longst'") as error:
        NearDuplicates(keep="longst").sketch(docs("a"))

    assert error.value.hint == "did you mean 'longest'?"


def test_only_equal_values_of_the_scope_are_compared_and_null_is_a_value() -> None:
    texts = docs(*[text(1)] * 6, dump=["1", "2", "1", None, None, ""])

    assert duplicate_of(texts, scope="dump") == [None, None, "d0", None, "d3", None]


def test_scores_of_earlier_steps_are_asked_for() -> None:
    filter = NearDuplicates(scope="language.label", keep=[{"edu.score": "highest"}, {"source": ["x"]}])

    assert filter.reads() == ("language.label", "edu.score")


def test_nothing_is_found_in_an_empty_corpus() -> None:
    found = decided(docs("x").clear())

    assert found.is_empty()
    assert list(found.schema) == ["chunk", "row", *NearDuplicates().decides()]


# --- promises ---------------------------------------------------------------------------------------------------------


def planted(per_bin: int, seed: int = 0, letters: bool = False) -> pl.DataFrame:
    """Pairs of texts with Jaccard in bins of .02 from .8 to .9: `id`, `text`, `bin`, `pair`."""
    chooser = random.Random(seed)
    rows = []
    for number, (low, pair) in enumerate(itertools.product((0.80, 0.82, 0.84, 0.86, 0.88), range(per_bin))):
        size = chooser.randrange(400, 800)
        wanted = low + 0.005 + chooser.random() * 0.0149
        changed = next(c for c in range(size) if (size - c) / (size + c) <= wanted)  # shingles not shared, each
        units = size + SHINGLE - 1
        own = [chr(0x4E00 + chooser.randrange(20_000)) for _ in range(units)] if letters else words(number, units)
        fresh = (
            [chr(0x4E00 + chooser.randrange(20_000)) for _ in range(changed)]
            if letters
            else words(f"other {number}", changed)
        )
        other = [*own[: units - changed], *fresh]
        for side, one in enumerate((own, other)):
            rows.append(
                {"id": f"{number}-{side}", "text": ("" if letters else " ").join(one), "bin": low, "pair": pair}
            )
    return pl.DataFrame(rows)


@pytest.mark.parametrize("letters", [False, True])
def test_every_bin_of_similarity_is_found_as_often_as_promised(letters: bool) -> None:
    pairs = planted(200, letters=letters)
    assert letters or all(
        low <= plain_jaccard(one, other) < low + 0.02
        for (_, one, low, _), (_, other, _, _) in zip(pairs[::20].rows(), pairs[1::20].rows(), strict=True)
    )

    found = pairs.hstack(decided(pairs).select("duplicate_of", "similarity"))

    dropped = found.filter(pl.col("duplicate_of").is_not_null())
    assert (dropped["duplicate_of"].str.strip_suffix("-0") == dropped["id"].str.strip_suffix("-1")).all()
    assert dropped["similarity"].min() >= 0.8  # type: ignore[operator]
    share = dropped.group_by("bin").agg(share=pl.len() / 200)
    assert share.height == 5
    assert share["share"].min() >= 0.95 - 0.015  # type: ignore[operator]  # one standard error of 200 pairs


def test_no_dropped_document_is_below_the_threshold() -> None:
    chooser = random.Random(5)
    texts = docs(*[text(chooser.randrange(20), 60, chooser.random(), chooser.randrange(20)) for _ in range(400)])
    for threshold in (0.5, 0.8):
        found = decided(texts, threshold=threshold)
        own = dict(zip(texts["id"], texts["text"], strict=True))
        gone = set(found.filter(pl.col("duplicate_of").is_not_null())["id"] if "id" in found.columns else ())
        for name, twin, similarity in zip(texts["id"], found["duplicate_of"], found["similarity"], strict=True):
            if twin is not None:
                gone.add(name)
                assert similarity == plain_jaccard(own[name], own[twin]) >= threshold
        assert gone
        assert not gone & set(found["duplicate_of"].drop_nulls())


@pytest.mark.parametrize("same", [True, False])
def test_many_copies_of_one_page_take_time_in_proportion(same: bool) -> None:
    count = 20_000 if same else 5_000
    page = text(1, 60)
    texts = docs(*[page if same else f"{page} {number}" for number in range(count)])
    decided(texts[:10])
    started = time.perf_counter()

    found = decided(texts)

    assert found["duplicate_of"].to_list() == [None, *["d0"] * (count - 1)]
    assert found["cluster_size"].to_list() == [count] * count
    assert time.perf_counter() - started < 60  # all pairs would take hours


# --- how the work is cut ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chunks", "batch", "part"), [(1, 10**8, 10**8), (5, 2_000, 500), (2, 1, 10**4)])
def test_chunks_parts_and_batches_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int, batch: int, part: int
) -> None:
    chooser = random.Random(3)
    texts = docs(*[text(chooser.randrange(12), 80, chooser.random(), chooser.randrange(9)) for _ in range(90)])
    wanted = decided(texts, keep="longest")
    monkeypatch.setattr(near_decide, "BATCH_BYTES", batch)
    monkeypatch.setattr(near_decide, "PART_BYTES", part)
    filter = NearDuplicates(keep="longest")
    corpus = MemoryCorpus(filter, texts, tmp_path, chunks=chunks)

    found = corpus.docs.join(filter.decide(corpus).collect(), on=["chunk", "row"], how="left", maintain_order="left")

    assert wanted["duplicate_of"].null_count() < 70
    names = ["duplicate_of", "similarity", "cluster", "cluster_size"]
    assert found.select(names).equals(wanted.select(names))


def ledger(folder: Path, frame: pl.DataFrame, files: int, order: str, workers: int = 1) -> pl.DataFrame:
    """Run a pipeline over the documents in some files, and return the ledger."""
    source = folder / "in"
    source.mkdir(parents=True)
    for number in range(files):
        frame[number::files].write_parquet(source / f"{order[number]}.parquet", row_group_size=7)
    run = Pipeline.parse(
        f"input: {{paths: ['{source}/*.parquet'], id: id}}\nsteps:\n- near_duplicates: {{keep: [{{rank: highest}}]}}\n",
        base=folder,
    ).run(output=folder / "out", workers=workers)
    found = pl.concat([pl.read_parquet(path) for path in sorted((run.root / "audit" / "ledger").glob("*.parquet"))])
    return found.select("id", "kept", "rule", "duplicate_of", "similarity", "^near_duplicates.*$").sort("id")


def test_runs_agree_whatever_the_order_of_files_the_size_of_chunks_and_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser = random.Random(4)
    texts = docs(*[text(chooser.randrange(12), 80, chooser.random(), chooser.randrange(9)) for _ in range(90)])
    texts = texts.with_columns(rank=pl.Series(range(90)).shuffle(seed=1))

    found = ledger(tmp_path / "a", texts, 3, "abc")

    assert found["rule"].eq_missing("near_duplicate").sum() > 20
    assert found["kept"].sum() == found["duplicate_of"].null_count()
    assert found.equals(ledger(tmp_path / "b", texts, 3, "cab", workers=2))
    monkeypatch.setattr("curate.plan.CHUNK_BYTES", 3_000)
    assert found.equals(ledger(tmp_path / "c", texts[::-1], 1, "a"))


# --- reports and options ----------------------------------------------------------------------------------------------


def test_the_largest_clusters_and_a_histogram_of_similarities_are_listed() -> None:
    rows = pl.LazyFrame(
        {
            "id": ["d0", "d1", "d2", "d3", "d4", "d5"],
            "rule": [None, "near_duplicate", "near_duplicate", None, "near_duplicate", "other"],
            "similarity": [None, 0.8, 1.0, None, 0.819, 0.9],
            "cluster": ["d0", "d0", "d0", "d3", "d3", None],
            "cluster_size": pl.Series([3, 3, 3, 2, 2, None], dtype=pl.UInt32),
        }
    )

    tables = NearDuplicates().tables(rows)

    assert tables["largest_clusters"].rows() == [("d0", 3), ("d3", 2)]
    assert tables["similarity"].rows() == [(0.8, 2), (1.0, 1)]


def test_a_promise_that_no_bands_can_keep_is_refused() -> None:
    with pytest.raises(ValidationError, match="raise threshold or lower recall"):
        NearDuplicates(threshold=0.001)


def test_priorities_of_several_kinds_survive_a_change_of_the_run(tmp_path: Path) -> None:
    docs(text(1), text(1, changed=2), source=["b", "a"]).write_parquet(tmp_path / "in.parquet")
    for threshold in (0.9, 0.8):
        options = f"{{threshold: {threshold}, keep: [{{source: [a]}}, longest]}}"
        steps = f"- length: {{min_words: 1}}\n- near_duplicates: {options}\n- language\n"
        run = Pipeline.parse(f"input: {{paths: [in.parquet]}}\nsteps:\n{steps}", base=tmp_path).run(
            output=tmp_path / "out", update=True
        )

    assert run.ledger.filter(~pl.col("kept")).select("duplicate_of").collect().to_series().to_list() == ["d1"]


def test_near_duplicates_are_dropped() -> None:
    frame = pl.DataFrame({"duplicate_of": ["d0", None]})

    assert frame.select(NearDuplicates().drop_when()["near_duplicate"]).to_series().to_list() == [True, False]


@pytest.mark.parametrize(
    "options",
    [{"threshold": 0}, {"threshold": 1.1}, {"recall": 1}, {"ngram": 0}, {"unit": "line"}, {"keep": []},
     {"keep": ["earliest", "longest"]}, {"keep": [{"q": "most"}]}],
    ids=str,
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NearDuplicates(**options)


def test_between_compares_only_different_values_so_that_train_is_cleared_of_test() -> None:
    texts = docs(*[text(1)] * 4, text(2), text(2), split=["train", "train", "test", "test", "train", "train"])

    found = duplicate_of(texts, between="split", keep=[{"split": ["test", "train"]}])

    assert found == ["d2", "d2", None, None, None, None]


def test_between_finds_prompts_that_differ_in_a_word() -> None:
    prompt = "can you tell me how to bake bread with rye flour and a little salt at home"
    texts = docs(prompt, f"{prompt} please", "what is the tallest tree in the world", split=["test", "train", "train"])

    found = duplicate_of(texts, between="split", ngram=2, keep=[{"split": ["test", "train"]}])

    assert found == [None, "d0", None]


def test_a_missing_value_of_between_is_a_value_of_its_own() -> None:
    texts = docs(*[text(1)] * 4, split=[None, None, "test", ""])

    assert duplicate_of(texts, between="split") == [None, None, "d0", "d0"]


def test_between_and_scope_on_one_column_are_refused() -> None:
    with pytest.raises(ValidationError, match="no two documents are left to compare"):
        NearDuplicates(scope="split", between="split")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"between": "source", "keep": [{"source": ["web", "books"]}]},
        {"unit": "char", "ngram": 9, "threshold": 0.6},
        {"scope": "source", "keep": [{"source": ["web"]}, {"q": "highest"}, "longest"]},
    ],
    ids=str,
)
def test_near_duplicates_keeps_the_contract(options: dict[str, Any]) -> None:
    check_filter(
        NearDuplicates(**options), docs("a", "A", "b", source=["web", "books", None], q=[1.0, float("nan"), 2])
    )


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_versions_of_one_page_are_found() -> None:
    folder = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
    wanted = pl.read_parquet(folder / "near" / "version_pairs.parquet").filter(pl.col("jaccard_w5") >= 0.8)
    ids = pl.concat([wanted["id_a"], wanted["id_b"]]).unique().implode()
    files = sorted((folder / "web").glob("*.parquet"))
    texts = pl.concat([pl.read_parquet(path, columns=["id", "text"]).filter(pl.col("id").is_in(ids)) for path in files])

    found = texts.hstack(decided(texts).select("duplicate_of", "similarity", "cluster"))

    of = dict(zip(found["id"], found["cluster"], strict=True))
    linked = [of[one] is not None and of[one] == of[other] for one, other in wanted.select("id_a", "id_b").rows()]
    assert sum(linked) >= 0.99 * len(linked)
    own = dict(zip(texts["id"], texts["text"], strict=True))
    for name, twin, similarity in found.select("id", "duplicate_of", "similarity").drop_nulls()[::10].rows():
        assert similarity == pytest.approx(plain_jaccard(own[name], own[twin]), abs=1e-12)
