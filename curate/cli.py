"""The command line: batch jobs over corpora. Data goes to stdout, everything else to stderr.

Exit codes: 0 done; 1 finished but a promise failed; 2 bad usage, pipeline or lock held; 3 stopped by an error; 130 and
143 interrupted. After 3, 130 and 143 the same command resumes. Heavy libraries are imported by the command that needs
them.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from curate import __version__
from curate.errors import CurateError, UsageError

if TYPE_CHECKING:
    from curate.run import Run

F = TypeVar("F", bound=Callable[..., Any])
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Interrupted(BaseException):
    """A signal asked the run to stop; the same command resumes it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Commands(click.Group):
    """Shows commands in the order in which a user meets them, and turns our errors into messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In order of definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for a mistyped one."""
        from curate.filter import nearest

        if args and self.get_command(ctx, args[0]) is None:
            near = nearest(args[0], self.commands)
            hint = f"did you mean {near!r}?" if near else "see curate --help"
            raise UsageError(f"there is no command {args[0]!r}", hint=hint)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="curate")
def app() -> None:
    """Training-data curation that proves what it did.

    \b
    Start with:
      curate demo                  a small corpus with planted faults, cleaned
      curate init DATA             a pipeline.yaml for your data
      curate run pipeline.yaml     the run; the same command resumes it
    """


def pipeline_argument() -> Callable[[F], F]:
    """The argument that names a pipeline; completes shipped names and files."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from curate.pipeline import shipped

        names = [CompletionItem(name) for name in shipped() if name.startswith(incomplete)]
        return [*names, CompletionItem(incomplete, type="file")]

    return click.argument("pipeline", shell_complete=complete)


PLUGIN = click.option("--plugin", "plugins", multiple=True, metavar="FILE", help="A Python file with filters.")
INPUT = click.option("--input", "inputs", multiple=True, metavar="PATHS", help="Input files; wins over the pipeline's.")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@app.command()
@click.argument("folder", default="curate-demo", type=click.Path(path_type=Path))
@click.option("--documents", default=2000, show_default=True, help="Size of the made corpus.")
@click.option("--strict", is_flag=True, help="A broken clause of the policy fails instead of warning: exits 1.")
@JSON
def demo(folder: Path, documents: int, strict: bool, as_json: bool) -> int:
    """Make small corpora with planted faults, clean and balance them, print planted against found.

    Everything is made on the spot, in FOLDER (default ./curate-demo); nothing is downloaded.
    """
    from curate.demo import run_demo

    with progress(as_json) as watch:
        result = run_demo(folder, documents=documents, strict=strict, watch=watch)
    if as_json:
        emit(result.to_dict())
    else:
        result.print()
    return result.exit_code


@app.command()
@click.argument("data", nargs=-1, required=True)
@click.option("--output", "-o", default="pipeline.yaml", show_default=True, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Write over an existing file.")
def init(data: tuple[str, ...], output: Path, force: bool) -> int:
    """Look at up to 10,000 records of DATA and write a commented pipeline that runs.

    DATA is a file, a folder or a pattern ('crawl/*.jsonl.zst').
    """
    from curate.init import propose

    if output.exists() and not force:
        raise UsageError(f"{output} exists", hint="choose another name with --output, or --force to write over it")
    text, notes = propose(data, output.parent)
    output.write_text(text, encoding="utf-8")
    for note in notes:
        click.echo(note, err=True)
    click.echo(f"wrote {output}; next: curate run {output}", err=True)
    return 0


@app.command()
@pipeline_argument()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@PLUGIN
@JSON
def check(pipeline: str, overrides: tuple[str, ...], plugins: tuple[str, ...], as_json: bool) -> int:
    """Validate the file, its plugins and its models; reads no data."""
    from curate.pipeline import Pipeline

    pipe = Pipeline.load(pipeline, overrides, plugins)
    if as_json:
        emit({"valid": True, "pipeline": pipe.resolved()})
    else:
        click.echo(f"{pipe.name}: valid, {len(pipe.steps)} steps: {', '.join(step.name for step in pipe.steps)}")
    return 0


@app.command()
@pipeline_argument()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@INPUT
@PLUGIN
@click.option("--sample", default=2000, show_default=True, help="Records to measure on.")
@JSON
def plan(
    pipeline: str,
    overrides: tuple[str, ...],
    inputs: tuple[str, ...],
    plugins: tuple[str, ...],
    sample: int,
    as_json: bool,
) -> int:
    """Show passes and chunks; measure each step's cost and selectivity on a sample.

    The figures are measured on this machine, one worker, on the first records of each file; nothing is kept.
    """
    from curate.estimate import estimate, print_estimate
    from curate.pipeline import Pipeline

    pipe = Pipeline.load(pipeline, overrides, plugins)
    with progress(as_json) as watch:
        found = estimate(pipe, inputs or None, sample=sample, watch=watch)
    if as_json:
        emit(found)
    else:
        print_estimate(found)
    return 0


@app.command()
@pipeline_argument()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@INPUT
@click.option("--output", "-o", metavar="FOLDER", help="The run's folder; wins over the pipeline's.")
@click.option(
    "--workers", "-w", type=click.IntRange(1), help="Worker processes; default: as many as cores, 1 if small."
)
@click.option("--sample", default=0, metavar="N", help="A trial over about N records: the first of each file.")
@click.option("--update", is_flag=True, help="Re-use what is valid of an earlier run with other options or input.")
@click.option("--fresh", is_flag=True, help="Remove what an earlier run left in the folder, then start.")
@PLUGIN
@JSON
def run(
    pipeline: str,
    overrides: tuple[str, ...],
    inputs: tuple[str, ...],
    output: str | None,
    workers: int | None,
    sample: int,
    update: bool,
    fresh: bool,
    plugins: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run a pipeline over its input; the same command resumes an interrupted run.

    PIPELINE is a file or the name of a shipped one. Options of steps can be set on the command line:
    `steps.language.min_confidence=0.5`.
    """
    from curate.pipeline import Pipeline
    from curate.run import run_pipeline

    pipe = Pipeline.load(pipeline, overrides, plugins)
    with progress(as_json) as watch, interruptible():
        done = run_pipeline(
            pipe, inputs or None, output, workers=workers, sample=sample, update=update, fresh=fresh, watch=watch
        )
    return show_run(done, as_json)


