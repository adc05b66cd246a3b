"""The conformity suite: what it lets pass, and everything that it finds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import Field

from curate.filter import Corpus, CorpusFilter, Filter, above, threshold
from curate.filters import Blocklist, ExactDuplicates, Length
from curate.testing import EXAMPLES, FilterCheckError, MemoryCorpus, check_edits, check_filter, decide, examples


class Fine(Filter):
    """Drop texts with more letters than allowed."""

    most: int = threshold(3)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        return docs.select(letters=pl.col("text").str.count_matches("[a-z]"))

    def drop_when(self) -> Mapping[str, Any]:
        return {"many": above("letters", self.most)}


def problems(filter: Filter, docs: pl.DataFrame | None = None) -> str:
    with pytest.raises(FilterCheckError) as error:
        check_filter(filter, docs)
    return "\n".join(error.value.problems)


def scoring(expression: pl.Expr | Any, **more: Any) -> Filter:
    """A filter whose score is this expression, or what this function makes of the documents."""

    def score(self: Filter, docs: pl.DataFrame) -> pl.DataFrame:
        return docs.select(x=expression) if isinstance(expression, pl.Expr) else expression(docs)

    return type("Made", (Filter,), {"__doc__": "Made for a test.", "__module__": __name__, "score": score, **more})()


# --- what passes ------------------------------------------------------------------------------------------------------


def test_a_filter_that_keeps_the_contract_passes() -> None:
    check_filter(Fine())
    check_filter(Fine(most=0), pl.DataFrame({"text": ["a", "b"], "source": ["x", None]}))


def test_the_plugin_of_the_guide_passes() -> None:
    class NoLorem(Filter):
        """Drop placeholder pages."""

        max_hits: int = 2

        def score(self, docs: pl.DataFrame) -> pl.DataFrame:
            return docs.select(hits=pl.col("text").str.count_matches("(?i)lorem ipsum"))

        def drop_when(self) -> dict[str, object]:
            return {"lorem_ipsum": above("hits", self.max_hits)}

    check_filter(NoLorem())


def test_a_filter_without_scores_passes() -> None:
    class Judge(Filter):
        """Judge a column of the input and a score of another step."""

        def drop_when(self) -> Mapping[str, Any]:
            return {"bad": (pl.col("language.label") == "de") & (pl.col("stars") < 3)}

    check_filter(Judge())


def test_examples_have_ids_texts_and_the_given_columns() -> None:
    given = examples(pl.DataFrame({"id": ["x"], "text": ["mine"], "source": ["web"]}), rows=50)

    assert given.columns == ["id", "text", "source"]
    assert given["id"].n_unique() == 50
    assert given["text"].to_list()[: len(EXAMPLES)] == list(EXAMPLES.values())
    assert set(given["text"].to_list()[len(EXAMPLES) :]) == {"mine"}
    assert len(examples()) == 1000


# --- what is found ----------------------------------------------------------------------------------------------------


def test_everything_wrong_is_listed_at_once() -> None:
    def score(docs: pl.DataFrame) -> pl.DataFrame:
        return docs.select(text=pl.col("text").str.len_chars() * float("nan"))

    found = problems(scoring(score, scores={"other": "not there"}))

    assert "hides the column 'text'" in found
    assert "NaN or infinity in 'text'" in found
    assert "documents 'other', which is not returned" in found


def test_the_message_names_the_filter() -> None:
    with pytest.raises(FilterCheckError, match=r"^Made does not keep the filter contract:\n- "):
        check_filter(scoring(pl.lit(1.0) / 0))


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        (pl.col("text").str.len_chars() / 0, "NaN or infinity"),
        (pl.col("text").filter(pl.col("text") != ""), "returns 999 rows for 1000 documents"),
        (pl.col("text").str.len_chars().sum(), "returns 1 rows for 1000 documents"),
        (pl.col("text").str.len_chars() / pl.col("text").str.len_chars().max().clip(1), "alone differs from"),
        (pl.col("text").str.len_chars().cum_sum(), "in another order"),
        (pl.col("text").str.len_chars().shuffle(), "another result the second time"),
        (pl.col("source").str.len_chars(), "reads a column that the examples lack: pass docs= with it"),
    ],
)
def test_scores_that_depend_on_more_than_the_document_or_are_no_numbers(expression: pl.Expr, problem: str) -> None:
    assert problem in problems(scoring(expression))


def test_a_text_that_makes_it_fail_is_named() -> None:
    def score(docs: pl.DataFrame) -> pl.DataFrame:
        if (docs["text"] == "").any():
            raise ValueError("no text")
        return docs.select(x=1)

    assert "score fails on the text 'empty': ValueError: no text" in problems(scoring(score))


def test_an_empty_frame_must_give_the_same_columns() -> None:
    def no_schema(docs: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame({"x": [len(text) for text in docs["text"]]})

    assert "score of an empty frame has the columns" in problems(scoring(no_schema))


def test_what_is_no_frame() -> None:
    assert "score returns list, not a polars DataFrame" in problems(scoring(lambda docs: [1] * len(docs)))


def test_results_that_change_with_time() -> None:
    calls = itertools.count()

    def score(docs: pl.DataFrame) -> pl.DataFrame:
        return docs.select(x=pl.col("text").str.len_chars() + next(calls))

    assert "another result the second time" in problems(scoring(score))


def test_scores_must_be_those_documented() -> None:
    found = problems(scoring(pl.col("text").str.len_chars(), scores={"y": "not x"}))

    assert "the score 'x' is not documented in `scores`" in found
    assert "`scores` documents 'y', which is not returned" in found


def test_a_dot_in_a_name_means_another_step() -> None:
    filter = scoring(lambda docs: docs.select(pl.col("text").str.len_chars().alias("a.b")))

    assert "the score 'a.b' has a dot in its name" in problems(filter)


def test_input_columns_may_not_be_hidden() -> None:
    filter = scoring(pl.col("text").str.len_chars())

    assert "the score 'x' hides the column 'x' of the input" in problems(
        filter, pl.DataFrame({"text": ["a"], "x": [1]})
    )


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (pl.col("x") + 1, "rule 'bad' is"),
        (pl.when(pl.col("x") > 3).then(True), "rule 'bad' is null for"),
        (pl.col("x").max() > 3, "one value for all documents"),
        (True, "rule 'bad' is a bool, not a polars expression"),
        (pl.col("x").str.contains("a"), "rule 'bad' fails"),
    ],
)
def test_rules_are_boolean_expressions_over_single_documents(rule: Any, problem: str) -> None:
    filter = scoring(pl.col("text").str.len_chars(), drop_when=lambda self: {"bad": rule})

    assert problem in problems(filter)


def test_nulls_in_a_column_that_a_rule_reads_are_named() -> None:
    score = pl.when(pl.col("text") != "").then(pl.col("text").str.len_chars())
    filter = scoring(score, drop_when=lambda self: {"short": above("x", 3)})

    assert "rule 'short' is null for 1 documents: they would go to quarantine (x has nulls)" in problems(filter)


def test_a_rule_that_does_not_apply_may_read_nulls() -> None:
    def score(docs: pl.DataFrame) -> pl.DataFrame:
        return docs.select(x=pl.when(pl.col("text") != "").then(1.0), judged=pl.col("text") != "")

    check_filter(scoring(score, drop_when=lambda self: {"high": above("x", 3, where="judged")}))


def test_a_threshold_that_score_reads() -> None:
    class Peeking(Fine):
        """Mark as a threshold what scoring needs."""

        def score(self, docs: pl.DataFrame) -> pl.DataFrame:
            return docs.select(letters=pl.col("text").str.len_chars().clip(0, self.most))

    assert "option 'most' is marked threshold() but score reads it" in problems(Peeking())


def test_options_must_survive_json_and_repr() -> None:
    class Unlisted(Filter):
        """Take an option that no pipeline file can hold."""

        words: tuple[Any, ...] = ()

    class Hidden(Filter):
        """Do not show an option."""

        limit: int = Field(1, repr=False)

    assert "an option does not survive JSON" in problems(Unlisted(words=((1, 2),)))
    assert "its repr makes another filter" in problems(Hidden(limit=2))


def test_a_class_needs_a_docstring() -> None:
    class Silent(Filter):
        pass

    assert "no docstring" in problems(Silent())


def test_our_own_filters_describe_each_option() -> None:
    undescribed = type("Ours", (Fine,), {"__doc__": "One of ours.", "__module__": "curate.filters.ours"})

    assert "option 'most' has no description" in problems(undescribed())


# --- edits ------------------------------------------------------------------------------------------------------------

EDITS = pl.List(pl.Struct({"start": pl.Int64, "end": pl.Int64, "put": pl.String}))


def edits_of(text: str, *edits: tuple[int, int, str]) -> list[str]:
    listed = [{"start": start, "end": end, "put": put} for start, end, put in edits]
    return check_edits(pl.Series([text]), pl.Series([listed], dtype=EDITS))


def test_edits_in_order_on_character_bounds_are_fine() -> None:
    assert edits_of("Grüße", (0, 1, "g"), (2, 4, "u"), (7, 7, "!")) == []
    assert check_edits(pl.Series(["a"]), pl.Series([None], dtype=EDITS)) == []


@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        ([(0, 9, "")], "leaves its 7 bytes"),
        ([(3, 4, "")], "cuts a character"),
        ([(2, 4, ""), (0, 1, "")], "overlaps the one before"),
        ([(4, 2, "")], "leaves its 7 bytes or overlaps"),
    ],
)
def test_edits_elsewhere_are_found(edits: list[tuple[int, int, str]], problem: str) -> None:
    (found,) = edits_of("Grüße", *edits)

    assert problem in found


def test_edits_of_another_form_are_found() -> None:
    (found,) = check_edits(pl.Series(["a"]), pl.Series([[1, 2]]))

    assert "edits must be lists of {start, end, put}" in found


def test_edits_of_a_filter_are_checked() -> None:
    def score(docs: pl.DataFrame) -> pl.DataFrame:
        edit = pl.struct(start=pl.lit(0, pl.Int64), end=pl.lit(5, pl.Int64), put=pl.lit(""))
        return docs.select(edits=pl.concat_list(pl.col("text").str.len_bytes().cast(pl.Int64)).list.eval(edit))

    assert "edit 0..5 of document 0 leaves its 0 bytes" in problems(scoring(score))


# --- corpus-wide filters ----------------------------------------------------------------------------------------------


class Rarest(CorpusFilter):
    """Drop the documents whose first letter is the most frequent."""

    wrong: str = ""

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        return docs.select(letter=pl.col("text").str.head(1))

    def decide(self, corpus: Corpus) -> Any:
        rows = pl.concat(corpus.map(_read, corpus.partitions("letter")))
        found = rows.select("chunk", "row", frequent=pl.len().over("letter") > 10)
        if self.wrong == "twice":
            found = pl.concat([found, found])
        if self.wrong == "eager":
            return found
        if self.wrong == "keys":
            found = found.drop("chunk")
        if self.wrong == "raise":
            raise KeyError("lost")
        return found.lazy()

    def decides(self) -> Mapping[str, type[pl.DataType]]:
        return {"frequent": pl.String if self.wrong == "type" else pl.Boolean}

    def drop_when(self) -> Mapping[str, Any]:
        return {"frequent": pl.col("frequent")}


def _read(partition: Any) -> pl.DataFrame:
    found: pl.DataFrame = partition.read()
    return found


def test_a_corpus_filter_passes() -> None:
    check_filter(Rarest())


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("twice", "decide returns a (chunk, row) twice"),
        ("eager", "decide returns DataFrame, not a polars LazyFrame"),
        ("keys", "decide must return the columns chunk and row"),
        ("raise", "decide fails: KeyError: 'lost'"),
        ("type", "decides() says {'frequent': String}, decide returns {'frequent': Boolean}"),
    ],
)
def test_what_decide_does_wrong_is_found(wrong: str, problem: str) -> None:
    assert problem in problems(Rarest(wrong=wrong))


def test_a_memory_corpus_is_a_corpus(tmp_path: Path) -> None:
    docs = pl.DataFrame({"id": ["a", "b", "c"], "text": ["x", "yé", "x"], "source": ["s", "t", None]})
    corpus: Corpus = MemoryCorpus(Rarest(), docs, tmp_path, chunks=2, parts=3)

    parts = [partition.read() for partition in corpus.partitions("letter")]
    columns = corpus.columns("source").collect()

    assert sorted(pl.concat(parts)["id"].to_list()) == ["a", "b", "c"]
    assert sum(set(part["letter"]) == {"x"} for part in parts) <= 1
    assert columns.select("chunk", "row", "id").rows() == [(0, 0, "a"), (0, 1, "b"), (1, 0, "c")]
    assert columns["bytes"].to_list() == [1, 3, 1]
    wanted = columns.select("chunk", "row")[[2, 1]]
    assert pl.concat(corpus.texts(wanted))["text"].to_list() == ["x", "yé"]
    assert list(corpus.map(len, ["aa", "b"])) == [2, 1]


def test_decide_gives_one_row_per_document_in_order() -> None:
    docs = pl.DataFrame({"id": ["a", "b", "c"], "text": ["x", "y", "x"]})

    found = decide(ExactDuplicates(), docs)

    assert isinstance(found, pl.DataFrame)
    assert found["duplicate_of"].to_list() == [None, None, "a"]


def test_it_takes_little_time() -> None:
    check_filter(Length())  # compiles what is not compiled yet
    start = time.process_time()

    check_filter(Blocklist(words=["fox"]))
    check_filter(Length(min_chars=1))

    assert time.process_time() - start < 5
