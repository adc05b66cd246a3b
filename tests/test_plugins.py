"""A plugin package, built and installed as a data team's would be, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `acme-curate` is installed in; neither the environment nor the source folder changes."""
    source = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "plugin")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, capture_output=True, text=True)
    return target


def with_plugin(installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the plugin package can be imported."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "NO_COLOR": "1"}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def evaluated(installed: Path, expression: str) -> Any:
    """The value of an expression over `c`, curate.filter, where the plugin package is installed."""
    script = f"import json; import curate.filter as c; print(json.dumps({expression}))"
    done = with_plugin(installed, "-c", script)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_filters_of_an_installed_package_are_found(installed: Path) -> None:
    assert evaluated(installed, "c.find_filter('acme.no_lorem')(max_hits=1).options()") == {"max_hits": 1}
    assert "acme.no_lorem" in evaluated(installed, "list(c.registered())")


def test_entry_points_that_fail_are_reported_by_name_and_spare_the_others(installed: Path) -> None:
    problems = evaluated(installed, "c.plugin_problems()")

    assert set(problems) == {"broken", "clash"}
    assert "ModuleNotFoundError: No module named 'acme_package_that_is_not_installed'" in problems["broken"]
    assert "two filters are named 'length'" in problems["clash"]
    assert "acme_curate.clash" in problems["clash"]
    assert evaluated(installed, "c.find_filter('length').__module__") == "curate.filters.length"


def test_the_code_of_a_plugin_is_part_of_its_version(installed: Path) -> None:
    version = evaluated(installed, "c.code_version(c.find_filter('acme.no_lorem'))")
    file = installed / "acme_curate" / "__init__.py"
    content = file.read_text()

    file.write_text(content.replace("(?i)", ""))
    changed = evaluated(installed, "c.code_version(c.find_filter('acme.no_lorem'))")
    file.write_text(content)

    assert version.startswith("3:")
    assert changed != version
    assert evaluated(installed, "c.code_version(c.find_filter('acme.no_lorem'))") == version


def test_an_installed_filter_keeps_the_contract(installed: Path) -> None:
    script = (
        "from acme_curate import NoLorem; from curate.testing import check_filter; check_filter(NoLorem(max_hits=0))"
    )

    done = with_plugin(installed, "-c", script)

    assert done.returncode == 0, done.stderr


def test_the_environment_of_the_tests_is_untouched() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from curate.filter import registered; print('acme.no_lorem' in registered())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "False\n"
