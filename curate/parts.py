"""One column of a record that holds turns: how it is read, written again with new contents, and taken as messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from curate import messages, transcripts
from curate.messages import OPENAI, SHAREGPT, Keys, Message
from curate.turns import ASSISTANT, INPUT, SYSTEM, USER, FormError, Said, came, check_count, text_of

Style = Literal["text", "openai", "sharegpt", "transcript", "spoken"]


class Part(NamedTuple):
    """A column of a schema: its name, how it holds turns, and whose turn it is when it is a plain text.

    A `spoken` part is a text, a transcript, a list of messages or the JSON text of such a list.
    """

    name: str
    style: Style
    role: str = ASSISTANT
    optional: bool = False  # missing, null and empty are no turn


_OF_MESSAGES = ("spoken", "openai", "sharegpt")

# Schema -> the columns of the prompt, and the columns of the sides, which may hold the prompt as well.
PARTS: dict[str, tuple[tuple[Part, ...], tuple[Part, ...]]] = {
    "explicit": ((Part("prompt", "spoken", USER),), (Part("chosen", "spoken"), Part("rejected", "spoken"))),
    "hh": ((), (Part("chosen", "transcript"), Part("rejected", "transcript"))),
    "implicit": ((), (Part("chosen", "spoken"), Part("rejected", "spoken"))),
    "unpaired": ((Part("prompt", "spoken", USER),), (Part("completion", "spoken"),)),
    "messages": ((), (Part("messages", "openai"),)),
    "sharegpt": ((), (Part("conversations", "sharegpt"),)),
    "prompt_completion": ((Part("prompt", "spoken", USER),), (Part("completion", "spoken"),)),
    "alpaca": (
        (Part("instruction", "text", USER), Part("input", "text", INPUT, optional=True)),
        (Part("output", "text"),),
    ),
}


def read(part: Part, value: Any) -> list[Said]:
    """Role and content of each turn that the column holds."""
    style = part.style
    if type(value) is list and style in _OF_MESSAGES:
        return messages.read(value, _keys(part, value), part.name)
    if style == "spoken":
        return _read_spoken(part, value)
    if style == "transcript":
        said = transcripts.read(text_of(value, part.name))
        if said and said[-1][0] == SYSTEM:
            raise FormError(
                f"{part.name}: wanted a transcript with the markers Human: and Assistant:, got none of them"
            )
        return said
    if style == "text":
        if part.optional and value in (None, ""):
            return []
        return [(part.role, text_of(value, part.name))]
    return messages.read(messages.as_list(value, part.name), _keys(part), part.name)


def put(part: Part, value: Any, contents: Sequence[str]) -> Any:
    """The column's value with new contents; the same value when they are the old ones."""
    said = read(part, value)
    check_count(contents, len(said))
    if all(new == old for new, (_, old) in zip(contents, said, strict=True)):
        return value
    if part.style == "text":
        return contents[0]
    if isinstance(value, str) and (
        part.style == "transcript" or (part.style == "spoken" and transcripts.is_transcript(value))
    ):
        return transcripts.put(value, contents, is_prompt=part.role == USER, where=part.name)
    found = _listed(value)
    if found is None:
        return _plain_text(part, contents[0])
    made = messages.put(found, contents, _keys(part, found), part.name)
    return messages.dumped(made, part.name) if isinstance(value, str) else made


def as_messages(part: Part, value: Any, contents: Sequence[str]) -> list[Message]:
    """The column's turns as messages with role and content, and with all else that its own messages hold."""
    said = read(part, value)
    check_count(contents, len(said))
    found = _listed(value) if said and part.style in _OF_MESSAGES else None
    if found is None:
        return [{"role": role, "content": new} for (role, _), new in zip(said, contents, strict=True)]
    keys = _keys(part, found)
    return [messages.plain(message, keys) for message in messages.put(found, contents, keys, part.name)]


def _read_spoken(part: Part, value: Any) -> list[Said]:
    if isinstance(value, str):
        if transcripts.is_transcript(value):
            return transcripts.read(value, is_prompt=part.role == USER)
        found = messages.loaded(value)
        if found is None:
            return [] if _is_no_prompt(part, value) else [(part.role, value)]
        value = found
    if not isinstance(value, list):
        raise FormError(f"{part.name}: wanted a text or a list of messages, got {came(value)}")
    return messages.read(value, messages.keys_of(value) or OPENAI, part.name)


def _is_no_prompt(part: Part, value: str) -> bool:
    """Whether a prompt is the JSON text of an empty list; as an answer that would be a text like any other."""
    return part.role == USER and value == "[]"


def _listed(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else messages.loaded(value)


def _keys(part: Part, found: Sequence[Any] = ()) -> Keys:
    if part.style == "sharegpt":
        return SHAREGPT
    return (messages.keys_of(found) if part.style == "spoken" else None) or OPENAI


def _plain_text(part: Part, new: str) -> str:
    """A content for a column of plain text, which must not read as anything else."""
    if read(part, new) != [(part.role, new)]:
        raise FormError(f"{part.name}: wanted a content that reads as plain text, got one that reads as a conversation")
    return new
