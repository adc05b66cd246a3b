"""`repeated_lines`: which lines go, and what becomes of the documents."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.filters import RepeatedLines
from curate.ledger import edit_text
from curate.pipeline import Pipeline
from curate.testing import MemoryCorpus, check_edits, check_filter, decide

MENU = "Home | Products | About us"


def docs(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"d{n}" for n in range(len(texts))], "text": pl.Series(list(texts), dtype=pl.String)})


def decided(*texts: str, **options: Any) -> pl.DataFrame:
    found = decide(RepeatedLines(**{"max_documents": 1, "min_chars": 3, **options}), docs(*texts))
    assert isinstance(found, pl.DataFrame), found
    return found


def after(*texts: str, **options: Any) -> list[str]:
    edits = decided(*texts, **options)["edits"].to_list()
    return [edit_text(text, own or []) for text, own in zip(texts, edits, strict=True)]


def test_lines_in_more_documents_than_allowed_are_removed() -> None:
    texts = (f"{MENU}\nOne story.", f"Another story.\n{MENU}\nIts end.", "A third story.")

    assert after(*texts) == ["One story.", "Another story.\nIts end.", "A third story."]
    assert after(*texts, max_documents=2) == list(texts)


def test_a_line_that_one_document_repeats_counts_once() -> None:
    assert after("same line\nsame line\nsame line", "other") == ["same line\nsame line\nsame line", "other"]


def test_case_digits_punctuation_and_accents_make_no_difference() -> None:
    assert after("Page 12 - CAFÉ!\nx1y", "page 99: cafe\nz", "page 70 café") == ["x1y", "z", ""]


def test_vowel_signs_and_letters_do_make_a_difference() -> None:
    texts = ("हिन्दी किताब", "हिन्दी कुताब", "한국어 문장", "한국아 문장", "straße ab", "strasse ab")

    assert after(*texts) == list(texts)


def test_short_lines_stay() -> None:
    assert after("}\nreturn\nlong enough", "}\nreturn\nlong enough", min_chars=7) == ["}\nreturn"] * 2


def test_the_last_line_takes_the_line_end_before_it_along() -> None:
    assert after(f"Story one.\n{MENU}", f"Story two.\n{MENU}\n") == ["Story one.", "Story two."]


def test_neighbouring_lines_are_one_edit() -> None:
    found = decided(f"a story\n{MENU}\n{MENU} again\nits end", f"{MENU}\n{MENU} again")

    assert found["edits"][0].to_list() == [{"start": 8, "end": 8 + 2 * len(MENU) + 8, "put": ""}]
    assert found["removed"].to_list() == [2, 2]


def test_paragraphs_are_removed_whole() -> None:
    text = "Rights\nreserved here.\n\nOwn text\nof two lines.\n"

    assert after(text, "Rights reserved HERE", unit="paragraph") == ["Own text\nof two lines.\n", ""]
    assert after(text, "Rights reserved HERE\n\nOwn text", unit="paragraph")[0] == "Own text\nof two lines.\n"


def test_the_first_document_can_keep_a_line() -> None:
    texts = ("x1 story\nshared line", "shared line\ny2 tale", "shared line")

    assert after(*texts, keep_first=True) == ["x1 story\nshared line", "y2 tale", ""]


def test_what_is_left_is_counted_in_characters() -> None:
    found = decided("größe zehn\nshared line", "shared line", "alone")

    assert found["left_chars"].to_list() == [11, 0, None]
    assert found["left_share"].to_list() == [pytest.approx(11 / 22), 0.0, None]


def test_documents_of_which_too_little_is_left_are_dropped() -> None:
    found = decided("own text of some length\nshared line", "own\nshared line", "shared line", "alone")

    def dropped(**options: Any) -> list[bool]:
        return found.select(RepeatedLines(**options).drop_when()["too_little_left"]).to_series().to_list()

    assert dropped() == [False, False, True, False]
    assert dropped(min_left_chars=10) == [False, True, True, False]
    assert dropped(min_left_share=0.9, min_left_chars=0) == [True, True, True, False]


def test_the_report_lists_lines_by_hash_and_shows_them_only_on_request(tmp_path: Path) -> None:
    texts = [f"{MENU}, mail bob@site.net\nown text number {'x' * n}" for n in range(3)]
    docs(*texts, texts[0]).write_parquet(tmp_path / "input.parquet")

    def table(**options: Any) -> pl.DataFrame:
        filter = RepeatedLines(max_documents=1, min_chars=10, **options)
        run = Pipeline([filter], base=tmp_path).run(tmp_path / "input.parquet", tmp_path / f"out-{options}", workers=1)
        own = [name for name in run.ledger.collect_schema().names() if name.startswith("repeated_lines.")]
        renamed = {name: name.removeprefix("repeated_lines.") for name in own}
        return filter.tables(run.ledger.rename(renamed))["repeated_lines"]

    assert table().drop("hash").rows() == [(4, len(MENU) + 20), (2, 16)]
    assert table(show_lines=True)["line"].to_list() == [f"{MENU}, mail <EMAIL>", "own text number"]


def test_a_run_removes_lines_and_drops_what_has_nothing_left(tmp_path: Path) -> None:
    docs(f"{MENU}\nfirst", MENU, f"{MENU}\nsecond").write_parquet(tmp_path / "input.parquet")

    run = Pipeline([RepeatedLines(max_documents=2)], base=tmp_path).run(
        tmp_path / "input.parquet", tmp_path / "out", workers=1
    )

    assert run.kept.collect()["text"].to_list() == ["first", "second"]
    assert run.dropped.collect()["id"].to_list() == ["d1"]


def test_nothing_is_removed_where_there_is_nothing() -> None:
    assert decided().is_empty()
    assert decided("", "\n\n")["edits"].to_list() == [None, None]


@pytest.mark.parametrize(("chunks", "parts"), [(1, 1), (3, 4), (5, 2)])
def test_chunks_and_parts_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int, parts: int
) -> None:
    texts = docs(*[f"line {'abc'[n % 3] * 3}\nline {'xyz'[n % 2] * 4}\nown {'q' * n}" for n in range(12)])
    filter = RepeatedLines(max_documents=4, min_chars=3, keep_first=True)
    monkeypatch.setattr("curate.filters.repeated_lines.PART_BYTES", 200 // parts)
    corpus = MemoryCorpus(filter, texts, tmp_path, chunks=chunks)

    found = filter.decide(corpus).collect().sort("chunk", "row")

    wanted = decide(filter, texts)
    assert isinstance(wanted, pl.DataFrame)
    own = corpus.docs.join(found, on=["chunk", "row"], how="left", maintain_order="left")
    assert own["edits"].to_list() == wanted["edits"].to_list()


LETTERS = "aB1 é.\n"


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(st.sampled_from(LETTERS), max_size=12), min_size=1, max_size=8))
def test_lines_are_those_of_plain_python(texts: list[str]) -> None:
    def form(line: str) -> str:
        return " ".join(line.lower().replace("1", "0").replace("é", "e").replace(".", "").split())

    holders = defaultdict(set)
    for number, text in enumerate(texts):
        for line in text.split("\n"):
            holders[form(line)].add(number)
    gone = {line for line, own in holders.items() if len(own) > 1 and len(line) >= 2}

    left = [[line for line in text.split("\n") if form(line) not in gone] for text in texts]
    found = after(*texts, min_chars=2)

    assert [[line for line in text.split("\n") if line] for text in found] == [
        [line for line in own if line] for own in left
    ]
    assert check_edits(pl.Series(texts), decided(*texts, min_chars=2)["edits"]) == []


@pytest.mark.parametrize(
    "options",
    [{}, {"unit": "paragraph", "keep_first": True}, {"max_documents": 1, "min_chars": 1, "show_lines": True}],
    ids=str,
)
def test_repeated_lines_keeps_the_contract(options: dict[str, Any]) -> None:
    check_filter(RepeatedLines(**options), docs("same line of some length\na", "same line of some length\nb"))
