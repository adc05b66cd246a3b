"""`classifier`: labels of one's own models as scores, and rules by label."""

from __future__ import annotations

import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from tiny_models import LINES, make_folder

from curate import transformer
from curate.errors import PipelineError, UsageError
from curate.filters import Classifier
from curate.kernels import fasttext, utf8
from curate.kernels.fasttext_scores import label_scores
from curate.models import bundled_language_model
from curate.pipeline import Pipeline
from curate.testing import check_filter

LABELS = ("hq", "spam page", "text")
TEXTS = [*LINES, "", "one word", "Der Ausschuss trifft sich", "x" * 500, "a\nb\tc", "12 34", "word " * 500]
LOSSES = [fasttext.HIERARCHICAL, fasttext.NEGATIVE, fasttext.SOFTMAX, fasttext.ONE_VS_ALL]


def write_fasttext(
    path: Path, labels: tuple[str, ...] = LABELS, *, loss: int = fasttext.SOFTMAX, word_grams: int = 2, longest: int = 3
) -> Path:
    """Write a small fastText classifier with random weights."""
    random = np.random.default_rng(5)
    words = [b"</s>", *(word.encode() for word in ("the", "quick", "road", "you", "word"))]
    dim, bucket = 12, 101 if word_grams > 1 or longest else 0
    with path.open("wb") as file:
        file.write(struct.pack("<2i", fasttext.MAGIC, fasttext.VERSION))
        file.write(struct.pack("<12id", dim, 5, 5, 1, 5, word_grams, loss, 3, bucket, 2, longest, 100, 1e-4))
        file.write(struct.pack("<3i2q", len(words) + len(labels), len(words), len(labels), 1000, -1))
        for word in words:
            file.write(word + b"\0" + struct.pack("<qb", 10, 0))
        for at, label in enumerate(labels):
            file.write(b"__label__" + label.encode() + b"\0" + struct.pack("<qb", 50 - at, 1))
        for rows in (len(words) + bucket, len(labels)):
            file.write(struct.pack("<?2q", False, rows, dim))
            file.write(random.normal(0, 1, (rows, dim)).astype("<f4").tobytes())
    return path


def docs(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"id": [str(n) for n in range(len(texts))], "text": list(texts)})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_fasttext(tmp_path / "quality.bin")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("hub") / "topic", ["sport", "news", "code"])


# --- probabilities of all labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [{}, {"word_grams": 1}, {"word_grams": 3, "longest": 0}], ids=str)
def test_every_label_scores_as_with_the_library(tmp_path: Path, loss: int, shape: dict[str, int]) -> None:
    import fasttext as library

    labels = ("a", "b", "c", "d", "e")
    path = write_fasttext(tmp_path / "model.bin", labels, loss=loss, **shape)
    theirs = library.load_model(str(path))

    ours, known = label_scores(fasttext.load(path), utf8.texts(pl.Series(TEXTS)))

    # for two losses the library looks the logistic function up in a table of 512 values
    tolerance = 0.01 if loss in (fasttext.NEGATIVE, fasttext.ONE_VS_ALL) else 1e-4
    for row, text in enumerate(TEXTS):
        line = re.sub(r"[\n\r\v\f\x00]", " ", text) + "\n"
        found = {label.removeprefix("__label__"): chance for chance, label in theirs.f.predict(line, 9, -1.0, "strict")}
        assert known[row] == bool(found)
        assert dict(zip(labels, ours[row], strict=True)) == pytest.approx(found, abs=tolerance)


def test_the_likeliest_language_is_that_of_predict() -> None:
    model = fasttext.load(bundled_language_model())
    given = utf8.texts(pl.Series(TEXTS))

    scores, known = label_scores(model, given)
    numbers, chances = fasttext.predict(model, *given)

    assert known.tolist() == (numbers >= 0).tolist()
    assert scores.argmax(axis=1)[known].tolist() == numbers[known].tolist()
    assert scores.max(axis=1)[known] == pytest.approx(chances[known], abs=1e-3)
    assert scores.sum(axis=1) == pytest.approx(1)


# --- fastText ---------------------------------------------------------------------------------------------------------


def test_the_labels_are_scores(model: Path) -> None:
    found = Classifier(model=model).score(docs(*LINES))

    assert found.columns == ["label", "confidence", "hq", "spam_page", "text_", "judged"]
    assert found.select(pl.sum_horizontal("hq", "spam_page", "text_")).to_series().to_list() == pytest.approx([1] * 5)
    assert (
        found["confidence"].to_list()
        == found.select(pl.max_horizontal("hq", "spam_page", "text_")).to_series().to_list()
    )
    assert set(found["label"]) <= set(LABELS)


@pytest.mark.parametrize("text", ["", " \n", "12 34", "😀"])
def test_a_text_without_letters_is_not_judged(model: Path, text: str) -> None:
    filter = Classifier(model=model, keep=["hq"], drop_above={"hq": 0.0}, drop_below={"hq": 1.0})
    found = filter.score(docs(text))

    assert found["judged"].to_list() == [False]
    assert found["label"].to_list() == found["hq"].to_list() == [None]
    assert not any(judged(filter, text)[name][0] for name in filter.drop_when())


def judged(filter: Classifier, *texts: str) -> dict[str, list[bool]]:
    rules = {
        name: rule if isinstance(rule, pl.Expr) else rule.expression() for name, rule in filter.drop_when().items()
    }
    return filter.score(docs(*texts)).select(**rules).to_dict(as_series=False)


