"""`survey nightly --on github`: a workflow that GitHub's schema accepts, and what GitHub cannot run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PathDistribution

import pytest
import yaml

from jobs.nightly import schedulers as nightly
from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine
from survey.errors import UsageError


@pytest.mark.parametrize("catalog", [None, "s3://bucket/x"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_githubs_schema_accepts_the_workflow(
    machine: JobMachine, job: Callable[..., Job], catalog: str | None, zone: str | None
) -> None:
    made = job("github", zone=zone, **({"catalog": catalog} if catalog else {}))
    for _ in range(2):
        nightly.install("github", made, machine)
    (path,) = (machine.folder / ".github/workflows").iterdir()
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    ran = subprocess.run([*checker, path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    workflow = yaml.safe_load(path.read_text())
    assert workflow["on"]["schedule"] == [{"cron": "5 2 * * *", "timezone": zone or "Etc/UTC"}]
    assert workflow["concurrency"] == {"group": path.stem, "cancel-in-progress": False}
    steps = workflow["jobs"]["survey"]["steps"]
    assert workflow["permissions"] == {"contents": "read"}
    assert all(
        re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step
    )
    assert steps[0]["with"] == {"persist-credentials": False}
    assert [step for step in steps if "secrets." in str(step)] == [step for step in steps if "env" in step]
    assert "60 days" in path.read_text()
    (step,) = [step for step in steps if "survey run" in step.get("run", "")]
    assert step["env"]["HF_TOKEN"] == "${{ secrets.HF_TOKEN }}"
    ran = subprocess.run(["/bin/sh", "-c", f"survey() {{ printf '%s\\n' \"$@\"; }}; {step['run']}"], capture_output=True, text=True, env={"GITHUB_WORKSPACE": "/w"}, check=True)  # fmt: skip
    assert ran.stdout.splitlines() == ["run", "/w/my models.txt", "--catalog", catalog or "/w/my catalog", "--matrix", "both"]  # fmt: skip
    assert [line.split()[0] for line in nightly.installed("github", machine)] == [path.stem]
    nightly.remove("github", made, machine)
    assert not path.exists()


OUTSIDE = [
    ("a catalog elsewhere", {"catalog": "/somewhere/else"}, "lies outside the repository"),
    ("an expression", {"catalog": "s3://x/${{ secrets.A }}"}, "GitHub would evaluate it"),
]


@pytest.mark.parametrize(
    ("changes", "message"), [case[1:] for case in OUTSIDE], ids=[case[0] for case in OUTSIDE]
)
def test_what_github_cannot_run_is_refused(
    machine: JobMachine, job: Callable[..., Job], changes: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        nightly.unit("github", job("github", **changes), machine)


def installed_with(machine: JobMachine, made: Job) -> str:
    workflow = yaml.safe_load(nightly.unit("github", made, machine))
    (step,) = [step for step in workflow["jobs"]["survey"]["steps"] if "pip" in step.get("run", "")]
    return str(step["run"])


COMMIT, DIGEST = "0123456789" * 4, "0123456789abcdef" * 4
PACKAGES = [
    (f"git+https://github.com/a/b@{COMMIT}", f"pip install 'centroid-survey @ git+https://github.com/a/b@{COMMIT}'"),
    (f"mine[s3] @ git+https://github.com/a/b@{COMMIT}", f"pip install 'mine[s3] @ git+https://github.com/a/b@{COMMIT}'"),
    (f"https://h.example/x.whl#sha256={DIGEST}", f"pip install 'centroid-survey @ https://h.example/x.whl#sha256={DIGEST}'"),
    ("the wheel.whl", "pip install \"$GITHUB_WORKSPACE/\"'the wheel.whl'"),
    ("requirements.txt", 'pip install --require-hashes -r "$GITHUB_WORKSPACE/"requirements.txt'),
]  # fmt: skip


@pytest.mark.parametrize(("package", "command"), PACKAGES, ids=[package for package, _ in PACKAGES])
def test_pip_installs_what_its_content_tells(
    machine: JobMachine, job: Callable[..., Job], package: str, command: str
) -> None:
    for file in ("the wheel.whl", "requirements.txt"):
        (machine.folder / file).touch()
    assert installed_with(machine, job("github", package=package)) == command


def test_a_catalog_in_a_bucket_brings_its_extra(machine: JobMachine, job: Callable[..., Job]) -> None:
    (machine.folder / "x.whl").touch()
    wheel = installed_with(machine, job("github", package="x.whl", catalog="s3://bucket/x"))
    assert wheel == "pip install \"$GITHUB_WORKSPACE/\"x.whl'[s3]'"
    assert "centroid-survey[s3] @ git+" in installed_with(machine, job("github", catalog="s3://bucket/x"))


ANYBODYS = [
    "centroid-survey", "centroid-survey==0.1", "centroid-survey[s3]>=0.1", "git+https://github.com/a/b",
    "git+https://github.com/a/b@main", "git+https://github.com/a/b@v1.0", "git+https://github.com/a/b@0123456",
    f"git+http://github.com/a/b@{COMMIT}", "https://h.example/x.whl", "https://h.example/x.whl#sha256=abc",
    f"https://h.example/x.whl#sha256={DIGEST} other", f"git+https://github.com/a/b@{COMMIT} other", "-r x.txt",
    "nowhere.whl", sys.executable, "../outside.whl", "--requirement=https://h.example/x.txt",
]  # fmt: skip


@pytest.mark.parametrize("package", ANYBODYS)
def test_what_may_be_anybodys_tomorrow_is_not_installed(
    machine: JobMachine, job: Callable[..., Job], package: str
) -> None:
    (machine.folder.parent / "outside.whl").touch()
    with pytest.raises(UsageError, match=r"by its content: git\+https://HOST/OWNER/NAME@COMMIT"):
        nightly.unit("github", job("github", package=package), machine)


@pytest.mark.parametrize(
    ("origin", "commit"),
    [
        ({"url": "https://github.com/a/b", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}, COMMIT),
        ({"url": "file:///here", "dir_info": {"editable": True}}, None),
        ({}, None),
    ],
)
def test_without_a_package_it_is_the_commit_that_was_installed_here(
    machine: JobMachine,
    job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
    origin: dict[str, object],
    commit: str | None,
) -> None:
    monkeypatch.setattr(PathDistribution, "read_text", lambda self, name: json.dumps(origin))
    made = replace(job("github"), package=None)
    if commit is None:
        with pytest.raises(UsageError, match="a name in the public index may be anybody's"):
            nightly.unit("github", made, machine)
    else:
        assert f"git+https://github.com/a/b@{commit}" in installed_with(machine, made)


def test_certificates_in_the_repository_are_found_there(machine: JobMachine, job: Callable[..., Job]) -> None:
    inside = {"SSL_CERT_FILE": f"{machine.folder}/ca/ours.pem", "REQUESTS_CA_BUNDLE": "/etc/elsewhere.pem"}
    unit = nightly.unit("github", job("github"), replace(machine, environment=inside))
    (step,) = [step for step in yaml.safe_load(unit)["jobs"]["survey"]["steps"] if "env" in step]
    assert step["env"]["SSL_CERT_FILE"] == "${{ github.workspace }}/ca/ours.pem"
    assert "Left out, as they name files outside the repository: REQUESTS_CA_BUNDLE." in unit


def test_a_catalog_whose_path_is_a_pattern_is_not_cached(
    machine: JobMachine, job: Callable[..., Job]
) -> None:
    with pytest.raises(UsageError, match="would take this path for a pattern"):
        nightly.unit("github", job("github", catalog=str(machine.folder / "a[b]")), machine)