@app.command()
@click.argument("name", required=False)
@click.option("--schema", is_flag=True, help="JSON Schema of pipeline files, for editors.")
@PLUGIN
@JSON
def filters(name: str | None, schema: bool, plugins: tuple[str, ...], as_json: bool) -> int:
    """List the filters, or describe one: options, scores, rules, source."""
    from curate.filter import load_plugin, nearest, plugin_problems, registered
    from curate.reference import describe, print_filter, print_filters

    for plugin in plugins:
        load_plugin(plugin)
    if schema:
        from curate.pipeline import json_schema

        emit(json_schema())
        return 0
    known = registered()
    if name is None:
        if as_json:
            emit({label: describe(cls) for label, cls in known.items()})
        else:
            print_filters(known, plugin_problems())
        return 0
    if name not in known:
        near = nearest(name, known)
        raise UsageError(
            f"there is no filter {name!r}", hint=f"did you mean {near!r}?" if near else "see curate filters"
        )
    if as_json:
        emit(describe(known[name]))
    else:
        print_filter(known[name])
    return 0


@app.command()
@click.argument("folder", metavar="RUN")
@click.argument("id")
@click.option("--show-text", is_flag=True, help="Show the first 200 characters, and what it shares with its twin.")
@JSON
def why(folder: str, id: str, show_text: bool, as_json: bool) -> int:
    """Explain one document: every score, limit and rule; its twin; where it is now."""
    from curate.lookup import add_texts
    from curate.reference import print_why
    from curate.run import open_run

    opened = open_run(folder)
    answer = opened.why(id)
    if show_text and answer["verdict"] != "quarantine":
        add_texts(opened, answer)
    if as_json:
        emit(answer)
    else:
        print_why(answer)
    return 0


@app.command()
@click.argument("folder", metavar="RUN")
@click.option("--html", type=click.Path(path_type=Path), help="Write the page to this file.")
@JSON
def report(folder: str, html: Path | None, as_json: bool) -> int:
    """Show a run's report again: in the terminal, as a page (--html FILE) or as --json."""
    from curate.run import open_run

    opened = open_run(folder)
    if html is not None:
        opened.report.save(html)
        click.echo(f"wrote {html}", err=True)
        return 0
    if as_json:
        emit(opened.report.to_dict())
    else:
        print_run(opened, stdout=True)
    return 0


