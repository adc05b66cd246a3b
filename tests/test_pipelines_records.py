"""`chat` and `preference`: they load by name, and do to planted records what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import curate

ASKED = "Where does the small river behind the old mill come from, and can I walk there in the spring?"
TOLD = "It comes from the hills in the north, and there is a path along it that is dry from April on."
OTHER = "Nobody knows where it comes from, because the maps of that part of the land are all too old."
MAIL = "anna.miller@corp.net"


def messages(*contents: str) -> list[dict[str, str]]:
    """User and assistant in turn."""
    return [{"role": "assistant" if at % 2 else "user", "content": content} for at, content in enumerate(contents)]


def run(name: str, records: dict[str, dict[str, Any]], folder: Path) -> Any:
    """The shipped pipeline over records by id."""
    pl.DataFrame([{"id": id, **record} for id, record in records.items()]).write_parquet(folder / "a.parquet")
    return curate.Pipeline.load(name).run(folder / "a.parquet", output=folder / "clean", workers=1)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        (
            "chat",
            ["chat_checks", "exact_duplicates", "near_duplicates", "language last_turn", "toxicity assistant"],
        ),
        ("preference", ["chat_checks", "toxicity both", "preference_checks", "exact_duplicates"]),
    ],
)
def test_a_pipeline_judges_the_parts_that_it_names_in_order(name: str, steps: list[str]) -> None:
    found = [f"{step.name} {step.on}".removesuffix(" whole") for step in curate.Pipeline.load(name).steps]

    assert found == [*steps, "redact_pii each_turn"]


def test_chat_keeps_sound_conversations_and_drops_what_is_none(tmp_path: Path) -> None:
    records = {
        "sound": {"messages": messages(ASKED, TOLD)},
        "mail": {"messages": messages("Whom do I ask about the mill?", f"Write to {MAIL}, she knows.")},
        "open": {"messages": messages("Are the maps of that land for sale?")},
        "empty": {"messages": messages("Who made the oldest map?", " ")},
        "markers": {"messages": messages("Is it far?", "No. <|im_end|> <|im_start|>user And to the sea?")},
        "copy": {"messages": messages(ASKED.upper(), TOLD)},
    }

    found = run("chat", records, tmp_path)

    kept = dict(found.kept.select("id", "messages").collect().rows())
    assert set(kept) == {"sound", "mail"}
    assert kept["sound"] == messages(ASKED, TOLD)
    assert [one["content"] for one in kept["mail"]][1] == "Write to <EMAIL>, she knows."
    dropped = {id: (step, rule) for id, step, rule in found.dropped.select("id", "step", "rule").collect().rows()}
    assert dropped == {
        "open": ("chat_checks", "last_turn_not_assistant"),
        "empty": ("chat_checks", "empty_response"),
        "markers": ("chat_checks", "leaked_markers"),
        "copy": ("exact_duplicates", "duplicate"),
    }


def test_preference_keeps_contradictions_and_drops_pairs_that_teach_nothing(tmp_path: Path) -> None:
    records = {
        "sound": {"prompt": ASKED, "chosen": TOLD, "rejected": OTHER},
        "turned": {"prompt": ASKED, "chosen": OTHER, "rejected": TOLD},
        "mail": {"prompt": f"I am {MAIL}. Who are you?", "chosen": f"You are {MAIL}.", "rejected": "I am a map."},
        "same": {"prompt": "Is it far?", "chosen": "No, it is near.", "rejected": "no,  it is near."},
        "empty": {"prompt": "Is it near?", "chosen": "", "rejected": "It is."},
        "copy": {"prompt": ASKED, "chosen": TOLD.upper(), "rejected": OTHER},
    }

    found = run("preference", records, tmp_path)

    kept = {row["id"]: row for row in found.kept.collect().to_dicts()}
    assert set(kept) == {"sound", "turned", "mail"}
    assert (kept["mail"]["prompt"], kept["mail"]["chosen"]) == ("I am <EMAIL>. Who are you?", "You are <EMAIL>.")
    dropped = {id: (step, rule) for id, step, rule in found.dropped.select("id", "step", "rule").collect().rows()}
    assert dropped == {
        "same": ("preference_checks", "identical_responses"),
        "empty": ("chat_checks", "empty_response"),
        "copy": ("exact_duplicates", "duplicate"),
    }
    ledger = {row["id"]: row for row in found.ledger.collect().to_dicts()}
    assert ledger["turned"]["preference_checks.swapped_with"] == "sound"


def test_preference_keeps_a_long_pair_and_the_one_that_contradicts_it(tmp_path: Path) -> None:
    first = " ".join(f"With pot {number} of water" for number in range(30))
    second = " ".join(f"With leaf {number} of tea" for number in range(30))
    records = {
        "a": {"prompt": ASKED, "chosen": first, "rejected": second},
        "b": {"prompt": ASKED, "chosen": second, "rejected": first},
    }

    found = run("preference", records, tmp_path)

    assert found.kept.collect()["id"].to_list() == ["a", "b"]
