"""`toxicity`: windows, aggregates, limits, redaction, languages, the cascade's band."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from engine import hashes
from pydantic import ValidationError
from stand_in_screen import SEEN, install
from tiny_models import make_checkpoint, make_folder

from curate import screen as bundled_screen
from curate.cascade import Band
from curate.detoxify import find_files
from curate.errors import PipelineError, UsageError
from curate.filters import Language, Toxicity, toxicity
from curate.ledger import edit_text
from curate.pipeline import Pipeline
from curate.run import Run
from curate.swap import bundled, fill
from curate.testing import check_edits, check_filter

GOOD = "We met at the river and talked about the weather. "
BAD = "bad badly bad badder worse. "


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint("unbiased", tmp_path_factory.mktemp("model"))


def docs(*texts: str, **columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"id": [str(n) for n in range(len(texts))], "text": list(texts), **columns})


def score(*texts: str, **options: Any) -> pl.DataFrame:
    return Toxicity(**options).score(docs(*texts))


def dropped(filter: Toxicity, *texts: str) -> dict[str, list[bool]]:
    rules = {name: rule.expression() for name, rule in filter.drop_when().items()}
    return filter.score(docs(*texts)).select(**rules).to_dict(as_series=False)


def redacted(text: str, **options: Any) -> str:
    (edits,) = score(text, action="redact", **options)["edits"].to_list()
    return edit_text(text, edits)


def run_over(folder: Path, frame: pl.DataFrame, filter: Toxicity) -> Run:
    frame.write_parquet(folder / "input.parquet")
    return Pipeline([filter], base=folder).run(folder / "input.parquet", folder / "out", workers=1)


# --- scores -----------------------------------------------------------------------------------------------------------


def test_a_document_is_scored_by_its_windows() -> None:
    text = GOOD * 3 + BAD * 2
    found = score(text, max_window_chars=len(GOOD) * 3, min_window_chars=200).row(0, named=True)

    share = len(BAD * 2) / len(text)
    assert found["windows"] == 2
    assert found["max"] == pytest.approx(0.8)
    assert found["share"] == pytest.approx(share)
    assert found["mean"] == pytest.approx(0.8 * share)
    assert found["judged"] is True
    assert found["asked"] == 0


def test_a_toxic_sentence_at_the_end_of_a_long_text_is_found() -> None:
    found = score(GOOD * 5_000 + BAD * 10)

    assert found["max"][0] > 0.5
    assert found["share"][0] == pytest.approx(10 * len(BAD) / len(GOOD * 5_000), rel=0.5)


def test_spans_say_where_the_toxic_windows_are() -> None:
    text = "é " + GOOD * 2 + BAD * 3
    (spans,) = score(text, max_window_chars=102, min_window_chars=102)["spans"].to_list()

    assert [text.encode()[span["start"] : span["end"]].decode() for span in spans] == [(BAD * 3).strip()]
    assert spans[0]["score"] == pytest.approx(0.8)


def test_where_a_window_becomes_toxic_is_an_option() -> None:
    assert score(BAD, toxic_at=0.9)["share"].to_list() == [0]
    assert score(BAD, toxic_at=0.8)["share"].to_list() == [1]


def test_zero_width_characters_do_not_hide_words() -> None:
    dodge = BAD.replace("bad", "b\u200ba\u2060d")

    found = score(dodge, BAD)

    assert found["max"][0] == found["max"][1] == 0.8
    assert found["spans"].list.len().to_list() == [1, 1]


@pytest.mark.parametrize("text", ["", " \n ", "😀😀", "12 345 --- 6", "\u200b\u200b", "这些都是汉字"])
def test_a_text_that_models_cannot_read_is_not_judged(text: str) -> None:
    found = score(text, max_share=0.0).row(0, named=True)

    assert found["judged"] is False
    assert [found[name] for name in ("share", "mean", "max", "p95")] == [None] * 4
    assert dropped(Toxicity(max_share=0.0, max_mean=0.0), text) == {"toxic_share": [False], "toxic_mean": [False]}
    assert SEEN == []


@pytest.mark.parametrize(
    "text",
    [
        "bad",
        "for i in range(10): print(i)  # bad",
        "QmFkIGJhc2U2NCB0ZXh0IHRoYXQgbm9ib2R5IHJlYWRz" * 50,
        "x" * 1_000_000,
        "bad words и слова",
    ],
)
def test_one_word_code_base64_and_a_megabyte_without_spaces_are_judged(text: str) -> None:
    found = Toxicity(language_column="lang").score(docs(text, lang=["en"]))

    assert found["judged"].to_list() == [True]
    assert found["windows"][0] == -(-len(text) // 250)


def test_windows_of_another_script_are_not_scored() -> None:
    found = score(GOOD * 4 + "这些都是汉字。" * 20, max_window_chars=200, min_window_chars=200)

    assert found["judged"].to_list() == [True]
    assert SEEN == [GOOD * 4]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_documents_with_too_much_toxic_text_are_dropped() -> None:
    assert dropped(Toxicity(max_share=0.2), GOOD * 20, BAD * 20, GOOD * 10 + BAD * 10) == {
        "toxic_share": [False, True, True]
    }


def test_documents_that_are_toxic_on_average_are_dropped() -> None:
    assert dropped(Toxicity(max_mean=0.5), GOOD, BAD) == {"toxic_mean": [False, True]}


def test_without_a_limit_it_only_scores() -> None:
    assert Toxicity().drop_when() == {}


def test_limits_are_thresholds_what_is_scored_is_not() -> None:
    assert Toxicity().thresholds() == {"max_share", "max_mean"}


# --- redaction --------------------------------------------------------------------------------------------------------


def test_toxic_windows_are_redacted() -> None:
    assert redacted(GOOD * 2 + BAD * 3 + GOOD, max_window_chars=110, put="[removed]") == (
        GOOD * 2 + "[removed] " + GOOD
    )


def test_neighbouring_toxic_windows_are_one_edit() -> None:
    assert redacted("é " + BAD * 40, put="...") == "... "


def test_a_document_that_is_not_toxic_keeps_its_text() -> None:
    assert redacted(GOOD * 30) == GOOD * 30


def test_edits_are_in_bytes_and_fit_the_text() -> None:
    texts = pl.Series("text", ["é" * 600 + BAD * 20 + "你好", GOOD, "", BAD * 100 + "\n\n" + GOOD * 9])

    frame = docs(*texts, lang=["en"] * 4)
    found = Toxicity(action="redact", language_column="lang").score(frame)

    assert check_edits(texts, found["edits"]) == []
    assert found["edits"].list.len().to_list() == [1, 0, 0, 1]


def test_scores_of_a_redacted_document_are_those_of_the_text_before() -> None:
    assert score(BAD, action="redact")["share"].to_list() == [1]
    assert dropped(Toxicity(action="redact", max_share=0.5), BAD) == {"toxic_share": [True]}


def test_a_run_redacts_and_writes_no_text_into_ledger_or_report(tmp_path: Path) -> None:
    secret = "badword badworse badworst"
    frame = docs(GOOD * 12 + secret + ".", GOOD)

    run = run_over(tmp_path, frame, Toxicity(action="redact", put="[...]", max_window_chars=200))

    assert run.kept.collect()["text"].to_list() == [GOOD * 12 + "[...]", GOOD]
    ledger = run.ledger.collect()
    assert ledger["toxicity.share"].to_list()[1] == 0
    assert "badwor" not in str(ledger.to_dicts())
    page = tmp_path / "report.html"
    run.report.save(page)
    assert "badwor" not in page.read_text() + str(run.report.to_dict())


# --- languages --------------------------------------------------------------------------------------------------------


def test_only_documents_in_the_models_language_are_judged() -> None:
    frame = docs(*[BAD] * 5, **{"language.label": ["en", "de", None, "eng_Latn", "und"]})
    filter = Toxicity(language_column="language.label", max_share=0.1)

    found = filter.score(frame)

    assert filter.reads() == ("language.label",)
    assert found["judged"].to_list() == [True, False, False, True, True]
    assert found["share"].to_list() == [1, None, None, 1, 1]


def test_without_a_language_column_documents_are_labelled_here() -> None:
    french = "Il pleut depuis ce matin et les enfants jouent dans la maison de leur grand-mère."
    filter = Toxicity(max_share=0.0)

    found = filter.score(docs(french, GOOD, "slova bad words и ещё слова", BAD))

    assert found["judged"].to_list() == [False, True, False, True]
    assert dropped(filter, french + " bad bad bad.") == {"toxic_share": [False]}
    assert set(Language().files()) <= set(filter.files())


@pytest.mark.parametrize(("text", "judged"), [("what a loser", True), ("x" * 1_000, False)])
def test_an_undetermined_document_is_judged_only_if_it_is_short(text: str, judged: bool) -> None:
    assert Language().score(docs(text))["label"].to_list() == ["und"]

    assert score(text)["judged"].to_list() == [judged]
    assert Toxicity(language_column="lang").score(docs(text, lang=["und"]))["judged"].to_list() == [judged]


def test_a_short_document_of_another_script_or_label_is_not_judged() -> None:
    found = Toxicity(language_column="lang").score(docs("слова", "plain", "plain", lang=["und", "de", None]))

    assert found["judged"].to_list() == [False, False, False]


@pytest.mark.parametrize(
    "text",
    [
        "Ⓨⓞⓤ ⓐⓡⓔ ⓐ ⓑⓐⓓ ⓝⓔⓘⓖⓗⓑⓞⓤⓡ",
        "yоu аrе а bаd nеіghbоur, gо аwаy",  # Cyrillic о, а, е, і
        "yοu αre α bαd neιghbοur, gο αwαy",  # Greek ο, α, ι
        "you\u115f are a b\u3164a\u1160d neigh\uffa0bour",
    ],
)
def test_english_in_disguise_is_judged_and_scored(text: str) -> None:
    found = score(text)

    assert found["judged"].to_list() == [True]
    assert [read.lower().split()[:4] for read in SEEN] == [["you", "are", "a", "bad"]]


def test_squared_capitals_are_judged() -> None:
    assert score("🅈🄾🅄 🄰🅁🄴 🄰 🄱🄰🄳 🄽🄴🄸🄶🄷🄱🄾🅄🅁")["judged"].to_list() == [True]


def test_the_bundled_screen_finds_a_sentence_among_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "curate.screen", bundled_screen)
    hostile = fill(bundled().hostile[2], "Muslim")
    before = (
        "The market opens at eight and closes when the last stall has sold out. In winter the ferry runs only twice a "
        "day. A new roof was put on the school in June. Nobody could say how old the oak beside the church was. "
    )
    after = "On Fridays the choir meets in the hall. Most visitors come by train and walk the last mile. It may rain."
    texts = docs(before + after, before + hostile + " " + after)

    plain, planted = Toxicity().score(texts).rows(named=True)

    assert (plain["max"] < 0.6, plain["spans"]) == (True, [])
    at = len(before)
    assert any(span["start"] <= at and at + len(hostile) <= span["end"] for span in planted["spans"])


def test_a_multilingual_model_alone_judges_its_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path))
    make_checkpoint("multilingual", tmp_path / "models" / "detoxify-multilingual")
    frame = docs("слова и слова", "plain words", "这些都是汉字")

    assert Toxicity(model="detoxify-multilingual").score(frame)["judged"].to_list() == [True, True, False]
    assert Toxicity(model="detoxify-multilingual", band=Band()).languages == ("en",)


# --- the model and the band -------------------------------------------------------------------------------------------


def test_a_model_without_a_band_scores_every_window(checkpoint: Path) -> None:
    found = Toxicity(model=checkpoint).score(docs(GOOD * 30, ""))

    assert found["asked"].to_list() == found["windows"].to_list() == [30, 0]
    assert SEEN == []


def test_a_window_scores_what_the_model_says_of_it(checkpoint: Path) -> None:
    from curate.detoxify import load

    model = load(checkpoint)
    expected = model.scores([GOOD])[0]

    assert score(GOOD, model=checkpoint)["max"][0] == pytest.approx(expected[model.labels.index("toxicity")])
    both = score(GOOD, model=checkpoint, labels=["threat", "insult"])["max"][0]
    assert both == pytest.approx(max(expected[model.labels.index(label)] for label in ("threat", "insult")))


class Slow:
    """Stands in for the model: calls a text toxic when it has the word `worse`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, filter: Toxicity, texts: pl.Series) -> np.ndarray[Any, Any]:
        self.asked += texts.to_list()
        return texts.str.contains("worse").cast(pl.Float64).to_numpy() * 0.9


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    stand_in = Slow()
    monkeypatch.setattr(Toxicity, "model_scores", lambda filter, texts: stand_in(filter, texts))
    return stand_in


