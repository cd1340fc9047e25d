"""The exit codes of every command, as docs/reference/commands.md lists them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from support.commands import Ran

from catalog.store.lock import catalog_lock
from catalog.store.open import open_for_writing
from jobs.demo.hub.local_hub import LocalHub
from survey.cli import cli

Survey = Callable[..., Ran]
PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "commands.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| .+ \|$", PAGE, re.MULTILINE)


def documented(command: str) -> set[int]:
    """0, 1, 2 and 3 as the page gives them to a command."""
    return {int(code) for code, of in ROWS if of == "every command" or f"`{command}`" in of} - {130}


def test_every_code_on_the_page_is_of_a_command_that_exists() -> None:
    named = {name.split()[0] for _, of in ROWS for name in re.findall(r"`([a-z -]+)`", of)}
    assert named <= cli.commands.keys()
    assert {int(code) for code, _ in ROWS} == {0, 1, 2, 3, 130}


NO_MEMORY = [
    MemoryError(),
    pa.ArrowMemoryError("malloc of size 393216 failed"),
    ImportError("librt.so.1: failed to map segment from shared object"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_a_lack_of_memory_is_said_in_a_line(
    survey: Survey, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr("survey.cli.sql.answer", fail)
    ran = survey("sql", "SELECT 1", "--catalog", "c")
    assert ran.code == 2
    assert ran.err.startswith("survey: the memory is used up")
    assert str(error) in ran.err


HERE = ["--catalog", "c"]
SERIAL = [*HERE, "--executor", "serial"]
# Commands on missing, refused and sound inputs; those named `catalog_lock` while another run holds the catalog.
CASES: list[tuple[list[str], int]] = [
    (["run", "good", *SERIAL], 0),
    (["run", "good", "bad", *SERIAL], 1),
    (["run", "good", "bad", *SERIAL, "--dry-run"], 1),
    (["run", "only-bad-lines.txt", *SERIAL], 2),
    (["run", "empty.txt", *SERIAL], 2),
    (["run", "some-bad-lines.txt", *SERIAL], 1),
    (["run", "good", *SERIAL, "--summary", "nowhere/s.json"], 2),
    (["plan", "good", *HERE], 0),
    (["plan", "good", "bad", *HERE], 1),
    (["plan", "only-bad-lines.txt", *HERE], 2),
    (["discover", "--author", "nobody"], 1),
    (["compact", *HERE], 0),
    (["compact", "--catalog", "none"], 2),
    (["nightly", "some-bad-lines.txt", "--at", "02:00", "--on", "cron", *HERE], 0),
    (["nightly", "only-bad-lines.txt", "--at", "02:00", "--on", "cron", *HERE], 2),
    (["query", *HERE], 0),
    (["query", "families", *HERE], 0),
    (["query", "failures", *HERE], 0),
    (["query", "trajectory", "--param", "repo=none", *HERE], 2),
    (["sql", "SELECT 1 WHERE false", *HERE], 0),
    (["sql", "SELECT nope", *HERE], 2),
    (["show", "good", *HERE], 0),
    (["show", "bad", *HERE], 0),  # a card with its failure
    (["show", "none", *HERE], 2),
    (["tokens", "good", *HERE], 0),
    (["tokens", "bad", *HERE], 2),
    (["lineage", "good", "good", *HERE], 0),
    (["lineage", "good", "bad", *HERE], 2),
    (["status", *HERE], 0),
    (["status", "--catalog", "none"], 2),
    (["attach", "a.duckdb", *HERE], 0),
    (["attach", "only-bad-lines.txt", *HERE], 2),
    (["cluster", "bad", *HERE], 2),
    (["spectrum", "bad", *HERE], 2),
    (["kinematics", "none.safetensors", *HERE], 2),
    (["report", "-o", "/dev/full", *HERE], 2),
    (["serve", "--catalog", "none"], 2),
    (["shell", "--catalog", "none"], 2),
    (["train", "--sweep", "none.toml", *HERE], 2),
    (["demo", "--folder", "only-bad-lines.txt"], 2),
]
NOT_HELD_UP = {"run": 3, "compact": 3, "plan": 0, "query": 0, "sql": 0, "show": 0, "status": 0, "tokens": 0}


@pytest.fixture
def there(
    survey: Survey, checkpoint: Callable[..., Path], hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models good and bad, lists of lines that name none, and a catalog that knows both models."""
    Path("good").symlink_to(checkpoint("good"))
    bad = checkpoint("bad")
    (bad / "config.json").unlink()
    Path("bad").symlink_to(bad)
    Path("only-bad-lines.txt").write_text("not a model\nhttps://huggingface.co/datasets/a/b\n")
    Path("some-bad-lines.txt").write_text("not a model\n./good\n")
    Path("empty.txt").write_text("# nothing yet\n")
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert survey("run", "good", "bad", *SERIAL).code == 1


def test_a_command_ends_as_the_page_says(survey: Survey, there: None) -> None:
    codes_by_command: dict[str, set[int]] = {}
    for command, code in CASES:
        ran = survey(*command)
        assert ran.code == code, f"{command}: {ran.code}\n{ran.out}{ran.err}"
        assert code != 2 or len(re.findall("^(?:survey|Error): ", ran.err, re.MULTILINE)) == 1, (
            f"{command}: {ran.err}"
        )
        codes_by_command.setdefault(command[0], set()).add(code)
    plain = {tuple(command[:1]): command for command, code in CASES if code == 0}
    with catalog_lock(open_for_writing("c")):
        for name, code in NOT_HELD_UP.items():
            ran = survey(*plain[(name,)])
            assert ran.code == code, f"{name} while another run holds the catalog: {ran.code} {ran.err}"
            codes_by_command.setdefault(name, set()).add(code)
    assert codes_by_command.keys() == cli.commands.keys()
    # 1 of the demo and of a sweep, which take longer, have tests of their own.
    assert {name: codes for name, codes in codes_by_command.items() if not codes <= documented(name)} == {}
    untried = {name: documented(name) - codes_by_command[name] - {0, 2} for name in cli.commands}
    assert {name for name, codes in untried.items() if codes} <= {"demo", "train"}


@pytest.mark.parametrize("name", cli.commands)
def test_wrong_arguments_are_code_2_of_every_command(survey: Survey, name: str) -> None:
    ran = survey(name, "--no-such-option", *(["x"] if name == "sql" else []))
    assert (ran.code, ran.out) == (2, "")
    assert documented(name) >= {0, 2}
