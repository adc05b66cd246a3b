"""`preference_checks`: pairs, contradictions, and what chosen responses have in common on their surface."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from chat_records import Turn, f1, hh_records, ledger, pair, preference, records
from pydantic import ValidationError

from curate import Pipeline
from curate.errors import CurateError, UsageError
from curate.filters import ExactDuplicates, NearDuplicates, PreferenceChecks
from curate.filters.preference_marks import SURFACE
from curate.filters.preference_pairs import oriented
from curate.filters.preference_tables import spearman
from curate.filters.turns import TURNS
from curate.logistic import fit, held_out
from curate.plan import plan_steps
from curate.read import Columns
from curate.slices import cut, slices
from curate.testing import check_filter, decide

WORDS = ("river", "stone", "lamp", "quiet", "market", "paper", "window", "cloud", "garden", "letter", "silver", "bread",
         "music", "harbor", "winter")  # fmt: skip


def score(*rows: list[Turn], **options: Any) -> pl.DataFrame:
    return PreferenceChecks(**options).score(records(*rows))


def decided(docs: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """All scores of a step, those of the whole corpus too."""
    step = PreferenceChecks(**options)
    found = decide(step, docs)
    assert isinstance(found, pl.DataFrame), found
    return step.score(docs).hstack(found.drop("chunk", "row"))


def tables(docs: pl.DataFrame, **options: Any) -> dict[str, pl.DataFrame]:
    return PreferenceChecks(**options).tables(ledger(docs, decided(docs, **options)))


def value(table: pl.DataFrame, measure: str) -> float:
    return float(table.filter(pl.col("of") == "judged", pl.col("measure").str.starts_with(measure))["value"][0])


# --- pairs ---


def test_sides_that_part_before_their_last_turns_have_different_prompts() -> None:
    one = preference([("user", "a"), ("assistant", "b")], [("user", "a"), ("assistant", "c")])
    two = preference([("user", "a"), ("assistant", "b")], [("user", "x"), ("assistant", "c")])
    longer = preference(
        [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")], [("user", "a"), ("assistant", "d")]
    )
    role = preference([("user", "a"), ("assistant", "b")], [("system", "a"), ("assistant", "c")])

    assert score(one, two, longer, role)["prompts_differ"].to_list() == [False, True, True, True]


def test_prompts_that_differ_in_case_and_white_space_are_the_same() -> None:
    turns = preference([("user", "Who  is it?"), ("assistant", "b")], [("user", "who is\nit?"), ("assistant", "c")])

    assert score(turns)["prompts_differ"].to_list() == [False]


def test_responses_are_the_same_but_for_form_case_and_white_space() -> None:
    scores = score(pair("q", "Caf\u00e9  au lait", "cafe\u0301 AU\nlait "), pair("q", "yes", "no"), pair("q", "", " "))

    assert scores["identical_responses"].to_list() == [True, False, True]
    assert scores["near_identical_responses"].to_list() == [False, False, False]


def test_responses_with_nearly_the_same_words_are_found_by_their_similarity() -> None:
    said = " ".join(WORDS)
    scores = score(pair("q", said, f"{said} indeed"), pair("q", said, f"{said} or not, indeed"))

    assert scores["response_similarity"].to_list() == pytest.approx([15 / 16, 15 / 18])
    assert scores["near_identical_responses"].to_list() == [True, False]


def test_a_record_with_one_side_is_not_judged() -> None:
    scores = score([("prompt", "user", "a"), ("chosen", "assistant", "b")], [("prompt", "user", "a")])

    assert scores["judged"].to_list() == [False, False]
    assert scores.select("prompts_differ", "identical_responses", "near_identical_responses").sum().row(0) == (0, 0, 0)
    assert scores["chosen_words"].to_list() == [1, None]
    assert scores["surface"].to_list() == [None, None]


def test_a_chosen_response_that_is_more_toxic_is_found_where_both_are_scored() -> None:
    docs = records(*[pair("q", "a", "b")] * 4, c=[0.8, 0.8, 0.4, None], r=[0.5, 0.6, 0.9, 0.1])
    scores = PreferenceChecks(toxicity_columns=("c", "r")).score(docs)

    assert scores["chosen_more_toxic"].to_list() == [True, False, False, False]
    assert scores["toxicity_gap"].to_list() == [pytest.approx(0.3), pytest.approx(0.2), pytest.approx(-0.5), None]


# --- contradictions ---


def test_a_pair_with_swapped_labels_names_the_first_record_that_says_the_opposite() -> None:
    docs = records(pair("q", "A", "B"), pair("Q ", "b", "a"), pair("other", "B", "A"), pair("q", "A", "B"))

    assert decided(docs)["swapped_with"].to_list() == ["r1", "r0", None, "r1"]


def test_answers_to_different_prompts_contradict_nobody() -> None:
    one = preference([("user", "a"), ("assistant", "yes")], [("user", "b"), ("assistant", "no")])
    two = preference([("user", "c"), ("assistant", "no")], [("user", "d"), ("assistant", "yes")])

    assert decided(records(one, two))["swapped_with"].to_list() == [None, None]


def test_identical_responses_do_not_contradict_themselves() -> None:
    assert decided(records(pair("q", "a", "A"), pair("q", "b", "c")))["swapped_with"].to_list() == [None, None]


def test_three_records_go_in_a_circle() -> None:
    docs = records(
        pair("q", "a", "b"), pair("q", "b", "c"), pair("q", "c", "a"), pair("q", "c", "d"), pair("z", "c", "a")
    )

    assert decided(docs)["cycle_with"].to_list() == [["r1", "r2"], ["r2", "r0"], ["r0", "r1"], None, None]


def test_a_chain_is_no_circle() -> None:
    docs = records(pair("q", "a", "b"), pair("q", "b", "c"), pair("q", "a", "c"))

    assert decided(docs)["cycle_with"].null_count() == 3


def test_defaults_drop_what_teaches_no_preference() -> None:
    every = dict.fromkeys(("swapped_labels", "preference_cycle", "near_identical_responses"), "drop")

    assert set(PreferenceChecks().drop_when()) == {"prompts_differ", "identical_responses"}
    assert set(every) <= set(PreferenceChecks(**every).drop_when())
    with pytest.raises(ValidationError):
        PreferenceChecks(swapped_labels="fix")  # type: ignore[arg-type]


def test_texts_are_refused_when_the_run_is_planned() -> None:
    pipe = Pipeline(steps=[PreferenceChecks()], input={"kind": "preference"})
    with pytest.raises(CurateError, match="no column 'turns'"):
        plan_steps(pipe, Columns("text", None, {"text": pl.String()}))


# --- what responses show ---


@pytest.mark.parametrize(
    ("response", "marks"),
    [
        ("## Plan\n\n- one\n- two", ["heading", "list"]),
        ("1. one\n2. **two**", ["list", "bold"]),
        ("```\nx\n```", ["code"]),
        ("Sure 👍 see https://example.org", ["emoji", "link"]),
        ("I'm sorry, but I can't help with that.", ["refusal"]),
        ("I won't answer that.", ["refusal"]),
        ("It depends. Perhaps tomorrow.", ["hedging"]),
        ("Great question! It is blue.", ["flattery"]),
        ("Yes, it is.", []),
        ("Plain words, 3 - 4 of them.", []),
        ("**两** and 中文**粗体**中文", ["bold"]),
        ("x**2 + y**2, f(**a, **b), __init__ and __main__", []),
        ("I\u2019m sorry, I can\u2019t.", ["refusal"]),
        ("Sorry, we're not allowed to say.", ["refusal"]),
        ("I'm sorry that this happened to you. I'm sorry if it hurts.", []),
        ("I'm sorry, I don't understand the question.", []),
        ("I can't help but admire it. He works as an air traffic controller.", []),
        ("I'm not going to lie: it is hard.", []),
    ],
)
def test_marks_of_a_response(response: str, marks: list[str]) -> None:
    scores = score(pair("What is it?", response, "Plain."))

    assert scores["chosen_marks"].to_list() == [marks]
    assert scores["rejected_marks"].to_list() == [[]]


def test_agreement_counts_only_after_an_opinion() -> None:
    scores = score(
        pair("I think that cats are best.", "You're right!", "No."),
        pair("Are cats best?", "You're right!", "No."),
        pair("I think that cats are best.", "Absolutely not!", "No."),
    )

    assert scores["chosen_marks"].to_list() == [["agreement"], [], []]


def test_surface_features_of_a_pair_turned_round_are_the_opposite() -> None:
    scores = score(pair("q", "Yes! **Two** 22.", "no"), pair("q", "no", "Yes! **Two** 22."))
    one, two = scores["surface"].to_list()

    assert len(one) == len(SURFACE)
    assert one == [-value for value in two]


# --- tables ---


def test_the_length_table_leaves_ties_out_and_has_wilson_intervals() -> None:
    docs = records(pair("q", "a b c", "a"), pair("r", "a", "b"), pair("s", "a b", "c"), pair("t", "a", "b c"))
    row = tables(docs)["bias"].row(0, named=True)

    assert row["pairs"] == 3
    assert row["value"] == pytest.approx(2 / 3)
    assert (row["low"], row["high"]) == (pytest.approx(0.2077, abs=1e-4), pytest.approx(0.9385, abs=1e-4))
    assert row["note"] == "1 pairs of equal length left out"


def random_pairs(longer_chosen: float, number: int = 600, seed: int = 1) -> pl.DataFrame:
    """Pairs of random words of which one response has twice the words, chosen with a given chance."""
    chooser = random.Random(seed)
    rows = []
    for place in range(number):
        short = " ".join(chooser.choices(WORDS, k=10))
        long = " ".join(chooser.choices(WORDS, k=20))
        first = chooser.random() < longer_chosen
        rows.append(pair(f"prompt {place}", long if first else short, short if first else long))
    return records(*rows)


def test_a_shortcut_is_found_and_warned_of() -> None:
    bias = tables(random_pairs(0.85))["bias"]
    row = bias.filter(pl.col("of") == "judged", pl.col("measure").str.starts_with("shortcut AUC")).row(0, named=True)

    assert row["value"] == pytest.approx(0.85, abs=0.05)
    assert row["low"] < row["value"] < row["high"]
    assert row["note"].startswith("warning")
    assert value(bias, "AUC of length") == pytest.approx(0.85, abs=0.05)
    assert value(bias, "rank correlation") == pytest.approx(0.7, abs=0.1)


def test_a_shortcut_in_the_other_direction_is_one_too() -> None:
    bias = tables(random_pairs(0.15))["bias"]

    assert value(bias, "AUC of length") == pytest.approx(0.15, abs=0.05)
    assert value(bias, "shortcut AUC") == pytest.approx(0.85, abs=0.05)


def test_labels_at_random_have_no_shortcut() -> None:
    bias = tables(random_pairs(0.5))["bias"]

    assert value(bias, "shortcut AUC") == pytest.approx(0.5, abs=0.07)
    assert bias["note"].str.starts_with("warning").fill_null(False).sum() == 0


def test_a_prompt_that_was_learned_by_heart_is_in_one_fold() -> None:
    docs = records(*[pair("the same", " ".join(WORDS), "no")] * 120)
    scores = PreferenceChecks().score(docs)
    bias = tables(docs)["bias"]

    assert scores["fold"].n_unique() == 1
    assert bias["note"].drop_nulls().to_list().count("not computed: all prompts are in one fold") == 2


def test_few_pairs_have_no_shortcut_figure() -> None:
    bias = tables(records(pair("q", "a", "b c")))["bias"]

    assert "not computed: fewer than 100 pairs" in bias["note"].to_list()


def test_mark_and_identity_tables_count_where_one_side_has_it() -> None:
    docs = records(
        pair("q", "- a list", "none"), pair("r", "- a", "- b"), pair("s", "none", "- b"),
        c=[["age"], [], ["age"]], r=[[], ["age"], []],
    )  # fmt: skip
    options: dict[str, Any] = {"identity_columns": ("c", "r")}
    found = tables(docs, **options)

    listed = found["marks"].filter(pl.col("mark") == "list").row(0, named=True)
    assert [listed[name] for name in ("chosen", "rejected", "only_chosen", "only_rejected")] == [2, 2, 1, 1]
    assert found["identity"].select("group", "only_chosen", "only_rejected").rows() == [("age", 2, 1)]
    assert found["identity"]["gap"][0] == pytest.approx(1 / 6)


def test_refusals_of_harmless_prompts_are_counted_apart() -> None:
    no, yes = "I cannot help with that.", "Sure: boil it."
    docs = records(
        pair("q1", no, yes), pair("q2", no, yes), pair("q3", yes, no), pair("q4", no, yes), pair("q5", yes, yes),
        t=[0.1, 0.49, 0.5, None, float("nan")],
    )  # fmt: skip
    found = tables(docs, prompt_toxicity_column="t")["refusals"]

    assert found.select("prompt", "pairs", "only_chosen", "only_rejected").rows() == [
        ("harmless", 2, 2, 0), ("toxic", 1, 0, 1), ("not scored", 2, 1, 0),
    ]  # fmt: skip
    assert found["win_rate"].to_list() == [1, 0, 1]


def test_places_in_which_raters_saw_the_chosen_response_have_shares() -> None:
    docs = records(*[pair(f"q{place}", "a", "b") for place in range(5)], place=["first"] * 3 + ["second", None])
    found = tables(docs, position_column="place")["positions"]

    assert found.select("position", "chosen", "share").rows() == [("first", 3, 0.75), ("second", 1, 0.25)]
    assert ((found["low"] < found["share"]) & (found["share"] < found["high"])).all()


def test_models_are_ranked_by_strength() -> None:
    docs = records(
        *[pair(f"q{place}", "a", "b") for place in range(40)],
        won=["x"] * 15 + ["y"] * 5 + ["y"] * 15 + ["z"] * 5, lost=["y"] * 15 + ["x"] * 5 + ["z"] * 15 + ["y"] * 5,
    )  # fmt: skip
    models = tables(docs, model_columns=("won", "lost"))["models"]

    assert models["model"].to_list() == ["x", "y", "z"]
    assert models.select("won", "lost").rows() == [(15, 5), (20, 20), (5, 15)]
    strength = models["strength"][0]  # of 20 pairs 15 were won: where the likelihood and the ridge have their maximum
    assert 20 / (1 + np.exp(-strength)) + strength == pytest.approx(15)
    assert models["strength"].to_list() == pytest.approx([strength, 0, -strength])


@pytest.mark.parametrize("model", ["x", None])
def test_models_that_never_met_another_have_no_rank(model: str | None) -> None:
    docs = records(pair("q", "a", "b"), won=[model], lost=[model])

    assert tables(docs, model_columns=("won", "lost"))["models"].is_empty()


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("identity_columns", ["age"]), ("toxicity_columns", [[0.5]]), ("model_columns", [["m"]]),
        ("prompt_toxicity_column", [[0.5]]), ("position_column", [["a"]]),
    ],
)  # fmt: skip
def test_columns_of_another_kind_are_refused(option: str, values: list[Any]) -> None:
    named = ("c", "c") if option.endswith("s") else "c"
    with pytest.raises(UsageError, match="the column 'c' is"):
        PreferenceChecks(**{option: named}).score(records(pair("q", "a", "b"), c=values))


def test_too_many_pairs_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.filters.preference_tables.MOST_PAIRS", 100)
    rows = [row for docs in (random_pairs(1.0, 150), random_pairs(0.0, 150)) for row in docs["turns"].to_list()]
    texts = pl.concat([random_pairs(1.0, 150)["text"], random_pairs(0.0, 150)["text"]])
    docs = records(*[[]] * 300).with_columns(texts, pl.Series("turns", rows, dtype=TURNS))
    bias = tables(docs)["bias"]
    row = bias.filter(pl.col("measure").str.starts_with("shortcut")).row(0, named=True)

    assert row["pairs"] == 100
    assert value(bias, "shortcut AUC") < 0.7  # of the first hundred alone it is 1


def test_checks_are_counted_with_their_action() -> None:
    checks = tables(records(pair("q", "a", "b"), pair("q", "b", "a"), pair("q", "c", "C")))["checks"]

    assert checks.filter(pl.col("records") > 0).rows() == [
        ("P05", "identical_responses", "drop", 1, 0),
        ("P07", "swapped_labels", "tag", 2, 0),
    ]


# --- logistic regression ---


def test_logistic_regression_finds_the_weights_that_made_the_labels() -> None:
    draw = np.random.default_rng(5)
    features = draw.normal(size=(20_000, 3))
    positive = draw.random(20_000) < 1 / (1 + np.exp(-features @ [1.0, -0.5, 0.0]))

    assert fit(features, positive).tolist() == pytest.approx([1.0, -0.5, 0.0], abs=0.06)


def test_rows_seen_often_count_as_often() -> None:
    features, positive = np.array([[1.0], [-1.0]]), np.array([True, True])

    assert fit(features, positive, counts=np.array([3.0, 1.0])) == pytest.approx(
        fit(features[[0, 0, 0, 1]], np.ones(4, np.bool_))
    )


def test_separable_labels_have_finite_weights() -> None:
    weights = fit(np.array([[1.0, 0.0], [-1.0, 0.0]] * 50), np.array([True, False] * 50))

    assert 2 < weights[0] < 10
    assert weights[1] == 0


def test_what_is_said_of_a_fold_does_not_depend_on_its_labels() -> None:
    draw = np.random.default_rng(2)
    features, folds = draw.normal(size=(200, 2)), np.arange(200) % 4
    positive = features[:, 0] > 0
    flipped = np.where(folds == 1, ~positive, positive)

    assert held_out(features, positive, folds)[folds == 1] == pytest.approx(
        held_out(features, flipped, folds)[folds == 1]
    )


def test_half_of_the_pairs_are_turned_round() -> None:
    positive, negative = oriented(np.array([1.0, 2.0, 3.0]), np.array([0.0, 3.0, 4.0]))

    assert (positive.tolist(), negative.tolist()) == ([1.0, 3.0], [-2.0])


def test_a_length_that_does_not_vary_has_no_rank_correlation() -> None:
    assert spearman(np.zeros(5)) is None


# --- contract ---


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model_columns": ("won", "lost"), "toxicity_columns": ("c", "r"), "swapped_labels": "drop"},
        {"prompt_toxicity_column": "c", "position_column": "won"},
    ],
    ids=str,
)
def test_preference_checks_keeps_the_contract(options: dict[str, Any]) -> None:
    docs = records(
        pair("q", "a", "b"), pair("q", "b", "a"), [("prompt", "user", "x")], [],
        preference([("user", "a"), ("assistant", "b")], [("user", "c"), ("assistant", "d")]),
        won=["x", None, "y", "x", "x"], lost=["y"] * 5, c=[0.9, 0.1, None, 0.5, 0.5], r=[0.1, float("nan"), 0.2, 0, 0],
    )  # fmt: skip
    check_filter(PreferenceChecks(**options), docs)


# --- planted defects ---


@pytest.mark.parametrize("rule", ["prompts_differ", "identical_responses", "near_identical_responses", "swapped_with"])
def test_planted_defects_are_found_and_nothing_else(rule: str) -> None:
    chooser = random.Random(rule)

    def said(number: int) -> str:
        return " ".join(f"{word}{chooser.randrange(50)}" for word in chooser.choices(WORDS, k=number)) + "."

    rows: list[list[Turn]] = []
    for number in range(600):
        prompt, chosen, rejected = said(8), said(chooser.randint(20, 60)), said(chooser.randint(20, 60))
        if number % 4 == 0 and rule == "prompts_differ":
            rows.append(
                preference([("user", prompt), ("assistant", chosen)], [("user", said(8)), ("assistant", rejected)])
            )
        elif number % 4 == 0 and rule == "identical_responses":
            rows.append(pair(prompt, chosen, f" {chosen.upper()}\n"))
        elif number % 4 == 0 and rule == "near_identical_responses":
            rows.append(pair(prompt, chosen, chosen + " " + chooser.choice(WORDS)))
        elif number % 4 == 0 and rule == "swapped_with" and number % 8:
            _, before_chosen, before_rejected = rows[number - 4]
            rows.append(pair(rows[number - 4][0][2], before_rejected[2], before_chosen[2]))
        else:
            rows.append(pair(prompt, chosen, rejected))
    planted = pl.Series([number % 4 == 0 for number in range(600)])

    scores = decided(records(*rows)).with_columns(pl.col("swapped_with").is_not_null())

    assert f1(scores[rule], planted) >= 0.99
    others = {"prompts_differ", "identical_responses", "near_identical_responses", "swapped_with"} - {rule}
    assert not scores.select(pl.any_horizontal(others).any()).item()


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_pairs_of_hh_rlhf_have_the_known_defects_and_lengths() -> None:
    docs = hh_records()
    scores = PreferenceChecks().score(docs)
    gap = scores["chosen_words"].cast(pl.Int64) - scores["rejected_words"].cast(pl.Int64)

    assert len(docs) == 2312
    assert scores["prompts_differ"].sum() == 5
    assert scores["identical_responses"].sum() == 0
    assert scores["near_identical_responses"].sum() == 4
    assert [int((gap < 0).sum()), int((gap > 0).sum()), int((gap == 0).sum())] == [1274, 993, 45]
    found = tables(docs)
    bias = found["bias"]
    refusals = found["marks"].filter(pl.col("mark") == "refusal").select("chosen", "rejected").row(0)
    assert refusals == (79, 30)  # by our pattern, about 104 of them right; SCIENCE 4.2 has 47 and 25 by another
    assert value(bias, "mean words of chosen") == pytest.approx(30.8, abs=0.05)
    assert value(bias, "mean words of rejected") == pytest.approx(38.8, abs=0.05)
    row = bias.row(0, named=True)  # SCIENCE 4.2: rejected longer in 56.2 % [54.1, 58.2]
    assert [row["value"], row["low"], row["high"]] == pytest.approx([1 - 0.562, 1 - 0.582, 1 - 0.541], abs=1e-3)


@pytest.mark.shared
def test_first_turns_of_hh_rlhf_repeat() -> None:
    """274 rows are near-duplicates by word 2-grams. SCIENCE has 137 repeats, of letters and digits alone, case folded
    (test_conversations); 134 are the same to the byte, 135 but for case and white space, as for `exact_duplicates`.
    """
    docs = hh_records()
    first = docs.select("id", text="first")
    assert cut(docs, slices(docs["turns"], "first_turn"))["text"].to_list() == first["text"].to_list()
    same, near = decide(ExactDuplicates(), first), decide(NearDuplicates(ngram=2), first)
    assert isinstance(same, pl.DataFrame)
    assert isinstance(near, pl.DataFrame)

    assert len(first) - first["text"].n_unique() == 134
    assert same["duplicate_of"].is_not_null().sum() == 135
    assert near["cluster_size"].is_not_null().sum() == 274
