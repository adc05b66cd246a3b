"""Tiny models with random weights and tokenizers made on the spot, in the layouts of the published ones."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ORIGINAL = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
UNBIASED = ("toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit")
# name -> family, labels, outputs of the head, class in the checkpoint
LAYOUTS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "original": ("bert", ORIGINAL, 6),
    "unbiased": ("roberta", UNBIASED, 16),
    "multilingual": ("xlm-roberta", UNBIASED, 16),
    "original-small": ("albert", ORIGINAL, 6),
    "unbiased-small": ("albert", UNBIASED, 16),
}
VOCABULARY = 56  # of the SentencePiece models
LINES = [
    "the quick brown fox jumps over the lazy dog",
    "a small house on a green hill near the river",
    "we read many words and write a few of them down",
    "nobody knows where the old road goes after rain",
    "you are a kind person and I like what you said",
]


def make_tokenizer(family: str, folder: Path) -> int:
    """Write the vocabulary files of a family's tokenizer; return the number of tokens."""
    if family == "bert":
        letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'\""
        words = sorted({word.lower() for line in LINES for word in line.split()})
        pieces = [
            "[PAD]",
            "[UNK]",
            "[CLS]",
            "[SEP]",
            "[MASK]",
            *letters,
            *(f"##{letter}" for letter in letters),
            *words,
        ]
        pieces = list(dict.fromkeys(pieces))
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        return len(pieces)
    if family == "roberta":
        from tokenizers import ByteLevelBPETokenizer

        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(
            LINES, vocab_size=400, min_frequency=1, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        )
        bpe.save_model(str(folder))
        return int(bpe.get_vocab_size())
    import sentencepiece

    written = io.BytesIO()
    albert = family == "albert"
    ids = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1} if albert else {"pad_id": -1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 20),
        model_writer=written,
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        model_type="unigram",
        user_defined_symbols=["[CLS]", "[SEP]", "[MASK]"] if albert else [],
        minloglevel=2,
        pad_piece="<pad>",
        num_threads=1,
        **ids,
    )
    (folder / ("spiece.model" if albert else "sentencepiece.bpe.model")).write_bytes(written.getvalue())
    return VOCABULARY + (0 if albert else 2)  # fairseq's numbering adds <pad> and <mask>


def make_config(family: str, vocabulary: int, positions: int, outputs: int) -> Any:
    """A small configuration of a family."""
    import transformers

    kinds = {
        "bert": transformers.BertConfig,
        "roberta": transformers.RobertaConfig,
        "xlm-roberta": transformers.XLMRobertaConfig,
        "albert": transformers.AlbertConfig,
    }
    more: dict[str, Any] = {"embedding_size": 16} if family == "albert" else {}
    return kinds[family](
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=positions + (2 if "roberta" in family else 0),
        type_vocab_size=1 if "roberta" in family else 2,
        num_labels=outputs,
        initializer_range=0.4,
        **({"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2} if "roberta" in family else {"pad_token_id": 0}),
        **more,
    )


def make_model(config: Any, seed: int = 0) -> Any:
    """A classifier with random weights."""
    import torch
    import transformers

    torch.manual_seed(seed)
    return transformers.AutoModelForSequenceClassification.from_config(config).eval()


def make_checkpoint(layout: str, folder: Path, *, name: str = "tiny.ckpt", positions: int = 64, seed: int = 0) -> Path:
    """Write a checkpoint in one of Detoxify's five layouts, with its configuration and tokenizer; return its path."""
    import torch

    family, labels, outputs = LAYOUTS[layout]
    folder.mkdir(parents=True, exist_ok=True)
    config = make_config(family, make_tokenizer(family, folder), positions, outputs)
    model = make_model(config, seed)
    stored = json.loads(config.to_json_string(use_diff=False))
    stored["architectures"] = ["ForMaskedLM"]
    for key in ("id2label", "label2id", "num_labels"):  # the published configurations are those of the base model
        stored.pop(key, None)
    (folder / "config.json").write_text(json.dumps(stored), encoding="utf-8")
    kind = type(model).__name__
    arguments = {"num_classes": outputs, "model_type": family, "model_name": kind, "tokenizer_name": "Tokenizer"}
    told = {"arch": {"args": arguments}, "dataset": {"args": {"classes": list(labels)}}}
    torch.save({"state_dict": model.state_dict(), "config": told}, folder / name)
    return folder / name


def make_folder(
    folder: Path,
    labels: Sequence[str],
    *,
    problem: str | None = None,
    pickled: bool = False,
    positions: int = 64,
    seed: int = 0,
) -> Path:
    """Write a model folder as `save_pretrained` does; return it."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    config = make_config("bert", make_tokenizer("bert", folder), positions, len(labels))
    config.id2label, config.label2id = dict(enumerate(labels)), {label: at for at, label in enumerate(labels)}
    config.problem_type = problem
    model = make_model(config, seed)
    if pickled:
        config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder)
    return folder
