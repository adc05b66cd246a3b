"""OpenAssistant trees, flat or nested, become threads and pairs; the trees can be built again from the threads."""

import gzip
import os
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.conversations import FormError, detect, form_of
from curate.oasst import LeftOut, is_oasst, pairs, threads

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
OASST = SHARED / "alignment" / "oasst1_en_validation.jsonl.gz"

Row = dict[str, Any]


def row(name: str, parent: str | None, role: str = "assistant", rank: Any = None, **columns: Any) -> Row:
    return {"message_id": name, "parent_id": parent, "role": role, "text": f"text {name}", "rank": rank, **columns}


TREE = [
    row("q", None, "prompter", message_tree_id="q", lang="en"),
    row("a", "q", rank=1, message_tree_id="q", lang="en"),
    row("b", "q", rank=0, message_tree_id="q", lang="en"),
    row("c", "q", rank=2, message_tree_id="q", lang="en"),
    row("r", "b", "prompter", message_tree_id="q", lang="en"),
]


@st.composite
def forests(draw: st.DrawFn) -> list[Row]:
    """Some trees of up to 25 messages, parents before their replies."""
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 25))):
        above = draw(st.none() | st.sampled_from(rows)) if rows else None
        role = "prompter" if above is None or above["role"] == "assistant" else "assistant"
        rank = draw(st.none() | st.integers(0, 3))
        rows.append(row(str(number), None if above is None else above["message_id"], role, rank))
    return rows


def nested(rows: list[Row]) -> list[Row]:
    """The same messages, one tree a row."""
    copies = {one["message_id"]: {**one, "replies": []} for one in rows}
    for one in rows:
        if one["parent_id"] is not None:
            copies[one["parent_id"]]["replies"].append(copies[one["message_id"]])
    return [{"prompt": copies[one["message_id"]]} for one in rows if one["parent_id"] is None]


def deep(count: int) -> list[Row]:
    return [row(str(number), str(number - 1) if number else None) for number in range(count)]


def test_a_thread_is_the_way_to_a_message_without_replies() -> None:
    found = threads(TREE)
    assert [(one["id"], [message["message_id"] for message in one["messages"]]) for one in found] == [
        ("a", ["q", "a"]),
        ("r", ["q", "b", "r"]),
        ("c", ["q", "c"]),
    ]
    assert found[0] == {
        "id": "a",
        "parent_id": "q",
        "rank": 1,
        "message_tree_id": "q",
        "lang": "en",
        "messages": [
            {"role": "user", "content": "text q", "message_id": "q"},
            {"role": "assistant", "content": "text a", "message_id": "a"},
        ],
    }


def test_every_two_answers_of_different_rank_are_a_pair() -> None:
    found = pairs([*TREE, row("d", "q", rank=1), row("e", "q"), row("f", "q", "prompter", rank=5)])
    assert [one["id"] for one in found] == ["b:a", "b:d", "b:c", "a:c", "d:c"]
    assert found[0] == {
        "id": "b:a",
        "message_tree_id": "q",
        "parent_id": "q",
        "lang": "en",
        "prompt": [{"role": "user", "content": "text q", "message_id": "q"}],
        "chosen": [{"role": "assistant", "content": "text b", "message_id": "b"}],
        "rejected": [{"role": "assistant", "content": "text a", "message_id": "a"}],
        "chosen_rank": 0,
        "rejected_rank": 1,
    }


def test_a_rank_that_is_no_number_makes_no_pair() -> None:
    assert pairs([TREE[0], row("a", "q", rank=0.0), row("b", "q", rank=float("nan"))]) == []


def test_records_are_of_the_schemas_messages_and_explicit() -> None:
    for records, schema in ((threads(TREE), "messages"), (pairs(TREE), "explicit")):
        found = detect(list(records[0]), records)
        assert found is not None
        assert found == form_of(None, schema, None, list(records[0]), None)


@given(forests())
def test_the_trees_can_be_built_again_from_the_threads(rows: list[Row]) -> None:
    seen: dict[str, tuple[str | None, str]] = {}
    for one in threads(rows):
        above = None
        for message in one["messages"]:
            assert seen.setdefault(message["message_id"], (above, message["content"])) == (above, message["content"])
            above = message["message_id"]
    assert seen == {one["message_id"]: (one["parent_id"], one["text"]) for one in rows}


@given(forests())
def test_nested_trees_give_what_flat_rows_give(rows: list[Row]) -> None:
    assert threads(nested(rows)) == threads(rows)
    assert pairs(nested(rows)) == pairs(rows)


