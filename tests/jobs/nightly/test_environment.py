"""`survey nightly`: a night has the environment of the day, and no unit shows a secret."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.nightly import schedulers as nightly
from jobs.nightly.environment import carried, carried_away, is_secret, secret_names
from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine

SETTINGS = {
    "HTTP_PROXY": "http://proxy.example:3128", "https_proxy": "http://proxy.example:3128", "ALL_PROXY": "socks5://p:1",
    "NO_PROXY": "10.0.0.0/8,.example", "HF_ENDPOINT": "https://hub.example", "HF_HUB_DOWNLOAD_TIMEOUT": "30",
    "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL_S3": "http://store.example:9000", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "RAY_ADDRESS": "ray://head:10001", "RAY_AUTH_MODE": "token", "GOOGLE_CLOUD_PROJECT": "mine",
}  # fmt: skip
PATHS = {
    "HOME": "/home/me", "TMPDIR": "/scratch/me", "XDG_CACHE_HOME": "/big/cache", "XDG_CONFIG_HOME": "/home/me/.c",
    "XDG_STATE_HOME": "/home/me/.s", "XDG_DATA_HOME": "/home/me/.d", "HF_HOME": "/big/hf", "HF_TOKEN_PATH": "/home/me/token",
    "HF_HUB_CACHE": "~/hub", "SSL_CERT_DIR": "/etc/ssl/ours", "AWS_CONFIG_FILE": "/home/me/aws",
    "AWS_SHARED_CREDENTIALS_FILE": "/home/me/keys", "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "RAY_TMPDIR": "/scratch/ray", "RAY_AUTH_TOKEN_PATH": "/home/me/ray", "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/g.json",
    "AWS_PROFILE": "work",
}  # fmt: skip
CERTIFICATES = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"]
SECRETS = {
    "HF_TOKEN": "hf_s3cret", "HUGGING_FACE_HUB_TOKEN": "s3cret", "AWS_ACCESS_KEY_ID": "AKIAs3cret", "AWS_SECRET_ACCESS_KEY": "/s3cret",
    "AWS_SESSION_TOKEN": "s3cret", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "s3cret", "HTTPS_PROXY": "http://me:s3cret@proxy:1",
    "http_proxy": "me:s3cret@proxy:1", "all_proxy": "http://s3cret@proxy:1", "AWS_ENDPOINT_URL": "https://me:s3cret@store",
    "AWS_BEARER_TOKEN_BEDROCK": "s3cret", "RAY_AUTH_TOKEN": "s3cret",
    "HF_XET_SOMETHING_SECRET": "s3cret", "HF_HUB_X": "hf_s3cretABCDEFGHIJKLMNOP",
}  # fmt: skip
OTHERS = {
    "LANG": "de_DE",
    "PS1": "$ ",
    "SSH_AUTH_SOCK": "/tmp/ssh",
    "XDG_RUNTIME_DIR": "/run/user/1",
    "EDITOR": "vi",
    "HF_EMPTY": "",
}


def test_variables_are_distinguished() -> None:
    environment = {**SETTINGS, **PATHS, **SECRETS, **OTHERS}
    assert carried(environment) == {**SETTINGS, **PATHS}
    assert carried_away(environment) == SETTINGS
    assert set(secret_names(environment)) == set(SECRETS)
    assert secret_names({}) == ["HF_TOKEN"]


@pytest.mark.parametrize(("name", "value"), SECRETS.items(), ids=list(SECRETS))
def test_a_secret_is_known_by_its_name_or_its_value(name: str, value: str) -> None:
    assert is_secret(name, value)


@pytest.mark.parametrize("scheduler", list(nightly.SCHEDULERS))
def test_the_unit_of_every_scheduler_carries_it_and_names_the_secrets(
    machine: JobMachine, job: Callable[..., Job], tmp_path: Path, scheduler: str
) -> None:
    (tmp_path / "ca.pem").write_text("certificate\n")
    trusted = dict.fromkeys(CERTIFICATES, str(tmp_path / "ca.pem"))
    unit = nightly.unit(
        scheduler,
        job(scheduler),
        replace(machine, environment={**SETTINGS, **PATHS, **trusted, **SECRETS, **OTHERS}),
    )
    assert "s3cret" not in unit
    assert all(name in unit for name in (*SETTINGS, *PATHS, *CERTIFICATES, *SECRETS))
    assert all(value in unit for value in SETTINGS.values())
    assert not any(name in unit for name in ("SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "PS1", "HF_EMPTY"))


def test_a_night_of_crons_sees_it_though_its_line_is_short(
    machine: JobMachine,
    job: Callable[..., Job],
    short_path: Path,
    commands_seen: Callable[[str, str], Path],
    telling_program: Callable[[Path], None],
) -> None:
    kept = commands_seen(
        "crontab", 'if [ "$1" = - ]; then cat >"$at"; elif [ -s "$at" ]; then cat "$at"; fi'
    ).with_name("crontab.kept")
    telling_program(short_path / "survey")
    there = replace(
        machine,
        program=short_path / "survey",
        config=short_path / "c",
        state=short_path / "s",
        environment={**SETTINGS, **PATHS, **SECRETS},
    )
    made = replace(job(), catalog="s3://bucket/x")
    nightly.install("cron", made, there)
    there.env_file.write_text("HF_TOKEN=hf_mine\nHF_HUB_DOWNLOAD_TIMEOUT=99\n")
    (line,) = [line for line in kept.read_text().splitlines() if not line.startswith("#")]
    ran = subprocess.run(
        ["/bin/sh", "-c", line.split(None, 5)[5].replace("\\%", "%")],
        env={"HOME": "/"},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    _, environment = json.loads((short_path / "s" / f"{made.name}.log").read_text())
    at_night = {**SETTINGS, **PATHS, "HF_TOKEN": "hf_mine", "HF_HUB_DOWNLOAD_TIMEOUT": "99"}
    assert {name: environment.get(name) for name in at_night} == at_night
    assert list(there.config.glob("*.sh")) == [there.config / f"{made.name}.sh"]
    (script,) = there.config.glob("*.sh")
    nightly.remove("cron", made, there)
    assert not script.exists()
    assert there.env_file.exists()
