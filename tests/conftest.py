"""Real components for the tests: a local Hub, small checkpoints, and the commands run on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Before any test imports these: no cache of the user's is read, no progress bar is drawn.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
for name in ("HF_TOKEN", "HF_ENDPOINT", "RAY_ADDRESS", "HF_HUB_OFFLINE"):
    os.environ.pop(name, None)

from jobs.demo.checkpoints import Cloud, DemoModel, write
from jobs.demo.hub import LocalHub

LITTLE = Cloud(rows=300, dims=16, centre_l2=0.3, row_norm=1.1, holes=(5, 3, 2), dead_l2=0.4, angle_deg=30)


def little(repo: str, *, tied: bool = True, shards: int = 1, cloud: Cloud = LITTLE) -> DemoModel:
    """A Qwen3 of a few kilobytes with three black holes."""
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": tied}
    if tied:
        return DemoModel(repo, config, "model.embed_tokens.weight", cloud, shards=shards)
    return DemoModel(
        repo, config, "lm_head.weight", cloud, embedding="model.embed_tokens.weight", shards=shards
    )


# The files that take longest, first: one that is begun last leaves the other cores idle. Those on top mostly wait.
LONGEST = (
    "tests/jobs/test_placing.py",
    "tests/jobs/test_faults.py",
    "tests/test_docs.py",
    "tests/jobs/test_hosts.py",
    "tests/jobs/test_run.py",
    "tests/jobs/test_naming.py",
    "tests/catalog/test_foreign.py",
    "tests/test_working_folder.py",
    "tests/catalog/test_remote.py",
    "tests/catalog/test_damage.py",
    "tests/jobs/test_joining.py",
    "tests/jobs/test_cluster.py",
    "tests/jobs/test_stopping.py",
    "tests/jobs/test_embedded.py",
    "tests/jobs/test_progress.py",
    "tests/jobs/nightly/test_cron.py",
    "tests/test_training_commands.py",
    "tests/test_cli.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token and no cache of the person who runs the tests."""
    home = tmp_path_factory.mktemp("hf-home")
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(home / "token"))


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """An empty Hub on loopback."""
    with LocalHub() as served:
        yield served


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a little checkpoint into a new folder and returns it."""

    def make(name: str = "little", **options: object) -> Path:
        folder = tmp_path / "checkpoints" / name
        write(little(name, **options), folder)  # type: ignore[arg-type]
        return folder

    return make


@dataclass(frozen=True)
class Ran:
    """What a command did: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def survey(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ran]:
    """Runs a command in this process, in an empty folder."""
    from survey.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run
