"""How right and how fast the scores that models give are: languages, toxicity.

    python benchmarks/scores.py                       accuracy on labelled texts, speed on data/web
    python benchmarks/scores.py --part speed          one of accuracy, speed (languages), toxicity
    python benchmarks/scores.py --worst docs          the table of languages as it stands in docs/language.md
    python benchmarks/scores.py --json > here.json

Accuracy: macro-F1 over the languages that lid.176 knows, on the sentences of data/lid/dev; labels given to sentences in
languages that it does not know; precision and share of answers on single words and pairs (data/lid/short); the share of
the documents of data/web with the path tag `en` that are labelled `en`. Beside it the model alone (its likeliest label,
whatever its probability) and lingua, when it is installed. A label and a gold code agree when they name one language or
a macrolanguage and its member.

Toxicity: ROC-AUC of the bundled screen on each English source of data/toxicity/dev; beside it the fastText library
reading the same weights (lower-cased text, none of our folding, its own mean instead of ours). The screen was trained
on other rows of these sources: what it does on text from elsewhere stands in its card. No text is printed.

Speed: CPU seconds of one core, MB = 10^6 bytes of UTF-8 text of the whole documents.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import polars as pl

Row = dict[str, Any]
Labeller = Callable[[pl.Series], list[str]]
Scorer = Callable[[pl.Series], Any]

SHARED = Path(os.environ.get("CURATE_SHARED", Path(__file__).parents[2] / "shared" / "data"))
PARTS = ("accuracy", "speed", "toxicity")
PEER_DOCUMENTS = 500
LEAST_OF_A_LABEL = 10  # texts of either label; of fewer no ROC-AUC is given

# Individual languages of the test sets and the label of lid.176 that stands for them (ISO 639-3 macrolanguages).
MEMBERS = {
    "ar": "ara arb ary arq aeb acm acq ajp apc ars", "az": "aze azj", "bh": "bho", "et": "est ekk", "fa": "fas pes prs",
    "diq": "zza diq kiu", "eml": "egl rgn", "als": "gsw", "gn": "grn gug gun", "ku": "kur kmr", "kv": "kom kpv koi",
    "lv": "lav lvs", "mg": "mlg plt bmm", "mn": "mon khk", "ms": "msa zsm zlm", "nah": "nah nhn ncj nhe nch",
    "ne": "nep npi", "no": "nor nob nb", "or": "ori ory", "ps": "pus pbt pbu pst", "sc": "srd src sro",
    "qu": "que quy quz qug quh qva qvc qvh qvm qvn qwh qxn qxu quf quz", "sq": "sqi als aln", "sw": "swa swh swb",
    "tl": "tgl fil", "uz": "uzb uzn", "yi": "yid ydd", "zh": "zho cmn", "eu": "eus baq", "sh": "hbs", "ro": "ron mol",
}  # fmt: skip


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="measure only this; may be repeated")
    parser.add_argument("--worst", choices=("docs",), help="print F1 of each language, worst first, and nothing else")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args()
    if given.worst:
        print(table_of_languages())
        return
    rows: list[Row] = []
    if not given.part or "accuracy" in given.part:
        rows += accuracy()
    if not given.part or "speed" in given.part:
        rows += speed()
    if not given.part or "toxicity" in given.part:
        rows += toxicity()
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            "  ".join(f"{name} {value:.4f}" if isinstance(value, float) else str(value) for name, value in row.items())
        )


# --- what is compared -------------------------------------------------------------------------------------------------


def language_step(texts: pl.Series, **options: Any) -> list[str]:
    """Labels of the filter with its default options."""
    from curate.filters import Language

    return Language(**options).score(pl.DataFrame({"id": texts, "text": texts}))["label"].to_list()


def model_alone(texts: pl.Series) -> list[str]:
    """The likeliest label of lid.176.ftz for the text as it is."""
    from curate.kernels.fasttext import load, predict
    from curate.kernels.utf8 import texts as buffers
    from curate.models import find

    model = load(find("lid176-small"))
    numbers, _ = predict(model, *buffers(texts))
    return ["und" if number < 0 else model.labels[number] for number in numbers]


def library(texts: pl.Series) -> list[str]:
    """The same from the fastText library, text by text."""
    import fasttext

    from curate.models import find

    model = fasttext.load_model(str(find("lid176-small")))
    found = [model.f.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict") for text in texts]
    return [answers[0][1].removeprefix("__label__") if answers else "und" for answers in found]


def lingua(texts: pl.Series) -> list[str]:
    """Labels of lingua for the text as it is, all its languages at once."""
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().build()
    found = [detector.detect_language_of(text) for text in texts]
    return ["und" if one is None else one.iso_code_639_1.name.lower().replace("nb", "no") for one in found]


# --- accuracy ---------------------------------------------------------------------------------------------------------


def gold_labels() -> dict[str, str]:
    """The label of lid.176 for each code of the test sets, of languages that it knows."""
    from curate.filters.language import LABELS
    from curate.languages import SHORT

    found = {label: label for label in LABELS if label != "als"}
    found |= {code: tag for code, tag in SHORT.items() if tag in LABELS and code not in found}
    return found | {code: label for label, codes in MEMBERS.items() for code in codes.split()}


def labelled(name: str) -> pl.DataFrame:
    """Sentences with the label of lid.176 for their language, null where it knows none."""
    frame = pl.read_parquet(SHARED / "lid" / f"{name}.parquet")
    # In Tatoeba and the Bible texts `als` is no code of lid.176: ISO 639-3 als is Tosk Albanian, gsw Alemannic.
    return frame.with_columns(gold=pl.col("lang").replace_strict(gold_labels(), default=None))


def f1_of_languages(gold: pl.Series, found: Sequence[str]) -> pl.DataFrame:
    """Sentences, precision, recall and F1 of each language."""
    both = pl.DataFrame({"gold": gold, "found": list(found)})
    right = both.filter(pl.col("gold") == pl.col("found")).group_by("gold").len("right")
    given = both.group_by("found").len("given").rename({"found": "gold"})
    return (
        both.group_by("gold")
        .len("sentences")
        .join(right, on="gold", how="left")
        .join(given, on="gold", how="left")
        .fill_null(0)
        .with_columns(
            precision=pl.when(pl.col("given") > 0).then(pl.col("right") / pl.col("given")).otherwise(0.0),
            recall=pl.col("right") / pl.col("sentences"),
            f1=2 * pl.col("right") / (pl.col("sentences") + pl.col("given")),
        )
        .sort("f1", "gold")
    )


def accuracy() -> list[Row]:
    """One row for each labeller."""
    dev, short, web = labelled("dev"), labelled("short"), english()
    rows: list[Row] = []
    for name, labeller in (("language step", language_step), ("lid.176.ftz alone", model_alone)):
        found = dev.with_columns(found=pl.Series(labeller(dev["text"])))
        known = found.filter(pl.col("gold").is_not_null())
        words = short.with_columns(found=pl.Series(labeller(short["text"]))).filter(pl.col("found") != "und")
        rows.append(
            {
                "labeller": name,
                "macro-F1": f1_of_languages(known["gold"], known["found"].to_list())["f1"].mean(),
                "undetermined": (known["found"] == "und").mean(),
                "labels on unknown languages": (found.filter(pl.col("gold").is_null())["found"] != "und").mean(),
                "words answered": len(words) / len(short),
                "words precision": (words["found"] == words["gold"]).fill_null(value=False).mean(),
                "web en": (pl.Series(labeller(web)) == "en").mean(),
            }
            | {
                f"macro-F1 {source}": f1_of_languages(part["gold"], part["found"].to_list())["f1"].mean()
                for (source,), part in sorted(known.group_by("source"))
            }
        )
    if importlib.util.find_spec("lingua") is not None:
        rows.append(beside_lingua(dev))
    return rows


def beside_lingua(dev: pl.DataFrame) -> Row:
    """Accuracy on sentences in the languages that both know, on sources that lingua was not made with."""
    from lingua import Language as Known

    both = {one.iso_code_639_1.name.lower().replace("nb", "no") for one in Known.all()} & set(gold_labels().values())
    part = dev.filter(pl.col("gold").is_in(both) & (pl.col("source") != "lingua_sentences"))
    return {"labeller": "on languages of lingua", "languages": len(both)} | {
        name: f1_of_languages(part["gold"], labeller(part["text"]))["f1"].mean()
        for name, labeller in (("lingua", lingua), ("language step", language_step), ("lid.176.ftz alone", model_alone))
    }


def table_of_languages() -> str:
    """A table of F1 by language in Markdown, worst first."""
    dev = labelled("dev").filter(pl.col("gold").is_not_null())
    ours = f1_of_languages(dev["gold"], language_step(dev["text"]))
    alone = f1_of_languages(dev["gold"], model_alone(dev["text"])).select("gold", alone="f1")
    lines = [
        f"| {row['gold']} | {row['sentences']} | {row['precision']:.2f} | {row['recall']:.2f} | {row['f1']:.2f} "
        f"| {row['alone']:.2f} |"
        for row in ours.join(alone, on="gold").sort("f1", "gold").iter_rows(named=True)
    ]
    head = [
        "| label | sentences | precision | recall | F1 | F1 of the model alone |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    return "\n".join([*head, *lines])


# --- speed ------------------------------------------------------------------------------------------------------------


def web() -> pl.Series:
    """The documents of data/web."""
    return pl.concat(
        [pl.read_parquet(path, columns=["text"]) for path in sorted((SHARED / "web").glob("web-*.parquet"))]
    )["text"]


def english() -> pl.Series:
    """The documents of data/web whose path says English."""
    frames = [
        pl.read_parquet(path, columns=["text", "lang"]) for path in sorted((SHARED / "web").glob("web-*.parquet"))
    ]
    return pl.concat(frames).filter(pl.col("lang") == "en")["text"]


def speed() -> list[Row]:
    """CPU time of one core for each labeller; the fastest of three."""
    texts = web()
    labellers: list[tuple[str, Labeller, pl.Series]] = [
        ("language step", language_step, texts),
        ("language step, max_chars: null", lambda given: language_step(given, max_chars=None), texts),
        ("lid.176.ftz alone, our kernel", model_alone, texts),
        ("lid.176.ftz alone, fastText library", library, texts.sample(PEER_DOCUMENTS, seed=0)),
    ]
    if importlib.util.find_spec("lingua") is not None:
        labellers.append(("lingua", lingua, texts.sample(PEER_DOCUMENTS, seed=0)))
    rows = []
    for name, labeller, given in labellers:
        labeller(given.head(10))
        seconds = min(timed(labeller, given) for _ in range(3))
        size = int(given.str.len_bytes().sum())
        rows.append({"labeller": name, "documents/s": len(given) / seconds, "MB/s": size / seconds / 1e6})
    return rows


def timed(work: Callable[[pl.Series], object], given: pl.Series) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    work(given)
    return time.process_time() - start


# --- toxicity ---------------------------------------------------------------------------------------------------------


def toxicity_step(texts: pl.Series) -> Any:
    """Toxic shares of documents by the filter with its default options: windows, the screen, aggregates, spans."""
    from curate.filters import Toxicity

    return Toxicity().score(pl.DataFrame({"id": texts, "text": texts}))["share"]


def screen_library(texts: pl.Series) -> list[float]:
    """Scores of the screen's weights as the fastText library computes them, text by text."""
    import fasttext

    from curate.screen import screen_files

    model = fasttext.load_model(str(screen_files()[0]))
    lines = texts.str.to_lowercase().str.replace_all(r"\s+", " ")
    return [dict_of(model.f.predict(line + "\n", 2, 0.0, "strict")).get("__label__toxic", 0.0) for line in lines]


