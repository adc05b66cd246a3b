"""`web` and `multilingual`: they load by name, and do to planted documents what they say."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import curate

PROSE = [
    "The ship left the harbour before the sun was up, and nobody on the shore had seen it go.",
    "Those who lived by the water said that it was a good sign to have the wind so early.",
    "They had been told of the storm, but most of them did not believe that it would come.",
    "In the afternoon the clouds came in with the tide, and the boats were tied to the wall.",
    "It rained until the next morning, and the road to the village was closed for a week.",
    "When the ship came back, it had no cargo to sell and a crew that did not want to talk.",
]


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        (
            "web",
            ["language", "gopher_repetition", "gopher_quality", "c4_quality", "fineweb_quality", "toxicity"],
        ),
        ("multilingual", ["language", "gopher_repetition", "gopher_quality", "fineweb_quality", "toxicity"]),
    ],
)
def test_a_pipeline_has_the_steps_of_its_source_in_order(name: str, steps: list[str]) -> None:
    found = [step.name for step in curate.Pipeline.load(name).steps]

    assert found == [*steps, "exact_duplicates", "near_duplicates", "redact_pii"]


def test_web_keeps_prose_and_drops_what_is_none(tmp_path: Path) -> None:
    page = "\n".join(PROSE)
    pages = {
        "prose": page,
        "menu": "\n".join(["Home", "About us", "Contact", "Home", "Products", "About us"] * 10),
        "code": page.replace("The ship", "The {ship}"),
        "copy": page.upper(),
        "cookies": f"{page} And then some more was said of it.\nThis site uses cookies to see what you read.",
        "short": "Nothing to see here.",
    }
    pl.DataFrame({"id": list(pages), "text": list(pages.values())}).write_parquet(tmp_path / "pages.parquet")

    run = curate.Pipeline.load("web").run(tmp_path / "pages.parquet", output=tmp_path / "clean", workers=1)

    kept = dict(run.kept.select("id", "text").collect().rows())
    assert set(kept) == {"prose"}
    dropped = dict(run.dropped.select("id", "step").collect().rows())
    assert dropped["menu"] == "gopher_repetition"
    assert dropped["code"] == "c4_quality"
