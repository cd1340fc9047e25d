"""Atomic writes in a folder in which a stranger has put links under the names that we will use."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from survey.errors import UsageError
from survey.formats.safetensors_file import TensorReader, TensorWriter
from survey.process.atomic_write import open_atomically, open_to_resume, write_atomically

LAYOUT = {"a": ("F32", (2,))}


def _link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("nothing"))


def _second_name(path: Path, victim: Path) -> None:
    os.link(victim, path)


def _fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path, victim: Path) -> None:
    path.mkdir()


PLANTED = {
    "a link": _link,
    "a link to nothing": _dangling_link,
    "a second name of a file": _second_name,
    "a FIFO": _fifo,
    "a folder": _folder,
}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"mine")
    return outside / "victim"


def _is_untouched(victim: Path) -> bool:
    return victim.read_bytes() == b"mine" and os.listdir(victim.parent) == ["victim"]


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED.keys())
def test_an_unfinished_file_is_resumed_through_no_link(
    tmp_path: Path, victim: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(tmp_path / ".h.safetensors.partial", victim)
    with pytest.raises(UsageError, match=r"\.h\.safetensors\.partial .*; remove it"):
        TensorWriter(tmp_path / "h.safetensors", LAYOUT, keep=True)
    assert _is_untouched(victim)
    assert not (tmp_path / "h.safetensors").exists()


def test_an_unfinished_file_of_another_user_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".h.safetensors.partial").touch()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(UsageError, match=rf"\.h\.safetensors\.partial belongs to user {user}; remove it"):
        TensorWriter(tmp_path / "h.safetensors", LAYOUT, keep=True)


def test_an_unfinished_file_of_ours_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    writer = TensorWriter(path, LAYOUT, keep=True)
    writer.put("a", np.ones(1, np.float32))
    writer.__exit__(KeyboardInterrupt, None, None)
    with TensorWriter(path, LAYOUT, keep=True) as writer:
        assert writer.resumed
        writer.put("a", np.ones(1, np.float32), 1)
    with TensorReader(path) as reader:
        assert reader.header.tensors.keys() == {"a"}
    assert np.frombuffer(path.read_bytes()[-8:], np.float32).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["x", "é" * 127, "\N{GRINNING FACE}" * 63])
def test_an_atomic_write_replaces_a_link_and_not_its_target(tmp_path: Path, victim: Path, name: str) -> None:
    (tmp_path / name).symlink_to(victim)
    write_atomically(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"
    assert _is_untouched(victim)
    assert sorted(os.listdir(tmp_path)) == sorted([name, "outside"])


def test_a_temporary_name_cannot_be_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def noted(self: Path, target: Path) -> Path:
        names.append(self.name)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", noted)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            write_atomically(tmp_path / "x", b"new")
    assert len(set(names)) == 2
    assert os.listdir(tmp_path) == []


def test_a_database_of_views_is_made_under_such_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from catalog.read.attach import attach
    from catalog.store.open import open_for_writing

    store = open_for_writing(str(tmp_path / "catalog"))
    names: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        names.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    for _ in range(2):
        attach(store, tmp_path / "a.duckdb")
    assert len(set(names)) == 2


def test_what_is_opened_to_resume_is_ours_alone(tmp_path: Path) -> None:
    handle = open_to_resume(tmp_path / "new")
    os.write(handle, b"begun")
    os.close(handle)
    handle = open_to_resume(tmp_path / "new")
    assert os.read(handle, 9) == b"begun"
    os.close(handle)


def test_a_file_that_is_not_finished_has_no_name(tmp_path: Path) -> None:
    """So a process that is killed while it writes leaves nothing behind."""
    if not hasattr(os, "O_TMPFILE"):
        pytest.skip("a file without a name is Linux's")
    path = tmp_path / "report.html"
    path.write_bytes(b"yesterday's")
    with open_atomically(path) as opened:
        opened.write(b"half of ")
        opened.flush()
        assert os.listdir(tmp_path) == ["report.html"]
        assert path.read_bytes() == b"yesterday's"
        opened.write(b"today's")
    assert os.listdir(tmp_path) == ["report.html"]
    assert path.read_bytes() == b"half of today's"


@pytest.mark.parametrize("lacks", ["O_TMPFILE", "link"])
def test_where_there_are_no_such_files_it_is_written_whole_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    if lacks == "link":

        def refuse(*names: object, **folders: object) -> None:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        monkeypatch.setattr(os, "link", refuse)
    else:
        monkeypatch.delattr(os, lacks, raising=False)
    path = tmp_path / "report.html"
    write_atomically(path, b"today's")
    assert (os.listdir(tmp_path), path.read_bytes()) == (["report.html"], b"today's")
    other = tmp_path / "plain"
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode
