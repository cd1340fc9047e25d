"""Fetch and measure one matrix: the same function in this process and in a Ray worker."""

from __future__ import annotations

import math
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

from catalog.store.open import CatalogStore
from jobs.tasks.delivery import Spent, committed, delivery
from jobs.tasks.outcome import Delivered, Failed, Outcome, SpectrumAdded, SpectrumOutcome
from jobs.tasks.spectrum import TaskSpectrum
from jobs.tasks.tokenizer import tokenizer_of_target
from jobs.tasks.tokenizer_tables import run_tables
from jobs.tasks.unused_distances import with_distances
from jobs.tasks.warm_up import wait_until_warm
from survey.errors import NotRunnable, SurveyError, Unreachable
from survey.hub.throttle import Throttle
from survey.numerics.dtypes import FLOATS
from survey.onepass.device import REQUESTED, Device, choose_device, device_of_pass
from survey.opening import Matrix, open_target
from survey.process.redaction import redacted
from survey.process.ulimits import file_shortage, shortage
from survey.records.measured_columns import Measurement
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
    (outcome,) = measure_in_turn([Try(target, settings, on_progress)], throttle, commit_to)
    return outcome


def measure_in_turn(
    tries: Iterable[Try],
    throttle: Throttle,
    commit_to: CatalogStore | None = None,
    on_turn: Callable[[Target], None] = lambda target: None,
) -> Iterator[Outcome]:
    """Yield the outcome of each try; the next one's first bytes are fetched while one is measured.

    commit_to: see measure_one. on_turn: called before a target is measured.
    """
    current: Try | None = None
    for following in chain(tries, [None]):
        if following is not None:
            following.begin(throttle)
        if current is not None:
            on_turn(current.target)
            yield current.outcome(commit_to)
        current = following


class Try:
    """One try at a target: `begin` fetches ahead, so that the next one's bytes come while one is measured."""

    def __init__(self, target: Target, settings: Settings, on_progress: OnModelBytes) -> None:
        self.target, self._settings, self._on_progress = target, settings, on_progress
        self._started = math.inf
        self._limit_s = deadline_s(target, settings)
        self._matrix: Matrix | None = None  # until it is open
        self._problem: Exception | None = None  # of opening it

    def begin(self, throttle: Throttle) -> None:
        """Open the matrix and ask for its first bytes; if that fails, `outcome` says so."""
        self._started = time.monotonic()
        try:
            self._matrix = open_target(self.target, self._settings, throttle, self._limit_s)
            self._matrix.fetch_ahead(self._advance)
        except Exception as error:  # noqa: BLE001 - `outcome` sorts them
            self._problem = error

    def outcome(self, commit_to: CatalogStore | None) -> Outcome:
        """Measure it after `begin`; every failure is returned, none is raised. commit_to: see measure_one."""
        target = self.target
        try:
            delivered = self._with_spectrum() if target.only_spectrum else self._measured()
            return delivered if commit_to is None else committed(delivered, commit_to)
        except SurveyError as error:
            # A broken model is a result of the survey. Any other exception is a defect of this program: it is
            # recorded with its traceback under the reason "internal", and the other models go on.
            return self._failure(error.reason, str(error))
        except MemoryError as error:
            return self._failure("out-of-memory", f"{target.identity.repo}: {shortage(error)}")
        except Exception as error:  # noqa: BLE001 - see above
            # torch reports a lack of memory in words only, and on a GPU as a RuntimeError.
            if "can't allocate memory" in str(error) or "out of memory" in str(error):
                return self._failure("out-of-memory", f"{target.identity.repo}: {error}")
            if problem := shortage(error) or file_shortage(error):
                return self._failure("infeasible", f"{target.identity.repo}: {problem}")
            return self._failure("internal", redacted(traceback.format_exc(limit=-4), self._settings.token))

    def _measured(self) -> Delivered:
        """Read, measure and name the matrix. Raises SurveyError, and what torch and the memory raise."""
        settings, target, matrix = self._settings, self.target, self._opened()
        measurement, spectrum, spent = self._passed(matrix)
        left_s = self._limit_s - self._elapsed_s()
        # The tokenizer may take half of the remaining time if the matrix must be read again for distances.
        share = 0.5 if settings.reference else 1.0
        tables = run_tables(settings)
        of_files = tokenizer_of_target(matrix.checkpoint, target, measurement, share * left_s, tables)
        tokenizer = with_distances(matrix, of_files, settings, self._advance)
        spent = replace(spent, elapsed_s=self._elapsed_s())
        return replace(delivery(matrix, measurement, tokenizer, settings, spent), spectrum=spectrum)

    def _with_spectrum(self) -> SpectrumAdded:
        """Read the matrix for its spectrum alone. Raises as above."""
        matrix = self._opened()
        return SpectrumAdded(
            self.target,
            self._spectrum(matrix).alone(matrix, self._advance),
            fetched_bytes=(self.target.planning + matrix.checkpoint.traffic).bytes,
            elapsed_s=self._elapsed_s(),
            host=socket.gethostname(),
        )

    def _spectrum(self, matrix: Matrix) -> TaskSpectrum:
        """The spectrum of the matrix, which may take half of the task's time."""
        return TaskSpectrum.of(matrix, self._settings.spectra, self._started + self._limit_s / 2)

    def _opened(self) -> Matrix:
        """The matrix that `begin` opened. Raises what that raised."""
        if self._problem is not None:
            raise self._problem
        assert self._matrix is not None
        return self._matrix

    def _passed(self, matrix: Matrix) -> tuple[Measurement, SpectrumOutcome | None, Spent]:
        """The pass on the chosen device; on the CPU if that is a full GPU that nobody requested."""
        settings, spec = self._settings, self.target.spec
        is_decoded = self.target.scale is not None or spec.dtype not in FLOATS
        device = device_of_pass(_device(settings), is_decoded=is_decoded)
        try:
            return self._pass_on(device, matrix)
        except RuntimeError as error:  # as torch calls it
            is_full = device.name.startswith("cuda") and "out of memory" in str(error)
            if not is_full or device.reason == REQUESTED:
                raise
        return self._pass_on(Device("cpu", "the GPU had too little memory left"), matrix)

    def _pass_on(self, device: Device, matrix: Matrix) -> tuple[Measurement, SpectrumOutcome | None, Spent]:
        settings, spectrum = self._settings, self._spectrum(matrix)
        warmup_s = wait_until_warm(matrix.dtype, device.name)
        begun_s, waited_s = self._elapsed_s(), matrix.clock.waited_s
        measurement, outcome = spectrum.beside(matrix, device.name, settings, self._advance)
        waited_s = matrix.clock.waited_s - waited_s + spectrum.elapsed_s
        measure_s = self._elapsed_s() - begun_s - waited_s
        return measurement, outcome, Spent(device, warmup_s, measure_s, elapsed_s=0.0)

    def _failure(self, reason: str, message: str) -> Failed:
        """The outcome of a try that failed, with what it cost."""
        traffic = Traffic() if self._matrix is None else self._matrix.checkpoint.traffic
        return Failed(
            self.target,
            reason,
            message,
            fetched_bytes=(self.target.planning + traffic).bytes,
            elapsed_s=self._elapsed_s(),
            host=socket.gethostname(),
        )

    def _advance(self, count: int) -> None:
        """Report received bytes. Raises Unreachable once the deadline has passed."""
        self._on_progress(count)
        if self._elapsed_s() > self._limit_s:
            repo = self.target.identity.repo
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
