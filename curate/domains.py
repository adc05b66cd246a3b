"""The registrable domain of addresses, by the public suffix list that the package publicsuffixlist brings.

The list is read from the installed package and never fetched. Suffixes of its private section count: `alice.github.io`
and `bob.github.io` are two domains, as they are two publishers.
"""

from __future__ import annotations

import ipaddress
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from publicsuffixlist import PublicSuffixList

# Scheme, user and port may be missing; IPv6 stands in brackets.
HOST = r"^\s*(?:(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//)?(?:[^/?#@\s]*@)?(\[[^\]/?#\s]*\]|[^/?#:\s]*)(?:[:/?#]|\s*$)"
LONGEST_HOST = 253  # characters (RFC 1035, section 2.3.4)


def domains(addresses: pl.Series) -> pl.Series:
    """The registrable domain of each address or host name; null without one.

    IP addresses, hosts without a known suffix and public suffixes themselves stand as they are, in lower case; names in
    other letters than ASCII stand in their ASCII form (IDNA).
    """
    import polars as pl

    hosts = addresses.cast(pl.String).str.extract(HOST).str.to_lowercase().str.strip_chars(".[]").alias("host")
    known = hosts.drop_nulls().unique()
    found = pl.Series("domain", [domain_of(host) for host in known], pl.String)
    pairs = pl.DataFrame({"host": known, "domain": found})
    return hosts.to_frame().join(pairs, on="host", how="left", maintain_order="left")["domain"]


@lru_cache(maxsize=100_000)
def domain_of(host: str) -> str | None:
    """The registrable domain of one host name in lower case, or what stands for it."""
    if not host or len(host) > LONGEST_HOST:
        return None
    if _is_ip(host):
        return host
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:  # no name that IDNA can write: it stands as it is
            return host
    found = suffixes().privatesuffix(host)
    return host if found is None else str(found)


@cache
def suffixes() -> PublicSuffixList:
    """The list of the installed package, read once per process."""
    from publicsuffixlist import PublicSuffixList

    with suffix_file().open("rb") as file:
        return PublicSuffixList(file, accept_unknown=False)


def suffix_file() -> Path:
    """The file with the list: domains depend on it."""
    return Path(str(files("publicsuffixlist") / "public_suffix_list.dat"))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
