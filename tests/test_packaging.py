"""The wheel holds what git holds, and importing curate is light."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"datasets", "detoxify", "numba", "pandas", "polars", "pyarrow", "ray", "scipy", "spacy", "torch"}
MACHINE_PATHS = re.compile(rb"/(home|Users)/\w+|[A-Z]:\\\\?Users\\|" + re.escape(str(ROOT).encode()) + rb"\b")


def in_git(*folders: str) -> list[str]:
    """Files that are tracked, or would be with `git add`; links are left out, their targets are listed themselves."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return sorted({name for name in listed if (ROOT / name).is_file() and not (ROOT / name).is_symlink()})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    # Built from a copy: a `build/` folder in the checkout could bring files that git no longer has.
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in in_git("curate", "filters", "pipelines", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    for name in ("filters", "pipelines"):
        (source / "curate" / name).symlink_to(Path("..") / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.glob("curate_corpus-*.whl")
    with ZipFile(file) as opened:
        yield opened


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: ZipFile) -> None:
    in_wheel = {name for name in wheel.namelist() if ".dist-info/" not in name}

    wanted = {
        name if name.startswith("curate/") else f"curate/{name}" for name in in_git("curate", "filters", "pipelines")
    }

    assert in_wheel == wanted


def test_the_wheel_has_one_package_at_the_top(wheel: ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"curate"}


def test_the_wheel_brings_the_licence(wheel: ZipFile) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith("/licenses/LICENSE"))

    assert b"Apache License" in wheel.read(licence)


def test_no_file_in_the_wheel_is_large_or_names_a_machine(wheel: ZipFile) -> None:
    assert [info.filename for info in wheel.infolist() if info.file_size > 5_000_000] == []
    assert [name for name in wheel.namelist() if MACHINE_PATHS.search(wheel.read(name))] == []


@pytest.mark.parametrize("module", ["curate", "curate.cli", "curate.demo"])
def test_importing_is_light(module: str, tmp_path: Path) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) & HEAVY == set()
