"""Open a matrix, measure it, study its sky: the functions for notebooks."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from survey.errors import NotOffered
from survey.hub.access import stated_endpoint
from survey.measures import measure_result
from survey.measures.unused_distances import StoredMatrix, UnusedDistances, unused_distances
from survey.numerics.dtypes import FLOATS
from survey.numerics.row_decoder import RowDecoder
from survey.numerics.row_formats import RowFormat
from survey.numerics.scale import Scale
from survey.onepass.device import DeviceRows, choose_device, device_of_products, device_of_rows
from survey.onepass.fold import fold
from survey.opening import Matrix, OnProgress, open_model
from survey.process.machine import cpus
from survey.records.blocks import Block
from survey.records.measured_columns import Measurement
from survey.records.settings import Settings
from survey.records.target import MatrixName, ModelRef

if TYPE_CHECKING:
    import torch

    from survey.sky.basis import Axes
    from survey.sky.sphere import Field
    from survey.sky.study import ClusterStudy
    from survey.spectra.study import SpectrumStudy


def open_matrix(
    model: str | Path,
    matrix: MatrixName = "output",
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    connections: int = 16,
) -> Matrix:
    """Find a model's unembedding (or its embedding, `input`) and open it for streaming.

    model: a Hub id such as `Qwen/Qwen3-4B` or `Qwen/Qwen3-4B@main`, or a checkpoint folder (a
    Path, or a string that names an existing folder); `:` and a folder, a file or a quantisation (`Q4_K_M`) in
    it if it holds several models; or a .gguf file. Raises SurveyError with a `reason` if it cannot be read,
    UsageError if the endpoint is no URL.
    """
    settings = Settings(
        endpoint=stated_endpoint(endpoint or None, "endpoint"),
        token=token,
        connections=connections,
    )
    if not str(model):
        raise NotOffered("not-found", "open_matrix", "an empty name stands for no model")
    part = None
    if not isinstance(model, Path) and not os.path.isdir(model):
        model, _, part = model.rpartition(":") if ":" in model else (model, "", None)
    folder = Path(model) if isinstance(model, Path) or os.path.isdir(model) else None
    if (folder or Path(model)).suffix == ".gguf" and os.path.isfile(folder or model):
        folder, part = Path(model).parent, Path(model).name
    if folder is None and revision is None:
        model, _, revision = str(model).partition("@")
    if folder is not None and not os.path.isdir(folder):
        raise NotOffered("not-found", str(model), "no such folder")
    return open_model(ModelRef(str(model), revision or None, folder, part=part), matrix, settings)


def measure(
    matrix: torch.Tensor | NDArray[np.generic] | Matrix,
    *,
    device: str = "auto",
    threads: int | None = None,
    tokens: bool = True,
    on_progress: OnProgress = lambda count: None,
) -> Measurement:
    """Every measured column of a matrix [V, D] in F64, F32, F16, BF16 or FP8 (E4M3, E5M2).

    matrix: a torch tensor on any device, a numpy array, or an open `Matrix`. Rows are identical if their
    bytes are. device: `auto` measures a tensor on a GPU where it lies, and all else there only if the GPU is
    in use already. threads: CPU threads; None is one for each CPU. Raises TypeError or ValueError for another
    dtype or shape.
    """
    row_format, shape, blocks, scale = _blocks(matrix, on_progress)
    if isinstance(blocks, DeviceRows):
        chosen = device_of_rows(blocks, device)
    else:
        chosen = choose_device(device, shape[0] * row_format.row_bytes(shape[1]))
    with fold(blocks, row_format, shape, chosen.name, scale, threads) as result:
        return measure_result(result, tokens=tokens, threads=threads or cpus())


def cluster(
    matrix: torch.Tensor | NDArray[np.generic] | Matrix,
    *,
    axes: Axes | None = None,
    token: int | None = None,
    field: Field | None = None,
    device: str = "auto",
    on_progress: OnProgress = lambda count: None,
) -> ClusterStudy:
    """The sky of a matrix [V, D], and the rows that bf16 cannot tell from a reference row.

    matrix: as for `measure`; an open one is read once. axes: the principal components at the north pole,
    the prime meridian and the equinox (2, 1, 3), each by its number from 1; negative flips its sign. token:
    the reference; without it the first row in `field`, else the largest black hole's first. field: the
    telescope's; without it a circle of 0.0005° around the reference. Raises UsageError if there is no such
    axis, row or field, or if eigenvalues are equal and leave an axis undetermined.
    """
    from survey.sky.study import AXES, study  # here: a survey needs none of it

    row_format, (vocab_rows, dims), blocks, scale = _blocks(matrix, on_progress)
    return study(
        blocks,
        RowDecoder(row_format, dims, scale),
        vocab_rows,
        axes=axes or AXES,
        token=token,
        view=field,
        device=device_of_products(device, vocab_rows, dims).name,
    )


def spectrum(
    matrix: torch.Tensor | NDArray[np.generic] | Matrix,
    *,
    device: str = "auto",
    on_progress: OnProgress = lambda count: None,
) -> SpectrumStudy:
    """The singular values of a matrix [V, D], what follows from them, and the directions of its spread.

    matrix: as for `measure`; an open one is read once. device: does the products and the eigenvalues, in
    float64: D² numbers of 8 bytes lie there a few times.
    """
    from survey.spectra.study import study_spectrum  # here: a survey needs none of it

    row_format, (vocab_rows, dims), blocks, scale = _blocks(matrix, on_progress)
    return study_spectrum(
        blocks,
        RowDecoder(row_format, dims, scale),
        vocab_rows,
        device_of_products(device, vocab_rows, dims).name,
    )


def distances_to_unused(
    matrix: Matrix, unused: Sequence[int], on_progress: OnProgress = lambda count: None
) -> UnusedDistances:
    """Distances of every row to the mean of the `unused` rows; reads the matrix twice. Raises SurveyError."""
    vocab_rows, dims = matrix.shape
    decoder = RowDecoder(matrix.row_format, dims, matrix.scale())
    stored = StoredMatrix(lambda: matrix.blocks(on_progress), vocab_rows, decoder)
    return unused_distances(stored, unused)


def _blocks(
    matrix: torch.Tensor | NDArray[np.generic] | Matrix, on_progress: OnProgress
) -> tuple[RowFormat, tuple[int, int], Iterable[Block], Scale | None]:
    """Format, shape (V, D), stored bytes and scale of a matrix."""
    if isinstance(matrix, Matrix):
        return matrix.row_format, matrix.shape, matrix.blocks(on_progress), matrix.scale()
    code, shape, stored = _stored(matrix)
    return FLOATS[code], shape, stored, None


def _stored(matrix: torch.Tensor | NDArray[np.generic]) -> tuple[str, tuple[int, int], Iterable[Block]]:
    """dtype code, shape (V, D) and stored bytes of a tensor. Raises TypeError, ValueError."""
    import torch  # here: it takes seconds to load, and an open matrix needs none

    if isinstance(matrix, torch.Tensor):
        tensor = matrix.detach()
    elif isinstance(matrix, np.ma.MaskedArray):
        raise TypeError("a masked array has no bytes of its own; fill or drop what is masked")
    elif not isinstance(matrix, np.ndarray):
        kinds = "a torch tensor, a numpy array, or a model's matrix from survey.open_matrix"
        raise TypeError(f"is a {type(matrix).__name__}, expected {kinds}")
    else:
        # A copy if the array is not contiguous, not writable or not of this machine's byte order.
        native = matrix.astype(matrix.dtype.newbyteorder("="), copy=False)
        tensor = torch.from_numpy(np.require(native, requirements=["C", "W"]))
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_nested:
        raise TypeError(
            f"the tensor is {tensor.layout} on {tensor.device}, expected one with its bytes in memory"
        )
    codes = {getattr(torch, form.torch_name): form.code for form in FLOATS.values()}
    if tensor.dtype not in codes:
        expected = ", ".join(map(str, codes))
        raise TypeError(f"dtype is {tensor.dtype}, expected one of {expected}: convert it first")
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise ValueError(f"shape is {tuple(tensor.shape)}, expected [V, D] with V, D ≥ 1")
    shape = tensor.shape[0], tensor.shape[1]
    if tensor.is_cuda:
        return codes[tensor.dtype], shape, DeviceRows(tensor.resolve_neg())
    try:
        contiguous = tensor.resolve_neg().cpu().contiguous()
        stored = contiguous.view(torch.uint8).numpy().data.cast("B")
    except RuntimeError as error:  # a tensor whose rows have no memory, or more than there is
        raise ValueError(f"the tensor's bytes cannot be laid out in memory: {error}") from error
    return codes[tensor.dtype], shape, [stored]
