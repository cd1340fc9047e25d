"""No planted link leads a write out of the catalog's folder; and locks on file systems without any."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Ran
from support.deliveries import delivered
from support.s3 import S3

from catalog.files import ROWS
from catalog.store.local import LONG_AGO_S
from catalog.store.lock import LOCK_FILE, catalog_lock
from catalog.store.open import open_for_writing
from catalog.write.commit import commit
from survey.errors import CatalogInUse, CommitError, UsageError

Make = Callable[..., Path]
Survey = Callable[..., Ran]

IN_THE_WAY: dict[str, Callable[[Path, Path], object]] = {
    "a link to a file": lambda lock, victim: lock.symlink_to(victim),
    "a second name of a file": lambda lock, victim: lock.hardlink_to(victim),
    "a link to nothing": lambda lock, victim: lock.symlink_to(victim.with_name("new")),
    "a FIFO": lambda lock, victim: os.mkfifo(lock),
    "a folder": lambda lock, victim: lock.mkdir(),
}


@pytest.mark.parametrize("plant", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_a_lock_that_is_no_file_of_its_own_is_refused(
    tmp_path: Path, survey: Survey, checkpoint: Make, plant: Callable[[Path, Path], object]
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    store = open_for_writing(str(tmp_path / "c"))
    plant(tmp_path / "c" / ".lock", victim)
    with pytest.raises(UsageError, match=r"its lock \S*/\.lock is a "), catalog_lock(store):
        pass
    ran = survey("run", checkpoint(), "--catalog", str(tmp_path / "c"), "--executor", "serial")
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert victim.read_text() == "precious"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("of_folder", "of_lock"), [(0o755, 0o600), (0o775, 0o660), (0o1777, 0o666)])
def test_only_who_may_write_to_a_catalog_can_hold_its_lock(
    tmp_path: Path, of_folder: int, of_lock: int
) -> None:
    """Whoever can open a file can lock it: readers of a catalog could keep runs away."""
    store = open_for_writing(str(tmp_path / "c"))
    (tmp_path / "c").chmod(of_folder)
    before = os.umask(0)
    try:
        with catalog_lock(store):
            assert (tmp_path / "c/.lock").stat().st_mode & 0o777 == of_lock
        (tmp_path / "c/.lock").chmod(0o666)  # as earlier versions made it
        with catalog_lock(store):
            assert (tmp_path / "c/.lock").stat().st_mode & 0o777 == of_lock
    finally:
        os.umask(before)


def test_what_a_killed_run_left_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    left = ("rows/.probe.0.tmp", ".now.0.tmp", "rows/.a.parquet.0.tmp", "tokens/.part-1.parquet.0.tmp")
    kept = ("rows/a.parquet", "rows/.notes.tmp", ".notes.tmp", "attempts/probe.tmp")
    (tmp_path / "c" / "spectra").mkdir()
    results = {
        "spectra/.a@1.parquet.0.tmp": LONG_AGO_S + 60,
        "spectra/.a@2.parquet.0.tmp": 0.0,
    }  # without the lock
    left, kept = (*left, min(results)), (*kept, max(results))
    for name in (*left, *kept):
        (tmp_path / "c" / name).touch()
        os.utime(tmp_path / "c" / name, (time.time() - results.get(name, 0.0),) * 2)
    store.sweep()
    assert [name for name in left if (tmp_path / "c" / name).exists()] == []
    assert [name for name in kept if not (tmp_path / "c" / name).exists()] == []


def test_no_unfinished_file_is_written_through_a_link(
    tmp_path: Path, checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name cannot be predicted; even if it were known, the link is not followed."""
    store = open_for_writing(str(tmp_path / "c"))
    tables = delivered(checkpoint()).tables
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("survey.process.atomic_write.secrets.token_hex", lambda count: "0" * 16)
    commit(store, tables)  # type: ignore[arg-type]
    (row,) = store.files(ROWS)
    beside = Path(row.path).with_name(f".{row.name}.{'0' * 16}.tmp")
    beside.symlink_to(victim)
    with pytest.raises(CommitError, match="File exists"):
        commit(store, tables)  # type: ignore[arg-type]
    assert victim.read_text() == "precious"


def test_a_row_is_put_in_a_link_s_place_and_not_through_it(tmp_path: Path, checkpoint: Make) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    tables = delivered(checkpoint()).tables
    commit(store, tables)  # type: ignore[arg-type]
    victim = tmp_path / "victim"
    victim.write_text("precious")
    row = Path(store.files(ROWS)[0].path)
    row.unlink()
    row.symlink_to(victim)
    commit(store, tables)  # type: ignore[arg-type]
    assert victim.read_text() == "precious"
    assert not row.is_symlink()


