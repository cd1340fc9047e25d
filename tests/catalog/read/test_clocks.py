"""Clocks of drivers and workers may be wrong: a later result still counts as the later one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.commands import Ran
from support.little_models import LITTLE, little

from catalog.files import is_part
from catalog.read.reader import Reader
from catalog.store.lock import Lock
from catalog.store.open import CatalogStore, open_for_reading, open_for_writing
from catalog.write.compact import compact
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub
from jobs.run import clock
from jobs.run.clock import RunClock

Survey = Callable[..., Ran]

NOW = datetime(2026, 11, 27, 12)
RIGHT, DAY, YEAR = timedelta(), timedelta(days=1), timedelta(days=365)
# How far the clock of each driver is off, one run after another.
CLOCKS = {
    "right": [RIGHT, RIGHT, RIGHT],
    "ahead once, then right": [YEAR, RIGHT, RIGHT],
    "ahead twice, then right": [DAY, YEAR, RIGHT],
    "right, ahead, right": [RIGHT, YEAR, RIGHT],
    "behind": [RIGHT, -YEAR, -YEAR - DAY],
}
# Compactions after each run: the first leaves what it merges, the second removes that.
CASES = {name: (clocks, 0, "local") for name, clocks in CLOCKS.items()}
CASES["merged"] = (CLOCKS["ahead once, then right"], 2, "local")
CASES["merged between two"] = (CLOCKS["ahead twice, then right"], 1, "local")
CASES["in a bucket"] = (CLOCKS["ahead twice, then right"], 1, "s3")


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets the error of the driver's clock, which advances by a second with each reading."""
    seconds, off = itertools.count(), [RIGHT]
    monkeypatch.setattr(clock, "utc_now", lambda: NOW + off[0] + timedelta(seconds=next(seconds)))

    def wrong_by(difference: timedelta) -> None:
        off[0] = difference

    return wrong_by


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Path]]:
    """The files of three commits that differ in their rows."""
    commits = []
    for seed in range(3):
        folder = tmp_path_factory.mktemp("commit") / "m"
        cloud = type(LITTLE)(
            **{name: getattr(LITTLE, name) for name in LITTLE.__slots__} | {"seed": seed + 1}
        )
        write(little("m", cloud=cloud), folder)
        commits.append({path.name: path for path in folder.iterdir()})
    return commits


CURRENT = "SELECT sha, (SELECT sha FROM model_at('org/m@main', 'output')) FROM models"
RUNS = """
    SELECT sha, row_number() OVER (ORDER BY run_id), row_number() OVER (ORDER BY finished_at)
    FROM models_history JOIN attempts USING (run_id, repo, sha, matrix) ORDER BY run_id
"""


def answer_of(store: CatalogStore, sql: str) -> list[tuple[object, ...]]:
    with Reader(store) as reader:
        return reader.ask(sql).rows


@pytest.fixture
def uri(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("bucket")) if request.param == "s3" else "c"


@pytest.mark.parametrize(("clocks", "merges", "uri"), CASES.values(), ids=CASES, indirect=["uri"])
def test_what_a_driver_did_last_counts_last(
    uri: str,
    hub: LocalHub,
    survey: Survey,
    contents: list[dict[str, Path]],
    ticking: Callable[[timedelta], None],
    clocks: Sequence[timedelta],
    merges: int,
) -> None:
    hub.add_repo("org/m", contents[0])
    store, shas = open_for_writing(uri), list[str]()
    for files, off in zip(contents, clocks, strict=True):
        if shas:
            hub.commit("org/m", files)
        shas.append(hub.repos["org/m"].branches["main"])
        ticking(off)
        ran = survey("run", "org/m", "--catalog", uri, "--endpoint", hub.endpoint, "--executor", "serial")
        assert ran.code == 0, ran.err
        if len(shas) > 1:
            assert f"changed: org/m ({shas[-2][:10]} → {shas[-1][:10]})" in ran.out
        for _ in range(merges + 1):
            assert answer_of(store, CURRENT) == [(shas[-1], shas[-1])]
            if merges:
                compact(store, Lock())
    # Each row names the run that measured it.
    assert answer_of(store, RUNS) == [(sha, number, number) for number, sha in enumerate(shas, 1)]


