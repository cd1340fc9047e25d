"""The fields of a KubeRay RayJob (ray.io/v1, KubeRay 1.5), so that a misspelt one is noticed.

Written after KubeRay's API reference, as no package brings its schema. An API server drops fields that
it does not know without a word. Pods' own fields are Kubernetes's to check.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
OBJECT: Schema = {"type": "object"}


def _exactly(required: tuple[str, ...], **fields: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": fields}


_POD_TEMPLATE = _exactly(("spec",), metadata=OBJECT, spec=OBJECT)

_HEAD = _exactly(
    ("template",),
    template=_POD_TEMPLATE, headService=OBJECT, enableIngress=FLAG, resources=TEXTS, labels=TEXTS,
    rayStartParams=TEXTS, serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]},
)  # fmt: skip

_WORKERS = _exactly(
    ("groupName", "template"),
    groupName=TEXT, template=_POD_TEMPLATE, replicas=COUNT, minReplicas=COUNT, maxReplicas=COUNT,
    numOfHosts=COUNT, idleTimeoutSeconds=COUNT, suspend=FLAG, resources=TEXTS, labels=TEXTS,
    rayStartParams=TEXTS, scaleStrategy=OBJECT,
)  # fmt: skip

_CLUSTER = _exactly(
    ("headGroupSpec",),
    headGroupSpec=_HEAD, workerGroupSpecs={"type": "array", "items": _WORKERS}, rayVersion=TEXT, suspend=FLAG,
    authOptions=_exactly((), mode={"enum": ["disabled", "token"]}),
    managedBy={"enum": ["ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"]},
    enableInTreeAutoscaling=FLAG, autoscalerOptions=OBJECT, headServiceAnnotations=TEXTS,
    gcsFaultToleranceOptions=OBJECT, upgradeStrategy=OBJECT,
)  # fmt: skip

_JOB = _exactly(
    ("entrypoint", "rayClusterSpec"),
    entrypoint=TEXT, rayClusterSpec=_CLUSTER, activeDeadlineSeconds={**COUNT, "minimum": 1}, backoffLimit=COUNT,
    preRunningDeadlineSeconds={**COUNT, "minimum": 1}, submitterPodTemplate=_POD_TEMPLATE, metadata=TEXTS,
    clusterSelector=TEXTS, submitterConfig=_exactly((), backoffLimit=COUNT), managedBy=TEXT, deletionStrategy=OBJECT,
    runtimeEnvYAML=TEXT, jobId=TEXT, submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    entrypointResources=TEXT, entrypointNumCpus={"type": "number"}, entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=COUNT, shutdownAfterJobFinishes=FLAG, suspend=FLAG,
)  # fmt: skip

RAYJOB: Schema = _exactly(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"}, kind={"const": "RayJob"}, spec=_JOB,
    metadata=_exactly((), name=TEXT, generateName=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS),
)  # fmt: skip
