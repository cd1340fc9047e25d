"""A machine without room for temporary files: the model is not called damaged, and the run has no defect."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Ran

FULL = {
    "a full disk": OSError(errno.ENOSPC, "No space left on device"),
    "a quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "too many open files": OSError(errno.EMFILE, "Too many open files"),
}


@pytest.mark.parametrize("lack", FULL.values(), ids=FULL)
def test_a_model_for_whose_black_holes_there_is_no_room_is_no_defect(
    lack: OSError,
    checkpoint: Callable[..., Path],
    survey: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Full(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
        def write(self, *_: object) -> int:
            raise lack

    monkeypatch.setattr("survey.onepass.row_identity.tempfile.SpooledTemporaryFile", Full)
    ran = survey("run", checkpoint(), "--catalog", "c", "--executor", "serial")
    assert (ran.code, "infeasible" in ran.out, "internal" in ran.out) == (1, True, False), ran.out
    assert lack.strerror in ran.out
