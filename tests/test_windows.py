"""Windows of whole sentences: cut by the kernel, held against plain Python; aggregates of their scores."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.windows import Windows, aggregate, cut_windows, per_document

settings.register_profile("compiled", deadline=None)  # the first call of a kernel may compile it
settings.load_profile("compiled")

AWKWARD = st.sampled_from("aé .!?。！\n\u2028)”\u200b你д'A1😀")
TEXTS = st.lists(st.text(st.one_of(AWKWARD, AWKWARD, st.characters(codec="utf-8")), max_size=200), max_size=6)


def cut(text: str, limit: int) -> list[str]:
    return cut_windows(pl.Series([text]), limit).raw.to_list()


# --- a plain Python reference -----------------------------------------------------------------------------------------

CLOSERS = set("\"')]}.!?’”»›」』）】。！？")
ENDS = set(".!?…؟۔।॥።։။")
CJK_ENDS = set("。！？｡")


def boundaries(text: str) -> tuple[list[int], list[int]]:
    """Where a sentence or a word begins after another, in characters."""
    sentences, spaces = [], []
    state, spaced = "no", False
    for at, char in enumerate(text):
        space = char.isspace()
        if not space:
            if state == "end" or (state == "cjk" and char not in CLOSERS):
                sentences.append(at)
            if spaced:
                spaces.append(at)
        if space:
            state = "end" if char in "\n\r\u2028\u2029" or state != "no" else "no"
        elif state in ("maybe", "cjk") and char in CLOSERS:
            pass
        else:
            state = "maybe" if char in ENDS else "cjk" if char in CJK_ENDS else "no"
        spaced = space
    return sentences, spaces


def reference(text: str, limit: int, least: int) -> list[str]:
    sentences, spaces = boundaries(text)
    windows, start = [], 0
    while True:
        early = [at for at in sentences if start + least <= at <= start + limit]
        if early:
            windows.append(text[start : early[0]])
            start = early[0]
            continue
        if len(text) - start <= limit:
            break
        end = start + limit
        fits = [[at for at in places if start < at <= end] for places in (sentences, spaces)]
        end = fits[0][-1] if fits[0] else fits[1][-1] if fits[1] else end
        windows.append(text[start:end])
        start = end
    return [*windows, text[start:]] if start < len(text) else windows


@given(TEXTS, st.integers(1, 40), st.integers(1, 40))
def test_windows_are_those_of_plain_python(texts: list[str], limit: int, least: int) -> None:
    found = cut_windows(pl.Series("text", texts, pl.String), limit, least=least)

    by_row: list[list[str]] = [[] for _ in texts]
    for row, text in zip(found.rows, found.raw, strict=True):
        by_row[row].append(text)
    assert by_row == [reference(text, limit, min(least, limit)) for text in texts]


@given(TEXTS, st.integers(1, 40))
def test_windows_hold_every_byte_in_order(texts: list[str], limit: int) -> None:
    found = cut_windows(pl.Series("text", texts, pl.String), limit)

    assert "".join(found.raw.to_list()) == "".join(texts)
    assert all(0 < len(text) <= limit for text in found.raw)


def test_sentences_are_packed_and_kept_whole() -> None:
    text = "One is here. Two is “there.” Three!\nFour"

    assert cut(text, 30) == ["One is here. Two is “there.” ", "Three!\nFour"]
    assert cut(text, 13) == ["One is here. ", "Two is ", "“there.” ", "Three!\nFour"]


def test_a_sentence_closes_its_window_once_it_is_long_enough() -> None:
    text = "No. This is long enough. So is this one. End."

    found = cut_windows(pl.Series([text]), 250, least=12).raw.to_list()

    assert found == ["No. This is long enough. ", "So is this one. ", "End."]


def test_a_sentence_ends_without_white_space_in_chinese() -> None:
    assert cut("你好吗？我很好。谢谢你！", 8) == ["你好吗？我很好。", "谢谢你！"]


def test_a_megabyte_without_a_sentence_is_cut_into_windows_too() -> None:
    found = cut_windows(pl.Series(["x" * 1_000_000, "word " * 200_000]), 500)

    assert np.bincount(found.rows).tolist() == [2_000, 2_000]
    assert found.raw.str.len_chars().max() == 500


def test_null_and_empty_texts_have_no_window() -> None:
    found = cut_windows(pl.Series(["", None, "a"], dtype=pl.String), 100)

    assert found.rows.tolist() == [2]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("in\u200bsi\u200dde", "inside"),
        ("soft\u00adhyphen", "softhyphen"),
        ("\u202ereversed\u202c", "reversed"),
        ("fi\u115fll\u1160e\u3164r\uffa0s", "fillers"),
        ("ｗｉｄｅ", "wide"),
        ("🄰🄱 ok", "AB ok"),
        ("sаmе", "same"),  # Cyrillic а, е
        ("𝐛𝐨𝐥𝐝 ⓒⓘⓡⓒⓛⓔⓓ", "bold circled"),
        ("héllo 你好 👍", "héllo 你好 👍"),
    ],
)
def test_characters_that_hide_words_from_models_are_taken_away(text: str, read: str) -> None:
    assert cut_windows(pl.Series([text]), 100).texts.to_list() == [read]


@pytest.mark.parametrize(
    ("text", "latin", "with_cyrillic"),
    [
        ("plain words", True, True),
        ("слова и ещё слова", False, True),
        ("mixed words и слова", True, True),
        ("这些都是汉字 ok", False, False),
        ("123 456 😀", False, False),
        ("𝐛𝐨𝐥𝐝", True, True),
        ("ⓑⓘⓖ", True, True),
        ("🄱🄸🄶", True, True),
        ("уоu аrе", True, True),  # Cyrillic у, о, а, е
        ("οh nο αεο", True, True),  # Greek ο, α, ε
        ("δεν θα ok", False, False),
    ],
)
def test_what_models_can_read_is_told_by_letters(text: str, latin: bool, with_cyrillic: bool) -> None:
    assert cut_windows(pl.Series([text]), 100).readable_documents.tolist() == [latin]
    assert cut_windows(pl.Series([text]), 100, cyrillic=True).readable.tolist() == [with_cyrillic]


def test_documents_are_read_as_models_read_them() -> None:
    texts = pl.Series(["plain text. Two.", "Sоft\u200bly. Is it?", "и слова, ok"])

    found = cut_windows(texts, 10)

    assert found.documents_read(texts).to_list() == ["plain text. Two.", "Softly. Is it?", "и слова, ok"]


def test_spans_leave_out_white_space_around_windows() -> None:
    texts = pl.Series(["Été.  Two words. \n", "  Three."])
    found = cut_windows(texts, 12)

    spans = found.spans(np.ones(len(found.rows), bool))

    cut_out = [
        texts[int(row)].encode()[start:end].decode()
        for row, start, end in zip(spans.rows, spans.starts, spans.ends, strict=True)
    ]
    assert cut_out == ["Été.", "Two words.", "Three."]


def test_neighbouring_spans_are_joined_within_a_document() -> None:
    found = cut_windows(pl.Series(["One one. Two two. Six six.", "Ten ten."]), 9)

    spans = found.spans(np.array([True, True, False, True])).joined()

    assert (spans.rows.tolist(), spans.starts.tolist(), spans.ends.tolist()) == ([0, 1], [0, 0], [17, 8])


def windows_of(*sizes: list[int]) -> Windows:
    """Windows with the given sizes, one list per document."""
    return cut_windows(pl.Series(["".join("x" * (size - 1) + " " for size in own) for own in sizes]), 50)


def test_aggregates_are_weighted_by_bytes() -> None:
    windows = windows_of([50, 30], [], [50, 50, 20])

    found = aggregate(windows, np.array([0.9, 0.1, 0.2, 0.4, 0.6]), np.array([True, False, False, False, True]))

    assert found.windows.tolist() == [2, 0, 3]
    assert found.share == pytest.approx([50 / 80, 0, 20 / 120])
    assert found.mean == pytest.approx([(45 + 3) / 80, 0, (10 + 20 + 12) / 120])
    assert found.max.tolist() == [0.9, 0, 0.6]


def test_p95_is_the_score_that_all_but_a_twentieth_stay_within() -> None:
    windows = windows_of([50] * 20, [50] * 21, [50])
    scores = np.concatenate([np.arange(20), np.arange(21)[::-1], [7]]) / 100

    assert aggregate(windows, scores, scores < 0).p95.tolist() == [0.18, 0.19, 0.07]


def test_lists_per_document_keep_their_order_and_type() -> None:
    found = per_document(np.array([0, 0, 2]), 4, start=np.array([1, 5, 7]))

    assert found.to_list() == [[{"start": 1}, {"start": 5}], [], [{"start": 7}], []]
    assert per_document(np.zeros(0, np.int64), 1, start=np.zeros(0, np.int64)).dtype == found.dtype
