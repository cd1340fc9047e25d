"""Rows of an older version get the columns of newer measures from their stored tokens; no matrix is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import Ran
from support.little_models import little

from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub

Survey = Callable[..., Ran]
NEW = ("informative_rows", "rows_hash", "row_sketch")
SQL = "SELECT informative_rows, rows_hash, row_sketch, measures, token_norm_mean FROM models JOIN sketches USING (repo, sha, matrix)"


@pytest.fixture
def surveyed(hub: LocalHub, survey: Survey, tmp_path: Path) -> Callable[..., Ran]:
    """`org/m`, surveyed into `c`; runs the survey again."""
    write(little("m"), tmp_path / "m")
    hub.add_repo("org/m", tmp_path / "m")

    def run(*options: str) -> Ran:
        return survey(
            "run", "org/m", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial", *options
        )

    assert run().code == 0
    return run


def stored_row(survey: Survey) -> dict[str, Any]:
    (row,) = json.loads(survey("sql", SQL, "--catalog", "c", "--format", "json").out)
    return dict(row)


def make_old(*, tokens: bool = True) -> None:
    """The catalog as it was before there were sketches."""
    (path,) = Path("c/rows").iterdir()
    table = pq.read_table(path)
    measures = [pair for pair in table["measures"][0].as_py() if pair[0] != "row_sketch"]
    if not tokens:
        measures = [pair for pair in measures if pair[0] != "tokens"]
        next(Path("c/tokens").iterdir()).unlink()
    index = table.schema.get_field_index("measures")
    table = table.set_column(index, "measures", pa.array([measures], table.schema.field("measures").type))
    pq.write_table(table.drop_columns(list(NEW)), path)


@pytest.mark.parametrize("merged", [False, True], ids=["loose", "in a part"])
def test_a_run_fills_old_rows_from_stored_tokens(
    surveyed: Callable[..., Ran], survey: Survey, hub: LocalHub, merged: bool
) -> None:
    expected = stored_row(survey)
    make_old()
    if merged:
        part = Path("c/rows/part-20200101T000000000000-000.parquet")
        next(Path("c/rows").iterdir()).rename(part)
    assert stored_row(survey)["row_sketch"] is None
    ran = surveyed()
    assert ran.code == 0
    assert "1 unchanged brought up to date from the stored tokens" in ran.out
    assert "0 measured, 1 unchanged, 0 failed" in ran.out
    assert stored_row(survey) == expected
    assert "brought up to date" not in surveyed().out


def test_compaction_fills_what_no_list_names_any_more(surveyed: Callable[..., Ran], survey: Survey) -> None:
    expected = stored_row(survey)
    make_old()
    assert "1 rows brought up to date" in survey("compact", "--catalog", "c").out
    assert stored_row(survey) == expected
    survey("compact", "--catalog", "c")  # which removes what was merged
    assert stored_row(survey) == expected


def test_a_row_without_stored_tokens_is_done_as_it_is(surveyed: Callable[..., Ran], survey: Survey) -> None:
    make_old(tokens=False)
    assert "0 measured, 1 unchanged, 0 failed" in surveyed("--no-tokens").out
    assert stored_row(survey)["row_sketch"] is None


def test_a_damaged_per_token_table_leaves_the_row_and_is_named(
    surveyed: Callable[..., Ran], survey: Survey
) -> None:
    make_old()
    (path,) = Path("c/tokens").iterdir()
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)  # its end is whole
    path.write_bytes(content)
    ran = surveyed()
    assert ran.code == 0
    assert f"not brought up to date: {path.resolve()}" in ran.err
