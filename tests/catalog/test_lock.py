"""One run at a time; a dead holder holds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from catalog.lock import held
from catalog.place import place_to_write
from survey.errors import CatalogInUse

HOLD = """
import sys, time
from catalog.lock import held
from catalog.place import place_to_write
with held(place_to_write(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_told_who_holds_the_catalog(tmp_path: Path) -> None:
    place = place_to_write(str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CatalogInUse, match=f"process {other.pid}"), held(place):
            pass
        other.kill()
    with held(place):  # killed, it holds nothing
        pass


def test_the_lock_is_let_go_at_the_end(tmp_path: Path) -> None:
    place = place_to_write(str(tmp_path))
    for _ in range(2):
        with held(place):
            pass
