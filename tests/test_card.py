"""Dataset card and Croissant metadata: computed, declared or missing; valid for the tools that read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

import curate
from curate import Pipeline, Run
from curate.card import Facts, known_fields, readme, values
from curate.settings import Card

DECLARED = {
    "title": "Letters | <from> home",
    "description": "Letters for tests.",
    "license": "cc-by-4.0",
    "url": "https://example.org/letters",
    "creators": ["Somebody"],
    "sources": ["letters of ours"],
    "collected": "2025",
    "limitations": "Few letters.",
    "citation": "Somebody 2025",
    "version": "1.0.0",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("card")
    secret = folder / "secret-folder"
    secret.mkdir()
    docs = pl.DataFrame(
        {"id": [f"d{n}" for n in range(60)], "text": [f"A letter to number {n} about the garden." for n in range(60)]}
    )
    docs.write_parquet(secret / "letters.parquet")
    steps = [curate.filters.Length(min_words=3), curate.filters.Language()]
    pipe = Pipeline(name="letters", steps=steps, card=DECLARED)
    return pipe.run(str(secret / "letters.parquet"), folder / "out")


def header(run: Run) -> tuple[dict[str, Any], str]:
    text = (run.root / "dataset" / "README.md").read_text("utf-8")
    _, yaml, body = text.split("---\n", 2)
    return YAML(typ="safe").load(yaml), body


def test_the_card_has_the_metadata_that_the_hub_reads(run: Run) -> None:
    found, _ = header(run)

    assert found["license"] == "cc-by-4.0"
    assert found["language"] == ["en"]
    assert found["size_categories"] == ["n<1K"]
    assert found["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    assert found["dataset_info"]["splits"][0]["num_examples"] == 60


def test_the_hub_library_can_load_the_card(run: Run) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(run.root / "dataset" / "README.md")

    assert card.data.pretty_name == "Letters | <from> home"


def test_the_folder_loads_with_datasets(run: Run, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(str(run.root / "dataset"), split="train", cache_dir=str(tmp_path))

    assert loaded.num_rows == 60


def test_every_value_says_where_it_comes_from(run: Run) -> None:
    _, body = header(run)
    rows = [line for line in body.splitlines() if line.startswith("| ") and "---" not in line and line != "| | | |"]

    assert rows
    assert all(line.endswith(("*computed* |", "*declared* |", "*missing* |")) for line in rows)
    assert "| limitations | Few letters. | *declared* |" in rows
    assert "| purpose |  | *missing* |" in rows
    assert "| documents | 60 | *computed* |" in rows


def test_what_is_published_names_no_folder_and_no_text(run: Run) -> None:
    for name in ("README.md", "croissant.json"):
        text = (run.root / "dataset" / name).read_text("utf-8")

        assert "secret-folder" not in text
        assert "garden" not in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib
def test_croissant_is_valid_and_its_records_load(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    import mlcroissant

    dataset = mlcroissant.Dataset(str(run.root / "dataset" / "croissant.json"))
    records = list(dataset.records("records"))

    assert dataset.metadata.ctx.issues.errors == set()
    assert dataset.metadata.ctx.issues.warnings == set()
    assert len(records) == 60
    assert records[0]["records/text"] == b"A letter to number 0 about the garden."


def test_croissant_has_rai_and_provenance(run: Run) -> None:
    found = json.loads((run.root / "dataset" / "croissant.json").read_text())

    assert found["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    assert found["rai:dataPreprocessingProtocol"][0].startswith("step 1, length: length: saw 60")
    assert found["prov:wasDerivedFrom"][0]["@id"] == f"urn:sha256:{run.manifest['inputs'][0]['sha256']}"
    assert "rai:dataSocialImpact" not in found


def test_nothing_is_known_that_nobody_declared_or_measured() -> None:
    manifest = {
        "name": "empty", "curate": "0", "finished": "", "outputs": [], "inputs": [], "models": [], "steps": [],
        "counts": {"read": 0, "kept": 0, "dropped": 0, "quarantined": 0}, "bytes": {"read": 0, "kept": 0},
        "pipeline": {},
    }  # fmt: skip
    report = {"scores": [], "steps": [], "rules": [], "attention": [], "representation": []}
    facts = Facts(Card(), manifest, report, {})

    found = {one.name: one.source for part in values(facts).values() for one in part}

    assert {name for name, source in found.items() if source == "declared"} == set()
    assert found["languages (measured, share of documents)"] == "missing"
    assert found["purpose"] == "missing"
    known, everything = known_fields(values(facts))
    assert known < everything
    assert readme(facts).startswith("---\npretty_name: empty\n")


def test_a_card_key_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(curate.PipelineError, match="licence"):
        Pipeline(steps=[], card={"licence": "mit"})


def test_expressions_are_published_whole_and_paths_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "private-words.txt").write_text("unwanted\n")
    docs = pl.DataFrame({"id": ["a"], "text": ["a text"], "num": [1.0]})
    docs.write_parquet(tmp_path / "in.parquet")
    rule = "num / 2 > 0.9 or num < 0.05"
    steps = [curate.filters.Where(drop_if=rule), curate.filters.Blocklist(terms=tmp_path / "private-words.txt")]
    drift = {
        "metric": "drift",
        "by": "num",
        "against": str(tmp_path / "absent"),
        "at_most": 1,
        "owner": "a",
        "reason": "b",
    }

    run = Pipeline(steps=steps, policy=[drift]).run(str(tmp_path / "in.parquet"), tmp_path / "out")

    card = (run.root / "dataset" / "README.md").read_text("utf-8")
    assert rule in card
    assert '"private-words.txt"' in card
    assert str(tmp_path) not in card + (run.root / "dataset" / "croissant.json").read_text("utf-8")


@pytest.mark.parametrize(("on", "counted"), [("each_turn", "turns"), ("last_turn", "documents, last_turn")])
def test_shares_of_languages_say_what_they_are_of(tmp_path: Path, on: str, counted: str) -> None:
    turns = [{"role": "user", "content": "What grows in the garden?"}, {"role": "assistant", "content": "Red roses."}]
    pl.DataFrame({"messages": [turns] * 3}).write_parquet(tmp_path / "a.parquet")
    steps = [curate.Step(name="language", filter=curate.filters.Language(), on=on)]
    Pipeline(steps=steps, input={"kind": "chat"}).run(str(tmp_path / "a.parquet"), tmp_path / "out")

    card = (tmp_path / "out" / "dataset" / "README.md").read_text("utf-8")
    assert f"languages (measured, share of {counted})" in card
