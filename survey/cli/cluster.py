"""`survey cluster`: the sky of one matrix, and the rows near a reference row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.one_matrix import byte_bar, matrix_options, one_model
from survey.cli.options import settings_from_options
from survey.cli.output import check_output, print_single_result
from survey.errors import UsageError

if TYPE_CHECKING:
    from jobs.single_results.cluster import ClusterRequest
    from survey.records.results import ClusterRow
    from survey.records.target import MatrixName
    from survey.sky.sphere import Field
    from survey.sky.study import ClusterStudy


def _axis(name: str, default: int, position: str) -> Callable[[Any], Any]:
    return click.option(
        f"--{name}", type=int, default=default, show_default=True, metavar="N",
        help=f"Principal component at {position}; negative flips its sign.",
    )  # fmt: skip


@click.command("cluster")
@click.argument("model")
@_axis("north", 2, "latitude +90°")
@_axis("meridian", 1, "latitude 0°, longitude 0°")
@_axis("equinox", 3, "latitude 0°, longitude +90°")
@click.option(
    "--token",
    type=int,
    metavar="ID",
    help="The reference row's token id (default: of the largest black hole).",
)
@click.option("--lat", "lat_deg", type=float, metavar="DEG", help="Latitude of the telescope's field.")
@click.option("--lon", "lon_deg", type=float, metavar="DEG", help="Longitude of the field.")
@click.option(
    "--diameter", "diameter_deg", type=float, metavar="DEG", help="Size of the field: a box, as wide as high."
)
@click.option(
    "--radius", "radius_deg", type=float, metavar="DEG",
    help="Size of the field: a circle on the sphere, also at the poles and the ±180° seam.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.safetensors",
    help="Write cluster_mask, cluster_token_ids, ref_token_id and n_cluster to this file.",
)  # fmt: skip
@matrix_options
def command(
    model: str,
    matrix: MatrixName,
    token: int | None,
    output: Path | None,
    plot: Path | None,
    endpoint: str | None,
    connections: int | None,
    device: str,
    uri: str,
    output_format: str,
    **sky: Any,  # Any: the numbers of the axes and of the field
) -> int:
    """Map the sky of one matrix, and find the rows that bf16 cannot tell from a reference row.

    MODEL is a Hub id, org/name[@revision], or a checkpoint folder. Three principal components are the axes
    of a sphere. The reference h is the first row in a telescope's field (--lat --lon with --diameter or
    --radius), or the row of --token; else a row of the largest black hole. The cluster is every row t with
    bf16(t · h) = bf16(h · h).

    \b
    survey cluster Qwen/Qwen3-4B-Instruct-2507 --plot sky.png
    survey cluster Qwen/Qwen3-4B --lat -7.2888 --lon 6.94 --diameter 0.001 -o cluster.safetensors
    survey cluster ./my-checkpoint --token 124 --north 1 --meridian -2
    """
    from catalog.store.open import open_for_writing
    from jobs.single_results.cluster import study_cluster
    from queries.drawing.picture_files import check_picture
    from queries.text.cluster import print_cluster

    if plot is not None:
        check_picture(plot)
    if output is not None:
        check_output(output, ("cluster_mask", "cluster_token_ids"))
    request = _request(model, matrix, token, output, sky)
    settings = replace(settings_from_options(endpoint, connections), device=device)
    with byte_bar(model) as opened:
        row, study = study_cluster(request, settings, open_for_writing(uri), opened)
    print_single_result("clusters", row, output_format, print_cluster)
    if plot is not None:
        _draw(row, study, plot)
    return 0


def _request(
    model: str, matrix: MatrixName, token: int | None, output: Path | None, sky: dict[str, Any]
) -> ClusterRequest:
    """The request of these options. Raises UsageError."""
    from jobs.single_results.cluster import ClusterRequest
    from survey.sky.basis import Axes

    axes = Axes(*(sky[name] for name in ("north", "meridian", "equinox")))
    field = _field(*(sky[name] for name in ("lat_deg", "lon_deg", "diameter_deg", "radius_deg")))
    return ClusterRequest(one_model(model), matrix, axes, token, field, output)


def _draw(row: ClusterRow, study: ClusterStudy, plot: Path) -> None:
    from queries.charts.sky import sky_chart
    from queries.drawing.picture_files import save_picture

    black_holes = [(rows[0], len(rows)) for rows in study.black_holes]
    save_picture(sky_chart(row, study.sky.lat_deg, study.sky.lon_deg, black_holes), plot)


def _field(
    lat_deg: float | None, lon_deg: float | None, diameter_deg: float | None, radius_deg: float | None
) -> Field | None:
    from survey.sky.sphere import Field

    given = [value is not None for value in (lat_deg, lon_deg, diameter_deg, radius_deg)]
    if not any(given):
        return None
    if lat_deg is None or lon_deg is None or (diameter_deg is None) == (radius_deg is None):
        raise UsageError("point the telescope with all of --lat, --lon and one of --diameter and --radius")
    field = Field(lat_deg, lon_deg, diameter_deg, radius_deg)
    field.check()
    return field
