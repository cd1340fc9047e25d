"""What a cache holds runs: no other user of the machine can have put it there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from survey.onepass.cuda import CACHE, keep_others_out_of_the_cache
from survey.process import own_folder
from survey.process.own_folder import is_own, own_temporary_folder

ANOTHER_USER = 54321


def _linked(folder: Path) -> Path:
    (folder.parent / "link").symlink_to(folder)
    return folder.parent / "link"


def _open_to_all(folder: Path) -> Path:
    folder.chmod(0o777)
    return folder


STRANGE: dict[str, Callable[[Path], Path]] = {
    "everybody may write there": _open_to_all,
    "it is not there": lambda folder: folder / "missing",
    "it is a link to such a folder": lambda folder: _linked(_open_to_all(folder)),
}
OWN: dict[str, Callable[[Path], Path]] = {
    "it is ours": lambda folder: folder,
    "it is a link of ours to ours": _linked,
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_a_folder_in_which_others_may_write_is_not_ours(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (tmp_path / "cache").mkdir()
    assert not is_own(make(tmp_path / "cache"))


@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_a_folder_of_ours_is(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (tmp_path / "cache").mkdir()
    assert is_own(make(tmp_path / "cache"))


def _as_if_of_another(monkeypatch: pytest.MonkeyPatch, named: Path) -> None:
    """Let a file or folder seem to belong to another user, as only root can give it to one."""
    lstat = Path.lstat

    def of_another(path: Path) -> os.stat_result:
        status = lstat(path)
        return os.stat_result((*status[:4], ANOTHER_USER, *status[5:10])) if path == named else status

    monkeypatch.setattr(Path, "lstat", of_another)


@pytest.mark.parametrize("of_another", ["cache", ".", "link"])
def test_a_folder_or_a_link_of_another_user_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_another: str
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "link").symlink_to("cache")
    _as_if_of_another(monkeypatch, tmp_path / of_another)
    assert not is_own(tmp_path / "link")


def test_the_temporary_folder_for_later_processes_is_this_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_folder.tempfile, "tempdir", str(tmp_path))
    folder = own_temporary_folder("x")
    assert folder == own_temporary_folder("x")
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    with monkeypatch.context() as patch:
        _as_if_of_another(patch, folder)
        assert own_temporary_folder("x") is None
    folder.chmod(0o770)
    assert own_temporary_folder("x") is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert own_temporary_folder("x") is None


def test_loops_are_cached_nowhere_else(tmp_path: Path) -> None:
    """numba unpickles what lies in its cache: beside a module whose folder cannot be written, in HOME."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    program = (
        "from survey.onepass.kernels import jit\n"
        f"jit.numba.core.config.CACHE_DIR = {str(shared)!r}\n"
        "jit.numba.core.caching.UserProvidedCacheLocator.get_suitable_cache_subpath = staticmethod(lambda _: '')\n"
        "print(jit.compiled(jit.widens_float16)._cache.cache_path)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip().rstrip("/") == str(tmp_path / f"survey-kernels-{os.geteuid()}")


@pytest.mark.parametrize("variable", [CACHE, "TRITON_HOME"])
def test_so_are_kernels_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setattr(own_folder.tempfile, "tempdir", str(tmp_path))
    for name in (CACHE, "TRITON_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "own").mkdir()
    monkeypatch.setenv(variable, str(tmp_path / "own"))
    keep_others_out_of_the_cache()
    assert os.environ.get(CACHE, "") in ("", str(tmp_path / "own"))
    for folder in (tmp_path / "own", tmp_path / "own/.triton/cache"):
        if folder.exists():
            folder.chmod(0o777)
    keep_others_out_of_the_cache()
    assert os.environ[CACHE] == str(tmp_path / f"survey-triton-{os.geteuid()}")
