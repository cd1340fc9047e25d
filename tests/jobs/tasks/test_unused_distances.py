"""`--reference-tokens`: distances to known unused tokens, only if a run requests them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import tokenizers as made
from support.commands import Ran
from support.little_models import little

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import Cloud, write
from jobs.demo.hub.local_hub import Fault, LocalHub, Status

Survey = Callable[..., Ran]
FLOATS = Cloud(rows=300, dims=16, centre_l2=0.3, row_norm=1.1, seed=3)
NAMED = [made.special(11 + number, f"<unused{number}>") for number in range(6)]


def ask(sql: str) -> list[tuple[object, ...]]:
    with Reader(open_for_reading("c")) as reader:
        return reader.ask(sql).rows


@pytest.fixture
def hub_with_model(hub: LocalHub, tmp_path: Path) -> LocalHub:
    write(little("org/m", cloud=FLOATS), tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").write_bytes(made.byte_level(added_tokens=NAMED))
    hub.add_repo("org/m", tmp_path / "m")
    return hub


def run(survey: Survey, hub: LocalHub, *more: str) -> Ran:
    return survey("run", "org/m", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial", *more)


def matrix_reads(hub: LocalHub) -> int:
    return len(hub.requests("cdn", "safetensors"))


def test_only_a_run_that_asks_reads_again(hub_with_model: LocalHub, survey: Survey, tmp_path: Path) -> None:
    hub = hub_with_model
    assert run(survey, hub).code == 0
    once = matrix_reads(hub)
    assert ask("SELECT reference_rows FROM models") == [(None,)]
    assert ask("SELECT count(unused_cosine), count(unused_l2) FROM tokens") == [(0, 0)]
    ran = run(survey, hub, "--reference-tokens", "own")
    assert (ran.code, ran.err) == (0, "")
    assert "1 measured" in ran.out
    # Six rows of reserved names, and all without a token.
    assert ask("SELECT reference_rows FROM models") == [(289,)]
    distances = ask("SELECT unused_l2, unused_cosine FROM tokens ORDER BY token_id")
    rows = load_file_rows(tmp_path / "m")
    mean = rows[11:].mean(axis=0)
    assert np.allclose([row[0] for row in distances], np.linalg.norm(rows - mean, axis=1), rtol=1e-6)
    assert all(row[1] is not None and 0 <= float(str(row[1])) <= 2 for row in distances)
    # It is there now, for a run that asks and for one that does not.
    hub.clear_log()
    assert "1 unchanged" in run(survey, hub, "--reference-tokens", "own").out
    assert "1 unchanged" in run(survey, hub).out
    assert matrix_reads(hub) == 0
    assert once > 0


def load_file_rows(folder: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    from survey import open_matrix
    from survey.numerics.decoding import widen
    from survey.numerics.dtypes import FLOATS as FORMATS

    with open_matrix(folder) as matrix:
        return widen(b"".join(map(bytes, matrix.blocks())), FORMATS[matrix.dtype], matrix.shape[1])


def test_a_list_may_name_them(hub_with_model: LocalHub, survey: Survey) -> None:
    Path("unused.txt").write_text("# ours\n5\n<unused1>\nnobody\n")
    assert run(survey, hub_with_model, "--reference-tokens", "unused.txt").code == 0
    assert ask("SELECT reference_rows FROM models") == [(2,)]


def test_without_known_unused_tokens_there_is_no_distance(
    hub: LocalHub, survey: Survey, tmp_path: Path
) -> None:
    write(little("org/m", cloud=FLOATS), tmp_path / "m")
    hub.add_repo("org/m", tmp_path / "m")
    assert run(survey, hub, "--reference-tokens", "own").code == 0
    assert ask("SELECT reference_rows FROM models") == [(0,)]
    assert ask("SELECT count(unused_l2) FROM tokens") == [(0,)]


def test_a_list_that_names_nothing_is_refused(survey: Survey) -> None:
    Path("empty.txt").write_text("# nothing\n")
    for given, said in (("empty.txt", "names no token"), ("missing.txt", "write `own` or name a file")):
        ran = survey("run", "org/m", "--catalog", "c", "--reference-tokens", given)
        assert ran.code == 2
        assert said in ran.err


def test_distances_without_a_table_for_them_are_refused(survey: Survey) -> None:
    ran = survey("run", "org/m", "--catalog", "c", "--reference-tokens", "own", "--no-tokens")
    assert ran.code == 2
    assert "leave out --no-tokens" in ran.err


def test_names_that_could_not_be_read_are_read_again(hub_with_model: LocalHub, survey: Survey) -> None:
    hub = hub_with_model
    hub.faults.append(Fault(Status(403), path_contains="tokenizer.json", times=100))
    assert run(survey, hub, "--reference-tokens", "own").code == 0
    assert ask("SELECT reference_rows, measures['unused_distances'] FROM models") == [(None, None)]
    hub.faults.clear()
    assert run(survey, hub, "--reference-tokens", "own").code == 0
    assert ask("SELECT reference_rows, measures['unused_distances'] FROM models") == [(289, 2)]
