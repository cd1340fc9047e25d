"""Our own processes import installed modules, never files of the folder in which they start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from survey.process.interpreter import import_path, python_command


@pytest.mark.parametrize(
    "name", ["json", "runpy", "survey", "catalog", "duckdb", "sitecustomize", "encodings"]
)
def test_a_file_of_the_current_folder_is_not_imported(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("open('ran', 'w').write('code ran')\nraise SystemExit(3)\n")
    ran = subprocess.run(python_command("survey.errors"), cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not (tmp_path / "ran").exists()


def test_an_empty_entry_of_pythonpath_is_no_folder_to_import_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setenv("PYTHONPATH", ":.:")
    ran = subprocess.run(
        python_command("survey.process.interpreter"), cwd=tmp_path, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_arguments_come_through(tmp_path: Path) -> None:
    ran = subprocess.run(
        python_command("json.tool", "--compact"), cwd=tmp_path, capture_output=True, input=b"[1, 2]"
    )
    assert ran.stdout.strip() == b"[1,2]"


def test_relative_folders_of_the_path_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(".")
    assert import_path()
    assert not {"", "."} & set(import_path())
