"""The only import of numba, which compiles loops over rows: one sweep through memory instead of several.

Floats are added in a fixed order (survey/onepass/sums.py), without `fastmath`: the compiler may then use
vectors as wide as the processor's, but may neither reorder a sum nor fuse its products. Loops run without the
GIL. The compiled code is cached beside the loop's file, or in the user's cache folder if that is not writable
(numba's `NUMBA_CACHE_DIR` names another). A change of that file recompiles the loop, a change of another file
does not: therefore a loop and all that it calls share a file. After changing an imported constant, or this
file, delete `survey/onepass/kernels/__pycache__`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import ParamSpec

from survey.process.home_folder import refuse_home_in_working_folder

Arguments = ParamSpec("Arguments")


def _import_without_settings_of_the_folder() -> None:
    """Import numba so that it ignores `.numba_config.yaml` of the working folder; the environment counts.

    The folder may be a stranger's checkpoint, and the file's `cache_dir` names compiled code, and pickles.
    numba reads it only if there is PyYAML, so it is imported as if there were none.
    """
    yaml = sys.modules.get("yaml")
    sys.modules["yaml"] = None  # type: ignore[assignment]  # to Python it is not installed
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A Numba config file is found")
            import numba.core.config
    finally:
        del sys.modules["yaml"]
        if yaml is not None:
            sys.modules["yaml"] = yaml
    numba.core.config._config_fname = os.devnull  # no file: it is looked for again at each compilation
    numba.core.config.reload_config()  # type: ignore[no-untyped-call]  # if somebody imported it before


refuse_home_in_working_folder()  # who imports this package need not have started by our command
_import_without_settings_of_the_folder()

from numba import njit as njit  # noqa: E402 - only after its settings are made safe


def compiled(loop: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The loop, compiled at its first call, once for each combination of argument types."""
    try:
        return njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # no writable cache folder
        return njit(nogil=True)(loop)
