"""From a checkpoint to the bytes of its matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from survey.checkpoint import CONFIG_CAP_BYTES, INDEX_CAP_BYTES, Checkpoint, read_json
from survey.dtypes import FLOATS, float_format
from survey.errors import BrokenFile, NotThere
from survey.family import family_of
from survey.header import Header, read_header
from survey.memory import expected_memory_bytes
from survey.records import Identity, MatrixChoice, MatrixName, Target, TensorSpec, Traffic
from survey.unembedding import Choice, choose, has_head_bias, stated_tie

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Weights:
    """Where each tensor of a checkpoint lies: from the index, or from the only file's header."""

    file_of: Mapping[str, str]
    headers: Mapping[str, Header]


def locate(checkpoint: Checkpoint, matrix: MatrixChoice, connections: int) -> list[Target]:
    """The targets of a checkpoint: one, or two for `both` on an untied model.

    Raises SurveyError where there is none.
    """
    config = read_json(checkpoint, "config.json", CONFIG_CAP_BYTES, "no-config")
    weights = _weights(checkpoint)
    names = weights.file_of.keys()
    wanted: list[MatrixName] = ["output", "input"] if matrix == "both" else [matrix]
    choices = [(name, choose(names, config, name, checkpoint.repo)) for name in wanted]
    if matrix == "both" and choices[0][1].tied:
        choices = choices[:1]
    targets = []
    counted = Traffic()
    for name, choice in choices:
        target = _target(checkpoint, config, weights, name, choice, connections)
        # What planning cost is booked once: on the first matrix, and what the second added.
        targets.append(replace(target, planning=checkpoint.traffic - counted))
        counted = checkpoint.traffic
    return targets


def _weights(checkpoint: Checkpoint) -> Weights:
    file = _single_file(checkpoint)
    if file is not None:
        header = _header(checkpoint, file)
        return Weights(dict.fromkeys(header.tensors, file), {file: header})
    index = read_json(checkpoint, INDEX, INDEX_CAP_BYTES, "index-mismatch")
    weight_map = index.get("weight_map")
    where = f"{checkpoint.repo}/{INDEX}"
    if not isinstance(weight_map, dict) or not weight_map:
        raise BrokenFile("index-mismatch", where, "has no weight_map")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or "/" in shard or not shard.endswith(".safetensors"):
            raise BrokenFile("index-mismatch", where, f"{name} is said to lie in {shard!r}")
    return Weights(weight_map, {})


def _single_file(checkpoint: Checkpoint) -> str | None:
    """The only weights file, or None where an index speaks for several."""
    if SINGLE in checkpoint.files:
        return SINGLE
    if INDEX in checkpoint.files:
        return None
    found = [name for name in checkpoint.files if name.endswith(".safetensors") and "/" not in name]
    if len(found) == 1 and not found[0].startswith("adapter"):
        return found[0]
    raise NotThere(
        "no-safetensors",
        checkpoint.repo,
        f"neither {SINGLE} nor {INDEX}" + (f" (found {', '.join(found[:3])})" if found else ""),
    )


def _header(checkpoint: Checkpoint, file: str) -> Header:
    return read_header(
        lambda wanted: checkpoint.read_range(file, wanted),
        file,
        checkpoint.files[file],
        f"{checkpoint.repo}/{file}",
    )


def _target(
    checkpoint: Checkpoint,
    config: Mapping[str, Any],
    weights: Weights,
    matrix: MatrixName,
    choice: Choice,
    connections: int,
) -> Target:
    spec = _spec(checkpoint, config, weights, choice.tensor)
    return Target(
        identity=_identity(checkpoint, config, weights, matrix, choice, spec),
        spec=spec,
        folder=checkpoint.folder,
        rule=choice.rule,
        file_bytes=checkpoint.files[spec.file],
        repo_bytes=sum(checkpoint.files.values()),
        memory_bytes=expected_memory_bytes(spec, connections),
        planning=Traffic(),
    )


def _spec(checkpoint: Checkpoint, config: Mapping[str, Any], weights: Weights, tensor: str) -> TensorSpec:
    file = weights.file_of[tensor]
    where = f"{checkpoint.repo}/{file}"
    if file not in checkpoint.files:
        raise BrokenFile("index-mismatch", where, f"the index names this file for {tensor}")
    header = weights.headers.get(file) or _header(checkpoint, file)
    spec = header.tensors.get(tensor)
    if spec is None:
        raise BrokenFile("index-mismatch", where, f"holds no {tensor}, though the index says so")
    quantisation = config.get("quantization_config")
    if spec.dtype not in FLOATS and isinstance(quantisation, Mapping):
        scheme = quantisation.get("quant_method", "an unnamed scheme")
        raise NotThere("quantised-head", where, f"{tensor} is {spec.dtype}, quantised by {scheme}")
    float_format(spec.dtype, where)
    if len(spec.shape) != 2 or 0 in spec.shape:
        raise NotThere("no-head", where, f"{tensor} has shape {list(spec.shape)}, expected [V, D]")
    return spec


def _identity(
    checkpoint: Checkpoint,
    config: Mapping[str, Any],
    weights: Weights,
    matrix: MatrixName,
    choice: Choice,
    spec: TensorSpec,
) -> Identity:
    model_type = _text(config.get("model_type"))
    architectures = config.get("architectures")
    card = checkpoint.card
    name = checkpoint.folder.name if checkpoint.folder else checkpoint.repo
    family = family_of(model_type, card.base_model, name)
    org = checkpoint.repo.partition("/")[0] if not checkpoint.folder else None
    return Identity(
        repo=checkpoint.repo,
        revision=checkpoint.revision,
        sha=checkpoint.sha,
        org=org if org and "/" in checkpoint.repo else None,
        family=family.name,
        family_by=family.by,
        model_type=model_type,
        architecture=_text(architectures[0]) if isinstance(architectures, list) and architectures else None,
        base_model=card.base_model,
        matrix=matrix,
        tensor=spec.name,
        file=spec.file,
        tied=choice.tied,
        tie_stated=stated_tie(config),
        head_bias=has_head_bias(weights.file_of.keys()),
        library_name=card.library_name,
        tags=card.tags,
        last_modified=card.last_modified,
    )


def _text(value: Any) -> str | None:  # Any: a value of somebody's JSON
    return value if isinstance(value, str) else None
