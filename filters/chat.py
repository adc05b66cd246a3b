"""Check the structure of chat and preference records: roles, empty and cut answers, leaked markers."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.filter import Filter
from curate.filters import turns as records
from curate.filters.keep import typed
from curate.filters.turns import ANSWERS, ROWS, Judgement, Repair, judgement, repair, scores_among

CHECKS = {
    "roles_not_alternating": "P01",
    "last_turn_not_assistant": "P02",
    "empty_response": "P03",
    "truncated_response": "P09",
    "debris": "P10",
    "leaked_markers": "P11",
    "system_prompt_leak": "P12",
    "wrong_language": "P13",
}
EDIT = {"start": pl.Int64, "end": pl.Int64, "put": pl.String}


class ChatChecks(Filter, name="chat_checks"):
    """Check the structure of chat and preference records, mend what can be mended, drop what cannot be trained on.

    Every record is judged as its conversations: the prompt with the response, or with chosen and with rejected. What is
    found is a boolean score; `drop` makes it a rule. By default records are dropped whose last turn is not the
    assistant's, whose response is empty, or that have markers of a chat template which cannot be cut off: inside a
    turn, or where it begins as that of another role, for then nobody knows whose words it holds. Other markers at the
    ends of turns are cut off. All else is tagged. The patterns are our own and know English names and texts.
    """

    record_kinds: ClassVar[tuple[str, ...]] = ("chat", "preference")
    source: ClassVar[str] = "checks P01-P03 and P09-P13 of our own list; see docs/filters.md for what each looks at"
    scores: ClassVar[dict[str, str]] = {
        "roles_not_alternating": "whether user and assistant do not take turns, or the user does not begin (P01)",
        "last_turn_not_assistant": "whether a conversation does not end with the assistant (P02)",
        "empty_response": "whether a last turn of the assistant has nothing to be seen and calls no tool (P03)",
        "truncated_response": "whether a long response stops in a sentence or in a block of code (P09)",
        "debris": "whether a turn has broken encoding, or HTML outside code (P10)",
        "leaked_markers": "whether a turn has markers of a chat template or transcript, after `fix` those left (P11)",
        "system_prompt_leak": "whether the assistant repeats its instructions, or names itself or its maker (P12)",
        "wrong_language": "whether a response is in another language than the prompt (P13); false without labels",
        "found": "`rule/side` of each find, sorted; side is prompt, response, chosen or rejected",
        "mended": "how many turns had markers cut off their ends",
    }

    roles_not_alternating: Judgement = judgement("tag", "whose user and assistant do not take turns (P01)")
    last_turn_not_assistant: Judgement = judgement("drop", "that does not end with the assistant (P02)")
    empty_response: Judgement = judgement("drop", "with an empty response (P03)")
    truncated_response: Judgement = judgement("tag", "with a response that was cut off (P09)")
    debris: Judgement = judgement("tag", "with broken encoding or markup (P10)")
    leaked_markers: Repair = repair(
        "fix",
        "with markers of a chat template or transcript (P11): `fix` cuts them off the ends of turns, but not "
        "the name of another role off the start, and drops the record if any are left, `drop` drops it for any, `tag` "
        "only says so",
    )
    system_prompt_leak: Judgement = judgement("tag", "whose assistant repeats its instructions (P12)")
    wrong_language: Judgement = judgement("tag", "with a response in another language than the prompt (P13)")
    truncated_min_chars: int = Field(
        default=400, ge=0, description="characters from which a response without an end counts as cut off"
    )
    language_columns: tuple[str, ...] | None = Field(
        default=None,
        min_length=2,
        examples=[["language.prompt.label", "language.chosen.label", "language.rejected.label"]],
        description=(
            "columns with the language of the prompt, then of each response; a missing label and `und` are no language"
        ),
    )

    def reads(self) -> tuple[str, ...]:
        """The scores of earlier steps among `language_columns`."""
        return scores_among(self.language_columns)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Find what is wrong with each record, and cut markers off where that is asked for."""
        given = records.turns_of(docs)
        fixes = self.leaked_markers == "fix"
        turns = records.trimmed(given) if fixes else given
        talks = records.conversations(turns)
        last = talks.group_by("row", "of", maintain_order=True).agg(pl.all().last()).with_columns(side="of")
        answers = last.filter(pl.col("role") == "assistant")
        said = turns.filter(pl.col("role") == "assistant")
        content = pl.col("content")
        code = content.str.count_matches("```", literal=True)
        long = content.str.len_chars() >= self.truncated_min_chars
        cut = content.str.contains(records.CUT_OFF) & ~content.str.contains(records.LISTED)
        found = {
            "roles_not_alternating": not_alternating(talks),
            "last_turn_not_assistant": pl.concat(
                [last.filter(pl.col("role") != "assistant").select("row", "side"), _without_turns(docs)]
            ),
            "empty_response": _empty(answers, records.ending_calls(docs)),
            "truncated_response": answers.filter(long).filter((code % 2 == 1) | cut),
            "debris": turns.filter(
                content.str.contains(records.BROKEN)
                | (content.str.contains(records.MARKUP) & ~content.str.contains("`", literal=True))
            ),
            "leaked_markers": turns.filter(content.str.contains(records.MARKERS)),
            "system_prompt_leak": said.filter(content.str.contains(records.MAYBE_INSTRUCTIONS)).filter(
                content.str.contains(records.INSTRUCTIONS)
            ),
            "wrong_language": self._languages(docs),
        }
        scores = records.flags(found, len(docs))
        mended = _edits(given, turns) if fixes else _edits(given.clear(), given.clear())
        joined = records.per_row(mended, len(docs))
        scores = scores.with_columns(joined["mended"].fill_null(0))
        return scores.with_columns(joined["edits"]) if fixes else scores

    def drop_when(self) -> dict[str, pl.Expr]:
        """A rule for each check that is not tagged, with the name of its score.

        `roles_not_alternating`: P01; `last_turn_not_assistant`: P02; `empty_response`: P03; `truncated_response`: P09;
        `debris`: P10; `leaked_markers`: P11, with `fix` only those that are left; `system_prompt_leak`: P12;
        `wrong_language`: P13
        """
        return {name: pl.col(name) for name in CHECKS if getattr(self, name) != "tag"}

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """`checks`: records that each rule found and dropped; `sides`: in which part; `mended`: turns and records."""
        actions = {name: getattr(self, name) for name in CHECKS}
        checks = records.rule_table(ledger, CHECKS, actions, {name: pl.col(name) for name in CHECKS})
        parts = pl.col("found").str.split_exact("/", 1).struct.rename_fields(["rule", "side"])
        finds = ledger.select("found").filter(pl.col("found").list.len() > 0).explode("found").select(parts)
        sides = finds.unnest("found").group_by("rule", "side").agg(records=pl.len()).sort("rule", "side")
        mended = ledger.select(
            turns=pl.col("mended").sum().cast(pl.Int64), records=(pl.col("mended") > 0).sum().cast(pl.Int64)
        )
        return {"checks": checks, "sides": sides.collect(), "mended": mended.collect()}

    def _languages(self, docs: pl.DataFrame) -> pl.DataFrame:
        """The records whose response has another language than their prompt."""
        if self.language_columns is None:
            return pl.DataFrame(schema={"row": ROWS, "side": pl.String})
        labels = [typed(docs, name, pl.String()).replace("und", None) for name in self.language_columns]
        names = ("response",) if len(labels) == 2 else ("chosen", "rejected")
        number = pl.int_range(len(docs), dtype=ROWS, eager=True).alias("row")
        found = [
            number.filter((label != labels[0]).fill_null(False)).to_frame().with_columns(side=pl.lit(side))
            for side, label in zip([*names, *["response"] * len(labels)], labels[1:], strict=False)
        ]
        return pl.concat(found)