def test_a_folder_that_is_a_link_of_one_s_own_is_followed(tmp_path: Path, checkpoint: Make) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "c" / ROWS).symlink_to(tmp_path / "large-disk")
    store = open_for_writing(str(tmp_path / "c"))
    commit(store, delivered(checkpoint()).tables)  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "large-disk").iterdir()] == [
        file.name for file in store.files(ROWS)
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link another's")
def test_a_folder_that_is_a_link_of_somebody_else_s_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "c" / ROWS).symlink_to(tmp_path / "elsewhere")
    os.chown(tmp_path / "c" / ROWS, 65534, 65534, follow_symlinks=False)
    with pytest.raises(UsageError, match="rows is a link that user 65534 made"):
        open_for_writing(str(tmp_path / "c"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_system_that_cannot_sync_folders_has_the_row_all_the_same(
    tmp_path: Path, checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def of_files_alone(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(handle)

    monkeypatch.setattr("os.fsync", of_files_alone)
    store = open_for_writing(str(tmp_path / "c"))
    commit(store, delivered(checkpoint()).tables)  # type: ignore[arg-type]
    assert len(store.files(ROWS)) == 1


def test_a_sync_that_fails_is_a_failure(
    tmp_path: Path, checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", broken)
    store = open_for_writing(str(tmp_path / "c"))
    with pytest.raises(CommitError, match="cannot be written: Input/output error"):
        commit(store, delivered(checkpoint()).tables)  # type: ignore[arg-type]


NO_LOCKS = [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP]


@pytest.fixture(params=NO_LOCKS, ids=errno.errorcode.__getitem__)
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr("catalog.store.compare_and_swap.SETTLING_S", 0.0)


@pytest.mark.usefixtures("without_locks")
def test_without_locks_a_file_keeps_others_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    with catalog_lock(store, "first") as lock:
        assert (
            lock.note == f"the file system of {store} has no locks: {LOCK_FILE} in it keeps other runs away"
        )
        with (
            pytest.raises(CatalogInUse, match=f"process {os.getpid()} on .*, run first"),
            catalog_lock(store),
        ):
            pass
        with monkeypatch.context() as later:
            later.setattr("catalog.store.lock.STALE_S", -1.0)
            with catalog_lock(store, "second") as second:  # the first one's host died
                assert second.ours
    assert not (tmp_path / "c" / LOCK_FILE).exists()
    with catalog_lock(store):
        pass


def test_a_host_that_has_locks_sees_the_file_of_one_that_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_for_writing(str(tmp_path / "c"))

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as other:
        other.setattr("fcntl.flock", refuse)
        lock = catalog_lock(store, "there")
        lock.__enter__()
    with pytest.raises(CatalogInUse, match="run there"), catalog_lock(store):
        pass
    lock.__exit__(None, None, None)
    with catalog_lock(store):
        pass


def test_a_run_without_locks_reports_it_and_succeeds(
    survey: Survey, checkpoint: Make, without_locks: None
) -> None:
    for command in (["run", checkpoint(), "--executor", "serial"], ["compact"]):
        ran = survey(*command, "--catalog", "c")
        assert ran.code == 0
        assert ran.err.count("has no locks") == 1


@pytest.mark.parametrize("code", ["ignored", "NotImplemented"])
def test_a_store_without_conditional_writes_is_reported_and_refuses_a_second_run(
    s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr("catalog.store.compare_and_swap.SETTLING_S", 0.0)
    monkeypatch.setattr(s3, "conditions", code)
    with catalog_lock(open_for_writing(bucket), "first") as lock:
        assert "ignores conditional writes" in lock.note
        s3.requests.clear()
        with pytest.raises(CatalogInUse, match="run first"), catalog_lock(open_for_writing(bucket), "second"):
            pass
        assert s3.puts(".lock") == 0
        assert lock.ours
    with catalog_lock(open_for_writing(bucket), "third"):
        pass


def test_a_store_with_conditional_writes_needs_no_note(s3: S3, bucket: str) -> None:
    with catalog_lock(open_for_writing(bucket)) as lock:
        assert lock.note == ""
        assert s3.puts(".lock") == 2  # the second one is refused: it would be done by one that ignores them


NOTES = {
    "no JSON": b"\x1b]0;title\x07\xff",
    "brackets without an end": b"[" * 100_000,
    "a list": b"[]",
    "a process that cannot be": b'{"run_id": "x", "pid": 99999999999999999999}',
    "a process that is all of them": b'{"run_id": "x", "pid": -1}',
    "a process that is a text": b'{"run_id": "x", "pid": "1"}',
    "a run that is a list": b'{"run_id": ["x"], "pid": 1}',
    "a word that nobody knows": b'{"run_id": "x", "pid": 1, "mine": 1}',
}


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_a_malformed_note_of_a_holder_still_holds_the_catalog(tmp_path: Path, note: bytes) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    (tmp_path / "c" / LOCK_FILE).write_bytes(note)
    with pytest.raises(CatalogInUse, match="an unknown holder"), catalog_lock(store):
        pass
