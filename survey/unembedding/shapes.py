"""Whether a tensor has the shape of the whole matrix [V, D], judged by the config or by the other matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from survey.errors import NotThere
from survey.records.tensors import TensorSpec
from survey.unembedding.model_config import stated_prompts, stated_shapes, stated_widths

_FOREIGN = "it belongs to another vocabulary"
_MAX_PADDING = 256  # rows; matters for tiny vocabularies only


def refuse_shape(spec: TensorSpec, config: Mapping[str, Any], other: TensorSpec | None, where: str) -> None:
    """Raise NotThere (`no-head`) if a tensor is no [V, D], is stored transposed, or is a part of the matrix.

    other: the other matrix, for comparison if the config states no vocabulary size.
    """
    if len(spec.shape) != 2 or 0 in spec.shape:
        raise NotThere("no-head", where, f"{spec.name} has shape {list(spec.shape)}, expected [V, D]")
    stated = stated_shapes(config)
    if stated:
        _refuse_beside_config(spec, stated, config, where)
    elif other is not None and len(other.shape) == 2:
        _refuse_beside_other(spec, other, where)


def _refuse_beside_config(
    spec: TensorSpec, stated: list[tuple[int, int | None]], config: Mapping[str, Any], where: str
) -> None:
    rows, dims = spec.shape
    if (dims, rows) in stated and (rows, dims) not in stated:
        problem = (
            f"{spec.name} has shape {[rows, dims]}, the config says {[dims, rows]}: it is stored transposed"
        )
        raise NotThere("no-head", where, problem)
    fitting = [size for size, width in stated if width == dims] or [size for size, _ in stated]
    if 10 * rows < 9 * min(fitting):  # a few rows less come from rounding in the config, not from a cut
        problem = f"{spec.name} has {rows:,} rows, the config says {min(fitting):,} tokens: "
        raise NotThere(
            "no-head",
            where,
            problem + (_FOREIGN if 2 * rows < min(fitting) else "rows are missing"),
        )
    prompts = stated_prompts(config)
    if rows - prompts >= 2 * max(fitting) and rows - max(fitting) >= _MAX_PADDING:
        problem = f"{spec.name} has {rows:,} rows, the config says {max(fitting):,} tokens: {_FOREIGN}"
        raise NotThere("no-head", where, problem)
    whole = next((width for _, width in stated if width and width > dims), None)
    if whole and dims not in stated_widths(config).union(width for _, width in stated if width):
        problem = f"{spec.name} has {dims:,} columns, the config says {whole:,}: columns are missing"
        raise NotThere("no-head", where, problem)


def _refuse_beside_other(spec: TensorSpec, other: TensorSpec, where: str) -> None:
    rows, dims = spec.shape
    if spec.shape == other.shape[::-1] != other.shape:
        problem = f"{spec.name} has shape {[rows, dims]}, {other.name} {list(other.shape)}: "
        problem += "one of them is stored transposed"
        raise NotThere("no-head", where, problem)
    # A matrix may have a few rows less than the other: those for images, or padding.
    if 10 * rows < 9 * other.shape[0]:
        problem = f"{spec.name} has {rows:,} rows, {other.name} {other.shape[0]:,}: {_FOREIGN}"
        raise NotThere("no-head", where, problem)
