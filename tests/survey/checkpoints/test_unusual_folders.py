"""Folders of a shape that no checkpoint has: the head is found, or named as broken, in bounded time and memory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints import SINGLE, header, single, stored, with_length, write

from survey.api import open_matrix
from survey.checkpoints.checkpoint import INDEX_CAP_BYTES
from survey.errors import SurveyError

TABLE = {"model.embed_tokens.weight": stored(6, 4), "lm_head.weight": stored(6, 4, seed=1)}
TEBIBYTE = 1 << 40


class Payload:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._path),)


def _long_names(folder: Path) -> None:
    for number in range(300):
        (folder / f"{number:03d}{'x' * 240}.safetensors").touch()


def _deep(folder: Path) -> None:
    before = os.getcwd()
    os.chdir(folder)  # the path of the deepest has 10,000 characters, more than a call takes
    try:
        for _ in range(40):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
        Path(SINGLE).touch()
    finally:
        os.chdir(before)


def _loop(folder: Path) -> None:
    (folder / "again").symlink_to(".")


def _arrays(folder: Path) -> None:
    pickled = np.array([Payload(folder / "ran")], dtype=object)
    for name in ("lm_head.npy", "model.npy"):
        np.save(folder / name, pickled, allow_pickle=True)


def _terabytes(folder: Path) -> None:
    for name in ("optimizer.bin", "weights.bin", "tokenizer.model", "added_tokens.json"):
        (folder / name).touch()
        os.truncate(folder / name, 8 * TEBIBYTE)


def _indexes(folder: Path) -> None:
    for number in range(200):
        for name, size in ((f"{number}.index.json", INDEX_CAP_BYTES), (f"{number}.json", 8 * TEBIBYTE)):
            (folder / f"x.safetensors.index.{name}").touch()
            os.truncate(folder / f"x.safetensors.index.{name}", size)


def _folders_of_an_index(folder: Path) -> None:
    shards = {f"{number}": f"{number}/x.bin" for number in range(400_000)}
    (folder / "other.bin.index.json").write_text(json.dumps({"weight_map": shards}))


def _files_and_indexes(folder: Path) -> None:
    for number in range(2_000):
        (folder / f"{number}.txt").touch()
    shards = {f"{number}": f"{number}/x.bin" for number in range(1_000)}
    for number in range(60):
        (folder / f"{number}.bin.index.json").write_text(json.dumps({"weight_map": shards}))


ODD = {
    "thousands of files beside indexes that name thousands of folders": _files_and_indexes,
    "hundreds of indexes, of terabytes or of zeros": _indexes,
    "an index that names hundreds of thousands of folders": _folders_of_an_index,
    "names of 255 bytes": _long_names,
    "folders that are nested deeper than a path": _deep,
    "a link to the folder itself": _loop,
    "arrays that are pickles": _arrays,
    "sparse files of terabytes": _terabytes,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("add", ODD.values(), ids=ODD)
def test_what_else_lies_in_a_folder_keeps_no_head_from_being_read(
    add: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = write(tmp_path / "model", single(TABLE))
    add(folder)
    started = time.process_time()
    matrix = open_matrix(folder)
    assert time.process_time() - started < 10
    assert matrix.target.spec.shape == (6, 4)
    assert not (folder / "ran").exists()


BYTES = {
    "more rows than there are atoms": header({"lm_head.weight": ("F32", (10**18, 4))}),
    "as many in a number that no integer of 64 bits holds": header({"lm_head.weight": ("F32", (10**30, 4))}),
    "a header of a terabyte": TEBIBYTE.to_bytes(8, "little"),
    "a shape of a million dimensions": with_length(
        b'{"lm_head.weight":{"dtype":"F32","shape":[' + b"1," * 10**6 + b'1],"data_offsets":[0,4]}}'
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("begin", BYTES.values(), ids=BYTES)
def test_a_claim_that_no_file_holds_is_named(begin: bytes, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", single(TABLE) | {SINGLE: begin})
    os.truncate(folder / SINGLE, TEBIBYTE + 1000)
    with pytest.raises(SurveyError) as refused:
        open_matrix(folder)
    assert SINGLE in str(refused.value)
    assert len(str(refused.value)) < 2000


@pytest.mark.parametrize("part", ["../other", "../model/../other", "./../other", "..", ".", "/"])
def test_no_part_of_a_folder_lies_outside_it(part: str, tmp_path: Path) -> None:
    for name in ("model", "other"):
        write(tmp_path / name, single(TABLE))
    with pytest.raises(SurveyError) as refused:
        open_matrix(f"{tmp_path / 'model'}:{part}")
    assert refused.value.reason == "no-safetensors"
