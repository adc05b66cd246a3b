"""Model files and their checksums."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from curate import models
from curate.errors import UsageError


def test_a_checksum_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights")

    assert models.file_sha256(tmp_path / "model") == hashlib.sha256(b"weights").hexdigest()


def test_a_changed_file_has_another_checksum(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"weights")
    first = models.file_sha256(path)

    path.write_bytes(b"wEights")
    os.utime(path, ns=(1, 1))

    assert models.file_sha256(path) != first


def test_the_language_model_is_found_without_importing_its_package() -> None:
    before = set(sys.modules)

    path = models.bundled_language_model()

    assert path.stat().st_size == 938_013
    assert "robust_downloader" not in set(sys.modules) - before


def test_a_missing_language_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_spec", lambda name: None)

    with pytest.raises(UsageError, match=r"lid\.176\.ftz is missing") as error:
        models.bundled_language_model()

    assert error.value.hint is not None
