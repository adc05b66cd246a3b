"""The account of one value of a threshold: what is exact, and what the audit sample says of the rest.

It is made from cells: documents and bytes of a ledger counted by state (did they reach the step, does it drop them now,
do they come to the end, are they in the sample, which rules do they break) and by their verdicts for all values, which
are the bits of `mask` and `unanswered`.
"""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from curate.stats import wilson_ends

Row = dict[str, Any]

STATE = ("reached", "here", "goes_on", "sampled", "failed", "mask", "unanswered", "lost_later")


def _bit(column: str, place: int) -> pl.Expr:
    return (pl.col(column) & pl.lit(1 << place, pl.UInt64)) != 0


def dropped(place: int) -> pl.Expr:
    """Whether the step drops a document with this value; what a rule cannot judge goes to quarantine instead."""
    return (_bit("mask", place) | pl.col("other_here")) & ~_bit("unanswered", place)


def count(cells: pl.DataFrame, which: pl.Expr, what: str = "documents") -> int:
    """The documents, or the bytes, of some cells."""
    return int(cells.filter(which)[what].sum())


def account(cells: pl.DataFrame, place: int, value: float | None, asked_later: bool) -> Row:
    """What one value would keep, of the documents in these cells."""
    reached, here, goes_on, sampled = (pl.col(name) for name in STATE[:4])
    out = dropped(place) | _bit("unanswered", place)
    back = here & ~out
    row: Row = {"value": value}
    row |= {"seen": count(cells, reached), "dropped": count(cells, reached & dropped(place))}
    row |= {"unanswered": count(cells, reached & _bit("unanswered", place))}
    row |= {"lost": count(cells, goes_on & out), "back": count(cells, back)}
    row |= _kept(cells, goes_on & ~out, back, asked_later)
    breaks = _bit("mask", place) & ~_bit("unanswered", place)
    row |= _overlap(cells, breaks)
    passes = goes_on | (back & ~pl.col("later") & ~pl.col("lost_later"))
    return row | {"sample_kept": count(cells, sampled & ~out & passes)}


def _kept(cells: pl.DataFrame, stays: pl.Expr, back: pl.Expr, asked_later: bool) -> Row:
    """Documents and bytes that come to the end: those that stay, and of those that are back what later steps leave."""
    ok, sampled = ~pl.col("later") & ~pl.col("lost_later"), pl.col("sampled")
    row: Row = {}
    for what in ("documents", "bytes"):
        sure, newly = count(cells, stays, what), count(cells, back, what)
        name = "kept" if what == "documents" else "kept_bytes"
        if not asked_later:
            row |= {name: sure + newly, f"{name}_low": sure + newly, f"{name}_high": sure + newly}
            continue
        known = count(cells, back & sampled & ok, what)
        tried, open_ = count(cells, back & sampled, what), count(cells, back & ~sampled, what)
        low, high = (0.0, 1.0) if open_ else (0.0, 0.0)
        if tried and open_:
            squares = float(cells.filter(back & sampled)["squares"].sum())
            size = float(tried) if what == "documents" else tried**2 / squares  # documents they are worth (Kish)
            low, high = wilson_ends(known / tried * size, size)
        estimate = sure + known + round(open_ * known / tried) if tried and open_ else None if open_ else sure + known
        row |= {
            name: estimate,
            f"{name}_low": sure + known + math.floor(open_ * low),
            f"{name}_high": sure + known + math.ceil(open_ * high),
        }
    return row


def _overlap(cells: pl.DataFrame, breaks: pl.Expr) -> Row:
    """How many documents of the run break this threshold's rules, alone and with others: from the audit sample."""
    sampled = pl.col("sampled")
    size, documents = count(cells, sampled), count(cells, pl.lit(True))
    hits = count(cells, sampled & breaks)
    alone = count(cells, sampled & breaks & ~pl.col("others"))
    row: Row = {"sample_breaks": hits, "sample_alone": alone}
    for name, found in (("alone", alone), ("overlap", hits - alone)):
        if not size:
            row |= {name: None, f"{name}_low": None, f"{name}_high": None}
            continue
        if size == documents:
            row |= {name: found, f"{name}_low": found, f"{name}_high": found}
            continue
        low, high = wilson_ends(found, size)
        row |= {name: round(documents * found / size)}
        row |= {f"{name}_low": math.floor(documents * low), f"{name}_high": math.ceil(documents * high)}
    hidden, known = ~pl.col("reached"), ~pl.col("reached") & sampled
    tried, open_ = count(cells, known), count(cells, hidden & ~sampled)
    hit = count(cells, known & breaks)
    low, high = wilson_ends(hit, tried) if tried and open_ else (0.0, 1.0 if open_ else 0.0)
    return row | {
        "hidden_breaks": hit + round(open_ * hit / tried) if tried else None if open_ else 0,
        "hidden_breaks_low": hit + math.floor(open_ * low),
        "hidden_breaks_high": hit + math.ceil(open_ * high),
    }
