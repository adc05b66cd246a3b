"""Models by name: found, fetched, refused, checked; the command `curate models`."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner

from curate import cli, models
from curate.errors import UsageError
from curate.models import File, Model

CONTENT = b"weights " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def pinned(
    *, sha256: str | None = SHA256, size: int | None = len(CONTENT), names: tuple[str, ...] = ("a.bin",)
) -> Model:
    files = tuple(File(name, f"https://models.example.org/{name}", size, sha256) for name in names)
    return Model("tiny", "language", files, "CC0-1.0", bundled=False)


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Put a model into the table and answer requests for its files; returns the list of addresses asked for."""
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CURATE_OFFLINE", raising=False)

    def start(model: Model, content: bytes = CONTENT, error: Exception | None = None) -> list[str]:
        asked: list[str] = []

        def opened(url: str) -> IO[bytes]:
            asked.append(url)
            if error is not None:
                raise error
            return io.BytesIO(content)

        monkeypatch.setitem(models.MODELS, model.name, model)
        monkeypatch.setattr(models, "_opened", opened)
        return asked

    return start


def test_a_model_is_fetched_into_the_cache_folder(serve: Callable[..., list[str]], tmp_path: Path) -> None:
    serve(pinned())

    path = models.fetch("tiny")

    assert path == tmp_path / "cache" / "models" / "tiny" / "a.bin" == models.find("tiny")
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["a.bin"]


def test_a_model_of_several_files_is_a_folder(serve: Callable[..., list[str]]) -> None:
    asked = serve(pinned(names=("a.bin", "b.json")))

    folder = models.fetch("tiny")

    assert sorted(os.listdir(folder)) == ["a.bin", "b.json"]
    assert len(asked) == 2


def test_a_file_that_is_there_is_not_fetched_again(serve: Callable[..., list[str]]) -> None:
    asked = serve(pinned())

    models.fetch("tiny")
    models.fetch("tiny")

    assert len(asked) == 1


@pytest.mark.parametrize("content", [b"other" * 1600, CONTENT[:-1], CONTENT + b"!"])
def test_what_is_not_what_was_pinned_is_refused_and_nothing_stays(
    serve: Callable[..., list[str]], tmp_path: Path, content: bytes
) -> None:
    serve(pinned(), content)

    with pytest.raises(UsageError, match=r"is not the file a\.bin of the model tiny"):
        models.fetch("tiny")

    assert os.listdir(tmp_path / "cache" / "models" / "tiny") == []


def test_a_server_that_fails_is_named_with_what_to_do(serve: Callable[..., list[str]], tmp_path: Path) -> None:
    serve(pinned(), error=urllib.error.URLError("no route"))

    with pytest.raises(UsageError, match=r"cannot be fetched from models\.example\.org") as error:
        models.fetch("tiny")

    assert str(tmp_path) in str(error.value.hint)
    assert os.listdir(tmp_path / "cache" / "models" / "tiny") == []


def test_offline_refuses_to_fetch(serve: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(pinned())
    monkeypatch.setenv("CURATE_OFFLINE", "1")

    with pytest.raises(UsageError, match=r"a\.bin of the model tiny.*CURATE_OFFLINE"):
        models.fetch("tiny")

    assert asked == []


def test_a_model_without_checksum_is_not_fetched(serve: Callable[..., list[str]]) -> None:
    asked = serve(pinned(sha256=None))

    with pytest.raises(UsageError, match=r"no checksum is known of a\.bin") as error:
        models.fetch("tiny")

    assert "give the path" in str(error.value.hint)
    assert asked == []


@pytest.mark.parametrize("url", ["http://models.example.org/a", "file:///etc/passwd", "ftp://example.org/a"])
def test_only_https_is_opened(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)

    with pytest.raises(UsageError, match="https only"):
        models._opened(url)


def test_a_model_that_was_not_fetched_is_missing_with_the_command(serve: Callable[..., list[str]]) -> None:
    serve(pinned())

    with pytest.raises(UsageError, match=r"a\.bin of the model tiny is not at") as error:
        models.find("tiny")

    assert error.value.hint == "curate models fetch tiny"
    assert models.fetch_hint(models.place("tiny")) == "curate models fetch tiny"


def test_a_file_that_was_changed_later_is_refused(serve: Callable[..., list[str]]) -> None:
    serve(pinned())
    path = models.fetch("tiny")
    path.write_bytes(CONTENT[::-1])

    for check in (models.find, models.verify):
        with pytest.raises(UsageError, match="SHA-256"):
            check("tiny")


def test_a_file_that_was_cut_is_refused(serve: Callable[..., list[str]]) -> None:
    serve(pinned())
    path = models.fetch("tiny")
    path.write_bytes(CONTENT[:100])

    with pytest.raises(UsageError, match="100 bytes, not 8,000"):
        models.find("tiny")


def test_a_path_is_returned_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.bin"
    own.write_bytes(b"x")

    assert models.find(own) == own
    assert models.find(str(own)) == own


def test_a_name_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no model 'glotlit'") as error:
        models.find("glotlit")

    assert error.value.hint == "did you mean 'glotlid'?"


def test_the_bundled_model_is_what_was_pinned() -> None:
    assert models.verify("lid176-small") == models.bundled_language_model() == models.fetch("lid176-small")


def test_every_pin_is_well_formed() -> None:
    for name, model in models.MODELS.items():
        assert model.name == name
        for file in model.files:
            assert file.url.startswith("https://")
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32


# --- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(cli.app, ["models", *arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout, result.stderr


def test_models_are_listed_with_licence_and_state() -> None:
    listed, _ = run()

    assert "lid176-small" in listed
    assert "CC-BY-SA-3.0" in listed
    assert listed == run("list")[0]


def test_models_are_listed_as_json() -> None:
    listed = json.loads(run("list", "--json")[0])

    assert set(listed) == set(models.MODELS)
    assert listed["lid176-small"]["present"] is True
    assert listed["glotlid"]["fetchable"] is False


def test_a_model_is_fetched_and_verified_by_the_command(serve: Callable[..., list[str]], tmp_path: Path) -> None:
    serve(pinned())

    _, said = run("fetch", "tiny")
    checked, _ = run("verify", "tiny")

    assert str(tmp_path) in said
    assert "as pinned" in checked


def test_without_names_all_that_are_there_are_verified(serve: Callable[..., list[str]]) -> None:
    serve(pinned())

    checked, _ = run("verify")

    assert "lid176-small" in checked
    assert "tiny" not in checked


def test_a_pipeline_with_a_model_that_is_not_there_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path))
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text("input: {paths: [a.parquet]}\nsteps:\n  - language: {model: lid176}\n")

    result = CliRunner().invoke(cli.app, ["check", str(pipeline)], standalone_mode=False)

    assert "curate models fetch lid176" in str(result.exception)
