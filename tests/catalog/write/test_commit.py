"""What is committed is whole, once, under a name that says what it is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.deliveries import delivered

from catalog.files import file_key
from catalog.read.reader import Reader
from catalog.store.open import open_for_reading, open_for_writing
from catalog.write.commit import commit
from survey.errors import CommitError, UsageError
from survey.records.settings import Settings

Make = Callable[..., Path]


def test_a_commit_leaves_one_row_file_and_one_tokens_file(tmp_path: Path, checkpoint: Make) -> None:
    store = open_for_writing(str(tmp_path / "catalog"))
    commit(store, delivered(checkpoint()).tables)
    (row,), (tokens,) = store.files("rows"), store.files("tokens")
    assert row.name == tokens.name
    assert pq.read_metadata(row.path).num_rows == 1
    assert pq.read_metadata(tokens.path).num_rows == 300


def test_committing_twice_gives_the_same_names_and_one_row(tmp_path: Path, checkpoint: Make) -> None:
    store = open_for_writing(str(tmp_path / "catalog"))
    folder = checkpoint()
    for _ in range(2):
        commit(store, delivered(folder).tables)
    assert len(store.files("rows")) == len(store.files("tokens")) == 1
    with Reader(store) as reader:
        assert reader.ask("SELECT count(*) FROM models").rows == [(1,)]


def test_nothing_half_written_is_left_or_seen(tmp_path: Path, checkpoint: Make) -> None:
    store = open_for_writing(str(tmp_path / "catalog"))
    tables = delivered(checkpoint()).tables
    root = tmp_path / "catalog"
    (root / "rows").rmdir()
    (root / "rows").write_text("a file where a folder was")
    with pytest.raises(CommitError, match="rows") as refused:
        commit(store, tables)
    assert refused.value.reason == "commit-failed"
    assert list(root.rglob("*.tmp")) == []


def test_tokens_without_their_row_are_not_shown(tmp_path: Path, checkpoint: Make) -> None:
    """A crash between the two files leaves an orphan: the row alone proves completion."""
    store = open_for_writing(str(tmp_path / "catalog"))
    commit(store, delivered(checkpoint()).tables)
    store.remove(store.files("rows"))
    with Reader(store) as reader:
        assert reader.ask("SELECT count(*) FROM tokens").rows == [(0,)]


def test_a_run_without_tokens_leaves_none(tmp_path: Path, checkpoint: Make) -> None:
    store = open_for_writing(str(tmp_path / "catalog"))
    commit(store, delivered(checkpoint(), Settings(device="cpu", tokens=False)).tables)
    assert store.files("tokens") == []
    with Reader(store) as reader:
        assert "tokens" not in reader.ask("SELECT measures FROM models").rows[0][0]


KEYS = [
    ("org/name", "0" * 40, "output", "org--name@00000000000000.output."),
    ("/models/a b/ü", "local-abc", "input", "models--a--b--"),
    ("x" * 300, "0" * 40, "output", "x" * 80 + "@"),
]


@pytest.mark.parametrize(("repo", "sha", "matrix", "start"), KEYS, ids=["Hub id", "folder", "long"])
def test_a_key_reads_well_and_fits_a_file_system(repo: str, sha: str, matrix: str, start: str) -> None:
    key = file_key(repo, sha, matrix)
    assert key.startswith(start)
    assert len(key) < 150
    assert "/" not in key
    assert key.isascii()


def test_keys_differ_if_only_case_or_a_cut_character_differs() -> None:
    keys = {file_key(repo, "0" * 40, "output") for repo in ("Org/a", "org/a", "org/a!", "org/a?", "org--a")}
    assert len({key.lower() for key in keys}) == 5


def test_a_folder_with_foreign_files_is_no_catalog(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for opened in (open_for_reading, open_for_writing):
        with pytest.raises(UsageError, match=r"not a catalog: it holds notes\.txt"):
            opened(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_missing_catalog_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="survey run"):
        open_for_reading(str(tmp_path / "none"))


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        open_for_writing(str(tmp_path / "file" / "catalog"))


def test_a_folder_that_may_not_be_written_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        with as_a_person(), pytest.raises(UsageError, match="cannot be written: Permission denied"):
            open_for_writing(f"{folder}/catalog")


@contextmanager
def as_a_person() -> Iterator[None]:
    """Root may write everywhere: act as nobody meanwhile."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
