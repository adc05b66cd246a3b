"""`curate models calibrate PIPELINE`: score a sample with screen and model, and print the band to paste.

The steps before `toxicity` run over the sample first, so that the band is made from the texts that the step will see.
Nothing is kept, and no text is printed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from curate.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from curate.cascade import Calibration, Flags, Floats
    from curate.console import Quiet
    from curate.filters.toxicity import Toxicity
    from curate.pipeline import Pipeline, Step

CALLS = 256  # windows that the model is asked about before progress is told and the positives are counted
TEXT_COLUMN = "text"
MOST_GROUPS = 20  # that are printed


class Sample(NamedTuple):
    """Windows in random order: their document, the screen's scores, what the model said of the first ones."""

    documents: int
    rows: Any  # the document of each window
    screen: Floats
    toxic: Flags  # of the windows that the model was asked about: the first len(toxic)


def calibrate_command(
    pipeline: str,
    overrides: Sequence[str] = (),
    *,
    inputs: Sequence[str] = (),
    plugins: Sequence[str] = (),
    step: str | None = None,
    sample: int = 20_000,
    windows: int = 5_000,
    miss: float = 0.02,
    confidence: float = 0.95,
    wrong: float | None = None,
    by: str | None = None,
    watch: Quiet | None = None,
) -> dict[str, Any]:
    """Calibrate the band of a pipeline's toxicity step; ready for JSON, with the YAML to paste as `paste`.

    `sample` records of the input are read, and up to `windows` windows of them, drawn at random, are scored by both
    models; fewer when ten times the positives needed have been found. `by` is a column of the input or an earlier
    score: what the band misses is then told for each of its values.
    """
    from curate.cascade import Band, calibrate, positives_needed
    from curate.pipeline import Pipeline

    check_bounds(miss, confidence, wrong)
    pipe = Pipeline.load(pipeline, overrides, plugins)
    place = find_step(pipe, step)
    filter: Any = pipe.steps[place].filter.model_copy(update={"band": Band()})
    texts = texts_before(pipe, place, filter, by, inputs, sample, watch)
    enough = 10 * positives_needed(miss, confidence)
    drawn = score_sample(filter, texts, windows, enough, watch)
    found = calibrate(
        drawn.screen[: len(drawn.toxic)],
        drawn.toxic,
        miss=miss,
        confidence=confidence,
        wrong=wrong,
        population=drawn.screen,
        marks=filter.marks(),
        groups=None if by is None else group_names(texts[by], drawn),
    )
    toxic_documents = len(np.unique(drawn.rows[: len(drawn.toxic)][drawn.toxic]))
    return {
        **found.to_dict(),
        "step": pipe.steps[place].name,
        "documents": drawn.documents,
        "documents_with_positives": toxic_documents,
        "windows_in_sample": len(drawn.screen),
        "wrong": wrong,
        "paste": paste(found),
    }


def group_names(column: pl.Series, drawn: Sample) -> list[str]:
    """The group of each window that the model was asked about."""
    import polars as pl

    return column.cast(pl.String).fill_null("none").gather(drawn.rows[: len(drawn.toxic)]).to_list()


def check_bounds(miss: float, confidence: float, wrong: float | None) -> None:
    """Refuse bounds that are no shares."""
    for name, value in (("miss", miss), ("confidence", confidence), ("wrong", wrong)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"--{name} is {value}", hint="give a share between 0 and 1, for example 0.02")


def find_step(pipeline: Pipeline, name: str | None) -> int:
    """The place of the toxicity step that has a screen and a model."""
    from curate.filters.toxicity import Toxicity

    found = [at for at, step in enumerate(pipeline.steps) if isinstance(step.filter, Toxicity)]
    if name is not None:
        found = [at for at in found if pipeline.steps[at].name == name]
    if len(found) != 1:
        names = ", ".join(step.name for step in pipeline.steps if isinstance(step.filter, Toxicity)) or "none"
        raise UsageError(
            f"one toxicity step is wanted, the pipeline has: {names}", hint="choose one with --step, or add one"
        )
    filter: Any = pipeline.steps[found[0]].filter
    if filter.screen is None or filter.model is None:
        raise UsageError(
            f"step {pipeline.steps[found[0]].name} has no screen and model to calibrate with each other",
            hint="give both: toxicity: {screen: bundled, model: detoxify-unbiased}",
        )
    return found[0]


