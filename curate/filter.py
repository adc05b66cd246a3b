"""The filter contract: a frozen bundle of options that says when a document is dropped.

A filter adds score columns (`score`), may return text `edits`, and names its rules (`drop_when`). It never sees files,
chunks or runs. Filters are registered by name when their class is made; plugins register the same way.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, overload

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from curate.errors import PluginError

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")
ENTRY_POINT_GROUP = "curate.filters"
PLUGIN_MODULE = "curate_plugin"

# The columns that the engine takes out of a filter's results for its own use.
EDITS = "edits"
LEDGER_COLUMNS = ("duplicate_of", "similarity", "copies", "tokens")


@dataclass(frozen=True)
class Limit:
    """A rule that compares one score with one number, so that reports can draw the number on the histogram."""

    score: str
    limit: float
    side: Literal["above", "below"]
    where: str | None = None

    def expression(self) -> pl.Expr:
        """The rule as a boolean expression; false where the `where` column is false."""
        import polars as pl

        score = pl.col(self.score)
        over = score > self.limit if self.side == "above" else score < self.limit
        return over if self.where is None else pl.col(self.where) & over


def above(score: str, limit: float, *, where: str | None = None) -> Limit:
    """Drop when `score` is above `limit`, but only where the boolean score `where` (for example `judged`) is true."""
    return Limit(score, limit, "above", where)


def below(score: str, limit: float, *, where: str | None = None) -> Limit:
    """Drop when `score` is below `limit`, but only where the boolean score `where` (for example `judged`) is true."""
    return Limit(score, limit, "below", where)


def threshold(default: Any = ..., **field: Any) -> Any:
    """A filter option that only `drop_when` reads: changing it never scores a document again."""
    return Field(default, json_schema_extra={"threshold": True}, **field)


class Filter(BaseModel):
    """A frozen bundle of options that says when a document is dropped.

    Subclass with a name: `class NoLorem(Filter, name="acme.no_lorem")`. `score` and `drop_when` have empty defaults, so
    a filter may only score, or only judge columns that are there already.

    Class attributes: `version` is part of the key of stored results (raise it when scores change); `scores` documents
    the score columns by name; `source` names the paper and table; `label` is the registered name. `record_kinds` are
    the kinds of records that it judges: one that cannot judge texts needs turns, and sees whole records only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    scores: ClassVar[Mapping[str, str]] = {}
    source: ClassVar[str] = ""
    record_kinds: ClassVar[Sequence[str]] = ("text", "chat", "preference")

    def __init_subclass__(cls, *, name: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)

    @classmethod
    def __pydantic_init_subclass__(cls, *, name: str | None = None, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        if name is not None:
            cls.label = name
            register(cls)

    def score(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Return new score columns, one row per document, in the same order.

        `docs` has `id`, `text`, the input's other columns by name and the columns that `reads` names. The column
        `edits`, a list of `{start, end, put}` in UTF-8 bytes of `text`, asks the engine to change the text.
        """
        return docs.select([])

    def drop_when(self) -> Mapping[str, Any]:
        """Return rule name -> `pl.Expr` or `Limit`; a document is dropped when any is true.

        Own scores go by their bare name, those of earlier steps by `step.score`, input columns by theirs.
        """
        return {}

    def reads(self) -> Sequence[str]:
        """Name the earlier scores (`step.score`) that `score`, `sketch` or `decide` reads; rules need no mention."""
        return ()

    def tables(self, ledger: pl.LazyFrame) -> dict[str, pl.DataFrame]:
        """Return tables that this step adds to the report, computed from the run's ledger."""
        return {}

    def plan_tables(self) -> dict[str, pl.DataFrame]:
        """Return tables that `curate plan` shows: what follows from the options alone."""
        return {}

    def files(self) -> Sequence[Path]:
        """Name the files that scores depend on (models, word lists); their content is part of the key of results."""
        return ()

    def thresholds(self) -> frozenset[str]:
        """The options that only `drop_when` reads."""
        return frozenset(name for name, field in type(self).model_fields.items() if is_threshold(field))

    def options(self, *, defaults: bool = True) -> dict[str, Any]:
        """The options as plain values, for YAML, JSON and keys; with `defaults=False` only those that differ."""
        return self.model_dump(mode="json", exclude_defaults=not defaults)


class Corpus(Protocol):
    """What a corpus-wide filter may ask of the surviving documents when it decides; the key is (chunk, row)."""

    scratch: Path
    step_name: str

    def partitions(self, key: str) -> list[Partition]:
        """Split the sketches by the value of column `key` into parts that fit in memory, all equal values together.

        Each part has `chunk`, `row`, `id` and the sketch's columns, in no particular order.
        """
        ...

    def map(self, function: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
        """Apply a picklable function to items through the executor; results come in the order of the items."""
        ...

    def map_sketches(self, function: Callable[[int, Iterator[pl.DataFrame]], T]) -> Iterator[T]:
        """Apply a picklable function to the sketches of all chunks (columns as in a part), a frame each.

        It gets the number of its task, and the frames of some consecutive chunks; results come in input order.
        """
        ...

    def documents(self) -> int:
        """How many documents there are, at most."""
        ...

    def texts(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The texts (as edited so far) of the given (chunk, row) pairs, in batches: the columns of `rows`, id, text."""
        ...

    def map_texts(self, function: Callable[[int, Iterator[pl.DataFrame]], T], rows: pl.DataFrame) -> Iterator[T]:
        """Apply a picklable function to such batches; it gets the number of its task, and those of some chunks."""
        ...

    def map_documents(self, function: Callable[[int, Iterator[pl.DataFrame]], T], path: Path) -> Iterator[T]:
        """The same over the documents (id, text) of another corpus: files, or the folder of a finished run."""
        ...

    def name(self, path: Path) -> str:
        """A path as the pipeline's folder sees it, for the ledger: the same wherever that folder lies."""
        ...

    def columns(self, *names: str) -> pl.LazyFrame:
        """`chunk, row, id, bytes` and the named columns (those that `reads` lists) of every surviving document."""
        ...


@dataclass(frozen=True)
class Partition:
    """One part of the sketches on disk."""

    paths: tuple[Path, ...]

    def read(self) -> pl.DataFrame:
        """The part's rows: `chunk, row, id` and the sketch's columns."""
        import polars as pl

        return pl.concat([pl.read_ipc_stream(path) for path in self.paths], how="vertical")


class CorpusFilter(Filter):
    """A filter that needs the whole corpus: duplicates, balance. Order: score, sketch, decide, edits, rules."""

    def sketch(self, docs: pl.DataFrame) -> pl.DataFrame:
        """Return small columns, one row per document, that `decide` works on."""
        return docs.select([])

    def decide(self, corpus: Corpus) -> pl.LazyFrame:
        """Return columns keyed by `chunk` and `row`; documents left out get nulls."""
        raise TypeError(f"{type(self).__name__} must define decide")

    def decides(self) -> Mapping[str, pl.DataType | type[pl.DataType]]:
        """The columns that `decide` returns beside `chunk` and `row`, with their types."""
        return {}

    def earlier(self) -> Sequence[Path]:
        """Name the earlier corpora that `decide` reads, files or folders; their content is part of the key of results.

        Raises UsageError for one that is not there or cannot serve.
        """
        return ()

    def saves(self) -> Path | None:
        """Name the folder that `save` fills for later runs; None saves nothing."""
        return None

    def save(self, corpus: Corpus, kept: pl.DataFrame, folder: Path) -> None:
        """Write what later runs need into an empty folder; `kept` has the (chunk, row) that the run keeps."""


def as_tuples(value: Any) -> Any:
    """A value with its lists made tuples, which strict validation asks of what a `before` validator returns."""
    if isinstance(value, list | tuple):
        return tuple(as_tuples(one) for one in value)
    return {key: as_tuples(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def is_threshold(field: FieldInfo) -> bool:
    """Whether an option was declared with `threshold()`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("threshold"))


# --- registry ---------------------------------------------------------------------------------------------------------

_registry: dict[str, type[Filter]] = {}
_plugins: dict[Path, str] = {}  # plugin file -> sha256 of its content
_entry_points: dict[str, str] = {}  # entry point name -> error, "" when it loaded
_entry_points_loaded = False


def register(cls: type[Filter]) -> None:
    """Make a filter known by its name; a name is taken once, except that the same class may be made again."""
    known = _registry.get(cls.label)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise PluginError(
            f"two filters are named {cls.label!r}: {_whereabouts(known)} and {_whereabouts(cls)}",
            hint="give one another name, for example with your team's prefix: name='acme.my_filter'",
        )
    _registry[cls.label] = cls


def registered() -> dict[str, type[Filter]]:
    """All filters by name: built in, from entry points, from plugin files loaded so far."""
    _load_all()
    return dict(sorted(_registry.items()))


def find_filter(name: str) -> type[Filter] | None:
    """The filter of that name, or None."""
    _load_all()
    return _registry.get(name)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, or None when nothing does."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return found[0] if found else None


def load_plugin(path: str | Path) -> list[type[Filter]]:
    """Run a plugin file and return the filters that it registered; errors name the file."""
    file = Path(path).resolve()
    if not file.is_file():
        raise PluginError(f"plugin file {str(path)!r} does not exist", hint="paths are relative to the pipeline file")
    source = file.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    module_name = f"{PLUGIN_MODULE}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}_{file.stem}"
    if _plugins.get(file) != digest:
        spec = importlib.util.spec_from_file_location(module_name, file)
        if spec is None:
            raise PluginError(f"plugin file {str(path)!r} is not a Python file")
        _forget(module_name)
        _plugins.pop(file, None)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:  # compiled here: the loader would trust a __pycache__ of the same second
            exec(compile(source, str(file), "exec"), module.__dict__)
        except Exception as error:  # a plugin is foreign code: whatever it raises is reported by name
            _forget(module_name)
            sys.modules.pop(module_name, None)
            if isinstance(error, PluginError):
                raise PluginError(f"plugin file {str(path)!r}: {error.message}", hint=error.hint) from error
            raise PluginError(
                f"plugin file {str(path)!r} cannot be loaded: {type(error).__name__}: {error}",
                hint=f"run `python {path}` to see the whole traceback",
            ) from error
        _plugins[file] = digest
    return [cls for cls in _registry.values() if cls.__module__ == module_name]


def _forget(module_name: str) -> None:
    """Take the filters of a module out of the registry."""
    for name in [name for name, cls in _registry.items() if cls.__module__ == module_name]:
        del _registry[name]


def _whereabouts(cls: type[Filter]) -> str:
    """A class and where it was defined."""
    module = cls.__module__
    if module.startswith(PLUGIN_MODULE):
        module = str(getattr(sys.modules.get(module), "__file__", module))
    return f"{cls.__qualname__} in {module}"


def plugin_files() -> list[Path]:
    """The plugin files loaded so far; worker processes load them too."""
    return list(_plugins)


def plugin_problems() -> dict[str, str]:
    """Entry points that could not be loaded, with the error; the others are usable."""
    _load_all()
    return {name: error for name, error in _entry_points.items() if error}


def code_version(cls: type[Filter]) -> str:
    """What identifies a filter's code in the key of its results: our version, or the hash of a plugin's file."""
    if cls.__module__.startswith("curate."):
        from curate import __version__

        return f"{__version__}:{cls.version}"
    try:
        file = Path(inspect.getfile(cls)).resolve()
        digest = _plugins.get(file) or hashlib.sha256(file.read_bytes()).hexdigest()
    except (OSError, TypeError):  # a class made in a notebook has no file: what its methods do tells it apart
        own = {name: value for name, value in vars(cls).items() if not name.startswith("__")}
        digest = hashlib.sha256(_code_of(own).encode()).hexdigest()
    return f"{cls.version}:{digest}"


def _code_of(value: Any, seen: frozenset[int] = frozenset()) -> str:
    """The compiled code below a class's attributes, functions and closures as text, without files and lines."""
    if id(value) in seen:  # a function that calls itself
        return ""
    inner = functools.partial(_code_of, seen=seen | {id(value)})
    if isinstance(value, types.CodeType):
        return repr((value.co_code.hex(), value.co_names, [inner(constant) for constant in value.co_consts]))
    if isinstance(value, types.FunctionType):
        captured = [inner(cell.cell_contents) for cell in value.__closure__ or () if cell != types.CellType()]
        return repr((inner(value.__code__), captured, inner(value.__defaults__), inner(value.__kwdefaults__)))
    if isinstance(value, classmethod | staticmethod):
        return inner(value.__func__)
    if isinstance(value, property):
        return inner((value.fget,))
    if isinstance(value, Mapping):
        return repr(sorted((str(key), inner(one)) for key, one in value.items()))
    if isinstance(value, frozenset | set):
        return repr(sorted(map(inner, value)))
    if isinstance(value, tuple | list):
        return repr([inner(one) for one in value])
    return repr(value) if isinstance(value, str | bytes | int | float | bool | None) else type(value).__qualname__


def _load_all() -> None:
    global _entry_points_loaded
    import curate.filters  # noqa: F401  registers the built-in filters

    if _entry_points_loaded:
        return
    _entry_points_loaded = True
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        try:
            point.load()
            _entry_points[point.name] = ""
        except Exception as error:  # foreign code at import: reported by name, the others still load
            _entry_points[point.name] = f"{type(error).__name__}: {error}"


# --- filters from plain functions -------------------------------------------------------------------------------------


@overload
def filter(function: Callable[..., Any], /) -> type[Filter]: ...
@overload
def filter(
    *, name: str | None = None, above: float | None = None, below: float | None = None
) -> Callable[[Callable[..., Any]], type[Filter]]: ...


def filter(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    above: float | None = None,
    below: float | None = None,
) -> type[Filter] | Callable[[Callable[..., Any]], type[Filter]]:
    """Make a filter from a function of the documents that returns one series.

    A boolean series is a rule: true means dropped. A numeric series is a score named after the function; `above=` or
    `below=` adds a threshold option of that name. Keyword-only parameters of the function are the filter's options.

        @curate.filter(name="acme.shouting", above=0.5)
        def shouting(docs, *, min_chars: int = 20) -> pl.Series: ...
    """
    if function is None:
        return lambda function: _from_function(function, name, above, below)
    return _from_function(function, name, above, below)


def _from_function(
    function: Callable[..., Any], name: str | None, above_limit: float | None, below_limit: float | None
) -> type[Filter]:
    score_name = function.__name__
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except NameError as error:
        raise PluginError(
            f"{score_name}: an annotation cannot be read: {error}",
            hint="import what it names at the top of the file, not under TYPE_CHECKING",
        ) from error
    if len(parameters) == 0:
        raise PluginError(f"{score_name} must take the documents as its first parameter")
    fields: dict[str, Any] = {}
    for parameter in list(parameters.values())[1:]:
        if parameter.kind is not parameter.KEYWORD_ONLY:
            raise PluginError(
                f"{score_name}: option {parameter.name!r} must be keyword-only",
                hint=f"write def {score_name}(docs, *, {parameter.name}=...)",
            )
        if hasattr(Filter, parameter.name) or parameter.name in ("above", "below"):
            raise PluginError(f"{score_name}: an option cannot be named {parameter.name!r}", hint="give it another one")
        default = ... if parameter.default is parameter.empty else parameter.default
        kind = parameter.annotation
        if kind is parameter.empty:
            kind = Any if default is None or default is ... else type(default)
        fields[parameter.name] = (kind, default)
    options = tuple(fields)
    for side, limit in (("above", above_limit), ("below", below_limit)):
        if limit is not None:
            fields[side] = (float, threshold(limit))
    judges = above_limit is None and below_limit is None

    def score(self: Filter, docs: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        result = function(docs, **{option: getattr(self, option) for option in options})
        if isinstance(result, pl.Expr):
            result = docs.select(result).to_series()
        if not isinstance(result, pl.Series):
            raise TypeError(f"{score_name} must return a polars Series, not {type(result).__name__}")
        if judges and result.dtype != pl.Boolean:
            raise TypeError(f"{score_name} must return booleans (true = dropped), or be made with above= or below=")
        return result.alias(score_name).to_frame()

    def drop_when(self: Filter) -> Mapping[str, Any]:
        import polars as pl

        if judges:
            return {score_name: pl.col(score_name)}
        rules: dict[str, Any] = {}
        if above_limit is not None:
            rules[f"{score_name}_above"] = above(score_name, getattr(self, "above"))  # noqa: B009  made by create_model
        if below_limit is not None:
            rules[f"{score_name}_below"] = below(score_name, getattr(self, "below"))  # noqa: B009
        return rules

    label = name or score_name
    made = create_model(
        score_name,
        __base__=Filter,
        __module__=function.__module__,
        __doc__=function.__doc__ or f"Made from the function {score_name}.",
        __cls_kwargs__={"name": label},
        **fields,
    )
    cls: type[Filter] = made
    cls.score = score  # type: ignore[method-assign]  # the function is the filter's scoring
    cls.drop_when = drop_when  # type: ignore[method-assign]
    return cls


class _CallableModule(types.ModuleType):
    """Lets `@curate.filter` work although `curate.filter` is also this module."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return filter(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
