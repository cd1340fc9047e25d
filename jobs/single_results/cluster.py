"""`survey cluster`: the sky of one matrix, its tensors in a file and its row in the catalog."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from catalog.store.open import CatalogStore
from jobs.single_results.commit import commit_row, made_here
from survey.api import cluster
from survey.errors import UsageError
from survey.onepass.device import device_of_products
from survey.opening import Matrix, open_model
from survey.process.atomic_write import write_atomically
from survey.records.column_field import values_of
from survey.records.results import ClusterRow, WhichMatrix
from survey.records.settings import Settings
from survey.records.target import MatrixName, ModelRef
from survey.sky.basis import Axes
from survey.sky.sphere import Field
from survey.sky.study import ClusterStudy

OnOpened = Callable[[Matrix], Callable[[int], None]]


@dataclass(frozen=True, slots=True)
class ClusterRequest:
    """The matrix, the reference row and the field. output: file of the tensors, if they are kept."""

    model: ModelRef
    matrix: MatrixName = "output"
    axes: Axes = Axes()
    token: int | None = None
    field: Field | None = None
    output: Path | None = None


def study_cluster(
    request: ClusterRequest, settings: Settings, store: CatalogStore, opened: OnOpened
) -> tuple[ClusterRow, ClusterStudy]:
    """Study the sky of a matrix and commit its row; opened(matrix) makes a counter of its bytes.

    The same matrix, axes, reference and field give a row with the same key, which replaces the former one.
    Raises SurveyError if the model cannot be read or the row cannot be committed, UsageError if the matrix
    has no such row, field or axis.
    """
    start = time.perf_counter()
    with open_model(request.model, request.matrix, settings) as matrix:
        device = device_of_products(settings.device, *matrix.shape).name
        study = cluster(
            matrix,
            axes=request.axes,
            token=request.token,
            field=request.field,
            device=device,
            on_progress=opened(matrix),
        )
        identity = matrix.target.identity
    model = WhichMatrix(
        repo=identity.repo, revision=identity.revision, sha=identity.sha, matrix=identity.matrix
    )
    if request.output is not None:
        write_tensors(study, request.output)
    row = ClusterRow(
        **values_of(model, study.figures, made_here()),
        device=device,
        elapsed_s=time.perf_counter() - start,
    )
    return commit_row(store, "clusters", _key(row), row), study


def write_tensors(study: ClusterStudy, path: Path) -> None:
    """Write the four tensors of the study, whole or not at all. Raises UsageError."""
    from safetensors.numpy import save

    try:
        write_atomically(path, save(study.tensors()))
    except OSError as error:
        raise UsageError(f"-o {path}: cannot be written: {error.strerror}") from error


def _key(row: ClusterRow) -> tuple[str, ...]:
    """The values that distinguish one result from another."""
    axes = (row.north, row.meridian, row.equinox)
    field = (row.field_lat_deg, row.field_lon_deg, row.field_diameter_deg, row.field_radius_deg)
    # The centre of a field around its reference follows from it, and its last digits differ among machines.
    pointing = field if row.ref_by == "field" else field[2:]
    return tuple(map(str, (row.repo, row.sha, row.matrix, *axes, row.ref_by, row.ref_token_id, *pointing)))
