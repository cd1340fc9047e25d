"""Single results: one file each, in the view of their kind, beside a survey or without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.deliveries import delivered
from support.single_results import kinematics_row

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading, open_for_writing
from catalog.write.commit import commit, commit_result

Make = Callable[..., Path]
ASK = "SELECT source, dead_count, path_length, loss FROM kinematics ORDER BY source"


def test_a_result_is_a_row_of_its_view_in_a_catalog_of_nothing_else(uri: str) -> None:
    store = open_for_writing(uri)
    commit_result(store, "kinematics", ("a/history",), kinematics_row(source="a/history", loss=(8.5, None)))
    with Reader(open_for_reading(uri)) as reader:
        assert reader.ask(ASK).rows == [("a/history", 3, 0.5, [8.5, None])]


def test_of_the_same_key_the_newest_is_shown_and_another_is_added(uri: str) -> None:
    store = open_for_writing(uri)
    row = kinematics_row(source="a")
    later = row.made_at + timedelta(microseconds=1)
    commit_result(store, "kinematics", ("a",), replace(row, dead_count=4, made_at=later))
    commit_result(store, "kinematics", ("a",), row)
    commit_result(
        store, "kinematics", ("A",), replace(row, source="b")
    )  # also on file systems that ignore case
    names = [file.name.lower() for file in store.files("kinematics")]
    assert len(set(names)) == 3  # none is written over: it may be being read, or removed
    with Reader(store) as reader:
        assert [answer[:2] for answer in reader.ask(ASK).rows] == [("a", 4), ("b", 3)]


def test_results_and_models_are_asked_in_one_statement(uri: str, checkpoint: Make) -> None:
    store = open_for_writing(uri)
    commit(store, delivered(checkpoint("one")).tables)
    commit_result(store, "kinematics", ("a",), kinematics_row(source="a"))
    with Reader(store) as reader:
        rows = reader.ask("SELECT count(DISTINCT repo), count(DISTINCT source) FROM models, kinematics").rows
    assert rows == [(1, 1)]


@pytest.mark.parametrize("cut_at", [0, 100, -1])
def test_a_damaged_result_is_named_and_left_out(tmp_path: Path, cut_at: int) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    for name in ("a", "b"):
        commit_result(store, "kinematics", (name,), kinematics_row(source=name, made_at=datetime(2026, 1, 1)))
    damaged = Path(store.files("kinematics")[0].path)
    damaged.write_bytes(damaged.read_bytes()[:cut_at])
    with Reader(store) as reader:
        assert [row[0] for row in reader.ask(ASK).rows] == ["b"]
        assert [file.name for file in reader.damaged] == [damaged.name]
