"""`survey nightly --on kubernetes`: documents that its schema accepts, and the calls of kubectl."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from jobs.nightly import schedulers as nightly
from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine
from survey.errors import UsageError


@pytest.mark.parametrize("version", ["1.27", "1.37"])
@pytest.mark.parametrize("catalog", [None, "s3://bucket/x"])
def test_kubernetes_schema_accepts_every_document(
    machine: JobMachine, job: Callable[..., Job], version: str, catalog: str | None
) -> None:
    made = job("kubernetes", zone="Europe/Berlin", **({"catalog": catalog} if catalog else {}))
    documents = list(yaml.safe_load_all(nightly.unit("kubernetes", made, machine)))
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
    kinds = [document["kind"] for document in documents]
    assert kinds == ["ConfigMap", *([] if catalog else ["PersistentVolumeClaim"]), "CronJob"]
    spec = documents[-1]["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("5 2 * * *", "Europe/Berlin")
    assert (spec["concurrencyPolicy"], spec["startingDeadlineSeconds"]) == ("Forbid", 43_200)
    assert documents[0]["data"]["models.txt"] == made.models.read_text()
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["survey", "run", "/models/models.txt", "--catalog", catalog or "/disk/survey-catalog", "--matrix", "both"]  # fmt: skip
    broken = {**documents[-1], "spec": {**spec, "concurrencyPolicy": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_kubectl_applies_lists_and_deletes(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    script = 'case "$1" in apply) cat >"$at"; echo applied;; get) echo "a  a title of words";; delete) echo deleted;; esac'
    calls = commands_seen("kubectl", script)
    made = job("kubernetes")
    assert nightly.install("kubernetes", made, machine)[0] == "applied"
    assert calls.with_name("kubectl.kept").read_text() == nightly.unit("kubernetes", made, machine)
    assert nightly.installed("kubernetes", machine) == ["a  a title of words"]
    nightly.remove("kubernetes", made, machine)
    # Not the claim: it is the catalog.
    assert (
        calls.read_text().splitlines()[-1]
        == f"delete cronjob/{made.name} configmap/{made.name} --ignore-not-found"
    )


def pod_of(unit: str) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """The pod's spec, its container's variables, and the files of the ConfigMap."""
    files, *_, scheduled = yaml.safe_load_all(unit)
    pod = scheduled["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod, {pair["name"]: pair["value"] for pair in pod["containers"][0]["env"]}, files["data"]


def test_a_pod_may_write_to_its_home_and_its_volume_whoever_it_runs_as(
    machine: JobMachine, job: Callable[..., Job]
) -> None:
    pod, variables, _ = pod_of(nightly.unit("kubernetes", job("kubernetes"), machine))
    assert pod["securityContext"]["fsGroup"] > 0
    mounted = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for name in ("HOME", "TMPDIR"):
        assert volumes[mounted[variables[name]]]["emptyDir"] == {}
    assert all(
        variables[f"XDG_{kind}_HOME"].startswith(variables["HOME"]) for kind in ("CACHE", "CONFIG", "STATE")
    )
    assert pod["automountServiceAccountToken"] is False


def test_certificates_that_several_variables_name_go_along_once(
    machine: JobMachine, job: Callable[..., Job], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"certificate {name}\n" * 1000)
    named = {"SSL_CERT_FILE": "a", "REQUESTS_CA_BUNDLE": "b", "AWS_CA_BUNDLE": "a"}
    there = replace(machine, environment={name: str(tmp_path / file) for name, file in named.items()})
    _, variables, files = pod_of(nightly.unit("kubernetes", job("kubernetes"), there))
    assert len(files) == 3
    for name, file in named.items():
        assert files[Path(variables[name]).name] == (tmp_path / file).read_text()


def test_what_this_machine_trusts_goes_with_the_list(
    machine: JobMachine, job: Callable[..., Job], tmp_path: Path
) -> None:
    (tmp_path / "ours.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    there = replace(machine, environment={"SSL_CERT_FILE": f"{tmp_path}/ours.pem", "HF_HOME": "/big/disk"})
    unit = nightly.unit("kubernetes", job("kubernetes"), there)
    _, variables, files = pod_of(unit)
    assert files[Path(variables["SSL_CERT_FILE"]).name] == "-----BEGIN CERTIFICATE-----\n"
    assert Path(variables["SSL_CERT_FILE"]).parent == Path("/models")
    assert "HF_HOME" not in variables
    assert "Left out, as they name files of this machine: HF_HOME.\n" in unit
    (tmp_path / "ours.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(UsageError, match="holds a private key"):
        nightly.unit("kubernetes", job("kubernetes"), there)
    (tmp_path / "ours.pem").unlink()
    with pytest.raises(UsageError, match="certificates for the pod, which cannot be read"):
        nightly.unit("kubernetes", job("kubernetes"), there)


def test_a_list_goes_along_in_whatever_encoding(machine: JobMachine, job: Callable[..., Job]) -> None:
    made = job("kubernetes")
    made.models.write_bytes("\ufefforg/name\n".encode("utf-16-le"))
    assert pod_of(nightly.unit("kubernetes", made, machine))[2]["models.txt"] == "org/name\n"
