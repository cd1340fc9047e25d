"""A study whose covariance does not fit in the free memory is refused before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import survey
from survey.errors import NotRunnable
from survey.spectra import memory
from survey.spectra.memory import CLUSTER_SQUARES, SPECTRUM_SQUARES, refuse_too_wide

ROWS = np.ones((4, 64), dtype=np.float32) * np.arange(4, dtype=np.float32)[:, None]
STUDIES: dict[str, tuple[Callable[..., object], int]] = {
    "spectrum": (survey.spectrum, SPECTRUM_SQUARES),
    "cluster": (survey.cluster, CLUSTER_SQUARES),
}


@pytest.mark.parametrize("study", ["spectrum", "cluster"])
def test_a_matrix_that_is_too_wide_for_the_free_memory_is_refused(
    study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory_bytes", lambda: 1_000_000)
    with pytest.raises(
        NotRunnable, match=r"rows of 64 dimensions: .* GB of memory, of which 0\.0 GB are free"
    ):
        STUDIES[study][0](ROWS)


@pytest.mark.parametrize("squares", [SPECTRUM_SQUARES, CLUSTER_SQUARES])
def test_what_fits_is_not(squares: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory_bytes", lambda: 24 << 30)
    refuse_too_wide(20_000, "cpu", squares)
    with pytest.raises(NotRunnable):
        refuse_too_wide(40_000, "cpu", squares)
