"""Pipelines that curate did not run, as an audit sees them: corpora before and after, and what others leave behind.

Known traces: folders of the documents that a filter excluded (datatrove: one folder of JSONL.gz per filter), attributes
(Dolma: `attributes/NAME/*.jsonl.gz`, spans with a score per id) and statistics (Data-Juicer: `__dj__stats__`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from curate.audit_counts import Observed
from curate.errors import UsageError
from curate.read import Columns, Source, Survey, find_sources, read, survey, unite

Folders = str | PathLike[str] | Sequence[str | PathLike[str]]
Texts = Callable[[pl.DataFrame], Iterator[pl.DataFrame]]

PIPELINE = "the pipeline"
ELSEWHERE = "(elsewhere)"  # gone, and no folder or rule says where
KEY = ("__high", "__low")  # the two halves of a text's hash
CHUNK_BYTES, MAX_RECORD = 64_000_000, 16_000_000


def observe_folders(
    before: Folders | None,
    after: Folders,
    dropped: Sequence[str | PathLike[str]],
    attributes: Sequence[str | PathLike[str]],
    rules: Mapping[str, str],
    *,
    id: str | None,
    text: str,
) -> tuple[Observed, Texts]:
    """The documents before a pipeline with the step that removed each, and how to read their texts."""
    if before is None and not dropped:
        raise UsageError("what was there before is missing", hint="give `before`, or the folders of dropped documents")
    folders = [folder for path in dropped for folder in step_folders(Path(path))]
    kept = Corpus.read(after, text, id)
    gone = [(name, Corpus.read(folder, text, id)) for name, folder in folders]
    start = None if before is None else Corpus.read(before, text, id)
    corpora = [kept, *(corpus for _, corpus in gone), *([] if start is None else [start])]
    by_id = id is not None or all(corpus.has_id for corpus in corpora)
    key = ["id"] if by_id else list(KEY)
    notes = [
        f"Documents before and after are matched by {'id' if by_id else 'a hash of their text'}; curate did not run "
        "this pipeline."
    ]
    notes += [f"{c.bad:,} records of {c.name} could not be read and are left out." for c in corpora if c.bad]
    if start is None:
        frame, steps = _from_dropped(kept, gone)
        corpus_of = [corpus for _, corpus in gone] + [kept]
    else:
        frame, steps, more = _from_before(start, kept, gone, key, rules, attributes)
        notes += more
        corpus_of = [start]
    if by_id and frame["id"].n_unique() != frame.height:
        notes.append(f"{frame.height - frame['id'].n_unique():,} ids come more than once.")
    by_design = _by_design(rules, frame.columns)
    observed = Observed(frame.drop(KEY).lazy(), steps, {}, by_design, {}, (), tuple(notes))
    return observed, lambda rows: _texts(corpus_of, rows)


class Corpus:
    """The documents of some files: id, place, hash and bytes of their text, and all other columns."""

    def __init__(self, name: str, frame: pl.DataFrame, bad: int, has_id: bool, files: Any, columns: Columns) -> None:
        self.name, self.frame, self.bad, self.has_id, self.files, self.columns = (
            name,
            frame,
            bad,
            has_id,
            files,
            columns,
        )

    @classmethod
    def read(cls, paths: Folders, text: str, id: str | None) -> Corpus:
        """Read files, folders or patterns; texts are hashed, not kept."""
        wanted = [paths] if isinstance(paths, str | PathLike) else list(paths)
        names = [str(path) for path in wanted]
        files = [(source, survey(source, text, id, chunk_bytes=CHUNK_BYTES, max_record=MAX_RECORD)[0])
                 for source in find_sources([_pattern(name) for name in names], Path.cwd())]  # fmt: skip
        found = [one.columns for _, one in files if one.columns]
        own = id if id is not None else "id" if found and all("id" in columns for columns in found) else None
        columns = unite(files, text, own)
        parts, bad = [], 0
        for source, _, batch in _batches(files, columns):
            parts.append(_describe(source, batch.records))
            bad += batch.bad.height
        frame = pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()
        if frame.is_empty():
            raise UsageError(f"{', '.join(names)}: there is no document that can be read")
        return cls(", ".join(names), _one_type(frame), bad, own is not None, files, columns)


def _pattern(name: str) -> str:
    """A folder as the pattern of all that is below it."""
    return str(Path(name) / "**" / "*") if Path(name).is_dir() else name


def _batches(files: Sequence[tuple[Source, Survey]], columns: Columns) -> Iterator[tuple[Source, Survey, Any]]:
    for source, found in files:
        for cut in found.cuts:
            for batch in read(source, cut, columns, max_record=MAX_RECORD):
                yield source, found, batch


def _describe(source: Source, records: pl.DataFrame) -> pl.DataFrame:
    """A batch without its texts: their hash and size instead, nested columns taken apart."""
    from curate.kernels.hashing import hash128
    from curate.kernels.utf8 import texts

    hashes = hash128(texts(records["text"]))
    others = [name for name in records.columns if name.startswith("input.")]
    frame = pl.DataFrame(
        [
            (records["id"] if "id" in records.columns else pl.Series("id", [None] * records.height, pl.String)),
            pl.repeat(source.file, records.height, dtype=pl.String, eager=True).alias("file"),
            records["row"].cast(pl.Int64).alias("row"),
            records["text"].str.len_bytes().cast(pl.Int64).alias("__bytes"),
            pl.Series(KEY[0], hashes.high),
            pl.Series(KEY[1], hashes.low),
        ]
    ).with_columns(pl.coalesce("id", pl.format("{}#{}", "file", "row")).alias("id"))
    own = [series for name in others for series in take_apart(name.removeprefix("input."), records[name])]
    taken = set(frame.columns)
    return frame.hstack(
        [series.alias(f"input.{series.name}" if series.name in taken else series.name) for series in own]
    )


def take_apart(name: str, values: pl.Series) -> list[pl.Series]:
    """A column as it is; of structs, and of JSON objects in text, one column per key: `NAME.key`."""
    import orjson

    if isinstance(values.dtype, pl.Struct):
        return [
            part for field in values.struct.fields for part in take_apart(f"{name}.{field}", values.struct.field(field))
        ]
    first = next((value for value in values if value is not None), None) if values.dtype == pl.String else None
    if first is None or not first.startswith("{"):
        return [values.alias(name)]
    try:
        objects = [orjson.loads(value) if value else {} for value in values.to_list()]
    except orjson.JSONDecodeError:
        return [values.alias(name)]
    if not all(isinstance(value, dict) for value in objects):
        return [values.alias(name)]
    keys = dict.fromkeys(key for value in objects for key in value)
    return [series for key in keys for series in [column(f"{name}.{key}", [value.get(key) for value in objects])]]


def column(name: str, values: list[Any]) -> pl.Series:
    """Values from JSON as a column: numbers, lists of text, else text."""
    import orjson

    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds <= {int, float}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    if kinds == {list} and all(isinstance(item, str) for value in values for item in value or ()):
        return pl.Series(name, values, dtype=pl.List(pl.String))
    texts = [value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values]
    return pl.Series(name, texts, dtype=pl.String)


def _one_type(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Null).cast(pl.String)) if pl.Null in frame.dtypes else frame


# --- who went where ---------------------------------------------------------------------------------------------------


def step_folders(path: Path) -> list[tuple[str, Path]]:
    """The steps of a folder of dropped documents: itself, or each folder in it, by name, when it holds only folders."""
    if not path.is_dir():
        raise UsageError(
            f"{path} is not a folder of dropped documents", hint="give one folder per filter, in their order"
        )
    inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "_")))
    if inside and all(entry.is_dir() for entry in inside):
        return [(entry.name, entry) for entry in inside]
    return [(path.name, path)]


def _from_dropped(kept: Corpus, gone: Sequence[tuple[str, Corpus]]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """What was there before, put together from what each filter excluded and what is left."""
    parts = [*(corpus.frame for _, corpus in gone), kept.frame]
    marked = [part.with_columns(pl.lit(at, pl.Int16).alias("__at")) for at, part in enumerate(parts)]
    frame = pl.concat(marked, how="diagonal_relaxed")
    return _unsampled(frame), _unique([name for name, _ in gone])


def _from_before(
    start: Corpus,
    kept: Corpus,
    gone: Sequence[tuple[str, Corpus]],
    key: list[str],
    rules: Mapping[str, str],
    attributes: Sequence[str | PathLike[str]],
) -> tuple[pl.DataFrame, tuple[str, ...], list[str]]:
    frame, notes = start.frame, list[str]()
    for path in attributes:
        frame = attach(frame, Path(path), start)
    frame = frame.with_columns(pl.int_range(pl.len()).over(key).alias("__nth"))
    left = kept.frame.group_by(key).len("__kept")
    frame = frame.join(left, on=key, how="left", maintain_order="left")
    stays = pl.col("__nth") < pl.col("__kept").fill_null(0)
    new = left.join(frame.select(key).unique(), on=key, how="anti")["__kept"].sum()
    if new:
        notes.append(
            f"{new:,} documents after have no counterpart before (their {' and '.join(key).strip('_')} is new)."
        )
    names = _unique([*(name for name, _ in gone), *rules]) or (PIPELINE,)
    at = pl.lit(0 if names == (PIPELINE,) else len(names))
    expressions = {name: _expression(rule, frame) for name, rule in rules.items()}
    for place, name in reversed(list(enumerate(rules, start=len(gone)))):
        at = pl.when(expressions[name].fill_null(False)).then(pl.lit(place)).otherwise(at)
    for place, (_, corpus) in reversed(list(enumerate(gone))):
        found = corpus.frame.select(key).unique().with_columns(pl.lit(True).alias(f"__gone{place}"))
        frame = frame.join(found, on=key, how="left", maintain_order="left")
        at = pl.when(pl.col(f"__gone{place}").fill_null(False)).then(pl.lit(place)).otherwise(at)
    if rules:
        spared = frame.filter(stays & pl.any_horizontal(rule.fill_null(False) for rule in expressions.values())).height
        notes += [f"{spared:,} documents break a rule and are there afterwards: they count as kept."] if spared else []
    frame = frame.with_columns(at.cast(pl.Int16).alias("__at"))
    unknown = names != (PIPELINE,) and bool(frame.select(((pl.col("__at") == len(names)) & ~stays).any()).item())
    steps = (*names, ELSEWHERE) if unknown else names
    frame = frame.with_columns(pl.when(stays).then(pl.lit(len(steps), pl.Int16)).otherwise("__at").alias("__at"))
    if unknown:
        notes.append(f"{ELSEWHERE} stands for documents that are gone although no folder and no rule says why.")
    return _unsampled(frame.drop("__nth", "__kept", *(f"__gone{place}" for place in range(len(gone))))), steps, notes


def _unsampled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(False).alias("sampled"))


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names of steps; one that comes again gets its number."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(made)


def _expression(rule: str, frame: pl.DataFrame) -> pl.Expr:
    """An SQL expression over the documents' columns."""
    from curate.filter import nearest
    from curate.filters.where import parse

    try:
        expression = parse(rule)
    except ValueError as error:
        raise UsageError(str(error)) from error
    for name in expression.meta.root_names():
        if name not in frame.columns:
            near = nearest(name, frame.columns)
            raise UsageError(
                f"`{rule}`: there is no column {name!r}",
                hint=f"did you mean {near!r}?" if near else f"columns: {', '.join(frame.columns[:30])}",
            )
    return expression


