"""Temporary folders of processes that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from survey.process.interpreter import python_command
from survey.process.owned_folders import NEW_S, owned, remove_orphans


def aged(folder: Path) -> None:
    old = os.stat(folder / ".owner").st_mtime - 2 * NEW_S
    os.utime(folder / ".owner", (old, old))


def left(parent: Path) -> Path:
    """A folder as a run leaves it that was killed."""
    folder = parent / "sv-left"
    (folder / "session" / "logs").mkdir(parents=True)
    with owned(folder):
        pass
    aged(folder)
    return folder


def test_the_folder_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "sv-killed"
    folder.mkdir()
    (tmp_path / "holder.py").write_text(
        "import sys, time\nfrom pathlib import Path\nfrom survey.process.owned_folders import owned\n"
        "with owned(Path(sys.argv[1])):\n    print('owned', flush=True)\n    time.sleep(60)\n"
    )
    command = python_command("holder", str(folder))
    command[3] = command[3].replace("sys.path[:] = [", f"sys.path[:] = [{str(tmp_path)!r}, ")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "owned\n"
        aged(folder)
        remove_orphans(tmp_path, "sv-")
        assert folder.exists()  # it lives
        run.send_signal(signal.SIGKILL)
        run.wait()
    remove_orphans(tmp_path, "sv-")
    assert not folder.exists()


def link(folder: Path) -> Path:
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to("elsewhere")
    return folder


def without_owner(folder: Path) -> Path:
    (folder / ".owner").unlink()
    return folder


def linked_owner(folder: Path) -> Path:
    (folder / ".owner").rename(folder.parent / "owner")
    (folder / ".owner").symlink_to(folder.parent / "owner")
    return folder


def pipe(folder: Path) -> Path:
    (folder / ".owner").unlink()
    os.mkfifo(folder / ".owner")
    return folder


def new(folder: Path) -> Path:
    os.utime(folder / ".owner")
    return folder


def of_another_name(folder: Path) -> Path:
    return folder.rename(folder.parent / "ray")


@pytest.mark.parametrize("change", [link, without_owner, linked_owner, pipe, new, of_another_name])
def test_nothing_else_is_removed(change: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = change(left(tmp_path))
    remove_orphans(tmp_path, "sv-")
    assert (folder / "session" / "logs").exists()


def test_what_is_left_behind_is_removed(tmp_path: Path) -> None:
    folder = left(tmp_path)
    remove_orphans(tmp_path, "sv-")
    assert not folder.exists()
