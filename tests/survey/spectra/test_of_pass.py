"""The spectrum that stands beside a row: from the blocks of the pass, with the figures of a study of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.checkpoints import single, write
from support.matrices import TORCH, raw
from support.scaled_matrices import DIMS, HOLES, ROWS, factors, in_8_bits, matrix

import survey
from survey.errors import NotRunnable
from survey.numerics.dtypes import FLOATS
from survey.numerics.row_decoder import RowDecoder
from survey.onepass.fold import fold
from survey.records.blocks import Block
from survey.records.results import Spectrum
from survey.spectra import of_pass
from survey.spectra.of_pass import PassSpectrum, spectrum_alone

NEVER = math.inf


def stored_rows(code: str = "F32", rows: int = 300, dims: int = 24) -> torch.Tensor:
    """A cloud off-centre with two black holes, zeros and rows that are not finite."""
    draw = np.random.default_rng(5)
    made = torch.from_numpy(draw.normal(size=(rows, dims)) * np.arange(1, dims + 1) ** -0.5 + 0.3)
    made[20:70], made[200], made[7], made[90:92] = made[20].clone(), made[100].clone(), 0.0, 0.0
    made[3, 2], made[150:153] = torch.nan, torch.inf
    return made.to(TORCH[code])


def blocks_of(tensor: torch.Tensor, rows_at_once: int) -> list[Block]:
    stored, step = memoryview(raw(tensor)), rows_at_once * tensor.shape[1] * tensor.itemsize
    return [stored[start : start + step] for start in range(0, len(stored), step)]


def beside_pass(tensor: torch.Tensor, code: str, rows_at_once: int = 64) -> Spectrum:
    rows, dims = tensor.shape
    summed = PassSpectrum(RowDecoder(FLOATS[code], dims), rows, "cpu", NEVER)
    blocks = summed.beside(blocks_of(tensor, rows_at_once))
    with fold(blocks, FLOATS[code], (rows, dims), "cpu", threads=1) as result:
        spectrum = summed.finished(result.identity)
    assert spectrum is not None, summed.problem
    return spectrum


def same(spectrum: Spectrum, study: Spectrum) -> bool:
    """Whether two spectra agree but for rounding; one of a run has no directions."""
    assert spectrum.directions is None
    for name, value in vars(study).items():
        if name != "directions":
            ours = getattr(spectrum, name)
            expected = (
                value
                if isinstance(value, (str, int, type(None)))
                else pytest.approx(value, rel=1e-6, abs=1e-9)
            )
            assert np.all(ours == expected), (name, ours, value)
    return True


@pytest.mark.parametrize("code", TORCH)
def test_it_is_the_spectrum_of_a_study_of_its_own(code: str) -> None:
    tensor = stored_rows(code)
    study = survey.spectrum(tensor, device="cpu").figures
    assert study.live_rows < study.finite_rows < len(tensor)
    assert same(beside_pass(tensor, code), study)


@pytest.mark.parametrize("rows_at_once", [1, 7, 64, 300])
def test_how_the_matrix_is_cut_into_blocks_changes_no_bit(
    rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_pass, "PRODUCT_ROWS", 50)  # slabs of several blocks, and several of a block
    tensor = stored_rows()
    spectrum, whole = beside_pass(tensor, "F32", rows_at_once), beside_pass(tensor, "F32", len(tensor))
    assert np.array_equal(spectrum.singular_values, whole.singular_values)  # type: ignore[arg-type]
    assert same(spectrum, survey.spectrum(tensor, device="cpu").figures)


NO_SPREAD = {
    "one row": torch.tensor([[3.0, 4.0]]),
    "all rows equal": torch.full((9, 4), 0.5),
    "zeros": torch.zeros(9, 4),
    "no row is finite": torch.full((9, 4), torch.nan),
    "all rows distinct": torch.arange(12.0).reshape(4, 3),
}


@pytest.mark.parametrize("tensor", NO_SPREAD.values(), ids=NO_SPREAD)
def test_matrices_at_the_edge(tensor: torch.Tensor) -> None:
    assert same(beside_pass(tensor, "F32"), survey.spectrum(tensor, device="cpu").figures)


@pytest.mark.parametrize("shape", [(), (1,), (ROWS, 1), (3, 1)], ids=["tensor", "one", "row", "tile of rows"])
def test_a_scale_by_which_equal_rows_differ(shape: tuple[int, ...], tmp_path: Path) -> None:
    words = in_8_bits("F8_E4M3", ROWS, DIMS, *HOLES)
    name = "lm_head.weight_scale_inv" if shape == (3, 1) else "lm_head.weight_scale"
    tensors = {"lm_head.weight": matrix("F8_E4M3", words), name: factors(*shape)[1]}
    with survey.open_matrix(write(tmp_path / "model", single(tensors))) as opened:
        decoder = RowDecoder(opened.row_format, DIMS, opened.scale())
        spectrum = spectrum_alone(opened.blocks(), ROWS, PassSpectrum(decoder, ROWS, "cpu", NEVER))
    with survey.open_matrix(tmp_path / "model") as opened:
        study = survey.spectrum(opened, device="cpu").figures
    assert spectrum is not None
    assert same(spectrum, study)


def test_the_way_of_gpus_gives_the_same() -> None:
    """On the CPU under another name: torch's operations are those of CUDA."""
    tensor = stored_rows("BF16")
    summed = PassSpectrum(RowDecoder(FLOATS["BF16"], 24), 300, "cpu:0", NEVER)
    spectrum = spectrum_alone(blocks_of(tensor, 64), 300, summed)
    assert spectrum is not None
    assert same(spectrum, survey.spectrum(tensor, device="cpu").figures)


