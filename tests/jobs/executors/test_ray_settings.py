"""Variables of Ray in the environment: what ends the process that loads it is one line, and no crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.executors.ray_settings import ray_settings, refuse_settings
from survey.errors import UsageError

SURVEY = Path(sys.executable).parent / "survey"
UNREADABLE = {
    "a number of compiled code": {"RAY_memory_usage_threshold": "abc"},
    "a number of Python's": {"RAY_NUM_REDIS_GET_RETRIES": "abc"},
    "many at once": {"RAY_memory_usage_threshold": "abc"} | {f"RAY_{n}_seconds": "" for n in range(300)},
}
READABLE = {
    "none": {},
    "texts alone": {"RAY_ADDRESS": "auto", "RAY_TMPDIR": "/tmp", "RAY_AUTH_TOKEN": "abc"},
    "a number": {"RAY_memory_usage_threshold": "0.9"},
    "what Ray does not know": {"RAY_no_such_setting": "abc"},
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("settings", UNREADABLE.values(), ids=UNREADABLE)
def test_a_setting_at_which_ray_crashes_is_one_line(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"cannot be loaded .*RAY_.* or add --executor serial$") as refused:
        refuse_settings()
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("settings", READABLE.values(), ids=READABLE)
def test_settings_that_ray_reads_are_its_own_affair(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    refuse_settings()


def test_they_are_named_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("RAY_x", "secret")
    assert ray_settings() == "RAY_x"


def test_a_sweep_is_refused_alike(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.toml"
    sweep.write_text("steps = 2\n[grid]\nseed = [1, 2]\n")
    result = subprocess.run(
        [SURVEY, "train", "--sweep", sweep, "--catalog", tmp_path / "c", "-o", tmp_path / "o"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"RAY_memory_usage_threshold": "abc"},
    )
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "SIGSEGV" in result.stderr
