"""The dataset card and the Croissant metadata of a run: every value computed, declared in the pipeline, or missing.

Both are published with the data, so they hold counts and options, never a text, an id or a path of the input. Nothing
is guessed: what a run cannot know and nobody declared under `card:` is listed as missing.

Sources: the Hub's dataset card (huggingface_hub, datasetcard.md), Croissant 1.1 with RAI 1.0 (mlcommons.org),
Datasheets for Datasets (Gebru et al. 2021), the European Commission's template for the summary of training content
(C(2025) 5235).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curate.console import human_bytes, percent, plural
from curate.settings import Card

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
         (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"),
         (10**12, "100B<n<1T"))  # fmt: skip
LEAST_SHARE = 0.01  # of the kept documents: a language with less is not named in the metadata
MAX_LANGUAGES = 60
MISSING = "missing"


Source = Literal["computed", "declared", "missing"]


@dataclass(frozen=True)
class Value:
    """One field of the card: its text, and who says so."""

    name: str
    text: str | None
    source: Source


def declared(name: str, text: str | None) -> Value:
    """A value that only people can give."""
    return Value(name, text or None, "declared" if text else "missing")


def computed(name: str, text: str | None) -> Value:
    """A value that the run has measured, missing where no step measured it."""
    return Value(name, text, "computed" if text is not None else "missing")


@dataclass(frozen=True)
class Facts:
    """What a finished run knows of its data."""

    card: Card
    manifest: Mapping[str, Any]
    report: Mapping[str, Any]
    schema: Mapping[str, str]  # published column -> type, as polars writes it

    @property
    def files(self) -> list[Mapping[str, Any]]:
        """The published shards."""
        return [part for part in self.manifest["outputs"] if part["path"].startswith("dataset/data/")]

    @property
    def rows(self) -> int:
        """Published rows, copies counted."""
        return sum(int(part["rows"]) for part in self.files)

    def label_score(self, filter: str) -> Mapping[str, Any] | None:
        """The first label score of the first step with this filter."""
        steps = [step["name"] for step in self.manifest["steps"] if step["filter"] == filter]
        found = (score for score in self.report["scores"] if score["kind"] == "label" and score["step"] in steps)
        return next(found, None)

    def labels(self, filter: str) -> dict[str, int]:
        """What is kept by that label, most first; "" is the rest."""
        score = self.label_score(filter)
        if score is None:
            return {}
        kept = {row["label"]: int(row["kept"]) for row in score["labels"] if row["kept"]}
        kept = dict(sorted(kept.items(), key=lambda item: -item[1]))
        return kept | {"": int(score["others"]["kept"])}

    def counted(self, filter: str) -> str:
        """What that label is of: documents, turns, or the part that the step judges."""
        score = self.label_score(filter)
        if score is None:
            return "documents"
        part = score["score"].removeprefix(f"{score['step']}.").rpartition(".")[0]
        return f"{score['unit']}s" if score["unit"] != "document" or not part else f"documents, {part}"

    @property
    def languages(self) -> list[str]:
        """Languages of at least one in a hundred kept documents (turns, where each is judged), as measured."""
        counts = self.labels("language")
        found = {label: count for label, count in counts.items() if label not in ("", "und")}
        least = LEAST_SHARE * max(self.manifest["counts"]["kept"], sum(counts.values()))
        return [label for label, count in found.items() if count >= least][:MAX_LANGUAGES]

    def of_filter(self, *filters: str) -> list[Mapping[str, Any]]:
        """The funnel's rows of the steps with these filters."""
        return [row for row in self.report["steps"] if row["filter"] in filters]


# --- what each section says -------------------------------------------------------------------------------------------


def composition(facts: Facts) -> Iterator[Value]:
    """What is in the data."""
    counts, size = facts.manifest["counts"], facts.manifest["bytes"]
    yield computed("documents", f"{counts['kept']:,}")
    yield computed("rows (copies counted)", f"{facts.rows:,}")
    yield computed("text", human_bytes(size["kept"]))
    yield computed("columns", ", ".join(f"`{name}` ({kind})" for name, kind in facts.schema.items()))
    labels = facts.labels("language")
    total = sum(labels.values())
    named = [(label or "others", count) for label, count in labels.items() if count][:MAX_LANGUAGES]
    shares = ", ".join(f"{label} {percent(count / total)}" for label, count in named)
    yield computed(f"languages (measured, share of {facts.counted('language')})", shares or None)
    represented = facts.report.get("representation") or []
    yield computed("balanced by", ", ".join(c["column"] for part in represented for c in part["columns"]) or None)


