"""The command `curate audit`: its options checked and handed on, the policy held against the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.audit import Audit, audit
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.run import Run


def audit_command(
    folder: str | None,
    *,
    by: Sequence[str],
    before: Sequence[str],
    after: Sequence[str],
    dropped: Sequence[str],
    attributes: Sequence[str],
    rules: Sequence[str],
    id: str | None,
    text: str,
    words: bool,
    show_words: bool,
    **options: Any,
) -> tuple[Audit, Run | None]:
    """Audit a run's folder, or the folders of a pipeline that curate did not run; the audit, and the run."""
    foreign = {"--before": before, "--after": after, "--dropped": dropped, "--attributes": attributes, "--rule": rules}
    given = [name for name, value in foreign.items() if value]
    options |= {"words": words or show_words, "show_words": show_words}
    if folder is not None:
        if given:
            raise UsageError(f"{given[0]} belongs to a pipeline that curate did not run", hint="leave out RUN, or it")
        from curate.run import open_run

        run = open_run(folder)
        return run.audit(by or _columns_of(run), **options), run
    if not by:
        raise UsageError("there is nothing to audit by", hint="name the groups: --by COLUMN")
    if not after:
        raise UsageError("there is nothing to audit", hint="name a run's folder, or --before and --after")
    found = audit(
        by=by,
        before=list(before) or None,
        after=list(after),
        dropped=dropped,
        attributes=attributes,
        rules=dict(_rule(rule) for rule in rules),
        id=id,
        text=text,
        **options,
    )
    return found, None


def _columns_of(run: Run) -> list[str]:
    """The columns that the run's own report is audited by."""
    audited = run.report.data.get("audit")
    if audited is None:
        raise UsageError(
            "there is nothing to audit by", hint="name the groups: --by COLUMN, for example language.label"
        )
    return list(audited["settings"]["by"])


def check_policy(run: Run | None, path: Path | None) -> list[dict[str, Any]]:
    """The clauses of a policy file held against a run, or what the run itself found of its own policy."""
    if run is None:
        if path is not None:
            raise UsageError("a policy is held against a run of curate", hint="leave out --policy")
        return []
    import datetime

    from curate.policy import evaluate, expire, measured_of, read_policy

    today = datetime.datetime.now(datetime.UTC).date()
    if path is None:
        return [expire(clause, today) for clause in run.manifest.get("policy", [])]
    return evaluate(read_policy(path), measured_of(run), today)


def print_policy(clauses: Sequence[dict[str, Any]]) -> None:
    """Print the result of each clause."""
    from rich.text import Text

    from curate.console import clean, console

    styles = {"pass": "bold green", "fail": "bold red"}
    for clause in clauses:
        said = f"{clean(clause['clause'])} ({clean(str(clause['evidence']))})"
        style = styles.get(clause["result"], "bold yellow")
        console().print(Text.assemble("policy ", (clause["result"], style), f": {said}"), soft_wrap=True)


def _rule(written: str) -> tuple[str, str]:
    """`step=expression` in two."""
    step, sign, expression = written.partition("=")
    if not sign or not step.strip() or not expression.strip():
        raise UsageError(f"--rule {written!r} is not STEP=SQL", hint='for example --rule "short=num_words < 50"')
    return step.strip(), expression.strip()
