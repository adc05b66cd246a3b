"""Telephone numbers, payment cards and bank accounts among the numbers of a text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.filters.pii_find import Place, Span


def read_numbers(place: Place) -> Iterator[Span]:
    """Cards, then telephone numbers in what is left, of a run of digits with gaps."""
    value = place.value
    taken = -1
    if len(value) >= 12:
        for match in CARD.finditer(value):
            if is_card(match.group(), place.before(60, place.start + match.start()), place.after(1)):
                yield "card", place.start + match.start(), place.start + match.end()
                taken = match.end()
    if taken < 0:
        yield from read_phones(place, value)


# --- payment cards ----------------------------------------------------------------------------------------------------

CARD = re.compile(
    r"(?<![\d.])(?:\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?"
    r"|\d{4}([ -])\d{6}\2\d{4,5}|\d{4}([ -])\d{4}\3\d{5})(?!\d|\.\d)"
)
# Issuer prefixes and lengths, ISO/IEC 7812 as the networks publish them.
ISSUERS = (
    (re.compile(r"4"), (13, 16, 18, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"30[0-5]|3095|3[689]"), (14, 16, 19)),  # Diners Club
    (re.compile(r"6011|64[4-9]|65|622"), (16, 19)),  # Discover, UnionPay
    (re.compile(r"62|81"), (16, 17, 18, 19)),  # UnionPay
    (re.compile(r"35"), (16, 19)),  # JCB: it has 3528 to 3589, generators of test data use them all
    (re.compile(r"2131|1800"), (15,)),  # JCB, older
    (re.compile(r"220[0-4]"), (16, 17, 18, 19)),  # Mir
    (re.compile(r"50|5[6-8]|6304|6390|67|0604|60|636|637|63"), (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro and others
)
COMMON_LENGTHS = (15, 16)
OF_CARD = re.compile(
    r"(?i)\b(?:cards?|credit|debit|visa|master\s?card|maestro|amex|american express|discover|diners|jcb|unionpay|cc"
    r"|payment|pay|karten?|kreditkarte|carte|tarjeta|cartão|carta|карт\w*)\b|卡|カード|카드"
)
OF_OTHER = re.compile(
    r"(?i)\b(?:isbn|issn|ean|upc|gtin|doi|orcid|imei|iccid|orders?|invoices?|serial|s/n|sn|ids?|uid|guid|uuid|track\w*"
    r"|tickets?|cases?|parts?|sku|ref(?:erence)?s?|patents?|accounts?|asin|oclc|lccn|pmid|arxiv|models?|batch|lot|hash"
    r"|sha\d*|md5|crc|checksum|commit|timestamp|epoch|unix|time|seed|key|bytes?|offset|size|version|build|revision|rev"
    r"|zip|vat|tax|ein|ssn|license|licence|passport|nr|num(?:ber)?|no)\b[\s.:#=\-]*(?:(?:number|num|no|nr|id|is|was)\b[\s.:#=]*)*\Z|[#=/$€£¥_&\\@%~]\s?\Z"
)


def is_card(value: str, before: str, after: str) -> bool:
    """Whether a number is a card's: an issuer has such numbers, its check digit fits, and nothing says otherwise."""
    digits = re.sub(r"\D", "", value)
    if not any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in ISSUERS):
        return False
    if not luhn(digits) or len(set(digits)) < 2:
        return False
    if OF_CARD.search(before):
        return True
    if len(digits) not in COMMON_LENGTHS and digits == value:
        return False
    return not OF_OTHER.search(before[-24:]) and not re.match(r"[\w/=&%]", after)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


# --- bank accounts ----------------------------------------------------------------------------------------------------

