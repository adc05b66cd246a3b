"""What everybody who clones the repository relies on."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MACHINE_PATHS = re.compile(r"/(home|Users)/\w+|[A-Z]:\\\\?Users\\|" + re.escape(str(ROOT)) + r"\b")


def all_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return [name for name in listed if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


def text_files() -> list[str]:
    return [name for name in all_files() if b"\0" not in (ROOT / name).read_bytes()[:8192]]


def normalised(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ;]", requirement.strip())[0]).lower()


def test_the_readme_shows_how_to_install_and_try() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    assert "python -m pip install ." in readme
    assert "curate demo" in readme


def test_no_text_file_names_a_folder_of_somebodys_machine() -> None:
    found = {}
    for name in text_files():
        match = MACHINE_PATHS.search((ROOT / name).read_text("utf-8", errors="replace"))
        if match is not None:
            found[name] = match.group()

    assert found == {}


def test_every_file_is_small() -> None:
    assert [name for name in all_files() if (ROOT / name).stat().st_size > 5_000_000] == []


def test_no_data_file_is_committed_but_ours() -> None:
    data = (".parquet", ".jsonl", ".csv", ".zst", ".gz", ".bin")

    ours = ["tests/golden/identity_sentences.jsonl"]
    assert [name for name in all_files() if name.endswith(data) and name not in ours] == []


@pytest.mark.parametrize("name", ["curate/filters", "curate/pipelines"])
def test_the_links_for_static_tools_are_relative(name: str) -> None:
    if (ROOT / name).is_symlink():  # a checkout without links (core.symlinks=false) has a small file instead
        assert os.readlink(ROOT / name) == f"../{Path(name).name}"
    else:
        assert (ROOT / name).read_text("utf-8") == f"../{Path(name).name}"


def test_every_dependency_has_one_exact_pin_without_a_local_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]

    names = [normalised(pin) for pin in pins]

    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    assert len(names) == len(set(names))
    assert {normalised(one) for one in required} - {"curate-corpus", "setuptools"} <= set(names)


def test_the_changelog_has_the_version_of_the_package() -> None:
    version = re.search(r'^__version__ = "(.+)"', (ROOT / "curate/__init__.py").read_text("utf-8"), re.MULTILINE)
    assert version is not None

    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("script", ["scripts/test", ".ci/run"])
def test_the_scripts_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(ROOT / script)]).returncode == 0
