"""A tokenizer is named once a run and once a catalog, whoever names it and however that ends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import tokenizers as made
from support.tokenizer_requests import of

from catalog.store.open import open_for_writing
from jobs.tasks.tokenizer_tables import RunTables
from survey.records.settings import TokenizerTablesPlace
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.process.isolation import TokenizerFailed
from survey.vocabulary.reachability import token_table
from survey.vocabulary.table import packed, packed_problem, unpacked

KEY = "5" * 64
SIZE = made.BYTE_LEVEL_SIZE


@dataclass
class Namer:
    """Names a tokenizer of 13 tokens, and counts how often it had to."""

    rows: int = SIZE
    takes_s: float = 0.0
    fails: TokenizerFailed | None = None
    problem: str | None = None
    times: list[float] = field(default_factory=list)

    def __call__(self, left_s: float) -> bytes:
        self.times.append(left_s)
        time.sleep(self.takes_s)
        if self.fails is not None:
            raise self.fails
        if self.problem is not None:
            return packed_problem(self.problem)
        return packed(token_table(parse_vocabulary(of(tokenizer__json=made.byte_level())), self.rows))


Run = Callable[..., RunTables]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A new run on one catalog."""

    def new(*, renew: bool = False, here: bool = True) -> RunTables:
        catalog = str(tmp_path / "c")
        open_for_writing(catalog)
        locks = tmp_path / f"locks{len(list(tmp_path.iterdir()))}"
        if here:
            locks.mkdir()
        return RunTables(TokenizerTablesPlace(catalog, locks, renew))

    return new


def ask(tables: RunTables, namer: Namer, rows: int = SIZE, left_s: float = 30.0) -> bytes:
    return tables.answer(KEY, rows, namer, left_s)


def test_all_models_of_a_run_and_of_later_runs_share_one_naming(run: Run) -> None:
    namer, first = Namer(), run()
    answers = [ask(first, namer), ask(first, namer, rows=SIZE + 100), ask(run(), namer)]
    assert len(namer.times) == 1
    assert len(set(answers)) == 1
    table = unpacked(answers[0], SIZE)
    assert not isinstance(table, str)
    assert table.texts == made.BYTE_LEVEL_TEXTS


def test_of_models_that_need_it_at_once_one_names_it_and_the_others_wait(run: Run) -> None:
    namer, tables = Namer(takes_s=0.3), run()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(tables, namer), range(4)))
    assert len(namer.times) == 1
    assert len(set(answers)) == 1


def test_a_reason_that_lasts_is_shared(run: Run) -> None:
    namer = Namer(problem="takes more than 576 MB")
    answers = [ask(run(), namer), ask(run(), namer, rows=SIZE + 1)]
    assert answers == [packed_problem("takes more than 576 MB")] * 2
    assert len(namer.times) == 1


def test_a_reason_of_the_moment_is_not_shared(run: Run) -> None:
    namer, tables = Namer(fails=TokenizerFailed("killed", lasting=False)), run()
    for _ in range(2):
        with pytest.raises(TokenizerFailed, match="killed"):
            ask(tables, namer)
    namer.fails = None
    ask(tables, namer)
    assert len(namer.times) == 3


def test_resurvey_names_anew_once(run: Run) -> None:
    namer = Namer(problem="of an older library")
    ask(run(), namer)
    namer.problem = None
    again = run(renew=True)
    answers = {ask(again, namer), ask(again, namer), ask(run(), namer)}
    assert len(namer.times) == 2
    assert answers == {Namer()(0.0)}


def test_a_matrix_of_fewer_rows_than_tokens_has_a_table_of_its_own(run: Run) -> None:
    whole, cut = Namer(), Namer(rows=5)
    for tables in (run(), run()):
        assert ask(tables, whole) == Namer()(0.0)
        assert ask(tables, cut, rows=5) == Namer(rows=5)(0.0)
        assert ask(tables, whole) == Namer()(0.0)
    assert (len(whole.times), len(cut.times)) == (1, 1)


SPOILED = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "another bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "another file": lambda content: b"PAR1",
    "longer than any table": lambda content: content + bytes(70 << 20),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_table_is_named_anew(run: Run, tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    namer = Namer()
    ask(run(), namer)
    (file,) = (tmp_path / "c" / "tokenizer_tables").iterdir()
    content = file.read_bytes()
    file.write_bytes(spoil(content))
    assert ask(run(), namer) == Namer()(0.0)
    assert len(namer.times) == 2
    assert file.read_bytes() == content


def test_what_cannot_be_kept_is_named_all_the_same(run: Run, tmp_path: Path) -> None:
    tables, namer = run(), Namer()
    (tmp_path / "c" / "tokenizer_tables").write_text("in its place")
    assert ask(tables, namer) == ask(tables, namer) == Namer()(0.0)


HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


def test_who_waits_for_a_namer_that_is_killed_names_it(run: Run) -> None:
    tables, namer = run(), Namer()
    lock = tables._place.locks / KEY
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(TokenizerFailed, match="longer than there is time") as failed:
            ask(tables, namer, left_s=0.1)
        assert (failed.value.lasting, namer.times) == (False, [])
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, tables, namer)
            holder.kill()
            assert waiting.result(timeout=20) == Namer()(0.0)
    assert namer.times[0] < 30.0  # what it waited is gone


def test_another_machine_leaves_a_folder_of_the_same_name_alone(run: Run, tmp_path: Path) -> None:
    namer = Namer()
    ask(run(here=False), namer)
    assert not (tmp_path / "c" / "tokenizer_tables").exists()
