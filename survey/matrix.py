"""One matrix, open for reading, and its measurement: what notebooks use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from survey.checkpoint import Checkpoint
from survey.dtypes import FLOATS, FloatFormat, float_format
from survey.errors import BrokenFile, NotOffered
from survey.locate import lay_out, locate
from survey.measurement import Measurement
from survey.measures import measure_folded
from survey.one_pass import Clock, choose_device, fold, usable_cpus
from survey.pace import Pace
from survey.pieces import stream_rows
from survey.scale import Scale, scale_of
from survey.slabs import row_blocks
from survey.stream import Block
from survey.target import MatrixName, ModelRef, Settings, Target

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from survey.sky.basis import Axes
    from survey.sky.sphere import Field
    from survey.sky.study import ClusterStudy
    from survey.unused_distances import UnusedDistances

OnProgress = Callable[[int], None]

AT_REST = "run again when nothing writes into it"


class Matrix:
    """A [V, D] matrix of a checkpoint, read as row-aligned blocks, in order.

    `clock.waited_s` and `traffic` tell what reading it has cost so far.
    """

    def __init__(self, target: Target, checkpoint: Checkpoint) -> None:
        self.target = target
        self.clock = Clock()
        self._checkpoint = checkpoint

    @property
    def shape(self) -> tuple[int, int]:
        """(V, D)."""
        rows, dims = self.target.spec.shape
        return rows, dims

    @property
    def dtype(self) -> str:
        return self.target.spec.dtype

    @property
    def checkpoint(self) -> Checkpoint:
        return self._checkpoint

    def scale(self) -> Scale | None:
        """What the stored values are multiplied by, read from the files."""
        spec = self.target.scale
        if spec is None:
            return None
        if spec.tensor.pieces:  # in the files of the matrix's own parts
            blocks = stream_rows(self._checkpoint, spec.tensor, [spec.tensor.bytes])
            return scale_of(spec, b"".join(bytes(block) for block in blocks))
        return scale_of(spec, self._checkpoint.read_range(spec.tensor.file, spec.tensor.bytes))

    def blocks(self, on_progress: OnProgress = lambda count: None) -> Iterator[Block]:
        """The stored bytes in order; `on_progress` is told of every byte as it comes."""
        spec = self.target.spec
        return self.clock.over(stream_rows(self._checkpoint, spec, row_blocks(spec), on_progress))

    def __enter__(self) -> Matrix:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held between blocks; connections belong to huggingface_hub's session."""


def open_checkpoint(model: ModelRef, settings: Settings, pace: Pace | None = None) -> Checkpoint:
    """A Hub repository at a commit (one request), or a folder of this machine."""
    if model.folder is not None:
        from survey.folder import FolderCheckpoint

        return FolderCheckpoint(model.folder, model.part)
    from survey.hub_api import resolve  # here: huggingface_hub takes a while to load

    return resolve(model.repo, model.revision, settings, pace, model.part)


def reopen(checkpoint: Checkpoint, settings: Settings, pace: Pace | None = None) -> Checkpoint:
    """The same commit with its time before it, without asking anything again."""
    if checkpoint.folder is not None:
        return checkpoint
    from survey.hub import HubCheckpoint
    from survey.hub_http import Manners

    return HubCheckpoint(
        _hub_id(checkpoint.repo, checkpoint.part),
        checkpoint.revision,
        checkpoint.sha,
        checkpoint.files,
        settings,
        Manners(settings, pace),
        checkpoint.card,
        checkpoint.part,
    )


def _hub_id(repo: str, part: str | None) -> str:
    return repo.removesuffix(f":{part}") if part else repo


def open_target(
    target: Target, settings: Settings, pace: Pace | None = None, limit_s: float | None = None
) -> Matrix:
    """Open what was planned, without asking anything again; to be read within `limit_s` seconds.

    Raises BrokenFile where a folder has changed since.
    """
    identity = target.identity
    if target.folder is None:
        from survey.hub import HubCheckpoint
        from survey.hub_http import Manners

        files = dict((*target.files, *target.tokenizer_files))
        if target.scale is not None and not target.scale.tensor.pieces:
            files[target.scale.tensor.file] = target.scale.file_bytes
        hub = HubCheckpoint(
            _hub_id(identity.repo, target.part),
            identity.revision,
            identity.sha,
            files,
            settings,
            Manners(settings, pace, limit_s),
            part=target.part,
        )
        return Matrix(target, hub)
    from survey.folder import FolderCheckpoint

    checkpoint = FolderCheckpoint(target.folder, target.part)
    if checkpoint.sha != identity.sha:
        raise BrokenFile("bad-header", identity.repo, "the folder changed after it was planned", AT_REST)
    return Matrix(target, checkpoint)


