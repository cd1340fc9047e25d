"""The pass on a GPU: Triton's kernels, and batches of rows for them."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from survey.process.home_folder import refuse_home_in_working_folder
from survey.process.own_folder import is_own, own_temporary_folder

CACHE = "TRITON_CACHE_DIR"


def keep_others_out_of_the_cache() -> None:
    """Let Triton, which runs what its cache holds, keep it where no other user can put anything."""
    refuse_home_in_working_folder()
    above = os.environ.get("TRITON_HOME") or os.path.expanduser("~")
    cache = Path(os.environ.get(CACHE) or Path(above, ".triton/cache"))
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    if not is_own(cache):
        os.environ[CACHE] = str(own_temporary_folder("survey-triton") or tempfile.mkdtemp())


keep_others_out_of_the_cache()
