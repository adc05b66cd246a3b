"""Detoxify's toxicity models, read from files on this machine by a loader of our own.

Upstream's loader runs whatever a checkpoint says (`weights_only=False`, no checksum), asks the Hub for configurations,
reads 512 tokens and drops the rest. This one checks the file against the SHA-256 in its name, reads tensors and plain
values only, takes configuration and tokenizer from the same folder, and names outputs by their labels, because their
order differs between models. Format and labels: unitaryai/detoxify (Apache-2.0), read at v0.5.3.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from curate import models, transformer
from curate.errors import UsageError
from curate.transformer import Classifier, unreadable

Name = Literal[
    "detoxify-original",
    "detoxify-unbiased",
    "detoxify-multilingual",
    "detoxify-original-small",
    "detoxify-unbiased-small",
]
NAMES: tuple[Name, ...] = get_args(Name)
SUFFIXES = (".ckpt", ".pt", ".pth")

# What models call the labels, and what we call them.
RENAMED = {"toxic": "toxicity", "severe_toxic": "severe_toxicity", "identity_hate": "identity_attack"}
LABELS = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack", "sexual_explicit")
ENGLISH = ("en",)
MULTILINGUAL = ("en", "es", "fr", "it", "pt", "ru", "tr")  # its README: no other language was trained or tested


class Release(NamedTuple):
    """A published checkpoint, which goes with the configuration and tokenizer of the model that it was trained from."""

    file: str  # its name ends with the start of its SHA-256
    base: str
    languages: tuple[str, ...]


RELEASES: dict[str, Release] = {
    "detoxify-original": Release("toxic_original-c1212f89.ckpt", "bert-base-uncased", ENGLISH),
    "detoxify-unbiased": Release("toxic_debiased-c7548aa0.ckpt", "roberta-base", ENGLISH),
    "detoxify-multilingual": Release("multilingual_debiased-0b549669.ckpt", "xlm-roberta-base", MULTILINGUAL),
    "detoxify-original-small": Release("original-albert-0e1d6498.ckpt", "albert-base-v2", ENGLISH),
    "detoxify-unbiased-small": Release("unbiased-albert-c8519128.ckpt", "albert-base-v2", ENGLISH),
}


def locate(model: str | Path) -> Path:
    """The folder of a model by its name, or the path as it is; UsageError says which file, command and option."""
    if str(model) not in RELEASES:
        return Path(model)
    place = models.place(str(model))
    folder = place.parent if place.suffix in SUFFIXES else place
    if not place.is_file() and not folder.is_dir():
        release = RELEASES[str(model)]
        raise UsageError(
            f"the model {model} is not on this machine: it needs {release.file}, and config.json and the tokenizer's "
            f"files of {release.base}",
            hint=f"curate models fetch {model} gets the checkpoint or says where it is; put the files into {folder}, "
            f"or set `model:` to a folder that holds them",
        )
    if place.is_file():
        models.find(str(model))  # checks what is pinned
    return folder


def languages(model: str | Path) -> tuple[str, ...]:
    """The languages that a model was made for; English when it is not known by name."""
    return RELEASES[str(model)].languages if str(model) in RELEASES else ENGLISH


def find_files(model: str | Path) -> tuple[Path, ...]:
    """The files of a model by name or path: configuration, tokenizer, weights."""
    path = locate(model)
    checkpoint = _checkpoint(path)
    if checkpoint is None:
        return transformer.find_files(path)
    return (*transformer.beside(checkpoint.parent), checkpoint)


def _checkpoint(path: Path) -> Path | None:
    """The checkpoint that a path is or holds; None for a folder with weights in another format."""
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise UsageError(f"the checkpoint {str(path)!r} does not exist", hint="`model` is a folder or a .ckpt file")
        return path
    if not path.is_dir():
        raise UsageError(
            f"the model {str(path)!r} does not exist",
            hint=f"`model` is a folder, a .ckpt file or one of {', '.join(NAMES)}",
        )
    if any((path / name).is_file() for name in transformer.WEIGHTS):
        return None
    found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if len(found) > 1:
        raise UsageError(f"{str(path)!r} has {len(found)} checkpoints", hint="set `model:` to the .ckpt file")
    return found[0] if found else None


def load(model: str | Path) -> Classifier:
    """Load a model by name or path, once per process and state of its files; labels have their usual names."""
    path = locate(model)
    return _load(path, transformer.states(find_files(path)))


@cache
def _load(path: Path, state: object) -> Classifier:
    checkpoint = _checkpoint(path)
    if checkpoint is not None:
        return _from_checkpoint(checkpoint)
    found = transformer.load(path)
    labels = tuple(RENAMED.get(label.lower(), label.lower()) for label in found.labels)
    independent = (
        len(set(labels) & set(LABELS)) > 1
    )  # several of them may hold at once, whatever the configuration says
    return Classifier(
        labels,
        "sigmoid" if independent else found.activation,
        found.model,
        found.tokenizer,
        found.device,
        found.max_tokens,
    )


def _from_checkpoint(file: Path) -> Classifier:
    """A published checkpoint: weights, and a configuration that names the labels."""
    _, transformers = transformer.libraries()
    transformer.check_name(file)
    loaded = read_checkpoint(file)
    try:
        arguments = loaded["config"]["arch"]["args"]
        labels = tuple(RENAMED.get(str(name), str(name)) for name in loaded["config"]["dataset"]["args"]["classes"])
        weights = {str(name).removeprefix("model."): tensor for name, tensor in loaded["state_dict"].items()}
        outputs = int(arguments["num_classes"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise unreadable(file, f"it lacks what a Detoxify checkpoint has: {error}") from error
    if not labels or outputs < len(labels):
        raise unreadable(file, f"it names {len(labels)} labels for {outputs} outputs")
    with transformer.quiet(transformers):
        try:
            config = transformers.AutoConfig.from_pretrained(
                file.parent, num_labels=outputs, local_files_only=True, trust_remote_code=False
            )
            model = transformers.AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
            lacking, unknown = model.load_state_dict(weights, strict=False)
        except Exception as error:  # whatever the reader raises, the file is not usable
            raise unreadable(file, error) from error
    odd = [name for name in (*lacking, *unknown) if not name.endswith("position_ids")]
    if odd:
        raise unreadable(file, f"its weights do not fit config.json: {', '.join(sorted(odd)[:3])}")
    return transformer.finish(model, labels, "sigmoid", file.parent)


def read_checkpoint(file: Path) -> Any:
    """What a checkpoint holds: tensors and plain values; anything that would run code is refused."""
    torch, _ = transformer.libraries()
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle that is not plain, a file that is cut: each has an exception of its own
        raise unreadable(file, error) from error
