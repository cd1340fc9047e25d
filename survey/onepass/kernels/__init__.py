"""Compiled loops, each loaded when it is first used.

`kernels.fold.fold_rows` loads the compiler (half a second) at its first call, and not when a module that
calls it is imported: planning and querying never wait for it, and a pass fetches its next blocks meanwhile.
This module alone decides when; all others write `from survey.onepass import kernels`.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from survey.onepass.kernels import distances as distances
    from survey.onepass.kernels import exact_sum as exact_sum
    from survey.onepass.kernels import exponents as exponents
    from survey.onepass.kernels import first_seen as first_seen
    from survey.onepass.kernels import fold as fold
    from survey.onepass.kernels import ggml_blocks as ggml_blocks
    from survey.onepass.kernels import levels as levels
    from survey.onepass.kernels import mantissas as mantissas
    from survey.onepass.kernels import ranks as ranks
    from survey.onepass.kernels import row_loops as row_loops
    from survey.onepass.kernels import values as values
    from survey.onepass.kernels import xxh3 as xxh3

_MODULES = frozenset(
    {
        "distances",
        "exact_sum",
        "exponents",
        "first_seen",
        "fold",
        "ggml_blocks",
        "levels",
        "mantissas",
        "ranks",
        "row_loops",
        "values",
        "xxh3",
    }
)


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
