"""Fetch and measure one matrix: the same function in this process and in a Ray worker."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from catalog.tables import tables_of
from jobs.outcome import Delivered, Failed, Headline, Outcome
from survey import version
from survey.errors import SurveyError, Unreachable
from survey.matrix import Matrix, measure, open_target
from survey.one_pass import choose_device
from survey.pace import Pace
from survey.records import Measured, Measurement, Provenance, Settings, Target, Traffic

OnProgress = Callable[[int], None]


def deadline_s(target: Target, settings: Settings) -> float:
    """Seconds that a target may take from its start: `timeout_s`, and as much for each further GB."""
    return settings.timeout_s * max(1.0, len(target.spec.bytes) / 1e9)


def measure_one(target: Target, settings: Settings, pace: Pace, on_progress: OnProgress) -> Outcome:
    """Measure a planned target; every failure is returned, none is raised.

    on_progress is told of every byte as it comes.
    """
    started = time.monotonic()
    limit_s = deadline_s(target, settings)
    traffic = Traffic()
    matrix: Matrix | None = None

    def advance(count: int) -> None:
        on_progress(count)
        if time.monotonic() - started > limit_s:
            raise Unreachable("timeout", target.identity.repo, f"not finished after {limit_s:.0f} s")

    try:
        matrix = open_target(target, settings, pace)
        device = choose_device(settings.device)
        measurement = measure(matrix, device=device, tokens=settings.tokens, on_progress=advance)
        elapsed_s = time.monotonic() - started
        return _delivered(matrix, measurement, settings, device, elapsed_s)
    except SurveyError as error:
        # A sick model is a result of the survey. Anything else is our defect: it is recorded
        # with its traceback under the reason "internal", and the other models go on.
        reason, message = error.reason, str(error)
    except MemoryError as error:
        reason, message = "out-of-memory", f"{target.identity.repo}: {error}"
    except Exception:  # noqa: BLE001 - see above
        reason, message = "internal", traceback.format_exc(limit=-4)
    if matrix is not None:
        traffic = matrix.checkpoint.traffic
    return Failed(
        target,
        reason,
        message,
        fetched_bytes=(target.planning + traffic).bytes,
        elapsed_s=time.monotonic() - started,
        host=socket.gethostname(),
    )


def _delivered(
    matrix: Matrix, measurement: Measurement, settings: Settings, device: str, elapsed_s: float
) -> Delivered:
    target = matrix.target
    traffic = target.planning + matrix.checkpoint.traffic
    waited_s = matrix.clock.waited_s
    provenance = Provenance(
        survey_version=version(),
        run_id=settings.run_id,
        measured_at=datetime.now(UTC).replace(tzinfo=None),
        device=device,
        host=socket.gethostname(),
        tensor_bytes=len(target.spec.bytes),
        fetched_bytes=traffic.bytes,
        repo_bytes=target.repo_bytes,
        requests=traffic.requests,
        retries=traffic.retries,
        fetch_s=waited_s,
        measure_s=elapsed_s - waited_s,
        elapsed_s=elapsed_s,
    )
    measured = Measured(identity=target.identity, measurement=measurement, provenance=provenance)
    return Delivered(
        target=target,
        tables=tables_of(measured, tokens=settings.tokens),
        headline=Headline(
            dtype=measurement.dtype,
            black_hole_count=measurement.black_hole_count,
            dead_count=measurement.dead_count,
            centroid_ratio=measurement.centroid_ratio,
            dead_live_angle_deg=measurement.dead_live_angle_deg,
        ),
        fetched_bytes=traffic.bytes,
        elapsed_s=elapsed_s,
        host=provenance.host,
    )
