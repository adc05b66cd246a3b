"""`chat` and `preference`: they load by name, and do to planted records what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import curate


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def chat(id: str, question: str, answer: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"id": id, "messages": turns}


def test_chat_keeps_conversations_and_masks_addresses(tmp_path: Path) -> None:
    rows = [
        chat("good", "How is tea made in the north?", "With hot water and some patience, they say."),
        chat("mail", "Whom do I ask about the garden?", "Write to someone@example.com about it."),
        chat("empty", "What is the capital of France?", ""),
        chat("again", "How is tea made in the north?", "With hot water and some patience, they say."),
    ]
    run = curate.Pipeline.load("chat").run(written(tmp_path / "a.jsonl", rows), output=tmp_path / "out", workers=1)

    kept = {row["id"]: row["messages"] for row in run.kept.collect().to_dicts()}
    assert set(kept) == {"good", "mail"}
    assert kept["good"] == rows[0]["messages"]
    assert "someone@" not in kept["mail"][1]["content"]
    assert kept["mail"][0] == rows[1]["messages"][0]
    dropped = dict(run.dropped.select("id", "step").collect().rows())
    assert dropped == {"empty": "chat_checks", "again": "exact_duplicates"}


def test_preference_keeps_pairs_whole(tmp_path: Path) -> None:
    rows = [
        {
            "id": "good",
            "prompt": "How is tea made?",
            "chosen": "With hot water.",
            "rejected": "Ask a@example.com, who knows.",
        },
        {"id": "same", "prompt": "What is a river?", "chosen": "Water that flows.", "rejected": "Water that flows."},
        {"id": "empty", "prompt": "What is a lake?", "chosen": "", "rejected": "Water that stays."},
    ]
    path = written(tmp_path / "a.jsonl", rows)
    run = curate.Pipeline.load("preference").run(path, output=tmp_path / "out", workers=1)

    kept = run.kept.collect().to_dicts()
    assert [row["id"] for row in kept] == ["good"]
    assert (kept[0]["prompt"], kept[0]["chosen"]) == ("How is tea made?", "With hot water.")
    assert "example.com" not in kept[0]["rejected"]
    dropped = dict(run.dropped.select("id", "step").collect().rows())
    assert dropped == {"same": "preference_checks", "empty": "chat_checks"}
