"""What is asked about runs over chat and preference records: why, the plan, runs in memory, earlier corpora, audits."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from engine import words, write_lines

import curate
from curate import Pipeline
from curate.audit_foreign import observe_folders
from curate.console import Quiet
from curate.errors import UsageError
from curate.estimate import estimate
from curate.filters import Language, Length, NearDuplicates, Toxicity
from curate.lookup import add_texts
from curate.pipeline import Step
from curate.reference import print_why
from curate.run import Run


def pair(number: int, prompt: int) -> dict[str, Any]:
    return {
        "id": f"p{number}",
        "prompt": [{"role": "user", "content": words(prompt, 20)}],
        "chosen": [{"role": "assistant", "content": words(1000 + number, 30)}],
        "rejected": [{"role": "assistant", "content": words(2000 + number, 12)}],
    }


PAIRS = [pair(number, number if number < 15 else number - 15) for number in range(20)]  # the last five ask again
NEW = [pair(number, number - 100) for number in (100, 101, 130)]  # two of them ask what is asked in PAIRS


def made(**options: Any) -> Pipeline:
    settings = {"input": {"kind": "preference"}} | {key: options.pop(key) for key in ("output",) if key in options}
    near = NearDuplicates(ngram=2, **options)
    return Pipeline(steps=[Step(name="size", filter=Length(min_words=1), on="both"),
                           Step(name="near", filter=near, on="prompt")], **settings)  # fmt: skip


@pytest.fixture
def done(tmp_path: Path) -> Run:
    return made().run(str(write_lines(tmp_path / "pairs.jsonl", PAIRS)), tmp_path / "out")


def test_why_shows_the_turns_and_compares_what_the_step_compared(done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answer = done.why("p15")
    add_texts(done, answer, 40)
    assert (answer["verdict"], answer["duplicate_of"]) == ("dropped", "p0")
    assert [(turn["side"], turn["role"], turn["text"]) for turn in answer["turns"]] == [
        (side, PAIRS[15][side][0]["role"], PAIRS[15][side][0]["content"][:40])
        for side in ("prompt", "chosen", "rejected")
    ]
    assert answer["shared"]["share"] == 1.0
    limits = [limit["score"] for step in answer["steps"] for limit in step["limits"]]
    assert limits == ["size.chosen.words", "size.rejected.words"]
    print_why(answer)
    assert "chosen, assistant" in capsys.readouterr().out


def test_the_plan_of_records_finds_their_schema(done: Run, tmp_path: Path) -> None:
    found = estimate(made(), [str(tmp_path / "pairs.jsonl")], sample=10, watch=Quiet())
    assert (found["kind"], found["columns"]["text"], found["records"]) == ("preference", None, 20)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the run's own folder goes with it
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "given",
    [list, pl.DataFrame, lambda rows: pl.DataFrame(rows).to_pandas()],
    ids=["list", "polars", "pandas"],
)
def test_records_in_memory(given: Any) -> None:
    found = made()(given(PAIRS))
    assert found.kept.collect()["id"].to_list() == [f"p{number}" for number in range(15)]


@pytest.mark.parametrize("earlier", ["pairs.jsonl", "out", "other"])
def test_an_earlier_corpus_of_records_is_compared_by_the_same_part(done: Run, tmp_path: Path, earlier: str) -> None:
    made(output={"schema": "implicit"}).run(str(tmp_path / "pairs.jsonl"), tmp_path / "other")
    found = made(against=[tmp_path / earlier]).run(str(write_lines(tmp_path / "new.jsonl", NEW)), tmp_path / "now")
    assert found.kept.collect()["id"].to_list() == ["p130"]
    assert found.ledger.collect()["near.prompt.earlier"].null_count() == 1


def test_an_earlier_run_over_texts_is_compared_as_texts(tmp_path: Path) -> None:
    texts = [{"id": one["id"], "text": one["prompt"][0]["content"]} for one in PAIRS[:15]]
    Pipeline(steps=[Length()]).run(str(write_lines(tmp_path / "texts.jsonl", texts)), tmp_path / "texts")
    found = made(against=[tmp_path / "texts"]).run(str(write_lines(tmp_path / "new.jsonl", NEW)), tmp_path / "now")
    assert found.kept.collect()["id"].to_list() == ["p130"]


def test_dropped_records_are_read_back(done: Run) -> None:
    dropped = done.dropped.select("id", "step", "prompt", "chosen").collect().to_dicts()
    assert dropped == [
        {"id": one["id"], "step": "near", "prompt": one["prompt"], "chosen": one["chosen"]} for one in PAIRS[15:]
    ]


def test_an_audit_of_a_pipeline_that_curate_did_not_run_asks_for_texts(tmp_path: Path) -> None:
    before = write_lines(tmp_path / "before.jsonl", PAIRS)
    with pytest.raises(UsageError, match="no input file has the text column 'text'") as error:
        observe_folders(before, before, [], [], {}, id=None, text="text")
    assert "prompt, chosen, rejected" in (error.value.hint or "")


def test_an_audit_of_a_run_over_records_compares_groups(tmp_path: Path) -> None:
    rows = [one | {"group": "ab"[number % 2]} for number, one in enumerate(PAIRS)]
    run = made().run(str(write_lines(tmp_path / "pairs.jsonl", rows)), tmp_path / "out")
    rows = run.audit("group").to_dict()["rows"]
    assert {row["step"] for row in rows} >= {"size", "near"}


def test_scores_of_every_turn_are_compared_between_runs(tmp_path: Path) -> None:
    other = [pair(0, 0) | {"chosen": [{"role": "assistant", "content": words(1000, 37)}]}, *PAIRS[1:]]
    steps = [
        Step(name=name, filter=filter, on="each_turn") for name, filter in (("size", Length()), ("said", Language()))
    ]
    pipe = Pipeline(steps=steps, input={"kind": "preference"})
    before, now = (
        pipe.run(str(write_lines(tmp_path / f"{name}.jsonl", rows)), tmp_path / name)
        for name, rows in (("before", PAIRS), ("now", other))
    )
    found = curate.diff(before, now)
    scores = {score: (different, largest) for score, _, different, largest in found.scores.rows()}
    assert scores["size.each_turn.words"] == (1, 7.0)
    assert scores["said.each_turn.label"][1] is None
    assert [drift.signal for drift in found.drifts if "each_turn" in drift.signal] == []


@pytest.mark.parametrize(
    ("kind", "step", "problem"),
    [
        ("text", "chat_checks", "chat_checks judges chat or preference records, the input is of kind text"),
        ("chat", "preference_checks", "preference_checks judges preference records, the input is of kind chat"),
        ("chat", "{chat_checks: {}, on: prompt}", "chat_checks judges whole records, `on: prompt` is a part"),
        ("preference", "{preference_checks: {}, on: chosen}", "preference_checks judges whole records"),
        ("chat", "{exact_duplicates: {}, on: assistant}", "take one of whole, prompt, first_turn, last_turn; use"),
        (
            "preference",
            "{exact_duplicates: {}, on: both}",
            "take one of whole, prompt, first_turn, last_turn, chosen, rejected;",
        ),
    ],
)
def test_a_filter_that_cannot_judge_such_records_is_refused_before_data_is_read(
    kind: str, step: str, problem: str
) -> None:
    with pytest.raises(curate.PipelineError) as refused:
        Pipeline.parse(f"input: {{kind: {kind}}}\nsteps: [{step}]\n", base=".")
    assert problem in str(refused.value)
    assert str(refused.value).startswith("pipeline.yaml:2")


def test_why_shows_the_scores_of_every_turn_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [Step(name="far", filter=Toxicity(), on="assistant")]
    pairs = [pair(0, 0) | {"chosen": [{"role": "assistant", "content": "\u4f60\u597d\u3002"}]}]
    run = Pipeline(steps=steps, input={"kind": "preference"}).run(
        str(write_lines(tmp_path / "pairs.jsonl", pairs)), tmp_path / "out"
    )
    print_why(run.why("p0"))
    assert "[false, true]" in capsys.readouterr().out
