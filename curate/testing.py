"""The conformity suite that every filter passes, ours included: `check_filter(MyFilter())`.

It needs no run and no files: it scores example documents, and says in plain words what a filter does that the engine
would have to refuse, or that would make results depend on the batch, the machine or the day.
"""

from __future__ import annotations

import datetime
import inspect
import itertools
import json
import pathlib
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from polars.testing import assert_frame_equal

from curate.filter import EDITS, LEDGER_COLUMNS, CorpusFilter, Filter, Limit, Partition

T = TypeVar("T")

ROWS = 1000  # documents that each filter sees at once
HUGE_CHARS = 1_000_000
TOLERANCE = 1e-5  # models that compute in batches may differ by this much

EXAMPLES = {
    "empty": "",
    "white space": " \t\r\n\u00a0\u2003\u2028 ",
    "one letter": "a",
    "NUL": "before\x00after \x00 and a second line\n\x00",
    "control characters": "bell\x07 escape\x1b[31m delete\x7f next\x85line\ufeff",
    "emoji": "👩‍👩‍👧‍👦 family, 🇳🇴 flag, 👍🏽 thumb, ❤️ heart",
    "combining marks": "Z̷̡͎a̵͘l̶g̴o e\u0301 n\u0303 \u0301at the start",
    "right to left": "مرحبا بالعالم، هذا نص عربي. שלום עולם \u202ereversed\u202c",
    "CJK": "这是一个没有空格的句子。日本語の文章です。한국어 문장입니다.",
    "Indic and Thai": "यह एक हिन्दी वाक्य है। இது தமிழ். นี่คือภาษาไทย",
    "beyond the basic plane": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠜎𠜱 𐍈 \U0010ffff",
    "private and unassigned": "\ue000 \ufffe \U000e0001 \u0378",
    "folding": "ǅ Straße ẞ İstanbul ΣΊΣΥΦΟΣ ﬁ K Å",
    "one long word": "x" * 10_000,
    "many lines": "\n".join(f"- item {number}" for number in range(300)),
    "many short words": "a b " * 2_000,
    "markup": '<div class="x">{"key": [1, 2.5e-3, null]}</div> <!-- </s> __label__en -->',
    "address": "Write to someone@example.org, see https://www.example.org/path?x=1#y or call +1 555 0100.",
    "prose": "The quick brown fox jumps over the lazy dog. It was the best of times; it was the worst of times.",
    "huge": ("All work and no play makes a dull page, number after number. " * (HUGE_CHARS // 60)),
}


class FilterCheckError(AssertionError):
    """A filter does not keep the contract; `problems` lists everything that it does wrong."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{name} does not keep the filter contract:\n" + "\n".join(f"- {one}" for one in problems))


def check_filter(filter: Filter, docs: pl.DataFrame | None = None) -> None:
    """Check a filter against the contract; FilterCheckError lists everything that is wrong.

    `docs` are example documents with `text` and whatever other columns the filter reads; texts that are hard on filters
    (empty, a megabyte, NUL, emoji, right to left, ...) are added, in each turn where `docs` have `turns`. Columns that
    only rules read need not be given.
    """
    problems: list[str] = []
    for check in (_travels, _is_documented):
        problems += check(filter)
    problems += _computes(filter, examples(docs))
    if problems:
        raise FilterCheckError(_name(filter), problems)


def examples(docs: pl.DataFrame | None = None, rows: int = ROWS) -> pl.DataFrame:
    """Documents to test filters with: `id`, `text` and the other columns of `docs`.

    First the hard texts, then the texts of `docs` (or short sentences) until there are enough.
    """
    hard = list(EXAMPLES.values())
    if docs is None or docs.is_empty():
        plain = [f"Sentence number {number} is about {number % 7} things, more or less." for number in range(rows)]
        return _numbered(pl.DataFrame({"text": hard + plain[: rows - len(hard)]}))
    repeated = pl.concat([docs] * (rows // len(docs) + 1))
    if "turns" in docs.columns:
        return _numbered(_in_turns(repeated.head(rows), hard))
    texts = pl.Series("text", hard + repeated["text"].to_list()[: rows - len(hard)], pl.String)
    return _numbered(repeated.head(len(texts)).with_columns(texts))


def _in_turns(docs: pl.DataFrame, hard: Sequence[str]) -> pl.DataFrame:
    """Chat or preference records of which the first say hard texts in each of their turns."""
    texts, turns = docs["text"].to_list(), docs["turns"].to_list()
    for place, content in enumerate(hard[: len(texts)]):
        step = len(content.encode()) + 2
        texts[place] = "\n\n".join([content] * len(turns[place]))
        turns[place] = [
            {**turn, "start": number * step, "end": number * step + step - 2}
            for number, turn in enumerate(turns[place])
        ]
    return docs.with_columns(pl.Series("text", texts, pl.String), pl.Series("turns", turns, docs.schema["turns"]))


def _numbered(docs: pl.DataFrame) -> pl.DataFrame:
    ids = pl.Series("id", [f"doc-{number}" for number in range(len(docs))])
    return pl.DataFrame([ids]).hstack(docs.drop("id", strict=False))


def _name(filter: Filter) -> str:
    return type(filter).label or type(filter).__name__


# --- the options ------------------------------------------------------------------------------------------------------


def _travels(filter: Filter) -> Iterator[str]:
    """It can be sent to a worker, written to a pipeline file, and typed in again."""
    import cloudpickle

    try:
        if pickle.loads(cloudpickle.dumps(filter)) != filter:
            yield "after pickling it is not equal to itself"
    except Exception as error:  # whatever pickling raises is the finding
        yield f"it cannot be pickled: {error}"
    try:
        options = json.dumps(filter.options())
        if (
            type(filter).model_validate_json(options, strict=True) != filter
            or type(filter)(**json.loads(options)) != filter
        ):
            yield "made again from its options it is not equal to itself: an option does not survive JSON"
    except (TypeError, ValueError) as error:
        yield f"it cannot be made again from its options: {error}"
    words = {type(filter).__name__: type(filter), "pathlib": pathlib, "datetime": datetime}
    words |= {name: getattr(pathlib, name) for name in ("Path", "PosixPath", "WindowsPath")}
    try:
        if eval(repr(filter), words) != filter:
            yield f"its repr makes another filter: {filter!r}"
    except Exception as error:  # whatever evaluating raises is the finding
        yield f"its repr cannot be typed in again ({error}): {filter!r}"


def _is_documented(filter: Filter) -> Iterator[str]:
    """It says what it does; a filter of ours says what each option does."""
    cls = type(filter)
    if not inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].strip():
        yield "its class has no docstring: the first sentence is what `curate filters` shows"
    if cls.__module__.startswith("curate."):
        for option, field in cls.model_fields.items():
            if not field.description:
                yield f"option {option!r} has no description"


# --- scores -----------------------------------------------------------------------------------------------------------


def _computes(filter: Filter, docs: pl.DataFrame) -> Iterator[str]:
    """Score, sketch, decide, edits and rules on the example documents."""
    docs = with_read_columns(filter, docs)
    scored = _attempt(filter, "score", filter.score, docs)
    if isinstance(scored, str):
        yield scored
        return
    yield from _stable(filter, "score", filter.score, docs, scored)
    yield from _reads_no_threshold(filter, docs)
    decided = pl.DataFrame()
    if isinstance(filter, CorpusFilter):
        sketched = _attempt(filter, "sketch", filter.sketch, docs)
        if isinstance(sketched, str):
            yield sketched
            return
        yield from _stable(filter, "sketch", filter.sketch, docs, sketched)
        outcome = decide(filter, docs)
        if isinstance(outcome, str):
            yield outcome
            return
        yield from _decides(filter, outcome)
        decided = outcome.drop("chunk", "row", strict=False)
    overlap = [name for name in decided.columns if name in scored.columns]
    if overlap:
        yield f"score and decide both return {', '.join(overlap)}"
        return
    columns = pl.concat([scored, decided], how="horizontal") if decided.width else scored
    yield from _named_columns(filter, docs, columns)
    if EDITS in columns.columns:
        yield from check_edits(docs["text"], columns[EDITS])
    yield from _rules(filter, docs, columns)


def _attempt(
    filter: Filter, what: str, function: Callable[[pl.DataFrame], pl.DataFrame], docs: pl.DataFrame
) -> pl.DataFrame | str:
    """The result of one method on the documents, or which text it fails on."""
    try:
        result = function(docs)
    except pl.exceptions.ColumnNotFoundError as error:
        return f"{what} reads a column that the examples lack: pass docs= with it ({str(error).splitlines()[0]})"
    except Exception as error:  # foreign code: whatever it raises is the finding
        culprit = _culprit(function, docs)
        return f"{what} fails on {culprit}: {type(error).__name__}: {error}"
    if not isinstance(result, pl.DataFrame):
        return f"{what} returns {type(result).__name__}, not a polars DataFrame"
    if result.width and len(result) != len(docs):
        return f"{what} returns {len(result)} rows for {len(docs)} documents"
    return result


def _culprit(function: Callable[[pl.DataFrame], pl.DataFrame], docs: pl.DataFrame) -> str:
    names = list(EXAMPLES)
    for place in range(len(docs)):
        try:
            function(docs[place : place + 1])
        except Exception:
            return f"the text {names[place]!r}" if place < len(names) else f"document {docs['id'][place]}"
    return "all documents together, though on none alone"


def _stable(
    filter: Filter,
    what: str,
    function: Callable[[pl.DataFrame], pl.DataFrame],
    docs: pl.DataFrame,
    result: pl.DataFrame,
) -> Iterator[str]:
    """The same whatever the batch, the order and the time."""
    yield from _differs(f"{what} gives another result the second time", result, function, docs)
    empty = function(docs.clear())
    if result.width and (empty.schema != result.schema or len(empty)):
        yield (
            f"{what} of an empty frame has the columns {dict(empty.schema)} and {len(empty)} rows, of documents "
            f"{dict(result.schema)}: return the same columns with no rows"
        )
    for place, name in enumerate([*EXAMPLES, "a plain document"]):
        yield from _differs(
            f"{what} of the text {name!r} alone differs from the same text among {len(docs)}",
            result[place : place + 1],
            function,
            docs[place : place + 1],
        )
    order = pl.Series("order", range(len(docs))).shuffle(seed=1)
    yield from _differs(
        f"{what} of documents in another order is not its result in that order", result.select(pl.all().gather(order)),
        function, docs.select(pl.all().gather(order)),
    )  # fmt: skip
    for name, kind in result.schema.items():
        if kind.is_float() and not bool((result[name].is_finite() | result[name].is_null()).all()):
            yield f"{what} returns NaN or infinity in {name!r}"


def _differs(
    problem: str, wanted: pl.DataFrame, function: Callable[[pl.DataFrame], pl.DataFrame], docs: pl.DataFrame
) -> Iterator[str]:
    try:
        assert_frame_equal(function(docs), wanted, check_exact=False, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except AssertionError as error:
        yield f"{problem}: {str(error).splitlines()[0]}"
    except Exception as error:  # foreign code: whatever it raises is the finding
        yield f"{problem}: it raises {type(error).__name__}: {error}"


def _reads_no_threshold(filter: Filter, docs: pl.DataFrame) -> Iterator[str]:
    """Options marked `threshold()` are not part of the key of stored scores, so `score` may not look at them."""
    thresholds = filter.thresholds()
    if not thresholds:
        return
    seen: set[str] = set()

    class Watched(type(filter)):  # type: ignore[misc]  # a subclass of a class known only now
        """The same filter, remembering which options are read."""

        def __getattribute__(self, name: str) -> Any:
            seen.add(name)
            return super().__getattribute__(name)

    watched = Watched.model_construct(**{name: getattr(filter, name) for name in type(filter).model_fields})
    seen.clear()
    watched.score(docs.head(len(EXAMPLES)))
    if isinstance(filter, CorpusFilter):
        watched.sketch(docs.head(len(EXAMPLES)))
    for option in sorted(seen & thresholds):
        yield f"option {option!r} is marked threshold() but score reads it: scores stored for another value would serve"


def _named_columns(filter: Filter, docs: pl.DataFrame, columns: pl.DataFrame) -> Iterator[str]:
    """Columns are documented, and hide nothing."""
    for name in columns.columns:
        if name in docs.columns:
            yield f"the score {name!r} hides the column {name!r} of the input: give it another name"
        if "." in name:
            yield f"the score {name!r} has a dot in its name, which means another step's score"
    declared = set(type(filter).scores)
    named = {key for _, value in filter if isinstance(value, dict) for key in value}  # columns that options name
    given = set(columns.columns) - {EDITS, *LEDGER_COLUMNS}
    if declared and declared != given:
        for name in sorted(given - declared - named):
            yield f"the score {name!r} is not documented in `scores`"
        for name in sorted(declared - given):
            yield f"`scores` documents {name!r}, which is not returned"


def check_edits(texts: pl.Series, edits: pl.Series) -> list[str]:
    """What is wrong with a column of edits: their form, order and bounds in UTF-8 bytes."""
    wanted = {"start", "end", "put"}
    inner = edits.dtype.inner if isinstance(edits.dtype, pl.List) else None
    if not isinstance(inner, pl.Struct) or {field.name for field in inner.fields} != wanted:
        return [f"edits must be lists of {{start, end, put}}, not {edits.dtype}"]
    problems = []
    for place, (text, own) in enumerate(zip(texts, edits, strict=True)):
        data = text.encode()
        before = 0
        for edit in own if own is not None else ():
            start, end = edit["start"], edit["end"]
            if start is None or end is None or not before <= start <= end <= len(data):
                problems.append(
                    f"edit {start}..{end} of document {place} leaves its {len(data)} bytes or overlaps the one before"
                )
                break
            try:
                data[:start].decode(), data[start:end].decode()
            except UnicodeDecodeError:
                problems.append(f"edit {start}..{end} of document {place} cuts a character: positions are UTF-8 bytes")
                break
            before = end
    return problems[:3]


# --- rules ------------------------------------------------------------------------------------------------------------


def _rules(filter: Filter, docs: pl.DataFrame, columns: pl.DataFrame) -> Iterator[str]:
    """Rules are boolean, and never null or fed with nulls."""
    try:
        rules = dict(filter.drop_when())
    except Exception as error:  # foreign code: whatever it raises is the finding
        yield f"drop_when fails: {type(error).__name__}: {error}"
        return
    together = docs.hstack([column for column in columns if column.name not in docs.columns])
    for name, rule in rules.items():
        if not isinstance(rule, Limit | pl.Expr):
            yield f"rule {name!r} is a {type(rule).__name__}, not a polars expression, above(...) or below(...)"
            continue
        expression = rule.expression() if isinstance(rule, Limit) else rule
        outcome = _judge(expression, together)
        if isinstance(outcome, str):
            yield f"rule {name!r} {outcome}"
        elif outcome.dtype != pl.Boolean:
            yield f"rule {name!r} is {outcome.dtype}, not boolean"
        elif outcome.null_count():
            read = [column for column in expression.meta.root_names() if column in together.columns]
            nulls = [column for column in dict.fromkeys(read) if together[column].null_count()]
            reason = f" ({', '.join(nulls)} has nulls)" if nulls else ""
            yield f"rule {name!r} is null for {outcome.null_count()} documents: they would go to quarantine{reason}"


def _judge(expression: pl.Expr, docs: pl.DataFrame) -> pl.Series | str:
    """The outcome of a rule; columns of the input that the examples lack are made up, of any type that fits."""
    try:
        missing = [name for name in dict.fromkeys(expression.meta.root_names()) if name not in docs.columns]
    except pl.exceptions.PolarsError as error:
        return f"cannot be read: {error}"
    candidates = [_made_up(name, len(docs)) for name in missing]
    message = ""
    for made in itertools.islice(itertools.product(*candidates), 1000):
        try:
            outcome = docs.hstack(list(made)).select(expression).to_series()
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            message = message or f"fails: {str(error).splitlines()[0]}"
            continue
        if len(outcome) != len(docs):
            return "gives one value for all documents: it looks at more than one"
        if outcome.dtype == pl.Boolean or not missing:
            return outcome
        message = f"is {outcome.dtype}, not boolean"
    return message


def _made_up(name: str, rows: int) -> list[pl.Series]:
    """Example columns of the types that inputs and scores have."""
    numbers = pl.int_range(rows, eager=True)
    return [
        (numbers / max(rows, 1)).alias(name),
        ("value " + numbers.cast(pl.String)).alias(name),
        (numbers % 2 == 0).alias(name),
        numbers.alias(name),
    ]


def with_read_columns(filter: Filter, docs: pl.DataFrame) -> pl.DataFrame:
    """The documents with example values for the earlier scores that a filter says it reads."""
    values = "value " + (pl.int_range(len(docs), eager=True) % 3).cast(pl.String)
    return docs.hstack([values.alias(name) for name in filter.reads() if name not in docs.columns])


# --- corpus-wide filters ----------------------------------------------------------------------------------------------


class MemoryCorpus:
    """A corpus of documents in memory, to try a corpus-wide filter's `decide` without a run.

    `docs` are documents with `id`, `text` and any other columns; they are spread over `chunks` chunks in their order.
    """

    def __init__(
        self, filter: CorpusFilter, docs: pl.DataFrame, scratch: Path, *, chunks: int = 2, parts: int = 3
    ) -> None:
        self.scratch = scratch
        self.step_name = filter.label
        self.parts = parts
        size = max(1, -(-len(docs) // chunks))
        number = pl.int_range(pl.len(), dtype=pl.Int64)
        self.docs = docs.with_columns(chunk=number // size, row=number % size, bytes=pl.col("text").str.len_bytes())
        self.sketches = self.docs.select("chunk", "row", "id").hstack(filter.sketch(docs).get_columns())

    def partitions(self, key: str) -> list[Partition]:
        """The sketches in parts by the value of `key`."""
        parts = []
        of = self.sketches[key].hash(seed=0) % self.parts
        for number in range(self.parts):
            path = self.scratch / f"{key}-{number}.arrows"
            self.sketches.filter(of == number).sample(fraction=1, shuffle=True, seed=0).write_ipc_stream(path)
            parts.append(Partition((path,)))
        return parts

    def map(self, function: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
        """Apply the function to each item, both pickled as for another process."""
        import cloudpickle

        for item in items:
            own, given = pickle.loads(cloudpickle.dumps((function, item)))
            yield own(given)

    def map_sketches(self, function: Callable[[int, Iterator[pl.DataFrame]], T]) -> Iterator[T]:
        """Apply the function to the sketches of each chunk."""
        return self._map_frames(function, self.sketches.partition_by("chunk", maintain_order=True))

    def documents(self) -> int:
        """How many documents there are."""
        return self.docs.height

    def texts(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The texts of the wanted rows in one batch."""
        yield rows.join(self.docs.select("chunk", "row", "id", "text"), on=["chunk", "row"], how="left")

    def map_texts(self, function: Callable[[int, Iterator[pl.DataFrame]], T], rows: pl.DataFrame) -> Iterator[T]:
        """Apply the function to the texts of each chunk."""
        return self._map_frames(
            function, rows.sort("chunk", "row").partition_by("chunk", maintain_order=True), self.texts
        )

    def map_documents(self, function: Callable[[int, Iterator[pl.DataFrame]], T], path: Path) -> Iterator[T]:
        """Apply the function to the documents of a Parquet file."""
        return self._map_frames(function, [pl.read_parquet(path).select("id", "text")])

    def name(self, path: Path) -> str:
        """The path itself."""
        return str(path)

    def _map_frames(
        self,
        function: Callable[[int, Iterator[pl.DataFrame]], T],
        frames: Iterable[pl.DataFrame],
        read: Callable[[pl.DataFrame], Iterator[pl.DataFrame]] = lambda frame: iter([frame]),
    ) -> Iterator[T]:
        def work(task: tuple[int, list[pl.DataFrame]]) -> T:
            return function(task[0], iter(task[1]))

        return self.map(work, ((number, list(read(frame))) for number, frame in enumerate(frames)))

    def columns(self, *names: str) -> pl.LazyFrame:
        """`chunk, row, id, bytes` and the named columns of every document."""
        return self.docs.lazy().select("chunk", "row", "id", "bytes", *names)


def decide(filter: CorpusFilter, docs: pl.DataFrame) -> pl.DataFrame | str:
    """What a corpus-wide filter decides of the documents, one row each in their order, or what goes wrong."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = MemoryCorpus(filter, docs, Path(folder))
        try:
            decided = filter.decide(corpus)
            if not isinstance(decided, pl.LazyFrame):
                return f"decide returns {type(decided).__name__}, not a polars LazyFrame"
            found = decided.collect()
        except Exception as error:  # foreign code: whatever it raises is the finding
            return f"decide fails: {type(error).__name__}: {error}"
    if not {"chunk", "row"} <= set(found.columns):
        return "decide must return the columns chunk and row"
    if found.select("chunk", "row").is_duplicated().any():
        return "decide returns a (chunk, row) twice"
    return corpus.docs.select("chunk", "row").join(found, on=["chunk", "row"], how="left", maintain_order="left")


def _decides(filter: CorpusFilter, found: pl.DataFrame) -> Iterator[str]:
    """`decides` names the columns and types that `decide` returns."""
    wanted = {name: kind if isinstance(kind, pl.DataType) else kind() for name, kind in filter.decides().items()}
    given = {name: kind for name, kind in found.schema.items() if name not in ("chunk", "row")}
    if wanted != given:
        yield f"decides() says {wanted}, decide returns {given}"
