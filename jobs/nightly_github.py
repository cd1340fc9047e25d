"""A nightly run as a workflow of GitHub Actions, in the repository that holds the list."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from jobs.model_list import read_models
from jobs.nightly_job import EVERYWHERE, PREFIX, Job, Machine, carried
from survey.errors import UsageError

Step = dict[str, Any]  # Any: the shape is GitHub's own, and checked by its schema


def unit(job: Job, machine: Machine) -> str:
    root = _repository(machine)
    _refuse_expressions(job, machine)
    models, catalog = _inside(job.models, root, "the list"), job.catalog
    for model in read_models([str(job.models)], job.models.parent).models:
        if model.folder is not None:
            raise UsageError(
                f"{model.origin}: {model.folder} is a folder of this machine; a runner does not see it"
            )
    if job.is_local:
        catalog = _inside(Path(job.catalog), root, "the catalog")
    shown = f"Centroid Survey, {job.at:%H:%M} {job.zone or 'UTC'}: {models} into {catalog}"
    name = named(job, machine)
    head = f"""\
# {shown}
# {root.name}/.github/workflows/{name}.yml, on the default branch.
# Secrets come from the repository's settings (Secrets and variables, Actions): {", ".join(_secrets(job))}.
# GitHub may start a run late and does not catch up on one that it dropped; the next night measures what
# is missing.{_about_cache(job)}
"""
    workflow = {
        "name": shown,
        "on": {
            "schedule": [{"cron": f"{job.at.minute} {job.at.hour} * * *", "timezone": job.zone or "Etc/UTC"}],
            "workflow_dispatch": {},
        },
        "permissions": {"contents": "read"},
        "concurrency": {"group": name, "cancel-in-progress": False},
        "jobs": {"survey": {"runs-on": "ubuntu-latest", "steps": _steps(job, machine, models, catalog)}},
    }
    return head + str(yaml.safe_dump(workflow, sort_keys=False, allow_unicode=True, width=1000))


def named(job: Job, machine: Machine) -> str:
    """The name by paths within the repository: it is the same in every clone."""
    root = _repository(machine)
    catalog = _inside(Path(job.catalog), root, "the catalog") if job.is_local else job.catalog
    return replace(job, models=Path(_inside(job.models, root, "the list")), catalog=catalog).name


def install(job: Job, machine: Machine) -> list[str]:
    text = unit(job, machine)
    path = _folder(machine) / f"{named(job, machine)}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return [f"wrote {path}", "commit it and push it to the default branch"]


def installed(machine: Machine) -> list[str]:
    return [
        f"{path.stem}  {path.read_text(encoding='utf-8').partition(chr(10))[0].removeprefix('# ')}"
        for path in sorted(_folder(machine).glob(f"{PREFIX}*.yml"))
    ]


def remove(name: str, machine: Machine) -> bool:
    path = _folder(machine) / f"{name}.yml"
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def _steps(job: Job, machine: Machine, models: str, catalog: str) -> list[Step]:
    environment = carried(machine.environment, EVERYWHERE)
    secrets = {name: f"${{{{ secrets.{name} }}}}" for name in _secrets(job)}
    workspace = "$GITHUB_WORKSPACE/"
    command = job.command("survey", "MODELS", "CATALOG")
    quoted = [shlex.quote(word) for word in command]
    quoted[command.index("MODELS")] = f'"{workspace}"{shlex.quote(models)}'
    place = f'"{workspace}"' if job.is_local else ""
    quoted[command.index("CATALOG")] = place + shlex.quote(catalog)
    key = named(job, machine)
    kept = {"path": catalog, "key": f"{key}-${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}"}
    restore = {"uses": "actions/cache/restore@v4", "with": {**kept, "restore-keys": f"{key}-"}}
    # Also after a night on which some models failed.
    save = {"if": "always()", "uses": "actions/cache/save@v4", "with": kept}
    return [
        {"uses": "actions/checkout@v5"},
        {"uses": "actions/setup-python@v6", "with": {"python-version": "3.12"}},
        {"run": shlex.join(["pip", "install", job.requirement()])},
        *([restore] if job.is_local else []),
        {"run": " ".join(quoted), "env": {**environment, **secrets}},
        *([save] if job.is_local else []),
    ]


def _secrets(job: Job) -> list[str]:
    keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] if job.catalog.startswith("s3://") else []
    return ["HF_TOKEN", *keys]


def _about_cache(job: Job) -> str:
    if not job.is_local:
        return ""
    return (
        " The catalog lives in the Actions cache, which GitHub\n"
        "# clears after 7 days without a run; --catalog s3://... keeps it for good."
    )


def _refuse_expressions(job: Job, machine: Machine) -> None:
    for text in (
        str(job.models),
        job.catalog,
        job.requirement(),
        *job.options,
        *carried(machine.environment, EVERYWHERE).values(),
    ):
        if "${{" in text:
            raise UsageError(f"{text}: GitHub would evaluate it")


def _repository(machine: Machine) -> Path:
    for folder in (machine.folder, *machine.folder.parents):
        if (folder / ".git").exists():
            return folder
    raise UsageError(f"{machine.folder} lies in no git repository; --on github writes into one")


def _folder(machine: Machine) -> Path:
    return _repository(machine) / ".github/workflows"


def _inside(path: Path, root: Path, what: str) -> str:
    if not path.is_relative_to(root):
        raise UsageError(f"{what} {path} lies outside the repository {root}, where GitHub does not see it")
    return path.relative_to(root).as_posix()
