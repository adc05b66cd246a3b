"""Secrets: tokens of well-known services, private keys, and assigned values that look random."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from curate.filters.pii_find import Place, Span

# Formats as the services document them; each is matched where a run of letters, digits, `_` and `-` starts.
TOKENS = re.compile(
    r"(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"  # Amazon Web Services
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}"  # GitHub
    r"|gl(?:pat|dt|rt|ptt|cbt)-[\w-]{20,}"  # GitLab
    r"|xox[abeoprs]-[\w-]{16,}|xapp-\d-[\w-]{20,}"  # Slack
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{24,}"  # Stripe
    r"|sk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]+-|or-v1-)?(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{32,}|sk-or-v1-[0-9a-f]{64}"
    r"|AIza[\w-]{35}|GOCSPX-[\w-]{28}"  # Google
    r"|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,}|hf_[A-Za-z0-9]{30,}"
    r"|do[opr]_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|key-[0-9a-f]{32}|SK[0-9a-f]{32}"
    r"|sq0(?:atp|csp)-[\w-]{22,}|EAAA[\w-]{56,}|dapi[0-9a-f]{32}|lin_api_[A-Za-z0-9]{40}|NRAK-[A-Z0-9]{27}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{58}|PMAK-[0-9a-f]{24}-[0-9a-f]{34}|glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}"
    r")(?![\w-])"
)
WEB_TOKEN = re.compile(r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}(?:\.[\w-]+)?")  # RFC 7519
AFTER_PREFIX = re.compile(
    r"(?:\bSG\.(?:[\w-]{22}\.)?|\bya29\.|\bhooks\.slack\.com/services/T\w{6,12}/B\w{6,12}/|\b\d{8,10}:(?=AA))$"
)
PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?!-----)[\s\S]){0,16384}(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
)
KEY = re.compile(
    r"(?i)(?:secret|token|passw(?:or)?d|passphrase|pwd|api[ _-]?key|access[ _-]?key|account[ _-]?key|private[ _-]?key"
    r"|signing[ _-]?key|encryption[ _-]?key|auth[ _-]?key|credentials?|bearer)[\w.-]{0,16}[\"'`\])]?\s{0,2}:?$"
)
NO_SECRET = re.compile(r"(?i)example|your|x{4}|placeholder|change|dummy|sample|foobar|12345|abcdef|(.)\1{4}")
HEX = re.compile(r"[0-9a-fA-F-]{32,}")
WORDS = re.compile(r"(?:^|[-_/+.=])[A-Z]?[a-z]{4,}(?=$|[-_/+.=])")

# Bits per character from which a value counts as random: 32 random hexadecimal digits have 3.0 or more nearly always,
# 20 random letters and digits 3.5 or more; names, paths and words have less or are told by their pieces.
LEAST_BITS, LEAST_BITS_HEX = 3.5, 3.0


def read_token(place: Place) -> Iterator[Span]:
    """A token whose format says whose it is."""
    value = place.value
    if TOKENS.match(value):
        yield "secret", place.start, place.stop
    elif value.startswith("eyJ"):
        match = WEB_TOKEN.match(value + place.after(8192))
        if match:
            yield "secret", place.start, place.start + len(match.group())
    elif len(value) >= 22 and (match := AFTER_PREFIX.search(place.before(64))):
        yield "secret", place.start - (len(match.group()) if "/" not in match.group() else 0), place.stop


def read_assigned(place: Place) -> Iterator[Span]:
    """A value that looks random and is assigned to a name like `api_key` or `password`."""
    if not KEY.search(place.before(48)):
        return
    given = place.value
    value = re.sub(r"^[:= \"'>]+", "", given)
    start = place.stop - len(value)
    value = value.rstrip(".,/")
    if looks_random(value):
        yield "secret", start, start + len(value)


def looks_random(value: str) -> bool:
    """Whether nobody would choose or remember a value: many different characters, digits and letters, no words."""
    if len(value) < 16 or NO_SECRET.search(value) or "." in value:
        return False
    if HEX.fullmatch(value):
        return entropy(value) >= LEAST_BITS_HEX
    digits = sum(character.isdigit() for character in value)
    return digits >= 2 and not WORDS.search(value) and entropy(value) >= LEAST_BITS


def entropy(value: str) -> float:
    """Shannon's entropy of a value's characters, in bits per character."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())


def read_private_keys(texts: pl.Series) -> Iterator[tuple[int, int, int]]:
    """Text, start and end of each private key block; one whose end is cut off counts to where it stops."""
    rows = texts.str.contains("PRIVATE KEY", literal=True).fill_null(False).arg_true()
    for row, text in zip(rows.to_list(), texts.gather(rows).to_list(), strict=True):
        for match in PRIVATE_KEY.finditer(text):
            start = len(text[: match.start()].encode())
            yield row, start, start + len(match.group().encode())
