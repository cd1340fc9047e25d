"""Measure the unembedding of one model. The import is light: torch is loaded by the first measurement.

import survey

survey.measure(model.lm_head.weight).dead_live_angle_deg
with survey.open_matrix("Qwen/Qwen3-4B-Instruct-2507") as matrix:
    print(survey.measure(matrix).black_hole_sizes)
    print(survey.cluster(matrix).figures.n_cluster)
    print(survey.spectrum(matrix).figures.effective_rank)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from survey.api import cluster as cluster
    from survey.api import measure as measure
    from survey.api import open_matrix as open_matrix
    from survey.api import spectrum as spectrum
    from survey.opening import Matrix as Matrix
    from survey.records.measured_columns import Measurement as Measurement
    from survey.sky.basis import Axes as Axes
    from survey.sky.sphere import Field as Field

__all__ = [
    "Axes",
    "Field",
    "Matrix",
    "Measurement",
    "cluster",
    "measure",
    "open_matrix",
    "spectrum",
    "version",
]

_MODULES = {
    "Axes": "survey.sky.basis",
    "Field": "survey.sky.sphere",
    "Matrix": "survey.opening",
    "Measurement": "survey.records.measured_columns",
    "cluster": "survey.api",
    "measure": "survey.api",
    "open_matrix": "survey.api",
    "spectrum": "survey.api",
}

VERSION = "0.1.0"  # kept here, not in the package's metadata: code that is shipped has none


def version() -> str:
    """The version of centroid-survey."""
    return VERSION


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:  # Any: PEP 562 hooks are typed so
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'survey' has no attribute {name!r}")
