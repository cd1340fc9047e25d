"""A nightly run as a CronJob, with the list in a ConfigMap."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import yaml

from jobs.nightly.certificates import certificate_variables, certificates
from jobs.nightly.environment import carried_away, left_behind, secret_names
from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine
from jobs.nightly.quoting import checked_text, comments, kubernetes_value, lines, one_line
from jobs.planning.list_text import read_list
from jobs.planning.model_list import read_models
from survey.errors import UsageError

SECRET_NAME = "centroid-survey"
CONFIG_MAP_BYTES = 1_000_000  # of data: a ConfigMap holds 1 MiB
CATCH_UP_S = 12 * 3600  # a missed run starts up to half a day late
MANAGED = {"app.kubernetes.io/managed-by": "centroid-survey"}
HOME = "/home/survey"
GROUP = 10_001  # of the volumes; a group of its own
Manifest = dict[str, Any]  # Any: the shape of each is Kubernetes' own, and checked by its schema


class _Readable(yaml.SafeDumper):  # type: ignore[misc]  # yaml carries no annotations
    """Writes text of several lines as a block if YAML allows it."""


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def unit(job: Job, machine: JobMachine) -> str:
    """The ConfigMap, the CronJob and, for a catalog in a folder, a claim for its disk."""
    names = secret_names(machine.environment)
    omitted = [name for name in left_behind(machine.environment) if name not in _variables(machine)]
    head = comments(
        job.title,
        "kubectl apply --server-side -f THIS",
        f"The log: kubectl logs -l app.kubernetes.io/instance={job.name}",
        f"Secrets ({', '.join(names)}) come from the Secret `{SECRET_NAME}`:",
        f"  kubectl create secret generic {SECRET_NAME} --from-env-file=nightly.env",
        *([f"Left out, as they name files of this machine: {', '.join(omitted)}."] if omitted else []),
    )
    return lines(head) + str(
        yaml.dump_all(documents(job, machine), Dumper=_Readable, sort_keys=False, allow_unicode=True)
    )


def documents(job: Job, machine: JobMachine) -> list[Manifest]:
    """The manifests of a job. Raises UsageError if a pod could not run it."""
    claim = [_claim(job)] if job.is_local else []
    written = [*claim, _cron_job(job, machine)]
    return [_config_map(job, machine), *(checked_text(document, one_line) for document in written)]


def install(job: Job, machine: JobMachine) -> list[str]:
    """Apply the manifests."""
    # On the server's side: else the whole list and the certificates must fit into an annotation of 256 kB.
    output = _kubectl("apply", "--server-side", "-f", "-", text=unit(job, machine))
    return [
        *output.splitlines(),
        f"secrets such as HF_TOKEN come from the Secret `{SECRET_NAME}`, if there is one",
    ]


def installed(machine: JobMachine) -> list[str]:
    """The name and title of each CronJob that `survey nightly` made."""
    (label,) = MANAGED.items()
    columns = "NAME:.metadata.name,TITLE:.metadata.annotations.title"
    output = _kubectl(
        "get", "cronjobs", "-l", "=".join(label), "--no-headers", "-o", f"custom-columns={columns}"
    )
    return [
        "  ".join(line.split(None, 1)) for line in output.splitlines() if not line.startswith("No resources")
    ]


def remove(name: str, machine: JobMachine) -> bool:
    """Delete the CronJob and its ConfigMap, and keep the claim, which holds the catalog."""
    output = _kubectl("delete", f"cronjob/{name}", f"configmap/{name}", "--ignore-not-found")
    return "deleted" in output


def _config_map(job: Job, machine: JobMachine) -> Manifest:
    for model in read_models([str(job.models)], job.models.parent).models:
        if model.folder is not None:
            raise UsageError(
                f"{model.origin}: {model.folder} is a folder of this machine; a pod does not see it"
            )
    data = {"models.txt": read_list(job.models).text, **certificates(machine)}
    if len("".join(data.values()).encode()) > CONFIG_MAP_BYTES:
        files = f"{job.models} with certificates" if len(data) > 1 else str(job.models)
        raise UsageError(f"{files} is larger than {CONFIG_MAP_BYTES:,} bytes, a ConfigMap's limit")
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(job), "data": data}


def _claim(job: Job) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(job),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Gi"}},
        },
    }


def _cron_job(job: Job, machine: JobMachine) -> Manifest:
    zone = job.zone or "Etc/UTC"  # the default would be the controller's zone, which is unknown here
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {**_metadata(job), "annotations": {"title": job.title}},
        "spec": {
            "schedule": f"{job.at.minute} {job.at.hour} * * *",
            "timeZone": zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": CATCH_UP_S,
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": _pod(job, machine)}},
        },
    }


def _pod(job: Job, machine: JobMachine) -> Manifest:
    if job.image is None:
        raise UsageError("--on kubernetes needs --image, a container image that holds `survey`")
    # A folder on the disk: the root of a new disk already holds lost+found.
    catalog = "/disk/survey-catalog" if job.is_local else job.catalog
    disk = [("catalog", "/disk", {"persistentVolumeClaim": {"claimName": job.name}})] if job.is_local else []
    volumes: list[tuple[str, str, Manifest]] = [
        ("models", "/models", {"configMap": {"name": job.name}}),
        ("home", HOME, {"emptyDir": {}}),
        ("tmp", "/tmp", {"emptyDir": {}}),
        # For Ray's objects: a pod has 64 MB there by default, which is too little.
        ("shm", "/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}),
        *disk,
    ]
    container = {
        "name": "survey",
        "image": job.image,
        "command": [kubernetes_value(word) for word in job.command("survey", "/models/models.txt", catalog)],
        "env": [
            {"name": name, "value": kubernetes_value(value)} for name, value in _variables(machine).items()
        ],
        "envFrom": [{"secretRef": {"name": SECRET_NAME, "optional": True}}],
        "resources": {"requests": {"cpu": "1", "memory": "4Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": name, "mountPath": path} for name, path, _ in volumes],
    }
    return {
        "metadata": {"labels": _labels(job)},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,  # a run never calls Kubernetes
            # Whatever user the image runs as may write to the volumes.
            "securityContext": {"fsGroup": GROUP, "fsGroupChangePolicy": "OnRootMismatch"},
            "containers": [container],
            "volumes": [{"name": name, **source} for name, _, source in volumes],
        },
    }


def _variables(machine: JobMachine) -> dict[str, str]:
    """The pod's environment: folders that it can write to, mounted certificates, and portable variables."""
    folders = {"HOME": HOME, "TMPDIR": "/tmp"}
    folders |= {f"XDG_{kind}_HOME": f"{HOME}/{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    trusted = certificate_variables(machine, "/models")
    return {**carried_away(machine.environment), **folders, **trusted}


def _metadata(job: Job) -> Manifest:
    return {"name": job.name, "labels": _labels(job)}


def _labels(job: Job) -> dict[str, str]:
    return {**MANAGED, "app.kubernetes.io/instance": job.name}


def _kubectl(*arguments: str, text: str = "") -> str:
    command = ["kubectl", *arguments]
    try:
        ran = subprocess.run(command, input=text, capture_output=True, text=True)
    except FileNotFoundError:
        raise UsageError(
            "there is no kubectl here: print the unit (without --install), and "
            "`kubectl apply -f` it on a machine that has one"
        ) from None
    if ran.returncode:
        raise UsageError(f"`{shlex.join(command)}` said: {ran.stderr.strip()}")
    return ran.stdout
