"""From a checkpoint to the bytes of its matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from survey.checkpoints.checkpoint import CONFIG_CAP_BYTES, Checkpoint, read_json
from survey.checkpoints.index_claims import checked_index, refuse_many, tensors_of, with_noted_names
from survey.checkpoints.loose_files import refuse_several
from survey.checkpoints.weight_files import ADAPTER_CONFIG, find_weights, same_set
from survey.checkpoints.weight_index import read_weight_map
from survey.errors import BrokenFile, NotThere, storable
from survey.formats.safetensors_header import Header, Outline, read_header
from survey.formats.torch_file import read_pickled
from survey.numerics.dtypes import FLOATS, float_format_of
from survey.records.target import Identity, MatrixName, ScaleSpec, Target, TensorSpec
from survey.sharding.cut_layout import (
    Parts,
    numbered_parts,
    parts_of_devices,
    refuse_gap,
    size_of_devices,
    stated_size,
)
from survey.sharding.distributed import distributed_parts
from survey.sharding.joining import MatrixSize, TensorPart, join_parts
from survey.targets.family import family_of
from survey.unembedding.model_config import architecture, stated_shapes, stated_tie
from survey.unembedding.quantisation import is_packed, scheme
from survey.unembedding.scale_tensors import scale_name, scale_of_parts, scale_spec
from survey.unembedding.shapes import refuse_shape
from survey.unembedding.tensor_choice import Choice, choose_among, refuse_adapter, undecided
from survey.unembedding.tensor_names import TensorNames

TEXT_CHARS = 1_000  # of a model type, a class or a base model; what is longer is none
MOST_TAGS = 1000  # a card of two hundred languages has some three hundred


@dataclass(frozen=True)
class MatrixLayout:
    """A checkpoint's config, and where each tensor lies: from the index or the files' own headers.

    adapter_of: of an adapter, the model that it changes (empty where it does not say). twice: tensors that
    a second file holds, too, and no index decides between them. unread: files that hold none of the tensors.
    cut: tensors that are stored in parts, by the name of the whole. size: of a vocabulary matrix, as far as
    it is stated; sizes: of tensors whose own size the files state. left_out: how many tensors more there
    are, of kinds of which there are thousands.
    """

    config: Mapping[str, Any]
    file_of: Mapping[str, str]
    headers: dict[str, Header]  # those read so far
    rule: str = ""  # how the files were chosen
    adapter_of: str | None = None
    twice: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    cut: Mapping[str, Parts] = field(default_factory=dict)
    size: MatrixSize = MatrixSize()
    sizes: Mapping[str, MatrixSize] = field(default_factory=dict)
    left_out: int = 0
    by_index: bool = False

    def spec_of(self, tensor: str) -> TensorSpec | None:
        """A tensor as its file's header has it; None where that was not read, or holds no such tensor."""
        if tensor in self.cut:
            try:
                return self.whole(tensor, "")
            except (NotThere, BrokenFile):  # what is not complete has no shape
                return None
        header = self.headers.get(self.file_of.get(tensor, ""))
        return header.tensors.get(tensor) if header else None

    def outline_of(self, tensor: str) -> Outline | None:
        """The same without its place, which may cost a read."""
        if tensor in self.cut:
            return self.spec_of(tensor)
        header = self.headers.get(self.file_of.get(tensor, ""))
        return header.outline(tensor) if header else None

    def whole(self, tensor: str, where: str) -> TensorSpec:
        """A tensor that is stored in parts. Raises NotThere (`split-head`)."""
        return join_parts(tensor, self.cut[tensor](), self.sizes.get(tensor, self.size), where)

    @cached_property
    def names(self) -> TensorNames:
        return TensorNames(self.file_of.keys(), self.config, self.outline_of, self.unread, self.spec_of)


def lay_out(checkpoint: Checkpoint) -> MatrixLayout:
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


def _named_parts(
    checkpoint: Checkpoint, layout: MatrixLayout, names: Sequence[str]
) -> tuple[TensorPart, ...]:
    refuse_gap(names, checkpoint.repo)
    return tuple(TensorPart(_look_up(checkpoint, layout, name)) for name in names)