def collection(facts: Facts) -> Iterator[Value]:
    """Where the texts come from."""
    card, counts = facts.card, facts.manifest["counts"]
    yield declared("sources", ", ".join(card.sources))
    yield declared("how they were collected", card.collection)
    yield declared("when they were collected", card.collected)
    yield declared("legal ground, opt-outs", card.rights)
    yield declared("consent", card.consent)
    yield computed("records read", f"{counts['read']:,} in {plural(len(facts.manifest['inputs']), 'file')}")
    quarantined = f"{counts['quarantined']:,} records could not be read or scored and are not in the data"
    yield computed("missing records", quarantined)


def processing(facts: Facts) -> Iterator[Value]:
    """What was done to the texts, step by step."""
    for number, row in enumerate(facts.report["steps"], 1):
        rules = [rule for rule in facts.report["rules"] if rule["step"] == row["step"] and rule["first"]]
        said = ", ".join(f"{rule['rule']} {rule['first']:,}" for rule in rules)
        text = f"{row['filter']}: saw {row['seen']:,}, dropped {row['dropped']:,}" + (f" ({said})" if said else "")
        yield computed(f"step {number}, {row['step']}", text)
    tools = [f"{model['step']}: {model['file']} ({model['sha256'][:12]})" for model in facts.manifest["models"]]
    yield computed("models and word lists", "; ".join(tools) or None)
    yield computed("software", f"curate {facts.manifest['curate']}")


def _remarks(facts: Facts) -> list[str]:
    """What the report points out, without the evidence of policies and promises, which may name files."""
    clauses = [f"Policy: {row['clause']}: {row['result']}." for row in facts.report.get("policy") or []]
    held = ("Policy:", "Promise not held:")
    return [*clauses, *(note["text"] for note in facts.report["attention"] if not note["text"].startswith(held))]


def risks(facts: Facts) -> Iterator[Value]:
    """What users must know before they use it."""
    card = facts.card
    yield computed("what the run's report points out", " ".join(_remarks(facts)) or "nothing")
    yield declared("limitations", card.limitations)
    toxic = facts.of_filter("toxicity")
    said = "; ".join(f"{row['step']} dropped {row['dropped']:,} documents" for row in toxic)
    yield computed("hostile text", said or None)
    private = facts.of_filter("redact_pii")
    said = "; ".join(f"{row['step']} looked for personal data in {row['seen']:,} documents" for row in private)
    yield computed("personal data looked for", said or None)
    yield declared("personal data", card.personal_data)
    yield declared("social impact", card.social_impact)


def uses(facts: Facts) -> Iterator[Value]:
    """What the data is for, and who keeps it."""
    card = facts.card
    yield declared("purpose", card.purpose)
    yield declared("not for", card.out_of_scope)
    yield declared("annotation", card.annotation)
    yield declared("licence", card.license)
    yield declared("creators", ", ".join(card.creators))
    yield declared("contact", card.contact)
    yield declared("citation", card.citation)
    yield declared("maintenance", card.maintenance)


def eu_summary(facts: Facts) -> Iterator[Value]:
    """Fields of the European Commission's template for the summary of training content; it needs people to finish."""
    yield computed("modality", "text")
    yield computed("size", None)  # the template's ranges are of tokens
    yield computed("languages", ", ".join(facts.languages) or None)
    yield declared("latest acquisition", facts.card.collected)
    yield declared("kinds of sources", ", ".join(facts.card.sources))
    yield computed("largest domains", None)
    yield declared("respect of reserved rights", facts.card.rights)
    yield computed("filters applied", ", ".join(row["filter"] for row in facts.report["steps"]) or None)


SECTIONS = {
    "Composition": composition,
    "Collection": collection,
    "Processing": processing,
    "Risks and limitations": risks,
    "Uses and maintenance": uses,
    "Fields of the EU summary of training content": eu_summary,
}


