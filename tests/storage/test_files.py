import os
import pathlib
import stat
import subprocess
import sys

import pytest
import torch

from counterbench.errors import DataError, RecordError
from counterbench.storage import files, tensors


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "sub" / "r.json"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["r.json"]


def test_a_full_disk_is_one_sentence(tmp_path):
    path = tmp_path / "r.json"
    files.write_text(path, "old")
    with pytest.raises(RecordError, match=r"Cannot write .*r.json: No space left on device"), files.atomic(path):
        raise OSError(28, os.strerror(28))
    assert path.read_text() == "old"


def test_written_files_are_ordinary_ones(tmp_path):
    files.write_text(tmp_path / "r.json", "x")
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) & 0o444 == 0o444


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path):
    folder = tmp_path / "run"
    with files.claimed(folder):
        with pytest.raises(RecordError, match="run is in use by another run"), files.claimed(folder):
            pass
        (folder / "result").write_text("kept")
    assert [p.name for p in folder.iterdir()] == ["result"]
    with files.claimed(folder):
        pass


def test_a_claim_leaves_no_empty_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), files.claimed(tmp_path / "run"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_dies_gives_its_folder_back(tmp_path):
    code = f"import os, pathlib; from counterbench.storage import files; claim = files.claimed(pathlib.Path({str(tmp_path)!r})); claim.__enter__(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (tmp_path / ".lock").exists()
    with files.claimed(tmp_path):
        pass


def test_what_a_killed_process_was_writing_is_removed_by_the_next_one(tmp_path):
    """And nothing else: neither finished files nor somebody's hidden ones."""
    (tmp_path / ".settings.json").write_text("")
    for path in (tmp_path / "grid.png", tmp_path / files.UNFINISHED / "chunk-0.safetensors"):
        code = f"import os, pathlib; from counterbench.storage import files; writing = files.atomic(pathlib.Path({str(path)!r})); writing.__enter__(); os._exit(9)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
        files.write_text(path, "finished")
        assert len(list(path.parent.glob(".*.part*"))) == 1
    with files.claimed(tmp_path):
        pass
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".settings.json", "grid.png", "unfinished/chunk-0.safetensors"}


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(RecordError, match="Cannot write"):
        files.require_writable(tmp_path / "f" / "sub")


def test_fingerprints_see_names_types_shapes_and_bytes():
    base = tensors.sha256_of_tensors({"a": torch.zeros(4)})
    others = [
        {"b": torch.zeros(4)},
        {"a": torch.zeros(4).double()},
        {"a": torch.zeros(2, 2)},
        {"a": torch.tensor([0.0, 0, 0, 1])},
    ]
    assert len({base, *(tensors.sha256_of_tensors(o) for o in others)}) == 5
    assert base == tensors.sha256_of_tensors({"a": torch.zeros(8)[::2]})


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path))
    assert files.cache_folder() == tmp_path
    monkeypatch.delenv("COUNTERBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / "counterbench"


def test_hash_of_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        files.sha256_of_file(tmp_path / "none")


def test_only_ordinary_files_of_a_bounded_size_are_read(tmp_path):
    (tmp_path / "good").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    assert files.read_bounded(tmp_path / "good", 5) == b"12345"
    for path, words in [
        (tmp_path / "good", "it has 5 bytes, and may have 4"),
        (tmp_path / "pipe", "it is a pipe, device or socket"),
        (tmp_path, "it is a folder"),
        (tmp_path / "none", "No such file"),
        (pathlib.Path("/dev/zero"), "it is a pipe, device or socket"),
        (pathlib.Path("/proc/self/status"), "it has more than 4 bytes"),
    ]:
        if path.exists() or path.parent == tmp_path:
            with pytest.raises(OSError, match=words):
                files.read_bounded(path, 4)


def test_links_that_lead_out_of_a_folder(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "outside"
    outside.mkdir()
    home.mkdir()
    (home / "inside").mkdir()
    (home / "out").symlink_to(outside)
    (home / "in").symlink_to(home / "inside")
    (home / "loop").symlink_to(home / "loop")
    files.require_inside(home / "in" / "a.png", home)
    files.require_inside(home / "loop", home)
    for path in (home / "out", home / "out" / "a.png", home / ".." / "outside"):
        with pytest.raises(DataError, match="leads out of"):
            files.require_inside(path, home)
    for name in ("out", "in", "loop"):
        with pytest.raises(DataError, match="is a link; nothing is written through it"):
            files.own_subfolder(home, name)
    assert files.own_subfolder(home, "new").is_dir()


def test_names_of_files_are_short_never_empty_and_different():
    names = ["a", "", ".", "..", "a/b", "a-b", "x" * 300, "x" * 301]
    slugs = [files.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(0 < len(one) < 120 and one.strip(".") and "/" not in one for one in slugs)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "needs a.pth in /root/.cache/cb/weights (from https://x.org/m/a.pth)",
            "needs a.pth in weights (from https://x.org/m/a.pth)",
        ),
        ("~/data/adni lacks '/mnt/x/y.csv'", "adni lacks 'y.csv'"),
        ("C:\\Users\\ada\\w.pth is not there", "w.pth is not there"),
        ("do(a)/do(b), 3/4/5 and a/b/c.csv stay", "do(a)/do(b), 3/4/5 and a/b/c.csv stay"),
    ],
)
def test_texts_name_no_folders(text, shown):
    assert files.without_folders(text) == shown
