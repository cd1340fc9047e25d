"""The only import of numba, which compiles loops over rows: one sweep through memory instead of several.

Floats are added in a fixed order (survey/onepass/sums.py), without `fastmath`: the compiler may then use
vectors as wide as the processor's, but may neither reorder a sum nor fuse its products. Loops run without the
GIL. The compiled code is cached beside the loop's file, or in the user's cache folder if that is not writable
(numba's `NUMBA_CACHE_DIR` names another); as it holds pickles, never where another user could put some, but
in a temporary folder of the user's own. A loop may call others and read constants of other files: if any file
of this folder changes, or survey/onepass/geometry.py, all of them are compiled again.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, cast

from survey.process.home_folder import refuse_home_in_working_folder
from survey.process.own_folder import is_own, own_temporary_folder

Arguments = ParamSpec("Arguments")


def _import_without_settings_of_the_folder() -> None:
    """Import numba so that it ignores `.numba_config.yaml` of the working folder; the environment counts.

    The folder may be a stranger's checkpoint, and the file's `cache_dir` names compiled code, and pickles.
    numba reads it only if there is PyYAML, so it is imported as if there were none.
    """
    if not re.fullmatch("0*[1-9][0-9]{0,5}", os.environ.get("NUMBA_NUM_THREADS", "1")):
        del os.environ["NUMBA_NUM_THREADS"]  # numba raises for it, and we use none of its threads
    yaml = sys.modules.get("yaml")
    sys.modules["yaml"] = None  # type: ignore[assignment]  # to Python it is not installed
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A Numba config file is found")
            # Of a value that numba cannot read: it goes on with its default, and prints a traceback.
            warnings.filterwarnings("ignore", message=r"(?s)Environment variable 'NUMBA_\w+' is defined but")
            import numba.core.config

            numba.core.config._config_fname = (
                os.devnull
            )  # no file: it is looked for again at each compilation
            numba.core.config.reload_config()  # type: ignore[no-untyped-call]  # if somebody imported it before
    finally:
        del sys.modules["yaml"]
        if yaml is not None:
            sys.modules["yaml"] = yaml


refuse_home_in_working_folder()  # who imports this package need not have started by our command
_import_without_settings_of_the_folder()

import numba.core.config  # noqa: E402 - only after numba's settings are made safe
from llvmlite import ir as ir  # noqa: E402
from numba import njit as njit  # noqa: E402
from numba import types as types  # noqa: E402
from numba.core import sigutils  # noqa: E402
from numba.core.ccallback import CFunc  # noqa: E402
from numba.core.registry import cpu_target  # noqa: E402
from numba.extending import intrinsic, models, register_model  # noqa: E402
from numba.np.numpy_support import carray as carray  # noqa: E402


def _stamp_of_sources() -> str:
    """Of all files that a loop may be made of; numba's own is that of the loop's file alone."""
    folder = Path(__file__).parent
    sources = [*sorted(folder.glob("*.py")), folder.parent / "geometry.py"]
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


_STAMP = _stamp_of_sources()
_CALLED_BY_ADDRESS: dict[Callable[..., None], Any] = {}  # kept, and their code with them
_COMPILING = threading.Lock()


def compiled(loop: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The loop, compiled at its first call, once for each combination of argument types."""
    try:
        dispatcher: Any = njit(nogil=True, cache=True)(loop)
        if not is_own(Path(dispatcher._cache.cache_path)):
            if (folder := own_temporary_folder("survey-kernels")) is None:
                raise RuntimeError("no folder that only this user writes to")
            numba.core.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # made at run time
            dispatcher = njit(nogil=True, cache=True)(loop)
        dispatcher._cache._cache_file._source_stamp = _STAMP
        return cast(Callable[Arguments, None], dispatcher)
    except RuntimeError:  # no writable cache folder
        return njit(nogil=True)(loop)


def address_of(loop: Callable[..., None], signature: Any) -> int:
    """The address of a loop as a C function of these types: compiled at the first call, cached as others are.

    A loop that calls it need not be compiled for each that it may call.
    """
    with _COMPILING:
        if loop not in _CALLED_BY_ADDRESS:
            function: Any = CFunc(loop, sigutils.normalize_signature(signature), {}, {})  # type: ignore[no-untyped-call]
            try:
                function.enable_caching()
                function._cache._cache_file._source_stamp = _STAMP
            except RuntimeError:  # no writable cache folder
                pass
            function.compile()
            _CALLED_BY_ADDRESS[loop] = function
        return int(_CALLED_BY_ADDRESS[loop].address)


def operation(typing: Callable[..., Any]) -> Callable[..., Any]:
    """An operation of compiled code, by its types and a function that builds its instructions."""
    return cast(Callable[..., Any], intrinsic(typing))


def stored_as(llvm_type: Any, numba_type: type) -> None:
    """Values of this numba type are values of that LLVM type, in variables, tuples and calls."""

    class Model(models.PrimitiveModel):
        def __init__(self, manager: Any, of: Any) -> None:
            super().__init__(manager, of, llvm_type)  # type: ignore[no-untyped-call]

    register_model(numba_type)(Model)


def widens_float16() -> bool:
    """Whether the processor that loops are compiled for has an instruction for it."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return "+f16c" in features.split(",")
