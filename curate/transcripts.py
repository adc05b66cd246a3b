"""Conversations written as one text with markers, as in HH-RLHF: "\\n\\nHuman: ...\\n\\nAssistant: ...".

A turn's content is what follows the marker, without one space before it and without white space after it. Markers and
that white space are the template: they stay as they are when contents are replaced. Text before the first marker is a
turn of the role `system`, without the white space around it; white space alone is no turn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from curate.turns import ASSISTANT, SYSTEM, USER, FormError, Said, check_count

MARKERS = ("\n\nHuman:", "\n\nAssistant:")
_MARKER = dict(zip((USER, ASSISTANT), MARKERS, strict=True))
_ROLE = {f"{marker}{space}": role for role, marker in _MARKER.items() for space in ("", " ")}
_CUT = re.compile(f"((?:{'|'.join(MARKERS)}) ?)")  # faster than two levels of str.split, and keeps the marker
_BARE = ("Human:", "Assistant:")


def is_transcript(text: str) -> bool:
    """Whether the text begins with a marker."""
    return text.startswith(MARKERS)


def read(text: str, *, is_prompt: bool = False) -> list[Said]:
    """The turns of a transcript; an empty assistant turn that ends a prompt is template, no turn."""
    pieces = _CUT.split(_opened(text))
    before = pieces[0].strip()
    said = [(SYSTEM, before)] if before else []
    said += [(_ROLE[pieces[i]], pieces[i + 1].rstrip()) for i in range(1, len(pieces), 2)]
    if is_prompt and said and said[-1] == (ASSISTANT, ""):
        said.pop()
    return said


def put(text: str, contents: Sequence[str], *, is_prompt: bool = False, where: str = "transcript") -> str:
    """The transcript with new contents in its template."""
    check_count(contents, len(read(text, is_prompt=is_prompt)))
    opened = _opened(text)
    pieces = _CUT.split(opened)
    rest = iter(contents)
    for number in range(0, len(pieces), 2):
        raw = pieces[number]
        old = raw.rstrip() if number else raw.strip()
        if number == 0 and not old:
            continue
        start = raw.index(old)
        new = without_marker(next(rest, old), where)  # the empty turn that ends a prompt has no content of its own
        pieces[number] = f"{raw[:start]}{new}{raw[start + len(old) :]}"
    return "".join(pieces)[len(opened) - len(text) :]


def write(said: Sequence[Said], where: str) -> str:
    """A transcript of these turns: the user's and the assistant's, after a system turn that may come first."""
    made: list[str] = []
    for number, (role, content) in enumerate(said):
        marker = _MARKER.get(role)
        if marker is not None:
            made.append(f"{marker} {without_marker(content, where)}")
        elif role == SYSTEM and number == 0 and content.strip() and not content.startswith(_BARE):
            made.append(without_marker(content, where))
        else:
            raise FormError(
                f"{where}: a transcript holds turns of user and assistant, not turn {number + 1}, of {role}"
            )
    return "".join(made)


def without_marker(content: str, where: str) -> str:
    """The content, which must not hold a marker: it would be read as a turn of its own."""
    if any(marker in content for marker in MARKERS):
        raise FormError(f"{where}: wanted a content without the marker of a turn, got one that holds a marker")
    return content


def _opened(text: str) -> str:
    """The text with the empty line before its first marker, which some transcripts leave out."""
    return f"\n\n{text}" if text.startswith(_BARE) else text
