"""Hostile input: lines, streams and files with known faults, for tests of the reader and of whole runs.

Every bad line has the reason that it must get; every odd but sound line has the text that it must keep.
"""

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

MAX_RECORD = 100_000  # bytes; the lines below stay under it unless they are there to break it

# Lines that are no records: name -> (line, beginning of the reason).
BAD_LINES: dict[str, tuple[bytes, str]] = {
    "invalid UTF-8": (b'{"id":"x","text":"caf\xe9"}', "not UTF-8: byte 21"),
    "overlong UTF-8": (b'{"id":"x","text":"\xc0\xaf"}', "not UTF-8"),
    "UTF-8 surrogate": (b'{"id":"x","text":"\xed\xa0\x80"}', "not UTF-8"),
    "lone surrogate": (b'{"id":"x","text":"\\ud800"}', "not JSON"),
    "raw NUL": (b'{"id":"x","text":"a\x00b"}', "not JSON"),
    "raw tab": (b'{"id":"x","text":"a\tb"}', "not JSON"),
    "byte order mark inside": (b'\xef\xbb\xbf{"id":"x","text":"a"}', "not JSON"),
    "CR only": (b'{"id":"x","text":"a"}\r{"id":"y","text":"b"}', "not JSON"),
    "deep 1,100": (b'{"id":"x","text":"a","deep":' + b"[" * 1_100 + b"]" * 1_100 + b"}", "not JSON"),
    "deep 40,000": (b"[" * 40_000, "not JSON"),
    "deep 900": (b'{"id":"x","text":"a","deep":' + b"[" * 900 + b"]" * 900 + b"}", "nested too deep"),
    "array": (b'["a"]', "not an object: list"),
    "number": (b"5", "not an object: int"),
    "string": (b'"text"', "not an object: str"),
    "null": (b"null", "not an object: null"),
    "empty": (b"", "empty line"),
    "blank": (b"  \t\r", "empty line"),
    "trailing comma": (b'{"id":"x","text":"a",}', "not JSON"),
    "two objects": (b'{"id":"x","text":"a"}{"id":"y","text":"b"}', "not JSON"),
    "cut object": (b'{"id":"x","text":"a', "not JSON"),
    "words": (b"Internal Server Error", "not JSON"),
    "NaN": (b'{"id":"x","text":"a","n":NaN}', "not JSON"),
    "Infinity": (b'{"id":"x","text":"a","n":-Infinity}', "not JSON"),
    "1e999": (b'{"id":"x","text":"a","n":1e999}', "not JSON"),
    "5,000 digits": (b'{"id":"x","text":"a","n":' + b"9" * 5_000 + b"}", "not JSON"),
    "single quotes": (b"{'id':'x','text':'a'}", "not JSON"),
    "text missing": (b'{"id":"x"}', "text missing"),
    "text null": (b'{"id":"x","text":null}', "text is null"),
    "text list": (b'{"id":"x","text":["a"]}', "text is list"),
    "text object": (b'{"id":"x","text":{"a":1}}', "text is dict"),
    "text number": (b'{"id":"x","text":4}', "text is int"),
    "text bool": (b'{"id":"x","text":true}', "text is bool"),
    "id missing": (b'{"text":"a"}', "id missing"),
    "id null": (b'{"id":null,"text":"a"}', "id is null"),
    "id float": (b'{"id":1.5,"text":"a"}', "id is float"),
    "id 2**70": (b'{"id":1180591620717411303424,"text":"a"}', "id is float"),
    "id 2**63": (b'{"id":9223372036854775808,"text":"a"}', "id is an int beyond 64 bits"),
    "id bool": (b'{"id":true,"text":"a"}', "id is bool"),
    "id list": (b'{"id":["a"],"text":"a"}', "id is list"),
    "last text wins and is null": (b'{"id":"x","text":"a","text":null}', "text is null"),
    "too large": (b'{"id":"x","text":"' + b"a" * MAX_RECORD + b'"}', "record too large"),
    "too large, no JSON": (b"[" * (3 * MAX_RECORD), "record too large"),
    "1,001 columns": (
        b'{"id":"x","text":"a",' + b",".join(b'"k%d":1' % n for n in range(1_000)) + b"}",
        "more than 1000 columns",
    ),
}