def _lay_out(checkpoint: Checkpoint) -> MatrixLayout:
    weights = find_weights(checkpoint.files.keys(), checkpoint.repo, checkpoint.part)
    config = read_json(checkpoint, weights.config, CONFIG_CAP_BYTES, "no-config")
    adapter_of = _adapter_of(checkpoint, weights.folder) if weights.is_adapter else None
    if weights.config.endswith(ADAPTER_CONFIG):
        config = {}
    if weights.is_distributed:
        held_in, cut, sizes = distributed_parts(checkpoint, weights.folder)
        return MatrixLayout(config, held_in, {}, weights.rule, cut=cut, sizes=sizes)
    if weights.index is not None:
        index = read_weight_map(checkpoint, weights.index, weights.folder)
        read: dict[str, Header] = {}
        file_of = checked_index(
            index.file_of, config, checkpoint.files, read, partial(_header, checkpoint), checkpoint.repo
        )
        unread = _unread(checkpoint, file_of)
        left_out = index.left_out
        return MatrixLayout(
            config, file_of, read, weights.rule, unread=unread, left_out=left_out, by_index=True
        )
    held = weights.shards or (weights.single,)
    headers = {file: _header(checkpoint, file) for file in held if file is not None}
    if weights.loose:
        refuse_several(headers, config, checkpoint.repo)
    if weights.by_devices:
        file_of, cut = parts_of_devices(headers, checkpoint.repo)
        size = size_of_devices(stated_size(config), cut)
        return MatrixLayout(config, file_of, headers, weights.rule, cut=cut, size=size)
    file_of, twice = tensors_of(headers)
    left_out = sum(header.left_out for header in headers.values())
    unread = _unread(checkpoint, file_of)
    return MatrixLayout(config, file_of, headers, weights.rule, adapter_of, twice, unread, left_out=left_out)


def _unread(checkpoint: Checkpoint, file_of: Mapping[str, str]) -> tuple[str, ...]:
    """Files beside the weights that hold none of the tensors."""
    read = set(file_of.values())
    folders = {file.rpartition("/")[0] for file in read}
    others = (file for file in checkpoint.files if file.rpartition("/")[0] in folders)
    return tuple(file for file in others if file not in read)


def _adapter_of(checkpoint: Checkpoint, folder: str) -> str:
    file = folder + ADAPTER_CONFIG
    if file not in checkpoint.files:
        return ""
    stated = read_json(checkpoint, file, CONFIG_CAP_BYTES, "no-config").get("base_model_name_or_path")
    return _text(stated) or ""


def locate(checkpoint: Checkpoint, layout: MatrixLayout, matrix: MatrixName) -> Target:
    """The target that is one matrix of a checkpoint.

    Raises SurveyError where there is none.
    """
    choice, layout = _chosen(checkpoint, layout, matrix)
    spec = _spec(checkpoint, layout, choice)
    other = _other(checkpoint, layout, matrix, spec)
    refuse_shape(spec, layout.config, other, f"{checkpoint.repo}/{spec.file}")
    if not choice.tied and other is not None and replace(other, name=spec.name) == spec:
        # torch.save writes tied tensors once, by two names; so does save_model, which notes the second.
        choice = replace(choice, tied=True, rule=f"{choice.rule}, of the same bytes as the other matrix")
    if spec.pieces:
        choice = replace(choice, rule=f"{choice.rule}, put together from {len(spec.pieces)} parts")
    scale = _scale(checkpoint, layout, spec, choice.tensor)
    return Target(
        identity=_identity(checkpoint, layout, matrix, choice, spec, scale),
        spec=spec,
        folder=checkpoint.folder,
        part=checkpoint.part,
        rule=choice.rule,
        files=tuple((file, checkpoint.files[file]) for file in spec.files),
        repo_bytes=sum(checkpoint.files.values()),
        planning=checkpoint.traffic,
        scale=scale,
    )