@app.command()
@click.argument("folder", metavar="[RUN]", required=False)
@click.option("--by", "by", multiple=True, metavar="COLUMN", help="The groups: a column, or a score. May be repeated.")
@click.option("--strata", multiple=True, metavar="COLUMN", help="Also compare within the values of this column.")
@click.option("--cluster", metavar="COLUMN", help="Which documents belong together; default: groups.domain.")
@click.option("--reference", default="complement", show_default=True, help="complement, best, or a group's name.")
@click.option("--labels", metavar="FILE|COLUMN", help="Labels: 1 should go, 0 should stay; a file has id and label.")
@click.option("--score", metavar="COLUMN", help="The score to judge by the labels; else the file's own.")
@click.option("--words", is_flag=True, help="Words that tell removed from kept texts in flagged groups, redacted.")
@click.option("--show-words", is_flag=True, help="The same, readable: they may be hateful.")
@click.option("--before", multiple=True, metavar="PATHS", help="Instead of RUN: documents before a foreign pipeline.")
@click.option("--after", multiple=True, metavar="PATHS", help="The documents that it kept.")
@click.option("--dropped", multiple=True, metavar="FOLDER", help="What one of its filters excluded; in their order.")
@click.option("--attributes", multiple=True, metavar="PATHS", help="Dolma attributes, or Data-Juicer statistics.")
@click.option("--rule", "rules", multiple=True, metavar="STEP=SQL", help="What one of its steps drops; in their order.")
@click.option("--id", "id", metavar="COLUMN", help="Matches documents before and after; default: id, else the text.")
@click.option("--text", default="text", show_default=True, metavar="COLUMN", help="The text of a foreign corpus.")
@click.option(
    "--policy", metavar="FILE", type=click.Path(path_type=Path), help="Clauses to check instead of the run's."
)
@JSON
def audit(folder: str | None, policy: Path | None, as_json: bool, **options: Any) -> int:
    """Show whom each step removes, by group, with intervals, tests and what they rest on; and the policy's clauses.

    RUN is a run's folder; or name what another tool's pipeline read and kept with --before and --after. Groups are the
    values of a column (`--by language.label`, `--by source`), by default those of the run's own report; a column of
    lists makes groups that overlap. Exit code 1: a clause of the policy failed.
    """
    from curate.audit_command import audit_command, check_policy, print_policy

    found, run = audit_command(folder, **options)
    clauses = check_policy(run, policy)
    if as_json:
        emit(found.to_dict() | {"policy": clauses})
    else:
        found.print()
        print_policy(clauses)
    return int(any(clause["result"] == "fail" for clause in clauses))


@app.command()
@click.argument("folder", metavar="RUN")
@click.argument("change", metavar="STEP.OPTION=VALUES")
@click.option("--by", metavar="COLUMN", help="Also by group: a score or an input column, for example language.label.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page to this file.")
@PLUGIN
@JSON
def tune(folder: str, change: str, by: str | None, html: Path | None, plugins: tuple[str, ...], as_json: bool) -> int:
    """Show what other thresholds would keep, by group, without scoring again.

    VALUES are FROM:TO:STEP or a list: `toxicity.max_share=0.1:0.5:0.1`, `length.min_chars=50,100,200`. Answers come
    from the ledger and the audit sample; what they cannot tell is shown as a range or as unknown.
    """
    from curate.filter import load_plugin
    from curate.run import open_run
    from curate.tune import parse_values, save_page

    for plugin in plugins:
        load_plugin(plugin)
    name, equals, values = change.partition("=")
    if not equals:
        raise UsageError(f"{change!r} names no values", hint=f"write {change}=FROM:TO:STEP, or a list of values")
    found = open_run(folder).tune(name, parse_values(values), by=by)
    if html is not None:
        save_page(found, html)
        click.echo(f"wrote {html}", err=True)
    if as_json:
        emit(found.to_dict())
    elif html is None:
        found.print()
    return 0