def _by_design(rules: Mapping[str, str], columns: Sequence[str]) -> dict[str, frozenset[str]]:
    from curate.filters.where import parse

    found: dict[str, set[str]] = {}
    for step, rule in rules.items():
        for name in parse(rule).meta.root_names():
            found.setdefault(name, set()).add(step)
    return {name: frozenset(steps) for name, steps in found.items() if name in columns}


def _texts(corpora: Sequence[Corpus], rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The texts of some documents, read again: `id`, `text`."""
    for corpus in corpora:
        for source, _, batch in _batches(corpus.files, corpus.columns):
            wanted = rows.filter(pl.col("file") == source.file).select("row", "id")
            found = batch.records.select(pl.col("row").cast(pl.Int64), "text").join(wanted, on="row", how="inner")
            if found.height:
                yield found.select("id", "text")


# --- attributes and statistics ----------------------------------------------------------------------------------------


def attach(frame: pl.DataFrame, path: Path, start: Corpus) -> pl.DataFrame:
    """Add the columns of attribute files: by `id` where their lines have one, else line by line."""
    table = read_attributes(path)
    names = [name for name in table.columns if name != "id"]
    if "id" in table.columns:
        once = table.unique("id", keep="first", maintain_order=True)
        return frame.drop(name for name in names if name in frame.columns).join(
            once.with_columns(pl.col("id").cast(pl.String)), on="id", how="left", maintain_order="left"
        )
    if table.height != frame.height or start.bad:
        raise UsageError(
            f"{path} has {table.height:,} lines without an id for {frame.height + start.bad:,} records",
            hint="statistics without ids must have one line for each record of `before`, in the same order",
        )
    return frame.drop(name for name in names if name in frame.columns).hstack(table)


def read_attributes(path: Path) -> pl.DataFrame:
    """Lines of attributes as a table: of spans the highest score under the attribute's name and their number under
    `NAME.spans`; of statistics (`__dj__stats__`) each under its own name."""
    import orjson

    from curate.streams import read_lines

    made: list[dict[str, Any]] = []
    for source in find_sources([_pattern(str(path))], Path.cwd()):
        if source.format != "jsonl":
            raise UsageError(
                f"{source.file}: attributes are read from JSON lines", hint="give .jsonl, .jsonl.gz or .zst"
            )
        number = 0
        for part in read_lines(source, max_record=MAX_RECORD):
            for line in part.lines:
                number += 1
                try:
                    made.append(_attributes(orjson.loads(line)))
                except (orjson.JSONDecodeError, TypeError, AttributeError) as error:
                    raise UsageError(f"{source.file}:{number}: no line of attributes: {error}") from error
    names = dict.fromkeys(name for row in made for name in row)
    if names.get("id", False) is None and not all("id" in row for row in made):
        raise UsageError(f"{path}: some lines have an id and others have none")
    return pl.DataFrame([column(name, [row.get(name) for row in made]) for name in names])


def _attributes(line: Any) -> dict[str, Any]:
    row: dict[str, Any] = {} if "id" not in line else {"id": str(line["id"])}
    if "attributes" in line:
        for name, spans in line["attributes"].items():
            row[name] = max((float(span[2]) for span in spans), default=None)
            row[f"{name}.spans"] = len(spans)
        return row
    values = line.get("__dj__stats__", {name: value for name, value in line.items() if name != "id"})
    return row | {name: value for name, value in values.items() if not isinstance(value, dict)}