def not_alternating(talks: pl.DataFrame) -> pl.DataFrame:
    """The conversations in which one role speaks twice in a row, a tool answers nobody, or the assistant begins.

    System turns do not count. A tool answers the assistant, and so may another tool after it.
    """
    spoken = talks.filter(pl.col("role") != "system")
    before = pl.col("role").shift(1).over("row", "of")
    role = pl.col("role")
    wrong = (
        pl.when(role == "tool")
        .then(before.is_null() | ~before.is_in(["assistant", "tool"]))
        .when(before.is_null())
        .then(role != "user")
        .when(before == "tool")
        .then(role != "assistant")
        .otherwise(role == before)
    )
    return spoken.with_columns(wrong=wrong).filter("wrong").select("row", side="of")


def _empty(answers: pl.DataFrame, calls: pl.Series) -> pl.DataFrame:
    """The answers without a character that is seen, but for records in which as many answers call a tool."""
    empty = answers.filter(~pl.col("content").str.contains(records.SEEN))
    return empty.filter(pl.len().over("row") > calls.gather(empty["row"]))


def _without_turns(docs: pl.DataFrame) -> pl.DataFrame:
    """The records that have no turn at all."""
    rows = docs.select(pl.int_range(pl.len(), dtype=ROWS).alias("row"), size=pl.col("turns").list.len().fill_null(0))
    return rows.filter(pl.col("size") == 0).select("row", side=pl.lit(ANSWERS[0]))


def _edits(given: pl.DataFrame, turns: pl.DataFrame) -> pl.DataFrame:
    """`edits` that make the given turns what they are now, and `mended`, how many turns they change, by row."""
    both = given.select("row", "place", "start", "end").with_columns(first=turns["start"], last=turns["end"])
    changed = both.filter((pl.col("first") != pl.col("start")) | (pl.col("last") != pl.col("end")))
    cuts = pl.concat(
        [
            changed.select("row", "start", end="first"),
            changed.select("row", start="last", end="end"),
        ]
    ).filter(pl.col("end") > pl.col("start"))
    edit = pl.struct("start", "end", put=pl.lit("", pl.String))
    edits = cuts.sort("row", "start").group_by("row", maintain_order=True).agg(edit.alias("edits"))
    return (
        changed.group_by("row", maintain_order=True)
        .agg(pl.len().cast(pl.UInt32).alias("mended"))
        .join(edits, on="row", how="left", maintain_order="left")
    ).select("row", "mended", pl.col("edits").cast(pl.List(pl.Struct(EDIT))))
