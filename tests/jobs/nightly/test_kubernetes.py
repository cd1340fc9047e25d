"""`survey nightly --on kubernetes`: documents that its schema accepts, and what kubectl is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from jobs import nightly
from jobs.nightly_job import Job, Machine


@pytest.mark.parametrize("version", ["1.27", "1.37"])
@pytest.mark.parametrize("catalog", [None, "s3://bucket/x"])
def test_kubernetes_schema_accepts_every_document(
    machine: Machine, job: Callable[..., Job], version: str, catalog: str | None
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
    machine: Machine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    script = 'case "$1" in apply) cat >"$at"; echo applied;; get) echo "a  a title of words";; delete) echo deleted;; esac'
    seen = commands_seen("kubectl", script)
    made = job("kubernetes")
    assert nightly.install("kubernetes", made, machine)[0] == "applied"
    assert seen.with_name("kubectl.kept").read_text() == nightly.unit("kubernetes", made, machine)
    assert nightly.installed("kubernetes", machine) == ["a  a title of words"]
    nightly.remove("kubernetes", made, machine)
    # Not the claim: it is the catalog.
    assert (
        seen.read_text().splitlines()[-1]
        == f"delete cronjob/{made.name} configmap/{made.name} --ignore-not-found"
    )
