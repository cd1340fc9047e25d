"""From a checkpoint to the bytes of its matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from survey.checkpoint import CONFIG_CAP_BYTES, Checkpoint, read_json
from survey.cut_layout import Parts, numbered_parts, parts_of_devices, size_of_devices, stated_size
from survey.distributed import distributed_parts
from survey.dtypes import FLOATS, float_format
from survey.errors import BrokenFile, NotThere, storable
from survey.family import family_of
from survey.header import Header, read_header
from survey.index import read_weight_map
from survey.loose_files import refuse_several
from survey.memory import expected_memory_bytes
from survey.pickled import read_pickled
from survey.quantised import is_packed, scheme
from survey.scale import scale_name, scale_spec
from survey.sharding import Part, Size, joined
from survey.statements import architecture, stated_shape, stated_tie
from survey.target import Identity, MatrixName, ScaleSpec, Target, TensorSpec
from survey.unembedding import Choice, choose, has_head_bias, refuse_adapter
from survey.weights import ADAPTER_CONFIG, find_weights

TEXT_CHARS = 1_000  # of a model type, a class or a base model; what is longer is none


@dataclass(frozen=True, slots=True)
class Layout:
    """A checkpoint's config, and where each tensor lies: from the index or the files' own headers.

    adapter_of: of an adapter, the model that it changes (empty where it does not say). cut: tensors that are
    stored in parts, by the name of the whole. size: of a vocabulary matrix, as far as it is stated;
    sizes: of tensors whose own size the files state.
    left_out: how many tensors more there are, of kinds of which there are thousands.
    """

    config: Mapping[str, Any]
    file_of: Mapping[str, str]
    headers: dict[str, Header]  # those read so far
    rule: str = ""  # how the files were chosen
    adapter_of: str | None = None
    cut: Mapping[str, Parts] = field(default_factory=dict)
    size: Size = Size()
    sizes: Mapping[str, Size] = field(default_factory=dict)
    left_out: int = 0


def lay_out(checkpoint: Checkpoint) -> Layout:
    """Read the config, and the index or the headers.

    Raises SurveyError where one is missing or broken.
    """
    layout = _lay_out(checkpoint)
    if layout.cut:
        return layout
    size = stated_size(layout.config)
    numbered = numbered_parts(layout.file_of, size, partial(_look_up, checkpoint, layout))
    if not numbered:
        return layout
    whole_of = {part: whole for whole, names in numbered.items() for part in names}
    file_of = {whole_of.get(name, name): file for name, file in layout.file_of.items()}
    cut = {whole: partial(_named_parts, checkpoint, layout, names) for whole, names in numbered.items()}
    return replace(layout, file_of=file_of, cut=cut, size=size)


def _named_parts(checkpoint: Checkpoint, layout: Layout, names: Sequence[str]) -> tuple[Part, ...]:
    return tuple(Part(_look_up(checkpoint, layout, name)) for name in names)


def _lay_out(checkpoint: Checkpoint) -> Layout:
    weights = find_weights(checkpoint.files.keys(), checkpoint.repo, checkpoint.part)
    config = read_json(checkpoint, weights.config, CONFIG_CAP_BYTES, "no-config")
    adapter_of = _adapter_of(checkpoint, weights.folder) if weights.is_adapter else None
    if weights.config.endswith(ADAPTER_CONFIG):
        config = {}
    if weights.is_distributed:
        file_of, cut, sizes = distributed_parts(checkpoint, weights.folder)
        return Layout(config, file_of, {}, weights.rule, cut=cut, sizes=sizes)
    if weights.index is not None:
        index = read_weight_map(checkpoint, weights.index, weights.folder)
        return Layout(config, index.file_of, {}, weights.rule, left_out=index.left_out)
    held = weights.shards or (weights.single,)
    headers = {file: _header(checkpoint, file) for file in held if file is not None}
    if weights.loose:
        refuse_several(headers, config, checkpoint.repo)
    if weights.by_devices:
        file_of, cut = parts_of_devices(headers, checkpoint.repo)
        size = size_of_devices(stated_size(config), cut)
        return Layout(config, file_of, headers, weights.rule, cut=cut, size=size)
    file_of = {name: file for file, header in headers.items() for name in header.tensors}
    left_out = sum(header.left_out for header in headers.values())
    return Layout(config, file_of, headers, weights.rule, adapter_of, left_out=left_out)


def _adapter_of(checkpoint: Checkpoint, folder: str) -> str:
    file = folder + ADAPTER_CONFIG
    if file not in checkpoint.files:
        return ""
    stated = read_json(checkpoint, file, CONFIG_CAP_BYTES, "no-config").get("base_model_name_or_path")
    return _text(stated) or ""


def locate(checkpoint: Checkpoint, layout: Layout, matrix: MatrixName, connections: int) -> Target:
    """The target that is one matrix of a checkpoint.

    Raises SurveyError where there is none.
    """
    choice = _choose(checkpoint, layout, matrix)
    spec = _spec(checkpoint, layout, choice.tensor)
    if not choice.tied and _shares_its_bytes(checkpoint, layout, matrix, spec):
        choice = replace(choice, tied=True, rule=f"{choice.rule}, of the same bytes as the other matrix")
    if spec.pieces:
        choice = replace(choice, rule=f"{choice.rule}, put together from {len(spec.pieces)} parts")
    scale = _scale(checkpoint, layout, spec)
    return Target(
        identity=_identity(checkpoint, layout, matrix, choice, spec, scale),
        spec=spec,
        folder=checkpoint.folder,
        part=checkpoint.part,
        rule=choice.rule,
        files=tuple((file, checkpoint.files[file]) for file in spec.files),
        repo_bytes=sum(checkpoint.files.values()),
        memory_bytes=expected_memory_bytes(spec, connections),
        planning=checkpoint.traffic,
        scale=scale,
    )


def _choose(checkpoint: Checkpoint, layout: Layout, matrix: MatrixName) -> Choice:
    if layout.adapter_of is not None:
        refuse_adapter(layout.file_of.keys(), layout.adapter_of, matrix, checkpoint.repo)
    return choose(layout.file_of.keys(), layout.config, matrix, checkpoint.repo)


def _shares_its_bytes(checkpoint: Checkpoint, layout: Layout, matrix: MatrixName, spec: TensorSpec) -> bool:
    """Whether the other matrix is the same bytes: torch.save writes tied tensors once, by two names."""
    try:
        other = choose(
            layout.file_of.keys(), layout.config, "input" if matrix == "output" else "output", spec.file
        )
    except NotThere:
        return False
    if layout.file_of[other.tensor] != spec.file or other.tensor == spec.name:
        return False
    header = layout.headers.get(spec.file)
    found = header.tensors.get(other.tensor) if header else None
    return found is not None and replace(found, name=spec.name) == spec


def _header(checkpoint: Checkpoint, file: str) -> Header:
    read = read_header if file.endswith(".safetensors") else read_pickled
    return read(
        lambda wanted: checkpoint.read_range(file, wanted),
        file,
        checkpoint.files[file],
        f"{checkpoint.repo}/{file}",
    )


def _look_up(checkpoint: Checkpoint, layout: Layout, tensor: str) -> TensorSpec:
    """Where a tensor lies, as its file's own header says. Raises BrokenFile (`index-mismatch`)."""
    if tensor in layout.cut:
        size = layout.sizes.get(tensor, layout.size)
        return joined(tensor, layout.cut[tensor](), size, checkpoint.repo)
    file = layout.file_of[tensor]
    where = f"{checkpoint.repo}/{file}"
    if file not in checkpoint.files:
        raise BrokenFile("index-mismatch", where, f"the index names this file for {tensor}")
    if file not in layout.headers:
        layout.headers[file] = _header(checkpoint, file)
    spec = layout.headers[file].tensors.get(tensor)
    if spec is None:
        raise BrokenFile("index-mismatch", where, f"holds no {tensor}, though the index says so")
    return spec


