"""Stable stand-ins for personal data: the same value gets the same one, from ranges that are nobody's."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from curate.filters.pii_find import Kind

# Area codes of North America; in each of them 555-0100 to 555-0199 are set aside for fiction (NANPA).
AREAS = (202, 212, 303, 312, 404, 415, 503, 512, 602, 617, 702, 713, 808, 813, 902, 917)


def fake(kind: Kind, value: str, seed: int) -> str:
    """A stand-in for a value: it follows from a hash of the value's letters and digits, and the seed.

    Whoever knows the seed can check a guess of the value against the stand-in.
    """
    plain = "".join(character for character in value.casefold() if character.isalnum()) or value
    if kind == "email":
        plain = value.casefold()
    digest = blake2b(plain.encode(), digest_size=16, key=str(seed).encode()[:64], person=kind.encode()).digest()
    return FAKES[kind](int.from_bytes(digest), value)


def _email(number: int, value: str) -> str:
    return f"user-{number % 16**8:08x}@example.org"  # RFC 2606


def _ip(number: int, value: str) -> str:
    if ":" in value:
        return f"2001:db8::{number % 65535 + 1:x}:{number // 65536 % 65535 + 1:x}"  # RFC 3849
    network = ("192.0.2", "198.51.100", "203.0.113")[number % 3]  # RFC 5737
    return f"{network}.{number // 3 % 254 + 1}"


def _phone(number: int, value: str) -> str:
    return f"+1 {AREAS[number % len(AREAS)]} 555 01{number // len(AREAS) % 100:02d}"


def _card(number: int, value: str) -> str:
    from curate.filters.pii_numbers import luhn

    digits = f"0000{number % 10**11:011d}"  # no issuer's numbers start with 0000
    whole = next(digits + str(last) for last in range(10) if luhn(digits + str(last)))
    return " ".join(whole[at : at + 4] for at in range(0, 16, 4))


def _iban(number: int, value: str) -> str:
    account = f"{number % 10**16:016d}"  # XX is no country and never will be (ISO 3166-1, user-assigned)
    check = 98 - int("".join(str(int(character, 36)) for character in account + "XX00")) % 97
    return f"XX{check:02d}{account}"


def _secret(number: int, value: str) -> str:
    return f"secret-{number % 16**8:08x}"


def _name(number: int, value: str) -> str:
    return f"Person-{number % 16**6:06x}"


FAKES: dict[Kind, Callable[[int, str], str]] = {
    "email": _email,
    "ip": _ip,
    "phone": _phone,
    "card": _card,
    "iban": _iban,
    "secret": _secret,
    "name": _name,
}
