"""README.md and docs/: every block runs and prints what it shows, generated pages are current, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from curate.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "tools" / "make_docs.py"
REFRESH = "run `python tools/make_docs.py` and look at the difference"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_docs"] = module
    spec.loader.exec_module(module)
    return module


make_docs = load_script()
PAGES = [*make_docs.GENERATED, *make_docs.pages()]


@pytest.mark.parametrize("page", PAGES)
def test_the_page_runs_and_shows_what_is_printed(page: str) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check", page], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{page} is out of date or does not run: {REFRESH}\n{done.stdout}{done.stderr}"


# --- the pages themselves ---------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"(?ms)^```.*?^```$", "", (ROOT / page).read_text("utf-8"))
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), f"{page} links to {link}"
        assert not anchor or anchor in anchors(target.read_text("utf-8")), f"{page} links to {link}"


def test_the_readme_starts_with_the_two_set_up_commands() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme.index("```sh\npython -m pip install . && curate demo\n```") < 1000


def test_every_setting_of_a_pipeline_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "pipelines.md").read_text("utf-8")
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {})
        for setting in [f"{name}.{key}" for key in inner] or [name]:
            assert f"| `{setting}` |" in guide, setting


def test_pages_make_no_claims_that_nobody_can_keep() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        for name in ("detoxify-unbiased", "unbiased-albert-c8519128.ckpt"):  # names of a model and a file, not claims
            text = text.replace(name, "")
        words = re.findall(r"\b(fair|unbiased|compliant|bias-free|guaranteed)\b", text)
        assert not words, page


# --- the script that runs pages ---------------------------------------------------------------------------------------


def test_blocks_of_a_page_are_found_with_their_lines() -> None:
    found = list(make_docs.blocks("text\n```python\nx = 1\n```\n\n```console\n$ curate run\ndone\n```\n"))
    assert [(block.language, block.lines, block.start) for block in found] == [
        ("python", ["x = 1"], 2),
        ("console", ["$ curate run", "done"], 6),
    ]
    assert make_docs.commands(found[1].lines) == [("curate run", ["done"])]


def test_times_rates_and_widths_are_not_compared() -> None:
    shown = ["read   2,339", "in 1.2 s at 30 MB/s", "", "work     seconds", "length       0.1"]
    printed = ["read  2,339", "in 12 s at 3.1 MB/s", "", "work  seconds", "length    12.0"]
    assert make_docs.same(shown, printed)
    assert not make_docs.same(shown, ["read  2,340", *printed[1:]])


def test_a_line_of_dots_stands_for_any_lines() -> None:
    assert make_docs.same(["first", "...", "last"], ["first", "a", "b", "last"])
    assert not make_docs.same(["first", "...", "last"], ["first", "a", "b", "end"])
    assert make_docs.cut(["first", "..."], ["one", "two", "three"]) == ["one", "..."]
