"""The scale of a matrix in 8 bits: one tensor, or one for each part of the matrix, stored beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from survey.errors import NotThere
from survey.numerics.dtypes import FLOATS
from survey.records.tensors import ScaleSpec, TensorSpec
from survey.targets.checkpoint_layout import CheckpointLayout
from survey.unembedding.gguf_tensors import BIAS, EMBEDDING, HEAD
from survey.unembedding.quantisation import of_activations
from survey.unembedding.scale_tensors import refuse_other_factors, scale_name, scale_of_parts, scale_spec

# In the modules of a head and of an embedding of llama.cpp. Scales have rules of their own.
_KNOWN_OF_GGUF = (HEAD, EMBEDDING, BIAS, "output.scale", "token_embd.scale")


def has_scale(layout: CheckpointLayout, spec: TensorSpec) -> bool:
    """Whether the layout names a scale of a tensor. Raises NotThere (`quantised-head`) if that is open."""
    return scale_name(layout.file_of, spec.name, f"{layout.repo}/{spec.file}") is not None


def scale_of_matrix(layout: CheckpointLayout, spec: TensorSpec, tensor: str) -> ScaleSpec | None:
    """The scale of a matrix in 8 bits; None if the files hold none. tensor: the matrix's own name.

    Raises NotThere (`quantised-head`, `split-head`) if no rule applies the scale to the matrix.
    """
    if layout.gguf is not None:
        return _scale_of_gguf(layout, spec)
    if tensor in layout.packed:
        known = {name for packing in layout.packed.values() for name in packing.all}
        refuse_other_factors(layout.file_of, tensor, known, f"{layout.repo}/{spec.file}")
        return _scale_of_packing(layout, spec, *(layout.packed[tensor].scale or ("", False)))
    if spec.dtype not in FLOATS or FLOATS[spec.dtype].bits != 8:
        return None
    where = f"{layout.repo}/{spec.file}"
    parts_have_scales = tensor in layout.parts_of and tensor not in layout.sizes
    if parts_have_scales and (scales := _scales_of_parts(layout, spec, tensor)):
        if any(scale.file not in spec.files for scale in scales):
            raise NotThere("quantised-head", where, f"{tensor} has its scales in files of their own")
        return scale_of_parts(spec, scales, layout.config, where)
    name = scale_name(layout.file_of, tensor, where)
    if name is None:
        return None
    scale = layout.spec_of(name)
    if scale.pieces and not set(scale.files) <= set(spec.files):
        raise NotThere("quantised-head", where, f"{name} is stored in parts, in files of their own")
    file_bytes = layout.checkpoint.files.get(scale.file, 0)
    return scale_spec(spec, scale, file_bytes, layout.config, f"{layout.repo}/{scale.file}")


def _scale_of_gguf(layout: CheckpointLayout, spec: TensorSpec) -> ScaleSpec | None:
    """The one factor of a matrix in NVFP4; None if the files hold none. Raises NotThere.

    llama.cpp multiplies by `output.scale` what a head in NVFP4 gives, and reads no other tensor of that kind.
    """
    of_tied = (HEAD,) if HEAD not in layout.file_of else ()
    _refuse_others_of_gguf(layout, spec, of_tied)
    scales = (name.removesuffix(".weight") + ".scale" for name in (spec.name, *of_tied))
    names = [name for name in scales if name in layout.file_of]
    if names and (spec.name, spec.dtype) != (HEAD, "NVFP4"):
        problem = f"{spec.name} is stored in {spec.dtype} beside {names[0]}, which no rule applies to it"
        raise NotThere("quantised-head", f"{layout.repo}/{spec.file}", problem)
    return _scale_of_packing(layout, spec, names[0], divides=False) if names else None


def _refuse_others_of_gguf(layout: CheckpointLayout, spec: TensorSpec, of_tied: Sequence[str]) -> None:
    """Raise NotThere (`quantised-head`) if its module, or that of a missing head, holds unknown tensors."""
    modules = tuple(name.removesuffix("weight") for name in (spec.name, *of_tied))
    others = sorted(
        name
        for name in layout.file_of
        if name.startswith(modules) and not of_activations(name) and name not in _KNOWN_OF_GGUF
    )
    if others:
        problem = f"{spec.name} stands beside {others[0]}, which no rule applies to it"
        raise NotThere("quantised-head", f"{layout.repo}/{spec.file}", problem)


def _scale_of_packing(
    layout: CheckpointLayout, spec: TensorSpec, name: str, divides: bool
) -> ScaleSpec | None:
    """The one factor of a packed matrix, by its name; None if its rows hold all factors. Raises NotThere."""
    if not name:
        return None
    scale = layout.spec_of(name)
    where = f"{layout.repo}/{scale.file}"
    if math.prod(scale.shape) != 1:
        raise NotThere("quantised-head", where, f"{name} has shape {list(scale.shape)}, expected one factor")
    file_bytes = layout.checkpoint.files.get(scale.file, 0)
    return replace(scale_spec(spec, scale, file_bytes, layout.config, where), divides=divides)


def _scales_of_parts(layout: CheckpointLayout, spec: TensorSpec, tensor: str) -> list[TensorSpec]:
    """The scale of each part of a matrix, in their order; empty if no part has one of its own.

    Raises NotThere (`split-head`) if some parts have one and others have none.
    """
    where = f"{layout.repo}/{spec.file}"
    if spec.pieces and all(piece.tensor.name == tensor for piece in spec.pieces):
        scales = _scales_of_devices(layout, spec, tensor, where)
    else:
        scales = _scales_of_numbered_parts(layout, spec, tensor, where)
    if not scales:
        return []
    if missing := [piece.tensor for piece, scale in zip(spec.pieces, scales, strict=True) if scale is None]:
        problem = f"{missing[0].name} in {missing[0].file} has no scale, and other parts have one"
        raise NotThere("split-head", where, problem)
    return [scale for scale in scales if scale is not None]


def _scales_of_devices(
    layout: CheckpointLayout, spec: TensorSpec, tensor: str, where: str
) -> list[TensorSpec | None]:
    """The scale of each part of a matrix whose parts have one name, in a file for each device."""
    name = scale_name(layout.file_of, tensor, where)
    if name is None or name not in layout.parts_of:
        return []
    scale_in = {part.tensor.file: part.tensor for part in layout.parts_of[name]()}
    return [scale_in.get(piece.tensor.file) for piece in spec.pieces]


def _scales_of_numbered_parts(
    layout: CheckpointLayout, spec: TensorSpec, tensor: str, where: str
) -> list[TensorSpec | None]:
    """The scale of each part of a matrix whose parts have names with numbers.

    Raises NotThere (`quantised-head`) if the whole has a scale, too.
    """
    names = [scale_name(layout.file_of, piece.tensor.name, where) for piece in spec.pieces]
    if not any(names):
        return []
    if whole := scale_name([name for name in layout.file_of if name not in names], tensor, where):
        raise NotThere("quantised-head", where, f"{whole} scales {tensor}, and so does {names[0]}")
    return [layout.spec_of(name) if name else None for name in names]
