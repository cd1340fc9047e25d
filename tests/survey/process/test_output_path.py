"""The names under which a command writes a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from survey.errors import UsageError
from survey.process.output_path import check_output_path


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "precious"
    file.write_text("mine")
    return file


def test_a_link_to_a_file_or_to_nothing_is_no_name_for_an_output(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "to-a-file.png").symlink_to(precious)
    (tmp_path / "to-nothing.png").symlink_to(tmp_path / "new")
    (tmp_path / "to-itself.png").symlink_to("to-itself.png")
    for name in ("to-a-file.png", "to-nothing.png", "to-itself.png"):
        with pytest.raises(UsageError, match=f"^--plot .*{name}: is a link to .*: name the file itself$"):
            check_output_path(tmp_path / name, "--plot")


def test_files_links_to_their_folder_pipes_and_the_standard_streams_are_names(
    tmp_path: Path, precious: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-a-pipe").symlink_to("pipe")
    names = (precious, tmp_path / "new", tmp_path / "link" / "new", tmp_path / "pipe", tmp_path / "to-a-pipe")
    for name in (*names, Path("/dev/stdout"), Path("/dev/fd/1")):
        check_output_path(name)
