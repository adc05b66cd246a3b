"""The filter contract: options, rules, registry, plugin files, filters made from functions."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
from pydantic import Field, ValidationError

import curate
from curate import Filter, PluginError, above, below, threshold
from curate import filter as contract
from curate.filter import CorpusFilter, Limit, as_tuples, code_version, find_filter, load_plugin, nearest, registered
from curate.testing import check_filter

DOCS = pl.DataFrame({"id": ["a", "b", "c"], "text": ["LOUD", "Quiet voice", ""]})


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Take what a test registers out of the registry again."""
    registered()
    before, plugins = dict(contract._registry), dict(contract._plugins)
    yield
    for known, kept in ((contract._registry, before), (contract._plugins, plugins)):
        known.clear()
        known.update(kept)


# --- options and rules ------------------------------------------------------------------------------------------------


class Shout(Filter, name="test.shout"):
    """Drop texts in capitals."""

    scores: ClassVar = {"capitals": "share of capital letters"}
    least_chars: int = Field(1, description="shorter texts are not judged")
    max_share: float | None = threshold(None, ge=0, le=1, description="drop above this share")
    path: Path | None = None

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        capitals = pl.col("text").str.count_matches("[A-Z]") / pl.col("text").str.len_chars().clip(1)
        return docs.select(capitals=capitals.fill_nan(0.0))

    def drop_when(self) -> dict[str, Limit]:
        return {} if self.max_share is None else {"loud": above("capitals", self.max_share)}


def judge(filter: Filter, docs: pl.DataFrame = DOCS) -> dict[str, list[bool]]:
    rules = {name: rule.expression() if isinstance(rule, Limit) else rule for name, rule in filter.drop_when().items()}
    return docs.hstack(filter.score(docs).get_columns()).select(**rules).to_dict(as_series=False)


def test_a_filter_scores_and_judges() -> None:
    assert judge(Shout(max_share=0.5)) == {"loud": [True, False, False]}


def test_options_are_frozen_and_strict() -> None:
    with pytest.raises(ValidationError):
        Shout(max_shar=0.5)
    with pytest.raises(ValidationError):
        Shout(max_share=1.5)
    with pytest.raises(ValidationError):
        Shout().max_share = 1.0


def test_a_threshold_is_marked_and_keeps_its_limits_and_description() -> None:
    assert Shout().thresholds() == {"max_share"}
    assert Shout.model_fields["max_share"].description == "drop above this share"


def test_options_are_plain_values() -> None:
    filter = Shout(max_share=0.5, path=Path("list.txt"))

    assert filter.options() == {"least_chars": 1, "max_share": 0.5, "path": "list.txt"}
    assert filter.options(defaults=False) == {"max_share": 0.5, "path": "list.txt"}
    assert Shout(**filter.options()) == filter


def test_a_filter_may_only_score_or_only_judge() -> None:
    class Nothing(Filter):
        """Nothing at all."""

    assert Nothing().score(DOCS).width == 0
    assert dict(Nothing().drop_when()) == {}
    assert (Nothing().reads(), Nothing().files(), Nothing().tables(pl.LazyFrame())) == ((), (), {})


@pytest.mark.parametrize(
    ("limit", "outcome"),
    [
        (above("x", 2), [False, False, True]),
        (below("x", 2), [True, False, False]),
        (above("x", 0, where="judged"), [True, False, True]),
        (below("x", 9, where="judged"), [True, False, True]),
    ],
)
def test_limits_compare_one_score_with_one_number(limit: Limit, outcome: list[bool]) -> None:
    docs = pl.DataFrame({"x": [1, 2, 3], "judged": [True, False, True]})

    assert docs.select(limit.expression()).to_series().to_list() == outcome


def test_where_a_rule_does_not_apply_it_is_false_even_if_the_score_is_null() -> None:
    docs = pl.DataFrame({"x": pl.Series([None], dtype=pl.Float64), "judged": [False]})

    assert docs.select(above("x", 0, where="judged").expression()).to_series().to_list() == [False]


def test_a_corpus_filter_must_decide(tmp_path: Path) -> None:
    class Undecided(CorpusFilter):
        """Decides nothing."""

    with pytest.raises(TypeError, match="Undecided must define decide"):
        Undecided().decide(None)  # type: ignore[arg-type]  # never looked at
    assert Undecided().sketch(DOCS).width == 0


def test_lists_become_tuples_at_every_depth() -> None:
    assert as_tuples(["a", {"b": [1, [2]]}]) == ("a", {"b": (1, (2,))})


# --- registry ---------------------------------------------------------------------------------------------------------