def _chosen(checkpoint: Checkpoint, layout: MatrixLayout, matrix: MatrixName) -> tuple[Choice, MatrixLayout]:
    """The choice, made anew with what an index omits and the header of the matrix's own file holds.

    Where the index names what may be a rival, or may hold further rows, the headers of those are asked, too.
    """
    choice = _choose(checkpoint, layout, matrix)
    if layout.cut or not layout.by_index:
        return choice, layout
    spec = _look_up(checkpoint, layout, choice.tensor)
    doubted = undecided(layout.names, matrix, choice)
    files = {spec.file, *(_there(checkpoint, layout, name) for name in doubted)}
    refuse_many(files, checkpoint.repo)
    if spec.dtype in FLOATS and FLOATS[spec.dtype].bits == 8 and not _has_scale(checkpoint, layout, spec):
        files |= {file for file in layout.file_of.values() if file in checkpoint.files}
        files.update(same_set(files, checkpoint.files))
        refuse_many(files, checkpoint.repo)
    for file in sorted(files - layout.headers.keys()):
        layout.headers[file] = _header(checkpoint, file)
    held, _ = tensors_of({file: layout.headers[file] for file in sorted(files)})
    layout = replace(layout, file_of={**held, **layout.file_of})
    return _choose(checkpoint, layout, matrix), layout


def _has_scale(checkpoint: Checkpoint, layout: MatrixLayout, spec: TensorSpec) -> bool:
    return scale_name(layout.file_of, spec.name, f"{checkpoint.repo}/{spec.file}") is not None


def _choose(checkpoint: Checkpoint, layout: MatrixLayout, matrix: MatrixName) -> Choice:
    if layout.adapter_of is not None:
        refuse_adapter(layout.file_of.keys(), layout.adapter_of, matrix, checkpoint.repo)
    return choose_among(layout.names, matrix, checkpoint.repo)


def _other(
    checkpoint: Checkpoint, layout: MatrixLayout, matrix: MatrixName, spec: TensorSpec
) -> TensorSpec | None:
    """The other matrix: where its header was read, or where it alone tells whether a shape is right."""
    try:
        choice = choose_among(layout.names, "input" if matrix == "output" else "output", checkpoint.repo)
        if len(spec.shape) == 2 and spec.shape[0] <= spec.shape[1] and not stated_shapes(layout.config):
            return _look_up(checkpoint, layout, choice.tensor)  # a request, for a shape that few heads have
        return layout.spec_of(choice.tensor)
    except (NotThere, BrokenFile):  # another matrix's trouble
        return None


def _header(checkpoint: Checkpoint, file: str) -> Header:
    read = read_header if file.endswith(".safetensors") else read_pickled
    header = read(
        lambda wanted: checkpoint.read_range(file, wanted),
        file,
        checkpoint.files[file],
        f"{checkpoint.repo}/{file}",
    )
    return with_noted_names(header)


def _look_up(checkpoint: Checkpoint, layout: MatrixLayout, tensor: str) -> TensorSpec:
    """Where a tensor lies, as its file's own header says. Raises BrokenFile (`index-mismatch`)."""
    if tensor in layout.cut:
        return layout.whole(tensor, checkpoint.repo)
    file = layout.file_of[tensor]
    where = f"{checkpoint.repo}/{_there(checkpoint, layout, tensor)}"
    if file not in layout.headers:
        layout.headers[file] = _header(checkpoint, file)
    if tensor in layout.twice:
        problem = f"holds {tensor}, as {layout.twice[tensor]} does, and no index says which counts"
        raise BrokenFile("index-mismatch", where, problem)
    spec = layout.spec_of(tensor)
    if spec is None:
        raise BrokenFile("index-mismatch", where, f"holds no {tensor}, though the index says so")
    return spec


def _there(checkpoint: Checkpoint, layout: MatrixLayout, tensor: str) -> str:
    """The file that holds a tensor. Raises BrokenFile (`index-mismatch`) where it is not there."""
    file = layout.file_of[tensor]
    if file not in checkpoint.files:
        where = f"{checkpoint.repo}/{file}"
        raise BrokenFile("index-mismatch", where, f"the index names this file for {tensor}")
    return file


def _spec(checkpoint: Checkpoint, layout: MatrixLayout, choice: Choice) -> TensorSpec:
    """The tensor as a matrix of numbers that can be measured."""
    tensor = choice.tensor
    spec = _look_up(checkpoint, layout, tensor)
    where = f"{checkpoint.repo}/{spec.file}"
    if is_packed(spec.dtype):
        by = scheme(layout.config, layout.file_of.keys(), tensor)
        raise NotThere("quantised-head", where, f"{tensor} is {spec.dtype}, quantised by {by}")
    float_format_of(spec.dtype, where)
    return _with_added_rows(checkpoint, layout, spec, choice.added)


