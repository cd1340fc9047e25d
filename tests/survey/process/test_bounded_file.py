"""Foreign files: no read waits for one, and none takes more memory than its cap."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Ran

from survey.process.bounded_file import read_at, read_named, read_regular

SCRIPT = Path(sys.executable).with_name("survey")
CAP = 1 << 20
LIMIT_S = 60
STRANGE: dict[str, Callable[[str], object]] = {
    "a pipe": os.mkfifo,
    "a device without an end": lambda path: os.symlink("/dev/zero", path),
    "a terabyte of nothing": lambda path: (Path(path).touch(), os.truncate(path, 1 << 40)),
    "a file of the kernel": lambda path: os.symlink("/proc/kmsg", path),
    "a folder": os.mkdir,
}


def test_a_span_ends_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    spans = [(0, 4), (8, 4), (10, 1), (11, 1), (0, 0), (0, 1 << 40)]
    assert [read_at(tmp_path / "file", *span) for span in spans] == [
        b"0123",
        b"89",
        b"",
        b"",
        b"",
        b"0123456789",
    ]


def test_a_file_is_read_up_to_its_cap(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    for read in (read_regular, read_named):
        assert read(tmp_path / "file", 10) == b"0123456789"
        with pytest.raises(OSError, match="larger than 9 bytes"):
            read(tmp_path / "file", 9)


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_no_small_file_is_refused_at_once(tmp_path: Path, make: Callable[[str], object]) -> None:
    make(str(tmp_path / "file"))
    try:
        content = read_regular(tmp_path / "file", CAP)
    except OSError:
        return
    assert content == b""  # of the kernel


def test_a_pipe_that_the_user_named_is_read_up_to_the_cap(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for content, expected in ((b"text", b"text"), (b"x" * 100, None)):
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
        writer.start()
        if expected is None:
            with pytest.raises(OSError, match="larger than 10 bytes"):
                read_named(tmp_path / "pipe", 10)
        else:
            assert read_named(tmp_path / "pipe", 10) == expected
        writer.join(LIMIT_S)


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_a_strangers_folder_of_queries_is_refused_by_the_name_of_the_file(
    survey: Callable[..., Ran], tmp_path: Path, make: Callable[[str], object]
) -> None:
    (tmp_path / "queries").mkdir()
    make(str(tmp_path / "queries" / "bad.sql"))
    ran = survey("query", "--queries", tmp_path / "queries")
    assert (ran.code, "bad.sql" in ran.err, "Traceback" in ran.err) == (2, True, False)


NAMED = {
    "--reference-tokens": ["run", "model", "--executor", "serial", "--reference-tokens"],
    "--sweep": ["train", "--sweep"],
    "--corpus": ["train", "--steps", "2", "--corpus"],
    "a list": ["plan"],
}


@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize("option", NAMED)
@pytest.mark.parametrize("name", ["a device without an end", "a terabyte of nothing"])
def test_a_file_without_an_end_in_an_option_is_one_line(tmp_path: Path, option: str, name: str) -> None:
    STRANGE[name](str(tmp_path / "file"))
    ran = subprocess.run(
        [SCRIPT, *NAMED[option], "file"], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert (ran.returncode, "larger than" in ran.stderr, "Traceback" in ran.stderr) == (2, True, False)
