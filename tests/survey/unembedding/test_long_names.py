"""A tensor's name of a megabyte is refused before it is compared with known names."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest
import torch
from support.checkpoints import single, stored, write

from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import BrokenFile
from survey.formats.bounded_json import NAME_CHARS, refuse_long_name
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

LONG = f"model.{'y' * 900_000}.lm_head.weight"  # looking at it took more than ten minutes
CONFIG = {"model_type": "llama", "vocab_size": 4, "hidden_size": 2}
ROWS = bytes(range(32))


def safetensors(name: str, metadata: dict[str, str] | None = None) -> dict[str, bytes]:
    entry = {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, len(ROWS)]}
    header = json.dumps({"__metadata__": metadata or {}, name: entry}).encode()
    return {"model.safetensors": struct.pack("<Q", len(header)) + header + ROWS}


def noted(name: str) -> dict[str, bytes]:
    return safetensors("lm_head.weight", {name: "lm_head.weight"})


def index(name: str) -> dict[str, bytes]:
    (shard,) = safetensors("lm_head.weight" if len(name) > NAME_CHARS else name).values()
    listed = json.dumps({"weight_map": {name: "model-00001-of-00001.safetensors"}}).encode()
    return {"model-00001-of-00001.safetensors": shard, "model.safetensors.index.json": listed}


def pickled(name: str, folder: Path) -> dict[str, bytes]:
    torch.save({name: torch.arange(8.0).reshape(4, 2)}, folder / "made")
    return {"pytorch_model.bin": (folder / "made").read_bytes()}


def made(folder: Path, form: str, name: str) -> FolderCheckpoint:
    (folder / "model").mkdir()
    forms = {"header": safetensors, "metadata": noted, "index": index}
    files = pickled(name, folder) if form == "pickle" else forms[form](name)
    for file, content in {**files, "config.json": json.dumps(CONFIG).encode()}.items():
        (folder / "model" / file).write_bytes(content)
    return FolderCheckpoint(folder / "model")


REASONS = {
    "header": "bad-header",
    "metadata": "bad-header",
    "index": "index-mismatch",
    "pickle": "bad-pickle",
}


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


# Thousands of names, each of which would cost more with each of the others, or with its own length.
MANY = {
    "tensors of the matrix's shape in layers": [f"model.layers.{number}.x.weight" for number in range(2000)],
    "tensors of that shape in other parts": [f"vision{number}.embed.weight" for number in range(2000)],
    "lists in modules of their own": [f"x{number}.blocks.0.x.weight" for number in range(2000)],
    "names of hundreds of components": [f"{number}{'.a' * 480}.h.0.x" for number in range(200)],
    "names of a single component": ["_" * 980 + str(number) for number in range(200)],
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("names", MANY.values(), ids=MANY)
def test_many_names_are_looked_at_in_time(tmp_path: Path, names: list[str]) -> None:
    shaped = {name: stored(4, 2) for name in ("lm_head.weight", *names)}
    checkpoint = FolderCheckpoint(write(tmp_path / "model", single(shaped, CONFIG)))
    started = time.process_time()
    assert locate(lay_out(checkpoint), "output").spec.name == "lm_head.weight"
    assert time.process_time() - started < 8