def dict_of(answers: Sequence[tuple[float, str]]) -> dict[str, float]:
    """Probabilities by label."""
    return {label: probability for probability, label in answers}


def roc_auc(labels: pl.Series, scores: pl.Series) -> float:
    """The area under the ROC curve; ties count half."""
    hits = labels == 1
    positive = int(hits.sum())
    ranks = float(scores.rank("average").filter(hits).sum())
    return (ranks - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))


def toxicity() -> list[Row]:
    """ROC-AUC by source for the screen and for the library on its weights, then the speed of both and of the filter."""
    from curate.screen import screen_scores

    dev = pl.read_parquet(SHARED / "toxicity" / "dev.parquet").filter(pl.col("lang") == "en")
    scorers: dict[str, Scorer] = {"screen_scores": screen_scores, "fastText library on its weights": screen_library}
    found = dev.with_columns(**{name: pl.Series(name, scorer(dev["text"])) for name, scorer in scorers.items()})
    rows: list[Row] = [
        {"source": source, "texts": len(part), "toxic": part["toxic"].mean()}
        | {f"ROC-AUC {name}": roc_auc(part["toxic"], part[name]) for name in scorers}
        for (source,), part in sorted(found.group_by("source"))
        if LEAST_OF_A_LABEL <= part["toxic"].sum() <= len(part) - LEAST_OF_A_LABEL
    ]
    means = {f"ROC-AUC {name}": sum(row[f"ROC-AUC {name}"] for row in rows) / len(rows) for name in scorers}
    rows.append({"source": "mean of the sources", "texts": sum(row["texts"] for row in rows)} | means)
    for name, work in (*scorers.items(), ("toxicity step", toxicity_step)):
        texts = web().sample(PEER_DOCUMENTS, seed=0) if work is screen_library else web()
        work(texts.head(10))
        seconds = min(timed(work, texts) for _ in range(3))
        size = int(texts.str.len_bytes().sum())
        rows.append({"scorer": name, "documents/s": len(texts) / seconds, "MB/s": size / seconds / 1e6})
    return rows


if __name__ == "__main__":
    main()
