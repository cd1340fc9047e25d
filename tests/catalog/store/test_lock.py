"""One run at a time; a dead holder holds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.commands import Ran
from support.s3 import S3, Fault

from catalog.store.compare_and_swap import create_object, peek, replace
from catalog.store.lock import catalog_lock
from catalog.store.object_store import ObjectStore
from catalog.store.open import open_for_writing
from survey.errors import CatalogInUse

HOLD = """
import sys, time
from catalog.store.lock import catalog_lock
from catalog.store.open import open_for_writing
with catalog_lock(open_for_writing(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_names_who_holds_the_catalog(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CatalogInUse, match=f"process {other.pid}"), catalog_lock(store):
            pass
        other.kill()
    with catalog_lock(store):  # killed, it holds nothing
        pass


def test_a_holder_is_named_in_one_line(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path))
    with catalog_lock(store):
        (tmp_path / ".lock").write_text("process 1\nsurvey: all is well\x1b[2J")
        with pytest.raises(CatalogInUse, match=r"process 1\\u000asurvey") as refused, catalog_lock(store):
            pass
    assert str(refused.value).isprintable()


def test_the_lock_is_released_at_the_end(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path))
    for _ in range(2):
        with catalog_lock(store):
            pass


def lock_of(url: str) -> dict[str, object]:
    stored = peek(ObjectStore(url), ".lock")
    assert stored is not None
    return dict(json.loads(stored.content))


def test_a_lock_in_a_store_is_named_refreshed_and_released(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.store.lock.REFRESH_S", 0.05)
    with catalog_lock(open_for_writing(bucket), "run-1") as lock:
        first = lock_of(bucket)
        with pytest.raises(CatalogInUse, match=rf"process {os.getpid()} on .*, run run-1, since 20"), catalog_lock(open_for_writing(bucket)):  # fmt: skip
            pass
        wait_for(lambda: lock_of(bucket)["refreshed_at"] != first["refreshed_at"])
        assert lock.ours
    assert peek(ObjectStore(bucket), ".lock") is None
    with catalog_lock(open_for_writing(bucket)):
        pass


@pytest.mark.parametrize("code", ["lost", "reset", "SlowDown"])
def test_a_lock_whose_answer_was_lost_is_ours(s3: S3, bucket: str, code: str) -> None:
    s3.faults.append(Fault(code, contains=".lock"))
    with catalog_lock(open_for_writing(bucket)) as lock:
        assert lock.ours


def test_a_refresh_whose_answer_was_lost_loses_nothing(
    s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PUT is done; made again, it is refused, because the lock is not what was seen."""
    monkeypatch.setattr("catalog.store.lock.REFRESH_S", 0.05)
    with catalog_lock(open_for_writing(bucket)) as lock:
        lost = Fault("lost", contains=".lock")
        s3.faults.append(lost)
        wait_for(lambda: lost.hits == 1)
        first = lock_of(bucket)["refreshed_at"]
        wait_for(lambda: not lock.ours or lock_of(bucket)["refreshed_at"] != first)
        assert lock.ours
    assert peek(ObjectStore(bucket), ".lock") is None


def test_a_dead_process_of_this_machine_holds_nothing(bucket: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, bucket], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(CatalogInUse, match=f"process {other.pid}"),
            catalog_lock(open_for_writing(bucket)),
        ):
            pass
        other.kill()
    with catalog_lock(open_for_writing(bucket)):
        pass


def test_a_stale_lock_is_taken_over_and_its_holder_notices(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.store.lock.REFRESH_S", 0.3)
    with catalog_lock(open_for_writing(bucket), "old") as old:
        with monkeypatch.context() as later:
            later.setattr("catalog.store.lock.STALE_S", -1.0)
            taken = catalog_lock(open_for_writing(bucket), "new")
            new = taken.__enter__()
        try:
            wait_for(lambda: not old.ours)
            assert new.ours
            assert lock_of(bucket)["run_id"] == "new"
        finally:
            taken.__exit__(None, None, None)


def test_a_file_system_without_exclusive_creation_overwrites_no_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Like the Hub's file system, which treats exclusive creation as writing."""
    from fsspec.implementations.memory import MemoryFileSystem

    write = MemoryFileSystem.pipe_file
    monkeypatch.setattr(
        MemoryFileSystem, "pipe_file", lambda self, path, value, mode="": write(self, path, value)
    )
    monkeypatch.setattr("catalog.store.compare_and_swap.SETTLING_S", 0.0)
    store = ObjectStore("memory://of-its-own/c")
    assert create_object(store, ".lock", b"first")
    assert not create_object(store, ".lock", b"second")
    stored = peek(store, ".lock")
    assert stored is not None
    assert stored.content == b"first"


def test_only_one_of_many_takes_a_stale_lock(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(bucket)
    assert create_object(store, ".lock", b"{}")
    stale = peek(store, ".lock")
    assert stale is not None
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: replace(store, ".lock", b"%d" % number, stale), range(8)))
    assert sum(taken) == 1
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda number: create_object(store, "other", b"%d" % number), range(8))) == 1


def test_a_locked_catalog_in_a_store_is_code_3(
    bucket: str, survey: Callable[..., Ran], checkpoint: Callable[..., Path]
) -> None:
    with catalog_lock(open_for_writing(bucket), "run-1"):
        ran = survey("run", checkpoint(), "--catalog", bucket, "--executor", "serial")
    assert ran.code == 3
    assert f"process {os.getpid()}" in ran.err
    assert "run run-1" in ran.err


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
