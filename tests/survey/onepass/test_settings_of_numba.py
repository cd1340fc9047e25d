"""numba reads `.numba_config.yaml` of the folder it is used in, which may name a cache of somebody's pickles."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from survey.process.interpreter import python_command

HOSTILE = {
    "a cache of pickles": "cache_dir: planted\n",
    "loops that are not compiled": "disable_jit: 1\n",
    "no mapping": "- 1\n",
    "nested deeply": "[" * 100_000,
}
# Compiled by a first call, which looks for the settings again.
PROGRAM = """
import sys, warnings
warnings.simplefilter("error")
import survey.onepass.kernels.fold, numba.core.config as config
from numba import njit
@njit
def loop(x):
    return x + 1
assert loop(1) == 2 and loop.signatures
import yaml
print(config.CACHE_DIR, config.DISABLE_JIT)
"""


def _settings(folder: Path, **environment: str) -> str:
    (folder.parent / "asked.py").write_text(PROGRAM)
    given = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    command = python_command("asked")
    command[3] = command[3].replace("sys.path[:] = [", f"sys.path[:] = [{str(folder.parent)!r}, ")
    ran = subprocess.run(command, cwd=folder, env=given | environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_settings_of_the_folder_do_not_count(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / ".numba_config.yaml").write_text(text)
    assert _settings(folder) == "0"
    assert os.listdir(folder) == [".numba_config.yaml"]


def test_settings_of_the_environment_count(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert _settings(folder, NUMBA_CACHE_DIR=str(tmp_path / "mine")) == f"{tmp_path / 'mine'} 0"


def test_a_setting_that_numba_cannot_read_is_as_if_there_were_none(tmp_path: Path) -> None:
    """Else numba prints a traceback; here warnings are errors."""
    folder = tmp_path / "model"
    folder.mkdir()
    assert _settings(folder, NUMBA_OPT="x", NUMBA_BOUNDSCHECK="", NUMBA_NUM_THREADS="-1") == "0"


def test_a_cache_in_the_working_folder_does_not_count(tmp_path: Path) -> None:
    """It holds pickles, and the folder may be a stranger's."""
    folder = tmp_path / "model"
    folder.mkdir()
    assert _settings(folder, NUMBA_CACHE_DIR="cache") == "0"
    assert os.listdir(folder) == []
