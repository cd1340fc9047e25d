"""What stands close to what in one matrix: `survey cluster`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.options import catalog_option, plot_option, result_option
from survey.cli.output import check_output, console, hub_access, print_results
from survey.errors import UsageError, printable

if TYPE_CHECKING:
    from survey.opening import Matrix
    from survey.records.settings import Settings
    from survey.records.target import ModelRef
    from survey.sky.sphere import Field


def _axis(name: str, default: int, where: str) -> Callable[[Any], Any]:
    return click.option(
        f"--{name}", type=int, default=default, show_default=True, metavar="N",
        help=f"Principal component at {where}; negative flips its sign.",
    )  # fmt: skip


@click.command("cluster")
@click.argument("model")
@_axis("north", 2, "latitude +90°")
@_axis("meridian", 1, "latitude 0°, longitude 0°")
@_axis("equinox", 3, "latitude 0°, longitude +90°")
@click.option(
    "--token", type=int, metavar="ID", help="The reference row (default: of the largest black hole)."
)
@click.option(
    "--lat", "lat_deg", type=float, metavar="DEG", help="Point the telescope: latitude of its field."
)
@click.option("--lon", "lon_deg", type=float, metavar="DEG", help="Its longitude.")
@click.option(
    "--diameter", "diameter_deg", type=float, metavar="DEG", help="Its size: a box, as wide as high."
)
@click.option(
    "--radius", "radius_deg", type=float, metavar="DEG",
    help="Its size: a circle on the sphere, for the poles and the ±180° seam.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.safetensors",
    help="Write cluster_mask, cluster_token_ids, ref_token_id and n_cluster there.",
)  # fmt: skip
@plot_option
@click.option(
    "--matrix", type=click.Choice(("output", "input")), default="output", show_default=True,
    help="The unembedding or the embedding.",
)  # fmt: skip
@click.option("--endpoint", metavar="URL", help="The Hub (default: HF_ENDPOINT, else huggingface.co).")
@click.option(
    "--connections", type=click.IntRange(1, 64), default=16, show_default=True, metavar="N",
    help="Connections at a time.",
)  # fmt: skip
@click.option(
    "--device", type=click.Choice(("auto", "cpu", "cuda", "mps")), default="auto", show_default=True,
    help="Where the covariance is computed.",
)  # fmt: skip
@catalog_option
@result_option
def command(
    model: str, uri: str, form: str, output: Path | None, plot: Path | None, matrix: Any, **options: Any
) -> int:
    """The sky of one matrix, and the rows that bf16 cannot tell from a reference row.

    MODEL is a Hub id, org/name[@revision], or a checkpoint folder. Three principal components are the axes
    of a sphere. A telescope's field (--lat --lon with --diameter or --radius) picks the first row that it
    sees as the reference h; --token names one; else it is the largest black hole's. The cluster is every
    row t with bf16(t · h) = bf16(h · h).

    \b
    survey cluster Qwen/Qwen3-4B-Instruct-2507 --plot sky.png
    survey cluster Qwen/Qwen3-4B --lat -7.2888 --lon 6.94 --diameter 0.001 -o cluster.safetensors
    survey cluster ./my-checkpoint --token 124 --north 1 --meridian -2
    """
    from catalog.store.open import open_for_writing
    from jobs.results.cluster import ClusterRequest, study_cluster
    from queries.charts.files import check_picture, save_picture
    from queries.charts.sky import sky_chart
    from queries.text.cluster import print_cluster
    from survey.sky.basis import Axes

    if plot is not None:
        check_picture(plot)
    if output is not None:
        check_output(output, ("cluster_mask", "cluster_token_ids"))
    axes = Axes(*(options.pop(name) for name in ("north", "meridian", "equinox")))
    field = _field(*(options.pop(name) for name in ("lat_deg", "lon_deg", "diameter_deg", "radius_deg")))
    wanted = ClusterRequest(_one_model(model), matrix, axes, options.pop("token"), field, output)
    with _byte_bar(model) as opened:
        row, found = study_cluster(wanted, _settings(**options), open_for_writing(uri), opened)
    if form == "table":
        print_cluster(row, console())
    else:
        print_results("clusters", [row], form)
    if plot is not None:
        holes = [(rows[0], len(rows)) for rows in found.black_holes]
        save_picture(sky_chart(row, found.sky.lat_deg, found.sky.lon_deg, holes), plot)
    return 0


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


def _one_model(model: str) -> ModelRef:
    from jobs.planning.model_list import read_models

    (found, *more) = read_models((model,), Path.cwd()).models
    if more:
        raise UsageError(f"{model} names {1 + len(more)} models; this command looks at one")
    if found.problem is not None:
        raise UsageError(f"{found.origin}: {found.problem}")
    if found.revision is not None and "*" in found.revision:
        raise UsageError(f"{model} may be many revisions; this command looks at one")
    return found


def _settings(*, endpoint: str | None, connections: int, device: str) -> Settings:
    from survey.records.settings import Settings

    return Settings(
        **hub_access(endpoint),
        connections=connections,
        device=device,
    )


@contextmanager
def _byte_bar(name: str) -> Iterator[Callable[[Matrix], Callable[[int], None]]]:
    """A bar on stderr, where that is a terminal, of the bytes as they come."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    errors = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=errors, disable=not errors.is_terminal) as bars:

        def opened(matrix: Matrix) -> Callable[[int], None]:
            task = bars.add_task(printable(name), total=len(matrix.target.spec.bytes))
            return lambda count: bars.advance(task, count)

        yield opened
