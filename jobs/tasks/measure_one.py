"""Fetch and measure one matrix: the same function in this process and in a Ray worker."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

from catalog.store.open import CatalogStore
from catalog.write.arrow_tables import tables_of
from catalog.write.commit import commit
from jobs.tasks.outcome import Delivered, Failed, Headline, Outcome
from jobs.tasks.tokenizer import tokenizer_of_target
from jobs.tasks.unused_distances import TokenColumns, with_distances
from survey import version
from survey.api import measure
from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import BrokenFile, SurveyError, Unreachable
from survey.hub.throttle import Throttle
from survey.measures.token_flags import token_flags
from survey.onepass.device import choose_device
from survey.opening import AT_REST, Matrix, open_target
from survey.process.clock import utc_now
from survey.process.redaction import redacted
from survey.records.catalog_rows import Measured, Provenance
from survey.records.measurement import Measurement
from survey.records.settings import Settings
from survey.records.target import Target, Traffic

OnModelBytes = Callable[[int], None]


def deadline_s(target: Target, settings: Settings) -> float:
    """Seconds that a target may take from its start: `timeout_s`, and as much again for each further GB."""
    return settings.timeout_s * max(1.0, len(target.spec.bytes) / 1e9)


def measure_one(
    target: Target,
    settings: Settings,
    throttle: Throttle,
    on_progress: OnModelBytes,
    commit_to: CatalogStore | None = None,
) -> Outcome:
    """Measure a planned target; every failure is returned, none is raised.

    on_progress(count): called with the size of each piece as it arrives. commit_to: a catalog that this
    process commits to, so that only the headline is returned; None returns the tables to the caller.
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
        matrix = open_target(target, settings, throttle, limit_s)
        device = choose_device(settings.device)
        measurement = measure(
            matrix, device=device, threads=settings.threads, tokens=settings.tokens, on_progress=advance
        )
        _refuse_change(target)
        left_s = limit_s - (time.monotonic() - started)
        # Names may take half of the remaining time if the matrix must be read again for distances.
        share = 0.5 if settings.reference else 1.0
        named = tokenizer_of_target(matrix.checkpoint, target, measurement, share * left_s)
        token_columns = with_distances(matrix, named, settings, advance)
        elapsed_s = time.monotonic() - started
        delivered = _delivered(matrix, measurement, token_columns, settings, device, elapsed_s)
        return delivered if commit_to is None else committed(delivered, commit_to)
    except SurveyError as error:
        # A sick model is a result of the survey. Anything else is our defect: it is recorded
        # with its traceback under the reason "internal", and the other models go on.
        reason, message = error.reason, str(error)
    except MemoryError as error:
        reason, message = "out-of-memory", f"{target.identity.repo}: {error}"
    except Exception as error:  # noqa: BLE001 - see above
        # torch reports it in words only, and on a GPU as a RuntimeError.
        full = any(words in str(error) for words in ("out of memory", "can't allocate memory"))
        reason = "out-of-memory" if full else "internal"
        message = (
            f"{target.identity.repo}: {error}"
            if full
            else redacted(traceback.format_exc(limit=-4), settings.token)
        )
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


def _refuse_change(target: Target) -> None:
    """Raises BrokenFile if a folder changed meanwhile: its rows may be those of two checkpoints."""
    if target.folder is not None and FolderCheckpoint(target.folder, target.part).sha != target.identity.sha:
        raise BrokenFile(
            "bad-header", target.identity.repo, "the folder changed while it was measured", AT_REST
        )


def committed(delivered: Delivered, store: CatalogStore) -> Delivered:
    """Commit a delivery, unless its task did; returns its headline. Raises CommitError."""
    if delivered.tables is not None:
        commit(store, delivered.tables)
    return replace(delivered, tables=None)


def _delivered(
    matrix: Matrix,
    measurement: Measurement,
    token_columns: TokenColumns,
    settings: Settings,
    device: str,
    elapsed_s: float,
) -> Delivered:
    target = matrix.target
    traffic = target.planning + matrix.checkpoint.traffic
    waited_s = matrix.clock.waited_s
    provenance = Provenance(
        survey_version=version(),
        run_id=settings.run_id,
        measured_at=utc_now(),
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
    measured = Measured(
        identity=target.identity,
        measurement=replace(measurement, measures={**measurement.measures, **token_columns.measures}),
        naming=token_columns.naming,
        names=token_columns.names,
        distances=token_columns.distances,
        flags=token_flags(measurement.tokens),
        provenance=provenance,
    )
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
