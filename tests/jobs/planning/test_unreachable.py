"""Commands whose Hub is slow without an end, or is not there at all: one line, in time, and not for each model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import Ran
from support.little_models import little

from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import Drip, Fault, LocalHub

Survey = Callable[..., Ran]

DRIPS: dict[str, dict[str, Any]] = {
    "api": {"path_contains": "/api/models"},
    "config": {"path_contains": "config.json"},
    "head": {"method": "HEAD"},
    "header of the weights": {"server": "cdn"},
    "range": {"server": "cdn", "skip": 1},
}


@pytest.fixture
def stocked(hub: LocalHub, tmp_path: Path) -> LocalHub:
    write(little("org/model"), tmp_path / "little")
    kind = {"pipeline_tag": "text-generation", "model_tags": ("safetensors",)}
    hub.add_repo("org/model", tmp_path / "little", **kind)
    return hub


@pytest.mark.parametrize("part", ["headers", "body"])
@pytest.mark.parametrize("chosen", DRIPS.values(), ids=DRIPS)
def test_a_server_that_drips_does_not_outlive_the_timeout(
    stocked: LocalHub, survey: Survey, chosen: dict[str, Any], part: Any
) -> None:
    if chosen.get("method") == "HEAD" and part == "body":
        pytest.skip("an answer to HEAD has no body")
    stocked.faults = [Fault(Drip(part), times=None, **chosen)]
    started = time.monotonic()
    ran = survey("run", "org/model", "--endpoint", stocked.endpoint, "--executor", "serial", "--timeout", "2")
    assert time.monotonic() - started < 10
    assert stocked.faults[0].hits
    assert (ran.code, "timeout" in ran.out + ran.err) == (1, True)


@pytest.mark.parametrize("command", [["plan", "org/model"], ["discover"]], ids=["plan", "discover"])
@pytest.mark.parametrize("part", ["headers", "body"])
def test_commands_without_a_timeout_have_one(
    stocked: LocalHub, survey: Survey, command: list[str], part: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.hub.request_policy.REQUEST_S", 1.0)
    stocked.faults = [Fault(Drip(part), times=None)]
    started = time.monotonic()
    ran = survey(*command, "--endpoint", stocked.endpoint)
    assert time.monotonic() - started < 8
    assert ran.code in (1, 2)
    assert "did not end in time" in ran.out + ran.err


@pytest.fixture
def sixteen(tmp_path: Path) -> str:
    lines = tmp_path / "sixteen.txt"
    lines.write_text("".join(f"org/m{number}\n" for number in range(16)))
    return str(lines)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_unreachable_hub_is_reported_once(survey: Survey, sixteen: str, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
    options = ["--executor", "serial"] if command == "run" else []
    started = time.monotonic()
    ran = survey(command, sixteen, "--endpoint", endpoint, *options)
    assert time.monotonic() - started < 10
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"survey: {endpoint} (as given): it refuses connections\n"


def test_a_folder_is_measured_though_the_hub_is_not_there(
    survey: Survey, checkpoint: Callable[..., Path]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
    options = ["--endpoint", endpoint, "--executor", "serial"]
    ran = survey("run", str(checkpoint()), "org/model", *options)
    assert ran.code == 1
    assert "1 measured, 0 unchanged, 1 failed" in ran.out + ran.err


@pytest.mark.parametrize("command", [["run", "org/model"], ["plan", "org/model"], ["discover"]])
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HF_ENDPOINT": "hf-mirror.com"}, "HF_ENDPOINT 'hf-mirror.com': expected a URL such as"),
        ({"HF_TOKEN": "“hf_abc”"}, "HF_TOKEN holds a character that no token has"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9", "SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE names"),
        ({"HF_ENDPOINT": "http://u:secret-word@127.0.0.1:9"}, "http://***@127.0.0.1:9"),
    ],
)
def test_a_slip_in_a_variable_is_misuse(
    survey: Survey,
    command: list[str],
    variables: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ran = survey(*command)
    assert (ran.code, said in ran.err, ran.err.count("\n")) == (2, True, 1)
    assert "secret-word" not in ran.err


ASK_A_HUB = {
    "run": ["run", "org/model"],
    "dry run": ["run", "org/model", "--dry-run"],
    "plan": ["plan", "org/model"],
    "discover": ["discover"],
    "cluster": ["cluster", "org/model"],
    "spectrum": ["spectrum", "org/model"],
    "kinematics": ["kinematics", "--from-catalog", "org/model@step*"],
    **{
        f"nightly, {on}": ["nightly", "models.txt", "--at", "02:00", "--on", on]
        for on in ("cron", "systemd", "kubernetes", "github")
    },
}


@pytest.mark.parametrize("command", ASK_A_HUB.values(), ids=ASK_A_HUB)
@pytest.mark.parametrize(
    "endpoint", ["hub.example", "hub.example:8080", "ftp://hub.example", "https://", "//hub"]
)
def test_what_is_no_endpoint_is_misuse_of_every_command(
    survey: Survey, command: list[str], endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("models.txt").write_text("org/model\n")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    ran = survey(*command)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(
        f"survey: HF_ENDPOINT {endpoint!r}: expected a URL such as https://huggingface.co"
    )
    monkeypatch.delenv("HF_ENDPOINT")
    option = ["--", "--endpoint", endpoint] if command[0] == "nightly" else ["--endpoint", endpoint]
    ran = survey(*command, *option)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"survey: --endpoint {endpoint!r}: expected a URL")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HF_HUB_DOWNLOAD_TIMEOUT", "abc"), ("HF_ENDPOINT", "http://127.0.0.1:33589 ")],
    ids=["no number", "a blank after a port"],
)
def test_a_variable_that_the_hubs_library_cannot_read_is_one_line(
    tmp_path: Path, variable: str, value: str
) -> None:
    command = [
        sys.executable,
        "-c",
        "from survey.cli import entry; entry()",
        "plan",
        "org/model",
        "--catalog",
        "c",
    ]
    ran = subprocess.run(
        command, env={**os.environ, variable: value}, cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert variable in ran.stderr