def test_filters_are_found_by_name() -> None:
    assert find_filter("test.shout") is Shout
    assert registered()["length"] is curate.filters.Length
    assert find_filter("no.such") is None


def test_the_built_in_filters_are_registered() -> None:
    assert {"where", "length", "language", "exact_duplicates", "blocklist"} <= set(registered())


def test_a_name_is_taken_once() -> None:
    with pytest.raises(PluginError, match="two filters are named 'length'") as error:

        class Other(Filter, name="length"):
            """Another one."""

    assert "curate.filters.length" in str(error.value)
    assert error.value.hint is not None
    assert registered()["length"] is curate.filters.Length


def test_the_same_class_may_be_made_again_as_in_a_notebook() -> None:
    def make() -> type[Filter]:
        class Again(Filter, name="test.again"):
            """Made twice."""

        return Again

    make()
    second = make()

    assert find_filter("test.again") is second


def test_a_subclass_without_a_name_is_not_registered() -> None:
    class Louder(Shout):
        """No name of its own."""

    assert find_filter("test.shout") is Shout


@pytest.mark.parametrize(
    ("wrong", "right"), [("lenght", "length"), ("exact_duplicate", "exact_duplicates"), ("qqq", None)]
)
def test_the_nearest_name(wrong: str, right: str | None) -> None:
    assert nearest(wrong, registered()) == right


# --- plugin files -----------------------------------------------------------------------------------------------------

