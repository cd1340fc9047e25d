"""`~` for users without a home folder: a container's user without a name, an unknown user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Ran

from survey.process.home_folder import expanded, refuse_home_in_working_folder
from survey.process.interpreter import import_path

NOBODYS = "~no-such-user"
REFUSED = {
    "a catalog": ["sql", "SELECT 1 AS one", "--catalog", "HOME/c"],
    "a model": ["plan", "HOME/model"],
    "a parameter": ["query", "trajectory", "--param", "repo=HOME/model"],
    "a text": ["train", "--corpus", "HOME/text"],
    "a list": ["nightly", "HOME/models.txt", "--at", "02:00", "--on", "cron"],
}


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python sees it for a user id without a name, HOME unset."""
    import pwd

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.parametrize("path", ["~", NOBODYS])
@pytest.mark.parametrize("name", REFUSED)
def test_a_home_that_nobody_has_is_one_line(
    survey: Callable[..., Ran], homeless: None, name: str, path: str
) -> None:
    ran = survey(*(word.replace("HOME", path) for word in REFUSED[name]))
    assert ran.code == 2
    assert "~" in ran.err
    assert "home" in ran.err
    assert "Traceback" not in ran.err


def test_what_names_no_home_needs_none(homeless: None) -> None:
    for path in ("/a/~", "b~", "a"):
        assert expanded(path) == Path(path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="becomes a user without a name")
def test_a_user_without_a_home_queries_a_catalog(
    survey: Callable[..., Ran], checkpoint: Callable[..., Path]
) -> None:
    assert survey("run", checkpoint(), "--catalog", "c", "--executor", "serial").code == 0
    program = (
        "import os, sys\n"
        "def none(uid):\n    raise KeyError(uid)\n"
        "import pwd; pwd.getpwuid = none; os.environ.pop('HOME', None)\n"
        "from survey.cli import main\nsys.exit(main(['shell', '--catalog', 'c']))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        input="SELECT count(*) AS n FROM models;\n",
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "1" in ran.stdout


def test_a_relative_folder_of_caches_or_settings_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would lie in the working folder, and caches of compiled code hold pickles."""
    relative, absolute = (
        ["XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "TRITON_HOME"],
        ["XDG_CONFIG_HOME", "TRITON_CACHE_DIR"],
    )
    for name in (*relative, *absolute):
        monkeypatch.setenv(name, "cache" if name in relative else "/mine")
    refuse_home_in_working_folder()
    assert [name for name in (*relative, *absolute) if name in os.environ] == absolute


# ---- to Python, `~` is a relative path then: a folder of that name in the working folder may be anybody's

HOMELESS = """
import os, pwd, sys
def none(uid):
    raise KeyError(uid)
pwd.getpwuid = none
"""
NUMBA = """
import numba.core.caching as caching
caching.CacheImpl._locator_classes = [caching.UserWideCacheLocator]  # as if our folder were read-only
import survey.onepass.kernels.fold
"""
COMMAND = "from survey.cli import entry\nsys.argv[1:] = {words!r}\nentry()\n"
PROGRAMS = {
    "our compiled loops": NUMBA,
    "a catalog in an object store": COMMAND.format(words=["status", "--catalog", "s3://bucket/catalog"]),
    "a run": COMMAND.format(words=["run", ".", "--catalog", "c", "--executor", "serial"]),
    "a shell": COMMAND.format(words=["shell", "--catalog", "c"]),
    "a list from the Hub": COMMAND.format(words=["discover", "--endpoint", "http://127.0.0.1:9"]),
}


def run_in(folder: Path, program: str, **home: str) -> subprocess.CompletedProcess[str]:
    hidden = ("HOME", "HF_HOME", "HF_TOKEN", "FSSPEC_CONFIG_DIR", "NUMBA_CACHE_DIR")
    given = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and name[:4] not in ("AWS_", "XDG_")
    }
    return subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:] = {import_path()!r}\n{program}"],
        cwd=folder, capture_output=True, text=True, timeout=120,
        env=given | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"} | home,
    )  # fmt: skip


@pytest.fixture
def strangers(tmp_path: Path, checkpoint: Callable[..., Path]) -> Path:
    """A folder with a stranger's `~` in it, which holds settings that name a program."""
    folder = tmp_path / "strangers"
    checkpoint().rename(folder)
    (folder / "~/.aws").mkdir(parents=True)
    setting = f"[default]\ncredential_process = /bin/sh -c 'touch {folder}/ran'\n"
    (folder / "~/.aws/config").write_text(setting)
    (folder / "~/.aws/credentials").write_text(setting)
    (folder / "~/.config/fsspec").mkdir(parents=True)
    (folder / "~/.config/fsspec/conf.json").write_text('{"s3": {"profile": "no-such-profile"}}')
    return folder


@pytest.mark.parametrize("home", [{}, {"HOME": "."}, {"HOME": "~"}], ids=["none", "here", "relative"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_folder_called_tilde_is_nobodys_home(strangers: Path, program: str, home: dict[str, str]) -> None:
    if home.get("HOME") == ".":
        (strangers / "~/.aws").rename(strangers / ".aws")
    before = {path.relative_to(strangers) for path in strangers.rglob("*")}
    ran = run_in(strangers, HOMELESS + program, **home)
    assert "Traceback" not in ran.stderr
    assert "no-such-profile" not in ran.stderr
    new = {path.relative_to(strangers) for path in strangers.rglob("*")} - before
    assert {path.parts[0] for path in new} <= {"c"}


def test_a_home_that_is_one_counts(strangers: Path) -> None:
    ran = run_in(strangers, PROGRAMS["a catalog in an object store"], HOME=str(strangers / "~"))
    assert "no-such-profile" in ran.stderr or (strangers / "ran").exists(), ran.stderr
