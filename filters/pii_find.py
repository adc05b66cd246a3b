"""Which candidates are personal data: the kernel's candidates judged by exact rules, overlaps resolved.

Where kinds overlap, the first of KINDS wins; within a kind the one that starts first.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from curate.filters.pii_numbers import read_iban, read_numbers
from curate.filters.pii_secrets import read_assigned, read_private_keys, read_token

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["secret", "email", "iban", "card", "ip", "phone", "name"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # in the order in which they win where they overlap


class Found(NamedTuple):
    """One piece of personal data: its text, and its start and end there in UTF-8 bytes."""

    row: int
    start: int
    end: int
    kind: Kind


class Place(NamedTuple):
    """A candidate in the text that it stands in; all positions are bytes of the buffer."""

    data: memoryview
    begin: int  # of the text
    end: int
    start: int  # of the candidate
    stop: int

    def before(self, size: int, at: int | None = None) -> str:
        """Up to so many bytes of the text before the candidate, or before another place."""
        at = self.start if at is None else at
        return bytes(self.data[max(self.begin, at - size) : at]).decode(errors="ignore")

    def after(self, size: int, at: int | None = None) -> str:
        """Up to so many bytes of the text after the candidate, or after another place."""
        at = self.stop if at is None else at
        return bytes(self.data[at : min(self.end, at + size)]).decode(errors="ignore")

    @property
    def value(self) -> str:
        """The candidate itself."""
        return bytes(self.data[self.start : self.stop]).decode(errors="ignore")


Span: TypeAlias = tuple[str, int, int]  # kind, start, end
Judge: TypeAlias = Callable[[Place], Iterator[Span]]


def find(texts: pl.Series, kinds: Collection[Kind], *, skip_reserved: Collection[Kind] = ()) -> list[Found]:
    """All personal data of the wanted kinds (but names), by text and start, without overlaps.

    Of the kinds in `skip_reserved`, values that are reserved for documentation and fiction are left out.
    """
    from curate.kernels.pii import candidates
    from curate.kernels.utf8 import texts as buffers

    given = buffers(texts)
    places = candidates(given)
    data, offsets = given.data.data, given.offsets
    wanted = [judge for judge in JUDGES if any(kind in kinds for kind in judge.kinds)]
    by_candidate: dict[int, list[Judge]] = {}
    for one in wanted:
        by_candidate.setdefault(one.candidate, []).append(one.read)
    found: list[Found] = []
    for row, candidate, start, stop in places.tolist():
        begin = int(offsets[row])
        for read in by_candidate.get(candidate, ()):
            place = Place(data, begin, int(offsets[row + 1]), start, stop)
            for kind, first, last in read(place):
                if kind in kinds and not (kind in skip_reserved and reserved(kind, bytes(data[first:last]).decode())):
                    found.append(Found(row, first - begin, last - begin, kind))  # type: ignore[arg-type]  # a Kind
    if "secret" in kinds:
        found += [Found(row, start, stop, "secret") for row, start, stop in read_private_keys(texts)]
    return without_overlaps(found)


def without_overlaps(found: list[Found]) -> list[Found]:
    """Of those that overlap only the one whose kind comes first in KINDS, then the one that starts first."""
    taken: dict[int, list[tuple[int, int]]] = {}  # by text: start and end of what stays, sorted
    stays: list[Found] = []
    for one in sorted(found, key=lambda one: (KINDS.index(one.kind), one.row, one.start, -one.end)):
        own = taken.setdefault(one.row, [])
        place = bisect_left(own, (one.start, one.end))
        if (place == 0 or own[place - 1][1] <= one.start) and (place == len(own) or one.end <= own[place][0]):
            own.insert(place, (one.start, one.end))
            stays.append(one)
    return sorted(stays)


def reserved(kind: str, value: str) -> bool:
    """Whether a value is reserved for documentation (RFC 2606) or fiction (555-01xx, Ofcom's drama numbers)."""
    if kind == "email":
        return RESERVED_HOST.search(value) is not None
    if kind == "phone":
        digits = re.sub(r"\D", "", value)
        return re.search(r"55501\d\d$|^(?:44|0)(?:7700900|2079460|1\d{2}4960)\d{3}$", digits) is not None
    return False


# --- e-mail -----------------------------------------------------------------------------------------------------------

# Letters of scripts that are written with spaces: in the others a name may touch the words before it.
LETTERS = r"A-Za-z0-9À-ÖØ-öø-ɏͰ-ϿЀ-ӿ"
LOCAL = re.compile(rf"[{LETTERS}_+%&'-]+(?:\.[{LETTERS}_+%&'-]+)*\Z")
HOST = re.compile(
    rf"(?:[{LETTERS}](?:[{LETTERS}-]{{0,61}}[{LETTERS}])?\.){{1,8}}(?:xn--[a-z0-9-]{{2,59}}|[A-Za-z]{{2,24}}|[Ͱ-ϿЀ-ӿ]{{2,24}})"
)
JOINED = re.compile(rf"[{LETTERS}_@/$%{{}}]")
RESERVED_HOST = re.compile(r"(?i)[@.]example\.(?:com|net|org|edu)$|\.(?:example|invalid|test|localhost|localdomain)$")
# What stands where a top-level domain would, in `image@2x.png` or `package@next.js`.
FILE_ENDINGS = frozenset((
    "png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "bmp", "pdf", "css", "scss", "less", "js", "mjs", "cjs", "ts",
    "tsx", "jsx", "json", "map", "html", "htm", "xml", "txt", "md", "yml", "yaml", "toml", "lock", "php", "rb",
    "exe", "dll", "jar", "tgz", "gz", "zip", "tar", "whl", "deb", "rpm", "mp3", "mp4", "wav", "ttf", "woff", "tmp",
    "log", "cfg", "conf", "ini", "service", "socket", "timer", "mount", "device",
))  # fmt: skip


def read_email(place: Place) -> Iterator[Span]:
    """An e-mail address around an @, or the password of an address `https://user:password@host`."""
    left = place.before(256)
    local = LOCAL.search(left[-64:])
    host = HOST.match(place.after(256))
    if local is None or host is None:
        return
    name = local.group().lstrip("'+-&")
    ahead = left[: len(left) - len(name)]
    scheme = ahead.rfind("://")
    if scheme >= 0 and not re.search(r"[\s/?#\"'<>]", ahead[scheme + 3 :]):
        password = ahead[scheme + 3 :].partition(":")[2] + name
        if ":" in ahead[scheme + 3 :] and not PLACEHOLDER.search(password):
            yield "secret", place.start - len(password.encode()), place.start
        return
    domain = host.group()
    stop = place.stop + len(domain.encode())
    following = place.after(4, stop)
    if not re.search(rf"[{LETTERS}]", name) or name.startswith("%") or JOINED.search(ahead[-1:]):
        return
    if domain.rpartition(".")[2].lower() in FILE_ENDINGS or re.match(r":[\w~./]|@|\(|-\w|_", following):
        return
    yield "email", place.start - len(name.encode()), stop


PLACEHOLDER = re.compile(r"(?i)^(?:pass(?:word|wd)?|pwd|secret|token|x+|\*+|\.+|\w*\$.*|<.*|\{.*|%.*)$")


# --- IP addresses -----------------------------------------------------------------------------------------------------

# IANA's special-purpose registries (RFC 6890 and later), multicast and class E: of no use to find anybody.
NOT_GLOBAL_4 = [
    ipaddress.IPv4Network(one)
    for one in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
    )
]  # fmt: skip
NOT_GLOBAL_6 = [
    ipaddress.IPv6Network(one)
    for one in (
        "::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
]  # fmt: skip
OF_ADDRESS = re.compile(
    r"(?i)\b(?:ips?|ipv[46]|inet6?|addr(?:ess(?:es)?)?|hosts?|servers?|dns|nameservers?|ping|gateway|remote|client"
    r"|connect(?:ed|ion)?|peer|subnet|router|nslookup|dig|whois|traceroute|ssh)\b|://$|[\[@]$"
)
OF_VERSION = re.compile(
    r"(?i)(?:\b(?:v|ver(?:sions?)?|versión|version|versão|versione|версия|rel(?:eases?)?|rev(?:ision)?|builds?|firmware"
    r"|drivers?|sdk|updates?|upgrad\w+|assembly|kernel|patch\w*|bump\w*|deps|v8|downgrad\w*|sections?|chapters?|clauses?|figures?|tables?|oid|copyright)\b"
    r"|版本|バージョン|버전|§|(?-i:OID)|\w*version\w*|(?<![a-z0-9])v$|[\w.]-$|_$)"
)
SMALL = 31  # four numbers up to this are a version unless something says that they are an address


def read_ipv4(place: Place) -> Iterator[Span]:
    """A global IPv4 address that is not a version number."""
    value = place.value
    address = ipaddress.IPv4Address(value)
    if any(address in network for network in NOT_GLOBAL_4):
        return
    before = place.before(40).rpartition("\n")[2][-30:]
    version, context = _last(OF_VERSION, before), _last(OF_ADDRESS, before)
    if version > context:
        return
    small = all(int(part) <= SMALL for part in value.split("."))
    following = place.after(8)
    if small and context < 0 and not re.match(r":\d|/\d\d?\b(?!\.)", following):
        return
    if re.match(r"-?(?:rc|beta|alpha|el\d|fc\d|\.x\b|\.\*|\+)", following):
        return
    yield "ip", place.start, place.stop


def read_ipv6(place: Place) -> Iterator[Span]:
    """A global IPv6 address; pairs of hexadecimal digits are a hardware address, not this."""
    value = place.value
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return
    groups = value.split(":")
    if any(address in network for network in NOT_GLOBAL_6) or all(len(group) == 2 for group in groups):
        return
    if "::" in value and (len(groups[0]) != 4 or groups[0][0] not in "23" or len(groups) < 4):
        return  # `std::abc`: shortened forms only of the range that is given out (RFC 4291)
    yield "ip", place.start, place.stop


def _last(pattern: re.Pattern[str], text: str) -> int:
    """Where the last match of a pattern starts, -1 without one."""
    return max((match.start() for match in pattern.finditer(text)), default=-1)


class Reader(NamedTuple):
    """Which kinds a rule may find in which candidates of the kernel."""

    candidate: int
    kinds: tuple[Kind, ...]
    read: Judge


JUDGES = (
    Reader(0, ("email", "secret"), read_email),
    Reader(1, ("ip",), read_ipv4),
    Reader(2, ("ip",), read_ipv6),
    Reader(3, ("card", "phone"), read_numbers),
    Reader(4, ("iban",), read_iban),
    Reader(5, ("secret",), read_token),
    Reader(6, ("secret",), read_assigned),
)  # by the numbers of curate.kernels.pii
