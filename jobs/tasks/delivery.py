"""What a task delivers: a measured matrix as the tables of the catalog, with its provenance."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace

from catalog.store.open import CatalogStore
from catalog.write.arrow_tables import tables_of
from catalog.write.commit import commit
from jobs.tasks.outcome import Delivered, Headline, SpectrumAdded
from jobs.tasks.spectrum import commit_spectrum_of
from jobs.tasks.tokenizer import TokenizerResult
from survey import version
from survey.measures.token_flags import token_flags
from survey.measures.undertrained import with_reserved
from survey.onepass.device import Device
from survey.opening import Matrix
from survey.process.clock import utc_now
from survey.records.catalog_rows import Measured, Provenance
from survey.records.measured_columns import Measurement
from survey.records.settings import Settings

Finished = Delivered | SpectrumAdded


@dataclass(frozen=True, slots=True)
class Spent:
    """The device that did the arithmetic, and the seconds of a task: its warm-up, its pass, and all of it."""

    device: Device
    warmup_s: float
    measure_s: float
    elapsed_s: float


def delivery(
    matrix: Matrix, measurement: Measurement, tokenizer: TokenizerResult, settings: Settings, spent: Spent
) -> Delivered:
    """The tables of a measured matrix, and its figures for the run's table."""
    provenance = _provenance(matrix, settings, spent)
    measurement = with_reserved(measurement, tokenizer.columns)
    measured = Measured(
        identity=matrix.target.identity,
        measurement=replace(measurement, measures={**measurement.measures, **tokenizer.measures}),
        tokenizer=tokenizer.summary,
        token_columns=tokenizer.columns,
        distances=tokenizer.distances,
        flags=token_flags(measurement.tokens),
        provenance=provenance,
    )
    return Delivered(
        target=matrix.target,
        tables=tables_of(measured, tokens=settings.tokens),
        headline=Headline(
            dtype=measurement.dtype,
            black_hole_count=measurement.black_hole_count,
            dead_count=measurement.dead_count,
            centroid_ratio=measurement.centroid_ratio,
            dead_live_angle_deg=measurement.dead_live_angle_deg,
        ),
        fetched_bytes=provenance.fetched_bytes,
        elapsed_s=provenance.elapsed_s,
        host=provenance.host,
    )


def _provenance(matrix: Matrix, settings: Settings, spent: Spent) -> Provenance:
    target = matrix.target
    traffic = target.planning + matrix.checkpoint.traffic
    return Provenance(
        survey_version=version(),
        run_id=settings.run_id,
        measured_at=utc_now(),
        device=spent.device.name,
        device_reason=spent.device.reason,
        host=socket.gethostname(),
        tensor_bytes=len(target.spec.bytes),
        fetched_bytes=traffic.bytes,
        repo_bytes=target.repo_bytes,
        measured_from=None,
        content_key=target.content_key,
        tokenizer_key=target.tokenizer_key,
        requests=traffic.requests,
        retries=traffic.retries,
        fetch_s=matrix.clock.waited_s,
        warmup_s=spent.warmup_s,
        measure_s=spent.measure_s,
        elapsed_s=spent.elapsed_s,
    )


def committed(delivered: Finished, store: CatalogStore) -> Finished:
    """Commit a delivery, unless its task did; returns its headline. Raises CommitError for the row alone."""
    if isinstance(delivered, Delivered):
        if delivered.tables is not None:
            commit(store, delivered.tables)
        delivered = replace(delivered, tables=None)
    if delivered.spectrum is None:
        return delivered
    return replace(delivered, spectrum=commit_spectrum_of(store, delivered.target, delivered.spectrum))
