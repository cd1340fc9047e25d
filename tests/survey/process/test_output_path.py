"""The names under which a command writes a file."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from survey.errors import UsageError
from survey.process.output_path import check_output_path, write_output


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


def test_a_link_that_was_planted_since_the_check_is_not_followed(tmp_path: Path, precious: Path) -> None:
    output = tmp_path / "report.html"
    check_output_path(output)
    output.symlink_to(precious)
    with pytest.raises(OSError, match="it became a link to another file"):
        write_output(output, b"page")
    assert precious.read_text() == "mine"


def test_what_is_written_replaces_the_content_and_keeps_the_mode(tmp_path: Path, precious: Path) -> None:
    precious.chmod(0o600)
    write_output(precious, b"you")
    write_output(tmp_path / "new", b"page")
    assert (precious.read_text(), precious.stat().st_mode & 0o777) == ("you", 0o600)
    assert (tmp_path / "new").read_text() == "page"


def test_what_a_file_has_under_another_name_stays(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "report.html").hardlink_to(precious)
    write_output(tmp_path / "report.html", b"page")
    assert (precious.read_text(), (tmp_path / "report.html").read_text()) == ("mine", "page")


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EACCES], ids=["a-mounted-file", "a-closed-folder"])
def test_a_file_that_cannot_be_replaced_is_written_in_place_unless_it_has_another_name(
    tmp_path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", refuse)
    write_output(precious, b"page")
    assert precious.read_text() == "page"
    (tmp_path / "report.html").hardlink_to(precious)
    with pytest.raises(OSError, match="it has a second name elsewhere"):
        write_output(tmp_path / "report.html", b"you")
    assert precious.read_text() == "page"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["precious", "report.html"]


def test_on_a_full_disk_the_earlier_file_stays(tmp_path: Path, precious: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # fails as a disk does that is full
    try:
        for name in ("precious", "new"):
            with pytest.raises(OSError, match="File too large"):
                write_output(tmp_path / name, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]
    assert precious.read_text() == "mine"


def test_what_a_link_leads_to_is_written_if_it_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-a-pipe").symlink_to("pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_output(tmp_path / "to-a-pipe", b"page")
    assert os.read(reader, 9) == b"page"
    os.close(reader)
