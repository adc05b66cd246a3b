"""Files are whole or absent, stored frames are checked, a directory has one writer."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from curate import store
from curate.errors import LockError, OutputError, StorageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store.prepare(tmp_path / "run")
    return tmp_path / "run"


def test_a_frame_comes_back_as_it_was(root: Path) -> None:
    frame = pl.DataFrame({"row": [1, 2], "label": ["a", None], "edits": [[{"start": 0, "end": 1, "put": "x"}], []]})
    store.write_frame(root, ".curate/results/a/b", frame)
    assert store.read_frame(root, ".curate/results/a/b").equals(frame)


@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_flipped_byte_makes_a_frame_absent(root: Path, at: int) -> None:
    store.write_frame(root, ".curate/x", pl.DataFrame({"row": list(range(100))}))
    path = root / ".curate" / "x"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert store.read_frame(root, ".curate/x") is None


def test_a_failed_write_leaves_nothing(root: Path) -> None:
    def write_half() -> None:
        with store.publish(root, "dataset/part") as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert not (root / "dataset").exists()
    assert list((root / ".curate" / "tmp").iterdir()) == []


def test_the_order_is_sync_rename_sync_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real_sync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("sync"), real_sync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), real_replace(a, b))[1])
    store.write_bytes(root, "manifest.json", b"{}")
    assert calls == ["sync", "rename", "sync"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\0b"])
def test_names_that_leave_the_folder_are_refused(root: Path, name: str) -> None:
    with pytest.raises(OutputError):
        store.join(root, name)


def test_a_symbolic_link_out_of_the_folder_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "dataset").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="symbolic link"):
        store.write_bytes(root, "dataset/part", b"x")


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        store.prepare(tmp_path)


def test_a_file_as_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        store.prepare(tmp_path / "out")


def test_clear_removes_only_what_a_run_made(root: Path) -> None:
    (root / "notes.txt").write_text("mine")
    store.write_bytes(root, "dataset/data/part", b"x")
    store.clear(root)
    assert sorted(entry.name for entry in root.iterdir()) == [".curate", "notes.txt"]


def test_a_second_writer_is_refused_and_told_who_holds_the_folder(root: Path) -> None:
    program = "import sys; from pathlib import Path; from curate import store\nwith store.lock(Path(sys.argv[1])): pass"
    with store.lock(root):
        second = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True)
    assert second.returncode == 1
    assert f"process {os.getpid()} on" in second.stderr
    with store.lock(root):
        pass


def test_a_lock_in_this_process_is_seen_too(root: Path) -> None:
    with store.lock(root), pytest.raises(LockError), store.lock(root):
        pass


def test_what_the_system_refuses_names_the_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"manifest\.json: No space left"):
        store.write_bytes(root, "manifest.json", b"{}")
    assert not (root / "manifest.json").exists()
