"""curate: training-data curation that proves what it did.

Everything public is here; heavy libraries are imported when a name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from curate import filters
    from curate.audit import Audit, audit
    from curate.errors import CurateError, InfeasibleError, PipelineError, PluginError, StoppedError, UsageError
    from curate.filter import CorpusFilter, Filter, above, below, filter, threshold
    from curate.mix import Mix, balance
    from curate.pipeline import Pipeline, Step
    from curate.run import Run, open_run
    from curate.run_diff import Diff, diff
    from curate.swap import SwapReport, swap_check

_homes = {
    "Audit": "audit",
    "CorpusFilter": "filter",
    "CurateError": "errors",
    "Diff": "run_diff",
    "Filter": "filter",
    "InfeasibleError": "errors",
    "Mix": "mix",
    "Pipeline": "pipeline",
    "PipelineError": "errors",
    "PluginError": "errors",
    "Run": "run",
    "Step": "pipeline",
    "StoppedError": "errors",
    "SwapReport": "swap",
    "UsageError": "errors",
    "above": "filter",
    "balance": "mix",
    "below": "filter",
    "diff": "run_diff",
    "filter": "filter",
    "open_run": "run",
    "swap_check": "swap",
    "threshold": "filter",
}

__all__ = [
    "Audit",
    "CorpusFilter",
    "CurateError",
    "Diff",
    "Filter",
    "InfeasibleError",
    "Mix",
    "Pipeline",
    "PipelineError",
    "PluginError",
    "Run",
    "Step",
    "StoppedError",
    "SwapReport",
    "UsageError",
    "__version__",
    "above",
    "audit",
    "balance",
    "below",
    "diff",
    "filter",
    "filters",
    "open_run",
    "swap_check",
    "threshold",
]


def __getattr__(name: str) -> Any:
    if name in ("audit", "filter", "filters"):  # the modules curate.audit and curate.filter are callable
        return import_module(f"curate.{name}")
    if name in _homes:
        value = getattr(import_module(f"curate.{_homes[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'curate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