# Lines that look bad and are sound: name -> (line without id, its text).
ODD_LINES: dict[str, tuple[bytes, str]] = {
    "escaped NUL": (b'"text":"a\\u0000b"', "a\0b"),
    "CRLF": (b'"text":"crlf"', "crlf"),
    "U+2028, VT, NEL, FS": ('"text":"a\u2028b\\u000bc\u0085d\\u001ce"'.encode(), "a\u2028b\vc\u0085d\x1ce"),
    "bidi and zero width": ('"text":"\u202eabc\u202c\u200b\ufeff"'.encode(), "\u202eabc\u202c\u200b\ufeff"),
    "combining marks": (('"text":"e' + "\u0301" * 10_000 + '"').encode(), "e" + "\u0301" * 10_000),
    "surrogate pair": (b'"text":"\\ud83d\\ude00"', "\U0001f600"),
    "emoji": ('"text":"👩‍👩‍👧"'.encode(), "👩‍👩‍👧"),
    "noncharacters": ('"text":"\uffff\U0010ffff"'.encode(), "\uffff\U0010ffff"),
    "empty text": (b'"text":""', ""),
    "white space": (b'"text":"  \\n\\t "', "  \n\t "),
    "escaped line feed": (b'"text":"one\\ntwo"', "one\ntwo"),
    "duplicate keys": (b'"text":"first","text":"last"', "last"),
    "extra keys": (b'"text":"extra","":1,"a.b":2,"row":3', "extra"),
    "deep 200": (b'"text":"deep","deep":' + b"[" * 200 + b"]" * 200, "deep"),
    "brackets in text": (b'"text":"' + b"[" * 5_000 + b'","nested":[1]', "[" * 5_000),
    "2**70": (b'"text":"big","n":1180591620717411303424', "big"),
    "type drift": (b'"text":"drift","n":["x"],"source":{"a":1}', "drift"),
    "markup": (b'"text":"[/foo]</script><img onerror=x>"', "[/foo]</script><img onerror=x>"),
}


@dataclass(frozen=True)
class Mixed:
    """A JSONL file of good records with a fault between any two."""

    data: bytes
    texts: dict[int, str]  # row -> text of every good record
    ids: dict[int, str]
    errors: dict[int, str]  # row -> beginning of the reason


def good_line(number: int) -> bytes:
    """A good record."""
    return orjson.dumps({"id": f"good-{number}", "text": f"document {number}", "source": "hostile", "n": number})


def good_lines(count: int) -> bytes:
    """Good records, each with its line feed."""
    return b"".join(good_line(number) + b"\n" for number in range(count))


def mixed_lines() -> Mixed:
    """Every bad and odd line with a good record before and after it; a byte order mark first, no line feed last."""
    lines: list[bytes] = []
    texts: dict[int, str] = {}
    ids: dict[int, str] = {}
    errors: dict[int, str] = {}

    def good() -> None:
        number = len(lines)
        texts[number], ids[number] = f"document {number}", f"good-{number}"
        lines.append(good_line(number))

    for line, reason in BAD_LINES.values():
        good()
        errors[len(lines)] = reason
        lines.append(line)
    for name, (fields, text) in ODD_LINES.items():
        good()
        number = len(lines)
        texts[number], ids[number] = text, f"odd-{number}"
        lines.append(b'{"id":"odd-%d",' % number + fields + b"}" + (b"\r" if name == "CRLF" else b""))
    good()
    return Mixed(b"\xef\xbb\xbf" + b"\n".join(lines), texts, ids, errors)


# --- compressed streams -----------------------------------------------------------------------------------------------

SUFFIXES = {"plain": "", "gzip": ".gz", "zstd": ".zst"}