# Characters of an IBAN by country, from the registry of ISO 13616.
IBAN_LENGTHS = {
    country: int(length)
    for length, countries in (
        line.split(":")
        for line in (
            "15:NO", "16:BE", "18:DK FO FI GL NL SD", "19:MK SI", "20:AT BA EE KZ LT LU XK", "21:HR LV LI CH",
            "22:BG BH CR GE IE ME RS GB DE VA", "23:GI IL IQ AE TL OM SO", "24:AD CZ MD PK RO SA SK ES SE TN VG",
            "25:LY PT ST", "26:IS TR", "27:BI DJ FR GR IT MR MC SM", "28:AL AZ BY CY DO GT HU LB PL SV NI FK",
            "29:BR EG PS QA UA", "30:JO KW MU MN YE", "31:MT SC", "32:LC", "33:RU",
        )
    )
    for country in countries.split()
}  # fmt: skip
IBAN_LENGTHS |= {"FK": 18, "MN": 20, "NI": 28, "GF": 27, "GP": 27, "MQ": 27, "RE": 27, "NC": 27, "PF": 27}


def read_iban(place: Place) -> Iterator[Span]:
    """An IBAN: as long as its country's are, and its check digits fit (mod 97)."""
    value = place.value
    wanted = IBAN_LENGTHS.get(value[:2].upper())
    if wanted is None:
        return
    places = [at for at, character in enumerate(value) if character != " "]
    if len(places) < wanted:
        return
    at = places[wanted - 1]
    whole = value[: at + 1]
    following = value[at + 1 :] or place.after(1)
    compact = whole.replace(" ", "").upper()
    if re.match(r"[A-Za-z0-9]", following) or (
        " " in whole and not re.fullmatch(r"\w{4}( ?\w{4})*( ?\w{1,4})?", whole)
    ):
        return
    if mod97(compact):
        yield "iban", place.start, place.start + at + 1


