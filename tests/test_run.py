"""The engine end to end: verdicts, quarantine, edits, decisions, resume, update, byte-identical output."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from engine import CALLS, Counted, FirstLetter, Mask, Repeat, Trouble, hashes, make_corpus, write_lines

from curate import Pipeline, chunk, open_run
from curate.errors import LockError, OutputError, PipelineError, StepError, StoppedError, UsageError
from curate.filter import Filter
from curate.filters import Where
from curate.pipeline import Step
from curate.plan import Plan
from curate.run import Run


def run(corpus: Path, output: Path, *steps: Filter | Step, paths: list[str] | None = None, **options: object) -> Run:
    settings = {key: options.pop(key) for key in ("audit", "max_quarantined") if key in options}
    if "publish" in options:
        settings["output"] = options.pop("publish")
    pipeline = Pipeline(steps=steps, **settings)
    return pipeline.run(paths or str(corpus), output, **options)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path / "corpus")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def scored(done: Run) -> dict[str, int]:
    return {entry["step"]: entry["scored"] for entry in done.manifest["work"]}


def test_counts_data_and_ledger_agree(corpus: Path, out: Path) -> None:
    done = run(corpus, out, Counted(low=60))
    ledger = done.ledger.collect()
    counts = done.counts
    assert counts["read"] == 180 == counts["kept"] + counts["dropped"]
    assert counts["quarantined"] == 0
    assert ledger["id"].to_list() == [f"d{n}" for n in range(180)]
    assert ledger["kept"].sum() == counts["kept"] == done.kept.collect().height
    expected = ledger.filter(pl.col("test.counted.size") >= 60)["id"]
    assert done.kept.collect()["id"].to_list() == expected.to_list()
    assert counts["by_step"] == [
        {"step": "test.counted", "seen": 180, "dropped": counts["dropped"], "rules": {"too_short": counts["dropped"]}}
    ]
    assert ledger.filter(~pl.col("kept"))["failed"].to_list() == [["test.counted.too_short"]] * counts["dropped"]


def test_the_ledger_has_the_contract_columns_in_order(corpus: Path, out: Path) -> None:
    ledger = run(corpus, out, Counted()).ledger.collect()
    assert ledger.columns == [
        "id", "file", "row", "kept", "step", "rule", "failed", "duplicate_of", "similarity", "copies", "bytes",
        "sampled", "test.counted.size", "input.source", "input.score",
    ]  # fmt: skip


def test_shuffled_paths_give_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    files = [str(path) for path in sorted(corpus.iterdir())]
    one = run(corpus, tmp_path / "one", Counted(low=60), FirstLetter(), paths=files)
    two = run(corpus, tmp_path / "two", Counted(low=60), FirstLetter(), paths=files[::-1])
    assert hashes(one.root) == hashes(two.root)
    assert len(hashes(one.root)) == 2


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_give_the_same_bytes(
    corpus: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    one = run(corpus, tmp_path / "one", Counted(low=60), Mask(), FirstLetter(), workers=1)
    two = run(corpus, tmp_path / "two", Counted(low=60), Mask(), FirstLetter(), workers=workers)
    assert hashes(one.root) == hashes(two.root)


def test_chunk_size_does_not_show_in_the_output(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = run(corpus, tmp_path / "one", Counted(low=60), Mask(), FirstLetter())
    monkeypatch.setattr("curate.plan.CHUNK_BYTES", 700)
    two = run(corpus, tmp_path / "two", Counted(low=60), Mask(), FirstLetter())
    assert len(list((two.root / ".curate" / "ledger").iterdir())) > 10
    assert hashes(one.root) == hashes(two.root)


def test_the_last_pass_reads_no_texts_where_none_is_needed_and_says_the_same(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = [{"id": "x1", "text": "nan " * 30}, {"id": "x2", "text": "fine " * 30}, {"id": "x3"}]
    write_lines(corpus / "part-9.jsonl", trouble)
    steps = (Counted(low=60), Trouble(), FirstLetter(), Where(drop_if="source = 's1'"))
    options = {"audit": {"sample": 0.2}, "max_quarantined": 1}
    passes: list[str] = []
    read = chunk.read_chunk
    monkeypatch.setattr(chunk, "read_chunk", lambda plan, one: passes.append(one.source.file) or read(plan, one))

    one = run(corpus, tmp_path / "one", *steps, **options)
    read_once = list(passes)
    monkeypatch.setattr(Plan, "text_settles", False)
    two = run(corpus, tmp_path / "two", *steps, **options)

    everywhere = ("dataset/data", "audit/ledger", "audit/quarantine")
    assert hashes(one.root, *everywhere) == hashes(two.root, *everywhere)
    assert one.counts == two.counts
    assert one.counts["quarantined"] == 2
    names = [f"corpus/part-{number}.jsonl" for number in (0, 1, 2, 9)]
    assert [Path(name).name for name in read_once] == [
        Path(name).name for name in (*names, names[-1])
    ]  # a fault's text
    assert len(passes) == len(read_once) + 8


def test_only_the_records_that_make_trouble_end_in_quarantine(tmp_path: Path, out: Path) -> None:
    texts = ["fine"] * 40 + ["boom"] + ["fine"] * 40 + ["a nan here"] + ["fine"] * 5 + ["null"]
    write_lines(tmp_path / "in.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    done = run(tmp_path / "in.jsonl", out, Counted(), Trouble(), max_quarantined=0.1)
    assert done.counts["quarantined"] == 3
    assert done.counts["kept"] == len(texts) - 3
    assert done.exit_code == 0
    assert done.quarantine.select("id", "step", "error").rows() == [
        ("40", "test.trouble", "ValueError: boom"),
        ("81", "test.trouble", "rule high is unknown: value is nan"),
        ("87", "test.trouble", "rule high is unknown: value is null"),
    ]


def test_too_much_quarantine_finishes_and_exits_1(tmp_path: Path, out: Path) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "fine"}] * 50 + [{"text": "boom"}])
    done = run(tmp_path / "in.jsonl", out, Trouble())
    assert done.exit_code == 1
    assert done.kept.collect().height == 50


def test_a_step_that_fails_on_the_first_hundred_stops_early(tmp_path: Path, out: Path) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "boom"}] * 150)
    with pytest.raises(StepError, match="first 100 documents in a row: ValueError in score"):
        run(tmp_path / "in.jsonl", out, Trouble())
    assert not (out / "manifest.json").exists()


def test_nothing_kept_is_a_broken_promise(tmp_path: Path, out: Path) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "short"}] * 5)
    done = run(tmp_path / "in.jsonl", out, Counted(low=100))
    assert done.exit_code == 1
    assert done.kept.collect().height == 0
    assert "text" in done.kept.collect().columns


def test_edits_are_written_counted_and_seen_by_the_next_step(tmp_path: Path, out: Path) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "my secret ü secret"}, {"text": "none"}])
    done = run(tmp_path / "in.jsonl", out, Mask(put="*"), Counted())
    assert done.kept.collect()["text"].to_list() == ["my * ü *", "none"]
    ledger = done.ledger.collect()
    assert ledger["bytes"].to_list() == [len("my * ü *".encode()), 4]
    assert ledger["test.counted.size"].to_list() == [8, 4]


def test_ids_are_file_and_row_without_an_id_column(corpus: Path, tmp_path: Path, out: Path) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "b"}])
    done = Pipeline(steps=[Counted()], base=tmp_path).model_copy()
    run_ = done.run(str(tmp_path / "in.jsonl"), out)
    name = str(tmp_path / "in.jsonl")
    assert run_.kept.collect()["id"].to_list() == [f"{name}#0", f"{name}#1"]


def test_repeated_ids_get_a_number_in_input_order(tmp_path: Path, out: Path) -> None:
    ids = ["a", "b", "a", "a~2", "a"]
    write_lines(tmp_path / "in" / "1.jsonl", [{"id": id, "text": f"text {n}"} for n, id in enumerate(ids)])
    write_lines(tmp_path / "in" / "2.jsonl", [{"id": "b", "text": "last"}])
    done = run(tmp_path / "in", out, Counted())
    expected = ["a", "b", "a~3", "a~2", "a~4", "b~2"]
    assert sorted(done.ledger.collect()["id"]) == sorted(set(done.ledger.collect()["id"]))
    assert done.ledger.collect()["id"].to_list() == done.kept.collect()["id"].to_list() == expected


def test_copies_are_named_after_the_document(tmp_path: Path, out: Path) -> None:
    write_lines(tmp_path / "in.jsonl", [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
    done = run(tmp_path / "in.jsonl", out, Repeat(times=3))
    assert done.kept.collect()["id"].to_list() == ["a", "a#2", "a#3", "b", "b#2", "b#3"]
    assert done.ledger.collect()["copies"].to_list() == [3, 3]


def test_a_corpus_wide_step_names_the_twin(corpus: Path, out: Path) -> None:
    done = run(corpus, out, Counted(low=60), FirstLetter())
    kept = done.kept.collect()
    assert kept["text"].str.slice(0, 1).is_unique().all()
    ledger = done.ledger.collect()
    twins = ledger.filter(pl.col("step") == "test.first_letter")
    assert twins.height > 0
    assert set(twins["duplicate_of"]) <= set(kept["id"])
    letters = dict(zip(kept["id"], kept["text"].str.slice(0, 1), strict=True))
    for row in done.dropped.filter(pl.col("rule") == "twin").collect().iter_rows(named=True):
        assert row["text"][0] == letters[row["duplicate_of"]]


def test_steps_after_a_corpus_wide_one_judge_its_survivors_only(corpus: Path, out: Path) -> None:
    CALLS.clear()
    done = run(corpus, out, FirstLetter(), Counted(), audit={"sample": 0})
    assert sum(CALLS) == done.counts["by_step"][1]["seen"] == done.counts["kept"]


def test_the_audit_sample_is_judged_by_every_step(corpus: Path, out: Path) -> None:
    second = Step(name="second", filter=Counted(high=70))
    done = run(corpus, out, Counted(low=60), second, audit={"sample": 0.5})
    ledger = done.ledger.collect()
    dropped_first = ledger.filter(pl.col("step") == "test.counted")
    assert dropped_first.filter(pl.col("sampled"))["second.size"].null_count() == 0
    assert dropped_first.filter(~pl.col("sampled"))["second.size"].null_count() == dropped_first.height - (
        dropped_first["sampled"].sum()
    )


# --- stored results ---------------------------------------------------------------------------------------------------


def test_a_changed_threshold_scores_nothing(corpus: Path, out: Path) -> None:
    first = run(corpus, out, Counted(low=60))
    again = run(corpus, out, Counted(low=80), update=True)
    assert scored(first) == {"test.counted": 180}
    assert scored(again) == {"test.counted": 0}
    assert again.counts["kept"] < first.counts["kept"]
    assert again.manifest["work"][0]["reused"] == 180


def test_a_changed_upstream_threshold_scores_only_the_new_survivors(corpus: Path, out: Path, tmp_path: Path) -> None:
    second = Step(name="second", filter=Counted())
    options = {"audit": {"sample": 0.0}}
    first = run(corpus, out, Counted(low=80), second, **options)
    again = run(corpus, out, Counted(low=60), second, update=True, **options)
    assert scored(again) == {"test.counted": 0, "second": again.counts["kept"] - first.counts["kept"]}
    assert scored(again)["second"] > 0
    afresh = run(corpus, tmp_path / "afresh", Counted(low=60), second, **options)
    assert hashes(out) == hashes(afresh.root)


def test_going_back_to_a_stricter_threshold_gives_the_first_bytes(corpus: Path, out: Path) -> None:
    second = Step(name="second", filter=Counted())
    run(corpus, out, Counted(low=80), second)
    before = hashes(out)
    run(corpus, out, Counted(low=60), second, update=True)
    run(corpus, out, Counted(low=80), second, update=True)
    assert hashes(out) == before


def test_a_changed_score_option_scores_again(corpus: Path, out: Path) -> None:
    run(corpus, out, Counted())
    assert scored(run(corpus, out, Counted(unit=2), update=True)) == {"test.counted": 180}


def test_an_added_file_is_the_only_one_scored(corpus: Path, out: Path, tmp_path: Path) -> None:
    run(corpus, out, Counted(low=60), FirstLetter())
    write_lines(
        corpus / "part-00.jsonl",
        [{"id": f"new{n}", "text": f"x{n}" * 40, "source": "s", "score": 1.5} for n in range(7)],
    )
    again = run(corpus, out, Counted(low=60), FirstLetter(), update=True)
    assert scored(again)["test.counted"] == 7
    afresh = run(corpus, tmp_path / "afresh", Counted(low=60), FirstLetter())
    assert hashes(out) == hashes(afresh.root)


def test_edits_change_the_key_of_later_scores(tmp_path: Path, out: Path) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "my secret"}, {"text": "none"}])
    run(tmp_path / "in.jsonl", out, Mask(put="*"), Counted())
    again = run(tmp_path / "in.jsonl", out, Mask(put="**"), Counted(), update=True)
    assert again.ledger.collect()["test.counted.size"].to_list() == [5, 4]


def test_a_damaged_stored_result_is_made_again(corpus: Path, out: Path, tmp_path: Path) -> None:
    run(corpus, out, Counted(low=60), FirstLetter())
    before = hashes(out)
    for path in sorted((out / ".curate").rglob("*")):
        if path.is_file() and path.parent.name not in ("surveys", "records", ".curate"):
            path.write_bytes(path.read_bytes()[:-3] + b"???")
    (out / "manifest.json").unlink()
    run(corpus, out, Counted(low=60), FirstLetter())
    assert hashes(out) == before


def test_deleting_the_store_costs_time_only(corpus: Path, out: Path) -> None:
    run(corpus, out, Counted(low=60), FirstLetter())
    before = hashes(out)
    shutil.rmtree(out / ".curate")
    assert open_run(out).kept.collect().height > 0
    run(corpus, out, Counted(low=60), FirstLetter(), fresh=True)
    assert hashes(out) == before


# --- runs over existing folders ---------------------------------------------------------------------------------------


def test_a_finished_run_run_again_does_nothing(corpus: Path, out: Path) -> None:
    run(corpus, out, Counted(low=60))
    CALLS.clear()
    written = (out / "manifest.json").stat().st_mtime_ns
    run(corpus, out, Counted(low=60))
    assert CALLS == []
    assert (out / "manifest.json").stat().st_mtime_ns == written


def test_a_changed_pipeline_is_refused_with_the_difference(corpus: Path, out: Path) -> None:
    run(corpus, out, Counted(low=60))
    with pytest.raises(OutputError, match=r"test\.counted\.low: 60 -> 61"):
        run(corpus, out, Counted(low=61))


def test_a_changed_input_is_refused_by_name(corpus: Path, out: Path) -> None:
    run(corpus, out, Counted())
    with (corpus / "part-1.jsonl").open("ab") as file:
        file.write(b'{"id": "late", "text": "x", "source": "s", "score": 1.0}\n')
    with pytest.raises(OutputError, match=r"part-1\.jsonl: changed"):
        run(corpus, out, Counted())


def test_a_touched_input_is_the_same_input(corpus: Path, out: Path) -> None:
    run(corpus, out, Counted())
    CALLS.clear()
    (corpus / "part-1.jsonl").touch()
    run(corpus, out, Counted())
    assert CALLS == []


def test_an_unfinished_run_resumes(corpus: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hashes(run(corpus, tmp_path / "whole", Counted(low=60), FirstLetter()).root)
    failures = 0
    for number in range(1, 400):
        monkeypatch.setenv("CURATE_FAIL_AT", str(number))
        monkeypatch.setattr("curate.store._operations", 0)
        try:
            run(corpus, out, Counted(low=60), FirstLetter())
        except StoppedError:
            failures += 1
            if number % 5 == 0:
                monkeypatch.delenv("CURATE_FAIL_AT")
                run(corpus, out, Counted(low=60), FirstLetter())
                assert hashes(out) == expected
                shutil.rmtree(out)
            continue
        break
    assert failures > 10
    assert hashes(out) == expected
    assert not list((out / ".curate").glob("tmp/*"))
    assert not (out / ".curate" / "lock").exists()


def test_an_output_inside_the_input_is_refused(corpus: Path) -> None:
    with pytest.raises(OutputError, match="is inside the input"):
        run(corpus, corpus / "out", Counted())


def test_a_folder_in_use_is_refused(corpus: Path, out: Path) -> None:
    from curate import store

    store.prepare(out)
    with store.lock(out), pytest.raises(LockError):
        run(corpus, out, Counted())


# --- bad pipelines over data ------------------------------------------------------------------------------------------


class Shadow(Filter, name="test.shadow"):
    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        return docs.select(source=pl.lit(1))


class Wrong(Filter, name="test.wrong"):
    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        return docs.select(n=pl.lit(1)).head(max(0, docs.height - 1))


class Reads(Filter, name="test.reads"):
    column: str = "missing"

    def drop_when(self) -> dict[str, pl.Expr]:
        return {"rule": pl.col(self.column) > 5}


def test_a_score_must_not_shadow_an_input_column(corpus: Path, out: Path) -> None:
    with pytest.raises(PipelineError, match="score 'source' has the name of an input column"):
        run(corpus, out, Shadow())


def test_unknown_columns_are_all_named_with_the_nearest(corpus: Path, out: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        run(corpus, out, Reads(column="scor"), publish={"columns": ("test.counted.size",)})
    text = str(caught.value)
    assert "no column 'scor' (did you mean 'score'?)" in text
    assert "output.columns" in text


def test_a_filter_that_changes_the_row_count_stops_the_run(corpus: Path, out: Path) -> None:
    with pytest.raises(StepError, match=r"test\.wrong returned .* rows for"):
        run(corpus, out, Wrong())


def test_a_rule_may_read_input_columns_and_earlier_scores(corpus: Path, out: Path) -> None:
    done = run(corpus, out, Counted(), Step(name="a", filter=Reads(column="score")))
    assert done.counts["dropped"] == 180 - 51
    other = run(corpus, out, Counted(), Step(name="a", filter=Reads(column="test.counted")), fresh=True)
    assert other.counts["kept"] == 0


def test_opening_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run"):
        open_run(tmp_path)


# --- output -----------------------------------------------------------------------------------------------------------


def test_shards_are_cut_by_text_bytes(corpus: Path, tmp_path: Path) -> None:
    done = run(corpus, tmp_path / "small", Counted(), publish={"shard_size": 2_000})
    parts = [part for part in done.manifest["outputs"] if part["path"].startswith("dataset/")]
    assert len(parts) > 4
    assert all(part["bytes"] <= 2_000 for part in parts)
    whole = run(corpus, tmp_path / "big", Counted())
    assert done.kept.collect().equals(whole.kept.collect())


def test_scores_can_be_published_and_dropped_records_kept_whole(corpus: Path, out: Path) -> None:
    done = run(corpus, out, Mask(), Counted(low=60), publish={"columns": ("test.counted",), "dropped": "full"})
    assert done.kept.collect()["test.counted.size"].min() >= 60
    dropped = pl.read_parquet(out / "audit" / "dropped" / "*.parquet")
    assert dropped.height == done.counts["dropped"]
    read_back = done.dropped.collect()
    assert dropped["id"].to_list() == read_back["id"].to_list()
    assert dropped.select("text", "source", "score").equals(read_back.select("text", "source", "score"))


def test_audit_is_private(corpus: Path, out: Path) -> None:
    run(corpus, out, Counted())
    assert [(out / name).stat().st_mode & 0o777 for name in ("audit", ".curate")] == [0o700, 0o700]


def test_why_explains_a_dropped_and_a_kept_document(corpus: Path, out: Path) -> None:
    done = run(corpus, out, Counted(low=60), publish={"shard_size": 2_000})
    ledger = done.ledger.collect()
    gone = ledger.filter(~pl.col("kept"))["id"][0]
    answer = done.why(gone)
    assert answer["verdict"] == "dropped"
    assert answer["steps"][0]["broken"] == ["test.counted.too_short"]
    assert answer["steps"][0]["limits"][0]["limit"] == 60
    stays = ledger.filter(pl.col("kept"))["id"][-1]
    place = done.why(stays)["now"]
    assert pl.read_parquet(out / place["shard"])["id"][place["row"]] == stays
    with pytest.raises(UsageError, match="no document 'd1000'"):
        done.why("d1000")


def test_a_trial_reads_some_records_of_each_file(corpus: Path, out: Path) -> None:
    done = run(corpus, out, Counted(), sample=30)
    assert done.counts["read"] == 30
    assert done.ledger.collect()["file"].n_unique() == 3


# --- found by review --------------------------------------------------------------------------------------------------


def test_a_decision_is_made_again_when_a_text_of_the_same_length_changes(tmp_path: Path, out: Path) -> None:
    def write(second: str) -> None:
        texts = ["a one", second, "b two"]
        write_lines(tmp_path / "in.jsonl", [{"id": id, "text": text} for id, text in zip("abc", texts, strict=True)])

    write("a six")
    run(tmp_path / "in.jsonl", out, FirstLetter())
    write("b six")
    again = run(tmp_path / "in.jsonl", out, FirstLetter(), update=True)
    assert again.kept.collect()["id"].to_list() == ["a", "b"]


def test_lost_edits_are_made_again(tmp_path: Path, out: Path) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "my secret"}, {"text": "none"}])
    run(tmp_path / "in.jsonl", out, Mask())
    (out / "manifest.json").unlink()
    shutil.rmtree(out / ".curate" / "results")
    done = run(tmp_path / "in.jsonl", out, Mask())
    assert done.kept.collect()["text"].to_list() == ["my ***", "none"]


def test_a_damaged_decision_is_made_again(corpus: Path, out: Path, tmp_path: Path) -> None:
    run(corpus, out, FirstLetter())
    for path in (out / ".curate" / "decisions").glob("*/0*"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    again = run(corpus, out, FirstLetter(), Counted(), update=True)
    afresh = run(corpus, tmp_path / "afresh", FirstLetter(), Counted())
    assert hashes(again.root) == hashes(afresh.root)


def test_a_manifest_of_something_else_makes_no_run(corpus: Path, out: Path) -> None:
    (out / "dataset").mkdir(parents=True)
    (out / "manifest.json").write_text('{"name": "my web app"}')
    (out / "dataset" / "precious.txt").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(OutputError, match="was not made by curate"):
            run(corpus, out, Counted(), fresh=fresh)
    assert (out / "dataset" / "precious.txt").exists()


def test_a_manifest_without_its_files_is_no_finished_run(corpus: Path, out: Path) -> None:
    run(corpus, out, Counted(low=60))
    before = hashes(out)
    shutil.rmtree(out / "dataset")
    run(corpus, out, Counted(low=60))
    assert hashes(out) == before


def test_a_changed_word_list_is_a_difference(tmp_path: Path, out: Path) -> None:
    from curate.filters import Blocklist

    write_lines(tmp_path / "in.jsonl", [{"text": "good words"}, {"text": "bad words"}])
    (tmp_path / "terms.txt").write_text("ugly\n")
    run(tmp_path / "in.jsonl", out, Blocklist(terms=tmp_path / "terms.txt"))
    (tmp_path / "terms.txt").write_text("bad\n")
    with pytest.raises(OutputError, match="step blocklist: a file that it reads has changed"):
        run(tmp_path / "in.jsonl", out, Blocklist(terms=tmp_path / "terms.txt"))
    again = run(tmp_path / "in.jsonl", out, Blocklist(terms=tmp_path / "terms.txt"), update=True)
    assert again.counts["dropped"] == 1


def test_a_rule_that_fails_on_one_record_quarantines_it(tmp_path: Path, out: Path) -> None:
    from curate.filters import Where

    write_lines(tmp_path / "in.jsonl", [{"text": "a", "n": "5"}, {"text": "b", "n": "x"}, {"text": "c", "n": "1"}])
    done = run(tmp_path / "in.jsonl", out, Where(drop_if="CAST(n AS INTEGER) < 3"), max_quarantined=0.5)
    assert done.quarantine["row"].to_list() == [1]
    assert done.kept.collect()["text"].to_list() == ["a"]


def test_dropped_records_of_files_with_different_columns_come_back(tmp_path: Path, out: Path) -> None:
    write_lines(tmp_path / "in" / "a.jsonl", [{"text": "one", "p": 1}])
    write_lines(tmp_path / "in" / "b.jsonl", [{"text": "two", "q": "x"}])
    dropped = run(tmp_path / "in", out, Counted(low=9)).dropped.collect()
    assert dropped.select("text", "p", "q").rows() == [("one", 1, None), ("two", None, "x")]
