"""Reading a checkpoint's layout: its config, and its index or the headers of its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from survey.checkpoints.checkpoint import CONFIG_CAP_BYTES, Checkpoint, read_json, short_text
from survey.checkpoints.file_header import file_header
from survey.checkpoints.folder_weights import ADAPTER_CONFIG
from survey.checkpoints.index_claims import Shards, checked_index, tensors_of
from survey.checkpoints.loose_files import refuse_several
from survey.checkpoints.weight_files import Weights, find_weights
from survey.checkpoints.weight_index import read_weight_map
from survey.formats.safetensors_header import Header
from survey.sharding.cut_layout import (
    numbered_parts,
    parts_of_devices,
    refuse_gap,
    size_of_devices,
    stated_size,
)
from survey.sharding.distributed import distributed_parts
from survey.sharding.joining import TensorPart
from survey.targets.checkpoint_layout import CheckpointLayout
from survey.targets.gguf_layout import lay_out_gguf
from survey.unembedding.model_config import refuse_many_settings
from survey.unembedding.packing_schemes import packings
from survey.unembedding.unread_files import UnreadFiles


def lay_out(checkpoint: Checkpoint) -> CheckpointLayout:
    """Read the config, and the index or the headers. Raises SurveyError if one is missing or broken."""
    weights = find_weights(checkpoint.files.keys(), checkpoint.repo, checkpoint.part)
    if weights.gguf:
        return lay_out_gguf(checkpoint, weights)
    config = read_json(checkpoint, weights.config, CONFIG_CAP_BYTES, "no-config")
    refuse_many_settings(config, f"{checkpoint.repo}/{weights.config}")
    adapter_of = _adapter_of(checkpoint, weights.folder) if weights.is_adapter else None
    if weights.config.endswith(ADAPTER_CONFIG):
        config = {}
    if weights.is_distributed:
        file_of, parts_of, sizes = distributed_parts(checkpoint, weights.folder)
        layout = CheckpointLayout(
            checkpoint, config, file_of, {}, weights.rule, parts_of=parts_of, sizes=sizes
        )
    elif weights.index is not None:
        layout = _from_index(checkpoint, config, weights, weights.index)
    else:
        layout = _from_headers(checkpoint, config, weights, adapter_of)
    if layout.parts_of:
        return layout
    return _with_numbered_parts(_with_packings(layout))


def _with_packings(layout: CheckpointLayout) -> CheckpointLayout:
    """The layout in which the tensors of a quantised matrix are one, under the name of the whole."""
    packed = packings(layout.file_of.keys(), layout.config)
    wholes = {whole: layout.file_of[packing.names[0]] for whole, packing in packed.items()}
    return replace(layout, packed=packed, file_of={**layout.file_of, **wholes})


def _from_index(
    checkpoint: Checkpoint, config: Mapping[str, Any], weights: Weights, file: str
) -> CheckpointLayout:
    index = read_weight_map(checkpoint, file, weights.folder)
    headers: dict[str, Header] = {}
    read = partial(file_header, checkpoint)
    shards = Shards(weights.folder, checkpoint.files, headers, read, checkpoint.repo)
    checked = checked_index(index.file_of, config, shards)
    layout = CheckpointLayout(checkpoint, config, checked.file_of, headers, weights.rule, by_index=True)
    unread = UnreadFiles(
        _other_files(checkpoint, checked.file_of, weights.folder), checked.missing, checked.strays
    )
    return replace(layout, duplicates=checked.duplicates, unread=unread, left_out=index.left_out)


def _from_headers(
    checkpoint: Checkpoint, config: Mapping[str, Any], weights: Weights, adapter_of: str | None
) -> CheckpointLayout:
    files = weights.shards or (weights.single,)
    headers = {file: file_header(checkpoint, file) for file in files if file is not None}
    if weights.loose:
        refuse_several(headers, config, checkpoint.repo)
    if weights.by_devices:
        first_file, parts_of = parts_of_devices(headers, checkpoint.repo)
        size = size_of_devices(stated_size(config), parts_of)
        return CheckpointLayout(
            checkpoint, config, first_file, headers, weights.rule, parts_of=parts_of, size=size
        )
    file_of, duplicates = tensors_of(headers)
    layout = CheckpointLayout(checkpoint, config, file_of, headers, weights.rule, adapter_of, duplicates)
    left_out = sum(header.left_out for header in headers.values())
    return replace(
        layout, unread=UnreadFiles(_other_files(checkpoint, file_of, weights.folder)), left_out=left_out
    )


def _with_numbered_parts(layout: CheckpointLayout) -> CheckpointLayout:
    """The layout in which tensors such as `lm_head.weight.0`, `lm_head.weight.1` are one in parts."""
    size = stated_size(layout.config)
    numbered = numbered_parts(layout.file_of, size, layout.spec_of)
    if not numbered:
        return layout
    whole_of = {part: whole for whole, names in numbered.items() for part in names}
    file_of = {whole_of.get(name, name): file for name, file in layout.file_of.items()}
    parts_of = {whole: partial(_named_parts, layout, names) for whole, names in numbered.items()}
    return replace(layout, file_of=file_of, parts_of=parts_of, size=size)


def _named_parts(layout: CheckpointLayout, names: Sequence[str]) -> tuple[TensorPart, ...]:
    refuse_gap(names, layout.repo)
    return tuple(TensorPart(layout.spec_of(name)) for name in names)


def _other_files(checkpoint: Checkpoint, file_of: Mapping[str, str], folder: str) -> tuple[str, ...]:
    """Files in the folders of the weights, and in `folder`, that hold none of the tensors."""
    weights = set(file_of.values())
    folders = {folder.removesuffix("/")} | {file.rpartition("/")[0] for file in weights}
    beside = (file for file in checkpoint.files if file.rpartition("/")[0] in folders)
    return tuple(file for file in beside if file not in weights)


def _adapter_of(checkpoint: Checkpoint, folder: str) -> str:
    """The model that an adapter changes; empty if its config names none."""
    file = folder + ADAPTER_CONFIG
    if file not in checkpoint.files:
        return ""
    stated = read_json(checkpoint, file, CONFIG_CAP_BYTES, "no-config").get("base_model_name_or_path")
    return short_text(stated) or ""