def test_the_model_is_asked_only_about_windows_in_the_band(slow: Slow) -> None:
    texts = [GOOD, "bad but good in the end", BAD, "bad bad bad"]

    found = Toxicity(model="detoxify-unbiased", band=Band(ask_above=0.1, drop_above=0.9)).score(docs(*texts))

    assert slow.asked == [texts[1], BAD]
    assert found["asked"].to_list() == [0, 1, 1, 0]
    assert found["max"].to_list() == pytest.approx([0, 0, 0.9, 1])
    assert found["share"].to_list() == [0, 0, 1, 1]


def test_a_window_below_the_band_is_not_toxic_whatever_the_screen_says(slow: Slow) -> None:
    found = Toxicity(model="detoxify-unbiased", band=Band(ask_above=0.95), toxic_at=0.5).score(docs(BAD))

    assert found.select("share", "asked").row(0) == (0, 0)
    assert found["max"].to_list() == [0.8]


def test_an_empty_band_asks_about_every_window(slow: Slow) -> None:
    found = Toxicity(model="detoxify-unbiased", band=Band()).score(docs(GOOD, BAD))

    assert found["asked"].to_list() == [1, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5, 1.5])
def test_a_score_that_is_none_sends_the_document_to_quarantine(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trouble(texts: pl.Series) -> np.ndarray[Any, Any]:
        return np.where(texts.str.contains("strange"), value, 0.1)

    monkeypatch.setattr(sys.modules["curate.screen"], "screen_scores", trouble)

    run = run_over(tmp_path, docs(GOOD, "a strange text", GOOD), Toxicity(max_share=0.5))

    assert (run.counts["kept"], run.counts["quarantined"], run.counts["dropped"]) == (2, 1, 0)


def test_a_label_that_the_model_lacks_is_named(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="no label 'spam'") as error:
        score(GOOD, model=checkpoint, labels=["spam"])
    assert "toxicity" in str(error.value.hint)


def test_the_report_says_how_many_windows_were_asked_about(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toxicity.Toxicity, "_model_files", lambda filter: ())
    filter = Toxicity(model="detoxify-unbiased")
    marked = Band(ask_above=0.1, **dict(zip(("screen", "model"), filter.marks(), strict=True)))
    filter = filter.model_copy(update={"band": marked})

    table = filter.tables(filter.score(docs(GOOD, BAD, "")).lazy())["toxicity_models"]

    assert table.row(0, named=True) == {
        "judged": 2, "not_judged": 1, "windows": 2, "asked": 1, "asked_share": 0.5, "bound": "as calibrated"
    }  # fmt: skip


def test_a_band_made_for_another_model_is_void(checkpoint: Path, tmp_path: Path) -> None:
    filter = Toxicity(model=checkpoint)
    screen_mark, model_mark = filter.marks()
    other = make_folder(tmp_path / "other", ["toxicity", "insult"])
    band = Band(ask_above=0.1, screen=screen_mark, model=model_mark)

    assert filter.model_copy(update={"band": band}).void_reasons() == []
    changed = filter.model_copy(update={"band": band, "model": other})
    with pytest.warns(UserWarning, match="void: the model has changed"):
        changed.files()
    unmarked = filter.model_copy(update={"band": Band(ask_above=0.1)})
    assert unmarked.files() == (
        *toxicity.screen_files(),
        *find_files(checkpoint),
        *Language().files(),
    )  # nothing was promised: no warning
    assert "void" in str(changed.tables(changed.score(docs(GOOD)).lazy())["toxicity_models"]["bound"][0])


@pytest.mark.parametrize(
    "change", [{"toxic_at": 0.4}, {"labels": ["threat"]}, {"max_window_chars": 400}, {"min_window_chars": 9}]
)
def test_options_that_change_scores_make_a_band_void(checkpoint: Path, change: dict[str, Any]) -> None:
    screen_mark, model_mark = Toxicity(model=checkpoint).marks()

    filter = Toxicity(model=checkpoint, band=Band(screen=screen_mark, model=model_mark), **change)

    assert filter.void_reasons() != []


@pytest.mark.slow  # two workers that import torch
def test_worker_processes_give_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    for number in range(3):
        texts = [f"{GOOD * (n % 5)} {BAD} document {number} {n}" for n in range(20)]
        docs(*texts).with_columns(id=f"{number}-" + pl.col("id")).write_parquet(tmp_path / f"in-{number}.parquet")
    pipe = Pipeline([Toxicity(model=checkpoint, max_mean=0.5, max_window_chars=100)], base=tmp_path)

    for workers in (1, 2):
        run = pipe.run(tmp_path / "in-*.parquet", tmp_path / f"out-{workers}", workers=workers)
        assert run.counts["kept"] + run.counts["dropped"] == 60

    assert hashes(tmp_path / "out-1") == hashes(tmp_path / "out-2")


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"screen": None}, "nothing to score with"),
        ({"band": {"ask_above": 0.1}}, "set both"),
        ({"band": {"ask_above": 0.1}, "screen": None, "model": "detoxify-original"}, "set both"),
        ({"put": "x"}, "action: redact"),
        ({"labels": []}, "at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Toxicity(**options)


def test_a_pipeline_with_a_missing_model_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path))
    text = "input: {paths: [a.jsonl]}\nsteps:\n  - toxicity: {model: detoxify-unbiased, band: {ask_above: 0.01}}\n"

    with pytest.raises(PipelineError, match=r"toxic_debiased-c7548aa0\.ckpt.*curate models fetch detoxify-unbiased"):
        Pipeline.parse(text, base=tmp_path)


