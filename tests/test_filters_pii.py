"""`redact_pii`: what counts as personal data, what does not, and what becomes of it."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.errors import UsageError
from curate.filters import RedactPii
from curate.filters.pii_fake import fake
from curate.filters.pii_find import KINDS, Found, find, without_overlaps
from curate.filters.pii_numbers import luhn, mod97
from curate.ledger import edit_text
from curate.pipeline import Pipeline
from curate.testing import check_edits, check_filter

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
FOUND = [kind for kind in KINDS if kind != "name"]


def docs(*texts: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": [str(n) for n in range(len(texts))], "text": list(texts)},
        schema_overrides={"id": pl.String, "text": pl.String},
    )


def values(text: str) -> list[tuple[str, str]]:
    """Kind and value of everything that is found."""
    data = text.encode()
    return [(one.kind, data[one.start : one.end].decode()) for one in find(pl.Series([text]), FOUND)]


def redacted(text: str, **options: Any) -> str:
    scored = RedactPii(**options).score(docs(text))
    return edit_text(text, scored["edits"][0].to_list())


# --- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Write to jane.doe+list@mail.example.org.", "jane.doe+list@mail.example.org"),
        ("mailto:o'brien@uni-bonn.de?subject=x", "o'brien@uni-bonn.de"),
        ("<a_b-c@x.co.uk>, 'quoted@site.io'", "a_b-c@x.co.uk"),
        ("Kontakt: jürgen@müller.de", "jürgen@müller.de"),
        ("пишите на иван@почта.рф сегодня", "иван@почта.рф"),
        ("邮箱abc123@163.com谢谢", "abc123@163.com"),
        ("email=someone@site.net&x=1", "someone@site.net"),
    ],
)
def test_email_addresses_are_found(text: str, value: str) -> None:
    assert ("email", value) in values(text)


@pytest.mark.parametrize(
    "text",
    [
        "![logo](img/user@2x.png) and icon@3x.jpeg",
        "git clone git@github.com:owner/repo.git",
        "scp file.txt root@build.host.net:/var/www/",
        "git+ssh://git@gitlab.com/owner/repo.git",
        "npm install react@16.8.0 left-pad@1.3.0 @angular/core@next.js",
        "@app.route('/x')\ndef f(self): ...\n@pytest.mark.slow",
        "ssh user@host and @someone.else said hi",
        "{{user}}@{{host.name}} $USER@$HOST.local",
        "systemctl start getty@tty1.service",
        "a @ b.c, 5@2.50 each",
    ],
)
def test_what_only_looks_like_an_email_address_is_left(text: str) -> None:
    assert values(text) == []


@pytest.mark.parametrize(
    "value",
    [
        "+49 30 901820",
        "+44 (0)20 7946 0958",
        "+1 (415) 555-2671",
        "+41446681800",
        "+81-3-3224-9999",
        "(212) 664-7665",
        "212-664-7665",
        "212.664.7665 x123",
        "1-800-874-1888",
        "01 84 17 61 18",
        "(030) 901820",
        "0049 30 901820",
    ],
)
def test_telephone_numbers_with_a_form_of_their_own_are_found(value: str) -> None:
    assert values(f"We are at {value}, as ever.") == [("phone", value)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Phone: 451 5986", "451 5986"),
        ("Tel. 0351 4567890", "0351 4567890"),
        ("You can call 73 448 266 today", "73 448 266"),
        ("Téléphone : 0490 75 40 81", "0490 75 40 81"),
        ("телефон 495 123-45-67", "495 123-45-67"),
        ("电话13800138000", "13800138000"),
        ("781 1704 office\n(579)888-3058 fax", "781 1704"),
        ("fax: 5403926876", "5403926876"),
    ],
)
def test_other_numbers_are_telephone_numbers_where_a_word_says_so(text: str, value: str) -> None:
    assert ("phone", value) in values(text)


@pytest.mark.parametrize(
    "text",
    [
        "updated 1640995200, then 1640995200123 and 1640995200.123",
        "call time 1640995200",
        "phone app updated 2024-01-02 12:13:14 and 20240102131415",
        "on 12/31/2024, 31.12.2024 and 2024/12/31",
        "ISBN 978-3-16-148410-0, ISBN-10: 0-306-40615-2",
        "doi:10.1000/182.1234567 and 10.1103/PhysRevLett.116.061102",
        "at 52.520008, 13.404954 or 37.7749 -122.4194",
        "costs $1,234,567.89, 1.234.567,89 € or EUR 2 500 000",
        "order no. 212-664-7665, invoice 415-664-7665, serial number: 202-664-7665",
        "SN 5403926876, id=5403926876, #5403926876",
        "commit 1523111250 and 0x12345678 and 7869761c2e",
        "sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "SSN 447-60-5371, ZIP 10012-0007, years 1999-2004",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14",
        "pages 123-1234567 of https://example.org/a/2126647665?x=2126647665",
        "range 1000000-2000000, 3.14159265358979",
        "0000000000 and 111-111-1111",
    ],
)
def test_other_numbers_are_left(text: str) -> None:
    assert values(text) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("from 86.121.97.248 port 22", "86.121.97.248"),
        ("http://41.173.96.26:8080/", "41.173.96.26"),
        ("[2a00:1450:4001:81b::200e]", "2a00:1450:4001:81b::200e"),
        ("address 3b20:9a3a:1b2f:7ce:9ef1:4787:85fc:261e.", "3b20:9a3a:1b2f:7ce:9ef1:4787:85fc:261e"),
        ("the server 8.8.8.8", "8.8.8.8"),
    ],
)
def test_global_ip_addresses_are_found(text: str, value: str) -> None:
    assert values(text) == [("ip", value)]


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1, 10.1.2.3, 192.168.0.1, 172.16.5.4, 169.254.1.1, 0.0.0.0, 255.255.255.0, 224.0.0.1",
        "192.0.2.1, 198.51.100.7, 203.0.113.9 are for documentation",
        "::1, fe80::1ff:fe23:4567:890a, 2001:db8::1, fc00::1, ff02::1",
        "version 4.30.203.77 and v93.184.216.34, Build 86.121.97.248",
        "update to 12.4.254.19 and 1.2.3.4",
        "pkg-86.121.97.248.tar.gz and lib_86.121.97.248",
        "1.3.6.1.4.1.311 and 256.1.1.1 and 01.02.03.04",
        "std::vector, A::B::C, dead::beef, 12:34:56, 00:1b:44:11:3a:b7, 12:34:56:78:9a:bc:de:f0",
        "§ 86.121.97.248, section 41.173.96.26",
        "szOID_USAGE = 2.5.29.37 (8.1.2.4 of the specification)",
    ],
)
def test_versions_and_addresses_that_are_not_global_are_left(text: str) -> None:
    assert values(text) == []


@pytest.mark.parametrize(
    "value",
    [
        "4111 1111 1111 1111",
        "4111111111111111",
        "5500-0000-0000-0004",
        "3400 000000 00009",
        "6011000000000004",
        "3530111333300000",
    ],
)
def test_payment_cards_are_found(value: str) -> None:
    assert values(f"I paid with {value}.") == [("card", value)]


def test_cards_of_rare_lengths_are_found_where_a_word_says_so() -> None:
    assert values("my credit card 30569309025904") == [("card", "30569309025904")]
    assert values("it was 30569309025904") == []


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112 and 4111 1111 1111 1112",
        "tracking 4111111111111111",
        "https://example.org/item/4111111111111111",
        "id=4111111111111111, ISBN 4111111111111111",
        "0.4111111111111111 and 4111111111111111.5",
        "a4111111111111111 and 41111111111111110000000",
        "9111 1111 1111 1111",
    ],
)
def test_numbers_that_are_no_cards_are_left(text: str) -> None:
    assert values(text) == []


@pytest.mark.parametrize(
    "value", ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "NO9386011117947", "gb82west12345698765432"]
)
def test_bank_accounts_are_found(value: str) -> None:
    assert values(f"IBAN: {value}, thanks") == [("iban", value)]


@pytest.mark.parametrize(
    "text",
    ["GB82WEST12345698765433", "DE8937040044053201300", "XX82WEST12345698765432", "MD5 DE89370400440532013000ABCDEF"],
)
def test_what_is_no_bank_account_is_left(text: str) -> None:
    assert values(text) == []


# Made up: each has the format of the service's tokens and opens nothing.
TOKENS = [
    "AKIA" + "QWERTYUI23456765",
    "ghp_" + "aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3zA6",
    "glpat-" + "aB3dE6fG9hJ2kL5mN8pQ",
    "xoxb-" + "123456789012-aB3dE6fG9hJ2kL5mN8pQ",
    "sk_live_" + "aB3dE6fG9hJ2kL5mN8pQ1rS4",
    "sk-proj-" + "aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3zA6",
    "AIza" + "SyaB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3",
    "npm_" + "aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3zA6",
    "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[:5])
def test_tokens_of_well_known_services_are_found(token: str) -> None:
    assert values(f"use {token} here") == [("secret", token)]


def test_private_keys_are_found_whole() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow1b2c3d\n" + "QmFzZTY0" * 8 + "\n-----END RSA PRIVATE KEY-----"

    assert values(f"Öffne:\n{key}\nbye") == [("secret", key)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('api_key = "q7Zx81LpM3vN9sKd2RtY"', "q7Zx81LpM3vN9sKd2RtY"),
        ("PASSWORD: x9$", ""),
        (
            "SharedAccessKey=Bhry+ind7kKEIDxubK61RiEHHRTrPl7HUow8cEm/mU0=",
            "Bhry+ind7kKEIDxubK61RiEHHRTrPl7HUow8cEm/mU0=",
        ),
        ("'client_secret' => '6f9619ffb86d11d0b42d00cf4fc964ff'", "6f9619ffb86d11d0b42d00cf4fc964ff"),
        ("postgres://admin:s3cr3tPazz@db.site.net/main", "s3cr3tPazz"),
    ],
)
def test_values_that_look_random_are_secrets_where_a_name_says_so(text: str, value: str) -> None:
    assert values(text) == ([("secret", value)] if value else [])


@pytest.mark.parametrize(
    "text",
    [
        "sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        'password = "correct-horse-battery-staple-22"',
        "token = request.headers2.get_token_value",
        'api_key = "YOUR_API_KEY_GOES_HERE_123"',
        "secret: https://example.org/very/long/path/2024",
        "integrity: sha512-q7Zx81LpM3vN9sKd2RtYq7Zx81LpM3vN9sKd2RtY==",
        "https://user:password@host.example.org/",
        "node-v22.1.0-linux-x64-0558537391e9a0a5eed74da174cd59bbe7a81f20",
    ],
)
def test_hashes_words_and_placeholders_are_no_secrets(text: str) -> None:
    assert values(text) == []


@pytest.mark.parametrize("digits", ["79927398713", "4539578763621486"])
def test_the_last_digit_checks_the_others(digits: str) -> None:
    assert [last for last in "0123456789" if luhn(digits[:-1] + last)] == [digits[-1]]


def test_check_digits_of_accounts_find_two_changed_characters() -> None:
    assert mod97("GB82WEST12345698765432")
    assert not mod97("GB82WEST12345698765423")


# --- what becomes of it -----------------------------------------------------------------------------------------------

TEXT = "Jürgen: jane@site.net, IP 86.121.97.248, +49 30 901820."


def test_values_are_masked_by_their_kind() -> None:
    assert redacted(TEXT) == "Jürgen: <EMAIL>, IP <IP>, <PHONE>."


def test_each_kind_has_its_own_action() -> None:
    assert redacted(TEXT, email="tag", ip="off") == "Jürgen: jane@site.net, IP 86.121.97.248, <PHONE>."
    scored = RedactPii(email="tag", ip="off").score(docs(TEXT)).row(0, named=True)
    assert (scored["email"], scored["ip"], scored["phone"], scored["total"]) == (1, None, 1, 2)


def test_another_placeholder_can_be_put() -> None:
    assert redacted(TEXT, placeholder="|||{kind}|||") == "Jürgen: |||email|||, IP |||ip|||, |||phone|||."


def test_nothing_is_edited_where_kinds_are_only_counted() -> None:
    scored = RedactPii(**dict.fromkeys(FOUND, "tag")).score(docs(TEXT))

    assert "edits" not in scored.columns
    assert scored["spans"][0].to_list()[0] == {"start": 9, "end": 22, "kind": "email"}


def test_fakes_are_the_same_for_the_same_value_and_seed() -> None:
    both = redacted("jane@site.net and JANE@site.net and joe@site.net", email="fake").split(" and ")

    assert both[0] == both[1] != both[2]
    assert redacted("jane@site.net", email="fake", seed=1) != redacted("jane@site.net", email="fake")
    assert redacted("+49 30 901820", phone="fake") == redacted("+49 (30) 90-1820", phone="fake")


def test_fakes_are_left_by_a_second_pass() -> None:
    options: Any = dict.fromkeys(FOUND, "fake")
    once = redacted(
        f"{TEXT} Card 4111 1111 1111 1111, IBAN DE89370400440532013000, {TOKENS[0]}, 2a00:1450:4001::1.", **options
    )

    assert "901820" not in once
    assert redacted(once, **options) == once


def test_fakes_come_from_reserved_ranges() -> None:
    assert re.fullmatch(r"user-[0-9a-f]{8}@example\.org", fake("email", "jane@site.net", 0))
    assert re.fullmatch(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+", fake("ip", "8.8.8.8", 0))
    assert fake("ip", "2a00::1", 0).startswith("2001:db8::")
    assert re.fullmatch(r"\+1 \d{3} 555 01\d\d", fake("phone", "+49 30 901820", 0))
    assert re.fullmatch(r"0000( \d{4}){3}", fake("card", "4111111111111111", 0))
    assert re.fullmatch(r"XX\d{18}", fake("iban", "DE89370400440532013000", 0))
    assert mod97(fake("iban", "DE89370400440532013000", 0))
    assert luhn(fake("card", "4111111111111111", 0).replace(" ", ""))


def test_reserved_values_are_left_where_that_is_asked_for() -> None:
    text = "jane@example.com, jane@site.net, +1 202 555 0143"

    assert redacted(text) == "<EMAIL>, <EMAIL>, <PHONE>"
    assert redacted(text, skip_reserved=True) == "jane@example.com, <EMAIL>, +1 202 555 0143"


def test_documents_with_many_are_dropped() -> None:
    filter = RedactPii(max_count={"email": 1}, max_total=2)
    texts = docs("a@site.net", "a@site.net b@site.net", "+49 30 901820, 8.8.8.8:53, a@site.net")
    scored = filter.score(texts)

    rules = {name: rule.expression() for name, rule in filter.drop_when().items()}
    assert scored.select(**rules).to_dict(as_series=False) == {
        "many_email": [False, True, False],
        "many_in_total": [False, False, True],
    }


def test_where_kinds_overlap_the_first_kind_stands() -> None:
    found = [Found(0, 0, 9, "phone"), Found(0, 5, 20, "card"), Found(0, 12, 15, "email"), Found(0, 30, 35, "ip")]

    assert without_overlaps(found) == [Found(0, 0, 9, "phone"), Found(0, 12, 15, "email"), Found(0, 30, 35, "ip")]


def test_a_text_of_nothing_else_takes_no_time_that_grows_with_its_square() -> None:
    text = "a1@b.cc " * 50_000

    assert RedactPii().score(docs(text))["email"].to_list() == [50_000]


# --- values go nowhere else -------------------------------------------------------------------------------------------


def test_no_value_is_in_the_run_but_in_its_input(tmp_path: Path) -> None:
    canaries = ["canary.mouse@site.net", "+49 30 901820", "4111111111111111", "DE89370400440532013000", TOKENS[1]]
    docs(*[f"Hello {canary} bye" for canary in canaries]).write_parquet(tmp_path / "input.parquet")
    run = Pipeline([RedactPii(max_count={"iban": 0})], base=tmp_path).run(
        tmp_path / "input.parquet", tmp_path / "out", workers=1
    )

    assert run.kept.collect().height == 4
    columns = run.ledger.collect()
    held = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    for canary in canaries:
        assert canary.encode() not in held
        assert canary not in columns.write_json()
    assert "<EMAIL>" in run.kept.collect()["text"][0]


def test_the_report_counts_kinds() -> None:
    ledger = RedactPii(name="off", phone="tag").score(docs(TEXT, TEXT + TEXT, "none")).lazy()

    table = RedactPii(phone="tag").tables(ledger)["personal_data"]

    assert table.filter(kind="phone").rows() == [("phone", "tag", 2, 3)]
    assert table.filter(kind="card").rows() == [("card", "mask", 0, 0)]


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def name_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import spacy

    model = spacy.blank("xx")
    model.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Jürgen Müller"}])  # type: ignore[attr-defined]  # a pipe
    folder = tmp_path_factory.mktemp("model") / "names"
    model.to_disk(folder)
    return folder


def test_names_are_found_by_a_model(name_model: Path) -> None:
    options: dict[str, Any] = {"name": "mask", "name_model": name_model}

    assert redacted("Für Jürgen Müller, jane@site.net", **options) == "Für <NAME>, <EMAIL>"
    assert redacted("Für Jürgen Müller", name="fake", name_model=name_model).startswith("Für Person-")
    check_filter(RedactPii(**options))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config\.cfg"):
        RedactPii(name="mask", name_model=tmp_path).score(docs("x"))


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "mask"}, "go together"),
        (dict.fromkeys(FOUND, "off"), "nothing to look for"),
        ({"max_count": {"ip": 1}, "ip": "off"}, "which is `off`"),
        ({"max_count": {"ip": -1}}, "at least 0"),
        ({"placeholder": "<{type}>"}, "filled in"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RedactPii(**options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict.fromkeys(FOUND, "fake"),
        {**dict.fromkeys(FOUND, "off"), "email": "tag"},
        {"max_count": {"email": 3}, "max_total": 5},
    ],
    ids=["mask", "fake", "tag", "drop"],
)
def test_redact_pii_keeps_the_contract(options: Any) -> None:
    check_filter(RedactPii(**options), docs(TEXT, "x", f"{TOKENS[0]} {TOKENS[8]}"))


PIECES = st.sampled_from(
    ["@", ".", ":", "::", "=", "+", "(", ")", "-", " ", "\n", "1", "22", "333", "4444", "a", "zz", "é", "中", "٣", "x",
     "\x00", "token", "phone ", "192.0.2.1", "86.121.97.248", "4111 1111 1111 1111", "a@b.de", "AKIA", "eyJ", "GB82"]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(PIECES, max_size=40).map("".join), min_size=1, max_size=4))
def test_edits_fit_any_text_whatever_is_around_it(texts: list[str]) -> None:
    scored = RedactPii().score(docs(*texts))

    assert check_edits(pl.Series(texts), scored["edits"]) == []
    for number, text in enumerate(texts):
        assert RedactPii().score(docs(text)).equals(scored[number : number + 1])


# --- real data --------------------------------------------------------------------------------------------------------

OF_PRESIDIO = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IP_ADDRESS": "ip",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
}


@pytest.mark.shared
def test_recall_and_precision_on_marked_sentences() -> None:
    sentences = pl.read_parquet(SHARED / "pii" / "presidio.parquet")
    found = defaultdict(list)
    for one in find(sentences["text"], FOUND):
        found[one.row].append(one)
    right, wanted, wrong = Counter[str](), Counter[str](), Counter[str]()
    for row, (text, spans) in enumerate(sentences.select("text", "spans").iter_rows()):
        marked = []
        for span in json.loads(spans):
            kind = OF_PRESIDIO.get(span["entity_type"])
            private = kind == "ip" and span["entity_value"].startswith(("10.", "192.168."))
            if kind is not None and not private:
                start, end = (len(text[: span[f"{side}_position"]].encode()) for side in ("start", "end"))
                marked.append((kind, start, end))
        for kind, start, end in marked:
            wanted[kind] += 1
            right[kind] += any(one.kind == kind and (one.start, one.end) == (start, end) for one in found[row])
        for one in found[row]:
            wrong[one.kind] += not any(
                one.kind == kind and one.start < end and start < one.end for kind, start, end in marked
            )

    for kind, least in (("email", 0.95), ("card", 0.95), ("iban", 0.95), ("ip", 0.95), ("phone", 0.85)):
        assert right[kind] / wanted[kind] >= least, kind
        assert right[kind] / (right[kind] + wrong[kind]) >= 0.95, kind
    assert wrong["secret"] == 0