def compress(data: bytes, compression: str) -> bytes:
    """The bytes as they are stored: plain, gzip or zstd."""
    if compression == "gzip":
        return gzip.compress(data, 6, mtime=0)
    return pa.compress(data, codec="zstd", asbytes=True) if compression == "zstd" else data


def noise(count: int) -> bytes:
    """Good records that hardly compress, so that a cut in the stored bytes is a cut in the records."""
    lines = []
    for number in range(count):
        words = " ".join(f"{zlib.crc32(b'%d %d' % (number, word)):08x}" for word in range(40))
        lines.append(orjson.dumps({"id": f"good-{number}", "text": f"{number} {words}"}) + b"\n")
    return b"".join(lines)


def truncated(stored: bytes) -> bytes:
    """Two thirds of the stored bytes."""
    return stored[: len(stored) * 2 // 3]


def flipped(stored: bytes) -> bytes:
    """One bit flipped in the middle."""
    changed = bytearray(stored)
    changed[len(stored) // 2] ^= 0x10
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": truncated,
    "flipped": flipped,
    "cut at 3 bytes": lambda stored: stored[:3],
    "last bytes cut": lambda stored: stored[:-3],
    "trailing garbage": lambda stored: stored + b"garbage after the end",
    "trailing zeros": lambda stored: stored + bytes(600),
}


def write_huge_line(path: Path, size: int = 256_000_000) -> None:
    """A gzip of two good records with one line of `size` bytes between them, in about a thousandth of the space."""
    with gzip.open(path, "wb", compresslevel=6) as stream:
        stream.write(good_line(0) + b'\n{"id":"huge","text":"')
        for _ in range(size // 1_000_000):
            stream.write(b"a" * 1_000_000)
        stream.write(b'"}\n' + good_line(2) + b"\n")


# --- CSV --------------------------------------------------------------------------------------------------------------

# One bad record each between good ones of three fields: name -> (bytes with line feed, beginning of the reason).
BAD_CSV: dict[str, tuple[bytes, str]] = {
    "too few fields": (b"1,a\n", "2 fields, the header has 3"),
    "too many fields": (b"1,a,b,c\n", "4 fields, the header has 3"),
    "empty line": (b"\n", "empty line"),
    "CRLF empty line": (b"\r\n", "empty line"),
    "invalid UTF-8": (b"1,caf\xe9,s\n", "not UTF-8: byte 5"),
    "invalid UTF-8 in quotes": (b'1,"a\nb \xe9",s\n', "not UTF-8: byte 7"),
    "text after a quote": (b'1,"a"b,s\n', "not CSV"),
    "quote never closed": (b'1,"open,s\n', "not CSV"),
    "bare CR": (b"1,a\rb,s\n", "not CSV"),
    "no id": (b",text,s\n", "id is null"),
    "too large": (b"1," + b"a" * (MAX_RECORD + 1) + b",s\n", "record too large"),
}


def good_row(number: int) -> bytes:
    """A good CSV record of three fields; every fourth is quoted, with a line feed and quotes inside."""
    if number % 4 == 3:
        return b'c%d,"document ""%d""\nsecond, line",s\n' % (number, number)
    return b"c%d,document %d,s\n" % (number, number)


def good_row_text(number: int) -> str:
    """The text of a good CSV record."""
    return f'document "{number}"\nsecond, line' if number % 4 == 3 else f"document {number}"


def mixed_csv() -> Mixed:
    """A CSV file with four good records before and after each bad one."""
    parts = [b"\xef\xbb\xbfid,text,source\r\n"]
    texts: dict[int, str] = {}
    ids: dict[int, str] = {}
    errors: dict[int, str] = {}
    row = 0
    for bad, reason in [*BAD_CSV.values(), (b"", "")]:
        for number in range(4):
            texts[row], ids[row] = good_row_text(number), f"c{number}"
            parts.append(good_row(number))
            row += 1
        if bad:
            errors[row] = reason
            parts.append(bad)
            row += 1
    return Mixed(b"".join(parts), texts, ids, errors)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def write_parquet(path: Path, rows: int = 3_000, groups: int = 3, **columns: Sequence[object]) -> None:
    """A Parquet file of good records with page checksums, several row groups and the columns id, text, n."""
    words = [f"{zlib.crc32(b'%d' % number):08x} document {number}" for number in range(rows)]
    ids = pa.array([f"p{n}" for n in range(rows)], pa.string())
    table = pa.table({"id": ids, "text": pa.array(words, pa.string()), "n": list(range(rows)), **columns})
    size = max(1, -(-rows // groups))
    pq.write_table(table, path, row_group_size=size, write_page_checksum=True, use_dictionary=False)


def break_column(path: Path, group: int, column: str) -> None:
    """Flip a bit in the pages of one column of one row group."""
    meta = pq.ParquetFile(path).metadata.row_group(group)
    chunk = next(meta.column(n) for n in range(meta.num_columns) if meta.column(n).path_in_schema == column)
    place = chunk.data_page_offset + chunk.total_compressed_size * 3 // 4
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(bytes(data))


# --- everything at once -----------------------------------------------------------------------------------------------


def write_all(folder: Path) -> list[Path]:
    """One file for every fault of a whole file, for tests of what must hold for each of them."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def put(name: str, data: bytes) -> None:
        path = folder / name
        path.write_bytes(data)
        written.append(path)

    records, mixed, table = noise(600), mixed_lines().data, mixed_csv().data
    for compression, suffix in SUFFIXES.items():
        put(f"mixed.jsonl{suffix}", compress(mixed, compression))
        put(f"mixed.csv{suffix}", compress(table, compression))
        put(f"two-members.jsonl{suffix}", compress(good_lines(5), compression) * 2)
        put(f"no-bytes.jsonl{suffix}", b"")
        put(f"nothing.jsonl{suffix}", compress(b"", compression))
        put(f"no-bytes.csv{suffix}", b"")
        for name, damage in DAMAGE.items():
            put(f"{name.replace(' ', '-')}.jsonl{suffix}", damage(compress(records, compression)))
            put(f"{name.replace(' ', '-')}.csv{suffix}", damage(compress(table, compression)))
    put("bom-only.jsonl", b"\xef\xbb\xbf")
    put("line-feeds.jsonl", b"\n" * 120_000)
    put("no-line-feed.jsonl", good_line(0))
    put("cr-only.jsonl", good_lines(5).replace(b"\n", b"\r"))
    put("utf-16.jsonl", good_lines(5).decode().encode("utf-16"))
    put("gzip-without-name.jsonl", compress(records, "gzip"))
    put("zstd-as-gzip.jsonl.gz", compress(records, "zstd"))
    put("plain-as-gzip.jsonl.gz", records)
    put("header-only.csv", b"id,text\n")
    put("bad-header.csv", b'id,"text\n1,a\n')
    put("open-quote.csv", b'id,text\n1,a\n2,"open\nnever closed, really\nno\n')
    whole = folder / "whole.parquet"
    write_parquet(whole)
    data = whole.read_bytes()
    written.append(whole)
    put("no-bytes.parquet", b"")
    put("truncated.parquet", truncated(data))
    put("flipped.parquet", flipped(data))
    put("footer-flipped.parquet", data[:-30] + bytes([data[-30] ^ 0xFF]) + data[-29:])
    put("words.parquet", b"this is no Parquet file")
    put("magic-only.parquet", b"PAR1")
    put("parquet-as.jsonl", data)
    for column in ("text", "id", "n"):
        path = folder / f"broken-{column}.parquet"
        write_parquet(path)
        break_column(path, 1, column)
        written.append(path)
    for name, rows in (("no-rows", 0), ("one-row", 1)):
        path = folder / f"{name}.parquet"
        write_parquet(path, rows, 1)
        written.append(path)
    return written
