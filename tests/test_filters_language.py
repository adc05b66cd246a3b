"""`language`: labels, confidence and what is kept."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from curate.errors import UsageError
from curate.filters import Language
from curate.filters.language import LABELS
from curate.kernels import fasttext, lid_text, utf8
from curate.kernels.windows import is_hidden
from curate.languages import label_set, scripts
from curate.models import bundled_language_model, file_sha256
from curate.testing import check_filter
from curate.windows import HIDDEN

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
    assert scored.columns[:2] == ["label", "confidence"]
    assert scored.schema == {name: pl.Float64 if name == "confidence" else pl.String for name in Language.scores}


@pytest.mark.parametrize("text", ["", "  \n ", "12 345", "!!! ...", "😀", "\x00"])
def test_a_text_without_letters_has_no_language(text: str) -> None:
    assert score(text).row(0) == ("und", 0.0, "und", "und", "", "empty", "")


def test_line_breaks_are_spaces() -> None:
    assert score(TEXTS["de"].replace(" ", "\n")).equals(score(TEXTS["de"]))


def test_confidence_never_exceeds_one() -> None:
    assert score("위원회는 목요일에 다시 열린다.").row(0)[:2] == ("ko", 1.0)  # fastText says 1.00005


def test_the_beginning_the_middle_and_the_end_are_read() -> None:
    filler = "0123456789 " * 5_000
    hidden = filler + TEXTS["en"] + filler  # 110,081 characters, the English ones in the middle

    assert score(TEXTS["ru"] * 3 + filler, max_chars=600)["label"].to_list() == ["ru"]
    assert score(hidden, max_chars=600)["label"].to_list() == ["en"]
    assert score(filler + TEXTS["ru"] * 3, max_chars=600)["label"].to_list() == ["ru"]
    assert score(filler + TEXTS["ru"] * 3 + filler * 3, max_chars=60)["undecided"].to_list() == ["empty"]


def test_all_of_a_text_is_read_without_a_budget() -> None:
    filler = "0123456789 " * 5_000

    assert score(filler + TEXTS["ru"] * 3 + filler * 3, max_chars=None)["label"].to_list() == ["ru"]


def test_languages_that_are_not_kept_are_dropped() -> None:
    assert judged(Language(keep=["en", "no"]))["not_kept"] == [label not in ("en", "no") for label in TEXTS]


def test_no_language_is_a_language_that_can_be_kept() -> None:
    docs = pl.DataFrame({"id": ["a"], "text": ["42"]})

    assert judged(Language(keep=["en"]), docs)["not_kept"] == [True]
    assert judged(Language(keep=["en", "und"]), docs)["not_kept"] == [False]


def test_uncertain_labels_are_dropped_below_the_limit() -> None:
    docs = pl.DataFrame({"id": ["a", "b"], "text": ["ok!", TEXTS["en"]]})

    assert judged(Language(min_confidence=0.65), docs) == {"low_confidence": [True, False]}


def test_without_options_it_only_scores() -> None:
    assert Language().drop_when() == {}


def test_what_is_kept_and_the_limit_are_thresholds_what_is_read_is_not() -> None:
    assert Language().thresholds() == {"keep", "min_confidence"}


def test_one_language_may_stand_without_brackets() -> None:
    assert Language(keep="en") == Language(keep=["en"])


@pytest.mark.parametrize(
    ("label", "meant"),
    [("eng", "en"), ("jp", "ja"), ("zh-CN", "zh"), ("EN", "en"), ("pt_BR", "pt"), ("german", "de")],
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


# --- text made ready --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise",
    [
        "https://example.org/the/of/and/in/to",
        "someone@example.org",
        "<div class='the of and'></div>",
        "```\nfor the in of: return and\n```",
        "`git the of and`",
        "&nbsp; &amp; {{the of and}}",
        "self.the_of(and_in) /usr/the/of --the 0x7f 12:30",
        "dGhlIG9mIGFuZCBpbiB0byB0aGF0IGlzIGZvciBpdCB3YXMgb24gYXM" * 3,
    ],
)
def test_what_is_not_language_is_passed_over(noise: str) -> None:
    assert score(f"{noise} {TEXTS['de']}\n{noise}").equals(score(TEXTS["de"]))


@pytest.mark.parametrize(
    "text", ["https://example.org/a", "y_1 = f(x_1) + z[0] // 2", "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=" * 30]
)
def test_code_and_encoded_data_have_no_language(text: str) -> None:
    assert score(text)["label"].to_list() == ["und"]


def test_capitals_are_read_as_small_letters() -> None:
    assert score(TEXTS["fr"].upper()).select("label", "script").row(0) == ("fr", "Latn")
    assert score(TEXTS["ru"].upper())["label"].to_list() == ["ru"]


@pytest.mark.parametrize(
    "hidden",
    [
        *("\u200b", "\u00ad", "\u2060", "\ufeff", "\u200d", "\u200c", "\ufe0f", "\u2063", "\u202a", "\u200f"),
        *("\u034f", "\u061c", "\u180e", "\U000e0041", "\u200d\u200c"),
    ],
)
@pytest.mark.parametrize("label", ["en", "ru"])
def test_hidden_characters_change_nothing(hidden: str, label: str) -> None:
    assert score(hidden.join(TEXTS[label])).equals(score(TEXTS[label]))


def test_hidden_characters_do_not_hide_what_is_no_language() -> None:
    noise = "\u200b<div class='the of and'>\u2063</div> self.the_of(\ufe0fand_in)"

    assert score(f"{noise} {TEXTS['de']}").equals(score(TEXTS["de"]))


def test_hidden_characters_are_those_that_windows_leave_out() -> None:
    removed = pl.Series([chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000])

    hidden = [ord(one) for one in removed.filter(removed.str.contains(HIDDEN))]

    assert hidden == [code for code in range(0x110000) if is_hidden(code)]


@pytest.mark.parametrize("text", ["می\u200cخواهم", "क्\u200dष", "ക്\u200d", "میخ\u200cها"])
def test_joiners_stay_where_spelling_needs_them(text: str) -> None:
    given = utf8.texts(pl.Series([text]))

    prepared = lid_text.prepare(given, label_set(LABELS), None)

    assert prepared.data.tobytes().decode() == text + " "


def styled(text: str, capital: int, small: int) -> str:
    """The text in another alphabet of Unicode, which starts at these code points."""
    return "".join(
        chr(capital + ord(one) - 65) if "A" <= one <= "Z" else chr(small + ord(one) - 97) if "a" <= one <= "z" else one
        for one in text
    )


@pytest.mark.parametrize(
    ("capital", "small"), [(0x1D400, 0x1D41A), (0x1D5D4, 0x1D5EE), (0x24B6, 0x24D0), (0xFF21, 0xFF41)]
)
def test_mathematical_circled_and_full_width_letters_are_read_as_plain_ones(capital: int, small: int) -> None:
    assert score(styled(TEXTS["en"], capital, small)).equals(score(TEXTS["en"]))


def test_squared_letters_are_read_as_plain_ones() -> None:
    squared = styled(TEXTS["en"].upper(), 0x1F130, 0)

    assert score(squared).equals(score(TEXTS["en"].upper()))


def test_letters_in_other_alphabets_may_be_apart() -> None:
    assert score("\u200d".join(styled(TEXTS["en"], 0x1D400, 0x1D41A))).equals(score(TEXTS["en"]))


@pytest.mark.parametrize("size", [497, 498, 499, 500, 501, 998, 999, 1000, 1001])
def test_there_is_room_for_each_segment_of_the_last_text(size: int) -> None:
    given = utf8.texts(pl.Series(["one", ("abcd " * 300)[:size]]))
    known = label_set(LABELS)
    codes, names = scripts()
    unicode = utf8.tables()
    sizes = np.diff(given.offsets)
    segments = lid_text.most_segments(sizes)
    out = lid_text.Prepared(
        data=np.empty(3_000, np.uint8),
        offsets=np.zeros(segments + 1, np.int64),
        rows=np.zeros(segments, np.int64),
        scripts=np.zeros((segments, len(names)), np.int32),
        letters=np.zeros((segments, known.spelt.shape[1]), np.int32),
        hits=np.zeros((segments, len(known.tags)), np.float32),
        words=np.zeros(segments, np.int32),
        read=np.zeros(len(sizes), np.int64),
    )

    with np.errstate(over="ignore"):  # the hash of a word wraps around
        used = lid_text.prepare_kernel.py_func(  # type: ignore[attr-defined]  # Python checks bounds, Numba does not
            *given,
            2_000,
            unicode.classes,
            unicode.folds,
            codes,
            known.letters,
            known.words,
            known.word_starts,
            known.word_labels,
            lid_text.SIGNS,
            out,
        )

    assert bytes(out.data[4 : out.offsets[used]]).split() == bytes(given.data[3:]).split()
    assert used <= segments


def test_decomposed_letters_are_composed() -> None:
    assert score(unicodedata.normalize("NFD", TEXTS["fr"])).equals(score(TEXTS["fr"]))


def test_one_line_of_a_million_bytes_is_read() -> None:
    assert score((TEXTS["de"] + " ") * 12_000)["label"].to_list() == ["de"]
    assert score("a" * 1_000_000)["label"].to_list() == ["und"]


# --- script, letters, words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "script"), [("ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎠᏂᏴᏫ", "Cher"), ("ⵜⴰⵎⴰⵣⵉⵖⵜ ⵜⴰⵏⴰⵡⴰⵢⵜ", "Tfng"), ("ߒߞߏ ߞߊ߲ߜߍ", "Nkoo")]
)  # fmt: skip
def test_a_script_that_no_language_of_the_model_has_is_undetermined(text: str, script: str) -> None:
    assert score(text).select("label", "confidence", "script", "undecided").row(0) == ("und", 0.0, script, "script")


def test_the_script_is_that_of_most_letters() -> None:
    assert score(*TEXTS.values())["script"].to_list() == ["Latn"] * 4 + ["Hani", "Arab", "Deva", "Cyrl"]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("yo", "Ọjọ́ náà ti dé tí àwọn ọmọ ilé ẹ̀kọ́ máa lọ sí ìlú láti kí àwọn òbí wọn."),
        (
            "so",
            "Guddigu wuxuu mar kale kulmi doonaa Khamiista si uu uga hadlo miisaaniyadda iyo waxa la qabanayo.",
        ),
        ("mai", "समितिक बैसार बृहस्पति दिन फेर होयत जाहि मे अगिला सालक बजट पर विचार कएल जायत, ओ कहलनि अछि जे ई नीक छल."),
        ("no", "Komiteen møtes igjen, og de har ikke sagt hva det er som skal skje etter det."),
        ("da", "Udvalget mødes igen, og de har ikke sagt, hvad det er, der skal ske efter det."),
        ("nn", "Nemnda møtest att, og dei har ikkje sagt kva det er som skal hende etter det."),
    ],
)
def test_letters_and_common_words_tell_what_the_model_alone_confuses(label: str, text: str) -> None:
    assert score(text)["label"].to_list() == [label]


# --- undetermined -----------------------------------------------------------------------------------------------------


def test_a_text_of_one_or_two_words_needs_more_confidence() -> None:
    assert score("minister", und_below_short=0.99)["undecided"].to_list() == ["short"]
    assert score("minister", und_below_short=0.0, und_below=0.0)["label"].to_list() != ["und"]


def test_what_is_likeliest_stands_beside_an_undetermined_label() -> None:
    row = score(TEXTS["en"], und_below=1.0).row(0, named=True)

    assert (row["label"], row["tag"], row["likeliest"], row["undecided"]) == ("und", "und", "en", "unsure")
    assert row["confidence"] > 0.9


def test_the_parts_of_a_mixed_document_are_named_with_their_shares() -> None:
    mixed = (TEXTS["en"] + "\n") * 20 + (TEXTS["ru"] + "\n") * 60

    row = score(mixed, max_chars=None).row(0, named=True)

    assert row["label"] == "ru"
    assert row["shares"].startswith("ru 0.7")
    assert ", en 0." in row["shares"]


def test_a_document_without_a_main_language_is_undetermined() -> None:
    mixed = "".join((TEXTS[label] + "\n") * 40 for label in ("en", "de", "fr"))

    assert score(mixed, max_chars=None)["undecided"].to_list() == ["mixed"]
    assert score(mixed, max_chars=None, min_share=0.0)["undecided"].to_list() == [""]


# --- thresholds and tags ----------------------------------------------------------------------------------------------


def test_each_language_may_have_a_limit_of_its_own() -> None:
    docs = pl.DataFrame({"id": ["a", "b"], "text": [TEXTS["en"], TEXTS["de"]]})

    assert judged(Language(min_confidence={"en": 1.0, "default": 0.3}), docs) == {"low_confidence": [True, False]}
    assert judged(Language(min_confidence={"de": 1.0}), docs) == {"low_confidence": [False, True]}


def test_a_limit_may_be_named_by_tag_and_that_of_the_label_counts() -> None:
    docs = pl.DataFrame({"id": ["a", "b"], "text": [TEXTS["no"], TEXTS["de"]]})

    assert judged(Language(min_confidence={"nb": 1.0}), docs) == {"low_confidence": [True, False]}
    assert judged(Language(min_confidence={"nb": 1.0, "no": 0.1}), docs) == {"low_confidence": [False, False]}
    assert judged(Language(min_confidence={"nb": 0.1, "default": 1.0}), docs) == {"low_confidence": [False, True]}


def test_a_code_of_three_letters_is_no_tag_of_a_language_that_has_one_of_two() -> None:
    with pytest.raises(ValidationError, match="no language 'nob'; did you mean 'no'"):
        Language(keep=["nob"])


def test_a_limit_for_a_language_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="no language 'eng'; did you mean 'en'"):
        Language(min_confidence={"eng": 0.5})


def test_languages_are_kept_by_label_and_by_tag() -> None:
    docs = pl.DataFrame({"id": ["a"], "text": [TEXTS["no"]]})

    assert score(TEXTS["no"])["tag"].to_list() == ["nb"]
    assert judged(Language(keep=["no"]), docs) == judged(Language(keep=["nb"]), docs) == {"not_kept": [False]}


def test_a_model_that_was_not_fetched_is_missing_with_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path))

    with pytest.raises(UsageError, match=r"lid\.176\.bin of the model lid176") as error:
        Language(model="lid176").score(DOCS)

    assert error.value.hint == "curate models fetch lid176"
    assert Language(model="lid176", keep=["en"]).files() == (tmp_path / "models" / "lid176" / "lid.176.bin",)


def test_null_stands_for_the_bundled_model() -> None:
    assert Language(model=None) == Language()


@pytest.mark.parametrize(
    "filter", [Language(keep=["en", "de"], min_confidence=0.65), Language(min_confidence={"en": 0.6, "default": 0.3})]
)
def test_language_keeps_the_contract(filter: Language) -> None:
    check_filter(filter)
