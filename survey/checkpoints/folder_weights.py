"""The copy of the weights in one folder, by the names of its files alone."""

from __future__ import annotations

import re

from survey.checkpoints.rank_files import is_of_ranks
from survey.checkpoints.shard_sets import MOST_SHARDS, SHARD, complete_set

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED_SINGLE = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
CONSOLIDATED = "consolidated.safetensors"  # Mistral's own format
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")  # PEFT
CONFIG = "config.json"
MISTRAL_CONFIG = "params.json"
DISTRIBUTED = ".metadata"  # beside *.distcp
ADAPTER_CONFIG = "adapter_config.json"

_INDEX = re.compile(r".+\.safetensors\.index(?:\.\w+)?\.json")  # model.safetensors.index.fp16.json, …
# Files that training and other tools leave beside a model.
OTHER_FILES = re.compile(r"(?i)^(adapter|optimizer|scheduler|training|trainer|mmproj|vae|.*lora)")
MOST_BESIDE = 8


def weights_in_folder(names: set[str]) -> tuple[str, list[str]] | None:
    """The rule and the file names of a copy of the weights; the first rule that applies wins."""
    for name in (SINGLE, INDEX):
        if name in names:
            return name, [name]
    for name in sorted(names):
        if _INDEX.fullmatch(name) and not OTHER_FILES.match(name):
            return f"the index {name}", [name]
    of_devices = sorted(name for name in names if is_of_devices(name))
    loose = sorted(name for name in names if name.endswith(".safetensors") and not OTHER_FILES.match(name))
    loose = [name for name in loose if name not in of_devices]
    whole = [name for name in loose if not SHARD.fullmatch(name)]
    if CONSOLIDATED in whole:
        return CONSOLIDATED, [CONSOLIDATED]
    if shards := complete_set(loose):  # any file may lie beside a complete set
        return "numbered shards without an index", shards
    if of_devices and len(of_devices) <= MOST_SHARDS:
        return "files of several devices", of_devices
    if len(whole) == 1:
        return "the only file of weights", whole
    for name in (PICKLED_SINGLE, PICKLED_INDEX):
        if name in names:
            return name, [name]
    if DISTRIBUTED in names and any(name.endswith(".distcp") for name in names):
        return "torch's distributed checkpoint", [DISTRIBUTED]
    return next((("an adapter", [name]) for name in ADAPTERS if name in names), None)


def loose_weights(names: set[str]) -> list[str]:
    """A few files of weights; only their headers can say whether they are a single model."""
    loose = sorted(name for name in names if name.endswith(".safetensors") and not OTHER_FILES.match(name))
    whole = [name for name in loose if not is_of_ranks(name)]
    return whole if not any("-of-" in name for name in loose) and 2 <= len(whole) <= MOST_BESIDE else []


def is_of_devices(name: str) -> bool:
    """Whether a file of weights holds those of one device, or those that all devices share."""
    read = name.endswith(".safetensors") or (name.startswith("consolidated.") and name.endswith(".pth"))
    return read and not OTHER_FILES.match(name) and is_of_ranks(name)