def texts_before(
    pipeline: Pipeline,
    place: int,
    filter: Toxicity,
    by: str | None,
    inputs: Sequence[str],
    sample: int,
    watch: Quiet | None,
) -> pl.DataFrame:
    """What the toxicity step will see of the sample: run the steps before it in a temporary folder."""
    from curate.pipeline import Pipeline
    from curate.run import run_pipeline

    settings = {name: getattr(pipeline, name) for name in type(pipeline).model_fields if name != "steps"}
    columns = tuple(dict.fromkeys(column for column in (filter.language_column, by) if column is not None))
    settings["output"] = pipeline.output.model_copy(update={"columns": columns})
    steps: Sequence[Step] = pipeline.steps[:place]
    before = Pipeline(steps, base=pipeline.base, **settings)
    with tempfile.TemporaryDirectory(prefix="curate-calibrate-") as folder:
        run = run_pipeline(before, list(inputs) or None, Path(folder) / "run", workers=1, sample=sample, watch=watch)
        kept = run.kept.collect()
    text = kept[pipeline.input.text].alias(TEXT_COLUMN)
    return text.to_frame().with_columns(kept.select(columns).get_columns())


def score_sample(filter: Toxicity, docs: pl.DataFrame, most: int, enough: int, watch: Quiet | None = None) -> Sample:
    """Score all windows with the screen and the first `most`, in random order, with the model.

    The model is asked until `enough` windows are toxic: when to stop depends on its verdicts alone, so that the screen
    scores of the toxic windows stay a random draw.
    """
    from curate.filters.toxicity import checked, screen_scores

    windows = filter.cut(docs[TEXT_COLUMN])
    wanted = np.flatnonzero(windows.readable & filter.judges(docs, windows)[windows.rows])
    wanted = np.random.default_rng(0).permutation(wanted)
    texts = windows.texts.gather(wanted)
    screen = checked(screen_scores(texts), len(texts)) if len(texts) else np.zeros(0)
    if watch is not None:
        watch.stage(f"asking the model about up to {min(most, len(texts)):,} windows")
    verdicts: list[Flags] = []
    for start in range(0, min(most, len(texts)), CALLS):
        some = texts[start : min(start + CALLS, most)]
        verdicts.append(checked(filter.model_scores(some), len(some)) >= filter.toxic_at)
        if sum(int(part.sum()) for part in verdicts) >= enough:
            break
    toxic = np.concatenate(verdicts) if verdicts else np.zeros(0, bool)
    return Sample(len(docs), windows.rows[wanted], screen, toxic)


# --- what is said of it -----------------------------------------------------------------------------------------------


def paste(found: Calibration) -> str | None:
    """The band as one line of YAML, None when no window may go unasked."""
    if found.band.ask_above is None:
        return None
    options = found.band.model_dump(exclude_none=True)
    numbers = {name: f"{value:g}" if isinstance(value, float) else f"'{value}'" for name, value in options.items()}
    return f"band: {{{', '.join(f'{name}: {value}' for name, value in numbers.items())}}}"


def lines(found: dict[str, Any]) -> Iterator[str]:
    """What the calibration says, for people."""
    scored, positives, needed = found["windows"], found["positives"], found["needed"]
    yield (
        f"{scored:,} windows were scored by both models; the model calls {positives:,} of them toxic, in "
        f"{found['documents_with_positives']:,} documents"
    )
    if found["paste"] is None:
        yield (
            f"no band: at least {needed:,} toxic windows are needed for a bound of {found['miss']:.1%} at "
            f"{found['confidence']:.0%} confidence, {positives:,} were found; until then every window is asked about"
        )
        yield "score more windows (--windows), read more records (--sample), or accept a larger --miss"
        return
    yield f"to paste into the options of step {found['step']}:"
    yield f"  {found['paste']}"
    yield (
        f"bound: with {found['confidence']:.0%} confidence at most {found['miss']:.1%} of the windows that the model "
        f"calls toxic lie below ask_above ({needed:,} toxic windows needed, {positives:,} found)"
    )
    yield f"this is {found['promise']}; it is void when a model or an option that changes scores changes"
    yield ("it counts the toxic windows as independent: where few documents hold most of them, take a larger sample")
    if found["wrong"] is not None and "drop_above" not in found["band"]:
        yield f"no drop_above: no screen score is sure enough for a bound of {found['wrong']:.1%}"
    for group in found["groups"][:MOST_GROUPS]:
        line = f"  {group['group']}: {group['positives']:,} toxic windows"
        if group["missed"] is not None:
            line += f", {group['missed']:.1%} of them below, with {found['confidence']:.0%} confidence at most "
            line += f"{group['at_most']:.1%}"
        yield line
    cost = f"cost: the model is asked about {found['asked']:.1%} of the windows; {positives / scored:.1%} are toxic"
    if "drop_above" not in found["band"]:
        cost += f", so that no screen with this bound could ask about fewer than {found['floor']:.1%}"
    yield cost
