"""OpenAssistant trees as records: every way from a first message to a last one, and every pair of ranked answers.

Messages come flat, one a row with `message_id` and `parent_id`, or nested, one tree a row with `prompt` and `replies`.
Both give the same records in the same order: trees as they come, replies of a message as they come. A message with an
unknown parent, in a cycle, or of wrong types is an error; with a list `left_out` it is told there, and it and what is
below it are in no record. So is the second message of the same id; the replies to that id belong to the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from curate.turns import ASSISTANT, FormError, came, role_of

Row = Mapping[str, Any]
Record = dict[str, Any]
LeftOut = list[tuple[str, str]]  # the place of a message, and why it is in no record

_OWN = ("message_id", "text", "role", "replies")
_OF_THE_PAIR = ("message_tree_id", "parent_id", "lang")


@dataclass(frozen=True)
class _Node:
    """A message of a tree: where it stands, its row, its parent's id, and the message that records hold."""

    place: str
    row: Row
    parent: str | None
    message: Record


def is_oasst(names: Collection[str], examples: Sequence[Row] = ()) -> bool:
    """Whether rows with these columns are messages or trees of OpenAssistant."""
    if {"message_id", "parent_id", "text", "role"} <= {*names}:
        return True
    first = examples[0].get("prompt") if examples else None
    return "prompt" in names and isinstance(first, Mapping) and "message_id" in first


def threads(rows: Iterable[Row], left_out: LeftOut | None = None) -> list[Record]:
    """A record of schema `messages` for each message without replies: the way to it, its id and its other columns."""
    made: list[Record] = []
    for way, replies in _walk(rows, left_out):
        if not replies:
            last = way[-1].row
            rest = {name: value for name, value in last.items() if name not in _OWN}
            made.append({**rest, "id": last["message_id"], "messages": [node.message for node in way]})
    return made


def pairs(rows: Iterable[Row], left_out: LeftOut | None = None) -> list[Record]:
    """A record of schema `explicit` for each two answers to one message that have different ranks; 0 is the best.

    Pairs go by the better rank, then by the worse. The id is those of the two answers, with a colon between.
    """
    made: list[Record] = []
    for way, replies in _walk(rows, left_out):
        ranked = [node for node in replies if node.message["role"] == ASSISTANT and _has_rank(node)]
        ranked.sort(key=_rank)
        for better, worse in combinations(ranked, 2):
            if _rank(better) < _rank(worse):
                made.append(
                    {name: better.row[name] for name in _OF_THE_PAIR if name in better.row}
                    | {"id": f"{better.row['message_id']}:{worse.row['message_id']}"}
                    | {"prompt": [node.message for node in way]}
                    | {"chosen": [better.message], "rejected": [worse.message]}
                    | {"chosen_rank": better.row["rank"], "rejected_rank": worse.row["rank"]}
                )
    return made


def _walk(rows: Iterable[Row], left_out: LeftOut | None) -> Iterator[tuple[list[_Node], list[_Node]]]:
    """Each message in the order of its tree: the way to it from the first one, and its replies."""
    known, replies, roots = _forest(rows, left_out)
    _check_reach(known, replies, roots, left_out)
    for root in roots:
        way: list[_Node] = []
        open_: list[tuple[int, _Node]] = [(0, root)]
        while open_:
            depth, node = open_.pop()
            del way[depth:]
            way.append(node)
            after = replies.get(node.row["message_id"], [])
            yield way, after
            open_ += [(depth + 1, reply) for reply in reversed(after)]


def _forest(
    rows: Iterable[Row], left_out: LeftOut | None
) -> tuple[dict[str, _Node], dict[str, list[_Node]], list[_Node]]:
    """All messages by id, the replies of each, and the first messages."""
    known: dict[str, _Node] = {}
    replies: dict[str, list[_Node]] = {}
    roots: list[_Node] = []
    for place, row, parent in _flat(rows, left_out):
        try:
            node = _node(place, row, parent)
        except FormError as error:
            _leave_out(left_out, place, str(error))
            continue
        name = row["message_id"]
        if name in known:
            _leave_out(left_out, place, f"wanted a message_id of its own, got that of {known[name].place}")
            continue
        known[name] = node
        if parent is None:
            roots.append(node)
        else:
            replies.setdefault(parent, []).append(node)
    return known, replies, roots