def test_documents_are_dropped_by_label(model: Path) -> None:
    found = Classifier(model=model).score(docs(*LINES))
    scores, labels = found["spam_page"].to_list(), found["label"].to_list()
    middle = sorted(scores)[2]

    filter = Classifier(model=model, keep=["hq"], drop_above={"spam page": middle}, drop_below={"spam page": middle})

    assert judged(filter, *LINES) == {
        "not_kept": [label != "hq" for label in labels],
        "spam_page_above": [score > middle for score in scores],
        "spam_page_below": [score < middle for score in scores],
    }


def test_limits_are_thresholds(model: Path) -> None:
    assert Classifier(model=model).thresholds() == {"keep", "drop_above", "drop_below"}
    assert Classifier(model=model).drop_when() == {}


def test_only_the_labels_asked_for_become_columns(model: Path) -> None:
    assert Classifier(model=model, labels="hq").score(docs("a"))["label", "hq"].width == 2
    assert "spam_page" not in Classifier(model=model, labels="hq").score(docs("a")).columns


def test_only_the_first_characters_are_read(model: Path) -> None:
    filter = Classifier(model=model, max_chars=9)

    assert filter.score(docs("the quick brown fox")).equals(filter.score(docs("the quick")))


# --- transformers -----------------------------------------------------------------------------------------------------


def test_a_folders_labels_are_scores(folder: Path) -> None:
    found = Classifier(model=folder).score(docs(LINES[0]))

    expected = transformer.load(folder).scores([LINES[0]])[0]
    assert found.select("sport", "news", "code").row(0) == pytest.approx(tuple(expected))
    assert found["label"].to_list() == [("sport", "news", "code")[expected.argmax()]]


def test_a_long_document_is_the_mean_of_its_windows(folder: Path) -> None:
    first, second = "nobody knows where. ", "you are kind now. "
    scores = transformer.load(folder).scores([first * 3, second * 3])
    text = first * 3 + second * 3

    found = Classifier(model=folder, max_window_chars=len(first * 3)).score(docs(text))

    weights = np.array([len(first), len(second)]) / (len(first) + len(second))
    assert found["sport"].to_list() == pytest.approx([float(weights @ scores[:, 0])])


def test_a_window_of_too_many_tokens_is_read_in_parts_too(folder: Path) -> None:
    model = transformer.load(folder)
    start = "a b c " * 12

    long = model.scores([start + "d e f g " * 40], "mean")

    assert model.max_tokens == 64
    assert long[0] != pytest.approx(model.scores([start], "mean")[0], abs=1e-4)
    assert long.sum() == pytest.approx(1)


def test_a_regression_model_gives_its_output(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "edu", ["edu"], problem="regression")
    model = transformer.load(folder)
    with model._computing():
        expected = model._forward(model._parts([LINES[0]])[0])[0, 0]

    assert model.activation == "none"
    assert Classifier(model=folder, drop_below={"edu": -3}).score(docs(LINES[0]))["edu"][0] == pytest.approx(expected)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    folder, marker = make_folder(tmp_path / "hub", ["a", "b"], pickled=True), tmp_path / "it-ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {marker}",)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"classifier.weight": Evil()}))

    with pytest.raises(UsageError, match="cannot be loaded"):
        Classifier(model=folder).score(docs("text"))
    assert not marker.exists()


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"keep": ["hg"]}, "no label 'hg'; did you mean 'hq'"),
        ({"drop_above": {"other": 0.5}}, "no label 'other'"),
        ({"labels": ["hq"], "drop_below": {"text": 0.5}}, "'text' has a limit, but is not among `labels`"),
    ],
)
def test_labels_that_the_model_lacks_are_refused(model: Path, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Classifier(model=model, **options)


def test_a_model_with_many_labels_asks_which(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="176 labels"):
        Classifier(model=bundled_language_model())
    assert Classifier(model=bundled_language_model(), labels=["en"]).score(docs(LINES[0]))["en"][0] > 0.5


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.bin").write_text("no model")

    with pytest.raises(ValidationError, match="not a fastText classifier"):
        Classifier(model=tmp_path / "own.bin")


def test_a_model_that_is_missing_is_named_by_the_pipeline(tmp_path: Path) -> None:
    text = "input: {paths: [a.jsonl]}\nsteps:\n  - classifier: {model: gone.bin, drop_below: {hq: 0.1}}\n"

    with pytest.raises(PipelineError, match=r"gone\.bin"):
        Pipeline.parse(text, base=tmp_path)


def test_the_model_is_part_of_the_key_of_results(model: Path, folder: Path) -> None:
    assert Classifier(model=model).files() == (model,)
    assert {file.name for file in Classifier(model=folder).files()} == {"config.json", "model.safetensors", "vocab.txt"}


def test_a_run_drops_by_label(tmp_path: Path, model: Path) -> None:
    docs(*LINES, "12").write_parquet(tmp_path / "in.parquet")
    labels = Classifier(model=model).score(docs(*LINES, "12"))["label"].to_list()
    pipe = Pipeline.parse(
        "input: {paths: [in.parquet]}\nsteps:\n  - classifier: {model: quality.bin, keep: [hq]}\n", base=tmp_path
    )

    run = pipe.run(output=tmp_path / "out", workers=1)

    assert run.ledger.collect()["kept"].to_list() == [label in ("hq", None) for label in labels]
    assert run.ledger.collect()["classifier.label"].to_list() == labels


@pytest.mark.parametrize("loss", LOSSES)
def test_classifier_keeps_the_contract_with_fasttext(tmp_path: Path, loss: int) -> None:
    path = write_fasttext(tmp_path / "model.bin", loss=loss)
    check_filter(Classifier(model=path, keep=["hq"], drop_above={"hq": 0.5}, drop_below={"spam page": 0.1}))


def test_classifier_keeps_the_contract_with_a_transformer(folder: Path) -> None:
    check_filter(Classifier(model=folder, keep=["news"], drop_above={"sport": 0.5}, max_chars=2_000))