def mod97(iban: str) -> bool:
    """Whether an IBAN's check digits fit (ISO 7064, mod 97-10)."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


# --- telephone numbers ------------------------------------------------------------------------------------------------

EXTENSION = r"(?:\s?(?:x|ext\.?|extension)\s?\d{1,6}(?!\d))?"
STRONG = re.compile(
    r"(?<!\d)\+\(?\d[\d ().\-/]{6,24}\d" + EXTENSION + r"|(?<![\d.\-/])(?:"
    r"(?:\+?1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}([.-]))[2-9]\d{2}(?(1)\1|[ .-])\d{4}"  # North America
    r"|0[1-9](?:([ .-])\d\d)(?:\2\d\d){3}"  # France
    r"|\(0\d{1,4}\) ?\d{3,4}[ -]?\d{3,4}"  # a trunk 0 in brackets
    r"|00[1-9]\d{0,2}[ .-]\(?\d[\d ().-]{5,18}\d"  # 00 and a country
    r")" + EXTENSION + r"(?![\d/]|[.\-]\d)"
)
ANY = re.compile(r"\(?\+?\d[\d ().\-/]{5,22}\d" + EXTENSION + r"(?!\d|[.\-:/]\d)")
OF_PHONE = re.compile(
    r"(?i)(?:\b(?:tele)?(?:phones?|fon\w*|fono|fone|foon|foni|fax)\b"
    r"|\b(?:tel|tele?fax|ph|tlf|tél(?:éphone)?|téls?|call(?:ed|ing)?(?: \w+)?(?: (?:at|on))?|dial(?:l?ed|ling)?"
    r"|mobil\w*|móvil|celular|cell(?:ulare?)?|handy|gsm|puh|faks|hotline|helpline|whats ?app|sms|viber|telegram"
    r"|contact|reach|answer\w*|messages? to|(?:text|ring)(?:ed|ing)? (?:me|us|him|her|them|at)|toll.?free"
    r"|voice ?mail|pager|beeper)\b"
    r"|тел(?:ефон\w*)?\b|моб\w*|звон\w*|τηλ\w*|电话|電話|手机|手機|联系|致电|전화|휴대폰|هاتف|تلفن|טלפון|โทร|फ़ोन|फोन)"
)
LABEL_BEFORE = re.compile(r"(?i)\b(?:desk|office|home|work|main|direct|voice|fax|cell|mobile|[tfmcpw])\s?[.:)]\s*\Z")
LABEL_AFTER = re.compile(
    r"(?i)[ \t]?[-–(,]?[ \t]?\(?(?:office|fax|mobile|cell|home|work|phone|tel|direct|voice|toll.?free)\b"
)
NO_PHONE = re.compile(
    r"\d{4}[-/. ](?:0?[1-9]|1[0-2])[-/. ]\d{1,2}(?:\D.*)?|\d{1,2}([-/.])\d{1,2}\1(?:19|20)\d\d(?:\D.*)?"  # dates
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\d{0,6}|(?:19|20)\d\d\s?[-/]\s?(?:19|20)\d\d"
    r"|1\d{9}|1\d{12}|\d{5}-\d{4}|\d{3}-\d{2}-\d{4}"  # times of Unix, US postcodes and social security
    r"|\d{1,3}(?:\.\d+)+(?: \d{1,3}\.\d+)+|97[89][- ]?\d(?:[- ]?\d){9}"  # coordinates, ISBN
    r"|(\d)\D?(?:\2\D?){6,}|0\d{0,2}(?:\.\d+)"
)
EXTENDED = re.compile(r"(?i)\s?(?:x|ext).*")
BROKEN_BEFORE = re.compile(r"[A-Za-z0-9_.]\Z|\d,\Z")
BROKEN_AFTER = re.compile(r"[A-Za-z_%€$£@=]|[,:]\d")
ANOTHER_BEFORE = re.compile(r"\d[ .\-/]?\Z")
THREE_DIGITS = re.compile(r"\d{3}")
CONTEXT_BYTES = 80
MOST_DIGITS = 15  # ITU-T E.164


def read_phones(place: Place, value: str) -> Iterator[Span]:
    """Telephone numbers in a run of digits: international ones, national forms that nothing else has, and others
    where a word says what they are.
    """
    rest = value + place.after(16)
    found = [match for match in STRONG.finditer(rest) if match.start() < len(value)]
    if not found and sum(character.isdigit() for character in value) <= MOST_DIGITS:
        found = [match for match in [ANY.match(rest)] if match]
    for match in found:
        text, start = match.group(), place.start + match.start()
        before = place.before(CONTEXT_BYTES, start)
        after = place.after(16, start + len(text))
        international = text.startswith("+")
        if international:
            text = possible(text)
        if text and is_phone(text, before, after, international or match.re is STRONG):
            yield "phone", start, start + len(text)


def is_phone(text: str, before: str, after: str, strong: bool) -> bool:
    """Whether a number is a telephone number, by its form and by the words before and after it."""
    digits = sum(character.isdigit() for character in EXTENDED.sub("", text))
    if not 7 <= digits <= MOST_DIGITS or NO_PHONE.fullmatch(text):
        return False
    if BROKEN_BEFORE.search(before[-2:]) or BROKEN_AFTER.match(after):
        return False
    if LABEL_AFTER.match(after) or LABEL_BEFORE.search(before[-12:]):
        return True
    other = OF_OTHER.search(before[-30:])
    if has_context(before[-40:]):
        return other is None or other.group().strip(" .:#").lower() in ("number", "no", "nr", "num")
    return strong and other is None and not ANOTHER_BEFORE.search(before[-2:])


def has_context(before: str) -> bool:
    """Whether a word before a number, with no other number and no line between, says that it is for telephoning."""
    end = max((match.end() for match in OF_PHONE.finditer(before)), default=-1)
    if end < 0:
        return False
    between = before[end:]
    return "\n" not in between.strip(" \t:").strip("\n") and not THREE_DIGITS.search(between)


def possible(text: str) -> str:
    """The longest part of an international number, cut at gaps, that its country may have; empty without one."""
    from phonenumbers import NumberParseException, is_possible_number, parse

    while sum(character.isdigit() for character in text) >= 7:
        try:
            if is_possible_number(parse(text)):
                return text
        except NumberParseException:  # no such country, or too long
            pass
        cut = max(text.rfind(gap) for gap in " .-/(x")
        if cut <= 0:
            break
        text = text[:cut].rstrip(" .-/(")
    return ""