def _spec(checkpoint: Checkpoint, layout: Layout, tensor: str) -> TensorSpec:
    """The tensor as a matrix that can be measured."""
    spec = _look_up(checkpoint, layout, tensor)
    where = f"{checkpoint.repo}/{spec.file}"
    if is_packed(spec.dtype):
        by = scheme(layout.config, layout.file_of.keys(), tensor)
        raise NotThere("quantised-head", where, f"{tensor} is {spec.dtype}, quantised by {by}")
    float_format(spec.dtype, where)
    if len(spec.shape) != 2 or 0 in spec.shape:
        raise NotThere("no-head", where, f"{tensor} has shape {list(spec.shape)}, expected [V, D]")
    stated = stated_shape(layout.config)
    if stated is not None and stated[0] != stated[1] and spec.shape == stated[::-1]:
        problem = (
            f"{tensor} has shape {list(spec.shape)}, the config says {list(stated)}: it is stored transposed"
        )
        raise NotThere("no-head", where, problem)
    if stated is not None and 2 * spec.shape[0] < stated[0]:
        problem = (
            f"{tensor} has {spec.shape[0]:,} rows, the config says {stated[0]:,} tokens: it is for others"
        )
        raise NotThere("no-head", where, problem)
    return spec


def _scale(checkpoint: Checkpoint, layout: Layout, spec: TensorSpec) -> ScaleSpec | None:
    """The scale of a matrix in 8 bits; None where the files hold none."""
    name = scale_name(layout.file_of, spec.name) if FLOATS[spec.dtype].bits == 8 else None
    if name is None:
        return None
    found = _look_up(checkpoint, layout, name)
    where = f"{checkpoint.repo}/{found.file}"
    return scale_spec(spec, found, checkpoint.files[found.file], layout.config, where)


def _identity(
    checkpoint: Checkpoint,
    layout: Layout,
    matrix: MatrixName,
    choice: Choice,
    spec: TensorSpec,
    scale: ScaleSpec | None,
) -> Identity:
    config = layout.config
    model_type = _text(config.get("model_type"))
    card = checkpoint.card
    name = checkpoint.folder.name if checkpoint.folder else checkpoint.repo
    base_model = _text(card.base_model) or layout.adapter_of or None
    family = family_of(model_type, base_model, name)
    org = checkpoint.repo.partition("/")[0] if not checkpoint.folder else None
    return Identity(
        repo=checkpoint.repo,
        revision=checkpoint.revision,
        sha=checkpoint.sha,
        org=org if org and "/" in checkpoint.repo else None,
        family=family.name,
        family_by=family.by,
        model_type=model_type,
        architecture=_text(architecture(config)),
        base_model=base_model,
        matrix=matrix,
        tensor=spec.name,
        file=spec.file,
        tied=choice.tied,
        tie_stated=stated_tie(config),
        head_bias=has_head_bias(layout.file_of.keys(), config),
        scale=f"{scale.tensor.name} per {scale.per}" if scale else None,
        library_name=card.library_name,
        tags=card.tags,
        last_modified=card.last_modified,
    )


def _text(value: Any) -> str | None:  # Any: a value of somebody's JSON
    return storable(value) if isinstance(value, str) and len(value) <= TEXT_CHARS else None
