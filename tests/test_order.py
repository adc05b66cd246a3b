"""A cheaper order is suggested only when it keeps the same documents and is worth it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from engine import Counted, FirstLetter, Mask, make_corpus

from curate import Pipeline
from curate.console import Quiet
from curate.estimate import estimate
from curate.filter import Filter
from curate.order import Measured, cheaper_order, cost
from curate.pipeline import Step
from curate.plan import Planned, plan_steps
from curate.read import Columns


class ReadsFirst(Filter, name="test.reads_first"):
    column: str = "dear.size"

    def drop_when(self) -> dict[str, pl.Expr]:
        return {"rule": pl.col(self.column) > 5}


def planned(*steps: tuple[str, Filter]) -> tuple[Planned, ...]:
    pipeline = Pipeline(steps=[Step(name=name, filter=filter) for name, filter in steps])
    return plan_steps(pipeline, Columns("text", None, {"text": pl.String()}))


def measured(**facts: tuple[float, list[int]]) -> dict[str, Measured]:
    made = {}
    for name, (seconds, dropped) in facts.items():
        drops = np.zeros(10, bool)
        drops[dropped] = True
        made[name] = Measured(name, seconds, drops)
    return made


def test_cost_counts_what_each_step_still_sees() -> None:
    facts = measured(a=(1.0, [0, 1]), b=(2.0, [1, 2]))
    assert cost([facts["a"], facts["b"]]) == 10 * 1.0 + 8 * 2.0
    assert cost([facts["b"], facts["a"]]) == 10 * 2.0 + 8 * 1.0


def test_the_cheap_step_that_drops_much_comes_first() -> None:
    steps = planned(("dear", Counted(low=9)), ("cheap", Counted(high=9)))
    found = cheaper_order(steps, measured(dear=(10.0, [9]), cheap=(1.0, [0, 1, 2, 3, 4])))
    assert found == {"order": ["cheap", "dear"], "saves": pytest.approx((109 - 60) / 109)}


def test_a_good_order_is_left_alone() -> None:
    steps = planned(("cheap", Counted(high=9)), ("dear", Counted(low=9)))
    assert cheaper_order(steps, measured(dear=(10.0, [9]), cheap=(1.0, [0, 1, 2, 3, 4]))) is None


@pytest.mark.parametrize("between", [Mask(), FirstLetter()])
def test_steps_do_not_cross_one_that_edits_or_needs_the_corpus(between: Filter) -> None:
    steps = planned(("dear", Counted(low=9)), ("between", between), ("cheap", Counted(high=9)))
    facts = measured(dear=(10.0, [9]), cheap=(1.0, [0, 1, 2, 3, 4]), between=(1.0, []))
    if isinstance(between, FirstLetter):
        facts.pop("between")
    assert cheaper_order(steps, facts) is None


def test_a_step_stays_behind_the_one_that_it_reads() -> None:
    steps = planned(("dear", Counted(low=9)), ("cheap", ReadsFirst()))
    assert cheaper_order(steps, measured(dear=(10.0, [9]), cheap=(1.0, [0, 1, 2, 3, 4]))) is None


class Dear(Filter, name="test.dear"):
    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        for _ in range(300):
            docs["text"].str.count_matches(r"\w+")
        return docs.select(fine=pl.repeat(1, pl.len()))


def test_the_estimate_suggests_an_order_that_keeps_the_same_documents(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "in")
    steps = [Step(name="dear", filter=Dear()), Step(name="cheap", filter=Counted(low=60))]
    found = estimate(Pipeline(steps=steps), [str(corpus)], sample=180, watch=Quiet())
    assert found["cheaper_order"]["order"] == ["cheap", "dear"]
    one = Pipeline(steps=steps).run(str(corpus), tmp_path / "one").kept.collect()
    two = Pipeline(steps=steps[::-1]).run(str(corpus), tmp_path / "two").kept.collect()
    assert one.equals(two)
