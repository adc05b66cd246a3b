"""The filters that ship with curate; importing this module registers them all."""

from __future__ import annotations

from curate.filters.balance import Balance
from curate.filters.blocklist import Blocklist
from curate.filters.classifier import Classifier
from curate.filters.decontaminate import Decontaminate
from curate.filters.exact import ExactDuplicates
from curate.filters.language import Language
from curate.filters.length import Length
from curate.filters.near import NearDuplicates
from curate.filters.pii import RedactPii
from curate.filters.repeated_lines import RepeatedLines
from curate.filters.toxicity import Toxicity
from curate.filters.where import Where

__all__ = [
    "Balance",
    "Blocklist",
    "Classifier",
    "Decontaminate",
    "ExactDuplicates",
    "Language",
    "Length",
    "NearDuplicates",
    "RedactPii",
    "RepeatedLines",
    "Toxicity",
    "Where",
]
