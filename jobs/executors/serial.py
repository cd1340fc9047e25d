"""Run the tasks one after another in this process, without Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from catalog.store.open import CatalogStore
from jobs.executors.progress import Progress
from jobs.planning.memory import THREADS, gpu_host_bytes, local_bytes, spectrum_host_bytes, thread_bytes
from jobs.tasks.measure_one import measure_one
from jobs.tasks.outcome import Outcome, infeasible
from jobs.tasks.spectrum import without_spectrum
from survey.hub.throttle import Throttle
from survey.onepass.device import Device, choose_device, has_cuda
from survey.process.machine import cpus, memory_bytes
from survey.records.settings import Settings, SpectraDevice
from survey.records.target import Target
from survey.spectra.device import device_of_spectrum


def run_serially(
    targets: Sequence[Target],
    settings: Settings,
    throttle: Throttle,
    progress: Progress,
    commit_to: CatalogStore | None = None,
) -> Iterator[tuple[Outcome, int]]:
    """Yield each target's outcome and the number of tries, as they end. commit_to: as in measure_one."""
    limit_bytes = memory_bytes()
    chosen = None
    if settings.device == "auto":  # once for all of them: a GPU takes seconds to start
        chosen = choose_device("auto", local_bytes=local_bytes(targets))
    has_gpu = settings.spectrum != "off" and settings.device == "auto" and has_cuda()
    for target in targets:
        progress.started(target)
        if target.memory_bytes > limit_bytes:
            outcome: Outcome = infeasible(target, limit_bytes, "this process")
        else:
            spectra = _spectra(settings, target, limit_bytes, has_gpu=has_gpu)
            left_bytes = limit_bytes - spectrum_host_bytes(target, spectra)
            threads = settings.threads or _threads(target, left_bytes)
            own = replace(settings, threads=threads, spectra=spectra)
            if chosen is not None:
                own = _with_device(own, chosen, target, left_bytes)
            outcome = measure_one(target, own, throttle, partial(progress.advanced, target.key), commit_to)
        progress.finished(target.key)
        yield outcome, 1


def _spectra(settings: Settings, target: Target, limit_bytes: int, *, has_gpu: bool) -> SpectraDevice | None:
    """The device of a target's spectrum, or why its row does without; None if none is to be computed."""
    if not target.spectrum_bytes:
        return None
    device = device_of_spectrum(settings.spectrum, settings.device, target.spec, has_gpu=has_gpu)
    if device is None:
        return None
    needed = target.memory_bytes + spectrum_host_bytes(target, device)
    return device if needed <= limit_bytes else without_spectrum(needed, limit_bytes, "this process")


def _threads(target: Target, limit_bytes: int) -> int:
    """One for each CPU, or as many as the memory allows: a task's own bytes are for THREADS of them."""
    more = (limit_bytes - target.memory_bytes) // thread_bytes(target.spec)
    return min(cpus(), THREADS + more)


def _with_device(settings: Settings, chosen: Device, target: Target, limit_bytes: int) -> Settings:
    """The settings with the device that `auto` chose, or the CPU if the memory is too small."""
    needed = target.memory_bytes + gpu_host_bytes(target.spec)  # the plan did not know of a GPU
    if chosen.name != "cpu" and needed > limit_bytes:
        chosen = Device("cpu", f"a GPU needs {needed / 1e9:.1f} GB of memory")
    return replace(settings, device=chosen.name, device_reason=chosen.reason)