def no_memory(*_: Any) -> None:
    raise MemoryError


def gpu_is_full(*_: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64.00 MiB")


def too_wide(*_: Any) -> None:
    raise NotRunnable("infeasible", "rows of 24 dimensions", "need 1 GB, of which 0 GB are free")


def no_convergence(*_: Any) -> None:
    raise np.linalg.LinAlgError("Eigenvalues did not converge")


@pytest.mark.parametrize(
    ("broken", "fails", "problem"),
    [
        pytest.param("CovarianceSum.add", no_memory, "the memory is used up", id="no memory for products"),
        pytest.param("CovarianceSum.covariance", gpu_is_full, "out of memory", id="a full GPU"),
        pytest.param("figures", no_convergence, "LinAlgError: Eigenvalues did not", id="no eigenvalues"),
        pytest.param("refuse_too_wide", too_wide, "GB are free", id="no room for D × D numbers"),
        pytest.param("RowDecoder.values", no_memory, "the memory is used up", id="rows that are not decoded"),
    ],
)
def test_a_spectrum_that_fails_leaves_the_pass_alone(
    broken: str, fails: Callable[..., None], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = stored_rows()
    monkeypatch.setattr(f"survey.spectra.of_pass.{broken}", fails)
    summed = PassSpectrum(RowDecoder(FLOATS["F32"], 24), 300, "cpu", NEVER)
    blocks = blocks_of(tensor, 64)
    with fold(summed.beside(blocks), FLOATS["F32"], (300, 24), "cpu", threads=1) as result:
        assert summed.finished(result.identity) is None
        assert result.identity.unique_rows == len(
            set(map(bytes, np.frombuffer(raw(tensor), np.uint8).reshape(300, -1)))
        )
    assert problem in (summed.problem or "")
    assert "\n" not in (summed.problem or "")


def test_a_spectrum_that_would_be_late_is_left_out() -> None:
    decoder, blocks = RowDecoder(FLOATS["F32"], 24), blocks_of(stored_rows(), 64)
    late = PassSpectrum(decoder, 300, "cpu", time.monotonic() - 1.0)
    assert spectrum_alone(blocks, 300, late) is None
    assert "time limit: raise --timeout" in (late.problem or "")
    slow = PassSpectrum(decoder, 300, "cpu", time.monotonic() + 60.0)
    list(slow.beside(blocks))
    slow.elapsed_s += 1e6  # so that eigenvalues would take days
    assert spectrum_alone(blocks, 300, slow) is None
    assert "--timeout" in (slow.problem or "")