@app.command()
@click.argument("folder", metavar="RUN")
@click.option("--for", "use", type=click.Choice(["labels"]), required=True, help="What the sample is for.")
@click.option("--step", metavar="STEP", help="The step, or STEP.RULE, that is asked about.")
@click.option("--by", metavar="COLUMN", help="Each of these groups gets its own strata, for example language.label.")
@click.option("--size", type=int, default=200, show_default=True, help="Rows for estimates.")
@click.option("--hunt", type=int, default=0, help="Also so many rows closest to the limit, on a sheet of their own.")
@click.option(
    "--format", type=click.Choice(["csv", "jsonl", "parquet"]), default="csv", show_default=True, help="Of the sheets."
)
@click.option("--output", type=click.Path(path_type=Path), help="A file or a folder; RUN.labels by default.")
@click.option("--question", help="What raters are asked.")
@click.option("--guideline", metavar="VERSION", help="The version of the guideline that raters follow.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another one draws other documents.")
@JSON
def sample(
    folder: str, use: str, step: str | None, by: str | None, size: int, hunt: int, format: str, output: Path | None,
    question: str | None, guideline: str | None, seed: int, as_json: bool,
) -> int:  # fmt: skip
    """Write a sheet of documents for people to label, so that a rule can be judged by them.

    Rows are random within strata of group, score and decision; `label` is yes when the document should be removed for
    this reason. The sheets hold texts as they came in, also of removed documents: they are as private as RUN/audit.
    """
    from curate.console import console
    from curate.label_store import store_of
    from curate.labels_print import print_sheets
    from curate.run import open_run

    run = open_run(folder)
    made = run.sample_labels(
        step, by=by, size=size, hunt=hunt, format=format, output=output or store_of(run),
        question=question, guideline=guideline, seed=seed,
    )  # fmt: skip
    emit(made.to_dict()) if as_json else print_sheets(made, console())
    return 0


