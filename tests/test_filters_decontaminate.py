"""`decontaminate`: which documents have benchmark items, and what becomes of them."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.errors import UsageError
from curate.filters import Decontaminate
from curate.filters.decontaminate import cuts
from curate.kernels.overlap import word_spans
from curate.ledger import edit_text
from curate.pipeline import Pipeline
from curate.testing import check_edits, check_filter

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))

LONG = "A train leaves the old station at nine and travels sixty miles to the north before it stops for water."
SHORT = "What is the largest planet that orbits our sun?"  # nine words
TINY = "Who wrote it?"
OTHER = "Nothing in this text was ever part of any test, and it goes on for long enough to have many runs of words."


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps({"text": text, "n": n}) + "\n" for n, text in enumerate([LONG, SHORT, TINY])))
    return path


def docs(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"d{n}" for n in range(len(texts))], "text": pl.Series(list(texts), dtype=pl.String)})


def hits(path: Path, *texts: str, **options: Any) -> list[list[str]]:
    scored = Decontaminate(benchmarks=[path], **options).score(docs(*texts))
    return [[hit["item"] for hit in own] for own in scored["hits"].to_list()]


def test_items_are_found_in_whatever_is_around_them(benchmark: Path) -> None:
    assert hits(benchmark, f"Well: {LONG} Yes.", OTHER, f"{OTHER}\n{LONG}\n{SHORT}", "") == [
        ["quiz.jsonl:1"],
        [],
        ["quiz.jsonl:1", "quiz.jsonl:2"],
        [],
    ]


def test_case_punctuation_and_line_ends_make_no_difference(benchmark: Path) -> None:
    changed = LONG.upper().replace(" ", ",\n")

    assert hits(benchmark, changed) == [["quiz.jsonl:1"]]


def test_fewer_words_than_an_ngram_are_not_enough(benchmark: Path) -> None:
    words = LONG.split()

    assert hits(benchmark, " ".join(words[:12]), " ".join(words[:13])) == [[], ["quiz.jsonl:1"]]


def test_short_items_match_as_a_whole_and_tiny_ones_never(benchmark: Path) -> None:
    assert hits(benchmark, SHORT, SHORT.removeprefix("What "), TINY, "largest " + SHORT[:-5]) == [
        ["quiz.jsonl:2"], [], [], [],
    ]  # fmt: skip
    assert hits(benchmark, SHORT, min_words=10) == [[]]


def test_another_word_breaks_every_ngram_that_it_stands_in(benchmark: Path) -> None:
    assert hits(benchmark, LONG.replace("sixty", "six-ty"), LONG.replace("leaves", "left")) == [[], ["quiz.jsonl:1"]]


def test_scripts_without_spaces_are_compared_letter_by_letter(tmp_path: Path) -> None:
    path = tmp_path / "quiz.txt"
    path.write_text("下列哪一项是太阳系中最大的行星？\n\n另一个问题是什么时候发生的呢？\n", "utf-8")

    assert hits(path, "题目：下列哪一项是太阳系中最大的行星?谢谢", "这里没有任何题目，只有普通的句子而已。") == [
        ["quiz.txt:1"], [],
    ]  # fmt: skip


def test_the_share_of_an_item_and_its_ngrams_are_limits(benchmark: Path) -> None:
    half = " ".join(LONG.split()[:15])  # 3 of the 8 n-grams

    scored = Decontaminate(benchmarks=[benchmark]).score(docs(half))
    assert scored["hits"][0].to_list()[0]["ngrams"] == 3
    assert scored["share"].to_list() == [pytest.approx(3 / 8)]
    assert hits(benchmark, half, LONG, min_share=0.5) == [[], ["quiz.jsonl:1"]]
    assert hits(benchmark, half, LONG, min_ngrams=4) == [[], ["quiz.jsonl:1"]]


def test_an_ngram_that_a_document_repeats_counts_once(benchmark: Path) -> None:
    scored = Decontaminate(benchmarks=[benchmark]).score(docs(f"{LONG} {OTHER} {LONG}"))

    assert scored["hits"][0].to_list()[0]["ngrams"] == 8
    assert scored["share"].to_list() == [1.0]


def test_an_ngram_of_two_items_counts_for_both(tmp_path: Path) -> None:
    path = tmp_path / "quiz.csv"
    pl.DataFrame({"text": [LONG, f"Listen. {LONG}"]}).write_csv(path)

    assert hits(path, LONG) == [["quiz.csv:1", "quiz.csv:2"]]


def test_columns_are_looked_for_apart_and_name_items(tmp_path: Path) -> None:
    path = tmp_path / "quiz.parquet"
    pl.DataFrame(
        {"set": ["sun", "sea"], "key": [7, 8], "question": [LONG, SHORT], "choices": [["a", "b"], [OTHER, "d"]]}
    ).write_parquet(path)
    options: dict[str, Any] = {"columns": ["question", "choices"], "labels": ["set", "key"]}

    assert hits(path, LONG, SHORT, OTHER, f"{SHORT} {LONG}", **options) == [["sun/7"], [], ["sea/8"], ["sun/7"]]
    assert hits(path, SHORT, min_share=0.0, **options) == [["sea/8"]]


def test_compressed_and_several_files_are_read(tmp_path: Path, benchmark: Path) -> None:
    packed = tmp_path / "more.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps({"text": OTHER}).encode()))

    found = Decontaminate(benchmarks=[benchmark, packed]).score(docs(f"{OTHER} {LONG}"))["hits"][0].to_list()

    assert [(hit["benchmark"], hit["item"]) for hit in found] == [
        ("quiz.jsonl", "quiz.jsonl:1"),
        ("more.jsonl.gz", "more.jsonl.gz:1"),
    ]


# --- what becomes of documents ----------------------------------------------------------------------------------------


def test_documents_with_an_item_are_dropped(tmp_path: Path, benchmark: Path) -> None:
    docs(LONG, OTHER, f"{OTHER} {SHORT}").write_parquet(tmp_path / "input.parquet")

    run = Pipeline([Decontaminate(benchmarks=["quiz.jsonl"])], base=tmp_path).run(
        tmp_path / "input.parquet", tmp_path / "out", workers=1
    )

    assert run.kept.collect()["id"].to_list() == ["d1"]
    assert run.dropped.collect()["id"].to_list() == ["d0", "d2"]


def cut(benchmark: Path, text: str, **options: Any) -> str:
    filter = Decontaminate(benchmarks=[benchmark], action="cut", **{"margin_chars": 0, "min_piece_chars": 0, **options})
    scored = filter.score(docs(text))
    assert check_edits(pl.Series([text]), scored["edits"]) == []
    after = edit_text(text, scored["edits"][0].to_list())
    assert scored["left_chars"][0] == (len(after) - len(filter.put) * scored["cuts"][0] if scored["cuts"][0] else None)
    return after


def test_items_are_cut_out_with_a_margin(benchmark: Path) -> None:
    text = f"Größe {'ä' * 300} {LONG} {'ö' * 300} Ende"

    assert cut(benchmark, text, put="|") == f"Größe {'ä' * 300} |. {'ö' * 300} Ende"
    assert cut(benchmark, text, put="|", margin_chars=11) == f"Größe {'ä' * 290}|{'ö' * 291} Ende"
    assert cut(benchmark, OTHER) == OTHER


def test_short_pieces_between_cuts_go_too(benchmark: Path) -> None:
    text = f"{'a ' * 150}{LONG} short {LONG} {'b ' * 150}"

    assert cut(benchmark, text, put="|", min_piece_chars=50) == f"{'a ' * 150}|. {'b ' * 150}"
    assert cut(benchmark, text, put="|", min_piece_chars=400) == "|"
    assert cut(benchmark, text, put="|").count("|") == 2


def test_only_words_of_items_that_count_are_cut(benchmark: Path) -> None:
    half = " ".join(LONG.split()[:14])

    assert cut(benchmark, f"{half}. {OTHER}", min_share=0.9) == f"{half}. {OTHER}"


def test_documents_in_many_pieces_or_with_nothing_left_are_dropped(benchmark: Path) -> None:
    filter = Decontaminate(benchmarks=[benchmark], action="cut", max_cuts=2, margin_chars=0, min_piece_chars=1)
    scored = filter.score(docs(f"{LONG} more words {OTHER}", f"{LONG} a " * 3, LONG[:-1], OTHER))

    rules = {
        name: rule if isinstance(rule, pl.Expr) else rule.expression() for name, rule in filter.drop_when().items()
    }
    assert scored.select(**rules).to_dict(as_series=False) == {
        "too_many_cuts": [False, True, False, False],
        "nothing_left": [False, False, True, False],
    }


def test_runs_of_words_that_overlap_are_one_cut() -> None:
    assert cuts("ä b c d e f", [0, 1, 4], [2, 2, 1], margin=0, least=0) == [(0, 5), (8, 9)]


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_report_says_which_items_are_in_how_many_documents(benchmark: Path) -> None:
    half = " ".join(LONG.split()[:16])
    filter = Decontaminate(benchmarks=[benchmark], tell_above=2)
    ledger = filter.score(docs(LONG, half, half, SHORT, OTHER)).lazy()

    tables = filter.tables(ledger)

    assert tables["benchmark_items"].rows() == [
        ("quiz.jsonl", "quiz.jsonl:1", 3, 8, pytest.approx(2 / 3), 1.0),
        ("quiz.jsonl", "quiz.jsonl:2", 1, 1, 1.0, 1.0),
    ]
    assert tables["benchmarks"].rows() == [("quiz.jsonl", 2, 4, 1.0)]
    common = tables["common_ngrams"]
    assert common["documents"].to_list() == [3, 3, 3, 3]
    assert " ".join(LONG.split()[:13]) in common["words"].to_list()


def test_the_report_is_made_without_the_files_too(benchmark: Path) -> None:
    filter = Decontaminate(benchmarks=[benchmark], tell_above=1)
    ledger = filter.score(docs(LONG, LONG)).lazy()
    benchmark.unlink()

    common = filter.tables(ledger)["common_ngrams"]

    assert common["documents"].to_list() == [2] * 8
    assert common["words"].to_list() == [None] * 8


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("quiz.jsonl", b'{"question": "x"}\n', "has no column 'text'"),
        ("quiz.jsonl", b'{"text": "x"}\n{"text": \n', "quiz.jsonl:2: not JSON"),
        ("quiz.jsonl", b"[1]\n", "quiz.jsonl:1: a list, not an object"),
        ("quiz.xlsx", b"PK", "unknown ending"),
        ("quiz.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_files_that_cannot_serve_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UsageError, match=message):
        hits(tmp_path / name, "x")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"quiz\.jsonl"):
        hits(tmp_path / "quiz.jsonl", "x")


def test_min_words_above_the_ngram_is_refused(benchmark: Path) -> None:
    with pytest.raises(ValidationError, match="no item would be short"):
        Decontaminate(benchmarks=[benchmark], ngram=5)


@pytest.mark.parametrize(
    "options", [{}, {"action": "cut"}, {"action": "tag", "ngram": 5, "min_words": 5, "tell_above": 3}], ids=str
)
def test_decontaminate_keeps_the_contract(benchmark: Path, options: Any) -> None:
    check_filter(Decontaminate(benchmarks=[benchmark], **options), docs(LONG, SHORT, OTHER))


@settings(deadline=None, max_examples=60)
@given(
    items=st.lists(st.lists(st.sampled_from("abc"), max_size=6), min_size=1, max_size=5),
    text=st.lists(st.sampled_from("abcd"), max_size=15),
)
def test_items_are_those_of_plain_python(
    tmp_path_factory: pytest.TempPathFactory, items: list[list[str]], text: list[str]
) -> None:
    path = tmp_path_factory.mktemp("items") / "quiz.jsonl"
    path.write_text("".join(json.dumps({"text": " ".join(item)}) + "\n" for item in items))

    def runs(words: list[str], size: int) -> set[tuple[str, ...]]:
        return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}

    wanted = [
        f"quiz.jsonl:{number}"
        for number, item in enumerate(items, start=1)
        if len(item) >= 2 and runs(item, min(4, len(item))) & runs(text, min(4, len(item)))
    ]
    assert sorted(hits(path, " ".join(text), ngram=4, min_words=2, min_share=0.0)[0]) == wanted


@given(st.text(st.sampled_from("aZ9_ .éß中ก\u0301😀\n"), max_size=30))
def test_words_are_where_the_text_has_them(text: str) -> None:
    starts, ends = word_spans(text.encode())

    cut_out = [text.encode()[start:end].decode() for start, end in zip(starts, ends, strict=True)]
    rest = "".join(character for character in text if character.isalnum() or character == "_")
    assert "".join(cut_out) == rest
    assert all(len(word) == 1 for word in cut_out if any(character in "中ก" for character in word))


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_every_planted_item_is_found_and_no_other_document_touched() -> None:
    path = SHARED / "benchmarks" / "benchmarks.parquet"
    web = pl.read_parquet(SHARED / "web" / "web-000.parquet", columns=["text"])["text"]
    items = pl.read_parquet(path)
    names = (items["benchmark"] + "/" + items["id"]).to_list()
    long_enough = items["text"].str.count_matches(r"\w+") >= 8
    chooser = random.Random(5)
    planted, wanted = [], []
    for name, item in zip(pl.Series(names).filter(long_enough), items["text"].filter(long_enough), strict=True):
        host = web[chooser.randrange(len(web))]
        at = chooser.randrange(len(host) + 1)
        planted.append(f"{host[:at]}\n\n{item}\n\n{host[at:]}")
        wanted.append(name)
    filter = Decontaminate(benchmarks=[path], labels=["benchmark", "id"])

    found = filter.score(docs(*planted))["hits"].to_list()
    clean = filter.score(docs(*web.to_list()))

    lost = [name for name, own in zip(wanted, found, strict=True) if name not in [hit["item"] for hit in own]]
    assert lost == []
    assert clean["items"].sum() == 0