def values(facts: Facts) -> dict[str, list[Value]]:
    """Every value of the card, by section."""
    return {title: list(section(facts)) for title, section in SECTIONS.items()}


# --- README.md --------------------------------------------------------------------------------------------------------


def metadata(facts: Facts) -> dict[str, Any]:
    """The card's YAML header: what the Hub reads, without what is not known."""
    size = sum(int(part["bytes"]) for part in facts.files)
    found: dict[str, Any] = {
        "pretty_name": facts.card.title or facts.manifest["name"],
        "license": facts.card.license,
        "language": facts.languages,
        "size_categories": [next((name for most, name in SIZES if facts.rows < most), "n>1T")],
        "source_datasets": list(facts.card.sources),
        "tags": ["curate", "croissant"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
        "dataset_info": {
            "features": [{"name": name, "dtype": _hub_type(kind)} for name, kind in facts.schema.items()],
            "splits": [{"name": "train", "num_bytes": size, "num_examples": facts.rows}],
            "dataset_size": size,
        },
    }
    return {name: value for name, value in found.items() if value not in (None, [], "")}


def _hub_type(kind: str) -> str:
    """A polars type as `datasets` calls it."""
    known = {"String": "string", "Boolean": "bool", "Categorical": "string", "Date": "date32", "Binary": "binary"}
    return known.get(kind, kind.lower())


def readme(facts: Facts) -> str:
    """The dataset card in Markdown with its YAML header."""
    card, manifest = facts.card, facts.manifest
    lines = ["---", *_yaml(metadata(facts)), "---", "", f"# {_line(card.title or manifest['name'])}", ""]
    lines += [card.description or "No description was declared.", ""]
    lines += [
        "Made with curate. Values marked *computed* were measured by the run, *declared* ones were stated by its "
        "makers, *missing* ones nobody knows.",
        "",
    ]
    for title, found in values(facts).items():
        lines += [f"## {title}", "", "| | | |", "| --- | --- | --- |"]
        lines += [f"| {_cell(one.name)} | {_cell(one.text or '')} | *{one.source}* |" for one in found]
        lines.append("")
    lines += ["## Pipeline", "", "```json", json.dumps(public_steps(manifest), ensure_ascii=False, indent=1), "```", ""]
    return "\n".join(lines)


def public_steps(manifest: Mapping[str, Any]) -> list[Any]:
    """The pipeline's steps; of paths, which may tell of machines and people, the last part only."""
    from curate.filter import find_filter
    from curate.option_paths import change_paths
    from curate.parse import STEP_KEYS

    def shorten(path: Any) -> str:
        return Path(path).name

    found = []
    for step in manifest["pipeline"].get("steps", []):
        public = dict(step)
        for label in step.keys() - {*STEP_KEYS}:
            made = find_filter(label)
            fields = {} if made is None else made.model_fields
            public[label] = {
                name: change_paths(fields[name].annotation, value, shorten) if name in fields else value
                for name, value in (step[label] or {}).items()
            }
        found.append(public)
    return found


def _yaml(value: Mapping[str, Any]) -> list[str]:
    from io import StringIO

    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = False
    stream = StringIO()
    writer.dump(dict(value), stream)
    return stream.getvalue().rstrip().split("\n")


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    """A text that stays inside its cell."""
    return _line(text).replace("|", "\\|").replace("<", "&lt;")


# --- croissant.json ---------------------------------------------------------------------------------------------------

CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs",
    "column": "cr:column", "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty", "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract", "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5",
    "name": {"@container": "@language"}, "parentField": "cr:parentField", "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#", "recordSet": "cr:recordSet", "references": "cr:references",
    "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace", "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip
CONFORMS = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]


def croissant(facts: Facts) -> dict[str, Any]:
    """Croissant 1.1 metadata with RAI and PROV-O fields, for search engines and loaders."""
    card, manifest = facts.card, facts.manifest
    found: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": card.title or manifest["name"],
        "description": card.description,
        "conformsTo": CONFORMS,
        "license": card.license,
        "url": card.url,
        "citeAs": card.citation,
        "version": card.version,
        "creator": [{"@type": "sc:Organization", "name": name} for name in card.creators],
        "datePublished": manifest["finished"],
        "inLanguage": facts.languages,
        "distribution": list(_distribution(facts)),
        "recordSet": [_records(facts)],
        **_rai(facts),
        **_provenance(facts),
    }
    return {name: value for name, value in found.items() if value not in (None, [], "")}


