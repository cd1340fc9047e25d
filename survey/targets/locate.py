"""From a checkpoint's layout to the bytes of one of its matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from survey.checkpoints.checkpoint import short_text
from survey.checkpoints.index_claims import refuse_many, tensors_of
from survey.checkpoints.shard_sets import same_set
from survey.errors import BrokenFile, NotThere
from survey.numerics.dtypes import FLOATS
from survey.numerics.row_formats import known_row_format, row_format_of
from survey.records.target import Identity, MatrixName, Target
from survey.records.tensors import ScaleSpec, TensorSpec
from survey.sharding.joining import MatrixSize, TensorPart, join_parts
from survey.targets.checkpoint_layout import CheckpointLayout
from survey.targets.content_key import content_key
from survey.targets.family import family_of
from survey.targets.matrix_scale import has_scale, scale_of_matrix
from survey.unembedding.gguf_tensors import choose_gguf_tensor
from survey.unembedding.model_config import architecture, stated_shapes
from survey.unembedding.packing_statements import STATEMENT_CAP_BYTES
from survey.unembedding.quantisation import is_packed, scheme
from survey.unembedding.refusals import refuse_adapter
from survey.unembedding.shapes import refuse_shape
from survey.unembedding.stem_choice import Choice, undecided
from survey.unembedding.tensor_choice import choose_among
from survey.unembedding.tying import stated_tie

MOST_TAGS = 1000  # a card of two hundred languages has some three hundred
MOST_BYTES = (1 << 63) - 1  # that the column holds; sparse files, or a Hub, may claim any number


def locate(layout: CheckpointLayout, matrix: MatrixName) -> Target:
    """The target of one matrix: bytes, scale and identity. Raises SurveyError if there is none."""
    checkpoint = layout.checkpoint
    choice, layout = _choose_with_headers(layout, matrix)
    spec = _matrix_spec(layout, choice)
    other = _other_matrix(layout, matrix, spec)
    refuse_shape(spec, layout.config, other, f"{layout.repo}/{spec.file}")
    if not choice.tied and other is not None and replace(other, name=spec.name) == spec:
        # torch.save writes tied tensors once, by two names; so does save_model, which notes the second.
        choice = replace(choice, tied=True, rule=f"{choice.rule}, of the same bytes as the other matrix")
    if spec.pieces:
        choice = replace(choice, rule=f"{choice.rule}, put together from {len(spec.pieces)} parts")
    scale = scale_of_matrix(layout, spec, choice.tensor)
    read = {*spec.files, *(scale.tensor.files if scale else ())}
    return Target(
        identity=_identity(layout, matrix, choice, spec, scale),
        spec=spec,
        folder=checkpoint.folder,
        part=checkpoint.part,
        rule=choice.rule,
        files=tuple((file, checkpoint.files[file]) for file in spec.files),
        repo_bytes=min(sum(checkpoint.files.values()), MOST_BYTES),
        planning=checkpoint.traffic,
        scale=scale,
        versions=tuple(version for version in checkpoint.versions if version.file in read),
        content_key=content_key(checkpoint, spec, scale),
    )


def _choose_with_headers(layout: CheckpointLayout, matrix: MatrixName) -> tuple[Choice, CheckpointLayout]:
    """The choice, made anew with the tensors that an index omits and the header of the matrix's file lists.

    If the index names tensors that may be rivals, or may hold further rows, their headers are read, too.
    """
    choice = _choose(layout, matrix)
    if layout.parts_of or not layout.by_index:
        return choice, layout
    files = _files_to_read(layout, matrix, choice)
    headers = {file: layout.read_header(file) for file in sorted(files)}
    file_of, _ = tensors_of(headers)
    layout = replace(layout, file_of={**file_of, **layout.file_of})
    return _choose(layout, matrix), layout


def _files_to_read(layout: CheckpointLayout, matrix: MatrixName, choice: Choice) -> set[str]:
    """The files whose headers can change a choice that was made from an index. Raises BrokenFile."""
    spec, existing = layout.spec_of(choice.tensor), layout.checkpoint.files
    doubtful = undecided(layout.names, matrix, choice)
    files = {*spec.files, *(layout.existing_file_of(name) for name in doubtful)}
    refuse_many(files, layout.repo)
    if spec.dtype in FLOATS and FLOATS[spec.dtype].bits == 8 and not has_scale(layout, spec):
        # Any shard may hold the scale, which the index then does not name.
        files |= {file for file in layout.file_of.values() if file in existing}
        files.update(same_set(files, existing))
        refuse_many(files, layout.repo)
    return files


def _choose(layout: CheckpointLayout, matrix: MatrixName) -> Choice:
    if layout.gguf is not None:
        tensors = chain.from_iterable(header.tensors.values() for header in layout.headers.values())
        shapes, tags = {spec.name: spec.shape for spec in tensors}, layout.checkpoint.card.tags
        return choose_gguf_tensor(shapes, layout.gguf.scalars, tags, matrix, layout.repo)
    if layout.adapter_of is not None:
        refuse_adapter(layout.file_of.keys(), layout.adapter_of, matrix, layout.repo)
        # Whether an embedding serves as both is for the base model to say.
        return replace(choose_among(layout.names, matrix, layout.repo), tied=False)
    return choose_among(layout.names, matrix, layout.repo)


def _other_matrix(layout: CheckpointLayout, matrix: MatrixName, spec: TensorSpec) -> TensorSpec | None:
    """The other matrix, if its header was read, or if it alone tells whether a shape is right."""
    try:
        choice = _choose(layout, "input" if matrix == "output" else "output")
        if len(spec.shape) == 2 and spec.shape[0] <= spec.shape[1] and not stated_shapes(layout.config):
            return layout.spec_of(choice.tensor)  # a request, for a shape that few heads have
        return layout.known_spec(choice.tensor)
    except (NotThere, BrokenFile):  # a fault of the other matrix is none of this one
        return None


def _matrix_spec(layout: CheckpointLayout, choice: Choice) -> TensorSpec:
    """The chosen tensor as a matrix of numbers that can be measured. Raises NotThere, BrokenFile."""
    tensor = choice.tensor
    spec = layout.spec_of(tensor)
    where = f"{layout.repo}/{spec.file}"
    if is_packed(spec.dtype):
        by = scheme(layout.config, layout.file_of.keys(), tensor)
        raise NotThere("quantised-head", where, f"{tensor} is {spec.dtype}, quantised by {by}")
    if known_row_format(spec.dtype) is None:
        problem = f"{tensor}'s dtype is {spec.dtype}, expected one of {', '.join(FLOATS)}"
        raise BrokenFile("unsupported-dtype", where, problem)
    _refuse_statements(layout, spec, tensor, where)
    return _with_added_rows(layout, spec, choice.added)


def _refuse_statements(layout: CheckpointLayout, spec: TensorSpec, tensor: str, where: str) -> None:
    """Raise NotThere (`quantised-head`) if what was stored beside a packed matrix says that it is another.

    Costs a request for each of these tensors.
    """
    for name, check in layout.packed[tensor].statements if tensor in layout.packed else ():
        stated = layout.spec_of(name)
        try:
            if len(stated.bytes) > STATEMENT_CAP_BYTES:
                raise ValueError(f"has {len(stated.bytes):,} bytes, expected a short statement")
            check(layout.checkpoint.read_range(stated.file, stated.bytes), spec.dtype, spec.shape)
        except ValueError as error:
            raise NotThere("quantised-head", where, f"{tensor} is quantised: {name} {error}") from None


def _with_added_rows(layout: CheckpointLayout, spec: TensorSpec, added: Sequence[str]) -> TensorSpec:
    """The matrix with the rows of the tensors in `added` at its end."""
    if not added:
        return spec
    parts, rows = [TensorPart(spec, (0, 0))], spec.shape[0] if spec.shape else 0
    for name in added:
        further = layout.spec_of(name)
        parts.append(TensorPart(further, (rows, 0)))
        rows += further.shape[0] if further.shape else 0
    whole = join_parts(spec.name, parts, MatrixSize(rows, spec.shape[-1], padded=False), layout.repo)
    return replace(whole, name=spec.name)


def _identity(
    layout: CheckpointLayout, matrix: MatrixName, choice: Choice, spec: TensorSpec, scale: ScaleSpec | None
) -> Identity:
    checkpoint, config, card = layout.checkpoint, layout.config, layout.checkpoint.card
    model_type = short_text(config.get("model_type"))
    name = checkpoint.folder.name if checkpoint.folder else checkpoint.repo
    base_model = short_text(card.base_model) or layout.adapter_of or layout.base_model
    family = family_of(model_type, base_model, name)
    if layout.gguf is not None and family.name is None:  # a folder of many models, or of one in a file
        family = family_of(model_type, base_model, spec.file)
    org = checkpoint.repo.partition("/")[0] if not checkpoint.folder else None
    return Identity(
        repo=checkpoint.repo,
        revision=checkpoint.revision,
        sha=checkpoint.sha,
        org=org if org and "/" in checkpoint.repo else None,
        family=family.name,
        family_by=family.by,
        model_type=model_type,
        architecture=short_text(architecture(config)),
        base_model=base_model,
        matrix=matrix,
        tensor=spec.name,
        file=spec.file,
        tied=choice.tied,
        tie_stated=stated_tie(config),
        head_bias=layout.head_bias,
        stored_as=row_format_of(spec.dtype, layout.repo).code,
        bits_per_weight=8 * spec.row_bytes / spec.shape[1],
        quantised=scale is not None or spec.dtype not in FLOATS,
        scale=f"{scale.tensor.name} per {scale.per}" if scale else None,
        library_name=short_text(card.library_name),
        tags=tuple(tag for tag in card.tags[:MOST_TAGS] if short_text(tag)),
        last_modified=card.last_modified,
    )
