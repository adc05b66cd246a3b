"""The turns of chat and preference records as rows, and what is wrong with them: shared by the filters of records.

A record's `text` holds its turns; the column `turns` says whose each is and where it starts and ends, in UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl
from pydantic import Field

from curate.errors import UsageError
from curate.filter import threshold
from curate.slices import TURNS_TYPE as TURNS

ROWS = pl.UInt32
CALLS = ("tool_calls", "function_call")  # as in curate.messages: with one of them a message may have no content
ANSWERS = ("response", "chosen", "rejected")
NAMES = pl.List(pl.String)

Judgement = Literal["drop", "tag"]
Repair = Literal["drop", "fix", "tag"]

# Tokens of chat templates (ChatML, Llama 2 and 3, Gemma, Zephyr, Mistral), and transcript names at the start of a line.
MARKERS = (
    r"<\|im_start\|>(?:system|user|assistant|tool)?|<\|im_(?:end|sep)\|>"
    r"|<\|start_header_id\|>\w*<\|end_header_id\|>|<\|(?:eot_id|eom_id|begin_of_text|end_of_text|endoftext)\|>"
    r"|<\|(?:system|user|assistant|end|prompter|endofprompt)\|>|<(?:start|end)_of_turn>(?:user|model)?"
    r"|\[/?INST\]|<</?SYS>>|</s>|(?m:^)(?:Human|Assistant):"
    r"|(?m:^)### ?(?:Human|Assistant|User|System|Instruction|Response|Input):"
)
AT_START = rf"\A(?:\s*(?:{MARKERS}))+\s*"
AT_END = rf"(?:\s*(?:{MARKERS}))+\s*\z"
NAMED = r"(?is)\A.*(human|user|prompter|instruction|input|assistant|model|response|system|tool)"  # the last name
SPEAKERS = {
    **dict.fromkeys(("human", "user", "prompter", "instruction", "input"), "user"),
    **dict.fromkeys(("assistant", "model", "response"), "assistant"),
}

# UTF-8 read as Windows-1252 or Latin-1, characters that were lost, C1 control characters.
BROKEN = r"\u{FFFD}|[ÃÂ][\u{80}-\u{BF}]|â€[\u{80}-\u{BF}™œ˜š›žŸ“”¦¢]|[\u{80}-\u{9F}]"
MARKUP = (
    r"&(?:amp|lt|gt|quot|nbsp|apos|#\d{2,5}|#x[0-9A-Fa-f]{2,5});"
    r"|</?(?:p|br|div|span|td|tr|table|ul|ol|li|font|a)(?:\s[^<>]{0,200})?/?>"
)
MAKER = (
    r"(?:developed|trained|created|made|built) by "
    r"(?:openai|anthropic|google|meta ai|mistral|alibaba|deepseek)(?-u:\b)"
)
LEAKS = (
    r"(?i)\A\s*you are an? (?:helpful|friendly|harmless|honest|respectful|large language|ai )"
    r"|(?-u:\b)as an? (?:large language|(?:ai|artificial intelligence)(?: language)?|language) model"
    r"(?: trained [^.!?\n]{0,60})?,? (?:i|my)(?-u:\b)"
    r"|(?-u:\b)(?:i am|i['’]m|my name is) (?:chatgpt|gpt-?\d|claude|gemini|bard|llama|qwen|deepseek|mistral)(?-u:\b)"
)
MAYBE_INSTRUCTIONS = rf"{LEAKS}|(?-u:\b){MAKER}"  # six times as fast, and few turns match it
I_AM = r"(?-u:\b)i(?: am|['’]m| was|['’]ve been| have been)(?-u:\b)"
INSTRUCTIONS = rf"{LEAKS}|{I_AM}[^.!?\n]{{0,80}}(?-u:\b){MAKER}"
# A letter with its marks at the end; Thai and Lao write no full stop.
CUT_OFF = r"(?:[\p{L}--[\p{Thai}\p{Lao}]]\p{M}*|[\p{N},(\u{2013}\u{2014}-])\s*\z"
SEEN = r"[^\s\p{Cf}\p{Cc}]"  # a character that leaves a mark: not white space, of no width, or for control
LISTED = r"(?:\A|\n)\s*(?:[-*+•|#>]|\d+[.)])[^\n]*\s*\z"  # the last line of a list, a table or a heading needs no stop


def judgement(default: Judgement, what: str) -> Any:
    """The option that says what becomes of records that a rule finds."""
    return threshold(
        default,
        examples=["drop"],
        description=f"what becomes of a record {what}: `drop`, or `tag` (its score says so)",
    )


def repair(default: Repair, what: str) -> Any:
    """The same of a rule whose finds can be mended."""
    return Field(default=default, examples=["fix"], description=f"what becomes of a record {what}")


def need_turns(docs: pl.DataFrame) -> None:
    """Raise UsageError where documents have no turns."""
    if "turns" not in docs.columns:
        raise UsageError(
            "there is no column 'turns': this filter judges chat and preference records, not texts",
            hint="set `kind: chat` or `kind: preference` in the pipeline's `input`, and let the step see whole records",
        )
    if docs.schema["turns"] != TURNS:
        raise UsageError(
            f"the column 'turns' is {docs.schema['turns']}, wanted {TURNS}", hint="rename the column of the input"
        )


def turns_of(docs: pl.DataFrame) -> pl.DataFrame:
    """Every turn in order: `row, place, side, role, start, end, content`."""
    need_turns(docs)
    exploded = (
        docs.select(
            pl.int_range(pl.len(), dtype=ROWS).alias("row"), "turns", pl.col("text").cast(pl.String).cast(pl.Binary)
        )
        .explode("turns", empty_as_null=False, keep_nulls=False)
        .unnest("turns")
    )
    content = pl.col("text").bin.slice(pl.col("start"), pl.col("end") - pl.col("start")).cast(pl.String)
    place = pl.int_range(pl.len(), dtype=ROWS).over("row")
    return exploded.select("row", place.alias("place"), "side", "role", "start", "end", content.alias("content"))


def ending_calls(docs: pl.DataFrame) -> pl.Series:
    """How many of each record's lists of messages end with the call of a tool, which need not say anything."""
    found = list[pl.Expr]()
    for name, kind in docs.schema.items():
        if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
            for field in kind.inner.fields:
                if field.name in CALLS:
                    found.append(_given(pl.col(name).list.last().struct.field(field.name), field.dtype))
    return docs.select(calls=pl.sum_horizontal(pl.repeat(0, pl.len()), *found).cast(pl.UInt32)).to_series()