def _distribution(facts: Facts) -> Iterator[dict[str, Any]]:
    for part in facts.files:
        name = part["path"].removeprefix("dataset/")
        yield {
            "@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name,
            "encodingFormat": "application/x-parquet", "sha256": part["sha256"],
        }  # fmt: skip
    yield {
        "@type": "cr:FileSet", "@id": "parquet-files", "name": "parquet-files",
        "encodingFormat": "application/x-parquet", "includes": "data/*.parquet",
    }  # fmt: skip


def _records(facts: Facts) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field", "@id": f"records/{name}", "name": name, "dataType": _schema_type(kind),
            "source": {"fileSet": {"@id": "parquet-files"}, "extract": {"column": name}},
            **({"repeated": True} if kind.startswith("List") else {}),
        }
        for name, kind in facts.schema.items()
    ]  # fmt: skip
    return {"@type": "cr:RecordSet", "@id": "records", "name": "records", "field": fields}


def _schema_type(kind: str) -> str:
    inner = kind.removeprefix("List(").rstrip(")")
    if inner == "Boolean":
        return "sc:Boolean"
    if inner.startswith(("Int", "UInt")):
        return "sc:Integer"
    return "sc:Float" if inner.startswith("Float") else "sc:Text"


def _rai(facts: Facts) -> dict[str, Any]:
    """The fields of RAI 1.0 that are known."""
    card = facts.card
    processing_steps = [f"{one.name}: {one.text}" for one in processing(facts) if one.name.startswith("step ")]
    represented = [
        f"{column['column']} = {row['group']}: {percent(row['before_share'])} before, {percent(row['after_share'])} now"
        for part in facts.report.get("representation") or []
        for column in part["columns"]
        for row in column["groups"]
    ]
    biases = [*_remarks(facts), *represented]
    found = {
        "dataCollection": card.collection,
        "dataCollectionRawData": list(card.sources),
        "dataCollectionTimeFrame": card.collected,
        "dataCollectionMissingData": next(one.text for one in collection(facts) if one.name == "missing records"),
        "dataPreprocessingProtocol": processing_steps,
        "dataManipulationProtocol": [text for text in processing_steps if "balance" in text],
        "dataAnnotationProtocol": card.annotation,
        "machineAnnotationTools": [f"{m['file']} (sha256 {m['sha256']})" for m in facts.manifest["models"]],
        "dataBiases": biases,
        "dataLimitations": card.limitations,
        "dataSocialImpact": card.social_impact,
        "dataUseCases": card.purpose,
        "personalSensitiveInformation": card.personal_data,
        "dataReleaseMaintenancePlan": card.maintenance,
    }
    return {f"rai:{name}": value for name, value in found.items() if value not in (None, [], "")}


def _provenance(facts: Facts) -> dict[str, Any]:
    """PROV-O: what the data was derived from and by which activity; inputs by checksum, not by place."""
    manifest = facts.manifest
    inputs = [
        {"@type": "prov:Entity", "@id": f"urn:sha256:{one['sha256']}"}
        for one in manifest["inputs"]
        if one.get("sha256")
    ]
    pipeline = json.dumps(public_steps(manifest), sort_keys=True, ensure_ascii=False)
    activity = {
        "@type": "prov:Activity",
        "@id": f"urn:sha256:{hashlib.sha256(pipeline.encode()).hexdigest()}",
        "prov:endedAtTime": manifest["finished"],
        "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "@id": f"urn:curate:{manifest['curate']}"},
    }
    return {"prov:wasDerivedFrom": inputs, "prov:wasGeneratedBy": activity}


def known_fields(found: Mapping[str, Sequence[Value]]) -> tuple[int, int]:
    """How many values of a card are known, and how many there are."""
    everything = [one for part in found.values() for one in part]
    return sum(one.source != MISSING for one in everything), len(everything)
