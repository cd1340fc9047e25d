"""Measure the unembedding of one model; import stays light, torch loads when it measures.

import survey

survey.measure(model.lm_head.weight).dead_live_angle_deg
with survey.open_matrix("Qwen/Qwen3-4B-Instruct-2507") as matrix:
    print(survey.measure(matrix).black_hole_sizes)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from survey.matrix import Matrix as Matrix
    from survey.matrix import measure as measure
    from survey.matrix import open_matrix as open_matrix
    from survey.records import Measurement as Measurement

__all__ = ["Matrix", "Measurement", "measure", "open_matrix", "version"]


VERSION = "0.1.0"  # kept here, not in the package's metadata: code that is shipped has none


def version() -> str:
    """The version of centroid-survey."""
    return VERSION


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:  # Any: PEP 562 hooks are typed so
    if name in ("Matrix", "measure", "open_matrix"):
        from survey import matrix

        return getattr(matrix, name)
    if name == "Measurement":
        from survey.records import Measurement

        return Measurement
    raise AttributeError(f"module 'survey' has no attribute {name!r}")