@app.command()
@click.argument("folder", metavar="RUN")
@click.argument("sheets", metavar="LABELS", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--precision", type=float, help="Find the limit of which so many removals are right: 0.9.")
@click.option("--miss", type=float, help="Find the limit that misses at most this share: 0.05.")
@click.option("--rater", help="Who labelled rows without a rater; else the sheet's file name.")
@click.option("--rater-group", metavar="GROUP", help="The group of raters of rows without one.")
@click.option("--date", "created_at", metavar="DATE", help="When rows without a date were labelled.")
@click.option("--store", type=click.Path(path_type=Path), help="The label store; RUN.labels beside the run by default.")
@JSON
def calibrate(
    folder: str, sheets: tuple[Path, ...], precision: float | None, miss: float | None, rater: str | None,
    rater_group: str | None, created_at: str | None, store: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Say how well a rule does by filled label sheets: precision and recall with intervals, by group.

    Labels are added to the label store; nothing in it is ever changed. With --precision or --miss a limit is chosen
    on one half of the labels and told on the other. (`curate models calibrate` is for the toxicity screen's cascade.)
    """
    from curate.run import open_run

    made = open_run(folder).calibrate(
        *sheets, precision=precision, miss=miss, rater=rater, rater_group=rater_group, created_at=created_at,
        store=store,
    )  # fmt: skip
    emit(made.to_dict()) if as_json else made.print()
    return 0


@app.command()
@click.argument("before", metavar="RUN")
@click.argument("now", metavar="RUN")
@click.option("--by", metavar="COLUMN", help="Also by group: a score or an input column, for example language.label.")
@click.option(
    "--fail-on",
    type=click.Choice(["info", "warn", "fail", "never"]),
    default="fail",
    show_default=True,
    help="The level of drift from which the exit code is 1.",
)
@JSON
def diff(before: str, now: str, by: str | None, fail_on: str, as_json: bool) -> int:
    """Show which documents changed sides between two runs, and what drifted.

    Documents are matched by id. A drift is alerted when it is large (1 % of documents in other groups or score bins:
    info; 5 %: warn; 10 %: fail), more than chance, and of 1,000 documents or more. The exit code is 1 for a drift of
    the level --fail-on, and when the same pipeline over the same input gave another result.
    """
    from curate.drift import LEVELS
    from curate.run_diff import diff

    found = diff(before, now, by=by)
    if as_json:
        emit(found.to_dict())
    else:
        found.print()
    if fail_on == "never":
        return 0
    return 1 if found.not_reproduced or LEVELS.index(found.level) >= LEVELS.index(fail_on) else 0


@app.group(cls=Commands, invoke_without_command=True)
@click.pass_context
def models(ctx: click.Context) -> int:
    """List model files, fetch them, check them: where they are, licences, checksums."""
    return ctx.invoke(list_models, as_json=False) if ctx.invoked_subcommand is None else 0


@models.command("list")
@JSON
def list_models(as_json: bool) -> int:
    """List the models that filters know by name, and whether they are there."""
    from curate.models import MODELS, cache_folder, describe

    found = {name: describe(name) for name in MODELS}
    if as_json:
        emit(found)
        return 0
    for name, model in found.items():
        state = "here" if model["present"] else "can be fetched" if model["fetchable"] else "by path only"
        click.echo(f"{name:24} {model['task']:9} {state:15} {model['licence']:13} {model['note']}".rstrip())
    click.echo(f"\nfetched files go to {cache_folder() / 'models'}; curate models fetch NAME", err=True)
    return 0


@models.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def fetch(names: tuple[str, ...]) -> int:
    """Fetch models into the cache folder: https only, checked by size and SHA-256.

    The folder is CURATE_CACHE, or `curate` in the platform's folder for caches. CURATE_OFFLINE=1 refuses.
    """
    from curate.models import fetch, named

    for name in names:
        named(name)
    for name in names:
        click.echo(f"{name}: {fetch(name)}", err=True)
    return 0


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
def verify(names: tuple[str, ...]) -> int:
    """Check size and SHA-256 of models; without names, of all that are there."""
    from curate.models import MODELS, describe, named, verify

    for name in names or [name for name in MODELS if describe(name)["present"]]:
        path = verify(name)
        click.echo(f"{name}: {path}: {'as pinned' if named(name).pinned else 'there; no checksum is known'}")
    return 0


@models.command("calibrate")
@pipeline_argument()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@INPUT
@PLUGIN
@click.option("--step", metavar="NAME", help="The toxicity step, where there are several.")
@click.option("--sample", default=20_000, show_default=True, help="Records to read: the first of each file.")
@click.option("--windows", default=5_000, show_default=True, help="Windows to score with the slow model at most.")
@click.option("--miss", default=0.02, show_default=True, help="Share of toxic windows that may go unasked.")
@click.option("--confidence", default=0.95, show_default=True, help="How sure the bounds are.")
@click.option("--wrong", type=float, help="Also find drop_above: share of windows above it that may be not toxic.")
@click.option("--by", metavar="COLUMN", help="Also say what is missed in each group of this column or score.")
@JSON
def calibrate_cascade(pipeline: str, overrides: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Find the band of screen scores in which the slow model has to be asked.

    Scores windows of a sample with the screen and with the model, and prints the band to paste into the pipeline, what
    it promises and what it costs. It is fidelity to the slow model on text like the sample, not truth.
    """
    from curate.calibrate import calibrate_command, lines

    with progress(as_json) as watch:
        found = calibrate_command(pipeline, overrides, watch=watch, **options)
    if as_json:
        emit(found)
    else:
        for line in lines(found):
            click.echo(line)
    return 0 if found["paste"] is not None else 1


# --- shared ----------------------------------------------------------------------------------------------------------


def emit(value: Any) -> None:
    """One JSON object on stdout."""
    import orjson

    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY))


def show_run(done: Run, as_json: bool) -> int:
    """Say what came of a run."""
    if as_json:
        emit(
            {
                "output": str(done.root),
                "exit_code": done.exit_code,
                "counts": done.counts,
                "bytes": done.manifest["bytes"],
                "work": done.manifest["work"],
                "seconds": done.manifest["seconds"],
                "promises": done.manifest["promises"],
            }
        )
    else:
        print_run(done)
    return done.exit_code


def print_run(done: Run, *, stdout: bool = False) -> None:
    """The report in the terminal, and where the page is."""
    from curate.console import console, error_console, print_report

    target = console() if stdout else error_console()
    print_report(done.report, target)
    click.echo(f"\ndata    {done.root / 'dataset' / 'data'}", err=not stdout)
    click.echo(f"report  {done.root / 'audit' / 'report.html'}", err=not stdout)


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Any]:
    """A progress display on stderr; nothing with --json."""
    from curate.console import Progress, Quiet, error_console

    with Quiet() if quiet else Progress(error_console()) as watch:
        yield watch


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into Interrupted; a second one stops at once."""

    def stop(number: int, frame: Any) -> NoReturn:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point: run a command, turn every outcome into a message and an exit code."""
    try:
        code = app.main(args=arguments, prog_name="curate", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (Interrupted, KeyboardInterrupt, click.Abort) as error:
        click.echo("\ninterrupted: run the same command again to resume", err=True)
        sys.exit(error.exit_code if isinstance(error, Interrupted) else 130)
    except CurateError as error:
        click.echo(f"error: {printable(error.message)}", err=True)
        if error.hint:
            click.echo(f"hint: {printable(error.hint)}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:  # whatever else: a defect of ours or of a plugin, told in full, resumable
        click.echo("".join(traceback.format_tb(error.__traceback__)), err=True)  # no message: it may quote a document
        click.echo(f"error: {type(error).__name__}: stopped by a defect", err=True)
        click.echo("hint: report it with the lines above; the same command resumes once it is mended", err=True)
        sys.exit(3)


def printable(text: str) -> str:
    """Text from data, safe for a terminal: control characters other than newlines shown as escapes."""
    return "".join(
        character if character == "\n" or character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
