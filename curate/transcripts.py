"""Conversations written as one text with markers, as in HH-RLHF: "\\n\\nHuman: ...\\n\\nAssistant: ...".

A turn's content is what follows the marker, without one space before it and without white space after it. Markers and
that white space are the template: they stay as they are when contents are replaced. Text before the first marker is a
turn of the role `system`, without the white space around it; white space alone is no turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from curate.turns import ASSISTANT, SYSTEM, USER, FormError, Said, check_count

HUMAN, ASSISTED = "\n\nHuman:", "\n\nAssistant:"
MARKERS = (HUMAN, ASSISTED)
_MARKER = {USER: HUMAN, ASSISTANT: ASSISTED}
_BARE = ("Human:", "Assistant:")


def is_transcript(text: str) -> bool:
    """Whether the text begins with a marker."""
    return text.startswith(MARKERS)


def read(text: str, *, is_prompt: bool = False) -> list[Said]:
    """The turns of a transcript; an empty assistant turn that ends a prompt is template, no turn."""
    said: list[Said] = []
    for number, part in enumerate(_opened(text).split(HUMAN)):
        answers = part.split(ASSISTED)
        first = answers[0]
        if number:
            said.append((USER, _content(first)))
        elif content := first.strip():
            said.append((SYSTEM, content))
        for answer in answers[1:]:
            said.append((ASSISTANT, _content(answer)))
    if is_prompt and said and said[-1] == (ASSISTANT, ""):
        said.pop()
    return said


def put(text: str, contents: Sequence[str], *, is_prompt: bool = False, where: str = "transcript") -> str:
    """The transcript with new contents in its template."""
    check_count(contents, len(read(text, is_prompt=is_prompt)))
    opened = _opened(text)
    rest = iter(contents)
    made: list[str] = []
    for role, raw in _pieces(opened):
        old = raw.strip() if role == SYSTEM else _content(raw)
        if role == SYSTEM and not old:
            made.append(raw)
            continue
        start = raw.index(old) if role == SYSTEM else len(raw) - len(raw.removeprefix(" "))
        new = next(rest, old)  # the empty turn that ends a prompt has no content of its own
        made += (_MARKER.get(role, ""), raw[:start], without_marker(new, where), raw[start + len(old) :])
    return "".join(made)[len(opened) - len(text) :]


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
    if HUMAN in content or ASSISTED in content:
        raise FormError(f"{where}: wanted a content without the marker of a turn, got one that holds a marker")
    return content


def _pieces(text: str) -> list[Said]:
    """The role of each turn and all that stands between its marker and the next."""
    pieces: list[Said] = []
    for number, part in enumerate(text.split(HUMAN)):
        first, *answers = part.split(ASSISTED)
        pieces.append((USER if number else SYSTEM, first))
        pieces += [(ASSISTANT, answer) for answer in answers]
    return pieces


def _content(raw: str) -> str:
    return raw[1:].rstrip() if raw[:1] == " " else raw.rstrip()


def _opened(text: str) -> str:
    """The text with the empty line before its first marker, which some transcripts leave out."""
    return f"\n\n{text}" if text.startswith(_BARE) else text
