"""Real components for the tests: a local Hub, small checkpoints, and the commands run on them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before any test imports these: no cache of the user's is read, no progress bar is drawn.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
for name in ("HF_TOKEN", "HF_ENDPOINT", "RAY_ADDRESS", "HF_HUB_OFFLINE"):
    os.environ.pop(name, None)

# OpenMP's threads wait asleep, not busily: where files run side by side, torch takes a quarter of the CPU time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A GPU's kernels are interpreted on the CPU: Triton reads this when it is first imported, by whomever.
os.environ["TRITON_INTERPRET"] = "1"

from support.commands import Ran
from support.little_models import little

from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub

# The files that take longest, first: one that is begun last leaves the other cores idle. Files that mostly wait
# alternate with busy ones, as more are run at a time than there are cores.
LONGEST = (
    "tests/jobs/executors/test_hosts.py",
    "tests/jobs/executors/test_faults.py",
    "tests/test_docs.py",
    "tests/jobs/executors/test_placing.py",
    "tests/survey/cli/test_working_folder.py",
    "tests/jobs/run/test_stopping.py",
    "tests/survey/formats/test_json_stream.py",
    "tests/jobs/nightly/schedulers/test_cron.py",
    "tests/queries/web/test_serve.py",
    "tests/jobs/executors/test_ray_session.py",
    "tests/catalog/tables/test_inspection.py",
    "tests/jobs/tasks/test_tokenizer.py",
    "tests/catalog/store/test_object_store.py",
    "tests/jobs/executors/test_ray_driver.py",
    "tests/catalog/tables/test_damage.py",
    "tests/jobs/run/test_driver.py",
    "tests/survey/cli/test_cli.py",
    "tests/jobs/planning/test_unreachable.py",
    "tests/survey/cli/test_train.py",
    "tests/survey/hub/test_bad_replies.py",
    "tests/jobs/planning/test_memory.py",
    "tests/jobs/executors/test_progress.py",
    "tests/survey/process/test_home_folder.py",
    "tests/jobs/executors/test_ray_embedded.py",
    "tests/survey/vocabulary/process/test_isolation.py",
    "tests/survey/vocabulary/process/test_server.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hf-homes")


@pytest.fixture(autouse=True)
def _own_home(_homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token and no cache of the person who runs the tests."""
    # Not pytest's mktemp: it lists all folders to number the next, which beside thousands takes 2 ms.
    home = Path(tempfile.mkdtemp(dir=_homes))
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