def _given(value: pl.Expr, kind: Any) -> pl.Expr:
    """Whether there is a value: JSON text or a list may be an empty one."""
    if isinstance(kind, pl.List):
        return (value.list.len() > 0).fill_null(False)
    if kind == pl.String:
        return (~value.is_in(["", "[]", "{}", "null"])).fill_null(False)
    return value.is_not_null()


def trimmed(turns: pl.DataFrame) -> pl.DataFrame:
    """The turns without the markers at their ends: `start`, `end` and `content` are of what stays.

    Markers at the start stay that name another role than the turn's: what follows may be the words of that role.
    """
    marked = turns["content"].str.contains(MARKERS)
    if not marked.any():
        return turns
    first = pl.col("content").str.extract(AT_START, 0)
    named = first.str.extract(NAMED, 1).str.to_lowercase().replace(SPEAKERS)
    own = (named == pl.col("role")).fill_null(True)
    lead = pl.when(own).then(first.str.len_bytes()).fill_null(0).cast(pl.Int64)
    mended = turns.filter(marked).with_columns(start=pl.col("start") + lead, old=pl.col("start"))
    rest = pl.col("content").cast(pl.Binary).bin.slice(pl.col("start") - pl.col("old")).cast(pl.String)
    mended = mended.with_columns(content=rest)
    tail = pl.col("content").str.extract(AT_END, 0).str.len_bytes().fill_null(0).cast(pl.Int64)
    mended = mended.with_columns(end=pl.col("end") - tail)
    left = pl.col("content").cast(pl.Binary).bin.slice(0, pl.col("end") - pl.col("start")).cast(pl.String)
    mended = mended.with_columns(content=left).drop("old")
    return pl.concat([turns.filter(~marked), mended]).sort("row", "place")


