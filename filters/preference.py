"""Check the pairs of preference records, and measure what chosen responses have in common on their surface."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.filter import Corpus, CorpusFilter
from curate.filters import turns as records
from curate.filters.keep import typed
from curate.filters.preference_marks import marks, surface
from curate.filters.preference_pairs import (
    DECIDES,
    Pairs,
    contradictions,
    differing_prompts,
    equal_texts,
    hashes,
    pairs_of,
    similarity,
)
from curate.filters.turns import Judgement, judgement, scores_among

CHECKS = {
    "prompts_differ": "P04",
    "identical_responses": "P05",
    "near_identical_responses": "P06",
    "swapped_labels": "P07",
    "preference_cycle": "P08",
    "chosen_more_toxic": "P30",
}
NAMES = pl.List(pl.String())
STORED_FOLDS = 10  # the lowest bit says whether a pair is turned round, the rest which of five folds it is in


class PreferenceChecks(CorpusFilter, name="preference_checks"):
    """Check the pairs of preference records, drop those that cannot teach a preference, and measure shortcuts.

    By default pairs are dropped whose prompts differ or whose responses are the same; all else is tagged. Records that
    contradict each other are looked for in the whole corpus, among those with the same prompt and the same responses
    (NFC, case folded, white space collapsed). A response is the last turn of its side. The report says how often the
    longer response is chosen, how often lists, refusals, hedging or flattery are, and how well surface features alone
    tell chosen from rejected. A record with one side only (unpaired) is not judged. Phrases are English.
    """

    record_kinds: ClassVar[tuple[str, ...]] = ("preference",)
    source: ClassVar[str] = (
        "checks P04-P08, P20-P25, P30 and P32 of our own list; near-identical responses as in Llama 3, "
        "arXiv 2407.21783; models: Bradley and Terry 1952"
    )
    scores: ClassVar[dict[str, str]] = {
        "prompts_differ": "whether the sides go different ways before their last turns (P04)",
        "identical_responses": "whether both responses are the same but for case and white space (P05)",
        "near_identical_responses": "whether they have nearly the same words, without being the same (P06)",
        "response_similarity": "Jaccard similarity of the sets of words of both responses; null without words",
        "swapped_with": "id of a record that has the same pair with swapped labels (P07); null when there is none",
        "cycle_with": "ids of the records with which this one goes in a circle: A over B, B over C, C over A (P08)",
        "chosen_more_toxic": "whether chosen is more toxic than rejected (P30); false where either is not scored",
        "toxicity_gap": "toxicity of chosen less that of rejected; null where either is not scored",
        "chosen_words": "words of the chosen response, between white space",
        "rejected_words": "words of the rejected response",
        "chosen_marks": (
            "what the chosen response shows: heading, list, bold, code, emoji, link, refusal, hedging, flattery, and "
            "agreement with a prompt that states an opinion"
        ),
        "rejected_marks": "what the rejected response shows",
        "chosen_groups": "the groups that the chosen response mentions, by `identity_columns`",
        "rejected_groups": "the groups that the rejected response mentions",
        "winner_model": "the model that wrote chosen, by `model_columns`",
        "loser_model": "the model that wrote rejected",
        "prompt_toxicity": "toxicity of the prompt, by `prompt_toxicity_column`",
        "chosen_position": "where raters saw the chosen response, by `position_column`",
        "surface": "surface features of chosen less those of rejected, in the order of the table `shortcut_features`",
        "fold": "which part of the cross-validation the prompt is in, 0 to 9",
        "judged": "whether the record has both sides",
    }

    prompts_differ: Judgement = judgement("drop", "whose prompts differ (P04)")
    identical_responses: Judgement = judgement("drop", "whose responses are the same (P05)")
    near_identical_responses: Judgement = judgement("tag", "whose responses are nearly the same (P06)")
    swapped_labels: Judgement = judgement("tag", "whose pair another record has with swapped labels (P07)")
    preference_cycle: Judgement = judgement("tag", "that goes in a circle with two others (P08)")
    chosen_more_toxic: Judgement = judgement("tag", "whose chosen response is more toxic than the rejected (P30)")
    min_similarity: float = Field(
        default=0.9, gt=0, le=1, description="similarity from which responses are nearly the same"
    )
    min_toxicity_gap: float = Field(
        default=0.3, gt=0, le=1, description="difference from which chosen counts as more toxic than rejected"
    )
    toxicity_columns: tuple[str, str] | None = Field(
        default=None,
        examples=[["toxicity.chosen.max", "toxicity.rejected.max"]],
        description="columns with the toxicity of chosen and of rejected",
    )
    model_columns: tuple[str, str] | None = Field(
        default=None,
        examples=[["chosen_model", "rejected_model"]],
        description="columns with the model that wrote chosen and rejected",
    )
    prompt_toxicity_column: str | None = Field(
        default=None,
        examples=["toxicity.prompt.max"],
        description="column with the toxicity of the prompt, for refusals of harmless prompts apart from others (P23)",
    )
    position_column: str | None = Field(
        default=None,
        examples=["winner"],
        description="column that says where raters saw the chosen response: first or second, a or b (P22)",
    )
    identity_columns: tuple[str, str] | None = Field(
        default=None,
        examples=[["groups.chosen.identity", "groups.rejected.identity"]],
        description="lists of the groups that chosen and rejected mention, for the report's win rates by group (P32)",
    )

    def reads(self) -> tuple[str, ...]:
        """The scores of earlier steps among the columns that are read."""
        single = tuple(name for name in (self.prompt_toxicity_column, self.position_column) if name is not None)
        named = (self.toxicity_columns, self.model_columns, self.identity_columns, single)
        return tuple(name for columns in named for name in scores_among(columns))

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Compare the sides of each record, and describe its responses."""
        turns = records.turns_of(docs)
        pairs = pairs_of(docs, turns)
        alike = similarity(pairs)
        same = equal_texts(pairs) & (records.ending_calls(docs) == 0)  # calls of a tool are not in the texts
        near = (alike >= self.min_similarity).fill_null(False) & ~same
        gap = self._gap(docs)
        return pl.DataFrame(
            [
                (_apart(turns, len(docs)) & pairs.judged).alias("prompts_differ"),
                same.alias("identical_responses"),
                near.alias("near_identical_responses"),
                alike.alias("response_similarity"),
                (gap >= self.min_toxicity_gap - 1e-12).fill_null(False).alias("chosen_more_toxic"),
                gap,
                *_described(pairs),
                *self._groups(docs),
                *self._models(docs),
                _column(docs, self.prompt_toxicity_column, pl.Float64()).fill_nan(None).alias("prompt_toxicity"),
                _column(docs, self.position_column, pl.String()).alias("chosen_position"),
                _folds(pairs.prompt),
                pairs.judged.alias("judged"),
            ]
        )

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Hashes of the prompt and of both responses."""
        turns = records.turns_of(docs)
        return hashes(pairs_of(docs, turns), _apart(turns, len(docs)))

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """`swapped_with` and `cycle_with` of the records that contradict others."""
        find = partial(contradictions, scratch=corpus.scratch)
        found = list(corpus.map(find, list(enumerate(corpus.partitions("prompt")))))
        if found:
            return pl.scan_ipc(found)
        return pl.LazyFrame(schema={"chunk": pl.Int64, "row": pl.Int64, **DECIDES})

    def decides(self) -> dict[str, pl.DataType]:
        """The columns of `decide`."""
        return DECIDES

    def drop_when(self) -> dict[str, pl.Expr]:
        """A rule for each check that is not tagged.

        `prompts_differ`: P04; `identical_responses`: P05; `near_identical_responses`: P06; `swapped_labels`: P07;
        `preference_cycle`: P08; `chosen_more_toxic`: P30
        """
        return {name: rule for name, rule in _finds().items() if getattr(self, name) != "tag"}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`checks`, `bias`, `marks`, `shortcut_features`.

        `refusals`, `positions`, `models` and `identity` where their columns are given.
        """
        from curate.filters import preference_tables as tables

        pairs = tables.pairs_in(ledger)
        actions = {name: getattr(self, name) for name in CHECKS}
        found = {
            "checks": records.rule_table(ledger, CHECKS, actions, _finds()),
            "bias": tables.bias(pairs),
            "marks": tables.mark_table(pairs),
            "shortcut_features": tables.shortcut_weights(pairs),
        }
        if self.prompt_toxicity_column is not None:
            found["refusals"] = tables.refusal_table(ledger)
        if self.position_column is not None:
            found["positions"] = tables.position_table(ledger)
        if self.model_columns is not None:
            found["models"] = tables.model_table(ledger)
        if self.identity_columns is not None:
            found["identity"] = tables.identity_table(ledger)
        return found

    def _gap(self, docs: pl.DataFrame) -> pl.Series:
        named = self.toxicity_columns or (None, None)
        chosen, rejected = (_column(docs, name, pl.Float64()).fill_nan(None) for name in named)
        return (chosen - rejected).alias("toxicity_gap")

    def _models(self, docs: pl.DataFrame) -> list[pl.Series]:
        named = zip(self.model_columns or (None, None), ("winner_model", "loser_model"), strict=True)
        return [_column(docs, given, pl.String()).alias(name) for given, name in named]

    def _groups(self, docs: pl.DataFrame) -> list[pl.Series]:
        named = zip(self.identity_columns or (None, None), ("chosen_groups", "rejected_groups"), strict=True)
        return [_column(docs, given, NAMES).alias(name) for given, name in named]