@given(forests(), st.randoms(use_true_random=False))
def test_any_order_of_rows_gives_the_same_threads(rows: list[Row], chance: random.Random) -> None:
    mixed = chance.sample(rows, len(rows))
    assert sorted(one["id"] for one in threads(mixed)) == sorted(one["id"] for one in threads(rows))
    assert {one["id"]: one for one in threads(mixed)} == {one["id"]: one for one in threads(rows)}


@given(forests())
def test_every_pair_has_the_better_rank_first(rows: list[Row]) -> None:
    ranks = {one["message_id"]: (one["parent_id"], one["rank"]) for one in rows if one["role"] == "assistant"}
    wanted = {
        f"{a}:{b}"
        for a, (above, rank) in ranks.items()
        for b, (other, worse) in ranks.items()
        if above == other and above is not None and None not in (rank, worse) and rank < worse
    }
    found = [one["id"] for one in pairs(rows)]
    assert sorted(found) == sorted(wanted)


def test_trees_may_be_deep() -> None:
    assert len(threads(deep(20_000))[0]["messages"]) == 20_000
    assert len(threads(nested(deep(20_000)))[0]["messages"]) == 20_000


BAD: list[tuple[list[Row], str]] = [
    ([*TREE, row("x", "gone")], "row 5: wanted the parent_id of another message, got one that no message has"),
    ([row("x", "y"), row("y", "x")], "row 0: wanted a way to a first message, got a cycle of parent_id"),
    ([row("x", "x")], "row 0: wanted a way to a first message, got a cycle of parent_id"),
    ([*TREE, row("a", "q")], "row 5: wanted a message_id of its own, got that of row 1"),
    ([{**TREE[0], "text": None}], "row 0: wanted a text in text, got null"),
    ([{**TREE[0], "role": ""}], "row 0: wanted a text in role, got an empty text"),
    ([{**TREE[0], "message_id": 5}], "row 0: wanted a text in message_id, got int"),
    ([{**TREE[0], "parent_id": 5}], "row 0: wanted a text or null in parent_id, got int"),
    ([{**TREE[0], "rank": "best"}], "row 0: wanted a number or null in rank, got str"),
    ([{"prompt": []}], "row 0, prompt: wanted a message, got an empty list"),
    ([{"prompt": {**TREE[0], "replies": {}}}], "row 0, prompt.replies: wanted a list of messages, got dict"),
    ([{"prompt": {**TREE[0], "replies": [None]}}], r"row 0, prompt.replies\[0\]: wanted a message, got null"),
    (
        [{"prompt": {**TREE[0], "replies": [row("a", "other")]}}],
        r"row 0, prompt.replies\[0\]: wanted the parent_id of the message above, got another",
    ),
]


@pytest.mark.parametrize(("rows", "wanted"), BAD)
@pytest.mark.parametrize("expand", [threads, pairs])
def test_a_bad_tree_is_an_error_with_its_place(expand: Any, rows: list[Row], wanted: str) -> None:
    with pytest.raises(FormError, match=wanted):
        expand(rows)


def test_what_is_left_out_is_told() -> None:
    left_out: LeftOut = []
    rows = [*TREE, row("x", "gone"), row("y", "x"), row("c1", "c2"), row("c2", "c1"), row("below", "c1")]
    assert threads(rows, left_out) == threads(TREE)
    assert sorted(place for place, _ in left_out) == ["row 5", "row 6", "row 7", "row 8", "row 9"]
    assert ("row 6", "wanted a way to a first message, got one that ends at a missing parent") in left_out


@given(
    st.lists(
        st.fixed_dictionaries({name: st.sampled_from(["a", "b", "", None, 1, [], {}]) for name in TREE[0]}), max_size=5
    )
)
def test_any_rows_are_told_or_in_a_thread(rows: list[Row]) -> None:
    left_out: LeftOut = []
    found = threads(rows, left_out)
    in_threads = {message["message_id"] for one in found for message in one["messages"]}
    assert len(in_threads) + len(left_out) == len(rows)


def test_messages_and_trees_are_told_from_other_rows() -> None:
    assert is_oasst(list(TREE[0]))
    assert is_oasst(["prompt"], nested(TREE))
    assert not is_oasst(["prompt", "completion"], [{"prompt": "q", "completion": "a"}])
    assert not is_oasst(["messages"])


@pytest.mark.shared
def test_the_messages_of_oasst_without_the_three_that_lost_their_parent() -> None:
    with gzip.open(OASST) as lines:
        rows = [orjson.loads(line) for line in lines]
    left_out: LeftOut = []
    found = threads(rows, left_out)
    assert [place for place, _ in left_out] == ["row 152", "row 214", "row 1669"]
    assert len(rows) - len(left_out) == len({message["message_id"] for one in found for message in one["messages"]})
    assert len(found) == 1_002
    assert len(pairs(rows, [])) == 1_026
