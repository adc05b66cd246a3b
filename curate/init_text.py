"""The text of a proposed pipeline: scalars that read back, comments that wrap, lists that end."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from curate.look import shown

WIDTH = 100  # of comments
MAX_LISTED = 12  # columns or languages in one list
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*|\.{0,2}/[A-Za-z0-9_./-]*")
NOT_PLAIN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def scalar(text: str) -> str:
    """A text as a YAML scalar that reads back as this text: plain where that is certain, else in double quotes."""
    if PLAIN.fullmatch(text) and text.lower() not in NOT_PLAIN:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(char) for char in quoted)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04X}" if ord(char) < 0x10000 else f"\\U{ord(char):08X}"


def comment(text: str, indent: int = 0) -> Iterator[str]:
    """Text as wrapped comment lines."""
    lead = " " * indent + "# "
    yield from wrapped(text, WIDTH, lead, lead)


def wrapped(text: str, width: int, first: str, other: str) -> Iterator[str]:
    """Lines of at most `width` characters; a number is never parted from its percent sign."""
    joined = re.sub(r"(?<=\d) %", "\u00a0%", text)
    for line in textwrap.wrap(
        joined, width, initial_indent=first, subsequent_indent=other, break_long_words=False, break_on_hyphens=False
    ):
        yield line.replace("\u00a0%", " %")


def listed(names: Sequence[str], most: int = MAX_LISTED) -> str:
    """Names with commas between, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def step_lines(lines: Sequence[str], step: str, clashes: Mapping[str, str]) -> Iterator[str]:
    """A step's lines, as comments where a score of it has the name of an input column."""
    lead = "  "
    if step in clashes:
        yield from comment(
            f"Left out: the data have a column {shown(clashes[step])}, and this step makes a score of that name. To "
            "use it, give the column another name.",
            2,
        )
        lead = "  # "
    yield f"{lead}- {lines[0]}"
    for line in lines[1:]:
        yield f"{lead}  {line}"