def _column(docs: pl.DataFrame, name: str | None, kind: pl.DataType) -> pl.Series:
    """A column by its name and type; nulls where none is named."""
    return pl.repeat(None, len(docs), dtype=kind, eager=True) if name is None else typed(docs, name, kind)


def _apart(turns: pl.DataFrame, size: int) -> pl.Series:
    """Whether the sides of each record answer different prompts."""
    number = pl.int_range(size, dtype=records.ROWS, eager=True)
    return number.is_in(differing_prompts(turns)["row"].implode())


def _finds() -> dict[str, pl.Expr]:
    """When each check finds something, over the step's scores."""
    others = {"swapped_labels": "swapped_with", "preference_cycle": "cycle_with"}
    return {name: pl.col(others[name]).is_not_null() if name in others else pl.col(name) for name in CHECKS}


def _described(pairs: Pairs) -> list[pl.Series]:
    """The words and marks of both responses, and how far their surfaces differ."""
    sides = pl.DataFrame([pairs.chosen, pairs.rejected, pairs.question])
    marked = sides.with_columns(
        marks(pl.col(side), pl.col("question")).alias(f"{side}_marks") for side in ("chosen", "rejected")
    )
    one, two = (surface(pl.col(side), pl.col(f"{side}_marks")) for side in ("chosen", "rejected"))
    differences = pl.concat_list((a - b).cast(pl.Float32) for a, b in zip(one, two, strict=True))
    both = pl.col("chosen").is_not_null() & pl.col("rejected").is_not_null()
    return marked.select(
        *(pl.col(side).str.count_matches(r"\S+").alias(f"{side}_words") for side in ("chosen", "rejected")),
        "chosen_marks",
        "rejected_marks",
        pl.when(both).then(differences).alias("surface"),
    ).get_columns()


def _folds(prompt: pl.Series) -> pl.Series:
    """The fold of each prompt, by a hash of its normalised text that no other hash follows from."""
    from curate.kernels.hashing import hash64
    from curate.kernels.text import normalize

    return pl.Series("fold", hash64(normalize(prompt), seed=20) % STORED_FOLDS, dtype=pl.UInt64).cast(pl.UInt8)
