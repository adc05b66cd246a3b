"""What a band would save with the bundled screen: python tools/measure_cascade.py DATA

DATA is a folder with `toxicity/dev.parquet` and `web/*.parquet` (text, lang, toxic). The raters' word stands in for
the slow model: `ask_above` is found on the comments that they call toxic, and what is printed is the share of windows
of the web documents that a slow model would then be asked about. A slow model agrees with itself more than raters do
with each other, so that the true figures are lower.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from curate.cascade import lower_limit
from curate.filters.toxicity import screen_scores
from curate.windows import cut_windows


def main(data: Path) -> None:
    """Print the limit and the share of windows above it for some bounds on the miss."""
    english = pl.col("lang") == "en"
    comments = pl.read_parquet(data / "toxicity" / "dev.parquet").filter(english, pl.col("toxic") == 1)
    web = pl.concat(
        [pl.read_parquet(file, columns=["text", "lang"]) for file in sorted((data / "web").glob("*.parquet"))]
    )
    windows = cut_windows(web.filter(english)["text"], 250, least=20)
    toxic, everything = screen_scores(comments["text"]), np.asarray(screen_scores(windows.texts))
    print(f"{len(toxic):,} toxic comments, {len(everything):,} windows of web text")
    for miss in (0.02, 0.05, 0.10):
        limit = lower_limit(toxic, miss, 0.95)
        asked = 1.0 if limit is None else float((everything >= limit).mean())
        print(f"miss {miss:.0%}: ask_above {limit}, asked about {asked:.1%} of the windows")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
