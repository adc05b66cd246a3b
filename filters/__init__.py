"""The filters that ship with curate; importing this module registers them all."""

from __future__ import annotations

from curate.filters.balance import Balance
from curate.filters.blocklist import Blocklist
from curate.filters.c4 import C4Quality, RefinedwebLines
from curate.filters.chat import ChatChecks
from curate.filters.classifier import Classifier
from curate.filters.decontaminate import Decontaminate
from curate.filters.disagreement import Disagreement
from curate.filters.exact import ExactDuplicates
from curate.filters.groups import Groups
from curate.filters.language import Language
from curate.filters.length import Length
from curate.filters.near import NearDuplicates
from curate.filters.pii import RedactPii
from curate.filters.preference import PreferenceChecks
from curate.filters.quality import FinewebQuality, GopherQuality
from curate.filters.repeated_lines import RepeatedLines
from curate.filters.repetition import GopherRepetition
from curate.filters.toxicity import Toxicity
from curate.filters.where import Where

__all__ = [
    "Balance",
    "Blocklist",
    "C4Quality",
    "ChatChecks",
    "Classifier",
    "Decontaminate",
    "Disagreement",
    "ExactDuplicates",
    "FinewebQuality",
    "GopherQuality",
    "GopherRepetition",
    "Groups",
    "Language",
    "Length",
    "NearDuplicates",
    "PreferenceChecks",
    "RedactPii",
    "RefinedwebLines",
    "RepeatedLines",
    "Toxicity",
    "Where",
]
