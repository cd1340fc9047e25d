"""The motion of dead rows for a person, as text."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from survey.errors import printable
from survey.records.results import KinematicsRow


def print_motion(row: KinematicsRow, console: Console) -> None:
    """Print the source of a history, its gaps and every check."""
    console.print(f"[bold]{escape(printable(_short(row.source)))}[/]")
    frame = "positions" if row.frame == "absolute" else "displacements from an unknown start"
    console.print(
        f"{row.dead_count:,} dead rows × {row.hidden_dim:,}, {row.recorded_count:,} recorded steps "
        f"{row.first_step:,}–{row.last_step:,}; {frame}"
    )
    if row.gaps:
        after = ", ".join(f"{step:,}" for step in row.gaps[:5])
        more = ", …" if len(row.gaps) > 5 else ""
        count = f"{row.missing_steps:,} record{'s' if row.missing_steps > 1 else ''}"
        console.print(f"{count} missing, after step {after}{more}", style="yellow")
    lines = {
        "thermal velocities' sum": f"max {_e(row.thermal_sum_max)}, mean {_e(row.thermal_sum_mean)}",
        "‖centroid‖": f"{row.centroid_norm_first:.6f} → {row.centroid_norm_last:.6f}; "
        f"min {row.centroid_norm_min:.6f} (step {row.centroid_norm_min_step:,}), "
        f"max {row.centroid_norm_max:.6f} (step {row.centroid_norm_max_step:,})",
        "path / displacement": f"{row.path_length:.6f} / {row.displacement:.6f}"
        + (f": straightness {row.straightness:.4f}" if row.straightness is not None else ""),
        "mean radius": f"{row.mean_radius_first:.6f} → {row.mean_radius_last:.6f}; "
        f"max {max(row.max_radius):.6f} (step {row.steps[_argmax(row.max_radius)]:,})",
        "bulk / thermal, first": _velocities(row, 0 if row.bulk_speed[0] is not None else 1),
        "bulk / thermal, last": _velocities(row, len(row.steps) - 1),
        "stops at step": f"bulk motion {_stop(row.bulk_stop_step)}, "
        f"contraction {_stop(row.contraction_stop_step)}, "
        f"loss {_stop(row.loss_stop_step) if row.loss else 'not recorded'}",
    }
    for name, text in lines.items():
        console.print(f"  {name:<24} {text}", highlight=False)


def _short(source: str) -> str:
    """A path relative to the working folder, if it lies there."""
    here = f"{Path.cwd()}/"
    return source.removeprefix(here)


def _velocities(row: KinematicsRow, at: int) -> str:
    if at >= len(row.steps):
        return "unknown"
    ratio = row.bulk_thermal_ratio[at]
    text = f"{_e(row.bulk_speed[at])} / {_e(row.thermal_rms[at])}"
    return f"{text} = {ratio:.2f}" if ratio is not None else text


def _argmax(values: tuple[float, ...]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _e(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6e}"


def _stop(step: int | None) -> str:
    return "none" if step is None else f"{step:,}"
