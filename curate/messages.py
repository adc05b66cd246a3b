"""Conversations as lists of messages, in the words of OpenAI (role, content) or of ShareGPT (from, value).

A list may also come as its JSON text. Values are what orjson or polars gives; a key that is null counts as missing.
What a message holds beside role and content (tool calls, names, ids, images) is carried along untouched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from curate.turns import ASSISTANT, ROLES, SYSTEM, TOOL, USER, FormError, Said, came, check_count, present, role_of

Message = dict[str, Any]


class Keys(NamedTuple):
    """The keys that hold the role and the content of a message."""

    role: str
    content: str


OPENAI = Keys("role", "content")
SHAREGPT = Keys("from", "value")
CALLS = ("tool_calls", "function_call")  # with one of them a message may have no content
_SHAREGPT_ROLES = {USER: "human", ASSISTANT: "gpt", SYSTEM: "system", TOOL: "tool"}


def loaded(text: str) -> list[Any] | None:
    """The list that a JSON text holds when its first item is an object with a role; None for any other text."""
    if text[:1] != "[" and text.lstrip()[:1] != "[":
        return None
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    return value if value and isinstance(value, list) and keys_of(value) is not None else None


def keys_of(messages: Sequence[Any]) -> Keys | None:
    """The keys that the first message uses; None when it is no message."""
    first = messages[0] if messages else None
    if type(first) is not dict and not isinstance(first, Mapping):  # the first is told apart in a tenth of the time
        return None
    for keys in (OPENAI, SHAREGPT):
        if first.get(keys.role) is not None:
            return keys
    return None


def as_list(value: Any, where: str) -> list[Any]:
    """The list of messages that the value is, or that its JSON text holds."""
    if isinstance(value, list):
        return value
    found = loaded(value) if isinstance(value, str) else None
    if found is None:
        other = "another text" if isinstance(value, str) else came(value)
        raise FormError(f"{where}: wanted a list of messages or its JSON text, got {other}")
    return found


def read(messages: Sequence[Any], keys: Keys, where: str) -> list[Said]:
    """Role and content of each message."""
    role, content = keys
    try:  # most are like this: known roles and plain texts
        said = [(ROLES[message[role]], message[content]) for message in messages]
    except (KeyError, TypeError, IndexError):
        return _read_each(messages, keys, where)
    for one in said:
        if type(one[1]) is not str:
            return _read_each(messages, keys, where)
    return said


def _read_each(messages: Sequence[Any], keys: Keys, where: str) -> list[Said]:
    """The same, looked at one by one."""
    said: list[Said] = []
    for number, message in enumerate(messages):
        try:
            word, content = message.get(keys.role), message.get(keys.content)
        except AttributeError:
            raise FormError(f"{where}[{number}]: wanted a message, got {came(message)}") from None
        if not isinstance(word, str) or not word:
            raise FormError(
                f"{where}[{number}]: wanted a {keys.role}, got {'an empty text' if word == '' else came(word)}"
            )
        if not isinstance(content, str):
            content = _content(message, keys, f"{where}[{number}]")
        said.append((ROLES.get(word) or role_of(word), content))
    return said


def put(messages: Sequence[Any], contents: Sequence[str], keys: Keys, where: str) -> list[Any]:
    """The messages with new contents; a message whose content stays is the same object."""
    check_count(contents, len(messages))
    made: list[Any] = []
    for message, (_, old), new in zip(messages, read(messages, keys, where), contents, strict=True):
        made.append(message if new == old else {**message, keys.content: _new_content(message.get(keys.content), new)})
    return made


def plain(message: Mapping[str, Any], keys: Keys) -> Message:
    """The message in the words of OpenAI, with the known role, without the keys that are null."""
    rest = {name: value for name, value in message.items() if name not in keys and value is not None}
    return {"role": role_of(message[keys.role]), "content": message.get(keys.content), **rest}


def sharegpt(message: Message) -> Message:
    """A message in the words of ShareGPT, from one in the words of OpenAI."""
    rest = {name: value for name, value in message.items() if name not in OPENAI}
    return {"from": _SHAREGPT_ROLES.get(message["role"], message["role"]), "value": message["content"], **rest}


def dumped(messages: Sequence[Any], where: str) -> str:
    """The messages as JSON text."""
    try:
        return orjson.dumps(messages).decode()
    except TypeError as error:
        raise FormError(f"{where}: wanted messages that JSON can hold ({error})") from None


def _content(message: Mapping[str, Any], keys: Keys, where: str) -> str:
    """The content of a message that is no plain text: a list of parts, or nothing beside a call."""
    content = message.get(keys.content)
    if content is None:
        if any(present(message, call) for call in CALLS):
            return ""
        raise FormError(f"{where}: wanted a {keys.content} or tool_calls, got neither")
    if not isinstance(content, list):
        raise FormError(f"{where}: wanted a {keys.content} of text or of parts, got {came(content)}")
    found = _text_parts(content, where)
    if len(found) > 1:
        raise FormError(f"{where}: wanted at most one part of text, got {len(found)}")
    return str(content[found[0]]["text"]) if found else ""


def _text_parts(parts: Sequence[Any], where: str) -> list[int]:
    """The places of the parts that are text."""
    found: list[int] = []
    for number, part in enumerate(parts):
        if not isinstance(part, Mapping):
            raise FormError(f"{where}: wanted a part with a type, got {came(part)}")
        if part.get("type") != "text":
            continue
        if not isinstance(part.get("text"), str):
            raise FormError(f"{where}: wanted a text in part {number}, got {came(part.get('text'))}")
        found.append(number)
    return found


def _new_content(old: Any, new: str) -> Any:
    """A content that says `new`; parts that are no text stay."""
    if not isinstance(old, list):
        return new
    found = _text_parts(old, "content")
    if not found:
        return [*old, {"type": "text", "text": new}]
    return [{**part, "text": new} if number in found else part for number, part in enumerate(old)]
