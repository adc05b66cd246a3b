"""`language`: labels, confidence and what is kept."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from curate.filters import Language
from curate.filters.language import LABELS
from curate.kernels import fasttext
from curate.models import bundled_language_model, file_sha256
from curate.testing import check_filter

TEXTS = {
    "en": "The committee will meet again on Thursday to discuss the budget for next year.",
    "de": "Der Ausschuss trifft sich am Donnerstag wieder, um über den Haushalt zu beraten.",
    "fr": "Le comité se réunira de nouveau jeudi pour discuter du budget de l'année prochaine.",
    "no": "Komiteen møtes igjen på torsdag for å diskutere budsjettet for neste år.",
    "zh": "委员会将于周四再次开会讨论明年的预算。",
    "ar": "ستجتمع اللجنة مرة أخرى يوم الخميس لمناقشة ميزانية العام المقبل.",
    "hi": "समिति अगले साल के बजट पर चर्चा करने के लिए गुरुवार को फिर से बैठेगी।",
    "ru": "Комитет снова соберётся в четверг, чтобы обсудить бюджет на следующий год.",
}
DOCS = pl.DataFrame({"id": list(TEXTS), "text": list(TEXTS.values())})


def score(*texts: str, **options: object) -> pl.DataFrame:
    return Language(**options).score(pl.DataFrame({"id": [str(n) for n in range(len(texts))], "text": list(texts)}))


def judged(filter: Language, docs: pl.DataFrame = DOCS) -> dict[str, list[bool]]:
    rules = {
        name: rule if isinstance(rule, pl.Expr) else rule.expression() for name, rule in filter.drop_when().items()
    }
    return filter.score(docs).select(**rules).to_dict(as_series=False)


def test_languages_are_recognised() -> None:
    scored = Language().score(DOCS)

    assert scored["label"].to_list() == list(TEXTS)
    assert scored["confidence"].is_between(0.5, 1).all()
    assert scored.schema == {"label": pl.String, "confidence": pl.Float64}


@pytest.mark.parametrize("text", ["", "  \n ", "12 345", "!!! ...", "😀", "\x00"])
def test_a_text_without_letters_has_no_language(text: str) -> None:
    assert score(text).row(0) == ("und", 0.0)


def test_line_breaks_are_spaces() -> None:
    assert score(TEXTS["de"].replace(" ", "\n")).equals(score(TEXTS["de"]))


def test_confidence_never_exceeds_one() -> None:
    assert score("위원회는 목요일에 다시 열린다.").row(0) == ("ko", 1.0)  # fastText says 1.00005


def test_only_the_first_characters_are_read() -> None:
    mixed = TEXTS["ru"] * 3 + TEXTS["en"] * 100

    assert score(mixed, max_chars=len(TEXTS["ru"]) * 3)["label"].to_list() == ["ru"]
    assert score(mixed, max_chars=None)["label"].to_list() == ["en"]
    assert score("..." + TEXTS["en"], max_chars=3).row(0) == ("und", 0.0)


def test_languages_that_are_not_kept_are_dropped() -> None:
    assert judged(Language(keep=["en", "no"]))["not_kept"] == [label not in ("en", "no") for label in TEXTS]


def test_no_language_is_a_language_that_can_be_kept() -> None:
    docs = pl.DataFrame({"id": ["a"], "text": ["42"]})

    assert judged(Language(keep=["en"]), docs)["not_kept"] == [True]
    assert judged(Language(keep=["en", "und"]), docs)["not_kept"] == [False]


def test_uncertain_labels_are_dropped_below_the_limit() -> None:
    docs = pl.DataFrame({"id": ["a", "b"], "text": ["ok", TEXTS["en"]]})

    assert judged(Language(min_confidence=0.65), docs) == {"low_confidence": [True, False]}


def test_without_options_it_only_scores() -> None:
    assert Language().drop_when() == {}


def test_what_is_kept_and_the_limit_are_thresholds_what_is_read_is_not() -> None:
    assert Language().thresholds() == {"keep", "min_confidence"}


def test_one_language_may_stand_without_brackets() -> None:
    assert Language(keep="en") == Language(keep=["en"])


@pytest.mark.parametrize(
    ("label", "meant"),
    [("eng", "en"), ("nb", "no"), ("jp", "ja"), ("zh-CN", "zh"), ("EN", "en"), ("pt_BR", "pt"), ("german", "de")],
)
def test_an_unknown_language_is_refused_with_the_nearest(label: str, meant: str) -> None:
    with pytest.raises(ValidationError, match=f"no language '{label}'; did you mean '{meant}'"):
        Language(keep=["fr", label])


def test_all_unknown_languages_are_named_at_once() -> None:
    with pytest.raises(ValidationError, match=r"no language 'eng'.*no language 'xx-klingon'"):
        Language(keep=["eng", "xx-klingon"])


def test_the_table_of_labels_is_the_models() -> None:
    assert sorted(fasttext.load(bundled_language_model()).labels) == list(LABELS)


def test_the_model_is_part_of_the_key_of_results() -> None:
    (path,) = Language().files()

    assert path.name == "lid.176.ftz"
    assert file_sha256(path) == "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"


def test_a_model_of_ones_own_brings_its_own_labels(tmp_path: Path) -> None:
    model = tmp_path / "own.ftz"
    model.write_bytes(bundled_language_model().read_bytes())

    assert Language(model=model, keep=["en"]).score(DOCS).equals(Language().score(DOCS))
    assert Language(model=model).files() == (model,)
    with pytest.raises(ValidationError, match="no language 'xx'"):
        Language(model=model, keep=["xx"])


def test_a_model_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.bin").write_text("no model")

    with pytest.raises(ValidationError, match="is not a fastText classifier"):
        Language(model=tmp_path / "own.bin")


def test_a_model_that_is_missing_is_named_by_files_so_that_old_runs_can_be_opened(tmp_path: Path) -> None:
    assert Language(model=tmp_path / "gone.bin", keep=["xx"]).files() == (tmp_path / "gone.bin",)


def test_language_keeps_the_contract() -> None:
    check_filter(Language(keep=["en", "de"], min_confidence=0.65))