PLUGIN = '''
import polars as pl
from curate import Filter, above

class NoLorem(Filter, name="acme.no_lorem"):
    """Drop placeholder pages."""

    max_hits: int = 2

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        return docs.select(hits=pl.col("text").str.count_matches("(?i)lorem ipsum"))

    def drop_when(self) -> dict[str, object]:
        return {"lorem_ipsum": above("hits", self.max_hits)}
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], Path]:
    def write(source: str, name: str = "acme_filters.py") -> Path:
        path = tmp_path / name
        path.write_text(source)
        return path

    return write


def test_a_plugin_file_registers_its_filters(plugin: Callable[[str], Path]) -> None:
    (cls,) = load_plugin(plugin(PLUGIN))

    assert find_filter("acme.no_lorem") is cls
    check_filter(cls(max_hits=0))
    assert judge(cls(max_hits=0), DOCS.with_columns(text=pl.lit("Lorem ipsum"))) == {"lorem_ipsum": [True] * 3}


def test_a_plugin_file_is_run_once_until_it_changes(plugin: Callable[[str], Path]) -> None:
    (first,) = load_plugin(plugin(PLUGIN))
    assert load_plugin(plugin(PLUGIN)) == [first]
    version = code_version(first)

    (second,) = load_plugin(plugin(PLUGIN.replace("max_hits: int = 2", "max_hits: int = 3")))

    assert second is not first
    assert second().options() == {"max_hits": 3}
    assert code_version(second) != version
    assert find_filter("acme.no_lorem") is second


def test_a_filter_that_a_changed_plugin_lost_is_gone(plugin: Callable[[str], Path]) -> None:
    load_plugin(plugin(PLUGIN))

    load_plugin(plugin(PLUGIN.replace("acme.no_lorem", "acme.renamed")))

    assert find_filter("acme.no_lorem") is None


def test_a_filter_of_a_plugin_file_pickles(plugin: Callable[[str], Path]) -> None:
    (cls,) = load_plugin(plugin(PLUGIN))

    assert pickle.loads(pickle.dumps(cls(max_hits=7))) == cls(max_hits=7)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        (PLUGIN + "\n1 / 0", "ZeroDivisionError"),
        (PLUGIN.replace("acme.no_lorem", "length"), "two filters are named 'length'"),
    ],
)
def test_a_broken_plugin_is_reported_with_its_file_and_leaves_nothing(
    plugin: Callable[[str], Path], source: str, message: str
) -> None:
    path = plugin(source)
    before = registered()

    with pytest.raises(PluginError, match=message) as error:
        load_plugin(path)

    assert str(path) in error.value.message
    assert registered() == before
    assert len(load_plugin(plugin(PLUGIN))) == 1  # and it can be mended


def test_two_plugin_files_with_the_same_name_are_both_named(plugin: Callable[..., Path]) -> None:
    one, two = plugin(PLUGIN), plugin(PLUGIN, name="other_filters.py")
    load_plugin(one)

    with pytest.raises(PluginError) as error:
        load_plugin(two)

    assert str(one) in error.value.message
    assert str(two) in error.value.message


def test_a_plugin_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"gone\.py' does not exist"):
        load_plugin(tmp_path / "gone.py")


# --- versions of code -------------------------------------------------------------------------------------------------


def test_our_filters_have_our_version() -> None:
    assert code_version(curate.filters.Length) == f"{curate.__version__}:{curate.filters.Length.version}"


NOTEBOOK = """
import sys
sys.modules["__main__"].__dict__.pop("__file__", None)  # as in a notebook
import polars as pl
import curate
from curate import Filter
from curate.filter import code_version

class Cell(Filter, name="cell"):
    def score(self, docs):
        def again(n):
            return n and again(n - 1)
        return docs.select(x=LIMIT + again(3))

@curate.filter
def plain(docs):
    return docs["text"].str.len_chars() > LIMIT

print(code_version(Cell), code_version(plain))
"""


def test_a_class_of_a_notebook_has_another_version_when_its_code_changes() -> None:
    def versions(limit: int) -> list[str]:
        command = [sys.executable, "-c", NOTEBOOK.replace("LIMIT", str(limit))]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    first, again, other = versions(1), versions(1), versions(2)

    assert first == again
    assert all(before != after for before, after in zip(first, other, strict=True))


# --- filters from functions -------------------------------------------------------------------------------------------


@curate.filter(name="test.long_text")
def long_text(docs: pl.DataFrame, *, chars: int = 5) -> pl.Series:
    """Drop long texts."""
    return docs["text"].str.len_chars() > chars


@curate.filter(above=0.5, below=-1)
def shouting(docs: pl.DataFrame, *, unit=2, of: str | None = None):
    return docs["text"].str.count_matches("[A-Z]").cast(pl.Float64) / unit


@curate.filter
def is_empty(docs: pl.DataFrame) -> pl.Expr:
    """Drop empty texts."""
    return pl.col("text") == ""


def test_a_boolean_function_is_a_rule() -> None:
    assert judge(long_text()) == {"long_text": [False, True, False]}
    assert judge(long_text(chars=3)) == {"long_text": [True, True, False]}


def test_a_numeric_function_is_a_score_with_limits_as_thresholds() -> None:
    assert shouting().score(DOCS).to_dict(as_series=False) == {"shouting": [2.0, 0.5, 0.0]}
    assert judge(shouting(above=1, below=0.3)) == {
        "shouting_above": [True, False, False],
        "shouting_below": [False, False, True],
    }
    assert shouting().thresholds() == {"above", "below"}


def test_an_expression_may_be_returned() -> None:
    assert judge(is_empty()) == {"is_empty": [False, False, True]}


def test_a_function_gives_name_docstring_and_options() -> None:
    assert (long_text.label, shouting.label, is_empty.label) == ("test.long_text", "shouting", "is_empty")
    assert long_text.__doc__ == "Drop long texts."
    assert "shouting" in (shouting.__doc__ or "")
    assert shouting().options() == {"unit": 2, "of": None, "above": 0.5, "below": -1.0}
    with pytest.raises(ValidationError):
        long_text(chars="many")


def test_filters_from_functions_keep_the_contract() -> None:
    for filter in (long_text(chars=3), shouting(), is_empty()):
        check_filter(filter)


def test_a_required_option_stays_required() -> None:
    @curate.filter(name="test.needs")
    def needs(docs: pl.DataFrame, *, chars: int, what) -> pl.Series:
        return docs["text"].str.len_chars() > chars

    with pytest.raises(ValidationError):
        needs()
    assert needs(chars=1, what="x").options() == {"chars": 1, "what": "x"}


def positional(docs: pl.DataFrame, chars: int = 1) -> pl.Series:
    return docs["text"]


def nothing() -> pl.Series:
    return pl.Series()


def reserved(docs: pl.DataFrame, *, score: int = 1) -> pl.Series:
    return docs["text"]


def unknown_type(docs: pl.DataFrame, *, chars: Missing = 1) -> pl.Series:  # type: ignore[name-defined]  # noqa: F821  the point
    return docs["text"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (positional, "option 'chars' must be keyword-only"),
        (nothing, "must take the documents as its first parameter"),
        (reserved, "an option cannot be named 'score'"),
        (unknown_type, "an annotation cannot be read: name 'Missing' is not defined"),
    ],
)
def test_functions_that_make_no_filter(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        curate.filter(function)


def test_what_a_function_returns_is_checked() -> None:
    @curate.filter(name="test.a_list")
    def a_list(docs: pl.DataFrame) -> Any:
        return [True] * len(docs)

    @curate.filter(name="test.a_number")
    def a_number(docs: pl.DataFrame) -> pl.Series:
        return docs["text"].str.len_chars()

    with pytest.raises(TypeError, match="must return a polars Series, not list"):
        a_list().score(DOCS)
    with pytest.raises(TypeError, match="must return booleans"):
        a_number().score(DOCS)
