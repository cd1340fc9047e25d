"""The chart of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queries.drawing.line_chart import line_chart
from survey.records.results import TrainingRow

if TYPE_CHECKING:
    import altair as alt


COURSES = {
    "loss": "loss",
    "dead_grad_norm": "dead grad",
    "live_dead_ratio": "live/dead",
    "coherence": "coherence",
    "hidden_cosine": "cos(grad, h)",
    "centroid_angle_deg": "angle °",
    "centroid_norm": "‖centroid‖",
    "mean_radius": "radius",
}


def run_chart(row: TrainingRow) -> alt.VConcatChart:
    """Loss; what pushes a live and a dead row; the angle between the two clouds' centroids."""
    import altair as alt

    pushes = {"live rows": row.live_grad_norm, "dead rows": row.dead_grad_norm}
    chart: alt.VConcatChart = alt.vconcat(
        line_chart("loss", row.steps, {"loss": row.loss}, log_steps=True),
        line_chart("‖gradient‖ of a row", row.steps, pushes, log=True, log_steps=True),
        line_chart("dead–live angle, °", row.steps, {"angle": row.centroid_angle_deg}, log_steps=True),
        title=f"{row.setup}: {row.dead_count:,} of {row.vocabulary:,} tokens never occur",
    ).resolve_scale(color="independent")
    return chart
