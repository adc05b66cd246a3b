"""The demo finds every fault that it planted, and says so when something was missed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from curate.cli import app
from curate.demo import Demo, Planted, run_demo, write_corpus
from curate.swap import bundled, fill


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return run_demo(tmp_path_factory.mktemp("a folder: with # signs"), documents=200)


def test_every_fault_is_found_and_every_clean_document_kept(demo: Demo) -> None:
    assert [(line.kind, line.planted - line.found) for line in demo.table if line.found != line.planted] == []
    assert demo.exit_code == 0


def test_duplicates_name_the_document_that_they_repeat(demo: Demo) -> None:
    twins = {fault.id: fault.twin for fault in demo.planted.faults if fault.twin is not None}
    ledger = demo.run.ledger.collect()

    found = dict(ledger.drop_nulls("duplicate_of").select("id", "duplicate_of").iter_rows())

    assert found == twins


def test_the_ledger_does_not_tell_where_the_demo_ran(demo: Demo) -> None:
    files = demo.run.ledger.select("file").unique().collect()["file"].sort().to_list()

    assert files == [f"corpus/{name}" for name in demo.planted.files]


def test_the_table_names_kinds_fates_and_counts(demo: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    demo.print()
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    assert "kind what should happen planted found" in lines
    assert "hostile page dropped by toxicity 4 4" in lines
    assert "mentions an identity kept 4 4" in lines
    assert "corrupt record in quarantine 17 17" in lines
    assert "clean document kept 200 200" in lines


def test_the_dict_is_json(demo: Demo) -> None:
    plain = json.loads(json.dumps(demo.to_dict()))

    assert plain["table"][0] == {"kind": "too short", "expected": "length", "planted": 8, "found": 8}
    assert plain["exit_code"] == 0


def test_a_missed_fault_ends_with_exit_code_1(demo: Demo) -> None:
    missed = replace(demo.table[0], found=demo.table[0].found - 1)

    assert replace(demo, table=(missed, *demo.table[1:])).exit_code == 1


def test_a_second_demo_replaces_the_first(tmp_path: Path) -> None:
    run_demo(tmp_path, documents=120)
    again = run_demo(tmp_path, documents=100)

    assert again.exit_code == 0
    assert next(line.found for line in again.table if line.kind == "clean document") == 100


def test_the_uneven_corpus_is_balanced_and_its_word_list_flagged(demo: Demo) -> None:
    found = {line.kind: (line.planted, line.found) for line in demo.table}

    assert {found[f"uneven corpus: {code}"] for code in ("en", "es", "hi", "sw")} == {(45, 45)}
    assert found["word list that hits religion"] == (1, 1)
    assert found["target beyond the supply"] == (1, 1)
    assert [row["result"] for row in demo.balanced.manifest["policy"]] == ["warn"]


def test_scraped_pages_come_out_without_furniture_repetition_and_personal_data(demo: Demo) -> None:
    kinds = {line.kind: line.fate for line in demo.table}

    assert kinds["navigation and footer"] == "lines removed by repeated_lines"
    assert kinds["sentence over and over"] == "dropped by gopher_repetition"
    assert kinds["card number"] == "masked by redact_pii"
    assert (demo.folder / "scraped" / "audit" / "report.html").is_file()


def test_the_strict_policy_ends_with_exit_code_1(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, documents=100, strict=True)

    assert demo.exit_code == 1
    assert demo.balanced.manifest["policy"][0]["result"] == "fail"


# --- hostile pages and pages that mention identities ------------------------------------------------------------------


def shown(*arguments: str) -> str:
    """What a command prints to standard output and standard error, with white space as single blanks."""
    done = CliRunner().invoke(app, arguments, standalone_mode=False)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_why_says_that_toxicity_dropped_a_hostile_page_and_by_which_limit(demo: Demo) -> None:
    (first, *_) = demo.planted.ids("hostile page")

    said = shown("why", str(demo.run.root), first)

    assert f"{first} dropped by toxicity, rule toxic_share" in said
    assert "toxic_share: dropped above 0.2" in said


def test_why_says_that_a_page_that_mentions_identities_was_judged_and_kept(demo: Demo) -> None:
    (first, *_) = demo.planted.ids("mentions an identity")

    said = shown("why", str(demo.run.root), first)

    assert f"{first} kept" in said
    assert "toxicity passed share 0 " in said
    assert "judged true" in said


def test_nothing_that_a_run_says_of_itself_quotes_a_hostile_sentence(tmp_path: Path) -> None:
    said = {"demo": shown("demo", str(tmp_path), "--documents", "100")}
    planted, root = write_corpus(tmp_path / "again", documents=100), tmp_path / "clean"
    hostile = {fill(sentence, term) for term in notes(planted, "hostile page") for sentence in bundled().hostile}
    said |= {
        "report": shown("report", str(root)),
        "report --json": shown("report", str(root), "--json"),
        "why": "".join(shown("why", str(root), id) for id in planted.ids("hostile page")),
        "report.html": (root / "audit" / "report.html").read_text("utf-8"),
        "report.json": (root / "audit" / "report.json").read_text("utf-8"),
        "manifest.json": (root / "manifest.json").read_text("utf-8"),
    }

    assert {place for place, text in said.items() if any(one in text for one in hostile)} == set()
    assert "dropped by toxicity" in said["why"]


def notes(planted: Planted, kind: str) -> set[str]:
    return {fault.note for fault in planted.faults if fault.kind == kind}
