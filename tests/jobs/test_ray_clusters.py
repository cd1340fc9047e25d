"""The recipes for clusters have the form that each kind of cluster takes, and commands of ours."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.ray_job import RAYJOB

RECIPES = Path(__file__).parents[2] / "jobs" / "ray_clusters"


def test_the_recipe_for_plain_machines_is_what_ray_up_takes() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(yaml.safe_load((RECIPES / "ray-up.yaml").read_text()))
    validate_config(prepared)
    assert prepared["max_workers"] == len(prepared["provider"]["worker_ips"]) == 2


def test_the_recipe_for_slurm_is_a_script_with_a_valid_command() -> None:
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

    script = (RECIPES / "slurm.sh").read_text()
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    ray_part, separator, command = script.partition("symmetric-run ")[2].partition(" -- \\\n")
    assert separator
    assert curate_and_validate_ray_start_args(ray_part.split()) == []
    assert command.split()[:2] == ["survey", "run"]


def rayjob() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((RECIPES / "kuberay-rayjob.yaml").read_text())
    return job


def test_the_recipe_for_kubernetes_has_the_fields_of_a_rayjob() -> None:
    jsonschema.validate(rayjob(), RAYJOB)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ((), "entryPoint", "survey run"),
        (("rayClusterSpec",), "rayversion", "2.60.0"),
        (("rayClusterSpec", "authOptions"), "mode", "Token"),
        (("rayClusterSpec", "headGroupSpec"), "rayStartParams", {"num-cpus": 0}),
        (("rayClusterSpec", "workerGroupSpecs", 0), "replicas", "4"),
        (("rayClusterSpec", "workerGroupSpecs", 0, "template"), "containers", []),
    ],
)
def test_a_field_that_a_rayjob_does_not_have_is_noticed(
    path: tuple[Any, ...], name: str, value: object
) -> None:
    job = rayjob()
    section = job["spec"]
    for step in path:
        section = section[step]
    section[name] = value
    with pytest.raises(jsonschema.ValidationError, match=str(name)):
        jsonschema.validate(job, RAYJOB)


def test_the_recipe_for_kubernetes_has_valid_pods() -> None:
    import kubernetes_validate

    job = rayjob()
    groups = [
        job["spec"]["rayClusterSpec"]["headGroupSpec"],
        *job["spec"]["rayClusterSpec"]["workerGroupSpecs"],
    ]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": group["template"]["spec"],
        }
        kubernetes_validate.validate(pod, "1.33", strict=True)


@pytest.mark.parametrize("name", ["ray-up.yaml", "slurm.sh", "kuberay-rayjob.yaml"])
def test_the_command_of_a_recipe_is_one_of_ours(name: str) -> None:
    from survey.cli.run import command as run

    text = (RECIPES / name).read_text().replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if "survey run " in line]
    arguments = line.partition("survey run ")[2].rstrip("'").split()
    parsed = run.make_context("run", arguments)
    assert parsed.params["models"]
    assert parsed.params["uri"]
