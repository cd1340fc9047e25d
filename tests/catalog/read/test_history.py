"""A catalog over time: which commit `models` shows, what `models_history` knows, and what a run says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.commands import Ran
from support.little_models import LITTLE, little

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub

Survey = Callable[..., Ran]


class Repo:
    """`org/m` on a Hub: each commit has other rows; surveyed into the catalog `c`."""

    def __init__(self, hub: LocalHub, survey: Survey, folder: Path) -> None:
        self.hub, self._survey, self._folder = hub, survey, folder
        self._seed = 0
        hub.add_repo("org/m", self.files())

    def files(self) -> dict[str, Path]:
        self._seed += 1
        cloud = type(LITTLE)(
            **{name: getattr(LITTLE, name) for name in LITTLE.__slots__} | {"seed": self._seed}
        )
        write(little("m", cloud=cloud), self._folder / str(self._seed))
        return {path.name: path for path in (self._folder / str(self._seed)).iterdir()}

    def sha(self, branch: str = "main") -> str:
        return self.hub.repos["org/m"].branches[branch]

    def commit(self, branch: str = "main") -> str:
        self.hub.commit("org/m", self.files(), branch=branch)
        return self.sha(branch)

    def run(self, *names: str, code: int = 0) -> Ran:
        ran = self._survey("run", *names, "--catalog", "c", "--endpoint", self.hub.endpoint,
                           "--executor", "serial", "--summary", "out.json")  # fmt: skip
        assert ran.code == code, ran.out
        return ran


@pytest.fixture
def repo(hub: LocalHub, survey: Survey, tmp_path: Path) -> Repo:
    return Repo(hub, survey, tmp_path / "served")


def rows_of(sql: str) -> list[tuple[Any, ...]]:
    with Reader(open_for_reading("c")) as reader:
        return reader.ask(sql).rows


def current() -> list[str]:
    return [sha for (sha,) in rows_of("SELECT sha FROM models ORDER BY sha")]


def revisions() -> dict[str, list[str]]:
    return dict(rows_of("SELECT sha, revisions FROM models_history"))


def changes() -> dict[str, list[dict[str, Any]]]:
    changes_listed: dict[str, list[dict[str, Any]]] = json.loads(Path("out.json").read_text())["changes"]
    return changes_listed


def test_models_shows_the_commit_that_main_led_to_last(repo: Repo) -> None:
    first = repo.sha()
    repo.run("org/m")
    second = repo.commit()
    repo.run("org/m")
    assert current() == [second]
    repo.hub.repos["org/m"].branches["old"] = first
    repo.run("org/m@old")  # asked for later, but not by default
    assert current() == [second]
    assert revisions() == {first: ["main", "old"], second: ["main"]}
    repo.hub.repos["org/m"].branches["main"] = first  # put back: nothing is measured anew
    repo.run("org/m")
    assert current() == [first]


def test_if_main_was_never_requested_the_last_plain_revision_is_shown(repo: Repo) -> None:
    one = repo.commit("v1")
    repo.run("org/m@v1")
    assert current() == [one]
    two = repo.commit("v2")
    repo.run("org/m@v2")
    assert current() == [two]


def test_a_step_of_a_pattern_is_history_only(repo: Repo, survey: Survey) -> None:
    one, two = repo.commit("step1"), repo.commit("step2")
    repo.run("org/m@step*")
    assert current() == []
    assert revisions() == {one: ["step1"], two: ["step2"]}
    assert rows_of("SELECT DISTINCT pattern FROM attempts") == [("step*",)]
    repo.run("org/m@step*")  # now unchanged
    assert current() == []
    for name in ("org/m", "org/m@step1", f"org/m@{two[:8]}"):
        assert "vocab_rows" in survey("show", name, "--catalog", "c").out
    command = ["query", "compare", "--param=a=org/m@step1", "--param=b=org/m@step2", "--catalog", "c"]
    assert survey(*command).code == 0
    repo.run("org/m")
    assert current() == [repo.sha()]
    repo.run("org/m@step1")  # the same commit, asked for by its own name
    assert current() == [repo.sha()]


def test_a_tag_on_a_commit_that_main_led_to_takes_nothing_away(repo: Repo) -> None:
    """One commit by two names in one run: by a pattern, and by default."""
    repo.hub.tag("org/m", "step1", repo.sha())
    repo.run("org/m@step*", "org/m")
    assert current() == [repo.sha()]
    assert revisions() == {repo.sha(): ["main", "step1"]}


def test_rows_without_an_attempt_are_shown(repo: Repo) -> None:
    first = repo.sha()
    repo.run("org/m")
    second = repo.commit()
    repo.run("org/m")
    shutil.rmtree("c/attempts")
    assert current() == sorted([first, second])
    assert revisions() == {first: ["main"], second: ["main"]}


def test_show_without_a_revision_is_the_current_commit(repo: Repo, survey: Survey) -> None:
    first = repo.sha()
    repo.run("org/m")
    second = repo.commit()
    repo.run("org/m")

    def shown(name: str) -> list[str]:
        rows = json.loads(survey("show", name, "--catalog", "c", "--format", "json").out)
        return [row["sha"] for row in rows]

    assert shown("org/m") == [second]
    assert shown(f"org/m@{first[:7]}") == [first]
    assert sorted(shown("org/m@main")) == sorted([first, second])


def test_attempts_of_an_older_version_have_no_pattern(repo: Repo) -> None:
    repo.run("org/m")
    (old,) = Path("c/attempts").iterdir()
    duckdb.sql(f"COPY (SELECT * EXCLUDE (pattern) FROM '{old}') TO '{old}.new' (FORMAT parquet)")
    shutil.move(f"{old}.new", old)
    assert current() == [repo.sha()]
    second = repo.commit()
    repo.run("org/m")
    assert current() == [second]


def test_a_run_says_what_is_new_changed_gone_and_failing(repo: Repo) -> None:
    first = repo.sha()
    repo.hub.add_repo("org/same", repo.files())
    repo.hub.add_repo("org/leaves", repo.files())
    repo.hub.add_repo("org/broken", {"README.md": b"hello"})
    names = ["org/m", "org/same", "org/leaves", "org/broken"]
    out = repo.run(*names, code=1).out
    assert "new: org/m, org/same, org/leaves\n" in out
    assert "failing: org/broken (no-config since " in out
    for kind in ("changed", "unchanged", "gone"):
        assert f"\n{kind}: " not in out
        assert changes()[kind] == []
    (failing,) = changes()["failing"]

    second = repo.commit()
    del repo.hub.repos["org/leaves"]
    out = repo.run(*names, "org/nobody", code=1).out
    assert f"changed: org/m ({first[:10]} → {second[:10]})" in out
    assert "unchanged: org/same\n" in out
    assert "gone: org/leaves (not-found since " in out
    listed = changes()
    assert {kind: [item["repo"] for item in items] for kind, items in listed.items()} == {
        "new": [],
        "changed": ["org/m"],
        "unchanged": ["org/same"],
        "gone": ["org/leaves"],
        "failing": ["org/broken", "org/nobody"],
    }
    assert (listed["changed"][0]["sha_before"], listed["changed"][0]["sha"]) == (first, second)
    assert listed["failing"][0]["since"] == failing["since"]  # the first in a row
    assert listed["failing"][1]["since"] > failing["since"]
    left = listed["gone"][0]["since"]
    repo.run(*names, code=1)
    assert changes()["gone"][0]["since"] == left


def test_a_pattern_brings_a_new_step_and_tells_when_all_are_gone(repo: Repo) -> None:
    repo.commit("step1")
    repo.run("org/m@step*")
    assert [item["revision"] for item in changes()["new"]] == ["step1"]
    repo.commit("step2")
    repo.run("org/m@step*")
    listed = changes()
    assert [item["revision"] for item in listed["changed"]] == ["step2"]
    assert [item["revision"] for item in listed["unchanged"]] == ["step1"]
    for name in ("step1", "step2"):
        del repo.hub.repos["org/m"].branches[name]
    repo.run("org/m@step*", code=1)
    assert [(item["revision"], item["reason"]) for item in changes()["gone"]] == [
        ("step*", "revision-not-found")
    ]
