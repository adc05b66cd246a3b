"""Every error that curate raises on purpose, each with one next step.

CurateError
├── UsageError            exit 2: bad usage, a bad pipeline, a bad output folder, a lock held by another run
│   ├── PipelineError     all problems of a pipeline at once, each with its place
│   ├── PluginError       a plugin file or entry point that cannot be loaded
│   ├── OutputError       the output folder cannot be used as asked
│   └── LockError         another run holds the output folder
├── StoppedError          exit 3: the run stopped and can be resumed by the same command
│   ├── StepError         a step failed on the first documents in a row
│   └── StorageError      the disk or the object store refused
├── InfeasibleError       exit 1: a target cannot be met; nothing was written
└── RecordError           one record cannot be read; it goes to quarantine, the run goes on
"""

from __future__ import annotations

from dataclasses import dataclass

LACKING = r"^[\w.]{1,60}(?:\[[0-9]+\])*: wanted [^:'\"\r\n]+$"  # of a record of turns: what it lacks, by type alone


class CurateError(Exception):
    """An error with a message for people, an optional hint and the exit code of the command line."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class UsageError(CurateError):
    """The command, the pipeline or the folders are not usable as given; nothing was run."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a pipeline: where it stands, what is wrong, the nearest right name."""

    message: str
    where: str = ""
    hint: str | None = None

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return text if self.hint is None else f"{text} ({self.hint})"


class PipelineError(UsageError):
    """A pipeline is not valid; `problems` lists everything wrong with it."""

    def __init__(self, problems: list[Problem], *, hint: str | None = None) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)


class PluginError(UsageError):
    """A plugin cannot be loaded; the message names the file or the entry point."""


class OutputError(UsageError):
    """The output folder cannot be used as asked."""


class LockError(UsageError):
    """Another run holds the output folder."""


class StoppedError(CurateError):
    """The run stopped before its end; the same command resumes it."""

    exit_code = 3


class StepError(StoppedError):
    """A step failed on the first documents in a row: it would fail on all."""


class StorageError(StoppedError):
    """Writing to the output folder failed: disk full, no permission, a broken disk."""


class InfeasibleError(CurateError):
    """A target cannot be met; the message says which groups are short, and by how much."""

    exit_code = 1


class RecordError(CurateError):
    """One record cannot be read or changed; the engine sends it to quarantine."""
