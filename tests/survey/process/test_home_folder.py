"""`~`, where nobody has a home: a container's user without a name, a user who is not there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Ran

from survey.process.home_folder import expanded

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
def test_a_user_without_a_home_asks_a_catalog(
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