def _check_reach(
    known: Mapping[str, _Node], replies: Mapping[str, list[_Node]], roots: list[_Node], left_out: LeftOut | None
) -> None:
    """Refuse the messages that no way leads to from a first one."""
    reached = _below(roots, replies)
    orphans = [node for node in known.values() if node.parent is not None and node.parent not in known]
    for node in orphans:
        _leave_out(left_out, node.place, "wanted the parent_id of another message, got one that no message has")
    under = _below(orphans, replies) - {node.row["message_id"] for node in orphans}
    for name, node in known.items():
        if name in under:
            _leave_out(left_out, node.place, "wanted a way to a first message, got one that ends at a missing parent")
    outside = known.keys() - reached - under - {node.row["message_id"] for node in orphans}
    for name, node in known.items():
        if name in outside:
            _leave_out(left_out, node.place, "wanted a way to a first message, got a cycle of parent_id")


def _below(starts: Iterable[_Node], replies: Mapping[str, list[_Node]]) -> set[str]:
    """The ids of these messages and of all that are below them."""
    found: set[str] = set()
    open_ = list(starts)
    while open_:
        name = open_.pop().row["message_id"]
        if name not in found:
            found.add(name)
            open_ += replies.get(name, [])
    return found


def _flat(rows: Iterable[Row], left_out: LeftOut | None) -> Iterator[tuple[str, Row, str | None]]:
    """Place, row and parent of each message, nested trees with the tree's id in every message."""
    for number, row in enumerate(rows):
        first = row.get("prompt")
        if first is None:
            yield f"row {number}", row, row.get("parent_id")
            continue
        tree = {name: row[name] for name in ("message_tree_id",) if name in row}
        open_: list[tuple[str, Any, str | None]] = [(f"row {number}, prompt", first, None)]
        while open_:
            place, message, parent = open_.pop()
            if not isinstance(message, Mapping):
                _leave_out(left_out, place, f"wanted a message, got {came(message)}")
                continue
            given = message.get("parent_id")
            if given not in (None, parent):
                _leave_out(left_out, place, "wanted the parent_id of the message above, got another")
                continue
            yield place, {**tree, **message, "parent_id": parent}, parent
            after = [] if message.get("replies") is None else message["replies"]
            if not isinstance(after, list):
                _leave_out(left_out, f"{place}.replies", f"wanted a list of messages, got {came(after)}")
                continue
            name = message.get("message_id")
            open_ += [(f"{place}.replies[{i}]", after[i], name) for i in reversed(range(len(after)))]


def _node(place: str, row: Row, parent: str | None) -> _Node:
    for column in ("message_id", "role", "text"):
        value = row.get(column)
        if not isinstance(value, str) or (value == "" and column != "text"):
            raise FormError(f"wanted a text in {column}, got {came(value) if value != '' else 'an empty text'}")
    if not isinstance(parent, str | None):
        raise FormError(f"wanted a text or null in parent_id, got {came(parent)}")
    rank = row.get("rank")
    if isinstance(rank, bool) or not isinstance(rank, int | float | None):
        raise FormError(f"wanted a number or null in rank, got {came(rank)}")
    message = {"role": role_of(row["role"]), "content": row["text"], "message_id": row["message_id"]}
    return _Node(place, row, parent, message)


def _has_rank(node: _Node) -> bool:
    rank = node.row.get("rank")
    return rank is not None and rank == rank  # a table of floats has NaN for null


def _rank(node: _Node) -> float:
    rank: float = node.row["rank"]
    return rank


def _leave_out(left_out: LeftOut | None, place: str, why: str) -> None:
    if left_out is None:
        raise FormError(f"{place}: {why}")
    left_out.append((place, why))
