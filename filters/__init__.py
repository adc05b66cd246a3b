"""The filters that ship with curate; importing this module registers them all."""

from __future__ import annotations

from curate.filters.balance import Balance
from curate.filters.blocklist import Blocklist
from curate.filters.c4 import C4Quality, RefinedwebLines
from curate.filters.classifier import Classifier
from curate.filters.exact import ExactDuplicates
from curate.filters.groups import Groups
from curate.filters.language import Language
from curate.filters.length import Length
from curate.filters.near import NearDuplicates
from curate.filters.quality import FinewebQuality, GopherQuality
from curate.filters.repetition import GopherRepetition
from curate.filters.toxicity import Toxicity
from curate.filters.where import Where

__all__ = [
    "Balance",
    "Blocklist",
    "C4Quality",
    "Classifier",
    "ExactDuplicates",
    "FinewebQuality",
    "GopherQuality",
    "GopherRepetition",
    "Groups",
    "Language",
    "Length",
    "NearDuplicates",
    "RefinedwebLines",
    "Toxicity",
    "Where",
]
