"""Every command, in a folder of somebody's Python files: none of them runs, and relative paths mean that folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.little_models import little
from support.planted_modules import NAMES, imported, plant

from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub
from survey.cli import cli

pytestmark = pytest.mark.timeout(240)

SCRIPT = Path(sys.executable).with_name("survey")
RUN_S = 120
TRAINING = ["--layers", "1", "--dim", "8", "--heads", "1", "--ff", "8", "--vocabulary", "32", "--dead", "4", "--batch", "2",
            "--context", "8", "--steps", "4", "--record-every", "2"]  # fmt: skip
SWEEP = "layers = 1\ndim = 8\nheads = 1\nff = 8\nvocabulary = 32\ndead = 4\nbatch = 2\ncontext = 8\nsteps = 4\n[grid]\nseed = [1]\n"


@dataclass(frozen=True)
class Folder:
    """A checkpoint of a stranger, with Python beside its weights, and a catalog in it."""

    path: Path
    mark: Path
    hub: LocalHub

    def survey(self, *words: str, typed: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"HF_ENDPOINT": self.hub.endpoint} | settings
        return subprocess.run(
            [SCRIPT, *words],
            cwd=self.path,
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=RUN_S,
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    root = tmp_path_factory.mktemp("stranger")
    model = root / "model"
    write(little("model"), model)
    (model / "models.txt").write_text("org/served\n")
    (model / "sweep.toml").write_text(SWEEP)
    with LocalHub() as hub:
        hub.add_repo("org/served", model)
        stranger = Folder(model, plant(model), hub)
        # Two of the commands, so that each other may be tried alone.
        for step in (
            ["run", ".", "models.txt", "--executor", "serial"],
            ["train", *TRAINING, "-o", "h.safetensors"],
        ):
            ran = stranger.survey(*step)
            assert imported(stranger.mark) == [], ran.stderr
            assert ran.returncode == 0, ran.stdout + ran.stderr
        yield stranger


COMMANDS = {
    "run": ["run", ".", "models.txt", "--resurvey"],
    "plan": ["plan", ".", "models.txt"],
    "compact": ["compact"],
    "demo": ["demo", "--executor", "serial"],  # on Ray it is a run as above
    "discover": ["discover", "--author", "org", "--limit", "2"],
    "nightly": ["nightly", "models.txt", "--at", "02:00", "--on", "cron"],
    "query": ["query", "families"],
    "sql": ["sql", "SELECT repo FROM models"],
    "shell": ["shell"],
    "attach": ["attach", "a.duckdb"],
    "report": ["report", "-o", "r.html"],
    "show": ["show", "org/served"],
    "tokens": ["tokens", "org/served"],
    "lineage": ["lineage", "org/served", "."],
    "status": ["status"],
    "kinematics": ["kinematics", "h.safetensors", "-o", "k.safetensors"],
    "train sweep": ["train", "--sweep", "sweep.toml"],
    "cluster": ["cluster", "."],
    "spectrum": ["spectrum", "."],
}  # fmt: skip


def test_every_command_is_tried() -> None:
    assert {name.split()[0] for name in COMMANDS} | {"serve"} == set(cli.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_nothing_of_the_folder(folder: Folder, name: str) -> None:
    ran = folder.survey(*COMMANDS[name], typed="SELECT repo FROM models;\n")
    assert imported(folder.mark) == [], ran.stderr
    assert ran.returncode == (1 if name == "discover" else 0), ran.stdout + ran.stderr  # the Hub lists none


def test_an_empty_entry_of_pythonpath_is_no_folder_of_the_workers(folder: Folder, tmp_path: Path) -> None:
    """Whoever sets it lets the command's own interpreter read the folder; Ray's processes still do not."""
    alone = Folder(tmp_path / "alone", tmp_path / "imported", folder.hub)
    alone.path.mkdir()
    (alone.path / "models.txt").write_text("org/served\n")
    program = f"import sys\nif sys.orig_argv[-1:] != ['models.txt']:\n    open({str(alone.mark)!r}, 'a').write(str(sys.orig_argv))\n"
    (alone.path / "sitecustomize.py").write_text(program)
    ran = alone.survey("run", "--catalog", "c", "models.txt", PYTHONPATH=":/nowhere:.")
    assert imported(alone.mark) == [], ran.stderr
    assert ran.returncode == 0, ran.stderr


def test_a_served_page_imports_nothing_of_the_folder(folder: Folder) -> None:
    from urllib.request import ProxyHandler, Request, build_opener

    with subprocess.Popen(
        [SCRIPT, "serve", "--port", "0"], cwd=folder.path, stderr=subprocess.PIPE, text=True
    ) as serve:
        assert serve.stderr is not None
        try:
            line = serve.stderr.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert url, line
            for path in ("", "/api/query/families"):
                request = Request(url[0] + path, headers={"X-Requested-With": "survey"})
                with build_opener(ProxyHandler({})).open(request, timeout=60) as page:
                    assert page.status == 200, path
        finally:
            serve.terminate()
            serve.wait(20)
    assert imported(folder.mark) == []


def test_the_planted_modules_run_if_the_folder_is_on_the_path(folder: Folder, tmp_path: Path) -> None:
    mark = plant(tmp_path)
    for name in ("jobs", "xxhash"):
        subprocess.run([sys.executable, "-c", f"import {name}"], cwd=tmp_path, capture_output=True)
    assert {"jobs", "xxhash"} <= set(imported(mark)) <= set(NAMES)
