"""Text classifiers with transformer weights, read from a folder on this machine: no network, no code of the folder's.

The folder has `config.json`, weights (`model.safetensors` or `pytorch_model.bin`, whole or in parts) and the
tokenizer's files, as `save_pretrained` of Hugging Face transformers writes them. Pickled weights are read with
`torch.load(weights_only=True)`, which refuses everything but tensors and plain values. PyTorch and transformers are
imported when a model is loaded.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.models import file_sha256
from curate.worker import still_doing

Scores = NDArray[np.float64]
Activation = Literal["sigmoid", "softmax", "none"]

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENIZERS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model",
)  # fmt: skip
# One of these must be there: the vocabularies of WordPiece, BPE and SentencePiece tokenizers, or all in one file.
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model",
                "tokenizer.model")  # fmt: skip
OLDEST_TORCH = (2, 6)  # below it `weights_only=True` could be made to run code: CVE-2025-32434
MAX_TOKENS = 512  # that one pass reads; longer texts are read in parts
BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}  # per forward pass, padding included
HASHED_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")  # torch.hub's names end with the start of their SHA-256
INSTALL = "pip install 'curate-corpus[detoxify]'"


@dataclass(frozen=True)
class Classifier:
    """A loaded classifier: its labels, in the order of the columns of `scores`."""

    labels: tuple[str, ...]
    activation: Activation
    model: Any
    tokenizer: Any
    device: str
    max_tokens: int  # of one pass, the special ones included

    def scores(self, texts: Sequence[str], parts_as: Literal["highest", "mean"] = "highest") -> Scores:
        """The score of each label for each text, [texts, labels].

        A text of more than `max_tokens` tokens is read in parts, of which the highest score counts, or their mean
        weighted by tokens. Texts are sorted by length, so that a batch has little padding.
        """
        scores = np.zeros((len(texts), len(self.labels)))
        if not len(texts):
            return scores
        parts, of_text = self._parts(list(texts))
        lengths = np.array([len(part) for part in parts])
        order = np.argsort(lengths, kind="stable")
        found = np.empty((len(parts), len(self.labels)))
        with self._computing():
            for batch in batches(lengths[order], BATCH_TOKENS[self.device]):
                some = order[batch]
                found[some] = self._forward([parts[at] for at in some])
                still_doing()
        if not np.isfinite(found).all():
            raise ValueError("the model gave a score that is not a number")
        if parts_as == "mean":
            np.add.at(scores, of_text, found * lengths[:, None])
            total: Scores = scores / np.bincount(of_text, lengths, len(texts))[:, None]
            return total
        scores[:] = -np.inf
        np.maximum.at(scores, of_text, found)
        return scores

    def _parts(self, texts: list[str]) -> tuple[list[list[int]], NDArray[np.int64]]:
        """The token numbers of each part of each text, and which text it is of."""
        tokens = self.tokenizer(
            texts,
            truncation=True,
            max_length=self.max_tokens,
            return_overflowing_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return tokens["input_ids"], np.array(tokens["overflow_to_sample_mapping"], np.int64)

    def _forward(self, parts: list[list[int]]) -> Scores:
        torch = import_module("torch")
        longest = max(len(part) for part in parts)
        ids = np.full((len(parts), longest), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros((len(parts), longest), np.int64)
        for row, part in enumerate(parts):
            ids[row, : len(part)] = part
            mask[row, : len(part)] = 1
        given = {"input_ids": ids, "attention_mask": mask}
        tensors = {name: torch.from_numpy(values).to(self.device) for name, values in given.items()}
        logits = self.model(**tensors).logits.float()[:, : len(self.labels)]
        if self.activation == "sigmoid":
            logits = torch.sigmoid(logits)
        elif self.activation == "softmax":
            logits = torch.softmax(logits, dim=-1)
        return np.asarray(logits.cpu().numpy(), np.float64)

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """No gradients; on a GPU bfloat16 where it has it; on the CPU one thread: a run's workers are the parallelism.

        Sums in another number of threads differ in the last digits, and a run's results may not depend on that.
        """
        torch = import_module("torch")
        with torch.inference_mode():
            if self.device == "cuda":
                with torch.autocast("cuda", dtype=torch.bfloat16, enabled=torch.cuda.is_bf16_supported()):
                    yield
                return
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                yield
            finally:
                torch.set_num_threads(threads)


def batches(lengths: NDArray[np.int64], most: int) -> Iterator[slice]:
    """Cut sorted lengths into runs whose padded size, number times longest, is at most `most`; one is always taken."""
    start = 0
    while start < len(lengths):
        sizes = lengths[start:] * np.arange(1, len(lengths) - start + 1)
        taken = max(1, int(np.searchsorted(sizes, most, side="right")))
        yield slice(start, start + taken)
        start += taken


# --- files ------------------------------------------------------------------------------------------------------------


def find_files(folder: Path) -> tuple[Path, ...]:
    """The files of a classifier: configuration, weights, tokenizer; UsageError names what is missing."""
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise missing(folder, " or ".join((WEIGHTS[0], WEIGHTS[2])))
    return (*beside(folder), weights, *_shards(weights))


def beside(folder: Path) -> tuple[Path, ...]:
    """The configuration and the tokenizer's files."""
    if not (folder / CONFIG).is_file():
        raise missing(folder, CONFIG)
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise missing(folder, f"a tokenizer ({', '.join(VOCABULARIES[:5])})")
    return (folder / CONFIG, *(folder / name for name in TOKENIZERS if (folder / name).is_file()))


