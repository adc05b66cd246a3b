"""Turns written in another schema than the one they came in.

Messages keep what they hold beside role and content (calls, names, images) where the other schema has messages too. A
schema of plain texts has no place for calls and parts that are no text, so such a record is refused; names and ids of
messages are left out there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate import messages, transcripts
from curate.messages import Message
from curate.turns import ASSISTANT, CHOSEN, INPUT, SCHEMAS, USER, FormError, Turn, present

if TYPE_CHECKING:
    from curate.conversations import Form

Columns = dict[str, Any]


def convert(turns: Sequence[Turn], schema: str, record: Mapping[str, Any], form: Form) -> Columns:
    """The columns of a record in another schema; `FormError` when that schema cannot hold these turns.

    `turns` are the record's own, in their order, with the contents that are to be written; `form` is what it came in.
    """
    if schema not in SCHEMAS:
        raise FormError(f"wanted a schema of {', '.join(SCHEMAS)}, got {schema!r}")
    known = SCHEMAS[schema]
    if known.kind != form.kind:
        raise FormError(f"schema {schema} holds records of kind {known.kind}, got one of kind {form.kind}")
    return _WRITERS[schema](turns, form.messages(record, [turn.content for turn in turns]))


def _messages(_: Sequence[Turn], held: list[list[Message]]) -> Columns:
    return {"messages": [message for some in held for message in some]}


def _sharegpt(_: Sequence[Turn], held: list[list[Message]]) -> Columns:
    return {"conversations": [messages.sharegpt(message) for some in held for message in some]}


def _prompt_completion(turns: Sequence[Turn], held: list[list[Message]]) -> Columns:
    every = [message for some in held for message in some]
    _need_answer(turns, "prompt_completion")
    return {"prompt": every[:-1], "completion": every[-1:]}


def _alpaca(turns: Sequence[Turn], held: list[list[Message]]) -> Columns:
    _need_plain(held, "alpaca")
    _need_answer(turns, "alpaca")
    roles = [turn.role for turn in turns[:-1]]
    if roles not in ([USER], [USER, USER], [USER, INPUT]):
        raise FormError(f"schema alpaca holds one or two turns of user and an answer, got {', '.join(roles)} before it")
    given = turns[1].content if len(roles) == 2 else ""
    if len(roles) == 2 and not given:
        raise FormError("schema alpaca holds no second turn of user that is empty, got one")
    return {"instruction": turns[0].content, "input": given, "output": turns[-1].content}


def _explicit(_: Sequence[Turn], held: list[list[Message]]) -> Columns:
    prompt, chosen, rejected = _pair(held, "explicit")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _implicit(_: Sequence[Turn], held: list[list[Message]]) -> Columns:
    prompt, chosen, rejected = _pair(held, "implicit")
    return {"chosen": prompt + chosen, "rejected": prompt + rejected}


def _hh(turns: Sequence[Turn], held: list[list[Message]]) -> Columns:
    _pair(held, "hh")
    _need_plain(held, "hh")
    said = [(turn.role, turn.content) for turn in turns]
    start, end = len(held[0]), len(held[0]) + len(held[1])
    return {
        "chosen": transcripts.write(said[:end], CHOSEN),
        "rejected": transcripts.write(said[:start] + said[end:], "rejected"),
    }


def _unpaired(turns: Sequence[Turn], held: list[list[Message]]) -> Columns:
    if len(held) != 2:
        raise FormError("schema unpaired holds one response with a label, got a pair")
    return {"prompt": held[0], "completion": held[1], "label": turns[-1].side == CHOSEN}


def _pair(held: list[list[Message]], schema: str) -> list[list[Message]]:
    if len(held) != 3:
        raise FormError(f"schema {schema} holds a pair, got one response with a label")
    return held


def _need_answer(turns: Sequence[Turn], schema: str) -> None:
    if turns[-1].role != ASSISTANT:
        raise FormError(
            f"schema {schema} holds conversations that end with the assistant, got one that ends with {turns[-1].role}"
        )


def _need_plain(held: list[list[Message]], schema: str) -> None:
    """Refuse messages that say more than text can hold."""
    for message in (message for some in held for message in some):
        if any(present(message, call) for call in messages.CALLS):
            raise FormError(f"schema {schema} holds plain text, got a message with a call")
        content = message["content"]
        if isinstance(content, list) and any(part.get("type") != "text" for part in content):
            raise FormError(f"schema {schema} holds plain text, got a message with a part that is no text")


_WRITERS: dict[str, Callable[[Sequence[Turn], list[list[Message]]], Columns]] = {
    "messages": _messages,
    "sharegpt": _sharegpt,
    "prompt_completion": _prompt_completion,
    "alpaca": _alpaca,
    "explicit": _explicit,
    "implicit": _implicit,
    "hh": _hh,
    "unpaired": _unpaired,
}