def open_model(model: ModelRef, matrix: MatrixName, settings: Settings) -> Matrix:
    """Find one matrix of a model and open it. Raises SurveyError."""
    checkpoint = open_checkpoint(model, settings)
    return Matrix(locate(checkpoint, lay_out(checkpoint), matrix, settings.connections), checkpoint)


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
    Path, or a string that names an existing folder); `:` and a folder or file in it where it holds
    several models. Raises SurveyError with a `reason` where it cannot be read, UsageError for an
    endpoint that is no URL.
    """
    from survey.hub_access import stated_endpoint

    settings = Settings(
        endpoint=stated_endpoint(endpoint or None, "endpoint"),
        token=token,
        connections=connections,
    )
    if not str(model):
        raise NotOffered("not-found", "open_matrix", "an empty name stands for no model")
    part = None
    if not isinstance(model, Path) and not Path(model).is_dir():
        model, _, part = model.rpartition(":") if ":" in model else (model, "", None)
    folder = Path(model) if isinstance(model, Path) or Path(model).is_dir() else None
    if folder is None and revision is None:
        model, _, revision = str(model).partition("@")
    if folder is not None and not folder.is_dir():
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

    matrix: a torch tensor on any device, a numpy array, or an open `Matrix`. Its bytes are what
    identity is decided by. threads: of the CPU's arithmetic; None takes one for each CPU. Raises
    TypeError or ValueError for another dtype or shape.
    """
    form, shape, blocks, scale = _blocks(matrix, on_progress)
    with fold(blocks, form, shape, choose_device(device), scale, threads) as folded:
        return measure_folded(folded, tokens=tokens, threads=threads or usable_cpus())


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
    telescope's; without it a circle of 0.0005° around the reference. Raises UsageError where there is no
    such axis, row or field, or where eigenvalues are equal and leave an axis open.
    """
    from survey.sky.rows import Rows
    from survey.sky.study import AXES, study

    form, shape, blocks, scale = _blocks(matrix, on_progress)
    rows = Rows(form, shape[1], scale)
    return study(
        blocks, rows, shape[0], axes=axes or AXES, token=token, view=field, device=choose_device(device)
    )


def distances_to_unused(
    matrix: Matrix, unused: Sequence[int], on_progress: OnProgress = lambda count: None
) -> UnusedDistances:
    """Distances of every row to the mean of known unused ones; reads the matrix twice. Raises SurveyError."""
    from survey.unused_distances import Stored, unused_distances

    form = float_format(matrix.dtype, matrix.target.identity.repo)
    stored = Stored(lambda: matrix.blocks(on_progress), form, matrix.shape, matrix.scale())
    return unused_distances(stored, unused)


def _blocks(
    matrix: torch.Tensor | NDArray[np.generic] | Matrix, on_progress: OnProgress
) -> tuple[FloatFormat, tuple[int, int], Iterable[Block], Scale | None]:
    """Format, shape and stored bytes of a matrix, and what its values are multiplied by."""
    if isinstance(matrix, Matrix):
        form = float_format(matrix.dtype, matrix.target.identity.repo)
        return form, matrix.shape, matrix.blocks(on_progress), matrix.scale()
    code, shape, stored = _stored(matrix)
    return FLOATS[code], shape, [stored], None


def _stored(matrix: torch.Tensor | NDArray[np.generic]) -> tuple[str, tuple[int, int], Block]:
    """dtype code, shape and stored bytes of a tensor."""
    import numpy as np
    import torch

    if isinstance(matrix, torch.Tensor):
        tensor = matrix.detach()
    elif isinstance(matrix, np.ma.MaskedArray):
        raise TypeError("a masked array has no bytes of its own; fill or drop what is masked")
    elif not isinstance(matrix, np.ndarray):
        kinds = "a torch tensor, a numpy array, or a model's matrix from survey.open_matrix"
        raise TypeError(f"is a {type(matrix).__name__}, expected {kinds}")
    else:
        # A copy where the array is not contiguous, not writable or not of this machine's byte order.
        native = matrix.astype(matrix.dtype.newbyteorder("="), copy=False)
        tensor = torch.from_numpy(np.require(native, requirements=["C", "W"]))
    if tensor.layout != torch.strided or tensor.is_meta:
        raise TypeError(
            f"the tensor is {tensor.layout} on {tensor.device}, expected one with its bytes in memory"
        )
    codes = {getattr(torch, form.torch_name): form.code for form in FLOATS.values()}
    if tensor.dtype not in codes:
        wanted = ", ".join(map(str, codes))
        raise TypeError(f"dtype is {tensor.dtype}, expected one of {wanted}: convert it first")
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise ValueError(f"shape is {tuple(tensor.shape)}, expected [V, D] with V, D ≥ 1")
    contiguous = tensor.cpu().contiguous()
    stored = contiguous.view(torch.uint8).numpy().data.cast("B")
    return codes[tensor.dtype], (tensor.shape[0], tensor.shape[1]), stored
