"""A filter whose name is taken."""

from __future__ import annotations

from curate import Filter


class Length(Filter, name="length"):
    """Claim a built-in filter's name."""
