"""The demo's preference set: the same for the same seed, and every planted fault meets its fate."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.conversations import Form
from curate.demo_corpus import Tally
from curate.demo_pairs import KINDS, Pairs, compare_pairs, run_pairs, write_pairs
from curate.filters.turns import MARKERS
from curate.run import Run

HH = Form("preference", "hh", {"chosen": "chosen", "rejected": "rejected"})


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return write_pairs(tmp_path_factory.mktemp("a folder: with # signs"), 2000, seed=1)


@pytest.fixture(scope="module")
def run(pairs: Pairs) -> Run:
    return run_pairs(pairs)


def records(pairs: Pairs, kind: str | None) -> list[dict[str, Any]]:
    lines = pairs.path.read_bytes().splitlines()
    return [json.loads(lines[row]) for row in pairs.rows(kind)]


def sides(record: dict[str, Any]) -> dict[str, list[str]]:
    """The contents of a record's turns by side, in lower case, without differences of white space."""
    turns = HH.turns(record)
    return {
        side: [" ".join(turn.content.lower().split()) for turn in turns if turn.side == side]
        for side in ("prompt", "chosen", "rejected")
    }


# --- what is planted --------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(pairs: Pairs, tmp_path: Path) -> None:
    again, other = write_pairs(tmp_path / "1", 2000, seed=1), write_pairs(tmp_path / "2", 2000, seed=2)

    assert again.path.read_bytes() == pairs.path.read_bytes() != other.path.read_bytes()


def test_two_thousand_documents_bring_about_150_records(pairs: Pairs) -> None:
    assert 140 <= len(pairs.kinds) == len(pairs.path.read_bytes().splitlines()) <= 160


def test_a_larger_demo_has_more_pairs_and_a_smaller_one_enough_for_the_report(tmp_path: Path) -> None:
    sizes = [len(write_pairs(tmp_path, documents, seed=1).rows(None)) for documents in (100, 4000)]

    assert sizes == [100, 200]


def test_identical_responses_are_the_same_but_for_case_and_white_space(pairs: Pairs) -> None:
    found = [sides(record) for record in records(pairs, "identical responses")]

    assert [one["chosen"] for one in found] == [one["rejected"] for one in found]


def test_swapped_labels_come_in_couples_that_say_the_opposite(pairs: Pairs) -> None:
    found = [sides(record) for record in records(pairs, "swapped labels")]
    turned = [one | {"chosen": one["rejected"], "rejected": one["chosen"]} for one in found]

    assert len(found) == 6
    assert all(one in found for one in turned)
    assert all(one["chosen"] != one["rejected"] for one in found)


def test_the_leaked_prompts_are_those_of_ordinary_records_of_the_test_split(pairs: Pairs) -> None:
    test = [" ".join(sides(one)["prompt"]) for one in records(pairs, None) if one["split"] == "test"]
    leaked = records(pairs, "test prompt in train")

    assert {one["split"] for one in leaked} == {"train"}
    for record in leaked:
        prompt = " ".join(sides(record)["prompt"]).replace("hello! ", "")
        assert prompt in test


def test_ordinary_records_have_no_marker_and_no_prompt_twice(pairs: Pairs) -> None:
    ordinary = records(pairs, None)
    text = pl.Series([" ".join(turn.content for turn in HH.turns(one)) for one in ordinary])

    assert not text.str.contains(MARKERS).any()
    assert len({tuple(sides(one)["prompt"]) for one in ordinary}) == len(ordinary)


# --- what is found ----------------------------------------------------------------------------------------------------


def test_everything_that_was_planted_is_found_and_every_ordinary_record_kept(pairs: Pairs, run: Run) -> None:
    table = list(compare_pairs(pairs, run))

    assert [line for line in table if line.planted != line.found] == []
    assert len(table) == len(KINDS) + 2
    assert min(line.planted for line in table) > 0
    assert run.exit_code == 0


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_other_seeds_are_found_as_well(seed: int, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 100, seed)

    assert missed(compare_pairs(pairs, run_pairs(pairs))) == {}


def missed(table: Any) -> dict[str, int]:
    lines: list[Tally] = list(table)
    return {line.kind: line.planted - line.found for line in lines if line.planted != line.found}


def test_markers_are_cut_off_what_is_written(run: Run) -> None:
    written = run.kept.collect()

    assert not written.select(pl.col("chosen", "rejected").str.contains(r"<\||</s>|\[/?INST\]").any()).sum_horizontal()[
        0
    ]


def test_a_record_that_was_planted_elsewhere_is_missed(pairs: Pairs, run: Run) -> None:
    (first, *_) = pairs.rows(None)
    wrong = list(pairs.kinds)
    wrong[first] = "empty response"

    assert missed(compare_pairs(replace(pairs, kinds=tuple(wrong)), run)) == {"pair: empty response": 1}


def test_an_ordinary_record_that_was_dropped_is_missed(pairs: Pairs, run: Run) -> None:
    wrong = [None if kind == "prompts that differ" else kind for kind in pairs.kinds]

    assert missed(compare_pairs(replace(pairs, kinds=tuple(wrong)), run)) == {"pair: clean record": 5}


def test_pairs_whose_answers_are_chosen_without_regard_to_length_bring_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.demo_pairs.LONGER", 0.5)
    pairs = write_pairs(tmp_path, 100, seed=1)

    assert missed(compare_pairs(pairs, run_pairs(pairs))) == {"pairs: the longer one wins": 1}


def test_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    run_pairs(write_pairs(tmp_path, 100, seed=1))
    pairs = write_pairs(tmp_path, 100, seed=2)

    assert missed(compare_pairs(pairs, run_pairs(pairs))) == {}
