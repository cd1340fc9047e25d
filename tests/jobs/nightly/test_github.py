"""`survey nightly --on github`: a workflow that GitHub's schema accepts, and what GitHub cannot run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import yaml

from jobs import nightly
from jobs.nightly_job import Job, Machine
from survey.errors import UsageError


@pytest.mark.parametrize("catalog", [None, "s3://bucket/x"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_githubs_schema_accepts_the_workflow(
    machine: Machine, job: Callable[..., Job], catalog: str | None, zone: str | None
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
    machine: Machine, job: Callable[..., Job], changes: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        nightly.unit("github", job("github", **changes), machine)
