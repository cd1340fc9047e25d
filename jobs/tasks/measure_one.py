"""Fetch and measure one matrix: the same function in this process and in a Ray worker."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

from catalog.store.open import CatalogStore
from catalog.write.commit import commit
from jobs.tasks.delivery import Spent, delivery
from jobs.tasks.outcome import Delivered, Failed, Outcome
from jobs.tasks.tokenizer import tokenizer_of_target
from jobs.tasks.unused_distances import with_distances
from survey.api import measure
from survey.errors import NotRunnable, SurveyError, Unreachable
from survey.hub.throttle import Throttle
from survey.numerics.dtypes import FLOATS
from survey.onepass.device import REQUESTED, Device, choose_device, device_of_pass
from survey.opening import Matrix, open_target
from survey.process.redaction import redacted
from survey.process.ulimits import shortage
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
    task = _Try(target, settings, on_progress)
    try:
        delivered = task.measure(throttle)
        return delivered if commit_to is None else committed(delivered, commit_to)
    except SurveyError as error:
        # A broken model is a result of the survey. Any other exception is a defect of this program: it is
        # recorded with its traceback under the reason "internal", and the other models go on.
        return task.failure(error.reason, str(error))
    except MemoryError as error:
        return task.failure("out-of-memory", f"{target.identity.repo}: {shortage(error)}")
    except Exception as error:  # noqa: BLE001 - see above
        # torch reports a lack of memory in words only, and on a GPU as a RuntimeError.
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            return task.failure("out-of-memory", f"{target.identity.repo}: {error}")
        if problem := shortage(error):
            return task.failure("infeasible", f"{target.identity.repo}: {problem}")
        return task.failure("internal", redacted(traceback.format_exc(limit=-4), settings.token))


class _Try:
    """One try at a target, from its start."""

    def __init__(self, target: Target, settings: Settings, on_progress: OnModelBytes) -> None:
        self._target, self._settings, self._on_progress = target, settings, on_progress
        self._started = time.monotonic()
        self._limit_s = deadline_s(target, settings)
        self._matrix: Matrix | None = None  # until it is open

    def measure(self, throttle: Throttle) -> Delivered:
        """Read, measure and name the matrix. Raises SurveyError, and what torch and the memory raise."""
        settings, target = self._settings, self._target
        matrix = self._matrix = open_target(target, settings, throttle, self._limit_s)
        is_decoded = target.scale is not None or target.spec.dtype not in FLOATS
        device = device_of_pass(_device(settings), is_decoded=is_decoded)
        measurement = measure(
            matrix,
            device=device.name,
            threads=settings.threads,
            tokens=settings.tokens,
            on_progress=self._advance,
        )
        left_s = self._limit_s - self._elapsed_s()
        # The tokenizer may take half of the remaining time if the matrix must be read again for distances.
        share = 0.5 if settings.reference else 1.0
        of_files = tokenizer_of_target(matrix.checkpoint, target, measurement, share * left_s)
        tokenizer = with_distances(matrix, of_files, settings, self._advance)
        return delivery(matrix, measurement, tokenizer, settings, Spent(device, self._elapsed_s()))

    def failure(self, reason: str, message: str) -> Failed:
        """The outcome of a try that failed, with what it cost."""
        traffic = Traffic() if self._matrix is None else self._matrix.checkpoint.traffic
        return Failed(
            self._target,
            reason,
            message,
            fetched_bytes=(self._target.planning + traffic).bytes,
            elapsed_s=self._elapsed_s(),
            host=socket.gethostname(),
        )

    def _advance(self, count: int) -> None:
        """Report received bytes. Raises Unreachable once the deadline has passed."""
        self._on_progress(count)
        if self._elapsed_s() > self._limit_s:
            repo = self._target.identity.repo
            raise Unreachable("timeout", repo, f"not finished after {self._limit_s:.0f} s")

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started


def _device(settings: Settings) -> Device:
    """The device that the executor chose, or the requested one. Raises NotRunnable if that is not there."""
    try:
        device = choose_device(settings.device)
    except NotRunnable as error:
        if settings.device_reason in (None, REQUESTED):
            raise
        return Device("cpu", str(error))  # Ray says that a node has a GPU, and torch there cannot use it
    return device if settings.device_reason is None else Device(device.name, settings.device_reason)


def committed(delivered: Delivered, store: CatalogStore) -> Delivered:
    """Commit a delivery, unless its task did; returns its headline. Raises CommitError."""
    if delivered.tables is not None:
        commit(store, delivered.tables)
    return replace(delivered, tables=None)
