"""The loader of Detoxify's models: five layouts of checkpoints, model folders, safety, batches."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from tiny_models import LAYOUTS, LINES, make_checkpoint, make_folder

from curate import detoxify, transformer, worker
from curate.detoxify import LABELS, NAMES, find_files, load, locate
from curate.errors import UsageError

TEXTS = [*LINES, "", "x", "one two three " * 60, LINES[0] * 3, "Ünïcode 😀 \x00 text"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {layout: make_checkpoint(layout, folder / layout) for layout in LAYOUTS}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads_and_names_its_labels(checkpoints: dict[str, Path], layout: str) -> None:
    model = load(checkpoints[layout])

    expected = set(LABELS) - (set() if LAYOUTS[layout][2] == 16 else {"sexual_explicit"})
    assert set(model.labels) == expected
    assert model.scores(TEXTS).shape == (len(TEXTS), len(expected))
    assert ((model.scores(TEXTS) >= 0) & (model.scores(TEXTS) <= 1)).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_are_those_of_a_plain_forward_pass(checkpoints: dict[str, Path], layout: str) -> None:
    import torch

    model = load(checkpoints[layout])
    given = model.tokenizer(LINES[0], return_tensors="pt", truncation=True, max_length=model.max_tokens)
    with torch.no_grad():
        expected = torch.sigmoid(model.model(**given).logits)[0, : len(model.labels)].numpy()

    assert model.scores([LINES[0]])[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_text_alone_scores_as_in_a_batch(checkpoints: dict[str, Path], layout: str) -> None:
    model = load(checkpoints[layout])

    alone = np.vstack([model.scores([text]) for text in TEXTS])

    assert model.scores(TEXTS) == pytest.approx(alone, abs=1e-5)
    assert model.scores(TEXTS[::-1]) == pytest.approx(alone[::-1], abs=1e-5)


def test_labels_are_mapped_by_name_not_by_place(checkpoints: dict[str, Path]) -> None:
    original, unbiased = load(checkpoints["original"]), load(checkpoints["unbiased"])

    assert original.labels.index("threat") == 3
    assert unbiased.labels.index("threat") == 5


@pytest.mark.parametrize("layout", ["original", "unbiased"])
def test_a_text_beyond_the_models_length_is_read_in_parts(checkpoints: dict[str, Path], layout: str) -> None:
    model = load(checkpoints[layout])
    assert model.max_tokens == 64

    long = "nobody knows " * 100 + LINES[4]
    parts = model._parts([long])[0]

    assert len(parts) > 1
    assert max(len(part) for part in parts) == 64
    with model._computing():
        of_parts = model._forward(parts)
    assert model.scores([long])[0] == pytest.approx(of_parts.max(axis=0), abs=1e-5)


def test_batches_are_of_similar_lengths_and_take_everything() -> None:
    lengths = np.array([1, 1, 2, 3, 50, 51])

    found = [lengths[batch].tolist() for batch in transformer.batches(lengths, 8)]

    assert found == [[1, 1, 2], [3], [50], [51]]


def test_a_worker_hears_of_each_pass_so_that_a_slow_model_is_not_taken_for_one_that_hangs(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pipe:
        sent: ClassVar[list[bytes]] = []

        def send_bytes(self, data: bytes) -> None:
            self.sent.append(data)

    monkeypatch.setattr(worker, "_pipe", Pipe())
    monkeypatch.setattr(worker, "_doing", "")
    monkeypatch.setitem(transformer.BATCH_TOKENS, "cpu", 1)
    worker.doing("scores toxicity")

    load(checkpoints["original"]).scores(LINES)

    assert Pipe.sent == [b"dscores toxicity"] * (1 + len(LINES))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_asked_of_the_network(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> object:
        pytest.fail("it asked the network")

    file = make_checkpoint(layout, tmp_path / layout, seed=1)
    folder = make_folder(tmp_path / "hub", ["a", "b"], pickled=True)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    assert load(file).scores(LINES).shape[0] == transformer.load(folder).scores(LINES).shape[0] == len(LINES)


def test_no_texts_have_no_scores(checkpoints: dict[str, Path]) -> None:
    assert load(checkpoints["original"]).scores([]).shape == (0, 6)


# --- model folders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pickled", [False, True])
def test_a_model_folder_has_its_labels_renamed(tmp_path: Path, pickled: bool) -> None:
    folder = make_folder(tmp_path / "hub", ["toxic", "severe_toxic", "identity_hate"], pickled=pickled)

    model = load(folder)

    assert model.labels == ("toxicity", "severe_toxicity", "identity_attack")
    assert model.activation == "sigmoid"


def test_a_folder_that_holds_a_checkpoint_is_enough(checkpoints: dict[str, Path]) -> None:
    assert load(checkpoints["unbiased"].parent).labels == load(checkpoints["unbiased"]).labels


def test_weights_in_parts_are_read(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "hub", ["a", "b"])
    whole = transformer.load(folder).scores(TEXTS)
    transformer.load(folder).model.save_pretrained(folder, max_shard_size="10KB")
    (folder / "model.safetensors").unlink(missing_ok=True)

    assert len([file for file in find_files(folder) if file.suffix == ".safetensors"]) > 1
    assert transformer.load(folder).scores(TEXTS) == pytest.approx(whole)


# --- what is refused --------------------------------------------------------------------------------------------------


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path, how: str) -> None:
    import torch

    file, marker = make_checkpoint("original", tmp_path / "model"), tmp_path / "it-ran"
    if how == "torch":
        torch.save({"state_dict": Evil(marker), "config": {}}, file)
    else:
        file.write_bytes(pickle.dumps(Evil(marker)))

    with pytest.raises(UsageError, match="cannot be loaded"):
        load(file)
    assert not marker.exists()


def test_a_pickle_that_runs_code_is_refused_in_a_model_folder(tmp_path: Path) -> None:
    import torch

    folder, marker = make_folder(tmp_path / "hub", ["a", "b"], pickled=True), tmp_path / "it-ran"
    torch.save({"classifier.weight": Evil(marker)}, folder / "pytorch_model.bin")

    with pytest.raises(UsageError, match="cannot be loaded"):
        transformer.load(folder)
    assert not marker.exists()


def test_code_in_a_model_folder_is_not_run(tmp_path: Path) -> None:
    folder, marker = make_folder(tmp_path / "hub", ["a", "b"]), tmp_path / "it-ran"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "unheard_of",
        "auto_map": {"AutoConfig": "own.C", "AutoModelForSequenceClassification": "own.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(UsageError, match="cannot be loaded"):
        transformer.load(folder)
    assert not marker.exists()


def test_a_file_that_is_not_what_its_name_says_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_checkpoint("original", tmp_path / "model", name="toxic_original-c1212f89.ckpt")
    monkeypatch.setattr(detoxify, "read_checkpoint", lambda file: pytest.fail("it was read"))

    with pytest.raises(UsageError, match="not the file that its name says") as error:
        load(file)
    assert error.value.hint is not None


def test_a_file_that_is_what_its_name_says_is_read(tmp_path: Path) -> None:
    file = make_checkpoint("original", tmp_path / "model")
    named = file.with_name(f"tiny-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.ckpt")
    file.rename(named)

    assert "toxicity" in load(named).labels


def test_a_checkpoint_that_is_cut_is_refused(tmp_path: Path) -> None:
    file = make_checkpoint("original", tmp_path / "model")
    file.write_bytes(file.read_bytes()[:-2_000])

    with pytest.raises(UsageError, match="cannot be loaded"):
        load(file)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = make_checkpoint("original", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))

    with pytest.raises(UsageError, match=r"do not fit config\.json: .*layer\.2"):
        load(file)


def test_weights_that_are_missing_from_a_folder_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "hub", ["a", "b"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))

    with pytest.raises(UsageError, match=r"no weights for .*layer\.2"):
        transformer.load(folder)


def test_a_checkpoint_without_labels_is_refused(tmp_path: Path) -> None:
    import torch

    file = make_checkpoint("original", tmp_path / "model")
    torch.save({"state_dict": {}}, file)

    with pytest.raises(UsageError, match="lacks what a Detoxify checkpoint has"):
        load(file)


def test_an_index_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "hub", ["a", "b"])
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"classifier.weight": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(UsageError, match="outside its folder"):
        find_files(folder)


def test_a_model_that_gives_no_numbers_is_a_fault(tmp_path: Path) -> None:
    import torch

    file = make_checkpoint("original", tmp_path / "model")
    loaded = torch.load(file, weights_only=True)
    loaded["state_dict"]["classifier.bias"][0] = float("nan")
    torch.save(loaded, file)

    with pytest.raises(ValueError, match="not a number"):
        load(file).scores(["text"])


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_without_weights_the_error_says_which_file_command_and_option(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path))

    with pytest.raises(UsageError, match=rf"{name} .*\.ckpt") as error:
        find_files(name)
    assert f"curate models fetch {name}" in str(error.value.hint)
    assert "`model:`" in str(error.value.hint)


def test_a_named_model_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path))
    make_checkpoint("unbiased", tmp_path / "models" / "detoxify-unbiased")

    assert load("detoxify-unbiased").labels[0] == "toxicity"
    assert locate("detoxify-unbiased") == tmp_path / "models" / "detoxify-unbiased"


@pytest.mark.parametrize(("gone", "named"), [("config.json", "config.json"), ("vocab.txt", "tokenizer")])
def test_what_a_checkpoint_lacks_beside_it_is_named(tmp_path: Path, gone: str, named: str) -> None:
    file = make_checkpoint("original", tmp_path / "model")
    (file.parent / gone).unlink()

    with pytest.raises(UsageError, match=named):
        find_files(file)


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        find_files(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="does not exist"):
        find_files(tmp_path / "nowhere.ckpt")


def test_two_checkpoints_in_a_folder_are_one_too_many(tmp_path: Path) -> None:
    file = make_checkpoint("original", tmp_path / "model")
    file.with_name("other.ckpt").write_bytes(b"")

    with pytest.raises(UsageError, match="2 checkpoints"):
        find_files(file.parent)


def test_the_files_of_a_model_are_all_that_its_scores_depend_on(checkpoints: dict[str, Path]) -> None:
    names = {layout: sorted(file.name for file in find_files(file)) for layout, file in checkpoints.items()}

    assert names["original"] == ["config.json", "tiny.ckpt", "vocab.txt"]
    assert names["unbiased"] == ["config.json", "merges.txt", "tiny.ckpt", "vocab.json"]
    assert names["multilingual"] == ["config.json", "sentencepiece.bpe.model", "tiny.ckpt"]
    assert names["original-small"] == ["config.json", "spiece.model", "tiny.ckpt"]


def test_the_package_is_imported_without_torch() -> None:
    code = "import curate.filters, curate.detoxify, sys; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(UsageError, match="needs the package torch") as error:
        transformer.libraries()
    assert "[detoxify]" in str(error.value.hint)


def test_an_old_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "__version__", "2.5.1")

    with pytest.raises(UsageError, match="CVE-2025-32434"):
        transformer.libraries()
