"""A nightly run as a workflow of GitHub Actions, in the repository that holds the list."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from jobs.nightly.environment import CERTIFICATES, carried_away, left_behind, secret_names
from jobs.nightly.job import UNIT_PREFIX, Job
from jobs.nightly.machine import JobMachine
from jobs.nightly.package import pip_install
from jobs.nightly.quoting import Expression, checked_text, comments, lines, one_line, without_expressions
from jobs.nightly.unit_files import write_unit
from jobs.planning.model_list import read_models
from survey.errors import UsageError

# By commit: a tag may be moved to other code.
CHECKOUT = "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8"  # v5.0.0
SETUP_PYTHON = "actions/setup-python@e797f83bcb11b83ae66e0230d6156d7c80228e7c"  # v6.0.0
CACHE = "0057852bfaa89a56745cba8c7296529d2fc39830"  # v4.3.0
_ABOUT_CACHE = (
    "The catalog is kept in the Actions cache, which GitHub clears after 7 days without a run;",
    "--catalog s3://... keeps it permanently.",
)
WorkflowStep = dict[str, Any]  # Any: the shape is GitHub's own, and checked by its schema


def unit(job: Job, machine: JobMachine) -> str:
    """The workflow. Raises UsageError if a runner could not see the list or the catalog."""
    root = _repository(machine)
    models, catalog = _inside(job.models, root, "the list"), job.catalog
    for model in read_models([str(job.models)], job.models.parent).models:
        if model.folder is not None:
            raise UsageError(
                f"{model.origin}: {model.folder} is a folder of this machine; a runner does not see it"
            )
    if job.is_local:
        catalog = _inside(Path(job.catalog), root, "the catalog")
    shown = f"Centroid Survey, {job.at:%H:%M} {job.zone or 'UTC'}: {models} into {catalog}"
    name = workflow_name(job, machine)
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
    document = checked_text(workflow, lambda text: without_expressions(one_line(text)))
    head = lines(comments(shown, *_about(job, machine, f"{root.name}/.github/workflows/{name}.yml")))
    return head + str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000))


def _about(job: Job, machine: JobMachine, path: str) -> list[str]:
    omitted = [name for name in left_behind(machine.environment) if name not in _variables(machine)]
    secrets = ", ".join(_secrets(job, machine))
    return [
        f"{path}, on the default branch.",
        f"Secrets come from the repository's settings (Secrets and variables, Actions): {secrets}.",
        "GitHub may start a run late, or drop it; the next night measures what is missing. In a public",
        "repository without activity for 60 days it stops all scheduled workflows until somebody enables",
        "them again (Actions, or `gh workflow enable`).",
        *(_ABOUT_CACHE if job.is_local else ()),
        *([f"Left out, as they name files outside the repository: {', '.join(omitted)}."] if omitted else []),
    ]


def workflow_name(job: Job, machine: JobMachine) -> str:
    """The job's name from paths within the repository, so that it is the same in every clone."""
    root = _repository(machine)
    catalog = _inside(Path(job.catalog), root, "the catalog") if job.is_local else job.catalog
    return replace(job, models=Path(_inside(job.models, root, "the list")), catalog=catalog).name


def install(job: Job, machine: JobMachine) -> list[str]:
    """Write the workflow's file."""
    text = unit(job, machine)
    path = _folder(machine) / f"{workflow_name(job, machine)}.yml"
    write_unit(path, text)
    return [f"wrote {path}", "commit it and push it to the default branch"]


def installed(machine: JobMachine) -> list[str]:
    """The name and title of each workflow that `survey nightly` made."""
    return [
        f"{path.stem}  {path.read_text(encoding='utf-8').partition(chr(10))[0].removeprefix('# ')}"
        for path in sorted(_folder(machine).glob(f"{UNIT_PREFIX}*.yml"))
    ]


def remove(name: str, machine: JobMachine) -> bool:
    """Delete the workflow's file."""
    path = _folder(machine) / f"{name}.yml"
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


def _steps(job: Job, machine: JobMachine, models: str, catalog: str) -> list[WorkflowStep]:
    secrets = {name: Expression(f"${{{{ secrets.{name} }}}}") for name in _secrets(job, machine)}
    workspace = "$GITHUB_WORKSPACE/"
    command = job.command("survey", "MODELS", "CATALOG")
    quoted = [shlex.quote(word) for word in command]
    quoted[command.index("MODELS")] = f'"{workspace}"{shlex.quote(models)}'
    root = f'"{workspace}"' if job.is_local else ""
    quoted[command.index("CATALOG")] = root + shlex.quote(catalog)
    key = workflow_name(job, machine)
    restore, save = _cached(key, catalog) if job.is_local else ([], [])
    extras = "[s3]" if job.catalog.startswith("s3://") else ""
    return [
        {"uses": CHECKOUT, "with": {"persist-credentials": False}},
        {"uses": SETUP_PYTHON, "with": {"python-version": "3.12"}},
        {"run": pip_install(job.package, extras, _repository(machine), machine.folder)},
        *restore,
        # The only step that sees secrets.
        {"run": " ".join(quoted), "env": {**_variables(machine), **secrets}},
        *save,
    ]


def _cached(key: str, catalog: str) -> tuple[list[WorkflowStep], list[WorkflowStep]]:
    """The steps that restore the catalog of the night before and save it for the next one."""
    if set(catalog) & set("*?[]!~#"):
        raise UsageError(
            f"{catalog}: GitHub's cache would take this path for a pattern; name it without *?[]!~#"
        )
    path = {
        "path": catalog,
        "key": Expression(f"{key}-${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}"),
    }
    restore = {"uses": f"actions/cache/restore@{CACHE}", "with": {**path, "restore-keys": f"{key}-"}}
    # always(): also after a night on which some models failed.
    save = {"if": "always()", "uses": f"actions/cache/save@{CACHE}", "with": path}
    return [restore], [save]


def _variables(machine: JobMachine) -> dict[str, str]:
    """The runner's environment; certificates only if they lie in the repository."""
    root = _repository(machine)
    files = {name: machine.environment[name] for name in CERTIFICATES if machine.environment.get(name)}
    inside = {
        name: Expression(
            f"${{{{ github.workspace }}}}/{without_expressions(Path(path).relative_to(root).as_posix())}"
        )
        for name, path in files.items()
        if Path(path).is_relative_to(root)
    }
    return {**carried_away(machine.environment), **inside}


def _secrets(job: Job, machine: JobMachine) -> list[str]:
    keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] if job.catalog.startswith("s3://") else []
    return list(dict.fromkeys([*secret_names(machine.environment), *keys]))


def _repository(machine: JobMachine) -> Path:
    for folder in (machine.folder, *machine.folder.parents):
        if (folder / ".git").exists():
            return folder
    raise UsageError(f"{machine.folder} lies in no git repository; --on github writes into one")


def _folder(machine: JobMachine) -> Path:
    return _repository(machine) / ".github/workflows"


def _inside(path: Path, root: Path, what: str) -> str:
    if not path.is_relative_to(root):
        raise UsageError(f"{what} {path} lies outside the repository {root}, where GitHub does not see it")
    return path.relative_to(root).as_posix()
