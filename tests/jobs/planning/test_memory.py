"""Measuring takes the same memory whatever the head's size, and never more than was announced."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.peak_memory import peak_mb, write_head

from jobs.executors import serial
from jobs.executors.progress import Silence
from jobs.planning.memory import (
    PROCESS_BYTES,
    TORCH_BYTES,
    expected_memory_bytes,
    spectrum_bytes,
    task_memory_bytes,
    thread_bytes,
)
from jobs.tasks.outcome import Failed
from survey.hub.throttle import LocalThrottle
from survey.opening import open_checkpoint
from survey.records.settings import ReferenceTokens, Settings
from survey.records.target import ModelRef, Target
from survey.records.tensors import ByteRange, TensorSpec
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate


def test_a_head_eight_times_as_big_takes_no_more_memory(tmp_path: Path) -> None:
    """82 and 655 MB, the big one in a Ray worker, too; held whole, it would show."""
    tiny = str(write_head(tmp_path / "tiny", 2200, 64))
    small, big = (str(write_head(tmp_path / str(dims), 20_000, dims)) for dims in (2048, 16_384))
    peaks = [peak_mb(tiny, small), peak_mb(tiny, big), peak_mb(tiny, big, in_a_worker=True)]
    assert max(peaks) < 80
    assert max(peaks[1:]) < peaks[0] + 20  # a group of 32 rows, widened, and a sum or two of D numbers
    for dims, peak in zip((2048, 16_384, 16_384), peaks, strict=True):
        spec = TensorSpec("lm_head.weight", "model.safetensors", "BF16", (20_000, dims), ByteRange(0, 20_000 * dims * 2))  # fmt: skip
        assert peak * 1e6 < expected_memory_bytes(spec, connections=8) - PROCESS_BYTES


@pytest.mark.parametrize(
    ("settings", "tokenizer_files", "least", "most"),
    [
        (Settings(), (), 0, 0),
        (Settings(), (("tokenizer.json", 10 << 20),), 200 << 20, 400 << 20),
        (Settings(), (("tokenizer.json", 1 << 40),), 0, 0),
        (Settings(), (("m-Q6_K-00001-of-00003.gguf", 1 << 40),), 200 << 20, 400 << 20),
        (Settings(reference=ReferenceTokens((1, 2))), (), 4 * 8 * 16 * 16, 1 << 20),
    ],
    ids=[
        "a matrix alone",
        "a tokenizer",
        "a tokenizer too large to be read",
        "the first file of a GGUF in parts",
        "distances to unused tokens",
    ],
)
def test_a_task_takes_memory_for_its_matrix_its_tokenizer_and_its_distances(
    checkpoint: Callable[..., Path],
    settings: Settings,
    tokenizer_files: tuple[tuple[str, int], ...],
    least: int,
    most: int,
) -> None:
    opened = open_checkpoint(ModelRef("m", folder=checkpoint()), settings)
    target = replace(locate(lay_out(opened), "output"), tokenizer_files=tokenizer_files)
    beyond = task_memory_bytes(target, settings) - expected_memory_bytes(target.spec, settings.connections)
    assert least <= beyond <= most


@pytest.mark.parametrize(("room", "threads"), [(0, 4), (1, 5), (13, 17), (1000, 64)])
def test_the_driver_itself_uses_every_cpu_for_whose_thread_it_has_memory(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, room: int, threads: int
) -> None:
    opened = open_checkpoint(ModelRef("m", folder=checkpoint()), Settings())
    target = replace(locate(lay_out(opened), "output"), memory_bytes=500 << 20)
    used: list[int | None] = []

    def measured(target: Target, settings: Settings, *_: object) -> Failed:
        used.append(settings.threads)
        return Failed(target, "internal", "not measured")

    monkeypatch.setattr(serial, "measure_one", measured)
    monkeypatch.setattr(serial, "cpus", lambda: 64)
    monkeypatch.setattr(serial, "memory_bytes", lambda: (500 << 20) + room * thread_bytes(target.spec))
    list(serial.run_serially([target], Settings(device="cpu"), LocalThrottle(), Silence()))
    assert used == [threads]


SPECTRUM = """
import math
from pathlib import Path
import numba, pyarrow
import numpy as np

def status_mb(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) / 1000

before_torch = status_mb("VmRSS")
from survey.numerics.dtypes import FLOATS
from survey.numerics.row_decoder import RowDecoder
from survey.spectra.of_pass import PassSpectrum, spectrum_alone

def peak_mb(rows, dims):
    stored = memoryview(np.random.default_rng(1).normal(size=(rows, dims)).astype("<f4")).cast("B")
    Path("/proc/self/clear_refs").write_text("5")
    before, step = status_mb("VmRSS"), 512 * 4 * dims
    summed = PassSpectrum(RowDecoder(FLOATS["F32"], dims), rows, "cpu", math.inf)
    blocks = (stored[start : start + step] for start in range(0, len(stored), step))
    assert spectrum_alone(blocks, rows, summed), summed.problem
    return status_mb("VmHWM") - before

peak_mb(300, 16)
print(status_mb("VmRSS") - before_torch, peak_mb(4200, 1024))
"""


def test_a_spectrum_takes_no_more_memory_than_was_announced() -> None:
    ran = subprocess.run([sys.executable, "-c", SPECTRUM], check=True, capture_output=True, text=True)
    loading_mb, mb = map(float, ran.stdout.split())
    spec = TensorSpec("lm_head.weight", "f", "F32", (4200, 1024), ByteRange(0, 4200 * 1024 * 4))
    assert loading_mb < TORCH_BYTES / 1e6
    assert 0.2 < mb * 1e6 / (spectrum_bytes(spec) - TORCH_BYTES) < 1


COUNT_HITS = """
import numpy as np
from survey.onepass.kernels import jit, row_loops
from survey.onepass.kernels.fold import fold_rows
from survey.onepass.kernels.ggml_blocks import q4_0
words = np.zeros((32, 64), np.uint16)
fold_rows(words, words, True, None, None, np.empty(0, np.int64), np.empty(0, np.float32), words.view(np.uint8),
    7, np.zeros(256, np.int64), np.ones(256), np.zeros((4, 256), np.uint16), np.zeros((1, 192)), np.empty(32),
    np.empty(32, bool), np.empty((32, 32), np.float32), np.empty((32, 128), np.uint16), np.empty((32, 2), np.uint64),
    None, None, None)
row_loops.address_of_row_loop(q4_0)
print(sum(fold_rows.stats.cache_hits.values()), jit._CALLED_BY_ADDRESS[q4_0].cache_hits)
"""


def test_what_is_compiled_once_is_read_from_disk_afterwards(tmp_path: Path) -> None:
    hits = [
        subprocess.run(
            [sys.executable, "-c", COUNT_HITS],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert hits == ["0 0", "1 1"]


def test_without_a_folder_to_keep_it_in_it_is_compiled_anew(tmp_path: Path) -> None:
    """As in a container whose file system is read-only, home included."""
    without = "import numba.core.caching as c\nc.CacheImpl._locator_classes = []\n"
    ran = subprocess.run(
        [sys.executable, "-c", without + COUNT_HITS], check=True, capture_output=True, text=True
    )
    assert ran.stdout.strip() == "0 0"
