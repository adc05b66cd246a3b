"""The turns of a record, the schemas that hold them, the roles, and the error of a record that fits none.

A record of kind `chat` is one conversation; one of kind `preference` is a prompt with a better and a worse response.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

PROMPT, RESPONSE, CHOSEN, REJECTED = "prompt", "response", "chosen", "rejected"
USER, ASSISTANT, SYSTEM, TOOL = "user", "assistant", "system", "tool"
INPUT = "input"  # what an instruction of Alpaca is about; in messages it ends the user's own

Said = tuple[str, str]  # role and content, before the side is known
Side = tuple[str, list[Said]]  # a side of a record and what is said on it, in order


class Turn(NamedTuple):
    """One turn: the side of the record that it is on, who speaks, and what is said."""

    side: str
    role: str
    content: str


class FormError(ValueError):
    """A record or a choice of columns does not fit its schema; one sentence, and never a word of the content."""


class Schema(NamedTuple):
    """A way in which records hold turns: the kind, its columns, and one sentence about it."""

    kind: str
    columns: tuple[str, ...]
    about: str
    optional: tuple[str, ...] = ()


SCHEMAS: dict[str, Schema] = {
    "explicit": Schema(
        "preference", ("prompt", "chosen", "rejected"), "A prompt and two responses, each a text or a list of messages."
    ),
    "hh": Schema(
        "preference", ("chosen", "rejected"), "Two transcripts with the markers Human: and Assistant:, as in HH-RLHF."
    ),
    "implicit": Schema(
        "preference",
        ("chosen", "rejected"),
        "Two conversations, each a text or a list of messages; both hold the prompt.",
    ),
    "unpaired": Schema(
        "preference", ("prompt", "completion", "label"), "A prompt and one response that the label calls good or bad."
    ),
    "messages": Schema(
        "chat", ("messages",), "A list of messages with role and content, as OpenAI and TRL write them."
    ),
    "sharegpt": Schema("chat", ("conversations",), "A list of messages with from and value, as ShareGPT wrote them."),
    "prompt_completion": Schema(
        "chat", ("prompt", "completion"), "A prompt and its completion, each a text or a list of messages."
    ),
    "alpaca": Schema(
        "chat", ("instruction", "output"), "An instruction, an input that may be empty, and an output.", ("input",)
    ),
}

# The words of known data sets for the four roles; any other word is kept, in lower case.
ROLES: dict[str, str] = {
    **dict.fromkeys(("user", "human", "prompter"), USER),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt", "function_call", "tool_call"), ASSISTANT),
    **dict.fromkeys(("system", "developer"), SYSTEM),
    **dict.fromkeys(("tool", "function", "observation"), TOOL),
}


def role_of(word: str) -> str:
    """The role that a source's word stands for: one of the four, or the word itself in lower case."""
    role = ROLES.get(word)
    if role is None:
        lower = word.lower()
        role = ROLES.get(lower, lower)
    return role


def came(value: Any) -> str:
    """What came in place of what was wanted, by its type alone."""
    if value is None:
        return "null"
    return "an empty list" if value == [] else type(value).__name__


def text_of(value: Any, where: str) -> str:
    """The value, which must be text."""
    if not isinstance(value, str):
        raise FormError(f"{where}: wanted a text, got {came(value)}")
    return value


def check_count(contents: Sequence[str], wanted: int) -> None:
    """Refuse contents that are not one for each turn."""
    if len(contents) != wanted:
        raise FormError(f"wanted one content for each of {wanted} turns, got {len(contents)}")


def present(message: Mapping[str, Any], key: str) -> bool:
    """Whether the key is there with a value; Parquet writes null for the keys that a message lacks."""
    return message.get(key) not in (None, [], {})


# What a step's `on` means: the parts of a record that it judges, each as a document; none when that is the whole.
On = Literal["whole", "prompt", "first_turn", "last_turn", "each_turn", "assistant", "chosen", "rejected", "both"]
PARTS: Mapping[str, tuple[str, ...]] = {
    "whole": (),
    "prompt": ("prompt",),
    "first_turn": ("first_turn",),
    "last_turn": ("last_turn",),
    "each_turn": ("each_turn",),
    "assistant": ("assistant",),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "both": ("chosen", "rejected"),
}
LISTS = ("each_turn", "assistant")  # as many slices as a record has such turns; its scores are lists
PAIRS = ("chosen", "rejected", "both")  # only preference records have them
