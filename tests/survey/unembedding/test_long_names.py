"""A tensor's name of a megabyte is refused before it is compared with known names."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest
import torch

from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import BrokenFile
from survey.formats.bounded_json import NAME_CHARS, refuse_long_name
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

LONG = f"model.{'y' * 900_000}.lm_head.weight"  # looking at it took more than ten minutes
CONFIG = {"model_type": "llama", "vocab_size": 4, "hidden_size": 2}
ROWS = bytes(range(32))


def safetensors(name: str) -> dict[str, bytes]:
    header = json.dumps({name: {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, len(ROWS)]}}).encode()
    return {"model.safetensors": struct.pack("<Q", len(header)) + header + ROWS}


def index(name: str) -> dict[str, bytes]:
    (shard,) = safetensors("lm_head.weight" if len(name) > NAME_CHARS else name).values()
    listed = json.dumps({"weight_map": {name: "model-00001-of-00001.safetensors"}}).encode()
    return {"model-00001-of-00001.safetensors": shard, "model.safetensors.index.json": listed}


def pickled(name: str, folder: Path) -> dict[str, bytes]:
    torch.save({name: torch.arange(8.0).reshape(4, 2)}, folder / "made")
    return {"pytorch_model.bin": (folder / "made").read_bytes()}


def made(folder: Path, form: str, name: str) -> FolderCheckpoint:
    (folder / "model").mkdir()
    files = pickled(name, folder) if form == "pickle" else {"header": safetensors, "index": index}[form](name)
    for file, content in {**files, "config.json": json.dumps(CONFIG).encode()}.items():
        (folder / "model" / file).write_bytes(content)
    return FolderCheckpoint(folder / "model")


REASONS = {"header": "bad-header", "index": "index-mismatch", "pickle": "bad-pickle"}


@pytest.mark.parametrize(("form", "reason"), REASONS.items(), ids=REASONS)
def test_a_name_that_is_too_long_is_refused_in_time(tmp_path: Path, form: str, reason: str) -> None:
    checkpoint = made(tmp_path, form, LONG)
    started = time.monotonic()
    with pytest.raises(
        BrokenFile, match=r"a tensor's name has 900,021 characters, expected at most"
    ) as caught:
        lay_out(checkpoint)
    assert caught.value.reason == reason
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("form", REASONS)
def test_a_name_of_ordinary_length_is_looked_at(tmp_path: Path, form: str) -> None:
    checkpoint = made(tmp_path, form, "lm_head.weight")
    assert locate(lay_out(checkpoint), "output").spec.name == "lm_head.weight"


def test_the_longest_name_is_none_too_long() -> None:
    refuse_long_name("x" * NAME_CHARS, "bad-header", "here")