def test_a_failure_that_comes_after_a_success_of_the_future_is_shown(
    hub: LocalHub,
    survey: Survey,
    contents: list[dict[str, Path]],
    ticking: Callable[[timedelta], None],
) -> None:
    hub.add_repo("org/m", contents[0])
    command = ["run", "org/m", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial"]
    ticking(YEAR)
    assert survey(*command).code == 0
    hub.commit("org/m", {"README.md": b"hello"})
    ticking(RIGHT)
    for _ in range(2):
        assert survey(*command).code == 1
        failing = survey("query", "failures", "--catalog", "c", "--format", "csv").out
        assert ",org/m,main,output," in failing
    hub.commit("org/m", contents[1])
    assert survey(*command).code == 0
    assert ",org/m," not in survey("query", "failures", "--catalog", "c", "--format", "csv").out


def test_a_name_that_was_put_back_means_where_it_led_last(
    hub: LocalHub, survey: Survey, contents: list[dict[str, Path]], tmp_path: Path
) -> None:
    """A worker's clock says what was measured last, which does not count."""
    hub.add_repo("org/m", contents[0])
    first = hub.repos["org/m"].branches["main"]
    hub.repos["org/m"].branches["v"] = first
    command = ["run", "org/m@v", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial"]
    assert survey(*command).code == 0
    hub.commit("org/m", contents[1], branch="v")
    assert survey(*command).code == 0
    hub.repos["org/m"].branches["v"] = first
    assert survey(*command).code == 0
    store = open_for_reading("c")
    for name, sha in (("org/m@v", first), ("org/m", first), (f"org/m@{first[:9]}", first)):
        assert answer_of(store, f"SELECT sha FROM model_at('{name}', 'output')") == [(sha,)]


AFTER = {
    "nothing known": (datetime.min, NOW),
    "all of it earlier": (NOW - DAY, NOW),
    "a year ahead": (NOW + YEAR, NOW + YEAR + timedelta(microseconds=1)),
    "at this very moment": (NOW, NOW + timedelta(microseconds=1)),
}


@pytest.mark.parametrize("name", AFTER)
def test_times_grow_from_what_is_known(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "utc_now", lambda: NOW)
    known, first = AFTER[name]
    times = RunClock(known)
    assert [times.now(), times.now()] == [first, first + timedelta(microseconds=1)]


NAMES = {
    "after all": ("20261127T120000-000000", NOW - DAY, "20261127T120000-000000"),
    "before one": ("20261127T120000-000000", NOW + DAY, "20261128T120000-000001"),
    "somebody's own": ("mine", NOW + DAY, "mine"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_named_after_those_before_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "utc_now", lambda: NOW)
    proposed, known, named = NAMES[name]
    assert RunClock(known).run_id(proposed) == named


@pytest.mark.parametrize("stamp", ["9999-12-31 23:59:59.999999", "infinity", "-infinity", "290000-01-01"])
def test_a_time_that_nothing_can_be_after_holds_up_no_run(
    hub: LocalHub, survey: Survey, contents: list[dict[str, Path]], stamp: str
) -> None:
    import duckdb

    hub.add_repo("org/m", contents[0])
    command = ["run", "org/m", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial"]
    assert survey(*command).code == 0
    (file,) = open_for_reading("c").files("attempts")
    assert not is_part(file)
    duckdb.sql(
        f"COPY (SELECT * REPLACE (TIMESTAMP '{stamp}' AS finished_at) FROM '{file.path}') TO '{file.path}'"
    )
    ran = survey(*command)
    assert (ran.code, "unchanged: org/m" in ran.out) == (0, True), ran.err
