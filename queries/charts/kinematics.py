"""The chart of a followed history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queries.drawing.line_chart import line_chart
from survey.errors import printable
from survey.records.results import KinematicsRow

if TYPE_CHECKING:
    import altair as alt


def motion_chart(row: KinematicsRow) -> alt.VConcatChart:
    """Centroid norm; bulk against thermal speed; the cloud's radius, over the recorded steps."""
    import altair as alt

    speeds = {"bulk speed": row.bulk_speed, "thermal speed": row.thermal_rms}
    radii = {"mean radius": row.mean_radius, "max radius": row.max_radius}
    chart: alt.VConcatChart = alt.vconcat(
        line_chart("‖centroid‖", row.steps, {"centroid norm": row.centroid_norm}),
        line_chart("speed per record", row.steps, speeds, log=True),
        line_chart("distance from centroid", row.steps, radii),
        title=f"{row.dead_count:,} dead rows of {printable(row.source).rpartition('/')[2]}",
    ).resolve_scale(color="independent")
    return chart