def _with_added_rows(
    checkpoint: Checkpoint, layout: MatrixLayout, spec: TensorSpec, added: Sequence[str]
) -> TensorSpec:
    """The matrix with the rows that are kept apart from it, at its end."""
    if not added:
        return spec
    parts, rows = [TensorPart(spec, (0, 0))], spec.shape[0] if spec.shape else 0
    for name in added:
        more = _look_up(checkpoint, layout, name)
        parts.append(TensorPart(more, (rows, 0)))
        rows += more.shape[0] if more.shape else 0
    whole = join_parts(spec.name, parts, MatrixSize(rows, spec.shape[-1], padded=False), checkpoint.repo)
    return replace(whole, name=spec.name)


def _scale(checkpoint: Checkpoint, layout: MatrixLayout, spec: TensorSpec, tensor: str) -> ScaleSpec | None:
    """The scale of a matrix in 8 bits; None where the files hold none. tensor: the matrix's own name."""
    if FLOATS[spec.dtype].bits != 8:
        return None
    where = f"{checkpoint.repo}/{spec.file}"
    apart = tensor in layout.cut and tensor not in layout.sizes
    if apart and (scales := _scales_of_parts(checkpoint, layout, spec, tensor)):
        if any(scale.file not in spec.files for scale in scales):
            raise NotThere("quantised-head", where, f"{tensor} has its scales in files of their own")
        return scale_of_parts(spec, scales, layout.config, where)
    name = scale_name(layout.file_of, tensor, where)
    if name is None:
        return None
    found = _look_up(checkpoint, layout, name)
    if found.pieces and not set(found.files) <= set(spec.files):
        raise NotThere("quantised-head", where, f"{name} is stored in parts, in files of their own")
    where = f"{checkpoint.repo}/{found.file}"
    return scale_spec(spec, found, checkpoint.files.get(found.file, 0), layout.config, where)


def _scales_of_parts(
    checkpoint: Checkpoint, layout: MatrixLayout, spec: TensorSpec, tensor: str
) -> list[TensorSpec]:
    """The scale of each part of a matrix, in their order; empty where no part has one of its own.

    Raises NotThere (`split-head`) where some have and others have not.
    """
    where = f"{checkpoint.repo}/{spec.file}"
    scales: list[TensorSpec | None]
    if spec.pieces and all(piece.tensor.name == tensor for piece in spec.pieces):  # of several devices
        name = scale_name(layout.file_of, tensor, where)
        if name is None or name not in layout.cut:
            return []
        held = {part.tensor.file: part.tensor for part in layout.cut[name]()}
        scales = [held.get(piece.tensor.file) for piece in spec.pieces]
    else:
        names = [scale_name(layout.file_of, piece.tensor.name, where) for piece in spec.pieces]
        if not any(names):
            return []
        if whole := scale_name([name for name in layout.file_of if name not in names], tensor, where):
            raise NotThere("quantised-head", where, f"{whole} scales {tensor}, and so does {names[0]}")
        scales = [_look_up(checkpoint, layout, name) if name else None for name in names]
    if missing := [piece.tensor for piece, scale in zip(spec.pieces, scales, strict=True) if scale is None]:
        problem = f"{missing[0].name} in {missing[0].file} has no scale, and other parts have one"
        raise NotThere("split-head", where, problem)
    return [scale for scale in scales if scale is not None]


def _identity(
    checkpoint: Checkpoint,
    layout: MatrixLayout,
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
        head_bias=layout.names.head_bias,
        scale=f"{scale.tensor.name} per {scale.per}" if scale else None,
        library_name=_text(card.library_name),
        tags=tuple(tag for tag in card.tags[:MOST_TAGS] if _text(tag)),
        last_modified=card.last_modified,
    )


def _text(value: Any) -> str | None:  # Any: a value of somebody's JSON
    return storable(value) if isinstance(value, str) and len(value) <= TEXT_CHARS else None