def _shards(weights: Path) -> list[Path]:
    """The parts that an index of weights names."""
    if weights.suffix != ".json":
        return []
    try:
        names = sorted(set(json.loads(weights.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{str(weights)!r} is not an index of weights: {error}") from error
    for name in names:
        if Path(name).name != name:
            raise UsageError(f"{str(weights)!r} names a file outside its folder: {name!r}")
        if not (weights.parent / name).is_file():
            raise missing(weights.parent, name)
    return [weights.parent / name for name in names]


def missing(folder: Path, what: str) -> UsageError:
    """The error for a folder that lacks a file."""
    return UsageError(
        f"the model folder {str(folder)!r} has no {what}",
        hint="a model folder has config.json, the weights and the tokenizer's files, as save_pretrained writes them",
    )


def check_name(file: Path) -> None:
    """Refuse a file whose name promises a SHA-256 (torch.hub: `name-c1212f89.ckpt`) that its content does not have."""
    promised = HASHED_NAME.search(file.name)
    if promised and not file_sha256(file).startswith(promised[1]):
        raise UsageError(
            f"{str(file)!r} is not the file that its name says: its SHA-256 starts with {file_sha256(file)[:8]}",
            hint="it is damaged or was changed: fetch it again, do not load it",
        )


# --- loading ----------------------------------------------------------------------------------------------------------


def load(folder: Path) -> Classifier:
    """Load the classifier in a folder, once per process and state of its files."""
    return _load(folder, states(find_files(folder)))


def states(files: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change of files: what tells that they are still the same."""
    found = [(file, file.stat()) for file in files]
    return tuple((str(file), state.st_size, state.st_mtime_ns) for file, state in found)


@cache
def _load(folder: Path, state: object) -> Classifier:
    torch, transformers = libraries()
    for file in find_files(folder):
        check_name(file)
    with quiet(transformers):
        try:
            model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:  # whatever the reader raises, the file is not usable
            raise unreadable(folder, error) from error
    lacking = sorted(name for name in info["missing_keys"] if not name.endswith("position_ids"))
    if lacking:
        raise unreadable(folder, f"it has no weights for {', '.join(lacking[:3])}")
    config = model.config
    labels = tuple(str(config.id2label[number]) for number in range(config.num_labels))
    return finish(model, labels, activation_of(config), folder)


def labels_in(folder: Path) -> tuple[str, ...]:
    """The labels that a folder's configuration names, read without loading the model; UsageError if it cannot be."""
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        named = config.get("id2label") or {str(at): f"LABEL_{at}" for at in range(int(config.get("num_labels", 2)))}
        return tuple(str(named[key]) for key in sorted(named, key=int))
    except FileNotFoundError as error:
        raise missing(folder, CONFIG) from error
    except (OSError, ValueError, AttributeError) as error:
        raise unreadable(folder, error) from error


def activation_of(config: Any) -> Activation:
    """How a model's outputs become scores: each label for itself, one of all, or as they are (regression)."""
    if config.problem_type == "regression":
        return "none"
    return "sigmoid" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "softmax"


def finish(model: Any, labels: tuple[str, ...], activation: Activation, folder: Path) -> Classifier:
    """The classifier of a model whose weights are in place: with its tokenizer, where it computes, what fits it."""
    torch, transformers = libraries()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a run's workers are the parallelism
    with quiet(transformers):
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_fast=True
            )
        except Exception as error:  # whatever the reader raises, the file is not usable
            raise unreadable(folder, error) from error
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise unreadable(folder, "its tokenizer cannot cut long texts, or has no padding")
    if len(tokenizer) > model.config.vocab_size:
        raise unreadable(folder, f"{len(tokenizer)} tokens do not fit a model of {model.config.vocab_size}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Classifier(labels, activation, model.eval().to(device), tokenizer, device, room(model, tokenizer))


def room(model: Any, tokenizer: Any) -> int:
    """How many tokens one pass reads: RoBERTa's kin count positions from after the padding token's."""
    positions = int(getattr(model.config, "max_position_embeddings", MAX_TOKENS))
    embeddings = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(embeddings, "padding_idx", None)
    own = positions if padding is None else positions - padding - 1
    return int(min(own, tokenizer.model_max_length, MAX_TOKENS))


def unreadable(path: Path, reason: object) -> UsageError:
    """The error for files that are there and cannot be used."""
    text = str(reason).strip().splitlines()
    return UsageError(
        f"the model in {str(path)!r} cannot be loaded: {text[0] if text else type(reason).__name__}",
        hint="a folder in the format of Hugging Face transformers is wanted; weights that are not plain tensors are "
        "refused: save them as model.safetensors on a machine where they can be trusted",
    )


def libraries() -> tuple[Any, Any]:
    """PyTorch and transformers; UsageError says how to get them."""
    try:
        torch, transformers = import_module("torch"), import_module("transformers")
    except ImportError as error:
        raise UsageError(f"a transformer model needs the package {error.name}", hint=INSTALL) from error
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST_TORCH:
        raise UsageError(
            f"torch {torch.__version__} can be made to run code by a model file (CVE-2025-32434)",
            hint="pip install 'torch>=2.6'",
        )
    return torch, transformers


@contextlib.contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from writing advice and progress bars to the terminal."""
    log = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()
