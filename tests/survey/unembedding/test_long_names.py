"""Names and settings that take long to look at: refused by length or number, or ended in time."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest
import torch
from support.checkpoints import single, stored, write

from jobs.demo.hub.local_hub import LocalHub
from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import BrokenFile, SurveyError
from survey.formats.bounded_json import NAME_CHARS, refuse_long_name
from survey.opening import open_checkpoint
from survey.records.settings import Settings
from survey.records.target import ModelRef
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate
from survey.unembedding.model_config import MOST_SETTINGS

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


# Whatever else takes minutes ends at the model's time, on the Hub and in a folder.
ENDLESS = {f"model.{number}.{'embed_tokens.weight.' * 45}weight": stored(4, 2) for number in range(1500)}


@pytest.mark.timeout(60)
def test_names_that_take_minutes_end_at_the_models_time(tmp_path: Path, hub: LocalHub) -> None:
    files = single(ENDLESS, CONFIG)
    write(tmp_path / "model", files)
    hub.add_repo("org/model", files)
    limited = Settings(endpoint=hub.endpoint, timeout_s=0.4)
    for model in (ModelRef("model", folder=tmp_path / "model"), ModelRef("org/model")):
        started = time.process_time()
        with pytest.raises(SurveyError, match="after 0 s") as caught:
            locate(lay_out(open_checkpoint(model, limited)), "output")
        assert caught.value.reason == "timeout"
        assert time.process_time() - started < 3


def test_an_ordinary_model_has_time_enough(tmp_path: Path) -> None:
    write(tmp_path / "model", single({"lm_head.weight": stored(4, 2)}, CONFIG))
    checkpoint = open_checkpoint(ModelRef("model", folder=tmp_path / "model"), Settings(timeout_s=30))
    assert locate(lay_out(checkpoint), "output").spec.name == "lm_head.weight"


# Settings of a config, each of which is looked at as often as somebody asks whether matrices are tied.
SETTINGS = {
    "beside the others": {f"{'_tie_' * 38}{number}": 5 for number in range(MOST_SETTINGS)},
    "in a part": {"text_config": {f"{'model.encoder.' * 13}{number}": {"vocab_size": 3} for number in range(3000)}},
    "in many parts": {f"part{number}": dict.fromkeys([*map(str, range(200)), "vocab_size"], 5) for number in range(12)},
}  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_config_of_thousands_of_settings_is_refused_in_time(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    files = single({"model.embed_tokens.weight": stored(4, 2)}, {**CONFIG, **settings})
    started = time.process_time()
    with pytest.raises(BrokenFile, match="holds more than 2,000 settings of the model") as caught:
        lay_out(FolderCheckpoint(write(tmp_path / "model", files)))
    assert (caught.value.reason, time.process_time() - started < 3) == ("no-config", True)


def test_lists_of_thousands_of_labels_are_no_settings(tmp_path: Path) -> None:
    labels = {f"LABEL_{number}": number for number in range(22_000)}
    lists = {"label2id": labels, "id2label": {str(number): name for name, number in labels.items()}}
    few = {f"setting_{number}": number for number in range(1000)}
    files = single({"lm_head.weight": stored(4, 2)}, {**CONFIG, **lists, **few})
    checkpoint = FolderCheckpoint(write(tmp_path / "model", files))
    assert locate(lay_out(checkpoint), "output").spec.name == "lm_head.weight"