def conversations(turns: pl.DataFrame) -> pl.DataFrame:
    """The turns of each conversation in order, with `of`: chosen, rejected, or `response` in a chat.

    The turns of a prompt belong to every answer of the record.
    """
    sides = turns.filter(pl.col("side") != "prompt").select("row", of="side").unique()
    alone = turns.select("row").unique().join(sides, on="row", how="anti").with_columns(of=pl.lit("response"))
    of = pl.concat([sides, alone])
    shared = turns.filter(pl.col("side") == "prompt").join(of, on="row")
    own = turns.filter(pl.col("side") != "prompt").with_columns(of="side")
    return pl.concat([shared, own]).sort("row", "of", "place")


def last_turns(turns: pl.DataFrame, size: int, side: str) -> pl.Series:
    """The last turn of one side of every record, null where there is none."""
    last = turns.filter(pl.col("side") == side).group_by("row", maintain_order=True).agg(pl.col("content").last())
    return per_row(last, size)["content"].alias(side)


def per_row(found: pl.DataFrame, size: int) -> pl.DataFrame:
    """Columns by `row` as one row for each record, in order, nulls where a record has none."""
    every = pl.DataFrame({"row": pl.int_range(size, dtype=ROWS, eager=True)})
    return every.join(found.with_columns(pl.col("row").cast(ROWS)), on="row", how="left", maintain_order="left")


def flags(found: Mapping[str, pl.DataFrame], size: int) -> pl.DataFrame:
    """One boolean column for each rule, and `found`: `rule/side` of each find; `found` has `row` and `side` by rule."""
    listed = pl.concat(
        [
            one.select(pl.col("row").cast(ROWS), rule=pl.lit(name), side=pl.col("side").cast(pl.String))
            for name, one in found.items()
        ]
    ).unique()
    named = (
        listed.sort("row", "rule", "side")
        .group_by("row", maintain_order=True)
        .agg(pl.format("{}/{}", "rule", "side").alias("found"))
    )
    names = per_row(named, size)["found"].fill_null(pl.lit([], dtype=NAMES))
    rows = {name: listed.filter(pl.col("rule") == name)["row"].unique() for name in found}
    number = pl.int_range(size, dtype=ROWS, eager=True)
    return pl.DataFrame([*(number.is_in(own.implode()).alias(name) for name, own in rows.items()), names])


def rule_table(
    ledger: pl.LazyFrame, rules: Mapping[str, str], actions: Mapping[str, str], finds: Mapping[str, pl.Expr]
) -> pl.DataFrame:
    """`check, rule, action, records, dropped`: how many records each rule found, and how many it was first to drop."""
    names = list(rules)
    counted = ledger.select(
        *(finds[name].fill_null(False).sum().alias(f"{name}.records") for name in names),
        *((pl.col("rule").eq_missing(name)).sum().alias(f"{name}.dropped") for name in names),
    ).collect()
    rows = [
        (rules[name], name, actions[name], int(counted[f"{name}.records"][0]), int(counted[f"{name}.dropped"][0]))
        for name in names
    ]
    kinds = {"check": pl.String, "rule": pl.String, "action": pl.String, "records": pl.Int64, "dropped": pl.Int64}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def scores_among(columns: Sequence[str] | None) -> tuple[str, ...]:
    """The scores of earlier steps among the columns of an option."""
    return tuple(dict.fromkeys(name for name in columns or () if "." in name))
