"""The command `curate audit`: its options checked and handed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curate.audit import Audit, audit
from curate.errors import UsageError


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
) -> Audit:
    """Audit a run's folder, or the folders of a pipeline that curate did not run."""
    foreign = {"--before": before, "--after": after, "--dropped": dropped, "--attributes": attributes, "--rule": rules}
    given = [name for name, value in foreign.items() if value]
    options |= {"words": words or show_words, "show_words": show_words}
    if not by:
        raise UsageError(
            "there is nothing to audit by", hint="name the groups: --by COLUMN, for example language.label"
        )
    if folder is not None:
        if given:
            raise UsageError(f"{given[0]} belongs to a pipeline that curate did not run", hint="leave out RUN, or it")
        from curate.run import open_run

        return open_run(folder).audit(by, **options)
    if not after:
        raise UsageError("there is nothing to audit", hint="name a run's folder, or --before and --after")
    return audit(
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


def _rule(written: str) -> tuple[str, str]:
    """`step=expression` in two."""
    step, sign, expression = written.partition("=")
    if not sign or not step.strip() or not expression.strip():
        raise UsageError(f"--rule {written!r} is not STEP=SQL", hint='for example --rule "short=num_words < 50"')
    return step.strip(), expression.strip()
