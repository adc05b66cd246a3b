"""`groups`: script, length, domain, countries and identities."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.errors import UsageError
from curate.filters import Groups
from curate.filters.groups import measured
from curate.testing import check_filter


def column(name: str, *texts: str | None, **options: Any) -> list[Any]:
    docs = pl.DataFrame({"id": [str(n) for n in range(len(texts))], "text": pl.Series(texts, dtype=pl.String)})
    return Groups(**options).score(docs)[name].to_list()


def identity(text: str) -> list[str]:
    return list(column("identity", text)[0])


def ambiguous(text: str) -> list[str]:
    return list(column("ambiguous", text)[0])


def countries(text: str) -> list[str]:
    return list(column("country", text)[0])


# --- the document's own ---


def test_the_script_is_that_of_most_letters() -> None:
    texts = ("Hello, мир", "здравствуй, world", "12 + 30 = 42 👍", "", None, "你好 hi", "中文字")

    assert column("script", *texts) == ["Latn", "Cyrl", "Zyyy", "Zyyy", "Zyyy", "Hani", "Hani"]


def test_lengths_are_bands_of_bytes_that_sort_by_size() -> None:
    bands = column("length", "", "a", "ab", "abc", "é" * 512, "a" * 1023, "a" * 2048, None)

    assert bands == ["0", "2^00", "2^01", "2^01", "2^10", "2^09", "2^11", "0"]
    assert sorted(["2^10", "0", "2^09"]) == ["0", "2^09", "2^10"]


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("https://user:word@www.example.com:8080/a?b#c", "example.com"),
        ("news.bbc.co.uk", "bbc.co.uk"),
        ("//cdn.example.org/a", "example.org"),
        ("HTTP://WWW.EXAMPLE.ORG.", "example.org"),
        ("alice.github.io", "alice.github.io"),  # a private suffix counts as one
        ("github.io", "github.io"),
        ("http://192.168.1.10:80/", "192.168.1.10"),
        ("https://[2001:db8::1]/x", "2001:db8::1"),
        ("localhost:8000", "localhost"),
        ("server.internal-name", "server.internal-name"),
        ("https://www.bücher.example.de/", "example.de"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("no address at all", None),
        ("file:///etc/hosts", None),
        ("", None),
        (None, None),
    ],
)
def test_domains(address: str | None, domain: str | None) -> None:
    docs = pl.DataFrame({"text": ["x"], "url": pl.Series([address], dtype=pl.String)})

    assert Groups(url="url").score(docs)["domain"].to_list() == [domain]


# --- countries ---


def test_countries_by_name_people_and_older_name() -> None:
    assert countries("Kenyan runners and a Burmese cook met in the UK, Côte d’Ivoire and St. Lucia.") == [
        "CI", "GB", "KE", "LC", "MM",
    ]  # fmt: skip


def test_capital_letters_tell_countries_from_words() -> None:
    assert countries("Polish voters sold china and turkey; tell us to polish it.") == ["PL"]
    assert countries("US troops left Turkey for China.") == ["CN", "TR", "US"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Georgia borders Armenia and Azerbaijan.", ["AM", "AZ", "GE"]),
        ("He drove from Atlanta, Georgia, to Nashville.", []),
        ("Refugees from Syria live in Jordan.", ["JO", "SY"]),
        ("Michael Jordan scored again.", []),
        ("Chad and Niger share a border.", ["NE", "TD"]),
        ("Chad said that he was late.", []),
        ("Papua New Guinea, Guinea-Bissau and a guinea pig", ["GW", "PG"]),
        ("The Indian Ocean is deep.", []),
        ("North Korea and South Korea", ["KP", "KR"]),
        ("New Mexico has deserts.", []),
        ("Polish the glass with a cloth.", []),
        ("a Turkey sandwich with French fries", []),
    ],
)
def test_ambiguous_names_of_countries(text: str, wanted: list[str]) -> None:
    assert countries(text) == wanted


# --- identities ---


@pytest.mark.parametrize(
    ("text", "axes"),
    [
        ("Women and girls were not admitted.", ["gender"]),
        ("A gay man lives upstairs.", ["gender", "sexual_orientation"]),
        ("Muslims fast during the month.", ["religion"]),
        ("Black people could not vote.", ["ethnicity"]),
        ("AFRICAN-AMERICAN voters queued.", ["ethnicity"]),
        ("Latinx artists met Māori and naïve painters.", ["ethnicity"]),
        ("Elderly residents moved out.", ["age"]),
        ("Wheelchair users use the lift.", ["disability"]),
        ("Deaf students sign.", ["disability"]),
        ("An immigrant family runs the shop.", ["migration"]),
        ("Trans women spoke first.", ["gender"]),
        ("Two lesbians adopted a child.", ["sexual_orientation"]),
        ("Teenagers sleep late.", ["age"]),
        ("She is blind.", ["disability"]),
        ("People who are deaf lip-read.", ["disability"]),
        ("Children with severe autism need quiet.", ["disability"]),
        ("A school for the blind opened.", ["disability"]),
        ("My neighbour is a devout Catholic.", ["religion"]),
        ("He came out as gay at forty.", ["sexual_orientation"]),
        ("Women of color founded it.", ["ethnicity", "gender"]),
        ("Black and Latino high school students met.", ["ethnicity"]),
    ],
)
def test_what_names_people_is_a_mention(text: str, axes: list[str]) -> None:
    assert identity(text) == axes


@pytest.mark.parametrize(
    "text",
    [
        "See the man page; a black box hides it.",
        "Mind the blind spot on a straight line.",
        "The old code fell on deaf ears in the white paper.",
        "Marvin Gay was on the trans-Atlantic flight.",
        "Asian options expire over the Indian Ocean.",
        "Replace Master/Slave; a man-in-the-middle needs manpower.",
        "My mother and her brother saw him.",
        "The curtains are black and people stare.",
        "He was dressed in black, and a choir sang.",
        "The option is disabled by default.",
        "See https://example.org/women/black-people and docs/man/girls.txt",
        "x.women = girls@example.org",
        "Call `man signal` first.",
    ],
)
def test_what_does_not_name_people_is_none(text: str) -> None:
    assert identity(text) == []


def test_forms_of_a_descriptor_are_one_term() -> None:
    assert column("terms", "A Muslim woman, Muslim women, Muslims and moslems") == [["gender/women", "religion/muslim"]]


def test_a_term_without_a_noun_is_ambiguous() -> None:
    assert ambiguous("A straight road, an old house, a blind alley's black gate.") == [
        "age/old", "ethnicity/black", "sexual_orientation/straight",
    ]  # fmt: skip


def test_what_is_mentioned_as_well_is_not_ambiguous() -> None:
    assert ambiguous("Black voters wore black.") == []


def test_decomposed_letters_are_found() -> None:
    assert identity("Ma\u0304ori leaders") == ["ethnicity"]


def test_a_long_line_and_control_characters() -> None:
    assert identity("x " * 500_000 + "women\x00" + " y" * 10) == ["gender"]


def test_dotless_i_is_another_letter() -> None:
    assert identity("mıgrants") == []


# --- options ---


def test_only_what_is_asked_for_is_scored() -> None:
    scored = Groups(attributes=["script"]).score(pl.DataFrame({"text": ["women in Kenya"]})).row(0, named=True)

    assert {name for name, value in scored.items() if value is not None} == {"script", "judged"}


def test_other_languages_are_not_judged() -> None:
    docs = pl.DataFrame({"text": ["women", "women", "women"], "lang": ["en-GB", "de", None]})

    scored = Groups(language_column="lang").score(docs)

    assert scored["judged"].to_list() == [True, False, False]
    assert scored["identity"].to_list() == [["gender"], None, None]
    assert scored["country"].to_list() == [[], None, None]


def test_a_lexicon_of_the_user_becomes_a_column(tmp_path: Path) -> None:
    (tmp_path / "jobs.toml").write_text('version = "1"\n[axes.job]\nnurse = ["nurse(s)"]\n', encoding="utf-8")
    filter = Groups(lexicons={"jobs": tmp_path / "jobs.toml"})

    scored = filter.score(pl.DataFrame({"text": ["Two nurses.", "None."]}))

    assert scored["jobs"].to_list() == [["job/nurse"], []]
    assert tmp_path / "jobs.toml" in filter.files()


def test_the_identity_lexicon_can_be_extended(tmp_path: Path) -> None:
    path = tmp_path / "more.toml"
    path.write_text('version = "1"\n[axes.class]\nworking = ["working-class"]\n[axes.age]\nold = ["women"]\n', "utf-8")

    assert column("terms", "working-class women and men", extend_identity=path) == [
        ["age/old", "class/working", "gender/men"]
    ]


def test_a_lexicon_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'.*none\.toml' does not exist"):
        column("jobs", "x", lexicons={"jobs": tmp_path / "none.toml"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": ["domain"]}, "needs `url`"),
        ({"attributes": ["script"], "url": "url"}, "not among `attributes`"),
        ({"attributes": ["script"], "extend_identity": "x.toml"}, "not among `attributes`"),
        ({"lexicons": {"identity": "x.toml"}}, "lexicon 'identity'"),
        ({"lexicons": {"a.b": "x.toml"}}, "lexicon 'a.b'"),
        ({"attributes": []}, "at least 1"),
        ({"attributes": ["tribe"]}, "'script', 'length', 'domain', 'country' or 'identity'"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Groups(**options)


# --- tables ---


def ledger(*rows: tuple[str, bool]) -> pl.LazyFrame:
    scored = Groups().score(pl.DataFrame({"text": [text for text, _ in rows]}))
    return scored.with_columns(kept=pl.Series([kept for _, kept in rows])).lazy()


def test_tables_count_documents_before_and_after() -> None:
    rows = ledger(("Women, women!", True), ("Men in Kenya", False), ("Muslim women", False), ("Kenya", True))

    tables = Groups().tables(rows)

    assert tables["identity"].drop("matcher").rows() == [
        ("gender", 3, 0.75, 1, 0.5), ("religion", 1, 0.25, 0, 0.0),
    ]  # fmt: skip
    assert tables["identity_terms"].drop("matcher").rows() == [
        ("gender", "women", 2, 2 / 3, 1, 1.0),
        ("gender", "men", 1, 1 / 3, 0, 0.0),
        ("religion", "muslim", 1, 1.0, 0, 0.0),
    ]  # fmt: skip
    assert tables["countries"].rows() == [("KE", 2, 0.5, 1, 0.5)]


def test_tables_of_nothing_are_empty() -> None:
    tables = Groups().tables(ledger(("Nothing here.", False)))

    assert [table.height for table in tables.values()] == [0, 0, 0]


def test_what_was_measured_stands_beside_identity_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.filters.groups.files", lambda _: tmp_path)
    assert measured() == "not measured"

    (tmp_path / "identity_measured.toml").write_text("precision = 0.0\nrecall = 0.0\nsentences = 0\n")

    assert measured() == "precision 0.00, recall 0.00 on 0 sentences"
    assert measured("more.toml") == "precision 0.00, recall 0.00 on 0 sentences, without more.toml"


# --- the contract ---


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    (tmp_path / "jobs.toml").write_text('version = "1"\n[axes.job]\nnurse = ["nurse(s)"]\n', encoding="utf-8")
    docs = pl.DataFrame(
        {
            "text": [
                "Black women met deaf students.",
                "Nothing here.",
                "An old friend of the Jewish family",
            ],
            "url": ["https://a.example.co.uk/x", None, "localhost"],
            "lang": ["en", "fr", "en"],
        }
    )

    check_filter(Groups())
    check_filter(Groups(url="url", language_column="lang", lexicons={"jobs": tmp_path / "jobs.toml"}), docs)


@pytest.mark.shared
def test_mentions_in_real_documents_name_people() -> None:
    shared = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
    docs = pl.read_parquet(shared / "web" / "web-000.parquet").filter(pl.col("source") == "powershell-docs").head(2000)

    scored = Groups(attributes=["identity"]).score(docs)

    assert scored["ambiguous"].list.len().gt(0).sum() > 0  # disabled, black, white, old
    assert scored["identity"].list.len().gt(0).mean() < 0.02