def test_a_path_is_relative_to_the_pipeline(tmp_path: Path) -> None:
    make_checkpoint("original", tmp_path / "model")
    text = "input: {paths: [a.jsonl]}\nsteps:\n  - toxicity: {model: model/tiny.ckpt, max_share: 0.2}\n"

    pipe = Pipeline.parse(text, base=tmp_path)

    assert tmp_path / "model" / "tiny.ckpt" in pipe.steps[0].filter.files()
    assert "model: model/tiny.ckpt" in pipe.to_yaml()


def test_an_installation_without_the_screen_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "curate.screen", None)

    with pytest.raises(UsageError, match="no bundled toxicity screen"):
        score(GOOD)


# --- the contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"max_share": 0.2, "max_mean": 0.5},
        {"action": "redact", "put": "[...]", "max_share": 0.9},
    ],
)
def test_toxicity_keeps_the_contract(options: dict[str, Any]) -> None:
    check_filter(Toxicity(**options), docs(*[GOOD + BAD * n for n in range(5)]))


def test_toxicity_with_a_language_keeps_the_contract() -> None:
    check_filter(Toxicity(language_column="lang", max_share=0.1), docs(BAD, GOOD, BAD, lang=["en", "de", None]))


def test_toxicity_with_a_model_and_a_band_keeps_the_contract(checkpoint: Path) -> None:
    band = Band(ask_above=0.5, drop_above=0.7)
    check_filter(Toxicity(model=checkpoint, band=band, max_share=0.1), docs(BAD, GOOD, "bad good"))
