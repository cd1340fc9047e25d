"""Stored rows are brought up to date from their tokens, in a folder and in an object store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.deliveries import delivered

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading, open_for_writing
from catalog.write.backfill import fill
from catalog.write.commit import commit
from catalog.write.stored_matrix import read_stored
from survey.records.measured_columns import Tokens

Make = Callable[..., Path]
SQL = "SELECT repo, sha, matrix, informative_rows, measures['counted'], measured_at FROM models"


def counted(tokens: Tokens) -> dict[str, int]:
    return {"informative_rows": len(tokens.norm) + int((tokens.black_hole > 0).sum())}


def test_a_row_gets_new_columns_from_its_tokens(uri: str, checkpoint: Make) -> None:
    commit(open_for_writing(uri), delivered(checkpoint()).tables)
    with Reader(open_for_reading(uri)) as reader:
        ((*key, before, version, measured_at),) = reader.ask(SQL).rows
    assert version is None
    # Another process cannot open a file that it has not listed.
    done = fill(
        open_for_reading(uri), [(key[0], key[1], key[2]), ("no", "such", "row")], counted, {"counted": 3}
    )
    assert (done.rows, done.problems) == (1, [])
    with Reader(open_for_reading(uri)) as reader:
        ((*_, after, version, filled_at),) = reader.ask(SQL).rows
    assert (after, version) == (310, 3) != (before, version)
    assert filled_at > measured_at


def test_what_is_stored_comes_back_with_its_tokens(uri: str, checkpoint: Make) -> None:
    tables = delivered(checkpoint()).tables
    assert tables is not None
    commit(open_for_writing(uri), tables)
    key = tuple(tables.row[name][0].as_py() for name in ("repo", "sha", "matrix"))
    stored = read_stored(open_for_reading(uri), key)
    assert stored.tokens is not None
    assert stored.tokens.row_hash.tolist() == tables.tokens["row_hash"].to_pylist()
    assert [len(rows) for rows in stored.black_holes] == [5, 3, 2]
    assert stored.vocab_rows == 300


@pytest.mark.parametrize("end", [True, False], ids=["cut short", "damaged inside"])
def test_a_table_that_cannot_be_read_leaves_the_row_as_it_is(
    tmp_path: Path, checkpoint: Make, end: bool
) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    commit(store, delivered(checkpoint()).tables)
    with Reader(store) as reader:
        ((*key, before, _, _),) = reader.ask(SQL).rows
    (file,) = store.files("tokens")
    content = Path(file.path).read_bytes()
    Path(file.path).write_bytes(
        content[:-9] if end else content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :]
    )
    done = fill(store, [(key[0], key[1], key[2])], counted, {"counted": 3})
    assert done.rows == 0
    assert [str(file) in problem for problem in done.problems] == ([] if end else [True])
    with Reader(store) as reader:
        assert reader.ask(SQL).rows[0][3] == before
