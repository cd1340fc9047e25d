"""`survey cluster`: study the sky of one model, write its tensors, put its row into the catalog."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from catalog.store.open import CatalogStore
from jobs.results.commit import columns, commit_row, run_columns
from survey.api import cluster
from survey.errors import UsageError
from survey.onepass.device import choose_device
from survey.opening import Matrix, open_model
from survey.process.atomic_write import write_atomically
from survey.records.results import ClusterRow
from survey.records.settings import Settings
from survey.records.target import MatrixName, ModelRef
from survey.sky.basis import Axes
from survey.sky.sphere import Field
from survey.sky.study import ClusterStudy

OnOpened = Callable[[Matrix], Callable[[int], None]]


@dataclass(frozen=True, slots=True)
class ClusterRequest:
    """What to look at. output: where the tensors go, if anywhere."""

    model: ModelRef
    matrix: MatrixName = "output"
    axes: Axes = Axes()
    token: int | None = None
    field: Field | None = None
    output: Path | None = None


def study_cluster(
    wanted: ClusterRequest, settings: Settings, place: CatalogStore, opened: OnOpened
) -> tuple[ClusterRow, ClusterStudy]:
    """Study the sky; `opened` is told of the matrix and makes a counter of its bytes.

    The same matrix, axes, reference and field give the same row, which replaces the former one. Raises
    SurveyError where the model cannot be read or the row not be written, UsageError where there is no
    such row, field or axis.
    """
    start = time.perf_counter()
    device = choose_device(settings.device)
    with open_model(wanted.model, wanted.matrix, settings) as matrix:
        found = cluster(
            matrix,
            axes=wanted.axes,
            token=wanted.token,
            field=wanted.field,
            device=device,
            on_progress=opened(matrix),
        )
        identity = matrix.target.identity
    if wanted.output is not None:
        write_tensors(found, wanted.output)
    row = ClusterRow(
        repo=identity.repo,
        revision=identity.revision,
        sha=identity.sha,
        matrix=identity.matrix,
        **columns(found.figures),
        **run_columns(),
        device=device,
        elapsed_s=time.perf_counter() - start,
    )
    return commit_row(place, "clusters", _key(row), row), found


def write_tensors(found: ClusterStudy, path: Path) -> None:
    """The notebook's four tensors, whole or not at all. Raises UsageError."""
    from safetensors.numpy import save

    try:
        write_atomically(path, save(found.tensors()))
    except OSError as error:
        raise UsageError(f"-o {path}: cannot be written: {error.strerror}") from error


def _key(row: ClusterRow) -> tuple[str, ...]:
    """What tells one result from another."""
    axes = (row.north, row.meridian, row.equinox)
    field = (row.field_lat_deg, row.field_lon_deg, row.field_diameter_deg, row.field_radius_deg)
    # A field around its reference follows from it; its centre's last digits may differ on another machine.
    pointing = field if row.ref_by == "field" else field[2:]
    return tuple(map(str, (row.repo, row.sha, row.matrix, *axes, row.ref_by, row.ref_token_id, *pointing)))
